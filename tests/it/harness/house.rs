//! A `coffer dev` of a test's own, which the test may kill. Whatever happens, nothing of it is left behind.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;

use super::{processes, store, wait_for};

/// A `coffer dev` of a test's own.
pub struct House {
    folder: tempfile::TempDir,
    /// The state folder.
    pub state: PathBuf,
    /// The base of the socket folders.
    pub run: PathBuf,
    child: Child,
    net: String,
    more: Vec<String>,
    // Held so that no other test takes the same network.
    _net_is_ours: UnixListener,
}

impl House {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with more arguments, which also hold when it is started again.
    pub async fn start_with(more: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("coffer-test-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let state = folder.path().join("state");
        let (net, held) = own_net();
        let more: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
        let child = spawn(folder.path(), &state, &net, &more);
        let run = own_run_folder();
        let mut house = Self { folder, state, run, child, net, more, _net_is_ours: held };
        house.ready().await;
        house
    }

    async fn ready(&mut self) {
        let out = self.folder.path().join("dev.out");
        let log = self.folder.path().join("dev.log");
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if std::fs::read_to_string(&out).unwrap().lines().any(|line| line.starts_with("ready http://")) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let told = || std::fs::read_to_string(&log).unwrap();
            assert!(ended.is_none(), "coffer dev ended with {ended:?}:\n{}", told());
            assert!(Instant::now() < deadline, "coffer dev does not come up:\n{}", told());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Logs in as a cloud of its `clouds.yaml`.
    pub async fn login(&self, cloud: &str) -> Client {
        Client::login(&self.state, cloud).await.unwrap()
    }

    /// A connection to its store.
    pub async fn store(&self) -> tokio_postgres::Client {
        store::connect(&self.state).await
    }

    /// kill -9 of `dev` alone, then a new one on the same folder.
    pub async fn kill_dev_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.start_again().await;
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop_dev(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = wait_for("coffer dev has stopped", Duration::from_secs(90), async || {
            self.child.try_wait().unwrap()
        })
        .await;
        assert!(status.success(), "{status}");
    }

    /// Stops it cleanly; nothing of it may run afterwards.
    pub async fn stop(&mut self) {
        self.stop_dev().await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while let left @ [_, ..] = processes::of(self.folder.path()).as_slice() {
            assert!(Instant::now() < deadline, "left over: {left:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Forgets the arguments that it was started with.
    pub fn forget_arguments(&mut self) {
        self.more.clear();
    }

    /// The folder of all that it has.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it again on the same folder.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.state, &self.net, &self.more);
        self.ready().await;
    }

    /// The engine server of an instance's newest generation.
    pub async fn engine_pid(&self, store: &tokio_postgres::Client, instance: &str) -> i32 {
        wait_for("the engine runs", Duration::from_secs(60), async || {
            let generation = store::generation(store, instance).await?;
            processes::engine(self.folder.path(), &generation.to_string()).map(|p| p.pid)
        })
        .await
    }

    /// The endpoint process.
    pub async fn endpoint_pid(&self) -> i32 {
        wait_for("the endpoint runs", Duration::from_secs(30), async || {
            processes::of(self.folder.path()).iter().find(|p| p.line.contains(" endpoint ")).map(|p| p.pid)
        })
        .await
    }

    /// The store's postmaster.
    pub async fn postmaster_pid(&self) -> i32 {
        wait_for("the postmaster runs", Duration::from_secs(30), async || {
            processes::of(self.folder.path())
                .iter()
                .find(|p| p.line.contains("postgres") && p.line.contains("store/data"))
                .map(|p| p.pid)
        })
        .await
    }

    /// Deletes what the test made and looks for what is left: rows, folders, sockets, processes.
    pub async fn leave_nothing(mut self, api: &Client, instances: &[&str]) {
        let store = self.store().await;
        let mut sockets = Vec::new();
        for row in store.query("select id from generations", &[]).await.unwrap() {
            let generation = coffer::domain::ids::GenerationId(row.get(0));
            sockets.push(coffer::runtimes::process::socket_path(&self.run, generation));
        }
        super::delete(api, instances).await;
        for what in [
            "relays",
            "endpoints",
            "task_instances where live",
            "generations where role <> 'dropped'",
            "tasks where ended_at is null",
            "tasks where secrets is not null",
        ] {
            assert_eq!(store::count(&store, what).await, 0, "left over: {what}");
        }
        let folders: Vec<_> = std::fs::read_dir(self.state.join("generations"))
            .map(|entries| entries.flatten().map(|e| e.path()).collect())
            .unwrap_or_default();
        assert!(folders.is_empty(), "left over: {folders:?}");
        for socket in &sockets {
            assert!(!socket.parent().unwrap().exists(), "left over: {}", socket.display());
        }
        let engines: Vec<_> =
            processes::of(self.folder.path()).into_iter().filter(|p| processes::is_server(&p.line)).collect();
        assert!(engines.is_empty(), "left over: {engines:?}");
        drop(store);
        self.stop().await;
        let log = std::fs::read_to_string(self.folder.path().join("dev.log")).unwrap();
        let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.is_empty(), "unexpected ERROR lines: {errors:#?}");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "what coffer dev said:\n{}",
                std::fs::read_to_string(self.folder.path().join("dev.log")).unwrap_or_default()
            );
        }
        // Who restarts the others goes first.
        let _ = self.child.kill();
        let _ = self.child.wait();
        end_all(self.folder.path(), &self.state, &self.run);
    }
}

/// Where socket folders are made.
pub fn own_run_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/run/coffer")
    } else if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_dir()) {
        PathBuf::from(runtime).join("coffer")
    } else {
        PathBuf::from(format!("/tmp/coffer-{}", rustix::process::geteuid().as_raw()))
    }
}

/// Ends every process that names `folder`, and removes the socket folders of the state folder in it.
pub fn end_all(folder: &Path, state: &Path, run: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = processes::of(folder);
        if left.is_empty() || Instant::now() > deadline {
            break;
        }
        for process in left {
            processes::kill(process.pid);
        }
    }
    let mut sockets: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(state.join("generations")).into_iter().flatten().flatten() {
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            sockets.push(coffer::runtimes::process::socket_path(run, id));
        }
    }
    for socket in sockets {
        let _ = std::fs::remove_dir_all(socket.parent().unwrap());
    }
    let _ = std::fs::remove_dir_all(coffer::store::socket_dir(run, state));
}

fn spawn(folder: &Path, state: &Path, net: &str, more: &[String]) -> Child {
    let open =
        |name: &str| std::fs::OpenOptions::new().create(true).append(true).open(folder.join(name)).unwrap();
    // What an earlier one printed must not look like this one's.
    std::fs::write(folder.join("dev.out"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--instance-net", net, "--state-dir"])
        .arg(state)
        .args(more)
        .env_remove("DATABASE_URL")
        .env_remove("COFFER_KEY_FILE")
        .stdin(Stdio::null())
        .stdout(open("dev.out"))
        .stderr(open("dev.log"));
    if let Some(engines) = std::env::var_os("COFFER_ENGINES") {
        command.arg("--engines").arg(engines);
    }
    command.spawn().unwrap()
}

/// A network of 127/8 that no other test on this machine has; held by a name that ends with the process.
pub fn own_net() -> (String, UnixListener) {
    for number in 100..200 {
        let name = SocketAddr::from_abstract_name(format!("coffer-test-net-{number}")).unwrap();
        if let Ok(held) = UnixListener::bind_addr(&name) {
            return (format!("127.{number}.0.0/16"), held);
        }
    }
    panic!("a hundred tests run at once");
}
