//! Upgrades of the same instance over versions between: each hop with a one-way point of its own, in one task.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::cli::demo::ledger::Ledger;
use coffer::cli::demo::writers::Writers;
use coffer::domain::task::{Phase, Step, TaskKind};
use coffer::domain::upgrade::Strategy;
use serde_json::{Value, json};

use crate::cells::until_it_runs_again;
use crate::harness::house::House;
use crate::harness::roles::{Role, Roles};
use crate::harness::tenant::{SimulatedWriter, kill_generation};
use crate::harness::{delete, healthy, store, wait_for};
use crate::stuck::admin;
use crate::upgrade::{assert_written, ended, simulated};

/// Makes the simulated matrix a line, each of its rows open to the strategies: whatever else is there is closed.
pub async fn line(roles: &Roles, line: &[(&str, &str, &[Strategy])]) {
    let db = roles.db().await;
    db.execute("update upgrade_paths set enabled = false", &[]).await.unwrap();
    for (from, to, strategies) in line {
        let ways: Vec<&str> = strategies.iter().map(|strategy| strategy.as_str()).collect();
        let sql = "insert into upgrade_paths (id, from_version_id, to_version_id, ways, enabled, note) \
                   select gen_random_uuid(), a.id, b.id, $3, true, 'a test' \
                   from datastore_versions a join datastores d on d.id = a.datastore_id and d.name = 'mariadb' \
                   join datastore_versions b on b.datastore_id = d.id \
                   where a.name = $1 and b.name = $2 on conflict (from_version_id, to_version_id) \
                   do update set ways = excluded.ways, enabled = true";
        assert_eq!(db.execute(sql, &[from, to, &ways]).await.unwrap(), 1);
    }
}

