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
use crate::workflow::decision::{Decision, Tried, advance, decide};
use crate::workflow::step::{StepContext, StepError, StepOutcome};
use crate::workflow::{WORKER, WorkerContext, chain, kinds, operations, simulation};

/// The pause before a store that was away is asked again.
const AWAY: Duration = Duration::from_millis(100);

/// The pause before a task that was let go may be claimed again by the same worker.
const LET_GO: Duration = Duration::from_secs(1);

/// Tasks that one worker runs at a time.
const AT_ONCE: usize = 8;

/// How often a running step looks whether its customer has cancelled it, at least.
const CANCEL_LOOK: Duration = Duration::from_secs(3);

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
    let record = {
        let (task, lease) = (task.clone(), worker.lease);
        worker
            .db
            .transact(move |conn| {
                tasks::guard_place(conn, &task, lease)?;
                task_steps::begin(conn, &task, phase, step)
            })
            .await?
    };
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
            deadline = out_of_time(worker, task, (phase, step), began) => Err(StepError::TimedOut(deadline)),
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

/// Waits until a try of a step has taken as long as it may, and gives that time. Where the data and the hold cannot be asked
/// for, it is asked again: the step does not wait for that.
async fn out_of_time(
    worker: &WorkerContext,
    task: &Task,
    place: (Phase, Step),
    began: tokio::time::Instant,
) -> Duration {
    let id = task.id;
    let (bytes, held) = loop {
        let asked: Result<_, db::Error> = worker.db.run(move |conn| task_steps::limits(conn, id)).await;
        match asked {
            Ok(limits) => break limits,
            Err(_) => tokio::time::sleep(AWAY).await,
        }
    };
    let deadline = deadline(worker, task.kind(), place, bytes, held);
    tokio::time::sleep_until(began + deadline).await;
    deadline
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
    operations::until_none_is_done(ctx, phase, step).await?;
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

async fn tried(worker: &WorkerContext, task: &Task, (phase, step): (Phase, Step), attempt: i32) -> Tried {
    let id = task.id;
    let asked = worker.db.run(move |conn| {
        let over = task_steps::tried_for(conn, id, step, attempt)?;
        Ok::<_, db::Error>(Tried { over, refused: task_steps::last_refusal(conn, id, phase, step)? })
    });
    asked.await.unwrap_or_default()
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
