//! Accepting an upgrade. Every dialect builds the same request and calls this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::commands::instances::address;
use crate::commands::quotas::reserve;
use crate::commands::{Commands, Error, accounts, idempotency};
use crate::db::acceptances::{self, Begin};
use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::idempotency::HashedKey;
use crate::db::instances::ToUpgrade;
use crate::db::{self, Conn, instances};
use crate::domain::caller::Caller;
use crate::domain::datastore::{DatastoreVersion, RuntimeKind};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{GenerationId, InstanceId, TaskId};
use crate::domain::instance::{Instance, InstanceEvent, InstanceState};
use crate::domain::policy::{Rule, allow};
use crate::domain::question::{Blocker, QuestionKind};
use crate::domain::quota::{Quota, Usage};
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::{self, ReplicaUpgradePlan, not_ready, replica_name, unblocked};
use crate::domain::task::Plan;

/// A parsed request to upgrade by way of a replica.
#[derive(Clone, Debug)]
pub struct ReplicaUpgradeRequest {
    /// The target's datastore: a name, in any case, or an id.
    pub datastore_type: String,
    /// The target's version: a name or an id.
    pub datastore_version: String,
    /// The key under which it is made once.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// What an acceptance was decided by.
struct Decided {
    asked: ToUpgrade,
    target: DatastoreVersion,
    plan: ReplicaUpgradePlan,
    next: InstanceState,
}

/// The ids of what an acceptance makes, and what is sealed for it; the same however often it is tried.
#[derive(Clone)]
struct Ids {
    instance: InstanceId,
    generation: GenerationId,
    task: TaskId,
    service_secret: String,
    key: Option<HashedKey>,
}

/// What one look at the source led to.
enum Looked {
    Accepted(Box<Instance>),
    /// Its server, or an operator's rehearsal, has a say first.
    AskFirst(Box<Decided>),
}

impl Commands {
    /// Accepts an upgrade by way of a replica and gives the new instance. The order of the answers is api-ref's:
    /// 400 for an unknown datastore, 403, 404, 501, 422 for the state, 400 for a pair without a path, 422 for content
    /// that cannot be carried.
    ///
    /// One look at the store decides, and one statement writes what was decided, if that still holds. Where a server
    /// must be asked in between, or a quota be counted or an account given besides, what is written is decided again.
    ///
    /// # Errors
    /// The refusal, or the store's error.
    pub async fn upgrade_by_replica(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: &ReplicaUpgradeRequest,
    ) -> Result<Instance, Error> {
        let Some(idempotency_key) = &request.idempotency_key else {
            return self.accept_replica(caller, id, request, None).await;
        };
        if let Some(before) = self.earlier_task(caller, Rule::InstanceAction, Some(idempotency_key)).await? {
            return self.made_by(before).await;
        }
        let key = self.hashed_key(caller, Some(idempotency_key));
        match self.accept_replica(caller, id, request, key).await {
            // The same request may have been accepted since: what it changed is no reason to refuse this one.
            Err(Error::Refused(refusal)) => {
                match self.earlier_task(caller, Rule::InstanceAction, Some(idempotency_key)).await? {
                    Some(before) => self.made_by(before).await,
                    None => Err(Error::Refused(refusal)),
                }
            }
            done => done,
        }
    }

