//! Huawei RDS's calls (api-ref: `huawei.md`): resources below `/v3/{project_id}`, by a signature or a token.
//!
//! Each call is taken apart here, and asks the same commands as every other dialect. The order of refusals is: 404 for
//! the API, 503 in maintenance, 401, 403 for another project's path, 429, and then the call: 400, 404 for the instance,
//! and what it decides.

mod datastores;
mod error;
mod input;
mod instances;
mod jobs;
mod majors;
mod names;
mod upgrades;

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::ApiState;
use crate::api::audit::Asked;
use crate::api::error::Fault;
use crate::api::huawei::error::VendorError;
use crate::api::huawei::input::{Body, Query};
use crate::api::links::unescape;
use crate::api::request::parse_object;
use crate::auth::signatures::{self, SignedRequest, sdk_hmac};
use crate::domain::caller::Caller;
use crate::telemetry::metrics;

/// A call of a caller who is known.
struct Call {
    state: Data<ApiState>,
    caller: Caller,
    query: Query,
    body: Body,
    now: DateTime<Utc>,
}

/// What a call gives.
type Answer = Result<(StatusCode, Value), VendorError>;

/// Whether a request is this dialect's.
pub fn is_meant(request: &HttpRequest) -> bool {
    request.uri().path().starts_with("/v3/")
}

/// Answers a request; `body` is `None` when it was too large or did not arrive.
pub async fn serve(state: Data<ApiState>, request: &HttpRequest, body: Option<Bytes>) -> HttpResponse {
    let began = Instant::now();
    let request_id = new_request_id();
    let answer = respond(answer(state.clone(), request, body).await, &request_id);
    state.audit.note(request, "huawei", &request_id, answer.status().as_u16());
    let known = ["GET", "POST", "PUT"].into_iter().find(|known| request.method().as_str() == *known);
    metrics::request("/v3 (huawei)", known.unwrap_or("OTHER"), answer.status().as_u16(), began.elapsed());
    answer
}

/// The answer to a request at which a handler panicked.
pub fn broken() -> HttpResponse {
    respond(Err(VendorError::panicked()), &new_request_id())
}

fn new_request_id() -> String {
    Uuid::new_v4().as_simple().to_string()
}

fn respond(answered: Answer, request_id: &str) -> HttpResponse {
    let (status, value, error) = match answered {
        Ok((status, value)) => (status, value, None),
        Err(error) => {
            let mut value = json!({"error_code": error.code, "error_msg": error.message});
            if let (StatusCode::UNAUTHORIZED, Some(map)) = (error.status, value.as_object_mut()) {
                map.insert("request_id".to_owned(), request_id.into());
            }
            (error.status, value, Some(error))
        }
    };
    if let Some(cause) = error.and_then(|error| error.cause) {
        tracing::info_span!("request", request_id, dialect = "huawei").in_scope(|| cause.log());
    }
    let mut answer = HttpResponse::build(status).body(value.to_string());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    answer
}

