//! Tasks: their kinds, phases, steps and states, and the one transition function through which live work and
//! recovery both go.
//!
//! A task's way is a straight line of steps in a *phase*. Forward ends in success, or, for an upgrade, in
//! `verifying`, a state without worker and lease, in which the customer's decision is an event of the task: detach
//! or abandon. A failure before the one-way point goes to the undo phase. After it (a deletion from its start, an
//! upgrade from the accepted detach) there is no undo: a step is tried again, and in the end an operator is asked.
//!
//! An upgrade of the same instance begins as [`TaskKind::UpgradeAuto`], whose one forward step looks at the server and
//! fixes the strategy: that changes the task's kind, once. Its one-way point is the record of [`Step::Cutover`], which
//! makes the candidate serve; before it a failure, or a customer who cancels, leads back to the old server, after it
//! the [`Phase::Finish`] only goes forward. A way of several hops is walked in one task: the end of a hop's finish is
//! the beginning of the next one's look, and the task's kind is [`TaskKind::UpgradeAuto`] again.
//!
//! An upgrade of a group ([`TaskKind::UpgradeRolling`]) has the same shape: its one-way point is the record of
//! [`Step::Cutover`], by which the members change roles. Where they change them once more, that is the switchback of the same
//! task, of the kind [`TaskKind::Switchback`], whose way back ends in success: the upgrade is done by then.
//!
//! An upgrade of the same instance that was accepted for later is [`Progress::Deferred`]: a task without claims, whose
//! instance knows nothing of it. When it is due it claims its instance, in one transaction with the last look at what
//! it was accepted by, and is like one that was accepted this moment from then on.
pub mod kinds;
mod progress;
mod steps;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::datastore::UnknownWord;
use crate::domain::ids::{FlavorId, GenerationId, InstanceId, ProjectId, TaskId};
pub use crate::domain::task::kinds::{Plan, TaskKind};
pub use crate::domain::task::progress::{IllegalTaskEvent, Progress, TaskEvent, TaskState};
pub use crate::domain::task::steps::{Phase, Step};
use crate::domain::tenant::NewDatabase;
use crate::domain::timing::Timing;

macro_rules! words {
    ($type:ident, $what:literal) => {
        impl std::str::FromStr for $type {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL
                    .into_iter()
                    .find(|it| it.as_str() == word)
                    .ok_or_else(|| UnknownWord { what: $what, word: word.to_owned() })
            }
        }
    };
}
words!(TaskKind, "task kind");
words!(TaskState, "task state");
words!(Phase, "phase");
words!(Step, "step");

/// What a creation does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePlan {
    /// The plan's form.
    pub form: u32,
    /// The new instance.
    pub instance: InstanceId,
    /// Its server.
    pub generation: GenerationId,
    /// The databases to make. Users, with their verifiers, are sealed in the task.
    pub databases: Vec<NewDatabase>,
}

/// What a deletion does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePlan {
    /// The plan's form.
    pub form: u32,
    /// The instance.
    pub instance: InstanceId,
    /// Every generation that holds something on its host.
    pub generations: Vec<GenerationId>,
}

/// What a restart does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPlan {
    /// The plan's form.
    pub form: u32,
    /// The instance.
    pub instance: InstanceId,
    /// The server that serves it.
    pub generation: GenerationId,
}

/// What a change of the flavor does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizePlan {
    /// The plan's form.
    pub form: u32,
    /// The instance.
    pub instance: InstanceId,
    /// The server that serves it.
    pub generation: GenerationId,
    /// The flavor that it has.
    pub from: FlavorId,
    /// The flavor that it shall have.
    pub to: FlavorId,
}

/// A task as a worker holds it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The project that asked for it.
    pub project: ProjectId,
    /// Where it stands.
    pub progress: Progress,
    /// What it was accepted to do.
    pub plan: Plan,
    /// Sealed values that a step needs.
    pub secrets: Option<String>,
    /// How often the current step was tried.
    pub attempts: i32,
    /// How often the task went back to an earlier step.
    pub redos: i32,
    /// Why it does not end as asked, in words for a tenant.
    pub reason: Option<String>,
    /// The same for the operator, with the chain of causes.
    pub operator_reason: Option<String>,
    /// The lease under which its holder writes.
    pub lease: i64,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it last moved.
    pub updated_at: DateTime<Utc>,
    /// What its steps found out, for who asked: an object.
    pub report: serde_json::Value,
    /// Whether its customer wants it to end before its one-way point.
    pub cancel_asked: bool,
    /// When it was asked to begin.
    pub timing: Timing,
    /// The start that was told, of one that was accepted for later.
    pub starts: Option<DateTime<Utc>>,
}

impl Task {
    /// Its kind.
    pub const fn kind(&self) -> TaskKind {
        self.plan.kind()
    }
}

/// A try of a step, as recorded.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// The line of steps that it belongs to.
    pub phase: String,
    /// The step.
    pub step: String,
    /// Which try of it.
    pub attempt: i32,
    /// `done`, `retry`, `redo`, `failed`; `None` while it runs.
    pub outcome: Option<String>,
    /// What it said last while it ran.
    pub progress: Option<String>,
    /// What it left, for the operator.
    pub detail: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When its outcome was recorded.
    pub ended_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests;
