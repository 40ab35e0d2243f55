//! What a real schema of MariaDB holds, through a copy and what follows it: every value by its bits, every definition, every
//! account, read by SQL of this file alone, and then used. And what the new version does not take, named beforehand.
//!
//! Needs what `engine_mariadb` needs.

use std::fmt::Write as _;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::question::Finding;
use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine, Error, Following, Server, Settings};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::engine_servers::{ENGINE, House, Relay, connect, database, own, quiet, text, until, user};
use crate::harness::house::House as Dev;
use crate::harness::{delete, healthy, open_shop};
use crate::upgrade::{ended, patch};

/// A server of 10.11 with a tenant `app` that owns `shop` and `Other db`.
async fn tenant(house: &House) -> (Server, Conn) {
    let source = house.started("10.11.0", false).await;
    let names = ["shop", "Other db"];
    ENGINE.create_content(&source, &names.map(database), &[user("app", "pw", &names)]).await.unwrap();
    let mut app = connect(&source, "app", "pw").await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    (source, app)
}

async fn run(conn: &mut Conn, statements: &[&str]) {
    for sql in statements {
        if let Err(error) = conn.query_drop(*sql).await {
            panic!("{sql}: {error}");
        }
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Every row of every table, each value in a form that has all of its bits, old rows included; and what makes the table.
async fn everything(server: &Server) -> Vec<String> {
    let mut conn = own(server).await;
    conn.query_drop("SET time_zone='+00:00', sql_mode='', group_concat_max_len=1000000000").await.unwrap();
    let tables: Vec<(String, String, String)> = conn
        .query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA IN \
             ('shop', 'Other db') AND TABLE_TYPE<>'VIEW' ORDER BY BINARY TABLE_SCHEMA, BINARY TABLE_NAME",
        )
        .await
        .unwrap();
    let mut all = Vec::new();
    for (schema, table, kind) in tables {
        let place = format!("{}.{}", quoted(&schema), quoted(&table));
        if kind == "SEQUENCE" {
            let row: mysql_async::Row =
                conn.query_first(format!("SELECT * FROM {place}")).await.unwrap().unwrap();
            all.push(format!("{place}: {:?}", row.unwrap()));
            continue;
        }
        let made: (String, String) =
            conn.query_first(format!("SHOW CREATE TABLE {place}")).await.unwrap().unwrap();
        // Versions tell the properties of a column in another order.
        let lines = made.1.lines().map(|line| {
            let mut words: Vec<&str> = line.trim_end_matches(',').split(' ').collect();
            words.sort_unstable();
            words.join(" ")
        });
        all.push(format!("{place}: {}", lines.collect::<Vec<_>>().join("\n")));
        let columns: Vec<(String, String)> = conn
            .exec(
                "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE BINARY TABLE_SCHEMA=? AND \
                 BINARY TABLE_NAME=? ORDER BY ORDINAL_POSITION",
                (schema.as_str(), table.as_str()),
            )
            .await
            .unwrap();
        let mut columns = columns;
        if kind == "SYSTEM VERSIONED" && !made.1.contains("PERIOD FOR SYSTEM_TIME") {
            columns
                .extend(["row_start", "row_end"].map(|column| (column.to_owned(), "timestamp".to_owned())));
        }
        let values: Vec<String> = columns
            .iter()
            .map(|(column, kind)| {
                let column = quoted(column);
                let value = match kind.as_str() {
                    // As a double, which every float is, with all of its digits; and its sign, which zero has, too.
                    "float" | "double" => format!("CONCAT({column} + 0e0, '/', ATAN2({column}, -1))"),
                    "int" | "tinyint" | "smallint" | "mediumint" | "bigint" | "decimal" | "year" => column,
                    "bit" => format!("BIN({column} + 0)"),
                    // A row of now ends with time itself, which is later in newer versions.
                    "timestamp" => format!(
                        "IF(CAST({column} AS CHAR) IN ('2038-01-19 03:14:07.999999', '2106-02-07 06:28:15.999999'), \
                         'the end', {column})"
                    ),
                    "enum" | "set" => format!("CONCAT({column} + 0, '=', HEX({column}))"),
                    _ => format!("CONCAT(LENGTH({column}), ':', HEX({column}))"),
                };
                format!("IFNULL({value}, 'NULL')")
            })
            .collect();
        let versions = if kind == "SYSTEM VERSIONED" { " FOR SYSTEM_TIME ALL" } else { "" };
        let select = format!(
            "SELECT CONCAT_WS('|', {}) AS v FROM {place}{versions} ORDER BY BINARY v",
            values.join(", ")
        );
        let rows: Vec<String> = conn.query(select).await.unwrap();
        let mut told = format!("{place} has {} rows", rows.len());
        for row in rows {
            let _ = write!(told, "\n  {}", row.get(..2000).unwrap_or(&row));
        }
        all.push(told);
    }
    all
}

fn same(there: &[String], here: &[String]) {
    for (there, here) in there.iter().zip(here) {
        assert_eq!(there, here);
    }
    assert_eq!(there.len(), here.len());
}

/// Seeds, follows and cuts; `meanwhile` runs on the source once the candidate follows.
async fn twin(house: &House, source: &Server, app: &mut Conn, meanwhile: &[&str]) -> Server {
    let candidate = house.started("11.8.0", true).await;
    assert_eq!(ENGINE.replica_blockers(source).await.unwrap(), []);
    let found = ENGINE.pre_check(source, &house.server("11.8.0", true), Strategy::Twin).await.unwrap();
    assert!(!found.iter().any(|finding| finding.blocks), "{found:#?}");
    ENGINE.seed(source, &candidate, quiet()).await.unwrap();
    same(&everything(source).await, &everything(&candidate).await);
    let relay = Relay::to(source).await;
    ENGINE.follow(source, &candidate, Some(&relay.address)).await.unwrap();
    run(app, meanwhile).await;
    let now = ENGINE.position(source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &now, Duration::from_secs(30)).await.unwrap());
    until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
        .await;
    same(&everything(source).await, &everything(&candidate).await);
    let cut = Server {
        settings: Settings { read_only: false, events: true, ..candidate.settings.clone() },
        ..candidate.clone()
    };
    ENGINE.cut(&cut, Some(source)).await.unwrap();
    ENGINE.forget_follower(source).await.unwrap();
    cut
}