/// An operation of the vendor's, with what its path names.
enum Operation<'a> {
    Instances,
    Upgrade { instance: &'a str, older: bool },
    SetWindow(&'a str),
    Policy(&'a str),
    SetPolicy(&'a str),
    Failover(&'a str),
    Job,
    Tasks,
    ScheduledTasks,
    Datastores(&'a str),
    Builds(&'a str),
    Majors(&'a str),
    Inspect(&'a str),
    Inspections(&'a str),
    UpgradeMajor(&'a str),
    MajorStatus(&'a str),
    MajorHistory(&'a str),
    PreCheck(&'a str),
    PreCheckResult(&'a str),
    UpgradeMysql(&'a str),
}

impl<'a> Operation<'a> {
    /// The one that a method and the rest of a path, after the project, name.
    fn of(method: &str, path: &[&'a str]) -> Option<Self> {
        Some(match (method, path) {
            ("GET", ["instances"]) => Self::Instances,
            ("POST", ["instances", instance, "db-upgrade"]) => Self::Upgrade { instance, older: false },
            ("POST", ["instances", instance, "action", "db-upgrade"]) => {
                Self::Upgrade { instance, older: true }
            }
            ("PUT", ["instances", instance, "ops-window"]) => Self::SetWindow(instance),
            ("GET", ["instances", instance, "db-auto-upgrade"]) => Self::Policy(instance),
            ("PUT", ["instances", instance, "db-auto-upgrade"]) => Self::SetPolicy(instance),
            ("PUT", ["instances", instance, "failover"]) => Self::Failover(instance),
            ("GET", ["jobs"]) => Self::Job,
            ("GET", ["tasklist"]) => Self::Tasks,
            ("GET", ["schedule-tasks"]) => Self::ScheduledTasks,
            ("GET", ["datastores", database]) => Self::Datastores(database),
            ("GET", ["datastores", database, "small-version"]) => Self::Builds(database),
            ("GET", ["instances", instance, "major-version", "available-version"]) => Self::Majors(instance),
            ("POST", ["instances", instance, "major-version", "inspection"]) => Self::Inspect(instance),
            ("GET", ["instances", instance, "major-version", "inspection-histories"]) => {
                Self::Inspections(instance)
            }
            ("POST", ["instances", instance, "major-version", "upgrade"]) => Self::UpgradeMajor(instance),
            ("GET", ["instances", instance, "major-version", "status"]) => Self::MajorStatus(instance),
            ("GET", ["instances", instance, "major-version", "upgrade-histories"]) => {
                Self::MajorHistory(instance)
            }
            ("PUT", ["instances", instance, "upgrade-version", "precheck"]) => Self::PreCheck(instance),
            ("GET", ["instances", instance, "upgrade-version", "precheck-result"]) => {
                Self::PreCheckResult(instance)
            }
            ("POST", ["instances", instance, "major-upgrade"]) => Self::UpgradeMysql(instance),
            _unknown => return None,
        })
    }

    async fn run(&self, call: &Call) -> Answer {
        match *self {
            Self::Instances => instances::list(call).await,
            Self::Upgrade { instance, older } => upgrades::minor(call, instance, older).await,
            Self::SetWindow(instance) => instances::set_window(call, instance).await,
            Self::Policy(instance) => instances::policy(call, instance).await,
            Self::SetPolicy(instance) => instances::set_policy(call, instance).await,
            Self::Failover(instance) => instances::failover(call, instance).await,
            Self::Job => jobs::show(call).await,
            Self::Tasks => jobs::list(call).await,
            Self::ScheduledTasks => jobs::scheduled(call).await,
            Self::Datastores(database) => datastores::versions(call, database).await,
            Self::Builds(database) => datastores::builds(call, database).await,
            Self::Majors(instance) => majors::available(call, instance).await,
            Self::Inspect(instance) => majors::inspect(call, instance).await,
            Self::Inspections(instance) => majors::inspections_of(call, instance).await,
            Self::UpgradeMajor(instance) => majors::upgrade(call, instance).await,
            Self::MajorStatus(instance) => majors::status(call, instance).await,
            Self::MajorHistory(instance) => majors::history(call, instance).await,
            Self::PreCheck(instance) => majors::pre_check(call, instance).await,
            Self::PreCheckResult(instance) => majors::pre_check_result(call, instance).await,
            Self::UpgradeMysql(instance) => majors::upgrade_mysql(call, instance).await,
        }
    }
}

async fn answer(state: Data<ApiState>, request: &HttpRequest, body: Option<Bytes>) -> Answer {
    let path = request.uri().path();
    let parts: Option<Vec<String>> = path.split('/').skip(2).map(unescape).collect();
    let parts = parts.ok_or_else(VendorError::no_api)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (project, rest) = parts.split_first().ok_or_else(VendorError::no_api)?;
    let method = request.method().as_str();
    let operation = Operation::of(method, rest).ok_or_else(VendorError::no_api)?;
    if state.maintenance.now(&state.commands.db).await.on {
        return Err(VendorError::new(503, "DBS.200005", "The service is in maintenance."));
    }
    let body = body.ok_or_else(|| VendorError::invalid("the body", "at most 256 KiB"))?;
    let now = Utc::now();
    let caller = caller(&state, request, &body, now).await?;
    let told = request.headers().get("x-project-id").map(HeaderValue::as_bytes);
    audit_of(&caller, rest).leave(request);
    if *project != caller.project.as_str() || told.is_some_and(|told| told != project.as_bytes()) {
        let text = "The project of the path, of X-Project-Id and of the credentials must be one.";
        return Err(VendorError::new(403, "DBS.200010", text));
    }
    if let Err(Fault::RateLimited { details, .. }) =
        state.limits.count(&caller.project, method, None, Instant::now())
    {
        return Err(VendorError::new(
            429,
            "APIGW.0308",
            format!("The throttling threshold has been reached: {details}"),
        ));
    }
    let query = Query(
        signatures::pairs(request.query_string())
            .map_err(|error| VendorError::new(400, "DBS.280001", format!("Parameter error: {error}.")))?,
    );
    let body = if method == "GET" { Map::new() } else { object(request, &body)? };
    operation.run(&Call { state, caller, query, body: Body(body), now }).await
}

/// What is noted of a request: its path, with what names something in place of the names.
fn audit_of(caller: &Caller, rest: &[&str]) -> Asked {
    let names = |part: &&&str| part.bytes().any(|b| b.is_ascii_digit());
    let shown = rest.iter().map(|part| if names(&part) { "{id}" } else { *part });
    let route = shown.fold("/v3/{project}".to_owned(), |path, part| format!("{path}/{part}"));
    let target = rest.iter().filter(names).map(|part| (*part).to_owned()).collect();
    Asked { caller: caller.clone(), route, target }
}

/// Who asks: by a signature where there is one, else by a token.
async fn caller(
    state: &ApiState,
    request: &HttpRequest,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Caller, VendorError> {
    if request.headers().contains_key("authorization") {
        let headers: Vec<(String, Vec<u8>)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
            .collect();
        let claim = sdk_hmac::claim(&SignedRequest {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.query_string(),
            headers: &headers,
            body,
        })?;
        return Ok(state.keys.caller(&claim, now).await?);
    }
    let token = request.headers().get("x-auth-token").and_then(|value| value.to_str().ok());
    let token = token.ok_or_else(|| VendorError::unauthorized("no Authorization and no X-Auth-Token"))?;
    Ok(state.auth.authenticate(token).await?)
}

/// The body's object; none is an empty one.
fn object(request: &HttpRequest, body: &[u8]) -> Result<Map<String, Value>, VendorError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(VendorError::invalid("Content-Type", "application/json"));
    }
    parse_object(body)
        .map_err(|_| VendorError::invalid("the body", "an object of JSON in UTF-8, without U+0000"))
}

/// 200 with this.
fn ok(value: Value) -> Answer {
    Ok((StatusCode::OK, value))
}

/// 202 with this.
fn accepted(value: Value) -> Answer {
    Ok((StatusCode::ACCEPTED, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_by_method_and_path() {
        assert!(Operation::of("POST", &["instances", "x", "db-upgrade"]).is_some());
        for (method, path) in [
            ("GET", &["instances", "x", "db-upgrade"][..]),
            ("POST", &["instances", "x", "db-upgrade", ""]),
            ("POST", &["instances"]),
            ("DELETE", &["instances", "x"]),
            ("GET", &[]),
            ("GET", &[""]),
        ] {
            assert!(Operation::of(method, path).is_none(), "{method} {path:?}");
        }
    }
}
