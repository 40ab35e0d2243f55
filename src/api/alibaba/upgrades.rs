//! Major and minor upgrades of an instance.

use serde_json::{Map, Value, json};

use crate::api::alibaba::error::VendorError;
use crate::api::alibaba::{Call, groups, instances, names, object};
use crate::commands::policies;
use crate::commands::upgrades::UpgradeRequest;
use crate::db::{self, catalogue_cache, task_numbers, tasks};
use crate::domain::build_upgrades::{are_builds_of_one, order};
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::TaskId;
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::matrix::Path;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::timing::{self, Timing, WrongTime};
use crate::domain::upgrade::Wishes;

/// What the vendor's documentation knows as a major version.
const DOCUMENTED: [&str; 4] = ["5.5", "5.6", "5.7", "8.0"];

/// The number of a task, as the vendor's clients get it.
pub async fn task_id(call: &Call, task: TaskId) -> Result<String, VendorError> {
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| task_numbers::of(conn, &[task])).await;
    let number = found?.get(&task).copied();
    number.map(|number| number.to_string()).ok_or_else(VendorError::no_instance)
}

/// It must be of a kind that is upgraded by itself, serve, wait for no other upgrade, and have no replica.
pub async fn ready(call: &Call, it: &Instance) -> Result<(), VendorError> {
    if it.replica_of.is_some() {
        let text = "The instance replicates from another: what is upgraded is that one, or this one when it is detached.";
        return Err(VendorError::new(403, "IncorrectDBInstanceType", text));
    }
    if it.state != InstanceState::Active {
        let text = "The operation is not permitted in the instance's current state.";
        return Err(VendorError::new(403, "IncorrectDBInstanceState", text));
    }
    let id = it.id;
    let planned: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| tasks::planned(conn, id)).await;
    if let Some(task) = planned? {
        return Err(Refusal::UpgradePlanned { id, task }.into());
    }
    if !it.replicas.is_empty() {
        let text = "The instance has read-only instances, which have to be detached or deleted first.";
        return Err(VendorError::new(403, "UnsupportedReadOrBakReadState", text));
    }
    Ok(())
}

/// Has the instance upgraded by a way that is wished for, over several hops where it must.
pub async fn upgrade(
    call: &Call,
    it: &Instance,
    target: &DatastoreVersion,
    (wishes, timing): (Wishes, Timing),
    idempotency_key: Option<IdempotencyKey>,
) -> Result<TaskId, VendorError> {
    let version = target.id.0.to_string();
    let request = UpgradeRequest { version, wishes, far: true, rename: None, timing, idempotency_key };
    let task = call.state.commands.upgrade_instance(&call.caller, it.id, request).await?;
    let text = "The instance has this version already.";
    task.ok_or_else(|| VendorError::new(403, "IncorrectEngineVersion", text))
}

/// A token of a call, which is made once with it; `request` is what the call asks for.
pub fn idempotency_key(
    call: &Call,
    of: &'static str,
    request: &Value,
) -> Result<Option<IdempotencyKey>, VendorError> {
    let Some(token) = call.parameters.text("ClientToken")? else { return Ok(None) };
    let idempotency_key = IdempotencyKey::new(of, token, request).filter(|_| token.len() <= 64);
    let error = || VendorError::invalid("ClientToken", "at most 64 characters of printable ASCII");
    idempotency_key.map(Some).ok_or_else(error)
}

/// `UpgradeDBInstanceEngineVersion`.
pub async fn engine_version(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    let wanted = call.parameters.needed("EngineVersion")?;
    let when = call.parameters.word("EffectiveTime", &["Immediate", "MaintainTime"])?;
    // One instance has several spellings.
    let meant = names::instance_of(id).map_or_else(|| id.to_owned(), names::instance);
    let request = json!({"DBInstanceId": meant, "EngineVersion": wanted, "EffectiveTime": when});
    let idempotency_key = idempotency_key(call, "alibaba.UpgradeDBInstanceEngineVersion", &request)?;
    let known: Result<_, db::Error> = call.state.commands.db.run(catalogue_cache::now).await;
    if !DOCUMENTED.contains(&wanted) && known?.versions().all(|version| version.name != wanted) {
        let text = "The parameter EngineVersion is no version that is known.";
        return Err(VendorError::new(400, "InvalidEngineVersion.Malformed", text));
    }
    let before =
        || call.state.commands.earlier_task(&call.caller, Rule::InstanceUpdate, idempotency_key.as_ref());
    if let Some(task) = before().await? {
        return Ok(object([("TaskId", task_id(call, task).await?.into())]));
    }
    let timing = if when == "Immediate" { Timing::Now } else { Timing::Window };
    let done = match to_version(call, id, wanted, (timing, idempotency_key.clone())).await {
        // The same request may have been accepted since: what it changed is no reason to refuse this one.
        Err(error) => before().await?.ok_or(error),
        done => done,
    };
    Ok(object([("TaskId", task_id(call, done?).await?.into())]))
}

