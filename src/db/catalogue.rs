//! Datastores, their versions, the matrix of upgrades, and flavors.

use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::datastore::{Datastore, DatastoreVersion};
use crate::domain::flavor::Flavor;
use crate::domain::ids::{DatastoreId, FlavorId, HostId, VersionId};
use crate::domain::matrix::{Path, Way};

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    datastore_id: Uuid,
    #[diesel(sql_type = Text)]
    datastore: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    version_number: String,
    #[diesel(sql_type = Text)]
    engine: String,
    #[diesel(sql_type = Text)]
    runtime: String,
    #[diesel(sql_type = Bool)]
    active: bool,
}

impl VersionRow {
    fn into_domain(self) -> Result<DatastoreVersion, Error> {
        Ok(DatastoreVersion {
            id: VersionId(self.id),
            datastore_id: DatastoreId(self.datastore_id),
            datastore: self.datastore,
            name: self.name,
            number: self.version_number,
            engine: self.engine.parse()?,
            runtime: self.runtime.parse()?,
            active: self.active,
        })
    }
}

const VERSION: &str = "select v.id, v.datastore_id, d.name as datastore, v.name, v.version_number, v.engine, v.runtime, \
                       v.active from datastore_versions v join datastores d on d.id = v.datastore_id ";

/// Every version, by datastore and name.
///
/// # Errors
/// The store's.
pub fn versions(conn: &mut Conn) -> Result<Vec<DatastoreVersion>, Error> {
    diesel::sql_query(format!("{VERSION} order by d.name, v.name"))
        .load::<VersionRow>(conn)
        .map_err(Error::query("read the datastore versions"))?
        .into_iter()
        .map(VersionRow::into_domain)
        .collect()
}

/// One version.
///
/// # Errors
/// The store's.
pub fn version(conn: &mut Conn, id: VersionId) -> Result<Option<DatastoreVersion>, Error> {
    diesel::sql_query(format!("{VERSION} where v.id = $1"))
        .bind::<SqlUuid, _>(id.0)
        .get_result::<VersionRow>(conn)
        .optional()
        .map_err(Error::query("read a datastore version"))?
        .map(VersionRow::into_domain)
        .transpose()
}

#[derive(QueryableByName)]
struct DatastoreRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    default_version_id: Option<Uuid>,
}

/// Every datastore with its versions, by name.
///
/// # Errors
/// The store's.
pub fn datastores(conn: &mut Conn) -> Result<Vec<Datastore>, Error> {
    let versions = versions(conn)?;
    Ok(diesel::sql_query("select id, name, default_version_id from datastores order by name")
        .load::<DatastoreRow>(conn)
        .map_err(Error::query("read the datastores"))?
        .into_iter()
        .map(|row| Datastore {
            id: DatastoreId(row.id),
            name: row.name,
            default_version: row.default_version_id.map(VersionId),
            versions: versions.iter().filter(|v| v.datastore_id.0 == row.id).cloned().collect(),
        })
        .collect())
}

#[derive(QueryableByName)]
struct FlavorRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Integer)]
    ram_mb: i32,
    #[diesel(sql_type = Integer)]
    vcpus: i32,
}

/// Adds a flavor behind the others; `false` where one has its id or its name.
///
/// # Errors
/// The store's.
pub fn add_flavor(conn: &mut Conn, flavor: &Flavor) -> Result<bool, Error> {
    diesel::sql_query(
        "insert into flavors (id, name, ram_mb, vcpus, ordinal) \
         select $1, $2, $3, $4, (select coalesce(max(ordinal), 0) + 1 from flavors) \
         where not exists (select from flavors where id = $1 or name = $2)",
    )
    .bind::<Text, _>(&flavor.id.0)
    .bind::<Text, _>(&flavor.name)
    .bind::<Integer, _>(flavor.ram_mb)
    .bind::<Integer, _>(flavor.vcpus)
    .execute(conn)
    .map(|added| added == 1)
    .map_err(Error::query("add a flavor"))
}

/// Removes a flavor; `false` where an instance has it or had it, `None` where there is none.
///
/// # Errors
/// The store's.
pub fn remove_flavor(conn: &mut Conn, id: &FlavorId) -> Result<Option<bool>, Error> {
    let removed = diesel::sql_query(
        "delete from flavors where id = $1 and not exists (select from instances where flavor_id = $1) \
         and not exists (select from groups where flavor_id = $1)",
    )
    .bind::<Text, _>(&id.0)
    .execute(conn)
    .map_err(Error::query("remove a flavor"))?;
    if removed == 1 {
        return Ok(Some(true));
    }
    let is_there = flavors(conn)?.iter().any(|flavor| flavor.id == *id);
    Ok(is_there.then_some(false))
}

