//! kill -9 while a PostgreSQL instance is upgraded in place: each ends as the old server serving or the new one, with what
//! was acknowledged, and the next upgrade works.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use serde_json::json;

use crate::harness::house::House;
use crate::harness::store::Side;
use crate::harness::{healthy, password, processes, store, wait_for};
use crate::postgres_servers::rows;
use crate::postgresql::{Writer, shop};

#[derive(Clone, Copy, Debug)]
enum Victim {
    Dev,
    Endpoint,
    Old,
    New,
}

async fn patch(api: &Client, id: &str) {
    api.patch(&format!("/instances/{id}"), &json!({"instance": {"datastore_version": "17"}})).await.unwrap();
}

/// Kills the servers, and the programs beside them, of one side.
async fn kill_side(dev: &House, db: &tokio_postgres::Client, id: &str, side: Side) -> usize {
    let Some(generation) = store::side(db, id, side).await else { return 0 };
    let folder = dev.state.join("generations").join(generation.to_string());
    let all = processes::of(&folder);
    let killed: Vec<_> =
        all.iter().filter(|p| p.line.contains("/bin/p") && !p.line.contains(" shim ")).collect();
    for process in &killed {
        processes::kill(process.pid);
    }
    killed.len()
}

async fn cell(dev: &mut House, step: &str, victim: Victim) {
    let mut api = dev.login("coffer").await;
    let mut db = dev.store().await;
    let secret = password();
    let (id, address) = shop(&api, &secret).await;
    let writer = Writer::start(&address, &secret);
    patch(&api, &id).await;
    let now = "select coalesce(step, '') from tasks where kind like 'upgrade%' and ended_at is null";
    wait_for(&format!("the step {step}"), Duration::from_secs(120), async || {
        let row = db.query_opt(now, &[]).await.unwrap();
        (row.map(|row| row.get::<_, String>(0)).as_deref() == Some(step)).then_some(())
    })
    .await;
    let killed = match victim {
        Victim::Dev => {
            dev.kill_dev_and_start_again().await;
            api = dev.login("coffer").await;
            db = dev.store().await;
            1
        }
        Victim::Endpoint => {
            processes::kill(dev.endpoint_pid().await);
            1
        }
        Victim::Old => kill_side(dev, &db, &id, Side::Old).await,
        Victim::New => kill_side(dev, &db, &id, Side::New).await,
    };
    wait_for("the upgrade has ended", Duration::from_secs(180), async || {
        (store::count(&db, "tasks where kind like 'upgrade%' and ended_at is null").await == 0).then_some(())
    })
    .await;
    healthy(&api, &id).await;
    let seen = api.show(&id).await.unwrap();
    let version = seen["datastore"]["version"].as_str().unwrap().to_owned();
    eprintln!("{step}, {victim:?} ({killed} killed): {version}, {}", seen["fault"]["message"]);
    let app = writer.check().await;
    let answered = rows(&app, "SHOW server_version").await;
    assert!(answered[0].starts_with(&version), "{answered:?} is not {version}");
    drop(app);
    if version == "15" {
        let writer = Writer::start(&address, &secret);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The numbers begin again, and are there.
        patch(&api, &id).await;
        wait_for("the instance is on 17", Duration::from_secs(180), async || {
            let seen = api.show(&id).await.ok()?;
            (seen["status"] == "ACTIVE" && seen["datastore"]["version"] == "17").then_some(())
        })
        .await;
        drop(writer);
    }
    api.delete(&id).await.unwrap();
    api.wait_until_gone(&id).await.unwrap();
}

async fn cells(cells: &[(&str, Victim)]) {
    let mut dev = House::start().await;
    for (step, victim) in cells {
        cell(&mut dev, step, *victim).await;
    }
    let api = dev.login("coffer").await;
    dev.leave_nothing(&api, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_data_is_made_ready_and_converted() {
    cells(&[("ready", Victim::New), ("transform", Victim::Dev)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_either_server_within_the_hold() {
    cells(&[("stop", Victim::Old), ("transform", Victim::New)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a few minutes: make torture"]
async fn a_kill_of_each_at_each_step() {
    let mut all = Vec::new();
    for step in
        ["ready", "quiet", "fence", "stop", "transform", "start", "convert", "switch", "admit", "retire"]
    {
        for victim in [Victim::Dev, Victim::Endpoint, Victim::Old, Victim::New] {
            all.push((step, victim));
        }
    }
    cells(&all).await;
}
