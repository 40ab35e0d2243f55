//! Every route of the tables, every role, every kind of token, every kind of body: generated from the tables, so that a
//! new route is covered without more to do. A line in [`good`] makes its refusal by role exact.

use std::collections::BTreeMap;

use coffer::api::{Route, routes};
use coffer::auth::dev::DevIdentity;
use coffer::domain::caller::Level;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::test_api::{TestApi, Told, told};

const PROJECT: &str = "1234";

/// A role of each level; the first is none that the service knows.
const ROLES: [&str; 5] = ["swiftoperator", "reader", "dbaas:creator", "member", "admin"];

/// Things that are there, for the names in paths.
struct Names(BTreeMap<&'static str, String>);

impl Names {
    async fn of(door: &TestApi) -> Self {
        let instance = door.instance(PROJECT, "mysql", "5.6").await;
        let paths = door.send("admin@1", "GET", "mgmt/upgrade-paths", None).await;
        let edge = paths.ok(200)["upgrade_paths"][0]["id"].as_str().unwrap().to_owned();
        Self(BTreeMap::from([
            ("/instances/{id}", instance.to_string()),
            ("/upgrade-paths/{id}", edge),
            ("/flavors/{id}", "2".to_owned()),
            ("/quotas/{tenant}", PROJECT.to_owned()),
            ("/datastores/{datastore}", "mysql".to_owned()),
            ("/versions/{version}", door.version("mysql", "5.6").await.id.to_string()),
        ]))
    }

    /// The route's path below a project; a name that is not in the list is one that nothing has.
    fn fill(&self, route: &Route, project: &str) -> String {
        let mut filled = String::new();
        let mut before = "";
        for part in route.path.trim_start_matches('/').split('/') {
            let own = self.0.get(&*format!("/{before}/{part}"));
            filled.push('/');
            filled += match part {
                "{project}" => project,
                part if part.starts_with('{') => own.map_or(crate::test_api::NOBODY, String::as_str),
                part => part,
            };
            before = part;
        }
        filled
    }
}

fn below_a_project() -> impl Iterator<Item = &'static Route> {
    // A HEAD is the GET of the same path, without a body by which its answer could be judged.
    routes().filter(|route| route.needs_project() && route.method != "HEAD")
}

fn writes(route: &Route) -> bool {
    matches!(route.method, "POST" | "PUT" | "PATCH")
}

/// Whether Trove has it and the service does not.
fn is_missing(route: &Route) -> bool {
    route.doc.gives.0 == 501
}

/// A body that the route takes, so that the role is what it is refused for.
fn good(route: &Route) -> Option<Value> {
    let version = |name: &str| json!({"datastore_type": "mysql", "datastore_version": name});
    Some(match (route.method, route.path.strip_prefix("/v1.0/{project}")?) {
        ("POST", "/instances") => {
            json!({"instance": {"name": "n1", "flavorRef": 1, "volume": {"size": 1}}})
        }
        ("PUT" | "PATCH", "/instances/{id}") => json!({"instance": {"name": "n2"}}),
        ("POST", "/instances/{id}/action") => json!({"upgrade": version("5.7")}),
        ("POST", "/ha") => {
            let node = json!({"name": "n1", "flavorRef": 2, "volume": {"size": 1}});
            json!({"ha": {"name": "n1", "datastore": {"type": "mysql"}, "replica_source": [node],
                "replicas": [node]}})
        }
        ("POST", "/ha/{id}/action") => json!({"upgrade": version("5.7")}),
        ("POST", "/instances/{id}/upgrades") => json!({"upgrade": {"datastore_version": "5.7",
            "datastore_type": "mysql", "strategy": "in_place", "dry_run": true, "keep_hours": 1,
            "keep_retired": false, "drop_retired": true}}),
        ("POST", "/mgmt/instances/{id}/action") => json!({"reboot": {}}),
        ("POST", "/instances/{id}/databases") => json!({"databases": [{"name": "d1"}]}),
        ("POST", "/instances/{id}/users") => json!({"users": [{"name": "u1", "password": "p"}]}),
        ("PUT", "/instances/{id}/users") => json!({"users": [{"name": "u1", "password": "p"}]}),
        ("POST", "/instances/{id}/users/{user}") => json!({"users": {"name": "u1", "password": "p"}}),
        ("PUT", "/instances/{id}/users/{user}") => json!({"user": {"name": "u2"}}),
        ("PUT", "/instances/{id}/users/{user}/databases") => json!({"databases": [{"name": "d1"}]}),
        ("POST", "/instances/{id}/ssl") => json!({"ssl": {"disable": true}}),
        ("POST", "/instances/{id}/log") => json!({"name": "general", "disable": 1}),
        ("POST", "/instances/{id}/root") => json!({"password": "p"}),
        ("PATCH", "/mgmt/datastore-versions/{id}") => json!({"active": true}),
        ("POST", "/configurations") => {
            json!({"configuration": {"name": "g", "values": {"max_connections": 50},
            "datastore": {"type": "mysql"}}})
        }
        ("PUT" | "PATCH", "/configurations/{id}") => {
            json!({"configuration": {"values": {"max_connections": 60}}})
        }
        ("POST", "/tasks/{id}/cancel" | "/tasks/{id}/start") => json!({}),
        ("PUT", "/tasks/{id}/schedule") => json!({"schedule": {"window": true}}),
        ("PUT", "/instances/{id}/window" | "/window") => json!({"window": {"start": "02:00", "minutes": 60}}),
        ("PUT", "/instances/{id}/upgrade-policy") => json!({"upgrade_policy": {"minor": "window"}}),
        ("PUT", "/mgmt/quotas/{tenant}") => json!({"quotas": {"instances": 1}}),
        ("PUT", "/mgmt/maintenance") => json!({"on": true}),
        ("POST", "/mgmt/upgrade-paths") => {
            json!({"upgrade_path": {"from": version("5.1"), "to": version("5.6"), "ways": ["replica"]}})
        }
        ("PUT", "/mgmt/upgrade-paths/{id}") => json!({"upgrade_path": {"enabled": false}}),
        ("PUT", "/mgmt/instances/{id}/simulation") => json!({"steps": {"seed": {"ms": 1}}}),
        _ => return None,
    })
}

