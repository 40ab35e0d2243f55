//! A second reader of a PostgreSQL server: what the catalogues of the server itself say they hold, each row of each
//! table by the types' own binary output, and what the client program dumps. It shares no code with the product's proof,
//! and reads as the server's superuser, which the product must not.

use std::collections::{BTreeMap, BTreeSet};

use coffer::engines::{Engine as _, Server};
use serde_json::{Map, Value};
use tokio_postgres::Client;

use crate::postgres_servers::{ENGINE, own, rows};

/// Catalogues that hold no object of a tenant's, or nothing that lasts.
pub const OTHER: &[&str] = &[
    "pg_depend",
    "pg_shdepend",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_init_privs",
    "pg_largeobject",
    "pg_description",
    "pg_shdescription",
    "pg_seclabel",
    "pg_shseclabel",
    "pg_tablespace",
    "pg_am",
    "pg_language",
    "pg_parameter_acl",
    "pg_replication_origin",
    "pg_enum",
];

/// What stands before a column in a line.
pub const TAB: char = '\u{1f}';

/// Columns that tell of files, numbers and what is computed, and not of what was made.
const PHYSICAL: &[&str] = &[
    "oid",
    "pg_class.relfilenode",
    "pg_class.relpages",
    "pg_class.reltuples",
    "pg_class.relallvisible",
    "pg_class.relallfrozen",
    "pg_class.relfrozenxid",
    "pg_class.relminmxid",
    "pg_class.reltoastrelid",
    "pg_class.relhasindex",
    "pg_class.relhasrules",
    "pg_class.relhastriggers",
    "pg_class.relhassubclass",
    "pg_class.relnatts",
    "pg_class.reltablespace",
    "pg_class.relrewrite",
    "pg_class.relchecks",
    "pg_attribute.attnum",
    "pg_attribute.attcacheoff",
    "pg_attribute.atthasmissing",
    "pg_attribute.attmissingval",
    "pg_attribute.attrelid",
    "pg_index.indkey",
    "pg_index.indcheckxmin",
    "pg_index.indnatts",
    "pg_constraint.conkey",
    "pg_constraint.confkey",
    "pg_constraint.confdelsetcols",
    "pg_trigger.tgattr",
    "pg_trigger.tgconstraint",
    "pg_trigger.tgargs",
    "pg_partitioned_table.partattrs",
    "pg_statistic_ext.stxkeys",
    "pg_publication_rel.prattrs",
    "pg_collation.collencoding",
    "pg_attribute.attndims",
    "pg_attribute.attlen",
    "pg_attribute.attalign",
    "pg_type.typndims",
    "pg_database.datfrozenxid",
    "pg_database.datminmxid",
    "pg_database.dattablespace",
    "pg_database.datcollversion",
    "pg_collation.collversion",
    "pg_extension.extversion",
    "pg_extension.extconfig",
    "pg_extension.extcondition",
    "pg_proc.probin",
    "pg_ts_config_map.mapcfg",
    "pg_attrdef.adnum",
    "pg_proc.proallargtypes",
    "pg_type.typdefault",
    "pg_type.typanalyze",
    "pg_type.typsubscript",
];

