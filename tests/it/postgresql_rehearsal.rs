//! Definitions that the target does not take: the look tries each on an empty server and names it, by its object; and what
//! becomes of the empty server when the worker that looks is killed.

use std::time::Duration;

use coffer::domain::question::Finding;
use coffer::domain::upgrade::Strategy;
use coffer::engines::Engine as _;
use serde_json::{Value, json};

use crate::engine_servers::House;
use crate::harness::house::House as Dev;
use crate::harness::roles::{Role, Roles};
use crate::harness::{healthy, password, processes, store, wait_for};
use crate::postgres_servers::{ENGINE, own, refused, rows};
use crate::postgresql::login;
use crate::postgresql_in_place::{all, shop, told};

/// What a look finds, by its object.
fn named(findings: &[Finding], blocks: bool) -> Vec<&str> {
    let mut found: Vec<&str> =
        findings.iter().filter(|finding| finding.blocks == blocks).map(|finding| &*finding.object).collect();
    found.sort_unstable();
    found
}

/// Columns and functions of the catalogue that 17 has no more, in each kind of object that can hold them.
#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_part_of_the_catalogue_that_is_gone_is_named() {
    let house = House::new();
    let (source, app) = shop(&house, "15.0").await;
    all(
        &app,
        &[
            "CREATE VIEW bg AS SELECT checkpoints_timed FROM pg_stat_bgwriter",
            "CREATE MATERIALIZED VIEW bg_kept AS SELECT checkpoints_timed FROM pg_stat_bgwriter WITH NO DATA",
            "CREATE TABLE ruled (n bigint PRIMARY KEY)",
            "CREATE RULE counted AS ON INSERT TO ruled DO ALSO SELECT checkpoints_timed FROM pg_stat_bgwriter",
            "CREATE TABLE defaulted (n bigint PRIMARY KEY DEFAULT pg_stat_get_bgwriter_timed_checkpoints())",
            "CREATE TABLE checked (n bigint PRIMARY KEY CHECK (n <> pg_stat_get_bgwriter_timed_checkpoints()))",
            "CREATE DOMAIN fresh AS bigint CHECK (VALUE <> pg_stat_get_bgwriter_timed_checkpoints())",
            "CREATE FUNCTION atomic() RETURNS bigint LANGUAGE sql STABLE \
             BEGIN ATOMIC SELECT checkpoints_timed FROM pg_stat_bgwriter; END",
            "CREATE TABLE guarded (n bigint PRIMARY KEY)",
            "CREATE POLICY mine ON guarded USING (n <> pg_stat_get_bgwriter_timed_checkpoints())",
            "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "CREATE TRIGGER at_times BEFORE UPDATE ON guarded FOR EACH ROW \
             WHEN (NEW.n <> pg_stat_get_bgwriter_timed_checkpoints()) EXECUTE FUNCTION nothing()",
            // Bodies that are text are read when they run.
            "CREATE FUNCTION late() RETURNS bigint LANGUAGE sql AS $$ SELECT checkpoints_timed FROM pg_stat_bgwriter $$",
            "CREATE FUNCTION who() RETURNS text LANGUAGE sql AS $$ SELECT system_user FROM (SELECT 1) k (system_user) $$",
            "CREATE FUNCTION json_value(a jsonb, b text) RETURNS text LANGUAGE sql AS $$ SELECT a->>b $$",
            "CREATE FUNCTION reads(a jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN json_value (a, 'x'); END $$",
            "CREATE FUNCTION plain(a json) RETURNS text LANGUAGE sql AS $$ SELECT \"system_user\" || a::json::text FROM (SELECT 'x') k (\"system_user\") $$",
            "CREATE TABLE fine (id int PRIMARY KEY, n int CHECK (n > 0) DEFAULT 1)",
        ],
    )
    .await;
    for strategy in Strategy::ALL {
        let candidate = house.server("17.0", true);
        let findings = ENGINE.pre_check(&source, &candidate, strategy).await.unwrap();
        let expected = [
            "shop: domain public.fresh",
            "shop: function public.atomic",
            "shop: materialized view public.bg_kept",
            "shop: policy mine",
            "shop: rule counted",
            "shop: table public.checked",
            "shop: table public.defaulted",
            "shop: trigger at_times",
            "shop: view public.bg",
        ];
        assert_eq!(named(&findings, true), expected, "{strategy:?}: {findings:#?}");
        let warned = [
            "shop: function public.late()",
            "shop: function public.reads(jsonb)",
            "shop: function public.who()",
        ];
        let found: Vec<&str> =
            named(&findings, false).into_iter().filter(|object| object.contains(": function ")).collect();
        assert_eq!(found, warned, "{strategy:?}: {findings:#?}");
        assert!(!house.state(&candidate).exists(), "{strategy:?}: nothing of the empty server stays");
    }
    // What could not be tried in time is told.
    let candidate = house.server("17.0", true);
    let found = ENGINE.pre_check_within(&source, &candidate, Strategy::Twin, Duration::from_millis(1)).await;
    let found = found.unwrap();
    assert_eq!((named(&found, true), named(&found, false)), (vec![], vec!["the definitions"]), "{found:#?}");
    assert!(!house.state(&candidate).exists());
    for milliseconds in [500, 1_000, 1_500, 2_000] {
        let candidate = house.server("17.0", true);
        let trial = Duration::from_millis(milliseconds);
        ENGINE.pre_check_within(&source, &candidate, Strategy::Twin, trial).await.unwrap();
        assert!(!house.state(&candidate).exists(), "{milliseconds} ms");
    }
    let ours = own(&source, "shop").await;
    assert_eq!(rows(&ours, "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer'").await, ["coffer"]);
}

