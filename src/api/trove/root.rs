//! `root`, the strongest account that a customer can have in its server (api-ref: `databases-users.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::request::{Body, Call, Keyed, json as answer};
use crate::api::trove::content;
use crate::api::trove::databases::operate;
use crate::api::trove::instances::load;
use crate::commands::operations::new_password;
use crate::domain::caller::Caller;
use crate::domain::operation::Operation;
use crate::domain::question::QuestionKind;
use crate::domain::replica_upgrade::serving;

/// The account, with its password: shown once.
#[derive(Serialize, ToSchema)]
pub struct RootView {
    /// `root`.
    name: &'static str,
    /// Its password.
    password: String,
}

/// `GET /instances/{id}/root`.
///
/// # Errors
/// 404; 422 for an instance that serves nobody; 503 when its server does not answer in time.
pub async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let instance = load(&call, &caller, call.instance_id()?).await?;
    serving(&instance)?;
    let enabled: bool = call.state.commands.ask(&instance, QuestionKind::HasRoot).await?;
    answer(StatusCode::OK, &json!({"rootEnabled": enabled}))
}

/// `POST /instances/{id}/root`: 200 with the password, which is the one that was given or a new one.
///
/// # Errors
/// 400 naming the field; 403 by role; 404; 413; 422.
pub async fn enable(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = match call.body {
        Body::Empty => Map::new(),
        _ => call.json()?,
    };
    let body = Value::Object(body);
    let password = match Field::of(&body).optional("password")? {
        Some(given) => given.text()?.to_owned(),
        None => new_password().expose_secret().to_owned(),
    };
    let wanted = Map::from_iter([("password".to_owned(), Value::String(password.clone()))]);
    let how = |body: &Map<String, Value>, engine| {
        let verifier = content::password(&Field::root(body, "password")?, engine)?;
        Ok(Operation::EnableRoot { verifier })
    };
    operate(&call, &caller, wanted, how).await?;
    answer(StatusCode::OK, &Keyed("user", &RootView { name: "root", password }))
}

/// `DELETE /instances/{id}/root`: 204.
///
/// # Errors
/// 403 by role; 404, also where root was never enabled; 413; 422.
pub async fn disable(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    operate(&call, &caller, Map::new(), |_, _| Ok(Operation::DisableRoot)).await?;
    Ok(HttpResponse::NoContent().finish())
}
