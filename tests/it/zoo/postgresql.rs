//! The zoo of PostgreSQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine as _, Following, OnProgress, Server, Settings};
use tokio_postgres::Client;

use super::{Fate, Thing, differences, held, is_named, reader_postgresql as reader, things};
use crate::engine_servers::{House, until};
use crate::postgres_servers::{ENGINE, database, started, tenant, user};

/// A way from one server to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    InPlace,
    Twin,
    Replica,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::Twin | Self::Replica => "twin",
        }
    }
}

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

fn with(server: &Server, read_only: bool, readers: bool) -> Server {
    let settings = Settings { read_only, readers, events: !read_only, ..server.settings.clone() };
    Server { settings, ..server.clone() }
}

fn major(version: &str) -> u32 {
    version.split('.').next().unwrap().parse().unwrap()
}

/// Who logs in by which password.
fn password(name: &str) -> &'static str {
    match name {
        "app" => "a",
        "clerk" => "c",
        _ => "i",
    }
}

async fn login(server: &Server, name: &str) -> Client {
    tenant(server, name, password(name), "shop").await.unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// Makes the things; where they are free, what the server refuses is left out.
pub async fn make(source: &Server, things: &[Thing], free: bool) {
    let users = ["app", "clerk", "Idle"].map(|name| {
        let databases: &[&str] = if name == "Idle" { &[] } else { &["shop"] };
        user(name, password(name), databases)
    });
    ENGINE.create_content(source, &[database("shop")], &users).await.unwrap();
    for thing in things {
        for (who, statements) in &thing.made {
            let who = if who.is_empty() { "app" } else { who };
            let client = login(source, who).await;
            if who == "app" {
                client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS z_{}", thing.name)).await.unwrap();
                client.batch_execute(&format!("SET search_path = z_{}, public", thing.name)).await.unwrap();
            }
            for sql in statements {
                let made = client.simple_query(sql).await;
                assert!(made.is_ok() || free, "{}: {sql}: {:?}", thing.name, made.err());
            }
        }
    }
}

async fn take_away(source: &Server, thing: &Thing) {
    let client = login(source, "app").await;
    for sql in &thing.undo {
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    client.batch_execute(&format!("DROP SCHEMA z_{} CASCADE", thing.name)).await.unwrap();
}

/// What the uses of each thing answer: rows, or the state by which one is refused.
async fn used(server: &Server, things: &[&Thing]) -> Vec<String> {
    let mut answers = Vec::new();
    for thing in things {
        for (who, statements) in &thing.used {
            let (who, raw) = who.split_once(' ').map_or((who.as_str(), false), |(who, _)| (who, true));
            let who = if who.is_empty() { "app" } else { who };
            let client = login(server, who).await;
            if !raw {
                // Databases and roles have settings of their own.
                client
                    .batch_execute(
                        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT name, boot_val FROM pg_settings WHERE source IN ('database', 'user', 'database user') \
                         AND context = 'user' LOOP PERFORM set_config(r.name, r.boot_val, false); END LOOP; END $$",
                    )
                    .await
                    .unwrap();
                client.batch_execute(&format!("SET search_path = z_{}, public", thing.name)).await.unwrap();
            }
            for sql in statements {
                let answer = match client.simple_query(sql).await {
                    Ok(messages) => messages
                        .iter()
                        .map(|message| match message {
                            tokio_postgres::SimpleQueryMessage::Row(row) => {
                                let values: Vec<&str> =
                                    (0..row.len()).map(|at| row.get(at).unwrap_or("~")).collect();
                                values.join("|")
                            }
                            tokio_postgres::SimpleQueryMessage::CommandComplete(count) => {
                                format!("({count})")
                            }
                            _ => String::new(),
                        })
                        .collect::<Vec<_>>()
                        .join(" / "),
                    Err(error) => format!("refused {:?}", error.code().map(|state| state.code().to_owned())),
                };
                answers.push(format!("{} {who}: {sql} => {answer}", thing.name));
            }
        }
    }
    answers
}

struct Seen {
    facts: BTreeSet<String>,
    dumped: BTreeSet<String>,
    said: BTreeSet<String>,
}

async fn seen(server: &Server, to: &str, columns: &reader::Columns) -> Seen {
    Seen {
        facts: reader::read(server, "shop", columns).await,
        dumped: reader::dumped(server, "shop", &major(to).to_string()).await,
        said: ENGINE.inventory(server).await.unwrap().into_iter().collect(),
    }
}

async fn goes(from: &str, to: &str, way: Way) {
    let told = things("postgresql.sql").into_iter().filter(|thing| thing.is_of(major(from))).collect();
    taken(from, to, way, told, false).await;
}

/// The same with things that tell nothing of their fate: those that a finding names are left out.
pub async fn goes_free(from: &str, to: &str, way: Way, things: Vec<Thing>) {
    taken(from, to, way, things, true).await;
}

async fn taken(from: &str, to: &str, way: Way, all: Vec<Thing>, free: bool) {
    let begun = Instant::now();
    let lap = |what: &str| eprintln!("{from} to {to} {way:?}: {what} after {:?}", begun.elapsed());
    let house = House::new();
    let source = started(&house, from).await;
    make(&source, &all, free).await;
    lap("made");
    let word = way.word();
    let strategy = if way == Way::InPlace { Strategy::InPlace } else { Strategy::Twin };
    let candidate = with(&house.server(to, true), true, way == Way::Replica);

    // What cannot be carried is named, all of it, and then taken away.
    let mut findings = ENGINE.pre_check(&source, &candidate, strategy).await.unwrap();
    let (mut kept, mut late): (Vec<&Thing>, Vec<&Thing>) = Default::default();
    for thing in &all {
        match thing.fate(word) {
            Fate::Carried if free && is_named(thing, &findings) => take_away(&source, thing).await,
            Fate::Refused(part) if findings.iter().all(|found| !found.object.contains(&part)) => {
                late.push(thing)
            }
            Fate::Refused(_) => take_away(&source, thing).await,
            Fate::Carried | Fate::Warned(_) => kept.push(thing),
        }
    }
    // What the target itself refuses is tried where nothing else is in the way.
    if !late.is_empty() {
        findings.extend(ENGINE.pre_check(&source, &candidate, strategy).await.unwrap());
    }
    for thing in late {
        take_away(&source, thing).await;
    }
    let mut wrong = if free { Vec::new() } else { held(&all.iter().collect::<Vec<_>>(), word, &findings) };
    let findings = ENGINE.pre_check(&source, &candidate, strategy).await.unwrap();
    if free {
        wrong.extend(
            findings
                .iter()
                .filter(|finding| finding.blocks)
                .map(|finding| format!("names no schema: {finding:?}")),
        );
        eprintln!("{} of {} schemas are possible", kept.len(), all.len());
    } else {
        wrong.extend(held(&kept, word, &findings));
    }
    lap("looked at");

    let fenced = with(&source, true, false);
    let open = with(&candidate, false, false);
    let (before, columns);
    if way == Way::InPlace {
        ENGINE.prepare_in_place(&source, &candidate, silent()).await.unwrap();
        ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
        columns = reader::columns(&source).await;
        before = seen(&source, to, &columns).await;
        ENGINE.stop_clean(&fenced).await.unwrap();
        ENGINE.convert_in_place(&fenced, &candidate, silent()).await.unwrap();
        ENGINE.start(&candidate).await.unwrap();
        ENGINE.convert(&candidate).await.unwrap();
    } else {
        ENGINE.create_data(&candidate).await.unwrap();
        ENGINE.start(&candidate).await.unwrap();
        ENGINE.seed(&source, &candidate, silent()).await.unwrap();
        ENGINE.follow(&source, &candidate, None).await.unwrap();
        let position = ENGINE.position(&source).await.unwrap();
        let reached = ENGINE.reached(&candidate, &position, Duration::from_secs(60)).await;
        let log = candidate.runtime.log_end(candidate.generation, 4096).await.unwrap();
        assert!(reached.unwrap(), "{log}");
        assert_eq!(ENGINE.following(&candidate).await.unwrap(), Following::Running);
        let compared = ENGINE.compare_rows(&source, &candidate, silent()).await.unwrap();
        wrong.extend(compared.differing.iter().map(|table| format!("compared {table}")));
        ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
        let mut position = ENGINE.position(&source).await.unwrap();
        until("a position that stays", async || {
            let last = std::mem::replace(&mut position, ENGINE.position(&source).await.unwrap());
            last == position
        })
        .await;
        assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(30)).await.unwrap());
        columns = reader::columns(&source).await;
        before = seen(&source, to, &columns).await;
        if way == Way::Twin {
            ENGINE.carry_the_rest(&fenced, &candidate).await.unwrap();
            ENGINE.cut(&candidate, Some(&fenced)).await.unwrap();
        } else {
            ENGINE.cut(&open, Some(&fenced)).await.unwrap();
        }
    }
    lap("there");
    let columns = reader::common(&columns, &reader::columns(&candidate).await);
    let again = reader::read(&candidate, "shop", &columns).await;
    let after = Seen { facts: again, ..seen(&candidate, to, &columns).await };
    // A line of a column that only one version has is no difference.
    let known = |line: &String| {
        let Some((fact, value)) = line.rsplit_once(reader::TAB) else { return true };
        let catalogue = fact.split(' ').next().and_then(|name| columns.get(name));
        catalogue.is_none_or(|catalogue| {
            value.split_once('=').is_some_and(|(column, _)| catalogue.contains_key(column))
        })
    };
    let there: BTreeSet<String> = before.facts.into_iter().filter(known).collect();
    wrong.extend(differences(&before.said, &after.said));
    wrong.extend(differences(&there, &after.facts).into_iter().map(|line| format!("read {line}")));
    wrong.extend(differences(&before.dumped, &after.dumped).into_iter().map(|line| format!("dump {line}")));
    eprintln!("{} facts, {} dumped, {} said", there.len(), before.dumped.len(), before.said.len());
    lap("compared");

    ENGINE.start(&open).await.unwrap();
    ENGINE.start(&source).await.unwrap();
    let (theirs, ours) = (used(&source, &kept).await, used(&open, &kept).await);
    for (theirs, ours) in theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours) {
        wrong.push(format!("used - {theirs}"));
        wrong.push(format!("used + {ours}"));
    }
    // What the uses left is the same, too.
    let (there, here) =
        (reader::read(&source, "shop", &columns).await, reader::read(&open, "shop", &columns).await);
    let left = differences(&there, &here);
    wrong.extend(
        left.into_iter()
            .filter(|line| !wrong.contains(&format!("read {line}")))
            .map(|line| format!("left {line}"))
            .collect::<Vec<_>>(),
    );
    lap("used");
    if let Some(folder) = std::env::var_os("COFFER_ZOO_TELL") {
        let file = format!("postgresql-{from}-{to}-{way:?}.txt");
        std::fs::write(std::path::Path::new(&folder).join(file), wrong.join("\n")).unwrap();
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_15_to_17() {
    goes("15.0", "17.0", Way::InPlace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_of_15_is_17() {
    goes("15.0", "17.0", Way::Twin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_15_is_17() {
    goes("15.0", "17.0", Way::Replica).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_17_to_18() {
    goes("17.0", "18.0", Way::InPlace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_of_17_is_18() {
    goes("17.0", "18.0", Way::Twin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_17_is_18() {
    goes("17.0", "18.0", Way::Replica).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_15_to_18() {
    goes("15.0", "18.0", Way::InPlace).await;
}
