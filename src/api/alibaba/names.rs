//! The vendor's names for what is ours: instances, engines, builds, states. Each leads back to one of ours, or to none.

use uuid::Uuid;

use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::group::{Group, GroupState};
use crate::domain::ids::InstanceId;
use crate::domain::instance::{Instance, InstanceState};

/// `rm-` and 32 hexadecimal digits, whatever becomes of it: one that replicates may cease to.
pub fn instance(id: InstanceId) -> String {
    format!("rm-{}", id.0.as_simple())
}

/// The instance that is named; with the `rr-` of the vendor's read-only ones, too.
pub fn instance_of(text: &str) -> Option<InstanceId> {
    let digits = text.strip_prefix("rm-").or_else(|| text.strip_prefix("rr-"))?;
    let is_simple =
        digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_simple.then(|| Uuid::try_parse(digits).ok()).flatten().map(InstanceId)
}

/// The engine.
pub const fn engine(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::MariaDb => "MariaDB",
        EngineKind::Mysql => "MySQL",
        EngineKind::Postgresql => "PostgreSQL",
    }
}

/// A build, where the vendor has a date: two digits for each of the first two parts of its number and four for the
/// third, `rds_05070044` for 5.7.44; of PostgreSQL `rds_postgres_1500_00150020` for 15.20.
pub fn build(version: &DatastoreVersion) -> String {
    let mut parts = version.number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    match version.engine {
        EngineKind::Postgresql => {
            let (major, minor) = (part(), part());
            format!("rds_postgres_{major}00_{major:04}{minor:04}")
        }
        EngineKind::MariaDb | EngineKind::Mysql => format!("rds_{:02}{:02}{:04}", part(), part(), part()),
    }
}

/// An instance's state.
pub const fn status(it: &Instance, is_minor: bool) -> &'static str {
    match it.state {
        InstanceState::Building => "Creating",
        InstanceState::Active | InstanceState::FeedingUpgrade => "Running",
        InstanceState::Upgrading if is_minor => "MinorVersionUpgrading",
        InstanceState::Upgrading | InstanceState::VerifyUpgrade | InstanceState::Detaching => {
            "EngineVersionUpgrading"
        }
        InstanceState::Restarting => "Rebooting",
        InstanceState::Resizing => "DBInstanceClassChanging",
        InstanceState::Deleting | InstanceState::Deleted => "Deleting",
        InstanceState::Error => "Released",
    }
}

/// A group's state.
pub const fn group_status(group: &Group, is_minor: bool) -> &'static str {
    match group.state {
        GroupState::Building => "Creating",
        GroupState::Active => "Running",
        GroupState::Upgrading if is_minor => "MinorVersionUpgrading",
        GroupState::Upgrading => "EngineVersionUpgrading",
        GroupState::FailingOver => "HASwitching",
        GroupState::Deleting | GroupState::Deleted => "Deleting",
        GroupState::Error => "Released",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_found_by_its_name() {
        let id = InstanceId(Uuid::from_u128(0x1234_5678));
        assert_eq!(instance_of(&instance(id)), Some(id));
        for wrong in ["", "rm-", "rm-1", &"0".repeat(32), "rm-0000000000000000000000001234567G", "rm-{}"] {
            assert_eq!(instance_of(wrong), None, "{wrong}");
        }
        let upper = format!("rm-{}", "A".repeat(32));
        assert_eq!(instance_of(&upper), None, "there is one name for each");
    }
}
