//! CHECKs that hold for a candidate's rows only once all of them have been copied.
//!
//! A row that is in a table need not be one that its CHECKs would take: a constraint was added NOT VALID, or its function
//! answers otherwise by now. The source has the row, so the candidate gets it: while tables are copied for the first time,
//! every CHECK of a tenant's table or domain is `true` there. What each one was is kept in a table of our own schema as the
//! server itself keeps it, and put back exactly, with the same number: both are updates of catalogue rows, which evaluate
//! nothing. Foreign keys need nothing of the kind: who copies does not ask them.
//!
//! # If we die here
//! Each of the two is one transaction, and looks first whether it was done.

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::Error;
use crate::engines::postgresql::connection::Client;

/// Whether something is put aside in the database.
async fn is_aside(here: &Client) -> Result<bool, Error> {
    let sql = format!(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{OWN_SCHEMA}' \
         AND n.nspowner = 10 AND c.relname = 'checks' AND c.relkind = 'r' AND c.relowner = 10"
    );
    here.is_there("look whether CHECKs are put aside", &sql).await
}

/// Puts the CHECKs aside, before the first copy begins. Our own schema is there, and tenants are not.
pub async fn put_aside(here: &Client) -> Result<(), Error> {
    if is_aside(here).await? {
        return Ok(());
    }
    let sql = format!(
        "CREATE DOMAIN {OWN_SCHEMA}.harmless AS integer CHECK (true); \
         CREATE TABLE {OWN_SCHEMA}.checks AS SELECT k.oid AS number, k.conbin AS expression FROM pg_constraint k \
         JOIN pg_namespace n ON n.oid = k.connamespace WHERE k.contype = 'c' AND k.oid >= 16384 \
         AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}'); \
         UPDATE pg_constraint k SET conbin = (SELECT h.conbin FROM pg_constraint h \
         WHERE h.contypid = '{OWN_SCHEMA}.harmless'::regtype) FROM {OWN_SCHEMA}.checks c WHERE k.oid = c.number; \
         DROP DOMAIN {OWN_SCHEMA}.harmless"
    );
    here.run("put CHECKs aside", &sql).await
}

/// Puts them back, once every table's first copy is done.
pub async fn put_back(here: &Client) -> Result<(), Error> {
    if !is_aside(here).await? {
        return Ok(());
    }
    let sql = format!(
        "UPDATE pg_constraint k SET conbin = c.expression FROM {OWN_SCHEMA}.checks c WHERE k.oid = c.number; \
         DROP TABLE {OWN_SCHEMA}.checks"
    );
    here.run("put CHECKs back", &sql).await
}