/// What no refused request may change.
async fn everything(door: &TestApi) -> Vec<i64> {
    let mut counts = Vec::new();
    for from in [
        "instances",
        "instances where name = 'orders' and state = 'active'",
        "tasks",
        "events",
        "quotas",
        "simulations",
        "upgrade_paths where enabled",
        "maintenance where is_on",
        "windows",
        "upgrade_policies",
        "idempotency_keys",
        "operations",
        "configurations",
        "groups",
    ] {
        counts.push(door.count(from).await);
    }
    counts
}

async fn send(door: &TestApi, token: Option<&str>, route: &Route, path: &str, body: Option<&Value>) -> Told {
    let request = door.raw(token, route.method, path);
    told(match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    })
    .await
}

/// A token whose claims end in the past; its signature cannot hold either, which is all that a stranger can send.
fn changed(token: &str, change: impl Fn(&mut Value)) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
    change(&mut claims);
    format!("{}.{}.{}", parts[0], BASE64.encode(claims.to_string()), parts[2])
}

#[tokio::test]
async fn every_route_wants_a_token_that_holds_for_its_project() {
    let door = TestApi::open().await;
    let names = Names::of(&door).await;
    let real = door.identity.login("coffer").unwrap();
    let project = real.claims.project.clone().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = DevIdentity::open(elsewhere.path()).unwrap().login("coffer-admin").unwrap();
    let (other, admin) =
        (door.identity.login("coffer-other").unwrap(), door.identity.login("coffer-admin").unwrap());
    let bad = [
        None,
        Some(String::new()),
        Some("nonsense".to_owned()),
        Some("a.b.c".to_owned()),
        Some(format!("{}x", real.text)),
        // Expired, raised to another role, moved to another project: each breaks the signature.
        Some(changed(&real.text, |claims| claims["exp"] = json!(1))),
        Some(changed(&real.text, |claims| claims["roles"] = json!(["admin"]))),
        Some(changed(&other.text, |claims| claims["project"] = json!(project))),
        // Signed by somebody else's identity.
        Some(stranger.text),
    ];
    let before = everything(&door).await;
    for route in below_a_project() {
        let path = names.fill(route, &project);
        let body = good(route);
        for token in &bad {
            let answer = send(&door, token.as_deref(), route, &path, body.as_ref()).await;
            answer.is(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), format!("Keystone uri=\"{}/identity\"", door.url));
        }
        for token in [&other.text, &admin.text] {
            send(&door, Some(token), route, &path, body.as_ref()).await.is(403, "forbidden");
        }
        // The same, told apart by nothing: whether the account exists is not said.
        let answer = send(&door, Some(&real.text), route, &names.fill(route, "nobody"), None).await;
        answer.is(403, "forbidden");
    }
    assert_eq!(everything(&door).await, before);
}

