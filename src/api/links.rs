//! How a client reached us, and the links and times that the views hold.

use actix_web::HttpRequest;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A link of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Link {
    /// Where it leads.
    pub href: String,
    /// `self`, `bookmark` or `next`.
    pub rel: &'static str,
}

/// The scheme and the host by which the client reached us, without a slash at the end: `http://127.0.0.1:8779`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(pub String);

impl Base {
    /// Takes them from the request: `X-Forwarded-Proto` and `X-Forwarded-Host` of a proxy before us, else `Host`.
    /// What is no host becomes `localhost`: it goes into headers and bodies.
    pub fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.split(',').next())
                .map(str::trim)
        };
        let host = header("x-forwarded-host").filter(|host| is_host(host));
        let host = host.or_else(|| header("host").filter(|host| is_host(host)));
        let host =
            host.or_else(|| request.uri().authority().map(|a| a.as_str()).filter(|host| is_host(host)));
        let scheme = match header("x-forwarded-proto") {
            Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
            Some(_) | None => "http",
        };
        Self(format!("{scheme}://{}", host.unwrap_or("localhost")))
    }

    /// The two links of a resource: with version and project, and without.
    pub fn resource(&self, project: &str, collection: &str, id: &str) -> Vec<Link> {
        let id = escape(id);
        vec![
            Link { href: format!("{}/v1.0/{project}/{collection}/{id}", self.0), rel: "self" },
            Link { href: format!("{}/{collection}/{id}", self.0), rel: "bookmark" },
        ]
    }
}

fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_' | b'[' | b']'))
}

/// Percent-encodes everything but unreserved characters.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// Decodes a segment of a path; `None` for a broken escape or bytes that are no UTF-8.
pub fn unescape(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return Some(segment.to_owned());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// `2026-03-01T10:20:30`: UTC without a zone, on every shared route; clients in Go refuse a `Z` there.
pub fn zoneless(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// `2026-03-01T10:20:30.123`: the same to the millisecond, for steps.
pub fn zoneless_millis(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

/// `2026-03-01T10:20:30Z`: in the answer to an upgrade action alone.
pub fn zoned(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_base_is_how_the_client_came() {
        let base = |headers: &[(&str, &str)]| {
            let mut request = TestRequest::get();
            for (name, value) in headers {
                request = request.insert_header((*name, *value));
            }
            Base::of(&request.to_http_request()).0
        };
        assert_eq!(base(&[("host", "db.test:8779")]), "http://db.test:8779");
        assert_eq!(base(&[("host", "a"), ("x-forwarded-proto", "https")]), "https://a");
        assert_eq!(base(&[("host", "a"), ("x-forwarded-host", "b, c")]), "http://b");
        assert_eq!(base(&[("host", "a\"b")]), "http://localhost");
        assert_eq!(base(&[("host", "[::1]:8779")]), "http://[::1]:8779");
    }

    #[test]
    fn a_broken_escape_is_no_segment() {
        assert_eq!(unescape("a%2Fb").as_deref(), Some("a/b"));
        for broken in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(unescape(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "\\PC{0,40}") {
            prop_assert_eq!(unescape(&escape(&text)), Some(text));
        }
    }
}
