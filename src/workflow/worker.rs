//! The worker: wake, claim a lease, run one step, record, repeat.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::db::notices::Channel;
use crate::db::upgrades::{self, Became};
use crate::db::{self, Conn, task_steps, tasks};
use crate::domain::ids::TaskId;
use crate::domain::task::{Phase, Progress, Step, Task, TaskEvent, TaskKind, TaskState};
use crate::domain::upgrade::Strategy;
use crate::telemetry::metrics;
use crate::testing::{self, Defect, planted};
use crate::workflow::step::{StepContext, StepError, StepOutcome};
use crate::workflow::{WorkerContext, chain, for_tenants, kinds, simulation};

/// The actor of what nobody asked for this moment.
pub(super) const WORKER: &str = "worker";

/// The pause before a store that was away is asked again.
const AWAY: Duration = Duration::from_millis(100);

/// The pause before a task that was let go may be claimed again by the same worker.
const LET_GO: Duration = Duration::from_secs(1);

/// Tasks that one worker runs at a time.
const AT_ONCE: usize = 8;

/// Tries of a step before it counts as failed; with the waits below about ten minutes and the tries themselves.
const TRIES: i32 = 45;

/// How often a running step looks whether its customer has cancelled it, at least.
const CANCEL_LOOK: Duration = Duration::from_secs(3);

/// Tries of a step that was refused, where it can be undone.
const BRIEF_TRIES: i32 = 5;

/// Tries of a step that is not done by its deadline, where it can be undone and nobody waits.
const TIMED_OUT_TRIES: i32 = 2;

/// How long a step is tried while tenants wait for it, where it can be undone: so long that a server that died is up
/// again. It counts from the step's first try, since a try may itself take a while, and at least one more is made.
const HELD_PATIENCE: Duration = Duration::from_secs(15);

/// The pause between tries while tenants wait.
const HELD_PAUSE: Duration = Duration::from_millis(500);

/// How often a task goes back to an earlier step before it counts as failed.
const REDOS: i32 = 6;

/// Runs tasks until `stop` becomes true; then running steps are dropped where they are, and go on in the next worker.
pub async fn run(worker: Arc<WorkerContext>, owner: String, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let at_work = Arc::new(Mutex::new(HashSet::new()));
    while !*stop.borrow() {
        while running.try_join_next().is_some() {}
        let claimed = match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => {
                let (host, owner, lease) = (worker.host.clone(), owner.clone(), worker.lease);
                let mine: Vec<TaskId> = held(&at_work).iter().copied().collect();
                let claim = move |conn: &mut Conn| tasks::claim_next(conn, &host, &owner, &mine, lease);
                match worker.db.transact(claim).await {
                    Ok(task) => task.map(|task| (task, permit)),
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "no task could be claimed");
                        None
                    }
                }
            }
            Err(_) => None,
        };
        if let Some((task, permit)) = claimed {
            let (worker, at_work) = (Arc::clone(&worker), Arc::clone(&at_work));
            held(&at_work).insert(task.id);
            let span = tracing::info_span!("task", task.id = %task.id, kind = task.kind().as_str());
            running.spawn(
                async move {
                    let id = task.id;
                    run_task(worker, task).await;
                    held(&at_work).remove(&id);
                    drop(permit);
                }
                .instrument(span),
            );
        } else {
            tokio::select! {
                () = worker.notices.wait(Channel::Tasks, Duration::from_secs(1)) => {}
                _ = stop.changed() => {}
            }
        }
    }
    running.shutdown().await;
}

fn held(at_work: &Mutex<HashSet<TaskId>>) -> MutexGuard<'_, HashSet<TaskId>> {
    at_work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a claimed task until it waits, ends, or its lease is lost.
