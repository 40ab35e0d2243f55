//! Comparing every row of two servers at one position of the source, which goes on serving; and summing up the rows of
//! one that nobody writes to.
//!
//! The candidate cannot be stopped at a position, so the source is kept still for a moment, one database after the other:
//! its tables are locked against writers, the marker is moved and waited for on the candidate, and both sides are looked
//! at from that moment on, by snapshots. Then the locks go, before anything is summed up. Writers wait for some tens of
//! milliseconds, and never for longer than half a second: whoever cannot have all locks soon gives up and tries later,
//! well before a deadlock of ours with a writer would be seen as one.
//!
//! What is compared is listed on both sides, each by itself: a table that one side alone has differs. Also those are
//! compared that no replication carries: unlogged tables, those of extensions, materialized views, large objects.
//!
//! A sum is the number of rows and the sum of a hash of each row: it does not depend on the order of rows, and a row that
//! is there twice counts twice. Copies go by text, so values go into the hash in the server's binary form, which has the
//! bits of a float and the bytes of a text. Where that form holds numbers of the server's own (an object's, a type's), or
//! where floats are inside of something else, the type's text stands for it, whose floats are exact
//! (`extra_float_digits`). One not-a-number is like another, as it is to the server.
//!
//! Rows are read by an account that can do nothing else ([`inspector`]), one session a side, without workers beside it:
//! reading may run functions of the tenant's. The server's own tables are read by our own account.
//!
//! # If we die here
//! Locks and snapshots go with their connections. Nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, Row, name};
use crate::engines::postgresql::databases::{in_each, open_databases};
use crate::engines::postgresql::{inspector, replication, waits};
use crate::engines::{Comparison, Error, NotCompared, OnProgress, Position, Server, Sums};

/// How long one table may take.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// How long the locks may take to come, in milliseconds.
const LOCK_MS: u32 = 200;

/// How long the candidate may take while writers wait.
const LOCKED_APPROACH: Duration = Duration::from_millis(300);

/// How often the locks are tried for.
const TRIES: u32 = 40;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// How many bytes of a table are summed up in a second, at least.
const BYTES_A_SECOND: u64 = 40_000_000;

/// What a session that sums up begins with. One core is all that it takes of a server that serves; and the bytes of a
/// text are those that the server keeps, whatever its encoding.
const READING: &str = "SET max_parallel_workers_per_gather = 0; \
                       SELECT set_config('client_encoding', getdatabaseencoding(), false)";

/// What holds rows.
#[derive(Clone, Debug)]
struct Table {
    /// Its name for people: `schema.table`.
    title: String,
    /// The statement that sums it up.
    sum: String,
    /// Its name with its schema, quoted, where it can be locked.
    lock: Option<String>,
    /// What it takes on the disk.
    bytes: u64,
    /// Whether it is in no log: it is the first to be lost.
    is_unlogged: bool,
}

