//! Alibaba RDS's calls as no client of the vendor's sends them: by hand, with a signature that is right, so that what is
//! refused is refused for what it asks.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer::auth::signatures::{SignedRequest, encoded, rpc_v1};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::cases;
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

/// Sends signed requests.
struct Rpc<'a> {
    http: reqwest::Client,
    shop: &'a Vendors,
}

impl<'a> Rpc<'a> {
    fn of(shop: &'a Vendors) -> Self {
        Self { http: reqwest::Client::new(), shop }
    }

    /// The query of such a call, or the form.
    fn signed(&self, method: &str, action: &str, params: &[(&str, &str)]) -> String {
        let text = |name: &str| self.shop.keys["coffer"][name].as_str().unwrap();
        let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce = uuid::Uuid::new_v4().to_string();
        let common = [
            ("Action", action),
            ("Version", "2014-08-15"),
            ("AccessKeyId", text("access_key")),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &now),
        ];
        let mut all: Vec<(String, String)> = common
            .iter()
            .chain(params)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let empty = STANDARD.encode([0; 20]);
        all.push(("Signature".to_owned(), empty));
        let request = SignedRequest { method, path: "/", query: "", headers: &[], body: b"" };
        let claim = rpc_v1::claim(&request, &all).unwrap();
        let key = format!("{}&", text("secret_key"));
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, claim.string_to_sign.as_bytes()));
        all.last_mut().unwrap().1 = signature;
        let pairs: Vec<String> =
            all.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        pairs.join("&")
    }

    async fn get(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let query = self.signed("GET", action, params);
        let sent = self.http.get(format!("{}/?{query}", self.shop.url)).send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    }

    async fn post(&self, action: &str, params: &[(&str, &str)]) -> (u16, String) {
        let form = self.signed("POST", action, params);
        let request = self.http.post(format!("{}/", self.shop.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let sent = request.send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    }
}

/// Fifty at once with one token are one task; as JSON and as XML, by GET and by POST.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_one_task_however_it_is_sent() {
    let shop = Vendors::simulated().await;
    let rpc = Rpc::of(&shop);
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
