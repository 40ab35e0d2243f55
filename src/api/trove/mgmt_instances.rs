//! What admins see of instances, and do to them, whatever project they are of (api-ref: `mgmt.md`, instances).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::links::zoneless;
use crate::api::request::{Call, Keyed, accepted, json as answer};
use crate::api::trove::databases::listed;
use crate::api::trove::views::{InstanceView, Viewer, operating_status, shown_status};
use crate::db::instances::{self, Found};
use crate::db::{self, events};
use crate::domain::caller::Caller;
use crate::domain::ids::ProjectId;
use crate::domain::policy::{Rule, allow};
use crate::domain::question::{Diagnosis, QuestionKind};
use crate::domain::refusal::Refusal;

/// The server of an instance.
#[derive(Debug, Serialize, ToSchema)]
struct ServerPart {
    id: String,
    name: String,
    status: &'static str,
    tenant_id: String,
    host: String,
}

/// An instance, as admins see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManagedView {
    #[serde(flatten)]
    instance: InstanceView,
    server: Option<ServerPart>,
    service_status: Option<&'static str>,
    deleted: bool,
    deleted_at: Option<String>,
    task_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_enabled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_enabled_by: Option<String>,
}

/// When root was enabled first, and by whom.
#[derive(Debug, Serialize, ToSchema)]
pub struct RootHistory {
    id: String,
    enabled: String,
    user: String,
}

fn view(found: &Found, viewer: &Viewer<'_>) -> ManagedView {
    let Found { instance, catalogue, deleted_at, task } = found;
    let status = operating_status(instance, viewer.now);
    ManagedView {
        instance: InstanceView::detail(instance, &catalogue.paths, viewer),
        server: instance.running.as_ref().map(|running| ServerPart {
            id: running.generation.to_string(),
            name: instance.name.clone(),
            status: shown_status(instance),
            tenant_id: instance.project.as_str().to_owned(),
            host: instance.host.0.clone(),
        }),
        service_status: (!status.is_empty()).then_some(status),
        deleted: deleted_at.is_some(),
        deleted_at: deleted_at.map(zoneless),
        task_description: task.clone().unwrap_or_else(|| "No tasks for the instance.".to_owned()),
        root_enabled: None,
        root_enabled_by: None,
    }
}

/// A truth value of the query; clients write it with a capital.
fn truth(call: &Call, key: &str) -> Result<Option<bool>, Refusal> {
    match call.query_value(key).map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Refusal::invalid(key, "must be true or false")),
    }
}

/// `GET /mgmt/instances`: every project's, what was changed last first. `marker` is how many come before the page.
///
/// # Errors
/// 400 for the query; 403 by role.
pub async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let limit = call.limit()?;
    let offset = match call.query_value("marker") {
        None | Some("") => 0,
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| Refusal::invalid("marker", "must be how many elements come before the page"))?,
    };
    let deleted = truth(&call, "deleted")?.unwrap_or(false);
    let project = match call.query_value("project_id") {
        None | Some("") => None,
        Some(text) => Some(
            ProjectId::parse(text).ok_or_else(|| Refusal::invalid("project_id", "must be a project's id"))?,
        ),
    };
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| {
            instances::page_of_all(conn, project.as_ref(), deleted, offset.into(), i64::from(limit) + 1)
        })
        .await;
    let mut found = read?;
    let keep = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = (found.len() > keep).then(|| call.next_page(&offset.saturating_add(limit).to_string()));
    found.truncate(keep);
    let viewer = Viewer { base: &call.base, caller: &caller, now: Utc::now() };
    let views: Vec<ManagedView> = found.iter().map(|found| view(found, &viewer)).collect();
    listed("instances", json!(views), next)
}

/// The instance, also where it is deleted and the query asks for that.
async fn load(call: &Call) -> Result<Found, Fault> {
    let (id, deleted) = (call.instance_id()?, truth(call, "deleted")?.unwrap_or(false));
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| instances::find_of_all(conn, id)).await;
    found?
        .filter(|found| deleted || found.deleted_at.is_none())
        .ok_or_else(|| Fault::not_found(id.to_string()))
}

/// The first time that root was enabled, and who did.
async fn root_of(call: &Call, found: &Found) -> Result<Option<(DateTime<Utc>, String)>, Fault> {
    let id = found.instance.id;
    let first: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| events::first(conn, id, "enable_root")).await;
    Ok(first?)
}

