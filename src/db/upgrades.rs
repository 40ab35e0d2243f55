//! Upgrades of the same instance as they are accepted and begun: for a caller's request, and by a worker for one that
//! was accepted for later and is due, and for what a policy asks for. All of them are decided by the domain on what is
//! read here, and written here, in the caller's transaction.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::generations::Kept;
use crate::db::tasks::Claim;
use crate::db::{Conn, Error, events, generations, groups, instances, rollings, tasks, windows};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::instance::{Instance, InstanceEvent};
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::{free_for_action, not_ready};
use crate::domain::task::{Plan, Task, TaskEvent};
use crate::domain::timing::{Due, Timing, due};
use crate::domain::upgrade::{self, Known, UpgradePlan};

/// How soon an upgrade that is due looks again whether its instance is free.
const BUSY: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// The key of a task's report under which it tells which windows it has missed, and why.
pub const MISSED: &str = "missed_windows";

/// The key of a task's report under which it tells what an earlier upgrade keeps, whose place it takes.
pub const REPLACES: &str = "replaces";

/// Why an upgrade that was due was not begun in time.
const TAKEN: &str = "another task had the instance";
const NOBODY: &str = "the service did not run, or had no worker free";

/// What an upgrade depends on besides its instance.
pub struct UpgradeFacts {
    /// Whether a live task has claimed the instance.
    pub busy: bool,
    /// The upgrade that is accepted for later.
    pub planned: Option<TaskId>,
    /// The old server that an earlier upgrade keeps.
    pub kept: Option<Kept>,
    /// Versions, matrix, and what the hosts can run.
    pub catalogue: Arc<Catalogue>,
}

impl UpgradeFacts {
    /// Reads it.
    ///
    /// # Errors
    /// The store's.
    pub fn read(conn: &mut Conn, instance: InstanceId) -> Result<Self, Error> {
        Ok(Self {
            busy: tasks::is_claimed(conn, instance)?,
            planned: tasks::planned(conn, instance)?,
            kept: generations::retired(conn, instance)?.filter(|kept| !kept.is_over),
            catalogue: catalogue_cache::now(conn)?,
        })
    }

    /// The same for the domain, for an upgrade that begins at `starts`; at once for `None`.
    pub fn known<'a>(&'a self, instance: &'a Instance, starts: Option<DateTime<Utc>>) -> Known<'a> {
        Known {
            instance,
            busy: self.busy,
            planned: self.planned,
            retired_until: self.kept_at(starts).map(|kept| kept.until),
            paths: &self.catalogue.paths,
        }
    }

    /// What an earlier upgrade keeps still at `starts`, now for `None`: an upgrade that begins then takes its place.
    pub fn kept_at(&self, starts: Option<DateTime<Utc>>) -> Option<&Kept> {
        self.kept.as_ref().filter(|kept| starts.is_none_or(|starts| kept.until > starts))
    }

    /// Whether the instance's host can run the version.
    pub fn runs(&self, instance: &Instance, version: &DatastoreVersion) -> bool {
        self.catalogue.runs(&instance.host, version)
    }
}

/// An upgrade that was decided on.
pub struct Accept<'a> {
    /// Its task.
    pub task: TaskId,
    /// Its plan.
    pub plan: UpgradePlan,
    /// The sealed passwords of our own account in the candidates, one for each hop.
    pub secrets: Vec<String>,
    /// When it was asked to begin.
    pub timing: Timing,
    /// When it begins; at once for `None`.
    pub starts: Option<DateTime<Utc>>,
    /// Who asked.
    pub actor: &'a str,
}

fn sealed(secrets: &[String]) -> Result<Option<String>, Error> {
    match secrets {
        [] => Ok(None),
        some => serde_json::to_string(some).map(Some).map_err(|e| Error::Broken(e.to_string())),
    }
}

/// Writes an accepted upgrade of an instance, which the caller has locked; `false` when another task was first.
///
/// # Errors
/// The store's.
pub fn accept(conn: &mut Conn, instance: &mut Instance, accept: Accept<'_>) -> Result<bool, Error> {
    let Accept { task, plan, mut secrets, timing, starts, actor } = accept;
    let mut first = None;
    if starts.is_none() && !secrets.is_empty() {
        // The passwords of later candidates are kept with the task, and go with its end.
        first = Some((plan.new, plan.to, secrets.remove(0)));
    }
    if let Some((new, to, secret)) = &first {
        generations::insert_candidate(conn, *new, instance.id, &instance.host, *to, secret)?;
    }
    let plan = Plan::Upgrade(plan);
    let secrets = sealed(&secrets)?;
    let new = tasks::New {
        id: task,
        project: &instance.project,
        host: &instance.host,
        plan: &plan,
        secrets: secrets.as_deref(),
        claims: &[(instance.id, Claim::Subject)],
        timing,
        starts,
    };
    if !tasks::insert(conn, &new)? {
        return Ok(false);
    }
    if starts.is_none() {
        upgrading(conn, instance)?;
    }
    let facts = UpgradeFacts::read(conn, instance.id)?;
    if let Some(kept) = facts.kept_at(starts) {
        tasks::report(conn, task, &json!({ REPLACES: replaces(kept) }))?;
    }
    let data = match starts {
        None => json!({}),
        Some(starts) => json!({"when": timing.as_str(), "starts": starts}),
    };
    note(conn, instance, task, actor, "upgrade_accepted", data)?;
    Ok(true)
}

