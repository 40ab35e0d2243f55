//! The service's own authorities, and the certificates of instances. Private keys are sealed before they come here.

use diesel::prelude::*;
use uuid::Uuid;

use crate::db::schema::{authorities, certificates, endpoints};
use crate::db::{Conn, Error};
use crate::domain::authority::AuthorityState;
use crate::domain::ids::InstanceId;

/// An authority.
#[derive(Clone, Debug, Queryable, Insertable)]
#[diesel(table_name = authorities)]
pub struct Authority {
    /// Its id.
    pub id: Uuid,
    /// Its certificate, as PEM.
    pub certificate: String,
    /// Its private key, sealed for [`Authority::purpose`].
    pub key_secret: String,
}

impl Authority {
    /// What its sealed key is bound to.
    pub fn purpose(id: Uuid) -> String {
        format!("authority {id} key")
    }
}

/// The authority that signs; `None` until one was kept.
///
/// # Errors
/// The store's.
pub fn signing(conn: &mut Conn) -> Result<Option<Authority>, Error> {
    authorities::table
        .filter(authorities::state.eq(AuthorityState::Signing.as_str()))
        .select((authorities::id, authorities::certificate, authorities::key_secret))
        .first(conn)
        .optional()
        .map_err(Error::query("read the authority"))
}

/// Keeps an authority that signs, unless there is one; gives the one that is kept.
///
/// # Errors
/// The store's.
pub fn keep_authority(conn: &mut Conn, new: &Authority) -> Result<Authority, Error> {
    insert(conn, new, AuthorityState::Signing)?;
    signing(conn)?.ok_or_else(|| Error::Broken("the authority is gone".to_owned()))
}

/// Whether there was none in this state.
fn insert(conn: &mut Conn, new: &Authority, state: AuthorityState) -> Result<bool, Error> {
    diesel::insert_into(authorities::table)
        .values((new, authorities::state.eq(state.as_str())))
        .on_conflict_do_nothing()
        .execute(conn)
        .map(|rows| rows == 1)
        .map_err(Error::query("keep an authority"))
}

/// Keeps an authority that is to sign. Whether there was none already.
///
/// # Errors
/// The store's.
pub fn announce(conn: &mut Conn, new: &Authority) -> Result<bool, Error> {
    insert(conn, new, AuthorityState::Announced)
}

/// Has the announced authority sign from now on. Whether there is one.
///
/// # Errors
/// The store's.
pub fn have_announced_sign(conn: &mut Conn) -> Result<bool, Error> {
    let doing = "have another authority sign";
    let change = |conn: &mut Conn, from: AuthorityState, to: AuthorityState| {
        diesel::update(authorities::table.filter(authorities::state.eq(from.as_str())))
            .set(authorities::state.eq(to.as_str()))
            .execute(conn)
            .map_err(Error::query(doing))
    };
    let announced: Option<Uuid> = authorities::table
        .filter(authorities::state.eq(AuthorityState::Announced.as_str()))
        .select(authorities::id)
        .for_update()
        .first(conn)
        .optional()
        .map_err(Error::query(doing))?;
    if announced.is_none() {
        return Ok(false);
    }
    // Of two that sign there is never one too many: an index says so.
    change(conn, AuthorityState::Signing, AuthorityState::Old)?;
    Ok(change(conn, AuthorityState::Announced, AuthorityState::Signing)? == 1)
}

/// Forgets old authorities of which no certificate is left. How many.
///
/// # Errors
/// The store's.
pub fn retire(conn: &mut Conn) -> Result<usize, Error> {
    diesel::sql_query(
        "delete from authorities a where a.state = 'old' \
         and not exists (select from certificates c where c.authority_id = a.id)",
    )
    .execute(conn)
    .map_err(Error::query("forget an authority"))
}

/// An authority, as operators see it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Listed {
    /// Its id.
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    pub id: Uuid,
    /// An [`AuthorityState`]'s word.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub state: String,
    /// Its certificate, as PEM.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub certificate: String,
    /// How many instances have a certificate that it signed.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub instances: i64,
}

/// Every authority: the one that signs first, then by age.
///
/// # Errors
/// The store's.
pub fn list(conn: &mut Conn) -> Result<Vec<Listed>, Error> {
    diesel::sql_query(
        "select a.id, a.state, a.certificate, count(c.instance_id) as instances from authorities a \
         left join certificates c on c.authority_id = a.id group by a.id \
         order by a.state = 'signing' desc, a.created_at desc",
    )
    .load(conn)
    .map_err(Error::query("list the authorities"))
}

