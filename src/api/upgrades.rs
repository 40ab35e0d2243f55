//! Our own routes: the upgrades of an instance (api-ref: `upgrades.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::{Field, closed};
use crate::api::links::zoneless;
use crate::api::request::{Call, Keyed, Route, json as answer};
use crate::api::shapes;
use crate::api::trove::instances::load;
use crate::api::windows::{utc, when};
use crate::commands::upgrades::{DryRun, UpgradeRequest};
use crate::db::catalogue_cache::Catalogue;
use crate::db::upgrades::{REPLACES, UpgradeFacts, replaces};
use crate::db::{self, instances, tasks};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::estimate::{self, Load};
use crate::domain::hops::{Hop, Reach};
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::TaskId;
use crate::domain::instance::Instance;
use crate::domain::matrix::Way;
use crate::domain::policy::{Rule, allow};
use crate::domain::question::Finding;
use crate::domain::refusal::Refusal;
use crate::domain::task::Task;
use crate::domain::timing::Timing;
use crate::domain::upgrade::{self, KEEP_HOURS, Known, MOST_KEEP_HOURS, Strategy, Wishes, choose};

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/upgrades",
        Rule::TaskRead,
        Doc::new("listUpgrades", "The upgrades of an instance, newest first", "upgrades.md")
            .gives(200, Gives::Many("upgrades", shape::<UpgradeView>)),
        |call, caller| Box::pin(upgrades(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/instances/{id}/upgrades",
        Rule::InstanceUpdate,
        Doc::new("upgradeInstance", "Upgrade the same instance, or look what that would meet", "upgrades.md")
            .takes::<shapes::UpgradeRequest>(sample!("upgrade-request"))
            .gives(202, Gives::One("upgrade", shape::<UpgradeView>))
            .or(200, Gives::One("upgrade", shape::<DryRunView>))
            .refuses(&[422, 501]),
        |call, caller| Box::pin(ask_for_upgrade(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/instances/{id}/upgrade-targets",
        Rule::InstanceRead,
        Doc::new("listUpgradeTargets", "What the same instance can be upgraded to, and how", "upgrades.md")
            .gives(200, Gives::Many("upgrade_targets", shape::<TargetView>)),
        |call, caller| Box::pin(targets(call, caller)),
    ),
];

/// An upgrade of an instance.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpgradeView {
    id: String,
    state: &'static str,
    strategy: &'static str,
    /// `mariadb 10.6` for example.
    from: String,
    to: String,
    /// The version at which each hop ends, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hops: Vec<String>,
    instance_id: String,
    /// The new side of an upgrade by way of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_instance_id: Option<String>,
    created: String,
    updated: String,
    /// When it was asked to begin, where not at once: `window` or `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'static str>,
    /// When it begins then, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts: Option<String>,
    /// When it is too late to begin, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// What an earlier upgrade keeps, and that it goes after the cut-over, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What an upgrade would meet.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRunView {
    dry_run: bool,
    /// Whether it would be begun.
    possible: bool,
    /// Which strategy would be taken, where one could be.
    strategy: Option<&'static str>,
    /// Why that one, or what stands in the way.
    why: String,
    from: String,
    to: String,
    /// The version at which each hop ends, where there are several; what is told is of the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hops: Vec<String>,
    /// When it would begin, in UTC, where it is not to begin at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts: Option<String>,
    /// What an earlier upgrade keeps, and that it would go after the cut-over, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Value>,
    findings: Vec<FindingView>,
}

/// Something that an upgrade meets.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingView {
    /// Of which strategy.
    strategy: &'static str,
    /// `blocker` or `warning`.
    severity: &'static str,
    object: String,
    why: String,
    remedy: String,
}

