//! Major upgrades: of PostgreSQL after an inspection that passed, of MySQL and MariaDB with a check beside it.

use serde_json::{Value, json};

use crate::api::huawei::error::VendorError;
use crate::api::huawei::input::Body;
use crate::api::huawei::instances::named;
use crate::api::huawei::jobs::{self, ended, fail_reason};
use crate::api::huawei::names::{self, moment};
use crate::api::huawei::upgrades::{ready, upgrade as begin};
use crate::api::huawei::{Answer, Call, accepted, ok};
use crate::api::vendor_reads::began;
use crate::commands::inspections;
use crate::domain::build_upgrades::order;
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::inspection::{Inspection, InspectionState};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::task::Task;
use crate::domain::timing::Timing;
use crate::domain::upgrade::Wishes;

/// The instance that is named, of PostgreSQL.
async fn postgresql(call: &Call, instance: &str) -> Result<Instance, VendorError> {
    let it = named(call, instance).await?;
    match it.shown_version().engine {
        EngineKind::Postgresql => Ok(it),
        EngineKind::Mysql | EngineKind::MariaDb => {
            Err(VendorError::unsupported("The operation is for PostgreSQL."))
        }
    }
}

/// The instance that is named, of MySQL or MariaDB.
async fn mysql(call: &Call, instance: &str) -> Result<Instance, VendorError> {
    let it = named(call, instance).await?;
    match it.shown_version().engine {
        EngineKind::Mysql | EngineKind::MariaDb => Ok(it),
        EngineKind::Postgresql => Err(VendorError::unsupported("The operation is for MySQL and MariaDB.")),
    }
}

/// The version that the body names as its target, if it names one.
fn wanted(call: &Call) -> Result<Option<&str>, VendorError> {
    call.body.text("target_version")
}

/// One of the versions that the instance can go to: the one that is named, or the next.
async fn target(call: &Call, it: &Instance, name: Option<&str>) -> Result<DatastoreVersion, VendorError> {
    let all = inspections::majors(&call.state.commands.db, &call.caller, it.id).await?;
    let names: Vec<String> = all.iter().map(|version| version.name.clone()).collect();
    let found = all.into_iter().find(|version| name.is_none_or(|name| name == version.name));
    found.ok_or_else(|| match &names[..] {
        [] => VendorError::unsupported("There is no newer version that the instance can be upgraded to."),
        names => VendorError::new(
            400,
            "DBS.200041",
            format!("target_version must be one of {}.", names.join(", ")),
        ),
    })
}

async fn inspections(call: &Call, it: &Instance) -> Result<Vec<Inspection>, VendorError> {
    Ok(inspections::list(&call.state.commands.db, &call.caller, it.id).await?)
}

const fn result(state: InspectionState) -> &'static str {
    match state {
        InspectionState::Running => "running",
        InspectionState::Passed => "success",
        InspectionState::Failed => "failed",
    }
}

/// `GET …/major-version/available-version`.
pub async fn available(call: &Call, instance: &str) -> Answer {
    let it = postgresql(call, instance).await?;
    allow(&call.caller, Rule::InstanceRead)?;
    let all = inspections::majors(&call.state.commands.db, &call.caller, it.id).await?;
    let names: Vec<&str> = all.iter().map(|version| version.name.as_str()).collect();
    ok(json!({"available_versions": names}))
}

/// `POST …/major-version/inspection`.
pub async fn inspect(call: &Call, instance: &str) -> Answer {
    let name = Body::needed("target_version", "a version, 17 for example", wanted(call)?)?;
    let it = postgresql(call, instance).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(&it)?;
    let target = target(call, &it, Some(name)).await?;
    let made = call.state.commands.inspect(&call.caller, it.id, &target, Wishes::default()).await?;
    ok(json!({"report_id": made.id.to_string()}))
}

