//! `coffer demo`: the main job in front of your eyes. It drives a running `dev`, or one of its own, only by its
//! public ways: the HTTP API and the instances' addresses. The tests drive the service by the same parts.

pub mod client;
pub mod ledger;
pub mod own;
pub mod same;
pub mod screen;
pub mod shop;
pub mod writers;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use client::Client;
use own::OwnDev;
use screen::Screen;
use shop::Shop;
use writers::{Tally, Writers};

/// Arguments of `coffer demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state folder of a running `coffer dev` [default: the demo starts its own and removes it afterwards]
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// The engines' binaries, for its own `dev`
    #[arg(long)]
    engines: Option<PathBuf>,
    /// The network of the instances, for its own `dev`
    #[arg(long, default_value = "127.80.0.0/16")]
    instance_net: ipnet::Ipv4Net,
    /// The version to begin with
    #[arg(long, default_value = "10.11")]
    from: String,
    /// The version to upgrade to
    #[arg(long, default_value = "11.8")]
    to: String,
    /// Writers on the database while it is upgraded
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    writers: u16,
    /// Rows in the database before it is upgraded
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    rows: u32,
}

/// Runs the demo. An error is a demo that did not show what it promises.
///
/// # Errors
/// The first thing that was not as it must be.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let screen = Screen::default();
    let own = match &args.state_dir {
        Some(_) => None,
        None => {
            let step = screen.begin("start coffer dev: its own Postgres, api, worker, endpoint");
            let dev = OwnDev::start("demo", args.engines.as_deref(), args.instance_net).await?;
            step.done("ready");
            Some(dev)
        }
    };
    let state = match (&own, &args.state_dir) {
        (Some(dev), _) => dev.state.clone(),
        (None, Some(state)) => state.clone(),
        (None, None) => bail!("no state folder"),
    };
    let shown = tokio::select! {
        shown = show(&screen, &args, &state) => shown,
        () = super::signals::asked_to_stop() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Some(dev) = own {
        let step = screen.begin("stop coffer dev with its engines");
        dev.stop(shown.is_err()).await?;
        step.done("nothing is left");
    }
    shown
}

async fn show(screen: &Screen, args: &Args, state: &std::path::Path) -> anyhow::Result<()> {
    let api = Client::login(state, "coffer").await?;

    let step = screen.begin(&format!("create the instance shop, mariadb {}", args.from));
    let password = secrecy::SecretString::from(uuid::Uuid::new_v4().simple().to_string());
    let source = api.create("shop", &args.from, "shop", "app", &password).await?;
    let source_address = api.wait_until_healthy(&source, &step).await?;
    step.done(&format!("{source_address}:3306 is {}", "ACTIVE, HEALTHY"));

    let old = Shop::open(&source_address, "shop", "app", &password).await?;
    let step = screen.begin(&format!("load {} rows, a view, a trigger, a routine, an event", args.rows));
    old.load(args.rows, |rows| step.tell(&format!("{rows} rows"))).await?;
    step.done(&format!("server says {}", old.version().await?));

    let step = screen.begin(&format!("start {} writers through the public address", args.writers));
    let writers = Writers::start(&source_address, "shop", "app", &password, args.writers);
    writers.until(|tally| tally.acknowledged > 500, Duration::from_secs(30)).await?;
    step.done(&format!("{} transactions so far", writers.tally().acknowledged));

    let path = format!("/instances/{source}/action");
    let body = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": args.to}});
    screen.say(&format!("POST /v1.0/{}{path} {body}", api.project));
    let (status, answer) = api.post(&path, &body).await?;
    ensure!(status == 202, "the action answered {status}: {answer}");
    let new = answer["instance"]["id"].as_str().context("no id in the answer")?.to_owned();
    screen.say(&format!(
        "202: {} {} {} replica_of {}",
        new,
        text(&answer["instance"]["name"]),
        text(&answer["instance"]["status"]),
        text(&answer["instance"]["replica_of"]["id"]),
    ));
    let task = api.task_of(&new).await?;
    let began = Instant::now();
    let mut told = 0;
    watch(screen, &api, &task, &writers, "verifying", &mut told).await?;
    let to_verify = began.elapsed();
    let (a, b) = (api.show(&source).await?, api.show(&new).await?);
    screen.say(&format!(
        "{} is {}, {} is {}",
        text(&a["name"]),
        text(&a["status"]),
        text(&b["name"]),
        text(&b["status"])
    ));
    ensure!(
        a["status"] == "VERIFY_UPGRADE" && b["status"] == "VERIFY_UPGRADE",
        "both must be VERIFY_UPGRADE"
    );

    let step = screen.begin("keep writing for three more seconds, then pause the writers and compare");
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged > before + 500, Duration::from_secs(30)).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let tally = writers.stop().await?;
    let new_address = text(&b["ip"][0]);
    let twin = Shop::open(&new_address, "shop", "app", &password).await?;
    twin.reaches(&old).await?;
    let on_old = old.find(&tally).await?;
    let on_new = twin.find(&tally).await?;
    ensure!(twin.write_is_refused().await?, "the twin must be read-only until it is detached");
    let sums = (old.checksum().await?, twin.checksum().await?);
    step.done(if sums.0 == sums.1 {
        "every table has the same checksum on both sides"
    } else {
        "tables differ"
    });

    screen.say(&format!(
        "PATCH /v1.0/{}/instances/{new} {{\"instance\": {{\"replica_of\": \"\"}}}}",
        api.project
    ));
    api.patch(&format!("/instances/{new}"), &json!({"instance": {"replica_of": ""}})).await?;
    watch(screen, &api, &task, &writers, "succeeded", &mut told).await?;
    let step = screen.begin("each has a life of its own: write to either, look at the other");
    api.wait_until_healthy(&new, &step).await?;
    let apart = old.insert_apart("old").await? && twin.insert_apart("new").await?;
    let mixed = old.sees_apart("new").await? || twin.sees_apart("old").await?;
    step.done(if apart && !mixed { "apart" } else { "not apart" });

    report(screen, &api, &task, &old, &twin, &tally, (&on_old, &on_new), to_verify).await?;
    ensure!(on_old.missing == 0 && on_new.missing == 0, "acknowledged rows are missing");
    ensure!(on_old.twice == 0 && on_new.twice == 0, "rows were applied twice");
    ensure!(on_old.ledger_fits && on_new.ledger_fits, "the ledger does not add up");
    ensure!(sums.0 == sums.1, "the two sides differ: {:?} and {:?}", sums.0, sums.1);
    ensure!(apart && !mixed, "the two sides still hang together");

    same::show(screen, &api, args, (&source, &source_address), &password).await?;
    let step = screen.begin("delete both instances");
    api.delete(&new).await?;
    api.delete(&source).await?;
    api.wait_until_gone(&new).await?;
    api.wait_until_gone(&source).await?;
    step.done("gone");
    same::show_postgresql(screen, &api, args, &password).await
}