/// Values that a text loses, in every place where they may stand.
#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_carried_by_its_bits() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run(
        &mut app,
        &[
            "CREATE TABLE f (id INT PRIMARY KEY, v FLOAT)",
            "INSERT INTO f VALUES (1,16777217),(2,0.1234567),(3,123456789),(4,3.4028234e38),(5,-0e0),(6,1.4e-45),(7,NULL)",
            "CREATE TABLE keyed (v FLOAT PRIMARY KEY, w FLOAT AS (v * 3) STORED, x FLOAT(20,3), KEY (w, v))",
            "INSERT INTO keyed (v, x) SELECT 0.1234567 + seq / 1e8, seq / 7 FROM seq_1_to_500",
            "CREATE TABLE open_one (v FLOAT, w DOUBLE, n INT)",
            "INSERT INTO open_one SELECT seq / 7e6, seq / 7, seq FROM seq_1_to_300",
            "CREATE TABLE split (v FLOAT, n INT, KEY (v)) PARTITION BY RANGE (n) SUBPARTITION BY HASH (n) SUBPARTITIONS 2 \
             (PARTITION a VALUES LESS THAN (50), PARTITION b VALUES LESS THAN MAXVALUE)",
            "INSERT INTO split SELECT 1 / seq, seq FROM seq_1_to_100",
            "CREATE TABLE d (id INT PRIMARY KEY, a DOUBLE, b DECIMAL(65,30), c BIT(64), bi BINARY(5), ch CHAR(5), da DATE, \
             dt DATETIME(6), ti TIME(6), ts TIMESTAMP(6) NULL, y YEAR, e ENUM('', 'b'), se SET('a', 'b', 'c'), tx LONGTEXT, \
             bl LONGBLOB, u UUID, i6 INET6, i4 INET4, g GEOMETRY, vc VARCHAR(10) CHARSET latin1, dd DOUBLE(60,29), j JSON)",
            "SET sql_mode='ALLOW_INVALID_DATES', time_zone='-11:30'",
            "INSERT INTO d VALUES (1, 5e-324, 12345678901234567890123456789012345.123456789012345678901234567890, \
             b'1111111111111111111111111111111111111111111111111111111111111111', x'0100000000', 'ab', '2024-02-30', \
             '2024-02-31 23:59:59.999999', '-838:59:59.999999', '1970-01-02 00:00:01.000001', 0, 'no such', '', '', '', \
             '00112233-4455-6677-8899-aabbccddeeff', '::1', '1.2.3.4', ST_GeomFromText('POINT(1 2)', 4326), x'8081ff', \
             0.1, '{\"a\": 1.0}')",
            "INSERT INTO d VALUES (2, 1.7976931348623157e308, -0.000000000000000000000000000001, 0, x'0000000000', '', \
             '0000-00-00', '0000-00-00 00:00:00', '838:59:59', '2038-01-18 03:14:07.999999', 1901, '', 'a,c', \
             REPEAT('x', 70000), x'00275c0a1a00', NULL, NULL, NULL, \
             ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'), '', 1e30 / 7, NULL)",
            "INSERT INTO d (id, a, da) VALUES (0, -0e0, '2024-00-10'), (4, 0.1, '0000-01-00'), (5, 2.2250738585072014e-308, NULL)",
            "INSERT INTO d (id, a) SELECT 100 + seq, RAND(seq) * POW(10, CAST(seq AS SIGNED) % 600 - 300) FROM seq_1_to_500",
            "INSERT INTO d (id, bl) VALUES (3, REPEAT(x'00ff0d1a', 4194304))",
            "SET sql_mode=DEFAULT, time_zone=DEFAULT",
            "CREATE TABLE sets (a VARCHAR(9) CHARSET sjis, b VARCHAR(9) CHARSET cp932, c VARCHAR(9) CHARSET gbk, d VARCHAR(9) \
             CHARSET big5, e VARCHAR(9) CHARSET ucs2, f VARCHAR(9) CHARSET utf16, g VARCHAR(9) CHARSET utf32, h VARCHAR(9) \
             CHARSET cp1250, i VARCHAR(9) CHARSET eucjpms, k VARCHAR(9) CHARSET cp1251, l CHAR(9) CHARSET utf8mb3, \
             m VARCHAR(9) CHARSET binary)",
            "INSERT INTO sets VALUES (x'835c', x'8754', x'815c', x'a45c', x'005c', x'd83dde00', x'0001f600', x'8183', x'ade2', \
             x'98', 'a ', x'f0')",
        ],
    )
    .await;
    let meanwhile = [
        "SET sql_mode=''",
        "UPDATE open_one SET n = -n WHERE v < 20 / 7e6",
        "DELETE FROM open_one WHERE w = 100 / 7",
        "UPDATE f SET v = 0.7654321 WHERE id = 2",
        "UPDATE keyed SET x = 1.2345 LIMIT 9",
        "UPDATE split SET v = v / 3 WHERE n > 90",
        "INSERT INTO d (id, a) VALUES (9, -5e-309)",
        "INSERT INTO f VALUES (8, 8388609.1)",
    ];
    let cut = twin(&house, &source, &mut app, &meanwhile).await;
    let mut then = connect(&cut, "app", "pw").await.unwrap();
    for (id, value) in [
        (1, "16777216"),
        (3, "123456792"),
        (4, "3.4028234663852886e38"),
        (2, "0.7654321193695068"),
        (6, "1.401298464324817e-45"),
    ] {
        assert_eq!(
            text(&mut then, &format!("SELECT CONCAT(v + 0e0) FROM shop.f WHERE id={id}")).await,
            value
        );
    }
}

