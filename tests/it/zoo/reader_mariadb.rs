//! A second reader of a MariaDB server: what `information_schema` and the server's own tables of accounts and routines
//! say, each row of each table with every value by its bytes, and what the client program dumps. It shares no code with
//! the product's proof.

use std::collections::{BTreeMap, BTreeSet};

use coffer::engines::{Engine as _, Server};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use secrecy::ExposeSecret as _;

use crate::engine_servers::{ENGINE, own};

/// What stands before a column in a line.
pub const UNIT: char = '\u{1f}';

/// Tables of `information_schema` that tell of what happens, and not of what was made.
const OTHER: &[&str] = &[
    "TABLE_STATISTICS",
    "INDEX_STATISTICS",
    "OPTIMIZER_COSTS",
    "FILES",
    "KEY_CACHES",
    "OPTIMIZER_TRACE",
    "PROCESSLIST",
    "INNODB_SYS_TABLESTATS",
];

/// Columns that move by themselves.
const PHYSICAL: &[&str] = &[
    "VERSION",
    "TABLE_ROWS",
    "AVG_ROW_LENGTH",
    "DATA_LENGTH",
    "MAX_DATA_LENGTH",
    "INDEX_LENGTH",
    "DATA_FREE",
    "CREATE_TIME",
    "UPDATE_TIME",
    "CHECK_TIME",
    "CHECKSUM",
    "MAX_INDEX_LENGTH",
    "CARDINALITY",
    "CREATED",
    "LAST_ALTERED",
    "LAST_EXECUTED",
    "ORIGINATOR",
    "MODIFIED",
    "TIMESTAMP",
];

/// Tables of the server's own that hold what tenants have.
const SYSTEM: &[&str] = &[
    "proc",
    "event",
    "global_priv",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "roles_mapping",
    "proxies_priv",
    "func",
    "plugin",
    "servers",
];

async fn session(server: &Server) -> Conn {
    let mut conn = own(server).await;
    for sql in [
        "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
        "SET time_zone='+00:00'",
        "SET sql_mode=''",
        "SET group_concat_max_len=1000000000",
    ] {
        conn.query_drop(sql).await.unwrap();
    }
    conn
}

/// A value as text; what is no text in hexadecimal digits.
pub fn text(value: &Value) -> String {
    match value {
        Value::NULL => "~".to_owned(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
        Value::Float(float) => float.to_string(),
        other => other.as_sql(true),
    }
}

pub async fn rows(conn: &mut Conn, sql: &str) -> Vec<Vec<String>> {
    let rows: Vec<Row> = conn.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.unwrap().iter().map(text).collect()).collect()
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The columns of the tables that are read, of a server.
pub type Columns = BTreeMap<String, BTreeSet<String>>;

pub async fn columns(server: &Server) -> Columns {
    let mut conn = session(server).await;
    let mut found = Columns::new();
    let sql = "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ('information_schema', 'mysql')";
    for row in rows(&mut conn, sql).await {
        let table = row[0].clone();
        let of_system = table.strip_prefix("mysql.").is_some_and(|name| SYSTEM.contains(&name));
        let of_schema = table
            .strip_prefix("information_schema.")
            .is_some_and(|name| !OTHER.contains(&name) && !name.starts_with("INNODB_"));
        let moves = PHYSICAL.contains(&row[1].to_uppercase().as_str());
        if (of_system || of_schema) && !moves {
            found.entry(table).or_default().insert(row[1].clone());
        }
    }
    // Of the schema's tables those that tell of objects by their database.
    found.retain(|table, columns| table.starts_with("mysql.") || database(columns).is_some());
    found
}

/// The column that names the database.
fn database(columns: &BTreeSet<String>) -> Option<&'static str> {
    [
        "TABLE_SCHEMA",
        "TRIGGER_SCHEMA",
        "EVENT_SCHEMA",
        "ROUTINE_SCHEMA",
        "SPECIFIC_SCHEMA",
        "CONSTRAINT_SCHEMA",
        "SCHEMA_NAME",
        "SEQUENCE_SCHEMA",
    ]
    .into_iter()
    .find(|name| columns.contains(*name))
}

/// Columns by which a row is told in its line.
const TOLD: &[&str] = &[
    "TABLE_NAME",
    "COLUMN_NAME",
    "INDEX_NAME",
    "SEQ_IN_INDEX",
    "TRIGGER_NAME",
    "EVENT_NAME",
    "ROUTINE_NAME",
    "SPECIFIC_NAME",
    "ROUTINE_TYPE",
    "PARAMETER_NAME",
    "ORDINAL_POSITION",
    "CONSTRAINT_NAME",
    "PARTITION_NAME",
    "SUBPARTITION_NAME",
    "GRANTEE",
    "PRIVILEGE_TYPE",
    "PERIOD",
    "SEQUENCE_NAME",
];

