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
//! What is there is met: a subscription is made where there is none, in one statement, and begins to take changes in
//! another, once it is the account's that has no power; a slot that was made for one which
//! did not come to be is dropped first. A candidate that was cut follows nobody and has no marker. While tables are copied
//! for the first time, each commit is on disk before it counts: a candidate that is killed would else forget that a copy
//! was done whose slot is gone. Afterwards it need not be ([`hurry`]): what is lost is sent again.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, hide_verifiers, kept, name, quoted};
use crate::engines::postgresql::databases::{in_each, open_databases, tenant_role};
use crate::engines::postgresql::follower;
use crate::engines::postgresql::sequences::{self, Standing};
use crate::engines::postgresql::{
    APPLY_ACCOUNT, KEEPER, LOOK_EVERY, MARKER, PUBLICATION, REPLICATION_ACCOUNT, SLOT, seed, write_config,
};
use crate::engines::postgresql::{late, layout, major, own, pg_hba, rights, roles, settings, still, waits};
use crate::engines::{Behind, Error, Following, Position, Server};

/// How long one statement may take that talks to the other side.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a slot may take to begin: it waits for every transaction that has written and is open.
const BEGINNING: Duration = Duration::from_secs(30);

/// How often a change may fail to be taken before it is not tried any more: an end of the source counts as one.
const FAILURES: u64 = 6;

/// How often the marker is looked for at first.
const MARKER_LOOK: Duration = Duration::from_millis(2);

/// How often the tables are listed that are published, while their names change.
const LISTS: u32 = 20;

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
    let databases = open_databases(&to).await?;
    appliers(&to, &databases).await?;
    for database in databases {
        let here = Client::connect_to(candidate, &database).await?.patient(PATIENCE);
        if here.is_there(doing, &subscription("s.subenabled")).await? {
            continue;
        }
        if here.is_there(doing, &subscription("true")).await? {
            begin(&here).await?;
            continue;
        }
        let there = Client::connect_to(source, &database).await?;
        publish(&there).await?;
        receive(&here).await?;
        let slot = format!("{SLOT}{}", seed::keeper(&database).rsplit('_').next().unwrap_or_default());
        waits::end_slot(&from, &slot).await?;
        late::put_aside(&here).await?;
        let create = format!(
            "CREATE SUBSCRIPTION {PUBLICATION} CONNECTION {} PUBLICATION {PUBLICATION} WITH (slot_name = {}, \
             copy_data = true, streaming = on, synchronous_commit = 'on', enabled = false, password_required = false)",
            quoted(&follower::address(source, candidate, &database)?),
            quoted(&slot)
        );
        // Ended by the server itself, too: it would else go on for nobody.
        here.run(doing, &format!("SET statement_timeout = '{} s'", BEGINNING.as_secs())).await?;
        let made = here.run(doing, &create).await;
        here.run(doing, "RESET statement_timeout").await?;
        made?;
        begin(&here).await?;
    }
    Ok(())
}

/// Makes the account as which changes are taken. It has no attribute and never comes in; it is of every role that owns
/// something, as which each change is taken. Whatever of a tenant's is evaluated on the way has no more than that.
async fn appliers(to: &Client, databases: &[String]) -> Result<(), Error> {
    let doing = "make the account that takes changes";
    let account = name(APPLY_ACCOUNT);
    let word = if to.is_there(doing, &applier()).await? { "ALTER" } else { "CREATE" };
    // The workers say in the log what they cannot take.
    let mut sql = format!(
        "{word} ROLE {account} WITH LOGIN INHERIT NOSUPERUSER NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 PASSWORD NULL; \
         ALTER ROLE {account} SET log_min_messages = 'error'"
    );
    let owners = format!(
        "SELECT r.rolname FROM pg_roles r WHERE ({}) OR r.rolname ~ '^{}'",
        tenant_role("r.rolname"),
        KEEPER
    );
    for owner in to.column(doing, &owners).await? {
        sql.push_str(&format!("; GRANT {} TO {account}", name(&owner)));
    }
    for database in databases {
        sql.push_str(&format!("; GRANT CONNECT ON DATABASE {} TO {account}", name(database)));
    }
    to.run(doing, &sql).await?;
    settings::shield(to, APPLY_ACCOUNT, databases).await
}

/// Makes the marker's table where changes are taken, empty: its row comes with the first copy.
async fn receive(here: &Client) -> Result<(), Error> {
    let doing = "make the marker";
    own::ensure(here).await?;
    if own::has(here, doing, MARKER).await? {
        return Ok(());
    }
    let account = name(APPLY_ACCOUNT);
    let sql = format!(
        "{MARKER_TABLE}; ALTER TABLE {OWN_SCHEMA}.{MARKER} OWNER TO {account}; GRANT USAGE ON SCHEMA {OWN_SCHEMA} TO {account}"
    );
    here.run(doing, &sql).await
}

