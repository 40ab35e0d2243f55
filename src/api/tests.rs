//! The front door in process, on a store that is away: everything that is decided before the store is asked.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::*;
use crate::domain::datastore::EngineKind;

const INSTANCE: &str = "0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e";

/// An identity, and what serves it. The folder lives as long as this.
struct IdentityApi {
    _folder: tempfile::TempDir,
    identity: Arc<DevIdentity>,
    state: Data<ApiState>,
}

impl IdentityApi {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(DevIdentity::open(folder.path()).unwrap());
        let commands = Commands::without_a_store(folder.path());
        let state = Data::new(ApiState::for_dev(commands, Arc::clone(&identity)));
        Self { _folder: folder, identity, state }
    }

    async fn app(&self) -> Served {
        serve_in_process(self.state.clone()).await
    }

    /// The token and the project's id of a cloud.
    fn login(&self, cloud: &str) -> (String, String) {
        let token = self.identity.login(cloud).unwrap();
        (token.text, token.claims.project.unwrap())
    }
}

struct Told {
    status: u16,
    headers: actix_web::http::header::HeaderMap,
    body: Vec<u8>,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status, after a look at what every answer has.
    fn fault(&self) -> u16 {
        assert_eq!(self.header("content-type"), "application/json");
        assert!(self.header("x-openstack-request-id").starts_with("req-"));
        assert_eq!(self.header("x-openstack-request-id"), self.header("x-compute-request-id"));
        let body = self.json();
        let (_, fault) = body.as_object().unwrap().iter().next().unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1);
        assert_eq!(fault["code"], self.status);
        assert!(fault["message"].is_string());
        self.status
    }
}

/// The application, with its type left out.
type Served = Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Told>>;

async fn serve_in_process(state: Data<ApiState>) -> Served {
    let app = init_service(App::new().configure(move |config| app_config(config, state))).await;
    let app = Rc::new(app);
    Box::new(move |request| {
        let app = Rc::clone(&app);
        Box::pin(async move {
            let answer = call_service(&*app, request.to_request()).await;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = to_bytes(answer.into_body()).await.unwrap().to_vec();
            Told { status, headers, body }
        })
    })
}

async fn send(app: &Served, request: TestRequest) -> Told {
    app(request.insert_header(("host", "db.test:8779"))).await
}

fn request(method: &str, path: &str) -> TestRequest {
    TestRequest::with_uri(path).method(Method::from_bytes(method.as_bytes()).unwrap())
}

fn filled(path: &str, project: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{project}" => project,
        part if part.starts_with('{') => INSTANCE,
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[actix_web::test]
async fn documents_need_no_token() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let told = send(&app, request("GET", "/")).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["versions"][0]["links"][0]["href"], "http://db.test:8779/v1.0/");
    for path in ["/v1.0", "/v1.0/"] {
        let told = send(&app, request("GET", path)).await;
        assert_eq!((told.status, &told.json()["version"]["id"]), (200, &json!("v1.0")), "{path}");
    }
    let told = send(&app, request("GET", "/healthcheck")).await;
    assert_eq!((told.status, &told.body[..]), (200, &b"OK"[..]));
}

#[actix_web::test]
async fn each_project_route_asks_for_a_token_of_its_project_first() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    let (admin, _) = door.login("coffer-admin");
    let mut seen = 0;
    for route in routes().filter(|route| route.needs_project()) {
        seen += 1;
        let path = filled(route.path, &project);
        let told = send(&app, request(route.method, &path)).await;
        assert_eq!(told.fault(), 401, "{} {path}", route.method);
        assert_eq!(told.header("www-authenticate"), "Keystone uri=\"http://db.test:8779/identity\"");
        for bad in ["", "x", "a.b.c", "....", &format!("{token}x")] {
            let told = send(&app, request(route.method, &path).insert_header(("x-auth-token", bad))).await;
            assert_eq!(told.fault(), 401, "{} {path} {bad}", route.method);
        }
        let foreign =
            send(&app, request(route.method, &path).insert_header(("x-auth-token", admin.as_str())));
        assert_eq!(foreign.await.fault(), 403, "{} {path}: also for admins", route.method);
        let other = filled(route.path, "9999");
        let told = send(&app, request(route.method, &other).insert_header(("x-auth-token", token.as_str())));
        assert_eq!(told.await.fault(), 403, "{} {other}", route.method);
    }
    assert!(seen > 20);
}