async fn run_task(worker: Arc<WorkerContext>, mut task: Task) {
    let mut away_since: Option<Instant> = None;
    loop {
        let moved = match task.progress {
            Progress::Deferred => take_up(&worker, &task).await,
            Progress::Scheduled => begin(&worker, &task).await,
            Progress::At(phase, _) if task.cancel_asked && phase.can_cancel(task.kind()) => {
                abandon(&worker, &task).await
            }
            Progress::At(phase, step) => run_step(&worker, &task, phase, step).await,
            Progress::Verifying | Progress::NeedsOperator | Progress::Ended(_) => return,
        };
        match moved {
            Ok(Some(next)) => {
                away_since = None;
                task = next;
            }
            Ok(None) => return,
            // The store is back in a moment, usually, and what a step did is not worth doing again for that. When the
            // lease has run out meanwhile, the next write says so.
            Err(error)
                if error.is_away()
                    && away_since.get_or_insert_with(Instant::now).elapsed() < worker.lease =>
            {
                tracing::debug!(error = %chain(&error), "the store is away");
                tokio::time::sleep(AWAY).await;
            }
            Err(error) => {
                if matches!(error, db::Error::LeaseLost) {
                    metrics::lease_lost();
                }
                // Nothing was recorded: the same step is run again, by whoever claims the task next.
                tracing::warn!(error = %chain(&error), "the task was let go");
                tokio::time::sleep(LET_GO).await;
                return;
            }
        }
    }
}

/// Takes up a task that was accepted for later: it begins, waits on, or ends with the reason.
async fn take_up(worker: &WorkerContext, task: &Task) -> Result<Option<Task>, db::Error> {
    let (due, lease) = (task.clone(), worker.lease);
    let point = |when: &str| format!("{}.deferred.take_up.{when}", task.kind().as_str());
    testing::pause(|| point("before")).await;
    let became = worker
        .db
        .transact(move |conn| {
            // The instance first, as whoever changes it does.
            let instance = upgrades::lock_subject(conn, &due.plan)?;
            tasks::guard_place(conn, &due, lease)?;
            let now = tasks::find(conn, due.id)?.ok_or(db::Error::LeaseLost)?;
            upgrades::take_up(conn, instance, &now, WORKER)
        })
        .await?;
    match became {
        Became::Begun => tracing::info!("an upgrade that was planned begins"),
        Became::Waits => tracing::info!("an upgrade that is planned waits on"),
        Became::Ended(reason) => {
            metrics::task_ended(task.kind().as_str(), TaskState::RolledBack.as_str());
            tracing::info!(reason, "an upgrade that was planned cannot begin");
        }
    }
    testing::pause(|| point("after")).await;
    Ok(None)
}

/// Ends a task as its customer asked, between two tries of a step: nothing more is tried.
async fn abandon(worker: &WorkerContext, task: &Task) -> Result<Option<Task>, db::Error> {
    let next = advance(task, TaskEvent::AbandonAccepted)?;
    let (task, lease) = (task.clone(), worker.lease);
    worker
        .db
        .transact(move |conn| {
            tasks::guard_place(conn, &task, lease)?;
            tasks::advance(conn, &task, next, Duration::ZERO)?;
            tasks::find(conn, task.id)
        })
        .await
}

async fn begin(worker: &WorkerContext, task: &Task) -> Result<Option<Task>, db::Error> {
    let next = advance(task, TaskEvent::Begun)?;
    let (task, lease) = (task.clone(), worker.lease);
    worker
        .db
        .transact(move |conn| {
            tasks::guard_place(conn, &task, lease)?;
            tasks::advance(conn, &task, next, Duration::ZERO)?;
            tasks::find(conn, task.id)
        })
        .await
}

