//! The PostgreSQL engine on the process runtime, with real servers.
//!
//! Needs the engines of the set-up (`harness::view`) and, as root, its accounts.
//! Leaves no process and no folder behind, also when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Bound as _, Engine, Error, Server, Settings};
use coffer::runtimes::process::ProcessRuntime;
use coffer::runtimes::{self, Observed};

use crate::engine_servers::{House, config, kill, processes, until};
use crate::postgres_servers::{
    ENGINE, VERSIONS, database, is_there, log, own, refused, rows, started, state, tenant, user,
};

fn fenced(server: &Server) -> Server {
    Server {
        settings: Settings { read_only: true, events: false, ..server.settings.clone() },
        ..server.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_holds_our_account_and_no_other() {
    let house = House::new();
    for version in VERSIONS {
        let server = house.server(version, false);
        for _ in 0..2 {
            let begun = Instant::now();
            ENGINE.create_data(&server).await.unwrap();
            eprintln!("{version}: initdb {:?}", begun.elapsed());
            let begun = Instant::now();
            ENGINE.start(&server).await.unwrap();
            eprintln!("{version}: start {:?}", begun.elapsed());
        }
        assert!(ENGINE.probe(&server, true).await.unwrap().starts_with(&version[..3]));
        let conn = own(&server, "postgres").await;
        assert_eq!(rows(&conn, "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'").await, ["coffer"]);
        assert_eq!(rows(&conn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'coffer'").await, [""]);
        let settings = "SELECT concat_ws(',', current_setting('wal_level'), current_setting('data_checksums'), \
                        current_setting('password_encryption'), current_setting('log_statement'), \
                        current_setting('log_min_error_statement'), current_setting('ssl'), \
                        current_setting('server_encoding'), current_setting('fsync'))";
        assert_eq!(rows(&conn, settings).await, ["logical,on,scram-sha-256,none,panic,on,UTF8,on"]);
        for least in ["max_wal_senders", "max_replication_slots"] {
            let set = rows(&conn, &format!("SHOW {least}")).await;
            assert!(set[0].parse::<u32>().unwrap() >= 10, "{least}");
        }
        // By TCP none of our accounts comes in, and nobody to the server's own databases.
        let ours =
            [("coffer", "postgres"), ("coffer_copy", "x"), ("coffer_repl", "postgres"), ("app", "template1")];
        for (name, database) in ours {
            let Err(error) = tenant(&server, name, "x", database).await else { panic!("{name} came in") };
            assert_eq!(state(&error), "28000", "{name}: {error:?}");
        }
        // Who follows and who looks come to a tenant's database, when they are there.
        for name in ["coffer_repl", "coffer_look"] {
            let Err(error) = tenant(&server, name, "x", "x").await else { panic!("{name} came in") };
            assert_eq!(state(&error), "28P01", "{name}: {error:?}");
        }
        // By the socket nobody but us: the peer is who it is.
        let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
        let stream = server.runtime.connect(server.generation, &layout).await.unwrap();
        let mut other = tokio_postgres::Config::new();
        other.user("app").dbname("postgres").password("x");
        let Err(error) = other.connect_raw(stream, tokio_postgres::NoTls).await else { panic!("came in") };
        assert_eq!(state(&error), "28000");
        // Probing works on a server that is fenced.
        ENGINE.start(&fenced(&server)).await.unwrap();
        ENGINE.probe(&fenced(&server), true).await.unwrap();
        eprintln!("{version}: {} bytes", ENGINE.taken(&server).await.unwrap().content);
        let begun = Instant::now();
        ENGINE.stop(&server).await.unwrap();
        eprintln!("{version}: stop with a session open {:?}", begun.elapsed());
        assert!(matches!(ENGINE.probe(&server, false).await, Err(Error::NoAnswer(_))));
        ENGINE.drop_data(&server).await.unwrap();
        ENGINE.drop_data(&server).await.unwrap();
        assert!(!house.state(&server).exists());
        assert!(!layout.socket.parent().unwrap().exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_their_databases_and_nothing_more() {
    let house = House::new();
    for version in VERSIONS {
        let server = started(&house, version).await;
        let odd = "o'd\"d %_name ü";
        let databases = [
            coffer::domain::tenant::NewDatabase {
                name: "shop".to_owned(),
                character_set: Some("UTF8".to_owned()),
                collate: Some("C".to_owned()),
            },
            database(odd),
            database("empty"),
        ];
        let users = [
            user("app", "app's wörd", &["shop", odd]),
            user("Second", "x", &["shop"]),
            user("idle", "y", &[]),
        ];
        for _ in 0..2 {
            ENGINE.create_content(&server, &databases, &users).await.unwrap();
        }
        let names: Vec<String> =
            ENGINE.databases(&server).await.unwrap().into_iter().map(|database| database.name).collect();
        assert_eq!(names, ["empty", odd, "shop"]);
        let listed: Vec<(String, String, Vec<String>)> = ENGINE
            .users(&server)
            .await
            .unwrap()
            .into_iter()
            .map(|user| (user.name, user.host, user.databases))
            .collect();
        let any = || "%".to_owned();
        assert_eq!(
            listed,
            [
                ("Second".to_owned(), any(), vec!["shop".to_owned()]),
                ("app".to_owned(), any(), vec![odd.to_owned(), "shop".to_owned()]),
                ("idle".to_owned(), any(), vec![]),
            ]
        );
        // SCRAM lets in who has the password, and nobody else.
        for (name, password) in [("app", "app's word"), ("app", ""), ("nobody", "x")] {
            let Err(error) = tenant(&server, name, password, "shop").await else { panic!("{name} came in") };
            assert!(error.code().is_none_or(|code| code.code() == "28P01"), "{name}: {error:?}");
        }
        let app = tenant(&server, "app", "app's wörd", "shop").await.unwrap();
        for sql in [
            "CREATE TABLE goods (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)",
            "INSERT INTO goods (name) VALUES ('a'), ('ü')",
            "CREATE SCHEMA own",
            "CREATE FUNCTION own.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        ] {
            app.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        // Another user of the database has rights on what the first one made.
        let second = tenant(&server, "Second", "x", "shop").await.unwrap();
        second
            .batch_execute("INSERT INTO goods (name) VALUES ('b'); CREATE TABLE more (id int)")
            .await
            .unwrap();
        app.batch_execute("INSERT INTO more VALUES (1)").await.unwrap();
        for (name, password, database) in
            [("Second", "x", odd), ("idle", "y", "shop"), ("app", "app's wörd", "empty")]
        {
            let Err(error) = tenant(&server, name, password, database).await else {
                panic!("{name} came in")
            };
            assert_eq!(state(&error), "42501", "{name}: {error:?}");
        }
        // No way up, and no way out.
        for sql in [
            "ALTER ROLE app SUPERUSER",
            "ALTER ROLE app REPLICATION",
            "ALTER ROLE app CREATEROLE",
            "ALTER ROLE app BYPASSRLS",
            "ALTER ROLE coffer PASSWORD 'x'",
            "CREATE ROLE another",
            "CREATE DATABASE another",
            "GRANT pg_write_server_files TO app",
            "GRANT pg_execute_server_program TO app",
            "GRANT coffer TO app",
            "SET ROLE coffer",
            "SET SESSION AUTHORIZATION coffer",
            "ALTER SYSTEM SET log_statement = 'all'",
            "SET log_statement = 'all'",
            "SET log_min_messages = 'debug5'",
            "COPY goods TO '/tmp/out'",
            "COPY goods FROM '/etc/passwd'",
            "COPY goods FROM PROGRAM 'id'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT pg_read_binary_file('postgresql.auto.conf')",
            "SELECT pg_ls_dir('.')",
            "SELECT lo_import('/etc/passwd')",
            "SELECT pg_reload_conf()",
            "SELECT pg_create_physical_replication_slot('x')",
            "SELECT * FROM pg_authid",
            "SELECT * FROM pg_hba_file_rules",
            "CREATE FUNCTION c() RETURNS int LANGUAGE c AS 'x'",
            "CREATE EXTENSION dblink",
            "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
            "DROP DATABASE postgres",
        ] {
            let state = refused(&app, sql).await;
            // Rights, or (copying to and from files, on its way) that there is no such thing for it.
            assert!(["42501", "42704", "0A000"].contains(&&*state), "{version} {sql}: {state}");
        }
        // A replication connection has no rule that lets it in.
        let replicating = tokio::process::Command::new(format!(
            "{}/postgresql-{}/bin/psql",
            crate::harness::roles::engines().display(),
            &version[..2]
        ))
        .env("PGPASSWORD", "app's wörd")
        .args(["-c", "IDENTIFY_SYSTEM", "-d"])
        .arg(format!(
            "host={} user=app dbname=shop replication=true",
            coffer::domain::generation::private_address(server.generation)
        ))
        .output()
        .await
        .unwrap();
        assert!(!replicating.status.success());
        // What an owner sets in its database changes nothing of what we do there.
        for sql in [
            "ALTER DATABASE shop SET search_path = own",
            "ALTER DATABASE shop SET role = 'app'",
            "ALTER DATABASE shop SET default_transaction_read_only = on",
            "ALTER DATABASE shop SET standard_conforming_strings = off",
            "ALTER DATABASE shop SET statement_timeout = 1",
            "ALTER DATABASE shop SET local_preload_libraries = 'nothing'",
            "ALTER DATABASE shop SET quote_all_identifiers = on",
            "ALTER DATABASE shop SET idle_session_timeout = 1",
        ] {
            app.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        ENGINE.create_content(&server, &databases, &users).await.unwrap();
        // A password that a session prints on its own wish, or a refused statement holds, is not in the log.
        app.batch_execute(
            "SET debug_print_parse = on; SET debug_print_plan = on; SET client_min_messages = debug5; \
             ALTER ROLE app PASSWORD 'hunter2-a'",
        )
        .await
        .unwrap();
        refused(&app, "ALTER ROLE app PASSWORD 'hunter2-b' NONSENSE").await;
        refused(&app, "SELECT 'hunter2-c'::int").await;
        let text = log(&house, &server);
        assert!(!text.contains("hunter2") && !text.contains("SCRAM-SHA-256$"), "{text}");
        let Err(error) = ENGINE
            .create_content(
                &server,
                &[coffer::domain::tenant::NewDatabase {
                    name: "latin".to_owned(),
                    character_set: Some("LATIN1".to_owned()),
                    collate: None,
                }],
                &[],
            )
            .await
        else {
            panic!("made");
        };
        assert!(matches!(&error, Error::State { state, .. } if state == "22023"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_up_again_with_what_it_had() {
    let house = House::new();
    let server = started(&house, "15.0").await;
    let postmaster = || processes(&format!("config_file={}", house.state(&server).display()));
    let first = postmaster();
    assert_eq!(first.len(), 1);
    let other = Arc::new(ProcessRuntime::new(config(house.folder.path())).unwrap());
    let adopted = Server { runtime: other, ..server.clone() };
    // Many at once, also from a second runtime, as another process would have it.
    let starts = (0..6).map(|n| {
        let server = if n % 2 == 0 { server.clone() } else { adopted.clone() };
        tokio::spawn(async move { ENGINE.start(&server).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    assert_eq!(postmaster(), first);
    std::fs::remove_file(house.state(&server).join("server.json")).unwrap();
    assert_eq!(adopted.runtime.observe(server.generation).await.unwrap(), Observed::Running);
    assert!(matches!(adopted.runtime.drop_volume(server.generation).await, Err(runtimes::Error::InUse)));
    ENGINE.create_content(&server, &[database("kept")], &[user("app", "x", &["kept"])]).await.unwrap();
    let app = tenant(&server, "app", "x", "kept").await.unwrap();
    app.batch_execute("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)").await.unwrap();
    // A session that does not look whether its server is still there.
    let busy = tokio::spawn(async move {
        app.batch_execute("DO $$ BEGIN FOR i IN 1..1000000000 LOOP END LOOP; END $$").await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    kill(first[0]);
    until("the killed server is seen stopped", async || {
        server.runtime.observe(server.generation).await.unwrap() == Observed::Stopped
    })
    .await;
    let begun = Instant::now();
    ENGINE.start(&adopted).await.unwrap();
    eprintln!("start after a kill {:?}", begun.elapsed());
    busy.await.unwrap().unwrap_err();
    assert_ne!(postmaster(), first);
    let app = tenant(&server, "app", "x", "kept").await.unwrap();
    assert_eq!(rows(&app, "SELECT count(*) FROM t").await, ["1000"]);
    // Killed and deleted at once: nothing of it is left.
    kill(postmaster()[0]);
    ENGINE.drop_data(&server).await.unwrap();
    assert!(processes(&house.state(&server).display().to_string()).is_empty());
    assert!(!house.state(&server).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why() {
    let house = House::new();
    let server = house.server("17.0", false);
    server.runtime.ensure_volume(server.generation, None).await.unwrap();
    let begun = Instant::now();
    let error = ENGINE.start(&server).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let Error::NoAnswer(text) = &error else { panic!("{error}") };
    assert!(text.contains("ended") && text.contains("could not access directory"), "{text}");
    // Data of another version is refused, and left as it is.
    let old = started(&house, "15.0").await;
    ENGINE.stop(&old).await.unwrap();
    let error = ENGINE.start(&Server { version: "17.0".to_owned(), ..old.clone() }).await.unwrap_err();
    let Error::NoAnswer(text) = &error else { panic!("{error}") };
    assert!(text.contains("initialized by PostgreSQL version 15"), "{text}");
    ENGINE.start(&old).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_refuses_every_tenant_and_outlives_a_restart() {
    let house = House::new();
    let server = started(&house, "15.0").await;
    ENGINE.create_content(&server, &[database("shop")], &[user("app", "x", &["shop"])]).await.unwrap();
    tenant(&server, "app", "x", "shop").await.unwrap();
    let fenced = fenced(&server);
    ENGINE.start(&fenced).await.unwrap();
    let refused = async || state(&tenant(&server, "app", "x", "shop").await.expect_err("refused"));
    assert_eq!(refused().await, "28000");
    ENGINE.stop(&fenced).await.unwrap();
    ENGINE.start(&fenced).await.unwrap();
    assert_eq!(refused().await, "28000");
    ENGINE.start(&server).await.unwrap();
    tenant(&server, "app", "x", "shop").await.unwrap();
}

/// Content that has met trouble elsewhere, made by the tenant's own account.
async fn fill(server: &Server) -> Vec<String> {
    let databases = [database("shop"), database("o'd\"d %_name ü")];
    let users = [user("app", "x", &["shop", "o'd\"d %_name ü"]), user("other", "y", &["shop"])];
    ENGINE.create_content(server, &databases, &users).await.unwrap();
    let app = tenant(server, "app", "x", "shop").await.unwrap();
    for sql in [
        "CREATE TYPE kind AS ENUM ('a', 'b')",
        "CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0)",
        "CREATE TABLE goods (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'it''s', \
         price price DEFAULT 1.5, kind kind DEFAULT 'b', data jsonb, raw bytea, made timestamptz DEFAULT now(), \
         twice numeric GENERATED ALWAYS AS (price * 2) STORED, tags text[], CHECK (name <> ''))",
        "CREATE UNIQUE INDEX by_name ON goods (lower(name))",
        "CREATE INDEX by_tags ON goods USING gin (tags)",
        "CREATE TABLE sales (id serial PRIMARY KEY, good bigint REFERENCES goods ON DELETE CASCADE, day date) ",
        "CREATE TABLE parts (id int, y int, PRIMARY KEY (id, y)) PARTITION BY RANGE (y)",
        "CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (2000)",
        "CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM (2000) TO (MAXVALUE)",
        "CREATE UNLOGGED TABLE quick (n int)",
        "CREATE VIEW cheap AS SELECT id, name, price FROM goods g WHERE g.price < 10",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM goods",
        "CREATE FUNCTION plus_one(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + 1'",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.made := now(); RETURN NEW; END $$",
        "CREATE TRIGGER stamped BEFORE UPDATE ON goods FOR EACH ROW EXECUTE FUNCTION stamp()",
        "CREATE SEQUENCE numbers START 100 INCREMENT 5",
        "SELECT nextval('numbers')",
        "CREATE EXTENSION pgcrypto",
        "CREATE EXTENSION hstore",
        "ALTER TABLE goods ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY all_of_it ON goods USING (true)",
        "GRANT SELECT ON cheap TO other",
        "COMMENT ON TABLE goods IS 'the ''goods'''",
        "INSERT INTO goods (name, price, data, raw, tags) SELECT 'good ' || n, n % 20, '{\"a\": 1}', '\\x00ff', ARRAY['x', n::text] \
         FROM generate_series(1, 2000) n",
        "INSERT INTO sales (good, day) SELECT id, '2024-02-29' FROM goods LIMIT 100",
        "INSERT INTO parts VALUES (1, 1999), (2, 2001)",
        "SELECT lo_create(0)",
        "ALTER DATABASE shop SET work_mem = '3MB'",
        "ALTER ROLE app SET search_path = public",
    ] {
        app.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let odd = tenant(server, "app", "x", "o'd\"d %_name ü").await.unwrap();
    odd.batch_execute(
        "CREATE TABLE \"t'a\"\"b ü\" (\"c ö\" int PRIMARY KEY); INSERT INTO \"t'a\"\"b ü\" VALUES (1)",
    )
    .await
    .unwrap();
    sums(server).await
}

/// What the tables hold, as their user sees it.
async fn sums(server: &Server) -> Vec<String> {
    let app = tenant(server, "app", "x", "shop").await.unwrap();
    let mut found = Vec::new();
    for table in ["goods", "sales", "parts", "cheap", "counted"] {
        found.extend(rows(&app, &format!("SELECT '{table}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t")).await);
    }
    found.extend(rows(&app, "SELECT nextval('numbers') > 100, plus_one(1)").await);
    found
}

/// Path, size, time of change and count of links of every file, and what is in it.
fn files(folder: &std::path::Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = std::fs::symlink_metadata(&path).unwrap();
            if facts.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read(&path).unwrap();
            let sum =
                text.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            found.push(format!(
                "{} {} {} {} {sum}",
                path.display(),
                facts.len(),
                facts.nlink(),
                facts.mtime_nsec()
            ));
        }
    }
    found.sort();
    found
}

async fn goes_in_place(from: &str, to: &str) {
    let house = House::new();
    let source = started(&house, from).await;
    let mut before = fill(&source).await;
    let candidate = house.server(to, true);
    let findings = ENGINE.pre_check(&source, &candidate, Strategy::InPlace).await.unwrap();
    assert!(findings.iter().all(|finding| !finding.blocks), "{findings:#?}");
    assert!(!house.state(&candidate).exists(), "the look left something");
    let told: coffer::engines::OnProgress = Arc::new(|line| eprintln!("  {line}"));
    let begun = Instant::now();
    for _ in 0..2 {
        eprintln!("{}", ENGINE.prepare_in_place(&source, &candidate, Arc::clone(&told)).await.unwrap());
    }
    eprintln!("{from} to {to}: prepared in {:?}", begun.elapsed());
    // What is written now reaches the copy, too.
    let app = tenant(&source, "app", "x", "shop").await.unwrap();
    app.batch_execute("INSERT INTO sales (good, day) SELECT id, '2025-01-01' FROM goods LIMIT 50")
        .await
        .unwrap();
    before = {
        let _ = before;
        sums(&source).await
    };
    let open = tenant(&source, "app", "x", "shop").await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO sales (good) VALUES (1)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let oldest = ENGINE.oldest_transaction(&source, Duration::from_secs(1)).await.unwrap().unwrap();
    assert!(oldest.contains("'app'"), "{oldest}");

    let held = Instant::now();
    let fenced_source = fenced(&source);
    assert!(ENGINE.fence(&fenced_source, Duration::from_millis(200)).await.unwrap() >= 2);
    assert_eq!(ENGINE.fence(&fenced_source, Duration::ZERO).await.unwrap(), 0);
    assert!(open.batch_execute("COMMIT").await.is_err());
    assert_eq!(state(&tenant(&source, "app", "x", "shop").await.expect_err("fenced")), "28000");
    let there = ENGINE.inventory(&fenced_source).await.unwrap();
    let proof = ENGINE.stop_clean(&fenced_source).await.unwrap();
    eprintln!("{proof}; fenced and stopped after {:?}", held.elapsed());
    assert!(proof.starts_with("shut down,"), "{proof}");
    let untouched = files(&house.state(&source).join("data"));
    eprintln!("{}", ENGINE.convert_in_place(&fenced_source, &candidate, Arc::clone(&told)).await.unwrap());
    eprintln!("converted after {:?}", held.elapsed());
    ENGINE.start(&candidate).await.unwrap();
    assert!(ENGINE.convert(&candidate).await.unwrap());
    assert!(ENGINE.probe(&candidate, true).await.unwrap().starts_with(&to[..3]));
    let here = ENGINE.inventory(&candidate).await.unwrap();
    eprintln!("ready after {:?}; {} objects", held.elapsed(), here.len());
    crate::engine_servers::compare(&there, &here);
    assert!(there.len() > 60, "{there:#?}");
    assert_eq!(state(&tenant(&candidate, "app", "x", "shop").await.expect_err("fenced")), "28000");
    ENGINE.start(&Server { settings: source.settings.clone(), ..candidate.clone() }).await.unwrap();
    assert_eq!(sums(&candidate).await, before);
    let app = tenant(&candidate, "app", "x", "shop").await.unwrap();
    app.batch_execute("INSERT INTO goods (name) VALUES ('new'); CREATE TABLE after (n int)").await.unwrap();
    assert!(rows(&app, "SELECT n_distinct FROM pg_stats WHERE tablename = 'goods'").await.len() > 3);
    let conn = own(&candidate, "postgres").await;
    // The thorough look at the tables goes on in the background, with an account of its own.
    until("no account but ours is left", async || {
        rows(&conn, "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer'").await == ["coffer"]
    })
    .await;
    assert_eq!(rows(&conn, "SELECT count(*) FROM pg_replication_slots").await, ["0"]);
    assert_eq!(files(&house.state(&source).join("data")), untouched, "the old folder was touched");
    ENGINE.tidy(&candidate).await.unwrap();
    ENGINE.tidy(&candidate).await.unwrap();
    let data = house.state(&candidate).join("data");
    let names: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["cluster"]);
    // The way back: the old server has what it had.
    ENGINE.stop(&candidate).await.unwrap();
    ENGINE.start(&source).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();
    assert_eq!(sums(&source).await[..5], before[..5]);
    let text = log(&house, &source) + &log(&house, &candidate);
    assert!(!text.contains("SCRAM-SHA-256$"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_15_to_17() {
    goes_in_place("15.0", "17.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_17_to_18() {
    goes_in_place("17.0", "18.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_15_to_18() {
    goes_in_place("15.0", "18.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_13_to_15() {
    if is_there("13", "in_place_from_13_to_15") {
        goes_in_place("13.0", "15.0").await;
    }
}

/// Two builds of one series: the copy is the new server's data.
#[tokio::test(flavor = "multi_thread")]
async fn in_place_inside_a_series() {
    goes_in_place("17.0", "17.99").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_names_what_is_in_the_way() {
    let house = House::new();
    let source = started(&house, "15.0").await;
    let databases = [database("shop"), database("closed")];
    ENGINE.create_content(&source, &databases, &[user("app", "x", &["shop"])]).await.unwrap();
    let candidate = house.server("17.0", true);
    // First: it waits for the end of every transaction.
    let conn = own(&source, "postgres").await;
    rows(&conn, "SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')").await;
    let app = tenant(&source, "app", "x", "shop").await.unwrap();
    app.batch_execute(
        "CREATE TABLE acls (id int, who aclitem); CREATE TYPE pair AS (f regproc, n int); CREATE TABLE procs (p pair[]); \
         CREATE TABLE fine (r regclass)",
    )
    .await
    .unwrap();
    for sql in ["BEGIN", "INSERT INTO fine VALUES ('fine')", "PREPARE TRANSACTION 'two phases'"] {
        app.batch_execute(sql).await.unwrap();
    }
    // Every session would begin as its owner says; none of ours does.
    for setting in
        ["role = 'app'", "default_transaction_read_only = on", "local_preload_libraries = 'nothing'"]
    {
        app.batch_execute(&format!("ALTER DATABASE shop SET {setting}")).await.unwrap();
    }
    conn.batch_execute("ALTER DATABASE closed ALLOW_CONNECTIONS false").await.unwrap();
    // Whoever is in it stays.
    app.batch_execute("ALTER DATABASE shop CONNECTION LIMIT 1").await.unwrap();
    let findings = ENGINE.pre_check(&source, &candidate, Strategy::InPlace).await.unwrap();
    let named: Vec<&str> = findings.iter().filter(|f| f.blocks).map(|f| f.object.as_str()).collect();
    assert_eq!(
        named,
        [
            "transaction two phases",
            "replication slot theirs",
            "database closed",
            "database shop",
            "shop: public.acls.who",
            "shop: public.procs.p"
        ],
        "{findings:#?}"
    );
    assert!(!house.state(&candidate).exists(), "the look left something");
    // Backwards is no upgrade.
    let (newer, older) = (started(&house, "17.0").await, house.server("15.0", true));
    assert!(
        ENGINE
            .pre_check(&newer, &older, Strategy::InPlace)
            .await
            .unwrap()
            .iter()
            .any(|f| f.object == "the target" && f.blocks)
    );
    for sql in [
        "ROLLBACK PREPARED 'two phases'",
        "DROP TABLE acls, procs",
        "ALTER DATABASE shop RESET ALL",
        "ALTER DATABASE shop CONNECTION LIMIT 2",
    ] {
        app.batch_execute(sql).await.unwrap();
    }
    conn.batch_execute("ALTER DATABASE closed ALLOW_CONNECTIONS true").await.unwrap();
    rows(&conn, "SELECT pg_drop_replication_slot('theirs')").await;
    let findings = ENGINE.pre_check(&source, &candidate, Strategy::InPlace).await.unwrap();
    assert!(findings.iter().all(|finding| !finding.blocks), "{findings:#?}");
    // The instance's account came in for the look only.
    let names = std::fs::read_to_string(house.state(&source).join("config/ident.conf")).unwrap();
    assert_eq!(names.lines().filter(|line| line.starts_with("coffer ")).count(), 1, "{names}");
}

/// A conversion that was ended in the middle, a copy that was killed, and a server that was killed while it was fenced.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_ended_in_the_middle_is_done_again() {
    let house = House::new();
    let source = started(&house, "15.0").await;
    fill(&source).await;
    let before = sums(&source).await;
    let candidate = house.server("17.0", true);
    let quiet: coffer::engines::OnProgress = Arc::new(|_| {});
    ENGINE.prepare_in_place(&source, &candidate, Arc::clone(&quiet)).await.unwrap();
    let copy = processes(&format!("{}/config/copy.conf", house.state(&candidate).display()));
    kill(copy[0]);
    let fenced_source = fenced(&source);
    ENGINE.fence(&fenced_source, Duration::ZERO).await.unwrap();
    let server = processes(&format!("config_file={}", house.state(&source).display()));
    kill(server[0]);
    let proof = ENGINE.stop_clean(&fenced_source).await.unwrap();
    assert!(proof.starts_with("shut down,"), "{proof}");
    // The first try is dropped while it works, at any place.
    for patience in [300, 1500, 2500] {
        let converting = ENGINE.convert_in_place(&fenced_source, &candidate, Arc::clone(&quiet));
        if tokio::time::timeout(Duration::from_millis(patience), converting).await.is_ok() {
            break;
        }
        eprintln!("dropped after {patience} ms");
    }
    eprintln!("{}", ENGINE.convert_in_place(&fenced_source, &candidate, Arc::clone(&quiet)).await.unwrap());
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.convert(&candidate).await.unwrap();
    ENGINE.start(&Server { settings: source.settings.clone(), ..candidate.clone() }).await.unwrap();
    assert_eq!(sums(&candidate).await[..5], before[..5]);
}
