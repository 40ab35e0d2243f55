//! Groups, with their members.
//!
//! # Locks
//! Who changes a group locks its row first, then its members in the order of their ids, then a task.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::schema::{endpoints, generations, groups, instances};
use crate::db::{Conn, Error, acceptances};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::flavor::Flavor;
use crate::domain::generation::Role;
use crate::domain::group::{Group, GroupEvent, GroupState};
use crate::domain::ids::{FlavorId, GenerationId, GroupId, HostId, InstanceId, ProjectId, VersionId};
use crate::domain::instance::{Fault, Instance, InstanceState};

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
    #[diesel(sql_type = Integer)]
    volume_gb: i32,
    #[diesel(sql_type = SqlUuid)]
    wanted_version_id: Uuid,
    #[diesel(sql_type = Text)]
    host_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    address: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    fault_message: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    fault_details: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    fault_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
}

const SELECT: &str = "\
    select g.id, g.project_id, g.name, g.state, g.flavor_id, g.volume_gb, g.wanted_version_id, g.host_id, e.address, \
    g.fault_message, g.fault_details, g.fault_at, g.revision, g.created_at, g.updated_at \
    from groups g left join endpoints e on e.instance_id = g.id where g.deleted_at is null ";

fn into_domain(row: Row, members: Vec<Instance>, catalogue: &Catalogue) -> Result<Group, Error> {
    let missing = |what: &str| Error::Broken(format!("{what} of group {}", row.id));
    Ok(Group {
        id: GroupId(row.id),
        project: ProjectId::parse(&row.project_id).ok_or_else(|| missing("project"))?,
        name: row.name,
        state: row.state.parse()?,
        flavor: catalogue
            .flavor(&FlavorId(row.flavor_id))
            .cloned()
            .ok_or_else(|| Error::Broken(format!("flavor of group {}", row.id)))?,
        volume_gb: row.volume_gb,
        wanted: catalogue
            .version(VersionId(row.wanted_version_id))
            .cloned()
            .ok_or_else(|| Error::Broken(format!("wanted version of group {}", row.id)))?,
        host: HostId(row.host_id),
        address: row.address,
        members,
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

/// The groups of these rows, with their members, in the rows' order.
fn with_members(conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Group>, Error> {
    let ids: Vec<GroupId> = rows.iter().map(|row| GroupId(row.id)).collect();
    let mut all = crate::db::instances::members(conn, &ids)?;
    let catalogue = catalogue_cache::now(conn)?;
    let mut found = Vec::new();
    for row in rows {
        let id = GroupId(row.id);
        let of_it = |it: &mut Instance| it.member.as_ref().is_some_and(|member| member.group == id);
        let members = all.extract_if(.., of_it).collect();
        found.push(into_domain(row, members, &catalogue)?);
    }
    Ok(found)
}

/// The group with its members, unless it is deleted.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: GroupId) -> Result<Option<Group>, Error> {
    let rows = diesel::sql_query(format!("{SELECT} and g.id = $1"))
        .bind::<SqlUuid, _>(id.0)
        .load::<Row>(conn)
        .map_err(Error::query("read a group"))?;
    Ok(with_members(conn, rows)?.pop())
}

/// A page of a project's groups with their members, in the order of their ids, after `marker`.
///
/// # Errors
/// The store's.
pub fn page(
    conn: &mut Conn,
    project: &ProjectId,
    marker: Option<GroupId>,
    limit: i64,
) -> Result<Vec<Group>, Error> {
    let rows =
        diesel::sql_query(format!("{SELECT} and g.project_id = $1 and g.id > $2 order by g.id limit $3"))
            .bind::<Text, _>(project.as_str())
            // No group has the least id.
            .bind::<SqlUuid, _>(marker.map_or(Uuid::nil(), |id| id.0))
            .bind::<BigInt, _>(limit)
            .load::<Row>(conn)
            .map_err(Error::query("list groups"))?;
    with_members(conn, rows)
}

/// The group with its members, unless it is deleted, all locked until the transaction ends.
///
/// # Errors
/// The store's.
pub fn lock(conn: &mut Conn, id: GroupId) -> Result<Option<Group>, Error> {
    let doing = "lock a group";
    let locked: Option<Uuid> = groups::table
        .find(id.0)
        .filter(groups::deleted_at.is_null())
        .select(groups::id)
        .for_update()
        .first(conn)
        .optional()
        .map_err(Error::query(doing))?;
    if locked.is_none() {
        return Ok(None);
    }
    instances::table
        .filter(instances::group_id.eq(id.0))
        .filter(instances::deleted_at.is_null())
        .order(instances::id)
        .select(instances::id)
        .for_update()
        .load::<Uuid>(conn)
        .map_err(Error::query(doing))?;
    find(conn, id)
}

/// Writes what may change of a group, guarded by the revision that was read. Its members are written by themselves.
///
/// # Errors
/// [`Error::Stale`] when another changed it since.
pub fn save(conn: &mut Conn, group: &Group) -> Result<(), Error> {
    let deleted = group.state == GroupState::Deleted;
    let rows = diesel::update(groups::table.find(group.id.0).filter(groups::revision.eq(group.revision)))
        .set((
            groups::name.eq(&group.name),
            groups::state.eq(group.state.as_str()),
            groups::fault_message.eq(group.fault.as_ref().map(|f| f.message.clone())),
            groups::fault_details.eq(group.fault.as_ref().and_then(|f| f.details.clone())),
            groups::fault_at.eq(group.fault.as_ref().map(|f| f.at)),
            groups::revision.eq(group.revision + 1),
            groups::updated_at.eq(diesel::dsl::now),
            groups::deleted_at.eq(deleted.then(Utc::now)),
        ))
        .execute(conn)
        .map_err(Error::query("save a group"))?;
    if rows == 1 { Ok(()) } else { Err(Error::Stale("the group")) }
}

/// Moves a group by its one transition table.
///
/// # Errors
/// [`Error::Broken`] for an event that its state does not know; the store's.
pub fn happen(
    conn: &mut Conn,
    id: GroupId,
    event: GroupEvent,
    change: impl FnOnce(&mut Group),
) -> Result<(), Error> {
    let mut group = lock(conn, id)?.ok_or_else(|| Error::Broken(format!("group {id} is gone")))?;
    group.state = group.state.after(event).map_err(|e| Error::Broken(e.to_string()))?;
    change(&mut group);
    save(conn, &group)
}

/// A member to insert.
pub struct NewMember<'a> {
    /// Its id.
    pub id: InstanceId,
    /// Its server.
    pub generation: GenerationId,
    /// Its name.
    pub name: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// The password of our own account in its server, sealed.
    pub service_secret: &'a str,
}

/// A group to insert.
pub struct New<'a> {
    /// Its id.
    pub id: GroupId,
    /// The project that owns it.
    pub project: &'a ProjectId,
    /// Its name.
    pub name: &'a str,
    /// The flavor of each member.
    pub flavor: &'a Flavor,
    /// The size of each member's volume in GB.
    pub volume_gb: i32,
    /// The version that was asked for.
    pub version: &'a DatastoreVersion,
    /// The host that its members will live on.
    pub host: &'a HostId,
    /// The primary.
    pub primary: NewMember<'a>,
    /// The standby.
    pub standby: NewMember<'a>,
}

/// Inserts a group that is to be made, with its members, their servers and its address.
///
/// # Errors
/// [`Error::Stale`] when no address was found, or another has taken it since; the store's.
pub fn insert(conn: &mut Conn, new: &New<'_>) -> Result<(), Error> {
    let doing = "insert a group";
    diesel::insert_into(groups::table)
        .values((
            groups::id.eq(new.id.0),
            groups::project_id.eq(new.project.as_str()),
            groups::name.eq(new.name),
            groups::state.eq(GroupState::Building.as_str()),
            groups::flavor_id.eq(&new.flavor.id.0),
            groups::volume_gb.eq(new.volume_gb),
            groups::wanted_version_id.eq(new.version.id.0),
            groups::host_id.eq(&new.host.0),
        ))
        .execute(conn)
        .map_err(Error::query(doing))?;
    for (member, follows) in [(&new.primary, None), (&new.standby, Some(new.primary.id))] {
        diesel::insert_into(instances::table)
            .values((
                instances::id.eq(member.id.0),
                instances::project_id.eq(new.project.as_str()),
                instances::name.eq(member.name),
                instances::state.eq(InstanceState::Building.as_str()),
                instances::flavor_id.eq(&new.flavor.id.0),
                instances::volume_gb.eq(new.volume_gb),
                instances::wanted_version_id.eq(new.version.id.0),
                instances::host_id.eq(&new.host.0),
                instances::replica_of.eq(follows.map(|id: InstanceId| id.0)),
                instances::group_id.eq(new.id.0),
                instances::zone.eq(member.zone),
            ))
            .execute(conn)
            .map_err(Error::query(doing))?;
        diesel::insert_into(generations::table)
            .values((
                generations::id.eq(member.generation.0),
                generations::instance_id.eq(member.id.0),
                generations::host_id.eq(&new.host.0),
                generations::role.eq(Role::Candidate.as_str()),
                generations::version_id.eq(new.version.id.0),
                generations::service_secret.eq(member.service_secret),
                generations::read_only.eq(follows.is_some()),
                generations::events.eq(follows.is_none()),
                generations::wanted.eq("stopped"),
            ))
            .execute(conn)
            .map_err(Error::query(doing))?;
    }
    let address = acceptances::next_address(conn, new.host)?;
    let done = diesel::insert_into(endpoints::table)
        .values((
            endpoints::instance_id.eq(new.id.0),
            endpoints::host_id.eq(&new.host.0),
            endpoints::address.eq(address),
            endpoints::port.eq(i32::from(new.version.engine.standard_port())),
            endpoints::connections.eq(i32::try_from(new.flavor.connections()).unwrap_or(i32::MAX)),
            endpoints::listens.eq(new.version.runtime.listens()),
            endpoints::protocol.eq(new.version.engine.protocol().as_str()),
        ))
        .execute(conn)
        .map_err(Error::query(doing));
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.violates(acceptances::ADDRESSES) => Err(Error::Stale("the address")),
        Err(error) => Err(error),
    }
}

/// Has the members of a group change roles: who was followed follows, and the group's address leads to the server that
/// is given, in the caller's transaction.
///
/// # Errors
/// The store's.
pub fn change_roles(
    conn: &mut Conn,
    group: GroupId,
    (from, to): (InstanceId, InstanceId),
    serving: GenerationId,
) -> Result<(), Error> {
    // In this order: at no moment are there two that follow nobody.
    for (member, follows) in [(from, Some(to)), (to, None)] {
        let mut instance = crate::db::instances::lock(conn, member)?
            .ok_or_else(|| Error::Broken(format!("instance {member} is gone")))?;
        instance.replica_of = follows;
        crate::db::instances::save(conn, &instance)?;
    }
    crate::db::endpoints::lead(conn, group.address(), Some(serving))
}
