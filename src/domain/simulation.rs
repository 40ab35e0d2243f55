//! What is asked of a simulated instance's steps: how long each takes, and how it fails.

use std::str::FromStr;

use crate::domain::datastore::UnknownWord;

/// The longest that a simulated step takes, in milliseconds: an hour.
pub const LONGEST_MS: u32 = 3_600_000;

/// The word of what is no step of a task: the acceptance of the next upgrade.
pub const ACCEPT: &str = "accept";

/// How a simulated step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulatedFault {
    /// It fails.
    Fail,
    /// It does not end.
    Hang,
    /// The simulated server dies in it.
    Die,
}

impl SimulatedFault {
    /// Every fault.
    pub const ALL: [Self; 3] = [Self::Fail, Self::Hang, Self::Die];

    /// The word in rows and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Hang => "hang",
            Self::Die => "die",
        }
    }
}

impl FromStr for SimulatedFault {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "simulated fault", word: word.to_owned() })
    }
}

/// What is asked of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// How long it takes, in milliseconds.
    pub ms: u32,
    /// How it fails, after that time.
    pub fault: Option<SimulatedFault>,
}
