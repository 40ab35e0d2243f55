//! A replica's tenants change nothing before its detach, what is not data included. Nor does what a tenant wrote, where it
//! is evaluated while a replica or a twin takes changes.
//!
//! That a transaction only reads is a default that every session can lift. Owning nothing, tenants are refused nearly
//! everything all the same; what is everybody's to do is refused by an event trigger of ours: default privileges, rights,
//! what DROP OWNED takes. PostgreSQL lets nobody refuse two things, a role's own password and its own settings, which no
//! event trigger sees: those are put back at the detach ([`roles::level`](super::roles::level)), and told.
//!
//! # If we die here
//! It is made with the copy, in the transaction of its function, and goes with the rights that are given at the detach.

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::Error;
use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::{ACCOUNT, LOOK_ACCOUNT};

/// The event trigger, and its function.
pub const NAME: &str = "coffer_still";

/// Has a database of a replica's refuse definitions that are not ours.
///
/// # Errors
/// The server's.
pub async fn make(inside: &Client) -> Result<(), Error> {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION {OWN_SCHEMA}.{NAME}() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$ \
         BEGIN IF session_user OPERATOR(pg_catalog.<>) ALL (ARRAY['{ACCOUNT}', '{LOOK_ACCOUNT}']::pg_catalog.name[]) THEN \
         RAISE EXCEPTION USING ERRCODE = '25006', MESSAGE = 'this instance follows another one and only reads: ' || tg_tag, \
         HINT = 'Detach it first, or change the instance that it follows.'; END IF; END $$; \
         REVOKE ALL ON FUNCTION {OWN_SCHEMA}.{NAME}() FROM PUBLIC; DROP EVENT TRIGGER IF EXISTS {NAME}; \
         CREATE EVENT TRIGGER {NAME} ON ddl_command_start EXECUTE FUNCTION {OWN_SCHEMA}.{NAME}(); \
         ALTER EVENT TRIGGER {NAME} ENABLE ALWAYS"
    );
    inside.run("have a replica stay as it is", &sql).await
}

/// The statements that let a database take definitions again. Happy when it does.
pub fn end() -> String {
    format!("DROP EVENT TRIGGER IF EXISTS {NAME}; DROP FUNCTION IF EXISTS {OWN_SCHEMA}.{NAME}()")
}
