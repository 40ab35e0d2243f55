//! The one place where an error becomes a status and a body (api-ref: `faults.md`).
//!
//! A caller's text and the operator's text are two. What a caller reads is a refusal's own words, or for trouble of
//! ours fixed words and the request's id; the chain of causes goes into one log line with the same id.

use std::error::Error as StdError;
use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{TimeDelta, Utc};
use serde_json::json;

use crate::api::links::zoned;
use crate::domain::refusal::{Kind, Refusal};
use crate::telemetry::limiter::Limiter;
use crate::{auth, commands, db};

/// How long a client is told to wait when the service cannot answer, in seconds.
const RETRY_SECONDS: u32 = 5;

thread_local! {
    /// Requests that are turned away, which may be anybody's and as many as come: of each thread that takes requests.
    static TURNED_AWAY: Limiter = const { Limiter::new(std::time::Duration::from_secs(1)) };
}

/// In whose words a fault is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{"itemNotFound": {"code": 404, "message": "…"}}`: Trove's, Rackspace's and our own.
    Trove,
    /// `{"error": {"code": 404, "title": "Not Found", "message": "…"}}`: Keystone's.
    Keystone,
}

/// An answer that is no success. Its variants are the answers that the wires know.
#[derive(Debug)]
pub enum Fault {
    /// 400: the request cannot be understood, or names something impossible.
    BadRequest(String),
    /// 401: no token, or one that does not hold.
    Unauthorized,
    /// 403: who asks may not.
    Forbidden(String),
    /// 404: nothing that the caller may know of.
    NotFound(String),
    /// 405: the path is there and does not know the method; what it knows.
    MethodNotAllowed(String),
    /// 409: past the point at which it could be done.
    Conflict(String),
    /// 413: a limit.
    OverLimit(String),
    /// 413: too many requests; a client that waits so many seconds may ask again.
    RateLimited {
        /// Which limit.
        details: String,
        /// Seconds.
        retry_after: u32,
    },
    /// 415: a body that is not JSON.
    MediaType,
    /// 422: not in this state.
    Unprocessable(String),
    /// 501: the service does not do this.
    NotImplemented(String),
    /// 503: not now, with a text for the caller.
    Busy(String),
    /// 503: an operator has put the service into maintenance.
    Maintenance {
        /// Seconds after which a client may ask again.
        retry_after: u32,
    },
    /// 503: not now, for a reason that is the operator's.
    Away(Box<dyn StdError + Send + Sync>),
    /// 500: trouble of ours.
    Broken(Box<dyn StdError + Send + Sync>),
}

impl Fault {
    /// A URI that leads nowhere.
    pub fn no_such_uri() -> Self {
        Self::NotFound("The resource could not be found.".to_owned())
    }

    /// A resource that is not there, or not for this caller: the same words.
    pub fn not_found(what: impl Into<String>) -> Self {
        Refusal::NotFound { what: what.into() }.into()
    }

    /// Something that the contract knows and this service does not do yet.
    pub fn not_yet(what: &str) -> Self {
        Self::NotImplemented(format!("{what} is not implemented by this service."))
    }

