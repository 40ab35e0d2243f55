//! What PostgreSQL takes of what a tenant asks for inside it, and what it keeps for itself. MariaDB's and MySQL's rules
//! are in [`crate::domain::tenant`].

use crate::domain::tenant::OWN_SCHEMA;

/// The longest name, in bytes: what is longer the server cuts, silently.
pub const LONGEST_NAME: usize = 63;

/// Database names that a tenant cannot have.
const RESERVED_DATABASES: [&str; 4] = ["postgres", "template0", "template1", OWN_SCHEMA];

/// Has what was of users that were dropped, where their database has no other. Nobody can log in as it.
pub const ORPHANS: &str = "orphaned_objects";

/// User names that a tenant cannot have, besides those that begin with one of [`RESERVED_STARTS`].
const RESERVED_USERS: [&str; 6] = ["postgres", "public", "none", "root", "os_admin", ORPHANS];

/// The beginnings of user names that are the server's, and ours.
const RESERVED_STARTS: [&str; 2] = ["pg_", OWN_SCHEMA];

/// Names that mean something else in a list of databases or users of the server's host rules.
const WORDS: [&str; 4] = ["all", "sameuser", "samerole", "replication"];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

fn begins_with_one_of(name: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)))
}

/// Whether a database of this name is the system's or ours.
pub fn is_reserved_database(name: &str) -> bool {
    is_one_of(name, &RESERVED_DATABASES)
}

/// Whether a user of this name is the system's or ours.
pub fn is_reserved_user(name: &str) -> bool {
    is_one_of(name, &RESERVED_USERS) || begins_with_one_of(name, &RESERVED_STARTS)
}

/// Why a new database cannot have this name, if it cannot.
pub fn wrong_database(name: &str) -> Option<&'static str> {
    // One of an older instance's that begins like ours is the tenant's all the same.
    if is_reserved_database(name) || is_one_of(name, &WORDS) || begins_with_one_of(name, &[OWN_SCHEMA]) {
        return Some("is reserved");
    }
    wrong_name(name)
}

/// Why a new user cannot have this name, if it cannot.
pub fn wrong_user(name: &str) -> Option<&'static str> {
    if is_reserved_user(name) || is_one_of(name, &WORDS) {
        return Some("is reserved");
    }
    wrong_name(name)
}

fn wrong_name(name: &str) -> Option<&'static str> {
    (name.len() > LONGEST_NAME).then_some("must have 63 bytes at most")
}

/// Whether a database can have this character set, which is lower-case.
pub fn is_character_set(word: &str) -> bool {
    matches!(word, "utf8" | "utf-8" | "unicode")
}

/// The server's name of a collation that a database can have; `word` is lower-case. Those of a language need locales
/// that servers of different versions do not have alike.
pub fn collation(word: &str) -> Option<&'static str> {
    match word {
        "c.utf-8" | "c.utf8" => Some("C.UTF-8"),
        "c" => Some("C"),
        "posix" => Some("POSIX"),
        _other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_system_and_ours_are_refused() {
        for (name, database, user) in [
            ("postgres", false, false),
            ("Template1", false, true),
            ("coffer", false, false),
            ("coffer_x", false, false),
            ("PG_monitor", true, false),
            ("root", true, false),
            ("all", false, false),
            ("shop", true, true),
            ("pgbench", true, true),
            ("päg", true, true),
        ] {
            assert_eq!(
                (wrong_database(name).is_none(), wrong_user(name).is_none()),
                (database, user),
                "{name}"
            );
        }
    }

    #[test]
    fn a_name_ends_at_63_bytes() {
        assert_eq!(wrong_database(&"é".repeat(31)), None);
        assert!(wrong_database(&"é".repeat(32)).is_some());
        assert!(wrong_user(&"x".repeat(64)).is_some());
    }

    #[test]
    fn a_collation_is_told_by_the_servers_name() {
        assert_eq!(collation("c.utf8"), Some("C.UTF-8"));
        assert_eq!(collation("de_de"), None);
        assert!(is_character_set("utf-8") && !is_character_set("utf8mb4"));
    }
}
