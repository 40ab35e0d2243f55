//! A tenant that renames, makes and drops tables in a loop while it is looked at and upgraded: each look, action and
//! upgrade ends in bounded time, and well, or with the object named. What the tenant wrote is there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{delete, healthy, password, wait_for};

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(60);

/// How long an upgrade may take.
const UPGRADE: Duration = Duration::from_secs(240);

/// Names that the loop uses: each is part of what names an object of it.
const NAMES: [&str; 3] = ["carts_", "short_lived", "loop_"];

/// What is made once, and what is done in a loop: a statement a line.
struct Engine {
    datastore: &'static str,
    from: &'static str,
    to: &'static str,
    made: &'static [&'static str],
    looped: &'static [&'static str],
}

const MARIADB: Engine = Engine {
    datastore: "mariadb",
    from: "10.11",
    to: "11.8",
    made: &[
        "CREATE TABLE carts_now (id INT PRIMARY KEY, n INT)",
        "INSERT INTO carts_now VALUES (1, 1), (2, 2)",
        "CREATE TABLE carts_plain (id INT PRIMARY KEY) ENGINE=Aria",
        "CREATE VIEW loop_view AS SELECT id FROM carts_plain",
    ],
    looped: &[
        "RENAME TABLE carts_now TO carts_then",
        "RENAME TABLE carts_then TO carts_now",
        "CREATE OR REPLACE TABLE short_lived (id INT PRIMARY KEY, v VARBINARY(9) DEFAULT '?')",
        "INSERT INTO short_lived VALUES (1, 'x')",
        "DROP TABLE IF EXISTS short_lived",
        "RENAME TABLE carts_plain TO carts_other, loop_view TO carts_plain",
        "RENAME TABLE carts_plain TO loop_view, carts_other TO carts_plain",
    ],
};

const POSTGRESQL: Engine = Engine {
    datastore: "postgresql",
    from: "15",
    to: "17",
    made: &[
        "CREATE TABLE carts_now (id int PRIMARY KEY, n int)",
        "INSERT INTO carts_now VALUES (1, 1), (2, 2)",
        "CREATE SEQUENCE loop_sequence",
        "CREATE VIEW loop_view AS SELECT 1 AS id",
    ],
    looped: &[
        "ALTER TABLE carts_now RENAME TO carts_then",
        "ALTER TABLE carts_then RENAME TO carts_now",
        "CREATE TABLE IF NOT EXISTS short_lived (id int PRIMARY KEY, v text)",
        "INSERT INTO short_lived VALUES (1, 'x') ON CONFLICT DO NOTHING",
        "DROP TABLE IF EXISTS short_lived",
        "BEGIN; ALTER SEQUENCE loop_sequence RENAME TO loop_x; ALTER VIEW loop_view RENAME TO loop_sequence; \
         ALTER SEQUENCE loop_x RENAME TO loop_view; COMMIT",
        "BEGIN; ALTER SEQUENCE loop_view RENAME TO loop_x; ALTER VIEW loop_sequence RENAME TO loop_view; \
         ALTER SEQUENCE loop_x RENAME TO loop_sequence; COMMIT",
    ],
};

/// A session of either engine.
enum Session {
    Maria(mysql_async::Conn),
    Postgres(tokio_postgres::Client),
}

impl Session {
    async fn open(engine: &Engine, address: &str, secret: &SecretString) -> Option<Self> {
        if engine.datastore == "mariadb" {
            let opts = coffer::cli::demo::shop::opts(address, "shop", "app", secret);
            return mysql_async::Conn::new(opts).await.ok().map(Self::Maria);
        }
        let mut config = tokio_postgres::Config::new();
        config.host(address).port(5432).user("app").password(secret.expose_secret()).dbname("shop");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(Self::Postgres(client))
    }

    /// Whether the statement was taken; `None` when the session is lost.
    async fn run(&mut self, sql: &str) -> Option<bool> {
        match self {
            Self::Maria(conn) => match conn.query_drop(sql).await {
                Ok(()) => Some(true),
                // The server goes: it ends what still runs.
                Err(mysql_async::Error::Server(error)) if ![1053, 1927].contains(&error.code) => Some(false),
                Err(_) => None,
            },
            Self::Postgres(client) => match client.batch_execute(sql).await {
                Ok(()) => Some(true),
                Err(_) if client.is_closed() => None,
                Err(_) => client.batch_execute("ROLLBACK").await.ok().map(|()| false),
            },
        }
    }
}

