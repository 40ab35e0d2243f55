//! The front door in process, on a real store: a schema of its own in the bed's Postgres, the simulated versions and
//! the documented matrix, instances that are put into any state, callers of any role, and somebody who answers the
//! questions that a worker would. Nothing of it is left when it is dropped.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use coffer::api::ApiState;
use coffer::api::limits::Profile;
use coffer::auth::dev::DevIdentity;
use coffer::auth::{self, Authenticator};
use coffer::commands::Commands;
use coffer::db::acceptances::Begin;
use coffer::db::hosts::Offer;
use coffer::db::notices::Notices;
use coffer::db::{
    self, Db, acceptances, catalogue, catalogue_cache, hosts, looks, operations, parameters, questions,
};
use coffer::domain::caller::{Caller, Level};
use coffer::domain::datastore::{DatastoreVersion, EngineKind, RuntimeKind};
use coffer::domain::ids::{FlavorId, GenerationId, HostId, InstanceId, ProjectId, TaskId};
use coffer::domain::parameter::{Parameter, ParameterType};
use coffer::domain::quota::Quota;
use coffer::domain::task::{CreatePlan, Plan};
use coffer::seal::Sealer;
use coffer::simulated;
use diesel::RunQueryDsl as _;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::harness::{bed, store};

/// An id that no instance has.
pub const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// Takes tokens that say who they are, `member@1234` for example, and the built-in identity's.
struct Callers(Arc<DevIdentity>);

#[async_trait::async_trait]
impl Authenticator for Callers {
    async fn authenticate(&self, token: &str) -> Result<Caller, auth::Error> {
        let Some((role, project)) = token.split_once('@') else {
            return self.0.authenticate(token).await;
        };
        let project = ProjectId::parse(project).ok_or(auth::Error::Unscoped)?;
        Ok(Caller { user: role.to_owned(), project, level: Level::of_roles(&[role]) })
    }

    fn auth_uri(&self, base_url: &str) -> String {
        self.0.auth_uri(base_url)
    }
}

/// How the door is set up.
pub struct Setting {
    /// Whose limits hold.
    pub profile: Profile,
    /// Connections to the store.
    pub pool: u32,
    /// How long a request waits for a connection.
    pub wait: Duration,
    /// The store; the bed's, when absent.
    pub url: Option<String>,
    /// What stands in the way of every upgrade.
    pub blockers: Value,
}

impl Default for Setting {
    fn default() -> Self {
        Self { profile: Profile::Off, pool: 8, wait: Duration::from_secs(5), url: None, blockers: json!([]) }
    }
}

