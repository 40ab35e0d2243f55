//! What the service tells of itself: metrics that move with what happens, readiness that names what is missing, and logs
//! by which a request is followed into its task.

use std::collections::BTreeSet;
use std::time::Duration;

use coffer::telemetry::metrics::ALL;
use serde_json::{Value, json};

use crate::harness::roles::{Role, Roles};
use crate::harness::{ask_for_detach, bed, healthy, status, wait_for};

/// A port that was free a moment ago.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The metrics' text; holds Prometheus's format: families are described once, before their lines, and each line is a
/// name, labels and a number.
async fn scrape(base: &str) -> String {
    let (code, text) = get(&format!("{base}/metrics")).await;
    assert_eq!(code, 200, "{text}");
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP ")) {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap();
            assert!(families.insert(name), "{name} is described twice");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            family = name;
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = name.split('{').next().unwrap();
        assert!(name.starts_with(family) && !family.is_empty(), "{line} stands below {family}");
        assert!(ALL.iter().any(|(known, ..)| *known == family), "{family} is not in the list");
    }
    text
}

/// The value of a line, 0 where there is none.
fn value(text: &str, line: &str) -> f64 {
    text.lines()
        .find_map(|told| told.strip_prefix(line)?.strip_prefix(' '))
        .map_or(0.0, |value| value.parse().unwrap())
}

