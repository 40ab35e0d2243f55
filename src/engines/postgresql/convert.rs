//! What is left to do in a server whose data came from another version, before clients come back.
//!
//! Statistics do not come along before 18, and without them the first queries of a large database are planned blindly: a
//! quick first look at every table is taken now, a thorough one in the background once we are done. A worker that dies
//! leaves that to the server, which looks at a table again when enough of it has changed.
//!
//! # If we die here
//! Run again: what is done already is not due.

use std::time::Duration;

use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::content::TENANT_DATABASE;
use crate::engines::postgresql::{COPY_ACCOUNT, REPLICATION_ACCOUNT, major};
use crate::engines::{Error, Server};

/// How long one statement may take: an index is built anew, or a table looked at.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// The number of the first object that is not the server's own.
const FIRST_OF_A_TENANT: u32 = 16_384;

/// Updates extensions, builds indexes anew whose order has changed, and looks at tables; says whether something was due.
pub async fn convert(server: &Server) -> Result<bool, Error> {
    let client = Client::connect(server).await?;
    let mut due = forget_accounts(&client).await?;
    let sql = format!("SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND datallowconn ORDER BY 1");
    let mut blind = Vec::new();
    for database in client.column("list the databases", &sql).await? {
        let inside = Client::connect_to(server, &database).await?.patient(PATIENCE);
        due |= extensions(&inside).await?;
        due |= collations(server, &inside, &database).await?;
        if looks_blind(&inside).await? {
            inside.run("look at the tables for the first time", "SET default_statistics_target = 1").await?;
            inside.run("look at the tables for the first time", "ANALYZE").await?;
            blind.push(database);
        }
    }
    if !blind.is_empty() {
        due = true;
        let server = server.clone();
        tokio::spawn(async move {
            for database in blind {
                if let Err(error) = look_well(&server, &database).await {
                    tracing::info!(generation.id = %server.generation, error = %error, "statistics are left to the server");
                }
            }
        });
    }
    Ok(due)
}

async fn look_well(server: &Server, database: &str) -> Result<(), Error> {
    let inside = Client::connect_to(server, database).await?.patient(PATIENCE);
    inside.run("look at the tables", "ANALYZE").await
}

/// Takes off the accounts by which the data was copied, or followed its source: they came along with it.
async fn forget_accounts(client: &Client) -> Result<bool, Error> {
    let doing = "take the copy's account off";
    let mut due = false;
    for account in [COPY_ACCOUNT, REPLICATION_ACCOUNT] {
        let there = format!("SELECT 1 FROM pg_roles WHERE rolname = '{account}' AND rolreplication");
        if client.is_there(doing, &there).await? {
            client.run(doing, &format!("DROP ROLE {}", name(account))).await?;
            due = true;
        }
    }
    Ok(due)
}

/// Updates what extensions the server has newer.
async fn extensions(inside: &Client) -> Result<bool, Error> {
    let sql = "SELECT name FROM pg_available_extensions WHERE installed_version IS NOT NULL \
               AND default_version <> installed_version ORDER BY 1";
    let due = inside.column("look for newer extensions", sql).await?;
    for extension in &due {
        inside.run("update an extension", &format!("ALTER EXTENSION {} UPDATE", name(extension))).await?;
    }
    Ok(!due.is_empty())
}

/// Builds the indexes anew whose texts another library sorts otherwise, and notes by which they are sorted now.
async fn collations(server: &Server, inside: &Client, database: &str) -> Result<bool, Error> {
    let doing = "look for collations that have changed";
    let changed = "SELECT c.oid, n.nspname, c.collname FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace \
                   WHERE c.collversion IS NOT NULL AND c.collversion <> pg_collation_actual_version(c.oid)";
    let changed = inside.rows(doing, changed).await?;
    // Before 15, a database does not say by which version it is sorted.
    let own = major(&server.version) >= 15
        && inside
            .is_there(
                doing,
                "SELECT 1 FROM pg_database WHERE datname = current_database() AND datcollversion IS NOT NULL \
                 AND datcollversion <> pg_database_collation_actual_version(oid)",
            )
            .await?;
    if changed.is_empty() && !own {
        return Ok(false);
    }
    let mut of: Vec<String> = changed.iter().filter_map(|row| row.first().cloned().flatten()).collect();
    if own {
        of.push("100".to_owned());
    }
    let touched = format!(
        "SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'i' \
         AND i.indcollation::oid[] && ARRAY[{}]::oid[] ORDER BY 1, 2",
        of.join(", ")
    );
    for row in inside.rows("look for indexes that are sorted otherwise", &touched).await? {
        let mut row = row.into_iter().flatten();
        let (Some(schema), Some(index)) = (row.next(), row.next()) else { continue };
        let sql = format!("REINDEX INDEX {}.{}", name(&schema), name(&index));
        inside.run("build an index anew", &sql).await?;
    }
    for row in &changed {
        let mut row = row.iter().flatten().skip(1);
        let (Some(schema), Some(collation)) = (row.next(), row.next()) else { continue };
        let sql = format!("ALTER COLLATION {}.{} REFRESH VERSION", name(schema), name(collation));
        inside.run("note a collation's version", &sql).await?;
    }
    if own {
        let sql = format!("ALTER DATABASE {} REFRESH COLLATION VERSION", name(database));
        inside.run("note the database's collation version", &sql).await?;
    }
    Ok(true)
}

/// Whether there are tables with rows, and no statistics of any.
async fn looks_blind(inside: &Client) -> Result<bool, Error> {
    let sql = format!(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') \
         AND c.oid >= {FIRST_OF_A_TENANT} AND pg_relation_size(c.oid) > 0 AND n.nspname NOT IN ({}) \
         AND NOT EXISTS (SELECT 1 FROM pg_statistic s WHERE s.starelid >= {FIRST_OF_A_TENANT}) LIMIT 1",
        quoted("information_schema")
    );
    inside.is_there("look for statistics", &sql).await
}