/// Definitions and rows that a dump stumbles on, used afterwards as their owner would.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_defines_is_carried_and_works() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run(
        &mut app,
        &[
            "CREATE SEQUENCE s",
            "CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(s), x INT)",
            "INSERT INTO t (x) VALUES (1)",
            "CREATE SEQUENCE `Other db`.`a ``seq` START WITH 7 INCREMENT BY -3 MINVALUE -20 MAXVALUE 10 CYCLE CACHE 2",
            "CREATE TABLE aaa (id INT PRIMARY KEY DEFAULT NEXTVAL(`Other db`.`a ``seq`), x INT DEFAULT (LASTVAL(s)), \
             k CHAR(36) DEFAULT (UUID()), n INT DEFAULT (1 + 2))",
            "INSERT INTO aaa (x) VALUES (1), (2)",
            "CREATE VIEW over_sequence AS SELECT next_not_cached_value AS n FROM s",
            "CREATE TRIGGER numbered BEFORE INSERT ON aaa FOR EACH ROW SET NEW.n = NEXTVAL(s)",
            // Rows that their own table would not take.
            "CREATE TABLE c (id INT PRIMARY KEY AUTO_INCREMENT, n INT CHECK (n > 0))",
            "SET check_constraint_checks=0, sql_mode='NO_AUTO_VALUE_ON_ZERO'",
            "INSERT INTO c VALUES (1, -5), (0, -1)",
            "ALTER TABLE c AUTO_INCREMENT=77",
            "SET check_constraint_checks=1, sql_mode=DEFAULT, foreign_key_checks=0",
            "CREATE TABLE parents (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parents (id), child INT, \
             CONSTRAINT round_about FOREIGN KEY (child) REFERENCES children (id))",
            "CREATE TABLE children (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parents (id) ON DELETE CASCADE)",
            "INSERT INTO parents VALUES (1, 99, 98), (2, 1, NULL)",
            "INSERT INTO children VALUES (5, 77), (6, 2)",
            "SET foreign_key_checks=1",
            // Old rows.
            "CREATE TABLE kept (id INT PRIMARY KEY, x INT, v FLOAT) WITH SYSTEM VERSIONING",
            "INSERT INTO kept VALUES (1, 1, 0.1), (2, 2, 0.2)",
            "UPDATE kept SET x = 9 WHERE id = 1",
            "DELETE FROM kept WHERE id = 2",
            "CREATE TABLE told (id INT PRIMARY KEY, x INT WITHOUT SYSTEM VERSIONING, b TIMESTAMP(6) GENERATED ALWAYS AS ROW START, \
             e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, y INT, PERIOD FOR SYSTEM_TIME (b, e)) WITH SYSTEM VERSIONING \
             PARTITION BY SYSTEM_TIME (PARTITION p0 HISTORY, PARTITION pn CURRENT)",
            "INSERT INTO told (id, x, y) VALUES (1, 1, 1)",
            "UPDATE told SET y = 2",
            "CREATE TABLE open_kept (x INT, id INT AUTO_INCREMENT PRIMARY KEY) WITH SYSTEM VERSIONING ENGINE=Aria",
            "INSERT INTO open_kept (x) VALUES (1)",
            "UPDATE open_kept SET x = 2",
            "CREATE TABLE stays (room INT, a DATE, b DATE, PERIOD FOR p (a, b), PRIMARY KEY (room, p WITHOUT OVERLAPS))",
            "INSERT INTO stays VALUES (1, '2020-01-01', '2021-01-01'), (1, '2021-01-01', '2022-01-01')",
            // Storage and columns.
            "CREATE TABLE hidden (id INT PRIMARY KEY, h INT INVISIBLE DEFAULT 3, g INT AS (id + 1) STORED, i INT AS (id + 2) \
             VIRTUAL INVISIBLE, KEY (i), t TEXT COMPRESSED, b BLOB)",
            "INSERT INTO hidden (id, h, t) VALUES (1, 2, REPEAT('a', 5000)), (2, 3, '')",
            "CREATE TABLE pages (id INT PRIMARY KEY, t TEXT) PAGE_COMPRESSED=1 COMMENT='it''s' STATS_PERSISTENT=1",
            "CREATE TABLE packed (id INT PRIMARY KEY, t TEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4",
            "CREATE TABLE old_rows (id INT PRIMARY KEY, t VARCHAR(100) UNIQUE) ROW_FORMAT=REDUNDANT",
            "CREATE TABLE summed (id INT PRIMARY KEY) ENGINE=MyISAM CHECKSUM=1 DELAY_KEY_WRITE=1",
            "INSERT INTO summed VALUES (1)",
            "CREATE TABLE longest (a TEXT, UNIQUE (a), b INT, KEY down (b DESC), KEY unseen (b) IGNORED, FULLTEXT (a))",
            "INSERT INTO longest VALUES (REPEAT('q', 4000), 1), (NULL, 2), (NULL, 3)",
            "CREATE TABLE places (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL KEY (g))",
            "INSERT INTO places VALUES (1, POINT(1, 2))",
            "CREATE TABLE lists (id INT PRIMARY KEY) PARTITION BY LIST (id) (PARTITION a VALUES IN (1, 2), PARTITION b DEFAULT)",
            "CREATE TABLE words (w VARCHAR(20) PRIMARY KEY) COLLATE utf8mb4_uca1400_ai_ci PARTITION BY KEY (w) PARTITIONS 3",
            "INSERT INTO words VALUES ('straße'), ('Ähre'), ('zebra')",
            "CREATE TABLE `o'dd ``name`` ☃-a.b@c/d` (`☃` INT, `co``l` INT, PRIMARY KEY (`co``l`))",
            "INSERT INTO `o'dd ``name`` ☃-a.b@c/d` VALUES (1, 2)",
            "CREATE TABLE Words_ (id INT PRIMARY KEY)",
            "CREATE VIEW words_ AS SELECT id FROM Words_",
            "CREATE TABLE gone (id INT)",
            "CREATE VIEW broken AS SELECT id FROM gone",
            "DROP TABLE gone",
            "CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN 2 * x",
            "CREATE VIEW doubled AS SELECT twice(x) AS y FROM t",
            "SET sql_mode='ORACLE'",
            "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END",
            "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 7; END; END",
            "SET sql_mode=DEFAULT",
        ],
    )
    .await;
    let meanwhile = [
        "INSERT INTO t (x) VALUES (2)",
        "UPDATE kept SET x = 10",
        "INSERT INTO kept VALUES (3, 3, 0.3)",
        "DELETE FROM kept WHERE id = 1",
        "UPDATE told SET y = 3",
        "UPDATE told SET x = 3",
        "UPDATE open_kept SET x = 3",
        "DELETE FROM open_kept",
        "UPDATE stays FOR PORTION OF p FROM '2020-06-01' TO '2020-07-01' SET room = 2",
        "INSERT INTO hidden (id, t) VALUES (3, REPEAT('b', 3000))",
        "SET check_constraint_checks=0",
        "INSERT INTO c VALUES (50, -7)",
        "UPDATE c SET n = -6 WHERE id = 1",
        "DELETE FROM c WHERE id = 0",
        "SET check_constraint_checks=1",
        "INSERT INTO words VALUES ('later')",
    ];
    let cut = twin(&house, &source, &mut app, &meanwhile).await;
    let mut then = connect(&cut, "app", "pw").await.unwrap();
    then.query_drop("USE shop").await.unwrap();
    // The next number is the one that the source would give after a restart: none is given twice.
    let next: i64 = app.query_first("SELECT next_not_cached_value FROM s").await.unwrap().unwrap();
    then.query_drop("INSERT INTO t (x) VALUES (3)").await.unwrap();
    assert_eq!(text(&mut then, "SELECT MAX(id) FROM t").await, next.to_string());
    then.query_drop("INSERT INTO aaa (x) VALUES (3)").await.unwrap();
    assert_eq!(text(&mut then, "SELECT n FROM aaa WHERE x = 3").await, (next + 1).to_string());
    then.query_drop("INSERT INTO c (n) VALUES (1)").await.unwrap();
    assert_eq!(text(&mut then, "SELECT MAX(id) FROM c").await, "77");
    assert!(then.query_drop("INSERT INTO c (n) VALUES (-1)").await.is_err());
    assert!(then.query_drop("INSERT INTO children VALUES (7, 12345)").await.is_err());
    assert!(then.query_drop("INSERT INTO stays VALUES (1, '2021-05-01', '2021-06-01')").await.is_err());
    assert!(then.query_drop("INSERT INTO longest (a) VALUES (REPEAT('q', 4000))").await.is_err());
    let old = "SELECT COUNT(*) FROM kept FOR SYSTEM_TIME ALL";
    assert_eq!(text(&mut then, old).await, text(&mut app, old).await);
    then.query_drop("UPDATE kept SET x = 11 WHERE id = 3").await.unwrap();
    assert_eq!(text(&mut then, "SELECT COUNT(*) FROM kept FOR SYSTEM_TIME ALL WHERE id = 3").await, "2");
    assert_eq!(text(&mut then, "SELECT SUM(y) FROM doubled").await, "12");
    assert_eq!(text(&mut then, "SELECT pack.f()").await, "7");
    assert_eq!(text(&mut then, "SELECT COUNT(*) FROM words WHERE w = 'STRASSE'").await, "1");
    for table in [
        "hidden",
        "pages",
        "packed",
        "old_rows",
        "kept",
        "told",
        "open_kept",
        "places",
        "words",
        "c",
        "parents",
    ] {
        let checked: Vec<(String, String, String, String)> =
            then.query(format!("CHECK TABLE {table} EXTENDED")).await.unwrap();
        assert!(checked.iter().all(|row| row.3 == "OK"), "{checked:?}");
    }
}

