//! kill -9 while a PostgreSQL instance is upgraded, in place and by a twin: each ends as the old server serving or the new
//! one, with what was acknowledged, and the next upgrade works.

use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use coffer::domain::upgrade::Strategy;
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

async fn upgrade(api: &Client, id: &str, strategy: Strategy) {
    let body = json!({"upgrade": {"datastore_version": "17", "strategy": strategy.as_str()}});
    let (code, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
}

/// Waits until the upgrade is at a step; false when it ended before it was seen there.
async fn is_at(db: &tokio_postgres::Client, step: &str) -> bool {
    let now = "select coalesce(step, '') from tasks where kind like 'upgrade%' and ended_at is null";
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match db.query_opt(now, &[]).await.unwrap().map(|row| row.get::<_, String>(0)) {
            Some(at) if at == step => return true,
            Some(_) => assert!(Instant::now() < deadline, "the upgrade does not come to {step}"),
            None => return false,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
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

/// Gives whether the step was met.
async fn cell(dev: &mut House, (strategy, step, victim): (Strategy, &str, Victim)) -> bool {
    let mut api = dev.login("coffer").await;
    let mut db = dev.store().await;
    let secret = password();
    let (id, address) = shop(&api, &secret).await;
    let writer = Writer::start(&address, &secret);
    upgrade(&api, &id, strategy).await;
    let met = is_at(&db, step).await;
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
    let met_or_not = if met { "" } else { ", missed" };
    let name = strategy.as_str();
    eprintln!(
        "{name} {step}, {victim:?} ({killed} killed{met_or_not}): {version}, {}",
        seen["fault"]["message"]
    );
    let app = writer.check().await;
    let answered = rows(&app, "SHOW server_version").await;
    assert!(answered[0].starts_with(&version), "{answered:?} is not {version}");
    drop(app);
    if version == "15" {
        let writer = Writer::start(&address, &secret);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The numbers begin again, and are there.
        upgrade(&api, &id, strategy).await;
        wait_for("the instance is on 17", Duration::from_secs(180), async || {
            let seen = api.show(&id).await.ok()?;
            (seen["status"] == "ACTIVE" && seen["datastore"]["version"] == "17").then_some(())
        })
        .await;
        drop(writer);
    }
    api.delete(&id).await.unwrap();
    api.wait_until_gone(&id).await.unwrap();
    met
}

/// Gives how many steps were met.
async fn cells(cells: &[(Strategy, &str, Victim)]) -> usize {
    let mut dev = House::start().await;
    let mut met = 0;
    for it in cells {
        met += usize::from(cell(&mut dev, *it).await);
    }
    let api = dev.login("coffer").await;
    dev.leave_nothing(&api, &[]).await;
    met
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_the_data_is_made_ready_and_converted() {
    let all = [(Strategy::InPlace, "ready", Victim::New), (Strategy::InPlace, "transform", Victim::Dev)];
    assert_eq!(cells(&all).await, all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_either_server_within_the_hold() {
    let all = [(Strategy::InPlace, "stop", Victim::Old), (Strategy::InPlace, "transform", Victim::New)];
    assert_eq!(cells(&all).await, all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_a_twin_is_fed() {
    let all = [(Strategy::Twin, "seed", Victim::Old), (Strategy::Twin, "verify", Victim::New)];
    assert_eq!(cells(&all).await, all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_either_server_while_a_twin_takes_over() {
    let all = [(Strategy::Twin, "fence", Victim::New), (Strategy::Twin, "drain", Victim::Old)];
    assert_eq!(cells(&all).await, all.len());
}

const IN_PLACE: [&str; 10] =
    ["ready", "quiet", "fence", "stop", "transform", "start", "convert", "switch", "admit", "retire"];

const TWIN: [&str; 14] = [
    "place",
    "start",
    "seed",
    "convert",
    "replicate",
    "catch_up",
    "verify",
    "quiet",
    "fence",
    "drain",
    "cut",
    "switch",
    "admit",
    "retire",
];

async fn each(strategy: Strategy, steps: &[&'static str]) {
    let victims = [Victim::Dev, Victim::Endpoint, Victim::Old, Victim::New];
    let all: Vec<_> =
        steps.iter().flat_map(|step| victims.iter().map(move |victim| (strategy, *step, *victim))).collect();
    let met = cells(&all).await;
    eprintln!(
        "PostgreSQL 15 to 17, {}: {} cells, {met} of them met their step",
        strategy.as_str(),
        all.len()
    );
    assert!(met * 2 > all.len(), "{met} of {} steps were met", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a few minutes: make torture"]
async fn each_at_each_step_in_place() {
    each(Strategy::InPlace, &IN_PLACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a few minutes: make torture"]
async fn each_at_each_step_of_a_twin() {
    each(Strategy::Twin, &TWIN).await;
}
