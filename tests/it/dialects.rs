//! What the dialects of Huawei and Alibaba say of the same instances and tasks, and how each refuses.

use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use coffer::auth::signatures::{SignedRequest, sdk_hmac};
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::pair::{Pair, show};
use crate::harness::rpc::Rpc;
use crate::harness::vendors::Vendors;
use crate::harness::{status, wait_for};
use crate::huawei::{Http, answer};

fn vendors(id: &str) -> (String, String) {
    let digits = id.replace('-', "");
    (format!("rm-{digits}"), format!("{digits}in01"))
}

/// The task of that number, in that state.
async fn reaches(rpc: &Rpc<'_>, task: &str, state: &str) -> Value {
    let params = [
        ("TaskId", task),
        ("FromStartTime", "2026-01-01T00:00:00Z"),
        ("ToStartTime", "2099-01-01T00:00:00Z"),
    ];
    wait_for(&format!("task {task} is {state}"), Duration::from_secs(60), async || {
        let (_, seen) = rpc.ask("DescribeHistoryTasks", &params).await;
        let items = seen["Items"].as_array().unwrap_or_else(|| panic!("{seen}"));
        assert_eq!(items.len(), 1, "{seen}");
        (items[0]["Status"] == state).then(|| items[0].clone())
    })
    .await
}

