//! The kinds of tasks: which there are, and what each one is.
//!
//! # How to add one
//! A file here with its [`Spec`] and its plan; its names in [`TaskKind`] and [`Plan`]; a file with its work in
//! `workflow::kinds`, and its name there. What follows from that is made of it: the states that a task
//! goes through, deadlines, estimates, the words that the schema allows, the tables of the documents, the cells that are
//! killed by the tests.

pub mod spec;

mod create;
mod create_group;
mod delete;
mod delete_group;
mod failover;
mod replica_upgrade;
mod resize;
mod restart;
mod switchback;
mod upgrade_auto;
mod upgrade_in_place;
mod upgrade_rolling;
mod upgrade_twin;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{GenerationId, GroupId, InstanceId, VersionId};
use crate::domain::replica_upgrade::ReplicaUpgradePlan;
use crate::domain::rolling::{FailoverPlan, MakePlan, RollingPlan, UnmakePlan};
use crate::domain::task::kinds::spec::{Spec, StepSpec};
use crate::domain::task::{CreatePlan, DeletePlan, Phase, ResizePlan, RestartPlan, Step, TaskState};
use crate::domain::upgrade::{Strategy, UpgradePlan};

/// What a step of a hold has at least: a worker that was away for longer than a hold may last goes on, and does not begin a
/// step only to end it.
const LAST_TRY: Duration = Duration::from_secs(10);

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
    /// Restarts an instance's server.
    Restart,
    /// Gives an instance another flavor.
    Resize,
}

impl TaskKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Delete,
        Self::ReplicaUpgrade,
        Self::UpgradeAuto,
        Self::UpgradeInPlace,
        Self::UpgradeTwin,
        Self::CreateGroup,
        Self::DeleteGroup,
        Self::UpgradeRolling,
        Self::Switchback,
        Self::Failover,
        Self::Restart,
        Self::Resize,
    ];

    /// What it is.
    pub const fn spec(self) -> &'static Spec {
        match self {
            Self::Create => &create::SPEC,
            Self::Delete => &delete::SPEC,
            Self::ReplicaUpgrade => &replica_upgrade::SPEC,
            Self::UpgradeAuto => &upgrade_auto::SPEC,
            Self::UpgradeInPlace => &upgrade_in_place::SPEC,
            Self::UpgradeTwin => &upgrade_twin::SPEC,
            Self::CreateGroup => &create_group::SPEC,
            Self::DeleteGroup => &delete_group::SPEC,
            Self::UpgradeRolling => &upgrade_rolling::SPEC,
            Self::Switchback => &switchback::SPEC,
            Self::Failover => &failover::SPEC,
            Self::Restart => &restart::SPEC,
            Self::Resize => &resize::SPEC,
        }
    }

    /// The steps of a phase, in order; empty when the kind has no such phase.
    pub fn steps(self, phase: Phase) -> Vec<Step> {
        self.spec().sequence(phase).iter().map(|it| it.step).collect()
    }

    /// A step of it. The look before a strategy is fixed is a step of what the task becomes by it.
    pub fn step(self, phase: Phase, step: Step) -> Option<&'static StepSpec> {
        self.spec().step(phase, step).or_else(|| Self::UpgradeAuto.spec().step(phase, step))
    }

    /// Whether it has a one-way point between two servers that tenants write to.
    pub const fn cuts_over(self) -> bool {
        self.spec().cuts_over
    }

    /// Whether it is about a group.
    pub const fn of_group(self) -> bool {
        self.spec().of_group
    }

    /// Whether it can be accepted for later.
    pub const fn can_wait(self) -> bool {
        self.spec().can_wait
    }

    /// Whether its customer can end it before its one-way point.
    pub const fn can_cancel(self) -> bool {
        self.spec().can_cancel
    }

    /// Whether it makes an instance, or a group.
    pub const fn makes(self) -> bool {
        self.spec().makes
    }

    /// What the task goes on as after its last step, where it goes on.
    pub(super) const fn next_hop(self) -> Option<Self> {
        self.spec().next_hop
    }

    /// What a client is told that it is.
    pub const fn title(self) -> &'static str {
        self.spec().title
    }

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        self.spec().word
    }

    /// Whether tenants wait while the step runs, so that it must end soon, one way or the other: from the hold on, until
    /// their address is open again.
    pub fn holds(self, phase: Phase, step: Step) -> bool {
        let steps = self.spec().sequence(phase);
        let at = |which: Step| steps.iter().position(|it| it.step == which);
        let Some(now) = at(step) else { return false };
        match phase {
            Phase::Forward => at(Step::Hold).is_some_and(|hold| hold <= now),
            Phase::Undo | Phase::Abandon | Phase::Finish => {
                at(Step::Reopen).is_some_and(|reopen| now <= reopen)
            }
            Phase::Detach => false,
        }
    }

    /// How long one try of a step may take, with so many bytes of data. `held` is for how long tenants wait already, in the
    /// hold before its one-way point: no step of it outlasts the hold's own deadline.
    pub fn deadline(self, (phase, step): (Phase, Step), bytes: i64, held: Duration) -> Duration {
        let own = self.step(phase, step).map_or(Duration::ZERO, |it| it.deadline(bytes));
        match phase {
            Phase::Forward if self.holds(phase, step) => {
                own.min(self.hold_deadline(bytes).saturating_sub(held).max(LAST_TRY))
            }
            Phase::Forward | Phase::Detach | Phase::Abandon | Phase::Undo | Phase::Finish => own,
        }
    }

    /// How long tenants may wait from the beginning of its hold to its one-way point.
    pub fn hold_deadline(self, bytes: i64) -> Duration {
        let held = self.spec().forward.iter().filter(|it| self.holds(Phase::Forward, it.step));
        let data = held.map(|it| it.deadline_of_data(bytes));
        data.fold(Duration::from_secs(self.spec().hold.into()), Duration::saturating_add)
    }
}

