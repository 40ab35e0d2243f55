//! The second of Alibaba's ways: HMAC-SHA256 over method, path, query, headers and the body's hash.

use crate::auth::signatures::{
    Claim, Hash, SignatureError, SignedRequest, canonical, decoded, encoded, field, fields, pairs, sha256,
    short, signature_of_hex, time,
};

/// How the `Authorization` of such a request begins.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What must be signed: else a request could be sent to another service, or for something else.
const SIGNED: [&str; 6] =
    ["host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"];

/// Whether a request is signed in this way, well or badly.
pub fn is_meant(request: &SignedRequest<'_>) -> bool {
    request.headers.iter().any(|(name, value)| name == "authorization" && value.starts_with(b"ACS3-"))
}

/// Reads a request's claim.
///
/// # Errors
/// What is wrong with it, by the header's name.
pub fn claim(request: &SignedRequest<'_>) -> Result<Claim, SignatureError> {
    let authorization = request.needed("authorization")?;
    let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if algorithm != ALGORITHM {
        return Err(SignatureError::Unsupported { name: "Authorization", expected: ALGORITHM });
    }
    let fields = fields(rest);
    let access_key = short("Credential", field(&fields, "Credential")?)?;
    let signed = field(&fields, "SignedHeaders")?;
    let signature = signature_of_hex(field(&fields, "Signature")?)?;
    let date = request.header("x-acs-date")?.unwrap_or_default();
    let at = time("x-acs-date", date, "%Y-%m-%dT%H:%M:%SZ", "2026-11-22T02:56:18Z")?;
    let nonce = short("x-acs-signature-nonce", request.needed("x-acs-signature-nonce")?)?;
    let hash = sha256(request.body);
    if request.needed("x-acs-content-sha256")? != hash {
        let why = "must be the body's SHA-256 in lower-case hexadecimal digits";
        return Err(SignatureError::Malformed { name: "x-acs-content-sha256", why });
    }
    let headers = request.canonical_headers(signed, &SIGNED)?;
    let path: Vec<_> = request
        .path
        .split('/')
        .map(|part| decoded(part, false).map(|part| encoded(&part)))
        .collect::<Result<_, _>>()?;
    let query = canonical(&pairs(request.query)?);
    let method = request.method.to_ascii_uppercase();
    let canonical = format!("{method}\n{}\n{query}\n{headers}\n{signed}\n{hash}", path.join("/"));
    let string_to_sign = format!("{ALGORITHM}\n{}", sha256(canonical));
    Ok(Claim { access_key, at, nonce: Some(nonce), string_to_sign, hash: Hash::Sha256, signature })
}
