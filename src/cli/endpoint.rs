//! `coffer endpoint`: the forwarder role, a process of its own, so that connections survive api and worker.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::cli::accounts::Accounts;
use crate::cli::lock::{Lock, Tried};
use crate::cli::metrics::show_endpoint;
use crate::domain::ids::{GenerationId, HostId};
use crate::runtimes::process::socket_path;

/// How long the worker's file is waited for.
const HOST_FILE: Duration = Duration::from_secs(60);

/// Arguments of `coffer endpoint`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service's own Postgres
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The host whose addresses it serves, as its worker prints it
    #[arg(long, required_unless_present = "host_file")]
    host: Option<String>,
    /// The file in which that worker keeps the host's id, `host` in its state folder; it is waited for
    #[arg(long, conflicts_with = "host")]
    host_file: Option<PathBuf>,
    /// A folder of its own, for its lock and its last state
    #[arg(long)]
    state_dir: PathBuf,
    /// The base of the servers' socket folders
    #[arg(long)]
    run_dir: PathBuf,
    /// Show the metrics there, with /healthz and /readyz; 127.0.0.1:9779 for example
    #[arg(long, env = "COFFER_METRICS")]
    metrics: Option<String>,
    /// The user id to serve as (root only)
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// The group id to serve as (root only)
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
}

/// The stamp of this binary: an endpoint of another build is replaced.
///
/// # Errors
/// The binary cannot be looked at.
pub fn stamp() -> anyhow::Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata("/proc/self/exe").context("look at this binary")?;
    Ok(format!("{}.{}.{}", meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Another endpoint serves here, or the runtime cannot be made.
pub fn run(args: Args) -> anyhow::Result<()> {
    let stamp = stamp()?;
    // Read as who we are now: the file is the worker's.
    let host = match (args.host, &args.host_file) {
        (Some(host), _) => host,
        (None, Some(path)) => host_of(path)?,
        (None, None) => anyhow::bail!("give --host or --host-file"),
    };
    // As root it serves under the account that set-up made, unless another is named.
    let account = match (args.uid, args.gid) {
        (Some(uid), Some(gid)) => Some((uid, gid)),
        _ => Accounts::find()?.map(|accounts| (accounts.endpoint.uid, accounts.endpoint.gid)),
    };
    let doing = || format!("the endpoint's folder {}", args.state_dir.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.state_dir).with_context(doing)?;
    if let Some((uid, gid)) = account {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&args.state_dir, Some(uid), Some(gid)).with_context(doing)?;
        }
        // Before any second thread: these calls are the thread's own.
        drop_rights(uid, gid).context("take the endpoint's account")?;
    }
    let mut lock = match Lock::hold_within(&args.state_dir.join("lock"), Duration::from_secs(1))
        .with_context(|| format!("the endpoint's lock in {}", args.state_dir.display()))?
    {
        Tried::Held(lock) => lock,
        Tried::Anothers(who) => {
            let pid = who.split(' ').next().unwrap_or_default();
            anyhow::bail!("another endpoint serves this host: pid {pid}")
        }
    };
    lock.write(&format!("{} {stamp}", std::process::id()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let config =
            crate::endpoint::Config::new(HostId(host), args.database_url, args.state_dir.join("routes.json"));
        let shown = show_endpoint(args.metrics.as_deref(), &args.state_dir)?;
        let run_dir = args.run_dir;
        let path = move |generation: GenerationId| socket_path(&run_dir, generation);
        crate::endpoint::serve(config, Arc::new(path), super::signals::asked_to_stop()).await?;
        for task in shown {
            task.abort();
        }
        Ok(())
    })
}

/// The host's id, as soon as its worker has made it.
#[expect(clippy::disallowed_methods, reason = "there is one thread and no runtime yet; it has a deadline")]
fn host_of(path: &Path) -> anyhow::Result<String> {
    let deadline = Instant::now() + HOST_FILE;
    loop {
        match std::fs::read_to_string(path) {
            Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "{} is not there: the worker of this host makes it at its first start",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn drop_rights(uid: u32, gid: u32) -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_gid(Gid::from_raw(gid))?;
    rustix::thread::set_thread_uid(Uid::from_raw(uid))
}
