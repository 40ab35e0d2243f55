//! Simulated servers: rows that behave like servers. What a real one keeps in its folder and does by itself is here a
//! row and a query; who calls them is `simulated`, and tests, which write as a tenant would by `simulated_write`.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::ids::GenerationId;
use crate::domain::parameter::Values;
use crate::domain::tenant::{NewDatabase, NewUser};

/// A server, as it is now.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whether it answers.
    pub running: bool,
    /// What it answers when it is asked for its version.
    pub version_number: String,
    /// Whether it refuses tenants' writes.
    pub read_only: bool,
    /// The databases in it.
    pub databases: Vec<NewDatabase>,
    /// The users in it.
    pub users: Vec<NewUser>,
    /// The values of parameters that it runs with.
    pub parameters: Values,
    /// Whose writes it applies.
    pub follows: Option<GenerationId>,
    /// The newest position that it has applied or written.
    pub position: i64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    version_number: String,
    #[diesel(sql_type = Bool)]
    read_only: bool,
    #[diesel(sql_type = Jsonb)]
    databases: serde_json::Value,
    #[diesel(sql_type = Jsonb)]
    users: serde_json::Value,
    #[diesel(sql_type = Jsonb)]
    parameters: serde_json::Value,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    follows: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    position: i64,
}

fn broken(id: GenerationId) -> impl FnOnce(serde_json::Error) -> Error {
    move |error| Error::Broken(format!("content of the simulated server {id}: {error}"))
}

/// The server; `None` when nothing of it is there.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: GenerationId) -> Result<Option<Machine>, Error> {
    let row = diesel::sql_query(
        "select s.state, s.version_number, s.read_only, s.databases, s.users, s.parameters, s.follows, \
         greatest(s.applied, (select coalesce(max(w.position), 0) from simulated_writes w \
         where w.generation_id = s.generation_id)) as position \
         from simulated_servers s where s.generation_id = $1",
    )
    .bind::<SqlUuid, _>(id.0)
    .get_result::<Row>(conn)
    .optional()
    .map_err(Error::query("look at a simulated server"))?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Machine {
        running: row.state == "running",
        version_number: row.version_number,
        read_only: row.read_only,
        databases: serde_json::from_value(row.databases).map_err(broken(id))?,
        users: serde_json::from_value(row.users).map_err(broken(id))?,
        parameters: serde_json::from_value(row.parameters).map_err(broken(id))?,
        follows: row.follows.map(GenerationId),
        position: row.position,
    }))
}

fn change(conn: &mut Conn, doing: &'static str, sql: &str, id: GenerationId) -> Result<bool, Error> {
    let changed =
        diesel::sql_query(sql).bind::<SqlUuid, _>(id.0).execute(conn).map_err(Error::query(doing))?;
    Ok(changed > 0)
}

/// Makes an empty server that does not run; what was there is gone.
///
/// # Errors
/// The store's.
pub fn make(conn: &mut Conn, id: GenerationId, version_number: &str) -> Result<(), Error> {
    drop(conn, id)?;
    diesel::sql_query(
        "insert into simulated_servers (generation_id, state, version_number) values ($1, 'stopped', $2)",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Text, _>(version_number)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("make a simulated server"))
}

