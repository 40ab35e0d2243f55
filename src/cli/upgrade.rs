//! `coffer upgrade`: our own routes from a terminal (api-ref: `upgrades.md`). Live lines in a terminal, plain ones in a
//! pipe. It ends with 0 when what was asked for is so, 1 when it was refused or did not succeed, 2 when it was not
//! understood.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::block_on;
use crate::cli::cloud::{self, Login};
use crate::cli::demo::client::Client;
use crate::cli::demo::screen::{Screen, Step};
use crate::domain::upgrade::MOST_KEEP_HOURS;

/// Arguments of `coffer upgrade`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance, by its id or its name
    instance: String,
    /// The version to go to, by its name or its id: `11.8` for example
    target: String,
    /// Only say what it would meet
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    /// Show its steps, and wait for its end
    #[arg(long)]
    watch: bool,
    /// How it is done: auto takes a twin where nothing stands in its way
    #[arg(long, default_value = "auto", value_parser = ["auto", "twin", "in_place"])]
    strategy: String,
    /// Hours that the old server's data is kept [default: 24]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_KEEP_HOURS)))]
    keep_hours: Option<u32>,
    /// Refuse it while an earlier upgrade's old server is kept, in place of taking its place after the cut-over
    #[arg(long)]
    keep_retired: bool,
    /// Taken, without effect: an earlier upgrade's old server goes after the cut-over
    #[arg(long, hide = true)]
    drop_retired: bool,
    /// Begin in the instance's window: the one that is open, else the next
    #[arg(long, conflicts_with = "at")]
    in_window: bool,
    /// Begin at this time, in UTC: 2026-12-24T02:00:00Z for example
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// When it is too late to begin [default: an hour later]
    #[arg(long, value_name = "TIME", requires = "at")]
    not_after: Option<String>,
    #[command(flatten)]
    cloud: cloud::Args,
}

/// How often a broken stream is opened again before it is given up.
const TRIES: u32 = 60;

/// The pause before that.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the time that is left is told anew.
const TICK: Duration = Duration::from_secs(1);

