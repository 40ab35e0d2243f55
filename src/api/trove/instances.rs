//! Instances: list, show, create, update, delete (api-ref: `instances.md`).

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::Utc;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::api::error::Fault;
use crate::api::links::Link;
use crate::api::request::{Call, Keyed, accepted, json as answer};
use crate::api::trove::create;
use crate::api::trove::update::{self, Change, Update};
use crate::api::trove::views::{InstanceView, Viewer};
use crate::commands::instances::{CreateInstance, visible};
use crate::commands::upgrades::UpgradeRequest;
use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::{self, catalogue, instances};
use crate::domain::build_upgrades::are_builds_of_one;
use crate::domain::caller::Caller;
use crate::domain::datastore::{Datastore, DatastoreVersion, EngineKind};
use crate::domain::ids::InstanceId;
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::timing::Timing;
use crate::domain::upgrade::Wishes;

/// The instance, if it is there for the caller.
///
/// # Errors
/// 404; the store's.
pub async fn load(call: &Call, caller: &Caller, id: InstanceId) -> Result<Instance, Fault> {
    let found: Result<_, db::Error> = call.state.commands.db.run(move |conn| instances::find(conn, id)).await;
    Ok(visible(found?, caller, id)?)
}

fn viewer<'a>(call: &'a Call, caller: &'a Caller) -> Viewer<'a> {
    Viewer { base: &call.base, caller, now: Utc::now() }
}

/// A page of the project's instances, the catalogue that they are seen against, and the link to the next one.
async fn page(
    call: &Call,
    caller: &Caller,
) -> Result<(Vec<Instance>, Option<Arc<Catalogue>>, Option<Link>), Fault> {
    let paging = call.paging()?;
    let project = caller.project.clone();
    // One more than the page tells whether there is another.
    let limit = i64::from(paging.limit) + 1;
    let read: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| instances::page(conn, &project, paging.marker, limit)).await;
    let (mut found, catalogue) = read?;
    let keep = usize::try_from(paging.limit).unwrap_or(usize::MAX);
    let more = found.len() > keep;
    found.truncate(keep);
    let next = found.last().filter(|_| more).map(|last| call.next_page(&last.id.to_string()));
    Ok((found, catalogue, next))
}

/// A page: both names of the paging key, since gophercloud reads `instances_links`, and everybody else `links`.
#[derive(Serialize)]
struct Listed {
    instances: Vec<InstanceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances_links: Option<[Link; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<[Link; 1]>,
}

fn listed(instances: Vec<InstanceView>, next: Option<Link>) -> Result<HttpResponse, Fault> {
    let instances_links = next.clone().map(|next| [next]);
    answer(StatusCode::OK, &Listed { instances, instances_links, links: next.map(|next| [next]) })
}

/// `GET /instances`.
///
/// # Errors
/// 400 for the paging; the store's.
pub async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (found, _, next) = page(&call, &caller).await?;
    let viewer = viewer(&call, &caller);
    listed(found.iter().map(|instance| InstanceView::list(instance, &viewer)).collect(), next)
}

/// `GET /instances/detail`.
///
/// # Errors
/// 400 for the paging; the store's.
pub async fn list_detail(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (found, catalogue, next) = page(&call, &caller).await?;
    let paths = catalogue.as_ref().map_or(&[][..], |catalogue| &catalogue.paths);
    let viewer = viewer(&call, &caller);
    listed(found.iter().map(|instance| InstanceView::detail(instance, paths, &viewer)).collect(), next)
}

/// `GET /instances/{id}`.
///
/// # Errors
/// 404; the store's.
pub async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = call.instance_id()?;
    let read: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| instances::find_shown(conn, id)).await;
    let (found, catalogue) = read?.unzip();
    let instance = visible(found, &caller, id)?;
    let paths = catalogue.as_ref().map_or(&[][..], |catalogue| &catalogue.paths);
    let view = InstanceView::detail(&instance, paths, &viewer(&call, &caller));
    answer(StatusCode::OK, &Keyed("instance", &view))
}

/// Parses a creation, with its content by the rules of its version's engine. A version that is not there is the
/// command's to refuse.
async fn parse_creation(call: &Call, body: Map<String, Value>) -> Result<create::Creation, Fault> {
    let Some((datastore, version)) = create::asked_version(&body) else {
        return create::parse(&body, EngineKind::MariaDb);
    };
    let now: Result<_, db::Error> = call.state.commands.db.run(catalogue_cache::now).await;
    let engine = engine_of(&now?.datastores, datastore, version).unwrap_or(EngineKind::MariaDb);
    // Making PostgreSQL's verifiers takes a while.
    match tokio::task::spawn_blocking(move || create::parse(&body, engine)).await {
        Ok(parsed) => parsed,
        Err(_) => Err(Fault::from(db::Error::Broken("a creation could not be parsed".to_owned()))),
    }
}

/// The engine of a version of a datastore, each told by name or id or left out; of the datastore's others when it is not
/// there.
fn engine_of(datastores: &[Datastore], datastore: Option<&str>, version: Option<&str>) -> Option<EngineKind> {
    let is = |wanted: &str, name: &str, id: String| {
        name.eq_ignore_ascii_case(wanted) || id.eq_ignore_ascii_case(wanted)
    };
    let store = match (datastore, datastores) {
        (Some(wanted), all) => all.iter().find(|store| is(wanted, &store.name, store.id.to_string()))?,
        (None, [only]) => only,
        (None, _several) => return None,
    };
    let wanted = store.versions.iter().find(|v| version.is_some_and(|w| is(w, &v.name, v.id.to_string())));
    wanted.or(store.versions.first()).map(|version| version.engine)
}

