//! `coffer bench requests`: what a request costs, beside the floor. The api runs as users run it, with tokens, on a Postgres of
//! its own that is the same one pgbench runs the same statements on, in turn: a machine that is busy slows both. No
//! worker runs, so that nothing else works while it is measured; the instances are simulated.
//!
//! What is measured and how is told with the figures. A ratio of one run can be compared with that of another machine;
//! a rate cannot.

mod data;
mod floor;
mod load;
mod processes;
mod report;

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

use crate::cli::accounts::{Accounts, store_config};
use crate::cli::bench::Folder;
use crate::cli::state::Folders;
use crate::db::{Config, Db};
use crate::embedded_postgres::EmbeddedPostgres;

use data::{BIG, Data, Projects, SMALL};
use floor::Floor;
use load::{Load, Request};
use processes::Api;
use report::{Kind, Report, Round};

/// Arguments of `coffer bench requests`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The engines' binaries, with postgresql-15 and its pgbench
    #[arg(long)]
    engines: Option<PathBuf>,
    /// Seconds of each run; there are two runs, ours and pgbench's, in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Rounds of each kind of request
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=15))]
    rounds: u32,
    /// Connections of HTTP clients
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    clients: u32,
    /// Connections of the api to Postgres, and of pgbench
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    pool: u32,
    /// Instances that wait to be upgraded; each run takes new ones
    #[arg(long, default_value_t = 240_000, value_parser = clap::value_parser!(u32).range(1_000..=2_000_000))]
    sources: u32,
    /// Measure this kind of request only; repeat it for several
    #[arg(long, value_enum)]
    only: Vec<Kind>,
}

/// Measures, and prints a table.
///
/// # Errors
/// What keeps it from measuring; a request that was not answered as it must be.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let folder = Folder::make()?;
    let state = folder.0.join("state");
    let accounts = Accounts::find()?;
    let folders = Folders::open(Some(state), args.engines.clone(), accounts.as_ref())?;
    let config = store_config(&folders.state, &folders.engines, &folders.run, accounts.as_ref())?;
    eprintln!("bench: starting a Postgres of its own");
    let store = EmbeddedPostgres::start(&config).await.context("start the embedded Postgres")?;
    let measured = tokio::select! {
        measured = measure(&args, &folders, &store) => measured,
        () = crate::cli::signals::asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    };
    store.stop().await.context("stop the embedded Postgres")?;
    drop(folder);
    measured
}

async fn measure(args: &Args, folders: &Folders, store: &EmbeddedPostgres) -> anyhow::Result<()> {
    let db = Db::new(&Config::new(store.url()));
    db.migrate().await.context("migrate the store")?;
    let api = Api::start(&store.url(), &folders.state, args.pool).await?;
    let at_rest = api.resident_bytes()?;
    let login = |cloud| api.identity.login(cloud).context("log in");
    let users = [login("coffer")?, login("coffer-other")?, login("coffer-admin")?];
    let [big, small, changing] = &users;
    let projects = Projects { big: project(big)?, small: project(small)?, changing: project(changing)? };

    eprintln!("bench: writing {BIG} instances, {SMALL} of another project, {} to upgrade", args.sources);
    let data = Data::write(&db, store, &projects, args.sources).await?;
    let floor = Floor::new(&db, store, folders, &projects).await?;
    let load = Load::new(&api.url, &folder_for(folders, "load")?);

    let mut report = Report::new(args, &api, at_rest);
    let per_run = args.sources / (2 * args.rounds);
    for kind in Kind::ALL.into_iter().filter(|kind| args.only.is_empty() || args.only.contains(kind)) {
        for round in 0..args.rounds {
            eprintln!("bench: {}, round {} of {}", kind.title(), round + 1, args.rounds);
            let ours_from = 2 * round * per_run;
            let user = match kind {
                Kind::Show | Kind::ListBig => big,
                Kind::ListSmall => small,
                Kind::Create | Kind::Upgrade => changing,
            };
            let (project, token) = (project(user)?, user.text.clone());
            let request = Request { kind, project, token, from: ours_from, count: per_run };
            let before = data.tasks().await?;
            let cpu = (api.cpu()?, processes::postgres_cpu(store).await?);
            let ours = load.run(&request, args.clients, args.seconds).await?;
            let cpu = (api.cpu()? - cpu.0, processes::postgres_cpu(store).await? - cpu.1);
            ensure!(ours.refused == 0, "{} of {} requests were refused", ours.refused, ours.requests);
            data.accepted(kind, before, ours.requests).await?;

            let before = data.tasks().await?;
            let floor_cpu = processes::postgres_cpu(store).await?;
            let theirs = floor.run(kind, args.pool, args.seconds, ours_from + per_run, per_run).await?;
            let floor_cpu = processes::postgres_cpu(store).await? - floor_cpu;
            data.accepted(kind, before, theirs.transactions).await?;
            report.add(kind, Round { ours, theirs, api: cpu.0, postgres: cpu.1, floor: floor_cpu });
        }
    }
    report.print(api.resident_bytes()?);
    api.stop().await
}

fn project(token: &crate::auth::dev::Token) -> anyhow::Result<String> {
    match &token.claims.project {
        Some(project) => Ok(project.clone()),
        None => bail!("the token has no project"),
    }
}

fn folder_for(folders: &Folders, name: &str) -> anyhow::Result<PathBuf> {
    let path = folders.state.join(name);
    std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}
