//! One thing that a server holds besides rows, as a line of text: its name, then what is so of it, each fact by its name.
//! Two servers that hold the same give the same lines, so that they can be sorted, counted and hashed as they are; and
//! what differs between two lines can be told in words. A fact that is a secret's hash is compared and never told.

use std::collections::BTreeMap;

/// What parts the facts of a line.
const PART: char = '\t';

/// What the name of a fact ends with that is compared and never told.
const SECRET: char = '#';

/// A line: the thing's name, and its facts. What is empty is left out.
pub fn line(name: &str, facts: impl IntoIterator<Item = (String, String)>) -> String {
    let mut line = flat(name);
    for (fact, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        line.push(PART);
        line.push_str(&fact);
        line.push('=');
        line.push_str(&flat(&value));
    }
    line
}

/// A fact that is compared and never told.
pub fn secret(fact: &str) -> String {
    format!("{fact}{SECRET}")
}

fn flat(text: &str) -> String {
    text.replace('\\', "\\\\").replace(PART, "\\t").replace('\n', "\\n")
}

/// The name of what a line describes.
pub fn name(line: &str) -> &str {
    line.split_once(PART).map_or(line, |(name, _)| name)
}

fn facts(line: &str) -> BTreeMap<&str, &str> {
    line.split(PART).skip(1).filter_map(|fact| fact.split_once('=')).collect()
}

/// The longest value that is told whole, in characters.
const TOLD: usize = 200;

fn told(value: Option<&str>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) if value.chars().count() > TOLD => {
            format!("{}…", value.chars().take(TOLD).collect::<String>())
        }
        Some(value) => value.to_owned(),
    }
}

/// What differs between two servers, in words: a thing that one of them alone holds, or what is not the same of it.
pub fn differences(theirs: &[String], ours: &[String]) -> Vec<String> {
    let only = |here: &[String], there: &[String]| -> BTreeMap<String, Vec<String>> {
        let there: std::collections::HashSet<&String> = there.iter().collect();
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in here.iter().filter(|line| !there.contains(line)) {
            lines.entry(name(line).to_owned()).or_default().push(line.clone());
        }
        lines
    };
    let (theirs, mut ours) = (only(theirs, ours), only(ours, theirs));
    let mut words = Vec::new();
    for (name, lines) in theirs {
        let mut others = ours.remove(&name).unwrap_or_default().into_iter();
        for line in lines {
            match others.next() {
                Some(other) => words.push(format!("{name}: {}", apart(&line, &other))),
                None => words.push(format!("{name} is only on the source")),
            }
        }
        words.extend(others.map(|_| format!("{name} is only on the copy")));
    }
    for (name, lines) in ours {
        words.extend(lines.iter().map(|_| format!("{name} is only on the copy")));
    }
    words
}

/// What is not the same in two lines of one name.
fn apart(their: &str, our: &str) -> String {
    let (their, our) = (facts(their), facts(our));
    let mut names: Vec<&str> = their.keys().chain(our.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| their.get(name) != our.get(name));
    let words: Vec<String> = differing
        .map(|name| match name.strip_suffix(SECRET) {
            Some(name) => format!("its {name} differs"),
            None => format!(
                "its {name} is {} on the source, {} on the copy",
                told(their.get(name).copied()),
                told(our.get(name).copied())
            ),
        })
        .collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, facts: &[(&str, &str)]) -> String {
        line(name, facts.iter().map(|(fact, value)| ((*fact).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_differs_is_told_in_words() {
        let theirs = [
            one("column shop.t.v", &[("type", "float"), ("default", "1\t2\n")]),
            one("role app", &[("login", "true"), (&secret("password"), "abc")]),
            one("table shop.t", &[]),
            one("same", &[]),
        ];
        let ours = [
            one("column shop.t.v", &[("type", "double"), ("comment", "x")]),
            one("role app", &[("login", "true"), (&secret("password"), "def")]),
            one("same", &[]),
            one("view shop.v", &[]),
        ];
        assert_eq!(
            differences(&theirs, &ours),
            [
                "column shop.t.v: its comment is nothing on the source, x on the copy; \
                 its default is 1\\t2\\n on the source, nothing on the copy; \
                 its type is float on the source, double on the copy",
                "role app: its password differs",
                "table shop.t is only on the source",
                "view shop.v is only on the copy",
            ]
        );
        assert_eq!(differences(&theirs, &theirs), Vec::<String>::new());
    }

    #[test]
    fn a_thing_that_is_there_twice_counts_twice() {
        let (a, b) = (one("x", &[("of", "1")]), one("x", &[("of", "2")]));
        assert_eq!(
            differences(&[a.clone(), b.clone()], std::slice::from_ref(&a)),
            ["x is only on the source"]
        );
        assert_eq!(differences(&[a], &[b]), ["x: its of is 1 on the source, 2 on the copy"]);
    }
}
