//! `coffer bench upgrades`: how long clients wait while a real database is upgraded.
//!
//! *In place*, beside a floor of the same run: the old server's data as it was left, a bare server of the old version on
//! it, then stop, the engine's own upgrade command, start of the new version, first write; nothing else looks, copies
//! twice, or can go back. PostgreSQL's floor has a copy ready before that, MariaDB's makes it meanwhile, as we do. See
//! [`floor`].
//!
//! *As a twin*, many times over: the gap is the cut-over alone.
//!
//! The service is a `coffer dev` of its own, driven as users do. Each database is loaded anew; writers transfer money
//! through the instance's address, and every transaction that they were told of is looked for afterwards: a figure of a
//! run that lost one is none.

mod engine;
mod floor;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::cli::bench::Folder;
use crate::cli::demo::client::Client;
use crate::cli::demo::own::OwnDev;
use crate::cli::demo::screen::Screen;
use crate::cli::demo::writers::Writers;
use crate::cli::demo::{seconds, text};
use crate::cli::state::default_engines;
use crate::domain::upgrade::Strategy;

use engine::{Engine, Scene};
use report::Report;

/// Arguments of `coffer bench upgrades`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The engines' binaries
    #[arg(long)]
    engines: Option<PathBuf>,
    /// The network of the instances
    #[arg(long, default_value = "127.81.0.0/16")]
    instance_net: ipnet::Ipv4Net,
    /// How much data an upgrade in place has, in MB; repeat it for several
    #[arg(long = "mb", default_values_t = [64, 1024], value_parser = clap::value_parser!(u32).range(1..=16_384))]
    sizes: Vec<u32>,
    /// Upgrades in place of each engine and size
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=100))]
    rounds: u16,
    /// How much data an upgrade by a twin has, in MB; repeat it for several. The gap does not depend on it, the comparison does
    #[arg(long, default_values_t = [64], value_parser = clap::value_parser!(u32).range(1..=16_384))]
    twin_mb: Vec<u32>,
    /// Upgrades by a twin of each engine and size
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=100))]
    runs: u16,
    /// Writers on the database while it is upgraded
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    writers: u16,
    /// One small upgrade of each kind: whether it runs, not how long
    #[arg(long)]
    quick: bool,
    /// Measure this engine only; repeat it for several
    #[arg(long, value_enum)]
    only: Vec<Engine>,
}

/// The data of a quick upgrade, in MB.
const QUICK_MB: u32 = 8;

/// What was seen of one upgrade.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How long the endpoint held the address.
    pub gap: Duration,
    /// The longest time that a writer had between two transactions.
    pub longest: Duration,
    /// From the request to the task's end.
    pub whole: Duration,
    /// How long the comparison took while the old server served; nothing of the kind in place.
    pub compared: Duration,
    /// Errors of the writers, of any kind.
    pub errors: u64,
    /// Sessions that the service ended.
    pub sessions: u64,
    /// The steps while the address was held, and how long each took, in seconds.
    pub held: Vec<(String, f64)>,
}

/// Measures, and prints tables.
///
/// # Errors
/// What keeps it from measuring; an upgrade that failed or lost something.
pub async fn run(mut args: Args) -> anyhow::Result<()> {
    if args.quick {
        args.sizes = vec![QUICK_MB];
        args.twin_mb = vec![QUICK_MB];
        (args.rounds, args.runs) = (args.rounds.min(1), args.runs.min(2));
    }
    let engines = match &args.engines {
        Some(engines) => engines.clone(),
        None => default_engines(rustix::process::geteuid().is_root())?,
    };
    let folder = Folder::make()?;
    let dev = OwnDev::start("bench", Some(&engines), args.instance_net).await?;
    let bench = Bench { args, engines, scratch: folder.0.join("floor"), screen: Screen::default() };
    let measured = tokio::select! {
        measured = bench.measure(&dev) => measured,
        () = crate::cli::signals::asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    };
    dev.stop(measured.is_err()).await?;
    drop(folder);
    measured
}

struct Bench {
    args: Args,
    engines: PathBuf,
    scratch: PathBuf,
    screen: Screen,
}

impl Bench {
    async fn measure(&self, dev: &OwnDev) -> anyhow::Result<()> {
        let api = Client::login(&dev.state, "coffer").await?;
        let mut report = Report::default();
        for engine in Engine::ALL {
            if !self.args.only.is_empty() && !self.args.only.contains(&engine) {
                continue;
            }
            for mb in &self.args.sizes {
                for round in 0..self.args.rounds {
                    self.in_place((&api, dev), engine, *mb, round, &mut report).await?;
                }
            }
            for mb in &self.args.twin_mb {
                for round in 0..self.args.runs {
                    let title = format!("{}, {mb} MB, twin, run {}", engine.title(), round + 1);
                    let (seen, scene) =
                        self.upgrade((&api, dev), engine, *mb, Strategy::Twin, &title).await?;
                    report.twin(engine, *mb, seen);
                    self.delete(&api, &scene).await?;
                }
            }
        }
        report.print(self.args.writers);
        Ok(())
    }

