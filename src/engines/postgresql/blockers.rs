//! What a copy by replication cannot carry, found by reading: rows without a key by which to find them, what is kept
//! outside of tables, what would be done twice, and what the copy's account cannot make.

use crate::domain::question::Finding;
use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::PUBLICATION;
use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::databases::open_databases;
use crate::engines::postgresql::findings;
use crate::engines::postgresql::{check, expressions, major};
use crate::engines::{Error, Server};

/// How many of one kind are named.
const NAMED: usize = 100;

/// How many databases are followed at once: each takes a slot and workers of the servers'.
const DATABASES: usize = 12;

/// The oldest source: before it there is no account that reads everything and is nothing more.
const OLDEST_SOURCE: u32 = 14;

/// The oldest target: before it changes are applied as the server's own account, which the tenant's definitions must
/// never run as.
const OLDEST_TARGET: u32 = 16;

/// What stands in the way of following this server at all.
pub async fn find(source: &Server) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    if major(&source.version) < OLDEST_SOURCE {
        let why = format!("is {}, which cannot be followed", source.version);
        found.push(findings::blocker("the server", why, "upgrade in place"));
    }
    let client = Client::connect(source).await?.patient(check::PATIENCE);
    found.extend(check::cluster_wide(&client).await?);
    let databases = open_databases(&client).await?;
    if databases.len() > DATABASES {
        let why = format!("has {} databases, and {DATABASES} can be followed", databases.len());
        found.push(findings::blocker("the server", why, "upgrade in place"));
        return Ok(found);
    }
    for database in databases {
        let inside = Client::connect_to(source, &database).await?.patient(check::PATIENCE);
        for (sql, why, remedy) in questions() {
            for object in inside.column("look what replication carries", &sql).await?.into_iter().take(NAMED)
            {
                found.push(findings::blocker(format!("{database}: {object}"), why, remedy));
            }
        }
    }
    Ok(found)
}

/// The same, and what a target of the candidate's version adds.
pub async fn towards(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    let mut found = check::versions(source, candidate);
    if major(&candidate.version) < OLDEST_TARGET {
        let why = format!("is {}, and {OLDEST_TARGET} is the first that can follow", candidate.version);
        found.push(findings::blocker("the target", why, "upgrade in place"));
    }
    found.extend(find(source).await?);
    found.extend(check::room(source).await?);
    found.extend(expressions::rows(source, true).await?);
    found.extend(expressions::refreshes(source, candidate).await?);
    let client = Client::connect(source).await?.patient(check::PATIENCE);
    for database in open_databases(&client).await? {
        let inside = Client::connect_to(source, &database).await?.patient(check::PATIENCE);
        found.extend(check::extensions(source, candidate, &inside, &database).await?);
    }
    Ok(found)
}

/// The condition that an object is of a tenant's schema, and no extension's.
fn own(class: &str, oid: &str) -> String {
    format!(
        "n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' \
         AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = '{class}'::regclass AND e.objid = {oid} \
         AND e.deptype = 'e')"
    )
}

/// A question that gives objects, why they stand in the way, and what can be done.
type Asked = (String, &'static str, &'static str);

