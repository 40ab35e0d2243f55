//! Accepting an upgrade of the same instance: Trove's PATCH, and our own route.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::commands::instances::{note, visible};
use crate::commands::{Commands, Error, idempotency};
use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::generations::Kept;
use crate::db::idempotency::HashedKey;
use crate::db::upgrades::{self, Accept, UpgradeFacts};
use crate::db::{self, Conn, instances, windows};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::hops::{Hop, MOST_HOPS, Reach};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{GenerationId, InstanceId, TaskId};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::not_ready;
use crate::domain::timing::Timing;
use crate::domain::upgrade::{Look, Looked, UpgradePlan, Wishes, path_to};

/// A parsed request to upgrade the same instance.
#[derive(Clone, Debug)]
pub struct UpgradeRequest {
    /// The target: a version's name or id, in the instance's own datastore.
    pub version: String,
    /// What else is asked for.
    pub wishes: Wishes,
    /// Whether it may go over versions between: Trove's routes go over one row of the matrix.
    pub far: bool,
    /// The instance's new name, where the request gives it one, too.
    pub rename: Option<String>,
    /// When it begins.
    pub timing: Timing,
    /// The key under which it is made once.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// What an upgrade would be, and what it would meet.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// What runs.
    pub from: DatastoreVersion,
    /// What would.
    pub to: DatastoreVersion,
    /// The versions at which its hops end, in order; `to` is the last.
    pub stops: Vec<DatastoreVersion>,
    /// What stands in the way of each strategy that is allowed for the first hop, in the order in which they are tried.
    /// What the servers of later hops will say cannot be asked yet.
    pub looked: Looked,
    /// When it would begin; at once for `None`.
    pub starts: Option<DateTime<Utc>>,
    /// What an earlier upgrade keeps, whose place the server that serves now would take.
    pub replaces: Option<Kept>,
}

/// What an acceptance makes; the same however often it is tried.
#[derive(Clone)]
struct Ids {
    task: TaskId,
    /// A candidate for each hop that a way may have, with its secret.
    candidates: Vec<(GenerationId, String)>,
    /// The request's key.
    key: Option<HashedKey>,
}

/// What an acceptance led to.
enum Accepted {
    /// Its task.
    New,
    /// The task that the same request with the same key has made before.
    Before(TaskId),
    /// The instance has that version already.
    Nothing,
}

impl Commands {
    /// Accepts an upgrade of the same instance and gives its task; `None` when the instance has that version already,
    /// and nothing is done. The order of the answers is api-ref's: 404, 403, 400 or 404 for the version, 422 for the
    /// state, 400 for a pair without a path, 422 for replicas, and for an earlier upgrade's old server that is
    /// to stay.
    ///
    /// # Errors
    /// The refusal, or the store's error.
    pub async fn upgrade_instance(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: UpgradeRequest,
    ) -> Result<Option<TaskId>, Error> {
        let idempotency_key = request.idempotency_key.clone();
        if let Some(idempotency_key) = &idempotency_key
            && let Some(task) = self.earlier_task(caller, Rule::InstanceUpdate, Some(idempotency_key)).await?
        {
            return Ok(Some(task));
        }
        match self.accept_upgrade(caller, id, request).await {
            // The same request may have been accepted since: what it changed is no reason to refuse this one.
            Err(Error::Refused(refusal)) if idempotency_key.is_some() => {
                let before =
                    self.earlier_task(caller, Rule::InstanceUpdate, idempotency_key.as_ref()).await?;
                before.map(Some).ok_or(Error::Refused(refusal))
            }
            done => done,
        }
    }

