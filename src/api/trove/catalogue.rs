//! Datastores, their versions, flavors and limits (api-ref: `datastores.md`, `flavors.md`).

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::Utc;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::limits;
use crate::api::links::{Base, Link};
use crate::api::request::{Call, accepted, json as answer};
use crate::commands::versions::VersionChange;
use crate::db::{self, catalogue, quotas};
use crate::domain::caller::Caller;
use crate::domain::datastore::{Datastore, DatastoreVersion};
use crate::domain::flavor::Flavor;
use crate::domain::policy::{Rule, allow};
use crate::domain::quota::Resource;

/// A datastore.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatastoreView {
    id: String,
    name: String,
    links: Vec<Link>,
    versions: Vec<VersionView>,
    /// The id of one of `versions`; clients look it up there.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_version: Option<String>,
}

/// A datastore version.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionView {
    id: String,
    name: String,
    version: String,
    links: Vec<Link>,
    /// Absent inside a datastore.
    #[serde(skip_serializing_if = "Option::is_none")]
    datastore: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    operator: Option<OperatorPart>,
}

/// What only admins see of a version. Our versions come from binaries on hosts: there is no image.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VersionOperatorPart)]
struct OperatorPart {
    active: bool,
    packages: String,
    image: Option<String>,
    image_tags: Vec<String>,
    registry_ext: Option<String>,
    repl_strategy: Option<String>,
}

/// A datastore version, as those see it who manage versions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManagedVersionView {
    id: String,
    name: String,
    version: String,
    datastore_id: String,
    datastore_name: String,
    datastore_manager: String,
    image: Option<String>,
    image_tags: Vec<String>,
    packages: Vec<String>,
    active: bool,
    registry_ext: Option<String>,
    repl_strategy: Option<String>,
    default: bool,
}

impl ManagedVersionView {
    fn new(version: &DatastoreVersion, datastore: &Datastore) -> Self {
        Self {
            id: version.id.to_string(),
            name: version.name.clone(),
            version: version.number.clone(),
            datastore_id: datastore.id.to_string(),
            datastore_name: datastore.name.clone(),
            datastore_manager: datastore.name.clone(),
            image: None,
            image_tags: Vec::new(),
            packages: Vec::new(),
            active: version.active,
            registry_ext: None,
            repl_strategy: None,
            default: datastore.default_version == Some(version.id),
        }
    }
}

/// A type of volumes.
#[derive(Debug, Serialize, ToSchema)]
pub struct VolumeTypeView {
    id: String,
    name: String,
    is_public: bool,
    description: Option<String>,
}

/// A flavor.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlavorView {
    /// A number where the id is one, else null; clients then read `str_id`.
    id: Option<u64>,
    str_id: String,
    name: String,
    ram: i32,
    vcpus: i32,
    disk: u32,
    ephemeral: u32,
    links: Vec<Link>,
}

impl VersionView {
    fn new(version: &DatastoreVersion, base: &Base, caller: &Caller, with_datastore: bool) -> Self {
        let id = version.id.to_string();
        Self {
            links: base.resource(caller.project.as_str(), "datastores/versions", &id),
            id,
            name: version.name.clone(),
            version: version.number.clone(),
            datastore: with_datastore.then(|| version.datastore_id.to_string()),
            operator: caller.is_admin().then(|| OperatorPart {
                active: version.active,
                packages: String::new(),
                image: None,
                image_tags: Vec::new(),
                registry_ext: None,
                repl_strategy: None,
            }),
        }
    }
}

impl DatastoreView {
    fn new(datastore: &Datastore, base: &Base, caller: &Caller, inactive_too: bool) -> Self {
        let id = datastore.id.to_string();
        let shown = |version: &&DatastoreVersion| inactive_too || version.active;
        Self {
            links: base.resource(caller.project.as_str(), "datastores", &id),
            id,
            name: datastore.name.clone(),
            default_version: datastore
                .versions
                .iter()
                .filter(shown)
                .find(|version| Some(version.id) == datastore.default_version)
                .map(|version| version.id.to_string()),
            versions: datastore
                .versions
                .iter()
                .filter(shown)
                .map(|version| VersionView::new(version, base, caller, false))
                .collect(),
        }
    }
}

