//! Nothing that a tenant wrote runs with more rights than the tenant has: MariaDB, by every strategy, and in every look.
//!
//! The canary is a routine of the tenant's that runs as who calls it, tries everything that an account with power could,
//! and swallows what fails. It is planted in every kind of object that may call it, and objects that say so with their
//! names and texts lie beside it. A session of the tenant's exchanges tables and views meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine as _, Following, Server, Settings};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::engine_servers::{ENGINE, House, Relay, connect, database, own, quiet, until, user};

/// What the canary tries, one by one.
const ATTEMPTS: &[&str] = &[
    "GRANT ALL PRIVILEGES ON *.* TO app@'%' WITH GRANT OPTION",
    "CREATE USER canary@'%' IDENTIFIED BY 'x'",
    "CREATE ROLE canary_role",
    "CREATE DATABASE canary",
    "SET PASSWORD FOR coffer@localhost = PASSWORD('x')",
    "INSERT INTO mysql.global_priv (Host, User, Priv) VALUES ('%', 'canary', '{\"access\": 18446744073709551615}')",
    "INSERT INTO mysql.func VALUES ('canary', 0, 'canary.so', 'function')",
    "INSERT INTO mysql.plugin VALUES ('canary', 'canary.so')",
    "CREATE TABLE mysql.canary (a INT)",
    "CREATE SERVER canary FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'localhost')",
    "SET GLOBAL init_connect = 'SET @canary = 1'",
    "SET GLOBAL read_only = 0",
    "SET GLOBAL general_log = 1",
    "SET GLOBAL event_scheduler = ON",
    "INSTALL SONAME 'canary'",
    "INSERT INTO shop.power SELECT CURRENT_USER() FROM DUAL WHERE LOAD_FILE('/etc/hostname') IS NOT NULL",
    "SELECT 1 INTO OUTFILE 'canary_trace'",
];

