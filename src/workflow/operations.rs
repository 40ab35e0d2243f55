//! Doing what was accepted as an operation, at the server that serves.
//!
//! # Operations and tasks
//! An operation claims nothing, so a task may have the instance at the same time. Some of its steps bear no operation beside
//! them ([`may_run`]). Nobody locks the other out: a worker takes an operation, in its row, and then reads where the task is; a
//! task's step begins, in its row, and then waits until no operation is being done. Whoever is second sees the first.
//!
//! # If we die here
//! | before, in or after | what the next worker does |
//! |---|---|
//! | the record that it is possible | looks again whether it is: nothing was done |
//! | the statements at the server | does them again: each leaves alone what is so already |
//! | the record of its end | the same |
//!
//! A worker that is frozen past its lease may still send a statement that another worker has sent as well. At the server that
//! serves, it changes nothing then, unless the next operation has changed the same thing since; at one that was left by a
//! cut-over meanwhile, nobody sees what it does. A statement that is given up on may go on in its server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{self, JoinSet};

use crate::db::notices::Channel;
use crate::db::operations::{self, LEASE, Taken, Waiting};
use crate::db::{self, events, instances, tasks};
use crate::domain::ids::InstanceId;
use crate::domain::instance::Instance;
use crate::domain::operation::{CONFIGURE, End, Operation, Refused, impossible, may_configure, may_run};
use crate::domain::task::{Phase, Progress, Step, Task, TaskKind};
use crate::engines::{self, Engine, Server};
use crate::telemetry::metrics;
use crate::testing;
use crate::workflow::step::{StepContext, StepError};
use crate::workflow::{WORKER, WorkerContext, chain, for_tenants};
use crate::workflow::{logs, parameters};

/// Operations that one worker does at a time, each of another instance.
const AT_ONCE: usize = 16;

/// How long one try may take. Its statements have less.
const TRY: Duration = Duration::from_secs(120);

/// How long a step waits for an operation that is being done, before it is tried again.
const STEP_PATIENCE: Duration = Duration::from_secs(150);

/// Tries after which what a server says is its last word.
const TRIES: i32 = 3;

/// The pause after the first try, and the longest one.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many seconds lie between two publications of a log, at least.
const PUBLISHED_EVERY: i32 = 3;