/// Every flavor, smallest first.
///
/// # Errors
/// The store's.
pub fn flavors(conn: &mut Conn) -> Result<Vec<Flavor>, Error> {
    Ok(diesel::sql_query("select id, name, ram_mb, vcpus from flavors order by ordinal")
        .load::<FlavorRow>(conn)
        .map_err(Error::query("read the flavors"))?
        .into_iter()
        .map(|row| Flavor { id: FlavorId(row.id), name: row.name, ram_mb: row.ram_mb, vcpus: row.vcpus })
        .collect())
}

#[derive(QueryableByName)]
struct PathRow {
    #[diesel(sql_type = SqlUuid)]
    from_version_id: Uuid,
    #[diesel(sql_type = Array<Text>)]
    ways: Vec<String>,
    #[diesel(sql_type = Bool)]
    enabled: bool,
    #[diesel(embed)]
    to: VersionRow,
}

/// The rows of the matrix, out of every version or out of `from`.
///
/// # Errors
/// The store's.
pub fn paths(conn: &mut Conn, from: Option<VersionId>) -> Result<Vec<Path>, Error> {
    diesel::sql_query(
        "select p.from_version_id, p.ways, p.enabled, v.id, v.datastore_id, d.name as datastore, v.name, \
         v.version_number, v.engine, v.runtime, v.active \
         from upgrade_paths p join datastore_versions v on v.id = p.to_version_id \
         join datastores d on d.id = v.datastore_id \
         where $1 is null or p.from_version_id = $1 order by d.name, v.name",
    )
    .bind::<Nullable<SqlUuid>, _>(from.map(|id| id.0))
    .load::<PathRow>(conn)
    .map_err(Error::query("read the upgrade paths"))?
    .into_iter()
    .map(|row| {
        Ok(Path {
            from: VersionId(row.from_version_id),
            to: row.to.into_domain()?,
            ways: row.ways,
            enabled: row.enabled,
        })
    })
    .collect()
}

/// Has new instances have a version, or not.
///
/// # Errors
/// The store's.
pub fn set_active(conn: &mut Conn, id: VersionId, active: bool) -> Result<(), Error> {
    diesel::sql_query("update datastore_versions set active = $2 where id = $1 and active <> $2")
        .bind::<SqlUuid, _>(id.0)
        .bind::<Bool, _>(active)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("change whether a version is active"))
}

/// Says which version a new instance of a datastore has that names none.
///
/// # Errors
/// The store's.
pub fn set_default(conn: &mut Conn, id: DatastoreId, version: Option<VersionId>) -> Result<(), Error> {
    diesel::sql_query("update datastores set default_version_id = $2 where id = $1")
        .bind::<SqlUuid, _>(id.0)
        .bind::<Nullable<SqlUuid>, _>(version.map(|version| version.0))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("set a datastore's default version"))
}

/// What keeps a version from being deleted, in words for an operator.
///
/// # Errors
/// The store's.
pub fn in_use(conn: &mut Conn, id: VersionId) -> Result<Option<String>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        why: String,
    }
    diesel::sql_query(
        "select why from ( \
         select 1 as n, 'instances have it, or had it before they were deleted' as why where exists (select from instances i \
             where $1 in (i.wanted_version_id, i.running_version_id)) \
             or exists (select from generations g where g.version_id = $1) \
             or exists (select from groups g where g.wanted_version_id = $1) \
         union all select 2, 'configuration groups are for it' where exists (select from configurations c where c.version_id = $1) \
         union all select 3, 'a host can run it' where exists (select from host_versions h \
             join datastores d on d.name = h.datastore join datastore_versions v on v.datastore_id = d.id \
             and v.name = h.series and v.runtime = h.runtime where v.id = $1) \
         union all select 4, 'upgrade paths lead from or to it' where exists (select from upgrade_paths p \
             where $1 in (p.from_version_id, p.to_version_id))) reasons order by n limit 1",
    )
    .bind::<SqlUuid, _>(id.0)
    .get_result::<Row>(conn)
    .optional()
    .map(|row| row.map(|row| row.why))
    .map_err(Error::query("look whether a version is in use"))
}

/// Deletes a version that nothing uses.
///
/// # Errors
/// The store's.
pub fn delete_version(conn: &mut Conn, id: VersionId) -> Result<(), Error> {
    let statements = [
        "update datastores set default_version_id = null where default_version_id = $1",
        "delete from datastore_versions where id = $1",
    ];
    for statement in statements {
        diesel::sql_query(statement)
            .bind::<SqlUuid, _>(id.0)
            .execute(conn)
            .map_err(Error::query("delete a version"))?;
    }
    Ok(())
}

