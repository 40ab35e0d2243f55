//! Flavors: the memory that an instance is given.

use crate::domain::ids::FlavorId;

/// A flavor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flavor {
    /// Its id: text that is digits for the seeded ones.
    pub id: FlavorId,
    /// Its name, `2GB Instance` for example.
    pub name: String,
    /// Memory in MB.
    pub ram_mb: i32,
    /// Virtual processors.
    pub vcpus: i32,
}