/// Functions in SQL that find their own by the session's search path: whoever makes an index inlines them.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_search_path_to_be_made_is_named_and_carried_in_place() {
    let house = House::new();
    let (source, app) = shop(&house, "15.0").await;
    all(
        &app,
        &[
            "CREATE FUNCTION strip(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT replace(t,' ','') $$",
            "CREATE FUNCTION norm(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(strip(t)) $$",
            "CREATE TABLE people (id int PRIMARY KEY, name text)",
            "CREATE INDEX by_norm ON people (norm(name))",
            "CREATE TABLE computed (name text PRIMARY KEY, plain text GENERATED ALWAYS AS (norm(name)) STORED)",
            "CREATE TABLE strict (name text PRIMARY KEY CHECK (norm(name) <> ''))",
            "CREATE TABLE usual (name text PRIMARY KEY DEFAULT norm('A b'))",
            "CREATE STATISTICS of_norm ON norm(name), id FROM people",
            "CREATE FUNCTION sure(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(public.strip(t)) $$",
            "CREATE MATERIALIZED VIEW lowered AS SELECT sure(name) FROM usual WITH NO DATA",
            "CREATE MATERIALIZED VIEW norms AS SELECT norm(name) FROM people WITH NO DATA",
        ],
    )
    .await;
    // Only a superuser makes these, so that no tenant has one.
    let class =
        "CREATE OPERATOR CLASS mine FOR TYPE int USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int, int)";
    assert_eq!(refused(&app, class).await, "42501");
    let twin = house.server("17.0", true);
    let findings = ENGINE.pre_check(&source, &twin, Strategy::Twin).await.unwrap();
    let computed = ["shop: column public.computed.plain", "shop: index public.by_norm"];
    assert_eq!(named(&findings, true), computed, "{findings:#?}");
    assert_eq!(named(&findings, false), ["shop: materialized view public.norms"], "{findings:#?}");
    let (_server, app, told) = told(&house, &source, "17.0", &[]).await;
    for object in ["index public.by_norm", "column public.computed.plain", "materialized view public.norms"] {
        assert!(
            told.iter().any(|line| line.contains(object) && line.contains("strip")),
            "{object}: {told:#?}"
        );
    }
    assert!(!told.iter().any(|line| line.contains("public.lowered")), "{told:#?}");
    all(
        &app,
        &[
            "INSERT INTO people VALUES (1, 'C d')",
            "INSERT INTO computed VALUES ('E f')",
            "INSERT INTO strict VALUES ('G')",
            "INSERT INTO usual DEFAULT VALUES",
            "SET enable_seqscan = off",
        ],
    )
    .await;
    assert_eq!(rows(&app, "SELECT id FROM people WHERE norm(name) = 'cd'").await, ["1"]);
    assert_eq!(rows(&app, "SELECT plain FROM computed").await, ["ef"]);
    assert_eq!(rows(&app, "SELECT name FROM usual").await, ["ab"]);
    // Since 17 whoever refreshes searches no schema but the server's own.
    all(&app, &["REFRESH MATERIALIZED VIEW lowered"]).await;
    assert_eq!(refused(&app, "REFRESH MATERIALIZED VIEW norms").await, "42883");
    all(&app, &["ALTER FUNCTION norm SET search_path = public", "REFRESH MATERIALIZED VIEW norms"]).await;
    assert_eq!(rows(&app, "SELECT norm FROM norms").await, ["cd"]);
}

