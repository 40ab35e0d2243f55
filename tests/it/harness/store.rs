//! The service's own store and the engines' own sockets, looked at directly: tests ask the servers, not only the API.

use std::path::Path;

use coffer::domain::ids::GenerationId;
use coffer::runtimes::process::socket_path;
use coffer::seal::Sealer;
use mysql_async::prelude::Queryable as _;
use secrecy::ExposeSecret as _;

use super::processes;

/// The connection string of the store of a state folder, as its owner.
pub async fn url(state: &Path) -> String {
    super::wait_for("an endpoint serves", std::time::Duration::from_secs(30), async || {
        processes::of(state)
            .iter()
            .find(|p| p.line.contains(" endpoint "))
            .and_then(|p| processes::variable(p.pid, "DATABASE_URL"))
            // The endpoint has a role of its own, which sees next to nothing.
            .map(|url| url.replace("user=coffer_endpoint", "user=coffer"))
    })
    .await
}

/// A connection to the store of a state folder.
pub async fn connect(state: &Path) -> tokio_postgres::Client {
    let url = url(state).await;
    super::wait_for("the store answers", std::time::Duration::from_secs(60), async || {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    })
    .await
}

/// One number.
pub async fn count(store: &tokio_postgres::Client, from: &str) -> i64 {
    store.query_one(&format!("select count(*) from {from}"), &[]).await.unwrap().get(0)
}

/// The instance's generation that holds something on the host: the one that serves, else the newest.
pub async fn generation(store: &tokio_postgres::Client, instance: &str) -> Option<GenerationId> {
    let id: uuid::Uuid = instance.parse().unwrap();
    store
        .query_opt(
            "select id from generations where instance_id = $1 and role <> 'dropped' \
             order by role <> 'serving', created_at desc limit 1",
            &[&id],
        )
        .await
        .unwrap()
        .map(|row| GenerationId(row.get(0)))
}

/// The newest of the instance's generations that shall run.
pub async fn newest_running(store: &tokio_postgres::Client, instance: &str) -> Option<GenerationId> {
    let id: uuid::Uuid = instance.parse().unwrap();
    let sql = "select id from generations where instance_id = $1 and role <> 'dropped' and wanted = 'running' \
               order by created_at desc limit 1";
    store.query_opt(sql, &[&id]).await.unwrap().map(|row| GenerationId(row.get(0)))
}

/// The primary and the standby of a group.
pub async fn members(store: &tokio_postgres::Client, group: &str) -> (String, String) {
    let id: uuid::Uuid = group.parse().unwrap();
    let sql = "select id::text from instances where group_id = $1 order by replica_of is not null";
    let rows = store.query(sql, &[&id]).await.unwrap();
    (rows[0].get(0), rows[1].get(0))
}

/// Which of an instance's generations, while it is upgraded as the same instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that was there before.
    Old,
    /// The one that the upgrade makes.
    New,
}

/// The instance's generation of that side, if it holds something on the host.
pub async fn side(store: &tokio_postgres::Client, instance: &str, side: Side) -> Option<GenerationId> {
    let id: uuid::Uuid = instance.parse().unwrap();
    let sql = "select id from generations where instance_id = $1 and role <> 'dropped' order by created_at";
    let held = store.query(sql, &[&id]).await.unwrap();
    let row = match side {
        Side::Old => held.first(),
        Side::New => held.get(1),
    };
    row.map(|row| GenerationId(row.get(0)))
}

/// A connection to a generation's server by its own socket, as the service's own account.
pub async fn engine(
    state: &Path,
    run: &Path,
    store: &tokio_postgres::Client,
    generation: GenerationId,
) -> mysql_async::Result<mysql_async::Conn> {
    let sealed: String = store
        .query_one("select service_secret from generations where id = $1", &[&generation.0])
        .await
        .unwrap()
        .get(0);
    let password =
        Sealer::open(&state.join("key")).unwrap().unseal(&generation.service_purpose(), &sealed).unwrap();
    let opts = mysql_async::OptsBuilder::default()
        .socket(Some(socket_path(run, generation).to_str().unwrap()))
        .user(Some("coffer"))
        .pass(Some(password.expose_secret()));
    mysql_async::Conn::new(opts).await
}

/// Every account of a server but the system's own.
pub async fn accounts(conn: &mut mysql_async::Conn) -> Vec<String> {
    conn.query("select concat(user, '@', host) from mysql.user where user <> 'mariadb.sys' and user <> 'PUBLIC' order by 1")
        .await
        .unwrap()
}