    /// The status and the name of the fault on the wire.
    pub fn row(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "badRequest"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "itemNotFound"),
            Self::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "badMethod"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::OverLimit(_) | Self::RateLimited { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "overLimit"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "badMediaType"),
            Self::Unprocessable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unprocessableEntity"),
            Self::NotImplemented(_) => (StatusCode::NOT_IMPLEMENTED, "notImplemented"),
            Self::Busy(_) | Self::Maintenance { .. } | Self::Away(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "serviceUnavailable")
            }
            Self::Broken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "instanceFault"),
        }
    }

    fn message(&self, request_id: &str) -> String {
        match self {
            Self::BadRequest(text)
            | Self::Forbidden(text)
            | Self::NotFound(text)
            | Self::Conflict(text)
            | Self::OverLimit(text)
            | Self::Unprocessable(text)
            | Self::NotImplemented(text)
            | Self::Busy(text) => text.clone(),
            Self::Unauthorized => "The request you have made requires authentication.".to_owned(),
            Self::MethodNotAllowed(allow) => {
                format!("The method is not allowed for the requested URI; it allows {allow}.")
            }
            Self::RateLimited { .. } => "This request was rate-limited.".to_owned(),
            Self::Maintenance { retry_after } => {
                format!("The service is in maintenance. Try again in {retry_after} seconds.")
            }
            Self::MediaType => "The body must be JSON, with Content-Type: application/json.".to_owned(),
            Self::Away(_) => {
                format!("The service cannot answer now. Try again in {RETRY_SECONDS} seconds. ({request_id})")
            }
            Self::Broken(_) => format!(
                "Internal Server Error. Please keep this ID to help us figure out what went wrong: ({request_id})."
            ),
        }
    }

    /// The operator's text, for the request's log line: what kind of refusal it was, or the chain of causes. It holds
    /// nothing that a caller sent, which may be a secret.
    pub fn operators_text(&self) -> String {
        match self {
            Self::BadRequest(_) => "the request is malformed or names something impossible".to_owned(),
            Self::Unauthorized => "no token, or one that does not hold".to_owned(),
            Self::Forbidden(text) => text.clone(),
            Self::NotFound(_) => "nothing that the caller may know of".to_owned(),
            Self::MethodNotAllowed(allow) => format!("the path knows {allow}"),
            Self::Conflict(text)
            | Self::OverLimit(text)
            | Self::Unprocessable(text)
            | Self::NotImplemented(text) => text.clone(),
            Self::RateLimited { details, .. } => details.clone(),
            Self::MediaType => "the body is not said to be JSON".to_owned(),
            Self::Busy(text) => text.clone(),
            Self::Maintenance { .. } => "the service is in maintenance".to_owned(),
            Self::Away(cause) | Self::Broken(cause) => chain(cause.as_ref()),
        }
    }

    /// Writes the request's log line, in its span. Of what anybody can cause, one line a second and thread. Only a 500 is an error that a human must look at; what clients do
    /// wrong is seen at the level debug.
    pub fn log(&self) {
        let (status, name) = self.row();
        let (status, cause) = (status.as_u16(), self.operators_text());
        match self {
            Self::Broken(_) => tracing::error!(status, cause, "a request failed"),
            // A store that is away comes back, and clients are told to wait for it.
            Self::Away(_) | Self::Busy(_) => match TURNED_AWAY.with(Limiter::pass) {
                Some(left_out) => tracing::warn!(status, cause, left_out, "a request was turned away"),
                None => tracing::debug!(status, cause, "a request was turned away"),
            },
            Self::BadRequest(_)
            | Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed(_)
            | Self::Conflict(_)
            | Self::OverLimit(_)
            | Self::RateLimited { .. }
            | Self::MediaType
            | Self::Unprocessable(_)
            | Self::NotImplemented(_)
            | Self::Maintenance { .. } => tracing::debug!(status, name, cause, "a request was refused"),
        }
    }

    /// The answer. `auth_uri` is where a client gets a token.
    pub fn respond(&self, form: Form, request_id: &str, auth_uri: &str) -> HttpResponse {
        let (status, name) = self.row();
        let message = self.message(request_id);
        let mut answer = HttpResponseBuilder::new(status);
        answer.insert_header((CONTENT_TYPE, "application/json"));
        match self {
            Self::Unauthorized => {
                answer.insert_header((WWW_AUTHENTICATE, format!("Keystone uri=\"{auth_uri}\"")));
            }
            Self::MethodNotAllowed(allow) => {
                answer.insert_header((ALLOW, allow.clone()));
            }
            Self::Busy(_) | Self::Away(_) => {
                answer.insert_header((RETRY_AFTER, RETRY_SECONDS.to_string()));
            }
            Self::RateLimited { retry_after, .. } | Self::Maintenance { retry_after } => {
                answer.insert_header((RETRY_AFTER, retry_after.to_string()));
            }
            Self::BadRequest(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::OverLimit(_)
            | Self::MediaType
            | Self::Unprocessable(_)
            | Self::NotImplemented(_)
            | Self::Broken(_) => {}
        }
        let code = status.as_u16();
        let body = match form {
            Form::Trove => {
                let mut fault = json!({"code": code, "message": message});
                if let Self::RateLimited { details, retry_after } = self {
                    fault["details"] = details.as_str().into();
                    fault["retryAfter"] = retry_after.to_string().into();
                    fault["retryAt"] = zoned(Utc::now() + TimeDelta::seconds((*retry_after).into())).into();
                }
                json!({ name: fault })
            }
            Form::Keystone => {
                let title = status.canonical_reason().unwrap_or_default();
                json!({"error": {"code": code, "title": title, "message": message}})
            }
        };
        answer.body(body.to_string())
    }
}

/// What an error and its sources say, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal.kind() {
            Kind::BadRequest => Self::BadRequest(text),
            Kind::Forbidden => Self::Forbidden(text),
            Kind::NotFound => Self::NotFound(text),
            Kind::OverLimit => Self::OverLimit(text),
            Kind::Unprocessable => Self::Unprocessable(text),
            Kind::Conflict => Self::Conflict(text),
            Kind::NotImplemented => Self::NotImplemented(text),
            Kind::Unavailable => Self::Busy(text),
        }
    }
}

impl From<db::Error> for Fault {
    fn from(source: db::Error) -> Self {
        // A race that was lost five times over is as little the caller's fault as a store that is away.
        if source.is_away() || matches!(source, db::Error::Stale(_)) {
            Self::Away(source.into())
        } else {
            Self::Broken(source.into())
        }
    }
}

