//! Upgrading a group member by member, and having its members change roles. The group's address leads to one server at a
//! time, and no other takes writes: the standby's servers are fenced from their making on, the primary is fenced before
//! the change, and the new primary is opened after the record of it.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | examine | run again: it only reads |
//! | rebuild | run again: the new server's folder is emptied and made anew, from the primary's content; no tenant reaches it |
//! | verify | run again: it waits and compares |
//! | renew | run again: it asks, and stops the standby's old server; its record has the new one take the place, with the version that it answered, whole or not at all |
//! | quiet, hold, fence, drain, cut | as in [`upgrade`](super::upgrade) |
//! | cut-over | run again: it asks; its record has the members change roles and leads the group's address, whole or not at all. **This is the one-way point** |
//! | admit, reopen | as in [`upgrade`](super::upgrade) |
//! | rejoin | run again: it waits, compares and asks, and what earlier upgrades kept goes; its record has the new server take the old primary's place, or begins the second change of roles |
//! | undo, abandon: reinstate, reopen | as in [`upgrade`](super::upgrade) |
//! | restore | run again: the standby's old server is started and follows; its record gives it its place back |
//! | drop server | run again: idempotent; a no-op when there is nothing |

use serde_json::json;

use crate::db::{self, Conn, endpoints, generations, groups, tasks};
use crate::domain::generation::Role;
use crate::domain::group::GroupEvent;
use crate::domain::ids::{GenerationId, GroupId, InstanceId};
use crate::domain::instance::{Fault, InstanceEvent};
use crate::domain::rolling::{FailoverPlan, RollingPlan, Side};
use crate::domain::task::{Phase, Plan, Step, Task};
use crate::engines::Following;
use crate::workflow::cutover::{self, Cutover};
use crate::workflow::feed::{self, Feed};
use crate::workflow::for_tenants;
use crate::workflow::servers::copy;
use crate::workflow::servers::{drop_server, foreign, place, probe, start};
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen, serve};

/// The change of roles of an upgrade: to the standby's new server.
fn cutover_of(plan: &RollingPlan) -> Cutover {
    Cutover { old: plan.primary.old, new: plan.standby.new, at: plan.group.address(), fed: true }
}

/// Runs a step of an upgrade.
///
/// # Errors
/// Who acts next.
pub async fn upgrade(
    ctx: &StepContext,
    plan: &RollingPlan,
    phase: Phase,
    step: Step,
) -> Result<StepOutcome, StepError> {
    let done = match step {
        Step::Examine => examine(ctx, plan).await,
        Step::Rebuild if phase == Phase::Finish => {
            stop(ctx, plan.primary.old).await?;
            rebuild(ctx, plan.group, plan.standby.new, plan.primary.new).await
        }
        Step::Rebuild => rebuild(ctx, plan.group, plan.primary.old, plan.standby.new).await,
        Step::Verify => verify(ctx, plan.group, plan.primary.old, plan.standby.new).await,
        Step::Renew => {
            let done = probe(ctx, plan.standby.new).await?;
            stop(ctx, plan.standby.old).await?;
            Ok(done)
        }
        Step::Rejoin => {
            let told = verify(ctx, plan.group, plan.standby.new, plan.primary.new).await?;
            drop_earlier(ctx, plan).await?;
            let done = probe(ctx, plan.primary.new).await?;
            Ok(StepOutcome { goes_on: plan.second_switch, detail: told.detail, ..done })
        }
        Step::Restore => restore(ctx, plan.group, plan.primary.old, plan.standby.old).await,
        Step::DropServer => {
            for generation in [plan.standby.new, plan.primary.new] {
                drop_server(ctx, generation).await?;
            }
            Ok(StepOutcome::default())
        }
        other => change_over(ctx, cutover_of(plan), other).await,
    };
    done.map_err(|error| anew(phase, error))
}

/// What a copy's making says of its own first step is said here of the one that does all of it; where there is no way
/// back it is tried again as it is.
fn anew(phase: Phase, error: StepError) -> StepError {
    match error {
        StepError::Redo(_, why) if phase == Phase::Forward => StepError::Redo(Step::Rebuild, why),
        StepError::RedoRefused(_, why) if phase == Phase::Forward => {
            StepError::RedoRefused(Step::Rebuild, why)
        }
        StepError::RedoRefused(_, why) => StepError::Refused(why),
        StepError::Resume(_, why) if phase == Phase::Forward => StepError::Resume(Step::Rebuild, why),
        StepError::Redo(_, why) | StepError::Resume(_, why) => StepError::Retry(why),
        // There is no way back: it is waited for.
        StepError::FallsBehind(why) if phase != Phase::Forward => StepError::Retry(why),
        other => other,
    }
}

/// Runs a step of a change of roles without an upgrade.
///
/// # Errors
/// Who acts next.
pub async fn change(ctx: &StepContext, plan: &FailoverPlan, step: Step) -> Result<StepOutcome, StepError> {
    let ((_, old), (_, new)) = (plan.primary, plan.standby);
    let done = match step {
        Step::Rejoin => {
            follow(ctx, plan.group, new, old).await?;
            verify(ctx, plan.group, new, old).await
        }
        Step::Restore => restore(ctx, plan.group, old, new).await,
        other => change_over(ctx, Cutover { old, new, at: plan.group.address(), fed: true }, other).await,
    };
    // Nothing was copied that could be copied anew.
    done.map_err(|error| anew(Phase::Finish, error))
}

