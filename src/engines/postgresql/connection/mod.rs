//! Our connection to a server: one question at a time, each with a time-out, each error without secrets.
//!
//! We are a superuser, and look at a tenant's databases, whose owner may set there what a session begins with: a
//! search path with functions of its own, another role, strings that end elsewhere. So what our statements mean is
//! said when we connect ([`OPTIONS`]), which a database's settings do not override.

pub mod kept;

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::engines::postgresql::connection::kept::Use;
use crate::engines::postgresql::{ACCOUNT, layout, major};
use crate::engines::{Error, Server};
use crate::runtimes::Stream;

/// The database of our own schema; tenants cannot connect to it.
pub const OWN_DATABASE: &str = "postgres";

/// How long a server may take to take a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long an ordinary question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many bytes the answer to one question may have: it is held whole, and whoever sends it may be the tenant's.
const BUDGET: usize = 64 * 1024 * 1024;

/// What a value takes besides its bytes.
const VALUE: usize = 32;

/// What a session of ours begins with, whatever the database says.
const OPTIONS: &str = "-c search_path=pg_catalog -c standard_conforming_strings=on -c statement_timeout=0 \
                       -c lock_timeout=10s -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off \
                       -c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off \
                       -c row_security=off -c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex \
                       -c extra_float_digits=3 -c check_function_bodies=off -c synchronous_commit=on \
                       -c default_tablespace= -c temp_tablespaces= -c local_preload_libraries= -c vacuum_cost_delay=0 \
                       -c quote_all_identifiers=off -c client_min_messages=warning -c array_nulls=on -c transform_null_equals=off \
                       -c work_mem=4MB -c maintenance_work_mem=64MB -c default_table_access_method=heap -c role=none -c application_name=coffer";

/// The same of what only servers from a major version on know.
const LATER_OPTIONS: [(u32, &str); 2] =
    [(14, " -c idle_session_timeout=0"), (17, " -c transaction_timeout=0")];

/// How often statements are tried that meet others in the catalogue, and how long it is waited between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether another session changed the same row of the catalogue meanwhile. The server has no code of its own for it, and
/// its messages are English (`lc_messages`).
fn is_concurrent_change(error: &Error) -> bool {
    matches!(error, Error::State { state, message, .. } if state == "XX000" && message.starts_with("tuple concurrently"))
}

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// A connection of our own account.
pub struct Client {
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
    patience: Duration,
    /// The names under which questions are prepared, by their text.
    prepared: HashMap<String, String>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// Connects to our own database by the server's socket.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] when it does not answer; [`Error::State`] when it does not let us in.
    pub async fn connect(server: &Server) -> Result<Self, Error> {
        Self::connect_to(server, OWN_DATABASE).await
    }

