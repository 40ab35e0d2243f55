//! Generations.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::schema::generations;
use crate::db::{Conn, Error, endpoints};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::generation::{Certificate, Generation, Role};
use crate::domain::ids::{DatastoreId, GenerationId, HostId, InstanceId, VersionId};
use crate::domain::volume::VolumeState;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    instance_id: Uuid,
    #[diesel(sql_type = Text)]
    host_id: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = SqlUuid)]
    version_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    datastore_id: Uuid,
    #[diesel(sql_type = Text)]
    datastore: String,
    #[diesel(sql_type = Text)]
    version_name: String,
    #[diesel(sql_type = Text)]
    version_number: String,
    #[diesel(sql_type = Text)]
    engine: String,
    #[diesel(sql_type = Text)]
    runtime: String,
    #[diesel(sql_type = Bool)]
    active: bool,
    #[diesel(sql_type = Text)]
    defaults_of: String,
    #[diesel(sql_type = BigInt)]
    server_id: i64,
    #[diesel(sql_type = Text)]
    service_secret: String,
    #[diesel(sql_type = Integer)]
    ram_mb: i32,
    #[diesel(sql_type = Integer)]
    vcpus: i32,
    #[diesel(sql_type = Bool)]
    read_only: bool,
    #[diesel(sql_type = Integer)]
    volume_gb: i32,
    #[diesel(sql_type = Text)]
    volume_state: String,
    #[diesel(sql_type = Bool)]
    events: bool,
    #[diesel(sql_type = Bool)]
    is_replica: bool,
    #[diesel(sql_type = Text)]
    wanted: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    parameters: Option<serde_json::Value>,
    #[diesel(sql_type = Bool)]
    needs_restart: bool,
    #[diesel(sql_type = Array<Text>)]
    logs: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    account: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    address: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    certificate: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    key_secret: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    authority: Option<String>,
    #[diesel(sql_type = Bool)]
    is_current: bool,
    #[diesel(sql_type = Bool)]
    was_changed: bool,
}

const SELECT: &str = "\
    select g.id, g.instance_id, g.host_id, g.role, g.version_id, v.datastore_id, d.name as datastore, \
    v.name as version_name, v.version_number, v.engine, v.runtime, v.active, \
    coalesce(i.defaults_of, i.running_version_number, s.defaults_of, s.running_version_number, v.version_number) \
    as defaults_of, g.server_id, g.service_secret, f.ram_mb, f.vcpus, \
    g.read_only, i.volume_gb, g.volume_state, g.events, i.replica_of is not null as is_replica, g.wanted, c.address, c.certificate, c.key_secret, \
    (select string_agg(t.certificate, '' order by t.state = 'signing' desc, t.created_at desc) from authorities t) as authority, \
    coalesce(a.state = 'signing', false) as is_current, \
    (c.renewed_at is not null or (select count(*) > 1 from authorities)) as was_changed, \
    o.name as account, k.content as parameters, g.needs_restart, \
    array(select l.name from logs l where l.instance_id = i.id and l.enabled order by l.name) as logs \
    from generations g join datastore_versions v on v.id = g.version_id join datastores d on d.id = v.datastore_id \
    join instances i on i.id = g.instance_id join flavors f on f.id = i.flavor_id \
    left join instances s on s.id = i.replica_of \
    left join certificates c on c.instance_id = i.id left join authorities a on a.id = c.authority_id \
    left join accounts o on o.instance_id = i.id left join configurations k on k.id = i.configuration_id ";