/// The steps that every change of roles has.
async fn change_over(ctx: &StepContext, cutover: Cutover, step: Step) -> Result<StepOutcome, StepError> {
    match step {
        Step::Quiet => cutover::quiet(ctx, cutover).await,
        Step::Hold => cutover::hold(ctx, cutover, false).await,
        Step::Fence => cutover::fence(ctx, cutover).await,
        Step::Drain => cutover::drain(ctx, cutover).await,
        Step::Cut => cutover::cut(ctx, cutover).await,
        Step::Cutover => probe(ctx, cutover.new).await,
        Step::Admit => cutover::open_to_writes(ctx, cutover.new, false).await,
        Step::Reopen => cutover::reopen(ctx, cutover).await,
        // The recorded decision to undo is what takes the fence off.
        Step::Reinstate => cutover::open_to_writes(ctx, cutover.old, true).await,
        other => Err(foreign(other)),
    }
}

async fn examine(ctx: &StepContext, plan: &RollingPlan) -> Result<StepOutcome, StepError> {
    let (engine, primary) = ctx.reach(plan.primary.old).await?;
    let (_, standby) = ctx.reach(plan.standby.old).await?;
    let number = engine.probe(&primary, false).await?;
    feed::refuse_blockers(&*engine, &primary).await?;
    match engine.following(&standby).await? {
        Following::Running | Following::Connecting(_) => {}
        Following::Broken(why) => {
            return Err(StepError::RollBack {
                tenant: format!(
                    "The standby cannot follow the primary any more: {}. Make the group anew, or change what it names.",
                    for_tenants(&why)
                ),
                operator: format!("replication broke: {why}"),
            });
        }
        Following::Nobody => {
            return Err(StepError::RollBack {
                tenant: "The standby follows nobody, so that it does not have what the primary has. Ask the operator to \
                         mend that."
                    .to_owned(),
                operator: "the standby follows nobody".to_owned(),
            });
        }
    }
    let facts = json!({"from_answered": number, "strategy": "rolling", "second_switch": plan.second_switch});
    Ok(StepOutcome::with_detail(format!("the primary answered {number}, and the standby follows"))
        .with_report(facts))
}

/// Deletes what earlier upgrades kept: a member keeps one at most, and this upgrade's old servers take their places.
async fn drop_earlier(ctx: &StepContext, plan: &RollingPlan) -> Result<(), StepError> {
    for Side { member, old, .. } in [plan.standby, plan.primary] {
        let kept = ctx.worker.db.run(move |conn| generations::retired(conn, member)).await?;
        if let Some(kept) = kept.filter(|kept| kept.id != old) {
            drop_server(ctx, kept.id).await?;
            ctx.write(move |conn| generations::set_role(conn, kept.id, Role::Dropped)).await?;
        }
    }
    Ok(())
}

/// Stops a server that is not to serve any more.
async fn stop(ctx: &StepContext, generation: GenerationId) -> Result<(), StepError> {
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    let (engine, server) = ctx.reach(generation).await?;
    Ok(engine.stop(&server).await?)
}

/// Makes a follower of `source`, whatever an earlier try left of it.
async fn rebuild(
    ctx: &StepContext,
    group: GroupId,
    source: GenerationId,
    candidate: GenerationId,
) -> Result<StepOutcome, StepError> {
    let feed = Feed { source, candidate, at: group.address() };
    feed::source_answers(ctx, feed).await?;
    place(ctx, candidate).await?;
    start(ctx, candidate).await?;
    let position = copy(ctx, feed).await?;
    feed::convert(ctx, candidate).await?;
    feed::replicate(ctx, feed).await?;
    Ok(StepOutcome::with_detail(format!("the copy stands for position {position:?}")))
}

async fn follow(
    ctx: &StepContext,
    group: GroupId,
    source: GenerationId,
    follower: GenerationId,
) -> Result<(), StepError> {
    feed::replicate(ctx, Feed { source, candidate: follower, at: group.address() }).await.map(drop)
}

/// Waits until the follower has everything, and compares both.
async fn verify(
    ctx: &StepContext,
    group: GroupId,
    source: GenerationId,
    candidate: GenerationId,
) -> Result<StepOutcome, StepError> {
    let feed = Feed { source, candidate, at: group.address() };
    feed::catch_up(ctx, feed).await?;
    feed::compare(ctx, feed).await.map(StepOutcome::with_detail)
}

/// Has the standby's old server run and follow the primary, as it did before.
async fn restore(
    ctx: &StepContext,
    group: GroupId,
    primary: GenerationId,
    standby: GenerationId,
) -> Result<StepOutcome, StepError> {
    {
        let _turn = ctx.worker.turn(standby).await;
        ctx.write(move |conn| {
            generations::set_settings(conn, standby, true, false)?;
            generations::set_wanted(conn, standby, true)
        })
        .await?;
    }
    start(ctx, standby).await?;
    follow(ctx, group, primary, standby).await?;
    probe(ctx, standby).await
}

