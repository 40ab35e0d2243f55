//! What our programs and tests need of a machine is what set-up installs, what that depends on, and what every Debian has:
//! held here, so that a step that set-up lacks fails where it is written and not on the next machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::roles::engines;
use crate::harness::skip;
use crate::harness::view;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Programs that scripts within our sources call, or that are called by a variable; the others are found by their text.
const ALSO: [&str; 19] = [
    "bash", "cat", "chmod", "cp", "id", "ln", "mkdir", "mount", "mv", "rm", "sh", "touch", "truncate",
    "true", "umount", "unshare", "setsid", "setpriv", "flock",
];

/// Programs that only a bench runs.
const OF_BENCH: [&str; 1] = ["wrk"];

/// The words of a list in `.make/common.bash`.
fn list(name: &str) -> Vec<String> {
    let script = format!(". {TOP}/.make/common.bash && printf '%s\\n' ${name}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success());
    let words: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(!words.is_empty(), "{name} is empty");
    words
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// The programs that our sources start by their name alone.
fn programs() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(TOP).join(folder), &mut files);
    }
    let mut found: BTreeSet<String> = ALSO.iter().map(|name| (*name).to_owned()).collect();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (_, rest) in
            text.match_indices("Command::new(\"").map(|(at, what)| (at, &text[at + what.len()..]))
        {
            let name = rest.split('"').next().unwrap();
            if !name.is_empty() && !name.contains(['/', '{', '.']) {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

struct Package {
    base: bool,
    needs: Vec<Vec<String>>,
}

/// What is installed here, also under the names that it stands for.
fn installed() -> Option<BTreeMap<String, Package>> {
    let format = "${db:Status-Status}\t${Package}\t${Essential}\t${Priority}\t${Pre-Depends}, ${Depends}\t${Provides}\n";
    let output = Command::new("dpkg-query").args(["-W", "-f", format]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let word = |text: &str| text.trim().split([' ', ':', '(']).next().unwrap_or_default().to_owned();
    let mut all: BTreeMap<String, Package> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [status, name, essential, priority, depends, provides] = fields[..] else { continue };
        if status != "installed" {
            continue;
        }
        let needs: Vec<Vec<String>> = depends
            .split(',')
            .map(|any| any.split('|').map(word).filter(|name| !name.is_empty()).collect())
            .collect();
        let base = essential == "yes" || priority == "required";
        for provided in provides.split(',').map(word).filter(|name| !name.is_empty()) {
            let stands_for = Package { base: false, needs: vec![vec![name.to_owned()]] };
            all.entry(provided).or_insert(stands_for);
        }
        all.insert(name.to_owned(), Package { base, needs });
    }
    Some(all)
}

/// What a bare Debian has after set-up, of what is installed here.
fn allowed(all: &BTreeMap<String, Package>) -> BTreeSet<String> {
    let mut open: Vec<String> = all.iter().filter(|(_, it)| it.base).map(|(name, _)| name.clone()).collect();
    open.extend(list("build_packages"));
    open.extend(list("test_packages"));
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if let Some(package) = all.get(&name)
            && found.insert(name)
        {
            open.extend(package.needs.iter().flatten().cloned());
        }
    }
    found
}

/// The package that a program on the path is of.
fn package_of(program: &str) -> Option<String> {
    for folder in ["/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        let path = format!("{folder}/{program}");
        let output = Command::new("dpkg").args(["-S", &path]).output().unwrap();
        if output.status.success() {
            let text = String::from_utf8(output.stdout).unwrap();
            let line = text.lines().find(|line| !line.starts_with("diversion"))?;
            return Some(line.split([':', ',']).next()?.to_owned());
        }
    }
    None
}

#[test]
fn every_program_that_is_run_is_one_that_set_up_installs() {
    let Some(all) = installed() else {
        skip("every_program_that_is_run_is_one_that_set_up_installs: no Debian");
        return;
    };
    let allowed = allowed(&all);
    assert!(allowed.contains("coreutils") && allowed.contains("util-linux") && allowed.contains("mount"));
    assert!(!allowed.contains("procps") && !allowed.contains("git"), "no more than that");
    let programs = programs();
    assert!(programs.contains("dpkg-query") && programs.contains("mount"), "{programs:?}");
    for program in programs.iter().filter(|program| !OF_BENCH.contains(&program.as_str())) {
        let package = package_of(program);
        assert!(
            package.as_ref().is_some_and(|package| allowed.contains(package)),
            "`{program}` is of {package:?}, which set-up does not install: see build_packages and test_packages in .make/common.bash"
        );
    }
}

#[test]
fn tests_see_the_engines_that_set_up_names_and_no_others() {
    let seen = |folder: PathBuf| -> BTreeSet<String> {
        std::fs::read_dir(folder).unwrap().flatten().map(|it| it.file_name().into_string().unwrap()).collect()
    };
    let optional = std::env::var("COFFER_TEST_OPTIONAL").unwrap_or_default();
    let named: BTreeSet<String> =
        list("engine_roots").into_iter().chain(optional.split_whitespace().map(str::to_owned)).collect();
    assert_eq!(seen(engines()), named);
    assert_eq!(seen(view::place("COFFER_TEST_BUILDS", "builds")), list("build_roots").into_iter().collect());

    // A cache with more is seen without it; one with less is said to be so, with what mends it.
    let cache = tempfile::tempdir().unwrap();
    let make = |root: &str| {
        std::fs::create_dir(cache.path().join(root)).unwrap();
        std::fs::write(cache.path().join(root).join("DONE"), "").unwrap();
    };
    let view = |name: &str, optional: &str| {
        let folder = cache.path().join(name);
        let output = Command::new("bash")
            .arg(format!("{TOP}/.make/view"))
            .arg(&folder)
            .env("COFFER_ENGINES", cache.path())
            .env("COFFER_TEST_OPTIONAL", optional)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap(), folder)
    };
    let roots = list("engine_roots");
    roots[1..].iter().for_each(|root| make(root));
    make("postgresql-13");
    let (made, said, _) = view("less", "");
    assert!(!made && said.contains(&roots[0]) && said.contains(".make/setup test"), "{said}");
    make(&roots[0]);
    let (made, said, folder) = view("more", "");
    assert!(made, "{said}");
    assert_eq!(seen(folder.join("engines")), roots.iter().cloned().collect());
    let (made, said, folder) = view("asked", "postgresql-13");
    assert!(made && seen(folder.join("engines")).contains("postgresql-13"), "{said}");
}