fn into_domain(row: Row) -> Result<Generation, Error> {
    Ok(Generation {
        id: GenerationId(row.id),
        instance: InstanceId(row.instance_id),
        host: HostId(row.host_id),
        role: row.role.parse()?,
        version: DatastoreVersion {
            id: VersionId(row.version_id),
            datastore_id: DatastoreId(row.datastore_id),
            datastore: row.datastore,
            name: row.version_name,
            number: row.version_number,
            engine: row.engine.parse()?,
            runtime: row.runtime.parse()?,
            active: row.active,
        },
        defaults_of: row.defaults_of,
        server_id: u32::try_from(row.server_id)
            .map_err(|_| Error::Broken(format!("server id of generation {}", row.id)))?,
        service_secret: row.service_secret,
        account: row.account,
        memory_mb: u32::try_from(row.ram_mb).unwrap_or(512),
        cpus: u32::try_from(row.vcpus).unwrap_or(1),
        parameters: serde_json::from_value(row.parameters.unwrap_or_else(|| serde_json::json!({})))
            .map_err(|_| Error::Broken(format!("parameters of generation {}", row.id)))?,
        needs_restart: row.needs_restart,
        logs: row.logs,
        read_only: row.read_only,
        volume_gb: row.volume_gb,
        volume_state: row.volume_state.parse()?,
        events: row.events,
        is_replica: row.is_replica,
        wanted_running: row.wanted == "running",
        certificate: match (row.address, row.certificate, row.key_secret, row.authority) {
            (Some(address), Some(certificate), Some(key_secret), Some(authority)) => Some(Certificate {
                address,
                certificate,
                key_secret,
                authority,
                is_current: row.is_current,
                was_changed: row.was_changed,
            }),
            _ => None,
        },
    })
}

/// The generation.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: GenerationId) -> Result<Option<Generation>, Error> {
    diesel::sql_query(format!("{SELECT} where g.id = $1"))
        .bind::<SqlUuid, _>(id.0)
        .get_result::<Row>(conn)
        .optional()
        .map_err(Error::query("read a generation"))?
        .map(into_domain)
        .transpose()
}

/// Every generation that holds something on `host`.
///
/// # Errors
/// The store's.
pub fn of_host(conn: &mut Conn, host: &HostId) -> Result<Vec<Generation>, Error> {
    diesel::sql_query(format!("{SELECT} where g.host_id = $1 and g.role <> 'dropped' order by g.created_at"))
        .bind::<Text, _>(&host.0)
        .load::<Row>(conn)
        .map_err(Error::query("list the host's generations"))?
        .into_iter()
        .map(into_domain)
        .collect()
}

/// Every generation of the instance that holds something on a host.
///
/// # Errors
/// The store's.
pub fn of_instance(conn: &mut Conn, instance: InstanceId) -> Result<Vec<Generation>, Error> {
    diesel::sql_query(format!(
        "{SELECT} where g.instance_id = $1 and g.role <> 'dropped' order by g.created_at"
    ))
    .bind::<SqlUuid, _>(instance.0)
    .load::<Row>(conn)
    .map_err(Error::query("list the instance's generations"))?
    .into_iter()
    .map(into_domain)
    .collect()
}

/// Makes a candidate of an instance: fenced, stopped, on the instance's host.
///
/// # Errors
/// The store's.
pub fn insert_candidate(
    conn: &mut Conn,
    id: GenerationId,
    instance: InstanceId,
    host: &HostId,
    version: VersionId,
    service_secret: &str,
) -> Result<(), Error> {
    diesel::insert_into(generations::table)
        .values((
            generations::id.eq(id.0),
            generations::instance_id.eq(instance.0),
            generations::host_id.eq(&host.0),
            generations::role.eq(Role::Candidate.as_str()),
            generations::version_id.eq(version.0),
            generations::service_secret.eq(service_secret),
            generations::read_only.eq(true),
            generations::events.eq(false),
            generations::wanted.eq("stopped"),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("make a candidate"))
}

/// Keeps for an instance that gets its first server, or another one, whose defaults its applications know: what was
/// kept before, or the version that it had, or that of the instance that it replicates from; else `number`, its own.
///
/// # Errors
/// The store's.
pub fn keep_defaults(conn: &mut Conn, instance: InstanceId, number: &str) -> Result<(), Error> {
    diesel::sql_query(
        "update instances i set defaults_of = coalesce(i.running_version_number, \
         (select coalesce(s.defaults_of, s.running_version_number) from instances s where s.id = i.replica_of), $2) \
         where i.id = $1 and i.defaults_of is null",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(number)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("keep an instance's defaults"))
}

/// Retires the serving generation of an instance: what it holds is kept for so many hours from now.
///
/// # Errors
/// The store's.
pub fn retire(conn: &mut Conn, id: GenerationId, keep_hours: u32) -> Result<(), Error> {
    diesel::sql_query(
        "update generations set role = 'retired', keep_until = now() + $2 * interval '1 hour' where id = $1",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<BigInt, _>(i64::from(keep_hours))
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("retire a generation"))
}

/// Takes a generation of an instance back as its task's own: the serving one that was left between two hops, or the
/// retired one whose place another takes. Another one serves when this ends, which `serve` makes so in between: an
/// instance has one of each role at most.
///
/// # Errors
/// The store's.
pub fn leave(
    conn: &mut Conn,
    id: GenerationId,
    serve: impl FnOnce(&mut Conn) -> Result<(), Error>,
) -> Result<(), Error> {
    set_role(conn, id, Role::Dropped)?;
    serve(conn)?;
    set_role(conn, id, Role::Candidate)
}

/// A generation that is kept for going back.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its id.
    pub id: GenerationId,
    /// What it ran, `mariadb 10.11` for example.
    pub title: String,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Whether that is over.
    pub is_over: bool,
    /// What it takes, in bytes, as was seen last.
    pub used_bytes: Option<i64>,
}

