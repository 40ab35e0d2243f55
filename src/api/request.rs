//! A request as a handler gets it, and the tables' rows.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::ApiState;
use crate::api::doc::Doc;
use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::limits::Page;
use crate::api::links::{Base, Link, escape};
use crate::domain::caller::Caller;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::InstanceId;
use crate::domain::policy::Rule;
use crate::domain::refusal::Refusal;

/// The largest body, in bytes.
pub const LARGEST_BODY: usize = 256 * 1024;

/// What a handler gives.
pub type Answer = LocalBoxFuture<'static, Result<HttpResponse, Fault>>;

/// Who may call a route, and what it does.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Needs no token of a project.
    Open(fn(Call) -> Answer),
    /// Needs a token of the project that the path names.
    Project(fn(Call, Caller) -> Answer),
}

/// A row of a dialect's table.
#[derive(Clone, Copy)]
pub struct Route {
    /// `GET` for example.
    pub method: &'static str,
    /// `/v1.0/{project}/instances/{id}` for example.
    pub path: &'static str,
    /// What a caller must be allowed to do. The front door asks it before a `GET`; where a body comes first, the
    /// handler or its command asks it after the parse.
    pub rule: Option<Rule>,
    /// What the OpenAPI document says of it.
    pub doc: Doc,
    /// What it does.
    pub handler: Handler,
}

impl Route {
    /// A row that needs no token of a project.
    pub const fn open(
        method: &'static str,
        path: &'static str,
        doc: Doc,
        handler: fn(Call) -> Answer,
    ) -> Self {
        Self { method, path, rule: None, doc, handler: Handler::Open(handler) }
    }

    /// A row below `/v1.0/{project}`.
    pub const fn project(
        method: &'static str,
        path: &'static str,
        rule: Rule,
        doc: Doc,
        handler: fn(Call, Caller) -> Answer,
    ) -> Self {
        Self { method, path, rule: Some(rule), doc, handler: Handler::Project(handler) }
    }

    /// Whether it needs a token of the project in its path.
    pub const fn needs_project(&self) -> bool {
        matches!(self.handler, Handler::Project(_))
    }

    /// The values of the path's names, in order and without the project, when `segments` are this path.
    pub fn matches(&self, segments: &[Option<String>]) -> Option<Vec<String>> {
        // Most rows do not fit: nothing is made for them.
        let length = self.path.bytes().filter(|byte| *byte == b'/').count();
        if segments.len() != length {
            return None;
        }
        let pattern = self.path.strip_prefix('/').unwrap_or(self.path).split('/');
        let mut given = segments.iter();
        let mut values = Vec::new();
        for part in pattern {
            let value = given.next()?.as_ref()?;
            if part == "{project}" {
            } else if part.starts_with('{') {
                if value.is_empty() {
                    return None;
                }
                values.push(value.clone());
            } else if part != value {
                return None;
            }
        }
        given.next().is_none().then_some(values)
    }
}

/// What came as a body.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing, or bytes without a content type, which count as nothing.
    Empty,
    /// Bytes that are said to be JSON.
    Json(Bytes),
    /// Bytes that are said to be something else.
    Foreign,
    /// More than [`LARGEST_BODY`].
    TooLarge,
    /// The client stopped sending.
    Broken,
}

/// A request.
pub struct Call {
    /// What handlers need.
    pub state: Data<ApiState>,
    /// How the client reached us.
    pub base: Base,
    /// The method.
    pub method: String,
    /// The path as it came, without the query.
    pub path: String,
    /// The values of the route's names, without the project.
    pub params: Vec<String>,
    /// The query's pairs, in order.
    pub query: Vec<(String, String)>,
    /// `X-Auth-Token`.
    pub token: Option<String>,
    /// `X-Subject-Token`, which Keystone's routes know.
    pub subject: Option<String>,
    /// `Idempotency-Key`, each time that it came.
    pub keys: Vec<Vec<u8>>,
    /// The body.
    pub body: Body,
}

