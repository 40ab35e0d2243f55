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

use crate::db::{self, Conn, endpoints, generations};
use crate::domain::generation::Role;
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::instance::InstanceEvent;
use crate::domain::task::{CreatePlan, Phase, Step, Task};
use crate::domain::tenant::NewUser;
use crate::engines;
use crate::testing::{Defect, planted};
use crate::workflow::chain;
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
    // Names, character sets, collations and accounts that the server refuses for what they are.
    const WRONG: [u16; 7] = [1102, 1115, 1253, 1273, 1396, 1470, 1059];
    // The same of PostgreSQL: parameters, names, objects, encodings and locales.
    const WRONG_STATES: [&str; 7] = ["22023", "42602", "42622", "42704", "42809", "42939", "0A000"];
    let said = match &error {
        engines::Error::Refused { code, message, .. } if WRONG.contains(code) => Some(message),
        engines::Error::State { state, message, .. } if WRONG_STATES.contains(&&**state) => Some(message),
        _other => None,
    };
    match said {
        Some(message) => StepError::RollBack {
            tenant: format!("A database or user cannot be made as asked for: {message}."),
            operator: chain(&error),
        },
        None => error.into(),
    }
}

/// Empties the generation's place and makes its system tables.
pub(super) async fn place(ctx: &StepContext, generation: GenerationId) -> Result<StepOutcome, StepError> {
    let _turn = ctx.worker.turn(generation).await;
    // Before the folder is emptied the supervisor must no longer want a server on it.
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    ctx.worker.certify(generation).await?;
    let (engine, server) = ctx.reach(generation).await?;
    engine.create_data(&server).await?;
    Ok(StepOutcome::default())
}

/// Starts the generation's server.
pub(super) async fn start(ctx: &StepContext, generation: GenerationId) -> Result<StepOutcome, StepError> {
    let _turn = ctx.worker.turn(generation).await;
    ctx.worker.certify(generation).await?;
    let (engine, server) = ctx.reach(generation).await?;
    engine.start(&server).await?;
    Ok(StepOutcome::default())
}

/// Asks the server what it is; the answer must be what was asked for.
pub(super) async fn probe(ctx: &StepContext, generation: GenerationId) -> Result<StepOutcome, StepError> {
    let wanted = ctx
        .worker
        .db
        .run(move |conn| generations::find(conn, generation))
        .await?
        .ok_or_else(|| StepError::Retry(format!("generation {generation} is gone")))?
        .version;
    let (engine, server) = ctx.reach(generation).await?;
    let answered = if planted(Defect::ProbeSkipped) {
        wanted.number.clone()
    } else {
        engine.probe(&server, true).await?
    };
    if !wanted.is_answered_by(&answered) {
        return Err(StepError::RollBack {
            tenant: format!("The new server is {answered}, not {}.", wanted.title()),
            operator: format!("generation {generation} answered {answered}, wanted {}", wanted.title()),
        });
    }
    let detail = format!("the server answered {answered}");
    Ok(StepOutcome { answered: Some(answered), ..StepOutcome::with_detail(detail) })
}

/// Closes the instance's address and waits until it is closed.
pub(super) async fn unroute(ctx: &StepContext, instance: InstanceId) -> Result<StepOutcome, StepError> {
    ctx.write(move |conn| endpoints::lead(conn, instance, None)).await?;
    ctx.endpoint_applied(instance).await?;
    Ok(StepOutcome::default())
}

/// Stops the generation's server and deletes what it holds.
pub(super) async fn drop_server(
    ctx: &StepContext,
    generation: GenerationId,
) -> Result<StepOutcome, StepError> {
    let _turn = ctx.worker.turn(generation).await;
    ctx.write(move |conn| generations::set_wanted(conn, generation, false)).await?;
    let (engine, server) = ctx.reach(generation).await?;
    engine.drop_data(&server).await?;
    ctx.worker.forget_turn(generation);
    Ok(StepOutcome::default())
}

/// Takes the rows of a dropped generation and of its address away, and gives the instance's account back.
pub(super) fn forget(
    conn: &mut Conn,
    instance: InstanceId,
    generation: GenerationId,
) -> Result<(), db::Error> {
    generations::set_role(conn, generation, Role::Dropped)?;
    db::accounts::free(conn, instance)?;
    endpoints::remove(conn, instance)
}

/// A step that the task's kind does not have: the row was written by another version.
pub(super) fn foreign(step: Step) -> StepError {
    StepError::RollBack {
        tenant: "The service cannot go on with this task.".to_owned(),
        operator: format!("this version does not know the step {} of this task", step.as_str()),
    }
}
