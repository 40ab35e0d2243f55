//! Our schema in each database, and the proof that it is ours.
//!
//! The schema is there from a database's birth, belongs to our account, and gives nobody else a right: its name cannot be
//! taken, and nothing can be put into it. A server of an older build gets it at its next start. A tenant of such a server
//! may have taken the name by then: its schema is never used, and what needs ours says so by its name.
//!
//! Before each use the table is locked, so that it stays what it is, and in the same transaction the catalogue is asked
//! whose it is and what hangs on it: another's table, a view, a trigger, a rule or a policy ends the transaction before
//! our statement runs.
//!
//! # If we die here
//! Each part is one transaction. Which databases have been seen to has a list of its own in our database, which is only
//! there to spare connections.

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, Row, quoted};
use crate::engines::postgresql::databases::{in_each, open_databases};
use crate::engines::{Error, Server};

/// Our account's number: it made the cluster.
const OWNER: u32 = 10;

/// What the server answers to the proof of a table that is not ours.
const NOT_OURS: &str = "22012";

/// The databases whose schema has been seen to, in our own database.
const BORN: &str = "born";

fn taken(doing: &'static str) -> Error {
    let answer = format!(
        "the schema {OWN_SCHEMA} is not the service's own: ALTER SCHEMA {OWN_SCHEMA} RENAME TO another name"
    );
    Error::Unexpected { doing, answer }
}

/// Makes our schema in the database that the connection is to.
///
/// # Errors
/// [`Error::Unexpected`] naming the schema when it is another's.
pub async fn ensure(inside: &Client) -> Result<(), Error> {
    let doing = "make our own schema";
    let whose = format!("SELECT nspowner = {OWNER} FROM pg_namespace WHERE nspname = '{OWN_SCHEMA}'");
    if inside.value(doing, &whose).await?.is_none() {
        let create = format!("CREATE SCHEMA {OWN_SCHEMA}; REVOKE ALL ON SCHEMA {OWN_SCHEMA} FROM PUBLIC");
        match inside.run(doing, &create).await {
            // Somebody was faster: whose it is is looked at below.
            Err(Error::State { state, .. }) if state == "42P06" || state == "23505" => {}
            made => made?,
        }
    }
    match inside.value(doing, &whose).await?.as_deref() {
        Some("t") => Ok(()),
        _ => Err(taken(doing)),
    }
}

/// Makes our schema in each database that has not been seen to. One that a tenant has taken is left as it is.
///
/// # Errors
/// The server's.
pub async fn ensure_everywhere(server: &Server, client: &Client) -> Result<(), Error> {
    let doing = "make our own schema in each database";
    let list = format!("CREATE TABLE IF NOT EXISTS {OWN_SCHEMA}.{BORN} (database oid PRIMARY KEY)");
    let listed = format!(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{OWN_SCHEMA}' \
         AND c.relname = '{BORN}'"
    );
    if !client.is_there(doing, &listed).await? {
        client.run(doing, &list).await?;
    }
    let seen = format!(
        "SELECT d.datname FROM pg_database d JOIN {OWN_SCHEMA}.{BORN} b ON b.database = d.oid ORDER BY 1"
    );
    let seen = client.column(doing, &seen).await?;
    let mut left = open_databases(client).await?;
    left.push("template1".to_owned());
    left.retain(|database| !seen.contains(database));
    let each = async |database| match ensure(&Client::connect_to(server, database).await?).await {
        Err(Error::Unexpected { answer, .. }) => {
            tracing::warn!(generation.id = %server.generation, answer, "a name of ours is a tenant's");
            Ok(false)
        }
        made => made.map(|()| true),
    };
    let made = in_each(&left, each).await?;
    let made: Vec<String> =
        left.iter().zip(made).filter(|(_, made)| *made).map(|(name, _)| quoted(name)).collect();
    if made.is_empty() {
        return Ok(());
    }
    let note = format!(
        "DELETE FROM {OWN_SCHEMA}.{BORN} b WHERE NOT EXISTS (SELECT 1 FROM pg_database d WHERE d.oid = b.database); \
         INSERT INTO {OWN_SCHEMA}.{BORN} SELECT oid FROM pg_database WHERE datname IN ({}) ON CONFLICT DO NOTHING",
        made.join(", ")
    );
    client.run(doing, &note).await
}

/// Whether a table of our schema is there: none of a tenant's is ever taken for it.
///
/// # Errors
/// The server's.
pub async fn has(inside: &Client, doing: &'static str, table: &str) -> Result<bool, Error> {
    let sql = format!(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{OWN_SCHEMA}' \
         AND n.nspowner = {OWNER} AND c.relname = {}",
        quoted(table)
    );
    inside.is_there(doing, &sql).await
}

/// A statement that fails unless the table, and the schema that it is in, are ours and nothing hangs on it.
fn proof(table: &str) -> String {
    let ours = format!("(SELECT r.oid FROM pg_roles r WHERE r.oid = {OWNER} OR r.rolname ~ '^coffer_')");
    let others =
        |acl: &str| format!("EXISTS (SELECT 1 FROM aclexplode({acl}) x WHERE x.grantee NOT IN {ours})");
    format!(
        "SELECT 1 / count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{OWN_SCHEMA}' AND n.nspowner = {OWNER} AND NOT {} AND c.relname = {} AND c.relkind = 'r' \
         AND c.relpersistence = 'p' AND c.relowner IN {ours} AND NOT {} AND NOT c.relhasrules AND NOT c.relrowsecurity \
         AND NOT c.relforcerowsecurity AND NOT c.relispartition \
         AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid) \
         AND NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid) \
         AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) \
         AND NOT EXISTS (SELECT 1 FROM pg_attrdef d WHERE d.adrelid = c.oid) \
         AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype NOT IN ('p', 'n')) \
         AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) \
         AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND (a.attacl IS NOT NULL \
         OR a.atttypid NOT IN (16, 20, 23, 25, 26)))",
        others("n.nspacl"),
        quoted(table),
        others("c.relacl"),
    )
}

/// What comes before a statement that uses a table of our schema, in its transaction.
pub fn proven(table: &str) -> String {
    format!("LOCK TABLE ONLY {OWN_SCHEMA}.{table} IN ROW EXCLUSIVE MODE; {}", proof(table))
}

/// Runs `sql`, which uses a table of our schema, once the table is proven to be ours; gives the rows of `sql`.
///
/// # Errors
/// [`Error::Unexpected`] naming the schema when it is not ours.
pub async fn using(inside: &Client, doing: &'static str, table: &str, sql: &str) -> Result<Vec<Row>, Error> {
    // Several statements are one transaction. The proof's own row comes first.
    match inside.rows(doing, &format!("{}; {sql}", proven(table))).await {
        Ok(rows) => Ok(rows.into_iter().skip(1).collect()),
        Err(Error::State { state, .. }) if state == NOT_OURS => Err(taken(doing)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_begins_with_a_lock_and_a_proof() {
        let before = proven("marker");
        assert!(
            before.starts_with("LOCK TABLE ONLY coffer.marker IN ROW EXCLUSIVE MODE; SELECT 1 / count(*)")
        );
        assert!(before.contains("n.nspowner = 10"));
    }
}
