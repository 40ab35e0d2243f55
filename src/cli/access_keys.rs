//! `coffer admin access-key`, and the file in which `coffer dev` gives each of its clouds a key.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use crate::auth::dev::DevIdentity;
use crate::cli::private::write_private;
use crate::commands::Commands;
use crate::commands::access_keys::{self, Account};
use crate::db::Db;
use crate::domain::access_key::AccessKey;
use crate::domain::ids::ProjectId;
use crate::seal::Sealer;

/// The file's name in the state folder.
const FILE: &str = "access-keys.json";

/// What to do with access keys.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Makes a key, and prints its secret: this once
    Create {
        /// The project's id
        #[arg(long)]
        project: String,
        /// The user's id, which stands in what is recorded of its requests
        #[arg(long)]
        user: String,
        /// A role that the user has there: reader, member or admin; repeatable
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
    },
    /// Lists every key, without its secret
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Refuses the key's requests from now on
    Disable {
        /// The access key
        key: String,
    },
    /// Takes the key's requests again
    Enable {
        /// The access key
        key: String,
    },
    /// Gives the key another secret, and prints it: this once
    Rotate {
        /// The access key
        key: String,
        /// For how many hours the secret that it has holds, too; a week at most
        #[arg(long, default_value_t = 0)]
        overlap_hours: u32,
    },
}

/// The sealer of `key_file`, else of `beside`.
///
/// # Errors
/// Neither is given, or there.
pub fn sealer(key_file: Option<PathBuf>, beside: Option<PathBuf>) -> anyhow::Result<Sealer> {
    let path = key_file.or(beside).context("give --key-file, the key that seals passwords")?;
    // A key that only we know would lock the secret out.
    if !path.exists() {
        bail!("the key file {} is not there", path.display());
    }
    Ok(Sealer::open(&path)?)
}

/// Runs a command; the secrets are sealed by the key of `key_file`, else of `beside`.
///
/// # Errors
/// What the command refuses; the store's.
pub async fn run(
    db: &Db,
    what: What,
    key_file: Option<PathBuf>,
    beside: Option<PathBuf>,
) -> anyhow::Result<()> {
    let sealer = || sealer(key_file, beside);
    match what {
        What::Create { project, user, roles } => {
            let project = ProjectId::parse(&project).with_context(|| {
                format!("{project} is no project id: expected 1 to 64 of A-Z a-z 0-9 _ -")
            })?;
            let made = access_keys::create(db, &sealer()?, Account { user, project, roles }).await?;
            print_secret(&made);
        }
        What::List { json } => {
            for key in access_keys::list(db).await? {
                if json {
                    println!("{}", as_json(&key));
                } else {
                    print(&key);
                }
            }
        }
        What::Disable { key } => print(&access_keys::enable(db, &key, false).await?),
        What::Enable { key } => print(&access_keys::enable(db, &key, true).await?),
        What::Rotate { key, overlap_hours } => {
            let made = access_keys::rotate(db, &sealer()?, &key, overlap_hours).await?;
            print_secret(&made);
        }
    }
    Ok(())
}

/// A key without its secret.
fn as_json(key: &AccessKey) -> Value {
    let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    json!({
        "id": key.id, "project": key.project.as_str(), "user": key.user, "roles": key.roles, "enabled": key.enabled,
        "made": moment(key.created_at), "old_secret_until": key.old_until.map(moment),
    })
}

fn print(key: &AccessKey) {
    let old = key.old_until.map_or_else(String::new, |until| {
        format!(
            "  its secret before this one holds until {}",
            until.to_rfc3339_opts(SecondsFormat::Secs, true)
        )
    });
    println!(
        "{}  {:<8}  project {}  user {}  {}  made {}{old}",
        key.id,
        if key.enabled { "enabled" } else { "disabled" },
        key.project.as_str(),
        key.user,
        key.roles.join(","),
        key.created_at.to_rfc3339_opts(SecondsFormat::Secs, true),
    );
}

fn print_secret((key, secret): &(AccessKey, SecretString)) {
    print(key);
    println!("secret {}", secret.expose_secret());
    eprintln!("the secret is shown this once");
}

/// Writes the keys of the built-in identity's clouds into the state folder, 0600: `{"<cloud>": {"access_key",
/// "secret_key", "project_id"}}`. They are made at the first start. A disabled one is left out.
///
/// # Errors
/// The store's; the file cannot be written.
pub async fn write(state: &Path, commands: &Commands, identity: &DevIdentity) -> anyhow::Result<()> {
    let mut clouds = Map::new();
    for user in identity.users() {
        let project = ProjectId::parse(&user.project).context("a project's id")?;
        let account = Account { user: user.id.clone(), project, roles: user.roles.clone() };
        let kept = access_keys::built_in(&commands.db, &commands.sealer, account).await;
        if let Some((key, secret)) = kept.with_context(|| format!("the access key of {}", user.cloud))? {
            let entry: Value = json!({
                "access_key": key.id, "secret_key": secret.expose_secret(), "project_id": key.project.as_str(),
            });
            clouds.insert(user.cloud.clone(), entry);
        }
    }
    write_private(&state.join(FILE), &(serde_json::to_string_pretty(&clouds)? + "\n"))
}
