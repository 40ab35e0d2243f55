//! Instances.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::catalogue_cache::Catalogue;
use crate::db::schema::instances;
use crate::db::statement::{self, statement};
use crate::db::{Conn, Error, catalogue_cache};
use crate::domain::ids::{
    ConfigurationId, FlavorId, GenerationId, GroupId, HostId, InstanceId, ProjectId, TaskId, VersionId,
};
use crate::domain::instance::{Fault, Instance, InstanceState, Member, Running, Seen};
use crate::domain::simulation::ACCEPT;

/// What is selected of an instance, in the order of [`Row`].
type Columns = (
    SqlUuid,
    Text,
    Text,
    Text,
    Text,
    Integer,
    SqlUuid,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<SqlUuid>,
    Text,
    Nullable<Text>,
    Nullable<SqlUuid>,
    Array<SqlUuid>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Text>,
    Nullable<BigInt>,
    BigInt,
    Timestamptz,
    Timestamptz,
    SqlUuid,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<Array<Text>>,
    (Nullable<SqlUuid>, Nullable<Text>, Nullable<Bool>),
    (Nullable<Text>, Nullable<Timestamptz>),
);

#[derive(Queryable)]
struct Row {
    id: Uuid,
    project_id: String,
    name: String,
    state: String,
    flavor_id: String,
    volume_gb: i32,
    wanted_version_id: Uuid,
    running_version_id: Option<Uuid>,
    running_version_number: Option<String>,
    serving_generation_id: Option<Uuid>,
    host_id: String,
    address: Option<String>,
    replica_of: Option<Uuid>,
    replicas: Vec<Uuid>,
    fault_message: Option<String>,
    fault_details: Option<String>,
    fault_at: Option<DateTime<Utc>>,
    answered_at: Option<DateTime<Utc>>,
    trouble: Option<String>,
    used_bytes: Option<i64>,
    revision: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    catalogue: Uuid,
    group_id: Option<Uuid>,
    zone: Option<String>,
    allowed_cidrs: Option<Vec<String>>,
    configured: (Option<Uuid>, Option<String>, Option<bool>),
    volume: (Option<String>, Option<DateTime<Utc>>),
}

const SELECT: &str = "\
    select i.id, i.project_id, i.name, i.state, i.flavor_id, i.volume_gb, i.wanted_version_id, i.running_version_id, \
    i.running_version_number, i.serving_generation_id, i.host_id, e.address, i.replica_of, \
    array(select r.id from instances r where r.replica_of = i.id and r.deleted_at is null order by r.id), \
    i.fault_message, i.fault_details, i.fault_at, g.answered_at, g.trouble, g.used_bytes, i.revision, i.created_at, \
    i.updated_at, (select revision from catalogue), i.group_id, i.zone, e.allowed_cidrs, \
    i.configuration_id, (select k.name from configurations k where k.id = i.configuration_id), g.needs_restart, \
    g.volume_state, g.volume_state_since";

const FROM: &str = " from instances i left join endpoints e on e.instance_id = i.id \
    left join generations g on g.id = i.serving_generation_id ";

statement! {
    /// One instance.
    Find { id: Uuid } -> Columns;
    { SELECT } { FROM } { "where i.deleted_at is null and i.id = " } [id as SqlUuid]
}

statement! {
    /// A page of a project's instances. The ids come first, from the index alone, and from a number of them that is
    /// known when the statement is planned, so that the plan is made once and is the same for every size of page and of
    /// project.
    Page { project: String, marker: Uuid, limit: i64 } -> Columns;
    { SELECT } { FROM }
    { "where i.id = any(array(select n.id from (select p.id from instances p where p.deleted_at is null \
       and p.project_id = " }
    [project as Text] { " and p.id > " } [marker as SqlUuid] { " order by p.id limit 1001) n limit " }
    [limit as BigInt] { ")) order by i.id" }
}

