//! Operations: short writes to an instance's server that were accepted.
//!
//! # If we die here
//! An operation is a row until it is over. A worker that does one renews its lease, and writes under the lease's number. When
//! it dies, the lease runs out, and any worker of the host takes the operation again.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::ids::{HostId, InstanceId, OperationId};
use crate::domain::operation::{End, Outcome, Refused};

/// How long an operation stays a worker's that does not renew it.
pub const LEASE: Duration = Duration::from_secs(15);

/// How long one that is over is remembered.
const REMEMBERED: &str = "7 days";

/// An operation that may be the next one of its instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub id: OperationId,
    /// The instance.
    pub instance: InstanceId,
    /// The word of what is asked for.
    pub kind: String,
}

/// An operation that a worker has taken.
#[derive(Clone)]
pub struct Taken {
    /// Its id.
    pub id: OperationId,
    /// The instance.
    pub instance: InstanceId,
    /// The word of what is asked for.
    pub kind: String,
    /// Why the last try did nothing.
    pub trouble: Option<String>,
    /// What is asked for, sealed.
    pub payload: String,
    /// The number of the worker's lease.
    pub lease: i64,
    /// Which try it is: 1 is the first.
    pub attempt: i32,
    /// Whether an earlier try found it possible.
    pub has_begun: bool,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Accepts an operation, and forgets those that were over a week ago.
///
/// # Errors
/// The store's.
pub fn accept(
    conn: &mut Conn,
    id: OperationId,
    instance: InstanceId,
    kind: &str,
    payload: &str,
) -> Result<(), Error> {
    diesel::sql_query(format!(
        "delete from operations where id in (select id from operations where outcome is not null \
         and over_at < now() - interval '{REMEMBERED}' order by over_at limit 100)"
    ))
    .execute(conn)
    .map_err(Error::query("forget operations"))?;
    diesel::sql_query("insert into operations (id, instance_id, kind, payload) values ($1, $2, $3, $4)")
        .bind::<SqlUuid, _>(id.0)
        .bind::<SqlUuid, _>(instance.0)
        .bind::<Text, _>(kind)
        .bind::<Text, _>(payload)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("accept an operation"))
}

/// The operation of a kind that waits at an instance and that no worker has taken, locked until the transaction ends: who takes
/// it then sees what the transaction has written.
///
/// # Errors
/// The store's.
pub fn untaken(conn: &mut Conn, instance: InstanceId, kind: &str) -> Result<Option<OperationId>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    diesel::sql_query(
        "select id from operations where instance_id = $1 and kind = $2 and outcome is null and taken_until is null \
         order by number limit 1 for update",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(kind)
    .get_result::<Row>(conn)
    .optional()
    .map(|row| row.map(|row| OperationId(row.id)))
    .map_err(Error::query("look for an operation that waits"))
}

/// How many operations of an instance wait.
///
/// # Errors
/// The store's.
pub fn waiting_of(conn: &mut Conn, instance: InstanceId) -> Result<i64, Error> {
    diesel::sql_query("select count(*) as count from operations where instance_id = $1 and outcome is null")
        .bind::<SqlUuid, _>(instance.0)
        .get_result::<Count>(conn)
        .map(|found| found.count)
        .map_err(Error::query("count the operations that wait"))
}

/// What became of an operation; `None` for one that is not there.
///
/// # Errors
/// The store's.
pub fn outcome(conn: &mut Conn, id: OperationId) -> Result<Option<Outcome>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        outcome: Option<String>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        refusal: Option<serde_json::Value>,
    }
    let row = diesel::sql_query("select outcome, refusal from operations where id = $1")
        .bind::<SqlUuid, _>(id.0)
        .get_result::<Row>(conn)
        .optional()
        .map_err(Error::query("read what became of an operation"))?;
    let Some(Row { outcome, refusal }) = row else { return Ok(None) };
    let Some(word) = outcome else { return Ok(Some(Outcome::Open)) };
    Ok(Some(match (word.parse()?, refusal) {
        (End::Done, _) => Outcome::Done,
        (End::Gone, _) => Outcome::Gone,
        (End::Refused, refusal) => {
            let refused = serde_json::from_value(refusal.unwrap_or_default());
            Outcome::Refused(refused.map_err(|e| Error::Broken(format!("refusal of operation {id}: {e}")))?)
        }
    }))
}

