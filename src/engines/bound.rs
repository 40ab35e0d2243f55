//! Keeping a server within its volume: what its data takes, what of that is the service's own logs, and keeping tenants
//! from writing while there is no room.

use async_trait::async_trait;

use crate::engines::{Error, Server};

/// What a server's folders take on disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What counts as the tenant's: data, indexes, temporary files, the engine's own tables.
    pub content: u64,
    /// Logs that the service has the engine write, for replication and upgrades. They do not count.
    pub logs: u64,
}

/// What an engine does of a volume's bound.
#[async_trait]
pub trait Bound {
    /// What the server's folders take.
    ///
    /// # Errors
    /// The runtime's.
    async fn taken(&self, server: &Server) -> Result<Taken, Error>;

    /// Has a server that runs refuse its tenants' writes, or take them, as `server.settings.full` says: in its configuration
    /// first, so that a restart comes up the same. Sessions that may be writing are ended when it begins to refuse them.
    /// Not for a server that is fenced, or that follows another.
    ///
    /// # Errors
    /// The server's.
    async fn bound(&self, server: &Server) -> Result<(), Error>;

    /// Removes logs that nobody follows or copies from. Not while a task has the instance.
    ///
    /// # Errors
    /// The server's.
    async fn trim_logs(&self, _server: &Server) -> Result<(), Error> {
        Ok(())
    }
}
