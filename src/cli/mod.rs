//! Each command builds the parts it needs and runs them. Drivers are chosen by name here, and nowhere else.

pub mod access_keys;
pub mod accounts;
pub mod admin;
pub mod api;
pub mod authorities;
pub mod bench;
pub mod cloud;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod endpoint;
pub mod flavors;
pub mod host;
pub mod keeper;
pub mod lock;
pub mod metrics;
pub mod private;
pub mod shim;
pub mod signals;
pub mod state;
pub mod upgrade;
pub mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A database service for private clouds that upgrades databases without losing a write.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves everything on this machine: Postgres, identity, api, worker, endpoint and engines
    Dev(dev::Args),
    /// Upgrades a real database under load and shows what happened
    Demo(demo::Args),
    /// Upgrades an instance, or says what that would meet
    Upgrade(upgrade::Args),
    /// Serves the API alone, on the Postgres named by DATABASE_URL
    Api(api::Args),
    /// Runs the tasks of one host and keeps its servers up
    Worker(worker::Args),
    /// Serves instances' addresses of one host (dev starts its own)
    Endpoint(endpoint::Args),
    /// Manages the service by its store, also while no API serves
    Admin(admin::Args),
    /// Says what this machine lacks, and the command that mends it
    Doctor(doctor::Args),
    /// Measures what requests cost, beside pgbench on the same Postgres
    #[command(hide = true)]
    Bench(bench::Args),
    /// Prints the OpenAPI document of the API
    #[command(name = "openapi")]
    OpenApi,
    /// Brings the schema of the Postgres named by DATABASE_URL up to date
    Migrate(MigrateArgs),
}

#[derive(Debug, clap::Args)]
struct MigrateArgs {
    /// The service's own Postgres
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

/// Parses the command line and runs the command. Errors go to standard error in one line.
pub fn main() -> ExitCode {
    if let Some(ended) = shim::asked() {
        return ended;
    }
    let cli = Cli::parse();
    crate::telemetry::start();
    crate::telemetry::metrics::start();
    let done = match cli.command {
        // It gives up root's rights before it has a second thread.
        Command::Endpoint(args) => endpoint::run(args),
        Command::Upgrade(args) => return upgrade::main(args),
        Command::Api(args) => block_on(api::run(args)),
        Command::Worker(args) => block_on(worker::run(args)),
        Command::Dev(args) => block_on(dev::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Admin(args) => block_on(admin::run(args)),
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Bench(args) => block_on(bench::run(args)),
        Command::OpenApi => print_openapi(),
        Command::Migrate(args) => block_on(migrate(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coffer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

fn print_openapi() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&crate::api::openapi::document())?);
    Ok(())
}

async fn migrate(args: MigrateArgs) -> anyhow::Result<()> {
    let db = crate::db::Db::new(&crate::db::Config::new(args.database_url));
    db.migrate().await?;
    println!("the schema is up to date");
    Ok(())
}