    async fn accept_replica(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: &ReplicaUpgradeRequest,
        key: Option<HashedKey>,
    ) -> Result<Instance, Error> {
        let generation = GenerationId(Uuid::new_v4());
        let ids = Ids {
            key,
            instance: InstanceId(Uuid::new_v4()),
            generation,
            task: TaskId(Uuid::now_v7()),
            service_secret: self.new_service_secret(generation)?,
        };
        let looked = {
            let (caller, request, ids, quota) = (caller.clone(), request.clone(), ids.clone(), self.quota);
            self.db.run(move |conn| look(conn, &caller, id, &request, &ids, quota)).await
        };
        let decided = match looked {
            Ok(Looked::Accepted(instance)) => {
                tracing::info!(task.id = %ids.task, instance.id = %id, "upgrade accepted");
                return Ok(*instance);
            }
            Ok(Looked::AskFirst(decided)) => decided,
            Err(error) => return self.heard(ids.task, ids.instance, Err(error)).await,
        };
        if decided.asked.instance.wanted.runtime != RuntimeKind::Simulated {
            let blockers: Vec<Blocker> =
                self.ask(&decided.asked.instance, QuestionKind::ReplicaBlockers).await?;
            unblocked(&blockers)?;
        }
        self.simulated_acceptance(&decided.asked.instance).await?;

        let (caller, request, again, quota) = (caller.clone(), request.clone(), ids.clone(), self.quota);
        let tried = AtomicBool::new(false);
        let accepted = self
            .db
            .transact(move |conn| {
                if let Some(before) = idempotency::take(conn, again.key.as_ref(), again.task)? {
                    return idempotency::made(conn, before);
                }
                let decided = decide(conn, &caller, id, &request, &again)?;
                let source = &decided.asked.instance;
                let more = Usage::of_instance(source.volume_gb, source.flavor.ram_mb);
                reserve(conn, &source.project, quota, &more)?;
                let new = write(conn, &caller, &decided, &again, tried.swap(true, Ordering::Relaxed))?;
                accounts::give(conn, &source.host, new.id, &decided.target)?;
                Ok(new)
            })
            .await;
        let accepted = self.heard(ids.task, ids.instance, accepted).await?;
        if accepted.id == ids.instance {
            tracing::info!(task.id = %ids.task, instance.id = %id, "upgrade accepted");
        }
        Ok(accepted)
    }
}

/// Decides, and accepts where nothing else has a say.
fn look(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    request: &ReplicaUpgradeRequest,
    ids: &Ids,
    quota: Quota,
) -> Result<Looked, Error> {
    for tried in [false, true, true] {
        let decided = decide(conn, caller, id, request, ids)?;
        let ToUpgrade { instance, limited, rehearsed, .. } = &decided.asked;
        if instance.wanted.runtime != RuntimeKind::Simulated
            || ids.key.is_some()
            || *rehearsed
            || *limited
            || quota != Quota::NONE
        {
            return Ok(Looked::AskFirst(Box::new(decided)));
        }
        match write(conn, caller, &decided, ids, tried) {
            Err(Error::Db(db::Error::Stale(_))) => {}
            done => return done.map(|new| Looked::Accepted(Box::new(new))),
        }
    }
    Err(db::Error::Stale("the instance").into())
}

fn target(catalogue: &Catalogue, request: &ReplicaUpgradeRequest) -> Result<DatastoreVersion, Refusal> {
    let same = |text: &str, wanted: &str| text.eq_ignore_ascii_case(wanted);
    let store = catalogue
        .datastores
        .iter()
        .find(|d| {
            !d.versions.is_empty()
                && (same(&d.name, &request.datastore_type)
                    || same(&d.id.to_string(), &request.datastore_type))
        })
        .ok_or_else(|| {
            Refusal::Invalid(format!(
                "Datastore '{}' named by upgrade['datastore_type'] cannot be found.",
                request.datastore_type
            ))
        })?;
    store
        .versions
        .iter()
        .find(|v| v.name == request.datastore_version || same(&v.id.to_string(), &request.datastore_version))
        .cloned()
        .ok_or_else(|| {
            Refusal::Invalid(format!(
                "Datastore version '{}' named by upgrade['datastore_version'] cannot be found.",
                request.datastore_version
            ))
        })
}

/// Reads what the acceptance depends on, and decides.
fn decide(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    request: &ReplicaUpgradeRequest,
    ids: &Ids,
) -> Result<Decided, Error> {
    let found = instances::find_to_upgrade(conn, id)?;
    // An unknown datastore is told before an unknown instance.
    let catalogue = match &found {
        Some(found) => Arc::clone(&found.catalogue),
        None => catalogue_cache::now(conn)?,
    };
    let target = target(&catalogue, request)?;
    allow(caller, Rule::InstanceAction)?;
    let asked = found
        .filter(|found| caller.sees(&found.instance.project))
        .ok_or_else(|| Refusal::NotFound { what: id.to_string() })?;
    let source = &asked.instance;
    let has_upgrades = catalogue.has_upgrades(source.shown_version());
    replica_upgrade::replica_path(source, asked.busy, has_upgrades, &target, &catalogue.paths)?;
    if let Some(task) = asked.planned {
        return Err(Refusal::UpgradePlanned { id, task }.into());
    }
    if !catalogue.runs(&source.host, &target) {
        return Err(
            Refusal::Unavailable(format!("The instance's host cannot run {}.", target.title())).into()
        );
    }
    let next = source.state.after(InstanceEvent::ReplicaUpgradeAccepted).map_err(|_| not_ready(source))?;
    let running = source.running.as_ref().ok_or_else(|| not_ready(source))?;
    let plan = ReplicaUpgradePlan {
        form: 1,
        source: id,
        source_generation: running.generation,
        candidate: ids.instance,
        candidate_generation: ids.generation,
        from: running.version.id,
        to: target.id,
        from_title: running.version.title(),
        to_title: target.title(),
    };
    Ok(Decided { asked, target, plan, next })
}

/// Writes what was decided, if it still holds. One that was tried before looks for an address among all.
fn write(
    conn: &mut Conn,
    caller: &Caller,
    decided: &Decided,
    ids: &Ids,
    tried: bool,
) -> Result<Instance, Error> {
    let source = &decided.asked.instance;
    let begin = Begin {
        instance: ids.instance,
        project: &source.project,
        name: &replica_name(&source.name),
        flavor: &source.flavor,
        volume_gb: source.volume_gb,
        version: &decided.target,
        host: &source.host,
        generation: ids.generation,
        service_secret: &ids.service_secret,
        task: ids.task,
        plan: &Plan::ReplicaUpgrade(decided.plan.clone()),
        secrets: None,
        actor: &caller.user,
        catalogue: &decided.asked.catalogue,
        address: address(conn, &source.host, tried)?,
    };
    Ok(acceptances::upgrade(conn, source, decided.next, &begin)?)
}