/// A version to which the same instance can, or cannot, be upgraded now.
#[derive(Debug, Serialize, ToSchema)]
pub struct TargetView {
    datastore_type: String,
    datastore_version: String,
    version_number: String,
    /// The strategies that could be taken, the one that is tried first in front; by which the whole way could go,
    /// where it has several hops.
    strategies: Vec<StrategyView>,
    /// The hops that would be taken, in order; none where there is no way now.
    hops: Vec<HopView>,
    /// How long clients wait, in seconds, all hops together.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_gap: Option<f64>,
    /// From the beginning to the end, in seconds, all hops together.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_duration: Option<f64>,
    /// Why there is none now.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A hop that would be taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct HopView {
    /// The version at which it ends.
    datastore_version: String,
    /// The strategy that is tried first, with what it is expected to take.
    #[serde(flatten)]
    strategy: StrategyView,
}

/// A strategy, with what it is expected to take: estimates by the size of the data, as was seen last.
#[derive(Debug, Serialize, ToSchema)]
pub struct StrategyView {
    strategy: &'static str,
    /// How long clients wait, in seconds.
    expected_gap: f64,
    /// From the beginning to the end, in seconds.
    expected_duration: f64,
}

impl UpgradeView {
    /// The view of an upgrade; `None` for a task of another kind.
    fn of(task: &Task) -> Option<Self> {
        let led = task.plan.upgraded()?;
        Some(Self {
            id: task.id.to_string(),
            state: task.progress.state().as_str(),
            strategy: task.plan.strategy()?,
            from: led.from_title.to_owned(),
            to: led.to_title.to_owned(),
            hops: match task.plan.same_instance().filter(|plan| plan.has_hops()) {
                Some(plan) => plan.stops().into_iter().map(str::to_owned).collect(),
                None => Vec::new(),
            },
            instance_id: task.plan.subject().to_string(),
            new_instance_id: task.plan.new_instance().map(|id| id.to_string()),
            created: zoneless(task.created_at),
            updated: zoneless(task.updated_at),
            when: later(task),
            starts: task.starts.map(utc),
            not_after: not_after(task),
            replaces: task.report.get(REPLACES).cloned(),
            reason: task.reason.clone(),
        })
    }
}

/// The word of when a task was asked to begin; none for one that was to begin at once.
pub fn later(task: &Task) -> Option<&'static str> {
    (task.timing != Timing::Now).then(|| task.timing.as_str())
}

/// When it is too late for a task to begin, where that was set.
pub fn not_after(task: &Task) -> Option<String> {
    match task.timing {
        Timing::At { not_after, .. } => Some(utc(not_after)),
        Timing::Now | Timing::Window => None,
    }
}

impl From<&DryRun> for DryRunView {
    fn from(seen: &DryRun) -> Self {
        let decided = choose(&seen.looked);
        let view = |strategy: Strategy, finding: &Finding| FindingView {
            strategy: strategy.as_str(),
            severity: if finding.blocks { "blocker" } else { "warning" },
            object: finding.object.clone(),
            why: finding.why.clone(),
            remedy: finding.remedy.clone(),
        };
        Self {
            dry_run: true,
            possible: decided.is_ok(),
            strategy: decided.as_ref().ok().map(|(strategy, _)| strategy.as_str()),
            why: match decided {
                Ok((_, why)) => why,
                Err(refusal) => refusal.to_string(),
            },
            from: seen.from.title(),
            to: seen.to.title(),
            hops: match &seen.stops[..] {
                [] | [_] => Vec::new(),
                several => several.iter().map(DatastoreVersion::title).collect(),
            },
            starts: seen.starts.map(utc),
            replaces: seen.replaces.as_ref().map(replaces),
            findings: seen
                .looked
                .iter()
                .flat_map(|(strategy, found)| found.iter().map(|finding| view(*strategy, finding)))
                .collect(),
        }
    }
}

impl HopView {
    fn new(hop: &Hop, load: Load) -> Option<Self> {
        let strategy = StrategyView::new(*hop.allowed.first()?, load);
        Some(Self { datastore_version: hop.to.name.clone(), strategy })
    }
}

