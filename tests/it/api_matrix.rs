//! The matrix of upgrades as admins edit it, simulations, and what maintenance does to a second process.

use std::time::{Duration, Instant};

use coffer::domain::datastore::RuntimeKind;
use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::test_api::{NOBODY, Setting, TestApi, sample};

const ADMIN: &str = "admin@1";
const MEMBER: &str = "member@1234";

fn version(datastore: &str, name: &str) -> Value {
    json!({"datastore_type": datastore, "datastore_version": name})
}

/// What the instance's view offers.
async fn offered(door: &TestApi, id: impl std::fmt::Display) -> Vec<String> {
    let view = door.send(MEMBER, "GET", &format!("instances/{id}"), None).await;
    let upgrades = view.ok(200)["instance"]["available_upgrades"]["upgrades"].as_array().unwrap().clone();
    upgrades.iter().map(|upgrade| upgrade["version"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_edge_is_added_disabled_enabled_and_deleted() {
    let door = TestApi::open().await;
    let it = door.instance("1234", "percona", "5.7").await;
    door.upgrade(MEMBER, it, ("mysql", "8.0")).await.is(501, "notImplemented");
    assert!(offered(&door, it).await.is_empty());

    let edge = sample("upgrade-path-request.json");
    let added = door.send(ADMIN, "POST", "mgmt/upgrade-paths", Some(&edge)).await;
    let added = added.ok(200)["upgrade_path"].clone();
    let mut golden = sample("upgrade-path.json")["upgrade_path"].clone();
    golden["id"] = added["id"].clone();
    golden["from"]["id"] = json!(door.version("percona", "5.7").await.id);
    golden["to"]["id"] = json!(door.version("mysql", "8.0").await.id);
    assert_eq!(added, golden);
    assert_eq!((&added["enabled"], &added["ways"]), (&json!(true), &json!(["replica", "twin"])));
    assert_eq!(added["from"]["datastore_version"], "5.7");
    assert_eq!(offered(&door, it).await, ["8.0"]);
    let path = format!("mgmt/upgrade-paths/{}", added["id"].as_str().unwrap());
    assert_eq!(door.send(ADMIN, "GET", &path, None).await.ok(200)["upgrade_path"], added);
    let all = door.send(ADMIN, "GET", "mgmt/upgrade-paths", None).await;
    assert!(all.ok(200)["upgrade_paths"].as_array().unwrap().contains(&added));

    // Disabled it is refused at once, and hidden; another way than the action's is none for the action.
    for (change, status, name) in [
        (json!({"enabled": false}), 501, "notImplemented"),
        (json!({"enabled": true, "ways": ["in_place"]}), 400, "badRequest"),
    ] {
        let changed = door.send(ADMIN, "PUT", &path, Some(&json!({"upgrade_path": change}))).await;
        assert_eq!(changed.ok(200)["upgrade_path"]["note"], "tried by us");
        door.upgrade(MEMBER, it, ("mysql", "8.0")).await.is(status, name);
        assert!(offered(&door, it).await.is_empty(), "{change}");
    }
    let back = json!({"upgrade_path": {"ways": ["replica"]}});
    door.send(ADMIN, "PUT", &path, Some(&back)).await.ok(200);
    assert_eq!(offered(&door, it).await, ["8.0"]);

    assert_eq!(door.send(ADMIN, "DELETE", &path, None).await.status, 204);
    for method in ["GET", "DELETE"] {
        door.send(ADMIN, method, &path, None).await.is(404, "itemNotFound");
    }
    door.send(ADMIN, "PUT", &path, Some(&back)).await.is(404, "itemNotFound");
    door.upgrade(MEMBER, it, ("mysql", "8.0")).await.is(501, "notImplemented");
    assert_eq!(door.count("events where what like 'path_%' and actor = 'admin'").await, 5);
}

#[tokio::test]
async fn an_edge_joins_two_versions_that_are_there_once() {
    let door = TestApi::open().await;
    let rows = door.count("upgrade_paths").await;
    let good = json!({"from": version("mysql", "5.7"), "to": version("mysql", "8.0"), "ways": ["replica"]});
    for (key, value, expected) in [
        ("from", version("oracle", "5.7"), "upgrade_path['from']['datastore_type']"),
        ("to", version("mysql", "99"), "upgrade_path['to']['datastore_version']"),
        ("to", version("mysql", "5.7"), "upgrade_path['to'] must be another version"),
        ("ways", json!(["sideways"]), "upgrade_path['ways'][0]"),
        ("from", version("mysql", "5.6"), "there is a path from mysql 5.6 to mysql 5.7"),
    ] {
        let mut edge = good.clone();
        edge[key] = value;
        if expected.starts_with("there") {
            edge["to"] = version("mysql", "5.7");
        }
        let answer =
            door.send(ADMIN, "POST", "mgmt/upgrade-paths", Some(&json!({"upgrade_path": edge}))).await;
        let text = answer.is(400, "badRequest");
        assert!(text.contains(expected), "{text}");
    }
    let body = json!({"upgrade_path": good});
    for who in ["reader@1234", "dbaas:creator@1234", MEMBER, "swiftoperator@1234"] {
        door.send(who, "POST", "mgmt/upgrade-paths", Some(&body)).await.is(403, "forbidden");
        door.send(who, "GET", "mgmt/upgrade-paths", None).await.is(403, "forbidden");
        door.send(who, "DELETE", &format!("mgmt/upgrade-paths/{NOBODY}"), None).await.is(403, "forbidden");
    }
    assert_eq!(door.count("upgrade_paths").await, rows);
    // An id is as good as a name.
    let (from, to) = (door.version("mysql", "8.0").await, door.version("mariadb", "10.4").await);
    let by_id = json!({"upgrade_path": {"from": version(&from.datastore_id.to_string(), &from.id.to_string()),
        "to": version("mariadb", &to.id.to_string()), "ways": ["replica"], "enabled": false}});
    let added = door.send(ADMIN, "POST", "mgmt/upgrade-paths", Some(&by_id)).await;
    assert_eq!(added.ok(200)["upgrade_path"]["enabled"], false);
}

#[tokio::test]
async fn only_simulated_instances_take_simulations_and_only_from_admins() {
    let door = TestApi::open().await;
    let real = door.instance_on("1234", "mariadb", "10.11", RuntimeKind::Process).await;
    let simulated = door.instance("1234", "mysql", "5.6").await;
    let steps = json!({"steps": {"seed": {"ms": 250}, "verify": {"fault": "die"}}});
    let of = |id: &dyn std::fmt::Display| format!("mgmt/instances/{id}/simulation");
    let told = door.send(ADMIN, "PUT", &of(&real), Some(&steps)).await;
    assert!(told.is(422, "unprocessableEntity").contains("real servers"));
    door.send(ADMIN, "GET", &of(&real), None).await.is(422, "unprocessableEntity");
    door.send(ADMIN, "PUT", &of(&NOBODY), Some(&steps)).await.is(404, "itemNotFound");
    door.send(ADMIN, "PUT", &of(&"orders"), Some(&steps)).await.is(404, "itemNotFound");
    door.send(MEMBER, "PUT", &of(&simulated), Some(&steps)).await.is(403, "forbidden");
    door.send(MEMBER, "GET", &of(&simulated), None).await.is(403, "forbidden");
    door.send(ADMIN, "PUT", &of(&simulated), Some(&json!({"steps": {"sow": {}}})))
        .await
        .is(400, "badRequest");
    let seen = async || door.send(ADMIN, "GET", &of(&simulated), None).await.ok(200).clone();
    assert_eq!(seen().await, json!({"steps": {}}));
    door.send(ADMIN, "PUT", &of(&simulated), Some(&steps)).await.ok(200);
    assert_eq!(seen().await, json!({"steps": {"seed": {"ms": 250}, "verify": {"ms": 0, "fault": "die"}}}));
    // A worker asks for one step.
    let asked: Result<_, coffer::db::Error> =
        door.db.run(move |conn| coffer::db::simulations::for_step(conn, simulated, "seed")).await;
    assert_eq!(asked.unwrap().unwrap().ms, 250);
    let none = json!({"steps": {}});
    door.send(ADMIN, "PUT", &of(&simulated), Some(&none)).await.ok(200);
    assert_eq!(seen().await, none);
}

/// `coffer admin`, with nothing but the store.
fn admin(arguments: &[&str], url: Option<&str>) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_coffer"));
    command.arg("admin").args(arguments).env_remove("DATABASE_URL");
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    let output = command.output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_edits_the_matrix_from_a_terminal() {
    let door = TestApi::open().await;
    let it = door.instance("1234", "mysql", "5.6").await;
    let url = Some(door.store_url.as_str());
    let (done, told) = admin(&["paths", "list"], url);
    assert!(done && told.contains("mysql:5.6") && told.contains("enabled"), "{told}");
    let (_, told) = admin(&["paths", "list", "--json"], url);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown = lines.iter().find(|line| line["from"] == "mysql:5.6" && line["to"] == "mysql:5.7").unwrap();
    assert_eq!(shown["enabled"], true, "{shown}");
    assert!(shown["ways"].as_array().unwrap().contains(&json!("replica")), "{shown}");
    let (done, told) = admin(&["paths", "disable", "mysql:5.6", "mysql:5.7"], url);
    assert!(done && told.contains("disabled"), "{told}");
    door.upgrade(MEMBER, it, ("mysql", "5.7")).await.is(400, "badRequest");
    assert_eq!(offered(&door, it).await, ["10.4enc"]);
    let (done, told) = admin(&["paths", "enable", "mysql:5.6", "mysql:5.7"], url);
    assert!(done, "{told}");
    assert_eq!(offered(&door, it).await.len(), 2);
    let add =
        ["paths", "add", "mysql:5.6", "mysql:8.0", "--way", "replica", "--way", "twin", "--note", "by hand"];
    let (done, told) = admin(&add, url);
    assert!(done && told.contains("replica,twin") && told.contains("by hand"), "{told}");
    assert_eq!(offered(&door, it).await.len(), 3);
    for (arguments, expected) in [
        (&add[..], "there is a path from mysql 5.6 to mysql 8.0"),
        (&["paths", "enable", "mysql:8.0", "mysql:5.1"], "there is no path from mysql:8.0 to mysql:5.1"),
        (&["paths", "enable", "mysql", "mysql:5.1"], "expected datastore:version"),
        (
            &["paths", "add", "mysql:5.6", "mysql:99", "--way", "twin"],
            "upgrade_path['to']['datastore_version']",
        ),
        (&["paths", "add", "mysql:5.6", "mysql:5.5", "--way", "sideways"], "expected replica, in_place"),
    ] {
        let (done, told) = admin(arguments, url);
        assert!(!done && told.contains(expected), "{told}");
    }
    assert_eq!(door.count("events where project_id = 'operator'").await, 3);
    // The bed's embedded store by its folder; nothing names a store.
    let state = crate::harness::bed().state;
    let (done, told) = admin(&["paths", "list", "--state-dir", state.to_str().unwrap()], None);
    assert!(done && told.contains("mariadb:10.11"), "{told}");
    let (done, told) = admin(&["paths", "list"], None);
    assert!(!done && told.contains("--state-dir"), "{told}");
}

/// Another process on the same store learns of maintenance within about a second.
#[tokio::test]
async fn maintenance_is_known_to_every_process() {
    let door = TestApi::open().await;
    door.send(MEMBER, "GET", "instances", None).await.ok(200);
    // As another process writes it.
    let began = Instant::now();
    door.sql("update maintenance set is_on = true, retry_after = 9").await;
    wait_for("maintenance is seen", Duration::from_secs(10), async || {
        let told = door.send(MEMBER, "GET", "instances", None).await;
        (told.status == 503).then(|| assert_eq!(told.header("retry-after"), "9"))
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    door.sql("update maintenance set is_on = false").await;
    wait_for("its end is seen", Duration::from_secs(10), async || {
        (door.send(MEMBER, "GET", "instances", None).await.status == 200).then_some(())
    })
    .await;
}

/// What waits for a connection waits, while the store is well: two hundred at once with sixteen connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_store_gets_an_answer() {
    let door =
        TestApi::open_as(Setting { pool: 16, wait: Duration::from_millis(300), ..Setting::default() }).await;
    let it = door.instance("1234", "mysql", "5.6").await;
    // A lock that they all wait for, longer than a connection may take to come.
    let (locked, release) = (tokio::sync::oneshot::channel::<()>(), tokio::sync::oneshot::channel::<()>());
    let (tell, wait) = (locked.0, release.1);
    let db = door.db.clone();
    let holder = tokio::spawn(async move {
        let held: Result<(), coffer::db::Error> = db
            .transact({
                let once = std::sync::Mutex::new(Some((tell, wait)));
                move |conn| {
                    coffer::db::instances::lock(conn, it)?;
                    let (tell, wait) = once.lock().unwrap().take().unwrap();
                    tell.send(()).unwrap();
                    let _ = wait.blocking_recv();
                    Ok(())
                }
            })
            .await;
        held.unwrap();
    });
    locked.1.await.unwrap();
    let rename = json!({"instance": {"name": "n2"}});
    let below = format!("instances/{it}");
    let asking = futures::future::join_all((0..200).map(|_| door.send(MEMBER, "PUT", &below, Some(&rename))));
    let began = Instant::now();
    let free = async {
        let store = crate::harness::store::connect(&crate::harness::bed().state).await;
        let waiting =
            "pg_stat_activity where wait_event_type = 'Lock' and query ilike '%instances%for update%'";
        wait_for("all but one connection wait for the lock", Duration::from_secs(30), async || {
            let stuck = crate::harness::store::count(&store, waiting).await >= 14;
            (stuck && began.elapsed() > Duration::from_millis(900)).then_some(())
        })
        .await;
        release.0.send(()).unwrap();
    };
    let (told, ()) = tokio::join!(asking, free);
    assert!(told.iter().all(|told| told.status == 202), "{:?}", told.iter().map(|t| t.status).max());
    holder.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_flavors_from_a_terminal() {
    let door = TestApi::open().await;
    let url = Some(door.store_url.as_str());
    let (done, told) = admin(&["flavor", "add", "tiny.1", "tiny one", "--ram", "300"], url);
    assert!(done && told.contains("300 MB"), "{told}");
    for (arguments, expected) in [
        (&["flavor", "add", "tiny.1", "other", "--ram", "300"][..], "already"),
        (&["flavor", "add", "other", "tiny one", "--ram", "300"], "already"),
        (&["flavor", "add", "a b", "x", "--ram", "300"], "no flavor's id"),
        (&["flavor", "add", "ab", "\n", "--ram", "300"], "no flavor's name"),
        (&["flavor", "add", "ab", "x", "--ram", "100"], "256"),
        (&["flavor", "remove", "none"], "there is no flavor"),
    ] {
        let (done, told) = admin(arguments, url);
        assert!(!done && told.contains(expected), "{arguments:?}: {told}");
    }
    let shown = door.send(MEMBER, "GET", "flavors/tiny.1", None).await;
    assert_eq!((&shown.ok(200)["flavor"]["ram"], &shown.body["flavor"]["id"]), (&json!(300), &Value::Null));
    let body = json!({"instance": {"name": "n", "flavorRef": "tiny.1", "volume": {"size": 1},
        "datastore": {"type": "mysql"}}});
    door.send(MEMBER, "POST", "instances", Some(&body)).await.ok(200);
    let (done, told) = admin(&["flavor", "remove", "tiny.1"], url);
    assert!(!done && told.contains("it stays"), "{told}");
    let (done, told) = admin(&["flavor", "add", "77", "for a moment", "--ram", "512", "--vcpus", "3"], url);
    assert!(done, "{told}");
    let (_, told) = admin(&["flavor", "list", "--json"], url);
    assert!(
        told.lines().any(|line| line.contains(r#""id":"77""#) && line.contains(r#""vcpus":3"#)),
        "{told}"
    );
    assert!(admin(&["flavor", "remove", "77"], url).0);
    door.send(MEMBER, "GET", "flavors/77", None).await.is(404, "itemNotFound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_says_which_versions_new_instances_have() {
    let door = TestApi::open().await;
    let (old, new) = (door.version("mysql", "5.6").await, door.version("mysql", "5.7").await);
    let path = |id: coffer::domain::ids::VersionId| format!("mgmt/datastore-versions/{id}");
    let make = json!({"instance": {"name": "n", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mysql", "version": "5.6"}}});
    door.send(MEMBER, "PATCH", &path(old.id), Some(&json!({"active": false}))).await.is(403, "forbidden");
    let nobody = format!("mgmt/datastore-versions/{}", crate::test_api::NOBODY);
    door.send(ADMIN, "PATCH", &nobody, Some(&json!({"active": false}))).await.is(404, "itemNotFound");
    for (body, status, name) in [
        (json!({"active": "no"}), 400, "badRequest"),
        (json!({"version": {"active": false}}), 400, "badRequest"),
        (json!({"active": false, "default": true}), 400, "badRequest"),
        (json!({"image": crate::test_api::NOBODY}), 501, "notImplemented"),
    ] {
        door.send(ADMIN, "PATCH", &path(old.id), Some(&body)).await.is(status, name);
    }
    door.send(MEMBER, "POST", "instances", Some(&make)).await.ok(200);
    door.send(ADMIN, "PATCH", &path(old.id), Some(&json!({"active": false}))).await.ok(202);
    door.send(MEMBER, "POST", "instances", Some(&make)).await.is(400, "badRequest");
    door.send(ADMIN, "PATCH", &path(new.id), Some(&json!({"default": true}))).await.ok(202);
    let store = door.send(MEMBER, "GET", "datastores/mysql", None).await;
    assert_eq!(store.ok(200)["datastore"]["default_version"], new.id.to_string());
    assert!(!store.body.to_string().contains(&old.id.to_string()), "{}", store.body);
    // What is the default is not made inactive without its being so no more.
    door.send(ADMIN, "PATCH", &path(new.id), Some(&json!({"active": false}))).await.ok(202);
    let store = door.send(MEMBER, "GET", "datastores/mysql", None).await;
    assert_eq!(store.ok(200)["datastore"].get("default_version"), None);
    door.send(ADMIN, "PATCH", &path(new.id), Some(&json!({"active": true}))).await.ok(202);
    door.send(ADMIN, "PATCH", &path(old.id), Some(&json!({"active": true}))).await.ok(202);
    door.send(MEMBER, "POST", "instances", Some(&make)).await.ok(200);

    // In use, or to be had: it stays. What nothing has goes, and its datastore after it.
    door.send(ADMIN, "DELETE", &path(old.id), None).await.is(400, "badRequest");
    door.send(ADMIN, "DELETE", "datastores/mysql", None).await.is(400, "badRequest");
    door.send(MEMBER, "DELETE", "datastores/mysql", None).await.is(403, "forbidden");
    door.sql("insert into datastores (id, name) values (gen_random_uuid(), 'gone')").await;
    door.sql(
        "insert into datastore_versions (id, datastore_id, name, version_number, engine, runtime) \
         select gen_random_uuid(), id, '1', '1.0', 'mysql', 'simulated' from datastores where name = 'gone'",
    )
    .await;
    let gone = door.version("gone", "1").await;
    door.send(ADMIN, "DELETE", "datastores/gone", None).await.is(400, "badRequest");
    door.send(ADMIN, "DELETE", &path(gone.id), None).await.ok(202);
    door.send(ADMIN, "DELETE", "datastores/gone", None).await.ok(202);
    door.send(MEMBER, "GET", "datastores/gone", None).await.is(404, "itemNotFound");
}
