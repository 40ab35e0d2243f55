//! An instance in which eight writers write while its upgrade meets a fault, and what must be true of it afterwards.

use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use coffer::cli::demo::ledger::Ledger;
use coffer::cli::demo::shop::{Found, Shop, opts};
use coffer::cli::demo::writers::{Protocol, Tally, Writers};
use secrecy::SecretString;

use super::Engine;
use crate::harness::{password, wait_for};

/// How many write.
pub const WRITERS: u16 = 8;

/// What each does between two transactions: several instances are written to at a time.
const PAUSE: Duration = Duration::from_millis(100);

/// For how long nobody may be without an acknowledged write, once the services are up.
pub const SAFE_WITHIN: Duration = Duration::from_secs(60);

/// An instance that has been upgraded in vain so far.
pub struct Upgradable {
    pub engine: Engine,
    pub id: String,
    address: String,
    password: SecretString,
    /// Upgrades that led back.
    pub in_vain: usize,
}

impl Upgradable {
    /// Makes it.
    pub async fn begin(api: &Client, engine: Engine) -> Self {
        let password = password();
        let (datastore, (from, _)) = (engine.datastore(), engine.versions());
        let id = wait_for("the creation is accepted", Duration::from_secs(30), async || {
            api.create_of(datastore, "orders", from, "shop", "app", &password).await.ok()
        })
        .await;
        let address = healthy(api, &id, Duration::from_secs(120)).await;
        let life = Self { engine, id, address, password, in_vain: 0 };
        let loaded = match engine {
            Engine::MariaDb => life.shop().await.unwrap().load(200, |_| {}).await,
            Engine::Postgresql => life.ledger().await.unwrap().load(200).await,
        };
        loaded.unwrap();
        life
    }

    async fn shop(&self) -> Option<Shop> {
        Shop::open(&self.address, "shop", "app", &self.password).await.ok()
    }

    async fn ledger(&self) -> Option<Ledger> {
        Ledger::open(&self.address, "shop", "app", &self.password).await.ok()
    }

    /// Starts to write, and waits until each has begun.
    pub async fn write(&self) -> Writers {
        let door = match self.engine {
            Engine::MariaDb => {
                Protocol::Mysql(Box::new(opts(&self.address, "shop", "app", &self.password).into()))
            }
            Engine::Postgresql => {
                let ledger = wait_for("the ledger opens", SAFE_WITHIN, async || self.ledger().await).await;
                ledger.door()
            }
        };
        let writers = Writers::start_pausing(&door, WRITERS, PAUSE);
        progress(&writers, 24).await;
        writers
    }

    /// What the server that is reached says that it is, and what it holds of the tally.
    async fn look(&self, tally: &Tally) -> (String, Found) {
        wait_for("the server tells", SAFE_WITHIN, async || {
            Some(match self.engine {
                Engine::MariaDb => {
                    let shop = self.shop().await?;
                    (shop.version().await.ok()?, shop.find(tally).await.ok()?)
                }
                Engine::Postgresql => {
                    let ledger = self.ledger().await?;
                    (ledger.version().await.ok()?, ledger.find(tally).await.ok()?)
                }
            })
        })
        .await
    }

    /// Ends the writing, and asserts that everything that was acknowledged is there once, that the server is the one
    /// that the API tells of, and that tenants write to it. Gives the version's name.
    pub async fn settle(&self, api: &Client, writers: Writers, patience: Duration) -> String {
        healthy(api, &self.id, SAFE_WITHIN).await;
        progress(&writers, u64::from(WRITERS) * 3).await;
        let tally = writers.stop().await.unwrap();
        let seen = wait_for("it is shown", SAFE_WITHIN, async || api.show(&self.id).await.ok()).await;
        let version = seen["datastore"]["version"].as_str().unwrap().to_owned();
        let (answered, found) = self.look(&tally).await;
        let next_is_no_digit = !answered[version.len()..].starts_with(|c: char| c.is_ascii_digit());
        assert!(
            answered.starts_with(&version) && next_is_no_digit,
            "the server is {answered}, and the API says {version}"
        );
        assert_eq!((found.missing, found.twice), (0, 0), "{found:?} of {} acknowledged", tally.acknowledged);
        assert!(found.found >= tally.acknowledged, "{found:?} of {} acknowledged", tally.acknowledged);
        assert!(found.ledger_fits, "the ledger adds up");
        assert!(tally.longest_gap < patience, "a writer had to wait for {:?}", tally.longest_gap);
        let has_fault = seen.get("fault").is_some();
        let (from, _) = self.engine.versions();
        assert_eq!(
            has_fault,
            version == from,
            "an upgrade that led back says why, another says nothing: {seen}"
        );
        version
    }

    /// Deletes it.
    pub async fn end(self, api: &Client) {
        wait_for("the deletion is accepted", SAFE_WITHIN, async || api.delete(&self.id).await.ok()).await;
        wait_for("it is gone", Duration::from_secs(120), async || {
            api.read(&format!("/instances/{}", self.id)).await.ok().filter(|(status, _)| *status == 404)
        })
        .await;
    }
}

/// Waits until so many more transactions are acknowledged.
async fn progress(writers: &Writers, more: u64) {
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged >= before + more, SAFE_WITHIN).await.unwrap();
}

/// Waits until the instance is ACTIVE and HEALTHY; gives its address.
async fn healthy(api: &Client, id: &str, within: Duration) -> String {
    let deadline = Instant::now() + within;
    loop {
        let seen = api.show(id).await;
        if let Ok(seen) = &seen
            && seen["status"] == "ACTIVE"
            && seen["operating_status"] == "HEALTHY"
        {
            return seen["ip"][0].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "not ACTIVE and HEALTHY within {within:?}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
