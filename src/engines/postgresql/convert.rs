//! What is left to do in a server whose data came from another version, before clients come back.
//!
//! Statistics do not come along before 18, and without them the first queries of a large database are planned blindly: a
//! quick first look at every table is taken now, a thorough one in the background once we are done. A worker that dies
//! leaves that to the server, which looks at a table again when enough of it has changed.
//!
//! Looking at a table and building an index run what their owner wrote, so they are done in a session without power, of
//! an account that is of the owners' roles ([`inspector`]). What fails there is the tenant's own function, which fails for the
//! tenant, too: it is told in our log, and nothing is undone for it. Our own account runs here what evaluates nothing.
//!
//! # If we die here
//! Run again: what is done already is not due. The account of the session without power stays, with a password that nobody
//! knows, until the next conversion or comparison, which takes it off first.

use std::time::Duration;

use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::databases::TENANT_DATABASE;
use crate::engines::postgresql::{COPY_ACCOUNT, REPLICATION_ACCOUNT, inspector, major};
use crate::engines::{Error, Server};

/// How long one statement may take: an index is built anew, or a table looked at.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How often it is tried to take the account off, and how long it is waited between.
const TAKE_OFF_TRIES: u32 = 30;
const TAKE_OFF_PAUSE: Duration = Duration::from_secs(2);

/// The number of the first object that is not the server's own.
const FIRST_OF_A_TENANT: u32 = 16_384;

/// The number of our own account.
const OURS: u32 = 10;

/// Sessions without power in a server's databases.
struct Powerless<'a> {
    server: &'a Server,
    password: String,
}

impl<'a> Powerless<'a> {
    async fn made(server: &'a Server) -> Result<Self, Error> {
        Ok(Self { server, password: inspector::make(server).await? })
    }

    async fn connect(&self, database: &str) -> Result<Client, Error> {
        Ok(inspector::connect(self.server, &self.password, database).await?.patient(PATIENCE))
    }
}

