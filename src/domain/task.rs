//! Tasks: their kinds, phases, steps and states, and the one transition function through which live work and
//! recovery both go.
//!
//! A task's way is a straight line of steps in a *phase*. Forward ends in success, or, for an upgrade, in
//! `verifying`, a state without worker and lease, in which the customer's decision is an event of the task: detach
//! or abandon. A failure before the one-way point goes to the undo phase. After it (a deletion from its start, an
//! upgrade from the accepted detach) there is no undo: a step is tried again, and in the end an operator is asked.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::datastore::UnknownWord;
use crate::domain::ids::{GenerationId, InstanceId, ProjectId, TaskId};
use crate::domain::tenant::NewDatabase;
use crate::domain::upgrade::UpgradePlan;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Makes an instance.
    Create,
    /// Deletes an instance.
    Delete,
    /// Upgrades an instance, strategy replica.
    Upgrade,
}

/// A task's state, as our own routes show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Accepted, not begun.
    Scheduled,
    /// A worker is at it, or will be as soon as a lease ends.
    Running,
    /// An upgrade whose new side has caught up: waits for the customer.
    Verifying,
    /// Ended as asked.
    Succeeded,
    /// Ended as it was before, with a reason.
    RolledBack,
    /// Ended by the customer before the one-way point.
    Cancelled,
    /// Undoing itself failed, or a way that only goes forward is stuck: everything is kept.
    NeedsOperator,
}

/// A line of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Towards what was asked for.
    Forward,
    /// After the accepted detach: an upgrade's one-way point.
    Detach,
    /// After the accepted deletion of the upgrade's new side.
    Abandon,
    /// Back to what was.
    Undo,
}

/// A part of a task. Each may run twice: it looks first at what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Check again what the plan was made from; the world may have changed.
    Examine,
    /// Make the new server's folders and its system tables; what a former try left is removed.
    Place,
    /// Start the new server, not reachable by clients.
    Start,
    /// Make the databases and users of a new instance.
    Prepare,
    /// Ask the new server what it is, and make it the one that serves.
    Publish,
    /// Wait until the endpoint lets clients in.
    Open,
    /// Copy the source's content with the position it stands for.
    Seed,
    /// Bring the copied system objects to the new version where that is due.
    Convert,
    /// Open the relay and let the new server follow its source.
    Replicate,
    /// Wait until the new server has reached a position of the source.
    CatchUp,
    /// Compare both sides, probe, ask the new server's version, and make it the one that serves the new instance.
    Verify,
    /// Wait until the new server has everything that the source had at the detach.
    Drain,
    /// End replication on the new server and let it write.
    Cut,
    /// Take the relay, its account and its settings off the source.
    Release,
    /// Close the instance's address.
    Unroute,
    /// Stop the task's own server and delete what it holds.
    DropServer,
}

