//! Groups on simulated servers: made, spread over zones, upgraded member by member, failed over, and refused.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::task::{Phase, TaskKind};
use coffer::domain::timing::Timing;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::pair::{Asking, Pair, body, named, show, until};
use crate::harness::roles::Roles;
use crate::harness::store;
use crate::harness::tenant::SimulatedWriter;
use crate::harness::wait_for;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Writes at the group's address until `work` is done; everything that was acknowledged is at the primary then, once, and
/// one server takes writes.
async fn written<T>(roles: &Roles, pair: &Pair, work: impl Future<Output = T>) -> T {
    let db = roles.db().await;
    let id: uuid::Uuid = pair.id.parse().unwrap();
    let sql = "select coalesce(max(w.position), 0) from simulated_writes w \
               join endpoints e on e.generation_id = w.generation_id where e.instance_id = $1";
    let last: i64 = db.query_one(sql, &[&id]).await.unwrap().get(0);
    let writer = SimulatedWriter::at_address(roles.url(), &pair.id);
    let enough = async |more: usize| {
        let before = writer.acknowledged.lock().unwrap().len();
        wait_for("the tenant writes", Duration::from_secs(60), async || {
            (writer.acknowledged.lock().unwrap().len() > before + more).then_some(())
        })
        .await;
    };
    enough(10).await;
    let done = work.await;
    enough(10).await;
    let mut acknowledged = writer.stop().await;
    acknowledged.sort();
    let sql = "select w.payload from simulated_writes w join endpoints e on e.generation_id = w.generation_id \
               where e.instance_id = $1 and w.position > $2 order by 1";
    let there: Vec<String> =
        db.query(sql, &[&id, &last]).await.unwrap().iter().map(|row| row.get(0)).collect();
    // One that was committed as its writer was told to stop may not have been heard of.
    let missing: Vec<_> = acknowledged.iter().filter(|it| there.binary_search(it).is_err()).collect();
    assert!(missing.is_empty(), "acknowledged and not there: {missing:?} of {}", acknowledged.len());
    let mut once = there.clone();
    once.dedup();
    assert_eq!(once.len(), there.len(), "nothing is there twice");
    let writable = format!(
        "simulated_servers s join generations g on g.id = s.generation_id join instances i on i.id = g.instance_id \
         where i.group_id = '{id}' and s.state = 'running' and not s.read_only"
    );
    assert_eq!(store::count(&db, &writable).await, 1, "one server takes writes");
    done
}

