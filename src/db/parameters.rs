//! The parameters of versions, as one of their servers told them.
//!
//! # If we die here
//! A list that is asked for is a row, and the server that is made to be asked is another, made before it. The worker at it
//! renews both. When it dies, any worker of a host that can run the version takes the list and makes a server of its own, and the
//! next worker of the host removes the one that was left.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Jsonb, Text, Uuid as SqlUuid};
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
    /// The server that is made to be asked.
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

/// Takes a list that is asked for and that `host` can make, and notes the server that is made for it; `None` where there is none.
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
        #[diesel(sql_type = BigInt)]
        lease: i64,
    }
    let due = diesel::sql_query(format!(
        "update parameter_lists l set taken_by = $2, taken_until = now() + $3 * interval '1 second', lease = lease + 1 \
         where l.version_id = (select l.version_id from parameter_lists l \
             join datastore_versions v on v.id = l.version_id join datastores d on d.id = v.datastore_id \
             where l.number is distinct from v.version_number and l.asked_at > now() - interval '{ASKED_FOR}' \
             and l.not_before <= now() and (l.taken_until is null or l.taken_until <= now()) \
             and exists (select from host_versions h where h.host_id = $1 and h.datastore = d.name \
                 and h.series = v.name and h.runtime = v.runtime) \
             order by l.asked_at limit 1 for update of l skip locked) \
         returning l.version_id, l.lease"
    ))
    .bind::<Text, _>(&host.0)
    .bind::<Text, _>(owner)
    .bind::<Double, _>(LEASE.as_secs_f64())
    .get_result::<Due>(conn)
    .optional()
    .map_err(Error::query("take a list of parameters"))?;
    let Some(due) = due else { return Ok(None) };
    diesel::sql_query(
        "insert into scratches (generation_id, host_id, version_id, taken_until) \
         values ($1, $2, $3, now() + $4 * interval '1 second')",
    )
    .bind::<SqlUuid, _>(scratch.0)
    .bind::<Text, _>(&host.0)
    .bind::<SqlUuid, _>(due.version_id)
    .bind::<Double, _>(LEASE.as_secs_f64())
    .execute(conn)
    .map_err(Error::query("note a server to ask"))?;
    let version = version(conn, due.version_id)?;
    Ok(Some(Taken { version, scratch, lease: due.lease }))
}

fn version(conn: &mut Conn, id: Uuid) -> Result<DatastoreVersion, Error> {
    let catalogue = catalogue_cache::now(conn)?;
    let found = catalogue.version(VersionId(id)).cloned();
    found.ok_or_else(|| Error::Broken(format!("version {id} is gone")))
}

/// Servers of a host that were made to be asked, and whose worker is not at work any more, with their versions.
///
/// # Errors
/// The store's.
pub fn left_on(conn: &mut Conn, host: &HostId) -> Result<Vec<(GenerationId, DatastoreVersion)>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        generation_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        version_id: Uuid,
    }
    let rows = diesel::sql_query(
        "select generation_id, version_id from scratches where host_id = $1 and taken_until <= now()",
    )
    .bind::<Text, _>(&host.0)
    .load::<Row>(conn)
    .map_err(Error::query("look for servers that were asked"))?;
    rows.into_iter()
        .map(|row| Ok((GenerationId(row.generation_id), version(conn, row.version_id)?)))
        .collect()
}

/// Forgets a server that was asked, of which nothing is left.
///
/// # Errors
/// The store's.
pub fn forget_scratch(conn: &mut Conn, scratch: GenerationId) -> Result<(), Error> {
    diesel::sql_query("delete from scratches where generation_id = $1")
        .bind::<SqlUuid, _>(scratch.0)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("forget a server that was asked"))
}

/// Keeps a list, and the server that is asked.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn renew(conn: &mut Conn, taken: &Taken) -> Result<(), Error> {
    let until = format!("now() + interval '{} seconds'", LEASE.as_secs());
    diesel::sql_query(format!("update scratches set taken_until = {until} where generation_id = $1"))
        .bind::<SqlUuid, _>(taken.scratch.0)
        .execute(conn)
        .map_err(Error::query("keep a server that is asked"))?;
    let changed = diesel::sql_query(format!(
        "update parameter_lists set taken_until = {until} where version_id = $1 and lease = $2"
    ))
    .bind::<SqlUuid, _>(taken.version.id.0)
    .bind::<BigInt, _>(taken.lease)
    .execute(conn)
    .map_err(Error::query("renew a list of parameters"))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Records what a server told.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn record(conn: &mut Conn, taken: &Taken, parameters: &[Parameter]) -> Result<(), Error> {
    let told = serde_json::to_value(parameters).map_err(|e| Error::Broken(format!("parameters: {e}")))?;
    let changed = diesel::sql_query(
        "update parameter_lists set parameters = $3, number = $4, trouble = null, taken_until = null \
         where version_id = $1 and lease = $2",
    )
    .bind::<SqlUuid, _>(taken.version.id.0)
    .bind::<BigInt, _>(taken.lease)
    .bind::<Jsonb, _>(told)
    .bind::<Text, _>(&taken.version.number)
    .execute(conn)
    .map_err(Error::query("record a version's parameters"))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Records why a try came to nothing.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn fail(conn: &mut Conn, taken: &Taken, trouble: &str) -> Result<(), Error> {
    let changed = diesel::sql_query(
        "update parameter_lists set trouble = $3, taken_until = null, not_before = now() + interval '5 seconds' \
         where version_id = $1 and lease = $2",
    )
    .bind::<SqlUuid, _>(taken.version.id.0)
    .bind::<BigInt, _>(taken.lease)
    .bind::<Text, _>(trouble)
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