/// A page that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// The last id of the page before.
    pub marker: Option<InstanceId>,
    /// The most elements.
    pub limit: u32,
}

impl Call {
    /// The value of the route's `at`th name; names that the route has are always there.
    pub fn param(&self, at: usize) -> &str {
        self.params.get(at).map_or("", String::as_str)
    }

    /// The route's first name as an instance's id.
    ///
    /// # Errors
    /// 404 at once for what is no id: clients look a resource up by name in this way (api-ref: `instances.md`).
    pub fn instance_id(&self) -> Result<InstanceId, Fault> {
        self.param(0).parse().map_err(|_| Fault::not_found(self.param(0)))
    }

    /// The request under its key, where it came with one: in the header, or as `in_body`; `call` is the dialect's call,
    /// and `body` what is asked for.
    ///
    /// # Errors
    /// 400 for what is no key, and for two that differ.
    pub fn idempotency_key(
        &self,
        call: &'static str,
        in_body: Option<&Field<'_>>,
        body: &Value,
    ) -> Result<Option<IdempotencyKey>, Fault> {
        const EXPECTED: &str = "must be 1 to 255 printable characters of ASCII";
        let refuse = || Refusal::invalid("Idempotency-Key", EXPECTED);
        let mut keys: Vec<&str> = Vec::new();
        for key in &self.keys {
            keys.push(std::str::from_utf8(key).map_err(|_| refuse())?);
        }
        let text = in_body.map(Field::text).transpose()?;
        keys.extend(text);
        let Some((key, others)) = keys.split_first() else { return Ok(None) };
        if others.iter().any(|other| other != key) {
            return Err(Refusal::invalid("Idempotency-Key", "must be one key, wherever it is given").into());
        }
        let request = serde_json::json!({"of": self.params, "body": body});
        let idempotency_key = IdempotencyKey::new(call, key, &request);
        match (idempotency_key, in_body) {
            (Some(idempotency_key), _) => Ok(Some(idempotency_key)),
            (None, Some(field)) => Err(field.refuse(EXPECTED).into()),
            (None, None) => Err(refuse().into()),
        }
    }

    /// The value of a key of the query; the first of several.
    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// `limit` and `marker` (api-ref: `instances.md`, paging).
    ///
    /// # Errors
    /// 400 for a limit that is no positive integer and for a marker that is no id.
    pub fn paging(&self) -> Result<Paging, Fault> {
        let limit = self.limit()?;
        let marker =
            match self.query_value("marker") {
                None | Some("") => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    Refusal::invalid("marker", "must be the id of the last element of a page")
                })?),
            };
        Ok(Paging { marker, limit })
    }

    /// `limit`, or the profile's page size; at most the profile's most.
    ///
    /// # Errors
    /// 400 for what is no positive integer.
    pub fn limit(&self) -> Result<u32, Fault> {
        let collection = self.path.rsplit('/').next().unwrap_or_default();
        let Page { usual, most } = self.state.limits.profile().page(collection);
        let limit = match self.query_value("limit") {
            None => usual,
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                // More digits than a number holds are more than a page holds.
                text.parse::<u32>().unwrap_or(u32::MAX).min(most)
            }
            Some(_) => 0,
        };
        if limit == 0 {
            return Err(Refusal::invalid("limit", "must be an integer of at least 1").into());
        }
        Ok(limit)
    }

    /// The link to the page after `marker`, with the query's other keys.
    pub fn next_page(&self, marker: &str) -> Link {
        let mut href = format!("{}{}?", self.base.0, self.path);
        for (name, value) in self.query.iter().filter(|(name, _)| name != "marker") {
            href += &format!("{}={}&", escape(name), escape(value));
        }
        href += &format!("marker={}", escape(marker));
        Link { href, rel: "next" }
    }

    /// The body's object.
    ///
    /// # Errors
    /// 400 for no body, for what is no JSON object, and for texts that hold U+0000, which no store takes.
    pub fn json(&self) -> Result<Map<String, Value>, Fault> {
        let Body::Json(bytes) = &self.body else {
            return Err(Fault::BadRequest(
                "The request needs a body: a JSON object, with Content-Type: application/json.".to_owned(),
            ));
        };
        parse_object(bytes)
    }
}

