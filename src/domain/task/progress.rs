//! Where a task stands, what happens to it, and the one function that says what follows.

use crate::domain::task::{Phase, Step, TaskKind};

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

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Accepted for later: it has claimed nothing and changed nothing.
    Deferred,
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

/// What happens to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskEvent {
    /// It was accepted for later, and waits on: for another time, another window, or an instance that is busy.
    Postponed,
    /// Its time has come, or its customer did not want to wait: it has claimed its instance.
    Started,
    /// It was accepted for later, and cannot begin any more.
    Lapsed,
    /// It was accepted for later, and its customer does not want it any more.
    Withdrawn,
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
    /// The customer decided against the new side or deleted what is being made, or for an end before the one-way point.
    AbandonAccepted,
    /// The look at the server is done and recorded, and the task is of this kind from now on.
    StrategyFixed(TaskKind),
    /// A twin does not come near enough to its source: the server is looked at again, for another strategy.
    TwinGivenUp,
    /// The hop is done and recorded, and another hop follows, or the switchback.
    NextHop,
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
        let begin = |phase: Phase| {
            kind.spec().sequence(phase).first().map(|it| Self::At(phase, it.step)).ok_or(illegal)
        };
        match (self, event) {
            (Self::Deferred, TaskEvent::Postponed) if kind.can_wait() => Ok(Self::Deferred),
            (Self::Deferred, TaskEvent::Started) if kind.can_wait() => Ok(Self::Scheduled),
            (Self::Deferred, TaskEvent::Lapsed) => Ok(Self::Ended(TaskState::RolledBack)),
            (Self::Deferred, TaskEvent::Withdrawn) => Ok(Self::Ended(TaskState::Cancelled)),
            (Self::Scheduled, TaskEvent::Begun) => begin(Phase::Forward),
            (Self::At(phase, step), TaskEvent::StepDone) => {
                let steps = kind.steps(phase);
                let at = steps.iter().position(|s| *s == step).ok_or(illegal)?;
                Ok(match (steps.get(at + 1), phase.ends_in(kind)) {
                    (Some(next), _) => Self::At(phase, *next),
                    (None, TaskState::Verifying) => Self::Verifying,
                    (None, _) if phase == Phase::Forward && !kind.spec().finish.is_empty() => {
                        begin(Phase::Finish)?
                    }
                    (None, end) => Self::Ended(end),
                })
            }
            (Self::At(Phase::Forward, Step::Examine), TaskEvent::StrategyFixed(fixed))
                if kind == TaskKind::UpgradeAuto
                    && matches!(fixed, TaskKind::UpgradeInPlace | TaskKind::UpgradeTwin) =>
            {
                let next = fixed.spec().forward.first().ok_or(illegal)?;
                Ok(Self::At(Phase::Forward, next.step))
            }
            (Self::At(Phase::Forward, step), TaskEvent::TwinGivenUp)
                if kind == TaskKind::UpgradeTwin && !kind.holds(Phase::Forward, step) =>
            {
                Ok(Self::At(Phase::Forward, Step::Examine))
            }
            (Self::At(Phase::Finish, step), TaskEvent::NextHop)
                if kind.steps(Phase::Finish).last() == Some(&step) =>
            {
                let hop = kind.next_hop().ok_or(illegal)?;
                let next = hop.spec().forward.first().ok_or(illegal)?;
                Ok(Self::At(Phase::Forward, next.step))
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
            (Self::Verifying, TaskEvent::AbandonAccepted) if kind == TaskKind::ReplicaUpgrade => {
                begin(Phase::Abandon)
            }
            (Self::Scheduled, TaskEvent::AbandonAccepted) if kind.can_cancel() => begin(Phase::Abandon),
            (Self::At(phase, _), TaskEvent::AbandonAccepted) if phase.can_cancel(kind) => {
                begin(Phase::Abandon)
            }
            // What could not be made and not be taken away either: whoever deletes it has that tried again.
            (Self::NeedsOperator, TaskEvent::AbandonAccepted) if kind.makes() => begin(Phase::Abandon),
            (Self::NeedsOperator, TaskEvent::OperatorRetried(phase, step))
                if !phase.can_undo(kind) && kind.steps(phase).contains(&step) =>
            {
                Ok(Self::At(phase, step))
            }
            (
                Self::Deferred
                | Self::Scheduled
                | Self::Verifying
                | Self::NeedsOperator
                | Self::Ended(_)
                | Self::At(_, _),
                TaskEvent::Postponed
                | TaskEvent::Started
                | TaskEvent::Lapsed
                | TaskEvent::Withdrawn
                | TaskEvent::Begun
                | TaskEvent::StepDone
                | TaskEvent::StepRetried
                | TaskEvent::Redo(_)
                | TaskEvent::StepFailed
                | TaskEvent::DetachAccepted
                | TaskEvent::AbandonAccepted
                | TaskEvent::StrategyFixed(_)
                | TaskEvent::TwinGivenUp
                | TaskEvent::NextHop
                | TaskEvent::OperatorRetried(_, _),
            ) => Err(illegal),
        }
    }

    /// The task's state.
    pub const fn state(self) -> TaskState {
        match self {
            Self::Deferred | Self::Scheduled => TaskState::Scheduled,
            Self::At(_, _) => TaskState::Running,
            Self::Verifying => TaskState::Verifying,
            Self::NeedsOperator => TaskState::NeedsOperator,
            Self::Ended(state) => state,
        }
    }
}
