//! Signed requests: what each vendor's clients sign, and with what. Pure: a request is read into a [`Claim`], which names
//! the access key, and a claim is checked against that key's secret. Who the key belongs to, whether the time is near
//! and the nonce new, is [`access_keys`](crate::auth::access_keys)' matter (api-ref: `access-keys.md`).
//!
//! What was signed is made again from what was *received*: names and values are decoded and encoded once more, since
//! clients send them in one form and sign them in another; a body is hashed as it came.

pub mod acs3;
pub mod rpc_v1;
pub mod sdk_hmac;

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The longest query that is looked at, in bytes.
const LONGEST_QUERY: usize = 64 * 1024;

/// The most parameters of a request.
const MOST_PARAMETERS: usize = 1_000;

/// The longest access key and nonce, in bytes.
const LONGEST_NAME: usize = 128;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The path, as sent: still encoded.
    pub path: &'a str,
    /// The query, as sent, without its question mark.
    pub query: &'a str,
    /// Name, lower-case, and value of every header line, in order.
    pub headers: &'a [(String, Vec<u8>)],
    /// The body.
    pub body: &'a [u8],
}

/// What is wrong with how a request is signed. None holds a part of a signature or of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A parameter or header that a signed request has is not there.
    #[error("{name} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// One is there and is not what it must be.
    #[error("{name} {why}")]
    Malformed {
        /// Its name.
        name: &'static str,
        /// What was expected.
        why: &'static str,
    },
    /// A way to sign that we do not take.
    #[error("{name} names a way to sign that is not supported; expected {expected}")]
    Unsupported {
        /// The parameter or header.
        name: &'static str,
        /// What is taken.
        expected: &'static str,
    },
    /// The time is absent or not written as it must be.
    #[error("{name} must be a time like {example}")]
    Time {
        /// The parameter or header.
        name: &'static str,
        /// One that is right.
        example: &'static str,
    },
    /// The query or form is longer than anybody needs.
    #[error("the request has more parameters than can be signed")]
    TooLong,
}

/// The keyed hash of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    /// Of a key that has `&` after the secret.
    Sha1,
    Sha256,
}

/// What a signed request says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose key it says to be signed with.
    pub access_key: String,
    /// When it says to have been made.
    pub at: DateTime<Utc>,
    /// What makes it the only one; where its protocol has such a thing.
    pub nonce: Option<String>,
    /// What the client must have signed. It may hold what the request holds.
    pub string_to_sign: String,
    hash: Hash,
    signature: Vec<u8>,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("access_key", &self.access_key)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Claim {
    /// Whether the request was signed with this secret. Takes the same time however wrong it is.
    pub fn is_signed_with(&self, secret: &SecretString) -> bool {
        let secret = secret.expose_secret();
        let key = match self.hash {
            Hash::Sha1 => {
                let key = zeroize::Zeroizing::new(format!("{secret}&"));
                hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes())
            }
            Hash::Sha256 => hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        };
        hmac::verify(&key, self.string_to_sign.as_bytes(), &self.signature).is_ok()
    }
}

impl<'a> SignedRequest<'a> {
    /// The one value of a header.
    fn header(&self, name: &'static str) -> Result<Option<&'a str>, SignatureError> {
        let mut values = self.headers.iter().filter(|(of, _)| of == name).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            return Err(SignatureError::Malformed { name, why: "is there twice" });
        }
        let text = value.map(|value| std::str::from_utf8(value).map(str::trim));
        text.transpose().map_err(|_| SignatureError::Malformed { name, why: "must be UTF-8" })
    }

