//! The logs of an instance, and the container that they are published in (api-ref: `logs.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::{Field, closed};
use crate::api::request::{Call, Keyed, Route, json as answer};
use crate::api::shapes::LogRequest;
use crate::api::trove::instances::load;
use crate::commands::logs::LogChange;
use crate::db::logs::Object;
use crate::domain::caller::Caller;
use crate::domain::ids::InstanceId;
use crate::domain::log::Log;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;

/// The one container of each project: what it holds are the parts of its instances' logs.
const CONTAINER: &str = "database_logs";

/// A log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogView {
    /// Its name.
    name: &'static str,
    /// `USER`, or `SYS` for those that the engine always writes.
    r#type: &'static str,
    /// `Disabled`, `Enabled`, `Ready`, `Partial` or `Published`.
    status: &'static str,
    /// Bytes that are published.
    published: i64,
    /// Bytes that the server has written since.
    pending: i64,
    /// The container of what is published, `None` before.
    container: String,
    /// What the names of its objects begin with, `None` before.
    prefix: String,
    /// `None`: there is no object that tells of the others.
    metafile: &'static str,
}

impl LogView {
    fn of(id: InstanceId, log: &Log) -> Self {
        let published = |text: String| if log.has_parts { text } else { "None".to_owned() };
        Self {
            name: log.kind.name,
            r#type: if log.kind.is_system { "SYS" } else { "USER" },
            status: log.status(),
            published: log.published,
            pending: log.pending,
            container: published(CONTAINER.to_owned()),
            prefix: published(format!("{id}.{}.", log.kind.name)),
            metafile: "None",
        }
    }
}

/// `GET /instances/{id}/log`.
async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let instance = load(&call, &caller, call.instance_id()?).await?;
    let logs = call.state.commands.logs(&caller, &instance).await?;
    let views: Vec<LogView> = logs.iter().map(|log| LogView::of(instance.id, log)).collect();
    answer(StatusCode::OK, &Keyed("logs", &views))
}

/// `POST /instances/{id}/log`.
async fn change(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let (name, change) = parse(&body)?;
    let instance = load(&call, &caller, call.instance_id()?).await?;
    let log = call.state.commands.change_log(&caller, instance.id, name, change).await?;
    answer(StatusCode::OK, &Keyed("log", &LogView::of(instance.id, &log)))
}

fn parse(body: &Map<String, Value>) -> Result<(&str, LogChange), Fault> {
    closed(body, &["name", "enable", "disable", "publish", "discard"])?;
    let wants = |key: &str| -> Result<bool, Refusal> {
        let Some(value) = body.get(key) else { return Ok(false) };
        match value {
            Value::Bool(on) => Ok(*on),
            Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
            Value::Number(number) if number.as_u64() == Some(1) => Ok(true),
            Value::Null => Ok(false),
            _other => Err(Refusal::invalid(key, "must be 0 or 1")),
        }
    };
    let name = Field::root(body, "name")?.words(64)?;
    let enabled = match (wants("enable")?, wants("disable")?) {
        (true, true) => {
            return Err(Refusal::invalid("enable", "cannot be set together with 'disable'").into());
        }
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    Ok((name, LogChange { enabled, publish: wants("publish")?, discard: wants("discard")? }))
}

fn of_container(call: &Call, caller: &Caller) -> Result<(), Fault> {
    allow(caller, Rule::InstanceRead)?;
    if call.param(0) == CONTAINER { Ok(()) } else { Err(Fault::not_found(call.param(0))) }
}

/// `GET /v1.0/{project}/swift/{container}`.
async fn objects(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    of_container(&call, &caller)?;
    let text = |key: &str| call.query_value(key).unwrap_or_default();
    let found = call.state.commands.log_objects(&caller, text("prefix"), text("marker")).await?;
    let views: Vec<Value> = found
        .iter()
        .map(|object| {
            json!({
                "name": object.object,
                "bytes": object.bytes,
                "hash": object.hash,
                "content_type": "text/plain",
                "last_modified": object.made_at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            })
        })
        .collect();
    if text("format") == "json" {
        return answer(StatusCode::OK, &views);
    }
    let names: String = found.iter().map(|object| format!("{}\n", object.object)).collect();
    Ok(HttpResponse::Ok().content_type("text/plain").body(names))
}

/// `GET` and `HEAD /v1.0/{project}/swift/{container}/{object}`.
async fn object(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    of_container(&call, &caller)?;
    let found = call.state.commands.log_object(&caller, call.param(1)).await?;
    let (Object { hash, lines, made_at, .. }, content) =
        found.ok_or_else(|| Fault::not_found(call.param(1)))?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain")
        .insert_header(("etag", hash))
        .insert_header(("last-modified", made_at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()))
        .insert_header(("x-object-meta-lines", lines.to_string()))
        .body(content))
}

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/log",
        Rule::InstanceRead,
        Doc::new("listLogs", "The logs of an instance", "logs.md")
            .gives(200, Gives::Many("logs", shape::<LogView>)),
        |call, caller| Box::pin(list(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/log",
        Rule::InstanceRead,
        Doc::new("changeLog", "Show a log, turn it on or off, publish it or take that back", "logs.md")
            .takes::<LogRequest>(sample!("log-publish-request"))
            .gives(200, Gives::One("log", shape::<LogView>))
            .refuses(&[413, 422]),
        |call, caller| Box::pin(change(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/swift/{container}",
        Rule::InstanceRead,
        Doc::new("listLogObjects", "The parts of published logs", "logs.md").gives(200, Gives::Text),
        |call, caller| Box::pin(objects(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/swift/{container}/{object}",
        Rule::InstanceRead,
        Doc::new("readLogObject", "A part of a published log", "logs.md").gives(200, Gives::Text),
        |call, caller| Box::pin(object(call, caller)),
    ),
    Route::project(
        "HEAD",
        "/v1.0/{project}/swift/{container}/{object}",
        Rule::InstanceRead,
        Doc::new("tellLogObject", "How long a part of a published log is", "logs.md")
            .gives(200, Gives::Nothing),
        |call, caller| Box::pin(object(call, caller)),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_body_has_one_meaning() {
        let change = |enabled, publish, discard| Ok(LogChange { enabled, discard, publish });
        for (body, meaning) in [
            (json!({"name": "general"}), change(None, false, false)),
            (json!({"name": "general", "enable": 1}), change(Some(true), false, false)),
            (json!({"name": "general", "disable": 1, "discard": true}), change(Some(false), false, true)),
            (json!({"name": "general", "publish": 1, "enable": 0}), change(None, true, false)),
            (json!({"name": "general", "enable": 1, "disable": 1}), Err(400)),
            (json!({"name": "general", "enable": 2}), Err(400)),
            (json!({"name": "general", "enable": "yes"}), Err(400)),
            (json!({"name": ""}), Err(400)),
            (json!({"name": 1}), Err(400)),
            (json!({"name": "general", "save": 1}), Err(400)),
            (json!({}), Err(400)),
        ] {
            let parsed = parse(body.as_object().unwrap()).map(|(_, change)| change);
            assert_eq!(parsed.map_err(|fault| fault.row().0.as_u16()), meaning, "{body}");
        }
    }
}
