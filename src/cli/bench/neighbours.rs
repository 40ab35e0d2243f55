//! `coffer bench neighbours`: what an instance and the API notice of another instance at its limits.
//!
//! Two instances of MariaDB on one host. On the quiet one a few sessions make small transactions, and an instance is asked for
//! at the API, each as fast as it is answered; first with nothing else, then while the greedy one's tenant takes all that it can
//! of one thing: processors, memory, connections, temporary files, its volume. The ratio is the figure: what it takes alone
//! is of the machine.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use secrecy::SecretString;
use tokio::task::JoinSet;

use crate::cli::demo::client::Client;
use crate::cli::demo::own::OwnDev;
use crate::cli::demo::screen::Screen;
use crate::cli::demo::shop::opts;
use crate::cli::state::default_engines;

/// Sessions of the quiet instance.
const SESSIONS: usize = 2;

/// Sessions of the greedy one.
const GREEDY: usize = 8;

/// How long the greedy one is at it before anything is measured.
const AHEAD: Duration = Duration::from_secs(3);

/// How long one who was refused waits before the next try.
const AGAIN: Duration = Duration::from_millis(50);

/// Arguments of `coffer bench neighbours`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The engines' binaries
    #[arg(long)]
    engines: Option<PathBuf>,
    /// The network of the instances
    #[arg(long, default_value = "127.82.0.0/16")]
    instance_net: ipnet::Ipv4Net,
    /// Seconds for which each row is measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// What the greedy one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greed {
    Nothing,
    Processors,
    Memory,
    Connections,
    TemporaryFiles,
    Volume,
}

impl Greed {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Processors,
        Self::Memory,
        Self::Connections,
        Self::TemporaryFiles,
        Self::Volume,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Processors => "processors: 8 sessions compute",
            Self::Memory => "memory: 8 sessions keep what they can, until it is ended",
            Self::Connections => "connections: as many as it is given",
            Self::TemporaryFiles => "temporary files: 8 sessions sort",
            Self::Volume => "its volume: 8 sessions insert",
        }
    }

    /// Goes on for ever; errors are what it is about.
    async fn take(self, opts: Opts) {
        loop {
            let _ended = self.round(&opts).await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn round(self, opts: &Opts) -> mysql_async::Result<()> {
        if self == Self::Nothing {
            std::future::pending::<()>().await;
        }
        let mut session = Conn::new(opts.clone()).await?;
        match self {
            Self::Nothing => Ok(()),
            Self::Processors => session.query_drop("select benchmark(100000000, sha2('a', 512))").await,
            Self::Memory => {
                for n in 0..64 {
                    session.query_drop(format!("set @v{n} = repeat('x', 15 << 20)")).await?;
                }
                Ok(())
            }
            Self::Connections => {
                let mut kept = vec![session];
                loop {
                    kept.push(Conn::new(opts.clone()).await?);
                }
            }
            Self::TemporaryFiles => {
                let sql = "select count(*) from (select distinct a.n * 1000 + b.n as n, repeat('x', 300) as x \
                           from numbers a, numbers b) q";
                session.query_drop(sql).await
            }
            Self::Volume => loop {
                session.query_drop("insert into filler (b) values (repeat('x', 4 << 20))").await?;
            },
        }
    }
}

/// How long each took, in seconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    /// The figure that so many of a hundred are not above, in milliseconds.
    fn at(&self, of_hundred: usize) -> f64 {
        let rank = (self.0.len() * of_hundred).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or(f64::NAN) * 1e3
    }
}

/// One row.
struct Row {
    greed: Greed,
    transactions: Times,
    requests: Times,
}

/// Measures, and prints a table.
///
/// # Errors
/// What keeps it from measuring; a transaction of the quiet instance, or a request, that failed.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let engines = match &args.engines {
        Some(engines) => engines.clone(),
        None => default_engines(rustix::process::geteuid().is_root())?,
    };
    let dev = OwnDev::start("bench", Some(&engines), args.instance_net).await?;
    let measured = tokio::select! {
        measured = measure(&dev, Duration::from_secs(args.seconds)) => measured,
        () = crate::cli::signals::asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    };
    dev.stop(measured.is_err()).await?;
    print(&measured?);
    Ok(())
}

