//! Instances as the vendor's clients see them, their window and their policy.

use std::sync::Arc;

use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use crate::api::alibaba::error::VendorError;
use crate::api::alibaba::parameters::Page;
use crate::api::alibaba::upgrades::idempotency_key;
use crate::api::alibaba::{Call, groups, moment, names, object};
use crate::api::vendor_reads::{Everything, is_minor};
use crate::commands::{policies, windows};
use crate::db::catalogue_cache::Catalogue;
use crate::db::{self, catalogue_cache, instances, tasks};
use crate::domain::build_upgrades::Policy;
use crate::domain::group::Group;
use crate::domain::ids::InstanceId;
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::window::{Window, clock, of_clock};

/// The one region.
pub const REGION: &str = "coffer-1";

/// Its one zone, of an instance that has no second member.
const ZONE: &str = "coffer-1-az1";

/// The instance that is named, for what a group does not have.
pub async fn alone(call: &Call, id: &str) -> Result<Instance, VendorError> {
    if groups::named(call, id).await?.is_some() {
        let text = "The operation is not for instances with a standby.";
        return Err(VendorError::new(403, "IncorrectDBInstanceType", text));
    }
    named(call, id).await.map(|(it, _)| it)
}

/// The instance that is named, and what it is seen against. A member of a group has no name of its own.
pub async fn named(call: &Call, id: &str) -> Result<(Instance, Arc<Catalogue>), VendorError> {
    let id = names::instance_of(id).ok_or_else(VendorError::no_instance)?;
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| instances::find_shown(conn, id)).await;
    let is_it = |(it, _): &(Instance, _)| call.caller.sees(&it.project) && it.member.is_none();
    found?.filter(is_it).ok_or_else(VendorError::no_instance)
}

