//! A group: a primary and a standby that replicates from it, at one address, in zones that are apart where there are
//! several. Its states and their one transition table.
//!
//! # Decision
//! A member is an instance: it has servers, a version that its own server answered, and a place in every list of
//! instances. Which of the two is the primary is not a second record: it is the one that replicates from nobody. So the
//! same write that changes who follows whom changes who the primary is, and there is no moment with two. The version of
//! a group is its primary's. We gave up: members that are changed alone.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::domain::datastore::{DatastoreVersion, RuntimeKind, UnknownWord};
use crate::domain::flavor::Flavor;
use crate::domain::ids::{GroupId, HostId, ProjectId};
use crate::domain::instance::{Fault, Instance};
use crate::domain::refusal::Refusal;

/// What a member is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// The group's address leads to it.
    Primary,
    /// It follows the primary.
    Standby,
}

impl MemberRole {
    /// The word in views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// Its members are being made.
    Building,
    /// It serves and no task changes it.
    Active,
    /// Its members are being upgraded, one after the other.
    Upgrading,
    /// Its members change roles.
    FailingOver,
    /// It is being deleted.
    Deleting,
    /// Its making failed; it holds nothing and can be deleted.
    Error,
    /// It is gone.
    Deleted,
}

/// What happens to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupEvent {
    /// Both members serve, and the standby follows.
    Built,
    /// Its making failed and was undone.
    BuildFailed,
    /// An upgrade was accepted.
    UpgradeAccepted,
    /// A change of roles was accepted.
    FailoverAccepted,
    /// What was accepted has ended, however it ended.
    Ended,
    /// The customer asked to delete it.
    DeleteAccepted,
    /// Nothing of it is left.
    Deleted,
}

/// An event that a state does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group that is {state:?} cannot take {event:?}")]
pub struct IllegalGroupEvent {
    /// The state.
    pub state: GroupState,
    /// The event.
    pub event: GroupEvent,
}