#[actix_web::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    for route in routes() {
        let path = filled(route.path, &project);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if routes().any(|other| other.path == route.path && other.method == method) {
                continue;
            }
            let told =
                send(&app, request(method, &path).insert_header(("x-auth-token", token.as_str()))).await;
            assert_eq!(told.fault(), 405, "{method} {path}");
            assert!(told.header("allow").split(", ").any(|m| m == route.method), "{method} {path}");
        }
    }
    let path = format!("/v1.0/{project}/instances/{INSTANCE}");
    let told = send(&app, request("POST", &path).insert_header(("x-auth-token", token.as_str()))).await;
    assert_eq!(told.header("allow"), "GET, PUT, PATCH, DELETE");
    let told =
        send(&app, request("GET", &(path + "/action")).insert_header(("x-auth-token", token.as_str()))).await;
    assert_eq!(told.header("allow"), "POST");
}

#[actix_web::test]
async fn what_is_not_there_is_404_in_the_promised_order() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    for path in ["/v9.9/p/instances", "/x", "/v2", "//", "/v1.0x/p/instances", "/identity/v2.0", "/%ff"] {
        assert_eq!(send(&app, request("GET", path)).await.fault(), 404, "{path}");
    }
    for below in ["nothing", "instances/", "instances/a/b/c", "instances/%ff", "Instances", "mgmt/hosts", ""]
    {
        let path = format!("/v1.0/{project}/{below}");
        assert_eq!(send(&app, request("GET", &path)).await.fault(), 401, "{path}");
        let told = send(&app, request("GET", &path).insert_header(("x-auth-token", token.as_str()))).await;
        assert_eq!(told.fault(), 404, "{path}");
    }
    // What cannot be an id is answered without asking the store, which is away.
    for (method, below) in [
        ("GET", "instances/orders"),
        ("DELETE", "instances/orders"),
        ("GET", "instances/orders/upgrades"),
        ("GET", "tasks/orders"),
        ("GET", "datastores/versions/orders"),
        ("GET", "instances/0b1f6d5290aa4b6f9d0e6f2b1f3c4d5e"),
    ] {
        let path = format!("/v1.0/{project}/{below}");
        let told = send(&app, request(method, &path).insert_header(("x-auth-token", token.as_str()))).await;
        assert_eq!(told.fault(), 404, "{method} {path}");
    }
}

#[actix_web::test]
async fn a_body_is_json_of_a_bearable_size() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    let writes: Vec<_> = routes()
        .filter(|route| {
            // Where a body says nothing there need be none.
            matches!(route.method, "POST" | "PUT" | "PATCH")
                && route.doc.gives.0 != 501
                && !["/cancel", "/start", "/root"].iter().any(|end| route.path.ends_with(end))
        })
        .collect();
    assert!(writes.len() >= 5);
    for route in writes {
        let path = filled(route.path, &project);
        let with = |kind: Option<&str>, body: Vec<u8>| {
            let mut request = request(route.method, &path).insert_header(("x-auth-token", token.as_str()));
            if let Some(kind) = kind {
                request = request.insert_header(("content-type", kind));
            }
            send(&app, request.set_payload(body))
        };
        let what = format!("{} {path}", route.method);
        for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "json"] {
            let code = if ha::is_of_groups(route.path) { 400 } else { 415 };
            assert_eq!(with(Some(kind), b"{}".to_vec()).await.fault(), code, "{what} {kind}");
        }
        assert_eq!(
            with(Some("application/json"), vec![b' '; request::LARGEST_BODY + 1]).await.fault(),
            413,
            "{what}"
        );
        assert_eq!(
            with(Some("text/plain"), Vec::new()).await.fault(),
            400,
            "{what}: nothing is no wrong kind"
        );
        assert_eq!(with(None, b"{}".to_vec()).await.fault(), 400, "{what}: no kind counts as nothing");
        let deep = "[".repeat(20_000).into_bytes();
        let long = format!("{{\"{}\": 1}}", "a".repeat(100_000)).into_bytes();
        for body in
            [b"".to_vec(), b"{".to_vec(), b"\xff\xfe".to_vec(), b"[]".to_vec(), b"{}".to_vec(), deep, long]
        {
            let told = with(Some("application/json; charset=utf-8"), body).await;
            assert_eq!(told.fault(), 400, "{what}");
        }
    }
}

