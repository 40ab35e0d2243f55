//! Instances as the vendor's clients see them, their window and their policy.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::api::huawei::error::VendorError;
use crate::api::huawei::input::Body;
use crate::api::huawei::names::{self, moment};
use crate::api::huawei::{Answer, Call, ok};
use crate::api::vendor_reads::Everything;
use crate::commands::{policies, windows};
use crate::db::{self, groups, instances};
use crate::domain::build_upgrades::Policy;
use crate::domain::group::{Group, MemberRole};
use crate::domain::ids::{GroupId, InstanceId};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::task::Task;
use crate::domain::window::{Window, clock, of_clock};

/// The one region, and the zone of an instance that has no second member.
const REGION: &str = "coffer-1";
const ZONE: &str = "az1";

/// What an instance is to the vendor's clients.
pub enum Named {
    /// An instance.
    Instance(Box<Instance>),
    /// A primary with its standby.
    Group(Box<Group>),
}

impl Named {
    /// The instances behind it, the primary in front.
    fn members(&self) -> Vec<InstanceId> {
        match self {
            Self::Instance(it) => vec![it.id],
            Self::Group(group) => group.members.iter().map(|member| member.id).collect(),
        }
    }
}

/// What is named. A member of a group has no name of its own.
pub async fn found(call: &Call, text: &str) -> Result<Named, VendorError> {
    let malformed = || VendorError::new(400, "DBS.280404", "The instance ID is malformed.");
    let id = names::instance_of(text).ok_or_else(malformed)?;
    let db = &call.state.commands.db;
    let read: Result<_, db::Error> =
        db.run(move |conn| Ok((instances::find(conn, id)?, groups::find(conn, GroupId(id.0))?))).await;
    let (it, group) = read?;
    let is_group = |group: &Group| call.caller.sees(&group.project) && names::group(group) == text;
    if let Some(group) = group.filter(is_group) {
        return Ok(Named::Group(Box::new(group)));
    }
    let is_it =
        |it: &Instance| call.caller.sees(&it.project) && names::instance(it) == text && it.member.is_none();
    it.filter(is_it).map(|it| Named::Instance(Box::new(it))).ok_or_else(VendorError::no_instance)
}

/// The instance that is named, for what a group does not have.
pub async fn named(call: &Call, text: &str) -> Result<Instance, VendorError> {
    match found(call, text).await? {
        Named::Instance(it) => Ok(*it),
        Named::Group(_) => {
            Err(VendorError::unsupported("The operation is not for primary/standby instances."))
        }
    }
}

/// The next time that the window opens, in UTC: its zone may be another.
fn window_of(window: &Window, now: DateTime<Utc>) -> String {
    match window.now_or_next(now) {
        Some(open) => format!("{}-{}", open.start.format("%H:%M"), open.end.format("%H:%M")),
        None => format!("{}-{}", clock(window.start()), clock(window.end())),
    }
}

fn kind(it: &Instance) -> &'static str {
    if it.replica_of.is_some() { "Replica" } else { "Single" }
}

fn view(it: &Instance, upgrade: Option<&Task>, window: &Window, now: DateTime<Utc>) -> Value {
    let version = it.shown_version();
    let related =
        |kind: &'static str| move |id| json!({"id": names::of_engine(id, version.engine), "type": kind});
    let of = it.replica_of.map(related("replica_of"));
    let related: Vec<Value> =
        of.into_iter().chain(it.replicas.iter().copied().map(related("replica"))).collect();
    let status = names::status(it, upgrade);
    let role = if it.replica_of.is_some() { "readreplica" } else { "master" };
    json!({
        "id": names::instance(it),
        "name": it.name,
        "status": status,
        "type": kind(it),
        "datastore": {
            "type": names::engine(version.engine),
            "version": version.engine.series(&version.number),
            "complete_version": version.number,
        },
        "maintenance_window": window_of(window, now),
        "nodes": [{
            "id": names::node(it),
            "name": format!("{}_node0", it.name),
            "role": role,
            "status": status,
            "availability_zone": ZONE,
        }],
        "related_instance": related,
        "port": version.engine.standard_port(),
        "private_ips": it.address.iter().collect::<Vec<_>>(),
        "public_ips": [],
        "enable_ssl": true,
        "created": moment(it.created_at),
        "updated": moment(it.updated_at),
        "region": REGION,
        "volume": {"type": "COMMON", "size": it.volume_gb},
        "flavor_ref": it.flavor.id.0,
        "cpu": it.flavor.vcpus.to_string(),
        "mem": (it.flavor.ram_mb / 1024).max(1).to_string(),
        "time_zone": "UTC",
        "switch_strategy": "reliability",
        "tags": [],
    })
}

