//! Tasks: their kinds, phases, steps and states, and the one transition function through which live work and
//! recovery both go.
//!
//! A task's way is a straight line of steps in a *phase*. Forward ends in success, or, for an upgrade, in
//! `verifying`, a state without worker and lease, in which the customer's decision is an event of the task: detach
//! or abandon. A failure before the one-way point goes to the undo phase. After it (a deletion from its start, an
//! upgrade from the accepted detach) there is no undo: a step is tried again, and in the end an operator is asked.
//!
//! An upgrade of the same instance begins as [`TaskKind::UpgradeAuto`], whose one forward step looks at the server and
//! fixes the strategy: that changes the task's kind, once. Its one-way point is the record of [`Step::Switch`], which
//! makes the candidate serve; before it a failure, or a customer who cancels, leads back to the old server, after it
//! the [`Phase::Finish`] only goes forward. A way of several hops is walked in one task: the end of a hop's finish is
//! the beginning of the next one's look, and the task's kind is [`TaskKind::UpgradeAuto`] again.
//!
//! An upgrade of a group ([`TaskKind::UpgradeRolling`]) has the same shape: its one-way point is the record of
//! [`Step::Switch`], by which the members change roles. Where they change them once more that is the next leg of the same
//! task, of the kind [`TaskKind::SwitchBack`], whose way back ends in success: the upgrade is done by then.
//!
//! An upgrade of the same instance that was accepted for later is [`Progress::Deferred`]: a task without claims, whose
//! instance knows nothing of it. When it is due it claims its instance, in one transaction with the last look at what
//! it was accepted by, and is like one that was accepted this moment from then on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::datastore::UnknownWord;
use crate::domain::ids::{GenerationId, GroupId, InstanceId, ProjectId, TaskId};
use crate::domain::rolling::{FailoverPlan, MakePlan, RollingPlan, UnmakePlan};
use crate::domain::switch::{Strategy, SwitchPlan};
use crate::domain::tenant::NewDatabase;
use crate::domain::timing::Timing;
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
    /// Upgrades the same instance; the strategy is not fixed yet.
    UpgradeAuto,
    /// Upgrades the same instance, its data converted while it is held.
    UpgradeInPlace,
    /// Upgrades the same instance, fed by replication and switched.
    UpgradeTwin,
    /// Makes a group.
    CreateGroup,
    /// Deletes a group.
    DeleteGroup,
    /// Upgrades a group, member by member.
    UpgradeRolling,
    /// Gives the members of an upgraded group the roles back that they had before.
    SwitchBack,
    /// Has the members of a group change roles.
    Failover,
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
    /// After the switch: the one-way point of an upgrade of the same instance.
    Finish,
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
    /// Make the candidate's data ready as far as can be while the old server serves.
    Ready,
    /// Wait for a moment in which clients hardly notice a hold.
    Quiet,
    /// Have the endpoint hold new connections.
    Hold,
    /// Keep tenants from writing to the old server, and end their sessions.
    Fence,
    /// Stop the old server, and prove that it stopped cleanly.
    Stop,
    /// Make the candidate's data of the old server's, whose folder is not touched.
    Transform,
    /// Ask the candidate what it is, and make it the one that serves: the one-way point.
    Switch,
    /// Let tenants write to the new server.
    Admit,
    /// Have the endpoint let connections through again.
    Reopen,
    /// Stop the old server, which is kept for a while, and take off what the upgrade left in it.
    Retire,
    /// Have the old server serve again: started, and open to writes.
    Reinstate,
    /// Make a new server for a group's standby, with the primary's content, and have it follow; what a former try left
    /// is removed.
    Rebuild,
    /// Ask the standby's new server what it is, and have it take the place of the standby's old one.
    Renew,
    /// Wait until the standby that a change of roles left has everything; where it was made anew its server takes the
    /// place of the old one.
    Rejoin,
    /// Have the standby's old server take its place again, and follow the primary.
    Restore,
}

