//! Alibaba RDS's calls (api-ref: `alibaba.md`): one path, an action by name, signed requests, answers as JSON or XML.
//!
//! Each call is taken apart here, and asks the same commands as every other dialect. The order of refusals is: the form
//! of the request, who signed it, limits, action and version, parameters, and what the call decides.

mod error;
mod groups;
mod instances;
mod majors;
mod names;
mod output;
mod parameters;
mod tasks;
mod upgrades;

use std::time::Instant;

use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::ApiState;
use crate::api::alibaba::error::VendorError;
use crate::api::alibaba::output::Format;
use crate::api::alibaba::parameters::Parameters;
use crate::api::audit::Asked;
use crate::api::error::Fault;
use crate::auth::signatures::{self, SignedRequest, acs3, rpc_v1};
use crate::domain::caller::Caller;
use crate::telemetry::metrics;

/// The version of the vendor's API.
const VERSION: &str = "2014-08-15";

/// A form's content type.
const FORM: &str = "application/x-www-form-urlencoded";

/// A call of a caller whose signature was right.
pub struct Call {
    state: Data<ApiState>,
    caller: Caller,
    parameters: Parameters,
    now: DateTime<Utc>,
}

/// Whether a request is this dialect's: at the root, with an action.
pub fn is_meant(request: &HttpRequest) -> bool {
    request.uri().path() == "/"
        && (request.headers().contains_key("x-acs-action")
            || is_form(request)
            || request.query_string().split('&').any(|part| part.starts_with("Action=")))
}

fn is_form(request: &HttpRequest) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM)
}

/// Answers a request; `body` is `None` when it was too large or did not arrive.
pub async fn serve(state: Data<ApiState>, request: &HttpRequest, body: Option<Bytes>) -> HttpResponse {
    let began = Instant::now();
    let mut format = usual_format(request);
    let mut action = String::new();
    let answered = answer(state.clone(), request, body, (&mut format, &mut action)).await;
    let request_id = new_request_id();
    let answer = respond(format, &action, answered, &request_id);
    state.audit.note_always(request, "alibaba", &request_id, answer.status().as_u16());
    let method = if request.method() == "GET" { "GET" } else { "POST" };
    metrics::request("/ (alibaba)", method, answer.status().as_u16(), began.elapsed());
    answer
}

/// The answer to a request at which a handler panicked.
pub fn broken(request: &HttpRequest) -> HttpResponse {
    respond(usual_format(request), "", Err(VendorError::panicked()), &new_request_id())
}

fn new_request_id() -> String {
    Uuid::new_v4().to_string().to_ascii_uppercase()
}

fn usual_format(request: &HttpRequest) -> Format {
    if is_acs3(request) { Format::Json } else { Format::Xml }
}

fn respond(
    format: Format,
    action: &str,
    answered: Result<Value, VendorError>,
    request_id: &str,
) -> HttpResponse {
    let (status, root, mut value, error) = match answered {
        Ok(value) => (actix_web::http::StatusCode::OK, format!("{action}Response"), value, None),
        Err(error) => {
            let value = json!({"HostId": "rds.coffer", "Code": error.code, "Message": error.message});
            (error.status, "Error".to_owned(), value, Some(error))
        }
    };
    if let Some(cause) = error.as_ref().and_then(|error| error.cause.as_ref()) {
        tracing::info_span!("request", request_id, dialect = "alibaba").in_scope(|| cause.log());
    }
    if let Some(map) = value.as_object_mut() {
        map.insert("RequestId".to_owned(), request_id.into());
    }
    let mut answer = HttpResponse::build(status).body(format.text(&root, &value));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if let Some(seconds) = error.and_then(|error| error.retry_after) {
        headers.insert(HeaderName::from_static("x-acs-retry-after"), HeaderValue::from(seconds));
    }
    answer
}

/// An action's name, where it can be one: whatever else a client sends is no name.
fn known_action(asked: &str) -> String {
    let is_name = asked.len() <= 64 && asked.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_name { asked.to_owned() } else { "(unknown)".to_owned() }
}

fn is_acs3(request: &HttpRequest) -> bool {
    request.headers().get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"ACS3-"))
}