/// Has an instance upgraded to the version of this name, which is one step away.
async fn to_version(
    call: &Call,
    id: &str,
    wanted: &str,
    (timing, idempotency_key): (Timing, Option<IdempotencyKey>),
) -> Result<TaskId, VendorError> {
    if let Some(group) = groups::named(call, id).await? {
        return groups::to_version(call, &group, wanted, (timing, idempotency_key)).await;
    }
    let (it, catalogue) = instances::named(call, id).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    let running = it.shown_version().clone();
    if !matches!(running.engine, EngineKind::Mysql | EngineKind::MariaDb) {
        let text =
            "The operation is for MySQL and MariaDB; see UpgradeDBInstanceMajorVersion for PostgreSQL.";
        return Err(VendorError::new(400, "EngineNotSupported", text));
    }
    ready(call, &it).await?;
    // From what runs, or from another build of it, which is on the way then.
    let is_of_it = |id| {
        let from = catalogue.version(id);
        id == running.id || from.is_some_and(|from| are_builds_of_one(from, &running))
    };
    let is_a_step = |version: &&DatastoreVersion| {
        let leads = |path: &Path| path.enabled && path.to.id == version.id && is_of_it(path.from);
        version.active && !are_builds_of_one(version, &running) && catalogue.paths.iter().any(leads)
    };
    let target = catalogue
        .versions()
        .filter(|version| version.datastore_id == running.datastore_id && version.name == wanted)
        .find(is_a_step);
    let Some(target) = target else {
        let text = format!("An instance of {} cannot be upgraded to {wanted}.", running.name);
        return Err(VendorError::new(403, "IncorrectEngineVersion", text));
    };
    upgrade(call, &it, target, (Wishes::default(), timing), idempotency_key).await
}

/// When a call asks for: at once, in the window, or at its `SwitchTime`.
pub fn timing(call: &Call, name: &str) -> Result<Timing, VendorError> {
    match call.parameters.word(name, &["Immediate", "MaintainTime", "SpecifyTime"])? {
        "SpecifyTime" => {
            let at = call.parameters.moment("SwitchTime", "InvalidTime.Format")?;
            let at = at.ok_or_else(|| VendorError::missing("SwitchTime"))?;
            timing::at(at, None, call.now).map_err(|error| match error {
                WrongTime::Passed => {
                    VendorError::new(400, "StartTimeBeforeNow", "The SwitchTime has passed.")
                }
                WrongTime::TooFar | WrongTime::Order => {
                    VendorError::invalid("SwitchTime", "a time within a year")
                }
            })
        }
        "MaintainTime" => Ok(Timing::Window),
        _at_once => Ok(Timing::Now),
    }
}

/// `UpgradeDBInstanceKernelVersion`.
pub async fn kernel_version(call: &Call) -> Result<Map<String, Value>, VendorError> {
    let id = call.parameters.needed("DBInstanceId")?;
    let timing = timing(call, "UpgradeTime")?;
    let wanted = call.parameters.text("TargetMinorVersion")?;
    if let Some(group) = groups::named(call, id).await? {
        return groups::kernel_version(call, &group, wanted, timing).await;
    }
    let (it, catalogue) = instances::named(call, id).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    ready(call, &it).await?;
    let running = it.shown_version().clone();
    let latest = || {
        let text = "The instance has the newest minor version.";
        VendorError::new(400, "InvalidMinorVersionAlreadyLatest", text)
    };
    let target = match wanted {
        None => {
            policies::see(&call.state.commands.db, &call.caller, it.id).await?.newest.ok_or_else(latest)?
        }
        Some(wanted) => {
            let is_it = |version: &&DatastoreVersion| {
                are_builds_of_one(version, &running)
                    && (version.active || version.id == running.id)
                    && (names::build(version) == wanted || version.number == wanted)
            };
            let found = catalogue.versions().find(is_it).cloned().ok_or_else(|| {
                // The vendor's spelling is part of the code.
                VendorError::new(
                    400,
                    "InvalidMinorVerison.NotFound",
                    "The TargetMinorVersion does not exist.",
                )
            })?;
            match order(&found.number, &running.number) {
                std::cmp::Ordering::Less => {
                    let text = "The TargetMinorVersion is older than the instance's.";
                    return Err(VendorError::new(400, "InvalidMinorVersionLowerThanInstance", text));
                }
                std::cmp::Ordering::Equal => return Err(latest()),
                std::cmp::Ordering::Greater => found,
            }
        }
    };
    let task = upgrade(call, &it, &target, (Wishes::default(), timing), None).await?;
    Ok(object([
        ("DBInstanceName", names::instance(it.id).into()),
        ("TargetMinorVersion", names::build(&target).into()),
        ("TaskId", task_id(call, task).await?.into()),
    ]))
}