/// `POST /instances`: 200 with the detail view of an instance that is building.
///
/// # Errors
/// 400 naming the field; what the command refuses.
pub async fn create(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let idempotency_key = call.idempotency_key("coffer.create", None, &Value::Object(body.clone()))?;
    let creation = parse_creation(&call, body).await?;
    let before =
        call.state.commands.earlier_task(&caller, Rule::InstanceCreate, idempotency_key.as_ref()).await?;
    if let Some(before) = before {
        let instance = call.state.commands.made_by(before).await?;
        let view = InstanceView::detail(&instance, &[], &viewer(&call, &caller));
        return answer(StatusCode::OK, &Keyed("instance", &view));
    }
    let mut request = CreateInstance { idempotency_key, ..creation.request };
    if let Some(number) = creation.version_number {
        request.version = Some(
            version_by_number(&call, request.datastore.as_deref(), request.version.as_deref(), &number)
                .await?,
        );
    }
    let instance = call.state.commands.create_instance(&caller, request).await?;
    let view = InstanceView::detail(&instance, &[], &viewer(&call, &caller));
    answer(StatusCode::OK, &Keyed("instance", &view))
}

/// The id of the version that has this number, in the datastore that is named or is the only one.
async fn version_by_number(
    call: &Call,
    datastore: Option<&str>,
    name: Option<&str>,
    number: &str,
) -> Result<String, Fault> {
    let read: Result<_, db::Error> = call.state.commands.db.run(catalogue::versions).await;
    let of_datastore = |wanted: &str, name: &str, id: String| {
        name.eq_ignore_ascii_case(wanted) || id.eq_ignore_ascii_case(wanted)
    };
    let mut all = read?;
    all.retain(|v| datastore.is_none_or(|d| of_datastore(d, &v.datastore, v.datastore_id.to_string())));
    let is_named = |v: &DatastoreVersion, n: &str| v.name == n || v.id.to_string().eq_ignore_ascii_case(n);
    // Each build of the version that is named.
    let fits = |v: &DatastoreVersion| match name {
        None => true,
        Some(n) => all.iter().any(|named| is_named(named, n) && are_builds_of_one(named, v)),
    };
    let found: Vec<_> = all.iter().filter(|v| v.number == number && fits(v)).collect();
    match &found[..] {
        [one] => Ok(one.id.to_string()),
        [] => Err(Refusal::Invalid(format!("Datastore version number '{number}' cannot be found.")).into()),
        [_, _, ..] => Err(Refusal::Invalid(format!(
            "Multiple datastore versions found for '{number}', use a UUID or name the version too."
        ))
        .into()),
    }
}

/// `PUT` and `PATCH /instances/{id}`: 202 with nothing.
///
/// Everything that can refuse is asked before the first change: a refused request changes nothing.
///
/// # Errors
/// 400 for the body; 404; 403 by role; what the command refuses; 501 for what comes later.
pub async fn update(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let Update { name, change } = update::parse(&body, call.method == "PUT")?;
    let idempotency_key = call.idempotency_key("coffer.update", None, &Value::Object(body))?;
    let id = call.instance_id()?;
    load(&call, &caller, id).await?;
    if name.is_some() || change != Some(Change::Detach) {
        allow(&caller, Rule::InstanceUpdate)?;
    }
    match change {
        None => {}
        Some(Change::DetachConfiguration) => {
            call.state.commands.configure_instance(&caller, id, None, name).await?;
            return Ok(accepted());
        }
        Some(Change::AttachConfiguration(group)) => {
            call.state.commands.configure_instance(&caller, id, Some(group), name).await?;
            return Ok(accepted());
        }
        // One transaction for both: it is one request.
        Some(Change::Detach) => {
            call.state.commands.detach_instance(&caller, id, name).await?;
            return Ok(accepted());
        }
        Some(Change::Version(version)) => {
            let request = UpgradeRequest {
                version,
                wishes: Wishes::default(),
                far: false,
                rename: name,
                timing: Timing::Now,
                idempotency_key,
            };
            call.state.commands.upgrade_instance(&caller, id, request).await?;
            return Ok(accepted());
        }
        // What it does not say stays.
        Some(Change::Access(None)) => {}
        Some(Change::Access(Some(cidrs))) => {
            call.state.commands.limit_access(&caller, id, cidrs, name).await?;
            return Ok(accepted());
        }
    }
    if let Some(name) = name {
        call.state.commands.rename_instance(&caller, id, name).await?;
    }
    Ok(accepted())
}

/// `DELETE /instances/{id}`: 202 with nothing.
///
/// # Errors
/// 404; 403 by role and for a source with replicas; 422 for a busy instance.
pub async fn delete(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    call.state.commands.delete_instance(&caller, call.instance_id()?).await?;
    Ok(accepted())
}

/// `GET /clusters`: there are none.
///
/// # Errors
/// None of its own.
pub async fn clusters(_call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    answer(StatusCode::OK, &json!({"clusters": Value::Array(Vec::new())}))
}

/// `GET /clusters/{id}`: clients look an instance's name up here when they have not found it elsewhere.
///
/// # Errors
/// 404, always.
pub async fn cluster(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    Err(Fault::not_found(call.param(0)))
}

/// `POST /clusters`.
///
/// # Errors
/// 501, always.
pub async fn create_cluster(_call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    Err(Fault::NotImplemented("Clusters not supported.".to_owned()))
}
