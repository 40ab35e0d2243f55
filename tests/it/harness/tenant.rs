//! What is in an instance while things are killed: a tenant who writes all the time, and looks afterwards whether
//! everything that was acknowledged is there once. The same on simulated and on real servers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::cli::demo::shop::Shop;
use coffer::cli::demo::writers::{Tally, Writers};
use coffer::domain::ids::GenerationId;
use coffer::domain::upgrade::Strategy;
use secrecy::SecretString;
use serde_json::json;

use super::roles::Roles;
use super::{processes, store, wait_for};

/// An instance with a tenant.
pub struct Tenant {
    /// The instance's id.
    pub id: String,
    password: SecretString,
    real: Option<Shop>,
}

/// A tenant who writes.
pub enum Writing {
    Simulated(SimulatedWriter),
    Real(Writers),
}

/// What was acknowledged.
pub enum Written {
    Simulated(Vec<String>),
    Real(Tally),
}

/// What the two versions are called: from, to.
pub fn versions(real: bool) -> (&'static str, &'static str) {
    if real { ("10.11", "11.8") } else { ("10.1", "10.4") }
}

impl Tenant {
    /// Asks for an instance and gives it as it is accepted; [`Tenant::settle`] waits for it.
    pub async fn ask(api: &Client, real: bool) -> Self {
        let password = super::password();
        let id = api.create("orders", versions(real).0, "shop", "app", &password).await.unwrap();
        Self { id, password, real: None }
    }

    /// Waits until the instance serves, and opens the shop in a real one.
    pub async fn settle(&mut self, api: &Client, real: bool) {
        let address = super::healthy(api, &self.id).await;
        if real && self.real.is_none() {
            // An endpoint that was killed this moment listens again the next.
            let shop = wait_for("the shop opens", Duration::from_secs(30), async || {
                Shop::open(&address, "shop", "app", &self.password).await.ok()
            })
            .await;
            shop.load(500, |_| {}).await.unwrap();
            self.real = Some(shop);
        }
    }

    /// Starts to write, and waits for the first acknowledgements.
    pub async fn write(&self, roles: &Roles, api: &Client) -> Writing {
        if self.real.is_some() {
            let address = super::healthy(api, &self.id).await;
            let writers = Writers::start(&address, "shop", "app", &self.password, 2);
            writers.until(|tally| tally.acknowledged > 10, Duration::from_secs(30)).await.unwrap();
            Writing::Real(writers)
        } else {
            let writer = SimulatedWriter::at_address(roles.url(), &self.id);
            wait_for("the tenant writes", Duration::from_secs(30), async || {
                (writer.acknowledged.lock().unwrap().len() > 10).then_some(())
            })
            .await;
            Writing::Simulated(writer)
        }
    }

    /// Asserts that the instance `id`, this one or one made of it, holds everything once.
    pub async fn assert_holds(&self, roles: &Roles, api: &Client, id: &str, written: &Written) {
        match written {
            Written::Simulated(payloads) => {
                let db = roles.db().await;
                let generation = store::generation(&db, id).await.unwrap();
                let rows = db
                    .query("select payload from simulated_writes where generation_id = $1", &[&generation.0])
                    .await
                    .unwrap();
                let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                let all = found.len();
                found.sort();
                found.dedup();
                assert_eq!(found.len(), all, "{id}: nothing is there twice");
                let missing: Vec<_> =
                    payloads.iter().filter(|payload| found.binary_search(payload).is_err()).collect();
                assert!(
                    missing.is_empty(),
                    "{id}: acknowledged and not there: {missing:?} of {}",
                    payloads.len()
                );
            }
            Written::Real(tally) => {
                let address = super::healthy(api, id).await;
                let shop = wait_for("the shop opens", Duration::from_secs(30), async || {
                    Shop::open(&address, "shop", "app", &self.password).await.ok()
                })
                .await;
                let found = shop.find(tally).await.unwrap();
                // A connection that was killed may have left one more than it heard of.
                assert!(found.found >= tally.acknowledged, "{id}: {found:?} of {}", tally.acknowledged);
                assert_eq!((found.missing, found.twice), (0, 0), "{id}: {found:?}");
                assert!(found.ledger_fits, "{id}: the ledger adds up");
            }
        }
    }
}

