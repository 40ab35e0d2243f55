//! Upgrades as the vendor's clients see tasks: two lists of them, and a call that moves one that waits.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value, json};

use crate::api::alibaba::instances::{REGION, is_minor, named};
use crate::api::alibaba::parameters::Page;
use crate::api::alibaba::wrong::Wrong;
use crate::api::alibaba::{Call, moment, names, object};
use crate::commands;
use crate::db::known::Catalogue;
use crate::db::{self, instances, known, task_numbers, tasks};
use crate::domain::estimate::{self, Load, Pace};
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::task::{Plan, Progress, Task, TaskState};
use crate::domain::timing::{self, Timing};

/// Everything that a list of tasks is made of.
struct Seen {
    tasks: Vec<Task>,
    paces: HashMap<TaskId, Pace>,
    numbers: HashMap<TaskId, i64>,
    instances: HashMap<InstanceId, Instance>,
    catalogue: Arc<Catalogue>,
}

async fn seen(call: &Call, instance: Option<InstanceId>) -> Result<Seen, Wrong> {
    allow(&call.caller, Rule::TaskRead)?;
    let (project, now) = (call.caller.project.clone(), call.now);
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .read(move |conn| {
            let mut tasks = tasks::list(conn, Some(&project), instance, None)?;
            tasks.retain(|task| matches!(task.plan, Plan::Switch(_)));
            let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
            let mut of = HashMap::new();
            for task in &tasks {
                let id = task.plan.subject();
                if !of.contains_key(&id)
                    && let Some(it) = instances::find(conn, id)?
                {
                    of.insert(id, it);
                }
            }
            let catalogue = known::now(conn)?;
            let mut paces = HashMap::new();
            for task in tasks.iter().filter(|task| is_under_way(task)) {
                let (bytes, marks) = tasks::marks(conn, task.id)?;
                if let Plan::Switch(plan) = &task.plan
                    && let Some(version) = catalogue.version(plan.from)
                {
                    let hops = estimate::kinds_of_hops(plan, task.kind());
                    let load = Load { bytes, engine: version.engine };
                    paces.insert(task.id, estimate::pace(&hops, load, task.progress, &marks, now));
                }
            }
            Ok(Seen { paces, numbers: task_numbers::of(conn, &ids)?, instances: of, catalogue, tasks })
        })
        .await;
    Ok(read?)
}

impl Seen {
    fn number(&self, task: &Task) -> String {
        self.numbers.get(&task.id).map(i64::to_string).unwrap_or_default()
    }

    /// Of a hundred, and the seconds that are left.
    fn pace(&self, task: &Task) -> (u8, i64) {
        match (self.paces.get(&task.id), task.progress) {
            (Some(pace), _) => (pace.percent, pace.eta.unwrap_or(0)),
            (None, Progress::Ended(TaskState::Succeeded)) => (100, 0),
            (None, _) => (0, 0),
        }
    }

    fn kind(&self, task: &Task) -> &'static str {
        match is_minor(task, &self.catalogue) {
            true => "UpgradeDBInstanceKernelVersion",
            false => "UpgradeDBInstanceEngineVersion",
        }
    }
}

/// The vendor's word for where a task stands.
fn status(task: &Task) -> &'static str {
    match task.progress {
        Progress::Deferred => "Waiting",
        Progress::Scheduled => "Scheduled",
        Progress::At(_, _) | Progress::Verifying | Progress::NeedsOperator if task.cancel_asked => {
            "Cancelling"
        }
        Progress::At(_, _) | Progress::Verifying | Progress::NeedsOperator => "Running",
        Progress::Ended(TaskState::Succeeded) => "Succeed",
        Progress::Ended(TaskState::Cancelled) => "Canceled",
        Progress::Ended(_) => "Failed",
    }
}

fn step(task: &Task) -> &'static str {
    match task.progress {
        Progress::At(_, step) => step.as_str(),
        Progress::Deferred
        | Progress::Scheduled
        | Progress::Verifying
        | Progress::NeedsOperator
        | Progress::Ended(_) => "",
    }
}

/// Whether a worker is at it.
const fn is_under_way(task: &Task) -> bool {
    matches!(task.progress, Progress::At(_, _) | Progress::Verifying | Progress::NeedsOperator)
}

fn began(task: &Task) -> DateTime<Utc> {
    task.starts.unwrap_or(task.created_at)
}

fn ended(task: &Task) -> String {
    match task.progress {
        Progress::Ended(_) => moment(task.updated_at),
        Progress::Deferred
        | Progress::Scheduled
        | Progress::At(_, _)
        | Progress::Verifying
        | Progress::NeedsOperator => String::new(),
    }
}