async fn ask(api: &Client, id: &str, version: &str) -> String {
    let body = json!({"upgrade": {"datastore_version": version}});
    let (status, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    answer["upgrade"]["id"].as_str().unwrap().to_owned()
}

async fn target(api: &Client, id: &str, version: &str) -> Value {
    let (_, seen) = api.read(&format!("/instances/{id}/upgrade-targets")).await.unwrap();
    let targets = seen["upgrade_targets"].as_array().unwrap().clone();
    targets.into_iter().find(|target| target["datastore_version"] == version).unwrap()
}

/// The version of the one server that is kept.
async fn kept(db: &tokio_postgres::Client, id: &str) -> String {
    let sql = "select v.name from generations g join datastore_versions v on v.id = g.version_id \
               where g.role = 'retired' and g.instance_id = $1";
    let id: uuid::Uuid = id.parse().unwrap();
    db.query_one(sql, &[&id]).await.unwrap().get(0)
}

/// Lets what is kept go.
async fn forget_kept(db: &tokio_postgres::Client) {
    db.execute("update generations set keep_until = now() where role = 'retired'", &[]).await.unwrap();
    wait_for("the kept one goes", Duration::from_secs(30), async || {
        (store::count(db, "generations where role = 'retired'").await == 0).then_some(())
    })
    .await;
}

/// One server serves and takes writes; nothing of the task is left but what is kept.
async fn assert_one_serves(db: &tokio_postgres::Client) {
    for none in ["holds", "relays", "generations where role = 'candidate'", "task_instances where live"] {
        assert_eq!(store::count(db, none).await, 0, "left over: {none}");
    }
    let writable = "generations where not read_only and wanted = 'running'";
    assert_eq!(store::count(db, writable).await, 1, "one server takes writes");
    wait_for("one server takes writes", Duration::from_secs(60), async || {
        let writable = "simulated_servers where state = 'running' and not read_only";
        let takes = store::count(db, writable).await;
        assert!(takes <= 1, "{takes} servers take writes");
        (takes == 1).then_some(())
    })
    .await;
    assert_eq!(store::count(db, "tasks where secrets is not null").await, 0);
}

const IN_PLACE: &[Strategy] = &[Strategy::InPlace];
const TWIN: &[Strategy] = &[Strategy::Twin];
const BOTH: &[Strategy] = &[Strategy::Twin, Strategy::InPlace];
const TWO: [(&str, &str, &[Strategy]); 2] = [("10.1", "10.4", TWIN), ("10.4", "10.4enc", IN_PLACE)];

/// Two hops and three, foretold, walked with a tenant who writes, and reported; what served first is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_beyond_every_row_is_reached_over_versions_between() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    let three: [(&str, &str, &[Strategy]); 3] =
        [("10.1", "10.1enc", IN_PLACE), ("10.1enc", "10.4", BOTH), ("10.4", "10.4enc", IN_PLACE)];
    for (rows, stops, strategies) in [
        (&TWO[..], &["10.4", "10.4enc"][..], &["twin", "in_place"][..]),
        (&three[..], &["10.1enc", "10.4", "10.4enc"][..], &["in_place", "twin", "in_place"][..]),
    ] {
        line(&roles, rows).await;
        let id = simulated(&api).await;
        let seen = target(&api, &id, "10.4enc").await;
        let foretold: Vec<_> = seen["hops"].as_array().unwrap().iter().collect();
        let told = |key: &str| foretold.iter().map(|hop| hop[key].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((told("datastore_version"), told("strategy")), (stops.to_vec(), strategies.to_vec()));
        let sum = |key: &str| foretold.iter().map(|hop| hop[key].as_f64().unwrap()).sum::<f64>();
        for key in ["expected_gap", "expected_duration"] {
            assert!((seen[key].as_f64().unwrap() - sum(key)).abs() < 0.05, "{key}: {seen}");
        }
        let one = target(&api, &id, stops[0]).await;
        assert_eq!(one["hops"].as_array().unwrap().len(), 1);
        let none = target(&api, &id, "10").await;
        assert_eq!((&none["hops"], &none["strategies"]), (&json!([]), &json!([])));
        assert!(none["reason"].as_str().unwrap().contains("No enabled path"), "{none}");

        // Trove's routes go over one row.
        let body = json!({"instance": {"datastore_version": "10.4enc"}});
        assert!(api.patch(&format!("/instances/{id}"), &body).await.is_err());
        assert_eq!(store::count(&db, "tasks where state in ('scheduled', 'running')").await, 0);
        let dry = json!({"upgrade": {"datastore_version": "10.4enc", "dry_run": true}});
        let (status, dry) = api.post(&format!("/instances/{id}/upgrades"), &dry).await.unwrap();
        assert_eq!((status, &dry["upgrade"]["possible"]), (200, &json!(true)), "{dry}");
        assert_eq!(dry["upgrade"]["hops"].as_array().unwrap().len(), stops.len(), "{dry}");

        let writer = SimulatedWriter::at_address(roles.url(), &id);
        let task = ask(&api, &id, "10.4enc").await;
        let mut percent = 0;
        let mut versions = Vec::new();
        let over = wait_for("it ends", Duration::from_secs(120), async || {
            let task = api.task(&task).await.ok()?;
            let now = task["percent"].as_i64().unwrap();
            assert!(now >= percent, "{percent} {task}");
            percent = now;
            let seen = api.show(&id).await.ok()?;
            let version = seen["datastore"]["version"].as_str()?.to_owned();
            if versions.last() != Some(&version) {
                versions.push(version);
            }
            let state = task["state"].as_str()?;
            (state != "running" && state != "scheduled").then_some(task)
        })
        .await;
        assert_eq!((&over["state"], &over["percent"]), (&json!("succeeded"), &json!(100)), "{over}");
        let walked: Vec<_> = ["10.1"].iter().chain(stops).map(|&stop| stop.to_owned()).collect();
        assert_eq!(versions, walked, "each version between was truly served");
        let hops = over["report"]["hops"].as_array().unwrap();
        let of = |key: &str| hops.iter().map(|hop| hop[key].clone()).collect::<Vec<_>>();
        let titles: Vec<_> = stops.iter().map(|stop| json!(format!("mariadb {stop}"))).collect();
        assert_eq!(of("to"), titles);
        assert_eq!(of("strategy"), strategies.iter().map(|&it| json!(it)).collect::<Vec<_>>());
        let gaps = of("gap_ms").iter().map(|gap| gap.as_i64().unwrap()).sum::<i64>();
        assert_eq!(over["report"]["gap_ms"], gaps, "the gap is that of all hops");
        let upgrade = ended(&api, &id, Duration::from_secs(10)).await;
        assert_eq!(
            (&upgrade["from"], &upgrade["to"], &upgrade["hops"]),
            (&json!("mariadb 10.1"), &json!("mariadb 10.4enc"), &json!(titles))
        );
        healthy(&api, &id).await;
        assert_written(&roles, &id, &writer.stop().await).await;
        assert_one_serves(&db).await;
        assert_eq!(kept(&db, &id).await, "10.1", "what served first is kept");
        forget_kept(&db).await;
        delete(&api, &[&id]).await;
        assert_eq!(store::count(&db, "simulated_servers").await, 0);
    }
}

/// Each step of a second hop before its one-way point, made to fail: the version between serves, everything is there,
/// and the rest of the way can be asked for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_hop_that_fails_leads_back_to_the_version_between() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    let border = "upgrade_in_place.finish.retire.before";
    let in_place = TaskKind::UpgradeInPlace.steps(Phase::Forward);
    // What a twin does otherwise.
    let mut twin = TaskKind::UpgradeTwin.steps(Phase::Forward);
    twin.retain(|step| !in_place.contains(step));
    let mut all = TaskKind::UpgradeAuto.steps(Phase::Forward);
    all.extend(in_place);
    for (second, steps) in [(TWIN, twin), (IN_PLACE, all)] {
        line(&roles, &[("10.1", "10.4", IN_PLACE), ("10.4", "10.4enc", second)]).await;
        for step in steps {
            let id = simulated(&api).await;
            let writer = SimulatedWriter::at_address(roles.url(), &id);
            roles.arm(border);
            let task = ask(&api, &id, "10.4enc").await;
            roles.reached(border).await;
            let simulation = format!("/mgmt/instances/{id}/simulation");
            let body = json!({"steps": {step.as_str(): {"fault": "fail"}}});
            assert_eq!(admin.put(&simulation, &body).await.unwrap().0 / 100, 2);
            roles.disarm(border);
            let upgrade = ended(&api, &id, Duration::from_secs(60)).await;
            assert_eq!(upgrade["state"], "rolled_back", "{step:?}: {upgrade}");
            assert_eq!(
                (&upgrade["from"], &upgrade["to"]),
                (&json!("mariadb 10.1"), &json!("mariadb 10.4enc"))
            );
            healthy(&api, &id).await;
            let seen = api.show(&id).await.unwrap();
            assert_eq!((&seen["status"], &seen["datastore"]["version"]), (&json!("ACTIVE"), &json!("10.4")));
            for told in [&seen["fault"]["message"], &upgrade["reason"]] {
                let told = told.as_str().unwrap();
                assert!(told.contains("stopped at mariadb 10.4,"), "{step:?}: {told}");
                assert!(told.contains(&format!("The step {} failed", step.as_str())), "{step:?}: {told}");
            }
            let task = api.task(&task).await.unwrap();
            assert_eq!(task["report"]["hops"][0]["to"], "mariadb 10.4", "{task}");
            assert_one_serves(&db).await;
            assert_eq!(kept(&db, &id).await, "10.1");
            let before = writer.acknowledged.lock().unwrap().len();
            wait_for("the tenant writes on", Duration::from_secs(10), async || {
                (writer.acknowledged.lock().unwrap().len() > before).then_some(())
            })
            .await;
            assert_eq!(admin.put(&simulation, &json!({"steps": {}})).await.unwrap().0 / 100, 2);
            if step == Step::Cutover {
                forget_kept(&db).await;
                ask(&api, &id, "10.4enc").await;
                let upgrade = ended(&api, &id, Duration::from_secs(60)).await;
                assert_eq!(upgrade["state"], "succeeded", "{upgrade}");
                healthy(&api, &id).await;
                assert_eq!(kept(&db, &id).await, "10.4");
            }
            assert_written(&roles, &id, &writer.stop().await).await;
            delete(&api, &[&id]).await;
        }
    }
}

