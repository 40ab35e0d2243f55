//! What a tenant wrote, made harmless in the copy that `pg_upgrade` reads, and put back in the cluster that it made.
//!
//! `pg_upgrade` has all definitions made again in a superuser's session, and some are evaluated there: an IMMUTABLE
//! function in a partition's CHECK when the partition is attached, a domain's CHECK when a literal or a statistic of that
//! type is read. So every routine in another language than C gets a body that does nothing, and every domain's CHECK
//! becomes `true`, before `pg_upgrade` reads them; those of extensions, too, since an extension's owner can add routines
//! of its own to it. What databases and roles set for their sessions is put aside as well: it would hold for
//! `pg_upgrade`'s sessions.
//!
//! What was there is kept in tables of a schema whose name is drawn at random for each conversion, so that a tenant cannot
//! have made it. The schema goes through `pg_upgrade` as any other. In the new cluster [`put_back`] first has everything
//! parsed that must be parsed again (the CHECKs as those of domains of its own, routines with a parsed body), while all
//! of it is still harmless, and then moves what was put aside to its place by updates of catalogue rows, which evaluate
//! nothing. A routine is known by the number in its harmless body; types and roles keep their numbers.
//!
//! Afterwards the server's own parts are looked at ([`system`]).
//!
//! `pg_upgrade` also loses who owns an extension, and what all roles set: both are put back from the same tables.
//!
//! # If we die here
//! The copy is used up, or the new cluster is half made: the next try makes both anew from the stopped server's files,
//! which nothing here writes to.

use crate::engines::postgresql::connection::{Client, OWN_DATABASE};
use crate::engines::postgresql::databases::in_each;
use crate::engines::postgresql::{major, system};
use crate::engines::{Error, Server};

/// The number of the first object that is not the server's own.
const FIRST: u32 = 16_384;

/// The number of the first object of the server's own that others may depend on in words: on the ones before it everything
/// may depend without.
const PINNED: u32 = 12_000;

/// The number of our own account, which is in every server from its birth.
const OURS: u32 = 10;

/// How long one statement may take: it looks at every routine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Where things are put aside for one conversion.
pub struct Aside {
    schema: String,
}

impl Aside {
    /// A place that nobody else knows of.
    pub fn drawn() -> Self {
        Self { schema: format!("coffer_aside_{}", uuid::Uuid::new_v4().as_simple()) }
    }
}

/// The databases whose content `pg_upgrade` carries.
async fn databases(client: &Client) -> Result<Vec<String>, Error> {
    let sql = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1";
    client.column("list the databases", sql).await
}

/// Makes harmless what the copy holds, and keeps it aside. The copy serves nobody.
pub async fn disarm(copy: &Server, client: &Client, aside: &Aside) -> Result<(), Error> {
    let databases = databases(client).await?;
    let one = async |database| {
        let inside = Client::connect_to(copy, database).await?.patient(PATIENCE);
        inside.run("make harmless what is evaluated", &disarming(aside, major(&copy.version))).await
    };
    in_each(&databases, one).await?;
    client.run("put settings aside", &settings_aside(aside)).await
}

