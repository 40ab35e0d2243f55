//! Bodies of routines that are text: the server reads them when they run, so that no trial of definitions shows what the
//! target makes of them. Looked for are words that became the language's own, and what the server's catalogue has no more.
//!
//! A body that has one may mean the same all the same: it is told as a warning.
//!
//! # If we die here
//! It only reads.

use std::collections::BTreeSet;

use crate::domain::question::Finding;
use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::check;
use crate::engines::postgresql::connection::{Client, quoted};
use crate::engines::postgresql::databases::open_databases;
use crate::engines::postgresql::findings;
use crate::engines::{Error, Server};

/// How many routines are named.
const NAMED: usize = 20;

/// What is asked of both sides: words that mean something wherever they stand, words that mean something before a
/// parenthesis, functions, and columns of the catalogue's relations.
const WORDS: &str = "SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')";
const CALLED: &str = "SELECT word FROM pg_get_keywords() WHERE catcode = 'C'";
const FUNCTIONS: &str =
    "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace";
const COLUMNS: &str = "SELECT DISTINCT c.relname || ' ' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                       WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 \
                       AND NOT a.attisdropped";

/// The routines of the source's whose text has something that means something else, or nothing, on the target.
///
/// # Errors
/// A server's.
pub async fn findings(source: &Server, target: &Server) -> Result<Vec<Finding>, Error> {
    let doing = "compare what two versions know";
    let (from, to) = (Client::connect(source).await?, Client::connect(target).await?);
    let more = async |at: &Client, beside: &Client, sql: &str| -> Result<Vec<String>, Error> {
        let there: BTreeSet<String> = beside.column(doing, sql).await?.into_iter().collect();
        let here = at.column(doing, sql).await?.into_iter();
        // Names of the server's own are plain.
        let is_plain = |word: &String| word.chars().all(|c| c.is_ascii_alphanumeric() || "_ ".contains(c));
        Ok(here.filter(|word| !there.contains(word) && is_plain(word)).collect())
    };
    let (words, called) = (more(&to, &from, WORDS).await?, more(&to, &from, CALLED).await?);
    let (functions, columns) = (more(&from, &to, FUNCTIONS).await?, more(&from, &to, COLUMNS).await?);
    let any = |words: &[String]| words.join("|");
    // A name that is quoted means what it meant.
    let mut parts: Vec<String> = Vec::new();
    let mut look = |words: &[String], pattern: String| {
        if !words.is_empty() {
            parts.push(format!("(regexp_match(p.prosrc, {}, 'i'))[1]", quoted(&pattern)));
        }
    };
    look(&words, format!(r#"(?:^|[^"])\m({})\M"#, any(&words)));
    look(&called, format!(r#"(?:^|[^"])\m({})\M\s*\("#, any(&called)));
    look(&functions, format!(r"\m({})\M", any(&functions)));
    for column in &columns {
        let Some((relation, column)) = column.split_once(' ') else { continue };
        parts.push(format!(
            "CASE WHEN p.prosrc ~* {} THEN (regexp_match(p.prosrc, {}, 'i'))[1] END",
            quoted(&format!(r"\m{relation}\M")),
            quoted(&format!(r"\m({column})\M"))
        ));
    }
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT x.name, x.found FROM (SELECT p.oid::regprocedure::text AS name, coalesce({}) AS found FROM pg_proc p \
         JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND l.lanname NOT IN ('c', 'internal') \
         AND to_jsonb(p)->>'prosqlbody' IS NULL AND NOT EXISTS (SELECT 1 FROM pg_depend e \
         WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')) x \
         WHERE x.found IS NOT NULL ORDER BY 1 LIMIT {NAMED}",
        parts.join(", ")
    );
    let mut found = Vec::new();
    for database in open_databases(&from).await? {
        let inside = Client::connect_to(source, &database).await?.patient(check::PATIENCE);
        for row in inside.rows("look into the bodies of routines", &sql).await? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (name, word) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
            found.push(findings::warning(
                format!("{database}: function {name}"),
                format!("has {word} in its text, which means something else in the target, or is not there any more"),
                "quote it where it is a name of yours, or use what the target has, and try the function there",
            ));
        }
    }
    found.truncate(NAMED);
    Ok(found)
}
