//! The second part of the demo: the same instance, of MariaDB and then of PostgreSQL, goes to the new version by Trove's PATCH, with writers on. Its id and
//! its address stay; what clients notice is one error a session and a short gap.

use std::time::{Duration, Instant};

use anyhow::ensure;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::client::Client;
use super::ledger::Ledger;
use super::screen::Screen;
use super::shop::{Found, Shop};
use super::writers::{Tally, Writers};
use super::{Args, text, watch};

/// Upgrades `instance`, which serves the old version at `address`, and prints what its writers saw.
///
/// # Errors
/// The first thing that was not as it must be.
pub async fn show(
    screen: &Screen,
    api: &Client,
    args: &Args,
    (instance, address): (&str, &str),
    password: &SecretString,
) -> anyhow::Result<()> {
    let step = screen.begin(&format!("start {} writers on the old instance again", args.writers));
    let writers = Writers::start(address, "shop", "app", password, args.writers);
    writers.until(|tally| tally.acknowledged > 300, Duration::from_secs(30)).await?;
    step.done(&format!("{} transactions so far", writers.tally().acknowledged));

    let body = json!({"instance": {"datastore_version": args.to}});
    screen.say(&format!("PATCH /v1.0/{}/instances/{instance} {body}", api.project));
    let began = Instant::now();
    api.patch(&format!("/instances/{instance}"), &body).await?;
    let task = api.task_of(instance).await?;
    watch(screen, api, &task, &writers, "succeeded", &mut 0).await?;
    let took = began.elapsed();
    let step = screen.begin("the same address serves the new version");
    let now = api.wait_until_healthy(instance, &step).await?;
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged > before + 200, Duration::from_secs(30)).await?;
    let tally = writers.stop().await?;
    let shop = Shop::open(&now, "shop", "app", password).await?;
    step.done(&format!("{now} says {}", shop.version().await?));
    ensure!(now == address, "the address changed from {address} to {now}");

    let found = shop.find(&tally).await?;
    report(screen, &api.task(&task).await?, &tally, &found, took)
}

/// The same on PostgreSQL.
///
/// # Errors
/// The first thing that was not as it must be.
pub async fn show_postgresql(
    screen: &Screen,
    api: &Client,
    args: &Args,
    password: &SecretString,
) -> anyhow::Result<()> {
    let (from, to) = ("15", "17");
    let step = screen.begin(&format!("create the instance elephant, postgresql {from}"));
    let instance = api.create_of("postgresql", "elephant", from, "shop", "app", password).await?;
    let address = api.wait_until_healthy(&instance, &step).await?;
    let ledger = Ledger::open(&address, "shop", "app", password).await?;
    ledger.load(args.rows).await?;
    step.done(&format!("{address}:5432 says {}, {} rows", ledger.version().await?, args.rows));
    let sums = ledger.sums().await?;
    let writers = Writers::start_at(&ledger.door(), args.writers);
    writers.until(|tally| tally.acknowledged > 300, Duration::from_secs(30)).await?;

    let body = json!({"instance": {"datastore_version": to}});
    screen.say(&format!("PATCH /v1.0/{}/instances/{instance} {body}", api.project));
    let began = Instant::now();
    api.patch(&format!("/instances/{instance}"), &body).await?;
    let task = api.task_of(&instance).await?;
    watch(screen, api, &task, &writers, "succeeded", &mut 0).await?;
    let took = began.elapsed();
    let step = screen.begin("the same address serves the new version");
    let now = api.wait_until_healthy(&instance, &step).await?;
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged > before + 200, Duration::from_secs(30)).await?;
    let tally = writers.stop().await?;
    let ledger = Ledger::open(&now, "shop", "app", password).await?;
    step.done(&format!("{now} says {}", ledger.version().await?));
    ensure!(now == address, "the address changed from {address} to {now}");
    ensure!(ledger.sums().await? == sums, "the tenant's rows, view or function changed");
    let found = ledger.find(&tally).await?;
    report(screen, &api.task(&task).await?, &tally, &found, took)?;
    let step = screen.begin("delete it");
    api.delete(&instance).await?;
    api.wait_until_gone(&instance).await?;
    step.done("gone");
    Ok(())
}

fn report(screen: &Screen, task: &Value, tally: &Tally, found: &Found, took: Duration) -> anyhow::Result<()> {
    let report = &task["report"];
    let rows = [
        ("", "the same instance".to_owned()),
        ("strategy", text(&report["strategy"])),
        ("version before, asked from the server", text(&report["from_answered"])),
        ("version now, asked from the server", text(&report["to_answered"])),
        ("transactions acknowledged", tally.acknowledged.to_string()),
        ("  missing", found.missing.to_string()),
        ("  applied twice", found.twice.to_string()),
        (
            "ledger (transfers between accounts)",
            if found.ledger_fits { "adds up" } else { "DOES NOT ADD UP" }.to_owned(),
        ),
        ("sessions that were open at the switch, and ended", text(&report["sessions_ended"])),
        ("errors seen by the writers", tally.errors.to_string()),
        ("gap, measured at the endpoint", format!("{} ms", text(&report["gap_ms"]))),
        ("longest gap seen by a writer", format!("{:.0} ms", tally.longest_gap.as_secs_f64() * 1000.0)),
        ("from the PATCH to the end", format!("{:.1} s", took.as_secs_f64())),
        ("the old server is kept until", text(&report["kept_until"])),
    ];
    let rows: Vec<_> =
        rows.into_iter().map(|(name, value)| (name.to_owned(), value, String::new())).collect();
    screen.table(&rows);
    ensure!((found.missing, found.twice) == (0, 0), "acknowledged rows are missing or were applied twice");
    ensure!(found.ledger_fits, "the ledger does not add up");
    Ok(())
}
