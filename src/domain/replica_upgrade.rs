//! What an upgrade will do: a pure function from what is known to a plan or a refusal.

use serde::{Deserialize, Serialize};

use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{GenerationId, InstanceId, VersionId};
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::matrix::{Path, Way};
use crate::domain::question::Blocker;
use crate::domain::refusal::Refusal;

/// What the accepting transaction fixes. It is stored with the task and never looked up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaUpgradePlan {
    /// The plan's form: code changes, rows wait.
    pub form: u32,
    /// The instance that is upgraded.
    pub source: InstanceId,
    /// Its serving generation.
    pub source_generation: GenerationId,
    /// The new instance.
    pub candidate: InstanceId,
    /// The new instance's server.
    pub candidate_generation: GenerationId,
    /// The version that serves now.
    pub from: VersionId,
    /// The version that will.
    pub to: VersionId,
    /// The version that serves now, `mariadb 10.11` for example.
    pub from_title: String,
    /// The version that will.
    pub to_title: String,
}

/// Finds the row of the matrix that leads from `instance` to the version named `name` of the datastore `datastore`.
///
/// The order of the answers is api-ref's: 501 for a datastore without any upgrade, 422 for an instance that is not
/// free, 400 for a pair that no row allows.
///
/// # Errors
/// The refusal to give.
pub fn replica_path<'a>(
    instance: &Instance,
    busy: bool,
    datastore_has_upgrades: bool,
    target: &DatastoreVersion,
    paths: &'a [Path],
) -> Result<&'a Path, Refusal> {
    if !datastore_has_upgrades {
        return Err(Refusal::NoUpgrades { datastore: instance.shown_version().datastore.clone() });
    }
    instance.alone()?;
    free_for_action(instance, busy)?;
    let running = instance.running.as_ref().ok_or_else(|| not_ready(instance))?;
    if instance.replica_of.is_some() || !instance.replicas.is_empty() {
        return Err(Refusal::Replicating(instance.id));
    }
    paths
        .iter()
        .find(|path| path.leads(running.version.id, Way::Replica) && path.to.id == target.id)
        .ok_or_else(|| Refusal::NoPath { from: running.version.title(), to: target.title() })
}

/// Whether an action may begin on `instance`: it serves and no live task has claimed it.
///
/// # Errors
/// [`Refusal::NotReady`] with the status that clients see.
pub fn free_for_action(instance: &Instance, busy: bool) -> Result<(), Refusal> {
    if instance.state != InstanceState::Active || busy { Err(not_ready(instance)) } else { Ok(()) }
}

/// The refusal of a busy instance.
pub fn not_ready(instance: &Instance) -> Refusal {
    // Its status is ACTIVE, which would tell the caller nothing.
    if instance.state == InstanceState::FeedingUpgrade {
        return Refusal::BeingUpgraded(instance.id);
    }
    Refusal::NotReady { id: instance.id, status: instance.state.trove_status() }
}

/// Whether a server of `instance` serves, so that it can be asked something.
///
/// # Errors
/// [`Refusal::NotReady`] with the status that clients see.
pub fn serving(instance: &Instance) -> Result<(), Refusal> {
    let serves = match instance.state {
        InstanceState::Active
        | InstanceState::FeedingUpgrade
        | InstanceState::VerifyUpgrade
        | InstanceState::Upgrading
        | InstanceState::Restarting
        | InstanceState::Resizing
        | InstanceState::Detaching => instance.running.is_some(),
        InstanceState::Building | InstanceState::Deleting | InstanceState::Error | InstanceState::Deleted => {
            false
        }
    };
    if serves { Ok(()) } else { Err(not_ready(instance)) }
}

/// Refuses when something in the instance's content stands in the way.
///
/// # Errors
/// [`Refusal::Blocked`] naming the first object and how many more there are.
pub fn unblocked(blockers: &[Blocker]) -> Result<(), Refusal> {
    match blockers {
        [] => Ok(()),
        [one] => Err(Refusal::Blocked(format!("The upgrade cannot be done: {one}."))),
        [first, rest @ ..] => {
            Err(Refusal::Blocked(format!("The upgrade cannot be done: {first} (and {} more).", rest.len())))
        }
    }
}

/// The new instance's name: `<name>_upgrade`, the stem cut so that it has 255 characters at most.
pub fn replica_name(source: &str) -> String {
    const SUFFIX: &str = "_upgrade";
    let stem: String = source.chars().take(255 - SUFFIX.len()).collect();
    stem + SUFFIX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replicas_name_fits() {
        assert_eq!(replica_name("orders"), "orders_upgrade");
        let long = replica_name(&"é".repeat(255));
        assert_eq!(long.chars().count(), 255);
        assert!(long.ends_with("é_upgrade"));
    }

    #[test]
    fn a_blocker_is_named() {
        let carts = Blocker {
            object: "shop.carts".into(),
            why: "uses the engine MyISAM".into(),
            remedy: "convert it with ALTER TABLE … ENGINE=InnoDB".into(),
        };
        assert_eq!(unblocked(&[]), Ok(()));
        let one = unblocked(std::slice::from_ref(&carts)).unwrap_err().to_string();
        assert!(one.contains("shop.carts uses the engine MyISAM"), "{one}");
        let two = unblocked(&[carts.clone(), carts]).unwrap_err().to_string();
        assert!(two.ends_with("(and 1 more)."), "{two}");
    }
}
