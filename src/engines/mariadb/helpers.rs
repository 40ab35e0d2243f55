//! Accounts of ours that read the tenant's rows, and write them into a candidate.
//!
//! Whoever reads a tenant's table may in truth read a view that was renamed to its place, and run its functions. So
//! it is never our own account: for the time of a copy or a comparison there is another, which can read the tenant's
//! databases, run nothing (no EXECUTE), and show no view (no SHOW VIEW).
//!
//! What loads a copy has no more rights either than tables need: no text of the tenant's could give itself any.
//!
//! # If we die here
//! The account stays until the next try, which makes it anew with another password, or until the follower is
//! forgotten or cut off. It can only be used from its own host, with a password that nobody knows any more.

use secrecy::{ExposeSecret, SecretString};

use crate::domain::tenant::Verifier;
use crate::engines::Error;
use crate::engines::mariadb::connection::{Client, name, quoted};
use crate::engines::mariadb::content::pattern;

/// The account that a copy logs in with.
pub const DUMP: &str = "coffer_dump";

/// The account that a copy is loaded with.
pub const LOAD: &str = "coffer_load";

/// The account that a comparison logs in with.
pub const LOOK: &str = "coffer_look";

/// Makes an account that can read `databases`; gives its password.
pub async fn reader(client: &mut Client, user: &str, databases: &[String]) -> Result<SecretString, Error> {
    make(client, user, "BINLOG MONITOR", "SELECT", databases).await
}

/// Makes the account that the backup program logs in with; gives its password. It takes the server's backup locks and
/// asks which tables are in use, of which it is told only those that it may read: one that it is not told of would be
/// copied in the middle of a write.
pub async fn backup(client: &mut Client) -> Result<SecretString, Error> {
    make(client, DUMP, "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SELECT", "SELECT", &[]).await
}

/// Makes the account that compares `databases`; gives its password. What has no snapshot it reads under a lock.
pub async fn looker(client: &mut Client, databases: &[String]) -> Result<SecretString, Error> {
    make(client, LOOK, "BINLOG MONITOR", "SELECT, LOCK TABLES", databases).await
}

/// Makes the account that can make and fill the tables of `databases` on a candidate, and set its position.
pub async fn loader(client: &mut Client, databases: &[String]) -> Result<SecretString, Error> {
    let on_all = "BINLOG ADMIN, READ_ONLY ADMIN, REPLICATION SLAVE ADMIN";
    let on_each = "SELECT, INSERT, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES";
    make(client, LOAD, on_all, on_each, databases).await
}

async fn make(
    client: &mut Client,
    user: &str,
    on_all: &str,
    on_each: &str,
    databases: &[String],
) -> Result<SecretString, Error> {
    let password = SecretString::from(format!("{:032x}", rand::random::<u128>()));
    let account = account(user);
    client.without_binlog().await?;
    let create = format!(
        "CREATE OR REPLACE USER {account} IDENTIFIED BY PASSWORD {}",
        quoted(Verifier::native(password.expose_secret()).expose())
    );
    client.run("make an account of ours", &create).await?;
    let grant = format!("GRANT {on_all} ON *.* TO {account}");
    client.run("let an account of ours work", &grant).await?;
    for database in databases {
        let grant = format!("GRANT {on_each} ON {}.* TO {account}", name(&pattern(database)));
        client.run("let an account into a database", &grant).await?;
    }
    Ok(password)
}

/// Takes the account off. Happy when there is none.
pub async fn drop(client: &mut Client, user: &str) -> Result<(), Error> {
    client.without_binlog().await?;
    client.run("drop an account of ours", &format!("DROP USER IF EXISTS {}", account(user))).await
}

fn account(user: &str) -> String {
    format!("{}@'localhost'", quoted(user))
}
