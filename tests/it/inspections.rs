//! Inspections before a major upgrade: the call is answered before the engine is, whatever becomes of the worker that looks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::roles::{Role, Roles};
use crate::harness::rpc::Rpc;
use crate::harness::vendors::Vendors;
use crate::harness::{healthy, password, store, wait_for};
use crate::huawei::Http;

/// How long a test waits before it says that something never came; nothing is measured by it.
const LONG: Duration = Duration::from_secs(60);

/// Huawei's calls about one instance.
struct Inspected {
    http: Http,
    /// The instance's id.
    id: String,
    name: String,
}

impl Inspected {
    async fn of(roles: &Roles) -> Self {
        let api = roles.login("coffer").await;
        let id = api.create_of("postgresql", "looked-at", "12", "shop", "app", &password()).await.unwrap();
        healthy(&api, &id).await;
        let url = format!("{}/v3/{}", roles.base(), api.project);
        let http = Http { http: reqwest::Client::new(), url, token: api.token().to_owned() };
        let name = format!("{}in03", id.replace('-', ""));
        Self { http, id, name }
    }

    async fn post(&self, call: &str, body: &Value) -> (u16, Value) {
        let path = format!("/instances/{}/major-version/{call}", self.name);
        self.http.send("POST", &path, Some(&body.to_string())).await
    }

