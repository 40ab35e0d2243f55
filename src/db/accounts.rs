//! The system accounts of the hosts, and which instance has which.

use diesel::prelude::*;
use diesel::sql_types::{Text, Uuid as SqlUuid};

use crate::db::schema::accounts;
use crate::db::{Conn, Error};
use crate::domain::ids::{HostId, InstanceId};

/// What became of a wish for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The instance has it, for its life.
    Account(String),
    /// The host has none to give: its servers run as one account.
    NoPool,
    /// Each of so many is some instance's.
    Exhausted(usize),
}

/// Records the accounts that `host` can give. One that the host has no longer is taken off, but not one that an
/// instance has: it is given by name.
///
/// # Errors
/// The store's.
pub fn record(conn: &mut Conn, host: &HostId, names: &[String]) -> Result<(), Error> {
    let doing = "record the host's accounts";
    diesel::delete(
        accounts::table
            .filter(accounts::host_id.eq(&host.0))
            .filter(accounts::instance_id.is_null())
            .filter(accounts::name.ne_all(names)),
    )
    .execute(conn)
    .map_err(Error::query(doing))?;
    let rows: Vec<_> =
        names.iter().map(|name| (accounts::host_id.eq(&host.0), accounts::name.eq(name))).collect();
    diesel::insert_into(accounts::table)
        .values(rows)
        .on_conflict_do_nothing()
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query(doing))
}

/// Gives the instance the first free account of its host, or the one that it has.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn, host: &HostId, instance: InstanceId) -> Result<Taken, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let taken = diesel::sql_query(
        "update accounts set instance_id = $2 where host_id = $1 and (instance_id is null or instance_id = $2) \
         and name = (select name from accounts where host_id = $1 and (instance_id is null or instance_id = $2) \
         order by instance_id is null, length(name), name limit 1 for update skip locked) returning name",
    )
    .bind::<Text, _>(&host.0)
    .bind::<SqlUuid, _>(instance.0)
    .get_result::<Row>(conn)
    .optional()
    .map_err(Error::query("give the instance an account"))?;
    if let Some(row) = taken {
        return Ok(Taken::Account(row.name));
    }
    let all: i64 = accounts::table
        .filter(accounts::host_id.eq(&host.0))
        .count()
        .get_result(conn)
        .map_err(Error::query("count the host's accounts"))?;
    Ok(if all == 0 { Taken::NoPool } else { Taken::Exhausted(usize::try_from(all).unwrap_or_default()) })
}

/// Gives the instance's account back, once none of its generations holds anything on a host.
///
/// # Errors
/// The store's.
pub fn free(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::sql_query(
        "update accounts set instance_id = null where instance_id = $1 and not exists \
         (select from generations where instance_id = $1 and role <> 'dropped')",
    )
    .bind::<SqlUuid, _>(instance.0)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("give an account back"))
}
