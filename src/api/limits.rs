//! How much a client may ask for: requests a minute, elements a page, and the quota of a project that nobody set one
//! for (api-ref: `limits.md`). One of three profiles, chosen at start.
//!
//! The counters are this process's own: behind N processes a project may send N times as much. They hold the times of
//! the last requests, so that in no 60 seconds, wherever they begin, there are more than the limit says; what was
//! refused is not counted.
//!
//! # Decision
//! A log of times and not a leaking bucket, since the contract counts "the sixth action within a minute", which a
//! bucket that refills would let through. What we gave up: a few hundred bytes for each project that is at work.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::api::error::Fault;
use crate::api::links::zoned;
use crate::domain::ids::ProjectId;
use crate::domain::quota::Quota;

/// A limit on the wire: -1 is none.
pub fn told(most: Option<u32>) -> i64 {
    most.map_or(-1, i64::from)
}

/// The time in which requests are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// More counters than this are looked through for those of projects that have gone quiet.
const MANY: usize = 4_096;

/// Whose limits hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// No rate limit, pages of 1,000, no quota.
    #[default]
    Off,
    /// Trove's defaults.
    Trove,
    /// What Rackspace Cloud Databases documents.
    Rackspace,
}

impl std::str::FromStr for Profile {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(word, false)
            .map_err(|_| "expected off, trove or rackspace".to_owned())
    }
}

/// A rate limit: requests of one method a project and minute.
#[derive(Debug)]
struct Rate {
    method: &'static str,
    /// A path of the tables, without version and project; empty for every path that no other row has.
    path: &'static str,
    most: u32,
}

const fn rate(method: &'static str, path: &'static str, most: u32) -> Rate {
    Rate { method, path, most }
}

/// A bucket a verb; PATCH has none.
const TROVE: &[Rate] =
    &[rate("POST", "", 200), rate("PUT", "", 200), rate("DELETE", "", 200), rate("GET", "", 200)];

/// A bucket an operation. What Rackspace does not list has its number for writes.
const RACKSPACE: &[Rate] = &[
    rate("GET", "", 100),
    rate("POST", "/instances/{id}/action", 5),
    rate("POST", "/ha/{id}/action", 5),
    rate("POST", "/instances", 20),
    rate("DELETE", "/instances/{id}", 20),
    rate("POST", "/instances/{id}/root", 20),
    rate("POST", "/instances/{id}/databases", 20),
    rate("DELETE", "/instances/{id}/databases/{name}", 20),
    rate("DELETE", "/backups/{id}", 20),
    rate("POST", "/instances/{id}/users", 50),
    rate("PUT", "/instances/{id}/users", 50),
    rate("PUT", "/instances/{id}/users/{user}", 50),
    rate("DELETE", "/instances/{id}/users/{user}", 50),
    rate("PUT", "/instances/{id}/users/{user}/databases", 50),
    rate("DELETE", "/instances/{id}/users/{user}/databases/{name}", 50),
    rate("POST", "/backups", 100),
    rate("POST", "", 20),
    rate("PUT", "", 20),
    rate("PATCH", "", 20),
    rate("DELETE", "", 20),
];

/// The elements of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// When a request names no limit.
    pub usual: u32,
    /// Whatever limit a request names.
    pub most: u32,
}

impl Profile {
    const fn rates(self) -> &'static [Rate] {
        match self {
            Self::Off => &[],
            Self::Trove => TROVE,
            Self::Rackspace => RACKSPACE,
        }
    }

    /// The quota of a project for which no operator set one.
    pub const fn quota(self) -> Quota {
        match self {
            Self::Off => Quota::NONE,
            Self::Trove => Quota::TROVE,
            Self::Rackspace => Quota::RACKSPACE,
        }
    }

    /// The page of a collection, which is the last word of its path.
    pub fn page(self, collection: &str) -> Page {
        let same = |size| Page { usual: size, most: size };
        match (self, collection) {
            (Self::Off, _) => same(1_000),
            (Self::Trove, _) => same(20),
            (Self::Rackspace, "databases") => same(100),
            // Since its release 3.1.0 a larger limit is honoured here, and only here.
            (Self::Rackspace, "instances" | "detail") => Page { usual: 20, most: 1_000 },
            (Self::Rackspace, _) => same(20),
        }
    }
}

/// A profile and what was counted under it.
#[derive(Debug, Default)]
pub struct Limits {
    profile: Profile,
    counted: Mutex<HashMap<(ProjectId, usize), VecDeque<Instant>>>,
}

/// A rate limit as `GET /limits` shows it.
#[derive(Debug, Serialize)]
pub struct RateView {
    verb: &'static str,
    uri: String,
    regex: String,
    value: u32,
    remaining: u32,
    unit: &'static str,
    #[serde(rename = "nextAvailable")]
    next_available: String,
}