impl FlavorView {
    /// The view of a flavor for a caller of `project`.
    pub fn new(flavor: &Flavor, base: &Base, project: &str) -> Self {
        let text = &flavor.id.0;
        let number = text.parse::<u64>().ok().filter(|number| number.to_string() == *text);
        Self {
            id: number,
            str_id: text.clone(),
            name: flavor.name.clone(),
            ram: flavor.ram_mb,
            vcpus: flavor.vcpus,
            disk: 0,
            ephemeral: 0,
            links: base.resource(project, "flavors", text),
        }
    }
}

async fn read_datastores(call: &Call) -> Result<Vec<Datastore>, Fault> {
    call.state.commands.db.run(catalogue::datastores).await.map_err(|e: db::Error| e.into())
}

/// A datastore by its id or, in any case, its name.
async fn read_datastore(call: &Call) -> Result<Datastore, Fault> {
    let wanted = call.param(0);
    read_datastores(call)
        .await?
        .into_iter()
        .find(|d| d.name.eq_ignore_ascii_case(wanted) || d.id.to_string().eq_ignore_ascii_case(wanted))
        .ok_or_else(|| Fault::not_found(wanted))
}

/// A version of that datastore by its id or its name; what is not active is there for admins only.
pub(super) async fn read_version(call: &Call, caller: &Caller) -> Result<DatastoreVersion, Fault> {
    let wanted = call.param(1);
    read_datastore(call)
        .await?
        .versions
        .into_iter()
        .filter(|v| v.active || caller.is_admin())
        .find(|v| v.name == wanted || v.id.to_string().eq_ignore_ascii_case(wanted))
        .ok_or_else(|| Fault::not_found(wanted))
}

/// `GET /datastores`; a non-admin sees active versions, and datastores that have one.
///
/// # Errors
/// The store's.
pub async fn datastores(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let all = read_datastores(&call).await?;
    let views: Vec<_> = all
        .iter()
        .filter(|datastore| caller.is_admin() || datastore.versions.iter().any(|v| v.active))
        .map(|datastore| DatastoreView::new(datastore, &call.base, &caller, caller.is_admin()))
        .collect();
    answer(StatusCode::OK, &json!({"datastores": views}))
}

/// `GET /datastores/{id or name}`; active versions only, for admins too.
///
/// # Errors
/// 404; the store's.
pub async fn datastore(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let datastore = read_datastore(&call).await?;
    let view = DatastoreView::new(&datastore, &call.base, &caller, false);
    answer(StatusCode::OK, &json!({"datastore": view}))
}

/// `GET /datastores/{id or name}/versions`.
///
/// # Errors
/// 404; the store's.
pub async fn versions(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let datastore = read_datastore(&call).await?;
    let views: Vec<_> = datastore
        .versions
        .iter()
        .filter(|version| version.active || caller.is_admin())
        .map(|version| VersionView::new(version, &call.base, &caller, true))
        .collect();
    answer(StatusCode::OK, &json!({"versions": views}))
}

/// `GET /datastores/{id or name}/versions/{id or name}`.
///
/// # Errors
/// 404; the store's.
pub async fn version(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = read_version(&call, &caller).await?;
    answer(StatusCode::OK, &json!({"version": VersionView::new(&version, &call.base, &caller, true)}))
}

/// The version that the path's first part is the id of; what is not active is there for admins only.
pub(super) async fn version_of_id(call: &Call, caller: &Caller) -> Result<DatastoreVersion, Fault> {
    let missing = || Fault::not_found(call.param(0));
    let id = call.param(0).parse().map_err(|_| missing())?;
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| catalogue::version(conn, id)).await;
    found?.filter(|v| v.active || caller.is_admin()).ok_or_else(missing)
}

/// `GET /datastores/versions/{id}`.
///
/// # Errors
/// 404; the store's.
pub async fn version_by_id(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = version_of_id(&call, &caller).await?;
    answer(StatusCode::OK, &json!({"version": VersionView::new(&version, &call.base, &caller, true)}))
}

/// `GET /datastores/{id or name}/versions/{id or name}/flavors`: every flavor, since no version restricts them.
///
/// # Errors
/// 404; the store's.
pub async fn flavors_of_version(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    read_version(&call, &caller).await?;
    flavors(call, caller).await
}

