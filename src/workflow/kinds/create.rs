//! Making an instance.
//!
//! | step | if we die before, in or after it |
//! |---|---|
//! | place | run again: the folder is emptied and made anew |
//! | start | run again: a server that runs is met, not started twice |
//! | prepare | run again: what is there is left alone |
//! | publish | run again: asking changes nothing; the record makes it serve, whole or not at all |
//! | open | run again: it only waits |
//! | undo, abandon: unroute, drop server | run again: idempotent; a no-op when there is nothing; the last record says what the instance is, in error or gone |
//!
//! Who deletes it while it is being made ends the task: the step in flight is dropped with its record, and the abandon
//! takes away what is there. Where the making was being undone already, the undo ends with the instance gone.

use secrecy::ExposeSecret;

use crate::db::{self, Conn, generations};
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{CreatePlan, Phase, Step, Task};
use crate::domain::tenant::NewUser;
use crate::engines;
use crate::workflow::chain;
use crate::workflow::servers::{drop_server, foreign, forget, place, probe, start, unroute};
use crate::workflow::step::{StepContext, StepError, StepOutcome, fault_of, happen, serve, unmade};

/// Runs a step's work.
///
/// # Errors
/// Who acts next.
pub async fn act(ctx: &StepContext, plan: &CreatePlan, step: Step) -> Result<StepOutcome, StepError> {
    match step {
        Step::Place => place(ctx, plan.generation).await,
        Step::Start => start(ctx, plan.generation).await,
        Step::Prepare => {
            let users: Vec<NewUser> = match &ctx.task.secrets {
                Some(sealed) => {
                    let open = ctx
                        .worker
                        .sealer
                        .unseal(&ctx.task.id.secrets_purpose(), sealed)
                        .map_err(|e| StepError::Retry(e.to_string()))?;
                    serde_json::from_str(open.expose_secret())
                        .map_err(|_| StepError::Retry("the sealed users cannot be read".to_owned()))?
                }
                None => Vec::new(),
            };
            let (engine, server) = ctx.reach(plan.generation).await?;
            engine.create_content(&server, &plan.databases, &users).await.map_err(wrong_name)?;
            Ok(StepOutcome::with_detail(format!("{} databases, {} users", plan.databases.len(), users.len())))
        }
        Step::Publish => probe(ctx, plan.generation).await,
        Step::Open => {
            ctx.endpoint_applied(plan.instance).await?;
            Ok(StepOutcome::default())
        }
        Step::Unroute => unroute(ctx, plan.instance).await,
        Step::DropServer => drop_server(ctx, plan.generation).await,
        other => Err(foreign(other)),
    }
}

/// What a step's record changes.
///
/// # Errors
/// The store's.
pub fn commit(
    conn: &mut Conn,
    task: &mut Task,
    plan: &CreatePlan,
    phase: Phase,
    step: Step,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    match (phase, step) {
        (_, Step::Start) => generations::set_wanted(conn, plan.generation, true),
        (_, Step::Prepare) => {
            task.secrets = None;
            Ok(())
        }
        (_, Step::Publish) => serve(conn, plan.instance, plan.generation, done),
        (_, Step::Open) => happen(conn, plan.instance, InstanceEvent::Built, |_| {}),
        (_, Step::DropServer) => {
            forget(conn, plan.instance, plan.generation)?;
            unmade(conn, plan.instance, fault_of(task, "creation"))
        }
        (_, _) => Ok(()),
    }
}

/// Whether the server will never take what it was asked to make: then no try helps, and the tenant learns why.
fn wrong_name(error: engines::Error) -> StepError {
    match error.rejection() {
        Some(message) => StepError::RollBack {
            tenant: format!("A database or user cannot be made as asked for: {message}."),
            operator: chain(&error),
        },
        None => error.into(),
    }
}
