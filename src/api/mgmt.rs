//! What admins manage: quotas (Trove's routes), maintenance, the matrix of upgrades, and simulations (api-ref:
//! `mgmt.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::{Field, closed};
use crate::api::limits;
use crate::api::request::{Call, Route, json as answer};
use crate::api::shapes::{
    MaintenanceRequest, PathChangeRequest, PathRequest, QuotaPart, QuotasRequest, QuotasSet, Simulation,
};
use crate::api::trove::instances::load;
use crate::commands::paths::{self as path_commands, NewPath, PathChange, VersionName};
use crate::commands::simulations::simulated;
use crate::db::maintenance::Maintenance;
use crate::db::{self, paths, quotas, simulations};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{PathId, ProjectId};
use crate::domain::matrix::{Edge, Way};
use crate::domain::policy::{Rule, allow};
use crate::domain::quota::Resource;
use crate::domain::refusal::Refusal;
use crate::domain::simulation::{ACCEPT, LONGEST_MS, Simulated, SimulatedFault};
use crate::domain::task::Step;

/// Where maintenance is switched: it answers in maintenance, too.
pub const MAINTENANCE: &str = "/v1.0/{project}/mgmt/maintenance";

/// The longest note of an upgrade path, in characters.
const LONGEST_NOTE: usize = 1_000;

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/quotas/{tenant}",
        Rule::LimitsRead,
        Doc::new("showQuotas", "What a project may have, and has", "mgmt.md")
            .gives(200, Gives::Many("quotas", shape::<QuotaPart>)),
        |call, caller| Box::pin(show_quotas(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/mgmt/quotas/{tenant}",
        Rule::Manage,
        Doc::new("setQuotas", "Set what a project may have", "mgmt.md")
            .takes::<QuotasRequest>(sample!("quotas-request"))
            .gives(200, Gives::Whole(shape::<QuotasSet>)),
        |call, caller| Box::pin(set_quotas(call, caller)),
    ),
    Route::project(
        "GET",
        MAINTENANCE,
        Rule::Manage,
        Doc::new("showMaintenance", "Whether the service is in maintenance", "mgmt.md")
            .gives(200, Gives::Whole(shape::<MaintenanceView>)),
        |call, caller| Box::pin(show_maintenance(call, caller)),
    ),
    Route::project(
        "PUT",
        MAINTENANCE,
        Rule::Manage,
        Doc::new("setMaintenance", "Switch maintenance", "mgmt.md")
            .takes::<MaintenanceRequest>(sample!("maintenance-request"))
            .gives(200, Gives::Whole(shape::<MaintenanceView>)),
        |call, caller| Box::pin(set_maintenance(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/upgrade-paths",
        Rule::Manage,
        Doc::new("listUpgradePaths", "The matrix of upgrades", "mgmt.md")
            .gives(200, Gives::Many("upgrade_paths", shape::<PathView>)),
        |call, caller| Box::pin(list_paths(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/mgmt/upgrade-paths",
        Rule::Manage,
        Doc::new("addUpgradePath", "Allow an upgrade", "mgmt.md")
            .takes::<PathRequest>(sample!("upgrade-path-request"))
            .gives(200, Gives::One("upgrade_path", shape::<PathView>)),
        |call, caller| Box::pin(add_path(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/upgrade-paths/{id}",
        Rule::Manage,
        Doc::new("showUpgradePath", "A row of the matrix", "mgmt.md")
            .gives(200, Gives::One("upgrade_path", shape::<PathView>)),
        |call, caller| Box::pin(show_path(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/mgmt/upgrade-paths/{id}",
        Rule::Manage,
        Doc::new("changeUpgradePath", "Change a row of the matrix", "mgmt.md")
            .takes::<PathChangeRequest>(sample!("upgrade-path-change-request"))
            .gives(200, Gives::One("upgrade_path", shape::<PathView>)),
        |call, caller| Box::pin(change_path(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/mgmt/upgrade-paths/{id}",
        Rule::Manage,
        Doc::new("deleteUpgradePath", "Take a row off the matrix", "mgmt.md").gives(204, Gives::Nothing),
        |call, caller| Box::pin(delete_path(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/mgmt/instances/{id}/simulation",
        Rule::Manage,
        Doc::new("showSimulation", "What is asked of a simulated instance's steps", "mgmt.md")
            .gives(200, Gives::Whole(shape::<Simulation>))
            .refuses(&[422]),
        |call, caller| Box::pin(show_simulation(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/mgmt/instances/{id}/simulation",
        Rule::Manage,
        Doc::new("setSimulation", "Ask something of a simulated instance's steps", "mgmt.md")
            .takes::<Simulation>(sample!("simulation-request"))
            .gives(200, Gives::Whole(shape::<Simulation>))
            .refuses(&[422]),
        |call, caller| Box::pin(set_simulation(call, caller)),
    ),
];

/// The project that a quota is asked of; what no project can be named is not there.
fn tenant(call: &Call) -> Result<ProjectId, Fault> {
    ProjectId::parse(call.param(0)).ok_or_else(|| Fault::not_found(call.param(0)))
}

/// `GET /mgmt/quotas/{project}`: one's own; another's for admins.
async fn show_quotas(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let project = tenant(&call)?;
    if !caller.sees(&project) {
        return Err(Refusal::NotYours("quotas").into());
    }
    let default = call.state.commands.quota;
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| Ok((quotas::of_project(conn, &project, default)?, quotas::used(conn, &project)?)))
        .await;
    let (quota, used) = read?;
    let views: Vec<_> = Resource::ALL
        .into_iter()
        .map(|resource| {
            json!({
                "resource": resource.as_str(),
                "in_use": used.of(resource),
                "reserved": 0,
                "limit": limits::told(quota.most(resource)),
            })
        })
        .collect();
    answer(StatusCode::OK, &json!({"quotas": views}))
}

/// Parses the body of `PUT /mgmt/quotas/{project}`: words and limits, as they came.
///
/// # Errors
/// 400 naming the field.
fn parse_quotas(body: &Map<String, Value>) -> Result<Vec<(String, Option<u32>)>, Refusal> {
    closed(body, &["quotas"])?;
    let quotas = Field::root(body, "quotas")?;
    let mut limits = Vec::new();
    for word in quotas.object()?.keys() {
        if let Some(field) = quotas.optional(word)? {
            let most = field.integer(-1, i32::MAX.into())?;
            limits.push((word.clone(), u32::try_from(most).ok()));
        }
    }
    Ok(limits)
}

/// `PUT /mgmt/quotas/{project}`: answers what was set.
async fn set_quotas(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let limits = parse_quotas(&call.json()?)?;
    allow(&caller, Rule::Manage)?;
    let project = tenant(&call)?;
    let limits = limits
        .into_iter()
        .map(|(word, most)| Ok((word.parse().map_err(|_| Fault::not_found(word))?, most)))
        .collect::<Result<Vec<(Resource, _)>, Fault>>()?;
    let set: Map<_, _> = limits
        .iter()
        .map(|(resource, most)| (resource.as_str().to_owned(), limits::told(*most).into()))
        .collect();
    call.state.commands.set_quota(&caller, project, limits).await?;
    answer(StatusCode::OK, &json!({"quotas": set}))
}

/// The view of the maintenance state, which is also what is sent.
#[derive(Debug, Serialize, ToSchema)]
struct MaintenanceView {
    on: bool,
    retry_after: u32,
}

impl MaintenanceView {
    const fn of(state: Maintenance) -> Self {
        Self { on: state.on, retry_after: state.retry_after }
    }
}

/// `GET /mgmt/maintenance`.
async fn show_maintenance(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let read: Result<_, db::Error> = call.state.commands.db.run(db::maintenance::read).await;
    answer(StatusCode::OK, &MaintenanceView::of(read?))
}

/// Parses the body of `PUT /mgmt/maintenance`.
///
/// # Errors
/// 400 naming the field.
fn parse_maintenance(body: &Map<String, Value>) -> Result<Maintenance, Refusal> {
    closed(body, &["on", "retry_after"])?;
    let on = Field::root(body, "on")?.boolean()?;
    let retry_after = match body.get("retry_after") {
        None | Some(Value::Null) => Maintenance::OFF.retry_after,
        Some(_) => u32::try_from(Field::root(body, "retry_after")?.integer(1, 86_400)?)
            .unwrap_or(Maintenance::OFF.retry_after),
    };
    Ok(Maintenance { on, retry_after })
}

/// `PUT /mgmt/maintenance`.
async fn set_maintenance(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let state = parse_maintenance(&call.json()?)?;
    call.state.commands.set_maintenance(&caller, state).await?;
    call.state.maintenance.tell(state);
    answer(StatusCode::OK, &MaintenanceView::of(state))
}

/// A version in an upgrade path.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PathVersion)]
struct VersionView {
    id: String,
    datastore_type: String,
    datastore_version: String,
}

impl VersionView {
    fn of(version: &DatastoreVersion) -> Self {
        Self {
            id: version.id.to_string(),
            datastore_type: version.datastore.clone(),
            datastore_version: version.name.clone(),
        }
    }
}

/// A row of the matrix.
#[derive(Debug, Serialize, ToSchema)]
struct PathView {
    id: String,
    from: VersionView,
    to: VersionView,
    ways: Vec<&'static str>,
    enabled: bool,
    note: String,
}

impl PathView {
    fn of(edge: &Edge) -> Self {
        Self {
            id: edge.id.to_string(),
            from: VersionView::of(&edge.from),
            to: VersionView::of(&edge.to),
            ways: edge.ways.iter().map(|way| way.as_str()).collect(),
            enabled: edge.enabled,
            note: edge.note.clone(),
        }
    }
}

async fn read_paths(call: &Call) -> Result<Vec<Edge>, Fault> {
    call.state.commands.db.run(paths::all).await.map_err(|e: db::Error| e.into())
}

/// The route's first name as a path's id; what is none is not there.
fn path_id(call: &Call) -> Result<PathId, Fault> {
    call.param(0).parse().map_err(|_| Fault::not_found(call.param(0)))
}

/// `GET /mgmt/upgrade-paths`: every row, disabled ones too.
async fn list_paths(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let views: Vec<_> = read_paths(&call).await?.iter().map(PathView::of).collect();
    answer(StatusCode::OK, &json!({"upgrade_paths": views}))
}

/// `GET /mgmt/upgrade-paths/{id}`.
async fn show_path(call: Call, _caller: Caller) -> Result<HttpResponse, Fault> {
    let id = path_id(&call)?;
    let edge = read_paths(&call).await?.into_iter().find(|edge| edge.id == id);
    let edge = edge.ok_or_else(|| Fault::not_found(call.param(0)))?;
    answer(StatusCode::OK, &json!({"upgrade_path": PathView::of(&edge)}))
}

fn version_name(path: &Field<'_>, key: &str) -> Result<VersionName, Refusal> {
    let field = path.required(key)?;
    field.closed(&["datastore_type", "datastore_version"])?;
    Ok(VersionName {
        datastore_type: field.required("datastore_type")?.words(255)?.to_owned(),
        datastore_version: field.required("datastore_version")?.words(255)?.to_owned(),
    })
}

fn ways(field: &Field<'_>) -> Result<Vec<Way>, Refusal> {
    let mut ways = Vec::new();
    for element in field.array()? {
        let way = element
            .text()?
            .parse::<Way>()
            .map_err(|_| element.refuse("must be one of replica, in_place, twin and rolling"))?;
        if ways.contains(&way) {
            return Err(element.refuse("must not be there twice"));
        }
        ways.push(way);
    }
    if ways.is_empty() { Err(field.refuse("must have at least one way")) } else { Ok(ways) }
}

fn note(field: &Field<'_>) -> Result<String, Refusal> {
    let text = field.text()?;
    if text.chars().count() > LONGEST_NOTE {
        return Err(field.refuse(&format!("must have {LONGEST_NOTE} characters at most")));
    }
    Ok(text.to_owned())
}

/// Parses the body of `POST /mgmt/upgrade-paths`.
///
/// # Errors
/// 400 naming the field.
fn parse_path(body: &Map<String, Value>) -> Result<NewPath, Refusal> {
    closed(body, &["upgrade_path"])?;
    let path = Field::root(body, "upgrade_path")?;
    path.closed(&["from", "to", "ways", "enabled", "note"])?;
    Ok(NewPath {
        from: version_name(&path, "from")?,
        to: version_name(&path, "to")?,
        ways: ways(&path.required("ways")?)?,
        enabled: path.optional("enabled")?.map_or(Ok(true), |field| field.boolean())?,
        note: path.optional("note")?.map_or(Ok(String::new()), |field| note(&field))?,
    })
}

/// `POST /mgmt/upgrade-paths`.
async fn add_path(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let new = parse_path(&call.json()?)?;
    let edge = path_commands::add(&call.state.commands.db, &caller, new).await?;
    answer(StatusCode::OK, &json!({"upgrade_path": PathView::of(&edge)}))
}

/// Parses the body of `PUT /mgmt/upgrade-paths/{id}`: what is changed.
///
/// # Errors
/// 400 naming the field.
fn parse_change(body: &Map<String, Value>) -> Result<PathChange, Refusal> {
    closed(body, &["upgrade_path"])?;
    let path = Field::root(body, "upgrade_path")?;
    path.closed(&["ways", "enabled", "note"])?;
    let change = PathChange {
        ways: path.optional("ways")?.map(|field| ways(&field)).transpose()?,
        enabled: path.optional("enabled")?.map(|field| field.boolean()).transpose()?,
        note: path.optional("note")?.map(|field| note(&field)).transpose()?,
    };
    if change.ways.is_none() && change.enabled.is_none() && change.note.is_none() {
        return Err(path.refuse("must have at least one of ways, enabled and note"));
    }
    Ok(change)
}

/// `PUT /mgmt/upgrade-paths/{id}`.
async fn change_path(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let change = parse_change(&call.json()?)?;
    allow(&caller, Rule::Manage)?;
    let edge = path_commands::change(&call.state.commands.db, &caller, path_id(&call)?, change).await?;
    answer(StatusCode::OK, &json!({"upgrade_path": PathView::of(&edge)}))
}

/// `DELETE /mgmt/upgrade-paths/{id}`.
async fn delete_path(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    allow(&caller, Rule::Manage)?;
    path_commands::delete(&call.state.commands.db, &caller, path_id(&call)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Parses the body of `PUT /mgmt/instances/{id}/simulation`.
///
/// # Errors
/// 400 naming the field.
fn parse_simulation(body: &Map<String, Value>) -> Result<Vec<(String, Simulated)>, Refusal> {
    closed(body, &["steps"])?;
    let steps = Field::root(body, "steps")?;
    let mut asked = Vec::new();
    for word in steps.object()?.keys() {
        if word != ACCEPT && word.parse::<Step>().is_err() {
            let words: Vec<_> = Step::ALL.iter().map(|step| step.as_str()).collect();
            return Err(
                steps.refuse(&format!("must have no other properties than {ACCEPT}, {}", words.join(", ")))
            );
        }
        let step = steps.required(word)?;
        step.closed(&["ms", "fault"])?;
        let ms = match step.optional("ms")? {
            Some(field) => u32::try_from(field.integer(0, LONGEST_MS.into())?).unwrap_or(LONGEST_MS),
            None => 0,
        };
        let fault = match step.optional("fault")? {
            Some(field) => Some(
                field
                    .text()?
                    .parse::<SimulatedFault>()
                    .ok()
                    // A request cannot hang or die and be answered.
                    .filter(|fault| word != ACCEPT || *fault == SimulatedFault::Fail)
                    .ok_or_else(|| {
                        field.refuse(if word == ACCEPT {
                            "must be fail"
                        } else {
                            "must be one of fail, hang and die"
                        })
                    })?,
            ),
            None => None,
        };
        asked.push((word.clone(), Simulated { ms, fault }));
    }
    Ok(asked)
}

fn simulation_view(steps: &[(String, Simulated)]) -> Value {
    let views: Map<_, _> = steps
        .iter()
        .map(|(step, asked)| {
            let mut view = json!({"ms": asked.ms});
            if let Some(fault) = asked.fault {
                view["fault"] = fault.as_str().into();
            }
            (step.clone(), view)
        })
        .collect();
    json!({"steps": views})
}

/// `GET /mgmt/instances/{id}/simulation`.
async fn show_simulation(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = call.instance_id()?;
    simulated(load(&call, &caller, id).await?)?;
    let read: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| simulations::of_instance(conn, id)).await;
    answer(StatusCode::OK, &simulation_view(&read?))
}

/// `PUT /mgmt/instances/{id}/simulation`: this, and nothing else any more.
async fn set_simulation(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let steps = parse_simulation(&call.json()?)?;
    allow(&caller, Rule::Manage)?;
    let view = simulation_view(&steps);
    call.state.commands.simulate(&caller, call.instance_id()?, steps).await?;
    answer(StatusCode::OK, &view)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::trove::create::tests::any_json;

    fn told<T>(parsed: Result<T, Refusal>) -> String {
        parsed.err().map(|refusal| refusal.to_string()).unwrap_or_default()
    }

    fn object(value: &Value) -> &Map<String, Value> {
        value.as_object().unwrap()
    }

    #[test]
    fn a_path_names_two_versions_and_known_ways() {
        let version = |name: &str| json!({"datastore_type": "mariadb", "datastore_version": name});
        let good = json!({"from": version("10.6"), "to": version("10.11"), "ways": ["replica"]});
        let parsed = parse_path(object(&json!({"upgrade_path": good}))).unwrap();
        assert!(parsed.enabled && parsed.note.is_empty() && parsed.ways == [Way::Replica]);
        for (key, value, expected) in [
            ("from", Value::Null, "upgrade_path['from'] is a required property"),
            ("from", json!("10.6"), "upgrade_path['from'] must be an object"),
            ("to", json!({"datastore_type": "mariadb"}), "['datastore_version'] is a required property"),
            (
                "to",
                json!({"datastore_type": 1, "datastore_version": "1"}),
                "['datastore_type'] must be a string",
            ),
            ("ways", json!([]), "upgrade_path['ways'] must have at least one way"),
            ("ways", json!(["sideways"]), "upgrade_path['ways'][0] must be one of replica, in_place"),
            ("ways", json!(["replica", "replica"]), "upgrade_path['ways'][1] must not be there twice"),
            ("ways", json!("replica"), "upgrade_path['ways'] must be an array"),
            ("enabled", json!("yes"), "upgrade_path['enabled'] must be a boolean"),
            ("note", json!("x".repeat(1_001)), "upgrade_path['note'] must have 1000 characters at most"),
            ("other", json!(1), "upgrade_path must have no other properties"),
        ] {
            let mut path = good.clone();
            path[key] = value;
            let text = told(parse_path(object(&json!({"upgrade_path": path}))));
            assert!(text.contains(expected), "{key}: {text}");
        }
        assert!(told(parse_change(object(&json!({"upgrade_path": {}})))).contains("at least one of"));
        assert!(told(parse_change(object(&json!({"upgrade_path": {"from": 1}})))).contains("no other"));
        let change = parse_change(object(&json!({"upgrade_path": {"enabled": false}}))).unwrap();
        assert_eq!((change.enabled, change.ways, change.note), (Some(false), None, None));
    }

    #[test]
    fn the_samples_of_requests_are_taken() {
        let sample = |name: &str| -> Value {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("api-ref/samples");
            serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
        };
        let path = parse_path(object(&sample("upgrade-path-request.json"))).unwrap();
        assert_eq!(path.ways, [Way::Replica, Way::Twin]);
        assert_eq!(parse_simulation(object(&sample("simulation-request.json"))).unwrap().len(), 3);
    }

    #[test]
    fn a_simulation_names_steps() {
        let parse = |steps: Value| parse_simulation(object(&json!({"steps": steps})));
        let steps = parse(json!({"seed": {"ms": 5}, "accept": {"fault": "fail"}, "verify": {}})).unwrap();
        assert_eq!(
            simulation_view(&steps),
            json!({"steps": {"seed": {"ms": 5}, "accept": {"ms": 0, "fault": "fail"}, "verify": {"ms": 0}}})
        );
        assert!(parse(json!({})).unwrap().is_empty());
        for (steps, expected) in [
            (json!({"sow": {}}), "steps must have no other properties than accept, examine"),
            (json!({"seed": {"ms": -1}}), "steps['seed']['ms'] must be an integer from 0 to 3600000"),
            (json!({"seed": {"ms": 1.5}}), "steps['seed']['ms'] must be an integer"),
            (json!({"seed": {"fault": "sulk"}}), "steps['seed']['fault'] must be one of"),
            (json!({"accept": {"fault": "hang"}}), "steps['accept']['fault'] must be fail"),
            (json!({"seed": {"other": 1}}), "steps['seed'] must have no other properties"),
            (json!({"seed": null}), "steps['seed'] is a required property"),
            (json!([]), "steps must be an object"),
        ] {
            let text = told(parse(steps.clone()));
            assert!(text.contains(expected), "{steps}: {text}");
        }
    }

    #[test]
    fn maintenance_is_on_or_off() {
        let parse = |body: Value| parse_maintenance(object(&body));
        assert_eq!(parse(json!({"on": true})).unwrap(), Maintenance { on: true, retry_after: 30 });
        assert_eq!(
            parse(json!({"on": false, "retry_after": 86_400})).unwrap(),
            Maintenance { on: false, retry_after: 86_400 }
        );
        for body in [
            json!({}),
            json!({"on": 1}),
            json!({"on": "true"}),
            json!({"on": null}),
            json!({"on": true, "retry_after": 0}),
            json!({"on": true, "retry_after": 86_401}),
            json!({"on": true, "retry_after": "30"}),
            json!({"on": true, "off": false}),
        ] {
            assert!(parse(body.clone()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_quota_is_a_number_of_at_least_minus_one() {
        let parse = |quotas: Value| parse_quotas(object(&json!({"quotas": quotas})));
        let set = parse(json!({"instances": 0, "volumes": -1, "ram": null, "cars": 7})).unwrap();
        let all: Vec<_> = set.iter().map(|(word, most)| (word.as_str(), *most)).collect();
        assert_eq!(all, [("cars", Some(7)), ("instances", Some(0)), ("volumes", None)]);
        for bad in [json!(-2), json!(1.5), json!("5"), json!(true), json!([1]), json!(5_000_000_000_u64)] {
            let text = told(parse(json!({"instances": bad})));
            assert!(text.contains("quotas['instances'] must be an integer from -1"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json()) {
            for body in [
                value.clone(),
                json!({"quotas": value}),
                json!({"quotas": {"instances": value}}),
                json!({"on": value}),
                json!({"on": true, "retry_after": value}),
                json!({"upgrade_path": value}),
                json!({"upgrade_path": {"ways": value}}),
                json!({"steps": value}),
                json!({"steps": {"seed": value}}),
            ] {
                if let Some(body) = body.as_object() {
                    let _ = parse_quotas(body);
                    let _ = parse_maintenance(body);
                    let _ = parse_path(body);
                    let _ = parse_change(body);
                    let _ = parse_simulation(body);
                }
            }
        }
    }
}
