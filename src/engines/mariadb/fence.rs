//! Keeping tenants out of a server that is being left: seen, fenced, ended, and stopped with proof.
//!
//! The fence is `read_only`, in the configuration first and then at run time, so that a server that dies and is started
//! again by whoever comes first comes up fenced. Tenants' accounts have no right that passes it. A transaction that is
//! open when it is set could not commit any more: so it is given a moment before. To be set it waits for transactions
//! that are open: so sessions are told to end before it, once, and after it until none is seen; one that was just
//! logging in is found by the next look, and could not write any more.
//!
//! # If we die here
//! Every part may be done again. What is fenced stays so until the task's recorded decision takes it off.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::engines::mariadb::connection::{Client, quoted};
use crate::engines::mariadb::{
    ACCOUNT, LOOK_EVERY, MariaDb, REPLICATION_ACCOUNT, apply, helpers, layout, runtime, write_config,
};
use crate::engines::{Engine as _, Error, Server};
use crate::runtimes::Exit;

/// How long sessions that are ended may take to go: what they had begun is rolled back first.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(20);

/// How often transactions that have written are looked at while they have their moment.
const GRACE_LOOK: Duration = Duration::from_millis(5);

/// How long the server's list of transactions tells the same again to whoever asks, and a little more.
const LIST_RENEWED: Duration = Duration::from_millis(105);

/// How much of the log is read for the proof of a clean stop.
const LOG_BYTES: u64 = 64 * 1024;

/// The condition that holds for a tenant's session, of the columns of the process list. What is not logged in yet is
/// a tenant's.
pub fn of_a_tenant(list: &str) -> String {
    let ours: Vec<String> = [ACCOUNT, REPLICATION_ACCOUNT].iter().map(|user| quoted(user)).collect();
    format!(
        "{list}.ID <> CONNECTION_ID() AND BINARY {list}.USER NOT IN ({}) AND NOT ({list}.HOST = 'localhost' AND {}) \
         AND NOT (BINARY {list}.USER = 'system user' AND {list}.HOST = '') \
         AND NOT (BINARY {list}.USER = 'event_scheduler' AND {list}.COMMAND = 'Daemon')",
        ours.join(", "),
        helpers::named(&format!("{list}.USER"))
    )
}

/// The oldest transaction of a tenant's that is older than `longer_than`.
pub async fn oldest_transaction(client: &mut Client, longer_than: Duration) -> Result<Option<String>, Error> {
    let doing = "look for open transactions";
    // The list tells times of the system's zone.
    client.run(doing, "SET SESSION time_zone='SYSTEM'").await?;
    let sql = format!(
        "SELECT p.ID, p.USER, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) FROM information_schema.INNODB_TRX t \
         JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id \
         WHERE t.trx_started <= NOW() - INTERVAL {} MICROSECOND AND {} ORDER BY t.trx_started LIMIT 1",
        longer_than.as_micros(),
        of_a_tenant("p")
    );
    let mut row = client.row(doing, &sql).await?;
    // Whoever asks more often than the list is renewed would see what has ended for as long as they ask.
    if row.is_some() {
        tokio::time::sleep(LIST_RENEWED).await;
        row = client.row(doing, &sql).await?;
    }
    Ok(row.map(|row| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (id, user, seconds) = (values.next(), values.next(), values.next());
        format!(
            "session {} of '{}' has had a transaction open for {} s",
            id.unwrap_or_default(),
            user.unwrap_or_default(),
            seconds.unwrap_or_default()
        )
    }))
}

/// The transactions that have written and are open now, each with the number of its session. The server's status tells
/// them at once, where its list of transactions is renewed every 100 ms.
///
/// The status holds the statements of sessions, too, so a tenant can make it tell of more transactions than there are, and
/// has itself given a moment for nothing; what the server tells of others it cannot take away.
async fn writing(client: &mut Client) -> Result<HashSet<(u64, u64)>, Error> {
    let row = client.row("look for open transactions", "SHOW ENGINE INNODB STATUS").await?;
    let status = row.and_then(|row| row.into_iter().nth(2).flatten()).unwrap_or_default();
    Ok(writing_in(&status))
}

