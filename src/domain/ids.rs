//! Ids as types, so that two of them never swap silently.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Takes the dashed form only, as Trove does: 32 hex digits without dashes are a project's id.
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                let id = Uuid::parse_str(text)?;
                if text.len() == 36 { Ok(Self(id)) } else { Uuid::parse_str("").map(Self) }
            }
        }
    };
}

uuid_id!(
    /// An instance: what a tenant owns.
    InstanceId
);
uuid_id!(
    /// A group: a primary and its standby.
    GroupId
);
uuid_id!(
    /// A generation: one engine server with its own data directory.
    GenerationId
);
uuid_id!(
    /// A task: a durable piece of work.
    TaskId
);
uuid_id!(
    /// A datastore, `mariadb` for example.
    DatastoreId
);
uuid_id!(
    /// A version of a datastore.
    VersionId
);
uuid_id!(
    /// A row of the matrix of upgrades.
    PathId
);
uuid_id!(
    /// A question to an engine, answered by a worker.
    QuestionId
);
uuid_id!(
    /// A configuration group: values of parameters.
    ConfigurationId
);
uuid_id!(
    /// An operation at an instance's server, done by a worker.
    OperationId
);

impl TaskId {
    /// What a task's sealed secrets are bound to.
    pub fn secrets_purpose(self) -> String {
        format!("task {self}")
    }
}

impl OperationId {
    /// What an operation's sealed payload is bound to.
    pub fn payload_purpose(self) -> String {
        format!("operation {self}")
    }
}

impl GroupId {
    /// The key of its address, its holds and what the endpoint acknowledges: those are an instance's or a group's.
    pub const fn address(self) -> InstanceId {
        InstanceId(self.0)
    }
}

impl InstanceId {
    /// What the sealed private key of an instance's certificate is bound to.
    pub fn certificate_purpose(self) -> String {
        format!("instance {self} certificate key")
    }
}

impl GenerationId {
    /// What the sealed password of our own account in a generation's server is bound to.
    pub fn service_purpose(self) -> String {
        format!("generation {self} service")
    }
}

/// A project: `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectId(String);

impl ProjectId {
    /// The project's id if `text` can be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        fits.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host on which a worker and an endpoint serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub String);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A flavor's id: text, as instances show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlavorId(pub String);

impl fmt::Display for FlavorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_a_dashed_uuid() {
        for (text, fits) in [
            ("0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e", true),
            ("0B1F6D52-90AA-4B6F-9D0E-6F2B1F3C4D5E", true),
            ("0b1f6d5290aa4b6f9d0e6f2b1f3c4d5e", false),
            ("{0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e}", false),
            ("orders", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<InstanceId>().is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn a_project_id_is_short_and_plain() {
        for (text, fits) in [("1234", true), ("a_b-C", true), ("", false), ("a/b", false), ("a b", false)] {
            assert_eq!(ProjectId::parse(text).is_some(), fits, "{text}");
        }
        assert!(ProjectId::parse(&"a".repeat(64)).is_some());
        assert!(ProjectId::parse(&"a".repeat(65)).is_none());
    }
}
