//! How a candidate follows its source: a publication of every table of the tenant's in each database, and a subscription
//! to it. Tables are listed one by one: a publication of all would have the source refuse changes to what the tenant
//! makes later without a key.
//!
//! A position is a marker: a row of our own in each database, published with the rest. The candidate has what the source
//! had when the marker was moved once it has the marker, and each table's first copy is done. The marker keeps the
//! number of the transaction that moved it: as long as no later one has begun it need not be moved again, so that two
//! looks at a server that nobody writes to give the same position.
//!
//! # If we die here
//! What is there is met: a subscription is made where there is none, in one statement; a slot that was made for one which
//! did not come to be is dropped first. A candidate that was cut follows nobody and has no marker. While tables are copied
//! for the first time, each commit is on disk before it counts: a candidate that is killed would else forget that a copy
//! was done whose slot is gone. Afterwards it need not be ([`hurry`]): what is lost is sent again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::content::{in_each, open_databases};
use crate::engines::postgresql::follower::{self, PUBLICATION, SLOT};
use crate::engines::postgresql::{ACCOUNT, LOOK_EVERY, REPLICATION_ACCOUNT, seed, write_config};
use crate::engines::postgresql::{door, late, layout, major, rights};
use crate::engines::{Error, Following, Position, Server};

/// How long one statement may take that talks to the other side.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a change may fail to be taken before it is not tried any more: an end of the source counts as one.
const FAILURES: u64 = 6;

/// How often the marker is looked for at first.
const MARKER_LOOK: Duration = Duration::from_millis(2);

/// How many sequences are asked for in one statement.
const AT_ONCE: usize = 500;

/// The condition that holds for the tables that are published, of `pg_class c` and its schema `n`.
pub fn published() -> String {
    format!(
        "c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', \
         '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT 1 FROM pg_depend e \
         WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"
    )
}

/// Publishes on the source and has the candidate follow.
pub async fn follow(source: &Server, candidate: &Server) -> Result<(), Error> {
    let doing = "follow the source";
    follower::admit(source, candidate).await?;
    let from = Client::connect(source).await?;
    let to = Client::connect(candidate).await?;
    // The workers are ours, and say in the log what they cannot take.
    to.run(doing, &format!("ALTER ROLE {ACCOUNT} SET log_min_messages = 'error'")).await?;
    for database in open_databases(&to).await? {
        let here = Client::connect_to(candidate, &database).await?.patient(PATIENCE);
        if here.is_there(doing, &subscription("true")).await? {
            continue;
        }
        let there = Client::connect_to(source, &database).await?;
        publish(&there).await?;
        here.run(doing, &marker()).await?;
        let slot = format!("{SLOT}{}", seed::keeper(&database).rsplit('_').next().unwrap_or_default());
        let left = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
            quoted(&slot)
        );
        from.rows(doing, &left).await?;
        late::put_aside(&here).await?;
        let create = format!(
            "CREATE SUBSCRIPTION {PUBLICATION} CONNECTION {} PUBLICATION {PUBLICATION} WITH (slot_name = {}, \
             copy_data = true, streaming = on, synchronous_commit = 'on')",
            quoted(&follower::address(source, candidate, &database)?),
            quoted(&slot)
        );
        here.run(doing, &create).await?;
    }
    Ok(())
}

fn subscription(more: &str) -> String {
    format!(
        "SELECT 1 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() \
         AND s.subname = '{PUBLICATION}' AND {more}"
    )
}

/// The marker's table, empty on the candidate: its row comes with the first copy.
fn marker() -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}; REVOKE ALL ON SCHEMA {OWN_SCHEMA} FROM PUBLIC; \
         CREATE TABLE IF NOT EXISTS {OWN_SCHEMA}.marker (id integer PRIMARY KEY, moved bigint NOT NULL)"
    )
}

/// Publishes every table that the database has now.
async fn publish(there: &Client) -> Result<(), Error> {
    let doing = "publish the tables";
    let sql = format!(
        "{}; INSERT INTO {OWN_SCHEMA}.marker VALUES (1, 0) ON CONFLICT DO NOTHING; \
         GRANT USAGE ON SCHEMA {OWN_SCHEMA} TO {account}; GRANT SELECT ON {OWN_SCHEMA}.marker TO {account}",
        marker(),
        account = name(REPLICATION_ACCOUNT),
    );
    there.run(doing, &sql).await?;
    let sql = format!(
        "SELECT format('ONLY %I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {} ORDER BY 1",
        published()
    );
    let mut tables = there.column(doing, &sql).await?;
    tables.push(format!("ONLY {OWN_SCHEMA}.marker"));
    let sql = format!(
        "DROP PUBLICATION IF EXISTS {PUBLICATION}; CREATE PUBLICATION {PUBLICATION} FOR TABLE {}",
        tables.join(", ")
    );
    there.run(doing, &sql).await
}