/// What a status tells: a transaction that has written has a number, and stands with its session's in the lines below.
fn writing_in(status: &str) -> HashSet<(u64, u64)> {
    let number =
        |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().ok();
    let (mut found, mut open) = (HashSet::new(), None);
    for line in status.lines() {
        if let Some(rest) = line.strip_prefix("---TRANSACTION ") {
            open = number(rest).filter(|_| rest.contains(", ACTIVE"));
        } else if let (Some(id), Some(rest)) = (open, line.strip_prefix("MariaDB thread id ")) {
            found.extend(number(rest).map(|session| (id, session)));
            open = None;
        }
    }
    found
}

async fn sessions(client: &mut Client) -> Result<Vec<String>, Error> {
    let sql = format!("SELECT p.ID FROM information_schema.PROCESSLIST p WHERE {}", of_a_tenant("p"));
    let rows = client.rows("look for tenants' sessions", &sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

async fn end(client: &mut Client, id: String, ended: &mut HashSet<String>) -> Result<(), Error> {
    match client.run("end a session", &format!("KILL CONNECTION {id}")).await {
        // Gone by itself.
        Ok(()) | Err(Error::Refused { code: 1094, .. }) => {}
        Err(error) => return Err(error),
    }
    ended.insert(id);
    Ok(())
}

/// Ends every session of a tenant's, and waits until none is seen.
async fn end_sessions(client: &mut Client, ended: &mut HashSet<String>) -> Result<(), Error> {
    let deadline = Instant::now() + ROLLBACK_PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        let left = sessions(client).await?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{} sessions do not end", left.len())));
        }
        for id in left {
            end(client, id, ended).await?;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_EVERY);
    }
}

/// Fences the server as its settings say.
pub async fn fence(server: &Server, grace: Duration) -> Result<u64, Error> {
    let mut client = Client::connect(server).await?;
    let until = Instant::now() + grace;
    // Those that were open when it began: a busy session has the next one open as soon as one ends. What has written
    // nothing loses nothing.
    let mut open = writing(&mut client).await?;
    let tenants: HashSet<u64> =
        sessions(&mut client).await?.iter().filter_map(|id| id.parse().ok()).collect();
    open.retain(|(_, session)| tenants.contains(session));
    while !open.is_empty() && Instant::now() < until {
        tokio::time::sleep(GRACE_LOOK).await;
        let still = writing(&mut client).await?;
        open.retain(|it| still.contains(it));
    }
    write_config(server, &layout(server)?).await?;
    let mut ended = HashSet::new();
    for id in sessions(&mut client).await? {
        end(&mut client, id, &mut ended).await?;
    }
    client.run("limit a wait", "SET SESSION lock_wait_timeout=5").await?;
    apply(&mut client, &server.settings).await?;
    end_sessions(&mut client, &mut ended).await?;
    let ended = u64::try_from(ended.len()).unwrap_or(u64::MAX);
    client.close().await;
    Ok(ended)
}

/// Ends what sessions came through after all; gives how many.
pub async fn end_late(server: &Server) -> Result<u64, Error> {
    let mut client = Client::connect(server).await?;
    let mut ended = HashSet::new();
    end_sessions(&mut client, &mut ended).await?;
    client.close().await;
    Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
}

/// Stops the server and proves that it ended as it should.
pub async fn stop_clean(server: &Server) -> Result<String, Error> {
    MariaDb.stop(server).await?;
    if let Some(proof) = proof(server).await? {
        return Ok(proof);
    }
    // Its end was not clean, or was seen by nobody: the same version mends its files, and is stopped properly.
    tracing::info!(generation.id = %server.generation, "no clean end is known, starting the server once more");
    MariaDb.start(server).await?;
    MariaDb.stop(server).await?;
    proof(server).await?.ok_or_else(|| Error::Unexpected {
        doing: "look whether the server stopped cleanly",
        answer: "its log does not say so".to_owned(),
    })
}