/// An older build goes to another major version: one task, which is a major upgrade from its beginning to its end in
/// every dialect, though its first hop is to a newer build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_the_same_in_every_dialect_all_the_way() {
    let shop = Vendors::simulated().await;
    let (rpc, http) = (Rpc::of(&shop, "coffer"), Http::of(&shop).await);
    let (reader, other) = (Rpc::of(&shop, "coffer-reader"), Rpc::of(&shop, "coffer-other"));
    crate::harness::have_no_window_now(&shop.api).await;
    let older = shop.older("mysql", "5.7").await;
    let id = shop.create("mysql", "hops", &older).await;
    let (rm, hw) = vendors(&id);
    let db = shop.house().store().await;

    let major = "UpgradeDBInstanceEngineVersion";
    let ask = [("DBInstanceId", &*rm), ("EngineVersion", "8.0"), ("EffectiveTime", "MaintainTime")];
    let begun = Utc::now();
    assert_eq!(reader.ask(major, &ask).await.1["Code"], "Forbidden.RAM");
    assert_eq!(other.ask(major, &ask).await.1["Code"], "InvalidDBInstanceId.NotFound");
    let minor = [("DBInstanceId", &*rm)];
    assert_eq!(reader.ask("UpgradeDBInstanceKernelVersion", &minor).await.1["Code"], "Forbidden.RAM");
    let (code, asked) = rpc.ask(major, &ask).await;
    assert_eq!(code, 200, "{asked}");
    let number = asked["TaskId"].as_str().unwrap().to_owned();
    let waits = reaches(&rpc, &number, "Waiting").await;
    assert_eq!(waits["TaskType"], major, "{waits}");
    // It is found by a range that ends with this second.
    let (from, to) = (begun - TimeDelta::seconds(1), Utc::now());
    let second = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let range = [("FromStartTime", &*second(from)), ("ToStartTime", &*second(to))];
    assert_eq!(rpc.ask("DescribeHistoryTasks", &range).await.1["TotalCount"], 1);
    let (_, jobs) = http.send("GET", "/tasklist", None).await;
    let job = jobs["tasks"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        [&jobs["tasks"][0]["name"], &jobs["tasks"][0]["status"], &jobs["tasks"][0]["instance_status"]],
        [&json!("UPGRADE_DB_MAJOR_VERSION"), &json!("Running"), &json!("ACTIVE")],
        "{jobs}"
    );
    for target in [("TargetMinorVersion", "rds_19990101"), ("TargetMinorVersion", "")] {
        let told = rpc.ask("UpgradeDBInstanceKernelVersion", &[minor[0], target]).await;
        assert_eq!((told.0, &told.1["Code"]), (400, &json!("InvalidOrderTask.NotSupport")), "{told:?}");
    }

    // Moved, by who may, and begun.
    let later = second(Utc::now() + TimeDelta::hours(30));
    let at = format!("{{\"recoverMode\":\"timePoint\",\"recoverTime\":\"{later}\"}}");
    let moving =
        |params| [("TaskId", &*number), ("TaskAction", "modifySwitchTime"), ("ActionParams", params)];
    assert_eq!(reader.ask("ModifyTaskInfo", &moving(&*at)).await.1["Code"], "Forbidden.RAM");
    assert_eq!(other.ask("ModifyTaskInfo", &moving(&*at)).await.1["Code"], "InvalidParameter");
    let (_, moved) = rpc.ask("ModifyTaskInfo", &moving(&*at)).await;
    assert_eq!((&moved["SuccessCount"], &moved["ErrorCode"]), (&json!("1"), &json!("")), "{moved}");
    assert_eq!(reaches(&rpc, &number, "Waiting").await["StartTime"], later);
    let slow = "insert into simulations (instance_id, step, ms) values ($1, 'switch', 1500)";
    let uuid: uuid::Uuid = id.parse().unwrap();
    db.execute(slow, &[&uuid]).await.unwrap();
    let now = "{\"recoverMode\":\"immediate\"}";
    rpc.ask("ModifyTaskInfo", &moving(now)).await;
    wait_for("clients are held", Duration::from_secs(30), async || {
        let (_, seen) = http.send("GET", &format!("/instances?id={hw}"), None).await;
        (seen["instances"][0]["status"] == "SWITCHOVER").then_some(())
    })
    .await;
    let (_, seen) = rpc.ask("DescribeDBInstanceAttribute", &minor).await;
    let seen = &seen["Items"]["DBInstanceAttribute"][0];
    assert_eq!(seen["DBInstanceStatus"], "EngineVersionUpgrading", "{seen}");
    assert_eq!(shop.api.show(&id).await.unwrap()["status"], "UPGRADE");
    let (_, busy) = rpc.ask("UpgradeDBInstanceKernelVersion", &minor).await;
    assert_eq!(busy["Code"], "IncorrectDBInstanceState", "{busy}");
    let done = reaches(&rpc, &number, "Succeed").await;
    assert_eq!((&done["TaskType"], &done["DbType"]), (&json!(major), &json!("MySQL")), "{done}");
    assert_eq!(shop.api.show(&id).await.unwrap()["datastore"]["version"], "8.0");
    let (_, seen) = http.send("GET", &format!("/jobs?id={job}"), None).await;
    assert_eq!(
        (&seen["job"]["name"], &seen["job"]["status"]),
        (&json!("UPGRADE_DB_MAJOR_VERSION"), &json!("Completed")),
        "{seen}"
    );
    let (_, none) = http.send("POST", &format!("/instances/{hw}/major-upgrade"), None).await;
    assert_eq!(none["error_code"], "DBS.280238", "nothing is newer: {none}");

    // What is gone keeps its names.
    shop.api.delete(&id).await.unwrap();
    shop.api.wait_until_gone(&id).await.unwrap();
    let (_, jobs) = http.send("GET", &format!("/tasklist?instance_id={hw}"), None).await;
    assert_eq!(jobs["total_count"], 1, "{jobs}");
    assert_eq!(reaches(&rpc, &number, "Succeed").await["InstanceId"], rm);
}

