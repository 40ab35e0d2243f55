//! Real servers for the engine tests: a house that takes all of them away at its end, a relay, content.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use coffer::domain::ids::GenerationId;
use coffer::domain::tenant::{NewDatabase, NewUser, Verifier};
use coffer::engines::mariadb::MariaDb;
use coffer::engines::{Engine, OnProgress, RelayAddress, Server, Settings, Tls};
use coffer::runtimes::Runtime;
use coffer::runtimes::process::{Config, ProcessRuntime};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt as _;

pub const PASSWORD: &str = "correct horse \" battery \\ staple";
pub const ENGINE: MariaDb = MariaDb;

/// A state folder with its runtime and servers; takes all of it away at its end.
pub struct House {
    pub folder: tempfile::TempDir,
    runtime: Arc<ProcessRuntime>,
    generations: Mutex<Vec<GenerationId>>,
    ids: AtomicU32,
}

impl House {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("coffer-")
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()
            .unwrap();
        let runtime = Arc::new(ProcessRuntime::new(config(folder.path())).unwrap());
        Self { folder, runtime, generations: Mutex::default(), ids: AtomicU32::new(1) }
    }

    pub fn server(&self, version: &str, read_only: bool) -> Server {
        let generation = GenerationId(uuid::Uuid::now_v7());
        self.generations.lock().unwrap().push(generation);
        let server_id = self.ids.fetch_add(1, Ordering::Relaxed);
        Server {
            generation,
            version: version.to_owned(),
            runtime: self.runtime.clone(),
            account: None,
            service_password: SecretString::from(PASSWORD),
            settings: Settings {
                server_id,
                memory_mb: 256,
                cpus: 2,
                read_only,
                full: false,
                logs: Vec::new(),
                readers: false,
                events: !read_only,
                defaults_of: version.to_owned(),
                parameters: std::collections::BTreeMap::new(),
            },
            tls: Some(tls()),
        }
    }

    pub async fn started(&self, version: &str, read_only: bool) -> Server {
        let server = self.server(version, read_only);
        ENGINE.create_data(&server).await.unwrap();
        ENGINE.start(&server).await.unwrap();
        server
    }

    pub fn state(&self, server: &Server) -> PathBuf {
        self.folder.path().join("state/generations").join(server.generation.to_string())
    }
}

/// A certificate for the address at which the relays of these tests listen; one authority signs all of them.
pub fn tls() -> Tls {
    static AUTHORITY: LazyLock<coffer::pki::Pair> = LazyLock::new(|| coffer::pki::authority("test").unwrap());
    let address = "127.0.0.1";
    let made = coffer::pki::server("test", &AUTHORITY.key, address.parse().unwrap()).unwrap();
    Tls {
        address: address.to_owned(),
        authority: AUTHORITY.certificate.clone(),
        certificate: made.certificate,
        key: made.key,
    }
}

pub fn config(folder: &Path) -> Config {
    let engines = crate::harness::roles::engines();
    let accounts = coffer::cli::accounts::Accounts::find().unwrap();
    let (state, run) = (folder.join("state"), folder.join("run"));
    let config = coffer::cli::accounts::runtime_config(&state, &engines, &run, accounts.as_ref());
    Config { shim: env!("CARGO_BIN_EXE_coffer").into(), ..config }
}

impl Drop for House {
    fn drop(&mut self) {
        let runtime = Arc::clone(&self.runtime);
        let generations = std::mem::take(&mut *self.generations.lock().unwrap());
        // A runtime cannot be entered from within one.
        let cleared = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                for generation in generations {
                    runtime.stop_server(generation, Duration::ZERO, true).await.unwrap();
                    runtime.drop_volume(generation).await.unwrap();
                }
            });
        });
        cleared.join().unwrap();
    }
}

/// Waits until `look` says yes.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut look: F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !look().await {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn connect(server: &Server, user: &str, password: &str) -> mysql_async::Result<Conn> {
    let layout = server.runtime.layout(server.generation, ENGINE.kind(), &server.version).unwrap();
    let opts = OptsBuilder::default()
        .socket(Some(layout.socket.to_string_lossy().into_owned()))
        .user(Some(user))
        .pass(Some(password))
        .prefer_socket(false);
    Conn::new(opts).await
}

/// A connection of our own account's.
pub async fn own(server: &Server) -> Conn {
    connect(server, "coffer", server.service_password.expose_secret()).await.unwrap()
}

pub async fn text(conn: &mut Conn, sql: &str) -> String {
    let value: Option<Option<String>> = conn.query_first(sql).await.unwrap();
    value.flatten().unwrap_or_default()
}

