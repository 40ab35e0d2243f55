//! WHERE a server runs. A runtime places a server with its volume, runs commands beside its data and says what it
//! sees; it knows nothing of what the server is.
//!
//! Nothing above may assume that a runtime shares a file system or a process table with the worker: paths in a
//! [`Layout`] are the server's own, to be written into its configuration.

pub mod process;

use std::path::PathBuf;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::domain::datastore::{EngineKind, RuntimeKind};
use crate::domain::ids::GenerationId;
use crate::domain::question::ProcessFacts;

/// Where a generation's server finds its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its data directory: 0700, the server's account's.
    pub data: PathBuf,
    /// Its own folder for temporary files; emptied each time its server is started.
    pub tmp: PathBuf,
    /// The folder of its configuration files.
    pub config: PathBuf,
    /// Its log file.
    pub log: PathBuf,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The root of the engine's binaries and files (`bin`, `rootfs`), by version.
    pub root: PathBuf,
}

/// A program of the engine's to run beside a generation's data, as the server's account.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The program's name in the engine's `bin`.
    pub program: String,
    /// Its arguments. Never a secret.
    pub args: Vec<String>,
    /// What it reads as its standard input.
    pub input: Vec<u8>,
    /// A file's text that only this program can read; in an argument `--<option>={secret}` its path is put in.
    pub secret: Option<SecretString>,
}

/// What a job left.
#[derive(Clone, Debug)]
pub struct JobOutput {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it printed on its standard output.
    pub stdout: Vec<u8>,
    /// The end of what it printed on its standard error.
    pub stderr: String,
}

/// What an engine knows of its files that are copied.
#[derive(Clone, Copy, Debug)]
pub struct CopyRules {
    /// Files of the data folder itself that are left out: those whose names begin so.
    pub without: &'static [&'static str],
    /// The endings, with their dot, of files that the server writes to by system calls alone, so that the kernel tells
    /// of each change: they need not be read again.
    pub settles: &'static [&'static str],
    /// How long before the copy ahead a file's last change must lie for it to be left alone: longer than a write may
    /// take to reach the disk.
    pub settled: std::time::Duration,
}

/// What was copied, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Of all files.
    pub all: u64,
    /// Left alone, since nothing has changed them after they were copied ahead.
    pub settled: u64,
    /// Written.
    pub written: u64,
}

/// What a server may take of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory, in MB, with what it has of its files there.
    pub memory_mb: u32,
    /// Processors.
    pub cpus: u32,
}

/// What a runtime sees of a generation's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Its process is there.
    Running,
    /// It is not.
    Stopped,
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status; `None` when a signal ended it. 0 is a clean stop.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When that was seen.
    pub at: DateTime<Utc>,
    /// Whether the kernel ended it since it wanted more memory than its [`Limits`].
    pub was_too_large: bool,
}

/// A version of an engine that this host can run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostVersion {
    /// The engine's word.
    pub engine: &'static str,
    /// What it is called: its series, `10.11` for example, or its number where it is an older build beside the newest.
    pub series: String,
    /// What the binary answered, `10.11.19` for example.
    pub number: String,
}