/// What fails is told as such, and what replicates is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_and_what_stands_in_the_way_is_told() {
    let shop = Vendors::simulated().await;
    let (rpc, http) = (Rpc::of(&shop, "coffer"), Http::of(&shop).await);
    let older = shop.older("mysql", "5.7").await;
    let id = shop.create("mysql", "kept", &older).await;
    let (rm, hw) = vendors(&id);
    let db = shop.house().store().await;
    let uuid: uuid::Uuid = id.parse().unwrap();
    db.execute("insert into simulations (instance_id, step, fault) values ($1, 'switch', 'fail')", &[&uuid])
        .await
        .unwrap();
    let it = [("DBInstanceId", &*rm)];
    let minor = "UpgradeDBInstanceKernelVersion";
    let (_, asked) = rpc.ask(minor, &it).await;
    let number = asked["TaskId"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let failed = reaches(&rpc, &number, "Failed").await;
    assert!(failed["TaskDetail"].as_str().unwrap().contains("reason"), "{failed}");
    let (_, jobs) = http.send("GET", "/tasklist?status=Failed", None).await;
    assert!(!jobs["tasks"][0]["fail_reason"].as_str().unwrap().is_empty(), "{jobs}");
    db.execute("delete from simulations", &[]).await.unwrap();
    let (code, asked) = http
        .send(
            "POST",
            &format!("/instances/{hw}/db-upgrade"),
            Some(r#"{"second_switch": false, "unknown": [1]}"#),
        )
        .await;
    assert_eq!(code, 202, "{asked}");
    let job = asked["job_id"].as_str().unwrap().to_owned();
    wait_for("the job is completed", Duration::from_secs(60), async || {
        let (_, seen) = http.send("GET", &format!("/jobs?id={job}"), None).await;
        (seen["job"]["status"] == "Completed").then_some(())
    })
    .await;
    let lower = [it[0], ("TargetMinorVersion", &*older)];
    assert_eq!(rpc.ask(minor, &lower).await.1["Code"], "InvalidMinorVersionLowerThanInstance");

    // One that is upgraded by way of another, and that other.
    let source = shop.create("mariadb", "source", "10.1").await;
    let action = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "10.4"}});
    let (_, asked) = shop.api.post(&format!("/instances/{source}/action"), &action).await.unwrap();
    let new = asked["instance"]["id"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    status(&shop.api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    for (id, code) in [(&source, "IncorrectDBInstanceState"), (&new, "IncorrectDBInstanceType")] {
        let (rm, hw) = vendors(id);
        assert_eq!(rpc.ask(minor, &[("DBInstanceId", &*rm)]).await.1["Code"], code, "{rm}");
        let read_only = rm.replacen("rm-", "rr-", 1);
        assert_eq!(rpc.ask(minor, &[("DBInstanceId", &*read_only)]).await.1["Code"], code, "{read_only}");
        let (status, told) = http.send("POST", &format!("/instances/{hw}/db-upgrade"), None).await;
        assert_eq!((status, &told["error_code"]), (409, &json!("DBS.200019")), "{told}");
    }

    // Lists by pages, and from a token on.
    let (_, all) = http.send("GET", "/instances?limit=2", None).await;
    assert_eq!((&all["total_count"], all["instances"].as_array().unwrap().len()), (&json!(3), 2), "{all}");
    let (_, rest) = http.send("GET", "/instances?limit=2&offset=2", None).await;
    assert_eq!((&rest["total_count"], rest["instances"].as_array().unwrap().len()), (&json!(3), 1), "{rest}");
    let (_, first) = rpc.ask("DescribeDBInstances", &[("MaxResults", "2")]).await;
    let next = first["NextToken"].as_str().unwrap().to_owned();
    let (_, last) = rpc.ask("DescribeDBInstances", &[("MaxResults", "2"), ("NextToken", &next)]).await;
    let count = |seen: &Value| seen["Items"]["DBInstance"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&last), &last["NextToken"]), (2, 1, &json!("")), "{last}");
    let (_, second) = rpc.ask("DescribeDBInstances", &[("PageSize", "2"), ("PageNumber", "2")]).await;
    assert_eq!((count(&second), &second["TotalRecordCount"]), (1, &json!(3)), "{second}");
    let many = vec!["1"; 31].join(",");
    let range = [("FromStartTime", "2026-01-01T00:00:00Z"), ("ToStartTime", "2099-01-01T00:00:00Z")];
    let (_, told) = rpc.ask("DescribeHistoryTasks", &[range[0], range[1], ("TaskId", &many)]).await;
    assert_eq!(told["Code"], "InvalidParameter", "{told}");
    assert_eq!(
        rpc.ask("DescribeDBInstances", &[("DBInstanceType", "Big")]).await.1["Code"],
        "InvalidParameter"
    );
}