/// Expressions, as the server writes them.
const WRITTEN: &[(&str, &str)] = &[
    ("pg_attrdef.adbin", "pg_get_expr(t.adbin, t.adrelid)"),
    ("pg_policy.polqual", "pg_get_expr(t.polqual, t.polrelid)"),
    ("pg_policy.polwithcheck", "pg_get_expr(t.polwithcheck, t.polrelid)"),
    ("pg_index.indexprs", "pg_get_indexdef(t.indexrelid)"),
    (
        "pg_index.indpred",
        "(SELECT string_agg(pg_get_indexdef(t.indexrelid, k, true), ',' ORDER BY k) FROM generate_series(1, t.indnatts) k)",
    ),
    ("pg_class.relpartbound", "pg_get_expr(t.relpartbound, t.oid)"),
    ("pg_partitioned_table.partexprs", "pg_get_partkeydef(t.partrelid)"),
    ("pg_constraint.conbin", "pg_get_constraintdef(t.oid)"),
    (
        "pg_proc.proargdefaults",
        "pg_get_function_arguments(t.oid) || ' -> ' || coalesce(pg_get_function_result(t.oid), '')",
    ),
    ("pg_trigger.tgqual", "pg_get_triggerdef(t.oid)"),
    ("pg_statistic_ext.stxexprs", "pg_get_statisticsobjdef(t.oid)"),
    (
        "pg_publication_rel.prqual",
        "pg_get_expr(t.prqual, t.prrelid) || (SELECT string_agg(a.attname, ',' ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs))",
    ),
    ("pg_type.typdefaultbin", "coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault)"),
    ("pg_attribute.attstattarget", "nullif(t.attstattarget, -1)"),
    ("pg_statistic_ext.stxstattarget", "nullif(t.stxstattarget, -1)"),
    ("pg_constraint.connoinherit", "CASE WHEN t.contype = 'c' THEN t.connoinherit::text END"),
    // Some builds note there what a column's values were written by.
    (
        "pg_attribute.attoptions",
        "(SELECT string_agg(o, ',' ORDER BY o) FROM unnest(t.attoptions) o WHERE o !~ '^pg_attver=')",
    ),
    // LIKE gives an identity's sequence the widest type, with the column's bounds; a dump's the column's type.
    (
        "pg_sequence.seqtypid",
        "CASE WHEN NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = t.seqrelid AND d.deptype = 'i') \
         THEN format_type(t.seqtypid, NULL) END",
    ),
    ("pg_proc.prosqlbody", "(t.prosqlbody IS NOT NULL)::text"),
    (
        "pg_policy.polroles",
        "(SELECT string_agg(CASE v WHEN 0 THEN '-' ELSE v::regrole::text END, ',' ORDER BY v::regrole::text) FROM unnest(t.polroles) v)",
    ),
    ("pg_rewrite.ev_action", "CASE WHEN t.rulename <> '_RETURN' THEN pg_get_ruledef(t.oid) END"),
];

/// Rows that are nobody's: the server's own, those of extensions, and what stands behind others.
const ROWS: &[(&str, &str)] = &[
    ("pg_class", "t.relkind <> 't' AND t.relnamespace <> 'pg_toast'::regnamespace"),
    (
        "pg_attribute",
        "t.attnum > 0 AND NOT t.attisdropped AND (SELECT relnamespace <> 'pg_toast'::regnamespace FROM pg_class WHERE oid = t.attrelid)",
    ),
    ("pg_index", "(SELECT relnamespace <> 'pg_toast'::regnamespace FROM pg_class WHERE oid = t.indexrelid)"),
    ("pg_trigger", "NOT t.tgisinternal"),
    // The keys that the server makes for partitions have other names in 18; what they do is tried.
    ("pg_constraint", "t.contype <> 'n' AND NOT (t.contype = 'f' AND t.conparentid <> 0)"),
    ("pg_database", "t.datname NOT IN ('postgres', 'template0', 'template1')"),
];

/// One session of the superuser's in which values are written in one way only.
async fn session(server: &Server, database: &str) -> Client {
    let client = own(server, database).await;
    client
        .batch_execute(
            "SET search_path = pg_catalog; SET extra_float_digits = 3; SET bytea_output = hex; SET datestyle = ISO; SET timezone = 'UTC'; \
             SET intervalstyle = postgres; SET quote_all_identifiers = on; SET row_security = off; SET lc_monetary = 'C'; \
             SET xmlbinary = base64; SET statement_timeout = 0; SET lock_timeout = 0; SET standard_conforming_strings = on; \
             SET default_transaction_isolation = 'read committed'; SET session_replication_role = replica; SET array_nulls = on; \
             SET transform_null_equals = off; SET xmloption = content",
        )
        .await
        .unwrap();
    client
}

