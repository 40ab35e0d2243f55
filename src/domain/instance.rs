//! An instance, its states, and their one transition table.

use chrono::{DateTime, Utc};

use crate::domain::datastore::{DatastoreVersion, UnknownWord};
use crate::domain::flavor::Flavor;
use crate::domain::ids::{ConfigurationId, GenerationId, GroupId, HostId, InstanceId, ProjectId};
use crate::domain::refusal::Refusal;
use crate::domain::volume::VolumeState;

/// Where an instance is in its life. What a client sees is one match in each dialect's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// Its first server is being made, or it is the new side of an upgrade that has not caught up.
    Building,
    /// It serves and no task changes it.
    Active,
    /// It serves, and is the source from which an upgrade's new instance is being fed.
    FeedingUpgrade,
    /// One side of an upgrade that waits for the customer's decision.
    VerifyUpgrade,
    /// It is being upgraded as the same instance: it serves, but for a short hold.
    Upgrading,
    /// Its server is being restarted, and its clients wait.
    Restarting,
    /// Its server is being restarted with another flavor, and its clients wait.
    Resizing,
    /// The new side of an upgrade, on its way to a life of its own.
    Detaching,
    /// It is being deleted.
    Deleting,
    /// Its making failed; it holds nothing and can be deleted.
    Error,
    /// It is gone.
    Deleted,
}

/// What happens to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceEvent {
    /// Its server answered and took a probe.
    Built,
    /// Its making failed and was undone.
    BuildFailed,
    /// An upgrade that reads from it was accepted.
    ReplicaUpgradeAccepted,
    /// An upgrade of the same instance was accepted.
    UpgradeAccepted,
    /// A restart was accepted.
    RestartAccepted,
    /// Another flavor was accepted.
    ResizeAccepted,
    /// The restart, or the resize, is over, however it ended.
    Restarted,
    /// The upgrade's new side has caught up.
    CaughtUp,
    /// The customer asked to detach it.
    DetachAccepted,
    /// It has a life of its own.
    Detached,
    /// The upgrade of it, or that it fed, has ended, however it ended.
    UpgradeEnded,
    /// The customer asked to delete it.
    DeleteAccepted,
    /// Nothing of it is left.
    Deleted,
}

/// An event that a state does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {state:?} cannot take {event:?}")]
pub struct IllegalInstanceEvent {
    /// The state.
    pub state: InstanceState,
    /// The event.
    pub event: InstanceEvent,
}

