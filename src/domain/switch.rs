//! Upgrading the same instance: what the accepting transaction fixes, and the one decision that the first step adds.
//!
//! The way is a row of the matrix that is open to `in_place` or `twin`. Which of the two is taken is decided by the first
//! step, which looks at the server: twin where nothing in it stands in the way, else in place, else the upgrade is
//! refused before anything stops.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::datastore::{DatastoreVersion, UnknownWord};
use crate::domain::ids::{GenerationId, InstanceId, VersionId};
use crate::domain::instance::Instance;
use crate::domain::matrix::{Path, Way};
use crate::domain::question::Finding;
use crate::domain::refusal::Refusal;
use crate::domain::upgrade::{free_for_action, not_ready};

/// How an upgrade of the same instance is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The data is converted while the instance is held.
    InPlace,
    /// The candidate is fed by replication while the old server serves; the hold is the switch alone.
    Twin,
}

impl Strategy {
    /// Both, the one that is taken where it can be first.
    pub const ALL: [Self; 2] = [Self::Twin, Self::InPlace];

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::Twin => "twin",
        }
    }

    /// The way of the matrix that it needs.
    pub const fn way(self) -> Way {
        match self {
            Self::InPlace => Way::InPlace,
            Self::Twin => Way::Twin,
        }
    }
}

impl std::str::FromStr for Strategy {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|it| it.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "strategy", word: word.to_owned() })
    }
}

/// Hours that the old server's data is kept, unless the request says otherwise.
pub const KEEP_HOURS: u32 = 24;

/// The longest that it is kept: 90 days.
pub const MOST_KEEP_HOURS: u32 = 24 * 90;

/// What the accepting transaction fixes, and what the first step adds. It is stored with the task and never looked up
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchPlan {
    /// The plan's form: code changes, rows wait.
    pub form: u32,
    /// The instance.
    pub instance: InstanceId,
    /// The generation that serves when the upgrade is accepted.
    pub old: GenerationId,
    /// The candidate.
    pub new: GenerationId,
    /// The version that serves.
    pub from: VersionId,
    /// The version that will.
    pub to: VersionId,
    /// The version that serves, `mariadb 10.11` for example.
    pub from_title: String,
    /// The version that will.
    pub to_title: String,
    /// The strategies that the matrix and the request allow, in the order in which they are tried.
    pub allowed: Vec<Strategy>,
    /// What the first step decided; `None` before it.
    pub strategy: Option<Strategy>,
    /// Why it is that one, in words for a tenant.
    pub why: Option<String>,
    /// Hours that the old server's data is kept after the switch.
    pub keep_hours: u32,
    /// Whether the data that an earlier upgrade kept may go.
    pub drop_retired: bool,
}

/// What a request for an upgrade of the same instance says besides its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The strategy; `None` leaves it to the first step.
    pub strategy: Option<Strategy>,
    /// Hours that the old server's data is kept.
    pub keep_hours: u32,
    /// Whether the data that an earlier upgrade kept may go.
    pub drop_retired: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { strategy: None, keep_hours: KEEP_HOURS, drop_retired: false }
    }
}

/// What is known of an instance when an upgrade of it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// Whether a live task has claimed it.
    pub busy: bool,
    /// Until when an earlier upgrade's old server is kept, where one is.
    pub retired_until: Option<DateTime<Utc>>,
    /// The matrix.
    pub paths: &'a [Path],
}

/// The strategies by which the instance may go to `target`, in the order in which they are tried.
///
/// # Errors
/// The refusal to give: 422 for an instance that is not free, has replicas, or keeps an earlier upgrade's old server;
/// 400 for a pair that no row allows.
pub fn strategies(
    known: Known<'_>,
    target: &DatastoreVersion,
    wishes: &Wishes,
) -> Result<Vec<Strategy>, Refusal> {
    let Known { instance, busy, retired_until, paths } = known;
    free_for_action(instance, busy)?;
    let running = instance.running.as_ref().ok_or_else(|| not_ready(instance))?;
    let open = |strategy: &Strategy| {
        paths.iter().any(|path| path.to.id == target.id && path.leads(running.version.id, strategy.way()))
    };
    let allowed: Vec<Strategy> = Strategy::ALL
        .into_iter()
        .filter(|strategy| wishes.strategy.is_none_or(|wish| wish == *strategy))
        .filter(open)
        .collect();
    if allowed.is_empty() {
        return Err(Refusal::NoSwitch {
            from: running.version.title(),
            to: target.title(),
            strategy: wishes.strategy.map(Strategy::as_str),
        });
    }
    if instance.replica_of.is_some() || !instance.replicas.is_empty() {
        return Err(Refusal::Replicating(instance.id));
    }
    if let Some(until) = retired_until.filter(|_| !wishes.drop_retired) {
        return Err(Refusal::KeepsRetired { id: instance.id, until });
    }
    Ok(allowed)
}

/// A look at the server before an upgrade is accepted: it only reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The number of the target version.
    pub number: String,
    /// The strategies to look for.
    pub strategies: Vec<Strategy>,
}

/// What a look at the server found for each strategy that is allowed.
pub type Looked = Vec<(Strategy, Vec<Finding>)>;

/// The strategy to take, and why; the first of those that nothing stands in the way of.
///
/// # Errors
/// [`Refusal::Blocked`], naming what stands in the way of the last one.
pub fn choose(looked: &Looked) -> Result<(Strategy, String), Refusal> {
    let mut passed: Option<String> = None;
    for (strategy, findings) in looked {
        let blockers: Vec<&Finding> = findings.iter().filter(|finding| finding.blocks).collect();
        let Some(first) = blockers.first() else {
            let why = match passed {
                Some(why) => format!("{}, since twin cannot be done: {why}", strategy.as_str()),
                None => format!("{}: nothing stands in its way", strategy.as_str()),
            };
            return Ok((*strategy, why));
        };
        let more = match blockers.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        passed = Some(format!("{first}{more}"));
    }
    Err(Refusal::Blocked(format!(
        "The upgrade cannot be done: {}.",
        passed.unwrap_or_else(|| "no strategy is left".to_owned())
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(blocks: bool, object: &str) -> Finding {
        Finding {
            blocks,
            object: object.to_owned(),
            why: "is in the way".to_owned(),
            remedy: "move it".to_owned(),
        }
    }

    #[test]
    fn the_first_strategy_that_nothing_blocks_is_taken() {
        let warned = vec![finding(false, "shop.a")];
        let blocked = vec![finding(false, "shop.a"), finding(true, "shop.b"), finding(true, "shop.c")];
        let (both, plain) = ((Strategy::Twin, Strategy::InPlace), Vec::new());
        let taken = |twin: &Vec<Finding>, in_place: &Vec<Finding>| {
            choose(&vec![(both.0, twin.clone()), (both.1, in_place.clone())])
        };
        assert_eq!(taken(&plain, &plain).unwrap().0, Strategy::Twin);
        assert_eq!(taken(&warned, &blocked).unwrap().0, Strategy::Twin);
        let (strategy, why) = taken(&blocked, &warned).unwrap();
        assert_eq!(strategy, Strategy::InPlace);
        assert!(why.contains("shop.b is in the way: move it (and 1 more)"), "{why}");
        let refused = taken(&blocked, &blocked).unwrap_err().to_string();
        assert!(refused.contains("shop.b is in the way"), "{refused}");
        assert!(choose(&Vec::new()).is_err());
    }

    #[test]
    fn every_word_reads_back() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.as_str().parse(), Ok(strategy));
        }
    }
}