/// The columns of all catalogues: the types by catalogue and column.
pub type Columns = BTreeMap<String, BTreeMap<String, String>>;

pub async fn columns(server: &Server) -> Columns {
    let client = session(server, "postgres").await;
    let sql = "SELECT c.relname, a.attname, (SELECT typname FROM pg_type WHERE oid = a.atttypid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
               WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped";
    let mut found = Columns::new();
    for row in rows(&client, sql).await {
        let mut parts = row.split('|').map(str::to_owned);
        let (catalogue, column, kind) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        found.entry(catalogue).or_default().insert(column, kind);
    }
    found
}

/// What both have.
pub fn common(a: &Columns, b: &Columns) -> Columns {
    let mut both = a.clone();
    for (catalogue, columns) in &mut both {
        columns.retain(|column, _| b.get(catalogue).is_some_and(|there| there.contains_key(column)));
    }
    both
}

/// Everything of a database's, a line a fact.
pub async fn read(server: &Server, database: &str, columns: &Columns) -> BTreeSet<String> {
    let client = session(server, database).await;
    let mut lines = catalogues(&client, columns).await;
    lines.extend(beside(&client).await);
    lines.extend(contents(&client).await);
    // What is the service's own is no tenant's.
    lines.retain(|line| {
        !line.contains("coffer")
            && !line.contains("log_min_messages=fatal")
            && !line.starts_with("pg_namespace \"pg_t")
    });
    lines
}