impl InstanceState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 11] = [
        Self::Building,
        Self::Active,
        Self::FeedingUpgrade,
        Self::VerifyUpgrade,
        Self::Upgrading,
        Self::Restarting,
        Self::Resizing,
        Self::Detaching,
        Self::Deleting,
        Self::Error,
        Self::Deleted,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalInstanceEvent`] when this state does not know the event.
    pub const fn after(self, event: InstanceEvent) -> Result<Self, IllegalInstanceEvent> {
        use InstanceEvent as E;
        let next = match (self, event) {
            (Self::Building, E::Built) => Self::Active,
            (Self::Building | Self::VerifyUpgrade, E::BuildFailed) => Self::Error,
            (Self::Active, E::ReplicaUpgradeAccepted) => Self::FeedingUpgrade,
            (Self::Active, E::UpgradeAccepted) => Self::Upgrading,
            (Self::Active, E::RestartAccepted) => Self::Restarting,
            (Self::Active, E::ResizeAccepted) => Self::Resizing,
            (Self::Restarting | Self::Resizing, E::Restarted) => Self::Active,
            (Self::Building | Self::FeedingUpgrade, E::CaughtUp) => Self::VerifyUpgrade,
            (Self::VerifyUpgrade, E::DetachAccepted) => Self::Detaching,
            (Self::Detaching, E::Detached) => Self::Active,
            (Self::FeedingUpgrade | Self::VerifyUpgrade | Self::Upgrading, E::UpgradeEnded) => Self::Active,
            (Self::Building | Self::Active | Self::VerifyUpgrade | Self::Error, E::DeleteAccepted) => {
                Self::Deleting
            }
            (Self::Deleting, E::Deleted) => Self::Deleted,
            (state, event) => return Err(IllegalInstanceEvent { state, event }),
        };
        Ok(next)
    }

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Active => "active",
            Self::FeedingUpgrade => "feeding_upgrade",
            Self::VerifyUpgrade => "verify_upgrade",
            Self::Upgrading => "upgrading",
            Self::Restarting => "restarting",
            Self::Resizing => "resizing",
            Self::Detaching => "detaching",
            Self::Deleting => "deleting",
            Self::Error => "error",
            Self::Deleted => "deleted",
        }
    }

    /// Trove's and Rackspace's word, which refusals quote too.
    pub const fn trove_status(self) -> &'static str {
        match self {
            Self::Building => "BUILD",
            Self::Active | Self::FeedingUpgrade => "ACTIVE",
            Self::VerifyUpgrade => "VERIFY_UPGRADE",
            Self::Upgrading => "UPGRADE",
            Self::Restarting => "REBOOT",
            Self::Resizing => "RESIZE",
            Self::Detaching => "DETACH",
            Self::Deleting | Self::Deleted => "SHUTDOWN",
            Self::Error => "ERROR",
        }
    }
}

impl std::str::FromStr for InstanceState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "instance state", word: word.to_owned() })
    }
}

/// Why an instance is not as it should be, in words for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The tenant's text.
    pub message: String,
    /// The operator's text; shown to admins only.
    pub details: Option<String>,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

impl Instance {
    /// What a tenant is told of it: that its volume is full comes before what an earlier task left.
    pub fn shown_fault(&self) -> Option<Fault> {
        let (state, since) = self.seen.volume;
        let full = self.running.as_ref().and_then(|_| state.told(self.volume_gb));
        match full {
            Some(message) => Some(Fault { message, details: None, at: since.unwrap_or(self.updated_at) }),
            None => self.fault.clone(),
        }
    }
}

impl Fault {
    /// What the words for the operator begin with, of a copy that its source's content has made worthless.
    const SPOILT: &str = "a copy was spoilt: ";

    /// The fault of the new side of an upgrade that cannot follow its source any more, in words for its tenant.
    pub fn cannot_follow(why: &str, details: String, at: DateTime<Utc>) -> Self {
        let message = format!(
            "It cannot follow its source any more: {why}. It will not catch up: delete it, change what is named on its source, \
             and ask for the upgrade again."
        );
        Self { message, details: Some(details), at }
    }

    /// The same where its source was given what a copy cannot follow: it stays so when that is gone again.
    pub fn spoilt_by(why: &str, at: DateTime<Utc>) -> Self {
        Self::cannot_follow(why, format!("{}{why}", Self::SPOILT), at)
    }

    /// Why the copy is worthless, where that is what it tells.
    pub fn of_a_spoilt_copy(&self) -> Option<&str> {
        self.details.as_deref()?.strip_prefix(Self::SPOILT)
    }
}

/// The version that the instance's serving server itself answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The datastore version.
    pub version: DatastoreVersion,
    /// The number that the server gave, `10.11.19` for example.
    pub number: String,
    /// The generation that serves.
    pub generation: GenerationId,
}

/// What was last seen of the serving server, by asking it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it last answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// Why it did not, when it did not.
    pub trouble: Option<String>,
    /// Bytes that its data takes.
    pub used_bytes: Option<i64>,
    /// Whether a value of its parameters waits for its next start.
    pub needs_restart: bool,
    /// How far its volume is filled, and since when.
    pub volume: (VolumeState, Option<DateTime<Utc>>),
}

/// That an instance is a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The group.
    pub group: GroupId,
    /// The zone that its servers are in.
    pub zone: String,
}

/// An instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id, for its whole life.
    pub id: InstanceId,
    /// The project that owns it.
    pub project: ProjectId,
    /// Its name: 1 to 255 characters.
    pub name: String,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Its flavor.
    pub flavor: Flavor,
    /// Its volume's size in GB.
    pub volume_gb: i32,
    /// The version that was asked for.
    pub wanted: DatastoreVersion,
    /// The version that runs; `None` until its server answered.
    pub running: Option<Running>,
    /// What was last seen of its server.
    pub seen: Seen,
    /// The host that it lives on.
    pub host: HostId,
    /// Its address, without the port.
    pub address: Option<String>,
    /// The networks from which its address lets clients in; none lets everybody in.
    pub allowed_cidrs: Vec<String>,
    /// The configuration group whose values its server has: its id and its name.
    pub configuration: Option<(ConfigurationId, String)>,
    /// The instance that it replicates from.
    pub replica_of: Option<InstanceId>,
    /// The instances that replicate from it.
    pub replicas: Vec<InstanceId>,
    /// The group that it is a member of.
    pub member: Option<Member>,
    /// What went wrong last.
    pub fault: Option<Fault>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes; guards writes.
    pub revision: i64,
}

impl Instance {
    /// The version that views show: what runs, and until a server answered, what was asked for.
    pub fn shown_version(&self) -> &DatastoreVersion {
        self.running.as_ref().map_or(&self.wanted, |running| &running.version)
    }

    /// Whether it may be changed alone.
    ///
    /// # Errors
    /// [`Refusal::MemberOfGroup`].
    pub fn alone(&self) -> Result<(), Refusal> {
        match &self.member {
            None => Ok(()),
            Some(member) => Err(Refusal::MemberOfGroup { id: self.id, group: member.group }),
        }
    }

    /// Whether its server answered within the last `within` before `now`.
    pub fn answered(&self, now: DateTime<Utc>, within: chrono::Duration) -> bool {
        self.seen.answered_at.is_some_and(|at| now - at <= within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [InstanceEvent; 13] = [
        InstanceEvent::Built,
        InstanceEvent::BuildFailed,
        InstanceEvent::ReplicaUpgradeAccepted,
        InstanceEvent::UpgradeAccepted,
        InstanceEvent::RestartAccepted,
        InstanceEvent::ResizeAccepted,
        InstanceEvent::Restarted,
        InstanceEvent::CaughtUp,
        InstanceEvent::DetachAccepted,
        InstanceEvent::Detached,
        InstanceEvent::UpgradeEnded,
        InstanceEvent::DeleteAccepted,
        InstanceEvent::Deleted,
    ];

    /// The machine on one page: every legal cell, and no other.
    #[test]
    fn the_table_has_these_cells_and_no_other() {
        let mut cells = String::new();
        for state in InstanceState::ALL {
            for event in EVENTS {
                if let Ok(next) = state.after(event) {
                    cells += &format!("{state:?} {event:?} {next:?}\n");
                }
            }
        }
        assert_eq!(
            cells,
            "Building Built Active\n\
             Building BuildFailed Error\n\
             Building CaughtUp VerifyUpgrade\n\
             Building DeleteAccepted Deleting\n\
             Active ReplicaUpgradeAccepted FeedingUpgrade\n\
             Active UpgradeAccepted Upgrading\n\
             Active RestartAccepted Restarting\n\
             Active ResizeAccepted Resizing\n\
             Active DeleteAccepted Deleting\n\
             FeedingUpgrade CaughtUp VerifyUpgrade\n\
             FeedingUpgrade UpgradeEnded Active\n\
             VerifyUpgrade BuildFailed Error\n\
             VerifyUpgrade DetachAccepted Detaching\n\
             VerifyUpgrade UpgradeEnded Active\n\
             VerifyUpgrade DeleteAccepted Deleting\n\
             Upgrading UpgradeEnded Active\n\
             Restarting Restarted Active\n\
             Resizing Restarted Active\n\
             Detaching Detached Active\n\
             Deleting Deleted Deleted\n\
             Error DeleteAccepted Deleting\n"
        );
    }

    #[test]
    fn every_word_reads_back() {
        for state in InstanceState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("upgraded".parse::<InstanceState>().is_err());
    }
}