/// What the harmless body of the routine `p` returns. It is NULL, which every type has and nothing stumbles over; but a
/// partition's key may not become a constant, as it does where a NULL is added to a column: there it is a value of the
/// routine's type, read as the type's own literal, and NULL all the same where that has no such value.
const VALUE: &str = "CASE WHEN EXISTS (SELECT 1 FROM pg_depend d JOIN pg_partitioned_table k ON k.partrelid = d.objid \
     LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid \
     WHERE d.classid = 'pg_class'::regclass AND (d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid \
     OR o.oprcode = p.oid)) \
     THEN (SELECT coalesce('CAST(' || CASE WHEN t.typtype = 'm' THEN '''{}''' \
     WHEN t.typcategory = 'N' AND t.typtypmod >= 0 THEN '''0''' WHEN t.typcategory IN ('N', 'V') THEN '''1''' \
     WHEN t.typcategory = 'S' THEN '''x''' WHEN t.typcategory = 'B' THEN '''true''' \
     WHEN t.typcategory = 'D' THEN '''2000-01-01 00:00:00+00''' WHEN t.typcategory = 'T' THEN '''1 day''' \
     WHEN t.typcategory = 'A' THEN '''{}''' WHEN t.typcategory = 'R' THEN '''empty''' \
     WHEN t.typcategory = 'I' THEN '''10.0.0.1''' \
     WHEN t.typcategory = 'E' THEN (SELECT quote_literal(min(e.enumlabel)) FROM pg_enum e \
     WHERE e.enumtypid IN (t.oid, t.typbasetype)) \
     WHEN 'uuid'::regtype IN (t.oid, t.typbasetype) THEN '''00000000-0000-0000-0000-000000000001''' \
     WHEN 'bytea'::regtype IN (t.oid, t.typbasetype) THEN '''x''' \
     WHEN 'jsonb'::regtype IN (t.oid, t.typbasetype) THEN '''{}''' \
     WHEN 'pg_lsn'::regtype IN (t.oid, t.typbasetype) THEN '''0/1''' END \
     || ' AS ' || format_type(t.oid, NULL) || '); EXCEPTION WHEN OTHERS THEN RETURN NULL', 'NULL') \
     FROM pg_type t WHERE t.oid = p.prorettype) ELSE 'NULL' END";

/// What a database of the copy is given to run, as one transaction.
fn disarming(aside: &Aside, major: u32) -> String {
    let schema = &aside.schema;
    // 13 has no bodies that are kept parsed.
    let (parsed, unparse) = match major >= 14 {
        true => ("p.prosqlbody IS NOT NULL", ", prosqlbody = NULL"),
        false => ("false", ""),
    };
    let known = system::put_aside(schema);
    format!(
        "SET quote_all_identifiers = on; \
         CREATE SCHEMA {schema}; REVOKE ALL ON SCHEMA {schema} FROM PUBLIC; {known}; \
         CREATE TABLE {schema}.routines AS SELECT p.oid::bigint AS was, p.oid::regprocedure::text AS routine, \
         l.lanname::text AS language, p.prosrc AS body, p.probin AS file, p.proconfig AS settings, \
         {parsed} AS is_parsed, NULL::text AS definition \
         FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid >= {FIRST} AND p.prolang NOT IN (12, 13); \
         UPDATE pg_proc p SET proconfig = NULL FROM {schema}.routines r WHERE p.oid = r.was::oid; \
         UPDATE {schema}.routines SET definition = pg_get_functiondef(was::oid) WHERE is_parsed; \
         UPDATE pg_proc p SET prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql'), probin = NULL{unparse}, \
         prosrc = '/* {schema} ' || r.was || ' */ BEGIN RETURN' \
         || CASE WHEN p.prokind = 'p' OR p.proretset OR p.prorettype = 'void'::regtype \
         OR p.proargmodes && '{{o,b,t}}'::\"char\"[] THEN '' ELSE ' ' || {VALUE} END || '; END' \
         FROM {schema}.routines r WHERE p.oid = r.was::oid; \
         CREATE TABLE {schema}.checks AS SELECT k.contypid::bigint AS domain, t.oid::regtype::text AS type, \
         k.conname::text AS name, pg_get_expr(k.conbin, 0) AS expression, row_number() OVER () AS number \
         FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid WHERE k.contype = 'c' AND k.contypid >= {FIRST}; \
         CREATE DOMAIN {schema}.harmless AS integer CHECK (true); \
         UPDATE pg_constraint k SET conbin = (SELECT h.conbin FROM pg_constraint h \
         WHERE h.contypid = '{schema}.harmless'::regtype) FROM {schema}.checks c \
         WHERE k.contypid = c.domain::oid AND k.conname = c.name; \
         CREATE TABLE {schema}.extensions AS SELECT extname::text AS name, extowner::bigint AS owner FROM pg_extension"
    )
}

