//! The service's own authority, and the certificates of instances. Private keys are sealed before they come here.

use diesel::prelude::*;
use uuid::Uuid;

use crate::db::schema::{authorities, certificates, endpoints};
use crate::db::{Conn, Error};
use crate::domain::ids::InstanceId;

/// The authority.
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

/// The authority; `None` until one was kept.
///
/// # Errors
/// The store's.
pub fn authority(conn: &mut Conn) -> Result<Option<Authority>, Error> {
    authorities::table
        .select((authorities::id, authorities::certificate, authorities::key_secret))
        .first(conn)
        .optional()
        .map_err(Error::query("read the authority"))
}

/// Keeps an authority unless there is one; gives the one that is kept.
///
/// # Errors
/// The store's.
pub fn keep_authority(conn: &mut Conn, new: &Authority) -> Result<Authority, Error> {
    diesel::insert_into(authorities::table)
        .values(new)
        .on_conflict_do_nothing()
        .execute(conn)
        .map_err(Error::query("keep the authority"))?;
    authority(conn)?.ok_or_else(|| Error::Broken("the authority is gone".to_owned()))
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