/// Has a subscription's workers run as an account without power, and lets them begin. What they run as they get from the
/// subscription's owner; where its source is they are told by a file of ours.
async fn begin(here: &Client) -> Result<(), Error> {
    let sql = format!(
        "ALTER SUBSCRIPTION {PUBLICATION} OWNER TO {}; ALTER SUBSCRIPTION {PUBLICATION} ENABLE",
        name(APPLY_ACCOUNT)
    );
    here.run("begin to take changes", &sql).await
}

/// Asks for the account that takes changes.
fn applier() -> String {
    format!("SELECT 1 FROM pg_roles WHERE rolname = '{APPLY_ACCOUNT}'")
}

fn subscription(more: &str) -> String {
    format!(
        "SELECT 1 FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() \
         AND s.subname = '{PUBLICATION}' AND {more}"
    )
}

/// The marker's table.
const MARKER_TABLE: &str = "CREATE TABLE coffer.marker (id integer PRIMARY KEY, moved bigint NOT NULL)";

/// Publishes every table that the database has now.
async fn publish(there: &Client) -> Result<(), Error> {
    let doing = "publish the tables";
    own::ensure(there).await?;
    if !own::has(there, doing, MARKER).await? {
        there.run(doing, MARKER_TABLE).await?;
    }
    let sql = format!(
        "INSERT INTO {OWN_SCHEMA}.{MARKER} VALUES (1, 0) ON CONFLICT DO NOTHING; \
         GRANT USAGE ON SCHEMA {OWN_SCHEMA} TO {account}; GRANT SELECT ON {OWN_SCHEMA}.{MARKER} TO {account}",
        account = name(REPLICATION_ACCOUNT),
    );
    own::using(there, doing, MARKER, &sql).await?;
    let other = format!("SELECT 1 FROM pg_publication WHERE pubname = '{PUBLICATION}' AND pubowner <> 10");
    if there.is_there(doing, &other).await? {
        let database = there.value(doing, "SELECT current_database()").await?.unwrap_or_default();
        return Err(Error::Object {
            object: format!("{database}: publication {PUBLICATION}"),
            why: "has a name that the service keeps for itself".to_owned(),
            remedy: "ALTER PUBLICATION … RENAME TO another name, or upgrade in place".to_owned(),
        });
    }
    // What is listed may have another name by the time it is published: it is looked at again, while it cannot change.
    for _ in 0..LISTS {
        let done = publish_once(there).await;
        match done {
            Ok(true) => return Ok(()),
            Err(error @ Error::State { .. }) if waits::is_late(&error) => {
                there.run(doing, "ROLLBACK").await?;
                return Err(error);
            }
            Ok(false) | Err(Error::State { .. }) => there.run(doing, "ROLLBACK").await?,
            Err(error) => return Err(error),
        }
    }
    let answer =
        "tables do not keep their names while they are published: let them be for a moment".to_owned();
    Err(Error::Unexpected { doing, answer })
}

/// Publishes the tables if they are still those that were listed. What the server refuses is a name that changed.
async fn publish_once(there: &Client) -> Result<bool, Error> {
    let doing = "publish the tables";
    let sql = format!(
        "SELECT c.oid, format('ONLY %I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {} ORDER BY c.oid",
        published()
    );
    let mut tables = vec![format!("ONLY {OWN_SCHEMA}.{MARKER}")];
    let mut numbers = Vec::new();
    for row in there.rows(doing, &sql).await? {
        let mut row = row.into_iter().flatten();
        let (Some(number), Some(table)) = (row.next(), row.next()) else { continue };
        numbers.push(number);
        tables.push(table);
    }
    let sql = format!(
        "BEGIN; DROP PUBLICATION IF EXISTS {PUBLICATION}; CREATE PUBLICATION {PUBLICATION} FOR TABLE {}",
        tables.join(", ")
    );
    there.run(doing, &sql).await?;
    let sql = format!(
        "SELECT r.prrelid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid \
         JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE p.pubname = '{PUBLICATION}' AND NOT (n.nspname = '{OWN_SCHEMA}' AND c.relname = '{MARKER}') ORDER BY 1"
    );
    if there.column(doing, &sql).await? != numbers {
        return Ok(false);
    }
    there.run(doing, "COMMIT").await?;
    Ok(true)
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
        let broken = match (workers, changes, copies) {
            (0, _, _) => changes >= FAILURES || copies >= FAILURES,
            (_, _, FAILURES..) => {
                let inside = Client::connect_to(candidate, &database).await?;
                inside.is_there(doing, &format!("SELECT 1 WHERE {UNFINISHED}")).await?
            }
            (_, FAILURES.., _) => fails_again(&client, &database).await?,
            _ => false,
        };
        if broken {
            return Ok(Following::Broken(why_broken(candidate, &database).await?));
        }
        if workers == 0 {
            connecting = Some(format!("{database}: not connected"));
        }
    }
    Ok(connecting.map_or(Following::Running, Following::Connecting))
}

