//! What a customer has us do with databases and users. These statements are the tenant's content: they go into the binary
//! log, so that a server that follows takes them, too.
//!
//! # Root
//! `root`@`%` has every right on every database of the tenant's, and may make and drop databases. It has no global right but
//! to see their names, for what a global right allows, a fence does not hold: CREATE USER gives our own account another
//! password, RELOAD removes the binary log, PROCESS shows our statements.
//!
//! It does not read `performance_schema` either, which shows them as well.
//!
//! Its rights are a grant on the pattern `%`. The server takes the most specific grant of an account that fits a database, and
//! no other. So a grant on each system database, of the least right that there is, keeps `%` from it. There is no GRANT OPTION:
//! who may hand `%` on hands it on without these.

use crate::domain::operation::{Account, Operation, Refused};
use crate::domain::tenant::{NewDatabase, OWN_SCHEMA, Verifier};
use crate::engines::Error;
use crate::engines::mariadb::accounts::tenant_account;
use crate::engines::mariadb::connection::{Client, name, quoted};
use crate::engines::mariadb::fence::of_a_tenant;
use crate::engines::mariadb::{content, listing};

/// The strongest account of a customer's.
const ROOT: &str = "root";

/// The right on each system database that keeps [`ROOT`]'s pattern from it.
const SYSTEM: [(&str, &str); 4] = [
    ("mysql", "SHOW VIEW"),
    ("sys", "SELECT, EXECUTE"),
    ("performance_schema", "SHOW VIEW"),
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
        Operation::CreateDatabases { databases } => {
            for database in databases {
                if let Some(message) = unknown_collation(client, database).await? {
                    return Ok(Some(Refused::Rejected { message }));
                }
            }
            content::create(client, databases, &[]).await?;
        }
        Operation::DropDatabase { name: database } => drop_database(client, database).await?,
        Operation::CreateUsers { users } => {
            if let Some(message) = users.iter().flat_map(|user| &user.databases).find_map(|it| too_long(it)) {
                return Ok(Some(Refused::Rejected { message }));
            }
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
                // They would go on under the old name, which no later drop finds.
                end_sessions(client, account).await?;
            }
            if let Some(verifier) = verifier {
                change_password(client, renamed, verifier).await?;
            }
        }
        Operation::DropUser { account } => drop_user(client, account).await?,
        Operation::Grant { account, databases } => {
            if let Some(message) = databases.iter().find_map(|it| too_long(it)) {
                return Ok(Some(Refused::Rejected { message }));
            }
            for database in databases {
                grant_all(client, account, &content::pattern(database)).await?;
            }
        }
        Operation::Revoke { account, database } => return revoke(client, account, database).await,
        Operation::EnableRoot { verifier } => enable_root(client, verifier).await?,
        Operation::DisableRoot => drop_user(client, &root()).await?,
        // It changes no content.
        Operation::Configure | Operation::PublishLog { .. } => {}
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
    end_sessions(client, account).await
}

/// Ends the sessions of an account that is not there any more, or has fewer rights. A session shows the name that it came
/// with, and not the host of the account that let it in: with another account of that name, they cannot be told apart, and
/// go on.
async fn end_sessions(client: &mut Client, account: &Account) -> Result<(), Error> {
    let others = format!(
        "SELECT COUNT(*) FROM mysql.global_priv WHERE BINARY User = {} AND Host <> {}",
        quoted(&account.name),
        quoted(&account.host)
    );
    if client.value("look for accounts of a name", &others).await? != "0" {
        return Ok(());
    }
    let sql = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE BINARY USER = {}",
        quoted(&account.name)
    );
    end_each(client, &sql).await
}

