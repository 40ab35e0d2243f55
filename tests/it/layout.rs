//! Who may use whom: the house's table, held against the `use crate::` lines and paths of every source file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Module, and what of ours it may use.
const TABLE: &[(&str, &[&str])] = &[
    ("api", &["auth", "commands", "domain", "db", "sockets", "telemetry"]),
    ("auth", &["db", "files", "seal", "domain"]),
    ("commands", &["db", "seal", "domain", "pki"]),
    ("db", &["domain", "telemetry", "testing"]),
    ("domain", &[]),
    ("endpoint", &["db", "sockets", "domain", "telemetry"]),
    ("engines", &["runtimes", "domain"]),
    ("pki", &[]),
    ("runtimes", &["sockets", "domain"]),
    ("files", &[]),
    ("seal", &["files"]),
    ("simulated", &["db", "engines", "runtimes", "domain"]),
    ("sockets", &[]),
    ("embedded_postgres", &[]),
    ("telemetry", &[]),
    ("testing", &[]),
    ("workflow", &["db", "engines", "pki", "runtimes", "seal", "domain", "telemetry", "testing"]),
    // The entry uses all; nobody uses the entry.
    (
        "cli",
        &[
            "api",
            "auth",
            "commands",
            "db",
            "domain",
            "endpoint",
            "files",
            "engines",
            "runtimes",
            "seal",
            "simulated",
            "embedded_postgres",
            "telemetry",
            "testing",
            "workflow",
        ],
    ),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// The top module names that follow `crate::` in a source, those in braces too; comment lines left out.
fn uses(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word =
        |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(braces) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut part = String::new();
            for c in braces.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(word(part.trim()));
                        part.clear();
                        continue;
                    }
                    _ => {}
                }
                part.push(c);
            }
            found.insert(word(part.trim()));
        } else {
            found.insert(word(rest));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the sources are found");
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let top = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        // A module's own tests may stand on anything.
        if top == "main" || top == "lib" || file.ends_with("tests.rs") {
            continue;
        }
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == top) else {
            wrong.push(format!("{top} is not in the table"));
            continue;
        };
        for used in uses(&std::fs::read_to_string(&file).unwrap()) {
            // A lower-case word that is a module of ours; macros and types exported at the root have none.
            if used != top && TABLE.iter().any(|(name, _)| *name == used) && !allowed.contains(&used.as_str())
            {
                wrong.push(format!("{} uses {used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the table:\n{}", wrong.join("\n"));
}

/// The rooms whose files stand above each other, too: no file uses one that uses it, by whatever way.
const LAYERED: &[&str] =
    &["workflow", "api", "engines", "engines/mariadb", "engines/postgresql", "runtimes", "runtimes/process"];

/// The files of a room that a file of it uses: the room's own head, which all may use, left out.
fn used_inside(room: &str, text: &str, files: &BTreeSet<String>) -> BTreeSet<String> {
    // A file's own tests come last, and may stand on anything.
    let text = text.split("\n#[cfg(test)]\n").next().unwrap();
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let own = format!("crate::{}::", room.replace('/', "::"));
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(&own) {
        let rest = &code[at + own.len()..];
        let names = match rest.strip_prefix('{') {
            Some(braces) => braces.split('}').next().unwrap().to_owned(),
            None => rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap().to_owned(),
        };
        let names = names.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        found.extend(names.filter(|name| files.contains(*name)).map(str::to_owned));
    }
    found
}

#[test]
fn no_file_of_a_layered_room_uses_one_that_uses_it() {
    for room in LAYERED {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
        let mut files = Vec::new();
        sources(&root, &mut files);
        files.retain(|file| !file.ends_with("tests.rs"));
        let name = |file: &Path| {
            let inside = file.strip_prefix(&root).unwrap().components().next().unwrap();
            inside.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
        };
        let names: BTreeSet<String> =
            files.iter().map(|file| name(file)).filter(|name| name != "mod").collect();
        assert!(!names.is_empty(), "{room}");
        let mut uses = std::collections::BTreeMap::<String, BTreeSet<String>>::new();
        for file in &files {
            let used = used_inside(room, &std::fs::read_to_string(file).unwrap(), &names);
            uses.entry(name(file)).or_default().extend(used);
        }
        for (file, used) in &uses {
            let (mut reached, mut left) = (BTreeSet::new(), used.clone());
            left.remove(file);
            while let Some(next) = left.pop_first() {
                if reached.insert(next.clone()) {
                    left.extend(uses.get(&next).into_iter().flatten().filter(|it| **it != next).cloned());
                }
            }
            assert!(
                file == "mod" || !reached.contains(file),
                "{room}: {file} uses what uses it: {reached:?}"
            );
        }
    }
}

#[test]
fn the_reader_of_uses_sees_every_form() {
    let text = "use crate::db::{self, Conn};\nuse crate::{seal, domain::ids};\nlet x = crate::auth::dev();\n// use crate::cli\n";
    let found: Vec<String> = uses(text).into_iter().collect();
    assert_eq!(found, ["auth", "db", "domain", "seal"]);
}
