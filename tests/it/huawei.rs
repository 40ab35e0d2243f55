//! Huawei RDS's calls, made by the vendor's own client, and by hand where that would not send them.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::builds::Builds;
use crate::harness::sdks::Huawei;
use crate::harness::vendors::Vendors;
use crate::harness::{cases, delete, healthy, password, wait_for};

fn of(id: &str, suffix: &str) -> Value {
    json!({"instance_id": name(id, suffix)})
}

fn name(id: &str, suffix: &str) -> String {
    format!("{}{suffix}", id.replace('-', ""))
}

/// The job of a call, once it has ended, which must be as it should.
async fn completes(sdk: &mut Huawei, job: &Value) -> Value {
    wait_for(&format!("job {job} is completed"), Duration::from_secs(240), async || {
        let seen = sdk.call("list_job_info", &json!({"id": job}), &Value::Null);
        let job = &seen["body"]["job"];
        assert_ne!(job["status"], "Failed", "{seen}");
        if job["status"] == "Running" {
            assert!(job["process"].as_str().unwrap().ends_with('%'), "{seen}");
            return None;
        }
        assert_eq!((&job["status"], &job["process"]), (&json!("Completed"), &json!("")), "{seen}");
        Some(job.clone())
    })
    .await
}

/// The last inspection of an instance, once it runs no more.
async fn inspected(sdk: &mut Huawei, it: &Value) -> Value {
    let mut check = it.clone();
    check["action"] = json!("check");
    wait_for("the inspection has ended", Duration::from_secs(120), async || {
        let seen = sdk.call("show_upgrade_db_major_version_status", &check, &Value::Null);
        assert!(seen["body"]["status"].is_string(), "{seen}");
        (seen["body"]["status"] != "running").then(|| seen["body"].clone())
    })
    .await
}

fn shown(sdk: &mut Huawei, name: &str) -> Value {
    let seen = sdk.call("list_instances", &json!({"id": name}), &Value::Null);
    assert_eq!(seen["body"]["total_count"], 1, "{seen}");
    seen["body"]["instances"][0].clone()
}

