//! What becomes of tasks besides their steps: a customer who ends one before its one-way point, and an operator who
//! leads one on that is stuck.

use crate::commands::Error;
use crate::db::{Db, events, tasks};
use crate::domain::caller::Caller;
use crate::domain::ids::TaskId;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::task::{Phase, Progress, Task, TaskEvent, TaskKind};

/// Has a task end before its one-way point: its steps are undone. `Ok` also when that was asked before.
///
/// # Errors
/// A refusal: 404, 403 by role, 409 for one that is past that point, has ended, or is not of a kind that can be ended.
pub async fn cancel(db: &Db, caller: &Caller, id: TaskId) -> Result<Task, Error> {
    let caller = caller.clone();
    db.transact(move |conn| {
        let mut task = tasks::lock(conn, id)?
            .filter(|task| caller.sees(&task.project))
            .ok_or_else(|| Refusal::NotFound { what: id.to_string() })?;
        allow(&caller, Rule::InstanceUpdate)?;
        let kind = task.kind();
        let too_late =
            |why: &str| Refusal::TooLate { what: format!("Task {id} cannot be cancelled: {why}.") };
        match task.progress {
            Progress::At(Phase::Abandon, _) => return Ok(task),
            Progress::At(phase, _) if phase.can_cancel(kind) => {
                tasks::ask_to_cancel(conn, id)?;
                task.cancel_asked = true;
            }
            Progress::Scheduled if kind.switches() => {
                let next = task.progress.after(kind, TaskEvent::AbandonAccepted);
                let next = next.map_err(|_| too_late("it has begun"))?;
                tasks::advance(conn, &task, next, std::time::Duration::ZERO)?;
                task.progress = next;
            }
            Progress::Ended(state) => return Err(too_late(&format!("it has {}", state.as_str())).into()),
            Progress::At(Phase::Undo, _) => return Err(too_late("it is being undone already").into()),
            Progress::At(Phase::Finish | Phase::Detach, _) => {
                return Err(too_late("it is past its one-way point, and the new version serves").into());
            }
            Progress::NeedsOperator => return Err(too_late("an operator is needed").into()),
            Progress::At(_, _) | Progress::Scheduled | Progress::Verifying => {
                let why = match kind {
                    TaskKind::Upgrade => "delete the new instance to abandon this upgrade",
                    _other => "only upgrades of the same instance can be",
                };
                return Err(too_late(why).into());
            }
        }
        events::record(
            conn,
            &events::Event {
                project: &task.project,
                instance: None,
                task: Some(id),
                actor: &caller.user,
                what: "cancel_accepted",
                data: serde_json::json!({}),
            },
        )?;
        Ok(task)
    })
    .await
}

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
