//! What questions to a server's catalogue have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engines::Error;
use crate::engines::postgresql::ATTRIBUTE_VERSION;
use crate::engines::postgresql::connection::{Client, Row};

/// A kind of thing: its word; the question that gives the name of each and its facts as JSON; and the first major
/// version that has such things.
pub type Kind = (&'static str, String, u32);

/// A relation of the tenant's with its schema: joins on `c.relnamespace`.
pub const OF_RELATION: &str = "JOIN pg_namespace n ON n.oid = c.relnamespace";

/// A schema's name and another one.
pub fn named(name: &str) -> String {
    format!("n.nspname || '.' || {name}")
}

/// The options of an object, whose order means nothing.
pub fn options(column: &str) -> String {
    // One that later servers keep on their own is none of a tenant's.
    format!(
        "(SELECT string_agg(o, ', ' ORDER BY o) FROM unnest({column}) o WHERE o !~ '^{ATTRIBUTE_VERSION}=')"
    )
}

/// The settings of an object, whose order means nothing: a list of JSON's.
pub fn settings(column: &str) -> String {
    format!("(SELECT json_agg(o ORDER BY o) FROM unnest({column}) o)")
}

/// The condition that an object is no extension's.
pub fn no_member(class: &str, oid: &str) -> String {
    let class = if class.contains('.') { class.to_owned() } else { format!("'{class}'::regclass") };
    format!(
        "AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = {class} AND e.objid = {oid} AND e.deptype = 'e')"
    )
}

/// How often a question is asked while somebody drops what it describes, and how long it is waited in between.
const READINGS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The answer to a question that describes objects. The server lists them first and looks at each afterwards: one that is
/// dropped in between fails the whole question, which is then asked again.
///
/// # Errors
/// [`Error::Object`] naming an object that never rests.
pub async fn rows(client: &Client, doing: &'static str, place: &str, sql: &str) -> Result<Vec<Row>, Error> {
    let mut restless = Restless::default();
    let mut readings = 1;
    loop {
        match client.rows(doing, sql).await {
            Err(Error::State { message, .. }) if is_gone(&message) => {
                restless.look(client).await?;
                if readings == READINGS {
                    return Err(Error::Object {
                        object: format!("{place}{}", restless.name(&message)),
                        why: format!("was changed each time that the definitions were read ({message})"),
                        remedy: "let it rest for the time of a copy".to_owned(),
                    });
                }
                tokio::time::sleep(PAUSE).await;
                readings += 1;
            }
            other => return other,
        }
    }
}

/// Whether a server speaks of something that was there when it began to answer.
fn is_gone(message: &str) -> bool {
    ["could not open relation with OID", "cache lookup failed", "could not find"]
        .iter()
        .any(|gone| message.contains(gone))
}

/// Relations that came and went while it was looked.
#[derive(Default)]
struct Restless {
    /// The names of all that were seen, by their numbers.
    seen: BTreeMap<String, String>,
    /// One that was seen and is gone.
    gone: Option<String>,
}

impl Restless {
    async fn look(&mut self, client: &Client) -> Result<(), Error> {
        let sql = format!(
            "SELECT c.oid, {} FROM pg_class c {OF_RELATION} WHERE c.oid >= 16384 AND n.nspname !~ '^pg_'",
            named("c.relname")
        );
        let mut there = BTreeMap::new();
        for row in client.rows("look what changes", &sql).await? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            there.insert(row.next().unwrap_or_default(), row.next().unwrap_or_default());
        }
        let gone = self.seen.iter().find(|(number, _)| !there.contains_key(*number));
        self.gone = gone.map(|(_, name)| name.clone()).or_else(|| self.gone.take());
        self.seen.extend(there);
        Ok(())
    }

    /// The one that the server speaks of, by its number, or another one that does not rest.
    fn name(&self, message: &str) -> &str {
        let number = message.split(|c: char| !c.is_ascii_digit()).find_map(|number| self.seen.get(number));
        number.or(self.gone.as_ref()).map_or("a definition", String::as_str)
    }
}