/// What an upgrade says of what an earlier one keeps.
pub fn replaces(kept: &Kept) -> serde_json::Value {
    json!({"version": kept.title, "kept_until": rfc3339(kept.until), "used_bytes": kept.used_bytes, "why": REPLACED})
}

/// Until when it is kept, since a new upgrade begins.
const REPLACED: &str = "An instance keeps one old server. This one is kept until the new version serves, and is deleted \
                        then: the server that serves now takes its place.";

fn upgrading(conn: &mut Conn, instance: &mut Instance) -> Result<(), Error> {
    instance.state =
        instance.state.after(InstanceEvent::UpgradeAccepted).map_err(|e| Error::Broken(e.to_string()))?;
    instances::save(conn, instance)
}

fn note(
    conn: &mut Conn,
    instance: &Instance,
    task: TaskId,
    actor: &str,
    what: &str,
    data: serde_json::Value,
) -> Result<(), Error> {
    let (project, instance) = (&instance.project, Some(instance.id));
    events::record(conn, &events::Event { project, instance, task: Some(task), actor, what, data })
}

fn plan_of(task: &Task) -> Result<&UpgradePlan, Error> {
    let found = task.plan.same_instance();
    found.ok_or_else(|| Error::Broken(format!("task {} is for later and upgrades no instance", task.id)))
}

/// What a task is about, locked in the order in which everybody locks it: its group with the members, or its instance,
/// which is given; of a group the member that was its primary. `None` where it is gone.
///
/// # Errors
/// The store's.
pub fn lock_subject(conn: &mut Conn, plan: &Plan) -> Result<Option<Instance>, Error> {
    let subject = plan.subject();
    match plan.group() {
        None => instances::lock(conn, subject),
        Some(group) => {
            let members = groups::lock(conn, group)?.map(|group| group.members).unwrap_or_default();
            Ok(members.into_iter().find(|member| member.id == subject))
        }
    }
}

/// Whether an upgrade that was accepted for later could begin at `starts`, at once for `None`, as far as can be known
/// now.
///
/// # Errors
/// The store's.
pub fn look_again(
    conn: &mut Conn,
    instance: &Instance,
    task: &Task,
    starts: Option<DateTime<Utc>>,
) -> Result<Result<(), Refusal>, Error> {
    let Plan::Rolling(plan) = &task.plan else {
        return Ok(planned(conn, instance, task, starts)?.map(|_| ()));
    };
    match groups::find(conn, plan.group)? {
        Some(group) => Ok(rollings::look_again(conn, &group, plan)?.map(|_| ())),
        None => Ok(Err(Refusal::NotFound { what: plan.group.to_string() })),
    }
}

/// The plan of an upgrade of the same instance as it would begin.
fn planned(
    conn: &mut Conn,
    instance: &Instance,
    task: &Task,
    starts: Option<DateTime<Utc>>,
) -> Result<Result<UpgradePlan, Refusal>, Error> {
    let facts = UpgradeFacts::read(conn, instance.id)?;
    let runs = |version: &DatastoreVersion| facts.runs(instance, version);
    Ok(upgrade::again(plan_of(task)?, facts.known(instance, starts), &runs))
}

/// Begins an upgrade that was accepted for later: it claims its instance, or its group's members, which are being upgraded
/// from now on. The caller has locked what it is about ([`lock_subject`]) and the task. Where it cannot begin nothing is written, and the refusal is given.
///
/// # Errors
/// The store's.
pub fn start(
    conn: &mut Conn,
    instance: &mut Instance,
    task: &Task,
    actor: &str,
) -> Result<Result<(), Refusal>, Error> {
    if let Plan::Rolling(plan) = &task.plan {
        return match groups::find(conn, plan.group)? {
            Some(mut group) => rollings::start(conn, &mut group, task, plan, actor),
            None => Ok(Err(Refusal::NotFound { what: plan.group.to_string() })),
        };
    }
    let plan = match planned(conn, instance, task, None)? {
        Ok(plan) => plan,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let broken = |what: &str| Error::Broken(format!("task {}: {what}", task.id));
    let secrets = task.secrets.as_deref().ok_or_else(|| broken("no secrets"))?;
    let mut secrets: Vec<String> =
        serde_json::from_str(secrets).map_err(|_| broken("its secrets cannot be read"))?;
    if secrets.is_empty() {
        return Err(broken("no secret"));
    }
    let first = secrets.remove(0);
    generations::insert_candidate(conn, plan.new, instance.id, &instance.host, plan.to, &first)?;
    let next =
        task.progress.after(task.kind(), TaskEvent::Started).map_err(|e| Error::Broken(e.to_string()))?;
    // What is kept may have changed since it was accepted.
    let mut report = task.report.as_object().cloned().unwrap_or_default();
    report.remove(REPLACES);
    if let Some(kept) = generations::retired(conn, instance.id)? {
        report.insert(REPLACES.to_owned(), replaces(&kept));
    }
    tasks::set_report(conn, task.id, &report.into())?;
    let begun = Task { plan: Plan::Upgrade(plan), secrets: sealed(&secrets)?, ..task.clone() };
    tasks::replan(conn, &begun)?;
    tasks::claim(conn, task.id)?;
    tasks::advance(conn, &begun, next, Duration::ZERO)?;
    upgrading(conn, instance)?;
    note(conn, instance, task.id, actor, "upgrade_begun", json!({}))?;
    Ok(Ok(()))
}

/// What became of an upgrade that was due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It has begun.
    Begun,
    /// It waits on.
    Waits,
    /// It has ended without having begun, and why.
    Ended(String),
}