/// A double fault of a second hop: since the instance keeps the server of the first one, it cannot be ended as it stands,
/// which would keep another. The operator is told so, nothing changes by it, and once that is mended it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_a_second_hop_that_is_stuck() {
    let roles = Roles::start("simulated").await;
    let (api, manager) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    line(&roles, &[("10.1", "10.4", IN_PLACE), ("10.4", "10.4enc", IN_PLACE)]).await;
    let border = "upgrade_in_place.finish.retire.before";
    for (faults, serving, version, end) in [
        (&["transform", "reinstate"][..], "old", "10.4", "rolled_back"),
        (&["switch", "drop_server"], "old", "10.4", "rolled_back"),
        (&["admit"], "new", "10.4enc", "succeeded"),
        (&["retire"], "new", "10.4enc", "succeeded"),
    ] {
        let id = simulated(&api).await;
        let writer = SimulatedWriter::at_address(roles.url(), &id);
        roles.arm(border);
        let task = ask(&api, &id, "10.4enc").await;
        roles.reached(border).await;
        let steps: serde_json::Map<_, _> =
            faults.iter().map(|step| ((*step).to_owned(), json!({"fault": "fail"}))).collect();
        let simulation = format!("/mgmt/instances/{id}/simulation");
        assert_eq!(manager.put(&simulation, &json!({"steps": steps})).await.unwrap().0 / 100, 2);
        roles.disarm(border);
        let upgrade = ended(&api, &id, Duration::from_secs(60)).await;
        assert_eq!(upgrade["state"], "needs_operator", "{faults:?}: {upgrade}");
        let (done, told) = admin(&roles, &["resolve", &task, "--serving", serving]);
        assert!(!done && told.contains("one more cannot be kept"), "{faults:?}: {told}");
        assert_eq!(api.task(&task).await.unwrap()["state"], "needs_operator", "a refusal changes nothing");
        assert_eq!(manager.put(&simulation, &json!({"steps": {}})).await.unwrap().0 / 100, 2);
        let (done, told) = admin(&roles, &["retry", &task]);
        assert!(done, "{faults:?}: {told}");
        wait_for("the upgrade goes on to its end", Duration::from_secs(60), async || {
            (api.task(&task).await.ok()?["state"] == end).then_some(())
        })
        .await;
        healthy(&api, &id).await;
        assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], version, "{faults:?}");
        for left in ["holds", "task_instances where live", "generations where role = 'candidate'"] {
            assert_eq!(store::count(&db, left).await, 0, "{faults:?}: {left}");
        }
        let retired = store::count(&db, "generations where role = 'retired'").await;
        assert!(retired <= 1, "{faults:?}: an instance keeps one at most, and not {retired}");
        let before = writer.acknowledged.lock().unwrap().len();
        wait_for("the tenant writes on", Duration::from_secs(30), async || {
            (writer.acknowledged.lock().unwrap().len() > before + 5).then_some(())
        })
        .await;
        assert_written(&roles, &id, &writer.stop().await).await;
        assert_one_serves(&db).await;
        delete(&api, &[&id]).await;
    }
}

