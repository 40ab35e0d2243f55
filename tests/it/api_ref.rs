//! api-ref cannot lie: its samples are sent and compared, its OpenAPI document is the one that the code makes, and
//! every answer that any test of the API gets is held against it ([`hold`], called by `test_api::told`).
//!
//! `COFFER_UPDATE=1` writes what the service answers into `api-ref/` instead of comparing.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use coffer::api::limits::Profile;
use coffer::api::{openapi, routes};
use serde_json::{Value, json};

use crate::harness::roles::Roles;
use crate::harness::{store, wait_for};
use crate::test_api::{Setting, TestApi};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("api-ref")
}

fn updates() -> bool {
    std::env::var_os("COFFER_UPDATE").is_some()
}

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(openapi::document)
}

/// Holds an answer against the document: its code is there for the route, and its body has the shape. What no route is
/// is refused, which needs no line.
pub fn hold(method: &str, path: &str, status: u16, body: &Value) {
    type Validators = Mutex<HashMap<(&'static str, &'static str, u16), Option<jsonschema::Validator>>>;
    static VALIDATORS: OnceLock<Validators> = OnceLock::new();
    // A method that a path does not have is told by every path.
    if status == 405 {
        return;
    }
    let segments: Vec<Option<String>> =
        path.trim_start_matches('/').split('/').map(|part| Some(part.to_owned())).collect();
    let mut fitting = routes().filter(|route| route.matches(&segments).is_some());
    // Where two paths fit, the first one is meant.
    let Some(first) = fitting.next() else { return };
    let Some(route) = routes().find(|route| route.path == first.path && route.method == method) else {
        return;
    };
    let what = format!("{method} {path}: {status} {body}");
    let responses = &document()["paths"][route.path][method.to_lowercase()]["responses"];
    let response = &responses[status.to_string()];
    assert!(!response.is_null(), "the code is not in the document: {what}");
    let mut validators = VALIDATORS.get_or_init(Mutex::default).lock().unwrap();
    let validator = validators.entry((route.method, route.path, status)).or_insert_with(|| {
        let schema = response["content"].as_object()?.get("application/json")?["schema"].clone();
        let whole = json!({"allOf": [schema], "components": document()["components"]});
        Some(jsonschema::validator_for(&whole).expect("a schema"))
    });
    match validator {
        // An upgrade tells the new instance; other actions tell nothing, by the same code.
        Some(_) if body.is_null() && route.path.ends_with("/instances/{id}/action") => {}
        Some(validator) => {
            let wrong: Vec<String> =
                validator.iter_errors(body).map(|e| format!("{} at {}", e, e.instance_path())).collect();
            assert!(wrong.is_empty(), "{wrong:?}: {what}");
        }
        // Nothing, or text.
        None => assert!(body.is_null() || body.is_string(), "a body is not in the document: {what}"),
    }
}

#[test]
fn the_document_is_the_one_that_the_code_makes() {
    let path = folder().join("openapi.json");
    let made = serde_json::to_string_pretty(document()).unwrap() + "\n";
    if updates() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == made, "api-ref/openapi.json is old: target/debug/coffer openapi > api-ref/openapi.json");
    jsonschema::meta::validate(&json!({"$defs": document()["components"]["schemas"]})).unwrap();
}

#[test]
fn every_route_is_in_the_document_and_no_other() {
    let tables: BTreeSet<(String, String)> =
        routes().map(|route| (route.path.to_owned(), route.method.to_lowercase())).collect();
    let mut documented = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            documented.insert((path.clone(), method.clone()));
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} is there twice");
            let page = folder().join(operation["tags"][0].as_str().unwrap());
            let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
            // A page tells of its routes by their path below the project, whatever it calls their names.
            let below = path.strip_prefix("/v1.0/{project}").filter(|rest| !rest.is_empty()).unwrap_or(path);
            let (text, below) = (nameless(&text), nameless(below));
            assert!(text.contains(&below), "{} does not tell of {below}", page.display());
        }
    }
    assert_eq!(documented, tables);
}

/// The text with nothing in its braces.
fn nameless(text: &str) -> String {
    let mut pieces = text.split('{');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |told, piece| match piece.split_once('}') {
        Some((_, after)) => told + "{}" + after,
        None => told + "{" + piece,
    })
}