pub async fn read(server: &Server, columns: &Columns) -> BTreeSet<String> {
    let mut conn = session(server).await;
    let mut lines = BTreeSet::new();
    for (table, columns) in columns {
        let told: Vec<&String> = columns.iter().collect();
        let list: Vec<String> = told.iter().map(|column| quoted(column)).collect();
        let which = match database(columns).filter(|_| table.starts_with("information_schema.")) {
            Some(column) => format!("{column} LIKE 'z\\_%'"),
            None => "1".to_owned(),
        };
        let sql = format!("SELECT {} FROM {table} WHERE {which}", list.join(", "));
        let short = table.split('.').next_back().unwrap();
        for row in rows(&mut conn, &sql).await {
            if table.starts_with("mysql.") {
                let of = |name: &str| {
                    told.iter().position(|column| column.eq_ignore_ascii_case(name)).map(|at| row[at].clone())
                };
                // Routines and events of the server's own.
                if of("db").is_some_and(|db| db == "sys" || db == "mysql" || db == "coffer") {
                    continue;
                }
                let timed =
                    |value: &String| without(without(value.clone(), "version_id"), "password_last_changed");
                let line: Vec<String> = told
                    .iter()
                    .zip(&row)
                    .map(|(column, value)| format!("{column}={}", timed(value)))
                    .collect();
                lines.insert(format!("mysql.{short} {}", line.join(" ")));
                continue;
            }
            let schema = told
                .iter()
                .position(|column| Some(column.as_str()) == database(columns))
                .map(|at| row[at].clone())
                .unwrap();
            let name: Vec<String> = TOLD
                .iter()
                .filter_map(|name| told.iter().position(|column| column == name))
                .map(|at| row[at].clone())
                .collect();
            let name = format!("{short} {schema} {}", name.join(" "));
            lines.insert(name.clone());
            let of_bytes = told
                .iter()
                .position(|column| *column == "COLUMN_TYPE")
                .is_some_and(|at| row[at].starts_with("binary(") || row[at].starts_with("varbinary("));
            for (column, value) in told.iter().zip(&row) {
                // Printed otherwise by each version: the value is read with the rows.
                if of_bytes && *column == "COLUMN_DEFAULT" {
                    continue;
                }
                // A table of Aria tells its page checksums once it was made again, as a versioned one is by 11.8.
                let value = if *column == "CREATE_OPTIONS" {
                    value.replace("page_checksum=1 ", "")
                } else {
                    value.clone()
                };
                lines.insert(format!("{name} {UNIT}{column}={value}"));
            }
        }
    }
    lines.extend(contents(&mut conn).await);
    lines.retain(|line| !line.contains("coffer"));
    lines
}

/// Each row of each table and view, with its history.
async fn contents(conn: &mut Conn) -> Vec<String> {
    let sql = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA LIKE 'z\\_%' ORDER BY 1, 2";
    let mut lines = Vec::new();
    for table in rows(conn, sql).await {
        let [schema, name, kind] = <[String; 3]>::try_from(table).unwrap();
        let full = format!("{}.{}", quoted(&schema), quoted(&name));
        if kind == "SEQUENCE" {
            for row in rows(conn, &format!("SELECT * FROM {full}")).await {
                lines.push(format!("sequence {full} {}", row.join(" ")));
            }
            continue;
        }
        let sql = format!(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA={} AND TABLE_NAME={} ORDER BY ORDINAL_POSITION",
            literal(&schema),
            literal(&name)
        );
        let mut parts = Vec::new();
        for column in rows(conn, &sql).await {
            let named = quoted(&column[0]);
            let value = match column[1].as_str() {
                // As a number of twice its size it is exact.
                "float" => format!("CAST({named} + 0e0 AS CHAR)"),
                "bit" => format!("HEX({named} + 0)"),
                "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "year"
                | "date" | "time" | "datetime" | "timestamp" => {
                    format!("CAST({named} AS CHAR)")
                }
                "uuid" | "inet6" | "inet4" => format!("HEX(CAST({named} AS CHAR))"),
                _ => format!("HEX({named})"),
            };
            parts.push(format!("IFNULL({value}, '~')"));
        }
        for column in rows(conn, &defaults_of_bytes(&schema, &name)).await {
            let sql =
                format!("SELECT DISTINCT IFNULL(HEX(DEFAULT({})), '~') FROM {full}", quoted(&column[0]));
            // A column without a default, or of a view, has none.
            let found: Vec<Option<String>> = conn.query(sql).await.unwrap_or_default();
            lines
                .extend(found.into_iter().flatten().map(|hex| format!("default {full} {} {hex}", column[0])));
        }
        let of = if kind == "SYSTEM VERSIONED" { " FOR SYSTEM_TIME ALL" } else { "" };
        let sql = format!("SELECT CONCAT_WS(' ', {}) FROM {full}{of}", parts.join(", "));
        let found: Result<Vec<Row>, _> = conn.query(sql).await;
        match found {
            Ok(found) => {
                let mut counted: BTreeMap<String, u32> = BTreeMap::new();
                for row in found {
                    // The end of time is a later one in newer versions.
                    let row = text(&row.unwrap()[0])
                        .replace("2106-02-07 06:28:15.999999", "2038-01-19 03:14:07.999999");
                    // Long values by their hash.
                    let row = if row.len() > 400 { hash(&row) } else { row };
                    *counted.entry(row).or_default() += 1;
                }
                lines.push(format!("rows {full}"));
                lines.extend(
                    counted.into_iter().map(|(row, times)| format!("row {full} {times} times {row}")),
                );
            }
            Err(error) => lines.push(format!("rows {full}: {error}")),
        }
    }
    lines
}

