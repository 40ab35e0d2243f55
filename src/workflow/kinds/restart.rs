//! Restarting the server of an instance. Sessions that are open end with the server; new connections wait at the endpoint until
//! it answers again.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | hold | run again: the hold is a row and is there or not; the endpoint acknowledges it when it is on its disk |
//! | stop | run again: the supervisor does not want the server from its beginning on; a no-op when none runs |
//! | admit | run again: wanted first, then the server; a no-op when it runs and answers. **Its record is the one-way point**: there is no way back from a server that serves |
//! | reopen | run again: the hold is a row and is there or not |
//! | undo: reopen | the same: from its record on the supervisor wants the server, and starts it whenever it can be started |

use crate::db::{self, Conn, generations};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{Phase, RestartPlan, Step, Task};
use crate::workflow::cutover::{self, Cutover, open_to_writes};
use crate::workflow::parameters;
use crate::workflow::servers::{end_if_hung, foreign};
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen};

fn at(plan: &RestartPlan) -> Cutover {
    Cutover { old: plan.generation, new: plan.generation, at: plan.instance, fed: false }
}

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &RestartPlan, step: Step) -> Result<StepOutcome, StepError> {
    match step {
        Step::Hold => cutover::hold(ctx, at(plan), true).await,
        Step::Stop => stop(ctx, plan.generation).await,
        Step::Admit => admit(ctx, plan.instance, plan.generation, false).await,
        Step::Reopen => cutover::reopen(ctx, at(plan)).await,
        other => Err(foreign(other)),
    }
}

/// Starts the server, and has the endpoint let through what it takes by now.
///
/// # Errors
/// Who acts next.
pub(super) async fn admit(
    ctx: &StepContext,
    instance: InstanceId,
    generation: GenerationId,
    is_way_back: bool,
) -> Result<StepOutcome, StepError> {
    let done = open_to_writes(ctx, generation, is_way_back).await?;
    let (engine, server) = ctx.reach(generation).await?;
    parameters::see(&ctx.worker, instance, &*engine, &server).await?;
    Ok(done)
}

/// Stops the server, and ends it where it hangs.
///
/// # Errors
/// Who acts next.
pub(super) async fn stop(ctx: &StepContext, generation: GenerationId) -> Result<StepOutcome, StepError> {
    let _turn = ctx.worker.turn(generation).await;
    // Before it stops the supervisor must not want it any more.
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    let (engine, server) = ctx.reach(generation).await?;
    // A server that hangs is what many restarts are asked for.
    end_if_hung(&*engine, &server).await?;
    engine.stop(&server).await?;
    Ok(StepOutcome::default())
}

/// What a step's record changes.
///
/// # Errors
/// The store's.
pub fn commit(
    conn: &mut Conn,
    task: &Task,
    plan: &RestartPlan,
    phase: Phase,
    step: Step,
) -> Result<(), db::Error> {
    match (phase, step) {
        (Phase::Finish, Step::Reopen) => {
            happen(conn, plan.instance, InstanceEvent::Restarted, |instance| instance.fault = None)
        }
        (Phase::Undo, Step::Reopen) => {
            generations::set_wanted(conn, plan.generation, true)?;
            let fault = fault_of(task, "restart");
            happen(conn, plan.instance, InstanceEvent::Restarted, |instance| instance.fault = Some(fault))
        }
        (_, _) => Ok(()),
    }
}
