//! The cut-over between two servers: an instance's old one and its candidate, or a group's primary and its standby. The
//! endpoint holds clients at one address, the worker fences the server that serves, and the server that follows it drains
//! what is left. What a death does to each step is told with the strategies: [`upgrade`](crate::workflow::kinds),
//! and [`rolling`](crate::workflow::kinds).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::db::{endpoints, generations};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::testing::{Defect, planted};
use crate::workflow::chain;
use crate::workflow::feed;
use crate::workflow::lag::Lag;
use crate::workflow::servers::end_if_hung;
use crate::workflow::step::{StepContext, StepError, StepOutcome};

/// From which server to which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutover {
    /// The server that serves.
    pub old: GenerationId,
    /// The server that will.
    pub new: GenerationId,
    /// Whose address it is: the instance's, or the group's.
    pub at: InstanceId,
    /// Whether the new one follows the old one.
    pub fed: bool,
}

/// How long open transactions get before the fence.
const GRACE: Duration = Duration::from_millis(200);

/// A transaction that has been open for longer keeps a hold from beginning.
const LONG: Duration = Duration::from_secs(1);

/// For how long nothing must stand in the way of a hold before it begins.
const CALM: Duration = Duration::from_secs(2);

/// How often that is looked at.
const CALM_LOOK: Duration = Duration::from_millis(500);

/// How long the candidate may take for what the old server wrote last.
const DRAIN: Duration = Duration::from_secs(10);

/// Waits until no transaction of a tenant's is old, and a twin is close behind, for some seconds.
pub(super) async fn quiet(ctx: &StepContext, cutover: Cutover) -> Result<StepOutcome, StepError> {
    let (engine, source) = ctx.reach(cutover.old).await?;
    let (_, candidate) = ctx.reach(cutover.new).await?;
    let progress = ctx.progress();
    let began = Instant::now();
    let mut calm_since: Option<Instant> = None;
    let mut lag = Lag::over(ctx.worker.quiet / 10);
    loop {
        let mut in_the_way = engine.oldest_transaction(&source, LONG).await?;
        if in_the_way.is_none() && cutover.fed {
            let position = engine.position(&source).await?;
            if engine.reached(&candidate, &position, LONG).await? {
                lag.clear();
            } else {
                let told = lag.note(began.elapsed(), engine.behind(&source, &candidate).await?);
                if let Some(why) = lag.stands() {
                    return Err(StepError::FallsBehind(why));
                }
                in_the_way = Some(format!("the new server is more than 1 s behind its source, {told}"));
            }
        }
        match in_the_way {
            None => {
                let since = *calm_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= CALM {
                    let ready = async |server| match engine.stand_ready(server).await {
                        Ok(()) => {}
                        // It takes a little longer then.
                        Err(error) => {
                            tracing::info!(error = %chain(&error), "nothing stands ready for the hold")
                        }
                    };
                    tokio::join!(ready(&source), async {
                        if cutover.fed {
                            ready(&candidate).await;
                        }
                    });
                    return Ok(StepOutcome::with_detail(format!(
                        "calm after {:.1} s",
                        began.elapsed().as_secs_f32()
                    )));
                }
            }
            Some(why) => {
                calm_since = None;
                if began.elapsed() > ctx.worker.quiet {
                    let waited = ctx.worker.quiet.as_secs();
                    return Err(StepError::RollBack {
                        tenant: format!(
                            "There was no moment for the switch within {waited} s: {why}. End what is named, or ask again \
                             at a quieter time."
                        ),
                        operator: format!("not calm within {waited} s: {why}"),
                    });
                }
                progress(format!("waiting: {why}"));
            }
        }
        tokio::time::sleep(CALM_LOOK).await;
    }
}

/// Has the endpoint hold new connections, and end the open ones where `cut`.
pub(super) async fn hold(ctx: &StepContext, cutover: Cutover, cut: bool) -> Result<StepOutcome, StepError> {
    let (instance, task) = (cutover.at, ctx.task.id);
    ctx.write(move |conn| endpoints::hold(conn, instance, task, cut)).await?;
    ctx.endpoint_applied(instance).await?;
    Ok(StepOutcome::default())
}

pub(super) async fn fence(ctx: &StepContext, cutover: Cutover) -> Result<StepOutcome, StepError> {
    let generation = cutover.old;
    let ended = {
        let _turn = ctx.worker.turn(generation).await;
        // In its rows, then in its configuration, then at run time: whoever starts it again starts it fenced.
        ctx.write(move |conn| generations::set_settings(conn, generation, true, false)).await?;
        let (engine, source) = ctx.reach(generation).await?;
        if planted(Defect::FenceSkipped) { 0 } else { engine.fence(&source, GRACE).await? }
    };
    // A connection that was being made when the hold began may have come through the first look.
    hold(ctx, cutover, true).await?;
    let (engine, source) = ctx.reach(generation).await?;
    let late = if planted(Defect::FenceSkipped) { 0 } else { engine.end_late(&source).await? };
    let sessions = ended + late;
    Ok(StepOutcome::with_detail(format!("{sessions} sessions ended"))
        .with_report(json!({"sessions_ended": sessions})))
}

