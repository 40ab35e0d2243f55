//! Groups, of which each is one instance to the vendor's clients, with a node in each of its zones.

use serde_json::{Map, Value, json};

use crate::api::alibaba::error::VendorError;
use crate::api::alibaba::instances::REGION;
use crate::api::alibaba::upgrades::task_id;
use crate::api::alibaba::{Call, moment, names, object};
use crate::api::vendor_reads::Upgrades;
use crate::commands;
use crate::commands::groups::{Target, UpgradeGroup};
use crate::db::{self, catalogue_cache, groups};
use crate::domain::build_upgrades::are_builds_of_one;
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::group::{Group, MemberRole};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{GroupId, TaskId};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::timing::Timing;

/// The group that is named, where it is one.
pub async fn named(call: &Call, id: &str) -> Result<Option<Group>, VendorError> {
    let Some(id) = names::instance_of(id) else { return Ok(None) };
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| groups::find(conn, GroupId(id.0))).await;
    Ok(found?.filter(|group| call.caller.sees(&group.project)))
}

/// As an instance in a list.
pub fn view(group: &Group, is_minor: bool) -> Map<String, Value> {
    let version = group.shown_version();
    let zone = group.roles().next().map(|(_, _, zone)| zone.to_owned()).unwrap_or_default();
    object([
        ("DBInstanceId", names::instance(group.id.address()).into()),
        ("DBInstanceDescription", group.name.clone().into()),
        ("DBInstanceStatus", names::group_status(group, is_minor).into()),
        ("DBInstanceType", "Primary".into()),
        ("Category", "HighAvailability".into()),
        ("MasterInstanceId", "".into()),
        ("GuardDBInstanceId", "".into()),
        ("ZoneId", zone_id(&zone).into()),
        ("ReadOnlyDBInstanceIds", json!({"ReadOnlyDBInstanceId": []})),
        ("Engine", names::engine(version.engine).into()),
        ("EngineVersion", version.engine.series(&version.number).into()),
        ("RegionId", REGION.into()),
        ("LockMode", "Unlock".into()),
        ("PayType", "Postpaid".into()),
        ("CreateTime", moment(group.created_at).into()),
    ])
}

fn zone_id(zone: &str) -> String {
    format!("{REGION}-{zone}")
}

/// `DescribeDBInstanceHAConfig`: its nodes.
pub async fn nodes(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    let group = needed(call, id).await?;
    allow(&call.caller, Rule::InstanceRead)?;
    let nodes: Vec<Value> = group
        .roles()
        .map(|(role, member, zone)| {
            json!({
                "NodeId": member.id.0.as_simple().to_string(),
                "NodeType": match role { MemberRole::Primary => "Master", MemberRole::Standby => "Slave" },
                "RegionId": REGION,
                "ZoneId": zone_id(zone),
                "SyncStatus": "",
                "DataSyncTime": "",
                "LogSyncTime": "",
            })
        })
        .collect();
    Ok(object([
        ("DBInstanceId", names::instance(group.id.address()).into()),
        ("HAMode", "RPO".into()),
        ("SyncMode", "Async".into()),
        ("HostInstanceInfos", json!({"NodeInfo": nodes})),
    ]))
}

/// The group that is named, which an instance alone is not.
async fn needed(call: &Call, id: &str) -> Result<Group, VendorError> {
    if let Some(group) = named(call, id).await? {
        return Ok(group);
    }
    super::instances::named(call, id).await?;
    Err(VendorError::new(403, "IncorrectDBInstanceType", "The instance has no standby."))
}

