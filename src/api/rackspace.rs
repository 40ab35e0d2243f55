//! The dialect of Rackspace Cloud Databases v1.0: the instance action, in which Trove's keys have their place, too
//! (api-ref: `upgrade-action.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::Field;
use crate::api::links::{Base, Link, zoned};
use crate::api::request::{Call, Route, accepted, json as answer};
use crate::api::shapes::ActionRequest;
use crate::api::trove::instances::load;
use crate::api::trove::views::{AvailableUpgrades, available_upgrades};
use crate::commands;
use crate::commands::replica_upgrades::ReplicaUpgradeRequest;
use crate::domain::caller::{Caller, Level};
use crate::domain::ids::{FlavorId, InstanceId};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;

/// The table.
pub const ROUTES: &[Route] = &[Route::project(
    "POST",
    "/v1.0/{project}/instances/{id}/action",
    Rule::InstanceAction,
    Doc::new("act", "Restart or resize an instance, or upgrade it by way of a new one", "upgrade-action.md")
        .takes::<ActionRequest>(sample!("upgrade-action-request"))
        .gives(202, Gives::One("instance", shape::<AcceptedView>))
        .refuses(&[422, 501]),
    |call, caller| Box::pin(action(call, caller)),
)];

/// A parsed action.
#[derive(Clone, Debug)]
pub enum Action {
    /// Upgrade by way of a replica.
    Upgrade(ReplicaUpgradeRequest),
    /// Restart the server.
    Restart,
    /// Give it another flavor.
    ResizeFlavor(FlavorId),
    /// Give it a volume of so many GB.
    ResizeVolume(i32),
    /// End what keeps it busy, as its owner or as an administrator.
    ResetStatus {
        /// Whether its owner may ask for it: who wants to delete it.
        by_owner: bool,
    },
    /// An action of the contracts that is not done here yet, and the least level that it asks for.
    NotYet(&'static str, Level),
}

/// A check of an action's value.
type Check = fn(&Field<'_>) -> Result<(), Refusal>;

/// The actions of the contracts that come later: key, least level, check of the value.
const LATER: [(&str, Level, Check); 4] = [
    ("promote_to_replica_source", Level::Member, |_| Ok(())),
    ("eject_replica_source", Level::Member, |_| Ok(())),
    ("save_logs", Level::Member, |field| field.object().map(drop)),
    ("convert_to_ha", Level::Member, |field| field.object().map(drop)),
];

/// Parses the body of `POST /instances/{id}/action`: exactly one action.
///
/// # Errors
/// 400 naming the field.
pub fn parse(body: &Map<String, Value>) -> Result<Action, Fault> {
    let mut keys = body.keys();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Refusal::invalid("body", "must name exactly one action").into());
    };
    let field = Field::root(body, key)?;
    if key == "upgrade" {
        // An option that we do not know must not be taken for one that we follow.
        field.closed(&["datastore_type", "datastore_version"])?;
        return Ok(Action::Upgrade(ReplicaUpgradeRequest {
            datastore_type: field.required("datastore_type")?.words(255)?.to_owned(),
            datastore_version: field.required("datastore_version")?.words(255)?.to_owned(),
            idempotency_key: None,
        }));
    }
    if key == "restart" {
        // openstacksdk sends null.
        if !field.value().is_null() {
            field.object()?;
        }
        return Ok(Action::Restart);
    }
    if key == "resize" {
        return Ok(match (field.optional("flavorRef")?, field.optional("volume")?) {
            (Some(flavor), None) => Action::ResizeFlavor(FlavorId(flavor.flavor()?)),
            // openstacksdk sends the number itself.
            (None, Some(volume)) if volume.value().is_object() => {
                Action::ResizeVolume(volume.required("size")?.size()?)
            }
            (None, Some(volume)) => Action::ResizeVolume(volume.size()?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(field.refuse("must have one of flavorRef and volume").into());
            }
        });
    }
    if key == "reset_status" {
        // Trove takes any value.
        let by_owner = field.value().get("force_delete").is_some();
        return Ok(Action::ResetStatus { by_owner });
    }
    match LATER.iter().find(|(name, _, _)| name == key) {
        Some((name, level, check)) => {
            check(&field)?;
            Ok(Action::NotYet(name, *level))
        }
        None => Err(Refusal::invalid(
            "body",
            "must name an action: upgrade, restart, resize, promote_to_replica_source, eject_replica_source, \
             reset_status, save_logs or convert_to_ha",
        )
        .into()),
    }
}

