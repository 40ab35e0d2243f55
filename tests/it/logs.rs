//! The logs of an instance, by the unmodified client, on real servers: what a tenant did is in them, and nothing that the
//! service did.

use std::process::Command;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{open_shop, processes, wait_for};
use crate::parameters::by_address;
use crate::postgresql::psql;

const SOON: Duration = Duration::from_secs(60);

/// What `openstack database log ...` prints, or why it fails.
fn log(dev: &House, cloud: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(std::env::var("COFFER_TEST_CLIENT").unwrap())
        .args(["--os-cloud", cloud, "database", "log"])
        .args(args)
        .env("OS_CLIENT_CONFIG_FILE", dev.state.join("clouds.yaml"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn set(dev: &House, id: &str, args: &[&str]) -> Value {
    let all = [&["set", id][..], args, &["-f", "json"]].concat();
    let printed = log(dev, "coffer", &all).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    serde_json::from_str(&printed).unwrap()
}

fn show(dev: &House, cloud: &str, id: &str, name: &str) -> Value {
    let printed = log(dev, cloud, &["show", id, name, "-f", "json"]).unwrap();
    serde_json::from_str(&printed).unwrap()
}

fn listed(dev: &House, cloud: &str, id: &str) -> Vec<String> {
    let printed = log(dev, cloud, &["list", id, "-f", "json"]).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&printed).unwrap();
    rows.iter()
        .map(|row| format!("{} {}", row["Name"].as_str().unwrap(), row["Type"].as_str().unwrap()))
        .collect()
}

/// Whether the log, saved by the client, has these, and nothing of ours.
fn saved(dev: &House, id: &str, name: &str) -> String {
    let file = dev.folder().join("saved.log");
    log(dev, "coffer", &["save", id, name, "--file", &file.to_string_lossy()]).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    for ours in ["coffer@", "coffer[", "/state/", "performance_schema", "pg_reload_conf"] {
        assert!(!text.contains(ours), "{ours} in {text}");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_tells_what_its_tenants_asked() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "logged", "10.11").await;
    let (id, address, secret) = (shop.id.as_str(), shop.address.as_str(), &shop.password);
    assert_eq!(listed(&dev, "coffer", id), ["general USER", "slow_query USER"]);
    assert_eq!(listed(&dev, "coffer-admin", id), ["error SYS", "general USER", "slow_query USER"]);
    assert_eq!(show(&dev, "coffer", id, "general")["status"], "Disabled");
    let told = log(&dev, "coffer", &["set", id, "general", "--publish"]).expect_err("it is off");
    assert!(told.contains("enable it first"), "{told}");

    let set_on = set(&dev, id, &["general", "--enable"]);
    assert!(["Enabled", "Ready"].contains(&set_on["status"].as_str().unwrap()), "{set_on}");
    let mut app = by_address(address, secret).await.unwrap();
    app.query_drop("select 'the first\nof two lines'").await.unwrap();
    for (user, said) in [("ann", 202), ("eve", 202)] {
        let body = json!({"users": [{"name": user, "password": "hidden-one", "databases": []}]});
        let (code, answer) = api.post(&format!("/instances/{id}/users"), &body).await.unwrap();
        assert_eq!(code, said, "{answer}");
    }
    wait_for("it grows", SOON, async || {
        (show(&dev, "coffer", id, "general")["status"] == "Ready").then_some(())
    })
    .await;
    let published = set(&dev, id, &["general", "--publish"]);
    assert_eq!(published["status"], "Published", "{published}");
    assert!(
        published["published"].as_i64().unwrap() > 0 && published["container"] == "database_logs",
        "{published}"
    );
    let text = saved(&dev, id, "general");
    assert!(
        text.contains("Query\tselect 'the first\nof two lines'\n") && text.contains("Connect\tapp@"),
        "{text}"
    );
    assert!(!text.contains("hidden-one") && !text.contains("ann"), "{text}");

    // What comes later is pending, and the next publication has both.
    app.query_drop("select 'later'").await.unwrap();
    wait_for("more is there", SOON, async || {
        (show(&dev, "coffer", id, "general")["status"] == "Partial").then_some(())
    })
    .await;
    set(&dev, id, &["general", "--publish"]);
    let text = saved(&dev, id, "general");
    assert!(text.contains("the first") && text.contains("select 'later'"), "{text}");
    let tail = log(&dev, "coffer", &["tail", id, "general", "--lines", "1"]).unwrap();
    assert_eq!(tail.trim_end().lines().count(), 1, "{tail}");

    // Slow statements, also after a crash of the server.
    set(&dev, id, &["slow_query", "--enable"]);
    processes::kill(dev.engine_pid(&dev.store().await, id).await);
    let mut app = wait_for("the server is back", SOON, async || by_address(address, secret).await.ok()).await;
    app.query_drop("set session long_query_time = 0.1").await.unwrap();
    app.query_drop("select sleep(0.3), 'slow one'").await.unwrap();
    set(&dev, id, &["slow_query", "--publish"]);
    let text = saved(&dev, id, "slow_query");
    assert!(
        text.contains("# User@Host: app[app]") && text.contains("select sleep(0.3), 'slow one';"),
        "{text}"
    );

    // Off is off, in the server.
    let off = set(&dev, id, &["general", "--disable", "--discard"]);
    assert_eq!((&off["status"], &off["container"]), (&json!("Disabled"), &json!("None")), "{off}");
    let is_on: Option<String> = app.query_first("select @@global.general_log").await.unwrap();
    assert_eq!(is_on.as_deref(), Some("0"));
    let is_on: Option<String> = app.query_first("select @@global.slow_query_log").await.unwrap();
    assert_eq!(is_on.as_deref(), Some("1"));
    assert!(app.query_drop("set global general_log = 1").await.is_err());

    // The operator's, and another's.
    let told = log(&dev, "coffer", &["show", id, "error"]).expect_err("403");
    assert!(told.contains("403"), "{told}");
    let told = log(&dev, "coffer", &["show", id, "binlog"]).expect_err("404");
    assert!(told.contains("404"), "{told}");
    let all = ["set", id, "error", "--publish"];
    log(&dev, "coffer-admin", &all).unwrap();
    let tail = log(&dev, "coffer-admin", &["tail", id, "error", "--lines", "200"]).unwrap();
    assert!(tail.contains("ready for connections"), "{tail}");
    let (code, answer) =
        api.post(&format!("/instances/{id}/log"), &json!({"name": "error", "publish": 1})).await.unwrap();
    assert_eq!(code, 403, "{answer}");
    dev.leave_nothing(&api, &[id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_tells_what_its_tenants_asked() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let (id, address) = crate::postgresql::shop_of(&api, &secret, "17").await;
    let id = id.as_str();
    assert_eq!(listed(&dev, "coffer", id), ["general USER"]);
    set(&dev, id, &["general", "--enable"]);
    let to = format!("host={address} user=app dbname=shop");
    assert_eq!(
        psql(&to, &secret, "select 'the first\nof two lines'").await.as_deref(),
        Ok("the first\nof two lines")
    );
    psql(&to, &secret, "select 1/0").await.expect_err("it cannot");
    let body = json!({"users": [{"name": "ann", "password": "hidden-one", "databases": []}]});
    assert_eq!(api.post(&format!("/instances/{id}/users"), &body).await.unwrap().0, 202);
    let published = set(&dev, id, &["general", "--publish"]);
    assert_eq!(published["status"], "Published", "{published}");
    let text = saved(&dev, id, "general");
    assert!(text.contains("app@shop LOG:  statement: select 'the first\n\tof two lines'"), "{text}");
    assert!(text.contains("app@shop ERROR:  division by zero"), "{text}");
    assert!(!text.contains("hidden-one") && !text.contains("ann") && !text.contains("SCRAM"), "{text}");

    set(&dev, id, &["general", "--disable", "--discard"]);
    psql(&to, &secret, "select 'unheard'").await.unwrap();
    assert_eq!(psql(&to, &secret, "show log_statement").await.as_deref(), Ok("none"));
    assert_eq!(show(&dev, "coffer", id, "general")["status"], "Disabled");
    // The client tells that by words alone, and not by its status.
    let told = log(&dev, "coffer", &["tail", id, "general"]).unwrap();
    assert!(told.contains("No published 'general' log was found"), "{told}");
    dev.leave_nothing(&api, &[id]).await;
}