/// A request of the story, and the samples of its body and of its answer.
struct Ask {
    cloud: &'static str,
    method: &'static str,
    path: &'static str,
    request: Option<&'static str>,
    status: u16,
    answer: Option<&'static str>,
}

const fn ask(
    cloud: &'static str,
    method: &'static str,
    path: &'static str,
    request: Option<&'static str>,
    status: u16,
    answer: Option<&'static str>,
) -> Ask {
    Ask { cloud, method, path, request, status, answer }
}

const MEMBER: &str = "coffer";
const ADMIN: &str = "coffer-admin";

/// Each part ends where something must be waited for. `{name}` is what [`Story::names`] holds.
const BEGIN: &[Ask] = &[
    ask("", "GET", "/", None, 200, Some("versions")),
    ask("", "GET", "/v1.0", None, 200, Some("version")),
    ask(
        "",
        "POST",
        "/identity/v3/auth/tokens",
        Some("identity-token-request"),
        201,
        Some("identity-token-response"),
    ),
    ask(MEMBER, "GET", "/datastores", None, 200, Some("datastores")),
    ask(MEMBER, "GET", "/datastores/mariadb/versions/10.4", None, 200, Some("datastore-version")),
    ask(MEMBER, "GET", "/flavors", None, 200, Some("flavors")),
    ask(MEMBER, "POST", "/instances", Some("instance-create-request"), 200, Some("instance-create-response")),
];
const SERVES: &[Ask] = &[
    ask(MEMBER, "GET", "/instances/{instance}", None, 200, Some("instance-show")),
    ask(MEMBER, "GET", "/instances", None, 200, Some("instances")),
    ask(MEMBER, "GET", "/instances/detail", None, 200, Some("instances-detail")),
    ask(MEMBER, "GET", "/instances/{instance}/databases?limit=1", None, 200, Some("databases")),
    ask(MEMBER, "GET", "/instances/{instance}/users", None, 200, Some("users")),
    ask(MEMBER, "POST", "/instances/{instance}/databases", Some("databases-create-request"), 202, None),
    ask(MEMBER, "POST", "/instances/{instance}/users", Some("users-create-request"), 202, None),
    ask(MEMBER, "PUT", "/instances/{instance}/users", Some("users-passwords-request"), 202, None),
    ask(
        MEMBER,
        "PUT",
        "/instances/{instance}/users/report%4010.0.%25",
        Some("user-update-request"),
        202,
        None,
    ),
    ask(MEMBER, "DELETE", "/instances/{instance}/users/archivist/databases/archive", None, 202, None),
    ask(
        MEMBER,
        "PUT",
        "/instances/{instance}/users/archivist/databases",
        Some("user-grant-request"),
        202,
        None,
    ),
    ask(MEMBER, "GET", "/instances/{instance}/users/archivist", None, 200, Some("user")),
    ask(MEMBER, "GET", "/instances/{instance}/users/archivist/databases", None, 200, Some("user-databases")),
    ask(MEMBER, "POST", "/instances/{instance}/users/backup", Some("user-create-request"), 202, None),
    ask(MEMBER, "DELETE", "/instances/{instance}/users/backup", None, 202, None),
    ask(MEMBER, "DELETE", "/instances/{instance}/users/archivist", None, 202, None),
    ask(MEMBER, "DELETE", "/instances/{instance}/databases/archive", None, 202, None),
    ask(MEMBER, "POST", "/instances/{instance}/root", Some("root-request"), 200, Some("root")),
    ask(MEMBER, "GET", "/instances/{instance}/root", None, 200, Some("root-enabled")),
    ask(MEMBER, "DELETE", "/instances/{instance}/root", None, 204, None),
    ask(MEMBER, "GET", "/datastores/mariadb/versions/10.4/parameters", None, 200, Some("parameters")),
    ask(
        MEMBER,
        "GET",
        "/datastores/mariadb/versions/10.4/parameters/max_connections",
        None,
        200,
        Some("parameter"),
    ),
    ask(
        MEMBER,
        "POST",
        "/configurations",
        Some("configuration-create-request"),
        200,
        Some("configuration-create-response"),
    ),
    ask(MEMBER, "GET", "/configurations", None, 200, Some("configurations")),
    ask(MEMBER, "PATCH", "/configurations/{configuration}", Some("configuration-update-request"), 200, None),
    ask(MEMBER, "GET", "/configurations/{configuration}", None, 200, Some("configuration")),
    ask(MEMBER, "PUT", "/configurations/{configuration}", Some("configuration-replace-request"), 202, None),
    ask(
        MEMBER,
        "GET",
        "/configurations/{configuration}/instances",
        None,
        200,
        Some("configuration-instances"),
    ),
    ask(MEMBER, "DELETE", "/configurations/{configuration}", None, 202, None),
    ask(MEMBER, "GET", "/instances/{instance}/configuration", None, 200, Some("configuration-default")),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/ssl",
        Some("tls-enable-request"),
        200,
        Some("tls-enable-response"),
    ),
    ask(MEMBER, "GET", "/instances/{instance}/ssl", None, 200, Some("tls")),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/log",
        Some("log-enable-request"),
        200,
        Some("log-enable-response"),
    ),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/log",
        Some("log-publish-request"),
        200,
        Some("log-publish-response"),
    ),
    ask(MEMBER, "GET", "/instances/{instance}/log", None, 200, Some("logs")),
    ask(MEMBER, "PATCH", "/instances/{instance}", Some("instance-rename-request"), 202, None),
    ask(MEMBER, "POST", "/instances/{instance}/action", Some("instance-restart-request"), 202, None),
];
const RESTARTED: &[Ask] = &[
    ask(MEMBER, "POST", "/instances/{instance}/action", Some("instance-resize-volume-request"), 202, None),
    ask(MEMBER, "POST", "/instances/{instance}/action", Some("instance-resize-request"), 202, None),
];
const RESIZED: &[Ask] = &[
    ask(ADMIN, "POST", "/instances/{instance}/action", Some("instance-reset-request"), 202, None),
    ask(ADMIN, "GET", "/mgmt/instances/{instance}/hwinfo", None, 200, Some("mgmt-hwinfo")),
    ask(ADMIN, "GET", "/mgmt/instances/{instance}/rpc_ping", None, 204, None),
    ask(ADMIN, "POST", "/mgmt/instances/{instance}/action", Some("mgmt-reset-request"), 202, None),
    ask(ADMIN, "POST", "/mgmt/instances/{instance}/action", Some("mgmt-reboot-request"), 202, None),
];
const REBOOTED: &[Ask] = &[
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/action",
        Some("upgrade-action-request"),
        202,
        Some("upgrade-action-response"),
    ),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/action",
        Some("upgrade-action-request"),
        422,
        Some("fault-unprocessable"),
    ),
];
const VERIFIES: &[Ask] = &[
    ask(MEMBER, "GET", "/instances/{new}", None, 200, Some("instance-verify-upgrade")),
    ask(MEMBER, "GET", "/tasks", None, 200, Some("tasks")),
    ask(MEMBER, "GET", "/tasks/{task}", None, 200, Some("task")),
    ask(MEMBER, "PATCH", "/instances/{new}", Some("instance-detach-request"), 202, None),
    ask(ADMIN, "GET", "/mgmt/upgrade-paths", None, 200, Some("upgrade-paths")),
];
/// The same instance, once it is alone again.
const SWITCHES: &[Ask] = &[
    ask(MEMBER, "GET", "/instances/{instance}/upgrade-targets", None, 200, Some("upgrade-targets")),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/upgrades",
        Some("upgrade-dry-run-request"),
        200,
        Some("upgrade-dry-run"),
    ),
    ask(MEMBER, "PUT", "/window", Some("window-request"), 200, Some("window")),
    ask(MEMBER, "GET", "/instances/{instance}/window", None, 200, Some("window")),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/upgrades",
        Some("upgrade-later-request"),
        202,
        Some("upgrade-scheduled"),
    ),
    ask(MEMBER, "PUT", "/tasks/{planned}/schedule", Some("schedule-request"), 200, Some("task-scheduled")),
    ask(MEMBER, "POST", "/tasks/{planned}/cancel", None, 202, None),
    ask(MEMBER, "DELETE", "/window", None, 200, Some("window-default")),
    ask(
        MEMBER,
        "PUT",
        "/instances/{instance}/upgrade-policy",
        Some("upgrade-policy-request"),
        200,
        Some("upgrade-policy"),
    ),
    ask(
        MEMBER,
        "POST",
        "/instances/{instance}/upgrades",
        Some("upgrade-request"),
        202,
        Some("upgrade-response"),
    ),
];
const SWITCHED: &[Ask] = &[
    ask(MEMBER, "GET", "/tasks/{upgrade}", None, 200, Some("task-upgrade")),
    ask(MEMBER, "GET", "/instances/{instance}/upgrades", None, 200, Some("upgrades")),
    ask(MEMBER, "POST", "/tasks/{upgrade}/cancel", None, 409, Some("fault-conflict")),
    ask(MEMBER, "PATCH", "/instances/{instance}", Some("instance-version-request"), 202, None),
];
const MAKES_A_GROUP: &[Ask] =
    &[ask(MEMBER, "POST", "/ha", Some("ha-create-request"), 202, Some("ha-create-response"))];
