//! Processes of this machine: a server is a child in a session of its own, its volume a folder.
//!
//! Owns the state folder's `generations`, the run folder's sockets, the start records and the jobs beside the data.
//! Never speaks to a server: what a server says is its engine's matter.
//!
//! ```text
//! <state>/generations/<uuid>/           the caller's, 0710, group: the server's account's
//!     lock                              held while a server is started, stopped or its volume dropped
//!     running                           held by a server and its shim for as long as either lives
//!     server.json                       pid, start time and boot id of the server that was started last
//!     exit.json                         how it ended
//!     shim.json                         pid, start time and boot id of its parent
//!     config/  log/                     the caller's; the files in them are the server's account's, 0600
//!     data/    tmp/                     the server's account's, 0700
//! <run>/<8 hex>/server.sock             0710, the server's account's, group: the endpoint's
//! ```
//! The server's account cannot replace what the caller (root) writes or reads: those folders are the caller's.
//!
//! # Accounts
//! As root, every instance's servers run as a system account that no other instance of the same service has, one of
//! [`Config::pool`]: a server that is taken over can read nothing of another's. Who that is, the owner of `data`
//! says: it is set when the folder is made and never changed, so that no account ever inherits another's files. The
//! services of one machine share the pool, and none gives out what another uses; an account's processes are ended
//! before it changes hands. See [`accounts`].
//!
//! # Limits
//! Where the host has control groups that we may make, the kernel holds every server to its memory and processors. See
//! [`groups`].
//!
//! # If we die here
//! A server outlives us: it has a session of its own, and so has its parent, a shim, which says how it ended. Whoever
//! comes next finds it by its start record, or, when there is none, by the mark that every server of ours carries in
//! its environment. A job dies with us. See [`servers`], [`shim`] and [`jobs`].

mod accounts;
mod groups;
mod jobs;
mod leftovers;
mod logs;
mod memory;
mod mirror;
mod processes;
mod records;
mod servers;
mod shim;
mod turns;
mod versions;
mod volumes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::datastore::{EngineKind, RuntimeKind};
use crate::domain::generation::private_address;
use crate::domain::ids::GenerationId;
use crate::domain::question::ProcessFacts;
use crate::runtimes::{
    Copied, CopyRules, DataFile, Error, Exit, HostVersion, Job, JobOutput, Layout, Limits, Observed, Runtime,
    Stream,
};
use crate::sockets;

/// Where a process runtime keeps its things, and as whom servers run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of everything durable. The engine account must be able to traverse it.
    pub state_dir: PathBuf,
    /// The folder of the engines' roots, each with `bin` and `rootfs`. The same holds.
    pub engines_dir: PathBuf,
    /// The folder of the socket folders; short, since a socket's path is at most 100 bytes here.
    pub run_dir: PathBuf,
    /// User and group of the servers that have no account of the pool; `None` is the caller's own.
    pub account: Option<(u32, u32)>,
    /// The accounts that are given to one instance each: name, user and group.
    pub pool: BTreeMap<String, (u32, u32)>,
    /// Where the services of this machine say which state folders they have; needed with a pool.
    pub registry: PathBuf,
    /// The group that may reach the sockets; `None` is the servers' own.
    pub endpoint_group: Option<u32>,
    /// The program that is every server's parent: this one, whose entry gives it to [`run_shim`].
    pub shim: PathBuf,
    /// Whether control groups hold servers to what they may take, where the host has them.
    pub control_groups: bool,
}

impl Config {
    /// A configuration by which servers run as the caller.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        engines_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            state_dir: state_dir.into(),
            engines_dir: engines_dir.into(),
            run_dir: run_dir.into(),
            account: None,
            pool: BTreeMap::new(),
            registry: PathBuf::from("/var/lib/coffer-accounts"),
            endpoint_group: None,
            shim: PathBuf::from("/proc/self/exe"),
            control_groups: true,
        }
    }
}

