//! Creating, renaming and deleting instances, and detaching the new side of an upgrade.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::commands::quotas::reserve;
use crate::commands::{Commands, Error, accounts, configurations, idempotency};
use crate::db::acceptances::{self, Begin};
use crate::db::catalogue_cache::Catalogue;
use crate::db::idempotency::HashedKey;
use crate::db::{
    self, Conn, endpoints, events, generations, hosts, instances, operations, policies, quotas, tasks,
    windows,
};
use crate::domain::caller::Caller;
use crate::domain::datastore::{Datastore, DatastoreVersion, RuntimeKind};
use crate::domain::flavor::Flavor;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{ConfigurationId, FlavorId, GenerationId, HostId, InstanceId, TaskId};
use crate::domain::instance::{Instance, InstanceEvent, InstanceState};
use crate::domain::parameter::Parameter;
use crate::domain::policy::{Rule, allow};
use crate::domain::question::{CaughtUp, QuestionKind};
use crate::domain::quota::{Quota, Usage};
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::not_ready;
use crate::domain::task::{CreatePlan, DeletePlan, IllegalTaskEvent, Phase, Plan, Progress, Task, TaskEvent};
use crate::domain::tenant::{NewDatabase, NewUser};
use crate::domain::timing::Timing;

/// The largest volume, in GB.
pub const MAX_VOLUME_GB: i32 = 1024;

/// A parsed creation.
#[derive(Clone, Debug)]
pub struct CreateInstance {
    /// 1 to 255 characters.
    pub name: String,
    /// The flavor's id.
    pub flavor: FlavorId,
    /// The volume's size in GB.
    pub volume_gb: i32,
    /// The datastore's name or id; the only one there is, when absent.
    pub datastore: Option<String>,
    /// The version's name or id; the datastore's default, when absent.
    pub version: Option<String>,
    /// The databases to make.
    pub databases: Vec<NewDatabase>,
    /// The users to make.
    pub users: Vec<NewUser>,
    /// The networks from which clients may come; none lets everybody in.
    pub allowed_cidrs: Vec<String>,
    /// The configuration group.
    pub configuration: Option<ConfigurationId>,
    /// The key under which it is made once.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Finds an instance that exists for `caller`.
///
/// # Errors
/// [`Refusal::NotFound`], the same for a missing one and another project's.
pub fn visible(found: Option<Instance>, caller: &Caller, id: InstanceId) -> Result<Instance, Refusal> {
    found
        .filter(|instance| caller.sees(&instance.project))
        .ok_or_else(|| Refusal::NotFound { what: id.to_string() })
}

/// Finds a version by the names or ids of a datastore and of a version in it.
///
/// # Errors
/// [`Refusal::NotFound`] for a datastore that is not there; [`Refusal::Invalid`] for a version.
pub fn resolve_version(
    datastores: &[Datastore],
    datastore: Option<&str>,
    version: Option<&str>,
) -> Result<DatastoreVersion, Refusal> {
    let store = match datastore {
        Some(wanted) => datastores
            .iter()
            .find(|d| d.name.eq_ignore_ascii_case(wanted) || d.id.to_string().eq_ignore_ascii_case(wanted))
            .ok_or_else(|| Refusal::NotFound { what: wanted.to_owned() })?,
        None => match datastores {
            [only] => only,
            _several => {
                return Err(Refusal::invalid(
                    "instance['datastore']['type']",
                    "is required: name a datastore",
                ));
            }
        },
    };
    let found = match version {
        Some(wanted) => {
            store.versions.iter().find(|v| v.name == wanted || v.id.to_string().eq_ignore_ascii_case(wanted))
        }
        None => store.versions.iter().find(|v| Some(v.id) == store.default_version),
    };
    let found = found.ok_or_else(|| {
        Refusal::Invalid(format!("Datastore version '{}' cannot be found.", version.unwrap_or("(default)")))
    })?;
    if found.active {
        Ok(found.clone())
    } else {
        Err(Refusal::Invalid(format!("Datastore version '{}' is not active.", found.name)))
    }
}

impl Commands {
    /// Accepts the creation of an instance: decided by what is read, and written in one statement if that still
    /// holds; in one transaction with a quota's count and the account that a server needs, where there are such.
    ///
    /// # Errors
    /// A refusal: 400 for values, 403 by role, 404 for a datastore, 413 for a size or a full host.
    pub async fn create_instance(&self, caller: &Caller, request: CreateInstance) -> Result<Instance, Error> {
        let idempotency_key = request.idempotency_key.clone();
        if let Some(before) =
            self.earlier_task(caller, Rule::InstanceCreate, idempotency_key.as_ref()).await?
        {
            return self.made_by(before).await;
        }
        match self.accept_creation(caller, request).await {
            // The same request may have been accepted since: what it took is no reason to refuse this one.
            Err(Error::Refused(refusal)) if idempotency_key.is_some() => {
                match self.earlier_task(caller, Rule::InstanceCreate, idempotency_key.as_ref()).await? {
                    Some(before) => self.made_by(before).await,
                    None => Err(Error::Refused(refusal)),
                }
            }
            done => done,
        }
    }

