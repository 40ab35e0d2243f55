//! Who asked to change something, from where, and with what outcome.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text};

use crate::db::schema::audit;
use crate::db::{Conn, Error};

/// A request that was to change something.
#[derive(Clone, Debug, PartialEq, Eq, Insertable, Queryable, Selectable)]
#[diesel(table_name = audit)]
pub struct Entry {
    /// When it was answered.
    pub at: DateTime<Utc>,
    /// The id that its answer has.
    pub request_id: String,
    /// The project that the caller's token is for.
    pub project_id: String,
    /// The caller.
    pub user_id: String,
    /// The level that the caller's roles came to.
    pub role: Option<String>,
    /// The other end of the request's connection.
    pub address: Option<String>,
    /// `trove`, `alibaba` or `huawei`.
    pub dialect: String,
    /// The method.
    pub method: String,
    /// The path as the table of routes has it, or the vendor's action.
    pub route: String,
    /// The ids in the path, in its order.
    pub target: Vec<String>,
    /// The status of the answer.
    pub status: i32,
}

/// Records what was asked.
///
/// # Errors
/// The store's.
pub fn record(conn: &mut Conn, entries: &[Entry]) -> Result<(), Error> {
    diesel::insert_into(audit::table)
        .values(entries)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record what was asked"))
}

/// Forgets what was asked more than so many days ago, a part of it; gives how much.
///
/// # Errors
/// The store's.
pub fn forget(conn: &mut Conn, days: u32, most: i64) -> Result<usize, Error> {
    diesel::sql_query(
        "delete from audit where id in (select id from audit where at < now() - $1 * interval '1 day' \
         order by at limit $2)",
    )
    .bind::<Integer, _>(i32::try_from(days).unwrap_or(i32::MAX))
    .bind::<BigInt, _>(most)
    .execute(conn)
    .map_err(Error::query("forget what was asked"))
}

/// What was asked within the last `hours`, of a project or of all, the newest `most`, in the order of time.
///
/// # Errors
/// The store's.
pub fn list(conn: &mut Conn, project: Option<&str>, hours: f64, most: i64) -> Result<Vec<Entry>, Error> {
    let since = diesel::dsl::sql::<diesel::sql_types::Bool>("at >= now() - ")
        .bind::<Double, _>(hours)
        .sql(" * interval '1 hour' and project_id = coalesce(")
        .bind::<Nullable<Text>, _>(project.map(str::to_owned))
        .sql(", project_id)");
    let mut found: Vec<Entry> = audit::table
        .filter(since)
        .order((audit::at.desc(), audit::id.desc()))
        .limit(most)
        .select(Entry::as_select())
        .load(conn)
        .map_err(Error::query("list what was asked"))?;
    found.reverse();
    Ok(found)
}