impl StrategyView {
    /// The strategy on a way of so many hops.
    fn on(hops: &[Hop], strategy: Strategy, load: Load) -> Self {
        let one = Self::new(strategy, load);
        let times = f64::from(u8::try_from(hops.len()).unwrap_or(u8::MAX));
        Self {
            expected_gap: tenths(one.expected_gap * times),
            expected_duration: tenths(one.expected_duration * times),
            ..one
        }
    }

    fn new(strategy: Strategy, load: Load) -> Self {
        Self {
            strategy: strategy.as_str(),
            expected_gap: estimate::gap(strategy, load),
            expected_duration: estimate::duration(strategy, load),
        }
    }
}

/// In tenths of a second, which are as exact as this is.
fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// A parsed request.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    datastore_type: Option<String>,
    version: String,
    wishes: Wishes,
    dry_run: bool,
    timing: Timing,
}

/// Parses the body of `POST /instances/{id}/upgrades`, seen from `now`.
fn parse(body: &Map<String, Value>, now: DateTime<Utc>) -> Result<Asked, Fault> {
    closed(body, &["upgrade"])?;
    let upgrade = Field::root(body, "upgrade")?;
    upgrade.closed(&[
        "datastore_version",
        "datastore_type",
        "strategy",
        "dry_run",
        "not_before",
        "not_after",
        "window",
        "idempotency_key",
        "keep_hours",
        "keep_retired",
        "drop_retired",
    ])?;
    let strategy = match upgrade.optional("strategy")? {
        None => None,
        Some(field) => {
            match field.text()? {
                "auto" => None,
                "replica" => {
                    return Err(field
                    .refuse("is made by the action {\"upgrade\": {\"datastore_type\", \"datastore_version\"}}")
                    .into());
                }
                word => Some(word.parse().map_err(|_| field.refuse("must be auto, twin or in_place"))?),
            }
        }
    };
    let flag = |name: &str| match upgrade.optional(name)? {
        Some(field) => field.boolean(),
        None => Ok(false),
    };
    // It was asked for before, and is what is done now.
    flag("drop_retired")?;
    Ok(Asked {
        datastore_type: match upgrade.optional("datastore_type")? {
            Some(field) => Some(field.words(255)?.to_owned()),
            None => None,
        },
        version: upgrade.required("datastore_version")?.words(255)?.to_owned(),
        wishes: Wishes {
            strategy,
            keep_hours: match upgrade.optional("keep_hours")? {
                Some(field) => u32::try_from(field.integer(0, MOST_KEEP_HOURS.into())?).unwrap_or(KEEP_HOURS),
                None => KEEP_HOURS,
            },
            keep_retired: flag("keep_retired")?,
        },
        dry_run: flag("dry_run")?,
        timing: when(&upgrade, now)?,
    })
}

/// `POST /instances/{id}/upgrades`: 202 with the upgrade, or for a dry run 200 with what it would meet.
async fn ask_for_upgrade(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    let idempotency_key = key(&call, &body)?;
    if idempotency_key.is_some()
        && let Some(task) =
            call.state.commands.earlier_task(&caller, Rule::InstanceUpdate, idempotency_key.as_ref()).await?
    {
        return told(&call, task).await;
    }
    let asked = parse(&body, Utc::now())?;
    allow(&caller, Rule::InstanceUpdate)?;
    let id = call.instance_id()?;
    let instance = load(&call, &caller, id).await?;
    let own = &instance.shown_version().datastore;
    let own_id = instance.shown_version().datastore_id.to_string();
    if let Some(datastore) = &asked.datastore_type
        && !datastore.eq_ignore_ascii_case(own)
        && !datastore.eq_ignore_ascii_case(&own_id)
    {
        return Err(Refusal::invalid(
            "upgrade['datastore_type']",
            format!("must be the instance's own datastore, {own}"),
        )
        .into());
    }
    let request = UpgradeRequest {
        version: asked.version,
        wishes: asked.wishes,
        far: true,
        rename: None,
        timing: asked.timing,
        idempotency_key,
    };
    if asked.dry_run {
        let seen = call.state.commands.look_at_upgrade(&caller, id, request).await?;
        return answer(StatusCode::OK, &Keyed("upgrade", &DryRunView::from(&seen)));
    }
    let Some(task) = call.state.commands.upgrade_instance(&caller, id, request).await? else {
        return Err(
            Refusal::invalid("upgrade['datastore_version']", "is the version that the instance has").into()
        );
    };
    told(&call, task).await
}

