//! Every "no" of the front door, against the bed: each route without a token, with a bad one and with another
//! project's; each path with a wrong method; bodies of every wrong kind; what is not there; who may not.
//!
//! Nothing here is accepted, so nothing is made or changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coffer::api::{Route, routes};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// An id that no instance has.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The bed that `make test` started, and tokens of its clouds.
struct Bed {
    url: String,
    http: Client,
    logins: BTreeMap<&'static str, Login>,
}

#[derive(Clone)]
struct Login {
    token: String,
    project: String,
}

/// What came back.
struct Told {
    what: String,
    status: u16,
    allow: String,
    challenge: String,
    body: Value,
}

impl Bed {
    async fn of_make_test() -> Self {
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: these tests need the bed that `make test` starts")
            })
        };
        let url = variable("COFFER_TEST_BED").trim_end_matches('/').to_owned();
        let clouds = PathBuf::from(variable("COFFER_TEST_BED_STATE")).join("clouds.yaml");
        let clouds = std::fs::read_to_string(&clouds).unwrap_or_else(|e| panic!("{}: {e}", clouds.display()));
        let mut bed = Self { url, http: Client::new(), logins: BTreeMap::new() };
        for cloud in ["coffer-admin", "coffer", "coffer-reader", "coffer-other"] {
            let login = bed.login(&clouds, cloud).await;
            bed.logins.insert(cloud, login);
        }
        bed
    }

    /// Logs in as keystoneauth does.
    async fn login(&self, clouds: &str, cloud: &str) -> Login {
        let own = clouds.split(&format!("\n  {cloud}:\n")).nth(1).expect("the cloud is in clouds.yaml");
        let value = |key: &str| {
            let line = own.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
            line.expect("the key is in clouds.yaml").trim_matches('"').to_owned()
        };
        let domain = json!({"name": "Default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": value("username"), "password": value("password"), "domain": domain}}},
            "scope": {"project": {"name": value("project_name"), "domain": domain}},
        }});
        let answer = self
            .http
            .post(format!("{}/identity/v3/auth/tokens", self.url))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .expect("the bed answers");
        assert_eq!(answer.status(), 201, "{cloud} logs in");
        let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
        let view: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        Login { token, project: view["token"]["project"]["id"].as_str().unwrap().to_owned() }
    }

    fn as_cloud(&self, cloud: &str) -> Login {
        self.logins[cloud].clone()
    }

    fn request(&self, method: &str, path: &str, token: Option<&str>) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        match token {
            Some(token) => request.header("x-auth-token", token),
            None => request,
        }
    }
}

/// Sends, and holds what every fault promises. What answers HEAD has no body.
async fn fault(what: String, request: RequestBuilder) -> Told {
    let (http, request) = request.build_split();
    let request = request.unwrap();
    let is_head = request.method() == Method::HEAD;
    let answer = http.execute(request).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let status = answer.status().as_u16();
    let header =
        |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    assert_eq!(header("content-type"), "application/json", "{what}");
    assert!(header("x-openstack-request-id").starts_with("req-"), "{what}");
    assert_eq!(header("x-openstack-request-id"), header("x-compute-request-id"), "{what}");
    let (allow, challenge) = (header("allow"), header("www-authenticate"));
    let text = answer.text().await.unwrap();
    assert!(status >= 400, "{what} was answered {status} {text}");
    assert_ne!(status, 500, "{what}: {text}");
    if is_head {
        assert_eq!(text, "", "{what}");
        return Told { what, status, allow, challenge, body: Value::Null };
    }
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{what}: {e}: {text}"));
    let root = body.as_object().unwrap();
    assert_eq!(root.len(), 1, "{what}: {text}");
    let (_, fault) = root.iter().next().unwrap();
    assert_eq!(fault["code"], status, "{what}: {text}");
    assert!(fault["message"].as_str().is_some_and(|m| !m.is_empty()), "{what}: {text}");
    Told { what, status, allow, challenge, body }
}

impl Told {
    fn is(&self, status: u16, name: &str) -> &Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.body);
        assert!(self.body.is_null() || self.body.get(name).is_some(), "{}: {}", self.what, self.body);
        self
    }
}

