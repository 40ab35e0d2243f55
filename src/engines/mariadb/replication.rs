//! How a candidate follows its source, and how it stops.
//!
//! The source is reached by a relay at its own address, since replication knows no Unix socket. The relay presents
//! that address, to which the replication account is bound; the candidate holds the source's certificate, which names
//! it, against our authority. The account gets a new random password each time, which is in the candidate's own files
//! and nowhere else, and is let in over TLS only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::domain::tenant::Verifier;
use crate::engines::mariadb::connection::{Client, name, quoted, scrub};
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::{LOOK_EVERY, REPLICATION_ACCOUNT, blockers, config, helpers, layout, routines};
use crate::engines::{Behind, Error, Following, Position, RelayAddress, Server};

/// How long one wait for a position takes before we look whether the candidate still follows.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long stopping replication may take: a big transaction is rolled back first.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// Makes the replication account and has the candidate follow.
pub async fn follow(source: &Server, candidate: &Server, relay: &RelayAddress) -> Result<(), Error> {
    let Some(tls) = &source.tls else {
        let answer = "it has no certificate".to_owned();
        return Err(Error::Unexpected { doing: "look how the source can be followed", answer });
    };
    let mut to = Client::connect(candidate).await?.patient(STOP_PATIENCE);
    to.run("stop replication", "STOP SLAVE").await?;

    let password = format!("{:032x}", rand::random::<u128>());
    let mut from = Client::connect(source).await?;
    from.without_binlog().await?;
    let account = account(&tls.address);
    let create = format!(
        "CREATE OR REPLACE USER {account} IDENTIFIED BY PASSWORD {} REQUIRE SSL",
        quoted(Verifier::native(&password).expose())
    );
    from.run("make the replication account", &create).await?;
    let grant = format!("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {account}");
    from.run("grant replication", &grant).await?;
    let mode = match blockers::one_after_the_other(source, &mut from).await? {
        Some(_) => config::ONE_BY_ONE,
        None => "optimistic",
    };
    from.close().await;

    let authority = layout(candidate)?.config.join(config::AUTHORITY);
    let change = format!(
        "CHANGE MASTER TO MASTER_HOST={}, MASTER_PORT={}, MASTER_USER={}, MASTER_PASSWORD={}, \
         MASTER_USE_GTID=slave_pos, MASTER_SSL=1, MASTER_SSL_CA={}, MASTER_SSL_VERIFY_SERVER_CERT=1, \
         MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=2",
        quoted(&relay.host),
        relay.port,
        quoted(REPLICATION_ACCOUNT),
        quoted(&password),
        quoted(&authority.to_string_lossy()),
    );
    let changed = to.run("point the candidate at its source", &change).await;
    changed.map_err(|error| without(error, &SecretString::from(password)))?;
    let mode = format!("SET GLOBAL slave_parallel_mode={mode}");
    to.run("choose how the candidate applies", &mode).await?;
    to.without_binlog().await?;
    routines::hide(&mut to).await?;
    to.run("start replication", "START SLAVE").await?;
    to.close().await;
    Ok(())
}

/// The table of the source's because of which a candidate that applies side by side must not do so.
pub async fn outgrown(source: &Server, candidate: &Server) -> Result<Option<String>, Error> {
    let mut to = Client::connect(candidate).await?;
    let mode = to.value("ask how the candidate applies", "SELECT @@GLOBAL.slave_parallel_mode").await?;
    to.close().await;
    if mode == config::ONE_BY_ONE {
        return Ok(None);
    }
    let mut from = Client::connect(source).await?;
    let found = blockers::one_after_the_other(source, &mut from).await;
    from.close().await;
    found
}

/// Has the candidate apply one change after the other from now on, where its source has such a table, which is named.
///
/// # If we die here
/// The candidate stands still until it is resumed, which whoever looks at it next does; how it applies is asked for again.
pub async fn adapt(source: &Server, candidate: &Server) -> Result<Option<String>, Error> {
    let Some(table) = outgrown(source, candidate).await? else { return Ok(None) };
    let mut to = Client::connect(candidate).await?.patient(STOP_PATIENCE);
    let mut beside = Client::connect(candidate).await?;
    {
        let stopping = to.run("stop replication", "STOP SLAVE");
        let mut stopping = std::pin::pin!(stopping);
        // Two appliers may wait for each other already, and would do so for good: what they began is undone, and applied
        // again.
        loop {
            match tokio::time::timeout(STUCK, &mut stopping).await {
                Ok(stopped) => break stopped?,
                Err(_) => end_appliers(&mut beside).await?,
            }
        }
    }
    beside.close().await;
    let mode = format!("SET GLOBAL slave_parallel_mode={}", config::ONE_BY_ONE);
    to.run("choose how the candidate applies", &mode).await?;
    to.run("start replication", "START SLAVE").await?;
    to.close().await;
    Ok(Some(table))
}

/// How long appliers get to end what they have begun.
const STUCK: Duration = Duration::from_secs(5);

