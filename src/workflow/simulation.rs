//! What an operator asked of the steps of a simulated instance, before the step acts (api-ref: `simulation.md`).

use std::time::Duration;

use crate::db::{simulated, simulations};
use crate::domain::ids::InstanceId;
use crate::domain::simulation::SimulatedFault;
use crate::domain::task::Step;
use crate::workflow::step::{StepContext, StepError};

/// How often a step that hangs looks whether it still shall.
const LOOK: Duration = Duration::from_millis(200);

/// Takes the time that the step shall take, and fails as it shall. Real instances have no such rows.
///
/// # Errors
/// What a step that fails gives.
pub async fn rehearse(ctx: &StepContext, step: Step) -> Result<(), StepError> {
    // The first instance that has a simulation decides; the server is the one that `die` means.
    let (instances, server) = ctx.task.plan.touched_by(step);
    let asked = |instances: Vec<InstanceId>| {
        ctx.worker.db.run(move |conn| {
            for instance in instances {
                if let Some(found) = simulations::for_step(conn, instance, step.as_str())? {
                    return Ok(Some(found));
                }
            }
            Ok::<_, crate::db::Error>(None)
        })
    };
    let Some(found) = asked(instances.clone()).await? else { return Ok(()) };
    tokio::time::sleep(Duration::from_millis(found.ms.into())).await;
    match found.fault {
        None => Ok(()),
        Some(SimulatedFault::Fail) => Err(StepError::RollBack {
            tenant: format!("The step {} failed, as it was asked to by a simulation.", step.as_str()),
            operator: format!("simulated: the step {} was asked to fail", step.as_str()),
        }),
        Some(SimulatedFault::Hang) => {
            while asked(instances.clone()).await?.is_some_and(|now| now.fault == Some(SimulatedFault::Hang)) {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        }
        Some(SimulatedFault::Die) => {
            // Once: a step whose server dies at every try is one that fails.
            if ctx.attempt == 1
                && let Some(server) = server
            {
                ctx.write(move |conn| simulated::kill(conn, server)).await?;
            }
            Ok(())
        }
    }
}
