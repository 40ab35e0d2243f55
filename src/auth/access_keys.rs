//! Signed requests become callers: the key that a request names is looked up, its secret must have signed it, its time
//! must be near ours, and its nonce new (api-ref: `access-keys.md`). A key acts with its user's roles in its project.
//!
//! # If we die here
//! A nonce is taken before the request is answered: the client of one that was lost signs it anew.

use chrono::{DateTime, TimeDelta, Utc};

use crate::auth::signatures::Claim;
use crate::db::{self, Db, access_keys};
use crate::domain::access_key::{AccessKey, SKEW_MINUTES};
use crate::domain::caller::Caller;
use crate::seal::{self, Sealer};

/// Why a signed request has no caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its time lies more than 15 minutes from ours.
    #[error("the request's time lies more than {SKEW_MINUTES} minutes from ours")]
    Expired,
    /// There is no such key, or it is disabled.
    #[error("there is no such access key")]
    UnknownKey,
    /// Another secret signed it, or what was signed is not what came.
    #[error("the signature does not match")]
    Mismatch {
        /// What should have been signed. It may hold what the request holds.
        string_to_sign: String,
    },
    /// A request with this nonce has been answered.
    #[error("the nonce was used before")]
    NonceUsed,
    /// The store cannot be asked.
    #[error("the access keys cannot be read")]
    Store(#[from] db::Error),
    /// A secret does not open.
    #[error("the access key's secret does not open")]
    Sealed(#[from] seal::Error),
}

/// Finds who signed.
#[derive(Clone)]
pub struct AccessKeys {
    db: Db,
    sealer: Sealer,
}

impl AccessKeys {
    /// Of this store; the secrets are sealed by `sealer`.
    pub const fn new(db: Db, sealer: Sealer) -> Self {
        Self { db, sealer }
    }

    /// Who signed a request, at this moment.
    ///
    /// # Errors
    /// [`Error`], in its order.
    pub async fn caller(&self, claim: &Claim, now: DateTime<Utc>) -> Result<Caller, Error> {
        if (now - claim.at).abs() > TimeDelta::minutes(SKEW_MINUTES) {
            return Err(Error::Expired);
        }
        let id = claim.access_key.clone();
        let found: Result<_, db::Error> = self.db.run(move |conn| access_keys::find(conn, &id)).await;
        let sealed = found?.filter(|sealed| sealed.key.enabled).ok_or(Error::UnknownKey)?;
        let mut is_signed = false;
        for secret in [Some(&sealed.secret), sealed.old.as_ref()].into_iter().flatten() {
            let secret = self.sealer.unseal(&AccessKey::purpose(&sealed.key.id), secret)?;
            is_signed |= claim.is_signed_with(&secret);
        }
        if !is_signed {
            return Err(Error::Mismatch { string_to_sign: claim.string_to_sign.clone() });
        }
        if let Some(nonce) = claim.nonce.clone() {
            let id = sealed.key.id.clone();
            let taken: Result<_, db::Error> =
                self.db.transact(move |conn| access_keys::take_nonce(conn, &id, &nonce)).await;
            if !taken? {
                return Err(Error::NonceUsed);
            }
        }
        Ok(sealed.key.caller())
    }
}