const UPGRADES_A_GROUP: &[Ask] = &[
    ask(MEMBER, "GET", "/ha/{group}", None, 200, Some("ha")),
    ask(MEMBER, "GET", "/ha", None, 200, Some("ha-list")),
    ask(MEMBER, "POST", "/ha/{group}/action", Some("ha-upgrade-request"), 202, Some("ha-upgrade-response")),
];
const DELETES_A_GROUP: &[Ask] = &[ask(MEMBER, "DELETE", "/ha/{group}", None, 202, None)];
const REFUSES: &[Ask] = &[
    ask(MEMBER, "POST", "/instances", Some("fault-bad-request-request"), 400, Some("fault-bad-request")),
    ask("", "GET", "/instances", None, 401, Some("fault-unauthorized")),
    ask("coffer-reader", "DELETE", "/instances/{instance}", None, 403, Some("fault-forbidden")),
    ask(
        MEMBER,
        "GET",
        "/instances/00000000-0000-4000-8000-000000000000",
        None,
        404,
        Some("fault-item-not-found"),
    ),
    ask(MEMBER, "DELETE", "/instances", None, 405, Some("fault-bad-method")),
    ask(MEMBER, "POST", "/instances", Some("fault-over-limit-request"), 413, Some("fault-over-limit")),
    ask(MEMBER, "POST", "/clusters", None, 501, Some("fault-not-implemented")),
    ask(ADMIN, "PATCH", "/mgmt/datastore-versions/{version}", Some("mgmt-version-request"), 202, None),
    ask(ADMIN, "GET", "/mgmt/quotas/{project}", None, 200, Some("quotas")),
    ask(ADMIN, "PUT", "/mgmt/quotas/{project}", Some("quotas-request"), 200, Some("quotas-set")),
    ask(ADMIN, "POST", "/mgmt/upgrade-paths", Some("upgrade-path-request"), 200, Some("upgrade-path")),
    ask(ADMIN, "GET", "/mgmt/upgrade-paths/{path}", None, 200, Some("upgrade-path")),
    ask(
        ADMIN,
        "PUT",
        "/mgmt/upgrade-paths/{path}",
        Some("upgrade-path-change-request"),
        200,
        Some("upgrade-path-changed"),
    ),
    ask(ADMIN, "DELETE", "/mgmt/upgrade-paths/{path}", None, 204, None),
    ask(
        ADMIN,
        "PUT",
        "/mgmt/instances/{instance}/simulation",
        Some("simulation-request"),
        200,
        Some("simulation"),
    ),
    ask(ADMIN, "GET", "/mgmt/instances/{instance}/simulation", None, 200, Some("simulation")),
    ask(ADMIN, "PUT", "/mgmt/maintenance", Some("maintenance-request"), 200, Some("maintenance")),
    ask(MEMBER, "GET", "/flavors", None, 503, Some("fault-service-unavailable")),
    ask(ADMIN, "GET", "/mgmt/maintenance", None, 200, Some("maintenance")),
    ask(ADMIN, "PUT", "/mgmt/maintenance", Some("maintenance-off-request"), 200, Some("maintenance-off")),
];

