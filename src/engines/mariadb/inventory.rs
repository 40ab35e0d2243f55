//! A description of everything that the tenant has, equal on two servers that hold the same.
//!
//! Only facts that every version tells the same way: expressions that a server prints anew (views, checks, generated
//! columns) are told by what they give, not by their text; texts that it keeps as they came (routines, triggers,
//! events) by their hash. Of a view that calls a function the columns are not told: it cannot be looked into without
//! the right to run the function, which nobody of ours has who opens a tenant's view. Rows, and what changes while rows are written, are not in it, nor is an event's state.

use std::collections::HashSet;
use std::time::Duration;

use crate::engines::mariadb::connection::{Client, Row, name};
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::{accounts, helpers, routines};
use crate::engines::{Error, Server};

/// How long one question may take: it opens every table.
const PATIENCE: Duration = Duration::from_secs(120);

/// A kind of object: its word, the column that names its schema, and the question that lists it.
const KINDS: [(&str, &str, &str); 10] = [
    (
        "database",
        "SCHEMA_NAME",
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA",
    ),
    (
        "table",
        "TABLE_SCHEMA",
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, IF(TABLE_TYPE='VIEW', '', ENGINE), \
         IF(TABLE_TYPE='BASE TABLE', TABLE_COLLATION, ''), IF(TABLE_TYPE='VIEW', '', TABLE_COMMENT) \
         FROM information_schema.TABLES",
    ),
    (
        "column",
        "TABLE_SCHEMA",
        "SELECT TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, \
         COLLATION_NAME, COLUMN_DEFAULT, EXTRA, COLUMN_COMMENT FROM information_schema.COLUMNS",
    ),
    (
        "index",
        "TABLE_SCHEMA",
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART, NON_UNIQUE, INDEX_TYPE \
         FROM information_schema.STATISTICS",
    ),
    (
        "constraint",
        "TABLE_SCHEMA",
        "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CONSTRAINT_TYPE \
         FROM information_schema.TABLE_CONSTRAINTS",
    ),
    (
        "foreign key",
        "CONSTRAINT_SCHEMA",
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, \
         UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS",
    ),
    (
        "partition",
        "TABLE_SCHEMA",
        "SELECT TABLE_SCHEMA, TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME, PARTITION_METHOD, \
         PARTITION_DESCRIPTION FROM information_schema.PARTITIONS",
    ),
    (
        "view",
        "TABLE_SCHEMA",
        "SELECT TABLE_SCHEMA, TABLE_NAME, DEFINER, SECURITY_TYPE, CHECK_OPTION FROM information_schema.VIEWS",
    ),
    (
        "trigger",
        "TRIGGER_SCHEMA",
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, \
         DEFINER, SQL_MODE, SHA2(CONVERT(ACTION_STATEMENT USING utf8mb4), 256) FROM information_schema.TRIGGERS",
    ),
    (
        "event",
        "EVENT_SCHEMA",
        "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, TIME_ZONE, SQL_MODE, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, \
         INTERVAL_FIELD, STARTS, ENDS, ON_COMPLETION, EVENT_COMMENT, \
         SHA2(CONVERT(EVENT_DEFINITION USING utf8mb4), 256) FROM information_schema.EVENTS",
    ),
];

/// One line an object, sorted.
pub async fn read(server: &Server, client: &mut Client) -> Result<Vec<String>, Error> {
    client.set_patience(PATIENCE);
    let mut shown = helpers::show(server, client).await?.patient(PATIENCE);
    let opened = opened(&mut shown).await;
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
async fn opened(client: &mut Client) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    let untold = untold(client).await?;
    for (kind, schema, select) in KINDS {
        let tenant = tenant_schema(schema);
        let mut rows = client.rows("describe the content", &format!("{select} WHERE {tenant}")).await?;
        if kind == "column" {
            rows.retain(|row| row.get(..2).is_none_or(|table| !untold.contains(table)));
        }
        lines.extend(rows.into_iter().map(|row| line(kind, row)));
    }
    lines.extend(sequences(client).await?);
    Ok(lines)
}

/// The views whose columns are not told. A view of an aggregate function can be looked into without the right to run it,
/// but not on a candidate that follows, where no function is there; which views these are is not seen.
async fn untold(client: &mut Client) -> Result<HashSet<Row>, Error> {
    let aggregates = format!(
        "SELECT COUNT(*) FROM {} WHERE {} AND aggregate='GROUP'",
        routines::table(client).await?,
        tenant_schema("db")
    );
    if client.value("look for aggregate functions", &aggregates).await? == "0" {
        return Ok(HashSet::new());
    }
    let views = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE {}",
        tenant_schema("TABLE_SCHEMA")
    );
    Ok(client.rows("list the views", &views).await?.into_iter().collect())
}

fn line(kind: &str, row: Row) -> String {
    let values: Vec<String> = row.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned())).collect();
    format!("{kind} {}", values.join(" | "))
}

/// Sequences without their values, which move. Shown, not selected from: what has a sequence's name now may be a view.
async fn sequences(client: &mut Client) -> Result<Vec<String>, Error> {
    let list = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE {} AND TABLE_TYPE='SEQUENCE'",
        tenant_schema("TABLE_SCHEMA")
    );
    let mut lines = Vec::new();
    for row in client.rows("list the sequences", &list).await? {
        let [Some(schema), Some(sequence)] = row.as_slice() else { continue };
        let show = format!("SHOW CREATE SEQUENCE {}.{}", name(schema), name(sequence));
        let row = client.row("describe a sequence", &show).await?.unwrap_or_default();
        let facts = row.into_iter().nth(1).into_iter().collect();
        lines.push(line(&format!("sequence {schema} | {sequence} |"), facts));
    }
    Ok(lines)
}

/// Routines, from the table that the server keeps them in: a candidate that follows has none to show. What they give
/// back is told by the first word.
async fn routines(client: &mut Client) -> Result<Vec<String>, Error> {
    let table = routines::table(client).await?;
    let select = format!(
        "SELECT db, type, name, definer, security_type, sql_mode, is_deterministic, sql_data_access, comment, \
         aggregate, SUBSTRING_INDEX(SUBSTRING_INDEX(CONVERT(returns USING utf8mb4), ' ', 1), '(', 1), \
         SHA2(param_list, 256), SHA2(body_utf8, 256) FROM {table} WHERE {}",
        tenant_schema("db")
    );
    let rows = client.rows("describe the routines", &select).await?;
    Ok(rows.into_iter().map(|row| line("routine", row)).collect())
}

/// Users and roles: how they prove who they are (as a hash), and what they may do.
async fn users(client: &mut Client) -> Result<Vec<String>, Error> {
    let part = |key: &str| format!("IFNULL(JSON_EXTRACT(Priv, '$.{key}'), '')");
    let keys = [
        "plugin",
        "authentication_string",
        "auth_or",
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
    let facts = keys.map(part).join(", ");
    let select = format!(
        "SELECT User, Host, SHA2(CONCAT_WS('|', {facts}), 256) FROM mysql.global_priv WHERE {}",
        accounts::tenant_account(client)
    );
    let rows = client.rows("describe the users", &select).await?;
    let mut lines: Vec<String> = rows.into_iter().map(|row| line("user", row)).collect();
    for account in accounts::read(client).await? {
        let grants = account.grants.iter().map(|grant| accounts::without_identification(grant));
        lines.extend(grants.map(|grant| format!("grant {} | {grant}", account.name)));
    }
    Ok(lines)
}
