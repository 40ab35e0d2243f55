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
//! | release | run again: happy when there is nothing |
//! | undo, abandon | every step is happy when there is nothing |

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::db::notices::Channel;
use crate::db::{self, Conn, endpoints, generations};
use crate::domain::ids::TaskId;
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{Phase, Step, Task};
use crate::domain::upgrade::{UpgradePlan, unblocked};
use crate::engines::{Engine, Following, Position, RelayAddress, Server};
use crate::testing::{Defect, planted};
use crate::workflow::chain;
use crate::workflow::create::{drop_server, foreign, forget, place, probe, start, unroute};
use crate::workflow::step::{Done, StepContext, StepError, fault_of, happen, serve};

/// How long one try of catching up lasts before it is recorded and begun anew.
const CATCH_UP: Duration = Duration::from_secs(600);

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &UpgradePlan, phase: Phase, step: Step) -> Result<Done, StepError> {
    match step {
        Step::Examine => examine(ctx, plan).await,
        Step::Place => {
            // A copy needs its source: wait for it here, where nothing has been made yet.
            let (engine, source) = ctx.reach(plan.source_generation).await?;
            engine.probe(&source, false).await?;
            place(ctx, plan.candidate_generation).await
        }
        Step::Start => start(ctx, plan.candidate_generation).await,
        Step::Seed => seed(ctx, plan).await,
        Step::Convert => {
            let (engine, candidate) = ctx.reach(plan.candidate_generation).await?;
            let due = engine.convert(&candidate).await?;
            Ok(Done::told(if due { "converted" } else { "not due" }))
        }
        Step::Replicate => replicate(ctx, plan).await,
        Step::CatchUp => catch_up(ctx, plan).await,
        Step::Verify => verify(ctx, plan).await,
        Step::Open => {
            ctx.endpoint_applied(plan.candidate).await?;
            Ok(Done::default())
        }
        Step::Drain => drain(ctx, plan).await,
        Step::Cut => cut(ctx, plan).await,
        Step::Release => release(ctx, plan, phase).await,
        Step::Unroute => unroute(ctx, plan.candidate).await,
        Step::DropServer => drop_server(ctx, plan.candidate_generation).await,
        Step::Prepare | Step::Publish => {
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
    plan: &UpgradePlan,
    phase: Phase,
    step: Step,
    done: &Done,
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
            happen(conn, plan.candidate, InstanceEvent::BuildFailed, |new| {
                new.replica_of = None;
                new.fault = Some(fault);
            })?;
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

async fn examine(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let number = engine.probe(&source, false).await?;
    refuse_blockers(&*engine, &source).await?;
    Ok(Done::told(format!("the source answered {number}")))
}

async fn refuse_blockers(engine: &dyn Engine, source: &Server) -> Result<(), StepError> {
    let blockers = engine.replica_blockers(source).await?;
    unblocked(&blockers)
        .map_err(|refusal| StepError::RollBack { tenant: refusal.to_string(), operator: refusal.to_string() })
}

async fn seed(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    if ctx.attempt > 1 {
        return Err(StepError::Resume(Step::Place, "a copy was begun and not finished".to_owned()));
    }
    let generation = plan.candidate_generation;
    // A copy of files stops the candidate's server and empties its folder: nobody may start it meanwhile.
    let _turn = ctx.works.turn(generation).await;
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let (_, candidate) = ctx.reach(generation).await?;
    let position = engine
        .seed(&source, &candidate, ctx.tell())
        .await
        .map_err(|e| StepError::Redo(Step::Place, chain(&e)))?;
    Ok(Done::told(format!("the copy stands for position {:?}", position.0)))
}

async fn replicate(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    let (task, host) = (ctx.task.id, ctx.works.host.clone());
    // At the source's own address, which its certificate names.
    let (generation, at) = (plan.source_generation, plan.source);
    ctx.write(move |conn| endpoints::open_relay(conn, task, &host, generation, at)).await?;
    let deadline = Instant::now() + Duration::from_secs(15);
    let (address, port) = loop {
        if let Some(found) = ctx.works.db.read(move |conn| endpoints::relay(conn, task)).await? {
            break found;
        }
        if Instant::now() >= deadline {
            return Err(StepError::Retry("the endpoint has not opened the relay".to_owned()));
        }
        ctx.works.notices.wait(Channel::Applied, Duration::from_millis(200)).await;
    };
    // The supervisor takes an account off that no task needs: not between the look and the making.
    let _turn = ctx.works.turn(plan.source_generation).await;
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let (_, candidate) = ctx.reach(plan.candidate_generation).await?;
    engine.follow(&source, &candidate, &RelayAddress { host: address, port }).await?;
    Ok(Done::default())
}

async fn catch_up(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let (_, candidate) = ctx.reach(plan.candidate_generation).await?;
    let tell = ctx.tell();
    let deadline = Instant::now() + CATCH_UP;
    let mut connecting_since: Option<Instant> = None;
    while Instant::now() < deadline {
        match engine.following(&candidate).await? {
            Following::Running => connecting_since = None,
            Following::Connecting(why) => {
                let since = *connecting_since.get_or_insert_with(Instant::now);
                // The engine's own words name what is ours: they are for the operator, in the step's outcome.
                tell("not connected to the source".to_owned());
                if since.elapsed() > Duration::from_secs(60) {
                    return Err(StepError::Retry(format!("no connection to the source: {why}")));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Following::Broken(why) => {
                return Err(StepError::Redo(Step::Place, format!("replication broke: {why}")));
            }
            Following::Nobody => {
                return Err(StepError::Redo(Step::Place, "the candidate follows nobody".to_owned()));
            }
        }
        let position = engine.position(&source).await?;
        let began = Instant::now();
        if engine.reached(&candidate, &position, Duration::from_secs(5)).await? {
            // Caught up means: what the source had written when we asked was there within a second.
            if began.elapsed() < Duration::from_secs(1) {
                if planted(Defect::PositionReadEarly) {
                    early().insert(ctx.task.id, position.clone());
                }
                return Ok(Done::told(format!("reached position {:?}", position.0)));
            }
            tell(format!("reached {:?} after {:.1} s", position.0, began.elapsed().as_secs_f32()));
        } else {
            tell(format!("waiting for position {:?}", position.0));
        }
    }
    Err(StepError::Retry("not caught up yet".to_owned()))
}

async fn verify(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let (_, candidate) = ctx.reach(plan.candidate_generation).await?;
    // What the tenant made since it was examined is no more to be trusted to the copy than what was there before: the
    // snapshot does not hold for a table without transactions.
    refuse_blockers(&*engine, &source).await?;
    engine.resume(&candidate).await?;
    let mut differ = Vec::new();
    // The tenant may change objects while we compare: only a difference that stays is one.
    for _ in 0..5 {
        let theirs = engine.inventory(&source).await?;
        let position = engine.position(&source).await?;
        if !engine.reached(&candidate, &position, Duration::from_secs(30)).await? {
            return Err(StepError::Retry("the candidate fell behind while comparing".to_owned()));
        }
        let ours = engine.inventory(&candidate).await?;
        differ = theirs
            .iter()
            .filter(|line| !ours.contains(line))
            .map(|line| format!("only on the source: {line}"))
            .chain(
                ours.iter()
                    .filter(|line| !theirs.contains(line))
                    .map(|line| format!("only on the new side: {line}")),
            )
            .collect();
        if differ.is_empty() {
            let compared = engine.compare_rows(&source, &candidate, ctx.tell()).await?;
            if let Some(first) = compared.differing.first() {
                return Err(StepError::RollBack {
                    tenant: format!("The copy does not hold the rows that the source holds in {first}."),
                    operator: format!(
                        "at position {:?} these tables differ: {}",
                        compared.position,
                        compared.differing.join(", ")
                    ),
                });
            }
            let mut done = probe(ctx, plan.candidate_generation).await?;
            if let Some(answered) = &done.answered {
                done.detail = Some(format!(
                    "{} objects equal; {} rows of {} tables equal at position {:?}; the server answered {answered}",
                    ours.len(),
                    compared.rows,
                    compared.tables,
                    compared.position
                ));
            }
            return Ok(done);
        }
    }
    let first = differ.first().cloned().unwrap_or_default();
    Err(StepError::RollBack {
        tenant: format!(
            "The copy does not hold what the source holds ({} differences): {first}",
            differ.len()
        ),
        operator: differ.join("; "),
    })
}

/// Where a planted defect keeps positions that are read too early.
fn early() -> std::sync::MutexGuard<'static, HashMap<TaskId, Position>> {
    static EARLY: LazyLock<Mutex<HashMap<TaskId, Position>>> = LazyLock::new(Mutex::default);
    EARLY.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn drain(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    let (_, candidate) = ctx.reach(plan.candidate_generation).await?;
    // Once it was cut (and we died before the record of that) there is nothing left to wait for; but then this
    // step's record came first, so here the candidate still follows.
    let position = match planted(Defect::PositionReadEarly).then(|| early().remove(&ctx.task.id)).flatten() {
        Some(stale) => stale,
        None => engine.position(&source).await?,
    };
    if planted(Defect::WaitSkipped) {
        return Ok(Done::default());
    }
    if engine.reached(&candidate, &position, Duration::from_secs(30)).await? {
        Ok(Done::told(format!("reached position {:?}", position.0)))
    } else {
        Err(StepError::Retry(format!("the new side has not reached position {:?}", position.0)))
    }
}

async fn cut(ctx: &StepContext, plan: &UpgradePlan) -> Result<Done, StepError> {
    let generation = plan.candidate_generation;
    let _turn = ctx.works.turn(generation).await;
    ctx.write(move |conn| generations::set_settings(conn, generation, false, true)).await?;
    let (engine, candidate) = ctx.reach(generation).await?;
    let (_, source) = ctx.reach(plan.source_generation).await?;
    engine.cut(&candidate, Some(&source)).await?;
    Ok(Done::default())
}

async fn release(ctx: &StepContext, plan: &UpgradePlan, phase: Phase) -> Result<Done, StepError> {
    let (engine, source) = ctx.reach(plan.source_generation).await?;
    match engine.forget_follower(&source).await {
        Ok(()) => Ok(Done::default()),
        // Nobody knows the account's password, its relay goes with this step, and the supervisor takes it off once the
        // server is back: a source that is gone must not hold both instances for ever.
        Err(error) if phase != Phase::Detach && ctx.attempt > 5 => {
            Ok(Done::told(format!("the replication account is left on the source: {}", chain(&error))))
        }
        Err(error) => Err(error.into()),
    }
}