/// `POST /instances/{id}/action`.
///
/// # Errors
/// In this order: 400 for the body and for an unknown datastore, 403 by role, 404, 501, 422, 400 for a pair without
/// a path, 413.
async fn action(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let raw = call.param(0).to_owned();
    // What is no id is no instance's: it takes the same way to the same 404, so that the answers keep their order.
    let id = raw.parse().unwrap_or(InstanceId(Uuid::nil()));
    let body = call.json()?;
    match parse(&body)? {
        Action::Upgrade(mut request) => {
            request.idempotency_key = call.idempotency_key("coffer.action", None, &Value::Object(body))?;
            let new = call.state.commands.upgrade_by_replica(&caller, id, &request).await;
            let new = new.map_err(|e| match e {
                commands::Error::Refused(Refusal::NotFound { .. }) => Fault::not_found(raw),
                other => other.into(),
            })?;
            let view = AcceptedView::new(&new, &call.base, caller.project.as_str(), &call.state.zone);
            answer(StatusCode::ACCEPTED, &json!({"instance": view}))
        }
        Action::Restart => {
            let id = there(&caller, raw, id)?;
            call.state.commands.restart_instance(&caller, id).await?;
            Ok(accepted())
        }
        Action::ResizeFlavor(flavor) => {
            let id = there(&caller, raw, id)?;
            call.state.commands.resize_flavor(&caller, id, flavor).await?;
            Ok(accepted())
        }
        Action::ResizeVolume(gb) => {
            let id = there(&caller, raw, id)?;
            call.state.commands.resize_volume(&caller, id, gb).await?;
            Ok(accepted())
        }
        Action::ResetStatus { by_owner } => {
            allow(&caller, if by_owner { Rule::InstanceAction } else { Rule::Manage })?;
            let id = there(&caller, raw, id)?;
            call.state.commands.reset_status(&caller, id, by_owner).await?;
            Ok(accepted())
        }
        Action::NotYet(name, least) => {
            allow(&caller, Rule::InstanceAction)?;
            if caller.level < Some(least) {
                return Err(Refusal::Forbidden { rule: name }.into());
            }
            let id = there(&caller, raw, id)?;
            load(&call, &caller, id).await?;
            Err(Fault::not_yet(&format!("The action {name}")))
        }
    }
}

/// Refuses a caller who may not act on instances, and then a path without an instance's id.
///
/// # Errors
/// 403 by role; 404.
fn there(caller: &Caller, raw: String, id: InstanceId) -> Result<InstanceId, Fault> {
    allow(caller, Rule::InstanceAction)?;
    if id.0.is_nil() { Err(Fault::not_found(raw)) } else { Ok(id) }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedSchedule)]
struct Schedule {
    enabled: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedVolume)]
struct Volume {
    size: i32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedReference)]
struct Reference {
    id: String,
    links: Vec<Link>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedFlavor)]
struct Flavor {
    id: String,
    ram: i32,
    name: String,
    links: Vec<Link>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedDatastore)]
struct Datastore {
    r#type: String,
    version: String,
}

/// The new instance in the answer to an accepted upgrade: these keys and no other (api-ref: `upgrade-action.md`).
/// Its times end in `Z`, here only.
#[derive(Debug, Serialize, ToSchema)]
pub struct AcceptedView {
    status: &'static str,
    available_upgrades: AvailableUpgrades,
    created: String,
    updated: String,
    name: String,
    id: String,
    links: Vec<Link>,
    schedule: Schedule,
    hostname: String,
    volume: Volume,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_of: Option<Reference>,
    flavor: Flavor,
    datastore: Datastore,
}

impl AcceptedView {
    /// The view of `new` for a caller of `project`; `zone` is the zone of its host name.
    pub fn new(new: &Instance, base: &Base, project: &str, zone: &str) -> Self {
        let id = new.id.to_string();
        let reference = |id: InstanceId| {
            let id = id.to_string();
            Reference { links: base.resource(project, "instances", &id), id }
        };
        Self {
            status: new.state.trove_status(),
            available_upgrades: available_upgrades(new, &[]),
            created: zoned(new.created_at),
            updated: zoned(new.updated_at),
            name: new.name.clone(),
            links: base.resource(project, "instances", &id),
            schedule: Schedule { enabled: false },
            hostname: hostname(&id, zone),
            volume: Volume { size: new.volume_gb },
            replica_of: new.replica_of.map(reference),
            flavor: Flavor {
                id: new.flavor.id.0.clone(),
                ram: new.flavor.ram_mb,
                name: new.flavor.name.clone(),
                links: base.resource(project, "flavors", &new.flavor.id.0),
            },
            datastore: Datastore {
                r#type: new.shown_version().datastore.clone(),
                version: new.shown_version().name.clone(),
            },
            id,
        }
    }
}

