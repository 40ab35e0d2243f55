//! What an operator asked of the steps of a simulated instance, before the step acts (api-ref: `simulation.md`).

use std::time::Duration;

use crate::db::{simulated, simulations};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::simulation::SimulatedFault;
use crate::domain::task::{Plan, Step};
use crate::workflow::step::{StepContext, StepError};

/// How often a step that hangs looks whether it still shall.
const LOOK: Duration = Duration::from_millis(200);

/// The instances whose simulations hold for a task's steps, the first that has one decides, and the server that `die`
/// means.
fn subjects(plan: &Plan, step: Step) -> (Vec<InstanceId>, Option<GenerationId>) {
    match plan {
        Plan::Create(plan) => (vec![plan.instance], Some(plan.generation)),
        Plan::Delete(plan) => (vec![plan.instance], plan.generations.first().copied()),
        Plan::ReplicaUpgrade(plan) => {
            let server =
                if step == Step::Examine { plan.source_generation } else { plan.candidate_generation };
            (vec![plan.candidate, plan.source], Some(server))
        }
        Plan::Upgrade(plan) => {
            let old = matches!(step, Step::Examine | Step::Quiet | Step::Hold | Step::Fence | Step::Stop);
            (vec![plan.instance], Some(if old { plan.old } else { plan.new }))
        }
        Plan::MakeGroup(plan) => (vec![plan.primary.0, plan.standby.0], Some(plan.primary.1)),
        Plan::UnmakeGroup(plan) => {
            let members = plan.members.iter().map(|(member, _)| *member).collect();
            let first = plan.members.first().and_then(|(_, held)| held.first().copied());
            (members, first)
        }
        Plan::Rolling(plan) => {
            let old = matches!(step, Step::Examine | Step::Quiet | Step::Hold | Step::Fence);
            let server = if old { plan.primary.old } else { plan.standby.new };
            (vec![plan.primary.member, plan.standby.member], Some(server))
        }
        Plan::Failover(plan) => {
            let old = matches!(step, Step::Quiet | Step::Hold | Step::Fence);
            let server = if old { plan.primary.1 } else { plan.standby.1 };
            (vec![plan.primary.0, plan.standby.0], Some(server))
        }
    }
}

/// Takes the time that the step shall take, and fails as it shall. Real instances have no such rows.
///
/// # Errors
/// What a step that fails gives.
pub async fn rehearse(ctx: &StepContext, step: Step) -> Result<(), StepError> {
    let (instances, server) = subjects(&ctx.task.plan, step);
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
