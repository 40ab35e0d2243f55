//! `coffer dev`: everything in one process tree for one machine, without configuration.
//!
//! The store, the endpoint and the engines are processes of their own and survive this one when it is killed; the
//! next `dev` on the same state folder adopts them. What is recorded of an upgrade goes on where it stopped.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;

use crate::api::ApiState;
use crate::auth::dev::DevIdentity;
use crate::cli::accounts::{Account, Accounts, runtime_config, store_config};
use crate::cli::lock::{Lock, Tried};
use crate::cli::state::Folders;
use crate::commands::Commands;
use crate::db::notices::Notices;
use crate::db::{Db, catalogue, hosts, tasks};
use crate::domain::datastore::EngineKind;
use crate::domain::ids::HostId;
use crate::engines::Engine;
use crate::engines::mariadb::MariaDb;
use crate::runtimes::Runtime;
use crate::runtimes::process::ProcessRuntime;
use crate::seal::Sealer;
use crate::store::Store;
use crate::workflow::{Works, answers, supervisor, worker};

/// Arguments of `coffer dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where everything is kept [default: /var/lib/coffer as root, ~/.local/state/coffer else]
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// The address of the API; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:8779")]
    listen: String,
    /// Where instances run
    #[arg(long, default_value = "process", value_parser = ["process"])]
    runtime: Vec<String>,
    /// The engines' binaries [default: /var/cache/coffer/engines as root, ~/.cache/coffer/engines else]
    #[arg(long)]
    engines: Option<PathBuf>,
    /// The network from which each instance gets its address
    #[arg(long, default_value = "127.64.0.0/10")]
    instance_net: ipnet::Ipv4Net,
    /// Leave the instances running, and reachable, when stopped
    #[arg(long)]
    keep_instances: bool,
    /// Use this Postgres instead of an embedded one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The key that seals passwords [default: key in the state folder]
    #[arg(long, env = "COFFER_KEY_FILE")]
    key_file: Option<PathBuf>,
}

/// Resolves when the process is asked to stop: SIGINT or SIGTERM.
pub async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be listened for");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// What keeps it from serving, with the command that mends it where there is one.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let accounts = Accounts::find()?;
    let folders = Folders::open(args.state_dir, args.engines, accounts.as_ref())?;
    let mut lock = match Lock::hold_within(&folders.state.join("lock"), Duration::from_secs(1))? {
        Tried::Held(lock) => lock,
        Tried::Anothers(who) => {
            bail!("another coffer dev serves the state folder {}: {who}", folders.state.display())
        }
    };
    lock.write(&format!("pid {}", std::process::id()))?;
    let listener = TcpListener::bind(&args.listen).with_context(|| format!("listen on {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    lock.write(&format!("pid {}, {url}", std::process::id()))?;
    warn_of_blocked_ports(args.instance_net);

    let sealer = Sealer::open(&args.key_file.unwrap_or_else(|| folders.state.join("key")))?;
    let (stopping, stop) = watch::channel(false);
    let store = match &args.database_url {
        Some(_) => None,
        None => Some(start_store(&folders, accounts.as_ref()).await?),
    };
    let (database, endpoint_database) = match (&store, args.database_url) {
        (Some(store), _) => (store.url(), store.endpoint_url()),
        (None, Some(url)) => (url.clone(), url),
        (None, None) => bail!("no database"),
    };
    let served = serve(
        Parts { folders: &folders, accounts: accounts.as_ref(), sealer, database, endpoint_database, stop },
        &url,
        listener,
        args.instance_net,
        args.keep_instances,
        &stopping,
    )
    .await;
    stopping.send_replace(true);
    if let Some(store) = store {
        store.stop().await.context("stop the embedded Postgres")?;
    }
    if served.is_ok() {
        eprintln!("stopped");
    }
    served
}

struct Parts<'a> {
    folders: &'a Folders,
    accounts: Option<&'a Accounts>,
    sealer: Sealer,
    database: String,
    endpoint_database: String,
    stop: watch::Receiver<bool>,
}

async fn start_store(folders: &Folders, accounts: Option<&Accounts>) -> anyhow::Result<Store> {
    let config = store_config(&folders.state, &folders.engines, &folders.run, accounts)?;
    let store = Store::start(&config).await.context("start the embedded Postgres")?;
    tokio::spawn(store.clone().supervise());
    Ok(store)
}