fn group_view(group: &Group, upgrade: Option<&Task>, window: &Window, now: DateTime<Utc>) -> Option<Value> {
    let primary = group.primary()?;
    let mut view = view(primary, None, window, now);
    let nodes: Vec<Value> = group
        .roles()
        .enumerate()
        .map(|(at, (role, member, zone))| {
            json!({
                "id": names::node(member),
                "name": format!("{}_node{at}", group.name),
                "role": match role { MemberRole::Primary => "master", MemberRole::Standby => "slave" },
                "status": names::status(member, upgrade),
                "availability_zone": zone,
            })
        })
        .collect();
    view.as_object_mut()?.extend([
        ("id".to_owned(), names::group(group).into()),
        ("name".to_owned(), group.name.clone().into()),
        ("status".to_owned(), names::group_status(group, upgrade).into()),
        ("type".to_owned(), "Ha".into()),
        ("ha".to_owned(), json!({"replication_mode": "async"})),
        ("nodes".to_owned(), nodes.into()),
        ("related_instance".to_owned(), json!([])),
        ("private_ips".to_owned(), json!(group.address.iter().collect::<Vec<_>>())),
        ("created".to_owned(), moment(group.created_at).into()),
        ("updated".to_owned(), moment(group.updated_at).into()),
    ]);
    Some(view)
}

/// Whether a text is what was asked for: with a star in front it only has to be in it.
fn fits(asked: Option<&str>, text: &str) -> bool {
    asked.is_none_or(|asked| match asked.strip_prefix('*') {
        Some(part) => text.contains(part),
        None => text == asked,
    })
}

/// `GET …/instances`.
pub async fn list(call: &Call) -> Answer {
    let query = &call.query;
    let page = query.page(100, 100)?;
    let (id, name) = (query.text("id")?, query.text("name")?);
    let wanted = query.word("type", &["Single", "Ha", "Replica"])?;
    let engine = query.text("datastore_type")?;
    let engines = ["MySQL", "PostgreSQL", "SQLServer", "MariaDB"];
    if engine.is_some_and(|engine| !engines.iter().any(|known| known.eq_ignore_ascii_case(engine))) {
        return Err(VendorError::invalid("datastore_type", &format!("one of {}", engines.join(", "))));
    }
    // No instance has one of these.
    let [vpc, subnet, tags] = ["vpc_id", "subnet_id", "tags"].map(|name| query.text(name));
    let has_none = vpc?.is_some() | subnet?.is_some() | tags?.is_some();
    allow(&call.caller, Rule::InstanceRead)?;
    let project = call.caller.project.clone();
    let db = &call.state.commands.db;
    let read: Result<_, db::Error> = db.run(move |conn| Everything::read(conn, &project)).await;
    let mut all = read?;
    let of_instances = std::mem::take(&mut all.instances).into_iter().map(|it| Named::Instance(Box::new(it)));
    let of_groups = std::mem::take(&mut all.groups).into_iter().map(|group| Named::Group(Box::new(group)));
    let mut found: Vec<Named> = of_instances.chain(of_groups).collect();
    found.retain(|named| {
        let (its_id, its_name, its_kind, of) = match named {
            Named::Instance(it) => (names::instance(it), &it.name, kind(it), it.shown_version().engine),
            Named::Group(group) => (names::group(group), &group.name, "Ha", group.shown_version().engine),
        };
        !has_none
            && fits(id, &its_id)
            && fits(name, its_name)
            && wanted.is_none_or(|wanted| wanted == its_kind)
            && engine.is_none_or(|engine| engine.eq_ignore_ascii_case(names::engine(of)))
    });
    let (total, shown) = (found.len(), page.take(found));
    let read: Result<Vec<(Named, Window)>, db::Error> = db
        .run(move |conn| {
            let of = |named: Named| {
                let (project, id) = match &named {
                    Named::Instance(it) => (&it.project, Some(it.id)),
                    Named::Group(group) => (&group.project, group.primary().map(|primary| primary.id)),
                };
                let (window, _) = db::windows::of(conn, project, id)?;
                Ok((named, window))
            };
            shown.into_iter().map(of).collect()
        })
        .await;
    let views: Vec<Value> = read?
        .iter()
        .filter_map(|(named, window)| match named {
            Named::Instance(it) => Some(view(it, all.upgrades.get(&it.id), window, call.now)),
            Named::Group(group) => group_view(group, all.upgrades.get(&group.id.address()), window, call.now),
        })
        .collect();
    ok(json!({"total_count": total, "instances": views}))
}

