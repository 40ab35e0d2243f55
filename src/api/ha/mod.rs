//! The dialect of Rackspace Cloud Databases v1.0 for groups: `/ha` (api-ref: `ha.md`). Times end in `Z` here, and a
//! flavor's id is a number where it is one.

pub mod views;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::ha::views::{GroupItem, GroupView, UpgradingView};
use crate::api::json_fields::{Field, closed};
use crate::api::request::{Call, Route, accepted, json as answer};
use crate::api::shapes::{ActionRequest, HaRequest};
use crate::commands;
use crate::commands::groups::{AskedMember, CreateGroup, Target, UpgradeGroup, visible};
use crate::db::{self, groups};
use crate::domain::caller::Caller;
use crate::domain::ids::{FlavorId, GroupId};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::timing::Timing;

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/ha",
        Rule::InstanceRead,
        Doc::new("listGroups", "The project's groups", "ha.md")
            .gives(200, Gives::Page("ha_instances", shape::<GroupItem>)),
        |call, caller| Box::pin(list(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/ha",
        Rule::InstanceCreate,
        Doc::new("createGroup", "Make a group", "ha.md")
            .takes::<HaRequest>(sample!("ha-create-request"))
            .gives(202, Gives::One("ha_instance", shape::<GroupView>))
            .refuses(&[404, 422, 501]),
        |call, caller| Box::pin(create(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/ha/{id}",
        Rule::InstanceRead,
        Doc::new("showGroup", "A group", "ha.md").gives(200, Gives::One("ha_instance", shape::<GroupView>)),
        |call, caller| Box::pin(show(call, caller)),
    ),
    Route::project(
        "DELETE",
        "/v1.0/{project}/ha/{id}",
        Rule::InstanceDelete,
        Doc::new("deleteGroup", "Delete a group with its members", "ha.md")
            .gives(202, Gives::Nothing)
            .refuses(&[422]),
        |call, caller| Box::pin(delete(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/ha/{id}/action",
        Rule::InstanceAction,
        Doc::new("actOnGroup", "Upgrade a group, member by member", "ha.md")
            .takes::<ActionRequest>(sample!("ha-upgrade-request"))
            .gives(202, Gives::One("ha_instance", shape::<UpgradingView>))
            .refuses(&[422, 501]),
        |call, caller| Box::pin(action(call, caller)),
    ),
];

/// Whether a route is one of these: they do not know 415, so that a body which is said to be no JSON is malformed there.
pub fn is_of_groups(path: &str) -> bool {
    ROUTES.iter().any(|route| route.path == path)
}

/// A check of an action's value.
type Check = fn(&Field<'_>) -> Result<(), Refusal>;

/// The actions of the contract that come later, and the check of each one's value.
const LATER: [(&str, Check); 7] = [
    ("add_replica", |field| field.object().map(drop)),
    ("remove_replica", |field| field.uuid().map(drop)),
    ("resize_volumes", |field| field.required("size")?.size().map(drop)),
    ("resize_flavor", |field| field.flavor().map(drop)),
    ("restart", |field| field.object().map(drop)),
    ("add_acls", |field| field.object().map(drop)),
    ("delete_acls", |field| field.object().map(drop)),
];

/// A parsed action.
#[derive(Clone, Debug)]
pub enum Action {
    /// Upgrade to a version of a datastore.
    Upgrade(Target),
    /// An action of the contract that is not done here yet.
    NotYet(&'static str),
}

/// Parses the body of `POST /ha/{id}/action`: exactly one action.
///
/// # Errors
/// 400 naming the field.
pub fn parse_action(body: &Map<String, Value>) -> Result<Action, Refusal> {
    let mut keys = body.keys();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Refusal::invalid("body", "must name exactly one action"));
    };
    let field = Field::root(body, key)?;
    if key == "upgrade" {
        field.closed(&["datastore_type", "datastore_version"])?;
        return Ok(Action::Upgrade(Target::Named {
            datastore: field.required("datastore_type")?.words(255)?.to_owned(),
            version: field.required("datastore_version")?.words(255)?.to_owned(),
        }));
    }
    match LATER.iter().find(|(name, _)| name == key) {
        Some((name, check)) => {
            check(&field)?;
            Ok(Action::NotYet(name))
        }
        None => Err(Refusal::invalid(
            "body",
            "must name an action: upgrade, add_replica, remove_replica, resize_volumes, resize_flavor, restart, \
             add_acls or delete_acls",
        )),
    }
}

/// A member of a body: its name, its zone, and what must be the same for all of them.
fn member(field: &Field<'_>) -> Result<(AskedMember, String, i32), Refusal> {
    let zone = field.optional("availability_zone")?.map(|zone| zone.words(255).map(str::to_owned));
    let asked = AskedMember { name: field.required("name")?.words(255)?.to_owned(), zone: zone.transpose()? };
    let volume = field.required("volume")?.required("size")?.size()?;
    Ok((asked, field.required("flavorRef")?.flavor()?, volume))
}

/// The only element of a list that has one.
fn only<'a>(field: &Field<'a>) -> Result<Field<'a>, Refusal> {
    let mut all = field.array()?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (_, _) => Err(field.refuse("must have one element")),
    }
}

/// Parses the body of `POST /ha`.
///
/// # Errors
/// 400 naming the field; 501 for what is not done yet.
pub fn parse(body: &Map<String, Value>) -> Result<CreateGroup, Fault> {
    closed(body, &["ha"])?;
    let ha = Field::root(body, "ha")?;
    let name = ha.required("name")?.words(255)?.to_owned();
    let datastore = ha.required("datastore")?;
    let kind = datastore.required("type")?.words(255)?.to_owned();
    let version = datastore.optional("version")?.map(|it| it.words(255).map(str::to_owned)).transpose()?;
    let (primary, flavor, volume_gb) = member(&only(&ha.required("replica_source")?)?)?;
    let replicas = ha.required("replicas")?;
    let all = replicas.array()?;
    let (Some(first), 1..=2) = (all.first(), all.len()) else {
        return Err(replicas.refuse("must have one or two elements").into());
    };
    for replica in &all {
        let (_, other_flavor, other_volume) = member(replica)?;
        if other_flavor != flavor {
            return Err(replica.required("flavorRef")?.refuse("must be the replica source's").into());
        }
        if other_volume != volume_gb {
            return Err(replica.required("volume")?.refuse("must be the replica source's").into());
        }
    }
    let mut not_yet = (all.len() == 2).then(|| Fault::not_yet("A group with two replicas (ha['replicas'])"));
    if let Some(networks) = ha.optional("networks")? {
        for network in networks.array()? {
            if !matches!(network.text()?, "servicenet" | "public") {
                return Err(network.refuse("must be servicenet or public").into());
            }
        }
    }
    if let Some(acls) = ha.optional("acls")? {
        for acl in acls.array()? {
            acl.required("address")?.text()?;
            not_yet.get_or_insert_with(|| Fault::not_yet("Limiting the addresses of clients (ha['acls'])"));
        }
    }
    if ha.optional("scheduled_backup")?.is_some() {
        not_yet.get_or_insert_with(|| Fault::not_yet("Backing a group up (ha['scheduled_backup'])"));
    }
    if let Some(configuration) = ha.optional("configuration")?
        && !configuration.text()?.is_empty()
    {
        let what = "Attaching a configuration group (ha['configuration'])";
        not_yet.get_or_insert_with(|| Fault::not_yet(what));
    }
    let (standby, _, _) = member(first)?;
    match not_yet {
        Some(fault) => Err(fault),
        None => Ok(CreateGroup {
            name,
            flavor: FlavorId(flavor),
            volume_gb,
            datastore: kind,
            version,
            primary,
            standby,
            idempotency_key: None,
        }),
    }
}

/// The group in the path; what is no id is no group's.
fn group_id(call: &Call) -> Result<GroupId, Fault> {
    call.param(0).parse().map_err(|_| Fault::not_found(call.param(0)))
}

/// `GET /ha`.
async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let paging = call.paging()?;
    let (project, marker) = (caller.project.clone(), paging.marker.map(|id| GroupId(id.0)));
    // One more than the page tells whether there is another.
    let limit = i64::from(paging.limit) + 1;
    let read: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| groups::page(conn, &project, marker, limit)).await;
    let mut found = read?;
    let keep = usize::try_from(paging.limit).unwrap_or(usize::MAX);
    let more = found.len() > keep;
    found.truncate(keep);
    let items: Vec<GroupItem> = found.iter().map(GroupItem::of).collect();
    let mut page = json!({"ha_instances": items});
    if let Some(last) = found.last().filter(|_| more) {
        let next = [call.next_page(&last.id.to_string())];
        page["ha_instances_links"] = json!(next);
        page["links"] = json!(next);
    }
    answer(StatusCode::OK, &page)
}

