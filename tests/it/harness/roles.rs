//! The production roles as processes of their own, `api`, `worker` and `endpoint`, on one Postgres: each can be killed
//! alone, and a worker can be stopped at the record of a step.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coffer::auth::dev::DevIdentity;
use coffer::cli::accounts::{Accounts, store_config};
use coffer::cli::demo::client::Client;
use coffer::embedded_postgres::EmbeddedPostgres;
use coffer::testing::PAUSES;

use super::house::{net, own_net};
use super::points::Points;
use super::{processes, store, wait_for};

/// A role, with its number where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Api,
    Worker(u8),
    Endpoint,
}

/// The files of a state folder by which its store can be read, and by which its users log in.
const STATE_FILES: [&str; 3] = ["host", "key", "identity.json"];

/// The number of the network of instances that are left for another build.
const LEFT_NET: u8 = 98;

/// The file that has a store's content.
const STORE_FILE: &str = "store.sql";

/// The roles of one host, in a folder of their own.
pub struct Roles {
    folder: tempfile::TempDir,
    pub state: PathBuf,
    pub run: PathBuf,
    runtime: &'static str,
    net: String,
    _net_is_ours: UnixListener,
    store: EmbeddedPostgres,
    config: coffer::embedded_postgres::Config,
    port: u16,
    lease: u64,
    children: HashMap<Role, Child>,
    variables: Vec<(String, String)>,
    points: Points,
}

impl Roles {
    /// Starts the store and one of each role, on `runtime`. The lease is longer than any wait of a test at a point: a
    /// task whose lease ran out meanwhile would go on without the worker that waits.
    pub async fn start(runtime: &'static str) -> Self {
        Self::start_with(runtime, &[], 30).await
    }

    /// The same with a lease of so many seconds; workers have these variables, too.
    pub async fn start_with(runtime: &'static str, variables: &[(&str, &str)], lease: u64) -> Self {
        let mut roles = Self::prepare(runtime, variables, lease, own_net()).await;
        roles.migrate();
        roles.begin_all().await;
        roles
    }

    /// The same for a state that is left for another build: instances have addresses that no other test has.
    pub async fn start_to_leave(runtime: &'static str) -> Self {
        let mut roles = Self::prepare(runtime, &[], 30, net(LEFT_NET).unwrap()).await;
        roles.migrate();
        roles.begin_all().await;
        roles
    }

    /// The same on what another build left: the files of its state folder, and its store as `pg_dump` wrote it.
    pub async fn start_on(runtime: &'static str, left: &Path) -> Self {
        let mut roles = Self::prepare(runtime, &[], 30, net(LEFT_NET).unwrap()).await;
        for file in STATE_FILES {
            std::fs::copy(left.join(file), roles.state.join(file)).unwrap();
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(roles.state.join(file), mode).unwrap();
        }
        let dump = std::fs::read_to_string(left.join(STORE_FILE)).unwrap();
        let db = roles.db().await;
        // The endpoint has a role of its own where it has an account of its own.
        let has_role = store::count(&db, "pg_roles where rolname = 'coffer_endpoint'").await == 1;
        let dump: Vec<&str> =
            dump.lines().filter(|line| has_role || !line.contains(" TO coffer_endpoint;")).collect();
        db.batch_execute(&dump.join("\n")).await.unwrap();
        roles.migrate();
        roles.begin_all().await;
        roles
    }

