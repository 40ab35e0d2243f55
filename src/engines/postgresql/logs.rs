//! The log of statements that a customer may turn on: what the server says of the sessions of its tenants. It stands in the
//! server's one log, beside what the server says of itself, and every line names its session's account and database there.

use crate::engines::logs::MOST_PUBLISHED;
use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::runtime;
use crate::engines::{Error, Server};

/// What each line begins with: when, which process, and for a session whose it is.
pub const PREFIX: &str = "%m [%p] %q%u@%d ";

/// The accounts of the service have names that begin so; a customer's cannot.
const OURS: &str = "coffer";

/// What a server says first where it is no session that speaks.
const LEVELS: [&str; 11] = [
    "LOG:",
    "ERROR:",
    "FATAL:",
    "PANIC:",
    "WARNING:",
    "NOTICE:",
    "INFO:",
    "DETAIL:",
    "HINT:",
    "CONTEXT:",
    "STATEMENT:",
];

/// Has sessions that begin from now on write what they do into the log, or nothing but what ends them, in few words. An
/// upgrade in place leaves out what holds for all roles (`pg_upgrade` does not carry it), so that it is made sure of as
/// one whenever a server is prepared.
pub async fn apply(client: &Client, server: &Server) -> Result<(), Error> {
    let doing = "say what sessions write into the log";
    let level = if is_on(server) { "error" } else { "fatal" };
    let so = format!(
        "SELECT 1 FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole = 0 \
         AND setconfig @> ARRAY['log_min_messages={level}', 'log_error_verbosity=terse']"
    );
    if client.is_there(doing, &so).await? {
        return Ok(());
    }
    // One transaction.
    let sql = format!(
        "ALTER ROLE ALL SET log_min_messages = '{level}'; ALTER ROLE ALL SET log_error_verbosity = 'terse'"
    );
    client.run(doing, &sql).await
}

/// Whether the server's customer has turned it on.
pub fn is_on(server: &Server) -> bool {
    server.settings.logs.iter().any(|log| log == "general")
}

/// What the configuration says of it.
pub const fn statements(is_on: bool) -> &'static str {
    if is_on { "all" } else { "none" }
}

/// The end of what the server said of its tenants' sessions.
pub async fn end(server: &Server) -> Result<Vec<u8>, Error> {
    let log = server.runtime.log_end(server.generation, 4 * MOST_PUBLISHED as u64).await;
    Ok(of_tenants(&log.map_err(runtime("read the server's log"))?).into_bytes())
}

/// `2026-12-01 03:54:35.123 UTC [123] rest` gives the rest.
fn said(line: &str) -> Option<&str> {
    let is_begun = line.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let (time, rest) = line.split_once(" [")?;
    let is_time = time.len() >= 19 && time.as_bytes().get(4) == Some(&b'-');
    let (process, rest) = rest.split_once("] ")?;
    (is_begun && is_time && process.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
}

fn of_tenants(log: &str) -> String {
    let mut kept = String::new();
    let mut is_kept = false;
    for line in log.split_inclusive('\n') {
        if let Some(rest) = said(line) {
            let is_session = rest.contains('@') && !LEVELS.iter().any(|level| rest.starts_with(level));
            is_kept = is_session && !rest.starts_with(OURS) && !rest.starts_with("[unknown]");
        }
        if is_kept {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tenants_did_is_told() {
        let log = "2026-12-01 03:54:35.123 UTC [7] LOG:  checkpoint by root@host\n\
                   2026-12-01 03:54:35.124 UTC [8] coffer@coffer LOG:  statement: SELECT 1\n\
                   \tFROM ours\n\
                   2026-12-01 03:54:35.125 UTC [9] app@shop LOG:  statement: select 1\n\
                   \tfrom theirs\n\
                   2026-12-01 03:54:35.126 UTC [10] the app@shop ERROR:  division by zero\n\
                   2026-12-01 03:54:35.127 UTC [7] LOG:  checkpoint complete\n\
                   coffer: 12 bytes of this log were left out\n";
        assert_eq!(
            of_tenants(log),
            "2026-12-01 03:54:35.125 UTC [9] app@shop LOG:  statement: select 1\n\
             \tfrom theirs\n\
             2026-12-01 03:54:35.126 UTC [10] the app@shop ERROR:  division by zero\n"
        );
    }
}
