//! The zoo of MariaDB.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use coffer::domain::question::Finding;
use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine as _, Following, Server, Settings};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{Fate, Thing, differences, held, is_named, reader_mariadb as reader, things};
use crate::engine_servers::{ENGINE, House, Relay, connect, database, own, quiet, until, user};

/// A way from one server to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    InPlace,
    /// Fed, the copy made of the server's files.
    Twin,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::InPlace => "in_place",
            Self::Twin => "twin",
        }
    }
}

fn with(server: &Server, read_only: bool) -> Server {
    let settings = Settings { read_only, events: !read_only, ..server.settings.clone() };
    Server { settings, ..server.clone() }
}

/// `1011` of `10.11.0`.
fn number(version: &str) -> u32 {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
    parts.next().unwrap() * 100 + parts.next().unwrap()
}

async fn session(server: &Server, who: &str, thing: &Thing) -> Conn {
    let mut conn = match who {
        "coffer" => own(server).await,
        "" => connect(server, "app", "a").await.unwrap(),
        other => connect(server, other, "o").await.unwrap(),
    };
    // Whoever has no right on it does without.
    let used = conn.query_drop(format!("USE z_{}", thing.name)).await;
    assert!(used.is_ok() || !who.is_empty(), "{}: {used:?}", thing.name);
    conn
}

/// Makes the things; where they are free, what the server refuses is left out.
pub async fn make(source: &Server, things: &[Thing], free: bool) {
    let names: Vec<String> = things.iter().map(|thing| format!("z_{}", thing.name)).collect();
    let databases: Vec<_> = names.iter().map(|name| database(name)).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    ENGINE
        .create_content(source, &databases, &[user("app", "a", &all), user("other", "o", &[])])
        .await
        .unwrap();
    for thing in things {
        for (who, statements) in &thing.made {
            if statements.is_empty() {
                continue;
            }
            let mut conn = session(source, who, thing).await;
            for sql in statements {
                let made = conn.query_drop(sql).await;
                assert!(made.is_ok() || free, "{}: {sql}: {:?}", thing.name, made.err());
            }
            conn.disconnect().await.unwrap();
        }
    }
}

async fn take_away(source: &Server, thing: &Thing) {
    let mut conn = own(source).await;
    for sql in &thing.undo {
        conn.query_drop(sql).await.unwrap();
    }
    conn.query_drop(format!("DROP DATABASE z_{}", thing.name)).await.unwrap();
}

/// What the uses of each thing answer: rows, or the number by which one is refused.
async fn used(server: &Server, things: &[&Thing]) -> Vec<String> {
    let mut answers = Vec::new();
    for thing in things {
        for (who, statements) in &thing.used {
            let mut conn = session(server, who, thing).await;
            for sql in statements {
                let mut answer = Vec::new();
                match conn.query_iter(sql).await {
                    Ok(mut result) => loop {
                        match result.collect::<mysql_async::Row>().await {
                            Ok(rows) => answer.extend(rows.into_iter().map(|row| {
                                row.unwrap().iter().map(reader::text).collect::<Vec<_>>().join("|")
                            })),
                            Err(mysql_async::Error::Server(error)) => {
                                answer.push(format!("refused {}", error.code));
                                break;
                            }
                            Err(error) => panic!("{sql}: {error}"),
                        }
                        if result.is_empty() {
                            break;
                        }
                    },
                    Err(mysql_async::Error::Server(error)) => answer.push(format!("refused {}", error.code)),
                    Err(error) => panic!("{sql}: {error}"),
                }
                answers.push(format!("{} {who}: {sql} => {}", thing.name, answer.join(" / ")));
            }
            conn.disconnect().await.unwrap();
        }
    }
    answers
}

/// Rows of MEMORY go with the server's stop. The look has to say so; then they are taken away beforehand.
async fn empty_memory(source: &Server, findings: &[Finding]) -> Vec<String> {
    let mut conn = own(source).await;
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE='SYSTEM VERSIONED' FROM information_schema.TABLES \
               WHERE ENGINE='MEMORY' AND TABLE_SCHEMA LIKE 'z\\_%'";
    let tables: Vec<(String, String, bool)> = conn.query(sql).await.unwrap();
    let mut unnamed = Vec::new();
    for (schema, table, is_versioned) in tables {
        let object = format!("{schema}.{table}");
        if !findings.iter().any(|finding| finding.object == object && !finding.blocks) {
            unnamed.push(format!("nothing warns of {object}, which is of MEMORY"));
        }
        let name = format!("`{schema}`.`{}`", table.replace('`', "``"));
        conn.query_drop(format!("DELETE FROM {name}")).await.unwrap();
        if is_versioned {
            conn.query_drop(format!("DELETE HISTORY FROM {name}")).await.unwrap();
        }
    }
    conn.disconnect().await.unwrap();
    unnamed
}

async fn looked_at(source: &Server, candidate: &Server, way: Way) -> Vec<Finding> {
    let strategy = if way == Way::InPlace { Strategy::InPlace } else { Strategy::Twin };
    ENGINE.pre_check(source, candidate, strategy).await.unwrap()
}

