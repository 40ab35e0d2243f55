//! Whether the service is in maintenance, as this process knows it: asked from the store once a second at most, by the
//! first request that finds it older. While the store is away what was last seen holds.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::db::maintenance::{self, Maintenance};
use crate::db::{self, Db};

/// How old what was seen may be.
const FRESH: Duration = Duration::from_secs(1);

/// How old it may be while another request asks already.
const BEARABLE: Duration = Duration::from_secs(2);

/// How long an answer of the store is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen, and when.
#[derive(Debug, Default)]
pub struct Watch {
    seen: RwLock<Option<(Instant, Maintenance)>>,
    asking: Mutex<()>,
}

impl Watch {
    /// Whether the service is in maintenance.
    pub async fn now(&self, db: &Db) -> Maintenance {
        let (_asking, before) = match self.seen() {
            Some((at, state)) if at.elapsed() < FRESH => return state,
            Some((at, state)) => match self.asking.try_lock() {
                Ok(asking) => (asking, Some(at)),
                Err(_) if at.elapsed() < BEARABLE => return state,
                Err(_) => (self.asking.lock().await, Some(at)),
            },
            None => (self.asking.lock().await, None),
        };
        // Another may have asked while we waited for our turn.
        if let Some((at, state)) = self.seen().filter(|(at, _)| Some(*at) != before)
            && at.elapsed() < BEARABLE
        {
            return state;
        }
        let read: Result<Result<_, db::Error>, _> =
            tokio::time::timeout(PATIENCE, db.run(maintenance::read)).await;
        let state = match read {
            Ok(Ok(state)) => state,
            Ok(Err(_)) | Err(_) => self.seen().map_or(Maintenance::OFF, |(_, state)| state),
        };
        self.tell(state);
        state
    }

    /// Tells what was just written: this process need not ask for it.
    pub fn tell(&self, state: Maintenance) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), state));
    }

    fn seen(&self) -> Option<(Instant, Maintenance)> {
        *self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }
}
