//! Upgrades as the vendor's clients see tasks: two lists of them, and a call that moves one that waits.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::api::alibaba::error::VendorError;
use crate::api::alibaba::instances::{REGION, named};
use crate::api::alibaba::parameters::Page;
use crate::api::alibaba::{Call, groups, moment, names, object};
use crate::api::vendor_reads::{self, Upgrades, began};
use crate::commands;
use crate::db::{self, task_numbers};
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::policy::{Rule, allow};
use crate::domain::task::{Progress, Task, TaskState};
use crate::domain::timing::{self, Timing};

/// The upgrades, each with the number by which the vendor's clients know it.
struct Seen {
    upgrades: Upgrades,
    numbers: HashMap<TaskId, i64>,
}

async fn seen(call: &Call, instance: Option<InstanceId>) -> Result<Seen, VendorError> {
    allow(&call.caller, Rule::TaskRead)?;
    let project = instance.is_none().then(|| call.caller.project.clone());
    let now = call.now;
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| {
            let upgrades = Upgrades::read(conn, project.as_ref(), instance, now)?;
            let ids: Vec<TaskId> = upgrades.tasks.iter().map(|task| task.id).collect();
            Ok(Seen { numbers: task_numbers::of(conn, &ids)?, upgrades })
        })
        .await;
    Ok(read?)
}

impl Seen {
    fn number(&self, task: &Task) -> String {
        self.numbers.get(&task.id).map(i64::to_string).unwrap_or_default()
    }

    fn pace(&self, task: &Task) -> (u8, i64) {
        self.upgrades.pace(task)
    }

    /// When it is expected to end, while it is under way.
    fn expected(&self, task: &Task, now: DateTime<Utc>) -> String {
        let left = TimeDelta::seconds(self.pace(task).1);
        if vendor_reads::is_under_way(task) { moment(now + left) } else { String::new() }
    }

    fn kind(&self, task: &Task) -> &'static str {
        match self.upgrades.is_minor(task) {
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

fn ended(task: &Task) -> String {
    vendor_reads::ended(task).map(moment).unwrap_or_default()
}

/// `DescribeTasks`.
pub async fn describe(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    let page = Page::of(&call.parameters, 30, (30, 100))?;
    let from = call.parameters.moment("StartTime", "InvalidParameter")?;
    let to = call.parameters.last_moment("EndTime", "InvalidParameter")?;
    let action = call.parameters.text("TaskAction")?;
    let of = match groups::named(call, id).await? {
        Some(group) => group.primary().map(|primary| primary.id).ok_or_else(VendorError::no_instance)?,
        None => named(call, id).await?.0.id,
    };
    let seen = seen(call, Some(of)).await?;
    let fits = |task: &&Task| {
        from.is_none_or(|from| task.created_at >= from)
            && to.is_none_or(|to| task.created_at <= to)
            && action.is_none_or(|action| action == seen.kind(task))
    };
    let found: Vec<Value> = seen
        .upgrades
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
                "ExpectedFinishTime": seen.expected(task, call.now),
                "StepsInfo": "",
                "StepProgressInfo": "",
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
pub async fn history(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let page = Page::of(&call.parameters, 10, (10, 100))?;
    let from = call.parameters.moment("FromStartTime", "InvalidParameter")?;
    let from = from.ok_or_else(|| VendorError::missing("FromStartTime"))?;
    let to = call.parameters.last_moment("ToStartTime", "InvalidParameter")?;
    let to = to.ok_or_else(|| VendorError::missing("ToStartTime"))?;
    let [ids, of, states, kinds] =
        ["TaskId", "InstanceId", "Status", "TaskType"].map(|name| call.parameters.list(name));
    let (ids, of, states, kinds) = (ids?, of?, states?, kinds?);
    let seen = seen(call, None).await?;
    let fits = |list: &[&str], value: &str| list.is_empty() || list.contains(&value);
    let found: Vec<Value> = seen
        .upgrades
        .tasks
        .iter()
        .filter_map(|task| {
            let group = task.plan.group().and_then(|id| seen.upgrades.groups.get(&id));
            let it = seen.upgrades.instances.get(&task.plan.subject());
            let name = group.map(|group| &group.name).or(it.map(|it| &it.name));
            let instance = names::instance(task.plan.address());
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
                    "InstanceName": name.cloned().unwrap_or_default(),
                    "DbType": seen.upgrades.engine(task).map(names::engine).unwrap_or_default(),
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
pub async fn modify(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let number = call.parameters.needed("TaskId")?;
    call.parameters.needed("TaskAction")?;
    call.parameters.word("TaskAction", &["modifySwitchTime"])?;
    let expected = "{\"recoverMode\":\"immediate\"} or {\"recoverMode\":\"timePoint\",\"recoverTime\":\"2026-11-22T02:56:18Z\"}";
    let error = || VendorError::invalid("ActionParams", expected);
    let asked: Value = serde_json::from_str(call.parameters.needed("ActionParams")?).map_err(|_| error())?;
    let timing = match asked["recoverMode"].as_str() {
        Some("immediate") => Timing::Now,
        Some("timePoint") => {
            let text = asked["recoverTime"].as_str().ok_or_else(error)?;
            let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").map_err(|_| error())?;
            timing::at(at.and_utc(), None, call.now).map_err(|_| {
                VendorError::new(400, "StartTimeBeforeNow", "The recoverTime must be ahead, within a year.")
            })?
        }
        Some(_) | None => return Err(error()),
    };
    allow(&call.caller, Rule::InstanceUpdate)?;
    let no_task = || VendorError::invalid("TaskId", "a task of this account that waits for its time");
    let number: i64 = number.parse().map_err(|_| no_task())?;
    let db = &call.state.commands.db;
    let found: Result<_, db::Error> = db.run(move |conn| task_numbers::find(conn, number)).await;
    let task = found?.ok_or_else(no_task)?;
    match commands::tasks::reschedule(db, &call.caller, task, timing).await {
        Err(commands::Error::Refused(crate::domain::refusal::Refusal::NotFound { .. })) => Err(no_task()),
        other => other
            .map(|_| {
                object([("SuccessCount", "1".into()), ("ErrorTaskId", "".into()), ("ErrorCode", "".into())])
            })
            .map_err(Into::into),
    }
}
