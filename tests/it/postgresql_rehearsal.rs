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
        ],
    )
    .await;
    assert_eq!(look().await, ["shop: column public.stored.g", "shop: index public.by_k"]);
    let found = ENGINE.pre_check(&source, &twin, Strategy::InPlace).await.unwrap();
    assert_eq!(named(&found, true), Vec::<&str>::new(), "{found:#?}");
    all(&app, &["UPDATE stored SET id = id", "DELETE FROM alike WHERE id = 2"]).await;
    assert_eq!(look().await, Vec::<String>::new());
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
