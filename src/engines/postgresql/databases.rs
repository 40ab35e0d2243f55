//! Which databases and roles of a server are the tenant's, and work that is done in each database.

use futures::StreamExt as _;
use futures::{TryStreamExt as _, stream};

use crate::engines::Error;
use crate::engines::postgresql::ACCOUNT;
use crate::engines::postgresql::connection::Client;

/// The condition that holds for the tenant's own databases. A database's owner may have made it a template, or closed
/// it to everybody: it is the tenant's all the same.
pub const TENANT_DATABASE: &str = "datname NOT IN ('postgres', 'template0', 'template1')";

/// The condition that holds for the tenant's own roles.
pub fn tenant_role(column: &str) -> String {
    format!("{column} !~ '^pg_' AND {column} !~ '^{ACCOUNT}($|_)'")
}

/// The tenant's databases that take connections, by name.
pub async fn open_databases(client: &Client) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND datallowconn AND datconnlimit <> -2 ORDER BY 1"
    );
    client.column("list the databases", &sql).await
}

/// How many databases are looked at, or changed, at one time: a server has few connections.
const AT_ONCE: usize = 4;

/// Does `work` in each database, in some at one time, and gives what it gives in the order of the databases.
pub async fn in_each<'a, T, F>(databases: &'a [String], work: impl Fn(&'a str) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let each: Vec<F> = databases.iter().map(|database| work(database)).collect();
    stream::iter(each).buffered(AT_ONCE).try_collect().await
}
