//! The vendor's names for what is ours: instances, engines, states, times. Each leads back to one of ours, or to none.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::datastore::EngineKind;
use crate::domain::group::{Group, GroupState};
use crate::domain::ids::InstanceId;
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::task::{Progress, Step, Task};

/// What stands for an engine at the end of an instance's id: 01 of MySQL, also for MariaDB, and 03 of PostgreSQL.
const fn suffix(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::MariaDb | EngineKind::Mysql => "01",
        EngineKind::Postgresql => "03",
    }
}

/// 32 hexadecimal digits and `in01`.
pub fn instance(it: &Instance) -> String {
    of_engine(it.id, it.shown_version().engine)
}

/// The id of an instance of which only the engine is known.
pub fn of_engine(id: InstanceId, kind: EngineKind) -> String {
    format!("{}in{}", id.0.as_simple(), suffix(kind))
}

/// The same of a group, which is one instance to the vendor's clients.
pub fn group(group: &Group) -> String {
    of_engine(group.id.address(), group.shown_version().engine)
}

/// 32 hexadecimal digits and `no01`: a node of an instance, which is the instance itself, or a member of a group.
pub fn node(it: &Instance) -> String {
    format!("{}no{}", it.id.0.as_simple(), suffix(it.shown_version().engine))
}

/// The instance that is named; whether the end of the name is its engine's, who has the instance compares.
pub fn instance_of(text: &str) -> Option<InstanceId> {
    let digits = ["in01", "in03", "in04"].iter().find_map(|end| text.strip_suffix(end))?;
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

/// An instance's state. No state of the vendor's is of an upgrade.
pub const fn status(it: &Instance, upgrade: Option<&Task>) -> &'static str {
    match (it.state, upgrade) {
        (InstanceState::Building, _) => "BUILD",
        (InstanceState::Active | InstanceState::FeedingUpgrade, _) => "ACTIVE",
        (InstanceState::Error, _) => "FAILED",
        (InstanceState::Restarting, _) => "REBOOTING",
        (InstanceState::Resizing, _) => "MODIFYING",
        (InstanceState::Upgrading, Some(task)) if is_switching(task) => "SWITCHOVER",
        (
            InstanceState::Upgrading
            | InstanceState::VerifyUpgrade
            | InstanceState::Detaching
            | InstanceState::Deleting
            | InstanceState::Deleted,
            _,
        ) => "MODIFYING",
    }
}

/// A group's state.
pub fn group_status(group: &Group, upgrade: Option<&Task>) -> &'static str {
    match group.state {
        GroupState::Building => "BUILD",
        GroupState::Active => "ACTIVE",
        GroupState::Error => "FAILED",
        GroupState::FailingOver => "SWITCHOVER",
        GroupState::Upgrading if upgrade.is_some_and(is_switching) => "SWITCHOVER",
        GroupState::Upgrading | GroupState::Deleting | GroupState::Deleted => "MODIFYING",
    }
}

/// Whether clients are held just now.
const fn is_switching(task: &Task) -> bool {
    matches!(
        task.progress,
        Progress::At(
            _,
            Step::Hold
                | Step::Fence
                | Step::Drain
                | Step::Cut
                | Step::Stop
                | Step::Transform
                | Step::Cutover
                | Step::Admit
                | Step::Reopen
        )
    )
}

/// `2026-11-22T02:56:18+0000`.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_found_by_its_name() {
        let id = InstanceId(Uuid::from_u128(0x1234_5678));
        for kind in [EngineKind::MariaDb, EngineKind::Mysql, EngineKind::Postgresql] {
            assert_eq!(instance_of(&of_engine(id, kind)), Some(id));
        }
        let digits = "0".repeat(32);
        for wrong in
            ["", "in01", "{instance_id}", "é", &digits, &format!("{digits}in02"), &format!("0{digits}in01")]
        {
            assert_eq!(instance_of(wrong), None, "{wrong}");
        }
        let upper = format!("{}in01", "A".repeat(32));
        assert_eq!(instance_of(&upper), None, "there is one name for each");
    }
}
