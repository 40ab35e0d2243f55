//! Restarting an instance, on real servers: it is asked when it started, and clients at its address wait and are not refused.

use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::client::openstack;
use crate::harness::house::House;
use crate::harness::{bed, delete, healthy, open_shop, password, status, wait_for};
use crate::operations::mariadb;
use crate::postgres_servers::rows;
use crate::postgresql::login;

async fn restart(api: &Client, id: &str) -> (u16, Value) {
    api.post(&format!("/instances/{id}/action"), &json!({"restart": {}})).await.unwrap()
}

/// Waits until a restart that was accepted is over; gives the statuses that were seen.
async fn restarted(api: &Client, id: &str) -> Value {
    status(api, id, "ACTIVE", Duration::from_secs(120)).await;
    let (code, told) = api.read("/tasks").await.unwrap();
    assert_eq!(code, 200, "{told}");
    let restart =
        told["tasks"].as_array().unwrap().iter().find(|task| task["kind"] == "restart").unwrap().clone();
    assert!(["succeeded", "rolled_back"].contains(&restart["state"].as_str().unwrap()), "{restart}");
    restart
}

/// Connects again and again; gives how often it did, how often it could not, and the longest that it waited.
async fn connect_on(
    address: String,
    secret: String,
    until: tokio::sync::watch::Receiver<bool>,
) -> (usize, usize, Duration) {
    let (mut count, mut refused, mut longest) = (0, 0, Duration::ZERO);
    while !*until.borrow() {
        let began = Instant::now();
        match mariadb(&address, "app", &secret).await {
            Ok(mut conn) => {
                count += 1;
                let _ended = conn.query_drop("SELECT 1").await;
            }
            Err(error) => {
                eprintln!("after {count}: {error}");
                refused += 1;
            }
        }
        longest = longest.max(began.elapsed());
    }
    (count, refused, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_restarted_while_clients_wait() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "restarted", "10.11").await;
    let store = dev.store().await;
    let before = dev.engine_pid(&store, &shop.id).await;
    let mut open = mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    open.query_drop("CREATE TABLE shop.t (id INT PRIMARY KEY) ENGINE=InnoDB").await.unwrap();
    open.query_drop("INSERT INTO shop.t VALUES (1)").await.unwrap();
    open.query_drop("BEGIN").await.unwrap();
    open.query_drop("INSERT INTO shop.t VALUES (2)").await.unwrap();
    let (tell, until) = tokio::sync::watch::channel(false);
    let clients =
        tokio::spawn(connect_on(shop.address.clone(), shop.password.expose_secret().to_owned(), until));

    assert_eq!(restart(&api, &shop.id).await.0, 202);
    let seen = api.show(&shop.id).await.unwrap();
    assert_eq!((&seen["status"], &seen["operating_status"]), (&json!("REBOOT"), &json!("")), "{seen}");
    assert_eq!(restart(&api, &shop.id).await.0, 422);
    // What is asked for meanwhile is done afterwards.
    let body = json!({"databases": [{"name": "meanwhile"}]});
    let (code, answer) = api.post(&format!("/instances/{}/databases", shop.id), &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    let task = restarted(&api, &shop.id).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    healthy(&api, &shop.id).await;
    tell.send(true).unwrap();
    let (count, refused, longest) = clients.await.unwrap();
    // One that was being made when the hold began ends with the sessions.
    assert!(count > 1 && refused <= 1, "{count} {refused}");
    eprintln!("{count} connections, the longest took {} ms", longest.as_millis());

    assert_ne!(dev.engine_pid(&store, &shop.id).await, before);
    assert!(open.query_drop("SELECT 1").await.is_err(), "its session went on");
    let mut app = mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    let ids: Vec<i32> = app.query("SELECT id FROM shop.t").await.unwrap();
    assert_eq!(ids, [1], "what was not committed is gone, what was is there");
    let up: Option<(String, String)> = app.query_first("SHOW GLOBAL STATUS LIKE 'Uptime'").await.unwrap();
    assert!(up.as_ref().unwrap().1.parse::<u32>().unwrap() < 60, "{up:?}");
    wait_for("what was asked for meanwhile is done", Duration::from_secs(20), async || {
        let (_, listed) = api.read(&format!("/instances/{}/databases", shop.id)).await.ok()?;
        listed["databases"].as_array()?.iter().any(|it| it["name"] == "meanwhile").then_some(())
    })
    .await;

    // One that hangs is what many restarts are asked for.
    let hangs = dev.engine_pid(&store, &shop.id).await;
    let pid = rustix::process::Pid::from_raw(hangs).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert_eq!(restart(&api, &shop.id).await.0, 202);
    let task = restarted(&api, &shop.id).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    assert_ne!(dev.engine_pid(&store, &shop.id).await, hangs);
    let mut app = mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    app.query_drop("INSERT INTO shop.t VALUES (3)").await.unwrap();
    drop(store);
    dev.leave_nothing(&api, &[&shop.id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_restarted() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = password();
    let (id, address) = crate::postgresql::shop(&api, &secret).await;
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    let began = rows(&app, "SELECT pg_postmaster_start_time()::text").await;
    app.batch_execute("INSERT INTO writes VALUES (1)").await.unwrap();
    assert_eq!(restart(&api, &id).await.0, 202);
    // It waits at the address and is let in; one that was being made when the hold began ends with the sessions.
    let first = login(&address, "app", &secret, "shop").await;
    let second = login(&address, "app", &secret, "shop").await;
    assert!(first.is_ok() || second.is_ok());
    let task = restarted(&api, &id).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    assert_ne!(rows(&app, "SELECT pg_postmaster_start_time()::text").await, began);
    assert_eq!(rows(&app, "SELECT n::text FROM writes").await, ["1"]);
    dev.leave_nothing(&api, &[&id]).await;
}

/// A server that does not come up: clients are let go, the instance says why, and it serves when it can be started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_come_up_is_said_so() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "broken", "10.11").await;
    let folder = dev.generations();
    let data: Vec<std::path::PathBuf> = walk(&folder, "ibdata1");
    let [system] = data.as_slice() else { panic!("{data:?}") };
    dev.points.arm("restart.forward.stop.after");
    assert_eq!(restart(&api, &shop.id).await.0, 202);
    dev.points.reached("restart.forward.stop.after").await;
    let aside = system.with_extension("aside");
    std::fs::rename(system, &aside).unwrap();
    std::fs::create_dir(system).unwrap();
    dev.points.disarm("restart.forward.stop.after");
    let task = restarted(&api, &shop.id).await;
    assert_eq!(task["state"], "rolled_back", "{task}");
    let seen = api.show(&shop.id).await.unwrap();
    assert!(seen["fault"]["message"].as_str().unwrap().contains("restart"), "{seen}");
    std::fs::remove_dir(system).unwrap();
    std::fs::rename(&aside, system).unwrap();
    healthy(&api, &shop.id).await;
    mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    dev.leave_nothing_but_words(&api, &[&shop.id]).await;
}

/// Every file of a name below a folder.
fn walk(folder: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path(), name));
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unmodified_client_restarts() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let shop = open_shop(&api, "by-client", "10.11").await;
    openstack("coffer", &["database", "instance", "restart", "by-client"]).unwrap_or_default();
    let seen = api.show(&shop.id).await.unwrap();
    assert!(["REBOOT", "ACTIVE"].contains(&seen["status"].as_str().unwrap()), "{seen}");
    restarted(&api, &shop.id).await;
    let mut app = mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    let up: Option<(String, String)> = app.query_first("SHOW GLOBAL STATUS LIKE 'Uptime'").await.unwrap();
    assert!(up.as_ref().unwrap().1.parse::<u32>().unwrap() < 30, "{up:?}");
    delete(&api, &[&shop.id]).await;
}

