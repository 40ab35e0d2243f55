//! The definitions of a server, tried on an empty server of the target: what it does not take is named by its object
//! before anything waits for it.
//!
//! What `pg_restore` cannot make it says, with the server's words and the statement, which names the object; it goes on with
//! the rest, so that all of them are named. Everything is made in the candidate's own folder, by the same sessions
//! without power as a copy's definitions ([`seed`]), and taken away with it.
//!
//! # If we die here
//! A task that is retried makes the candidate's folder again. A dry run or an inspection is not retried by a task: the next
//! worker removes the folder, its server, and the account at the source.

use std::time::Duration;

use crate::domain::parameter::Values;
use crate::domain::question::Finding;
use crate::domain::upgrade::Strategy;
use crate::engines::postgresql::connection::{Client, hide_verifiers, quoted};
use crate::engines::postgresql::findings;
use crate::engines::postgresql::{Postgresql, anew, bodies, bootstrap, layout, seed, waits};
use crate::engines::{Engine as _, Error, Server, Settings};

/// Memory of the empty server, in MB.
const MEMORY_MB: u32 = 256;

/// How many objects are named.
const NAMED: usize = 20;

/// How many bytes of the server's words are told.
const SAID: usize = 300;

/// The server's words where a database takes no further connection of an account without power.
const CROWDED: &str = "too many connections for database";

/// Tries the definitions for as long as `trial`, the empty server's birth included; gives what the target refuses. What
/// could not be tried in time is a warning.
///
/// In place, the target's own program carries more than a dump holds, and with the tenant's functions disarmed: a definition
/// that is refused for want of something that the source has, and that is not the server's own, is a warning then.
pub async fn findings(
    source: &Server,
    candidate: &Server,
    strategy: Strategy,
    trial: Duration,
) -> Result<Vec<Finding>, Error> {
    let doing = "try the definitions on the target";
    if source.generation == candidate.generation {
        return Err(Error::Unexpected { doing, answer: "the candidate is the source".to_owned() });
    }
    let settings = Settings {
        memory_mb: MEMORY_MB,
        read_only: true,
        full: false,
        logs: Vec::new(),
        readers: false,
        events: false,
        // What a group has of memory and of defaults is the instance's, and not this server's.
        parameters: Values::new(),
        ..candidate.settings.clone()
    };
    let (source, empty) = (source.clone(), Server { settings, ..candidate.clone() });
    // Apart from the asker, whose patience may end: what is put there is always taken away.
    let trying = tokio::spawn(async move {
        let tried = tokio::time::timeout(trial, on_an_empty_server(&source, &empty)).await;
        let cleared = Postgresql.drop_data(&empty).await;
        let found = match tried {
            Ok(Err(Error::Program { message, .. })) if message.contains(CROWDED) => vec![findings::warning(
                "the definitions",
                "were not tried on the target: a database has no connection left for who reads them",
                "ALTER DATABASE … CONNECTION LIMIT to more, and look again, so that what the target refuses is told beforehand",
            )],
            Ok(Err(error)) if waits::is_late(&error) => {
                let why = match waits::named(&source, error).await {
                    Error::HeldUp(who) => who,
                    other => other.to_string(),
                };
                vec![findings::warning(
                    "the definitions",
                    format!("were not tried on the target: {why}"),
                    "end what is named, and look again, so that what the target refuses is told beforehand",
                )]
            }
            // What never rests is carried all the same where it rests once.
            Ok(Err(Error::Object { object, why, remedy })) => vec![findings::warning(object, why, remedy)],
            Ok(found) => found?,
            Err(_) => vec![findings::warning(
                "the definitions",
                format!("were not all tried on the target within {} s", trial.as_secs()),
                "what the target refuses would be found when they are copied, and the upgrade undone then",
            )],
        };
        // What a time-out left on the source.
        seed::forget_rehearsal(&source).await?;
        cleared?;
        match strategy {
            Strategy::Twin => Ok(found),
            Strategy::InPlace => in_place(&source, found).await,
        }
    });
    match trying.await {
        Ok(found) => found,
        Err(_) => Err(Error::Unexpected { doing, answer: "it was ended".to_owned() }),
    }
}

/// The findings as they are in place.
async fn in_place(source: &Server, mut found: Vec<Finding>) -> Result<Vec<Finding>, Error> {
    for finding in found.iter_mut().filter(|finding| finding.blocks) {
        let Some((database, _)) = finding.object.split_once(": ") else { continue };
        let Some((catalog, stem, missing)) = missing(&finding.why) else { continue };
        let inside = Client::connect_to(source, database).await?;
        let there = format!(
            "SELECT 1 FROM {catalog} o JOIN pg_namespace n ON n.oid = o.{stem}namespace WHERE o.{stem}name = {} \
             AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
            quoted(&missing)
        );
        if inside.is_there("look what a definition lacks", &there).await? {
            finding.blocks = false;
        }
    }
    Ok(found)
}

