//! The documented matrix on simulated servers: every pair of versions, each step made to fail, and one acceptance of
//! two hundred.

use std::collections::BTreeSet;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::task::{Phase, Step, TaskKind};
use coffer::simulated::VERSIONS;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::roles::Roles;
use crate::harness::{ask_for_detach, delete, healthy, status, store, wait_for};

/// From and to, each a datastore and a version.
type Edge = ((&'static str, &'static str), (&'static str, &'static str));

/// The six edges of the vendor's pages.
const DOCUMENTED: [Edge; 6] = [
    (("mysql", "5.1"), ("mysql", "5.7")),
    (("mysql", "5.6"), ("mysql", "5.7")),
    (("mysql", "5.6"), ("mariadb", "10.4enc")),
    (("mariadb", "10"), ("mariadb", "10.4")),
    (("mariadb", "10.1"), ("mariadb", "10.4")),
    (("mariadb", "10.4"), ("mariadb", "10.4enc")),
];

async fn create(api: &Client, datastore: &str, version: &str) -> String {
    let body = json!({"instance": {"name": format!("{datastore}-{version}"), "flavorRef": "2", "volume": {"size": 5},
        "datastore": {"type": datastore, "version": version}, "databases": [{"name": "shop"}]}});
    let (status, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer["instance"]["id"].as_str().unwrap().to_owned()
}

async fn ask(api: &Client, id: &str, datastore: &str, version: &str) -> (u16, Value) {
    let body = json!({"upgrade": {"datastore_type": datastore, "datastore_version": version}});
    api.post(&format!("/instances/{id}/action"), &body).await.unwrap()
}

/// How much there is of everything that an acceptance makes, and how often instances were changed.
async fn everything(db: &tokio_postgres::Client) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["tasks", "task_instances", "instances", "endpoints", "generations", "events", "relays"] {
        counts.push(store::count(db, table).await);
    }
    let sql = "select coalesce(sum(revision), 0)::bigint from instances";
    counts.push(db.query_one(sql, &[]).await.unwrap().get(0));
    counts
}

/// Eleven versions, each asked for each of the eleven: six are accepted, and what is refused changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_edges_are_accepted_and_every_other_pair_is_refused() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    let mut accepted = BTreeSet::new();
    let mut refused = 0;
    for (datastore, version, ..) in VERSIONS {
        let id = create(&api, datastore, version).await;
        healthy(&api, &id).await;
        let rows = everything(&db).await;
        let mut open = Vec::new();
        for (to_store, to_version, ..) in VERSIONS {
            let edge = ((*datastore, *version), (*to_store, *to_version));
            if DOCUMENTED.contains(&edge) {
                open.push(edge);
                continue;
            }
            let (status, answer) = ask(&api, &id, to_store, to_version).await;
            let (code, fault) =
                if *datastore == "percona" { (501, "notImplemented") } else { (400, "badRequest") };
            assert_eq!(status, code, "{edge:?}: {answer}");
            assert_eq!(answer[fault]["code"], code, "{edge:?}: {answer}");
            refused += 1;
        }
        assert_eq!(everything(&db).await, rows, "a refused request changes nothing");
        for ((_, _), (to_store, to_version)) in open {
            let (status_code, answer) = ask(&api, &id, to_store, to_version).await;
            assert_eq!(status_code, 202, "{datastore} {version} -> {to_store} {to_version}: {answer}");
            let new = answer["instance"]["id"].as_str().unwrap().to_owned();
            assert_eq!(answer["instance"]["datastore"], json!({"type": to_store, "version": to_version}));
            status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
            ask_for_detach(&api, &new).await;
            healthy(&api, &new).await;
            accepted.insert(((*datastore, *version), (to_store, to_version)));
            healthy(&api, &id).await;
            delete(&api, &[&new]).await;
        }
        delete(&api, &[&id]).await;
    }
    assert_eq!(accepted, DOCUMENTED.into_iter().collect());
    assert!(refused >= 25, "{refused} refusals");
    eprintln!("6 edges accepted, {refused} pairs refused");
}

async fn let_fail(admin: &Client, id: &str, step: &str) {
    let (status, answer) = admin
        .put(&format!("/mgmt/instances/{id}/simulation"), &json!({"steps": {step: {"fault": "fail"}}}))
        .await
        .unwrap();
    assert!((200..300).contains(&status), "{answer}");
}

/// Each step of an upgrade, made to fail: before the one-way point everything is as it was, with the reason told; after
/// it nothing is undone, and an operator is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_that_fails_ends_as_it_shall() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    for step in TaskKind::ReplicaUpgrade.steps(Phase::Forward) {
        let id = create(&api, "mysql", "5.6").await;
        healthy(&api, &id).await;
        let_fail(&admin, &id, step.as_str()).await;
        let (code, answer) = ask(&api, &id, "mysql", "5.7").await;
        assert_eq!(code, 202, "{answer}");
        let new = answer["instance"]["id"].as_str().unwrap().to_owned();
        status(&api, &new, "ERROR", Duration::from_secs(60)).await;
        healthy(&api, &id).await;
        let (old, gone) = (api.show(&id).await.unwrap(), api.show(&new).await.unwrap());
        assert_eq!(old["datastore"]["version"], "5.6", "{step:?}");
        assert!(old.get("replicas").is_none() && gone.get("replica_of").is_none(), "{step:?}: {old} {gone}");
        assert!(gone["fault"]["message"].as_str().unwrap().contains(step.as_str()), "{step:?}: {gone}");
        let (_, tasks) = api.read(&format!("/instances/{id}/upgrades")).await.unwrap();
        assert_eq!(tasks["upgrades"][0]["state"], "rolled_back", "{step:?}: {tasks}");
        delete(&api, &[&new, &id]).await;
    }
    for (line, event) in [(Phase::Detach, "detach"), (Phase::Abandon, "abandon")] {
        for step in TaskKind::ReplicaUpgrade.steps(line) {
            stuck_at(&api, &admin, &roles, step, event).await;
        }
    }
}

