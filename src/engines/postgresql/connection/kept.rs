//! Sessions that stand ready, until somebody takes them or their time is over: nothing but time depends on them.
//!
//! # If we die here
//! The sessions end with us.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::ids::GenerationId;
use crate::engines::Server;
use crate::engines::postgresql::connection::Client;

/// How long they stay: a hold begins within moments, or does not.
const LIFE: Duration = Duration::from_secs(30);

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