/// Takes up an upgrade that was accepted for later and is due. The caller has locked the instance (`None` where it is
/// gone) and the task.
///
/// # Errors
/// The store's.
pub fn take_up(
    conn: &mut Conn,
    instance: Option<Instance>,
    task: &Task,
    actor: &str,
) -> Result<Became, Error> {
    let Some(mut instance) = instance else {
        return lapse(conn, None, task, actor, "Its instance is gone.".to_owned());
    };
    let now = windows::now(conn)?;
    let starts = task.starts.unwrap_or(now);
    let (window, _) = windows::of(conn, &instance.project, Some(instance.id))?;
    let busy = tasks::is_claimed(conn, instance.id)?;
    let waited = task.report.get(WAITS).is_some();
    match due(task.timing, &window, starts, now) {
        Due::Waits(until) => {
            tasks::postpone(conn, task, task.timing, until, until)?;
            Ok(Became::Waits)
        }
        Due::Missed(next) => {
            let why = if waited { TAKEN } else { NOBODY };
            let mut missed =
                task.report.get(MISSED).and_then(|it| it.as_array().cloned()).unwrap_or_default();
            missed.push(json!({"start": rfc3339(starts), "why": why}));
            let mut report = task.report.as_object().cloned().unwrap_or_default();
            report.remove(WAITS);
            report.insert(MISSED.to_owned(), missed.into());
            tasks::set_report(conn, task.id, &report.into())?;
            tasks::postpone(conn, task, task.timing, next.start, next.start)?;
            let data = json!({"missed": rfc3339(starts), "starts": rfc3339(next.start), "why": why});
            note(conn, &instance, task.id, actor, "window_missed", data)?;
            Ok(Became::Waits)
        }
        Due::TooLate => {
            let why = if waited { TAKEN } else { NOBODY };
            let set = rfc3339(starts);
            let reason = format!("It was to begin at {set} and could not in time: {why}.");
            lapse(conn, Some(&instance), task, actor, reason)
        }
        // A matter of the moment: it is waited for, as long as it may begin.
        Due::Begins if busy && free_for_action(&instance, busy).is_err() => {
            tasks::report(conn, task.id, &json!({ WAITS: not_ready(&instance).to_string() }))?;
            tasks::postpone(conn, task, task.timing, starts, now + BUSY)?;
            Ok(Became::Waits)
        }
        Due::Begins => {
            let task = without_waits(conn, task)?;
            match start(conn, &mut instance, &task, actor)? {
                Ok(()) => Ok(Became::Begun),
                Err(refusal) => {
                    let reason = format!("It was not begun, since things have changed: {refusal}");
                    lapse(conn, Some(&instance), &task, actor, reason)
                }
            }
        }
    }
}

/// The key of a task's report under which it tells what it waits for.
const WAITS: &str = "waits_for";

/// The task without what it waited for.
fn without_waits(conn: &mut Conn, task: &Task) -> Result<Task, Error> {
    let mut task = task.clone();
    if task.report.as_object_mut().is_some_and(|report| report.remove(WAITS).is_some()) {
        tasks::set_report(conn, task.id, &task.report)?;
    }
    Ok(task)
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Ends an upgrade that cannot begin; nothing else is changed.
fn lapse(
    conn: &mut Conn,
    instance: Option<&Instance>,
    task: &Task,
    actor: &str,
    reason: String,
) -> Result<Became, Error> {
    let next =
        task.progress.after(task.kind(), TaskEvent::Lapsed).map_err(|e| Error::Broken(e.to_string()))?;
    let ended = Task { reason: Some(reason.clone()), ..task.clone() };
    tasks::advance(conn, &ended, next, Duration::ZERO)?;
    events::record(
        conn,
        &events::Event {
            project: &task.project,
            instance: instance.map(|it| it.id),
            task: Some(task.id),
            actor,
            what: "upgrade_lapsed",
            data: json!({ "reason": reason }),
        },
    )?;
    Ok(Became::Ended(reason))
}
