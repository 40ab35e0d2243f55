//! PostgreSQL through the service: created and listed by the API, reached by clients at the instance's address.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coffer::cli::demo::client::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::house::House;
use crate::harness::{healthy, password, processes, store, wait_for};
use crate::postgres_servers::{rows, state};

fn body(name: &str, version: &str, databases: &Value, users: &Value) -> Value {
    json!({"instance": {
        "name": name, "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "postgresql", "version": version},
        "databases": databases, "users": users}})
}

pub async fn login(
    address: &str,
    user: &str,
    password: &SecretString,
    database: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(address).port(5432).user(user).password(password.expose_secret()).dbname(database);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// What the newest client of the engines' folder prints, or why it failed.
pub async fn psql(connection: &str, password: &SecretString, sql: &str) -> Result<String, String> {
    let output =
        tokio::process::Command::new(crate::harness::roles::engines().join("postgresql-18/bin/psql"))
            .env("PGPASSWORD", password.expose_secret())
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "-c", sql, "-d", connection])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// One line of what is wrong with the body, by its field.
async fn refused(api: &Client, body: &Value, field: &str) {
    let (code, answer) = api.post("/instances", body).await.unwrap();
    assert_eq!(code, 400, "{answer}");
    assert!(answer["badRequest"]["message"].as_str().unwrap().contains(field), "{field}: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_a_datastore_like_another() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let (code, answer) = api.read("/datastores/postgresql/versions").await.unwrap();
    assert_eq!(code, 200, "{answer}");
    for version in ["15", "17", "18"] {
        assert!(answer["versions"].as_array().unwrap().iter().any(|v| v["name"] == version), "{answer}");
    }

    // What cannot be made is refused at the door, by its field, and nothing is made.
    let long = "x".repeat(64);
    for name in ["postgres", "template1", "coffer", "coffer_x", "", &long] {
        let body = body("never", "17", &json!([{"name": name}]), &json!([]));
        refused(&api, &body, "instance['databases'][0]['name']").await;
    }
    for name in ["pg_monitor", "postgres", "coffer_repl", &long] {
        let body = body("never", "17", &json!([]), &json!([{"name": name, "password": "p"}]));
        refused(&api, &body, "instance['users'][0]['name']").await;
    }
    for (key, value) in [("character_set", "latin1"), ("collate", "en_US.UTF-8")] {
        let body = body("never", "17", &json!([{"name": "shop", key: value}]), &json!([]));
        refused(&api, &body, &format!("instance['databases'][0]['{key}']")).await;
    }
    let from = json!([{"name": "app", "password": "p", "host": "10.0.0.1"}]);
    refused(&api, &body("never", "17", &json!([]), &from), "instance['users'][0]['host']").await;

    let secret = password();
    let (code, answer) = api
        .post(
            "/instances",
            &body(
                "orders",
                "15",
                &json!([{"name": "shop", "character_set": "UTF8", "collate": "C.UTF-8"}, {"name": "a_b %c"}]),
                &json!([
                    {"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}, {"name": "a_b %c"}]},
                    {"name": "a_user_with_a_longer_name", "password": "x", "databases": [{"name": "shop"}]}]),
            ),
        )
        .await
        .unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    let address = healthy(&api, &id).await;
    let seen = api.show(&id).await.unwrap();
    assert_eq!(seen["datastore"]["type"], "postgresql", "{seen}");
    assert_eq!(seen["datastore"]["version"], "15", "{seen}");

    let (code, answer) = api.read(&format!("/instances/{id}/databases")).await.unwrap();
    assert_eq!((code, answer), (200, json!({"databases": [{"name": "a_b %c"}, {"name": "shop"}]})));
    let (code, answer) = api.read(&format!("/instances/{id}/users")).await.unwrap();
    assert_eq!(
        (code, answer),
        (
            200,
            json!({"users": [
                {"name": "a_user_with_a_longer_name", "host": "%", "databases": [{"name": "shop"}]},
                {"name": "app", "host": "%", "databases": [{"name": "a_b %c"}, {"name": "shop"}]}]})
        )
    );

    // By the instance's address, with SCRAM, in the clear and inside TLS that proves the instance.
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    app.batch_execute("CREATE TABLE goods (id int); INSERT INTO goods VALUES (1), (2)").await.unwrap();
    let wrong = login(&address, "app", &password(), "shop").await.expect_err("refused");
    assert_eq!(state(&wrong), "28P01");
    let ours = login(&address, "coffer", &secret, "postgres").await.expect_err("refused");
    assert_eq!(state(&ours), "28000");
    let authority = dev.state.join("ca.pem");
    let proven = format!(
        "host={address} user=app dbname=shop sslmode=verify-full sslrootcert={}",
        authority.display()
    );
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(&proven, &secret, encrypted).await.unwrap(), "t");
    assert_eq!(psql(&proven, &secret, "SELECT count(*) FROM goods").await.unwrap(), "2");
    // What opens no session does not reach the server.
    let mut stranger = tokio::net::TcpStream::connect((&*address, 5432)).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stranger.read(&mut [0; 8]).await.unwrap_or(0), 0);

    // The server is started again, and its clients come back to what was there.
    let store = dev.store().await;
    let pid = dev.engine_pid(&store, &id).await;
    processes::kill(pid);
    wait_for("another server runs", Duration::from_secs(60), async || {
        (dev.engine_pid(&store, &id).await != pid).then_some(())
    })
    .await;
    let again = wait_for("clients are let in again", Duration::from_secs(60), async || {
        login(&address, "app", &secret, "shop").await.ok()
    })
    .await;
    assert_eq!(rows(&again, "SELECT count(*) FROM goods").await, ["2"]);

    // The password is in no log and in no argument; what the store keeps of it is wiped.
    let generation = store::generation(&store, &id).await.unwrap();
    let folder = dev.state.join("generations").join(generation.to_string());
    let word = secret.expose_secret();
    for path in [dev.folder().join("dev.log"), folder.join("log/server.log"), dev.state.join("endpoint/log")]
    {
        if let Ok(text) = std::fs::read_to_string(&path) {
            assert!(!text.contains(word) && !text.contains("SCRAM-SHA-256$"), "{}", path.display());
        }
    }
    drop((store, app, again));
    dev.leave_nothing(&api, &[&id]).await;
}