async fn act(api: &Client, id: &str, action: Value) -> (u16, Value) {
    api.post(&format!("/instances/{id}/action"), &action).await.unwrap()
}

async fn buffer_pool(shop: &crate::harness::Shopkeeper) -> u64 {
    let mut app = mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    let size: Option<u64> = app.query_first("SELECT @@innodb_buffer_pool_size").await.unwrap();
    size.unwrap()
}

/// The memory that the server has is another one; a resize that fails ends on the old flavor, serving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_gets_another_flavor() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "resized", "10.11").await;
    let small = buffer_pool(&shop).await;
    let had = api.show(&shop.id).await.unwrap()["flavor"]["id"].clone();
    assert_ne!(had, "3");
    for (action, code) in [
        (json!({"resize": {"flavorRef": had}}), 400),
        (json!({"resize": {"flavorRef": "none"}}), 404),
        (json!({"resize": {"volume": {"size": 1}}}), 400),
        (json!({"resize": {"volume": {"size": 2000}}}), 413),
        (json!({"resize": {"volume": {"size": 6}}}), 202),
        (json!({"resize": {"volume": 7}}), 202),
        (json!({"resize": {"flavorRef": 3}}), 202),
        (json!({"resize": {"flavorRef": 1}}), 422),
    ] {
        let (answered, answer) = act(&api, &shop.id, action.clone()).await;
        assert_eq!(answered, code, "{action}: {answer}");
    }
    status(&api, &shop.id, "ACTIVE", Duration::from_secs(120)).await;
    let seen = api.show(&shop.id).await.unwrap();
    assert_eq!((&seen["flavor"]["id"], &seen["volume"]["size"]), (&json!("3"), &json!(7)), "{seen}");
    let large = buffer_pool(&shop).await;
    assert!(large > small, "{small} {large}");

    // It does not come up with the next one.
    let data = walk(&dev.generations(), "ibdata1");
    let [system] = data.as_slice() else { panic!("{data:?}") };
    let (stopped, back) = ("resize.forward.stop.after", format!("resize.undo.reinstate.begun.{}", shop.id));
    dev.points.arm(stopped);
    dev.points.arm(&back);
    assert_eq!(act(&api, &shop.id, json!({"resize": {"flavorRef": 2}})).await.0, 202);
    dev.points.reached(stopped).await;
    let aside = system.with_extension("aside");
    std::fs::rename(system, &aside).unwrap();
    std::fs::create_dir(system).unwrap();
    dev.points.disarm(stopped);
    dev.points.reached(&back).await;
    std::fs::remove_dir(system).unwrap();
    std::fs::rename(&aside, system).unwrap();
    dev.points.disarm(&back);
    status(&api, &shop.id, "ACTIVE", Duration::from_secs(120)).await;
    let seen = api.show(&shop.id).await.unwrap();
    assert_eq!(seen["flavor"]["id"], "3", "{seen}");
    assert!(seen["fault"]["message"].as_str().unwrap().contains("resize"), "{seen}");
    assert_eq!(buffer_pool(&shop).await, large);
    dev.leave_nothing_but_words(&api, &[&shop.id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_gets_another_flavor() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = password();
    let (id, address) = crate::postgresql::shop(&api, &secret).await;
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    let buffers = "SELECT pg_size_bytes(current_setting('shared_buffers'))::text";
    let small: u64 = rows(&app, buffers).await[0].parse().unwrap();
    app.batch_execute("INSERT INTO writes VALUES (1)").await.unwrap();
    assert_eq!(act(&api, &id, json!({"resize": {"flavorRef": "3"}})).await.0, 202);
    status(&api, &id, "ACTIVE", Duration::from_secs(120)).await;
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    let large: u64 = rows(&app, buffers).await[0].parse().unwrap();
    assert!(large > small, "{small} {large}");
    assert_eq!(rows(&app, "SELECT n::text FROM writes").await, ["1"]);
    dev.leave_nothing(&api, &[&id]).await;
}

/// What admins see and do, through the unmodified client where it has a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_see_every_projects_instances() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let admin = Client::login(&bed().state, "coffer-admin").await.unwrap();
    let shop = open_shop(&api, "managed", "10.11").await;
    let (code, answer) = api.read("/mgmt/instances").await.unwrap();
    assert_eq!(code, 403, "{answer}");
    let (code, shown) = admin.read(&format!("/mgmt/instances/{}", shop.id)).await.unwrap();
    assert_eq!(code, 200, "{shown}");
    let shown = &shown["instance"];
    assert_eq!((&shown["deleted"], &shown["deleted_at"]), (&json!(false), &Value::Null), "{shown}");
    assert_eq!(shown["server"]["tenant_id"], shown["tenant_id"], "{shown}");
    let listed =
        openstack("coffer-admin", &["database", "instance", "list", "--all-projects", "-f", "json"]).unwrap();
    assert!(listed.as_array().unwrap().iter().any(|it| it["ID"] == *shop.id), "{listed}");
    let project = shown["tenant_id"].as_str().unwrap();
    let path = format!("/mgmt/instances?project_id={project}&limit=1&deleted=False");
    let (_, page) = admin.read(&path).await.unwrap();
    assert_eq!(page["instances"].as_array().unwrap().len(), 1);
    for (query, code) in
        [("marker=x", 400), ("deleted=perhaps", 400), ("limit=0", 400), ("marker=100000", 200)]
    {
        assert_eq!(admin.read(&format!("/mgmt/instances?{query}")).await.unwrap().0, code, "{query}");
    }
    let root = format!("/mgmt/instances/{}/root", shop.id);
    let (_, never) = admin.read(&root).await.unwrap();
    assert_eq!(
        (&never["root_history"]["enabled"], &never["root_history"]["user"]),
        (&json!("Never"), &json!("Nobody"))
    );
    assert_eq!(api.post(&format!("/instances/{}/root", shop.id), &json!({})).await.unwrap().0, 200);
    let (_, history) = admin.read(&root).await.unwrap();
    assert_ne!(history["root_history"]["user"], "Nobody", "{history}");
    let action = format!("/mgmt/instances/{}/action", shop.id);
    for (body, code) in [
        (json!({"reboot": {}, "stop": {}}), 400),
        (json!({"dance": {}}), 400),
        (json!({"reboot": 1}), 400),
        (json!({"stop": {}}), 501),
    ] {
        assert_eq!(admin.post(&action, &body).await.unwrap().0, code, "{body}");
    }
    openstack("coffer-admin", &["database", "instance", "reboot", &shop.id]).unwrap_or_default();
    status(&api, &shop.id, "ACTIVE", Duration::from_secs(60)).await;
    delete(&api, &[&shop.id]).await;
    let (code, gone) = admin.read(&format!("/mgmt/instances/{}?deleted=true", shop.id)).await.unwrap();
    assert_eq!((code, &gone["instance"]["deleted"]), (200, &json!(true)), "{gone}");
    assert_eq!(admin.read(&format!("/mgmt/instances/{}", shop.id)).await.unwrap().0, 404);
}

