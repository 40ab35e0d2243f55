//! What a tenant asks for inside a database: databases and users.
//!
//! A password becomes the engine's verifier at the door; only that goes on.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// The schema of our own in every server: probes and markers.
pub const OWN_SCHEMA: &str = "coffer";

/// Database names that a tenant cannot have.
pub const RESERVED_DATABASES: [&str; 6] =
    ["mysql", "information_schema", "performance_schema", "sys", "test", OWN_SCHEMA];

/// User names that a tenant cannot have; names that begin with `coffer` are ours, too.
pub const RESERVED_USERS: [&str; 5] = ["root", "os_admin", "mariadb.sys", "mysql.sys", "PUBLIC"];

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
    /// Where it may come from: `%` so far.
    pub host: String,
    /// What the engine keeps in place of the password.
    pub verifier: Verifier,
    /// The databases on which it has every right.
    pub databases: Vec<String>,
}

/// What a MariaDB or MySQL server keeps of a password for `mysql_native_password`: `*` and 40 hex digits.
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
    fn a_verifier_is_what_the_server_would_keep() {
        // SELECT PASSWORD('password') of any MySQL or MariaDB server.
        assert_eq!(Verifier::native("password").expose(), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        assert_eq!(format!("{:?}", Verifier::native("password")), "Verifier(..)");
    }
}