/// A delayed upgrade, and the same task in every dialect; then the older call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minor_upgrade_waits_for_its_window_and_is_one_task_everywhere() {
    let shop = Vendors::simulated().await;
    let (Some(mut sdk), Some(mut alibaba)) = (shop.huawei("coffer"), shop.alibaba("coffer")) else { return };
    let older = shop.older("mysql", "5.7").await;
    let id = shop.create("mysql", "minor", &older).await;
    let it = of(&id, "in01");
    let name = name(&id, "in01");

    let now = chrono::Utc::now();
    let clock = |hours| (now + chrono::TimeDelta::hours(hours)).format("%H:00").to_string();
    let (from, to) = (clock(3), clock(5));
    let set = sdk.call("change_ops_window", &it, &json!({"start_time": from, "end_time": to}));
    assert_eq!(set["status"], 200, "{set}");
    for (on, shown) in [(true, true), (false, false)] {
        let set = sdk.call("set_auto_upgrade_policy", &it, &json!({"switch_option": on}));
        assert_eq!(set["status"], 200, "{set}");
        let seen = sdk.call("show_auto_upgrade_policy", &it, &Value::Null);
        assert_eq!(seen["body"]["switch_option"], shown, "{seen}");
    }
    let before = shown(&mut sdk, &name);
    assert_eq!(
        [&before["status"], &before["type"], &before["maintenance_window"], &before["datastore"]["version"]],
        [&json!("ACTIVE"), &json!("Single"), &json!(format!("{from}-{to}")), &json!("5.7")],
        "{before}"
    );
    assert_eq!(before["datastore"]["complete_version"], json!(older), "{before}");
    assert_eq!(before["nodes"][0]["role"], "master");
    for (params, count) in [
        (json!({"name": "minor", "type": "Single", "datastore_type": "mysql"}), 1),
        (json!({"name": "*ino"}), 1),
        (json!({"name": "ino"}), 0),
        (json!({"datastore_type": "PostgreSQL"}), 0),
        (json!({"type": "Ha"}), 0),
        (json!({"offset": 1, "limit": 1}), 1),
    ] {
        let seen = sdk.call("list_instances", &params, &Value::Null);
        assert_eq!(seen["body"]["total_count"], count, "{params}: {seen}");
    }

    let asked = sdk.call("upgrade_db_version_new", &it, &json!({"is_delayed": true}));
    assert_eq!(asked["status"], 202, "{asked}");
    let job = asked["body"]["job_id"].clone();
    let seen = sdk.call("list_job_info", &json!({"id": job}), &Value::Null);
    let seen = &seen["body"]["job"];
    assert_eq!(
        [&seen["name"], &seen["status"], &seen["process"], &seen["instance"]["id"], &seen["ended"]],
        [&json!("UPGRADE_DB_VERSION"), &json!("Running"), &json!("0%"), &json!(name), &json!("")],
        "{seen}"
    );
    assert_eq!(shown(&mut sdk, &name)["status"], "ACTIVE");
    let listed = sdk.call("list_schedule_tasks", &json!({"instance_id": name}), &Value::Null);
    let waits = &listed["body"]["schedule_tasks"][0];
    assert_eq!((&waits["id"], &waits["status"]), (&job, &json!("Pending")), "{listed}");
    assert!(waits["start_time"].as_str().unwrap().contains(&format!("T{from}:00+0000")), "{waits}");
    let again = sdk.call("upgrade_db_version_new", &it, &json!({}));
    assert_eq!((&again["status"], &again["code"]), (&json!(409), &json!("DBS.200019")), "{again}");
    assert!(again["request"].is_string(), "{again}");

    // The same task, in the other dialects' words.
    let ours = shop.api.task(job.as_str().unwrap()).await.unwrap();
    assert_eq!((&ours["state"], &ours["when"]), (&json!("scheduled"), &json!("window")), "{ours}");
    let vendors = json!({"DBInstanceId": format!("rm-{}", id.replace('-', ""))});
    let theirs = alibaba.call("tea", "DescribeTasks", &vendors);
    assert_eq!(theirs["body"]["Items"]["TaskProgressInfo"][0]["Status"], "Waiting", "{theirs}");
    assert_eq!(shop.api.show(&id).await.unwrap()["status"], "ACTIVE");
    shop.api.post(&format!("/tasks/{}/cancel", job.as_str().unwrap()), &json!({})).await.unwrap();
    let listed = sdk.call("list_schedule_tasks", &json!({"status": "Canceled"}), &Value::Null);
    assert_eq!(listed["body"]["schedule_tasks"][0]["id"], job, "{listed}");
    let seen = sdk.call("list_job_info", &json!({"id": job}), &Value::Null);
    assert_eq!(seen["body"]["job"]["status"], "Failed", "{seen}");
    assert_eq!(
        alibaba.call("tea", "DescribeTasks", &vendors)["body"]["Items"]["TaskProgressInfo"][0]["Status"],
        "Canceled"
    );

    let asked = sdk.call("upgrade_db_version", &it, &json!({"delay": false}));
    assert_eq!(asked["status"], 202, "{asked}");
    completes(&mut sdk, &asked["body"]["job_id"]).await;
    let after = shown(&mut sdk, &name);
    assert_ne!(after["datastore"]["complete_version"], before["datastore"]["complete_version"]);
    assert_eq!(shop.api.show(&id).await.unwrap()["datastore"]["version"], "5.7");
    let theirs = alibaba.call("tea-v2", "DescribeTasks", &vendors);
    assert_eq!(theirs["body"]["Items"]["TaskProgressInfo"][0]["Status"], "Succeed", "{theirs}");
    let none = sdk.call("upgrade_db_version_new", &it, &Value::Null);
    assert_eq!((&none["status"], &none["code"]), (&json!(400), &json!("DBS.280238")), "{none}");
    let listed =
        sdk.call("list_tasks", &json!({"status": "Completed", "name": "UPGRADE_DB_VERSION"}), &Value::Null);
    assert_eq!(
        (&listed["body"]["total_count"], &listed["body"]["tasks"][0]["id"]),
        (&json!(1), &asked["body"]["job_id"]),
        "{listed}"
    );
    assert_eq!(listed["body"]["actions"], json!(["UPGRADE_DB_VERSION"]));
}

