//! Upgrading the same instance: what the accepting transaction fixes, and the one decision that the first step adds.
//!
//! The way is a row of the matrix that is open to `in_place` or `twin`. Which of the two is taken is decided by the first
//! step, which looks at the server: twin where nothing in it stands in the way, else in place, else the upgrade is
//! refused before anything stops.
//!
//! # Decision
//! Where no row leads to the target, the way may have several hops. All of them are fixed when the upgrade is accepted.
//! Each is an upgrade of its own: it looks, has its own one-way point, and afterwards the instance truly serves the
//! version between; what fails in a later hop leads back to that version, and not further, since tenants have written
//! to it. What the instance keeps is the server that served when the upgrade was accepted: it is what a customer knew,
//! and at most one is kept, so the servers between go as soon as they are left. We gave up: the data as it was at the
//! last cut-over.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::datastore::{DatastoreVersion, UnknownWord};
use crate::domain::hops::{Hop, Reach, hops};
use crate::domain::ids::{GenerationId, InstanceId, TaskId, VersionId};
use crate::domain::instance::{Instance, Running};
use crate::domain::matrix::{Path, Way};
use crate::domain::question::Finding;
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::{free_for_action, not_ready};

/// How an upgrade of the same instance is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The data is converted while the instance is held.
    InPlace,
    /// The candidate is fed by replication while the old server serves; the hold is the cut-over alone.
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

/// The form of plans that are made now: 2 has hops; 3 takes the place of what an earlier upgrade keeps.
pub const FORM: u32 = 3;

/// A hop that is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Its candidate.
    pub new: GenerationId,
    /// The version that it ends on.
    pub to: VersionId,
    /// The same, `mariadb 11.4` for example.
    pub to_title: String,
    /// The strategies that the matrix and the request allow, in the order in which they are tried.
    pub allowed: Vec<Strategy>,
}

/// A hop that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedHop {
    /// The server that it left.
    pub old: GenerationId,
    /// The version that it left.
    pub from_title: String,
    /// How it was done.
    pub strategy: Strategy,
}

/// What the accepting transaction fixes, and what the first step adds. It is stored with the task and never looked up
/// again. Of a way with several hops it is the one that is under way, with the others beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradePlan {
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
    /// Hours that the old server's data is kept after the cut-over.
    pub keep_hours: u32,
    /// Whether what an earlier upgrade keeps stays: then the upgrade does not begin while there is something.
    #[serde(default)]
    pub keep_retired: bool,
    /// The hops that are done, the first one in front; form 1 has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<PassedHop>,
    /// The hops that come after this one, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<NextHop>,
}

impl UpgradePlan {
    /// The plan of an upgrade over these hops, each with its candidate; `None` without a hop.
    pub fn new(
        instance: InstanceId,
        running: &Running,
        hops: Vec<Hop>,
        candidates: impl IntoIterator<Item = GenerationId>,
        wishes: &Wishes,
    ) -> Option<Self> {
        let mut way = hops.into_iter().zip(candidates);
        let (first, new) = way.next()?;
        let rest = way.map(|(hop, new)| {
            let to_title = hop.to.title();
            NextHop { new, to: hop.to.id, to_title, allowed: hop.allowed }
        });
        Some(Self {
            form: FORM,
            instance,
            old: running.generation,
            new,
            from: running.version.id,
            to: first.to.id,
            from_title: running.version.title(),
            to_title: first.to.title(),
            allowed: first.allowed,
            strategy: None,
            why: None,
            keep_hours: wishes.keep_hours,
            keep_retired: wishes.keep_retired,
            passed: Vec::new(),
            rest: rest.collect(),
        })
    }

    /// The version that served when the upgrade was accepted.
    pub fn origin(&self) -> &str {
        self.passed.first().map_or(&self.from_title, |hop| &hop.from_title)
    }

    /// The version that was asked for.
    pub fn goal(&self) -> &str {
        self.rest.last().map_or(&self.to_title, |hop| &hop.to_title)
    }

    /// The version at which each hop ends, in order.
    pub fn stops(&self) -> Vec<&str> {
        let passed = self.passed.iter().skip(1).map(|hop| &*hop.from_title);
        let this = (!self.passed.is_empty()).then_some(&*self.from_title);
        let rest = self.rest.iter().map(|hop| &*hop.to_title);
        passed.chain(this).chain([&*self.to_title]).chain(rest).collect()
    }