/// Compares all rows.
pub async fn rows(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<Comparison, Error> {
    let compared = async {
        let passwords = (inspector::make(source).await?, inspector::make(candidate).await?);
        looked_at(source, candidate, (&passwords.0, &passwords.1), progress).await
    }
    .await;
    // Whatever came of it, nobody is left who may look.
    let gone = (inspector::drop(source).await, inspector::drop(candidate).await);
    let compared = compared?;
    gone.0?;
    gone.1?;
    Ok(compared)
}

async fn looked_at(
    source: &Server,
    candidate: &Server,
    passwords: (&str, &str),
    progress: &OnProgress,
) -> Result<Comparison, Error> {
    let mut compared = Comparison::default();
    let databases = open_databases(&Client::connect(source).await?).await?;
    for database in &databases {
        let from = reader(source, passwords.0, database).await?.patient(PATIENCE);
        let to = reader(candidate, passwords.1, database).await?.patient(PATIENCE);
        let there = Client::connect_to(source, database).await?.patient(PATIENCE);
        let here = Client::connect_to(candidate, database).await?.patient(PATIENCE);
        let (tables, mut left) = tables(&there, true).await?;
        let (ours, _) = self::tables(&here, true).await?;
        for object in &mut left {
            object.object = format!("{database}: {}", object.object);
        }
        compared.not_compared.append(&mut left);
        let position = at_one_moment(source, candidate, (&there, database), &tables, &from, &to).await?;
        compared.position = position.0;
        let ours: BTreeMap<&str, &Table> = ours.iter().map(|table| (table.title.as_str(), table)).collect();
        let theirs: BTreeSet<&str> = tables.iter().map(|table| table.title.as_str()).collect();
        let of = tables.len();
        for (at, table) in tables.iter().enumerate() {
            progress(format!("{database}: {at} of {of} tables, {} rows", compared.rows));
            let title = format!("{database}: {}", table.title);
            let Some(here) = ours.get(table.title.as_str()) else {
                compared.tables += 1;
                compared.differing.push(title);
                continue;
            };
            // Side by side: the longer of the two is what it takes.
            let (theirs, ours) = tokio::join!(one(&from, table, &title), one(&to, here, &title));
            let (theirs, ours) = (theirs?, ours?);
            compared.tables += 1;
            compared.rows += count(&theirs);
            if theirs != ours {
                compared.differing.push(title);
            }
        }
        let only_here = ours.keys().filter(|title| !theirs.contains(**title));
        compared.differing.extend(only_here.map(|title| format!("{database}: {title}")));
        if large_objects(&there).await? != large_objects(&here).await? {
            compared.differing.push(format!("{database}: large objects"));
        }
    }
    Ok(compared)
}

/// Comes in as who reads.
async fn reader(server: &Server, password: &str, database: &str) -> Result<Client, Error> {
    let client = inspector::connect(server, password, database).await?;
    client.run("begin to read", READING).await?;
    Ok(client)
}

/// Sums up one table.
async fn one(client: &Client, table: &Table, title: &str) -> Result<Row, Error> {
    match client.rows("sum up a table", &table.sum).await {
        Ok(rows) => Ok(rows.into_iter().next().unwrap_or_default()),
        // Renamed, changed or dropped since it was listed.
        Err(Error::State { state, .. })
            if matches!(&*state, "42P01" | "42703" | "42704" | "42883" | "42809") =>
        {
            Err(Error::NoAnswer(format!("{title} was changed while it was compared")))
        }
        Err(Error::State { doing, state, message }) => {
            Err(Error::State { doing, state, message: format!("{title}: {message}") })
        }
        Err(error) => Err(error),
    }
}

fn count(sum: &Row) -> u64 {
    sum.first().and_then(|count| count.as_deref()).and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// A sum as one word.
fn word(sum: &Row) -> String {
    let parts: Vec<&str> = sum.iter().map(|part| part.as_deref().unwrap_or("-")).collect();
    parts.join("/")
}

/// Opens a snapshot on both sides that hold the same, if the candidate has what the source has.
async fn at_one_moment(
    source: &Server,
    candidate: &Server,
    (locker, database): (&Client, &str),
    tables: &[Table],
    from: &Client,
    to: &Client,
) -> Result<Position, Error> {
    let doing = "look at both sides at one moment";
    let names: Vec<&str> = tables.iter().filter_map(|table| table.lock.as_deref()).collect();
    let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";
    for _ in 0..TRIES {
        // Close by before anybody is kept waiting.
        let near = replication::position(source).await?;
        if !replication::reached(candidate, &near, PATIENCE.min(Duration::from_secs(120))).await? {
            return Err(Error::NoAnswer(format!("{doing}: the candidate is far behind")));
        }
        let begun = Instant::now();
        let lock = match names.is_empty() {
            true => "BEGIN".to_owned(),
            false => format!(
                "BEGIN; SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = {LOCK_MS}; \
                 LOCK TABLE ONLY {} IN SHARE MODE; SET LOCAL statement_timeout = 0",
                names.join(", ONLY ")
            ),
        };
        let held = match locker.run(doing, &lock).await {
            Ok(()) => {
                let position = replication::position(source).await?;
                let reached = replication::reached(candidate, &position, LOCKED_APPROACH).await?;
                if reached {
                    tokio::try_join!(from.run(doing, snapshot), to.run(doing, snapshot))?;
                }
                reached.then_some(position)
            }
            // No lock in time, or somebody else's victim.
            Err(Error::State { state, .. }) if matches!(&*state, "55P03" | "57014" | "40P01") => None,
            Err(error) => return Err(error),
        };
        locker.run(doing, "ROLLBACK").await?;
        if let Some(position) = held {
            tracing::debug!(
                milliseconds = begun.elapsed().as_millis(),
                database,
                "writers were kept waiting"
            );
            return Ok(position);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Error::NoAnswer(format!("{doing}: {database} {}", waits::WITHOUT_A_PAUSE)))
}

/// Sums up the rows of a server that nobody writes to.
pub async fn sums(server: &Server, like: Option<&Sums>, within: Duration) -> Result<Sums, Error> {
    let deadline = Instant::now() + within;
    let summed = async {
        let password = inspector::make(server).await?;
        let databases = open_databases(&Client::connect(server).await?).await?;
        let listed = in_each(&databases, |database| async move {
            let here = Client::connect_to(server, database).await?;
            let (tables, left) = tables(&here, false).await?;
            Ok((tables, left, large_objects(&here).await?))
        })
        .await?;
        let mut sums = Sums::default();
        let mut tables = Vec::new();
        for (database, (ours, left, objects)) in databases.iter().zip(listed) {
            let named = |object: &str| format!("{database}: {object}");
            sums.not_compared.extend(left.iter().map(|it| NotCompared::new(named(&it.object), &*it.why)));
            if let Some(objects) = objects {
                sums.tables.insert(named("large objects"), objects);
            }
            tables.extend(ours.into_iter().map(|table| (database, named(&table.title), table)));
        }
        if let Some(like) = like {
            tables.retain(|(_, title, _)| like.tables.contains_key(title));
        }
        tables.sort_by_key(|(_, _, table)| (!table.is_unlogged, table.bytes));
        let mut readers: BTreeMap<&str, Client> = BTreeMap::new();
        for (database, title, table) in &tables {
            let left = deadline.saturating_duration_since(Instant::now());
            if !fits(table.bytes, left) {
                let why =
                    format!("has {} MB, and there was no time left for it", table.bytes.div_ceil(1_000_000));
                sums.not_compared.push(NotCompared::new(title.as_str(), why));
                continue;
            }
            let client = match readers.entry(database.as_str()) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(reader(server, &password, database).await?)
                }
            };
            match one(client, table, title).await {
                Ok(sum) => drop(sums.tables.insert(title.clone(), word(&sum))),
                Err(Error::State { message, .. }) => {
                    sums.not_compared
                        .push(NotCompared::new(title.as_str(), format!("cannot be read: {message}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sums)
    }
    .await;
    // Whatever came of it, nobody is left who may look.
    let gone = inspector::drop(server).await;
    let summed = summed?;
    gone?;
    Ok(summed)
}

/// Whether that much is summed up in the time that is left.
fn fits(bytes: u64, left: Duration) -> bool {
    u128::from(bytes) * 1000 <= u128::from(BYTES_A_SECOND) * left.as_millis() && !left.is_zero()
}

/// What large objects there are, with whose they are; `None` when there is none. They lie in the server's own tables.
async fn large_objects(inside: &Client) -> Result<Option<String>, Error> {
    let doing = "sum up the large objects";
    if !inside.is_there(doing, "SELECT 1 FROM pg_largeobject_metadata LIMIT 1").await? {
        return Ok(None);
    }
    let sql = format!(
        "{} UNION ALL {}",
        hashed("ROW(l.loid, l.pageno, l.data)", "pg_largeobject l"),
        hashed(
            "ROW(m.oid, textsend(pg_get_userbyid(m.lomowner)), textsend(m.lomacl::text))",
            "pg_largeobject_metadata m"
        )
    );
    let sums: Vec<String> = inside.rows(doing, &sql).await?.iter().map(word).collect();
    Ok(Some(sums.join(" ")))
}

/// The statement that sums up rows: how many there are, and two sums of 64 bits of each row's hash.
fn hashed(row: &str, from: &str) -> String {
    format!(
        "SELECT count(*), sum(('x' || left(h, 16))::bit(64)::bigint), sum(('x' || right(h, 16))::bit(64)::bigint) \
         FROM (SELECT md5(record_send({row})) FROM {from} OFFSET 0) AS r (h)"
    )
}

/// The tenant's tables and sequences, as the server has them, and what holds rows and is not summed up. What a column computes when it
/// is read is no row. `is_fed`: replication carries what is compared.
async fn tables(inside: &Client, is_fed: bool) -> Result<(Vec<Table>, Vec<NotCompared>), Error> {
    let doing = "list the tables";
    let shown = shown(inside).await?;
    let sql = format!(
        "SELECT c.oid, format('%I.%I', n.nspname, c.relname), n.nspname || '.' || c.relname, c.relkind, \
         c.relpersistence, pg_table_size(c.oid), x.extname, c.oid = ANY (x.extconfig), c.relispopulated \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_depend e \
         ON e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.objsubid = 0 AND e.deptype = 'e' \
         LEFT JOIN pg_extension x ON x.oid = e.refobjid WHERE c.relkind IN ('r', 'm', 'f', 'S') \
         AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') \
         AND n.nspname !~ '^pg_' ORDER BY 3"
    );
    let mut columns = columns(inside, &shown).await?;
    let (mut tables, mut left) = (Vec::new(), Vec::new());
    for row in inside.rows(doing, &sql).await? {
        let [oid, full, title, kind, persistence, bytes, extension, is_content, is_populated] =
            <[Option<String>; 9]>::try_from(row)
                .map_err(|_| Error::Unexpected { doing, answer: "a row of another kind".to_owned() })?
                .map(Option::unwrap_or_default);
        let (values, computed) = columns.remove(&oid).unwrap_or_default();
        left.extend(computed.into_iter().map(|column| {
            NotCompared::new(
                format!("{title}.{column}"),
                "is computed when it is read; its expression is compared",
            )
        }));
        let why = match kind.as_str() {
            "f" => Some("reads from another server".to_owned()),
            "m" if is_populated != "t" => None,
            // Where a sequence stands is carried when nobody writes any more, and compared then.
            "S" if is_fed => None,
            _ if !extension.is_empty() && is_content != "t" => {
                Some(format!("is made by the extension {extension}, of that server's version"))
            }
            _ => {
                let sum = match kind.as_str() {
                    "S" => format!("SELECT last_value, is_called FROM {full}"),
                    _ => hashed(&format!("ROW({})", values.join(", ")), &format!("ONLY {full}")),
                };
                tables.push(Table {
                    sum,
                    lock: (is_fed && kind == "r").then(|| full.clone()),
                    bytes: bytes.parse().unwrap_or_default(),
                    is_unlogged: persistence == "u",
                    title,
                });
                continue;
            }
        };
        left.extend(why.map(|why| NotCompared::new(title, why)));
    }
    Ok((tables, left))
}

/// By table: what its columns' values are in the sum, and which are computed when they are read.
type Columns = BTreeMap<String, (Vec<String>, Vec<String>)>;

async fn columns(inside: &Client, shown: &BTreeMap<String, Shown>) -> Result<Columns, Error> {
    let sql = format!(
        "SELECT a.attrelid, a.attname, a.atttypid, to_json(a)->>'attgenerated' = 'v' FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {HOLDS_ROWS} \
         AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum"
    );
    let mut columns = Columns::new();
    for row in inside.rows("list the columns", &sql).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (table, column, kind, is_computed) = (next(), next(), next(), next());
        let (values, computed) = columns.entry(table).or_default();
        if is_computed == "t" {
            computed.push(column);
        } else {
            values.push(value(&name(&column), shown.get(&kind)));
        }
    }
    Ok(columns)
}

/// The condition that holds for relations whose rows are summed up, of `pg_class c` and its schema `n`.
const HOLDS_ROWS: &str = "c.relkind IN ('r', 'm') AND c.relpersistence <> 't' \
                          AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'";

/// How a type's values go into a sum.
#[derive(Clone, Debug)]
struct Shown {
    /// The type that a domain stands for, at last, or the one that the function takes (`text` for a `refcursor`); empty when
    /// it is the column's own.
    base: String,
    /// The function that gives its binary form; its text where `is_text`.
    function: String,
    /// Whether it goes by its text.
    is_text: bool,
    /// Whether it is a float.
    is_float: bool,
}

/// A column's value in the sum, of the type `bytea`.
fn value(column: &str, shown: Option<&Shown>) -> String {
    // Its type is gone: the statement fails, and says so.
    let Some(shown) = shown else { return column.to_owned() };
    let value = match shown.base.is_empty() {
        true => column.to_owned(),
        false => format!("CAST({column} AS {})", shown.base),
    };
    let function = &shown.function;
    match (shown.is_text, shown.is_float) {
        (true, _) => format!("textsend(textin({function}({value})))"),
        (false, true) => format!("CASE WHEN {value} = 'NaN' THEN '\\x4e' ELSE {function}({value}) END"),
        (false, false) => format!("{function}({value})"),
    }
}

/// How the types of all columns go into a sum. A type's parts are those of its domain, its elements and its fields.
async fn shown(inside: &Client) -> Result<BTreeMap<String, Shown>, Error> {
    let sql = format!(
        "WITH RECURSIVE parts (kind, part, depth) AS (SELECT DISTINCT a.atttypid, a.atttypid, 0 FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {HOLDS_ROWS} \
         AND a.attnum > 0 AND NOT a.attisdropped UNION SELECT u.kind, p.part, p.depth FROM parts u \
         JOIN pg_type t ON t.oid = u.part CROSS JOIN LATERAL (SELECT t.typbasetype, u.depth WHERE t.typtype = 'd' \
         UNION ALL SELECT t.typelem, 1 WHERE t.typelem <> 0 AND t.typlen = -1 UNION ALL SELECT a.atttypid, 1 \
         FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT r.rngsubtype, 1 FROM pg_range r WHERE r.rngtypid = t.oid OR to_json(r)->>'rngmultitypid' = \
         t.oid::text) p (part, depth)), \
         told AS (SELECT p.kind, max(CASE WHEN p.depth = 0 AND t.typtype <> 'd' THEN p.part::bigint END)::oid AS base, \
         bool_or((p.depth > 0 AND p.part IN (700, 701)) OR t.typtype = 'c' OR t.typsend = 0 \
         OR (t.typlen = -1 AND t.typelem >= 16384) OR (p.part < 16384 AND (t.typcategory = 'G' OR t.typname ~ '^reg' \
         OR t.typname = 'xml'))) AS is_text FROM parts p JOIN pg_type t ON t.oid = p.part GROUP BY p.kind) \
         SELECT o.kind, CASE WHEN g.typtype <> 'p' AND g.oid <> o.base THEN format('%I.%I', gn.nspname, g.typname) \
         WHEN o.kind <> o.base THEN format('%I.%I', n.nspname, t.typname) END, \
         format('%I.%I', fn.nspname, f.proname), o.is_text, o.base IN (700, 701) FROM told o \
         JOIN pg_type t ON t.oid = o.base JOIN pg_namespace n ON n.oid = t.typnamespace \
         JOIN pg_proc f ON f.oid = CASE WHEN o.is_text THEN t.typoutput ELSE t.typsend END \
         JOIN pg_namespace fn ON fn.oid = f.pronamespace JOIN pg_type g ON g.oid = f.proargtypes[0] \
         JOIN pg_namespace gn ON gn.oid = g.typnamespace"
    );
    let mut shown = BTreeMap::new();
    for row in inside.rows("list the columns' types", &sql).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (kind, base, function) = (next(), next(), next());
        let (is_text, is_float) = (next() == "t", next() == "t");
        shown.insert(kind, Shown { base, function, is_text, is_float });
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(base: &str, function: &str, is_text: bool, is_float: bool) -> Shown {
        Shown { base: base.to_owned(), function: function.to_owned(), is_text, is_float }
    }

    #[test]
    fn a_value_goes_by_its_binary_form() {
        for (kind, told) in [
            (shown("", "pg_catalog.int4send", false, false), "pg_catalog.int4send(\"c\")"),
            (
                shown("pg_catalog.text", "pg_catalog.textsend", false, false),
                "pg_catalog.textsend(CAST(\"c\" AS pg_catalog.text))",
            ),
            (
                shown("", "pg_catalog.float8send", false, true),
                "CASE WHEN \"c\" = 'NaN' THEN '\\x4e' ELSE pg_catalog.float8send(\"c\") END",
            ),
            (
                shown("", "pg_catalog.record_out", true, false),
                "textsend(textin(pg_catalog.record_out(\"c\")))",
            ),
        ] {
            assert_eq!(value("\"c\"", Some(&kind)), told);
        }
    }

    #[test]
    fn what_is_large_is_left_when_time_is_short() {
        assert!(fits(0, Duration::from_millis(1)) && !fits(0, Duration::ZERO));
        assert!(
            fits(BYTES_A_SECOND, Duration::from_secs(1))
                && !fits(BYTES_A_SECOND + 1_000_000, Duration::from_secs(1))
        );
    }
}