/// The instance's retired generation.
///
/// # Errors
/// The store's.
pub fn retired(conn: &mut Conn, instance: InstanceId) -> Result<Option<Kept>, Error> {
    #[derive(QueryableByName)]
    struct KeptRow {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        title: String,
        #[diesel(sql_type = Timestamptz)]
        keep_until: DateTime<Utc>,
        #[diesel(sql_type = Bool)]
        is_over: bool,
        #[diesel(sql_type = Nullable<BigInt>)]
        used_bytes: Option<i64>,
    }
    let found: Option<KeptRow> = diesel::sql_query(
        "select g.id, d.name || ' ' || v.name as title, g.keep_until, g.keep_until <= now() as is_over, g.used_bytes \
         from generations g join datastore_versions v on v.id = g.version_id join datastores d on d.id = v.datastore_id \
         where g.instance_id = $1 and g.role = 'retired'",
    )
    .bind::<SqlUuid, _>(instance.0)
    .get_result(conn)
    .optional()
    .map_err(Error::query("look for a retired generation"))?;
    Ok(found.map(|row| Kept {
        id: GenerationId(row.id),
        title: row.title,
        until: row.keep_until,
        is_over: row.is_over,
        used_bytes: row.used_bytes,
    }))
}

/// Keeps what a generation holds for so many hours from now, and longer where that was said before: it is retired.
///
/// # Errors
/// The store's.
pub fn keep_at_least(conn: &mut Conn, id: GenerationId, hours: u32) -> Result<(), Error> {
    diesel::sql_query(
        "update generations set role = 'retired', \
         keep_until = greatest(keep_until, now() + $2 * interval '1 hour') where id = $1 and role <> 'dropped'",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<BigInt, _>(i64::from(hours))
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("keep a generation"))
}

/// How a generation stands, for an operator.
#[derive(Clone, Debug)]
pub struct Standing {
    /// It.
    pub generation: Generation,
    /// Until when it is kept, where it is retired.
    pub keep_until: Option<DateTime<Utc>>,
    /// What it takes, in bytes, as was seen last.
    pub used_bytes: Option<i64>,
    /// When its server last answered, and what version.
    pub answered: Option<(DateTime<Utc>, String)>,
    /// Why it did not, when it did not.
    pub trouble: Option<String>,
}

/// How every generation of the instance stands that holds something on a host, the first one in front.
///
/// # Errors
/// The store's.
pub fn standing(conn: &mut Conn, instance: InstanceId) -> Result<Vec<Standing>, Error> {
    type Seen = (Option<DateTime<Utc>>, Option<i64>, Option<DateTime<Utc>>, Option<String>, Option<String>);
    of_instance(conn, instance)?
        .into_iter()
        .map(|generation| {
            let (keep_until, used_bytes, at, version, trouble): Seen = generations::table
                .find(generation.id.0)
                .select((
                    generations::keep_until,
                    generations::used_bytes,
                    generations::answered_at,
                    generations::answered_version,
                    generations::trouble,
                ))
                .first(conn)
                .map_err(Error::query("read how a generation stands"))?;
            Ok(Standing { generation, keep_until, used_bytes, answered: at.zip(version), trouble })
        })
        .collect()
}