    /// Ends every role by kill -9, and writes what is left: the files that [`Roles::start_on`] begins with.
    pub fn leave(mut self, to: &Path) {
        for role in [Role::Api, Role::Worker(0), Role::Endpoint] {
            self.kill(role);
        }
        std::fs::create_dir_all(to).unwrap();
        for file in STATE_FILES {
            std::fs::copy(self.state.join(file), to.join(file)).unwrap();
        }
        let program = engines().join("postgresql-15/bin/pg_dump");
        let dump = Command::new(program)
            .args(["--no-owner", "--inserts", "--dbname"])
            .arg(self.store.url())
            .output();
        let dump = dump.unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        // What only psql reads, and what would hold for the session that reads the rest.
        let text = String::from_utf8(dump.stdout).unwrap();
        let is_kept = |line: &&str| {
            !line.starts_with('\\') && !line.starts_with("--") && !line.contains("set_config('search_path'")
        };
        let text: Vec<&str> = text.lines().filter(is_kept).collect();
        std::fs::write(to.join(STORE_FILE), text.join("\n") + "\n").unwrap();
    }

    fn migrate(&self) {
        let migrated = self.command("migrate").status().unwrap();
        assert!(migrated.success());
    }

    async fn begin_all(&mut self) {
        self.begin(Role::Worker(0)).await;
        self.begin(Role::Endpoint).await;
        self.begin(Role::Api).await;
    }

