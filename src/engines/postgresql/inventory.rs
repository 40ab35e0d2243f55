//! Every object of a tenant's as a line of text, equal on two servers that hold the same, whatever their versions. Whose
//! it is and who may do what with it has lines of its own ([`rights`]); on a replica, whose tenants can only read, they
//! tell what will be given.
//!
//! Names and definitions are the server's own descriptions where all versions give them alike. A view's or rule's text is
//! not: it is told by its columns, its options and who may use it. What a version alone has is left out: the right to
//! MAINTAIN, the constraint that stands for NOT NULL, the version of an extension, its own objects.

use std::time::Duration;

use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::content::{TENANT_DATABASE, in_each, open_databases, tenant_role};
use crate::engines::postgresql::rights;
use crate::engines::{Error, Server};

/// How long one question may take: it looks at every object of a kind.
const PATIENCE: Duration = Duration::from_secs(60);

/// The condition that an object is of a tenant's schema, and no extension's.
fn own(class: &str, oid: &str) -> String {
    format!(
        "n.nspname NOT IN ('pg_catalog', 'information_schema', 'coffer') AND n.nspname !~ '^pg_' \
         AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = '{class}'::regclass AND e.objid = {oid} \
         AND e.deptype = 'e')"
    )
}

/// One line a row: the columns with `|` between.
fn questions() -> Vec<(&'static str, String)> {
    let relation = own("pg_class", "c.oid");
    vec![
        (
            "schema",
            format!("SELECT n.nspname FROM pg_namespace n WHERE {}", own("pg_namespace", "n.oid")),
        ),
        (
            "relation",
            format!(
                "SELECT n.nspname, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, \
                 c.relreplident, c.relispartition, array_to_string(c.reloptions, ','), \
                 CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END, \
                 CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND {relation}"
            ),
        ),
        (
            "inherits",
            format!(
                "SELECT n.nspname, c.relname, i.inhseqno, pn.nspname, p.relname FROM pg_inherits i \
                 JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace \
                 WHERE c.relkind IN ('r', 'p', 'f') AND {relation}"
            ),
        ),
        (
            "column",
            format!(
                "SELECT n.nspname, c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, \
                 format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, \
                 CASE WHEN c.relkind IN ('r', 'p', 'f') THEN pg_get_expr(d.adbin, d.adrelid) END, l.collname \
                 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 LEFT JOIN pg_collation l ON l.oid = a.attcollation \
                 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND {relation}"
            ),
        ),
        (
            "constraint",
            format!(
                "SELECT n.nspname, c.relname, k.conname, k.convalidated, pg_get_constraintdef(k.oid) FROM pg_constraint k \
                 JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE k.contype <> 'n' AND {relation}"
            ),
        ),
        (
            "index",
            format!(
                "SELECT n.nspname, c.relname, i.indisvalid, i.indisclustered, i.indisreplident, \
                 pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {relation}"
            ),
        ),
        (
            "sequence",
            format!(
                "SELECT n.nspname, c.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax, \
                 s.seqmin, s.seqcache, s.seqcycle FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {relation}"
            ),
        ),
        (
            "trigger",
            format!(
                "SELECT n.nspname, c.relname, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) FROM pg_trigger t \
                 JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE NOT t.tgisinternal AND {relation}"
            ),
        ),
        (
            "rule",
            format!(
                "SELECT n.nspname, c.relname, r.rulename, r.ev_type, r.ev_enabled, r.is_instead FROM pg_rewrite r \
                 JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {relation}"
            ),
        ),
        (
            "policy",
            format!(
                "SELECT n.nspname, c.relname, p.polname, p.polcmd, p.polpermissive, \
                 (SELECT string_agg(g.rolname, ',' ORDER BY g.rolname) FROM pg_roles g WHERE g.oid = ANY (p.polroles)), \
                 pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_policy p \
                 JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {relation}"
            ),
        ),
        (
            "routine",
            format!(
                "SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), p.prokind, l.lanname, \
                 pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.provolatile, p.prosecdef, \
                 p.proleakproof, p.proisstrict, p.proparallel, array_to_string(p.proconfig, ','), md5(p.prosrc), \
                 p.procost, p.prorows FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
                 JOIN pg_language l ON l.oid = p.prolang WHERE {}",
                own("pg_proc", "p.oid")
            ),
        ),
        (
            "type",
            format!(
                "SELECT n.nspname, t.typname, t.typtype, t.typnotnull, t.typdefault, \
                 CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, \
                 (SELECT string_agg(v.enumlabel, ',' ORDER BY v.enumsortorder) FROM pg_enum v WHERE v.enumtypid = t.oid), \
                 (SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid), ',' ORDER BY k.conname) \
                 FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n') \
                 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
                 WHERE t.typtype IN ('d', 'e', 'r', 'm') AND {}",
                own("pg_type", "t.oid")
            ),
        ),
        (
            "operator",
            format!(
                "SELECT n.nspname, p.oprname, format_type(p.oprleft, NULL), format_type(p.oprright, NULL), \
                 p.oprcode::text FROM pg_operator p JOIN pg_namespace n ON n.oid = p.oprnamespace WHERE {}",
                own("pg_operator", "p.oid")
            ),
        ),
        (
            "collation",
            format!(
                "SELECT n.nspname, l.collname, l.collprovider, l.collisdeterministic FROM pg_collation l \
                 JOIN pg_namespace n ON n.oid = l.collnamespace WHERE {}",
                own("pg_collation", "l.oid")
            ),
        ),
        (
            "statistics",
            format!(
                "SELECT n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s \
                 JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {}",
                own("pg_statistic_ext", "s.oid")
            ),
        ),
        (
            "search configuration",
            format!(
                "SELECT n.nspname, t.cfgname FROM pg_ts_config t JOIN pg_namespace n ON n.oid = t.cfgnamespace WHERE {}",
                own("pg_ts_config", "t.oid")
            ),
        ),
        ("extension", "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace".to_owned()),
        (
            "cast",
            "SELECT format_type(c.castsource, NULL), format_type(c.casttarget, NULL), c.castcontext, c.castmethod \
             FROM pg_cast c WHERE c.oid >= 16384"
                .to_owned(),
        ),
        ("publication", "SELECT pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication WHERE pubname !~ '^coffer'".to_owned()),
        ("large objects", "SELECT count(*) FROM pg_largeobject_metadata".to_owned()),
        (
            "comment",
            "SELECT d.classoid::regclass::text, pg_describe_object(d.classoid, d.objoid, d.objsubid), md5(d.description) \
             FROM pg_description d WHERE d.objoid >= 16384 \
             AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e')"
                .to_owned(),
        ),
    ]
}

