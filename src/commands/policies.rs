//! The policy by which an instance is upgraded to newer builds of its version without being asked.

use chrono::{DateTime, Utc};

use crate::commands::Error;
use crate::commands::instances::{note, visible};
use crate::db::upgrades::UpgradeFacts;
use crate::db::{Conn, Db, instances, policies, windows};
use crate::domain::build_upgrades::{Policy, newest};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::hops::{Reach, hops};
use crate::domain::ids::InstanceId;
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};

/// A policy as it is seen at a moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The policy.
    pub policy: Policy,
    /// The newest build that the matrix and the host allow; `None` where the instance has it.
    pub newest: Option<DatastoreVersion>,
    /// When its window opens next, or opened where it is open.
    pub window: Option<DateTime<Utc>>,
}

/// The policy of an instance.
///
/// # Errors
/// A refusal: 404.
pub async fn see(db: &Db, caller: &Caller, id: InstanceId) -> Result<Seen, Error> {
    let caller = caller.clone();
    db.run(move |conn| {
        let instance = visible(instances::find(conn, id)?, &caller, id)?;
        seen(conn, &instance)
    })
    .await
}

/// Gives an instance a policy.
///
/// # Errors
/// A refusal: 404, 403 by role, 422 for a member of a group.
pub async fn set(db: &Db, caller: &Caller, id: InstanceId, policy: Policy) -> Result<Seen, Error> {
    let caller = caller.clone();
    db.transact(move |conn| {
        let instance = visible(instances::lock(conn, id)?, &caller, id)?;
        allow(&caller, Rule::InstanceUpdate)?;
        instance.alone()?;
        policies::set(conn, id, policy)?;
        note(conn, &caller, &instance, None, "upgrade_policy_set")?;
        seen(conn, &instance)
    })
    .await
}

fn seen(conn: &mut Conn, instance: &Instance) -> Result<Seen, Error> {
    let (window, _) = windows::of(conn, &instance.project, Some(instance.id))?;
    let now = windows::now(conn)?;
    let facts = UpgradeFacts::read(conn, instance.id)?;
    let runs = |version: &DatastoreVersion| facts.runs(instance, version);
    let newest = instance.running.as_ref().and_then(|running| {
        let from = &running.version;
        let leads = |to: &DatastoreVersion| {
            runs(to) && hops(from.id, to, &facts.catalogue.paths, None, Reach::Several(&runs)).is_some()
        };
        newest(from, facts.catalogue.versions(), leads).cloned()
    });
    Ok(Seen {
        policy: policies::of(conn, instance.id)?,
        newest,
        window: window.now_or_next(now).map(|interval| interval.start),
    })
}