/// `SwitchDBInstanceHA`. It never loses a write, so `Force` changes nothing.
pub async fn switch(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    let node = call.parameters.needed("NodeId")?;
    call.parameters.word("Force", &["No", "Yes"])?;
    if call.parameters.word("EffectiveTime", &["Immediate", "MaintainTime"])? == "MaintainTime" {
        return Err(VendorError::invalid("EffectiveTime", "Immediate: a switch cannot wait for its time"));
    }
    let group = needed(call, id).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    let is_it = |id: &str| id == node;
    match (group.primary(), group.standby()) {
        (_, Some(standby)) if is_it(&standby.id.0.as_simple().to_string()) => {}
        (_, _) => {
            return Err(VendorError::invalid(
                "NodeId",
                "the node that is the standby now: see DescribeDBInstanceHAConfig",
            ));
        }
    }
    call.state.commands.fail_group_over(&call.caller, group.id).await?;
    Ok(Map::new())
}

/// Has a group upgraded to the version of this name.
pub async fn to_version(
    call: &Call,
    group: &Group,
    wanted: &str,
    (timing, idempotency_key): (Timing, Option<IdempotencyKey>),
) -> Result<TaskId, VendorError> {
    allow(&call.caller, Rule::InstanceUpdate)?;
    let running = group.shown_version();
    if !matches!(running.engine, EngineKind::Mysql | EngineKind::MariaDb) {
        let text =
            "The operation is for MySQL and MariaDB; see UpgradeDBInstanceMajorVersion for PostgreSQL.";
        return Err(VendorError::new(400, "EngineNotSupported", text));
    }
    let (datastore, version) = (running.datastore_id.to_string(), wanted.to_owned());
    let target = Target::Named { datastore, version };
    let request = UpgradeGroup { target, second_switch: true, timing, idempotency_key };
    let (_, task) = call.state.commands.upgrade_group(&call.caller, group.id, request).await?;
    Ok(task)
}

/// `UpgradeDBInstanceKernelVersion` of a group.
pub async fn kernel_version(
    call: &Call,
    group: &Group,
    wanted: Option<&str>,
    timing: Timing,
) -> Result<Map<String, Value>, VendorError> {
    allow(&call.caller, Rule::InstanceUpdate)?;
    let running = group.shown_version();
    let target = match wanted {
        None => Target::Newest,
        Some(wanted) => {
            let known: Result<_, db::Error> = call.state.commands.db.run(catalogue_cache::now).await;
            let is_it = |version: &&DatastoreVersion| {
                are_builds_of_one(version, running)
                    && version.active
                    && (names::build(version) == wanted || version.number == wanted)
            };
            let catalogue = known?;
            let found = catalogue.versions().find(is_it).ok_or_else(|| {
                // The vendor's spelling is part of the code.
                VendorError::new(
                    400,
                    "InvalidMinorVerison.NotFound",
                    "The TargetMinorVersion does not exist.",
                )
            })?;
            Target::Named { datastore: found.datastore_id.to_string(), version: found.id.to_string() }
        }
    };
    let request = UpgradeGroup { target, second_switch: true, timing, idempotency_key: None };
    let accepted = call.state.commands.upgrade_group(&call.caller, group.id, request).await;
    let task = match accepted {
        Ok((_, task)) => task,
        Err(commands::Error::Refused(Refusal::NoRolling { .. })) => {
            let text = "The instance has the newest minor version.";
            return Err(VendorError::new(400, "InvalidMinorVersionAlreadyLatest", text));
        }
        Err(error) => return Err(error.into()),
    };
    let to = target_of(call, task).await?;
    Ok(object([
        ("DBInstanceName", names::instance(group.id.address()).into()),
        ("TargetMinorVersion", to.into()),
        ("TaskId", task_id(call, task).await?.into()),
    ]))
}

/// The name of the build that an upgrade goes to.
async fn target_of(call: &Call, task: TaskId) -> Result<String, VendorError> {
    let now = call.now;
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| {
            let task = db::tasks::find(conn, task)?;
            Upgrades::of(conn, task.into_iter().collect(), now)
        })
        .await;
    let seen = read?;
    Ok(seen.tasks.first().and_then(|task| seen.target(task)).map(names::build).unwrap_or_default())
}