    fn needed(&self, name: &'static str) -> Result<&'a str, SignatureError> {
        self.header(name)?.filter(|value| !value.is_empty()).ok_or(SignatureError::Missing { name })
    }

    /// The lines of the headers that are signed, each with its end; every one of `needed` must be among them, and each
    /// must be there.
    fn canonical_headers(&self, signed: &str, needed: &[&'static str]) -> Result<String, SignatureError> {
        const NAME: &str = "SignedHeaders";
        let names: Vec<&str> = signed.split(';').collect();
        for name in needed {
            if !names.contains(name) {
                return Err(SignatureError::Malformed {
                    name: NAME,
                    why: "must name every header that matters",
                });
            }
        }
        let mut text = String::new();
        for (number, name) in names.iter().enumerate() {
            let lower =
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if name.is_empty() || !lower || names.get(..number).is_some_and(|before| before.contains(name)) {
                return Err(SignatureError::Malformed {
                    name: NAME,
                    why: "must name headers in lower case, each once",
                });
            }
            let mut values = self.headers.iter().filter(|(of, _)| of == name).map(|(_, value)| value);
            let (Some(value), None) = (values.next(), values.next()) else {
                return Err(SignatureError::Malformed {
                    name: NAME,
                    why: "must name headers that are there, once",
                });
            };
            let value = std::str::from_utf8(value).map_err(|_| SignatureError::Malformed {
                name: NAME,
                why: "must name headers whose values are UTF-8",
            })?;
            text.extend([name, ":", value.trim(), "\n"]);
        }
        Ok(text)
    }
}

/// The fields of an `Authorization` header after its algorithm: `Name=value`, with a comma between, and blanks.
fn fields(text: &str) -> Vec<(&str, &str)> {
    text.split(',').filter_map(|field| field.trim().split_once('=')).collect()
}

fn field<'a>(fields: &[(&'a str, &'a str)], name: &'static str) -> Result<&'a str, SignatureError> {
    let mut values = fields.iter().filter(|(of, _)| *of == name).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value),
        (Some(_), Some(_)) => {
            Err(SignatureError::Malformed { name: "Authorization", why: "has a field twice" })
        }
        (Some(_) | None, _) => Err(SignatureError::Missing { name }),
    }
}

/// A name of at most [`LONGEST_NAME`] visible ASCII characters.
fn short(name: &'static str, value: &str) -> Result<String, SignatureError> {
    let is_short = value.len() <= LONGEST_NAME && value.bytes().all(|byte| byte.is_ascii_graphic());
    is_short
        .then(|| value.to_owned())
        .ok_or(SignatureError::Malformed { name, why: "must be at most 128 visible characters" })
}

/// The pairs of a query or a form, decoded: a plus sign is a blank. In the order in which they came.
///
/// # Errors
/// [`SignatureError::TooLong`]; [`SignatureError::Malformed`] for what is not UTF-8 or not encoded as it must be.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, SignatureError> {
    if text.len() > LONGEST_QUERY {
        return Err(SignatureError::TooLong);
    }
    let mut pairs = Vec::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        if pairs.len() == MOST_PARAMETERS {
            return Err(SignatureError::TooLong);
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        pairs.push((decoded(name, true)?, decoded(value, true)?));
    }
    Ok(pairs)
}

/// Takes percent-encoding off.
fn decoded(text: &str, plus_is_blank: bool) -> Result<String, SignatureError> {
    let wrong = |why| SignatureError::Malformed { name: "the query", why };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                    (_, _) => return Err(wrong("has a % without two hexadecimal digits")),
                }
            }
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong("must be UTF-8"))
}

/// Percent-encodes all but letters, digits and `-_.~`, in upper case.
pub fn encoded(text: &str) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// The pairs sorted by name, then by value, encoded and joined.
fn canonical(pairs: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort();
    let lines: Vec<_> = sorted.iter().map(|(name, value)| encoded(name) + "=" + &encoded(value)).collect();
    lines.join("&")
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// 64 lower-case hexadecimal digits.
fn signature_of_hex(text: &str) -> Result<Vec<u8>, SignatureError> {
    let digits: Option<Vec<u8>> = text
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        })
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64);
    let bytes = digits.map(|digits| {
        digits.chunks(2).map(|pair| pair.iter().fold(0, |all, digit| all * 16 + digit)).collect()
    });
    bytes.ok_or(SignatureError::Malformed {
        name: "Signature",
        why: "must be 64 lower-case hexadecimal digits",
    })
}

/// A time of the one form that `format` describes.
fn time(
    name: &'static str,
    text: &str,
    format: &str,
    example: &'static str,
) -> Result<DateTime<Utc>, SignatureError> {
    let parsed = chrono::NaiveDateTime::parse_from_str(text, format).ok();
    // The parser takes fewer digits, too.
    let parsed = parsed.filter(|_| text.len() == example.len());
    parsed.map(|at| at.and_utc()).ok_or(SignatureError::Time { name, example })
}
