//! The parameters of versions, as one of their servers told them.
//!
//! # If we die here
//! A list that is asked for is a row. The worker that makes it names the server that it asks in the row before it makes it,
//! and renews its lease; when it dies, the next worker of its host takes the row, removes that server, and asks another.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Jsonb, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error, catalogue_cache};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{GenerationId, HostId, VersionId};
use crate::domain::parameter::Parameter;

/// How long a list stays a worker's that does not renew it.
pub const LEASE: Duration = Duration::from_secs(15);

/// How long a list that nobody has asked for again is made for.
const ASKED_FOR: &str = "5 minutes";

/// A list that a worker makes.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The version.
    pub version: DatastoreVersion,
    /// The server that is made to be asked; of a worker that died, it may be there already.
    pub scratch: GenerationId,
    /// The number of the worker's lease.
    pub lease: i64,
}

/// The parameters of a version, as its present number has them; `None` when no server has told them yet.
///
/// # Errors
/// The store's.
pub fn of_version(conn: &mut Conn, version: VersionId) -> Result<Option<Vec<Parameter>>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Jsonb)]
        parameters: serde_json::Value,
    }
    let row = diesel::sql_query(
        "select l.parameters from parameter_lists l join datastore_versions v on v.id = l.version_id \
         where l.version_id = $1 and l.parameters is not null and l.number = v.version_number",
    )
    .bind::<SqlUuid, _>(version.0)
    .get_result::<Row>(conn)
    .optional()
    .map_err(Error::query("read a version's parameters"))?;
    row.map(|row| {
        serde_json::from_value(row.parameters)
            .map_err(|e| Error::Broken(format!("parameters of version {version}: {e}")))
    })
    .transpose()
}

/// Asks for a version's parameters.
///
/// # Errors
/// The store's.
pub fn ask(conn: &mut Conn, version: VersionId) -> Result<(), Error> {
    diesel::sql_query(
        "insert into parameter_lists (version_id) values ($1) \
         on conflict (version_id) do update set asked_at = now()",
    )
    .bind::<SqlUuid, _>(version.0)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("ask for a version's parameters"))
}

/// Takes a list that is asked for and that `host` can make; `None` where there is none.
///
/// # Errors
/// The store's.
pub fn take(
    conn: &mut Conn,
    host: &HostId,
    owner: &str,
    scratch: GenerationId,
) -> Result<Option<Taken>, Error> {
    #[derive(QueryableByName)]
    struct Due {
        #[diesel(sql_type = SqlUuid)]
        version_id: Uuid,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        scratch: Option<Uuid>,
        #[diesel(sql_type = BigInt)]
        lease: i64,
    }
    let due = diesel::sql_query(format!(
        "select l.version_id, l.scratch, l.lease from parameter_lists l \
         join datastore_versions v on v.id = l.version_id join datastores d on d.id = v.datastore_id \
         where ((l.number is distinct from v.version_number and l.asked_at > now() - interval '{ASKED_FOR}') \
             or l.scratch is not null) \
         and l.not_before <= now() and (l.taken_until is null or l.taken_until <= now()) \
         and (l.host_id is null or l.host_id = $1) \
         and exists (select from host_versions h where h.host_id = $1 and h.datastore = d.name and h.series = v.name \
             and h.runtime = v.runtime) \
         order by l.asked_at limit 1 for update of l skip locked"
    ))
    .bind::<Text, _>(&host.0)
    .get_result::<Due>(conn)
    .optional()
    .map_err(Error::query("look for parameters to ask for"))?;
    let Some(due) = due else { return Ok(None) };
    diesel::sql_query(
        "update parameter_lists set taken_by = $2, taken_until = now() + $3 * interval '1 second', lease = lease + 1, \
         scratch = $4, host_id = $5 where version_id = $1",
    )
    .bind::<SqlUuid, _>(due.version_id)
    .bind::<Text, _>(owner)
    .bind::<Double, _>(LEASE.as_secs_f64())
    .bind::<SqlUuid, _>(due.scratch.unwrap_or(scratch.0))
    .bind::<Text, _>(&host.0)
    .execute(conn)
    .map_err(Error::query("take a list of parameters"))?;
    let version = catalogue_cache::now(conn)?
        .version(VersionId(due.version_id))
        .cloned()
        .ok_or_else(|| Error::Broken(format!("version {} is gone", due.version_id)))?;
    Ok(Some(Taken { version, scratch: due.scratch.map_or(scratch, GenerationId), lease: due.lease + 1 }))
}

fn change(conn: &mut Conn, doing: &'static str, set: &str, taken: &Taken) -> Result<(), Error> {
    let sql = format!("update parameter_lists set {set} where version_id = $1 and lease = $2");
    let changed = diesel::sql_query(sql)
        .bind::<SqlUuid, _>(taken.version.id.0)
        .bind::<BigInt, _>(taken.lease)
        .execute(conn)
        .map_err(Error::query(doing))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Keeps a list.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn renew(conn: &mut Conn, taken: &Taken) -> Result<(), Error> {
    let set = format!("taken_until = now() + interval '{} seconds'", LEASE.as_secs());
    change(conn, "renew a list of parameters", &set, taken)
}

/// Records what a server told; nothing of it is left.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn record(conn: &mut Conn, taken: &Taken, parameters: &[Parameter]) -> Result<(), Error> {
    let told = serde_json::to_value(parameters).map_err(|e| Error::Broken(format!("parameters: {e}")))?;
    let changed = diesel::sql_query(
        "update parameter_lists set parameters = $3, number = $4, trouble = null, scratch = null, host_id = null, \
         taken_until = null where version_id = $1 and lease = $2",
    )
    .bind::<SqlUuid, _>(taken.version.id.0)
    .bind::<BigInt, _>(taken.lease)
    .bind::<Jsonb, _>(told)
    .bind::<Text, _>(&taken.version.number)
    .execute(conn)
    .map_err(Error::query("record a version's parameters"))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Records why a try came to nothing. Unless nothing of its server `is_left`, the next try is its host's.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn fail(conn: &mut Conn, taken: &Taken, trouble: &str, is_left: bool) -> Result<(), Error> {
    let changed = diesel::sql_query(
        "update parameter_lists set trouble = $3, taken_until = null, not_before = now() + interval '5 seconds', \
         scratch = case when $4 then scratch end, host_id = case when $4 then host_id end \
         where version_id = $1 and lease = $2",
    )
    .bind::<SqlUuid, _>(taken.version.id.0)
    .bind::<BigInt, _>(taken.lease)
    .bind::<Text, _>(trouble)
    .bind::<Bool, _>(is_left)
    .execute(conn)
    .map_err(Error::query("record that parameters could not be asked"))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Ends the leases of a worker that is gone, so that nobody waits for their end.
///
/// # Errors
/// The store's.
pub fn release(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    diesel::sql_query("update parameter_lists set taken_until = null where taken_by = $1")
        .bind::<Text, _>(owner)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("release lists of parameters"))
}
