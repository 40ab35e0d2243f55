//! Our connection to a server: one question at a time, each with a time-out, each error without secrets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Value};
use secrecy::{ExposeSecret, SecretString};

use crate::engines::mariadb::{ACCOUNT, layout};
use crate::engines::{Error, Server};

/// How long a server may take to take a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long an ordinary question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a server may take to close a connection that ends.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// How many bytes the answer to one question may have: it is held whole, and whoever sends it may be the tenant's.
const BUDGET: usize = 64 * 1024 * 1024;

/// What a value takes besides its bytes.
const VALUE: usize = 32;

/// A row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// A row as bytes; `None` is NULL.
pub type BytesRow = Vec<Option<Vec<u8>>>;

/// A connection of one of our accounts.
pub struct Client {
    conn: Conn,
    user: String,
    address: Option<String>,
    password: SecretString,
    patience: Duration,
}

impl Client {
    /// Connects to the server's socket, as our own account.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] when it does not answer; [`Error::Refused`] when it does not let us in.
    pub async fn connect(server: &Server) -> Result<Self, Error> {
        Self::connect_as(server, ACCOUNT, server.service_password.clone()).await
    }

    /// Connects to the server's socket, as another account.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_as(server: &Server, user: &str, password: SecretString) -> Result<Self, Error> {
        let socket = layout(server)?.socket;
        let opts = OptsBuilder::default()
            .socket(Some(socket.to_string_lossy().into_owned()))
            .user(Some(user))
            .pass(Some(password.expose_secret()))
            .prefer_socket(false)
            .stmt_cache_size(0)
            .max_allowed_packet(Some(64 * 1024 * 1024))
            .wait_timeout(Some(28_800));
        let conn = match tokio::time::timeout(CONNECT_PATIENCE, Conn::new(opts)).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(error)) => return Err(told("connect", error, &password)),
            Err(_) => return Err(Error::NoAnswer("connect: timed out".to_owned())),
        };
        let address = server.tls.as_ref().map(|tls| tls.address.clone());
        let mut client = Self { conn, user: user.to_owned(), address, password, patience: PATIENCE };
        // What we ask is not for the tenant to read in a log.
        let unlogged = if user == ACCOUNT { "sql_log_off=1, " } else { "" };
        // The tenant's global settings must not change what our own statements mean.
        client
            .run(
                "begin a session",
                &format!(
                    "SET SESSION {unlogged}sql_mode='', time_zone='+00:00', lock_wait_timeout=10, autocommit=1, \
                 tx_isolation='REPEATABLE-READ', group_concat_max_len=1048576, div_precision_increment=4, \
                 max_sort_length=1024, auto_increment_increment=1, auto_increment_offset=1, \
                 idle_transaction_timeout=0, idle_readonly_transaction_timeout=0, idle_write_transaction_timeout=0, \
                 net_read_timeout=30, net_write_timeout=60, wait_timeout=28800, interactive_timeout=28800, \
                 sort_buffer_size=2097152, \
                 NAMES utf8mb4 COLLATE utf8mb4_general_ci"
                ),
            )
            .await?;
        Ok(client)
    }

    /// The account that it is of.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The address by which the server is reached from outside, if it has one.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The same connection for questions that may take long.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Has later questions take up to `patience`.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Has nothing of what follows in the binary log.
    pub async fn without_binlog(&mut self) -> Result<(), Error> {
        self.run("leave the binary log out", "SET SESSION sql_log_bin=0").await
    }

    /// Runs a statement whose answer does not matter.
    pub async fn run(&mut self, doing: &'static str, sql: &str) -> Result<(), Error> {
        match tokio::time::timeout(self.patience, self.conn.query_drop(sql)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(told(doing, error, &self.password)),
            Err(_) => Err(Error::NoAnswer(format!("{doing}: timed out"))),
        }
    }

    /// Runs a text that is not ours as one statement, byte for byte, or refuses it: the server prepares it, which it
    /// does with one statement only. As a binary string, it is not converted on its way.
    pub async fn run_one(&mut self, doing: &'static str, text: &[u8]) -> Result<(), Error> {
        self.run(doing, &one(text)).await
    }

    /// All rows of a question.
    pub async fn rows(&mut self, doing: &'static str, sql: &str) -> Result<Vec<Row>, Error> {
        let rows = self.raw(doing, sql).await?;
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
    }

    /// All rows of a question, byte for byte.
    pub async fn bytes(&mut self, doing: &'static str, sql: &str) -> Result<Vec<BytesRow>, Error> {
        let rows = self.raw(doing, sql).await?;
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(bytes).collect()).collect())
    }

    /// The first row of a question.
    pub async fn row(&mut self, doing: &'static str, sql: &str) -> Result<Option<Row>, Error> {
        Ok(self.rows(doing, sql).await?.into_iter().next())
    }

    /// The first value of a question's first row; empty when there is none, or NULL.
    pub async fn value(&mut self, doing: &'static str, sql: &str) -> Result<String, Error> {
        let row = self.row(doing, sql).await?;
        Ok(row.and_then(|row| row.into_iter().next().flatten()).unwrap_or_default())
    }

    /// The first row of a question, by column names.
    pub async fn record(
        &mut self,
        doing: &'static str,
        sql: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Error> {
        let Some(row) = self.raw(doing, sql).await?.into_iter().next() else { return Ok(None) };
        let names: Vec<String> = row.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
        let values = row.unwrap().into_iter().map(|value| text(value).unwrap_or_default());
        Ok(Some(names.into_iter().zip(values).collect()))
    }

    async fn raw(&mut self, doing: &'static str, sql: &str) -> Result<Vec<mysql_async::Row>, Error> {
        match tokio::time::timeout(self.patience, bounded(&mut self.conn, sql, BUDGET)).await {
            Ok(Ok(Some(rows))) => Ok(rows),
            Ok(Ok(None)) => {
                let answer = format!("more than {} MB", BUDGET / (1024 * 1024));
                Err(Error::Unexpected { doing, answer })
            }
            Ok(Err(error)) => Err(told(doing, error, &self.password)),
            Err(_) => Err(Error::NoAnswer(format!("{doing}: timed out"))),
        }
    }

    /// Says goodbye, so that the server does not log an aborted connection. Nobody waits until the server has closed it too, which
    /// may take a second, and clients may be waiting.
    pub async fn close(self) {
        tokio::spawn(tokio::time::timeout(CLOSED_WITHIN, self.conn.disconnect()));
    }
}