fn defaults_of_bytes(schema: &str, table: &str) -> String {
    format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA={} AND TABLE_NAME={} \
         AND DATA_TYPE IN ('binary', 'varbinary') AND COLUMN_DEFAULT IS NOT NULL",
        literal(schema),
        literal(table)
    )
}

/// Takes the default out of each column of bytes in a statement that makes a table.
fn without_bytes(text: &str) -> String {
    let mut parts = text.split("binary(");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str("binary(");
        let (head, rest) = [") NOT NULL DEFAULT ", ") DEFAULT "]
            .iter()
            .find_map(|word| {
                part.split_once(word).filter(|(digits, _)| digits.bytes().all(|b| b.is_ascii_digit()))
            })
            .unwrap_or((part, ""));
        let Some(inside) = rest.strip_prefix("x'").or_else(|| rest.strip_prefix('\'')) else {
            clean.push_str(part);
            continue;
        };
        let mut end = 0;
        let bytes = inside.as_bytes();
        while end < bytes.len() {
            end += match (bytes[end], bytes.get(end + 1)) {
                (b'\\', _) | (b'\'', Some(b'\'')) => 2,
                (b'\'', _) => break,
                _ => 1,
            };
        }
        clean.push_str(&format!("{head}){}", inside.get(end + 1..).unwrap_or_default()));
    }
    clean
}

fn hash(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `mariadb-dump` of a version says of all definitions, a statement at a time.
pub async fn dumped(server: &Server, series: &str, databases: &[String]) -> BTreeSet<String> {
    let engines = std::env::var("COFFER_ENGINES").unwrap_or_else(|_| "/var/cache/coffer/engines".to_owned());
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let output = tokio::process::Command::new(format!("{engines}/mariadb-{series}/bin/mariadb-dump"))
        .args([
            "--no-defaults",
            "--no-data",
            "--routines",
            "--triggers",
            "--events",
            "--compact",
            "--skip-dump-date",
            "--force",
            "--user=coffer",
            "--default-character-set=utf8mb4",
        ])
        .arg(format!("--socket={}", layout.socket.display()))
        .env("MYSQL_PWD", server.service_password.expose_secret())
        .arg("--databases")
        .args(databases)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.len() > 1000, "{}", String::from_utf8_lossy(&output.stderr));
    let mut blocks = BTreeSet::new();
    let mut database = String::new();
    for block in text.split(";\n") {
        if let Some(name) = block.trim().strip_prefix("USE ") {
            database = name.to_owned();
        }
        let body = block.trim();
        // Views are written by each version in its own way: what they give is compared.
        if !body.is_empty() && !body.contains("VIEW") {
            blocks.insert(format!("{database}: {}", without_bytes(&body.replace(" INVISIBLE", ""))));
        }
    }
    blocks
}

/// Takes a number out of a document: which server wrote it, and when, is told elsewhere.
fn without(text: String, key: &str) -> String {
    let Some(from) = text.find(&format!("\"{key}\":")) else { return text };
    let end = text[from..].find([',', '}']).map_or(text.len(), |end| from + end);
    format!("{}{}", &text[..from], text[end..].trim_start_matches(','))
}