impl Error {
    /// Wraps an [`std::io::Error`] with what we were doing.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Servers as processes of this machine.
pub struct ProcessRuntime {
    volumes: Arc<volumes::Volumes>,
    versions: Arc<versions::Versions>,
    spawner: jobs::Spawner,
    turns: turns::Turns,
}

impl ProcessRuntime {
    /// A runtime; touches nothing yet.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            versions: Arc::new(versions::Versions::new(config.engines_dir.clone())),
            volumes: Arc::new(volumes::Volumes::new(config)),
            spawner: jobs::Spawner::new()?,
            turns: turns::Turns::default(),
        })
    }

    /// Says to the other services of this machine which accounts this one's folders have: before anything else, where
    /// the folders are older than the process.
    ///
    /// # Errors
    /// The list cannot be written.
    pub async fn announce(&self) -> Result<(), Error> {
        self.on_volumes(|volumes| {
            if let Ok(groups) = volumes.control_groups() {
                groups.sweep();
            }
            volumes.announce()
        })
        .await
    }

    /// What holds this host's servers to what they may take, for an operator; why nothing does.
    ///
    /// # Errors
    /// Why not.
    pub fn limits_are_held(&self) -> Result<&'static str, String> {
        self.volumes.control_groups().map(groups::ControlGroups::told)
    }

    /// The generation's folders, whatever runs there.
    fn any_layout(&self, generation: GenerationId) -> Result<Layout, Error> {
        self.volumes.layout(generation, EngineKind::MariaDb, PathBuf::new())
    }

    /// As whom the generation's programs run.
    async fn account(&self, generation: GenerationId) -> Result<Option<(u32, u32)>, Error> {
        self.on_volumes(move |volumes| volumes.account(generation)).await
    }

    /// Copies one generation's data for another, both of one instance; see [`mirror`].
    async fn mirror(
        &self,
        (from, to): (GenerationId, GenerationId),
        ahead: bool,
        rules: &CopyRules,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Copied, Error> {
        let account = self.account(to).await?;
        let (owner, theirs) =
            (account.unwrap_or_default().0, self.account(from).await?.unwrap_or_default().0);
        if owner != theirs {
            let folder = from.to_string();
            return Err(Error::Foreign { folder, owner: theirs, wanted: owner });
        }
        let (source, target) = (self.any_layout(from)?, self.any_layout(to)?);
        let of = self.used_bytes(from).await?;
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mirror = mirror::Mirror {
            from: source.data,
            to: target.data.clone(),
            list: target.tmp.join(mirror::LIST),
            ahead,
            without: texts(rules.without),
            settles: texts(rules.settles),
            settled: i64::try_from(rules.settled.as_secs()).unwrap_or(i64::MAX),
        };
        let program = self.volumes.shim().to_string_lossy().into_owned();
        let job = Job { program, args: mirror.args(), ..Job::default() };
        let copying = jobs::run(&self.spawner, to, jobs::Beside { account, layout: &target }, job);
        tokio::pin!(copying);
        let output = loop {
            tokio::select! {
                output = &mut copying => break output?,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    if let Ok(now) = self.used_bytes(to).await {
                        progress(format!("{} of {} MB", now >> 20, of >> 20));
                    }
                }
            }
        };
        let copied = mirror::Mirror::of_output(&output.stdout).filter(|_| output.status == Some(0));
        copied.ok_or_else(|| {
            let told = std::io::Error::other(output.stderr.trim().to_owned());
            Error::io("copy a server's data")(told)
        })
    }

    /// Runs blocking work on the volumes.
    async fn on_volumes<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&volumes::Volumes) -> Result<T, Error> + Send + 'static,
    {
        let volumes = Arc::clone(&self.volumes);
        blocking(move || work(&volumes)).await
    }
}