const SHOW: &str = "route=\"/v1.0/{project}/instances/{id}\",method=\"GET\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_move_with_what_happens() {
    let worker = free_address();
    let variables = [("COFFER_METRICS", worker.as_str())];
    let mut roles = Roles::start_with("simulated", &variables, 30).await;
    let (api, base) = (roles.login("coffer").await, roles.base());
    let worker = format!("http://{worker}");

    let before = scrape(&base).await;
    let body = json!({"instance": {"name": "orders", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mysql", "version": "5.6"}}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    healthy(&api, &id).await;
    let upgrade = json!({"upgrade": {"datastore_type": "mysql", "datastore_version": "5.7"}});
    let (code, answer) = api.post(&format!("/instances/{id}/action"), &upgrade).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    let new = answer["instance"]["id"].as_str().unwrap().to_owned();
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    // What was made up is under one label each, and an instance that is not there under its route's.
    assert_eq!(get(&format!("{base}/nothing/like/it")).await.0, 404);
    let nobody = api.read(&format!("/instances/{}", uuid::Uuid::new_v4())).await.unwrap();
    assert_eq!(nobody.0, 404);

    // Counts of the store are some seconds old at most.
    let after = wait_for("the store is counted again", Duration::from_secs(30), async || {
        let text = scrape(&base).await;
        (value(&text, "coffer_tasks{kind=\"upgrade\",state=\"verifying\"}") == 1.0).then_some(text)
    })
    .await;
    for line in [
        "coffer_http_requests_total{route=\"/v1.0/{project}/instances\",method=\"POST\",code=\"200\"}".to_owned(),
        "coffer_http_requests_total{route=\"/v1.0/{project}/instances/{id}/action\",method=\"POST\",code=\"202\"}"
            .to_owned(),
        "coffer_http_requests_total{route=\"(unknown)\",method=\"GET\",code=\"404\"}".to_owned(),
        format!("coffer_http_requests_total{{{SHOW},code=\"404\"}}"),
    ] {
        assert_eq!(value(&after, &line) - value(&before, &line), 1.0, "{line}\n{after}");
    }
    let shown = format!("coffer_http_request_seconds_count{{{SHOW}}}");
    assert!(value(&after, &shown) > value(&before, &shown));
    assert_eq!(value(&after, "coffer_instances{state=\"verify_upgrade\"}"), 2.0, "{after}");
    assert_eq!(value(&after, "coffer_hosts{state=\"heard\"}"), 1.0);
    assert_eq!(value(&after, "coffer_store_up"), 1.0);
    assert!(value(&after, "coffer_process_resident_bytes") > 1e6);
    assert!(!after.contains(&id) && !after.contains(&api.project), "no instance and no project is a label");

    let told = scrape(&worker).await;
    assert_eq!(value(&told, "coffer_task_steps_total{kind=\"upgrade\",step=\"seed\",outcome=\"done\"}"), 1.0);
    assert_eq!(value(&told, "coffer_task_step_seconds_count{kind=\"create\",step=\"start\"}"), 1.0, "{told}");
    assert_eq!(value(&told, "coffer_tasks_ended_total{kind=\"create\",state=\"succeeded\"}"), 1.0);
    assert_eq!(value(&told, "coffer_tasks_ended_total{kind=\"upgrade\",state=\"verifying\"}"), 1.0);
    wait_for("both servers are seen", Duration::from_secs(30), async || {
        let told = scrape(&worker).await;
        (value(&told, "coffer_servers{engine=\"mysql\",state=\"answers\"}") == 2.0).then_some(())
    })
    .await;
    assert_eq!(get(&format!("{worker}/readyz")).await.0, 200);
    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;

    // The store away: metrics go on, and what is missing is named.
    roles.stop_store().await;
    let (code, text) = get(&format!("{base}/readyz")).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &told["ready"]), (503, &json!(false)));
    assert_eq!(told["checks"][0]["name"], "store");
    assert_eq!(told["checks"][0]["missing"], "the store cannot be reached");
    assert!(!text.contains("host="), "nothing of how it is reached: {text}");
    assert_eq!(get(&format!("{base}/healthz")).await, (200, "OK".to_owned()));
    assert_eq!(get(&format!("{worker}/readyz")).await.0, 503);
    wait_for("the store is seen to be away", Duration::from_secs(30), async || {
        (value(&scrape(&base).await, "coffer_store_up") == 0.0).then_some(())
    })
    .await;
    roles.start_store().await;
    wait_for("the api is ready again", Duration::from_secs(30), async || {
        let (code, text) = get(&format!("{base}/readyz")).await;
        let told: Value = serde_json::from_str(&text).unwrap();
        crate::api_ref::hold("GET", "/readyz", code, &told);
        (code == 200 && told["checks"][2]["name"] == "worker").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_followed_into_its_task() {
    let roles = Roles::start_with("simulated", &[("COFFER_LOG_FORMAT", "json")], 30).await;
    let api = roles.login("coffer").await;
    let body = json!({"instance": {"name": "orders", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mysql", "version": "5.6"}, "users": [{"name": "app", "password": "marker-7f3a"}]}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap();
    healthy(&api, id).await;

    let lines = |role| -> Vec<Value> {
        let told = roles.told(role);
        assert!(!told.contains("marker-7f3a"), "a password is in the log");
        told.lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let accepted = lines(Role::Api).into_iter().find(|line| line["message"] == "creation accepted").unwrap();
    assert_eq!(accepted["instance.id"], id);
    let request = &accepted["spans"][0];
    assert!(request["request_id"].as_str().unwrap().starts_with("req-"), "{accepted}");
    assert_eq!(request["route"], "/v1.0/{project}/instances");
    let task = accepted["task.id"].as_str().unwrap().to_owned();
    wait_for("the worker tells that the task rests", Duration::from_secs(30), async || {
        let lines = lines(Role::Worker(0));
        let of_task = lines.iter().filter(|line| line["spans"][0]["task.id"] == *task);
        of_task
            .into_iter()
            .any(|line| line["message"] == "the task rests" && line["state"] == "succeeded")
            .then_some(())
    })
    .await;
}

/// The bed is a `dev`: one scrape shows its endpoint, too, which is another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_shows_its_endpoint() {
    assert!(bed().state.exists());
    let base = std::env::var("COFFER_TEST_BED").expect("COFFER_TEST_BED is not set: `make test` sets it");
    wait_for("the endpoint follows", Duration::from_secs(30), async || {
        let text = scrape(&base).await;
        let up = value(&text, "coffer_endpoint_up") == 1.0;
        (up && value(&text, "coffer_endpoint_following") == 1.0).then_some(())
    })
    .await;
}

#[test]
fn every_metric_is_on_the_page_and_no_other() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("api-ref/observability.md");
    let text = std::fs::read_to_string(path).unwrap();
    let told: BTreeSet<&str> = text
        .split('`')
        .filter(|word| {
            word.starts_with("coffer_") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
        .collect();
    let known: BTreeSet<&str> = ALL.iter().map(|(name, ..)| *name).collect();
    assert_eq!(told, known);
}
