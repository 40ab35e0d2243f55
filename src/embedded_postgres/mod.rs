//! The embedded Postgres of `coffer dev`: a private cluster in the state folder, found, made, started, watched and
//! stopped by us. Unix socket only, no TCP, one role, `peer` with a map; nothing of the user's machine is changed.
//!
//! It owns `<state>/store` and its own socket folder. It never speaks our SQL, never migrates and uses nothing of
//! ours; production roles bring their own Postgres and never come here.
//!
//! ```text
//! <state>/store/            ours, 0711        postgresql.conf  pg_hba.conf  pg_ident.conf  start.log  lock
//! <state>/store/data/       the account's     the cluster
//! <state>/store/log/        the account's     Postgres' own log, a file a weekday, overwritten after a week
//! <run>/<8 hex>/            the account's     the socket; 0710 for the endpoint's group
//! ```
//!
//! The folders that Postgres may write hold nothing that we write as root.
//!
//! # If we die here
//! - While the cluster is made: it lies in `data.new` until it is whole and synced, and is made anew next time.
//! - While it starts or runs: the postmaster has its own session and goes on; the next [`EmbeddedPostgres::start`] adopts it.
//! - When Postgres itself is killed: [`EmbeddedPostgres::supervise`] starts it again and it recovers from its log.
//!
//! # Decision
//! The hash in the socket folder's name is of `<state>/store`, not of the state folder: so no other part that names
//! its sockets after the state folder can share a folder of another owner with us. The cluster's superuser cannot
//! log in at all; role and database are made in single-user mode.

mod binaries;
mod cluster;
mod postmaster;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use cluster::Layout;
use postmaster::Postmaster;

/// The role and the database of the service.
const NAME: &str = "coffer";
/// The role of the endpoint, which faces the network: the migrations give it what it needs, and nothing else.
const ENDPOINT: &str = "coffer_endpoint";
/// How long a fast shutdown may take before it becomes an immediate one.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// The pause before the first restart; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A system account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its own group.
    pub gid: u32,
}

/// Where the store lives and whom it serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder of `coffer dev` (`--state-dir`). It must exist, and the account must be able to traverse it.
    pub state_dir: PathBuf,
    /// The engines folder (`--engines`): roots with a `bin`.
    pub engines_dir: PathBuf,
    /// Where socket folders are made: `/run/coffer` as root, a short folder below `$XDG_RUNTIME_DIR` else.
    pub run_dir: PathBuf,
    /// The account that Postgres runs as; `None` runs it as the caller, which then must not be root.
    pub account: Option<Account>,
    /// The group that may enter the socket folder.
    pub endpoint_gid: Option<u32>,
    /// The names of the system accounts that may be `coffer` in the store.
    pub peers: Vec<String>,
    /// The name of the endpoint's system account, when it has one of its own.
    pub endpoint_peer: Option<String>,
    /// How long a start may take until the store answers.
    pub start_deadline: Duration,
}

impl Config {
    /// The store of this state folder, run as the caller, for the system account named `caller`.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        engines_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
        caller: impl Into<String>,
    ) -> Self {
        Self {
            state_dir: state_dir.into(),
            engines_dir: engines_dir.into(),
            run_dir: run_dir.into(),
            account: None,
            endpoint_gid: None,
            peers: vec![caller.into()],
            endpoint_peer: None,
            start_deadline: Duration::from_secs(30),
        }
    }
}

/// The connection string of the store of `config`, whether it runs or not.
///
/// # Errors
/// The state folder is not there; its socket's path would be too long.
pub fn url(config: &Config) -> Result<String, Error> {
    Ok(Layout::new(config)?.url(NAME))
}

/// The folder below `run_dir` in which the store of the canonical state folder `state` has its socket.
pub fn socket_dir(run_dir: &Path, state: &Path) -> PathBuf {
    let digest = Sha256::digest(state.join("store").as_os_str().as_bytes());
    let name: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    run_dir.join(name)
}