/// The zones of the master and of the slave of a group, as Huawei's clients see them, once it is free.
async fn zones(http: &Http, name: &str) -> [String; 2] {
    wait_for("the group is free", Duration::from_secs(120), async || {
        let (_, seen) = http.send("GET", &format!("/instances?id={name}"), None).await;
        let it = &seen["instances"][0];
        assert_eq!((&it["type"], it["nodes"].as_array().map(Vec::len)), (&json!("Ha"), Some(2)), "{seen}");
        let zone = |role: &str| {
            let nodes = it["nodes"].as_array().unwrap();
            let node = nodes.iter().find(|node| node["role"] == role).unwrap_or_else(|| panic!("{seen}"));
            node["availability_zone"].as_str().unwrap().to_owned()
        };
        (it["status"] == "ACTIVE").then(|| [zone("master"), zone("slave")])
    })
    .await
}

/// A group is one instance with two nodes: upgraded member by member, with and without a switchback, and switched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_one_instance_with_two_nodes() {
    let shop = Vendors::simulated().await;
    let (rpc, http) = (Rpc::of(&shop, "coffer"), Http::of(&shop).await);
    let (Some(mut sdk), Some(mut alibaba)) = (shop.huawei("coffer"), shop.alibaba("coffer")) else { return };
    let older = shop.older("mysql", "5.7").await;
    let pair = Pair::make(&shop.api, "mysql", &older).await;
    let (rm, hw) = vendors(&pair.id);
    assert_eq!(zones(&http, &hw).await, ["az1", "az2"]);
    let (_, all) = http.send("GET", "/instances", None).await;
    assert_eq!(all["total_count"], 1, "members are not listed: {all}");
    let (_, all) = rpc.ask("DescribeDBInstances", &[]).await;
    assert_eq!(
        (&all["TotalRecordCount"], &all["Items"]["DBInstance"][0]["DBInstanceId"]),
        (&json!(1), &json!(rm)),
        "{all}"
    );
    let (_, member) = vendors(&pair.primary);
    let (code, told) = http.send("POST", &format!("/instances/{member}/db-upgrade"), None).await;
    assert_eq!((code, &told["error_code"]), (404, &json!("DBS.200002")), "{told}");
    let (code, told) = http.send("GET", &format!("/instances/{hw}/db-auto-upgrade"), None).await;
    assert_eq!((code, &told["error_code"]), (400, &json!("DBS.280238")), "{told}");
    let policy = json!({"upgrade_policy": {"minor": "window"}});
    let (code, told) =
        shop.api.put(&format!("/instances/{}/upgrade-policy", pair.primary), &policy).await.unwrap();
    assert_eq!(code, 422, "{told}");
    let window = Some(r#"{"start_time": "22:00", "end_time": "02:00"}"#);
    assert_eq!(http.send("PUT", &format!("/instances/{hw}/ops-window"), window).await.0, 200);

    // Without the switchback the roles have changed their zones.
    let upgrade = format!("/instances/{hw}/db-upgrade");
    let it = json!({"instance_id": hw});
    let asked = sdk.call("upgrade_db_version_new", &it, &json!({"second_switch": false}));
    assert_eq!(asked["status"], 202, "{asked}");
    let job = asked["body"]["job_id"].as_str().unwrap();
    let (code, again) = http.send("POST", &upgrade, None).await;
    assert_eq!((code, &again["error_code"]), (409, &json!("DBS.200019")), "{again}");
    let range = [("FromStartTime", "2026-01-01T00:00:00Z"), ("ToStartTime", "2099-01-01T00:00:00Z")];
    let (_, theirs) = rpc.ask("DescribeHistoryTasks", &range).await;
    let theirs = &theirs["Items"][0];
    assert_eq!(
        (&theirs["InstanceId"], &theirs["TaskType"]),
        (&json!(rm), &json!("UpgradeDBInstanceKernelVersion")),
        "{theirs}"
    );
    let number = theirs["TaskId"].as_str().unwrap().to_owned();
    reaches(&rpc, &number, "Succeed").await;
    assert_eq!(zones(&http, &hw).await, ["az2", "az1"]);
    let (_, seen) = http.send("GET", &format!("/jobs?id={job}"), None).await;
    assert_eq!(
        [&seen["job"]["status"], &seen["job"]["name"], &seen["job"]["instance"]["id"]],
        [&json!("Completed"), &json!("UPGRADE_DB_VERSION"), &json!(hw)],
        "{seen}"
    );
    let (code, none) = http.send("POST", &upgrade, None).await;
    assert_eq!((code, &none["error_code"]), (400, &json!("DBS.280238")), "{none}");
    let (_, none) = rpc.ask("UpgradeDBInstanceKernelVersion", &[("DBInstanceId", &*rm)]).await;
    assert_eq!(none["Code"], "InvalidMinorVersionAlreadyLatest", "{none}");

    // Switched by one vendor's call, and back by the other's.
    let switched = sdk.call("start_failover", &it, &json!({"force": false}));
    assert_eq!(switched["body"]["instance_id"], json!(hw), "{switched}");
    assert_eq!(zones(&http, &hw).await, ["az1", "az2"]);
    let (_, nodes) = rpc.ask("DescribeDBInstanceHAConfig", &[("DBInstanceId", &*rm)]).await;
    let nodes =
        nodes["HostInstanceInfos"]["NodeInfo"].as_array().unwrap_or_else(|| panic!("{nodes}")).clone();
    let node =
        |kind: &str| nodes.iter().find(|node| node["NodeType"] == kind).unwrap()["NodeId"].as_str().unwrap();
    for (of, code) in [(node("Master"), "InvalidParameter"), ("none", "InvalidParameter")] {
        let (_, told) = rpc.ask("SwitchDBInstanceHA", &[("DBInstanceId", &*rm), ("NodeId", of)]).await;
        assert_eq!(told["Code"], code, "{told}");
    }
    let to = [("DBInstanceId", &*rm), ("NodeId", node("Slave"))];
    let params: serde_json::Map<String, Value> =
        to.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let told = alibaba.call("tea", "SwitchDBInstanceHA", &params.into());
    assert!(told["body"]["RequestId"].is_string(), "{told}");
    assert_eq!(zones(&http, &hw).await, ["az2", "az1"]);

    // To another version, with a token, and both roles end where they were.
    let pair = Pair::make(&shop.api, "mysql", "5.6").await;
    let (rm, hw) = vendors(&pair.id);
    let ask = |version| [("DBInstanceId", &*rm), ("EngineVersion", version), ("ClientToken", "pair")];
    let (_, refused) = rpc.ask("UpgradeDBInstanceEngineVersion", &ask("8.0")).await;
    assert_eq!(refused["Code"], "IncorrectEngineVersion", "{refused}");
    let (_, asked) = rpc.ask("UpgradeDBInstanceEngineVersion", &ask("5.7")).await;
    let number = asked["TaskId"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    assert_eq!(rpc.ask("UpgradeDBInstanceEngineVersion", &ask("5.7")).await.1["TaskId"], number);
    let (_, seen) = rpc.ask("DescribeDBInstanceAttribute", &[("DBInstanceId", &*rm)]).await;
    assert_eq!(
        seen["Items"]["DBInstanceAttribute"][0]["DBInstanceStatus"], "EngineVersionUpgrading",
        "{seen}"
    );
    assert_eq!(show(&shop.api, &pair.id).await.unwrap()["state"], "UPGRADING");
    reaches(&rpc, &number, "Succeed").await;
    assert_eq!(zones(&http, &hw).await, ["az1", "az2"]);
    let (_, seen) = rpc.ask("DescribeDBInstanceAttribute", &[("DBInstanceId", &*rm)]).await;
    let seen = &seen["Items"]["DBInstanceAttribute"][0];
    assert_eq!(
        (&seen["EngineVersion"], &seen["Category"]),
        (&json!("5.7"), &json!("HighAvailability")),
        "{seen}"
    );
}

/// A request that is signed for Huawei's dialect at that time, by GET.
fn signed(shop: &Vendors, http: &Http, path: &str, at: DateTime<Utc>) -> reqwest::RequestBuilder {
    let text = |name: &str| shop.keys["coffer"][name].as_str().unwrap();
    let url = format!("{}{path}", http.url);
    let host = shop.url.strip_prefix("http://").unwrap();
    let date = at.format("%Y%m%dT%H%M%SZ").to_string();
    let signature = |signature: &str| {
        format!(
            "SDK-HMAC-SHA256 Access={}, SignedHeaders=host;x-sdk-date, Signature={signature}",
            text("access_key")
        )
    };
    let authorization = signature(&"0".repeat(64));
    let headers = [("host", host), ("x-sdk-date", &date), ("authorization", &authorization)]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let path = url.strip_prefix(&shop.url).unwrap();
    let request = SignedRequest { method: "GET", path, query: "", headers: &headers, body: b"" };
    let claim = sdk_hmac::claim(&request).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, text("secret_key").as_bytes());
    let made = hmac::sign(&key, claim.string_to_sign.as_bytes());
    let hex: String = made.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    http.http.get(&url).header("x-sdk-date", date).header("authorization", signature(&hex))
}

