//! The demo's writers: each transfers money in transactions of several statements, and remembers what was
//! acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use secrecy::SecretString;
use tokio::task::JoinSet;

use super::shop::{ACCOUNTS, opts};

/// What the writers know.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Transactions whose COMMIT returned.
    pub acknowledged: u64,
    /// Their tokens.
    pub tokens: Vec<String>,
    /// Tokens of transactions whose COMMIT was sent and not answered.
    pub in_doubt: Vec<String>,
    /// Errors of any kind.
    pub errors: u64,
    /// The longest time between two acknowledged transactions of one writer.
    pub longest_gap: Duration,
}

/// What a writer does between two transactions: as a busy application, not as a benchmark that leaves a replica no
/// time to catch up.
const PAUSE: Duration = Duration::from_millis(4);

/// Running writers.
pub struct Writers {
    shared: Arc<Shared>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw_gap(&self, gap: Duration) {
        let mut tally = self.tally();
        tally.longest_gap = tally.longest_gap.max(gap);
    }

    fn hand_in(&self, tokens: &mut Vec<String>, in_doubt: &mut Vec<String>) {
        let mut tally = self.tally();
        tally.acknowledged += tokens.len() as u64;
        tally.tokens.append(tokens);
        tally.in_doubt.append(in_doubt);
    }
}

impl Writers {
    /// Starts `count` writers on `address`.
    pub fn start(address: &str, database: &str, user: &str, password: &SecretString, count: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let opts = opts(address, database, user, password);
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { write(&shared, opts.into(), number).await });
        }
        Self { shared, tasks: tokio::sync::Mutex::new(tasks) }
    }

    /// What is known so far; the tokens only after [`Writers::stop`].
    pub fn tally(&self) -> Tally {
        let tally = self.shared.tally();
        Tally {
            acknowledged: self.shared.acknowledged.load(Ordering::Relaxed),
            errors: tally.errors,
            longest_gap: tally.longest_gap,
            ..Tally::default()
        }
    }

    /// Waits until the tally is as asked.
    pub async fn until(&self, fits: impl Fn(&Tally) -> bool, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while !fits(&self.tally()) {
            ensure!(Instant::now() < deadline, "the writers make no progress: {:?}", self.tally());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops the writers and gives the whole tally.
    pub async fn stop(&self) -> anyhow::Result<Tally> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut tasks = self.tasks.lock().await;
        while let Some(done) = tasks.join_next().await {
            done?;
        }
        Ok(self.shared.tally().clone())
    }
}

async fn write(shared: &Shared, opts: mysql_async::Opts, number: u16) {
    let mut conn: Option<Conn> = None;
    let mut last = Instant::now();
    let (mut tokens, mut in_doubt) = (Vec::new(), Vec::new());
    let mut round = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        let mut live = match conn.take() {
            Some(live) => live,
            None => match Conn::new(opts.clone()).await {
                Ok(live) => live,
                Err(_) => {
                    shared.tally().errors += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        round += 1;
        let token = uuid::Uuid::new_v4().simple().to_string();
        match transfer(&mut live, &token, number, round).await {
            Outcome::Acknowledged => {
                tokens.push(token);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                let gap = last.elapsed();
                last = Instant::now();
                shared.saw_gap(gap);
                tokio::time::sleep(PAUSE).await;
                conn = Some(live);
            }
            Outcome::NotSent => shared.tally().errors += 1,
            Outcome::InDoubt => {
                in_doubt.push(token);
                shared.tally().errors += 1;
            }
        }
    }
    shared.hand_in(&mut tokens, &mut in_doubt);
    if let Some(conn) = conn {
        // The server sees the end of the connection either way.
        let _ = conn.disconnect().await;
    }
}

enum Outcome {
    Acknowledged,
    NotSent,
    InDoubt,
}

async fn transfer(conn: &mut Conn, token: &str, number: u16, round: u64) -> Outcome {
    let from = (u64::from(number) * 7 + round) % ACCOUNTS;
    let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
    let amount = 1 + i64::try_from(round % 50).unwrap_or(0);
    // In one order, so that two transfers never wait for each other.
    let (low, high) = if from < to { (from, to) } else { (to, from) };
    let change = |account: u64| if account == from { -amount } else { amount };
    let work = async {
        conn.query_drop("start transaction").await?;
        for account in [low, high] {
            conn.exec_drop(
                "update accounts set balance = balance + ? where id = ?",
                (change(account), account),
            )
            .await?;
        }
        conn.exec_drop("insert into transfers values (?, ?, ?, ?, ?)", (token, number, from, to, amount))
            .await?;
        if round.is_multiple_of(5) {
            conn.exec_drop("update items set price = price + 0.01 where id = ?", (1 + round % 1_000,))
                .await?;
        }
        if round.is_multiple_of(11) {
            conn.exec_drop("delete from audit where id = ?", (round,)).await?;
        }
        Ok::<(), mysql_async::Error>(())
    };
    if work.await.is_err() {
        return Outcome::NotSent;
    }
    match conn.query_drop("commit").await {
        Ok(()) => Outcome::Acknowledged,
        Err(_) => Outcome::InDoubt,
    }
}
