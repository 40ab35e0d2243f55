//! An account an instance: what one instance's servers run as can read nothing of another's.
//!
//! Needs root; as anybody else, servers run as the caller, and these tests say so and pass.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use coffer::cli::accounts::{Account, Accounts};
use coffer::cli::demo::client::Client;
use coffer::domain::ids::GenerationId;
use coffer::engines::{Engine as _, Server};
use coffer::runtimes::process::{ProcessRuntime, socket_path};
use coffer::runtimes::{self, Runtime as _};

use crate::engine_servers::{ENGINE, House, config, database, own, processes, quiet, text, until, user};
use crate::harness::house::House as Dev;
use crate::harness::{ask_for_upgrade, healthy, open_shop, skip, status, store};

/// The accounts; `None`, with a line for the end of the run, when we are not root.
pub fn accounts(test: &str) -> Option<Accounts> {
    let found = Accounts::find().unwrap();
    if found.is_none() {
        skip(&format!("{test}: needs root"));
    }
    found
}

/// Whether `program` with `args` succeeds as an account, without groups of the caller's.
pub fn may(account: Account, program: &str, args: &[&OsStr]) -> bool {
    let output = Command::new("setpriv")
        .args([format!("--reuid={}", account.uid), format!("--regid={}", account.gid)])
        .args(["--clear-groups", "--no-new-privs", "--inh-caps=-all", program])
        .args(args)
        .current_dir("/")
        .output()
        .unwrap();
    output.status.success()
}

/// Whether an account, without groups of the caller's, can connect to a socket. To Linux, who asks is a matter of the
/// thread.
fn connects(account: Account, socket: &Path) -> bool {
    let (user, group) = (rustix::fs::Uid::from_raw(account.uid), rustix::fs::Gid::from_raw(account.gid));
    let socket = socket.to_owned();
    let asked = std::thread::spawn(move || {
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        std::os::unix::net::UnixStream::connect(socket).is_ok()
    });
    asked.join().unwrap()
}

