//! `coffer admin flavor`: what instances can be given.

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::db::{self, Db, catalogue};
use crate::domain::flavor::Flavor;
use crate::domain::ids::FlavorId;

/// The least memory with which both engines start and take connections, in MB; and the most.
const LEAST_MB: i64 = 256;
const MOST_MB: i64 = 4 << 20;

/// What to do with flavors.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Lists every flavor
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Adds a flavor
    Add {
        /// Its id: letters, digits, `.`, `_` and `-`, 64 at most; digits where gophercloud's clients shall read it
        id: String,
        /// Its name: 1 to 100 characters
        name: String,
        /// Memory in MB
        #[arg(long, value_parser = clap::value_parser!(i64).range(LEAST_MB..=MOST_MB))]
        ram: i64,
        /// Virtual processors
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=1_024))]
        vcpus: i64,
    },
    /// Removes a flavor that no instance has, or had
    Remove {
        /// Its id
        id: String,
    },
}

fn print(flavor: &Flavor, json: bool) {
    let Flavor { id, name, ram_mb, vcpus } = flavor;
    if json {
        println!("{}", serde_json::json!({"id": id.0, "name": name, "ram": ram_mb, "vcpus": vcpus}));
    } else {
        println!("{:<12} {:>8} MB  {:>3} vcpus  {name}", id.0, ram_mb, vcpus);
    }
}

/// Runs a command.
///
/// # Errors
/// What is wrong with a value; the store's.
pub async fn run(db: &Db, what: What) -> anyhow::Result<()> {
    match what {
        What::List { json } => {
            let all: Result<_, db::Error> = db.run(catalogue::flavors).await;
            all?.iter().for_each(|flavor| print(flavor, json));
        }
        What::Add { id, name, ram, vcpus } => {
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if id.is_empty() || id.len() > 64 || !id.chars().all(fits) {
                bail!("{id:?} is no flavor's id: expected letters, digits, `.`, `_` and `-`, 64 at most");
            }
            let is_name = |name: &str| {
                (1..=100).contains(&name.chars().count())
                    && name.chars().any(char::is_alphanumeric)
                    && !name.chars().any(char::is_control)
            };
            if !is_name(&name) {
                bail!("{name:?} is no flavor's name: expected 1 to 100 characters with a letter or digit");
            }
            let flavor = Flavor {
                id: FlavorId(id),
                name,
                ram_mb: i32::try_from(ram).context("--ram")?,
                vcpus: i32::try_from(vcpus).context("--vcpus")?,
            };
            let new = flavor.clone();
            let added: Result<bool, db::Error> =
                db.transact(move |conn| catalogue::add_flavor(conn, &new)).await;
            if !added? {
                bail!("there is a flavor with the id {} or the name {:?} already", flavor.id, flavor.name);
            }
            print(&flavor, false);
        }
        What::Remove { id } => {
            let wanted = FlavorId(id.clone());
            let removed: Result<Option<bool>, db::Error> =
                db.transact(move |conn| catalogue::remove_flavor(conn, &wanted)).await;
            match removed? {
                Some(true) => println!("{id} is removed"),
                Some(false) => {
                    bail!("instances have the flavor {id}, or had it before they were deleted: it stays")
                }
                None => bail!("there is no flavor with the id {id}"),
            }
        }
    }
    Ok(())
}