    /// Asks for an inspection; its id.
    async fn ask(&self, target: &str) -> String {
        let (status, asked) = self.post("inspection", &json!({"target_version": target})).await;
        assert_eq!(status, 200, "{asked}");
        asked["report_id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned()
    }

    async fn upgrade(&self, target: &str) -> (u16, Value) {
        let body = json!({"target_version": target, "is_change_private_ip": true,
            "statistics_collection_mode": "before_change_private_ip"});
        self.post("upgrade", &body).await
    }

    async fn reports(&self, more: &str) -> Vec<Value> {
        let path = format!("/instances/{}/major-version/inspection-histories?limit=100{more}", self.name);
        let (status, listed) = self.http.send("GET", &path, None).await;
        assert_eq!(status, 200, "{listed}");
        listed["inspection_reports"].as_array().unwrap().clone()
    }

    async fn report(&self, id: &str) -> Value {
        let all = self.reports("").await;
        all.into_iter().find(|report| report["id"] == id).unwrap_or_else(|| panic!("{id} is not listed"))
    }

    /// The inspection, once it runs no more.
    async fn ended(&self, id: &str) -> Value {
        wait_for(&format!("inspection {id} has ended"), LONG, async || {
            let report = self.report(id).await;
            (report["result"] != "running").then_some(report)
        })
        .await
    }

    /// The point at which a worker waits before it asks the engine, or when it has.
    fn point(&self, when: &str) -> String {
        format!("look.{when}.{}", self.id)
    }
}

async fn no_look_is_left(db: &tokio_postgres::Client) {
    wait_for("no look is left", LONG, async || (store::count(db, "looks").await == 0).then_some(())).await;
}

/// The call comes back while a worker is held before it asks the engine, and every reader tells that it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_is_answered_before_the_engine_is() {
    let shop = Vendors::simulated().await;
    let rpc = Rpc::of(&shop, "coffer");
    let http = Http::of(&shop).await;
    let id = shop.create("postgresql", "slow", "12").await;
    let it = Inspected { http, name: format!("{}in03", id.replace('-', "")), id };
    let points = &shop.house().points;
    let held = it.point("before");
    points.arm(&held);
    let name = format!("rm-{}", it.id.replace('-', ""));
    let ask = async |target: &str| {
        let params = [("DBInstanceId", &*name), ("TargetMajorVersion", target)];
        let called = rpc.ask("UpgradeDBInstanceMajorVersionPrecheck", &params);
        let (status, asked) =
            tokio::time::timeout(LONG, called).await.expect("the call waits for the look, which is held");
        assert_eq!(status, 200, "{asked}");
        assert_eq!((&asked["DBInstanceName"], &asked["TargetMajorVersion"]), (&json!(name), &json!(target)));
        asked["TaskId"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned()
    };
    let seen = async |task: &str| {
        let params = [("DBInstanceId", &*name), ("TaskId", task)];
        let (status, told) = rpc.ask("DescribeUpgradeMajorVersionPrecheckTask", &params).await;
        assert_eq!((status, &told["TotalRecordCount"]), (200, &json!(1)), "{told}");
        told["Items"][0].clone()
    };
    let first = ask("14").await;
    points.reached(&held).await;

    let told = seen(&first).await;
    assert_eq!(
        [&told["TaskId"], &told["Result"], &told["Detail"], &told["SourceMajorVersion"]],
        [&json!(first.parse::<i64>().unwrap()), &json!("Running"), &json!(""), &json!("12")],
        "{told}"
    );
    // The same call, in the same words or in Huawei's, is answered with the one that runs.
    assert_eq!(ask("14").await, first);
    let report = it.ask("14").await;
    let reports = it.reports("").await;
    assert_eq!((reports.len(), &reports[0]["id"]), (1, &json!(report)), "{reports:?}");
    assert_eq!((&reports[0]["result"], &reports[0]["detail"]), (&json!("running"), &json!("")));
    assert_eq!(it.reports("&is_available=true").await, Vec::<Value>::new());
    let path = format!("/instances/{}/major-version/status?action=check", it.name);
    assert_eq!(it.http.send("GET", &path, None).await.1["status"], "running");
    // It is no reason to begin.
    let ours = [("DBInstanceId", &*name), ("TargetMajorVersion", "14")];
    let (status, refused) = rpc.ask("UpgradeDBInstanceMajorVersion", &ours).await;
    assert_eq!((status, &refused["Code"]), (403, &json!("IncorrectDBInstanceState")), "{refused}");
    assert!(refused["Message"].as_str().unwrap().contains("running"), "{refused}");
    let (status, refused) = it.upgrade("14").await;
    assert_eq!((status, &refused["error_code"]), (400, &json!("DBS.200086")), "{refused}");
    // Another one waits for its turn.
    let second = ask("16").await;
    assert_ne!(second, first);
    assert_eq!(seen(&second).await["Result"], "Running");
    let db = shop.house().store().await;
    assert_eq!(store::count(&db, "looks").await, 1, "an instance is looked at once at a time");

    assert!(points.who(&held).is_some(), "the look was held all the while");
    assert_eq!(seen(&first).await["Result"], "Running");
    points.disarm(&held);
    for task in [&first, &second] {
        wait_for(&format!("check {task} has passed"), LONG, async || {
            let told = seen(task).await;
            assert!(["Running", "Success"].contains(&told["Result"].as_str().unwrap()), "{told}");
            (told["Result"] == "Success").then_some(())
        })
        .await;
    }
    no_look_is_left(&db).await;
    assert_ne!(ask("14").await, first, "one that has ended is made again");
    let (status, accepted) = it.upgrade("14").await;
    assert_eq!(status, 202, "{accepted}");
}

/// kill -9 of the worker before the engine is asked, and when it has answered and nothing is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_while_it_looks_is_followed_by_another() {
    let mut roles = Roles::start("simulated").await;
    let it = Inspected::of(&roles).await;
    let db = roles.db().await;
    for when in ["before", "after"] {
        let point = it.point(when);
        roles.arm(&point);
        let report = it.ask("14").await;
        roles.reached(&point).await;
        roles.kill(Role::Worker(0));
        roles.disarm(&point);
        assert_eq!(it.report(&report).await["result"], "running", "{when}");
        assert_eq!(it.ask("14").await, report, "{when}: it is the one that runs, also without a worker");
        roles.begin(Role::Worker(0)).await;
        assert_eq!(it.ended(&report).await["result"], "success", "{when}");
        no_look_is_left(&db).await;
    }
    // When the answer is recorded, it stays, whatever becomes of the worker.
    let reports = it.reports("&is_available=true").await;
    roles.kill(Role::Worker(0));
    assert_eq!(it.reports("&is_available=true").await, reports);
    assert_eq!(reports.len(), 2);
}