    async fn accept_upgrade(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: UpgradeRequest,
    ) -> Result<Option<TaskId>, Error> {
        let found = self.db.run(move |conn| instances::find(conn, id)).await?;
        self.simulated_acceptance(&visible(found, caller, id)?).await?;
        let most = if request.far { MOST_HOPS } else { 1 };
        let candidates: Result<Vec<_>, Error> = (0..most)
            .map(|_| {
                let generation = GenerationId(Uuid::new_v4());
                Ok((generation, self.new_service_secret(generation)?))
            })
            .collect();
        let key = self.hashed_key(caller, request.idempotency_key.as_ref());
        let ids = Ids { task: TaskId(Uuid::now_v7()), candidates: candidates?, key };
        let task = ids.task;
        let caller = caller.clone();
        let accepted = self.db.transact(move |conn| accept(conn, &caller, id, &request, &ids)).await;
        let (done, accepted) = match accepted {
            Ok((instance, accepted)) => (Ok(instance), accepted),
            Err(error) => (Err(error), Accepted::New),
        };
        self.heard(task, id, done).await?;
        match accepted {
            Accepted::New => {
                tracing::info!(task.id = %task, instance.id = %id, "upgrade of the same instance accepted");
                Ok(Some(task))
            }
            Accepted::Before(task) => Ok(Some(task)),
            Accepted::Nothing => Ok(None),
        }
    }
}

impl Commands {
    /// What an upgrade of the same instance would meet: everything is asked that its acceptance and its first step ask,
    /// and nothing is changed.
    ///
    /// # Errors
    /// The refusal that the acceptance would give; [`Refusal::NoAnswer`] when the server did not answer in time.
    pub async fn look_at_upgrade(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: UpgradeRequest,
    ) -> Result<DryRun, Error> {
        let caller = caller.clone();
        let foreseen = self.db.run(move |conn| {
            let instance = visible(instances::find(conn, id)?, &caller, id)?;
            foresee(conn, &caller, instance, &request)
        });
        let Foreseen { instance, to, hops, starts, replaces } = foreseen.await?;
        let about = look(&hops)?;
        let looked = self.ask_about(&instance, QuestionKind::PreCheck, about).await?;
        let stops = hops.into_iter().map(|hop| hop.to).collect();
        Ok(DryRun { from: instance.shown_version().clone(), to, stops, looked, starts, replaces })
    }
}

/// What an upgrade would be, as far as the store knows.
pub(super) struct Foreseen {
    pub instance: Instance,
    to: DatastoreVersion,
    pub hops: Vec<Hop>,
    starts: Option<DateTime<Utc>>,
    replaces: Option<Kept>,
}

/// Decides as an acceptance would, and changes nothing.
///
/// # Errors
/// The refusal that the acceptance would give.
pub(super) fn foresee(
    conn: &mut Conn,
    caller: &Caller,
    instance: Instance,
    request: &UpgradeRequest,
) -> Result<Foreseen, Error> {
    allow(caller, Rule::InstanceUpdate)?;
    let catalogue = catalogue_cache::now(conn)?;
    let to = target(&catalogue, &instance, &request.version)?;
    if to.id == instance.shown_version().id {
        let field = "upgrade['datastore_version']";
        return Err(Refusal::invalid(field, "is the version that the instance has").into());
    }
    let starts = starts(conn, &instance, request.timing)?;
    let hops = decide(conn, &instance, &to, request, starts)?;
    let replaces = UpgradeFacts::read(conn, instance.id)?.kept_at(starts).cloned();
    Ok(Foreseen { instance, to, hops, starts, replaces })
}

/// What a question for a look is about: the first hop, since there are no servers of later ones yet.
///
/// # Errors
/// [`Error::Inconsistent`] for a way without a hop.
pub(super) fn look(hops: &[Hop]) -> Result<serde_json::Value, Error> {
    let first = hops.first().ok_or_else(|| Error::Inconsistent("a way without a hop".to_owned()))?;
    let look = Look { number: first.to.number.clone(), strategies: first.allowed.clone() };
    serde_json::to_value(look).map_err(|e| Error::Inconsistent(e.to_string()))
}

/// When an upgrade of the instance begins; at once for `None`.
fn starts(conn: &mut Conn, instance: &Instance, timing: Timing) -> Result<Option<DateTime<Utc>>, Error> {
    if timing == Timing::Now {
        return Ok(None);
    }
    let (window, _) = windows::of(conn, &instance.project, Some(instance.id))?;
    Ok(timing.starts(&window, windows::now(conn)?))
}