/// The request under its key, where it came with one and shall do something. What is asked for is all but the key.
fn key(call: &Call, body: &Map<String, Value>) -> Result<Option<IdempotencyKey>, Fault> {
    let upgrade = Field::root(body, "upgrade")?;
    let field = upgrade.optional("idempotency_key")?;
    let mut request = upgrade.object()?.clone();
    request.remove("idempotency_key");
    let idempotency_key = call.idempotency_key("coffer.upgrade", field.as_ref(), &Value::Object(request))?;
    // A look makes no task.
    Ok(idempotency_key.filter(|_| upgrade.value().get("dry_run") != Some(&Value::Bool(true))))
}

/// 202 with the upgrade.
async fn told(call: &Call, task: TaskId) -> Result<HttpResponse, Fault> {
    let found: Result<_, db::Error> = call.state.commands.db.run(move |conn| tasks::find(conn, task)).await;
    let view = found?.as_ref().and_then(UpgradeView::of).ok_or_else(|| Fault::not_found(task.to_string()))?;
    answer(StatusCode::ACCEPTED, &Keyed("upgrade", &view))
}

/// `GET /instances/{id}/upgrade-targets`: every other version of its datastore.
async fn targets(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = call.instance_id()?;
    load(&call, &caller, id).await?;
    let read: Result<_, db::Error> = call
        .state
        .commands
        .db
        .run(move |conn| {
            let facts = UpgradeFacts::read(conn, id)?;
            Ok((instances::find_shown(conn, id)?, facts))
        })
        .await;
    let (found, facts) = read?;
    let (instance, _) = found.ok_or_else(|| Fault::not_found(id.to_string()))?;
    let catalogue = &facts.catalogue;
    let known = facts.known(&instance, None);
    let shown = instance.shown_version();
    let views: Vec<TargetView> = catalogue
        .versions()
        .filter(|version| {
            version.datastore_id == shown.datastore_id && version.id != shown.id && version.active
        })
        .map(|version| target(known, &instance, catalogue, version))
        .collect();
    answer(StatusCode::OK, &json!({"upgrade_targets": views}))
}

fn target(
    known: Known<'_>,
    instance: &Instance,
    catalogue: &Catalogue,
    version: &DatastoreVersion,
) -> TargetView {
    let runs = |version: &DatastoreVersion| catalogue.runs(&instance.host, version);
    let by = |strategy: Option<Strategy>| {
        let wishes = Wishes { strategy, ..Wishes::default() };
        upgrade::path_to(known, version, &wishes, Reach::Several(&runs))
    };
    let way = if runs(version) {
        by(None)
    } else {
        Err(Refusal::Unavailable(format!("The instance's host cannot run {}.", version.title())))
    };
    let load = Load { bytes: instance.seen.used_bytes.unwrap_or_default(), engine: version.engine };
    let by_replica = instance.running.as_ref().is_some_and(|running| {
        known
            .paths
            .iter()
            .any(|path| path.to.id == version.id && path.leads(running.version.id, Way::Replica))
    });
    let (hops, reason) = match way {
        Ok(hops) => (hops, None),
        Err(Refusal::NoUpgrade { .. }) if by_replica => {
            (Vec::new(), Some("Only the action upgrades to it, by way of a new instance.".to_owned()))
        }
        Err(Refusal::NoUpgrade { .. }) => (Vec::new(), Some("No enabled path leads to it.".to_owned())),
        Err(refusal) => (Vec::new(), Some(refusal.to_string())),
    };
    let strategies = match &hops[..] {
        [] => Vec::new(),
        _way => Strategy::ALL
            .into_iter()
            .filter_map(|strategy| Some(StrategyView::on(&by(Some(strategy)).ok()?, strategy, load)))
            .collect(),
    };
    let hops: Vec<HopView> = hops.iter().filter_map(|hop| HopView::new(hop, load)).collect();
    let whole = |part: fn(&StrategyView) -> f64| {
        (!hops.is_empty()).then(|| tenths(hops.iter().map(|hop| part(&hop.strategy)).sum()))
    };
    TargetView {
        datastore_type: version.datastore.clone(),
        datastore_version: version.name.clone(),
        version_number: version.number.clone(),
        strategies,
        expected_gap: whole(|it| it.expected_gap),
        expected_duration: whole(|it| it.expected_duration),
        hops,
        reason,
    }
}