/// Every file and folder below.
fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    found.push(folder.to_owned());
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_account_reads_what_another_has() {
    let Some(accounts) = accounts("no_account_reads_what_another_has") else { return };
    let house = House::new();
    let mut pool = accounts.pool.keys();
    let (one, two) = (pool.next().unwrap(), pool.next().unwrap());
    let started = async |account: &str, version: &str| {
        let server = Server { account: Some(account.to_owned()), ..house.server(version, false) };
        ENGINE.create_data(&server).await.unwrap();
        ENGINE.start(&server).await.unwrap();
        server
    };
    let (there, here) = (started(one, "10.11.0").await, started(two, "10.11.0").await);
    // The wish, or another when a service beside us has it.
    let (first, second) = (&owner(&accounts, &house, &there), &owner(&accounts, &house, &here));
    assert_ne!(first, second);
    ENGINE.create_content(&there, &[database("shop")], &[user("app", "pw", &["shop"])]).await.unwrap();
    for (server, account) in [(&there, first), (&here, second)] {
        let pids = processes(&format!("--defaults-file={}", house.state(server).display()));
        assert_eq!(pids.len(), 1);
        let process = std::fs::metadata(format!("/proc/{}", pids[0])).unwrap();
        assert_eq!((process.uid(), process.gid()), (account.uid, account.gid));
        // No group of the caller's, and nothing to leave in a core.
        let about = std::fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
        assert_eq!(about.lines().find_map(|l| l.strip_prefix("Groups:")).unwrap().trim(), "");
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", pids[0])).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }

    // Everything that the first one has, as the second one and as the endpoint: neither listed, read nor written.
    let mut all = Vec::new();
    below(&house.state(&there), &mut all);
    assert!(all.len() > 50 && all.iter().any(|path| path.ends_with("my.cnf")));
    let socket = there.runtime.layout(there.generation, ENGINE.kind(), &there.version).unwrap().socket;
    all.push(socket.clone());
    all.push(socket.parent().unwrap().to_owned());
    for stranger in [second, &accounts.engine, &accounts.endpoint, &accounts.store] {
        // One process for all: it fails only where it could do something.
        let script = r#"for f in "$@"; do
            [ -d "$f" ] && ls "$f" >/dev/null 2>&1 && echo "lists $f" && exit 0
            [ -f "$f" ] && head -c 1 "$f" >/dev/null 2>&1 && echo "reads $f" && exit 0
            [ -w "$f" ] && echo "writes $f" && exit 0
        done; exit 1"#;
        let mut args: Vec<&OsStr> = vec![OsStr::new("-c"), OsStr::new(script), OsStr::new("look")];
        args.extend(all.iter().filter(|path| !path.ends_with("server.sock")).map(|path| path.as_os_str()));
        assert!(!may(*stranger, "sh", &args), "uid {} came in", stranger.uid);
        // Its own, it can list: the check above is one.
        let pid = processes(&format!("--defaults-file={}", house.state(&there).display()))[0];
        let environment = format!("/proc/{pid}/environ");
        assert!(!may(*stranger, "cat", &[OsStr::new(&environment)]));
    }
    let data = house.state(&there).join("data");
    assert!(may(*first, "ls", &[data.as_os_str()]));
    // Of the socket the endpoint alone may have use.
    assert!(connects(accounts.endpoint, &socket));
    for stranger in [*second, accounts.store, accounts.engine] {
        assert!(!connects(stranger, &socket), "uid {} came in", stranger.uid);
    }

    // A copy goes from the one account to the other, and the candidate's files are its own.
    let candidate = Server { account: Some(two.clone()), ..house.server("11.8.0", true) };
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.seed(&there, &candidate, quiet()).await.unwrap();
    let mut conn = own(&candidate).await;
    assert_eq!(
        text(&mut conn, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='shop'").await,
        "1"
    );
    let mut files = Vec::new();
    for part in ["data", "tmp"] {
        below(&house.state(&candidate).join(part), &mut files);
    }
    for file in files {
        let facts = std::fs::symlink_metadata(&file).unwrap();
        assert_eq!((facts.uid(), facts.gid()), (second.uid, second.gid), "{}", file.display());
    }
    // What lies in a folder stays its owner's: another account never gets it.
    let wrong = candidate.runtime.ensure_volume(candidate.generation, Some(one)).await;
    assert!(matches!(wrong, Err(runtimes::Error::Foreign { .. })), "{wrong:?}");
    let wrong = candidate.runtime.ensure_volume(candidate.generation, Some("coffer-i9999")).await;
    assert!(matches!(wrong, Err(runtimes::Error::NoSuchAccount(_))), "{wrong:?}");
    // Another process adopts what runs, and stops it.
    let other = ProcessRuntime::new(config(house.folder.path())).unwrap();
    assert_eq!(other.observe(here.generation).await.unwrap(), runtimes::Observed::Running);
    other.stop_server(here.generation, Duration::from_secs(20), false).await.unwrap();
    assert!(processes(&format!("--defaults-file={}", house.state(&here).display())).is_empty());
}

/// A process of an account's that nobody knows of, ended with the test.
struct LeftOver(std::process::Child);

impl LeftOver {
    fn start(account: Account, script: &str, mark: Option<GenerationId>) -> Self {
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script]).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
        if let Some(generation) = mark {
            command.env("COFFER_GENERATION", generation.to_string());
        }
        Self(command.uid(account.uid).gid(account.gid).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for LeftOver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// The account that a volume has.
fn owner(accounts: &Accounts, house: &House, server: &Server) -> Account {
    let uid = house.state(server).join("data").metadata().unwrap().uid();
    *accounts.pool.values().find(|account| account.uid == uid).unwrap()
}

/// How many processes an account has.
fn of(account: Account) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let is_number = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    let of_account =
        |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|facts| facts.uid() == account.uid);
    // What has ended and was not looked at by its parent yet has no program any more.
    let lives = |entry: &std::fs::DirEntry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty())
    };
    all.filter(is_number).filter(of_account).filter(lives).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_left_running_is_gone_before_it_changes_hands() {
    let Some(accounts) = accounts("what_an_account_left_running_is_gone_before_it_changes_hands") else {
        return;
    };
    let name = accounts.pool.keys().next_back().unwrap();
    let (house, other) = (House::new(), House::new());
    let placed = async |house: &House| {
        let server = Server { account: Some(name.clone()), ..house.server("10.11.0", false) };
        server.runtime.ensure_volume(server.generation, Some(name)).await.unwrap();
        server
    };
    // Two generations of one instance have one account, which the other service does not get.
    let (first, second, theirs) = (placed(&house).await, placed(&house).await, placed(&other).await);
    let account = owner(&accounts, &house, &first);
    assert_eq!(owner(&accounts, &house, &second), account);
    let anothers = owner(&accounts, &other, &theirs);
    assert_ne!(anothers, account);

    let mut ours = LeftOver::start(account, "exec sleep 600", None);
    let mut foreign = LeftOver::start(anothers, "exec sleep 600", None);
    // It stops whoever comes to end it, too.
    let mut stops = LeftOver::start(account, "trap '' TERM HUP; while :; do kill -s STOP -1; done", None);
    // It is another process at each look.
    let again = r#"setsid sh -c "$0" "$0" &"#;
    let chain = format!("c='{again}'; exec sh -c \"$c\" \"$c\"");
    let mut flees = LeftOver::start(account, &chain, None);
    until("it flees", async || !flees.lives() && of(account) > 1).await;
    first.runtime.drop_volume(first.generation).await.unwrap();
    assert!(ours.lives() && stops.lives(), "the instance has another folder");
    second.runtime.drop_volume(second.generation).await.unwrap();
    assert!(!ours.lives() && !stops.lives());
    assert_eq!(of(account), 0);
    assert!(foreign.lives(), "another service's is left alone");

    // One that came to be while the account was nobody's: gone before a folder is made as it.
    let mut late = LeftOver::start(account, "exec sleep 600", None);
    let next = placed(&house).await;
    // Another test may have taken it meanwhile.
    assert!(owner(&accounts, &house, &next) != account || !late.lives());
    assert!(foreign.lives());
}