/// Waits until the twin has everything; then both sides must hold the same objects.
pub(super) async fn drain(ctx: &StepContext, cutover: Cutover) -> Result<StepOutcome, StepError> {
    let (engine, source) = ctx.reach(cutover.old).await?;
    let (_, candidate) = ctx.reach(cutover.new).await?;
    // Where definitions do not follow, the new one has those already that it will have.
    let definitions_follow = engine.replicates_definitions();
    // Nobody writes to the old server any more: it is asked again once the new one has the rest.
    let following = async {
        let position = engine.position(&source).await?;
        let reached = planted(Defect::DrainSkipped) || engine.reached(&candidate, &position, DRAIN).await?;
        let has_all = async {
            match reached && definitions_follow {
                true => engine.inventory(&candidate).await.map(Some),
                false => Ok(None),
            }
        };
        let (last, has_all) = tokio::try_join!(engine.position(&source), has_all)?;
        Ok((position, reached, last, has_all))
    };
    let described = async {
        match definitions_follow {
            true => Ok((engine.inventory(&source).await?, None)),
            false => {
                let sides =
                    (engine.inventory_while_serving(&source), engine.inventory_while_serving(&candidate));
                let (theirs, ours) = tokio::try_join!(sides.0, sides.1)?;
                Ok((theirs, Some(ours)))
            }
        }
    };
    // What does not follow is carried meanwhile: it stands still like the rest.
    let carried = engine.carry_the_rest(&source, &candidate);
    let ((position, reached, last, has_all), (theirs, ours), ()) =
        tokio::try_join!(following, described, carried)?;
    if last != position && !planted(Defect::FenceSkipped) {
        return Err(StepError::Retry(format!(
            "the fenced server went on from {:?} to {:?}",
            position.0, last.0
        )));
    }
    // A time-out is an undo, never a promotion.
    if !reached {
        return Err(StepError::RollBack {
            tenant: format!(
                "The new server did not catch up within {} s of the hold, so that clients were let back to the old one. \
                 Ask again at a quieter time, or with the strategy in_place.",
                DRAIN.as_secs()
            ),
            operator: format!("the candidate has not reached {:?} within {} s", position.0, DRAIN.as_secs()),
        });
    }
    let ours = match ours.or(has_all) {
        Some(ours) => ours,
        None => engine.inventory(&candidate).await?,
    };
    let differences = feed::differences(&theirs, &ours);
    if !differences.is_empty() && !planted(Defect::DrainSkipped) {
        return Err(feed::differing(&differences));
    }
    Ok(StepOutcome::with_detail(format!("reached position {:?}; {} objects equal", position.0, ours.len())))
}

/// Ends replication; the candidate stays fenced.
pub(super) async fn cut(ctx: &StepContext, cutover: Cutover) -> Result<StepOutcome, StepError> {
    let _turn = ctx.worker.turn(cutover.new).await;
    let (engine, candidate) = ctx.reach(cutover.new).await?;
    let (_, source) = ctx.reach(cutover.old).await?;
    engine.cut(&candidate, Some(&source)).await?;
    Ok(StepOutcome::default())
}

/// Has a server be the one that tenants write to: started where it is not, and ended before where it hangs.
pub(super) async fn open_to_writes(
    ctx: &StepContext,
    generation: GenerationId,
    is_way_back: bool,
) -> Result<StepOutcome, StepError> {
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| {
        generations::set_settings(conn, generation, false, true)?;
        generations::set_wanted(conn, generation, true)
    })
    .await?;
    ctx.worker.certify(generation).await?;
    let (engine, server) = ctx.reach(generation).await?;
    // A try before it came to nothing, or there is a reason to go back: tenants wait for a server that may hang.
    if ctx.attempt > 1 || is_way_back {
        end_if_hung(&*engine, &server).await?;
    }
    engine.start(&server).await?;
    let number = engine.probe(&server, false).await?;
    Ok(StepOutcome::with_detail(format!("{number} takes writes")))
}

pub(super) async fn reopen(ctx: &StepContext, cutover: Cutover) -> Result<StepOutcome, StepError> {
    let (instance, task) = (cutover.at, ctx.task.id);
    let held = ctx.worker.db.run(move |conn| endpoints::held_ms(conn, instance)).await?;
    let began = Instant::now();
    ctx.write(move |conn| endpoints::release(conn, instance, task)).await?;
    ctx.endpoint_applied(instance).await?;
    let Some(held) = held else { return Ok(StepOutcome::default()) };
    let gap = held + i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    Ok(StepOutcome::with_detail(format!("held for {gap} ms")).with_report(json!({"gap_ms": gap})))
}