async fn grants(conn: &mut Conn, account: &str) -> Vec<String> {
    let mut told: Vec<String> = conn.query(format!("SHOW GRANTS FOR {account}")).await.unwrap();
    if account.contains('@') {
        told.push(text(conn, &format!("SHOW CREATE USER {account}")).await);
    }
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn every_account_is_carried_with_what_it_may() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run(
        &mut app,
        &[
            "CREATE TABLE goods (id INT PRIMARY KEY, name TEXT)",
            "CREATE FUNCTION one() RETURNS INT RETURN 1",
            "CREATE PROCEDURE two() SELECT 2",
            "SET sql_mode='ORACLE'",
            "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END",
            "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 7; END; END",
        ],
    )
    .await;
    let mut ours = own(&source).await;
    run(
        &mut ours,
        &[
            "CREATE ROLE readers",
            "CREATE ROLE `odd role`",
            "GRANT readers TO `odd role`",
            "GRANT SELECT (id), UPDATE (name) ON shop.goods TO readers",
            "GRANT SELECT ON shop.goods TO PUBLIC",
            "CREATE USER a@'%' IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('other')",
            "GRANT `odd role` TO a@'%' WITH ADMIN OPTION",
            "SET DEFAULT ROLE `odd role` FOR a@'%'",
            "CREATE USER `q'u``o\"te`@`10.0.0.0/255.0.0.0` IDENTIFIED BY 'x' REQUIRE ISSUER 'i''s' AND SUBJECT 's' WITH \
             MAX_USER_CONNECTIONS 3 MAX_QUERIES_PER_HOUR 4 MAX_STATEMENT_TIME 1.5 PASSWORD EXPIRE INTERVAL 30 DAY ACCOUNT LOCK",
            "GRANT ALL ON `Other db`.* TO a@'%' WITH GRANT OPTION",
            "GRANT EXECUTE ON FUNCTION shop.one TO a@'%'",
            "GRANT EXECUTE ON PROCEDURE shop.two TO a@'%' WITH GRANT OPTION",
            "SET sql_mode='ORACLE'",
            "GRANT EXECUTE ON PACKAGE shop.pack TO a@'%'",
            "GRANT EXECUTE ON PACKAGE BODY shop.pack TO a@'%'",
            "SET sql_mode=DEFAULT",
            // Who has no such right itself cannot grant one.
            "INSERT INTO mysql.proxies_priv VALUES ('%', 'a', '%', 'app', 1, '', NOW())",
            "FLUSH PRIVILEGES",
            "GRANT PROCESS, CREATE USER ON *.* TO a@'%'",
            "CREATE USER expired@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE",
            "CREATE USER ''@'10.1.1.1' IDENTIFIED BY 'x'",
            "CREATE USER sock@localhost IDENTIFIED VIA unix_socket",
        ],
    )
    .await;
    let cut = twin(&house, &source, &mut app, &[]).await;
    let mut theirs = own(&cut).await;
    for account in [
        "app@'%'",
        "a@'%'",
        "`q'u``o\"te`@`10.0.0.0/255.0.0.0`",
        "expired@'%'",
        "''@'10.1.1.1'",
        "sock@localhost",
        "readers",
        "`odd role`",
        "PUBLIC",
    ] {
        let (there, here) = (grants(&mut ours, account).await, grants(&mut theirs, account).await);
        assert_eq!(there, here, "{account}");
    }
    let mut a = connect(&cut, "a", "other").await.unwrap();
    assert_eq!(text(&mut a, "SELECT CURRENT_ROLE()").await, "odd role");
    assert_eq!(text(&mut a, "SELECT shop.one()").await, "1");
    assert!(a.query_drop("SELECT * FROM shop.t").await.is_err());
    a.query_drop("CREATE TABLE `Other db`.mine (id INT)").await.unwrap();
}