impl Phase {
    /// Whether a failure here can still be undone.
    pub const fn can_undo(self, kind: TaskKind) -> bool {
        matches!(self, Self::Forward) && !kind.spec().undo.is_empty()
    }

    /// Whether a customer can still end the task here.
    pub const fn can_cancel(self, kind: TaskKind) -> bool {
        matches!(self, Self::Forward) && kind.can_cancel()
    }

    pub(super) const fn ends_in(self, kind: TaskKind) -> TaskState {
        match self {
            // What has a detach waits for it.
            Self::Forward if !kind.spec().detach.is_empty() => TaskState::Verifying,
            Self::Forward | Self::Detach | Self::Finish => TaskState::Succeeded,
            Self::Abandon => TaskState::Cancelled,
            Self::Undo => kind.spec().undone_as,
        }
    }
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
    #[serde(rename = "upgrade")]
    ReplicaUpgrade(ReplicaUpgradePlan),
    /// Upgrade the same instance.
    #[serde(rename = "switch")]
    Upgrade(UpgradePlan),
    /// Make a group.
    MakeGroup(MakePlan),
    /// Delete a group.
    UnmakeGroup(UnmakePlan),
    /// Upgrade a group.
    Rolling(RollingPlan),
    /// Have the members of a group change roles.
    Failover(FailoverPlan),
    /// Restart an instance's server.
    Restart(RestartPlan),
    /// Give an instance another flavor.
    Resize(ResizePlan),
}

/// From where to where an upgrade leads, over however many hops.
#[derive(Clone, Copy, Debug)]
pub struct Upgraded<'a> {
    /// The version from which it goes now.
    pub from: VersionId,
    /// The version that was asked for.
    pub to: VersionId,
    /// The title of the version that served when it was accepted.
    pub from_title: &'a str,
    /// The title of the version that was asked for.
    pub to_title: &'a str,
}

impl<'a> Upgraded<'a> {
    fn of_group(plan: &'a RollingPlan) -> Self {
        Self { from: plan.from, to: plan.to, from_title: &plan.from_title, to_title: &plan.to_title }
    }
}

impl Plan {
    /// The instance that it is about: an upgrade's old one; of a group the member that was the primary.
    pub fn subject(&self) -> InstanceId {
        match self {
            Self::Create(plan) => plan.instance,
            Self::Delete(plan) => plan.instance,
            Self::ReplicaUpgrade(plan) => plan.source,
            Self::Upgrade(plan) => plan.instance,
            Self::Restart(plan) => plan.instance,
            Self::Resize(plan) => plan.instance,
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
            Self::Create(_)
            | Self::Delete(_)
            | Self::ReplicaUpgrade(_)
            | Self::Upgrade(_)
            | Self::Restart(_)
            | Self::Resize(_) => None,
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
            Self::ReplicaUpgrade(_) => TaskKind::ReplicaUpgrade,
            Self::Upgrade(plan) => match plan.strategy {
                None => TaskKind::UpgradeAuto,
                Some(Strategy::InPlace) => TaskKind::UpgradeInPlace,
                Some(Strategy::Twin) => TaskKind::UpgradeTwin,
            },
            Self::Restart(_) => TaskKind::Restart,
            Self::Resize(_) => TaskKind::Resize,
            Self::MakeGroup(_) => TaskKind::CreateGroup,
            Self::UnmakeGroup(_) => TaskKind::DeleteGroup,
            Self::Rolling(_) => TaskKind::UpgradeRolling,
            Self::Failover(plan) => match plan.of {
                Some(_) => TaskKind::Switchback,
                None => TaskKind::Failover,
            },
        }
    }