/// Does what is accepted for instances of this host, until `stop` becomes true.
pub async fn run(worker: Arc<WorkerContext>, owner: String, mut stop: watch::Receiver<bool>) {
    let mut doing = JoinSet::new();
    let mut at: HashMap<task::Id, InstanceId> = HashMap::new();
    while !*stop.borrow() {
        while let Some(done) = doing.try_join_next_with_id() {
            at.remove(&number(&done));
        }
        let ours: Vec<InstanceId> = at.values().copied().collect();
        match due(&worker, ours).await {
            Ok(found) => {
                for waiting in found.into_iter().take(AT_ONCE.saturating_sub(at.len())) {
                    let (worker, owner) = (Arc::clone(&worker), owner.clone());
                    let instance = waiting.instance;
                    let begun = doing.spawn(async move { try_to_do(&worker, waiting, owner).await });
                    at.insert(begun.id(), instance);
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "no operations could be read"),
        }
        tokio::select! {
            () = worker.notices.wait(Channel::Operations, Duration::from_secs(1)) => {}
            Some(done) = doing.join_next_with_id(), if !doing.is_empty() => {
                at.remove(&number(&done));
            }
            _ = stop.changed() => {}
        }
    }
    doing.shutdown().await;
}

/// The number of a task that has ended, however it has.
fn number(done: &Result<(task::Id, ()), task::JoinError>) -> task::Id {
    match done {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

/// What is due at an instance whose task, where it has one, bears it now.
async fn due(worker: &WorkerContext, ours: Vec<InstanceId>) -> Result<Vec<Waiting>, db::Error> {
    let host = worker.host.clone();
    let (waiting, at) = worker
        .db
        .run(move |conn| {
            let waiting = operations::due(conn, &host, &ours)?;
            let mut at = HashMap::new();
            for each in &waiting {
                let live = tasks::live_of(conn, &[each.instance])?.into_iter().next();
                at.insert(each.instance, (instances::find(conn, each.instance)?, live));
            }
            Ok::<_, db::Error>((waiting, at))
        })
        .await?;
    let is_borne = |waiting: &Waiting| match at.get(&waiting.instance) {
        Some((Some(instance), live)) => {
            bears(&waiting.kind, progress(live.as_ref()), worker.carries_definitions(instance))
        }
        _ => false,
    };
    Ok(waiting.into_iter().filter(is_borne).collect())
}

/// Whether the instance's task bears an operation of this kind now.
fn bears(kind: &str, task: Option<(TaskKind, Progress)>, carried: bool) -> bool {
    if kind == CONFIGURE { may_configure(task, carried) } else { may_run(task, carried) }
}

fn progress(task: Option<&Task>) -> Option<(TaskKind, Progress)> {
    task.map(|task| (task.kind(), task.progress))
}

impl WorkerContext {
    /// Whether what the instance's server is told to define reaches a server that follows it.
    fn carries_definitions(&self, instance: &Instance) -> bool {
        let version = instance.shown_version();
        let drivers = self.drivers.get(&version.runtime);
        let engine = drivers.and_then(|it| it.engines.iter().find(|engine| engine.kind() == version.engine));
        engine.is_some_and(|engine| engine.replicates_definitions())
    }
}

/// Why a try came to nothing.
enum Trouble {
    /// The task's step bears no operation now.
    NotNow,
    /// The server, or the store.
    Failed(String, Option<String>),
    /// Another worker has it.
    Lost,
}

impl From<db::Error> for Trouble {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::LeaseLost => Self::Lost,
            other => Self::Failed(chain(&other), None),
        }
    }
}

impl From<engines::Error> for Trouble {
    fn from(error: engines::Error) -> Self {
        let lasting = error.refusal().filter(|_| !error.may_pass()).map(for_tenants);
        Self::Failed(chain(&error), lasting)
    }
}

/// Takes an operation and tries to do it.
async fn try_to_do(worker: &WorkerContext, waiting: Waiting, owner: String) {
    let taken = match worker.db.transact(move |conn| operations::take(conn, &waiting, &owner)).await {
        Ok(Some(taken)) => taken,
        Ok(None) => return,
        Err(error) => {
            let error: db::Error = error;
            tracing::debug!(error = %chain(&error), "an operation could not be taken");
            return;
        }
    };
    let tried = tokio::select! {
        biased;
        end = keep(worker, &taken) => Err(end),
        tried = tokio::time::timeout(TRY, attempt(worker, &taken)) => {
            tried.unwrap_or_else(|_| Err(Trouble::Failed("the server took too long".to_owned(), None)))
        }
    };
    let ended = match tried {
        Ok(refused) => end(worker, &taken, refused).await,
        Err(Trouble::Lost) => return,
        Err(Trouble::NotNow) => {
            let taken = taken.clone();
            worker.db.run(move |conn| operations::put_back(conn, &taken)).await
        }
        // It said the same before.
        Err(Trouble::Failed(trouble, Some(message)))
            if taken.attempt >= TRIES && taken.trouble.as_ref() == Some(&trouble) =>
        {
            tracing::warn!(operation.id = %taken.id, instance.id = %taken.instance, trouble, "a server refused an operation");
            end(worker, &taken, Some(Refused::Rejected { message })).await
        }
        Err(Trouble::Failed(trouble, _)) => {
            let pause = PAUSE
                .saturating_mul(
                    2_u32.saturating_pow(u32::try_from(taken.attempt - 1).unwrap_or_default().min(10)),
                )
                .min(LONGEST_PAUSE);
            tracing::info!(operation.id = %taken.id, instance.id = %taken.instance, trouble, "an operation will be tried again");
            let taken = taken.clone();
            worker.db.run(move |conn| operations::retry(conn, &taken, &trouble, pause)).await
        }
    };
    match ended {
        Ok(()) | Err(db::Error::LeaseLost) => {}
        // The lease runs out, and it is done again.
        Err(error) => tracing::warn!(error = %chain(&error), "what became of an operation was not recorded"),
    }
}

/// Renews the lease of an operation until it is lost.
async fn keep(worker: &WorkerContext, taken: &Taken) -> Trouble {
    let mut renewed = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(LEASE / 5).await;
        let (ours, asked) = (taken.clone(), tokio::time::Instant::now());
        let renewal = worker.db.run(move |conn| operations::renew(conn, &ours));
        match tokio::time::timeout_at(renewed + LEASE - LEASE / 5, renewal).await {
            Ok(Ok(())) => renewed = asked,
            Ok(Err(db::Error::LeaseLost)) | Err(_) => return Trouble::Lost,
            Ok(Err(_)) => {}
        }
    }
}