    async fn accept_creation(&self, caller: &Caller, request: CreateInstance) -> Result<Instance, Error> {
        let (id, generation, task) =
            (InstanceId(Uuid::new_v4()), GenerationId(Uuid::new_v4()), TaskId(Uuid::now_v7()));
        let known = match request.configuration {
            Some(group) => self.parameters(&self.configuration(caller, group).await?.version).await?,
            None => Vec::new(),
        };
        let users = serde_json::to_string(&request.users).map_err(|e| Error::Inconsistent(e.to_string()))?;
        let secrets = self.sealer.seal(&task.secrets_purpose(), &users).map_err(Error::Seal)?;
        let creation = Creation {
            caller: caller.clone(),
            service_secret: self.new_service_secret(generation)?,
            plan: Plan::Create(CreatePlan {
                form: 1,
                instance: id,
                generation,
                databases: request.databases.clone(),
            }),
            key: self.hashed_key(caller, request.idempotency_key.as_ref()),
            request,
            quota: self.quota,
            known,
            id,
            generation,
            task,
            secrets,
        };
        let creation = Arc::new(creation);
        let alone = {
            let creation = Arc::clone(&creation);
            self.db.run(move |conn| creation.alone(conn)).await
        };
        let accepted = match alone {
            Ok(Some(instance)) => {
                tracing::info!(task.id = %task, instance.id = %id, "creation accepted");
                return Ok(instance);
            }
            Ok(None) => {
                let tried = AtomicBool::new(false);
                let work =
                    move |conn: &mut Conn| creation.with_others(conn, tried.swap(true, Ordering::Relaxed));
                self.db.transact(work).await
            }
            Err(error) => Err(error),
        };
        let accepted = self.heard(task, id, accepted).await?;
        if accepted.id == id {
            tracing::info!(task.id = %task, instance.id = %id, "creation accepted");
        }
        Ok(accepted)
    }

    /// Limits the networks from which clients may come to an instance, at once, whatever it is doing; open connections from
    /// elsewhere are ended. None lets everybody in.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 422 for a member of a group; the store's.
    pub async fn limit_access(
        &self,
        caller: &Caller,
        id: InstanceId,
        allowed_cidrs: Vec<String>,
        rename: Option<String>,
    ) -> Result<(), Error> {
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let mut instance = visible(instances::lock(conn, id)?, &caller, id)?;
                allow(&caller, Rule::InstanceUpdate)?;
                instance.alone()?;
                endpoints::limit(conn, id, &allowed_cidrs)?;
                if let Some(name) = &rename {
                    name.clone_into(&mut instance.name);
                }
                instances::save(conn, &instance)?;
                note(conn, &caller, &instance, None, "access_limited")
            })
            .await
    }

    /// Renames an instance, at once, whatever it is doing.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role.
    pub async fn rename_instance(&self, caller: &Caller, id: InstanceId, name: String) -> Result<(), Error> {
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let mut instance = visible(instances::lock(conn, id)?, &caller, id)?;
                allow(&caller, Rule::InstanceUpdate)?;
                name.clone_into(&mut instance.name);
                instances::save(conn, &instance)?;
                note(conn, &caller, &instance, None, "renamed")
            })
            .await
    }

    /// Accepts the deletion of an instance. For one that is being made it is the end of that, and for the new side of
    /// an upgrade before its detach it is an event of the upgrade: it is abandoned.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role and for a source with replicas, 422 for a busy one.
    pub async fn delete_instance(&self, caller: &Caller, id: InstanceId) -> Result<(), Error> {
        let caller = caller.clone();
        let delete = TaskId(Uuid::now_v7());
        let task = self.db.transact(move |conn| accept_deletion(conn, &caller, id, delete)).await?;
        if let Some(task) = task {
            tracing::info!(task.id = %task, instance.id = %id, "deletion accepted");
        }
        Ok(())
    }

    /// Accepts the detach of an upgrade's new side, the upgrade's one-way point, and renames it in the same
    /// transaction where that was asked for, too.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 400 for an instance that is no replica, 422 for one that has not caught up, 503
    /// when that could not be asked.
    pub async fn detach_instance(
        &self,
        caller: &Caller,
        id: InstanceId,
        rename: Option<String>,
    ) -> Result<(), Error> {
        let asked = caller.clone();
        let instance =
            self.db.transact(move |conn| detachable(conn, &asked, id).map(|(instance, _)| instance)).await?;
        let CaughtUp { reached, broken, differs } = self.ask(&instance, QuestionKind::CaughtUp).await?;
        if let Some(why) = broken {
            return Err(Refusal::Blocked(format!(
                "Instance {id} cannot follow its source any more: {why}. It will not catch up. Delete {id}, change what is \
                 named on its source, and ask for the upgrade again."
            ))
            .into());
        }
        if !reached {
            return Err(Refusal::Blocked(format!(
                "Instance {id} has not caught up with its source. Try again later, or delete it to abandon the upgrade."
            ))
            .into());
        }
        if let Some(object) = differs {
            return Err(Refusal::Blocked(format!(
                "Instance {id} does not have what its source has: {object}. Definitions that change during an upgrade are \
                 not replicated: change it back, or delete {id} and ask for the upgrade again."
            ))
            .into());
        }
        let caller = caller.clone();
        let task = self
            .db
            .transact(move |conn| {
                let (mut instance, task) = detachable(conn, &caller, id)?;
                instance.state =
                    instance.state.after(InstanceEvent::DetachAccepted).map_err(|_| not_ready(&instance))?;
                if let Some(name) = &rename {
                    allow(&caller, Rule::InstanceUpdate)?;
                    name.clone_into(&mut instance.name);
                }
                decide(conn, &task, TaskEvent::DetachAccepted, &instance)?;
                instances::save(conn, &instance)?;
                note(conn, &caller, &instance, Some(task.id), "detach_accepted")?;
                Ok::<_, Error>(task.id)
            })
            .await?;
        tracing::info!(task.id = %task, instance.id = %id, "detach accepted");
        Ok(())
    }
}