    /// Whether the way has several hops.
    pub const fn has_hops(&self) -> bool {
        !self.passed.is_empty() || !self.rest.is_empty()
    }

    /// The plan at the beginning of its next hop; `None` after the last one, and before this one was decided.
    pub fn next(&self) -> Option<Self> {
        let (hop, rest) = self.rest.split_first()?;
        let mut passed = self.passed.clone();
        passed.push(PassedHop {
            old: self.old,
            from_title: self.from_title.clone(),
            strategy: self.strategy?,
        });
        Some(Self {
            form: self.form,
            instance: self.instance,
            old: self.new,
            new: hop.new,
            from: self.to,
            to: hop.to,
            from_title: self.to_title.clone(),
            to_title: hop.to_title.clone(),
            allowed: hop.allowed.clone(),
            strategy: None,
            why: None,
            keep_hours: self.keep_hours,
            keep_retired: self.keep_retired,
            passed,
            rest: rest.to_vec(),
        })
    }
}

/// What a request for an upgrade of the same instance says besides its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The strategy; `None` leaves it to the first step.
    pub strategy: Option<Strategy>,
    /// Hours that the old server's data is kept.
    pub keep_hours: u32,
    /// Whether what an earlier upgrade keeps stays: then this one is refused while there is something.
    pub keep_retired: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { strategy: None, keep_hours: KEEP_HOURS, keep_retired: false }
    }
}

/// What is known of an instance when an upgrade of it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// Whether a live task has claimed it.
    pub busy: bool,
    /// The upgrade that is accepted for later, where one is.
    pub planned: Option<TaskId>,
    /// Until when an earlier upgrade's old server is kept, where one is still when the upgrade begins.
    pub retired_until: Option<DateTime<Utc>>,
    /// The matrix.
    pub paths: &'a [Path],
}

/// The hops by which the instance may go to `target`, one at least.
///
/// # Errors
/// The refusal to give: 422 for an instance that is not free or has replicas, or that keeps an earlier upgrade's old
/// server where that is to stay; 400 for a target to which no way leads.
pub fn path_to(
    known: Known<'_>,
    target: &DatastoreVersion,
    wishes: &Wishes,
    reach: Reach<'_>,
) -> Result<Vec<Hop>, Refusal> {
    let Known { instance, busy, planned, retired_until, paths } = known;
    instance.alone()?;
    free_for_action(instance, busy)?;
    if let Some(task) = planned {
        return Err(Refusal::UpgradePlanned { id: instance.id, task });
    }
    let running = instance.running.as_ref().ok_or_else(|| not_ready(instance))?;
    let found = hops(running.version.id, target, paths, wishes.strategy, reach).ok_or_else(|| {
        Refusal::NoUpgrade {
            from: running.version.title(),
            to: target.title(),
            strategy: wishes.strategy.map(Strategy::as_str),
        }
    })?;
    alone(instance, retired_until, wishes.keep_retired)?;
    Ok(found)
}

/// Whether nothing beside the instance stands in the way of an upgrade of it.
fn alone(
    instance: &Instance,
    retired_until: Option<DateTime<Utc>>,
    keep_retired: bool,
) -> Result<(), Refusal> {
    if instance.replica_of.is_some() || !instance.replicas.is_empty() {
        return Err(Refusal::Replicating(instance.id));
    }
    match retired_until {
        Some(until) if keep_retired => Err(Refusal::KeepsRetired { id: instance.id, until }),
        Some(_) | None => Ok(()),
    }
}

