//! The first of Alibaba's ways: HMAC-SHA1 over method and parameters, which come in the query, in a form, or in both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::signatures::{Claim, Hash, SignatureError, SignedRequest, canonical, encoded, short, time};

/// The name that the time has, and one that is right.
const TIME: &str = "Timestamp";
const EXAMPLE: &str = "2026-11-22T02:56:18Z";

/// Reads a request's claim; `parameters` are all of its query and of its form, decoded.
///
/// # Errors
/// What is wrong with it, by the parameter's name.
pub fn claim(request: &SignedRequest<'_>, parameters: &[(String, String)]) -> Result<Claim, SignatureError> {
    let access_key = short("AccessKeyId", needed(parameters, "AccessKeyId")?)?;
    let signature = needed(parameters, "Signature")?;
    // What is absent is what the one supported way says.
    for (name, expected) in [("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0")] {
        match one(parameters, name)? {
            Some(value) if !value.eq_ignore_ascii_case(expected) => {
                return Err(SignatureError::Unsupported { name, expected });
            }
            Some(_) | None => {}
        }
    }
    let at = match one(parameters, TIME)? {
        Some(text) => time(TIME, text, "%Y-%m-%dT%H:%M:%SZ", EXAMPLE)?,
        None => return Err(SignatureError::Time { name: TIME, example: EXAMPLE }),
    };
    let nonce = short("SignatureNonce", needed(parameters, "SignatureNonce")?)?;
    let signature = STANDARD
        .decode(signature)
        .ok()
        .filter(|bytes| bytes.len() == 20)
        .ok_or(SignatureError::Malformed { name: "Signature", why: "must be the base64 of 20 bytes" })?;
    let signed: Vec<_> = parameters.iter().filter(|(name, _)| name != "Signature").cloned().collect();
    let string_to_sign =
        format!("{}&%2F&{}", request.method.to_ascii_uppercase(), encoded(&canonical(&signed)));
    Ok(Claim { access_key, at, nonce: Some(nonce), string_to_sign, hash: Hash::Sha1, signature })
}

fn one<'a>(
    parameters: &'a [(String, String)],
    name: &'static str,
) -> Result<Option<&'a str>, SignatureError> {
    let mut values = parameters.iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str());
    let value = values.next();
    match values.next() {
        Some(_) => Err(SignatureError::Malformed { name, why: "is there twice" }),
        None => Ok(value),
    }
}

fn needed<'a>(parameters: &'a [(String, String)], name: &'static str) -> Result<&'a str, SignatureError> {
    one(parameters, name)?.filter(|value| !value.is_empty()).ok_or(SignatureError::Missing { name })
}