/// `GET /instances/{id}/upgrades`: of which the instance is the old or the new side, newest first.
async fn upgrades(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = call.instance_id()?;
    load(&call, &caller, id).await?;
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| tasks::list(conn, None, Some(id), None)).await;
    let views: Vec<_> = found?.iter().filter_map(UpgradeView::of).collect();
    answer(StatusCode::OK, &json!({"upgrades": views}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::coffer::tests::upgrade;
    use crate::api::trove::views::tests::keys;

    #[test]
    fn an_upgrade_names_both_sides() {
        let view = serde_json::to_value(UpgradeView::of(&upgrade())).unwrap();
        assert_eq!(
            keys(&view),
            ["created", "from", "id", "instance_id", "new_instance_id", "state", "strategy", "to", "updated"]
        );
        assert_eq!((&view["from"], &view["to"]), (&json!("mariadb 10.6"), &json!("mariadb 10.11")));
    }

    #[test]
    fn each_body_has_one_meaning() {
        let parsed = |upgrade: Value| parse(json!({"upgrade": upgrade}).as_object().unwrap(), Utc::now());
        let fault = |upgrade: Value| match parsed(upgrade) {
            Err(fault) => fault.row().0.as_u16(),
            Ok(asked) => panic!("{asked:?}"),
        };
        let plain = parsed(json!({"datastore_version": "11.8"})).unwrap();
        assert_eq!(
            (plain.version.as_str(), &plain.wishes, plain.dry_run),
            ("11.8", &Wishes::default(), false)
        );
        let all =
            parsed(json!({"datastore_version": "17", "datastore_type": "postgresql", "strategy": "in_place",
            "dry_run": true, "keep_hours": 0, "keep_retired": true, "drop_retired": true}))
            .unwrap();
        assert!(all.dry_run);
        assert_eq!(
            all.wishes,
            Wishes { strategy: Some(Strategy::InPlace), keep_hours: 0, keep_retired: true }
        );
        assert_eq!(
            parsed(json!({"datastore_version": "1", "strategy": "auto"})).unwrap().wishes.strategy,
            None
        );
        for (upgrade, code) in [
            (json!({}), 400),
            (json!([]), 400),
            (json!({"datastore_version": 11}), 400),
            (json!({"datastore_version": ""}), 400),
            (json!({"datastore_version": "1", "strategy": "replica"}), 400),
            (json!({"datastore_version": "1", "strategy": "rolling"}), 400),
            (json!({"datastore_version": "1", "dry_run": "yes"}), 400),
            (json!({"datastore_version": "1", "keep_hours": -1}), 400),
            (json!({"datastore_version": "1", "keep_hours": 100_000}), 400),
            (json!({"datastore_version": "1", "other": 1}), 400),
            (json!({"datastore_version": "1", "window": {}}), 400),
            (json!({"datastore_version": "1", "window": true, "not_before": "2100-01-01T00:00:00Z"}), 400),
            (json!({"datastore_version": "1", "not_before": "2000-01-01T00:00:00Z"}), 400),
        ] {
            assert_eq!(fault(upgrade.clone()), code, "{upgrade}");
        }
    }
}
