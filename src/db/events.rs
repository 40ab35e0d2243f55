//! Events: what happened, who asked, for audit and for watching a task.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::db::schema::events;
use crate::db::{Conn, Error};
use crate::domain::ids::{InstanceId, ProjectId, TaskId};

/// What happened.
pub struct Event<'a> {
    /// The project that owns what it happened to.
    pub project: &'a ProjectId,
    /// The instance.
    pub instance: Option<InstanceId>,
    /// The task.
    pub task: Option<TaskId>,
    /// The user's id, or `worker`.
    pub actor: &'a str,
    /// A word: `upgrade_accepted` for example.
    pub what: &'a str,
    /// More of it. Never a secret.
    pub data: serde_json::Value,
}

/// Records an event.
///
/// # Errors
/// The store's.
pub fn record(conn: &mut Conn, event: &Event<'_>) -> Result<(), Error> {
    diesel::insert_into(events::table)
        .values((
            events::project_id.eq(event.project.as_str()),
            events::instance_id.eq(event.instance.map(|id| id.0)),
            events::task_id.eq(event.task.map(|id| id.0)),
            events::actor.eq(event.actor),
            events::what.eq(event.what),
            events::data.eq(&event.data),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record an event"))
}

/// Whether something happened to an instance since `from`.
///
/// # Errors
/// The store's.
pub fn happened_since(
    conn: &mut Conn,
    instance: InstanceId,
    what: &str,
    from: DateTime<Utc>,
) -> Result<bool, Error> {
    let found = events::table
        .filter(events::instance_id.eq(instance.0))
        .filter(events::what.eq(what))
        .filter(events::at.gt(from));
    diesel::select(diesel::dsl::exists(found))
        .get_result(conn)
        .map_err(Error::query("read whether something happened"))
}

/// When something happened to an instance first, and who asked for it.
///
/// # Errors
/// The store's.
pub fn first(
    conn: &mut Conn,
    instance: InstanceId,
    what: &str,
) -> Result<Option<(DateTime<Utc>, String)>, Error> {
    events::table
        .filter(events::instance_id.eq(instance.0))
        .filter(events::what.eq(what))
        .order(events::at)
        .select((events::at, events::actor))
        .first(conn)
        .optional()
        .map_err(Error::query("read when something happened first"))
}
