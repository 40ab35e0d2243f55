//! What every request meets first: an id, a span, its body, and the order in which it can be refused (api-ref:
//! `faults.md`, order):
//!
//! 503 in maintenance, unknown version 404, 401, 403 for another project's path, 413 for too many requests, 404 for the
//! URI, 405, 413 and 415 for the body, and then the handler: 400, 403 by role, 404 for the instance, and what the
//! command decides.
//!
//! A body is read once nothing stands against the request any more, so whoever is refused sends it for nothing; what is
//! not read of it then is [`bodies`]' matter.
//!
//! A panic in a handler is a 500 with a body, like any other trouble of ours.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures::{FutureExt as _, StreamExt as _};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::api::audit::Asked;
use crate::api::error::{Fault, Form};
use crate::api::links::{Base, unescape};
use crate::api::request::{Body, Call, Handler, LARGEST_BODY, Route};
use crate::api::{ApiState, alibaba, ha, huawei, mgmt, routes};
use crate::auth;
use crate::domain::policy::allow;
use crate::telemetry::{bodies, metrics};

/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Takes a request and gives its answer, always.
pub async fn front(request: HttpRequest, mut payload: Payload) -> HttpResponse {
    let answer = answer(&request, &mut payload).await;
    bodies::finish(answer, payload, LARGEST_BODY).await
}

async fn answer(request: &HttpRequest, payload: &mut Payload) -> HttpResponse {
    if let Some(state) = request.app_data::<Data<ApiState>>().filter(|_| alibaba::is_meant(request)) {
        let body = tokio::time::timeout(BODY_PATIENCE, collect(payload)).await;
        let body = body.ok().and_then(Result::ok).flatten();
        let answer = AssertUnwindSafe(alibaba::serve(state.clone(), request, body)).catch_unwind().await;
        return answer.unwrap_or_else(|_| alibaba::broken(request));
    }
    if let Some(state) = request.app_data::<Data<ApiState>>().filter(|_| huawei::is_meant(request)) {
        let body = tokio::time::timeout(BODY_PATIENCE, collect(payload)).await;
        let body = body.ok().and_then(Result::ok).flatten();
        let answer = AssertUnwindSafe(huawei::serve(state.clone(), request, body)).catch_unwind().await;
        return answer.unwrap_or_else(|_| huawei::broken());
    }
    let began = Instant::now();
    let request_id = format!("req-{}", Uuid::new_v4());
    let method = request.method().as_str().to_owned();
    let path = request.uri().path().to_owned();
    let base = Base::of(request);
    let is_identity = path == "/identity" || path.starts_with("/identity/");
    let form = if is_identity { Form::Keystone } else { Form::Trove };
    let state = request.app_data::<Data<ApiState>>().cloned();
    let auth_uri = state.as_ref().map(|state| state.auth.auth_uri(&base.0)).unwrap_or_default();

    let mut segments: Vec<Option<String>> =
        path.strip_prefix('/').unwrap_or(&path).split('/').map(unescape).collect();
    if open_with_slash(&segments) {
        segments.pop();
    }
    let matching = find(&method, &segments);
    let template = matching.template().unwrap_or("(unknown)");
    let span = tracing::info_span!("request", request_id, method, route = template);

    let answered = match state {
        Some(state) => {
            let work = async {
                let call = Call {
                    state,
                    base,
                    method: method.clone(),
                    path,
                    params: Vec::new(),
                    query: pairs(request.query_string()),
                    token: header(request, "x-auth-token"),
                    subject: header(request, "x-subject-token"),
                    keys: request
                        .headers()
                        .get_all("idempotency-key")
                        .map(|value| value.as_bytes().to_vec())
                        .collect(),
                    // It is read once the request may have one: see `dispatch`.
                    body: Body::Empty,
                };
                dispatch(call, &segments, matching, (request, payload)).await
            };
            AssertUnwindSafe(work)
                .catch_unwind()
                .instrument(span.clone())
                .await
                .unwrap_or_else(|_| Err(Fault::Broken("a handler panicked".into())))
        }
        None => Err(Fault::Broken("the application has no state".into())),
    };
    let mut answer = match answered {
        Ok(answer) => answer,
        Err(fault) => {
            span.in_scope(|| fault.log());
            fault.respond(form, &request_id, &auth_uri)
        }
    };
    if let Some(state) = request.app_data::<Data<ApiState>>() {
        state.audit.note(request, "trove", &request_id, answer.status().as_u16());
    }
    metrics::request(template, known(&method), answer.status().as_u16(), began.elapsed());
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status = answer.status().as_u16(), ms, "answered"));
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(HeaderName::from_static("x-openstack-request-id"), id.clone());
        headers.insert(HeaderName::from_static("x-compute-request-id"), id);
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    answer
}

