//! Alibaba RDS's calls, made by the vendor's own clients of both generations on simulated instances.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::builds::Builds;
use crate::harness::sdks::Alibaba;
use crate::harness::vendors::Vendors;
use crate::harness::{delete, healthy, password, wait_for};

const SDKS: [&str; 3] = ["legacy", "tea", "tea-v2"];

/// An instance; its id, and the vendor's.
async fn create(shop: &Vendors, datastore: &str, name: &str, version: &str) -> (String, String) {
    let id = shop.create(datastore, name, version).await;
    let vendors = vendors(&id);
    (id, vendors)
}

fn vendors(id: &str) -> String {
    format!("rm-{}", id.replace('-', ""))
}

/// The task of a call, once it is in that state.
async fn reaches(sdk: &mut Alibaba, which: &str, task: &Value, state: &str) -> Value {
    let params = json!({"RegionId": "coffer-1", "TaskId": task, "FromStartTime": "2026-01-01T00:00:00Z", "ToStartTime": "2099-01-01T00:00:00Z"});
    wait_for(&format!("task {task} is {state}"), Duration::from_secs(240), async || {
        let seen = sdk.call(which, "DescribeHistoryTasks", &params);
        let items = seen["body"]["Items"].as_array().unwrap_or_else(|| panic!("{seen}"));
        assert_eq!(items.len(), 1, "{seen}");
        (items[0]["Status"] == state).then(|| items[0].clone())
    })
    .await
}

