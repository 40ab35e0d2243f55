//! The threads that talk to the store: as many as there are connections, with one queue, so that whoever waits for a
//! turn waits in the queue and not at a lock, and a thread that is done goes on with the next without sleeping.
//!
//! # Decision
//! A runtime of our own, of which only the blocking threads are used. The blocking threads of who asks would do, with
//! a semaphore before them; but then each turn wakes one that waits for the semaphore, which wakes a thread: two
//! sleeps and wakes more a request, which on two cores cost as much as the query.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::db::Error;
use crate::telemetry::metrics;

const WAITS: u8 = 0;
const RUNS: u8 = 1;
const GIVEN_UP: u8 = 2;

/// The threads. Clones share them.
#[derive(Clone)]
pub(super) struct Threads(Arc<Owned>);

struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        // In an asynchronous context a runtime may not wait for its threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Threads {
    /// `count` threads, started when they are needed.
    pub(super) fn new(count: usize) -> Self {
        let built = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(count.max(1))
            .thread_name("coffer-store")
            .build();
        // Without drivers nothing can fail; what is refused then is every turn, with an error.
        Self(Arc::new(Owned(built.ok())))
    }

    /// Runs `work` on one of the threads. Who has waited for `patience` for its turn gives up; what has begun is waited
    /// for.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let runtime = self.0.0.as_ref().ok_or(Error::Stopping)?;
        let asked = Instant::now();
        let state = Arc::new(AtomicU8::new(WAITS));
        let seen = Arc::clone(&state);
        let begin = move |to| seen.compare_exchange(WAITS, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        let mut running = runtime.spawn_blocking({
            let begin = begin.clone();
            move || {
                begin(RUNS).then(|| {
                    metrics::store_wait(asked.elapsed());
                    work()
                })
            }
        });
        let done = match tokio::time::timeout(patience, &mut running).await {
            Ok(done) => done,
            Err(_) if begin(GIVEN_UP) => {
                metrics::store_given_up();
                return Err(Error::Saturated);
            }
            Err(_) => running.await,
        };
        done.ok().flatten().ok_or(Error::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn who_waits_too_long_gives_up_and_is_not_run() {
        let threads = Threads::new(1);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let (begin, begun) = mpsc::channel::<()>();
        // On a slow machine it is given up before it begins, and tried again.
        let first = loop {
            let (threads, held, begin) = (threads.clone(), Arc::clone(&held), begin.clone());
            // Its patience is long over when it is done: what has begun is waited for.
            let first = tokio::spawn(async move {
                let work = move || {
                    begin.send(()).unwrap();
                    held.lock().unwrap().recv()
                };
                threads.run(Duration::from_millis(50), work).await
            });
            while !first.is_finished() && begun.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            if !first.is_finished() {
                break first;
            }
        };
        let second = threads.run(Duration::from_millis(20), || ()).await;
        assert!(matches!(second, Err(Error::Saturated)), "{second:?}");
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap().is_ok());
        assert_eq!(threads.run(PATIENCE, || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let threads = Threads::new(1);
        let done = threads.run(PATIENCE, || panic!("as asked")).await;
        assert!(matches!(done, Err::<(), _>(Error::Stopping)));
        assert_eq!(threads.run(PATIENCE, || 7).await.unwrap(), 7);
    }
}
