//! Signatures, held against requests that the vendors' own clients sent: each verifies, and none does that was changed.

use coffer::auth::signatures::{self, Claim, SignatureError, SignedRequest, acs3, pairs, rpc_v1, sdk_hmac};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

/// A request that can be changed.
#[derive(Clone, Debug)]
struct Sent {
    algorithm: String,
    secret: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Sent {
    fn all() -> Vec<(String, Value, Self)> {
        let vectors: Vec<Value> = serde_json::from_str(include_str!("signature_vectors.json")).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let read = |vector: Value| {
            let request = &vector["request"];
            let target = text(&request["target"]);
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let headers = request["headers"].as_array().unwrap().iter();
            let sent = Self {
                algorithm: text(&vector["algorithm"]),
                secret: text(&vector["secret"]),
                method: text(&request["method"]),
                path: path.to_owned(),
                query: query.to_owned(),
                headers: headers
                    .map(|pair| (text(&pair[0]).to_ascii_lowercase(), text(&pair[1]).into_bytes()))
                    .collect(),
                body: text(&request["body"]).into_bytes(),
            };
            (text(&vector["name"]), vector["expected"].clone(), sent)
        };
        vectors.into_iter().map(read).collect()
    }

    fn request(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
        }
    }

    fn claim(&self) -> Result<Claim, SignatureError> {
        match self.algorithm.as_str() {
            "alibaba-rpc-v1" => {
                let mut parameters = pairs(&self.query)?;
                let form = std::str::from_utf8(&self.body).map_err(|_| SignatureError::TooLong)?;
                parameters.extend(pairs(form)?);
                rpc_v1::claim(&self.request(), &parameters)
            }
            "alibaba-acs3" | "alibaba-acs3-hmac-sha256" => acs3::claim(&self.request()),
            _huawei => sdk_hmac::claim(&self.request()),
        }
    }

    fn verifies(&self) -> bool {
        self.claim().is_ok_and(|claim| claim.is_signed_with(&SecretString::from(self.secret.clone())))
    }

    fn signed_headers(&self) -> Vec<String> {
        let Some((_, value)) = self.headers.iter().find(|(name, _)| name == "authorization") else {
            return Vec::new();
        };
        let text = std::str::from_utf8(value).unwrap();
        let names = text.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        names.split(';').map(str::to_owned).collect()
    }
}

#[test]
fn every_vector_verifies() {
    for (name, expected, sent) in Sent::all() {
        let claim = sent.claim().unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        if let Some(string) = expected["string_to_sign"].as_str() {
            assert_eq!(claim.string_to_sign, string, "{name}");
        }
        assert_eq!(claim.access_key, "testAk", "{name}");
        assert!(sent.verifies(), "{name}");
        assert!(!format!("{claim:?}").contains(&claim.string_to_sign));
    }
}

/// One bit of anything that is signed, of the signature or of the secret: no longer signed.
#[test]
fn one_bit_is_enough() {
    for (name, _, sent) in Sent::all() {
        let mut tried = 0;
        let mut refused = |what: &str, changed: Sent| {
            assert!(!changed.verifies(), "{name}: {what} was changed, and it still verifies");
            tried += 1;
        };
        refused("the secret", Sent { secret: sent.secret.clone() + "x", ..sent.clone() });
        refused("the method", Sent { method: "PUT".to_owned(), ..sent.clone() });
        refused("a parameter", Sent { query: format!("{}&More=1", sent.query), ..sent.clone() });
        for at in 0..sent.query.len() {
            let mut query = sent.query.clone().into_bytes();
            query[at] ^= 1;
            let Ok(query) = String::from_utf8(query) else { continue };
            // The same pairs in another form are the same request, and hexadecimal digits have two cases.
            if pairs(&query) != pairs(&sent.query) {
                refused("the query", Sent { query, ..sent.clone() });
            }
        }
        for at in 0..sent.body.len() {
            let mut changed = sent.clone();
            changed.body[at] ^= 1;
            let form = |body: &[u8]| std::str::from_utf8(body).ok().map(pairs);
            if sent.algorithm != "alibaba-rpc-v1" || form(&changed.body) != form(&sent.body) {
                refused("the body", changed);
            }
        }
        for signed in sent.signed_headers() {
            let at = sent.headers.iter().position(|(of, _)| *of == signed).unwrap();
            let mut changed = sent.clone();
            *changed.headers[at].1.last_mut().unwrap() ^= 1;
            refused(&signed, changed);
            let mut without = sent.clone();
            without.headers.remove(at);
            refused(&format!("{signed} is gone"), without);
            let mut twice = sent.clone();
            twice.headers.push(sent.headers[at].clone());
            refused(&format!("{signed} twice"), twice);
        }
        if let Some(at) = sent.headers.iter().position(|(of, _)| of == "authorization") {
            let length = sent.headers[at].1.len();
            for digit in length - 64..length {
                let mut changed = sent.clone();
                let byte = &mut changed.headers[at].1[digit];
                *byte = if *byte == b'0' { b'1' } else { b'0' };
                refused("the signature", changed);
            }
        }
        assert!(tried > 40, "{name}: {tried}");
    }
}