fn attribute(sdk: &mut Alibaba, which: &str, id: &str) -> Value {
    let seen = sdk.call(which, "DescribeDBInstanceAttribute", &json!({"DBInstanceId": id}));
    seen["body"]["Items"]["DBInstanceAttribute"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_clients_upgrade_an_instance() {
    let shop = Vendors::simulated().await;
    let Some(mut sdk) = shop.alibaba("coffer") else { return };
    for (which, from, to) in [("legacy", "5.5", "5.6"), ("tea", "5.6", "5.7"), ("tea-v2", "5.7", "8.0")] {
        let (id, name) = create(&shop, "mysql", which, from).await;
        let seen =
            sdk.call(which, "DescribeDBInstances", &json!({"RegionId": "coffer-1", "DBInstanceId": name}));
        let items = seen["body"]["Items"]["DBInstance"].as_array().unwrap_or_else(|| panic!("{seen}"));
        assert_eq!(
            (items.len(), &items[0]["Engine"], &items[0]["EngineVersion"], &items[0]["DBInstanceStatus"]),
            (1, &json!("MySQL"), &json!(from), &json!("Running")),
            "{seen}"
        );
        let mut ask = |version: &str, token: &str| {
            let params = json!({"DBInstanceId": name, "EngineVersion": version, "ClientToken": token});
            sdk.call(which, "UpgradeDBInstanceEngineVersion", &params)
        };
        let skipped = ask(if from == "5.5" { "8.0" } else { "5.5" }, "other");
        assert_eq!(
            (&skipped["status"], &skipped["code"]),
            (&json!(403), &json!("IncorrectEngineVersion")),
            "{skipped}"
        );
        assert_eq!(ask("9.9", "other")["code"], "InvalidEngineVersion.Malformed");
        assert_eq!(ask(from, "other")["code"], "IncorrectEngineVersion");
        let asked = ask(to, which);
        let task = asked["body"]["TaskId"].clone();
        assert!(task.as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{asked}");
        assert!(asked["body"]["RequestId"].as_str().unwrap().bytes().all(|b| !b.is_ascii_lowercase()));
        assert_eq!(ask(to, which)["body"]["TaskId"], task, "the same token is the same task");
        let another = if to == "8.0" { "5.7" } else { "8.0" };
        assert_eq!(ask(another, which)["code"], "IdempotentParameterMismatch");
        assert_eq!(ask("8.0.99", which)["code"], "InvalidEngineVersion.Malformed");
        let done = reaches(&mut sdk, which, &task, "Succeed").await;
        assert_eq!(
            (&done["TaskType"], &done["InstanceId"]),
            (&json!("UpgradeDBInstanceEngineVersion"), &json!(name))
        );
        let seen = attribute(&mut sdk, which, &name);
        assert_eq!(
            (&seen["EngineVersion"], &seen["DBInstanceStatus"]),
            (&json!(to), &json!("Running")),
            "{seen}"
        );
        assert_eq!(shop.api.show(&id).await.unwrap()["datastore"]["version"], to);
        let listed = sdk.call(which, "DescribeTasks", &json!({"DBInstanceId": name}));
        assert_eq!(listed["body"]["Items"]["TaskProgressInfo"][0]["TaskId"], task, "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minor_upgrade_waits_for_its_window_and_can_be_moved() {
    let shop = Vendors::simulated().await;
    let Some(mut sdk) = shop.alibaba("coffer") else { return };
    let older = shop.older("mysql", "5.7").await;
    let (id, name) = create(&shop, "mysql", "minor", &older).await;
    let now = chrono::Utc::now();
    let clock = |hours| (now + chrono::TimeDelta::hours(hours)).format("%H:00Z").to_string();
    let window = format!("{}-{}", clock(3), clock(5));
    for (sdk_name, action, params) in [
        ("legacy", "ModifyDBInstanceMaintainTime", json!({"DBInstanceId": name, "MaintainTime": window})),
        (
            "tea",
            "ModifyDBInstanceAutoUpgradeMinorVersion",
            json!({"DBInstanceId": name, "AutoUpgradeMinorVersion": "Manual"}),
        ),
    ] {
        let done = sdk.call(sdk_name, action, &params);
        assert!(done["body"]["RequestId"].is_string(), "{action}: {done}");
    }
    let before = attribute(&mut sdk, "tea", &name);
    assert_eq!(
        (&before["MaintainTime"], &before["AutoUpgradeMinorVersion"]),
        (&json!(window), &json!("Manual"))
    );
    assert_ne!(before["CurrentKernelVersion"], before["LatestKernelVersion"], "{before}");

    for (params, code) in [
        (json!({"UpgradeTime": "SpecifyTime"}), "MissingParameter"),
        (json!({"UpgradeTime": "SpecifyTime", "SwitchTime": "soon"}), "InvalidTime.Format"),
        (json!({"UpgradeTime": "SpecifyTime", "SwitchTime": "2020-01-01T00:00:00Z"}), "StartTimeBeforeNow"),
        (json!({"UpgradeTime": "Sometimes"}), "InvalidParameter"),
        (json!({"TargetMinorVersion": "rds_19990101"}), "InvalidMinorVerison.NotFound"),
        (json!({"TargetMinorVersion": before["CurrentKernelVersion"]}), "InvalidMinorVersionAlreadyLatest"),
    ] {
        let mut params = params;
        params["DBInstanceId"] = json!(name);
        let told = sdk.call("tea-v2", "UpgradeDBInstanceKernelVersion", &params);
        assert_eq!(told["code"], code, "{params}: {told}");
    }
    let asked = sdk.call(
        "tea",
        "UpgradeDBInstanceKernelVersion",
        &json!({"DBInstanceId": name, "UpgradeTime": "MaintainTime"}),
    );
    assert_eq!(asked["body"]["TargetMinorVersion"], before["LatestKernelVersion"], "{asked}");
    assert_eq!(asked["body"]["DBInstanceName"], name);
    let task = asked["body"]["TaskId"].clone();
    let waits = reaches(&mut sdk, "legacy", &task, "Waiting").await;
    assert_eq!(waits["TaskType"], "UpgradeDBInstanceKernelVersion");
    assert_eq!(attribute(&mut sdk, "legacy", &name)["DBInstanceStatus"], "Running");
    let again = sdk.call("legacy", "UpgradeDBInstanceKernelVersion", &json!({"DBInstanceId": name}));
    assert_eq!(again["code"], "InvalidOrderTask.NotSupport", "{again}");
    let moved = json!({"RegionId": "coffer-1", "TaskId": task, "StepName": "", "TaskAction": "modifySwitchTime", "ActionParams": "{\"recoverMode\":\"immediate\"}"});
    let done = sdk.call("tea", "ModifyTaskInfo", &moved);
    assert!(done["body"]["RequestId"].is_string(), "{done}");
    reaches(&mut sdk, "tea", &task, "Succeed").await;
    let after = attribute(&mut sdk, "tea-v2", &name);
    assert_eq!(after["CurrentKernelVersion"], before["LatestKernelVersion"]);
    assert_eq!(shop.api.show(&id).await.unwrap()["datastore"]["version"], "5.7");
    let none = sdk.call("tea", "UpgradeDBInstanceKernelVersion", &json!({"DBInstanceId": name}));
    assert_eq!(none["code"], "InvalidMinorVersionAlreadyLatest", "{none}");
}

/// PostgreSQL's major versions, which need a check that passed. Simulated ones go in place, and by no other way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_major_upgrade_needs_a_check_that_passed() {
    let shop = Vendors::simulated().await;
    let Some(mut sdk) = shop.alibaba("coffer") else { return };
    for (which, mode, steps) in [
        ("legacy", "inPlaceUpgrade", ["12", "14"]),
        ("tea", "blueGreenDeployment", ["14", "16"]),
        ("tea-v2", "zeroDownTimeUpgrade", ["11", "12"]),
    ] {
        let [from, to] = steps;
        let (id, name) = create(&shop, "postgresql", which, from).await;
        let mut call = |action: &str, own: Value| {
            let mut params = json!({"DBInstanceId": name});
            params.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            sdk.call(which, action, &params)
        };
        let ask = json!({"TargetMajorVersion": to, "UpgradeMode": "inPlaceUpgrade", "SwitchOver": "true", "CollectStatMode": "After"});
        assert_eq!(
            call("UpgradeDBInstanceMajorVersion", ask.clone())["code"],
            "IncorrectDBInstanceState",
            "unchecked"
        );
        if mode != "inPlaceUpgrade" {
            let beside = json!({"TargetMajorVersion": to, "UpgradeMode": mode});
            let refused = call("UpgradeDBInstanceMajorVersionPrecheck", beside);
            assert_eq!(refused["code"], "IncorrectEngineVersion", "{refused}");
        }
        let lower = call("UpgradeDBInstanceMajorVersionPrecheck", json!({"TargetMajorVersion": from}));
        assert_eq!(lower["code"], "IncorrectEngineVersion", "{lower}");
        let mine = call("UpgradeDBInstanceEngineVersion", json!({"EngineVersion": to}));
        assert_eq!(mine["code"], "EngineNotSupported", "{mine}");
        let checked = call("UpgradeDBInstanceMajorVersionPrecheck", json!({"TargetMajorVersion": to}));
        assert_eq!(
            (&checked["body"]["DBInstanceName"], &checked["body"]["TargetMajorVersion"]),
            (&json!(name), &json!(to)),
            "{checked}"
        );
        let number: i64 = checked["body"]["TaskId"].as_str().unwrap().parse().unwrap();
        let told = wait_for("the check has ended", Duration::from_secs(60), async || {
            let told = call("DescribeUpgradeMajorVersionPrecheckTask", json!({"TaskId": number}));
            let told = &told["body"]["Items"][0];
            assert!(told["Result"].is_string(), "it is listed from the beginning: {told}");
            (told["Result"] != "Running").then(|| told.clone())
        })
        .await;
        assert_eq!(
            [&told["TaskId"], &told["Result"], &told["SourceMajorVersion"], &told["TargetMajorVersion"]],
            [&json!(number), &json!("Success"), &json!(from), &json!(to)],
            "{told}"
        );
        let stays =
            call("UpgradeDBInstanceMajorVersion", json!({"TargetMajorVersion": to, "SwitchOver": "false"}));
        assert_eq!(stays["code"], "InvalidParameter", "{stays}");
        let alone = call("SwitchDBInstanceHA", json!({"NodeId": "1"}));
        assert_eq!(alone["code"], "IncorrectDBInstanceType", "{alone}");
        let asked = call("UpgradeDBInstanceMajorVersion", ask);
        let number = asked["body"]["TaskId"].as_i64().unwrap_or_else(|| panic!("{asked}"));
        reaches(&mut sdk, which, &json!(number.to_string()), "Succeed").await;
        let told = sdk.call(
            which,
            "DescribeUpgradeMajorVersionTasks",
            &json!({"DBInstanceId": name, "TaskId": number}),
        );
        let told = &told["body"]["Items"][0];
        assert_eq!(
            [&told["Result"], &told["SourceMajorVersion"], &told["TargetMajorVersion"], &told["UpgradeMode"]],
            [&json!("Success"), &json!(from), &json!(to), &json!("inPlaceUpgrade")],
            "{told}"
        );
        assert_eq!(shop.api.show(&id).await.unwrap()["datastore"]["version"], to);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_so_in_its_own_words() {
    let shop = Vendors::simulated().await;
    let (Some(mut member), Some(mut reader), Some(mut other)) =
        (shop.alibaba("coffer"), shop.alibaba("coffer-reader"), shop.alibaba("coffer-other"))
    else {
        return;
    };
    let key = shop.keys["coffer"]["access_key"].as_str().unwrap();
    let mut forger = Alibaba::start("alibaba::sdks", &shop.url, (key, "wrong")).unwrap();
    let mut nobody = Alibaba::start("alibaba::sdks", &shop.url, ("CFRNOBODY", "wrong")).unwrap();
    let (_, name) = create(&shop, "mysql", "guarded", "5.6").await;
    let upgrade = json!({"DBInstanceId": name, "EngineVersion": "5.7"});
    for which in SDKS {
        let told = |sdk: &mut Alibaba, params: &Value| {
            let told = sdk.call(which, "UpgradeDBInstanceEngineVersion", params);
            (
                told["status"].as_u64().unwrap_or_default(),
                told["code"].as_str().unwrap_or_default().to_owned(),
            )
        };
        let is = |status: u64, code: &str| (status, code.to_owned());
        // The older client takes a wrong secret for what it is.
        let forged = if which == "legacy" { "InvalidAccessKeySecret" } else { "SignatureDoesNotMatch" };
        assert_eq!(told(&mut forger, &upgrade), is(400, forged), "{which}");
        assert_eq!(told(&mut nobody, &upgrade), is(404, "InvalidAccessKeyId.NotFound"), "{which}");
        assert_eq!(told(&mut reader, &upgrade), is(403, "Forbidden.RAM"), "{which}");
        assert_eq!(told(&mut other, &upgrade), is(404, "InvalidDBInstanceId.NotFound"), "{which}");
        let unknown = json!({"DBInstanceId": "rm-none", "EngineVersion": "5.7"});
        assert_eq!(told(&mut member, &unknown), is(404, "InvalidDBInstanceId.NotFound"), "{which}");
        assert_eq!(told(&mut member, &json!({"DBInstanceId": name})), is(400, "MissingParameter"), "{which}");
        for (field, value) in
            [("EffectiveTime", "Later"), ("ClientToken", "é"), ("ClientToken", &"x".repeat(65))]
        {
            let mut params = upgrade.clone();
            params[field] = json!(value);
            assert_eq!(told(&mut member, &params), is(400, "InvalidParameter"), "{which} {field}");
        }
    }
    let mine = other.call("tea", "DescribeDBInstances", &json!({"RegionId": "coffer-1"}));
    assert_eq!(mine["body"]["TotalRecordCount"], 0, "{mine}");
}

/// Real servers: a major upgrade, and what is seen of it meanwhile in the other dialects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_mariadb_is_upgraded_by_its_client() {
    let vendor = Vendors::bed().await;
    let (api, Some(mut sdk)) = (&vendor.api, vendor.alibaba("coffer")) else { return };
    let password = password();
    let id = api.create("vendors", "10.11", "shop", "app", &password).await.unwrap();
    let address = healthy(api, &id).await;
    let shop = coffer::cli::demo::shop::Shop::open(&address, "shop", "app", &password).await.unwrap();
    shop.load(500, |_| {}).await.unwrap();
    let name = vendors(&id);
    let asked = sdk.call(
        "tea",
        "UpgradeDBInstanceEngineVersion",
        &json!({"DBInstanceId": name, "EngineVersion": "11.8"}),
    );
    let task = asked["body"]["TaskId"].clone();
    assert!(task.is_string(), "{asked}");
    let seen = (api.show(&id).await.unwrap(), attribute(&mut sdk, "legacy", &name));
    assert_eq!(
        (&seen.0["status"], &seen.1["DBInstanceStatus"]),
        (&json!("UPGRADE"), &json!("EngineVersionUpgrading"))
    );
    let (_, ours) = api.read(&format!("/instances/{id}/upgrades")).await.unwrap();
    assert_eq!(ours["upgrades"].as_array().unwrap().len(), 1, "{ours}");
    assert_eq!(reaches(&mut sdk, "tea-v2", &task, "Succeed").await["DbType"], "MariaDB");
    let ended = api.task(ours["upgrades"][0]["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(healthy(api, &id).await, address);
    assert_eq!(attribute(&mut sdk, "tea", &name)["EngineVersion"], "11.8");
    assert!(shop.version().await.unwrap().starts_with("11.8."));
    delete(api, &[&id]).await;
}

/// Real servers: a minor upgrade, from one build of a series to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_build_is_upgraded_by_its_client() {
    let Some(builds) = Builds::start("mariadb", "10.11").await else { return };
    let _engines = builds.folder;
    let shop = Vendors::of(builds.house).await;
    let Some(mut sdk) = shop.alibaba("coffer") else { return };
    let older = shop.older("mariadb", "10.11").await;
    let (id, name) = create(&shop, "mariadb", "minor", &older).await;
    let newest = attribute(&mut sdk, "legacy", &name)["LatestKernelVersion"].clone();
    let asked = sdk.call("legacy", "UpgradeDBInstanceKernelVersion", &json!({"DBInstanceId": name}));
    assert_eq!(
        (&asked["body"]["DBInstanceName"], &asked["body"]["TargetMinorVersion"]),
        (&json!(name), &newest),
        "{asked}"
    );
    assert_eq!(attribute(&mut sdk, "tea", &name)["DBInstanceStatus"], "MinorVersionUpgrading");
    reaches(&mut sdk, "tea", &asked["body"]["TaskId"], "Succeed").await;
    assert_eq!(attribute(&mut sdk, "tea", &name)["CurrentKernelVersion"], newest);
    healthy(&shop.api, &id).await;
    delete(&shop.api, &[&id]).await;
}

/// Whatever comes gets the dialect's own error, and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ever_a_fault_of_ours() {
    let shop = Vendors::simulated().await;
    let http = reqwest::Client::new();
    for (query, status, code) in [
        ("Action=DescribeDBInstances", 400, "MissingParameter"),
        ("Action=DescribeDBInstances&AccessKeyId=a&Signature=b", 400, "IllegalTimestamp"),
        ("Action=DescribeDBInstances&Format=YAML", 400, "InvalidParameter"),
        ("Action=DescribeDBInstances&Format=JSON&Format=XML", 400, "InvalidParameter"),
        ("Action=&AccessKeyId=a&AccessKeyId=b", 400, "IncompleteSignature"),
        ("Action=a&b=%zz", 400, "IncompleteSignature"),
        ("Action=a&b=%ff%fe", 400, "IncompleteSignature"),
    ] {
        let shown: String = query.chars().take(80).collect();
        let sent = http.get(format!("{}/?{query}", shop.url)).send().await.unwrap();
        assert_eq!(sent.status(), status, "{shown}");
        let kind = sent.headers()["content-type"].to_str().unwrap().to_owned();
        let text = sent.text().await.unwrap();
        let is_xml = kind == "text/xml;charset=utf-8";
        let says = if is_xml { format!("<Code>{code}</Code>") } else { format!("\"Code\":\"{code}\"") };
        assert!(text.contains(&says) && text.contains("RequestId"), "{shown}: {text}");
        assert!(!is_xml || text.contains("<Error>"), "{text}");
    }
    let root = http.get(format!("{}/", shop.url)).send().await.unwrap();
    assert!(root.text().await.unwrap().contains("versions"), "the root is still Trove's");
    let form = "application/x-www-form-urlencoded";
    for (kind, body, status) in [
        (form, "Action=DescribeDBInstances".to_owned(), 400),
        (form, "%".to_owned(), 400),
        (form, format!("a={}", "x".repeat(100_000)), 400),
        (form, format!("a={}", "x".repeat(1_000_000)), 400),
        (form, "&b=".repeat(5_000), 400),
        ("application/json", "{}".to_owned(), 400),
    ] {
        let shown: String = body.chars().take(40).collect();
        let url = format!("{}/?Action=DescribeDBInstances", shop.url);
        let sent = http.post(url).header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(sent.status(), status, "{kind} {shown}");
    }
    for authorization in
        ["ACS3-HMAC-SHA256", "ACS3-HMAC-SM3 a=b", "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=,Signature=,"]
    {
        let request = http.post(format!("{}/", shop.url)).header("x-acs-action", "DescribeDBInstances");
        let sent = request.header("authorization", authorization).send().await.unwrap();
        assert_eq!(sent.status(), 400, "{authorization}");
        let told: Value = sent.json().await.unwrap();
        assert!(told["Code"].is_string(), "{told}");
    }
}