/// All rows of a question; `None` when they have more than `budget` bytes.
async fn bounded(
    conn: &mut Conn,
    sql: &str,
    budget: usize,
) -> mysql_async::Result<Option<Vec<mysql_async::Row>>> {
    let mut result = conn.query_iter(sql).await?;
    let (mut rows, mut left) = (Vec::new(), budget);
    while let Some(row) = result.next().await? {
        match left.checked_sub(weight(&row)) {
            Some(rest) => left = rest,
            None => return Ok(None),
        }
        rows.push(row);
    }
    result.drop_result().await?;
    Ok(Some(rows))
}

fn weight(row: &mysql_async::Row) -> usize {
    let bytes = |at| match row.as_ref(at) {
        Some(Value::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    (0..row.len()).map(|at| VALUE + bytes(at)).sum()
}

fn one(text: &[u8]) -> String {
    let mut sql = String::with_capacity(text.len() * 2 + 24);
    sql.push_str("EXECUTE IMMEDIATE x'");
    for byte in text {
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push('\'');
    sql
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).into_bytes()),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    }
}

fn told(doing: &'static str, error: mysql_async::Error, password: &SecretString) -> Error {
    match error {
        mysql_async::Error::Server(error) => {
            Error::Refused { doing, code: error.code, message: scrub(&error.message, password) }
        }
        other => Error::NoAnswer(format!("{doing}: {}", scrub(&other.to_string(), password))),
    }
}