/// Major upgrades of simulated PostgreSQL and MySQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_major_upgrade_needs_an_inspection_that_passed() {
    let shop = Vendors::simulated().await;
    let Some(mut sdk) = shop.huawei("coffer") else { return };
    let id = shop.create("postgresql", "major", "12").await;
    let it = of(&id, "in03");
    let all = sdk.call("show_available_version", &it, &Value::Null);
    let versions = all["body"]["available_versions"].as_array().unwrap_or_else(|| panic!("{all}")).clone();
    assert!(versions.contains(&json!("14")) && !versions.contains(&json!("12")), "{all}");
    let told = |answer: &Value| {
        (answer["status"].as_u64().unwrap(), answer["code"].as_str().unwrap_or("").to_owned())
    };
    let is = |status: u64, code: &str| (status, code.to_owned());
    let none = sdk.call(
        "show_upgrade_db_major_version_status",
        &json!({"instance_id": name(&id, "in03"), "action": "check"}),
        &Value::Null,
    );
    assert_eq!(told(&none), is(400, "DBS.200543"), "{none}");
    let upgrade = json!({
        "target_version": "14", "is_change_private_ip": true, "statistics_collection_mode": "after_change_private_ip",
    });
    let early = sdk.call("upgrade_db_major_version", &it, &upgrade);
    assert_eq!(told(&early), is(400, "DBS.200086"), "{early}");
    for target in ["12", "11", "99"] {
        let wrong = sdk.call("upgrade_db_major_version_pre_check", &it, &json!({"target_version": target}));
        assert_eq!(told(&wrong), is(400, "DBS.200041"), "{target}: {wrong}");
    }
    let delayed = sdk.call("upgrade_db_version_new", &it, &json!({"is_delayed": true}));
    assert_eq!(told(&delayed), is(400, "DBS.280001"), "{delayed}");
    let other = sdk.call("check_instance_for_upgrade", &it, &json!({}));
    assert_eq!(told(&other), is(400, "DBS.280238"), "{other}");

    let made = sdk.call("upgrade_db_major_version_pre_check", &it, &json!({"target_version": "14"}));
    let report = made["body"]["report_id"].clone();
    assert!(report.is_string(), "{made}");
    let seen = inspected(&mut sdk, &it).await;
    assert_eq!((&seen["status"], &seen["target_version"]), (&json!("success"), &json!("14")), "{seen}");
    let mut asked_for = it.clone();
    asked_for["is_available"] = json!(true);
    asked_for["target_version"] = json!("14");
    let listed = sdk.call("list_inspection_histories", &asked_for, &Value::Null);
    let first = &listed["body"]["inspection_reports"][0];
    assert_eq!(
        (&listed["body"]["total_count"], &first["id"], &first["result"]),
        (&json!(1), &report, &json!("success")),
        "{listed}"
    );
    let higher = sdk.call("upgrade_db_major_version", &it, &{
        let mut higher = upgrade.clone();
        higher["target_version"] = json!("15");
        higher
    });
    assert_eq!(told(&higher), is(400, "DBS.200086"), "an inspection is of one version: {higher}");
    let asked = sdk.call("upgrade_db_major_version", &it, &upgrade);
    assert_eq!(told(&asked), is(202, ""), "{asked}");
    completes(&mut sdk, &asked["body"]["job_id"]).await;
    assert_eq!(shown(&mut sdk, &name(&id, "in03"))["datastore"]["version"], "14");
    let mut action = it.clone();
    action["action"] = json!("upgrade");
    let state = sdk.call("show_upgrade_db_major_version_status", &action, &Value::Null);
    assert_eq!(
        (&state["body"]["status"], &state["body"]["target_version"]),
        (&json!("success"), &json!("14")),
        "{state}"
    );
    let past = sdk.call("list_upgrade_histories", &it, &Value::Null);
    let past = &past["body"]["upgrade_reports"][0];
    assert_eq!(
        [&past["src_database_version"], &past["dst_database_version"], &past["result"]],
        [&json!("12"), &json!("14"), &json!("success")],
        "{past}"
    );
    assert_eq!(past["statistics_collection_mode"], "after_change_private_ip");

    let old = shop.older("postgresql", "11").await;
    let id = shop.create("postgresql", "ancient", &old).await;
    let refused = sdk.call("upgrade_db_version_new", &of(&id, "in03"), &Value::Null);
    let is_too_old = coffer::domain::build_upgrades::order(&old, "11.2").is_lt();
    assert_eq!(
        told(&refused),
        if is_too_old { is(400, "DBS.280238") } else { is(202, "") },
        "{old}: {refused}"
    );

    let id = shop.create("mysql", "seven", "5.7").await;
    let it = of(&id, "in01");
    let checked = sdk.call("check_instance_for_upgrade", &it, &json!({}));
    assert!(checked["body"]["workflow_id"].is_string(), "{checked}");
    let result = wait_for("the check has ended", Duration::from_secs(60), async || {
        let result = sdk.call("show_precheck_result", &it, &Value::Null);
        assert!(result["body"]["status"].is_string(), "{result}");
        (result["body"]["status"] != "running").then_some(result)
    })
    .await;
    assert_eq!(
        (&result["body"]["result_code"], &result["body"]["status"]),
        (&json!(0), &json!("success")),
        "{result}"
    );
    let asked = sdk.call("upgrade_large_version", &it, &json!({"delay": false}));
    assert_eq!(told(&asked), is(202, ""), "{asked}");
    assert!(asked["body"]["x_request_id"].is_string(), "{asked}");
    completes(&mut sdk, &asked["body"]["job_id"]).await;
    assert_eq!(shown(&mut sdk, &name(&id, "in01"))["datastore"]["version"], "8.0");
}