/// The route's path for a project, with an id in place of every name.
fn filled(route: &Route, project: &str) -> String {
    let part = |part: &str| match part {
        "{project}" => project.to_owned(),
        name if name.starts_with('{') => NOBODY.to_owned(),
        word => word.to_owned(),
    };
    route.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn below_a_project() -> impl Iterator<Item = &'static Route> {
    routes().filter(|route| route.needs_project())
}

/// A token whose claims end in the past; its signature cannot hold either, which is all that a stranger could send.
fn stale(token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
    claims["exp"] = json!(1);
    format!("{}.{}.{}", parts[0], BASE64.encode(claims.to_string()), parts[2])
}

/// The token without a signature, under the algorithm `none`.
fn unsigned(token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let head = BASE64.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
    format!("{head}.{}.", token.split('.').nth(1).unwrap())
}

#[tokio::test]
async fn every_route_refuses_who_has_no_token_for_its_project() {
    let bed = Bed::of_make_test().await;
    let (member, other, admin) =
        (bed.as_cloud("coffer"), bed.as_cloud("coffer-other"), bed.as_cloud("coffer-admin"));
    for route in below_a_project() {
        let path = filled(route, &member.project);
        let (expired, none) = (stale(&member.token), unsigned(&member.token));
        let bad =
            [None, Some(""), Some("nonsense"), Some("a.b.c"), Some(expired.as_str()), Some(none.as_str())];
        for token in bad {
            let what = format!("{} {path} with the token {token:?}", route.method);
            let told = fault(what, bed.request(route.method, &path, token)).await;
            told.is(401, "unauthorized");
            assert_eq!(told.challenge, format!("Keystone uri=\"{}/identity\"", bed.url));
        }
        for (who, login) in [("another project", &other), ("an admin", &admin)] {
            let what = format!("{} {path} as {who}", route.method);
            fault(what, bed.request(route.method, &path, Some(&login.token))).await.is(403, "forbidden");
        }
        let nowhere = filled(route, "1234");
        let what = format!("{} {nowhere}", route.method);
        fault(what, bed.request(route.method, &nowhere, Some(&member.token))).await.is(403, "forbidden");
    }
}

#[tokio::test]
async fn every_path_tells_its_methods() {
    let bed = Bed::of_make_test().await;
    let member = bed.as_cloud("coffer");
    for route in routes() {
        let path = filled(route, &member.project);
        let known: Vec<_> = routes().filter(|r| r.path == route.path).map(|r| r.method).collect();
        for method in METHODS.into_iter().filter(|method| !known.contains(method)) {
            let what = format!("{method} {path}");
            let told = fault(what.clone(), bed.request(method, &path, Some(&member.token))).await;
            assert_eq!(told.status, 405, "{what}: {}", told.body);
            let allow: Vec<_> = told.allow.split(", ").collect();
            assert_eq!(allow, known, "{what}");
            if route.needs_project() {
                told.is(405, "badMethod");
                fault(what, bed.request(method, &path, None)).await.is(401, "unauthorized");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let bed = Bed::of_make_test().await;
    let member = bed.as_cloud("coffer");
    for path in ["/v9.9/p/instances", "/nothing", "/v1", "/%ff"] {
        fault(path.to_owned(), bed.request("GET", path, None)).await.is(404, "itemNotFound");
    }
    for below in [
        "nothing",
        "instances/",
        "instances/orders",
        "instances/0b1f6d5290aa4b6f9d0e6f2b1f3c4d5e",
        &format!("instances/{NOBODY}"),
        &format!("instances/{NOBODY}/upgrades"),
        &format!("instances/{NOBODY}/nothing"),
        "instances/%00",
        "instances/..%2f..%2fetc",
        "instances/%3CInstance%3E",
        &format!("tasks/{NOBODY}"),
        "tasks/x",
        "datastores/nothing",
        &format!("datastores/{NOBODY}/versions"),
        "datastores/mariadb/versions/nothing",
        &format!("datastores/versions/{NOBODY}"),
        "datastores/mariadb/versions/nothing/flavors",
        "flavors/999",
        "flavors/%00",
        "clusters/orders",
        "security-groups",
    ] {
        for cloud in ["coffer", "coffer-reader", "coffer-other", "coffer-admin"] {
            let login = bed.as_cloud(cloud);
            let path = format!("/v1.0/{}/{below}", login.project);
            let what = format!("GET {path} as {cloud}");
            fault(what, bed.request("GET", &path, Some(&login.token))).await.is(404, "itemNotFound");
        }
    }
    // Nobody's instance, asked for with bodies that are good.
    let good_upgrade = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}});
    for (method, below, body) in [
        ("DELETE", format!("instances/{NOBODY}"), Value::Null),
        ("PUT", format!("instances/{NOBODY}"), json!({"instance": {"name": "n1"}})),
        ("PATCH", format!("instances/{NOBODY}"), json!({"instance": {"replica_of": ""}})),
        ("PATCH", format!("instances/{NOBODY}"), json!({"instance": {"datastore_version": "11.8"}})),
        ("PUT", "instances/orders".to_owned(), json!({"instance": {}})),
        ("POST", format!("instances/{NOBODY}/action"), good_upgrade.clone()),
        ("POST", "instances/orders/action".to_owned(), good_upgrade),
        ("POST", format!("instances/{NOBODY}/action"), json!({"restart": {}})),
    ] {
        let path = format!("/v1.0/{}/{below}", member.project);
        let mut request = bed.request(method, &path, Some(&member.token));
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        fault(format!("{method} {path} {body}"), request).await.is(404, "itemNotFound");
    }
}

