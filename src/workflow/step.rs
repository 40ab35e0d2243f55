//! A step, as a worker runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::db::notices::Channel;
use crate::db::{self, Conn, endpoints, generations, instances, task_steps, tasks};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::instance::{Fault, Instance, InstanceEvent, InstanceState, Running};
use crate::domain::task::{Step, Task};
use crate::domain::upgrade::Strategy;
use crate::engines::{self, Engine, OnProgress, Server};
use crate::workflow::{NoServer, WorkerContext, chain};

/// A step that did what it is for.
#[derive(Clone, Debug, Default)]
pub struct StepOutcome {
    /// What to record for the operator.
    pub detail: Option<String>,
    /// The version number that a server answered, where the step asked it.
    pub answered: Option<String>,
    /// The same of a second server, where the step asked two.
    pub also_answered: Option<String>,
    /// The strategy that the step decided on, and why, where it did.
    pub decided: Option<(Strategy, String)>,
    /// Why the task does not go on with a twin, where it looks again for another strategy.
    pub given_up: Option<String>,
    /// Whether the task goes on with another hop.
    pub goes_on: bool,
    /// What the task reports from now on: an object.
    pub report: Option<serde_json::Value>,
}

impl StepOutcome {
    /// With a line for the operator.
    pub fn with_detail(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::default() }
    }

    /// With what the task reports.
    pub fn with_report(mut self, facts: serde_json::Value) -> Self {
        self.report = Some(facts);
        self
    }
}

/// Who acts next when a step did not do what it is for.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The same step again, after a while: who did not answer may answer then.
    #[error("{0}")]
    Retry(String),
    /// The same step again, a few times: what went wrong will hardly go well.
    #[error("{0}")]
    RetryBriefly(String),
    /// A server refused: the same step again, and where it refuses with the same words, no other try would help.
    #[error("{0}")]
    Refused(String),
    /// The same, from that step on: what was made since is worthless.
    #[error("{1}")]
    RedoRefused(Step, String),
    /// What was made since that step is worthless: start again there.
    #[error("{1}")]
    Redo(Step, String),
    /// The same, and it is nobody's failure: what was made was left half done by a worker that went away.
    #[error("{1}")]
    Resume(Step, String),
    /// The follower does not come nearer to its source, and how far it is behind, in words for a tenant.
    #[error("{0}")]
    FallsBehind(String),
    /// It cannot succeed: back to what was.
    #[error("{operator}")]
    RollBack {
        /// For the tenant.
        tenant: String,
        /// For the operator.
        operator: String,
    },
    /// It was not done by its deadline: a program or a server hangs. What it was at was ended.
    #[error("the step was not done within {} s, and was ended", .0.as_secs_f32())]
    TimedOut(std::time::Duration),
    /// The customer wants the task to end here.
    #[error("the customer has cancelled it")]
    Cancelled,
    /// Another holds the task now: stop, touch nothing.
    #[error("the lease is lost")]
    LeaseLost,
}

impl From<engines::Error> for StepError {
    fn from(error: engines::Error) -> Self {
        let text = chain(&error);
        match error {
            of_the_moment if of_the_moment.is_of_the_moment() => Self::Retry(text),
            engines::Error::Object { .. } => Self::RollBack { tenant: text.clone(), operator: text },
            engines::Error::Refused { .. }
            | engines::Error::State { .. }
            | engines::Error::Program { .. } => Self::Refused(text),
            engines::Error::NoAnswer(_)
            | engines::Error::Runtime { .. }
            | engines::Error::Unexpected { .. } => Self::RetryBriefly(text),
            engines::Error::HeldUp(_) => Self::Retry(text),
        }
    }
}

impl From<NoServer> for StepError {
    fn from(error: NoServer) -> Self {
        Self::Retry(chain(&error))
    }
}

impl From<db::Error> for StepError {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::LeaseLost => Self::LeaseLost,
            other => Self::Retry(chain(&other)),
        }
    }
}

/// What a running step has at hand.
#[derive(Clone)]
pub struct StepContext {
    /// The host's things.
    pub worker: Arc<WorkerContext>,
    /// The task, as it was when the step began.
    pub task: Task,
    /// Which try of the step it is: 1 is the first.
    pub attempt: i32,
    /// The step's record.
    pub record: i64,
}

impl StepContext {
    /// A generation's engine and server.
    ///
    /// # Errors
    /// [`StepError::Retry`].
    pub async fn reach(&self, id: GenerationId) -> Result<(Arc<dyn Engine>, Server), StepError> {
        Ok(self.worker.reach(id).await?)
    }