/// A caller that gives up waiting for a folder does not leave it behind: whoever removes it waits for whoever makes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_for_nobody_any_more_is_removed() {
    if accounts("what_is_made_for_nobody_any_more_is_removed").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("registry");
    std::fs::create_dir(&registry).unwrap();
    // Of numbers that nobody has: the machine's list of accounts is this test's own.
    let ids = 2_000_000_000 + std::process::id();
    let place = ProcessRuntime::new(coffer::runtimes::process::Config {
        registry: registry.clone(),
        pool: [("of-nobody".to_owned(), (ids, ids))].into(),
        account: Some((ids, ids)),
        ..config(folder.path())
    })
    .unwrap();
    let lock = std::fs::File::create(registry.join("lock")).unwrap();
    lock.lock().unwrap();
    let generation = GenerationId(uuid::Uuid::now_v7());
    let making = place.ensure_volume(generation, Some("of-nobody"));
    assert!(tokio::time::timeout(Duration::from_millis(100), making).await.is_err(), "it waits for the list");
    // Nobody waits for it any more, and it goes on.
    let mut removing = std::pin::pin!(place.drop_volume(generation));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut removing).await.is_err(),
        "it waits its turn"
    );
    lock.unlock().unwrap();
    removing.await.unwrap();
    assert!(!folder.path().join("state/generations").join(generation.to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_poses_as_a_server_is_not_believed() {
    let Some(accounts) = accounts("who_poses_as_a_server_is_not_believed") else { return };
    let house = House::new();
    let name = accounts.pool.keys().next().unwrap().clone();
    let server = Server { account: Some(name), ..house.server("10.11.0", false) };
    ENGINE.create_data(&server).await.unwrap();
    let own = owner(&accounts, &house, &server);
    let poses =
        [accounts.endpoint, own].map(|who| LeftOver::start(who, "exec sleep 600", Some(server.generation)));
    let mark = format!("COFFER_GENERATION={}", server.generation);
    let marked = |process: &LeftOver| {
        let environment = std::fs::read(format!("/proc/{}/environ", process.0.id())).unwrap();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    until("they pose", async || poses.iter().all(marked)).await;
    assert_eq!(server.runtime.observe(server.generation).await.unwrap(), runtimes::Observed::Stopped);
    ENGINE.start(&server).await.unwrap();
    let record = house.state(&server).join("server.json");
    let real = std::fs::read_to_string(&record).unwrap();
    // Not by a record either, and the real one is found without it.
    std::fs::remove_file(&record).unwrap();
    assert_eq!(server.runtime.observe(server.generation).await.unwrap(), runtimes::Observed::Running);
    ENGINE.start(&server).await.unwrap();
    assert_eq!(std::fs::read_to_string(&record).unwrap(), real);
    ENGINE.stop(&server).await.unwrap();
    assert!(poses.into_iter().all(|mut process| process.lives()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_anothers_socket_is_refused() {
    let house = House::new();
    let (one, two) = (house.started("10.11.0", false).await, house.started("10.11.0", false).await);
    let socket = |server: &Server| {
        server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap().socket
    };
    let layout = two.runtime.layout(two.generation, ENGINE.kind(), &two.version).unwrap();
    two.runtime.connect(two.generation, &layout).await.unwrap();
    std::fs::remove_file(socket(&two)).unwrap();
    std::os::unix::fs::symlink(socket(&one), socket(&two)).unwrap();
    let Err(runtimes::Error::Io { source, .. }) = two.runtime.connect(two.generation, &layout).await else {
        panic!("it was followed");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
}

/// The accounts that are some instance's, by instance.
async fn given(store: &tokio_postgres::Client) -> Vec<(String, String)> {
    store
        .query("select name, instance_id::text from accounts where instance_id is not null order by 1", &[])
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_has_its_account_for_its_life() {
    let Some(accounts) = accounts("an_instance_has_its_account_for_its_life") else { return };
    let dev = Dev::start().await;
    let api = Client::login(&dev.state, "coffer").await.unwrap();
    let log = std::fs::read_to_string(dev.folder().join("dev.log")).unwrap();
    assert_eq!(log.matches("accounts: each instance's servers run as one of the ").count(), 1, "{log}");
    let store = dev.store().await;
    let (one, two) = (open_shop(&api, "one", "10.11").await, open_shop(&api, "two", "10.11").await);
    let new = ask_for_upgrade(&api, &one.id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;

    let have = given(&store).await;
    assert_eq!(
        have.iter().map(|(_, instance)| instance.as_str()).collect::<Vec<_>>(),
        [&one.id, &two.id, &new]
    );
    let mut used = Vec::new();
    for (_, instance) in &have {
        let generation = store::generation(&store, instance).await.unwrap();
        let folder = dev.state.join("generations").join(generation.to_string()).join("data");
        let uid = folder.metadata().unwrap().uid();
        let account = accounts.pool.values().find(|account| account.uid == uid).unwrap();
        assert!(!used.contains(&uid), "another instance has it");
        used.push(uid);
        let pid = dev.engine_pid(&store, instance).await;
        assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), uid);
        let socket = socket_path(&dev.run, generation);
        let folder = socket.parent().unwrap().metadata().unwrap();
        assert_eq!((folder.uid(), folder.gid()), (account.uid, accounts.endpoint.gid));
        assert_eq!(folder.mode() & 0o7777, 0o710);
    }

    // Each taken: no more instances, of either kind, and nothing is left of the try.
    store.execute("delete from accounts where instance_id is null", &[]).await.unwrap();
    let body = serde_json::json!({"instance": {"name": "three", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mariadb", "version": "10.11"}}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 413, "{answer}");
    assert!(answer["overLimit"]["message"].as_str().unwrap().contains("no account left"), "{answer}");
    let upgrade = serde_json::json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}});
    let (code, answer) = api.post(&format!("/instances/{}/action", two.id), &upgrade).await.unwrap();
    assert_eq!(code, 413, "{answer}");
    let log = std::fs::read_to_string(dev.folder().join("dev.log")).unwrap();
    assert!(log.contains("COFFER_POOL=6 make engines"), "the operator is told");
    assert_eq!(store::count(&store, "instances where name = 'three'").await, 0);

    // Gone, its account is free again, and the next instance has it.
    let freed = have.iter().find(|(_, instance)| *instance == new).unwrap().0.clone();
    api.delete(&new).await.unwrap();
    api.wait_until_gone(&new).await.unwrap();
    assert_eq!(given(&store).await.len(), 2);
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let three = answer["instance"]["id"].as_str().unwrap().to_owned();
    healthy(&api, &three).await;
    assert!(given(&store).await.contains(&(freed, three.clone())));
    drop(store);
    dev.leave_nothing(&api, &[&one.id, &two.id, &three]).await;
}