/// What our own database of the copy is given to run: what sessions begin with is the server's as a whole. What we set for
/// all roles stays: it keeps texts of a tenant's out of logs.
fn settings_aside(aside: &Aside) -> String {
    let schema = &aside.schema;
    format!(
        "{}; CREATE TABLE {schema}.settings AS SELECT setdatabase::bigint AS database, setrole::bigint AS role, \
         setconfig AS settings FROM pg_db_role_setting; \
         DELETE FROM pg_db_role_setting WHERE setdatabase <> 0 OR setrole <> 0",
        system::put_aside_shared(schema)
    )
}

/// Puts everything back in the new cluster, which serves nobody yet, and removes what it was kept in.
pub async fn put_back(candidate: &Server, client: &Client, aside: &Aside) -> Result<(), Error> {
    let databases = databases(client).await?;
    let one = async |database| {
        let inside = Client::connect_to(candidate, database).await?.patient(PATIENCE);
        rearm(&inside, aside, database).await
    };
    in_each(&databases, one).await?;
    system::built_in(candidate, &databases).await?;
    let sql = format!("{}; DROP SCHEMA {} CASCADE", settings_back(aside), aside.schema);
    client.run("put settings back", &sql).await
}

fn settings_back(aside: &Aside) -> String {
    format!(
        "INSERT INTO pg_db_role_setting SELECT s.database::oid, s.role::oid, s.settings FROM {}.settings s \
         WHERE NOT EXISTS (SELECT 1 FROM pg_db_role_setting t WHERE t.setdatabase = s.database::oid \
         AND t.setrole = s.role::oid)",
        aside.schema
    )
}

async fn rearm(inside: &Client, aside: &Aside, database: &str) -> Result<(), Error> {
    let schema = &aside.schema;
    let doing = "find what was made harmless";
    let find = format!(
        "CREATE TABLE {schema}.found AS SELECT p.oid AS routine, r.was FROM pg_proc p JOIN {schema}.routines r \
         ON r.was::text = substring(p.prosrc FROM '^/\\* {schema} ([0-9]+) \\*/')"
    );
    inside.run(doing, &find).await?;
    let lost = format!(
        "SELECT r.routine FROM {schema}.routines r WHERE NOT EXISTS (SELECT 1 FROM {schema}.found f WHERE f.was = r.was) \
         UNION ALL SELECT c.type || ': ' || c.name FROM {schema}.checks c WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k \
         WHERE k.contypid = c.domain::oid AND k.conname = c.name) LIMIT 1"
    );
    if let Some(object) = inside.value(doing, &lost).await? {
        return Err(Error::Unexpected { doing, answer: format!("{database}: {object} is not there") });
    }
    // What has to be parsed, while nothing that parsing may evaluate can do anything.
    let checks = format!(
        "SELECT 'domain ' || c.type || ': ' || c.name, format('CREATE DOMAIN {schema}.check_%s AS %s%s CHECK (%s)', \
         c.number, format_type(t.typbasetype, t.typtypmod), \
         coalesce((SELECT format(' COLLATE %I.%I', n.nspname, l.collname) FROM pg_collation l \
         JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = t.typcollation), ''), c.expression) \
         FROM {schema}.checks c JOIN pg_type t ON t.oid = c.domain::oid ORDER BY c.number"
    );
    parse(inside, "read a domain's CHECK", &checks, database).await?;
    let bodies = format!(
        "SELECT 'routine ' || routine, definition FROM {schema}.routines WHERE is_parsed ORDER BY was"
    );
    parse(inside, "read a routine's body", &bodies, database).await?;
    inside.run("put back what was made harmless", &rearming(aside)).await?;
    let doing = "look whether all was put back";
    let left =
        format!("SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.prosrc ~ '^/\\* {schema} ' LIMIT 1");
    if let Some(object) = inside.value(doing, &left).await? {
        return Err(Error::Unexpected { doing, answer: format!("{database}: routine {object} has no body") });
    }
    system::compare(inside, schema, database).await?;
    if database == OWN_DATABASE {
        // The settings are still there.
        return Ok(());
    }
    inside.run("remove what was put aside", &format!("DROP SCHEMA {schema} CASCADE")).await
}