/// What keeps an instance busy is ended where it can be, and its fault is forgotten; the client's forced deletion works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_reset() {
    let dev = House::start().await;
    let (api, admin) = (dev.login("coffer").await, dev.login("coffer-admin").await);
    let shop = open_shop(&api, "reset", "10.11").await;
    let path = format!("/instances/{}/action", shop.id);
    assert_eq!(api.post(&path, &json!({"reset_status": {}})).await.unwrap().0, 403);
    // An upgrade that waits before its one-way point.
    dev.points.arm("upgrade_twin.forward.place.before");
    let body = json!({"upgrade": {"datastore_version": "11.8", "strategy": "twin"}});
    assert_eq!(api.post(&format!("/instances/{}/upgrades", shop.id), &body).await.unwrap().0, 202);
    dev.points.reached("upgrade_twin.forward.place.before").await;
    assert!(api.delete(&shop.id).await.is_err(), "it is busy");
    assert_eq!(admin.post(&path, &json!({"reset_status": {}})).await.unwrap().0, 202);
    dev.points.disarm("upgrade_twin.forward.place.before");
    status(&api, &shop.id, "ACTIVE", Duration::from_secs(60)).await;
    assert_eq!(api.show(&shop.id).await.unwrap()["datastore"]["version"], "10.11");
    // The administrator's own action does the same.
    let managed = format!("/mgmt/instances/{}/action", shop.id);
    let reset = json!({"reset-task-status": {}});
    dev.points.arm("upgrade_twin.forward.place.before");
    assert_eq!(api.post(&format!("/instances/{}/upgrades", shop.id), &body).await.unwrap().0, 202);
    dev.points.reached("upgrade_twin.forward.place.before").await;
    assert_eq!(api.post(&managed, &reset).await.unwrap().0, 403);
    assert_eq!(admin.post(&managed, &reset).await.unwrap().0, 202);
    dev.points.disarm("upgrade_twin.forward.place.before");
    status(&api, &shop.id, "ACTIVE", Duration::from_secs(60)).await;
    assert_eq!(api.show(&shop.id).await.unwrap()["datastore"]["version"], "10.11");
    // A restart is past it from the beginning.
    dev.points.arm("restart.forward.hold.before");
    assert_eq!(restart(&api, &shop.id).await.0, 202);
    dev.points.reached("restart.forward.hold.before").await;
    assert_eq!(api.post(&path, &json!({"reset_status": {"force_delete": true}})).await.unwrap().0, 422);
    dev.points.disarm("restart.forward.hold.before");
    status(&api, &shop.id, "ACTIVE", Duration::from_secs(60)).await;
    assert_eq!(api.post(&path, &json!({"reset_status": {"force_delete": true}})).await.unwrap().0, 202);
    dev.leave_nothing(&api, &[&shop.id]).await;
}
