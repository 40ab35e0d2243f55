//! Alibaba RDS's calls as no client of the vendor's sends them: by hand, with a signature that is right, so that what is
//! refused is refused for what it asks.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use coffer::auth::signatures::{SignedRequest, encoded, rpc_v1};
use serde_json::Value;

use crate::harness::vendors::Vendors;

/// Sends requests that are signed with the key of a cloud.
pub struct Rpc<'a> {
    pub http: reqwest::Client,
    shop: &'a Vendors,
    cloud: &'static str,
}

impl<'a> Rpc<'a> {
    pub fn of(shop: &'a Vendors, cloud: &'static str) -> Self {
        Self { http: reqwest::Client::new(), shop, cloud }
    }

    /// The query of such a call, or the form.
    pub fn signed(&self, method: &str, action: &str, params: &[(&str, &str)], at: DateTime<Utc>) -> String {
        let text = |name: &str| self.shop.keys[self.cloud][name].as_str().unwrap();
        let now = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce = uuid::Uuid::new_v4().to_string();
        let common = [
            ("Action", action),
            ("Version", "2014-08-15"),
            ("AccessKeyId", text("access_key")),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &now),
        ];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all: Vec<(String, String)> = common.iter().chain(params).map(owned).collect();
        all.push(("Signature".to_owned(), STANDARD.encode([0; 20])));
        let request = SignedRequest { method, path: "/", query: "", headers: &[], body: b"" };
        let claim = rpc_v1::claim(&request, &all).unwrap();
        let key = format!("{}&", text("secret_key"));
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, claim.string_to_sign.as_bytes()));
        all.last_mut().unwrap().1 = signature;
        let pairs: Vec<String> =
            all.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        pairs.join("&")
    }

    /// The status and the text of a call by GET.
    pub async fn get(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        self.send(&self.signed("GET", action, params, Utc::now())).await
    }

    /// The same for a query that is signed already.
    pub async fn send(&self, query: &str) -> (u16, String) {
        let sent = self.http.get(format!("{}/?{query}", self.shop.url)).send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    }

    /// The status and the text of a call by a form.
    pub async fn post(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let form = self.signed("POST", action, params, Utc::now());
        let request = self.http.post(format!("{}/", self.shop.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let sent = request.send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    }

    /// A call's answer, as JSON.
    pub async fn ask(&self, action: &str, params: &[(&str, &str)]) -> (u16, Value) {
        let mut all = vec![("Format", "JSON")];
        all.extend(params);
        let (status, text) = self.get(action, &all).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
    }
}
