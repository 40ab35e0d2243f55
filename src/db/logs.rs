//! The logs of instances.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};

use crate::db::{Conn, Error};
use crate::domain::ids::InstanceId;
use crate::domain::log::{Log, LogKind, Part};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    enabled: bool,
    #[diesel(sql_type = BigInt)]
    published: i64,
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = Bool)]
    has_parts: bool,
}

/// The logs of an instance whose engine has these `kinds`.
///
/// # Errors
/// The store's.
pub fn of_instance(conn: &mut Conn, instance: InstanceId, kinds: &[LogKind]) -> Result<Vec<Log>, Error> {
    let rows = diesel::sql_query(
        "select l.name, l.enabled, coalesce(p.bytes, 0)::bigint as published, p.parts is not null as has_parts, \
         greatest(l.bytes - coalesce(l.published_at_bytes, 0), 0)::bigint as pending \
         from logs l left join (select name, sum(length(content)) as bytes, count(*) as parts from log_parts \
         where instance_id = $1 group by name) p on p.name = l.name where l.instance_id = $1",
    )
    .bind::<SqlUuid, _>(instance.0)
    .load::<Row>(conn)
    .map_err(Error::query("list an instance's logs"))?;
    let log = |kind: &LogKind| {
        let row = rows.iter().find(|row| row.name == kind.name);
        Log {
            kind: *kind,
            enabled: kind.is_system || row.is_some_and(|row| row.enabled),
            published: row.map_or(0, |row| row.published),
            pending: row.map_or(0, |row| row.pending),
            has_parts: row.is_some_and(|row| row.has_parts),
        }
    };
    Ok(kinds.iter().map(log).collect())
}

/// Turns a log on or off.
///
/// # Errors
/// The store's.
pub fn enable(conn: &mut Conn, instance: InstanceId, name: &str, enabled: bool) -> Result<(), Error> {
    diesel::sql_query(
        "insert into logs (instance_id, name, enabled) values ($1, $2, $3) \
         on conflict (instance_id, name) do update set enabled = excluded.enabled",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(name)
    .bind::<Bool, _>(enabled)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("turn a log on or off"))
}

/// Records how long a log has become.
///
/// # Errors
/// The store's.
pub fn measured(conn: &mut Conn, instance: InstanceId, name: &str, bytes: i64) -> Result<(), Error> {
    diesel::sql_query(
        "update logs set bytes = $3, published_at_bytes = least(published_at_bytes, $3) \
         where instance_id = $1 and name = $2 and bytes <> $3",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(name)
    .bind::<BigInt, _>(bytes)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("record a log's length"))
}

/// Publishes a log in place of what was published of it before. `bytes` is how long it is at its server.
///
/// # Errors
/// The store's.
pub fn publish(
    conn: &mut Conn,
    instance: InstanceId,
    name: &str,
    bytes: i64,
    parts: &[Part],
) -> Result<(), Error> {
    let doing = "publish a log";
    diesel::sql_query(
        "insert into logs (instance_id, name, bytes, published_at_bytes) values ($1, $2, $3, $3) \
         on conflict (instance_id, name) do update set bytes = $3, published_at_bytes = $3",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(name)
    .bind::<BigInt, _>(bytes)
    .execute(conn)
    .map_err(Error::query(doing))?;
    discard(conn, instance, name)?;
    for part in parts {
        diesel::sql_query(
            "insert into log_parts (instance_id, name, object, content, lines) values ($1, $2, $3, $4, $5)",
        )
        .bind::<SqlUuid, _>(instance.0)
        .bind::<Text, _>(name)
        .bind::<Text, _>(&part.object)
        .bind::<Binary, _>(&part.content)
        .bind::<Integer, _>(part.lines)
        .execute(conn)
        .map_err(Error::query(doing))?;
    }
    Ok(())
}

/// Whether a log was published within the last `seconds`.
///
/// # Errors
/// The store's.
pub fn is_fresh(conn: &mut Conn, instance: InstanceId, name: &str, seconds: i32) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    diesel::sql_query(
        "select exists (select from log_parts where instance_id = $1 and name = $2 \
         and made_at > clock_timestamp() - $3 * interval '1 second') as found",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(name)
    .bind::<Integer, _>(seconds)
    .get_result::<Found>(conn)
    .map(|row| row.found)
    .map_err(Error::query("look when a log was published"))
}

/// Takes back what was published of a log.
///
/// # Errors
/// The store's.
pub fn discard(conn: &mut Conn, instance: InstanceId, name: &str) -> Result<(), Error> {
    diesel::sql_query("delete from log_parts where instance_id = $1 and name = $2")
        .bind::<SqlUuid, _>(instance.0)
        .bind::<Text, _>(name)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("take back what was published of a log"))
}

