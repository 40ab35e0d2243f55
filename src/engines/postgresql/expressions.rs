//! What a table's rows are computed to, tried on one row of each table of the source.
//!
//! An expression of an index or of a computed column that calls a function of the tenant's may fail for those who copy rows,
//! build indexes and look at tables: they search no schema but the server's own. It fails only where there is a row, so
//! that no trial of definitions shows it. It is tried in a session without power that can write nothing.
//!
//! # If we die here
//! The account of the session without power stays, with a password that nobody knows, until the next look or comparison
//! takes it off.

use crate::domain::question::Finding;
use crate::engines::postgresql::connection::{Client, name};
use crate::engines::postgresql::content::open_databases;
use crate::engines::postgresql::{check, looker};
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

/// Tries each expression on a row of its table. Where rows are copied one by one, what fails stands in the way.
pub async fn rows(source: &Server, blocks: bool) -> Result<Vec<Finding>, Error> {
    let doing = "list what is computed of rows";
    let client = Client::connect(source).await?;
    let mut password = None;
    let mut found = Vec::new();
    for database in open_databases(&client).await? {
        let inside = Client::connect_to(source, &database).await?;
        let computed = inside.rows(doing, EXPRESSIONS).await?;
        if computed.is_empty() {
            continue;
        }
        let word = match &password {
            Some(word) => word,
            None => password.insert(looker::make(source).await?),
        };
        let session = looker::connect(source, word, &database).await;
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                looker::drop(source).await?;
                return Err(error);
            }
        };
        for row in computed {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || row.next().unwrap_or_default();
            let (schema, table, object, expression) = (next(), next(), next(), next());
            let sql = format!(
                "BEGIN READ ONLY; SET LOCAL statement_timeout = '{EXPRESSION}'; SELECT {expression} FROM ONLY {}.{} LIMIT 1",
                name(&schema),
                name(&table)
            );
            let tried = session.run("compute an expression", &sql).await;
            session.run("end a look", "ROLLBACK").await?;
            if let Err(Error::State { message, state, .. }) = tried
                && !OF_THE_MOMENT.contains(&&*state)
                && found.len() < NAMED
            {
                let why = format!(
                    "cannot be computed of a row where no schema is searched but the server's own: {message}"
                );
                let remedy = "have its functions name the schemas of what they use, or ALTER FUNCTION … SET search_path";
                let finding = check::blocker(format!("{database}: {object}"), why, remedy);
                found.push(Finding { blocks, ..finding });
            }
        }
    }
    if password.is_some() {
        looker::drop(source).await?;
    }
    Ok(found)
}

/// States of a statement that could not be tried: it took too long, or its object was gone, or held.
const OF_THE_MOMENT: [&str; 4] = ["57014", "42P01", "55P03", "3F000"];
