//! Major and minor upgrades of an instance.

use serde_json::{Map, Value, json};

use crate::api::alibaba::wrong::Wrong;
use crate::api::alibaba::{Call, instances, names, object};
use crate::commands::policies;
use crate::commands::switches::SwitchRequest;
use crate::db::{self, task_numbers};
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::ids::TaskId;
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::minor::{are_builds_of_one, order};
use crate::domain::once::Once;
use crate::domain::policy::Rule;
use crate::domain::switch::Wishes;
use crate::domain::timing::{self, Timing, WrongTime};

/// What the vendor's documentation knows as a major version.
const DOCUMENTED: [&str; 4] = ["5.5", "5.6", "5.7", "8.0"];

/// The number of a task, as the vendor's clients get it.
pub async fn task_id(call: &Call, task: TaskId) -> Result<String, Wrong> {
    let found: Result<_, db::Error> =
        call.state.commands.db.read(move |conn| task_numbers::of(conn, &[task])).await;
    let number = found?.get(&task).copied();
    number.map(|number| number.to_string()).ok_or_else(Wrong::no_instance)
}

/// It must serve, and be nobody's replica nor have any.
pub fn ready(it: &Instance) -> Result<(), Wrong> {
    if it.state != InstanceState::Active {
        let text = "The operation is not permitted in the instance's current state.";
        return Err(Wrong::new(403, "IncorrectDBInstanceState", text));
    }
    if it.replica_of.is_some() || !it.replicas.is_empty() {
        let text = "Read-only instances of it must be upgraded first, or be of their own.";
        return Err(Wrong::new(403, "UnsupportedReadOrBakReadState", text));
    }
    Ok(())
}

async fn upgrade(
    call: &Call,
    it: &Instance,
    target: &DatastoreVersion,
    timing: Timing,
    once: Option<Once>,
) -> Result<TaskId, Wrong> {
    let request = SwitchRequest {
        version: target.id.0.to_string(),
        wishes: Wishes::default(),
        far: false,
        rename: None,
        timing,
        once,
    };
    begin(call, it, request).await
}

/// The same by a way that is wished for, over several hops where it must.
pub async fn upgrade_as(
    call: &Call,
    it: &Instance,
    target: &DatastoreVersion,
    wishes: Wishes,
    timing: Timing,
) -> Result<TaskId, Wrong> {
    let version = target.id.0.to_string();
    begin(call, it, SwitchRequest { version, wishes, far: true, rename: None, timing, once: None }).await
}

async fn begin(call: &Call, it: &Instance, request: SwitchRequest) -> Result<TaskId, Wrong> {
    let task = call.state.commands.upgrade_instance(&call.caller, it.id, request).await?;
    let text = "The instance has this version already.";
    task.ok_or_else(|| Wrong::new(403, "IncorrectEngineVersion", text))
}

