//! `coffer worker`: runs the tasks of one host, keeps its servers up and answers questions to them. Any number of them
//! may serve one host; servers stay up when it stops.

use std::io::Write as _;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::cli::host::{AUTHORITIES, Host, HostArgs, write_authorities};
use crate::cli::metrics::show_worker;
use crate::cli::signals::asked_to_stop;
use crate::db::Db;
use crate::db::notices::Notices;

/// Arguments of `coffer worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    host: HostArgs,
    /// The service's own Postgres
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Show the metrics there, with /healthz and /readyz; 127.0.0.1:9779 for example
    #[arg(long, env = "COFFER_METRICS")]
    metrics: Option<String>,
}

/// Serves until SIGINT or SIGTERM. Prints `ready HOST` on standard output when it does.
///
/// # Errors
/// What keeps it from serving: a schema that it does not know, a host that can run nothing.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let host = Host::open(args.host)?;
    let db = Db::new(&crate::db::Config::new(&args.database_url));
    db.knows_schema().await?;
    let notices = Notices::default();
    let listening = tokio::spawn(notices.clone().listen(args.database_url));
    let (stopping, stop) = watch::channel(false);
    let shown = show_worker(args.metrics.as_deref(), &db)?;
    let mut worker = host.start_worker(&db, host.sealer()?, notices, &stop).await?;
    let authority = worker.worker.authority_certificates().await.context("the service's own authority")?;
    write_authorities(&host.folders.state.join(AUTHORITIES), &authority).context("write ca.pem")?;
    println!("ready {}", host.id);
    std::io::stdout().flush()?;
    asked_to_stop().await;
    stopping.send_replace(true);
    worker.ended().await?;
    listening.abort();
    if let Some(shown) = shown {
        shown.abort();
    }
    Ok(())
}
