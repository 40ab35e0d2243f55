//! Upgrading by way of a replica: a new instance of the target version follows the old one until the customer
//! decides. The source is never stopped and never read-only.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | examine | run again: it only reads |
//! | place, start | run again, as for a creation; what a half-made copy left goes with the folder |
//! | seed | a second try never goes on with a half copy: back to place |
//! | convert | run again: it asks first whether it is due |
//! | replicate | run again: a new password each time, the position is the candidate's own |
//! | catch up | run again: it only waits and reads |
//! | verify | run again: a comparison that was killed left the candidate standing still, so it first follows again; its record makes the candidate serve the new instance, whole or not at all |
//! | open | run again: it only waits; its record shows both sides as VERIFY_UPGRADE |
//! | drain (after the accepted detach, the one-way point) | run again: it only waits |
//! | cut | run again: settings first, then the server; each of its statements may be repeated |
//! | release | run again: idempotent; a no-op when there is nothing |
//! | undo, abandon | every step is idempotent, and a no-op when there is nothing |

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::db::{self, Conn, endpoints, generations};
use crate::domain::ids::TaskId;
use crate::domain::instance::InstanceEvent;
use crate::domain::replica_upgrade::ReplicaUpgradePlan;
use crate::domain::task::{Phase, Step, Task};
use crate::domain::upgrade::{Strategy, choose};
use crate::engines::Position;
use crate::testing::{Defect, planted};
use crate::workflow::chain;
use crate::workflow::feed::{self, Feed};
use crate::workflow::followers::level;
use crate::workflow::looks::TRIAL_OF_A_TASK;
use crate::workflow::looks::until_unlooked;
use crate::workflow::servers::kept_settings;
use crate::workflow::servers::{drop_server, foreign, forget, place, probe, start, unroute};
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen, serve, unmade};

fn feed_of(plan: &ReplicaUpgradePlan) -> Feed {
    Feed { source: plan.source_generation, candidate: plan.candidate_generation, at: plan.source }
}

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(
    ctx: &StepContext,
    plan: &ReplicaUpgradePlan,
    phase: Phase,
    step: Step,
) -> Result<StepOutcome, StepError> {
    match work(ctx, plan, phase, step).await {
        Ok(done) => Ok(done),
        Err(error) => Err(feed::or_anew(ctx, feed_of(plan), (phase, step), error).await),
    }
}

async fn work(
    ctx: &StepContext,
    plan: &ReplicaUpgradePlan,
    phase: Phase,
    step: Step,
) -> Result<StepOutcome, StepError> {
    match step {
        Step::Examine => examine(ctx, plan).await,
        Step::Place => {
            feed::source_answers(ctx, feed_of(plan)).await?;
            place(ctx, plan.candidate_generation).await
        }
        Step::Start => start(ctx, plan.candidate_generation).await,
        Step::Seed => feed::seed(ctx, feed_of(plan)).await,
        Step::Convert => feed::convert(ctx, plan.candidate_generation).await,
        Step::Replicate => feed::replicate(ctx, feed_of(plan)).await,
        Step::CatchUp => {
            let position = feed::catch_up(ctx, feed_of(plan)).await?;
            if planted(Defect::PositionReadEarly) {
                early().insert(ctx.task.id, position.clone());
            }
            Ok(StepOutcome::with_detail(format!("reached position {:?}", position.0)))
        }
        Step::Verify => verify(ctx, plan).await,
        Step::Open => {
            ctx.endpoint_applied(plan.candidate).await?;
            Ok(StepOutcome::default())
        }
        Step::Drain => drain(ctx, plan).await,
        Step::Cut => cut(ctx, plan).await,
        Step::Release => release(ctx, plan, phase).await,
        Step::Unroute => unroute(ctx, plan.candidate).await,
        Step::DropServer => drop_server(ctx, plan.candidate_generation).await,
        Step::Prepare
        | Step::Publish
        | Step::Ready
        | Step::Quiet
        | Step::Hold
        | Step::Fence
        | Step::Stop
        | Step::Transform
        | Step::Cutover
        | Step::Admit
        | Step::Reopen
        | Step::Retire
        | Step::Reinstate
        | Step::Rebuild
        | Step::Renew
        | Step::Rejoin
        | Step::Restore => {
            tracing::error!(task.id = %ctx.task.id, phase = phase.as_str(), "a step of another kind");
            Err(foreign(step))
        }
    }
}

