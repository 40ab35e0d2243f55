//! Inspections of an instance before a major upgrade of it, and the versions that one can go to.
//!
//! An inspection is there, with a number and an id, before the engine is asked: its look may take longer than any client
//! waits for a request. The worker that looks ends it in the transaction that answers its question.
//!
//! # If we die here
//! The inspection and its question are kept together, or neither is; whoever asks again gets the one that runs. A worker
//! that dies while it looks is followed by another, which looks again. Where none comes, the inspection has failed when
//! its time is over, and can be asked for again. That an upgrade was begun on the strength of one is noted after it was
//! accepted; without the note it runs all the same, and the list of upgrades does not say how its statistics were asked
//! for.

use chrono::{TimeDelta, Utc};
use uuid::Uuid;

use crate::commands::instances::visible;
use crate::commands::upgrades::{Foreseen, UpgradeRequest, foresee, look};
use crate::commands::{Commands, Error};
use crate::db::upgrades::UpgradeFacts;
use crate::db::{self, Db, inspections, instances, questions};
use crate::domain::build_upgrades::{are_builds_of_one, order};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::hops::{Reach, hops};
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::inspection::{HOURS, Inspection, InspectionState, MOST_OF_A_PROJECT, PATIENCE};
use crate::domain::policy::{Rule, allow};
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;
use crate::domain::timing::Timing;
use crate::domain::upgrade::Wishes;

impl Commands {
    /// Has a worker look what an upgrade to `target` would meet, and gives the inspection that will tell it. Where the
    /// same one runs already, that is given.
    ///
    /// # Errors
    /// The refusals of an acceptance; too many run in the project.
    pub async fn inspect(
        &self,
        caller: &Caller,
        id: InstanceId,
        target: &DatastoreVersion,
        wishes: Wishes,
    ) -> Result<Inspection, Error> {
        let strategy = wishes.strategy;
        let request = UpgradeRequest {
            version: target.id.0.to_string(),
            wishes,
            far: true,
            rename: None,
            timing: Timing::Now,
            idempotency_key: None,
        };
        let (caller, target) = (caller.clone(), target.name.clone());
        let new = Uuid::now_v7();
        let made = self.db.transact(move |conn| {
            // Locked, so that of many at once one asks.
            let instance = visible(instances::lock(conn, id)?, &caller, id)?;
            let Foreseen { instance, hops, .. } = foresee(conn, &caller, instance, &request)?;
            inspections::end_overdue(conn, id)?;
            if let Some(running) = inspections::running(conn, id, &target, strategy)? {
                return Ok(running);
            }
            if inspections::count_running(conn, &instance.project)? >= MOST_OF_A_PROJECT {
                return Err(Refusal::NoRoom(format!(
                    "{MOST_OF_A_PROJECT} checks of this project's instances are running: try again when one has ended."
                ))
                .into());
            }
            let about = look(&hops)?;
            let question =
                questions::ask(conn, &instance.host, id, QuestionKind::PreCheck, &about, PATIENCE)?;
            let now = Utc::now();
            let mut made = Inspection {
                id: new,
                number: 0,
                instance: id,
                from: instance.shown_version().id,
                target: target.clone(),
                strategy,
                checked_at: now,
                expires_at: now + TimeDelta::hours(HOURS),
                state: InspectionState::Running,
                detail: String::new(),
                task: None,
                statistics: None,
            };
            made.number = inspections::insert(conn, &made, question)?;
            Ok::<_, Error>(made)
        });
        let made = made.await?;
        tracing::info!(instance.id = %id, inspection.id = %made.id, target = made.target, "an inspection runs");
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
    db.transact(move |conn| {
        visible(instances::find(conn, id)?, &caller, id)?;
        allow(&caller, Rule::TaskRead)?;
        inspections::end_overdue(conn, id)?;
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
    db.run(move |conn| {
        let instance = visible(instances::find(conn, id)?, &caller, id)?;
        let facts = UpgradeFacts::read(conn, id)?;
        let from = instance.shown_version();
        let runs = |version: &DatastoreVersion| facts.runs(&instance, version);
        let mut found: Vec<DatastoreVersion> = facts
            .catalogue
            .versions()
            .filter(|to| to.datastore_id == from.datastore_id && to.active && !are_builds_of_one(from, to))
            .filter(|to| order(&to.number, &from.number).is_gt() && to.name == to.engine.series(&to.number))
            .filter(|to| runs(to))
            .filter(|to| hops(from.id, to, &facts.catalogue.paths, None, Reach::Several(&runs)).is_some())
            .cloned()
            .collect();
        found.sort_by(|a, b| order(&a.number, &b.number));
        Ok(found)
    })
    .await
}
