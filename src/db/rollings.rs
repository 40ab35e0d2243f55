//! Upgrades of groups, and changes of their roles, as they are accepted and begun: decided by the domain on what is read
//! here, and written here, in the caller's transaction. What comes later is taken up by [`upgrades`](crate::db::upgrades).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::tasks::Claim;
use crate::db::{Conn, Error, events, generations, groups, instances, tasks};
use crate::domain::group::{Group, GroupEvent};
use crate::domain::ids::{GenerationId, TaskId};
use crate::domain::instance::InstanceEvent;
use crate::domain::refusal::Refusal;
use crate::domain::rolling::{self, FailoverPlan, Known, RollingPlan, Side};
use crate::domain::task::{Plan, Task, TaskEvent};
use crate::domain::timing::Timing;

/// What an upgrade of a group depends on besides it.
pub struct GroupFacts {
    /// Whether a live task has claimed a member.
    pub busy: bool,
    /// The upgrade that is accepted for later.
    pub planned: Option<TaskId>,
    /// Versions, matrix, and what the hosts can run.
    pub catalogue: Arc<Catalogue>,
}

impl GroupFacts {
    /// Reads it.
    ///
    /// # Errors
    /// The store's.
    pub fn read(conn: &mut Conn, group: &Group) -> Result<Self, Error> {
        let mut facts = Self { busy: false, planned: None, catalogue: catalogue_cache::now(conn)? };
        for member in &group.members {
            facts.busy |= tasks::is_claimed(conn, member.id)?;
            facts.planned = facts.planned.or(tasks::planned(conn, member.id)?);
        }
        Ok(facts)
    }

    /// The same for the domain.
    pub fn known<'a>(&'a self, group: &'a Group) -> Known<'a> {
        Known { group, busy: self.busy, planned: self.planned, paths: &self.catalogue.paths }
    }
}

/// An upgrade that was decided on.
pub struct Accept<'a> {
    /// Its task.
    pub task: TaskId,
    /// Its plan.
    pub plan: RollingPlan,
    /// The new servers, with the sealed passwords of our own account in them.
    pub secrets: Vec<(GenerationId, String)>,
    /// When it was asked to begin.
    pub timing: Timing,
    /// When it begins; at once for `None`.
    pub starts: Option<DateTime<Utc>>,
    /// Who asked.
    pub actor: &'a str,
}

fn broken(task: TaskId, what: &str) -> Error {
    Error::Broken(format!("task {task}: {what}"))
}

/// Makes the new servers of both members.
fn candidates(
    conn: &mut Conn,
    group: &Group,
    task: TaskId,
    plan: &RollingPlan,
    secrets: &HashMap<GenerationId, String>,
) -> Result<(), Error> {
    for Side { member, new, .. } in [plan.primary, plan.standby] {
        let secret = secrets.get(&new).ok_or_else(|| broken(task, "no secret of a new server"))?;
        generations::insert_candidate(conn, new, member, &group.host, plan.to, secret)?;
    }
    Ok(())
}

/// Moves the group, and its members where they are upgraded.
fn begun(conn: &mut Conn, group: &mut Group, event: GroupEvent) -> Result<(), Error> {
    if event == GroupEvent::UpgradeAccepted {
        for member in &mut group.members {
            let next = member.state.after(InstanceEvent::UpgradeAccepted);
            member.state = next.map_err(|e| Error::Broken(e.to_string()))?;
            instances::save(conn, member)?;
        }
    }
    group.state = group.state.after(event).map_err(|e| Error::Broken(e.to_string()))?;
    groups::save(conn, group)
}

fn note(
    conn: &mut Conn,
    group: &Group,
    task: TaskId,
    actor: &str,
    what: &str,
    mut data: serde_json::Value,
) -> Result<(), Error> {
    data["group"] = json!(group.id);
    let (project, instance) = (&group.project, group.primary().map(|primary| primary.id));
    events::record(conn, &events::Event { project, instance, task: Some(task), actor, what, data })
}

