//! What a client sees of an instance (api-ref: `instances.md`).
//!
//! Optional keys are absent when there is nothing to say, never null: clients test for the key. `hostname` is never
//! among them; it is in the answer to the upgrade action alone.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::links::{Base, Link, zoneless};
use crate::auth::dev::REGION;
use crate::domain::caller::Caller;
use crate::domain::ids::InstanceId;
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::matrix::{Path, Way};

/// How fresh an answer of the server must be to be called healthy.
const FRESH: TimeDelta = TimeDelta::seconds(15);

/// For whom a view is made, and when.
pub struct Viewer<'a> {
    /// How the client reached us.
    pub base: &'a Base,
    /// Who looks.
    pub caller: &'a Caller,
    /// Now.
    pub now: DateTime<Utc>,
}

impl Viewer<'_> {
    fn links(&self, collection: &str, id: &str) -> Vec<Link> {
        self.base.resource(self.caller.project.as_str(), collection, id)
    }

    /// Another instance: its id and where it is.
    pub fn reference(&self, id: InstanceId) -> Reference {
        let id = id.to_string();
        Reference { links: self.links("instances", &id), id }
    }
}

/// An id with its links.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reference {
    id: String,
    links: Vec<Link>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DatastorePart {
    r#type: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_number: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct VolumePart {
    size: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AddressPart {
    address: String,
    r#type: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct AccessPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    is_public: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_cidrs: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct FaultPart {
    message: String,
    created: String,
    details: Option<String>,
}

/// The configuration group whose values an instance's server has.
#[derive(Debug, Serialize, ToSchema)]
struct ConfigurationPart {
    id: String,
    name: String,
    links: Vec<Link>,
}

/// What the service can upgrade an instance to by way of a replica.
#[derive(Debug, Serialize, ToSchema)]
pub struct AvailableUpgrades {
    /// The number that the server itself gave; `UNKNOWN` until it answered.
    pub current_version: String,
    /// One element a target; each can be pasted into the action.
    pub upgrades: Vec<UpgradeTarget>,
}

/// A target of an upgrade.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpgradeTarget {
    version: String,
    datastore_type: String,
    datastore_version: String,
}

/// An instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceView {
    id: String,
    name: String,
    status: &'static str,
    operating_status: &'static str,
    links: Vec<Link>,
    flavor: Reference,
    volume: VolumePart,
    datastore: DatastorePart,
    region: &'static str,
    access: AccessPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<AddressPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_of: Option<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replicas: Vec<Reference>,
    /// The group that it is a member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    ha_id: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    detail: Option<DetailPart>,
}

/// What the detail view adds.
#[derive(Debug, Serialize, ToSchema)]
struct DetailPart {
    created: String,
    updated: String,
    service_status_updated: String,
    available_upgrades: AvailableUpgrades,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<ConfigurationPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultPart>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    operator: Option<OperatorPart>,
}

/// What only admins see.
#[derive(Debug, Serialize, ToSchema)]
struct OperatorPart {
    server_id: Option<String>,
    volume_id: Option<String>,
    encrypted_rpc_messaging: bool,
    /// `process` or `simulated`: what is simulated says so.
    runtime: &'static str,
}