const ALL_KINDS: [TaskKind; 11] = [
    TaskKind::Create,
    TaskKind::Delete,
    TaskKind::Upgrade,
    TaskKind::UpgradeAuto,
    TaskKind::UpgradeInPlace,
    TaskKind::UpgradeTwin,
    TaskKind::CreateGroup,
    TaskKind::DeleteGroup,
    TaskKind::UpgradeRolling,
    TaskKind::SwitchBack,
    TaskKind::Failover,
];
const ALL_PHASES: [Phase; 5] = [Phase::Forward, Phase::Detach, Phase::Abandon, Phase::Undo, Phase::Finish];

/// Back to the old server, which is safe at once: what is left of the candidate goes afterwards.
const BACK: &[Step] = &[Step::Reinstate, Step::Reopen, Step::DropServer, Step::Release];

/// Two members of a group change roles; up to the last of these.
const CHANGE: &[Step] = &[Step::Quiet, Step::Hold, Step::Fence, Step::Drain, Step::Cut, Step::Switch];

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 11] = ALL_KINDS;

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
            (Self::UpgradeAuto, Phase::Forward) => &[Step::Examine],
            (Self::UpgradeInPlace, Phase::Forward) => &[
                Step::Ready,
                Step::Quiet,
                Step::Hold,
                Step::Fence,
                Step::Stop,
                Step::Transform,
                Step::Start,
                Step::Convert,
                Step::Switch,
            ],
            (Self::UpgradeTwin, Phase::Forward) => &[
                Step::Place,
                Step::Start,
                Step::Seed,
                Step::Convert,
                Step::Replicate,
                Step::CatchUp,
                Step::Verify,
                Step::Quiet,
                Step::Hold,
                Step::Fence,
                Step::Drain,
                Step::Cut,
                Step::Switch,
            ],
            (Self::UpgradeInPlace | Self::UpgradeTwin, Phase::Finish) => {
                &[Step::Admit, Step::Reopen, Step::Retire]
            }
            (Self::UpgradeAuto | Self::UpgradeInPlace | Self::UpgradeTwin, Phase::Abandon | Phase::Undo) => {
                BACK
            }
            (Self::CreateGroup, Phase::Forward) => {
                &[Step::Place, Step::Start, Step::Replicate, Step::Publish, Step::Open]
            }
            (Self::CreateGroup, Phase::Undo) => &[Step::Unroute, Step::DropServer],
            (Self::DeleteGroup, Phase::Forward) => &[Step::Unroute, Step::DropServer],
            (Self::UpgradeRolling, Phase::Forward) => &[
                Step::Examine,
                Step::Rebuild,
                Step::Verify,
                Step::Renew,
                Step::Quiet,
                Step::Hold,
                Step::Fence,
                Step::Drain,
                Step::Cut,
                Step::Switch,
            ],
            (Self::UpgradeRolling, Phase::Finish) => {
                &[Step::Admit, Step::Reopen, Step::Rebuild, Step::Rejoin]
            }
            (Self::UpgradeRolling, Phase::Abandon | Phase::Undo) => {
                &[Step::Reinstate, Step::Reopen, Step::Restore, Step::DropServer]
            }
            (Self::SwitchBack | Self::Failover, Phase::Forward) => CHANGE,
            (Self::SwitchBack | Self::Failover, Phase::Finish) => &[Step::Admit, Step::Reopen, Step::Rejoin],
            (Self::SwitchBack | Self::Failover, Phase::Undo) | (Self::Failover, Phase::Abandon) => {
                &[Step::Reinstate, Step::Reopen, Step::Restore]
            }
            (Self::Create | Self::CreateGroup, Phase::Detach | Phase::Abandon | Phase::Finish)
            | (
                Self::Delete | Self::DeleteGroup,
                Phase::Detach | Phase::Abandon | Phase::Undo | Phase::Finish,
            )
            | (Self::Upgrade | Self::UpgradeAuto, Phase::Finish)
            | (Self::SwitchBack, Phase::Detach | Phase::Abandon)
            | (
                Self::UpgradeAuto
                | Self::UpgradeInPlace
                | Self::UpgradeTwin
                | Self::UpgradeRolling
                | Self::Failover,
                Phase::Detach,
            ) => &[],
        }
    }

    /// Whether it has a one-way point between two servers that tenants write to: it upgrades the same instance, or has
    /// the members of a group change roles.
    pub const fn switches(self) -> bool {
        match self {
            Self::UpgradeAuto
            | Self::UpgradeInPlace
            | Self::UpgradeTwin
            | Self::UpgradeRolling
            | Self::SwitchBack
            | Self::Failover => true,
            Self::Create | Self::Delete | Self::Upgrade | Self::CreateGroup | Self::DeleteGroup => false,
        }
    }

    /// Whether it is about a group.
    pub const fn of_group(self) -> bool {
        match self {
            Self::CreateGroup
            | Self::DeleteGroup
            | Self::UpgradeRolling
            | Self::SwitchBack
            | Self::Failover => true,
            Self::Create
            | Self::Delete
            | Self::Upgrade
            | Self::UpgradeAuto
            | Self::UpgradeInPlace
            | Self::UpgradeTwin => false,
        }
    }

    /// Whether it can be accepted for later.
    pub const fn can_wait(self) -> bool {
        self.switches() && !matches!(self, Self::SwitchBack | Self::Failover)
    }

    /// Whether its customer can end it before its one-way point: what follows an upgrade is past the upgrade's.
    pub const fn can_cancel(self) -> bool {
        self.switches() && !matches!(self, Self::SwitchBack)
    }

    /// What the task goes on as after its last step, where it goes on.
    const fn next_leg(self) -> Option<Self> {
        match self {
            Self::UpgradeInPlace | Self::UpgradeTwin => Some(Self::UpgradeAuto),
            Self::UpgradeRolling => Some(Self::SwitchBack),
            Self::Create
            | Self::Delete
            | Self::Upgrade
            | Self::UpgradeAuto
            | Self::CreateGroup
            | Self::DeleteGroup
            | Self::SwitchBack
            | Self::Failover => None,
        }
    }

    /// Whether tenants wait while the step runs, so that it must end soon, one way or the other: from the hold on, until
    /// their address is open again.
    pub fn holds(self, phase: Phase, step: Step) -> bool {
        let steps = self.steps(phase);
        let at = |which: Step| steps.iter().position(|it| *it == which);
        let (Some(now), true) = (at(step), self.switches()) else { return false };
        match phase {
            Phase::Forward => at(Step::Hold).is_some_and(|hold| hold <= now),
            Phase::Undo | Phase::Abandon | Phase::Finish => {
                at(Step::Reopen).is_some_and(|reopen| now <= reopen)
            }
            Phase::Detach => false,
        }
    }

    /// What a client is told that it is: one word for every strategy.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Create | Self::CreateGroup => "create",
            Self::Delete | Self::DeleteGroup => "delete",
            Self::Upgrade
            | Self::UpgradeAuto
            | Self::UpgradeInPlace
            | Self::UpgradeTwin
            | Self::UpgradeRolling
            | Self::SwitchBack => "upgrade",
            Self::Failover => "failover",
        }
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Upgrade => "upgrade",
            Self::UpgradeAuto => "upgrade_auto",
            Self::UpgradeInPlace => "upgrade_in_place",
            Self::UpgradeTwin => "upgrade_twin",
            Self::CreateGroup => "create_group",
            Self::DeleteGroup => "delete_group",
            Self::UpgradeRolling => "upgrade_rolling",
            Self::SwitchBack => "switch_back",
            Self::Failover => "failover",
        }
    }
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = ALL_PHASES;

    /// Whether a failure here can still be undone.
    pub const fn can_undo(self, kind: TaskKind) -> bool {
        match kind {
            TaskKind::Create
            | TaskKind::Upgrade
            | TaskKind::UpgradeAuto
            | TaskKind::UpgradeInPlace
            | TaskKind::UpgradeTwin
            | TaskKind::CreateGroup
            | TaskKind::UpgradeRolling
            | TaskKind::SwitchBack
            | TaskKind::Failover => matches!(self, Self::Forward),
            TaskKind::Delete | TaskKind::DeleteGroup => false,
        }
    }

    /// Whether a customer can still end the task here.
    pub const fn can_cancel(self, kind: TaskKind) -> bool {
        kind.can_cancel() && matches!(self, Self::Forward)
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Detach => "detach",
            Self::Abandon => "abandon",
            Self::Undo => "undo",
            Self::Finish => "finish",
        }
    }

    const fn ends_in(self, kind: TaskKind) -> TaskState {
        match (self, kind) {
            (Self::Forward, TaskKind::Upgrade) => TaskState::Verifying,
            (Self::Forward | Self::Detach | Self::Finish, _) => TaskState::Succeeded,
            (Self::Abandon, _) => TaskState::Cancelled,
            // The upgrade that it follows is done.
            (Self::Undo, TaskKind::SwitchBack) => TaskState::Succeeded,
            (Self::Undo, _) => TaskState::RolledBack,
        }
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 31] = [
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
        Self::Ready,
        Self::Quiet,
        Self::Hold,
        Self::Fence,
        Self::Stop,
        Self::Transform,
        Self::Switch,
        Self::Admit,
        Self::Reopen,
        Self::Retire,
        Self::Reinstate,
        Self::Rebuild,
        Self::Renew,
        Self::Rejoin,
        Self::Restore,
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
            Self::Ready => "ready",
            Self::Quiet => "quiet",
            Self::Hold => "hold",
            Self::Fence => "fence",
            Self::Stop => "stop",
            Self::Transform => "transform",
            Self::Switch => "switch",
            Self::Admit => "admit",
            Self::Reopen => "reopen",
            Self::Retire => "retire",
            Self::Reinstate => "reinstate",
            Self::Rebuild => "rebuild",
            Self::Renew => "renew",
            Self::Rejoin => "rejoin",
            Self::Restore => "restore",
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

/// What a task was accepted to do. Stored with it, with the form's number: code changes, rows wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Plan {
    /// Make an instance.
    Create(CreatePlan),
    /// Delete an instance.
    Delete(DeletePlan),
    /// Upgrade an instance by way of a new one.
    Upgrade(UpgradePlan),
    /// Upgrade the same instance.
    Switch(SwitchPlan),
    /// Make a group.
    MakeGroup(MakePlan),
    /// Delete a group.
    UnmakeGroup(UnmakePlan),
    /// Upgrade a group.
    Rolling(RollingPlan),
    /// Have the members of a group change roles.
    Failover(FailoverPlan),
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
    /// The instance that it is about: an upgrade's old one; of a group the member that was the primary.
    pub fn subject(&self) -> InstanceId {
        match self {
            Self::Create(plan) => plan.instance,
            Self::Delete(plan) => plan.instance,
            Self::Upgrade(plan) => plan.source,
            Self::Switch(plan) => plan.instance,
            Self::MakeGroup(plan) => plan.primary.0,
            Self::UnmakeGroup(plan) => match plan.members.first() {
                Some((member, _)) => *member,
                None => plan.group.address(),
            },
            Self::Rolling(plan) => plan.primary.member,
            Self::Failover(plan) => match &plan.of {
                Some(upgrade) => upgrade.primary.member,
                None => plan.primary.0,
            },
        }
    }

    /// The group that it is about.
    pub const fn group(&self) -> Option<GroupId> {
        match self {
            Self::Create(_) | Self::Delete(_) | Self::Upgrade(_) | Self::Switch(_) => None,
            Self::MakeGroup(plan) => Some(plan.group),
            Self::UnmakeGroup(plan) => Some(plan.group),
            Self::Rolling(plan) => Some(plan.group),
            Self::Failover(plan) => Some(plan.group),
        }
    }

    /// Whose address it is about: its group's, else its instance's.
    pub fn address(&self) -> InstanceId {
        match self.group() {
            Some(group) => group.address(),
            None => self.subject(),
        }
    }

    /// The kind of the task that it makes.
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Create(_) => TaskKind::Create,
            Self::Delete(_) => TaskKind::Delete,
            Self::Upgrade(_) => TaskKind::Upgrade,
            Self::Switch(plan) => match plan.strategy {
                None => TaskKind::UpgradeAuto,
                Some(Strategy::InPlace) => TaskKind::UpgradeInPlace,
                Some(Strategy::Twin) => TaskKind::UpgradeTwin,
            },
            Self::MakeGroup(_) => TaskKind::CreateGroup,
            Self::UnmakeGroup(_) => TaskKind::DeleteGroup,
            Self::Rolling(_) => TaskKind::UpgradeRolling,
            Self::Failover(plan) => match plan.of {
                Some(_) => TaskKind::SwitchBack,
                None => TaskKind::Failover,
            },
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
    /// The customer decided against the new side, or for an end before the one-way point.
    AbandonAccepted,
    /// The look at the server is done and recorded, and the task is of this kind from now on.
    StrategyFixed(TaskKind),
    /// The hop, or the leg, is done and recorded, and another one follows.
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
        let begin =
            |phase: Phase| kind.steps(phase).first().map(|step| Self::At(phase, *step)).ok_or(illegal);
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
                    (None, _) if phase == Phase::Forward && kind.switches() => begin(Phase::Finish)?,
                    (None, end) => Self::Ended(end),
                })
            }
            (Self::At(Phase::Forward, Step::Examine), TaskEvent::StrategyFixed(fixed))
                if kind == TaskKind::UpgradeAuto
                    && matches!(fixed, TaskKind::UpgradeInPlace | TaskKind::UpgradeTwin) =>
            {
                let next = fixed.steps(Phase::Forward).first().ok_or(illegal)?;
                Ok(Self::At(Phase::Forward, *next))
            }
            (Self::At(Phase::Finish, step), TaskEvent::NextHop)
                if kind.steps(Phase::Finish).last() == Some(&step) =>
            {
                let leg = kind.next_leg().ok_or(illegal)?;
                let next = leg.steps(Phase::Forward).first().ok_or(illegal)?;
                Ok(Self::At(Phase::Forward, *next))
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
            (Self::Verifying, TaskEvent::AbandonAccepted) if !kind.switches() => begin(Phase::Abandon),
            (Self::Scheduled, TaskEvent::AbandonAccepted) if kind.can_cancel() => begin(Phase::Abandon),
            (Self::At(phase, _), TaskEvent::AbandonAccepted) if phase.can_cancel(kind) => {
                begin(Phase::Abandon)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn every_progress() -> Vec<(TaskKind, Progress)> {
        let mut all = Vec::new();
        for kind in TaskKind::ALL {
            all.push((kind, Progress::Deferred));
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
            (TaskKind::UpgradeAuto, Phase::Undo, TaskState::RolledBack),
            (TaskKind::UpgradeAuto, Phase::Abandon, TaskState::Cancelled),
            (TaskKind::UpgradeInPlace, Phase::Finish, TaskState::Succeeded),
            (TaskKind::UpgradeInPlace, Phase::Undo, TaskState::RolledBack),
            (TaskKind::UpgradeTwin, Phase::Finish, TaskState::Succeeded),
            (TaskKind::UpgradeTwin, Phase::Abandon, TaskState::Cancelled),
            (TaskKind::CreateGroup, Phase::Forward, TaskState::Succeeded),
            (TaskKind::CreateGroup, Phase::Undo, TaskState::RolledBack),
            (TaskKind::DeleteGroup, Phase::Forward, TaskState::Succeeded),
            (TaskKind::UpgradeRolling, Phase::Finish, TaskState::Succeeded),
            (TaskKind::UpgradeRolling, Phase::Undo, TaskState::RolledBack),
            (TaskKind::UpgradeRolling, Phase::Abandon, TaskState::Cancelled),
            (TaskKind::SwitchBack, Phase::Finish, TaskState::Succeeded),
            (TaskKind::SwitchBack, Phase::Undo, TaskState::Succeeded),
            (TaskKind::Failover, Phase::Finish, TaskState::Succeeded),
            (TaskKind::Failover, Phase::Undo, TaskState::RolledBack),
            (TaskKind::Failover, Phase::Abandon, TaskState::Cancelled),
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
                (kind, Phase::Forward) if !matches!(kind, TaskKind::Delete | TaskKind::DeleteGroup) => {
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
                    // It has claimed nothing, so that nothing is to be undone.
                    Progress::Deferred => assert!(next.is_err(), "{event:?}"),
                    Progress::Scheduled => assert_eq!(
                        next.is_ok(),
                        event == TaskEvent::Begun || event == TaskEvent::AbandonAccepted && kind.can_cancel()
                    ),
                    Progress::At(phase, _) => {
                        assert!(event != TaskEvent::DetachAccepted || next.is_err());
                        assert!(
                            event != TaskEvent::AbandonAccepted || next.is_ok() == phase.can_cancel(kind)
                        );
                    }
                }
            }
        }
    }

    /// Only what has not begun can be moved, started and withdrawn, and begins like any other then.
    #[test]
    fn what_is_deferred_begins_or_ends_without_a_step() {
        for (kind, progress) in every_progress() {
            for (event, next) in [
                (TaskEvent::Postponed, kind.can_wait().then_some(Progress::Deferred)),
                (TaskEvent::Started, kind.can_wait().then_some(Progress::Scheduled)),
                (TaskEvent::Lapsed, Some(Progress::Ended(TaskState::RolledBack))),
                (TaskEvent::Withdrawn, Some(Progress::Ended(TaskState::Cancelled))),
            ] {
                let next = next.filter(|_| progress == Progress::Deferred);
                assert_eq!(progress.after(kind, event).ok(), next, "{kind:?} {progress:?} {event:?}");
            }
        }
    }

    /// The one-way point of an upgrade of the same instance is the record of the switch, and nothing else.
    #[test]
    fn the_switch_is_the_one_way_point() {
        for kind in [TaskKind::UpgradeInPlace, TaskKind::UpgradeTwin] {
            let examined = Progress::At(Phase::Forward, Step::Examine);
            let mut at = examined.after(TaskKind::UpgradeAuto, TaskEvent::StrategyFixed(kind)).unwrap();
            assert_eq!(at, Progress::At(Phase::Forward, kind.steps(Phase::Forward)[0]));
            while at != Progress::At(Phase::Finish, Step::Admit) {
                assert!(matches!(
                    at.after(kind, TaskEvent::StepFailed),
                    Ok(Progress::At(Phase::Undo, Step::Reinstate))
                ));
                assert!(matches!(
                    at.after(kind, TaskEvent::AbandonAccepted),
                    Ok(Progress::At(Phase::Abandon, Step::Reinstate))
                ));
                let last = at;
                at = at.after(kind, TaskEvent::StepDone).unwrap();
                assert_eq!(
                    last == Progress::At(Phase::Forward, Step::Switch),
                    at == Progress::At(Phase::Finish, Step::Admit)
                );
            }
            assert_eq!(at.after(kind, TaskEvent::StepFailed), Ok(Progress::NeedsOperator));
            assert!(at.after(kind, TaskEvent::AbandonAccepted).is_err());
            for (is_last, step) in [(false, Step::Admit), (false, Step::Reopen), (true, Step::Retire)] {
                let next = Progress::At(Phase::Finish, step).after(kind, TaskEvent::NextHop);
                assert_eq!(next.ok(), is_last.then_some(examined), "{step:?}");
            }
            assert!(Progress::At(Phase::Forward, Step::Switch).after(kind, TaskEvent::NextHop).is_err());
            for other in [TaskKind::Upgrade, TaskKind::Create, TaskKind::Delete, TaskKind::UpgradeAuto] {
                assert!(examined.after(TaskKind::UpgradeAuto, TaskEvent::StrategyFixed(other)).is_err());
            }
            assert!(examined.after(TaskKind::Upgrade, TaskEvent::StrategyFixed(kind)).is_err());
        }
    }

    /// The members of a group change roles at the record of a switch; the last leg of an upgrade cannot undo that.
    #[test]
    fn a_change_of_roles_is_the_one_way_point_of_a_group() {
        for kind in [TaskKind::UpgradeRolling, TaskKind::Failover, TaskKind::SwitchBack] {
            for step in kind.steps(Phase::Forward) {
                let at = Progress::At(Phase::Forward, *step);
                let undone = at.after(kind, TaskEvent::StepFailed);
                assert_eq!(undone, Ok(Progress::At(Phase::Undo, Step::Reinstate)), "{kind:?} {step:?}");
                assert_eq!(at.after(kind, TaskEvent::AbandonAccepted).is_ok(), kind != TaskKind::SwitchBack);
                let next = at.after(kind, TaskEvent::StepDone).unwrap();
                assert_eq!(*step == Step::Switch, next == Progress::At(Phase::Finish, Step::Admit));
            }
            let rejoined = Progress::At(Phase::Finish, Step::Rejoin);
            assert_eq!(rejoined.after(kind, TaskEvent::StepFailed), Ok(Progress::NeedsOperator));
            let back = Progress::At(Phase::Forward, Step::Quiet);
            let next = rejoined.after(kind, TaskEvent::NextHop).ok();
            assert_eq!(next, (kind == TaskKind::UpgradeRolling).then_some(back), "{kind:?}");
        }
    }

    #[test]
    fn tenants_wait_from_the_hold_to_the_reopening() {
        let held = |kind: TaskKind, phase: Phase| -> Vec<Step> {
            kind.steps(phase).iter().copied().filter(|step| kind.holds(phase, *step)).collect()
        };
        let (in_place, twin) = (TaskKind::UpgradeInPlace, TaskKind::UpgradeTwin);
        assert_eq!(
            held(in_place, Phase::Forward),
            [Step::Hold, Step::Fence, Step::Stop, Step::Transform, Step::Start, Step::Convert, Step::Switch]
        );
        assert_eq!(
            held(twin, Phase::Forward),
            [Step::Hold, Step::Fence, Step::Drain, Step::Cut, Step::Switch]
        );
        for kind in [in_place, twin] {
            assert_eq!(held(kind, Phase::Finish), [Step::Admit, Step::Reopen]);
            assert_eq!(held(kind, Phase::Undo), [Step::Reinstate, Step::Reopen]);
        }
        for kind in [TaskKind::UpgradeRolling, TaskKind::SwitchBack, TaskKind::Failover] {
            let waits = [Step::Hold, Step::Fence, Step::Drain, Step::Cut, Step::Switch];
            assert_eq!(held(kind, Phase::Forward), waits);
            assert_eq!(held(kind, Phase::Finish), [Step::Admit, Step::Reopen]);
            assert_eq!(held(kind, Phase::Undo), [Step::Reinstate, Step::Reopen]);
        }
        for phase in Phase::ALL {
            assert!(held(TaskKind::Upgrade, phase).is_empty(), "a replica's source is never held");
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