async fn goes(from: &str, to: &str, way: Way) {
    let told = things("mariadb.sql").into_iter().filter(|thing| thing.is_of(number(from))).collect();
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
    let source = house.started(from, false).await;
    let word = way.word();
    make(&source, &all, free).await;
    lap("made");
    let mut candidate = house.server(to, true);
    // As the workflow has it: what applications were written for stays.
    from.clone_into(&mut candidate.settings.defaults_of);

    // What cannot be carried is named, all of it, and then taken away.
    let findings = looked_at(&source, &candidate, way).await;
    let mut wrong = if free { Vec::new() } else { held(&all.iter().collect::<Vec<_>>(), word, &findings) };
    let mut kept: Vec<&Thing> = Vec::new();
    for thing in &all {
        match thing.fate(word) {
            Fate::Carried if free && is_named(thing, &findings) => take_away(&source, thing).await,
            Fate::Refused(_) => take_away(&source, thing).await,
            Fate::Carried | Fate::Warned(_) => kept.push(thing),
        }
    }
    let findings = looked_at(&source, &candidate, way).await;
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
    if free && way == Way::InPlace {
        wrong.extend(empty_memory(&source, &findings).await);
    }
    lap("looked at");

    let names: Vec<String> = kept.iter().map(|thing| format!("z_{}", thing.name)).collect();
    let series = to.trim_end_matches(".0").to_owned();
    let fenced = with(&source, true);
    let open = with(&candidate, false);
    let (before, facts, dumped, columns);
    if way == Way::InPlace {
        ENGINE.prepare_in_place(&source, &candidate, quiet()).await.unwrap();
        ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
        columns = reader::columns(&source).await;
        before = ENGINE.inventory(&source).await.unwrap();
        facts = reader::read(&source, &columns).await;
        dumped = reader::dumped(&source, &series, &names).await;
        ENGINE.stop_clean(&fenced).await.unwrap();
        ENGINE.convert_in_place(&fenced, &candidate, quiet()).await.unwrap();
        ENGINE.start(&candidate).await.unwrap();
        ENGINE.convert(&candidate).await.unwrap();
    } else {
        ENGINE.create_data(&candidate).await.unwrap();
        ENGINE.start(&candidate).await.unwrap();
        ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
        lap("seeded");
        let relay = Relay::to(&source).await;
        ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
        until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
            .await;
        let position = ENGINE.position(&source).await.unwrap();
        assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(60)).await.unwrap());
        let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
        wrong.extend(compared.differing.iter().map(|table| format!("compared {table}")));
        ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
        let position = ENGINE.position(&source).await.unwrap();
        assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(60)).await.unwrap());
        columns = reader::columns(&source).await;
        before = ENGINE.inventory(&source).await.unwrap();
        facts = reader::read(&source, &columns).await;
        dumped = reader::dumped(&source, &series, &names).await;
        ENGINE.carry_the_rest(&fenced, &candidate).await.unwrap();
        ENGINE.cut(&candidate, Some(&fenced)).await.unwrap();
    }
    lap("there");
    let there = reader::columns(&candidate).await;
    let mut columns = columns;
    for (table, columns) in &mut columns {
        columns.retain(|column| there.get(table).is_some_and(|there| there.contains(column)));
    }
    columns.retain(|_, columns| !columns.is_empty());
    let known = |line: &String| {
        let Some((fact, value)) = line.rsplit_once(reader::UNIT) else { return true };
        let table = fact.split(' ').next().map(|name| format!("information_schema.{name}"));
        let column = value.split('=').next().unwrap();
        table.and_then(|table| columns.get(&table)).is_some_and(|columns| columns.contains(column))
    };
    let facts: BTreeSet<String> = facts.into_iter().filter(known).collect();
    let after = ENGINE.inventory(&candidate).await.unwrap();
    wrong.extend(differences(&before.into_iter().collect(), &after.into_iter().collect()));
    let again = reader::read(&candidate, &columns).await;
    wrong.extend(differences(&facts, &again).into_iter().map(|line| format!("read {line}")));
    let dumped_again = reader::dumped(&candidate, &series, &names).await;
    wrong.extend(differences(&dumped, &dumped_again).into_iter().map(|line| format!("dump {line}")));
    eprintln!("{} facts, {} dumped", facts.len(), dumped.len());
    lap("compared");

    ENGINE.start(&open).await.unwrap();
    ENGINE.start(&source).await.unwrap();
    let (theirs, ours) = (used(&source, &kept).await, used(&open, &kept).await);
    for (theirs, ours) in theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours) {
        wrong.push(format!("used - {theirs}"));
        wrong.push(format!("used + {ours}"));
    }
    let (there, here) = (reader::read(&source, &columns).await, reader::read(&open, &columns).await);
    let left = differences(&there, &here);
    let left: Vec<String> = left
        .into_iter()
        .filter(|line| !wrong.contains(&format!("read {line}")))
        .map(|line| format!("left {line}"))
        .collect();
    wrong.extend(left);
    lap("used");
    if let Some(folder) = std::env::var_os("COFFER_ZOO_TELL") {
        std::fs::write(std::path::Path::new(&folder).join(format!("maria-{way:?}.txt")), wrong.join("\n"))
            .unwrap();
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_place_from_10_11_to_11_8() {
    goes("10.11.0", "11.8.0", Way::InPlace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_of_10_11_is_11_8() {
    goes("10.11.0", "11.8.0", Way::Twin).await;
}