struct Story {
    http: reqwest::Client,
    base: String,
    /// Project and token, by cloud.
    clouds: HashMap<&'static str, (String, String)>,
    names: HashMap<&'static str, String>,
    password: String,
}

impl Story {
    async fn begin(roles: &Roles) -> Self {
        let mut clouds = HashMap::new();
        let mut base = String::new();
        for cloud in [MEMBER, ADMIN, "coffer-reader"] {
            let client = roles.login(cloud).await;
            base = client.base().rsplit_once("/v1.0/").unwrap().0.to_owned();
            clouds.insert(cloud, (client.project.clone(), client.token().to_owned()));
        }
        let clouds_yaml = roles.clouds_yaml();
        let password = clouds_yaml
            .split("  coffer:")
            .nth(1)
            .and_then(|text| text.split("password: ").nth(1))
            .and_then(|text| text.lines().next())
            .unwrap()
            .trim_matches('"')
            .to_owned();
        let names = HashMap::from([("project", clouds[MEMBER].0.clone())]);
        Self { http: reqwest::Client::new(), base, clouds, names, password }
    }

    async fn tell(&mut self, asks: &[Ask]) {
        for it in asks {
            let body = self.ask(it).await;
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            match it.answer {
                Some("instance-create-response") => {
                    drop(self.names.insert("instance", text(&body["instance"]["id"])))
                }
                Some("upgrade-action-response") => {
                    drop(self.names.insert("new", text(&body["instance"]["id"])))
                }
                Some("datastore-version") => drop(self.names.insert("version", text(&body["version"]["id"]))),
                Some("configuration-create-response") => {
                    drop(self.names.insert("configuration", text(&body["configuration"]["id"])))
                }
                Some("ha-create-response") => {
                    drop(self.names.insert("group", text(&body["ha_instance"]["id"])))
                }
                Some("upgrade-response") => drop(self.names.insert("upgrade", text(&body["upgrade"]["id"]))),
                Some("upgrade-scheduled") => drop(self.names.insert("planned", text(&body["upgrade"]["id"]))),
                Some("upgrade-path") => drop(self.names.insert("path", text(&body["upgrade_path"]["id"]))),
                Some("tasks") => drop(self.names.insert("task", text(&body["tasks"][0]["id"]))),
                _ => {}
            }
        }
    }

