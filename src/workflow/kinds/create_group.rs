//! Making a group: each step does its part for both members.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | place, start | run again, as for an instance's creation |
//! | replicate | run again: the standby's content is copied anew, and it follows |
//! | publish | run again: asking changes nothing; the record makes both serve, and leads the group's address, whole or not at all |
//! | open | run again: it only waits |
//! | unroute, drop server | run again: idempotent; a no-op when there is nothing; the last record says what the group is, in error or gone |

use crate::db::{self, Conn, endpoints, generations, groups};
use crate::domain::generation::Role;
use crate::domain::group::{GroupEvent, GroupState};
use crate::domain::instance::InstanceEvent;
use crate::domain::rolling::MakePlan;
use crate::domain::task::{Step, Task};
use crate::workflow::feed::{self, Feed};
use crate::workflow::servers::{copy, drop_server, foreign, place, probe, start, unroute};
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen, serve};

fn feed_of(plan: &MakePlan) -> Feed {
    Feed { source: plan.primary.1, candidate: plan.standby.1, at: plan.group.address() }
}

/// Runs a step of a group's making.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &MakePlan, step: Step) -> Result<StepOutcome, StepError> {
    let both = [plan.primary.1, plan.standby.1];
    match step {
        Step::Place => {
            for generation in both {
                place(ctx, generation).await?;
            }
            Ok(StepOutcome::default())
        }
        Step::Start => {
            for generation in both {
                start(ctx, generation).await?;
            }
            Ok(StepOutcome::default())
        }
        Step::Replicate => {
            copy(ctx, feed_of(plan)).await?;
            feed::replicate(ctx, feed_of(plan)).await
        }
        Step::Publish => {
            let (primary, standby) = (probe(ctx, plan.primary.1).await?, probe(ctx, plan.standby.1).await?);
            Ok(StepOutcome { also_answered: standby.answered, ..primary })
        }
        Step::Open => {
            ctx.endpoint_applied(plan.group.address()).await?;
            Ok(StepOutcome::default())
        }
        Step::Unroute => unroute(ctx, plan.group.address()).await,
        Step::DropServer => {
            for generation in both {
                drop_server(ctx, generation).await?;
            }
            Ok(StepOutcome::default())
        }
        other => Err(foreign(other)),
    }
}

/// What the record of a step of a group's making changes.
///
/// # Errors
/// The store's.
pub fn commit(
    conn: &mut Conn,
    task: &Task,
    plan: &MakePlan,
    step: Step,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    let members = [plan.primary, plan.standby];
    match step {
        Step::Start => {
            generations::set_wanted(conn, plan.primary.1, true)?;
            generations::set_wanted(conn, plan.standby.1, true)
        }
        Step::Publish => {
            endpoints::close_relay(conn, task.id)?;
            serve(conn, plan.primary.0, plan.primary.1, done)?;
            let standby = StepOutcome { answered: done.also_answered.clone(), ..StepOutcome::default() };
            serve(conn, plan.standby.0, plan.standby.1, &standby)?;
            endpoints::lead(conn, plan.group.address(), Some(plan.primary.1))
        }
        Step::Open => {
            for (member, _) in members {
                happen(conn, member, InstanceEvent::Built, |_| {})?;
            }
            groups::happen(conn, plan.group, GroupEvent::Built, |_| {})
        }
        Step::DropServer => {
            endpoints::close_relay(conn, task.id)?;
            let fault = fault_of(task, "creation");
            let is_deleted =
                groups::find(conn, plan.group)?.is_some_and(|it| it.state == GroupState::Deleting);
            // The standby first: a primary that is gone is followed by nobody.
            for (member, generation) in members.into_iter().rev() {
                generations::set_role(conn, generation, Role::Dropped)?;
                // Whoever deletes the group deletes its members.
                if is_deleted {
                    happen(conn, member, InstanceEvent::Deleted, |instance| instance.running = None)?;
                } else {
                    let fault = fault.clone();
                    happen(conn, member, InstanceEvent::BuildFailed, |instance| {
                        instance.running = None;
                        instance.fault = Some(fault);
                    })?;
                }
            }
            endpoints::remove(conn, plan.group.address())?;
            if is_deleted {
                return groups::happen(conn, plan.group, GroupEvent::Deleted, |_| {});
            }
            groups::happen(conn, plan.group, GroupEvent::BuildFailed, |group| group.fault = Some(fault))
        }
        _other => Ok(()),
    }
}
