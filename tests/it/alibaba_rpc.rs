//! Alibaba RDS's calls as no client of the vendor's sends them, with a signature that is right.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::cases;
use crate::harness::rpc::Rpc;
use crate::harness::vendors::Vendors;

const ACTIONS: [&str; 14] = [
    "UpgradeDBInstanceEngineVersion",
    "UpgradeDBInstanceKernelVersion",
    "DescribeDBInstances",
    "DescribeDBInstanceAttribute",
    "ModifyDBInstanceMaintainTime",
    "ModifyDBInstanceAutoUpgradeMinorVersion",
    "DescribeTasks",
    "DescribeHistoryTasks",
    "ModifyTaskInfo",
    "SwitchDBInstanceHA",
    "UpgradeDBInstanceMajorVersionPrecheck",
    "DescribeUpgradeMajorVersionPrecheckTask",
    "UpgradeDBInstanceMajorVersion",
    "DescribeUpgradeMajorVersionTasks",
];

const NAMES: [&str; 24] = [
    "DBInstanceId",
    "EngineVersion",
    "EffectiveTime",
    "ClientToken",
    "UpgradeTime",
    "SwitchTime",
    "TargetMinorVersion",
    "MaintainTime",
    "AutoUpgradeMinorVersion",
    "PageNumber",
    "PageSize",
    "TaskId",
    "TaskAction",
    "ActionParams",
    "FromStartTime",
    "ToStartTime",
    "StartTime",
    "EndTime",
    "NodeId",
    "TargetMajorVersion",
    "UpgradeMode",
    "SwitchOver",
    "SwitchTimeMode",
    "Format",
];

/// Fifty at once with one token are one task; as JSON and as XML, by GET and by POST.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_one_task_however_it_is_sent() {
    let shop = Vendors::simulated().await;
    let rpc = Rpc::of(&shop, "coffer");
    let id = shop.create("mysql", "token", "5.6").await;
    let name = format!("rm-{}", id.replace('-', ""));
    let params = |format| {
        [("DBInstanceId", &*name), ("EngineVersion", "5.7"), ("ClientToken", "one"), ("Format", format)]
    };
    let task = |text: &str| {
        let json: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
        json["TaskId"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let answers = futures::future::join_all((0..50).map(|at| {
        let (rpc, params) = (&rpc, params("JSON"));
        async move {
            match at % 2 {
                0 => rpc.get("UpgradeDBInstanceEngineVersion", &params).await,
                _post => rpc.post("UpgradeDBInstanceEngineVersion", &params).await,
            }
        }
    }))
    .await;
    let first = task(&answers[0].1);
    for (status, text) in &answers {
        assert_eq!((*status, task(text)), (200, first.clone()), "{text}");
    }
    let (_, all) = shop.api.read(&format!("/instances/{id}/upgrades")).await.unwrap();
    assert_eq!(all["upgrades"].as_array().unwrap().len(), 1, "{all}");
    let (status, xml) = rpc.get("UpgradeDBInstanceEngineVersion", &params("XML")).await;
    let says = format!("<TaskId>{first}</TaskId>");
    assert!(
        status == 200 && xml.contains("<UpgradeDBInstanceEngineVersionResponse>") && xml.contains(&says),
        "{xml}"
    );
    let (_, xml) = rpc.post("DescribeDBInstances", &[]).await;
    assert!(
        xml.contains(&format!("<DBInstanceId>{name}</DBInstanceId>")),
        "without a format it is XML: {xml}"
    );
    let other = [("DBInstanceId", &*name), ("EngineVersion", "8.0"), ("ClientToken", "one")];
    let (status, xml) = rpc.get("UpgradeDBInstanceEngineVersion", &other).await;
    assert!(status == 400 && xml.contains("<Code>IdempotentParameterMismatch</Code>"), "{xml}");

    // What nobody would send, with a signature that is right: an answer of the dialect's, and nothing begun.
    let none = format!("rm-{}", uuid::Uuid::new_v4().as_simple());
    let value = prop_oneof![
        ".{0,20}",
        "[0-9]{1,30}",
        proptest::sample::select(vec![none, "5.7".to_owned(), "Immediate".to_owned(), "{}".to_owned()]),
        "2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
    ];
    let any = (
        proptest::sample::select(ACTIONS.to_vec()),
        proptest::collection::vec((proptest::sample::select(NAMES.to_vec()), value), 0..8),
        any::<bool>(),
    );
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let checked =
            TestRunner::new(Config::with_cases(cases(150))).run(&any, |(action, params, posted)| {
                let params: Vec<(&str, &str)> =
                    params.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let (status, text) = handle.block_on(async {
                    match posted {
                        true => rpc.post(action, &params).await,
                        false => rpc.get(action, &params).await,
                    }
                });
                prop_assert!(status < 500, "{action} {params:?}: {status} {text}");
                prop_assert!(text.contains("RequestId"), "{action} {params:?}: {text}");
                Ok(())
            });
        checked.unwrap();
    });
    let (_, all) = shop.api.read("/tasks").await.unwrap();
    let upgrades = all["tasks"].as_array().unwrap().iter().filter(|task| task["kind"] == "upgrade").count();
    assert_eq!(upgrades, 1, "{all}");
}
