//! A step inside a series: two builds that lie side by side are two versions, and the older one goes to the newer.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::cli::demo::ledger::Ledger;
use coffer::cli::demo::shop::Shop;
use coffer::cli::demo::writers::Writers;
use serde_json::{Value, json};

use crate::harness::builds::Builds;
use crate::harness::{delete, healthy};
use crate::upgrade::ended;

/// The version that is a build of the series but not its newest.
pub async fn older(api: &Client, datastore: &str, series: &str) -> String {
    let (_, seen) = api.read(&format!("/datastores/{datastore}/versions")).await.unwrap();
    let names: Vec<&str> =
        seen["versions"].as_array().unwrap().iter().filter_map(|version| version["name"].as_str()).collect();
    assert!(names.contains(&series), "{names:?}");
    (*names.iter().find(|name| name.starts_with(&format!("{series}."))).unwrap()).to_owned()
}

/// Upgrades to the series' newest build by the strategy; gives what its servers answered: before, now.
async fn step(api: &Client, id: &str, series: &str, strategy: &str) -> (String, String) {
    let body = json!({"upgrade": {"datastore_version": series, "strategy": strategy, "drop_retired": true}});
    let (code, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    let upgrade = ended(api, id, Duration::from_secs(240)).await;
    let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(upgrade["state"], "succeeded", "{task}");
    let answered = |key: &str| task["report"][key].as_str().unwrap().to_owned();
    eprintln!("{strategy} {series}: {}", task["report"]);
    let pair = (answered("from_answered"), answered("to_answered"));
    assert_ne!(pair.0, pair.1);
    pair
}

/// What the instance shows is what its server answered, and nothing leads back.
async fn assert_newest(api: &Client, id: &str, series: &str, older: &str, answered: &str) {
    let seen = api.show(id).await.unwrap();
    assert_eq!(
        (&seen["datastore"]["version"], &seen["datastore"]["version_number"]),
        (&json!(series), &json!(answered))
    );
    let (_, targets) = api.read(&format!("/instances/{id}/upgrade-targets")).await.unwrap();
    let is_older = |target: &&Value| target["datastore_version"] == older;
    let back = targets["upgrade_targets"].as_array().unwrap().iter().find(is_older).unwrap().clone();
    assert_eq!((&back["hops"], &back["strategies"]), (&json!([]), &json!([])), "{back}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_mariadb_goes_to_the_newest_of_its_series() {
    let Some(builds) = Builds::start("mariadb", "10.11").await else { return };
    let api = builds.house.login("coffer").await;
    let older = older(&api, "mariadb", "10.11").await;
    let mut ids = Vec::new();
    for strategy in ["in_place", "twin"] {
        let password = crate::harness::password();
        let id = api.create(strategy, &older, "shop", "app", &password).await.unwrap();
        let address = healthy(&api, &id).await;
        let shop = Shop::open(&address, "shop", "app", &password).await.unwrap();
        assert!(shop.version().await.unwrap().starts_with(&format!("{older}-")), "the build that was named");
        shop.load(2_000, |_| {}).await.unwrap();
        let writers = Writers::start(&address, "shop", "app", &password, 8);
        writers.until(|tally| tally.acknowledged > 100, Duration::from_secs(30)).await.unwrap();
        let (before, now) = step(&api, &id, "10.11", strategy).await;
        assert_eq!(before, older);
        assert_eq!(healthy(&api, &id).await, address);
        let tally = writers.stop().await.unwrap();
        let shop = Shop::open(&address, "shop", "app", &password).await.unwrap();
        assert!(shop.version().await.unwrap().starts_with(&format!("{now}-")));
        let found = shop.find(&tally).await.unwrap();
        assert_eq!((found.missing, found.twice, found.ledger_fits), (0, 0, true), "{found:?}");
        assert!(found.found >= tally.acknowledged);
        assert_newest(&api, &id, "10.11", &older, &now).await;
        ids.push(id);
    }
    delete(&api, &[&ids[0], &ids[1]]).await;
}

/// Nobody asks: its window opens, and the worker does, with writers on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_brings_an_older_mariadb_to_the_newest_of_its_series() {
    let Some(builds) = Builds::start("mariadb", "10.11").await else { return };
    let api = builds.house.login("coffer").await;
    let older = older(&api, "mariadb", "10.11").await;
    let password = crate::harness::password();
    let id = api.create("orders", &older, "shop", "app", &password).await.unwrap();
    let address = healthy(&api, &id).await;
    let shop = Shop::open(&address, "shop", "app", &password).await.unwrap();
    shop.load(500, |_| {}).await.unwrap();
    let writers = Writers::start(&address, "shop", "app", &password, 4);
    writers.until(|tally| tally.acknowledged > 50, Duration::from_secs(30)).await.unwrap();
    let policy = format!("/instances/{id}/upgrade-policy");
    let (status, answer) = api.put(&policy, &json!({"upgrade_policy": {"minor": "window"}})).await.unwrap();
    assert_eq!((status, &answer["upgrade_policy"]["newest"]["datastore_version"]), (200, &json!("10.11")));
    let start = (chrono::Utc::now() - chrono::TimeDelta::minutes(5)).format("%H:%M").to_string();
    let window = json!({"window": {"start": start, "minutes": 120}});
    assert_eq!(api.put(&format!("/instances/{id}/window"), &window).await.unwrap().0, 200);
    let upgrade = ended(&api, &id, Duration::from_secs(240)).await;
    let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(
        (&upgrade["state"], &task["report"]["automatic"]),
        (&json!("succeeded"), &json!(true)),
        "{task}"
    );
    healthy(&api, &id).await;
    let tally = writers.stop().await.unwrap();
    let shop = Shop::open(&address, "shop", "app", &password).await.unwrap();
    let found = shop.find(&tally).await.unwrap();
    assert_eq!((found.missing, found.twice, found.ledger_fits), (0, 0, true), "{found:?}");
    let now = task["report"]["to_answered"].as_str().unwrap();
    assert_newest(&api, &id, "10.11", &older, now).await;
    delete(&api, &[&id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_postgresql_goes_to_the_newest_of_its_series() {
    let Some(builds) = Builds::start("postgresql", "15").await else { return };
    let api = builds.house.login("coffer").await;
    let older = older(&api, "postgresql", "15").await;
    let password = crate::harness::password();
    let id = api.create_of("postgresql", "elephant", &older, "shop", "app", &password).await.unwrap();
    let address = healthy(&api, &id).await;
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    assert!(ledger.version().await.unwrap().starts_with(&older), "the build that was named");
    ledger.load(2_000).await.unwrap();
    let sums = ledger.sums().await.unwrap();
    let writers = Writers::start_at(&ledger.door(), 8);
    writers.until(|tally| tally.acknowledged > 100, Duration::from_secs(30)).await.unwrap();
    let (before, now) = step(&api, &id, "15", "in_place").await;
    assert_eq!(before, older);
    assert_eq!(healthy(&api, &id).await, address);
    let tally = writers.stop().await.unwrap();
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    assert!(ledger.version().await.unwrap().starts_with(&now));
    assert_eq!(ledger.sums().await.unwrap(), sums);
    let found = ledger.find(&tally).await.unwrap();
    assert_eq!((found.missing, found.ledger_fits), (0, true), "{found:?}");
    assert!(found.found >= tally.acknowledged);
    assert_newest(&api, &id, "15", &older, &now).await;
    delete(&api, &[&id]).await;
}
