//! Groups: creating and deleting them, upgrading them member by member, and having their members change roles.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::commands::instances::{MAX_VOLUME_GB, give_up, resolve_version};
use crate::commands::quotas::reserve;
use crate::commands::{Commands, Error, idempotency};
use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::groups::{self, New, NewMember};
use crate::db::idempotency::HashedKey;
use crate::db::rollings::{self, Accept, GroupFacts};
use crate::db::{self, Conn, events, generations, hosts, instances, tasks, windows};
use crate::domain::build_upgrades::newest;
use crate::domain::caller::Caller;
use crate::domain::datastore::{DatastoreVersion, RuntimeKind};
use crate::domain::group::{Group, GroupEvent, GroupState, free, spread, zones};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{FlavorId, GenerationId, GroupId, InstanceId, TaskId};
use crate::domain::instance::InstanceEvent;
use crate::domain::matrix::Way;
use crate::domain::policy::{Rule, allow};
use crate::domain::quota::{Quota, Usage};
use crate::domain::refusal::Refusal;
use crate::domain::rolling::{self, Made, MakePlan, UnmakePlan};
use crate::domain::task::{Plan, TaskEvent};
use crate::domain::timing::Timing;

/// A member of a group to make.
#[derive(Clone, Debug)]
pub struct AskedMember {
    /// 1 to 255 characters.
    pub name: String,
    /// Its zone; one that is not the other's, when absent.
    pub zone: Option<String>,
}

/// A parsed creation of a group.
#[derive(Clone, Debug)]
pub struct CreateGroup {
    /// 1 to 255 characters.
    pub name: String,
    /// The flavor of each member.
    pub flavor: FlavorId,
    /// The size of each member's volume in GB.
    pub volume_gb: i32,
    /// The datastore's name or id.
    pub datastore: String,
    /// The version's name or id; the datastore's default, when absent.
    pub version: Option<String>,
    /// The primary.
    pub primary: AskedMember,
    /// The standby.
    pub standby: AskedMember,
    /// The key under which it is made once.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// What a group is upgraded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A version of a datastore, each by name or id.
    Named {
        /// The datastore.
        datastore: String,
        /// The version.
        version: String,
    },
    /// The newest build of the version that it has.
    Newest,
}

/// A parsed request to upgrade a group.
#[derive(Clone, Debug)]
pub struct UpgradeGroup {
    /// To what.
    pub target: Target,
    /// Whether members in different zones end in the roles that they had.
    pub second_switch: bool,
    /// When it begins.
    pub timing: Timing,
    /// The key under which it is made once.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// What an acceptance makes; the same however often it is tried.
#[derive(Clone)]
struct Ids {
    task: TaskId,
    /// A server for each member, the primary's in front, with its secret.
    made: [(GenerationId, String); 2],
    key: Option<HashedKey>,
}

/// Finds a group that exists for `caller`.
///
/// # Errors
/// [`Refusal::NotFound`], the same for a missing one and another project's.
pub fn visible(found: Option<Group>, caller: &Caller, id: GroupId) -> Result<Group, Refusal> {
    found
        .filter(|group| caller.sees(&group.project))
        .ok_or_else(|| Refusal::NotFound { what: id.to_string() })
}

impl Commands {
    fn group_ids(&self, caller: &Caller, idempotency_key: Option<&IdempotencyKey>) -> Result<Ids, Error> {
        let new = || {
            let generation = GenerationId(Uuid::new_v4());
            Ok::<_, Error>((generation, self.new_service_secret(generation)?))
        };
        Ok(Ids {
            task: TaskId(Uuid::now_v7()),
            made: [new()?, new()?],
            key: self.hashed_key(caller, idempotency_key),
        })
    }

    /// Accepts the creation of a group: group, members, task and claims in one transaction.
    ///
    /// # Errors
    /// A refusal: 400 for values, 403 by role, 404 for a datastore, 413 for a size or a quota, 501 for a version that
    /// has real servers.
    pub async fn create_group(&self, caller: &Caller, request: CreateGroup) -> Result<Group, Error> {
        let idempotency_key = request.idempotency_key.clone();
        if let Some(before) =
            self.earlier_task(caller, Rule::InstanceCreate, idempotency_key.as_ref()).await?
        {
            return self.group_of(before).await;
        }
        let ids = self.group_ids(caller, idempotency_key.as_ref())?;
        let (id, task) = (GroupId(Uuid::new_v4()), ids.task);
        let members = [InstanceId(Uuid::new_v4()), InstanceId(Uuid::new_v4())];
        let (asker, quota) = (caller.clone(), self.quota);
        let done =
            self.db.transact(move |conn| create(conn, &asker, &request, (id, members), &ids, quota)).await;
        let done = done.map(|group| (group, task));
        let (group, by) = self
            .heard_group(caller, (task, id), idempotency_key.as_ref(), Rule::InstanceCreate, done)
            .await?;
        if by == task && group.id == id {
            tracing::info!(task.id = %task, group.id = %id, "creation of a group accepted");
        }
        Ok(group)
    }