/// The next operation of each instance of `host`, and the next one that has it take its parameters, which may wait longer and
/// keeps no other waiting; those that are due and that nobody does, and not of instances at which `ours` are being done.
/// Any 100 of them, so that those that cannot be done now keep no others waiting.
///
/// # Errors
/// The store's.
pub fn due(conn: &mut Conn, host: &HostId, ours: &[InstanceId]) -> Result<Vec<Waiting>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        instance_id: Uuid,
        #[diesel(sql_type = Text)]
        kind: String,
    }
    let ours: Vec<Uuid> = ours.iter().map(|id| id.0).collect();
    let rows = diesel::sql_query(
        "select o.id, o.instance_id, o.kind from (select distinct on (instance_id, kind = 'configure') id, instance_id, kind, not_before, taken_until \
             from operations where outcome is null order by instance_id, kind = 'configure', number) o \
         join instances i on i.id = o.instance_id \
         where i.host_id = $1 and i.id <> all ($2) and o.not_before <= now() \
         and (o.taken_until is null or o.taken_until <= now()) order by random() limit 100",
    )
    .bind::<Text, _>(&host.0)
    .bind::<Array<SqlUuid>, _>(ours)
    .load::<Row>(conn)
    .map_err(Error::query("look for operations"))?;
    let waiting =
        |row: Row| Waiting { id: OperationId(row.id), instance: InstanceId(row.instance_id), kind: row.kind };
    Ok(rows.into_iter().map(waiting).collect())
}

/// Takes an operation for a worker; `None` where it is over, another's, or not its instance's next one any more.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn, waiting: &Waiting, owner: &str) -> Result<Option<Taken>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Nullable<Text>)]
        trouble: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        payload: Option<String>,
        #[diesel(sql_type = BigInt)]
        lease: i64,
        #[diesel(sql_type = Integer)]
        attempts: i32,
        #[diesel(sql_type = Bool)]
        has_begun: bool,
    }
    let row = diesel::sql_query(
        "update operations o set taken_until = now() + $2 * interval '1 second', taken_by = $3, lease = lease + 1, \
         attempts = attempts + 1 where id = $1 and outcome is null and (taken_until is null or taken_until <= now()) \
         and not exists (select from operations e where e.instance_id = o.instance_id and e.number < o.number \
         and e.outcome is null and (e.kind = 'configure') = (o.kind = 'configure')) \
         returning kind, trouble, payload, lease, attempts, begun_at is not null as has_begun",
    )
    .bind::<SqlUuid, _>(waiting.id.0)
    .bind::<Double, _>(LEASE.as_secs_f64())
    .bind::<Text, _>(owner)
    .get_result::<Row>(conn)
    .optional()
    .map_err(Error::query("take an operation"))?;
    let Some(row) = row else { return Ok(None) };
    let payload =
        row.payload.ok_or_else(|| Error::Broken(format!("operation {} has no payload", waiting.id)))?;
    Ok(Some(Taken {
        id: waiting.id,
        instance: waiting.instance,
        kind: row.kind,
        trouble: row.trouble,
        payload,
        lease: row.lease,
        attempt: row.attempts,
        has_begun: row.has_begun,
    }))
}

/// Ends the leases of a worker that is gone, so that nobody waits for their end.
///
/// # Errors
/// The store's.
pub fn release(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    diesel::sql_query("update operations set taken_until = null where taken_by = $1 and outcome is null")
        .bind::<Text, _>(owner)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("release operations"))
}

