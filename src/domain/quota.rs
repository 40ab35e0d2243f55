//! How much a project may have.

use std::str::FromStr;

use crate::domain::datastore::UnknownWord;
use crate::domain::refusal::Refusal;

/// What is counted. The words are Trove's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Instances that are not deleted; an upgrade's new one counts.
    Instances,
    /// Their volumes together, in GB.
    Volumes,
    /// Backups; none are made yet.
    Backups,
    /// Their memory together, in MB.
    Ram,
}

impl Resource {
    /// Every resource, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Instances, Self::Volumes, Self::Backups, Self::Ram];

    /// The word in rows and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Volumes => "volumes",
            Self::Backups => "backups",
            Self::Ram => "ram",
        }
    }
}

impl FromStr for Resource {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|resource| resource.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "resource", word: word.to_owned() })
    }
}

/// The most of each resource; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    most: [Option<u32>; 4],
}

impl Quota {
    /// No limit at all.
    pub const NONE: Self = Self { most: [None; 4] };
    /// Trove's defaults.
    pub const TROVE: Self = Self { most: [Some(10), Some(40), Some(50), None] };
    /// Rackspace's absolute limits.
    pub const RACKSPACE: Self = Self { most: [Some(25), None, None, None] };

    /// The most of `resource`.
    pub const fn most(&self, resource: Resource) -> Option<u32> {
        self.most[resource as usize]
    }

    /// The same with another limit of one resource.
    #[must_use]
    pub const fn with(mut self, resource: Resource, most: Option<u32>) -> Self {
        self.most[resource as usize] = most;
        self
    }

    /// Whether a project that has `used` may have `more` besides.
    ///
    /// # Errors
    /// [`Refusal::OverQuota`] naming every resource of which there would be too much. What is not asked for is not
    /// refused, though there be more of it than a limit that was lowered allows.
    pub fn allow(&self, used: &Usage, more: &Usage) -> Result<(), Refusal> {
        let over: Vec<&'static str> = Resource::ALL
            .into_iter()
            .filter(|&resource| {
                let (have, add) = (used.of(resource), more.of(resource));
                add > 0 && self.most(resource).is_some_and(|most| have.saturating_add(add) > i64::from(most))
            })
            .map(Resource::as_str)
            .collect();
        if over.is_empty() { Ok(()) } else { Err(Refusal::OverQuota { resources: over }) }
    }
}

/// How much there is of each resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instances.
    pub instances: i64,
    /// GB of their volumes.
    pub volumes_gb: i64,
    /// MB of their memory.
    pub ram_mb: i64,
}

impl Usage {
    /// What one more instance takes.
    pub fn of_instance(volume_gb: i32, ram_mb: i32) -> Self {
        Self { instances: 1, volumes_gb: volume_gb.into(), ram_mb: ram_mb.into() }
    }

    /// How much there is of `resource`.
    pub const fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Instances => self.instances,
            Resource::Volumes => self.volumes_gb,
            Resource::Backups => 0,
            Resource::Ram => self.ram_mb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_fits_and_the_next_does_not() {
        let quota = Quota::NONE.with(Resource::Instances, Some(2)).with(Resource::Volumes, Some(10));
        let have = |instances, volumes_gb| Usage { instances, volumes_gb, ram_mb: 0 };
        for (used, gb, over) in [
            (have(1, 4), 6, &[][..]),
            (have(1, 4), 7, &["volumes"]),
            (have(2, 4), 6, &["instances"]),
            (have(2, 40), 1, &["instances", "volumes"]),
            (have(0, 0), i32::MAX, &["volumes"]),
        ] {
            let told = quota.allow(&used, &Usage::of_instance(gb, 512));
            match over {
                [] => assert_eq!(told, Ok(())),
                over => assert_eq!(told, Err(Refusal::OverQuota { resources: over.to_vec() })),
            }
        }
        assert_eq!(Quota::NONE.allow(&have(i64::MAX, i64::MAX), &Usage::of_instance(1, 1)), Ok(()));
    }

    #[test]
    fn a_lowered_limit_refuses_only_what_is_asked_for() {
        let quota = Quota::NONE.with(Resource::Volumes, Some(1));
        let more = Usage { instances: 1, ..Usage::default() };
        assert_eq!(quota.allow(&Usage { instances: 1, volumes_gb: 9, ram_mb: 0 }, &more), Ok(()));
    }

    #[test]
    fn a_refusal_is_troves_text() {
        let told = Refusal::OverQuota { resources: vec!["instances", "volumes"] }.to_string();
        assert_eq!(told, "Quota exceeded for resources: ['instances', 'volumes'].");
        for resource in Resource::ALL {
            assert_eq!(resource.as_str().parse(), Ok(resource));
        }
    }
}
