//! Defects that are planted into a copy that is right, one after the other: each must be named by what compares it with
//! its source, in every strategy, and nothing may be named once it is taken back.
//!
//! Needs the engines of the set-up (`COFFER_ENGINES`, else `/var/cache/coffer/engines`) and, as root, its accounts.

use std::time::Duration;

use coffer::engines::{Engine, Server, Settings, Sums};
use coffer::workflow::feed::differences;
use mysql_async::prelude::Queryable as _;

use crate::engine_servers::{ENGINE as MARIADB, House, Relay, connect, own as own_mariadb, quiet, until};
use crate::postgres_servers::{ENGINE as POSTGRESQL, database, own, started, tenant, user};

/// What is planted, what takes it back, and what the comparison must name.
type Planted = (&'static str, &'static str, &'static str);

/// How what is named begins where rows differ.
const ROWS: &str = "rows of ";

/// The longest that a test waits for rows to be summed up.
const LONG: Duration = Duration::from_secs(60);

fn with(server: &Server, read_only: bool, readers: bool) -> Server {
    let settings = Settings { read_only, readers, events: !read_only, ..server.settings.clone() };
    Server { settings, ..server.clone() }
}

/// What a server that nobody writes to holds.
struct Held {
    lines: Vec<String>,
    sums: Sums,
}

async fn held<E: Engine>(engine: &E, server: &Server, like: Option<&Sums>) -> Held {
    Held {
        lines: engine.inventory(server).await.unwrap(),
        sums: engine.sum_rows(server, like, LONG).await.unwrap(),
    }
}

fn named(before: &Held, after: &Held) -> Vec<String> {
    let mut words = differences(&before.lines, &after.lines);
    for (table, sum) in &before.sums.tables {
        if after.sums.tables.get(table) != Some(sum) {
            words.push(format!("rows of {table}"));
        }
    }
    words
}

fn is_named(words: &[String], what: &str) -> bool {
    assert!(!words.iter().any(|word| word.contains("SCRAM") || word.contains("*9")), "{words:?}");
    words.iter().any(|word| word.contains(what))
}

const CONTENT: &str = r#"
CREATE TABLE t (id int PRIMARY KEY, name text DEFAULT 'x', v float4, w float8, CONSTRAINT c CHECK (id > 0));
INSERT INTO t VALUES (1, 'a ', 16777216, 0.1), (2, NULL, 0.1, 1e300), (3, '', 0, 0);
CREATE TABLE keyless (a int, b text); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1, 'x'), (1, 'x');
CREATE SEQUENCE s; SELECT nextval('s'); CREATE SEQUENCE fresh START 7;
CREATE INDEX by_name ON t (name); CREATE VIEW seen AS SELECT id FROM t WHERE id > 1;
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a + 1'; CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION g();
CREATE RULE r AS ON DELETE TO keyless WHERE OLD.a = 7 DO INSTEAD NOTHING;
CREATE POLICY p ON t USING (id > 0); CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN d AS int CHECK (VALUE > 0);
CREATE STATISTICS st ON id, name FROM t; CREATE PUBLICATION pub FOR TABLE t;
CREATE AGGREGATE most (int) (SFUNC = int4larger, STYPE = int);
COMMENT ON COLUMN t.name IS 'why'; GRANT SELECT (id) ON t TO clerk; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO clerk;
"#;