/// Changes a taken operation, where it is still ours.
fn change(conn: &mut Conn, doing: &'static str, set: &str, taken: &Taken) -> Result<(), Error> {
    let sql = format!("update operations set {set} where id = $1 and lease = $2 and outcome is null");
    let changed = diesel::sql_query(sql)
        .bind::<SqlUuid, _>(taken.id.0)
        .bind::<BigInt, _>(taken.lease)
        .execute(conn)
        .map_err(Error::query(doing))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Keeps an operation.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn renew(conn: &mut Conn, taken: &Taken) -> Result<(), Error> {
    let set = format!("taken_until = now() + interval '{} seconds'", LEASE.as_secs());
    change(conn, "renew an operation", &set, taken)
}

/// Records that it was found possible.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn begin(conn: &mut Conn, taken: &Taken) -> Result<(), Error> {
    change(conn, "begin an operation", "begun_at = now()", taken)
}

/// Lets an operation go that could not be tried now, as if it had not been taken.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn put_back(conn: &mut Conn, taken: &Taken) -> Result<(), Error> {
    change(conn, "put an operation back", "taken_until = null, attempts = attempts - 1", taken)
}

/// Lets an operation go whose try did nothing, until `pause` has passed.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn retry(conn: &mut Conn, taken: &Taken, trouble: &str, pause: Duration) -> Result<(), Error> {
    let changed = diesel::sql_query(
        "update operations set taken_until = null, not_before = now() + $4 * interval '1 second', trouble = $3 \
         where id = $1 and lease = $2 and outcome is null",
    )
    .bind::<SqlUuid, _>(taken.id.0)
    .bind::<BigInt, _>(taken.lease)
    .bind::<Text, _>(trouble.replace('\0', "\u{fffd}"))
    .bind::<Double, _>(pause.as_secs_f64())
    .execute(conn)
    .map_err(Error::query("let an operation go"))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Ends an operation, and wipes what was asked for.
///
/// # Errors
/// [`Error::LeaseLost`]; the store's.
pub fn end(conn: &mut Conn, taken: &Taken, refused: Option<&Refused>) -> Result<(), Error> {
    let word = if refused.is_some() { End::Refused } else { End::Done };
    // The store takes no U+0000, and what cannot be recorded would be done again for ever.
    let refusal = refused
        .map(serde_json::to_string)
        .transpose()
        .and_then(|text| {
            let parse = |text: String| {
                serde_json::from_str::<serde_json::Value>(&text.replace("\\u0000", "\u{fffd}"))
            };
            text.map(parse).transpose()
        })
        .map_err(|e| Error::Broken(format!("refusal of operation {}: {e}", taken.id)))?;
    let changed = diesel::sql_query(
        "update operations set outcome = $3, refusal = $4, payload = null, taken_until = null, over_at = now() \
         where id = $1 and lease = $2 and outcome is null",
    )
    .bind::<SqlUuid, _>(taken.id.0)
    .bind::<BigInt, _>(taken.lease)
    .bind::<Text, _>(word.as_str())
    .bind::<Nullable<Jsonb>, _>(refusal)
    .execute(conn)
    .map_err(Error::query("end an operation"))?;
    if changed == 1 { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Ends what waits for instances that are being deleted.
///
/// # Errors
/// The store's.
pub fn end_of_gone(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::sql_query(
        "update operations set outcome = 'gone', payload = null, taken_until = null, over_at = now() \
         where instance_id = $1 and outcome is null",
    )
    .bind::<SqlUuid, _>(instance.0)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("end the operations of an instance that is gone"))
}

/// Whether a worker is at an operation of the instance.
///
/// # Errors
/// The store's.
pub fn is_being_done(conn: &mut Conn, instance: InstanceId) -> Result<bool, Error> {
    diesel::sql_query(
        "select count(*) as count from operations where instance_id = $1 and outcome is null and taken_until > now()",
    )
    .bind::<SqlUuid, _>(instance.0)
    .get_result::<Count>(conn)
    .map(|found| found.count > 0)
    .map_err(Error::query("look whether an operation is being done"))
}