/// Fifty at once: one is accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so_and_of_many_one_is_accepted() {
    let shop = Vendors::simulated().await;
    let older = shop.older("mysql", "5.7").await;
    let id = shop.create("mysql", "guarded", &older).await;
    let it = of(&id, "in01");
    if let (Some(mut member), Some(mut reader), Some(mut other)) =
        (shop.huawei("coffer"), shop.huawei("coffer-reader"), shop.huawei("coffer-other"))
    {
        let text = |cloud: &str, name: &str| shop.keys[cloud][name].as_str().unwrap().to_owned();
        let (key, secret, project) =
            (text("coffer", "access_key"), text("coffer", "secret_key"), text("coffer", "project_id"));
        let start = |key: &str, secret: &str, project: &str| {
            Huawei::start("huawei::sdk", &shop.url, (key, secret, project)).unwrap()
        };
        let mut forger = start(&key, "wrong", &project);
        let mut nobody = start("CFRNOBODY", &secret, &project);
        let mut stray = start(&key, &secret, &text("coffer-other", "project_id"));
        let told = |sdk: &mut Huawei| {
            let told = sdk.call("upgrade_db_version_new", &it, &json!({}));
            (told["status"].as_u64().unwrap(), told["code"].as_str().unwrap().to_owned())
        };
        for (who, sdk, status, code) in [
            ("forger", &mut forger, 401, "APIGW.0301"),
            ("nobody", &mut nobody, 401, "APIGW.0301"),
            ("stray", &mut stray, 403, "DBS.200010"),
            ("reader", &mut reader, 403, "DBS.200010"),
            ("other", &mut other, 404, "DBS.200002"),
        ] {
            assert_eq!(told(sdk), (status, code.to_owned()), "{who}");
        }
        let mine = other.call("list_instances", &json!({}), &Value::Null);
        assert_eq!(mine["body"]["total_count"], 0, "{mine}");
        // What is left out of a path is sent as a name in braces.
        let forgotten = member.call("upgrade_db_version_new", &json!({}), &json!({}));
        assert_eq!(
            (&forgotten["status"], &forgotten["code"]),
            (&json!(400), &json!("DBS.280404")),
            "{forgotten}"
        );
    }
    let http = Http::of(&shop).await;
    let path = format!("/instances/{}/db-upgrade", name(&id, "in01"));
    let answers = futures::future::join_all((0..50).map(|_| http.send("POST", &path, Some("{}")))).await;
    let accepted = answers.iter().filter(|(status, _)| *status == 202).count();
    let refused =
        answers.iter().filter(|(status, body)| *status == 409 && body["error_code"] == "DBS.200019").count();
    assert_eq!((accepted, refused), (1, 49), "{answers:?}");
}