/// `GET /datastores/{id or name}/versions/{id or name}/volume-types`: there are none, for volumes have no types here.
///
/// # Errors
/// 404; the store's.
pub async fn volume_types(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    read_version(&call, &caller).await?;
    answer(StatusCode::OK, &json!({"volume_types": Vec::<VolumeTypeView>::new()}))
}

/// `GET /mgmt/datastore-versions`: every datastore's, also those that are not active.
///
/// # Errors
/// 403 by role; the store's.
pub async fn managed_versions(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let all = read_datastores(&call).await?;
    let views: Vec<_> = all
        .iter()
        .flat_map(|store| store.versions.iter().map(|version| ManagedVersionView::new(version, store)))
        .collect();
    answer(StatusCode::OK, &json!({"versions": views}))
}

/// `GET /mgmt/datastore-versions/{id}`.
///
/// # Errors
/// 403 by role; 404; the store's.
pub async fn managed_version(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let wanted = call.param(0);
    let all = read_datastores(&call).await?;
    let view = all
        .iter()
        .flat_map(|store| store.versions.iter().map(move |version| (store, version)))
        .find(|(_, version)| version.id.to_string().eq_ignore_ascii_case(wanted))
        .map(|(store, version)| ManagedVersionView::new(version, store))
        .ok_or_else(|| Fault::not_found(wanted))?;
    answer(StatusCode::OK, &json!({"version": view}))
}

/// Keys of a version's change that say how Trove would make its servers.
const OF_IMAGES: [&str; 7] =
    ["datastore_manager", "packages", "image", "image_tags", "registry_ext", "repl_strategy", "name"];

/// Parses the body that changes a version.
fn parse_change(body: &Value) -> Result<VersionChange, Fault> {
    let body = Field::of(body);
    let mut known = vec!["active", "default"];
    known.extend(OF_IMAGES);
    body.closed(&known)?;
    let truth = |key: &str| body.optional(key)?.map(|field| field.boolean()).transpose();
    let change = VersionChange { active: truth("active")?, default: truth("default")? };
    if body.object()?.values().all(Value::is_null) {
        return Err(body.refuse("must have active or default").into());
    }
    for key in OF_IMAGES {
        if body.optional(key)?.is_some() {
            return Err(Fault::not_yet(&format!(
                "Changing {key} of a datastore version, whose servers are those of the hosts' binaries,"
            )));
        }
    }
    Ok(change)
}

/// `PATCH /mgmt/datastore-versions/{id}`: 202 with nothing.
///
/// # Errors
/// 400 for the body, and for a default that is not active; 403 by role; 404; 501 for what comes from the hosts.
pub async fn change_version(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let change = parse_change(&Value::Object(call.json()?))?;
    let id = call.param(0).parse().map_err(|_| Fault::not_found(call.param(0)));
    allow(&caller, Rule::Manage)?;
    call.state.commands.change_version(&caller, id?, change).await?;
    Ok(accepted())
}

/// `DELETE /mgmt/datastore-versions/{id}`: 202 with nothing.
///
/// # Errors
/// 400 for one that is in use, or that a host can run; 403 by role; 404.
pub async fn delete_version(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    allow(&caller, Rule::Manage)?;
    let id = call.param(0).parse().map_err(|_| Fault::not_found(call.param(0)))?;
    call.state.commands.delete_version(&caller, id).await?;
    Ok(accepted())
}

/// `DELETE /datastores/{id or name}`: 202 with nothing.
///
/// # Errors
/// 400 for one that has versions; 403 by role; 404.
pub async fn delete_datastore(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    call.state.commands.delete_datastore(&caller, call.param(0).to_owned()).await?;
    Ok(accepted())
}

async fn read_flavors(call: &Call) -> Result<Vec<Flavor>, Fault> {
    call.state.commands.db.run(catalogue::flavors).await.map_err(|e: db::Error| e.into())
}

/// `GET /flavors`.
///
/// # Errors
/// The store's.
pub async fn flavors(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let all = read_flavors(&call).await?;
    let views: Vec<_> =
        all.iter().map(|flavor| FlavorView::new(flavor, &call.base, caller.project.as_str())).collect();
    answer(StatusCode::OK, &json!({"flavors": views}))
}