impl From<commands::Error> for Fault {
    fn from(source: commands::Error) -> Self {
        match source {
            commands::Error::Refused(refusal) => refusal.into(),
            commands::Error::Db(source) => source.into(),
            other @ (commands::Error::Seal(_)
            | commands::Error::Simulated
            | commands::Error::Inconsistent(_)) => Self::Broken(other.into()),
        }
    }
}

impl From<auth::Error> for Fault {
    fn from(source: auth::Error) -> Self {
        match source {
            auth::Error::Invalid => Self::Unauthorized,
            auth::Error::Unscoped => Self::Forbidden("The token is not scoped to a project.".to_owned()),
            auth::Error::Unavailable(_) => Self::Away(source.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;
    use crate::domain::ids::InstanceId;

    async fn body(fault: &Fault, form: Form) -> serde_json::Value {
        let bytes = to_bytes(fault.respond(form, "req-1", "http://h/identity").into_body()).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[actix_web::test]
    async fn every_fault_has_one_root_key_and_its_code() {
        let text = || "why".to_owned();
        for (fault, code, name) in [
            (Fault::BadRequest(text()), 400, "badRequest"),
            (Fault::Unauthorized, 401, "unauthorized"),
            (Fault::Forbidden(text()), 403, "forbidden"),
            (Fault::no_such_uri(), 404, "itemNotFound"),
            (Fault::MethodNotAllowed("GET".into()), 405, "badMethod"),
            (Fault::Conflict(text()), 409, "conflict"),
            (Fault::OverLimit(text()), 413, "overLimit"),
            (Fault::RateLimited { details: text(), retry_after: 7 }, 413, "overLimit"),
            (Fault::MediaType, 415, "badMediaType"),
            (Fault::Unprocessable(text()), 422, "unprocessableEntity"),
            (Fault::Broken("x".into()), 500, "instanceFault"),
            (Fault::not_yet("This"), 501, "notImplemented"),
            (Fault::Busy(text()), 503, "serviceUnavailable"),
            (Fault::Maintenance { retry_after: 7 }, 503, "serviceUnavailable"),
            (Fault::Away("x".into()), 503, "serviceUnavailable"),
        ] {
            let body = body(&fault, Form::Trove).await;
            assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
            assert_eq!(body[name]["code"], code, "{body}");
            assert!(!body[name]["message"].as_str().unwrap().is_empty());
            assert!(!fault.operators_text().is_empty(), "the operator has a text of its own");
            assert_eq!(fault.row().0.as_u16(), code);
            let keystone = self::body(&fault, Form::Keystone).await;
            assert_eq!(keystone["error"]["code"], code);
        }
    }

    #[actix_web::test]
    async fn the_headers_say_what_to_do() {
        let header = |fault: Fault, name: &str| {
            let answer = fault.respond(Form::Trove, "req-1", "http://h/identity");
            answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(
            header(Fault::Unauthorized, "www-authenticate").as_deref(),
            Some("Keystone uri=\"http://h/identity\"")
        );
        assert_eq!(header(Fault::MethodNotAllowed("GET, PUT".into()), "allow").as_deref(), Some("GET, PUT"));
        assert_eq!(header(Fault::Busy(String::new()), "retry-after").as_deref(), Some("5"));
        assert_eq!(header(Fault::OverLimit(String::new()), "retry-after"), None);
        assert_eq!(header(Fault::Maintenance { retry_after: 7 }, "retry-after").as_deref(), Some("7"));
        let limited = || Fault::RateLimited { details: "why".into(), retry_after: 7 };
        assert_eq!(header(limited(), "retry-after").as_deref(), Some("7"));
        let body = body(&limited(), Form::Trove).await["overLimit"].clone();
        assert_eq!((&body["retryAfter"], &body["details"]), (&"7".into(), &"why".into()));
        assert!(body["retryAt"].as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap() > Utc::now());
    }

    #[actix_web::test]
    async fn a_cause_is_for_the_log_alone() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let fault = Fault::Broken(Outer(std::io::Error::other("password=hunter2")).into());
        assert_eq!(fault.operators_text(), "outer: password=hunter2");
        let body = body(&fault, Form::Trove).await.to_string();
        assert!(!body.contains("hunter2") && !body.contains("outer") && body.contains("req-1"), "{body}");
        assert!(Fault::from(db::Error::Saturated).row().0 == StatusCode::SERVICE_UNAVAILABLE);
        assert!(Fault::from(db::Error::Broken("row".into())).row().0 == StatusCode::INTERNAL_SERVER_ERROR);
        let id = InstanceId(uuid::Uuid::nil());
        assert!(Fault::from(Refusal::NotReady { id, status: "BUILD" }).row().1 == "unprocessableEntity");
    }
}
