//! One maker, starter or remover of a generation's place at a time in this process, to the end of its work.
//!
//! Work on files runs on a thread of its own and cannot be called off: a caller whose time-out ends gives up its future,
//! and the thread goes on. Whoever removes the folder then would be passed by a maker that had not begun, and would leave
//! the folder behind. So the thread keeps the turn, and the remover waits for it. Between processes the generation's lock
//! does the same, which is in the folder and guards nothing before that is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::domain::ids::GenerationId;

/// Ends with the last of its clones.
#[derive(Clone, Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] Arc<OwnedMutexGuard<()>>);

/// The turns of all generations.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<GenerationId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the generation's turn.
    pub async fn take(&self, generation: GenerationId) -> Turn {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody has or awaits the turn of those.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(all.entry(generation).or_default())
        };
        Turn(Arc::new(turn.lock_owned().await))
    }
}