/// Runs blocking work apart from the asynchronous threads.
async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::io("run blocking work")(std::io::ErrorKind::Other.into())),
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    async fn versions(&self) -> Result<Vec<HostVersion>, Error> {
        let versions = Arc::clone(&self.versions);
        blocking(move || versions.look()).await
    }

    /// The root is the one of `version`'s number, else the newest of its series: the host's packages move on under a
    /// generation that was made with an older number. The first call asks the binaries.
    fn layout(&self, generation: GenerationId, engine: EngineKind, version: &str) -> Result<Layout, Error> {
        let root = self.versions.root(engine, version)?;
        self.volumes.layout(generation, engine, root)
    }

    async fn ensure_volume(&self, generation: GenerationId, account: Option<&str>) -> Result<(), Error> {
        let account = account.map(str::to_owned);
        let turn = self.turns.take(generation).await;
        self.on_volumes(move |volumes| {
            let _turn = turn;
            volumes.ensure(generation, account.as_deref())
        })
        .await
    }

    async fn drop_volume(&self, generation: GenerationId) -> Result<(), Error> {
        let turn = self.turns.take(generation).await;
        let locked = self.on_volumes(move |volumes| {
            let Some(lock) = volumes.lock(generation)? else {
                volumes.remove_sockets(generation)?;
                return Ok(None);
            };
            if servers::runs(volumes, generation)? {
                return Err(Error::InUse);
            }
            Ok(Some(lock))
        });
        let Some(lock) = locked.await? else { return Ok(()) };
        servers::end_shim(&self.volumes, generation).await?;
        self.on_volumes(move |volumes| {
            let _held = (lock, turn);
            leftovers::end(volumes, generation)?;
            volumes.end_account(generation)?;
            // First, so that a drop which is killed leaves no word of a server beside data that is made anew.
            volumes.forget_server(generation)?;
            volumes.remove(generation)?;
            if let Ok(groups) = volumes.control_groups() {
                groups.remove(generation);
                groups.leave();
            }
            volumes.leave()
        })
        .await
    }

    async fn write_config(&self, generation: GenerationId, name: &str, text: &str) -> Result<(), Error> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.on_volumes(move |volumes| volumes.write_config(generation, &name, &text)).await
    }

    async fn run(&self, generation: GenerationId, layout: &Layout, job: Job) -> Result<JobOutput, Error> {
        let account = self.account(generation).await?;
        jobs::run(&self.spawner, generation, jobs::Beside { account, layout }, job).await
    }

    async fn pipe(
        &self,
        from: (GenerationId, &Layout, Job),
        to: (GenerationId, &Layout, Job),
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(JobOutput, JobOutput), Error> {
        let (from_generation, from_layout, from_job) = from;
        let (to_generation, to_layout, to_job) = to;
        let from_beside = jobs::Beside { account: self.account(from_generation).await?, layout: from_layout };
        let to_beside = jobs::Beside { account: self.account(to_generation).await?, layout: to_layout };
        jobs::pipe(
            &self.spawner,
            (from_generation, from_beside, from_job),
            (to_generation, to_beside, to_job),
            progress,
        )
        .await
    }

    async fn ensure_server(
        &self,
        generation: GenerationId,
        layout: &Layout,
        program: &str,
        args: &[String],
        limits: Limits,
    ) -> Result<(), Error> {
        let turn = self.turns.take(generation).await;
        let program = servers::Program { name: program.to_owned(), args: args.to_vec(), limits };
        servers::ensure(&self.volumes, (generation, turn), layout, program).await
    }

    async fn stop_server(
        &self,
        generation: GenerationId,
        patience: Duration,
        force: bool,
    ) -> Result<(), Error> {
        let _turn = self.turns.take(generation).await;
        servers::stop(&self.volumes, generation, patience, force).await
    }

    async fn observe(&self, generation: GenerationId) -> Result<Observed, Error> {
        self.on_volumes(move |volumes| {
            if !servers::runs(volumes, generation)? {
                return Ok(Observed::Stopped);
            }
            if let Err(error) = volumes.turn_log(generation) {
                tracing::debug!(generation = %generation, %error, "a server's log was not turned");
            }
            Ok(Observed::Running)
        })
        .await
    }

    async fn last_exit(&self, generation: GenerationId) -> Result<Option<Exit>, Error> {
        servers::last_exit(&self.volumes, generation).await
    }

    async fn process(&self, generation: GenerationId) -> Result<Option<ProcessFacts>, Error> {
        let found = self.on_volumes(move |volumes| servers::find(volumes, generation)).await?;
        Ok(found.and_then(|process| process.facts()))
    }

    async fn ended_for_memory(&self, generation: GenerationId) -> Result<u64, Error> {
        self.on_volumes(move |volumes| {
            let found = servers::find(volumes, generation)?;
            Ok(found.map(|process| groups::ended_beside(process.pid())).unwrap_or_default())
        })
        .await
    }

    async fn log_end(&self, generation: GenerationId, bytes: u64) -> Result<String, Error> {
        self.on_volumes(move |volumes| volumes.log_end(generation, bytes)).await
    }

    async fn engine_file(&self, layout: &Layout, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match tokio::fs::read(layout.root.join(path)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("read the engine's {path}"))(error)),
        }
    }

    async fn connect(&self, _generation: GenerationId, layout: &Layout) -> Result<Box<dyn Stream>, Error> {
        let stream = sockets::connect(&layout.socket).await.map_err(Error::io("connect to the socket"))?;
        Ok(Box::new(stream))
    }

    async fn connect_private(&self, generation: GenerationId, port: u16) -> Result<Box<dyn Stream>, Error> {
        let connected = tokio::net::TcpStream::connect((private_address(generation), port)).await;
        Ok(Box::new(connected.map_err(Error::io("connect to the private address"))?))
    }

    async fn visitor(&self) -> Result<String, Error> {
        blocking(accounts::caller).await
    }

    async fn copy_ahead(
        &self,
        from: GenerationId,
        to: GenerationId,
        rules: &CopyRules,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<u64, Error> {
        Ok(self.mirror((from, to), true, rules, progress).await?.all)
    }

    async fn is_copied_ahead(&self, generation: GenerationId) -> Result<bool, Error> {
        let list = self.any_layout(generation)?.tmp.join(mirror::LIST);
        blocking(move || Ok(list.exists())).await
    }

    async fn copy_data(
        &self,
        from: GenerationId,
        to: GenerationId,
        rules: &CopyRules,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Copied, Error> {
        self.mirror((from, to), false, rules, progress).await
    }

    async fn free_bytes(&self) -> Result<u64, Error> {
        self.on_volumes(volumes::Volumes::free_bytes).await
    }

    async fn used_bytes(&self, generation: GenerationId) -> Result<u64, Error> {
        self.on_volumes(move |volumes| volumes.used_bytes(generation)).await
    }

    async fn taken_bytes(
        &self,
        generation: GenerationId,
        logs: &'static [&'static str],
    ) -> Result<(u64, u64), Error> {
        self.on_volumes(move |volumes| volumes.taken_bytes(generation, logs)).await
    }

    async fn data_files(
        &self,
        generation: GenerationId,
        endings: &'static [&'static str],
    ) -> Result<Vec<DataFile>, Error> {
        self.on_volumes(move |volumes| volumes.data_files(generation, endings)).await
    }

    async fn data_file_end(
        &self,
        generation: GenerationId,
        name: &'static str,
        most: usize,
    ) -> Result<Option<(Vec<u8>, u64)>, Error> {
        self.on_volumes(move |volumes| volumes.data_file_end(generation, name, most)).await
    }

    async fn remove_data_file(&self, generation: GenerationId, name: &'static str) -> Result<(), Error> {
        self.on_volumes(move |volumes| volumes.remove_data_file(generation, name)).await
    }

    async fn closed_folders(&self, generation: GenerationId) -> Result<Vec<String>, Error> {
        self.on_volumes(move |volumes| volumes.closed_folders(generation)).await
    }
}

/// Copies one generation's data in this process, whose whole work it is. See [`mirror`].
pub fn run_mirror(args: &[std::ffi::OsString]) -> std::process::ExitCode {
    mirror::main(args)
}

/// Runs a server's parent in this process, whose whole work it is; `folder` is the generation's. See [`shim`].
pub fn run_shim(folder: &std::path::Path) -> std::process::ExitCode {
    shim::run(folder)
}

/// The socket of a generation's server below `run_dir`: what the endpoint role of the same host forwards to.
pub fn socket_path(run_dir: &std::path::Path, generation: GenerationId) -> PathBuf {
    let hex = generation.0.as_simple().to_string();
    run_dir.join(&hex[hex.len() - 8..]).join(socket_name(EngineKind::MariaDb))
}

/// What the socket is called in its folder: PostgreSQL gives its own name, with the port in it.
const fn socket_name(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::MariaDb | EngineKind::Mysql => "server.sock",
        EngineKind::Postgresql => ".s.PGSQL.5432",
    }
}