#[actix_web::test]
async fn a_body_is_read_before_roles_and_roles_before_the_store() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer-reader");
    let send = |method: &'static str, below: &str, body: Value| {
        let path = format!("/v1.0/{project}/{below}");
        let request = request(method, &path).insert_header(("x-auth-token", token.as_str()));
        send(&app, request.set_json(body))
    };
    let good = json!({"instance": {"name": "a", "flavorRef": 1, "volume": {"size": 1}}});
    assert_eq!(send("POST", "instances", json!({"instance": {}})).await.fault(), 400);
    let told = send("POST", "instances", good).await;
    assert_eq!(told.fault(), 403);
    assert_eq!(told.json()["forbidden"]["message"], "Policy doesn't allow instance:create to be performed.");
    let action = format!("instances/{INSTANCE}/action");
    assert_eq!(send("POST", &action, json!({})).await.fault(), 400);
    assert_eq!(send("POST", &action, json!({"restart": {}})).await.fault(), 403);
    assert_eq!(send("POST", "instances/orders/action", json!({"restart": {}})).await.fault(), 403);
}

#[actix_web::test]
async fn actions_of_later_keep_the_order_of_answers() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    let send = |below: &str, body: Value| {
        let path = format!("/v1.0/{project}/{below}");
        send(&app, request("POST", &path).insert_header(("x-auth-token", token.as_str())).set_json(body))
    };
    assert_eq!(send("instances/orders/action", json!({"restart": {}})).await.fault(), 404);
    assert_eq!(
        send("instances/orders/action", json!({"reset_status": {}})).await.fault(),
        403,
        "admins only"
    );
    assert_eq!(send("clusters", json!({})).await.fault(), 501);
    let restore = json!({"instance": {"name": "a", "flavorRef": 1, "volume": {"size": 1},
        "restorePoint": {"backupRef": INSTANCE}}});
    assert_eq!(send("instances", restore).await.fault(), 501);
}

#[actix_web::test]
async fn a_store_that_is_away_is_503_and_says_when_to_come_back() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    let told = send(
        &app,
        request("GET", &format!("/v1.0/{project}/instances")).insert_header(("x-auth-token", token.as_str())),
    )
    .await;
    assert_eq!(told.fault(), 503);
    assert_eq!(told.header("retry-after"), "5");
    let text = told.json().to_string();
    assert!(text.contains(told.header("x-openstack-request-id")) && !text.contains("127.0.0.1"), "{text}");
}

#[actix_web::test]
async fn a_page_is_asked_for_in_numbers_and_ids() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let (token, project) = door.login("coffer");
    for (query, status) in [
        ("limit=0", 400),
        ("limit=-1", 400),
        ("limit=x", 400),
        ("limit=", 400),
        ("limit=1.5", 400),
        ("marker=x", 400),
        ("marker=%00", 400),
        // Good ones get as far as the store.
        ("limit=1", 503),
        ("limit=99999999999999999999", 503),
        ("include_clustered=False&limit=5&marker=", 503),
    ] {
        let path = format!("/v1.0/{project}/instances?{query}");
        let told = send(&app, request("GET", &path).insert_header(("x-auth-token", token.as_str()))).await;
        assert_eq!(told.fault(), status, "{query}");
    }
}