async fn measure(dev: &OwnDev, lasting: Duration) -> anyhow::Result<Vec<Row>> {
    let api = Client::login(&dev.state, "coffer").await?;
    let screen = Screen::default();
    let step = screen.begin("create two instances of MariaDB 10.11");
    let password = SecretString::from(uuid::Uuid::new_v4().simple().to_string());
    let mut places = Vec::new();
    for name in ["quiet", "greedy"] {
        let id = api.create_of("mariadb", name, "10.11", "shop", "app", &password).await?;
        let address = api.wait_until_healthy(&id, &step).await?;
        places.push((id, Opts::from(opts(&address, "shop", "app", &password))));
    }
    let [(quiet, calm), (_, greedy)] = &places[..] else { anyhow::bail!("there are two") };
    let mut session = Conn::new(calm.clone()).await?;
    session.query_drop("create table accounts (id int primary key, n int not null)").await?;
    for id in 0..SESSIONS {
        session.query_drop(format!("insert into accounts values ({id}, 0)")).await?;
    }
    let mut session = Conn::new(greedy.clone()).await?;
    session.query_drop("create table filler (id int auto_increment primary key, b longblob)").await?;
    session.query_drop("create table numbers (n int primary key)").await?;
    session.query_drop("insert into numbers select seq from seq_1_to_1000").await?;
    drop(session);
    step.done("they serve");
    let mut rows = Vec::new();
    for greed in Greed::ALL {
        let step = screen.begin(greed.title());
        let mut taking = JoinSet::new();
        for _ in 0..GREEDY {
            taking.spawn(greed.take(greedy.clone()));
        }
        tokio::time::sleep(AHEAD).await;
        let until = Instant::now() + lasting;
        let mut sessions = JoinSet::new();
        for id in 0..SESSIONS {
            sessions.spawn(transact(calm.clone(), id, until));
        }
        let requests = ask(&api, quiet, until).await?;
        let mut transactions = Times::default();
        while let Some(done) = sessions.join_next().await {
            transactions.0.extend(done.context("a session of the quiet instance")??);
        }
        taking.shutdown().await;
        let row = Row { greed, transactions: sorted(transactions.0), requests: sorted(requests) };
        step.done(&format!("{:.1} ms, 99 of 100 {:.1} ms", row.transactions.at(50), row.transactions.at(99)));
        rows.push(row);
        // What was killed or is full is back before the next.
        let recovered = Instant::now() + Duration::from_secs(60);
        while Conn::new(greedy.clone()).await.is_err() {
            ensure!(
                Instant::now() < recovered,
                "the greedy instance does not come back after {}",
                greed.title()
            );
            tokio::time::sleep(AGAIN).await;
        }
    }
    for (id, _) in &places {
        api.delete(id).await?;
        api.wait_until_gone(id).await?;
    }
    Ok(rows)
}

fn sorted(mut times: Vec<f64>) -> Times {
    times.sort_by(f64::total_cmp);
    Times(times)
}

/// Small transactions, one after the other.
async fn transact(opts: Opts, id: usize, until: Instant) -> anyhow::Result<Vec<f64>> {
    let mut session = Conn::new(opts).await?;
    let mut times = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        session.query_drop(format!("update accounts set n = n + 1 where id = {id}")).await?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Requests for an instance, one after the other.
async fn ask(api: &Client, id: &str, until: Instant) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        api.show(id).await?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn print(rows: &[Row]) {
    let Some(alone) = rows.first() else { return };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("\n{cores} cores; {SESSIONS} sessions on the quiet instance, {GREEDY} on the greedy one; ms\n");
    println!(
        "| the neighbour takes | transactions | median | 99 of 100 | to alone | API's show, median | 99 of 100 | to alone |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for Row { greed, transactions, requests } in rows {
        println!(
            "| {} | {} | {:.2} | {:.2} | {:.1}, {:.1} | {:.2} | {:.2} | {:.1}, {:.1} |",
            greed.title(),
            transactions.0.len(),
            transactions.at(50),
            transactions.at(99),
            transactions.at(50) / alone.transactions.at(50),
            transactions.at(99) / alone.transactions.at(99),
            requests.at(50),
            requests.at(99),
            requests.at(50) / alone.requests.at(50),
            requests.at(99) / alone.requests.at(99),
        );
    }
}
