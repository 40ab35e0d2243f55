//! Tables that know no transactions, through an upgrade, while they are written to.
//!
//! Needs what `engine_mariadb` needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use coffer::engines::{Engine, Following, Server, Settings};
use mysql_async::prelude::Queryable;
use secrecy::ExposeSecret as _;

use crate::engine_servers::{
    ENGINE, House, Relay, accounts, compare, connect, event_states, fill, kill, own, processes, quiet, text,
    until,
};
use crate::harness::house::House as Dev;
use crate::harness::store;
use crate::harness::{ask_for_detach, ask_for_upgrade, bed, delete, healthy, open_shop, status, wait_for};

/// The least time between two writes of one writer.
const PACE: Duration = Duration::from_millis(10);

/// Writes to one table until it is told to stop; gives how many rows were acknowledged. Every third row is changed
/// afterwards, every seventh deleted.
fn write_to(server: &Server, table: &'static str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<i64> {
    let (server, stop) = (server.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut app = connect(&server, "app", "app's word").await.unwrap();
        let mut n: i64 = 0;
        while !stop.load(Ordering::Relaxed) {
            app.query_drop(format!("INSERT INTO {table} (n, w) VALUES ({}, 'new')", n + 1)).await.unwrap();
            n += 1;
            // Slower than the candidate applies: it does so one after the other.
            tokio::time::sleep(PACE).await;
            if n % 3 == 0 {
                app.query_drop(format!("UPDATE {table} SET w='changed' WHERE n={n}")).await.unwrap();
            }
            if n % 7 == 0 {
                app.query_drop(format!("DELETE FROM {table} WHERE n={n}")).await.unwrap();
            }
            if n % 100 == 0 {
                app.query_drop("DO NEXTVAL(shop.plain_numbers)").await.unwrap();
            }
        }
        n
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_transactions_are_carried_while_they_are_written_to() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate =
        Server { service_password: "another word".to_owned().into(), ..house.server("11.8.0", true) };
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    fill(&source).await;
    let mut app = connect(&source, "app", "app's word").await.unwrap();
    for sql in [
        "USE shop",
        "CREATE TABLE plain (n INT PRIMARY KEY, w VARCHAR(20) CHARSET utf8mb4, note TEXT, FULLTEXT (note)) ENGINE=MyISAM",
        "CREATE TABLE safe (n INT PRIMARY KEY, w VARCHAR(20), at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=Aria",
        "CREATE TABLE unsafe (n INT NOT NULL, w VARCHAR(20), UNIQUE (n)) ENGINE=Aria TRANSACTIONAL=0 ROW_FORMAT=DYNAMIC",
        "CREATE TABLE inno (n INT PRIMARY KEY, w VARCHAR(20)) ENGINE=InnoDB",
        "CREATE TABLE slow (n INT AUTO_INCREMENT PRIMARY KEY, w DOUBLE) ENGINE=MyISAM",
        "CREATE TABLE split (n INT PRIMARY KEY, w VARCHAR(9)) ENGINE=MyISAM PARTITION BY HASH (n) PARTITIONS 3",
        "CREATE TABLE places (n INT PRIMARY KEY, g POINT NOT NULL, SPATIAL KEY (g)) ENGINE=Aria",
        "CREATE TABLE empty_one (n INT PRIMARY KEY) ENGINE=MyISAM",
        "INSERT INTO split SELECT seq, 'x' FROM seq_1_to_500",
        "INSERT INTO places VALUES (1, POINT(1, 2)), (2, POINT(3, 4))",
        "INSERT INTO slow (w) SELECT RAND() FROM seq_1_to_100000",
        "CREATE SEQUENCE plain_numbers ENGINE=Aria",
        "CREATE SEQUENCE more_numbers START WITH 7 NOCACHE ENGINE=MyISAM",
        "DO NEXTVAL(more_numbers)",
        "CREATE TRIGGER of_plain AFTER INSERT ON plain FOR EACH ROW INSERT INTO counted VALUES (NEW.n)",
        "CREATE VIEW over_plain AS SELECT n, w FROM plain WHERE n > 0",
    ] {
        app.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), []);

    let stop = Arc::new(AtomicBool::new(false));
    // One with transactions among them.
    let plain = ["shop.plain", "shop.safe", "shop.unsafe", "shop.inno"];
    let writers = plain.map(|table| write_to(&source, table, &stop));
    let mut watch = own(&source).await;
    for table in plain {
        until("the writers write", async || {
            text(&mut watch, &format!("SELECT COUNT(*) > 20 FROM {table}")).await == "1"
        })
        .await;
    }
    // A statement that takes long is in the middle of its rows when the copy gets there.
    let long = {
        let (source, stop) = (source.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut app = connect(&source, "app", "app's word").await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                app.query_drop("INSERT INTO shop.slow (w) SELECT SLEEP(0.01) FROM shop.seq_1_to_150")
                    .await
                    .unwrap();
            }
        })
    };
    until("the long statement writes", async || {
        text(
            &mut watch,
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(0.01)%'",
        )
        .await
            == "2"
    })
    .await;

    let begun = Instant::now();
    let position = ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    eprintln!("seed {:?} at {position:?}", begun.elapsed());
    // Again from the beginning: what the first one left does not matter.
    let again = ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    assert_ne!(position, again);
    assert!(ENGINE.probe(&candidate, true).await.unwrap().starts_with("11.8."));
    assert_eq!(ENGINE.following(&candidate).await.unwrap(), Following::Nobody);
    assert!(!ENGINE.convert(&candidate).await.unwrap(), "the copy is converted");
    assert_eq!(ENGINE.position(&candidate).await.unwrap().0, "", "it has no history of its own");
    let ours = |account: &String| account.starts_with("coffer_");
    for server in [&source, &candidate] {
        assert!(!accounts(server).await.iter().any(ours), "{:?}", accounts(server).await);
    }
    assert!(
        connect(&candidate, "coffer", crate::engine_servers::PASSWORD).await.is_err(),
        "the source's password"
    );
    let mut reader = connect(&candidate, "app", "app's word").await.unwrap();
    assert!(reader.query_drop("INSERT INTO shop.plain (n) VALUES (-1)").await.is_err(), "read-only");
    assert_eq!(
        text(&mut own(&candidate).await, "SELECT CONCAT(@@server_id, @@event_scheduler)").await,
        format!("{}OFF", candidate.settings.server_id)
    );

    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
        .await;
    let now = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &now, Duration::from_secs(60)).await.unwrap());
    compare(
        &ENGINE.inventory_while_serving(&source).await.unwrap(),
        &ENGINE.inventory_while_serving(&candidate).await.unwrap(),
    );

    // All rows, while all of them are written to.
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert!(compared.differing.is_empty(), "{compared:?}");
    assert!(compared.rows > 101_000 && compared.tables > 12, "{compared:?}");
    let mut stray = own(&candidate).await;
    for sql in [
        "SET sql_log_bin=0",
        "UPDATE shop.split SET w='y' WHERE n=7",
        "INSERT INTO shop.places VALUES (3, POINT(5, 6))",
    ] {
        stray.query_drop(sql).await.unwrap();
    }
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(compared.differing, ["shop.places", "shop.split"]);
    for sql in ["UPDATE shop.split SET w='x' WHERE n=7", "DELETE FROM shop.places WHERE n=3"] {
        stray.query_drop(sql).await.unwrap();
    }
    // Nobody is left waiting, and nobody who may look.
    for server in [&source, &candidate] {
        assert!(!accounts(server).await.iter().any(|name| name.starts_with("coffer_look")));
    }

    stop.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for (writer, table) in writers.into_iter().zip(plain) {
        counts.push((table, writer.await.unwrap()));
    }
    long.await.unwrap();
    let fenced = Server {
        settings: Settings { read_only: true, events: false, ..source.settings.clone() },
        ..source.clone()
    };
    ENGINE.start(&fenced).await.unwrap();
    let end = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &end, Duration::from_secs(60)).await.unwrap());
    let states = event_states(&source).await;
    let there = ENGINE.inventory(&source).await.unwrap();
    let cut = Server {
        settings: Settings { read_only: false, events: true, ..candidate.settings.clone() },
        ..candidate.clone()
    };
    ENGINE.cut(&cut, Some(&source)).await.unwrap();
    compare(&there, &ENGINE.inventory(&cut).await.unwrap());
    assert_eq!(event_states(&cut).await, states);

    // Every acknowledged row is there once, and each table is sound.
    let (mut theirs, mut ours) = (own(&source).await, own(&cut).await);
    for (table, n) in counts {
        assert!(n > 100, "{table}: {n}");
        let facts = format!("SELECT CONCAT_WS(',', COUNT(*), MAX(n), SUM(n), SUM(w='changed')) FROM {table}");
        let gone: i64 = (1..=n).filter(|n| n % 7 == 0).sum();
        let last = if n % 7 == 0 { n - 1 } else { n };
        let changed = (1..=n).filter(|n| n % 3 == 0 && n % 7 != 0).count();
        let expected = format!("{},{last},{},{changed}", n - n / 7, n * (n + 1) / 2 - gone);
        assert_eq!(text(&mut theirs, &facts).await, expected, "{table} of the source");
        assert_eq!(text(&mut ours, &facts).await, expected, "{table} of the new one");
    }
    for table in ["plain", "safe", "unsafe", "slow", "split", "places", "empty_one"] {
        let checked: Vec<(String, String, String, String)> =
            ours.query(format!("CHECK TABLE shop.{table} EXTENDED")).await.unwrap();
        assert!(checked.iter().all(|row| row.3 == "OK"), "{checked:?}");
        let sum = format!("CHECKSUM TABLE shop.{table}");
        let there: Option<(String, Option<u64>)> = theirs.query_first(&sum).await.unwrap();
        let here: Option<(String, Option<u64>)> = ours.query_first(&sum).await.unwrap();
        assert_eq!(there, here, "{table}");
    }
    for sequence in ["plain_numbers", "more_numbers", "numbers"] {
        let next = format!("SELECT next_not_cached_value FROM shop.{sequence}");
        assert_eq!(text(&mut ours, &next).await, text(&mut theirs, &next).await, "{sequence}");
    }
    // The tenant goes on, as do its events; a restart comes up the same.
    let mut app = connect(&cut, "app", "app's word").await.unwrap();
    app.query_drop("INSERT INTO shop.plain (n) VALUES (1000000000)").await.unwrap();
    let runs = "SELECT COUNT(*) FROM shop.counted WHERE good=-1";
    let ran: i64 = text(&mut ours, runs).await.parse().unwrap();
    until("events run", async || text(&mut ours, runs).await.parse::<i64>().unwrap() > ran).await;
    ENGINE.stop(&cut).await.unwrap();
    ENGINE.start(&cut).await.unwrap();
    let mut app = connect(&cut, "app", "app's word").await.unwrap();
    app.query_drop("INSERT INTO shop.plain (n) VALUES (1000000001)").await.unwrap();
    let log = cut.runtime.log_end(cut.generation, 1 << 16).await.unwrap();
    assert!(!log.contains("crashed"), "{log}");

    // And the new one is itself a source; nothing of its own past confuses its copy.
    let third = house.started("11.8.0", true).await;
    ENGINE.seed(&cut, &third, quiet()).await.unwrap();
    let relay = Relay::to(&cut).await;
    ENGINE.follow(&cut, &third, Some(&relay.address)).await.unwrap();
    app.query_drop("INSERT INTO shop.plain (n) VALUES (1000000002)").await.unwrap();
    let end = ENGINE.position(&cut).await.unwrap();
    assert!(ENGINE.reached(&third, &end, Duration::from_secs(30)).await.unwrap());
    assert!(ENGINE.compare_rows(&cut, &third, quiet()).await.unwrap().differing.is_empty());
}