/// How long it takes until a worker that failed is there again, and has failed again.
const AGAIN: Duration = Duration::from_millis(700);

/// Whether a worker that is there has only just begun again, to fail once more. One that goes on has its failures forgotten.
async fn fails_again(client: &Client, database: &str) -> Result<bool, Error> {
    let doing = "see whether changes are taken";
    let of = format!(
        "pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE s.subname = '{PUBLICATION}' AND d.datname = {}",
        quoted(database)
    );
    let sql = format!(
        "SELECT (SELECT string_agg(w.pid::text, ' ') FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.relid IS NULL), \
         (SELECT t.apply_error_count FROM pg_stat_subscription_stats t WHERE t.subid = s.oid) FROM {of}"
    );
    let before = client.rows(doing, &sql).await?;
    tokio::time::sleep(AGAIN).await;
    if client.rows(doing, &sql).await? != before {
        return Ok(true);
    }
    client.rows(doing, &format!("SELECT pg_stat_reset_subscription_stats(s.oid) FROM {of}")).await?;
    Ok(false)
}

/// Why a database's changes are not taken: its tables that could not be copied, and what the worker said.
async fn why_broken(candidate: &Server, database: &str) -> Result<String, Error> {
    let doing = "see which table cannot be copied";
    let inside = Client::connect_to(candidate, database).await?;
    let sql = "SELECT n.nspname || '.' || c.relname FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid \
               JOIN pg_database d ON d.oid = s.subdbid JOIN pg_class c ON c.oid = r.srrelid \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.datname = current_database() AND s.subname = 'coffer' \
               AND r.srsubstate IN ('i', 'd', 'f') ORDER BY 1 LIMIT 3";
    let tables = inside.column(doing, sql).await?;
    let log = candidate.runtime.log_end(candidate.generation, 8192).await.unwrap_or_default();
    let said = log.lines().rev().find_map(|line| Some(line.split_once("ERROR:")?.1.trim()));
    let said = hide_verifiers(said.unwrap_or("a change cannot be taken"));
    Ok(match tables.is_empty() {
        true => format!("{database}: {said}"),
        false => format!("{database}: {} could not be copied: {said}", tables.join(", ")),
    })
}

/// The condition that a table's first copy is not done, in the database that it is asked in.
const UNFINISHED: &str = "EXISTS (SELECT 1 FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid \
                          JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database() \
                          AND s.subname = 'coffer' AND r.srsubstate <> 'r')";

/// Lets changes be taken without waiting for the disk each time, in each database in which every table's first copy is
/// done; gives whether that is so in all. The end of the subscription is a commit that waits for the disk, and with it for
/// everything before it.
pub async fn hurry(candidate: &Server) -> Result<bool, Error> {
    let doing = "let changes be taken faster";
    let client = Client::connect(candidate).await?;
    let mut all = true;
    for database in open_databases(&client).await? {
        let inside = Client::connect_to(candidate, &database).await?;
        if inside.is_there(doing, &format!("SELECT 1 WHERE {UNFINISHED}")).await? {
            all = false;
            continue;
        }
        if inside.is_there(doing, &subscription("s.subsynccommit <> 'off'")).await? {
            inside
                .run(doing, &format!("ALTER SUBSCRIPTION {PUBLICATION} SET (synchronous_commit = 'off')"))
                .await?;
        }
    }
    Ok(all)
}

/// What the slowest subscription has not said that it has.
pub async fn behind(source: &Server) -> Result<Behind, Error> {
    let client = Client::connect(source).await?;
    let sql = format!(
        "SELECT greatest(coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0), 0)::bigint \
         FROM pg_replication_slots WHERE slot_name ~ '^{SLOT}'"
    );
    Ok(Behind { amount: number(&client, &sql).await?, unit: "bytes" })
}

