//! Flavors: the memory that an instance is given.

use crate::domain::ids::FlavorId;

/// Connections that a tenant may have at once with so much memory, in MB: one at work takes some megabytes.
pub fn client_connections(ram_mb: u32) -> u32 {
    (ram_mb / 8).clamp(50, 500)
}

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

impl Flavor {
    /// Connections that a tenant may have at once.
    pub fn connections(&self) -> u32 {
        client_connections(u32::try_from(self.ram_mb).unwrap_or_default())
    }
}