const ALL_KINDS: [TaskKind; 3] = [TaskKind::Create, TaskKind::Delete, TaskKind::Upgrade];
const ALL_PHASES: [Phase; 4] = [Phase::Forward, Phase::Detach, Phase::Abandon, Phase::Undo];

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 3] = ALL_KINDS;

    /// The steps of a phase, in order; empty when the kind has no such phase.
    pub const fn steps(self, phase: Phase) -> &'static [Step] {
        match (self, phase) {
            (Self::Create, Phase::Forward) => {
                &[Step::Place, Step::Start, Step::Prepare, Step::Publish, Step::Open]
            }
            (Self::Create, Phase::Undo) => &[Step::Unroute, Step::DropServer],
            (Self::Delete, Phase::Forward) => &[Step::Unroute, Step::DropServer],
            (Self::Upgrade, Phase::Forward) => &[
                Step::Examine,
                Step::Place,
                Step::Start,
                Step::Seed,
                Step::Convert,
                Step::Replicate,
                Step::CatchUp,
                Step::Verify,
                Step::Open,
            ],
            (Self::Upgrade, Phase::Detach) => &[Step::Drain, Step::Cut, Step::Release],
            (Self::Upgrade, Phase::Abandon | Phase::Undo) => {
                &[Step::Unroute, Step::DropServer, Step::Release]
            }
            (Self::Create, Phase::Detach | Phase::Abandon)
            | (Self::Delete, Phase::Detach | Phase::Abandon | Phase::Undo) => &[],
        }
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Upgrade => "upgrade",
        }
    }
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = ALL_PHASES;

    /// Whether a failure here can still be undone.
    pub const fn can_undo(self, kind: TaskKind) -> bool {
        matches!((kind, self), (TaskKind::Create | TaskKind::Upgrade, Self::Forward))
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Detach => "detach",
            Self::Abandon => "abandon",
            Self::Undo => "undo",
        }
    }

    const fn ends_in(self, kind: TaskKind) -> TaskState {
        match (self, kind) {
            (Self::Forward, TaskKind::Upgrade) => TaskState::Verifying,
            (Self::Forward | Self::Detach, _) => TaskState::Succeeded,
            (Self::Abandon, _) => TaskState::Cancelled,
            (Self::Undo, _) => TaskState::RolledBack,
        }
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 16] = [
        Self::Examine,
        Self::Place,
        Self::Start,
        Self::Prepare,
        Self::Publish,
        Self::Open,
        Self::Seed,
        Self::Convert,
        Self::Replicate,
        Self::CatchUp,
        Self::Verify,
        Self::Drain,
        Self::Cut,
        Self::Release,
        Self::Unroute,
        Self::DropServer,
    ];

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Examine => "examine",
            Self::Place => "place",
            Self::Start => "start",
            Self::Prepare => "prepare",
            Self::Publish => "publish",
            Self::Open => "open",
            Self::Seed => "seed",
            Self::Convert => "convert",
            Self::Replicate => "replicate",
            Self::CatchUp => "catch_up",
            Self::Verify => "verify",
            Self::Drain => "drain",
            Self::Cut => "cut",
            Self::Release => "release",
            Self::Unroute => "unroute",
            Self::DropServer => "drop_server",
        }
    }
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Running,
        Self::Verifying,
        Self::Succeeded,
        Self::RolledBack,
        Self::Cancelled,
        Self::NeedsOperator,
    ];

    /// Whether nothing will happen to the task any more, and its claims end.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::RolledBack | Self::Cancelled)
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Cancelled => "cancelled",
            Self::NeedsOperator => "needs_operator",
        }
    }
}

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

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Not begun.
    Scheduled,
    /// At a step, which has begun or is about to.
    At(Phase, Step),
    /// Waits for the customer.
    Verifying,
    /// Stuck at a step; everything is kept.
    NeedsOperator,
    /// Over.
    Ended(TaskState),
}

/// What a task was accepted to do. Stored with it, with the form's number: code changes, rows wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plan {
    /// Make an instance.
    Create(CreatePlan),
    /// Delete an instance.
    Delete(DeletePlan),
    /// Upgrade an instance.
    Upgrade(UpgradePlan),
}

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

impl Plan {
    /// The kind of the task that it makes.
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Create(_) => TaskKind::Create,
            Self::Delete(_) => TaskKind::Delete,
            Self::Upgrade(_) => TaskKind::Upgrade,
        }
    }
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

/// What happens to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskEvent {
    /// A worker took it up.
    Begun,
    /// The step is done and recorded.
    StepDone,
    /// The step must be tried again as it is.
    StepRetried,
    /// What the steps since `Step` made is worthless: start again there.
    Redo(Step),
    /// The step cannot succeed.
    StepFailed,
    /// The customer decided for the new side.
    DetachAccepted,
    /// The customer decided against the new side.
    AbandonAccepted,
    /// An operator mended what kept the task at this step.
    OperatorRetried(Phase, Step),
}

