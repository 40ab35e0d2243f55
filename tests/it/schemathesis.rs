//! The API, asked by schemathesis for everything that its own document allows and for much that it does not: nothing is
//! answered by a 5xx, by a code or a type that the document does not list, or in another shape. On simulated servers,
//! as a member and as an admin. A 501 is documented: the service says that it does not do something yet.

use std::path::Path;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use serde_json::json;

use crate::harness::healthy;
use crate::harness::roles::Roles;

/// Each example is a request; with the fixed seed two runs ask the same.
const EXAMPLES: u32 = 8;

/// Longer than it takes on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(400);

async fn instance(api: &Client) -> String {
    let body = json!({"instance": {"name": "orders", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mysql", "version": "5.6"}, "databases": [{"name": "shop"}]}});
    let (status, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    healthy(api, &id).await;
    id
}

async fn ask(cloud: &str) {
    let program = std::env::var("COFFER_TEST_SCHEMATHESIS").expect(
        "COFFER_TEST_SCHEMATHESIS is not set: `make test` installs schemathesis and says where it is",
    );
    let roles = Roles::start("simulated").await;
    let api = roles.login(cloud).await;
    // The one is upgraded and deleted. The other is told to fail, a 500 among it, which is then what is right: it is
    // another project's, so that nothing else is asked of it.
    let elsewhere = roles.login(if cloud == "coffer" { "coffer-admin" } else { "coffer" }).await;
    let (one, other) = (instance(&api).await, instance(&elsewhere).await);
    let base = api.base().rsplit_once("/v1.0/").unwrap().0;
    let config = roles.folder().join(format!("{cloud}.toml"));
    let (project, token) = (&api.project, api.token());
    // The events of a task that waits for its customer have no end: the tests of the stream read them.
    // Maintenance would turn all other requests away, which is what it is for; the tests of the matrix switch it.
    std::fs::write(
        &config,
        format!(
            r#"base-url = "{base}"
headers = {{ X-Auth-Token = "{token}" }}
workers = 1
seed = 1
suppress-health-check = ["all"]

[parameters]
"path.project" = "{project}"
"path.tenant" = "{project}"
"path.datastore" = "mysql"
"path.version" = "5.6"

[generation]
max-examples = {EXAMPLES}
database = "none"

[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]

[[operations]]
include-name-regex = "/instances/"
exclude-operation-id-regex = "Simulation$"
parameters = {{ "path.id" = "{one}" }}

[[operations]]
include-operation-id-regex = "Simulation$"
parameters = {{ "path.id" = "{other}" }}

[[operations]]
include-operation-id = "setMaintenance"
enabled = false

[[operations]]
include-operation-id = "watchTask"
enabled = false
"#
        ),
    )
    .unwrap();
    // An action's 202 has a body for an upgrade and none else, which no document can say of one code; our own tests hold the
    // body where there is one.
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("api-ref/openapi.json");
    let mut whole: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();
    let action = &mut whole["paths"]["/v1.0/{project}/instances/{id}/action"]["post"]["responses"]["202"];
    assert!(action.as_object_mut().unwrap().remove("content").is_some());
    let document = roles.folder().join(format!("{cloud}.json"));
    std::fs::write(&document, whole.to_string()).unwrap();
    let run = tokio::process::Command::new(program)
        .arg("--config-file")
        .arg(&config)
        .arg("run")
        .arg(&document)
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance,ignored_auth"])
        .args(["--phases", "examples,coverage,fuzzing", "--warnings", "off", "--no-color"])
        .current_dir(roles.folder())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(DEADLINE, run).await.expect("schemathesis ends").unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    let tail: String = told.chars().rev().take(6_000).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(ran.status.success(), "{tail}");
    // It has asked, and was answered.
    assert!(told.contains("generated"), "{tail}");
    println!("{}", told.lines().find(|line| line.contains("generated")).unwrap_or_default().trim());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_a_member() {
    ask("coffer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_an_admin() {
    ask("coffer-admin").await;
}
