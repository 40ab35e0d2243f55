//! Whom we wait for: tenants' sessions that hold locks or have transactions open, by name.
//!
//! Whoever has a table for itself (ACCESS EXCLUSIVE) keeps the definitions from being read and the table from being
//! published; the slot by which changes follow begins once every transaction that has written has ended; a comparison
//! waits for who writes to a table. We wait for them, say so, and never end one for a copy.
//!
//! # If we die here
//! It only reads.

use std::collections::BTreeMap;

use crate::domain::question::Finding;
use crate::engines::postgresql::connection::{Client, quoted};
use crate::engines::postgresql::fence::of_a_tenant;
use crate::engines::{Error, Server};

/// How many sessions are named; a tenant who sees ten needs no more.
const NAMED: usize = 10;

/// The states of a lock that did not come in time, of a statement that took too long, and of a wait in a circle.
const LATE: [&str; 3] = ["55P03", "57014", "40P01"];

/// What a program of the server's says of a lock that did not come: its own limit is one for statements.
const LATE_PROGRAM: &str = "canceling statement due to";

/// A tenant's session, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    session: String,
    user: String,
    /// Its database, since when, and whether it works or waits for its client.
    database: String,
    since: String,
    worker: bool,
    /// The table that it has for itself, and how many more.
    locked: Option<(String, usize)>,
    /// Whether it has written.
    has_written: bool,
}

impl Holder {
    fn holds(&self) -> String {
        let since = &self.since;
        match &self.locked {
            Some((table, more)) => {
                let more = if *more > 0 { format!(" and {more} more tables") } else { String::new() };
                let table = format!("{}: {table}{more}", self.database);
                match self.worker {
                    true => format!("has been changing {table} since {since} UTC"),
                    false => format!("has locked {table} for itself (ACCESS EXCLUSIVE) since {since} UTC"),
                }
            }
            None => {
                let written = if self.has_written { ", which has written" } else { "" };
                format!("has a transaction open since {since} UTC{written}")
            }
        }
    }

    const fn remedy(&self) -> &'static str {
        match self.worker && self.locked.is_some() {
            true => "wait for its end, or end the session",
            false => "COMMIT or ROLLBACK it, or end the session",
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} of '{}' {}", self.session, self.user, self.holds())
    }
}

impl From<Holder> for Finding {
    fn from(holder: Holder) -> Self {
        Self {
            blocks: false,
            object: format!("session {} of '{}'", holder.session, holder.user),
            why: format!(
                "{}; an upgrade waits until that has ended, and is rolled back where it takes too long (10 minutes, \
                 unless the operator says otherwise)",
                holder.holds()
            ),
            remedy: holder.remedy().to_owned(),
        }
    }
}

/// The tenants' transactions that have been open for longer than a second, the oldest first.
async fn holders(source: &Server) -> Result<Vec<Holder>, Error> {
    let doing = "look who holds locks";
    let sql = format!(
        "SELECT a.pid, a.usename, a.datname, to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), \
         a.state = 'active', a.backend_xid IS NOT NULL, (SELECT string_agg(DISTINCT l.relation::text, ',') FROM pg_locks l \
         WHERE l.pid = a.pid AND l.granted AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' \
         AND l.relation >= 16384) FROM pg_stat_activity a \
         WHERE a.xact_start <= clock_timestamp() - interval '1 second' AND {} ORDER BY a.xact_start LIMIT {NAMED}",
        of_a_tenant()
    );
    let client = Client::connect(source).await?;
    let mut found = Vec::new();
    let mut inside: BTreeMap<String, Client> = BTreeMap::new();
    for row in client.rows(doing, &sql).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (session, user, database, since) = (next(), next(), next(), next());
        let (worker, has_written, locked) = (next() == "t", next() == "t", next());
        let locked = match locked.is_empty() || database.is_empty() {
            true => None,
            false => {
                if !inside.contains_key(&database) {
                    inside.insert(database.clone(), Client::connect_to(source, &database).await?);
                }
                match inside.get(&database) {
                    Some(inside) => tables(inside, &locked).await?,
                    None => None,
                }
            }
        };
        found.push(Holder { session, user, database, since, worker, locked, has_written });
    }
    Ok(found)
}

