//! Access keys and the nonces of the requests that were signed with them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Timestamptz};

use crate::db::{Conn, Error};
use crate::domain::access_key::{AccessKey, SKEW_MINUTES};
use crate::domain::ids::ProjectId;

/// How many nonces whose time is over go with each that is taken.
const CLEARED: i32 = 20;

/// A key with its secrets, sealed.
#[derive(Clone)]
pub struct Sealed {
    /// The key.
    pub key: AccessKey,
    /// The secret.
    pub secret: String,
    /// The one before it, while that holds.
    pub old: Option<String>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = Array<Text>)]
    roles: Vec<String>,
    #[diesel(sql_type = Text)]
    secret: String,
    #[diesel(sql_type = Nullable<Text>)]
    old_secret: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    old_until: Option<DateTime<Utc>>,
    #[diesel(sql_type = Bool)]
    enabled: bool,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
}

/// A secret that has had its time is none.
const COLUMNS: &str = "select id, user_id, project_id, roles, secret, enabled, created_at, \
                       case when old_until > now() then old_secret end as old_secret, \
                       case when old_until > now() then old_until end as old_until from access_keys";

impl Row {
    fn read(self) -> Result<Sealed, Error> {
        let project = ProjectId::parse(&self.project_id)
            .ok_or_else(|| Error::Broken(format!("the project of access key {}", self.id)))?;
        let key = AccessKey {
            id: self.id,
            user: self.user_id,
            project,
            roles: self.roles,
            enabled: self.enabled,
            old_until: self.old_until,
            created_at: self.created_at,
        };
        Ok(Sealed { key, secret: self.secret, old: self.old_secret })
    }
}

/// Writes a new key; `false` where its account has a key of the service's own making already.
///
/// # Errors
/// The store's.
pub fn insert(
    conn: &mut Conn,
    id: &str,
    (user, project, roles): (&str, &ProjectId, &[String]),
    secret: &str,
    built_in: bool,
) -> Result<bool, Error> {
    let written = diesel::sql_query(
        "insert into access_keys (id, user_id, project_id, roles, secret, built_in) values ($1, $2, $3, $4, $5, $6) \
         on conflict (user_id, project_id) where built_in do nothing",
    )
    .bind::<Text, _>(id)
    .bind::<Text, _>(user)
    .bind::<Text, _>(project.as_str())
    .bind::<Array<Text>, _>(roles)
    .bind::<Text, _>(secret)
    .bind::<Bool, _>(built_in)
    .execute(conn)
    .map_err(Error::query("write an access key"))?;
    Ok(written == 1)
}

/// The key that a request names.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: &str) -> Result<Option<Sealed>, Error> {
    let row: Option<Row> = diesel::sql_query(format!("{COLUMNS} where id = $1"))
        .bind::<Text, _>(id)
        .get_result(conn)
        .optional()
        .map_err(Error::query("read an access key"))?;
    row.map(Row::read).transpose()
}

/// The key that the service made for an account.
///
/// # Errors
/// The store's.
pub fn built_in(conn: &mut Conn, user: &str, project: &ProjectId) -> Result<Option<Sealed>, Error> {
    let row: Option<Row> =
        diesel::sql_query(format!("{COLUMNS} where built_in and user_id = $1 and project_id = $2"))
            .bind::<Text, _>(user)
            .bind::<Text, _>(project.as_str())
            .get_result(conn)
            .optional()
            .map_err(Error::query("read an access key"))?;
    row.map(Row::read).transpose()
}

/// Every key, oldest first.
///
/// # Errors
/// The store's.
pub fn all(conn: &mut Conn) -> Result<Vec<AccessKey>, Error> {
    let rows: Vec<Row> = diesel::sql_query(format!("{COLUMNS} order by created_at, id"))
        .load(conn)
        .map_err(Error::query("list the access keys"))?;
    rows.into_iter().map(|row| row.read().map(|sealed| sealed.key)).collect()
}

/// Lets a key hold, or not; `false` where there is none.
///
/// # Errors
/// The store's.
pub fn enable(conn: &mut Conn, id: &str, enabled: bool) -> Result<bool, Error> {
    let changed = diesel::sql_query("update access_keys set enabled = $2, updated_at = now() where id = $1")
        .bind::<Text, _>(id)
        .bind::<Bool, _>(enabled)
        .execute(conn)
        .map_err(Error::query("change an access key"))?;
    Ok(changed == 1)
}

/// Gives a key another secret; the one that it has holds for so many hours more. `false` where there is none.
///
/// # Errors
/// The store's.
pub fn rotate(conn: &mut Conn, id: &str, secret: &str, overlap_hours: u32) -> Result<bool, Error> {
    let changed = diesel::sql_query(
        "update access_keys set secret = $2, updated_at = now(), old_secret = case when $3 > 0 then secret end, \
         old_until = case when $3 > 0 then now() + $3 * interval '1 hour' end where id = $1",
    )
    .bind::<Text, _>(id)
    .bind::<Text, _>(secret)
    .bind::<Integer, _>(i32::try_from(overlap_hours).unwrap_or(i32::MAX))
    .execute(conn)
    .map_err(Error::query("change an access key"))?;
    Ok(changed == 1)
}

/// Takes a nonce for as long as a request with it could come again; `false` where it is taken. Some whose time is over
/// go, so that there are never more than came in that time, and what came since.
///
/// # Errors
/// The store's.
pub fn take_nonce(conn: &mut Conn, key: &str, nonce: &str) -> Result<bool, Error> {
    let doing = "take a nonce";
    let taken = diesel::sql_query(
        "insert into signature_nonces (access_key, nonce, expires_at) values ($1, $2, now() + $3 * interval '1 minute') \
         on conflict (access_key, nonce) do update set expires_at = excluded.expires_at \
         where signature_nonces.expires_at <= now()",
    )
    .bind::<Text, _>(key)
    .bind::<Text, _>(nonce)
    // A request that is ahead of us by all of it is taken now, and for as long after.
    .bind::<Integer, _>(i32::try_from(2 * SKEW_MINUTES + 1).unwrap_or(i32::MAX))
    .execute(conn)
    .map_err(Error::query(doing))?;
    diesel::sql_query(
        "delete from signature_nonces where ctid = any (array (select ctid from signature_nonces \
         where expires_at <= now() limit $1 for update skip locked))",
    )
    .bind::<Integer, _>(CLEARED)
    .execute(conn)
    .map_err(Error::query(doing))?;
    Ok(taken == 1)
}
