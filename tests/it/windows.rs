//! Upgrades that begin later: in a window, or at a set time. Time is moved by rows and not by waiting.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use coffer::cli::demo::client::Client;
use coffer::domain::upgrade::Strategy;
use serde_json::{Value, json};

use crate::harness::roles::{Role, Roles};
use crate::harness::{healthy, store, wait_for};
use crate::upgrade::{ended, only, simulated};

/// A window of two hours every day that opens so many minutes from now.
fn opens_in(minutes: i64) -> Value {
    let start = Utc::now() + TimeDelta::minutes(minutes);
    json!({"window": {"start": start.format("%H:%M").to_string(), "minutes": 120}})
}

fn later(more: Value) -> Value {
    let mut upgrade = json!({"datastore_version": "10.4"});
    upgrade.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "upgrade": upgrade })
}

fn in_minutes(minutes: i64) -> String {
    (Utc::now() + TimeDelta::minutes(minutes)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn at(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

async fn ask(api: &Client, id: &str, more: Value) -> (u16, Value) {
    api.post(&format!("/instances/{id}/upgrades"), &later(more)).await.unwrap()
}

async fn accepted(api: &Client, id: &str, more: Value) -> Value {
    let (status, answer) = ask(api, id, more).await;
    assert_eq!(status, 202, "{answer}");
    answer["upgrade"].clone()
}

/// The task once it is in the state.
async fn reaches(api: &Client, task: &Value, state: &str) -> Value {
    let id = task["id"].as_str().unwrap();
    wait_for(&format!("task {id} is {state}"), Duration::from_secs(120), async || {
        let task = api.task(id).await.ok()?;
        (task["state"] == state).then_some(task)
    })
    .await
}

/// The instance serves the old version, nothing of an upgrade is left, and it can be upgraded.
async fn assert_untouched(roles: &Roles, api: &Client, id: &str) {
    healthy(api, id).await;
    let seen = api.show(id).await.unwrap();
    assert_eq!((&seen["datastore"]["version"], seen.get("fault")), (&json!("10.1"), None), "{seen}");
    let db = roles.db().await;
    for none in ["generations where role = 'candidate'", "task_instances where planned or live", "holds"] {
        assert_eq!(store::count(&db, none).await, 0, "left over: {none}");
    }
    assert_eq!(store::count(&db, "tasks where secrets is not null").await, 0);
    let (_, seen) = api.read(&format!("/instances/{id}/upgrade-targets")).await.unwrap();
    let target = seen["upgrade_targets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["datastore_version"] == "10.4")
        .unwrap();
    assert!(!target["strategies"].as_array().unwrap().is_empty(), "{target}");
}

async fn begin() -> (Roles, Client, String) {
    let roles = Roles::start("simulated").await;
    only(&roles, Strategy::InPlace).await;
    let api = roles.login("coffer").await;
    let id = simulated(&api).await;
    (roles, api, id)
}

/// Moves what is planned into the past by so many minutes.
async fn passed(roles: &Roles, minutes: i64) {
    let sql = format!(
        "update tasks set not_before = not_before - interval '{minutes} min', \
         starts_at = starts_at - interval '{minutes} min', \
         asked_not_before = asked_not_before - interval '{minutes} min', \
         asked_not_after = asked_not_after - interval '{minutes} min' where deferred"
    );
    assert_eq!(roles.db().await.execute(&sql, &[]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_the_instances_else_the_projects_else_the_usual_one() {
    let (roles, api, id) = begin().await;
    let own = format!("/instances/{id}/window");
    let of = async |path: &str| api.read(path).await.unwrap().1["window"].clone();
    let usual = of(&own).await;
    assert_eq!(
        (&usual["source"], &usual["start"], &usual["minutes"], &usual["zone"]),
        (&json!("default"), &json!("02:00"), &json!(240), &json!("UTC"))
    );
    assert!(at(&usual["next_start"]) > Utc::now() && at(&usual["next_end"]) > at(&usual["next_start"]));

    let project =
        json!({"window": {"days": ["sun"], "start": "23:30", "minutes": 90, "zone": "America/New_York"}});
    let (status, answer) = api.put("/window", &project).await.unwrap();
    assert_eq!((status, &answer["window"]["source"]), (200, &json!("project")), "{answer}");
    for path in ["/window", &own] {
        let seen = of(path).await;
        assert_eq!((&seen["days"], &seen["source"]), (&json!(["sun"]), &json!("project")), "{path}");
    }
    let (_, answer) = api.put(&own, &opens_in(60)).await.unwrap();
    assert_eq!(answer["window"]["source"], "instance");
    let other = roles.login("coffer-other").await;
    assert_eq!(other.read(&own).await.unwrap().0, 404);
    assert_eq!(other.put(&own, &opens_in(60)).await.unwrap().0, 404);
    assert_eq!(other.read("/window").await.unwrap().1["window"]["source"], "default");
    let reader = roles.login("coffer-reader").await;
    assert_eq!(reader.read(&own).await.unwrap().0, 200);
    assert_eq!(reader.put(&own, &opens_in(60)).await.unwrap().0, 403);
    assert_eq!(reader.put("/window", &opens_in(60)).await.unwrap().0, 403);
    let (status, answer) = api.put(&own, &json!({"window": {"start": "02:00", "minutes": 1}})).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer.to_string().contains("window['minutes']"), "{answer}");
    for (path, source) in [(&*own, "project"), ("/window", "default")] {
        let (status, answer) = api.remove(path).await.unwrap();
        assert_eq!((status, &answer["window"]["source"]), (200, &json!(source)), "{answer}");
    }
    assert_eq!(of(&own).await["source"], "default");
}

/// Planned, seen, moved with its window, moved to a time, back into the window, and started at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_for_the_window_can_be_moved_and_started() {
    let (roles, api, id) = begin().await;
    let db = roles.db().await;
    let own = format!("/instances/{id}/window");
    let window = api.put(&own, &opens_in(180)).await.unwrap().1["window"].clone();

    let mut dry = later(json!({"window": true}));
    dry["upgrade"]["dry_run"] = true.into();
    let (_, seen) = api.post(&format!("/instances/{id}/upgrades"), &dry).await.unwrap();
    assert_eq!(seen["upgrade"]["starts"], window["next_start"], "told before it is asked for: {seen}");
    let upgrade = accepted(&api, &id, json!({"window": true})).await;
    assert_eq!((&upgrade["state"], &upgrade["when"]), (&json!("scheduled"), &json!("window")), "{upgrade}");
    assert_eq!(upgrade["starts"], window["next_start"], "and after");
    let task = upgrade["id"].as_str().unwrap();
    assert_eq!(api.show(&id).await.unwrap()["status"], "ACTIVE", "the instance knows nothing of it");
    for list in ["/tasks", &format!("/instances/{id}/upgrades")] {
        let (_, listed) = api.read(list).await.unwrap();
        let all = listed["tasks"].as_array().or_else(|| listed["upgrades"].as_array()).unwrap().clone();
        assert!(all.iter().any(|it| it["id"] == task && it["starts"] == window["next_start"]), "{listed}");
    }

    for (state, there) in [("scheduled", true), ("running", false), ("succeeded", false)] {
        let (_, listed) = api.read(&format!("/tasks?state={state}")).await.unwrap();
        assert_eq!(listed["tasks"].as_array().unwrap().iter().any(|it| it["id"] == task), there, "{state}");
    }
    assert_eq!(api.read("/tasks?state=planned").await.unwrap().0, 400);

    // Another one, whoever asks for it, is refused and names it.
    for more in [json!({}), json!({"window": true}), json!({"not_before": in_minutes(5)})] {
        let (status, answer) = ask(&api, &id, more).await;
        assert_eq!(status, 422, "{answer}");
        assert!(answer.to_string().contains(task), "{answer}");
    }
    let body = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "10.4"}});
    db.execute("update upgrade_paths set ways = array['replica', 'in_place']", &[]).await.unwrap();
    assert_eq!(api.post(&format!("/instances/{id}/action"), &body).await.unwrap().0, 422);

    let moved = api.put(&own, &opens_in(300)).await.unwrap().1["window"]["next_start"].clone();
    assert_eq!(api.task(task).await.unwrap()["starts"], moved, "it goes with its window");
    let schedule = format!("/tasks/{task}/schedule");
    let set = in_minutes(30);
    let (status, answer) = api.put(&schedule, &json!({"schedule": {"not_before": set}})).await.unwrap();
    assert_eq!(
        (status, &answer["task"]["when"], &answer["task"]["starts"]),
        (200, &json!("at"), &json!(set))
    );
    assert_eq!(at(&answer["task"]["not_after"]) - at(&json!(set)), TimeDelta::hours(1));
    api.put(&own, &opens_in(360)).await.unwrap();
    assert_eq!(
        api.task(task).await.unwrap()["starts"],
        json!(set),
        "it does not wait for the window any more"
    );
    let (status, answer) = api.put(&schedule, &json!({"schedule": {"window": true}})).await.unwrap();
    assert_eq!((status, &answer["task"]["when"]), (200, &json!("window")), "{answer}");
    let wrong = [json!({}), json!({"schedule": {}}), json!({"schedule": {"window": true, "x": 1}})];
    for body in wrong {
        assert_eq!(api.put(&schedule, &body).await.unwrap().0, 400, "{body}");
    }
    let other = roles.login("coffer-other").await;
    assert_eq!(other.put(&schedule, &json!({"schedule": {"window": true}})).await.unwrap().0, 404);
    let reader = roles.login("coffer-reader").await;
    assert_eq!(reader.post(&format!("/tasks/{task}/start"), &json!({})).await.unwrap().0, 403);

    // What keeps it from beginning now is told, and it stays as it was.
    db.execute("update upgrade_paths set enabled = false", &[]).await.unwrap();
    let (status, _) = api.post(&format!("/tasks/{task}/start"), &json!({})).await.unwrap();
    assert_eq!((status, &api.task(task).await.unwrap()["state"]), (400, &json!("scheduled")));
    db.execute("update upgrade_paths set enabled = true", &[]).await.unwrap();
    let (status, answer) = api.post(&format!("/tasks/{task}/start"), &json!({})).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    assert_eq!(api.show(&id).await.unwrap()["status"], "UPGRADE");
    for body in [json!({"schedule": {"window": true}})] {
        assert_eq!(api.put(&schedule, &body).await.unwrap().0, 409, "it has begun");
    }
    reaches(&api, &upgrade, "succeeded").await;
    healthy(&api, &id).await;
    assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], "10.4");
    assert_eq!(api.post(&format!("/tasks/{task}/start"), &json!({})).await.unwrap().0, 409);
    assert_eq!(store::count(&db, "task_instances where planned or live").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_time_has_come_begins_and_not_before() {
    let (roles, api, id) = begin().await;
    let db = roles.db().await;
    let set = Utc::now() + TimeDelta::seconds(10);
    let text = set.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let upgrade = accepted(&api, &id, json!({"not_before": text})).await;
    reaches(&api, &upgrade, "succeeded").await;
    let begun: Vec<DateTime<Utc>> = {
        let sql =
            "select extract(epoch from at)::float8 from events where what = 'upgrade_begun' order by id";
        let rows = db.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| DateTime::from_timestamp_millis((row.get::<_, f64>(0) * 1e3) as i64).unwrap())
            .collect()
    };
    assert_eq!(begun.len(), 1);
    assert!(begun[0] >= set - TimeDelta::milliseconds(2), "{begun:?} {set}");

    // A window that is open is begun in at once.
    let second = simulated(&api).await;
    api.put(&format!("/instances/{second}/window"), &opens_in(-5)).await.unwrap();
    let upgrade = accepted(&api, &second, json!({"window": true})).await;
    let over = reaches(&api, &upgrade, "succeeded").await;
    assert!(over["report"].get("missed_windows").is_none(), "{over}");
}

/// The service was down while the window was open: it waits for the next one, and says so; then it begins in that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_window_is_told_and_the_next_one_taken() {
    let (mut roles, api, id) = begin().await;
    let own = format!("/instances/{id}/window");
    api.put(&own, &opens_in(240)).await.unwrap();
    let upgrade = accepted(&api, &id, json!({"window": true})).await;
    let task = upgrade["id"].as_str().unwrap();
    roles.kill(Role::Worker(0));
    passed(&roles, 1_440).await;
    roles.begin(Role::Worker(0)).await;
    let missed = wait_for("it is told", Duration::from_secs(60), async || {
        let task = api.task(task).await.ok()?;
        task["report"].get("missed_windows").is_some().then_some(task)
    })
    .await;
    assert_eq!((&missed["state"], missed.get("reason")), (&json!("scheduled"), None), "{missed}");
    let told = missed["report"]["missed_windows"].as_array().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["why"].as_str().unwrap().contains("the service did not run"), "{told:?}");
    assert_eq!(at(&told[0]["start"]), at(&upgrade["starts"]) - TimeDelta::days(1));
    assert_eq!(missed["starts"], upgrade["starts"], "the next one");
    assert_eq!(api.show(&id).await.unwrap()["status"], "ACTIVE");

    // It opens.
    api.put(&own, &opens_in(-1)).await.unwrap();
    let over = reaches(&api, &upgrade, "succeeded").await;
    assert_eq!(over["report"]["missed_windows"].as_array().unwrap().len(), 1, "{over}");
    healthy(&api, &id).await;
}

