//! Idempotency keys: the same request under the same key is the same task, whoever sends it and however often.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::roles::{Role, Roles};
use crate::harness::wait_for;
use crate::test_api::{TestApi, Told, told};

const MEMBER: &str = "member@1234";

async fn send(door: &TestApi, who: &str, method: &str, below: &str, key: &str, body: &Value) -> Told {
    let request = door.ask(who, method, below).header("content-type", "application/json");
    told(request.header("idempotency-key", key).body(body.to_string())).await
}

fn id_of(told: &Told) -> String {
    let body = &told.body;
    let id = body["upgrade"]["id"].as_str().or_else(|| body["instance"]["id"].as_str());
    id.unwrap_or_else(|| panic!("{} {body}", told.status)).to_owned()
}

fn create(name: &str) -> Value {
    json!({"instance": {"name": name, "flavorRef": "2", "volume": {"size": 2},
        "datastore": {"type": "mysql", "version": "5.6"},
        "databases": [{"name": "shop"}],
        "users": [{"name": "app", "password": "hunter22", "databases": [{"name": "shop"}]}]}})
}

/// A thousand at once, of each call: one task.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_make_one_task() {
    let door = TestApi::open().await;
    let id = door.instance("1234", "mysql", "5.6").await;
    let other = door.instance("1234", "mysql", "5.6").await;
    let upgrade = json!({"upgrade": {"datastore_version": "5.7"}});
    let action = json!({"upgrade": {"datastore_type": "mysql", "datastore_version": "5.7"}});
    for (below, body, made, status) in [
        (format!("instances/{id}/upgrades"), upgrade, "tasks where kind = 'upgrade_auto'", 202),
        (format!("instances/{other}/action"), action, "tasks where kind = 'upgrade'", 202),
        ("instances".to_owned(), create("n1"), "tasks where kind = 'create'", 200),
    ] {
        let all = futures::future::join_all(
            (0..1_000).map(|_| send(&door, MEMBER, "POST", &below, "the-key", &body)),
        )
        .await;
        let codes: BTreeSet<u16> = all.iter().map(|told| told.status).collect();
        assert_eq!(codes, BTreeSet::from([status]), "{below}");
        let ids: BTreeSet<String> = all.iter().map(id_of).collect();
        assert_eq!(ids.len(), 1, "{below}: {ids:?}");
        assert_eq!(door.count(made).await, 1, "{below}");
    }
    assert_eq!(door.count("idempotency_keys").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_of_one_request_of_one_call_of_one_project() {
    let door = TestApi::open().await;
    let id = door.instance("1234", "mysql", "5.6").await;
    let upgrades = format!("instances/{id}/upgrades");
    let body = |more: Value| {
        let mut upgrade = json!({"datastore_version": "5.7"});
        upgrade.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "upgrade": upgrade })
    };
    // What is refused takes no key.
    let wrong =
        send(&door, MEMBER, "POST", &upgrades, "k1", &json!({"upgrade": {"datastore_version": "9"}})).await;
    assert_eq!((wrong.status, door.count("idempotency_keys").await), (400, 0));
    let look = send(&door, MEMBER, "POST", &upgrades, "k1", &body(json!({"dry_run": true}))).await;
    assert_eq!(door.count("idempotency_keys").await, 0, "{} a look takes none", look.status);

    let first = send(&door, MEMBER, "POST", &upgrades, "k1", &body(json!({"keep_hours": 3}))).await;
    assert_eq!(first.status, 202, "{}", first.body);
    // In another order, with what says nothing, and by the field: it is the same, although the instance is busy now.
    let same = body(json!({"keep_hours": 3, "strategy": null, "idempotency_key": "k1"}));
    let again = door.send(MEMBER, "POST", &upgrades, Some(&same)).await;
    assert_eq!((again.status, id_of(&again)), (202, id_of(&first)));
    let both = send(&door, MEMBER, "POST", &upgrades, "k1", &same).await;
    assert_eq!((both.status, id_of(&both)), (202, id_of(&first)));
    let differing = send(&door, MEMBER, "POST", &upgrades, "k2", &same).await;
    assert_eq!(differing.status, 400, "{}", differing.body);

    // Trove's PATCH is a call of its own.
    let third = door.instance("1234", "mysql", "5.6").await;
    let patched = format!("instances/{third}");
    for (version, status) in [("5.7", 202), ("5.7", 202), ("8.0", 422)] {
        let body = json!({"instance": {"datastore_version": version}});
        let told = send(&door, MEMBER, "PATCH", &patched, "k1", &body).await;
        assert_eq!(told.status, status, "{version}: {}", told.body);
    }
    assert_eq!(door.count(&format!("tasks where plan->>'instance' = '{third}'")).await, 1);
    let busy =
        door.send(MEMBER, "PATCH", &patched, Some(&json!({"instance": {"datastore_version": "5.7"}}))).await;
    assert_eq!(busy.status, 422, "without the key it is another request");

    for (who, below, body, status) in [
        (MEMBER, &*upgrades, body(json!({"keep_hours": 4})), 422),
        (MEMBER, &*upgrades, body(json!({"keep_hours": 3, "window": true})), 422),
        ("reader@1234", &*upgrades, body(json!({"keep_hours": 3})), 403),
        // Another call has keys of its own, and so has another project.
        (MEMBER, "instances", create("n1"), 200),
        ("member@77", "instances", create("n1"), 200),
        (MEMBER, "instances", create("n2"), 422),
    ] {
        let told = send(&door, who, "POST", below, "k1", &body).await;
        assert_eq!(told.status, status, "{who} {below} {body}: {}", told.body);
        if status == 422 {
            assert!(told.body.to_string().contains("'k1' was given with another request"), "{}", told.body);
        }
    }
    let made = door.count("tasks").await;
    let password = create("n1").to_string().replace("hunter22", "hunter23").parse().unwrap();
    let other = send(&door, MEMBER, "POST", "instances", "k1", &password).await;
    assert_eq!(other.status, 422, "another password is another request");
    assert_eq!(send(&door, MEMBER, "POST", "instances", "k1", &create("n1")).await.status, 200);
    assert_eq!(door.count("tasks").await, made);
    assert_eq!(door.count("idempotency_keys where request::text like '%hunter%'").await, 0);

    for key in ["", " ", "é", &"k".repeat(256)] {
        let told = send(&door, MEMBER, "POST", &upgrades, key, &body(json!({}))).await;
        assert_eq!(told.status, 400, "{key:?}: {}", told.body);
        assert!(told.body.to_string().contains("Idempotency-Key"), "{}", told.body);
    }
    for field in [json!(1), json!(""), json!("a\u{7f}"), json!("k".repeat(256)), json!([])] {
        let told = door.send(MEMBER, "POST", &upgrades, Some(&body(json!({"idempotency_key": field})))).await;
        assert_eq!(told.status, 400, "{field}: {}", told.body);
        assert!(told.body.to_string().contains("idempotency_key"), "{}", told.body);
    }
    let twice = door
        .ask(MEMBER, "POST", "instances")
        .header("content-type", "application/json")
        .header("idempotency-key", "k8")
        .header("idempotency-key", "k9")
        .body(create("n9").to_string());
    assert_eq!(told(twice).await.status, 400);
}