/// What is the server's as a whole.
fn shared() -> Vec<(&'static str, String)> {
    let role = tenant_role("r.rolname");
    vec![
        (
            "database",
            format!(
                "SELECT d.datname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datistemplate, \
                 d.datallowconn, d.datconnlimit FROM pg_database d WHERE d.{TENANT_DATABASE}"
            ),
        ),
        ("prepared transaction", "SELECT gid, database FROM pg_prepared_xacts".to_owned()),
        (
            "role",
            format!(
                "SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, \
                 r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil, md5(r.rolpassword) \
                 FROM pg_authid r WHERE {role}"
            ),
        ),
        (
            "member",
            format!(
                "SELECT g.rolname, r.rolname, m.admin_option FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                 JOIN pg_roles r ON r.oid = m.member WHERE {role}"
            ),
        ),
        (
            "setting",
            format!(
                "SELECT coalesce(d.datname, ''), coalesce(r.rolname, ''), md5(array_to_string(s.setconfig, ',')) \
                 FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase \
                 LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE (s.setdatabase <> 0 OR s.setrole <> 0) \
                 AND (s.setrole = 0 OR ({role}))"
            ),
        ),
    ]
}

/// Reads the lines, sorted; with where each sequence stands, unless the server goes on serving.
pub async fn read(server: &Server, serving: bool) -> Result<Vec<String>, Error> {
    let client = Client::connect(server).await?.patient(PATIENCE);
    client.quote_names().await?;
    let mut lines = Vec::new();
    ask(&client, None, shared(), &mut lines).await?;
    let databases = open_databases(&client).await?;
    for inside in in_each(&databases, |database| inside(server, database, serving)).await? {
        lines.extend(inside);
    }
    lines.sort();
    Ok(lines)
}

async fn inside(server: &Server, database: &str, serving: bool) -> Result<Vec<String>, Error> {
    let inside = Client::connect_to(server, database).await?.patient(PATIENCE);
    inside.quote_names().await?;
    let mut lines = Vec::new();
    ask(&inside, Some(database), questions(), &mut lines).await?;
    let given = match rights::kept(&inside).await? {
        Some(kept) => kept,
        None => rights::read(&inside).await?,
    };
    lines.extend(rights::lines(&given).into_iter().map(|line| told(format!("{database}: {line}"))));
    if !serving {
        sequences(&inside, database, &mut lines).await?;
    }
    Ok(lines)
}

async fn ask(
    client: &Client,
    database: Option<&str>,
    questions: Vec<(&'static str, String)>,
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    for (kind, sql) in questions {
        for row in client.rows("describe the content", &sql).await? {
            let values: Vec<String> = row.into_iter().map(|value| told(value.unwrap_or_default())).collect();
            let place = database.map(|name| format!("{name}: ")).unwrap_or_default();
            lines.push(format!("{place}{kind} {}", values.join("|")));
        }
    }
    Ok(())
}

/// A value as every version tells it: to some the type `json` is a word of the language, which is not quoted.
fn told(value: String) -> String {
    if value.contains(JSON) { value.replace(JSON, "json") } else { value }
}

const JSON: &str = "\"json\"";

/// Where each sequence stands.
async fn sequences(inside: &Client, database: &str, lines: &mut Vec<String>) -> Result<(), Error> {
    let sql = format!(
        "SELECT n.nspname, c.relname, coalesce(pg_sequence_last_value(c.oid)::text, 'not called') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND {}",
        own("pg_class", "c.oid")
    );
    ask(inside, Some(database), vec![("position", sql)], lines).await
}