/// In what was fed: rows and definitions, of a twin and of a replica.
const FED: &[Planted] = &[
    (
        "UPDATE t SET v = 16777218 WHERE id = 1",
        "UPDATE t SET v = 16777216 WHERE id = 1",
        "rows of shop: public.t",
    ),
    (
        "UPDATE t SET w = 0.10000000000000002 WHERE id = 1",
        "UPDATE t SET w = 0.1 WHERE id = 1",
        "rows of shop: public.t",
    ),
    ("DELETE FROM t WHERE id = 3", "INSERT INTO t VALUES (3, '', 0, 0)", "rows of shop: public.t"),
    (
        "UPDATE t SET name = 'a' WHERE id = 1",
        "UPDATE t SET name = 'a ' WHERE id = 1",
        "rows of shop: public.t",
    ),
    (
        "UPDATE t SET name = '' WHERE id = 2",
        "UPDATE t SET name = NULL WHERE id = 2",
        "rows of shop: public.t",
    ),
    (
        "INSERT INTO keyless VALUES (1, 'x')",
        "DELETE FROM keyless WHERE ctid = (SELECT max(ctid) FROM keyless)",
        "rows of shop: public.keyless",
    ),
    ("CREATE TABLE more (a int)", "DROP TABLE more", "public.more"),
    ("DROP INDEX by_name", "CREATE INDEX by_name ON t (name)", "index public.by_name"),
    (
        "ALTER TABLE t ALTER name SET DEFAULT 'y'",
        "ALTER TABLE t ALTER name SET DEFAULT 'x'",
        "column public.t.name: its default is 'x'::\"text\" on the source, 'y'::\"text\" on the copy",
    ),
    ("COMMENT ON COLUMN t.name IS 'other'", "COMMENT ON COLUMN t.name IS 'why'", "comment table column"),
    (
        "ALTER TABLE t DISABLE TRIGGER tr",
        "ALTER TABLE t ENABLE TRIGGER tr",
        "trigger public.t.tr: its enabled",
    ),
    (
        "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a + 2'",
        "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a + 1'",
        "routine public.f(",
    ),
    (
        "CREATE OR REPLACE VIEW seen AS SELECT id FROM t WHERE id > 2",
        "CREATE OR REPLACE VIEW seen AS SELECT id FROM t WHERE id > 1",
        "view public.seen: its query",
    ),
    ("ALTER ROLE app SET work_mem = '5MB'", "ALTER ROLE app RESET work_mem", "setting app"),
    (
        "ALTER DATABASE shop SET work_mem = '5MB'",
        "ALTER DATABASE shop RESET work_mem",
        "setting all roles in shop",
    ),
    ("ALTER ROLE app CONNECTION LIMIT 5", "ALTER ROLE app CONNECTION LIMIT -1", "role app: its connections"),
    ("ALTER ROLE app CREATEROLE", "ALTER ROLE app NOCREATEROLE", "role app: its creates roles"),
    (
        "GRANT pg_read_all_settings TO app",
        "REVOKE pg_read_all_settings FROM app",
        "membership pg_read_all_settings of app",
    ),
    (
        "ALTER TABLE t ALTER id SET STATISTICS 7",
        "ALTER TABLE t ALTER id SET STATISTICS -1",
        "column public.t.id: its statistics",
    ),
    (
        "ALTER TABLE t ALTER name SET STORAGE EXTERNAL",
        "ALTER TABLE t ALTER name SET STORAGE EXTENDED",
        "column public.t.name: its storage",
    ),
    (
        "ALTER TABLE t SET (fillfactor = 50)",
        "ALTER TABLE t RESET (fillfactor)",
        "relation public.t: its options",
    ),
    ("ALTER TABLE t CLUSTER ON t_pkey", "ALTER TABLE t SET WITHOUT CLUSTER", "index public.t_pkey"),
    ("ALTER POLICY p ON t USING (id > 1)", "ALTER POLICY p ON t USING (id > 0)", "policy public.t.p"),
    (
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
        "relation public.t: its row security",
    ),
    (
        "ALTER DOMAIN d DROP CONSTRAINT d_check",
        "ALTER DOMAIN d ADD CONSTRAINT d_check CHECK (VALUE > 0)",
        "type public.d",
    ),
    ("ALTER STATISTICS st SET STATISTICS 9", "ALTER STATISTICS st SET STATISTICS -1", "statistics public.st"),
    (
        "ALTER PUBLICATION pub SET (publish = 'insert')",
        "ALTER PUBLICATION pub SET (publish = 'insert, update, delete, truncate')",
        "publication pub",
    ),
    (
        "ALTER PUBLICATION pub DROP TABLE t",
        "ALTER PUBLICATION pub ADD TABLE t",
        "publication's table pub: public.t",
    ),
    (
        "CREATE OR REPLACE RULE r AS ON DELETE TO keyless WHERE OLD.a = 8 DO INSTEAD NOTHING",
        "CREATE OR REPLACE RULE r AS ON DELETE TO keyless WHERE OLD.a = 7 DO INSTEAD NOTHING",
        "rule public.keyless.r",
    ),
    (
        "CREATE OR REPLACE AGGREGATE most (int) (SFUNC = int4larger, STYPE = int, INITCOND = '3')",
        "CREATE OR REPLACE AGGREGATE most (int) (SFUNC = int4larger, STYPE = int)",
        "aggregate",
    ),
    (
        "CREATE FUNCTION information_schema.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION information_schema.left_behind()",
        "in a system schema: routine",
    ),
    (
        "CREATE SCHEMA IF NOT EXISTS coffer; CREATE FUNCTION coffer.left_behind() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION coffer.left_behind()",
        "in a system schema: routine",
    ),
    (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM app",
        "right on what is the server's",
    ),
    ("CREATE CAST (mood AS int) WITH INOUT", "DROP CAST (mood AS int)", "cast"),
    ("CREATE EXTENSION hstore", "DROP EXTENSION hstore", "extension hstore"),
];

