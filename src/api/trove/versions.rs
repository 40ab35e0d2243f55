//! The documents that need no token (api-ref: `versions.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

use crate::api::error::Fault;
use crate::api::request::{Call, json as answer};

fn document(call: &Call) -> Value {
    json!({
        "id": "v1.0",
        "status": "CURRENT",
        "updated": "2012-08-01T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{}/v1.0/", call.base.0)}],
    })
}

/// `GET /`: the versions that there are.
///
/// # Errors
/// None of its own.
pub async fn list(call: Call) -> Result<HttpResponse, Fault> {
    answer(StatusCode::OK, &json!({"versions": [document(&call)]}))
}

/// `GET /v1.0`: the one version.
///
/// # Errors
/// None of its own.
pub async fn show(call: Call) -> Result<HttpResponse, Fault> {
    answer(StatusCode::OK, &json!({"version": document(&call)}))
}

/// `GET /healthcheck`: whether this process answers; it does not ask the store.
///
/// # Errors
/// None of its own.
pub async fn health(_call: Call) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok().content_type("text/plain").body("OK"))
}
