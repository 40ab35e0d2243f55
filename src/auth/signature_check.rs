//! Tokens whose signature was checked a moment ago: a cache, so that the signature of one is checked once and not with
//! every request. The token itself is not kept, only its SHA-256. What a token says ends with it: the time is looked at
//! each time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

use crate::auth::tokens::Claims;

/// Tokens that are remembered; beyond that the cache is emptied, and each is checked again.
const MOST: usize = 10_000;

/// A token's SHA-256.
type Print = [u8; 32];

/// What the tokens say whose signature was checked.
#[derive(Default)]
pub struct CheckedTokens(RwLock<HashMap<Print, Arc<Claims>>>);

impl CheckedTokens {
    /// What `token` says, if its signature was checked before and it has not ended at `now`, in seconds since 1970;
    /// else what `prove` finds.
    ///
    /// # Errors
    /// Those of `prove`; what it refuses is not remembered.
    pub fn claims<E>(
        &self,
        token: &str,
        now: i64,
        prove: impl FnOnce() -> Result<Claims, E>,
    ) -> Result<Arc<Claims>, E> {
        let print: Print = Sha256::digest(token.as_bytes()).into();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&print).cloned();
        if let Some(claims) = known.filter(|claims| claims.exp > now) {
            return Ok(claims);
        }
        let claims = Arc::new(prove()?);
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MOST {
            tokens.clear();
        }
        tokens.insert(print, Arc::clone(&claims));
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(exp: i64) -> Claims {
        Claims {
            iss: "here".into(),
            sub: "u".into(),
            project: None,
            roles: Vec::new(),
            methods: Vec::new(),
            iat: 0,
            exp,
            jti: "1".into(),
        }
    }

    #[test]
    fn a_proof_holds_until_the_token_ends_and_for_no_other() {
        let checked = CheckedTokens::default();
        assert!(checked.claims("a", 5, || Ok::<_, ()>(claims(10))).is_ok());
        assert!(checked.claims("a", 9, || Err(())).is_ok(), "remembered");
        assert!(checked.claims("a", 10, || Err(())).is_err(), "ended");
        assert!(checked.claims("b", 5, || Err(())).is_err(), "another");
        assert!(checked.claims("b", 5, || Err(())).is_err(), "a refusal is not remembered as a proof");
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let checked = CheckedTokens::default();
        for number in 0..=MOST {
            checked.claims(&number.to_string(), 5, || Ok::<_, ()>(claims(10))).unwrap();
        }
        assert_eq!(checked.0.read().unwrap().len(), 1);
    }
}