/// A function was changed after the rows came: a copy would compute them anew, in place keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_would_compute_anew_is_named_and_carried_in_place() {
    let house = House::new();
    let (source, app) = shop(&house, "15.0").await;
    all(
        &app,
        &[
            "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 2'",
            "CREATE FUNCTION k(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t'",
            "CREATE TABLE stored (id int PRIMARY KEY, g numeric(9, 1) GENERATED ALWAYS AS (public.f(id)) STORED)",
            "INSERT INTO stored (id) VALUES (1), (2)",
            "CREATE TABLE alike (id int PRIMARY KEY, t text)",
            "CREATE UNIQUE INDEX by_k ON alike (public.k(t)) WHERE id > 0",
            "INSERT INTO alike VALUES (1, 'a'), (2, 'A'), (3, NULL), (4, NULL)",
            "CREATE FUNCTION or_null(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t'",
            "CREATE TABLE nulls (id int PRIMARY KEY, t text)",
            "CREATE UNIQUE INDEX by_or_null ON nulls (public.or_null(t)) NULLS NOT DISTINCT",
            "INSERT INTO nulls VALUES (1, 'a'), (2, NULL)",
            "CREATE SCHEMA \"Booked\"",
            "CREATE FUNCTION \"Booked\".span(a int, b int) RETURNS int4range LANGUAGE sql IMMUTABLE AS 'SELECT int4range(a, a + 1)'",
            "CREATE TABLE \"Booked\".\"Rooms\" (a int PRIMARY KEY, b int, free bool, \
             CONSTRAINT \"o'n\"\"ce %s\" EXCLUDE USING gist (\"Booked\".span(a, b) WITH &&) WHERE (NOT free) DEFERRABLE INITIALLY DEFERRED)",
            "INSERT INTO \"Booked\".\"Rooms\" VALUES (1, 5, false), (3, 9, false), (4, NULL, false), (2, 3, true)",
            "CREATE FUNCTION part(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN a / 10; END'",
            "CREATE TABLE parts (id int, kind text) PARTITION BY RANGE (public.part(id))",
            "CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
            "CREATE TABLE high PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY LIST (kind)",
            "CREATE TABLE high_a PARTITION OF high FOR VALUES IN ('a')",
            "CREATE TABLE other PARTITION OF parts DEFAULT",
            "CREATE TABLE hashed (id int) PARTITION BY HASH (public.part(id))",
            "CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
            "CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
            "INSERT INTO parts VALUES (1, 'a'), (105, 'a'), (1000, 'a'), (NULL, 'a')",
            "INSERT INTO hashed SELECT generate_series(0, 99)",
            // The function is behind an operator, of a constant, and below a level that does not call it.
            "CREATE FUNCTION plus(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b'",
            "CREATE OPERATOR public.@+ (LEFTARG = int, RIGHTARG = int, FUNCTION = plus)",
            "CREATE TABLE deep (kind \"char\", id int) PARTITION BY LIST (kind)",
            "CREATE TABLE deep_a PARTITION OF deep FOR VALUES IN ('a') PARTITION BY LIST ((id % (1 OPERATOR(public.@+) 1)))",
            "CREATE TABLE deep_b PARTITION OF deep DEFAULT",
            "CREATE TABLE \"deep '0\" PARTITION OF deep_a FOR VALUES IN (0)",
            "CREATE TABLE \"deep \"\"1\" PARTITION OF deep_a DEFAULT",
            "INSERT INTO deep SELECT 'a', n FROM generate_series(1, 9) n UNION ALL SELECT 'b', 5",
            "ALTER TABLE low REPLICA IDENTITY FULL; ALTER TABLE high_a REPLICA IDENTITY FULL; ALTER TABLE other REPLICA IDENTITY FULL; \
             ALTER TABLE hashed_0 REPLICA IDENTITY FULL; ALTER TABLE hashed_1 REPLICA IDENTITY FULL; ALTER TABLE deep_b REPLICA IDENTITY FULL; \
             ALTER TABLE \"deep '0\" REPLICA IDENTITY FULL; ALTER TABLE \"deep \"\"1\" REPLICA IDENTITY FULL",
        ],
    )
    .await;
    let twin = house.server("17.0", true);
    let look = async || {
        let found = ENGINE.pre_check(&source, &twin, Strategy::Twin).await.unwrap();
        named(&found, true).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(look().await, Vec::<String>::new());
    all(
        &app,
        &[
            "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 3'",
            "CREATE OR REPLACE FUNCTION k(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)'",
            "CREATE OR REPLACE FUNCTION or_null(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text'",
            "CREATE OR REPLACE FUNCTION \"Booked\".span(a int, b int) RETURNS int4range LANGUAGE sql IMMUTABLE AS 'SELECT int4range(a, b)'",
            "CREATE OR REPLACE FUNCTION part(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN a % 10 + 10; END'",
            "CREATE OR REPLACE FUNCTION plus(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b + 1'",
        ],
    )
    .await;
    // What a tenant has its sessions take as proven proves nothing.
    for setting in [
        "constraint_exclusion = on",
        "enable_seqscan = off",
        "enable_hashagg = off",
        "enable_sort = off",
        "enable_nestloop = off",
        "role = other",
        "work_mem = '64kB'",
    ] {
        all(&app, &[&format!("ALTER DATABASE shop SET {setting}")]).await;
    }
    let all_of_them = [
        "shop: column public.stored.g",
        "shop: constraint Booked.Rooms.o'n\"ce %s",
        "shop: index public.by_k",
        "shop: index public.by_or_null",
        "shop: partition public.deep \"1",
        "shop: partition public.deep '0",
        "shop: partition public.hashed_0",
        "shop: partition public.hashed_1",
        "shop: partition public.low",
        "shop: partition public.other",
    ];
    assert_eq!(look().await, all_of_them);
    for setting in ["role", "enable_seqscan"] {
        all(&app, &[&format!("ALTER DATABASE shop RESET {setting}")]).await;
    }
    let count = "SELECT count(*) FROM ONLY low UNION ALL SELECT count(*) FROM ONLY other UNION ALL SELECT count(*) FROM ONLY hashed_0 \
                 UNION ALL SELECT count(*) FROM ONLY \"deep '0\" UNION ALL SELECT count(*) FROM \"Booked\".\"Rooms\" \
                 UNION ALL SELECT g FROM stored WHERE id = 2";
    let before = rows(&app, count).await;
    let (_server, upgraded, told) = told(&house, &source, "17.0", &[]).await;
    assert!(!told.iter().any(|line| line.contains("computes it again")), "{told:#?}");
    assert_eq!(rows(&upgraded, count).await, before);
    drop(upgraded);
    drop(app);

    // What is as the functions give it by now is not named.
    ENGINE.start(&source).await.unwrap();
    let app = crate::postgres_servers::tenant(&source, "app", "x", "shop").await.unwrap();
    all(
        &app,
        &[
            "UPDATE stored SET id = id",
            "DELETE FROM alike WHERE id = 2",
            "DELETE FROM nulls WHERE id = 2",
            "DELETE FROM \"Booked\".\"Rooms\" WHERE a IN (3, 4)",
            "UPDATE parts SET id = id WHERE id IS NOT NULL",
            "UPDATE hashed SET id = id",
            "UPDATE deep SET id = id",
        ],
    )
    .await;
    assert_eq!(look().await, Vec::<String>::new());
    // A table that a look does not read to its end in time is told of.
    all(
        &app,
        &["CREATE OR REPLACE FUNCTION part(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \
           'BEGIN PERFORM pg_sleep(0.2); RETURN a % 10 + 10; END'"],
    )
    .await;
    let found = ENGINE.pre_check(&source, &twin, Strategy::Twin).await.unwrap();
    assert_eq!(named(&found, true), Vec::<&str>::new(), "{found:#?}");
    let late = named(&found, false);
    assert!(late.contains(&"shop: partition public.hashed_0"), "{found:#?}");
}

