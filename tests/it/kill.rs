//! kill -9 of every process, in the middle of the work. After it the work is finished or undone, what tenants wrote is
//! there, and nothing is left over. Each test has a `coffer dev` of its own.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::cli::demo::shop::Shop;
use coffer::cli::demo::writers::{Tally, Writers};
use mysql_async::prelude::Queryable as _;

use crate::harness::house::House;
use crate::harness::{
    Shopkeeper, ask_for_detach, ask_for_upgrade, healthy, open_shop, processes, status, store, wait_for,
};

/// Rows enough that a copy takes a moment in which something can be killed.
const ROWS: u32 = 150_000;

/// A house with a shop that is being written to.
struct ShopUnderLoad {
    house: House,
    api: Client,
    old: Shopkeeper,
    shop: Shop,
    writers: Writers,
}

async fn scene(rows: u32) -> ShopUnderLoad {
    let house = House::start().await;
    let api = house.login("coffer").await;
    let old = open_shop(&api, "orders", "10.11").await;
    let shop = Shop::open(&old.address, "shop", "app", &old.password).await.unwrap();
    shop.load(rows, |_| {}).await.unwrap();
    let writers = Writers::start(&old.address, "shop", "app", &old.password, 4);
    writers.until(|tally| tally.acknowledged > 50, Duration::from_secs(30)).await.unwrap();
    ShopUnderLoad { house, api, old, shop, writers }
}

/// The step of the upgrade's task that has begun and not ended.
async fn open_step(store: &tokio_postgres::Client) -> Option<String> {
    let sql = "select s.step from task_steps s join tasks t on t.id = s.task_id \
               where t.kind = 'upgrade' and s.outcome is null";
    store.query_opt(sql, &[]).await.unwrap().map(|row| row.get(0))
}

/// Waits until the upgrade's task is in `step`, which has begun and not ended.
async fn in_step(store: &tokio_postgres::Client, step: &str) {
    wait_for(&format!("the step {step} runs"), Duration::from_secs(120), async || {
        (open_step(store).await.as_deref() == Some(step)).then_some(())
    })
    .await;
}

fn assert_all_there(side: &str, found: &coffer::cli::demo::shop::Found, tally: &Tally) {
    assert_eq!(
        found.found, tally.acknowledged,
        "{side}: every acknowledged transaction is there once: {found:?}"
    );
    assert_eq!((found.missing, found.twice), (0, 0), "{side}: {found:?}");
    assert!(found.ledger_fits, "{side}: the ledger adds up");
}