/// A replica that dies may apply a row of such a table again: with a key, either that changes nothing or replication
/// stops and says so. It never goes on with other rows than its source has.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_never_differs_unseen() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    fill(&source).await;
    let mut app = connect(&source, "app", "app's word").await.unwrap();
    app.query_drop("CREATE TABLE shop.plain (n INT PRIMARY KEY, w VARCHAR(20)) ENGINE=MyISAM").await.unwrap();
    app.query_drop("CREATE SEQUENCE shop.plain_numbers ENGINE=MyISAM").await.unwrap();
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_to(&source, "shop.plain", &stop);
    let mut seen = Following::Running;
    for round in 0..5_u64 {
        let goal = text(&mut own(&candidate).await, "SELECT IFNULL(MAX(n), 0) + 100 FROM shop.plain").await;
        until("rows arrive, or replication stops", async || {
            seen = ENGINE.following(&candidate).await.unwrap();
            let is = text(&mut own(&candidate).await, "SELECT IFNULL(MAX(n), 0) FROM shop.plain").await;
            matches!(seen, Following::Broken(_)) || is.parse::<i64>().unwrap() >= goal.parse::<i64>().unwrap()
        })
        .await;
        if matches!(seen, Following::Broken(_)) {
            break;
        }
        kill(processes(&format!("--defaults-file={}", house.state(&candidate).display()))[0]);
        ENGINE.start(&candidate).await.unwrap();
        eprintln!("round {round}: {:?}", ENGINE.following(&candidate).await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let end = ENGINE.position(&source).await.unwrap();
    match ENGINE.reached(&candidate, &end, Duration::from_secs(30)).await {
        Ok(reached) => {
            assert!(reached);
            let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
            assert!(compared.differing.is_empty(), "{compared:?}");
        }
        Err(error) => {
            let seen = ENGINE.following(&candidate).await.unwrap();
            assert!(matches!(seen, Following::Broken(_)), "{error} {seen:?}");
        }
    }
}

/// A session that keeps such a table locked keeps everybody who writes to one waiting behind the copy: not for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_does_not_keep_writers_waiting_for_a_locked_table() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    fill(&source).await;
    let (mut app, mut other) = (
        connect(&source, "app", "app's word").await.unwrap(),
        connect(&source, "app", "app's word").await.unwrap(),
    );
    for table in ["kept", "free"] {
        let create = format!("CREATE TABLE shop.{table} (n INT PRIMARY KEY) ENGINE=MyISAM");
        app.query_drop(create).await.unwrap();
    }
    app.query_drop("LOCK TABLES shop.kept WRITE").await.unwrap();
    let begun = Instant::now();
    let (refused, ()) = tokio::join!(ENGINE.seed(&source, &candidate, quiet()), async {
        for n in 0..200 {
            other.query_drop(format!("INSERT INTO shop.free VALUES ({n})")).await.unwrap();
            tokio::time::sleep(PACE).await;
        }
    });
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("of 'app' has locked shop.kept for itself"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(!accounts(&source).await.iter().any(|name| name.starts_with("coffer_dump")));
    app.query_drop("UNLOCK TABLES").await.unwrap();
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(text(&mut own(&candidate).await, "SELECT COUNT(*) FROM shop.free").await, "200");
}

/// The same through the API, by way of the instance's address: the steps around the copy hold, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_with_such_tables_is_upgraded() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "plain", "10.11").await;
    let conn = async |address: &str| {
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname(address)
            .user(Some("app"))
            .pass(Some(old.password.expose_secret()))
            .db_name(Some("shop"));
        mysql_async::Conn::new(opts).await.unwrap()
    };
    let mut app = conn(&old.address).await;
    let tables = ["shop.plain", "shop.safe"];
    app.query_drop("CREATE TABLE plain (n INT PRIMARY KEY, w VARCHAR(20)) ENGINE=MyISAM").await.unwrap();
    app.query_drop("CREATE TABLE safe (n INT PRIMARY KEY, w VARCHAR(20)) ENGINE=Aria").await.unwrap();
    // What cannot be told apart stands in the way, and is named.
    app.query_drop("CREATE TABLE heap (n INT) ENGINE=MyISAM").await.unwrap();
    let upgrade = serde_json::json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}});
    let (code, answer) = api.post(&format!("/instances/{}/action", old.id), &upgrade).await.unwrap();
    assert_eq!(code, 422, "{answer}");
    let message = answer["unprocessableEntity"]["message"].as_str().unwrap();
    assert!(message.contains("shop.heap") && message.contains("primary key"), "{message}");
    app.query_drop("ALTER TABLE heap ADD PRIMARY KEY (n)").await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for table in tables {
        let (mut app, stop) = (conn(&old.address).await, Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let mut n: i64 = 0;
            while !stop.load(Ordering::Relaxed) {
                app.query_drop(format!("INSERT INTO {table} VALUES ({}, 'new')", n + 1)).await.unwrap();
                n += 1;
                tokio::time::sleep(PACE).await;
            }
            n
        }));
    }
    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(180)).await;
    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        // Its connection was never lost, and no write of it refused.
        written.push(writer.await.unwrap());
    }
    let shown = api.show(&new).await.unwrap();
    let address = shown["ip"][0].as_str().unwrap().to_owned();
    let facts = |table: &str| format!("SELECT CONCAT_WS(',', COUNT(*), SUM(n)) FROM {table}");
    let mut twin = conn(&address).await;
    for (table, n) in tables.into_iter().zip(&written) {
        assert!(*n > 100, "{table}: {n}");
        let expected = format!("{n},{}", n * (n + 1) / 2);
        assert_eq!(text(&mut app, &facts(table)).await, expected, "{table}");
        wait_for("the rows are there", Duration::from_secs(30), async || {
            (text(&mut twin, &facts(table)).await == expected).then_some(())
        })
        .await;
    }
    assert!(
        twin.query_drop("INSERT INTO plain VALUES (-1, 'x')").await.is_err(),
        "read-only until the detach"
    );
    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;
    let mut twin = conn(&address).await;
    twin.query_drop("INSERT INTO plain VALUES (-1, 'x')").await.unwrap();
    let engines: Vec<String> = twin
        .query("SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA='shop' ORDER BY TABLE_NAME")
        .await
        .unwrap();
    assert_eq!(engines, ["MyISAM", "MyISAM", "Aria"]);
    delete(&api, &[&new, &old.id]).await;
}

