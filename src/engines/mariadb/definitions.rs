//! Views, routines, triggers and events: read as they are, and tried one by one on an empty server of another version.
//!
//! Their texts are the tenant's, who chooses every byte of them. No program splits them into statements: each text
//! goes to the server as a statement to be prepared ([`Client::run_one`]), which is exactly one or none. The bytes are
//! read as they are stored and parsed in the character set that the object has.
//!
//! To read or to make a view runs what it calls, as far as the server wants to know its result: `ROUND(1.5, f())` has
//! as many digits as `f` says. So they are read by an account that can run nothing ([`helpers::show`]), which is told
//! the texts all the same. They are made while each function only gives back NULL: the same head, our own body. The
//! functions themselves are made before, and are gone by then.
//!
//! # If we die here
//! Nothing of the source has changed. The empty server is dropped by whoever tries again.

use sha2::{Digest as _, Sha256};

use crate::engines::mariadb::connection::{BytesRow, Client, name, quoted};
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::helpers;
use crate::engines::{Error, Server};

/// How many bytes the texts may have together: they are held whole, of more than one server.
const LIMIT: usize = 24 * MEGABYTE;

const MEGABYTE: usize = 1024 * 1024;

/// What a definition is of. The order is the one in which they are made: views call functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Function,
    Package,
    PackageBody,
    Procedure,
    View,
    Trigger,
    Event,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Function => "FUNCTION",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
            Self::Procedure => "PROCEDURE",
            Self::View => "VIEW",
            Self::Trigger => "TRIGGER",
            Self::Event => "EVENT",
        }
    }

    fn routine(word: &str) -> Option<Self> {
        [Self::Function, Self::Package, Self::PackageBody, Self::Procedure]
            .into_iter()
            .find(|kind| kind.word() == word)
    }

    /// Where in the answer of `SHOW CREATE` are: SQL mode, time zone, text, character set and collation of the client,
    /// collation of the database.
    const fn places(self) -> (Option<usize>, Option<usize>, usize, usize, usize, Option<usize>) {
        match self {
            Self::View => (None, None, 1, 2, 3, None),
            Self::Event => (Some(1), Some(2), 3, 4, 5, Some(6)),
            _ => (Some(1), None, 2, 3, 4, Some(5)),
        }
    }
}

/// One object, with all that its text's meaning depends on.
#[derive(Clone, PartialEq, Eq)]
pub struct Definition {
    kind: Kind,
    schema: String,
    name: String,
    /// Empty for a view: it is printed anew, in the mode of our own session.
    sql_mode: String,
    character_set: String,
    collation: String,
    database_collation: Option<String>,
    time_zone: Option<String>,
    /// When an event was made, in seconds, or a day before (whatever the time zone) if it ends some time; judged by
    /// today, one whose time has passed could not be made.
    made: Option<String>,
    text: Vec<u8>,
    /// Of a function: a text that makes one which is called the same way, and does nothing.
    empty: Option<Vec<u8>>,
}

impl Definition {
    /// The object as a tenant names it: `function shop.len`.
    pub fn label(&self) -> String {
        label(self.kind, &self.schema, &self.name)
    }

    /// The view's schema and name, if it is one.
    pub fn as_view(&self) -> Option<(&str, &str)> {
        (self.kind == Kind::View).then_some((self.schema.as_str(), self.name.as_str()))
    }

    const fn is_routine(&self) -> bool {
        matches!(self.kind, Kind::Function | Kind::Package | Kind::PackageBody | Kind::Procedure)
    }
}

fn label(kind: Kind, schema: &str, name: &str) -> String {
    format!("{} {schema}.{name}", kind.word().to_ascii_lowercase())
}

/// What there is, as far as it can be told.
#[derive(Default)]
pub struct Read {
    /// In the order in which they are listed: routines, views, triggers, events.
    pub definitions: Vec<Definition>,
    /// Objects whose text cannot be told, each with the reason.
    pub untold: Vec<(String, String)>,
}