/// Takes out of a text of the server's what must not be told: our password, every verifier, and what follows
/// `IDENTIFIED` or `PASSWORD`, since a refused statement is quoted.
pub fn scrub(text: &str, password: &SecretString) -> String {
    const HIDDEN: &str = "<hidden>";
    let password = password.expose_secret();
    let mut rest = if password.is_empty() { text.to_owned() } else { text.replace(password, HIDDEN) };
    let mut clean = String::with_capacity(rest.len());
    while let Some(at) = rest.find('*') {
        let (before, after) = rest.split_at(at + 1);
        clean.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits >= 16 {
            clean.push_str(HIDDEN);
        } else {
            clean.push_str(after.get(..digits).unwrap_or_default());
        }
        rest = after.get(digits..).unwrap_or_default().to_owned();
    }
    clean.push_str(&rest);
    hide_literals(&clean)
}

/// Hides the quoted text that follows one of the words that introduce a secret.
fn hide_literals(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let lower = rest.to_ascii_uppercase();
        let next = ["IDENTIFIED", "PASSWORD", "USING"]
            .iter()
            .filter_map(|word| lower.find(word).map(|at| at + word.len()))
            .min();
        let Some(after) = next else { break };
        let (before, tail) = rest.split_at(after);
        clean.push_str(before);
        // Only a literal that follows close by: `IDENTIFIED BY '..'`, `PASSWORD = '..'`, `PASSWORD('..')`.
        let near = tail.find('\'').filter(|at| *at <= 24 && !tail[..*at].contains('\n'));
        match near {
            Some(open) => {
                clean.push_str(&tail[..open]);
                clean.push_str("'<hidden>'");
                let inside = &tail[open + 1..];
                rest = inside.find('\'').map_or("", |close| &inside[close + 1..]);
            }
            None => rest = tail,
        }
    }
    clean.push_str(rest);
    clean
}

/// A name as the server reads it.
pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as the server reads it; our sessions have backslash escapes.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The text of an option file by which the engine's client programs reach the server as our account. Newer clients
/// want TLS even on a socket, which older servers do not have without a certificate.
pub fn client_file(server: &Server) -> Result<SecretString, Error> {
    client_file_as(server, ACCOUNT, &server.service_password)
}

/// The same for another account.
pub fn client_file_as(server: &Server, user: &str, password: &SecretString) -> Result<SecretString, Error> {
    let socket = layout(server)?.socket;
    let escaped = |text: &str| text.replace('\\', "\\\\");
    Ok(SecretString::from(format!(
        "[client]\nuser={user}\npassword=\"{}\"\nsocket=\"{}\"\nprotocol=socket\nskip-ssl\n",
        escaped(password.expose_secret()),
        escaped(&socket.to_string_lossy()),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_told() {
        let password = SecretString::from("s3cret");
        for (text, clean) in [
            ("near ''*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19''", "near ''*<hidden>''"),
            ("CREATE USER x IDENTIFIED BY 'abc' y", "CREATE USER x IDENTIFIED BY '<hidden>' y"),
            ("Query: 'SET PASSWORD = PASSWORD('abc')'", "Query: 'SET PASSWORD = PASSWORD('<hidden>')'"),
            ("master_password='abc', x", "master_password='<hidden>', x"),
            ("the word s3cret here", "the word <hidden> here"),
            ("select 2 * 3 from t", "select 2 * 3 from t"),
            ("IDENTIFIED VIA ed25519 USING 'abc", "IDENTIFIED VIA ed25519 USING '<hidden>'"),
        ] {
            assert_eq!(scrub(text, &password), clean);
        }
    }

    #[test]
    fn a_text_that_is_not_ours_goes_as_digits() {
        assert_eq!(one(b"a'\\;\x01"), "EXECUTE IMMEDIATE x'61275c3b01'");
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(name("a`b"), "`a``b`");
        assert_eq!(quoted(r"a'b\"), r"'a''b\\'");
    }
}