/// What it is planted in; statements are parted by `;;`.
const PLACES: &[(&str, &str)] = &[
    ("a procedure", "CREATE PROCEDURE calling() SQL SECURITY INVOKER CALL canary()"),
    (
        "a function",
        "CREATE FUNCTION g(i INT) RETURNS INT SQL SECURITY INVOKER BEGIN CALL canary(); RETURN i; END",
    ),
    (
        "a function that runs as its owner",
        "CREATE FUNCTION definer(i INT) RETURNS INT SQL SECURITY DEFINER BEGIN CALL canary(); RETURN i; END",
    ),
    (
        "an aggregate",
        "CREATE AGGREGATE FUNCTION gathers(i INT) RETURNS INT SQL SECURITY INVOKER BEGIN \
                      DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN CALL canary(); RETURN 1; END; LOOP FETCH GROUP NEXT ROW; END LOOP; END",
    ),
    ("a table", "CREATE TABLE t (id INT PRIMARY KEY, v INT)"),
    (
        "a trigger before a row",
        "CREATE TRIGGER before_row BEFORE INSERT ON t FOR EACH ROW SET NEW.v = definer(NEW.v)",
    ),
    ("a trigger after a row", "CREATE TRIGGER after_row AFTER UPDATE ON t FOR EACH ROW CALL canary()"),
    ("a trigger on a deletion", "CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW CALL canary()"),
    (
        "an event",
        "CREATE EVENT every_second ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE DO CALL canary()",
    ),
    (
        "an event whose time comes at each start",
        "CREATE EVENT at_start ON SCHEDULE EVERY 1 SECOND STARTS '2020-01-01 00:00:00' DO CALL canary()",
    ),
    (
        "a view that runs as who asks",
        "CREATE SQL SECURITY INVOKER VIEW asks AS SELECT g(1) AS x, t.* FROM t WHERE g(2) = 2",
    ),
    ("a view that runs as its owner", "CREATE SQL SECURITY DEFINER VIEW owns AS SELECT g(1) AS x FROM t"),
    (
        "a view of a subquery that is made a table",
        "CREATE ALGORITHM = TEMPTABLE SQL SECURITY INVOKER VIEW derives AS SELECT * FROM (SELECT g(3) AS y LIMIT 1) d",
    ),
    (
        "a view on what the server lists",
        "CREATE SQL SECURITY INVOKER VIEW `TABLES` AS SELECT g(1) AS TABLE_NAME, 'shop' AS TABLE_SCHEMA",
    ),
    (
        "a check and a computed column",
        "CREATE TABLE computes (id INT PRIMARY KEY, v INT AS (id + 1) STORED, w INT AS (id + 2) VIRTUAL, KEY (w), CHECK (id > -5))",
    ),
    (
        "a default that draws from a sequence",
        "CREATE SEQUENCE s;; CREATE TABLE draws (id INT PRIMARY KEY DEFAULT NEXTVAL(s), u VARCHAR(200) DEFAULT CURRENT_USER())",
    ),
    (
        "partitions",
        "CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION `p'; DROP DATABASE mysql; -- x` VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    ),
    (
        "a name",
        "CREATE TABLE `x``; GRANT ALL ON *.* TO app; -- x` (`a``; CREATE USER canary; -- x` INT PRIMARY KEY, `b'; CREATE USER canary; -- x` TEXT)",
    ),
    ("a name that is an option", "CREATE TABLE `--init-command=CREATE USER canary` (id INT PRIMARY KEY)"),
    (
        "a comment",
        "CREATE TABLE remarks (id INT PRIMARY KEY COMMENT '*/ CREATE USER canary; /*') COMMENT = '''; CREATE USER canary; -- '",
    ),
    (
        "an enum",
        "CREATE TABLE listed (id INT PRIMARY KEY, e ENUM('''; CREATE USER canary; -- ', '*/ CREATE USER canary; /*'))",
    ),
    (
        "a routine's name and body",
        "CREATE PROCEDURE `p``(); CREATE USER canary; -- x`(IN `a``; -- x` INT) COMMENT '''; CREATE USER canary; -- ' BEGIN /*! CALL canary() */; END",
    ),
    (
        "a routine of other settings",
        "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';; CREATE FUNCTION modes() RETURNS TEXT RETURN 'x\\';; SET SESSION sql_mode = DEFAULT",
    ),
    (
        "a package",
        "SET SESSION sql_mode = 'ORACLE';; CREATE PACKAGE pack SQL SECURITY INVOKER AS PROCEDURE p; END;; \
                   CREATE PACKAGE BODY pack SQL SECURITY INVOKER AS PROCEDURE p AS BEGIN shop.canary(); END; BEGIN shop.canary(); END;; SET SESSION sql_mode = DEFAULT",
    ),
    ("statistics", "ANALYZE TABLE t PERSISTENT FOR ALL"),
    (
        "a table without transactions",
        "CREATE TABLE plain (id INT PRIMARY KEY) ENGINE = Aria;; CREATE TRIGGER plain_row BEFORE INSERT ON plain FOR EACH ROW CALL canary()",
    ),
    (
        "tables and views that are exchanged",
        "CREATE TABLE s0 (id INT PRIMARY KEY);; CREATE SQL SECURITY INVOKER VIEW r0 AS SELECT g(4) AS id",
    ),
];

async fn plant(app: &mut Conn) {
    let tries: String = ATTEMPTS
        .iter()
        .map(|sql| {
            let sql = sql.replace('\'', "''");
            format!(
                "BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; EXECUTE IMMEDIATE '{sql}'; END; "
            )
        })
        .collect();
    let calls = "BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; \
                 INSERT INTO shop.calls (who, session) VALUES (CURRENT_USER(), USER()); END; ";
    for sql in [
        "CREATE TABLE calls (n INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(200), session VARCHAR(200))"
            .to_owned(),
        "CREATE TABLE power (who VARCHAR(200))".to_owned(),
        // A function may not run text; it may call one that does, and is told so.
        format!("CREATE PROCEDURE tries() SQL SECURITY INVOKER BEGIN {tries} END"),
        format!(
            "CREATE PROCEDURE canary() SQL SECURITY INVOKER BEGIN {calls} \
             BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; CALL tries(); END; END"
        ),
    ] {
        app.query_drop(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    println!("the canary is planted in {} kinds of objects:", PLACES.len());
    for (place, sql) in PLACES {
        for sql in sql.split(";;") {
            app.query_drop(sql).await.unwrap_or_else(|error| panic!("{place}: {sql}: {error}"));
        }
        println!("  {place}");
    }
    for sql in [
        "INSERT INTO t SELECT seq, seq FROM seq_1_to_20",
        "INSERT INTO computes (id) SELECT seq FROM seq_1_to_20",
        "INSERT INTO draws (u) SELECT CURRENT_USER() FROM seq_1_to_5",
        "INSERT INTO parts SELECT seq FROM seq_1_to_20",
        "INSERT INTO plain SELECT seq FROM seq_1_to_20",
        "CALL calling()",
        "SELECT * FROM asks",
    ] {
        app.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// What the canary left, if it had power at any time.
async fn traces(server: &Server) -> Vec<String> {
    let mut us = own(server).await;
    let found = seen(&mut us).await;
    us.disconnect().await.unwrap();
    found
}

async fn seen(us: &mut Conn) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sql) in [
        ("a role or an account", "SELECT User FROM mysql.global_priv WHERE User LIKE 'canary%'"),
        (
            "power of the tenant's",
            "SELECT CONCAT(GRANTEE, ' ', PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES WHERE GRANTEE LIKE '''app''@%' AND PRIVILEGE_TYPE <> 'USAGE'",
        ),
        (
            "a database",
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'canary%'",
        ),
        (
            "a table of the system's",
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'canary%'",
        ),
        ("a file that was read", "SELECT who FROM shop.power"),
        ("a function of a library", "SELECT name FROM mysql.func"),
        ("a plugin", "SELECT name FROM mysql.plugin"),
        ("a server", "SELECT Server_name FROM mysql.servers"),
        ("a setting", "SELECT @@GLOBAL.init_connect FROM DUAL WHERE @@GLOBAL.init_connect <> ''"),
        ("a log", "SELECT 'general_log' FROM DUAL WHERE @@GLOBAL.general_log = 1"),
        (
            "a call with another's rights",
            "SELECT CONCAT(who, ' as ', session) FROM shop.calls WHERE who NOT LIKE 'app@%'",
        ),
    ] {
        let rows: Vec<String> = us.query(sql).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        found.extend(rows.into_iter().map(|row| format!("{what}: {row}")));
    }
    let folder: String = us.query_first("SELECT @@datadir").await.unwrap().unwrap();
    for path in [
        format!("{folder}/canary_trace"),
        format!("{folder}/shop/canary_trace"),
        "/tmp/canary_trace".to_owned(),
    ] {
        if std::path::Path::new(&path).exists() {
            found.push(format!("a file that was written: {path}"));
        }
    }
    found
}

/// Names change hands between any two of our statements, for as long as it is held.
struct Exchange {
    ends: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<u64>,
}

impl Exchange {
    async fn begin(source: &Server) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ends);
        let mut app = app(source).await;
        let task = tokio::spawn(async move {
            let mut turns = 0;
            while !over.load(Ordering::Relaxed) {
                for sql in [
                    "RENAME TABLE s0 TO x0, r0 TO s0, x0 TO r0",
                    "CREATE OR REPLACE SQL SECURITY INVOKER VIEW fleeting AS SELECT g(5) AS x",
                    "DROP VIEW IF EXISTS fleeting",
                ] {
                    // A copy may hold a lock for longer than a statement waits.
                    if app.query_drop(sql).await.is_ok() {
                        turns += 1;
                    }
                }
            }
            app.disconnect().await.unwrap();
            turns
        });
        Self { ends, task }
    }

    async fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        let turns = self.task.await.unwrap();
        assert!(turns > 0, "nothing was exchanged");
        eprintln!("{turns} exchanges");
    }
}