/// `GET /mgmt/instances/{id}`.
///
/// # Errors
/// 403 by role; 404.
pub async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let found = load(&call).await?;
    let viewer = Viewer { base: &call.base, caller: &caller, now: Utc::now() };
    let mut shown = view(&found, &viewer);
    if let Some((at, user)) = root_of(&call, &found).await? {
        shown.root_enabled = Some(zoneless(at));
        shown.root_enabled_by = Some(user);
    }
    answer(StatusCode::OK, &Keyed("instance", &shown))
}

/// `GET /mgmt/instances/{id}/root`.
///
/// # Errors
/// 403 by role; 404.
pub async fn root(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let found = load(&call).await?;
    let (enabled, user) = match root_of(&call, &found).await? {
        Some((at, user)) => (zoneless(at), user),
        None => ("Never".to_owned(), "Nobody".to_owned()),
    };
    let history = RootHistory { id: found.instance.id.to_string(), enabled, user };
    answer(StatusCode::OK, &Keyed("root_history", &history))
}

/// How a server is. Sizes are in kB.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosticsView {
    version: String,
    threads: u64,
    fd_size: u64,
    vm_size: u64,
    vm_peak: u64,
    vm_rss: u64,
    vm_hwm: u64,
}

/// What a server has of its host. Memory is in kB.
#[derive(Debug, Serialize, ToSchema)]
pub struct HardwareView {
    mem_total: i64,
    num_cpus: i32,
}

/// Asks an instance's server how it is.
async fn diagnosis(call: &Call) -> Result<Diagnosis, Fault> {
    let found = load(call).await?;
    Ok(call.state.commands.ask(&found.instance, QuestionKind::Diagnosis).await?)
}

/// `GET /mgmt/instances/{id}/diagnostics`: of the server's first process.
///
/// # Errors
/// 403 by role; 404; 501 for a simulated instance; 503 when its server does not answer.
pub async fn diagnostics(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let Diagnosis { version, process } = diagnosis(&call).await?;
    let process = process.ok_or_else(|| Fault::not_yet("The process of a simulated server"))?;
    let view = DiagnosticsView {
        version,
        threads: process.threads,
        fd_size: process.file_slots,
        vm_size: process.size,
        vm_peak: process.largest_size,
        vm_rss: process.resident,
        vm_hwm: process.most_resident,
    };
    answer(StatusCode::OK, &Keyed("diagnostics", &view))
}

/// `GET /mgmt/instances/{id}/hwinfo`: what the instance's flavor has.
///
/// # Errors
/// 403 by role; 404.
pub async fn hardware(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let flavor = load(&call).await?.instance.flavor;
    let view = HardwareView { mem_total: i64::from(flavor.ram_mb) * 1024, num_cpus: flavor.vcpus };
    answer(StatusCode::OK, &Keyed("hwinfo", &view))
}

/// `GET /mgmt/instances/{id}/rpc_ping`: whether its host's worker and its server answer.
///
/// # Errors
/// 403 by role; 404; 503 when they do not.
pub async fn ping(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    diagnosis(&call).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /mgmt/instances/{id}/action`: `{"reboot": {}}` restarts the instance, `{"reset-task-status": {}}` resets its status as the
/// action `reset_status` does; Trove's others are 501.
///
/// # Errors
/// 400 for a body that names no action, or several; 403 by role; 404; 422 for a busy instance; 501.
pub async fn act(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body: Map<String, Value> = call.json()?;
    let mut keys = body.keys();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Refusal::invalid("body", "must name exactly one action").into());
    };
    if !["reboot", "stop", "migrate", "reset-task-status", "rebuild"].contains(&key.as_str()) {
        let actions = "must name an action: reboot, stop, migrate, reset-task-status or rebuild";
        return Err(Refusal::invalid("body", actions).into());
    }
    Field::root(&body, key)?.object()?;
    allow(&caller, Rule::Manage)?;
    let found = load(&call).await?;
    match key.as_str() {
        "reboot" => call.state.commands.restart_instance(&caller, found.instance.id).await?,
        "reset-task-status" => call.state.commands.reset_status(&caller, found.instance.id, false).await?,
        _ => return Err(Fault::not_yet(&format!("The administrator's action {key}"))),
    }
    Ok(accepted())
}