    /// Connects to another of its databases, by a session that is [`kept`] if there is one.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_to(server: &Server, database: &str) -> Result<Self, Error> {
        match kept::take(server, database, Use::Anything) {
            Some(client) => Ok(client),
            None => Self::connect_anew(server, database).await,
        }
    }

    /// The same by a session of its own.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_anew(server: &Server, database: &str) -> Result<Self, Error> {
        let doing = "connect";
        let layout = layout(server)?;
        let opening = async {
            let stream = server
                .runtime
                .connect(server.generation, &layout)
                .await
                .map_err(|error| Error::NoAnswer(format!("{doing}: {error}")))?;
            let mut config = Config::new();
            config.user(ACCOUNT).dbname(database);
            Self::by(doing, server, config, stream).await
        };
        let client = match tokio::time::timeout(CONNECT_PATIENCE, opening).await {
            Ok(opened) => opened?,
            Err(_) => return Err(Error::NoAnswer(format!("{doing}: timed out"))),
        };
        // What a database says of the role is not overridden by an option.
        client.run("begin a session", "SET ROLE NONE").await?;
        Ok(client)
    }

    /// A session over a stream, as whom `config` says.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn by(
        doing: &'static str,
        server: &Server,
        mut config: Config,
        stream: Box<dyn Stream>,
    ) -> Result<Self, Error> {
        config.options(options(&server.version));
        let (client, connection) =
            config.connect_raw(stream, NoTls).await.map_err(|error| told(doing, &error))?;
        // Its error is the error of the question that it breaks.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, driver, patience: PATIENCE, prepared: HashMap::new() })
    }

    /// Whether the session has not ended.
    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Has the server plan a question now, that is asked later in the same words by [`Client::rows`].
    ///
    /// # Errors
    /// The server's.
    pub async fn prepare(&mut self, sql: &str) -> Result<(), Error> {
        if !self.prepared.contains_key(sql) {
            let name = format!("coffer_{}", self.prepared.len());
            self.run("prepare a question", &format!("PREPARE {name} AS {sql}")).await?;
            self.prepared.insert(sql.to_owned(), name);
        }
        Ok(())
    }

    /// The same connection for questions that may take long.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Has the server quote every name that it prints from now on, so that what it prints can be compared with another's:
    /// which words are keywords differs from one version to the next. Not for what is carried: a setting that is made
    /// with names in it is kept as it is printed.
    pub async fn quote_names(&self) -> Result<(), Error> {
        self.run("have names quoted", "SET quote_all_identifiers = on").await
    }

    /// Runs statements whose answers do not matter; several are one transaction.
    pub async fn run(&self, doing: &'static str, sql: &str) -> Result<(), Error> {
        match tokio::time::timeout(self.patience, self.client.batch_execute(sql)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(told(doing, &error)),
            Err(_) => Err(Error::NoAnswer(format!("{doing}: timed out"))),
        }
    }

    /// Runs statements that are one transaction, and retries them where another session changed the same row of the
    /// catalogue meanwhile: a GRANT, or the end of a role, takes no lock that would keep the other one waiting.
    ///
    /// # Errors
    /// The server's; after [`TRIES`] also that.
    pub async fn run_and_retry(&self, doing: &'static str, sql: &str) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(error) = self.run(doing, sql).await else { return Ok(()) };
            self.run(doing, "ROLLBACK").await?;
            if tries == TRIES || !is_concurrent_change(&error) {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs a statement with values that are no part of its text.
    pub async fn run_with(
        &self,
        doing: &'static str,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<(), Error> {
        match tokio::time::timeout(self.patience, self.client.execute(sql, values)).await {
            Ok(Ok(_rows)) => Ok(()),
            Ok(Err(error)) => Err(told(doing, &error)),
            Err(_) => Err(Error::NoAnswer(format!("{doing}: timed out"))),
        }
    }

    /// All rows of a question.
    pub async fn rows(&self, doing: &'static str, sql: &str) -> Result<Vec<Row>, Error> {
        let prepared = self.prepared.get(sql).map(|name| format!("EXECUTE {name}"));
        let sql = prepared.as_deref().unwrap_or(sql);
        match tokio::time::timeout(self.patience, bounded(&self.client, sql, BUDGET)).await {
            Ok(Ok(Some(rows))) => Ok(rows),
            Ok(Ok(None)) => {
                let answer = format!("more than {} MB", BUDGET / (1024 * 1024));
                Err(Error::Unexpected { doing, answer })
            }
            Ok(Err(error)) => Err(told(doing, &error)),
            Err(_) => Err(Error::NoAnswer(format!("{doing}: timed out"))),
        }
    }

    /// The first column of all rows; NULL is left out.
    pub async fn column(&self, doing: &'static str, sql: &str) -> Result<Vec<String>, Error> {
        let rows = self.rows(doing, sql).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// The first value of a question's first row; `None` when there is none, or NULL.
    pub async fn value(&self, doing: &'static str, sql: &str) -> Result<Option<String>, Error> {
        let first = self.rows(doing, sql).await?.into_iter().next();
        Ok(first.and_then(|row| row.into_iter().next().flatten()))
    }

    /// Whether a question has a row.
    pub async fn is_there(&self, doing: &'static str, sql: &str) -> Result<bool, Error> {
        Ok(!self.rows(doing, sql).await?.is_empty())
    }
}

/// What a session of ours begins with at a server of that version; later versions know all of it.
pub fn options(version: &str) -> String {
    let later = LATER_OPTIONS.iter().filter(|(from, _)| major(version) >= *from).map(|(_, option)| *option);
    std::iter::once(OPTIONS).chain(later).collect()
}

/// All rows of a question; `None` when they have more than `budget` bytes.
async fn bounded(
    client: &tokio_postgres::Client,
    sql: &str,
    budget: usize,
) -> Result<Option<Vec<Row>>, tokio_postgres::Error> {
    let messages = client.simple_query_raw(sql).await?;
    let mut messages = std::pin::pin!(messages);
    let (mut rows, mut left) = (Vec::new(), budget);
    while let Some(message) = messages.try_next().await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let row: Row = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
        let weight: usize = row.iter().map(|value| VALUE + value.as_ref().map_or(0, String::len)).sum();
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => {
                // What is not read is thrown away with the connection's next question.
                while messages.next().await.is_some_and(|message| message.is_ok()) {}
                return Ok(None);
            }
        }
        rows.push(row);
    }
    Ok(Some(rows))
}

/// What an error of the driver's is to us. Of what the server said only its state and its first line: a detail may hold
/// a row.
fn told(doing: &'static str, error: &tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(said) => Error::State {
            doing,
            state: said.code().code().to_owned(),
            message: hide_verifiers(said.message()),
        },
        None => {
            let mut text = format!("{doing}: {error}");
            if let Some(cause) = std::error::Error::source(error) {
                text.push_str(&format!(": {cause}"));
            }
            Error::NoAnswer(hide_verifiers(&text))
        }
    }
}

/// How a verifier begins.
const VERIFIER: &str = "SCRAM-SHA-256$";

/// Takes every verifier out of a text of the server's or of one of its programs'.
pub fn hide_verifiers(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(VERIFIER) {
        let (before, from) = rest.split_at(at);
        clean.push_str(before);
        clean.push_str("<hidden>");
        let is_part = |c: char| c.is_ascii_alphanumeric() || "$:+/=-".contains(c);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        rest = from.get(end..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

/// Takes out of a text of a program's what must not be told.
pub fn scrub(text: &str, password: &SecretString) -> String {
    use secrecy::ExposeSecret as _;
    let password = password.expose_secret();
    let clean = hide_verifiers(text);
    if password.is_empty() { clean } else { clean.replace(password, "<hidden>") }
}

/// A name as the server reads it.
pub fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as the server reads it in a session of ours.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verifier_is_told() {
        let text = "ERROR: near 'SCRAM-SHA-256$4096:c2Fs+dA==$YWJj:ZGVm/g==' in it";
        assert_eq!(hide_verifiers(text), "ERROR: near '<hidden>' in it");
        assert_eq!(scrub("the word s3cret", &SecretString::from("s3cret")), "the word <hidden>");
    }

    #[test]
    fn an_older_server_is_not_asked_for_what_it_does_not_know() {
        assert!(
            options("17.1").contains("transaction_timeout")
                && !options("15.1").contains("transaction_timeout")
        );
        assert!(options("15.1").contains("idle_session_timeout"));
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(name("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted(r"a'b\"), r"'a''b\'");
    }
}
