//! The work of each kind of task. What a kind is (its sequences of steps, deadlines, words) stands in
//! `domain::task::kinds`; here each kind's file has `act`, which talks to engines and writes nothing but under the lease,
//! and `commit`, which says what the record of a step changes, in the record's own transaction.
//!
//! Every step may run twice: a worker may be killed before, in and after it, and the next one runs it again. The table at
//! the head of each file says what that means for its steps.

mod create;
mod create_group;
mod delete;
mod delete_group;
mod replica_upgrade;
mod resize;
mod restart;
mod rolling;
mod upgrade;

use crate::db::{self, Conn, tasks};
use crate::domain::task::{Phase, Plan, Step, Task};
use crate::workflow::step::{StepContext, StepError, StepOutcome};

/// Runs the step's work. It may have run before, and may be dropped at any await.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, phase: Phase, step: Step) -> Result<StepOutcome, StepError> {
    match &ctx.task.plan {
        Plan::Create(plan) => create::act(ctx, plan, step).await,
        Plan::Delete(plan) => delete::act(ctx, plan, step).await,
        Plan::ReplicaUpgrade(plan) => replica_upgrade::act(ctx, plan, phase, step).await,
        Plan::Upgrade(plan) => upgrade::act(ctx, plan, phase, step).await,
        Plan::Restart(plan) => restart::act(ctx, plan, step).await,
        Plan::Resize(plan) => resize::act(ctx, plan, step).await,
        Plan::MakeGroup(plan) => create_group::act(ctx, plan, step).await,
        Plan::UnmakeGroup(plan) => delete_group::act(ctx, plan, step).await,
        Plan::Rolling(plan) => rolling::upgrade(ctx, plan, phase, step).await,
        Plan::Failover(plan) => rolling::change(ctx, plan, step).await,
    }
}

/// What the record of a done step changes besides the task, in the record's own transaction.
///
/// # Errors
/// The store's; the transaction then ends without a trace.
pub fn commit(
    conn: &mut Conn,
    task: &mut Task,
    phase: Phase,
    step: Step,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    if let Some(facts) = &done.report {
        tasks::report(conn, task.id, facts)?;
    }
    match task.plan.clone() {
        Plan::Create(plan) => create::commit(conn, task, &plan, phase, step, done),
        Plan::Delete(plan) => delete::commit(conn, &plan, step),
        Plan::ReplicaUpgrade(plan) => replica_upgrade::commit(conn, task, &plan, phase, step, done),
        Plan::Upgrade(plan) => upgrade::commit(conn, task, &plan, phase, step, done),
        Plan::Restart(plan) => restart::commit(conn, task, &plan, phase, step),
        Plan::Resize(plan) => resize::commit(conn, task, &plan, phase, step),
        Plan::MakeGroup(plan) => create_group::commit(conn, task, &plan, step, done),
        Plan::UnmakeGroup(plan) => delete_group::commit(conn, &plan, step),
        Plan::Rolling(plan) => rolling::commit_upgrade(conn, task, &plan, phase, step, done),
        Plan::Failover(plan) => rolling::commit_change(conn, task, &plan, phase, step),
    }
}
