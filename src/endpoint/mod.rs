//! The data path: the stable address that clients connect to, and the role (`coffer endpoint`, a process of its own,
//! one a host) that forwards each connection to the serving generation's Unix socket; PostgreSQL's to its private
//! address ([`private`]).
//!
//! It owns the listeners, the connections and a file with its last state. It never decides where an address leads
//! (rows do), never logs what passes through, reads no more of it than a client's first bytes, and never reaches an
//! engine but to forward. To MariaDB it says by a header who the client is; see [`greeting`] for what that is worth.
//!
//! It LISTENs, looks at its host's rows, puts them in force, keeps them on disk, and only then acknowledges: an
//! endpoint's `applied_epoch`, a relay's `listening`. With the store away it goes on with its last state.
//!
//! # If we die here
//! Connections end with us. The next of us serves the state on disk at once, without the store too, on the same
//! addresses; what was not acknowledged is done again. A lock beside the file keeps a second one of us from it, and
//! ends with the process however it ends.

pub mod blocked;
mod forward;
mod greeting;
mod listening;
mod private;
mod room;
mod routing_table;
mod saved_routes;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::db::routes::{self, Routes, Routing};
use crate::domain::ids::{GenerationId, HostId};
use crate::telemetry::metrics;
use routing_table::RoutingTable;
use saved_routes::SavedRoutes;

/// Gives the Unix socket of a generation's server.
pub type SocketPath = Arc<dyn Fn(GenerationId) -> PathBuf + Send + Sync>;

/// The pause before the store is tried again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Settings of the endpoint role.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host whose rows it serves.
    pub host: HostId,
    /// The store's connection string.
    pub database: String,
    /// Where it keeps its last state. Its folder must exist and be writable; a lock lies beside it.
    pub state_file: PathBuf,
    /// How often it looks without being woken, and tries again what could not be bound.
    pub poll: Duration,
    /// How many connections one instance may have at once at most, whatever its row says; more wait.
    pub connections_per_instance: usize,
    /// How long a new connection waits for a server that does not answer on its socket.
    pub wait_for_server: Duration,
    /// How long a client may take to say its first word, once it is connected to a server.
    pub wait_for_client: Duration,
}

impl Config {
    /// The defaults: 1 s, 1000 connections, 5 s, 10 s.
    pub fn new(host: HostId, database: impl Into<String>, state_file: impl Into<PathBuf>) -> Self {
        Self {
            host,
            database: database.into(),
            state_file: state_file.into(),
            poll: Duration::from_secs(1),
            connections_per_instance: 1_000,
            wait_for_server: Duration::from_secs(5),
            wait_for_client: Duration::from_secs(10),
        }
    }
}

/// Why the role cannot serve at all. What happens later is logged and tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another endpoint role holds the state file.
    #[error("another endpoint role serves this host: it holds {path}", path = .path.display())]
    AlreadyServed {
        /// The lock.
        path: PathBuf,
    },
    /// The state file or its lock.
    #[error("{doing} {path}", path = .path.display())]
    State {
        /// What we were doing.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Serves until `shutdown` is ready; then stops listening and closes every connection.
///
/// # Errors
/// [`Error::AlreadyServed`], and a state file that cannot be used.
pub async fn serve(
    config: Config,
    socket_path: SocketPath,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    raise_open_files();
    let mut saved = SavedRoutes::open(&config.state_file, &config.host)?;
    let mut table = RoutingTable::new(&config, socket_path);
    tokio::select! {
        () = shutdown => {}
        () = run(&config, &mut saved, &mut table) => {}
    }
    table.close().await;
    Ok(())
}

async fn run(config: &Config, saved: &mut SavedRoutes, table: &mut RoutingTable) {
    let mut wanted = saved.last().clone();
    table.apply(&wanted).await;
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let away = match Routing::connect(&config.database).await {
            Ok(mut routing) => {
                let (followed, ended) = follow(config, &mut routing, saved, table, &mut wanted).await;
                if followed {
                    told = false;
                    pause = FIRST_PAUSE;
                }
                ended
            }
            Err(error) => error,
        };
        match &away {
            _ if told => tracing::debug!(error = chain(&away), "the store's routes are not followed still"),
            routes::Error::Broken(_) => {
                tracing::error!(error = chain(&away), "a row cannot be read, serving the last state");
            }
            routes::Error::Query { .. } | routes::Error::TimedOut { .. } | routes::Error::Ended => {
                tracing::warn!(error = chain(&away), "the store is away, serving the last state");
            }
        }
        told = true;
        metrics::endpoint_following(false);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // What could not be bound is tried without the store too.
        table.apply(&wanted).await;
    }
}

/// Puts the store's rows in force until it goes away; whether it did so at all.
async fn follow(
    config: &Config,
    routing: &mut Routing,
    saved: &mut SavedRoutes,
    table: &mut RoutingTable,
    wanted: &mut Routes,
) -> (bool, routes::Error) {
    let mut followed = false;
    loop {
        match routing.read(&config.host).await {
            Ok(seen) => *wanted = seen,
            Err(error) => return (followed, error),
        }
        if !followed {
            tracing::info!(host = %config.host, "following the store's routes");
            metrics::endpoint_following(true);
            followed = true;
        }
        if let Err(error) = settle(routing, saved, table, wanted).await {
            return (followed, error);
        }
        if let Err(error) = routing.changed(config.poll).await {
            return (followed, error);
        }
    }
}

/// In force, then on disk, then acknowledged.
async fn settle(
    routing: &Routing,
    saved: &mut SavedRoutes,
    table: &mut RoutingTable,
    wanted: &Routes,
) -> Result<(), routes::Error> {
    let in_force = table.apply(wanted).await;
    if !saved.keep(wanted).await {
        return Ok(());
    }
    for relay in wanted.relays.iter().filter(|relay| !relay.listening) {
        if in_force.relays.contains(&relay.task) {
            routing.record_relay(relay.task).await?;
        }
    }
    for route in wanted.routes.iter().filter(|route| route.epoch > route.applied_epoch) {
        if in_force.instances.contains(&route.instance) {
            routing.record_applied(route.instance, route.epoch).await?;
            tracing::info!(instance.id = %route.instance, epoch = route.epoch, "applied");
        }
    }
    Ok(())
}

/// Each connection needs two open files; the usual soft limit of 1024 is for programs that use select.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now })
    {
        tracing::warn!(error = %error, "the limit of open files stays");
    }
}

/// An error with its causes, for one log line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
