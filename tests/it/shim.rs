//! The parents of servers: what they say of a server's end, and that no kill of theirs takes a server along.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chrono::Utc;
use coffer::engines::{Engine as _, Server};
use coffer::runtimes::process::{Config, ProcessRuntime};
use coffer::runtimes::{Error, Exit, Observed, Runtime as _};
use rustix::process::{Pid, Signal};

use crate::accounts::{accounts, may};
use crate::engine_servers::{ENGINE, House, config, kill, processes, until};
use crate::harness::house::House as Dev;
use crate::harness::{self, healthy, open_shop, store};

/// A server's folder, its processes and its shims.
struct Watch<'a> {
    server: &'a Server,
    folder: PathBuf,
}

impl<'a> Watch<'a> {
    fn of(house: &House, server: &'a Server) -> Self {
        Self { server, folder: house.state(server) }
    }

    /// Also one that is a fork of a shim still.
    fn shims(&self) -> Vec<i32> {
        processes(&format!("coffer\0shim\0--folder\0{}\0", self.folder.display()))
    }

    fn servers(&self) -> Vec<i32> {
        processes(&format!("--defaults-file={}", self.folder.display()))
    }

    async fn last(&self) -> Option<Exit> {
        self.server.runtime.last_exit(self.server.generation).await.unwrap()
    }

    async fn seen(&self) -> Observed {
        self.server.runtime.observe(self.server.generation).await.unwrap()
    }

    /// As the engine does it, but without waiting until the server answers.
    async fn ensure(&self) -> Result<(), Error> {
        ensure(self.server.clone()).await
    }

    fn record(&self, name: &str) -> Option<serde_json::Value> {
        let text = std::fs::read(self.folder.join(name)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    fn pid(&self, name: &str) -> i32 {
        i32::try_from(self.record(name).unwrap()["pid"].as_i64().unwrap()).unwrap()
    }

    fn pause(&self, point: &str) {
        File::create(self.folder.join(format!("pause.{point}"))).unwrap();
    }

    fn go_on(&self, point: &str) {
        std::fs::remove_file(self.folder.join(format!("pause.{point}"))).unwrap();
    }

    async fn reached(&self, point: &str) {
        let file = self.folder.join(format!("{point}.reached"));
        until(&format!("{point} is reached"), async || file.exists()).await;
        std::fs::remove_file(file).unwrap();
    }

    /// Whether somebody holds the generation's lock.
    fn is_locked(&self) -> bool {
        File::open(self.folder.join("lock")).unwrap().try_lock().is_err()
    }
}

async fn ensure(server: Server) -> Result<(), Error> {
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let args = [format!("--defaults-file={}", layout.config.join("my.cnf").display())];
    server
        .runtime
        .ensure_server(server.generation, &layout, "mariadbd", &args, server.settings.limits())
        .await
}

fn signal(pid: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// The state, parent and session of a process.
fn stat(pid: i32) -> Option<(char, i32, i32)> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
}

fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, ..)| state != 'Z')
}

/// Children of this test that have ended and that nobody waited for.
fn zombies() -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap();
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(state, parent, _)| state == 'Z' && parent == me)).collect()
}

fn by_signal(exit: Option<Exit>) -> Option<i32> {
    let exit = exit.unwrap();
    assert_eq!(exit.status, None);
    exit.signal
}

