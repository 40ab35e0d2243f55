//! What a customer has us do with databases and users. These statements are the tenant's content: they go into the binary
//! log, so that a server that follows takes them, too.
//!
//! # Root
//! `root`@`%` has every right on every database of the tenant's, and may make and drop databases. It has no global right but
//! to see their names, for what a global right allows, a fence does not hold: CREATE USER gives our own account another
//! password, RELOAD removes the binary log, PROCESS shows our statements.
//!
//! Its rights are a grant on the pattern `%`. The server takes the most specific grant of an account that fits a database, and
//! no other. So a grant on each system database, of the least right that there is, keeps `%` from it. There is no GRANT OPTION:
//! who may hand `%` on hands it on without these.

use crate::domain::operation::{Account, Operation, Refused};
use crate::domain::tenant::{OWN_SCHEMA, Verifier};
use crate::engines::Error;
use crate::engines::mariadb::connection::{Client, name, quoted};
use crate::engines::mariadb::{content, listing};

/// The strongest account of a customer's.
const ROOT: &str = "root";

/// The right on each system database that keeps [`ROOT`]'s pattern from it.
const SYSTEM: [(&str, &str); 4] = [
    ("mysql", "SHOW VIEW"),
    ("sys", "SELECT, EXECUTE"),
    ("performance_schema", "SELECT"),
    (OWN_SCHEMA, "SHOW VIEW"),
];

fn account_of(account: &Account) -> String {
    format!("{}@{}", quoted(&account.name), quoted(&account.host))
}

fn root() -> Account {
    Account { name: ROOT.to_owned(), host: "%".to_owned() }
}

async fn is_there(client: &mut Client, account: &Account) -> Result<bool, Error> {
    let sql = format!(
        "SELECT COUNT(*) FROM mysql.global_priv WHERE BINARY User = {} AND Host = {}",
        quoted(&account.name),
        quoted(&account.host)
    );
    Ok(client.value("look for a user", &sql).await? != "0")
}

/// Whether there is a `root`.
pub async fn has_root(client: &mut Client) -> Result<bool, Error> {
    is_there(client, &root()).await
}

/// Does an operation; what is done already is left alone.
pub async fn operate(client: &mut Client, operation: &Operation) -> Result<Option<Refused>, Error> {
    match operation {
        Operation::CreateDatabases { databases } => content::create(client, databases, &[]).await?,
        Operation::DropDatabase { name: database } => {
            let drop = format!("DROP DATABASE IF EXISTS {}", name(database));
            client.run("drop a database", &drop).await?;
        }
        Operation::CreateUsers { users } => {
            content::create(client, &[], users).await?;
            for user in users {
                // It may be there with another password since this was found possible.
                change_password(client, &Account::from(user), &user.verifier).await?;
            }
        }
        Operation::ChangePasswords { users } => {
            for (account, verifier) in users {
                change_password(client, account, verifier).await?;
            }
        }
        Operation::AlterUser { account, renamed, verifier } => {
            if account != renamed && is_there(client, account).await? {
                let rename = format!("RENAME USER {} TO {}", account_of(account), account_of(renamed));
                client.run("rename a user", &rename).await?;
            }
            if let Some(verifier) = verifier {
                change_password(client, renamed, verifier).await?;
            }
        }
        Operation::DropUser { account } => drop_user(client, account).await?,
        Operation::Grant { account, databases } => {
            for database in databases {
                grant_all(client, account, &content::pattern(database)).await?;
            }
        }
        Operation::Revoke { account, database } => return revoke(client, account, database).await,
        Operation::EnableRoot { verifier } => enable_root(client, verifier).await?,
        Operation::DisableRoot => drop_user(client, &root()).await?,
    }
    Ok(None)
}

async fn change_password(client: &mut Client, account: &Account, verifier: &Verifier) -> Result<(), Error> {
    let sql =
        format!("ALTER USER {} IDENTIFIED BY PASSWORD {}", account_of(account), quoted(verifier.expose()));
    client.run("change a user's password", &sql).await
}

async fn grant_all(client: &mut Client, account: &Account, pattern: &str) -> Result<(), Error> {
    let sql = format!("GRANT ALL PRIVILEGES ON {}.* TO {}", name(pattern), account_of(account));
    client.run("grant a user a database", &sql).await
}

/// Drops an account, and ends its sessions: the server lets them go on.
async fn drop_user(client: &mut Client, account: &Account) -> Result<(), Error> {
    client.run("drop a user", &format!("DROP USER IF EXISTS {}", account_of(account))).await?;
    // A session shows the name that it came with, and not the host of the account that let it in. With another account of
    // that name, they cannot be told apart.
    let others =
        format!("SELECT COUNT(*) FROM mysql.global_priv WHERE BINARY User = {}", quoted(&account.name));
    if client.value("look for accounts of a name", &others).await? != "0" {
        return Ok(());
    }
    let sql = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE BINARY USER = {}",
        quoted(&account.name)
    );
    for row in client.rows("list a user's sessions", &sql).await? {
        let Some(id) = row.into_iter().next().flatten().and_then(|id| id.parse::<u64>().ok()) else {
            continue;
        };
        match client.run("end a user's session", &format!("KILL CONNECTION {id}")).await {
            // It ended by itself.
            Ok(()) | Err(Error::Refused { code: 1094, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes away what an account was granted on a database as a whole. What it was granted by a pattern that means other
/// databases, too, stays.
async fn revoke(client: &mut Client, account: &Account, database: &str) -> Result<Option<Refused>, Error> {
    let sql = format!(
        "SELECT Db FROM mysql.db WHERE BINARY User = {} AND Host = {}",
        quoted(&account.name),
        quoted(&account.host)
    );
    let patterns: Vec<String> = client
        .rows("list a user's databases", &sql)
        .await?
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .filter(|pattern| listing::meant(pattern, database))
        .collect();
    let mut wider = None;
    for pattern in &patterns {
        if pattern == database || *pattern == content::pattern(database) {
            // With the last right its row is gone, so the right to hand them on goes first.
            for rights in ["GRANT OPTION", "ALL PRIVILEGES"] {
                let sql = format!("REVOKE {rights} ON {}.* FROM {}", name(pattern), account_of(account));
                client.run("take a user's rights on a database", &sql).await?;
            }
        } else {
            wider = Some(pattern);
        }
    }
    Ok(wider.map(|pattern| Refused::Rejected {
        message: format!(
            "user {account} has rights on database {database} by the pattern {pattern}, which may mean other databases, \
             too; revoke that by SQL"
        ),
    }))
}

async fn enable_root(client: &mut Client, verifier: &Verifier) -> Result<(), Error> {
    let root = root();
    let account = account_of(&root);
    // What keeps it from the system's databases comes first: no moment has the pattern alone.
    let create =
        format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY PASSWORD {}", quoted(verifier.expose()));
    client.run("make root", &create).await?;
    for (database, right) in SYSTEM {
        let grant = format!("GRANT {right} ON {}.* TO {account}", name(&content::pattern(database)));
        client.run("keep root from the system's databases", &grant).await?;
    }
    client.run("grant root the databases", &format!("GRANT SHOW DATABASES ON *.* TO {account}")).await?;
    grant_all(client, &root, "%").await?;
    change_password(client, &root, verifier).await
}
