//! A follower that never comes near its source: said early, with numbers, and led to an end.

use std::time::Duration;

use coffer::cli::demo::ledger::Ledger;
use coffer::cli::demo::writers::Writers;
use coffer::domain::upgrade::Strategy;
use serde_json::json;

use crate::harness::house::House;
use crate::harness::roles::Roles;
use crate::harness::tenant::SimulatedWriter;
use crate::harness::{ask_for_upgrade_of, delete, healthy, open_shop, password, status, store, wait_for};
use crate::hops::line;
use crate::upgrade::{assert_written, ended, patch, simulated};

/// Workers that judge over two seconds.
async fn impatient() -> Roles {
    Roles::start_with("simulated", &[("COFFER_PATIENCE", "20")], 60).await
}

/// Once the follower is there it takes nothing any more.
async fn never_takes(roles: &Roles, point: &str) {
    roles.reached(point).await;
    let lag = "update simulated_servers set lag_ms = 3600000 where follows is not null";
    assert_eq!(roles.db().await.execute(lag, &[]).await.unwrap(), 1);
    roles.disarm(point);
}

/// By auto it goes on in place, and a twin that was asked for is undone; both say how far it was behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_that_never_catches_up_is_given_up() {
    let roles = impatient().await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    line(&roles, &[("10.1", "10.4", &[Strategy::Twin, Strategy::InPlace])]).await;
    let point = "upgrade_twin.forward.replicate.before";
    for strategy in ["twin", "auto"] {
        let id = simulated(&api).await;
        let writer = SimulatedWriter::at_address(roles.url(), &id);
        roles.arm(point);
        let body = json!({"upgrade": {"datastore_version": "10.4", "strategy": strategy}});
        assert_eq!(api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap().0, 202);
        never_takes(&roles, point).await;
        let upgrade = ended(&api, &id, Duration::from_secs(90)).await;
        let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
        let (end, told) = match strategy {
            "twin" => ("rolled_back", &upgrade["reason"]),
            _auto => ("succeeded", &task["report"]["twin_given_up"]),
        };
        assert_eq!(upgrade["state"], end, "{task}");
        let told = told.as_str().unwrap_or_else(|| panic!("{task}"));
        assert!(told.contains("transactions behind after") && told.contains("more each second"), "{told}");
        if strategy == "twin" {
            assert!(told.contains("in_place"), "what to do: {told}");
        } else {
            assert_eq!(upgrade["strategy"], "in_place", "{task}");
        }
        healthy(&api, &id).await;
        let version = if strategy == "twin" { "10.1" } else { "10.4" };
        assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], version);
        assert_written(&roles, &id, &writer.stop().await).await;
        for left in ["holds", "relays", "generations where role = 'candidate'", "task_instances where live"] {
            assert_eq!(store::count(&db, left).await, 0, "{left}");
        }
        delete(&api, &[&id]).await;
    }
}

/// An action's new instance says so, and its source is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_whose_new_side_never_catches_up_ends() {
    let roles = impatient().await;
    let api = roles.login("coffer").await;
    let id = simulated(&api).await;
    let writer = SimulatedWriter::at_address(roles.url(), &id);
    let point = "upgrade.forward.replicate.before";
    roles.arm(point);
    let new = ask_for_upgrade_of(&api, &id, "mariadb", "10.4").await;
    never_takes(&roles, point).await;
    status(&api, &new, "ERROR", Duration::from_secs(60)).await;
    let seen = api.show(&new).await.unwrap();
    let told = seen["fault"]["message"].as_str().unwrap();
    assert!(told.contains("transactions behind after") && told.contains("quieter time"), "{told}");
    healthy(&api, &id).await;
    assert!(api.show(&id).await.unwrap().get("replicas").is_none());
    writer.stop().await;
    delete(&api, &[&new, &id]).await;
}

