//! What is upgraded: an instance with data, by engine.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use secrecy::SecretString;
use serde_json::json;

use crate::cli::demo::client::Client;
use crate::cli::demo::ledger::Ledger;
use crate::cli::demo::screen::Step;
use crate::cli::demo::shop::{Shop, opts};
use crate::cli::demo::writers::{Protocol, Tally};

/// Rows beside the ballast.
const ROWS: u32 = 1_000;

/// Whose upgrades are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// 10.11 to 11.8.
    Mariadb,
    /// 15 to 17.
    Postgresql,
}

impl Engine {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Mariadb, Self::Postgresql];

    /// From which version to which.
    pub const fn versions(self) -> (&'static str, &'static str) {
        match self {
            Self::Mariadb => ("10.11", "11.8"),
            Self::Postgresql => ("15", "17"),
        }
    }

    /// The datastore's name.
    pub const fn datastore(self) -> &'static str {
        match self {
            Self::Mariadb => "mariadb",
            Self::Postgresql => "postgresql",
        }
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Mariadb => "MariaDB 10.11 to 11.8",
            Self::Postgresql => "PostgreSQL 15 to 17",
        }
    }

    /// The folder of the engine of a version.
    pub fn root(self, engines: &Path, version: &str) -> PathBuf {
        engines.join(format!("{}-{version}", self.datastore()))
    }
}

/// An instance with data.
pub struct Scene {
    /// The instance's id.
    pub id: String,
    engine: Engine,
    address: String,
    password: SecretString,
    folder: PathBuf,
}

impl Scene {
    /// Creates and loads it.
    ///
    /// # Errors
    /// The service's or the server's.
    pub async fn open(
        (api, state): (&Client, &Path),
        engine: Engine,
        mb: u32,
        password: &SecretString,
        step: &Step,
    ) -> anyhow::Result<Self> {
        let (from, _) = engine.versions();
        let id = api.create_of(engine.datastore(), "bench", from, "shop", "app", password).await?;
        let address = api.wait_until_healthy(&id, step).await?;
        // Rows take more room in a table than by themselves.
        let size = mb.div_ceil(1024) * 2 + 4;
        let larger = json!({"resize": {"volume": {"size": size}}});
        if size > 5 {
            let (status, answer) = api.post(&format!("/instances/{id}/action"), &larger).await?;
            ensure!(status == 202, "the resize answered {status}: {answer}");
        }
        let folder = only_generation(state)?;
        match engine {
            Engine::Mariadb => {
                let shop = Shop::open(&address, "shop", "app", password).await?;
                shop.load(ROWS, |_| {}).await?;
                shop.ballast(mb, |loaded| step.tell(&format!("{loaded} MB"))).await?;
            }
            Engine::Postgresql => {
                let ledger = Ledger::open(&address, "shop", "app", password).await?;
                ledger.load(ROWS).await?;
                ledger.ballast(mb, |loaded| step.tell(&format!("{loaded} MB"))).await?;
            }
        }
        Ok(Self { id, engine, address, password: password.clone(), folder })
    }

    /// The files of the server that the instance was created with, which is kept after an upgrade.
    pub fn kept(&self) -> PathBuf {
        match self.engine {
            Engine::Mariadb => self.folder.join("data"),
            Engine::Postgresql => self.folder.join("data/cluster"),
        }
    }

    /// Where its writers connect.
    ///
    /// # Errors
    /// The server's.
    pub async fn door(&self) -> anyhow::Result<Protocol> {
        Ok(match self.engine {
            Engine::Mariadb => {
                Protocol::Mysql(Box::new(opts(&self.address, "shop", "app", &self.password).into()))
            }
            Engine::Postgresql => Ledger::open(&self.address, "shop", "app", &self.password).await?.door(),
        })
    }

    /// Holds that every acknowledged transaction is there once.
    ///
    /// # Errors
    /// It is not.
    pub async fn assert_holds(&self, tally: &Tally) -> anyhow::Result<()> {
        let (_, to) = self.engine.versions();
        let (found, version) = match self.engine {
            Engine::Mariadb => {
                let shop = Shop::open(&self.address, "shop", "app", &self.password).await?;
                (shop.find(tally).await?, shop.version().await?)
            }
            Engine::Postgresql => {
                let ledger = Ledger::open(&self.address, "shop", "app", &self.password).await?;
                (ledger.find(tally).await?, ledger.version().await?)
            }
        };
        ensure!(version.starts_with(to), "the server answers {version}, not {to}");
        ensure!(
            (found.missing, found.twice) == (0, 0) && found.ledger_fits,
            "acknowledged transactions are missing or there twice: {found:?}"
        );
        Ok(())
    }
}

/// The folder of the one server that there is: instances are measured one after the other.
fn only_generation(state: &Path) -> anyhow::Result<PathBuf> {
    let folder = state.join("generations");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.join("data").is_dir() {
            found.push(path);
        }
    }
    ensure!(found.len() == 1, "there are {} servers, not one", found.len());
    found.pop().context("there is no server")
}