/// Instances that have a certificate of an old authority, so many of them at most.
///
/// # Errors
/// The store's.
pub fn have_old(conn: &mut Conn, most: i64) -> Result<Vec<InstanceId>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        instance_id: Uuid,
    }
    let found: Vec<Row> = diesel::sql_query(
        "select c.instance_id from certificates c join authorities a on a.id = c.authority_id \
         where a.state = 'old' order by c.created_at limit $1",
    )
    .bind::<diesel::sql_types::BigInt, _>(most)
    .load(conn)
    .map_err(Error::query("list certificates of old authorities"))?;
    Ok(found.into_iter().map(|row| InstanceId(row.instance_id)).collect())
}

/// A certificate to keep.
#[derive(Clone, Debug)]
pub struct New {
    /// Whose it is.
    pub instance: InstanceId,
    /// Who signed it.
    pub authority: Uuid,
    /// The address that it names.
    pub address: String,
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its private key, sealed for [`InstanceId::certificate_purpose`].
    pub key_secret: String,
}

/// Keeps an instance's certificate unless it has one, or has no such address any more.
///
/// # Errors
/// The store's.
pub fn keep_certificate(conn: &mut Conn, new: &New) -> Result<(), Error> {
    let doing = "keep a certificate";
    // Locked: whoever gives the address back meanwhile takes the certificate along.
    let address: Option<String> = endpoints::table
        .find(new.instance.0)
        .select(endpoints::address)
        .for_update()
        .first(conn)
        .optional()
        .map_err(Error::query(doing))?;
    if address.as_ref() != Some(&new.address) {
        return Ok(());
    }
    diesel::insert_into(certificates::table)
        .values((
            certificates::instance_id.eq(new.instance.0),
            certificates::authority_id.eq(new.authority),
            certificates::address.eq(&new.address),
            certificates::certificate.eq(&new.certificate),
            certificates::key_secret.eq(&new.key_secret),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query(doing))
}

/// Puts another certificate in the place of `was`. Whether it was that one still, and its instance has the address.
///
/// # Errors
/// The store's.
pub fn replace_certificate(conn: &mut Conn, new: &New, was: &str) -> Result<bool, Error> {
    let of = certificates::table
        .find(new.instance.0)
        .filter(certificates::certificate.eq(was))
        .filter(certificates::address.eq(&new.address));
    diesel::update(of)
        .set((
            certificates::authority_id.eq(new.authority),
            certificates::certificate.eq(&new.certificate),
            certificates::key_secret.eq(&new.key_secret),
            certificates::renewed_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
        .map_err(Error::query("renew a certificate"))
}

/// How an instance's clients are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether clients that do not ask for TLS are turned away.
    pub required: bool,
    /// The certificate of its servers, as PEM; `None` until its first server is made, and for a simulated one.
    pub certificate: Option<String>,
}

/// How the instance's clients are encrypted; nobody's where it has no address.
///
/// # Errors
/// The store's.
pub fn tls(conn: &mut Conn, instance: InstanceId) -> Result<Tls, Error> {
    let doing = "read how clients are encrypted";
    let required: Option<bool> = endpoints::table
        .find(instance.0)
        .select(endpoints::tls_only)
        .first(conn)
        .optional()
        .map_err(Error::query(doing))?;
    let certificate = certificates::table
        .find(instance.0)
        .select(certificates::certificate)
        .first(conn)
        .optional()
        .map_err(Error::query(doing))?;
    Ok(Tls { required: required.unwrap_or_default(), certificate })
}

/// The address of an instance; `None` when it has none.
///
/// # Errors
/// The store's.
pub fn address(conn: &mut Conn, instance: InstanceId) -> Result<Option<String>, Error> {
    endpoints::table
        .find(instance.0)
        .select(endpoints::address)
        .first(conn)
        .optional()
        .map_err(Error::query("read an instance's address"))
}

/// Forgets an instance's certificate. Happy when there is none.
///
/// # Errors
/// The store's.
pub fn forget_certificate(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::delete(certificates::table.find(instance.0))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("forget a certificate"))
}