/// What a step's record changes.
///
/// # Errors
/// The store's.
pub fn commit(
    conn: &mut Conn,
    task: &mut Task,
    plan: &ReplicaUpgradePlan,
    phase: Phase,
    step: Step,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    match (phase, step) {
        (Phase::Forward, Step::Start | Step::Seed) => {
            generations::set_wanted(conn, plan.candidate_generation, true)
        }
        (Phase::Forward, Step::Verify) => serve(conn, plan.candidate, plan.candidate_generation, done),
        (Phase::Forward, Step::Open) => {
            happen(conn, plan.candidate, InstanceEvent::CaughtUp, |_| {})?;
            happen(conn, plan.source, InstanceEvent::CaughtUp, |_| {})
        }
        (Phase::Detach, Step::Release) => {
            endpoints::close_relay(conn, task.id)?;
            happen(conn, plan.candidate, InstanceEvent::Detached, |new| new.replica_of = None)?;
            happen(conn, plan.source, InstanceEvent::UpgradeEnded, |_| {})
        }
        (Phase::Undo | Phase::Abandon, Step::DropServer) => {
            forget(conn, plan.candidate, plan.candidate_generation)?;
            // Nothing serves the new instance any more; what it becomes is said with the last step.
            let mut new = crate::db::instances::lock(conn, plan.candidate)?
                .ok_or_else(|| db::Error::Broken(format!("instance {} is gone", plan.candidate)))?;
            new.running = None;
            crate::db::instances::save(conn, &new)
        }
        (Phase::Undo, Step::Release) => {
            endpoints::close_relay(conn, task.id)?;
            let fault = fault_of(task, "upgrade");
            unmade(conn, plan.candidate, fault)?;
            happen(conn, plan.source, InstanceEvent::UpgradeEnded, |_| {})
        }
        (Phase::Abandon, Step::Release) => {
            endpoints::close_relay(conn, task.id)?;
            happen(conn, plan.candidate, InstanceEvent::Deleted, |new| new.replica_of = None)?;
            happen(conn, plan.source, InstanceEvent::UpgradeEnded, |_| {})
        }
        (_, _) => Ok(()),
    }
}

async fn examine(ctx: &StepContext, plan: &ReplicaUpgradePlan) -> Result<StepOutcome, StepError> {
    until_unlooked(&ctx.worker, plan.source).await?;
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let number = engine.probe(&source, false).await?;
    feed::refuse_blockers(&*engine, &source).await?;
    let done = StepOutcome::with_detail(format!("the source answered {number}"));
    if engine.replicates_definitions() {
        return Ok(done);
    }
    // Where definitions are carried as statements, the target may not take one: it is tried, and named, before a copy begins.
    let (_, candidate) = ctx.reach(plan.candidate_generation).await?;
    let found = engine.pre_check_within(&source, &candidate, Strategy::Twin, TRIAL_OF_A_TASK).await?;
    let findings = json!({"findings": found});
    choose(&vec![(Strategy::Twin, found)]).map_err(|refusal| StepError::RollBack {
        tenant: refusal.to_string(),
        operator: refusal.to_string(),
    })?;
    Ok(done.with_report(findings))
}

async fn verify(ctx: &StepContext, plan: &ReplicaUpgradePlan) -> Result<StepOutcome, StepError> {
    let compared = feed::compare(ctx, feed_of(plan)).await?;
    let mut done = probe(ctx, plan.candidate_generation).await?;
    if let Some(answered) = &done.answered {
        done.detail = Some(format!("{compared}; the server answered {answered}"));
    }
    let kept = kept_settings(ctx, plan.candidate_generation).await?;
    if kept.is_empty() { Ok(done) } else { Ok(done.with_report(json!({"kept_settings": kept}))) }
}

/// Where a planted defect keeps positions that are read too early.
fn early() -> std::sync::MutexGuard<'static, HashMap<TaskId, Position>> {
    static EARLY: LazyLock<Mutex<HashMap<TaskId, Position>>> = LazyLock::new(Mutex::default);
    EARLY.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn drain(ctx: &StepContext, plan: &ReplicaUpgradePlan) -> Result<StepOutcome, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let (_, candidate) = ctx.reach(plan.candidate_generation).await?;
    // Once it was cut (and we died before the record of that) there is nothing left to wait for; but then this
    // step's record came first, so here the candidate still follows.
    let position = match planted(Defect::PositionReadEarly).then(|| early().remove(&ctx.task.id)).flatten() {
        Some(stale) => stale,
        None => engine.position(&source).await?,
    };
    if planted(Defect::WaitSkipped) {
        return Ok(StepOutcome::default());
    }
    if engine.reached(&candidate, &position, Duration::from_secs(30)).await? {
        Ok(StepOutcome::with_detail(format!("reached position {:?}", position.0)))
    } else {
        Err(StepError::Retry(format!("the new side has not reached position {:?}", position.0)))
    }
}

async fn cut(ctx: &StepContext, plan: &ReplicaUpgradePlan) -> Result<StepOutcome, StepError> {
    let generation = plan.candidate_generation;
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| generations::set_settings(conn, generation, false, true)).await?;
    let (engine, candidate) = ctx.reach(generation).await?;
    let (_, source) = ctx.reach(plan.source_generation).await?;
    level(&ctx.worker, ctx.task.id, (&*engine, &source, &candidate)).await.map_err(StepError::Retry)?;
    engine.cut(&candidate, Some(&source)).await?;
    Ok(StepOutcome::default())
}

async fn release(
    ctx: &StepContext,
    plan: &ReplicaUpgradePlan,
    phase: Phase,
) -> Result<StepOutcome, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    match engine.forget_follower(&source).await {
        Ok(()) => Ok(StepOutcome::default()),
        // Nobody knows the account's password, its relay goes with this step, and the supervisor takes it off once the
        // server is back: a source that is gone must not hold both instances for ever.
        Err(error) if phase != Phase::Detach && ctx.attempt > 5 => Ok(StepOutcome::with_detail(format!(
            "the replication account is left on the source: {}",
            chain(&error)
        ))),
        Err(error) => Err(error.into()),
    }
}