/// A customer ends it in the second hop: the version between serves, and that is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_cancelled_in_the_second_hop() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    line(&roles, &TWO).await;
    let id = simulated(&api).await;
    let simulation = format!("/mgmt/instances/{id}/simulation");
    // Only the second hop, in place, has it.
    let body = json!({"steps": {"transform": {"fault": "hang"}}});
    assert_eq!(admin.put(&simulation, &body).await.unwrap().0 / 100, 2);
    let task = ask(&api, &id, "10.4enc").await;
    wait_for("it hangs", Duration::from_secs(60), async || {
        (api.task(&task).await.ok()?["step"] == "transform").then_some(())
    })
    .await;
    assert_eq!(api.post(&format!("/tasks/{task}/cancel"), &json!({})).await.unwrap().0, 202);
    let upgrade = ended(&api, &id, Duration::from_secs(60)).await;
    assert_eq!(upgrade["state"], "cancelled", "{upgrade}");
    assert!(upgrade["reason"].as_str().unwrap().contains("stopped at mariadb 10.4,"), "{upgrade}");
    healthy(&api, &id).await;
    let seen = api.show(&id).await.unwrap();
    assert_eq!((&seen["datastore"]["version"], seen.get("fault")), (&json!("10.4"), None));
    assert_one_serves(&db).await;
    delete(&api, &[&id]).await;
}

