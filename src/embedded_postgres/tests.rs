//! Against a real Postgres, as root with set-up's accounts or as a plain user without.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

#[path = "../../tests/it/harness/view.rs"]
mod view;

/// A state folder that the store's account can pass, and a short run folder.
pub(crate) fn place() -> (TempDir, Config) {
    let place = tempfile::Builder::new().prefix("coffer-st").tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o711)).expect("chmod");
    let engines = view::place("COFFER_ENGINES", "engines");
    let run = place.path().join("run");
    let accounts = crate::cli::accounts::Accounts::find().expect("`make engines` was not run");
    let config = crate::cli::accounts::store_config(place.path(), &engines, &run, accounts.as_ref())
        .expect("a caller");
    (place, config)
}

async fn ask(url: &str, sql: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let talking = tokio::spawn(connection);
    let rows = client.simple_query(sql).await;
    drop(client);
    talking.await.expect("no panic")?;
    Ok(rows?
        .into_iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .unwrap_or_default())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_there(pid: i32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_is_adopted_and_stops_without_a_trace() {
    let (_place, config) = place();
    let first = EmbeddedPostgres::start(&config).await.expect("starts");
    assert_eq!(ask(&first.url(), "select current_user").await.expect("answers"), "coffer");
    for (setting, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", ""),
        ("data_checksums", "on"),
        ("log_statement", "none"),
        ("is_superuser", "off"),
        ("lc_collate", "C.UTF-8"),
    ] {
        assert_eq!(ask(&first.url(), &format!("show {setting}")).await.expect("answers"), value, "{setting}");
    }
    ask(&first.url(), "create table kept (n int); insert into kept values (7)")
        .await
        .expect("owns its schema");
    let superuser = first.url().replace("user=coffer", "user=coffer-store");
    assert!(ask(&superuser, "select 1").await.is_err(), "the superuser cannot log in");

    let second = EmbeddedPostgres::start(&config).await.expect("is adopted");
    assert_eq!(second.pid().await, first.pid().await);
    assert_eq!(second.url(), first.url());

    let pid = first.pid().await;
    let socket_dir = first.inner.layout.socket().parent().expect("a folder").to_owned();
    if let Some(account) = &config.account {
        let seen = std::fs::metadata(&socket_dir).expect("there");
        assert_eq!(seen.mode() & 0o7777, 0o710);
        assert_eq!(seen.uid(), account.uid);
        assert_eq!(Some(seen.gid()), config.endpoint_gid);
        assert_eq!(std::fs::metadata(format!("/proc/{pid}")).expect("runs").uid(), account.uid);
    }
    second.stop().await.expect("stops");
    assert!(!socket_dir.exists());
    until("the process is reaped", async || !is_there(pid)).await;
    assert!(postmaster::processes_in(&first.inner.layout.data).is_empty());
    first.stop().await.expect("stopping what is stopped is fine");

    let again = EmbeddedPostgres::start(&config).await.expect("starts again");
    assert_eq!(ask(&again.url(), "select n from kept").await.expect("answers"), "7");
    again.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postmaster_is_started_again_and_keeps_what_it_acknowledged() {
    let (_place, config) = place();
    let store = EmbeddedPostgres::start(&config).await.expect("starts");
    let watching = tokio::spawn(store.clone().supervise());
    ask(&store.url(), "create table kept (n int)").await.expect("answers");
    for round in 1..=2 {
        // One session stays open over the kill.
        let (client, connection) =
            tokio_postgres::connect(&store.url(), tokio_postgres::NoTls).await.expect("connects");
        let talking = tokio::spawn(connection);
        client.batch_execute("insert into kept values (1)").await.expect("writes");
        let before = store.pid().await;
        let pid = rustix::process::Pid::from_raw(before).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        until("another postmaster answers", async || {
            ask(&store.url(), "select count(*) from kept").await.is_ok_and(|n| n == round.to_string())
                && store.pid().await != before
        })
        .await;
        assert!(!is_there(before), "reaped");
        assert!(talking.await.expect("no panic").is_err());
    }
    store.stop().await.expect("stops");
    watching.await.expect("supervision ends with the stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_half_is_made_anew() {
    let (_place, config) = place();
    let layout = Layout::new(&config).expect("fits");
    layout.ensure_folders(&config).expect("folders");
    let half = config.state_dir.join("store/data.new");
    std::fs::create_dir(&half).expect("made");
    std::fs::write(half.join("PG_VERSION"), "15\n").expect("written");
    // A pid file as a restore or a reboot leaves it: its number is another's now.
    let store = EmbeddedPostgres::start(&config).await.expect("starts");
    assert!(!half.exists());
    store.stop().await.expect("stops");
    let pid_file = layout.data.join("postmaster.pid");
    std::fs::write(&pid_file, format!("{}\n", std::process::id())).expect("written");
    let store = EmbeddedPostgres::start(&config).await.expect("starts over a stale pid file");
    store.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleared_run_folder_is_made_again() {
    let (_place, config) = place();
    let store = EmbeddedPostgres::start(&config).await.expect("starts");
    std::fs::remove_dir_all(&config.run_dir).expect("cleared");
    let next = EmbeddedPostgres::start(&config).await.expect("starts again");
    assert_eq!(ask(&next.url(), "select 1").await.expect("answers"), "1");
    assert_ne!(next.pid().await, store.pid().await);
    next.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_said() {
    let (place, config) = place();
    let long = Config { run_dir: place.path().join("r".repeat(80)), ..config.clone() };
    assert!(matches!(EmbeddedPostgres::start(&long).await, Err(Error::SocketPathTooLong { .. })));

    let none = Config { engines_dir: place.path().join("none"), ..config.clone() };
    if !std::path::Path::new("/usr/lib/postgresql").exists() {
        assert!(matches!(EmbeddedPostgres::start(&none).await, Err(Error::NoBinaries { .. })));
    }

    if config.account.is_some() {
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
        match EmbeddedPostgres::start(&config).await.map(|_| ()) {
            Err(Error::Blocked { folder, .. }) => {
                assert_eq!(folder, std::fs::canonicalize(place.path()).expect("there"));
            }
            other => panic!("{other:?}"),
        }
        let as_root = Config { account: None, ..config };
        assert!(matches!(EmbeddedPostgres::start(&as_root).await, Err(Error::NeedsAccount)));
    }
}