/// Decides and writes the deletion of an instance, with `delete` as the id of a task of its own where it needs one; gives
/// the task that takes it away, and none where that was accepted before.
///
/// # Errors
/// A refusal: 404, 403 by role and for a source with replicas, 422 for a busy one; the store's.
pub(super) fn accept_deletion(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    delete: TaskId,
) -> Result<Option<TaskId>, Error> {
    let mut instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, Rule::InstanceDelete)?;
    instance.alone()?;
    if !instance.replicas.is_empty() {
        return Err(Refusal::HasReplicas.into());
    }
    if instance.state == InstanceState::Deleting {
        return Ok(None);
    }
    let live = tasks::lock_live(conn, id)?;
    let task = match live {
        Some(task) if instance.state == InstanceState::VerifyUpgrade => {
            decide(conn, &task, TaskEvent::AbandonAccepted, &instance)?;
            task.id
        }
        Some(task) if instance.state == InstanceState::Building => {
            give_up(conn, &task).map_err(|_| not_ready(&instance))??;
            windows::drop_own(conn, id)?;
            policies::drop_own(conn, id)?;
            task.id
        }
        Some(_) => return Err(not_ready(&instance).into()),
        None => {
            withdraw_planned(conn, caller, &instance)?;
            windows::drop_own(conn, id)?;
            policies::drop_own(conn, id)?;
            let held = generations::of_instance(conn, id)?;
            let plan = Plan::Delete(DeletePlan {
                form: 1,
                instance: id,
                generations: held.iter().map(|generation| generation.id).collect(),
            });
            begin_task(conn, &instance, delete, &plan)?;
            delete
        }
    };
    instance.state = instance.state.after(InstanceEvent::DeleteAccepted).map_err(|_| not_ready(&instance))?;
    instances::save(conn, &instance)?;
    operations::end_of_gone(conn, id)?;
    note(conn, caller, &instance, Some(task), "delete_accepted")?;
    Ok(Some(task))
}

/// A creation: what was asked for, and the ids of what it makes, the same however often it is tried.
struct Creation {
    caller: Caller,
    request: CreateInstance,
    key: Option<HashedKey>,
    quota: Quota,
    known: Vec<Parameter>,
    id: InstanceId,
    generation: GenerationId,
    task: TaskId,
    service_secret: String,
    secrets: String,
    plan: Plan,
}

/// What a creation was decided to be.
struct Decided {
    catalogue: Arc<Catalogue>,
    version: DatastoreVersion,
    flavor: Flavor,
    host: HostId,
    limited: bool,
}

