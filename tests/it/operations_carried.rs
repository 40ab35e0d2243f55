//! Operations that were accepted are done: through a twin and in place, at the source of an upgrade action, and when the worker is
//! killed before, in and after their statements. Who is there in the end is asked from the server.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{ask_for_upgrade, healthy, open_shop, password, status, wait_for};
use crate::operations::{NOTHING, ask, mariadb, postgresql_shop, refused, secret};
use crate::postgres_servers::rows;
use crate::postgresql::login;

/// Makes users and drops every second one, until the instance has left its version; each call is accepted. Gives those
/// that shall be there, and how many calls there were.
async fn make_and_drop(api: &Client, id: &str, until: impl Fn(&Value) -> bool) -> (Vec<String>, usize) {
    const LEAST: usize = 200;
    let mut there = Vec::new();
    let mut calls = 0;
    for n in 0.. {
        let seen = api.show(id).await.unwrap();
        assert!(seen.get("fault").is_none(), "{seen}");
        if n >= LEAST && until(&seen) {
            break;
        }
        let name = format!("u{n:04}");
        let body = json!({"users": [{"name": name, "password": name, "databases": [{"name": "shop"}]}]});
        ask(api, "POST", &format!("/instances/{id}/users"), body, 202).await;
        calls += 1;
        there.push(name);
        if n % 2 == 1 {
            let name = there.remove(there.len() - 2);
            // One that is made still is waited for: they are done in order.
            ask(api, "DELETE", &format!("/instances/{id}/users/{name}"), NOTHING, 202).await;
            calls += 1;
        }
    }
    (there, calls)
}

async fn nothing_waits(dev: &House) {
    let store = dev.store().await;
    wait_for("every operation is over", Duration::from_secs(120), async || {
        let open = rows(&store, "SELECT id::text FROM operations WHERE outcome IS NULL").await;
        open.is_empty().then_some(())
    })
    .await;
    let refused = rows(&store, "SELECT kind || refusal::text FROM operations WHERE outcome <> 'done'").await;
    assert_eq!(refused, [] as [String; 0]);
}