/// What a function of the tenant's does in the look's sessions instead of giving a value: one of them each.
const MISCHIEF: &[(&str, &str)] = &[
    ("raises", "RAISE EXCEPTION ''no value of %'', a"),
    ("raises_much", "RAISE EXCEPTION ''%'', pg_catalog.repeat(''x'', 10000000)"),
    ("raises_as_gone", "RAISE EXCEPTION ''a table'' USING ERRCODE = ''42P01''"),
    ("raises_as_late", "RAISE EXCEPTION ''late'' USING ERRCODE = ''57014''"),
    ("sleeps", "PERFORM pg_catalog.pg_sleep(60)"),
    ("stays", "LOOP BEGIN PERFORM pg_catalog.pg_sleep(60); EXCEPTION WHEN query_canceled THEN END; END LOOP"),
    (
        "ends",
        "PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()); PERFORM pg_catalog.pg_sleep(1)",
    ),
    ("makes_a_role", "PERFORM public.runs(''CREATE ROLE canary_made SUPERUSER'')"),
    ("takes_power", "PERFORM public.runs(''ALTER ROLE app SUPERUSER'')"),
    ("is_ours", "PERFORM public.runs(''SET SESSION AUTHORIZATION coffer'')"),
    ("writes", "PERFORM public.runs(''INSERT INTO public.written VALUES (1)'')"),
    (
        "writes_all_the_same",
        "PERFORM public.runs(''SET transaction_read_only = off''), public.runs(''INSERT INTO public.written VALUES (1)'')",
    ),
    ("commits", "PERFORM public.runs(''COMMIT''), public.runs(''INSERT INTO public.written VALUES (1)'')"),
    (
        "sets",
        "PERFORM pg_catalog.set_config(''statement_timeout'', ''0'', false), pg_catalog.set_config(''search_path'', ''public'', false); RAISE ''set''",
    ),
];

