//! The pages keep to what is there: their links and files, the commands, flags and variables that they name, and the
//! tables of settings and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The top folder of the sources.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `coffer WORDS --help` prints.
pub fn help(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_coffer")).args(words).arg("--help").output().unwrap();
    assert!(
        output.status.success(),
        "coffer {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The flags in it.
pub fn options(help: &str) -> BTreeSet<String> {
    let named = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = named.flat_map(|line| line.split([' ', ',', '=']).take_while(|word| !word.starts_with('<')));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

/// The variables in it.
pub fn variables(help: &str) -> BTreeSet<String> {
    let named = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    named.map(str::to_owned).collect()
}

/// Every page, by its path below the top.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for folder in ["", "docs", "api-ref", "migrations"] {
        for entry in std::fs::read_dir(top().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let inside = path.strip_prefix(top()).unwrap().to_owned();
                found.insert(inside, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(
        found.contains_key(Path::new("README.md")) && found.contains_key(Path::new("docs/operations.md"))
    );
    found
}

/// A page's lines outside its blocks of code, and those within.
fn parted(page: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut prose, mut code, mut inside) = (Vec::new(), Vec::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            code.push(line);
        } else {
            prose.push(line);
        }
    }
    assert!(!inside, "a block of code does not end");
    (prose, code)
}

/// The names under which a page's headings are linked to.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = parted(page).0.into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    let mut links = 0;
    for (path, text) in &pages {
        let prose = parted(text).0.join("\n");
        for rest in prose.split("](").skip(1) {
            let Some((link, _)) = rest.split_once(')') else { continue };
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                let mut at = PathBuf::new();
                for part in path.parent().unwrap().join(file).components() {
                    match part {
                        std::path::Component::ParentDir => assert!(at.pop(), "{link}"),
                        part => at.push(part),
                    }
                }
                at
            };
            let there = top().join(&target).exists();
            let named =
                anchor.is_empty() || pages.get(&target).is_some_and(|page| anchors(page).contains(anchor));
            if !there || !named {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(links > 200, "{links} links");
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn readme_fits_on_a_page_and_leads_to_every_other() {
    let pages = pages();
    let readme = &pages[Path::new("README.md")];
    assert!(readme.lines().count() <= 200, "README.md has {} lines", readme.lines().count());
    for path in pages.keys().filter(|path| path.starts_with("docs")) {
        assert!(
            readme.contains(&format!("({})", path.display())),
            "README.md does not lead to {}",
            path.display()
        );
    }
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut wrong = Vec::new();
    let mut named = 0;
    for (path, text) in pages() {
        for word in parted(&text).0.join("\n").split('`').skip(1).step_by(2) {
            let ours = ["src/", "tests/", "docs/", "api-ref/", "contrib/", "migrations/", ".make/"];
            // A placeholder in capitals, a pattern and a sentence are no names of files.
            let placeholder = word.split('/').any(|part| part == "NAME") || word.contains(['*', ' ', '<']);
            if !ours.iter().any(|folder| word.starts_with(folder)) || placeholder {
                continue;
            }
            named += 1;
            if !top().join(word).exists() {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(named > 100, "{named} files");
    assert!(wrong.is_empty(), "these are not there:\n{}", wrong.join("\n"));
}

/// The commands in a page's blocks of code: without comments, continued lines as one. And those that its prose names.
fn commands(page: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in parted(page).1 {
        let bare = line.split(" #").next().unwrap().trim();
        let next = bare.ends_with('\\');
        let bare = bare.trim_end_matches('\\').trim();
        match all.last_mut() {
            Some(last) if goes_on => {
                last.push(' ');
                last.push_str(bare);
            }
            _ => all.push(bare.to_owned()),
        }
        goes_on = next;
    }
    let prose = parted(page).0.join(" ");
    let named = prose.split('`').skip(1).step_by(2).filter(|word| word.starts_with("coffer "));
    all.extend(named.filter(|word| !word.starts_with("coffer ROLE ")).map(str::to_owned));
    all
}

#[test]
fn every_command_of_ours_in_a_page_is_there_with_its_flags() {
    let makefile = std::fs::read_to_string(top().join("Makefile")).unwrap();
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut seen = 0;
    for (path, text) in pages() {
        for command in commands(&text) {
            let words: Vec<&str> = command.split_whitespace().skip_while(|word| word.contains('=')).collect();
            if let ["make", goal, ..] = words[..] {
                assert!(makefile.contains(&format!("\n{goal}:")), "{}: make {goal}", path.display());
                seen += 1;
            }
            let [program, rest @ ..] = &words[..] else { continue };
            if !matches!(*program, "coffer" | "target/debug/coffer") {
                continue;
            }
            // The commands and sub-commands: as many of the first words as have a help of their own.
            let mut names: Vec<String> = Vec::new();
            for word in rest {
                let above = helps.entry(names.clone()).or_insert_with(|| help_of(&names));
                let listed = above.lines().any(|line| {
                    line.strip_prefix("  ").and_then(|line| line.split(' ').next()) == Some(*word)
                });
                if !listed {
                    break;
                }
                names.push((*word).to_owned());
            }
            assert!(!names.is_empty(), "{}: {command}", path.display());
            let known = options(helps.entry(names.clone()).or_insert_with(|| help_of(&names)));
            // The brackets of a usage are around flags, too.
            for flag in
                rest.iter().map(|word| word.trim_matches(['[', ']'])).filter(|it| it.starts_with("--"))
            {
                assert!(known.contains(flag), "{}: {command}: no {flag}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen} commands");
}

fn help_of(names: &[String]) -> String {
    help(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The cells of a page's tables.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    lines.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands in backticks.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_table_of_settings_is_what_the_roles_have() {
    let page = &pages()[Path::new("docs/operations.md")];
    let settings = page.split("\n## Settings\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut told_variables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(settings) {
        let [flags, variables, roles, ..] = &row[..] else { panic!("{row:?}") };
        for role in roles.split(", ") {
            told.entry(role.to_owned()).or_default().extend(words(flags));
            told_variables.entry(role.to_owned()).or_default().extend(words(variables));
        }
    }
    for role in ["api", "worker", "endpoint", "migrate", "dev", "admin", "doctor"] {
        let help = help(&[role]);
        let mut has = options(&help);
        has.remove("--help");
        assert_eq!(told[role], has, "the flags of {role}");
        assert_eq!(told_variables[role], variables(&help), "the variables of {role}");
    }
}

#[test]
fn operators_are_told_what_to_do_about_each_metric() {
    let pages = pages();
    let of = |page: &str| -> BTreeSet<String> {
        let all = rows(&pages[Path::new(page)]).into_iter().flat_map(|row| words(&row[0]));
        all.filter(|word| word.starts_with("coffer_")).collect()
    };
    let promised = of("api-ref/observability.md");
    assert!(promised.len() > 20, "{promised:?}");
    assert_eq!(of("docs/operations.md"), promised);
}
