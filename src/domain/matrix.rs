//! The matrix of allowed upgrades: an upgrade is allowed because a row says so, never because one version is
//! higher than another.

use std::str::FromStr;

use crate::domain::datastore::{DatastoreVersion, UnknownWord};
use crate::domain::ids::{PathId, VersionId};

/// A way in which a row of the matrix is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A new instance that replicates from the old one until the customer detaches it.
    Replica,
    /// The same instance, its data converted while it is held.
    InPlace,
    /// The same instance, fed by replication, then cut over.
    Twin,
    /// A group, member by member.
    Rolling,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Replica, Self::InPlace, Self::Twin, Self::Rolling];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::InPlace => "in_place",
            Self::Twin => "twin",
            Self::Rolling => "rolling",
        }
    }
}

impl FromStr for Way {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|way| way.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "way", word: word.to_owned() })
    }
}

/// A row of the matrix as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its id.
    pub id: PathId,
    /// The version that the instance must have.
    pub from: DatastoreVersion,
    /// The version that it may go to.
    pub to: DatastoreVersion,
    /// The ways that it is open to.
    pub ways: Vec<Way>,
    /// Whether it is in force.
    pub enabled: bool,
    /// What an operator says of it.
    pub note: String,
}

/// A row of the matrix: from the instance's version, to `to`, open to `ways`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The version that the instance must have.
    pub from: VersionId,
    /// The version that it may go to.
    pub to: DatastoreVersion,
    /// The words of the ways that it is open to.
    pub ways: Vec<String>,
    /// Whether the row is in force.
    pub enabled: bool,
}

impl Path {
    /// Whether an upgrade from `from` may take this row by `way`.
    pub fn leads(&self, from: VersionId, way: Way) -> bool {
        self.enabled && self.to.active && self.from == from && self.ways.iter().any(|w| w == way.as_str())
    }
}