fn view(it: &Instance, is_minor: bool) -> Map<String, Value> {
    let version = it.shown_version();
    let replicas: Vec<Value> =
        it.replicas.iter().map(|id| json!({"DBInstanceId": names::instance(*id)})).collect();
    object([
        ("DBInstanceId", names::instance(it.id).into()),
        ("DBInstanceDescription", it.name.clone().into()),
        ("DBInstanceStatus", names::status(it, is_minor).into()),
        ("DBInstanceType", if it.replica_of.is_some() { "Readonly" } else { "Primary" }.into()),
        ("Category", "Basic".into()),
        ("MasterInstanceId", it.replica_of.map(names::instance).unwrap_or_default().into()),
        ("GuardDBInstanceId", "".into()),
        ("ZoneId", ZONE.into()),
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
pub async fn list(call: &Call) -> Result<Map<String, Value>, VendorError> {
    allow(&call.caller, Rule::InstanceRead)?;
    let page = Page::of(&call.parameters, 30, (1, 100))?;
    // In place of the page: so many, from the one that the token before has told.
    let most = call.parameters.text("MaxResults")?;
    let most = most.map(|_| call.parameters.number("MaxResults", 30, (1, 100))).transpose()?;
    let from = call.parameters.number("NextToken", 0, (0, 1_000_000))?;
    let kinds = ["Primary", "Readonly", "Guard", "Temp"];
    call.parameters.word("DBInstanceType", &kinds)?;
    let mut wanted = Vec::new();
    for name in ["DBInstanceId", "Engine", "EngineVersion", "DBInstanceStatus", "DBInstanceType"] {
        if let Some(text) = call.parameters.text(name)? {
            let meant = (name == "DBInstanceId").then(|| names::instance_of(text)).flatten();
            wanted.push((name, meant.map_or_else(|| text.to_owned(), names::instance)));
        }
    }
    let part = call.parameters.text("SearchKey")?;
    let project = call.caller.project.clone();
    let read: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| Everything::read(conn, &project)).await;
    let all = read?;
    let mut found = Vec::new();
    let minor = |id: InstanceId| {
        let of = all.upgrades.get(&id).zip(all.catalogue.as_ref());
        of.is_some_and(|(task, catalogue)| is_minor(task, catalogue))
    };
    let of_instances = all.instances.iter().map(|it| (it.id, &it.name, view(it, minor(it.id))));
    let of_groups = all.groups.iter().map(|group| {
        let id = group.id.address();
        (id, &group.name, groups::view(group, minor(id)))
    });
    for (id, its_name, view) in of_instances.chain(of_groups) {
        let is = |(name, value): &(&str, String)| view.get(*name).and_then(Value::as_str) == Some(value);
        let has = |part: &str| its_name.contains(part) || names::instance(id).contains(part);
        if wanted.iter().all(is) && part.is_none_or(has) {
            found.push(Value::Object(view));
        }
    }
    let total = found.len();
    let (shown, next) = match most {
        None => (page.take(found), String::new()),
        Some(most) => {
            let shown: Vec<Value> = found.into_iter().skip(from).take(most).collect();
            let next = from.saturating_add(shown.len());
            (shown, if next < total { next.to_string() } else { String::new() })
        }
    };
    Ok(object([
        ("PageNumber", page.number.into()),
        ("PageRecordCount", shown.len().into()),
        ("TotalRecordCount", total.into()),
        ("NextToken", next.into()),
        ("Items", json!({"DBInstance": shown})),
    ]))
}

/// `DescribeDBInstanceAttribute`.
pub async fn show(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let asked = call.parameters.needed("DBInstanceId")?;
    let group = groups::named(call, asked).await?;
    let (it, catalogue) = match group.as_ref().and_then(Group::primary) {
        Some(primary) => {
            let known: Result<_, db::Error> = call.state.commands.db.run(catalogue_cache::now).await;
            (primary.clone(), known?)
        }
        None => named(call, asked).await?,
    };
    allow(&call.caller, Rule::InstanceRead)?;
    let db = &call.state.commands.db;
    let (id, of) = (it.id, Arc::clone(&catalogue));
    let task: Result<_, db::Error> = db.run(move |conn| tasks::upgrades(conn, None, Some(id))).await;
    let minor = task?.first().is_some_and(|task| is_minor(task, &of));
    let window = windows::see(db, &call.caller, Some(id)).await?;
    let policy = policies::see(db, &call.caller, id).await?;
    let version = it.shown_version();
    let newest = policy.newest.as_ref().unwrap_or(version);
    let mut view = match &group {
        Some(group) => groups::view(group, minor),
        None => view(&it, minor),
    };
    let address = group.as_ref().map_or(&it.address, |group| &group.address);
    view.extend(object([
        ("CurrentKernelVersion", names::build(version).into()),
        ("LatestKernelVersion", names::build(newest).into()),
        ("MaintainTime", maintain_time(&window.window, call).into()),
        ("AutoUpgradeMinorVersion", if policy.policy == Policy::Off { "Manual" } else { "Auto" }.into()),
        ("Port", version.engine.standard_port().to_string().into()),
        ("ConnectionString", address.clone().unwrap_or_default().into()),
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
pub async fn set_window(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    let text = call.parameters.needed("MaintainTime")?;
    let minute = |part: &str| part.strip_suffix('Z').filter(|clock| clock.len() == 5).and_then(of_clock);
    let window = text
        .split_once('-')
        .and_then(|(from, to)| Window::daily(minute(from)?, minute(to)?, Tz::UTC).ok())
        .ok_or_else(|| VendorError::invalid("MaintainTime", "HH:mmZ-HH:mmZ, 22:00Z-02:00Z for example"))?;
    // Whatever is set is set once.
    idempotency_key(call, "alibaba.ModifyDBInstanceMaintainTime", &Value::Null)?;
    // Each member's, since the one that is the primary when it opens counts.
    let members = match groups::named(call, id).await? {
        Some(group) => group.members.iter().map(|member| member.id).collect(),
        None => vec![named(call, id).await?.0.id],
    };
    for member in members {
        windows::set(&call.state.commands.db, &call.caller, Some(member), Some(window)).await?;
    }
    Ok(Map::new())
}

/// `ModifyDBInstanceAutoUpgradeMinorVersion`.
pub async fn set_policy(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    call.parameters.needed("AutoUpgradeMinorVersion")?;
    let policy = match call.parameters.word("AutoUpgradeMinorVersion", &["Auto", "Manual"])? {
        "Auto" => Policy::Window,
        _manual => Policy::Off,
    };
    idempotency_key(call, "alibaba.ModifyDBInstanceAutoUpgradeMinorVersion", &Value::Null)?;
    let it = alone(call, id).await?;
    policies::set(&call.state.commands.db, &call.caller, it.id, policy).await?;
    Ok(Map::new())
}