/// The generations of `host` whose data may go: the retired ones whose time is over, and candidates that an ended task
/// left. None of an instance that a task has claimed.
///
/// # Errors
/// The store's.
pub fn expired(conn: &mut Conn, host: &HostId) -> Result<Vec<Generation>, Error> {
    diesel::sql_query(format!(
        "{SELECT} where g.host_id = $1 and (g.role = 'retired' and g.keep_until <= now() or g.role = 'candidate') \
         and i.serving_generation_id is distinct from g.id and not exists \
         (select from task_instances t where t.instance_id = g.instance_id and t.live)"
    ))
    .bind::<Text, _>(&host.0)
    .load::<Row>(conn)
    .map_err(Error::query("list the generations whose time is over"))?
    .into_iter()
    .map(into_domain)
    .collect()
}

/// Says what the generation is to its instance; it is not kept for going back.
///
/// # Errors
/// The store's.
pub fn set_role(conn: &mut Conn, id: GenerationId, role: Role) -> Result<(), Error> {
    diesel::update(generations::table.find(id.0))
        .set((generations::role.eq(role.as_str()), generations::keep_until.eq(None::<DateTime<Utc>>)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("set a generation's role"))
}

/// Says whether its host's supervisor shall keep it up.
///
/// # Errors
/// The store's.
pub fn set_wanted(conn: &mut Conn, id: GenerationId, running: bool) -> Result<(), Error> {
    diesel::update(generations::table.find(id.0))
        .set(generations::wanted.eq(if running { "running" } else { "stopped" }))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("set what is wanted of a generation"))
}

/// Says what its configuration shall hold.
///
/// # Errors
/// The store's.
pub fn set_settings(conn: &mut Conn, id: GenerationId, read_only: bool, events: bool) -> Result<(), Error> {
    diesel::update(generations::table.find(id.0))
        .set((generations::read_only.eq(read_only), generations::events.eq(events)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("set a generation's settings"))
}

/// Records that the server answered just now.
///
/// # Errors
/// The store's.
pub fn record_answer(
    conn: &mut Conn,
    id: GenerationId,
    version: &str,
    used_bytes: Option<i64>,
) -> Result<(), Error> {
    diesel::sql_query(
        "update generations set answered_at = now(), answered_version = $2, trouble = null, \
         used_bytes = coalesce($3, used_bytes) where id = $1",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Text, _>(version)
    .bind::<Nullable<BigInt>, _>(used_bytes)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("record a server's answer"))
}

/// Records how far the volume of the server that serves an instance is filled, and has the instance's address turn clients
/// away where more is in it than its size.
///
/// # Errors
/// The store's.
pub fn set_volume_state(
    conn: &mut Conn,
    id: GenerationId,
    instance: InstanceId,
    state: VolumeState,
) -> Result<(), Error> {
    diesel::update(generations::table.find(id.0).filter(generations::volume_state.ne(state.as_str())))
        .set((
            generations::volume_state.eq(state.as_str()),
            generations::volume_state_since.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .map_err(Error::query("record how far a volume is filled"))?;
    endpoints::turn_away(conn, instance, id, state == VolumeState::Over)
}

/// Records whether a value of its server's parameters waits for the server's next start.
///
/// # Errors
/// The store's.
pub fn set_needs_restart(conn: &mut Conn, id: GenerationId, needs_restart: bool) -> Result<(), Error> {
    diesel::update(generations::table.find(id.0).filter(generations::needs_restart.ne(needs_restart)))
        .set(generations::needs_restart.eq(needs_restart))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record whether a server needs a restart"))
}

/// Records why the server did not answer.
///
/// # Errors
/// The store's.
pub fn record_trouble(conn: &mut Conn, id: GenerationId, trouble: &str) -> Result<(), Error> {
    diesel::update(generations::table.find(id.0))
        .set(generations::trouble.eq(trouble))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record a server's trouble"))
}
