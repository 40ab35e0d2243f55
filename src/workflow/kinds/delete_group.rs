//! Deleting a group. Its acceptance is its one-way point, as with an instance. Both steps are idempotent.

use crate::db::{self, Conn, endpoints, generations, groups};
use crate::domain::generation::Role;
use crate::domain::group::GroupEvent;
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::instance::InstanceEvent;
use crate::domain::rolling::UnmakePlan;
use crate::domain::task::Step;
use crate::workflow::servers::{drop_server, foreign, unroute};
use crate::workflow::step::{StepContext, StepError, StepOutcome, happen};

/// Runs a step of a group's deletion.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &UnmakePlan, step: Step) -> Result<StepOutcome, StepError> {
    match step {
        Step::Unroute => unroute(ctx, plan.group.address()).await,
        Step::DropServer => {
            for generation in held(plan) {
                drop_server(ctx, generation).await?;
            }
            Ok(StepOutcome::default())
        }
        other => Err(foreign(other)),
    }
}

fn held(plan: &UnmakePlan) -> impl Iterator<Item = GenerationId> {
    plan.members.iter().flat_map(|(_, held)| held.iter().copied())
}

/// What the record of a step of a group's deletion changes.
///
/// # Errors
/// The store's.
pub fn commit(conn: &mut Conn, plan: &UnmakePlan, step: Step) -> Result<(), db::Error> {
    if step != Step::DropServer {
        return Ok(());
    }
    for generation in held(plan) {
        generations::set_role(conn, generation, Role::Dropped)?;
    }
    // The standby first: a primary that is gone is followed by nobody.
    let members: Vec<InstanceId> = plan.members.iter().rev().map(|(member, _)| *member).collect();
    for member in members {
        happen(conn, member, InstanceEvent::Deleted, |instance| instance.running = None)?;
    }
    endpoints::remove(conn, plan.group.address())?;
    groups::happen(conn, plan.group, GroupEvent::Deleted, |_| {})
}
