//! The logs of an engine's servers that their customers read: what they hold, without what is the service's own.

use async_trait::async_trait;

use crate::engines::{Error, Server};

/// Bytes of a log that are published, at most: its end.
pub const MOST_PUBLISHED: usize = 4 << 20;

/// What an engine does of logs. Which of them a server writes, `server.settings.logs` says: [`Configure::configure`] and
/// [`Engine::start`] have it so.
///
/// [`Configure::configure`]: crate::engines::Configure::configure
/// [`Engine::start`]: crate::engines::Engine::start
#[async_trait]
pub trait Logs {
    /// The length in bytes of each log that the server has. A log that is too long is removed, and the server begins an empty one.
    ///
    /// # Errors
    /// The server's, and the runtime's.
    async fn log_lengths(&self, server: &Server) -> Result<Vec<(&'static str, u64)>, Error>;

    /// The end of a log, [`MOST_PUBLISHED`] at most, in whole lines, without what the service itself asked the server and
    /// without its names of files.
    ///
    /// # Errors
    /// The server's, and the runtime's.
    async fn log_end(&self, server: &Server, name: &str) -> Result<Vec<u8>, Error>;
}
