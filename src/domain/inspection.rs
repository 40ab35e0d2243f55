//! What an upgrade would have met when it was asked, kept for a while: a dialect that begins a major upgrade only after
//! an inspection that passed asks for one.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::ids::{InstanceId, TaskId, VersionId};

/// For how many hours an inspection that passed counts. The upgrade looks again, whatever it said.
pub const HOURS: i64 = 24;

/// An inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Its id.
    pub id: Uuid,
    /// Its number, by which some dialects know it; 0 until it is kept.
    pub number: i64,
    /// What was inspected.
    pub instance: InstanceId,
    /// What ran then.
    pub from: VersionId,
    /// The name of the version that it was inspected for.
    pub target: String,
    /// When.
    pub checked_at: DateTime<Utc>,
    /// Until when it counts.
    pub expires_at: DateTime<Utc>,
    /// Whether nothing stood in the way.
    pub passed: bool,
    /// What did, or what was noticed, in words for a tenant.
    pub detail: String,
    /// The upgrade that was begun on the strength of it.
    pub task: Option<TaskId>,
    /// How that was asked to see to its statistics.
    pub statistics: Option<String>,
}

impl Inspection {
    /// Whether an upgrade from `from` to `target` may begin on the strength of it.
    pub fn allows(&self, from: VersionId, target: &str, now: DateTime<Utc>) -> bool {
        self.is_available(now) && self.from == from && self.target == target
    }

    /// Whether it passed and counts still.
    pub fn is_available(&self, now: DateTime<Utc>) -> bool {
        self.passed && now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn it_allows_what_it_was_made_for_and_for_so_long() {
        let now = DateTime::UNIX_EPOCH;
        let from = VersionId(Uuid::from_u128(1));
        let made = Inspection {
            id: Uuid::from_u128(3),
            number: 1,
            instance: InstanceId(Uuid::from_u128(2)),
            from,
            target: "17".to_owned(),
            checked_at: now,
            expires_at: now + TimeDelta::hours(HOURS),
            passed: true,
            detail: String::new(),
            task: None,
            statistics: None,
        };
        assert!(made.allows(from, "17", now));
        assert!(!made.allows(from, "18", now));
        assert!(!made.allows(VersionId(Uuid::from_u128(4)), "17", now));
        assert!(!made.allows(from, "17", made.expires_at));
        assert!(!Inspection { passed: false, ..made }.allows(from, "17", now));
    }
}