/// Starts the server with these settings; one that runs keeps its parameters. `false` when nothing of it is there.
///
/// # Errors
/// The store's.
pub fn start(
    conn: &mut Conn,
    id: GenerationId,
    (read_only, events): (bool, bool),
    parameters: &Values,
) -> Result<bool, Error> {
    let parameters = serde_json::to_value(parameters).map_err(broken(id))?;
    diesel::sql_query(
        "update simulated_servers set state = 'running', read_only = $2, events = $3, \
         parameters = case when state = 'running' then parameters else $4 end where generation_id = $1",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Bool, _>(read_only)
    .bind::<Bool, _>(events)
    .bind::<Jsonb, _>(parameters)
    .execute(conn)
    .map(|changed| changed > 0)
    .map_err(Error::query("start a simulated server"))
}

/// Has a server run with these values of parameters; `false` when nothing of it is there.
///
/// # Errors
/// The store's.
pub fn set_parameters(conn: &mut Conn, id: GenerationId, parameters: &Values) -> Result<bool, Error> {
    let parameters = serde_json::to_value(parameters).map_err(broken(id))?;
    diesel::sql_query("update simulated_servers set parameters = $2 where generation_id = $1")
        .bind::<SqlUuid, _>(id.0)
        .bind::<Jsonb, _>(parameters)
        .execute(conn)
        .map(|changed| changed > 0)
        .map_err(Error::query("configure a simulated server"))
}

/// Stops the server. Happy when there is none.
///
/// # Errors
/// The store's.
pub fn stop(conn: &mut Conn, id: GenerationId) -> Result<(), Error> {
    change(
        conn,
        "stop a simulated server",
        "update simulated_servers set state = 'stopped' where generation_id = $1",
        id,
    )
    .map(|_| ())
}

/// Lets the server die, as by a signal. Happy when it does not run.
///
/// # Errors
/// The store's.
pub fn kill(conn: &mut Conn, id: GenerationId) -> Result<(), Error> {
    change(
        conn,
        "kill a simulated server",
        "update simulated_servers set state = 'dead' where generation_id = $1 and state = 'running'",
        id,
    )
    .map(|_| ())
}

/// Takes away everything of the server. Happy when there is none.
///
/// # Errors
/// The store's.
pub fn drop(conn: &mut Conn, id: GenerationId) -> Result<(), Error> {
    change(conn, "drop a simulated server", "delete from simulated_servers where generation_id = $1", id)
        .map(|_| ())
}

/// Puts databases and users into the server in place of those that are there.
///
/// # Errors
/// The store's.
pub fn set_content(
    conn: &mut Conn,
    id: GenerationId,
    databases: &[NewDatabase],
    users: &[NewUser],
) -> Result<(), Error> {
    let databases = serde_json::to_value(databases).map_err(broken(id))?;
    let users = serde_json::to_value(users).map_err(broken(id))?;
    diesel::sql_query("update simulated_servers set databases = $2, users = $3 where generation_id = $1")
        .bind::<SqlUuid, _>(id.0)
        .bind::<Jsonb, _>(databases)
        .bind::<Jsonb, _>(users)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("fill a simulated server"))
}

/// Changes the databases and users of the server; `false` when nothing of it is there.
///
/// # Errors
/// The store's.
pub fn change_content(
    conn: &mut Conn,
    id: GenerationId,
    change: impl FnOnce(&mut Vec<NewDatabase>, &mut Vec<NewUser>),
) -> Result<bool, Error> {
    diesel::sql_query("select 1 from simulated_servers where generation_id = $1 for update")
        .bind::<SqlUuid, _>(id.0)
        .execute(conn)
        .map_err(Error::query("lock a simulated server"))?;
    let Some(Machine { mut databases, mut users, .. }) = find(conn, id)? else { return Ok(false) };
    change(&mut databases, &mut users);
    set_content(conn, id, &databases, &users).map(|()| true)
}

/// Copies what `source` holds into `candidate` and gives the position that the copy stands for.
///
/// # Errors
/// The store's.
pub fn copy(conn: &mut Conn, source: GenerationId, candidate: GenerationId) -> Result<i64, Error> {
    let doing = "copy a simulated server";
    for sql in [
        "delete from simulated_writes where generation_id = $2 and $1 <> $2",
        "insert into simulated_writes (generation_id, position, payload, at) \
         select $2, position, payload, at from simulated_writes where generation_id = $1",
        "update simulated_servers c set databases = s.databases, users = s.users, \
         applied = (select coalesce(max(position), 0) from simulated_writes where generation_id = $2) \
         from simulated_servers s where s.generation_id = $1 and c.generation_id = $2",
    ] {
        diesel::sql_query(sql)
            .bind::<SqlUuid, _>(source.0)
            .bind::<SqlUuid, _>(candidate.0)
            .execute(conn)
            .map_err(Error::query(doing))?;
    }
    Ok(find(conn, candidate)?.map_or(0, |machine| machine.position))
}

