//! `/metrics`, `/healthz` and `/readyz` of a role that has no listener of its own, and of the api where they shall not be
//! public. There is no token: it listens where the operator says, on an address for operators.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures::future::BoxFuture;
use serde::Serialize;

use crate::telemetry::{bodies, metrics};

/// The type of Prometheus's text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One thing that must be so.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is.
    pub ready: bool,
    /// Whether the process is not ready without it.
    pub required: bool,
    /// What is missing, for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Check {
    /// What must be so: `Err` tells what is missing.
    pub fn required(name: &'static str, found: Result<(), String>) -> Self {
        Self { name, ready: found.is_ok(), required: true, missing: found.err() }
    }

    /// What should be so.
    pub fn wanted(name: &'static str, found: Result<(), String>) -> Self {
        Self { required: false, ..Self::required(name, found) }
    }
}

/// Whether a process can do its work, and what is missing.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether everything is there that is required.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl Readiness {
    /// Of these checks.
    pub fn of(checks: Vec<Check>) -> Self {
        Self { ready: checks.iter().all(|check| check.ready || !check.required), checks }
    }

    /// 200, or 503 with what is missing.
    pub fn respond(&self) -> HttpResponse {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        HttpResponse::build(status).json(self)
    }
}

/// Looks at what must be so.
pub type Look = Arc<dyn Fn() -> BoxFuture<'static, Readiness> + Send + Sync>;

/// Gives the metrics' text.
pub type Render = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// The metrics of this process and no others.
pub fn own() -> Render {
    Arc::new(|| Box::pin(async { metrics::render() }))
}

/// What serves on `listener`, once it is spawned.
///
/// # Errors
/// The listener's.
pub fn server(listener: TcpListener, look: Look, render: Render) -> std::io::Result<Server> {
    Ok(HttpServer::new(move || {
        let (look, render) = (Arc::clone(&look), Arc::clone(&render));
        App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let (look, render) = (Arc::clone(&look), Arc::clone(&render));
            async move { bodies::finish(answer(&request, &look, &render).await, payload, 0).await }
        }))
    })
    // A body that nobody reads ends its connection: see `bodies`.
    .client_disconnect_timeout(std::time::Duration::ZERO)
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run())
}

async fn answer(request: &HttpRequest, look: &Look, render: &Render) -> HttpResponse {
    let known = ["/healthz", "/readyz", "/metrics"].contains(&request.path());
    match (request.method(), request.path()) {
        (&Method::GET, "/healthz") => HttpResponse::Ok().content_type("text/plain").body("OK"),
        (&Method::GET, "/readyz") => look().await.respond(),
        (&Method::GET, "/metrics") => HttpResponse::Ok().content_type(TEXT).body(render().await),
        _ if known => HttpResponse::MethodNotAllowed().finish(),
        _ => HttpResponse::NotFound().finish(),
    }
}
