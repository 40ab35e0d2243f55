//! Whom we wait for: tenants' sessions that hold locks, by name.
//!
//! The server lists the locks of tables' definitions (`metadata_locks`; nothing else of its performance schema is on),
//! each with its session. A session that locked a table for itself (`LOCK TABLES … WRITE`) or changes one keeps a copy of
//! the files from its end, and a comparison from reading; an open transaction keeps a hold from beginning. We wait for
//! them, say so, and never end one for a copy. A server that was started by an earlier service does not list its locks
//! until it is started again: then the wait is bounded all the same, and its end names no session.
//!
//! # If we die here
//! It only reads.

use crate::domain::question::Finding;
use crate::engines::mariadb::connection::Client;
use crate::engines::mariadb::fence::of_a_tenant;
use crate::engines::{Error, Server};

/// The server's numbers for a lock that did not come in time, and for a wait in a circle.
const LOCKED: [u16; 2] = [1205, 1213];

/// How many sessions are named; a tenant who sees ten needs no more.
const NAMED: usize = 10;

/// A tenant's session, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    session: String,
    user: String,
    /// In words: what, and since when.
    holds: String,
    remedy: &'static str,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {} of '{}' {}", self.session, self.user, self.holds)
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
                holder.holds
            ),
            remedy: holder.remedy.to_owned(),
        }
    }
}

/// The sessions that hold a table's definition so that nobody else can read the table, or not change it: the one that
/// has been at it the longest first. What a statement takes and gives back within a second is not among them.
pub async fn lock_holders(client: &mut Client) -> Result<Vec<Holder>, Error> {
    let sql = format!(
        "SELECT p.ID, p.USER, DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL p.TIME SECOND, '%Y-%m-%d %H:%i:%s'), p.COMMAND, \
         MIN(CONCAT(m.OBJECT_SCHEMA, '.', m.OBJECT_NAME)), COUNT(DISTINCT m.OBJECT_SCHEMA, m.OBJECT_NAME) \
         FROM performance_schema.metadata_locks m \
         JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID \
         JOIN information_schema.PROCESSLIST p ON p.ID = t.PROCESSLIST_ID \
         WHERE m.OBJECT_TYPE = 'TABLE' AND m.LOCK_STATUS = 'GRANTED' \
         AND m.LOCK_TYPE IN ('SHARED_NO_READ_WRITE', 'SHARED_NO_WRITE', 'EXCLUSIVE') \
         AND (p.COMMAND = 'Sleep' OR p.TIME >= 1) AND {} \
         GROUP BY p.ID, p.USER, p.TIME, p.COMMAND ORDER BY p.TIME DESC, p.ID LIMIT {NAMED}",
        of_a_tenant("p")
    );
    let rows = client.rows("look who holds locks", &sql).await?;
    Ok(rows.into_iter().filter_map(locks).collect())
}

fn locks(row: Vec<Option<String>>) -> Option<Holder> {
    let mut values = row.into_iter().map(Option::unwrap_or_default);
    let (session, user, since, command) = (values.next()?, values.next()?, values.next()?, values.next()?);
    let (table, count) = (values.next()?, values.next()?.parse::<u64>().unwrap_or(1));
    let more = if count > 1 { format!(" and {} more tables", count - 1) } else { String::new() };
    // A lock that outlives its statement is one of LOCK TABLES.
    let (holds, remedy) = if command == "Sleep" {
        (
            format!("has locked {table}{more} for itself (LOCK TABLES … WRITE) since {since} UTC"),
            "UNLOCK TABLES in that session, or end it",
        )
    } else {
        (format!("has been changing {table}{more} since {since} UTC"), "wait for its end, or end the session")
    };
    Some(Holder { session, user, holds, remedy })
}

/// The sessions with a transaction that has been open for longer than a second, the oldest first.
async fn transactions(client: &mut Client) -> Result<Vec<Holder>, Error> {
    let doing = "look for open transactions";
    // The list tells times of the system's zone.
    client.run(doing, "SET SESSION time_zone='SYSTEM'").await?;
    let sql = format!(
        "SELECT p.ID, p.USER, \
         DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) SECOND, '%Y-%m-%d %H:%i:%s'), \
         t.trx_rows_locked, t.trx_rows_modified FROM information_schema.INNODB_TRX t \
         JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id \
         WHERE t.trx_started <= NOW() - INTERVAL 1 SECOND AND {} ORDER BY t.trx_started LIMIT {NAMED}",
        of_a_tenant("p")
    );
    let rows = client.rows(doing, &sql).await?;
    client.run(doing, "SET SESSION time_zone='+00:00'").await?;
    let open = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (session, user, since) = (values.next()?, values.next()?, values.next()?);
        let (locked, modified) = (values.next()?, values.next()?);
        let rows = match (locked.as_str(), modified.as_str()) {
            ("0", "0") => String::new(),
            (locked, modified) => format!(", with {locked} rows locked and {modified} changed"),
        };
        Some(Holder {
            session,
            user,
            holds: format!("has a transaction open since {since} UTC{rows}"),
            remedy: "COMMIT or ROLLBACK it, or end the session",
        })
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

/// What an upgrade would wait for now.
pub async fn findings(client: &mut Client) -> Result<Vec<Finding>, Error> {
    let mut holders = lock_holders(client).await?;
    for open in transactions(client).await? {
        if !holders.iter().any(|holder| holder.session == open.session) {
            holders.push(open);
        }
    }
    Ok(holders.into_iter().map(Finding::from).collect())
}

/// Who keeps a copy or a comparison waiting now, in words.
pub async fn in_the_way(client: &mut Client) -> Result<Option<String>, Error> {
    Ok(lock_holders(client).await?.first().map(Holder::to_string))
}

/// The same error, or, where a lock did not come, one that names who holds it.
pub async fn named(source: &Server, error: Error) -> Error {
    let Error::Refused { doing, code, message } = &error else { return error };
    if !LOCKED.contains(code) {
        return error;
    }
    let told = match Client::connect(source).await {
        Ok(mut client) => {
            let told = in_the_way(&mut client).await;
            client.close().await;
            told.ok().flatten()
        }
        Err(_) => None,
    };
    Error::HeldUp(told.unwrap_or_else(|| format!("{doing}: a session holds a lock ({code}: {message})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_with_what_it_holds() {
        let row = |command: &str, count: &str| {
            ["17", "app", "2026-11-29 21:40:12", command, "shop.t", count]
                .map(|value| Some(value.to_owned()))
                .to_vec()
        };
        for (command, count, words) in [
            (
                "Sleep",
                "1",
                "session 17 of 'app' has locked shop.t for itself (LOCK TABLES … WRITE) since 2026-11-29 21:40:12 UTC",
            ),
            (
                "Query",
                "3",
                "session 17 of 'app' has been changing shop.t and 2 more tables since 2026-11-29 21:40:12 UTC",
            ),
        ] {
            assert_eq!(locks(row(command, count)).map(|holder| holder.to_string()).as_deref(), Some(words));
        }
    }
}
