//! Maintenance windows: an instance's own, and its project's default. Whatever waits for a window that is changed is
//! planned anew in the same transaction.

use chrono::{DateTime, Utc};

use crate::commands::Error;
use crate::commands::instances::visible;
use crate::db::{Conn, Db, events, instances, tasks, windows};
use crate::domain::caller::Caller;
use crate::domain::ids::{InstanceId, ProjectId};
use crate::domain::policy::{Rule, allow};
use crate::domain::timing::Timing;
use crate::domain::window::{Source, Window};

/// A window as it is seen at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The window.
    pub window: Window,
    /// Where it comes from.
    pub source: Source,
    /// The moment.
    pub now: DateTime<Utc>,
}

/// The window of an instance, or the default of the caller's project for `None`.
///
/// # Errors
/// A refusal: 404 for an instance.
pub async fn see(db: &Db, caller: &Caller, id: Option<InstanceId>) -> Result<Seen, Error> {
    let caller = caller.clone();
    db.run(move |conn| {
        let project = project(conn, &caller, id)?;
        seen(conn, &project, id)
    })
    .await
}

/// Gives an instance a window, or the caller's project a default for `None`; with no window takes its own away.
///
/// # Errors
/// A refusal: 404 for an instance, 403 by role.
pub async fn set(
    db: &Db,
    caller: &Caller,
    id: Option<InstanceId>,
    window: Option<Window>,
) -> Result<Seen, Error> {
    let caller = caller.clone();
    db.transact(move |conn| {
        let project = match id {
            Some(id) => visible(instances::lock(conn, id)?, &caller, id)?.project,
            None => caller.project.clone(),
        };
        allow(&caller, Rule::InstanceUpdate)?;
        match (window, id) {
            (Some(window), _) => windows::set(conn, &project, id, &window)?,
            (None, Some(id)) => windows::drop_own(conn, id)?,
            (None, None) => windows::drop_default(conn, &project)?,
        }
        let seen = seen(conn, &project, id)?;
        plan_anew(conn, &project, id, &seen)?;
        let what = if window.is_some() { "window_set" } else { "window_dropped" };
        let data = serde_json::json!({"window": seen.window.to_string(), "source": seen.source.as_str()});
        let (project, actor) = (&project, &*caller.user);
        events::record(conn, &events::Event { project, instance: id, task: None, actor, what, data })?;
        Ok(seen)
    })
    .await
}

fn project(conn: &mut Conn, caller: &Caller, id: Option<InstanceId>) -> Result<ProjectId, Error> {
    match id {
        Some(id) => Ok(visible(instances::find(conn, id)?, caller, id)?.project),
        None => Ok(caller.project.clone()),
    }
}

fn seen(conn: &mut Conn, project: &ProjectId, id: Option<InstanceId>) -> Result<Seen, Error> {
    let (window, source) = windows::of(conn, project, id)?;
    Ok(Seen { window, source, now: windows::now(conn)? })
}

/// Has what waits for this window begin in it as it is now.
fn plan_anew(conn: &mut Conn, project: &ProjectId, id: Option<InstanceId>, seen: &Seen) -> Result<(), Error> {
    let Some(starts) = Timing::Window.starts(&seen.window, seen.now) else { return Ok(()) };
    for task in tasks::wait_for_window(conn, project, id)? {
        if let Some(task) = tasks::find(conn, task)? {
            tasks::postpone(conn, &task, Timing::Window, starts, starts)?;
        }
    }
    Ok(())
}