/// Who is killed at the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Worker,
    Api,
    Endpoint,
    Postgres,
    /// Every server of the instance that runs.
    Servers,
}

/// kill -9 of everybody before and after each record from the cut-over of the first hop to the first step of the second,
/// and from the cut-over of the second to the end: the target is reached, nothing is lost, what served first is kept.
async fn killed_at_the_border(victim: Victim) {
    let mut roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    line(&roles, &[("10.1", "10.4", IN_PLACE), ("10.4", "10.4enc", TWIN)]).await;
    let mut cells = Vec::new();
    for (kind, next) in [(TaskKind::UpgradeInPlace, true), (TaskKind::UpgradeTwin, false)] {
        let mut steps = vec![(kind, Phase::Forward, Step::Cutover)];
        steps.extend(kind.steps(Phase::Finish).iter().map(|step| (kind, Phase::Finish, *step)));
        if next {
            steps.push((TaskKind::UpgradeAuto, Phase::Forward, Step::Examine));
            steps.push((TaskKind::UpgradeTwin, Phase::Forward, Step::Place));
        }
        for (kind, phase, step) in steps {
            for when in ["before", "after"] {
                cells.push(format!("{}.{}.{}.{when}", kind.as_str(), phase.as_str(), step.as_str()));
            }
        }
    }
    let id = simulated(&api).await;
    let writer = SimulatedWriter::at_address(roles.url(), &id);
    roles.arm(&cells[0]);
    ask(&api, &id, "10.4enc").await;
    let mut killed = 0;
    for (at, cell) in cells.iter().enumerate() {
        roles.reached(cell).await;
        let role = match victim {
            Victim::Worker => Some(Role::Worker(0)),
            Victim::Api => Some(Role::Api),
            Victim::Endpoint => Some(Role::Endpoint),
            Victim::Postgres => {
                roles.kill_store().await;
                killed += 1;
                None
            }
            Victim::Servers => {
                let db = roles.db().await;
                until_it_runs_again(&roles, &db, &id, false).await;
                let sql = "select generation_id from simulated_servers where state = 'running'";
                for row in db.query(sql, &[]).await.unwrap() {
                    let generation = coffer::domain::ids::GenerationId(row.get(0));
                    killed += usize::from(kill_generation(&roles, &db, generation, false).await);
                }
                None
            }
        };
        if let Some(role) = role {
            roles.kill(role);
            killed += 1;
        }
        if let Some(next) = cells.get(at + 1) {
            roles.arm(next);
        }
        roles.disarm(cell);
        if let Some(role) = role {
            roles.begin(role).await;
        }
    }
    let upgrade = ended(&api, &id, Duration::from_secs(240)).await;
    assert_eq!(upgrade["state"], "succeeded", "{upgrade}");
    healthy(&api, &id).await;
    assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], "10.4enc");
    assert_written(&roles, &id, &writer.stop().await).await;
    let db = roles.db().await;
    assert_one_serves(&db).await;
    assert_eq!(kept(&db, &id).await, "10.1");
    let open = "task_steps where outcome is null";
    assert_eq!(store::count(&db, open).await, 0);
    delete(&api, &[&id]).await;
    assert_eq!(store::count(&db, "generations where role <> 'dropped'").await, 0);
    assert_eq!(store::count(&db, "simulated_servers").await, 0);
    assert!(killed >= cells.len() * 3 / 4, "{victim:?}: {killed} killed at {} cells", cells.len());
    eprintln!("{victim:?}: {} cells at the border, killed {killed} times", cells.len());
}