impl Creation {
    /// Accepts it where one statement is all; `None` where more belongs to it.
    fn alone(&self, conn: &mut Conn) -> Result<Option<Instance>, Error> {
        for tried in [false, true, true] {
            let decided = self.decide(conn)?;
            if decided.limited
                || self.key.is_some()
                || !self.request.allowed_cidrs.is_empty()
                || self.request.configuration.is_some()
                || self.quota != Quota::NONE
                || decided.version.runtime == RuntimeKind::Process
            {
                return Ok(None);
            }
            match self.write(conn, &decided, tried) {
                Err(Error::Db(db::Error::Stale(_))) => {}
                done => return done.map(Some),
            }
        }
        Err(db::Error::Stale("the catalogue").into())
    }

    /// Accepts it with its key, the quota's count and the account, in the transaction around it; gives what the same
    /// request with the same key has made before.
    fn with_others(&self, conn: &mut Conn, tried: bool) -> Result<Instance, Error> {
        if let Some(before) = idempotency::take(conn, self.key.as_ref(), self.task)? {
            return idempotency::made(conn, before);
        }
        let decided = self.decide(conn)?;
        let more = Usage::of_instance(self.request.volume_gb, decided.flavor.ram_mb);
        reserve(conn, &self.caller.project, self.quota, &more)?;
        let mut instance = self.write(conn, &decided, tried)?;
        if !self.request.allowed_cidrs.is_empty() {
            endpoints::limit(conn, self.id, &self.request.allowed_cidrs)?;
            instance.allowed_cidrs.clone_from(&self.request.allowed_cidrs);
        }
        if let Some(group) = self.request.configuration {
            configurations::give(conn, &self.caller, &mut instance, group, &self.known)?;
        }
        accounts::give(conn, &decided.host, self.id, &decided.version)?;
        Ok(instance)
    }

    fn decide(&self, conn: &mut Conn) -> Result<Decided, Error> {
        let request = &self.request;
        let (catalogue, limited) = quotas::catalogue_and_limited(conn, &self.caller.project)?;
        let version =
            resolve_version(&catalogue.datastores, request.datastore.as_deref(), request.version.as_deref())?;
        // They were made for the engine that the version had a moment ago.
        if !request.users.iter().all(|user| user.verifier.is_for(version.engine)) {
            return Err(db::Error::Stale("the catalogue").into());
        }
        let flavor = catalogue
            .flavor(&request.flavor)
            .cloned()
            .ok_or_else(|| Refusal::Invalid(format!("Flavor {} cannot be found.", request.flavor)))?;
        if request.volume_gb > MAX_VOLUME_GB {
            return Err(Refusal::NoRoom(format!(
                "Volume 'size' cannot exceed maximum of {MAX_VOLUME_GB} GB, {} cannot be accepted.",
                request.volume_gb
            ))
            .into());
        }
        let host = hosts::place(conn, &version)?
            .ok_or_else(|| Refusal::Unavailable(format!("No host that runs {} is up.", version.title())))?;
        Ok(Decided { catalogue, version, flavor, host, limited })
    }

    /// Writes what was decided, if it still holds.
    fn write(&self, conn: &mut Conn, decided: &Decided, tried: bool) -> Result<Instance, Error> {
        let begin = Begin {
            instance: self.id,
            project: &self.caller.project,
            name: &self.request.name,
            flavor: &decided.flavor,
            volume_gb: self.request.volume_gb,
            version: &decided.version,
            host: &decided.host,
            generation: self.generation,
            service_secret: &self.service_secret,
            task: self.task,
            plan: &self.plan,
            secrets: Some(&self.secrets),
            actor: &self.caller.user,
            catalogue: &decided.catalogue,
            address: address(conn, &decided.host, tried)?,
        };
        Ok(acceptances::create(conn, &begin)?)
    }
}

/// The address to ask for: none, which takes the next free one near by; after that has failed, the lowest of all.
///
/// # Errors
/// [`Refusal::NoRoom`]; the store's.
pub(super) fn address(conn: &mut Conn, host: &HostId, tried: bool) -> Result<Option<Ipv4Addr>, Error> {
    if !tried {
        return Ok(None);
    }
    match acceptances::free_address(conn, host)? {
        Some(address) => Ok(Some(address)),
        None => Err(Refusal::NoRoom("The host has no address left.".to_owned()).into()),
    }
}