/// What a runtime did not manage to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or process operation failed.
    #[error("{doing}")]
    Io {
        /// What we were doing, with the path's last parts.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The host has no such version.
    #[error("{engine} {version} is not on this host")]
    NoSuchVersion {
        /// The engine's word.
        engine: &'static str,
        /// The version that was asked for.
        version: String,
    },
    /// A process did not end in time.
    #[error("the server did not stop within {seconds} s")]
    StillRunning {
        /// How long we waited.
        seconds: u64,
    },
    /// A server holds the generation's data where this process does not see it.
    #[error(
        "the server of generation {generation} runs already where this worker does not see its process, in another PID \
         namespace for example: it holds the server's lock. Run every worker of a state folder in one PID namespace, as \
         in one container, or stop the other worker and its servers first"
    )]
    RunsElsewhere {
        /// Whose.
        generation: GenerationId,
    },
    /// The caller's own account has no name on this host.
    #[error("the user id {0} has no account in /etc/passwd")]
    Nameless(u32),
    /// The host has no such account for a server, or none that it may use.
    #[error("there is no account {0} for the server")]
    NoSuchAccount(String),
    /// Every account of the pool has another instance's data, here or with another service of the machine.
    #[error("all {0} accounts for servers are in use on this machine")]
    NoAccountFree(usize),
    /// An account could not be freed of the processes that an earlier server left.
    #[error("{processes} processes of the user id {uid} do not end")]
    AccountInUse {
        /// The account.
        uid: u32,
        /// How many are left.
        processes: usize,
    },
    /// A folder was to become one account's while another one's files are in it.
    #[error("{folder} belongs to the user id {owner}, not to {wanted}, and is not empty")]
    Foreign {
        /// The folder's last parts.
        folder: String,
        /// Whose it is.
        owner: u32,
        /// Whose it was to be.
        wanted: u32,
    },
    /// A volume was to go while its server runs.
    #[error("the server still runs on the volume")]
    InUse,
    /// A path is too long for a socket.
    #[error("the socket path {0} is longer than 100 bytes")]
    PathTooLong(PathBuf),
}

/// A file in a folder of a generation's data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its folder and its name: `shop/t.ibd`. What is no text in either is replaced.
    pub path: String,
    /// When it was written last.
    pub written: std::time::SystemTime,
}