/// Ends what a task did to a group, which serves.
fn end(
    conn: &mut Conn,
    group: GroupId,
    members: [InstanceId; 2],
    fault: impl Fn(Option<Fault>) -> Option<Fault>,
    upgraded: bool,
) -> Result<(), db::Error> {
    for member in members.into_iter().filter(|_| upgraded) {
        happen(conn, member, InstanceEvent::UpgradeEnded, |it| it.fault = fault(it.fault.take()))?;
    }
    groups::happen(conn, group, GroupEvent::Ended, |it| it.fault = fault(it.fault.take()))
}

/// What the record of a step of an upgrade changes.
///
/// # Errors
/// The store's.
pub fn commit_upgrade(
    conn: &mut Conn,
    task: &mut Task,
    plan: &RollingPlan,
    phase: Phase,
    step: Step,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    let members = [plan.primary.member, plan.standby.member];
    match (phase, step) {
        (Phase::Forward, Step::Renew) => {
            // The task's own until the one-way point is passed: what an earlier upgrade kept is kept so long.
            let Side { member, old, new } = plan.standby;
            generations::leave(conn, old, |conn| serve(conn, member, new, done))
        }
        (Phase::Forward, Step::Cutover) => {
            // The one-way point: roles and route, in one transaction with the record.
            endpoints::close_relay(conn, task.id)?;
            tasks::report(conn, task.id, &json!({"to_answered": done.answered}))?;
            let roles = (plan.primary.member, plan.standby.member);
            groups::change_roles(conn, plan.group, roles, plan.standby.new)
        }
        (Phase::Finish, Step::Rejoin) => {
            endpoints::close_relay(conn, task.id)?;
            generations::retire(conn, plan.standby.old, plan.keep_hours)?;
            generations::retire(conn, plan.primary.old, plan.keep_hours)?;
            serve(conn, plan.primary.member, plan.primary.new, done)?;
            if let Some(kept) = generations::retired(conn, plan.primary.member)? {
                let until = kept.until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                tasks::report(conn, task.id, &json!({"kept_until": until}))?;
            }
            if plan.second_switch {
                task.redos = 0;
                task.plan = Plan::Failover(plan.back());
                return tasks::replan(conn, task);
            }
            end(conn, plan.group, members, |_| None, true)
        }
        (Phase::Undo | Phase::Abandon, Step::Restore) => {
            let old = generations::find(conn, plan.standby.old)?;
            if old.is_some_and(|old| old.role != Role::Serving) {
                let (member, old) = (plan.standby.member, plan.standby.old);
                generations::leave(conn, plan.standby.new, |conn| serve(conn, member, old, done))?;
            }
            endpoints::close_relay(conn, task.id)
        }
        (Phase::Undo | Phase::Abandon, Step::DropServer) => {
            for generation in [plan.standby.new, plan.primary.new] {
                generations::set_role(conn, generation, Role::Dropped)?;
            }
            let fault = fault_of(task, "upgrade");
            match phase {
                Phase::Undo => end(conn, plan.group, members, |_| Some(fault.clone()), true),
                Phase::Forward | Phase::Detach | Phase::Abandon | Phase::Finish => {
                    end(conn, plan.group, members, |was| was, true)
                }
            }
        }
        (_, _) => Ok(()),
    }
}

/// What the record of a step of a change of roles changes.
///
/// # Errors
/// The store's.
pub fn commit_change(
    conn: &mut Conn,
    task: &mut Task,
    plan: &FailoverPlan,
    phase: Phase,
    step: Step,
) -> Result<(), db::Error> {
    let members = [plan.primary.0, plan.standby.0];
    let upgraded = plan.of.is_some();
    match (phase, step) {
        (Phase::Forward, Step::Cutover) => {
            endpoints::close_relay(conn, task.id)?;
            groups::change_roles(conn, plan.group, (members[0], members[1]), plan.standby.1)
        }
        (Phase::Finish, Step::Rejoin) => {
            endpoints::close_relay(conn, task.id)?;
            end(conn, plan.group, members, |was| was.filter(|_| !upgraded), upgraded)
        }
        (Phase::Undo | Phase::Abandon, Step::Restore) => {
            endpoints::close_relay(conn, task.id)?;
            match &plan.of {
                // The upgrade is done, and that it is stays true.
                Some(upgrade) => {
                    let why = task.reason.take().unwrap_or_default();
                    task.reason = Some(format!(
                        "Both members run {}. They have the roles that the upgrade gave them, since they could not \
                         change them back. {why}",
                        upgrade.to_title
                    ));
                    end(conn, plan.group, members, |_| None, true)
                }
                None if phase == Phase::Undo => {
                    let fault = fault_of(task, "change of roles");
                    end(conn, plan.group, members, |_| Some(fault.clone()), false)
                }
                None => end(conn, plan.group, members, |was| was, false),
            }
        }
        (_, _) => Ok(()),
    }
}