/// Every definition of the tenant's. The client is one that can run nothing: see [`helpers::show`].
pub async fn read(client: &mut Client) -> Result<Read, Error> {
    client.run("read texts as they are", "SET SESSION character_set_results=binary").await?;
    let mut read = Read::default();
    let mut left = LIMIT;
    for Listed { kind, schema, name: object, made, body } in list(client).await? {
        let label = label(kind, &schema, &object);
        client.run("choose a database", &format!("USE {}", name(&schema))).await?;
        let show = format!("SHOW CREATE {} {}.{}", kind.word(), name(&schema), name(&object));
        let row = match client.bytes("read a definition", &show).await {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            // It is broken, or is gone by now.
            Err(Error::Refused { code, message, .. }) => {
                read.untold.push((label, format!("{code}: {message}")));
                continue;
            }
            Err(error) => return Err(error),
        };
        let definition = match definition(kind, schema, object, made, body.as_ref(), &row) {
            Ok(definition) => definition,
            Err(Error::Unexpected { answer, .. }) => {
                read.untold.push((label, answer));
                continue;
            }
            Err(error) => return Err(error),
        };
        let bytes = definition.text.len() + definition.empty.as_ref().map_or(0, Vec::len);
        match left.checked_sub(bytes) {
            Some(rest) => {
                left = rest;
                read.definitions.push(definition);
            }
            None => {
                let why = format!("the texts have more than {} MB together", LIMIT / MEGABYTE);
                read.untold.push((label, why));
            }
        }
    }
    client.run("read texts in our character set", "SET SESSION character_set_results=utf8mb4").await?;
    Ok(read)
}

/// An object before its text is read.
struct Listed {
    kind: Kind,
    schema: String,
    name: String,
    made: Option<String>,
    body: Option<Body>,
}

/// What tells where in a function's text its body begins.
struct Body {
    bytes: usize,
    aggregate: bool,
    hash: String,
}

impl Body {
    /// Reads it from the answer: `12 NONE 5feceb66..`.
    fn read(told: &str) -> Option<Self> {
        let mut parts = told.split(' ');
        let (bytes, aggregate, hash) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { bytes: bytes.parse().ok()?, aggregate: aggregate == "GROUP", hash: hash.to_owned() })
    }

    /// The text with another body, which does nothing; `None` when it is not this body that it ends with.
    fn emptied(&self, text: &[u8], oracle: bool) -> Option<Vec<u8>> {
        let (head, body) = text.split_at_checked(text.len().checked_sub(self.bytes)?)?;
        let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let empty: &[u8] = match (oracle, self.aggregate) {
            (false, false) => b"RETURN NULL",
            (true, false) => b"AS BEGIN RETURN NULL; END",
            (false, true) => {
                b"BEGIN DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN NULL; LOOP FETCH GROUP NEXT ROW; END LOOP; END"
            }
            (true, true) => {
                b"AS BEGIN LOOP FETCH GROUP NEXT ROW; END LOOP; EXCEPTION WHEN NO_DATA_FOUND THEN RETURN NULL; END"
            }
        };
        (hash == self.hash).then(|| [head, b"\n", empty].concat())
    }
}

async fn list(client: &mut Client) -> Result<Vec<Listed>, Error> {
    // Each with its kind's word, its schema, its name, when it was made, and a function's body.
    let lists = [
        format!(
            "SELECT type, db, name, NULL, \
             IF(type='FUNCTION', CONCAT_WS(' ', OCTET_LENGTH(body), aggregate, SHA2(body, 256)), NULL) \
             FROM mysql.proc WHERE {} ORDER BY 1, BINARY db, BINARY name",
            tenant_schema("db")
        ),
        format!(
            "SELECT 'VIEW', TABLE_SCHEMA, TABLE_NAME, NULL, NULL FROM information_schema.TABLES WHERE {} \
             AND TABLE_TYPE='VIEW' ORDER BY BINARY TABLE_SCHEMA, BINARY TABLE_NAME",
            tenant_schema("TABLE_SCHEMA")
        ),
        // In the order in which they fire.
        format!(
            "SELECT 'TRIGGER', TRIGGER_SCHEMA, TRIGGER_NAME, NULL, NULL FROM information_schema.TRIGGERS WHERE {} \
             ORDER BY BINARY TRIGGER_SCHEMA, BINARY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
            tenant_schema("TRIGGER_SCHEMA")
        ),
        format!(
            "SELECT 'EVENT', EVENT_SCHEMA, EVENT_NAME, \
             UNIX_TIMESTAMP(CREATED) - IF(EXECUTE_AT IS NULL AND ENDS IS NULL, 0, 86400), NULL \
             FROM information_schema.EVENTS WHERE {} ORDER BY BINARY EVENT_SCHEMA, BINARY EVENT_NAME",
            tenant_schema("EVENT_SCHEMA")
        ),
    ];
    let mut listed = Vec::new();
    for sql in lists {
        for row in client.bytes("list the definitions", &sql).await? {
            let [word, schema, object, made, body] = row.as_slice() else { continue };
            let word = words(word.as_deref(), "a kind")?;
            let kind = match word.to_ascii_uppercase().as_str() {
                "VIEW" => Kind::View,
                "TRIGGER" => Kind::Trigger,
                "EVENT" => Kind::Event,
                routine => Kind::routine(routine).ok_or(Error::Unexpected {
                    doing: "list the definitions",
                    answer: format!("a routine that is a {word}"),
                })?,
            };
            let made = made.as_deref().map(|made| words(Some(made), "a time")).transpose()?;
            let body = body.as_deref().map(|body| words(Some(body), "a body")).transpose()?;
            listed.push(Listed {
                kind,
                schema: words(schema.as_deref(), "a schema")?,
                name: words(object.as_deref(), "a name")?,
                made,
                body: body.as_deref().and_then(Body::read),
            });
        }
    }
    Ok(listed)
}