/// A forwarder from an address of this host to the server's socket, for as long as it is held.
pub struct Relay {
    pub address: RelayAddress,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub async fn to(server: &Server) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address =
            RelayAddress { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
        let (runtime, generation) = (server.runtime.clone(), server.generation);
        let layout = runtime.layout(generation, ENGINE.kind(), &server.version).unwrap();
        let task = tokio::spawn(async move {
            let mut streams = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(mut far) = runtime.connect(generation, &layout).await else { continue };
                // As the endpoint's relay presents itself.
                let _ = far.write_all(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n").await;
                streams.spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn quiet() -> OnProgress {
    Arc::new(|_| {})
}

pub fn user(name: &str, password: &str, databases: &[&str]) -> NewUser {
    NewUser {
        name: name.to_owned(),
        host: "%".to_owned(),
        verifier: Verifier::native(password),
        databases: databases.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub fn database(name: &str) -> NewDatabase {
    NewDatabase { name: name.to_owned(), character_set: None, collate: None }
}

/// Processes of this machine whose command line has `text`.
pub fn processes(text: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    })
    .collect()
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Content that has met trouble elsewhere; by the tenant's own account where it can.
pub async fn fill(server: &Server) {
    let databases = [
        NewDatabase {
            name: "shop".to_owned(),
            character_set: Some("utf8mb4".to_owned()),
            collate: Some("utf8mb4_general_ci".to_owned()),
        },
        database("o'd`d %_name ü"),
        database("-dash"),
        database("empty"),
        NewDatabase { name: "old".to_owned(), character_set: Some("latin1".to_owned()), collate: None },
    ];
    let users =
        [user("app", "app's word", &["shop", "o'd`d %_name ü"]), user("other_1", "x", &["-dash", "old"])];
    for _ in 0..2 {
        ENGINE.create_content(server, &databases, &users).await.unwrap();
    }
    let mut app = connect(server, "app", "app's word").await.unwrap();
    for sql in [
        "USE shop",
        "CREATE TABLE goods (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80) NOT NULL DEFAULT 'it''s', \
         price DECIMAL(10,2) DEFAULT 1.50, kind ENUM('a','b') DEFAULT 'b', made DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) \
         ON UPDATE CURRENT_TIMESTAMP(6), note TEXT, data JSON, raw BLOB, u UUID DEFAULT UUID(), ip INET6, bits BIT(5) \
         DEFAULT b'101', geo POINT, twice DECIMAL(11,2) AS (price * 2) STORED, upper_name VARCHAR(80) AS \
         (UPPER(name)) VIRTUAL, day DATE DEFAULT '0000-00-00', CONSTRAINT positive CHECK (price >= 0 AND name <> ''), \
         UNIQUE KEY by_name (name), KEY by_two (kind, price DESC), FULLTEXT KEY words (note)) COMMENT='the ''goods'''",
        "CREATE TABLE sales (id INT PRIMARY KEY AUTO_INCREMENT, good BIGINT UNSIGNED, CONSTRAINT of_good FOREIGN KEY (good) \
         REFERENCES goods (id) ON DELETE CASCADE) ",
        "CREATE TABLE parts (id INT, y INT, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN \
         (2000), PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "CREATE TABLE writes (n INT PRIMARY KEY, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=InnoDB",
        "CREATE TABLE counted (good INT)",
        "CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 5 CACHE 10",
        "SELECT NEXTVAL(numbers)",
        "CREATE VIEW cheap AS SELECT id, name, price, CONCAT(name, 'x') AS n FROM goods WHERE price < 10 WITH CHECK OPTION",
        "CREATE SQL SECURITY INVOKER VIEW cheaper AS SELECT * FROM cheap WHERE price < 5",
        "CREATE VIEW aaa AS SELECT c.id, COUNT(*) AS k FROM cheap c JOIN cheaper USING (id) GROUP BY c.id",
        "CREATE FUNCTION plus_one(x INT) RETURNS INT DETERMINISTIC RETURN /* why */ x + 1 /* # the end */",
        "CREATE PROCEDURE clean(IN days INT, OUT n BIGINT)\r\nBEGIN\r\n  -- a comment; with a semicolon\n  # another\n  DECLARE \
         EXIT HANDLER FOR SQLEXCEPTION SET n = -1;\n  SELECT COUNT(*) INTO n FROM goods;\nEND",
        "CREATE FUNCTION word(s VARCHAR(10) CHARSET latin1) RETURNS VARCHAR(20) CHARSET utf8mb4 RETURN UPPER(s)",
        "SET SESSION sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'",
        "CREATE TRIGGER count_sales AFTER INSERT ON sales FOR EACH ROW INSERT INTO \"counted\" VALUES (NEW.good)",
        "SET SESSION time_zone='+03:00', NAMES latin1",
        "CREATE EVENT tick ON SCHEDULE EVERY 1 HOUR STARTS '2030-01-01 00:00:00' ENABLE COMMENT 'x' DO INSERT INTO \"counted\" \
         VALUES (1)",
        "CREATE EVENT off_one ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM counted",
        "CREATE EVENT quick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO counted VALUES (-1)",
        "SET SESSION sql_mode=DEFAULT, time_zone=DEFAULT, NAMES utf8mb4",
        "SET SESSION sql_mode=''",
        "INSERT INTO goods (name, note, data, raw, geo, day) VALUES ('ünïcode 🦀', 'line\\r\\nend\\0\\\\', '{\"a\":1}', \
         x'00ff0d0a27', POINT(1, 2), '0000-00-00')",
        "INSERT INTO goods (name, price) SELECT CONCAT('good ', seq), seq MOD 20 FROM seq_1_to_2000",
        "INSERT INTO sales (good) VALUES (1), (2)",
        "USE `o'd``d %_name ü`",
        "CREATE TABLE `t``a 'b\" \\\\ ü;-- x` (`c``ol ü` INT PRIMARY KEY, `x y` VARCHAR(9) DEFAULT 'a`b')",
        "INSERT INTO `t``a 'b\" \\\\ ü;-- x` VALUES (1, 'ß')",
        "CREATE VIEW `v w` AS SELECT * FROM `t``a 'b\" \\\\ ü;-- x`",
    ] {
        app.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    app.disconnect().await.unwrap();
    let mut own = own(server).await;
    for sql in [
        "CREATE ROLE readers",
        "CREATE ROLE `odd role`",
        "GRANT SELECT ON shop.goods TO readers",
        "GRANT readers TO `odd role`",
        "GRANT readers TO app@'%' WITH ADMIN OPTION",
        "SET DEFAULT ROLE readers FOR app@'%'",
        "GRANT SELECT (id, name), UPDATE (name) ON shop.goods TO other_1@'%'",
        "GRANT EXECUTE ON FUNCTION shop.plus_one TO other_1@'%' WITH GRANT OPTION",
        "CREATE USER `odd'user`@`10.0.0.0/255.0.0.0` IDENTIFIED BY 'x' REQUIRE SSL WITH MAX_USER_CONNECTIONS 3 ACCOUNT LOCK",
        "GRANT SELECT ON shop.counted TO PUBLIC",
        "CREATE USER viewer@'%' IDENTIFIED BY 'x'",
        "GRANT SELECT ON shop.goods TO viewer@'%'",
        "GRANT SELECT ON shop.by_viewer TO viewer@'%'",
        "CREATE DEFINER=viewer@'%' VIEW shop.by_viewer AS SELECT id FROM shop.goods",
        "GRANT SELECT ON shop.by_viewer TO viewer@'%'",
        "CREATE DEFINER=viewer@'%' VIEW shop.above_viewer AS SELECT id FROM shop.by_viewer",
        "CREATE DEFINER=gone@'%' PROCEDURE shop.orphan() SELECT 1",
        "CREATE DEFINER=gone@'%' EVENT shop.orphan ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    ] {
        // A grant on a view that is not there yet is refused; the second one counts.
        if let Err(error) = own.query_drop(sql).await {
            assert!(sql.contains("by_viewer TO"), "{sql}: {error}");
        }
    }
    own.disconnect().await.unwrap();
}

/// A writer that inserts one number after another until it is told to stop; gives the last that was acknowledged.
pub fn write_on(server: &Server, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<i64> {
    let (server, stop) = (server.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut app = connect(&server, "app", "app's word").await.unwrap();
        let mut n: i64 = 0;
        while !stop.load(Ordering::Relaxed) {
            // Again after a lost connection, by which the number may be there already.
            if app.query_drop(format!("INSERT IGNORE INTO shop.writes (n) VALUES ({})", n + 1)).await.is_err()
            {
                if let Ok(again) = connect(&server, "app", "app's word").await {
                    app = again;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            n += 1;
            if n % 50 == 0 {
                let _ = app.query_drop("DO NEXTVAL(shop.numbers)").await;
            }
        }
        n
    })
}

pub async fn event_states(server: &Server) -> Vec<(String, String, String)> {
    own(server)
        .await
        .query("SELECT EVENT_NAME, STATUS, DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA='shop' ORDER BY 1")
        .await
        .unwrap()
}

pub fn compare(there: &[String], here: &[String]) {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    let (missing, surplus) = (only(there, here), only(here, there));
    assert!(missing.is_empty() && surplus.is_empty(), "only there {missing:#?}\nonly here {surplus:#?}");
}

/// The accounts that are there, without the system's.
pub async fn accounts(server: &Server) -> Vec<String> {
    own(server)
        .await
        .query("SELECT CONCAT(User, '@', Host) FROM mysql.global_priv WHERE User<>'PUBLIC' ORDER BY 1")
        .await
        .unwrap()
}
