//! Endpoints: the address of each instance and the generation that it leads to. The endpoint role applies a row and
//! writes the epoch that it applied.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::db::schema::{endpoints, holds, relays};
use crate::db::{Conn, Error, logs, pki};
use crate::domain::ids::{GenerationId, HostId, InstanceId, TaskId};

/// Leads the instance's address to `generation`, or to nothing; a new epoch unless it leads there already.
///
/// # Errors
/// The store's.
pub fn lead(conn: &mut Conn, instance: InstanceId, generation: Option<GenerationId>) -> Result<(), Error> {
    let to = generation.map(|g| g.0);
    diesel::update(endpoints::table.find(instance.0).filter(endpoints::generation_id.is_distinct_from(to)))
        .set((
            endpoints::generation_id.eq(to),
            // Another server's volume is measured by itself.
            endpoints::full_volume.eq(false),
            endpoints::epoch.eq(endpoints::epoch + 1),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("lead the endpoint"))
}

/// Limits the networks from which the instance's address lets clients in; none lets everybody in. A new epoch unless it is so
/// already.
///
/// # Errors
/// The store's.
pub fn limit(conn: &mut Conn, instance: InstanceId, cidrs: &[String]) -> Result<(), Error> {
    diesel::update(endpoints::table.find(instance.0).filter(endpoints::allowed_cidrs.ne(cidrs)))
        .set((endpoints::allowed_cidrs.eq(cidrs), endpoints::epoch.eq(endpoints::epoch + 1)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("limit who comes to an instance"))
}

/// Has the instance's address let in only clients that ask for TLS first, or everybody. A new epoch unless it is so already.
///
/// # Errors
/// The store's.
pub fn require_tls(conn: &mut Conn, instance: InstanceId, tls_only: bool) -> Result<(), Error> {
    diesel::update(endpoints::table.find(instance.0).filter(endpoints::tls_only.ne(tls_only)))
        .set((endpoints::tls_only.eq(tls_only), endpoints::epoch.eq(endpoints::epoch + 1)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("say whether an instance requires TLS"))
}

/// Has the instance's address, where it leads to `generation`, turn clients away since more is in its volume than its size, or
/// let them in. A new epoch unless it is so already.
///
/// # Errors
/// The store's.
pub fn turn_away(
    conn: &mut Conn,
    instance: InstanceId,
    generation: GenerationId,
    full_volume: bool,
) -> Result<(), Error> {
    let at = endpoints::table
        .find(instance.0)
        .filter(endpoints::generation_id.eq(generation.0))
        .filter(endpoints::full_volume.ne(full_volume));
    diesel::update(at)
        .set((endpoints::full_volume.eq(full_volume), endpoints::epoch.eq(endpoints::epoch + 1)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("say whether an instance's volume is full"))
}

/// Has the endpoint let so many connections through at once; those that are open stay. A new epoch unless it is so already.
///
/// # Errors
/// The store's.
pub fn set_connections(conn: &mut Conn, instance: InstanceId, connections: i32) -> Result<(), Error> {
    diesel::update(endpoints::table.find(instance.0).filter(endpoints::connections.ne(connections)))
        .set((endpoints::connections.eq(connections), endpoints::epoch.eq(endpoints::epoch + 1)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("say how many connections an instance takes"))
}

/// How long a connection that comes during a hold waits at most before it is told to come again.
const HOLD_WAIT_MS: i32 = 5_000;

fn next_epoch(conn: &mut Conn, doing: &'static str, instance: InstanceId) -> Result<(), Error> {
    diesel::update(endpoints::table.find(instance.0))
        .set(endpoints::epoch.eq(endpoints::epoch + 1))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query(doing))
}

/// Has the endpoint hold new connections to the instance's address, and end those that are open where `cut`; a new
/// epoch unless it does so already. Only [`release`] ends it. The caller's transaction is guarded by the task's lease.
///
/// # Errors
/// [`Error::Broken`] when another task holds it; the store's.
pub fn hold(conn: &mut Conn, instance: InstanceId, task: TaskId, cut: bool) -> Result<(), Error> {
    let doing = "hold the endpoint";
    let now: Option<(uuid::Uuid, bool)> = holds::table
        .find(instance.0)
        .select((holds::task_id, holds::cut))
        .first(conn)
        .optional()
        .map_err(Error::query(doing))?;
    match now {
        Some((by, _)) if by != task.0 => {
            return Err(Error::Broken(format!("instance {instance} is held by the task {by}")));
        }
        Some((_, was)) if was == cut => return Ok(()),
        Some(_) => diesel::update(holds::table.find(instance.0)).set(holds::cut.eq(cut)).execute(conn),
        None => diesel::insert_into(holds::table)
            .values((
                holds::instance_id.eq(instance.0),
                holds::task_id.eq(task.0),
                holds::wait_ms.eq(HOLD_WAIT_MS),
                holds::cut.eq(cut),
            ))
            .execute(conn),
    }
    .map_err(Error::query(doing))?;
    next_epoch(conn, doing, instance)
}

/// Ends the task's hold. Happy when there is none. The caller's transaction is guarded by the task's lease.
///
/// # Errors
/// The store's.
pub fn release(conn: &mut Conn, instance: InstanceId, task: TaskId) -> Result<(), Error> {
    let doing = "release the endpoint";
    let ended = diesel::delete(holds::table.find(instance.0).filter(holds::task_id.eq(task.0)))
        .execute(conn)
        .map_err(Error::query(doing))?;
    if ended > 0 { next_epoch(conn, doing, instance) } else { Ok(()) }
}

/// How long the instance has been held, in milliseconds; `None` when it is not.
///
/// # Errors
/// The store's.
pub fn held_ms(conn: &mut Conn, instance: InstanceId) -> Result<Option<i64>, Error> {
    #[derive(QueryableByName)]
    struct Held {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        ms: i64,
    }
    let held: Option<Held> = diesel::sql_query(
        "select (extract(epoch from clock_timestamp() - since) * 1000)::bigint as ms from holds where instance_id = $1",
    )
    .bind::<diesel::sql_types::Uuid, _>(instance.0)
    .get_result(conn)
    .optional()
    .map_err(Error::query("ask how long the endpoint has held"))?;
    Ok(held.map(|held| held.ms))
}

/// A hold on an instance's address.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The task that made it.
    pub task: TaskId,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whether open connections were ended, too.
    pub cut: bool,
}

/// The hold on the instance's address.
///
/// # Errors
/// The store's.
pub fn hold_of(conn: &mut Conn, instance: InstanceId) -> Result<Option<Hold>, Error> {
    let found: Option<(uuid::Uuid, DateTime<Utc>, bool)> = holds::table
        .find(instance.0)
        .select((holds::task_id, holds::since, holds::cut))
        .first(conn)
        .optional()
        .map_err(Error::query("read a hold"))?;
    Ok(found.map(|(task, since, cut)| Hold { task: TaskId(task), since, cut }))
}

/// Whether the endpoint role has applied the instance's newest epoch; true when it has no endpoint.
///
/// # Errors
/// The store's.
pub fn applied(conn: &mut Conn, instance: InstanceId) -> Result<bool, Error> {
    let waiting: i64 = endpoints::table
        .find(instance.0)
        .filter(endpoints::applied_epoch.lt(endpoints::epoch))
        .count()
        .get_result(conn)
        .map_err(Error::query("ask whether the endpoint has applied"))?;
    Ok(waiting == 0)
}

/// Gives the instance's address back, and the certificate that names it.
///
/// # Errors
/// The store's.
pub fn remove(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    pki::forget_certificate(conn, instance)?;
    logs::forget(conn, instance)?;
    diesel::delete(endpoints::table.find(instance.0))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("remove the endpoint"))
}

/// The port on which a source's address relays its candidate to it: below the ports that the system gives
/// to outgoing connections, so that it can be taken again after any restart.
const RELAY_PORT: i32 = 13_306;

/// Asks for a relay to `generation` for the task's life, on the address of its own instance `at`. Happy when there is
/// one.
///
/// # Errors
/// The store's.
pub fn open_relay(
    conn: &mut Conn,
    task: TaskId,
    host: &HostId,
    generation: GenerationId,
    at: InstanceId,
) -> Result<(), Error> {
    let doing = "ask for a relay";
    let (address, listens, protocol): (String, bool, String) = endpoints::table
        .find(at.0)
        .select((endpoints::address, endpoints::listens, endpoints::protocol))
        .first(conn)
        .map_err(Error::query(doing))?;
    diesel::insert_into(relays::table)
        .values((
            relays::task_id.eq(task.0),
            relays::host_id.eq(&host.0),
            relays::generation_id.eq(generation.0),
            relays::address.eq(address),
            relays::port.eq(RELAY_PORT),
            relays::listens.eq(listens),
            relays::listening.eq(!listens),
            relays::protocol.eq(protocol),
        ))
        .on_conflict(relays::task_id)
        .do_nothing()
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query(doing))
}

/// Where the task's relay listens; `None` until it does.
///
/// # Errors
/// The store's.
pub fn relay(conn: &mut Conn, task: TaskId) -> Result<Option<(String, u16)>, Error> {
    let found: Option<(String, i32)> = relays::table
        .find(task.0)
        .filter(relays::listening)
        .select((relays::address, relays::port))
        .first(conn)
        .optional()
        .map_err(Error::query("read the relay"))?;
    Ok(found.and_then(|(address, port)| u16::try_from(port).ok().map(|port| (address, port))))
}

/// Ends the task's relay.
///
/// # Errors
/// The store's.
pub fn close_relay(conn: &mut Conn, task: TaskId) -> Result<(), Error> {
    diesel::delete(relays::table.find(task.0))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("end the relay"))
}