/// `UpgradeDBInstanceEngineVersion`.
pub async fn engine_version(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let id = call.parameters.needed("DBInstanceId")?;
    let wanted = call.parameters.needed("EngineVersion")?;
    let when = call.parameters.word("EffectiveTime", &["Immediate", "MaintainTime"])?;
    let once =
        match call.parameters.text("ClientToken")? {
            None => None,
            Some(token) => {
                let request = json!({"DBInstanceId": id, "EngineVersion": wanted, "EffectiveTime": when});
                let once = Once::new("alibaba.UpgradeDBInstanceEngineVersion", token, &request);
                let fits = token.len() <= 64;
                Some(once.filter(|_| fits).ok_or_else(|| {
                    Wrong::invalid("ClientToken", "at most 64 characters of printable ASCII")
                })?)
            }
        };
    let before = call.state.commands.made_before(&call.caller, Rule::InstanceUpdate, once.as_ref()).await?;
    if let Some(task) = before {
        return Ok(object([("TaskId", task_id(call, task).await?.into())]));
    }
    let (it, catalogue) = instances::named(call, id).await?;
    let running = it.shown_version().clone();
    if !matches!(running.engine, EngineKind::Mysql | EngineKind::MariaDb) {
        let text =
            "The operation is for MySQL and MariaDB; see UpgradeDBInstanceMajorVersion for PostgreSQL.";
        return Err(Wrong::new(400, "EngineNotSupported", text));
    }
    let same_engine = |version: &&DatastoreVersion| version.engine == running.engine;
    let is_known = DOCUMENTED.contains(&wanted) || catalogue.versions().any(|version| version.name == wanted);
    if !is_known {
        let text = "The parameter EngineVersion is no version that is known.";
        return Err(Wrong::new(400, "InvalidEngineVersion.Malformed", text));
    }
    // A repeated call that comes while the first one is accepted is that one, and not refused for what it did.
    if once.is_none() {
        ready(&it)?;
    }
    let target = catalogue
        .versions()
        .filter(same_engine)
        .find(|version| version.datastore_id == running.datastore_id && version.name == wanted)
        .filter(|version| !are_builds_of_one(version, &running));
    let Some(target) = target else {
        ready(&it)?;
        let text = format!("An instance of {} cannot be upgraded to {wanted}.", running.name);
        return Err(Wrong::new(403, "IncorrectEngineVersion", text));
    };
    let timing = if when == "Immediate" { Timing::Now } else { Timing::Window };
    let task = upgrade(call, &it, target, timing, once).await?;
    Ok(object([("TaskId", task_id(call, task).await?.into())]))
}

/// `UpgradeDBInstanceKernelVersion`.
pub async fn kernel_version(call: &Call) -> Result<Map<String, Value>, Wrong> {
    let id = call.parameters.needed("DBInstanceId")?;
    let timing = match call.parameters.word("UpgradeTime", &["Immediate", "MaintainTime", "SpecifyTime"])? {
        "SpecifyTime" => {
            let at = call.parameters.moment("SwitchTime", "InvalidTime.Format")?;
            let at = at.ok_or_else(|| Wrong::missing("SwitchTime"))?;
            timing::at(at, None, call.now).map_err(|wrong| match wrong {
                WrongTime::Passed => Wrong::new(400, "StartTimeBeforeNow", "The SwitchTime has passed."),
                WrongTime::TooFar | WrongTime::Order => Wrong::invalid("SwitchTime", "a time within a year"),
            })?
        }
        "MaintainTime" => Timing::Window,
        _at_once => Timing::Now,
    };
    let wanted = call.parameters.text("TargetMinorVersion")?;
    let (it, catalogue) = instances::named(call, id).await?;
    ready(&it)?;
    let running = it.shown_version().clone();
    let latest = || {
        let text = "The instance has the newest minor version.";
        Wrong::new(400, "InvalidMinorVersionAlreadyLatest", text)
    };
    let target = match wanted {
        None => {
            policies::see(&call.state.commands.db, &call.caller, it.id).await?.newest.ok_or_else(latest)?
        }
        Some(wanted) => {
            let is_it = |version: &&DatastoreVersion| {
                are_builds_of_one(version, &running)
                    && (names::build(version) == wanted || version.number == wanted)
            };
            let found = catalogue.versions().find(is_it).cloned().ok_or_else(|| {
                // The vendor's spelling is part of the code.
                Wrong::new(400, "InvalidMinorVerison.NotFound", "The TargetMinorVersion does not exist.")
            })?;
            match order(&found.number, &running.number) {
                std::cmp::Ordering::Less => {
                    let text = "The TargetMinorVersion is older than the instance's.";
                    return Err(Wrong::new(400, "InvalidMinorVersionLowerThanInstance", text));
                }
                std::cmp::Ordering::Equal => return Err(latest()),
                std::cmp::Ordering::Greater => found,
            }
        }
    };
    let task = upgrade(call, &it, &target, timing, None).await?;
    Ok(object([
        ("DBInstanceName", names::instance(&it).into()),
        ("TargetMinorVersion", names::build(&target).into()),
        ("TaskId", task_id(call, task).await?.into()),
    ]))
}
