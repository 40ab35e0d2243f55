//! Endpoints: the address of each instance and the generation that it leads to. The endpoint role applies a row and
//! writes the epoch that it applied.

use diesel::prelude::*;

use crate::db::schema::{endpoints, relays};
use crate::db::{Conn, Error, pki};
use crate::domain::ids::{GenerationId, HostId, InstanceId, TaskId};

/// Leads the instance's address to `generation`, or to nothing; a new epoch unless it leads there already.
///
/// # Errors
/// The store's.
pub fn lead(conn: &mut Conn, instance: InstanceId, generation: Option<GenerationId>) -> Result<(), Error> {
    let to = generation.map(|g| g.0);
    diesel::update(endpoints::table.find(instance.0).filter(endpoints::generation_id.is_distinct_from(to)))
        .set((endpoints::generation_id.eq(to), endpoints::epoch.eq(endpoints::epoch + 1)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("lead the endpoint"))
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
    let (address, listens): (String, bool) = endpoints::table
        .find(at.0)
        .select((endpoints::address, endpoints::listens))
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