async fn app(server: &Server) -> Conn {
    let mut app = connect(server, "app", "a").await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    app
}

fn with(server: &Server, read_only: bool) -> Server {
    let settings = Settings { read_only, events: !read_only, ..server.settings.clone() };
    Server { settings, ..server.clone() }
}

/// A server full of canaries, looked at with names that change hands meanwhile.
async fn planted(house: &House) -> Server {
    let source = house.started("10.11.0", false).await;
    ENGINE.create_content(&source, &[database("shop")], &[user("app", "a", &["shop"])]).await.unwrap();
    let mut conn = app(&source).await;
    plant(&mut conn).await;
    conn.disconnect().await.unwrap();
    assert_eq!(traces(&source).await, Vec::<String>::new(), "the tenant's own session left a trace");
    let exchange = Exchange::begin(&source).await;
    for strategy in Strategy::ALL {
        for _ in 0..3 {
            let looked = ENGINE.pre_check(&source, &house.server("11.8.0", true), strategy).await;
            let found = looked.unwrap_or_else(|error| panic!("{strategy:?}: {error}"));
            // What is exchanged may be met half way: it is the tenant's own to end.
            let others = found
                .iter()
                .filter(|f| f.blocks && !["r0", "s0", "x0", "fleeting"].iter().any(|n| f.object.contains(n)));
            assert_eq!(others.count(), 0, "{found:?}");
        }
        ENGINE.inventory_while_serving(&source).await.unwrap();
        assert_eq!(
            ENGINE
                .replica_blockers(&source)
                .await
                .unwrap()
                .iter()
                .filter(|f| !f.to_string().contains("plain"))
                .count(),
            0
        );
    }
    exchange.end().await;
    assert_eq!(traces(&source).await, Vec::<String>::new());
    source
}

