//! Instances as the vendor's clients see them, their window and their policy.

use std::sync::Arc;

use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use crate::api::alibaba::parameters::Page;
use crate::api::alibaba::wrong::Wrong;
use crate::api::alibaba::{Call, moment, names, object};
use crate::api::seen::{Everything, is_minor};
use crate::commands::{policies, windows};
use crate::db::known::Catalogue;
use crate::db::{self, instances, tasks};
use crate::domain::instance::Instance;
use crate::domain::minor::Policy;
use crate::domain::policy::{Rule, allow};
use crate::domain::window::{Window, clock, of_clock};

/// The one region.
pub const REGION: &str = "coffer-1";

/// The instance that is named, and what it is seen against.
pub async fn named(call: &Call, id: &str) -> Result<(Instance, Arc<Catalogue>), Wrong> {
    let id = names::instance_of(id).ok_or_else(Wrong::no_instance)?;
    let found: Result<_, db::Error> =
        call.state.commands.db.read(move |conn| instances::find_shown(conn, id)).await;
    found?.filter(|(it, _)| call.caller.sees(&it.project)).ok_or_else(Wrong::no_instance)
}

fn view(it: &Instance, is_minor: bool) -> Map<String, Value> {
    let version = it.shown_version();
    let replicas: Vec<Value> = it
        .replicas
        .iter()
        .map(|id| json!({"DBInstanceId": names::instance_id(*id).replacen("rm-", "rr-", 1)}))
        .collect();
    object([
        ("DBInstanceId", names::instance(it).into()),
        ("DBInstanceDescription", it.name.clone().into()),
        ("DBInstanceStatus", names::status(it, is_minor).into()),
        ("DBInstanceType", if it.replica_of.is_some() { "Readonly" } else { "Primary" }.into()),
        ("MasterInstanceId", it.replica_of.map(names::instance_id).unwrap_or_default().into()),
        ("ReadOnlyDBInstanceIds", json!({"ReadOnlyDBInstanceId": replicas})),
        ("Engine", names::engine(version.engine).into()),
        ("EngineVersion", version.engine.series(&version.number).into()),
        ("RegionId", REGION.into()),
        ("LockMode", "Unlock".into()),
        ("PayType", "Postpaid".into()),
        ("CreateTime", moment(it.created_at).into()),
    ])
}

/// `DescribeDBInstances`.
pub async fn list(call: &Call) -> Result<Map<String, Value>, Wrong> {
    allow(&call.caller, Rule::InstanceRead)?;
    let page = Page::of(&call.parameters, 30, (1, 100))?;
    let project = call.caller.project.clone();
    let read: Result<_, db::Error> =
        call.state.commands.db.read(move |conn| Everything::read(conn, &project)).await;
    let all = read?;
    let mut found = Vec::new();
    for it in &all.instances {
        let minor = all.upgrades.get(&it.id).zip(all.catalogue.as_ref());
        let view = view(it, minor.is_some_and(|(task, catalogue)| is_minor(task, catalogue)));
        let mut fits = true;
        for name in ["DBInstanceId", "Engine", "EngineVersion", "DBInstanceStatus", "DBInstanceType"] {
            let wanted = call.parameters.text(name)?;
            fits &= wanted.is_none_or(|wanted| view.get(name).and_then(Value::as_str) == Some(wanted));
        }
        if let Some(part) = call.parameters.text("SearchKey")? {
            fits &= it.name.contains(part) || names::instance(it).contains(part);
        }
        if fits {
            found.push(Value::Object(view));
        }
    }
    let total = found.len();
    let shown = page.take(found);
    Ok(object([
        ("PageNumber", page.number.into()),
        ("PageRecordCount", shown.len().into()),
        ("TotalRecordCount", total.into()),
        ("NextToken", "".into()),
        ("Items", json!({"DBInstance": shown})),
    ]))
}

/// `DescribeDBInstanceAttribute`.
pub async fn show(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let (it, catalogue) = named(call, call.parameters.needed("DBInstanceId")?).await?;
    allow(&call.caller, Rule::InstanceRead)?;
    let db = &call.state.commands.db;
    let (id, of) = (it.id, Arc::clone(&catalogue));
    let task: Result<_, db::Error> = db.read(move |conn| tasks::list(conn, None, Some(id), None)).await;
    let minor = task?.first().is_some_and(|task| is_minor(task, &of));
    let window = windows::see(db, &call.caller, Some(id)).await?;
    let policy = policies::see(db, &call.caller, id).await?;
    let version = it.shown_version();
    let newest = policy.newest.as_ref().unwrap_or(version);
    let mut view = view(&it, minor);
    view.extend(object([
        ("CurrentKernelVersion", names::build(version).into()),
        ("LatestKernelVersion", names::build(newest).into()),
        ("MaintainTime", maintain_time(&window.window, call).into()),
        ("AutoUpgradeMinorVersion", if policy.policy == Policy::Off { "Manual" } else { "Auto" }.into()),
        ("Port", version.engine.standard_port().to_string().into()),
        ("ConnectionString", it.address.clone().unwrap_or_default().into()),
        ("CreationTime", moment(it.created_at).into()),
        ("DBInstanceStorage", it.volume_gb.into()),
        ("DBInstanceMemory", it.flavor.ram_mb.into()),
    ]));
    Ok(object([("Items", json!({"DBInstanceAttribute": [view]}))]))
}

/// The next time that the window opens, in UTC: its zone may be another.
fn maintain_time(window: &Window, call: &Call) -> String {
    match window.now_or_next(call.now) {
        Some(open) => format!("{}Z-{}Z", open.start.format("%H:%M"), open.end.format("%H:%M")),
        None => format!("{}Z-{}Z", clock(window.start()), clock(window.end())),
    }
}

/// `ModifyDBInstanceMaintainTime`.
pub async fn set_window(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let id = call.parameters.needed("DBInstanceId")?;
    let text = call.parameters.needed("MaintainTime")?;
    let minute = |part: &str| part.strip_suffix('Z').filter(|clock| clock.len() == 5).and_then(of_clock);
    let window = text
        .split_once('-')
        .and_then(|(from, to)| Window::daily(minute(from)?, minute(to)?, Tz::UTC).ok())
        .ok_or_else(|| Wrong::invalid("MaintainTime", "HH:mmZ-HH:mmZ, 22:00Z-02:00Z for example"))?;
    let (it, _) = named(call, id).await?;
    windows::set(&call.state.commands.db, &call.caller, Some(it.id), Some(window)).await?;
    Ok(Map::new())
}

/// `ModifyDBInstanceAutoUpgradeMinorVersion`.
pub async fn set_policy(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let id = call.parameters.needed("DBInstanceId")?;
    call.parameters.needed("AutoUpgradeMinorVersion")?;
    let policy = match call.parameters.word("AutoUpgradeMinorVersion", &["Auto", "Manual"])? {
        "Auto" => Policy::Window,
        _manual => Policy::Off,
    };
    let (it, _) = named(call, id).await?;
    policies::set(&call.state.commands.db, &call.caller, it.id, policy).await?;
    Ok(Map::new())
}
