//! `coffer dev`: everything in one process tree for one machine, without configuration.
//!
//! The store, the endpoint and the engines are processes of their own and survive this one when it is killed; the
//! next `dev` on the same state folder adopts them. What is recorded of an upgrade goes on where it stopped.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;

use crate::api::ApiState;
use crate::api::health::Watched;
use crate::api::limits::Profile;
use crate::auth::dev::DevIdentity;
use crate::cli::access_keys;
use crate::cli::accounts::{Accounts, store_config};
use crate::cli::host::{AUTHORITIES, Host, HostArgs, write_authorities};
use crate::cli::keeper::{keep_endpoint, stop_endpoint};
use crate::cli::lock::{Lock, Tried};
use crate::cli::metrics::{ENDPOINT_SOCKET, show_api};
use crate::cli::private::write_private;
use crate::cli::signals::{asked_to_stop, stopped};
use crate::cli::state::Folders;
use crate::commands::Commands;
use crate::db::Db;
use crate::db::notices::Notices;
use crate::domain::datastore::EngineKind;
use crate::embedded_postgres::EmbeddedPostgres;
use crate::seal::Sealer;
use crate::workflow::supervisor;

/// Arguments of `coffer dev`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// The address of the API; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:8779")]
    listen: String,
    /// Whose rate limits, page sizes and quotas hold
    #[arg(long, value_enum, default_value_t)]
    limits: Profile,
    /// Leave the instances running, and reachable, when stopped
    #[arg(long)]
    keep_instances: bool,
    /// Show the metrics there, with /healthz and /readyz, and not with the API; 127.0.0.1:9779 for example
    #[arg(long, env = "COFFER_METRICS")]
    metrics: Option<String>,
    /// Use this Postgres instead of an embedded one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// What keeps it from serving, with the command that mends it where there is one.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let host = Host::open(args.host)?;
    let folders = &host.folders;
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
    warn_of_blocked_ports(host.instance_net)?;

    let sealer = host.sealer()?;
    let (stopping, stop) = watch::channel(false);
    let store = match &args.database_url {
        Some(_) => None,
        None => Some(start_store(folders, host.accounts.as_ref()).await?),
    };
    let (database, endpoint_database) = match (&store, args.database_url) {
        (Some(store), _) => (store.url(), store.endpoint_url()),
        (None, Some(url)) => (url.clone(), url),
        (None, None) => bail!("no database"),
    };
    let parts = Parts {
        host: &host,
        sealer,
        database,
        endpoint_database,
        limits: args.limits,
        metrics: args.metrics,
        stop,
    };
    let served = serve(parts, &url, listener, args.keep_instances, &stopping).await;
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
    host: &'a Host,
    sealer: Sealer,
    database: String,
    endpoint_database: String,
    limits: Profile,
    metrics: Option<String>,
    stop: watch::Receiver<bool>,
}

async fn start_store(folders: &Folders, accounts: Option<&Accounts>) -> anyhow::Result<EmbeddedPostgres> {
    let config = store_config(&folders.state, &folders.engines, &folders.run, accounts)?;
    let store = EmbeddedPostgres::start(&config).await.context("start the embedded Postgres")?;
    tokio::spawn(store.clone().supervise());
    Ok(store)
}

async fn serve(
    parts: Parts<'_>,
    url: &str,
    listener: TcpListener,
    keep_instances: bool,
    stopping: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    let Parts { host, sealer, database, endpoint_database, limits, metrics, stop } = parts;
    let folders = &host.folders;
    let db = Db::new(&crate::db::Config::new(&database));
    db.migrate().await.context("migrate the store")?;

    let notices = Notices::default();
    let listening = tokio::spawn(notices.clone().listen(database.clone()));
    let commands = Commands {
        db: db.clone(),
        sealer: sealer.clone(),
        notices: notices.clone(),
        quota: crate::domain::quota::Quota::NONE,
    };
    let mut worker = host.start_worker(&db, sealer, notices, &stop).await?;
    let endpoint = tokio::spawn(keep_endpoint(
        folders.clone(),
        host.id.clone(),
        endpoint_database,
        host.accounts.as_ref().map(|a| a.endpoint),
        stop.clone(),
    ));

    let identity = Arc::new(DevIdentity::open(&folders.state).context("open the built-in identity")?);
    write_private(&folders.state.join("clouds.yaml"), &identity.clouds_yaml(url))?;
    write_private(&folders.state.join("openrc"), &identity.openrc(url))?;
    access_keys::write(&folders.state, &commands, &identity).await?;
    let mut state = ApiState::for_dev(commands, identity).limited_by(limits);
    let beside = folders.state.join("endpoint").join(ENDPOINT_SOCKET);
    let shown = show_api(metrics.as_deref(), &db, Some(beside.clone()))?;
    state.watched = Watched::new(metrics.is_some(), Some(beside));
    let api = tokio::spawn(crate::api::serve(state, listener, stopped(stop.clone())));

    let authority = worker.worker.authority_certificates().await.context("the service's own authority")?;
    write_authorities(&folders.state.join(AUTHORITIES), &authority).context("write ca.pem")?;

    println!("ready {url}");
    std::io::stdout().flush()?;
    eprintln!("clients: export OS_CLIENT_CONFIG_FILE={}", folders.state.join("clouds.yaml").display());
    eprintln!("         openstack --os-cloud coffer database instance list");

    asked_to_stop().await;
    eprintln!("stopping{}", if keep_instances { ", instances stay up" } else { " with every instance" });
    stopping.send_replace(true);
    api.await.context("the api")?.context("the api")?;
    worker.ended().await?;
    listening.abort();
    if let Some(shown) = shown {
        shown.abort();
    }
    let started = endpoint.await.context("the endpoint's keeper")?;
    if !keep_instances {
        supervisor::stop_servers(&worker.worker).await;
        stop_endpoint(&folders.state.join("endpoint"), started).await?;
    }
    Ok(())
}

/// Says which of the engines' standard ports something else holds on every address.
///
/// # Errors
/// The addresses are not this machine's: no instance could be served.
fn warn_of_blocked_ports(net: ipnet::Ipv4Net) -> anyhow::Result<()> {
    let address = net.hosts().last().with_context(|| format!("--instance-net {net} holds no address"))?;
    for port in [EngineKind::MariaDb.standard_port(), EngineKind::Postgresql.standard_port()] {
        match TcpListener::bind((address, port)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                bail!("--instance-net {net}: {address} is no address of this machine; 127.0.0.0/8 always is")
            }
            Err(error) => {
                let who = crate::endpoint::blocked::who_listens(port)
                    .unwrap_or_else(|| "another process".to_owned());
                eprintln!(
                    "warning: instances cannot listen on port {port} of {net}: {error}; {who} listens there"
                );
            }
            Ok(_) => {}
        }
    }
    Ok(())
}
