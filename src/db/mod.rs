//! What is remembered: the only SQL.
//!
//! Queries take a connection, not the pool, so that they compose in the caller's transaction. [`Db::transact`] is
//! the only way to open one. A lost race is an outcome, not an error to hide: a guarded `where`, then the count.

pub mod acceptances;
pub mod access_keys;
pub mod accounts;
pub mod audit;
pub mod catalogue;
pub mod catalogue_cache;
pub mod census;
pub mod configurations;
pub mod endpoints;
pub mod events;
pub mod generations;
pub mod groups;
pub mod hosts;
pub mod idempotency;
pub mod inspections;
pub mod instances;
pub mod logs;
pub mod looks;
pub mod maintenance;
pub mod notices;
pub mod operations;
pub mod parameters;
pub mod paths;
pub mod pki;
pub mod policies;
mod pool;
pub mod questions;
pub mod quotas;
pub mod rollings;
pub mod routes;
pub mod schema;
pub mod simulated;
pub mod simulations;
mod statement;
pub mod task_numbers;
pub mod task_steps;
pub mod tasks;
mod threads;
pub mod upgrades;
pub mod windows;

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::migration::MigrationSource;
use diesel::pg::PgConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{Connection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::db::pool::Connections;
use crate::domain::datastore::UnknownWord;

/// A connection to our own Postgres.
pub type Conn = PgConnection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// How often a transaction that lost against another is tried again.
const TRIES: usize = 5;

/// What the store did not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement failed.
    #[error("{doing}")]
    Query {
        /// What we were doing.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: DieselError,
    },
    /// A transaction could not begin or commit.
    #[error("transaction")]
    Transaction(#[source] DieselError),
    /// No connection was to be had.
    #[error("no connection to the store")]
    NoConnection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too many wait for a connection already.
    #[error("the store is saturated")]
    Saturated,
    /// A row holds a word that this version does not know.
    #[error("row")]
    Row(#[source] UnknownWord),
    /// A row does not hold together.
    #[error("row: {0}")]
    Broken(String),
    /// The row was changed by another since it was read.
    #[error("{0} was changed by another")]
    Stale(&'static str),
    /// The lease is another's now: stop, touch nothing.
    #[error("the lease of the task is lost")]
    LeaseLost,
    /// The migrations failed.
    #[error("migrations")]
    Migrations(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The schema is not this program's.
    #[error("the schema of the store is {0}")]
    Schema(&'static str),
    /// The runtime is stopping.
    #[error("stopping")]
    Stopping,
}

impl Error {
    /// Wraps a driver's error with what we were doing.
    pub fn query(doing: &'static str) -> impl FnOnce(DieselError) -> Self {
        move |source| Self::Query { doing, source }
    }

    /// Whether the same transaction may succeed when tried again at once.
    fn is_lost_race(&self) -> bool {
        match self {
            Self::Query { source, .. } | Self::Transaction(source) => lost_race(source),
            Self::Stale(_) => true,
            Self::NoConnection(_)
            | Self::Saturated
            | Self::Row(_)
            | Self::Broken(_)
            | Self::LeaseLost
            | Self::Migrations(_)
            | Self::Schema(_)
            | Self::Stopping => false,
        }
    }

    /// Whether a constraint of this name refused the write.
    pub fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Query { source: DieselError::DatabaseError(_, info), .. }
            if info.constraint_name() == Some(constraint))
    }

    /// Whether a transaction that ended so may have been committed all the same: the store went away after it began.
    pub fn may_have_committed(&self) -> bool {
        matches!(self, Self::Query { .. } | Self::Transaction(_)) && self.is_away()
    }

    /// Whether the same write would be refused again, whatever becomes of the store: it broke a rule of the schema or
    /// does not hold together.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Row(_) | Self::Broken(_) => true,
            Self::Query { source: DieselError::DatabaseError(kind, _), .. } => matches!(
                kind,
                DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::NotNullViolation
                    | DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::ExclusionViolation
                    | DatabaseErrorKind::RestrictViolation
            ),
            Self::Query { source, .. } => {
                matches!(source, DieselError::DeserializationError(_) | DieselError::SerializationError(_))
            }
            Self::Transaction(_)
            | Self::NoConnection(_)
            | Self::Saturated
            | Self::Stale(_)
            | Self::LeaseLost
            | Self::Migrations(_)
            | Self::Schema(_)
            | Self::Stopping => false,
        }
    }

    /// Whether the store cannot be reached now.
    pub fn is_away(&self) -> bool {
        match self {
            Self::NoConnection(_) | Self::Saturated | Self::Stopping => true,
            Self::Query { source, .. } | Self::Transaction(source) => is_away(source),
            Self::Row(_)
            | Self::Broken(_)
            | Self::Stale(_)
            | Self::LeaseLost
            | Self::Migrations(_)
            | Self::Schema(_) => false,
        }
    }
}

impl From<UnknownWord> for Error {
    fn from(source: UnknownWord) -> Self {
        Self::Row(source)
    }
}

fn lost_race(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        DieselError::DatabaseError(_, info) => info.message().contains("deadlock detected"),
        _other => false,
    }
}