/// Ends the sessions whose numbers a question gives.
async fn end_each(client: &mut Client, sql: &str) -> Result<(), Error> {
    for row in client.rows("list sessions to end", sql).await? {
        let Some(id) = row.into_iter().next().flatten().and_then(|id| id.parse::<u64>().ok()) else {
            continue;
        };
        match client.run("end a session", &format!("KILL CONNECTION {id}")).await {
            // It ended by itself.
            Ok(()) | Err(Error::Refused { code: 1094, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Drops a database with the rights on it: who had them would have them again on the next one of its name. Sessions that have
/// locks in it are ended, which one of a tenant's could hold for ever.
async fn drop_database(client: &mut Client, database: &str) -> Result<(), Error> {
    let sql = format!(
        "SELECT DISTINCT p.ID FROM performance_schema.metadata_locks m \
         JOIN performance_schema.threads t ON t.THREAD_ID = m.OWNER_THREAD_ID \
         JOIN information_schema.PROCESSLIST p ON p.ID = t.PROCESSLIST_ID \
         WHERE BINARY m.OBJECT_SCHEMA = {} AND {}",
        quoted(database),
        of_a_tenant("p")
    );
    end_each(client, &sql).await?;
    client.run("drop a database", &format!("DROP DATABASE IF EXISTS {}", name(database))).await?;
    let sql = format!(
        "SELECT User, Host, Db FROM mysql.db WHERE {} AND BINARY Db IN ({}, {})",
        tenant_account(client),
        quoted(database),
        quoted(&content::pattern(database))
    );
    for row in client.rows("list who has rights on a database", &sql).await? {
        let [Some(user), Some(host), Some(pattern)] = row.as_slice() else { continue };
        // A pattern that may mean other databases, too, is not this one's.
        if content::is_exact(pattern) || pattern == database {
            let account = Account { name: user.clone(), host: host.clone() };
            take_away(client, &account, pattern).await?;
        }
    }
    Ok(())
}

/// Takes every right of an account on a pattern away. With the last right its row is gone, so the right to hand them on goes
/// first.
async fn take_away(client: &mut Client, account: &Account, pattern: &str) -> Result<(), Error> {
    for rights in ["GRANT OPTION", "ALL PRIVILEGES"] {
        let sql = format!("REVOKE {rights} ON {}.* FROM {}", name(pattern), account_of(account));
        client.run("take a user's rights on a database", &sql).await?;
    }
    Ok(())
}

/// Why a grant cannot mean this database alone, if it cannot.
fn too_long(database: &str) -> Option<String> {
    (!content::is_exact(&content::pattern(database))).then(|| {
        format!(
            "a right on database {database} would be one on others, too: its name has more than 64 characters where each _, \
             % and \\ counts twice"
        )
    })
}

/// Why a database cannot have the character set and the collation that are asked for, if it cannot.
async fn unknown_collation(client: &mut Client, database: &NewDatabase) -> Result<Option<String>, Error> {
    // The server lists `utf8` under its own name for it.
    let listed = |word: &str| match word.strip_prefix("utf8") {
        Some(rest) if rest.is_empty() || rest.starts_with('_') => quoted(&format!("utf8mb3{rest}")),
        _ => quoted(word),
    };
    let unknown = |what: &str, word: &str| {
        Some(format!("database {} cannot have the {what} {word}, which is unknown", database.name))
    };
    if let Some(word) = &database.character_set {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = {}",
            listed(word)
        );
        if client.value("look for a character set", &sql).await? == "0" {
            return Ok(unknown("character set", word));
        }
    }
    if let Some(word) = &database.collate {
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM information_schema.COLLATIONS WHERE COLLATION_NAME = {listed}) + (SELECT COUNT(*) \
             FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE FULL_COLLATION_NAME = {listed})",
            listed = listed(word)
        );
        if client.value("look for a collation", &sql).await? == "0" {
            return Ok(unknown("collation", word));
        }
    }
    Ok(None)
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
    let is_exact = |pattern: &String| pattern == database || *pattern == content::pattern(database);
    // Before anything is taken away: the request is refused whole.
    if let Some(pattern) = patterns.iter().find(|pattern| !is_exact(pattern)) {
        return Ok(Some(Refused::Rejected {
            message: format!(
                "user {account} has rights on database {database} by the pattern {pattern}, which may mean other \
                 databases, too; revoke that by SQL"
            ),
        }));
    }
    for pattern in &patterns {
        take_away(client, account, pattern).await?;
    }
    // The server keeps a session's rights on the database that it is in.
    end_sessions(client, account).await?;
    Ok(None)
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