/// Runs one step and records it. Gives the task when its lease goes on.
async fn run_step(
    worker: &Arc<WorkerContext>,
    task: &Task,
    phase: Phase,
    step: Step,
) -> Result<Option<Task>, db::Error> {
    let began = tokio::time::Instant::now();
    let (record, bytes, held) = {
        let (task, lease) = (task.clone(), worker.lease);
        worker
            .db
            .transact(move |conn| {
                tasks::guard_place(conn, &task, lease)?;
                let record = task_steps::begin(conn, &task, phase, step)?;
                let (bytes, held) = task_steps::limits(conn, task.id)?;
                Ok::<_, db::Error>((record, bytes, held))
            })
            .await?
    };
    let deadline = deadline(worker, task.kind(), (phase, step), bytes, held);
    let span = tracing::info_span!("step", step = step.as_str(), phase = phase.as_str());
    let attempt = task.attempts + 1;
    let ctx = StepContext { worker: Arc::clone(worker), task: task.clone(), attempt, record };
    let outcome = async {
        tokio::select! {
            // First of all: a worker that was frozen past its lease and wakes must not act once more.
            biased;
            end = keep_lease(worker, task, began, phase) => Err(end),
            outcome = std::panic::AssertUnwindSafe(act(&ctx, phase, step)).catch_unwind() => {
                // The panic's own words are in the log.
                outcome.unwrap_or_else(|_| Err(StepError::RetryBriefly("the step panicked".to_owned())))
            }
            // Dropped, the step's programs are killed with all that they started.
            () = tokio::time::sleep(deadline) => Err(StepError::TimedOut(deadline)),
        }
    }
    .instrument(span.clone())
    .await;
    let point = |when: &str| format!("{}.{}.{}.{when}", task.kind().as_str(), phase.as_str(), step.as_str());
    if outcome.is_ok() {
        testing::pause(|| point("before")).await;
    }
    let entered = span.enter();
    let mut decision = match outcome {
        Ok(done) => {
            let event = match &done.decided {
                Some((Strategy::InPlace, _)) => TaskEvent::StrategyFixed(TaskKind::UpgradeInPlace),
                Some((Strategy::Twin, _)) => TaskEvent::StrategyFixed(TaskKind::UpgradeTwin),
                None if done.given_up.is_some() => TaskEvent::TwinGivenUp,
                None if done.goes_on => TaskEvent::NextHop,
                None => TaskEvent::StepDone,
            };
            Decision {
                event,
                wait: Duration::ZERO,
                word: "done",
                detail: done.detail.clone(),
                task: task.clone(),
                done: Some(done),
            }
        }
        Err(StepError::LeaseLost) => return Err(db::Error::LeaseLost),
        Err(error) => decide(task, attempt, phase, error, &tried(worker, task, (phase, step), attempt).await),
    };
    let next = advance(task, decision.event)?;
    metrics::step(task.kind().as_str(), step.as_str(), decision.word, began.elapsed());
    let detail = decision.detail.as_deref();
    if decision.event == TaskEvent::StepFailed {
        tracing::warn!(reason = detail, next = next.state().as_str(), "the step failed");
    } else if decision.word != "done" {
        tracing::info!(reason = detail, "the step will be tried again");
    }
    if next.state() == TaskState::NeedsOperator {
        tracing::error!(reason = detail, "the task needs an operator");
    }
    drop(entered);
    decision.task.attempts = attempt;
    let away_since = Instant::now();
    let recorded = loop {
        let recorded = record_step(worker, record, (phase, step), decision.clone(), next).await;
        match &recorded {
            // As above; and a record whose commit was not heard of is found to be there.
            Err(error) if error.is_away() && away_since.elapsed() < worker.lease => {
                tokio::time::sleep(AWAY).await;
            }
            _ => break recorded,
        }
    };
    let refused = match recorded {
        Err(error) if error.is_away() => return Err(error),
        Err(error @ (db::Error::Broken(_) | db::Error::Row(_) | db::Error::Query { .. })) => error,
        other => {
            told(task, next);
            if decision.word == "done" {
                testing::pause(|| point("after")).await;
            }
            return other;
        }
    };
    let operator = format!("the step's record was refused: {}", chain(&refused));
    let error = if refused.is_lasting() {
        // What was done cannot be recorded as done, and would not be the next time either: a failure of the step.
        StepError::RollBack {
            tenant: format!(
                "The {} could not be completed, as what it did could not be recorded. Ask the operator what became of it.",
                task.kind().title()
            ),
            operator,
        }
    } else {
        // A full disk, a lost race, a query that was cancelled: the store's trouble, and not the step's.
        StepError::Retry(operator)
    };
    let tried = tried(worker, task, (phase, step), attempt).await;
    let mut decision = decide(task, attempt, phase, error, &tried);
    decision.task.attempts = attempt;
    let next = advance(task, decision.event)?;
    tracing::error!(
        reason = decision.detail.as_deref(),
        next = next.state().as_str(),
        "the step's record was refused"
    );
    record_step(worker, record, (phase, step), decision, next).await
}

