//! What happens after the 202.
//!
//! A worker claims a task by lease, runs one step, records its outcome and goes on. It shares nothing with the api but
//! Postgres, so either may die at any line.
//!
//! # How to add a kind of task
//! `domain::task::kinds` says it.

pub mod answers;
pub mod automatic;
pub mod certificates;
mod cutover;
mod decision;
mod expired;
pub mod feed;
mod followers;
mod hops;
mod kinds;
mod lag;
mod logs;
mod looks;
pub mod operations;
pub mod parameters;
mod servers;
pub mod simulation;
pub mod step;
pub mod supervisor;
mod volumes;
pub mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::db::notices::Notices;
use crate::db::{self, Db};
use crate::domain::datastore::RuntimeKind;
use crate::domain::generation::Generation;
use crate::domain::ids::{GenerationId, HostId};
use crate::engines::{Engine, Server, Settings, Tls};
use crate::pki;
use crate::runtimes::Runtime;
use crate::seal::{self, Sealer};

/// How long an upgrade waits for tenants' sessions that are in its way, unless the operator says otherwise.
pub const QUIET: Duration = Duration::from_secs(600);

/// The actor of what nobody asked for this moment.
const WORKER: &str = "worker";

/// What workers of one host share.
pub struct WorkerContext {
    /// The store.
    pub db: Db,
    /// Opens sealed passwords.
    pub sealer: Sealer,
    /// Wakes who waits.
    pub notices: Notices,
    /// The host.
    pub host: HostId,
    /// Where servers run, and what each runtime can do to which engine.
    pub drivers: HashMap<RuntimeKind, Drivers>,
    /// How long a task's lease lasts. A worker that was killed is replaced after this.
    pub lease: Duration,
    /// How long an upgrade waits for sessions of the tenant's: for a moment in which it can hold an instance, and for
    /// those that keep a copy or a comparison from reading. Over a tenth of it, it judges whether a follower comes nearer.
    pub quiet: Duration,
    /// By what the deadlines of steps are multiplied: more than 1 on a slow host.
    pub deadline_factor: f64,
    turns: Mutex<HashMap<GenerationId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A runtime with the engines that it can hold.
#[derive(Clone)]
pub struct Drivers {
    /// Where.
    pub runtime: Arc<dyn Runtime>,
    /// What.
    pub engines: Vec<Arc<dyn Engine>>,
}

/// Why a generation's server cannot be addressed.
#[derive(Debug, thiserror::Error)]
pub enum NoServer {
    /// No driver of that name was chosen at start.
    #[error("this worker has no {0}")]
    NoDriver(&'static str),
    /// Its password or its key does not open.
    #[error("the server's secrets")]
    Seal(#[source] seal::Error),
    /// A certificate cannot be made.
    #[error("a certificate")]
    Certificate(#[source] pki::Error),
    /// The row is gone.
    #[error("generation {0} is not there")]
    Gone(GenerationId),
    /// The store failed.
    #[error("store")]
    Db(#[source] db::Error),
}

impl WorkerContext {
    /// What a worker of `host` works with.
    pub fn new(
        db: Db,
        sealer: Sealer,
        notices: Notices,
        host: HostId,
        drivers: Vec<Drivers>,
        lease: Duration,
    ) -> Self {
        Self {
            db,
            sealer,
            notices,
            host,
            drivers: drivers.into_iter().map(|drivers| (drivers.runtime.kind(), drivers)).collect(),
            lease,
            quiet: QUIET,
            deadline_factor: 1.0,
            turns: Mutex::default(),
        }
    }

    /// The generation's server and its engine.
    ///
    /// # Errors
    /// [`NoServer`].
    pub fn server(&self, generation: &Generation) -> Result<(Arc<dyn Engine>, Server), NoServer> {
        let Drivers { runtime, engines } = self
            .drivers
            .get(&generation.version.runtime)
            .ok_or(NoServer::NoDriver(generation.version.runtime.as_str()))?;
        let engine = engines
            .iter()
            .find(|engine| engine.kind() == generation.version.engine)
            .ok_or(NoServer::NoDriver(generation.version.engine.as_str()))?;
        let service_password = self
            .sealer
            .unseal(&generation.id.service_purpose(), &generation.service_secret)
            .map_err(NoServer::Seal)?;
        let server = Server {
            generation: generation.id,
            version: generation.version.number.clone(),
            runtime: Arc::clone(runtime),
            account: generation.account.clone(),
            service_password,
            settings: Settings {
                server_id: generation.server_id,
                memory_mb: generation.memory_mb,
                cpus: generation.cpus,
                read_only: generation.read_only,
                full: generation.volume_state.is_full(),
                readers: generation.read_only && generation.is_replica,
                events: generation.events,
                defaults_of: generation.defaults_of.clone(),
                parameters: generation.parameters.clone(),
                logs: generation.logs.clone(),
            },
            tls: self.tls(generation)?,
        };
        Ok((Arc::clone(engine), server))
    }

    /// Reads a generation and addresses its server.
    ///
    /// # Errors
    /// [`NoServer`].
    pub async fn reach(&self, id: GenerationId) -> Result<(Arc<dyn Engine>, Server), NoServer> {
        let generation = self
            .db
            .run(move |conn| db::generations::find(conn, id))
            .await
            .map_err(NoServer::Db)?
            .ok_or(NoServer::Gone(id))?;
        self.server(&generation)
    }

    fn tls(&self, generation: &Generation) -> Result<Option<Tls>, NoServer> {
        let Some(certificate) = &generation.certificate else { return Ok(None) };
        let key = self
            .sealer
            .unseal(&generation.instance.certificate_purpose(), &certificate.key_secret)
            .map_err(NoServer::Seal)?;
        Ok(Some(Tls {
            address: certificate.address.clone(),
            authority: certificate.authority.clone(),
            certificate: certificate.certificate.clone(),
            key,
        }))
    }

    /// The turn of a generation: who starts, stops or empties its server holds it, so that the supervisor never
    /// starts what a step is taking down.
    pub async fn turn(&self, id: GenerationId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(id).or_default())
        };
        turn.lock_owned().await
    }

    /// Forgets the turn of a generation that is gone.
    pub fn forget_turn(&self, id: GenerationId) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// What an engine said, in words for a tenant: without files of this host and without what is ours alone.
pub fn for_tenants(text: &str) -> String {
    let is_ours = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '_');
        bare.starts_with('/') && bare.len() > 1
            || bare.starts_with("coffer_")
            || bare.parse::<uuid::Uuid>().is_ok()
    };
    let mut words: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        let shown = if is_ours(word) { "(the service's own)" } else { word };
        if shown == word || words.last() != Some(&shown) {
            words.push(shown);
        }
    }
    let mut line = words.join(" ");
    // A program may say much: the end of it is what ended it.
    if let Some((at, _)) = line.char_indices().rev().nth(MOST_TOLD) {
        line.replace_range(..at, "...");
    }
    line.trim_end_matches('.').to_owned()
}

/// Characters of what an engine said that a tenant is told.
const MOST_TOLD: usize = 600;

/// An error with its causes, in one line, for the operator.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_told_what_is_theirs() {
        for (said, told) in [
            (
                "dump failed: Error 1100: Table 's' was not locked with LOCK TABLES.",
                "dump failed: Error 1100: Table 's' was not locked with LOCK TABLES",
            ),
            (
                "connection to server on socket \"/run/coffer/a b/.s\" failed",
                "connection to server on socket (the service's own) b/.s\" failed",
            ),
            (
                "role \"coffer_repl\" at 0b5f0c62-54a0-4f3c-9f0e-3f3f4a3d1c11",
                "role (the service's own) at (the service's own)",
            ),
            ("a / b", "a / b"),
        ] {
            assert_eq!(for_tenants(said), told);
        }
        assert!(for_tenants(&"x ".repeat(2_000)).starts_with("..."));
    }
}