/// The users that the server knows, as one of them is told.
async fn known_to_mariadb(address: &str, app: &str) -> Vec<String> {
    let mut conn = mariadb(address, "app", app).await.unwrap();
    // A grantee is told of itself only, so each is asked by logging in; who there are, the list says.
    let one: Option<i32> = conn.query_first("SELECT 1").await.unwrap();
    assert_eq!(one, Some(1));
    let mut found = Vec::new();
    for n in 0..2_000 {
        let name = format!("u{n:04}");
        match mariadb(address, &name, &name).await {
            Ok(mut conn) => {
                conn.query_drop("CREATE OR REPLACE TABLE shop.touched (id INT)").await.unwrap();
                found.push(name);
            }
            Err(mysql_async::Error::Server(error)) if error.code == 1045 => {
                if n > 400 {
                    break;
                }
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    found
}

async fn mariadb_upgrade(strategy: &str) {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "busy", "10.11").await;
    let root = format!("/instances/{}/root", shop.id);
    ask(&api, "POST", &root, json!({"password": "strong"}), 200).await;
    let body = json!({"upgrade": {"datastore_version": "11.8", "strategy": strategy}});
    ask(&api, "POST", &format!("/instances/{}/upgrades", shop.id), body, 202).await;
    let (expected, calls) = make_and_drop(&api, &shop.id, |seen| {
        seen["datastore"]["version"] == "11.8" && seen["status"] == "ACTIVE"
    })
    .await;
    nothing_waits(&dev).await;
    let seen = api.show(&shop.id).await.unwrap();
    assert_eq!(seen["datastore"]["version"], "11.8", "{seen}");
    use secrecy::ExposeSecret as _;
    assert_eq!(known_to_mariadb(&shop.address, shop.password.expose_secret()).await, expected);
    // Root came along, with what it may do and what not.
    assert_eq!(ask(&api, "GET", &root, NOTHING, 200).await, json!({"rootEnabled": true}));
    let mut conn = mariadb(&shop.address, "root", "strong").await.unwrap();
    conn.query_drop("CREATE DATABASE by_root").await.unwrap();
    for sql in [
        "SELECT * FROM mysql.global_priv",
        "DROP DATABASE coffer",
        "CREATE USER x@'%'",
        "SET GLOBAL read_only = 0",
    ] {
        refused(&mut conn, sql).await;
    }
    eprintln!("{strategy}: {calls} calls");
    dev.leave_nothing(&api, &[&shop.id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_lost_through_a_twin_of_mariadb() {
    mariadb_upgrade("twin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_lost_in_place_of_mariadb() {
    mariadb_upgrade("in_place").await;
}

async fn postgresql_upgrade(strategy: &str) {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let app_secret = password();
    let (id, address) = postgresql_shop(&api, &app_secret).await;
    ask(&api, "POST", &format!("/instances/{id}/root"), json!({"password": "strong"}), 200).await;
    let body = json!({"upgrade": {"datastore_version": "17", "strategy": strategy}});
    ask(&api, "POST", &format!("/instances/{id}/upgrades"), body, 202).await;
    let (expected, calls) =
        make_and_drop(&api, &id, |seen| seen["datastore"]["version"] == "17" && seen["status"] == "ACTIVE")
            .await;
    nothing_waits(&dev).await;
    let app = login(&address, "app", &app_secret, "shop").await.unwrap();
    let version = rows(&app, "SHOW server_version").await;
    assert!(version[0].starts_with("17."), "{version:?}");
    let there =
        rows(&app, "SELECT rolname FROM pg_roles WHERE rolname ~ '^u[0-9]' AND rolcanlogin ORDER BY 1").await;
    assert_eq!(there, expected);
    for name in [&expected[0], expected.last().unwrap()] {
        let user = login(&address, name, &secret(name), "shop").await.unwrap();
        user.batch_execute("INSERT INTO writes VALUES (1) ON CONFLICT DO NOTHING").await.unwrap();
    }
    let root = login(&address, "root", &secret("strong"), "shop").await.unwrap();
    root.batch_execute("INSERT INTO writes VALUES (2) ON CONFLICT DO NOTHING; CREATE TABLE by_root (id int)")
        .await
        .unwrap();
    assert!(root.batch_execute("CREATE ROLE x").await.is_err());
    eprintln!("{strategy}: {calls} calls");
    dev.leave_nothing(&api, &[&id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_lost_through_a_twin_of_postgresql() {
    postgresql_upgrade("twin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_lost_in_place_of_postgresql() {
    postgresql_upgrade("in_place").await;
}

/// Killed before, in and after the statements, an operation is done once in its effect; it is not refused because it was done
/// already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_no_operation() {
    let mut dev = House::start().await;
    let mut api = dev.login("coffer").await;
    let shop = open_shop(&api, "killed", "10.11").await;
    let base = format!("/instances/{}", shop.id);
    let group = json!({"configuration": {"name": "g", "values": {"wait_timeout": 777},
        "datastore": {"type": "mariadb", "version": "10.11"}}});
    let group = ask(&api, "POST", "/configurations", group, 200).await;
    let group = group["configuration"]["id"].as_str().unwrap().to_owned();
    let steps: [(&str, &str, &str, Value); 10] = [
        ("create_databases", "POST", "databases", json!({"databases": [{"name": "one"}, {"name": "two"}]})),
        (
            "create_users",
            "POST",
            "users",
            json!({"users": [{"name": "ann", "password": "a", "databases": [{"name": "one"}]}, {"name": "bob", "password": "b"}]}),
        ),
        ("change_passwords", "PUT", "users", json!({"users": [{"name": "ann", "password": "a2"}]})),
        ("grant", "PUT", "users/ann/databases", json!({"databases": [{"name": "two"}]})),
        ("revoke", "DELETE", "users/ann/databases/one", NOTHING),
        ("alter_user", "PUT", "users/ann", json!({"user": {"name": "eve", "password": "e"}})),
        ("drop_user", "DELETE", "users/bob", NOTHING),
        ("drop_database", "DELETE", "databases/one", NOTHING),
        // Attached, killed before it is done; then changed, killed after it.
        ("configure", "PUT", "", json!({"instance": {"configuration": group}})),
        ("configure", "PUT", "", json!({"instance": {}})),
    ];
    for (n, (kind, method, path, body)) in steps.into_iter().enumerate() {
        // Every second one before its statements, the others after them.
        let point = format!("operation.{kind}.{}", if n % 2 == 0 { "begun" } else { "done" });
        dev.points.arm(&point);
        // The request waits 5 s for its end, which does not come.
        ask(&api, method, format!("{base}/{path}").trim_end_matches('/'), body, 202).await;
        dev.points.reached(&point).await;
        dev.points.disarm(&point);
        dev.kill_dev_and_start_again().await;
        nothing_waits(&dev).await;
        api = dev.login("coffer").await;
        if kind == "configure" {
            let mut app =
                mariadb(&healthy(&api, &shop.id).await, "app", shop.password.expose_secret()).await.unwrap();
            let has: Option<u32> = app.query_first("SELECT @@GLOBAL.wait_timeout").await.unwrap();
            assert_eq!(has, Some(if n % 2 == 0 { 777 } else { 28_800 }));
        }
    }
    let users = ask(&api, "GET", &format!("{base}/users"), NOTHING, 200).await;
    assert_eq!(
        users["users"],
        json!([
            {"name": "app", "host": "%", "databases": [{"name": "shop"}]},
            {"name": "eve", "host": "%", "databases": [{"name": "two"}]}])
    );
    let databases = ask(&api, "GET", &format!("{base}/databases"), NOTHING, 200).await;
    assert_eq!(databases["databases"], json!([{"name": "shop"}, {"name": "two"}]));
    mariadb(&healthy(&api, &shop.id).await, "eve", "e").await.unwrap();
    dev.leave_nothing(&api, &[&shop.id]).await;
}

/// The source of an upgrade action takes operations, which come over; the new instance takes none before its detach.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_at_a_source_come_over_to_what_follows_it() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "source", "10.11").await;
    let new = ask_for_upgrade(&api, &shop.id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let body = json!({"users": [{"name": "late", "password": "l", "databases": [{"name": "shop"}]}]});
    let answer = ask(&api, "POST", &format!("/instances/{new}/users"), body.clone(), 422).await;
    let message = answer["unprocessableEntity"]["message"].as_str().unwrap();
    assert!(message.contains("read-only until it is detached") && message.contains(&shop.id), "{message}");
    ask(&api, "POST", &format!("/instances/{}/users", shop.id), body, 202).await;
    crate::harness::ask_for_detach(&api, &new).await;
    let address = healthy(&api, &new).await;
    let mut late = mariadb(&address, "late", "l").await.unwrap();
    late.query_drop("CREATE TABLE shop.by_late (id INT)").await.unwrap();
    dev.leave_nothing(&api, &[&shop.id, &new]).await;
}
