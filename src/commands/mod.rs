//! What a caller may change. Each command is: load and lock, decide, commit; the dialects and the CLI ask for the
//! same ones. A refused command changes nothing.

pub mod access_keys;
pub mod accounts;
pub mod authorities;
pub mod configurations;
pub mod groups;
pub mod idempotency;
pub mod inspections;
pub mod instances;
pub mod logs;
pub mod maintenance;
pub mod operations;
pub mod paths;
pub mod policies;
pub mod questions;
pub mod quotas;
pub mod replica_upgrades;
pub mod resets;
pub mod resizes;
pub mod restarts;
pub mod simulations;
pub mod tasks;
pub mod tls;
pub mod upgrades;
pub mod versions;
pub mod windows;

use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use crate::db::notices::Notices;
use crate::db::{self, AsStoreError, Db};
use crate::domain::ids::{GenerationId, InstanceId, TaskId};
use crate::domain::instance::Instance;
use crate::domain::quota::Quota;
use crate::domain::refusal::Refusal;
use crate::seal::{self, Sealer};

/// How long an acceptance whose commit was not heard of is looked for.
const HEARD: Duration = Duration::from_secs(10);

/// What commands need.
#[derive(Clone)]
pub struct Commands {
    /// The store.
    pub db: Db,
    /// Seals passwords before they are stored.
    pub sealer: Sealer,
    /// Wakes who waits for an answer.
    pub notices: Notices,
    /// What a project may have when an operator did not set it.
    pub quota: Quota,
}

impl Commands {
    /// What became of an acceptance whose commit was not heard of: the store went away between the two. The task is
    /// there with its instance, or nothing is.
    async fn heard(
        &self,
        task: TaskId,
        id: InstanceId,
        done: Result<Instance, Error>,
    ) -> Result<Instance, Error> {
        let find = move |conn: &mut db::Conn| match db::tasks::find(conn, task)? {
            Some(_) => db::instances::find(conn, id),
            None => Ok(None),
        };
        self.heard_of(find, done).await
    }

    /// The same of what `find` finds where the acceptance was committed.
    async fn heard_of<T, F>(&self, find: F, done: Result<T, Error>) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut db::Conn) -> Result<Option<T>, db::Error> + Clone + Send + 'static,
    {
        let deadline = Instant::now() + HEARD;
        match done {
            Err(Error::Db(lost)) if lost.may_have_committed() => loop {
                match self.db.run(find.clone()).await {
                    Ok(Some(found)) => return Ok(found),
                    Err(error) if error.is_away() && Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Ok(None) | Err(_) => return Err(Error::Db(lost)),
                }
            },
            done => done,
        }
    }

    /// A new random password of our own account in a generation's server, sealed.
    ///
    /// # Errors
    /// [`Error::Seal`].
    fn new_service_secret(&self, generation: GenerationId) -> Result<String, Error> {
        self.sealer
            .seal(&generation.service_purpose(), seal::random_password().expose_secret())
            .map_err(Error::Seal)
    }
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A typed "no".
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The store failed.
    #[error("store")]
    Db(#[source] db::Error),
    /// A value could not be sealed.
    #[error("seal")]
    Seal(#[source] seal::Error),
    /// An operator asked the simulation for this failure.
    #[error("the simulation of this instance was told to fail the acceptance")]
    Simulated,
    /// What was decided and what was found do not fit together.
    #[error("{0}")]
    Inconsistent(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<db::Error> for Error {
    fn from(source: db::Error) -> Self {
        Self::Db(source)
    }
}

impl AsStoreError for Error {
    fn as_store_error(&self) -> Option<&db::Error> {
        match self {
            Self::Db(source) => Some(source),
            Self::Refused(_) | Self::Seal(_) | Self::Simulated | Self::Inconsistent(_) => None,
        }
    }
}

#[cfg(test)]
impl Commands {
    /// Commands on a store that cannot be reached: for tests of what is decided before it is asked.
    pub fn without_a_store(folder: &std::path::Path) -> Self {
        let mut config = db::Config::new("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1");
        config.wait = std::time::Duration::from_millis(200);
        Self {
            db: Db::new(&config),
            sealer: Sealer::open(&folder.join("key")).expect("a key file"),
            notices: Notices::default(),
            quota: Quota::NONE,
        }
    }
}