/// Without a key each request is one of its own: of those that come at once for one instance one is accepted, whether
/// it is for now or for later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_without_a_key_one_is_accepted() {
    let door = TestApi::open().await;
    for later in [json!(true), json!(null)] {
        let id = door.instance("1234", "mysql", "5.6").await;
        let upgrades = format!("instances/{id}/upgrades");
        let body = json!({"upgrade": {"datastore_version": "5.7", "window": later}});
        let all =
            futures::future::join_all((0..100).map(|_| door.send(MEMBER, "POST", &upgrades, Some(&body))))
                .await;
        let accepted = all.iter().filter(|told| told.status == 202).count();
        let refused = all.iter().filter(|told| told.status == 422).count();
        assert_eq!((accepted, refused), (1, 99), "{later}");
        let claims = format!("task_instances where instance_id = '{id}'");
        assert_eq!(door.count(&claims).await, 1);
    }
    assert_eq!(door.count("tasks where kind = 'upgrade_auto'").await, 2);
}

/// Who starts, moves, cancels and deletes at once: one of them is first, and what is left holds together.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_first_with_a_planned_upgrade_it_holds_together() {
    let door = TestApi::open().await;
    let mut ends = BTreeSet::new();
    let set = (chrono::Utc::now() + chrono::TimeDelta::days(30)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    for round in 0..24 {
        let id = door.instance("1234", "mysql", "5.6").await;
        let ask = json!({"upgrade": {"datastore_version": "5.7", "not_before": set}});
        let asked = door.send(MEMBER, "POST", &format!("instances/{id}/upgrades"), Some(&ask)).await;
        let task = id_of(&asked);
        let (start, cancel) = (format!("tasks/{task}/start"), format!("tasks/{task}/cancel"));
        let (schedule, window) = (format!("tasks/{task}/schedule"), format!("instances/{id}/window"));
        let own = format!("instances/{id}");
        let to_window = json!({"schedule": {"window": true}});
        let other_window = json!({"window": {"start": "10:00", "minutes": 60}});
        let mut all = vec![
            ("POST", &start, None),
            ("POST", &cancel, None),
            ("PUT", &schedule, Some(&to_window)),
            ("PUT", &window, Some(&other_window)),
            ("DELETE", &own, None),
        ];
        let first = all.len();
        all.rotate_left(round % first);
        let all = all.into_iter().map(|(method, below, body)| door.send(MEMBER, method, below, body));
        for told in futures::future::join_all(all).await {
            assert!([200, 202, 404, 409, 422].contains(&told.status), "{} {}", told.status, told.body);
        }
        for none in [
            "tasks t where t.deferred and not exists (select from task_instances c where c.task_id = t.id and c.planned)",
            "task_instances c where c.planned and exists (select from tasks t where t.id = c.task_id and not t.deferred)",
            "task_instances c where c.live and exists (select from tasks t where t.id = c.task_id and t.ended_at is not null)",
            "instances i where i.state = 'upgrading' and not exists (select from task_instances c where c.instance_id = i.id and c.live)",
            "generations g join instances i on i.id = g.instance_id where g.role = 'candidate' and i.state <> 'upgrading'",
            "tasks where secrets is not null and ended_at is not null",
        ] {
            assert_eq!(door.count(none).await, 0, "{none}");
        }
        let seen = door.send(MEMBER, "GET", &format!("tasks/{task}"), None).await;
        ends.insert(seen.body["task"]["state"].as_str().unwrap().to_owned());
    }
    eprintln!("{ends:?}");
}