/// What the rows say of both members: each has one serving server, of the version that it answered, and the standby's
/// follows the primary's.
async fn is_whole(roles: &Roles, pair: &Pair, version: &str) {
    let db = roles.db().await;
    let id: uuid::Uuid = pair.id.parse().unwrap();
    let sql = "select v.name, g.read_only, f.generation_id is not null and f.follows = e.generation_id, i.state \
               from instances i join generations g on g.id = i.serving_generation_id and g.role = 'serving' \
               and g.version_id = i.running_version_id and g.wanted = 'running' \
               join datastore_versions v on v.id = i.running_version_id \
               join endpoints e on e.instance_id = i.group_id \
               join simulated_servers f on f.generation_id = g.id \
               where i.group_id = $1 order by i.replica_of is not null";
    let rows = db.query(sql, &[&id]).await.unwrap();
    let seen: Vec<(String, bool, Option<bool>, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let expected = [(false, false), (true, true)];
    assert_eq!(seen.len(), 2, "{seen:?}");
    for ((name, read_only, follows, state), (fenced, is_follower)) in seen.iter().zip(expected) {
        assert_eq!((&**name, *read_only, &**state), (version, fenced, "active"), "{seen:?}");
        assert_eq!(follows.unwrap_or(false), is_follower, "{seen:?}");
    }
    for none in ["holds", "relays", "generations where role = 'candidate'", "task_instances where live"] {
        assert_eq!(store::count(&db, none).await, 0, "left over: {none}");
    }
}

async fn nothing_is_left(roles: &Roles) {
    let db = roles.db().await;
    for what in [
        "endpoints",
        "holds",
        "relays",
        "task_instances where live or planned",
        "generations where role <> 'dropped'",
        "tasks where ended_at is null",
        "tasks where secrets is not null",
        "simulated_servers",
        "instances where deleted_at is null",
        "groups where deleted_at is null",
    ] {
        assert_eq!(store::count(&db, what).await, 0, "left over: {what}");
    }
}

/// How members are seen by Trove's clients, and that they are not changed alone.
async fn members_are_instances(api: &Client, pair: &Pair) {
    let (primary, standby) = (api.show(&pair.primary).await.unwrap(), api.show(&pair.standby).await.unwrap());
    assert_eq!((&primary["ha_id"], &standby["ha_id"]), (&json!(pair.id), &json!(pair.id)));
    assert_eq!((&primary["status"], &standby["status"]), (&json!("ACTIVE"), &json!("ACTIVE")));
    assert_eq!(standby["replica_of"]["id"], pair.primary);
    assert_eq!(primary["replicas"][0]["id"], pair.standby);
    assert!(primary.get("replica_of").is_none() && primary.get("ip").is_none(), "{primary}");
    assert_eq!(primary["available_upgrades"]["upgrades"], json!([]));
    for member in [&pair.primary, &pair.standby] {
        let upgrade = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "10.4"}});
        let own = json!({"upgrade": {"datastore_version": "10.4"}});
        let (acted, upgraded) = (
            api.post(&format!("/instances/{member}/action"), &upgrade).await.unwrap(),
            api.post(&format!("/instances/{member}/upgrades"), &own).await.unwrap(),
        );
        let (deleted, _) = api.remove(&format!("/instances/{member}")).await.unwrap();
        assert_eq!((acted.0, upgraded.0, deleted), (422, 422, 422), "{} {}", acted.1, upgraded.1);
        assert!(acted.1.to_string().contains(&format!("member of the group {}", pair.id)), "{}", acted.1);
        for change in [json!({"datastore_version": "10.4"}), json!({"replica_of": ""})] {
            let path = format!("/instances/{member}");
            let refused = api.patch(&path, &json!({"instance": change})).await.unwrap_err().to_string();
            assert!(refused.contains("answered 422"), "{refused}");
        }
        api.patch(&format!("/instances/{member}"), &json!({"instance": {"name": "renamed"}})).await.unwrap();
    }
}