/// `GET …/major-version/inspection-histories`.
pub async fn inspections_of(call: &Call, instance: &str) -> Answer {
    let query = &call.query;
    let page = query.page(10, 100)?;
    let ascending = query.word("order", &["ASC", "DESC"])? == Some("ASC");
    query.word("sort_field", &["check_time", "expiration_time", "target_version", "result"])?;
    let by = query.text("sort_field")?.unwrap_or("check_time").to_owned();
    let target = query.text("target_version")?;
    let is_available = query.flag("is_available")?;
    let it = postgresql(call, instance).await?;
    let mut found = inspections(call, &it).await?;
    found.retain(|made| {
        target.is_none_or(|target| target == made.target)
            && is_available.is_none_or(|is| is == made.is_available(call.now))
    });
    match by.as_str() {
        "target_version" => found.sort_by(|a, b| order(&b.target, &a.target)),
        "result" => found.sort_by_key(|made| std::cmp::Reverse(result(made.state))),
        // An inspection counts for the same time whenever it was made.
        _time => {}
    }
    if ascending {
        found.reverse();
    }
    let lines: Vec<Value> = found
        .iter()
        .map(|made| {
            json!({
                "id": made.id.to_string(),
                "check_time": moment(made.checked_at),
                "expiration_time": moment(made.expires_at),
                "target_version": made.target,
                "result": result(made.state),
                "detail": made.detail,
            })
        })
        .collect();
    ok(json!({"total_count": lines.len(), "inspection_reports": page.take(lines)}))
}

/// `POST …/major-version/upgrade`.
pub async fn upgrade(call: &Call, instance: &str) -> Answer {
    let name = Body::needed("target_version", "a version, 17 for example", wanted(call)?)?;
    let moves = call.body.flag("is_change_private_ip")?;
    let moves = Body::needed("is_change_private_ip", "true or false", moves)?;
    let statistics = call.body.text("statistics_collection_mode")?;
    if statistics.is_some_and(|mode| !["before_change_private_ip", "after_change_private_ip"].contains(&mode))
    {
        let expected = "before_change_private_ip or after_change_private_ip";
        return Err(VendorError::invalid("statistics_collection_mode", expected));
    }
    if moves && statistics.is_none() {
        let expected = "given where is_change_private_ip is true";
        return Err(VendorError::invalid("statistics_collection_mode", expected));
    }
    if !moves {
        let expected = "true: the same instance is upgraded, and its address leads to the new version";
        return Err(VendorError::invalid("is_change_private_ip", expected));
    }
    let statistics = statistics.map(str::to_owned);
    let it = postgresql(call, instance).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(&it)?;
    let target = target(call, &it, Some(name)).await?;
    let from = it.shown_version().id;
    let all = inspections(call, &it).await?;
    let Some(passed) = all.iter().find(|made| made.allows(from, &target.name, call.now)) else {
        let still = match all.iter().any(|made| made.is_awaited(from, &target.name)) {
            true => " One is running.",
            false => "",
        };
        let text = format!(
            "An upgrade to {name} needs an inspection for it that has passed and has not expired.{still}"
        );
        return Err(VendorError::new(400, "DBS.200086", text));
    };
    let task = begin(call, &it, &target, Timing::Now, true).await?;
    inspections::used(&call.state.commands.db, passed.id, task, statistics).await;
    accepted(json!({"job_id": task.to_string()}))
}

/// The major upgrades of an instance, the newest in front, each with the versions that it goes from and to.
async fn upgrades(call: &Call, it: &Instance) -> Result<Vec<(Task, (String, String))>, VendorError> {
    let mut seen = jobs::upgrades(call, Some(it.id)).await?;
    let mut tasks = std::mem::take(&mut seen.tasks);
    tasks.retain(|task| !seen.is_minor(task));
    Ok(tasks.into_iter().map(|task| (seen.series(&task), task)).map(|(ends, task)| (task, ends)).collect())
}

fn upgrade_result(task: &Task) -> &'static str {
    match jobs::status(task) {
        "Completed" => "success",
        "Failed" => "failed",
        _running => "running",
    }
}

