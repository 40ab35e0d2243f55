//! WHAT to do to a database. An engine describes a server, its files and its commands, and speaks to it; where it
//! runs is a runtime's matter.
//!
//! # How to add one
//! Add a variant to [`EngineKind`], implement [`Engine`] in a file of its own, and choose it by name in `cli`.
//! Every method may be called twice, also after it was killed in the middle: it first looks at what is there.

pub mod bound;
pub mod configure;
pub mod logs;
pub mod mariadb;
pub mod object;
pub mod operate;
pub mod postgresql;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::domain::datastore::EngineKind;
use crate::domain::ids::GenerationId;
use crate::domain::parameter::Values;
use crate::domain::question::{Blocker, Finding};
use crate::domain::tenant::{Database, NewDatabase, NewUser, User};
use crate::domain::upgrade::Strategy;
pub use crate::engines::bound::{Bound, Taken};
pub use crate::engines::configure::{Configure, Standing};
pub use crate::engines::logs::Logs;
pub use crate::engines::operate::Operate;
use crate::runtimes::{self, Limits, Runtime};

/// One generation's server, as a workflow step addresses it.
#[derive(Clone)]
pub struct Server {
    /// The generation.
    pub generation: GenerationId,
    /// The full version of the binaries, `10.11.19` for example.
    pub version: String,
    /// Where it runs.
    pub runtime: Arc<dyn Runtime>,
    /// The account of the host that its instance has to itself; `None` is the runtime's own.
    pub account: Option<String>,
    /// The password of our own account in it.
    pub service_password: SecretString,
    /// What its own configuration must say.
    pub settings: Settings,
    /// What it proves itself with; without, it speaks in the clear only and nobody can follow it.
    pub tls: Option<Tls>,
}

/// What a server proves itself with. It is the instance's, the same for every generation.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The address that the certificate names: where clients reach the instance, and where a relay to it listens.
    pub address: String,
    /// The certificates of the service's own authorities, as PEM.
    pub authority: String,
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its private key, as PEM.
    pub key: SecretString,
}

/// What a generation's own configuration must say, so that a restart comes up the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Unique among all generations.
    pub server_id: u32,
    /// Memory that the whole server may take, in MB.
    pub memory_mb: u32,
    /// Processors that it may take.
    pub cpus: u32,
    /// Whether tenants are kept from writing: the server is fenced, or follows another.
    pub read_only: bool,
    /// Whether they are kept from writing since its volume is full.
    pub full: bool,
    /// Whether they come in to read while they are kept from writing: it is an instance of its own that follows another.
    pub readers: bool,
    /// Whether the server runs its tenants' events.
    pub events: bool,
    /// The number of the version whose defaults the tenant's applications know. Where another version's are others, and
    /// an application would meet that, the configuration says what they were.
    pub defaults_of: String,
    /// The values of its instance's configuration group.
    pub parameters: Values,
    /// The names of the logs that its instance's customer has turned on.
    pub logs: Vec<String>,
}

impl Settings {
    /// What the server may take of its host.
    pub const fn limits(&self) -> Limits {
        Limits { memory_mb: self.memory_mb, cpus: self.cpus }
    }

    /// Whether tenants are kept from writing, for whatever reason.
    pub const fn refuses_writes(&self) -> bool {
        self.read_only || self.full
    }
}

/// Where a candidate reaches its source: the task's private relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// An address of this host.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A point in a server's history, in the engine's own notation (MariaDB: a GTID list).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub String);

/// What a candidate has not taken yet of what its source wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// How much.
    pub amount: u64,
    /// Of what: `bytes`, or `transactions`.
    pub unit: &'static str,
}

impl std::fmt::Display for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unit {
            "bytes" => write!(f, "{}.{} MB", self.amount >> 20, ((self.amount & 0xF_FFFF) * 10) >> 20),
            unit => write!(f, "{} {unit}", self.amount),
        }
    }
}

