//! Accounts of ours that look at what is the tenant's, and write it into a candidate.
//!
//! Whoever reads a tenant's table may in truth read a view that was renamed to its place, and run its functions. To
//! open a view is enough for that: a server works out `ROUND(1.5, f())` while it looks what columns the view has, also
//! for `SHOW` and for a question to `information_schema`, and `f` then has the rights of whoever asks. So it is never
//! our own account: for the time of a look, a copy or a comparison there is another, which can read the tenant's
//! databases and run nothing (no EXECUTE).
//!
//! What makes tables has no more rights either than tables need: no text of the tenant's could give itself any. What
//! makes the views is the one that can run functions, since no view of one can be made without; it is there only while
//! the functions are empty (see [`definitions`](super::definitions)).
//!
//! # If we die here
//! The account stays until the next use of any, which takes off those that nobody is logged in with, or until the
//! follower is forgotten or cut off. It can only be used from its own host, with a password that nobody knows any more.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use crate::domain::ids::GenerationId;
use crate::domain::tenant::Verifier;
use crate::engines::mariadb::connection::{Client, Row, name, quoted};
use crate::engines::mariadb::content::{self, pattern};
use crate::engines::mariadb::routines;
use crate::engines::{Error, Server};

/// What an account of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A copy logs in with it.
    Dump,
    /// It makes tables on an empty server, and mends them on a candidate.
    Load,
    /// A comparison logs in with it.
    Look,
    /// It opens definitions.
    Show,
    /// It makes views on an empty server.
    Make,
}

impl Use {
    const fn word(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::Load => "load",
            Self::Look => "look",
            Self::Show => "show",
            Self::Make => "make",
        }
    }
}

/// An account of ours, for the time of one use. Its name is its own, so that uses never wait for each other, and a
/// lock of the server's by a name is not needed: any tenant could hold that one.
pub struct Helper {
    user: String,
    password: SecretString,
}

impl Helper {
    fn of(what: Use) -> Self {
        let user = format!("coffer_{}_{:016x}", what.word(), rand::random::<u64>());
        used().insert(user.clone());
        Self { user, password: SecretString::from(format!("{:032x}", rand::random::<u128>())) }
    }

    /// Its name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its password.
    pub const fn password(&self) -> &SecretString {
        &self.password
    }

    /// Connects as this account.
    pub async fn connect(&self, server: &Server) -> Result<Client, Error> {
        Client::connect_as(server, &self.user, self.password.clone()).await
    }

    /// Takes the account off.
    pub async fn drop(self, client: &mut Client) -> Result<(), Error> {
        drop_user(client, &self.user).await
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        used().remove(&self.user);
    }
}

/// The accounts that this process is about to log in with, or does: no other use takes them off.
fn used() -> MutexGuard<'static, HashSet<String>> {
    static USED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    USED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The condition that holds for the name of such an account, of a column that names one. Byte by byte: to most
/// collations another name is the same. An older service left names without a number.
pub fn named(column: &str) -> String {
    format!("BINARY {column} REGEXP BINARY '^coffer_(dump|load|look|show|make)(_[0-9a-f]{{16}})?\\\\z'")
}

/// How long one statement of the account that opens definitions may take, in seconds: a function of the tenant's may
/// run in it, with the tenant's rights, and have no end.
const SHOW_SECONDS: u32 = 120;

/// Makes the account that the backup program logs in with. It takes the server's backup locks and
/// asks which tables are in use, of which it is told only those that it may read: one that it is not told of would be
/// copied in the middle of a write.
pub async fn backup(client: &mut Client) -> Result<Helper, Error> {
    make(client, Use::Dump, "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SELECT", "SELECT", &[]).await
}

/// Makes the account that compares `databases`. What has no snapshot it reads under a lock.
pub async fn inspector(client: &mut Client, databases: &[String]) -> Result<Helper, Error> {
    make(client, Use::Look, "BINLOG MONITOR", "SELECT, LOCK TABLES", databases).await
}

/// Makes the account that can make, check and mend the tables of `databases` on a candidate.
pub async fn loader(client: &mut Client, databases: &[String]) -> Result<Helper, Error> {
    let on_all = "BINLOG ADMIN, READ_ONLY ADMIN";
    let on_each = "SELECT, INSERT, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES";
    make(client, Use::Load, on_all, on_each, databases).await
}

/// Connects as an account that can open the tenant's definitions and read about its objects; it can run none. Ended by
/// [`hide`].
pub async fn show(server: &Server, client: &mut Client) -> Result<Client, Error> {
    let databases = content::databases(client).await?;
    let helper = make(client, Use::Show, "USAGE", "SELECT, SHOW VIEW, TRIGGER, EVENT", &databases).await?;
    let shown = shown(server, client, &helper).await;
    if shown.is_err() {
        let _ = helper.drop(client).await;
    }
    shown
}