/// From VERIFY_UPGRADE to the end (writers are stopped before a detach is asked for, here or by the caller): both sides hold everything, the servers themselves say what they are, the accounts
/// are the tenant's and ours, and nothing is left.
async fn finish(scene: ShopUnderLoad, new: &str, detach_was_asked_for: bool) {
    let ShopUnderLoad { house, api, old, shop, writers } = scene;
    if !detach_was_asked_for {
        status(&api, new, "VERIFY_UPGRADE", Duration::from_secs(240)).await;
        status(&api, &old.id, "VERIFY_UPGRADE", Duration::from_secs(10)).await;
    }
    let tally = writers.stop().await.unwrap();
    assert!(tally.acknowledged > 50);
    if !detach_was_asked_for {
        ask_for_detach(&api, new).await;
    }
    let address = healthy(&api, new).await;
    healthy(&api, &old.id).await;
    let twin = Shop::open(&address, "shop", "app", &old.password).await.unwrap();
    assert!(twin.version().await.unwrap().starts_with("11.8."));
    assert!(shop.version().await.unwrap().starts_with("10.11."));
    assert_all_there("source", &shop.find(&tally).await.unwrap(), &tally);
    assert_all_there("twin", &twin.find(&tally).await.unwrap(), &tally);
    assert!(shop.insert_apart("old").await.unwrap() && twin.insert_apart("new").await.unwrap());
    assert!(!shop.sees_apart("new").await.unwrap() && !twin.sees_apart("old").await.unwrap());

    let db = house.store().await;
    for (instance, replica_of) in [(old.id.as_str(), "the source"), (new, "the new one")] {
        let generation = store::generation(&db, instance).await.unwrap();
        let mut server = store::engine(&house.state, &house.run, &db, generation).await.unwrap();
        let accounts = store::accounts(&mut server).await;
        assert_eq!(accounts, ["app@%", "coffer@localhost"], "{replica_of}");
        let follows: Option<mysql_async::Row> = server.query_first("show all slaves status").await.unwrap();
        assert!(follows.is_none(), "{replica_of} follows nobody");
        let read_only: Option<bool> = server.query_first("select @@global.read_only").await.unwrap();
        assert_eq!(read_only, Some(false), "{replica_of} can be written");
        server.disconnect().await.unwrap();
    }
    drop(db);
    house.leave_nothing(&api, &[new, &old.id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_dev_while_the_copy_is_made() {
    let mut scene = scene(ROWS).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    in_step(&db, "seed").await;
    let before = scene.writers.tally();
    scene.house.kill_dev_and_start_again().await;
    // Endpoint and engines survive: writers go on as if nothing had been.
    scene
        .writers
        .until(|tally| tally.acknowledged > before.acknowledged + 50, Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(scene.writers.tally().errors, 0, "tenants do not notice");
    scene.api = scene.house.login("coffer").await;
    finish(scene, &new, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_dev_while_the_new_server_starts() {
    let mut scene = scene(1_000).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    in_step(&db, "start").await;
    scene.house.kill_dev_and_start_again().await;
    scene.api = scene.house.login("coffer").await;
    finish(scene, &new, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_source_during_the_copy() {
    let scene = scene(ROWS).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    in_step(&db, "seed").await;
    processes::kill(scene.house.engine_pid(&db, &scene.old.id).await);
    let before = scene.writers.tally();
    scene
        .writers
        .until(|tally| tally.acknowledged > before.acknowledged + 50, Duration::from_secs(60))
        .await
        .unwrap();
    finish(scene, &new, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_new_server_while_it_catches_up() {
    let scene = scene(20_000).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    in_step(&db, "convert").await;
    let pid = scene.house.engine_pid(&db, &new).await;
    in_step(&db, "catch_up").await;
    // Frozen first: so the step cannot end between our look and the kill.
    let frozen = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(frozen, rustix::process::Signal::STOP).unwrap();
    assert_eq!(open_step(&db).await.as_deref(), Some("catch_up"), "it is killed while it catches up");
    processes::kill(pid);
    assert_eq!(scene.writers.tally().errors, 0, "the source's tenants do not notice");
    finish(scene, &new, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_endpoint_during_an_upgrade() {
    let scene = scene(1_000).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    in_step(&db, "catch_up").await;
    processes::kill(scene.house.endpoint_pid().await);
    let before = scene.writers.tally();
    scene
        .writers
        .until(|tally| tally.acknowledged > before.acknowledged + 50, Duration::from_secs(60))
        .await
        .unwrap();
    finish(scene, &new, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_postgres_during_the_detach() {
    let scene = scene(1_000).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    status(&scene.api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let postmaster = scene.house.postmaster_pid().await;
    // What was acknowledged before the detach must be on both sides after it.
    scene.writers.stop().await.unwrap();
    ask_for_detach(&scene.api, &new).await;
    let killed_at = std::time::SystemTime::now();
    processes::kill(postmaster);
    drop(db);
    healthy(&scene.api, &new).await;
    let db = scene.house.store().await;
    let ended_at: std::time::SystemTime =
        db.query_one("select ended_at from tasks where kind = 'upgrade'", &[]).await.unwrap().get(0);
    assert!(ended_at > killed_at, "the detach was under way when Postgres was killed");
    drop(db);
    finish(scene, &new, true).await;
}

/// Stopped cleanly while an upgrade waits for the customer, and started again: everything is found again, and what was
/// written is still there on both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_is_no_loss_either() {
    let mut scene = scene(1_000).await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    status(&scene.api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    scene.house.stop().await;
    scene.house.start_again().await;
    scene.api = scene.house.login("coffer").await;
    let before = scene.writers.tally();
    scene
        .writers
        .until(|tally| tally.acknowledged > before.acknowledged + 50, Duration::from_secs(60))
        .await
        .unwrap();
    finish(scene, &new, false).await;
}

/// A new side that does not follow its source cannot be detached: 422 or 503, and nothing happens. When it follows
/// again, it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_caught_up_is_not_detached() {
    let scene = scene(1_000).await;
    let db = scene.house.store().await;
    let new = ask_for_upgrade(&scene.api, &scene.old.id, "11.8").await;
    status(&scene.api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let source = rustix::process::Pid::from_raw(scene.house.engine_pid(&db, &scene.old.id).await).unwrap();
    rustix::process::kill_process(source, rustix::process::Signal::STOP).unwrap();
    let body = serde_json::json!({"instance": {"replica_of": ""}});
    let refused = scene.api.patch(&format!("/instances/{new}"), &body).await.unwrap_err().to_string();
    assert!(refused.contains("answered 503") || refused.contains("answered 422"), "{refused}");
    assert_eq!(scene.api.show(&new).await.unwrap()["status"], "VERIFY_UPGRADE");
    rustix::process::kill_process(source, rustix::process::Signal::CONT).unwrap();
    scene.writers.stop().await.unwrap();
    wait_for("it can be detached", Duration::from_secs(60), async || {
        scene.api.patch(&format!("/instances/{new}"), &body).await.ok()
    })
    .await;
    finish(scene, &new, true).await;
}
