//! Deleting an instance. Its acceptance is its one-way point: a step that fails is tried again, and in the end an
//! operator is asked. Both steps are idempotent: a worker may die in either, and another runs it again.

use crate::db::{self, Conn};
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{DeletePlan, Step};
use crate::workflow::servers::{drop_server, foreign, forget, unroute};
use crate::workflow::step::{StepContext, StepError, StepOutcome, happen};

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &DeletePlan, step: Step) -> Result<StepOutcome, StepError> {
    match step {
        Step::Unroute => unroute(ctx, plan.instance).await,
        Step::DropServer => {
            for generation in &plan.generations {
                drop_server(ctx, *generation).await?;
            }
            Ok(StepOutcome::default())
        }
        other => Err(foreign(other)),
    }
}

/// What a step's record changes.
///
/// # Errors
/// The store's.
pub fn commit(conn: &mut Conn, plan: &DeletePlan, step: Step) -> Result<(), db::Error> {
    if step != Step::DropServer {
        return Ok(());
    }
    for generation in &plan.generations {
        forget(conn, plan.instance, *generation)?;
    }
    crate::db::endpoints::remove(conn, plan.instance)?;
    happen(conn, plan.instance, InstanceEvent::Deleted, |instance| instance.running = None)
}
