//! Upgrades as the vendor's clients see them: a job, a list of tasks, and a list of those that were asked for later.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::api::huawei::error::VendorError;
use crate::api::huawei::names::{self, moment};
use crate::api::huawei::{Answer, Call, ok};
use crate::api::vendor_reads::{self, Upgrades, began};
use crate::db::{self, tasks};
use crate::domain::datastore::EngineKind;
use crate::domain::ids::InstanceId;
use crate::domain::policy::{Rule, allow};
use crate::domain::task::{Progress, Task, TaskState};
use crate::domain::timing::Timing;

/// For how many days a job is told of.
const DAYS: i64 = 31;

/// The upgrades of the caller's project, or of an instance that the caller sees.
pub async fn upgrades(call: &Call, instance: Option<InstanceId>) -> Result<Upgrades, VendorError> {
    allow(&call.caller, Rule::TaskRead)?;
    let project = instance.is_none().then(|| call.caller.project.clone());
    let (db, now) = (&call.state.commands.db, call.now);
    let read: Result<_, db::Error> =
        db.run(move |conn| Upgrades::read(conn, project.as_ref(), instance, now)).await;
    Ok(read?)
}

/// Whether it is recent enough to be told of.
fn is_recent(task: &Task, call: &Call) -> bool {
    vendor_reads::ended(task).is_none_or(|ended| call.now - ended < TimeDelta::days(DAYS))
}

/// The vendor's word for where a task stands.
pub const fn status(task: &Task) -> &'static str {
    match task.progress {
        Progress::Ended(TaskState::Succeeded) => "Completed",
        Progress::Ended(_) => "Failed",
        Progress::Deferred
        | Progress::Scheduled
        | Progress::At(_, _)
        | Progress::Verifying
        | Progress::NeedsOperator => "Running",
    }
}

/// The same of a task that was asked for later.
const fn schedule_status(task: &Task) -> &'static str {
    match task.progress {
        Progress::Deferred => "Pending",
        Progress::Ended(TaskState::Cancelled) => "Canceled",
        Progress::Scheduled
        | Progress::At(_, _)
        | Progress::Verifying
        | Progress::NeedsOperator
        | Progress::Ended(_) => status(task),
    }
}

fn name(task: &Task, seen: &Upgrades) -> &'static str {
    if seen.is_minor(task) { "UPGRADE_DB_VERSION" } else { "UPGRADE_DB_MAJOR_VERSION" }
}

/// `60%` while it runs, and nothing before and after it.
fn process(task: &Task, seen: &Upgrades) -> String {
    if status(task) == "Running" { format!("{}%", seen.pace(task).0) } else { String::new() }
}

pub fn ended(task: &Task) -> String {
    vendor_reads::ended(task).map(moment).unwrap_or_default()
}

/// Why a task that has failed did.
pub fn fail_reason(task: &Task) -> String {
    match (status(task), &task.reason) {
        ("Failed", Some(reason)) => reason.clone(),
        ("Failed", None) => "It was cancelled.".to_owned(),
        (_, _) => String::new(),
    }
}

/// The instance's id, name and state.
fn instance(task: &Task, seen: &Upgrades) -> (String, String, &'static str) {
    if let Some(group) = task.plan.group().and_then(|id| seen.groups.get(&id)) {
        return (names::group(group), group.name.clone(), names::group_status(group, Some(task)));
    }
    match seen.instances.get(&task.plan.subject()) {
        Some(it) => (names::instance(it), it.name.clone(), names::status(it, Some(task))),
        None => {
            let engine = seen.engine(task).unwrap_or(EngineKind::Mysql);
            (names::of_engine(task.plan.address(), engine), String::new(), "")
        }
    }
}