/// The routes that read a body; those of the identity write their faults as Keystone does.
fn readers_of_bodies() -> Vec<&'static Route> {
    let found: Vec<_> = below_a_project()
        .filter(|r| matches!(r.method, "POST" | "PUT" | "PATCH") && r.doc.gives.0 != 501)
        // A body says nothing there, or need not be.
        .filter(|r| !["/cancel", "/start", "/root"].iter().any(|end| r.path.ends_with(end)))
        .collect();
    assert!(found.len() >= 4, "the table has routes that read a body");
    found
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let bed = Bed::of_make_test().await;
    let member = bed.as_cloud("coffer");
    for route in readers_of_bodies() {
        let path = filled(route, &member.project);
        let request = |kind: &str, body: Vec<u8>| {
            let request = bed.request(route.method, &path, Some(&member.token));
            let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
            (format!("{} {path} {kind} {} bytes", route.method, body.len()), request.body(body))
        };
        for kind in
            ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data"]
        {
            let (what, request) = request(kind, b"{\"instance\": {}}".to_vec());
            let told = fault(what, request).await;
            match route.path.starts_with("/v1.0/{project}/ha") {
                true => told.is(400, "badRequest"),
                false => told.is(415, "badMediaType"),
            };
        }
        let (what, without_a_kind) = request("", b"{\"instance\": {\"name\": \"n1\"}}".to_vec());
        fault(what, without_a_kind).await.is(400, "badRequest");
        let (what, huge) = request("application/json", vec![b'['; 3 * 1024 * 1024]);
        fault(what, huge).await.is(413, "overLimit");
        for body in [
            b"".to_vec(),
            b"\xff\xfe\x00".to_vec(),
            b"{".to_vec(),
            b"nonsense".to_vec(),
            b"null".to_vec(),
            b"[]".to_vec(),
            b"\"instance\"".to_vec(),
            b"{\"instance\": \"\\u0000\"}".to_vec(),
            b"{\"instance\": {\"name\": 1e999}}".to_vec(),
            "[".repeat(100_000).into_bytes(),
            "{\"instance\":".repeat(20_000).into_bytes(),
            [&b"{\"instance\": {\"name\": \""[..], &[b'a'; 100_000], b"\"}}"].concat(),
        ] {
            let (what, request) = request("application/json", body);
            fault(what, request).await.is(400, "badRequest");
        }
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused() {
    let bed = Bed::of_make_test().await;
    let member = bed.as_cloud("coffer");
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0.5),
        json!(""),
        json!([]),
        json!({"a": 1}),
        json!("é".repeat(300)),
        json!("\u{0}"),
    ];
    let creation = || json!({"instance": {"name": "n1", "flavorRef": "2", "volume": {"size": 1}}});
    for value in &wrong {
        for key in ["name", "flavorRef", "volume"] {
            let mut body = creation();
            body["instance"][key] = value.clone();
            refuse(&bed, &member, "POST", "instances", &body).await;
        }
        let mut body = creation();
        body["instance"]["volume"]["size"] = value.clone();
        refuse(&bed, &member, "POST", "instances", &body).await;
        for key in ["datastore_type", "datastore_version"] {
            let mut body = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}});
            body["upgrade"][key] = value.clone();
            refuse(&bed, &member, "POST", &format!("instances/{NOBODY}/action"), &body).await;
        }
        for key in ["name", "datastore_version"] {
            let body = json!({"instance": {key: value}});
            for method in ["PUT", "PATCH"] {
                refuse(&bed, &member, method, &format!("instances/{NOBODY}"), &body).await;
            }
        }
        for (body, root) in [(json!({"upgrade": value}), "action"), (json!({"reboot": value}), "action")] {
            refuse(&bed, &member, "POST", &format!("instances/{NOBODY}/{root}"), &body).await;
        }
    }
    for body in [
        json!({}),
        json!({"upgrade": {"datastore_type": "nothing", "datastore_version": "11.8"}}),
        json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "99"}}),
        json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}, "restart": {}}),
        json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8", "dry_run": true}}),
    ] {
        refuse(&bed, &member, "POST", &format!("instances/{NOBODY}/action"), &body).await;
    }
    for body in [
        json!({"instance": {"volume": {"size": 2}}}),
        json!({"instance": {"replica_of": "", "datastore_version": "11.8"}}),
        json!({"instance": {"configuration": null, "replica_of": ""}}),
    ] {
        refuse(&bed, &member, "PATCH", &format!("instances/{NOBODY}"), &body).await;
    }
    let mut unknown_flavor = creation();
    unknown_flavor["instance"]["flavorRef"] = json!("999");
    refuse(&bed, &member, "POST", "instances", &unknown_flavor).await;
    for query in ["limit=0", "limit=-1", "limit=x", "marker=x", "marker=%00"] {
        let path = format!("/v1.0/{}/instances?{query}", member.project);
        fault(path.clone(), bed.request("GET", &path, Some(&member.token))).await.is(400, "badRequest");
    }
}