statement! {
    /// One instance, and what else the acceptance of an upgrade depends on.
    FindToUpgrade { id: Uuid, accept: &'static str } -> (Columns, (Bool, Bool, Bool, Nullable<SqlUuid>));
    { SELECT }
    { ", exists (select from task_instances t where t.instance_id = i.id and t.live), \
       exists (select from simulations s where s.instance_id = i.id and s.step = " } [accept as Text]
    { "), exists (select from quotas q where q.project_id = i.project_id), \
       (select t.task_id from task_instances t where t.instance_id = i.id and t.planned)" }
    { FROM } { "where i.deleted_at is null and i.id = " } [id as SqlUuid]
}

fn instance(row: Row, catalogue: &Catalogue) -> Result<Instance, Error> {
    let missing = |what: &str| Error::Broken(format!("{what} of instance {}", row.id));
    let version = |id: Uuid| catalogue.version(VersionId(id)).cloned();
    let wanted = version(row.wanted_version_id).ok_or_else(|| missing("wanted version"))?;
    let running = match (row.running_version_id, row.serving_generation_id) {
        (Some(id), Some(generation)) => Some(Running {
            version: version(id).ok_or_else(|| missing("running version"))?,
            number: row.running_version_number.unwrap_or_default(),
            generation: GenerationId(generation),
        }),
        (_, _) => None,
    };
    let flavor =
        catalogue.flavor(&FlavorId(row.flavor_id.clone())).cloned().ok_or_else(|| missing("flavor"))?;
    Ok(Instance {
        id: InstanceId(row.id),
        project: ProjectId::parse(&row.project_id)
            .ok_or_else(|| Error::Broken(format!("project of instance {}", row.id)))?,
        name: row.name,
        state: row.state.parse()?,
        flavor,
        volume_gb: row.volume_gb,
        wanted,
        running,
        seen: Seen {
            answered_at: row.answered_at,
            trouble: row.trouble,
            used_bytes: row.used_bytes,
            needs_restart: row.configured.2.unwrap_or_default(),
            volume: (row.volume.0.as_deref().map(str::parse).transpose()?.unwrap_or_default(), row.volume.1),
        },
        host: HostId(row.host_id),
        address: row.address,
        allowed_cidrs: row.allowed_cidrs.unwrap_or_default(),
        configuration: row.configured.0.zip(row.configured.1).map(|(id, name)| (ConfigurationId(id), name)),
        replica_of: row.replica_of.map(InstanceId),
        replicas: row.replicas.into_iter().map(InstanceId).collect(),
        member: row.group_id.zip(row.zone).map(|(id, zone)| Member { group: GroupId(id), zone }),
        fault: row.fault_message.zip(row.fault_at).map(|(message, at)| Fault {
            message,
            details: row.fault_details,
            at,
        }),
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: row.revision,
    })
}

/// The instance, unless it is deleted, and the catalogue that it is seen against.
///
/// # Errors
/// The store's.
pub fn find_shown(conn: &mut Conn, id: InstanceId) -> Result<Option<(Instance, Arc<Catalogue>)>, Error> {
    let found =
        Find { id: id.0 }.get_result::<Row>(conn).optional().map_err(Error::query("read an instance"))?;
    let Some(row) = found else { return Ok(None) };
    let catalogue = catalogue_cache::at(conn, row.catalogue)?;
    Ok(Some((instance(row, &catalogue)?, catalogue)))
}

/// The instance, unless it is deleted.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: InstanceId) -> Result<Option<Instance>, Error> {
    Ok(find_shown(conn, id)?.map(|(instance, _)| instance))
}

statement! {
    /// The members of groups, each group's primary in front of its standby.
    Members { groups: Vec<Uuid> } -> Columns;
    { SELECT } { FROM } { "where i.deleted_at is null and i.group_id = any(" } [groups as Array<SqlUuid>]
    { ") order by i.group_id, i.replica_of is not null, i.id" }
}

/// The members of groups, each group's primary in front of its standby.
///
/// # Errors
/// The store's.
pub fn members(conn: &mut Conn, groups: &[GroupId]) -> Result<Vec<Instance>, Error> {
    let groups = groups.iter().map(|id| id.0).collect();
    let rows = Members { groups }.load::<Row>(conn).map_err(Error::query("read the members of groups"))?;
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let catalogue = catalogue_cache::at(conn, first.catalogue)?;
    rows.into_iter().map(|row| instance(row, &catalogue)).collect()
}