/// How many servers of the group's members are kept, by version.
async fn kept(roles: &Roles, pair: &Pair) -> Vec<String> {
    let db = roles.db().await;
    let id: uuid::Uuid = pair.id.parse().unwrap();
    let sql = "select v.name from generations g join datastore_versions v on v.id = g.version_id \
               join instances i on i.id = g.instance_id where i.group_id = $1 and g.role = 'retired'";
    db.query(sql, &[&id]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// A second upgrade, which fails at its one-way point first: what the first one kept is there until the second is past it.
async fn takes_the_place_of_what_is_kept(roles: &Roles, api: &Client, pair: &Pair) {
    assert_eq!(kept(roles, pair).await, ["10.1", "10.1"]);
    let admin = roles.login("coffer-admin").await;
    for fails in [true, false] {
        let steps = if fails { json!({"switch": {"fault": "fail"}}) } else { json!({}) };
        for member in [&pair.primary, &pair.standby] {
            let simulation = format!("/mgmt/instances/{member}/simulation");
            assert_eq!(admin.put(&simulation, &json!({"steps": steps})).await.unwrap().0 / 100, 2);
        }
        let task = written(roles, pair, async {
            let (accepted, answer) = pair.act(api, "mariadb", "10.4enc").await;
            assert_eq!(accepted, 202, "{answer}");
            pair.ended(api).await
        })
        .await;
        let (end, version, left) =
            if fails { ("rolled_back", "10.4", "10.1") } else { ("succeeded", "10.4enc", "10.4") };
        assert_eq!(task["state"], end, "{task}");
        until(api, &pair.id, "ACTIVE").await;
        is_whole(roles, pair, version).await;
        assert_eq!(kept(roles, pair).await, [left, left]);
    }
}

/// The whole life of groups, in one service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_made_upgraded_and_deleted() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let asking = Asking::of(&roles, &api);

    let (status, answer) = api.post("/ha", &body("mariadb", "10.1")).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let made = &answer["ha_instance"];
    assert_eq!(made["state"], "BUILD");
    for empty in ["replica_source", "replicas", "networks", "acls"] {
        assert_eq!(made[empty], json!([]), "{made}");
    }
    assert_eq!(made["flavor"]["id"], 2);
    let pair = Pair::made(&api, made["id"].as_str().unwrap()).await;
    let (_, list) = api.read("/ha").await.unwrap();
    assert_eq!(
        list,
        json!({"ha_instances": [{"id": pair.id, "name": "orders", "state": "ACTIVE",
            "datastore": {"type": "mariadb", "version": "10.1"}}]})
    );
    let seen = show(&api, &pair.id).await.unwrap();
    assert_eq!(seen["replica_source"][0]["ha_id"], pair.id);
    assert_eq!(seen["networks"][0]["access"], "write");
    assert_eq!(pair.zones(&api).await, ["az1", "az2"]);
    is_whole(&roles, &pair, "10.1").await;
    members_are_instances(&api, &pair).await;

    // By Rackspace's action: exactly five keys, the old version still, and the zones swapped afterwards.
    let upgraded = written(&roles, &pair, async {
        let (status, answer) = pair.act(&api, "MariaDB", "10.4").await;
        assert_eq!(status, 202, "{answer}");
        let view = &answer["ha_instance"];
        assert_eq!(keys(view), ["datastore", "id", "name", "state", "tenant_id"]);
        assert_eq!((&view["state"], &view["id"]), (&json!("UPGRADING"), &json!(pair.id)));
        assert_eq!(view["datastore"], json!({"type": "mariadb", "version": "10.1"}));
        let (again, _) = pair.act(&api, "mariadb", "10.4").await;
        let (deleted, _) = api.remove(&format!("/ha/{}", pair.id)).await.unwrap();
        assert_eq!((again, deleted), (422, 422));
        pair.ended(&api).await
    })
    .await;
    assert_eq!(
        (&upgraded["state"], &upgraded["strategy"], &upgraded["percent"], &upgraded["kind"]),
        (&json!("succeeded"), &json!("rolling"), &json!(100), &json!("upgrade")),
        "{upgraded}"
    );
    let seen = until(&api, &pair.id, "ACTIVE").await;
    assert_eq!(seen["datastore"]["version"], "10.4");
    assert_eq!(pair.zones(&api).await, ["az2", "az1"], "they have changed roles");
    is_whole(&roles, &pair, "10.4").await;
    takes_the_place_of_what_is_kept(&roles, &api, &pair).await;
    assert_eq!(pair.zones(&api).await, ["az1", "az2"]);

    // Back by a failover.
    written(&roles, &pair, async {
        asking.fail_over(&pair).await.unwrap();
        let task = pair.ended(&api).await;
        assert_eq!((&task["state"], &task["kind"]), (&json!("succeeded"), &json!("failover")), "{task}");
    })
    .await;
    assert_eq!(pair.zones(&api).await, ["az2", "az1"]);
    is_whole(&roles, &pair, "10.4enc").await;
    pair.delete(&api).await;

    // With the switchback, to the newest build: each ends in its zone.
    let pair = Pair::make(&api, "mysql", "5.7.43").await;
    written(&roles, &pair, async {
        let target = coffer::commands::groups::Target::Newest;
        asking.upgrade(&pair, target, true, Timing::Now).await.unwrap();
        let task = pair.ended(&api).await;
        assert_eq!(task["state"], "succeeded", "{task}");
        let steps: Vec<&str> =
            task["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
        assert_eq!(steps.iter().filter(|step| **step == "switch").count(), 2, "{steps:?}");
    })
    .await;
    assert_eq!(pair.zones(&api).await, ["az1", "az2"], "each is in its zone again");
    is_whole(&roles, &pair, "5.7").await;
    pair.delete(&api).await;

    // In one zone there is nothing to go back to.
    let mut one = body("mysql", "5.7.43");
    for side in ["replica_source", "replicas"] {
        one["ha"][side][0]["availability_zone"] = json!("az2");
    }
    let (_, answer) = api.post("/ha", &one).await.unwrap();
    let pair = Pair::made(&api, answer["ha_instance"]["id"].as_str().unwrap()).await;
    asking.upgrade(&pair, named("mysql", "5.7"), true, Timing::Now).await.unwrap();
    let task = pair.ended(&api).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    let switches = task["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "switch").count();
    assert_eq!((switches, pair.zones(&api).await), (1, ["az2".to_owned(), "az2".to_owned()]));
    is_whole(&roles, &pair, "5.7").await;
    pair.delete(&api).await;
    nothing_is_left(&roles).await;
}

async fn simulate(admin: &Client, member: &str, steps: Value) {
    let path = format!("/mgmt/instances/{member}/simulation");
    let (status, answer) = admin.put(&path, &json!({"steps": steps})).await.unwrap();
    assert!((200..300).contains(&status), "{answer}");
}

/// Each step of an upgrade and of a change of roles, made to fail: before the one-way point the group is as it was, with
/// the reason told; after it nothing is undone, an operator is asked, and the retried step goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_leads_back() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let asking = Asking::of(&roles, &api);
    let pair = Pair::make(&api, "mysql", "5.6.50").await;
    written(&roles, &pair, async {
        for kind in [TaskKind::UpgradeRolling, TaskKind::Failover] {
            for step in kind.steps(Phase::Forward) {
                simulate(&admin, &pair.primary, json!({step.as_str(): {"fault": "fail"}})).await;
                match kind {
                    TaskKind::Failover => drop(asking.fail_over(&pair).await.unwrap()),
                    _rolling => assert_eq!(pair.act(&api, "mysql", "5.6").await.0, 202),
                }
                let task = pair.ended(&api).await;
                assert_eq!(task["state"], "rolled_back", "{step:?}: {task}");
                let seen = until(&api, &pair.id, "ACTIVE").await;
                assert_eq!(seen["datastore"]["version"], "5.6.50", "{step:?}");
                assert!(seen["fault"]["message"].as_str().unwrap().contains(step.as_str()), "{seen}");
                is_whole(&roles, &pair, "5.6.50").await;
            }
        }
        assert_eq!(pair.zones(&api).await, ["az1", "az2"]);
        for (kind, version) in [(TaskKind::Failover, "5.6.50"), (TaskKind::UpgradeRolling, "5.6")] {
            simulate(&admin, &pair.primary, json!({"rejoin": {"fault": "fail"}})).await;
            match kind {
                TaskKind::Failover => drop(asking.fail_over(&pair).await.unwrap()),
                _rolling => assert_eq!(pair.act(&api, "mysql", "5.6").await.0, 202),
            }
            let task = pair.ended(&api).await;
            assert_eq!(task["state"], "needs_operator", "{task}");
            assert_eq!(pair.act(&api, "mysql", "5.6").await.0, 422, "its claims are kept");
            simulate(&admin, &pair.primary, json!({})).await;
            let retried = std::process::Command::new(env!("CARGO_BIN_EXE_coffer"))
                .args(["admin", "task", "retry", task["id"].as_str().unwrap()])
                .env("DATABASE_URL", roles.url())
                .output()
                .unwrap();
            assert!(retried.status.success(), "{}", String::from_utf8_lossy(&retried.stderr));
            let ended = wait_for("the task goes on to its end", Duration::from_secs(120), async || {
                let task = pair.task(&api).await;
                (task["state"] == "succeeded").then_some(task)
            })
            .await;
            assert_eq!(ended["id"], task["id"]);
            is_whole(&roles, &pair, version).await;
        }
    })
    .await;
    pair.delete(&api).await;
    nothing_is_left(&roles).await;
}

/// Of a hundred that ask at once one is heard; what is wrong, another's or not possible is refused by its code, and
/// changes nothing; a request with a key is made once; an upgrade can wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_asked_for_once_and_refused_by_code() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let (admin, reader) = (roles.login("coffer-admin").await, roles.login("coffer-reader").await);
    let other = roles.login("coffer-other").await;
    let asking = Asking::of(&roles, &api);
    let db = roles.db().await;
    crate::harness::have_no_window_now(&api).await;
    let pair = Pair::make(&api, "mysql", "5.6").await;

    let real = "insert into datastores (id, name) values ('00000000-0000-4000-8000-00000000000a', 'real'); \
                insert into datastore_versions (id, datastore_id, name, version_number, engine, runtime) values \
                ('00000000-0000-4000-8000-00000000000b', '00000000-0000-4000-8000-00000000000a', '1', '1.0', \
                'mariadb', 'process')";
    db.batch_execute(real).await.unwrap();
    let everything = async || {
        let mut counts = Vec::new();
        for from in ["groups", "instances", "tasks", "events", "endpoints", "generations", "idempotency_keys"]
        {
            counts.push(store::count(&db, from).await);
        }
        counts
    };
    let before = everything().await;
    let with = |place: &str, value: Value| {
        let mut body = body("mysql", "5.7");
        *body.pointer_mut(place).unwrap() = value;
        body
    };
    let group = format!("/ha/{}", pair.id);
    let action = format!("{group}/action");
    let upgrade = |datastore: &str, version: &str| json!({"upgrade": {"datastore_type": datastore, "datastore_version": version}});
    let nobody = "/ha/00000000-0000-4000-8000-000000000000";
    let (no_action, odd) = (format!("{nobody}/action"), "/ha/x/action".to_owned());
    let good = upgrade("mysql", "5.7");
    for (client, path, body, code) in [
        (&api, "/ha", with("/ha/datastore/type", json!("oracle")), 404),
        (&api, "/ha", with("/ha/datastore/version", json!("9.9")), 400),
        (&api, "/ha", with("/ha/datastore", json!({"type": "real", "version": "1"})), 501),
        (&api, "/ha", with("/ha/replicas/0/flavorRef", json!("3")), 400),
        (&api, "/ha", with("/ha/replicas/0/volume/size", json!(0)), 400),
        (&api, "/ha", with("/ha/replica_source/0/name", json!("")), 400),
        (&api, "/ha", with("/ha/name", json!("n".repeat(256))), 400),
        (&reader, "/ha", with("/ha/name", json!("n")), 403),
        (&api, &*action, json!({}), 400),
        (&api, &*action, upgrade("oracle", "1"), 400),
        (&api, &*action, upgrade("mysql", "9.9"), 400),
        (&api, &*action, upgrade("mysql", "5.6"), 400),
        (&api, &*action, upgrade("mysql", "8.0"), 400),
        (&api, &*action, upgrade("mysql", "5.6.50"), 400),
        (&api, &*action, upgrade("real", "1"), 400),
        (&api, &*action, json!({"restart": {}}), 501),
        (&reader, &*action, good.clone(), 403),
        (&other, &*action, good.clone(), 404),
        (&api, &*no_action, good.clone(), 404),
        (&api, &*odd, good.clone(), 404),
    ] {
        let (answered, told) = client.post(path, &body).await.unwrap();
        assert_eq!(answered, code, "POST {path} {body}: {told}");
    }
    for (flavor, zone, gb, code) in
        [("1", "az1", 2, 400), ("99", "az1", 2, 400), ("2", "az3", 2, 400), ("2", "az1", 5_000, 413)]
    {
        let mut body = body("mysql", "5.7");
        for side in ["replica_source", "replicas"] {
            body["ha"][side][0] = json!({"name": "n", "flavorRef": flavor, "volume": {"size": gb},
                "availability_zone": zone});
        }
        let (answered, told) = api.post("/ha", &body).await.unwrap();
        assert_eq!(answered, code, "{body}: {told}");
    }
    assert_eq!(other.read(&group).await.unwrap().0, 404);
    assert_eq!(other.read("/ha").await.unwrap().1, json!({"ha_instances": []}));
    assert_eq!(other.remove(&group).await.unwrap().0, 404);
    assert_eq!(reader.remove(&group).await.unwrap().0, 403);
    assert_eq!(admin.read(&group).await.unwrap().0, 200, "an admin sees every project's");
    assert_eq!(everything().await, before, "what is refused changes nothing");

    // Both members count.
    let quotas = format!("/mgmt/quotas/{}", api.project);
    admin.put(&quotas, &json!({"quotas": {"instances": 3}})).await.unwrap();
    let (full, told) = api.post("/ha", &body("mysql", "5.7")).await.unwrap();
    assert_eq!(full, 413, "{told}");
    admin.put(&quotas, &json!({"quotas": {"instances": 10}})).await.unwrap();

    // For later: nothing is claimed meanwhile, the members may change roles, and it begins when it is told to.
    let later = asking.upgrade(&pair, named("mysql", "5.7"), true, Timing::Window).await.unwrap().1;
    assert_eq!(show(&api, &pair.id).await.unwrap()["state"], "ACTIVE");
    assert_eq!(pair.act(&api, "mysql", "5.7").await.0, 422, "one is planned");
    asking.fail_over(&pair).await.unwrap();
    wait_for("the roles have changed", Duration::from_secs(60), async || {
        (pair.zones(&api).await == ["az2", "az1"] && show(&api, &pair.id).await?["state"] == "ACTIVE")
            .then_some(())
    })
    .await;
    let (begun, told) = api.post(&format!("/tasks/{later}/start"), &json!({})).await.unwrap();
    assert_eq!(begun, 202, "{told}");
    assert_eq!(show(&api, &pair.id).await.unwrap()["state"], "UPGRADING");
    wait_for("it ends", Duration::from_secs(120), async || {
        (api.task(&later.to_string()).await.ok()?["state"] == "succeeded").then_some(())
    })
    .await;
    assert_eq!(pair.zones(&api).await, ["az2", "az1"], "where they were when it began");
    is_whole(&roles, &pair, "5.7").await;
    pair.delete(&api).await;

    // One of a hundred; and one that is planned goes with its group.
    let pair = Pair::make(&api, "mysql", "5.6").await;
    let planned = asking.upgrade(&pair, named("mysql", "5.7"), true, Timing::Window).await.unwrap().1;
    let (cancelled, told) = api.post(&format!("/tasks/{planned}/cancel"), &json!({})).await.unwrap();
    assert_eq!(cancelled, 202, "{told}");
    simulate(&admin, &pair.primary, json!({"examine": {"fault": "hang"}})).await;
    let answers = join_all((0..100).map(|_| pair.act(&api, "mysql", "5.7"))).await;
    let accepted = answers.iter().filter(|(code, _)| *code == 202).count();
    let refused = answers.iter().filter(|(code, _)| *code == 422).count();
    assert_eq!((accepted, refused), (1, 99));
    let live = "tasks where kind = 'upgrade_rolling' and ended_at is null";
    assert_eq!(store::count(&db, live).await, 1);
    let task = pair.task(&api).await;
    let (cancelled, told) =
        api.post(&format!("/tasks/{}/cancel", task["id"].as_str().unwrap()), &json!({})).await.unwrap();
    assert_eq!(cancelled, 202, "{told}");
    assert_eq!(pair.ended(&api).await["state"], "cancelled");
    simulate(&admin, &pair.primary, json!({})).await;
    let seen = until(&api, &pair.id, "ACTIVE").await;
    assert!(seen.get("fault").is_none(), "{seen}");
    is_whole(&roles, &pair, "5.6").await;
    let planned = asking.upgrade(&pair, named("mysql", "5.7"), false, Timing::Window).await.unwrap().1;
    pair.delete(&api).await;
    assert_eq!(api.task(&planned.to_string()).await.unwrap()["state"], "cancelled");

    // Once under a key, whether by one or by many.
    let http = reqwest::Client::new();
    let keyed = |body: Value| {
        http.post(format!("{}/ha", api.base()))
            .header("x-auth-token", api.token())
            .header("idempotency-key", "one")
            .json(&body)
            .send()
    };
    let mut ids = std::collections::BTreeSet::new();
    for answer in join_all((0..20).map(|_| keyed(body("mysql", "5.6")))).await {
        let answer: Value = answer.unwrap().json().await.unwrap();
        ids.insert(answer["ha_instance"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(
        keyed(body("mysql", "5.7")).await.unwrap().status(),
        422,
        "another request under the same key"
    );
    Pair::made(&api, ids.first().unwrap()).await.delete(&api).await;
    nothing_is_left(&roles).await;
}