async fn shown(server: &Server, client: &mut Client, helper: &Helper) -> Result<Client, Error> {
    // Whoever can read this table is shown routines.
    let table = routines::table(client).await?;
    let grant = format!("GRANT SELECT ON {table} TO {}", account(&helper.user));
    client.run("let an account be shown routines", &grant).await?;
    let mut shown = helper.connect(server).await?;
    let end = format!("SET SESSION max_statement_time={SHOW_SECONDS}");
    shown.run("limit what a statement may take", &end).await?;
    Ok(shown)
}

/// An open connection of [`show`], and the databases that it can read.
struct Kept {
    databases: Vec<String>,
    shown: Client,
}

fn kept() -> MutexGuard<'static, HashMap<GenerationId, Kept>> {
    static KEPT: LazyLock<Mutex<HashMap<GenerationId, Kept>>> = LazyLock::new(Mutex::default);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens ahead what [`show_at_once`] gives: to make the account and log in takes time that clients would wait for.
pub async fn keep(server: &Server, client: &mut Client) -> Result<(), Error> {
    if kept().contains_key(&server.generation) {
        return Ok(());
    }
    let databases = content::databases(client).await?;
    let shown = show(server, client).await?;
    kept().insert(server.generation, Kept { databases, shown });
    Ok(())
}

/// Connects as [`show`] does, or gives what was opened ahead where it still stands. Ended by [`hide`].
pub async fn show_at_once(server: &Server, client: &mut Client) -> Result<Client, Error> {
    let ahead = kept().remove(&server.generation);
    let Some(Kept { databases, mut shown }) = ahead else { return show(server, client).await };
    let stands = content::databases(client).await? == databases
        && shown.run("see whether a connection stands", "SELECT 1").await.is_ok();
    if stands {
        return Ok(shown);
    }
    hide(client, shown).await?;
    show(server, client).await
}

/// Ends what was opened ahead and not used.
pub async fn let_go(generation: GenerationId, client: &mut Client) -> Result<(), Error> {
    let ahead = kept().remove(&generation);
    match ahead {
        Some(Kept { shown, .. }) => hide(client, shown).await,
        None => Ok(()),
    }
}

/// Ends a look, and takes its account off.
pub async fn hide(client: &mut Client, shown: Client) -> Result<(), Error> {
    let user = shown.user().to_owned();
    shown.close().await;
    drop_user(client, &user).await
}

/// Takes off what uses that were killed left: each account that nobody is logged in with, nor about to.
pub async fn sweep(client: &mut Client) -> Result<(), Error> {
    let accounts =
        format!("SELECT User FROM mysql.global_priv WHERE BINARY Host='localhost' AND {}", named("User"));
    let sessions = format!(
        "SELECT USER FROM information_schema.PROCESSLIST WHERE HOST='localhost' AND {}",
        named("USER")
    );
    let mut left = first_values(client.rows("look for accounts of ours", &accounts).await?);
    // In this order: a use is noted here until it is logged in.
    left.retain(|user| !used().contains(user));
    if left.is_empty() {
        return Ok(());
    }
    let logged_in = first_values(client.rows("look who is logged in", &sessions).await?);
    for user in left.iter().filter(|user| !logged_in.contains(user)) {
        drop_user(client, user).await?;
    }
    Ok(())
}

fn first_values(rows: Vec<Row>) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

/// Connects as the account that can make views in the tenant's databases on an empty server, whoever their definer is;
/// gives it, too, to be dropped.
pub async fn maker(candidate: &Server, client: &mut Client) -> Result<(Helper, Client), Error> {
    let databases = content::databases(client).await?;
    let on_all = "BINLOG ADMIN, READ_ONLY ADMIN, SET USER";
    let on_each = "SELECT, CREATE VIEW, SHOW VIEW, EXECUTE";
    let helper = make(client, Use::Make, on_all, on_each, &databases).await?;
    let mut maker = helper.connect(candidate).await?;
    maker.without_binlog().await?;
    Ok((helper, maker))
}

async fn make(
    client: &mut Client,
    what: Use,
    on_all: &str,
    on_each: &str,
    databases: &[String],
) -> Result<Helper, Error> {
    client.without_binlog().await?;
    sweep(client).await?;
    let helper = Helper::of(what);
    let account = account(&helper.user);
    let create = format!(
        "CREATE USER {account} IDENTIFIED BY PASSWORD {}",
        quoted(Verifier::native(helper.password.expose_secret()).expose())
    );
    client.run("make an account of ours", &create).await?;
    let grant = format!("GRANT {on_all} ON *.* TO {account}");
    client.run("let an account of ours work", &grant).await?;
    for database in databases {
        let grant = format!("GRANT {on_each} ON {}.* TO {account}", name(&pattern(database)));
        client.run("let an account into a database", &grant).await?;
    }
    Ok(helper)
}

async fn drop_user(client: &mut Client, user: &str) -> Result<(), Error> {
    client.without_binlog().await?;
    client.run("drop an account of ours", &format!("DROP USER IF EXISTS {}", account(user))).await
}

fn account(user: &str) -> String {
    format!("{}@'localhost'", quoted(user))
}