    /// The new instance that it makes beside its subject.
    pub const fn new_instance(&self) -> Option<InstanceId> {
        match self {
            Self::ReplicaUpgrade(plan) => Some(plan.candidate),
            Self::Create(_)
            | Self::Delete(_)
            | Self::Upgrade(_)
            | Self::MakeGroup(_)
            | Self::UnmakeGroup(_)
            | Self::Rolling(_)
            | Self::Restart(_)
            | Self::Resize(_)
            | Self::Failover(_) => None,
        }
    }

    /// From where to where an upgrade leads; `None` of what is none.
    pub fn upgraded(&self) -> Option<Upgraded<'_>> {
        match self {
            Self::ReplicaUpgrade(ReplicaUpgradePlan { from, to, from_title, to_title, .. }) => {
                Some(Upgraded { from: *from, to: *to, from_title, to_title })
            }
            Self::Upgrade(plan) => Some(Upgraded {
                from: plan.from,
                to: plan.rest.last().map_or(plan.to, |hop| hop.to),
                from_title: plan.origin(),
                to_title: plan.goal(),
            }),
            Self::Rolling(plan) => Some(Upgraded::of_group(plan)),
            Self::Failover(plan) => plan.of.as_deref().map(Upgraded::of_group),
            Self::Create(_)
            | Self::Delete(_)
            | Self::Restart(_)
            | Self::Resize(_)
            | Self::MakeGroup(_)
            | Self::UnmakeGroup(_) => None,
        }
    }

    /// An upgrade's strategy; `auto` until it is decided.
    pub fn strategy(&self) -> Option<&'static str> {
        match self {
            Self::Create(_)
            | Self::Delete(_)
            | Self::Restart(_)
            | Self::Resize(_)
            | Self::MakeGroup(_)
            | Self::UnmakeGroup(_) => None,
            Self::Rolling(_) => Some("rolling"),
            Self::Failover(plan) => plan.of.as_ref().map(|_| "rolling"),
            Self::ReplicaUpgrade(_) => Some("replica"),
            Self::Upgrade(plan) => Some(plan.strategy.map_or("auto", Strategy::as_str)),
        }
    }

    /// The upgrade of the same instance that it is.
    pub const fn same_instance(&self) -> Option<&UpgradePlan> {
        match self {
            Self::Upgrade(plan) => Some(plan),
            Self::Create(_)
            | Self::Delete(_)
            | Self::ReplicaUpgrade(_)
            | Self::MakeGroup(_)
            | Self::UnmakeGroup(_)
            | Self::Rolling(_)
            | Self::Restart(_)
            | Self::Resize(_)
            | Self::Failover(_) => None,
        }
    }

    /// Whether it is a group's upgrade whose members change roles twice, or the second change of one.
    pub const fn switches_back(&self) -> bool {
        match self {
            Self::Rolling(plan) => plan.second_switch,
            Self::Failover(plan) => plan.of.is_some(),
            Self::Create(_)
            | Self::Delete(_)
            | Self::ReplicaUpgrade(_)
            | Self::Upgrade(_)
            | Self::Restart(_)
            | Self::Resize(_)
            | Self::MakeGroup(_)
            | Self::UnmakeGroup(_) => false,
        }
    }

    /// The instances that a step is about, and the server that it needs most.
    pub fn touched_by(&self, step: Step) -> (Vec<InstanceId>, Option<GenerationId>) {
        match self {
            Self::Create(plan) => (vec![plan.instance], Some(plan.generation)),
            Self::Delete(plan) => (vec![plan.instance], plan.generations.first().copied()),
            Self::ReplicaUpgrade(plan) => {
                let server =
                    if step == Step::Examine { plan.source_generation } else { plan.candidate_generation };
                (vec![plan.candidate, plan.source], Some(server))
            }
            Self::Upgrade(plan) => {
                let old = matches!(step, Step::Examine | Step::Quiet | Step::Hold | Step::Fence | Step::Stop);
                (vec![plan.instance], Some(if old { plan.old } else { plan.new }))
            }
            Self::Restart(plan) => (vec![plan.instance], Some(plan.generation)),
            Self::Resize(plan) => (vec![plan.instance], Some(plan.generation)),
            Self::MakeGroup(plan) => (vec![plan.primary.0, plan.standby.0], Some(plan.primary.1)),
            Self::UnmakeGroup(plan) => {
                let members = plan.members.iter().map(|(member, _)| *member).collect();
                let first = plan.members.first().and_then(|(_, held)| held.first().copied());
                (members, first)
            }
            Self::Rolling(plan) => {
                let old = matches!(step, Step::Examine | Step::Quiet | Step::Hold | Step::Fence);
                let server = if old { plan.primary.old } else { plan.standby.new };
                (vec![plan.primary.member, plan.standby.member], Some(server))
            }
            Self::Failover(plan) => {
                let old = matches!(step, Step::Quiet | Step::Hold | Step::Fence);
                let server = if old { plan.primary.1 } else { plan.standby.1 };
                (vec![plan.primary.0, plan.standby.0], Some(server))
            }
        }
    }
}
