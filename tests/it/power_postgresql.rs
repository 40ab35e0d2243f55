//! Nothing that a tenant wrote runs with more rights than the tenant has: twins and replicas of PostgreSQL.
//!
//! Needs the engines of the set-up (`COFFER_ENGINES`, else `/var/cache/coffer/engines`) and, as root, its accounts.
//! Leaves no process and no folder behind, also when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine as _, Following, OnProgress, Server, Settings};
use tokio::task::JoinSet;

use crate::canary;
use crate::engine_servers::{House, until};
use crate::postgres_servers::{ENGINE, database, own, own_with, refused, rows, started, state, tenant, user};

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

fn with(server: &Server, read_only: bool, readers: bool) -> Server {
    let settings = Settings { read_only, readers, events: !read_only, ..server.settings.clone() };
    Server { settings, ..server.clone() }
}

/// A source with the database `shop` of `app`'s, and `clerk` beside it.
async fn shop(house: &House, version: &str) -> Server {
    let source = started(house, version).await;
    let users = [user("app", "a", &["shop"]), user("clerk", "c", &["shop"])];
    ENGINE.create_content(&source, &[database("shop")], &users).await.unwrap();
    source
}

async fn empty(house: &House, version: &str, readers: bool) -> Server {
    let candidate = with(&house.server(version, true), true, readers);
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    candidate
}

async fn reaches(source: &Server, candidate: &Server) {
    let position = ENGINE.position(source).await.unwrap();
    let reached = ENGINE.reached(candidate, &position, Duration::from_secs(60)).await;
    let log = candidate.runtime.log_end(candidate.generation, 4096).await.unwrap();
    assert!(matches!(reached, Ok(true)), "{reached:?}: {log}");
}

async fn same(source: &Server, candidate: &Server) {
    let (theirs, ours) = (
        ENGINE.inventory_while_serving(source).await.unwrap(),
        ENGINE.inventory_while_serving(candidate).await.unwrap(),
    );
    let only = |here: &[String], there: &[String]| -> Vec<String> {
        here.iter().filter(|line| !there.contains(line)).cloned().collect()
    };
    assert_eq!(only(&theirs, &ours), only(&ours, &theirs));
}

/// Seeds and feeds a candidate from a source that is full of canaries, and cuts it.
async fn a_canary(from: &str, to: &str, readers: bool) {
    let house = House::new();
    let source = shop(&house, from).await;
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    canary::plant(&app).await;
    assert_eq!(canary::traces(&source, &["shop"]).await, Vec::<String>::new());
    let found = ENGINE.pre_check(&source, &house.server(to, true), Strategy::Twin).await.unwrap();
    let candidate = empty(&house, to, readers).await;
    assert!(found.iter().all(|finding| !finding.blocks), "{found:?}");
    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), Vec::new());

    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    assert!(canary::calls(&candidate).await > 0, "nothing was evaluated: the canary is deaf");
    assert_eq!(canary::traces(&candidate, &["shop"]).await, Vec::<String>::new());
    if readers {
        nothing_is_open(&candidate).await;
    }
    ENGINE.follow(&source, &candidate, None).await.unwrap();
    reaches(&source, &candidate).await;
    app.batch_execute(canary::CHANGES).await.unwrap_or_else(|error| panic!("{error:?}"));
    reaches(&source, &candidate).await;
    assert_eq!(ENGINE.following(&candidate).await.unwrap(), Following::Running);
    let workers = "SELECT DISTINCT a.usename FROM pg_stat_activity a WHERE a.backend_type ~ '^logical replication (apply|tablesync|parallel)'";
    assert_eq!(rows(&own(&candidate, "postgres").await, workers).await, ["coffer_apply"]);
    // What is evaluated as the owner may change the owner's own database: the proof names that, and an upgrade is undone.
    let owners = ["setting all roles in shop", "shop: rights on DATABASE"];
    let held = async |server: &Server| -> Vec<String> {
        let lines = ENGINE.inventory_while_serving(server).await.unwrap();
        lines.into_iter().filter(|line| !owners.iter().any(|word| line.starts_with(word))).collect()
    };
    assert_eq!(held(&source).await, held(&candidate).await);
    let compared = ENGINE.compare_rows(&source, &candidate, silent()).await.unwrap();
    assert_eq!(compared.differing, Vec::<String>::new());
    for server in [&source, &candidate] {
        assert_eq!(canary::traces(server, &["shop"]).await, Vec::<String>::new());
    }
    drop(app);
    let fenced = with(&source, true, false);
    if !readers {
        ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
        reaches(&source, &candidate).await;
        ENGINE.carry_the_rest(&fenced, &candidate).await.unwrap();
    }
    let open = with(&candidate, false, false);
    ENGINE.cut(if readers { &open } else { &candidate }, Some(&source)).await.unwrap();
    ENGINE.start(&open).await.unwrap();
    let app = tenant(&open, "app", "a", "shop").await.unwrap();
    app.batch_execute(
        "SELECT public.canary(); INSERT INTO t_trigger VALUES (100, 1); SELECT * FROM v_canary",
    )
    .await
    .unwrap_or_else(|error| panic!("{error:?}"));
    for server in [&source, &open] {
        assert_eq!(canary::traces(server, &["shop"]).await, Vec::<String>::new());
    }
    ENGINE.forget_follower(&source).await.unwrap();
    for server in [&source, &open] {
        let left = "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer_' UNION ALL SELECT evtname FROM pg_event_trigger";
        assert_eq!(rows(&own(server, "shop").await, left).await, Vec::<String>::new());
    }
}

