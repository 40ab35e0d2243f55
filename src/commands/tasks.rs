//! What an operator does with a task that is stuck.

use crate::commands::Error;
use crate::db::{Db, events, tasks};
use crate::domain::caller::Caller;
use crate::domain::ids::TaskId;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::task::{Phase, Progress, Task, TaskEvent};

/// Every task that waits for an operator, the one that moved last first; 1,000 at most.
///
/// # Errors
/// A refusal: 403 by role.
pub async fn stuck(db: &Db, caller: &Caller) -> Result<Vec<Task>, Error> {
    allow(caller, Rule::Manage)?;
    Ok(db.read(tasks::stuck).await?)
}

/// Lets a stuck task go on with the step at which it is stuck, after what stood in its way was mended.
///
/// # Errors
/// A refusal: 403 by role, 404, 422 for a task that is not stuck.
pub async fn retry(db: &Db, caller: &Caller, id: TaskId) -> Result<Task, Error> {
    allow(caller, Rule::Manage)?;
    let caller = caller.clone();
    db.transact(move |conn| {
        let mut task = tasks::lock(conn, id)?.ok_or_else(|| Refusal::NotFound { what: id.to_string() })?;
        let stuck_at = tasks::last_step(conn, id)?;
        let next = match (task.progress, stuck_at) {
            (Progress::NeedsOperator, Some((phase, step))) => {
                task.progress.after(task.kind(), TaskEvent::OperatorRetried(phase, step)).ok()
            }
            (_, _) => None,
        };
        let next = next.ok_or_else(|| {
            Refusal::Blocked(format!("Task {id} is {}, not needs_operator.", task.progress.state().as_str()))
        })?;
        // Why an upgrade is undone stays said; why it was stuck is over.
        if !matches!(next, Progress::At(Phase::Undo, _)) {
            task.reason = None;
        }
        task.operator_reason = None;
        tasks::advance(conn, &task, next, std::time::Duration::ZERO)?;
        events::record(
            conn,
            &events::Event {
                project: &task.project,
                instance: None,
                task: Some(id),
                actor: &caller.user,
                what: "task_retried",
                data: serde_json::json!({}),
            },
        )?;
        Ok(tasks::find(conn, id)?.unwrap_or(task))
    })
    .await
}
