//! What tasks do: their kinds, and the steps of each phase of a kind.

use crate::domain::task::TaskState;

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// Makes an instance.
    Create,
    /// Deletes an instance.
    Delete,
    /// Upgrades an instance, strategy replica.
    ReplicaUpgrade,
    /// Upgrades the same instance; the strategy is not fixed yet.
    UpgradeAuto,
    /// Upgrades the same instance, its data converted while it is held.
    UpgradeInPlace,
    /// Upgrades the same instance, fed by replication, then cut over.
    UpgradeTwin,
    /// Makes a group.
    CreateGroup,
    /// Deletes a group.
    DeleteGroup,
    /// Upgrades a group, member by member.
    UpgradeRolling,
    /// Gives the members of an upgraded group the roles back that they had before.
    Switchback,
    /// Has the members of a group change roles.
    Failover,
}

/// A line of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Towards what was asked for.
    Forward,
    /// After the accepted detach: an upgrade's one-way point.
    Detach,
    /// After the accepted deletion of what the task makes, or a customer's end of it before its one-way point.
    Abandon,
    /// Back to what was.
    Undo,
    /// After the cut-over: the one-way point of an upgrade of the same instance.
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
    Cutover,
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
    TaskKind::ReplicaUpgrade,
    TaskKind::UpgradeAuto,
    TaskKind::UpgradeInPlace,
    TaskKind::UpgradeTwin,
    TaskKind::CreateGroup,
    TaskKind::DeleteGroup,
    TaskKind::UpgradeRolling,
    TaskKind::Switchback,
    TaskKind::Failover,
];
const ALL_PHASES: [Phase; 5] = [Phase::Forward, Phase::Detach, Phase::Abandon, Phase::Undo, Phase::Finish];

/// Back to the old server, which is safe at once: what is left of the candidate goes afterwards.
const BACK: &[Step] = &[Step::Reinstate, Step::Reopen, Step::DropServer, Step::Release];

