//! The units of `contrib/systemd`: systemd takes them, and what they give our program is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docs::{help, options, top, variables};
use crate::harness::skip;

/// By its path: set-up does not install it, and who has it has it there.
const ANALYZE: &str = "/usr/bin/systemd-analyze";

/// Where the units expect our program.
const PROGRAM: &str = "/usr/local/bin/coffer";

fn folder() -> PathBuf {
    top().join("contrib/systemd")
}

fn files(ending: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// The values of a key of a unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// What a unit's main command line gives our program: its role, and the words behind it.
fn started(unit: &str) -> (String, Vec<String>) {
    let [line] = values(unit, "ExecStart")[..] else { panic!("one ExecStart: {unit}") };
    let mut words = line.split_whitespace().map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some(PROGRAM), "{line}");
    (words.next().unwrap(), words.collect())
}

#[test]
fn systemd_takes_the_units() {
    if !Path::new(ANALYZE).exists() {
        skip(&format!("systemd_takes_the_units: no {ANALYZE}"));
        return;
    }
    // With the program that was built in the place of the one that would be installed.
    let place = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, text) in files("service") {
        let path = place.path().join(name);
        std::fs::write(&path, text.replace(PROGRAM, env!("CARGO_BIN_EXE_coffer"))).unwrap();
        paths.push(path);
    }
    assert_eq!(paths.len(), 4, "{paths:?}");
    let output = Command::new(ANALYZE).arg("verify").arg("--man=no").args(&paths).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // It also looks at what the machine has of its own, which is not ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("coffer")).collect();
    assert!(output.status.success() && ours.is_empty(), "{}: {said}", output.status);

    // It is a look that finds something.
    let broken = place.path().join("coffer-broken.service");
    std::fs::write(&broken, "[Service]\nExecStart=/nowhere/coffer\nNoSuchKey=1\n").unwrap();
    let output = Command::new(ANALYZE).arg("verify").arg("--man=no").arg(&broken).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("NoSuchKey") && !output.status.success(), "{said}");
}

#[test]
fn what_the_units_give_a_role_is_there() {
    let environment: Vec<(String, String)> = files("env");
    let [(name, shared)] = &environment[..] else { panic!("one file of variables: {environment:?}") };
    let shared: BTreeSet<String> = variables_of(shared.lines());
    assert!(shared.contains("DATABASE_URL"));
    let mut roles = BTreeSet::new();
    for (unit, text) in files("service") {
        let (role, words) = started(&text);
        assert_eq!(unit, format!("coffer-{role}.service"));
        let help = help(&[&role]);
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(options(&help).contains(flag.as_str()), "{unit}: `coffer {role}` has no {flag}");
        }
        let own = variables_of(values(&text, "Environment").into_iter().flat_map(str::split_whitespace));
        let known = variables(&help);
        for variable in &own {
            assert!(known.contains(variable), "{unit}: `coffer {role}` does not read {variable}");
        }
        for variable in &shared {
            let read = known.contains(variable) || logging().contains(variable);
            assert!(read, "{name}: `coffer {role}` does not read {variable}");
        }
        // What a role cannot do without is given.
        for needed in needed(&help) {
            let variable = needed.trim_start_matches("--").replace('-', "_").to_uppercase();
            let given = words.contains(&needed)
                || own.iter().chain(&shared).any(|it| it.strip_prefix("COFFER_").unwrap_or(it) == variable);
            assert!(given, "{unit}: `coffer {role}` needs {needed}");
        }
        assert_eq!(values(&text, "EnvironmentFile"), [format!("/etc/coffer/{name}")], "{unit}");
        roles.insert(role);
    }
    assert_eq!(roles.into_iter().collect::<Vec<_>>(), ["api", "endpoint", "migrate", "worker"]);
}

/// The variables that assignments name.
fn variables_of<'a>(assignments: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    assignments
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect()
}

/// Variables that every role reads, without a flag.
fn logging() -> BTreeSet<String> {
    let text = std::fs::read_to_string(top().join("src/telemetry/mod.rs")).unwrap();
    let named = text.split("env::var(\"").skip(1).filter_map(|rest| rest.split_once('"'));
    named.map(|(name, _)| name.to_owned()).collect()
}

/// The flags outside the brackets of a usage line.
fn needed(help: &str) -> Vec<String> {
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
    let words = usage.split_whitespace().filter(|word| word.starts_with("--"));
    words.map(str::to_owned).collect()
}
