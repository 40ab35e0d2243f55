//! Accounts that read what is a tenant's and do nothing else, for the time of one look: at all rows when both sides are
//! compared, at the definitions when they are dumped, at the sequences that nothing else tells of.
//!
//! Whoever reads a table has its owner's functions run, as the one who reads: the planner computes what an index's
//! condition says of constants. So no table of a tenant's is read by our own account, nor by a role that it takes, which a
//! function could give back. These come to the private address, with a random password that nobody else ever has. They are
//! of every role that owns something: they may read what its owners may read, and what reading runs may be its owner's
//! alone to run. They are of no role of the server's own: one that reads everything reads passwords' verifiers, too. What
//! an owner has kept from itself, they are given by name.
//!
//! # If we die here
//! One stays until the next look, which makes it anew, or until the upgrade's accounts are taken off.

use std::time::{Duration, Instant};

use tokio_postgres::Config;

use crate::domain::datastore::EngineKind;
use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::KEEPER;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::databases::{open_databases, tenant_role};
use crate::engines::postgresql::{DUMP_ACCOUNT, LOOK_ACCOUNT, LOOK_EVERY, READ_ACCOUNT, pg_hba};
use crate::engines::{Error, Server};

/// How long it may take to come in.
const PATIENCE: Duration = Duration::from_secs(10);

/// What refuses a client by the rules.
const REFUSED: &str = "28000";

/// Makes the account that compares, and gives its password. It sees all rows, whatever rules hide them.
pub async fn make(server: &Server) -> Result<String, Error> {
    make_as(server, LOOK_ACCOUNT, "BYPASSRLS").await
}

