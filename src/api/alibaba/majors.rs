//! Major upgrades of PostgreSQL, after a check that passed, and the switchover to a standby.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::api::alibaba::error::VendorError;
use crate::api::alibaba::instances::alone;
use crate::api::alibaba::parameters::Page;
use crate::api::alibaba::upgrades::{ready, task_id, timing, upgrade as begin};
use crate::api::alibaba::{Call, moment, names, object};
use crate::api::vendor_reads::{self, Upgrades, began};
use crate::commands::inspections;
use crate::db::{self, task_numbers};
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::ids::TaskId;
use crate::domain::inspection::{Inspection, InspectionState};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::task::{Plan, Progress, Task, TaskState};
use crate::domain::upgrade::{Strategy, Wishes};

/// The vendor's ways, the usual one in front.
const MODES: [&str; 3] = ["inPlaceUpgrade", "blueGreenDeployment", "zeroDownTimeUpgrade"];

/// The way that is asked for, where one is.
fn wishes(call: &Call) -> Result<Wishes, VendorError> {
    let strategy = match call.parameters.text("UpgradeMode")? {
        None => None,
        Some(_) => match call.parameters.word("UpgradeMode", &MODES)? {
            "inPlaceUpgrade" => Some(Strategy::InPlace),
            _beside => Some(Strategy::Twin),
        },
    };
    Ok(Wishes { strategy, ..Wishes::default() })
}

/// The vendor's word for a way.
const fn mode(strategy: Option<Strategy>) -> &'static str {
    match strategy {
        Some(Strategy::InPlace) => "inPlaceUpgrade",
        Some(Strategy::Twin) => "blueGreenDeployment",
        None => "",
    }
}

/// The instance that is named, of PostgreSQL.
async fn postgresql(call: &Call) -> Result<Instance, VendorError> {
    let it = alone(call, call.parameters.needed("DBInstanceId")?).await?;
    match it.shown_version().engine {
        EngineKind::Postgresql => Ok(it),
        EngineKind::Mysql | EngineKind::MariaDb => {
            let text = "The operation is for PostgreSQL; see UpgradeDBInstanceEngineVersion.";
            Err(VendorError::new(400, "EngineNotSupported", text))
        }
    }
}

/// The version that is asked for, of those that the instance can go to.
async fn target(call: &Call, it: &Instance, name: &str) -> Result<DatastoreVersion, VendorError> {
    let all = inspections::majors(&call.state.commands.db, &call.caller, it.id).await?;
    let text = format!("An instance of {} cannot be upgraded to {name}.", it.shown_version().name);
    let found = all.into_iter().find(|version| version.name == name);
    found.ok_or_else(|| VendorError::new(403, "IncorrectEngineVersion", text))
}

async fn checks(call: &Call, it: &Instance) -> Result<Vec<Inspection>, VendorError> {
    Ok(inspections::list(&call.state.commands.db, &call.caller, it.id).await?)
}

/// `UpgradeDBInstanceMajorVersionPrecheck`: what is found is told by `DescribeUpgradeMajorVersionPrecheckTask`.
pub async fn check(call: &Call) -> Result<Map<String, Value>, VendorError> {
    call.parameters.needed("DBInstanceId")?;
    let name = call.parameters.needed("TargetMajorVersion")?;
    let wishes = wishes(call)?;
    let it = postgresql(call).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(call, &it).await?;
    let target = target(call, &it, name).await?;
    let made = call.state.commands.inspect(&call.caller, it.id, &target, wishes).await?;
    Ok(object([
        ("DBInstanceName", names::instance(it.id).into()),
        ("TargetMajorVersion", made.target.into()),
        ("TaskId", made.number.to_string().into()),
    ]))
}

/// What a list of one instance's is narrowed down by.
struct Narrowed<'a> {
    page: Page,
    number: Option<i64>,
    target: Option<&'a str>,
}

fn narrowed(call: &Call) -> Result<Narrowed<'_>, VendorError> {
    let number = call.parameters.text("TaskId")?;
    let number = number.map(|text| text.parse().map_err(|_| VendorError::invalid("TaskId", "an integer")));
    call.parameters.word("PageSize", &["30", "50", "100"])?;
    let page = Page::of(&call.parameters, 30, (30, 100))?;
    Ok(Narrowed { page, number: number.transpose()?, target: call.parameters.text("TargetMajorVersion")? })
}

fn listed(page: Page, found: Vec<Value>) -> Map<String, Value> {
    let total = found.len();
    let shown = page.take(found);
    object([
        ("PageNumber", page.number.into()),
        ("PageRecordCount", shown.len().into()),
        ("TotalRecordCount", total.into()),
        ("Items", shown.into()),
    ])
}

fn millis(at: DateTime<Utc>) -> String {
    at.timestamp_millis().to_string()
}

