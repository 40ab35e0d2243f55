//! The audit: who asked to change something, from where, and with what outcome, in every dialect; refusals, too. Never what is
//! in a body, a query or a header.
//!
//! # Decision
//! An entry is a line of the log at once (target `coffer::audit`), and a row of the store some tenths of a second later: entries
//! are written together, beside the requests, so that a request waits for none; while the store is away they wait for it. A process
//! that is killed loses the rows of its last moment, and not what they tell of: what was changed has its event in the change's own transaction.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::{HttpMessage as _, HttpRequest};
use chrono::Utc;
use tokio::sync::mpsc;

use crate::db::audit::{self, Entry};
use crate::db::{self, Db};
use crate::domain::caller::Caller;

/// How many days rows are kept, unless an operator says otherwise.
pub const DAYS: u32 = 90;

/// Entries that may wait for the store; beyond that they are in the log alone.
const WAITING: usize = 10_000;

/// How many are written together, and how long the first of them waits.
const TOGETHER: usize = 500;
const PAUSE: Duration = Duration::from_millis(200);

/// The pause between two tries while the store is away.
const AWAY: Duration = Duration::from_secs(1);

/// How often what is old is forgotten, and how much of it at a time.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
const FORGET: i64 = 10_000;

/// How long a try to write may take.
const AT_THE_END: Duration = Duration::from_secs(3);

/// Where entries go.
#[derive(Debug)]
pub struct Audit {
    /// How many days rows are kept.
    pub days: u32,
    entries: mpsc::Sender<Entry>,
    taken: Mutex<Option<mpsc::Receiver<Entry>>>,
}

impl Default for Audit {
    fn default() -> Self {
        let (entries, taken) = mpsc::channel(WAITING);
        Self { days: DAYS, entries, taken: Mutex::new(Some(taken)) }
    }
}

/// A caller that a dialect has come to know, with what it asks for: the front notes it when the answer is there.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// The path as the table of routes has it, or the vendor's action.
    pub route: String,
    /// The ids in the path.
    pub target: Vec<String>,
}

impl Asked {
    /// Leaves it with its request.
    pub fn leave(self, request: &HttpRequest) {
        request.extensions_mut().insert(self);
    }
}

impl Audit {
    /// Notes what became of a request that a known caller sent to change something; of any other nothing.
    pub fn note(&self, request: &HttpRequest, dialect: &str, request_id: &str, status: u16) {
        let method = request.method().as_str();
        if matches!(method, "GET" | "HEAD" | "OPTIONS") {
            return;
        }
        self.note_always(request, dialect, request_id, status);
    }

    /// The same where the method does not say whether something was to be changed.
    pub fn note_always(&self, request: &HttpRequest, dialect: &str, request_id: &str, status: u16) {
        let Some(asked) = request.extensions_mut().remove::<Asked>() else { return };
        let entry = Entry {
            at: Utc::now(),
            request_id: request_id.to_owned(),
            project_id: asked.caller.project.as_str().to_owned(),
            role: asked.caller.level.map(|level| format!("{level:?}").to_lowercase()),
            user_id: plain(asked.caller.user),
            address: request.peer_addr().map(|address| address.ip().to_string()),
            dialect: dialect.to_owned(),
            method: request.method().as_str().to_owned(),
            route: plain(asked.route),
            target: asked.target.into_iter().map(plain).collect(),
            status: i32::from(status),
        };
        tracing::info!(
            target: "coffer::audit",
            request_id = entry.request_id,
            project = entry.project_id,
            user = entry.user_id,
            role = entry.role,
            address = entry.address,
            dialect = entry.dialect,
            method = entry.method,
            route = entry.route,
            target = ?entry.target,
            status = entry.status,
            "asked"
        );
        if self.entries.try_send(entry).is_err() {
            tracing::error!(request_id, "what was asked is in the log alone: the store does not take it");
        }
    }

    /// Writes what is noted into the store, and forgets what is old, until `stop` is ready; then what is left.
    pub async fn write(&self, db: Db, stop: impl Future<Output = ()>) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut entries) = taken else { return };
        tokio::pin!(stop);
        let (mut batch, mut forgotten) = (Vec::new(), None::<Instant>);
        let mut pause = PAUSE;
        loop {
            // What the store did not take, since it is away, waits, and what comes waits behind it.
            let is_asked_to_stop = tokio::select! {
                _ = entries.recv_many(&mut batch, TOGETHER), if batch.is_empty() => false,
                () = tokio::time::sleep(FORGET_EVERY), if batch.is_empty() => false,
                () = std::future::ready(()), if !batch.is_empty() => false,
                () = &mut stop => true,
            };
            let is_asked_to_stop = is_asked_to_stop
                || tokio::select! {
                    () = tokio::time::sleep(pause) => false,
                    () = &mut stop => true,
                };
            let saved = tokio::time::timeout(AT_THE_END, save(&db, &mut batch, &mut entries));
            let is_saved = saved.await.unwrap_or_default();
            if is_asked_to_stop {
                if !is_saved {
                    tracing::warn!("the last entries of the audit are in the log alone");
                }
                return;
            }
            pause = if is_saved { PAUSE } else { AWAY };
            if is_saved && forgotten.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
                forgotten = Some(Instant::now());
                let days = self.days;
                let done: Result<_, db::Error> = db.run(move |conn| audit::forget(conn, days, FORGET)).await;
                if let Err(error) = done {
                    tracing::debug!(%error, "what is old was not forgotten");
                }
            }
        }
    }
}

/// Writes a batch and what has come since; false where the store is away, and the batch waits.
async fn save(db: &Db, batch: &mut Vec<Entry>, entries: &mut mpsc::Receiver<Entry>) -> bool {
    while batch.len() < TOGETHER
        && let Ok(entry) = entries.try_recv()
    {
        batch.push(entry);
    }
    if batch.is_empty() {
        return true;
    }
    let together = batch.clone();
    let done: Result<_, db::Error> = db.run(move |conn| audit::record(conn, &together)).await;
    match done {
        Ok(()) => batch.clear(),
        Err(error) if error.is_away() => return false,
        // One that the store does not take keeps no other from it.
        Err(_) => {
            for entry in std::mem::take(batch) {
                let request_id = entry.request_id.clone();
                let done: Result<_, db::Error> =
                    db.run(move |conn| audit::record(conn, std::slice::from_ref(&entry))).await;
                if let Err(error) = done {
                    tracing::error!(%error, request_id, "an entry of the audit is in the log alone");
                }
            }
        }
    }
    true
}

/// A text that the store takes.
fn plain(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