/// The first of those tables that others can see, and how many more there are: what a transaction has made itself, or for
/// its session alone, is in nobody's way.
async fn tables(inside: &Client, numbers: &str) -> Result<Option<(String, usize)>, Error> {
    let sql = format!(
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid IN ({numbers}) AND c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY 1"
    );
    let names = inside.column("name what is locked", &sql).await?;
    let more = names.len().saturating_sub(1);
    Ok(names.into_iter().next().map(|first| (first, more)))
}

/// What an upgrade would wait for now.
///
/// # Errors
/// The server's.
pub async fn findings(source: &Server) -> Result<Vec<Finding>, Error> {
    Ok(holders(source).await?.into_iter().map(Finding::from).collect())
}

/// Who keeps a copy or a comparison waiting now, in words.
///
/// # Errors
/// The server's.
pub async fn in_the_way(source: &Server) -> Result<Option<String>, Error> {
    let holder = holders(source).await?.into_iter().find(|holder| holder.locked.is_some());
    Ok(holder.map(|holder| holder.to_string()))
}

/// The same error, or, where something did not come in time and a session is in the way, one that names it.
pub async fn named(source: &Server, error: Error) -> Error {
    if !is_late(&error) {
        return error;
    }
    let Ok(holders) = holders(source).await else { return error };
    let locks = holders.iter().find(|holder| holder.locked.is_some());
    match locks.or_else(|| holders.iter().find(|holder| holder.has_written)) {
        Some(holder) => Error::HeldUp(holder.to_string()),
        None => error,
    }
}

/// Whether something did not come in time.
pub fn is_late(error: &Error) -> bool {
    match error {
        Error::State { state, .. } => LATE.contains(&state.as_str()),
        Error::Program { message, .. } => message.contains(LATE_PROGRAM),
        Error::NoAnswer(why) => why.ends_with("timed out") || why.ends_with(WITHOUT_A_PAUSE),
        _ => false,
    }
}

/// How the end of a comparison is told for which nobody would rest.
pub const WITHOUT_A_PAUSE: &str = "is written to without a pause";

/// Ends what still makes a slot on the source that nobody waits for any more: it waits for a transaction's end, and would
/// keep its name until then.
///
/// # Errors
/// The server's.
pub async fn end_slot(source: &Client, slot: &str) -> Result<(), Error> {
    let doing = "drop a slot that was left";
    let of = format!("FROM pg_replication_slots WHERE slot_name = {}", quoted(slot));
    source
        .rows(
            doing,
            &format!("SELECT pg_terminate_backend(active_pid, 5000) {of} AND active_pid IS NOT NULL"),
        )
        .await?;
    source.rows(doing, &format!("SELECT pg_drop_replication_slot(slot_name) {of}")).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_with_what_it_holds() {
        let holder = |worker: bool, locked: Option<(&str, usize)>| Holder {
            session: "17".to_owned(),
            user: "app".to_owned(),
            database: "shop".to_owned(),
            since: "2026-11-29 21:40:12".to_owned(),
            worker,
            locked: locked.map(|(table, more)| (table.to_owned(), more)),
            has_written: true,
        };
        for (worker, locked, words) in [
            (
                false,
                Some(("public.t", 0)),
                "has locked shop: public.t for itself (ACCESS EXCLUSIVE) since 2026-11-29 21:40:12 UTC",
            ),
            (
                true,
                Some(("public.t", 2)),
                "has been changing shop: public.t and 2 more tables since 2026-11-29 21:40:12 UTC",
            ),
            (true, None, "has a transaction open since 2026-11-29 21:40:12 UTC, which has written"),
        ] {
            assert_eq!(holder(worker, locked).to_string(), format!("session 17 of 'app' {words}"));
        }
    }
}
