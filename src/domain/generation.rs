//! A generation: one engine server with its own data directory.

use std::net::Ipv4Addr;

use crate::domain::datastore::{DatastoreVersion, UnknownWord};
use crate::domain::ids::{GenerationId, HostId, InstanceId};
use crate::domain::parameter::Values;
use crate::domain::volume::VolumeState;

/// What a generation is to its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its task's own, which is being made, or was left between two hops and is about to go; clients do not reach it.
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
    /// The number of the version whose defaults its instance's applications know: the one that the instance, or the
    /// one that it replicates from, was made with.
    pub defaults_of: String,
    /// Unique among all generations.
    pub server_id: u32,
    /// The password of our own account in it, sealed.
    pub service_secret: String,
    /// The account of the host that its instance has to itself, while it lives; `None` is the runtime's own.
    pub account: Option<String>,
    /// Memory of the instance's flavor, in MB.
    pub memory_mb: u32,
    /// Its processors.
    pub cpus: u32,
    /// The values of its instance's configuration group.
    pub parameters: Values,
    /// The names of the logs that its instance's customer has turned on.
    pub logs: Vec<String>,
    /// Whether one of them waits for its server's next start, as was seen last.
    pub needs_restart: bool,
    /// Whether its configuration keeps tenants from writing, as a fenced server or a follower.
    pub read_only: bool,
    /// The size of its instance's volume, in GB.
    pub volume_gb: i32,
    /// How far its volume was filled when that was measured last.
    pub volume_state: VolumeState,
    /// Whether its configuration lets events run.
    pub events: bool,
    /// Whether its instance is another one's replica.
    pub is_replica: bool,
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
    /// The certificates of the service's authorities, as PEM: of who signed it, and who may sign the next.
    pub authority: String,
    /// Whether the authority that signs now has signed it.
    pub is_current: bool,
    /// Whether it, or the authorities, may be others than when its servers were started.
    pub was_changed: bool,
}

/// The address on which a server listens that cannot be reached by its Unix socket alone, for the endpoint role of its
/// host and for nobody else: of 127.128.0.0/9, which no network of instances has part in, by the last 23 bits of the
/// generation's id. Two of a host's generations have the same once in eight million times; the second of them does not
/// start then, and what made it is undone.
pub fn private_address(generation: GenerationId) -> Ipv4Addr {
    let [.., high, middle, low] = *generation.0.as_bytes();
    // The last address of all is everybody's, so it stands for its neighbour.
    let low = if (high | 0x80, middle, low) == (0xff, 0xff, 0xff) { 0xfe } else { low };
    Ipv4Addr::new(127, high | 0x80, middle, low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_address_is_of_the_upper_half() {
        for (end, address) in [
            ("000000000000", "127.128.0.0"),
            ("0000007fffff", "127.255.255.254"),
            ("000000ffffff", "127.255.255.254"),
            ("0000000a0b0c", "127.138.11.12"),
        ] {
            let id: GenerationId = format!("00000000-0000-4000-8000-{end}").parse().expect("an id");
            assert_eq!(private_address(id).to_string(), address);
        }
    }
}