fn is_clean(exit: Option<Exit>) -> bool {
    exit.is_some_and(|exit| exit.status == Some(0) && exit.signal.is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_is_recorded_and_a_restart_forgets_it() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    let (shims, servers) = (watch.shims(), watch.servers());
    assert_eq!((shims.len(), servers.len()), (1, 1));
    let (shim, pid) = (shims[0], servers[0]);
    assert_eq!((watch.pid("shim.json"), watch.pid("server.json")), (shim, pid));
    // Each in a session of its own, and the one the other's parent; nobody has the lock.
    assert_eq!(stat(pid).unwrap().1, shim);
    assert_eq!((stat(shim).unwrap().2, stat(pid).unwrap().2), (shim, pid));
    assert!(!watch.is_locked());
    // It says whose it is, and nothing else of anybody's.
    let line = std::fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap();
    assert_eq!(
        line.trim_end_matches('\0').split('\0').collect::<Vec<_>>(),
        ["coffer", "shim", "--folder", watch.folder.to_str().unwrap()]
    );
    assert_eq!(std::fs::read_to_string(format!("/proc/{shim}/comm")).unwrap().trim(), "coffer-shim");
    let environment = std::fs::read_to_string(format!("/proc/{shim}/environ")).unwrap();
    let mut names: Vec<_> =
        environment.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "MIMALLOC_ARENA_EAGER_COMMIT", "PATH", "TMPDIR"]);
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut names: Vec<_> =
        environment.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["COFFER_GENERATION", "HOME", "LANG", "PATH", "TMPDIR"]);
    assert_eq!(std::fs::read_dir(format!("/proc/{shim}/task")).unwrap().count(), 1);
    assert_eq!(watch.last().await, None, "it runs");

    let before = Utc::now();
    ENGINE.stop(&server).await.unwrap();
    // At once: the stop has waited for it.
    let recorded = watch.record("exit.json").unwrap();
    assert_eq!(recorded["server"], watch.record("server.json").unwrap());
    assert!(watch.shims().is_empty() && watch.servers().is_empty());
    let exit = watch.last().await.unwrap();
    assert_eq!((exit.status, exit.signal), (Some(0), None));
    assert!(exit.at > before && exit.at < Utc::now());
    // From another process as well, and made twice it is the same volume.
    let other = ProcessRuntime::new(config(house.folder.path())).unwrap();
    other.ensure_volume(server.generation, None).await.unwrap();
    assert_eq!(other.last_exit(server.generation).await.unwrap(), Some(exit));

    // Nothing is said of it any more before the next one runs.
    watch.pause("cleared");
    let start = tokio::spawn(ensure(server.clone()));
    watch.reached("cleared").await;
    assert!(watch.servers().is_empty() && watch.is_locked());
    assert_eq!((watch.record("exit.json"), watch.record("server.json")), (None, None));
    watch.go_on("cleared");
    start.await.unwrap().unwrap();
    assert_eq!(watch.last().await, None);
    ENGINE.start(&server).await.unwrap();
    assert_eq!((watch.shims().len(), watch.servers().len()), (1, 1));
    ENGINE.stop(&server).await.unwrap();
    assert!(is_clean(watch.last().await));

    // A volume that is made anew has no past, also when the drop was killed before it was through.
    std::fs::remove_dir_all(watch.folder.join("data")).unwrap();
    server.runtime.ensure_volume(server.generation, None).await.unwrap();
    assert_eq!(watch.last().await, None);
    server.runtime.drop_volume(server.generation).await.unwrap();
    assert!(!watch.folder.exists());
    assert_eq!(watch.last().await, None);
    until("no zombie is left", async || zombies().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_ended_by_a_signal() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    kill(watch.servers()[0]);
    until("it is seen stopped", async || watch.seen().await == Observed::Stopped).await;
    assert_eq!(by_signal(watch.last().await), Some(9));
    ENGINE.start(&server).await.unwrap();
    assert_eq!(watch.last().await, None);
    // By force, which is no clean stop.
    server.runtime.stop_server(server.generation, Duration::ZERO, true).await.unwrap();
    assert_eq!(by_signal(watch.last().await), Some(9));
    // One that cannot live at all: its own word.
    std::fs::write(watch.folder.join("config/my.cnf"), "[mysqld]\nno_such_option=1\n").unwrap();
    let _ = watch.ensure().await;
    until("it is seen stopped", async || watch.seen().await == Observed::Stopped).await;
    let exit = watch.last().await.unwrap();
    assert!(exit.signal.is_none() && exit.status.is_some_and(|status| status != 0), "{exit:?}");
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let limits = server.settings.limits();
    let missing =
        server.runtime.ensure_server(server.generation, &layout, "no-such-program", &[], limits).await;
    let Err(Error::Io { doing, source }) = missing else { panic!("{missing:?}") };
    assert_eq!((doing.as_str(), source.kind()), ("start no-such-program", std::io::ErrorKind::NotFound));
    server.runtime.drop_volume(server.generation).await.unwrap();
    until("nothing is left", async || zombies().is_empty() && watch.shims().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_leaves_its_server_alone() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    let (shim, pid) = (watch.shims()[0], watch.servers()[0]);
    // What ends a service is not for it.
    for each in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        signal(shim, each);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(lives(shim));
    // What it does not hear, its server does.
    let caught = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim().to_owned()
    };
    assert_eq!(u64::from_str_radix(&caught(pid), 16).unwrap() & (1 << 14 | 1 << 1 | 1 << 16), 0);
    kill(shim);
    until("the shim is gone", async || watch.shims().is_empty()).await;
    assert_eq!(watch.servers(), [pid]);
    assert_eq!(watch.seen().await, Observed::Running);
    assert!(ENGINE.probe(&server, true).await.unwrap().starts_with("10.11."));
    ENGINE.start(&server).await.unwrap();
    assert_eq!(watch.servers(), [pid], "it is found, by its record");
    std::fs::remove_file(watch.folder.join("server.json")).unwrap();
    ENGINE.start(&server).await.unwrap();
    assert_eq!(watch.servers(), [pid], "and by its mark");
    assert_eq!(watch.last().await, None);
    ENGINE.stop(&server).await.unwrap();
    assert!(!lives(pid));
    assert_eq!(watch.last().await, None, "nobody saw it");
    // The next one is looked after again.
    ENGINE.start(&server).await.unwrap();
    assert_eq!(watch.shims().len(), 1);
    ENGINE.stop(&server).await.unwrap();
    assert!(is_clean(watch.last().await));
    until("no zombie is left", async || zombies().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_sees_the_end_without_a_worker() {
    let mut dev = Dev::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "orders", "10.11").await;
    let db = dev.store().await;
    let generation = store::generation(&db, &shop.id).await.unwrap();
    let config = Config { run_dir: dev.run.clone(), ..config(dev.folder()) };
    let runtime = ProcessRuntime::new(config).unwrap();
    let folder = dev.folder().to_owned();
    let kill_dev = async || {
        let all = harness::processes::of(&folder);
        let pid = all.iter().find(|process| process.line.contains(" dev ")).unwrap().pid;
        kill(pid);
        // Whatever it held, it holds no more.
        until("dev is gone", async || !lives(pid)).await;
    };
    let shims = || {
        let all = harness::processes::of(&folder);
        all.iter().filter(|process| process.line.starts_with("coffer shim ")).count()
    };
    assert_eq!(shims(), 1);
    kill_dev().await;
    let pid = dev.engine_pid(&db, &shop.id).await;
    assert_eq!((shims(), runtime.observe(generation).await.unwrap()), (1, Observed::Running));
    signal(pid, Signal::TERM);
    until("its shim has ended", async || shims() == 0).await;
    assert!(!lives(pid));
    assert!(is_clean(runtime.last_exit(generation).await.unwrap()));
    drop(db);
    dev.start_again().await;
    let api = dev.login("coffer").await;
    healthy(&api, &shop.id).await;
    let db = dev.store().await;
    assert_ne!(dev.engine_pid(&db, &shop.id).await, pid);
    assert_eq!((shims(), runtime.last_exit(generation).await.unwrap()), (1, None));
    // Killed in the middle of a start: the shim goes through with it, and the next worker waits for it.
    let state = folder.join("state/generations").join(generation.to_string());
    File::create(state.join("pause.started")).unwrap();
    kill(dev.engine_pid(&db, &shop.id).await);
    drop(db);
    until("the start is under way", async || state.join("started.reached").exists()).await;
    kill_dev().await;
    assert!(File::open(state.join("lock")).unwrap().try_lock().is_err(), "the shim has it");
    std::fs::remove_file(state.join("pause.started")).unwrap();
    until("the lock is free", async || File::open(state.join("lock")).unwrap().try_lock().is_ok()).await;
    assert_eq!((shims(), runtime.observe(generation).await.unwrap()), (1, Observed::Running));
    dev.start_again().await;
    healthy(&dev.login("coffer").await, &shop.id).await;
    let starts = std::fs::read_to_string(folder.join("dev.log")).unwrap().matches("server started").count();
    assert_eq!(starts, 2, "the create's, and the one that followed the first death of dev");
    assert_eq!(shims(), 1);
    // Started by the one, seen by the next.
    dev.kill_dev_and_start_again().await;
    let api = dev.login("coffer").await;
    healthy(&api, &shop.id).await;
    dev.stop_dev().await;
    assert!(is_clean(runtime.last_exit(generation).await.unwrap()));
    assert_eq!(shims(), 0);
    dev.start_again().await;
    let api = dev.login("coffer").await;
    healthy(&api, &shop.id).await;
    dev.leave_nothing(&api, &[&shop.id]).await;
}

#[test]
fn without_a_worker_it_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&OsStr], input: &str| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
        command.arg("shim").args(args).current_dir(folder.path()).stdin(std::os::fd::OwnedFd::from(theirs));
        std::io::Write::write_all(&mut &ours, input.as_bytes()).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        command.output().unwrap()
    };
    let path = folder.path().as_os_str();
    let of = OsStr::new("--folder");
    // The first two: a worker that died before it had said everything.
    for (args, input) in [
        (vec![of, path], ""),
        (vec![of, path], r#"{"generation":"#),
        (vec![], ""),
        (vec![path], ""),
        (vec![path, of], ""),
        (vec![of, path, path], ""),
    ] {
        let output = run(&args, input);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("worker"), "{output:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// kill -9 of the shim at each of its points.
#[tokio::test(flavor = "multi_thread")]
async fn it_may_die_at_any_line() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    let stopped = async || {
        server.runtime.stop_server(server.generation, Duration::from_secs(30), false).await.unwrap();
        assert!(watch.servers().is_empty() && watch.shims().is_empty());
    };
    // Frozen first, so that it goes no further when the point opens.
    let kill_at = |point: &str| {
        let shim = watch.pid("shim.json");
        signal(shim, Signal::STOP);
        if point != "forking" {
            watch.go_on(point);
        }
        kill(shim);
    };
    for point in ["cleared", "forking", "started", "server.json", "recorded"] {
        stopped().await;
        // A clean stop before, which must not be taken for this one's.
        ENGINE.start(&server).await.unwrap();
        stopped().await;
        assert!(is_clean(watch.last().await));
        watch.pause(point);
        let start = tokio::spawn(ensure(server.clone()));
        if point == "forking" {
            until("it has forked", async || watch.shims().len() == 2).await;
        } else {
            watch.reached(point).await;
        }
        assert!(!start.is_finished() && watch.is_locked(), "{point}");
        kill_at(point);
        if point == "forking" {
            // What it forked is not the server yet, and nobody may look for one before it is.
            until("it is gone", async || watch.shims().len() == 1).await;
            let second = tokio::spawn(ensure(server.clone()));
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!start.is_finished() && !second.is_finished() && watch.is_locked());
            watch.go_on(point);
            second.await.unwrap().unwrap();
        }
        let started = start.await.unwrap();
        assert!(watch.shims().is_empty() && !watch.is_locked(), "{point}");
        assert_eq!(watch.last().await, None, "{point}");
        if point == "cleared" {
            let error = started.unwrap_err();
            assert_eq!(error.to_string(), "start mariadbd", "{point}");
            assert_eq!(watch.seen().await, Observed::Stopped);
            assert!(watch.servers().is_empty());
        } else {
            started.unwrap();
            let pids = watch.servers();
            assert_eq!((pids.len(), watch.seen().await), (1, Observed::Running), "{point}");
            assert_eq!(watch.pid("server.json"), pids[0], "{point}");
            ENGINE.start(&server).await.unwrap();
            assert_eq!(watch.servers(), pids, "{point}");
            stopped().await;
            assert_eq!(watch.last().await, None, "{point}: nobody saw it");
        }
        eprintln!("killed at {point}");
    }
    for point in ["ended", "exit.json"] {
        ENGINE.start(&server).await.unwrap();
        watch.pause(point);
        kill(watch.servers()[0]);
        watch.reached(point).await;
        assert_eq!(watch.seen().await, Observed::Stopped, "{point}");
        kill_at(point);
        assert_eq!((watch.record("exit.json"), watch.last().await), (None, None), "{point}");
        eprintln!("killed at {point}");
    }
    ENGINE.start(&server).await.unwrap();
    ENGINE.stop(&server).await.unwrap();
    assert!(is_clean(watch.last().await));
    server.runtime.drop_volume(server.generation).await.unwrap();
    assert!(!watch.folder.exists());
    until("no zombie is left", async || zombies().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_a_stop_wait_for_the_start_under_way() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    ENGINE.stop(&server).await.unwrap();
    let watch = Watch::of(&house, &server);
    let other = std::sync::Arc::new(ProcessRuntime::new(config(house.folder.path())).unwrap());
    let theirs = Server { runtime: other, ..server.clone() };
    watch.pause("started");
    let mut starts: Vec<_> = (0..8)
        .map(|n| tokio::spawn(ensure(if n % 2 == 0 { server.clone() } else { theirs.clone() })))
        .collect();
    watch.reached("started").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(starts.iter().all(|start| !start.is_finished()));
    assert_eq!((watch.shims().len(), watch.servers().len()), (1, 1));
    watch.go_on("started");
    for start in starts.drain(..) {
        start.await.unwrap().unwrap();
    }
    assert_eq!((watch.shims().len(), watch.servers().len()), (1, 1));
    ENGINE.start(&server).await.unwrap();
    ENGINE.stop(&server).await.unwrap();

    watch.pause("started");
    let start = tokio::spawn(ensure(server.clone()));
    watch.reached("started").await;
    let (runtime, generation) = (theirs.runtime.clone(), theirs.generation);
    let stop =
        tokio::spawn(async move { runtime.stop_server(generation, Duration::from_secs(30), false).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!start.is_finished() && !stop.is_finished());
    watch.go_on("started");
    start.await.unwrap().unwrap();
    stop.await.unwrap().unwrap();
    assert_eq!(watch.seen().await, Observed::Stopped);
    assert!(watch.last().await.is_some() && watch.shims().is_empty());
}

/// What a stopped shim would write later names no server of then, and is not written at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_hangs_is_in_nobodys_way() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    let hang = || {
        let shim = watch.shims()[0];
        signal(shim, Signal::STOP);
        kill(watch.servers()[0]);
        shim
    };
    let first = hang();
    until("it is seen stopped", async || watch.seen().await == Observed::Stopped).await;
    let begun = Instant::now();
    assert_eq!(watch.last().await, None, "not known yet");
    eprintln!("asked of a shim that hangs: {:?}", begun.elapsed());
    signal(first, Signal::CONT);
    until("it goes on", async || watch.shims().is_empty()).await;
    assert_eq!(by_signal(watch.last().await), Some(9));
    ENGINE.start(&server).await.unwrap();
    let second = hang();
    ENGINE.start(&server).await.unwrap();
    assert!(!lives(second));
    assert_eq!((watch.shims().len(), watch.last().await), (1, None));
    let third = hang();
    until("it is seen stopped", async || watch.seen().await == Observed::Stopped).await;
    server.runtime.drop_volume(server.generation).await.unwrap();
    assert!(!lives(third) && watch.shims().is_empty() && !watch.folder.exists());
    until("no zombie is left", async || zombies().is_empty()).await;
}

