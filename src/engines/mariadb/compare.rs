//! Comparing every row of both sides at one position, while the source serves.
//!
//! The candidate is stopped; the source opens a snapshot, whose position is therefore not before the
//! candidate's; the candidate is let go until exactly that position; then each table is summed up on both sides: the
//! source inside its snapshot, the candidate standing still. Nothing is locked on the source, which only keeps the
//! snapshot's old row versions meanwhile.
//!
//! A table without transactions is in no snapshot. Each of them is locked on the source, which keeps its writers
//! waiting while it is summed up and no longer; the candidate follows on until the position of that moment, from which
//! on nothing can change in it on either side.
//!
//! What is compared is listed on both sides, each by itself: a table that one side alone has differs. The history of a
//! system-versioned table is compared with the rest. An engine that keeps its rows elsewhere is named as not compared.
//!
//! A sum is the number of rows and the sum of a hash of each row: it does not depend on the order of rows, and a row
//! that is there twice counts twice. A dump goes by text, so values go into the hash by what they are: a float by its
//! bits, which a point that is made of it holds; what is counted by its digits; an ENUM and a SET by number and label;
//! all else by its bytes. `NULL` is apart from every value. `CHECKSUM TABLE` does not promise the same on every version.
//! Large values go in by a hash of their own: a function's result that is longer than a packet would be NULL.
//!
//! Rows are read by accounts that can read the tenant's databases and nothing else, made for the time of it.
//!
//! # If we die here
//! The candidate stands still, and is let go by the next try, which begins with that. Its server, started again,
//! applies by itself. That it stood still to the end is looked at afterwards: if not, the comparison is worth nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::engines::mariadb::connection::{Client, Row, name, quoted};
use crate::engines::mariadb::{LOOK_EVERY, content, helpers, replication};
use crate::engines::{Comparison, Error, NotCompared, OnProgress, Server, Sums};

/// How long one table may take.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// How long the candidate may take to get to the snapshot's position: it was caught up just before.
const APPROACH: Duration = Duration::from_secs(120);

/// How long the candidate may take while writers wait.
const LOCKED_APPROACH: Duration = Duration::from_secs(10);

/// How often a table is locked in vain.
const LOCK_TRIES: u32 = 5;