/// The loop, until it is told to stop.
struct Loop {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Loop {
    fn start(engine: &'static Engine, address: &str, secret: &SecretString) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (address, secret) = (address.to_owned(), secret.clone());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let task = tokio::spawn(async move {
            let mut session = None;
            while !stopped.load(Ordering::Relaxed) {
                let Some(open) = &mut session else {
                    session = Session::open(engine, &address, &secret).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                for sql in engine.looped {
                    if open.run(sql).await.is_none() {
                        session = None;
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, rounds, task }
    }

    async fn runs(&self) {
        let before = self.rounds.load(Ordering::Relaxed);
        wait_for("the loop runs", Duration::from_secs(60), async || {
            (self.rounds.load(Ordering::Relaxed) > before + 3).then_some(())
        })
        .await;
    }

    async fn ends(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// Whether a text names an object of the loop.
fn names(text: &str) -> bool {
    NAMES.iter().any(|name| text.contains(name))
}

/// An instance whose tenant does not rest.
async fn begun(api: &Client, engine: &'static Engine, secret: &SecretString) -> (String, String, Loop) {
    let id = api.create_of(engine.datastore, "orders", engine.from, "shop", "app", secret).await.unwrap();
    let address = healthy(api, &id).await;
    let mut app = wait_for("the tenant is let in", Duration::from_secs(30), async || {
        Session::open(engine, &address, secret).await
    })
    .await;
    for sql in engine.made {
        assert_eq!(app.run(sql).await, Some(true), "{sql}");
    }
    let looped = Loop::start(engine, &address, secret);
    looped.runs().await;
    (id, address, looped)
}

async fn looked_at(api: &Client, engine: &Engine, id: &str, strategy: &str) {
    let begun = Instant::now();
    let body = json!({"upgrade": {"datastore_version": engine.to, "strategy": strategy, "dry_run": true}});
    let (code, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap();
    eprintln!("dry run {strategy}: {code} after {:?}", begun.elapsed());
    assert!(code / 100 == 2 || names(&answer.to_string()), "{strategy}: {code} {answer}");
    assert!(begun.elapsed() < LOOK, "{strategy}: {:?}", begun.elapsed());
}

/// What the tenant made is there, on the version that it ended with.
async fn is_whole(engine: &Engine, address: &str, secret: &SecretString) {
    let mut app = wait_for("the tenant is let in", Duration::from_secs(60), async || {
        Session::open(engine, address, secret).await
    })
    .await;
    let held = wait_for("the table has its name", Duration::from_secs(10), async || {
        for table in ["carts_now", "carts_then"] {
            let sql = format!("SELECT COUNT(*), SUM(n) FROM {table}");
            let held: Option<String> = match &mut app {
                Session::Maria(conn) => conn
                    .query_first::<(u64, String), _>(sql.as_str())
                    .await
                    .ok()
                    .flatten()
                    .map(|(count, sum)| format!("{count} {sum}")),
                Session::Postgres(client) => client
                    .query_one(sql.as_str(), &[])
                    .await
                    .ok()
                    .map(|row| format!("{} {}", row.get::<_, i64>(0), row.get::<_, i64>(1))),
            };
            if held.is_some() {
                return held;
            }
        }
        None
    })
    .await;
    assert_eq!(held, "2 3");
}

async fn upgraded(api: &Client, engine: &'static Engine, strategy: &str) {
    let secret = password();
    let (id, address, looped) = begun(api, engine, &secret).await;
    looked_at(api, engine, &id, strategy).await;
    let begun = Instant::now();
    let body = json!({"upgrade": {"datastore_version": engine.to, "strategy": strategy}});
    let (code, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap();
    if code == 202 {
        let ended = crate::upgrade::ended(api, &id, UPGRADE).await;
        let task: Value = api.task(ended["id"].as_str().unwrap()).await.unwrap();
        eprintln!("{strategy}: {} after {:?}: {}", ended["state"], begun.elapsed(), task["reason"]);
        let reason = task["reason"].as_str().unwrap_or_default();
        let is_well = ended["state"] == "succeeded" || ended["state"] == "rolled_back" && names(reason);
        assert!(is_well, "{strategy}: {task}");
        let wanted = if ended["state"] == "succeeded" { engine.to } else { engine.from };
        healthy(api, &id).await;
        assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], wanted);
    } else {
        eprintln!("{strategy}: {code} {answer}");
        assert!(names(&answer.to_string()), "{strategy}: {code} {answer}");
    }
    looped.ends().await;
    is_whole(engine, &address, &secret).await;
    delete(api, &[&id]).await;
}

async fn acted(api: &Client, engine: &'static Engine) {
    let secret = password();
    let (id, address, looped) = begun(api, engine, &secret).await;
    let begun = Instant::now();
    let body = json!({"upgrade": {"datastore_type": engine.datastore, "datastore_version": engine.to}});
    let (code, answer) = api.post(&format!("/instances/{id}/action"), &body).await.unwrap();
    if code == 202 {
        let new = answer["instance"]["id"].as_str().unwrap().to_owned();
        let seen = wait_for("the action ends", UPGRADE, async || {
            let seen = api.show(&new).await.ok()?;
            let over = seen["status"] == "ERROR" || seen["status"] == "VERIFY_UPGRADE";
            over.then_some(seen)
        })
        .await;
        eprintln!("action: {} after {:?}: {}", seen["status"], begun.elapsed(), seen["fault"]);
        assert!(seen["status"] == "VERIFY_UPGRADE" || names(&seen["fault"].to_string()), "{seen}");
        delete(api, &[&new]).await;
    } else {
        eprintln!("action: {code} {answer}");
        assert!(names(&answer.to_string()), "{code} {answer}");
    }
    looped.ends().await;
    healthy(api, &id).await;
    is_whole(engine, &address, &secret).await;
    delete(api, &[&id]).await;
}

async fn all(engine: &'static Engine) {
    let house = House::start().await;
    let api = house.login("coffer").await;
    upgraded(&api, engine, "twin").await;
    upgraded(&api, engine, "in_place").await;
    acted(&api, engine).await;
    house.leave_nothing(&api, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_never_rest_hold_no_upgrade_of_mariadb_up() {
    all(&MARIADB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_never_rest_hold_no_upgrade_of_postgresql_up() {
    all(&POSTGRESQL).await;
}
