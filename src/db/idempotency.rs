//! Keys under which requests are made once. A key is taken in the transaction that accepts what it is for, so that it is
//! there with its task or not at all: a refused request takes none. Who comes while that transaction runs waits for its
//! end, and finds the task.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool, Integer, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::idempotency::HOURS;
use crate::domain::ids::{ProjectId, TaskId};

/// A key with a mark of the request that it is for.
#[derive(Clone, Debug)]
pub struct HashedKey {
    /// The project that asks.
    pub project: ProjectId,
    /// The dialect's call.
    pub call: &'static str,
    /// The key.
    pub key: String,
    /// Equal for equal requests.
    pub request: [u8; 32],
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The same request has made this task.
    Task(TaskId),
    /// Another request has it.
    Other,
}

/// A row is over when its time has passed and its task has ended.
const OVER: &str = "expires_at <= now() and not exists \
                    (select from tasks t where t.id = idempotency_keys.task_id and t.ended_at is null)";

/// What is known of the key.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, it: &HashedKey) -> Result<Option<Found>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        task_id: Uuid,
        #[diesel(sql_type = Bool)]
        same: bool,
    }
    let found: Option<Row> = diesel::sql_query(format!(
        "select task_id, request = $4 as same from idempotency_keys \
         where project_id = $1 and call = $2 and key = $3 and not ({OVER})"
    ))
    .bind::<Text, _>(it.project.as_str())
    .bind::<Text, _>(it.call)
    .bind::<Text, _>(&it.key)
    .bind::<Binary, _>(&it.request[..])
    .get_result(conn)
    .optional()
    .map_err(Error::query("look for a key"))?;
    Ok(found.map(|row| if row.same { Found::Task(TaskId(row.task_id)) } else { Found::Other }))
}

/// Takes the key for a task that this transaction makes; `None` when it is the task's now, and else what has it.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn, it: &HashedKey, task: TaskId) -> Result<Option<Found>, Error> {
    let taken = diesel::sql_query(format!(
        "insert into idempotency_keys (project_id, call, key, request, task_id, expires_at) \
         values ($1, $2, $3, $4, $5, now() + $6 * interval '1 hour') on conflict (project_id, call, key) \
         do update set request = excluded.request, task_id = excluded.task_id, expires_at = excluded.expires_at \
         where {}",
        OVER.replace("expires_at <=", "idempotency_keys.expires_at <=")
    ))
    .bind::<Text, _>(it.project.as_str())
    .bind::<Text, _>(it.call)
    .bind::<Text, _>(&it.key)
    .bind::<Binary, _>(&it.request[..])
    .bind::<SqlUuid, _>(task.0)
    .bind::<Integer, _>(i32::try_from(HOURS).unwrap_or(i32::MAX))
    .execute(conn)
    .map_err(Error::query("take a key"))?;
    if taken == 1 {
        return Ok(None);
    }
    // It was there, and stays: nobody clears what is not over.
    find(conn, it)?.map(Some).ok_or(Error::Stale("a key"))
}

/// Gives the key back that this transaction took: it made no task.
///
/// # Errors
/// The store's.
pub fn give_back(conn: &mut Conn, it: &HashedKey) -> Result<(), Error> {
    diesel::sql_query("delete from idempotency_keys where project_id = $1 and call = $2 and key = $3")
        .bind::<Text, _>(it.project.as_str())
        .bind::<Text, _>(it.call)
        .bind::<Text, _>(&it.key)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("give a key back"))
}

/// Clears what is over.
///
/// # Errors
/// The store's.
pub fn clear(conn: &mut Conn) -> Result<usize, Error> {
    diesel::sql_query(format!("delete from idempotency_keys where {OVER}"))
        .execute(conn)
        .map_err(Error::query("clear the keys"))
}