fn words(value: Option<&[u8]>, what: &str) -> Result<String, Error> {
    let text = value.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    text.ok_or(Error::Unexpected {
        doing: "read a definition",
        answer: format!("{what} that is no text: {value:?}"),
    })
}

fn definition(
    kind: Kind,
    schema: String,
    object: String,
    made: Option<String>,
    body: Option<&Body>,
    row: &BytesRow,
) -> Result<Definition, Error> {
    let label = || label(kind, &schema, &object);
    let (sql_mode, time_zone, text, character_set, collation, database_collation) = kind.places();
    let cell = |at: usize| row.get(at).and_then(Option::as_deref);
    let word = |at: usize| words(cell(at), &label());
    // A routine's and an event's name, and what comes before it, are in our character set, the rest is in the object's:
    // in some of those, a quote would be the second half of a character.
    let shown = cell(text).unwrap_or_default();
    let quoted_name = name(&object).into_bytes();
    let head = shown.windows(quoted_name.len()).position(|part| part == quoted_name);
    let head = shown.get(..head.map_or(shown.len(), |at| at + quoted_name.len())).unwrap_or_default();
    let one_set = matches!(kind, Kind::Trigger | Kind::View) || word(character_set)?.starts_with("utf8");
    if !one_set && !head.is_ascii() {
        let answer = "its name is in another character set than its text".to_owned();
        return Err(Error::Unexpected { doing: "read a definition", answer });
    }
    let sql_mode = sql_mode.map(word).transpose()?.unwrap_or_default();
    let oracle = sql_mode.split(',').any(|mode| mode == "ORACLE");
    Ok(Definition {
        empty: body.and_then(|body| body.emptied(shown, oracle)),
        sql_mode,
        time_zone: time_zone.map(word).transpose()?,
        text: cell(text)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| Error::Unexpected { doing: "read a definition", answer: label() })?,
        character_set: word(character_set)?,
        collation: word(collation)?,
        database_collation: database_collation.map(word).transpose()?,
        kind,
        made,
        schema,
        name: object,
    })
}

/// What a server refused.
pub struct Refused<'a> {
    /// The definition.
    pub of: &'a Definition,
    /// The server's number.
    pub code: u16,
    /// Its text.
    pub message: String,
}

/// Makes each routine and event on a server that has none of the tenant's objects but the databases, as it is, and
/// drops what can be called: no view may meet it.
pub async fn try_without_tables<'a>(
    client: &mut Client,
    definitions: &'a [Definition],
) -> Result<Vec<Refused<'a>>, Error> {
    let mut refused = Vec::new();
    let routines = definitions.iter().filter(|definition| definition.is_routine());
    for definition in routines.clone() {
        refused.extend(try_one(client, definition, &definition.text).await?);
    }
    // Older versions know packages in this mode only.
    client.run("drop routines in their mode", "SET SESSION sql_mode='ORACLE'").await?;
    for Definition { kind, schema, name: object, .. } in
        routines.filter(|routine| routine.kind != Kind::PackageBody)
    {
        let drop = format!("DROP {} IF EXISTS {}.{}", kind.word(), name(schema), name(object));
        client.run("drop a routine", &drop).await?;
    }
    client.run("leave the routines' mode", "SET SESSION sql_mode=''").await?;
    for definition in definitions.iter().filter(|definition| definition.kind == Kind::Event) {
        refused.extend(try_one(client, definition, &definition.text).await?);
    }
    Ok(refused)
}