    /// Writes under the task's lease.
    ///
    /// # Errors
    /// [`StepError::LeaseLost`]; [`StepError::Retry`] when the store is away.
    pub async fn write<F>(&self, work: F) -> Result<(), StepError>
    where
        F: Fn(&mut Conn) -> Result<(), db::Error> + Send + 'static,
    {
        let (id, lease, lasts) = (self.task.id, self.task.lease, self.worker.lease);
        self.worker
            .db
            .transact(move |conn| {
                tasks::guard(conn, id, lease, lasts)?;
                work(conn)
            })
            .await
            .map_err(StepError::from)
    }

    /// Waits until the endpoint role has applied what its rows say of the instance.
    ///
    /// # Errors
    /// [`StepError::Retry`] after 15 s.
    pub async fn endpoint_applied(&self, instance: InstanceId) -> Result<(), StepError> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if self.worker.db.run(move |conn| endpoints::applied(conn, instance)).await? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StepError::Retry("the endpoint has not applied its routes".to_owned()));
            }
            self.worker.notices.wait(Channel::Applied, Duration::from_millis(200)).await;
        }
    }

    /// A way to tell how far the step is, which is written to its record in passing.
    pub fn progress(&self) -> OnProgress {
        let (db, record) = (self.worker.db.clone(), self.record);
        let runtime = tokio::runtime::Handle::current();
        Arc::new(move |line| {
            let db = db.clone();
            runtime.spawn(async move {
                // Progress is for watching only: a lost line changes nothing.
                if let Err(error) = db.run(move |conn| task_steps::record_progress(conn, record, &line)).await
                {
                    tracing::debug!(error = %chain(&error), "a step's progress was not recorded");
                }
            });
        })
    }
}

/// Moves an instance by its one transition table.
///
/// # Errors
/// [`db::Error::Broken`] for an event that its state does not know; the store's.
pub fn happen(
    conn: &mut Conn,
    id: InstanceId,
    event: InstanceEvent,
    change: impl FnOnce(&mut Instance),
) -> Result<(), db::Error> {
    let mut instance =
        instances::lock(conn, id)?.ok_or_else(|| db::Error::Broken(format!("instance {id} is gone")))?;
    instance.state = instance.state.after(event).map_err(|e| db::Error::Broken(e.to_string()))?;
    change(&mut instance);
    instances::save(conn, &instance)
}

/// Says of an instance whose making ended, and of which nothing is left, what it is: in error, with the reason, or gone
/// where it was deleted meanwhile.
///
/// # Errors
/// The store's.
pub fn unmade(conn: &mut Conn, id: InstanceId, fault: Fault) -> Result<(), db::Error> {
    let found = instances::find(conn, id)?;
    if found.is_some_and(|it| it.state == InstanceState::Deleting) {
        return happen(conn, id, InstanceEvent::Deleted, |it| {
            it.running = None;
            it.replica_of = None;
        });
    }
    happen(conn, id, InstanceEvent::BuildFailed, |it| {
        it.running = None;
        it.replica_of = None;
        it.fault = Some(fault);
    })
}

/// Makes a generation the serving one of its instance: generation, version and route in one transaction, after its
/// server answered.
///
/// # Errors
/// The store's.
pub fn serve(
    conn: &mut Conn,
    instance: InstanceId,
    generation: GenerationId,
    done: &StepOutcome,
) -> Result<(), db::Error> {
    let found = generations::find(conn, generation)?
        .ok_or_else(|| db::Error::Broken(format!("generation {generation} is gone")))?;
    let number = done
        .answered
        .clone()
        .ok_or_else(|| db::Error::Broken(format!("generation {generation} gave no version")))?;
    let mut instance = instances::lock(conn, instance)?
        .ok_or_else(|| db::Error::Broken(format!("instance {instance} is gone")))?;
    generations::keep_defaults(conn, instance.id, &number)?;
    generations::set_role(conn, generation, crate::domain::generation::Role::Serving)?;
    generations::record_answer(conn, generation, &number, None)?;
    endpoints::lead(conn, instance.id, Some(generation))?;
    instance.running = Some(Running { version: found.version, number, generation });
    instances::save(conn, &instance)
}

/// The fault that a task's end leaves on an instance.
pub fn fault_of(task: &Task, what: &str) -> Fault {
    Fault {
        message: task.reason.clone().unwrap_or_else(|| format!("The {what} failed.")),
        details: task.operator_reason.clone(),
        at: chrono::Utc::now(),
    }
}
