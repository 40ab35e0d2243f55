//! Huawei's way: HMAC-SHA256 over method, path, query, headers and the body's hash, with the time beside it. There is no
//! nonce: what was heard can be sent again for as long as its time is near, so it belongs behind TLS.

use crate::auth::signatures::{
    Claim, Hash, SignatureError, SignedRequest, canonical, decoded, encoded, field, fields, pairs, sha256,
    short, signature_of_hex, time,
};

/// How the `Authorization` of such a request begins.
pub const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// What must be signed.
const SIGNED: [&str; 2] = ["host", "x-sdk-date"];

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
    let access_key = short("Access", field(&fields, "Access")?)?;
    let signed = field(&fields, "SignedHeaders")?;
    let signature = signature_of_hex(field(&fields, "Signature")?)?;
    let date = request.header("x-sdk-date")?.unwrap_or_default();
    let at = time("X-Sdk-Date", date, "%Y%m%dT%H%M%SZ", "20261122T025736Z")?;
    let hash = sha256(request.body);
    match request.header("x-sdk-content-sha256")? {
        Some("UNSIGNED-PAYLOAD") => {
            return Err(SignatureError::Unsupported {
                name: "X-Sdk-Content-Sha256",
                expected: "the body's SHA-256",
            });
        }
        Some(told) if told != hash => {
            let why = "must be the body's SHA-256 in lower-case hexadecimal digits";
            return Err(SignatureError::Malformed { name: "X-Sdk-Content-Sha256", why });
        }
        Some(_) | None => {}
    }
    let headers = request.canonical_headers(signed, &SIGNED)?;
    let mut path = String::new();
    // Decoded as a whole first: an encoded slash is one between segments, too.
    for segment in decoded(request.path, false)?.split('/').skip(1) {
        path.extend(["/", &encoded(segment)]);
    }
    if !path.ends_with('/') {
        path.push('/');
    }
    let query = canonical(&pairs(request.query)?);
    let method = request.method.to_ascii_uppercase();
    let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{hash}");
    let string_to_sign = format!("{ALGORITHM}\n{date}\n{}", sha256(canonical));
    Ok(Claim { access_key, at, nonce: None, string_to_sign, hash: Hash::Sha256, signature })
}