impl GroupState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Building,
        Self::Active,
        Self::Upgrading,
        Self::FailingOver,
        Self::Deleting,
        Self::Error,
        Self::Deleted,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalGroupEvent`] when this state does not know the event.
    pub const fn after(self, event: GroupEvent) -> Result<Self, IllegalGroupEvent> {
        use GroupEvent as E;
        let next = match (self, event) {
            (Self::Building, E::Built) => Self::Active,
            (Self::Building, E::BuildFailed) => Self::Error,
            (Self::Active, E::UpgradeAccepted) => Self::Upgrading,
            (Self::Active, E::FailoverAccepted) => Self::FailingOver,
            (Self::Upgrading | Self::FailingOver, E::Ended) => Self::Active,
            (Self::Building | Self::Active | Self::Error, E::DeleteAccepted) => Self::Deleting,
            (Self::Deleting, E::Deleted) => Self::Deleted,
            (state, event) => return Err(IllegalGroupEvent { state, event }),
        };
        Ok(next)
    }

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Active => "active",
            Self::Upgrading => "upgrading",
            Self::FailingOver => "failing_over",
            Self::Deleting => "deleting",
            Self::Error => "error",
            Self::Deleted => "deleted",
        }
    }

    /// Rackspace's word, which refusals quote too.
    pub const fn ha_state(self) -> &'static str {
        match self {
            Self::Building => "BUILD",
            Self::Active => "ACTIVE",
            Self::Upgrading => "UPGRADING",
            Self::FailingOver => "HA_FAILOVER",
            Self::Deleting => "DELETING",
            Self::Error => "ERROR",
            Self::Deleted => "DELETED",
        }
    }
}

impl FromStr for GroupState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "group state", word: word.to_owned() })
    }
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its id, for its whole life.
    pub id: GroupId,
    /// The project that owns it.
    pub project: ProjectId,
    /// Its name: 1 to 255 characters.
    pub name: String,
    /// Where it is in its life.
    pub state: GroupState,
    /// The flavor of each member.
    pub flavor: Flavor,
    /// The size of each member's volume in GB.
    pub volume_gb: i32,
    /// The version that was asked for when it was made.
    pub wanted: DatastoreVersion,
    /// The host that its members live on.
    pub host: HostId,
    /// Its address, without the port; it leads to the primary.
    pub address: Option<String>,
    /// Its members, the primary in front.
    pub members: Vec<Instance>,
    /// What went wrong last.
    pub fault: Option<Fault>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes; guards writes.
    pub revision: i64,
}

impl Group {
    /// The member that takes writes.
    pub fn primary(&self) -> Option<&Instance> {
        self.members.iter().find(|member| member.replica_of.is_none())
    }

    /// The member that follows it.
    pub fn standby(&self) -> Option<&Instance> {
        self.members.iter().find(|member| member.replica_of.is_some())
    }

    /// The members with their roles and zones, the primary in front.
    pub fn roles(&self) -> impl Iterator<Item = (MemberRole, &Instance, &str)> {
        self.members.iter().map(|it| {
            let zone = it.member.as_ref().map_or("", |member| member.zone.as_str());
            (role(it), it, zone)
        })
    }

    /// The version that views show: what the primary runs, and until its server answered, what was asked for.
    pub fn shown_version(&self) -> &DatastoreVersion {
        self.primary().map_or(&self.wanted, Instance::shown_version)
    }

    /// Whether the members are in different zones.
    pub fn spans_zones(&self) -> bool {
        let mut zones = self.roles().map(|(_, _, zone)| zone);
        let first = zones.next();
        zones.any(|zone| Some(zone) != first)
    }
}

/// What an instance is to its group, if it has one.
pub fn role(member: &Instance) -> MemberRole {
    match member.replica_of {
        None => MemberRole::Primary,
        Some(_) => MemberRole::Standby,
    }
}

/// The zones that servers of a runtime can be in; none where groups cannot be made yet.
pub const fn zones(runtime: RuntimeKind) -> &'static [&'static str] {
    match runtime {
        RuntimeKind::Simulated => &["az1", "az2"],
        RuntimeKind::Process => &[],
    }
}

/// The zones of a primary and a standby: those that were asked for, and where one was not, one that is not the other's.
///
/// # Errors
/// [`Refusal::Invalid`] for a zone that there is not, naming those that there are.
pub fn spread(asked: [Option<&str>; 2], zones: &[&'static str]) -> Result<[&'static str; 2], Refusal> {
    let known = |zone: Option<&str>| match zone {
        None => Ok(None),
        Some(zone) => zones.iter().find(|it| **it == zone).copied().map(Some).ok_or_else(|| {
            Refusal::invalid("availability_zone", format!("must be one of {}", zones.join(", ")))
        }),
    };
    let (primary, standby) = (known(asked[0])?, known(asked[1])?);
    let other = |than: Option<&'static str>| {
        zones.iter().copied().find(|it| Some(*it) != than).or(than).unwrap_or_default()
    };
    let primary = primary.unwrap_or_else(|| other(standby));
    Ok([primary, standby.unwrap_or_else(|| other(Some(primary)))])
}

/// Whether something may begin that takes the whole group: it serves, both members are there, and no live task has one.
///
/// # Errors
/// [`Refusal::GroupNotReady`] with the state that clients see.
pub fn free(group: &Group, busy: bool) -> Result<(&Instance, &Instance), Refusal> {
    let not_ready = || Refusal::GroupNotReady { id: group.id, state: group.state.ha_state() };
    match (group.primary(), group.standby()) {
        (Some(primary), Some(standby)) if group.state == GroupState::Active && !busy => {
            Ok((primary, standby))
        }
        (_, _) => Err(not_ready()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [GroupEvent; 7] = [
        GroupEvent::Built,
        GroupEvent::BuildFailed,
        GroupEvent::UpgradeAccepted,
        GroupEvent::FailoverAccepted,
        GroupEvent::Ended,
        GroupEvent::DeleteAccepted,
        GroupEvent::Deleted,
    ];

    /// The machine on one page: every legal cell, and no other.
    #[test]
    fn the_table_has_these_cells_and_no_other() {
        let mut cells = String::new();
        for state in GroupState::ALL {
            for event in EVENTS {
                if let Ok(next) = state.after(event) {
                    cells += &format!("{state:?} {event:?} {next:?}\n");
                }
            }
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!(
            cells,
            "Building Built Active\n\
             Building BuildFailed Error\n\
             Building DeleteAccepted Deleting\n\
             Active UpgradeAccepted Upgrading\n\
             Active FailoverAccepted FailingOver\n\
             Active DeleteAccepted Deleting\n\
             Upgrading Ended Active\n\
             FailingOver Ended Active\n\
             Deleting Deleted Deleted\n\
             Error DeleteAccepted Deleting\n"
        );
        assert!("upgraded".parse::<GroupState>().is_err());
    }

    #[test]
    fn members_are_spread_over_the_zones_that_there_are() {
        let two = zones(RuntimeKind::Simulated);
        for (asked, zones, spread_to) in [
            ([None, None], two, Some(["az1", "az2"])),
            ([Some("az2"), None], two, Some(["az2", "az1"])),
            ([None, Some("az1")], two, Some(["az2", "az1"])),
            ([None, Some("az2")], two, Some(["az1", "az2"])),
            ([Some("az2"), Some("az2")], two, Some(["az2", "az2"])),
            ([None, None], &["only"], Some(["only", "only"])),
            ([Some("az3"), None], two, None),
            ([None, Some("")], two, None),
        ] {
            assert_eq!(spread(asked, zones).ok(), spread_to, "{asked:?}");
        }
    }
}
