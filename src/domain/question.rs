//! Questions to an engine: a row that a worker answers, since the api never reaches an engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What can be asked of an instance's serving server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// What stands in the way of a replica upgrade; the answer is a list of [`Blocker`].
    ReplicaBlockers,
    /// Whether the new side of an upgrade follows its source and has what the source has; the answer is a [`CaughtUp`].
    CaughtUp,
    /// What an upgrade of the same instance would meet, about a [`Look`](crate::domain::upgrade::Look); the answer is a
    /// [`Looked`](crate::domain::upgrade::Looked).
    PreCheck,
    /// The tenant's databases; the answer is a list of [`Database`](crate::domain::tenant::Database).
    Databases,
    /// The tenant's users; the answer is a list of [`User`](crate::domain::tenant::User).
    Users,
    /// Whether the tenant has an account `root`; the answer is a truth value.
    HasRoot,
    /// What the server's configuration has of its parameters without a group; the answer is an object of values.
    DefaultParameters,
    /// What the server answers of its version, and its host of its process; the answer is a [`Diagnosis`].
    Diagnosis,
}

impl QuestionKind {
    /// Every question.
    pub const ALL: [Self; 8] = [
        Self::ReplicaBlockers,
        Self::CaughtUp,
        Self::PreCheck,
        Self::Databases,
        Self::Users,
        Self::HasRoot,
        Self::DefaultParameters,
        Self::Diagnosis,
    ];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReplicaBlockers => "replica_blockers",
            Self::CaughtUp => "caught_up",
            Self::PreCheck => "pre_check",
            Self::Databases => "databases",
            Self::Users => "users",
            Self::HasRoot => "has_root",
            Self::DefaultParameters => "default_parameters",
            Self::Diagnosis => "diagnosis",
        }
    }

    /// How long who asks waits for the answer. A pre-check runs the engine's own checker over every object; less than
    /// most clients and proxies give a request.
    pub const fn patience(self) -> Duration {
        match self {
            Self::PreCheck => Duration::from_secs(45),
            Self::ReplicaBlockers
            | Self::CaughtUp
            | Self::Databases
            | Self::Users
            | Self::HasRoot
            | Self::DefaultParameters
            | Self::Diagnosis => Duration::from_secs(8),
        }
    }

    /// What a caller is told was asked for.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ReplicaBlockers => "what stands in the way of an upgrade",
            Self::PreCheck => "what an upgrade would meet",
            Self::CaughtUp => "whether the new instance has caught up",
            Self::Databases => "its databases",
            Self::Users => "its users",
            Self::HasRoot => "whether root is enabled",
            Self::DefaultParameters => "its default configuration",
            Self::Diagnosis => "how its server is",
        }
    }
}

impl std::str::FromStr for QuestionKind {
    type Err = crate::domain::datastore::UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| crate::domain::datastore::UnknownWord { what: "question", word: word.to_owned() })
    }
}

/// A server, as it and its host see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The version that it answered.
    pub version: String,
    /// Its process; `None` where it has none.
    pub process: Option<ProcessFacts>,
}

/// What the kernel says of a server's first process. Sizes are in kB, as in `/proc/<pid>/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// Its threads.
    pub threads: u64,
    /// The room for open files that the kernel keeps for it.
    pub file_slots: u64,
    /// Its address space.
    pub size: u64,
    /// The most address space that it had.
    pub largest_size: u64,
    /// What it has in memory.
    pub resident: u64,
    /// The most that it had in memory.
    pub most_resident: u64,
}

/// How far the new side of an upgrade is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtUp {
    /// Whether it follows, and has every row that the source had when this was asked.
    pub reached: bool,
    /// Why it cannot follow its source any more, in words for a tenant, where that is so.
    #[serde(default)]
    pub broken: Option<String>,
    /// An object that only one side has, in words for a tenant: what is not replicated was changed since the copy.
    pub differs: Option<String>,
}

/// Something in the instance's content that an upgrade cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// The object: `shop.carts` for example.
    pub object: String,
    /// Why it stands in the way.
    pub why: String,
    /// What the tenant can do.
    pub remedy: String,
}

/// Something that an upgrade meets in a server: it stands in the way, or will be noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether the upgrade cannot be done while it is so.
    pub blocks: bool,
    /// The object: `shop.carts` for example.
    pub object: String,
    /// What is with it.
    pub why: String,
    /// What the tenant can do.
    pub remedy: String,
}

impl From<Blocker> for Finding {
    fn from(Blocker { object, why, remedy }: Blocker) -> Self {
        Self { blocks: true, object, why, remedy }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.object, self.why, self.remedy)
    }
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.object, self.why, self.remedy)
    }
}