/// Where owners and rights are given: not on a replica, whose tenants have them after the detach.
const GIVEN: &[Planted] = &[
    (
        "ALTER TABLE t OWNER TO clerk",
        "ALTER TABLE t OWNER TO app; REVOKE SELECT (id) ON t FROM app; \
         GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON t TO clerk",
        "rights on TABLE \"public\".\"t\": its owner is app on the source, clerk on the copy",
    ),
    ("REVOKE SELECT (id) ON t FROM clerk", "GRANT SELECT (id) ON t TO clerk", "rights on COLUMN"),
    ("GRANT UPDATE (v) ON t TO clerk", "REVOKE UPDATE (v) ON t FROM clerk", "rights on COLUMN"),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE app REVOKE SELECT ON TABLES FROM clerk",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO clerk",
        "rights on DEFAULT TABLES",
    ),
    (
        "ALTER TABLE t ALTER name TYPE text COLLATE \"C\"",
        "ALTER TABLE t ALTER name TYPE text COLLATE \"default\"",
        "column public.t.name: its collation",
    ),
];

/// What no log carries, and an upgrade in place does.
const UNLOGGED_CONTENT: &str = "
CREATE UNLOGGED TABLE u (id int PRIMARY KEY, v float8, note text); INSERT INTO u VALUES (1, 0.1, 'a '), (2, 0, NULL), (3, 1, '');
CREATE UNLOGGED TABLE one (n int); INSERT INTO one VALUES (7);
CREATE UNLOGGED SEQUENCE us; SELECT nextval('us'); SELECT nextval('us');
CREATE TABLE split (n int) PARTITION BY RANGE (n); CREATE UNLOGGED TABLE split_low PARTITION OF split FOR VALUES FROM (0) TO (9);
INSERT INTO split VALUES (1), (1);
";

/// In it, between the conversion and the comparison.
const UNLOGGED: &[Planted] = &[
    ("DELETE FROM u WHERE id = 2", "INSERT INTO u VALUES (2, 0, NULL)", "rows of shop: public.u"),
    (
        "UPDATE u SET note = '' WHERE id = 2",
        "UPDATE u SET note = NULL WHERE id = 2",
        "rows of shop: public.u",
    ),
    (
        "UPDATE u SET v = 0.10000000000000002 WHERE id = 1",
        "UPDATE u SET v = 0.1 WHERE id = 1",
        "rows of shop: public.u",
    ),
    ("TRUNCATE one", "INSERT INTO one VALUES (7)", "rows of shop: public.one"),
    (
        "DELETE FROM split WHERE ctid = (SELECT max(ctid) FROM split)",
        "INSERT INTO split VALUES (1)",
        "rows of shop: public.split_low",
    ),
    ("SELECT setval('us', 1)", "SELECT setval('us', 2)", "rows of shop: public.us"),
    ("ALTER TABLE one SET LOGGED", "ALTER TABLE one SET UNLOGGED", "relation public.one"),
    (
        "DROP TABLE one",
        "CREATE UNLOGGED TABLE one (n int); INSERT INTO one VALUES (7); ALTER TABLE one OWNER TO app; \
         GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON one TO clerk",
        "public.one",
    ),
];