/// Runs each statement of a question's second column; the first names the object that an error is about.
async fn parse(inside: &Client, doing: &'static str, question: &str, database: &str) -> Result<(), Error> {
    for row in inside.rows(doing, question).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let (object, statement) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
        inside.run(doing, &statement).await.map_err(|error| match error {
            Error::State { state, message, .. } => {
                Error::State { doing, state, message: format!("{database}: {object}: {message}") }
            }
            other => other,
        })?;
    }
    Ok(())
}

/// What a database of the new cluster is given to run, as one transaction. Nothing of it evaluates what it moves.
fn rearming(aside: &Aside) -> String {
    let schema = &aside.schema;
    let own = "(SELECT oid FROM pg_database WHERE datname = current_database())";
    format!(
        "UPDATE pg_proc p SET prolang = (SELECT l.oid FROM pg_language l WHERE l.lanname = r.language), \
         prosrc = r.body, probin = r.file, proconfig = r.settings \
         FROM {schema}.found f JOIN {schema}.routines r ON r.was = f.was WHERE p.oid = f.routine AND NOT r.is_parsed; \
         UPDATE pg_proc p SET proconfig = r.settings \
         FROM {schema}.found f JOIN {schema}.routines r ON r.was = f.was WHERE p.oid = f.routine AND r.is_parsed; \
         DELETE FROM pg_depend d USING {schema}.found f WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.routine \
         AND d.refclassid = 'pg_language'::regclass; \
         INSERT INTO pg_depend SELECT 'pg_proc'::regclass, p.oid, 0, 'pg_language'::regclass, p.prolang, 0, 'n' \
         FROM pg_proc p JOIN {schema}.found f ON f.routine = p.oid WHERE p.prolang >= {PINNED}; \
         CREATE TABLE {schema}.made AS SELECT k.oid AS real, m.oid AS made, m.contypid AS type \
         FROM {schema}.checks c JOIN pg_constraint k ON k.contypid = c.domain::oid AND k.conname = c.name \
         JOIN pg_type t ON t.typname = 'check_' || c.number AND t.typnamespace = '{schema}'::regnamespace \
         JOIN pg_constraint m ON m.contypid = t.oid AND m.contype = 'c'; \
         UPDATE pg_constraint k SET conbin = m.conbin FROM {schema}.made d JOIN pg_constraint m ON m.oid = d.made \
         WHERE k.oid = d.real; \
         INSERT INTO pg_depend SELECT DISTINCT d.classid, m.real, d.objsubid, d.refclassid, d.refobjid, d.refobjsubid, d.deptype \
         FROM pg_depend d JOIN {schema}.made m ON m.made = d.objid WHERE d.classid = 'pg_constraint'::regclass \
         AND NOT (d.refclassid = 'pg_type'::regclass AND d.refobjid = m.type); \
         UPDATE pg_extension e SET extowner = x.owner::oid FROM {schema}.extensions x WHERE e.extname = x.name; \
         DELETE FROM pg_shdepend s USING pg_extension e WHERE s.classid = 'pg_extension'::regclass AND s.objid = e.oid \
         AND s.dbid = {own}; \
         INSERT INTO pg_shdepend SELECT {own}, 'pg_extension'::regclass, e.oid, 0, 'pg_authid'::regclass, e.extowner, 'o' \
         FROM pg_extension e WHERE e.extowner <> {OURS}"
    )
}
