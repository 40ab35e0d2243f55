//! Inspections of an instance before a major upgrade of it, and the versions that one can go to.
//!
//! # If we die here
//! An inspection is kept when the engine has answered: before that nobody was told of one. That an upgrade was begun on
//! the strength of one is noted after it was accepted; without the note it runs all the same, and the list of upgrades
//! does not say how its statistics were asked for.

use chrono::{TimeDelta, Utc};
use uuid::Uuid;

use crate::commands::instances::visible;
use crate::commands::switches::SwitchRequest;
use crate::commands::{Commands, Error};
use crate::db::switches::Around;
use crate::db::{self, Db, inspections, instances};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::hops::{Reach, hops};
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::inspection::{HOURS, Inspection};
use crate::domain::minor::{are_builds_of_one, order};
use crate::domain::policy::{Rule, allow};
use crate::domain::question::Finding;
use crate::domain::refusal::Refusal;
use crate::domain::switch::{Wishes, choose};
use crate::domain::timing::Timing;

impl Commands {
    /// Looks what an upgrade to `target` would meet, and keeps the answer.
    ///
    /// # Errors
    /// The refusals of an acceptance. An engine that does not answer in time is an inspection that did not pass.
    pub async fn inspect(
        &self,
        caller: &Caller,
        id: InstanceId,
        target: &DatastoreVersion,
        wishes: Wishes,
    ) -> Result<Inspection, Error> {
        let request = SwitchRequest {
            version: target.id.0.to_string(),
            wishes,
            far: true,
            rename: None,
            timing: Timing::Now,
            once: None,
        };
        let found = self.db.read(move |conn| instances::find(conn, id)).await?;
        let from = visible(found, caller, id)?.shown_version().id;
        let (passed, detail) = match self.look_at_upgrade(caller, id, request).await {
            Ok(seen) => {
                let all: Vec<String> = match choose(&seen.looked) {
                    Ok((strategy, _)) => {
                        let of = seen.looked.iter().filter(|(of, _)| *of == strategy);
                        of.flat_map(|(_, found)| found.iter().map(Finding::to_string)).collect()
                    }
                    Err(refusal) => vec![refusal.to_string()],
                };
                (choose(&seen.looked).is_ok(), all.join(" "))
            }
            Err(Error::Refused(refusal @ Refusal::NoAnswer { .. })) => (false, refusal.to_string()),
            Err(error) => return Err(error),
        };
        let now = Utc::now();
        let mut made = Inspection {
            id: Uuid::now_v7(),
            number: 0,
            instance: id,
            from,
            target: target.name.clone(),
            checked_at: now,
            expires_at: now + TimeDelta::hours(HOURS),
            passed,
            detail,
            task: None,
            statistics: None,
        };
        let kept = made.clone();
        let number: Result<_, db::Error> =
            self.db.transact(move |conn| inspections::insert(conn, &kept)).await;
        made.number = number?;
        Ok(made)
    }
}

/// Notes that an upgrade was begun on the strength of an inspection, and how its statistics were asked for.
pub async fn used(db: &Db, id: Uuid, task: TaskId, statistics: Option<String>) {
    let noted: Result<_, db::Error> =
        db.transact(move |conn| inspections::used(conn, id, task, statistics.as_deref())).await;
    if let Err(error) = noted {
        tracing::warn!(task.id = %task, %error, "it is not noted which inspection the upgrade was begun by");
    }
}

/// The inspections of an instance, the newest in front.
///
/// # Errors
/// A refusal: 404, 403 by role.
pub async fn list(db: &Db, caller: &Caller, id: InstanceId) -> Result<Vec<Inspection>, Error> {
    let caller = caller.clone();
    db.read(move |conn| {
        visible(instances::find(conn, id)?, &caller, id)?;
        allow(&caller, Rule::TaskRead)?;
        Ok(inspections::of(conn, id)?)
    })
    .await
}

/// The versions above the instance's own that it can go to, over several hops where it must, the lowest in front: of
/// each the build that has the version's name.
///
/// # Errors
/// A refusal: 404.
pub async fn majors(db: &Db, caller: &Caller, id: InstanceId) -> Result<Vec<DatastoreVersion>, Error> {
    let caller = caller.clone();
    db.read(move |conn| {
        let instance = visible(instances::find(conn, id)?, &caller, id)?;
        let around = Around::read(conn, id)?;
        let from = instance.shown_version();
        let runs = |version: &DatastoreVersion| around.runs(&instance, version);
        let mut found: Vec<DatastoreVersion> = around
            .catalogue
            .versions()
            .filter(|to| to.datastore_id == from.datastore_id && to.active && !are_builds_of_one(from, to))
            .filter(|to| order(&to.number, &from.number).is_gt() && to.name == to.engine.series(&to.number))
            .filter(|to| runs(to))
            .filter(|to| hops(from.id, to, &around.catalogue.paths, None, Reach::Several(&runs)).is_some())
            .cloned()
            .collect();
        found.sort_by(|a, b| order(&a.number, &b.number));
        Ok(found)
    })
    .await
}
