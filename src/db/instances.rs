//! Instances.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::schema::instances;
use crate::db::{Conn, Error, catalogue};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::flavor::Flavor;
use crate::domain::ids::{DatastoreId, FlavorId, GenerationId, HostId, InstanceId, ProjectId, VersionId};
use crate::domain::instance::{Fault, Instance, InstanceState, Running, Seen};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    flavor_id: String,
    #[diesel(sql_type = Text)]
    flavor_name: String,
    #[diesel(sql_type = Integer)]
    ram_mb: i32,
    #[diesel(sql_type = Integer)]
    vcpus: i32,
    #[diesel(sql_type = Integer)]
    volume_gb: i32,
    #[diesel(sql_type = SqlUuid)]
    wanted_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    datastore_id: Uuid,
    #[diesel(sql_type = Text)]
    datastore: String,
    #[diesel(sql_type = Text)]
    wanted_name: String,
    #[diesel(sql_type = Text)]
    wanted_number: String,
    #[diesel(sql_type = Text)]
    engine: String,
    #[diesel(sql_type = Text)]
    runtime: String,
    #[diesel(sql_type = Bool)]
    wanted_active: bool,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    running_version_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    running_version_number: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    serving_generation_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    host_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    address: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    replica_of: Option<Uuid>,
    #[diesel(sql_type = Array<SqlUuid>)]
    replicas: Vec<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    fault_message: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    fault_details: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fault_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    answered_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    trouble: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    used_bytes: Option<i64>,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
}

const SELECT: &str = "\
    select i.id, i.project_id, i.name, i.state, i.flavor_id, f.name as flavor_name, f.ram_mb, f.vcpus, i.volume_gb, \
    w.id as wanted_id, w.datastore_id, d.name as datastore, w.name as wanted_name, w.version_number as wanted_number, \
    w.engine, w.runtime, w.active as wanted_active, i.running_version_id, i.running_version_number, \
    i.serving_generation_id, i.host_id, e.address, i.replica_of, \
    array(select r.id from instances r where r.replica_of = i.id and r.deleted_at is null order by r.id) as replicas, \
    i.fault_message, i.fault_details, i.fault_at, g.answered_at, g.trouble, g.used_bytes, i.revision, i.created_at, \
    i.updated_at \
    from instances i join flavors f on f.id = i.flavor_id join datastore_versions w on w.id = i.wanted_version_id \
    join datastores d on d.id = w.datastore_id left join endpoints e on e.instance_id = i.id \
    left join generations g on g.id = i.serving_generation_id ";

fn into_domain(conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Instance>, Error> {
    // What runs differs from what was asked for only around an upgrade, so the second look-up is rare.
    let differs = rows.iter().any(|row| row.running_version_id.is_some_and(|id| id != row.wanted_id));
    let others = if differs { catalogue::versions(conn)? } else { Vec::new() };
    rows.into_iter().map(|row| instance(row, &others)).collect()
}

fn instance(row: Row, others: &[DatastoreVersion]) -> Result<Instance, Error> {
    let wanted = DatastoreVersion {
        id: VersionId(row.wanted_id),
        datastore_id: DatastoreId(row.datastore_id),
        datastore: row.datastore,
        name: row.wanted_name,
        number: row.wanted_number,
        engine: row.engine.parse()?,
        runtime: row.runtime.parse()?,
        active: row.wanted_active,
    };
    let running = match (row.running_version_id, row.serving_generation_id) {
        (Some(id), Some(generation)) => Some(Running {
            version: if id == row.wanted_id {
                wanted.clone()
            } else {
                others
                    .iter()
                    .find(|v| v.id.0 == id)
                    .cloned()
                    .ok_or_else(|| Error::Broken(format!("running version of instance {}", row.id)))?
            },
            number: row.running_version_number.unwrap_or_default(),
            generation: GenerationId(generation),
        }),
        (_, _) => None,
    };
    Ok(Instance {
        id: InstanceId(row.id),
        project: ProjectId::parse(&row.project_id)
            .ok_or_else(|| Error::Broken(format!("project of instance {}", row.id)))?,
        name: row.name,
        state: row.state.parse()?,
        flavor: Flavor {
            id: FlavorId(row.flavor_id),
            name: row.flavor_name,
            ram_mb: row.ram_mb,
            vcpus: row.vcpus,
        },
        volume_gb: row.volume_gb,
        wanted,
        running,
        seen: Seen { answered_at: row.answered_at, trouble: row.trouble, used_bytes: row.used_bytes },
        host: HostId(row.host_id),
        address: row.address,
        replica_of: row.replica_of.map(InstanceId),
        replicas: row.replicas.into_iter().map(InstanceId).collect(),
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

/// The instance, unless it is deleted.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: InstanceId) -> Result<Option<Instance>, Error> {
    let rows = diesel::sql_query(format!("{SELECT} where i.id = $1 and i.deleted_at is null"))
        .bind::<SqlUuid, _>(id.0)
        .load::<Row>(conn)
        .map_err(Error::query("read an instance"))?;
    Ok(into_domain(conn, rows)?.pop())
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

/// A page of the project's instances in the order of their ids, after `marker`.
///
/// # Errors
/// The store's.
pub fn page(
    conn: &mut Conn,
    project: &ProjectId,
    marker: Option<InstanceId>,
    limit: i64,
) -> Result<Vec<Instance>, Error> {
    let rows = diesel::sql_query(format!(
        "{SELECT} where i.project_id = $1 and i.deleted_at is null and ($2 is null or i.id > $2) \
         order by i.id limit $3"
    ))
    .bind::<Text, _>(project.as_str())
    .bind::<Nullable<SqlUuid>, _>(marker.map(|id| id.0))
    .bind::<BigInt, _>(limit)
    .load::<Row>(conn)
    .map_err(Error::query("list instances"))?;
    into_domain(conn, rows)
}

/// An instance to insert.
pub struct New<'a> {
    /// Its id.
    pub id: InstanceId,
    /// The project that owns it.
    pub project: &'a ProjectId,
    /// Its name.
    pub name: &'a str,
    /// Its flavor.
    pub flavor: &'a FlavorId,
    /// Its volume in GB.
    pub volume_gb: i32,
    /// The version that was asked for.
    pub wanted: VersionId,
    /// The host that it will live on.
    pub host: &'a HostId,
    /// The instance that it replicates from.
    pub replica_of: Option<InstanceId>,
}

/// Inserts an instance that is building.
///
/// # Errors
/// The store's.
pub fn insert(conn: &mut Conn, new: &New<'_>) -> Result<(), Error> {
    diesel::insert_into(instances::table)
        .values((
            instances::id.eq(new.id.0),
            instances::project_id.eq(new.project.as_str()),
            instances::name.eq(new.name),
            instances::state.eq(InstanceState::Building.as_str()),
            instances::flavor_id.eq(&new.flavor.0),
            instances::volume_gb.eq(new.volume_gb),
            instances::wanted_version_id.eq(new.wanted.0),
            instances::host_id.eq(&new.host.0),
            instances::replica_of.eq(new.replica_of.map(|id| id.0)),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("insert an instance"))
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
            instances::running_version_id.eq(instance.running.as_ref().map(|r| r.version.id.0)),
            instances::running_version_number.eq(instance.running.as_ref().map(|r| r.number.clone())),
            instances::serving_generation_id.eq(instance.running.as_ref().map(|r| r.generation.0)),
            instances::replica_of.eq(instance.replica_of.map(|id| id.0)),
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
