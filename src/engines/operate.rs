//! Short writes that a customer asks for: databases, users, rights, passwords, root.

use async_trait::async_trait;

use crate::domain::operation::{Operation, Refused};
use crate::engines::{Error, Server};

/// What an engine does of an [`Operation`].
#[async_trait]
pub trait Operate {
    /// Whether the customer has an account `root` in the server.
    ///
    /// # Errors
    /// The server's.
    async fn has_root(&self, server: &Server) -> Result<bool, Error>;

    /// Does an operation that was found possible ([`impossible`](crate::domain::operation::impossible)), now or before a
    /// worker died: what is done already is left alone. Gives the reason where the server will never do it.
    ///
    /// # Errors
    /// The server's.
    async fn operate(&self, server: &Server, operation: &Operation) -> Result<Option<Refused>, Error>;
}
