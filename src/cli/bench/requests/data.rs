//! The data set: simulated instances as an upgrade would find them, written by SQL.

use anyhow::{Context as _, ensure};
use diesel::RunQueryDsl as _;
use tokio_postgres::NoTls;

use crate::cli::bench::requests::report::Kind;
use crate::db::{self, Db, catalogue, hosts};
use crate::domain::ids::HostId;
use crate::embedded_postgres::EmbeddedPostgres;
use crate::simulated;

/// Instances of the project with many.
pub const BIG: u32 = 100_000;
/// Instances of the project with few.
pub const SMALL: u32 = 1_000;
/// The host on which everything is.
pub const HOST: &str = "bench";
/// What instances have, and what they are upgraded to: datastore and version.
pub const FROM: (&str, &str) = ("mysql", "5.6");
/// What they are upgraded to.
pub const TO: (&str, &str) = ("mysql", "5.7");

/// The ids of the data set: a prefix that tells the part, and a number from 1 on.
pub const SHOWN: &str = "00000000-0000-4000-8000-";
/// Of the project with few.
pub const FEW: &str = "00000000-0000-4000-8001-";
/// Of the instances that are upgraded.
pub const SOURCES: &str = "00000000-0000-4000-8002-";

/// Whose the instances are.
pub struct Projects {
    /// Has many, which stay as they are.
    pub big: String,
    /// Has few.
    pub small: String,
    /// Where instances are created and upgraded.
    pub changing: String,
}

/// The data set, written.
pub struct Data {
    client: tokio_postgres::Client,
}

impl Data {
    /// Writes it.
    ///
    /// # Errors
    /// The store's.
    pub async fn write(
        db: &Db,
        store: &EmbeddedPostgres,
        projects: &Projects,
        sources: u32,
    ) -> anyhow::Result<Self> {
        let registered: Result<(), db::Error> = db
            .transact(|conn| {
                let host = HostId(HOST.to_owned());
                hosts::record(conn, &host, "10.0.0.0/8")?;
                hosts::record_versions(conn, &host, &simulated::offers())?;
                catalogue::register_host_versions(conn, &host)?;
                catalogue::register_edges(conn, simulated::EDGES)?;
                // No worker runs that would say so.
                diesel::sql_query("update hosts set seen_at = now() + interval '1 day'")
                    .execute(conn)
                    .map(|_| ())
                    .map_err(db::Error::query("keep the host"))
            })
            .await;
        registered.context("register the host")?;
        let (client, connection) =
            tokio_postgres::connect(&store.url(), NoTls).await.context("connect to the store")?;
        tokio::spawn(connection);
        let data = Self { client };
        for (prefix, project, count, first) in [
            (SHOWN, &projects.big, BIG, 0),
            (FEW, &projects.small, SMALL, BIG),
            (SOURCES, &projects.changing, sources, BIG + SMALL),
        ] {
            data.instances(prefix, project, count, first).await.context("write instances")?;
        }
        data.client
            .batch_execute("select setval('addresses', 4000000)")
            .await
            .context("begin beyond the addresses that are taken")?;
        data.client.batch_execute("vacuum analyze").await.context("analyze")?;
        Ok(data)
    }

    async fn instances(
        &self,
        prefix: &str,
        project: &str,
        count: u32,
        first: u32,
    ) -> Result<(), tokio_postgres::Error> {
        let (datastore, version) = FROM;
        let id = format!("('{prefix}' || lpad(to_hex(n), 12, '0'))::uuid");
        // A server's id differs from its instance's in its last group's first digit.
        let server = format!("('{prefix}' || 'f' || lpad(to_hex(n), 11, '0'))::uuid");
        let version = format!(
            "(select v.id from datastore_versions v join datastores d on d.id = v.datastore_id \
             where d.name = '{datastore}' and v.name = '{version}')"
        );
        self.client
            .batch_execute(&format!(
                "begin; \
                 insert into instances (id, project_id, name, state, flavor_id, volume_gb, wanted_version_id, \
                 running_version_id, running_version_number, serving_generation_id, host_id) \
                 select {id}, '{project}', 'bench ' || n, 'active', '2', 5, v, v, '5.6.51', {server}, '{HOST}' \
                 from generate_series(1, {count}) n, {version} t(v); \
                 insert into generations (id, instance_id, host_id, role, version_id, service_secret, read_only, \
                 events, wanted, answered_at) \
                 select {server}, {id}, '{HOST}', 'serving', v, 'sealed', false, true, 'running', now() \
                 from generate_series(1, {count}) n, {version} t(v); \
                 insert into endpoints (instance_id, host_id, address, port, generation_id, connections, listens) \
                 select {id}, '{HOST}', host('10.0.0.0'::inet + {first} + n), 3306, {server}, 50, false \
                 from generate_series(1, {count}) n; commit"
            ))
            .await
    }

    /// How many tasks there are.
    ///
    /// # Errors
    /// The store's.
    pub async fn tasks(&self) -> anyhow::Result<i64> {
        let row = self.client.query_one("select count(*) from tasks", &[]).await.context("count tasks")?;
        Ok(row.get(0))
    }

    /// Holds that a run which said that so many were accepted has accepted as many.
    ///
    /// # Errors
    /// It has not.
    pub async fn accepted(&self, kind: Kind, before: i64, said: u64) -> anyhow::Result<()> {
        if !kind.accepts() {
            return Ok(());
        }
        let found = self.tasks().await? - before;
        // A request under way when the time ends is done and not counted.
        let said = i64::try_from(said)?;
        ensure!(
            (said..=said + 1_000).contains(&found),
            "{said} were said to be accepted, {found} were: are there enough --sources?"
        );
        Ok(())
    }
}
