//! `coffer bench`: what the service costs, beside a floor that is measured in the same run. See [`requests`],
//! [`upgrades`] and [`neighbours`].

pub mod neighbours;
pub mod requests;
pub mod upgrades;

use std::path::PathBuf;

use anyhow::Context as _;

/// Arguments of `coffer bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// What requests cost, beside pgbench on the same Postgres
    Requests(requests::Args),
    /// What upgrades cost, beside the engines' own commands on the same data
    Upgrades(upgrades::Args),
    /// What an instance notices of another one at its limits, beside the same without it
    Neighbours(neighbours::Args),
}

/// Measures, and prints a table.
///
/// # Errors
/// What keeps it from measuring; a figure of something that went wrong is none.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Requests(args) => requests::run(args).await,
        What::Upgrades(args) => upgrades::run(args).await,
        What::Neighbours(args) => neighbours::run(args).await,
    }
}

/// A folder that goes with the bench.
struct Folder(pub PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("coffer-bench-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        // The account of Postgres must pass through it.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("bench: {} is left behind: {error}", self.0.display());
        }
    }
}
