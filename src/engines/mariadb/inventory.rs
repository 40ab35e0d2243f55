//! A description of everything that the tenant has, equal on two servers that hold the same.
//!
//! Only facts that every version tells the same way. Expressions and queries are told by the text that the server keeps of
//! them; texts that it keeps as they came (routines, triggers, events) by their hash. What columns a view has is told by
//! its query and their names: their types differ from one version to the next. Of a view that calls a function the columns are not told: it cannot be looked into without
//! the right to run the function, which nobody of ours has who opens a tenant's view. Rows, and what changes while rows are written, are not in it, nor is an event's state.

use std::collections::HashSet;
use std::time::Duration;

use crate::engines::mariadb::connection::{Client, Row, name};
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::defaults::{self, Described};
use crate::engines::mariadb::{accounts, helpers, routines};
use crate::engines::{Error, Server, object};

/// How long one question may take: it opens every table.
const PATIENCE: Duration = Duration::from_secs(120);

/// A kind of object: its word, the column that names its schema, the table that lists it, what its name is made of, and
/// each fact with what gives it.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const KINDS: [Kind; 11] = [
    (
        "database",
        "SCHEMA_NAME",
        "information_schema.SCHEMATA",
        "SCHEMA_NAME",
        &[
            ("character set", "DEFAULT_CHARACTER_SET_NAME"),
            ("collation", "DEFAULT_COLLATION_NAME"),
            ("comment", "SCHEMA_COMMENT"),
        ],
    ),
    (
        "table",
        "TABLE_SCHEMA",
        "information_schema.TABLES",
        "TABLE_SCHEMA, TABLE_NAME",
        &[
            ("type", "TABLE_TYPE"),
            ("engine", "IF(TABLE_TYPE='VIEW', '', ENGINE)"),
            ("collation", "IF(TABLE_TYPE IN ('VIEW', 'SEQUENCE'), '', TABLE_COLLATION)"),
            ("comment", "IF(TABLE_TYPE='VIEW', '', TABLE_COMMENT)"),
        ],
    ),
    (
        "column",
        "TABLE_SCHEMA",
        "information_schema.COLUMNS",
        "TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME",
        &[
            ("place", "ORDINAL_POSITION"),
            (TYPE, "COLUMN_TYPE"),
            ("nullable", "IS_NULLABLE"),
            ("collation", "COLLATION_NAME"),
            (DEFAULT, "COLUMN_DEFAULT"),
            ("extra", "EXTRA"),
            ("comment", "COLUMN_COMMENT"),
            ("expression", "GENERATION_EXPRESSION"),
        ],
    ),
    (
        "index",
        "TABLE_SCHEMA",
        "information_schema.STATISTICS",
        "TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        &[
            ("column", "COLUMN_NAME"),
            ("prefix", "SUB_PART"),
            ("order", "COLLATION"),
            ("not unique", "NON_UNIQUE"),
            ("type", "INDEX_TYPE"),
            ("comment", "INDEX_COMMENT"),
            ("ignored", "IGNORED"),
        ],
    ),
    (
        "constraint",
        "TABLE_SCHEMA",
        "information_schema.TABLE_CONSTRAINTS",
        "TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME",
        &[("type", "CONSTRAINT_TYPE")],
    ),
    (
        "check",
        "CONSTRAINT_SCHEMA",
        "information_schema.CHECK_CONSTRAINTS",
        "CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME",
        &[("level", "LEVEL"), ("clause", "CHECK_CLAUSE")],
    ),
    (
        "foreign key",
        "CONSTRAINT_SCHEMA",
        "information_schema.REFERENTIAL_CONSTRAINTS",
        "CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME",
        &[
            ("to", "CONCAT_WS('.', UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME)"),
            ("on update", "UPDATE_RULE"),
            ("on delete", "DELETE_RULE"),
        ],
    ),
    (
        "partition",
        "TABLE_SCHEMA",
        "information_schema.PARTITIONS",
        "TABLE_SCHEMA, TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME",
        &[("method", "PARTITION_METHOD"), ("of", "PARTITION_DESCRIPTION"), ("comment", "PARTITION_COMMENT")],
    ),
    (
        "view",
        "TABLE_SCHEMA",
        "information_schema.VIEWS",
        "TABLE_SCHEMA, TABLE_NAME",
        &[
            ("definer", "DEFINER"),
            ("security", "SECURITY_TYPE"),
            ("check option", "CHECK_OPTION"),
            ("algorithm", "ALGORITHM"),
            ("query", "VIEW_DEFINITION"),
        ],
    ),
    (
        "trigger",
        "TRIGGER_SCHEMA",
        "information_schema.TRIGGERS",
        "TRIGGER_SCHEMA, TRIGGER_NAME",
        &[
            ("table", "EVENT_OBJECT_TABLE"),
            ("timing", "ACTION_TIMING"),
            ("event", "EVENT_MANIPULATION"),
            ("place", "ACTION_ORDER"),
            ("definer", "DEFINER"),
            ("SQL mode", "SQL_MODE"),
            ("body", "SHA2(CONVERT(ACTION_STATEMENT USING utf8mb4), 256)"),
        ],
    ),
    (
        "event",
        "EVENT_SCHEMA",
        "information_schema.EVENTS",
        "EVENT_SCHEMA, EVENT_NAME",
        &[
            ("definer", "DEFINER"),
            ("time zone", "TIME_ZONE"),
            ("SQL mode", "SQL_MODE"),
            ("type", "EVENT_TYPE"),
            ("at", "EXECUTE_AT"),
            ("every", "CONCAT_WS(' ', INTERVAL_VALUE, INTERVAL_FIELD)"),
            ("starts", "STARTS"),
            ("ends", "ENDS"),
            ("afterwards", "ON_COMPLETION"),
            ("comment", "EVENT_COMMENT"),
            ("body", "SHA2(CONVERT(EVENT_DEFINITION USING utf8mb4), 256)"),
        ],
    ),
];