impl InstanceView {
    /// The list view.
    pub fn list(instance: &Instance, viewer: &Viewer<'_>) -> Self {
        let version = instance.shown_version();
        let id = instance.id.to_string();
        let address = reachable(instance);
        let admin = viewer.caller.is_admin();
        Self {
            links: viewer.links("instances", &id),
            id,
            name: instance.name.clone(),
            status: shown_status(instance),
            operating_status: operating_status(instance, viewer.now),
            flavor: Reference {
                id: instance.flavor.id.0.clone(),
                links: viewer.links("flavors", &instance.flavor.id.0),
            },
            volume: VolumePart { size: instance.volume_gb, used: None },
            datastore: DatastorePart {
                r#type: version.datastore.clone(),
                version: version.name.clone(),
                version_number: None,
            },
            region: REGION,
            access: AccessPart {
                is_public: address.map(|_| false),
                allowed_cidrs: instance.allowed_cidrs.clone(),
            },
            tenant_id: admin.then(|| instance.project.as_str().to_owned()),
            ip: address.map(str::to_owned).into_iter().collect(),
            addresses: address
                .map(|address| AddressPart { address: address.to_owned(), r#type: "private" })
                .into_iter()
                .collect(),
            replica_of: instance.replica_of.map(|id| viewer.reference(id)),
            replicas: instance.replicas.iter().map(|id| viewer.reference(*id)).collect(),
            ha_id: instance.member.as_ref().map(|member| member.group.to_string()),
            detail: None,
        }
    }

    /// The detail view: what show, create and `/instances/detail` give. `paths` is the matrix.
    pub fn detail(instance: &Instance, paths: &[Path], viewer: &Viewer<'_>) -> Self {
        let admin = viewer.caller.is_admin();
        let mut view = Self::list(instance, viewer);
        view.volume.used = used_gb(instance);
        view.datastore.version_number = Some(match &instance.running {
            Some(running) if !running.number.is_empty() => running.number.clone(),
            Some(_) | None => instance.shown_version().number.clone(),
        });
        view.detail = Some(DetailPart {
            created: zoneless(instance.created_at),
            updated: zoneless(instance.updated_at),
            service_status_updated: zoneless(instance.seen.answered_at.unwrap_or(instance.updated_at)),
            available_upgrades: available_upgrades(instance, paths),
            configuration: instance.configuration.as_ref().map(|(id, name)| ConfigurationPart {
                id: id.to_string(),
                name: name.clone(),
                links: viewer.links("configurations", &id.to_string()),
            }),
            fault: instance.shown_fault().map(|fault| FaultPart {
                message: fault.message,
                created: zoneless(fault.at),
                details: fault.details.filter(|_| admin),
            }),
            operator: admin.then(|| OperatorPart {
                server_id: instance.running.as_ref().map(|running| running.generation.to_string()),
                volume_id: None,
                encrypted_rpc_messaging: false,
                runtime: instance.shown_version().runtime.as_str(),
            }),
        });
        view
    }
}

/// Whether the state is one in which a server serves.
const fn serves(state: InstanceState) -> bool {
    match state {
        InstanceState::Active
        | InstanceState::FeedingUpgrade
        | InstanceState::VerifyUpgrade
        | InstanceState::Upgrading
        | InstanceState::Restarting
        | InstanceState::Resizing
        | InstanceState::Detaching => true,
        InstanceState::Building | InstanceState::Deleting | InstanceState::Error | InstanceState::Deleted => {
            false
        }
    }
}

/// The address, once there is a server behind it.
fn reachable(instance: &Instance) -> Option<&str> {
    instance.address.as_deref().filter(|_| serves(instance.state) && instance.running.is_some())
}

/// Trove's status: a server that serves and waits for a restart says so.
pub fn shown_status(instance: &Instance) -> &'static str {
    match instance.state {
        InstanceState::Active if instance.seen.needs_restart => "RESTART_REQUIRED",
        state => state.trove_status(),
    }
}

/// What the database itself is seen to do; empty while a task changes the instance (api-ref: `instances.md`,
/// operating status).
pub fn operating_status(instance: &Instance, now: DateTime<Utc>) -> &'static str {
    match instance.state {
        InstanceState::Building
        | InstanceState::Upgrading
        | InstanceState::Restarting
        | InstanceState::Resizing
        | InstanceState::Detaching
        | InstanceState::Deleting
        | InstanceState::Error
        | InstanceState::Deleted => "",
        InstanceState::Active | InstanceState::FeedingUpgrade | InstanceState::VerifyUpgrade => {
            match &instance.seen.trouble {
                Some(trouble) if trouble.contains("not running") => "SHUTDOWN",
                Some(_) => "ERROR",
                None if instance.answered(now, FRESH) && instance.seen.volume.0.is_full() => "BLOCKED",
                None if instance.answered(now, FRESH) => "HEALTHY",
                // It serves since a moment ago, and nobody has asked it yet.
                None if instance.seen.answered_at.is_none() && now - instance.updated_at <= FRESH => "ACTIVE",
                None => "ERROR",
            }
        }
    }
}

/// What the data takes, in GB to the hundredth, when it is known and the state lets it be shown.
fn used_gb(instance: &Instance) -> Option<f64> {
    if !serves(instance.state) {
        return None;
    }
    // A volume in hundredths of a GB fits an f64 exactly for any size that there is.
    #[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than any volume")]
    instance.seen.used_bytes.map(|bytes| (bytes as f64 / 10_737_418.24).round() / 100.0)
}