/// `POST /ha`: 202 with a group that is building.
async fn create(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let mut request = parse(&body)?;
    request.idempotency_key = call.idempotency_key("coffer.ha", None, &Value::Object(body))?;
    let group = call.state.commands.create_group(&caller, request).await?;
    let view = GroupView::of(&group, &call.base, caller.project.as_str(), false);
    answer(StatusCode::ACCEPTED, &json!({"ha_instance": view}))
}

/// `GET /ha/{id}`.
async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = group_id(&call)?;
    let read: Result<_, db::Error> = call.state.commands.db.run(move |conn| groups::find(conn, id)).await;
    let group = visible(read?, &caller, id)?;
    let view = GroupView::of(&group, &call.base, caller.project.as_str(), true);
    answer(StatusCode::OK, &json!({"ha_instance": view}))
}

/// `DELETE /ha/{id}`: 202 with nothing.
async fn delete(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = group_id(&call)?;
    call.state.commands.delete_group(&caller, id).await?;
    Ok(accepted())
}

/// `POST /ha/{id}/action`.
///
/// # Errors
/// In this order: 400 for the body and for an unknown datastore, 403 by role, 404, 501, 422, 400 for a pair without a
/// path.
async fn action(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let raw = call.param(0).to_owned();
    // What is no id takes the same way to the same 404, so that the answers keep their order.
    let id = raw.parse().unwrap_or(GroupId(uuid::Uuid::nil()));
    let body = call.json()?;
    let unknown = |error| match error {
        commands::Error::Refused(Refusal::NotFound { .. }) => Fault::not_found(raw.clone()),
        other => other.into(),
    };
    match parse_action(&body)? {
        Action::Upgrade(target) => {
            let idempotency_key = call.idempotency_key("coffer.ha.action", None, &Value::Object(body))?;
            // Nobody who asks by this route names zones: one interruption, and not two.
            let request = UpgradeGroup { target, second_switch: false, timing: Timing::Now, idempotency_key };
            let done = call.state.commands.upgrade_group(&caller, id, request).await;
            let (group, _) = done.map_err(unknown)?;
            answer(StatusCode::ACCEPTED, &json!({"ha_instance": UpgradingView::of(&group)}))
        }
        Action::NotYet(name) => {
            allow(&caller, Rule::InstanceAction)?;
            let read: Result<_, db::Error> =
                call.state.commands.db.run(move |conn| groups::find(conn, id)).await;
            visible(read?, &caller, id).map_err(|refusal| unknown(refusal.into()))?;
            Err(Fault::not_yet(&format!("The action {name} of a group")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::trove::create::tests::any_json;

    fn good() -> Value {
        let node = |name: &str| json!({"name": name, "flavorRef": "2", "volume": {"size": 4}});
        json!({"ha": {
            "name": "orders",
            "datastore": {"type": "mysql", "version": "5.7"},
            "replica_source": [node("a")],
            "replicas": [node("b")],
        }})
    }

    fn status(body: &Value) -> u16 {
        match parse(body.as_object().unwrap()) {
            Ok(_) => 202,
            Err(fault) => fault.row().0.as_u16(),
        }
    }

    /// Where, what, answer: one row a rule.
    #[test]
    fn each_key_is_checked() {
        assert_eq!(status(&good()), 202);
        let node =
            |flavor: Value, gb: Value| json!({"name": "n", "flavorRef": flavor, "volume": {"size": gb}});
        for (key, value, code) in [
            ("name", json!(null), 400),
            ("name", json!(""), 400),
            ("name", json!("a".repeat(256)), 400),
            ("datastore", json!(null), 400),
            ("datastore", json!("mysql"), 400),
            ("datastore", json!({"type": 7}), 400),
            ("datastore", json!({"type": "mysql"}), 202),
            ("datastore", json!({"type": "mysql", "version": 5.7}), 400),
            ("replica_source", json!([]), 400),
            ("replica_source", json!({}), 400),
            ("replica_source", json!([node(json!("2"), json!(4)), node(json!("2"), json!(4))]), 400),
            ("replica_source", json!([{"name": "a"}]), 400),
            ("replicas", json!([]), 400),
            ("replicas", json!(null), 400),
            ("replicas", json!([node(json!("3"), json!(4))]), 400),
            ("replicas", json!([node(json!("2"), json!(5))]), 400),
            ("replicas", json!([node(json!(true), json!(4))]), 400),
            ("replicas", json!([node(json!(2), json!("4"))]), 202),
            ("replicas", json!([node(json!("2"), json!(4)), node(json!("2"), json!(4))]), 501),
            ("replicas", json!(vec![node(json!("2"), json!(4)); 3]), 400),
            ("networks", json!(["servicenet", "public"]), 202),
            ("networks", json!(["elsewhere"]), 400),
            ("networks", json!("public"), 400),
            ("acls", json!([]), 202),
            ("acls", json!([{"address": "10.0.0.0/8"}]), 501),
            ("acls", json!([{}]), 400),
            ("configuration", json!(""), 202),
            ("configuration", json!("0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e"), 501),
            ("configuration", json!(7), 400),
        ] {
            let mut body = good();
            body["ha"][key] = value;
            assert_eq!(status(&body), code, "{body}");
        }
        for (zone, code) in [(json!("az1"), 202), (json!(""), 400), (json!(1), 400), (json!(null), 202)] {
            let mut body = good();
            body["ha"]["replicas"][0]["availability_zone"] = zone;
            assert_eq!(status(&body), code, "{body}");
        }
        assert_eq!(status(&json!({"ha": good()["ha"], "instance": {}})), 400);
    }

    #[test]
    fn one_action_and_no_other() {
        let good = json!({"datastore_type": "mysql", "datastore_version": "5.7"});
        for (body, code) in [
            (json!({"upgrade": good}), 202),
            (json!({}), 400),
            (json!({"upgrade": good, "restart": {}}), 400),
            (json!({"upgrade": {"datastore_type": "mysql"}}), 400),
            (json!({"upgrade": {"datastore_type": "mysql", "datastore_version": 5.7}}), 400),
            (
                json!({"upgrade": {"datastore_type": "mysql", "datastore_version": "5.7", "second_switch": true}}),
                400,
            ),
            (json!({"upgrade": null}), 400),
            (json!({"restart": {}}), 501),
            (json!({"restart": null}), 400),
            (json!({"resize_flavor": "3"}), 501),
            (json!({"resize_volumes": {"size": 0}}), 400),
            (json!({"remove_replica": "x"}), 400),
            (json!({"fail_over": {}}), 400),
        ] {
            let code_of = match parse_action(body.as_object().unwrap()) {
                Ok(Action::Upgrade(_)) => 202,
                Ok(Action::NotYet(_)) => 501,
                Err(_) => 400,
            };
            assert_eq!(code_of, code, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json(), key in "[a-z_]{0,14}") {
            if let Some(body) = value.as_object() {
                let _ = parse(body);
                let _ = parse_action(body);
            }
            let _ = parse_action(json!({key.clone(): value.clone()}).as_object().unwrap());
            let mut body = good();
            body["ha"][key] = value.clone();
            let _ = parse(body.as_object().unwrap());
            for known in ["name", "datastore", "replica_source", "replicas", "networks", "acls", "configuration"] {
                let mut body = good();
                body["ha"][known] = value.clone();
                let _ = parse(body.as_object().unwrap());
            }
        }
    }
}