macro_rules! border {
    ($($name:ident: $victim:ident),* $(,)?) => {
        mod border {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                killed_at_the_border(Victim::$victim).await;
            })*
        }
    };
}
border! {
    of_the_worker: Worker,
    of_the_api: Api,
    of_the_endpoint: Endpoint,
    of_the_servers: Servers,
    of_postgres: Postgres,
}

/// Real PostgreSQL, 15 to 18 by way of 17 since the direct row is closed, with 16 writers: nothing that was acknowledged
/// is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_lose_nothing_over_two_hops() {
    let house = House::start().await;
    let (api, admin) = (house.login("coffer").await, house.login("coffer-admin").await);
    let (_, paths) = admin.read("/mgmt/upgrade-paths").await.unwrap();
    let is_direct = |path: &&Value| {
        let end =
            |side: &str| (path[side]["datastore_type"].clone(), path[side]["datastore_version"].clone());
        end("from") == (json!("postgresql"), json!("15")) && end("to") == (json!("postgresql"), json!("18"))
    };
    let direct = paths["upgrade_paths"].as_array().unwrap().iter().find(is_direct).unwrap();
    let route = format!("/mgmt/upgrade-paths/{}", direct["id"].as_str().unwrap());
    let (status, answer) = admin.put(&route, &json!({"upgrade_path": {"enabled": false}})).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let password = crate::harness::password();
    let id = api.create_of("postgresql", "elephant", "15", "shop", "app", &password).await.unwrap();
    let address = healthy(&api, &id).await;
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    ledger.load(20_000).await.unwrap();
    let sums = ledger.sums().await.unwrap();
    let writers = Writers::start_at(&ledger.door(), 16);
    writers.until(|tally| tally.acknowledged > 200, Duration::from_secs(30)).await.unwrap();
    let task = ask(&api, &id, "18").await;
    let upgrade = ended(&api, &id, Duration::from_secs(300)).await;
    let task = api.task(&task).await.unwrap();
    assert_eq!(upgrade["state"], "succeeded", "{task}");
    assert_eq!(upgrade["hops"], json!(["postgresql 17", "postgresql 18"]));
    assert_eq!(healthy(&api, &id).await, address, "the address stays");
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged > before + 200, Duration::from_secs(30)).await.unwrap();
    let tally = writers.stop().await.unwrap();
    let report = &task["report"];
    eprintln!(
        "15 to 17 to 18: {} acknowledged, {} errors, longest gap {:?}; gaps {} and {}, {} in all",
        tally.acknowledged,
        tally.errors,
        tally.longest_gap,
        report["hops"][0]["gap_ms"],
        report["hops"][1]["gap_ms"],
        report["gap_ms"]
    );
    for (hop, from, to) in [(0, "15.", "17."), (1, "17.", "18.")] {
        let answered = |key: &str| report["hops"][hop][key].as_str().unwrap().to_owned();
        assert!(answered("from_answered").starts_with(from) && answered("to_answered").starts_with(to));
    }
    let now = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    assert!(now.version().await.unwrap().starts_with("18"));
    assert_eq!(now.sums().await.unwrap(), sums, "the tenant's rows, view and function");
    let found = now.find(&tally).await.unwrap();
    assert!(found.found >= tally.acknowledged, "{found:?}");
    assert_eq!(found.missing, 0, "{found:?}");
    assert!(found.ledger_fits, "the ledger adds up");
    let db = house.store().await;
    assert_eq!(kept(&db, &id).await, "15", "what served first is kept");
    house.leave_nothing(&api, &[&id]).await;
}