/// A function of the tenant's that gives no value by now: its object is named, whatever it does, and the look goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_does_instead_of_giving_a_value_is_told_by_name() {
    let house = House::new();
    let (source, app) = shop(&house, "17.0").await;
    let runs = "CREATE FUNCTION runs(sql text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN EXECUTE sql; RETURN true; END'";
    all(&app, &["CREATE TABLE written (a int PRIMARY KEY)", runs]).await;
    for (what, _) in MISCHIEF {
        all(
            &app,
            &[
                &format!("CREATE FUNCTION {what}(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN a; END'"),
                // Once where a description calls it, and once where only a row of several does.
                &format!("CREATE TABLE of_{what} (a int) PARTITION BY LIST ((a + {what}(0)))"),
                &format!("CREATE TABLE in_{what} PARTITION OF of_{what} DEFAULT"),
                &format!("CREATE TABLE else_{what} PARTITION OF of_{what} FOR VALUES IN (-1)"),
                &format!("ALTER TABLE in_{what} REPLICA IDENTITY FULL; ALTER TABLE else_{what} REPLICA IDENTITY FULL"),
                &format!("CREATE TABLE x_{what} (a int PRIMARY KEY, EXCLUDE USING gist (int4range({what}(a), a + 1) WITH &&) WHERE ({what}(7) = 7))"),
                &format!("INSERT INTO x_{what} SELECT generate_series(1, 9); INSERT INTO of_{what} SELECT generate_series(1, 9)"),
            ],
        )
        .await;
    }
    let twin = house.server("17.0", true);
    let found = ENGINE.pre_check(&source, &twin, Strategy::Twin).await.unwrap();
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());

    let us = own(&source, "shop").await;
    let power = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ 'canary' OR (rolsuper AND rolname <> 'coffer') \
                 UNION ALL SELECT a::text FROM public.written UNION ALL SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ '^coffer_'";
    for (what, body) in MISCHIEF {
        let change = |body: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION {what}(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN {body}; RETURN a; END'"
            )
        };
        // Rows of the tenant's are as they were: nothing else than this function gives no value.
        all(&app, &[&change(body)]).await;
        let begun = std::time::Instant::now();
        let found = ENGINE.pre_check(&source, &twin, Strategy::Twin).await;
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        println!("{what}: {:.1} s: {told:#?}", begun.elapsed().as_secs_f32());
        for object in [format!("shop: partition public.in_{what}"), format!("constraint public.x_{what}.")] {
            assert!(told.iter().any(|line| line.contains(&object)), "{what}: {object}: {told:#?}");
        }
        assert!(told.iter().all(|line| line.contains(what) && line.len() < 1000), "{what}: {told:#?}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{what}: {:?}", begun.elapsed());
        assert_eq!(rows(&us, power).await, Vec::<String>::new(), "{what}");
        all(&app, &[&change("NULL")]).await;
    }
}