/// Requests with a token, and without the vendor's client.
pub struct Http {
    pub http: reqwest::Client,
    pub url: String,
    pub token: String,
}

impl Http {
    pub async fn of(shop: &Vendors) -> Self {
        let project = shop.keys["coffer"]["project_id"].as_str().unwrap();
        let http = reqwest::Client::new();
        Self { http, url: format!("{}/v3/{project}", shop.url), token: shop.api.token().to_owned() }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        request.header("x-auth-token", &self.token)
    }

    pub async fn send(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        answer(request).await
    }
}

/// The status and the body, which has the dialect's form whatever it says.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let sent = request.send().await.unwrap();
    let status = sent.status().as_u16();
    assert!(sent.headers().contains_key("x-request-id"));
    let body: Value = sent.json().await.unwrap();
    if status >= 400 {
        assert!(body["error_code"].is_string() && body["error_msg"].is_string(), "{status}: {body}");
    }
    (status, body)
}

/// Whatever comes gets the dialect's own error, and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ever_a_fault_of_ours() {
    let shop = Vendors::simulated().await;
    let http = Http::of(&shop).await;
    let older = shop.older("mysql", "5.7").await;
    let (mysql, postgresql) =
        (shop.create("mysql", "a", &older).await, shop.create("postgresql", "b", "12").await);
    let (it, pg) = (name(&mysql, "in01"), name(&postgresql, "in03"));
    let (none, odd) = (name(&uuid::Uuid::new_v4().to_string(), "in01"), name(&mysql, "in03"));
    let deep = "[".repeat(10_000);
    let long = format!("{{\"is_delayed\": \"{}\"}}", "x".repeat(300_000));
    for (method, path, body, status, code) in [
        ("GET", "/nothing".to_owned(), None, 404, "APIGW.0101"),
        ("GET", "/instances/".to_owned(), None, 404, "APIGW.0101"),
        ("DELETE", format!("/instances/{it}"), None, 404, "APIGW.0101"),
        ("GET", format!("/instances/{it}/db-upgrade"), None, 404, "APIGW.0101"),
        ("GET", "/instances/%ff/db-auto-upgrade".to_owned(), None, 404, "APIGW.0101"),
        ("POST", "/instances/%7Binstance_id%7D/db-upgrade".to_owned(), None, 400, "DBS.280404"),
        ("POST", "/instances/x/db-upgrade".to_owned(), None, 400, "DBS.280404"),
        ("POST", format!("/instances/{none}/db-upgrade"), None, 404, "DBS.200002"),
        ("POST", format!("/instances/{odd}/db-upgrade"), None, 404, "DBS.200002"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some("[]"), 400, "DBS.280001"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some("{"), 400, "DBS.280001"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some("\u{feff}{}"), 400, "DBS.280001"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some(&*deep), 400, "DBS.280001"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some(&*long), 400, "DBS.280001"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some(r#"{"is_delayed": "yes"}"#), 400, "DBS.280001"),
        ("POST", format!("/instances/{it}/db-upgrade"), Some(r#"{"is_delayed": 1}"#), 400, "DBS.280001"),
        (
            "POST",
            format!("/instances/{it}/db-upgrade"),
            Some(r#"{"second_switch": "no"}"#),
            400,
            "DBS.280001",
        ),
        ("POST", format!("/instances/{it}/action/db-upgrade"), Some(r#"{"delay": []}"#), 400, "DBS.280001"),
        ("POST", format!("/instances/{pg}/db-upgrade"), Some(r#"{"is_delayed": true}"#), 400, "DBS.280001"),
        ("POST", format!("/instances/{pg}/major-upgrade"), Some("{}"), 400, "DBS.280238"),
        (
            "POST",
            format!("/instances/{it}/major-upgrade"),
            Some(r#"{"configuration_id": "x"}"#),
            400,
            "DBS.280001",
        ),
        ("PUT", format!("/instances/{it}/ops-window"), Some("{}"), 400, "DBS.280001"),
        (
            "PUT",
            format!("/instances/{it}/ops-window"),
            Some(r#"{"start_time": "22:30", "end_time": "23:30"}"#),
            400,
            "DBS.280001",
        ),
        (
            "PUT",
            format!("/instances/{it}/ops-window"),
            Some(r#"{"start_time": "22:00", "end_time": "22:00"}"#),
            400,
            "DBS.280001",
        ),
        (
            "PUT",
            format!("/instances/{it}/ops-window"),
            Some(r#"{"start_time": "22:00", "end_time": "03:00"}"#),
            400,
            "DBS.280001",
        ),
        (
            "PUT",
            format!("/instances/{it}/ops-window"),
            Some(r#"{"start_time": "24:00", "end_time": "02:00"}"#),
            400,
            "DBS.280001",
        ),
        ("PUT", format!("/instances/{it}/db-auto-upgrade"), Some("{}"), 400, "DBS.280001"),
        (
            "PUT",
            format!("/instances/{it}/db-auto-upgrade"),
            Some(r#"{"switch_option": "on"}"#),
            400,
            "DBS.280001",
        ),
        ("PUT", format!("/instances/{it}/failover"), Some(r#"{"force": true}"#), 400, "DBS.280238"),
        ("PUT", format!("/instances/{it}/failover"), Some(r#"{"force": "now"}"#), 400, "DBS.280001"),
        ("GET", "/jobs".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/jobs?id=x".to_owned(), None, 400, "DBS.200543"),
        ("GET", format!("/jobs?id={}", uuid::Uuid::new_v4()), None, 400, "DBS.200543"),
        ("GET", "/jobs?id=a&id=b".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?limit=51".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?limit=0".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?offset=-1".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?status=Done".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?start_time=yesterday".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?start_time=99999999999999999999".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/tasklist?a=%zz".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/schedule-tasks?status=Waiting".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/instances?limit=101".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/instances?type=Big".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/instances?datastore_type=Oracle".to_owned(), None, 400, "DBS.280001"),
        ("GET", "/datastores/oracle".to_owned(), None, 400, "DBS.280238"),
        ("GET", "/datastores/oracle/small-version".to_owned(), None, 400, "DBS.280238"),
        ("GET", format!("/instances/{it}/major-version/available-version"), None, 400, "DBS.280238"),
        ("POST", format!("/instances/{pg}/major-version/inspection"), Some("{}"), 400, "DBS.280001"),
        (
            "POST",
            format!("/instances/{pg}/major-version/inspection"),
            Some(r#"{"target_version": 14}"#),
            400,
            "DBS.280001",
        ),
        (
            "POST",
            format!("/instances/{pg}/major-version/upgrade"),
            Some(r#"{"target_version": "14"}"#),
            400,
            "DBS.280001",
        ),
        (
            "POST",
            format!("/instances/{pg}/major-version/upgrade"),
            Some(r#"{"target_version": "14", "is_change_private_ip": true}"#),
            400,
            "DBS.280001",
        ),
        (
            "POST",
            format!("/instances/{pg}/major-version/upgrade"),
            Some(r#"{"target_version": "14", "is_change_private_ip": false}"#),
            400,
            "DBS.280001",
        ),
        ("GET", format!("/instances/{pg}/major-version/status"), None, 400, "DBS.280001"),
        ("GET", format!("/instances/{pg}/major-version/status?action=look"), None, 400, "DBS.280001"),
        (
            "GET",
            format!("/instances/{pg}/major-version/inspection-histories?order=UP"),
            None,
            400,
            "DBS.280001",
        ),
        (
            "GET",
            format!("/instances/{pg}/major-version/inspection-histories?is_available=1"),
            None,
            400,
            "DBS.280001",
        ),
        (
            "GET",
            format!("/instances/{pg}/major-version/upgrade-histories?sort_field=name"),
            None,
            400,
            "DBS.280001",
        ),
        ("GET", format!("/instances/{it}/upgrade-version/precheck-result"), None, 400, "DBS.200543"),
    ] {
        let (found, told) = http.send(method, &path, body).await;
        let shown: String = body.unwrap_or_default().chars().take(60).collect();
        assert_eq!((found, &told["error_code"]), (status, &json!(code)), "{method} {path} {shown}: {told}");
    }
    for (path, key, count) in [
        ("/datastores/mysql", "dataStores", 5),
        ("/datastores/SQLServer", "dataStores", 0),
        ("/datastores/PostgreSQL/small-version?version=12&limit=1", "data_stores", 1),
    ] {
        let (status, listed) = http.send("GET", path, None).await;
        assert_eq!((status, listed[key].as_array().unwrap().len()), (200, count), "{path}: {listed}");
    }
    for (headers, status, code) in [
        (&[("x-auth-token", "none")][..], 401, "APIGW.0301"),
        (&[], 401, "APIGW.0301"),
        (&[("authorization", "SDK-HMAC-SHA256")], 401, "APIGW.0301"),
        (&[("authorization", "SDK-HMAC-SM3 Access=a, SignedHeaders=host, Signature=b")], 401, "APIGW.0301"),
        (
            &[("authorization", "V11-HMAC-SHA256 Credential=a"), ("x-auth-token", &*http.token)],
            401,
            "APIGW.0301",
        ),
        (&[("x-auth-token", &*http.token), ("x-project-id", "another")], 403, "DBS.200010"),
    ] {
        let request = headers
            .iter()
            .fold(http.http.get(format!("{}/instances", http.url)), |request, (name, value)| {
                request.header(*name, *value)
            });
        let (found, told) = answer(request).await;
        assert_eq!((found, &told["error_code"]), (status, &json!(code)), "{headers:?}: {told}");
        assert_eq!(told["request_id"].is_string(), status == 401, "{told}");
    }
    let elsewhere =
        http.http.get(format!("{}/v3/another/instances", shop.url)).header("x-auth-token", &http.token);
    assert_eq!(answer(elsewhere).await.1["error_code"], "DBS.200010");
    let foreign =
        http.request("POST", &format!("/instances/{it}/db-upgrade")).header("content-type", "text/plain");
    assert_eq!(answer(foreign.body("is_delayed")).await.1["error_code"], "DBS.280001");

    let paths = ["/instances", "/tasklist", "/jobs", "/schedule-tasks", "/datastores/mysql/small-version"];
    let names = [
        "id",
        "limit",
        "offset",
        "status",
        "name",
        "type",
        "start_time",
        "datastore_type",
        "instance_id",
        "x",
    ];
    let query = proptest::collection::vec((proptest::sample::select(names.to_vec()), ".{0,12}"), 0..5);
    let calls =
        ["db-upgrade", "action/db-upgrade", "ops-window", "db-auto-upgrade", "failover", "major-upgrade"];
    let handle = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config::with_cases(cases(120)));
    let any = (
        proptest::sample::select(paths.to_vec()),
        query,
        proptest::sample::select(calls.to_vec()),
        ".{0,40}",
        any_json(),
    );
    tokio::task::block_in_place(|| {
        let checked = runner.run(&any, |(path, query, call, id, body)| {
            handle.block_on(async {
                let query: Vec<String> =
                    query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
                let request = http.request("GET", &format!("{path}?{}", query.join("&")));
                assert!(answer(request).await.0 < 500, "{path} {query:?}");
                let method =
                    if call.ends_with("upgrade") && call != "db-auto-upgrade" { "POST" } else { "PUT" };
                // Not one that a body could be right for.
                let id = escaped(&id);
                let (status, told) =
                    http.send(method, &format!("/instances/{id}x/{call}"), Some(&body.to_string())).await;
                assert!((400..500).contains(&status), "{call} {id} {body}: {told}");
                let (status, told) =
                    http.send(method, &format!("/instances/{none}/{call}"), Some(&body.to_string())).await;
                assert!((400..500).contains(&status), "{call} {body}: {told}");
            });
            Ok(())
        });
        checked.unwrap();
    });
    for id in [&mysql, &postgresql] {
        assert_eq!(shop.api.show(id).await.unwrap()["status"], "ACTIVE");
    }
    let (_, tasks) = http.send("GET", "/tasklist", None).await;
    assert_eq!(tasks["total_count"], 0, "nothing was begun: {tasks}");
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from)
    ];
    const KEYS: [&str; 8] =
        ["is_delayed", "delay", "second_switch", "start_time", "end_time", "switch_option", "force", "x"];
    proptest::collection::btree_map(proptest::sample::select(&KEYS[..]), leaf, 0..4).prop_map(|map| {
        map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
    })
}

/// Real servers: PostgreSQL 15 to 17, after an inspection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_postgresql_is_upgraded_by_its_client() {
    let shop = Vendors::bed().await;
    let Some(mut sdk) = shop.huawei("coffer") else { return };
    let id = shop.api.create_of("postgresql", "theirs", "15", "shop", "app", &password()).await.unwrap();
    let address = healthy(&shop.api, &id).await;
    let it = of(&id, "in03");
    let made = sdk.call("upgrade_db_major_version_pre_check", &it, &json!({"target_version": "17"}));
    assert!(made["body"]["report_id"].is_string(), "{made}");
    let seen = inspected(&mut sdk, &it).await;
    assert_eq!(seen["status"], "success", "{seen}");
    let upgrade = json!({
        "target_version": "17", "is_change_private_ip": true, "statistics_collection_mode": "before_change_private_ip",
    });
    let asked = sdk.call("upgrade_db_major_version", &it, &upgrade);
    let job = &asked["body"]["job_id"];
    assert!(job.is_string(), "{asked}");
    assert_eq!(shop.api.show(&id).await.unwrap()["status"], "UPGRADE");
    assert!(
        ["MODIFYING", "SWITCHOVER"]
            .contains(&shown(&mut sdk, &name(&id, "in03"))["status"].as_str().unwrap())
    );
    completes(&mut sdk, job).await;
    assert_eq!(healthy(&shop.api, &id).await, address);
    let seen = shown(&mut sdk, &name(&id, "in03"));
    assert!(seen["datastore"]["complete_version"].as_str().unwrap().starts_with("17."), "{seen}");
    assert_eq!(seen["private_ips"], json!([address]));
    assert_eq!(shop.api.task(job.as_str().unwrap()).await.unwrap()["state"], "succeeded");
    delete(&shop.api, &[&id]).await;
}

/// Real servers: a minor upgrade, from one build of a series to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_build_is_upgraded_by_its_client() {
    let Some(builds) = Builds::start("mariadb", "10.11").await else { return };
    let _engines = builds.folder;
    let shop = Vendors::of(builds.house).await;
    let Some(mut sdk) = shop.huawei("coffer") else { return };
    let older = shop.older("mariadb", "10.11").await;
    let id = shop.create("mariadb", "minor", &older).await;
    let asked = sdk.call("upgrade_db_version_new", &of(&id, "in01"), &Value::Null);
    assert_eq!(asked["status"], 202, "{asked}");
    completes(&mut sdk, &asked["body"]["job_id"]).await;
    let seen = shown(&mut sdk, &name(&id, "in01"));
    assert_eq!(
        (&seen["datastore"]["type"], &seen["status"]),
        (&json!("MariaDB"), &json!("ACTIVE")),
        "{seen}"
    );
    assert_ne!(seen["datastore"]["complete_version"], json!(older), "{seen}");
    delete(&shop.api, &[&id]).await;
}
