//! Who asks: a token becomes a [`Caller`]. The service believes nothing else of a request about its sender.
//!
//! [`dev`] is the built-in identity of `coffer dev`; its tokens are checked offline by [`tokens`]. The vendors' clients
//! sign their requests instead: [`signatures`] reads what they signed, [`access_keys`] knows with what.

pub mod access_keys;
pub mod dev;
pub mod signature_check;
pub mod signatures;
pub mod tokens;

use async_trait::async_trait;

use crate::domain::caller::Caller;

/// Why a token gives no caller. None of them holds a part of the token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token is malformed, forged, expired, or names what is not there any more: 401.
    #[error("the token is not valid")]
    Invalid,
    /// The token is valid and scoped to no project: 403.
    #[error("the token is not scoped to a project")]
    Unscoped,
    /// The identity service could not be asked: 503.
    #[error("the identity service cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Turns tokens into callers (api-ref: `faults.md`, 401).
///
/// Every implementation holds: a token that cannot be proven good is [`Error::Invalid`], never a caller with fewer
/// rights; the roles come from the token alone; no error or log line holds a token.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Who sent `token`, the value of `X-Auth-Token`.
    ///
    /// # Errors
    /// [`Error`], one variant a status.
    async fn authenticate(&self, token: &str) -> Result<Caller, Error>;

    /// Where a client gets a token: the `uri` of `WWW-Authenticate`. `base_url` is how the client reached us,
    /// `http://127.0.0.1:8779` for example.
    fn auth_uri(&self, base_url: &str) -> String;
}