/// The hops by which the instance may go to the target, as far as can be known now.
fn decide(
    conn: &mut Conn,
    instance: &Instance,
    target: &DatastoreVersion,
    request: &UpgradeRequest,
    starts: Option<DateTime<Utc>>,
) -> Result<Vec<Hop>, Error> {
    if !target.active {
        return Err(Refusal::Invalid(format!("Datastore version '{}' is not active.", target.name)).into());
    }
    let facts = UpgradeFacts::read(conn, instance.id)?;
    let runs = |version: &DatastoreVersion| facts.runs(instance, version);
    let reach = if request.far { Reach::Several(&runs) } else { Reach::One };
    let hops = path_to(facts.known(instance, starts), target, &request.wishes, reach)?;
    if !runs(target) {
        return Err(
            Refusal::Unavailable(format!("The instance's host cannot run {}.", target.title())).into()
        );
    }
    Ok(hops)
}

/// Decides and writes.
fn accept(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    request: &UpgradeRequest,
    ids: &Ids,
) -> Result<(Instance, Accepted), Error> {
    // First of all: who waits for the key holds nothing that others wait for.
    if let Some(before) = idempotency::take(conn, ids.key.as_ref(), ids.task)? {
        return Ok((visible(instances::find(conn, id)?, caller, id)?, Accepted::Before(before)));
    }
    let mut instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, Rule::InstanceUpdate)?;
    let catalogue = catalogue_cache::now(conn)?;
    let target = target(&catalogue, &instance, &request.version)?;
    if let Some(name) = &request.rename {
        name.clone_into(&mut instance.name);
    }
    if target.id == instance.shown_version().id {
        // It is done already: a rename is all that is left.
        if request.rename.is_some() {
            instances::save(conn, &instance)?;
            note(conn, caller, &instance, None, "renamed")?;
        }
        if let Some(key) = &ids.key {
            db::idempotency::give_back(conn, key)?;
        }
        return Ok((instance, Accepted::Nothing));
    }
    let starts = starts(conn, &instance, request.timing)?;
    let hops = decide(conn, &instance, &target, request, starts)?;
    let running = instance.running.clone().ok_or_else(|| not_ready(&instance))?;
    let secrets = ids.candidates.iter().take(hops.len()).map(|(_, secret)| secret.clone()).collect();
    let candidates = ids.candidates.iter().map(|(new, _)| *new);
    let plan = UpgradePlan::new(id, &running, hops, candidates, &request.wishes)
        .ok_or_else(|| Error::Inconsistent("a way without a hop".to_owned()))?;
    if starts.is_some() && request.rename.is_some() {
        instances::save(conn, &instance)?;
        instance = instances::find(conn, id)?.ok_or(db::Error::Stale("the instance"))?;
    }
    let new = Accept { task: ids.task, plan, secrets, timing: request.timing, starts, actor: &caller.user };
    if !upgrades::accept(conn, &mut instance, new)? {
        // Its row is locked: a claim can only have come before it was.
        return Err(not_ready(&instance).into());
    }
    let instance = instances::find(conn, id)?.ok_or(db::Error::Stale("the instance"))?;
    Ok((instance, Accepted::New))
}

/// The version that is meant: by id, or by name in the instance's own datastore.
///
/// # Errors
/// 404 for an id that is none of the datastore's, 400 for a name.
fn target(catalogue: &Catalogue, instance: &Instance, wanted: &str) -> Result<DatastoreVersion, Refusal> {
    let by_id = wanted.len() == 36 && Uuid::parse_str(wanted).is_ok();
    let datastore = instance.shown_version().datastore_id;
    let is_meant = |version: &&DatastoreVersion| {
        version.datastore_id == datastore
            && if by_id {
                version.id.to_string().eq_ignore_ascii_case(wanted)
            } else {
                version.name == wanted
            }
    };
    catalogue.versions().find(is_meant).cloned().ok_or_else(|| match by_id {
        true => Refusal::NotFound { what: wanted.to_owned() },
        false => Refusal::Invalid(format!("Datastore version '{wanted}' cannot be found.")),
    })
}
