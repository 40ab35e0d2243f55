//! Beds: the one that `make test` started for everybody, and `coffer dev`s of a test's own, to be killed.

pub mod builds;
pub mod house;
pub mod pair;
pub mod points;
pub mod processes;
pub mod roles;
pub mod rpc;
pub mod sdks;
pub mod store;
pub mod tenant;
pub mod vendors;
pub mod view;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use secrecy::SecretString;

/// The bed that `make test` started.
pub struct Bed {
    /// The state folder, with `clouds.yaml`.
    pub state: PathBuf,
}

/// The bed; a test without one fails and says what to do.
pub fn bed() -> Bed {
    let state = std::env::var("COFFER_TEST_BED_STATE").expect(
        "COFFER_TEST_BED_STATE is not set: these tests need the bed of real engines that `make test` starts",
    );
    Bed { state: PathBuf::from(state) }
}

/// Sets the project's maintenance window to one that is not open now, whatever the time of day is.
pub async fn have_no_window_now(api: &Client) {
    let start = (chrono::Utc::now() + chrono::TimeDelta::hours(6)).format("%H:%M").to_string();
    let window = serde_json::json!({"window": {"start": start, "minutes": 120}});
    let (code, answer) = api.put("/window", &window).await.unwrap();
    assert_eq!(code, 200, "{answer}");
}

/// Says that a test, or a part of one, did not run here and why, for the end of `make test`: `name: why`.
pub fn skip(line: &str) {
    if let Some(skips) = std::env::var_os("COFFER_TEST_SKIPS") {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(skips).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// A password that no other test has.
pub fn password() -> SecretString {
    SecretString::from(uuid::Uuid::new_v4().simple().to_string())
}

/// Waits until `look` gives something, looking again and again until the deadline.
pub async fn wait_for<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", within.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An instance with one database `shop` and one user `app`, ACTIVE and HEALTHY.
pub struct Shopkeeper {
    /// The instance's id.
    pub id: String,
    /// Its address.
    pub address: String,
    /// The password of `app`.
    pub password: SecretString,
}

/// Creates an instance and waits for it.
pub async fn open_shop(api: &Client, name: &str, version: &str) -> Shopkeeper {
    let password = password();
    let id = api.create(name, version, "shop", "app", &password).await.unwrap();
    let address = healthy(api, &id).await;
    Shopkeeper { id, address, password }
}

/// Waits until the instance is ACTIVE and HEALTHY; gives its address.
pub async fn healthy(api: &Client, id: &str) -> String {
    wait_for(&format!("instance {id} is ACTIVE and HEALTHY"), Duration::from_secs(120), async || {
        let seen = api.show(id).await.ok()?;
        assert_ne!(seen["status"], "ERROR", "{seen}");
        (seen["status"] == "ACTIVE" && seen["operating_status"] == "HEALTHY")
            .then(|| seen["ip"][0].as_str().unwrap().to_owned())
    })
    .await
}

/// Waits until the instance has the status.
pub async fn status(api: &Client, id: &str, status: &str, within: Duration) {
    wait_for(&format!("instance {id} is {status}"), within, async || {
        let seen = api.show(id).await.ok()?;
        (seen["status"] == status).then_some(())
    })
    .await;
}

/// Asks for an upgrade by the action; gives the new instance's id.
pub async fn ask_for_upgrade(api: &Client, id: &str, version: &str) -> String {
    ask_for_upgrade_of(api, id, "mariadb", version).await
}

/// The same of another datastore.
pub async fn ask_for_upgrade_of(api: &Client, id: &str, datastore: &str, version: &str) -> String {
    let body = serde_json::json!({"upgrade": {"datastore_type": datastore, "datastore_version": version}});
    let (status, answer) = api.post(&format!("/instances/{id}/action"), &body).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    answer["instance"]["id"].as_str().unwrap().to_owned()
}

/// Asks for the detach of the new instance, again and again while it is said to lag or cannot be asked (422, 503).
pub async fn ask_for_detach(api: &Client, new: &str) {
    let body = serde_json::json!({"instance": {"replica_of": ""}});
    wait_for("the detach is accepted", Duration::from_secs(60), async || {
        match api.patch(&format!("/instances/{new}"), &body).await {
            Ok(()) => Some(()),
            Err(refused) => {
                let refused = refused.to_string();
                assert!(refused.contains("answered 422") || refused.contains("answered 503"), "{refused}");
                None
            }
        }
    })
    .await;
}

/// Deletes instances and waits until they are gone.
pub async fn delete(api: &Client, ids: &[&str]) {
    for id in ids {
        api.delete(id).await.unwrap();
        api.wait_until_gone(id).await.unwrap();
    }
}

/// How many cases a property that costs requests is tried with: `make fuzz` wants more.
pub fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