#[tokio::test]
async fn every_route_wants_its_role() {
    let door = TestApi::open().await;
    let names = Names::of(&door).await;
    let mut seen = 0;
    for route in below_a_project() {
        let path = names.fill(route, PROJECT);
        let least = route.rule.expect("a route below a project has a rule").least();
        let body = good(route);
        for role in ROLES {
            let level = Level::of_roles(&[role]);
            let token = format!("{role}@{PROJECT}");
            if level >= Some(least) {
                // What reads is let in; what changes would change something here.
                if route.method == "GET" {
                    let answer = send(&door, Some(&token), route, &path, None).await;
                    assert!(
                        !matches!(answer.status, 401 | 403 | 500..)
                            || (is_missing(route) && answer.status == 501),
                        "{role} {}: {}",
                        answer.what,
                        answer.body
                    );
                }
                continue;
            }
            seen += 1;
            let before = everything(&door).await;
            let answer = send(&door, Some(&token), route, &path, body.as_ref()).await;
            let exact = !writes(route) || body.is_some();
            assert!(
                answer.status == 403 || (!exact && matches!(answer.status, 400 | 501)),
                "{role} {}: {} {}",
                answer.what,
                answer.status,
                answer.body
            );
            assert_eq!(everything(&door).await, before, "{role} {}", answer.what);
        }
    }
    assert!(seen > 30);
}

/// The routes of Trove, by its own documentation; those of 2.10 of it that it does not serve any more are not among them.
const TROVE: &str = "\
    GET instances; GET instances/detail; POST instances; GET instances/{}; PUT instances/{}; PATCH instances/{}; \
    DELETE instances/{}; POST instances/{}/action; GET instances/{}/backups; GET instances/{}/configuration; \
    GET instances/{}/log; POST instances/{}/log; GET instances/{}/ssl; POST instances/{}/ssl; GET instances/{}/modules; \
    POST instances/{}/modules; DELETE instances/{}/modules/{}; GET instances/{}/databases; POST instances/{}/databases; \
    DELETE instances/{}/databases/{}; GET instances/{}/databases/{}; GET instances/{}/users; POST instances/{}/users; \
    PUT instances/{}/users; GET instances/{}/users/{}; PUT instances/{}/users/{}; DELETE instances/{}/users/{}; \
    GET instances/{}/users/{}/databases; PUT instances/{}/users/{}/databases; DELETE instances/{}/users/{}/databases/{}; \
    GET instances/{}/root; POST instances/{}/root; DELETE instances/{}/root; GET backups; POST backups; GET backups/{}; \
    DELETE backups/{}; GET backup_strategies; POST backup_strategies; DELETE backup_strategies; GET configurations; \
    POST configurations; GET configurations/{}; PUT configurations/{}; PATCH configurations/{}; DELETE configurations/{}; \
    GET configurations/{}/instances; GET datastores/{}/versions/{}/parameters; \
    GET datastores/{}/versions/{}/parameters/{}; GET datastores/versions/{}/parameters; \
    GET datastores/versions/{}/parameters/{}; GET datastores; GET datastores/{}; DELETE datastores/{}; \
    GET datastores/{}/versions; GET datastores/{}/versions/{}; GET datastores/versions/{}; \
    GET datastores/{}/versions/{}/flavors; GET datastores/{}/versions/{}/volume-types; GET flavors; GET flavors/{}; \
    GET limits; GET modules; POST modules; GET modules/{}; PUT modules/{}; DELETE modules/{}; GET modules/{}/instances; \
    PUT modules/{}/instances; GET clusters; POST clusters; GET clusters/{}; POST clusters/{}; DELETE clusters/{}; \
    GET clusters/{}/instances/{}; GET clusters/{}/root; POST clusters/{}/root; DELETE clusters/{}/root; \
    GET mgmt/instances; GET mgmt/instances/{}; POST mgmt/instances/{}/action; GET mgmt/instances/{}/root; \
    GET mgmt/instances/{}/diagnostics; GET mgmt/instances/{}/hwinfo; GET mgmt/instances/{}/rpc_ping; \
    POST mgmt/instances/{}/upgrade; GET mgmt/quotas/{}; PUT mgmt/quotas/{}; GET mgmt/datastore-versions; \
    GET mgmt/datastore-versions/{}; POST mgmt/datastore-versions; PATCH mgmt/datastore-versions/{}; \
    DELETE mgmt/datastore-versions/{}; GET mgmt/datastores/versions/{}/parameters; \
    POST mgmt/datastores/versions/{}/parameters; GET mgmt/datastores/versions/{}/parameters/{}; \
    PUT mgmt/datastores/versions/{}/parameters/{}; DELETE mgmt/datastores/versions/{}/parameters/{}; GET mgmt/clusters; \
    GET mgmt/clusters/{}; POST mgmt/clusters/{}/action";