/// An event that a task's progress does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {progress:?} cannot take {event:?}")]
pub struct IllegalTaskEvent {
    /// Where the task stands.
    pub progress: Progress,
    /// The event.
    pub event: TaskEvent,
}

impl Progress {
    /// Where a task of `kind` stands after `event`.
    ///
    /// # Errors
    /// [`IllegalTaskEvent`] when it cannot take the event here.
    pub fn after(self, kind: TaskKind, event: TaskEvent) -> Result<Self, IllegalTaskEvent> {
        let illegal = IllegalTaskEvent { progress: self, event };
        let begin =
            |phase: Phase| kind.steps(phase).first().map(|step| Self::At(phase, *step)).ok_or(illegal);
        match (self, event) {
            (Self::Scheduled, TaskEvent::Begun) => begin(Phase::Forward),
            (Self::At(phase, step), TaskEvent::StepDone) => {
                let steps = kind.steps(phase);
                let at = steps.iter().position(|s| *s == step).ok_or(illegal)?;
                Ok(match (steps.get(at + 1), phase.ends_in(kind)) {
                    (Some(next), _) => Self::At(phase, *next),
                    (None, TaskState::Verifying) => Self::Verifying,
                    (None, end) => Self::Ended(end),
                })
            }
            (Self::At(phase, step), TaskEvent::StepRetried) => Ok(Self::At(phase, step)),
            (Self::At(phase, step), TaskEvent::Redo(from)) => {
                let steps = kind.steps(phase);
                let at = steps.iter().position(|s| *s == step);
                let back = steps.iter().position(|s| *s == from);
                match (at, back) {
                    (Some(at), Some(back)) if back <= at && phase.can_undo(kind) => Ok(Self::At(phase, from)),
                    (Some(_) | None, Some(_) | None) => Err(illegal),
                }
            }
            (Self::At(phase, _), TaskEvent::StepFailed) if phase.can_undo(kind) => begin(Phase::Undo),
            (Self::At(_, _), TaskEvent::StepFailed) => Ok(Self::NeedsOperator),
            (Self::Verifying, TaskEvent::DetachAccepted) => begin(Phase::Detach),
            (Self::Verifying, TaskEvent::AbandonAccepted) => begin(Phase::Abandon),
            (Self::NeedsOperator, TaskEvent::OperatorRetried(phase, step))
                if !phase.can_undo(kind) && kind.steps(phase).contains(&step) =>
            {
                Ok(Self::At(phase, step))
            }
            (
                Self::Scheduled | Self::Verifying | Self::NeedsOperator | Self::Ended(_) | Self::At(_, _),
                TaskEvent::Begun
                | TaskEvent::StepDone
                | TaskEvent::StepRetried
                | TaskEvent::Redo(_)
                | TaskEvent::StepFailed
                | TaskEvent::DetachAccepted
                | TaskEvent::AbandonAccepted
                | TaskEvent::OperatorRetried(_, _),
            ) => Err(illegal),
        }
    }

