//! Where sequences stand: read from one server, and set on another.
//!
//! A sequence that was called says by its number where it stands. One that was not has its next value in its only row,
//! which servers before 18 give to nobody but by its name; and whose name it is a tenant can change between two statements
//! of ours. So that row is read by an account that can do nothing else ([`inspector`]), which asks the row for the number that
//! we mean. What was read is a number and a truth before it goes anywhere, and is set by number.
//!
//! Making that account is a write, and every write moves the position by which a drain sees whether tenants still write. So the
//! account is made before the hold, and its sessions stay for every retry of the drain. A drain that made the account itself
//! would see the fenced server go on, and would never end.
//!
//! # If we die here
//! Setting is done again. The account goes with the next use, or with the upgrade: who takes the follower off, takes it
//! off, too.

use tokio_postgres::types::ToSql;

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::kept::{self, Use};
use crate::engines::postgresql::connection::{Client, name};
use crate::engines::postgresql::databases::in_each;
use crate::engines::postgresql::{READ_ACCOUNT, inspector, major};
use crate::engines::{Error, Server};

/// How often the name of one sequence is looked up whose name does not stay.
const TRIES: u32 = 40;

/// The version from which on a server gives a sequence's row by its number.
const BY_NUMBER: u32 = 18;

/// Where one sequence stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its last value, or the next one where it has not been called.
    pub last: i64,
    /// Whether it has been called since that was set.
    pub called: bool,
}

/// The condition that holds for a tenant's sequences, of `pg_class c` and its schema `n`.
fn own() -> String {
    format!(
        "c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}')"
    )
}

/// What a row says of a sequence: its number, its names, and where it stands if that is known.
struct Found {
    oid: u32,
    schema: String,
    name: String,
    stands: Option<(i64, bool)>,
}

fn found(doing: &'static str, row: Vec<Option<String>>) -> Result<Found, Error> {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let (oid, schema, name, last, called) = (next(), next(), next(), next(), next());
    let wrong = |what: &Option<String>| Error::Unexpected {
        doing,
        answer: what.clone().unwrap_or_else(|| "nothing".to_owned()),
    };
    let number = oid.as_ref().and_then(|oid| oid.parse().ok()).ok_or_else(|| wrong(&oid))?;
    let stands = match &last {
        Some(text) => Some((text.parse().map_err(|_| wrong(&last))?, called.as_deref() == Some("t"))),
        None => None,
    };
    Ok(Found { oid: number, schema: schema.unwrap_or_default(), name: name.unwrap_or_default(), stands })
}

/// Where each sequence of these databases stands, in their order.
///
/// # Errors
/// [`Error::Unexpected`] naming a sequence whose name does not stay the same.
pub async fn read(server: &Server, databases: &[String]) -> Result<Vec<Vec<Standing>>, Error> {
    let mut all = in_each(databases, async |database| by_number(server, database).await).await?;
    let unknown: Vec<String> = databases
        .iter()
        .zip(&all)
        .filter(|(_, found)| is_unknown(found))
        .map(|(database, _)| database.clone())
        .collect();
    if !unknown.is_empty() {
        let mut found: Vec<&mut Vec<Found>> = all.iter_mut().filter(|found| is_unknown(found)).collect();
        by_readers(server, &unknown, &mut found).await?;
    }
    let told = |Found { schema, name, stands, .. }: Found| {
        let (last, called) = stands?;
        Some(Standing { schema, name, last, called })
    };
    Ok(all.into_iter().map(|found| found.into_iter().filter_map(told).collect()).collect())
}

fn is_unknown(found: &[Found]) -> bool {
    found.iter().any(|one| one.stands.is_none())
}

/// What is known of a database's sequences without their names.
async fn by_number(server: &Server, database: &str) -> Result<Vec<Found>, Error> {
    let doing = "read where the sequences stand";
    let inside = Client::connect_to(server, database).await?;
    let stands = match major(&server.version) {
        BY_NUMBER.. => "d.last_value, d.is_called",
        _ => "pg_sequence_last_value(c.oid), true",
    };
    let by_number = match major(&server.version) {
        BY_NUMBER.. => "CROSS JOIN LATERAL pg_get_sequence_data(c.oid::regclass) d",
        _ => "",
    };
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, {stands} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         {by_number} WHERE {} ORDER BY c.oid",
        own()
    );
    inside.rows(doing, &sql).await?.into_iter().map(|row| found(doing, row)).collect()
}

/// Opens the sessions that [`read`] will need, if it will need some, so that nothing is written for it later.
///
/// # Errors
/// The server's.
pub async fn stand_ready(server: &Server, databases: &[String]) -> Result<(), Error> {
    let all = in_each(databases, async |database| by_number(server, database).await).await?;
    let unknown: Vec<String> = databases
        .iter()
        .zip(all)
        .filter(|(_, found)| is_unknown(found))
        .map(|(database, _)| database.clone())
        .collect();
    if !unknown.is_empty() {
        let readers = readers(server, &unknown).await?;
        give_back(server, &unknown, readers);
    }
    Ok(())
}