async fn catalogues(client: &Client, columns: &Columns) -> BTreeSet<String> {
    let sql = "SELECT fktable, fkcols[1], pktable, is_array FROM pg_get_catalog_foreign_keys() WHERE cardinality(fkcols) = 1";
    let mut references = BTreeMap::new();
    for row in rows(client, sql).await {
        let parts: Vec<&str> = row.split('|').collect();
        let key = format!("{}.{}", parts[0], parts[1]);
        references.insert(key.replace('"', ""), (parts[2].replace('"', ""), parts[3] == "t"));
    }
    let mut lines = BTreeSet::new();
    for (catalogue, columns) in columns.iter().filter(|(name, _)| !OTHER.contains(&name.as_str())) {
        let own_number = columns.contains_key("oid");
        let first = references
            .iter()
            .find(|(key, (_, array))| !array && key.starts_with(&format!("{catalogue}.")))
            .map(|(key, _)| key.split_once('.').unwrap().1.to_owned());
        let number = match (catalogue.as_str(), own_number) {
            ("pg_attribute", _) => "attrelid".to_owned(),
            ("pg_index", _) => "indexrelid".to_owned(),
            ("pg_inherits", _) => "inhrelid".to_owned(),
            ("pg_range", _) => "rngtypid".to_owned(),
            ("pg_aggregate", _) => "aggfnoid".to_owned(),
            ("pg_db_role_setting", _) => "ctid".to_owned(),
            (_, true) => "oid".to_owned(),
            (_, false) => first.unwrap_or_else(|| panic!("nothing tells whose a row of {catalogue} is")),
        };
        let identity = |catalogue: &str, value: &str| {
            let catalogue = if catalogue == "pg_largeobject_metadata" { "pg_largeobject" } else { catalogue };
            format!(
                "CASE WHEN {value} = 0 THEN '-' ELSE coalesce((pg_identify_object('pg_catalog.{catalogue}'::regclass, {value}, 0)).identity, {value}::text) END"
            )
        };
        let mut named = match catalogue.as_str() {
            "pg_db_role_setting" => "''".to_owned(),
            _ if own_number => identity(catalogue, "t.oid"),
            _ => {
                let key = format!("{catalogue}.{number}");
                let of = references.get(&key).map_or("pg_proc", |(of, _)| of.as_str());
                identity(of, &format!("t.{number}::oid"))
            }
        };
        if catalogue == "pg_attribute" {
            named.push_str(" || '.' || t.attname");
        }
        if catalogue == "pg_auth_members" {
            named = "''".to_owned();
        }
        let mut values = String::new();
        for (column, kind) in columns {
            let key = format!("{catalogue}.{column}");
            if PHYSICAL.contains(&key.as_str()) || PHYSICAL.contains(&column.as_str()) {
                continue;
            }
            let written = WRITTEN.iter().find(|(of, _)| *of == key).map(|(_, sql)| (*sql).to_owned());
            let value = match (written, references.get(&key)) {
                (Some(sql), _) => sql,
                (None, Some((of, false))) => identity(of, &format!("t.{column}::oid")),
                (None, Some((of, true))) => format!(
                    "(SELECT string_agg({}, ',' ORDER BY o) FROM unnest(t.{column}::oid[]) WITH ORDINALITY AS u (v, o))",
                    identity(of, "u.v")
                ),
                (None, None) if kind == "_aclitem" => rights(catalogue, column),
                (None, None) if kind == "pg_node_tree" || kind == "oid" || kind == "xid" => continue,
                (None, None) => format!("t.{column}::text"),
            };
            values.push_str(&format!(" || jsonb_build_object('{column}', {value})"));
        }
        let mut which = match number.as_str() {
            "ctid" => "true".to_owned(),
            _ => format!("t.{number}::oid >= 16384"),
        };
        if own_number {
            which.push_str(&format!(
                " AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_catalog.{catalogue}'::regclass AND e.objid = t.oid AND e.deptype = 'e')"
            ));
        }
        if let Some((_, more)) = ROWS.iter().find(|(of, _)| of == catalogue) {
            which.push_str(&format!(" AND {more}"));
        }
        let sql = format!(
            "SELECT jsonb_build_object('', {named}) {values} FROM pg_catalog.{catalogue} t WHERE {which}"
        );
        for row in rows(client, &sql).await {
            let row: Map<String, Value> = serde_json::from_str(&row).unwrap();
            let identity = row[""].as_str().unwrap_or_default().to_owned();
            if identity.is_empty() {
                lines.insert(format!("{catalogue} {}", serde_json::to_string(&row).unwrap()));
                continue;
            }
            if of_extension(&identity) {
                continue;
            }
            lines.insert(format!("{catalogue} {identity}"));
            for (column, value) in row.iter().filter(|(column, _)| !column.is_empty()) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let value = value.replace("\"pg_catalog\".\"json\"", "json").replace("::\"json\"", "::json");
                // Which names of a list are quoted is the version's and the session's matter; a dump tells them apart.
                let value = match column.as_str() {
                    "proconfig" => value.replace(['"', '\\'], ""),
                    _ => value,
                };
                lines.insert(format!("{catalogue} {identity} {TAB}{column}={value}"));
            }
        }
    }
    lines
}

/// Parts of what an extension made have no mark of their own.
fn of_extension(identity: &str) -> bool {
    let plain = identity.replace('"', "");
    plain.contains("z_extensions.")
        && !["_x", "_v", "hashed"].iter().any(|own| plain.contains(&format!("z_extensions.{own}")))
}

/// Rights with what everybody has by default, in an order, without what newer versions alone have.
fn rights(catalogue: &str, column: &str) -> String {
    let kind = match catalogue {
        "pg_class" => "CASE WHEN t.relkind = 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, t.relowner",
        "pg_proc" => "'f', t.proowner",
        "pg_type" => "'T', t.typowner",
        "pg_namespace" => "'n', t.nspowner",
        "pg_database" => "'d', t.datdba",
        "pg_largeobject_metadata" => "'L', t.lomowner",
        _ => "",
    };
    let acl = match (kind, catalogue) {
        ("", _) => format!("t.{column}"),
        // Newer versions ask the range type for the rights on its multirange.
        (_, "pg_type") => {
            format!("CASE WHEN t.typtype <> 'm' THEN coalesce(t.{column}, acldefault({kind})) END")
        }
        _ => format!("coalesce(t.{column}, acldefault({kind}))"),
    };
    format!(
        "(SELECT string_agg(x.grantee::regrole || '=' || x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END || '/' || x.grantor::regrole, ' ' \
         ORDER BY x.grantee::regrole::text, x.privilege_type, x.grantor::regrole::text) FROM aclexplode({acl}) x WHERE x.privilege_type <> 'MAINTAIN' AND x.grantee::regrole::text !~ 'coffer')"
    )
}