/// What a candidate says of its replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Following {
    /// Both of its threads run.
    Running,
    /// It tries to reach its source; nothing is wrong with its data. The text is the engine's.
    Connecting(String),
    /// It cannot go on with the data that it has. The text is the engine's.
    Broken(String),
    /// It follows nobody.
    Nobody,
}

/// What an engine cannot do, or did not manage to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached now; it may be starting.
    #[error("the server does not answer: {0}")]
    NoAnswer(String),
    /// The server answered with an error.
    #[error("{doing}: the server answered {code}: {message}")]
    Refused {
        /// What we were doing.
        doing: &'static str,
        /// The engine's number.
        code: u16,
        /// The engine's text.
        message: String,
    },
    /// The server answered with an error that it names by a state of SQL's.
    #[error("{doing}: the server answered {state}: {message}")]
    State {
        /// What we were doing.
        doing: &'static str,
        /// The five characters.
        state: String,
        /// The engine's text.
        message: String,
    },
    /// A program of the engine's failed.
    #[error("{program} failed: {message}")]
    Program {
        /// The program's name.
        program: String,
        /// The end of what it printed.
        message: String,
    },
    /// The runtime failed.
    #[error("{doing}")]
    Runtime {
        /// What we were doing.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: runtimes::Error,
    },
    /// A tenant's session holds what is needed, for longer than we wait at once. The text names it, for the tenant.
    #[error("{0}")]
    HeldUp(String),
    /// One of the tenant's objects is in the way; another try would meet it again.
    #[error("{object} {why}: {remedy}")]
    Object {
        /// The object: `shop.carts` for example.
        object: String,
        /// Why it is in the way.
        why: String,
        /// What the tenant can do.
        remedy: String,
    },
    /// The engine answered something that we do not understand.
    #[error("{doing}: unexpected answer {answer:?}")]
    Unexpected {
        /// What we were doing.
        doing: &'static str,
        /// What it answered.
        answer: String,
    },
}

impl Error {
    /// What a server says that does not take what it was asked to make, for what it is: names, character sets, collations,
    /// accounts. No other try helps.
    pub fn rejection(&self) -> Option<&str> {
        const NUMBERS: [u16; 7] = [1102, 1115, 1253, 1273, 1396, 1470, 1059];
        // The same of PostgreSQL: parameters, names, objects, encodings and locales.
        const STATES: [&str; 7] = ["22023", "42602", "42622", "42704", "42809", "42939", "0A000"];
        match self {
            Self::Refused { code, message, .. } if NUMBERS.contains(code) => Some(message),
            Self::State { state, message, .. } if STATES.contains(&&**state) => Some(message),
            _ => None,
        }
    }

    /// What a server says that answers and does not do what it was asked for.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused { message, .. } | Self::State { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Whether what a server says may pass: it is of the moment, or the server lacks memory or room.
    pub fn may_pass(&self) -> bool {
        self.is_of_the_moment()
            || match self {
                Self::Refused { code, .. } => matches!(code, 1021 | 1037 | 1041 | 1114 | 1135),
                Self::State { state, message, .. } => {
                    let meets_another = || {
                        ["tuple concurrently", "cache lookup failed"].iter().any(|it| message.contains(it))
                    };
                    state.starts_with("53") || state == "55006" || (state == "XX000" && meets_another())
                }
                _ => false,
            }
    }

    /// Whether it is a matter of the moment: who did not answer, had no room or met another's lock may do so no more.
    pub fn is_of_the_moment(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            // Too many connections, shutting down, a lock that is held, a deadlock, a session that was ended.
            Self::Refused { code, .. } => {
                matches!(code, 1040 | 1053 | 1203 | 1205 | 1213 | 1317 | 1927 | 2006 | 2013)
            }
            // Serialisation and deadlock, connections, a lock that is held, stopping, starting.
            Self::State { state, .. } => {
                state.starts_with("08")
                    || matches!(
                        &**state,
                        "40001" | "40P01" | "53300" | "55P03" | "57P01" | "57P02" | "57P03" | "57P05"
                    )
            }
            // The same, as the engines' programs say it.
            Self::Program { message, .. } => {
                const WORDS: [&str; 12] = [
                    "Lost connection",
                    "Can't connect",
                    "gone away",
                    "Deadlock found",
                    "Lock wait timeout",
                    "Too many connections",
                    "server closed the connection",
                    "terminating connection",
                    "could not connect",
                    "deadlock detected",
                    "starting up",
                    "shutting down",
                ];
                WORDS.iter().any(|word| message.contains(word))
            }
            Self::HeldUp(_) => true,
            Self::Object { .. } | Self::Runtime { .. } | Self::Unexpected { .. } => false,
        }
    }
}