/// A key is remembered for a day, and for as long as its task lives; then it is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_free_when_its_day_and_its_task_are_over() {
    let door = TestApi::open().await;
    let first = send(&door, MEMBER, "POST", "instances", "k1", &create("n1")).await;
    let cleared = async || {
        let done: Result<usize, coffer::db::Error> = door.db.transact(coffer::db::idempotency::clear).await;
        done.unwrap()
    };
    assert_eq!(cleared().await, 0);
    door.sql("update idempotency_keys set expires_at = now() - interval '1 second'").await;
    assert_eq!(cleared().await, 0, "its task lives");
    let again = send(&door, MEMBER, "POST", "instances", "k1", &create("n1")).await;
    assert_eq!(id_of(&again), id_of(&first));
    door.sql("update tasks set state = 'succeeded', ended_at = now(), phase = null, step = null").await;
    let anew = send(&door, MEMBER, "POST", "instances", "k1", &create("n2")).await;
    assert_eq!(anew.status, 200, "{}", anew.body);
    assert_ne!(id_of(&anew), id_of(&first));
    door.sql("update tasks set state = 'succeeded', ended_at = now(), phase = null, step = null").await;
    assert_eq!(cleared().await, 0, "its day is not over");
    door.sql("update idempotency_keys set expires_at = now() - interval '1 second'").await;
    assert_eq!((cleared().await, door.count("idempotency_keys").await), (1, 0));
}

/// Over a restart of the service, while the task runs and after its end; and a set time that has passed since is no
/// reason to refuse what was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_known_after_a_restart() {
    let mut roles = Roles::start("simulated").await;
    crate::upgrade::only(&roles, coffer::domain::upgrade::Strategy::InPlace).await;
    let api = roles.login("coffer").await;
    let id = crate::upgrade::simulated(&api).await;
    let set = chrono::Utc::now() + chrono::TimeDelta::seconds(12);
    let set = set.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let body = json!({"upgrade": {"datastore_version": "10.4", "not_before": set, "idempotency_key": "k1"}});
    let path = format!("/instances/{id}/upgrades");
    let (status, first) = api.post(&path, &body).await.unwrap();
    assert_eq!(status, 202, "{first}");
    let task = first["upgrade"]["id"].as_str().unwrap().to_owned();
    for role in [Role::Api, Role::Worker(0)] {
        roles.kill(role);
        roles.begin(role).await;
    }
    let api = roles.login("coffer").await;
    let (status, again) = api.post(&path, &body).await.unwrap();
    assert_eq!((status, &again["upgrade"]["id"]), (202, &json!(task)));
    let over = wait_for("it ends", Duration::from_secs(120), async || {
        let task = api.task(&task).await.ok()?;
        (task["state"] == "succeeded").then_some(task)
    })
    .await;
    let (status, again) = api.post(&path, &body).await.unwrap();
    assert_eq!((status, &again["upgrade"]["id"]), (202, &over["id"]));
    let (_, all) = api.read(&path).await.unwrap();
    assert_eq!(all["upgrades"].as_array().unwrap().len(), 1);
}
