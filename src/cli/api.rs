//! `coffer api`: the front door alone, on a Postgres that others share. Any number of them may serve.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::api::ApiState;
use crate::api::audit::DAYS;
use crate::api::health::Watched;
use crate::api::limits::Profile;
use crate::auth::dev::DevIdentity;
use crate::cli::metrics::show_api;
use crate::cli::signals::{asked_to_stop, stopped};
use crate::commands::Commands;
use crate::db::notices::Notices;
use crate::db::{Config, Db};
use crate::files::make_once;
use crate::seal::Sealer;

/// Arguments of `coffer api`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The address of the API; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:8779")]
    listen: String,
    /// The service's own Postgres
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Connections to it at most
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pool: u32,
    /// The key that seals passwords, the same for every api and worker
    #[arg(long, env = "COFFER_KEY_FILE")]
    key_file: PathBuf,
    /// Whose rate limits, page sizes and quotas hold
    #[arg(long, value_enum, default_value_t)]
    limits: Profile,
    /// Show the metrics there, with /healthz and /readyz, and not with the API; 127.0.0.1:9779 for example
    #[arg(long, env = "COFFER_METRICS")]
    metrics: Option<String>,
    /// How many days the audit keeps who asked to change something
    #[arg(long, env = "COFFER_AUDIT_DAYS", default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    audit_days: u32,
    /// The folder of the built-in identity, its key and accounts: that of `dev`, or one to make
    #[arg(long)]
    identity_dir: PathBuf,
}

/// Serves until SIGINT or SIGTERM. Prints `ready http://HOST:PORT` on standard output when it does.
///
/// # Errors
/// What keeps it from serving: a schema that it does not know, an address that is taken.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&args.listen).with_context(|| format!("listen on {}", args.listen))?;
    let url = format!("http://{}", listener.local_addr()?);
    let db = Db::new(&Config { pool_size: args.pool, ..Config::new(&args.database_url) });
    db.knows_schema().await?;
    let notices = Notices::default();
    let listening = tokio::spawn(notices.clone().listen(args.database_url));
    let commands = Commands {
        db,
        sealer: Sealer::open(&args.key_file)?,
        notices,
        quota: crate::domain::quota::Quota::NONE,
    };
    // Made as whoever alone may read what will be in it.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.identity_dir);
    made.with_context(|| format!("make {}", args.identity_dir.display()))?;
    let identity = Arc::new(DevIdentity::open(&args.identity_dir).context("open the built-in identity")?);
    let (stopping, stop) = watch::channel(false);
    let watched = Watched::new(args.metrics.is_some(), None);
    let shown = show_api(args.metrics.as_deref(), &commands.db, None)?;
    let mut state = ApiState::for_dev(commands, Arc::clone(&identity)).limited_by(args.limits);
    state.watched = watched;
    state.audit.days = args.audit_days;
    let api = tokio::spawn(crate::api::serve(state, listener, stopped(stop)));
    // How a client logs in: left alone where `dev` or an operator wrote it, with the address that clients use.
    for (name, text) in [("clouds.yaml", identity.clouds_yaml(&url)), ("openrc", identity.openrc(&url))] {
        make_once(&args.identity_dir.join(name), text.as_bytes())
            .with_context(|| format!("write {name} in {}", args.identity_dir.display()))?;
    }
    println!("ready {url}");
    std::io::stdout().flush()?;
    asked_to_stop().await;
    stopping.send_replace(true);
    api.await.context("the api")?.context("the api")?;
    listening.abort();
    if let Some(shown) = shown {
        shown.abort();
    }
    Ok(())
}