/// Where the replica way leads from what runs; empty while building, and for replicas and sources.
pub fn available_upgrades(instance: &Instance, paths: &[Path]) -> AvailableUpgrades {
    let Some(running) = instance.running.as_ref().filter(|_| instance.state != InstanceState::Building)
    else {
        return AvailableUpgrades { current_version: "UNKNOWN".to_owned(), upgrades: Vec::new() };
    };
    let alone = instance.replica_of.is_none() && instance.replicas.is_empty() && serves(instance.state);
    let number = if running.number.is_empty() { "UNKNOWN".to_owned() } else { running.number.clone() };
    AvailableUpgrades {
        current_version: number,
        upgrades: paths
            .iter()
            .filter(|path| alone && path.leads(running.version.id, Way::Replica))
            .map(|path| UpgradeTarget {
                version: path.to.name.clone(),
                datastore_type: path.to.datastore.clone(),
                datastore_version: path.to.name.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::domain::caller::Level;
    use crate::domain::datastore::{DatastoreVersion, EngineKind, RuntimeKind};
    use crate::domain::flavor::Flavor;
    use crate::domain::ids::{DatastoreId, FlavorId, GenerationId, HostId, ProjectId, VersionId};
    use crate::domain::instance::{Fault, Running, Seen};
    use crate::domain::volume::VolumeState;

    pub fn caller(level: Level) -> Caller {
        Caller { user: "u".into(), project: ProjectId::parse("p1").unwrap(), level: Some(level) }
    }

    pub fn version(name: &str) -> DatastoreVersion {
        DatastoreVersion {
            id: VersionId(Uuid::from_u128(name.bytes().fold(0, |sum, b| sum * 256 + u128::from(b)))),
            datastore_id: DatastoreId(Uuid::from_u128(1)),
            datastore: "mariadb".into(),
            name: name.into(),
            number: format!("{name}.2"),
            engine: EngineKind::MariaDb,
            runtime: RuntimeKind::Process,
            active: true,
        }
    }

    pub fn path(from: &str, to: &str, way: &str) -> Path {
        Path { from: version(from).id, to: version(to), ways: vec![way.into()], enabled: true }
    }

    pub fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-03-01T10:20:30.5Z").unwrap().into()
    }

    /// An instance that serves and is well.
    pub fn active() -> Instance {
        Instance {
            id: InstanceId(Uuid::from_u128(0x0b1f_6d52_90aa_4b6f_9d0e_6f2b_1f3c_4d5e)),
            project: ProjectId::parse("p1").unwrap(),
            name: "orders".into(),
            state: InstanceState::Active,
            flavor: Flavor { id: FlavorId("3".into()), name: "2GB Instance".into(), ram_mb: 2048, vcpus: 1 },
            volume_gb: 20,
            wanted: version("10.6"),
            running: Some(Running {
                version: version("10.6"),
                number: "10.6.22".into(),
                generation: GenerationId(Uuid::from_u128(5)),
            }),
            seen: Seen {
                answered_at: Some(now()),
                trouble: None,
                used_bytes: Some(161_061_274),
                needs_restart: false,
                volume: Default::default(),
            },
            host: HostId("h".into()),
            address: Some("127.64.0.1".into()),
            allowed_cidrs: Vec::new(),
            configuration: None,
            replica_of: None,
            replicas: Vec::new(),
            member: None,
            fault: None,
            created_at: now(),
            updated_at: now(),
            revision: 0,
        }
    }

    pub fn building() -> Instance {
        Instance { state: InstanceState::Building, running: None, seen: Seen::default(), ..active() }
    }

    pub fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn detail(instance: &Instance, level: Level) -> Value {
        let base = Base("http://h:1".into());
        let caller = caller(level);
        let viewer = Viewer { base: &base, caller: &caller, now: now() };
        let paths = [path("10.6", "10.11", "replica"), path("10.6", "11.4", "in_place")];
        serde_json::to_value(InstanceView::detail(instance, &paths, &viewer)).unwrap()
    }

    #[test]
    fn the_list_view_has_these_keys() {
        let base = Base("http://h:1".into());
        let caller = caller(Level::Member);
        let viewer = Viewer { base: &base, caller: &caller, now: now() };
        let view = serde_json::to_value(InstanceView::list(&active(), &viewer)).unwrap();
        assert_eq!(
            keys(&view),
            [
                "access",
                "addresses",
                "datastore",
                "flavor",
                "id",
                "ip",
                "links",
                "name",
                "operating_status",
                "region",
                "status",
                "volume"
            ]
        );
        assert_eq!(view["flavor"]["id"], "3");
        assert_eq!(view["volume"], serde_json::json!({"size": 20}));
        assert_eq!(view["datastore"], serde_json::json!({"type": "mariadb", "version": "10.6"}));
        assert_eq!(view["links"][0]["href"], format!("http://h:1/v1.0/p1/instances/{}", active().id));
        assert_eq!(view["links"][1]["href"], format!("http://h:1/instances/{}", active().id));
    }

    #[test]
    fn the_detail_view_of_a_fresh_instance_hides_what_is_not_there_yet() {
        let view = detail(&building(), Level::Member);
        assert_eq!(
            keys(&view),
            [
                "access",
                "available_upgrades",
                "created",
                "datastore",
                "flavor",
                "id",
                "links",
                "name",
                "operating_status",
                "region",
                "service_status_updated",
                "status",
                "updated",
                "volume"
            ]
        );
        assert_eq!(view["status"], "BUILD");
        assert_eq!(view["operating_status"], "");
        assert_eq!(view["access"], serde_json::json!({}));
        assert_eq!(view["volume"], serde_json::json!({"size": 20}));
        assert_eq!(
            view["available_upgrades"],
            serde_json::json!({"current_version": "UNKNOWN", "upgrades": []})
        );
        assert_eq!(view["created"], "2026-03-01T10:20:30");
    }

    #[test]
    fn the_detail_view_of_a_serving_instance() {
        let view = detail(&active(), Level::Member);
        assert_eq!(view["operating_status"], "HEALTHY");
        assert_eq!(view["ip"], serde_json::json!(["127.64.0.1"]));
        assert_eq!(view["addresses"], serde_json::json!([{"address": "127.64.0.1", "type": "private"}]));
        assert_eq!(view["volume"], serde_json::json!({"size": 20, "used": 0.15}));
        assert_eq!(view["datastore"]["version_number"], "10.6.22");
        assert_eq!(
            view["available_upgrades"],
            serde_json::json!({"current_version": "10.6.22", "upgrades": [
                {"version": "10.11", "datastore_type": "mariadb", "datastore_version": "10.11"}]})
        );
        for absent in
            ["hostname", "tenant_id", "replica_of", "replicas", "fault", "server_id", "configuration"]
        {
            assert!(view.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn sources_and_replicas_name_each_other_and_have_no_upgrades() {
        let other = InstanceId(Uuid::from_u128(7));
        let source = Instance { state: InstanceState::VerifyUpgrade, replicas: vec![other], ..active() };
        let view = detail(&source, Level::Member);
        assert_eq!(view["status"], "VERIFY_UPGRADE");
        assert_eq!(view["operating_status"], "HEALTHY");
        assert_eq!(view["replicas"][0]["id"], other.to_string());
        assert_eq!(view["available_upgrades"]["upgrades"], serde_json::json!([]));
        let replica = Instance { replica_of: Some(other), ..source };
        assert_eq!(keys(&detail(&replica, Level::Member)["replica_of"]), ["id", "links"]);
    }

    #[test]
    fn a_faults_details_are_the_operators() {
        let fault = Fault { message: "m".into(), details: Some("chain".into()), at: now() };
        let broken = Instance { state: InstanceState::Error, fault: Some(fault), ..building() };
        assert_eq!(
            detail(&broken, Level::Member)["fault"],
            serde_json::json!({"message": "m", "created": "2026-03-01T10:20:30", "details": null})
        );
        let view = detail(&broken, Level::Admin);
        assert_eq!(view["fault"]["details"], "chain");
        assert_eq!(view["tenant_id"], "p1");
        assert!(view.get("server_id").is_some());
    }

    #[test]
    fn healthy_is_only_what_answered_just_now() {
        use InstanceState as S;
        let ago = |seconds| Some(now() - TimeDelta::seconds(seconds));
        for (state, answered_at, trouble, changed, word) in [
            (S::Active, ago(15), None, 60, "HEALTHY"),
            (S::Active, ago(16), None, 0, "ERROR"),
            (S::Active, None, None, 5, "ACTIVE"),
            (S::Active, None, None, 16, "ERROR"),
            (S::Active, ago(1), Some("the server is not running"), 0, "SHUTDOWN"),
            (S::Active, ago(1), Some("replication stopped"), 0, "ERROR"),
            (S::FeedingUpgrade, ago(1), None, 0, "HEALTHY"),
            (S::VerifyUpgrade, ago(99), None, 0, "ERROR"),
            (S::Detaching, ago(1), None, 0, ""),
            (S::Building, ago(1), None, 0, ""),
            (S::Error, ago(1), None, 0, ""),
        ] {
            let instance = Instance {
                state,
                seen: Seen {
                    answered_at,
                    trouble: trouble.map(str::to_owned),
                    used_bytes: None,
                    needs_restart: false,
                    volume: Default::default(),
                },
                updated_at: now() - TimeDelta::seconds(changed),
                ..active()
            };
            assert_eq!(operating_status(&instance, now()), word, "{state:?} {answered_at:?} {trouble:?}");
        }
    }

    #[test]
    fn a_full_volume_is_told() {
        let mut instance = active();
        instance.seen.volume = (VolumeState::Full, Some(now()));
        assert_eq!(operating_status(&instance, now()), "BLOCKED");
        assert_eq!(shown_status(&instance), "ACTIVE");
        let told = instance.shown_fault().unwrap();
        assert!(told.message.contains("is full") && told.at == now(), "{told:?}");
        // An earlier fault is told again once there is room.
        let earlier = Fault { message: "earlier".to_owned(), details: None, at: now() };
        instance.fault = Some(earlier.clone());
        assert_ne!(instance.shown_fault().unwrap(), earlier);
        instance.seen.volume.0 = VolumeState::Room;
        assert_eq!(instance.shown_fault().unwrap(), earlier);
        assert_eq!(operating_status(&instance, now()), "HEALTHY");
    }
}
