//! Views, routines, triggers and events: read as they are, and made again one by one.
//!
//! Their texts are the tenant's, who chooses every byte of them. No program splits them into statements: each text
//! goes to the server as a statement to be prepared ([`Client::run_one`]), which is exactly one or none. The bytes are read as they are stored and parsed in the character set that the object has.
//!
//! Reading runs nothing of the tenant's: `SHOW CREATE` opens, it does not execute.

use crate::engines::Error;
use crate::engines::mariadb::connection::{BytesRow, Client, name, quoted};
use crate::engines::mariadb::content::tenant_schema;

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
}

impl Definition {
    fn label(&self) -> String {
        format!("{} {}.{}", self.kind.word(), self.schema, self.name)
    }

    /// Whether `other`, on another server, is this one. A view's text is each server's own.
    fn is(&self, other: &Self) -> bool {
        let text = self.kind == Kind::View || self.text == other.text;
        text && (self.kind, &self.schema, &self.name, &self.sql_mode)
            == (other.kind, &other.schema, &other.name, &other.sql_mode)
            && (&self.character_set, &self.collation, &self.database_collation, &self.time_zone)
                == (&other.character_set, &other.collation, &other.database_collation, &other.time_zone)
    }
}

/// Every definition of the tenant's, in the order in which they can be made.
pub async fn read(client: &mut Client) -> Result<Vec<Definition>, Error> {
    client.run("read texts as they are", "SET SESSION character_set_results=binary").await?;
    let mut definitions = Vec::new();
    for (kind, schema, object, made) in list(client).await? {
        client.run("choose a database", &format!("USE {}", name(&schema))).await?;
        let show = format!("SHOW CREATE {} {}.{}", kind.word(), name(&schema), name(&object));
        let row = client.bytes("read a definition", &show).await?.into_iter().next().unwrap_or_default();
        definitions.push(definition(kind, schema, object, made, &row)?);
    }
    client.run("read texts in our character set", "SET SESSION character_set_results=utf8mb4").await?;
    Ok(definitions)
}

type Listed = (Kind, String, String, Option<String>);

async fn list(client: &mut Client) -> Result<Vec<Listed>, Error> {
    // Each with its kind's word, its schema, its name, and when it was made.
    let lists = [
        format!(
            "SELECT type, db, name, NULL FROM mysql.proc WHERE {} ORDER BY 1, BINARY db, BINARY name",
            tenant_schema("db")
        ),
        format!(
            "SELECT 'VIEW', TABLE_SCHEMA, TABLE_NAME, NULL FROM information_schema.TABLES WHERE {} \
             AND TABLE_TYPE='VIEW' ORDER BY BINARY TABLE_SCHEMA, BINARY TABLE_NAME",
            tenant_schema("TABLE_SCHEMA")
        ),
        // In the order in which they fire.
        format!(
            "SELECT 'TRIGGER', TRIGGER_SCHEMA, TRIGGER_NAME, NULL FROM information_schema.TRIGGERS WHERE {} \
             ORDER BY BINARY TRIGGER_SCHEMA, BINARY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
            tenant_schema("TRIGGER_SCHEMA")
        ),
        format!(
            "SELECT 'EVENT', EVENT_SCHEMA, EVENT_NAME, \
             UNIX_TIMESTAMP(CREATED) - IF(EXECUTE_AT IS NULL AND ENDS IS NULL, 0, 86400) \
             FROM information_schema.EVENTS WHERE {} ORDER BY BINARY EVENT_SCHEMA, BINARY EVENT_NAME",
            tenant_schema("EVENT_SCHEMA")
        ),
    ];
    let mut listed = Vec::new();
    for sql in lists {
        for row in client.bytes("list the definitions", &sql).await? {
            let [word, schema, object, made] = row.as_slice() else { continue };
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
            listed.push((
                kind,
                words(schema.as_deref(), "a schema")?,
                words(object.as_deref(), "a name")?,
                made,
            ));
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
    row: &BytesRow,
) -> Result<Definition, Error> {
    let label = || format!("{} {schema}.{object}", kind.word());
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
        let answer = format!("{}: a name in another character set than its text", label());
        return Err(Error::Unexpected { doing: "read a definition", answer });
    }
    Ok(Definition {
        sql_mode: sql_mode.map(word).transpose()?.unwrap_or_default(),
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

/// Makes them, and looks that each one came out as it was read. Tables must be there. The session is as it was
/// afterwards, unless there is an error.
pub async fn make(client: &mut Client, definitions: &[Definition]) -> Result<(), Error> {
    let of = |kinds: &[Kind]| -> Vec<&Definition> {
        definitions.iter().filter(|definition| kinds.contains(&definition.kind)).collect()
    };
    for definition in of(&[Kind::Function, Kind::Package, Kind::PackageBody, Kind::Procedure]) {
        make_one(client, definition).await?;
    }
    // A view may read one that comes later: again, as long as there are some that can be made.
    let mut views = of(&[Kind::View]);
    while !views.is_empty() {
        let (before, mut refused, mut left) = (views.len(), None, Vec::new());
        for view in views {
            match make_one(client, view).await {
                Ok(()) => {}
                Err(error @ Error::Unexpected { .. }) => {
                    refused.get_or_insert(error);
                    left.push(view);
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(error) if left.len() == before => return Err(error),
            _ => views = left,
        }
    }
    for definition in of(&[Kind::Trigger, Kind::Event]) {
        make_one(client, definition).await?;
    }
    let made = read(client).await?;
    for definition in definitions {
        if !made.iter().any(|other| definition.is(other)) {
            let answer = format!("{} came out as another", definition.label());
            return Err(Error::Unexpected { doing: "make a definition", answer });
        }
    }
    if made.len() != definitions.len() {
        let answer = format!("{} definitions instead of {}", made.len(), definitions.len());
        return Err(Error::Unexpected { doing: "make the definitions", answer });
    }
    Ok(())
}

async fn make_one(client: &mut Client, definition: &Definition) -> Result<(), Error> {
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
        result = client.run_one("make a definition", &definition.text).await;
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
    result.map_err(|error| match error {
        Error::Refused { doing, code, message } => {
            Error::Unexpected { doing, answer: format!("{}: {code}: {message}", definition.label()) }
        }
        other => other,
    })
}

/// Digits and a point, and nothing else.
fn quoted_number(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
}
