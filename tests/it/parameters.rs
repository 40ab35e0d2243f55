//! Configuration groups on real servers. What a server has is asked from the server itself, as its customer: by SQL, and by how
//! many may come.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::harness::house::House;
use crate::harness::{healthy, open_shop, password, status, wait_for};
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

/// By its address, where the driver would go on by the server's socket.
async fn by_address(address: &str, secret: &SecretString) -> Result<mysql_async::Conn, mysql_async::Error> {
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
        ("max_connections", "40"),
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
    assert_eq!(has("wait_timeout").await, "777");
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
    assert_eq!((has("wait_timeout").await, has("max_connections").await), (at_first.clone(), most));
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
    let (code, told) = api.post(&path, &upgrade("twin", false)).await.unwrap();
    assert_eq!(code, 202, "{told}");
    status(&api, id, "ACTIVE", LONG).await;
    healthy(&api, id).await;
    assert!(has("version").await.starts_with("11.8"));
    assert_eq!(
        (has("wait_timeout").await, has("innodb_rollback_on_timeout").await),
        ("999".into(), "ON".into())
    );

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
        "max_connections": 150, "work_mem": 4096, "statement_timeout": 1500, "lock_timeout": 700,
        "default_transaction_isolation": "serializable", "IntervalStyle": "sql_standard", "DateStyle": "SQL, DMY",
        "timezone": "Asia/Kathmandu", "bytea_output": "escape", "extra_float_digits": -15,
        "idle_in_transaction_session_timeout": 1000, "idle_session_timeout": 60000, "enable_indexscan": false,
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
        ("work_mem", "4096"),
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
    changed["work_mem"] = json!(5_120);
    changed["max_connections"] = json!(140);
    assert_eq!(replace(&api, &group, changed).await.0, 202);
    assert_eq!(api.show(&id).await.unwrap()["status"], "RESTART_REQUIRED");
    wait_for("the change is there", LONG, async || (has("work_mem").await == "5120").then_some(())).await;
    assert_eq!(has("max_connections").await, "150");
    restart(&api, &id).await;
    assert_eq!(has("max_connections").await, "140");
    // More than the flavor's memory has room for.
    let (code, told) = replace(&api, &group, json!({"shared_buffers": 32_769})).await;
    assert!(code == 422 && told.to_string().contains("shared_buffers"), "{code} {told}");

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
        for (name, value) in
            [("work_mem", "5120"), ("max_connections", "140"), ("TimeZone", "Asia/Kathmandu")]
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
                (_, "least") if is_memory => {
                    json!(min.as_f64().unwrap().max(f64::from(room(parameter)) / 4.0).round() as i64)
                }
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