/// Old clocks, copies, too many requests, and maintenance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_or_twice_or_too_often_is_refused() {
    let shop =
        Vendors::of(House::start_with(&["--runtime", "simulated", "--limits", "rackspace"]).await).await;
    let (rpc, http) = (Rpc::of(&shop, "coffer"), Http::of(&shop).await);
    let now = Utc::now();
    let list = "DescribeDBInstances";
    let query = rpc.signed("GET", list, &[("Format", "JSON")], now);
    assert_eq!(rpc.send(&query).await.0, 200);
    let (code, text) = rpc.send(&query).await;
    assert!(code == 400 && text.contains("SignatureNonceUsed"), "{text}");
    for minutes in [-16, 16] {
        let at = now + TimeDelta::minutes(minutes);
        let (code, text) = rpc.send(&rpc.signed("GET", list, &[("Format", "JSON")], at)).await;
        assert!(code == 400 && text.contains("InvalidTimeStamp.Expired"), "{text}");
        let (code, told) = answer(signed(&shop, &http, "/instances", at)).await;
        assert_eq!((code, &told["error_code"]), (401, &json!("APIGW.0303")), "{told}");
    }
    assert_eq!(answer(signed(&shop, &http, "/instances", now)).await.0, 200);

    let admin = shop.house().login("coffer-admin").await;
    let maintenance = |on: bool| json!({"on": on, "retry_after": 30});
    admin.put("/mgmt/maintenance", &maintenance(true)).await.unwrap();
    wait_for("the maintenance is on", Duration::from_secs(20), async || {
        let (code, told) = http.send("GET", "/instances", None).await;
        (code == 503 && told["error_code"] == "DBS.200005").then_some(())
    })
    .await;
    let (code, text) = rpc.get(list, &[]).await;
    assert!(code == 503 && text.contains("<Code>ServiceUnavailable</Code>"), "{text}");
    admin.put("/mgmt/maintenance", &maintenance(false)).await.unwrap();
    wait_for("the maintenance is off", Duration::from_secs(20), async || {
        (http.send("GET", "/instances", None).await.0 == 200).then_some(())
    })
    .await;

    // Twenty a minute of what changes something.
    let none = format!("/instances/{}in01/db-upgrade", "0".repeat(32));
    let mut codes = Vec::new();
    for _ in 0..25 {
        codes.push(http.send("POST", &none, None).await);
    }
    let (code, told) = codes.last().unwrap();
    assert_eq!((*code, &told["error_code"]), (429, &json!("APIGW.0308")), "{told}");
    let form = rpc.signed("POST", list, &[("Format", "JSON")], Utc::now());
    let request = rpc.http.post(format!("{}/", shop.url));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    let sent = request.send().await.unwrap();
    let seconds: u32 = sent.headers()["x-acs-retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(sent.text().await.unwrap().contains("Throttling.User"));
}
