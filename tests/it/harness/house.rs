//! A `coffer dev` of a test's own, which the test may kill. Whatever happens, nothing of it is left behind.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use coffer::domain::ids::GenerationId;
use coffer::testing::PAUSES;

use super::points::Points;
use super::{processes, store, wait_for};

/// What is particular about a house.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// Its engines, in place of everybody's.
    pub engines: Option<PathBuf>,
    /// Whether the generations' folders lie on a file system of this size, in MB, of their own.
    pub small_mb: Option<u32>,
}

/// A `coffer dev` of a test's own.
pub struct House {
    folder: tempfile::TempDir,
    /// The state folder.
    pub state: PathBuf,
    /// The base of the socket folders.
    pub run: PathBuf,
    child: Child,
    beside: Option<Child>,
    small: Option<Small>,
    net: String,
    more: Vec<String>,
    build: Build,
    /// Where its workers can be made to wait.
    pub points: Points,
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
        Self::build(more, Build::default()).await
    }

    /// The same of a particular house.
    pub async fn build(more: &[&str], build: Build) -> Self {
        let folder = tempfile::Builder::new().prefix("coffer-test-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let state = folder.path().join("state");
        let (net, held) = own_net();
        let more: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
        let small = build.small_mb.map(|size| Small::mount(&state.join("generations"), size));
        let points = Points::make(folder.path().join("pauses"));
        let child = spawn(folder.path(), &state, &net, &more, &build, &points);
        let run = own_run_folder();
        let mut house = Self {
            folder,
            state,
            run,
            child,
            beside: None,
            small,
            net,
            more,
            build,
            points,
            _net_is_ours: held,
        };
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
        self.child = spawn(self.folder.path(), &self.state, &self.net, &self.more, &self.build, &self.points);
        self.ready().await;
    }

    /// Starts another worker of the same host beside `dev`, until the house ends; `lease` is in seconds.
    pub async fn another_worker(&mut self, lease: &str) {
        let log = self.folder.path().join("worker.log");
        let out = self.folder.path().join("worker.out");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
        command
            .args(["worker", "--instance-net", &self.net, "--lease", lease, "--state-dir"])
            .arg(&self.state)
            .env("DATABASE_URL", store::url(&self.state).await)
            .env_remove("COFFER_KEY_FILE")
            .env(PAUSES, self.points.folder())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&log).unwrap());
        engines(&mut command, &self.build);
        self.beside = Some(command.spawn().unwrap());
        wait_for("another worker serves", Duration::from_secs(60), async || {
            std::fs::read_to_string(&out).unwrap().contains("ready ").then_some(())
        })
        .await;
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

    /// Where the generations' folders lie.
    pub fn generations(&self) -> PathBuf {
        self.state.join("generations")
    }

    /// The folder of each generation that has one.
    fn folders(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.generations());
        entries.map(|entries| entries.flatten().map(|e| e.path()).collect()).unwrap_or_default()
    }

    /// Deletes what the test made and looks for what is left: rows, folders, sockets, processes, and words of trouble.
    pub async fn leave_nothing(self, api: &Client, instances: &[&str]) {
        let log = self.leave_nothing_but_words(api, instances).await;
        let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.is_empty(), "unexpected ERROR lines: {errors:#?}");
    }

    /// The same of a house in which there was trouble; gives what it said.
    pub async fn leave_nothing_but_words(mut self, api: &Client, instances: &[&str]) -> String {
        let store = self.store().await;
        let mut sockets = Vec::new();
        for row in store.query("select id from generations", &[]).await.unwrap() {
            let generation = coffer::domain::ids::GenerationId(row.get(0));
            sockets.push(coffer::runtimes::process::socket_path(&self.run, generation));
        }
        super::delete(api, instances).await;
        for what in [
            "relays",
            "holds",
            "endpoints",
            "task_instances where live",
            "generations where role <> 'dropped'",
            "tasks where ended_at is null",
            "tasks where secrets is not null",
        ] {
            assert_eq!(store::count(&store, what).await, 0, "left over: {what}");
        }
        let folders = self.folders();
        assert!(folders.is_empty(), "left over: {folders:?}");
        for socket in &sockets {
            assert!(!socket.parent().unwrap().exists(), "left over: {}", socket.display());
        }
        let engines: Vec<_> =
            processes::of(self.folder.path()).into_iter().filter(|p| processes::is_server(&p.line)).collect();
        assert!(engines.is_empty(), "left over: {engines:?}");
        drop(store);
        if let Some(mut worker) = self.beside.take() {
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
        self.stop().await;
        std::fs::read_to_string(self.folder.path().join("dev.log")).unwrap()
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
        let folders = self.folders();
        // Who restarts the others goes first.
        for child in std::iter::once(&mut self.child).chain(&mut self.beside) {
            let _ = child.kill();
            let _ = child.wait();
        }
        end_all(self.folder.path(), &self.state, &self.run);
        remove_sockets(&folders, &self.run);
        drop(self.small.take());
    }
}