/// Whether a statement was done. One that the server refuses is the tenant's matter, and is told in our log.
async fn done(session: &Client, server: &Server, doing: &'static str, sql: &str) -> Result<bool, Error> {
    match session.run(doing, sql).await {
        Ok(()) => Ok(true),
        Err(error @ Error::State { .. }) => {
            tracing::info!(generation.id = %server.generation, error = %error, "left as it is");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Updates extensions, builds indexes anew whose order has changed, and looks at tables; says whether something was due.
pub async fn convert(server: &Server) -> Result<bool, Error> {
    let client = Client::connect(server).await?;
    let due = forget_accounts(&client).await?;
    let sql = format!("SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND datallowconn ORDER BY 1");
    let databases = client.column("list the databases", &sql).await?;
    let powerless = Powerless::made(server).await?;
    let converted = each(server, &powerless, &databases).await;
    let blind = match converted {
        Ok((_, ref blind)) => blind.clone(),
        Err(_) => Vec::new(),
    };
    if blind.is_empty() {
        inspector::drop(server).await?;
    } else {
        let (server, password) = (server.clone(), powerless.password);
        let ours = inspector::number(&server).await?;
        tokio::spawn(async move {
            if let Err(error) = look_well(&server, password, &blind).await {
                tracing::info!(generation.id = %server.generation, error = %error, "statistics are left to the server");
            }
            take_off(&server, ours.as_deref()).await;
        });
    }
    converted.map(|(was_due, _)| due || was_due)
}

/// Does in each database what is due; says whether something was, and which databases have no statistics yet.
async fn each(
    server: &Server,
    powerless: &Powerless<'_>,
    databases: &[String],
) -> Result<(bool, Vec<String>), Error> {
    let (mut due, mut blind) = (false, Vec::new());
    for database in databases {
        let inside = Client::connect_to(server, database).await?.patient(PATIENCE);
        due |= extensions(server, &inside, powerless, database).await?;
        due |= collations(server, &inside, powerless, database).await?;
        if looks_blind(&inside).await? {
            look(server, &inside, powerless, database, true).await?;
            blind.push(database.clone());
        }
    }
    Ok((due || !blind.is_empty(), blind))
}

/// Looks at every table of a tenant's: quickly for the first time, or thoroughly.
async fn look(
    server: &Server,
    inside: &Client,
    powerless: &Powerless<'_>,
    database: &str,
    quickly: bool,
) -> Result<(), Error> {
    let doing = "look at a table";
    let kinds = if quickly { "'r', 'm'" } else { "'r', 'm', 'p'" };
    let sql = format!(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ({kinds}) \
         AND c.oid >= {FIRST_OF_A_TENANT} AND c.relowner <> {OURS} AND c.relpersistence <> 't' ORDER BY c.oid"
    );
    let session = powerless.connect(database).await?;
    if quickly {
        session.run(doing, "SET default_statistics_target = 1").await?;
    }
    for row in inside.rows("list the tables", &sql).await? {
        let mut row = row.into_iter().flatten();
        let (Some(schema), Some(table)) = (row.next(), row.next()) else { continue };
        let sql = format!("ANALYZE {}.{}", name(&schema), name(&table));
        done(&session, server, doing, &sql).await?;
    }
    Ok(())
}

async fn look_well(server: &Server, password: String, databases: &[String]) -> Result<(), Error> {
    let powerless = Powerless { server, password };
    for database in databases {
        let inside = Client::connect_to(server, database).await?;
        look(server, &inside, &powerless, database, false).await?;
    }
    Ok(())
}

/// Drops the look's account, and retries while the server restarts. An account that another look has made since stays.
async fn take_off(server: &Server, ours: Option<&str>) {
    for attempt in 1..=TAKE_OFF_TRIES {
        match inspector::drop_numbered(server, ours).await {
            Ok(()) => return,
            Err(error) if attempt == TAKE_OFF_TRIES => {
                tracing::warn!(generation.id = %server.generation, error = %error, "an account of ours is left");
            }
            Err(error) => {
                tracing::debug!(generation.id = %server.generation, error = %error, "an account of ours is still there");
                tokio::time::sleep(TAKE_OFF_PAUSE).await;
            }
        }
    }
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

/// Updates what extensions the server has newer. One that a tenant made is updated as a tenant would: its script runs with
/// the rights that the server gives it.
async fn extensions(
    server: &Server,
    inside: &Client,
    powerless: &Powerless<'_>,
    database: &str,
) -> Result<bool, Error> {
    let doing = "update an extension";
    let sql = format!(
        "SELECT a.name, e.extowner = {OURS} FROM pg_available_extensions a JOIN pg_extension e ON e.extname = a.name \
         WHERE a.default_version <> a.installed_version ORDER BY 1"
    );
    let due = inside.rows("look for newer extensions", &sql).await?;
    for row in &due {
        let mut row = row.iter().flatten();
        let (Some(extension), Some(is_ours)) = (row.next(), row.next()) else { continue };
        let sql = format!("ALTER EXTENSION {} UPDATE", name(extension));
        if is_ours == "t" {
            inside.run(doing, &sql).await?;
        } else {
            done(&powerless.connect(database).await?, server, doing, &sql).await?;
        }
    }
    Ok(!due.is_empty())
}

/// Builds the indexes anew whose texts another library sorts otherwise, and notes by which they are sorted now.
async fn collations(
    server: &Server,
    inside: &Client,
    powerless: &Powerless<'_>,
    database: &str,
) -> Result<bool, Error> {
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
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'i' AND c.relowner <> {OURS} \
         AND i.indcollation::oid[] && ARRAY[{}]::oid[] ORDER BY 1, 2",
        of.join(", ")
    );
    let session = powerless.connect(database).await?;
    let mut all = true;
    for row in inside.rows("look for indexes that are sorted otherwise", &touched).await? {
        let mut row = row.into_iter().flatten();
        let (Some(schema), Some(index)) = (row.next(), row.next()) else { continue };
        let sql = format!("REINDEX INDEX {}.{}", name(&schema), name(&index));
        all &= done(&session, server, "build an index anew", &sql).await?;
    }
    if !all {
        // The server goes on to warn of it.
        return Ok(true);
    }
    for row in &changed {
        let mut row = row.iter().flatten().skip(1);
        let (Some(schema), Some(collation)) = (row.next(), row.next()) else { continue };
        let sql = format!("ALTER COLLATION {}.{} REFRESH VERSION", name(schema), name(collation));
        // Nobody but us makes anything in the server's own schema.
        let by = if schema == "pg_catalog" { inside } else { &session };
        done(by, server, "note a collation's version", &sql).await?;
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
