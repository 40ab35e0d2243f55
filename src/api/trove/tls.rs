//! The TLS state of an instance (api-ref: `tls.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::{Field, closed};
use crate::api::links::zoneless;
use crate::api::request::{Call, Keyed, Route, json as answer};
use crate::api::shapes::TlsRequest;
use crate::api::trove::instances::load;
use crate::commands::tls::TlsState;
use crate::domain::caller::Caller;
use crate::domain::datastore::RuntimeKind;
use crate::domain::instance::Instance;
use crate::domain::policy::Rule;
use crate::domain::refusal::Refusal;

/// The one certificate that there is: the one that the service makes.
const BUILT_IN: &str = "builtin";

/// How an instance's clients are encrypted.
#[derive(Debug, Serialize, ToSchema)]
pub struct TlsView {
    /// `on`; `off` until the first server is made.
    status: &'static str,
    /// `builtin`: clients may ask for TLS; `enforced`: they must.
    mode: &'static str,
    /// What the server shows to its clients; a simulated one has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateView>,
}

/// A certificate.
#[derive(Debug, Serialize, ToSchema)]
struct CertificateView {
    /// Its common name.
    cn: String,
    /// Until when it is good.
    expire_at: String,
    /// The addresses that it is good for.
    san: Vec<String>,
    /// It whole, as PEM, where `include_certificate` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

/// What became of a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct TlsChanged {
    status: &'static str,
    mode: &'static str,
    /// Never: no server is touched.
    restart_required: bool,
}

fn status(instance: &Instance, tls: &TlsState) -> &'static str {
    let simulated = instance.shown_version().runtime == RuntimeKind::Simulated;
    if simulated || tls.certificate.is_some() { "on" } else { "off" }
}

fn mode(tls: &TlsState) -> &'static str {
    if tls.required { "enforced" } else { BUILT_IN }
}

/// `GET /instances/{id}/ssl`.
async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let instance = load(&call, &caller, call.instance_id()?).await?;
    let whole = call.query_value("include_certificate").is_some_and(is_true);
    let tls = call.state.commands.tls(instance.id).await?;
    let certificate = tls.certificate.as_ref().map(|it| CertificateView {
        cn: it.described.name.clone(),
        expire_at: zoneless(it.described.until),
        san: it.described.good_for.clone(),
        payload: whole.then(|| it.pem.clone()),
    });
    let status = status(&instance, &tls);
    answer(StatusCode::OK, &Keyed("ssl", &TlsView { status, mode: mode(&tls), certificate }))
}

/// What oslo's `bool_from_string` takes for true.
fn is_true(text: &str) -> bool {
    ["1", "t", "true", "on", "y", "yes"].contains(&text.trim().to_ascii_lowercase().as_str())
}

/// `POST /instances/{id}/ssl`.
async fn change(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let required = parse(&body)?;
    let instance = load(&call, &caller, call.instance_id()?).await?;
    let tls = call.state.commands.require_tls(&caller, instance.id, required).await?;
    tracing::info!(instance.id = %instance.id, tls.required = required, "TLS state changed");
    let changed = TlsChanged { status: status(&instance, &tls), mode: mode(&tls), restart_required: false };
    answer(StatusCode::OK, &Keyed("ssl", &changed))
}

/// Whether TLS shall be required.
fn parse(body: &Map<String, Value>) -> Result<bool, Fault> {
    closed(body, &["ssl"])?;
    let ssl = Field::root(body, "ssl")?;
    ssl.closed(&["enable", "disable", "rollback", "mode", "container_ref", "password_ref"])?;
    let mut wanted = Vec::new();
    for key in ["enable", "disable", "rollback"] {
        if let Some(field) = ssl.optional(key)?
            && field.boolean()?
        {
            wanted.push(key);
        }
    }
    let mode = match ssl.optional("mode")? {
        Some(field) => {
            let word = field.text()?;
            if !["basic", "enforced", "mtls"].contains(&word) {
                return Err(field.refuse("basic, enforced or mtls").into());
            }
            word
        }
        None => "basic",
    };
    let container = match ssl.optional("container_ref")? {
        Some(field) => Some(field.words(1024)?),
        None => None,
    };
    let password = match ssl.optional("password_ref")? {
        Some(field) => Some(field.words(1024)?),
        None => None,
    };
    match wanted[..] {
        ["disable"] => Ok(false),
        ["rollback"] => Err(Fault::not_yet("Going back to an earlier certificate (ssl.rollback)")),
        ["enable"] => match container {
            None => Err(Refusal::Invalid(format!(
                "Field 'ssl.container_ref': must be '{BUILT_IN}', the certificate that the service makes."
            ))
            .into()),
            Some(BUILT_IN) if password.is_some() => {
                Err(Refusal::Invalid(format!("Field 'ssl.password_ref': '{BUILT_IN}' has no password."))
                    .into())
            }
            Some(BUILT_IN) if mode == "mtls" => {
                Err(Fault::not_yet("Certificates of clients (ssl.mode mtls)"))
            }
            Some(BUILT_IN) => Ok(mode == "enforced"),
            Some(_) => Err(Fault::not_yet("A certificate from a secret store (ssl.container_ref)")),
        },
        _ => Err(Refusal::Invalid(
            "Field 'ssl': exactly one of 'enable', 'disable' and 'rollback' must be true.".to_owned(),
        )
        .into()),
    }
}

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/ssl",
        Rule::InstanceRead,
        Doc::new("showTls", "The TLS state of an instance", "tls.md")
            .gives(200, Gives::One("ssl", shape::<TlsView>)),
        |call, caller| Box::pin(show(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/ssl",
        Rule::InstanceUpdate,
        Doc::new("changeTls", "Require TLS of an instance's clients, or not", "tls.md")
            .takes::<TlsRequest>(sample!("tls-enable-request"))
            .gives(200, Gives::One("ssl", shape::<TlsChanged>))
            .refuses(&[422, 501]),
        |call, caller| Box::pin(change(call, caller)),
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_body_has_one_meaning() {
        for (ssl, meaning) in [
            (json!({"enable": true, "mode": "enforced", "container_ref": "builtin"}), Ok(true)),
            (json!({"enable": true, "mode": "basic", "container_ref": "builtin"}), Ok(false)),
            (json!({"enable": true, "container_ref": "builtin", "password_ref": null}), Ok(false)),
            (json!({"disable": true}), Ok(false)),
            (json!({"disable": true, "enable": false}), Ok(false)),
            (json!({"enable": true, "mode": "mtls", "container_ref": "builtin"}), Err(501)),
            (json!({"enable": true, "container_ref": "http://barbican/v1/containers/0b1f6d52"}), Err(501)),
            (json!({"rollback": true}), Err(501)),
            (json!({"enable": true, "mode": "enforced"}), Err(400)),
            (json!({"enable": true, "container_ref": "builtin", "password_ref": "x"}), Err(400)),
            (json!({"enable": true, "mode": "strict", "container_ref": "builtin"}), Err(400)),
            (json!({"enable": true, "disable": true, "container_ref": "builtin"}), Err(400)),
            (json!({"enable": "yes", "container_ref": "builtin"}), Err(400)),
            (json!({"enable": false}), Err(400)),
            (json!({"enabled": true}), Err(400)),
            (json!({}), Err(400)),
            (json!([]), Err(400)),
        ] {
            let body = json!({"ssl": ssl});
            let parsed = parse(body.as_object().unwrap()).map_err(|fault| fault.row().0.as_u16());
            assert_eq!(parsed, meaning, "{body}");
        }
        assert_eq!(parse(&Map::new()).unwrap_err().row().0, 400);
    }
}
