//! Minor upgrades: to the newest build, now or in the instance's window.

use serde_json::json;

use crate::api::huawei::error::VendorError;
use crate::api::huawei::instances::{Named, found};
use crate::api::huawei::{Answer, Call, accepted};
use crate::commands;
use crate::commands::groups::{Target, UpgradeGroup};
use crate::commands::policies;
use crate::commands::upgrades::UpgradeRequest;
use crate::domain::build_upgrades::order;
use crate::domain::datastore::{DatastoreVersion, EngineKind};
use crate::domain::group::Group;
use crate::domain::ids::TaskId;
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::not_ready;
use crate::domain::timing::Timing;
use crate::domain::upgrade::Wishes;

/// The oldest PostgreSQL 11 that is upgraded.
const OLDEST_POSTGRESQL_11: &str = "11.2";

/// It must serve.
pub fn ready(it: &Instance) -> Result<(), VendorError> {
    match it.state {
        InstanceState::Active => Ok(()),
        InstanceState::Building
        | InstanceState::FeedingUpgrade
        | InstanceState::VerifyUpgrade
        | InstanceState::Detaching
        | InstanceState::Upgrading
        | InstanceState::Restarting
        | InstanceState::Resizing
        | InstanceState::Deleting
        | InstanceState::Deleted
        | InstanceState::Error => Err(not_ready(it).into()),
    }
}

/// Has the instance upgraded to a version of its datastore.
pub async fn upgrade(
    call: &Call,
    it: &Instance,
    target: &DatastoreVersion,
    timing: Timing,
    far: bool,
) -> Result<TaskId, VendorError> {
    let request = UpgradeRequest {
        version: target.id.0.to_string(),
        wishes: Wishes::default(),
        far,
        rename: None,
        timing,
        idempotency_key: None,
    };
    let task = call.state.commands.upgrade_instance(&call.caller, it.id, request).await?;
    task.ok_or_else(|| VendorError::unsupported("The instance has this version already."))
}

/// Whether the engine has such an upgrade, and one that is delayed where it is asked for.
fn can_be_asked(running: &DatastoreVersion, (delayed_by, delayed): (&str, bool)) -> Result<(), VendorError> {
    match running.engine {
        EngineKind::Mysql | EngineKind::MariaDb => Ok(()),
        EngineKind::Postgresql if delayed => {
            Err(VendorError::invalid(delayed_by, "false: PostgreSQL cannot be delayed"))
        }
        EngineKind::Postgresql => {
            let is_11 = running.engine.series(&running.number) == "11";
            if is_11 && order(&running.number, OLDEST_POSTGRESQL_11).is_lt() {
                return Err(VendorError::unsupported("PostgreSQL 11 before 11.2 cannot be upgraded."));
            }
            Ok(())
        }
    }
}

/// The same for a group, member by member.
async fn minor_of_group(call: &Call, group: &Group, delayed: (&str, bool), second_switch: bool) -> Answer {
    allow(&call.caller, Rule::InstanceUpdate)?;
    can_be_asked(group.shown_version(), delayed)?;
    let timing = if delayed.1 { Timing::Window } else { Timing::Now };
    let request = UpgradeGroup { target: Target::Newest, second_switch, timing, idempotency_key: None };
    let asked = call.state.commands.upgrade_group(&call.caller, group.id, request).await;
    let (_, task) = asked.map_err(|error| match error {
        commands::Error::Refused(Refusal::NoRolling { .. }) => {
            VendorError::unsupported("The instance has the newest minor version.")
        }
        other => other.into(),
    })?;
    accepted(json!({"job_id": task.to_string()}))
}

/// `POST …/instances/{id}/db-upgrade`, and its older twin below `action`.
pub async fn minor(call: &Call, instance: &str, older: bool) -> Answer {
    let delayed_by = if older { "delay" } else { "is_delayed" };
    let delayed = call.body.flag(delayed_by)?.unwrap_or(false);
    // Of primaries with a standby only; what is no such value is refused for every instance.
    let second_switch = call.body.flag("second_switch")?.unwrap_or(true);
    let it = match found(call, instance).await? {
        Named::Instance(it) => it,
        Named::Group(group) => {
            return minor_of_group(call, &group, (delayed_by, delayed), second_switch).await;
        }
    };
    allow(&call.caller, Rule::InstanceUpdate)?;
    can_be_asked(it.shown_version(), (delayed_by, delayed))?;
    ready(&it)?;
    let newest = policies::see(&call.state.commands.db, &call.caller, it.id).await?.newest;
    let target =
        newest.ok_or_else(|| VendorError::unsupported("The instance has the newest minor version."))?;
    let timing = if delayed { Timing::Window } else { Timing::Now };
    let task = upgrade(call, &it, &target, timing, true).await?;
    accepted(json!({"job_id": task.to_string()}))
}
