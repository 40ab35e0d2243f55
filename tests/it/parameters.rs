//! Configuration groups on real servers. What a server has is asked from the server itself, as its customer: by SQL, and by how
//! many may come.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::client::openstack;
use crate::harness::house::House;
use crate::harness::{ask_for_upgrade_of, bed, delete, healthy, open_shop, password, status, wait_for};
use crate::operations::mariadb;
use crate::postgres_servers::rows;
use crate::postgresql::login;

/// How long a task may take on a busy machine.
const LONG: Duration = Duration::from_secs(180);

async fn make(api: &Client, datastore: &str, version: &str, values: Value) -> String {
    let body = json!({"configuration": {
        "name": "g", "datastore": {"type": datastore, "version": version}, "values": values,
    }});
    let (code, answer) = api.post("/configurations", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    answer["configuration"]["id"].as_str().unwrap().to_owned()
}

async fn refused(api: &Client, datastore: &str, version: &str, values: Value) -> (u16, String) {
    let body = json!({"configuration": {
        "name": "g", "datastore": {"type": datastore, "version": version}, "values": values,
    }});
    let (code, answer) = api.post("/configurations", &body).await.unwrap();
    (code, answer.to_string())
}

async fn attach(api: &Client, id: &str, group: Option<&str>) -> (u16, Value) {
    api.put(&format!("/instances/{id}"), &json!({"instance": {"configuration": group}})).await.unwrap()
}

async fn replace(api: &Client, group: &str, values: Value) -> (u16, Value) {
    api.put(&format!("/configurations/{group}"), &json!({"configuration": {"values": values}})).await.unwrap()
}

async fn restart(api: &Client, id: &str) {
    let (code, answer) = api.post(&format!("/instances/{id}/action"), &json!({"restart": {}})).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    status(api, id, "ACTIVE", LONG).await;
    healthy(api, id).await;
}

async fn parameters(api: &Client, datastore: &str, version: &str) -> Vec<Value> {
    let path = format!("/datastores/{datastore}/versions/{version}/parameters");
    let (code, answer) = api.read(&path).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    answer["configuration-parameters"].as_array().unwrap().clone()
}

/// A client of MariaDB's in the clear, by the instance's address: the driver would go on by the server's socket else.
pub async fn by_address(
    address: &str,
    secret: &SecretString,
) -> Result<mysql_async::Conn, mysql_async::Error> {
    let opts = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address)
        .user(Some("app"))
        .pass(Some(secret.expose_secret()))
        .prefer_socket(false);
    mysql_async::Conn::new(opts).await
}

/// Waits until the endpoint lets so many connections through.
async fn lets_through(dev: &House, connections: u32) {
    let store = dev.store().await;
    wait_for(&format!("the endpoint lets {connections} through"), LONG, async || {
        let sql =
            format!("SELECT 1 FROM endpoints WHERE connections = {connections} AND epoch = applied_epoch");
        (!rows(&store, &sql).await.is_empty()).then_some(())
    })
    .await;
}

async fn of_mariadb(address: &str, secret: &SecretString, name: &str) -> String {
    let mut app = mariadb(address, "app", secret.expose_secret()).await.unwrap();
    let value: Option<(String, String)> =
        app.query_first(format!("SHOW GLOBAL VARIABLES LIKE '{name}'")).await.unwrap();
    value.unwrap_or_else(|| panic!("there is no {name}")).1
}