/// Shows the task's steps from the one after `told` on as they end, until it is in `state`.
async fn watch(
    screen: &Screen,
    api: &Client,
    task: &str,
    writers: &Writers,
    state: &str,
    told: &mut usize,
) -> anyhow::Result<()> {
    let mut open: Option<screen::Step> = None;
    let began = Instant::now();
    loop {
        let seen = api.task(task).await?;
        let steps = seen["steps"].as_array().cloned().unwrap_or_default();
        for (at, record) in steps.iter().enumerate().skip(*told) {
            let name = format!("  {}", text(&record["step"]));
            let line = open.get_or_insert_with(|| screen.begin(&name));
            if record["outcome"].is_null() {
                line.tell(&format!(
                    "{} ({} written)",
                    text(&record["progress"]),
                    writers.tally().acknowledged
                ));
                break;
            }
            if let Some(line) = open.take() {
                line.ended(&text(&record["outcome"]), seconds(record));
            }
            *told = at + 1;
        }
        if seen["state"] == state {
            return Ok(());
        }
        let ended = ["rolled_back", "cancelled", "needs_operator", "succeeded"];
        if ended.iter().any(|end| seen["state"] == *end) {
            bail!("the task is {}: {}", text(&seen["state"]), text(&seen["reason"]));
        }
        ensure!(began.elapsed() < Duration::from_secs(600), "the task is still {}", text(&seen["state"]));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// How long a recorded step took, in seconds.
pub fn seconds(record: &Value) -> Option<f64> {
    let at =
        |key: &str| chrono::NaiveDateTime::parse_from_str(record[key].as_str()?, "%Y-%m-%dT%H:%M:%S%.f").ok();
    let took = at("ended")? - at("started")?;
    took.num_microseconds().map(|micros| micros as f64 / 1e6)
}

/// What a value says.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[expect(clippy::too_many_arguments, reason = "what a report tells of")]
async fn report(
    screen: &Screen,
    api: &Client,
    task: &str,
    old: &Shop,
    twin: &Shop,
    tally: &Tally,
    (on_old, on_new): (&shop::Found, &shop::Found),
    to_verify: Duration,
) -> anyhow::Result<()> {
    let mut rows = vec![
        ("".to_owned(), "old instance".to_owned(), "new instance".to_owned()),
        ("version, asked from the server".to_owned(), old.version().await?, twin.version().await?),
    ];
    let mut row = |name: &str, a: u64, b: u64| rows.push((name.to_owned(), a.to_string(), b.to_string()));
    row("transactions acknowledged", tally.acknowledged, tally.acknowledged);
    row("  found", on_old.found, on_new.found);
    row("  missing", on_old.missing, on_new.missing);
    row("  applied twice", on_old.twice, on_new.twice);
    row("transactions in doubt (connection lost)", tally.in_doubt.len() as u64, tally.in_doubt.len() as u64);
    row("  found", on_old.in_doubt_found, on_new.in_doubt_found);
    let fits = |fits: bool| if fits { "adds up" } else { "DOES NOT ADD UP" }.to_owned();
    rows.push((
        "ledger (transfers between accounts)".to_owned(),
        fits(on_old.ledger_fits),
        fits(on_new.ledger_fits),
    ));
    rows.push(("errors seen by the writers".to_owned(), tally.errors.to_string(), "-".to_owned()));
    rows.push((
        "longest gap seen by a writer".to_owned(),
        format!("{:.0} ms", tally.longest_gap.as_secs_f64() * 1000.0),
        "-".to_owned(),
    ));
    rows.push((
        "from the action to VERIFY_UPGRADE".to_owned(),
        "-".to_owned(),
        format!("{:.1} s", to_verify.as_secs_f64()),
    ));
    let seen = api.task(task).await?;
    for record in seen["steps"].as_array().into_iter().flatten() {
        if let Some(took) = seconds(record) {
            rows.push((
                format!("  step {} ({})", text(&record["step"]), text(&record["outcome"])),
                "-".to_owned(),
                format!("{took:.2} s"),
            ));
        }
    }
    screen.table(&rows);
    Ok(())
}
