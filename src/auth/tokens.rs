//! The tokens of the built-in identity: JWTs signed with ES256 under a key pair of the state folder.
//!
//! What is checked is written out here and not left to a default: the algorithm is ES256 and no other, whatever the
//! token's header says (so neither `none` nor an HMAC made with the public key passes); `exp`, `iss` and `sub` must
//! be there; the issuer is this state folder's; no leeway.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::auth::signature_check::CheckedTokens;

/// The longest token that is looked at, in bytes; ours have about 500.
const LONGEST: usize = 8 * 1024;

/// What a token says. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The state folder that made it.
    pub iss: String,
    /// The user's id.
    pub sub: String,
    /// The project's id; `None` in an unscoped token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The roles in the project.
    #[serde(default)]
    pub roles: Vec<String>,
    /// How its holder proved who it is, `password` for example.
    #[serde(default)]
    pub methods: Vec<String>,
    /// When it was made.
    pub iat: i64,
    /// When it ends.
    pub exp: i64,
    /// Its own id.
    pub jti: String,
}

/// Why a key or a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library refused to make or read a key.
    #[error("the identity's signing key cannot be {0}")]
    Key(&'static str),
    /// A token could not be signed.
    #[error("a token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A token that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token does not hold")]
pub struct BadToken;

/// Makes a key pair for ES256, as PKCS#8.
///
/// # Errors
/// [`Error::Key`].
pub fn generate_key() -> Result<Zeroizing<Vec<u8>>, Error> {
    let pair =
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| Error::Key("generated"))?;
    let document = pair.to_pkcs8v1().map_err(|_| Error::Key("generated"))?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// Signs and checks tokens.
pub struct TokenKeys {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
    issuer: String,
    checked: CheckedTokens,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys(..)")
    }
}