/// A connection to a server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What every runtime does. All methods are idempotent; `drop_*` is happy when there is none.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Which one it is.
    fn kind(&self) -> RuntimeKind;

    /// The versions that this host can run, found by asking the binaries.
    async fn versions(&self) -> Result<Vec<HostVersion>, Error>;

    /// Where `generation`, with binaries of `engine` and `version`, finds its things. Makes nothing.
    fn layout(&self, generation: GenerationId, engine: EngineKind, version: &str) -> Result<Layout, Error>;

    /// Makes the generation's folders, owned by the server's account: where `account` names one of those that the
    /// host gives to one instance at a time, that one, or another of them when a service beside us uses it; else the
    /// runtime's own. Generations with the same `account` are one instance's. Whose they are then stays so until the
    /// volume is dropped: everything else runs as their owner. No process of the account's earlier use is left.
    async fn ensure_volume(&self, generation: GenerationId, account: Option<&str>) -> Result<(), Error>;

    /// Removes the generation's folders with all that is in them. Its server must be stopped; what else runs as its
    /// account is ended, with the last folder of the account's.
    async fn drop_volume(&self, generation: GenerationId) -> Result<(), Error>;

    /// Writes a file into the generation's config folder: whole or not at all, 0600, the server's account's.
    async fn write_config(&self, generation: GenerationId, name: &str, text: &str) -> Result<(), Error>;

    /// Runs a job to its end.
    async fn run(&self, generation: GenerationId, layout: &Layout, job: Job) -> Result<JobOutput, Error>;

    /// Runs `from` and `to` with the first one's output as the second one's input, both to their end. `progress` hears
    /// how many bytes have passed, about twice a second.
    async fn pipe(
        &self,
        from: (GenerationId, &Layout, Job),
        to: (GenerationId, &Layout, Job),
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(JobOutput, JobOutput), Error>;

    /// Starts the server unless it runs. Its standard output and error go to the layout's log. It is held to `limits` where
    /// the host can do so.
    async fn ensure_server(
        &self,
        generation: GenerationId,
        layout: &Layout,
        program: &str,
        args: &[String],
        limits: Limits,
    ) -> Result<(), Error>;

    /// Stops the server: SIGTERM, and waits `patience`; then, only when `force`, SIGKILL.
    async fn stop_server(
        &self,
        generation: GenerationId,
        patience: std::time::Duration,
        force: bool,
    ) -> Result<(), Error>;

    /// What is seen of the server: its process, known by pid, start time and boot id.
    async fn observe(&self, generation: GenerationId) -> Result<Observed, Error>;

    /// How the last server ended that was started on this volume. `None` while one runs, where none was started, and
    /// where nobody saw it end: then nothing is known, and a clean stop must be proven otherwise. What a job did to
    /// the data after that server it does not say. It holds for as long as nobody starts another, which is the
    /// caller's matter.
    async fn last_exit(&self, generation: GenerationId) -> Result<Option<Exit>, Error>;

    /// What the kernel says of the server's first process; `None` where there is none.
    async fn process(&self, _generation: GenerationId) -> Result<Option<ProcessFacts>, Error> {
        Ok(None)
    }

    /// How many processes of the server that runs were ended since they wanted more memory than its [`Limits`].
    async fn ended_for_memory(&self, _generation: GenerationId) -> Result<u64, Error> {
        Ok(0)
    }

    /// The last `bytes` bytes of what the server printed; empty when there is nothing.
    async fn log_end(&self, generation: GenerationId, bytes: u64) -> Result<String, Error>;

    /// Reads a file of the engine's own, `path` being below the layout's root (`rootfs/usr/share/..`). `None` when
    /// there is no such file.
    async fn engine_file(&self, layout: &Layout, path: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Connects to the generation's socket.
    async fn connect(&self, generation: GenerationId, layout: &Layout) -> Result<Box<dyn Stream>, Error>;

    /// Connects to the generation's private address, as the endpoint role of its host does for clients.
    async fn connect_private(&self, generation: GenerationId, port: u16) -> Result<Box<dyn Stream>, Error>;

    /// The name of the account that a server sees at the other end of its socket when [`Self::connect`] came.
    async fn visitor(&self) -> Result<String, Error>;

    /// Copies the data of `from` to `to` ahead, while the server of `from` works: what it writes meanwhile may be missing
    /// or torn, so the copy is worth nothing until [`Self::copy_data`]. Both are one instance's; `to` has no server.
    /// `progress` hears how far it is. Gives the bytes.
    async fn copy_ahead(
        &self,
        from: GenerationId,
        to: GenerationId,
        rules: &CopyRules,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<u64, Error>;

    /// Whether a copy made ahead is there that nobody has changed since.
    async fn is_copied_ahead(&self, generation: GenerationId) -> Result<bool, Error>;

    /// Makes the data of `to` equal to that of `from`, by sharing blocks where the file system can, and writing only what
    /// differs from what is there. Neither has a running server, and both are one instance's. `from` is only read; what
    /// was copied is on disk when this returns. `progress` hears how far it is.
    async fn copy_data(
        &self,
        from: GenerationId,
        to: GenerationId,
        rules: &CopyRules,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Copied, Error>;

    /// Bytes that are free where volumes lie.
    async fn free_bytes(&self) -> Result<u64, Error>;

    /// Bytes that the generation's data takes on disk.
    async fn used_bytes(&self, generation: GenerationId) -> Result<u64, Error>;

    /// Bytes that the generation's folders take on disk, but for its server's log, whose length is bounded: of all that is
    /// there, and of the files of the data folder whose paths in it begin with one of `logs`.
    async fn taken_bytes(
        &self,
        generation: GenerationId,
        logs: &'static [&'static str],
    ) -> Result<(u64, u64), Error>;

    /// The files in the folders directly below the generation's data folder whose names end with one of `endings`; and
    /// each of these folders that is empty, as `folder/`.
    async fn data_files(
        &self,
        generation: GenerationId,
        endings: &'static [&'static str],
    ) -> Result<Vec<DataFile>, Error>;

    /// The last `most` bytes of a file that lies directly in the generation's data folder, and how long it is; `None` when
    /// there is no such file.
    async fn data_file_end(
        &self,
        generation: GenerationId,
        name: &'static str,
        most: usize,
    ) -> Result<Option<(Vec<u8>, u64)>, Error>;

    /// Removes a file that lies directly in the generation's data folder. No error when there is none.
    async fn remove_data_file(&self, generation: GenerationId, name: &'static str) -> Result<(), Error>;

    /// The folders directly below the generation's data folder that its servers and jobs cannot read: `lost+found` of a file
    /// system's own, for example.
    async fn closed_folders(&self, _generation: GenerationId) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}