/// The new side is used as before, and nothing in it has power.
async fn used(source: &Server, candidate: &Server) {
    for server in [source, candidate] {
        assert_eq!(traces(server).await, Vec::<String>::new());
    }
    let open = with(candidate, false);
    ENGINE.start(&open).await.unwrap();
    let mut conn = app(&open).await;
    for sql in [
        "CALL canary()",
        "INSERT INTO t VALUES (100, 1)",
        "UPDATE t SET v = 2 WHERE id = 100",
        "DELETE FROM t WHERE id = 100",
        "INSERT INTO plain VALUES (100)",
        "SELECT * FROM asks, owns, derives, `TABLES`",
        "SELECT gathers(id) FROM t",
        "CALL pack.p()",
    ] {
        conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    until("an event has called it", async || {
        let sql = "SELECT COUNT(*) FROM calls WHERE session NOT LIKE 'app@localhost'";
        conn.query_first::<u64, _>(sql).await.unwrap().unwrap() > 0
            || conn
                .query_first::<u64, _>(
                    "SELECT COUNT(*) FROM information_schema.EVENTS WHERE LAST_EXECUTED IS NOT NULL",
                )
                .await
                .unwrap()
                .unwrap()
                > 0
    })
    .await;
    conn.disconnect().await.unwrap();
    assert_eq!(traces(&open).await, Vec::<String>::new());
}

/// A server full of canaries, what feeds a copy of it, and the copy, which has what was written meanwhile.
async fn fed(house: &House) -> (Server, Relay, Server) {
    let source = planted(house).await;
    let candidate = house.server("11.8.0", true);
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
        .await;
    let mut conn = app(&source).await;
    for sql in [
        "INSERT INTO t VALUES (50, 1)",
        "UPDATE t SET v = v + 1 WHERE id < 5",
        "DELETE FROM t WHERE id = 7",
        "INSERT INTO plain VALUES (50)",
        "INSERT INTO draws (u) VALUES (CURRENT_USER())",
        "SET SESSION binlog_format = STATEMENT",
    ] {
        // The last one is not the tenant's to set.
        let done = conn.query_drop(sql).await;
        assert_eq!(done.is_err(), sql.starts_with("SET"), "{sql}: {done:?}");
    }
    conn.disconnect().await.unwrap();
    has_all(&source, &candidate).await;
    (source, relay, candidate)
}

async fn has_all(source: &Server, candidate: &Server) {
    let position = ENGINE.position(source).await.unwrap();
    assert!(ENGINE.reached(candidate, &position, Duration::from_secs(60)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_a_twin_has_no_power() {
    let house = House::new();
    let (source, _relay, candidate) = fed(&house).await;
    let fenced = with(&source, true);
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    has_all(&source, &candidate).await;
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(compared.differing, Vec::<String>::new());
    ENGINE.carry_the_rest(&fenced, &candidate).await.unwrap();
    ENGINE.cut(&candidate, Some(&fenced)).await.unwrap();
    used(&source, &candidate).await;
}

/// A replica is there for its tenant before the detach, and its source is never fenced.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_a_replica_has_no_power() {
    let house = House::new();
    let (source, _relay, candidate) = fed(&house).await;
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(compared.differing, Vec::<String>::new());
    let mut reader = app(&candidate).await;
    assert_eq!(reader.query_first::<i64, _>("SELECT v FROM t WHERE id = 50").await.unwrap(), Some(1));
    // Nothing of a tenant's can be called there, and nothing can be written.
    for sql in ["CALL canary()", "SELECT gathers(id) FROM t", "INSERT INTO t VALUES (60, 1)"] {
        assert!(reader.query_drop(sql).await.is_err(), "{sql}");
    }
    reader.disconnect().await.unwrap();
    let mut writer = app(&source).await;
    writer.query_drop("UPDATE t SET v = v + 1 WHERE id = 50").await.unwrap();
    writer.disconnect().await.unwrap();
    has_all(&source, &candidate).await;
    assert_eq!(traces(&candidate).await, Vec::<String>::new());
    let open = with(&candidate, false);
    assert_eq!(ENGINE.level(&source, &open).await.unwrap(), Vec::<String>::new());
    ENGINE.cut(&open, Some(&source)).await.unwrap();
    used(&source, &open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_in_place_has_no_power() {
    let house = House::new();
    let source = planted(&house).await;
    let candidate = house.server("11.8.0", true);
    let fenced = with(&source, true);
    let exchange = Exchange::begin(&source).await;
    ENGINE.prepare_in_place(&source, &candidate, quiet()).await.unwrap();
    exchange.end().await;
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    ENGINE.stop_clean(&fenced).await.unwrap();
    ENGINE.convert_in_place(&fenced, &candidate, quiet()).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.convert(&candidate).await.unwrap();
    assert_eq!(traces(&candidate).await, Vec::<String>::new());
    ENGINE.start(&fenced).await.unwrap();
    used(&fenced, &candidate).await;
    // The canary is not deaf: with our own power it leaves something of each kind.
    let mut us = own(&candidate).await;
    us.query_drop("CALL shop.canary()").await.unwrap();
    let left = seen(&mut us).await;
    us.disconnect().await.unwrap();
    for what in ["an account", "power of the tenant's", "a database", "a table", "a setting", "a call with"] {
        assert!(left.iter().any(|line| line.contains(what)), "{what}: {left:?}");
    }
}
