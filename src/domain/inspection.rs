//! What an upgrade would have met when it was asked, kept for a while: a dialect that begins a major upgrade only after
//! an inspection that passed asks for one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::ids::{InstanceId, TaskId, VersionId};
use crate::domain::question::{Finding, QuestionKind};
use crate::domain::refusal::Refusal;
use crate::domain::upgrade::{Looked, Strategy, choose};

/// For how many hours an inspection that passed counts, from the moment in which it was asked for. The upgrade looks
/// again, whatever it said.
pub const HOURS: i64 = 24;

/// How long an inspection may run. Nobody waits for it within a request: a look goes through every database, and waits
/// while others run on its host.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How many inspections of one project run at a time.
pub const MOST_OF_A_PROJECT: i64 = 10;

/// How many inspections run at a time on one host: each may start an empty server.
pub const MOST_OF_A_HOST: i64 = 2;

/// How far an inspection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InspectionState {
    /// The engine has not answered yet.
    Running,
    /// Nothing stands in the way.
    Passed,
    /// Something does, or the engine did not answer in time.
    Failed,
}

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
    /// The strategy that it was inspected for, where one was named.
    pub strategy: Option<Strategy>,
    /// When it was asked for.
    pub checked_at: DateTime<Utc>,
    /// Until when it counts.
    pub expires_at: DateTime<Utc>,
    /// How far it is.
    pub state: InspectionState,
    /// What stood in the way, or what was noticed, in words for a tenant.
    pub detail: String,
    /// The upgrade that was begun on the strength of it.
    pub task: Option<TaskId>,
    /// How that was asked to see to its statistics.
    pub statistics: Option<String>,
}

impl Inspection {
    /// Whether an upgrade from `from` to `target` may begin on the strength of it.
    pub fn allows(&self, from: VersionId, target: &str, now: DateTime<Utc>) -> bool {
        self.is_available(now) && self.is_of(from, target)
    }

    /// Whether it runs, and an upgrade from `from` to `target` could begin if it passed.
    pub fn is_awaited(&self, from: VersionId, target: &str) -> bool {
        self.state == InspectionState::Running && self.is_of(from, target)
    }

    /// Whether it passed and counts still.
    pub fn is_available(&self, now: DateTime<Utc>) -> bool {
        self.state == InspectionState::Passed && now < self.expires_at
    }

    fn is_of(&self, from: VersionId, target: &str) -> bool {
        self.from == from && self.target == target
    }
}

/// Whether an inspection that found this passed, and its detail. The strategy is the one that an upgrade would take.
pub fn verdict(looked: &Looked) -> (bool, String) {
    match choose(looked) {
        Ok((strategy, _)) => {
            let of = looked.iter().filter(|(of, _)| *of == strategy);
            let all: Vec<String> = of.flat_map(|(_, found)| found.iter().map(Finding::to_string)).collect();
            (true, all.join(" "))
        }
        Err(refusal) => (false, refusal.to_string()),
    }
}

/// The detail of an inspection for which the engine gave no answer.
pub fn no_answer() -> String {
    Refusal::NoAnswer { what: QuestionKind::PreCheck.title() }.to_string()
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
            strategy: None,
            checked_at: now,
            expires_at: now + TimeDelta::hours(HOURS),
            state: InspectionState::Passed,
            detail: String::new(),
            task: None,
            statistics: None,
        };
        assert!(made.allows(from, "17", now));
        assert!(!made.is_awaited(from, "17"));
        assert!(!made.allows(from, "18", now));
        assert!(!made.allows(VersionId(Uuid::from_u128(4)), "17", now));
        assert!(!made.allows(from, "17", made.expires_at));
        for state in [InspectionState::Running, InspectionState::Failed] {
            let other = Inspection { state, ..made.clone() };
            assert!(!other.allows(from, "17", now), "{state:?}");
            assert_eq!(other.is_awaited(from, "17"), state == InspectionState::Running);
        }
    }

    #[test]
    fn the_detail_is_of_the_strategy_that_would_be_taken() {
        let finding = |blocks, object: &str| Finding {
            blocks,
            object: object.to_owned(),
            why: "is there".to_owned(),
            remedy: "drop it".to_owned(),
        };
        let twin = (Strategy::Twin, vec![finding(true, "a"), finding(false, "b")]);
        let in_place = (Strategy::InPlace, vec![finding(false, "c")]);
        assert_eq!(verdict(&vec![twin.clone(), in_place]), (true, "c is there: drop it".to_owned()));
        let (passed, detail) = verdict(&vec![twin]);
        assert!(!passed && detail.contains("a is there"), "{detail}");
    }
}