/// Compares all rows.
pub async fn rows(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<Comparison, Error> {
    let mut from = Client::connect(source).await?.patient(PATIENCE);
    let mut to = Client::connect(candidate).await?.patient(PATIENCE);
    let compared = looked_at(source, candidate, &mut from, &mut to, progress).await;
    // Whatever came of it, the candidate follows again, and nobody is left who may look.
    let gone = (helpers::sweep(&mut from).await, helpers::sweep(&mut to).await);
    to.run("let the candidate follow again", "START SLAVE").await?;
    let compared = compared?;
    gone.0?;
    gone.1?;
    from.close().await;
    to.close().await;
    Ok(compared)
}

/// The rows are read by accounts that can do nothing else: see [`helpers`].
async fn looked_at(
    source: &Server,
    candidate: &Server,
    from: &mut Client,
    to: &mut Client,
    progress: &OnProgress,
) -> Result<Comparison, Error> {
    let databases = content::databases(from).await?;
    let inspector = helpers::inspector(from, &databases).await?;
    let mut there = inspector.connect(source).await?.patient(PATIENCE);
    let inspector_here = helpers::inspector(to, &databases).await?;
    let mut here = inspector_here.connect(candidate).await?.patient(PATIENCE);
    let compared = async {
        let mut compared = standing_still(&mut there, &mut here, to, progress).await?;
        under_locks(candidate, &mut there, &mut here, to, progress, &mut compared).await?;
        Ok(compared)
    }
    .await;
    there.close().await;
    here.close().await;
    let gone = (inspector.drop(from).await, inspector_here.drop(to).await);
    let compared = compared?;
    gone.0?;
    gone.1?;
    Ok(compared)
}

/// `from` and `here` look; `to` is our own account on the candidate.
async fn standing_still(
    from: &mut Client,
    here: &mut Client,
    to: &mut Client,
    progress: &OnProgress,
) -> Result<Comparison, Error> {
    // Both threads: a position to stop at can be given only to both.
    to.run("stop the candidate", "STOP SLAVE").await?;
    from.run("choose the snapshot's isolation", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await?;
    from.run("open a snapshot", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
    let position = snapshot_position(from).await?;
    if !position.is_empty() && !at(to, &position).await? {
        let until = format!("START SLAVE UNTIL master_gtid_pos={}", quoted(&position));
        to.run("let the candidate go until the snapshot", &until).await?;
        stands_at(to, &position).await?;
    }
    let (tables, left) = tables(from).await?;
    let (ours, _) = self::tables(here).await?;
    let mut compared = Comparison { not_compared: left, ..Comparison::default() };
    let only_here = ours.keys().filter(|title| !tables.contains_key(*title));
    compared.differing.extend(only_here.cloned());
    let of = tables.len();
    for (at, (title, table)) in tables.iter().filter(|(_, table)| table.is_in_snapshots).enumerate() {
        progress(format!("{at} of {of} tables, {} rows", compared.rows));
        let Some(our) = ours.get(title) else {
            compared.tables += 1;
            compared.differing.push(title.clone());
            continue;
        };
        // Side by side: the longer of the two is what it takes.
        let (theirs, ours) = tokio::join!(one(from, title, table), one(here, title, our));
        if is_without_file(&theirs) && is_without_file(&ours) {
            let why = "has no file (DISCARD TABLESPACE), on either side";
            compared.not_compared.push(NotCompared::new(title.clone(), why));
            continue;
        }
        compared.tables += 1;
        let (theirs, ours) = (theirs?, ours?);
        compared.rows += count(&theirs);
        if theirs != ours {
            compared.differing.push(title.clone());
        }
    }
    if !position.is_empty() && !at(to, &position).await? {
        let answer = "the candidate did not stand still".to_owned();
        return Err(Error::Unexpected { doing: "compare the rows", answer });
    }
    from.run("close the snapshot", "COMMIT").await?;
    compared.position = position;
    Ok(compared)
}

/// Compares the tables without transactions, one after the other.
async fn under_locks(
    candidate: &Server,
    from: &mut Client,
    here: &mut Client,
    to: &mut Client,
    progress: &OnProgress,
    compared: &mut Comparison,
) -> Result<(), Error> {
    let (mut tables, _) = tables(from).await?;
    tables.retain(|_, table| !table.is_in_snapshots);
    if tables.is_empty() {
        return Ok(());
    }
    let (ours, _) = self::tables(here).await?;
    to.run("let the candidate follow again", "START SLAVE").await?;
    let of = tables.len();
    for (at, (title, table)) in tables.iter().enumerate() {
        progress(format!("{at} of {of} tables without transactions, {} rows", compared.rows));
        compared.tables += 1;
        let Some(our) = ours.get(title) else {
            compared.differing.push(title.clone());
            continue;
        };
        let mut tries = 0;
        let (theirs, ours) = loop {
            tries += 1;
            match under_lock(candidate, from, here, title, (table, our)).await {
                Ok(Some(sums)) => break sums,
                // Somebody writes to it for long, or the candidate is not that close.
                Ok(None) | Err(Error::Refused { code: 1205, .. }) if tries < LOCK_TRIES => {}
                Ok(None) => {
                    return Err(Error::NoAnswer(format!(
                        "the candidate does not come close enough in {title}"
                    )));
                }
                Err(error) => return Err(error),
            }
        };
        compared.rows += count(&theirs);
        if theirs != ours {
            compared.differing.push(title.clone());
        }
    }
    Ok(())
}

/// The sums of one table on both sides, locked on the source; `None` when the candidate did not get there soon.
async fn under_lock(
    candidate: &Server,
    from: &mut Client,
    here: &mut Client,
    title: &str,
    (table, our): (&Table, &Table),
) -> Result<Option<(Row, Row)>, Error> {
    // Close by before anybody is kept waiting.
    let now = replication::position(from).await?;
    if !replication::reached(candidate, &now, APPROACH).await? {
        return Ok(None);
    }
    from.run("lock a table", &format!("LOCK TABLES {} READ", table.name)).await?;
    let looked = async {
        // A statement keeps its lock until it is in the binary log: this position has all of them.
        let position = replication::position(from).await?;
        if !replication::reached(candidate, &position, LOCKED_APPROACH).await? {
            return Ok(None);
        }
        let (theirs, ours) = tokio::join!(one(from, title, table), one(here, title, our));
        Ok(Some((theirs?, ours?)))
    }
    .await;
    from.run("unlock a table", "UNLOCK TABLES").await?;
    looked
}

/// The position of the open snapshot: what the binary log held when it was opened.
async fn snapshot_position(from: &mut Client) -> Result<String, Error> {
    let doing = "ask for the snapshot's position";
    let mut status = BTreeMap::new();
    for row in from.rows(doing, "SHOW STATUS LIKE 'binlog_snapshot_%'").await? {
        let mut values = row.into_iter().flatten();
        if let (Some(name), Some(value)) = (values.next(), values.next()) {
            status.insert(name.to_ascii_lowercase(), value);
        }
    }
    let get = |name: &str| status.get(name).cloned().unwrap_or_default();
    let (file, offset) = (get("binlog_snapshot_file"), get("binlog_snapshot_position"));
    let offset: u64 =
        offset.parse().map_err(|_| Error::Unexpected { doing, answer: format!("{file} {offset}") })?;
    from.value(doing, &format!("SELECT BINLOG_GTID_POS({}, {offset})", quoted(&file))).await
}

/// Waits until the candidate has stopped at the position.
async fn stands_at(to: &mut Client, position: &str) -> Result<(), Error> {
    let deadline = Instant::now() + APPROACH;
    loop {
        let status = to.record("ask for the applier", "SHOW SLAVE STATUS").await?.unwrap_or_default();
        let get = |name: &str| status.get(name).map_or("", String::as_str);
        if get("Slave_SQL_Running") == "No" {
            if get("Last_SQL_Errno") != "0" {
                let answer = format!("{}: {}", get("Last_SQL_Errno"), get("Last_SQL_Error"));
                return Err(Error::Unexpected { doing: "wait for the snapshot's position", answer });
            }
            if at(to, position).await? {
                return Ok(());
            }
        }
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer("the candidate did not reach the snapshot's position".to_owned()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether what the candidate has applied is exactly the position, in whatever order its domains are told.
async fn at(to: &mut Client, position: &str) -> Result<bool, Error> {
    let here = to.value("ask for the candidate's position", "SELECT @@GLOBAL.gtid_slave_pos").await?;
    let sorted = |list: &str| {
        let mut parts: Vec<String> = list.split(',').map(|gtid| gtid.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    Ok(sorted(&here) == sorted(position))
}

/// Sums up the rows of a server that nobody writes to.
pub async fn sums(server: &Server, like: Option<&Sums>, within: Duration) -> Result<Sums, Error> {
    let deadline = Instant::now() + within;
    let mut client = Client::connect(server).await?;
    let databases = content::databases(&mut client).await?;
    let inspector = helpers::inspector(&mut client, &databases).await?;
    let summed = async {
        let mut here = inspector.connect(server).await?.patient(PATIENCE);
        let (tables, left) = tables(&mut here).await?;
        let mut tables: Vec<(String, Table)> = tables.into_iter().collect();
        if let Some(like) = like {
            tables.retain(|(title, _)| like.tables.contains_key(title));
        }
        tables.sort_by_key(|(_, table)| table.bytes);
        let mut sums = Sums { not_compared: left, ..Sums::default() };
        standing(&mut client, &mut here, &mut sums).await?;
        for (title, table) in tables {
            let left = deadline.saturating_duration_since(Instant::now());
            if table.is_in_memory {
                sums.not_compared
                    .push(NotCompared::new(title, "is kept in memory, and empty after a restart"));
            } else if fits(table.bytes, left) {
                match one(&mut here, &title, &table).await {
                    Ok(sum) => drop(sums.tables.insert(title, word(&sum))),
                    Err(Error::Refused { message, .. }) => {
                        sums.not_compared.push(NotCompared::new(title, format!("cannot be read: {message}")));
                    }
                    Err(Error::Object { why, .. }) => sums.not_compared.push(NotCompared::new(title, why)),
                    Err(error) => return Err(error),
                }
            } else {
                let why =
                    format!("has {} MB, and there was no time left for it", table.bytes.div_ceil(1_000_000));
                sums.not_compared.push(NotCompared::new(title, why));
            }
        }
        here.close().await;
        Ok(sums)
    }
    .await;
    // Whatever came of it, nobody is left who may look.
    let gone = inspector.drop(&mut client).await;
    client.close().await;
    let summed = summed?;
    gone?;
    Ok(summed)
}

/// Where sequences stand, and what becomes of events: nothing of it moves on a server that nobody writes to.
async fn standing(client: &mut Client, here: &mut Client, sums: &mut Sums) -> Result<(), Error> {
    let sequences = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE {} AND TABLE_TYPE='SEQUENCE'",
        content::tenant_schema("TABLE_SCHEMA")
    );
    for row in here.rows("list the sequences", &sequences).await? {
        let [Some(schema), Some(sequence)] = row.as_slice() else { continue };
        let ask =
            format!("SELECT next_not_cached_value, cycle_count FROM {}.{}", name(schema), name(sequence));
        let stands = here.row("ask where a sequence stands", &ask).await?.unwrap_or_default();
        sums.tables.insert(format!("sequence {schema}.{sequence}"), word(&stands));
    }
    let events = format!("SELECT db, name, status FROM mysql.event WHERE {}", content::tenant_schema("db"));
    for row in client.rows("list the events' states", &events).await? {
        let [Some(schema), Some(event), Some(state)] = row.as_slice() else { continue };
        sums.tables.insert(format!("event {schema}.{event}"), state.clone());
    }
    Ok(())
}

/// How many bytes of a table are summed up in a second, at least.
const BYTES_A_SECOND: u64 = 40_000_000;

/// Whether that much is summed up in the time that is left.
fn fits(bytes: u64, left: Duration) -> bool {
    u128::from(bytes) * 1000 <= u128::from(BYTES_A_SECOND) * left.as_millis() && !left.is_zero()
}

/// Sums up one table.
async fn one(client: &mut Client, title: &str, table: &Table) -> Result<Row, Error> {
    match client.row("sum up a table", &sum(table)).await {
        Ok(row) => Ok(row.unwrap_or_default()),
        // Renamed, changed or dropped since it was listed.
        Err(Error::Refused { code: 1054 | 1146 | 1347 | 1356 | 1412, .. }) => {
            Err(Error::NoAnswer(format!("{title} was changed while it was compared")))
        }
        Err(Error::Refused { code, message, .. }) if BROKEN.contains(&code) => Err(Error::Object {
            object: title.to_owned(),
            why: format!("cannot be read ({message}): what it holds cannot be compared"),
            remedy: "REPAIR TABLE it, restore it from a backup, or drop it".to_owned(),
        }),
        Err(Error::Refused { doing, code, message }) => {
            Err(Error::Refused { doing, code, message: format!("{title}: {message}") })
        }
        Err(error) => Err(error),
    }
}

/// What the server says of a table whose file was taken away on purpose.
const WITHOUT_FILE: u16 = 1814;

const fn is_without_file(sum: &Result<Row, Error>) -> bool {
    matches!(sum, Err(Error::Refused { code: WITHOUT_FILE, .. }))
}

/// What it says of one whose files are broken: no try reads more of it than the last.
const BROKEN: [u16; 11] = [126, 127, 134, 144, 145, 176, 1034, 1035, 1194, 1195, 1712];

fn count(sum: &Row) -> u64 {
    sum.first().and_then(|count| count.as_deref()).and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// A sum as one word.
fn word(sum: &Row) -> String {
    let parts: Vec<&str> = sum.iter().map(|part| part.as_deref().unwrap_or("-")).collect();
    parts.join("/")
}

/// What holds rows.
#[derive(Clone, Debug)]
struct Table {
    /// Its name with its schema, quoted.
    name: String,
    /// What its columns' values are in the sum.
    values: Vec<String>,
    /// Whether it keeps the rows that were.
    is_versioned: bool,
    /// Whether a snapshot holds for it; else it is read under a lock.
    is_in_snapshots: bool,
    /// Whether its rows go with the server.
    is_in_memory: bool,
    /// What it takes on the disk.
    bytes: u64,
}

/// Engines whose tables are in snapshots, and those whose tables are not. What all others hold lies elsewhere.
const TRANSACTIONAL: [&str; 2] = ["InnoDB", "ROCKSDB"];
const PLAIN: [&str; 5] = ["MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE"];

/// The tenant's tables by name, as the server has them, and what holds rows and is not summed up.
async fn tables(client: &mut Client) -> Result<(BTreeMap<String, Table>, Vec<NotCompared>), Error> {
    let condition = content::tenant_schema("c.TABLE_SCHEMA");
    let sql = format!(
        "SELECT c.TABLE_SCHEMA, c.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, t.DATA_LENGTH, c.COLUMN_NAME, LOWER(c.DATA_TYPE), \
         c.EXTRA, c.GENERATION_EXPRESSION FROM information_schema.COLUMNS c \
         JOIN information_schema.TABLES t ON t.TABLE_SCHEMA=c.TABLE_SCHEMA AND t.TABLE_NAME=c.TABLE_NAME \
         WHERE t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND {condition} \
         ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION"
    );
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let mut left: BTreeMap<String, String> = BTreeMap::new();
    let mut periods = BTreeSet::new();
    for row in client.rows("list the tables", &sql).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (schema, table, kind, engine, bytes) = (next(), next(), next(), next(), next());
        let (column, data, extra, expression) = (next(), next(), next(), next());
        let title = format!("{schema}.{table}");
        let is_in_snapshots = TRANSACTIONAL.contains(&engine.as_str());
        if !is_in_snapshots && !PLAIN.contains(&engine.as_str()) {
            let why = match engine.is_empty() {
                true => "cannot be opened".to_owned(),
                false => format!("keeps its rows elsewhere: its engine is {engine}"),
            };
            left.insert(title, why);
            continue;
        }
        let table = tables.entry(title.clone()).or_insert_with(|| Table {
            name: format!("{}.{}", name(&schema), name(&table)),
            values: Vec::new(),
            is_versioned: kind == "SYSTEM VERSIONED",
            is_in_snapshots,
            is_in_memory: engine == "MEMORY",
            bytes: bytes.parse().unwrap_or_default(),
        });
        match expression.as_str() {
            "ROW START" | "ROW END" => {
                periods.insert(title);
                table.values.push(period(&name(&column), &data, &expression));
            }
            _ if extra.contains("VIRTUAL GENERATED") => {
                left.insert(
                    format!("{title}.{column}"),
                    "is computed when it is read; its expression is compared".to_owned(),
                );
            }
            _ => table.values.push(value(&name(&column), &data)),
        }
    }
    for (title, table) in &mut tables {
        // A period that nobody named has columns all the same.
        if table.is_versioned && !periods.contains(title) {
            for bound in ["ROW START", "ROW END"] {
                table.values.push(period(&bound.replace(' ', "_"), "timestamp", bound));
            }
        }
    }
    Ok((tables, left.into_iter().map(|(object, why)| NotCompared { object, why }).collect()))
}

/// The end of what still is, which a later version puts at a later moment.
const NO_END: &str = "2038-01-19 03:14:07";

/// A bound of the time that a row was there for. Where it is the number of a transaction it is the server's own.
fn period(column: &str, data: &str, bound: &str) -> String {
    match (data, bound) {
        ("timestamp", "ROW END") => format!("IF({column}>='{NO_END}','-',HEX({column}))"),
        ("timestamp", _) => format!("HEX({column})"),
        (_, "ROW END") => format!("{column}=18446744073709551615"),
        _ => "''".to_owned(),
    }
}

/// A column's value in the sum, as a text.
fn value(column: &str, data: &str) -> String {
    let text = match data {
        "float" | "double" => format!("SUBSTR(HEX(ST_AsWKB(POINT({column},0))),11,16)"),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => {
            format!("CAST({column} AS CHAR)")
        }
        "enum" | "set" => format!("CONCAT({column}+0,':',HEX({column}))"),
        "bit" | "char" | "varchar" | "binary" | "varbinary" | "date" | "time" | "datetime" | "timestamp" => {
            format!("HEX({column})")
        }
        "uuid" | "inet4" | "inet6" => format!("CAST({column} AS CHAR)"),
        _ => format!("MD5({column})"),
    };
    // NULL is no text, and no text is no NULL.
    format!("IFNULL({text},'~')")
}

/// The statement that sums up a table: how many rows there are, and two sums of 64 bits of each row's hash. Sixteen
/// hexadecimal digits are a number whose sum over any number of rows is exact.
fn sum(table: &Table) -> String {
    let history = if table.is_versioned { " FOR SYSTEM_TIME ALL" } else { "" };
    let values = if table.values.is_empty() { "''".to_owned() } else { table.values.join(",") };
    format!(
        "SELECT COUNT(*), SUM(CAST(CONV(LEFT(@h:=MD5(CONCAT_WS(',',{})),16),16,10) AS UNSIGNED)), \
         SUM(CAST(CONV(RIGHT(@h,16),16,10) AS UNSIGNED)) FROM {}{history}",
        values, table.name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_summed_up_by_all_its_columns() {
        let table = Table {
            name: "`a``b`.`t`".to_owned(),
            values: vec![
                value("`id`", "int"),
                value("`x`", "blob"),
                period("ROW_END", "timestamp", "ROW END"),
            ],
            is_versioned: true,
            is_in_snapshots: true,
            is_in_memory: false,
            bytes: 0,
        };
        assert_eq!(
            sum(&table),
            "SELECT COUNT(*), SUM(CAST(CONV(LEFT(@h:=MD5(CONCAT_WS(',',IFNULL(CAST(`id` AS CHAR),'~'),\
             IFNULL(MD5(`x`),'~'),IF(ROW_END>='2038-01-19 03:14:07','-',HEX(ROW_END)))),16),16,10) AS UNSIGNED)), \
             SUM(CAST(CONV(RIGHT(@h,16),16,10) AS UNSIGNED)) FROM `a``b`.`t` FOR SYSTEM_TIME ALL"
        );
    }

    #[test]
    fn a_float_goes_by_its_bits() {
        assert_eq!(value("`v`", "float"), "IFNULL(SUBSTR(HEX(ST_AsWKB(POINT(`v`,0))),11,16),'~')");
    }
}