fn questions() -> Vec<Asked> {
    let relation = own("pg_class", "c.oid");
    let relations = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";
    let named = "n.nspname || '.' || c.relname";
    vec![
        (
            format!("SELECT 'schema {OWN_SCHEMA}' FROM pg_namespace n WHERE n.nspname = '{OWN_SCHEMA}' AND n.nspowner <> 10"),
            "has a name that the service keeps for itself",
            "ALTER SCHEMA … RENAME TO another name",
        ),
        (
            format!("SELECT 'publication ' || p.pubname FROM pg_publication p WHERE p.pubname = '{PUBLICATION}' AND p.pubowner <> 10"),
            "has a name that the service keeps for itself",
            "ALTER PUBLICATION … RENAME TO another name, or upgrade in place",
        ),
        (
            format!(
                "SELECT 'table ' || {named} FROM {relations} WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {relation} \
                 AND (c.relreplident = 'n' OR (c.relreplident = 'd' AND NOT EXISTS (SELECT 1 FROM pg_index i \
                 WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid)) \
                 OR (c.relreplident = 'i' AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid \
                 AND i.indisreplident AND i.indimmediate AND i.indisvalid))) ORDER BY 1"
            ),
            "has no key by which replication finds a row",
            "give it a PRIMARY KEY, or ALTER TABLE … REPLICA IDENTITY FULL",
        ),
        (
            "SELECT 'database ' || d.datname FROM pg_database d WHERE d.datname = current_database() AND d.datconnlimit >= 0 \
             AND d.datconnlimit < 8 + (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid \
             AND a.backend_type = 'client backend')"
                .to_owned(),
            "takes so few connections that a copy cannot come in",
            "ALTER DATABASE … CONNECTION LIMIT to at least 8 more, or upgrade in place",
        ),
        (
            format!(
                "WITH RECURSIVE wrong(oid) AS (SELECT t.oid FROM pg_type t WHERE t.typtype = 'b' AND t.typcategory <> 'A' \
                 AND NOT EXISTS (SELECT 1 FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod WHERE o.opcdefault \
                 AND m.amname IN ('btree', 'hash') AND (o.opcintype = t.oid OR EXISTS (SELECT 1 FROM pg_cast k \
                 WHERE k.castsource = t.oid AND k.casttarget = o.opcintype AND k.castmethod = 'b' AND k.castcontext = 'i'))) \
                 UNION SELECT next.oid FROM wrong JOIN LATERAL ( \
                 SELECT t.oid FROM pg_type t WHERE t.typbasetype = wrong.oid OR (t.typelem = wrong.oid AND t.typcategory = 'A') \
                 UNION ALL SELECT y.oid FROM pg_class r JOIN pg_attribute f ON f.attrelid = r.oid JOIN pg_type y ON y.typrelid = r.oid \
                 WHERE f.atttypid = wrong.oid AND f.attnum > 0 AND NOT f.attisdropped) next ON true) \
                 SELECT 'column ' || {named} || '.' || a.attname || ' (' || format_type(a.atttypid, a.atttypmod) || ')' \
                 FROM {relations} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident = 'f' AND {relation} \
                 AND a.attgenerated = '' AND a.atttypid IN (SELECT oid FROM wrong) AND NOT EXISTS (SELECT 1 FROM pg_index i \
                 WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid) ORDER BY 1"
            ),
            "has a type whose values cannot be compared, and its table has REPLICA IDENTITY FULL: replication would not find a row",
            "give the table a PRIMARY KEY, change the column's type (json to jsonb), or upgrade in place",
        ),
        (
            format!(
                "SELECT DISTINCT 'column ' || {named} || '.' || a.attname FROM {relations} JOIN pg_index i ON i.indrelid = c.oid \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) WHERE a.attgenerated <> '' \
                 AND ((c.relreplident = 'd' AND i.indisprimary) OR i.indisreplident) AND c.relkind = 'r' AND {relation} ORDER BY 1"
            ),
            "is computed, and part of the key by which replication finds a row",
            "give the table another key",
        ),
        (
            format!("SELECT 'table ' || {named} FROM {relations} WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND {relation} ORDER BY 1"),
            "is UNLOGGED, and so is not replicated",
            "ALTER TABLE … SET LOGGED, or drop it",
        ),
        (
            format!(
                "SELECT 'table ' || {named} FROM {relations} WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND {relation} \
                 AND NOT (has_table_privilege(c.relowner, c.oid, 'SELECT') AND has_table_privilege(c.relowner, c.oid, 'INSERT') \
                 AND has_table_privilege(c.relowner, c.oid, 'UPDATE') AND has_table_privilege(c.relowner, c.oid, 'DELETE') \
                 AND has_table_privilege(c.relowner, c.oid, 'TRUNCATE')) ORDER BY 1"
            ),
            "cannot be written to by its owner, as whom replicated rows are written",
            "GRANT ALL on it TO its owner, and take it back afterwards",
        ),
        (
            format!("SELECT 'table ' || {named} FROM {relations} WHERE c.relforcerowsecurity AND {relation} ORDER BY 1"),
            "hides rows from its owner, too, who could not be given them",
            "ALTER TABLE … NO FORCE ROW LEVEL SECURITY",
        ),
        (
            format!("SELECT 'materialized view ' || {named} FROM {relations} WHERE c.relkind = 'm' AND c.relispopulated AND {relation} ORDER BY 1"),
            "holds rows that are not replicated",
            "REFRESH MATERIALIZED VIEW … WITH NO DATA, and refresh it afterwards",
        ),
        (
            format!("SELECT 'foreign table ' || {named} FROM {relations} WHERE c.relkind = 'f' AND {relation} ORDER BY 1"),
            "reads from another server, which a copy would not reach in the same way",
            "drop it",
        ),
        (
            format!(
                "SELECT 'trigger ' || t.tgname || ' on ' || {named} FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND {relation} \
                 UNION ALL SELECT 'rule ' || r.rulename || ' on ' || {named} FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.ev_enabled IN ('A', 'R') AND {relation} ORDER BY 1"
            ),
            "is done for replicated changes, too, and so would be done twice",
            "ALTER TABLE … ENABLE TRIGGER (or RULE) it, without ALWAYS or REPLICA",
        ),
        (
            "SELECT 'large objects: ' || count(*) FROM pg_largeobject_metadata HAVING count(*) > 0".to_owned(),
            "are not replicated",
            "keep them in columns of the type bytea, or upgrade in place",
        ),
        (
            "SELECT DISTINCT 'extension ' || x.extname FROM pg_extension x JOIN pg_depend d ON d.refobjid = x.oid \
             AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.classid = 'pg_class'::regclass \
             JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p') ORDER BY 1"
                .to_owned(),
            "has tables of its own, which are not replicated",
            "upgrade in place",
        ),
        (
            "SELECT 'database ' || datname FROM pg_database WHERE datname = current_database() AND (pg_tablespace_location(dattablespace) <> '' \
             OR to_json(pg_database)->>'datlocprovider' NOT IN ('c')) ORDER BY 1"
                .to_owned(),
            "is sorted by rules that the service has not chosen, or lies elsewhere",
            "upgrade in place",
        ),
        (
            format!(
                "SELECT kind || ' ' || it FROM ( \
                 SELECT 'operator class', n.nspname || '.' || o.opcname, o.oid FROM pg_opclass o JOIN pg_namespace n ON n.oid = o.opcnamespace WHERE {} \
                 UNION ALL SELECT 'conversion', n.nspname || '.' || o.conname, o.oid FROM pg_conversion o JOIN pg_namespace n ON n.oid = o.connamespace WHERE {} \
                 UNION ALL SELECT 'text search template', n.nspname || '.' || o.tmplname, o.oid FROM pg_ts_template o JOIN pg_namespace n ON n.oid = o.tmplnamespace WHERE {} \
                 UNION ALL SELECT 'foreign server', s.srvname, s.oid FROM pg_foreign_server s \
                 UNION ALL SELECT 'event trigger', t.evtname, t.oid FROM pg_event_trigger t \
                 UNION ALL SELECT 'subscription', s.subname, s.oid FROM pg_subscription s) them (kind, it, oid) ORDER BY 1",
                own("pg_opclass", "o.oid"),
                own("pg_conversion", "o.oid"),
                own("pg_ts_template", "o.oid")
            ),
            "is nothing that a tenant makes, and is not carried",
            "drop it, or upgrade in place",
        ),
    ]
}