/// The fact of a column that a view's has not: each version gives a view's columns other types.
const TYPE: &str = "type";

/// The fact of a column that tells its default.
const DEFAULT: &str = "default";

/// One line an object, sorted.
///
/// Where each sequence stands is told unless the server goes on `serving`.
pub async fn read(server: &Server, client: &mut Client, serving: bool) -> Result<Vec<String>, Error> {
    client.set_patience(PATIENCE);
    let mut shown = helpers::show_at_once(server, client).await?.patient(PATIENCE);
    let opened = opened(&mut shown, serving).await;
    let gone = helpers::hide(client, shown).await;
    let mut lines = opened?;
    gone?;
    lines.extend(routines(client).await?);
    lines.extend(users(client).await?);
    lines.sort();
    lines.dedup();
    Ok(lines)
}

/// What is told by opening the tenant's objects.
async fn opened(client: &mut Client, serving: bool) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    let (views, untold) = views(client).await?;
    let mut described = Described::default();
    for (kind, schema, table, name, facts) in KINDS {
        let (tenant, names) = (tenant_schema(schema), name.split(", ").count());
        let values: Vec<&str> = facts.iter().map(|(_, value)| *value).collect();
        let sql = format!("SELECT {name}, {} FROM {table} WHERE {tenant}", values.join(", "));
        for row in client.rows("describe the content", &sql).await? {
            let (named, values) = row.split_at_checked(names).unwrap_or((&row, &[]));
            let is_views = kind == "column" && named.get(..2).is_some_and(|table| views.contains(table));
            if is_views && untold {
                continue;
            }
            let known = facts.iter().zip(values).filter(|((fact, _), _)| {
                // Of a view's columns the names: what they are is told by its query.
                !is_views || *fact == "place"
            });
            let known =
                known.map(|((fact, _), value)| ((*fact).to_owned(), value.clone().unwrap_or_default()));
            let mut known: Vec<(String, String)> = known.collect();
            if kind == "column" {
                tell_bytes(client, &mut described, named, &mut known).await?;
            }
            lines.push(object::line(&format!("{kind} {}", joined(named)), known));
        }
    }
    lines.extend(sequences(client, serving).await?);
    Ok(lines)
}

/// Tells the default of a column of bytes by its value.
async fn tell_bytes(
    client: &mut Client,
    described: &mut Described,
    named: &[Option<String>],
    facts: &mut [(String, String)],
) -> Result<(), Error> {
    let [Some(schema), Some(table), Some(column)] = named else { return Ok(()) };
    if !facts.iter().any(|(fact, value)| fact == TYPE && defaults::is_of_bytes(value)) {
        return Ok(());
    }
    if let Some((_, default)) = facts.iter_mut().find(|(fact, _)| fact == DEFAULT) {
        *default = described.told(client, (schema, table, column), default).await?;
    }
    Ok(())
}

/// The views, and whether their columns are not told. A view of an aggregate function can be looked into without the
/// right to run it, but not on a candidate that follows, where no function is there; which views these are is not seen.
async fn views(client: &mut Client) -> Result<(HashSet<Row>, bool), Error> {
    let aggregates = format!(
        "SELECT COUNT(*) FROM {} WHERE {} AND aggregate='GROUP'",
        routines::table(client).await?,
        tenant_schema("db")
    );
    let untold = client.value("look for aggregate functions", &aggregates).await? != "0";
    let views = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE {}",
        tenant_schema("TABLE_SCHEMA")
    );
    Ok((client.rows("list the views", &views).await?.into_iter().collect(), untold))
}