/// An instance, and what else the acceptance of an upgrade depends on.
pub struct ToUpgrade {
    /// The instance.
    pub instance: Instance,
    /// The catalogue that the matrix is read from; never older than the instance.
    pub catalogue: Arc<Catalogue>,
    /// Whether a live task has claimed it.
    pub busy: bool,
    /// The upgrade of it that is accepted for later.
    pub planned: Option<TaskId>,
    /// Whether an operator asked for something to happen at the acceptance.
    pub rehearsed: bool,
    /// Whether an operator set limits of its project.
    pub limited: bool,
}

/// The instance, unless it is deleted, with what else the acceptance of an upgrade depends on.
///
/// # Errors
/// The store's.
pub fn find_to_upgrade(conn: &mut Conn, id: InstanceId) -> Result<Option<ToUpgrade>, Error> {
    let found = FindToUpgrade { id: id.0, accept: ACCEPT }
        .get_result::<(Row, (bool, bool, bool, Option<Uuid>))>(conn)
        .optional()
        .map_err(Error::query("read an instance to upgrade"))?;
    let Some((row, (busy, rehearsed, limited, planned))) = found else { return Ok(None) };
    let catalogue = catalogue_cache::at(conn, row.catalogue)?;
    let planned = planned.map(TaskId);
    Ok(Some(ToUpgrade { instance: instance(row, &catalogue)?, catalogue, busy, planned, rehearsed, limited }))
}

statement! {
    /// A page of every project's instances, or of one's.
    PageOfAll { deleted: bool, project: Option<String>, limit: i64, offset: i64 } -> (Columns, (Nullable<Timestamptz>, Nullable<Text>));
    { SELECT } { ALL } { FROM } { "where (i.deleted_at is not null) = " } [deleted as Bool]
    { " and i.project_id = coalesce(" } [project as Nullable<Text>] { ", i.project_id) order by i.updated_at desc, i.id limit " }
    [limit as BigInt] { " offset " } [offset as BigInt]
}

statement! {
    /// One instance, also where it is deleted.
    FindOfAll { id: Uuid } -> (Columns, (Nullable<Timestamptz>, Nullable<Text>));
    { SELECT } { ALL } { FROM } { "where i.id = " } [id as SqlUuid]
}

/// What is selected besides of an instance that an operator looks at.
const ALL: &str = ", i.deleted_at, (select t.kind || ': ' || coalesce(t.step, t.state) from tasks t \
    join task_instances c on c.task_id = t.id and c.live where c.instance_id = i.id limit 1)";

/// An instance as an operator looks at it.
pub struct Found {
    /// The instance.
    pub instance: Instance,
    /// The catalogue that it is seen against.
    pub catalogue: Arc<Catalogue>,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// The task that has it, and its step.
    pub task: Option<String>,
}

/// A row, and what is selected besides.
type RowOfAll = (Row, (Option<DateTime<Utc>>, Option<String>));

fn found(conn: &mut Conn, rows: Vec<RowOfAll>) -> Result<Vec<Found>, Error> {
    rows.into_iter()
        .map(|(row, (deleted_at, task))| {
            let catalogue = catalogue_cache::at(conn, row.catalogue)?;
            Ok(Found { instance: instance(row, &catalogue)?, catalogue, deleted_at, task })
        })
        .collect()
}

/// A page of every project's instances, or of one's, what was changed last first: those that are there, or those that are
/// deleted.
///
/// # Errors
/// The store's.
pub fn page_of_all(
    conn: &mut Conn,
    project: Option<&ProjectId>,
    deleted: bool,
    offset: i64,
    limit: i64,
) -> Result<Vec<Found>, Error> {
    let project = project.map(|project| project.as_str().to_owned());
    let page = PageOfAll { deleted, project, limit, offset };
    let rows = page.load(conn).map_err(Error::query("list every project's instances"))?;
    found(conn, rows)
}

/// The instance, also where it is deleted.
///
/// # Errors
/// The store's.
pub fn find_of_all(conn: &mut Conn, id: InstanceId) -> Result<Option<Found>, Error> {
    let rows = FindOfAll { id: id.0 }.load(conn).map_err(Error::query("read any instance"))?;
    Ok(found(conn, rows)?.pop())
}

