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

/// Where a writer connects, and in which protocol.
#[derive(Clone)]
pub enum Protocol {
    /// MariaDB's and MySQL's.
    Mysql(Box<mysql_async::Opts>),
    /// PostgreSQL's.
    Postgresql(Box<tokio_postgres::Config>),
}

/// An open connection.
enum Till {
    Mysql(Conn),
    Postgresql(tokio_postgres::Client),
}

impl Protocol {
    /// A connection, or an error of any kind.
    async fn open(&self) -> Result<Till, ()> {
        match self {
            Self::Mysql(opts) => Conn::new((**opts).clone()).await.map(Till::Mysql).map_err(drop),
            Self::Postgresql(config) => {
                let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(drop)?;
                tokio::spawn(connection);
                Ok(Till::Postgresql(client))
            }
        }
    }
}

impl Writers {
    /// Starts `count` writers on the MariaDB at `address`.
    pub fn start(address: &str, database: &str, user: &str, password: &SecretString, count: u16) -> Self {
        let opts = opts(address, database, user, password);
        Self::start_at(&Protocol::Mysql(Box::new(opts.into())), count)
    }

    /// Starts `count` writers.
    pub fn start_at(door: &Protocol, count: u16) -> Self {
        Self::start_pausing(door, count, PAUSE)
    }

    /// The same with another pause between two transactions of each.
    pub fn start_pausing(door: &Protocol, count: u16, pause: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let (door, shared) = (door.clone(), Arc::clone(&shared));
            tasks.spawn(async move { write(&shared, &door, number, pause).await });
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

async fn write(shared: &Shared, door: &Protocol, number: u16, pause: Duration) {
    let mut conn: Option<Till> = None;
    let mut last = Instant::now();
    let (mut tokens, mut in_doubt) = (Vec::new(), Vec::new());
    let mut round = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        let mut live = match conn.take() {
            Some(live) => live,
            None => match door.open().await {
                Ok(live) => live,
                Err(()) => {
                    shared.tally().errors += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        round += 1;
        let token = uuid::Uuid::new_v4().simple().to_string();
        let transfer = Transfer::new(&token, number, round);
        let outcome = match &mut live {
            Till::Mysql(conn) => transfer.by_mysql(conn).await,
            Till::Postgresql(client) => transfer.by_postgresql(client).await,
        };
        match outcome {
            Outcome::Acknowledged => {
                tokens.push(token);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                let gap = last.elapsed();
                last = Instant::now();
                shared.saw_gap(gap);
                tokio::time::sleep(pause).await;
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
    if let Some(Till::Mysql(conn)) = conn {
        // The server sees the end of the connection either way.
        let _ = conn.disconnect().await;
    }
}

enum Outcome {
    Acknowledged,
    NotSent,
    InDoubt,
}

/// Money that goes from one account to another.
struct Transfer<'a> {
    token: &'a str,
    number: u16,
    round: u64,
    from: u64,
    to: u64,
    amount: i64,
}

impl<'a> Transfer<'a> {
    fn new(token: &'a str, number: u16, round: u64) -> Self {
        let from = (u64::from(number) * 7 + round) % ACCOUNTS;
        let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
        let amount = 1 + i64::try_from(round % 50).unwrap_or(0);
        Self { token, number, round, from, to, amount }
    }

    /// What changes in which account; in one order, so that two transfers never wait for each other.
    fn changes(&self) -> [(u64, i64); 2] {
        let (from, to) = ((self.from, -self.amount), (self.to, self.amount));
        if self.from < self.to { [from, to] } else { [to, from] }
    }

    async fn by_mysql(&self, conn: &mut Conn) -> Outcome {
        let work = async {
            conn.query_drop("start transaction").await?;
            for (account, change) in self.changes() {
                conn.exec_drop("update accounts set balance = balance + ? where id = ?", (change, account))
                    .await?;
            }
            let row = (self.token, self.number, self.from, self.to, self.amount);
            conn.exec_drop("insert into transfers values (?, ?, ?, ?, ?)", row).await?;
            if self.round.is_multiple_of(5) {
                let item = 1 + self.round % 1_000;
                conn.exec_drop("update items set price = price + 0.01 where id = ?", (item,)).await?;
            }
            if self.round.is_multiple_of(11) {
                conn.exec_drop("delete from audit where id = ?", (self.round,)).await?;
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

    async fn by_postgresql(&self, client: &mut tokio_postgres::Client) -> Outcome {
        let id = |account: u64| i64::try_from(account).unwrap_or_default();
        let Ok(open) = client.transaction().await else { return Outcome::NotSent };
        let work = async {
            for (account, change) in self.changes() {
                let update = "update accounts set balance = balance + $1 where id = $2";
                open.execute(update, &[&change, &id(account)]).await?;
            }
            let insert = "insert into transfers values ($1, $2, $3, $4, $5)";
            let writer = i64::from(self.number);
            open.execute(insert, &[&self.token, &writer, &id(self.from), &id(self.to), &self.amount]).await
        };
        if work.await.is_err() {
            return Outcome::NotSent;
        }
        match open.commit().await {
            Ok(()) => Outcome::Acknowledged,
            Err(_) => Outcome::InDoubt,
        }
    }
}