/// Whatever ran as the keeper while the content was made, opened nothing: not to tenants, and not to who knows its password.
async fn nothing_is_open(candidate: &Server) {
    let us = own(candidate, "postgres").await;
    let keepers = "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer_keeper_' AND NOT rolcanlogin";
    let keepers = rows(&us, keepers).await;
    assert_eq!(keepers.len(), 1);
    assert!(tenant(candidate, &keepers[0], "evil", "shop").await.is_err());
    let left = "SELECT rolname FROM pg_authid WHERE rolname ~ '^coffer_keeper_' AND rolpassword IS NOT NULL UNION ALL \
                SELECT setconfig::text FROM pg_db_role_setting WHERE setconfig::text ~ 'work_mem=64kB|role=app'";
    assert_eq!(rows(&us, left).await, Vec::<String>::new());
    let app = tenant(candidate, "app", "a", "shop").await.unwrap();
    app.batch_execute("SET default_transaction_read_only = off; SET transaction_read_only = off")
        .await
        .unwrap();
    for sql in [
        "INSERT INTO public.t_check VALUES (500, 500)",
        "SELECT public.canary()",
        "SELECT public.definer(1)",
        "CREATE TABLE public.mine (a int)",
    ] {
        let state = refused(&app, sql).await;
        assert!(matches!(&*state, "42501" | "25006"), "{sql}: {state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_a_twin_of_15_has_no_power() {
    a_canary("15.0", "17.0", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_a_replica_of_17_has_no_power() {
    a_canary("17.0", "18.0", true).await;
}

/// The same in place: the engine's own conversion runs as a superuser, and meets none of it. The statistics afterwards call
/// the tenant's functions as the tables' owner, who may change its own database: so it is looked at power alone.
async fn a_canary_in_place(from: &str, to: &str) {
    let house = House::new();
    let source = shop(&house, from).await;
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    canary::plant(&app).await;
    drop(app);
    let candidate = house.server(to, true);
    let found = ENGINE.pre_check(&source, &candidate, Strategy::InPlace).await.unwrap();
    assert!(found.iter().all(|finding| !finding.blocks), "{found:?}");
    assert_eq!(canary::traces(&source, &["shop"]).await, Vec::<String>::new());
    ENGINE.prepare_in_place(&source, &candidate, silent()).await.unwrap();
    let fenced = with(&source, true, false);
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    ENGINE.stop_clean(&fenced).await.unwrap();
    ENGINE.convert_in_place(&fenced, &candidate, silent()).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.convert(&candidate).await.unwrap();
    let databases = ["shop", "template1"];
    assert_eq!(canary::traces(&candidate, &databases).await, Vec::<String>::new());
    let open = with(&candidate, false, false);
    ENGINE.start(&open).await.unwrap();
    let app = tenant(&open, "app", "a", "shop").await.unwrap();
    // The server's own statistics call it meanwhile, and what both change is refused to one.
    until("the tenant calls it", async || {
        let used = "SELECT public.canary(); INSERT INTO t_trigger VALUES (100, 1); SELECT * FROM v_canary; REFRESH MATERIALIZED VIEW mv";
        match app.batch_execute(used).await {
            Ok(()) => true,
            Err(error) if crate::postgres_servers::state(&error) == "XX000" => false,
            Err(error) => panic!("{error:?}"),
        }
    })
    .await;
    assert_eq!(canary::traces(&open, &databases).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_place_of_15_has_no_power() {
    a_canary_in_place("15.0", "17.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_place_of_17_has_no_power() {
    a_canary_in_place("17.0", "18.0").await;
}

/// What the tenant does in a loop beside us: names change hands between any two statements.
const LOOPS: &[&str] = &[
    "BEGIN; ALTER SEQUENCE s0 RENAME TO x0; ALTER VIEW r0 RENAME TO s0; ALTER SEQUENCE x0 RENAME TO r0; COMMIT; \
     BEGIN; ALTER SEQUENCE r0 RENAME TO x0; ALTER VIEW s0 RENAME TO r0; ALTER SEQUENCE x0 RENAME TO s0; COMMIT",
    "BEGIN; ALTER SEQUENCE s1 RENAME TO x1; ALTER TABLE r1 RENAME TO s1; ALTER SEQUENCE x1 RENAME TO r1; COMMIT; \
     BEGIN; ALTER SEQUENCE r1 RENAME TO x1; ALTER TABLE s1 RENAME TO r1; ALTER SEQUENCE x1 RENAME TO s1; COMMIT",
    "BEGIN; ALTER SCHEMA one RENAME TO x; ALTER SCHEMA two RENAME TO one; ALTER SCHEMA x RENAME TO two; COMMIT",
    "BEGIN; ALTER TABLE t0 RENAME TO x2; ALTER VIEW v0 RENAME TO t0; ALTER TABLE x2 RENAME TO v0; COMMIT; \
     BEGIN; ALTER TABLE v0 RENAME TO x2; ALTER VIEW t0 RENAME TO v0; ALTER TABLE x2 RENAME TO t0; COMMIT",
    "CREATE SCHEMA coffer; CREATE TABLE coffer.marker (id integer PRIMARY KEY, moved bigint NOT NULL); GRANT ALL ON SCHEMA coffer TO PUBLIC",
    "DROP TABLE IF EXISTS t9; CREATE TABLE t9 (id int PRIMARY KEY, v d DEFAULT 1); CREATE INDEX ON t9 (id) WHERE gb(1)",
];

const SWAPPED: &str = "CREATE SEQUENCE s0; CREATE VIEW r0 AS SELECT 1::bigint AS last_value, canary() AS is_called, 0::oid AS tableoid; \
    CREATE SEQUENCE s1; CREATE TABLE r1 (last_value d, is_called bool, PRIMARY KEY (last_value)); ALTER TABLE r1 ADD CHECK (gb(1)); \
    CREATE SCHEMA one; CREATE SCHEMA two; CREATE SEQUENCE one.s; CREATE VIEW two.s AS SELECT 1::bigint AS last_value, canary() AS is_called; \
    CREATE TABLE t0 (id int PRIMARY KEY); CREATE VIEW v0 AS SELECT 1 AS id, canary() AS x";

#[tokio::test(flavor = "multi_thread")]
async fn names_that_change_hands_give_no_power() {
    let house = House::new();
    let source = shop(&house, "15.0").await;
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    canary::plant(&app).await;
    app.batch_execute(SWAPPED).await.unwrap_or_else(|error| panic!("{error:?}"));
    // It is followed while it is quiet, so that there is something to detach.
    let candidate = empty(&house, "17.0", true).await;
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    ENGINE.follow(&source, &candidate, None).await.unwrap();
    reaches(&source, &candidate).await;

    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut loops = JoinSet::new();
    for sql in LOOPS {
        let (source, stop, rounds) = (source.clone(), Arc::clone(&stop), Arc::clone(&rounds));
        loops.spawn(async move {
            let app = tenant(&source, "app", "a", "shop").await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                let _ = app.batch_execute(sql).await;
                let _ = app.batch_execute("ROLLBACK").await;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    until("the loops run", async || rounds.load(Ordering::Relaxed) > 50).await;
    // Whether each of these ends well is the tenant's matter now: that it has no power of ours is not.
    for _ in 0..3 {
        for strategy in Strategy::ALL {
            let looked = ENGINE.pre_check(&source, &house.server("17.0", true), strategy).await;
            println!("pre-check: {:?}", looked.map(|found| found.len()).map_err(|e| e.to_string()));
        }
        let looked = ENGINE.inventory(&source).await;
        println!("inventory: {:?}", looked.map(|lines| lines.len()));
        println!(
            "the rest: {:?}",
            ENGINE.carry_the_rest(&source, &candidate).await.map_err(|e| e.to_string())
        );
        let compared = ENGINE.compare_rows(&source, &candidate, silent()).await;
        println!("rows: {:?}", compared.map(|found| found.tables).map_err(|e| e.to_string()));
    }
    let twin = empty(&house, "17.0", false).await;
    for _ in 0..2 {
        println!("seed: {:?}", ENGINE.seed(&source, &twin, silent()).await.map_err(|e| e.to_string()));
        println!("follow: {:?}", ENGINE.follow(&source, &twin, None).await.map_err(|e| e.to_string()));
        ENGINE.create_data(&twin).await.unwrap();
        ENGINE.start(&twin).await.unwrap();
    }
    println!(
        "stop: {:?}",
        ENGINE.cut(&with(&candidate, false, false), Some(&source)).await.map_err(|e| e.to_string())
    );
    stop.store(true, Ordering::Relaxed);
    while loops.join_next().await.is_some() {}
    for server in [&source, &candidate, &twin] {
        let databases: &[&str] = if server.generation == twin.generation { &[] } else { &["shop"] };
        assert_eq!(canary::traces(server, databases).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_schema_is_there_from_birth_and_no_other_is_taken_for_it() {
    let house = House::new();
    let source = shop(&house, "15.0").await;
    let us = own(&source, "shop").await;
    let ours = "SELECT nspowner::regrole || ' ' || has_schema_privilege('app', oid, 'USAGE') || ' ' || has_schema_privilege('app', oid, 'CREATE') \
                FROM pg_namespace WHERE nspname = 'coffer'";
    for place in ["shop", "template1", "postgres"] {
        assert_eq!(rows(&own(&source, place).await, ours).await, ["coffer false false"], "{place}");
    }
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    for sql in [
        "CREATE SCHEMA coffer",
        "DROP SCHEMA coffer",
        "ALTER SCHEMA coffer RENAME TO mine",
        "CREATE TABLE coffer.t (a int)",
        "CREATE SCHEMA mine; ALTER SCHEMA mine RENAME TO coffer",
        "CREATE TABLE t (a int); ALTER TABLE t SET SCHEMA coffer",
    ] {
        assert!(app.batch_execute(sql).await.is_err(), "{sql}");
    }

    // A server of an older build: the schema is made at its next start.
    us.batch_execute("DROP SCHEMA coffer").await.unwrap();
    own(&source, "postgres").await.batch_execute("DROP TABLE coffer.born").await.unwrap();
    ENGINE.start(&source).await.unwrap();
    assert_eq!(rows(&us, ours).await, ["coffer false false"]);

    // A tenant of one was faster: its schema is never used, and named.
    us.batch_execute("DROP SCHEMA coffer").await.unwrap();
    canary::plant(&app).await;
    app.batch_execute(
        "CREATE SCHEMA coffer; CREATE TABLE coffer.marker (id integer PRIMARY KEY, moved bigint NOT NULL); \
         CREATE TABLE coffer.rights (at integer PRIMARY KEY, it text NOT NULL); \
         GRANT ALL ON SCHEMA coffer TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA coffer TO PUBLIC; \
         CREATE TRIGGER marks BEFORE INSERT OR UPDATE OR DELETE ON coffer.marker FOR EACH ROW EXECUTE FUNCTION public.canary_fires()",
    )
    .await
    .unwrap();
    let before = rows(&us, "SELECT last_value FROM public.canary_calls").await;
    own(&source, "postgres").await.batch_execute("DROP TABLE coffer.born").await.unwrap();
    ENGINE.start(&source).await.unwrap();
    let found = ENGINE.pre_check(&source, &house.server("17.0", true), Strategy::Twin).await.unwrap();
    let candidate = empty(&house, "17.0", false).await;
    assert!(
        found.iter().any(|finding| finding.blocks && finding.object == "shop: schema coffer"),
        "{found:?}"
    );
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    let refused = ENGINE.follow(&source, &candidate, None).await.unwrap_err().to_string();
    assert!(refused.contains("ALTER SCHEMA coffer RENAME TO"), "{refused}");
    ENGINE.forget_follower(&source).await.unwrap();
    assert!(!ENGINE.position(&source).await.unwrap().0.contains("shop"));
    ENGINE.inventory(&source).await.unwrap();
    assert_eq!(rows(&us, "SELECT last_value FROM public.canary_calls").await, before);
    assert_eq!(rows(&us, "SELECT count(*) FROM coffer.marker").await, ["0"]);

    // One that is ours and has something on it is not used either.
    app.batch_execute("DROP SCHEMA coffer CASCADE").await.unwrap();
    us.batch_execute(
        "CREATE SCHEMA coffer; CREATE TABLE coffer.marker (id integer PRIMARY KEY, moved bigint NOT NULL); \
         INSERT INTO coffer.marker VALUES (1, 0); \
         CREATE TRIGGER marks BEFORE UPDATE ON coffer.marker FOR EACH ROW EXECUTE FUNCTION public.canary_fires()",
    )
    .await
    .unwrap();
    let refused = ENGINE.position(&source).await.unwrap_err().to_string();
    assert!(refused.contains("schema coffer"), "{refused}");
    assert_eq!(rows(&us, "SELECT moved FROM coffer.marker").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_keeps_its_roles_until_its_detach() {
    let house = House::new();
    let source = shop(&house, "15.0").await;
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    app.batch_execute("CREATE TABLE t (id int PRIMARY KEY); ALTER ROLE app SET work_mem = '3MB'")
        .await
        .unwrap();
    let candidate = empty(&house, "17.0", true).await;
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    ENGINE.follow(&source, &candidate, None).await.unwrap();
    reaches(&source, &candidate).await;

    let there = tenant(&candidate, "app", "a", "shop").await.unwrap();
    there.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    for sql in [
        "DROP OWNED BY app",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "COMMENT ON TABLE t IS 'x'",
        "GRANT SELECT ON t TO clerk",
        "ALTER TABLE t OWNER TO app",
        "CREATE ROLE mine",
        "GRANT app TO clerk",
        "ALTER ROLE app RENAME TO other",
        "ALTER ROLE clerk PASSWORD 'x'",
        "ALTER DATABASE shop SET work_mem = '1MB'",
        "REASSIGN OWNED BY clerk TO app",
        "CREATE OR REPLACE FUNCTION coffer.coffer_still() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "DROP EVENT TRIGGER coffer_still",
        "SET event_triggers = off",
        "SET session_replication_role = replica",
    ] {
        assert!(there.batch_execute(sql).await.is_err(), "{sql}");
    }
    let said = there.batch_execute("DROP OWNED BY app").await.unwrap_err();
    assert_eq!(state(&said), "25006");
    // These two the server lets nobody refuse: they are put back, and told.
    there
        .batch_execute("ALTER ROLE app PASSWORD 'new'; ALTER ROLE app SET work_mem = '9MB'; ALTER ROLE app IN DATABASE shop SET jit = on")
        .await
        .unwrap();
    // What is changed on the source goes along.
    app.batch_execute("ALTER ROLE app SET lock_timeout = '7s'").await.unwrap();
    let told = ENGINE.level(&source, &candidate).await.unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter().all(|line| !line.contains("SCRAM") && !line.contains("md5") && line.contains("app")),
        "{told:?}"
    );
    assert_eq!(ENGINE.level(&source, &candidate).await.unwrap(), Vec::<String>::new());
    same(&source, &candidate).await;

    let there = tenant(&candidate, "app", "a", "shop").await.unwrap();
    there.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    there
        .batch_execute("ALTER ROLE app PASSWORD 'newer'; ALTER ROLE app SET search_path = nowhere")
        .await
        .unwrap();
    let open = with(&candidate, false, false);
    ENGINE.cut(&open, Some(&source)).await.unwrap();
    assert_eq!(ENGINE.inventory(&source).await.unwrap(), ENGINE.inventory(&open).await.unwrap());
    assert!(tenant(&open, "app", "newer", "shop").await.is_err());
    let app = tenant(&open, "app", "a", "shop").await.unwrap();
    assert_eq!(rows(&app, "SHOW work_mem").await, ["3MB"]);
    assert_eq!(rows(&app, "SHOW lock_timeout").await, ["7s"]);
    app.batch_execute("ALTER ROLE app PASSWORD 'mine'; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO clerk; COMMENT ON TABLE t IS 'x'")
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
}

/// What a tenant can set for its database to its own harm, and to ours if it reached us.
const HOSTILE: &[(&str, &str)] = &[
    ("statement_timeout", "20ms"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "1ms"),
    ("idle_session_timeout", "1ms"),
    ("search_path", "hostile"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("work_mem", "64kB"),
    ("maintenance_work_mem", "1MB"),
    ("row_security", "off"),
    ("role", "clerk"),
    ("client_encoding", "LATIN1"),
    ("DateStyle", "German, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Pacific/Kiritimati"),
    ("extra_float_digits", "-15"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("quote_all_identifiers", "on"),
    ("xmloption", "document"),
    ("check_function_bodies", "on"),
    ("default_tablespace", ""),
    ("client_min_messages", "debug5"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("synchronous_commit", "off"),
    ("enable_indexscan", "off"),
    ("enable_seqscan", "off"),
    ("jit", "on"),
    ("vacuum_cost_delay", "100"),
    ("default_statistics_target", "1"),
    ("geqo_threshold", "2"),
];

/// A source whose tenant has set all of it; and a session that began before.
async fn hostile_shop(house: &House, version: &str) -> (Server, tokio_postgres::Client) {
    let source = shop(house, version).await;
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    app.batch_execute(
        "CREATE SCHEMA hostile; CREATE FUNCTION hostile.count() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; \
         CREATE TABLE t (id int PRIMARY KEY, f float8, b bytea, at timestamptz, i interval, x xml, s text); \
         INSERT INTO t SELECT n, n / 3.0, decode(lpad(to_hex(n), 8, '0'), 'hex'), now() + n * interval '1.5 s', n * interval '1 h', '<a/>', 'ü\\' || n \
         FROM generate_series(1, 200000) n; CREATE INDEX ON t (f)",
    )
    .await
    .unwrap_or_else(|error| panic!("{error:?}"));
    for (setting, value) in HOSTILE {
        let value = if *setting == "DateStyle" { (*value).to_owned() } else { format!("'{value}'") };
        app.batch_execute(&format!("ALTER DATABASE shop SET {setting} = {value}; ALTER ROLE app IN DATABASE shop SET {setting} = {value}"))
            .await
            .unwrap_or_else(|error| panic!("{setting}: {error:?}"));
    }
    app.batch_execute("ALTER ROLE app IN DATABASE shop RESET role; ALTER ROLE app IN DATABASE shop RESET idle_session_timeout").await.unwrap();
    (source, app)
}

/// What sessions of the database `shop` begin with, by whose doing.
const SHOP_SETTINGS: &str = "SELECT coalesce(r.rolname, ''), c FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase \
     LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) c \
     WHERE d.datname = 'shop' AND (r.rolname IS NULL OR r.rolname !~ '^coffer') ORDER BY 1, 2";

async fn hostile(from: &str, to: &str, readers: bool) {
    let house = House::new();
    let (source, app) = hostile_shop(&house, from).await;
    let found = ENGINE.pre_check(&source, &house.server(to, true), Strategy::Twin).await.unwrap();
    let candidate = empty(&house, to, readers).await;
    assert!(found.iter().all(|finding| !finding.blocks), "{found:?}");
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    ENGINE.follow(&source, &candidate, None).await.unwrap();
    reaches(&source, &candidate).await;
    app.batch_execute("SET statement_timeout = 0; SET default_transaction_read_only = off").await.unwrap();
    app.batch_execute(
        "UPDATE public.t SET f = f + 1 WHERE id % 2 = 0; DELETE FROM public.t WHERE id > 199000",
    )
    .await
    .unwrap_or_else(|error| panic!("{error:?}"));
    reaches(&source, &candidate).await;
    let compared = ENGINE.compare_rows(&source, &candidate, silent()).await.unwrap();
    assert_eq!((compared.differing, compared.rows), (Vec::<String>::new(), 199_000));
    // They are carried as they are.
    let theirs = rows(&own(&source, "postgres").await, SHOP_SETTINGS).await;
    assert!(theirs.len() > 60, "{theirs:?}");
    assert_eq!(rows(&own(&candidate, "postgres").await, SHOP_SETTINGS).await, theirs);
    same(&source, &candidate).await;
    let open = with(&candidate, false, false);
    ENGINE.carry_the_rest(&source, &candidate).await.unwrap();
    ENGINE.cut(if readers { &open } else { &candidate }, Some(&source)).await.unwrap();
    ENGINE.start(&open).await.unwrap();
    assert_eq!(rows(&own(&open, "postgres").await, SHOP_SETTINGS).await, theirs);
    ENGINE.forget_follower(&source).await.unwrap();
}

/// What a session begins with that none of it reaches.
const PLAIN: &str = "-c local_preload_libraries= -c statement_timeout=0 -c idle_session_timeout=0 -c role=none -c timezone=UTC -c datestyle=ISO";

/// In place it does not reach the programs that convert the data either.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_sets_does_not_reach_a_conversion() {
    let house = House::new();
    let (source, app) = hostile_shop(&house, "15.0").await;
    for of in ["DATABASE shop", "ROLE app IN DATABASE shop"] {
        app.batch_execute(&format!("ALTER {of} SET local_preload_libraries = 'nothing'")).await.unwrap();
    }
    drop(app);
    let theirs = rows(&own(&source, "postgres").await, SHOP_SETTINGS).await;
    let candidate = house.server("17.0", true);
    let found = ENGINE.pre_check(&source, &candidate, Strategy::InPlace).await.unwrap();
    assert!(found.iter().all(|finding| !finding.blocks), "{found:?}");
    let sums = "SELECT count(*), sum(id), sum(length(b)), max(at), min(i), min(x::text), max(s), sum(f) FROM public.t";
    let before = rows(&own_with(&source, "shop", PLAIN).await, sums).await;
    ENGINE.prepare_in_place(&source, &candidate, silent()).await.unwrap();
    let fenced = with(&source, true, false);
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    let inventory = ENGINE.inventory(&fenced).await.unwrap();
    ENGINE.stop_clean(&fenced).await.unwrap();
    ENGINE.convert_in_place(&fenced, &candidate, silent()).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.convert(&candidate).await.unwrap();
    crate::engine_servers::compare(&inventory, &ENGINE.inventory(&candidate).await.unwrap());
    assert_eq!(rows(&own(&candidate, "postgres").await, SHOP_SETTINGS).await, theirs);
    assert_eq!(rows(&own_with(&candidate, "shop", PLAIN).await, sums).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_sets_does_not_reach_a_twin() {
    hostile("15.0", "17.0", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_sets_does_not_reach_a_replica() {
    hostile("17.0", "18.0", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_found_again_is_named() {
    let house = House::new();
    let source = shop(&house, "15.0").await;
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    app.batch_execute(
        "CREATE DOMAIN jd AS json; CREATE TYPE jc AS (a int, j json); CREATE DOMAIN jcd AS jc; CREATE TYPE fine AS (a int, b text); \
         CREATE TYPE mood AS ENUM ('x'); CREATE TYPE span AS RANGE (subtype = float8); \
         CREATE TABLE bad (a int, j json, p point, x xml, b box, h path, g polygon, l line, s lseg, c circle, ja json[], d jd, k jc, ka jc[], kd jcd, da jd[]); \
         ALTER TABLE bad REPLICA IDENTITY FULL; \
         CREATE TABLE good (a int, j jsonb, t text, v varchar(3), n numeric, ts timestamptz, i inet, c cidr, m macaddr, u uuid, b bytea, \
         r int4range, mr int4multirange, sp span, bits bit(3), vb varbit, cash money, e mood, f fine, fa fine[], ta text[], o oid, na name, ch \"char\", \
         iv interval, tv tsvector, tq tsquery, rc regclass, x xid, ci cid, ti tid, l pg_lsn); ALTER TABLE good REPLICA IDENTITY FULL; \
         CREATE TABLE keyed (id int PRIMARY KEY, j json); ALTER TABLE keyed REPLICA IDENTITY FULL; \
         CREATE TABLE by_key (id int PRIMARY KEY, j json); \
         INSERT INTO good (a, j) VALUES (1, '{}'); INSERT INTO keyed VALUES (1, '{}')",
    )
    .await
    .unwrap_or_else(|error| panic!("{error:?}"));
    let candidate = empty(&house, "17.0", true).await;
    let found = ENGINE.replica_blockers(&source).await.unwrap();
    let named: Vec<&str> = found.iter().map(|blocker| blocker.object.as_str()).collect();
    for column in [
        "j (json)",
        "p (point)",
        "x (xml)",
        "b (box)",
        "h (path)",
        "g (polygon)",
        "l (line)",
        "s (lseg)",
        "c (circle)",
        "ja (json[])",
        "d (public.jd)",
        "k (public.jc)",
        "ka (public.jc[])",
        "kd (public.jcd)",
        "da (public.jd[])",
    ] {
        let object = format!("shop: column public.bad.{column}");
        assert!(named.contains(&object.as_str()), "{object}: {named:?}");
    }
    assert!(named.iter().all(|object| object.starts_with("shop: column public.bad.")), "{named:?}");
    assert!(found.iter().all(|blocker| blocker.why.contains("cannot be compared")));

    // What is not named works; what breaks afterwards says so.
    app.batch_execute("DROP TABLE bad").await.unwrap();
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    ENGINE.follow(&source, &candidate, None).await.unwrap();
    reaches(&source, &candidate).await;
    app.batch_execute(
        "UPDATE good SET a = 2; UPDATE keyed SET j = '[]'; DELETE FROM good; DELETE FROM keyed",
    )
    .await
    .unwrap();
    reaches(&source, &candidate).await;
    app.batch_execute("INSERT INTO by_key VALUES (1, '{}')").await.unwrap();
    reaches(&source, &candidate).await;
    own(&candidate, "shop")
        .await
        .batch_execute("SET transaction_read_only = off; ALTER TABLE by_key ADD CHECK (id < 2)")
        .await
        .unwrap();
    app.batch_execute("INSERT INTO by_key VALUES (2, '{}')").await.unwrap();
    until("a change that cannot be taken is told", async || {
        match ENGINE.following(&candidate).await.unwrap() {
            Following::Broken(why) => why.contains("shop") && why.contains("by_key"),
            _ => false,
        }
    })
    .await;
}