/// Ends what the appliers are about.
async fn end_appliers(client: &mut Client) -> Result<(), Error> {
    let doing = "end what an applier is about";
    let busy = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND='Slave_worker' \
                AND IFNULL(STATE, '') NOT LIKE 'Waiting for work%'";
    for id in client.rows(doing, busy).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
        match client.run(doing, &format!("KILL QUERY {id}")).await {
            // It has ended by itself.
            Ok(()) | Err(Error::Refused { code: 1094, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn account(host: &str) -> String {
    format!("{}@{}", quoted(REPLICATION_ACCOUNT), quoted(host))
}

fn without(error: Error, password: &SecretString) -> Error {
    match error {
        Error::Refused { doing, code, message } => {
            Error::Refused { doing, code, message: scrub(&message, password) }
        }
        other => other,
    }
}

/// How the candidate's replication is.
pub async fn following(client: &mut Client) -> Result<Following, Error> {
    let status = client.record("ask for the state of replication", "SHOW SLAVE STATUS").await?;
    Ok(status.map_or(Following::Nobody, |status| read(&status)))
}

fn read(status: &BTreeMap<String, String>) -> Following {
    let get = |name: &str| status.get(name).map_or("", String::as_str);
    let hidden = |text: &str| scrub(text, &SecretString::from(""));
    let told = |kind: &str| {
        let (code, text) = (get(&format!("Last_{kind}_Errno")), get(&format!("Last_{kind}_Error")));
        (code != "0" && !code.is_empty()).then(|| routines::explained(&format!("{code}: {}", hidden(text))))
    };
    let (reader, applier) = (get("Slave_IO_Running"), get("Slave_SQL_Running"));
    match (reader, applier) {
        ("Yes", "Yes") => Following::Running,
        // A thread that has stopped for good says why; one that was told to stop does not.
        (_, "No") => told("SQL").or_else(|| told("IO")).map_or(Following::Nobody, Following::Broken),
        ("No", _) => told("IO").map_or(Following::Nobody, Following::Broken),
        _ => Following::Connecting(told("IO").unwrap_or_else(|| hidden(get("Slave_IO_State")))),
    }
}

/// The newest position in the source's binary log.
pub async fn position(client: &mut Client) -> Result<Position, Error> {
    Ok(Position(client.value("ask for the position", "SELECT @@GLOBAL.gtid_binlog_pos").await?))
}

/// The transactions that one list of GTIDs has and another has not.
pub fn behind(theirs: &str, ours: &str) -> Behind {
    let read = |text: &str| -> BTreeMap<u64, u64> {
        let one = |gtid: &str| {
            let mut parts = gtid.trim().split('-').map(|part| part.parse::<u64>().ok());
            let (domain, _server, number) = (parts.next()??, parts.next()??, parts.next()??);
            Some((domain, number))
        };
        text.split(',').filter_map(one).collect()
    };
    let ours = read(ours);
    let missing = read(theirs)
        .into_iter()
        .map(|(domain, number)| number.saturating_sub(ours.get(&domain).copied().unwrap_or(0)));
    Behind { amount: missing.sum(), unit: "transactions" }
}

/// Waits until the candidate has reached `position`.
pub async fn reached(candidate: &Server, position: &Position, within: Duration) -> Result<bool, Error> {
    if position.0.is_empty() {
        return Ok(true);
    }
    let deadline = Instant::now() + within;
    let mut client = Client::connect(candidate).await?;
    let mut wait = Duration::ZERO;
    loop {
        let ask = format!("SELECT MASTER_GTID_WAIT({}, {:.3})", quoted(&position.0), wait.as_secs_f64());
        let answer = client.value("wait for the position", &ask).await?;
        match answer.as_str() {
            "0" => {
                client.close().await;
                return Ok(true);
            }
            "-1" => {}
            _ => return Err(Error::Unexpected { doing: "wait for the position", answer }),
        }
        match following(&mut client).await? {
            Following::Running | Following::Connecting(_) => {}
            Following::Broken(answer) => {
                return Err(Error::Unexpected { doing: "wait for the position", answer });
            }
            Following::Nobody => {
                let answer = "the candidate follows nobody".to_owned();
                return Err(Error::Unexpected { doing: "wait for the position", answer });
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            client.close().await;
            return Ok(false);
        }
        wait = left.min(LOOK_AGAIN);
    }
}

/// Ends replication for good and gives the events their states. The configuration is written already; writes are
/// let in afterwards.
pub async fn cut(client: &mut Client, source: Option<&Server>) -> Result<(), Error> {
    // Asked first: nothing is touched when the source does not answer.
    let wanted = match source {
        Some(source) => {
            let mut from = Client::connect(source).await?;
            let events = events(&mut from).await?;
            from.close().await;
            Some(events)
        }
        None => None,
    };
    client.run("stop replication", "STOP SLAVE").await?;
    client.run("forget replication", "RESET SLAVE ALL").await?;
    client.without_binlog().await?;
    routines::reveal(client).await?;
    drop_helpers(client).await?;
    for (event, state) in events(client).await? {
        let want = match &wanted {
            Some(wanted) => wanted.get(&event).copied(),
            // Disabled because it was replicated: the source would run it.
            None => (state == State::DisabledOnSlave).then_some(State::Enabled),
        };
        let Some(want) = want.filter(|want| *want != state) else { continue };
        // Without its definer, it would become ours.
        let alter = format!(
            "ALTER DEFINER={} EVENT {}.{} {}",
            definer(&event.definer),
            name(&event.schema),
            name(&event.name),
            want.word()
        );
        match client.run("give an event its state", &alter).await {
            Ok(()) => {}
            // It would never run again: its time has passed.
            Err(Error::Refused { code: 1544 | 1588 | 1589, .. }) => {
                tracing::warn!(schema = event.schema, event = event.name, "an event's time has passed");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A tenant's event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    schema: String,
    name: String,
    definer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Enabled,
    Disabled,
    DisabledOnSlave,
}

impl State {
    fn read(word: &str) -> Option<Self> {
        match word {
            "ENABLED" => Some(Self::Enabled),
            "DISABLED" => Some(Self::Disabled),
            "SLAVESIDE_DISABLED" => Some(Self::DisabledOnSlave),
            _ => None,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLE",
            Self::Disabled => "DISABLE",
            Self::DisabledOnSlave => "DISABLE ON SLAVE",
        }
    }
}

async fn events(client: &mut Client) -> Result<BTreeMap<Event, State>, Error> {
    let sql = format!(
        "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, STATUS FROM information_schema.EVENTS WHERE {}",
        tenant_schema("EVENT_SCHEMA")
    );
    let mut events = BTreeMap::new();
    for row in client.rows("list the events", &sql).await? {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (Some(schema), Some(name), Some(definer), Some(word)) =
            (values.next(), values.next(), values.next(), values.next())
        else {
            continue;
        };
        let Some(state) = State::read(&word) else {
            return Err(Error::Unexpected { doing: "list the events", answer: word });
        };
        events.insert(Event { schema, name, definer }, state);
    }
    Ok(events)
}

/// A definer as a statement names it: `user@host`, or a role.
fn definer(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((user, host)) if !host.is_empty() => format!("{}@{}", name(user), name(host)),
        Some((role, _)) => name(role),
        None => name(text),
    }
}

/// Drops what helps a candidate and its source; none of it belongs to a server in service.
pub async fn drop_helpers(client: &mut Client) -> Result<(), Error> {
    if let Some(address) = client.address() {
        let drop = format!("DROP USER IF EXISTS {}", account(address));
        client.run("drop the replication account", &drop).await?;
    }
    helpers::sweep(client).await
}

/// Takes the replication account off, with the threads that it has.
pub async fn forget(client: &mut Client) -> Result<(), Error> {
    client.without_binlog().await?;
    drop_helpers(client).await?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let sql = format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE BINARY USER={}",
            quoted(REPLICATION_ACCOUNT)
        );
        let threads = client.rows("look for replication threads", &sql).await?;
        if threads.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer("a replication thread does not end".to_owned()));
        }
        for id in threads.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
            match client.run("end a replication thread", &format!("KILL {id}")).await {
                // It has ended by itself.
                Ok(()) | Err(Error::Refused { code: 1094, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_replication_is_read() {
        let status = |io: &str, sql: &str, io_errno: &str, sql_errno: &str| {
            let pairs = [
                ("Slave_IO_Running", io),
                ("Slave_SQL_Running", sql),
                ("Last_IO_Errno", io_errno),
                ("Last_IO_Error", "io"),
                ("Last_SQL_Errno", sql_errno),
                ("Last_SQL_Error", "sql"),
                ("Slave_IO_State", "Connecting to master"),
            ];
            read(&pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
        };
        let broken = |text: &str| Following::Broken(text.to_owned());
        let connecting = |text: &str| Following::Connecting(text.to_owned());
        for (io, sql, io_errno, sql_errno, following) in [
            ("Yes", "Yes", "0", "0", Following::Running),
            ("Connecting", "Yes", "2003", "0", connecting("2003: io")),
            ("Connecting", "Yes", "0", "0", connecting("Connecting to master")),
            ("Preparing", "Yes", "0", "0", connecting("Connecting to master")),
            ("No", "Yes", "1236", "0", broken("1236: io")),
            ("Yes", "No", "0", "1062", broken("1062: sql")),
            ("No", "No", "0", "0", Following::Nobody),
        ] {
            assert_eq!(status(io, sql, io_errno, sql_errno), following, "{io} {sql}");
        }
    }

    #[test]
    fn what_is_missing_is_counted_in_each_domain() {
        for (theirs, ours, amount) in
            [("", "", 0), ("0-1-100", "", 100), ("0-1-100,1-2-7", "0-5-90", 17), ("0-1-100", "0-1-101", 0)]
        {
            assert_eq!(behind(theirs, ours).amount, amount, "{theirs} {ours}");
        }
    }

    #[test]
    fn a_definer_is_a_user_or_a_role() {
        assert_eq!(definer("a@b@%"), "`a@b`@`%`");
        assert_eq!(definer("r1@"), "`r1`");
        assert_eq!(definer("r1"), "`r1`");
    }
}
