//! What steps of several kinds do to one server: each part is idempotent, and does nothing where there is nothing to do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::{self, Conn, endpoints, generations};
use crate::domain::generation::Role;
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::task::Step;
use crate::engines::{Engine, Server};
use crate::runtimes::Observed;
use crate::testing::{Defect, planted};
use crate::workflow::chain;
use crate::workflow::feed::Feed;
use crate::workflow::step::{StepContext, StepError, StepOutcome};

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

/// How long a server may take to greet before it counts as silent; and how often it is silent before it is ended.
const GREETING: Duration = Duration::from_secs(4);
const SILENT: usize = 3;

/// Ends a server that runs and greets nobody, as one does that was stopped (SIGSTOP) or that waits for a disk that is gone.
/// A server that is being recovered refuses connections, which is an answer. What was committed is in its log: it recovers
/// as from a crash.
///
/// # Errors
/// [`StepError::Retry`] when it does not end.
pub(super) async fn end_if_hung(engine: &dyn Engine, server: &Server) -> Result<(), StepError> {
    for _ in 0..SILENT {
        let runs = matches!(server.runtime.observe(server.generation).await, Ok(Observed::Running));
        if !runs || tokio::time::timeout(GREETING, engine.probe(server, false)).await.is_ok() {
            return Ok(());
        }
    }
    tracing::warn!(generation.id = %server.generation, "a server that answers nothing is ended");
    let ended = server.runtime.stop_server(server.generation, Duration::ZERO, true).await;
    ended.map_err(|error| {
        StepError::Retry(format!("a server that answers nothing does not end: {}", chain(&error)))
    })
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

/// Copies the source's content into the candidate, whatever an earlier try left there.
pub(super) async fn copy(ctx: &StepContext, feed: Feed) -> Result<String, StepError> {
    let generation = feed.candidate;
    let _turn = ctx.worker.turn(generation).await;
    let (engine, source) = ctx.reach(feed.source).await?;
    let (_, candidate) = ctx.reach(generation).await?;
    let position = engine.seed(&source, &candidate, ctx.progress()).await?;
    ctx.write(move |conn| generations::set_wanted(conn, generation, true)).await?;
    Ok(position.0)
}

/// What the new server's configuration says otherwise than its version's defaults, for its applications' sake.
pub(super) async fn kept_settings(
    ctx: &StepContext,
    generation: GenerationId,
) -> Result<BTreeMap<&'static str, &'static str>, StepError> {
    let (engine, server) = ctx.reach(generation).await?;
    Ok(engine.kept_settings(&server))
}