/// 40 hex digits, the SHA-1 of the instance's id, and the zone.
fn hostname(id: &str, zone: &str) -> String {
    let mut name = String::with_capacity(41 + zone.len());
    for byte in Sha1::digest(id.as_bytes()) {
        name += &format!("{byte:02x}");
    }
    name.push('.');
    name + zone
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::trove::create::tests::any_json;
    use crate::api::trove::views::tests::{building, keys, version};

    fn status(body: &Value) -> u16 {
        match parse(body.as_object().unwrap()) {
            Ok(Action::NotYet(_, _)) => 501,
            Ok(_) => 202,
            Err(fault) => fault.row().0.as_u16(),
        }
    }

    #[test]
    fn one_action_and_no_other() {
        let good = json!({"datastore_type": "mariadb", "datastore_version": "10.11"});
        for (body, code) in [
            (json!({"upgrade": good}), 202),
            (json!({}), 400),
            (json!({"upgrade": good, "restart": {}}), 400),
            (json!({"upgrade": null}), 400),
            (json!({"upgrade": []}), 400),
            (json!({"upgrade": {}}), 400),
            (json!({"upgrade": {"datastore_type": "mariadb"}}), 400),
            (json!({"upgrade": {"datastore_version": "10.11"}}), 400),
            (json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": 10.11}}), 400),
            (json!({"upgrade": {"datastore_type": "", "datastore_version": "10.11"}}), 400),
            (
                json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "10.11", "dry_run": true}}),
                400,
            ),
            (json!({"Upgrade": good}), 400),
            (json!({"reboot": {}}), 400),
            (json!({"restart": {}}), 202),
            (json!({"restart": null}), 202),
            (json!({"restart": 1}), 400),
            (json!({"resize": {"flavorRef": 3}}), 202),
            (json!({"resize": {"volume": {"size": 3}}}), 202),
            (json!({"resize": {"volume": 3}}), 202),
            (json!({"resize": {"volume": {"size": 0}}}), 400),
            (json!({"resize": {}}), 400),
            (json!({"resize": {"flavorRef": 1, "volume": 2}}), 400),
            (json!({"promote_to_replica_source": {}}), 501),
            (json!({"eject_replica_source": {}}), 501),
            (json!({"reset_status": {}}), 202),
            (json!({"save_logs": {"allow_ha": true}}), 501),
            (json!({"convert_to_ha": {"name": "x"}}), 501),
        ] {
            assert_eq!(status(&body), code, "{body}");
        }
        let number = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": 5.7}});
        let Err(Fault::BadRequest(text)) = parse(number.as_object().unwrap()) else { panic!("400") };
        assert!(text.contains("upgrade['datastore_version']"), "{text}");
    }

    #[test]
    fn the_202_has_these_keys_and_no_other() {
        let source = InstanceId(Uuid::from_u128(7));
        let new = Instance {
            name: "orders_upgrade".into(),
            wanted: version("10.11"),
            replica_of: Some(source),
            replicas: Vec::new(),
            ..building()
        };
        let base = Base("https://db.example.test".into());
        let view = serde_json::to_value(AcceptedView::new(&new, &base, "1234", "db.example.test")).unwrap();
        assert_eq!(
            keys(&view),
            [
                "available_upgrades",
                "created",
                "datastore",
                "flavor",
                "hostname",
                "id",
                "links",
                "name",
                "replica_of",
                "schedule",
                "status",
                "updated",
                "volume"
            ]
        );
        assert_eq!(keys(&view["flavor"]), ["id", "links", "name", "ram"]);
        assert_eq!(keys(&view["replica_of"]), ["id", "links"]);
        assert_eq!(view["replica_of"]["id"], source.to_string());
        assert_eq!(view["available_upgrades"], json!({"current_version": "UNKNOWN", "upgrades": []}));
        assert_eq!(view["datastore"], json!({"type": "mariadb", "version": "10.11"}));
        assert_eq!(view["volume"], json!({"size": 20}));
        assert_eq!(view["schedule"], json!({"enabled": false}));
        assert_eq!(view["created"], "2026-03-01T10:20:30Z");
        assert_eq!(view["status"], "BUILD");
        assert_eq!(
            view["links"],
            json!([
                {"href": format!("https://db.example.test/v1.0/1234/instances/{}", new.id), "rel": "self"},
                {"href": format!("https://db.example.test/instances/{}", new.id), "rel": "bookmark"},
            ])
        );
        let hostname = view["hostname"].as_str().unwrap();
        let (hex, zone) = hostname.split_once('.').unwrap();
        assert!(hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()) && zone == "db.example.test");
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json()) {
            if let Some(body) = value.as_object() {
                let _ = parse(body);
            }
            for key in ["upgrade", "resize", "restart"] {
                let _ = parse(json!({key: value.clone()}).as_object().unwrap());
            }
        }
    }
}
