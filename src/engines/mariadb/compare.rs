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
//! A sum is the number of rows and the sum of a hash of each row: it does not depend on the order of rows, and a row
//! that is there twice counts twice. Values go in as text for numbers and as hexadecimal bytes for all else, which
//! gives the same on every version; `CHECKSUM TABLE` does not promise that.
//!
//! Rows are read by accounts that can read the tenant's databases and nothing else, made for the time of it.
//!
//! # If we die here
//! The candidate stands still, and is let go by the next try, which begins with that. Its server, started again,
//! applies by itself. That it stood still to the end is looked at afterwards: if not, the comparison is worth nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engines::mariadb::connection::{Client, Row, name, quoted};
use crate::engines::mariadb::{LOOK_EVERY, content, helpers, replication};
use crate::engines::{Comparison, Error, Server, Tell};

/// How long one table may take.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// How long the candidate may take to get to the snapshot's position: it was caught up just before.
const APPROACH: Duration = Duration::from_secs(120);

/// How long the candidate may take while writers wait.
const LOCKED_APPROACH: Duration = Duration::from_secs(10);

/// How often a table is locked in vain.
const LOCK_TRIES: u32 = 5;

/// Compares all rows.
pub async fn rows(source: &Server, candidate: &Server, tell: &Tell) -> Result<Comparison, Error> {
    let mut from = Client::connect(source).await?.patient(PATIENCE);
    let mut to = Client::connect(candidate).await?.patient(PATIENCE);
    let compared = looked_at(source, candidate, &mut from, &mut to, tell).await;
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
    tell: &Tell,
) -> Result<Comparison, Error> {
    let databases = content::databases(from).await?;
    let looker = helpers::looker(from, &databases).await?;
    let mut there = looker.connect(source).await?.patient(PATIENCE);
    let looker_here = helpers::looker(to, &databases).await?;
    let mut here = looker_here.connect(candidate).await?.patient(PATIENCE);
    let compared = async {
        let mut compared = standing_still(&mut there, &mut here, to, tell).await?;
        under_locks(candidate, &mut there, &mut here, to, tell, &mut compared).await?;
        Ok(compared)
    }
    .await;
    there.close().await;
    here.close().await;
    let gone = (looker.drop(from).await, looker_here.drop(to).await);
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
    tell: &Tell,
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
    let tables = tables(from, Kind::Transactional).await?;
    let mut compared = Comparison::default();
    let of = tables.len();
    for (at, (table, columns)) in tables.into_iter().enumerate() {
        tell(format!("{at} of {of} tables, {} rows", compared.rows));
        let sum = sum(&table, &columns);
        // Side by side: the longer of the two is what it takes.
        let (theirs, ours) = tokio::join!(from.row("sum up a table", &sum), here.row("sum up a table", &sum));
        let (theirs, ours) = (theirs?, ours?);
        compared.tables += 1;
        let count = theirs.as_ref().and_then(|row| row.first().cloned().flatten());
        compared.rows += count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        if theirs != ours {
            compared.differing.push(format!("{}.{}", table.schema, table.name));
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
    tell: &Tell,
    compared: &mut Comparison,
) -> Result<(), Error> {
    let tables = tables(from, Kind::Plain).await?;
    if tables.is_empty() {
        return Ok(());
    }
    to.run("let the candidate follow again", "START SLAVE").await?;
    let of = tables.len();
    for (at, (table, columns)) in tables.into_iter().enumerate() {
        tell(format!("{at} of {of} tables without transactions, {} rows", compared.rows));
        let mut tries = 0;
        let (theirs, ours) = loop {
            tries += 1;
            match under_lock(candidate, from, here, &table, &sum(&table, &columns)).await {
                Ok(Some(sums)) => break sums,
                // Somebody writes to it for long, or the candidate is not that close.
                Ok(None) | Err(Error::Refused { code: 1205, .. }) if tries < LOCK_TRIES => {}
                Ok(None) => {
                    let answer = format!(
                        "the candidate does not come close enough in {}.{}",
                        table.schema, table.name
                    );
                    return Err(Error::NoAnswer(answer));
                }
                Err(error) => return Err(error),
            }
        };
        compared.tables += 1;
        let count = theirs.first().cloned().flatten();
        compared.rows += count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        if theirs != ours {
            compared.differing.push(format!("{}.{}", table.schema, table.name));
        }
    }
    Ok(())
}

/// The sums of one table on both sides, locked on the source; `None` when the candidate did not get there soon.
async fn under_lock(
    candidate: &Server,
    from: &mut Client,
    here: &mut Client,
    table: &Table,
    sum: &str,
) -> Result<Option<(Row, Row)>, Error> {
    // Close by before anybody is kept waiting.
    let now = replication::position(from).await?;
    if !replication::reached(candidate, &now, APPROACH).await? {
        return Ok(None);
    }
    let lock = format!("LOCK TABLES {}.{} READ", name(&table.schema), name(&table.name));
    from.run("lock a table", &lock).await?;
    let looked = async {
        // A statement keeps its lock until it is in the binary log: this position has all of them.
        let position = replication::position(from).await?;
        if !replication::reached(candidate, &position, LOCKED_APPROACH).await? {
            return Ok(None);
        }
        let (theirs, ours) = tokio::join!(from.row("sum up a table", sum), here.row("sum up a table", sum));
        Ok(Some((theirs?.unwrap_or_default(), ours?.unwrap_or_default())))
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    schema: String,
    name: String,
}

struct Column {
    name: String,
    kind: String,
}

/// What can be read of a table at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its rows in a snapshot.
    Transactional,
    /// Its rows under a lock.
    Plain,
}

/// The tenant's tables of a kind with their columns, as the source has them.
async fn tables(from: &mut Client, kind: Kind) -> Result<BTreeMap<Table, Vec<Column>>, Error> {
    let condition = content::tenant_schema("c.TABLE_SCHEMA");
    let not = match kind {
        Kind::Transactional => "NOT",
        Kind::Plain => "",
    };
    let sql = format!(
        "SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME, LOWER(c.DATA_TYPE) FROM information_schema.COLUMNS c \
         JOIN information_schema.TABLES t ON t.TABLE_SCHEMA=c.TABLE_SCHEMA AND t.TABLE_NAME=c.TABLE_NAME \
         WHERE t.TABLE_TYPE='BASE TABLE' AND {condition} AND t.ENGINE {not} IN ('MyISAM', 'Aria') \
         ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION"
    );
    let mut tables: BTreeMap<Table, Vec<Column>> = BTreeMap::new();
    for row in from.rows("list the tables", &sql).await? {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        if let (Some(schema), Some(table), Some(column), Some(kind)) =
            (values.next(), values.next(), values.next(), values.next())
        {
            tables.entry(Table { schema, name: table }).or_default().push(Column { name: column, kind });
        }
    }
    Ok(tables)
}

/// The statement that sums up a table.
fn sum(table: &Table, columns: &[Column]) -> String {
    const NUMBERS: [&str; 9] =
        ["tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"];
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = name(&column.name);
            let text = if NUMBERS.contains(&column.kind.as_str()) {
                format!("CAST({name} AS CHAR)")
            } else {
                format!("HEX({name})")
            };
            // NULL is no text, and no text is no NULL.
            format!("IFNULL({text},'~')")
        })
        .collect();
    // Twelve hexadecimal digits: their sum over any number of rows is exact.
    format!(
        "SELECT COUNT(*), SUM(CAST(CONV(LEFT(MD5(CONCAT_WS(',',{})),12),16,10) AS UNSIGNED)) FROM {}.{}",
        values.join(","),
        name(&table.schema),
        name(&table.name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_summed_up_by_all_its_columns() {
        let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned() };
        let table = Table { schema: "a`b".to_owned(), name: "t".to_owned() };
        assert_eq!(
            sum(&table, &[column("id", "int"), column("x", "blob")]),
            "SELECT COUNT(*), SUM(CAST(CONV(LEFT(MD5(CONCAT_WS(',',IFNULL(CAST(`id` AS CHAR),'~'),\
             IFNULL(HEX(`x`),'~'))),12),16,10) AS UNSIGNED)) FROM `a``b`.`t`"
        );
    }
}