/// Deletes a datastore that has no versions.
///
/// # Errors
/// The store's.
pub fn delete_datastore(conn: &mut Conn, id: DatastoreId) -> Result<(), Error> {
    diesel::sql_query("delete from datastores where id = $1")
        .bind::<SqlUuid, _>(id.0)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("delete a datastore"))
}

/// Registers what `host` can run as datastore versions, a datastore's newest as its default, and an edge of the matrix
/// from each real series to every newer one. Rows that are there keep what an operator set in them.
///
/// # Errors
/// The store's.
pub fn register_host_versions(conn: &mut Conn, host: &HostId) -> Result<(), Error> {
    let doing = "register the host's versions";
    let statements = [
        "insert into datastores (id, name) select gen_random_uuid(), datastore from host_versions where host_id = $1 \
         group by datastore on conflict do nothing",
        "insert into datastore_versions (id, datastore_id, name, version_number, engine, runtime) \
         select gen_random_uuid(), d.id, h.series, h.version_number, h.engine, h.runtime \
         from host_versions h join datastores d on d.name = h.datastore where h.host_id = $1 \
         on conflict (datastore_id, name) do update set version_number = excluded.version_number \
         where datastore_versions.runtime = excluded.runtime",
        "update datastores d set default_version_id = (select v.id from datastore_versions v \
         join host_versions h on h.host_id = $1 and h.datastore = d.name and h.series = v.name \
         where v.datastore_id = d.id and v.active \
         order by v.runtime <> 'process', string_to_array(h.version_number, '.')::int[] desc, v.name limit 1) \
         where d.default_version_id is null and exists (select 1 from host_versions h where h.host_id = $1 \
         and h.datastore = d.name)",
        // A real pair is open to the strategies that exist for it: PostgreSQL follows from 14 on, and is followed by 16
        // and later (api-ref, upgrade-action).
        "insert into upgrade_paths (id, from_version_id, to_version_id, ways, note) \
         select gen_random_uuid(), a.id, b.id, case when ha.engine = 'postgresql' \
         and (split_part(ha.version_number, '.', 1)::int < 14 \
         or split_part(hb.version_number, '.', 1)::int < 16) then array['in_place'] \
         else array['replica', 'in_place', 'twin'] end, \
         'a real pair of this service' \
         from host_versions ha join host_versions hb on hb.host_id = ha.host_id and hb.datastore = ha.datastore \
         and ha.runtime = 'process' and hb.runtime = 'process' \
         and string_to_array(ha.version_number, '.')::int[] < string_to_array(hb.version_number, '.')::int[] \
         join datastore_versions a on a.engine = ha.engine and a.name = ha.series and a.runtime = 'process' \
         join datastore_versions b on b.engine = hb.engine and b.name = hb.series and b.runtime = 'process' \
         and b.datastore_id = a.datastore_id where ha.host_id = $1 on conflict do nothing",
    ];
    for statement in statements {
        diesel::sql_query(statement).bind::<Text, _>(&host.0).execute(conn).map_err(Error::query(doing))?;
    }
    Ok(())
}

/// An edge that is registered with the versions that it joins.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// From: datastore and version.
    pub from: (&'static str, &'static str),
    /// To: datastore and version.
    pub to: (&'static str, &'static str),
    /// The ways that it is open to.
    pub ways: &'static [Way],
    /// Whether it is in force until an operator says otherwise.
    pub enabled: bool,
    /// Where it comes from.
    pub note: &'static str,
}

/// Registers edges between simulated versions. Rows that are there keep what an operator set in them.
///
/// # Errors
/// The store's.
pub fn register_edges(conn: &mut Conn, edges: &[Edge]) -> Result<(), Error> {
    for edge in edges {
        let ways: Vec<&str> = edge.ways.iter().map(|way| way.as_str()).collect();
        diesel::sql_query(
            "insert into upgrade_paths (id, from_version_id, to_version_id, ways, enabled, note) \
             select gen_random_uuid(), a.id, b.id, $5, $6, $7 \
             from datastore_versions a join datastores da on da.id = a.datastore_id, \
             datastore_versions b join datastores db on db.id = b.datastore_id \
             where da.name = $1 and a.name = $2 and db.name = $3 and b.name = $4 \
             and a.runtime = 'simulated' and b.runtime = 'simulated' on conflict do nothing",
        )
        .bind::<Text, _>(edge.from.0)
        .bind::<Text, _>(edge.from.1)
        .bind::<Text, _>(edge.to.0)
        .bind::<Text, _>(edge.to.1)
        .bind::<Array<Text>, _>(ways)
        .bind::<Bool, _>(edge.enabled)
        .bind::<Text, _>(edge.note)
        .execute(conn)
        .map_err(Error::query("register the documented upgrade paths"))?;
    }
    Ok(())
}