/// Makes each view and trigger on a server that has the tables, and no routine. Functions are there meanwhile that do
/// nothing.
pub async fn try_with_tables<'a>(
    candidate: &Server,
    client: &mut Client,
    definitions: &'a [Definition],
) -> Result<Vec<Refused<'a>>, Error> {
    for function in definitions.iter().filter(|definition| definition.kind == Kind::Function) {
        // Without it no view can be made that calls it. It was refused as it is, too, and named then.
        if let Some(empty) = &function.empty {
            try_one(client, function, empty).await?;
        }
    }
    let (helper, mut maker) = helpers::maker(candidate, client).await?;
    let views = definitions.iter().filter(|definition| definition.kind == Kind::View).collect();
    let made = try_views(&mut maker, views).await;
    maker.close().await;
    let gone = helper.drop(client).await;
    let mut refused = made?;
    gone?;
    for definition in definitions.iter().filter(|definition| definition.kind == Kind::Trigger) {
        refused.extend(try_one(client, definition, &definition.text).await?);
    }
    Ok(refused)
}

async fn try_views<'a>(
    client: &mut Client,
    mut views: Vec<&'a Definition>,
) -> Result<Vec<Refused<'a>>, Error> {
    // A view may read one that comes later: again, as long as there are some that can be made.
    loop {
        let before = views.len();
        let mut refused = Vec::new();
        for view in views {
            refused.extend(try_one(client, view, &view.text).await?);
        }
        if refused.is_empty() || refused.len() == before {
            return Ok(refused);
        }
        views = refused.into_iter().map(|refused| refused.of).collect();
    }
}

async fn try_one<'a>(
    client: &mut Client,
    definition: &'a Definition,
    text: &[u8],
) -> Result<Option<Refused<'a>>, Error> {
    match make_one(client, definition, text).await {
        Ok(()) => Ok(None),
        Err(Error::Refused { code, message, .. }) => Ok(Some(Refused { of: definition, code, message })),
        // What a server does not survive, or has no end, is named.
        Err(Error::NoAnswer(why)) => Err(Error::NoAnswer(format!("{}: {why}", definition.label()))),
        Err(error) => Err(error),
    }
}

async fn make_one(client: &mut Client, definition: &Definition, text: &[u8]) -> Result<(), Error> {
    let database = name(&definition.schema);
    client.run("choose a database", &format!("USE {database}")).await?;
    // A routine keeps the collation that its database had when it was made.
    let collation = client.value("ask for a collation", "SELECT @@collation_database").await?;
    let other = definition.database_collation.as_ref().filter(|wanted| **wanted != collation);
    let alter = |to: &str| format!("ALTER DATABASE {database} COLLATE {}", quoted(to));
    if let Some(wanted) = other {
        client.run("lend a database a collation", &alter(wanted)).await?;
    }
    let session = format!(
        "SET SESSION sql_mode={}, character_set_client={}, collation_connection={}, time_zone={}, timestamp={}",
        quoted(&definition.sql_mode),
        quoted(&definition.character_set),
        quoted(&definition.collation),
        quoted(definition.time_zone.as_deref().unwrap_or("+00:00")),
        definition.made.as_deref().map_or_else(|| "DEFAULT".to_owned(), quoted_number),
    );
    let mut result = client.run("enter a definition's session", &session).await;
    if result.is_ok() {
        result = client.run_one("make a definition", text).await;
    }
    client
        .run(
            "leave a definition's session",
            "SET SESSION sql_mode='', time_zone='+00:00', timestamp=DEFAULT, \
             NAMES utf8mb4 COLLATE utf8mb4_general_ci",
        )
        .await?;
    if other.is_some() {
        client.run("give a database its collation back", &alter(&collation)).await?;
    }
    result
}

/// Digits and a point, and nothing else.
fn quoted_number(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_emptied_behind_its_head() {
        let hash: String = Sha256::digest(b"RETURN 1").iter().map(|byte| format!("{byte:02x}")).collect();
        let told = Body::read(&format!("8 NONE {hash}")).unwrap();
        let text = b"CREATE FUNCTION `f`() RETURNS int(11)\nRETURN 1";
        let empty = told.emptied(text, false).unwrap();
        assert_eq!(empty, b"CREATE FUNCTION `f`() RETURNS int(11)\n\nRETURN NULL");
        assert_eq!(told.emptied(b"CREATE FUNCTION `f`() RETURNS int(11)\nRETURN 2", false), None);
        assert_eq!(told.emptied(b"short", false), None);
    }
}
