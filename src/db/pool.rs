//! Connections to the store: whose turn it is, and whether the store is there at all.
//!
//! Two waits are told apart. For a *turn* a request waits long: the store is well and others are before it. For a
//! *connection* it waits only while one may still come: when the last attempt to connect has failed, one tries again
//! and everybody else who needs a new connection is told at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::r2d2::{
    self, ConnectionManager, CustomizeConnection, HandleError, PooledConnection, R2D2Connection as _,
};

use crate::db::threads::Threads;
use crate::db::{Config, Conn, Error};

/// How often who waits for a connection looks whether the store is away.
const SLICE: Duration = Duration::from_millis(50);

/// How long after an attempt to connect failed the next one is made.
const SOON: Duration = Duration::from_millis(20);

/// The pause between two attempts of the pool's own grows up to half of this.
const ATTEMPTS: Duration = Duration::from_millis(500);

/// How long after a connection broke the others are asked for a sign of life before they are used.
const SUSPICION: Duration = Duration::from_secs(10);

/// What a connection is asked to tell whether it lives. An empty statement is an error to diesel.
const SIGN_OF_LIFE: &str = "select 1";

/// The deadlines of a session. A process that is frozen in the middle of a transaction keeps rows locked: not for longer than
/// 10 s, or nobody could finish what it began. A statement that waits for such a row, or for a disk that hangs, ends after
/// 30 s: the store counts as away then, and what was begun is tried again by whoever can.
pub(super) const DEADLINES: &str =
    "set idle_in_transaction_session_timeout = '10s'; set statement_timeout = '30s'";

/// The connections, and what is known of the store's health.
#[derive(Clone)]
pub(super) struct Connections {
    pool: r2d2::Pool<ConnectionManager<Conn>>,
    threads: Threads,
    health: Health,
    /// Held by the one who tries whether the store is back.
    trying: Arc<Mutex<()>>,
    url: Arc<str>,
    wait: Duration,
    patience: Duration,
}

/// What the last attempts told.
#[derive(Clone, Debug, Default)]
struct Health(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// When and why the last attempt to connect failed; `None` when it did not.
    away: Option<(Instant, String)>,
    /// When a connection was last found broken.
    broke: Option<Instant>,
}

impl Health {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self, why: String) {
        self.with(|seen| seen.away = Some((Instant::now(), why)));
    }
}

impl HandleError<r2d2::Error> for Health {
    fn handle_error(&self, error: r2d2::Error) {
        self.failed(error.to_string());
    }
}

impl CustomizeConnection<Conn, r2d2::Error> for Health {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), r2d2::Error> {
        self.with(|seen| seen.away = None);
        conn.batch_execute(DEADLINES).map_err(r2d2::Error::QueryError)
    }
}

impl Connections {
    /// Makes the pool. It connects when first asked.
    pub(super) fn new(config: &Config) -> Self {
        let health = Health::default();
        let url = impatient(&config.url);
        let pool = r2d2::Pool::builder()
            .max_size(config.pool_size)
            .min_idle(Some(0))
            // A checkout test costs a round trip for every request; one that broke is met in `connection`.
            .test_on_check_out(false)
            .connection_timeout(ATTEMPTS)
            .error_handler(Box::new(health.clone()))
            .connection_customizer(Box::new(health.clone()))
            .build_unchecked(ConnectionManager::new(&url));
        Self {
            pool,
            threads: Threads::new(config.pool_size.try_into().unwrap_or(8)),
            health,
            trying: Arc::default(),
            url: url.into(),
            wait: config.wait,
            patience: config.patience,
        }
    }

