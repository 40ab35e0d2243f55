//! How far an instance's volume is filled, and what that means for its tenants.
//!
//! # Decision
//! A volume is full at 95 % of its size: tenants may read, and writes are refused. It has room again below 90 %, so that one
//! that stands at the bound does not go back and forth. Beyond its size nobody comes in: what still writes then (a session of
//! PostgreSQL that asked for a transaction that writes, temporary tables) is ended.

use crate::domain::datastore::UnknownWord;

/// Bytes of a GB of `volume.size`.
const GB: u64 = 1 << 30;

/// How far a volume is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeState {
    /// There is room.
    #[default]
    Room,
    /// It is nearly full: tenants are kept from writing.
    Full,
    /// More is in it than its size: tenants are kept out.
    Over,
}

impl VolumeState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Room, Self::Full, Self::Over];

    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Full => "full",
            Self::Over => "over",
        }
    }

    /// The state of a volume of `size_gb` that was in this one, once `used` bytes are in it.
    #[must_use]
    pub fn after(self, used: u64, size_gb: i32) -> Self {
        let size = u64::try_from(size_gb).unwrap_or_default().saturating_mul(GB);
        let at_least = |percent: u64| used >= size / 100 * percent;
        match self {
            _ if at_least(100) => Self::Over,
            Self::Over | Self::Full if at_least(90) => Self::Full,
            _ if at_least(95) => Self::Full,
            _ => Self::Room,
        }
    }

    /// Whether tenants are kept from writing.
    pub const fn is_full(self) -> bool {
        !matches!(self, Self::Room)
    }

    /// What a tenant is told of it; `None` where there is room.
    pub fn told(self, size_gb: i32) -> Option<String> {
        let remedy =
            "Make the volume larger, or delete a database by the API; it is taken back by itself then.";
        match self {
            Self::Room => None,
            Self::Full => Some(format!(
                "The volume of {size_gb} GB is full: 95 % of it are in use, so that the database takes no writes. {remedy}"
            )),
            Self::Over => Some(format!(
                "More is in the volume than its {size_gb} GB, so that the database takes no connections. {remedy}"
            )),
        }
    }
}

impl std::str::FromStr for VolumeState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "volume state", word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::VolumeState::{Full, Over, Room};
    use super::*;

    #[test]
    fn a_volume_is_full_from_95_to_90_percent() {
        let used = |percent: u64| 2 * GB / 100 * percent;
        for (before, percent, after) in [
            (Room, 0, Room),
            (Room, 94, Room),
            (Room, 95, Full),
            (Full, 94, Full),
            (Full, 90, Full),
            (Full, 89, Room),
            (Room, 101, Over),
            (Full, 101, Over),
            (Over, 99, Full),
            (Over, 92, Full),
            (Over, 89, Room),
        ] {
            assert_eq!(before.after(used(percent), 2), after, "{before:?} at {percent} %");
        }
        assert_eq!(Over.after(GB, 5), Room, "it was made larger");
        assert_eq!(Room.after(1, 0), Over);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for state in VolumeState::ALL {
            assert_eq!(state.as_str().parse::<VolumeState>().unwrap(), state);
        }
    }
}