async fn serve(
    parts: Parts<'_>,
    url: &str,
    listener: TcpListener,
    instance_net: ipnet::Ipv4Net,
    keep_instances: bool,
    stopping: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    let Parts { folders, accounts, sealer, database, endpoint_database, stop } = parts;
    let db = Db::new(&crate::db::Config::new(&database));
    db.migrate().await.context("migrate the store")?;

    let config = runtime_config(&folders.state, &folders.engines, &folders.run, accounts);
    let runtime: Arc<dyn Runtime> = Arc::new(ProcessRuntime::new(config)?);
    let host = host_id(&folders.state)?;
    register(&db, &runtime, &host, instance_net, &folders.engines).await?;

    let notices = Notices::default();
    let listening = tokio::spawn(notices.clone().listen(database.clone()));
    let commands = Commands { db: db.clone(), sealer: sealer.clone(), notices: notices.clone() };
    let engines: Vec<Arc<dyn Engine>> = vec![Arc::new(MariaDb)];
    let works = Arc::new(Works::new(db.clone(), sealer, notices, host.clone(), engines, vec![runtime]));

    // The lock on the state folder says that no other worker of this host lives: its leases are nobody's.
    let gone = host.clone();
    db.transact(move |conn| tasks::release_leases(conn, &gone)).await?;

    let endpoint = tokio::spawn(keep_endpoint(
        folders.clone(),
        host.clone(),
        endpoint_database,
        accounts.map(|a| a.endpoint),
        stop.clone(),
    ));
    let owner = format!("{host}/{}", std::process::id());
    let work = tokio::spawn(worker::run(Arc::clone(&works), owner, stop.clone()));
    let answer = tokio::spawn(answers::run(Arc::clone(&works), stop.clone()));
    let look = tokio::spawn(supervisor::run(Arc::clone(&works), instance_net.to_string(), stop.clone()));

    let identity = Arc::new(DevIdentity::open(&folders.state).context("open the built-in identity")?);
    write_private(&folders.state.join("clouds.yaml"), &identity.clouds_yaml(url))?;
    write_private(&folders.state.join("openrc"), &identity.openrc(url))?;
    let state = ApiState::for_dev(commands, identity);
    let api = tokio::spawn(crate::api::serve(state, listener, stopped(stop.clone())));

    println!("ready {url}");
    std::io::stdout().flush()?;
    eprintln!("clients: export OS_CLIENT_CONFIG_FILE={}", folders.state.join("clouds.yaml").display());
    eprintln!("         openstack --os-cloud coffer database instance list");

    asked_to_stop().await;
    eprintln!("stopping{}", if keep_instances { ", instances stay up" } else { " with every instance" });
    stopping.send_replace(true);
    api.await.context("the api")?.context("the api")?;
    for part in [work, answer, look] {
        part.await.context("a part of the worker")?;
    }
    listening.abort();
    endpoint.await.context("the endpoint's keeper")?;
    if !keep_instances {
        supervisor::stop_servers(&works).await;
        stop_endpoint(&folders.state.join("endpoint")).await?;
    }
    Ok(())
}

async fn register(
    db: &Db,
    runtime: &Arc<dyn Runtime>,
    host: &HostId,
    instance_net: ipnet::Ipv4Net,
    engines: &Path,
) -> anyhow::Result<()> {
    let versions: Vec<(String, String, String)> = runtime
        .versions()
        .await
        .context("ask the engines' binaries")?
        .into_iter()
        .filter(|v| v.engine == EngineKind::MariaDb.as_str())
        .map(|v| (v.engine.to_owned(), v.series, v.number))
        .collect();
    if versions.is_empty() {
        bail!("no engine that this version can run is in {}; `make engines` fetches them", engines.display());
    }
    let titles: Vec<String> =
        versions.iter().map(|(engine, _, number)| format!("{engine} {number}")).collect();
    eprintln!("engines: {}", titles.join(", "));
    let (host, net) = (host.clone(), instance_net.to_string());
    db.transact(move |conn| {
        hosts::record(conn, &host, &net)?;
        hosts::record_versions(conn, &host, &versions)?;
        catalogue::register_host_versions(conn, &host)
    })
    .await?;
    Ok(())
}