impl Writing {
    /// Stops, and gives what was acknowledged.
    pub async fn stop(self) -> Written {
        match self {
            Self::Simulated(writer) => Written::Simulated(writer.stop().await),
            Self::Real(writers) => Written::Real(writers.stop().await.unwrap()),
        }
    }
}

/// Writes to a simulated server, as a tenant would.
pub struct SimulatedWriter {
    /// What was acknowledged.
    pub acknowledged: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl SimulatedWriter {
    /// Starts to write to the server, again and again whatever becomes of it and of the store.
    pub fn start(url: String, server: GenerationId) -> Self {
        Self::begin(url, server.0, "select simulated_write($1, $2)")
    }

    /// The same to whatever serves at the instance's address; nothing is written while that is held.
    pub fn at_address(url: String, instance: &str) -> Self {
        let to = "select simulated_write(e.generation_id, $2) from endpoints e where e.instance_id = $1 \
                  and e.generation_id is not null \
                  and not exists (select from holds h where h.instance_id = e.instance_id)";
        Self::begin(url, instance.parse().unwrap(), to)
    }

    fn begin(url: String, to: uuid::Uuid, write: &'static str) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let stopping = Arc::new(AtomicBool::new(false));
        let (kept, stop) = (Arc::clone(&acknowledged), Arc::clone(&stopping));
        let task = tokio::spawn(async move {
            let mut client: Option<tokio_postgres::Client> = None;
            let mut number = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                let Some(open) = &client else {
                    if let Ok((fresh, connection)) =
                        tokio_postgres::connect(&url, tokio_postgres::NoTls).await
                    {
                        tokio::spawn(connection);
                        client = Some(fresh);
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    continue;
                };
                number += 1;
                let payload = format!("{number:012}");
                match open.query(write, &[&to, &payload]).await {
                    Ok(rows) if rows.is_empty() => {}
                    Ok(_) => kept.lock().unwrap().push(payload),
                    // Refused, or nobody knows: a tenant tries the next one.
                    Err(_) if open.is_closed() => client = None,
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { acknowledged, stopping, task }
    }

    /// Stops, and gives what was acknowledged.
    pub async fn stop(self) -> Vec<String> {
        self.stopping.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.acknowledged.lock().unwrap().clone()
    }
}

/// kill -9 of the server of an instance's newest generation; `false` when none runs.
pub async fn kill_server(roles: &Roles, db: &tokio_postgres::Client, instance: &str, real: bool) -> bool {
    let Some(generation) = store::generation(db, instance).await else { return false };
    kill_generation(roles, db, generation, real).await
}

/// kill -9 of a generation's server; `false` when it does not run.
pub async fn kill_generation(
    roles: &Roles,
    db: &tokio_postgres::Client,
    generation: GenerationId,
    real: bool,
) -> bool {
    if real {
        let found = processes::engine(roles.folder(), &generation.to_string());
        if let Some(process) = &found {
            processes::kill(process.pid);
        }
        found.is_some()
    } else {
        let sql =
            "update simulated_servers set state = 'dead' where generation_id = $1 and state = 'running'";
        db.execute(sql, &[&generation.0]).await.unwrap() > 0
    }
}

/// Asks for the upgrade of the same instance to the newer version, by the strategy.
pub async fn ask_to_switch(api: &Client, id: &str, real: bool, strategy: Strategy) {
    let body = json!({"upgrade": {"datastore_version": versions(real).1, "strategy": strategy.as_str()}});
    wait_for("the upgrade is accepted", Duration::from_secs(60), async || {
        let (status, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.ok()?;
        assert!(status == 202 || status == 503, "{status}: {answer}");
        (status == 202).then_some(())
    })
    .await;
}

/// Asks for the upgrade to the newer version.
pub async fn ask_for_upgrade(api: &Client, id: &str, real: bool) -> String {
    let to = versions(real).1;
    let body = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": to}});
    wait_for("the upgrade is accepted", Duration::from_secs(60), async || {
        // The source's server may be down this moment: what stands in the way cannot be asked then.
        let (status, answer) = api.post(&format!("/instances/{id}/action"), &body).await.ok()?;
        assert!(status == 202 || status == 503, "{status}: {answer}");
        (status == 202).then(|| answer["instance"]["id"].as_str().unwrap().to_owned())
    })
    .await
}