/// How the candidate's replication is.
pub async fn following(candidate: &Server) -> Result<Following, Error> {
    let doing = "ask for the state of replication";
    let client = Client::connect(candidate).await?;
    let databases = open_databases(&client).await?;
    let sql = format!(
        "SELECT d.datname, (SELECT count(*) FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL), \
         t.apply_error_count, t.sync_error_count FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
         LEFT JOIN pg_stat_subscription_stats t ON t.subid = s.oid WHERE s.subname = '{PUBLICATION}'"
    );
    let mut seen: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for row in client.rows(doing, &sql).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let database = row.next().unwrap_or_default();
        let mut number = || row.next().unwrap_or_default().parse().unwrap_or(0);
        seen.insert(database, [number(), number(), number()]);
    }
    let mut connecting = None;
    for database in databases {
        let Some([workers, changes, copies]) = seen.get(&database).copied() else {
            return Ok(Following::Nobody);
        };
        // A change that cannot be taken ends its worker each time; a copy that cannot be made, another one's.
        let broken = match (workers, copies) {
            (0, _) => changes >= FAILURES || copies >= FAILURES,
            (_, FAILURES..) => {
                let inside = Client::connect_to(candidate, &database).await?;
                inside.is_there(doing, &format!("SELECT 1 WHERE {UNFINISHED}")).await?
            }
            _ => false,
        };
        if broken {
            let log = candidate.runtime.log_end(candidate.generation, 8192).await.unwrap_or_default();
            let why = log.lines().rev().find_map(|line| Some(line.split_once("ERROR:")?.1.trim()));
            let why = why.unwrap_or("a change cannot be taken");
            return Ok(Following::Broken(format!("{database}: {why}")));
        }
        if workers == 0 {
            connecting = Some(format!("{database}: not connected"));
        }
    }
    Ok(connecting.map_or(Following::Running, Following::Connecting))
}

/// The condition that a table's first copy is not done, in the database that it is asked in.
const UNFINISHED: &str = "EXISTS (SELECT 1 FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid \
                          JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() \
                          AND s.subname = 'coffer' AND r.srsubstate <> 'r')";

/// Lets changes be taken without waiting for the disk each time. Every table's first copy is done.
pub async fn hurry(candidate: &Server) -> Result<(), Error> {
    let doing = "let changes be taken faster";
    let client = Client::connect(candidate).await?;
    for database in open_databases(&client).await? {
        let inside = Client::connect_to(candidate, &database).await?;
        if inside.is_there(doing, &subscription("s.subsynccommit <> 'off'")).await? {
            inside
                .run(doing, &format!("ALTER SUBSCRIPTION {PUBLICATION} SET (synchronous_commit = 'off')"))
                .await?;
        }
    }
    Ok(())
}

/// The source's newest position: the marker of each database, moved where anything was written since.
pub async fn position(source: &Server) -> Result<Position, Error> {
    let doing = "take the source's position";
    let client = Client::connect(source).await?;
    let mut inside = Vec::new();
    let mut at: BTreeMap<String, u64> = BTreeMap::new();
    for database in open_databases(&client).await? {
        let connection = Client::connect_to(source, &database).await?;
        let there =
            format!("SELECT 1 FROM pg_tables WHERE schemaname = '{OWN_SCHEMA}' AND tablename = 'marker'");
        if !connection.is_there(doing, &there).await? {
            // Made since: the comparison of both sides names it.
            continue;
        }
        at.insert(
            database.clone(),
            number(&connection, &format!("SELECT moved FROM {OWN_SCHEMA}.marker")).await?,
        );
        inside.push((database, connection));
    }
    let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())";
    let begun = "SELECT pg_snapshot_xmin(pg_current_snapshot())";
    let newest = at.values().copied().max().unwrap_or_default();
    if at.is_empty()
        || (number(&client, next).await? == newest + 1 && number(&client, begun).await? == newest + 1)
    {
        return told(&at);
    }
    let update =
        format!("UPDATE {OWN_SCHEMA}.marker SET moved = pg_current_xact_id()::text::bigint RETURNING moved");
    for (database, connection) in &inside {
        at.insert(database.clone(), number(connection, &update).await?);
    }
    told(&at)
}

async fn number(client: &Client, sql: &str) -> Result<u64, Error> {
    let doing = "take the source's position";
    let answer = client.value(doing, sql).await?.unwrap_or_default();
    answer.parse().map_err(|_| Error::Unexpected { doing, answer })
}

