//! What a table's rows are computed to, tried on one row of each table of the source, and what materialized views are
//! made of.
//!
//! An expression of an index or of a computed column that calls a function of the tenant's may fail for those who copy rows,
//! build indexes and look at tables: they search no schema but the server's own. It fails only where there is a row, so
//! that no trial of definitions shows it. It is tried in a session without power that can write nothing.
//!
//! # If we die here
//! The account of the session without power stays, with a password that nobody knows, until the next look or comparison
//! takes it off.

use std::time::Duration;

use crate::domain::question::Finding;
use crate::engines::postgresql::connection::{Client, name};
use crate::engines::postgresql::content::open_databases;
use crate::engines::postgresql::{catalogue, check, inspector, major};
use crate::engines::{Error, Server};

/// How many are named.
const NAMED: usize = 20;

/// How long one expression may take.
const EXPRESSION: &str = "2s";

/// Expressions that call a function of a tenant's, with their table and what they are of: an index's, and a computed
/// column's. Each is told with all names in full.
const EXPRESSIONS: &str = "\
    WITH calls AS (SELECT DISTINCT d.classid, d.objid FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid \
    WHERE d.refclassid = 'pg_proc'::regclass AND d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass) \
    AND p.oid >= 16384 AND p.prolang NOT IN (12, 13)) \
    SELECT n.nspname, t.relname, 'index ' || n.nspname || '.' || c.relname, \
    (SELECT string_agg(pg_get_indexdef(i.indexrelid, k::int, false), ', ') FROM generate_series(1, i.indnatts) k) \
    || coalesce(', ' || pg_get_expr(i.indpred, i.indrelid), '') \
    FROM calls JOIN pg_index i ON calls.classid = 'pg_class'::regclass AND i.indexrelid = calls.objid \
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid AND t.relispopulated JOIN pg_namespace n ON n.oid = t.relnamespace \
    UNION ALL SELECT n.nspname, t.relname, 'column ' || n.nspname || '.' || t.relname || '.' || a.attname, \
    pg_get_expr(f.adbin, f.adrelid) FROM calls JOIN pg_attrdef f ON calls.classid = 'pg_attrdef'::regclass AND f.oid = calls.objid \
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated <> '' \
    JOIN pg_class t ON t.oid = f.adrelid JOIN pg_namespace n ON n.oid = t.relnamespace ORDER BY 1, 2, 3";

/// What a copy of rows computes anew by a function of a tenant's: stored columns and unique indexes, each with the end of a
/// question that has a row where the function gives something else by now than it gave when the rows came.
const ANEW: &str = "\
    WITH calls AS (SELECT DISTINCT d.classid, d.objid FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid \
    WHERE d.refclassid = 'pg_proc'::regclass AND d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass) \
    AND p.oid >= 16384 AND p.prolang NOT IN (12, 13)) \
    SELECT n.nspname, t.relname, 'column ' || n.nspname || '.' || t.relname || '.' || a.attname, \
    format(' WHERE %I::text IS DISTINCT FROM ((%s)::%s)::text', a.attname, pg_get_expr(f.adbin, f.adrelid), \
    format_type(a.atttypid, a.atttypmod)) FROM calls JOIN pg_attrdef f ON calls.classid = 'pg_attrdef'::regclass AND f.oid = calls.objid \
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated = 's' \
    JOIN pg_class t ON t.oid = f.adrelid AND t.relkind = 'r' JOIN pg_namespace n ON n.oid = t.relnamespace \
    UNION ALL SELECT k.nspname, k.relname, k.what, coalesce(' WHERE ' || k.predicate, '') || ' GROUP BY ' || k.parts \
    || ' HAVING count(*) > 1 AND bool_and(ROW(' || k.parts || ') IS NOT NULL)' \
    FROM (SELECT n.nspname, t.relname, 'index ' || n.nspname || '.' || c.relname AS what, pg_get_expr(i.indpred, i.indrelid) AS predicate, \
    (SELECT string_agg(pg_get_indexdef(i.indexrelid, k::int, false), ', ') FROM generate_series(1, i.indnkeyatts) k) AS parts \
    FROM calls JOIN pg_index i ON calls.classid = 'pg_class'::regclass AND i.indexrelid = calls.objid AND i.indisunique \
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid AND t.relkind = 'r' \
    JOIN pg_namespace n ON n.oid = t.relnamespace) k ORDER BY 1, 2, 3";

/// Materialized views whose definition calls a function of a tenant's, with all names in full.
const VIEWS: &str = "\
    SELECT n.nspname, c.relname, 'materialized view ' || n.nspname || '.' || c.relname, \
    rtrim(pg_get_viewdef(c.oid), '; ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'm' AND EXISTS (SELECT 1 FROM pg_rewrite r \
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
    JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid \
    WHERE r.ev_class = c.oid AND p.oid >= 16384 AND p.prolang NOT IN (12, 13)) ORDER BY 1, 2";

/// The first version in which whoever refreshes a materialized view searches no schema but the server's own.
const REFRESHES_WITHOUT: u32 = 17;

/// States of a statement whose functions do not find their own.
const NOT_FOUND: [&str; 4] = ["42883", "42P01", "42703", "42704"];