/// `GET …/major-version/status`.
pub async fn status(call: &Call, instance: &str) -> Answer {
    let action = call.query.word("action", &["check", "upgrade"])?;
    let action = action.ok_or_else(|| VendorError::invalid("action", "given: check or upgrade"))?;
    let it = postgresql(call, instance).await?;
    let none = || VendorError::new(400, "DBS.200543", format!("There was no {action} of the instance."));
    if action == "check" {
        let all = inspections(call, &it).await?;
        let made = all.first().ok_or_else(none)?;
        return ok(json!({
            "status": result(made.state),
            "target_version": made.target,
            "start_time": moment(made.checked_at),
            "check_expiration_time": moment(made.expires_at),
            "detail": made.detail,
        }));
    }
    let all = upgrades(call, &it).await?;
    let (task, (_, to)) = all.first().ok_or_else(none)?;
    ok(json!({
        "status": upgrade_result(task),
        "target_version": to,
        "start_time": moment(began(task)),
        "detail": fail_reason(task),
    }))
}

/// `GET …/major-version/upgrade-histories`.
pub async fn history(call: &Call, instance: &str) -> Answer {
    let page = call.query.page(10, 100)?;
    let ascending = call.query.word("order", &["ASC", "DESC"])? == Some("ASC");
    call.query.word("sort_field", &["start_time"])?;
    let it = postgresql(call, instance).await?;
    let mut tasks = upgrades(call, &it).await?;
    if ascending {
        tasks.reverse();
    }
    let made = inspections(call, &it).await?;
    let name = names::instance(&it);
    let lines: Vec<Value> = tasks
        .iter()
        .map(|(task, (from, to))| {
            let done = upgrade_result(task) == "success";
            let of = made.iter().find(|made| made.task == Some(task.id));
            json!({
                "id": task.id.to_string(),
                "start_time": moment(began(task)),
                "end_time": ended(task),
                "src_instance_id": name,
                "src_database_version": from,
                "dst_instance_id": name,
                "dst_database_version": to,
                "result": upgrade_result(task),
                "is_private_ip_changed": done,
                "private_ip_change_time": if done { ended(task) } else { String::new() },
                "statistics_collection_mode": of.and_then(|made| made.statistics.clone()).unwrap_or_default(),
                "detail": fail_reason(task),
            })
        })
        .collect();
    ok(json!({"total_count": lines.len(), "upgrade_reports": page.take(lines)}))
}

/// `PUT …/upgrade-version/precheck`.
pub async fn pre_check(call: &Call, instance: &str) -> Answer {
    let name = wanted(call)?;
    let it = mysql(call, instance).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(&it)?;
    let target = target(call, &it, name).await?;
    let made = call.state.commands.inspect(&call.caller, it.id, &target, Wishes::default()).await?;
    ok(json!({"workflow_id": made.id.to_string()}))
}

/// `GET …/upgrade-version/precheck-result`.
pub async fn pre_check_result(call: &Call, instance: &str) -> Answer {
    let it = mysql(call, instance).await?;
    let all = inspections(call, &it).await?;
    let made = all
        .first()
        .ok_or_else(|| VendorError::new(400, "DBS.200543", "There was no check of the instance."))?;
    // Neither of the vendor's two codes says that it runs.
    let code = match made.state {
        InspectionState::Running => None,
        InspectionState::Passed => Some(0),
        InspectionState::Failed => Some(1),
    };
    ok(json!({
        "result_code": code,
        "status": result(made.state),
        "updated_at": moment(made.checked_at),
        "display": true,
        "instance_status_check_list": [],
        "db_upgrade_precheck": {"result": code, "checks_performed": []},
        "detail": made.detail,
        "download_link": "",
    }))
}

/// `POST …/major-upgrade`: to the next version.
pub async fn upgrade_mysql(call: &Call, instance: &str) -> Answer {
    let delayed = call.body.flag("delay")?.unwrap_or(false);
    if call.body.text("configuration_id")?.is_some() {
        return Err(VendorError::invalid("configuration_id", "left out: there are no parameter templates"));
    }
    let it = mysql(call, instance).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(&it)?;
    let target = target(call, &it, None).await?;
    let timing = if delayed { Timing::Window } else { Timing::Now };
    let task = begin(call, &it, &target, timing, true).await?;
    accepted(json!({"job_id": task.to_string()}))
}