fn login_body(door: &IdentityApi, cloud: &str, scope: Value) -> Value {
    let clouds = door.identity.clouds_yaml("http://h");
    let own = clouds.split(&format!("  {cloud}:\n")).nth(1).unwrap();
    let value = |key: &str| {
        let line = own.lines().find(|line| line.trim().starts_with(&format!("{key}: "))).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let mut body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": value("username"), "password": value("password"), "domain": {"name": "Default"}}}}}});
    if !scope.is_null() {
        body["auth"]["scope"] = scope;
    }
    body
}

#[actix_web::test]
async fn the_identity_speaks_enough_of_keystone() {
    let door = IdentityApi::new();
    let app = door.app().await;
    for path in ["/identity", "/identity/"] {
        let told = send(&app, request("GET", path)).await;
        assert_eq!(told.status, 300, "{path}");
        let values = &told.json()["versions"]["values"];
        assert_eq!(values[0]["links"][0]["href"], "http://db.test:8779/identity/v3/");
    }
    for path in ["/identity/v3", "/identity/v3/"] {
        assert_eq!(send(&app, request("GET", path)).await.json()["version"]["status"], "stable", "{path}");
    }
    let scope = json!({"project": {"name": "coffer", "domain": {"name": "Default"}}});
    let body = login_body(&door, "coffer", scope);
    let told = send(&app, request("POST", "/identity/v3/auth/tokens").set_json(&body)).await;
    assert_eq!(told.status, 201);
    let token = told.header("x-subject-token").to_owned();
    let view = told.json()["token"].clone();
    let project = view["project"]["id"].as_str().unwrap().to_owned();
    let types: Vec<_> =
        view["catalog"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["database", "rax:database", "identity", "object-store"]);
    let endpoint = &view["catalog"][0]["endpoints"][0];
    assert_eq!(endpoint["url"], format!("http://db.test:8779/v1.0/{project}"));
    assert_eq!((&endpoint["interface"], &endpoint["region"]), (&json!("public"), &json!("RegionOne")));
    assert!(view["expires_at"].as_str().unwrap().ends_with('Z'));
    // The token is good at the front door: as far as the store.
    let path = format!("/v1.0/{project}/flavors");
    let told = send(&app, request("GET", &path).insert_header(("x-auth-token", token.as_str()))).await;
    assert_eq!(told.status, 503);

    let get = |path: String, subject: &str| {
        let request = request("GET", &path).insert_header(("x-auth-token", token.as_str()));
        send(&app, request.insert_header(("x-subject-token", subject)))
    };
    let told = get("/identity/v3/auth/tokens".into(), &token).await;
    assert_eq!((told.status, &told.json()["token"]["user"]["name"]), (200, &json!("coffer")));
    assert_eq!(get("/identity/v3/auth/tokens".into(), "x").await.fault(), 404);
    let (admin, _) = door.login("coffer-admin");
    assert_eq!(get("/identity/v3/auth/tokens".into(), &admin).await.fault(), 403);
    assert_eq!(
        get("/identity/v3/projects?name=coffer".into(), "").await.json()["projects"][0]["id"],
        project.as_str()
    );
    assert_eq!(get("/identity/v3/projects?name=other".into(), "").await.json()["projects"], json!([]));
    assert_eq!(get(format!("/identity/v3/projects/{project}"), "").await.json()["project"]["name"], "coffer");
    assert_eq!(get("/identity/v3/projects/coffer".into(), "").await.fault(), 404);
    assert_eq!(get("/identity/v3/auth/projects".into(), "").await.json()["projects"][0]["name"], "coffer");
    let all = request("GET", "/identity/v3/projects").insert_header(("x-auth-token", admin.as_str()));
    assert_eq!(send(&app, all).await.json()["projects"].as_array().unwrap().len(), 3);

    // A token for a token, which ends no later.
    let again = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": token}},
        "scope": {"project": {"id": project}}}});
    let told = send(&app, request("POST", "/identity/v3/auth/tokens").set_json(&again)).await;
    assert_eq!((told.status, &told.json()["token"]["expires_at"]), (201, &view["expires_at"]));
}

