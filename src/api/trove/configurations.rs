//! Configuration groups and the parameters that they can have (api-ref: `configurations.md`).

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Number, Value, json};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::links::{Link, zoneless};
use crate::api::request::{Call, Keyed, Route, accepted, json as answer};
use crate::api::shapes::{ConfigurationChangeRequest, ConfigurationRequest};
use crate::api::trove::catalogue::{read_version, version_of_id};
use crate::api::trove::databases::listed;
use crate::api::trove::instances::load;
use crate::commands::configurations::{ConfigurationChange, NewConfiguration};
use crate::db::{self, configurations};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{ConfigurationId, InstanceId};
use crate::domain::parameter::{Configuration, Parameter};
use crate::domain::policy::Rule;
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::serving;

/// A configuration group.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfigurationView {
    id: String,
    name: String,
    description: Option<String>,
    created: String,
    updated: String,
    datastore_name: String,
    datastore_version_id: String,
    datastore_version_name: String,
    datastore_version_number: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    detail: Option<ConfigurationDetail>,
}

/// What the detail view adds.
#[derive(Debug, Serialize, ToSchema)]
struct ConfigurationDetail {
    /// The values, by the parameters' names.
    values: BTreeMap<String, Value>,
    /// How many instances have it.
    instance_count: i64,
}

impl ConfigurationView {
    fn new(group: &Configuration, with_detail: bool) -> Self {
        Self {
            id: group.id.to_string(),
            name: group.name.clone(),
            description: group.description.clone(),
            created: zoneless(group.created_at),
            updated: zoneless(group.updated_at),
            datastore_name: group.version.datastore.clone(),
            datastore_version_id: group.version.id.to_string(),
            datastore_version_name: group.version.name.clone(),
            datastore_version_number: group.version.number.clone(),
            detail: with_detail.then(|| ConfigurationDetail {
                values: group.values.clone(),
                instance_count: group.instance_count,
            }),
        }
    }
}

/// What an instance's server has without a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct DefaultConfiguration {
    /// Values, by the parameters' names.
    configuration: BTreeMap<String, Value>,
}

/// An instance that has a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfiguredInstance {
    id: String,
    name: String,
}

/// A parameter of a version.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParameterView {
    name: String,
    datastore_version_id: String,
    restart_required: bool,
    /// `boolean`, `integer`, `float` or `string`.
    r#type: &'static str,
    /// The least number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, required = false)]
    min: Option<Number>,
    /// The largest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, required = false)]
    max: Option<Number>,
    /// The texts that it takes, alone or with commas between them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    /// What a number counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

impl ParameterView {
    fn new(parameter: &Parameter, version: &DatastoreVersion) -> Self {
        Self {
            name: parameter.name.clone(),
            datastore_version_id: version.id.to_string(),
            restart_required: parameter.restart,
            r#type: parameter.kind.word(),
            min: parameter.min.clone(),
            max: parameter.max.clone(),
            values: parameter.values.clone(),
            unit: parameter.unit.clone(),
        }
    }
}

/// A parameter as an operator sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManagedParameterView {
    name: String,
    datastore_version_id: String,
    restart_required: bool,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, required = false)]
    min_size: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, required = false)]
    max_size: Option<Number>,
}

