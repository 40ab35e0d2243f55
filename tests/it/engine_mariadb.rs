//! The MariaDB engine on the process runtime, with real servers.
//!
//! Needs the engines of the set-up (`harness::view`) and, as root, its accounts.
//! Leaves no process and no folder behind, also when it fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coffer::domain::tenant::Verifier;
use coffer::engines::{Bound as _, Engine, Error, Following, OnProgress, Position, Server, Settings};
use coffer::runtimes::process::ProcessRuntime;
use coffer::runtimes::{self, Observed};
use mysql_async::prelude::Queryable;
use secrecy::SecretString;

use crate::engine_servers::{
    ENGINE, House, PASSWORD, Relay, accounts, compare, config, connect, database, event_states, fill, kill,
    own, processes, quiet, text, until, user, write_on,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_holds_our_account_and_no_other() {
    let house = House::new();
    for version in ["10.11.0", "11.8.0"] {
        let server = house.server(version, false);
        for _ in 0..2 {
            let begun = Instant::now();
            ENGINE.create_data(&server).await.unwrap();
            eprintln!("{version}: bootstrap {:?}", begun.elapsed());
            let begun = Instant::now();
            ENGINE.start(&server).await.unwrap();
            eprintln!("{version}: start {:?}", begun.elapsed());
        }
        assert!(ENGINE.probe(&server, true).await.unwrap().starts_with(&version[..4]));
        let mut conn = own(&server).await;
        let users: Vec<String> =
            conn.query("SELECT CONCAT(User, '@', Host) FROM mysql.global_priv ORDER BY 1").await.unwrap();
        assert_eq!(users, ["coffer@localhost", "mariadb.sys@localhost"]);
        // In another engine than the rows, a crash would have a replicated transaction applied twice.
        let position_table = "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_NAME='gtid_slave_pos'";
        assert_eq!(text(&mut conn, position_table).await, "InnoDB");
        let schemas: Vec<String> = conn.query("SHOW DATABASES").await.unwrap();
        assert_eq!(schemas, ["coffer", "information_schema", "mysql", "performance_schema", "sys"]);
        assert_eq!(ENGINE.position(&server).await.unwrap(), Position(String::new()));
        for user in ["root", "", "mariadb.sys"] {
            assert!(connect(&server, user, "").await.is_err(), "{user:?} came in");
        }
        let set = text(&mut conn, "SELECT CONCAT_WS(',', @@skip_networking, @@log_bin, @@binlog_format, @@gtid_strict_mode, \
            @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@local_infile, @@skip_name_resolve, @@log_slave_updates)").await;
        assert_eq!(set.replace("ON", "1").replace("OFF", "0"), "1,1,ROW,1,1,1,0,1,1");
        eprintln!("{version}: {} bytes", ENGINE.taken(&server).await.unwrap().content);
        assert!(ENGINE.convert(&server).await.unwrap(), "the first look finds no version");
        assert!(!ENGINE.convert(&server).await.unwrap());
        assert_eq!(ENGINE.position(&server).await.unwrap(), Position(String::new()));
        assert!(ENGINE.replica_blockers(&server).await.unwrap().is_empty());
        // Probing works on a server that tenants cannot write to.
        let fenced = Server {
            settings: Settings { read_only: true, events: false, ..server.settings.clone() },
            ..server.clone()
        };
        ENGINE.start(&fenced).await.unwrap();
        assert_eq!(text(&mut conn, "SELECT CONCAT(@@read_only, @@event_scheduler)").await, "ONOFF");
        ENGINE.probe(&fenced, true).await.unwrap();
        let begun = Instant::now();
        ENGINE.stop(&server).await.unwrap();
        eprintln!("{version}: stop {:?}", begun.elapsed());
        assert!(matches!(ENGINE.probe(&server, false).await, Err(Error::NoAnswer(_))));
        ENGINE.drop_data(&server).await.unwrap();
        ENGINE.drop_data(&server).await.unwrap();
        assert!(!house.state(&server).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_started_once_and_found_again() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let of_server = || processes(&format!("--defaults-file={}", house.state(&server).display()));
    let first = of_server();
    assert_eq!(first.len(), 1);
    // Many at once, also from a second runtime, as another process would have it.
    let other = Arc::new(ProcessRuntime::new(config(house.folder.path())).unwrap());
    let adopted = Server { runtime: other, ..server.clone() };
    let starts = (0..8).map(|n| {
        let server = if n % 2 == 0 { server.clone() } else { adopted.clone() };
        tokio::spawn(async move { ENGINE.start(&server).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    assert_eq!(of_server(), first);
    // Whoever died between the start and its record left a server without one.
    std::fs::remove_file(house.state(&server).join("server.json")).unwrap();
    assert_eq!(adopted.runtime.observe(server.generation).await.unwrap(), Observed::Running);
    assert!(matches!(adopted.runtime.drop_volume(server.generation).await, Err(runtimes::Error::InUse)));
    ENGINE.start(&adopted).await.unwrap();
    assert_eq!(of_server(), first);
    assert!(house.state(&server).join("server.json").exists());
    // Killed, it is seen stopped (it may be a zombie for a moment), and comes up again with what it had.
    ENGINE.create_content(&server, &[database("kept")], &[]).await.unwrap();
    let position = ENGINE.position(&server).await.unwrap();
    kill(first[0]);
    until("the killed server is seen stopped", async || {
        server.runtime.observe(server.generation).await.unwrap() == Observed::Stopped
    })
    .await;
    ENGINE.start(&adopted).await.unwrap();
    assert_ne!(of_server(), first);
    assert_eq!(ENGINE.position(&server).await.unwrap(), position);
    // A record of another life names nobody: the server is found all the same, and stopped.
    let record = house.state(&server).join("server.json");
    let text = std::fs::read_to_string(&record).unwrap().replace("\"boot_id\":\"", "\"boot_id\":\"0");
    std::fs::write(&record, text).unwrap();
    ENGINE.stop(&server).await.unwrap();
    ENGINE.stop(&server).await.unwrap();
    assert!(of_server().is_empty());
    assert_eq!(ENGINE.position(&server).await.ok(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why() {
    let house = House::new();
    let server = house.server("11.8.0", false);
    server.runtime.ensure_volume(server.generation, None).await.unwrap();
    let begun = Instant::now();
    let error = ENGINE.start(&server).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let Error::NoAnswer(text) = &error else { panic!("{error}") };
    assert!(text.contains("ended") && text.contains("ERROR"), "{text}");
    let nowhere = Server { version: "9.9.9".to_owned(), ..server };
    assert!(matches!(
        ENGINE.start(&nowhere).await,
        Err(Error::Runtime { source: runtimes::Error::NoSuchVersion { .. }, .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_tells_no_secret() {
    let house = House::new();
    let server = house.started("11.8.0", false).await;
    let mut bad = user("app", "pw", &["shop"]);
    bad.host = "x".repeat(300);
    let error = ENGINE.create_content(&server, &[], &[bad]).await.unwrap_err().to_string();
    assert!(!error.contains(Verifier::native("pw").expose()), "{error}");
    let wrong = Server { service_password: SecretString::from("wr0ng"), ..server.clone() };
    let error = ENGINE.probe(&wrong, true).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: 1045, .. }), "{error}");
    let error = ENGINE.convert(&wrong).await.unwrap_err().to_string();
    assert!(!error.contains("wr0ng"), "{error}");
    let log = server.runtime.log_end(server.generation, 1 << 20).await.unwrap();
    assert!(!log.is_empty() && !log.contains(PASSWORD) && !log.contains("wr0ng"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_is_named() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let databases = [database("shop"), database("cöffer")];
    ENGINE.create_content(&server, &databases, &[user("app", "pw", &["shop", "cöffer"])]).await.unwrap();
    let mut app = connect(&server, "app", "pw").await.unwrap();
    for sql in [
        "USE shop",
        "CREATE TABLE fine (id INT PRIMARY KEY)",
        "CREATE TABLE carts (id INT, n INT, UNIQUE (n)) ENGINE=MyISAM",
        "CREATE TABLE kept (id INT NOT NULL, UNIQUE (id)) ENGINE=MyISAM",
        "CREATE TABLE fleeting (id INT PRIMARY KEY) ENGINE=MEMORY",
        "CREATE TABLE sheet (id INT NOT NULL) ENGINE=CSV",
        "CREATE SEQUENCE s ENGINE=Aria",
        "CREATE TABLE history (id INT) WITH SYSTEM VERSIONING",
        "CREATE TABLE numbered (id INT PRIMARY KEY, a BIGINT UNSIGNED AS ROW START, b BIGINT UNSIGNED AS ROW END, \
         PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING",
        "CREATE TABLE base (id INT)",
        "CREATE VIEW broken AS SELECT id FROM base",
        "DROP TABLE base",
        "CREATE FUNCTION plus_one(x INT) RETURNS INT DETERMINISTIC RETURN x + 1 -- the end",
        "CREATE FUNCTION plus_two(x INT) RETURNS INT DETERMINISTIC RETURN x + 2 # the end\n\n",
        "CREATE TRIGGER note BEFORE INSERT ON fine FOR EACH ROW SET @x = '#' -- the end",
        "CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DO SET @x = 1 -- the end",
        "CREATE PROCEDURE fine() BEGIN SELECT '#'; END",
        "CREATE TABLE Base_1 (id INT)",
        "CREATE VIEW base_1 AS SELECT id FROM Base_1",
        "SET NAMES latin1",
        "CREATE PROCEDURE `mixed_ü`() SELECT 1",
        "SET NAMES utf8mb4",
        "CREATE TABLE `cöffer`.carts (id INT) ENGINE=Aria",
        "XA START 'left'",
        "INSERT INTO fine VALUES (1)",
        "XA END 'left'",
        "XA PREPARE 'left'",
    ] {
        app.query_drop(sql).await.unwrap();
    }
    let found = ENGINE.replica_blockers(&server).await.unwrap();
    let objects: Vec<&str> = found.iter().map(|blocker| blocker.object.as_str()).collect();
    assert_eq!(
        objects,
        ["shop.fleeting", "shop.sheet", "shop.numbered", "cöffer.carts", "shop.carts", "transaction left"]
    );
    for blocker in &found {
        eprintln!("{blocker}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_seeded_follows_and_takes_over() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    fill(&source).await;
    let blockers = ENGINE.replica_blockers(&source).await.unwrap();
    assert_eq!(blockers, []);

    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_on(&source, &stop);
    let mut watch = own(&source).await;
    until("the writer writes", async || {
        text(&mut watch, "SELECT COUNT(*) > 20 FROM shop.writes").await == "1"
    })
    .await;

    let told = Arc::new(Mutex::new(Vec::new()));
    let tell: OnProgress = {
        let told = Arc::clone(&told);
        Arc::new(move |line| told.lock().unwrap().push(line))
    };
    let begun = Instant::now();
    let position = ENGINE.seed(&source, &candidate, tell).await.unwrap();
    eprintln!("seed {:?} at {position:?}; told {:?}", begun.elapsed(), told.lock().unwrap());
    assert!(position.0.starts_with("0-1-"));
    assert!(!told.lock().unwrap().is_empty());
    // Seeding again begins anew.
    let position = ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(ENGINE.following(&candidate).await.unwrap(), Following::Nobody);
    ENGINE.convert(&candidate).await.unwrap();

    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
        .await;
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(10)).await.unwrap());
    // Once more, in the middle: it goes on where it was.
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();

    // What the tenant does meanwhile comes along.
    let mut app = connect(&source, "app", "app's word").await.unwrap();
    for sql in [
        "USE shop",
        "CREATE TABLE later (id INT PRIMARY KEY, w VARCHAR(20)) CHARSET=utf8mb4",
        "CREATE TABLE later_default (id INT PRIMARY KEY, w VARCHAR(20))",
        "ALTER TABLE goods ADD COLUMN added VARCHAR(10) CHARACTER SET utf8mb4 DEFAULT 'n'",
        "CREATE VIEW later_view AS SELECT COUNT(*) AS n FROM later",
        "CREATE EVENT later_on ON SCHEDULE EVERY 1 SECOND DO INSERT INTO counted VALUES (-2)",
        "CREATE EVENT later_off ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
        "ALTER EVENT off_one COMMENT 'altered without a state'",
        "CREATE DATABASE empty_not_mine",
    ] {
        let result = app.query_drop(sql).await;
        assert_eq!(result.is_ok(), !sql.contains("not_mine"), "{sql}: {result:?}");
    }
    ENGINE.create_content(&source, &[database("new")], &[user("late", "late", &["new"])]).await.unwrap();

    // The candidate's server dies, is started again and goes on by itself; so does the source's.
    for server in [&candidate, &source] {
        kill(processes(&format!("--defaults-file={}", house.state(server).display()))[0]);
        ENGINE.start(server).await.unwrap();
    }
    let now = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &now, Duration::from_secs(20)).await.unwrap());
    drop(relay);
    let mut kill_threads = own(&source).await;
    kill_threads.query_drop("KILL USER coffer_repl@'127.0.0.1'").await.unwrap();
    until("it is seen to connect", async || {
        matches!(ENGINE.following(&candidate).await.unwrap(), Following::Connecting(_))
    })
    .await;
    let now = ENGINE.position(&source).await.unwrap();
    let begun = Instant::now();
    assert!(!ENGINE.reached(&candidate, &now, Duration::from_secs(1)).await.unwrap());
    assert!(begun.elapsed() < Duration::from_secs(3));
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();

    // Tenants cannot write to the candidate, nor does it run their events.
    let mut reader = connect(&candidate, "app", "app's word").await.unwrap();
    assert!(reader.query_drop("INSERT INTO shop.counted VALUES (9)").await.is_err());

    // Every row is compared while the source is written to; one that differs is found, and its table named.
    let now = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &now, Duration::from_secs(20)).await.unwrap());
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert!(compared.differing.is_empty() && compared.rows > 100 && compared.tables > 3, "{compared:?}");
    let mut ours = own(&candidate).await;
    for sql in ["SET sql_log_bin=0", "INSERT INTO shop.counted VALUES (-77)"] {
        ours.query_drop(sql).await.unwrap();
    }
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(compared.differing, ["shop.counted"]);
    ours.query_drop("DELETE FROM shop.counted WHERE good=-77").await.unwrap();
    // A comparison that was killed leaves the applier standing still; the next one begins with that.
    ours.query_drop("STOP SLAVE SQL_THREAD").await.unwrap();
    ENGINE.resume(&candidate).await.unwrap();
    let now = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &now, Duration::from_secs(20)).await.unwrap());
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert!(compared.differing.is_empty(), "{compared:?}");

    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    // As the fence does it: nobody writes any more.
    let fenced = Server {
        settings: Settings { read_only: true, events: false, ..source.settings.clone() },
        ..source.clone()
    };
    ENGINE.start(&fenced).await.unwrap();
    let end = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &end, Duration::from_secs(20)).await.unwrap());

    let begun = Instant::now();
    let there = ENGINE.inventory(&source).await.unwrap();
    eprintln!("inventory {:?}, {} lines", begun.elapsed(), there.len());
    let here = ENGINE.inventory(&candidate).await.unwrap();
    compare(&there, &here);
    assert!(there.iter().any(|line| line.starts_with("routine procedure shop.clean")));
    assert!(!there.iter().any(|line| line.contains(Verifier::native("app's word").expose())));

    let states = event_states(&source).await;
    let cut = Server {
        settings: Settings { read_only: false, events: true, ..candidate.settings.clone() },
        ..candidate.clone()
    };
    for _ in 0..2 {
        ENGINE.cut(&cut, Some(&source)).await.unwrap();
    }
    assert_eq!(event_states(&cut).await, states);
    assert!(states.contains(&("tick".to_owned(), "ENABLED".to_owned(), "app@%".to_owned())));
    assert!(states.contains(&("off_one".to_owned(), "DISABLED".to_owned(), "app@%".to_owned())));
    compare(&there, &ENGINE.inventory(&cut).await.unwrap());
    assert_eq!(ENGINE.following(&cut).await.unwrap(), Following::Nobody);
    assert!(ENGINE.reached(&cut, &end, Duration::from_secs(1)).await.unwrap());
    let ahead = Position(format!("0-1-{}", 1_000_000_000));
    assert!(ENGINE.reached(&cut, &ahead, Duration::from_secs(5)).await.is_err());
    ENGINE.forget_follower(&source).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();

    // Every acknowledged write is there, the same rows, and the tenant goes on.
    let mut at_source = own(&source).await;
    let mut at_candidate = own(&cut).await;
    assert_eq!(text(&mut at_candidate, "SELECT MAX(n) FROM shop.writes").await, written.to_string());
    for table in ["shop.goods", "shop.writes", "shop.sales", "`o'd``d %_name ü`.`t``a 'b\" \\\\ ü;-- x`"] {
        // Value by value: a table's checksum is also of bits that hold no value.
        let all = format!("SELECT * FROM {table} ORDER BY 1");
        let there: Vec<mysql_async::Row> = at_source.query(&all).await.unwrap();
        let here: Vec<mysql_async::Row> = at_candidate.query(&all).await.unwrap();
        let values =
            |rows: Vec<mysql_async::Row>| rows.into_iter().map(mysql_async::Row::unwrap).collect::<Vec<_>>();
        assert_eq!(values(there), values(here), "{table}");
    }
    let next = "SELECT next_not_cached_value FROM shop.numbers";
    let (before, after) = (text(&mut at_source, next).await, text(&mut at_candidate, next).await);
    assert!(after.parse::<i64>().unwrap() >= before.parse().unwrap(), "{after} {before}");
    let mut app = connect(&cut, "app", "app's word").await.unwrap();
    app.query_drop("INSERT INTO shop.writes (n) VALUES (1000000000)").await.unwrap();
    app.query_drop("CALL shop.clean(1, @n)").await.unwrap();
    let runs = "SELECT COUNT(*) FROM shop.counted WHERE good = -2";
    let ran: i64 = text(&mut at_candidate, runs).await.parse().unwrap();
    until("events run", async || text(&mut at_candidate, runs).await.parse::<i64>().unwrap() > ran).await;
    // A restart comes up the same.
    ENGINE.stop(&cut).await.unwrap();
    ENGINE.start(&cut).await.unwrap();
    let mut app = connect(&cut, "app", "app's word").await.unwrap();
    app.query_drop("INSERT INTO shop.writes (n) VALUES (1000000001)").await.unwrap();
    assert!(ENGINE.probe(&cut, true).await.unwrap().starts_with("11.8."));

    // And the new one is itself a source, whose binary log began at its seed.
    let third = house.started("11.8.0", true).await;
    ENGINE.seed(&cut, &third, quiet()).await.unwrap();
    let relay = Relay::to(&cut).await;
    ENGINE.follow(&cut, &third, Some(&relay.address)).await.unwrap();
    app.query_drop("INSERT INTO shop.writes (n) VALUES (1000000002)").await.unwrap();
    let end = ENGINE.position(&cut).await.unwrap();
    assert!(ENGINE.reached(&third, &end, Duration::from_secs(20)).await.unwrap());
    assert_eq!(text(&mut own(&third).await, "SELECT MAX(n) FROM shop.writes").await, "1000000002");
    // With its source away, events keep what the candidate knows.
    let alone = Server {
        settings: Settings { read_only: false, events: false, ..third.settings.clone() },
        ..third.clone()
    };
    ENGINE.cut(&alone, None).await.unwrap();
    assert_eq!(event_states(&alone).await, states);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_content_is_copied_too() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    let position = ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(position, Position(String::new()));
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(1)).await.unwrap());
    ENGINE.create_content(&source, &[database("first")], &[user("app", "pw", &["first"])]).await.unwrap();
    let end = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &end, Duration::from_secs(20)).await.unwrap());
    compare(&ENGINE.inventory(&source).await.unwrap(), &ENGINE.inventory(&candidate).await.unwrap());
    connect(&candidate, "app", "pw").await.unwrap();
    // A source that no longer has what the candidate needs breaks it.
    ENGINE.stop(&candidate).await.unwrap();
    let mut conn = own(&source).await;
    for sql in [
        "CREATE TABLE first.t (id INT)",
        "FLUSH BINARY LOGS",
        "FLUSH BINARY LOGS",
        "DROP TABLE first.t",
        "FLUSH BINARY LOGS",
    ] {
        conn.query_drop(sql).await.unwrap();
    }
    until("old logs are gone", async || {
        let last: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.unwrap();
        let name: String = last.last().unwrap().get(0).unwrap();
        conn.query_drop(format!("PURGE BINARY LOGS TO '{name}'")).await.unwrap();
        let left: Vec<mysql_async::Row> = conn.query("SHOW BINARY LOGS").await.unwrap();
        left.len() == 1
    })
    .await;
    ENGINE.start(&candidate).await.unwrap();
    until("it is seen broken", async || {
        matches!(ENGINE.following(&candidate).await.unwrap(), Following::Broken(_))
    })
    .await;
    let end = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &end, Duration::from_secs(20)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_during_the_copy_is_copied_again() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    fill(&source).await;
    let mut conn = own(&source).await;
    conn.query_drop("USE shop").await.unwrap();
    conn.query_drop("CREATE TABLE shop.big (id INT PRIMARY KEY, pad CHAR(200) NOT NULL)").await.unwrap();
    conn.query_drop("INSERT INTO shop.big SELECT seq, REPEAT('x', 200) FROM seq_1_to_600000").await.unwrap();
    drop(conn);
    let told = Arc::new(AtomicBool::new(false));
    let tell: OnProgress = {
        let told = Arc::clone(&told);
        Arc::new(move |line| {
            told.store(told.load(Ordering::Relaxed) || line.contains(" of about "), Ordering::Relaxed)
        })
    };
    let copy = {
        let (source, candidate) = (source.clone(), candidate.clone());
        tokio::spawn(async move { ENGINE.seed(&source, &candidate, tell).await })
    };
    until("the copy is in the middle", async || told.load(Ordering::Relaxed)).await;
    let pids = processes(&format!("--defaults-file={}", house.state(&source).display()));
    kill(pids[0]);
    let error = copy.await.unwrap().unwrap_err();
    eprintln!("{error}");
    ENGINE.start(&source).await.unwrap();
    let begun = Instant::now();
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    eprintln!("seed of 150 MB {:?}", begun.elapsed());
    for server in [&source, &candidate] {
        assert!(!accounts(server).await.iter().any(|name| name.starts_with("coffer_")));
    }
    compare(&ENGINE.inventory(&source).await.unwrap(), &ENGINE.inventory(&candidate).await.unwrap());
    // The one is never taken for the other.
    assert!(ENGINE.seed(&candidate, &source, quiet()).await.is_err());
    assert!(ENGINE.seed(&candidate, &candidate, quiet()).await.is_err());
}

/// Every file below a server's data folder that is carried, with its content.
fn files(data: &std::path::Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(data).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("binlog.") {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Tables that stand still are copied while the server serves, and not looked at again; the rest is carried when it has
/// been stopped, and the copy is the same, byte by byte. Transactions that are prepared come along, although the history
/// of changes does not.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_copied_ahead_is_carried_on() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    fill(&source).await;
    let mut conn = own(&source).await;
    conn.query_drop("USE shop").await.unwrap();
    conn.query_drop("CREATE TABLE shop.still (id INT PRIMARY KEY, pad CHAR(200)) AS SELECT seq AS id, 'x' AS pad FROM seq_1_to_5000")
        .await
        .unwrap();
    conn.query_drop("CREATE TABLE shop.promised (id INT PRIMARY KEY)").await.unwrap();
    // On disk now, it is not written to when its pages are.
    for sql in ["FLUSH TABLES shop.still FOR EXPORT", "UNLOCK TABLES"] {
        conn.query_drop(sql).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_on(&source, &stop);
    let rules =
        runtimes::CopyRules { without: &["binlog."], settles: &[".ibd"], settled: Duration::from_secs(1) };
    let file = house.state(&source).join("data/shop/still.ibd");
    until("a table stands still", async || {
        use std::os::unix::fs::MetadataExt as _;
        let changed = std::fs::metadata(&file).unwrap().ctime();
        chrono::Utc::now().timestamp() > changed + 3
    })
    .await;

    let (first, second) = (house.server("10.11.0", true), house.server("11.8.0", true));
    let (from, place) = (source.generation, &source.runtime);
    place.ensure_volume(first.generation, None).await.unwrap();
    assert!(!place.is_copied_ahead(first.generation).await.unwrap());
    assert!(place.copy_ahead(from, first.generation, &rules, &|_| {}).await.unwrap() > 1 << 20);
    assert!(place.is_copied_ahead(first.generation).await.unwrap());
    eprintln!("{}", ENGINE.prepare_in_place(&source, &second, quiet()).await.unwrap());
    for sql in
        ["XA START 'left'", "INSERT INTO shop.promised VALUES (7)", "XA END 'left'", "XA PREPARE 'left'"]
    {
        conn.query_drop(sql).await.unwrap();
    }
    conn.disconnect().await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    ENGINE.stop_clean(&source).await.unwrap();

    let copied = place.copy_data(from, first.generation, &rules, &|_| {}).await.unwrap();
    eprintln!("{copied:?}");
    assert!(copied.settled >= 1 << 20 && copied.written > 0, "{copied:?}");
    assert!(!place.is_copied_ahead(first.generation).await.unwrap());
    let (old, new) = (files(&house.state(&source).join("data")), files(&house.state(&first).join("data")));
    assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    for (name, content) in &old {
        assert!(new[name] == *content, "{name} differs");
    }

    eprintln!("{}", ENGINE.convert_in_place(&source, &second, quiet()).await.unwrap());
    let mut conn = own(&second).await;
    assert!(text(&mut conn, "SELECT @@version").await.starts_with("11.8."));
    assert_eq!(text(&mut conn, "SELECT COUNT(*) FROM shop.still").await, "5000");
    assert_eq!(text(&mut conn, "SELECT COUNT(*) FROM shop.writes").await, written.to_string());
    assert_eq!(text(&mut conn, "SELECT COUNT(*) FROM shop.promised").await, "0");
    conn.query_drop("XA COMMIT 'left'").await.unwrap();
    assert_eq!(text(&mut conn, "SELECT id FROM shop.promised").await, "7");
}