/// Two members of a group change roles; up to the last of these.
const CHANGE: &[Step] = &[Step::Quiet, Step::Hold, Step::Fence, Step::Drain, Step::Cut, Step::Cutover];

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 11] = ALL_KINDS;

    /// The steps of a phase, in order; empty when the kind has no such phase.
    pub const fn steps(self, phase: Phase) -> &'static [Step] {
        match (self, phase) {
            (Self::Create, Phase::Forward) => {
                &[Step::Place, Step::Start, Step::Prepare, Step::Publish, Step::Open]
            }
            (Self::Create, Phase::Abandon | Phase::Undo) => &[Step::Unroute, Step::DropServer],
            (Self::Delete, Phase::Forward) => &[Step::Unroute, Step::DropServer],
            (Self::ReplicaUpgrade, Phase::Forward) => &[
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
            (Self::ReplicaUpgrade, Phase::Detach) => &[Step::Drain, Step::Cut, Step::Release],
            (Self::ReplicaUpgrade, Phase::Abandon | Phase::Undo) => {
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
                Step::Cutover,
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
                Step::Cutover,
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
            (Self::CreateGroup, Phase::Abandon | Phase::Undo) => &[Step::Unroute, Step::DropServer],
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
                Step::Cutover,
            ],
            (Self::UpgradeRolling, Phase::Finish) => {
                &[Step::Admit, Step::Reopen, Step::Rebuild, Step::Rejoin]
            }
            (Self::UpgradeRolling, Phase::Abandon | Phase::Undo) => {
                &[Step::Reinstate, Step::Reopen, Step::Restore, Step::DropServer]
            }
            (Self::Switchback | Self::Failover, Phase::Forward) => CHANGE,
            (Self::Switchback | Self::Failover, Phase::Finish) => &[Step::Admit, Step::Reopen, Step::Rejoin],
            (Self::Switchback | Self::Failover, Phase::Undo) | (Self::Failover, Phase::Abandon) => {
                &[Step::Reinstate, Step::Reopen, Step::Restore]
            }
            (Self::Create | Self::CreateGroup, Phase::Detach | Phase::Finish)
            | (
                Self::Delete | Self::DeleteGroup,
                Phase::Detach | Phase::Abandon | Phase::Undo | Phase::Finish,
            )
            | (Self::ReplicaUpgrade | Self::UpgradeAuto, Phase::Finish)
            | (Self::Switchback, Phase::Detach | Phase::Abandon)
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
    pub const fn cuts_over(self) -> bool {
        match self {
            Self::UpgradeAuto
            | Self::UpgradeInPlace
            | Self::UpgradeTwin
            | Self::UpgradeRolling
            | Self::Switchback
            | Self::Failover => true,
            Self::Create | Self::Delete | Self::ReplicaUpgrade | Self::CreateGroup | Self::DeleteGroup => {
                false
            }
        }
    }

    /// Whether it is about a group.
    pub const fn of_group(self) -> bool {
        match self {
            Self::CreateGroup
            | Self::DeleteGroup
            | Self::UpgradeRolling
            | Self::Switchback
            | Self::Failover => true,
            Self::Create
            | Self::Delete
            | Self::ReplicaUpgrade
            | Self::UpgradeAuto
            | Self::UpgradeInPlace
            | Self::UpgradeTwin => false,
        }
    }

    /// Whether it can be accepted for later.
    pub const fn can_wait(self) -> bool {
        self.cuts_over() && !matches!(self, Self::Switchback | Self::Failover)
    }

    /// Whether its customer can end it before its one-way point: what follows an upgrade is past the upgrade's.
    pub const fn can_cancel(self) -> bool {
        self.makes() || self.cuts_over() && !matches!(self, Self::Switchback)
    }

    /// Whether it makes an instance, or a group: who deletes that while it is being made ends the task.
    pub const fn makes(self) -> bool {
        matches!(self, Self::Create | Self::CreateGroup | Self::ReplicaUpgrade)
    }

    /// What the task goes on as after its last step, where it goes on.
    pub(super) const fn next_hop(self) -> Option<Self> {
        match self {
            Self::UpgradeInPlace | Self::UpgradeTwin => Some(Self::UpgradeAuto),
            Self::UpgradeRolling => Some(Self::Switchback),
            Self::Create
            | Self::Delete
            | Self::ReplicaUpgrade
            | Self::UpgradeAuto
            | Self::CreateGroup
            | Self::DeleteGroup
            | Self::Switchback
            | Self::Failover => None,
        }
    }

    /// Whether tenants wait while the step runs, so that it must end soon, one way or the other: from the hold on, until
    /// their address is open again.
    pub fn holds(self, phase: Phase, step: Step) -> bool {
        let steps = self.steps(phase);
        let at = |which: Step| steps.iter().position(|it| *it == which);
        let (Some(now), true) = (at(step), self.cuts_over()) else { return false };
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
            Self::ReplicaUpgrade
            | Self::UpgradeAuto
            | Self::UpgradeInPlace
            | Self::UpgradeTwin
            | Self::UpgradeRolling
            | Self::Switchback => "upgrade",
            Self::Failover => "failover",
        }
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::ReplicaUpgrade => "upgrade",
            Self::UpgradeAuto => "upgrade_auto",
            Self::UpgradeInPlace => "upgrade_in_place",
            Self::UpgradeTwin => "upgrade_twin",
            Self::CreateGroup => "create_group",
            Self::DeleteGroup => "delete_group",
            Self::UpgradeRolling => "upgrade_rolling",
            Self::Switchback => "switch_back",
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
            | TaskKind::ReplicaUpgrade
            | TaskKind::UpgradeAuto
            | TaskKind::UpgradeInPlace
            | TaskKind::UpgradeTwin
            | TaskKind::CreateGroup
            | TaskKind::UpgradeRolling
            | TaskKind::Switchback
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

    pub(super) const fn ends_in(self, kind: TaskKind) -> TaskState {
        match (self, kind) {
            (Self::Forward, TaskKind::ReplicaUpgrade) => TaskState::Verifying,
            (Self::Forward | Self::Detach | Self::Finish, _) => TaskState::Succeeded,
            (Self::Abandon, _) => TaskState::Cancelled,
            // The upgrade that it follows is done.
            (Self::Undo, TaskKind::Switchback) => TaskState::Succeeded,
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
        Self::Cutover,
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
            Self::Cutover => "switch",
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
