//! Datastores and their versions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{DatastoreId, VersionId};

/// What to do to a database: chosen by a datastore version's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// MariaDB.
    MariaDb,
    /// MySQL, and what is made of it: Percona Server.
    Mysql,
}

impl EngineKind {
    /// The word in rows and in datastore names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::Mysql => "mysql",
        }
    }

    /// The port that clients expect.
    pub const fn standard_port(self) -> u16 {
        match self {
            Self::MariaDb | Self::Mysql => 3306,
        }
    }
}

/// A word in a row that no variant has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown {what} {word:?}")]
pub struct UnknownWord {
    /// The enum's noun.
    pub what: &'static str,
    /// The word that was read.
    pub word: String,
}

impl FromStr for EngineKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "mariadb" => Ok(Self::MariaDb),
            "mysql" => Ok(Self::Mysql),
            other => Err(UnknownWord { what: "engine", word: other.to_owned() }),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where servers run: a property of the datastore-version row, copied to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// Processes of this machine.
    Process,
    /// No servers at all: rows that behave like servers, for tests of clients and of fleets.
    Simulated,
}

impl RuntimeKind {
    /// The word in rows and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Simulated => "simulated",
        }
    }
}

impl RuntimeKind {
    /// Whether clients can connect to what runs there.
    pub const fn listens(self) -> bool {
        !matches!(self, Self::Simulated)
    }
}

impl FromStr for RuntimeKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "process" => Ok(Self::Process),
            "simulated" => Ok(Self::Simulated),
            other => Err(UnknownWord { what: "runtime", word: other.to_owned() }),
        }
    }
}

/// A datastore version with its datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatastoreVersion {
    /// Its id.
    pub id: VersionId,
    /// Its datastore's id.
    pub datastore_id: DatastoreId,
    /// Its datastore's name, lower-case.
    pub datastore: String,
    /// Its label, `10.11` for example; unique inside the datastore.
    pub name: String,
    /// The number that the binary gave, `10.11.19` for example.
    pub number: String,
    /// What to do to it.
    pub engine: EngineKind,
    /// Where it runs.
    pub runtime: RuntimeKind,
    /// Whether a new instance may have it.
    pub active: bool,
}

impl DatastoreVersion {
    /// Whether `answered`, a full version number, is of this version's series: the first two parts of the number that
    /// was registered. The name does not tell: `10.4enc` is a 10.4.
    pub fn is_answered_by(&self, answered: &str) -> bool {
        let series = |number: &str| {
            let mut parts = number.split('.').map(str::to_owned);
            (parts.next(), parts.next())
        };
        series(&self.number) == series(answered)
    }

    /// `mariadb 10.11`, for people.
    pub fn title(&self) -> String {
        format!("{} {}", self.datastore, self.name)
    }
}

/// A datastore with its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datastore {
    /// Its id.
    pub id: DatastoreId,
    /// Its name, lower-case.
    pub name: String,
    /// The version that a create without one gets.
    pub default_version: Option<VersionId>,
    /// Its versions, by name.
    pub versions: Vec<DatastoreVersion>,
}