/// Tries each expression on a row of its table. Where rows are copied one by one, what fails stands in the way.
pub async fn rows(source: &Server, blocks: bool) -> Result<Vec<Finding>, Error> {
    let statement = |schema: &str, table: &str, expression: &str| {
        format!("SELECT {expression} FROM ONLY {}.{} LIMIT 1", name(schema), name(table))
    };
    let tried = each(source, EXPRESSIONS, statement, |state| !OF_THE_MOMENT.contains(&state)).await?;
    let untried = tried.untried("the expressions of indexes and columns");
    let mut found = match blocks {
        true => changed(source).await?,
        false => Vec::new(),
    };
    let failing = tried
        .failed
        .into_iter()
        .map(|(object, message)| {
            let why = format!(
                "cannot be computed of a row where no schema is searched but the server's own: {message}"
            );
            Finding { blocks, ..check::blocker(object, why, REMEDY) }
        })
        .chain(untried);
    found.extend(failing);
    Ok(found)
}

/// What would not be as it is where rows are copied one by one, since the tenant's function was changed after they came.
async fn changed(source: &Server) -> Result<Vec<Finding>, Error> {
    let statement = |schema: &str, table: &str, end: &str| {
        format!("SELECT 1 FROM ONLY {}.{}{end} LIMIT 1", name(schema), name(table))
    };
    let tried = each(source, ANEW, statement, |_| false).await?;
    let why = "holds what its expression does not give any more, and a copy computes it anew: a function was changed since";
    let remedy =
        "UPDATE the rows, or REINDEX, so that they are as the function gives them, or upgrade in place";
    Ok(tried.met.into_iter().map(|object| check::blocker(object, why, remedy)).collect())
}

/// Tries each materialized view that the target would refresh in another way than the source: its rows are carried, and it
/// cannot be refreshed afterwards.
pub async fn refreshes(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    if major(&source.version) >= REFRESHES_WITHOUT || major(&candidate.version) < REFRESHES_WITHOUT {
        return Ok(Vec::new());
    }
    let statement = |_: &str, _: &str, definition: &str| format!("SELECT * FROM ({definition}) q LIMIT 1");
    let tried = each(source, VIEWS, statement, |state| NOT_FOUND.contains(&state)).await?;
    let untried = tried.untried("the materialized views");
    Ok(tried
        .failed
        .into_iter()
        .map(|(object, message)| {
            let why = format!(
                "cannot be refreshed by the target, where no schema is searched but the server's own: {message}"
            );
            check::warning(object, why, REMEDY)
        })
        .chain(untried)
        .collect())
}

const REMEDY: &str =
    "have its functions name the schemas of what they use, or ALTER FUNCTION … SET search_path";

/// How long all of a list is tried: it is a tenant's, and as long as the tenant likes.
const ALL: Duration = Duration::from_secs(15);

/// The state of a login to a database that takes no further one: that is told apart.
const CROWDED: &str = "53300";

/// What came of trying a list.
#[derive(Default)]
struct Tried {
    /// The objects whose statement failed in a way that counts, and the server's words.
    failed: Vec<(String, String)>,
    /// The objects whose statement gave a row.
    met: Vec<String>,
    /// Whether none was left out.
    is_whole: bool,
}

impl Tried {
    /// A warning, where something was left out.
    fn untried(&self, what: &str) -> Option<Finding> {
        (!self.is_whole).then(|| {
            check::warning(
                what,
                format!("were not all tried: it took over {} s, or a database takes no more connections", ALL.as_secs()),
                "what cannot be computed is found when it is copied or refreshed; an upgrade that meets it is undone",
            )
        })
    }
}

/// Runs a statement for each row of a list, in a session without power.
async fn each(
    source: &Server,
    list: &str,
    statement: impl Fn(&str, &str, &str) -> String,
    counts: impl Fn(&str) -> bool,
) -> Result<Tried, Error> {
    let doing = "list what is computed of rows";
    let client = Client::connect(source).await?;
    let mut lists = Vec::new();
    for database in open_databases(&client).await? {
        // Nothing of ours stays in a database that may take few sessions.
        let inside = Client::connect_to(source, &database).await?;
        let computed = catalogue::rows(&inside, doing, &format!("{database}: "), list).await?;
        drop(inside);
        if !computed.is_empty() {
            lists.push((database, computed));
        }
    }
    let mut tried = Tried { is_whole: true, ..Tried::default() };
    if lists.is_empty() {
        return Ok(tried);
    }
    let password = inspector::make(source).await?;
    let done = tokio::time::timeout(ALL, async {
        for (database, computed) in lists {
            let session = match inspector::connect(source, &password, &database).await {
                Ok(session) => session,
                Err(Error::State { state, .. }) if state == CROWDED => {
                    tried.is_whole = false;
                    continue;
                }
                Err(error) => return Err(error),
            };
            for row in computed {
                let mut row = row.into_iter().map(Option::unwrap_or_default);
                let mut next = || row.next().unwrap_or_default();
                let (schema, relation, object, text) = (next(), next(), next(), next());
                let sql = format!(
                    "BEGIN READ ONLY; SET LOCAL statement_timeout = '{EXPRESSION}'; {}",
                    statement(&schema, &relation, &text)
                );
                let computed = session.rows("compute an expression", &sql).await;
                session.run("end a look", "ROLLBACK").await?;
                if computed.as_ref().is_ok_and(|rows| !rows.is_empty()) && tried.met.len() < NAMED {
                    tried.met.push(format!("{database}: {object}"));
                }
                if let Err(Error::State { message, state, .. }) = computed
                    && counts(&state)
                    && tried.failed.len() < NAMED
                {
                    tried.failed.push((format!("{database}: {object}"), message));
                }
            }
        }
        Ok(())
    })
    .await;
    // Whatever came of it, nobody is left who may look.
    inspector::drop(source).await?;
    match done {
        Ok(done) => done?,
        Err(_) => tried.is_whole = false,
    }
    Ok(tried)
}

/// States of a statement that could not be tried: it took too long, or its object was gone, or held.
const OF_THE_MOMENT: [&str; 4] = ["57014", "42P01", "55P03", "3F000"];