impl Limits {
    /// Nothing counted yet.
    pub fn new(profile: Profile) -> Self {
        Self { profile, counted: Mutex::default() }
    }

    /// The profile.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Counts a request of `project`; `template` is the path in the tables, when there is one.
    ///
    /// # Errors
    /// 413 when the minute before `now` is full.
    pub fn count(
        &self,
        project: &ProjectId,
        method: &str,
        template: Option<&str>,
        now: Instant,
    ) -> Result<(), Fault> {
        let below = template.and_then(|path| path.strip_prefix("/v1.0/{project}")).unwrap_or("(unknown)");
        let rates = self.profile.rates();
        let of_path = rates.iter().position(|rate| rate.method == method && rate.path == below);
        let of_verb = || rates.iter().position(|rate| rate.method == method && rate.path.is_empty());
        let Some((at, rate)) = of_path.or_else(of_verb).and_then(|at| Some((at, rates.get(at)?))) else {
            return Ok(());
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() > MANY {
            counted.retain(|_, times| times.back().is_some_and(|last| now.duration_since(*last) < MINUTE));
        }
        let times = counted.entry((project.clone(), at)).or_default();
        forget_old(times, now);
        if times.len() < usize::try_from(rate.most).unwrap_or(usize::MAX) {
            times.push_back(now);
            return Ok(());
        }
        Err(Fault::RateLimited {
            details: format!(
                "Only {} {} request(s) can be made to {} every minute.",
                rate.most,
                rate.method,
                uri(rate)
            ),
            retry_after: seconds_until_free(times, now),
        })
    }

    /// The rate limits of `project`, at a moment that is told in both clocks.
    pub fn rates(&self, project: &ProjectId, now: Instant, at: DateTime<Utc>) -> Vec<RateView> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = |(index, rate): (usize, &Rate)| {
            let (used, wait) = counted.get_mut(&(project.clone(), index)).map_or((0, 0), |times| {
                forget_old(times, now);
                (u32::try_from(times.len()).unwrap_or(u32::MAX), seconds_until_free(times, now))
            });
            let remaining = rate.most.saturating_sub(used);
            let wait = if remaining == 0 { TimeDelta::seconds(wait.into()) } else { TimeDelta::zero() };
            RateView {
                verb: rate.method,
                uri: uri(rate),
                regex: regex(rate),
                value: rate.most,
                remaining,
                unit: "MINUTE",
                next_available: zoned(at + wait),
            }
        };
        self.profile.rates().iter().enumerate().map(&mut view).collect()
    }
}

fn forget_old(times: &mut VecDeque<Instant>, now: Instant) {
    while times.front().is_some_and(|first| now.saturating_duration_since(*first) >= MINUTE) {
        times.pop_front();
    }
}

/// Whole seconds until the oldest request is a minute old; at least one.
fn seconds_until_free(times: &VecDeque<Instant>, now: Instant) -> u32 {
    let wait = times
        .front()
        .map_or(Duration::ZERO, |first| MINUTE.saturating_sub(now.saturating_duration_since(*first)));
    u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(60).max(1)
}

fn uri(rate: &Rate) -> String {
    if rate.path.is_empty() { "*".to_owned() } else { rate.path.to_owned() }
}

