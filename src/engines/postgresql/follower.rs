//! The account by which a candidate reads its source: what it has got, with what password, and where.
//!
//! It can replicate and read every tenant's table, whatever rules hide rows there, and changes nothing. It comes to the
//! source's private address with a new random password each time, which is in the candidate's own files and nowhere
//! else.
//!
//! # If we die here
//! The account is made anew by the next try, and taken off with the upgrade ([`forget`]).

use crate::domain::datastore::EngineKind;
use crate::domain::generation::private_address;
use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::databases::open_databases;
use crate::engines::postgresql::{
    DUMP_ACCOUNT, REPLICATION_ACCOUNT, config, inspector, layout, own, pg_hba, runtime, settings,
};
use crate::engines::postgresql::{MARKER, PUBLICATION};
use crate::engines::{Error, Server};

/// Where the account's password lies, in the candidate's folder of configuration.
const PASSWORD: &str = "follow.pass";

/// The same of the account that dumps the definitions, for the time of the dump.
const DUMP_PASSWORD: &str = "dump.pass";

/// The condition that holds for the slots of a candidate's: those of its tables' first copies, too. Tenants have none.
pub const SLOTS: &str = "(slot_name ~ '^coffer_follow_' OR slot_name ~ '^pg_[0-9]+_sync_')";

/// Makes the account with a new password, which the candidate's files get.
pub async fn admit(source: &Server, candidate: &Server) -> Result<(), Error> {
    let doing = "make the account that follows";
    let password = format!("{}{}", uuid::Uuid::new_v4().as_simple(), uuid::Uuid::new_v4().as_simple());
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let line = format!("*:*:*:{REPLICATION_ACCOUNT}:{password}\n");
    let written = candidate.runtime.write_config(candidate.generation, PASSWORD, &line).await;
    written.map_err(runtime("write the password that follows"))?;
    // Its server may run since before there were rules for this account.
    let client = Client::connect(source).await?;
    let wanted = pg_hba::wanted(source);
    pg_hba::write(source, wanted).await?;
    pg_hba::settle(source, &client, wanted).await?;
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = '{REPLICATION_ACCOUNT}'");
    let word = if client.is_there(doing, &there).await? { "ALTER" } else { "CREATE" };
    let account = name(REPLICATION_ACCOUNT);
    let sql = format!(
        "{word} ROLE {account} WITH LOGIN REPLICATION INHERIT BYPASSRLS CONNECTION LIMIT -1 PASSWORD {}; \
         GRANT pg_read_all_data TO {account}",
        quoted(&verifier)
    );
    client.run(doing, &sql).await?;
    let databases = open_databases(&client).await?;
    for database in &databases {
        client.run(doing, &format!("GRANT CONNECT ON DATABASE {} TO {account}", name(database))).await?;
    }
    settings::shield(&client, REPLICATION_ACCOUNT, &databases).await
}

/// Makes the account that reads the definitions, with a new password, which the candidate's files get. It has no attribute
/// and is of the tenant's roles alone.
pub async fn admit_dump(source: &Server, candidate: &Server, databases: &[String]) -> Result<(), Error> {
    let password = inspector::make_as(source, DUMP_ACCOUNT, "").await?;
    let line = format!("*:*:*:{DUMP_ACCOUNT}:{password}\n");
    let written = candidate.runtime.write_config(candidate.generation, DUMP_PASSWORD, &line).await;
    written.map_err(runtime("write the password that dumps"))?;
    settings::shield(&Client::connect(source).await?, DUMP_ACCOUNT, databases).await
}

/// Takes the account that reads the definitions off again.
pub async fn dismiss_dump(source: &Server, candidate: &Server) -> Result<(), Error> {
    let emptied = candidate.runtime.write_config(candidate.generation, DUMP_PASSWORD, "").await;
    emptied.map_err(runtime("remove the password that dumps"))?;
    inspector::drop_as(source, DUMP_ACCOUNT).await
}

/// Where the candidate reads the changes of a database of its source's.
pub fn address(source: &Server, candidate: &Server, database: &str) -> Result<String, Error> {
    address_as(source, candidate, database, (REPLICATION_ACCOUNT, PASSWORD))
}

/// Where the candidate reads the definitions of a database of its source's.
pub fn dump_address(source: &Server, candidate: &Server, database: &str) -> Result<String, Error> {
    address_as(source, candidate, database, (DUMP_ACCOUNT, DUMP_PASSWORD))
}

fn address_as(
    source: &Server,
    candidate: &Server,
    database: &str,
    (account, password): (&str, &str),
) -> Result<String, Error> {
    let ours = layout(candidate)?;
    let file = |name: &str| in_address(&ours.config.join(name).to_string_lossy());
    let mut text = format!(
        "host={} port={} user={account} dbname={} passfile={} application_name={account} \
         connect_timeout=5 keepalives_idle=5 keepalives_interval=2 keepalives_count=3",
        private_address(source.generation),
        EngineKind::Postgresql.standard_port(),
        in_address(database),
        file(password),
    );
    // The certificate names the instance's address, not the private one: who signed it is what can be asked for.
    if source.tls.is_some() && candidate.tls.is_some() {
        text.push_str(&format!(" sslmode=verify-ca sslrootcert={}", file(config::AUTHORITY)));
    }
    Ok(text)
}

/// A value in an address.
pub fn in_address(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Takes off a source what following left there: in its databases, its slots, and the account. Happy when there is
/// nothing.
pub async fn forget(source: &Server) -> Result<(), Error> {
    let doing = "take the account that follows off";
    let client = Client::connect(source).await?;
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = '{REPLICATION_ACCOUNT}'");
    let is_there = client.is_there(doing, &there).await?;
    let account = name(REPLICATION_ACCOUNT);
    if is_there {
        // Who is inside goes out and does not come back, or its slots are in use.
        client.run(doing, &format!("ALTER ROLE {account} NOLOGIN")).await?;
        let end = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{REPLICATION_ACCOUNT}'"
        );
        client.rows(doing, &end).await?;
    }
    let slots = format!("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE {SLOTS}");
    client.rows(doing, &slots).await?;
    for database in open_databases(&client).await? {
        let inside = Client::connect_to(source, &database).await?;
        forget_inside(&inside).await?;
        if is_there {
            inside.run(doing, &format!("DROP OWNED BY {account}")).await?;
        }
    }
    if is_there {
        client.run(doing, &format!("DROP OWNED BY {account}; DROP ROLE {account}")).await?;
    }
    Ok(())
}

/// Takes off what following left in one database.
async fn forget_inside(inside: &Client) -> Result<(), Error> {
    let doing = "take off what was published";
    // One of the same name may be a tenant's.
    let there = format!("SELECT 1 FROM pg_publication WHERE pubname = '{PUBLICATION}' AND pubowner = 10");
    if inside.is_there(doing, &there).await? {
        inside.run(doing, &format!("DROP PUBLICATION IF EXISTS {PUBLICATION}")).await?;
    }
    if own::has(inside, doing, MARKER).await? {
        let drop = format!("DROP TABLE {OWN_SCHEMA}.{MARKER}");
        own::using(inside, doing, MARKER, &drop).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word() {
        assert_eq!(in_address("o'd\\d b"), r"'o\'d\\d b'");
    }
}