/// A name of its parts; what is NULL is none.
fn joined(parts: &[Option<String>]) -> String {
    let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    parts.join(".")
}

/// A line of a row whose first `names` values are the thing's name; the others are the facts of these names.
fn line(kind: &str, names: usize, facts: &[&str], row: &Row) -> String {
    let (named, values) = row.split_at_checked(names).unwrap_or((row, &[]));
    let facts = facts.iter().zip(values);
    let facts = facts.map(|(fact, value)| ((*fact).to_owned(), value.clone().unwrap_or_default()));
    object::line(&format!("{kind} {}", joined(named)), facts)
}

/// Sequences; with where they stand where nobody writes: by an account that can run nothing, since what has a sequence's
/// name now may be a view in a moment.
async fn sequences(client: &mut Client, serving: bool) -> Result<Vec<String>, Error> {
    let list = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE {} AND TABLE_TYPE='SEQUENCE'",
        tenant_schema("TABLE_SCHEMA")
    );
    let mut lines = Vec::new();
    for row in client.rows("list the sequences", &list).await? {
        let [Some(schema), Some(sequence)] = row.as_slice() else { continue };
        let show = format!("SHOW CREATE SEQUENCE {}.{}", name(schema), name(sequence));
        let row = client.row("describe a sequence", &show).await?.unwrap_or_default();
        let definition = row.into_iter().nth(1).flatten().unwrap_or_default();
        let mut facts = vec![("definition".to_owned(), definition)];
        if !serving {
            let ask = format!("SELECT next_not_cached_value FROM {}.{}", name(schema), name(sequence));
            let next = client.value("ask where a sequence stands", &ask).await?;
            facts.push(("next value".to_owned(), next));
        }
        lines.push(object::line(&format!("sequence {schema}.{sequence}"), facts));
    }
    Ok(lines)
}

/// Routines, from the table that the server keeps them in: a candidate that follows has none to show. What they give
/// back is told by the first word.
async fn routines(client: &mut Client) -> Result<Vec<String>, Error> {
    let table = routines::table(client).await?;
    let select = format!(
        "SELECT type, db, name, definer, security_type, sql_mode, is_deterministic, sql_data_access, comment, \
         aggregate, SUBSTRING_INDEX(SUBSTRING_INDEX(CONVERT(returns USING utf8mb4), ' ', 1), '(', 1), \
         SHA2(param_list, 256), SHA2(body_utf8, 256) FROM {table} WHERE {}",
        tenant_schema("db")
    );
    let rows = client.rows("describe the routines", &select).await?;
    let facts = [
        "definer",
        "security",
        "SQL mode",
        "deterministic",
        "access",
        "comment",
        "aggregate",
        "returns",
        "parameters",
        "body",
    ];
    let named = |mut row: Row| {
        let kind = row.remove(0).unwrap_or_default();
        line(&format!("routine {}", kind.to_lowercase()), 2, &facts, &row)
    };
    Ok(rows.into_iter().filter(|row| row.len() > 2).map(named).collect())
}

/// Users and roles: how they prove who they are (as a hash), and what they may do.
async fn users(client: &mut Client) -> Result<Vec<String>, Error> {
    let part = |key: &str| format!("IFNULL(JSON_EXTRACT(Priv, '$.{key}'), '')");
    // By these it proves who it is: compared, and never told.
    let proofs = ["authentication_string", "auth_or"].map(part).join(", ");
    let keys = [
        "plugin",
        "account_locked",
        "password_lifetime",
        "default_role",
        "is_role",
        "ssl_type",
        "ssl_cipher",
        "x509_issuer",
        "x509_subject",
        "max_queries",
        "max_updates",
        "max_connections",
        "max_user_connections",
        "max_statement_time",
    ];
    let parts = keys.map(part).join(", ");
    let select = format!(
        "SELECT CONCAT(User, '@', Host), SHA2(CONCAT_WS('|', {proofs}), 256), {parts} FROM mysql.global_priv WHERE {}",
        accounts::tenant_account(client)
    );
    let rows = client.rows("describe the users", &select).await?;
    let password = object::secret("password");
    let facts: Vec<&str> = std::iter::once(password.as_str()).chain(keys).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line("user", 1, &facts, row)).collect();
    for account in accounts::read(client).await? {
        let grants = account.grants.iter().map(|grant| accounts::without_identification(grant));
        lines.extend(grants.map(|grant| object::line(&format!("grant to {}: {grant}", account.name), [])));
    }
    Ok(lines)
}