/// Of two workers of a host one looks; the other looks again when that one has died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_workers_looks_and_the_other_takes_over() {
    let mut roles = Roles::start("simulated").await;
    let it = Inspected::of(&roles).await;
    let db = roles.db().await;
    let point = it.point("before");
    roles.arm(&point);
    let report = it.ask("14").await;
    let first = roles.reached(&point).await;
    roles.begin(Role::Worker(1)).await;
    // It finds the look taken, for longer than a worker keeps one that it does not renew.
    let taken: std::time::SystemTime =
        db.query_one("select taken_until from looks", &[]).await.unwrap().get(0);
    let later = taken + Duration::from_secs(12);
    let until = "select count(*) from looks where taken_until > $1";
    wait_for("the look is renewed", LONG, async || {
        (db.query_one(until, &[&later]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
    })
    .await;
    assert_eq!(roles.reached(&point).await, first, "the other one looks, too");
    assert_eq!(it.report(&report).await["result"], "running");
    roles.kill(Role::Worker(0));
    wait_for("the other one looks", LONG, async || (roles.reached(&point).await != first).then_some(()))
        .await;
    roles.disarm(&point);
    assert_eq!(it.ended(&report).await["result"], "success");
    no_look_is_left(&db).await;
}

/// Where no worker comes it fails, and a late answer does not change that; it can be made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_nobody_answers_fails_and_can_be_made_again() {
    let roles = Roles::start("simulated").await;
    let it = Inspected::of(&roles).await;
    let db = roles.db().await;
    let point = it.point("before");
    roles.arm(&point);
    let first = it.ask("14").await;
    roles.reached(&point).await;
    let overdue = "update inspections set answer_by = now() where question_id is not null";
    assert_eq!(db.execute(overdue, &[]).await.unwrap(), 1);
    let told = it.report(&first).await;
    assert_eq!(told["result"], "failed");
    assert!(told["detail"].as_str().unwrap().contains("did not answer in time"), "{told}");
    let (status, refused) = it.upgrade("14").await;
    assert_eq!((status, &refused["error_code"]), (400, &json!("DBS.200086")), "{refused}");
    assert!(!refused["error_msg"].as_str().unwrap().contains("running"), "{refused}");
    let second = it.ask("14").await;
    assert_ne!(second, first);
    // The worker answers the first one now.
    roles.disarm(&point);
    assert_eq!(it.ended(&second).await["result"], "success");
    assert_eq!(it.report(&first).await["result"], "failed");
    no_look_is_left(&db).await;
}

/// A project cannot pile them up: of many calls at once for the same, one asks; and in all so many run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_has_so_many_at_a_time() {
    let mut roles = Roles::start("simulated").await;
    let mut some = Vec::new();
    for _ in 0..4 {
        some.push(Inspected::of(&roles).await);
    }
    roles.kill(Role::Worker(0));
    let asked = futures::future::join_all((0..20).map(|_| some[0].ask("14"))).await;
    assert!(asked.iter().all(|report| *report == asked[0]), "{asked:?}");
    let db = roles.db().await;
    assert_eq!(store::count(&db, "questions").await, 1);
    let mut running = vec![asked[0].clone()];
    let mut refused = Vec::new();
    for it in &some {
        for target in ["14", "15", "16"] {
            let (status, told) = it.post("inspection", &json!({"target_version": target})).await;
            match told["report_id"].as_str() {
                Some(report) if running.contains(&report.to_owned()) => {}
                Some(report) => running.push(report.to_owned()),
                None => refused.push((status, told)),
            }
        }
    }
    assert_eq!((running.len(), refused.len()), (10, 2), "{refused:?}");
    for (status, told) in refused {
        assert_eq!((status, &told["error_code"]), (409, &json!("DBS.200316")), "{told}");
    }
    assert_eq!(some[0].ask("14").await, asked[0], "the one that runs is given all the same");
    roles.begin(Role::Worker(0)).await;
    for it in &some {
        for report in it.reports("").await {
            assert_eq!(it.ended(report["id"].as_str().unwrap()).await["result"], "success");
        }
    }
    some[3].ask("16").await;
}

/// An upgrade that is accepted meanwhile waits until nobody looks, and what was looked for is not told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_waits_until_the_look_is_over() {
    let dev = House::start_with(&["--runtime", "simulated"]).await;
    let shop = Vendors::of(dev).await;
    let id = shop.create("postgresql", "both", "12").await;
    let it = Inspected { http: Http::of(&shop).await, name: format!("{}in03", id.replace('-', "")), id };
    let points = &shop.house().points;
    let held = it.point("before");
    points.arm(&held);
    let report = it.ask("14").await;
    points.reached(&held).await;
    let body = json!({"upgrade": {"datastore_version": "14"}});
    let (status, asked) = shop.api.post(&format!("/instances/{}/upgrades", it.id), &body).await.unwrap();
    assert_eq!(status, 202, "{asked}");
    let task = asked["upgrade"]["id"].as_str().unwrap();
    let step = async || {
        let seen = shop.api.task(task).await.unwrap();
        let steps = seen["steps"].as_array().unwrap().clone();
        steps.into_iter().find(|step| step["step"] == "examine")
    };
    let examine = wait_for("the upgrade examines", LONG, step).await;
    assert_eq!(examine["ended"], Value::Null, "{examine}");
    let db = shop.house().store().await;
    assert_eq!(store::count(&db, "looks").await, 1);
    assert!(points.who(&held).is_some());
    points.disarm(&held);
    let told = it.ended(&report).await;
    assert_eq!(told["result"], "failed", "{told}");
    wait_for("the upgrade has succeeded", LONG, async || {
        let seen = shop.api.task(task).await.unwrap();
        assert!(["running", "succeeded"].contains(&seen["state"].as_str().unwrap()), "{seen}");
        (seen["state"] == "succeeded").then_some(())
    })
    .await;
}