#[actix_web::test]
async fn the_identity_gives_nothing_to_strangers() {
    let door = IdentityApi::new();
    let app = door.app().await;
    let post = |body: Value| send(&app, request("POST", "/identity/v3/auth/tokens").set_json(body));
    let mut wrong = login_body(&door, "coffer", Value::Null);
    wrong["auth"]["identity"]["password"]["user"]["password"] = json!("hunter2");
    let told = post(wrong).await;
    assert_eq!(told.fault(), 401);
    assert!(!String::from_utf8(told.body).unwrap().contains("hunter2"));
    let mut admin = login_body(&door, "coffer", Value::Null);
    admin["auth"]["identity"]["password"]["user"]["name"] = json!("admin");
    assert_eq!(post(admin).await.fault(), 401);
    let mut elsewhere = login_body(&door, "coffer", Value::Null);
    elsewhere["auth"]["identity"]["password"]["user"]["domain"] = json!({"name": "Elsewhere"});
    assert_eq!(post(elsewhere).await.fault(), 401);
    let scope = json!({"project": {"name": "other", "domain": {"name": "Default"}}});
    assert_eq!(post(login_body(&door, "coffer", scope)).await.fault(), 401);
    let forged = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "x.y.z"}}}});
    assert_eq!(post(forged).await.fault(), 401);
    for path in ["/identity/v3/auth/tokens", "/identity/v3/projects", "/identity/v3/auth/projects"] {
        let told = send(&app, request("GET", path)).await;
        assert_eq!(told.fault(), 401, "{path}");
        assert_eq!(told.json()["error"]["title"], "Unauthorized");
    }
    let told = post(login_body(&door, "coffer", Value::Null)).await;
    assert_eq!(told.json()["token"]["project"]["name"], "coffer", "no scope is the user's own project");
    let told = post(login_body(&door, "coffer", json!("unscoped"))).await;
    assert!(told.json()["token"].get("project").is_none());
    let token = told.header("x-subject-token").to_owned();
    let (_, project) = door.login("coffer");
    let path = format!("/v1.0/{project}/instances");
    assert_eq!(
        send(&app, request("GET", &path).insert_header(("x-auth-token", token.as_str()))).await.fault(),
        403
    );
}

#[actix_web::test]
async fn without_the_built_in_identity_there_is_none() {
    let door = IdentityApi::new();
    let state = Data::new(ApiState {
        commands: door.state.commands.clone(),
        keys: door.state.keys.clone(),
        auth: Arc::clone(&door.state.auth),
        identity: None,
        limits: limits::Limits::default(),
        maintenance: maintenance::Watch::default(),
        zone: "z".into(),
        watched: health::Watched::default(),
        streams: Arc::default(),
        audit: audit::Audit::default(),
    });
    let app = serve_in_process(state).await;
    for path in ["/identity", "/identity/v3", "/identity/v3/auth/tokens"] {
        assert_eq!(send(&app, request("GET", path)).await.fault(), 404, "{path}");
    }
}