impl TokenKeys {
    /// Reads a PKCS#8 key pair; tokens are made and accepted for `issuer` alone.
    ///
    /// # Errors
    /// [`Error::Key`] when it is not a P-256 key pair.
    pub fn new(pkcs8: &[u8], issuer: &str) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|_| Error::Key("read"))?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.algorithms = vec![Algorithm::ES256];
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.leeway = 0;
        validation.validate_exp = true;
        validation.validate_nbf = true;
        // Our tokens have no audience: one that names any was made for somebody else, and is refused below.
        validation.validate_aud = false;
        Ok(Self {
            signing: EncodingKey::from_ec_der(pkcs8),
            checking: DecodingKey::from_ec_der(pair.public_key().as_ref()),
            validation,
            issuer: issuer.to_owned(),
            checked: CheckedTokens::default(),
        })
    }

    /// For whom tokens are made.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &self.signing).map_err(Error::Sign)
    }

    /// What `token` says, when it is one of ours and holds now.
    ///
    /// # Errors
    /// [`BadToken`], without saying what is wrong with it.
    pub fn check(&self, token: &str) -> Result<Arc<Claims>, BadToken> {
        if token.len() > LONGEST {
            return Err(BadToken);
        }
        self.checked.claims(token, chrono::Utc::now().timestamp(), || self.prove(token))
    }

    fn prove(&self, token: &str) -> Result<Claims, BadToken> {
        // One look at all claims, so that what is validated and what is used are the same bytes.
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &self.checking, &self.validation)
            .map_err(|_| BadToken)?
            .claims;
        if claims.get("aud").is_some() {
            return Err(BadToken);
        }
        serde_json::from_value(claims).map_err(|_| BadToken)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn now() -> i64 {
        chrono::Utc::now().timestamp()
    }

    fn claims() -> Claims {
        Claims {
            iss: "here".into(),
            sub: "u".into(),
            project: Some("p".into()),
            roles: vec!["member".into()],
            methods: vec!["password".into()],
            iat: now(),
            exp: now() + 60,
            jti: "1".into(),
        }
    }

    fn part(value: &serde_json::Value) -> String {
        BASE64.encode(value.to_string())
    }

    #[test]
    fn a_token_of_ours_holds() {
        let keys = TokenKeys::new(&generate_key().unwrap(), "here").unwrap();
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.check(&token).unwrap().sub, "u");
        assert_eq!(format!("{keys:?}"), "TokenKeys(..)");
    }

    #[test]
    fn every_forged_or_stale_token_is_refused() {
        let pkcs8 = generate_key().unwrap();
        let keys = TokenKeys::new(&pkcs8, "here").unwrap();
        let others = TokenKeys::new(&generate_key().unwrap(), "here").unwrap();
        let elsewhere = TokenKeys::new(&pkcs8, "elsewhere").unwrap();
        let good = keys.sign(&claims()).unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        let [head, body, signature] = parts[..] else { panic!("three parts") };
        let body_now = serde_json::to_value(claims()).unwrap();
        let mut admin = body_now.clone();
        admin["roles"] = json!(["admin"]);
        let public = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        let hmac = |secret: &[u8]| {
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret))
                .unwrap()
        };
        let signed = |value: &serde_json::Value| {
            jsonwebtoken::encode(&Header::new(Algorithm::ES256), value, &keys.signing).unwrap()
        };
        let without = |key: &str| {
            let mut value = body_now.clone();
            value.as_object_mut().unwrap().remove(key);
            signed(&value)
        };
        let with = |key: &str, to: serde_json::Value| {
            let mut value = body_now.clone();
            value[key] = to;
            signed(&value)
        };
        let pem_like: Vec<u8> = public.public_key().as_ref().to_vec();
        for (what, token) in [
            ("empty", String::new()),
            ("words", "not a token".into()),
            ("one part", head.to_owned()),
            ("two parts", format!("{head}.{body}")),
            ("four parts", format!("{good}.{signature}")),
            ("no signature", format!("{head}.{body}.")),
            ("another body", format!("{head}.{}.{signature}", part(&admin))),
            ("alg none", format!("{}.{body}.", part(&json!({"alg": "none", "typ": "JWT"})))),
            ("alg None, old signature", format!("{}.{body}.{signature}", part(&json!({"alg": "None"})))),
            ("alg of another family", format!("{}.{body}.{signature}", part(&json!({"alg": "RS256"})))),
            ("alg of another curve", format!("{}.{body}.{signature}", part(&json!({"alg": "ES384"})))),
            ("hmac with the public key", hmac(&pem_like)),
            ("hmac with nothing", hmac(b"")),
            ("another's key", others.sign(&claims()).unwrap()),
            ("another's issuer", elsewhere.sign(&Claims { iss: "elsewhere".into(), ..claims() }).unwrap()),
            ("expired", keys.sign(&Claims { exp: now() - 1, ..claims() }).unwrap()),
            ("long expired", keys.sign(&Claims { exp: 1, ..claims() }).unwrap()),
            ("not yet", with("nbf", json!(now() + 60))),
            ("for an audience", with("aud", json!("somebody"))),
            ("no exp", without("exp")),
            ("no iss", without("iss")),
            ("no sub", without("sub")),
            ("exp is text", with("exp", json!("tomorrow"))),
            ("sub is a number", with("sub", json!(7))),
            ("roles are no list", with("roles", json!("admin"))),
            ("huge", "a".repeat(LONGEST + 1)),
            ("not ascii", "é.é.é".into()),
        ] {
            assert_eq!(keys.check(&token), Err(BadToken), "{what}");
        }
        // A signature with one bit turned.
        let mut raw = BASE64.decode(signature).unwrap();
        raw[10] ^= 1;
        assert!(keys.check(&format!("{head}.{body}.{}", BASE64.encode(raw))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_a_token(text in "\\PC{0,200}") {
            let keys = TokenKeys::new(&generate_key().unwrap(), "here").unwrap();
            prop_assert!(keys.check(&text).is_err());
        }
    }
}