/// The JSON object in `bytes`.
///
/// # Errors
/// 400, without repeating what came.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let malformed = |why: &str| Fault::BadRequest(format!("Malformed request body: {why}."));
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
    let value: Value = serde_json::from_str(text).map_err(|e| {
        let why = match e.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Data
            | serde_json::error::Category::Io => "it is not JSON",
        };
        malformed(&format!("{why}, at line {} column {}", e.line(), e.column()))
    })?;
    if holds_nul(&value) {
        return Err(malformed("a text in it holds U+0000"));
    }
    match value {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(malformed("it must be a JSON object"))
        }
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An answer with a body.
///
/// # Errors
/// 500 when the view cannot be written: a fault of ours.
pub fn json(status: StatusCode, view: &impl Serialize) -> Result<HttpResponse, Fault> {
    let body = serde_json::to_string(view).map_err(|e| Fault::Broken(e.into()))?;
    Ok(HttpResponse::build(status).content_type("application/json").body(body))
}

/// An object with one key.
pub struct Keyed<'a, T>(pub &'static str, pub &'a T);

impl<T: Serialize> Serialize for Keyed<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

/// 202 with zero bytes; clients look at the text before they parse it.
pub fn accepted() -> HttpResponse {
    HttpResponse::Accepted().content_type("application/json").finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(path: &'static str) -> Route {
        let doc = Doc::new("test", "Test", "README.md");
        Route::open("GET", path, doc, |_| Box::pin(async { Ok(accepted()) }))
    }

    fn segments(path: &str) -> Vec<Option<String>> {
        path.split('/').map(crate::api::links::unescape).collect()
    }

    #[test]
    fn a_path_is_matched_whole() {
        let show = route("/v1.0/{project}/instances/{id}");
        assert_eq!(show.matches(&segments("v1.0/p/instances/i")), Some(vec!["i".to_owned()]));
        assert_eq!(show.matches(&segments("v1.0/p/instances/a%2Fb")), Some(vec!["a/b".to_owned()]));
        for other in [
            "v1.0/p/instances",
            "v1.0/p/instances/",
            "v1.0/p/instances/i/",
            "v1.0/p/x/i",
            "v1.0/p/instances/%ff",
        ] {
            assert_eq!(show.matches(&segments(other)), None, "{other}");
        }
        assert_eq!(route("/").matches(&segments("")), Some(vec![]));
    }

    #[test]
    fn a_body_is_an_object_of_json() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let deep_object = "{\"a\":".repeat(5_000) + "1" + &"}".repeat(5_000);
        for (bytes, fits) in [
            (&b"{}"[..], true),
            (b"{\"a\": {\"b\": [1, \"x\"]}}", true),
            (b"", false),
            (b" ", false),
            (b"[]", false),
            (b"null", false),
            (b"\"x\"", false),
            (b"1e999", false),
            (b"{", false),
            (b"{\"a\":}", false),
            (b"{'a': 1}", false),
            (b"{}{}", false),
            (b"\xff\xfe{}", false),
            (b"\xef\xbb\xbf{}", false),
            (b"{\"a\": \"\xff\"}", false),
            (b"{\"a\": NaN}", false),
            (b"{\"a\": \"\\u0000\"}", false),
            (b"{\"a\\u0000\": 1}", false),
            (b"{\"a\": \"\\ud800\"}", false),
            (deep.as_bytes(), false),
            (deep_object.as_bytes(), false),
        ] {
            let parsed = parse_object(bytes);
            assert_eq!(parsed.is_ok(), fits, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
            if let Err(fault) = parsed {
                assert_eq!(fault.row().0, 400);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_object(&bytes);
        }
    }
}