/// A sample of api-ref.
fn sample(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("api-ref/samples").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_samples_of_requests_are_taken() {
    use trove::update::{Change, Update};
    assert!(
        trove::create::parse(
            sample("instance-create-request.json").as_object().unwrap(),
            EngineKind::MariaDb
        )
        .is_ok()
    );
    assert!(rackspace::parse(sample("upgrade-action-request.json").as_object().unwrap()).is_ok());
    let update = |name: &str| trove::update::parse(sample(name).as_object().unwrap(), false).unwrap();
    assert_eq!(update("instance-rename-request.json"), Update { name: Some("ledger".into()), change: None });
    assert_eq!(update("instance-detach-request.json"), Update { name: None, change: Some(Change::Detach) });
}

/// An identity that breaks.
struct Breaks;

#[async_trait::async_trait]
impl Authenticator for Breaks {
    async fn authenticate(&self, token: &str) -> Result<crate::domain::caller::Caller, crate::auth::Error> {
        if token == "away" {
            return Err(crate::auth::Error::Unavailable("no keystone".into()));
        }
        panic!("as asked")
    }

    fn auth_uri(&self, _base_url: &str) -> String {
        "http://keystone".into()
    }
}

#[actix_web::test]
async fn a_panic_is_a_500_with_a_body() {
    let door = IdentityApi::new();
    let state = Data::new(ApiState {
        commands: door.state.commands.clone(),
        keys: door.state.keys.clone(),
        auth: Arc::new(Breaks),
        identity: None,
        limits: limits::Limits::default(),
        maintenance: maintenance::Watch::default(),
        zone: "z".into(),
        watched: health::Watched::default(),
        streams: Arc::default(),
        audit: audit::Audit::default(),
    });
    let app = serve_in_process(state).await;
    let get =
        |token: &str| send(&app, request("GET", "/v1.0/p/instances").insert_header(("x-auth-token", token)));
    let told = get("x").await;
    assert_eq!(told.fault(), 500);
    assert!(told.json()["instanceFault"]["message"].as_str().unwrap().contains("req-"));
    assert_eq!(get("away").await.fault(), 503);
    let told = send(&app, request("GET", "/v1.0/p/instances")).await;
    assert_eq!(told.header("www-authenticate"), "Keystone uri=\"http://keystone\"");
}

/// What was logged while this thread worked.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn taken(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

/// A caller reads words for callers; the log has the request's id, the status and the cause, and nothing that was sent.
#[actix_web::test]
async fn each_refusal_has_a_text_for_the_caller_and_one_for_the_operator() {
    let door = IdentityApi::new();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (token, project) = door.login("coffer");
    let app = door.app().await;
    let broken = serve_in_process(Data::new(ApiState {
        commands: door.state.commands.clone(),
        keys: door.state.keys.clone(),
        auth: Arc::new(Breaks),
        identity: None,
        limits: limits::Limits::default(),
        maintenance: maintenance::Watch::default(),
        zone: "z".into(),
        watched: health::Watched::default(),
        streams: Arc::default(),
        audit: audit::Audit::default(),
    }))
    .await;
    let secret = json!({"instance": {"name": "a", "flavorRef": 1, "volume": {"size": "hunter2"}}});
    let below = |below: &str| format!("/v1.0/{project}/{below}");
    let with = |method: &str, path: String| request(method, &path).insert_header(("x-auth-token", &*token));
    for (app, request, status, level, told_operator, told_caller) in [
        (&app, with("GET", below("instances")), 503, "WARN", "no connection to the store", "Try again in 5"),
        (
            &broken,
            with("GET", below("instances")),
            500,
            "ERROR",
            "a handler panicked",
            "Internal Server Error",
        ),
        (
            &app,
            with("POST", below("instances")).set_json(&secret),
            400,
            "DEBUG",
            "malformed",
            "['size'] must be",
        ),
        (&app, with("GET", below("nothing")), 404, "DEBUG", "nothing that the caller", "could not be found"),
        (&app, request("GET", &below("instances")), 401, "DEBUG", "no token", "requires authentication"),
        (
            &app,
            with("BREW", below("instances")),
            405,
            "DEBUG",
            "the path knows GET, POST",
            "it allows GET, POST",
        ),
        (&app, with("POST", below("clusters")).set_json(json!({})), 501, "DEBUG", "Clusters", "Clusters"),
    ] {
        log.taken();
        let told = send(app, request).await;
        assert_eq!(told.fault(), status);
        let (body, log) = (told.json().to_string(), log.taken());
        let line = log.lines().find(|line| line.contains("a request ")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(level) && line.contains(told_operator), "{line}");
        assert!(line.contains(told.header("x-openstack-request-id")), "{line}");
        assert!(body.contains(told_caller), "{body}");
        assert_eq!(body.contains(told_operator), status == 501, "{body}");
        assert!(!log.contains("hunter2") && !log.contains(&token) && !body.contains("hunter2"), "{log}");
    }
}

/// Over a real connection: a body that is too large gets its answer, and a stop ends the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Arc::new(DevIdentity::open(folder.path()).unwrap());
    let token = identity.login("coffer").unwrap();
    let project = token.claims.project.unwrap();
    let state = ApiState::for_dev(Commands::without_a_store(folder.path()), identity);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(state, listener, async move {
        let _ = stopped.await;
    }));
    let client = reqwest::Client::new();
    let told = client.get(&url).send().await.unwrap();
    assert_eq!(told.status(), 200);
    assert!(told.text().await.unwrap().contains(&format!("{url}/v1.0/")));
    let told = client
        .post(format!("{url}/v1.0/{project}/instances"))
        .header("x-auth-token", &token.text)
        .header("content-type", "application/json")
        .body(vec![b'['; 4 * 1024 * 1024])
        .send()
        .await
        .unwrap();
    assert_eq!(told.status(), 413);
    drop(told);
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
    assert!(client.get(&url).send().await.is_err());
}