    /// The task's state.
    pub const fn state(self) -> TaskState {
        match self {
            Self::Scheduled => TaskState::Scheduled,
            Self::At(_, _) => TaskState::Running,
            Self::Verifying => TaskState::Verifying,
            Self::NeedsOperator => TaskState::NeedsOperator,
            Self::Ended(state) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_progress() -> Vec<(TaskKind, Progress)> {
        let mut all = Vec::new();
        for kind in TaskKind::ALL {
            all.push((kind, Progress::Scheduled));
            for phase in Phase::ALL {
                all.extend(kind.steps(phase).iter().map(|step| (kind, Progress::At(phase, *step))));
            }
            all.push((kind, Progress::Verifying));
            all.push((kind, Progress::NeedsOperator));
            all.extend(
                TaskState::ALL.into_iter().filter(|s| s.is_final()).map(|s| (kind, Progress::Ended(s))),
            );
        }
        all
    }

    #[test]
    fn a_line_of_steps_ends_as_its_phase_says() {
        for (kind, phase, end) in [
            (TaskKind::Create, Phase::Forward, TaskState::Succeeded),
            (TaskKind::Create, Phase::Undo, TaskState::RolledBack),
            (TaskKind::Delete, Phase::Forward, TaskState::Succeeded),
            (TaskKind::Upgrade, Phase::Forward, TaskState::Verifying),
            (TaskKind::Upgrade, Phase::Detach, TaskState::Succeeded),
            (TaskKind::Upgrade, Phase::Abandon, TaskState::Cancelled),
            (TaskKind::Upgrade, Phase::Undo, TaskState::RolledBack),
        ] {
            let steps = kind.steps(phase);
            let mut at = Progress::At(phase, steps[0]);
            for step in steps {
                assert_eq!(at, Progress::At(phase, *step));
                at = at.after(kind, TaskEvent::StepDone).unwrap();
            }
            assert_eq!(at.state(), end, "{kind:?} {phase:?}");
        }
    }

    #[test]
    fn a_failure_is_undone_before_the_one_way_point_and_kept_after_it() {
        for (kind, progress) in every_progress() {
            let Progress::At(phase, _) = progress else { continue };
            let next = progress.after(kind, TaskEvent::StepFailed).unwrap();
            match (kind, phase) {
                (TaskKind::Create | TaskKind::Upgrade, Phase::Forward) => {
                    assert!(matches!(next, Progress::At(Phase::Undo, _)), "{kind:?} {progress:?}");
                }
                _ => assert_eq!(next, Progress::NeedsOperator, "{kind:?} {progress:?}"),
            }
        }
    }

    #[test]
    fn what_has_ended_takes_no_event() {
        let events = [
            TaskEvent::Begun,
            TaskEvent::StepDone,
            TaskEvent::StepRetried,
            TaskEvent::Redo(Step::Place),
            TaskEvent::StepFailed,
            TaskEvent::DetachAccepted,
            TaskEvent::AbandonAccepted,
        ];
        for (kind, progress) in every_progress() {
            for event in events {
                let next = progress.after(kind, event);
                match progress {
                    Progress::Ended(_) | Progress::NeedsOperator => assert!(next.is_err()),
                    Progress::Verifying => assert_eq!(
                        next.is_ok(),
                        kind == TaskKind::Upgrade
                            && matches!(event, TaskEvent::DetachAccepted | TaskEvent::AbandonAccepted)
                    ),
                    Progress::Scheduled => assert_eq!(next.is_ok(), event == TaskEvent::Begun),
                    Progress::At(_, _) => {
                        assert!(
                            !matches!(event, TaskEvent::DetachAccepted | TaskEvent::AbandonAccepted)
                                || next.is_err()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn only_a_step_that_was_passed_can_be_done_again() {
        let at = Progress::At(Phase::Forward, Step::Seed);
        assert_eq!(
            at.after(TaskKind::Upgrade, TaskEvent::Redo(Step::Place)),
            Ok(Progress::At(Phase::Forward, Step::Place))
        );
        assert!(at.after(TaskKind::Upgrade, TaskEvent::Redo(Step::Verify)).is_err());
        assert!(
            Progress::At(Phase::Detach, Step::Cut)
                .after(TaskKind::Upgrade, TaskEvent::Redo(Step::Drain))
                .is_err()
        );
    }

    #[test]
    fn every_word_reads_back() {
        for it in Step::ALL {
            assert_eq!(it.as_str().parse(), Ok(it));
        }
        for it in TaskState::ALL {
            assert_eq!(it.as_str().parse(), Ok(it));
        }
        for it in TaskKind::ALL {
            assert_eq!(it.as_str().parse(), Ok(it));
        }
        for it in Phase::ALL {
            assert_eq!(it.as_str().parse(), Ok(it));
        }
    }
}