/// What its parent saw of its end, where that saw it; else the server's own log.
async fn proof(server: &Server) -> Result<Option<String>, Error> {
    let seen =
        server.runtime.last_exit(server.generation).await.map_err(runtime("ask how the server ended"))?;
    match seen {
        Some(Exit { status: Some(0), .. }) => return Ok(Some("it ended with status 0".to_owned())),
        Some(Exit { .. }) => return Ok(None),
        None => {}
    }
    let log = server
        .runtime
        .log_end(server.generation, LOG_BYTES)
        .await
        .map_err(runtime("read the server's log"))?;
    Ok(clean_end(&log).map(str::to_owned))
}

/// The line that tells of a clean end, if the last start of the server in the log ended so.
fn clean_end(log: &str) -> Option<&str> {
    let from = log.rfind("Starting MariaDB ").or_else(|| log.rfind("starting as process"))?;
    let last = log.get(from..)?;
    // Of the storage engine, with its name before it or without; then of the server.
    let (storage, rest) = last.split_once("Shutdown completed; log sequence number")?;
    if storage.contains("InnoDB: Assertion failure") {
        return None;
    }
    rest.lines().rev().find(|line| line.contains("Shutdown complete"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_start_counts() {
        let begin =
            "2026-11-25  1:00:00 0 [Note] Starting MariaDB 10.11.19-MariaDB source revision x as process 7\n";
        let ready = "2026-11-25  1:00:01 0 [Note] mariadbd: ready for connections.\n";
        let end = "2026-11-25  1:00:02 0 [Note] InnoDB: Shutdown completed; log sequence number 7; transaction id 9\n\
                   2026-11-25  1:00:02 0 [Note] /e/bin/mariadbd: Shutdown complete\n";
        for (log, clean) in [
            (format!("{begin}{ready}{end}"), true),
            (format!("{begin}{ready}{end}{begin}{ready}"), false),
            (format!("{begin}{ready}{}", end.replace("InnoDB: Shutdown", "Shutdown")), true),
            (format!("{begin}{ready}"), false),
            (format!("{begin}{ready}{end}{begin}{ready}{end}"), true),
            (end.to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(clean_end(&log).is_some(), clean, "{log}");
        }
    }

    #[test]
    fn what_has_written_is_told_with_its_session() {
        let status = "LIST OF TRANSACTIONS FOR EACH SESSION:\n\
            ---TRANSACTION (0x7f01), not started\n\
            0 lock struct(s), heap size 1128, 0 row lock(s)\n\
            ---TRANSACTION 4711, ACTIVE 0 sec\n\
            2 lock struct(s), heap size 1128, 1 row lock(s), undo log entries 1\n\
            MariaDB thread id 33, OS thread handle 140, query id 559 127.0.0.1 app Update\n\
            INSERT INTO t VALUES ('\n---TRANSACTION 1, ACTIVE\nMariaDB thread id 9, x')\n\
            ---TRANSACTION 4712, ACTIVE (PREPARED) 1 sec\n\
            MariaDB thread id 34, OS thread handle 141, query id 560 localhost coffer\n\
            ---TRANSACTION (0x7f02), ACTIVE 2 sec\n\
            MariaDB thread id 35, OS thread handle 142, query id 561 127.0.0.1 app\n\
            ---TRANSACTION 4713, not started\n\
            MariaDB thread id 36, OS thread handle 143, query id 562 127.0.0.1 app\n";
        // A made-up one, too, of its own session at most: that is not the tenant's to know.
        assert_eq!(writing_in(status), HashSet::from([(4_711, 33), (4_712, 34), (1, 9)]));
        assert!(writing_in("").is_empty());
    }

    #[test]
    fn ours_are_not_a_tenants() {
        let condition = of_a_tenant("p");
        for user in ["'coffer'", "'coffer_repl'", "|look|"] {
            assert!(condition.contains(user), "{condition}");
        }
    }
}
