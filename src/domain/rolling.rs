//! Upgrading a group, and changing its members' roles: what the accepting transaction fixes.
//!
//! The standby is upgraded first: a new server of the target version is made beside the old one from the primary's
//! data, follows the primary, and takes the old one's place. Then the two change roles, which is the one-way point, and
//! the old primary is made anew in the same way, as the standby of the new one. With `second_switch` they change roles
//! once more where they are in different zones, so that both end where they were.
//!
//! # Decision
//! The second change of roles is the switchback ([`TaskKind::Switchback`]): when it begins the upgrade is done,
//! so what fails in it leads back to the roles before it, with the new version in both, and the task has succeeded all
//! the same and says so. We gave up: that a group always ends in the zones that were asked for.
//!
//! [`TaskKind::Switchback`]: crate::domain::task::TaskKind::Switchback

use serde::{Deserialize, Serialize};

use crate::domain::datastore::DatastoreVersion;
use crate::domain::group::{Group, free};
use crate::domain::ids::{GenerationId, GroupId, InstanceId, TaskId, VersionId};
use crate::domain::instance::{Instance, Running};
use crate::domain::matrix::{Path, Way};
use crate::domain::refusal::Refusal;
use crate::domain::upgrade::KEEP_HOURS;

/// What the making of a group does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakePlan {
    /// The plan's form.
    pub form: u32,
    /// The group.
    pub group: GroupId,
    /// The member that is made as the primary, and its server.
    pub primary: (InstanceId, GenerationId),
    /// The member that is made as the standby, and its server.
    pub standby: (InstanceId, GenerationId),
}

/// What the deletion of a group does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmakePlan {
    /// The plan's form.
    pub form: u32,
    /// The group.
    pub group: GroupId,
    /// Its members, the primary in front, each with every generation that holds something on its host.
    pub members: Vec<(InstanceId, Vec<GenerationId>)>,
}

/// A member in an upgrade: the server that it has, and the one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The member.
    pub member: InstanceId,
    /// The server that serves when the upgrade is accepted.
    pub old: GenerationId,
    /// The server of the target version.
    pub new: GenerationId,
}

/// What the accepting transaction of an upgrade fixes. It is stored with the task and never looked up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollingPlan {
    /// The plan's form.
    pub form: u32,
    /// The group.
    pub group: GroupId,
    /// The member that is the primary when it is accepted.
    pub primary: Side,
    /// The member that is the standby then.
    pub standby: Side,
    /// The version that both run.
    pub from: VersionId,
    /// The version that both will.
    pub to: VersionId,
    /// The version that both run, `mysql 5.7.43` for example.
    pub from_title: String,
    /// The version that both will.
    pub to_title: String,
    /// Hours that the old servers' data is kept.
    pub keep_hours: u32,
    /// Whether the members change roles once more: asked for, and they are in different zones.
    pub second_switch: bool,
}

/// What a change of roles does, by itself (a failover) or as the switchback of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverPlan {
    /// The plan's form.
    pub form: u32,
    /// The group.
    pub group: GroupId,
    /// The member that is the primary before it, and its server.
    pub primary: (InstanceId, GenerationId),
    /// The member that is the primary after it, and its server.
    pub standby: (InstanceId, GenerationId),
    /// The upgrade whose switchback it is.
    pub of: Option<Box<RollingPlan>>,
}

impl RollingPlan {
    /// The switchback, which gives both members their roles back, after this upgrade.
    pub fn back(&self) -> FailoverPlan {
        FailoverPlan {
            form: 1,
            group: self.group,
            primary: (self.standby.member, self.standby.new),
            standby: (self.primary.member, self.primary.new),
            of: Some(Box::new(self.clone())),
        }
    }
}

/// What is known of a group when an upgrade of it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The group.
    pub group: &'a Group,
    /// Whether a live task has claimed a member.
    pub busy: bool,
    /// The upgrade that is accepted for later, where one is.
    pub planned: Option<TaskId>,
    /// The matrix.
    pub paths: &'a [Path],
}