impl ManagedParameterView {
    fn new(parameter: &Parameter, version: &DatastoreVersion) -> Self {
        Self {
            name: parameter.name.clone(),
            datastore_version_id: version.id.to_string(),
            restart_required: parameter.restart,
            r#type: parameter.kind.word(),
            min_size: parameter.min.clone(),
            max_size: parameter.max.clone(),
        }
    }
}

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/configuration",
        Rule::InstanceRead,
        Doc::new(
            "showDefaultConfiguration",
            "What an instance's server has of its parameters without a group",
            "configurations.md",
        )
        .gives(200, Gives::One("instance", shape::<DefaultConfiguration>))
        .refuses(&[422]),
        |call, caller| Box::pin(defaults(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/configurations",
        Rule::ConfigurationRead,
        Doc::new("listConfigurations", "The project's configuration groups", "configurations.md")
            .gives(200, Gives::Page("configurations", shape::<ConfigurationView>)),
        |call, caller| Box::pin(list(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/configurations",
        Rule::ConfigurationChange,
        Doc::new("createConfiguration", "Make a configuration group", "configurations.md")
            .takes::<ConfigurationRequest>(sample!("configuration-create-request"))
            .gives(200, Gives::One("configuration", shape::<ConfigurationView>))
            .refuses(&[404, 422]),
        |call, caller| Box::pin(create(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/configurations/{id}",
        Rule::ConfigurationRead,
        Doc::new("showConfiguration", "A configuration group", "configurations.md")
            .gives(200, Gives::One("configuration", shape::<ConfigurationView>)),
        |call, caller| Box::pin(show(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/configurations/{id}",
        Rule::ConfigurationChange,
        Doc::new("replaceConfiguration", "Give a configuration group other values", "configurations.md")
            .takes::<ConfigurationChangeRequest>(sample!("configuration-replace-request"))
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(replace(call, caller)),
    ),
    Route::project(
        "PATCH",
        "/v1.0/{project}/configurations/{id}",
        Rule::ConfigurationChange,
        Doc::new("updateConfiguration", "Put values into a configuration group", "configurations.md")
            .takes::<ConfigurationChangeRequest>(sample!("configuration-update-request"))
            .gives(200, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(update(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/configurations/{id}",
        Rule::ConfigurationChange,
        Doc::new("deleteConfiguration", "Delete a configuration group", "configurations.md")
            .gives(202, Gives::Nothing)
            .refuses(&[400]),
        |call, caller| Box::pin(delete(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/configurations/{id}/instances",
        Rule::ConfigurationRead,
        Doc::new("listConfigurationInstances", "The instances that have a group", "configurations.md")
            .gives(200, Gives::Page("instances", shape::<ConfiguredInstance>)),
        |call, caller| Box::pin(instances(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/versions/{version}/parameters",
        Rule::CatalogueRead,
        Doc::new("listParametersById", "The parameters of a version by its id", "configurations.md")
            .gives(200, Gives::Many("configuration-parameters", shape::<ParameterView>)),
        |call, caller| Box::pin(parameters_by_id(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/versions/{version}/parameters/{name}",
        Rule::CatalogueRead,
        Doc::new("showParameterById", "A parameter of a version by its id", "configurations.md")
            .gives(200, Gives::Whole(shape::<ParameterView>)),
        |call, caller| Box::pin(parameter_by_id(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}/parameters",
        Rule::CatalogueRead,
        Doc::new("listParameters", "The parameters of a version", "configurations.md")
            .gives(200, Gives::Many("configuration-parameters", shape::<ParameterView>)),
        |call, caller| Box::pin(parameters(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/datastores/{datastore}/versions/{version}/parameters/{name}",
        Rule::CatalogueRead,
        Doc::new("showParameter", "A parameter of a version", "configurations.md")
            .gives(200, Gives::Whole(shape::<ParameterView>)),
        |call, caller| Box::pin(parameter(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/datastores/versions/{version}/parameters",
        Rule::Manage,
        Doc::new("mgmtListParameters", "The parameters of a version, for operators", "configurations.md")
            .gives(200, Gives::Many("configuration-parameters", shape::<ManagedParameterView>)),
        |call, caller| Box::pin(managed(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/datastores/versions/{version}/parameters/{name}",
        Rule::Manage,
        Doc::new("mgmtShowParameter", "A parameter of a version, for operators", "configurations.md")
            .gives(200, Gives::Whole(shape::<ManagedParameterView>)),
        |call, caller| Box::pin(managed_one(call, caller)),
    ),
];

fn id_of(call: &Call) -> Result<ConfigurationId, Fault> {
    call.param(0).parse().map_err(|_| Fault::not_found(call.param(0)))
}

fn description(field: &Field<'_>) -> Result<Option<String>, Refusal> {
    let Some(text) = field.optional("description")? else { return Ok(None) };
    let words = text.text()?;
    if words.chars().count() > 1_000 || words.contains('\0') {
        return Err(text.refuse("must have 1000 characters at most"));
    }
    Ok(Some(words.to_owned()))
}

fn values<'a>(field: &Field<'a>) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    field.optional("values")?.map(|values| values.object()).transpose()
}

/// Parses the body of a creation.
fn parse(body: &Map<String, Value>) -> Result<NewConfiguration, Refusal> {
    let group = Field::root(body, "configuration")?;
    let name = group.required("name")?.words(255)?.to_owned();
    let description = description(&group)?;
    group.required("values")?;
    let values = values(&group)?.cloned().unwrap_or_default();
    let (mut datastore, mut version) = (None, None);
    if let Some(field) = group.optional("datastore")? {
        let text = |key: &str| -> Result<Option<String>, Refusal> {
            field.optional(key)?.map(|f| f.words(255).map(str::to_owned)).transpose()
        };
        (datastore, version) = (text("type")?, text("version")?);
    }
    Ok(NewConfiguration { name, description, datastore, version, values })
}

/// Parses the body of a change.
fn parse_change(body: &Map<String, Value>, merge: bool) -> Result<ConfigurationChange, Refusal> {
    let group = Field::root(body, "configuration")?;
    let name = group.optional("name")?.map(|name| name.words(255).map(str::to_owned)).transpose()?;
    Ok(ConfigurationChange {
        name,
        description: description(&group)?,
        values: values(&group)?.cloned(),
        merge,
    })
}

/// The page of what was read with one more than it has, and where the next one is, when there is more.
fn cut<T>(mut found: Vec<T>, limit: u32, next: impl Fn(&T) -> Link) -> (Vec<T>, Option<Link>) {
    let keep = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > keep;
    found.truncate(keep);
    let next = found.last().filter(|_| more).map(next);
    (found, next)
}

/// `GET /configurations`: the project's; an admin sees every project's.
///
/// # Errors
/// 400 for the paging; the store's.
pub async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let limit = call.limit()?;
    let marker = match call.query_value("marker") {
        None | Some("") => None,
        Some(text) => Some(
            text.parse::<ConfigurationId>()
                .map_err(|_| Refusal::invalid("marker", "must be a UUID with dashes"))?,
        ),
    };
    let project = (!caller.is_admin()).then(|| caller.project.clone());
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| configurations::page(conn, project.as_ref(), marker, i64::from(limit) + 1))
        .await;
    let (found, next) = cut(read?, limit, |last| call.next_page(&last.id.to_string()));
    let views: Vec<_> = found.iter().map(|group| ConfigurationView::new(group, false)).collect();
    listed("configurations", json!(views), next)
}

/// `POST /configurations`: 200 with the group.
///
/// # Errors
/// 400 naming the field; 403 by role; 404 for a datastore; 422 for a parameter or a value; 503 when the version's parameters
/// could not be asked.
pub async fn create(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let request = parse(&call.json()?)?;
    let made = call.state.commands.create_configuration(&caller, request).await?;
    answer(StatusCode::OK, &Keyed("configuration", &ConfigurationView::new(&made, true)))
}

/// `GET /configurations/{id}`.
///
/// # Errors
/// 404; the store's.
pub async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let found = call.state.commands.configuration(&caller, id_of(&call)?).await?;
    answer(StatusCode::OK, &Keyed("configuration", &ConfigurationView::new(&found, true)))
}

async fn change(call: &Call, caller: &Caller, merge: bool) -> Result<(), Fault> {
    let change = parse_change(&call.json()?, merge)?;
    Ok(call.state.commands.change_configuration(caller, id_of(call)?, change).await?)
}

/// `PUT /configurations/{id}`: 202; values take the place of all that there were.
///
/// # Errors
/// 400 naming the field; 403 by role; 404; 422 for a parameter or a value; 503.
pub async fn replace(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    change(&call, &caller, false).await?;
    Ok(accepted())
}

/// `PATCH /configurations/{id}`: 200; values are put into those that there are.
///
/// # Errors
/// As [`replace`].
pub async fn update(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    change(&call, &caller, true).await?;
    Ok(HttpResponse::Ok().finish())
}

/// `DELETE /configurations/{id}`: 202.
///
/// # Errors
/// 400 for one that an instance has; 403 by role; 404.
pub async fn delete(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    call.state.commands.delete_configuration(&caller, id_of(&call)?).await?;
    Ok(accepted())
}

/// `GET /configurations/{id}/instances`.
///
/// # Errors
/// 400 for the paging; 404; the store's.
pub async fn instances(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let (limit, id) = (call.limit()?, id_of(&call)?);
    let marker = match call.query_value("marker") {
        None | Some("") => None,
        Some(text) => Some(
            text.parse::<InstanceId>()
                .map_err(|_| Refusal::invalid("marker", "must be a UUID with dashes"))?,
        ),
    };
    call.state.commands.configuration(&caller, id).await?;
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| configurations::instances_of(conn, id, marker, i64::from(limit) + 1))
        .await;
    let (found, next) = cut(read?, limit, |last| call.next_page(&last.id.to_string()));
    let views: Vec<_> = found
        .into_iter()
        .map(|instance| ConfiguredInstance { id: instance.id.to_string(), name: instance.name })
        .collect();
    listed("instances", json!(views), next)
}

/// `GET /instances/{id}/configuration`: what its server's configuration has without a group.
///
/// # Errors
/// 404; 422 for an instance that serves nobody; 503 when its server does not answer in time.
pub async fn defaults(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let instance = load(&call, &caller, call.instance_id()?).await?;
    serving(&instance)?;
    let found: BTreeMap<String, Value> =
        call.state.commands.ask(&instance, QuestionKind::DefaultParameters).await?;
    answer(StatusCode::OK, &Keyed("instance", &DefaultConfiguration { configuration: found }))
}

async fn all(call: &Call, version: &DatastoreVersion) -> Result<Vec<Parameter>, Fault> {
    Ok(call.state.commands.parameters(version).await?)
}

/// The parameter that the path's last part names.
async fn one(call: &Call, version: &DatastoreVersion, name: &str) -> Result<Parameter, Fault> {
    let found =
        all(call, version).await?.into_iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Fault::not_found(name))
}

fn listed_parameters(found: &[Parameter], version: &DatastoreVersion) -> Result<HttpResponse, Fault> {
    let views: Vec<_> = found.iter().map(|parameter| ParameterView::new(parameter, version)).collect();
    answer(StatusCode::OK, &json!({"configuration-parameters": views}))
}

/// `GET /datastores/{id or name}/versions/{id or name}/parameters`.
///
/// # Errors
/// 404; 503 when no server of the version could be asked in time.
pub async fn parameters(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = read_version(&call, &caller).await?;
    listed_parameters(&all(&call, &version).await?, &version)
}

/// `GET /datastores/{id or name}/versions/{id or name}/parameters/{name}`: the parameter itself, under no key.
///
/// # Errors
/// 404; 503.
pub async fn parameter(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = read_version(&call, &caller).await?;
    let found = one(&call, &version, call.param(2)).await?;
    answer(StatusCode::OK, &ParameterView::new(&found, &version))
}

/// `GET /datastores/versions/{id}/parameters`.
///
/// # Errors
/// 404; 503.
pub async fn parameters_by_id(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = version_of_id(&call, &caller).await?;
    listed_parameters(&all(&call, &version).await?, &version)
}

/// `GET /datastores/versions/{id}/parameters/{name}`.
///
/// # Errors
/// 404; 503.
pub async fn parameter_by_id(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = version_of_id(&call, &caller).await?;
    let found = one(&call, &version, call.param(1)).await?;
    answer(StatusCode::OK, &ParameterView::new(&found, &version))
}

/// `GET /mgmt/datastores/versions/{id}/parameters`.
///
/// # Errors
/// 403 by role; 404; 503.
pub async fn managed(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = version_of_id(&call, &caller).await?;
    let found = all(&call, &version).await?;
    let views: Vec<_> =
        found.iter().map(|parameter| ManagedParameterView::new(parameter, &version)).collect();
    answer(StatusCode::OK, &json!({"configuration-parameters": views}))
}

/// `GET /mgmt/datastores/versions/{id}/parameters/{name}`.
///
/// # Errors
/// 403 by role; 404; 503.
pub async fn managed_one(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let version = version_of_id(&call, &caller).await?;
    let found = one(&call, &version, call.param(1)).await?;
    answer(StatusCode::OK, &ManagedParameterView::new(&found, &version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::trove::create::tests::any_json;

    #[test]
    fn each_body_has_one_meaning() {
        let makes = |group: Value| parse(json!({"configuration": group}).as_object().unwrap()).is_ok();
        for (group, fits) in [
            (json!({"name": "n", "values": {}}), true),
            (json!({"name": "n", "values": {"max_connections": 100}, "description": "d"}), true),
            (json!({"name": "n", "values": {}, "datastore": {"type": "mariadb", "version": "10.11"}}), true),
            (json!({"name": "n", "values": {}, "description": null, "datastore": null}), true),
            (json!({"name": "", "values": {}}), false),
            (json!({"name": "n"}), false),
            (json!({"name": "n", "values": []}), false),
            (json!({"name": "n", "values": "{}"}), false),
            (json!({"name": "n", "values": {}, "description": 7}), false),
            (json!({"name": "n", "values": {}, "description": "d".repeat(1_001)}), false),
            (json!({"name": "n", "values": {}, "datastore": "mariadb"}), false),
            (json!({"name": "n", "values": {}, "datastore": {"type": 7}}), false),
            (json!([]), false),
        ] {
            assert_eq!(makes(group.clone()), fits, "{group}");
        }
        let changes =
            |group: Value| parse_change(json!({"configuration": group}).as_object().unwrap(), true).ok();
        assert!(changes(json!({})).is_some_and(|change| change.values.is_none()));
        assert!(changes(json!({"values": {}})).is_some_and(|change| change.values.is_some()));
        // gophercloud sends the datastore again.
        assert!(changes(json!({"datastore": {"type": "mariadb"}})).is_some());
        assert!(changes(json!({"name": ""})).is_none());
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json(), merge: bool) {
            for key in ["name", "values", "description", "datastore"] {
                let mut group = json!({"name": "n", "values": {}});
                group[key] = value.clone();
                let body = json!({"configuration": group});
                let _ = parse(body.as_object().unwrap());
                let _ = parse_change(body.as_object().unwrap(), merge);
            }
            let _ = parse(json!({"configuration": value.clone()}).as_object().unwrap());
            let _ = parse_change(json!({"configuration": value}).as_object().unwrap(), merge);
        }
    }
}
