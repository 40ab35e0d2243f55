//! An account that reads every tenant's table and does nothing else, for the time of a comparison.
//!
//! Whoever reads a table has its owner's functions run, as the one who reads: the planner computes what an index's
//! condition says of constants. So no table of a tenant's is read by our own account, nor by a role that it takes, which a
//! function could give back. This one comes to the private address, with a random password that nobody else ever has, and
//! reads in a transaction that can write nothing. It is of every role that owns something, since what reading runs may be
//! its owner's alone to run.
//!
//! # If we die here
//! It stays until the next comparison, which makes it anew, or until the upgrade's accounts are taken off.

use std::time::Duration;

use tokio_postgres::Config;

use crate::domain::datastore::EngineKind;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::content::{open_databases, tenant_role};
use crate::engines::postgresql::seed::KEEPER;
use crate::engines::postgresql::{LOOK_ACCOUNT, door};
use crate::engines::{Error, Server};

/// How long it may take to come in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the account, and gives its password.
pub async fn make(server: &Server) -> Result<String, Error> {
    let doing = "make the account that looks";
    drop(server).await?;
    let password = format!("{}{}", uuid::Uuid::new_v4().as_simple(), uuid::Uuid::new_v4().as_simple());
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let client = Client::connect(server).await?;
    // Its server may run since before there were rules for this account.
    let wanted = door::wanted(server);
    door::write(server, wanted).await?;
    door::settle(server, &client, wanted).await?;
    let account = name(LOOK_ACCOUNT);
    let mut sql = format!(
        "CREATE ROLE {account} WITH LOGIN INHERIT BYPASSRLS PASSWORD {}; GRANT pg_read_all_data TO {account}",
        quoted(&verifier)
    );
    for database in open_databases(&client).await? {
        sql.push_str(&format!("; GRANT CONNECT ON DATABASE {} TO {account}", name(&database)));
    }
    let owners = format!(
        "SELECT r.rolname FROM pg_roles r WHERE ({}) OR r.rolname ~ '^{KEEPER}'",
        tenant_role("r.rolname")
    );
    for owner in client.column(doing, &owners).await? {
        sql.push_str(&format!("; GRANT {} TO {account}", name(&owner)));
    }
    client.run(doing, &sql).await?;
    Ok(password)
}

/// Comes in as it.
pub async fn connect(server: &Server, password: &str, database: &str) -> Result<Client, Error> {
    let doing = "come in to look";
    let port = EngineKind::Postgresql.standard_port();
    let coming = async {
        let stream = server
            .runtime
            .connect_private(server.generation, port)
            .await
            .map_err(|error| Error::NoAnswer(format!("{doing}: {error}")))?;
        let mut config = Config::new();
        config.user(LOOK_ACCOUNT).password(password).dbname(database);
        Client::by(doing, server, config, stream).await
    };
    match tokio::time::timeout(PATIENCE, coming).await {
        Ok(client) => client,
        Err(_) => Err(Error::NoAnswer(format!("{doing}: timed out"))),
    }
}

/// Takes the account off. Happy when there is none.
pub async fn drop(server: &Server) -> Result<(), Error> {
    let doing = "take the account that looks off";
    let client = Client::connect(server).await?;
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = '{LOOK_ACCOUNT}'");
    if !client.is_there(doing, &there).await? {
        return Ok(());
    }
    let account = name(LOOK_ACCOUNT);
    let end = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{LOOK_ACCOUNT}'"
    );
    client.run(doing, &format!("ALTER ROLE {account} NOLOGIN")).await?;
    client.rows(doing, &end).await?;
    client.run(doing, &format!("DROP OWNED BY {account}; DROP ROLE {account}")).await
}
