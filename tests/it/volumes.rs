//! What a volume's size means, on real servers: a tenant that fills it is kept from writing, and then kept out, and comes back
//! by itself. Most of what fills it is a file of the test's, so that no gigabyte is written; what is looked at is what the
//! servers say to the engines' own clients.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{processes, status, store, wait_for};
use crate::parameters::by_address;
use crate::postgresql::{login, psql};

const SOON: Duration = Duration::from_secs(60);

/// A file in the data folder of the server that serves an instance.
struct Ballast(PathBuf);

impl Ballast {
    async fn of(dev: &House, id: &str) -> Self {
        let generation = store::generation(&dev.store().await, id).await.unwrap();
        Self(dev.generations().join(generation.to_string()).join("data/ballast"))
    }

    /// Has so many thousandths of a volume be in use, of which `base` GB are there without it.
    fn fill(&self, thousandths: u64, gb: u64, base: f64) {
        let base = (base * 1024.0) as u64;
        self.weigh((gb * 1024 * thousandths / 1000).saturating_sub(base));
    }

    fn weigh(&self, mb: u64) {
        let file = File::create(&self.0).unwrap();
        if mb > 0 {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, mb << 20).unwrap();
        }
    }
}

async fn create(api: &Client, datastore: &str, version: &str, secret: &SecretString) -> String {
    let users = json!([{"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}]}]);
    let body = json!({"instance": {
        "name": "small", "flavorRef": "2", "volume": {"size": 1},
        "datastore": {"type": datastore, "version": version},
        "databases": [{"name": "shop"}, {"name": "spare"}], "users": users}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    answer["instance"]["id"].as_str().unwrap().to_owned()
}

/// Waits until the instance has this operating status, and gives what is shown of it then.
async fn until(api: &Client, id: &str, word: &str) -> Value {
    wait_for(&format!("the instance is {word}"), SOON, async || {
        let shown = api.show(id).await.unwrap();
        (shown["operating_status"] == word).then_some(shown)
    })
    .await
}

/// Waits until the service has measured the volume again, and `is_so` of what is used.
async fn until_used(api: &Client, id: &str, is_so: impl Fn(f64) -> bool) -> Value {
    wait_for("the volume is measured", SOON, async || {
        let shown = api.show(id).await.unwrap();
        shown["volume"]["used"].as_f64().filter(|used| is_so(*used)).map(|_| shown)
    })
    .await
}

fn is_told_full(shown: &Value) {
    let told = shown["fault"]["message"].as_str().unwrap_or_default();
    assert!(told.contains("The volume of 1 GB is full"), "{shown}");
    assert_eq!(shown["status"], "ACTIVE", "{shown}");
}

async fn events(dev: &House, id: &str) -> Vec<String> {
    let sql = "select what from events where instance_id = $1::text::uuid and what like 'volume_%' \
               and what <> 'volume_resized' order by id";
    let rows = dev.store().await.query(sql, &[&id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn drop_spare(api: &Client, id: &str) {
    let (code, answer) = api.remove(&format!("/instances/{id}/databases/spare")).await.unwrap();
    assert_eq!(code, 202, "{answer}");
}

async fn enlarge(api: &Client, id: &str, gb: u32) {
    let (code, answer) = api
        .post(&format!("/instances/{id}/action"), &json!({"resize": {"volume": {"size": gb}}}))
        .await
        .unwrap();
    assert_eq!(code, 202, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mariadb_is_read_and_not_written() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let id = create(&api, "mariadb", "10.11", &secret).await;
    let address = crate::harness::healthy(&api, &id).await;
    let mut app = by_address(&address, &secret).await.unwrap();
    app.query_drop("create table shop.t (n int auto_increment primary key, b longblob)").await.unwrap();
    app.query_drop("insert into shop.t (b) values ('one')").await.unwrap();

    // What the service logs does not count, and does not stay.
    let ballast = Ballast::of(&dev, &id).await;
    let data = ballast.0.parent().unwrap().to_owned();
    let logs = || -> u64 {
        let files = std::fs::read_dir(&data).unwrap().flatten();
        files
            .filter(|file| file.file_name().to_string_lossy().starts_with("binlog."))
            .filter_map(|file| file.metadata().ok())
            .map(|facts| facts.len())
            .sum()
    };
    // A table of MyISAM keeps no older versions of its rows, and no log of its own.
    app.query_drop("create table shop.m (b longblob) engine=myisam").await.unwrap();
    app.query_drop("insert into shop.m values ('')").await.unwrap();
    for n in 0..80 {
        app.query_drop(format!("update shop.m set b = repeat(char({}), 4 << 20)", 33 + n)).await.unwrap();
    }
    let shown = until_used(&api, &id, |used| used > 0.0).await;
    assert_eq!(shown["operating_status"], "HEALTHY", "{shown}");
    let first = data.join("binlog.000001");
    wait_for("binary logs are removed", SOON, async || {
        (!first.exists() && logs() <= 256 << 20).then_some(())
    })
    .await;
    app.query_drop("drop table shop.m").await.unwrap();

    let base = until_used(&api, &id, |used| used < 0.3).await["volume"]["used"].as_f64().unwrap();
    ballast.fill(975, 1, base);
    let shown = until(&api, &id, "BLOCKED").await;
    is_told_full(&shown);
    wait_for("sessions that may be writing are ended", SOON, async || {
        app.query_drop("select 1").await.err().map(drop)
    })
    .await;
    let write = "insert into shop.t (b) values ('two')";
    let refused =
        |error: mysql_async::Error| matches!(error, mysql_async::Error::Server(told) if told.code == 1290);
    let mut app = by_address(&address, &secret).await.unwrap();
    let rows: Option<u64> = app.query_first("select count(*) from shop.t").await.unwrap();
    assert_eq!(rows, Some(1));
    assert!(refused(app.query_drop(write).await.expect_err("refused")));
    for sql in ["set global read_only = 0", "set session read_only = 0", "set sql_log_bin = 0"] {
        app.query_drop(sql).await.expect_err(sql);
    }

    // It comes up so.
    processes::kill(dev.engine_pid(&dev.store().await, &id).await);
    let mut app = wait_for("the server is back", SOON, async || {
        let mut app = by_address(&address, &secret).await.ok()?;
        app.query_drop("select 1").await.ok().map(|()| app)
    })
    .await;
    assert!(refused(app.query_drop(write).await.expect_err("refused")));

    // The api deletes, and the bound has a width.
    drop_spare(&api, &id).await;
    wait_for("the database is gone", SOON, async || {
        let found: Vec<String> = app.query("show databases").await.unwrap();
        (!found.contains(&"spare".to_owned())).then_some(())
    })
    .await;
    let before = api.show(&id).await.unwrap()["volume"]["used"].as_f64().unwrap();
    ballast.fill(925, 1, base);
    let shown = until_used(&api, &id, |used| used < before - 0.02).await;
    assert_eq!(shown["operating_status"], "BLOCKED", "{shown}");

    enlarge(&api, &id, 2).await;
    until(&api, &id, "HEALTHY").await;
    assert!(api.show(&id).await.unwrap().get("fault").is_none());
    wait_for("it takes writes", SOON, async || app.query_drop(write).await.ok()).await;

    // Beyond its size nobody comes in.
    ballast.fill(1_050, 2, base);
    wait_for("the session is ended", SOON, async || app.query_drop("select 1").await.err().map(drop)).await;
    let told =
        wait_for("clients are turned away", SOON, async || match by_address(&address, &secret).await {
            Err(mysql_async::Error::Server(told)) if told.code == 1021 => Some(told.message),
            _other => None,
        })
        .await;
    assert!(told.contains("its volume is full"), "{told}");
    let shown = until(&api, &id, "BLOCKED").await;
    assert!(shown["fault"]["message"].as_str().unwrap().contains("takes no connections"), "{shown}");
    ballast.weigh(0);
    until(&api, &id, "HEALTHY").await;
    let mut app = wait_for("it takes clients", SOON, async || by_address(&address, &secret).await.ok()).await;
    wait_for("it takes writes", SOON, async || app.query_drop(write).await.ok()).await;
    assert_eq!(
        events(&dev, &id).await,
        ["volume_is_full", "volume_has_room", "volume_is_beyond_its_size", "volume_has_room"]
    );

    // A full one is upgraded like another, and stays so.
    ballast.fill(975, 2, base);
    until(&api, &id, "BLOCKED").await;
    api.patch(&format!("/instances/{id}"), &json!({"instance": {"datastore_version": "11.8"}}))
        .await
        .unwrap();
    wait_for("it is upgraded", Duration::from_secs(180), async || {
        let shown = api.show(&id).await.unwrap();
        (shown["status"] == "ACTIVE" && shown["datastore"]["version"] == "11.8").then_some(())
    })
    .await;
    let carried = Ballast::of(&dev, &id).await.0.exists();
    until(&api, &id, if carried { "BLOCKED" } else { "HEALTHY" }).await;
    let mut app = by_address(&address, &secret).await.unwrap();
    assert_eq!(app.query_drop(write).await.is_err(), carried);
    dev.leave_nothing(&api, &[&id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_postgresql_is_read_and_emptied() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let id = create(&api, "postgresql", "17", &secret).await;
    let address = crate::harness::healthy(&api, &id).await;
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    for sql in ["create table t (n int)", "insert into t values (1)", "begin", "insert into t values (2)"] {
        app.batch_execute(sql).await.unwrap();
    }

    let ballast = Ballast::of(&dev, &id).await;
    let base = until_used(&api, &id, |used| used > 0.0).await["volume"]["used"].as_f64().unwrap();
    ballast.fill(975, 1, base);
    is_told_full(&until(&api, &id, "BLOCKED").await);
    wait_for("the transaction is ended", SOON, async || app.batch_execute("select 1").await.err().map(drop))
        .await;
    let to = format!("host={address} user=app dbname=shop");
    assert_eq!(psql(&to, &secret, "select count(*) from t").await.as_deref(), Ok("1"));
    let write = "insert into t values (3)";
    let told = psql(&to, &secret, write).await.expect_err("refused");
    assert!(told.contains("read-only transaction"), "{told}");

    // Who asks for it deletes rows.
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    for sql in ["begin read write", "delete from t", "commit"] {
        app.batch_execute(sql).await.unwrap();
    }
    assert_eq!(psql(&to, &secret, "select count(*) from t").await.as_deref(), Ok("0"));
    drop_spare(&api, &id).await;
    wait_for("the database is gone", SOON, async || {
        let found = psql(&to, &secret, "select datname from pg_database").await.unwrap();
        (!found.contains("spare")).then_some(())
    })
    .await;

    // It comes up so.
    processes::kill(dev.engine_pid(&dev.store().await, &id).await);
    let told = wait_for("the server is back", SOON, async || {
        psql(&to, &secret, write).await.err().filter(|told| told.contains("read-only transaction"))
    })
    .await;
    assert!(told.contains("INSERT"), "{told}");

    // Whoever goes on writing is kept out beyond the size.
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    app.batch_execute("set session characteristics as transaction read write").await.unwrap();
    app.batch_execute("insert into t values (4)").await.unwrap();
    ballast.fill(1_050, 1, base);
    wait_for("the session is ended", SOON, async || app.batch_execute(write).await.err().map(drop)).await;
    wait_for("clients are turned away", SOON, async || {
        let refused = login(&address, "app", &secret, "shop").await.err()?;
        (refused.code()?.code() == "53100").then_some(())
    })
    .await;
    enlarge(&api, &id, 3).await;
    until(&api, &id, "HEALTHY").await;
    wait_for("it takes writes", SOON, async || psql(&to, &secret, write).await.ok()).await;
    assert_eq!(events(&dev, &id).await, ["volume_is_full", "volume_is_beyond_its_size", "volume_has_room"]);

    // A full one is upgraded like another.
    ballast.fill(975, 3, base);
    until(&api, &id, "BLOCKED").await;
    api.patch(&format!("/instances/{id}"), &json!({"instance": {"datastore_version": "18"}})).await.unwrap();
    wait_for("it is upgraded", Duration::from_secs(180), async || {
        let shown = api.show(&id).await.unwrap();
        (shown["status"] == "ACTIVE" && shown["datastore"]["version"] == "18").then_some(())
    })
    .await;
    let carried = Ballast::of(&dev, &id).await.0.exists();
    until(&api, &id, if carried { "BLOCKED" } else { "HEALTHY" }).await;
    assert_eq!(psql(&to, &secret, write).await.is_err(), carried);
    status(&api, &id, "ACTIVE", SOON).await;
    dev.leave_nothing(&api, &[&id]).await;
}
