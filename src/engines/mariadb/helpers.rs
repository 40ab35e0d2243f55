//! Accounts of ours that look at what is the tenant's, and write it into a candidate.
//!
//! Whoever reads a tenant's table may in truth read a view that was renamed to its place, and run its functions. To
//! open a view is enough for that: a server works out `ROUND(1.5, f())` while it looks what columns the view has, also
//! for `SHOW` and for a question to `information_schema`, and `f` then has the rights of whoever asks. So it is never
//! our own account: for the time of a look, a copy or a comparison there is another, which can read the tenant's
//! databases and run nothing (no EXECUTE).
//!
//! What loads a copy has no more rights either than tables need: no text of the tenant's could give itself any. What
//! makes the views is the one that can run functions, since no view of one can be made without; it is there only while
//! the functions are empty (see [`definitions`](super::definitions)).
//!
//! # If we die here
//! The account stays until the next try, which makes it anew with another password, or until the follower is
//! forgotten or cut off. It can only be used from its own host, with a password that nobody knows any more.

use secrecy::{ExposeSecret, SecretString};

use crate::domain::tenant::Verifier;
use crate::engines::mariadb::connection::{Client, name, quoted};
use crate::engines::mariadb::content::{self, pattern};
use crate::engines::mariadb::routines;
use crate::engines::{Error, Server};

/// The account that a copy logs in with.
pub const DUMP: &str = "coffer_dump";

/// The account that a copy is loaded with.
pub const LOAD: &str = "coffer_load";

/// The account that a comparison logs in with.
pub const LOOK: &str = "coffer_look";

/// The account that opens definitions.
pub const SHOW: &str = "coffer_show";

/// The account that makes a candidate's views.
pub const MAKE: &str = "coffer_make";

/// All of them.
pub const ALL: [&str; 5] = [DUMP, LOAD, LOOK, SHOW, MAKE];

/// How long one statement of the account that opens definitions may take, in seconds: a function of the tenant's may
/// run in it, with the tenant's rights, and have no end.
const SHOW_SECONDS: u32 = 120;

/// How long a look waits for another one at the same server, in seconds.
const SHOW_WAIT: u32 = 15;

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

/// Connects as the account that can open the tenant's definitions and read about its objects; it can run none. There
/// is one such look at a server at a time. Ended by [`hide`].
pub async fn show(server: &Server, client: &mut Client) -> Result<Client, Error> {
    let lock = format!("SELECT GET_LOCK('{SHOW}', {SHOW_WAIT})");
    if client.value("wait for another look at the server", &lock).await? != "1" {
        return Err(Error::NoAnswer("another look at the server takes long".to_owned()));
    }
    let shown = shown(server, client).await;
    if shown.is_err() {
        let _ = hidden(client).await;
    }
    shown
}

async fn shown(server: &Server, client: &mut Client) -> Result<Client, Error> {
    let databases = content::databases(client).await?;
    let password = make(client, SHOW, "USAGE", "SELECT, SHOW VIEW, TRIGGER, EVENT", &databases).await?;
    // Whoever can read this table is shown routines.
    let table = routines::table(client).await?;
    let grant = format!("GRANT SELECT ON {table} TO {}", account(SHOW));
    client.run("let an account be shown routines", &grant).await?;
    let mut shown = Client::connect_as(server, SHOW, password).await?;
    let end = format!("SET SESSION max_statement_time={SHOW_SECONDS}");
    shown.run("limit what a statement may take", &end).await?;
    Ok(shown)
}

/// Ends a look, and takes its account off.
pub async fn hide(client: &mut Client, shown: Client) -> Result<(), Error> {
    shown.close().await;
    hidden(client).await
}

async fn hidden(client: &mut Client) -> Result<(), Error> {
    drop(client, SHOW).await?;
    client.run("let others look at the server", &format!("DO RELEASE_LOCK('{SHOW}')")).await
}

/// Takes off what a look that was killed left. One that goes on takes its account off itself.
pub async fn clear(client: &mut Client) -> Result<(), Error> {
    let lock = format!("SELECT GET_LOCK('{SHOW}', 0)");
    if client.value("ask whether somebody looks at the server", &lock).await? == "1" {
        hidden(client).await?;
    }
    Ok(())
}

/// Connects as the account that can make views in the tenant's databases on a candidate, whoever their definer is.
pub async fn maker(candidate: &Server, client: &mut Client) -> Result<Client, Error> {
    let databases = content::databases(client).await?;
    let on_all = "BINLOG ADMIN, READ_ONLY ADMIN, SET USER";
    let password = make(client, MAKE, on_all, "SELECT, CREATE VIEW, SHOW VIEW, EXECUTE", &databases).await?;
    let mut maker = Client::connect_as(candidate, MAKE, password).await?;
    maker.without_binlog().await?;
    Ok(maker)
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
