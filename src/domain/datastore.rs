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
    /// PostgreSQL.
    Postgresql,
}

impl EngineKind {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::MariaDb, Self::Mysql, Self::Postgresql];

    /// The word in rows and in datastore names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
        }
    }

    /// The port that clients expect.
    pub const fn standard_port(self) -> u16 {
        match self {
            Self::MariaDb | Self::Mysql => 3306,
            Self::Postgresql => 5432,
        }
    }

    /// What its clients and servers speak.
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::MariaDb | Self::Mysql => Protocol::Mysql,
            Self::Postgresql => Protocol::Postgresql,
        }
    }

    /// The series that a version number is of: `10.11` of `10.11.19`, but `15` of PostgreSQL's `15.20`.
    pub fn series(self, number: &str) -> String {
        let parts = match self {
            Self::MariaDb | Self::Mysql => 2,
            Self::Postgresql => 1,
        };
        number.split('.').take(parts).collect::<Vec<_>>().join(".")
    }
}

/// What an endpoint forwards: who speaks first, how it is reached, and what "not now" is called differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MySQL's, which MariaDB speaks, too.
    #[default]
    Mysql,
    /// PostgreSQL's.
    Postgresql,
}

impl Protocol {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
        }
    }
}

impl FromStr for Protocol {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "mysql" => Ok(Self::Mysql),
            "postgresql" => Ok(Self::Postgresql),
            other => Err(UnknownWord { what: "protocol", word: other.to_owned() }),
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
            "postgresql" => Ok(Self::Postgresql),
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
    /// Whether `answered`, a full version number, is of this version's series, by the number that was registered. The
    /// name does not tell: `10.4enc` is a 10.4. A version that is one build of its series, and named so, is no other.
    pub fn is_answered_by(&self, answered: &str) -> bool {
        if self.name.starts_with(&self.number) {
            return self.number == answered;
        }
        self.engine.series(&self.number) == self.engine.series(answered)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_counts_its_series() {
        for (engine, number, series) in [
            (EngineKind::MariaDb, "10.11.19", "10.11"),
            (EngineKind::Mysql, "8.0.40", "8.0"),
            (EngineKind::Postgresql, "15.20", "15"),
        ] {
            assert_eq!(engine.series(number), series);
        }
    }

    #[test]
    fn a_build_is_answered_by_itself_alone() {
        let version = |name: &str, number: &str| DatastoreVersion {
            id: VersionId(uuid::Uuid::nil()),
            datastore_id: DatastoreId(uuid::Uuid::nil()),
            datastore: "mariadb".to_owned(),
            name: name.to_owned(),
            number: number.to_owned(),
            engine: EngineKind::MariaDb,
            runtime: RuntimeKind::Process,
            active: true,
        };
        for (name, number, answered, is_it) in [
            ("10.11", "10.11.19", "10.11.19", true),
            ("10.11", "10.11.19", "10.11.20", true),
            ("10.11", "10.11.19", "11.8.6", false),
            ("10.4enc", "10.4.34", "10.4.34", true),
            ("10.4.33enc", "10.4.33", "10.4.34", false),
            ("10.11.18", "10.11.18", "10.11.18", true),
            ("10.11.18", "10.11.18", "10.11.19", false),
        ] {
            assert_eq!(version(name, number).is_answered_by(answered), is_it, "{name} {answered}");
        }
    }

    #[test]
    fn words_are_read_back() {
        for engine in EngineKind::ALL {
            assert_eq!(engine.as_str().parse(), Ok(engine));
            assert_eq!(engine.protocol().as_str().parse(), Ok(engine.protocol()));
        }
    }
}