    async fn in_place(
        &self,
        (api, dev): (&Client, &OwnDev),
        engine: Engine,
        mb: u32,
        round: u16,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let title = format!("{}, {mb} MB, in place, round {}", engine.title(), round + 1);
        let (seen, scene) = self.upgrade((api, dev), engine, mb, Strategy::InPlace, &title).await?;
        let step = self.screen.begin(&format!("{title}: the engine's own commands on the same data"));
        let floor = floor::measure(engine, &self.engines, &scene.kept(), &self.scratch).await;
        let floor = floor.with_context(|| format!("measure the floor of {}", engine.title()))?;
        step.done(&format!("gap {:.2} s", floor.gap.as_secs_f64()));
        report.in_place(engine, mb, seen, floor);
        self.delete(api, &scene).await
    }

    /// An instance of its own with data and writers is upgraded.
    async fn upgrade(
        &self,
        (api, dev): (&Client, &OwnDev),
        engine: Engine,
        mb: u32,
        strategy: Strategy,
        title: &str,
    ) -> anyhow::Result<(Seen, Scene)> {
        let step = self.screen.begin(&format!("{title}: create and load"));
        let password = SecretString::from(uuid::Uuid::new_v4().simple().to_string());
        let scene = Scene::open((api, &dev.state), engine, mb, &password, &step).await?;
        step.done("loaded");
        let step = self.screen.begin(&format!("{title}: upgrade"));
        let writers = Writers::start_at(&scene.door().await?, self.args.writers);
        writers.until(|tally| tally.acknowledged > 300, Duration::from_secs(60)).await?;
        let began = Instant::now();
        let body =
            json!({"upgrade": {"datastore_version": engine.versions().1, "strategy": strategy.as_str()}});
        let (status, answer) = api.post(&format!("/instances/{}/upgrades", scene.id), &body).await?;
        ensure!(status == 202, "the upgrade answered {status}: {answer}");
        let task = ended(api, &api.task_of(&scene.id).await?).await?;
        let whole = began.elapsed();
        let before = writers.tally().acknowledged;
        writers.until(|tally| tally.acknowledged > before + 300, Duration::from_secs(60)).await?;
        let tally = writers.stop().await?;
        ensure!(task["state"] == "succeeded", "the upgrade is {}: {}", task["state"], task["reason"]);
        scene.assert_holds(&tally).await?;
        let number = |key: &str| {
            task["report"][key].as_u64().with_context(|| format!("the report of the task has no {key}"))
        };
        let seen = Seen {
            gap: Duration::from_millis(number("gap_ms")?),
            longest: tally.longest_gap,
            whole,
            errors: tally.errors,
            sessions: number("sessions_ended")?,
            held: held(&task),
            compared: compared(&task),
        };
        step.done(&format!(
            "gap {:.3} s, of a writer {:.3} s at most",
            seen.gap.as_secs_f64(),
            seen.longest.as_secs_f64()
        ));
        Ok((seen, scene))
    }

    async fn delete(&self, api: &Client, scene: &Scene) -> anyhow::Result<()> {
        api.delete(&scene.id).await?;
        api.wait_until_gone(&scene.id).await
    }
}

/// The steps from the hold to its end.
fn held(task: &Value) -> Vec<(String, f64)> {
    let steps = task["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let from = steps.iter().position(|step| step["step"] == "hold").unwrap_or(steps.len());
    let to = steps.iter().rposition(|step| step["step"] == "reopen").map_or(from, |at| at + 1);
    let steps = steps.get(from..to).unwrap_or_default();
    steps.iter().map(|step| (text(&step["step"]), seconds(step).unwrap_or_default())).collect()
}

/// How long every row was compared.
fn compared(task: &Value) -> Duration {
    let steps = task["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let taken = steps.iter().filter(|step| step["step"] == "verify").filter_map(seconds);
    Duration::from_secs_f64(taken.sum::<f64>().max(0.0))
}

/// Waits until a task has ended; gives its last view.
async fn ended(api: &Client, task: &str) -> anyhow::Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(900);
    loop {
        let seen = api.task(task).await?;
        let ended = ["succeeded", "rolled_back", "cancelled", "needs_operator"];
        if ended.iter().any(|end| seen["state"] == *end) {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "the task is still {}", seen["state"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