/// The source's newest position: the marker of each database, moved where anything was written since.
pub async fn position(source: &Server) -> Result<Position, Error> {
    let doing = "take the source's position";
    let client = Client::connect(source).await?;
    let mut inside = Vec::new();
    let mut at: BTreeMap<String, u64> = BTreeMap::new();
    for database in open_databases(&client).await? {
        let connection = Client::connect_to(source, &database).await?;
        if !own::has(&connection, doing, MARKER).await? {
            // Made since: the comparison of both sides names it.
            continue;
        }
        at.insert(
            database.clone(),
            marked(&connection, &format!("SELECT moved FROM {OWN_SCHEMA}.{MARKER}")).await?,
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
    let update = format!(
        "UPDATE {OWN_SCHEMA}.{MARKER} SET moved = pg_current_xact_id()::text::bigint RETURNING moved"
    );
    for (database, connection) in &inside {
        at.insert(database.clone(), marked(connection, &update).await?);
    }
    told(&at)
}

/// A number that the marker gives.
async fn marked(client: &Client, sql: &str) -> Result<u64, Error> {
    let doing = "take the source's position";
    let row = own::using(client, doing, MARKER, sql).await?.into_iter().next();
    let answer = row.and_then(|row| row.into_iter().next().flatten()).unwrap_or_default();
    answer.parse().map_err(|_| Error::Unexpected { doing, answer })
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
        let sql = format!("SELECT 1 FROM {OWN_SCHEMA}.{MARKER} WHERE moved >= {wanted} AND NOT {UNFINISHED}");
        let mut pause = MARKER_LOOK;
        while own::using(&inside, doing, MARKER, &sql).await?.is_empty() {
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
    carry_sequences_of(source, candidate, &databases).await
}

async fn carry_sequences_of(source: &Server, candidate: &Server, databases: &[String]) -> Result<(), Error> {
    let standings: HashMap<&str, Vec<Standing>> =
        databases.iter().map(String::as_str).zip(sequences::read(source, databases).await?).collect();
    let each = async |database: &str| match standings.get(database) {
        Some(standings) => sequences::set(&Client::connect_to(candidate, database).await?, standings).await,
        None => Ok(()),
    };
    in_each(databases, each).await.map(drop)
}

/// Ends replication for good, and gives a replica its owners and rights. The settings are as they shall be. Where a
/// database does not follow any more its sequences are left: they may have moved since.
pub async fn cut(candidate: &Server, source: Option<&Server>) -> Result<(), Error> {
    let doing = "end the replication";
    write_config(candidate, &layout(candidate)?).await?;
    let client = Client::connect(candidate).await?;
    let databases = open_databases(&client).await?;
    // Asked first: nothing is touched when the source does not answer.
    if let Some(source) = source {
        let sql = format!(
            "SELECT d.datname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE s.subname = '{PUBLICATION}'"
        );
        let followed = client.column(doing, &sql).await?;
        let followed: Vec<String> = databases.iter().filter(|of| followed.contains(of)).cloned().collect();
        carry_sequences_of(source, candidate, &followed).await?;
    }
    in_each(&databases, |database| cut_one(candidate, database)).await?;
    // As long as it only read, it is the source that says who its tenants are.
    let follows = client.is_there(doing, &applier()).await?;
    if let Some(source) = source.filter(|_| follows && !candidate.settings.read_only) {
        roles::level(&Client::connect(source).await?, &client).await?;
    }
    if follows {
        let account = name(APPLY_ACCOUNT);
        // One database after the other, since all of them change the same shared rows. The marker goes with its owner.
        for database in &databases {
            let inside = Client::connect_to(candidate, database).await?;
            inside.run_and_retry(doing, &format!("DROP OWNED BY {account}")).await?;
        }
        client.run_and_retry(doing, &format!("DROP OWNED BY {account}; DROP ROLE {account}")).await?;
    }
    kept::end(candidate);
    pg_hba::settle(candidate, &client, pg_hba::wanted(candidate)).await
}

async fn cut_one(candidate: &Server, database: &str) -> Result<(), Error> {
    let doing = "end the replication";
    let inside = Client::connect_to(candidate, database).await?.patient(PATIENCE);
    if inside.is_there(doing, &subscription("true")).await? {
        // Each a statement of its own: they wait for the workers. The slot is the source's matter.
        for sql in [
            format!("ALTER SUBSCRIPTION {PUBLICATION} DISABLE"),
            format!("ALTER SUBSCRIPTION {PUBLICATION} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {PUBLICATION}"),
        ] {
            inside.run(doing, &sql).await?;
        }
    }
    let keeper = seed::keeper(database);
    let last = format!("{}; {}", seed::writers_again(), still::end());
    rights::hand_over(&inside, major(&candidate.version), &keeper, &last).await?;
    inside.run(doing, &still::end()).await
}