/// The texts of the statements that show an instance, list a page, and read an instance to upgrade, with `$1` and so on
/// for their values.
pub fn texts() -> [String; 3] {
    let page = Page { project: String::new(), marker: Uuid::nil(), limit: 1 };
    let upgrade = FindToUpgrade { id: Uuid::nil(), accept: ACCEPT };
    [statement::text(&Find { id: Uuid::nil() }), statement::text(&page), statement::text(&upgrade)]
}

/// The instance, unless it is deleted, locked until the transaction ends.
///
/// # Errors
/// The store's.
pub fn lock(conn: &mut Conn, id: InstanceId) -> Result<Option<Instance>, Error> {
    let locked: Option<Uuid> = instances::table
        .find(id.0)
        .filter(instances::deleted_at.is_null())
        .select(instances::id)
        .for_update()
        .first(conn)
        .optional()
        .map_err(Error::query("lock an instance"))?;
    match locked {
        Some(_) => find(conn, id),
        None => Ok(None),
    }
}

/// A page of the project's instances in the order of their ids, after `marker`, and the catalogue that they are seen
/// against; none for an empty page.
///
/// # Errors
/// The store's.
pub fn page(
    conn: &mut Conn,
    project: &ProjectId,
    marker: Option<InstanceId>,
    limit: i64,
) -> Result<(Vec<Instance>, Option<Arc<Catalogue>>), Error> {
    let page = Page {
        project: project.as_str().to_owned(),
        // No instance has the least id.
        marker: marker.map_or(Uuid::nil(), |id| id.0),
        limit,
    };
    let rows = page.load::<Row>(conn).map_err(Error::query("list instances"))?;
    let Some(first) = rows.first() else { return Ok((Vec::new(), None)) };
    let catalogue = catalogue_cache::at(conn, first.catalogue)?;
    let page = rows.into_iter().map(|row| instance(row, &catalogue)).collect::<Result<_, _>>()?;
    Ok((page, Some(catalogue)))
}

/// Gives an instance that was made in this transaction its configuration group.
///
/// # Errors
/// The store's.
pub fn set_configuration(conn: &mut Conn, id: InstanceId, group: ConfigurationId) -> Result<(), Error> {
    diesel::update(instances::table.find(id.0))
        .set(instances::configuration_id.eq(group.0))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("give an instance its configuration"))
}

/// Writes what may change of an instance, guarded by the revision that was read.
///
/// # Errors
/// [`Error::Stale`] when another changed it since.
pub fn save(conn: &mut Conn, instance: &Instance) -> Result<(), Error> {
    let deleted = instance.state == InstanceState::Deleted;
    let rows = diesel::update(
        instances::table.find(instance.id.0).filter(instances::revision.eq(instance.revision)),
    )
    .set((
        (
            instances::name.eq(&instance.name),
            instances::state.eq(instance.state.as_str()),
            instances::flavor_id.eq(&instance.flavor.id.0),
            instances::volume_gb.eq(instance.volume_gb),
            instances::running_version_id.eq(instance.running.as_ref().map(|r| r.version.id.0)),
            instances::running_version_number.eq(instance.running.as_ref().map(|r| r.number.clone())),
            instances::serving_generation_id.eq(instance.running.as_ref().map(|r| r.generation.0)),
            instances::replica_of.eq(instance.replica_of.map(|id| id.0)),
            instances::configuration_id.eq(instance.configuration.as_ref().map(|(id, _)| id.0)),
        ),
        instances::fault_message.eq(instance.fault.as_ref().map(|f| f.message.clone())),
        instances::fault_details.eq(instance.fault.as_ref().and_then(|f| f.details.clone())),
        instances::fault_at.eq(instance.fault.as_ref().map(|f| f.at)),
        instances::revision.eq(instance.revision + 1),
        instances::updated_at.eq(diesel::dsl::now),
        instances::deleted_at.eq(deleted.then(Utc::now)),
    ))
    .execute(conn)
    .map_err(Error::query("save an instance"))?;
    if rows == 1 { Ok(()) } else { Err(Error::Stale("the instance")) }
}