/// A tenant has as many partitions as it likes: a look takes no longer, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_many_partitions_ends_in_time() {
    let house = House::new();
    let (source, app) = shop(&house, "17.0").await;
    all(
        &app,
        &[
            "CREATE FUNCTION part(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN a; END'",
            "CREATE TABLE parts (a int) PARTITION BY LIST ((part(a) + part(0)))",
            "DO $$ BEGIN FOR n IN 1..1000 LOOP EXECUTE format('CREATE TABLE part_%s PARTITION OF parts FOR VALUES IN (%s)', n, n); \
             EXECUTE format('ALTER TABLE part_%s REPLICA IDENTITY FULL', n); END LOOP; END $$",
            "CREATE TABLE rest PARTITION OF parts DEFAULT",
            "ALTER TABLE rest REPLICA IDENTITY FULL",
            "INSERT INTO parts SELECT generate_series(1, 1100)",
        ],
    )
    .await;
    let twin = house.server("17.0", true);
    let look = async || {
        let begun = std::time::Instant::now();
        let found = ENGINE.pre_check(&source, &twin, Strategy::Twin).await.unwrap();
        (found, begun.elapsed())
    };
    let (found, took) = look().await;
    println!("a thousand partitions: {took:?}");
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    // Each is read in time, and all of them are not.
    all(
        &app,
        &["CREATE OR REPLACE FUNCTION part(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.05); RETURN a; END'"],
    )
    .await;
    let (found, took) = look().await;
    assert!(took < Duration::from_secs(30), "{took:?}");
    let (blockers, warnings) = (named(&found, true), named(&found, false));
    assert_eq!(blockers, Vec::<&str>::new());
    assert!(
        warnings.contains(&"the expressions of indexes, columns, constraints and partitions"),
        "{warnings:?}"
    );
}

/// The action names it, too, before it copies anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_names_what_the_target_does_not_take() {
    let house = Dev::start().await;
    let api = house.login("coffer").await;
    let secret = password();
    let id = api.create_of("postgresql", "orders", "15", "shop", "app", &secret).await.unwrap();
    let address = healthy(&api, &id).await;
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    app.batch_execute("CREATE VIEW bg AS SELECT checkpoints_timed FROM pg_stat_bgwriter").await.unwrap();
    let body = json!({"upgrade": {"datastore_type": "postgresql", "datastore_version": "17"}});
    let (code, answer) = api.post(&format!("/instances/{id}/action"), &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    let new = answer["instance"]["id"].as_str().unwrap().to_owned();
    let seen = wait_for("the action ends", Duration::from_secs(120), async || {
        let seen = api.show(&new).await.ok()?;
        (seen["status"] == "ERROR").then_some(seen)
    })
    .await;
    let fault = seen["fault"].to_string();
    assert!(fault.contains("shop: view public.bg") && fault.contains("checkpoints_timed"), "{fault}");
    let task: Value = api.task(&api.task_of(&new).await.unwrap()).await.unwrap();
    assert!(!task["steps"].to_string().contains("\"seed\""), "nothing was copied: {task}");
    healthy(&api, &id).await;
    drop(app);
    house.leave_nothing(&api, &[&new, &id]).await;
}

