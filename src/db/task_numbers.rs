//! The numbers of tasks, by which some dialects know them.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::ids::TaskId;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The number of each task that is there.
///
/// # Errors
/// The store's.
pub fn of(conn: &mut Conn, tasks: &[TaskId]) -> Result<HashMap<TaskId, i64>, Error> {
    let ids: Vec<Uuid> = tasks.iter().map(|id| id.0).collect();
    let rows: Vec<Row> = diesel::sql_query("select id, number from tasks where id = any ($1)")
        .bind::<Array<SqlUuid>, _>(ids)
        .load(conn)
        .map_err(Error::query("read the numbers of tasks"))?;
    Ok(rows.into_iter().map(|row| (TaskId(row.id), row.number)).collect())
}

/// The task that has the number.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, number: i64) -> Result<Option<TaskId>, Error> {
    let row: Option<Row> = diesel::sql_query("select id, number from tasks where number = $1")
        .bind::<BigInt, _>(number)
        .get_result(conn)
        .optional()
        .map_err(Error::query("find a task by its number"))?;
    Ok(row.map(|row| TaskId(row.id)))
}
