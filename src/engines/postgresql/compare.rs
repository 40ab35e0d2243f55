//! Comparing every row of two servers at one position of the source, which goes on serving.
//!
//! The candidate cannot be stopped at a position, so the source is kept still for a moment, one database after the other:
//! its tables are locked against writers, the marker is moved and waited for on the candidate, and both sides are looked
//! at from that moment on, by snapshots. Then the locks go, before anything is summed up. Writers wait for some tens of
//! milliseconds, and never for longer than half a second: whoever cannot have all locks soon gives up and tries later,
//! well before a deadlock of ours with a writer would be seen as one.
//!
//! A sum is the number of rows and the sum of a hash of each row: it does not depend on the order of rows, and a row that
//! is there twice counts twice. Rows become text by their columns' types alone, and are read by an account that can do
//! nothing else ([`looker`]): reading may run functions of the tenant's.
//!
//! # If we die here
//! Locks and snapshots go with their connections. Nothing is left.

use std::time::{Duration, Instant};

use crate::engines::postgresql::connection::{Client, name};
use crate::engines::postgresql::content::open_databases;
use crate::engines::postgresql::looker;
use crate::engines::postgresql::replication::{self, published};
use crate::engines::{Comparison, Error, Position, Server, Tell};

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

struct Table {
    /// Its name with its schema, quoted.
    name: String,
    /// The same for people.
    title: String,
    /// Its columns, quoted.
    columns: Vec<String>,
}

/// Compares all rows.
pub async fn rows(source: &Server, candidate: &Server, tell: &Tell) -> Result<Comparison, Error> {
    let compared = async {
        let passwords = (looker::make(source).await?, looker::make(candidate).await?);
        looked_at(source, candidate, (&passwords.0, &passwords.1), tell).await
    }
    .await;
    // Whatever came of it, nobody is left who may look.
    let gone = (looker::drop(source).await, looker::drop(candidate).await);
    let compared = compared?;
    gone.0?;
    gone.1?;
    Ok(compared)
}

async fn looked_at(
    source: &Server,
    candidate: &Server,
    passwords: (&str, &str),
    tell: &Tell,
) -> Result<Comparison, Error> {
    let mut compared = Comparison::default();
    let databases = open_databases(&Client::connect(source).await?).await?;
    for database in &databases {
        let from = looker::connect(source, passwords.0, database).await?.patient(PATIENCE);
        let to = looker::connect(candidate, passwords.1, database).await?.patient(PATIENCE);
        let tables = tables(&Client::connect_to(source, database).await?).await?;
        let position = at_one_moment(source, candidate, database, &tables, &from, &to).await?;
        compared.position = position.0;
        let of = tables.len();
        for (at, table) in tables.iter().enumerate() {
            tell(format!("{database}: {at} of {of} tables, {} rows", compared.rows));
            let sum = sum(table);
            // Side by side: the longer of the two is what it takes.
            let (theirs, ours) =
                tokio::join!(from.rows("sum up a table", &sum), to.rows("sum up a table", &sum));
            let (theirs, ours) = (theirs?, ours?);
            compared.tables += 1;
            let count = theirs.first().and_then(|row| row.first().cloned().flatten());
            compared.rows += count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
            if theirs != ours {
                compared.differing.push(format!("{database}: {}", table.title));
            }
        }
    }
    Ok(compared)
}

/// Opens a snapshot on both sides that hold the same, if the candidate has what the source has.
async fn at_one_moment(
    source: &Server,
    candidate: &Server,
    database: &str,
    tables: &[Table],
    from: &Client,
    to: &Client,
) -> Result<Position, Error> {
    let doing = "look at both sides at one moment";
    let locker = Client::connect_to(source, database).await?;
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
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
    Err(Error::NoAnswer(format!("{doing}: {database} is written to without a pause")))
}

/// The tenant's tables with their columns, as the source has them. What a column computes when it is read is none.
async fn tables(from: &Client) -> Result<Vec<Table>, Error> {
    let doing = "list the tables";
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname), n.nspname || '.' || c.relname, a.attname FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
         AND NOT a.attisdropped AND a.attgenerated <> 'v' WHERE {} ORDER BY 1, a.attnum",
        published()
    );
    let mut tables: Vec<Table> = Vec::new();
    for row in from.rows(doing, &sql).await? {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let (Some(full), Some(title), column) = (next(), next(), next()) else { continue };
        let column = column.map(|column| name(&column));
        match tables.last_mut() {
            Some(last) if last.name == full => last.columns.extend(column),
            _ => tables.push(Table { name: full, title, columns: column.into_iter().collect() }),
        }
    }
    Ok(tables)
}

/// The statement that sums up a table. A row's own type may have casts of the tenant's: `ROW` has none.
fn sum(table: &Table) -> String {
    format!(
        "SELECT count(*), sum(('x' || left(md5(textin(record_out(ROW({})))), 12))::bit(48)::bigint) FROM ONLY {}",
        table.columns.join(", "),
        table.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_summed_up_by_all_its_columns() {
        let table = Table {
            name: "s.\"T\"".to_owned(),
            title: "s.T".to_owned(),
            columns: vec!["\"id\"".to_owned(), "\"x\"".to_owned()],
        };
        assert_eq!(
            sum(&table),
            "SELECT count(*), sum(('x' || left(md5(textin(record_out(ROW(\"id\", \"x\")))), 12))::bit(48)::bigint) \
             FROM ONLY s.\"T\""
        );
    }
}
