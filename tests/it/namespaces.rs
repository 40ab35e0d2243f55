//! Workers of two PID namespaces on one state folder: neither sees the other's processes, and no server is started on
//! the files of one that runs.

use std::process::{Command, Output, Stdio};

use coffer::domain::ids::GenerationId;
use coffer::engines::{Engine as _, Server};
use coffer::runtimes::process::ProcessRuntime;
use coffer::runtimes::{Error, Limits, Observed, Runtime as _};

use crate::accounts::accounts;
use crate::engine_servers::{ENGINE, House, config, kill, processes, until};
use crate::harness::roles::{Role, Roles, engines};
use crate::postgres_servers;

fn limits() -> Limits {
    Limits { memory_mb: 512, cpus: 1 }
}

const FOLDER: &str = "COFFER_TEST_NAMESPACE_FOLDER";
const GENERATION: &str = "COFFER_TEST_NAMESPACE_GENERATION";
const VERSION: &str = "COFFER_TEST_NAMESPACE_VERSION";

/// A program in a PID namespace of its own, with its own /proc, which ends with it.
fn elsewhere(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// What [`asked_in_another_namespace`] says of the server.
fn asked(house: &House, server: &Server) -> String {
    let output: Output = elsewhere(std::env::current_exe().unwrap().as_os_str())
        .args(["--exact", "namespaces::asked_in_another_namespace", "--ignored", "--nocapture"])
        .env(FOLDER, house.folder.path())
        .env(GENERATION, server.generation.to_string())
        .env(VERSION, &server.version)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Not a test of its own: what another worker's runtime sees and does, in a process that [`asked`] starts.
#[tokio::test]
#[ignore = "run by the tests of this file, in another PID namespace"]
async fn asked_in_another_namespace() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let generation: GenerationId = std::env::var(GENERATION).unwrap().parse().unwrap();
    let version = std::env::var(VERSION).unwrap();
    let runtime = ProcessRuntime::new(config(std::path::Path::new(&folder))).unwrap();
    let (kind, program) = match version.starts_with("1") && version.contains("10.") {
        true => (ENGINE.kind(), "mariadbd"),
        false => (postgres_servers::ENGINE.kind(), "postgres"),
    };
    let layout = runtime.layout(generation, kind, &version).unwrap();
    println!("seen: {:?}", runtime.observe(generation).await.unwrap());
    let arguments = [format!("--defaults-file={}", layout.config.join("my.cnf").display())];
    let arguments = if program == "mariadbd" { &arguments[..] } else { &[] };
    for (what, done) in [
        ("start", runtime.ensure_server(generation, &layout, program, arguments, limits()).await),
        ("stop", runtime.stop_server(generation, std::time::Duration::ZERO, true).await),
        ("drop", runtime.drop_volume(generation).await),
    ] {
        let refused = done.err().map(|error| match error {
            Error::RunsElsewhere { .. } | Error::InUse => error.to_string(),
            other => panic!("{what}: {other:?}"),
        });
        println!("{what}: {}", refused.as_deref().unwrap_or("done"));
    }
}

/// As often as the server is found by whoever holds its lock: its shim, or, when that was killed, it alone.
async fn is_left_alone(house: &House, server: &Server, pids: impl Fn() -> Vec<i32>) {
    let running = pids();
    assert!(!running.is_empty());
    let said = asked(house, server);
    for line in [
        "seen: Running",
        "start: the server of generation",
        "stop: the server of generation",
        "drop: the server still runs",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains("another PID namespace") && said.contains("in one PID namespace"), "{said}");
    assert_eq!(pids(), running, "nothing was started, nothing ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_of_another_namespace_is_not_started_again() {
    if accounts("a_mariadb_of_another_namespace_is_not_started_again").is_none() {
        return;
    }
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let folder = house.state(&server);
    let servers = || processes(&format!("--defaults-file={}", folder.display()));
    let shims = || processes(&format!("coffer\0shim\0--folder\0{}\0", folder.display()));
    is_left_alone(&house, &server, servers).await;
    // The server holds its lock without its shim, too.
    kill(shims()[0]);
    until("the shim is gone", async || shims().is_empty()).await;
    is_left_alone(&house, &server, servers).await;
    ENGINE.probe(&server, true).await.unwrap();
    ENGINE.stop(&server).await.unwrap();
    // It is gone, so is its lock: whoever comes first may start it, and here it is seen again.
    ENGINE.start(&server).await.unwrap();
    assert_eq!(server.runtime.observe(server.generation).await.unwrap(), Observed::Running);
    kill(servers()[0]);
    until("it is seen stopped", async || {
        server.runtime.observe(server.generation).await.unwrap() == Observed::Stopped
    })
    .await;
    ENGINE.start(&server).await.unwrap();
    ENGINE.stop(&server).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_of_another_namespace_is_not_started_again() {
    if accounts("a_postgresql_of_another_namespace_is_not_started_again").is_none() {
        return;
    }
    let house = House::new();
    let server = postgres_servers::started(&house, "15.0").await;
    let folder = house.state(&server);
    let servers = || {
        let all = processes(&folder.display().to_string());
        all.into_iter()
            .filter(|pid| crate::harness::processes::variable(*pid, "COFFER_GENERATION").is_some())
            .collect()
    };
    let shims = || processes(&format!("coffer\0shim\0--folder\0{}\0", folder.display()));
    is_left_alone(&house, &server, servers).await;
    kill(shims()[0]);
    until("the shim is gone", async || shims().is_empty()).await;
    is_left_alone(&house, &server, servers).await;
    postgres_servers::ENGINE.stop(&server).await.unwrap();
    postgres_servers::ENGINE.start(&server).await.unwrap();
    postgres_servers::ENGINE.stop(&server).await.unwrap();
}

/// A lock that nobody in sight accounts for keeps every start away, and the error says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_is_tried_before_every_start() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    ENGINE.stop(&server).await.unwrap();
    let lock = std::fs::File::open(house.state(&server).join("running")).unwrap();
    lock.lock().unwrap();
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let args = [format!("--defaults-file={}", layout.config.join("my.cnf").display())];
    let refused = server.runtime.ensure_server(server.generation, &layout, "mariadbd", &args, limits()).await;
    assert!(matches!(refused, Err(Error::RunsElsewhere { .. })), "{refused:?}");
    assert!(processes(&format!("--defaults-file={}", house.state(&server).display())).is_empty());
    drop(lock);
    ENGINE.start(&server).await.unwrap();
    ENGINE.stop(&server).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_says_so_and_ends() {
    if accounts("a_worker_says_so_and_ends").is_none() {
        return;
    }
    let roles = Roles::start("process").await;
    let second = |program: &mut Command| {
        program
            .args(["worker", "--instance-net", "127.98.0.0/16", "--state-dir"])
            .arg(&roles.state)
            .arg("--engines")
            .arg(engines())
            .env("DATABASE_URL", roles.url())
            .env_remove("COFFER_KEY_FILE")
            .output()
            .unwrap()
    };
    let refused = second(&mut elsewhere(env!("CARGO_BIN_EXE_coffer").as_ref()));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("another worker serves") && said.contains("PID namespace"), "{said}");
    assert!(roles.pid(Role::Worker(0)).as_raw_nonzero().get() > 0);
}
