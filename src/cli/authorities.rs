//! `coffer admin ca`: the authority that signs servers' certificates, and how another one takes its place.

use chrono::SecondsFormat;
use clap::Subcommand;
use serde_json::json;

use crate::commands::authorities::{self, Authority};
use crate::db::Db;
use crate::domain::caller::Caller;
use crate::seal::Sealer;

/// What to do with authorities.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Lists the authorities, and how many instances have a certificate of each
    Show {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Makes another authority and announces it: `ca.pem` has both from now on, and clients fetch it before `sign`
    Rotate,
    /// Has the announced authority sign: the workers renew every instance's certificate, without a restart
    Sign,
    /// Takes the old authority out of `ca.pem`, once no instance has a certificate of it
    Retire,
}

fn print(authority: &Authority, json: bool) {
    let until = authority.until.to_rfc3339_opts(SecondsFormat::Secs, true);
    let Authority { id, state, instances, .. } = authority;
    if json {
        println!("{}", json!({"id": id, "state": state.as_str(), "until": until, "instances": instances}));
    } else {
        println!("{id}  {:<9}  until {until}  {instances} instances", state.as_str());
    }
}

async fn show(db: &Db, json: bool) -> anyhow::Result<()> {
    authorities::list(db).await?.iter().for_each(|authority| print(authority, json));
    Ok(())
}

/// Runs a command.
///
/// # Errors
/// What the command refuses; the store's.
pub async fn run(
    db: &Db,
    caller: &Caller,
    what: What,
    sealer: impl FnOnce() -> anyhow::Result<Sealer>,
) -> anyhow::Result<()> {
    match what {
        What::Show { json } => return show(db, json).await,
        What::Rotate => authorities::announce(db, caller, &sealer()?).await?,
        What::Sign => authorities::sign(db, caller).await?,
        What::Retire => {
            if authorities::retire(db, caller).await? == 0 {
                println!("there is no old authority");
            }
        }
    }
    show(db, false).await
}