/// A small file system. Who has mounted it is another process, which takes it off when we close the pipe to it: also
/// when we are killed. It is there for everybody: who looks on this machine for accounts that are in use looks at the
/// owners of generations' folders, and must see these.
struct Small(Child);

impl Small {
    fn mount(place: &Path, size_mb: u32) -> Self {
        let script = "mkdir -p -m 711 \"$PLACE\" && chmod 711 \"${PLACE%/*}\" && \
                      mount -t tmpfs -o \"$OPTIONS\" coffer-test \"$PLACE\" && echo mounted; \
                      cat >/dev/null; umount -l \"$PLACE\"";
        let mut command = Command::new("setsid");
        // Not as arguments: whose command line names the folder is ended with the house, and this one goes after it.
        command.args(["sh", "-c", script]).env("PLACE", place);
        command.env("OPTIONS", format!("size={size_mb}m,mode=711"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 8];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(&said, b"mounted\n");
        Self(child)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
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
    let generations = std::fs::read_dir(state.join("generations")).into_iter().flatten().flatten();
    let generations: Vec<String> =
        generations.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    loop {
        let mut left = processes::of(folder);
        // A session of PostgreSQL names no folder, and one that is stopped does not end with its server.
        for generation in generations.iter().filter(|name| name.parse::<GenerationId>().is_ok()) {
            left.extend(processes::of_generation(generation));
        }
        if left.is_empty() || Instant::now() > deadline {
            break;
        }
        for process in left {
            processes::kill(process.pid);
        }
    }
    // The kernel lets go of the killed a moment later.
    let until = Instant::now() + Duration::from_secs(5);
    while !remove_groups(Path::new("/sys/fs/cgroup"), &generations) && Instant::now() < until {
        std::thread::yield_now();
    }
    let folders = std::fs::read_dir(state.join("generations")).into_iter().flatten().flatten();
    remove_sockets(&folders.map(|entry| entry.path()).collect::<Vec<_>>(), run);
    let _ = std::fs::remove_dir_all(coffer::embedded_postgres::socket_dir(run, state));
}

/// Removes the control groups of generations whose servers and shims were killed. Whether none is left.
fn remove_groups(folder: &Path, generations: &[String]) -> bool {
    let mut are_gone = true;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        are_gone &= remove_groups(&entry.path(), generations);
        if generations.iter().any(|name| entry.file_name() == name.as_str()) {
            let removed = std::fs::remove_dir(entry.path());
            // The shim may have done so meanwhile.
            are_gone &= removed.is_ok() || !entry.path().exists();
        } else if entry.file_name() == "coffer" {
            // One of another test's is in use.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    are_gone
}

/// Removes the socket folders of generations that have these folders.
fn remove_sockets(folders: &[PathBuf], run: &Path) {
    for folder in folders {
        let name = folder.file_name().and_then(|name| name.to_str());
        if let Some(id) = name.and_then(|name| name.parse().ok()) {
            let socket = coffer::runtimes::process::socket_path(run, id);
            let _ = std::fs::remove_dir_all(socket.parent().unwrap());
        }
    }
}

fn spawn(folder: &Path, state: &Path, net: &str, more: &[String], build: &Build, points: &Points) -> Child {
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
        .env(PAUSES, points.folder())
        .stdin(Stdio::null())
        .stdout(open("dev.out"))
        .stderr(open("dev.log"));
    engines(&mut command, build);
    command.spawn().unwrap()
}

/// Tells a role where its engines are.
fn engines(command: &mut Command, build: &Build) {
    command.arg("--engines").arg(build.engines.clone().unwrap_or_else(super::roles::engines));
}

/// A network of 127/8 that no other test on this machine has; held by a name that ends with the process.
pub fn own_net() -> (String, UnixListener) {
    (100..200).find_map(net).expect("fewer than a hundred tests run at once")
}

/// The network of 127/8 with this number, unless another test has it.
pub fn net(number: u8) -> Option<(String, UnixListener)> {
    let name = SocketAddr::from_abstract_name(format!("coffer-test-net-{number}")).unwrap();
    let held = UnixListener::bind_addr(&name).ok()?;
    Some((format!("127.{number}.0.0/16"), held))
}