/// Makes an account with these attributes, and gives its password.
pub async fn make_as(server: &Server, account: &str, attributes: &str) -> Result<String, Error> {
    let doing = "make the account that looks";
    drop_as(server, account).await?;
    let password = format!("{}{}", uuid::Uuid::new_v4().as_simple(), uuid::Uuid::new_v4().as_simple());
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let client = Client::connect(server).await?;
    // Its server may run since before there were rules for this account.
    let wanted = pg_hba::wanted(server);
    pg_hba::write(server, wanted).await?;
    pg_hba::settle(server, &client, wanted).await?;
    let inspector = name(account);
    let mut sql =
        format!("CREATE ROLE {inspector} WITH LOGIN INHERIT {attributes} PASSWORD {}", quoted(&verifier));
    let databases = open_databases(&client).await?;
    for database in &databases {
        sql.push_str(&format!("; GRANT CONNECT ON DATABASE {} TO {inspector}", name(database)));
    }
    let owners = format!(
        "SELECT r.rolname FROM pg_roles r WHERE ({}) OR r.rolname ~ '^{KEEPER}'",
        tenant_role("r.rolname")
    );
    for owner in client.column(doing, &owners).await? {
        sql.push_str(&format!("; GRANT {} TO {inspector}", name(&owner)));
    }
    client.run_and_retry(doing, &sql).await?;
    for database in &databases {
        let inside = Client::connect_to(server, database).await?;
        let given = inside.column(doing, &withheld(account)).await?;
        // What is gone or has another name by now is not there to be read.
        for grant in given {
            match inside.run(doing, &grant).await {
                Ok(()) | Err(Error::State { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(password)
}

/// What gives an account what owners have kept from themselves: a statement a row. They evaluate nothing.
fn withheld(account: &str) -> String {
    let own = format!(
        "n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' AND n.nspowner <> 10"
    );
    let (inspector, text) = (name(account).replace('%', "%%"), quoted(account));
    format!(
        "SELECT format('GRANT USAGE ON SCHEMA %I TO {inspector}', n.nspname) FROM pg_namespace n \
         WHERE {own} AND NOT has_schema_privilege({text}, n.oid, 'USAGE') \
         UNION ALL SELECT format('GRANT SELECT ON TABLE %I.%I TO {inspector}', n.nspname, c.relname) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relowner <> 10 \
         AND n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' \
         AND NOT has_table_privilege({text}, c.oid, 'SELECT')"
    )
}

/// Comes in as the account that compares.
pub async fn connect(server: &Server, password: &str, database: &str) -> Result<Client, Error> {
    connect_as(server, LOOK_ACCOUNT, password, database).await
}

/// Comes in as an account that [`make_as`] made.
pub async fn connect_as(
    server: &Server,
    account: &str,
    password: &str,
    database: &str,
) -> Result<Client, Error> {
    let doing = "come in to look";
    let port = EngineKind::Postgresql.standard_port();
    let coming = async || {
        let stream = server
            .runtime
            .connect_private(server.generation, port)
            .await
            .map_err(|error| Error::NoAnswer(format!("{doing}: {error}")))?;
        let mut config = Config::new();
        config.user(account).password(password).dbname(database);
        Client::by(doing, server, config, stream).await
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout(PATIENCE, coming()).await {
            // The server may not have read its rules yet.
            Ok(Err(Error::State { state, .. })) if state == REFUSED && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY / 5).await;
            }
            Ok(client) => return client,
            Err(_) => return Err(Error::NoAnswer(format!("{doing}: timed out"))),
        }
    }
}

/// Takes the accounts off. Happy when there is none.
pub async fn drop(server: &Server) -> Result<(), Error> {
    for account in [LOOK_ACCOUNT, DUMP_ACCOUNT, READ_ACCOUNT] {
        drop_as(server, account).await?;
    }
    Ok(())
}

/// The number of the account that compares, which is another one each time it is made.
///
/// # Errors
/// The server's.
pub async fn number(server: &Server) -> Result<Option<String>, Error> {
    let sql = format!("SELECT oid FROM pg_roles WHERE rolname = {}", quoted(LOOK_ACCOUNT));
    Client::connect(server).await?.value("look for the account that looks", &sql).await
}

/// Drops the account that compares if it still has this number: an account that another look made since has another one.
///
/// # Errors
/// The server's.
pub async fn drop_numbered(server: &Server, it: Option<&str>) -> Result<(), Error> {
    match number(server).await? {
        Some(there) if Some(&*there) == it => drop_as(server, LOOK_ACCOUNT).await,
        _ => Ok(()),
    }
}

/// Ends the sessions of the account that compares: a function of the tenant's may not let itself be cancelled.
///
/// # Errors
/// The server's.
pub async fn end_sessions(server: &Server) -> Result<(), Error> {
    end_sessions_of(&Client::connect(server).await?, LOOK_ACCOUNT).await
}

async fn end_sessions_of(client: &Client, account: &str) -> Result<(), Error> {
    let end = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {}",
        quoted(account)
    );
    client.rows("end the sessions of the account that looks", &end).await?;
    Ok(())
}

/// Takes one account off. Happy when there is none.
pub async fn drop_as(server: &Server, account: &str) -> Result<(), Error> {
    let doing = "take the account that looks off";
    let client = Client::connect(server).await?;
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = {}", quoted(account));
    if !client.is_there(doing, &there).await? {
        return Ok(());
    }
    let inspector = name(account);
    client.run(doing, &format!("ALTER ROLE {inspector} NOLOGIN")).await?;
    end_sessions_of(&client, account).await?;
    // What it was given in a database is noted for that database.
    let given = format!(
        "SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.refobjid \
         WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = {} AND d.datallowconn",
        quoted(account)
    );
    for database in client.column(doing, &given).await? {
        let inside = Client::connect_to(server, &database).await?;
        inside.run_and_retry(doing, &format!("DROP OWNED BY {inspector}")).await?;
    }
    client.run_and_retry(doing, &format!("DROP OWNED BY {inspector}; DROP ROLE {inspector}")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_given_only_what_is_a_tenants() {
        let sql = withheld("coffer_look");
        assert!(
            sql.contains("GRANT SELECT ON TABLE %I.%I TO \"coffer_look\"")
                && sql.contains("c.relowner <> 10")
        );
    }
}