/// A new side that cannot follow its source any more: it says why in its fault, and so does the detach.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_broke_says_why() {
    use mysql_async::prelude::Queryable as _;

    let house = House::start().await;
    let api = house.login("coffer").await;
    let old = open_shop(&api, "broken", "10.11").await;
    let opts = coffer::cli::demo::shop::opts(&old.address, "shop", "app", &old.password);
    let mut tenant = mysql_async::Conn::new(opts).await.unwrap();
    tenant.query_drop("CREATE TABLE carts (id INT PRIMARY KEY)").await.unwrap();
    let new = ask_for_upgrade_of(&api, &old.id, "mariadb", "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    // What the source will write is there already.
    let db = house.store().await;
    let generation = store::generation(&db, &new).await.unwrap();
    let mut server = store::engine(&house.state, &house.run, &db, generation).await.unwrap();
    server.query_drop("SET sql_log_bin = 0").await.unwrap();
    server.query_drop("INSERT INTO shop.carts VALUES (7)").await.unwrap();
    tenant.query_drop("INSERT INTO carts VALUES (7)").await.unwrap();
    let told = wait_for("the new side says why", Duration::from_secs(60), async || {
        let seen = api.show(&new).await.ok()?;
        seen["fault"]["message"].as_str().map(str::to_owned)
    })
    .await;
    let detach = json!({"instance": {"replica_of": ""}});
    let refused = api.patch(&format!("/instances/{new}"), &detach).await.unwrap_err().to_string();
    assert!(refused.contains("answered 422"), "{refused}");
    for told in [&told, &refused] {
        assert!(
            told.contains("cannot follow its source any more") && told.contains("Duplicate entry"),
            "{told}"
        );
        assert!(told.to_lowercase().contains("delete"), "what to do: {told}");
        assert!(!told.contains("coffer_"), "what is ours: {told}");
    }
    delete(&api, &[&new, &old.id]).await;
}

/// The same on PostgreSQL, where a definition that a tenant changed is what breaks it: the worker names a table, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_postgresql_that_broke_names_what_broke_it() {
    let house = House::start().await;
    let api = house.login("coffer").await;
    let secret = password();
    let id = api.create_of("postgresql", "broken", "15", "shop", "app", &secret).await.unwrap();
    let address = healthy(&api, &id).await;
    let app = crate::postgresql::login(&address, "app", &secret, "shop").await.unwrap();
    app.batch_execute("CREATE TABLE carts (id int PRIMARY KEY)").await.unwrap();
    for (change, back, said) in [
        (
            "ALTER TABLE carts ADD COLUMN note text; INSERT INTO carts VALUES (7, 'x')",
            "ALTER TABLE carts DROP COLUMN note; DELETE FROM carts",
            "missing replicated column",
        ),
        (
            "ALTER TABLE carts ALTER id TYPE bigint; INSERT INTO carts VALUES (5000000000)",
            "DELETE FROM carts",
            "out of range",
        ),
    ] {
        let new = ask_for_upgrade_of(&api, &id, "postgresql", "17").await;
        status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
        app.batch_execute(change).await.unwrap();
        let told = wait_for("the new side says why", Duration::from_secs(60), async || {
            let seen = api.show(&new).await.ok()?;
            seen["fault"]["message"].as_str().map(str::to_owned)
        })
        .await;
        let detach = json!({"instance": {"replica_of": ""}});
        let refused = api.patch(&format!("/instances/{new}"), &detach).await.unwrap_err().to_string();
        assert!(refused.contains("answered 422"), "{refused}");
        for told in [&told, &refused] {
            assert!(told.contains("cannot follow its source any more") && told.contains(said), "{told}");
            assert!(told.contains("public.carts"), "the object: {told}");
            assert!(told.to_lowercase().contains("delete"), "what to do: {told}");
            assert!(!told.contains("coffer_"), "what is ours: {told}");
        }
        assert_eq!(api.show(&id).await.unwrap()["status"], "VERIFY_UPGRADE");
        delete(&api, &[&new]).await;
        app.batch_execute(back).await.unwrap();
        healthy(&api, &id).await;
    }
    drop(app);
    delete(&api, &[&id]).await;
}

/// A load that never rests: 64 sessions with 20 ms between their transactions. It ends within five minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "saturates the machine for minutes: make torture"]
async fn a_load_that_never_rests_is_upgraded_or_told() {
    let house = House::start().await;
    let api = house.login("coffer").await;
    let password = password();
    let id = api.create_of("postgresql", "elephant", "15", "shop", "app", &password).await.unwrap();
    let address = healthy(&api, &id).await;
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    ledger.load(20_000).await.unwrap();
    let writers = Writers::start_pausing(&ledger.door(), 64, Duration::from_millis(20));
    writers.until(|tally| tally.acknowledged > 1_000, Duration::from_secs(60)).await.unwrap();
    let began = std::time::Instant::now();
    patch(&api, &id, "17").await;
    let upgrade = ended(&api, &id, Duration::from_secs(300)).await;
    let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
    let tally = writers.stop().await.unwrap();
    eprintln!("{:.0} s: {upgrade} {}", began.elapsed().as_secs_f32(), task["report"]);
    match upgrade["state"].as_str().unwrap() {
        "succeeded" => {}
        "rolled_back" => assert!(upgrade["reason"].as_str().unwrap().contains("behind"), "{upgrade}"),
        other => panic!("{other}: {task}"),
    }
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    let found = ledger.find(&tally).await.unwrap();
    assert_eq!((found.missing, found.ledger_fits), (0, true), "{found:?}");
    delete(&api, &[&id]).await;
}