/// What a comparison of all rows found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Tables that were compared.
    pub tables: u64,
    /// Rows that the source has in them.
    pub rows: u64,
    /// Tables that differ, as `schema.table`.
    pub differing: Vec<String>,
    /// What holds rows and was not compared.
    pub not_compared: Vec<NotCompared>,
    /// The position at which both were compared; empty when nothing was ever written.
    pub position: String,
}

/// What holds rows and was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// Its name.
    pub object: String,
    /// Why not, in words for the tenant.
    pub why: String,
}

impl NotCompared {
    /// An object and why it was not compared.
    pub fn new(object: impl Into<String>, why: impl Into<String>) -> Self {
        Self { object: object.into(), why: why.into() }
    }
}

/// What the rows of a server come to that nobody writes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The number of each table's rows and their sum, by the table's name.
    pub tables: BTreeMap<String, String>,
    /// What holds rows and was not summed up.
    pub not_compared: Vec<NotCompared>,
}

/// A point in a copy, told while it runs: a line for people, such as `12 of 40 MB`.
pub type OnProgress = Arc<dyn Fn(String) + Send + Sync>;

/// How long definitions are tried on an empty server for somebody who waits within a request: 45 s, with all that is
/// looked at besides.
pub const TRIAL: Duration = Duration::from_secs(30);

/// What every engine does. All methods are idempotent.
#[async_trait]
pub trait Engine: Operate + Configure + Bound + Logs + Send + Sync {
    /// Which one it is.
    fn kind(&self) -> EngineKind;

    /// Makes the server's folders and system tables, with our own account and no other. What an earlier try left in
    /// the folder is removed first; a server that runs on it is stopped before that.
    async fn create_data(&self, server: &Server) -> Result<(), Error>;

    /// Writes the server's configuration from `server.settings`, has it started unless it runs, and waits until it
    /// answered. Never two servers on one folder.
    async fn start(&self, server: &Server) -> Result<(), Error>;

    /// Stops the server cleanly and waits until its process is gone. Happy when none runs.
    async fn stop(&self, server: &Server) -> Result<(), Error>;

    /// Stops the server, cleanly or not, and deletes everything that the generation holds on its host.
    async fn drop_data(&self, server: &Server) -> Result<(), Error>;

    /// Writes into and reads from our own schema (never into the binary log), and gives the version number that the
    /// server answered, `10.11.19` for example. The write is left out where the caller says `write: false`.
    async fn probe(&self, server: &Server, write: bool) -> Result<String, Error>;

    /// Makes the databases and users that are not there yet.
    async fn create_content(
        &self,
        server: &Server,
        databases: &[NewDatabase],
        users: &[NewUser],
    ) -> Result<(), Error>;

    /// The tenant's databases, by name; the system's and ours are not among them.
    async fn databases(&self, server: &Server) -> Result<Vec<Database>, Error>;

    /// The tenant's users, by name and host, each with the databases that it has rights on; the system's and ours are
    /// not among them.
    async fn users(&self, server: &Server) -> Result<Vec<User>, Error>;

    /// What in the source's content a replica upgrade could not carry.
    async fn replica_blockers(&self, source: &Server) -> Result<Vec<Blocker>, Error>;

