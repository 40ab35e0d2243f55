//! The figures.

use std::time::Duration;

use crate::cli::bench::requests::Args;
use crate::cli::bench::requests::data::{BIG, SMALL};
use crate::cli::bench::requests::floor::Ran;
use crate::cli::bench::requests::load::Seen;
use crate::cli::bench::requests::processes::Api;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `GET …/instances/{id}`, one of 100,000 by chance.
    Show,
    /// `GET …/instances?limit=20` of a project with 1,000.
    ListSmall,
    /// The same of one with 100,000 and those that wait to be upgraded.
    ListBig,
    /// `POST …/instances`.
    Create,
    /// `POST …/instances/{id}/action {"upgrade"}`, each of an instance of its own.
    Upgrade,
}

impl Kind {
    /// Every kind, in the order of the table. What writes comes last.
    pub const ALL: [Self; 5] = [Self::Show, Self::ListSmall, Self::ListBig, Self::Create, Self::Upgrade];

    /// Its line's name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::ListSmall => "list 20 of 1,000",
            Self::ListBig => "list 20 of 100,000",
            Self::Create => "create-accept",
            Self::Upgrade => "accept-upgrade",
        }
    }

    /// Whether each makes a task.
    pub const fn accepts(self) -> bool {
        matches!(self, Self::Create | Self::Upgrade)
    }
}

/// A round: ours, then the floor.
pub struct Round {
    /// What the clients saw.
    pub ours: Seen,
    /// What pgbench did.
    pub theirs: Ran,
    /// Processor time of the api in our run.
    pub api: Duration,
    /// Processor time of Postgres in our run.
    pub postgres: Duration,
    /// Processor time of Postgres in pgbench's run.
    pub floor: Duration,
}

/// Everything that was measured.
pub struct Report {
    head: Vec<String>,
    rounds: Vec<(Kind, Round)>,
}

/// The middle one, the least, the most.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_request(cpu: Duration, requests: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / requests as f64
}

impl Report {
    /// Begins with what a reader must know.
    pub fn new(args: &Args, api: &Api, at_rest: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let build =
            if cfg!(debug_assertions) { "a debug build: figures mean little" } else { "release build" };
        Self {
            head: vec![
                format!(
                    "{}, {cores} cores, {build}, coffer {}",
                    chrono::Utc::now().format("%Y-%m-%d"),
                    env!("CARGO_PKG_VERSION")
                ),
                format!(
                    "{} HTTP clients (wrk) with tokens on {}, pool {}; pgbench prepared, {} connections; the same Postgres, \
                     by its socket",
                    args.clients,
                    api.url.split("//").last().map_or("", |at| at.split(':').next().unwrap_or("")),
                    args.pool,
                    args.pool
                ),
                format!(
                    "data: {BIG} + {SMALL} + {} simulated instances; {} rounds of {} s each, ours and pgbench's in turn; \
                     no worker",
                    args.sources, args.rounds, args.seconds
                ),
                format!("memory of the api at rest: {} MB", at_rest / 1_000_000),
            ],
            rounds: Vec::new(),
        }
    }

    /// One more round.
    pub fn add(&mut self, kind: Kind, round: Round) {
        self.rounds.push((kind, round));
    }

    /// Prints the table, as Markdown.
    pub fn print(&self, after: u64) {
        for line in &self.head {
            println!("{line}");
        }
        println!("memory of the api after the load: {} MB", after / 1_000_000);
        println!();
        println!(
            "| request | requests/s: median (least .. most) | pgbench, same statements/s | ratio: median (least .. most) | \
             CPU a request, µs: api + Postgres | pgbench's Postgres, µs | answer: median, 99 of 100 |"
        );
        println!("|---|---|---|---|---|---|---|");
        for kind in Kind::ALL.into_iter().filter(|kind| self.rounds.iter().any(|(it, _)| it == kind)) {
            let of = |what: fn(&Round) -> f64| {
                spread(
                    self.rounds.iter().filter(|(it, _)| *it == kind).map(|(_, round)| what(round)).collect(),
                )
            };
            let (rate, rate_least, rate_most) = of(|r| r.ours.rate());
            let (floor, floor_least, floor_most) = of(|r| r.theirs.rate());
            let (ratio, ratio_least, ratio_most) = of(|r| r.ours.rate() / r.theirs.rate());
            let api = of(|r| per_request(r.api, r.ours.requests)).0;
            let postgres = of(|r| per_request(r.postgres, r.ours.requests)).0;
            let floor_cpu = of(|r| per_request(r.floor, r.theirs.transactions)).0;
            let (p50, p99) = (of(|r| r.ours.p50 / 1e3).0, of(|r| r.ours.p99 / 1e3).0);
            println!(
                "| {} | {rate:.0} ({rate_least:.0} .. {rate_most:.0}) | {floor:.0} ({floor_least:.0} .. {floor_most:.0}) | \
                 {ratio:.2} ({ratio_least:.2} .. {ratio_most:.2}) | {api:.0} + {postgres:.0} | {floor_cpu:.0} | \
                 {p50:.1} ms, {p99:.1} ms |",
                kind.title()
            );
        }
    }
}
