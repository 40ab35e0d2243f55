//! What a client sees of groups (api-ref: `ha.md`).

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::links::{Base, Link, zoned};
use crate::domain::group::{Group, MemberRole};
use crate::domain::instance::Instance;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupDatastore)]
struct Datastore {
    r#type: String,
    version: String,
}

impl Datastore {
    fn of(group: &Group) -> Self {
        let version = group.shown_version();
        Self { r#type: version.datastore.clone(), version: version.name.clone() }
    }
}

/// A group in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupItem {
    id: String,
    name: String,
    state: &'static str,
    datastore: Datastore,
}

impl GroupItem {
    /// The view of a group.
    pub fn of(group: &Group) -> Self {
        Self {
            id: group.id.to_string(),
            name: group.name.clone(),
            state: group.state.ha_state(),
            datastore: Datastore::of(group),
        }
    }
}

/// The answer to an accepted upgrade: these keys and no other.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpgradingView {
    tenant_id: String,
    state: &'static str,
    id: String,
    datastore: Datastore,
    name: String,
}

impl UpgradingView {
    /// The view of a group whose upgrade was accepted.
    pub fn of(group: &Group) -> Self {
        Self {
            tenant_id: group.project.as_str().to_owned(),
            state: group.state.ha_state(),
            id: group.id.to_string(),
            datastore: Datastore::of(group),
            name: group.name.clone(),
        }
    }
}

/// A flavor's id: a number where it is one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum FlavorNumber {
    Number(i64),
    Text(String),
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupFlavor)]
struct Flavor {
    id: FlavorNumber,
    links: Vec<Link>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupVolume)]
struct Volume {
    size: i32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MemberFlavor)]
struct FlavorOfMember {
    id: String,
    links: Vec<Link>,
}

/// Where clients connect.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupNetwork)]
struct Network {
    access: &'static str,
    network: &'static str,
    address: String,
    port: u16,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupFault)]
struct FaultPart {
    message: String,
    created: String,
}

/// A member of a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberView {
    id: String,
    ha_id: String,
    name: String,
    status: &'static str,
    role: &'static str,
    availability_zone: String,
    datastore: Datastore,
    flavor: FlavorOfMember,
    volume: Volume,
    links: Vec<Link>,
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupView {
    id: String,
    name: String,
    tenant_id: String,
    state: &'static str,
    datastore: Datastore,
    volume: Volume,
    flavor: Flavor,
    /// None are attached.
    configuration: Option<String>,
    acls: Vec<Value>,
    networks: Vec<Network>,
    replica_source: Vec<MemberView>,
    replicas: Vec<MemberView>,
    created: String,
    updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultPart>,
}

impl GroupView {
    /// The view of a group for a caller of `project`; without what it is made of while that is not there yet.
    pub fn of(group: &Group, base: &Base, project: &str, whole: bool) -> Self {
        let flavor = &group.flavor.id.0;
        let of_role = |wanted: MemberRole| {
            let found = group.roles().filter(|(role, _, _)| whole && *role == wanted);
            found.map(|(role, it, zone)| MemberView::of(group, (role, it, zone), base, project)).collect()
        };
        let serves = group.primary().is_some_and(|primary| primary.running.is_some());
        let address = group.address.as_ref().filter(|_| whole && serves);
        Self {
            id: group.id.to_string(),
            name: group.name.clone(),
            tenant_id: group.project.as_str().to_owned(),
            state: group.state.ha_state(),
            datastore: Datastore::of(group),
            volume: Volume { size: group.volume_gb },
            flavor: Flavor {
                id: flavor.parse().map_or_else(|_| FlavorNumber::Text(flavor.clone()), FlavorNumber::Number),
                links: base.resource(project, "flavors", flavor),
            },
            configuration: None,
            acls: Vec::new(),
            networks: address
                .map(|address| Network {
                    access: "write",
                    network: "servicenet",
                    address: address.clone(),
                    port: group.shown_version().engine.standard_port(),
                })
                .into_iter()
                .collect(),
            replica_source: of_role(MemberRole::Primary),
            replicas: of_role(MemberRole::Standby),
            created: zoned(group.created_at),
            updated: zoned(group.updated_at),
            fault: group
                .fault
                .as_ref()
                .map(|fault| FaultPart { message: fault.message.clone(), created: zoned(fault.at) }),
        }
    }
}

impl MemberView {
    fn of(
        group: &Group,
        (role, member, zone): (MemberRole, &Instance, &str),
        base: &Base,
        project: &str,
    ) -> Self {
        let (id, version) = (member.id.to_string(), member.shown_version());
        Self {
            ha_id: group.id.to_string(),
            name: member.name.clone(),
            status: member.state.trove_status(),
            role: role.as_str(),
            availability_zone: zone.to_owned(),
            datastore: Datastore { r#type: version.datastore.clone(), version: version.name.clone() },
            flavor: FlavorOfMember {
                id: member.flavor.id.0.clone(),
                links: base.resource(project, "flavors", &member.flavor.id.0),
            },
            volume: Volume { size: member.volume_gb },
            links: base.resource(project, "instances", &id),
            id,
        }
    }
}
