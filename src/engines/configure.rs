//! The parameters of an engine's servers that their customers may set, and having a server take their values.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::operation::Refused;
use crate::domain::parameter::Parameter;
use crate::engines::{Error, Server};

/// How a server stands to the values that its configuration has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether one of them has no effect before the server's next start.
    pub needs_restart: bool,
    /// How many connections of tenants it takes: those of ours are not among them.
    pub connections: u32,
}

/// What an engine does of configuration groups.
#[async_trait]
pub trait Configure {
    /// The parameters that customers may set, where the engine knows them without a server.
    fn fixed_parameters(&self) -> Option<Vec<Parameter>> {
        None
    }

    /// The parameters that customers may set, by name, as a server that runs tells them.
    ///
    /// # Errors
    /// The server's.
    async fn parameters(&self, server: &Server) -> Result<Vec<Parameter>, Error>;

    /// What the server's configuration has of them without a group: by the flavor, or since we chose otherwise than the engine.
    fn defaults(&self, server: &Server) -> BTreeMap<String, Value>;

    /// Has a server that runs take the values of `server.settings`: they are in its configuration first, then, where that can
    /// be, in the running server; what a group does not name any more gets its default again. Gives the reason where the
    /// server will never take them.
    ///
    /// # Errors
    /// The server's.
    async fn configure(&self, server: &Server) -> Result<Option<Refused>, Error>;

    /// Has a server that runs show the certificate of `server.tls` to who connects from now on, and know its authorities.
    /// Connections that are open go on.
    ///
    /// # Errors
    /// The server's.
    async fn show_certificate(&self, server: &Server) -> Result<(), Error>;

    /// How it stands to them now, by asking it.
    ///
    /// # Errors
    /// The server's.
    async fn standing(&self, server: &Server) -> Result<Standing, Error>;
}