/// `DescribeTasks`.
pub async fn describe(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let id = call.parameters.needed("DBInstanceId")?;
    let page = Page::of(&call.parameters, 30, (30, 100))?;
    let from = call.parameters.moment("StartTime", "InvalidParameter")?;
    let to = call.parameters.moment("EndTime", "InvalidParameter")?;
    let action = call.parameters.text("TaskAction")?;
    let (it, _) = named(call, id).await?;
    let seen = seen(call, Some(it.id)).await?;
    let fits = |task: &&Task| {
        from.is_none_or(|from| task.created_at >= from)
            && to.is_none_or(|to| task.created_at <= to)
            && action.is_none_or(|action| action == seen.kind(task))
    };
    let found: Vec<Value> = seen
        .tasks
        .iter()
        .filter(fits)
        .map(|task| {
            json!({
                "TaskId": seen.number(task),
                "TaskAction": seen.kind(task),
                "Status": status(task),
                "Progress": format!("{}%", seen.pace(task).0),
                "ProgressInfo": task.reason.clone().unwrap_or_default(),
                "BeginTime": moment(began(task)),
                "FinishTime": ended(task),
                "CurrentStepName": step(task),
                "Remain": seen.pace(task).1,
                "TaskErrorCode": if status(task) == "Failed" { "UpgradeRolledBack" } else { "" },
                "TaskErrorMessage": task.reason.clone().unwrap_or_default(),
                "DBName": "",
            })
        })
        .collect();
    let total = found.len();
    let shown = page.take(found);
    Ok(object([
        ("PageNumber", page.number.into()),
        ("PageRecordCount", shown.len().into()),
        ("TotalRecordCount", total.into()),
        ("Items", json!({"TaskProgressInfo": shown})),
    ]))
}

/// `DescribeHistoryTasks`.
pub async fn history(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let page = Page::of(&call.parameters, 10, (10, 100))?;
    let bound = |name: &str| {
        let at = call.parameters.moment(name, "InvalidParameter")?;
        at.ok_or_else(|| Wrong::missing(name))
    };
    let (from, to) = (bound("FromStartTime")?, bound("ToStartTime")?);
    let [ids, of, states, kinds] =
        ["TaskId", "InstanceId", "Status", "TaskType"].map(|name| call.parameters.list(name));
    let (ids, of, states, kinds) = (ids?, of?, states?, kinds?);
    let seen = seen(call, None).await?;
    let fits = |list: &[&str], value: &str| list.is_empty() || list.contains(&value);
    let found: Vec<Value> = seen
        .tasks
        .iter()
        .filter_map(|task| {
            let it = seen.instances.get(&task.plan.subject());
            let instance = it.map_or_else(|| names::instance_id(task.plan.subject()), names::instance);
            let chosen = (from..=to).contains(&task.created_at)
                && fits(&ids, &seen.number(task))
                && fits(&of, &instance)
                && fits(&states, status(task))
                && fits(&kinds, seen.kind(task));
            chosen.then(|| {
                json!({
                    "TaskId": seen.number(task),
                    "TaskType": seen.kind(task),
                    "Status": status(task),
                    "InstanceId": instance,
                    "InstanceName": it.map(|it| it.name.clone()).unwrap_or_default(),
                    "DbType": it.map(|it| names::engine(it.shown_version().engine)).unwrap_or_default(),
                    "RegionId": REGION,
                    "StartTime": moment(began(task)),
                    "EndTime": ended(task),
                    "Progress": seen.pace(task).0,
                    "RemainTime": seen.pace(task).1,
                    "CurrentStepName": step(task),
                    "TaskDetail": json!({"reason": task.reason}).to_string(),
                    "ActionInfo": "{}",
                    "ReasonCode": "",
                    "CallerSource": "USER",
                    "CallerUid": call.caller.project.as_str(),
                    "Uid": call.caller.project.as_str(),
                    "Product": "rds",
                })
            })
        })
        .collect();
    let total = found.len();
    let shown = page.take(found);
    Ok(object([
        ("PageNumber", page.number.into()),
        ("PageSize", page.size.into()),
        ("TotalCount", total.into()),
        ("Items", shown.into()),
    ]))
}

/// `ModifyTaskInfo`: has an upgrade that waits begin at another time.
pub async fn modify(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let number = call.parameters.needed("TaskId")?;
    call.parameters.needed("TaskAction")?;
    call.parameters.word("TaskAction", &["modifySwitchTime"])?;
    let expected = "{\"recoverMode\":\"immediate\"} or {\"recoverMode\":\"timePoint\",\"recoverTime\":\"2026-11-22T02:56:18Z\"}";
    let wrong = || Wrong::invalid("ActionParams", expected);
    let asked: Value = serde_json::from_str(call.parameters.needed("ActionParams")?).map_err(|_| wrong())?;
    let timing = match asked["recoverMode"].as_str() {
        Some("immediate") => Timing::Now,
        Some("timePoint") => {
            let text = asked["recoverTime"].as_str().ok_or_else(wrong)?;
            let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").map_err(|_| wrong())?;
            timing::at(at.and_utc(), None, call.now).map_err(|_| {
                Wrong::new(400, "StartTimeBeforeNow", "The recoverTime must be ahead, within a year.")
            })?
        }
        Some(_) | None => return Err(wrong()),
    };
    let no_task = || Wrong::invalid("TaskId", "a task of this account that waits for its time");
    let number: i64 = number.parse().map_err(|_| no_task())?;
    let db = &call.state.commands.db;
    let found: Result<_, db::Error> = db.read(move |conn| task_numbers::find(conn, number)).await;
    let task = found?.ok_or_else(no_task)?;
    match commands::tasks::reschedule(db, &call.caller, task, timing).await {
        Err(commands::Error::Refused(crate::domain::refusal::Refusal::NotFound { .. })) => Err(no_task()),
        other => other.map(|_| object([("SuccessCount", 1.into())])).map_err(Into::into),
    }
}