/// The plan of an upgrade that was accepted for later, as it begins now, with `running` as the old server: what was
/// true when it was accepted is looked at again. Its target and hops stay; a strategy that is no longer open to a hop
/// is left out.
///
/// # Errors
/// The refusal that it ends with: [`free_for_action`]'s, which is a matter of the moment, or what has changed.
pub fn again(
    plan: &UpgradePlan,
    known: Known<'_>,
    runs: &dyn Fn(&DatastoreVersion) -> bool,
) -> Result<UpgradePlan, Refusal> {
    let Known { instance, busy, retired_until, paths, .. } = known;
    free_for_action(instance, busy)?;
    let running = instance.running.as_ref().ok_or_else(|| not_ready(instance))?;
    if running.version.id != plan.from {
        return Err(Refusal::Blocked(format!(
            "Instance {} runs {}, and no longer {}.",
            instance.id,
            running.version.title(),
            plan.from_title
        )));
    }
    let mut plan = UpgradePlan { old: running.generation, ..plan.clone() };
    let (mut from, mut from_title) = (plan.from, plan.from_title.clone());
    let this = (plan.to, &plan.to_title, &mut plan.allowed);
    let rest = plan.rest.iter_mut().map(|hop| (hop.to, &hop.to_title, &mut hop.allowed));
    for (to, title, allowed) in std::iter::once(this).chain(rest) {
        let row = paths.iter().find(|path| path.from == from && path.to.id == to);
        allowed.retain(|strategy| row.is_some_and(|path| path.leads(from, strategy.way())));
        if allowed.is_empty() {
            return Err(Refusal::NoUpgrade { from: from_title, to: title.clone(), strategy: None });
        }
        if !row.is_some_and(|path| runs(&path.to)) {
            return Err(Refusal::Unavailable(format!("The instance's host cannot run {title}.")));
        }
        (from, from_title) = (to, title.clone());
    }
    alone(instance, retired_until, plan.keep_retired)?;
    Ok(plan)
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
    use crate::domain::datastore::{EngineKind, RuntimeKind};
    use crate::domain::flavor::Flavor;
    use crate::domain::ids::{DatastoreId, FlavorId, HostId, ProjectId};
    use crate::domain::instance::{InstanceState, Seen};

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

    fn id(number: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(number)
    }

    fn next_hop(number: u128, to_title: &str) -> NextHop {
        NextHop {
            new: GenerationId(id(number)),
            to: VersionId(id(number)),
            to_title: to_title.to_owned(),
            allowed: vec![Strategy::InPlace],
        }
    }

    /// A plan of form 1 as a row has it.
    fn form_1() -> UpgradePlan {
        serde_json::from_value(serde_json::json!({
            "form": 1, "instance": id(1), "old": id(2), "new": id(3), "from": id(4), "to": id(5),
            "from_title": "postgresql 13", "to_title": "postgresql 15", "allowed": ["twin", "in_place"],
            "strategy": "in_place", "why": "asked for", "keep_hours": 24, "drop_retired": true,
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_of_form_1_has_one_hop() {
        let plan = form_1();
        assert_eq!((plan.origin(), plan.goal()), ("postgresql 13", "postgresql 15"));
        assert_eq!((plan.stops(), plan.has_hops(), plan.next()), (vec!["postgresql 15"], false, None));
        assert!(serde_json::to_value(&plan).unwrap().get("rest").is_none());
    }

    #[test]
    fn each_hop_begins_where_the_last_one_ended() {
        let rest = vec![next_hop(6, "postgresql 17"), next_hop(7, "postgresql 18")];
        let first = UpgradePlan { form: FORM, rest, ..form_1() };
        let stops = ["postgresql 15", "postgresql 17", "postgresql 18"];
        let second = first.next().unwrap();
        assert_eq!((second.old, second.new, second.from), (first.new, GenerationId(id(6)), first.to));
        assert_eq!(
            (second.strategy, &second.why, &second.allowed[..]),
            (None, &None, &[Strategy::InPlace][..])
        );
        assert_eq!(second.next(), None, "a hop that was not decided is not done");
        let third = UpgradePlan { strategy: Some(Strategy::Twin), ..second.clone() }.next().unwrap();
        assert_eq!(third.passed.iter().map(|hop| hop.old).collect::<Vec<_>>(), [first.old, first.new]);
        assert_eq!((&*third.from_title, &*third.to_title), ("postgresql 17", "postgresql 18"));
        for plan in [&first, &second, &third] {
            assert_eq!((plan.origin(), plan.goal(), plan.has_hops()), ("postgresql 13", stops[2], true));
            assert_eq!(plan.stops(), stops);
            let read: UpgradePlan = serde_json::from_value(serde_json::to_value(plan).unwrap()).unwrap();
            assert_eq!(read, *plan);
        }
        assert_eq!(UpgradePlan { strategy: Some(Strategy::InPlace), ..third }.next(), None);
    }

    fn version(number: u128, name: &str) -> DatastoreVersion {
        DatastoreVersion {
            id: VersionId(id(number)),
            datastore_id: DatastoreId(id(100)),
            datastore: "postgresql".to_owned(),
            name: name.to_owned(),
            number: format!("{name}.1"),
            engine: EngineKind::Postgresql,
            runtime: RuntimeKind::Process,
            active: true,
        }
    }

    fn path(from: u128, to: DatastoreVersion, ways: &[Way]) -> Path {
        let ways = ways.iter().map(|way| way.as_str().to_owned()).collect();
        Path { from: VersionId(id(from)), to, ways, enabled: true }
    }

    /// An instance that runs 13, which is version 4.
    fn instance() -> Instance {
        let version = version(4, "13");
        let running =
            Running { version: version.clone(), number: "13.1".into(), generation: GenerationId(id(77)) };
        Instance {
            id: InstanceId(id(1)),
            project: ProjectId::parse("p").unwrap(),
            name: "orders".into(),
            state: InstanceState::Active,
            flavor: Flavor { id: FlavorId("1".into()), name: "small".into(), ram_mb: 512, vcpus: 1 },
            volume_gb: 1,
            wanted: version,
            running: Some(running),
            seen: Seen::default(),
            host: HostId("h".into()),
            address: None,
            allowed_cidrs: Vec::new(),
            configuration: None,
            replica_of: None,
            replicas: Vec::new(),
            member: None,
            fault: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            revision: 0,
        }
    }

    /// What was accepted by is looked at again when an upgrade begins: what has changed is told, and nothing else is.
    #[test]
    fn what_was_true_is_looked_at_again() {
        let mut plan = UpgradePlan { form: FORM, keep_retired: true, strategy: None, ..form_1() };
        plan.rest = vec![next_hop(6, "postgresql 17")];
        let both = [Way::InPlace, Way::Twin];
        let rows = || vec![path(4, version(5, "15"), &both), path(5, version(6, "17"), &both)];
        let until = DateTime::UNIX_EPOCH;
        let look = |change: &dyn Fn(&mut Instance, &mut Vec<Path>), busy: bool, kept: bool, runs: bool| {
            let (mut instance, mut paths) = (instance(), rows());
            change(&mut instance, &mut paths);
            let retired_until = kept.then_some(until);
            let known = Known { instance: &instance, busy, planned: None, retired_until, paths: &paths };
            again(&plan, known, &|_| runs)
        };
        let same = look(&|_, _| {}, false, false, true).unwrap();
        assert_eq!((same.old, same.to, &same.allowed), (GenerationId(id(77)), plan.to, &plan.allowed));
        assert_eq!(same.rest, plan.rest);
        let narrowed = look(&|_, paths| paths[0].ways = vec!["in_place".into()], false, false, true).unwrap();
        assert_eq!(narrowed.allowed, [Strategy::InPlace], "what was closed since is left out");
        let refused = |change: &dyn Fn(&mut Instance, &mut Vec<Path>), busy, kept, runs| {
            look(change, busy, kept, runs).unwrap_err().to_string()
        };
        for (text, words) in [
            (refused(&|_, _| {}, true, false, true), "not currently available"),
            (refused(&|it, _| it.state = InstanceState::Error, false, false, true), "status was ERROR"),
            (refused(&|_, _| {}, false, true, true), "keeps the old server"),
            (refused(&|_, _| {}, false, false, false), "host cannot run postgresql 15"),
            (
                refused(&|_, paths| paths[0].enabled = false, false, false, true),
                "13 to postgresql 15 is not allowed",
            ),
            (
                refused(&|_, paths| paths[1].enabled = false, false, false, true),
                "15 to postgresql 17 is not allowed",
            ),
            (
                refused(&|_, paths| paths[1].to.active = false, false, false, true),
                "15 to postgresql 17 is not",
            ),
            (
                refused(&|_, paths| paths[1].ways = vec!["twin".into()], false, false, true),
                "to postgresql 17 is not",
            ),
            (refused(&|_, paths| paths.clear(), false, false, true), "is not allowed"),
            (
                refused(&|it, _| it.replicas = vec![InstanceId(id(9))], false, false, true),
                "replication source",
            ),
            (
                refused(&|it, _| it.running.as_mut().unwrap().version = version(5, "15"), false, false, true),
                "runs postgresql 15, and no longer postgresql 13",
            ),
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        plan.keep_retired = false;
        let (instance, paths) = (instance(), rows());
        let known = Known {
            instance: &instance,
            busy: false,
            planned: None,
            retired_until: Some(until),
            paths: &paths,
        };
        assert!(again(&plan, known, &|_| true).is_ok(), "what is kept makes room");
    }

    #[test]
    fn every_word_reads_back() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.as_str().parse(), Ok(strategy));
        }
    }
}
