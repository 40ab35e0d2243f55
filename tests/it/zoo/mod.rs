//! A zoo: for each engine everything that it knows, as SQL that a tenant runs, taken through every strategy and pair of
//! versions. What becomes of it is looked at by the product's own proof and by a second reader that shares no code with
//! it, and it is used afterwards as a tenant would, on the old server and on the new one, with the same answers.
//!
//! Each thing says what is to become of it: it is carried, or the look beforehand refuses it by name, or warns of it. A
//! finding that no thing tells of fails the test, as does one that is told and not found.
//!
//! `COFFER_ZOO_TELL` names a folder into which each run writes what differs.
//!
//! Needs what `engine_postgresql` and `engine_mariadb` need.

mod coverage;
mod mariadb;
mod postgresql;
mod property;
mod reader_mariadb;
mod reader_postgresql;
mod table;

use std::collections::BTreeSet;

use coffer::domain::question::Finding;

/// What becomes of a thing by one strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is the same afterwards.
    Carried,
    /// It is carried, and a finding whose object has this in it warns of it.
    Warned(String),
    /// A finding whose object has this in it stands in the way.
    Refused(String),
}

/// One thing of the zoo.
#[derive(Clone, Debug, Default)]
pub struct Thing {
    pub name: String,
    pub tell: String,
    pub since: u32,
    /// The last version that has it.
    pub until: Option<u32>,
    /// Strategy, and what becomes of it; what is not here is carried.
    fates: Vec<(String, Fate)>,
    pub undo: Vec<String>,
    /// Who makes it, by which statements.
    pub made: Vec<(String, Vec<String>)>,
    /// Who uses it, by which statements.
    pub used: Vec<(String, Vec<String>)>,
}

impl Thing {
    /// Whether a server of this version knows it.
    pub fn is_of(&self, version: u32) -> bool {
        self.since <= version && self.until.is_none_or(|until| version <= until)
    }

    pub fn fate(&self, strategy: &str) -> Fate {
        let found = self.fates.iter().find(|(of, _)| of == strategy);
        found.map_or(Fate::Carried, |(_, fate)| fate.clone())
    }
}

/// Reads a zoo's file; `postgresql.sql` tells how it is written.
pub fn things(file: &str) -> Vec<Thing> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/zoo").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let begins = |line: &str, with: &str| line.strip_prefix(with).map(|rest| rest.trim().to_owned());
    let mut things: Vec<Thing> = Vec::new();
    let mut statement = String::new();
    let mut into_use = false;
    for line in text.lines().chain(std::iter::once("-- # end")) {
        let said = begins(line, "-- # ");
        let part = begins(line, "-- =")
            .map(|who| (true, who))
            .or_else(|| begins(line, "-- + ").map(|who| (false, who)));
        let ends = said.is_some() || part.is_some() || line == ";;";
        if ends && let Some(thing) = things.last_mut() {
            let sql = std::mem::take(&mut statement).trim().to_owned();
            let list = if into_use { &mut thing.used } else { &mut thing.made };
            if !sql.is_empty() {
                list.last_mut().unwrap().1.push(sql);
            }
        }
        if let Some(name) = said {
            into_use = false;
            things.push(Thing { name, made: vec![(String::new(), Vec::new())], ..Thing::default() });
            continue;
        }
        let Some(thing) = things.last_mut() else { continue };
        if let Some((uses, who)) = part {
            into_use = uses;
            let list = if into_use { &mut thing.used } else { &mut thing.made };
            list.push((who, Vec::new()));
        } else if let Some(tell) = begins(line, "-- tell:") {
            thing.tell = tell;
        } else if let Some(since) = begins(line, "-- since:") {
            thing.since = since.parse().unwrap();
        } else if let Some(until) = begins(line, "-- until:") {
            thing.until = Some(until.parse().unwrap());
        } else if let Some(undo) = begins(line, "-- undo:") {
            thing.undo.push(undo);
        } else if let Some((strategy, fate)) = line
            .strip_prefix("-- ")
            .and_then(|rest| rest.split_once(": "))
            .filter(|(strategy, _)| ["twin", "in_place", "replica"].contains(strategy))
        {
            let (word, of) = fate.split_once(' ').unwrap();
            let fate = match word {
                "refused" => Fate::Refused(of.trim().to_owned()),
                "warned" => Fate::Warned(of.trim().to_owned()),
                _ => panic!("{line}"),
            };
            thing.fates.push((strategy.to_owned(), fate));
        } else if line != ";;" {
            statement.push_str(line);
            statement.push('\n');
        }
    }
    things.pop();
    assert!(things.iter().all(|thing| !thing.tell.is_empty()), "each thing tells what it is");
    things
}

/// Holds what a look found against what the things tell of it. Gives what is wrong.
pub fn held(things: &[&Thing], strategy: &str, findings: &[Finding]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut told = BTreeSet::new();
    for thing in things {
        let (blocks, part) = match thing.fate(strategy) {
            Fate::Carried => continue,
            Fate::Warned(part) => (false, part),
            Fate::Refused(part) => (true, part),
        };
        let of_it: Vec<&Finding> =
            findings.iter().filter(|f| f.blocks == blocks && f.object.contains(&part)).collect();
        if of_it.is_empty() {
            wrong.push(format!("{} is not named: no finding of {part:?}", thing.name));
        }
        told.extend(of_it.into_iter().map(|finding| finding.object.clone()));
    }
    // Which builds this machine has is no matter of the zoo's.
    let of_builds = |finding: &&Finding| !finding.blocks && finding.object == "the target";
    for finding in findings.iter().filter(|finding| !told.contains(&finding.object) && !of_builds(finding)) {
        wrong.push(format!("nothing tells of the finding {finding:?}"));
    }
    wrong
}

/// Whether something stands in the way of a thing.
pub fn is_named(thing: &Thing, findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.blocks && finding.object.contains(&format!("z_{}.", thing.name)))
}

/// What only one of two sides has, in lines; `[]` when both are the same.
pub fn differences(there: &BTreeSet<String>, here: &BTreeSet<String>) -> Vec<String> {
    let missing = there.difference(here).map(|line| format!("- {line}"));
    let surplus = here.difference(there).map(|line| format!("+ {line}"));
    let mut lines: Vec<String> = missing.chain(surplus).collect();
    lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    lines
}