async fn refuse(bed: &Bed, login: &Login, method: &str, below: &str, body: &Value) {
    let path = format!("/v1.0/{}/{below}", login.project);
    let request = bed
        .request(method, &path, Some(&login.token))
        .header("content-type", "application/json")
        .body(body.to_string());
    let mut what = format!("{method} {path} {body}");
    what.truncate(what.char_indices().nth(300).map_or(what.len(), |(at, _)| at));
    fault(what, request).await.is(400, "badRequest");
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let bed = Bed::of_make_test().await;
    let reader = bed.as_cloud("coffer-reader");
    let listed = |path: String| bed.request("GET", &path, Some(&reader.token));
    let instances = format!("/v1.0/{}/instances", reader.project);
    assert_eq!(listed(instances.clone()).send().await.unwrap().status(), 200, "a reader looks");
    for (below, body) in [
        (
            "instances".to_owned(),
            json!({"instance": {"name": "n1", "flavorRef": "2", "volume": {"size": 1}}}),
        ),
        (
            format!("instances/{NOBODY}/action"),
            json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}}),
        ),
        (format!("instances/{NOBODY}/action"), json!({"restart": {}})),
    ] {
        let path = format!("/v1.0/{}/{below}", reader.project);
        let request = bed
            .request("POST", &path, Some(&reader.token))
            .header("content-type", "application/json")
            .body(body.to_string());
        fault(format!("POST {path} {body}"), request).await.is(403, "forbidden");
    }
}