    /// Accepts the deletion of a group and its members; for one that is being made it is the end of that. `Ok` also for
    /// one that is being deleted.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 422 for a busy one.
    pub async fn delete_group(&self, caller: &Caller, id: GroupId) -> Result<(), Error> {
        let caller = caller.clone();
        let task = TaskId(Uuid::now_v7());
        self.db.transact(move |conn| delete(conn, &caller, id, task)).await?;
        tracing::info!(task.id = %task, group.id = %id, "deletion of a group accepted");
        Ok(())
    }

    /// Accepts an upgrade of a group, and gives the group with the upgrade's task. The order of the answers is api-ref's:
    /// 400 for an unknown datastore or version, 403, 404, 501 for a datastore without upgrades of groups, 422 for the
    /// state, 400 for a pair without a path.
    ///
    /// # Errors
    /// The refusal, or the store's error.
    pub async fn upgrade_group(
        &self,
        caller: &Caller,
        id: GroupId,
        request: UpgradeGroup,
    ) -> Result<(Group, TaskId), Error> {
        let idempotency_key = request.idempotency_key.clone();
        if let Some(before) =
            self.earlier_task(caller, Rule::InstanceAction, idempotency_key.as_ref()).await?
        {
            return Ok((self.group_of(before).await?, before));
        }
        let found = self.db.run(move |conn| groups::find(conn, id)).await?;
        if let Some(primary) =
            found.filter(|group| caller.sees(&group.project)).as_ref().and_then(Group::primary)
        {
            self.simulated_acceptance(primary).await?;
        }
        let ids = self.group_ids(caller, idempotency_key.as_ref())?;
        let (task, asker) = (ids.task, caller.clone());
        let done = self.db.transact(move |conn| upgrade(conn, &asker, id, &request, &ids)).await;
        let (group, by) = self
            .heard_group(caller, (task, id), idempotency_key.as_ref(), Rule::InstanceAction, done)
            .await?;
        if by == task {
            tracing::info!(task.id = %task, group.id = %id, "upgrade of a group accepted");
        }
        Ok((group, by))
    }

    /// Accepts that the members of a group change roles, and gives the group with the task.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 422 for the state.
    pub async fn fail_group_over(&self, caller: &Caller, id: GroupId) -> Result<(Group, TaskId), Error> {
        let (asker, task) = (caller.clone(), TaskId(Uuid::now_v7()));
        let done = self.db.transact(move |conn| fail_over(conn, &asker, id, task)).await;
        let done = done.map(|group| (group, task));
        let accepted = self.heard_group(caller, (task, id), None, Rule::InstanceAction, done).await?;
        tracing::info!(task.id = %task, group.id = %id, "a change of roles accepted");
        Ok(accepted)
    }

    /// The group that the task of an earlier request makes or upgrades.
    ///
    /// # Errors
    /// A refusal: 404 for one that is gone.
    async fn group_of(&self, task: TaskId) -> Result<Group, Error> {
        let found: Result<_, db::Error> = self
            .db
            .run(move |conn| match tasks::find(conn, task)?.and_then(|task| task.plan.group()) {
                Some(group) => groups::find(conn, group),
                None => Ok(None),
            })
            .await;
        found?.ok_or_else(|| Refusal::NotFound { what: task.to_string() }.into())
    }