/// How long this try of a step may take. What is not within a hold may also wait for sessions of the tenant's.
fn deadline(
    worker: &WorkerContext,
    kind: TaskKind,
    (phase, step): (Phase, Step),
    bytes: i64,
    held: Duration,
) -> Duration {
    // Where there is no way back, a step that is ended sooner is only begun sooner: a server that hangs while it starts is
    // ended by its runtime, which takes the time that it takes.
    let factor = if phase.can_undo(kind) { worker.deadline_factor } else { worker.deadline_factor.max(1.0) };
    // What was held is real time, and the deadline is scaled.
    let own = kind.deadline((phase, step), bytes, held.div_f64(factor)).mul_f64(factor);
    if kind.holds(phase, step) { own } else { own.saturating_add(worker.quiet) }
}

/// Counts a task that does not go on by itself, and says how it ended.
fn told(task: &Task, next: Progress) {
    let state = next.state();
    if matches!(state, TaskState::Scheduled | TaskState::Running) {
        return;
    }
    metrics::task_ended(task.kind().as_str(), state.as_str());
    tracing::info!(state = state.as_str(), "the task rests");
}

async fn act(ctx: &StepContext, phase: Phase, step: Step) -> Result<StepOutcome, StepError> {
    testing::pause(|| {
        let (kind, instance) = (ctx.task.kind().as_str(), ctx.task.plan.subject());
        format!("{kind}.{}.{}.begun.{instance}", phase.as_str(), step.as_str())
    })
    .await;
    simulation::rehearse(ctx, step).await?;
    kinds::act(ctx, phase, step).await
}

async fn record_step(
    worker: &WorkerContext,
    record: i64,
    (phase, step): (Phase, Step),
    decision: Decision,
    next: Progress,
) -> Result<Option<Task>, db::Error> {
    let Decision { wait, word, detail, task, done, .. } = decision;
    let lease = worker.lease;
    worker
        .db
        .transact(move |conn| {
            let mut task = task.clone();
            let cancelled = tasks::guard(conn, task.id, task.lease, lease)? && phase.can_cancel(task.kind());
            let (next, wait) = if cancelled {
                (advance(&task, TaskEvent::AbandonAccepted)?, Duration::ZERO)
            } else {
                (next, wait)
            };
            if task_steps::end(conn, record, word, detail.as_deref())? {
                // What a step did is not made true once its task shall end: the way back looks at what is there.
                if let Some(done) = done.as_ref().filter(|_| !cancelled) {
                    kinds::commit(conn, &mut task, phase, step, done)?;
                }
                tasks::advance(conn, &task, next, wait)?;
            }
            if next.state() == TaskState::Running && wait.is_zero() {
                tasks::find(conn, task.id)
            } else {
                Ok(None)
            }
        })
        .await
}

/// What follows from a try of a step, and is recorded with it.
#[derive(Clone, Debug)]
struct Decision {
    /// What happens to the task.
    event: TaskEvent,
    /// How long nobody takes the task up again.
    wait: Duration,
    /// How the try ended: `done`, `retry`, `redo` or `failed`.
    word: &'static str,
    /// What the try left, in words for the operator.
    detail: Option<String>,
    /// The task as it is from now on.
    task: Task,
    /// What the step did, where it did what it is for.
    done: Option<StepOutcome>,
}

/// What is known of the tries of a step; nothing, where nobody can be asked: then it is tried again.
#[derive(Clone, Debug, Default)]
struct Tried {
    /// For how long it has been tried.
    over: Duration,
    /// Why the last try before this one is made again.
    refused: Option<String>,
}

async fn tried(worker: &WorkerContext, task: &Task, (phase, step): (Phase, Step), attempt: i32) -> Tried {
    let id = task.id;
    let asked = worker.db.run(move |conn| {
        let over = task_steps::tried_for(conn, id, step, attempt)?;
        Ok::<_, db::Error>(Tried { over, refused: task_steps::last_refusal(conn, id, phase, step)? })
    });
    asked.await.unwrap_or_default()
}