/// `GET /flavors/{id}`.
///
/// # Errors
/// 404; the store's.
pub async fn flavor(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let wanted = call.param(0);
    let all = read_flavors(&call).await?;
    let flavor = all.iter().find(|flavor| flavor.id.0 == wanted).ok_or_else(|| Fault::not_found(wanted))?;
    let view = FlavorView::new(flavor, &call.base, caller.project.as_str());
    answer(StatusCode::OK, &json!({"flavor": view}))
}

/// `GET /limits`: the absolute ones first, since clients take the first element for them, then the rates.
///
/// # Errors
/// The store's.
pub async fn limits(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (project, default) = (caller.project.clone(), call.state.commands.quota);
    let read: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| quotas::of_project(conn, &project, default)).await;
    let quota = read?;
    let most = |resource| limits::told(quota.most(resource));
    let mut limits = vec![json!({
        "verb": "ABSOLUTE",
        "max_instances": most(Resource::Instances),
        "max_volumes": most(Resource::Volumes),
        "max_backups": most(Resource::Backups),
        "max_ram": most(Resource::Ram),
    })];
    for rate in call.state.limits.rates(&caller.project, Instant::now(), Utc::now()) {
        limits.push(json!(rate));
    }
    answer(StatusCode::OK, &json!({"limits": limits}))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::domain::caller::Level;
    use crate::domain::datastore::{EngineKind, RuntimeKind};
    use crate::domain::ids::{DatastoreId, FlavorId, ProjectId, VersionId};

    fn caller(level: Level) -> Caller {
        Caller { user: "u".into(), project: ProjectId::parse("p1").unwrap(), level: Some(level) }
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn version(name: &str, active: bool) -> DatastoreVersion {
        DatastoreVersion {
            id: VersionId(Uuid::from_u128(name.len() as u128)),
            datastore_id: DatastoreId(Uuid::from_u128(9)),
            datastore: "mariadb".into(),
            name: name.into(),
            number: format!("{name}.1"),
            engine: EngineKind::MariaDb,
            runtime: RuntimeKind::Process,
            active,
        }
    }

    #[test]
    fn a_flavors_id_is_a_number_where_it_is_one() {
        let base = Base("http://h".into());
        for (id, number) in [("1", Some(1)), ("007", None), ("m1.small", None), ("0", Some(0))] {
            let flavor = Flavor { id: FlavorId(id.into()), name: "n".into(), ram_mb: 512, vcpus: 1 };
            let view = serde_json::to_value(FlavorView::new(&flavor, &base, "p1")).unwrap();
            assert_eq!(view["id"].as_u64(), number, "{id}");
            assert_eq!(view["str_id"], id);
            assert_eq!(keys(&view), ["disk", "ephemeral", "id", "links", "name", "ram", "str_id", "vcpus"]);
        }
    }

    #[test]
    fn a_default_version_is_always_one_of_the_versions() {
        let base = Base("http://h".into());
        let (old, new) = (version("10.6", false), version("10.11", true));
        let mut datastore = Datastore {
            id: DatastoreId(Uuid::from_u128(9)),
            name: "mariadb".into(),
            default_version: Some(old.id),
            versions: vec![old, new.clone()],
        };
        let member = caller(Level::Member);
        let view = serde_json::to_value(DatastoreView::new(&datastore, &base, &member, false)).unwrap();
        assert_eq!(keys(&view), ["id", "links", "name", "versions"]);
        assert_eq!(view["versions"].as_array().unwrap().len(), 1);
        assert_eq!(keys(&view["versions"][0]), ["id", "links", "name", "version"]);
        datastore.default_version = Some(new.id);
        let view = serde_json::to_value(DatastoreView::new(&datastore, &base, &member, false)).unwrap();
        assert_eq!(view["default_version"], view["versions"][0]["id"]);
        let admin = caller(Level::Admin);
        let view = serde_json::to_value(VersionView::new(&new, &base, &admin, true)).unwrap();
        assert_eq!(view["active"], true);
        assert_eq!(view["links"][0]["href"], format!("http://h/v1.0/p1/datastores/versions/{}", new.id));
    }
}
