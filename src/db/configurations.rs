//! Configuration groups.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::schema::{configurations, instances};
use crate::db::{Conn, Error, catalogue_cache};
use crate::domain::ids::{ConfigurationId, InstanceId, ProjectId, VersionId};
use crate::domain::parameter::{Attached, Configuration, Values};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    description: Option<String>,
    #[diesel(sql_type = SqlUuid)]
    version_id: Uuid,
    #[diesel(sql_type = Jsonb)]
    content: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    instance_count: i64,
}

const SELECT: &str = "select c.id, c.project_id, c.name, c.description, c.version_id, c.content, c.created_at, c.updated_at, \
    (select count(*) from instances i where i.configuration_id = c.id and i.deleted_at is null) as instance_count \
    from configurations c ";

fn into_domain(conn: &mut Conn, row: Row) -> Result<Configuration, Error> {
    let missing = |what: &str| Error::Broken(format!("{what} of configuration {}", row.id));
    let catalogue = catalogue_cache::now(conn)?;
    Ok(Configuration {
        id: ConfigurationId(row.id),
        project: ProjectId::parse(&row.project_id).ok_or_else(|| missing("project"))?,
        version: catalogue.version(VersionId(row.version_id)).cloned().ok_or_else(|| missing("version"))?,
        values: serde_json::from_value(row.content).map_err(|_| missing("values"))?,
        name: row.name,
        description: row.description,
        created_at: row.created_at,
        updated_at: row.updated_at,
        instance_count: row.instance_count,
    })
}

fn content(values: &Values) -> Result<serde_json::Value, Error> {
    serde_json::to_value(values).map_err(|e| Error::Broken(format!("values of a configuration: {e}")))
}

/// Makes a group.
///
/// # Errors
/// The store's.
pub fn insert(
    conn: &mut Conn,
    id: ConfigurationId,
    project: &ProjectId,
    (name, description): (&str, Option<&str>),
    version: VersionId,
    values: &Values,
) -> Result<(), Error> {
    let content = content(values)?;
    diesel::insert_into(configurations::table)
        .values((
            configurations::id.eq(id.0),
            configurations::project_id.eq(project.as_str()),
            configurations::name.eq(name),
            configurations::description.eq(description),
            configurations::version_id.eq(version.0),
            configurations::content.eq(content),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("make a configuration"))
}

/// The group.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: ConfigurationId) -> Result<Option<Configuration>, Error> {
    let row = diesel::sql_query(format!("{SELECT} where c.id = $1"))
        .bind::<SqlUuid, _>(id.0)
        .get_result::<Row>(conn)
        .optional()
        .map_err(Error::query("read a configuration"))?;
    row.map(|row| into_domain(conn, row)).transpose()
}

/// The group, locked until the transaction ends: nobody changes it, deletes it, or gives it to an instance meanwhile.
///
/// # Errors
/// The store's.
pub fn lock(conn: &mut Conn, id: ConfigurationId) -> Result<Option<Configuration>, Error> {
    let locked: Option<Uuid> = configurations::table
        .find(id.0)
        .select(configurations::id)
        .for_update()
        .first(conn)
        .optional()
        .map_err(Error::query("lock a configuration"))?;
    match locked {
        Some(_) => find(conn, id),
        None => Ok(None),
    }
}

/// A page of a project's groups, or of every project's, in the order of their ids, after `marker`.
///
/// # Errors
/// The store's.
pub fn page(
    conn: &mut Conn,
    project: Option<&ProjectId>,
    marker: Option<ConfigurationId>,
    limit: i64,
) -> Result<Vec<Configuration>, Error> {
    let sql = format!(
        "{SELECT} where c.project_id = coalesce($1, c.project_id) and c.id > $2 order by c.id limit $3"
    );
    let rows = diesel::sql_query(sql)
        .bind::<Nullable<Text>, _>(project.map(|project| project.as_str().to_owned()))
        .bind::<SqlUuid, _>(marker.map_or(Uuid::nil(), |id| id.0))
        .bind::<BigInt, _>(limit)
        .load::<Row>(conn)
        .map_err(Error::query("list configurations"))?;
    rows.into_iter().map(|row| into_domain(conn, row)).collect()
}

/// Writes a group's name, description and values.
///
/// # Errors
/// The store's.
pub fn save(conn: &mut Conn, group: &Configuration) -> Result<(), Error> {
    let content = content(&group.values)?;
    diesel::update(configurations::table.find(group.id.0))
        .set((
            configurations::name.eq(&group.name),
            configurations::description.eq(&group.description),
            configurations::content.eq(content),
            configurations::updated_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("change a configuration"))
}

/// Deletes a group.
///
/// # Errors
/// The store's.
pub fn delete(conn: &mut Conn, id: ConfigurationId) -> Result<(), Error> {
    diesel::delete(configurations::table.find(id.0))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("delete a configuration"))
}

/// The instances that have a group, in the order of their ids, after `marker`.
///
/// # Errors
/// The store's.
pub fn instances_of(
    conn: &mut Conn,
    id: ConfigurationId,
    marker: Option<InstanceId>,
    limit: i64,
) -> Result<Vec<Attached>, Error> {
    let rows: Vec<(Uuid, String)> = instances::table
        .filter(instances::configuration_id.eq(id.0))
        .filter(instances::deleted_at.is_null())
        .filter(instances::id.gt(marker.map_or(Uuid::nil(), |id| id.0)))
        .order(instances::id)
        .limit(limit)
        .select((instances::id, instances::name))
        .load(conn)
        .map_err(Error::query("list the instances of a configuration"))?;
    Ok(rows.into_iter().map(|(id, name)| Attached { id: InstanceId(id), name }).collect())
}