/// Forgets the logs of an instance that is gone.
///
/// # Errors
/// The store's.
pub fn forget(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::sql_query("delete from logs where instance_id = $1")
        .bind::<SqlUuid, _>(instance.0)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("forget an instance's logs"))
}

/// An object of a project's logs, as a listing tells of it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Object {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub object: String,
    /// Its length in bytes.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
    /// Its MD5, in hexadecimal digits.
    #[diesel(sql_type = Text)]
    pub hash: String,
    /// How many lines it has.
    #[diesel(sql_type = Integer)]
    pub lines: i32,
    /// When it was made.
    #[diesel(sql_type = Timestamptz)]
    pub made_at: DateTime<Utc>,
}

/// The most objects that one listing tells of.
pub const PAGE: i64 = 1_000;

/// The objects of a project's logs, or of all of them, whose names begin with `prefix`, behind `marker`, in their order: a thousand at most. Those
/// of the engines' own logs are for administrators.
///
/// # Errors
/// The store's.
pub fn objects(
    conn: &mut Conn,
    project: Option<&str>,
    (prefix, marker): (&str, &str),
    system: Option<&[&str]>,
) -> Result<Vec<Object>, Error> {
    let hidden: Vec<String> = system.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect();
    diesel::sql_query(format!(
        "select p.object, length(p.content)::bigint as bytes, md5(p.content) as hash, p.lines, p.made_at \
         from log_parts p join instances i on i.id = p.instance_id \
         where (i.project_id = $1 or $1 is null) and i.deleted_at is null and starts_with(p.object, $2) and p.object > $3 collate \"C\" \
         and p.name <> all ($4) order by p.object collate \"C\" limit {PAGE}"
    ))
    .bind::<Nullable<Text>, _>(project)
    .bind::<Text, _>(prefix)
    .bind::<Text, _>(marker)
    .bind::<diesel::sql_types::Array<Text>, _>(hidden)
    .load(conn)
    .map_err(Error::query("list the objects of logs"))
}

/// An object whole.
///
/// # Errors
/// The store's.
pub fn content(
    conn: &mut Conn,
    project: Option<&str>,
    object: &str,
    system: Option<&[&str]>,
) -> Result<Option<(Object, Vec<u8>)>, Error> {
    #[derive(QueryableByName)]
    struct Whole {
        #[diesel(embed)]
        object: Object,
        #[diesel(sql_type = Binary)]
        content: Vec<u8>,
    }
    let hidden: Vec<String> = system.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect();
    let found: Option<Whole> = diesel::sql_query(
        "select p.object, length(p.content)::bigint as bytes, md5(p.content) as hash, p.lines, p.made_at, p.content \
         from log_parts p join instances i on i.id = p.instance_id \
         where (i.project_id = $1 or $1 is null) and i.deleted_at is null and p.object = $2 and p.name <> all ($3)",
    )
    .bind::<Nullable<Text>, _>(project)
    .bind::<Text, _>(object)
    .bind::<diesel::sql_types::Array<Text>, _>(hidden)
    .get_result(conn)
    .optional()
    .map_err(Error::query("read an object of a log"))?;
    Ok(found.map(|whole| (whole.object, whole.content)))
}