/// What has no catalogue of its own, or whose catalogue names by numbers.
async fn beside(client: &Client) -> Vec<String> {
    let questions = [
        "SELECT 'enum ' || (pg_identify_object('pg_type'::regclass, e.enumtypid, 0)).identity, string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.oid >= 16384 GROUP BY e.enumtypid",
        "SELECT 'comment', i.type, i.identity, d.description FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE d.objoid >= 16384 AND i.identity !~ 'z_extensions\"?[.]\"?[^_]'",
        "SELECT 'comment', i.type, i.identity, d.description FROM pg_shdescription d, pg_identify_object(d.classoid, d.objoid, 0) i WHERE d.objoid >= 16384",
        "SELECT 'owned', pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), d.deptype FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' \
         WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND c.oid >= 16384",
        "SELECT 'large object', loid, pageno, md5(data) FROM pg_largeobject",
        "SELECT 'columns', (pg_identify_object('pg_class'::regclass, a.attrelid, 0)).identity, string_agg(a.attname, ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace) GROUP BY a.attrelid",
        "SELECT 'dependent', pg_describe_object(d.classid, d.objid, 0), pg_describe_object(d.refclassid, d.refobjid, 0) FROM pg_depend d WHERE d.deptype = 'x'",
        "SELECT 'system', c.relname, count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.oid >= 16384 GROUP BY 1, 2",
        "SELECT 'system', p.proname, count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('pg_catalog', 'information_schema') AND p.oid >= 16384 GROUP BY 1, 2",
    ];
    let mut lines = Vec::new();
    for sql in questions {
        lines.extend(rows(client, sql).await.into_iter().map(|row| row.replace("pg_catalog.", "")));
    }
    lines
}