async fn answer(
    state: Data<ApiState>,
    request: &HttpRequest,
    body: Option<Bytes>,
    (format, action): (&mut Format, &mut String),
) -> Result<Value, VendorError> {
    let mut values = signatures::pairs(request.query_string())?;
    let body = body.ok_or_else(|| VendorError::invalid("the body", "at most 256 KiB"))?;
    if is_form(request) {
        let form = std::str::from_utf8(&body).map_err(|_| VendorError::invalid("the form", "UTF-8"))?;
        values.extend(signatures::pairs(form)?);
    } else if !body.is_empty() {
        return Err(VendorError::invalid("the body", &format!("nothing, or {FORM}")));
    }
    let parameters = Parameters(values);
    match parameters.text("Format") {
        Ok(Some(word)) if word.eq_ignore_ascii_case("json") => *format = Format::Json,
        Ok(Some(word)) if word.eq_ignore_ascii_case("xml") => *format = Format::Xml,
        Ok(None) => {}
        Ok(Some(_)) | Err(_) => {
            *format = Format::Json;
            return Err(VendorError::invalid("Format", "JSON or XML, once"));
        }
    }
    let maintenance = state.maintenance.now(&state.commands.db).await;
    if maintenance.on {
        return Err(VendorError::new(503, "ServiceUnavailable", "The service is in maintenance."));
    }
    let method = request.method().as_str();
    if !matches!(method, "GET" | "POST") {
        return Err(VendorError::new(405, "UnsupportedHTTPMethod", "The method must be GET or POST."));
    }
    let headers: Vec<(String, Vec<u8>)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    let signed =
        SignedRequest { method, path: "/", query: request.query_string(), headers: &headers, body: &body };
    let is_acs3 = acs3::is_meant(&signed);
    let claim = if is_acs3 { acs3::claim(&signed)? } else { rpc_v1::claim(&signed, &parameters.0)? };
    let now = Utc::now();
    let caller = state.keys.caller(&claim, now).await?;
    if let Err(Fault::RateLimited { retry_after, .. }) =
        state.limits.count(&caller.project, method, None, Instant::now())
    {
        let error = VendorError::new(400, "Throttling.User", "Request was denied due to user flow control.");
        return Err(VendorError { retry_after: Some(retry_after), ..error });
    }

    let said = |header: &str, parameter: &str| -> Result<String, VendorError> {
        if !is_acs3 {
            return parameters.needed(parameter).map(str::to_owned);
        }
        let value = request.headers().get(header).and_then(|value| value.to_str().ok());
        value.map(str::to_owned).ok_or_else(|| VendorError::missing(header))
    };
    let (asked, version) = (said("x-acs-action", "Action")?, said("x-acs-version", "Version")?);
    // What only reads is no change.
    if !asked.starts_with("Describe") {
        let instance = parameters.text("DBInstanceId").ok().flatten().map(str::to_owned);
        let (caller, route) = (caller.clone(), known_action(&asked));
        Asked { caller, route, target: instance.into_iter().collect() }.leave(request);
    }
    let call = Call { state, caller, parameters, now };
    if version != VERSION {
        return Err(VendorError::invalid("Version", VERSION));
    }
    let done = match asked.as_str() {
        "UpgradeDBInstanceEngineVersion" => upgrades::engine_version(&call).await,
        "UpgradeDBInstanceKernelVersion" => upgrades::kernel_version(&call).await,
        "DescribeDBInstances" => instances::list(&call).await,
        "DescribeDBInstanceAttribute" => instances::show(&call).await,
        "ModifyDBInstanceMaintainTime" => instances::set_window(&call).await,
        "ModifyDBInstanceAutoUpgradeMinorVersion" => instances::set_policy(&call).await,
        "DescribeDBInstanceHAConfig" => groups::nodes(&call).await,
        "SwitchDBInstanceHA" => groups::switch(&call).await,
        "UpgradeDBInstanceMajorVersionPrecheck" => majors::check(&call).await,
        "DescribeUpgradeMajorVersionPrecheckTask" => majors::check_result(&call).await,
        "UpgradeDBInstanceMajorVersion" => majors::upgrade(&call).await,
        "DescribeUpgradeMajorVersionTasks" => majors::tasks(&call).await,
        "DescribeTasks" => tasks::describe(&call).await,
        "DescribeHistoryTasks" => tasks::history(&call).await,
        "ModifyTaskInfo" => tasks::modify(&call).await,
        _unknown => return Err(VendorError::invalid("Action", "a call that this service has")),
    };
    *action = asked;
    Ok(Value::Object(done?))
}

/// An object of these fields.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `2026-11-22T02:56:18Z`.
fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