async fn of_postgresql(address: &str, secret: &SecretString, name: &str) -> String {
    let app = login(address, "app", secret, "shop").await.unwrap();
    // In the parameter's own unit.
    rows(&app, &format!("SELECT setting FROM pg_settings WHERE name = '{name}'")).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_takes_the_values_of_its_group() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "configured", "10.11").await;
    let (id, address, secret) = (shop.id.as_str(), shop.address.as_str(), &shop.password);
    let has = async |name: &str| of_mariadb(address, secret, name).await;
    let (at_first, most) = (has("wait_timeout").await, has("max_connections").await);
    assert_eq!(has("innodb_rollback_on_timeout").await, "OFF");

    for (values, code) in [
        (json!({"log_bin": 0}), 422),
        (json!({"no_such": 1}), 422),
        (json!({"wait_timeout": "600"}), 422),
        (json!({"wait_timeout": 0}), 422),
        (json!({"max_connections": 100_000}), 422),
        (json!({"collation_server": "latin1_swedish_ci", "character_set_server": "utf8mb4"}), 422),
        (json!({"sql_mode": "ANSI\"\nlog-bin=0"}), 422),
    ] {
        let (got, told) = refused(&api, "mariadb", "10.11", values.clone()).await;
        assert_eq!(got, code, "{values}: {told}");
    }

    let values = json!({
        "wait_timeout": 777, "max_connections": 40, "innodb_rollback_on_timeout": true, "sql_mode": "ansi",
        "collation_server": "latin1_german1_ci", "time_zone": "+02:00", "innodb_change_buffering": "inserts",
    });
    let group = make(&api, "mariadb", "10.11", values).await;
    let (code, answer) = attach(&api, id, Some(&group)).await;
    assert_eq!(code, 202, "{answer}");
    // What can be had at once is there with the answer.
    for (name, value) in [
        ("wait_timeout", "777"),
        // Fewer than there are wait for the next start, which ends them all; no more come in from now on.
        ("max_connections", &most),
        ("collation_server", "latin1_german1_ci"),
        ("character_set_server", "latin1"),
        ("time_zone", "+02:00"),
        ("innodb_rollback_on_timeout", "OFF"),
    ] {
        assert_eq!(has(name).await, value, "{name}");
    }
    assert!(has("sql_mode").await.contains("ANSI_QUOTES"));
    let seen = api.show(id).await.unwrap();
    assert_eq!(seen["status"], "RESTART_REQUIRED", "{seen}");
    assert_eq!(seen["configuration"]["id"], group.as_str(), "{seen}");
    // 40, of which 16 are the service's.
    lets_through(&dev, 24).await;
    let mut open = Vec::new();
    for number in 0..24 {
        let conn = by_address(address, secret).await;
        open.push(conn.unwrap_or_else(|error| panic!("connection {number}: {error}")));
    }
    let one_more = tokio::time::timeout(Duration::from_secs(2), by_address(address, secret));
    assert!(!matches!(one_more.await, Ok(Ok(_))), "a connection too many");
    drop(open);

    restart(&api, id).await;
    assert_eq!(has("innodb_rollback_on_timeout").await, "ON");
    assert_eq!((has("wait_timeout").await, has("max_connections").await), ("777".into(), "40".into()));
    // A server that is killed comes up with them, and an instance that is busy with nothing keeps them.
    let store = dev.store().await;
    let pid = dev.engine_pid(&store, id).await;
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for("the server is back", LONG, async || {
        let mut app = mariadb(address, "app", secret.expose_secret()).await.ok()?;
        app.query_first::<u64, _>("SELECT @@GLOBAL.wait_timeout").await.ok()?.filter(|it| *it == 777)
    })
    .await;
    healthy(&api, id).await;

    // A change of the group reaches it; what is taken out has its default again.
    api.patch(
        &format!("/configurations/{group}"),
        &json!({"configuration": {"values": {"wait_timeout": 888}}}),
    )
    .await
    .unwrap();
    wait_for("the change is there", LONG, async || (has("wait_timeout").await == "888").then_some(())).await;
    assert_eq!(has("max_connections").await, "40");
    let kept = json!({"innodb_rollback_on_timeout": true, "innodb_change_buffering": "inserts"});
    assert_eq!(replace(&api, &group, kept).await.0, 202);
    wait_for("the operation is over", LONG, async || {
        rows(&store, "SELECT 1 FROM operations WHERE outcome IS NULL").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(rows(&store, "SELECT refusal FROM operations WHERE outcome <> 'done'").await, [""; 0]);
    assert_eq!((has("wait_timeout").await, has("max_connections").await), (at_first.clone(), most.clone()));
    assert_eq!(has("collation_server").await, "utf8mb4_general_ci");
    assert_eq!(has("character_set_server").await, "utf8mb4");
    assert_eq!(has("time_zone").await, "SYSTEM");

    // It is in use, by this instance.
    let (_, told) = api.read(&format!("/configurations/{group}/instances")).await.unwrap();
    assert_eq!(told["instances"], json!([{"id": id, "name": "configured"}]), "{told}");
    assert_eq!(api.remove(&format!("/configurations/{group}")).await.unwrap().0, 400);
    let other = make(&api, "mariadb", "10.11", json!({})).await;
    assert_eq!(attach(&api, id, Some(&other)).await.0, 400);
    let of_another = make(&api, "mariadb", "11.8", json!({})).await;
    // The target has this parameter no more: it is named before anything is held.
    let upgrade = |strategy: &str, dry: bool| json!({"upgrade": {"datastore_version": "11.8", "strategy": strategy, "dry_run": dry}});
    let path = format!("/instances/{id}/upgrades");
    let (code, told) = api.post(&path, &upgrade("in_place", true)).await.unwrap();
    assert!(told.to_string().contains("innodb_change_buffering"), "{code} {told}");
    let stays = json!({"innodb_rollback_on_timeout": true, "wait_timeout": 999});
    assert_eq!(replace(&api, &group, stays).await.0, 202);
    let point = "upgrade_twin.forward.catch_up.before";
    dev.points.arm(point);
    let (code, told) = api.post(&path, &upgrade("twin", false)).await.unwrap();
    assert_eq!(code, 202, "{told}");
    dev.points.reached(point).await;
    // On its way to another version, it is judged by that one, too; what both know waits for the upgrade's end, and keeps no other
    // operation waiting.
    let gone = json!({"innodb_rollback_on_timeout": true, "innodb_change_buffering": "none"});
    let (code, told) = replace(&api, &group, gone).await;
    assert!(code == 422 && told.to_string().contains("11.8"), "{code} {told}");
    let known = json!({"innodb_rollback_on_timeout": true, "wait_timeout": 1001});
    assert_eq!(replace(&api, &group, known).await.0, 202);
    let body = json!({"databases": [{"name": "meanwhile"}]});
    let (code, told) = api.post(&format!("/instances/{id}/databases"), &body).await.unwrap();
    assert_eq!(code, 202, "{told}");
    let waiting = "SELECT kind FROM operations WHERE outcome IS NULL";
    assert_eq!(rows(&store, waiting).await, ["configure"]);
    assert_eq!(has("wait_timeout").await, "999");
    dev.points.disarm(point);
    status(&api, id, "ACTIVE", LONG).await;
    healthy(&api, id).await;
    assert!(has("version").await.starts_with("11.8"));
    wait_for("the change is there", LONG, async || (has("wait_timeout").await == "1001").then_some(())).await;
    assert_eq!(has("innodb_rollback_on_timeout").await, "ON");

    // Without a group it has its defaults again, the last one from its next start on.
    assert_eq!(attach(&api, id, None).await.0, 202);
    assert_eq!(has("wait_timeout").await, at_first);
    status(&api, id, "RESTART_REQUIRED", LONG).await;
    restart(&api, id).await;
    assert_eq!(has("innodb_rollback_on_timeout").await, "OFF");
    for group in [&group, &other, &of_another] {
        assert_eq!(api.remove(&format!("/configurations/{group}")).await.unwrap().0, 202);
        assert_eq!(api.read(&format!("/configurations/{group}")).await.unwrap().0, 404);
    }
    drop(store);
    dev.leave_nothing(&api, &[id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_takes_the_values_of_its_group() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = password();
    // It has them from birth, too.
    let hostile = json!({
        "max_connections": 150, "work_mem": 64, "maintenance_work_mem": 1024, "temp_buffers": 100, "statement_timeout": 1500, "lock_timeout": 700,
        "default_transaction_isolation": "serializable", "IntervalStyle": "sql_standard", "DateStyle": "SQL, DMY",
        "timezone": "Asia/Kathmandu", "bytea_output": "escape", "extra_float_digits": -15,
        "idle_in_transaction_session_timeout": 1000, "enable_indexscan": false,
    });
    let group = make(&api, "postgresql", "15", hostile.clone()).await;
    let body = json!({"instance": {
        "name": "configured", "flavorRef": "1", "volume": {"size": 2}, "configuration": group,
        "datastore": {"type": "postgresql", "version": "15"}, "databases": [{"name": "shop"}],
        "users": [{"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}]}],
    }});
    let (code, made) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{made}");
    let id = made["instance"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["instance"]["configuration"]["id"], group.as_str(), "{made}");
    let address = healthy(&api, &id).await;
    let has = async |name: &str| of_postgresql(&address, &secret, name).await;
    for (name, value) in [
        ("max_connections", "150"),
        ("work_mem", "64"),
        ("statement_timeout", "1500"),
        ("default_transaction_isolation", "serializable"),
        ("TimeZone", "Asia/Kathmandu"),
        ("enable_indexscan", "off"),
    ] {
        assert_eq!(has(name).await, value, "{name}");
    }
    // A comparison must not see what these make of values.
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    app.batch_execute(
        "CREATE TABLE odd (id int PRIMARY KEY, f float8, r real, b bytea, t timestamptz, d date, i interval); \
         INSERT INTO odd SELECT n, n / 3.0::float8, n / 7.0::real, decode(lpad(to_hex(n), 8, '0'), 'hex'), \
         '2020-02-29 12:34:56.789+00'::timestamptz + n * interval '1 hour', '2020-01-31'::date + n, \
         n * interval '1 month 3 days 01:02:03.004' FROM generate_series(1, 500) n",
    )
    .await
    .unwrap();
    let sum = "SELECT md5(string_agg(encode(float8send(f) || float4send(r) || b || timestamptz_send(t) || date_send(d) \
               || interval_send(i), 'hex'), ',' ORDER BY id)) FROM odd";
    let before = rows(&app, sum).await;
    drop(app);

    // 150, of which 24 are the service's.
    lets_through(&dev, 126).await;
    let mut open = Vec::new();
    for number in 0..126 {
        let conn = login(&address, "app", &secret, "shop").await;
        open.push(conn.unwrap_or_else(|error| panic!("connection {number}: {error}")));
    }
    let one_more = tokio::time::timeout(Duration::from_secs(2), login(&address, "app", &secret, "shop"));
    assert!(!matches!(one_more.await, Ok(Ok(_))), "a connection too many");
    drop(open);

    let mut changed = hostile;
    changed["work_mem"] = json!(65);
    changed["max_connections"] = json!(140);
    assert_eq!(replace(&api, &group, changed.clone()).await.0, 202);
    assert_eq!(api.show(&id).await.unwrap()["status"], "RESTART_REQUIRED");
    wait_for("the change is there", LONG, async || (has("work_mem").await == "65").then_some(())).await;
    assert_eq!(has("max_connections").await, "150");
    restart(&api, &id).await;
    assert_eq!(has("max_connections").await, "140");
    // More than the flavor's memory has room for.
    let (code, told) = replace(&api, &group, json!({"shared_buffers": 32_769})).await;
    assert!(code == 422 && told.to_string().contains("shared_buffers"), "{code} {told}");

    // A copy of it that follows has room for as many connections, though its own instance has no group.
    let new = ask_for_upgrade_of(&api, &id, "postgresql", "17").await;
    status(&api, &new, "VERIFY_UPGRADE", LONG).await;
    assert!(api.show(&new).await.unwrap().get("configuration").is_none());
    // The group's changes reach the source meanwhile.
    let (code, told) = api
        .put(&format!("/configurations/{group}"), &json!({"configuration": {"values": changed}}))
        .await
        .unwrap();
    assert_eq!(code, 202, "{told}");
    delete(&api, &[&new]).await;
    status(&api, &id, "ACTIVE", LONG).await;

    // Whatever its customer has chosen, an upgrade carries every value, and the values of the group.
    for (strategy, version) in [("twin", "17"), ("in_place", "18")] {
        let upgrade = json!({"upgrade": {"datastore_version": version, "strategy": strategy}});
        let (code, told) = api.post(&format!("/instances/{id}/upgrades"), &upgrade).await.unwrap();
        assert_eq!(code, 202, "{told}");
        status(&api, &id, "ACTIVE", LONG).await;
        healthy(&api, &id).await;
        let app = login(&address, "app", &secret, "shop").await.unwrap();
        assert!(rows(&app, "SHOW server_version").await[0].starts_with(version), "{strategy}");
        assert_eq!(rows(&app, sum).await, before, "{strategy}");
        for (name, value) in [("work_mem", "65"), ("max_connections", "140"), ("TimeZone", "Asia/Kathmandu")]
        {
            assert_eq!(has(name).await, value, "{strategy} {name}");
        }
    }
    assert_eq!(attach(&api, &id, None).await.0, 202);
    assert_eq!(has("statement_timeout").await, "0");
    dev.leave_nothing(&api, &[&id]).await;
}

/// Every parameter that is offered is taken by a server of its version at the least and the largest value, or each of its words,
/// that are told of it: the server says so itself afterwards.
async fn at_the_edges(datastore: &str, version: &str) {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = password();
    let id = api.create_of(datastore, "edges", version, "shop", "app", &secret).await.unwrap();
    let address = healthy(&api, &id).await;
    let all = parameters(&api, datastore, version).await;
    assert!(all.len() > 70, "{} parameters", all.len());
    let (_, plain) = api.read(&format!("/instances/{id}/configuration")).await.unwrap();
    assert!(plain["instance"]["configuration"]["max_connections"].is_number(), "{plain}");
    let group = make(&api, datastore, version, json!({})).await;
    assert_eq!(attach(&api, &id, Some(&group)).await.0, 202);
    // Bytes, or what the parameter counts, that a flavor of 512 MB has room for.
    let room = |parameter: &Value| match parameter["unit"].as_str() {
        Some("8kB") => 2_048,
        Some("kB") => 16_384,
        _ => 33_554_432,
    };
    for edge in ["least", "largest"] {
        let mut values = Map::new();
        for parameter in &all {
            let name = parameter["name"].as_str().unwrap();
            let (min, max, words) = (&parameter["min"], &parameter["max"], &parameter["values"]);
            let words: Vec<&str> = words.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            // What counts bytes may have more than a small flavor has.
            let is_memory = max.as_f64().is_some_and(|max| max > f64::from(room(parameter)))
                && ["_size", "_mem", "buffers", "_list_limit", "_cache_limit"]
                    .iter()
                    .any(|end| name.ends_with(end));
            assert!(parameter["type"] != "string" || !words.is_empty(), "{parameter}");
            let value = match (parameter["type"].as_str().unwrap(), edge) {
                ("boolean", edge) => json!(edge == "largest"),
                ("string", "least") if name == "optimizer_switch" => json!(format!("{}=off", words[0])),
                ("string", _) if name == "optimizer_switch" => {
                    json!(format!("{}=on", words[words.len() - 1]))
                }
                // These two belong together.
                ("string", _) if name == "character_set_server" => continue,
                ("string", "least") => json!(words[0]),
                ("string", _) => json!(words[words.len() - 1]),
                (_, "least") => min.clone(),
                _ if is_memory => json!(max.as_f64().unwrap().min(f64::from(room(parameter))).round() as i64),
                _ => max.clone(),
            };
            values.insert(name.to_owned(), value);
        }
        let (code, told) = replace(&api, &group, json!(values)).await;
        assert_eq!(code, 202, "{edge}: {told}");
        // Also where some of them let a server answer late, it is restarted and answers.
        restart(&api, &id).await;
        let mut differ = Vec::new();
        for (name, value) in &values {
            let seen = match datastore {
                "mariadb" => of_mariadb(&address, &secret, name).await,
                _ => of_postgresql(&address, &secret, name).await,
            };
            let same = match value {
                Value::Bool(on) => ["off", "on"][usize::from(*on)].eq_ignore_ascii_case(&seen),
                Value::Number(number) => {
                    let (wanted, has) = (number.as_f64().unwrap(), seen.parse::<f64>().unwrap_or(f64::NAN));
                    (wanted - has).abs() <= wanted.abs() / 8.0
                }
                Value::String(text) if name == "optimizer_switch" => seen.contains(text.as_str()),
                Value::String(text) => {
                    seen.eq_ignore_ascii_case(text) || seen.split(',').any(|it| it == text)
                }
                other => panic!("{other}"),
            };
            if !same {
                differ.push(format!("{name}: {value} is {seen}"));
            }
        }
        assert!(differ.is_empty(), "{edge}:\n{}", differ.join("\n"));
    }
    dev.leave_nothing(&api, &[&id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_10_takes_each_at_its_edges() {
    at_the_edges("mariadb", "10.11").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_11_takes_each_at_its_edges() {
    at_the_edges("mariadb", "11.8").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_15_takes_each_at_its_edges() {
    at_the_edges("postgresql", "15").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_18_takes_each_at_its_edges() {
    at_the_edges("postgresql", "18").await;
}

/// The unmodified OpenStack client, and the bodies of other clients; their effect is looked at in the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unmodified_client_configures() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let run = |args: &[&str]| {
        let args: Vec<&str> = ["database", "configuration"].iter().chain(args).copied().collect();
        openstack("coffer", &args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    };
    let read = |args: &[&str]| run(&[args, &["-f", "json"]].concat());
    let shop = open_shop(&api, "configured-by-client", "10.11").await;
    let (name, address, secret) = ("configured-by-client", shop.address.as_str(), &shop.password);
    let has = async |name: &str| of_mariadb(address, secret, name).await;
    let of_version = ["10.11", "--datastore", "mariadb"];
    let listed = read(&[&["parameter", "list"], &of_version[..]].concat());
    assert!(listed.as_array().unwrap().iter().any(|it| it["Name"] == "max_connections"), "{listed}");
    let shown = read(&[&["parameter", "show", "10.11", "wait_timeout"], &of_version[1..]].concat());
    assert_eq!(shown["type"], "integer", "{shown}");
    let make = [
        "create",
        "by-client",
        "{\"wait_timeout\": 555, \"max_connections\": 300}",
        "--datastore",
        "mariadb",
    ];
    let made =
        read(&[&make[..], &["--datastore-version", "10.11", "--description", "for the test"]].concat());
    let group = made["id"].as_str().unwrap().to_owned();
    run(&["attach", name, "by-client"]);
    assert_eq!((has("wait_timeout").await, has("max_connections").await), ("555".into(), "300".into()));
    let instances = read(&["instances", "by-client"]);
    assert_eq!(instances[0]["ID"], shop.id.as_str(), "{instances}");
    run(&["parameter", "set", &group, "{\"wait_timeout\": 556}"]);
    wait_for("the change is there", LONG, async || (has("wait_timeout").await == "556").then_some(())).await;
    assert_eq!(has("max_connections").await, "300");
    run(&["set", &group, "{\"wait_timeout\": 557}", "--name", "renamed"]);
    wait_for("the change is there", LONG, async || (has("wait_timeout").await == "557").then_some(())).await;
    wait_for("fewer connections wait for the next start", LONG, async || {
        (api.show(&shop.id).await.unwrap()["status"] == "RESTART_REQUIRED").then_some(())
    })
    .await;
    let shown = read(&["show", "renamed"]);
    assert_eq!(shown["instance_count"], 1, "{shown}");
    let plain = read(&["default", name]);
    assert!(plain["max_connections"].is_number(), "{plain}");
    let error = openstack("coffer", &["database", "configuration", "delete", "renamed"]).unwrap_err();
    assert!(error.contains("HTTP 400"), "{error}");
    run(&["detach", name]);
    assert_eq!(has("wait_timeout").await, "28800");

    // gophercloud attaches by PUT, and detaches with nothing; Terraform waits until the instance shows it no more.
    let instance = format!("/instances/{}", shop.id);
    let (code, _) = api.put(&instance, &json!({"instance": {"configuration": group}})).await.unwrap();
    assert_eq!((code, has("wait_timeout").await), (202, "557".into()));
    assert_eq!(api.show(&shop.id).await.unwrap()["configuration"]["name"], "renamed");
    let (code, _) = api.put(&instance, &json!({"instance": {}})).await.unwrap();
    assert_eq!((code, has("wait_timeout").await), (202, "28800".into()));
    assert!(api.show(&shop.id).await.unwrap().get("configuration").is_none());
    run(&["delete", "renamed"]);
    assert_eq!(api.read(&format!("/configurations/{group}")).await.unwrap().0, 404);
    delete(&api, &[&shop.id]).await;
}

/// Another project's group is not there, for any call; a reader reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_its_projects() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let other = Client::login(&bed().state, "coffer-other").await.unwrap();
    let reader = Client::login(&bed().state, "coffer-reader").await.unwrap();
    let group = make(&api, "mariadb", "10.11", json!({"wait_timeout": 600})).await;
    let path = format!("/configurations/{group}");
    let body = json!({"configuration": {"values": {}}});
    assert_eq!(reader.read(&path).await.unwrap().0, 200);
    assert_eq!(reader.put(&path, &body).await.unwrap().0, 403);
    assert_eq!(reader.remove(&path).await.unwrap().0, 403);
    for (code, what) in [
        (other.read(&path).await.unwrap().0, "show"),
        (other.put(&path, &body).await.unwrap().0, "change"),
        (other.remove(&path).await.unwrap().0, "delete"),
        (other.read(&format!("{path}/instances")).await.unwrap().0, "instances"),
    ] {
        assert_eq!(code, 404, "{what}");
    }
    let (_, listed) = other.read("/configurations").await.unwrap();
    assert!(!listed.to_string().contains(&group), "{listed}");
    let shop = open_shop(&other, "of-another", "10.11").await;
    assert_eq!(attach(&other, &shop.id, Some(&group)).await.0, 404);
    let (code, _) = other
        .post(
            "/instances",
            &json!({"instance": {"name": "n", "flavorRef": 1, "volume": {"size": 1},
            "datastore": {"type": "mariadb", "version": "10.11"}, "configuration": group}}),
        )
        .await
        .unwrap();
    assert_eq!(code, 404);
    delete(&other, &[&shop.id]).await;
    assert_eq!(api.remove(&path).await.unwrap().0, 202);
}

/// Whatever its customer has chosen for all sessions, an upgrade carries every value: sessions of ours, and of the engine's
/// programs, would else read other texts, round, wait less, or end.
async fn a_hostile_mariadb(strategy: &str) {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = password();
    let hostile = json!({
        "sql_mode": "ORACLE,NO_BACKSLASH_ESCAPES,ANSI_QUOTES,NO_ZERO_DATE,PAD_CHAR_TO_FULL_LENGTH",
        "tx_isolation": "SERIALIZABLE", "time_zone": "+02:00", "group_concat_max_len": 4, "div_precision_increment": 30,
        "max_sort_length": 64, "sort_buffer_size": 262_144, "innodb_lock_wait_timeout": 1, "lock_wait_timeout": 1, "wait_timeout": 1,
        "interactive_timeout": 1, "net_read_timeout": 1, "net_write_timeout": 1, "idle_transaction_timeout": 1,
        "character_set_server": "ucs2", "auto_increment_increment": 7, "auto_increment_offset": 3, "max_error_count": 0,
        "optimizer_switch": "mrr=on,index_merge=off", "join_cache_level": 0, "max_length_for_sort_data": 4,
    });
    let group = make(&api, "mariadb", "10.11", hostile).await;
    let body = json!({"instance": {
        "name": "hostile", "flavorRef": "1", "volume": {"size": 2}, "configuration": group,
        "datastore": {"type": "mariadb", "version": "10.11"}, "databases": [{"name": "shop"}],
        "users": [{"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}]}],
    }});
    let (code, made) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{made}");
    let id = made["instance"]["id"].as_str().unwrap().to_owned();
    let address = healthy(&api, &id).await;
    assert!(of_mariadb(&address, &secret, "sql_mode").await.contains("ORACLE"));
    assert_eq!(of_mariadb(&address, &secret, "character_set_server").await, "ucs2");
    let mut app = by_address(&address, &secret).await.unwrap();
    app.query_drop("SET SESSION sql_mode='', time_zone='+00:00', wait_timeout=600").await.unwrap();
    for sql in [
        "CREATE TABLE shop.odd (id INT PRIMARY KEY AUTO_INCREMENT, f DOUBLE, r FLOAT, d DECIMAL(30,10), b VARBINARY(20), \
         c CHAR(10), v VARCHAR(200) CHARACTER SET utf8mb4, t TIMESTAMP(6) NULL, y DATE)",
        "INSERT INTO shop.odd (f, r, d, b, c, v, t, y) SELECT seq / 3e0, seq / 7e0, seq / 9, UNHEX(LPAD(HEX(seq), 8, '0')), \
         CONCAT('a', seq), CONCAT('it''s \\\\ ', seq), FROM_UNIXTIME(1e9 + seq + 0.000123), '0000-00-00' FROM shop.seq_1_to_2000",
        // So much that its copy, and its comparison, take longer than a session of the customer's may be idle.
        "CREATE TABLE shop.much (id INT PRIMARY KEY, pad VARCHAR(300))",
        "INSERT INTO shop.much SELECT seq, REPEAT(MD5(seq), 9) FROM shop.seq_1_to_400000",
        "CREATE VIEW shop.v AS SELECT COUNT(*) AS n FROM shop.odd",
        "CREATE FUNCTION shop.f(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
    ] {
        app.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let sum = "SELECT COUNT(*), SUM(CRC32(CONCAT_WS('|', id, HEX(f), CAST(f AS CHAR), CAST(r AS CHAR), d, HEX(b), HEX(c), HEX(v), \
               CAST(UNIX_TIMESTAMP(t) AS CHAR), CAST(y AS CHAR)))) FROM shop.odd";
    let sum_of = async |conn: &mut mysql_async::Conn| -> (u64, String) {
        conn.query_drop("SET SESSION sql_mode='', time_zone='+00:00'").await.unwrap();
        conn.query_first(sum).await.unwrap().unwrap()
    };
    let before = sum_of(&mut app).await;
    drop(app);
    let upgrade = json!({"upgrade": {"datastore_version": "11.8", "strategy": strategy}});
    let (code, told) = api.post(&format!("/instances/{id}/upgrades"), &upgrade).await.unwrap();
    assert_eq!(code, 202, "{told}");
    status(&api, &id, "ACTIVE", LONG).await;
    healthy(&api, &id).await;
    let mut app = by_address(&address, &secret).await.unwrap();
    let version: Option<String> = app.query_first("SELECT VERSION()").await.unwrap();
    assert!(
        version.as_ref().is_some_and(|it| it.starts_with("11.8")),
        "{version:?} {}",
        api.show(&id).await.unwrap()
    );
    assert_eq!(sum_of(&mut app).await, before);
    let called: Option<(i64, i64)> = app.query_first("SELECT shop.f(1), n FROM shop.v").await.unwrap();
    assert_eq!(called, Some((2, 2_000)));
    assert_eq!(of_mariadb(&address, &secret, "wait_timeout").await, "1");
    dev.leave_nothing(&api, &[&id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_group_changes_what_a_twin_of_mariadb_has() {
    a_hostile_mariadb("twin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_group_changes_what_mariadb_has_in_place() {
    a_hostile_mariadb("in_place").await;
}

/// A worker that dies while it asks a server that it made for that: the list is made all the same, and nothing of that server stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_leaves_no_server_that_it_asked() {
    let mut dev = House::start().await;
    let api = dev.login("coffer").await;
    dev.points.arm("parameters.started");
    let path = "/datastores/mariadb/versions/10.11/parameters";
    let asking = tokio::spawn(async move { api.read(path).await });
    dev.points.reached("parameters.started").await;
    dev.points.disarm("parameters.started");
    let store = dev.store().await;
    let left = rows(&store, "SELECT generation_id::text FROM scratches").await;
    assert_eq!(left.len(), 1);
    drop(store);
    assert!(dev.generations().join(&left[0]).is_dir(), "its folder is there");
    dev.kill_dev_and_start_again().await;
    asking.abort();
    let api = dev.login("coffer").await;
    assert!(parameters(&api, "mariadb", "10.11").await.len() > 70);
    let store = dev.store().await;
    wait_for("what it left is removed", LONG, async || {
        rows(&store, "SELECT 1 FROM scratches").await.is_empty().then_some(())
    })
    .await;
    assert!(!dev.generations().join(&left[0]).exists());
    drop(store);
    dev.leave_nothing(&api, &[]).await;
}
