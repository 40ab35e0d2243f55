//! A service as the vendors' clients meet it: where it is, and the keys of its clouds.

use coffer::cli::demo::client::Client;
use serde_json::Value;

use crate::harness::house::House;
use crate::harness::sdks::{Alibaba, Huawei};
use crate::harness::{bed, healthy, password};

/// A service, a session with it, and its access keys.
pub struct Vendors {
    /// Trove's routes, and ours.
    pub api: Client,
    pub url: String,
    pub keys: Value,
    /// Its own `coffer dev`, which ends with it; none where it is the bed.
    house: Option<House>,
}

impl Vendors {
    /// One on simulated servers.
    pub async fn simulated() -> Self {
        Self::of(House::start_with(&["--runtime", "simulated"]).await).await
    }

    /// One of its own.
    pub async fn of(house: House) -> Self {
        let api = house.login("coffer").await;
        let openrc = std::fs::read_to_string(house.state.join("openrc")).unwrap();
        let url = openrc.split("OS_AUTH_URL='").nth(1).unwrap().split("/identity").next().unwrap().to_owned();
        let keys = keys(&house.state);
        Self { api, url, keys, house: Some(house) }
    }

    /// The bed.
    pub async fn bed() -> Self {
        let state = bed().state;
        let api = Client::login(&state, "coffer").await.unwrap();
        Self { api, url: std::env::var("COFFER_TEST_BED").unwrap(), keys: keys(&state), house: None }
    }

    /// Its own `coffer dev`.
    pub fn house(&self) -> &House {
        self.house.as_ref().expect("it is not the bed")
    }

    fn key(&self, cloud: &str) -> [&str; 3] {
        ["access_key", "secret_key", "project_id"].map(|name| self.keys[cloud][name].as_str().unwrap())
    }

    /// Alibaba's SDKs with the key of a cloud; `None` where they are not installed.
    pub fn alibaba(&self, cloud: &str) -> Option<Alibaba> {
        let [access_key, secret, _] = self.key(cloud);
        Alibaba::start("alibaba::sdks", &self.url, (access_key, secret))
    }

    /// Huawei's SDK with the key of a cloud; `None` where it is not installed.
    pub fn huawei(&self, cloud: &str) -> Option<Huawei> {
        let [access_key, secret, project] = self.key(cloud);
        Huawei::start("huawei::sdk", &self.url, (access_key, secret, project))
    }

    /// An instance that serves; its id.
    pub async fn create(&self, datastore: &str, name: &str, version: &str) -> String {
        let id = self.api.create_of(datastore, name, version, "shop", "app", &password()).await.unwrap();
        healthy(&self.api, &id).await;
        id
    }

    /// The name of an older build of a version.
    pub async fn older(&self, datastore: &str, version: &str) -> String {
        let (_, all) = self.api.read(&format!("/datastores/{datastore}/versions")).await.unwrap();
        let names = all["versions"].as_array().unwrap().iter().filter_map(|version| version["name"].as_str());
        let begins = format!("{version}.");
        names.into_iter().find(|name| name.starts_with(&begins)).unwrap().to_owned()
    }
}

fn keys(state: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(state.join("access-keys.json")).unwrap()).unwrap()
}
