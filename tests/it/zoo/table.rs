//! The table of what upgrades carry, refuse and warn of, made from what the zoo's tests hold: `api-ref/carried.md`.
//!
//! `COFFER_UPDATE=1` writes it instead of comparing.

use super::{Fate, Thing, things};

fn fate(thing: &Thing, strategy: &str) -> &'static str {
    match thing.fate(strategy) {
        Fate::Carried => "carried",
        Fate::Warned(_) => "carried, with a warning",
        Fate::Refused(_) => "refused by name",
    }
}

fn table(title: &str, things: &[Thing]) -> String {
    let mut text = format!("\n## {title}\n\n| what | in place | twin, action |\n|---|---|---|\n");
    for thing in things {
        let tell = thing.tell.replace('|', "\\|");
        text.push_str(&format!("| {tell} | {} | {} |\n", fate(thing, "in_place"), fate(thing, "twin")));
    }
    text
}

#[test]
fn api_ref_says_what_is_carried() {
    let mut text = String::from(
        "# What an upgrade carries\n\nMade by a test that takes each of these through every strategy, on real servers, and compares it afterwards \
         (`tests/it/zoo`). *Carried* is: the same afterwards, by the service's own proof and by a second reader, and used as a tenant would. \
         *Refused by name*: a dry run names the object, why, and what to do; `auto` then takes the other way.\n",
    );
    text.push_str(&table("PostgreSQL", &things("postgresql.sql")));
    text.push_str(&table("MariaDB", &things("mariadb.sql")));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("api-ref/carried.md");
    if std::env::var_os("COFFER_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "api-ref/carried.md is another: write it with COFFER_UPDATE=1");
}
