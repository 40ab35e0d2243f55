//! The authorities that sign the certificates of instances' servers, as they follow one another.
//!
//! # Decision
//! Clients hold a server against a file that they fetched once. So a new authority is *announced* first, and fetched along with
//! the one that signs; it *signs* when an operator knows that clients have it; the *old* one goes when no server shows its
//! certificate any more. Each step is the operator's: nobody else knows what clients have.

use crate::domain::datastore::UnknownWord;

/// What an authority is to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityState {
    /// Clients are given its certificate, and it signs nothing yet.
    Announced,
    /// It signs what is made.
    Signing,
    /// It signs nothing any more, and what it signed may be about.
    Old,
}

impl AuthorityState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Announced, Self::Signing, Self::Old];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Signing => "signing",
            Self::Old => "old",
        }
    }
}

impl std::str::FromStr for AuthorityState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "state of an authority", word: word.to_owned() })
    }
}