/// Lets `candidate` apply the writes of `source` from now on; of nobody for `None`.
///
/// # Errors
/// The store's.
pub fn follow(conn: &mut Conn, candidate: GenerationId, source: Option<GenerationId>) -> Result<(), Error> {
    // One that was followed itself has what it wrote.
    diesel::sql_query(
        "update simulated_servers s set follows = $2, applied = case when $2 is null then applied else \
         greatest(applied, (select coalesce(max(position), 0) from simulated_writes w \
         where w.generation_id = s.generation_id)) end where generation_id = $1",
    )
    .bind::<SqlUuid, _>(candidate.0)
    .bind::<Nullable<SqlUuid>, _>(source.map(|id| id.0))
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("let a simulated server follow"))
}

/// Applies what has come over from the candidate's source by now, and gives the position that it has reached then.
/// Both must run; a write takes the candidate's `lag_ms` to come over.
///
/// # Errors
/// The store's.
pub fn apply(conn: &mut Conn, candidate: GenerationId) -> Result<i64, Error> {
    let doing = "apply a simulated server's writes";
    diesel::sql_query("select 1 from simulated_servers where generation_id = $1 for update")
        .bind::<SqlUuid, _>(candidate.0)
        .execute(conn)
        .map_err(Error::query(doing))?;
    for sql in [
        "insert into simulated_writes (generation_id, position, payload, at) \
         select c.generation_id, w.position, w.payload, w.at from simulated_servers c \
         join simulated_servers s on s.generation_id = c.follows \
         join simulated_writes w on w.generation_id = s.generation_id and w.position > c.applied \
         where c.generation_id = $1 and c.state = 'running' and s.state = 'running' \
         and w.at <= clock_timestamp() - c.lag_ms * interval '1 millisecond'",
        // Definitions come over, too.
        "update simulated_servers c set databases = s.databases, users = s.users from simulated_servers s \
         where c.generation_id = $1 and s.generation_id = c.follows and c.state = 'running' and s.state = 'running' \
         and (c.databases, c.users) is distinct from (s.databases, s.users)",
        "update simulated_servers c set applied = greatest(applied, (select coalesce(max(position), 0) \
         from simulated_writes where generation_id = c.generation_id)) where generation_id = $1 and follows is not null",
    ] {
        diesel::sql_query(sql).bind::<SqlUuid, _>(candidate.0).execute(conn).map_err(Error::query(doing))?;
    }
    Ok(find(conn, candidate)?.map_or(0, |machine| machine.position))
}

/// How many writes `source` has up to `position`, and how many of them `candidate` has otherwise or not at all, or
/// has and the source has not.
///
/// # Errors
/// The store's.
pub fn compare(
    conn: &mut Conn,
    source: GenerationId,
    candidate: GenerationId,
    position: i64,
) -> Result<(u64, u64), Error> {
    #[derive(QueryableByName)]
    struct Counts {
        #[diesel(sql_type = BigInt)]
        here: i64,
        #[diesel(sql_type = BigInt)]
        differing: i64,
    }
    let counts = diesel::sql_query(
        "select count(s.position) as here, \
         count(*) filter (where s.payload is distinct from c.payload) as differing \
         from (select * from simulated_writes where generation_id = $1 and position <= $3) s \
         full join (select * from simulated_writes where generation_id = $2 and position <= $3) c \
         on c.position = s.position",
    )
    .bind::<SqlUuid, _>(source.0)
    .bind::<SqlUuid, _>(candidate.0)
    .bind::<BigInt, _>(position)
    .get_result::<Counts>(conn)
    .map_err(Error::query("compare simulated servers"))?;
    Ok((counts.here.unsigned_abs(), counts.differing.unsigned_abs()))
}

/// Bytes that the server's writes take.
///
/// # Errors
/// The store's.
pub fn used_bytes(conn: &mut Conn, id: GenerationId) -> Result<u64, Error> {
    #[derive(QueryableByName)]
    struct Sum {
        #[diesel(sql_type = BigInt)]
        bytes: i64,
    }
    diesel::sql_query(
        "select coalesce(sum(length(payload)), 0)::bigint as bytes from simulated_writes where generation_id = $1",
    )
    .bind::<SqlUuid, _>(id.0)
    .get_result::<Sum>(conn)
    .map(|sum| sum.bytes.unsigned_abs())
    .map_err(Error::query("measure a simulated server"))
}