/// A header that matters and is not signed could be changed on the way: such a request is none.
#[test]
fn what_matters_must_be_signed() {
    for (name, _, sent) in Sent::all() {
        for signed in sent.signed_headers() {
            let mut changed = sent.clone();
            for (header, value) in &mut changed.headers {
                if header == "authorization" {
                    let text = String::from_utf8(value.clone()).unwrap();
                    let text = text.replacen(&format!(";{signed};"), ";", 1);
                    let text = text.replacen(&format!(";{signed},"), ",", 1);
                    *value = text.replacen(&format!("={signed};"), "=", 1).into_bytes();
                }
            }
            assert!(!changed.verifies(), "{name}: {signed}");
        }
    }
}

#[test]
fn a_forwarded_form_is_the_same_request() {
    for (name, _, mut sent) in Sent::all() {
        let mut parts: Vec<&str> = sent.query.split('&').collect();
        parts.reverse();
        sent.query = parts.join("&");
        assert!(sent.verifies(), "{name}: the order of parameters does not matter");
        sent.query = sent.query.replace('+', "%20");
        assert!(sent.verifies(), "{name}: a blank is a blank");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let find = |algorithm: &str| {
        let found = Sent::all().into_iter().find(|(_, _, sent)| sent.algorithm.contains(algorithm));
        found.unwrap_or_else(|| panic!("no vector of {algorithm}")).2
    };
    let with_query = |sent: &Sent, change: &dyn Fn(&str) -> String| {
        let query = change(&sent.query);
        Sent { query, ..sent.clone() }.claim().unwrap_err().to_string()
    };
    let rpc = find("rpc");
    for (name, value, expected) in [
        ("AccessKeyId", None, "AccessKeyId is missing"),
        ("Signature", None, "Signature is missing"),
        ("Signature", Some("@"), "Signature must be the base64 of 20 bytes"),
        ("SignatureNonce", None, "SignatureNonce is missing"),
        (
            "SignatureMethod",
            Some("HMAC-SHA256"),
            "SignatureMethod names a way to sign that is not supported; expected HMAC-SHA1",
        ),
        (
            "SignatureVersion",
            Some("2.0"),
            "SignatureVersion names a way to sign that is not supported; expected 1.0",
        ),
        ("Timestamp", None, "Timestamp must be a time like 2026-11-22T02:56:18Z"),
        ("Timestamp", Some("yesterday"), "Timestamp must be a time like 2026-11-22T02:56:18Z"),
        ("Timestamp", Some("2026-11-22T2:56:18Z"), "Timestamp must be a time like 2026-11-22T02:56:18Z"),
    ] {
        let changed = with_query(&rpc, &|query| {
            let parts = query.split('&').filter(|part| !part.starts_with(&format!("{name}=")));
            let parts = parts.map(str::to_owned).chain(value.map(|value| format!("{name}={value}")));
            parts.collect::<Vec<_>>().join("&")
        });
        assert_eq!(changed, expected);
    }
    assert_eq!(with_query(&rpc, &|query| format!("{query}&AccessKeyId=other")), "AccessKeyId is there twice");
    assert!(with_query(&rpc, &|query| format!("{query}&a=%zz")).contains("hexadecimal"));
    assert!(with_query(&rpc, &|query| format!("{query}&a=%ff")).contains("UTF-8"));
    let long = format!("&a={}", "x".repeat(70_000));
    assert!(with_query(&rpc, &|query| format!("{query}{long}")).contains("more parameters"));
    let many = "&a=".repeat(2_000);
    assert!(with_query(&rpc, &|query| format!("{query}{many}")).contains("more parameters"));

    for (algorithm, header, value, expected) in [
        ("acs3", "authorization", "ACS3-HMAC-SM3 Credential=a", "expected ACS3-HMAC-SHA256"),
        ("acs3", "authorization", "ACS3-HMAC-SHA256 Credential=a", "SignedHeaders is missing"),
        ("acs3", "authorization", "ACS3-HMAC-SHA256", "Credential is missing"),
        ("acs3", "x-acs-date", "now", "x-acs-date must be a time like"),
        ("acs3", "x-acs-content-sha256", "00", "x-acs-content-sha256 must be the body's SHA-256"),
        ("acs3", "x-acs-signature-nonce", "", "x-acs-signature-nonce is missing"),
        ("sdk", "authorization", "V11-HMAC-SHA256 Credential=a", "expected SDK-HMAC-SHA256"),
        (
            "sdk",
            "authorization",
            "SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=0",
            "64 lower-case",
        ),
        ("sdk", "x-sdk-date", "2026-11-22T02:57:36Z", "X-Sdk-Date must be a time like 20261122T025736Z"),
    ] {
        let mut sent = find(algorithm);
        let at = sent.headers.iter().position(|(of, _)| of == header).unwrap();
        sent.headers[at].1 = value.as_bytes().to_vec();
        let wrong = sent.claim().unwrap_err().to_string();
        assert!(wrong.contains(expected), "{wrong}");
    }
    let mut sent = find("sdk");
    sent.headers.push(("x-sdk-content-sha256".to_owned(), b"UNSIGNED-PAYLOAD".to_vec()));
    assert!(matches!(sent.claim(), Err(SignatureError::Unsupported { .. })));
}

proptest! {
    /// Whatever comes is refused or read, and never ends us.
    #[test]
    fn anything_may_come(
        path in "[/a-z%0-9]{0,20}", query in "[ -~é]{0,200}", authorization in "(ACS3-HMAC-SHA256|SDK-HMAC-SHA256)? ?[ -~]{0,200}",
        date in "[ -~]{0,20}", body in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let sent = |algorithm: &str| Sent {
            algorithm: algorithm.to_owned(),
            secret: "s".to_owned(),
            method: "POST".to_owned(),
            path: path.clone(),
            query: query.clone(),
            headers: vec![
                ("authorization".to_owned(), authorization.clone().into_bytes()),
                ("x-acs-date".to_owned(), date.clone().into_bytes()),
                ("x-sdk-date".to_owned(), date.clone().into_bytes()),
                ("host".to_owned(), body.clone()),
            ],
            body: body.clone(),
        };
        for algorithm in ["alibaba-rpc-v1", "alibaba-acs3", "sdk"] {
            prop_assert!(!sent(algorithm).verifies());
        }
    }

    /// What is encoded is decoded to the same, however it was written.
    #[test]
    fn encoding_goes_round(name in "\\PC{1,20}", value in "\\PC{0,40}") {
        let text = format!("{}={}", signatures::encoded(&name), signatures::encoded(&value));
        prop_assert_eq!(pairs(&text).unwrap(), vec![(name.clone(), value.clone())]);
        prop_assert_eq!(pairs(&text.replace("%20", "+")).unwrap(), vec![(name, value)]);
    }
}