/// `kill -9` of everything that drives the copy, in its middle: the half copy goes, and the upgrade ends as if nothing
/// had been; whoever writes does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_files_that_was_killed_is_made_anew() {
    let mut dev = Dev::start().await;
    let mut api = Client::login(&dev.state, "coffer").await.unwrap();
    let old = open_shop(&api, "plain", "10.11").await;
    let store = dev.store().await;
    let opts = coffer::cli::demo::shop::opts(&old.address, "shop", "app", &old.password);
    let mut app = mysql_async::Conn::new(opts.clone()).await.unwrap();
    app.query_drop("CREATE TABLE plain (n INT PRIMARY KEY, w VARCHAR(200)) ENGINE=MyISAM").await.unwrap();
    app.query_drop("INSERT INTO plain SELECT seq, REPEAT('x', 200) FROM seq_1_to_300000").await.unwrap();
    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    wait_for("the copy is made", Duration::from_secs(60), async || {
        let steps = "task_steps where step = 'seed' and outcome is null";
        (store::count(&store, steps).await == 1).then_some(())
    })
    .await;
    dev.kill_dev_and_start_again().await;
    app.query_drop("INSERT INTO plain VALUES (0, 'after')").await.unwrap();
    api = dev.login("coffer").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(180)).await;
    let begun = store::count(&store, "task_steps where step = 'place' and phase = 'forward'").await;
    assert!(begun >= 2, "the folder was emptied and made anew");
    ask_for_detach(&api, &new).await;
    let address = healthy(&api, &new).await;
    let opts = coffer::cli::demo::shop::opts(&address, "shop", "app", &old.password);
    let mut twin = mysql_async::Conn::new(opts).await.unwrap();
    assert_eq!(text(&mut twin, "SELECT CONCAT_WS(',', COUNT(*), MIN(n)) FROM plain").await, "300001,0");
    let mut source =
        store::engine(&dev.state, &dev.run, &store, store::generation(&store, &old.id).await.unwrap())
            .await
            .unwrap();
    let left = store::accounts(&mut source).await;
    assert!(!left.iter().any(|account| account.starts_with("coffer_")), "{left:?}");
    for conn in [app, twin, source] {
        conn.disconnect().await.unwrap();
    }
    drop(store);
    dev.leave_nothing(&api, &[&new, &old.id]).await;
}