/// A number that was given out again is nobody that we know.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_with_its_number_is_a_stranger() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    ENGINE.stop(&server).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(watch.folder.join(name)).unwrap();
    let write = |name: &str, text: &str| std::fs::write(watch.folder.join(name), text).unwrap();
    let (ended, started) = (read("exit.json"), read("server.json"));
    assert!(is_clean(watch.last().await));
    // The exit is another start's.
    for (from, to) in [
        ("\"pid\":", "\"pid\":1"),
        ("\"start_time\":", "\"start_time\":1"),
        ("\"boot_id\":\"", "\"boot_id\":\"0"),
    ] {
        write("server.json", &started.replace(from, to));
        assert_eq!(watch.last().await, None);
    }
    write("server.json", &started);
    for part in ["", "{", &ended[..ended.len() / 2]] {
        write("exit.json", part);
        assert_eq!(watch.last().await, None);
    }
    write("exit.json", &ended);
    assert!(is_clean(watch.last().await));
    // A stranger has the shim's number: it is neither waited for nor killed.
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&read("shim.json")).unwrap();
    record["pid"] = stranger.id().into();
    write("shim.json", &record.to_string());
    let begun = Instant::now();
    assert!(is_clean(watch.last().await));
    ENGINE.start(&server).await.unwrap();
    ENGINE.stop(&server).await.unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    let start_time: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    record["start_time"] = start_time.into();
    record["boot_id"] = "another".into();
    write("shim.json", &record.to_string());
    server.runtime.drop_volume(server.generation).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "nobody waited for it");
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_is_not_the_servers_to_change() {
    let Some(accounts) = accounts("what_it_says_is_not_the_servers_to_change") else { return };
    let house = House::new();
    let name = accounts.pool.keys().next_back().unwrap().clone();
    let server = Server { account: Some(name), ..house.server("10.11.0", false) };
    ENGINE.create_data(&server).await.unwrap();
    ENGINE.start(&server).await.unwrap();
    let watch = Watch::of(&house, &server);
    let uid = watch.folder.join("data").metadata().unwrap().uid();
    let account = *accounts.pool.values().find(|account| account.uid == uid).unwrap();
    let owner = |pid: i32| std::fs::metadata(format!("/proc/{pid}")).unwrap().uid();
    assert_eq!((owner(watch.servers()[0]), owner(watch.shims()[0])), (uid, 0));
    ENGINE.stop(&server).await.unwrap();
    let before = watch.record("exit.json").unwrap();
    for name in ["exit.json", "server.json", "shim.json"] {
        let facts = watch.folder.join(name).metadata().unwrap();
        assert_eq!((facts.uid(), facts.mode() & 0o7777), (0, 0o600), "{name}");
        let path = watch.folder.join(name);
        let path = path.as_os_str();
        // A file of its own beside it, as what it would put in its place.
        let own = watch.folder.join("tmp/forged");
        assert!(may(account, "touch", &[own.as_os_str()]));
        for (program, args) in [
            ("cat", vec![path]),
            ("rm", vec![OsStr::new("-f"), path]),
            ("mv", vec![OsStr::new("-f"), own.as_os_str(), path]),
            ("cp", vec![OsStr::new("-f"), own.as_os_str(), path]),
            ("ln", vec![OsStr::new("-f"), own.as_os_str(), path]),
            ("chmod", vec![OsStr::new("666"), path]),
            ("truncate", vec![OsStr::new("-s"), OsStr::new("0"), path]),
        ] {
            assert!(!may(account, program, &args), "{program} {name}");
        }
    }
    assert_eq!(watch.record("exit.json").unwrap(), before);
    assert!(is_clean(watch.last().await));
}