/// The members of a group that may be upgraded to `target`, the primary in front, with what they run.
///
/// # Errors
/// The refusal to give: 422 for a group that is not free; 400 for a target to which no row of the matrix leads that is
/// open to groups.
pub fn way<'a>(
    known: Known<'a>,
    target: &DatastoreVersion,
) -> Result<[(&'a Instance, &'a Running); 2], Refusal> {
    let Known { group, busy, planned, paths } = known;
    let (primary, standby) = free(group, busy)?;
    if let Some(task) = planned {
        return Err(Refusal::UpgradePlanned { id: primary.id, task });
    }
    let not_ready = || Refusal::GroupNotReady { id: group.id, state: group.state.ha_state() };
    let running = primary.running.as_ref().ok_or_else(not_ready)?;
    let follower = standby.running.as_ref().ok_or_else(not_ready)?;
    let leads =
        |from: VersionId| paths.iter().any(|path| path.leads(from, Way::Rolling) && path.to.id == target.id);
    if !leads(running.version.id) || follower.version.id != running.version.id {
        return Err(Refusal::NoRolling { from: running.version.title(), to: target.title() });
    }
    Ok([(primary, running), (standby, follower)])
}

/// What an acceptance makes: the servers that take the places of the primary's and of the standby's.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// The primary's.
    pub primary: GenerationId,
    /// The standby's.
    pub standby: GenerationId,
}

/// The plan of an upgrade of the group to `target`.
pub fn plan(
    group: &Group,
    [(primary, running), (standby, follower)]: [(&Instance, &Running); 2],
    target: &DatastoreVersion,
    second_switch: bool,
    made: Made,
) -> RollingPlan {
    RollingPlan {
        form: 1,
        group: group.id,
        primary: Side { member: primary.id, old: running.generation, new: made.primary },
        standby: Side { member: standby.id, old: follower.generation, new: made.standby },
        from: running.version.id,
        to: target.id,
        from_title: running.version.title(),
        to_title: target.title(),
        keep_hours: KEEP_HOURS,
        second_switch: second_switch && group.spans_zones(),
    }
}

/// The plan of an upgrade that was accepted for later, as it begins now: its target stays, its members have the roles
/// that they have now.
///
/// # Errors
/// The refusal that it ends with.
pub fn again(old: &RollingPlan, known: Known<'_>, target: &DatastoreVersion) -> Result<RollingPlan, Refusal> {
    let members = way(Known { planned: None, ..known }, target)?;
    let [(primary, running), _] = members;
    if running.version.id != old.from {
        return Err(Refusal::Blocked(format!(
            "Instance {} runs {}, and no longer {}.",
            primary.id,
            running.version.title(),
            old.from_title
        )));
    }
    // Each candidate was made for a member, and stays that member's.
    let made = if primary.id == old.primary.member {
        Made { primary: old.primary.new, standby: old.standby.new }
    } else {
        Made { primary: old.standby.new, standby: old.primary.new }
    };
    let asked = old.second_switch;
    Ok(RollingPlan { keep_hours: old.keep_hours, ..plan(known.group, members, target, asked, made) })
}

/// The plan of a change of roles.
///
/// # Errors
/// [`Refusal::GroupNotReady`].
pub fn failover(group: &Group, busy: bool) -> Result<FailoverPlan, Refusal> {
    let (primary, standby) = free(group, busy)?;
    let serving = |member: &Instance| {
        let not_ready = Refusal::GroupNotReady { id: group.id, state: group.state.ha_state() };
        member.running.as_ref().map(|running| (member.id, running.generation)).ok_or(not_ready)
    };
    Ok(FailoverPlan {
        form: 1,
        group: group.id,
        primary: serving(primary)?,
        standby: serving(standby)?,
        of: None,
    })
}