/// The folder of the programs that a store made with this configuration runs, or would be made with.
///
/// # Errors
/// [`Error::NoBinaries`].
pub fn binaries(config: &Config) -> Result<PathBuf, Error> {
    let made = std::fs::read_to_string(config.state_dir.join("store/data/PG_VERSION"));
    binaries::find(config, made.ok().and_then(|major| major.trim().parse().ok()))
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server binaries, or none of the version that the cluster was made with.
    #[error(
        "no postgres, initdb of {wanted} in {engines} or /usr/lib/postgresql; `make engines` fetches them",
        engines = .engines.display()
    )]
    NoBinaries {
        /// Which version was looked for.
        wanted: String,
        /// The engines folder.
        engines: PathBuf,
    },
    /// Postgres refuses to run as root.
    #[error("Postgres does not run as root and there is no account coffer-store; `make engines` makes it")]
    NeedsAccount,
    /// The account cannot reach the state folder.
    #[error("account {account} cannot enter {folder}; `chmod o+x {folder}` lets it", folder = .folder.display())]
    Blocked {
        /// The account.
        account: String,
        /// The folder that it cannot enter.
        folder: PathBuf,
    },
    /// A Unix socket's path would be too long for the system.
    #[error("the socket path {path} has more than 100 bytes; choose a shorter run folder", path = .path.display())]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder of ours.
    #[error("{doing} {path}", path = .path.display())]
    File {
        /// What we were doing.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program could not be run.
    #[error("run {program}", program = .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The cluster could not be made.
    #[error("{program} failed: {output}")]
    Initialise {
        /// Which program.
        program: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// Another process is making or starting the same store.
    #[error("another process holds {path}", path = .path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The postmaster ended while it started.
    #[error("postgres ended while it started: {log}")]
    Ended {
        /// The end of its log.
        log: String,
    },
    /// The postmaster runs and does not answer.
    #[error("postgres does not answer after {seconds} s ({why}): {log}")]
    NoAnswer {
        /// How long it was waited for.
        seconds: u64,
        /// What the last attempt met.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// The process could not be watched or signalled.
    #[error("process {pid}")]
    Process {
        /// Its id.
        pid: i32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It runs still after everything that was sent to it.
    #[error("postgres, process {pid}, does not stop")]
    StillRunning {
        /// Its id.
        pid: i32,
    },
    /// The runtime is stopping.
    #[error("stopping")]
    Stopping,
}

impl Error {
    fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }
}

/// The running store. Clones are the same store.
#[derive(Clone)]
pub struct EmbeddedPostgres {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    layout: Layout,
    running: Mutex<Arc<Postmaster>>,
    stopping: watch::Sender<bool>,
}

impl EmbeddedPostgres {
    /// Brings the store up: makes the cluster if there is none, adopts the postmaster that runs already, or starts
    /// one. Returns when it answers. May be called again, by this process or the next.
    ///
    /// # Errors
    /// See [`Error`]. Nothing is left running that did not run before, unless it does not stop.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        let layout = Layout::new(config)?;
        let running = bring_up(config, &layout).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                layout,
                running: Mutex::new(Arc::new(running)),
                stopping: watch::Sender::new(false),
            }),
        })
    }

    /// The connection string, for libpq and tokio-postgres alike. It holds no secret.
    pub fn url(&self) -> String {
        self.inner.layout.url(NAME)
    }

    /// The connection string of the endpoint: under a role of its own where it has an account of its own.
    pub fn endpoint_url(&self) -> String {
        let own = self.inner.config.endpoint_peer.is_some();
        self.inner.layout.url(if own { ENDPOINT } else { NAME })
    }

    /// The postmaster's process id.
    pub async fn pid(&self) -> i32 {
        self.inner.running.lock().await.pid()
    }

    /// Starts the postmaster again whenever it has died, with back-off, until [`EmbeddedPostgres::stop`]. To be spawned once.
    pub async fn supervise(self) {
        let mut stopping = self.inner.stopping.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let up_since = Instant::now();
            let running = Arc::clone(&*self.inner.running.lock().await);
            tokio::select! {
                () = running.gone() => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            tracing::warn!(pid = running.pid(), "the store has died, starting it again");
            if up_since.elapsed() > LONGEST_PAUSE * 6 {
                pause = FIRST_PAUSE;
            }
            let mut told = false;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                let mut running = self.inner.running.lock().await;
                if *stopping.borrow() {
                    return;
                }
                match bring_up(&self.inner.config, &self.inner.layout).await {
                    Ok(postmaster) => {
                        tracing::info!(pid = postmaster.pid(), "the store is up again");
                        *running = Arc::new(postmaster);
                        break;
                    }
                    Err(error) if told => tracing::debug!(error = chain(&error), "the store does not start"),
                    Err(error) => {
                        tracing::error!(error = chain(&error), "the store does not start");
                        told = true;
                    }
                }
            }
        }
    }

    /// Stops the store, whoever started it, and removes its socket folder: fast, and at once when that takes too
    /// long. Ends [`EmbeddedPostgres::supervise`]. May be called again.
    ///
    /// # Errors
    /// [`Error::StillRunning`] when it survives both.
    pub async fn stop(&self) -> Result<(), Error> {
        self.inner.stopping.send_replace(true);
        let running = self.inner.running.lock().await;
        running.stop(STOP_DEADLINE).await?;
        // Its log writer ends after it.
        postmaster::end_leftovers(&self.inner.layout.data, Instant::now() + STOP_DEADLINE).await?;
        self.inner.layout.remove_socket_dir()
    }
}

async fn bring_up(config: &Config, layout: &Layout) -> Result<Postmaster, Error> {
    let deadline = Instant::now() + config.start_deadline;
    layout.ensure_folders(config)?;
    let _one_at_a_time = layout.lock(deadline).await?;
    let binaries = {
        let (config, layout) = (config.clone(), layout.clone());
        blocking(move || cluster::ensure(&config, &layout)).await?
    };
    let changed = layout.write_settings(config)?;
    if let Some(found) = Postmaster::find(&layout.data)? {
        if changed {
            found.reload();
        }
        if found.answers_still(layout, Instant::now() + config.start_deadline).await? {
            tracing::info!(pid = found.pid(), "adopted the store that runs already");
            return Ok(found);
        }
        // It runs without its socket: somebody cleared the run folder. Only a restart makes the socket again.
        tracing::warn!(pid = found.pid(), "the store has lost its socket, starting it again");
        found.stop(STOP_DEADLINE).await?;
        layout.ensure_folders(config)?;
    }
    postmaster::end_leftovers(&layout.data, deadline).await?;
    let started = Postmaster::start(&binaries.join("postgres"), config, layout)?;
    if let Err(error) = started.answers(layout, Instant::now() + config.start_deadline).await {
        started.stop(STOP_DEADLINE).await?;
        return Err(error);
    }
    Ok(started)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Stopping))
}

/// An error with its causes, for one log line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