#[tokio::test]
async fn every_route_of_troves_is_there_or_says_that_it_is_not() {
    let door = TestApi::open().await;
    let names = Names::of(&door).await;
    let form = |path: &str| -> String {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let ours: Vec<(String, &Route)> = below_a_project()
        .map(|route| (format!("{} {}", route.method, form(&route.path["/v1.0/{project}/".len()..])), route))
        .collect();
    let theirs: Vec<&str> = TROVE.split(';').map(str::trim).collect();
    assert_eq!(theirs.len(), 101);
    for wanted in &theirs {
        // The first one whose segments fit is the one that answers.
        assert!(ours.iter().any(|(route, _)| route == wanted), "{wanted} is no route");
    }
    let admin = format!("admin@{PROJECT}");
    let mut missing = 0;
    for (name, route) in ours.iter().filter(|(_, route)| is_missing(route)) {
        assert!(theirs.contains(&&**name), "{name} is none of Trove's");
        let answer = send(&door, Some(&admin), route, &names.fill(route, PROJECT), Some(&json!({}))).await;
        let message = answer.is(501, "notImplemented");
        assert!(message.len() > 20, "{name}: {message}");
        missing += 1;
    }
    assert!(missing > 30);
}

#[tokio::test]
async fn no_body_of_a_wrong_kind_is_more_than_a_clients_mistake() {
    let door = TestApi::open().await;
    let names = Names::of(&door).await;
    let before = everything(&door).await;
    let deep = [
        "[".repeat(10_000) + &"]".repeat(10_000),
        "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000),
        "{\"instance\":".repeat(10_000),
    ];
    for route in below_a_project().filter(|route| {
        // Root is enabled without a body, too, and by one that says nothing.
        writes(route) && !is_missing(route) && !route.path.ends_with("/root")
    }) {
        let path = names.fill(route, PROJECT);
        for role in ["reader", "admin"] {
            let token = format!("{role}@{PROJECT}");
            let request = |kind: Option<&str>, body: Vec<u8>| {
                let request = door.raw(Some(&token), route.method, &path);
                told(match kind {
                    Some(kind) => request.header("content-type", kind).body(body),
                    None => request.body(body),
                })
            };
            for kind in ["text/plain", "application/xml", "multipart/form-data", "json", "text/json"] {
                let answer = request(Some(kind), b"{}".to_vec()).await;
                // Groups do not know 415.
                match route.path.starts_with("/v1.0/{project}/ha") {
                    true => answer.is(400, "badRequest"),
                    false => answer.is(415, "badMediaType"),
                };
            }
            // Where a body says nothing there need be none, and an empty one is the same.
            let bodiless = route.doc.takes.is_none();
            let unread = |told: Told| match (bodiless, role) {
                (false, _) => drop(told.is(400, "badRequest")),
                (true, "admin") => drop(told.is(404, "itemNotFound")),
                (true, _) => drop(told.is(403, "forbidden")),
            };
            unread(request(None, b"{\"on\": true}".to_vec()).await);
            unread(request(Some("application/json"), b"".to_vec()).await);
            unread(request(Some("application/json"), b"{}".to_vec()).await);
            request(Some("application/json"), vec![b' '; 256 * 1024 + 1]).await.is(413, "overLimit");
            let mut bodies: Vec<Vec<u8>> = deep.iter().map(|text| text.clone().into_bytes()).collect();
            bodies.extend([
                b"{".to_vec(),
                b"null".to_vec(),
                b"[]".to_vec(),
                b"7".to_vec(),
                b"\"instance\"".to_vec(),
                b"\xff\xfe\x7b\x7d".to_vec(),
                b"{\"on\": \xc3\x28}".to_vec(),
                b"{\"on\": true".to_vec(),
                b"{\"on\": true}{}".to_vec(),
                b"{'on': true}".to_vec(),
                b"{\"instance\": {\"name\": \"\\u0000\"}}".to_vec(),
                b"{\"nothing\": {}}".to_vec(),
                vec![b'0'; 200_000],
            ]);
            for body in bodies {
                request(Some("application/json"), body).await.is(400, "badRequest");
            }
            // Every value of a good body in turn has a wrong type, and every object an unknown key.
            for body in good(route).iter().flat_map(wrong) {
                let answer = send(&door, Some(&token), route, &path, Some(&body)).await;
                assert!(
                    matches!(answer.status, 400 | 403 | 404)
                        // A value of a parameter is refused as Trove refuses it.
                        || answer.status == 422 && route.path.contains("/configurations"),
                    "{role} {} {body}: {} {}",
                    answer.what,
                    answer.status,
                    answer.body
                );
                // An admin is refused for the body alone; a quota of what nobody counts is not there.
                assert!(role != "admin" || answer.status != 403, "{} {body}", answer.what);
            }
        }
    }
    assert_eq!(everything(&door).await, before);
}

/// The body with each of its values replaced by one of a wrong type, one at a time, and with each key renamed.
fn wrong(body: &Value) -> Vec<Value> {
    let Value::Object(map) = body else { return Vec::new() };
    let mut all = Vec::new();
    for (key, value) in map {
        let with = |value: Option<Value>| {
            let mut map: Map<String, Value> = map.clone();
            match value {
                Some(value) => map.insert(key.clone(), value),
                None => map.remove(key).and_then(|value| map.insert(format!("{key}x"), value)),
            };
            Value::Object(map)
        };
        // Strings and integers are both taken for a flavor and a volume's size; nothing takes these.
        for other in [json!(1.5), json!(-7), json!({"x": [1]}), json!([{}]), json!([null])] {
            let same = std::mem::discriminant(&other) == std::mem::discriminant(value);
            if !same || value.is_number() {
                all.push(with(Some(other)));
            }
        }
        all.push(with(None));
        all.extend(wrong(value).into_iter().map(|value| with(Some(value))));
    }
    all
}

/// JSON out of the contract's own words, so that it reaches deep.
fn any_body() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "instance",
            "upgrade",
            "quotas",
            "on",
            "retry_after",
            "upgrade_path",
            "steps",
            "from",
            "to",
            "ways",
            "enabled",
            "note",
            "name",
            "flavorRef",
            "volume",
            "size",
            "datastore",
            "type",
            "version",
            "databases",
            "users",
            "password",
            "host",
            "datastore_type",
            "datastore_version",
            "strategy",
            "dry_run",
            "keep_hours",
            "keep_retired",
            "drop_retired",
            "in_place",
            "configuration",
            "replica_of",
            "access",
            "restart",
            "resize",
            "instances",
            "seed",
            "accept",
            "ms",
            "fault",
            "replica",
            "mysql",
            "5.7",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

#[tokio::test]
async fn no_json_is_ever_a_fault_of_ours() {
    let door = TestApi::open().await;
    let names = Names::of(&door).await;
    let mut runner = TestRunner::default();
    let all: Vec<_> = routes().filter(|route| writes(route)).collect();
    for round in 0..60 {
        for route in &all {
            let value = any_body().new_tree(&mut runner).unwrap().current();
            let path = names.fill(route, PROJECT);
            // Every other one under the key that the route reads.
            let body = match good(route).filter(|_| round % 2 == 0) {
                Some(Value::Object(map)) if !map.is_empty() => json!({map.keys().next().unwrap(): value}),
                Some(_) | None => json!({"auth": value}),
            };
            // A member: no random body shall switch the service off.
            let answer = send(&door, Some(&format!("member@{PROJECT}")), route, &path, Some(&body)).await;
            assert!(
                !matches!(answer.status, 500 | 502..),
                "{} {body}: {} {}",
                answer.what,
                answer.status,
                answer.body
            );
        }
    }
}

/// Paths that no table has, with every method: never a fault of ours, and never a success.
#[tokio::test]
async fn no_path_is_ever_a_fault_of_ours() {
    let door = TestApi::open().await;
    let mut runner = TestRunner::default();
    let paths = "(/v1\\.0)?(/1234)?(/(instances|mgmt|tasks|%ff|%00|\\.\\.|[a-z0-9%]{1,9}|\\{id\\})){0,5}/?(\\?[a-z=&%]{0,9})?";
    let paths = prop::string::string_regex(paths).unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
        for _ in 0..60 {
            let path = paths.new_tree(&mut runner).unwrap().current();
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            let answer = door.raw(Some("member@1234"), method, &path).send().await.unwrap();
            let status = answer.status().as_u16();
            assert!(!matches!(status, 500 | 502..), "{method} {path}: {status}");
            assert!(answer.headers().contains_key("x-openstack-request-id"), "{method} {path}");
        }
    }
}
