//! Giving the server of an instance the memory of another flavor.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | hold, admit, reopen | as in [`restart`](super::restart) |
//! | stop | the same; its record gives the instance the new flavor, whole or not at all, and a server is started with what the row says |
//! | undo: reinstate | run again: the old flavor first, then the server is stopped and started; each is a no-op when it is so |
//! | undo: reopen | run again: the hold is a row and is there or not |

use crate::db::{self, Conn, catalogue_cache, instances};
use crate::domain::ids::{FlavorId, InstanceId};
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{Phase, ResizePlan, Step, Task};
use crate::workflow::cutover::{self, Cutover, open_to_writes};
use crate::workflow::kinds::restart;
use crate::workflow::servers::foreign;
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen};

fn at(plan: &ResizePlan) -> Cutover {
    Cutover { old: plan.generation, new: plan.generation, at: plan.instance, fed: false }
}

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &ResizePlan, step: Step) -> Result<StepOutcome, StepError> {
    match step {
        Step::Hold => cutover::hold(ctx, at(plan), true).await,
        Step::Stop => restart::stop(ctx, plan.generation).await,
        Step::Admit => open_to_writes(ctx, plan.generation, false).await,
        Step::Reopen => cutover::reopen(ctx, at(plan)).await,
        Step::Reinstate => {
            let (instance, flavor) = (plan.instance, plan.from.clone());
            ctx.write(move |conn| give(conn, instance, &flavor)).await?;
            restart::stop(ctx, plan.generation).await?;
            open_to_writes(ctx, plan.generation, true).await
        }
        other => Err(foreign(other)),
    }
}

/// Gives an instance a flavor.
fn give(conn: &mut Conn, instance: InstanceId, flavor: &FlavorId) -> Result<(), db::Error> {
    let gone = |what: String| db::Error::Broken(format!("{what} is gone"));
    let catalogue = catalogue_cache::now(conn)?;
    let flavor = catalogue.flavor(flavor).cloned().ok_or_else(|| gone(format!("flavor {flavor}")))?;
    let mut instance =
        instances::lock(conn, instance)?.ok_or_else(|| gone(format!("instance {instance}")))?;
    instance.flavor = flavor;
    instances::save(conn, &instance)
}

/// What a step's record changes.
///
/// # Errors
/// The store's.
pub fn commit(
    conn: &mut Conn,
    task: &Task,
    plan: &ResizePlan,
    phase: Phase,
    step: Step,
) -> Result<(), db::Error> {
    match (phase, step) {
        (Phase::Forward, Step::Stop) => give(conn, plan.instance, &plan.to),
        (Phase::Forward, Step::Reopen) => {
            happen(conn, plan.instance, InstanceEvent::Restarted, |instance| instance.fault = None)
        }
        (Phase::Undo, Step::Reopen) => {
            let fault = fault_of(task, "resize");
            happen(conn, plan.instance, InstanceEvent::Restarted, |instance| instance.fault = Some(fault))
        }
        (_, _) => Ok(()),
    }
}