/// kill -9 of the worker while an empty server is there: the next one removes it, and what the look has at the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_look_put_there_goes_when_its_worker_is_killed() {
    let mut roles = Roles::start("process").await;
    let api = roles.login("coffer").await;
    let secret = password();
    let id = api.create_of("postgresql", "looked-at", "15", "shop", "app", &secret).await.unwrap();
    let address = healthy(&api, &id).await;
    let db = roles.db().await;
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    // Who dumps the table waits for who has locked it.
    app.batch_execute("CREATE TABLE held (id int); BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let body = json!({"upgrade": {"datastore_version": "17", "strategy": "twin", "dry_run": true}});
    let path = format!("/instances/{id}/upgrades");
    let asked = tokio::spawn({
        let (api, body, path) = (roles.login("coffer").await, body.clone(), path.clone());
        async move { api.post(&path, &body).await }
    });
    let accounts = "SELECT count(*) FROM pg_roles WHERE rolname = 'coffer_dump'";
    let candidate =
        wait_for("an empty server runs, and is given definitions", Duration::from_secs(60), async || {
            let row = db.query_opt("select candidate_id from looks", &[]).await.unwrap()?;
            let candidate: uuid::Uuid = row.get(0);
            processes::engine(roles.folder(), &candidate.to_string())?;
            (rows(&app, accounts).await == ["1"]).then_some(candidate)
        })
        .await;
    roles.kill(Role::Worker(0));
    let folder = roles.state.join("generations").join(candidate.to_string());
    assert!(folder.exists());
    assert!(processes::engine(roles.folder(), &candidate.to_string()).is_some(), "it outlives the worker");
    // Nobody waits any more: what is left is not made use of by a second look.
    db.execute("update questions set expires_at = now()", &[]).await.unwrap();
    roles.begin(Role::Worker(0)).await;
    wait_for("nothing of the look is left", Duration::from_secs(60), async || {
        (store::count(&db, "looks").await == 0).then_some(())
    })
    .await;
    assert!(!folder.exists());
    let left = processes::of(&folder);
    assert!(left.is_empty(), "{left:?}");
    let socket =
        coffer::runtimes::process::socket_path(&roles.run, coffer::domain::ids::GenerationId(candidate));
    assert!(!socket.parent().unwrap().exists());
    assert_eq!(rows(&app, accounts).await, ["0"]);
    asked.abort();

    app.batch_execute("ROLLBACK").await.unwrap();
    let (status, told) = api.post(&path, &body).await.unwrap();
    assert_eq!((status, &told["upgrade"]["possible"]), (200, &Value::Bool(true)), "{told}");
    // Whoever asked has the answer before what the look put there is cleared.
    wait_for("nothing of the second look is left", Duration::from_secs(60), async || {
        (store::count(&db, "looks").await == 0).then_some(())
    })
    .await;
}

/// The same of a MariaDB, whose look has a server of its own, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_look_at_mariadb_put_there_goes_when_its_worker_is_killed() {
    let mut roles = Roles::start("process").await;
    let api = roles.login("coffer").await;
    let id = api.create("looked-at", "10.11", "shop", "app", &password()).await.unwrap();
    healthy(&api, &id).await;
    let db = roles.db().await;
    let body = json!({"upgrade": {"datastore_version": "11.8", "dry_run": true}});
    let path = format!("/instances/{id}/upgrades");
    let asked = tokio::spawn({
        let (api, body, path) = (roles.login("coffer").await, body.clone(), path.clone());
        async move { api.post(&path, &body).await }
    });
    let (candidate, folder) =
        wait_for("the empty server's folder is made", Duration::from_secs(60), async || {
            let row = db.query_opt("select candidate_id from looks", &[]).await.unwrap()?;
            let candidate: uuid::Uuid = row.get(0);
            let folder = roles.state.join("generations").join(candidate.to_string());
            folder.exists().then_some((candidate, folder))
        })
        .await;
    roles.kill(Role::Worker(0));
    assert!(folder.exists());
    db.execute("update questions set expires_at = now()", &[]).await.unwrap();
    roles.begin(Role::Worker(0)).await;
    wait_for("nothing of the look is left", Duration::from_secs(60), async || {
        (store::count(&db, "looks").await == 0).then_some(())
    })
    .await;
    assert!(!folder.exists());
    let left = processes::of(&folder);
    assert!(left.is_empty(), "{candidate}: {left:?}");
    asked.abort();
    let (status, told) = api.post(&path, &body).await.unwrap();
    assert_eq!((status, &told["upgrade"]["possible"]), (200, &Value::Bool(true)), "{told}");
}
