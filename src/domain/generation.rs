//! A generation: one engine server with its own data directory.

use crate::domain::datastore::{DatastoreVersion, UnknownWord};
use crate::domain::ids::{GenerationId, HostId, InstanceId};

/// What a generation is to its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Being made; clients do not reach it.
    Candidate,
    /// The one that serves.
    Serving,
    /// Stopped, and kept for going back.
    Retired,
    /// Nothing of it is left on its host.
    Dropped,
}

impl Role {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Serving => "serving",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Candidate, Self::Serving, Self::Retired, Self::Dropped]
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "generation role", word: word.to_owned() })
    }
}

/// A generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Its id.
    pub id: GenerationId,
    /// The instance that it belongs to.
    pub instance: InstanceId,
    /// The host that it lives on.
    pub host: HostId,
    /// What it is to its instance.
    pub role: Role,
    /// The version of its binaries.
    pub version: DatastoreVersion,
    /// Unique among all generations.
    pub server_id: u32,
    /// The password of our own account in it, sealed.
    pub service_secret: String,
    /// The account of the host that its instance has to itself, while it lives; `None` is the runtime's own.
    pub account: Option<String>,
    /// Memory of the instance's flavor, in MB.
    pub memory_mb: u32,
    /// Whether its configuration keeps tenants from writing.
    pub read_only: bool,
    /// Whether its configuration lets events run.
    pub events: bool,
    /// Whether its host's supervisor shall keep it up.
    pub wanted_running: bool,
    /// What it proves itself with; `None` until it was made.
    pub certificate: Option<Certificate>,
}

/// The certificate of an instance, which all of its generations have.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The address that it names: the instance's own.
    pub address: String,
    /// The certificate, as PEM.
    pub certificate: String,
    /// Its private key, sealed.
    pub key_secret: String,
    /// The certificate of who signed it, as PEM.
    pub authority: String,
}
