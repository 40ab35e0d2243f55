//! Sessions that are opened before a hold, for what is asked while clients wait.
//!
//! A new session reads the system's tables before its first answer, and plans each question: together more than half of
//! what a hold takes on a small database. So shortly before a hold some sessions are opened, and in those for the
//! [inventory] its questions are prepared and asked once. Nothing but time depends on them: whoever
//! finds none opens one.
//!
//! # If we die here
//! The sessions end with us.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::ids::GenerationId;
use crate::engines::postgresql::connection::{Client, OWN_DATABASE};
use crate::engines::postgresql::content::{in_each, open_databases};
use crate::engines::postgresql::{inventory, sequences};
use crate::engines::{Error, Server};

/// How long they stay: a hold begins within moments, or does not.
const LIFE: Duration = Duration::from_secs(30);

/// For how many of the tenant's databases; the server keeps few connections for us.
const DATABASES: usize = 2;

/// How many sessions for any question stand ready in our own database, and in each of the tenant's.
const IN_OURS: usize = 4;
const IN_THEIRS: usize = 3;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Any question.
    Anything,
    /// The questions of the inventory, which are prepared in it.
    Inventory,
    /// The rows of sequences that were not called, as the account that reads them.
    Sequences,
}

type Key = (GenerationId, String, Use);

/// The sessions of each use, and since when they stand ready.
type Sessions = HashMap<Key, Vec<(Instant, Client)>>;

fn all() -> MutexGuard<'static, Sessions> {
    static ALL: LazyLock<Mutex<Sessions>> = LazyLock::new(Mutex::default);
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a session that stands ready.
pub fn take(server: &Server, database: &str, purpose: Use) -> Option<Client> {
    let key = (server.generation, database.to_owned(), purpose);
    let mut all = all();
    let there = all.get_mut(&key)?;
    let found =
        std::iter::from_fn(|| there.pop()).find(|(since, client)| since.elapsed() < LIFE && client.is_open());
    if there.is_empty() {
        all.remove(&key);
    }
    found.map(|(_, client)| client)
}

/// Ends those of a server that nobody took: they would be in the way of who drops a database.
pub fn end(server: &Server) {
    all().retain(|(generation, ..), _| *generation != server.generation);
}

/// Ends those that nobody took in time.
fn end_the_old() {
    all().retain(|_, clients| {
        clients.retain(|(since, _)| since.elapsed() < LIFE);
        !clients.is_empty()
    });
}

/// Opens sessions in place of those that stand ready already.
///
/// # Errors
/// The server's.
pub async fn open(server: &Server) -> Result<(), Error> {
    end(server);
    let mut tenants = open_databases(&Client::connect(server).await?).await?;
    // One that only reads is given where they stand, and is not asked.
    if !server.settings.read_only {
        sequences::stand_ready(server, &tenants).await?;
    }
    tenants.truncate(DATABASES);
    let times = |database: &str, times| std::iter::repeat_n(database.to_owned(), times);
    let for_anything: Vec<String> =
        times(OWN_DATABASE, IN_OURS).chain(tenants.iter().flat_map(|of| times(of, IN_THEIRS))).collect();
    let opened = in_each(&for_anything, |database| Client::connect_to(server, database)).await?;
    let prepared = inventory::prepare(server, &tenants).await?;
    let uses = for_anything.into_iter().zip(opened).map(|(of, client)| (of, Use::Anything, client));
    put(server, uses.chain(prepared.into_iter().map(|(of, client)| (of, Use::Inventory, client))));
    Ok(())
}

/// Has sessions stand ready: new ones, or some that were taken and will be needed again.
pub fn put(server: &Server, uses: impl Iterator<Item = (String, Use, Client)>) {
    let now = Instant::now();
    {
        let mut all = all();
        for (database, purpose, client) in uses {
            all.entry((server.generation, database, purpose)).or_default().push((now, client));
        }
    }
    tokio::spawn(async {
        tokio::time::sleep(LIFE).await;
        end_the_old();
    });
}