/// Runs it.
pub fn main(mut args: Args) -> ExitCode {
    let cloud = std::mem::take(&mut args.cloud);
    let login = match cloud.login() {
        Ok(login) => login,
        Err(error) => {
            eprintln!("coffer: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut is_well = false;
    let ran = block_on(async {
        is_well = run(&args, &login).await?;
        Ok(())
    });
    if let Err(error) = ran {
        eprintln!("coffer: {error:#}");
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether what was asked for is so.
async fn run(args: &Args, login: &Login) -> anyhow::Result<bool> {
    let client = Client::enter(login).await?;
    let id = find(&client, &args.instance).await?;
    let mut upgrade = json!({
        "datastore_version": args.target, "strategy": args.strategy, "dry_run": args.dry_run,
        "keep_retired": args.keep_retired, "drop_retired": args.drop_retired,
    });
    if let Some(hours) = args.keep_hours {
        upgrade["keep_hours"] = hours.into();
    }
    if args.in_window {
        upgrade["window"] = true.into();
    }
    for (key, time) in [("not_before", &args.at), ("not_after", &args.not_after)] {
        if let Some(time) = time {
            upgrade[key] = time.as_str().into();
        }
    }
    let (code, answer) =
        client.post(&format!("/instances/{id}/upgrades"), &json!({"upgrade": upgrade})).await?;
    let upgrade = &answer["upgrade"];
    match code {
        200 => Ok(foretell(upgrade)),
        202 => {
            let task = upgrade["id"].as_str().context("the answer names no task")?;
            println!("{} to {}, task {task}", text(&upgrade["from"]), text(&upgrade["to"]));
            if let Some(way) = way(upgrade) {
                println!("{way}");
            }
            if let Some(starts) = upgrade["starts"].as_str() {
                println!("begins at {starts}");
            }
            replaces(upgrade);
            if !args.watch {
                return Ok(true);
            }
            let screen = Screen::default();
            let end = watch(&screen, client, login, task).await?;
            Ok(report(&end))
        }
        code => bail!("refused ({code}): {}", fault(&answer)),
    }
}

/// The words of a fault.
fn fault(answer: &Value) -> &str {
    let told = answer.as_object().and_then(|map| map.values().next());
    told.and_then(|fault| fault["message"].as_str()).unwrap_or("without a reason")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

/// The id of the instance that is meant.
async fn find(client: &Client, wanted: &str) -> anyhow::Result<String> {
    if let Ok(id) = wanted.parse::<Uuid>() {
        return Ok(id.to_string());
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let (code, page) = client.read(&format!("/instances{after}")).await?;
        ensure!(code == 200, "the list of instances was refused ({code}): {}", fault(&page));
        let instances = page["instances"].as_array().context("the list of instances is none")?;
        let ids = instances.iter().filter(|it| it["name"] == wanted).filter_map(|it| it["id"].as_str());
        found.extend(ids.map(str::to_owned));
        match (page.get("links"), instances.last().and_then(|last| last["id"].as_str())) {
            (Some(_), Some(last)) => after = format!("?marker={last}"),
            _ => break,
        }
    }
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => bail!("no instance of this project is called {wanted}"),
        many => {
            bail!("{} instances are called {wanted}: name one by its id, {}", many.len(), many.join(", "))
        }
    }
}

/// The versions on the way, where it has several hops.
fn way(upgrade: &Value) -> Option<String> {
    let hops: Vec<&str> = upgrade["hops"].as_array()?.iter().filter_map(Value::as_str).collect();
    let (_, between) = hops.split_last()?;
    Some(format!("in {} hops, by way of {}", hops.len(), between.join(" and ")))
}

/// Prints what an earlier upgrade keeps, where there is something.
fn replaces(upgrade: &Value) {
    if let Some(kept) = upgrade.get("replaces") {
        println!(
            "keeps {} until {}: {}",
            text(&kept["version"]),
            text(&kept["kept_until"]),
            text(&kept["why"])
        );
    }
}

/// Prints what an upgrade would meet; whether it could be done.
fn foretell(seen: &Value) -> bool {
    println!("{} to {}", text(&seen["from"]), text(&seen["to"]));
    if let Some(way) = way(seen) {
        println!("{way}; what follows is of the first hop, the others are looked at when they come");
    }
    for finding in seen["findings"].as_array().into_iter().flatten() {
        println!(
            "{} of {}: {} {}: {}",
            text(&finding["severity"]),
            text(&finding["strategy"]),
            text(&finding["object"]),
            text(&finding["why"]),
            text(&finding["remedy"])
        );
    }
    if let Some(starts) = seen["starts"].as_str() {
        println!("would begin at {starts}");
    }
    replaces(seen);
    let possible = seen["possible"] == true;
    println!("{}: {}", if possible { "possible" } else { "not possible" }, text(&seen["why"]));
    possible
}

/// Shows the task's steps until it rests; gives its last view.
async fn watch(screen: &Screen, mut client: Client, login: &Login, task: &str) -> anyhow::Result<Value> {
    let mut shown = Shown::default();
    let mut failed = 0;
    loop {
        match follow(screen, &client, task, &mut shown).await {
            Ok(Some(end)) => return Ok(end),
            // It has lasted as long as one may.
            Ok(None) => {}
            Err(error) => {
                failed += 1;
                if failed > TRIES {
                    return Err(error.context("the upgrade goes on, and cannot be watched"));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        // The token may be over, and the service may have been away.
        if let Ok(again) = Client::enter(login).await {
            client = again;
        }
    }
}

async fn follow(
    screen: &Screen,
    client: &Client,
    task: &str,
    shown: &mut Shown,
) -> anyhow::Result<Option<Value>> {
    let mut events = client.events(task).await?;
    let mut last = (Value::Null, Instant::now());
    loop {
        let Ok(next) = tokio::time::timeout(TICK, events.next()).await else {
            // Nothing has changed but the time that is left.
            shown.tick(&last.0, last.1.elapsed());
            continue;
        };
        let Some(view) = next? else { return Ok(None) };
        shown.show(screen, &view);
        if !matches!(text(&view["state"]), "scheduled" | "running") {
            return Ok(Some(view));
        }
        last = (view, Instant::now());
    }
}

/// What of a task's steps is on the screen.
#[derive(Default)]
struct Shown {
    ended: usize,
    running: Option<Step>,
}

impl Shown {
    fn show(&mut self, screen: &Screen, view: &Value) {
        let steps = view["steps"].as_array().map_or(&[][..], Vec::as_slice);
        for record in steps.iter().skip(self.ended) {
            let running = self.running.take().unwrap_or_else(|| screen.begin(&name(record)));
            match record["outcome"].as_str() {
                Some(outcome) => {
                    running.ended(&ended(outcome, record), took(record));
                    self.ended += 1;
                }
                None => {
                    running.tell(&how_far(view, record, Duration::ZERO));
                    self.running = Some(running);
                    return;
                }
            }
        }
    }

    /// Tells of the step that runs, so long after `view` was heard of.
    fn tick(&self, view: &Value, since: Duration) {
        if let (Some(running), Some(record)) = (&self.running, view["steps"].get(self.ended)) {
            running.tell(&how_far(view, record, since));
        }
    }
}

fn name(record: &Value) -> String {
    let step = text(&record["step"]);
    match record["phase"].as_str() {
        Some("undo" | "abandon") => format!("back: {step}"),
        _ => step.to_owned(),
    }
}

fn ended(outcome: &str, record: &Value) -> String {
    let outcome = match outcome {
        "retry" => "will be tried again",
        "redo" => "begins anew",
        other => other,
    };
    match record["progress"].as_str() {
        Some(told) => format!("{outcome}, {told}"),
        None => outcome.to_owned(),
    }
}

fn how_far(view: &Value, record: &Value, since: Duration) -> String {
    let mut parts: Vec<String> = record["progress"].as_str().map(str::to_owned).into_iter().collect();
    parts.extend(view["percent"].as_u64().map(|percent| format!("{percent} %")));
    match view["eta"].as_u64().map(|eta| eta.saturating_sub(since.as_secs())) {
        Some(0) => parts.push("later than expected".to_owned()),
        Some(eta) => parts.push(format!("done within {eta} s")),
        None => {}
    }
    parts.join(", ")
}

/// How long a step took, in seconds.
fn took(record: &Value) -> Option<f64> {
    let at =
        |key: &str| chrono::NaiveDateTime::parse_from_str(record[key].as_str()?, "%Y-%m-%dT%H:%M:%S%.f").ok();
    let ms = (at("ended")? - at("started")?).num_milliseconds();
    Some(f64::from(i32::try_from(ms).ok()?) / 1_000.0)
}

/// Prints how it ended; whether as asked.
fn report(task: &Value) -> bool {
    let state = text(&task["state"]);
    let report = &task["report"];
    println!("{}", state.replace('_', " "));
    if let Some(reason) = task["reason"].as_str() {
        println!("  reason: {reason}");
    }
    let answered = |side: &str| report[side].as_str();
    match (answered("from_answered"), answered("to_answered")) {
        (Some(from), Some(to)) => println!("  the servers answered: {from} before, {to} now"),
        (Some(from), None) => println!("  the server answered: {from}"),
        (None, _) => {}
    }
    if let Some(strategy) = task["strategy"].as_str() {
        println!("  strategy: {strategy}");
    }
    let compared: Vec<String> = [("objects", "objects"), ("tables", "tables"), ("rows", "rows")]
        .into_iter()
        .filter_map(|(key, what)| Some(format!("{} {what}", report[format!("{key}_compared")].as_u64()?)))
        .collect();
    if !compared.is_empty() {
        println!("  compared: {}", compared.join(", "));
    }
    for hop in report["hops"].as_array().into_iter().flatten() {
        let gap = hop["gap_ms"].as_i64().unwrap_or_default();
        println!("  hop to {}: {}, held for {gap} ms", text(&hop["to"]), text(&hop["strategy"]));
    }
    if let Some(gap) = report["gap_ms"].as_i64() {
        println!("  clients were held for {gap} ms");
    }
    if let Some(sessions) = report["sessions_ended"].as_u64() {
        println!("  sessions ended: {sessions}");
    }
    if let Some(until) = report["kept_until"].as_str() {
        println!("  the old server's data is kept until {until}");
    }
    state == "succeeded"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_in_a_line() {
        let record = json!({"phase": "undo", "step": "reinstate", "progress": null, "outcome": "retry",
            "started": "2026-03-01T10:20:30.500", "ended": "2026-03-01T10:20:31.750"});
        assert_eq!(
            (name(&record), ended("retry", &record)),
            ("back: reinstate".into(), "will be tried again".into())
        );
        assert_eq!(took(&record), Some(1.25));
        let hops = json!({"hops": ["mariadb 10.6", "mariadb 10.11", "mariadb 11.8"]});
        assert_eq!(way(&hops).unwrap(), "in 3 hops, by way of mariadb 10.6 and mariadb 10.11");
        assert_eq!(way(&json!({})), None);
        let view = json!({"percent": 12, "eta": 40, "late": false});
        let record = json!({"phase": "forward", "step": "seed", "progress": "3 of about 9 MB"});
        for (view, record, since, told) in [
            (&view, &record, 0, "3 of about 9 MB, 12 %, done within 40 s"),
            (&view, &record, 3, "3 of about 9 MB, 12 %, done within 37 s"),
            (&view, &record, 60, "3 of about 9 MB, 12 %, later than expected"),
            (&json!({"percent": 12, "eta": 0, "late": true}), &json!({}), 0, "12 %, later than expected"),
            (&json!({"percent": 12, "eta": null}), &json!({}), 0, "12 %"),
        ] {
            assert_eq!(how_far(view, record, Duration::from_secs(since)), told);
        }
        assert!(report(&json!({"state": "succeeded", "report": {}})));
        assert!(!report(&json!({"state": "rolled_back", "reason": "x"})));
    }
}