/// What a definition lacks by the server's words: the catalogue that would list it, the stem of its columns, and its name.
fn missing(why: &str) -> Option<(&'static str, &'static str, String)> {
    let said = why.strip_suffix(" does not exist")?;
    let (word, catalog, stem) =
        [("function ", "pg_proc", "pro"), ("relation ", "pg_class", "rel"), ("type ", "pg_type", "typ")]
            .into_iter()
            .find(|(word, ..)| said.contains(&format!(": {word}")))?;
    let name = said.split_once(&format!(": {word}"))?.1;
    let name = name.split('(').next().unwrap_or_default().replace('"', "");
    Some((catalog, stem, name.rsplit('.').next().unwrap_or_default().to_owned()))
}

async fn on_an_empty_server(source: &Server, empty: &Server) -> Result<Vec<Finding>, Error> {
    anew(empty).await?;
    bootstrap::make(empty, &layout(empty)?, true).await?;
    Postgresql.start(empty).await?;
    let (said, settings) = seed::rehearse(source, empty).await?;
    let mut found: Vec<Finding> =
        said.iter().flat_map(|(database, said)| read(database, said)).take(NAMED).collect();
    found.extend(settings.into_iter().take(NAMED).map(|refused| {
        let object = format!("{}: setting {}", refused.of, refused.setting);
        let remedy = format!("ALTER DATABASE … RESET {0}, or ALTER ROLE … RESET {0}", refused.setting);
        findings::blocker(object, format!("is refused by the target: {}", refused.said), remedy)
    }));
    found.extend(bodies::findings(source, empty).await?);
    Ok(found)
}

/// The objects that a program's words name, and why each could not be made.
fn read(database: &str, said: &str) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        let Some((_, why)) = line.split_once("could not execute query: ERROR:") else { continue };
        // The statement stands behind the server's hints.
        let statement = lines.clone().find_map(|line| line.strip_prefix("Command was: ")).unwrap_or_default();
        let why: String = hide_verifiers(why.trim()).chars().take(SAID).collect();
        let object =
            format!("{database}: {}", made_by(statement).unwrap_or_else(|| "a definition".to_owned()));
        if found.iter().all(|finding| finding.object != object) && found.len() < NAMED {
            let remedy = "change or drop it, so that the target can make it, and ask again";
            found.push(findings::blocker(object, format!("cannot be made by the target: {why}"), remedy));
        }
    }
    found
}

/// `view public.bg` of `CREATE VIEW "public"."bg" AS`: every name in it is quoted.
fn made_by(statement: &str) -> Option<String> {
    /// Words that say how a thing is made, and not what it is.
    const HOW: [&str; 7] = ["CREATE", "ALTER", "OR", "REPLACE", "ONLY", "UNIQUE", "UNLOGGED"];
    let (words, mut rest) = statement.split_at(statement.find('"')?);
    let kind: Vec<String> =
        words.split_whitespace().filter(|word| !HOW.contains(word)).map(str::to_ascii_lowercase).collect();
    let mut name = String::new();
    // A quote within a name is written twice.
    while let Some(after) = rest.strip_prefix('"') {
        let (part, behind) = after.split_once('"')?;
        name.push_str(part);
        rest = match behind.strip_prefix('.') {
            Some(next) => {
                name.push('.');
                next
            }
            None => {
                if behind.starts_with('"') {
                    name.push('"');
                }
                behind
            }
        };
    }
    Some(format!("{} {name}", kind.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_read() {
        let told = |why: &str| missing(&format!("cannot be made by the target: {why}"));
        assert_eq!(
            told("function public.f(integer) does not exist"),
            Some(("pg_proc", "pro", "f".to_owned()))
        );
        assert_eq!(told("relation \"s.t\" does not exist"), Some(("pg_class", "rel", "t".to_owned())));
        assert_eq!(told("column pg_stat_bgwriter.x does not exist"), None);
    }

    #[test]
    fn each_object_is_named_once() {
        let said = "pg_restore: error: could not execute query: ERROR:  column \"checkpoints_timed\" does not exist\n\
                    LINE 2:  SELECT \"pg_stat_bgwriter\".\"checkpoints_timed\"\n\
                    Command was: CREATE VIEW \"public\".\"bg\" AS\n SELECT 1;\n\n\n\
                    pg_restore: error: could not execute query: ERROR:  function x() does not exist\n\
                    HINT:  No function matches\n\
                    Command was: ALTER TABLE ONLY \"public\".\"o\"\"d\" ADD CONSTRAINT \"c\"\n\
                    pg_restore: warning: errors ignored on restore: 2\n";
        let found = read("shop", said);
        let named: Vec<&str> = found.iter().map(|finding| &*finding.object).collect();
        assert_eq!(named, ["shop: view public.bg", "shop: table public.o\"d"]);
        assert_eq!(found[0].why, "cannot be made by the target: column \"checkpoints_timed\" does not exist");
        assert!(found[0].blocks);
    }
}
