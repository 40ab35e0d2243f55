//! What becomes of tasks besides their steps: a customer who ends one before its one-way point, and an operator who
//! leads one on that is stuck.

use crate::commands::Error;
use crate::db::{
    Conn, Db, endpoints, events, generations, groups, instances, task_steps, tasks, upgrades, windows,
};
use crate::domain::caller::Caller;
use crate::domain::group::GroupState;
use crate::domain::ids::{GroupId, InstanceId, TaskId};
use crate::domain::instance::{Fault, Instance, InstanceEvent, InstanceState};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::task::{Phase, Plan, Progress, StepRecord, Task, TaskEvent, TaskKind, TaskState};
use crate::domain::timing::Timing;

/// Has a task end before its one-way point: its steps are undone. `Ok` also when that was asked before.
///
/// # Errors
/// A refusal: 403 by role, 404, 409 for one that is past that point, has ended, or is not of a kind that can be ended.
///
/// To end a creation is to delete what it makes.
pub async fn cancel(db: &Db, caller: &Caller, id: TaskId) -> Result<Task, Error> {
    allow(caller, Rule::InstanceUpdate)?;
    let caller = caller.clone();
    let delete = TaskId(uuid::Uuid::now_v7());
    db.transact(move |conn| {
        let missing = || Refusal::NotFound { what: id.to_string() };
        let seen = tasks::find(conn, id)?.filter(|task| caller.sees(&task.project)).ok_or_else(missing)?;
        // What it makes is locked first, as whoever deletes it does.
        let is_made = match &seen.plan {
            Plan::Create(plan) => delete_unmade(conn, &caller, plan.instance, delete)?,
            Plan::MakeGroup(plan) => delete_unmade_group(conn, &caller, plan.group, delete)?,
            _other => false,
        };
        if is_made {
            return tasks::find(conn, id)?.ok_or_else(|| missing().into());
        }
        let mut task = tasks::lock(conn, id)?.ok_or_else(missing)?;
        let kind = task.kind();
        let too_late =
            |why: &str| Refusal::TooLate { what: format!("Task {id} cannot be cancelled: {why}.") };
        match task.progress {
            Progress::At(Phase::Abandon, _) => return Ok(task),
            Progress::At(phase, _) if phase.can_cancel(kind) && !kind.makes() => {
                tasks::ask_to_cancel(conn, id)?;
                task.cancel_asked = true;
            }
            // It has changed nothing: nothing is undone.
            Progress::Deferred => {
                let next = task.progress.after(kind, TaskEvent::Withdrawn);
                let next = next.map_err(|_| too_late("it has begun"))?;
                tasks::advance(conn, &task, next, std::time::Duration::ZERO)?;
                task.progress = next;
            }
            Progress::Scheduled if kind.cuts_over() => {
                let next = task.progress.after(kind, TaskEvent::AbandonAccepted);
                let next = next.map_err(|_| too_late("it has begun"))?;
                tasks::advance(conn, &task, next, std::time::Duration::ZERO)?;
                task.progress = next;
            }
            Progress::Ended(state) => return Err(too_late(&format!("it has {}", state.as_str())).into()),
            Progress::At(Phase::Undo, _) => return Err(too_late("it is being undone already").into()),
            Progress::At(Phase::Finish, _) if kind == TaskKind::Failover => {
                return Err(too_late("it is past its one-way point, and the roles have changed").into());
            }
            Progress::At(Phase::Finish | Phase::Detach, _) => {
                return Err(too_late("it is past its one-way point, and the new version serves").into());
            }
            Progress::NeedsOperator => return Err(too_late("an operator is needed").into()),
            Progress::At(_, _) | Progress::Scheduled | Progress::Verifying => {
                let why = match kind {
                    TaskKind::ReplicaUpgrade => "delete the new instance to abandon this upgrade",
                    TaskKind::Switchback => "it is past its one-way point, and the new version serves",
                    _other => "only creations, and upgrades of the same instance, can be",
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

/// Deletes an instance that is being made; whether it is on its way out.
fn delete_unmade(conn: &mut Conn, caller: &Caller, id: InstanceId, task: TaskId) -> Result<bool, Error> {
    let state = instances::lock(conn, id)?.map(|instance| instance.state);
    if state == Some(InstanceState::Building) {
        super::instances::accept_deletion(conn, caller, id, task)?;
    }
    Ok(matches!(state, Some(InstanceState::Building | InstanceState::Deleting)))
}

/// The same of a group.
fn delete_unmade_group(conn: &mut Conn, caller: &Caller, id: GroupId, task: TaskId) -> Result<bool, Error> {
    let state = groups::lock(conn, id)?.map(|group| group.state);
    if state == Some(GroupState::Building) {
        super::groups::delete(conn, caller, id, task)?;
    }
    Ok(matches!(state, Some(GroupState::Building | GroupState::Deleting)))
}

/// An upgrade that was accepted for later with its instance, both locked, in the order in which everybody locks them.
fn lock_deferred(conn: &mut Conn, caller: &Caller, id: TaskId) -> Result<(Task, Instance), Error> {
    let missing = || Refusal::NotFound { what: id.to_string() };
    let seen = tasks::find(conn, id)?.filter(|task| caller.sees(&task.project)).ok_or_else(missing)?;
    let instance = upgrades::lock_subject(conn, &seen.plan)?;
    let task = tasks::lock(conn, id)?.ok_or_else(missing)?;
    let begun =
        |why: &str| Refusal::TooLate { what: format!("Task {id} does not wait for its time: {why}.") };
    match (task.progress, instance) {
        (Progress::Deferred, Some(instance)) => Ok((task, instance)),
        (Progress::Deferred, None) => Err(begun("its instance is gone").into()),
        (Progress::Ended(state), _) => Err(begun(&format!("it has {}", state.as_str())).into()),
        (Progress::Scheduled | Progress::At(_, _) | Progress::Verifying | Progress::NeedsOperator, _) => {
            Err(begun("it has begun").into())
        }
    }
}

/// Has an upgrade that was accepted for later begin at another time; at once for [`Timing::Now`].
///
/// # Errors
/// A refusal: 403 by role, 404, 409 for one that has begun or ended, and what an upgrade that begins then is refused for.
pub async fn reschedule(db: &Db, caller: &Caller, id: TaskId, timing: Timing) -> Result<Task, Error> {
    allow(caller, Rule::InstanceUpdate)?;
    let caller = caller.clone();
    db.transact(move |conn| {
        let (task, mut instance) = lock_deferred(conn, &caller, id)?;
        let (window, _) = windows::of(conn, &instance.project, Some(instance.id))?;
        match timing.starts(&window, windows::now(conn)?) {
            None => upgrades::start(conn, &mut instance, &task, &caller.user)??,
            Some(starts) => {
                // What an upgrade that runs meanwhile does to the instance is seen when it begins.
                if !tasks::is_claimed(conn, instance.id)? {
                    upgrades::look_again(conn, &instance, &task, Some(starts))??;
                }
                tasks::postpone(conn, &task, timing, starts, starts)?;
                let data = serde_json::json!({"when": timing.as_str(), "starts": starts});
                events::record(
                    conn,
                    &events::Event {
                        project: &task.project,
                        instance: Some(instance.id),
                        task: Some(id),
                        actor: &caller.user,
                        what: "upgrade_moved",
                        data,
                    },
                )?;
            }
        }
        Ok(tasks::find(conn, id)?.unwrap_or(task))
    })
    .await
}

/// Every task that waits for an operator, the one that moved last first; 1,000 at most.
///
/// # Errors
/// A refusal: 403 by role.
pub async fn stuck(db: &Db, caller: &Caller) -> Result<Vec<Task>, Error> {
    allow(caller, Rule::Manage)?;
    Ok(db.run(tasks::stuck).await?)
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

/// Everything that is known of a task.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// The task.
    pub task: Task,
    /// Each try of each step.
    pub steps: Vec<StepRecord>,
    /// The instance that it is about, as long as it is there.
    pub instance: Option<Instance>,
    /// The hold on the instance's address.
    pub hold: Option<endpoints::Hold>,
    /// Where its relay listens.
    pub relay: Option<(String, u16)>,
    /// The servers of the instance, or of the group's members, the first one of each in front.
    pub servers: Vec<generations::Standing>,
}

/// Everything that is known of a task, for whoever must lead it out of trouble.
///
/// # Errors
/// A refusal: 403 by role, 404.
pub async fn dossier(db: &Db, caller: &Caller, id: TaskId) -> Result<Dossier, Error> {
    allow(caller, Rule::Manage)?;
    db.run(move |conn| {
        let task = tasks::find(conn, id)?.ok_or_else(|| Refusal::NotFound { what: id.to_string() })?;
        let subject = task.plan.subject();
        let members = match task.plan.group() {
            Some(group) => groups::find(conn, group)?.map(|group| group.members).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut servers = Vec::new();
        for member in
            if members.is_empty() { vec![subject] } else { members.iter().map(|it| it.id).collect() }
        {
            servers.extend(generations::standing(conn, member)?);
        }
        Ok(Dossier {
            steps: task_steps::of(conn, id)?,
            instance: instances::find(conn, subject)?,
            hold: endpoints::hold_of(conn, task.plan.address())?,
            relay: endpoints::relay(conn, id)?,
            servers,
            task,
        })
    })
    .await
}

/// Hours that the other server's data is kept at least, when a task is resolved.
const KEPT_HOURS: u32 = 24;

/// Ends a stuck upgrade of the same instance as it stands: an operator says which server serves, and it must be so by the
/// service's records. Hold, relay and claims go; the server that serves shall run and take writes, and the other one's
/// data is kept, unless an earlier upgrade's old server is kept still.
///
/// # Errors
/// A refusal: 403 by role, 404, 422 for what is not stuck, is no such upgrade, or is not as was said.
pub async fn resolve(db: &Db, caller: &Caller, id: TaskId, said: &str) -> Result<Dossier, Error> {
    allow(caller, Rule::Manage)?;
    let (by, said) = (caller.clone(), said.to_owned());
    db.transact(move |conn| {
        let mut task = tasks::lock(conn, id)?.ok_or_else(|| Refusal::NotFound { what: id.to_string() })?;
        let subject = task.plan.subject();
        let mut instance = instances::lock(conn, subject)?
            .ok_or_else(|| Refusal::Blocked(format!("Task {id}: its instance is gone.")))?;
        let serving = instance.running.as_ref().map(|running| running.generation);
        let end = crate::domain::stuck_tasks::decide(&task, serving, &said)?;
        // An instance keeps one: where an earlier upgrade's old server is kept still, the candidate, which no tenant has
        // reached, is not kept beside it; its host deletes it. What an earlier hop of this upgrade kept is another thing.
        let earlier = generations::retired(conn, subject)?.filter(|kept| kept.id != end.other);
        let is_own = |kept: &generations::Kept| match &task.plan {
            Plan::Upgrade(plan) => plan.passed.iter().any(|hop| hop.old == kept.id),
            _other => false,
        };
        if let Some(own) = earlier.as_ref().filter(|kept| is_own(kept)) {
            return Err(Refusal::Blocked(format!(
                "Task {id}: the instance keeps the server {} of an earlier hop, and one more cannot be kept: mend \
                 what stands in the way, and retry.",
                own.id
            ))
            .into());
        }
        endpoints::release(conn, subject, id)?;
        endpoints::close_relay(conn, id)?;
        // The other one first: at no time may both of them take writes.
        generations::set_settings(conn, end.other, true, false)?;
        generations::set_wanted(conn, end.other, false)?;
        if earlier.is_none() {
            generations::keep_at_least(conn, end.other, KEPT_HOURS)?;
        }
        generations::set_settings(conn, end.serving, false, true)?;
        generations::set_wanted(conn, end.serving, true)?;
        instance.state = instance.state.after(InstanceEvent::UpgradeEnded).map_err(|e| {
            Refusal::Blocked(format!("Task {id}: its instance is not being upgraded: {e}."))
        })?;
        if end.state == TaskState::Succeeded {
            instance.fault = None;
            task.reason = None;
        } else {
            instance.fault = Some(Fault {
                message: task.reason.clone().unwrap_or_else(|| "The upgrade was ended by an operator.".to_owned()),
                details: task.operator_reason.clone(),
                at: chrono::Utc::now(),
            });
        }
        instances::save(conn, &instance)?;
        tasks::advance(conn, &task, Progress::Ended(end.state), std::time::Duration::ZERO)?;
        events::record(
            conn,
            &events::Event {
                project: &task.project,
                instance: Some(subject),
                task: Some(id),
                actor: &by.user,
                what: "task_resolved",
                data: serde_json::json!({"state": end.state.as_str(), "serving": end.serving}),
            },
        )
        .map_err(Error::from)
    })
    .await?;
    dossier(db, caller, id).await
}