fn told(at: &BTreeMap<String, u64>) -> Result<Position, Error> {
    let text = serde_json::to_string(at);
    text.map(Position)
        .map_err(|error| Error::Unexpected { doing: "tell a position", answer: error.to_string() })
}

/// Waits until the candidate has the position, and each table's first copy.
pub async fn reached(candidate: &Server, position: &Position, within: Duration) -> Result<bool, Error> {
    let doing = "wait for the position";
    let deadline = Instant::now() + within;
    let wanted: BTreeMap<String, u64> = serde_json::from_str(&position.0)
        .map_err(|_| Error::Unexpected { doing, answer: position.0.clone() })?;
    for (database, wanted) in wanted {
        let inside = Client::connect_to(candidate, &database).await?;
        let sql = format!("SELECT 1 FROM {OWN_SCHEMA}.marker WHERE moved >= {wanted} AND NOT {UNFINISHED}");
        let mut pause = MARKER_LOOK;
        while !inside.is_there(doing, &sql).await? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            if pause >= LOOK_EVERY {
                match following(candidate).await? {
                    Following::Running | Following::Connecting(_) => {}
                    Following::Broken(answer) => return Err(Error::Unexpected { doing, answer }),
                    Following::Nobody => {
                        let answer = "the candidate follows nobody".to_owned();
                        return Err(Error::Unexpected { doing, answer });
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_EVERY);
        }
        late::put_back(&inside).await?;
    }
    Ok(true)
}

/// Has each sequence of the candidate's stand where the source's stands: that is not replicated.
pub async fn carry_sequences(source: &Server, candidate: &Server) -> Result<(), Error> {
    let databases = open_databases(&Client::connect(candidate).await?).await?;
    let each = async |database| {
        carry_sequences_of(source, &Client::connect_to(candidate, database).await?, database).await
    };
    in_each(&databases, each).await.map(drop)
}

async fn carry_sequences_of(source: &Server, here: &Client, database: &str) -> Result<(), Error> {
    let doing = "carry where the sequences stand";
    let there = Client::connect_to(source, database).await?;
    let list = format!(
        "SELECT format('SELECT %L, last_value, is_called FROM %I.%I', format('%I.%I', n.nspname, c.relname), \
         n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' \
         AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}')"
    );
    let each = there.column(doing, &list).await?;
    for some in each.chunks(AT_ONCE) {
        let mut set = Vec::new();
        for row in there.rows(doing, &some.join(" UNION ALL ")).await? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || row.next().unwrap_or_default();
            let (sequence, last, called) = (next(), next(), next());
            // One that is not there, the comparison of both sides names.
            set.push(format!("setval(to_regclass({}), {last}, {})", quoted(&sequence), called == "t"));
        }
        here.rows(doing, &format!("SELECT {}", set.join(", "))).await?;
    }
    Ok(())
}

/// Ends replication for good, and gives a replica its owners and rights. The settings are as they shall be. Where a
/// database does not follow any more its sequences are left: they may have moved since.
pub async fn cut(candidate: &Server, source: Option<&Server>) -> Result<(), Error> {
    let doing = "end the replication";
    write_config(candidate, &layout(candidate)?).await?;
    let client = Client::connect(candidate).await?;
    client.run(doing, &format!("ALTER ROLE {ACCOUNT} RESET log_min_messages")).await?;
    let databases = open_databases(&client).await?;
    in_each(&databases, |database| cut_one(candidate, source, database)).await?;
    door::settle(candidate, &client, door::wanted(candidate)).await
}

async fn cut_one(candidate: &Server, source: Option<&Server>, database: &str) -> Result<(), Error> {
    let doing = "end the replication";
    let inside = Client::connect_to(candidate, database).await?.patient(PATIENCE);
    if inside.is_there(doing, &subscription("true")).await? {
        // Asked first: nothing is touched when the source does not answer.
        if let Some(source) = source {
            carry_sequences_of(source, &inside, database).await?;
        }
        // Each a statement of its own: they wait for the workers. The slot is the source's matter.
        for sql in [
            format!("ALTER SUBSCRIPTION {PUBLICATION} DISABLE"),
            format!("ALTER SUBSCRIPTION {PUBLICATION} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {PUBLICATION}"),
        ] {
            inside.run(doing, &sql).await?;
        }
    }
    let (keeper, last) = (seed::keeper(database), seed::writers_again());
    rights::hand_over(&inside, major(&candidate.version), &keeper, &last).await?;
    inside.run(doing, &format!("DROP SCHEMA IF EXISTS {OWN_SCHEMA} CASCADE")).await
}