    /// What became of an acceptance, and by which task: where its commit was not heard of, whether its task is there; and
    /// where it was refused, whether the same request was accepted meanwhile.
    async fn heard_group(
        &self,
        caller: &Caller,
        (task, id): (TaskId, GroupId),
        idempotency_key: Option<&IdempotencyKey>,
        rule: Rule,
        done: Result<(Group, TaskId), Error>,
    ) -> Result<(Group, TaskId), Error> {
        match done {
            Err(Error::Refused(refusal)) if idempotency_key.is_some() => {
                match self.earlier_task(caller, rule, idempotency_key).await? {
                    Some(before) => Ok((self.group_of(before).await?, before)),
                    None => Err(Error::Refused(refusal)),
                }
            }
            done => {
                let find = move |conn: &mut Conn| match tasks::find(conn, task)? {
                    Some(_) => Ok(groups::find(conn, id)?.map(|group| (group, task))),
                    None => Ok(None),
                };
                self.heard_of(find, done).await
            }
        }
    }
}

fn create(
    conn: &mut Conn,
    caller: &Caller,
    request: &CreateGroup,
    (id, [primary, standby]): (GroupId, [InstanceId; 2]),
    ids: &Ids,
    quota: Quota,
) -> Result<Group, Error> {
    if let Some(before) = idempotency::take(conn, ids.key.as_ref(), ids.task)? {
        return made_by(conn, before);
    }
    let catalogue = catalogue_cache::now(conn)?;
    allow(caller, Rule::InstanceCreate)?;
    let version =
        resolve_version(&catalogue.datastores, Some(&request.datastore), request.version.as_deref())?;
    let flavor = catalogue
        .flavor(&request.flavor)
        .cloned()
        .ok_or_else(|| Refusal::Invalid(format!("Flavor {} cannot be found.", request.flavor)))?;
    if flavor.ram_mb < LEAST_RAM_MB {
        return Err(Refusal::Invalid(format!(
            "Flavor {} is too small: a member of a group has {LEAST_RAM_MB} MB of memory at least.",
            request.flavor
        ))
        .into());
    }
    if version.runtime != RuntimeKind::Simulated {
        return Err(Refusal::NoGroups { version: version.title() }.into());
    }
    let asked = [request.primary.zone.as_deref(), request.standby.zone.as_deref()];
    let [primary_zone, standby_zone] = spread(asked, zones(version.runtime))?;
    if request.volume_gb > MAX_VOLUME_GB {
        return Err(Refusal::NoRoom(format!(
            "Volume 'size' cannot exceed maximum of {MAX_VOLUME_GB} GB, {} cannot be accepted.",
            request.volume_gb
        ))
        .into());
    }
    let host = hosts::place(conn, &version)?
        .ok_or_else(|| Refusal::Unavailable(format!("No host that runs {} is up.", version.title())))?;
    let one = Usage::of_instance(request.volume_gb, flavor.ram_mb);
    let both = Usage { instances: 2, volumes_gb: one.volumes_gb * 2, ram_mb: one.ram_mb * 2 };
    reserve(conn, &caller.project, quota, &both)?;
    let [(primary_server, primary_secret), (standby_server, standby_secret)] = &ids.made;
    groups::insert(
        conn,
        &New {
            id,
            project: &caller.project,
            name: &request.name,
            flavor: &flavor,
            volume_gb: request.volume_gb,
            version: &version,
            host: &host,
            primary: NewMember {
                id: primary,
                generation: *primary_server,
                name: &request.primary.name,
                zone: primary_zone,
                service_secret: primary_secret,
            },
            standby: NewMember {
                id: standby,
                generation: *standby_server,
                name: &request.standby.name,
                zone: standby_zone,
                service_secret: standby_secret,
            },
        },
    )?;
    let plan = Plan::MakeGroup(MakePlan {
        form: 1,
        group: id,
        primary: (primary, *primary_server),
        standby: (standby, *standby_server),
    });
    let claims = [(primary, tasks::Claim::Subject), (standby, tasks::Claim::Subject)];
    let new = tasks::New {
        id: ids.task,
        project: &caller.project,
        host: &host,
        plan: &plan,
        secrets: None,
        claims: &claims,
        timing: Timing::Now,
        starts: None,
    };
    if !tasks::insert(conn, &new)? {
        return Err(Error::Inconsistent(format!("a member of the new group {id} is claimed")));
    }
    let group = again(conn, id)?;
    note(conn, caller, &group, Some(ids.task), "group_create_accepted")?;
    Ok(group)
}

/// The least memory of a member: what a server that replicates needs.
const LEAST_RAM_MB: i32 = 1024;

/// Accepts the deletion of a group.
///
/// # Errors
/// A refusal: 403 by role, 404, 422 for a busy one; the store's.
pub(super) fn delete(conn: &mut Conn, caller: &Caller, id: GroupId, task: TaskId) -> Result<(), Error> {
    allow(caller, Rule::InstanceDelete)?;
    let mut group = visible(groups::lock(conn, id)?, caller, id)?;
    let not_ready = || Refusal::GroupNotReady { id, state: group.state.ha_state() };
    if group.state == GroupState::Deleting {
        return Ok(());
    }
    let next = group.state.after(GroupEvent::DeleteAccepted).map_err(|_| not_ready())?;
    for member in group.members.clone() {
        let Some(live) = tasks::lock_live(conn, member.id)? else { continue };
        if group.state != GroupState::Building {
            return Err(not_ready().into());
        }
        // Its making is ended, and takes away what is there.
        give_up(conn, &live).map_err(|_| not_ready())??;
        doomed(conn, &mut group, next)?;
        return note(conn, caller, &group, Some(live.id), "group_delete_accepted");
    }
    withdraw_planned(conn, caller, &group)?;
    let mut held = Vec::new();
    for member in &group.members {
        windows::drop_own(conn, member.id)?;
        db::policies::drop_own(conn, member.id)?;
        let generations = generations::of_instance(conn, member.id)?;
        held.push((member.id, generations.iter().map(|it| it.id).collect()));
    }
    let claims: Vec<_> = group.members.iter().map(|it| (it.id, tasks::Claim::Subject)).collect();
    let plan = Plan::UnmakeGroup(UnmakePlan { form: 1, group: id, members: held });
    let new = tasks::New {
        id: task,
        project: &group.project,
        host: &group.host,
        plan: &plan,
        secrets: None,
        claims: &claims,
        timing: Timing::Now,
        starts: None,
    };
    if !tasks::insert(conn, &new)? {
        return Err(not_ready().into());
    }
    doomed(conn, &mut group, next)?;
    note(conn, caller, &group, Some(task), "group_delete_accepted")
}

/// Says of a group and its members that they are being deleted.
fn doomed(conn: &mut Conn, group: &mut Group, next: GroupState) -> Result<(), Error> {
    let not_ready = Refusal::GroupNotReady { id: group.id, state: group.state.ha_state() };
    for mut member in group.members.clone() {
        member.state = member.state.after(InstanceEvent::DeleteAccepted).map_err(|_| not_ready.clone())?;
        instances::save(conn, &member)?;
    }
    group.state = next;
    Ok(groups::save(conn, group)?)
}

/// Ends the upgrade that is planned for a group which is deleted.
fn withdraw_planned(conn: &mut Conn, caller: &Caller, group: &Group) -> Result<(), Error> {
    let Some(member) = group.members.first() else { return Ok(()) };
    let Some(planned) = tasks::planned(conn, member.id)? else { return Ok(()) };
    let Some(mut task) = tasks::lock(conn, planned)? else { return Ok(()) };
    // Another has ended it since.
    let Ok(next) = task.progress.after(task.kind(), TaskEvent::Withdrawn) else { return Ok(()) };
    task.reason = Some("The group was deleted before the upgrade began.".to_owned());
    tasks::advance(conn, &task, next, std::time::Duration::ZERO)?;
    note(conn, caller, group, Some(planned), "upgrade_withdrawn")
}

fn upgrade(
    conn: &mut Conn,
    caller: &Caller,
    id: GroupId,
    request: &UpgradeGroup,
    ids: &Ids,
) -> Result<(Group, TaskId), Error> {
    if let Some(before) = idempotency::take(conn, ids.key.as_ref(), ids.task)? {
        return Ok((made_by(conn, before)?, before));
    }
    let catalogue = catalogue_cache::now(conn)?;
    // An unknown datastore is told before an unknown group.
    let named = match &request.target {
        Target::Named { datastore, version } => Some(named(&catalogue, datastore, version)?),
        Target::Newest => None,
    };
    allow(caller, Rule::InstanceAction)?;
    let mut group = visible(groups::lock(conn, id)?, caller, id)?;
    let now = group.shown_version();
    if !catalogue.has_rolling(now) {
        return Err(Refusal::NoUpgrades { datastore: now.datastore.clone() }.into());
    }
    let facts = GroupFacts::read(conn, &group)?;
    free(&group, facts.busy)?;
    let target = match named {
        Some(target) => target,
        None => newest_of(&catalogue, &group)?,
    };
    let starts = starts(conn, &group, request.timing)?;
    let members = rolling::way(facts.known(&group), &target)?;
    if !catalogue.runs(&group.host, &target) {
        return Err(Refusal::Unavailable(format!("The group's host cannot run {}.", target.title())).into());
    }
    let made = Made { primary: ids.made[0].0, standby: ids.made[1].0 };
    let plan = rolling::plan(&group, members, &target, request.second_switch, made);
    let new = Accept {
        task: ids.task,
        plan,
        secrets: ids.made.to_vec(),
        timing: request.timing,
        starts,
        actor: &caller.user,
    };
    if !rollings::accept(conn, &mut group, new)? {
        let state = group.state.ha_state();
        return Err(Refusal::GroupNotReady { id, state }.into());
    }
    Ok((again(conn, id)?, ids.task))
}

/// When an upgrade of the group begins; at once for `None`. Its window is its primary's.
fn starts(conn: &mut Conn, group: &Group, timing: Timing) -> Result<Option<DateTime<Utc>>, Error> {
    if timing == Timing::Now {
        return Ok(None);
    }
    let member = group.primary().map(|primary| primary.id);
    let (window, _) = windows::of(conn, &group.project, member)?;
    Ok(timing.starts(&window, windows::now(conn)?))
}

/// The version that is meant, by the names or ids of a datastore and of a version in it.
fn named(catalogue: &Catalogue, datastore: &str, version: &str) -> Result<DatastoreVersion, Refusal> {
    let unknown = |what: &str, name: &str, field: &str| {
        Refusal::Invalid(format!("{what} '{name}' named by upgrade['{field}'] cannot be found."))
    };
    let same = |text: &str, wanted: &str| text.eq_ignore_ascii_case(wanted);
    let mut stores = catalogue.datastores.iter().filter(|store| !store.versions.is_empty());
    let store = stores
        .find(|store| same(&store.name, datastore) || same(&store.id.to_string(), datastore))
        .ok_or_else(|| unknown("Datastore", datastore, "datastore_type"))?;
    let found = store.versions.iter().find(|it| it.name == version || same(&it.id.to_string(), version));
    found.cloned().ok_or_else(|| unknown("Datastore version", version, "datastore_version"))
}

/// The newest build of the group's version to which it may go.
fn newest_of(catalogue: &Catalogue, group: &Group) -> Result<DatastoreVersion, Refusal> {
    let now = group.shown_version();
    let may = |to: &DatastoreVersion| {
        let leads =
            catalogue.paths.iter().any(|path| path.leads(now.id, Way::Rolling) && path.to.id == to.id);
        leads && catalogue.runs(&group.host, to)
    };
    newest(now, catalogue.versions(), may).cloned().ok_or_else(|| Refusal::NoRolling {
        from: now.title(),
        to: format!("a newer build of {}", now.title()),
    })
}

fn fail_over(conn: &mut Conn, caller: &Caller, id: GroupId, task: TaskId) -> Result<Group, Error> {
    allow(caller, Rule::InstanceAction)?;
    let mut group = visible(groups::lock(conn, id)?, caller, id)?;
    let facts = GroupFacts::read(conn, &group)?;
    let plan = rolling::failover(&group, facts.busy)?;
    if !rollings::accept_failover(conn, &mut group, task, plan, &caller.user)? {
        let state = group.state.ha_state();
        return Err(Refusal::GroupNotReady { id, state }.into());
    }
    again(conn, id)
}

/// What a task of an earlier request makes or upgrades.
fn made_by(conn: &mut Conn, task: TaskId) -> Result<Group, Error> {
    let group = tasks::find(conn, task)?.and_then(|task| task.plan.group());
    let group =
        group.ok_or_else(|| Error::Inconsistent(format!("the task {task} of a key is of no group")))?;
    groups::find(conn, group)?.ok_or_else(|| Refusal::NotFound { what: group.to_string() }.into())
}

/// Reads a group that must be there.
fn again(conn: &mut Conn, id: GroupId) -> Result<Group, Error> {
    groups::find(conn, id)?.ok_or_else(|| Error::Inconsistent(format!("group {id} is gone")))
}

/// Records who did what.
fn note(
    conn: &mut Conn,
    caller: &Caller,
    group: &Group,
    task: Option<TaskId>,
    what: &str,
) -> Result<(), Error> {
    let (project, data) = (&group.project, serde_json::json!({"group": group.id}));
    let event = events::Event { project, instance: None, task, actor: &caller.user, what, data };
    Ok(events::record(conn, &event)?)
}