/// Writes an accepted upgrade of a group, which the caller has locked; `false` when another task was first.
///
/// # Errors
/// The store's.
pub fn accept(conn: &mut Conn, group: &mut Group, accept: Accept<'_>) -> Result<bool, Error> {
    let Accept { task, plan, secrets, timing, starts, actor } = accept;
    let secrets: HashMap<GenerationId, String> = secrets.into_iter().collect();
    let mut kept = None;
    match starts {
        None => candidates(conn, group, task, &plan, &secrets)?,
        Some(_) => {
            let text = serde_json::to_string(&secrets).map_err(|e| Error::Broken(e.to_string()))?;
            kept = Some(text);
        }
    }
    let claims = [(plan.primary.member, Claim::Subject), (plan.standby.member, Claim::Subject)];
    let new = tasks::New {
        id: task,
        project: &group.project,
        host: &group.host,
        plan: &Plan::Rolling(plan),
        secrets: kept.as_deref(),
        claims: &claims,
        timing,
        starts,
    };
    if !tasks::insert(conn, &new)? {
        return Ok(false);
    }
    let data = match starts {
        None => json!({}),
        Some(starts) => json!({"when": timing.as_str(), "starts": starts}),
    };
    note(conn, group, task, actor, "upgrade_accepted", data)?;
    if starts.is_none() {
        begun(conn, group, GroupEvent::UpgradeAccepted)?;
    }
    Ok(true)
}

/// Writes an accepted change of roles of a group, which the caller has locked; `false` when another task was first.
///
/// # Errors
/// The store's.
pub fn accept_failover(
    conn: &mut Conn,
    group: &mut Group,
    task: TaskId,
    plan: FailoverPlan,
    actor: &str,
) -> Result<bool, Error> {
    let claims = [(plan.primary.0, Claim::Subject), (plan.standby.0, Claim::Subject)];
    let new = tasks::New {
        id: task,
        project: &group.project,
        host: &group.host,
        plan: &Plan::Failover(plan),
        secrets: None,
        claims: &claims,
        timing: Timing::Now,
        starts: None,
    };
    if !tasks::insert(conn, &new)? {
        return Ok(false);
    }
    note(conn, group, task, actor, "failover_accepted", json!({}))?;
    begun(conn, group, GroupEvent::FailoverAccepted)?;
    Ok(true)
}

/// The group of a task that upgrades one, locked with its members.
///
/// # Errors
/// The store's.
pub fn lock(conn: &mut Conn, plan: &RollingPlan) -> Result<Option<Group>, Error> {
    groups::lock(conn, plan.group)
}

/// Whether an upgrade that was accepted for later could begin, as far as can be known now; its plan as it would begin.
///
/// # Errors
/// The store's.
pub fn look_again(
    conn: &mut Conn,
    group: &Group,
    plan: &RollingPlan,
) -> Result<Result<RollingPlan, Refusal>, Error> {
    let facts = GroupFacts::read(conn, group)?;
    let target = facts
        .catalogue
        .version(plan.to)
        .cloned()
        .ok_or_else(|| Error::Broken(format!("the version {} is gone", plan.to)))?;
    let again = rolling::again(plan, facts.known(group), &target);
    Ok(again.and_then(|plan| {
        if facts.catalogue.runs(&group.host, &target) {
            Ok(plan)
        } else {
            Err(Refusal::Unavailable(format!("The group's host cannot run {}.", target.title())))
        }
    }))
}

/// Begins an upgrade that was accepted for later: it claims both members, which are being upgraded from now on. The
/// caller has locked the group and the task. Where it cannot begin nothing is written, and the refusal is given.
///
/// # Errors
/// The store's.
pub fn start(
    conn: &mut Conn,
    group: &mut Group,
    task: &Task,
    plan: &RollingPlan,
    actor: &str,
) -> Result<Result<(), Refusal>, Error> {
    let plan = match look_again(conn, group, plan)? {
        Ok(plan) => plan,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let secrets = task.secrets.as_deref().ok_or_else(|| broken(task.id, "no secrets"))?;
    let secrets: HashMap<GenerationId, String> =
        serde_json::from_str(secrets).map_err(|_| broken(task.id, "its secrets cannot be read"))?;
    candidates(conn, group, task.id, &plan, &secrets)?;
    let next =
        task.progress.after(task.kind(), TaskEvent::Started).map_err(|e| Error::Broken(e.to_string()))?;
    let started = Task { plan: Plan::Rolling(plan), secrets: None, ..task.clone() };
    tasks::replan(conn, &started)?;
    tasks::claim(conn, task.id)?;
    tasks::advance(conn, &started, next, Duration::ZERO)?;
    note(conn, group, task.id, actor, "upgrade_begun", json!({}))?;
    begun(conn, group, GroupEvent::UpgradeAccepted)?;
    Ok(Ok(()))
}
