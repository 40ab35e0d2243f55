//! The definitions of a server, tried on an empty server of the target: what it does not take is named by its object
//! before anything waits for it.
//!
//! What `pg_restore` cannot make it says on its standard error, the object's entry first, then the server's words; it goes
//! on with the rest, so that all of them are named. Everything is made in the candidate's own folder, by the same sessions
//! without power as a copy's definitions ([`seed`](super::seed)), and taken away with it.
//!
//! # If we die here
//! The candidate's folder is made anew by whoever comes next.

use std::time::Duration;

use crate::domain::question::Finding;
use crate::engines::postgresql::connection::hide_verifiers;
use crate::engines::postgresql::{Postgresql, anew, bootstrap, check, layout, seed};
use crate::engines::{Engine as _, Error, Server, Settings};

/// How long it may take, with the empty server's birth: a dry run is answered within 45 s.
const BUDGET: Duration = Duration::from_secs(30);

/// Memory of the empty server, in MB.
const MEMORY_MB: u32 = 256;

/// How many objects are named.
const NAMED: usize = 20;

/// How many bytes of the server's words are told.
const SAID: usize = 300;

/// Tries the definitions; gives what the target refuses. What could not be tried in time is a warning.
pub async fn findings(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    let doing = "try the definitions on the target";
    if source.generation == candidate.generation {
        return Err(Error::Unexpected { doing, answer: "the candidate is the source".to_owned() });
    }
    let settings = Settings {
        memory_mb: MEMORY_MB,
        read_only: true,
        readers: false,
        events: false,
        ..candidate.settings.clone()
    };
    let (source, empty) = (source.clone(), Server { settings, ..candidate.clone() });
    // Apart from the asker, whose patience may end: what is put there is always taken away.
    let trying = tokio::spawn(async move {
        let tried = tokio::time::timeout(BUDGET, on_an_empty_server(&source, &empty)).await;
        let cleared = Postgresql.drop_data(&empty).await;
        let found = match tried {
            Ok(found) => found?,
            Err(_) => vec![check::warning(
                "the definitions",
                format!("were not all tried on the target within {} s", BUDGET.as_secs()),
                "what the target refuses would be found when they are copied, and the upgrade undone then",
            )],
        };
        // What a time-out left on the source.
        seed::forget_rehearsal(&source, &empty).await?;
        cleared?;
        Ok(found)
    });
    match trying.await {
        Ok(found) => found,
        Err(_) => Err(Error::Unexpected { doing, answer: "it was ended".to_owned() }),
    }
}

async fn on_an_empty_server(source: &Server, empty: &Server) -> Result<Vec<Finding>, Error> {
    anew(empty).await?;
    bootstrap::make(empty, &layout(empty)?, true).await?;
    Postgresql.start(empty).await?;
    let said = seed::rehearse(source, empty).await?;
    Ok(said.iter().flat_map(|(database, said)| read(database, said)).take(NAMED).collect())
}

/// The objects that a program's words name, and why each could not be made.
fn read(database: &str, said: &str) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut object = None;
    let mut lines = said.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some((_, entry)) = line.split_once("from TOC entry ") {
            object = named(entry);
            continue;
        }
        let Some((_, why)) = line.split_once("could not execute query: ERROR:") else { continue };
        let what = object.clone().unwrap_or_else(|| "a definition".to_owned());
        // The statement names the schema, and stands at the end.
        let statement = lines.clone().find_map(|line| line.strip_prefix("Command was: ")).unwrap_or_default();
        let end = why.trim().char_indices().nth(SAID).map_or(why.trim().len(), |(at, _)| at);
        let why = hide_verifiers(why.trim().get(..end).unwrap_or_default());
        let object = match first_name(statement) {
            Some(name) if !what.contains(&*name) && name.contains('.') => {
                format!("{database}: {what} ({name})")
            }
            _ => format!("{database}: {what}"),
        };
        if found.iter().all(|finding| finding.object != object) && found.len() < NAMED {
            let remedy = "change or drop it, so that the target can make it, and ask again";
            found.push(check::blocker(object, format!("cannot be made by the target: {why}"), remedy));
        }
    }
    found
}

/// `view bg` of `3502; 1259 16402 VIEW bg app`.
fn named(entry: &str) -> Option<String> {
    let mut words = entry.split_once("; ")?.1.split(' ').skip(2).peekable();
    let mut kind = Vec::new();
    while let Some(word) =
        words.next_if(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase()))
    {
        kind.push(word.to_ascii_lowercase());
    }
    let mut name: Vec<&str> = words.collect();
    // The last word is the owner's.
    if name.len() > 1 {
        name.pop();
    }
    (!kind.is_empty()).then(|| format!("{} {}", kind.join(" "), name.join(" ")).trim_end().to_owned())
}

/// The first name with a schema of a statement.
fn first_name(statement: &str) -> Option<String> {
    let word = statement.split_whitespace().find(|word| word.contains('.'))?;
    let name: String = word.chars().take_while(|c| !"(;,".contains(*c)).collect();
    Some(name.replace('"', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_is_named_once() {
        let said = "pg_restore: while PROCESSING TOC:\n\
                    pg_restore: from TOC entry 3502; 1259 16402 VIEW bg app\n\
                    pg_restore: error: could not execute query: ERROR:  column \"checkpoints_timed\" does not exist\n\
                    LINE 2:  SELECT \"pg_stat_bgwriter\".\"checkpoints_timed\"\n\
                    Command was: CREATE VIEW \"public\".\"bg\" AS\n SELECT 1;\n\n\n\
                    pg_restore: from TOC entry 3503; 2606 16410 CHECK CONSTRAINT emp c app\n\
                    pg_restore: error: could not execute query: ERROR:  function x() does not exist\n\
                    HINT:  No function matches\n\
                    Command was: ALTER TABLE \"public\".\"emp\" ADD CONSTRAINT\n\
                    pg_restore: warning: errors ignored on restore: 2\n";
        let found = read("shop", said);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{told:?}");
        assert_eq!(found[0].object, "shop: view bg (public.bg)");
        assert_eq!(found[0].why, "cannot be made by the target: column \"checkpoints_timed\" does not exist");
        assert!(found[0].blocks);
        assert_eq!(found[1].object, "shop: check constraint emp c (public.emp)");
    }
}