fn regex(rate: &Rate) -> String {
    if rate.path.is_empty() {
        return ".*".to_owned();
    }
    let parts = rate.path.split('/').map(|part| if part.starts_with('{') { "[^/]+" } else { part });
    format!("^{}$", parts.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn project(name: &str) -> ProjectId {
        ProjectId::parse(name).unwrap()
    }

    const ACTION: Option<&str> = Some("/v1.0/{project}/instances/{id}/action");

    #[test]
    fn the_sixth_action_within_a_minute_is_refused() {
        let limits = Limits::new(Profile::Rackspace);
        let (mine, other) = (project("1234"), project("5678"));
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        for second in [0, 10, 20, 30, 40] {
            assert!(limits.count(&mine, "POST", ACTION, at(second)).is_ok());
        }
        let Err(Fault::RateLimited { details, retry_after }) = limits.count(&mine, "POST", ACTION, at(45))
        else {
            panic!("413")
        };
        assert_eq!(details, "Only 5 POST request(s) can be made to /instances/{id}/action every minute.");
        assert_eq!(retry_after, 15);
        assert!(limits.count(&other, "POST", ACTION, at(45)).is_ok(), "another project has its own");
        assert!(limits.count(&mine, "GET", ACTION, at(45)).is_ok(), "another method, too");
        assert!(limits.count(&mine, "POST", ACTION, at(60)).is_ok(), "the first is a minute old");
        assert!(limits.count(&mine, "POST", ACTION, at(60)).is_err());
        assert!(limits.count(&mine, "POST", Some("/v1.0/{project}/instances"), at(60)).is_ok());
    }

    #[test]
    fn each_profile_has_its_numbers() {
        for (profile, method, path, most) in [
            (Profile::Trove, "GET", None, 200),
            (Profile::Trove, "POST", ACTION, 200),
            (Profile::Trove, "DELETE", None, 200),
            (Profile::Rackspace, "GET", None, 100),
            (Profile::Rackspace, "POST", ACTION, 5),
            (Profile::Rackspace, "POST", Some("/v1.0/{project}/ha/{id}/action"), 5),
            (Profile::Rackspace, "POST", Some("/v1.0/{project}/instances"), 20),
            (Profile::Rackspace, "DELETE", Some("/v1.0/{project}/instances/{id}"), 20),
            (Profile::Rackspace, "POST", Some("/v1.0/{project}/instances/{id}/users"), 50),
            (Profile::Rackspace, "POST", Some("/v1.0/{project}/backups"), 100),
            (Profile::Rackspace, "PATCH", None, 20),
        ] {
            let limits = Limits::new(profile);
            let now = Instant::now();
            let passed = (0..most + 3).filter(|_| limits.count(&project("p"), method, path, now).is_ok());
            assert_eq!(passed.count(), most, "{profile:?} {method} {path:?}");
        }
        for (profile, method) in [(Profile::Off, "POST"), (Profile::Trove, "PATCH")] {
            let limits = Limits::new(profile);
            let now = Instant::now();
            assert!((0..1_000).all(|_| limits.count(&project("p"), method, ACTION, now).is_ok()));
        }
    }

    #[test]
    fn every_path_of_a_rate_is_told_apart() {
        for rates in [TROVE, RACKSPACE] {
            let mut seen = std::collections::BTreeSet::new();
            assert!(rates.iter().all(|rate| seen.insert((rate.method, rate.path))));
        }
        assert_eq!(regex(&rate("POST", "/instances/{id}/action", 5)), "^/instances/[^/]+/action$");
    }

    #[test]
    fn a_view_tells_what_remains() {
        let limits = Limits::new(Profile::Rackspace);
        let (now, at) = (Instant::now(), DateTime::<Utc>::UNIX_EPOCH);
        for _ in 0..5 {
            limits.count(&project("p"), "POST", ACTION, now).unwrap();
        }
        let views = serde_json::to_value(limits.rates(&project("p"), now, at)).unwrap();
        let of =
            |uri: &str| views.as_array().unwrap().iter().find(|view| view["uri"] == uri).unwrap().clone();
        let action = of("/instances/{id}/action");
        assert_eq!(
            (&action["remaining"], &action["nextAvailable"]),
            (&0.into(), &"1970-01-01T00:01:00Z".into())
        );
        let all = of("*");
        assert_eq!(
            (&all["verb"], &all["remaining"], &all["unit"]),
            (&"GET".into(), &100.into(), &"MINUTE".into())
        );
        assert_eq!(all["nextAvailable"], "1970-01-01T00:00:00Z");
        assert!(Limits::new(Profile::Off).rates(&project("p"), now, at).is_empty());
    }

    #[test]
    fn a_profile_is_a_word() {
        for (word, profile) in [
            ("off", Some(Profile::Off)),
            ("trove", Some(Profile::Trove)),
            ("rackspace", Some(Profile::Rackspace)),
            ("Trove", None),
            ("", None),
        ] {
            assert_eq!(word.parse::<Profile>().ok(), profile, "{word}");
        }
        let page = |usual, most| Page { usual, most };
        assert_eq!(Profile::Off.page("instances"), page(1_000, 1_000));
        assert_eq!(Profile::Trove.page("databases"), page(20, 20));
        assert_eq!(Profile::Rackspace.page("databases"), page(100, 100));
        assert_eq!(Profile::Rackspace.page("instances"), page(20, 1_000));
        assert_eq!(Profile::Rackspace.page("users"), page(20, 20));
    }

    proptest! {
        /// Whatever comes when, no window of a minute has more than the limit.
        #[test]
        fn no_minute_has_more_than_the_limit(steps in proptest::collection::vec(0_u64..20_000, 1..120)) {
            let limits = Limits::new(Profile::Rackspace);
            let mut now = Instant::now();
            let mut passed = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                match limits.count(&project("p"), "POST", ACTION, now) {
                    Ok(()) => passed.push(now),
                    Err(Fault::RateLimited { retry_after, .. }) => {
                        prop_assert!((1..=60).contains(&retry_after));
                    }
                    Err(_) => prop_assert!(false),
                }
            }
            for window in passed.windows(6) {
                prop_assert!(window[5] - window[0] >= MINUTE);
            }
        }
    }
}