/// The instance and its task, locked, if it can be detached now.
fn detachable(conn: &mut Conn, caller: &Caller, id: InstanceId) -> Result<(Instance, Task), Error> {
    let instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, Rule::InstanceDetach)?;
    instance.alone()?;
    if instance.replica_of.is_none() {
        return Err(Refusal::Invalid(format!("Instance {id} is not a replica.")).into());
    }
    instance.state.after(InstanceEvent::DetachAccepted).map_err(|_| not_ready(&instance))?;
    let task = tasks::lock_live(conn, id)?.ok_or_else(|| not_ready(&instance))?;
    Ok((instance, task))
}

/// Moves a waiting task by a customer's decision.
fn decide(conn: &mut Conn, task: &Task, event: TaskEvent, instance: &Instance) -> Result<(), Error> {
    let next: Progress = task.progress.after(task.kind(), event).map_err(|_| not_ready(instance))?;
    tasks::advance(conn, task, next, std::time::Duration::ZERO)?;
    Ok(())
}

/// Ends a task that is making what its customer deletes, whatever it is at. The caller has locked the task.
///
/// # Errors
/// That it is at something which can no longer be given up; within, the store's.
pub(super) fn give_up(conn: &mut Conn, task: &Task) -> Result<Result<(), db::Error>, IllegalTaskEvent> {
    match task.progress {
        // Its worker drops the step in flight, and whoever claims the task next does not take it up again.
        Progress::At(phase, _) if phase.can_cancel(task.kind()) => Ok(tasks::ask_to_cancel(conn, task.id)),
        // It is on its way out already, and ends with nothing left.
        Progress::At(Phase::Undo | Phase::Abandon, _) => Ok(Ok(())),
        Progress::At(..)
        | Progress::Scheduled
        | Progress::Verifying
        | Progress::NeedsOperator
        | Progress::Deferred
        | Progress::Ended(_) => {
            let next = task.progress.after(task.kind(), TaskEvent::AbandonAccepted)?;
            Ok(tasks::advance(conn, task, next, std::time::Duration::ZERO))
        }
    }
}

/// Ends the upgrade that is planned for an instance which is deleted.
fn withdraw_planned(conn: &mut Conn, caller: &Caller, instance: &Instance) -> Result<(), Error> {
    let Some(planned) = tasks::planned(conn, instance.id)? else { return Ok(()) };
    let Some(mut task) = tasks::lock(conn, planned)? else { return Ok(()) };
    // Another has ended it since.
    let Ok(next) = task.progress.after(task.kind(), TaskEvent::Withdrawn) else { return Ok(()) };
    task.reason = Some("The instance was deleted before the upgrade began.".to_owned());
    tasks::advance(conn, &task, next, std::time::Duration::ZERO)?;
    note(conn, caller, instance, Some(planned), "upgrade_withdrawn")
}

/// Inserts a task that begins now, about one instance.
///
/// # Errors
/// A refusal: 422 for a busy instance; the store's.
pub(super) fn begin_task(conn: &mut Conn, instance: &Instance, id: TaskId, plan: &Plan) -> Result<(), Error> {
    insert_task(
        conn,
        &tasks::New {
            id,
            project: &instance.project,
            host: &instance.host,
            plan,
            secrets: None,
            claims: &[(instance.id, tasks::Claim::Subject)],
            timing: Timing::Now,
            starts: None,
        },
    )
}

/// Inserts a task; a claim that is another's is the refusal of a busy instance.
fn insert_task(conn: &mut Conn, new: &tasks::New<'_>) -> Result<(), Error> {
    if tasks::insert(conn, new)? {
        return Ok(());
    }
    for (id, _) in new.claims {
        if tasks::lock_live(conn, *id)?.is_some_and(|task| task.id != new.id) {
            let instance = again(conn, *id)?;
            return Err(not_ready(&instance).into());
        }
    }
    // The other task ended between the two looks: begin again.
    Err(db::Error::Stale("the claim").into())
}

/// Reads an instance that must be there.
fn again(conn: &mut Conn, id: InstanceId) -> Result<Instance, Error> {
    instances::find(conn, id)?.ok_or_else(|| Error::Inconsistent(format!("instance {id} is gone")))
}

/// Records who did what.
pub(super) fn note(
    conn: &mut Conn,
    caller: &Caller,
    instance: &Instance,
    task: Option<TaskId>,
    what: &str,
) -> Result<(), Error> {
    events::record(
        conn,
        &events::Event {
            project: &instance.project,
            instance: Some(instance.id),
            task,
            actor: &caller.user,
            what,
            data: serde_json::Value::Object(serde_json::Map::new()),
        },
    )?;
    Ok(())
}