/// Where nobody writes any more.
const STILL: &[Planted] = &[
    ("SELECT setval('s', 1, false)", "SELECT setval('s', 1, true)", "rows of shop: public.s"),
    ("SELECT setval('fresh', 8, false)", "SELECT setval('fresh', 7, false)", "rows of shop: public.fresh"),
];

async fn postgresql_source(house: &House, content: &str) -> Server {
    let source = started(house, "15.0").await;
    let users = [user("app", "a", &["shop"]), user("clerk", "c", &["shop"])];
    POSTGRESQL.create_content(&source, &[database("shop")], &users).await.unwrap();
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    app.batch_execute(content).await.unwrap();
    source
}

/// What a comparison of what is fed names.
async fn fed(source: &Server, candidate: &Server) -> Vec<String> {
    let mut words = fed_definitions(source, candidate).await;
    words.extend(fed_rows(source, candidate).await);
    words
}

async fn fed_definitions(source: &Server, candidate: &Server) -> Vec<String> {
    let theirs = POSTGRESQL.inventory_while_serving(source).await.unwrap();
    differences(&theirs, &POSTGRESQL.inventory_while_serving(candidate).await.unwrap())
}

async fn fed_rows(source: &Server, candidate: &Server) -> Vec<String> {
    let compared = POSTGRESQL.compare_rows(source, candidate, quiet()).await.unwrap();
    compared.differing.iter().map(|table| format!("{ROWS}{table}")).collect()
}