/// The host's id: made once and kept in the state folder, since a machine's name changes and two machines have one.
fn host_id(state: &Path) -> anyhow::Result<HostId> {
    let path = state.join("host");
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(HostId(id.trim().to_owned())),
        Ok(_) => bail!("{} is empty", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = uuid::Uuid::new_v4().to_string();
            write_private(&path, &id)?;
            Ok(HostId(id))
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Says which of the engines' standard ports something else holds on every address.
fn warn_of_blocked_ports(net: ipnet::Ipv4Net) {
    let Some(first) = net.hosts().last() else { return };
    let port = EngineKind::MariaDb.standard_port();
    if let Err(error) = TcpListener::bind((first, port)) {
        let who = crate::endpoint::blocked::who_listens(port).unwrap_or_else(|| "another process".to_owned());
        eprintln!("warning: instances cannot listen on port {port} of {net}: {error}; {who} listens there");
    }
}

/// Writes a file that only we can read: whole or not at all.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let doing = || format!("write {}", path.display());
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(doing)?;
    file.write_all(text.as_bytes()).with_context(doing)?;
    file.sync_all().with_context(doing)?;
    std::fs::rename(&fresh, path).with_context(doing)
}

/// Keeps an endpoint process up until `stop`; one that serves already is adopted if it is of this build.
async fn keep_endpoint(
    folders: Folders,
    host: HostId,
    database: String,
    account: Option<Account>,
    stop: watch::Receiver<bool>,
) {
    let folder = folders.state.join("endpoint");
    let mut wait = Duration::from_millis(100);
    while !*stop.borrow() {
        match ensure_endpoint(&folder, &folders, &host, &database, account).await {
            Ok(Some(mut child)) => {
                let began = std::time::Instant::now();
                tokio::select! {
                    ended = child.wait() => {
                        if let Ok(status) = ended {
                            tracing::warn!(%status, "the endpoint ended and is started again");
                        }
                        wait = if began.elapsed() > Duration::from_secs(10) { Duration::from_millis(100) }
                               else { (wait * 2).min(Duration::from_secs(5)) };
                    }
                    // It goes on without us; who stops is `serve`, by the lock.
                    () = stopped(stop.clone()) => return,
                }
            }
            Ok(None) => wait = Duration::from_secs(1),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the endpoint cannot be started");
                wait = Duration::from_secs(5);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(stop.clone()) => return,
        }
    }
}

/// Starts an endpoint unless one of this build serves.
async fn ensure_endpoint(
    folder: &Path,
    folders: &Folders,
    host: &HostId,
    database: &str,
    account: Option<Account>,
) -> anyhow::Result<Option<tokio::process::Child>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if let Some(account) = account {
        std::os::unix::fs::chown(folder, Some(account.uid), Some(account.gid))?;
    }
    if let Some((_, stamp)) = serving_endpoint(folder)? {
        if stamp == super::endpoint::stamp()? || stamp.is_empty() {
            return Ok(None);
        }
        tracing::info!("replacing an endpoint of another build");
        stop_endpoint(folder).await?;
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join("log"))?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg("endpoint")
        .args(["--host", &host.0])
        .arg("--state-dir")
        .arg(folder)
        .arg("--run-dir")
        .arg(&folders.run)
        .env_clear()
        .env("DATABASE_URL", database)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: a Ctrl-C in our terminal is not for it.
        .process_group(0);
    if let Some(account) = account {
        command.args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()]);
    }
    let child = tokio::process::Command::from(command).spawn().context("start the endpoint")?;
    Ok(Some(child))
}

/// The endpoint that holds the lock: its pid and its build's stamp.
fn serving_endpoint(folder: &Path) -> anyhow::Result<Option<(i32, String)>> {
    // Only looked at, never made: it is the endpoint account's own.
    let Some(line) = Lock::holder(&folder.join("lock"))? else { return Ok(None) };
    match line.split_once(' ') {
        Some((pid, stamp)) => Ok(Some((pid.parse().context("the endpoint's pid")?, stamp.to_owned()))),
        // It holds the lock and has not written yet.
        None => Ok(Some((0, String::new()))),
    }
}

/// Stops the endpoint that serves and waits until it is gone.
async fn stop_endpoint(folder: &Path) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    let mut signal = rustix::process::Signal::TERM;
    while let Some((pid, _)) = serving_endpoint(folder)? {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // Gone meanwhile is what we want.
            let _ = rustix::process::kill_process(pid, signal);
        }
        if std::time::Instant::now() > deadline {
            signal = rustix::process::Signal::KILL;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