/// Whether two refusals are the same one: ids, times and line numbers in them tell nothing.
fn is_same(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

/// Who acts next after a step that did not do what it is for, and was `tried` before.
fn decide(task: &Task, attempt: i32, phase: Phase, error: StepError, tried: &Tried) -> Decision {
    let mut changed = task.clone();
    let operator = error.to_string();
    let can_undo = phase.can_undo(task.kind());
    // 1, 2, 4, 8, then every 15 s.
    let held = matches!(task.progress, Progress::At(phase, step) if task.kind().holds(phase, step));
    let wait = if held && attempt <= TRIES {
        HELD_PAUSE
    } else {
        Duration::from_secs(1 << (attempt - 1).clamp(0, 4)).min(Duration::from_secs(15))
    };
    let brief = if can_undo { BRIEF_TRIES } else { TRIES };
    let patient = attempt < TRIES && !(can_undo && held && attempt > 1 && tried.over > HELD_PATIENCE);
    // Where there is no way back it is tried on all the same: what stands in the way may be mended.
    let lasts = can_undo && tried.refused.as_deref().is_some_and(|before| is_same(before, &operator));
    let event = match &error {
        StepError::Cancelled if phase.can_cancel(task.kind()) => TaskEvent::AbandonAccepted,
        StepError::Retry(_) if patient => TaskEvent::StepRetried,
        StepError::RetryBriefly(_) if attempt < brief => TaskEvent::StepRetried,
        StepError::Refused(_) if attempt < brief && !lasts => TaskEvent::StepRetried,
        StepError::Redo(from, _) if task.redos < REDOS && can_undo => TaskEvent::Redo(*from),
        StepError::RedoRefused(from, _) if task.redos < REDOS && can_undo && !lasts => TaskEvent::Redo(*from),
        StepError::Resume(from, _) if can_undo => TaskEvent::Redo(*from),
        // What hung once may hang again: while tenants wait it is not tried a second time where it can be undone.
        StepError::TimedOut(_) if attempt < TIMED_OUT_TRIES && !held || !can_undo && attempt < TRIES => {
            TaskEvent::StepRetried
        }
        StepError::Retry(_)
        | StepError::RetryBriefly(_)
        | StepError::Refused(_)
        | StepError::Redo(_, _)
        | StepError::RedoRefused(_, _)
        | StepError::Resume(_, _)
        | StepError::FallsBehind(_)
        | StepError::RollBack { .. }
        | StepError::TimedOut(_)
        | StepError::Cancelled
        | StepError::LeaseLost => TaskEvent::StepFailed,
    };
    let decided = |event, wait, word, task| Decision {
        event,
        wait,
        word,
        detail: Some(operator.clone()),
        task,
        done: None,
    };
    match event {
        TaskEvent::AbandonAccepted => decided(event, Duration::ZERO, "failed", changed),
        TaskEvent::StepRetried => decided(event, wait, "retry", changed),
        TaskEvent::Redo(_) => {
            let wait = if matches!(error, StepError::Resume(_, _)) {
                Duration::ZERO
            } else {
                changed.redos += 1;
                Duration::from_secs(1 << changed.redos.clamp(0, 5))
            };
            decided(event, wait, "redo", changed)
        }
        _failed => {
            let kind = task.kind().title();
            changed.reason = Some(match error {
                // Past the point of return: everything is kept, and why it came to this stays said.
                _stuck if !can_undo => {
                    let told = format!("The {kind} is stuck and everything is kept: an operator is needed.");
                    task.reason.clone().unwrap_or(told)
                }
                StepError::RollBack { tenant, .. } => tenant,
                StepError::FallsBehind(why) => {
                    format!(
                        "The {kind} was ended early: {why}. Nothing of it is left. Ask again at a quieter time."
                    )
                }
                StepError::Redo(_, _) => format!(
                    "The {kind} could not be completed: the copy was begun anew {} times, the last time because of \
                     this: {}. Nothing of it is left. Leave alone what is named while it is made, and ask again.",
                    task.redos,
                    for_tenants(&operator)
                ),
                StepError::Refused(_) | StepError::RedoRefused(_, _) => format!(
                    "The {kind} could not be completed: {}. Nothing of it is left. It would end the same way again: \
                     change what is named, and ask again.",
                    for_tenants(&operator)
                ),
                StepError::Retry(_) | StepError::RetryBriefly(_) => format!(
                    "The {kind} could not be completed, as this stayed so: {}. Nothing of it is left. Ask again later.",
                    for_tenants(&operator)
                ),
                StepError::TimedOut(deadline) => format!(
                    "The {kind} could not be completed: a part of it was not done within {} s, and was ended. Nothing of \
                     it is left. Ask again later; if it ends so again, ask the operator.",
                    deadline.as_secs_f32()
                ),
                StepError::Resume(_, _) | StepError::Cancelled | StepError::LeaseLost => {
                    format!("The {kind} could not be completed. Nothing of it is left. Ask again.")
                }
            });
            changed.operator_reason = Some(operator.clone());
            decided(TaskEvent::StepFailed, Duration::ZERO, "failed", changed)
        }
    }
}

fn advance(task: &Task, event: TaskEvent) -> Result<Progress, db::Error> {
    task.progress.after(task.kind(), event).map_err(|e| db::Error::Broken(e.to_string()))
}

/// Renews the lease while a step runs; returns when it is lost, or can no longer be known to be ours, or the customer
/// has cancelled what can be cancelled.
async fn keep_lease(
    worker: &WorkerContext,
    task: &Task,
    began: tokio::time::Instant,
    phase: Phase,
) -> StepError {
    let (id, lease, lasts) = (task.id, task.lease, worker.lease);
    if planted(Defect::LeaseIgnored) {
        return std::future::pending().await;
    }
    // The record of the step's beginning renewed it, at the earliest when that was asked for.
    let mut renewed = began;
    loop {
        if renewed.elapsed() > lasts - lasts / 5 {
            return StepError::LeaseLost;
        }
        tokio::time::sleep((lasts / 5).min(CANCEL_LOOK)).await;
        // A store that hangs must not keep us acting past the end. The margin is for what we do after this returns.
        let end = renewed + lasts - lasts / 5;
        let asked = tokio::time::Instant::now();
        let renewal = worker.db.run(move |conn| tasks::renew(conn, id, lease, lasts));
        match tokio::time::timeout_at(end, renewal).await {
            Ok(Ok(true)) if phase.can_cancel(task.kind()) => return StepError::Cancelled,
            Ok(Ok(_)) => renewed = asked,
            Ok(Err(db::Error::LeaseLost)) | Err(_) => return StepError::LeaseLost,
            Ok(Err(_)) if tokio::time::Instant::now() < end => {}
            Ok(Err(_)) => return StepError::LeaseLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{GenerationId, InstanceId, ProjectId, TaskId, VersionId};
    use crate::domain::replica_upgrade::ReplicaUpgradePlan;
    use crate::domain::task::Plan;
    use crate::domain::timing::Timing;
    use crate::domain::upgrade::UpgradePlan;

    fn upgrade(phase: Phase, step: Step) -> Task {
        let now = chrono::Utc::now();
        let plan = ReplicaUpgradePlan {
            form: 1,
            source: InstanceId(Uuid::nil()),
            source_generation: GenerationId(Uuid::nil()),
            candidate: InstanceId(Uuid::nil()),
            candidate_generation: GenerationId(Uuid::nil()),
            from: VersionId(Uuid::nil()),
            to: VersionId(Uuid::nil()),
            from_title: "mariadb 10.11".to_owned(),
            to_title: "mariadb 11.8".to_owned(),
        };
        Task {
            id: TaskId(Uuid::nil()),
            project: ProjectId::parse("p").unwrap(),
            progress: Progress::At(phase, step),
            plan: Plan::ReplicaUpgrade(plan),
            secrets: None,
            attempts: 0,
            redos: 0,
            reason: None,
            operator_reason: None,
            lease: 1,
            created_at: now,
            updated_at: now,
            report: serde_json::json!({}),
            cancel_asked: false,
            timing: Timing::Now,
            starts: None,
        }
    }

    fn retry() -> StepError {
        StepError::Retry("no answer".to_owned())
    }

    fn brief() -> StepError {
        StepError::RetryBriefly("refused".to_owned())
    }

    /// Who does not answer is waited for; who refuses is asked a few times, unless there is no way back.
    #[test]
    fn patience_depends_on_the_answer_and_on_the_way_back() {
        for (phase, step, attempt, error, event) in [
            (Phase::Forward, Step::CatchUp, 1, retry(), TaskEvent::StepRetried),
            (Phase::Forward, Step::CatchUp, TRIES - 1, retry(), TaskEvent::StepRetried),
            (Phase::Forward, Step::CatchUp, TRIES, retry(), TaskEvent::StepFailed),
            (Phase::Forward, Step::Convert, BRIEF_TRIES - 1, brief(), TaskEvent::StepRetried),
            (Phase::Forward, Step::Convert, BRIEF_TRIES, brief(), TaskEvent::StepFailed),
            (Phase::Detach, Step::Cut, BRIEF_TRIES, brief(), TaskEvent::StepRetried),
            (Phase::Detach, Step::Cut, TRIES, brief(), TaskEvent::StepFailed),
            (Phase::Undo, Step::DropServer, BRIEF_TRIES, brief(), TaskEvent::StepRetried),
        ] {
            let said = error.to_string();
            let tried = Tried { over: Duration::MAX, refused: None };
            let Decision { event: decided, .. } =
                decide(&upgrade(phase, step), attempt, phase, error, &tried);
            assert_eq!(decided, event, "{phase:?} {step:?} {attempt} {said}");
        }
    }

    /// Tenants wait for as long as a server may take to come up again, and for no number of tries; who goes only forward
    /// is tried on.
    #[test]
    fn while_tenants_wait_time_counts() {
        let plan = UpgradePlan {
            form: 2,
            instance: InstanceId(Uuid::nil()),
            old: GenerationId(Uuid::nil()),
            new: GenerationId(Uuid::nil()),
            from: VersionId(Uuid::nil()),
            to: VersionId(Uuid::nil()),
            from_title: "mariadb 10.11".to_owned(),
            to_title: "mariadb 11.8".to_owned(),
            allowed: Strategy::ALL.to_vec(),
            strategy: None,
            why: None,
            keep_hours: 24,
            keep_retired: false,
            passed: Vec::new(),
            rest: Vec::new(),
        };
        let (soon, late) = (HELD_PATIENCE / 2, HELD_PATIENCE * 2);
        for (strategy, phase, step, attempt, tried, event) in [
            (Strategy::InPlace, Phase::Forward, Step::Convert, 30, soon, TaskEvent::StepRetried),
            (Strategy::InPlace, Phase::Forward, Step::Convert, 1, late, TaskEvent::StepRetried),
            (Strategy::InPlace, Phase::Forward, Step::Convert, 2, late, TaskEvent::StepFailed),
            (Strategy::Twin, Phase::Forward, Step::Convert, 2, late, TaskEvent::StepRetried),
            (Strategy::Twin, Phase::Forward, Step::Cut, 2, late, TaskEvent::StepFailed),
            (Strategy::Twin, Phase::Finish, Step::Admit, 2, late, TaskEvent::StepRetried),
            (Strategy::InPlace, Phase::Undo, Step::Reinstate, 2, late, TaskEvent::StepRetried),
        ] {
            let plan = Plan::Upgrade(UpgradePlan { strategy: Some(strategy), ..plan.clone() });
            let task = Task { plan, ..upgrade(phase, step) };
            let tried = Tried { over: tried, refused: None };
            let Decision { event: decided, .. } = decide(&task, attempt, phase, retry(), &tried);
            assert_eq!(decided, event, "{strategy:?} {phase:?} {step:?} {attempt}");
        }
    }

    /// What hangs is tried once more where nobody waits; while tenants wait it is undone at once, and past the one-way point
    /// tried on.
    #[test]
    fn what_hangs_is_undone_while_tenants_wait() {
        let twin = |phase, step| {
            let plan = UpgradePlan {
                form: 2,
                instance: InstanceId(Uuid::nil()),
                old: GenerationId(Uuid::nil()),
                new: GenerationId(Uuid::nil()),
                from: VersionId(Uuid::nil()),
                to: VersionId(Uuid::nil()),
                from_title: "mariadb 10.11".to_owned(),
                to_title: "mariadb 11.8".to_owned(),
                allowed: Strategy::ALL.to_vec(),
                strategy: Some(Strategy::Twin),
                why: None,
                keep_hours: 24,
                keep_retired: false,
                passed: Vec::new(),
                rest: Vec::new(),
            };
            Task { plan: Plan::Upgrade(plan), ..upgrade(phase, step) }
        };
        for (phase, step, attempt, expected) in [
            (Phase::Forward, Step::Seed, 1, TaskEvent::StepRetried),
            (Phase::Forward, Step::Seed, TIMED_OUT_TRIES, TaskEvent::StepFailed),
            (Phase::Forward, Step::Drain, 1, TaskEvent::StepFailed),
            (Phase::Finish, Step::Admit, TIMED_OUT_TRIES, TaskEvent::StepRetried),
            (Phase::Undo, Step::Reinstate, TRIES - 1, TaskEvent::StepRetried),
            (Phase::Undo, Step::Reinstate, TRIES, TaskEvent::StepFailed),
        ] {
            let error = StepError::TimedOut(Duration::from_secs(60));
            let decision = decide(&twin(phase, step), attempt, phase, error, &Tried::default());
            assert_eq!(decision.event, expected, "{phase:?} {step:?} {attempt}");
            if decision.event == TaskEvent::StepFailed && phase == Phase::Forward {
                assert!(decision.task.reason.unwrap().contains("not done within 60 s"));
            }
        }
    }

    #[test]
    fn only_what_failed_by_itself_counts_as_begun_anew() {
        let mut task = upgrade(Phase::Forward, Step::Seed);
        let anew = || StepError::Redo(Step::Place, "a definition changed".to_owned());
        for redo in 1..=REDOS {
            let Decision { event, wait, task: changed, .. } =
                decide(&task, 1, Phase::Forward, anew(), &Tried::default());
            assert_eq!(event, TaskEvent::Redo(Step::Place));
            assert!(!wait.is_zero());
            assert_eq!(changed.redos, redo);
            task = changed;
        }
        let gone = StepError::Resume(Step::Place, "its worker went away".to_owned());
        let Decision { event, wait, task: changed, .. } =
            decide(&task, 2, Phase::Forward, gone, &Tried::default());
        assert_eq!((event, wait, changed.redos), (TaskEvent::Redo(Step::Place), Duration::ZERO, REDOS));
        let Decision { event, task: changed, .. } =
            decide(&task, 1, Phase::Forward, anew(), &Tried::default());
        assert_eq!(event, TaskEvent::StepFailed);
        assert!(changed.reason.unwrap().contains("begun anew 6 times"));
    }

    /// What is refused twice with the same words is not tried a third time, and the tenant learns why.
    #[test]
    fn a_lasting_reason_ends_at_its_second_time() {
        let said = "load: the server answered 1100: Table 's' was not locked";
        let retry = |text: &str| StepError::Refused(text.to_owned());
        let redo = |text: &str| StepError::RedoRefused(Step::Place, text.to_owned());
        let after = |text: &str| Tried { over: Duration::ZERO, refused: Some(text.to_owned()) };
        let task = upgrade(Phase::Forward, Step::Seed);
        for again in [TaskEvent::StepRetried, TaskEvent::Redo(Step::Place)] {
            let error = || match again {
                TaskEvent::StepRetried => retry(said),
                _other => redo(said),
            };
            assert_eq!(error().to_string(), said);
            let Decision { event, .. } = decide(&task, 1, Phase::Forward, error(), &Tried::default());
            assert_eq!(event, again);
            let Decision { event, .. } = decide(&task, 1, Phase::Forward, error(), &after("another reason"));
            assert_eq!(event, again);
            let numbered = said.replace("1100", "1101");
            let Decision { event, task: changed, .. } =
                decide(&task, 2, Phase::Forward, error(), &after(&numbered));
            assert_eq!(event, TaskEvent::StepFailed);
            let reason = changed.reason.unwrap();
            assert!(
                reason.contains("Table 's' was not locked") && reason.contains("change what is named"),
                "{reason}"
            );
        }
        let away = StepError::Retry("no answer".to_owned());
        let Decision { event, .. } = decide(&task, 2, Phase::Forward, away, &after("no answer"));
        assert_eq!(event, TaskEvent::StepRetried, "who does not answer is waited for");
        let undo = upgrade(Phase::Undo, Step::DropServer);
        let Decision { event, .. } = decide(&undo, 2, Phase::Undo, retry(said), &after(said));
        assert_eq!(event, TaskEvent::StepRetried, "where there is no way back it is tried on");
    }

    #[test]
    fn past_the_point_of_return_the_first_reason_stays() {
        let mut task = upgrade(Phase::Undo, Step::DropServer);
        task.reason = Some("shop.late uses the engine Aria".to_owned());
        let Decision { event, task: changed, .. } =
            decide(&task, TRIES, Phase::Undo, retry(), &Tried::default());
        assert_eq!(event, TaskEvent::StepFailed);
        assert_eq!(changed.reason, task.reason);
        assert_eq!(changed.operator_reason.as_deref(), Some("no answer"));
        assert_eq!(advance(&task, event).unwrap(), Progress::NeedsOperator);
    }
}