/// `GET …/jobs?id=`.
pub async fn show(call: &Call) -> Answer {
    allow(&call.caller, Rule::TaskRead)?;
    let id = call.query.text("id")?.ok_or_else(|| VendorError::invalid("id", "given: a job's id"))?;
    let (id, now) = (id.parse().map_err(|_| VendorError::no_job())?, call.now);
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| {
            let task = tasks::find(conn, id)?;
            Upgrades::of(conn, task.into_iter().collect(), now)
        })
        .await;
    let seen = read?;
    let task = seen
        .tasks
        .first()
        .filter(|task| call.caller.sees(&task.project) && is_recent(task, call))
        .ok_or_else(VendorError::no_job)?;
    let (instance_id, instance_name, _) = instance(task, &seen);
    ok(json!({"job": {
        "id": task.id.to_string(),
        "name": name(task, &seen),
        "status": status(task),
        "created": moment(task.created_at),
        "ended": ended(task),
        "process": process(task, &seen),
        "instance": {"id": instance_id, "name": instance_name},
        "entities": {},
        "fail_reason": fail_reason(task),
    }}))
}

/// `GET …/tasklist`.
pub async fn list(call: &Call) -> Answer {
    let query = &call.query;
    let page = query.page(10, 50)?;
    let (id, of, kind) = (query.text("id")?, query.text("instance_id")?, query.text("name")?);
    let state = query.word("status", &["Running", "Completed", "Failed"])?;
    let (from, to) = (query.instant("start_time")?, query.instant("end_time")?);
    let seen = upgrades(call, None).await?;
    let mut actions: Vec<&str> = seen.tasks.iter().map(|task| name(task, &seen)).collect();
    actions.sort_unstable();
    actions.dedup();
    let found: Vec<Value> = seen
        .tasks
        .iter()
        .filter_map(|task| {
            let (instance_id, instance_name, instance_status) = instance(task, &seen);
            let chosen = is_recent(task, call)
                && id.is_none_or(|id| id == task.id.to_string())
                && of.is_none_or(|of| of == instance_id)
                && kind.is_none_or(|kind| kind == name(task, &seen))
                && state.is_none_or(|state| state == status(task))
                && from.is_none_or(|from| task.created_at >= from)
                && to.is_none_or(|to| task.created_at <= to);
            chosen.then(|| {
                json!({
                    "id": task.id.to_string(),
                    "name": name(task, &seen),
                    "instance_id": instance_id,
                    "instance_name": instance_name,
                    "instance_status": instance_status,
                    "process": process(task, &seen),
                    "status": status(task),
                    "fail_reason": fail_reason(task),
                    "create_time": moment(task.created_at),
                    "end_time": ended(task),
                    "order_id": "",
                })
            })
        })
        .collect();
    ok(json!({"total_count": found.len(), "actions": actions, "tasks": page.take(found)}))
}

/// `GET …/schedule-tasks`.
pub async fn scheduled(call: &Call) -> Answer {
    let query = &call.query;
    let page = query.page(10, 50)?;
    let (of, called) = (query.text("instance_id")?, query.text("instance_name")?);
    let words = ["Initing", "Pending", "Running", "Completed", "Failed", "Unauthorized", "Canceled"];
    let state = query.word("status", &words)?;
    let (from, to) = (query.instant("start_time")?, query.instant("end_time")?);
    let seen = upgrades(call, None).await?;
    let found: Vec<Value> = seen
        .tasks
        .iter()
        .filter(|task| task.timing != Timing::Now)
        .filter_map(|task| {
            let (instance_id, instance_name, instance_status) = instance(task, &seen);
            let chosen = is_recent(task, call)
                && of.is_none_or(|of| of == instance_id)
                && called.is_none_or(|called| called == instance_name)
                && state.is_none_or(|state| state == schedule_status(task))
                && from.is_none_or(|from| task.created_at >= from)
                && to.is_none_or(|to| task.created_at <= to);
            chosen.then(|| {
                json!({
                    "id": task.id.to_string(),
                    "name": name(task, &seen),
                    "instance_id": instance_id,
                    "instance_name": instance_name,
                    "instance_status": instance_status,
                    "project_id": task.project.as_str(),
                    "create_time": moment(task.created_at),
                    "start_time": moment(began(task)),
                    "end_time": ended(task),
                    "order": "1",
                    "status": schedule_status(task),
                    "datastore_type": seen.engine(task).map(names::engine).unwrap_or_default(),
                })
            })
        })
        .collect();
    ok(json!({"total_count": found.len(), "schedule_tasks": page.take(found)}))
}
