//! Real PostgreSQL servers for the engine tests, in the house of the others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use coffer::domain::generation::private_address;
use coffer::domain::tenant::{NewDatabase, NewUser, Verifier};
use coffer::engines::postgresql::Postgresql;
use coffer::engines::{Engine, Server};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::engine_servers::House;
use crate::harness::skip;

pub const ENGINE: Postgresql = Postgresql;

/// The versions that every machine has.
pub const VERSIONS: [&str; 3] = ["15.0", "17.0", "18.0"];

/// Whether a version is there that set-up does not fetch, since not every mirror has it any more: where somebody has put
/// it beside the others and named it in `COFFER_TEST_OPTIONAL`. Says so when it is not.
pub fn is_there(major: &str, test: &str) -> bool {
    let there = crate::harness::roles::engines().join(format!("postgresql-{major}/DONE")).exists();
    if !there {
        skip(&format!("{test}: PostgreSQL {major} is not in the engines folder"));
    }
    there
}

pub async fn started(house: &House, version: &str) -> Server {
    let server = house.server(version, false);
    ENGINE.create_data(&server).await.unwrap();
    ENGINE.start(&server).await.unwrap();
    server
}

pub fn user(name: &str, password: &str, databases: &[&str]) -> NewUser {
    NewUser {
        name: name.to_owned(),
        host: "%".to_owned(),
        verifier: Verifier::scram(postgres_protocol::password::scram_sha_256(password.as_bytes())).unwrap(),
        databases: databases.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub fn database(name: &str) -> NewDatabase {
    NewDatabase { name: name.to_owned(), character_set: None, collate: None }
}

/// A connection as a client has it, past the endpoint.
pub async fn tenant(
    server: &Server,
    user: &str,
    password: &str,
    database: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host(private_address(server.generation).to_string())
        .port(5432)
        .user(user)
        .password(password)
        .dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A connection of our own account's, by the socket.
pub async fn own(server: &Server, database: &str) -> Client {
    own_with(server, database, "").await
}

/// The same, with options for the session that go before what the database sets.
pub async fn own_with(server: &Server, database: &str, options: &str) -> Client {
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let stream = server.runtime.connect(server.generation, &layout).await.unwrap();
    let mut config = Config::new();
    config.user("coffer").dbname(database).options(options);
    let (client, connection) = config.connect_raw(stream, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// All rows of a question, each as its values with `|` between.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = Vec::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("")).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// The state by which the server refuses a statement.
pub async fn refused(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => panic!("{sql}: was not refused"),
        Err(error) => state(&error),
    }
}

pub fn state(error: &tokio_postgres::Error) -> String {
    error.code().unwrap_or_else(|| panic!("{error:?}")).code().to_owned()
}

pub fn log(house: &House, server: &Server) -> String {
    std::fs::read_to_string(house.state(server).join("log/server.log")).unwrap()
}