/// Past the one-way point a step that cannot be done stops the task; both instances and their servers are kept.
async fn stuck_at(api: &Client, admin: &Client, roles: &Roles, step: Step, event: &str) {
    let id = create(api, "mysql", "5.6").await;
    healthy(api, &id).await;
    let (code, answer) = ask(api, &id, "mysql", "5.7").await;
    assert_eq!(code, 202, "{answer}");
    let new = answer["instance"]["id"].as_str().unwrap().to_owned();
    status(api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    let_fail(admin, &id, step.as_str()).await;
    if event == "detach" {
        ask_for_detach(api, &new).await;
    } else {
        api.delete(&new).await.unwrap();
    }
    let task = wait_for(&format!("the task is stuck at {step:?}"), Duration::from_secs(60), async || {
        let (_, tasks) = api.read(&format!("/instances/{id}/upgrades")).await.ok()?;
        (tasks["upgrades"][0]["state"] == "needs_operator").then(|| tasks["upgrades"][0].clone())
    })
    .await;
    assert!(task["reason"].as_str().unwrap().contains("operator"), "{task}");
    let db = roles.db().await;
    let kept = store::generation(&db, &id).await.unwrap();
    let sql = "select count(*) from simulated_servers where generation_id = $1 and state = 'running'";
    let running: i64 = db.query_one(sql, &[&kept.0]).await.unwrap().get(0);
    assert_eq!(running, 1, "{step:?}: the old server serves");
    assert_eq!(store::count(&db, "task_instances where live").await, 2, "{step:?}: both are claimed");
    if step != Step::DropServer && event == "detach" {
        let kept = store::generation(&db, &new).await.unwrap();
        let running: i64 = db.query_one(sql, &[&kept.0]).await.unwrap().get(0);
        assert_eq!(running, 1, "{step:?}: the new server is kept");
    }
    let (code, answer) = ask(api, &id, "mysql", "5.7").await;
    assert_eq!(code, 422, "{step:?}: claims are kept: {answer}");
    // The way out: what stood in the way is taken away, and an operator lets the task go on.
    let (code, answer) =
        admin.put(&format!("/mgmt/instances/{id}/simulation"), &json!({"steps": {}})).await.unwrap();
    assert!((200..300).contains(&code), "{answer}");
    let operate = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_coffer"));
        let done = command.args(arguments).env("DATABASE_URL", roles.url()).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let stuck = task["id"].as_str().unwrap();
    let (_, listed) = operate(&["admin", "task", "list"]);
    assert!(listed.contains(stuck) && listed.contains(step.as_str()), "{listed}");
    let (_, listed) = operate(&["admin", "task", "list", "--json"]);
    let lines: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["id"] == stuck).unwrap();
    assert_eq!(line["state"], "needs_operator");
    assert!(line["cause"].as_str().unwrap().contains(step.as_str()), "{line}");
    let (_, shown) = operate(&["admin", "task", "show", stuck, "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["id"], &shown["reason"]), (&line["id"], &line["reason"]), "{shown}");
    assert!(!shown["steps"].as_array().unwrap().is_empty() && shown["plan"].is_object(), "{shown}");
    assert!(shown["servers"].as_array().unwrap().iter().all(|server| server["role"].is_string()), "{shown}");
    let (done, said) = operate(&["admin", "task", "retry", stuck]);
    assert!(done, "{said}");
    wait_for("the task ends", Duration::from_secs(60), async || {
        let (_, tasks) = api.read(&format!("/instances/{id}/upgrades")).await.ok()?;
        let ended = if event == "detach" { "succeeded" } else { "cancelled" };
        (tasks["upgrades"][0]["state"] == ended).then_some(())
    })
    .await;
    healthy(api, &id).await;
    let (done, said) = operate(&["admin", "task", "retry", stuck]);
    assert!(!done && said.contains("not needs_operator"), "{said}");
}

/// 200 identical requests at once at a pool of 16: one task, 199 answers of 422.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_acceptance_of_two_hundred() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let id = create(&api, "mysql", "5.6").await;
    healthy(&api, &id).await;
    let answers = join_all((0..200).map(|_| ask(&api, &id, "mysql", "5.7"))).await;
    let mut codes: Vec<u16> = answers.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    let mut expected = vec![422; 199];
    expected.insert(0, 202);
    assert_eq!(codes, expected, "{:?}", answers.iter().find(|(code, _)| *code != 202 && *code != 422));
    let db = roles.db().await;
    assert_eq!(store::count(&db, "tasks where kind = 'upgrade'").await, 1);
    assert_eq!(store::count(&db, "instances where replica_of is not null").await, 1);
}