/// Each row of each relation, and where each sequence stands.
async fn contents(client: &Client) -> Vec<String> {
    let mut lines = Vec::new();
    let sql = "SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname), c.relispopulated FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'm', 'S', 'v') AND n.nspname !~ '^(pg_|information_schema$|coffer$)' \
               AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e') ORDER BY 3";
    for row in client.query(sql, &[]).await.unwrap() {
        let (oid, kind, name, populated): (u32, i8, String, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if kind == i8::try_from(b'S').unwrap() {
            let sql = format!("SELECT 'sequence', {}, last_value, is_called FROM {name}", literal(&name));
            lines.extend(rows(client, &sql).await);
            continue;
        }
        if !populated {
            lines.push(format!("rows {name} not there"));
            continue;
        }
        let columns = format!(
            "WITH RECURSIVE base AS (SELECT a.attnum, a.attname, a.atttypid AS t FROM pg_attribute a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped \
             UNION ALL SELECT b.attnum, b.attname, y.typbasetype FROM base b JOIN pg_type y ON y.oid = b.t AND y.typtype = 'd') \
             SELECT quote_ident(b.attname), CASE WHEN y.oid < 16384 AND y.typsend <> 0 AND y.typelem < 16384 AND y.typtype IN ('b', 'r', 'm') \
             AND format_type(y.oid, NULL) !~ '^reg|record' THEN quote_ident(y.typsend::text) END FROM base b JOIN pg_type y ON y.oid = b.t WHERE y.typtype <> 'd' ORDER BY b.attnum"
        );
        let mut parts = Vec::new();
        for row in client.query(&columns, &[]).await.unwrap() {
            let (column, send): (String, Option<String>) = (row.get(0), row.get(1));
            parts.push(match send {
                Some(send) => format!("coalesce(encode(pg_catalog.{send}({column}), 'hex'), '~')"),
                None => format!("coalesce({column}::text, '~')"),
            });
        }
        let only = if kind == i8::try_from(b'r').unwrap() { "ONLY " } else { "" };
        let list = if parts.is_empty() { "''".to_owned() } else { parts.join(" || ' ' || ") };
        let sql = format!("SELECT {list} AS row, count(*) FROM {only}{name} GROUP BY 1");
        match client.simple_query(&sql).await {
            Ok(messages) => {
                lines.push(format!("rows {name}"));
                for message in messages {
                    if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                        let text = row.get(0).unwrap();
                        // Long values by their hash.
                        let text = if text.len() > 400 { hash(text) } else { text.to_owned() };
                        lines.push(format!("row {name} {} times {text}", row.get(1).unwrap()));
                    }
                }
            }
            Err(error) => lines.push(format!("rows {name}: {:?}", error.code())),
        }
    }
    lines
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hash(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `pg_dump` of a version says of a database's definitions, an object at a time.
pub async fn dumped(server: &Server, database: &str, major: &str) -> BTreeSet<String> {
    let engines = std::env::var("COFFER_ENGINES").unwrap_or_else(|_| "/var/cache/coffer/engines".to_owned());
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let output = tokio::process::Command::new(format!("{engines}/postgresql-{major}/bin/pg_dump"))
        .args([
            "--schema-only",
            "--quote-all-identifiers",
            "--no-password",
            "--username=coffer",
            "--exclude-schema=coffer",
        ])
        .arg(format!("--host={}", layout.socket.parent().unwrap().display()))
        .env("PGOPTIONS", "-c default_transaction_isolation=read\\ committed")
        .arg(format!("--dbname={database}"))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut blocks = BTreeSet::new();
    for block in text.split("\n--\n-- Name: ").skip(1) {
        let block = block.split("\n-- PostgreSQL database dump complete").next().unwrap();
        let head = block.lines().next().unwrap_or_default();
        // Versions write queries in their own ways: what they give is compared, and who may see it.
        let queries = ["Type: VIEW;", "Type: MATERIALIZED VIEW;", "Type: RULE;"];
        if queries.iter().any(|kind| head.contains(kind))
            || head.contains("Type: ACL;")
            || block.contains("BEGIN ATOMIC")
            || head.contains("coffer")
        {
            continue;
        }
        // Some builds note by which of them a column was written.
        let body: Vec<&str> = block
            .lines()
            .filter(|line| {
                // How far an identity goes is told by its sequence, whatever its type.
                let is_bound = block.contains(" AS IDENTITY (")
                    && line.trim().trim_start_matches("NO ").starts_with("MAXVALUE");
                !is_bound
                    && !line.is_empty()
                    && !line.starts_with("SET ")
                    && !line.starts_with("\\")
                    && !line.starts_with("--")
            })
            .collect();
        blocks.insert(without_marks(&body.join("\n")).replace("\"json\"", "json"));
    }
    blocks
}

/// Statements without the mark of the build that wrote a column.
fn without_marks(text: &str) -> String {
    let mut kept = Vec::new();
    for statement in text.split(";\n") {
        let (mut plain, mut rest) = (String::new(), statement);
        while let Some((before, after)) = rest.split_once("pg_attver=") {
            plain.push_str(before);
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(", ");
        }
        plain.push_str(rest);
        // From 18 on what is not null has a constraint, by a name that the server makes.
        let plain = without_names(&plain);
        if !plain.trim_end_matches(';').ends_with(" SET ()") {
            kept.push(plain);
        }
    }
    kept.join(";\n")
}

fn without_names(text: &str) -> String {
    let line = |line: &str| match (line.find(" CONSTRAINT \""), line.find("\" NOT NULL")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &line[..from], &line[to + 1..]),
        _ => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
