//! Giving the server of an instance the memory of another flavor.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | hold, admit, reopen | as in [`restart`] |
//! | stop | the same; its record gives the instance the new flavor, whole or not at all, and a server is started with what the row says |
//! | undo: reinstate | run again: a server that was not stopped is left alone; else the old flavor first, then it is stopped and started. After some tries clients are let go, and the supervisor goes on starting it |
//! | undo: reopen | run again: the hold is a row and is there or not |

use crate::db::{self, Conn, catalogue_cache, generations, instances};
use crate::domain::ids::{FlavorId, InstanceId};
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{Phase, ResizePlan, Step, Task};
use crate::workflow::cutover::{self, Cutover};
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
        Step::Admit => restart::admit(ctx, plan.instance, plan.generation, false).await,
        Step::Reopen => cutover::reopen(ctx, at(plan)).await,
        Step::Reinstate => reinstate(ctx, plan).await,
        other => Err(foreign(other)),
    }
}

/// Tries after which the way back leaves the server to the supervisor: clients are let go, and it is started whenever it can
/// be.
const TRIES: i32 = 5;

/// Has the server run with the old flavor. One that was not stopped is left alone.
async fn reinstate(ctx: &StepContext, plan: &ResizePlan) -> Result<StepOutcome, StepError> {
    let (id, generation) = (plan.instance, plan.generation);
    let (instance, server) = ctx
        .worker
        .db
        .run(move |conn| {
            Ok::<_, db::Error>((instances::find(conn, id)?, generations::find(conn, generation)?))
        })
        .await?;
    let has_old_flavor = instance.is_some_and(|instance| instance.flavor.id == plan.from);
    let shall_run = server.is_some_and(|server| server.wanted_running);
    let runs_already = has_old_flavor && shall_run;
    let started = async {
        if !runs_already {
            let flavor = plan.from.clone();
            ctx.write(move |conn| give(conn, id, &flavor)).await?;
            restart::stop(ctx, generation).await?;
        }
        restart::admit(ctx, id, generation, runs_already && ctx.attempt > 1).await
    };
    match started.await {
        Err(StepError::LeaseLost) => Err(StepError::LeaseLost),
        Err(error) if ctx.attempt >= TRIES => {
            let flavor = plan.from.clone();
            ctx.write(move |conn| give(conn, id, &flavor)).await?;
            Ok(StepOutcome::with_detail(format!("left to the supervisor: {error}")))
        }
        done => done,
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
        (Phase::Finish, Step::Reopen) => {
            happen(conn, plan.instance, InstanceEvent::Restarted, |instance| instance.fault = None)
        }
        (Phase::Undo, Step::Reopen) => {
            generations::set_wanted(conn, plan.generation, true)?;
            let fault = fault_of(task, "resize");
            happen(conn, plan.instance, InstanceEvent::Restarted, |instance| instance.fault = Some(fault))
        }
        (_, _) => Ok(()),
    }
}