    async fn prepare(
        runtime: &'static str,
        variables: &[(&str, &str)],
        lease: u64,
        (net, held): (String, UnixListener),
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("coffer-roles-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o711)).unwrap();
        let points = Points::make(folder.path().join("pauses"));
        let accounts = Accounts::find().unwrap();
        let run =
            if accounts.is_some() { PathBuf::from("/run/coffer") } else { super::house::own_run_folder() };
        let engines = engines();
        let config = store_config(&state, &engines, &run, accounts.as_ref()).unwrap();
        let embedded = EmbeddedPostgres::start(&config).await.unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            folder,
            state,
            run,
            runtime,
            net,
            _net_is_ours: held,
            store: embedded,
            config,
            port,
            lease,
            children: HashMap::new(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            points,
        }
    }

    fn command(&self, role: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
        command
            .arg(role)
            .env("DATABASE_URL", self.store.url())
            .env_remove("COFFER_KEY_FILE")
            .envs(self.variables.iter().filter(|(name, _)| name.starts_with("COFFER_LOG")).cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// The file in which a role writes what it does.
    fn log(&self, role: Role) -> PathBuf {
        self.folder.path().join(format!("{role:?}.log"))
    }

    /// Starts a role and waits until it serves.
    pub async fn begin(&mut self, role: Role) {
        let mut command = match role {
            Role::Worker(_) => {
                let mut command = self.command("worker");
                command
                    .args(["--runtime", self.runtime, "--instance-net", &self.net])
                    .args(["--lease", &self.lease.to_string(), "--state-dir"])
                    .arg(&self.state)
                    .arg("--engines")
                    .arg(engines())
                    .env(PAUSES, self.points.folder())
                    .envs(self.variables.iter().map(|(name, value)| (name, value)));
                command
            }
            Role::Api => {
                let mut command = self.command("api");
                command
                    .args(["--listen", &format!("127.0.0.1:{}", self.port), "--identity-dir"])
                    .arg(&self.state)
                    .arg("--key-file")
                    .arg(self.state.join("key"));
                command
            }
            Role::Endpoint => {
                let mut command = self.command("endpoint");
                let folder = self.state.join("endpoint");
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
                let host = std::fs::read_to_string(self.state.join("host")).unwrap();
                command
                    .args(["--host", host.trim(), "--state-dir"])
                    .arg(&folder)
                    .arg("--run-dir")
                    .arg(&self.run);
                if let Some(accounts) = Accounts::find().unwrap() {
                    let (uid, gid) = (accounts.endpoint.uid, accounts.endpoint.gid);
                    std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).unwrap();
                    command.env("DATABASE_URL", self.store.endpoint_url());
                    command.args(["--uid", &uid.to_string(), "--gid", &gid.to_string()]);
                }
                command
            }
        };
        let out = self.folder.path().join(format!("{role:?}.out"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log(role)).unwrap();
        let mut child = command.stdout(std::fs::File::create(&out).unwrap()).stderr(log).spawn().unwrap();
        if role != Role::Endpoint {
            wait_for(&format!("{role:?} serves"), Duration::from_secs(60), async || {
                let ended = child.try_wait().unwrap();
                let told = || std::fs::read_to_string(self.log(role)).unwrap();
                assert!(ended.is_none(), "{role:?} ended with {ended:?}:\n{}", told());
                std::fs::read_to_string(&out).unwrap().contains("ready ").then_some(())
            })
            .await;
        }
        if role == Role::Api {
            let identity = DevIdentity::open(&self.state).unwrap();
            let clouds = identity.clouds_yaml(&format!("http://127.0.0.1:{}", self.port));
            std::fs::write(self.state.join("clouds.yaml"), clouds).unwrap();
        }
        self.children.insert(role, child);
    }

    /// kill -9.
    pub fn kill(&mut self, role: Role) {
        let mut child = self.children.remove(&role).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The role's process.
    pub fn pid(&self, role: Role) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(i32::try_from(self.children[&role].id()).unwrap()).unwrap()
    }

    /// kill -9 of the store, and a new start of it.
    pub async fn kill_store(&mut self) {
        let pid = wait_for("the postmaster runs", Duration::from_secs(30), async || {
            processes::of(self.folder.path())
                .iter()
                .find(|p| p.line.contains("postgres") && p.line.contains("store/data"))
                .map(|p| p.pid)
        })
        .await;
        processes::kill(pid);
        wait_for("the postmaster is gone", Duration::from_secs(10), async || {
            processes::of(self.folder.path()).iter().all(|p| p.pid != pid).then_some(())
        })
        .await;
        self.store = EmbeddedPostgres::start(&self.config).await.unwrap();
    }

    /// A connection to the store, as soon as it answers.
    pub async fn db(&self) -> tokio_postgres::Client {
        let url = self.store.url();
        wait_for("the store answers", Duration::from_secs(60), async || {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
            tokio::spawn(connection);
            Some(client)
        })
        .await
    }

    /// The store's connection string.
    pub fn url(&self) -> String {
        self.store.url()
    }

    /// Logs in.
    pub async fn login(&self, cloud: &str) -> Client {
        wait_for("a login", Duration::from_secs(30), async || Client::login(&self.state, cloud).await.ok())
            .await
    }

    /// Where the api serves.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops the store, until [`Roles::start_store`].
    pub async fn stop_store(&self) {
        self.store.stop().await.unwrap();
    }

    /// Starts the store again.
    pub async fn start_store(&mut self) {
        self.store = EmbeddedPostgres::start(&self.config).await.unwrap();
    }

    /// The file from which clients learn how to log in.
    pub fn clouds_yaml(&self) -> String {
        std::fs::read_to_string(self.state.join("clouds.yaml")).unwrap()
    }

    /// Lets workers wait at a point.
    pub fn arm(&self, point: &str) {
        self.points.arm(point);
    }

    /// Lets them go on.
    pub fn disarm(&self, point: &str) {
        self.points.disarm(point);
    }

    /// Waits until a worker waits there; gives its pid.
    pub async fn reached(&self, point: &str) -> i32 {
        self.points.reached(point).await
    }

    /// The folder of all that it has.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What a role has written.
    pub fn told(&self, role: Role) -> String {
        std::fs::read_to_string(self.log(role)).unwrap_or_default()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for role in [Role::Worker(0), Role::Worker(1), Role::Api] {
                let told = self.told(role);
                let start = told.len().saturating_sub(6_000);
                eprintln!("the end of what {role:?} said:\n{}", told.get(start..).unwrap_or(&told));
            }
        }
        for child in self.children.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        super::house::end_all(self.folder.path(), &self.state, &self.run);
    }
}

/// The engines that the tests run on.
pub fn engines() -> PathBuf {
    super::view::place("COFFER_ENGINES", "engines")
}