/// The method, if it is one of a request that makes sense: what a client makes up is no label.
fn known(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("OTHER")
}

/// What the tables say of a method and a path.
enum Match {
    /// The row, and the values of its path's names.
    Route(&'static Route, Vec<String>),
    /// The path is there with other methods.
    OtherMethods(&'static str, String),
    /// No table has the path.
    Nothing,
}

impl Match {
    const fn template(&self) -> Option<&'static str> {
        match self {
            Self::Route(route, _) => Some(route.path),
            Self::OtherMethods(path, _) => Some(path),
            Self::Nothing => None,
        }
    }

    /// Versions, health, the identity, and where maintenance is switched.
    fn serves_in_maintenance(&self) -> bool {
        match self {
            Self::Route(route, _) => !route.needs_project() || route.path == mgmt::MAINTENANCE,
            Self::OtherMethods(path, _) => *path == mgmt::MAINTENANCE,
            Self::Nothing => false,
        }
    }
}

fn find(method: &str, segments: &[Option<String>]) -> Match {
    let Some((path, values)) = routes().find_map(|route| Some((route.path, route.matches(segments)?))) else {
        return Match::Nothing;
    };
    let mut allowed = Vec::new();
    for route in routes().filter(|route| route.path == path) {
        if route.method == method {
            return Match::Route(route, values);
        }
        allowed.push(route.method);
    }
    Match::OtherMethods(path, allowed.join(", "))
}

/// The documents of versions and of the identity are there with a slash at the end, too.
fn open_with_slash(segments: &[Option<String>]) -> bool {
    let ends = segments.len() > 1 && segments.last().is_some_and(|last| last.as_deref() == Some(""));
    let first = segments.first().and_then(Option::as_deref);
    ends && (first == Some("identity") || (first == Some("v1.0") && segments.len() == 2))
}

async fn dispatch(
    mut call: Call,
    segments: &[Option<String>],
    matching: Match,
    (request, payload): (&HttpRequest, &mut Payload),
) -> Result<HttpResponse, Fault> {
    let first = segments.first().and_then(Option::as_deref);
    if !matching.serves_in_maintenance() && first != Some("identity") {
        let maintenance = call.state.maintenance.now(&call.state.commands.db).await;
        if maintenance.on {
            return Err(Fault::Maintenance { retry_after: maintenance.retry_after });
        }
    }
    if first == Some("identity") && call.state.identity.is_none() {
        return Err(Fault::no_such_uri());
    }
    let caller = match segments {
        // Everything below a project asks for a token before it says what there is.
        [_, project, ..] if first == Some("v1.0") => {
            let token = call.token.as_deref().ok_or(auth::Error::Invalid)?;
            let caller = call.state.auth.authenticate(token).await?;
            if project.as_deref() != Some(caller.project.as_str()) {
                return Err(Fault::Forbidden(
                    "The token is scoped to another project than the one in the path.".to_owned(),
                ));
            }
            let target = match &matching {
                Match::Route(_, values) => values.clone(),
                Match::OtherMethods(..) | Match::Nothing => Vec::new(),
            };
            let route = matching.template().unwrap_or("(unknown)").to_owned();
            Asked { caller: caller.clone(), route, target }.leave(request);
            call.state.limits.count(&caller.project, &call.method, matching.template(), Instant::now())?;
            Some(caller)
        }
        _ => None,
    };
    let route = match matching {
        Match::Route(route, values) => {
            call.params = values;
            route
        }
        Match::OtherMethods(_, allowed) => return Err(Fault::MethodNotAllowed(allowed)),
        Match::Nothing => return Err(Fault::no_such_uri()),
    };
    call.body = read_body(request, payload).await;
    if matches!(call.method.as_str(), "POST" | "PUT" | "PATCH") {
        match call.body {
            Body::Empty | Body::Json(_) => {}
            Body::Foreign if ha::is_of_groups(route.path) => {
                return Err(Fault::BadRequest(
                    "Malformed request body: it is not said to be JSON.".to_owned(),
                ));
            }
            Body::Foreign => return Err(Fault::MediaType),
            Body::TooLarge => {
                return Err(Fault::OverLimit(format!("The body cannot exceed {LARGEST_BODY} bytes.")));
            }
            Body::Broken => {
                return Err(Fault::BadRequest("Malformed request body: it did not arrive.".to_owned()));
            }
        }
    }
    match (route.handler, caller) {
        (Handler::Open(handler), _) => handler(call).await,
        (Handler::Project(handler), Some(caller)) => {
            if let ("GET", Some(rule)) = (route.method, route.rule) {
                allow(&caller, rule)?;
            }
            handler(call, caller).await
        }
        (Handler::Project(_), None) => Err(Fault::Unauthorized),
    }
}

fn header(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn pairs(query: &str) -> Vec<(String, String)> {
    Query::<Vec<(String, String)>>::from_query(query).map(Query::into_inner).unwrap_or_default()
}

async fn read_body(request: &HttpRequest, payload: &mut Payload) -> Body {
    let bytes = match tokio::time::timeout(BODY_PATIENCE, collect(payload)).await {
        Ok(Ok(Some(bytes))) => bytes,
        Ok(Ok(None)) => return Body::TooLarge,
        Ok(Err(())) | Err(_) => return Body::Broken,
    };
    if bytes.is_empty() {
        return Body::Empty;
    }
    match request.headers().get(CONTENT_TYPE) {
        None => Body::Empty,
        Some(kind) if kind.to_str().is_ok_and(is_json) => Body::Json(bytes),
        Some(_) => Body::Foreign,
    }
}

/// The whole body; `None` when it is larger than [`LARGEST_BODY`], of which no more is read.
async fn collect(payload: &mut Payload) -> Result<Option<Bytes>, ()> {
    let mut kept = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ())?;
        if kept.len() + chunk.len() > LARGEST_BODY {
            return Ok(None);
        }
        kept.extend_from_slice(&chunk);
    }
    Ok(Some(kept.freeze()))
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_content_type() {
        for (kind, fits) in [
            ("application/json", true),
            ("application/JSON; charset=utf-8", true),
            ("application/xml", false),
            ("text/plain", false),
            ("", false),
            ("json", false),
        ] {
            assert_eq!(is_json(kind), fits, "{kind}");
        }
    }

    #[test]
    fn no_two_rows_are_the_same_and_each_is_found() {
        let mut seen = std::collections::BTreeSet::new();
        for route in routes() {
            assert!(seen.insert((route.method, route.path)), "{} {} twice", route.method, route.path);
            let below_project = route.path.starts_with("/v1.0/{project}/");
            assert_eq!(route.needs_project(), below_project, "{}", route.path);
            assert_eq!(route.rule.is_some(), below_project, "{}", route.path);
            let path = route.path.trim_start_matches('/').replace(['{', '}'], "");
            let segments: Vec<_> = path.split('/').map(unescape).collect();
            assert_eq!(find(route.method, &segments).template(), Some(route.path));
            assert!(matches!(find("BREW", &segments), Match::OtherMethods(_, _)));
        }
    }
}