async fn planted_in_what_is_fed(readers: bool) {
    let house = House::new();
    let source = postgresql_source(&house, CONTENT).await;
    let candidate = with(&house.server("17.0", true), true, readers);
    POSTGRESQL.create_data(&candidate).await.unwrap();
    POSTGRESQL.start(&candidate).await.unwrap();
    POSTGRESQL.seed(&source, &candidate, quiet()).await.unwrap();
    POSTGRESQL.follow(&source, &candidate, None).await.unwrap();
    let position = POSTGRESQL.position(&source).await.unwrap();
    assert!(POSTGRESQL.reached(&candidate, &position, Duration::from_secs(30)).await.unwrap());
    assert_eq!(fed(&source, &candidate).await, Vec::<String>::new());
    let conn = own(&candidate, "shop").await;
    conn.batch_execute("SET default_transaction_read_only = off; SET search_path = public").await.unwrap();
    let mut unseen = Vec::new();
    for (plant, back, what) in FED.iter().chain(if readers { &[][..] } else { GIVEN }) {
        conn.batch_execute(plant).await.unwrap_or_else(|error| panic!("{plant}: {error:?}"));
        // Rows take longer: they are read where a row is what was planted.
        let words = match what.starts_with(ROWS) {
            true => fed_rows(&source, &candidate).await,
            false => fed_definitions(&source, &candidate).await,
        };
        if !is_named(&words, what) {
            unseen.push((*plant, words));
        }
        conn.batch_execute(back).await.unwrap_or_else(|error| panic!("{back}: {error:?}"));
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
    assert_eq!(fed(&source, &candidate).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_in_a_twin_is_named() {
    planted_in_what_is_fed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_in_a_replica_is_named() {
    planted_in_what_is_fed(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_in_place_is_named() {
    let house = House::new();
    let source = postgresql_source(&house, &[CONTENT, UNLOGGED_CONTENT].concat()).await;
    let candidate = house.server("17.0", true);
    POSTGRESQL.prepare_in_place(&source, &candidate, quiet()).await.unwrap();
    let fenced = with(&source, true, false);
    POSTGRESQL.fence(&fenced, Duration::ZERO).await.unwrap();
    let before = held(&POSTGRESQL, &fenced, None).await;
    assert_eq!(before.sums.not_compared, []);
    POSTGRESQL.stop_clean(&fenced).await.unwrap();
    POSTGRESQL.convert_in_place(&fenced, &candidate, quiet()).await.unwrap();
    POSTGRESQL.start(&candidate).await.unwrap();
    let like = Some(&before.sums);
    assert_eq!(named(&before, &held(&POSTGRESQL, &candidate, like).await), Vec::<String>::new());
    let conn = own(&candidate, "shop").await;
    conn.batch_execute("SET default_transaction_read_only = off; SET search_path = public").await.unwrap();
    let mut unseen = Vec::new();
    for (plant, back, what) in FED.iter().chain(GIVEN).chain(STILL).chain(UNLOGGED) {
        conn.batch_execute(plant).await.unwrap_or_else(|error| panic!("{plant}: {error:?}"));
        let words = named(&before, &held(&POSTGRESQL, &candidate, like).await);
        if !is_named(&words, what) {
            unseen.push((*plant, words));
        }
        conn.batch_execute(back).await.unwrap_or_else(|error| panic!("{back}: {error:?}"));
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
    assert_eq!(named(&before, &held(&POSTGRESQL, &candidate, like).await), Vec::<String>::new());
    // A password is told as one that differs, and not how.
    conn.batch_execute("ALTER ROLE app PASSWORD 'other'").await.unwrap();
    let words = named(&before, &held(&POSTGRESQL, &candidate, like).await);
    assert_eq!(words, ["role app: its password differs"]);
}

const MARIADB_CONTENT: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20) DEFAULT 'x', v FLOAT, w DOUBLE, note TEXT, n INT CHECK (n < 100), KEY by_name (name)) COMMENT='why'",
    "INSERT INTO t VALUES (1,'a ',16777216,0.1,'a ',1),(2,NULL,0.1,1e300,'',2),(3,'',0,0,NULL,3)",
    "CREATE TABLE keyless (a INT, b TEXT)",
    "INSERT INTO keyless VALUES (1,'x'),(1,'x')",
    "CREATE TABLE m (a INT PRIMARY KEY, b VARCHAR(9)) ENGINE=MyISAM",
    "INSERT INTO m VALUES (1,'x')",
    "CREATE SEQUENCE s",
    "DO NEXTVAL(s)",
    "CREATE VIEW seen AS SELECT id FROM t WHERE id > 1",
    "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
    "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM keyless",
];

/// In what was fed, by our own account without the binary log.
const MARIADB_FED: &[Planted] = &[
    ("UPDATE t SET v=16777218 WHERE id=1", "UPDATE t SET v=16777216 WHERE id=1", "rows of shop.t"),
    ("UPDATE t SET w=0.10000000000000002 WHERE id=1", "UPDATE t SET w=0.1 WHERE id=1", "rows of shop.t"),
    ("DELETE FROM t WHERE id=3", "INSERT INTO t VALUES (3,'',0,0,NULL,3)", "rows of shop.t"),
    ("UPDATE t SET name='a' WHERE id=1", "UPDATE t SET name='a ' WHERE id=1", "rows of shop.t"),
    ("UPDATE t SET note='a' WHERE id=1", "UPDATE t SET note='a ' WHERE id=1", "rows of shop.t"),
    ("UPDATE t SET name='' WHERE id=2", "UPDATE t SET name=NULL WHERE id=2", "rows of shop.t"),
    ("INSERT INTO keyless VALUES (1,'x')", "DELETE FROM keyless LIMIT 1", "rows of shop.keyless"),
    ("UPDATE m SET b='x ' WHERE a=1", "UPDATE m SET b='x' WHERE a=1", "rows of shop.m"),
    ("CREATE TABLE more (a INT)", "DROP TABLE more", "shop.more"),
    ("ALTER TABLE t DROP INDEX by_name", "ALTER TABLE t ADD INDEX by_name (name)", "index shop.t.by_name"),
    (
        "ALTER TABLE t ALTER name SET DEFAULT 'y'",
        "ALTER TABLE t ALTER name SET DEFAULT 'x'",
        "column shop.t.name: its default is 'x' on the source, 'y' on the copy",
    ),
    ("ALTER TABLE t COMMENT='other'", "ALTER TABLE t COMMENT='why'", "table shop.t: its comment"),
    (
        "ALTER TABLE t MODIFY v DOUBLE",
        "ALTER TABLE t MODIFY v FLOAT",
        "column shop.t.v: its type is float on the source, double on the copy",
    ),
    (
        "ALTER TABLE t MODIFY name VARCHAR(20) COLLATE utf8mb4_bin DEFAULT 'x'",
        "ALTER TABLE t MODIFY name VARCHAR(20) COLLATE utf8mb4_general_ci DEFAULT 'x'",
        "column shop.t.name: its collation",
    ),
    (
        "ALTER TABLE t MODIFY n INT CHECK (n < 101)",
        "ALTER TABLE t MODIFY n INT CHECK (n < 100)",
        "check shop.t.n: its clause",
    ),
    (
        "CREATE OR REPLACE VIEW seen AS SELECT id FROM t WHERE id > 2",
        "CREATE OR REPLACE DEFINER=app@'%' VIEW seen AS SELECT id FROM t WHERE id > 1",
        "view shop.seen",
    ),
    (
        "CREATE OR REPLACE DEFINER=app@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x = 2",
        "CREATE OR REPLACE DEFINER=app@'%' TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
        "trigger shop.tr",
    ),
    (
        "GRANT SELECT (id) ON shop.t TO clerk@'%'",
        "REVOKE SELECT (id) ON shop.t FROM clerk@'%'",
        "grant to `clerk`@`%`",
    ),
    (
        "ALTER USER clerk@'%' WITH MAX_USER_CONNECTIONS 3",
        "ALTER USER clerk@'%' WITH MAX_USER_CONNECTIONS 0",
        "user clerk@%",
    ),
    (
        "ALTER DATABASE shop COLLATE utf8mb4_bin",
        "ALTER DATABASE shop COLLATE utf8mb4_general_ci",
        "database shop: its collation",
    ),
];

/// Where nobody writes any more, and routines are where they belong.
const MARIADB_STILL: &[Planted] = &[
    (
        "CREATE OR REPLACE DEFINER=app@'%' FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 2",
        "CREATE OR REPLACE DEFINER=app@'%' FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
        "routine function shop.f: its body",
    ),
    ("ALTER EVENT e DISABLE", "ALTER DEFINER=app@'%' EVENT e ENABLE", "rows of event shop.e"),
];

async fn mariadb_source(house: &House) -> Server {
    let source = house.started("10.11.0", false).await;
    let shop = coffer::domain::tenant::NewDatabase {
        name: "shop".to_owned(),
        character_set: Some("utf8mb4".to_owned()),
        collate: Some("utf8mb4_general_ci".to_owned()),
    };
    let users = ["app", "clerk"].map(|name| crate::engine_servers::user(name, "a", &["shop"]));
    MARIADB.create_content(&source, &[shop], &users).await.unwrap();
    let mut app = connect(&source, "app", "a").await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    for sql in MARIADB_CONTENT {
        app.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    source
}

async fn mariadb_fed(source: &Server, candidate: &Server, (definitions, rows): (bool, bool)) -> Vec<String> {
    let mut words = Vec::new();
    if definitions {
        let theirs = MARIADB.inventory_while_serving(source).await.unwrap();
        words.extend(differences(&theirs, &MARIADB.inventory_while_serving(candidate).await.unwrap()));
    }
    if rows {
        let compared = MARIADB.compare_rows(source, candidate, quiet()).await.unwrap();
        words.extend(compared.differing.iter().map(|table| format!("{ROWS}{table}")));
    }
    words
}

/// A twin and a replica of MariaDB are fed and compared in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_in_what_mariadb_feeds_is_named() {
    let house = House::new();
    let source = mariadb_source(&house).await;
    let candidate = house.started("11.8.0", true).await;
    MARIADB.seed(&source, &candidate, quiet()).await.unwrap();
    MARIADB.convert(&candidate).await.unwrap();
    let relay = Relay::to(&source).await;
    MARIADB.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    until("it follows", async || {
        let position = MARIADB.position(&source).await.unwrap();
        MARIADB.reached(&candidate, &position, Duration::from_secs(10)).await.unwrap()
    })
    .await;
    assert_eq!(mariadb_fed(&source, &candidate, (true, true)).await, Vec::<String>::new());
    let mut conn = own_mariadb(&candidate).await;
    for sql in ["SET sql_log_bin=0, NAMES utf8mb4 COLLATE utf8mb4_general_ci", "USE shop"] {
        conn.query_drop(sql).await.unwrap();
    }
    let mut unseen = Vec::new();
    for (plant, back, what) in MARIADB_FED {
        conn.query_drop(*plant).await.unwrap_or_else(|error| panic!("{plant}: {error}"));
        let is_row = what.starts_with(ROWS);
        let words = mariadb_fed(&source, &candidate, (!is_row, is_row)).await;
        if !is_named(&words, what) {
            unseen.push((*plant, words));
        }
        conn.query_drop(*back).await.unwrap_or_else(|error| panic!("{back}: {error}"));
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
    assert_eq!(mariadb_fed(&source, &candidate, (false, true)).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_in_place_in_mariadb_is_named() {
    let house = House::new();
    let source = mariadb_source(&house).await;
    let candidate = house.server("11.8.0", true);
    MARIADB.prepare_in_place(&source, &candidate, quiet()).await.unwrap();
    let fenced = with(&source, true, false);
    MARIADB.fence(&fenced, Duration::ZERO).await.unwrap();
    let before = held(&MARIADB, &fenced, None).await;
    assert_eq!(before.sums.not_compared, []);
    MARIADB.stop_clean(&fenced).await.unwrap();
    MARIADB.convert_in_place(&fenced, &candidate, quiet()).await.unwrap();
    MARIADB.start(&candidate).await.unwrap();
    let like = Some(&before.sums);
    assert_eq!(named(&before, &held(&MARIADB, &candidate, like).await), Vec::<String>::new());
    let mut conn = own_mariadb(&candidate).await;
    for sql in ["SET sql_log_bin=0, NAMES utf8mb4 COLLATE utf8mb4_general_ci", "USE shop"] {
        conn.query_drop(sql).await.unwrap();
    }
    let mut unseen = Vec::new();
    for (plant, back, what) in MARIADB_FED.iter().chain(MARIADB_STILL) {
        conn.query_drop(*plant).await.unwrap_or_else(|error| panic!("{plant}: {error}"));
        let words = named(&before, &held(&MARIADB, &candidate, like).await);
        // A table that was not there before is the inventory's to name.
        if !is_named(&words, what) {
            unseen.push((*plant, words));
        }
        conn.query_drop(*back).await.unwrap_or_else(|error| panic!("{back}: {error}"));
    }
    assert!(unseen.is_empty(), "{unseen:#?}");
    conn.query_drop("DO NEXTVAL(s)").await.unwrap();
    conn.query_drop("ALTER USER clerk@'%' IDENTIFIED BY 'other'").await.unwrap();
    let words = named(&before, &held(&MARIADB, &candidate, like).await);
    let password = |word: &String| word.starts_with("user clerk@%") && word.ends_with("its password differs");
    assert!(words.iter().any(password), "{words:?}");
}
