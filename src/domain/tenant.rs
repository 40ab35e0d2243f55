//! What a tenant asks for inside a database: databases and users.
//!
//! A password becomes the engine's verifier at the door; only that goes on.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::domain::datastore::EngineKind;

/// How a verifier of PostgreSQL's begins.
const SCRAM: &str = "SCRAM-SHA-256$";

/// The schema of our own in every server: probes and markers.
pub const OWN_SCHEMA: &str = "coffer";

/// Database names that a tenant cannot have.
pub const RESERVED_DATABASES: [&str; 6] =
    ["mysql", "information_schema", "performance_schema", "sys", "test", OWN_SCHEMA];

/// User names that a tenant cannot have; names that begin with `coffer` are ours, too.
pub const RESERVED_USERS: [&str; 5] = ["root", "os_admin", "mariadb.sys", "mysql.sys", "PUBLIC"];

/// Whether a database of this name is the system's or ours.
pub fn is_reserved_database(name: &str) -> bool {
    RESERVED_DATABASES.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// Whether a user of this name is the system's or ours.
pub fn is_reserved_user(name: &str) -> bool {
    let ours = name.get(..OWN_SCHEMA.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_SCHEMA));
    ours || RESERVED_USERS.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// A database that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: String,
}

/// A user that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Where it may come from: `%` for anywhere.
    pub host: String,
    /// The databases that it has rights on, by name.
    pub databases: Vec<String>,
}

/// A database to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDatabase {
    /// 1 to 64 characters.
    pub name: String,
    /// `utf8mb4` for example; the engine's default when absent.
    pub character_set: Option<String>,
    /// `utf8mb4_general_ci` for example; the character set's default when absent.
    pub collate: Option<String>,
}

/// A user to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// 1 to 16 characters: Trove's limit.
    pub name: String,
    /// Where it may come from: `%` for anywhere, else as [`is_host`] takes it.
    pub host: String,
    /// What the engine keeps in place of the password.
    pub verifier: Verifier,
    /// The databases on which it has every right.
    pub databases: Vec<String>,
}

/// Whether a user can come from `host` and from nowhere else: `%`, an IPv4 address, one with `%` in place of parts
/// (`10.%`, `10.0.%.7`), or a network with its mask (`10.1.0.0/255.255.0.0`). Servers resolve no names, so a name would
/// let nobody in; `localhost` is who comes by the server's own socket, and that is us alone.
pub fn is_host(host: &str) -> bool {
    if let Some((network, mask)) = host.split_once('/') {
        let (Ok(network), Ok(mask)) = (network.parse::<Ipv4Addr>(), mask.parse::<Ipv4Addr>()) else {
            return false;
        };
        let (network, mask) = (u32::from(network), u32::from(mask));
        return mask.leading_ones() + mask.trailing_zeros() == 32 && network & mask == network;
    }
    let parts: Vec<&str> = host.split('.').collect();
    let open = parts.last() == Some(&"%");
    let number = |part: &str| {
        // As the server prints an address, since it compares texts.
        part.parse::<u8>().is_ok_and(|number| number.to_string() == part)
    };
    (parts.len() == 4 || (open && parts.len() < 4)) && parts.iter().all(|part| *part == "%" || number(part))
}

/// What a server keeps of a password: for MariaDB's and MySQL's `mysql_native_password` `*` and 40 hex digits, for
/// PostgreSQL's SCRAM-SHA-256 its own text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verifier(String);

impl Verifier {
    /// The verifier of `password`: SHA-1 of SHA-1, as the server's `PASSWORD()` gives it.
    pub fn native(password: &str) -> Self {
        let twice = Sha1::digest(Sha1::digest(password.as_bytes()));
        let hex: String = twice.iter().map(|byte| format!("{byte:02X}")).collect();
        Self(format!("*{hex}"))
    }

    /// A verifier of PostgreSQL's that was made at the door: it takes a random salt, so not here.
    pub fn scram(text: String) -> Option<Self> {
        text.starts_with(SCRAM).then_some(Self(text))
    }

    /// Whether a server of `engine` understands it.
    pub fn is_for(&self, engine: EngineKind) -> bool {
        (engine == EngineKind::Postgresql) == self.0.starts_with(SCRAM)
    }

    /// The text that goes to the server.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_pattern_of_one() {
        for host in ["%", "10.0.0.7", "127.9.%", "10.%", "10.0.%.7", "%.%.%.%", "10.1.0.0/255.255.0.0"] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "",
            "localhost",
            "LOCALHOST",
            "::1",
            "fd00::%",
            "shop.example",
            "%.example",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.07",
            "10.0.0.0.%",
            "10..%",
            "%%",
            "10.0.0.1%",
            "10.0.0.0/8",
            "10.1.1.0/255.255.0.0",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/",
            " 10.0.0.1",
            "10.0.0.+1",
            "_",
            "%.7",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn names_of_the_system_and_ours_are_reserved() {
        for (name, database, user) in [
            ("mysql", true, false),
            ("Coffer", true, true),
            ("cöffer", false, false),
            ("coffer_repl", false, true),
            ("ROOT", false, true),
            ("shop", false, false),
            ("äöüäöü", false, false),
        ] {
            assert_eq!((is_reserved_database(name), is_reserved_user(name)), (database, user), "{name}");
        }
    }

    #[test]
    fn a_verifier_is_what_the_server_would_keep() {
        // SELECT PASSWORD('password') of any MySQL or MariaDB server.
        assert_eq!(Verifier::native("password").expose(), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert_eq!(format!("{:?}", Verifier::native("password")), "Verifier(..)");
        let scram = Verifier::scram("SCRAM-SHA-256$4096:c2FsdA==$a:b".to_owned()).expect("a verifier");
        assert!(scram.is_for(EngineKind::Postgresql) && !scram.is_for(EngineKind::MariaDb));
        assert!(Verifier::native("password").is_for(EngineKind::Mysql));
        assert_eq!(Verifier::scram("password".to_owned()), None);
    }
}