/// The words of the tenant's that 11.8 took for itself.
const TAKEN: [&str; 7] = [
    "CREATE TABLE emb (id INT PRIMARY KEY, vector TEXT)",
    "CREATE FUNCTION len(i INT) RETURNS INT READS SQL DATA BEGIN DECLARE vector INT; SELECT LENGTH(e.vector) INTO vector \
     FROM emb e WHERE e.id=i; RETURN vector; END",
    "CREATE PROCEDURE more(vector INT) SELECT vector",
    "CREATE TRIGGER filled BEFORE INSERT ON emb FOR EACH ROW BEGIN DECLARE vector INT; SET vector = 1; END",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO UPDATE emb SET vector = NULL WHERE vector = ''",
    "CREATE VIEW lengths AS SELECT len(id) AS n, vector FROM emb",
    "CREATE FUNCTION fine(x INT) RETURNS INT DETERMINISTIC RETURN x",
];

fn named(found: &[Finding]) -> Vec<&str> {
    found.iter().filter(|finding| finding.blocks).map(|finding| finding.object.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_new_version_cannot_read_is_named_by_every_look() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run(&mut app, &TAKEN).await;
    run(
        &mut app,
        &[
            "SET sql_mode='ORACLE,ANSI_QUOTES'",
            "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END",
            "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS vector INT; BEGIN RETURN 7; END; END",
            "SET sql_mode='ANSI_QUOTES'",
            "CREATE PROCEDURE quoted() SELECT 1 AS \"vector\"",
            "SET sql_mode=DEFAULT",
            // It is broken already, which is no news.
            "CREATE TABLE gone (id INT)",
            "CREATE VIEW broken AS SELECT id FROM gone",
            "DROP TABLE gone",
        ],
    )
    .await;
    let objects = [
        "event shop.nightly",
        "function shop.len",
        "package body shop.pack",
        "procedure shop.more",
        "trigger shop.filled",
    ];
    for strategy in [Strategy::Twin, Strategy::InPlace] {
        let place = house.server("11.8.0", true);
        let found = ENGINE.pre_check(&source, &place, strategy).await.unwrap();
        let mut objects_found = named(&found);
        objects_found.sort_unstable();
        assert_eq!(objects_found, objects, "{strategy:?}: {found:#?}");
        assert!(
            found.iter().any(|finding| !finding.blocks && finding.object == "view shop.broken"),
            "{found:#?}"
        );
        let len = found.iter().find(|finding| finding.object == "function shop.len").unwrap();
        assert!(len.why.contains("1064") && len.remedy.contains('`'), "{len}");
        // Nothing of the look is left.
        assert!(!house.state(&place).exists());
    }
    // The copy of an action tells it, too, before it copies.
    let candidate = house.started("11.8.0", true).await;
    match ENGINE.seed(&source, &candidate, quiet()).await {
        Err(Error::Object { object, .. }) => assert!(objects.contains(&object.as_str()), "{object}"),
        other => panic!("{other:?}"),
    }
    // The same version of the series takes all of it.
    let found = ENGINE.pre_check(&source, &house.server("10.11.999", true), Strategy::InPlace).await;
    assert!(found.is_err() || named(&found.unwrap()).is_empty());
    // Mended as the remedy says, it goes through, and works.
    run(
        &mut app,
        &[
            "SET sql_mode='ORACLE'",
            "DROP PACKAGE pack",
            "SET sql_mode=DEFAULT",
            "DROP PROCEDURE more",
            "DROP TRIGGER filled",
            "DROP EVENT nightly",
            "CREATE OR REPLACE FUNCTION len(i INT) RETURNS INT READS SQL DATA BEGIN DECLARE `vector` INT; \
             SELECT LENGTH(e.`vector`) INTO `vector` FROM emb e WHERE e.id=i; RETURN `vector`; END",
            "INSERT INTO emb VALUES (1, 'four')",
        ],
    )
    .await;
    let cut = twin(&house, &source, &mut app, &[]).await;
    let mut then = connect(&cut, "app", "pw").await.unwrap();
    assert_eq!(text(&mut then, "SELECT n FROM shop.lengths").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_memory_are_told_before_a_restart_empties_them() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run(
        &mut app,
        &["CREATE TABLE fleeting (id INT PRIMARY KEY) ENGINE=MEMORY", "INSERT INTO fleeting VALUES (1)"],
    )
    .await;
    let look =
        async |strategy| ENGINE.pre_check(&source, &house.server("11.8.0", true), strategy).await.unwrap();
    let found = look(Strategy::InPlace).await;
    assert_eq!(
        found.iter().map(|f| (f.blocks, f.object.as_str())).collect::<Vec<_>>(),
        [(false, "shop.fleeting")]
    );
    assert!(found[0].why.contains("MEMORY"), "{}", found[0]);
    assert_eq!(named(&look(Strategy::Twin).await), ["shop.fleeting"]);
}

/// A folder that the server takes for a database, and that has no file, is one afterwards, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_without_a_file_is_carried() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    let folder = house.state(&source).join("data/shop");
    std::fs::remove_file(folder.join("db.opt")).unwrap();
    let cut = twin(&house, &source, &mut app, &["CREATE TABLE shop.t (id INT)"]).await;
    assert_eq!(text(&mut own(&cut).await, "SELECT COUNT(*) FROM shop.t").await, "0");
    until("the tenant comes in", async || connect(&cut, "app", "pw").await.is_ok()).await;
}

/// Through the service: the look names what stands in the way, nothing is held and nothing changes; mended, it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_refused_by_name_and_goes_when_it_is_mended() {
    let dev = Dev::start().await;
    let api = Client::login(&dev.state, "coffer").await.unwrap();
    let old = open_shop(&api, "taken", "10.11").await;
    let conn = async || {
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname(old.address.clone())
            .user(Some("app"))
            .pass(Some(old.password.expose_secret()))
            .db_name(Some("shop"));
        Conn::new(opts).await.unwrap()
    };
    let mut app = conn().await;
    run(&mut app, &TAKEN[..2]).await;
    run(
        &mut app,
        &[
            "CREATE SEQUENCE s",
            "CREATE TABLE numbered (id INT PRIMARY KEY DEFAULT NEXTVAL(s), x INT)",
            "INSERT INTO numbered (x) VALUES (1)",
            "CREATE TABLE c (id INT PRIMARY KEY, n INT CHECK (n > 0), v FLOAT)",
            "SET check_constraint_checks=0",
            "INSERT INTO c VALUES (1, -5, 16777217)",
        ],
    )
    .await;
    for strategy in ["twin", "in_place", "auto"] {
        let dry = json!({"upgrade": {"datastore_version": "11.8", "dry_run": true, "strategy": strategy}});
        let (_, answer) = api.post(&format!("/instances/{}/upgrades", old.id), &dry).await.unwrap();
        let told = answer.to_string();
        assert!(told.contains("function shop.len") && told.contains("1064"), "{strategy}: {told}");
    }
    // Nothing is held: the session that was there goes on. And asked for all the same, it ends by that name.
    patch(&api, &old.id, "11.8").await;
    let upgrade = ended(&api, &old.id, Duration::from_secs(120)).await;
    assert_eq!(upgrade["state"], "rolled_back", "{upgrade}");
    assert!(upgrade["reason"].as_str().unwrap().contains("function shop.len"), "{upgrade}");
    run(&mut app, &["DROP FUNCTION len"]).await;
    let next: i64 = app.query_first("SELECT next_not_cached_value FROM s").await.unwrap().unwrap();
    healthy(&api, &old.id).await;
    patch(&api, &old.id, "11.8").await;
    let upgrade = ended(&api, &old.id, Duration::from_secs(180)).await;
    assert_eq!((&upgrade["state"], &upgrade["strategy"]), (&json!("succeeded"), &json!("twin")), "{upgrade}");
    let mut app = conn().await;
    run(&mut app, &["INSERT INTO numbered (x) VALUES (2)"]).await;
    assert_eq!(text(&mut app, "SELECT MAX(id) FROM numbered").await, next.to_string());
    assert_eq!(
        text(&mut app, "SELECT CONCAT(n, ' ', v + 0e0, ' ', LEFT(@@version, 4)) FROM c").await,
        "-5 16777216 11.8"
    );
    delete(&api, &[&old.id]).await;
}