/// The service was down at the set time: within the limit it begins late, past it it ends and nothing has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_time_that_passed_is_late_or_too_late() {
    let (mut roles, api, id) = begin().await;
    let ask = json!({"not_before": in_minutes(10), "not_after": in_minutes(20)});
    let upgrade = accepted(&api, &id, ask).await;
    roles.kill(Role::Worker(0));
    passed(&roles, 21).await;
    roles.begin(Role::Worker(0)).await;
    let over = reaches(&api, &upgrade, "rolled_back").await;
    let reason = over["reason"].as_str().unwrap();
    assert!(reason.contains("could not in time") && reason.contains("the service did not run"), "{reason}");
    assert_eq!(over["steps"], json!([]), "{over}");
    assert_untouched(&roles, &api, &id).await;

    let upgrade = accepted(&api, &id, json!({"not_before": in_minutes(10)})).await;
    roles.kill(Role::Worker(0));
    passed(&roles, 15).await;
    roles.begin(Role::Worker(0)).await;
    reaches(&api, &upgrade, "succeeded").await;
}

/// kill -9 of the worker as it takes the upgrade up, before it has begun and after: it begins once, and ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_as_it_begins_is_replaced() {
    let (mut roles, api, first) = begin().await;
    let second = simulated(&api).await;
    let db = roles.db().await;
    for (id, when) in [(first, "before"), (second, "after")] {
        let point = format!("upgrade_auto.deferred.take_up.{when}");
        roles.arm(&point);
        api.put(&format!("/instances/{id}/window"), &opens_in(-1)).await.unwrap();
        let upgrade = accepted(&api, &id, json!({"window": true})).await;
        roles.reached(&point).await;
        let status = api.show(&id).await.unwrap()["status"].clone();
        assert_eq!(status, if when == "before" { "ACTIVE" } else { "UPGRADE" }, "{when}");
        roles.kill(Role::Worker(0));
        roles.disarm(&point);
        roles.begin(Role::Worker(0)).await;
        let over = reaches(&api, &upgrade, "succeeded").await;
        let of: uuid::Uuid = over["id"].as_str().unwrap().parse().unwrap();
        let sql = "select count(*) from events where task_id = $1 and what = 'upgrade_begun'";
        assert_eq!(db.query_one(sql, &[&of]).await.unwrap().get::<_, i64>(0), 1, "{when}");
        healthy(&api, &id).await;
    }
    for none in ["generations where role = 'candidate'", "task_instances where planned or live", "holds"] {
        assert_eq!(store::count(&db, none).await, 0, "left over: {none}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_world_or_a_changed_mind_ends_it_and_nothing_else_changes() {
    let (roles, api, id) = begin().await;
    let db = roles.db().await;
    let upgrade = accepted(&api, &id, json!({"not_before": in_minutes(10)})).await;
    let (status, _) =
        api.post(&format!("/tasks/{}/cancel", upgrade["id"].as_str().unwrap()), &json!({})).await.unwrap();
    assert_eq!(status, 202);
    let over = reaches(&api, &upgrade, "cancelled").await;
    assert_eq!((&over["steps"], over.get("reason")), (&json!([]), None), "{over}");
    assert_untouched(&roles, &api, &id).await;

    let upgrade = accepted(&api, &id, json!({"not_before": in_minutes(10)})).await;
    db.execute("update upgrade_paths set enabled = false", &[]).await.unwrap();
    passed(&roles, 10).await;
    let over = reaches(&api, &upgrade, "rolled_back").await;
    assert!(
        over["reason"].as_str().unwrap().contains("from mariadb 10.1 to mariadb 10.4 is not allowed"),
        "{over}"
    );
    db.execute("update upgrade_paths set enabled = true", &[]).await.unwrap();
    assert_untouched(&roles, &api, &id).await;

    // Another task has the instance: it is waited for.
    let upgrade = accepted(&api, &id, json!({"not_before": in_minutes(10)})).await;
    let claim = "insert into task_instances (task_id, instance_id, role) select id, $1, 'subject' from tasks \
                 where kind = 'create' and id not in (select task_id from task_instances where instance_id = $1) limit 1";
    let other = simulated(&api).await;
    let id_of: uuid::Uuid = id.parse().unwrap();
    assert_eq!(db.execute(claim, &[&id_of]).await.unwrap(), 1);
    passed(&roles, 10).await;
    wait_for("it waits", Duration::from_secs(30), async || {
        let task = api.task(upgrade["id"].as_str().unwrap()).await.ok()?;
        (task["state"] == "scheduled" && task["report"].get("waits_for").is_some()).then_some(())
    })
    .await;
    db.execute("update task_instances set live = false where instance_id = $1", &[&id_of]).await.unwrap();
    let over = reaches(&api, &upgrade, "succeeded").await;
    assert!(over["report"].get("waits_for").is_none(), "{over}");

    api.put(&format!("/instances/{other}/window"), &opens_in(200)).await.unwrap();
    let upgrade = accepted(&api, &other, json!({"window": true})).await;
    api.put(&format!("/instances/{other}/window"), &opens_in(300)).await.unwrap();
    api.delete(&other).await.unwrap();
    let over = reaches(&api, &upgrade, "cancelled").await;
    assert!(over["reason"].as_str().unwrap().contains("was deleted"), "{over}");
    api.wait_until_gone(&other).await.unwrap();
    for none in ["windows", "task_instances where planned or live", "tasks where ended_at is null"] {
        assert_eq!(store::count(&db, none).await, 0, "left over: {none}");
    }
    assert_eq!(ended(&api, &id, Duration::from_secs(10)).await["state"], "succeeded");
}

/// An older build goes to the newest one by itself, in its window, once; where it cannot that is told, and once, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_brings_the_newest_build_in_the_window() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    let create = async |datastore: &str, version: Option<&str>, number: Option<&str>| {
        let body = json!({"instance": {"name": "orders", "flavorRef": "2", "volume": {"size": 2},
            "datastore": {"type": datastore, "version": version, "version_number": number}}});
        let (status, answer) = api.post("/instances", &body).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        answer["instance"]["id"].as_str().unwrap().to_owned()
    };
    let (status, answer) = api
        .post(
            "/instances",
            &json!({"instance": {"name": "n", "flavorRef": "2", "volume": {"size": 2},
                "datastore": {"type": "mysql", "version": "5.6", "version_number": "5.7.43"}}}),
        )
        .await
        .unwrap();
    assert_eq!(status, 400, "a build of another version: {answer}");
    let old = create("mysql", Some("5.6"), Some("5.6.50")).await;
    let enc = create("mariadb", Some("10.4enc"), Some("10.4.33")).await;
    let elephant = create("postgresql", None, Some("14.19")).await;
    let new = create("postgresql", Some("16"), None).await;
    for id in [&old, &enc, &elephant, &new] {
        healthy(&api, id).await;
    }
    let number = async |id: &str| api.show(id).await.unwrap()["datastore"]["version_number"].clone();
    assert_eq!(number(&old).await, "5.6.50");
    assert_eq!(number(&new).await, "16.11", "a new one has the newest build");
    let policy = |id: &str| format!("/instances/{id}/upgrade-policy");
    let seen = api.read(&policy(&old)).await.unwrap().1["upgrade_policy"].clone();
    assert_eq!(
        (&seen["minor"], &seen["newest"]["datastore_version"], &seen["newest"]["version_number"]),
        (&json!("off"), &json!("5.6"), &json!("5.6.51")),
        "{seen}"
    );
    let seen = api.read(&policy(&new)).await.unwrap().1["upgrade_policy"].clone();
    assert!(seen.get("newest").is_none(), "{seen}");
    for body in
        [json!({}), json!({"upgrade_policy": {"minor": "on"}}), json!({"upgrade_policy": {"minor": true}})]
    {
        assert_eq!(api.put(&policy(&old), &body).await.unwrap().0, 400, "{body}");
    }
    let reader = roles.login("coffer-reader").await;
    let on = json!({"upgrade_policy": {"minor": "window"}});
    assert_eq!(reader.put(&policy(&old), &on).await.unwrap().0, 403);
    assert_eq!(roles.login("coffer-other").await.put(&policy(&old), &on).await.unwrap().0, 404);

    // The window of the enc one is not open, and its way is closed for the elephant.
    let sql = "update upgrade_paths set enabled = false where from_version_id in \
               (select id from datastore_versions where name = '14.19')";
    assert_eq!(db.execute(sql, &[]).await.unwrap(), 1);
    for (id, opens) in [(&old, -5), (&enc, 300), (&elephant, -5), (&new, -5)] {
        api.put(&format!("/instances/{id}/window"), &opens_in(opens)).await.unwrap();
        let (status, answer) = api.put(&policy(id), &on).await.unwrap();
        assert_eq!((status, &answer["upgrade_policy"]["minor"]), (200, &json!("window")), "{answer}");
    }
    let upgrade = ended(&api, &old, Duration::from_secs(60)).await;
    assert_eq!((&upgrade["state"], &upgrade["to"]), (&json!("succeeded"), &json!("mysql 5.6")), "{upgrade}");
    let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(task["report"]["automatic"], true, "{task}");
    healthy(&api, &old).await;
    assert_eq!(number(&old).await, "5.6.51");
    let refused = "events where what = 'automatic_upgrade_refused'";
    wait_for("the refusal is told", Duration::from_secs(30), async || {
        (store::count(&db, refused).await > 0).then_some(())
    })
    .await;
    let upgrades = async |id: &str| {
        let (_, seen) = api.read(&format!("/instances/{id}/upgrades")).await.unwrap();
        seen["upgrades"].as_array().unwrap().len()
    };
    // It is looked at again and again, and nothing more is asked for in this window.
    let looked = "upgrade_policies where asked_window is not null";
    assert_eq!(store::count(&db, looked).await, 2);
    api.put(&format!("/instances/{enc}/window"), &opens_in(-2)).await.unwrap();
    let upgrade = ended(&api, &enc, Duration::from_secs(60)).await;
    assert_eq!(upgrade["to"], "mariadb 10.4enc", "{upgrade}");
    assert_eq!((upgrades(&old).await, upgrades(&elephant).await, upgrades(&new).await), (1, 0, 0));
    assert_eq!(store::count(&db, refused).await, 1);
    healthy(&api, &enc).await;
    crate::harness::delete(&api, &[&old, &enc, &elephant, &new]).await;
    assert_eq!(store::count(&db, "upgrade_policies").await, 0);
}