/// `DescribeUpgradeMajorVersionPrecheckTask`.
pub async fn check_result(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let Narrowed { page, number, target } = narrowed(call)?;
    let it = postgresql(call).await?;
    let known: Result<_, db::Error> = call.state.commands.db.run(db::catalogue_cache::now).await;
    let catalogue = known?;
    let found = checks(call, &it).await?;
    let found = found.iter().filter(|made| {
        number.is_none_or(|number| number == made.number) && target.is_none_or(|name| name == made.target)
    });
    let lines = found.map(|made| {
        let from = catalogue.version(made.from);
        json!({
            "TaskId": made.number,
            "Result": match (made.state, made.detail.is_empty()) {
                (InspectionState::Running, _) => "Running",
                (InspectionState::Failed, _) => "Fail",
                (InspectionState::Passed, false) => "warning",
                (InspectionState::Passed, true) => "Success",
            },
            "Detail": made.detail,
            "CheckTime": millis(made.checked_at),
            "EffectiveTime": millis(made.expires_at),
            "SourceMajorVersion": from.map(|from| from.engine.series(&from.number)).unwrap_or_default(),
            "TargetMajorVersion": made.target,
        })
    });
    Ok(listed(page, lines.collect()))
}

/// `UpgradeDBInstanceMajorVersion`.
pub async fn upgrade(call: &Call) -> Result<Map<String, Value>, VendorError> {
    call.parameters.needed("DBInstanceId")?;
    let name = call.parameters.needed("TargetMajorVersion")?;
    let wishes = wishes(call)?;
    if call.parameters.word("SwitchOver", &["true", "false"])? == "false" {
        let expected = "true: the same instance is upgraded, and its address leads to the new version";
        return Err(VendorError::invalid("SwitchOver", expected));
    }
    call.parameters.word("CollectStatMode", &["Before", "After"])?;
    let statistics = call.parameters.text("CollectStatMode")?.map(str::to_owned);
    let timing = timing(call, "SwitchTimeMode")?;
    let it = postgresql(call).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(call, &it).await?;
    let target = target(call, &it, name).await?;
    let from = it.shown_version().id;
    let all = checks(call, &it).await?;
    let passed = all.iter().find(|made| made.allows(from, &target.name, call.now));
    let Some(passed) = passed.map(|made| made.id) else {
        let still = match all.iter().any(|made| made.is_awaited(from, &target.name)) {
            true => " One is running.",
            false => "",
        };
        let text = format!(
            "UpgradeDBInstanceMajorVersionPrecheck for {name} must have passed within the last 24 hours.{still}"
        );
        return Err(VendorError::new(403, "IncorrectDBInstanceState", text));
    };
    let task = begin(call, &it, &target, (wishes, timing), None).await?;
    inspections::used(&call.state.commands.db, passed, task, statistics).await;
    let number: i64 = task_id(call, task).await?.parse().unwrap_or_default();
    Ok(object([
        ("DBInstanceId", names::instance(it.id).into()),
        ("OrderId", "".into()),
        ("TaskId", number.into()),
    ]))
}

/// The vendor's word for how it ended, or that it has not.
const fn result(task: &Task) -> &'static str {
    match task.progress {
        Progress::Ended(TaskState::Succeeded) => "Success",
        Progress::Ended(_) => "Fail",
        Progress::Deferred
        | Progress::Scheduled
        | Progress::At(_, _)
        | Progress::Verifying
        | Progress::NeedsOperator => "Running",
    }
}

/// `DescribeUpgradeMajorVersionTasks`.
pub async fn tasks(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let Narrowed { page, number, target } = narrowed(call)?;
    let it = postgresql(call).await?;
    allow(&call.caller, Rule::TaskRead)?;
    let (id, now) = (it.id, call.now);
    let read: Result<(Upgrades, HashMap<TaskId, i64>), db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| {
            let seen = Upgrades::read(conn, None, Some(id), now)?;
            let ids: Vec<TaskId> = seen.tasks.iter().map(|task| task.id).collect();
            let numbers = task_numbers::of(conn, &ids)?;
            Ok((seen, numbers))
        })
        .await;
    let (seen, numbers) = read?;
    let checks = checks(call, &it).await?;
    let name = names::instance(it.id);
    let lines = seen.tasks.iter().filter(|task| !seen.is_minor(task)).filter_map(|task| {
        let Plan::Upgrade(plan) = &task.plan else { return None };
        let task_number = numbers.get(&task.id).copied().unwrap_or_default();
        let (from, to) = seen.series(task);
        if number.is_some_and(|number| number != task_number) || target.is_some_and(|target| target != to) {
            return None;
        }
        let ended = vendor_reads::ended(task).map(moment).unwrap_or_default();
        let switched = if result(task) == "Success" { ended.clone() } else { String::new() };
        let check = checks.iter().find(|made| made.task == Some(task.id));
        Some(json!({
            "TaskId": task_number,
            "Result": result(task),
            "SourceMajorVersion": from,
            "TargetMajorVersion": to,
            "StartTime": moment(began(task)),
            "EndTime": ended,
            "SwitchTime": switched,
            "SwitchEndTime": switched,
            "SourceInsName": name,
            "TargetInsName": name,
            "UpgradeMode": mode(plan.strategy),
            "CollectStatMode": check.and_then(|made| made.statistics.clone()).unwrap_or_default(),
            "Detail": task.reason.clone().unwrap_or_default(),
        }))
    });
    Ok(listed(page, lines.collect()))
}
