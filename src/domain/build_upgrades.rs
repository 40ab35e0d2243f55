//! Newer builds of a version: minor upgrades, and the policy by which they come without being asked for.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::domain::datastore::{DatastoreVersion, UnknownWord};

/// Whether an instance is upgraded to newer builds of its version without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is not.
    #[default]
    Off,
    /// In its window.
    Window,
}

impl Policy {
    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Window => "window",
        }
    }
}

impl FromStr for Policy {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Off, Self::Window]
            .into_iter()
            .find(|policy| policy.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "policy", word: word.to_owned() })
    }
}

/// What a version's name says besides its number: `enc` of `10.4enc`.
fn edition(name: &str) -> &str {
    name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
}

/// Whether both are builds of the same version: `10.11.18` and `10.11`, and not `10.4` and `10.4enc`.
pub fn are_builds_of_one(a: &DatastoreVersion, b: &DatastoreVersion) -> bool {
    a.datastore_id == b.datastore_id
        && a.engine == b.engine
        && a.runtime == b.runtime
        && a.engine.series(&a.number) == b.engine.series(&b.number)
        && edition(&a.name) == edition(&b.name)
}

/// The order of two numbers, part by part.
pub fn order(a: &str, b: &str) -> Ordering {
    let parts =
        |number: &str| -> Vec<u64> { number.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    parts(a).cmp(&parts(b))
}

/// The newest build of the version that runs, of those that `may` be gone to; `None` where none is newer.
pub fn newest<'a>(
    running: &DatastoreVersion,
    versions: impl Iterator<Item = &'a DatastoreVersion>,
    may: impl Fn(&DatastoreVersion) -> bool,
) -> Option<&'a DatastoreVersion> {
    versions
        .filter(|version| are_builds_of_one(running, version) && version.active)
        .filter(|version| order(&version.number, &running.number) == Ordering::Greater && may(version))
        .max_by(|a, b| order(&a.number, &b.number))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::datastore::{EngineKind, RuntimeKind};
    use crate::domain::ids::{DatastoreId, VersionId};

    fn version(engine: EngineKind, name: &str, number: &str) -> DatastoreVersion {
        DatastoreVersion {
            id: VersionId(Uuid::new_v4()),
            datastore_id: DatastoreId(Uuid::from_u128(1)),
            datastore: engine.as_str().to_owned(),
            name: name.to_owned(),
            number: number.to_owned(),
            engine,
            runtime: RuntimeKind::Process,
            active: true,
        }
    }

    #[test]
    fn the_newest_build_is_of_the_same_version() {
        let all: Vec<_> = [
            ("10.4", "10.4.34"),
            ("10.4.33", "10.4.33"),
            ("10.4.9", "10.4.9"),
            ("10.4enc", "10.4.35"),
            ("10.4.33enc", "10.4.33"),
            ("10", "10.0.38"),
            ("10.0.37", "10.0.37"),
            ("10.11", "10.11.19"),
        ]
        .into_iter()
        .map(|(name, number)| version(EngineKind::MariaDb, name, number))
        .collect();
        let named = |name: &str| all.iter().find(|it| it.name == name).unwrap();
        let goes = |name: &str, may: &dyn Fn(&DatastoreVersion) -> bool| {
            newest(named(name), all.iter(), may).map(|it| it.name.as_str())
        };
        for (from, to) in [
            ("10.4.9", Some("10.4")),
            ("10.4.33", Some("10.4")),
            ("10.4", None),
            ("10.4.33enc", Some("10.4enc")),
            ("10.4enc", None),
            ("10.0.37", Some("10")),
            ("10.11", None),
        ] {
            assert_eq!(goes(from, &|_| true), to, "{from}");
        }
        assert_eq!(
            goes("10.4.9", &|it| it.name != "10.4"),
            Some("10.4.33"),
            "what may not be is passed over"
        );
        assert_eq!(goes("10.4.9", &|_| false), None);
        let (old, new) =
            (version(EngineKind::Postgresql, "11.1", "11.1"), version(EngineKind::Postgresql, "11", "11.22"));
        assert_eq!(newest(&old, [&new, &old].into_iter(), |_| true), Some(&new));
        let inactive = DatastoreVersion { active: false, ..new.clone() };
        assert_eq!(newest(&old, [&inactive].into_iter(), |_| true), None);
    }

    #[test]
    fn numbers_have_an_order_and_words_read_back() {
        for (less, more) in [("10.4.9", "10.4.33"), ("9.6", "10.0"), ("11.2", "11.10"), ("11", "11.1")] {
            assert_eq!(order(less, more), Ordering::Less, "{less} {more}");
        }
        for policy in [Policy::Off, Policy::Window] {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        assert!("on".parse::<Policy>().is_err());
    }
}