    /// Waits for a turn, and works with a connection.
    ///
    /// # Errors
    /// [`Error::Saturated`] when the turn did not come; what `work` returns.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let connections = self.clone();
        self.threads.run(self.patience, move || connections.use_one(work)).await?
    }

    /// Takes a connection and works with it. Blocks.
    fn use_one<T, E: From<Error>>(&self, work: impl FnOnce(&mut Conn) -> Result<T, E>) -> Result<T, E> {
        let mut conn = self.connection()?;
        let done = work(&mut conn);
        if done.is_err() && !conn.is_broken() {
            // Where a statement is prepared first, diesel (2.3) does not see that its connection is dead. It would be given
            // back as a good one, to be the next that is taken. A statement that is not prepared makes diesel look.
            let _ = conn.batch_execute(SIGN_OF_LIFE);
        }
        if conn.is_broken() {
            self.health.with(|seen| seen.broke = Some(Instant::now()));
        }
        done
    }

    fn connection(&self) -> Result<PooledConnection<ConnectionManager<Conn>>, Error> {
        let until = Instant::now() + self.wait;
        loop {
            self.is_back()?;
            match self.pool.get_timeout(SLICE) {
                Ok(mut conn) => {
                    if !self.suspicious() || conn.batch_execute(SIGN_OF_LIFE).is_ok() {
                        return Ok(conn);
                    }
                    // It is broken: given back, it is dropped.
                }
                Err(error) if Instant::now() >= until => {
                    // Whoever comes next need not wait as long to learn the same.
                    self.health.failed(error.to_string());
                    return Err(Error::NoConnection(error.into()));
                }
                Err(_) => {}
            }
        }
    }

    /// Whether it makes sense to wait for a connection: always, unless the last attempt to make one has failed. Then
    /// one makes another attempt, and the others are told what the last one told.
    fn is_back(&self) -> Result<(), Error> {
        let away = || self.health.with(|seen| seen.away.clone());
        let told = |why: String| Err(Error::NoConnection(why.into()));
        match away().filter(|_| self.pool.state().idle_connections == 0) {
            None => return Ok(()),
            Some((at, why)) if at.elapsed() < SOON => return told(why),
            Some(_) => {}
        }
        let Ok(_trying) = self.trying.try_lock() else {
            // Whoever tries may be about to find out that the store is back; that takes some milliseconds.
            let _ = self.pool.get_timeout(SLICE);
            return away().map_or(Ok(()), |(_, why)| told(why));
        };
        match Conn::establish(&self.url) {
            Ok(_) => {
                self.health.with(|seen| seen.away = None);
                Ok(())
            }
            Err(error) => {
                self.health.failed(error.to_string());
                Err(Error::NoConnection(error.into()))
            }
        }
    }

    fn suspicious(&self) -> bool {
        self.health.with(|seen| seen.broke.is_some_and(|at| at.elapsed() < SUSPICION))
    }
}

/// The connection string, told not to wait for minutes for a host that has gone silent, unless it says how long itself.
fn impatient(url: &str) -> String {
    let mut url = url.to_owned();
    let is_uri = url.starts_with("postgres://") || url.starts_with("postgresql://");
    // Seconds, and milliseconds.
    for (setting, value) in [("connect_timeout", "5"), ("tcp_user_timeout", "10000")] {
        if !url.contains(setting) {
            let before = match (is_uri, url.contains('?')) {
                (false, _) => ' ',
                (true, false) => '?',
                (true, true) => '&',
            };
            url.push(before);
            url += &format!("{setting}={value}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use diesel::RunQueryDsl as _;

    use crate::db::Db;

    use super::*;

    #[test]
    fn a_silent_host_is_not_waited_for() {
        for (given, used) in [
            ("host=/run/x user=u", "host=/run/x user=u connect_timeout=5 tcp_user_timeout=10000"),
            ("postgresql://h/d", "postgresql://h/d?connect_timeout=5&tcp_user_timeout=10000"),
            (
                "postgres://h/d?sslmode=require",
                "postgres://h/d?sslmode=require&connect_timeout=5&tcp_user_timeout=10000",
            ),
            ("host=h connect_timeout=1", "host=h connect_timeout=1 tcp_user_timeout=10000"),
        ] {
            assert_eq!(impatient(given), used);
        }
    }

    fn asks(db: &Db) -> impl Future<Output = Result<(), Error>> + use<> {
        let db = db.clone();
        async move {
            db.run(|conn| {
                diesel::sql_query("select 1").execute(conn).map(|_| ()).map_err(Error::query("ask"))
            })
            .await
        }
    }

    /// Two hundred at once are told at once, whether the store refuses or has never been there.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_that_is_away_is_known_at_once() {
        let config = Config { pool_size: 16, ..Config::new("postgresql://nobody@127.0.0.1:1/none") };
        let db = Db::new(&config);
        let began = Instant::now();
        let told = futures::future::join_all((0..200).map(|_| tokio::spawn(asks(&db)))).await;
        let took = began.elapsed();
        for answer in told {
            assert!(matches!(answer.unwrap(), Err(Error::NoConnection(_))));
        }
        assert!(took < Duration::from_secs(2), "{took:?}");
        let began = Instant::now();
        assert!(asks(&db).await.is_err());
        assert!(began.elapsed() < Duration::from_millis(200), "what is known is not waited for");
    }
}