    async fn ask(&self, it: &Ask) -> Value {
        let mut path = it.path.to_owned();
        for (name, value) in &self.names {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let (project, token) = self.clouds.get(it.cloud).unwrap_or(&self.clouds[MEMBER]);
        let open = path == "/" || path == "/v1.0" || path.starts_with("/identity");
        let path = if open { path } else { format!("/v1.0/{project}{path}") };
        let mut request = self.http.request(it.method.parse().unwrap(), format!("{}{path}", self.base));
        if !it.cloud.is_empty() {
            request = request.header("x-auth-token", token);
        }
        if let Some(name) = it.request {
            let text =
                std::fs::read_to_string(folder().join("samples").join(format!("{name}.json"))).unwrap();
            let text = text.replace("********", &self.password);
            // A day that is ahead, whenever this is told.
            let day = (chrono::Utc::now() + chrono::TimeDelta::days(3)).format("%Y-%m-%d").to_string();
            let text = text.replace("2026-12-24", &day);
            request = request.header("content-type", "application/json").body(text);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        assert_eq!(status, it.status, "{} {path}: {body}", it.method);
        hold(it.method, path.split('?').next().unwrap(), status, &body);
        match it.answer {
            Some(name) => compare(name, &body),
            None => assert!(body.is_null(), "{} {path}: {body}", it.method),
        }
        body
    }
}

/// Compares an answer with its sample: equal but for ids, times, addresses and secrets.
fn compare(name: &str, answer: &Value) {
    let path = folder().join("samples").join(format!("{name}.json"));
    let mut seen = Vec::new();
    let answer = normal(answer, "", &mut seen);
    if updates() {
        std::fs::write(&path, serde_json::to_string_pretty(&answer).unwrap() + "\n").unwrap();
    }
    let sample: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut seen = Vec::new();
    assert_eq!(normal(&sample, "", &mut seen), answer, "{name}");
}

/// The value with the first id that is met as the first one, and so on, and with one time and one address.
fn normal(value: &Value, key: &str, seen: &mut Vec<String>) -> Value {
    match value {
        Value::Object(map) => {
            // Whether a window is open is chance.
            let told = map.iter().filter(|(key, _)| *key != "open_until");
            Value::Object(told.map(|(key, value)| (key.clone(), normal(value, key, seen))).collect())
        }
        // How often a step was tried is chance: the first two are enough to see one.
        Value::Array(list) if key == "steps" => {
            list.iter().take(2).map(|value| normal(value, key, seen)).collect()
        }
        Value::Array(list) => list.iter().map(|value| normal(value, key, seen)).collect(),
        Value::Number(_) if key == "used" => json!(0.12),
        Value::Number(_) if key == "gap_ms" => json!(412),
        // How far the worker has come is chance.
        Value::String(text) if key == "state" && text == "running" => json!("scheduled"),
        Value::Number(number) if key == "remaining" && number.as_u64() > Some(100) => json!(199),
        Value::String(text) if key == "operating_status" && !text.is_empty() => json!("HEALTHY"),
        Value::String(text) => Value::String(words(text, seen)),
        other => other.clone(),
    }
}

/// The text with its ids, times and addresses replaced.
fn words(text: &str, seen: &mut Vec<String>) -> String {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut told = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let head = |length: usize| rest.get(..length).unwrap_or_default();
        let uuid = head(36);
        if uuid.len() == 36
            && uuid.split('-').map(str::len).eq([8, 4, 4, 4, 12])
            && hex(&uuid.replace('-', ""))
        {
            told += &format!("00000000-0000-4000-8000-{:012x}", nth(uuid, seen));
            rest = &rest[36..];
        } else if head(40).len() == 40 && hex(head(40)) {
            told += "da39a3ee5e6b4b0d3255bfef95601890afd80709";
            rest = &rest[40..];
        } else if head(32).len() == 32 && hex(head(32)) {
            told += &format!("{:032x}", nth(head(32), seen));
            rest = &rest[32..];
        } else if head(19).len() == 19
            && chrono::NaiveDateTime::parse_from_str(head(19), "%Y-%m-%dT%H:%M:%S").is_ok()
        {
            told += "2026-03-01T10:20:30";
            rest = &rest[19..];
            let digits =
                rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
            if digits > 0 {
                told += &format!(".{}", "0".repeat(digits));
                rest = &rest[digits + 1..];
            }
        } else if let Some(after) = rest.strip_prefix("http://127.0.0.1:") {
            told += "http://127.0.0.1:8779";
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if let Some(after) = rest.strip_prefix("127.") {
            told += "127.64.0.1";
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        } else {
            told.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    told
}

/// Which of the different ids it is, from 1 on.
fn nth(id: &str, seen: &mut Vec<String>) -> usize {
    seen.iter().position(|it| it == id).unwrap_or_else(|| {
        seen.push(id.to_owned());
        seen.len() - 1
    }) + 1
}

/// Everything that a page shows, sent to a service with a worker and simulated servers, as one story.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_what_the_service_answers() {
    let roles = Roles::start("simulated").await;
    let mut story = Story::begin(&roles).await;
    story.tell(BEGIN).await;
    let serving = ask(MEMBER, "GET", "/instances/{instance}", None, 200, None);
    wait_until(&story, &serving, "/instances/{instance}", "ACTIVE").await;
    story.tell(SERVES).await;
    wait_until(&story, &serving, "/instances/{instance}", "ACTIVE").await;
    story.tell(RESTARTED).await;
    wait_until(&story, &serving, "/instances/{instance}", "ACTIVE").await;
    story.tell(RESIZED).await;
    wait_until(&story, &serving, "/instances/{instance}", "ACTIVE").await;
    story.tell(REBOOTED).await;
    wait_until(&story, &serving, "/instances/{new}", "VERIFY_UPGRADE").await;
    story.tell(VERIFIES).await;
    wait_until(&story, &serving, "/instances/{new}", "ACTIVE").await;
    wait_until(&story, &serving, "/instances/{instance}", "ACTIVE").await;
    // The documented matrix has no path that is open to a twin.
    let sql = "update upgrade_paths set ways = array['replica', 'in_place', 'twin', 'rolling'] where id in (select p.id \
               from upgrade_paths p join datastore_versions a on a.id = p.from_version_id and a.name = '10.1' \
               join datastore_versions b on b.id = p.to_version_id and b.name = '10.4')";
    assert_eq!(roles.db().await.execute(sql, &[]).await.unwrap(), 1);
    // Before the look at the server the strategy is open.
    let point = "upgrade_auto.forward.examine.before";
    roles.arm(point);
    story.tell(SWITCHES).await;
    roles.reached(point).await;
    roles.disarm(point);
    wait_until(&story, &serving, "/instances/{instance}", "ACTIVE").await;
    story.tell(SWITCHED).await;
    story.tell(MAKES_A_GROUP).await;
    wait_until(&story, &serving, "/ha/{group}", "ACTIVE").await;
    story.tell(UPGRADES_A_GROUP).await;
    wait_until(&story, &serving, "/ha/{group}", "ACTIVE").await;
    story.tell(DELETES_A_GROUP).await;
    // While it is there its members count in the quota.
    let db = roles.db().await;
    wait_for("the group is gone", Duration::from_secs(60), async || {
        (store::count(&db, "groups where deleted_at is null").await == 0).then_some(())
    })
    .await;
    story.tell(REFUSES).await;

    // Whose limits these are is chosen at start.
    let door = TestApi::open_as(Setting { profile: Profile::Trove, ..Setting::default() }).await;
    compare("limits", door.send("member@1234", "GET", "limits", None).await.ok(200));
    let answer = door.ask("member@1234", "POST", "instances").header("content-type", "text/plain").body("{}");
    compare("fault-bad-media-type", &crate::test_api::told(answer).await.body);
}

async fn wait_until(story: &Story, as_whom: &Ask, path: &str, status: &str) {
    let mut path = path.to_owned();
    for (name, value) in &story.names {
        path = path.replace(&format!("{{{name}}}"), value);
    }
    let (project, token) = &story.clouds[as_whom.cloud];
    let url = format!("{}/v1.0/{project}{path}", story.base);
    wait_for(&format!("{path} is {status}"), Duration::from_secs(60), async || {
        let answer = story.http.get(&url).header("x-auth-token", token).send().await.ok()?;
        let body: Value = answer.json().await.ok()?;
        if body["ha_instance"]["state"] == status {
            return Some(());
        }
        let well = body["instance"]["operating_status"] == "HEALTHY";
        // Its size is measured a moment after it answers.
        let measured = body["instance"]["volume"].get("used").is_some();
        (body["instance"]["status"] == status && well && measured).then_some(())
    })
    .await;
}

/// No sample without its page and its place in the story, and no page that names a sample that is not there.
#[test]
fn every_sample_has_its_page_and_is_sent() {
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(folder().join("samples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        there.insert(name.strip_suffix(".json").expect("a sample is JSON").to_owned());
    }
    let mut linked = BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).unwrap();
            for after in text.split("](samples/").skip(1) {
                if let Some((name, _)) = after.split_once(".json") {
                    linked.insert(name.to_owned());
                }
            }
        }
    }
    let told: BTreeSet<String> = [
        BEGIN,
        SERVES,
        RESTARTED,
        RESIZED,
        REBOOTED,
        VERIFIES,
        SWITCHES,
        SWITCHED,
        MAKES_A_GROUP,
        UPGRADES_A_GROUP,
        REFUSES,
    ]
    .iter()
    .flat_map(|part| part.iter())
    .flat_map(|it| [it.request, it.answer])
    .flatten()
    .chain(["limits", "fault-bad-media-type"])
    .map(str::to_owned)
    .collect();
    assert_eq!(there, told, "what is there, and what is sent");
    assert_eq!(linked, there, "what pages name, and what is there");
}