/// One try: gives the reason where it cannot be done.
async fn attempt(worker: &WorkerContext, taken: &Taken) -> Result<Option<Refused>, Trouble> {
    let id = taken.instance;
    let (instance, live) = worker
        .db
        .run(move |conn| {
            Ok::<_, db::Error>((instances::find(conn, id)?, tasks::live_of(conn, &[id])?.into_iter().next()))
        })
        .await?;
    let instance = instance.ok_or(Trouble::Lost)?;
    // The row says by now that it is being done: a step that begins from here on waits for it.
    if !bears(&taken.kind, progress(live.as_ref()), worker.carries_definitions(&instance)) {
        return Err(Trouble::NotNow);
    }
    let unreadable = |what: String| Trouble::Failed(what, None);
    let plain = worker
        .sealer
        .unseal(&taken.id.payload_purpose(), &taken.payload)
        .map_err(|error| unreadable(chain(&error)))?;
    let operation: Operation = serde_json::from_str(secrecy::ExposeSecret::expose_secret(&plain))
        .map_err(|_| unreadable("what was asked for cannot be read".to_owned()))?;
    // Nobody has the store write a log again and again.
    if let Operation::PublishLog { name } = &operation {
        let name = name.clone();
        if worker.db.run(move |conn| db::logs::is_fresh(conn, id, &name, PUBLISHED_EVERY)).await? {
            return Err(Trouble::NotNow);
        }
    }
    let running = instance.running.as_ref().ok_or_else(|| unreadable("no server serves".to_owned()))?;
    let (engine, server) =
        worker.reach(running.generation).await.map_err(|error| unreadable(chain(&error)))?;
    if !taken.has_begun {
        if operation.is_about_content()
            && let Some(refused) = look(&*engine, &server, &operation).await?
        {
            return Ok(Some(refused));
        }
        let taken = taken.clone();
        worker.db.run(move |conn| operations::begin(conn, &taken)).await?;
    }
    let point = |when: &str| format!("operation.{}.{when}", operation.word());
    testing::pause(|| point("begun")).await;
    let tried = match &operation {
        Operation::Configure => configure(worker, id, &*engine, &server).await,
        Operation::PublishLog { name } => logs::publish(worker, id, name, (&*engine, &server)).await,
        content => engine.operate(&server, content).await,
    };
    let refused = match tried {
        Ok(refused) => refused,
        // No other try helps.
        Err(error) => match error.rejection() {
            Some(message) => Some(Refused::Rejected { message: for_tenants(message) }),
            None => return Err(error.into()),
        },
    };
    testing::pause(|| point("done")).await;
    Ok(refused)
}

/// Has the server take the values of its instance's configuration group, and records how it stands to them.
async fn configure(
    worker: &WorkerContext,
    id: InstanceId,
    engine: &dyn Engine,
    server: &Server,
) -> Result<Option<Refused>, engines::Error> {
    // Who starts it meanwhile would write what it has read before.
    let _turn = worker.turn(server.generation).await;
    let server = match worker.reach(server.generation).await {
        Ok((_, server)) => server,
        Err(error) => return Err(engines::Error::NoAnswer(chain(&error))),
    };
    let refused = engine.configure(&server).await?;
    parameters::see(worker, id, engine, &server).await?;
    Ok(refused)
}

/// Whether the server can do it.
async fn look(
    engine: &dyn Engine,
    server: &Server,
    operation: &Operation,
) -> Result<Option<Refused>, engines::Error> {
    let databases =
        engine.databases(server).await?.into_iter().map(|database| database.name).collect::<Vec<_>>();
    let users = engine.users(server).await?;
    let has_root = engine.has_root(server).await?;
    Ok(impossible(operation, &databases, &users, has_root))
}

/// Records the end of an operation. Who asked for it may have left: a refusal is an event, too.
async fn end(worker: &WorkerContext, taken: &Taken, refused: Option<Refused>) -> Result<(), db::Error> {
    let outcome = if refused.is_some() { End::Refused } else { End::Done };
    let ours = taken.clone();
    worker
        .db
        .transact(move |conn| {
            operations::end(conn, &ours, refused.as_ref())?;
            let Some(refused) = &refused else { return Ok(()) };
            let Some(instance) = instances::find(conn, ours.instance)? else { return Ok(()) };
            events::record(
                conn,
                &events::Event {
                    project: &instance.project,
                    instance: Some(instance.id),
                    task: None,
                    actor: WORKER,
                    what: "operation_refused",
                    data: serde_json::json!({"operation": ours.id.to_string(), "reason": refused.to_string().replace('\0', "\u{fffd}")}),
                },
            )
        })
        .await?;
    metrics::operation_ended(taken.kind.clone(), outcome.as_str());
    Ok(())
}

/// Before a step that bears no operation beside it: waits until none is being done.
///
/// # Errors
/// [`StepError::Retry`] when one goes on for longer than its tries may take; the store's.
pub(super) async fn until_none_is_done(ctx: &StepContext, phase: Phase, step: Step) -> Result<(), StepError> {
    let subject = ctx.task.plan.subject();
    let at = Some((ctx.task.kind(), Progress::At(phase, step)));
    // What an engine carries is looked at by who does operations; to wait for one too often costs a moment. Not within a
    // hold: none has begun since it did.
    let is_within_a_hold =
        phase == Phase::Forward && ctx.task.kind().holds(phase, step) && step != Step::Hold;
    if may_run(at, false) || is_within_a_hold {
        return Ok(());
    }
    let deadline = tokio::time::Instant::now() + STEP_PATIENCE;
    while ctx.worker.db.run(move |conn| operations::is_being_done(conn, subject)).await? {
        if tokio::time::Instant::now() >= deadline {
            return Err(StepError::Retry("an operation at the server goes on".to_owned()));
        }
        ctx.worker.notices.wait(Channel::Answers, Duration::from_millis(100)).await;
    }
    Ok(())
}
