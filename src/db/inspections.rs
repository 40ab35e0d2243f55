//! Inspections: rows that say what an upgrade would have met.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::ids::{InstanceId, TaskId, VersionId};
use crate::domain::inspection::Inspection;

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = SqlUuid)]
    instance_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    from_version_id: Uuid,
    #[diesel(sql_type = Text)]
    target: String,
    #[diesel(sql_type = Timestamptz)]
    checked_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    expires_at: DateTime<Utc>,
    #[diesel(sql_type = Bool)]
    passed: bool,
    #[diesel(sql_type = Text)]
    detail: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    task_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    statistics: Option<String>,
}

/// Keeps one, and gives its number; of an instance the last hundred are kept.
///
/// # Errors
/// The store's.
pub fn insert(conn: &mut Conn, new: &Inspection) -> Result<i64, Error> {
    let kept: Number = diesel::sql_query(
        "insert into inspections (id, instance_id, from_version_id, target, checked_at, expires_at, passed, detail) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning number",
    )
    .bind::<SqlUuid, _>(new.id)
    .bind::<SqlUuid, _>(new.instance.0)
    .bind::<SqlUuid, _>(new.from.0)
    .bind::<Text, _>(&new.target)
    .bind::<Timestamptz, _>(new.checked_at)
    .bind::<Timestamptz, _>(new.expires_at)
    .bind::<Bool, _>(new.passed)
    .bind::<Text, _>(&new.detail)
    .get_result(conn)
    .map_err(Error::query("keep an inspection"))?;
    diesel::sql_query(
        "delete from inspections where instance_id = $1 and task_id is null and id not in (select id from inspections \
         where instance_id = $1 order by checked_at desc limit 100)",
    )
    .bind::<SqlUuid, _>(new.instance.0)
    .execute(conn)
    .map_err(Error::query("sweep inspections"))?;
    Ok(kept.number)
}

/// Those of an instance, the newest in front.
///
/// # Errors
/// The store's.
pub fn of(conn: &mut Conn, instance: InstanceId) -> Result<Vec<Inspection>, Error> {
    let rows: Vec<Row> = diesel::sql_query(
        "select id, number, instance_id, from_version_id, target, checked_at, expires_at, passed, detail, task_id, statistics \
         from inspections where instance_id = $1 order by checked_at desc, id",
    )
    .bind::<SqlUuid, _>(instance.0)
    .load(conn)
    .map_err(Error::query("read inspections"))?;
    Ok(rows
        .into_iter()
        .map(|row| Inspection {
            id: row.id,
            number: row.number,
            instance: InstanceId(row.instance_id),
            from: VersionId(row.from_version_id),
            target: row.target,
            checked_at: row.checked_at,
            expires_at: row.expires_at,
            passed: row.passed,
            detail: row.detail,
            task: row.task_id.map(TaskId),
            statistics: row.statistics,
        })
        .collect())
}

/// Records that an upgrade was begun on the strength of it.
///
/// # Errors
/// The store's.
pub fn used(conn: &mut Conn, id: Uuid, task: TaskId, statistics: Option<&str>) -> Result<(), Error> {
    diesel::sql_query("update inspections set task_id = $2, statistics = $3 where id = $1")
        .bind::<SqlUuid, _>(id)
        .bind::<SqlUuid, _>(task.0)
        .bind::<Nullable<Text>, _>(statistics)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record what an inspection was for"))
}