/// A small file system, for as long as it is held.
struct Small(tempfile::TempDir);

impl Small {
    fn mounted(bytes: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("coffer-small-").tempdir().unwrap();
        let options = format!("size={bytes},mode=711");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "coffer-test"]).arg(folder.path());
        assert!(mount.status().unwrap().success());
        Self(folder)
    }

    /// Has no byte free.
    fn fill(&self) -> PathBuf {
        use std::io::Write as _;
        let path = self.0.path().join("full");
        let mut file = File::create(&path).unwrap();
        let block = vec![0; 1 << 20];
        for part in [block.as_slice(), &block[..4096]] {
            while file.write_all(part).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_no_end_from_being_told() {
    if accounts("a_full_disk_keeps_no_end_from_being_told").is_none() {
        return;
    }
    let small = Small::mounted("1g");
    let house = House::new();
    std::os::unix::fs::symlink(small.0.path(), house.folder.path().join("state")).unwrap();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    let full = small.fill();
    assert!(std::fs::write(watch.folder.join("one_more"), [0; 4096]).is_err(), "the disk is full");
    let _ = std::fs::remove_file(watch.folder.join("one_more"));
    kill(watch.servers()[0]);
    until("it is seen stopped", async || watch.seen().await == Observed::Stopped).await;
    let exit = watch.last().await;
    assert_eq!(by_signal(exit.clone()), Some(9));
    // None is started without room to say how it ends, and what was known stays.
    let refused = watch.ensure().await;
    let Err(Error::Io { doing, source }) = &refused else { panic!("{refused:?}") };
    assert_eq!(
        (doing.as_str(), source.kind()),
        ("make room for the server's records", std::io::ErrorKind::StorageFull)
    );
    assert_eq!((watch.seen().await, watch.last().await), (Observed::Stopped, exit));
    assert!(watch.servers().is_empty());
    std::fs::remove_file(full).unwrap();
    ENGINE.start(&server).await.unwrap();
    assert_eq!(watch.last().await, None);
    ENGINE.stop(&server).await.unwrap();
    assert!(is_clean(watch.last().await));
}

/// What one costs: printed, and held against what nobody would notice.
#[tokio::test(flavor = "multi_thread")]
async fn it_costs_next_to_nothing() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let watch = Watch::of(&house, &server);
    let mut times = Vec::new();
    for _ in 0..10 {
        ENGINE.stop(&server).await.unwrap();
        let begun = Instant::now();
        watch.ensure().await.unwrap();
        times.push(begun.elapsed());
        ENGINE.start(&server).await.unwrap();
    }
    times.sort_unstable();
    eprintln!("from the request to the recorded start: median {:?}, longest {:?}", times[5], times[9]);
    let shim = watch.shims()[0];
    let kilobytes = |file: &str, name: &str| -> u64 {
        let text = std::fs::read_to_string(Path::new("/proc").join(shim.to_string()).join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    };
    let ticks = || -> u64 {
        let line = std::fs::read_to_string(format!("/proc/{shim}/stat")).unwrap();
        let fields: Vec<_> = line.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let own = kilobytes("smaps_rollup", "Private_Dirty") + kilobytes("smaps_rollup", "Private_Clean");
    let used = ticks();
    eprintln!(
        "a shim: {} kB resident, {} kB proportional, {own} kB its own, {used} ticks of 10 ms",
        kilobytes("status", "VmRSS"),
        kilobytes("smaps_rollup", "Pss"),
    );
    assert!(own < 16 * 1024, "{own} kB of its own");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ticks(), used, "it sleeps");
}
