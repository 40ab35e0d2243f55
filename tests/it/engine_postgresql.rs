//! The PostgreSQL engine on the process runtime, with real servers.
//!
//! Needs the engines of the set-up (`COFFER_ENGINES`, else `/var/cache/coffer/engines`) and, as root, its accounts.
//! Leaves no process and no folder behind, also when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer::engines::{Engine, Error, Server, Settings};
use coffer::runtimes::process::ProcessRuntime;
use coffer::runtimes::{self, Observed};

use crate::engine_servers::{House, config, kill, processes, until};
use crate::postgres_servers::{
    ENGINE, VERSIONS, database, log, own, refused, rows, started, state, tenant, user,
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
        for (name, database) in [("coffer", "postgres"), ("coffer_repl", "x"), ("app", "template1")] {
            let Err(error) = tenant(&server, name, "x", database).await else { panic!("{name} came in") };
            assert_eq!(state(&error), "28000", "{name}: {error:?}");
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
        eprintln!("{version}: {} bytes", ENGINE.used_bytes(&server).await.unwrap());
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
            std::env::var("COFFER_ENGINES").unwrap_or_else(|_| "/var/cache/coffer/engines".to_owned()),
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
    assert!(text.contains("ended") && text.contains("not a valid data directory"), "{text}");
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
