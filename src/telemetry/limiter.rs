//! Log lines that anybody can cause: so many in a while, and how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one line pass in a while.
#[derive(Debug)]
pub struct Limiter {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Limiter {
    /// One line each time that so much has passed.
    pub const fn new(every: Duration) -> Self {
        Self { every, state: Mutex::new(State { last: None, left_out: 0 }) }
    }

    /// Whether a line may be written now: then how many were left out before it.
    pub fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < self.every) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_and_the_others_are_counted() {
        let limiter = Limiter::new(Duration::from_secs(3600));
        assert_eq!(limiter.pass(), Some(0));
        assert_eq!((limiter.pass(), limiter.pass()), (None, None));
        limiter.state.lock().unwrap().last = None;
        assert_eq!(limiter.pass(), Some(2));
    }
}