/// An api server of a test's own.
pub struct TestApi {
    /// Where it serves.
    pub url: String,
    /// Its store.
    pub db: Db,
    /// The store's connection string.
    pub store_url: String,
    /// The built-in identity, for tokens that are real.
    pub identity: Arc<DevIdentity>,
    /// The host that everything is placed on.
    pub host: HostId,
    http: Client,
    base: String,
    schema: String,
    stop: Option<oneshot::Sender<()>>,
    stopping: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl TestApi {
    /// Opens one without limits.
    pub async fn open() -> Self {
        Self::open_as(Setting::default()).await
    }

    /// Opens one.
    pub async fn open_as(setting: Setting) -> Self {
        let base = match setting.url {
            Some(url) => url,
            None => store::url(&bed().state).await,
        };
        let schema = format!("door_{}", uuid::Uuid::new_v4().simple());
        sql(&base, &format!("create schema {schema}")).await.unwrap();
        let config = db::Config {
            pool_size: setting.pool,
            wait: setting.wait,
            ..db::Config::new(format!("{base} options='-c search_path={schema}'"))
        };
        let db = Db::new(&config);
        let store_url = config.url.clone();
        db.migrate().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let identity = Arc::new(DevIdentity::open(folder.path()).unwrap());
        let notices = Notices::default();
        let commands = Commands {
            db: db.clone(),
            sealer: Sealer::open(&folder.path().join("key")).unwrap(),
            notices,
            quota: Quota::NONE,
        };
        let host = HostId("h1".to_owned());
        register(&db, &host).await;
        let state = ApiState {
            auth: Arc::new(Callers(Arc::clone(&identity))),
            ..ApiState::for_dev(commands, Arc::clone(&identity))
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(coffer::api::serve(state.limited_by(setting.profile), listener, async move {
            let _ = stopped.await;
        }));
        let (stopping, stops) = watch::channel(false);
        tokio::spawn(answer(db.clone(), host.clone(), setting.blockers, stops));
        Self {
            url,
            db,
            store_url,
            identity,
            host,
            http: Client::new(),
            base,
            schema,
            stop: Some(stop),
            stopping,
            _folder: folder,
        }
    }

    /// A request of `role` in its project, `member@1234` for example, below the project's path.
    pub fn ask(&self, who: &str, method: &str, below: &str) -> RequestBuilder {
        let project = who.split_once('@').unwrap().1;
        self.raw(Some(who), method, &format!("/v1.0/{project}/{below}"))
    }

    /// A request with a token for a path.
    pub fn raw(&self, token: Option<&str>, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        match token {
            Some(token) => request.header("x-auth-token", token),
            None => request,
        }
    }

    /// Sends a body of JSON, or none, and gives what came back.
    pub async fn send(&self, who: &str, method: &str, below: &str, body: Option<&Value>) -> Told {
        let request = self.ask(who, method, below);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        told(request).await
    }

    /// Asks for an upgrade of an instance by the action.
    pub async fn upgrade(&self, who: &str, id: impl std::fmt::Display, to: (&str, &str)) -> Told {
        let body = json!({"upgrade": {"datastore_type": to.0, "datastore_version": to.1}});
        self.send(who, "POST", &format!("instances/{id}/action"), Some(&body)).await
    }

    /// A simulated instance of a project that is ACTIVE and answers.
    pub async fn instance(&self, project: &str, datastore: &str, version: &str) -> InstanceId {
        self.instance_on(project, datastore, version, RuntimeKind::Simulated).await
    }

    /// An instance that is ACTIVE and answers, as far as its rows say.
    pub async fn instance_on(
        &self,
        project: &str,
        datastore: &str,
        version: &str,
        runtime: RuntimeKind,
    ) -> InstanceId {
        let (id, generation) = (InstanceId(uuid::Uuid::new_v4()), GenerationId(uuid::Uuid::new_v4()));
        let version = self.version(datastore, version).await;
        assert_eq!(version.runtime, runtime);
        let (project, host) = (ProjectId::parse(project).unwrap(), self.host.clone());
        let made: Result<_, db::Error> = self
            .db
            .transact(move |conn| {
                let catalogue = catalogue_cache::now(conn)?;
                let databases = Vec::new();
                let plan = Plan::Create(CreatePlan { form: 1, instance: id, generation, databases });
                let begin = Begin {
                    instance: id,
                    project: &project,
                    name: "orders",
                    flavor: catalogue.flavor(&FlavorId("2".to_owned())).unwrap(),
                    volume_gb: 2,
                    version: &version,
                    host: &host,
                    generation,
                    service_secret: "sealed",
                    task: TaskId(uuid::Uuid::now_v7()),
                    plan: &plan,
                    secrets: None,
                    actor: "test",
                    catalogue: &catalogue,
                    address: None,
                };
                acceptances::create(conn, &begin)
            })
            .await;
        made.unwrap();
        // As if it had been made long ago.
        for table in ["events", "task_instances"] {
            self.sql(&format!("delete from {table} where instance_id = '{id}'")).await;
        }
        self.sql(&format!("delete from tasks where plan->>'instance' = '{id}'")).await;
        self.sql(&format!(
            "update generations set role = 'serving', answered_at = now() where id = '{generation}'"
        ))
        .await;
        self.sql(&format!(
            "update instances set state = 'active', running_version_id = wanted_version_id, \
             running_version_number = '1.2.3', serving_generation_id = '{generation}' where id = '{id}'"
        ))
        .await;
        id
    }

    /// A version by its names.
    pub async fn version(&self, datastore: &str, name: &str) -> DatastoreVersion {
        let read: Result<_, db::Error> = self.db.run(catalogue::versions).await;
        let found = read.unwrap().into_iter().find(|v| v.datastore == datastore && v.name == name);
        found.unwrap_or_else(|| panic!("{datastore} {name}"))
    }

    /// Runs a statement in the store.
    pub async fn sql(&self, statement: &str) {
        let statement = statement.to_owned();
        let done: Result<_, db::Error> = self
            .db
            .run(move |conn| diesel::sql_query(statement).execute(conn).map_err(db::Error::query("test")))
            .await;
        done.unwrap();
    }

    /// Counts rows of the store.
    pub async fn count(&self, from: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        let statement = format!("select count(*) as n from {from}");
        let read: Result<Row, db::Error> = self
            .db
            .run(move |conn| diesel::sql_query(statement).get_result(conn).map_err(db::Error::query("test")))
            .await;
        read.unwrap().n
    }
}

impl Drop for TestApi {
    fn drop(&mut self) {
        self.stopping.send_replace(true);
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // A store that is away holds nothing.
        let (base, schema) = (self.base.clone(), self.schema.clone());
        let dropped = std::thread::spawn(move || {
            let run = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = run.block_on(sql(&base, &format!("drop schema {schema} cascade")));
        });
        let _ = dropped.join();
    }
}

async fn sql(url: &str, statement: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(&format!("set lock_timeout = '10s'; {statement}")).await
}

/// A host with the simulated versions, and two real ones that nobody runs.
async fn register(db: &Db, host: &HostId) {
    let mut offers = simulated::offers();
    for (series, number) in [("10.11", "10.11.19"), ("11.8", "11.8.8")] {
        offers.push(Offer {
            datastore: "mariadb".to_owned(),
            engine: EngineKind::MariaDb,
            runtime: RuntimeKind::Process,
            series: series.to_owned(),
            number: number.to_owned(),
        });
    }
    let host = host.clone();
    let done: Result<_, db::Error> = db
        .transact(move |conn| {
            hosts::record(conn, &host, "127.250.0.0/16")?;
            hosts::record_versions(conn, &host, &offers)?;
            catalogue::register_host_versions(conn, &host)?;
            catalogue::register_edges(conn, simulated::EDGES)
        })
        .await;
    done.unwrap();
}

/// The parameters of every version here.
fn known() -> Vec<Parameter> {
    let number = |name: &str, max: i64, restart: bool| Parameter {
        name: name.to_owned(),
        kind: ParameterType::Integer,
        restart,
        min: Some(1.into()),
        max: Some(max.into()),
        values: Vec::new(),
        unit: None,
        memory_percent: None,
    };
    vec![number("max_connections", 1_000, false), number("back_log", 65_535, true)]
}

/// Answers the questions of the host's instances, and ends their operations, as a worker would.
async fn answer(db: Db, host: HostId, blockers: Value, stops: watch::Receiver<bool>) {
    while !*stops.borrow() {
        let (about, blockers) = (host.clone(), blockers.clone());
        let done: Result<_, db::Error> = db
            .run(move |conn| {
                for question in questions::open(conn, &about)? {
                    let answer = match question.kind.as_str() {
                        "caught_up" => json!(true),
                        "replica_blockers" => blockers.clone(),
                        "has_root" => json!(false),
                        "diagnosis" => json!({"version": "8.0.36", "process": {"threads": 37, "file_slots": 128, "size": 1_400_000,
                            "largest_size": 1_500_000, "resident": 210_000, "most_resident": 220_000}}),
                        "default_parameters" => json!({"max_connections": 80}),
                        _ => json!([]),
                    };
                    questions::answer(conn, question.id, &Ok(answer))?;
                }
                if let Some((look, question)) = looks::take(conn, &about, 1)? {
                    questions::answer(conn, question.id, &Ok(json!([])))?;
                    looks::end(conn, &look)?;
                }
                // As a server of the version would tell them.
                if let Some(taken) = parameters::take(conn, &about, "nobody", GenerationId(Uuid::new_v4()))? {
                    parameters::record(conn, &taken, &known())?;
                }
                for waiting in operations::due(conn, &about, &[])? {
                    if let Some(taken) = operations::take(conn, &waiting, "nobody")? {
                        operations::end(conn, &taken, None)?;
                    }
                }
                Ok(())
            })
            .await;
        // The store may be away: that is what some tests are about.
        let _ = done;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A sample of api-ref.
pub fn sample(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("api-ref/samples").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What came back.
pub struct Told {
    /// What was asked, for messages.
    pub what: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body; null when it was empty.
    pub body: Value,
}

/// Sends, and holds what every answer promises.
pub async fn told(request: RequestBuilder) -> Told {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().to_string(), request.url().path().to_owned());
    let what = format!("{method} {path}");
    let answer = client.execute(request).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(headers["x-openstack-request-id"], headers["x-compute-request-id"], "{what}");
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    let told = Told { what, status, headers, body };
    if told.status >= 400 {
        told.hold_promises();
    }
    crate::api_ref::hold(&method, &path, told.status, &told.body);
    told
}

impl Told {
    fn hold_promises(&self) {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.what);
        let root = self.body.as_object().unwrap_or_else(|| panic!("{}: {}", self.what, self.body));
        assert_eq!(root.len(), 1, "{}: {}", self.what, self.body);
        let (_, fault) = root.iter().next().unwrap();
        assert_eq!(fault["code"], self.status, "{}: {}", self.what, self.body);
        assert!(fault["message"].as_str().is_some_and(|m| !m.is_empty()), "{}: {}", self.what, self.body);
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Holds the status and the name of the fault; gives its message.
    pub fn is(&self, status: u16, name: &str) -> &str {
        assert_eq!(self.status, status, "{}: {}", self.what, self.body);
        self.body[name]["message"].as_str().unwrap_or_else(|| panic!("{}: {}", self.what, self.body))
    }

    /// Holds a success; gives its body.
    pub fn ok(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{}: {}", self.what, self.body);
        &self.body
    }
}