fn is_away(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            // After a failover, until its clients are led to the new primary.
            | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        ) => true,
        DieselError::DatabaseError(_, info) => {
            let text = info.message();
            text.contains("server closed the connection")
                || text.contains("the database system is")
                || text.contains("terminating connection")
                || text.contains("could not connect")
                || text.contains("no connection to the server")
                || text.contains("canceling statement due to statement timeout")
        }
        DieselError::BrokenTransactionManager => true,
        _other => false,
    }
}

/// Settings of the store's pool.
#[derive(Clone, Debug)]
pub struct Config {
    /// A libpq connection string (`DATABASE_URL`).
    pub url: String,
    /// Connections that this process may hold.
    pub pool_size: u32,
    /// How long a request waits for a new connection.
    pub wait: Duration,
    /// How long a request waits for its turn, while the store is well, before it is told that the store is saturated.
    pub patience: Duration,
}

impl Config {
    /// The defaults: 8 connections; 5 s for one of them, 30 s for a turn.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            pool_size: 8,
            wait: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }
    }
}

/// The store, as a pool of connections.
#[derive(Clone)]
pub struct Db {
    connections: Connections,
}

impl Db {
    /// Makes the pool. It connects when first asked.
    pub fn new(config: &Config) -> Self {
        Self { connections: Connections::new(config) }
    }

    /// Applies the migrations that are missing, and lets the schema know every kind of task, one process at a time.
    ///
    /// # Errors
    /// [`Error::Migrations`] when one fails; nothing of it is kept then.
    pub async fn migrate(&self) -> Result<(), Error> {
        self.run(|conn| {
            // A migration takes as long as the tables are large.
            diesel::sql_query("set statement_timeout = 0")
                .execute(conn)
                .map_err(Error::query("have time for migrations"))?;
            let done = migrate_alone(conn);
            // The connection goes back to the pool.
            conn.batch_execute(pool::DEADLINES).map_err(Error::query("have deadlines again"))?;
            done
        })
        .await
    }

    /// Refuses a schema that this program does not know: one that waits for migrations, or has had newer ones.
    ///
    /// # Errors
    /// [`Error::Schema`]; the store's.
    pub async fn knows_schema(&self) -> Result<(), Error> {
        self.run(|conn| {
            let pending = conn.pending_migrations(MIGRATIONS).map_err(Error::Migrations)?;
            if !pending.is_empty() {
                return Err(Error::Schema("older than this program: `coffer migrate` brings it up to date"));
            }
            let applied = conn.applied_migrations().map_err(Error::Migrations)?;
            let known =
                MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS).map_err(Error::Migrations)?;
            if applied.len() > known.len() {
                return Err(Error::Schema("newer than this program"));
            }
            if !tasks::knows_kinds(conn)? {
                return Err(Error::Schema("older than this program: `coffer migrate` brings it up to date"));
            }
            Ok(())
        })
        .await
    }

    /// Runs one statement, which is a transaction by itself, or several that need not agree.
    ///
    /// # Errors
    /// What `work` returns; [`Error::NoConnection`] and [`Error::Saturated`] when it was not begun.
    pub async fn run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        self.connections.run(work).await
    }

    /// Runs `work` in one transaction: all of it, or nothing. It may run several times, so it has no other effect.
    ///
    /// # Errors
    /// What `work` returns; the store's own errors.
    pub async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + AsStoreError + Send + 'static,
        F: Fn(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        self.run(move |conn| {
            let mut tries = 0;
            loop {
                tries += 1;
                match in_transaction(conn, &work) {
                    Err(e) if tries < TRIES && e.as_store_error().is_some_and(Error::is_lost_race) => {}
                    done => return done,
                }
            }
        })
        .await
    }
}

/// An error that may be the store's, so that a lost race is seen and tried again.
pub trait AsStoreError {
    /// The store's error, if it is one.
    fn as_store_error(&self) -> Option<&Error>;
}

impl AsStoreError for Error {
    fn as_store_error(&self) -> Option<&Error> {
        Some(self)
    }
}

fn migrate_alone(conn: &mut Conn) -> Result<(), Error> {
    diesel::sql_query("select pg_advisory_lock(7305842019)")
        .execute(conn)
        .map_err(Error::query("lock the schema"))?;
    let done = match conn.run_pending_migrations(MIGRATIONS).map(|_| ()) {
        Ok(()) => tasks::allow_kinds(conn),
        Err(error) => Err(Error::Migrations(error)),
    };
    diesel::sql_query("select pg_advisory_unlock(7305842019)")
        .execute(conn)
        .map_err(Error::query("unlock the schema"))?;
    done
}

#[expect(clippy::disallowed_methods, reason = "this is Db::transact")]
fn in_transaction<T, E: From<Error>>(
    conn: &mut Conn,
    work: &impl Fn(&mut Conn) -> Result<T, E>,
) -> Result<T, E> {
    enum Ended<E> {
        Work(E),
        Store(DieselError),
    }
    impl<E> From<DieselError> for Ended<E> {
        fn from(source: DieselError) -> Self {
            Self::Store(source)
        }
    }
    conn.transaction(|conn| work(conn).map_err(Ended::Work)).map_err(|ended| match ended {
        Ended::Work(e) => e,
        Ended::Store(source) => E::from(Error::Transaction(source)),
    })
}