/// A client that inserts one number after another, and comes back when it lost its connection.
pub struct Writer {
    address: String,
    secret: SecretString,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(i64, u32)>,
}

impl Writer {
    pub fn start(address: &str, secret: &SecretString) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (at, word, stopped) = (address.to_owned(), secret.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let (mut app, mut written, mut errors) = (None, 0_i64, 0);
            while !stopped.load(Ordering::Relaxed) {
                let Some(client) = &app else {
                    app = login(&at, "app", &word, "shop").await.ok();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                // Again after a lost answer: the number may be there already.
                let insert = format!("INSERT INTO writes VALUES ({}) ON CONFLICT DO NOTHING", written + 1);
                match client.batch_execute(&insert).await {
                    Ok(()) => written += 1,
                    Err(_) => {
                        errors += 1;
                        app = None;
                    }
                }
            }
            (written, errors)
        });
        Self { address: address.to_owned(), secret: secret.clone(), stop, task }
    }

    /// Ends it; what was acknowledged is there, once. Gives a session.
    pub async fn check(self) -> tokio_postgres::Client {
        self.stop.store(true, Ordering::Relaxed);
        let (written, errors) = self.task.await.unwrap();
        eprintln!("{written} writes, {errors} errors");
        let app = wait_for("clients are let in", Duration::from_secs(60), async || {
            login(&self.address, "app", &self.secret, "shop").await.ok()
        })
        .await;
        let held = rows(&app, "SELECT count(*), max(n) FROM writes").await;
        // The last one may have been made without being acknowledged.
        let and_one = written + 1;
        let whole = [format!("{written}|{written}"), format!("{and_one}|{and_one}")];
        assert!(whole.contains(&held[0]), "{held:?}, {written} acknowledged");
        app
    }
}

/// An instance of 15 with a table to write to; its id and address.
pub async fn shop(api: &Client, secret: &SecretString) -> (String, String) {
    shop_of(api, secret, "15").await
}

/// The same of another version.
pub async fn shop_of(api: &Client, secret: &SecretString, version: &str) -> (String, String) {
    let users = json!([{"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}]}]);
    let request = body("orders", version, &json!([{"name": "shop"}]), &users);
    let (code, answer) = api.post("/instances", &request).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    let address = healthy(api, &id).await;
    let app = login(&address, "app", secret, "shop").await.unwrap();
    app.batch_execute("CREATE TABLE writes (n bigint PRIMARY KEY); CREATE SEQUENCE numbers").await.unwrap();
    (id, address)
}

/// Trove's PATCH: the same instance, its address and users unchanged, on the next version; and what was acknowledged is
/// there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_upgrades_the_same_instance() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = password();
    let (id, address) = shop(&api, &secret).await;
    let writer = Writer::start(&address, &secret);
    api.patch(&format!("/instances/{id}"), &json!({"instance": {"datastore_version": "17"}})).await.unwrap();
    wait_for("the instance is ACTIVE on 17", Duration::from_secs(180), async || {
        let seen = api.show(&id).await.ok()?;
        assert!(seen.get("fault").is_none(), "{seen}");
        (seen["status"] == "ACTIVE" && seen["datastore"]["version"] == "17").then_some(())
    })
    .await;
    assert_eq!(healthy(&api, &id).await, address);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let app = writer.check().await;
    let version = rows(&app, "SHOW server_version").await;
    assert!(version[0].starts_with("17."), "{version:?}");
    let db = dev.store().await;
    let told = "select report::text, extract(epoch from ended_at - created_at)::text from tasks where kind like 'upgrade%'";
    eprintln!("{:?}", rows(&db, told).await);
    let told = "select s.step, round(extract(epoch from s.ended_at - s.started_at) * 1000) from task_steps s \
                join tasks t on t.id = s.task_id where t.kind like 'upgrade%' order by s.started_at";
    eprintln!("{:?}", rows(&db, told).await);
    drop(db);
    // The same certificate proves it.
    let proven = format!(
        "host={address} user=app dbname=shop sslmode=verify-full sslrootcert={}",
        dev.state.join("ca.pem").display()
    );
    assert_eq!(psql(&proven, &secret, "SELECT 1").await.unwrap(), "1");
    drop(app);
    dev.leave_nothing(&api, &[&id]).await;
}