/// Replaces the account by a new one, and opens a session of it in each of these databases.
async fn readers(server: &Server, databases: &[String]) -> Result<Vec<Client>, Error> {
    let password = inspector::make_as(server, READ_ACCOUNT, "").await?;
    in_each(databases, async |database| {
        inspector::connect_as(server, READ_ACCOUNT, &password, database).await
    })
    .await
}

fn give_back(server: &Server, databases: &[String], readers: Vec<Client>) {
    kept::put(
        server,
        databases.iter().cloned().zip(readers).map(|(of, client)| (of, Use::Sequences, client)),
    );
}

/// Reads what is not known yet, `found` in the order of `databases`. What is gone meanwhile stays unknown.
async fn by_readers(
    server: &Server,
    databases: &[String],
    found: &mut [&mut Vec<Found>],
) -> Result<(), Error> {
    let stood: Vec<Client> =
        databases.iter().filter_map(|database| kept::take(server, database, Use::Sequences)).collect();
    if stood.len() == databases.len() {
        match by_rows(server, databases, &stood, found).await {
            Ok(()) => {
                give_back(server, databases, stood);
                return Ok(());
            }
            // Whose a sequence is may have changed since they were opened.
            Err(Error::Unexpected { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let made = readers(server, databases).await?;
    by_rows(server, databases, &made, found).await?;
    give_back(server, databases, made);
    Ok(())
}

async fn by_rows(
    server: &Server,
    databases: &[String],
    readers: &[Client],
    found: &mut [&mut Vec<Found>],
) -> Result<(), Error> {
    for ((database, reader), found) in databases.iter().zip(readers).zip(found) {
        let inside = Client::connect_to(server, database).await?;
        for one in found.iter_mut().filter(|one| one.stands.is_none()) {
            one.stands = one_by_its_row(reader, &inside, one).await?;
        }
    }
    Ok(())
}

async fn one_by_its_row(reader: &Client, inside: &Client, one: &Found) -> Result<Option<(i64, bool)>, Error> {
    let doing = "read where a sequence stands";
    let (mut schema, mut sequence) = (one.schema.clone(), one.name.clone());
    for _ in 0..TRIES {
        let sql = format!(
            "SELECT s.last_value, s.is_called FROM ONLY {}.{} s WHERE s.tableoid = {}",
            name(&schema),
            name(&sequence),
            one.oid
        );
        // Whatever has the name now may be no sequence, or may not be the reader's to read.
        match reader.rows(doing, &sql).await {
            Ok(rows) => {
                if let Some(row) = rows.into_iter().next() {
                    let mut row = row.into_iter().map(Option::unwrap_or_default);
                    let (last, called) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
                    let last = last.parse().map_err(|_| Error::Unexpected { doing, answer: last })?;
                    return Ok(Some((last, called == "t")));
                }
            }
            Err(Error::State { .. }) => {}
            Err(error) => return Err(error),
        }
        let again = format!(
            "SELECT n.nspname, c.relname, pg_sequence_last_value(c.oid) FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {} AND c.relkind = 'S'",
            one.oid
        );
        let Some(row) = inside.rows(doing, &again).await?.into_iter().next() else { return Ok(None) };
        let mut row = row.into_iter();
        let (new_schema, new_name, last) = (row.next().flatten(), row.next().flatten(), row.next().flatten());
        // Called meanwhile.
        if let Some(last) = last.and_then(|last| last.parse().ok()) {
            return Ok(Some((last, true)));
        }
        (schema, sequence) = (new_schema.unwrap_or_default(), new_name.unwrap_or_default());
    }
    let answer =
        format!("the sequence {schema}.{sequence} does not keep its name: let it be while it is read");
    Err(Error::Unexpected { doing, answer })
}

/// Has each sequence of a database stand there. One that is not there, the comparison of both sides names.
///
/// # Errors
/// The server's.
pub async fn set(here: &Client, standings: &[Standing]) -> Result<(), Error> {
    let schemas: Vec<&str> = standings.iter().map(|one| one.schema.as_str()).collect();
    let names: Vec<&str> = standings.iter().map(|one| one.name.as_str()).collect();
    let lasts: Vec<i64> = standings.iter().map(|one| one.last).collect();
    let calls: Vec<bool> = standings.iter().map(|one| one.called).collect();
    let parameters: [&(dyn ToSql + Sync); 4] = [&schemas, &names, &lasts, &calls];
    let sql = "SELECT setval(c.oid::regclass, x.last, x.called) FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[]) \
               x(schema, name, last, called) JOIN pg_namespace n ON n.nspname = x.schema \
               JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = x.name AND c.relkind = 'S'";
    here.run_with("have the sequences stand where they stood", sql, &parameters).await
}

/// Has each sequence that was called stand in the server's log where it stands: the log is ahead, by up to 32 numbers, and
/// so is a copy that is fed by it. Nobody draws numbers any more.
///
/// # Errors
/// The server's.
pub async fn settle(inside: &Client) -> Result<(), Error> {
    let sql = "SELECT setval(s.oid::regclass, s.last, true) FROM (SELECT c.oid, pg_sequence_last_value(c.oid) AS last \
               FROM pg_class c WHERE c.relkind = 'S' AND c.relpersistence <> 't') s WHERE s.last IS NOT NULL";
    inside.rows("settle the sequences", sql).await.map(drop)
}
