//! A server's log is bounded, whoever fills it and however fast, and what was said last is in it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coffer::engines::Engine as _;

use crate::engine_servers::{ENGINE as MARIADB, House, kill, processes, until};
use crate::postgres_servers::{ENGINE, own, started};

/// What the log and the older one may take: twice its length, and what comes while nobody looks.
const MOST: u64 = 2 * 8 * 1024 * 1024 + 32 * 1024 * 1024;

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder.join("log")).unwrap().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|facts| facts.len()).sum()
}

/// The most that the log took while it is held.
struct Measured {
    most: std::sync::Arc<AtomicU64>,
    ends: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Measured {
    #[expect(clippy::disallowed_methods, reason = "a file tells nobody of its size")]
    fn of(folder: PathBuf) -> Self {
        let (most, ends) =
            (std::sync::Arc::new(AtomicU64::new(0)), std::sync::Arc::new(AtomicBool::new(false)));
        let (seen, over) = (std::sync::Arc::clone(&most), std::sync::Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(size(&folder), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        Self { most, ends, thread: Some(thread) }
    }

    fn most(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.most.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_may_say_as_much_as_it_likes() {
    let house = House::new();
    let server = started(&house, "17.0").await;
    let folder = house.state(&server);
    let conn = own(&server, "postgres").await;
    let measured = Measured::of(folder.clone());
    // 400 MB, as fast as it can.
    conn.batch_execute(
        "SET log_min_messages = log; \
         DO $$ BEGIN FOR i IN 1..4000 LOOP RAISE LOG '% %', i, repeat('x', 100000); END LOOP; END $$; \
         DO $$ BEGIN RAISE LOG 'the last of % words', 4001; END $$",
    )
    .await
    .unwrap();
    let most = measured.most();
    eprintln!("at most {} MB", most >> 20);
    assert!(most < MOST, "{most}");
    until("the log is turned", async || size(&folder) <= 17 * 1024 * 1024).await;
    let end = server.runtime.log_end(server.generation, 100_000).await.unwrap();
    assert!(end.contains("the last of 4001 words"), "{}", &end[end.len().saturating_sub(400)..]);
    // The server waits for nobody: it answers, and goes on writing to the same file.
    conn.batch_execute("DO $$ BEGIN RAISE LOG 'still there'; END $$").await.unwrap();
    let log = std::fs::read_to_string(folder.join("log/server.log")).unwrap();
    assert!(log.contains("still there"), "{log}");
    // Without its shim the worker, which looks at the server anyway, does it.
    let shims = || processes(&format!("coffer\0shim\0--folder\0{}\0", folder.display()));
    kill(shims()[0]);
    until("the shim is gone", async || shims().is_empty()).await;
    conn.batch_execute(
        "SET log_min_messages = log; \
         DO $$ BEGIN FOR i IN 1..300 LOOP RAISE LOG '% %', i, repeat('y', 100000); END LOOP; END $$",
    )
    .await
    .unwrap();
    assert!(size(&folder) > 20 * 1024 * 1024, "nobody has turned it yet");
    server.runtime.observe(server.generation).await.unwrap();
    assert!(size(&folder) <= 8 * 1024 * 1024 + 4096, "{}", size(&folder));
    ENGINE.stop(&server).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_too_and_its_account_has_the_older_one() {
    let house = House::new();
    let server = house.started("10.11.0", false).await;
    let folder = house.state(&server);
    let log = folder.join("log/server.log");
    // What its server would write.
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    let line = [b"z".repeat(9999), b"\n".to_vec()].concat();
    for _ in 0..3000 {
        file.write_all(&line).unwrap();
    }
    until("the log is turned", async || size(&folder) <= 17 * 1024 * 1024).await;
    use std::os::unix::fs::MetadataExt as _;
    let older = folder.join("log/server.log.1").metadata().unwrap();
    assert_eq!((older.uid(), older.mode() & 0o7777), (log.metadata().unwrap().uid(), 0o600));
    MARIADB.stop(&server).await.unwrap();
    let end = server.runtime.log_end(server.generation, 4096).await.unwrap();
    assert!(end.contains("Shutdown complete"), "{end}");
    server.runtime.drop_volume(server.generation).await.unwrap();
    assert!(!folder.exists());
}