    /// Copies the content of `source`, which goes on serving, into the empty `candidate`: databases with routines,
    /// events, triggers and views, users and grants. Gives the position that the copy stands for. An error also when
    /// accounts or definitions changed, or something appeared that cannot be carried, while it was made; one that another
    /// try would meet again names its object ([`Error::Object`]). The candidate's server runs afterwards; meanwhile it
    /// may be stopped and its folder made anew.
    async fn seed(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Position, Error>;

    /// Brings the system objects to the server's version where that is due; says whether it was.
    async fn convert(&self, server: &Server) -> Result<bool, Error>;

    /// The settings, by the engine's names, that have an older version's default in the server's configuration, since its
    /// applications were written for that.
    fn kept_settings(&self, _server: &Server) -> BTreeMap<&'static str, &'static str> {
        BTreeMap::new()
    }

    /// Whether a candidate reaches its source by a relay of the endpoint's, and not at its private address.
    fn needs_relay(&self) -> bool {
        true
    }

    /// Whether what tenants change of their definitions is replicated, as rows are.
    fn replicates_definitions(&self) -> bool {
        true
    }

    /// Makes the replication account on the source, with a new random password, and has the candidate follow it, from
    /// the position that its copy stands for: by way of `relay` where the engine needs one.
    async fn follow(
        &self,
        source: &Server,
        candidate: &Server,
        relay: Option<&RelayAddress>,
    ) -> Result<(), Error>;

    /// How the candidate's replication is.
    async fn following(&self, candidate: &Server) -> Result<Following, Error>;

    /// What the source's content has by now because of which a candidate that follows must apply changes in another way than
    /// it does: it began with what was there then.
    async fn outgrown(&self, _source: &Server, _candidate: &Server) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Has it apply them in that way, where there is such a thing, which it gives.
    async fn adapt(&self, _source: &Server, _candidate: &Server) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// What the source's content has by now whose changes a candidate that follows cannot have taken as they were: it is of
    /// no use any more, also once that is gone again.
    async fn spoilt(&self, _source: &Server) -> Result<Option<Blocker>, Error> {
        Ok(None)
    }

    /// The source's newest position.
    async fn position(&self, source: &Server) -> Result<Position, Error>;

    /// Waits until the candidate has reached `position`; false when it did not within `within`.
    async fn reached(&self, candidate: &Server, position: &Position, within: Duration)
    -> Result<bool, Error>;

    /// Lets a candidate take changes without waiting for its disk each time, where that loses nothing: what a death
    /// loses is sent again. Gives whether it does so: not before each table's first copy is done. The end of replication
    /// makes everything durable.
    async fn hurry(&self, _candidate: &Server) -> Result<bool, Error> {
        Ok(true)
    }

    /// What the candidate has not taken yet of what its source wrote.
    async fn behind(&self, source: &Server, candidate: &Server) -> Result<Behind, Error>;

    /// Opens what a hold will ask the server by, so that clients do not wait for that. Nothing but time depends on it.
    async fn stand_ready(&self, _server: &Server) -> Result<(), Error> {
        Ok(())
    }

    /// A description of every object of the tenant, equal on two servers that hold the same: one line an object,
    /// sorted. Users with their grants are in it.
    async fn inventory(&self, server: &Server) -> Result<Vec<String>, Error>;

    /// The same without what replication does not carry and serving moves: equal on a server that goes on serving and
    /// on one that follows it.
    async fn inventory_while_serving(&self, server: &Server) -> Result<Vec<String>, Error> {
        self.inventory(server).await
    }

    /// Carries to a candidate that has reached the position of its fenced source what replication does not carry.
    async fn carry_the_rest(&self, _source: &Server, _candidate: &Server) -> Result<(), Error> {
        Ok(())
    }

    /// Puts back on a candidate that only reads what its tenants could change there all the same, where the engine cannot
    /// refuse it: gives a line for each thing, in words for them.
    async fn level(&self, _source: &Server, _candidate: &Server) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Compares every row of the tenant's tables on both sides at one position of the source, which goes on serving.
    /// The candidate stands still meanwhile and follows again afterwards, also when an error is returned; after a
    /// kill, the next call lets it follow.
    async fn compare_rows(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Comparison, Error>;

    /// Sums up the rows of each table of a server that nobody writes to, the small ones first, for as long as `within`
    /// allows. With `like`, these tables and no others, so that the sums of two servers can be compared.
    async fn sum_rows(
        &self,
        _server: &Server,
        _like: Option<&Sums>,
        _within: Duration,
    ) -> Result<Sums, Error> {
        Ok(Sums::default())
    }

    /// Lets a candidate follow again that a killed comparison left standing still. Happy when it follows.
    async fn resume(&self, candidate: &Server) -> Result<(), Error>;

    /// Ends replication on the candidate, lets it write (in its configuration first, then at run time), and gives
    /// its events the state that they have on the source. `server.settings` already says how it shall be. With the
    /// source away, events keep what the candidate knows of them.
    async fn cut(&self, candidate: &Server, source: Option<&Server>) -> Result<(), Error>;

    /// Takes the replication account off the source, and what a killed copy or comparison left there. Happy when there
    /// is none.
    async fn forget_follower(&self, source: &Server) -> Result<(), Error>;

    /// A tenant's session that would keep a copy or a comparison of the serving `source` waiting now, in words that name
    /// it, what it holds and since when; `None` when there is none.
    async fn in_the_way(&self, _source: &Server) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// A tenant's transaction that has been open, or a lock that has been held, for longer than `longer_than`, in words that name its session and
    /// account, never its statements; `None` when there is none. The oldest, where there are several.
    async fn oldest_transaction(
        &self,
        server: &Server,
        longer_than: Duration,
    ) -> Result<Option<String>, Error>;

    /// Keeps tenants from writing, in a way that a restart comes up with: what `server.settings` say (read-only, no
    /// events) is in its configuration before it is set. Open transactions get `grace`; then every session of a
    /// tenant's is ended and seen gone, rollbacks included. Gives how many were ended. No new connection may come
    /// meanwhile but by our own account: that is the endpoint's matter. [`Engine::start`] takes the fence off.
    async fn fence(&self, server: &Server, grace: Duration) -> Result<u64, Error>;

    /// In place, when clients are back: removes what making the candidate's data left beside it. Happy when there is
    /// nothing.
    async fn tidy(&self, _candidate: &Server) -> Result<(), Error> {
        Ok(())
    }

    /// Ends the sessions of tenants that a fenced server has after all: a connection that was being made came through.
    /// Gives how many.
    async fn end_late(&self, server: &Server) -> Result<u64, Error>;

    /// Stops the server, and proves that it stopped cleanly: gives the proof in a line for the operator. One that did
    /// not is started again, as `server.settings` say, and stopped properly. Its process is gone afterwards.
    async fn stop_clean(&self, server: &Server) -> Result<String, Error>;

    /// What an upgrade of the same instance to the version of `candidate` meets in the content of `source`, which
    /// serves. It only reads. Nothing of the candidate is there but what this look puts there and takes away again.
    /// Definitions are tried on an empty server of the target for as long as `trial`; those that were not are a warning.
    async fn pre_check_within(
        &self,
        source: &Server,
        candidate: &Server,
        strategy: Strategy,
        trial: Duration,
    ) -> Result<Vec<Finding>, Error>;

    /// The same for somebody who waits for it within a request.
    async fn pre_check(
        &self,
        source: &Server,
        candidate: &Server,
        strategy: Strategy,
    ) -> Result<Vec<Finding>, Error> {
        self.pre_check_within(source, candidate, strategy, TRIAL).await
    }

    /// In place, before the hold: makes the candidate's folders anew and its data ready as far as can be while
    /// `source` serves. Gives a line for the operator. The candidate's server does not run afterwards.
    async fn prepare_in_place(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<String, Error>;

    /// In place, within the hold: makes the candidate's data of that of `source`, which was stopped cleanly and whose
    /// folder is only read. Gives a line for the operator. What an earlier try left is no hindrance. The candidate is
    /// then a server that [`Engine::start`] starts, or that runs already, as its settings say.
    async fn convert_in_place(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<String, Error>;
}