/// `PUT …/instances/{id}/ops-window`.
pub async fn set_window(call: &Call, instance: &str) -> Answer {
    let hour = |name: &str| {
        let text = Body::needed(name, "HH:00", call.body.text(name)?)?;
        let minute = of_clock(text).filter(|minute| text.len() == 5 && minute % 60 == 0 && *minute < 1_440);
        minute.ok_or_else(|| VendorError::invalid(name, "a full hour of UTC, 22:00 for example"))
    };
    let (from, to) = (hour("start_time")?, hour("end_time")?);
    let hours = (to + 1_440 - from) % 1_440 / 60;
    if !(1..=4).contains(&hours) {
        return Err(VendorError::invalid("end_time", "one to four hours after start_time"));
    }
    let window =
        Window::daily(from, to, Tz::UTC).map_err(|_| VendorError::invalid("end_time", "after start_time"))?;
    // Each member's, since the one that is the primary when it opens counts.
    for member in found(call, instance).await?.members() {
        windows::set(&call.state.commands.db, &call.caller, Some(member), Some(window)).await?;
    }
    ok(json!({}))
}

/// `GET …/instances/{id}/db-auto-upgrade`.
pub async fn policy(call: &Call, instance: &str) -> Answer {
    let it = named(call, instance).await?;
    allow(&call.caller, Rule::InstanceRead)?;
    let seen = policies::see(&call.state.commands.db, &call.caller, it.id).await?;
    ok(json!({"switch_option": seen.policy == Policy::Window}))
}

/// `PUT …/instances/{id}/db-auto-upgrade`.
pub async fn set_policy(call: &Call, instance: &str) -> Answer {
    let on = Body::needed("switch_option", "true or false", call.body.flag("switch_option")?)?;
    let it = named(call, instance).await?;
    let policy = if on { Policy::Window } else { Policy::Off };
    policies::set(&call.state.commands.db, &call.caller, it.id, policy).await?;
    ok(json!({"resp": "successful"}))
}

/// `PUT …/instances/{id}/failover`: has the members of a group change roles. It never loses a write, so `force` changes
/// nothing.
pub async fn failover(call: &Call, instance: &str) -> Answer {
    call.body.flag("force")?;
    let named = found(call, instance).await?;
    allow(&call.caller, Rule::InstanceUpdate)?;
    let group = match named {
        Named::Instance(it) => {
            let text = format!("A {} instance has no standby to switch to.", kind(&it));
            return Err(VendorError::unsupported(text));
        }
        Named::Group(group) => group,
    };
    let (before, task) = call.state.commands.fail_group_over(&call.caller, group.id).await?;
    let node = before.standby().map(names::node).unwrap_or_default();
    // Of all answers of the vendor's only this one has names in this form.
    ok(json!({"instanceId": instance, "nodeId": node, "workflowId": task.to_string()}))
}
