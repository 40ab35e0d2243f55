//! What a tenant of MariaDB changes while a copy follows, for every kind of table: values of each type in tables without
//! a key, equal rows, old rows, periods, partitions, foreign keys, triggers, sequences, definitions, every way of
//! writing, and what a session may choose for itself. Both sides are then read by SQL of this file alone.
//!
//! A tenant has no right to read a file of the server's, and the server takes none from a client: there is no `LOAD DATA`.
//!
//! Needs what `engine_mariadb` needs.

use std::collections::BTreeMap;
use std::time::Duration;

use coffer::engines::{Engine as _, Following, Server, Settings};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::engine_servers::{ENGINE, House, Relay, connect, database, own, quiet, text, until, user};

/// A kind of table, or of change.
struct Kind {
    name: &'static str,
    /// What is there before the copy.
    before: &'static [&'static str],
    /// What is done while it follows.
    during: &'static [&'static str],
}

/// Each type with three values, and how it is indexed.
const TYPES: &[(&str, [&str; 3], &str)] = &[
    (
        "GEOMETRY",
        [
            "POINT(1,2)",
            "ST_GeomFromText('LINESTRING(0 0,1 1)')",
            "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))',4326)",
        ],
        "",
    ),
    ("POINT", ["POINT(1,2)", "POINT(1,3)", "POINT(-0e0,0)"], ""),
    ("JSON", ["'{\"a\": 1}'", "'[]'", "'{\"a\":1}'"], "(v(20))"),
    (
        "TIMESTAMP(6) NULL",
        ["'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.000002'", "'1971-01-01 00:00:00'"],
        "(v)",
    ),
    ("TIMESTAMP NULL", ["'2024-01-01 00:00:00'", "'2024-10-27 02:30:00'", "'0000-00-00 00:00:00'"], "(v)"),
    (
        "DATETIME(6)",
        ["'2024-01-01 00:00:00.000001'", "'0000-00-00 00:00:00'", "'9999-12-31 23:59:59.999999'"],
        "(v)",
    ),
    ("TIME(3)", ["'-838:59:59.999'", "'00:00:00.001'", "'-00:00:00.001'"], "(v)"),
    ("DATE", ["'2024-02-29'", "'0000-00-00'", "'9999-12-31'"], "(v)"),
    ("YEAR", ["0", "1901", "2155"], "(v)"),
    ("BIT(9)", ["b'100000001'", "b'000000001'", "0"], "(v)"),
    ("BIT(1)", ["1", "0", "1"], "(v)"),
    ("CHAR(5) COLLATE utf8mb4_bin", ["'a'", "'A '", "'ä'"], "(v)"),
    ("CHAR(255) COLLATE utf8mb4_general_ci", ["'a'", "'A'", "REPEAT('ä',255)"], "(v)"),
    ("VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci", ["'ä'", "'ae'", "'AE '"], "(v)"),
    ("VARCHAR(20) COLLATE utf8mb4_nopad_bin", ["'a'", "'a '", "'a  '"], "(v)"),
    ("VARCHAR(20) COLLATE utf8mb4_general_ci", ["'a'", "'a '", "'Á'"], "(v)"),
    ("VARCHAR(300) COLLATE utf8mb4_unicode_520_ci", ["'ß'", "'ss'", "'SS '"], "(v)"),
    ("VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci", ["'ß'", "'ss'", "'ş'"], "(v)"),
    ("CHAR(9) CHARACTER SET sjis", ["x'835c'", "'a'", "''"], "(v)"),
    ("VARCHAR(9) CHARACTER SET utf16", ["x'd83dde00'", "'a'", "'a '"], "(v)"),
    ("CHAR(9) CHARACTER SET utf8mb3", ["'ä'", "'a'", "''"], "(v)"),
    ("BINARY(5)", ["x'00'", "x'0000000001'", "'a '"], "(v)"),
    ("VARBINARY(9)", ["x'00'", "x'0000'", "''"], "(v)"),
    ("TEXT COMPRESSED", ["REPEAT('a',5000)", "'a'", "''"], ""),
    ("VARCHAR(500) COMPRESSED", ["REPEAT('b',400)", "'a'", "''"], ""),
    ("BLOB COMPRESSED", ["REPEAT(x'00ff',2000)", "x'00'", "''"], ""),
    ("TEXT COLLATE utf8mb4_general_ci", ["'a'", "'A'", "'a '"], "(v(9))"),
    ("BLOB", ["x'00'", "''", "REPEAT(x'00ff',2000)"], "(v(9))"),
    ("LONGBLOB", ["REPEAT('z',70000)", "''", "x'0a'"], "(v(9))"),
    (
        "DECIMAL(65,30)",
        [
            "12345678901234567890123456789012345.123456789012345678901234567890",
            "-0.000000000000000000000000000001",
            "0",
        ],
        "(v)",
    ),
    ("DECIMAL(5,0) ZEROFILL", ["1", "99999", "0"], "(v)"),
    ("ENUM('', 'b', 'B')", ["''", "'b'", "'no such'"], "(v)"),
    ("SET('a', 'b', 'c')", ["''", "'a,c'", "'b'"], "(v)"),
    ("INET6", ["'::1'", "'::'", "'ff::1.2.3.4'"], "(v)"),
    ("INET4", ["'1.2.3.4'", "'0.0.0.0'", "'255.255.255.255'"], "(v)"),
    (
        "UUID",
        [
            "'00112233-4455-6677-8899-aabbccddeeff'",
            "'ffffffff-ffff-1fff-bfff-ffffffffffff'",
            "'00000000-0000-0000-0000-000000000000'",
        ],
        "(v)",
    ),
    ("FLOAT", ["16777217", "0.1234567", "-0e0"], "(v)"),
    ("DOUBLE", ["0.1", "-0e0", "5e-324"], "(v)"),
    ("FLOAT(20,3)", ["0.1234567", "1/7", "99999"], "(v)"),
    ("DOUBLE(60,29)", ["1/7", "0.1", "1e30/7"], "(v)"),
    ("BIGINT UNSIGNED", ["18446744073709551615", "0", "9223372036854775808"], "(v)"),
    ("MEDIUMINT", ["-8388608", "8388607", "0"], "(v)"),
    ("TINYINT ZEROFILL", ["255", "0", "7"], "(v)"),
];

/// Tables whose changes are applied side by side.
const TOGETHER: &[Kind] = &[
    Kind {
        name: "collations among equal rows",
        before: &[
            "CREATE TABLE eq_words (n INT, a VARCHAR(20) COLLATE utf8mb4_general_ci, b CHAR(6) CHARACTER SET \
              latin1 COLLATE latin1_german2_ci, c TEXT COLLATE utf8mb4_nopad_bin, KEY (a), KEY (b))",
            "INSERT INTO eq_words VALUES (1,'a','ä','x'),(2,'A','ae','x '),(3,'a \
              ','Ä','X'),(4,'á','AE','x'),(1,'a','ä','x'),(1,'A','ä','x')",
        ],
        during: &[
            "UPDATE eq_words SET n = 10 WHERE BINARY a = 'A' LIMIT 1",
            "UPDATE eq_words SET b = 'AE' WHERE n = 3",
            "DELETE FROM eq_words WHERE n = 1 LIMIT 1",
            "DELETE FROM eq_words WHERE a = 'a' AND BINARY a <> 'a' LIMIT 1",
            "UPDATE eq_words SET c = 'x ' WHERE n = 1 LIMIT 1",
        ],
    },
    Kind {
        name: "unique nullable only",
        before: &[
            "CREATE TABLE maybe (u INT NULL, v VARCHAR(9), UNIQUE (u))",
            "INSERT INTO maybe VALUES (NULL,'a'),(NULL,'a'),(NULL,'b'),(1,'a'),(2,NULL)",
            "CREATE TABLE prefixes (t TEXT, b BLOB, KEY (t(3)), KEY (b(2)))",
            "INSERT INTO prefixes VALUES ('aaaa','x'),('aaab','x'),('aaa','x'),(NULL,'y')",
            "CREATE TABLE folded (a VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, b FLOAT, UNIQUE (b))",
            "INSERT INTO folded VALUES ('a ',0.1),('B',0.3)",
            "CREATE TABLE placed (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL KEY (g))",
            "INSERT INTO placed VALUES (1, POINT(1,2)), (2, POINT(1,2))",
        ],
        during: &[
            "UPDATE maybe SET v = 'c' WHERE u IS NULL AND v = 'a' LIMIT 1",
            "DELETE FROM maybe WHERE u IS NULL AND v = 'a' LIMIT 1",
            "UPDATE maybe SET u = NULL WHERE u = 1",
            "UPDATE maybe SET u = 1 WHERE v = 'b'",
            "INSERT INTO maybe VALUES (NULL, NULL), (NULL, NULL)",
            "DELETE FROM maybe WHERE u IS NULL AND v IS NULL LIMIT 1",
            "REPLACE INTO maybe VALUES (2, 'r'), (NULL, 'r')",
            "INSERT INTO maybe VALUES (2, 's') ON DUPLICATE KEY UPDATE v = 't'",
            "INSERT IGNORE INTO maybe VALUES (2, 'x'), (7, 'y')",
            "UPDATE prefixes SET b = 'q' WHERE t = 'aaab'",
            "DELETE FROM prefixes WHERE t IS NULL",
            "DELETE FROM prefixes WHERE t = 'aaa'",
            "UPDATE folded SET a = 'A' WHERE a = 'a'",
            "UPDATE folded SET a = 'b' WHERE a = 'b'",
            "DELETE FROM folded WHERE b < 0.2",
            "UPDATE placed SET g = POINT(3,4) WHERE id = 1",
            "DELETE FROM placed WHERE id = 2",
        ],
    },
    Kind {
        name: "unique over two with nulls",
        before: &[
            "CREATE TABLE two_maybe (a INT NULL, b INT NULL, v INT, UNIQUE (a, b))",
            "INSERT INTO two_maybe VALUES (1,NULL,1),(1,NULL,2),(1,NULL,1),(1,1,1)",
        ],
        during: &[
            "UPDATE two_maybe SET v = 9 WHERE v = 2",
            "DELETE FROM two_maybe WHERE a = 1 AND b IS NULL AND v = 1 LIMIT 1",
            "UPDATE two_maybe SET b = 2 WHERE v = 1 AND b IS NULL",
        ],
    },
    Kind {
        name: "long unique",
        before: &[
            "CREATE TABLE long_one (b BLOB UNIQUE, n INT)",
            "INSERT INTO long_one VALUES (REPEAT('a',3000),1),(REPEAT('b',3000),2),(NULL,3),(NULL,3)",
            "CREATE TABLE long_not_null (b BLOB NOT NULL UNIQUE, c VARCHAR(4000) NOT NULL, n INT, UNIQUE (c, n))",
            "INSERT INTO long_not_null VALUES ('a','x',1),('b','y',2)",
            "CREATE TABLE long_keyed (id INT PRIMARY KEY, b TEXT UNIQUE COLLATE utf8mb4_general_ci)",
            "INSERT INTO long_keyed VALUES (1,'a'),(2,'b'),(3,NULL)",
        ],
        during: &[
            "UPDATE long_one SET n = 4 WHERE n = 1",
            "UPDATE long_one SET b = REPEAT('c',3000) WHERE n = 2",
            "DELETE FROM long_one WHERE n = 3 LIMIT 1",
            "REPLACE INTO long_one VALUES (REPEAT('c',3000),9)",
            "INSERT INTO long_one VALUES (REPEAT('c',3000),9) ON DUPLICATE KEY UPDATE n = 10",
            "UPDATE long_not_null SET n = 4 WHERE n = 1",
            "UPDATE long_not_null SET b = 'c' WHERE n = 2",
            "DELETE FROM long_not_null WHERE n = 4",
            "INSERT INTO long_not_null VALUES ('d','z',5)",
            "UPDATE long_not_null SET c = 'zz' WHERE b = 'd'",
            "UPDATE long_keyed SET b = 'A' WHERE id = 1",
            "UPDATE long_keyed SET b = 'q' WHERE id = 3",
            "DELETE FROM long_keyed WHERE id = 2",
            "INSERT INTO long_keyed VALUES (5,'B')",
            "REPLACE INTO long_keyed VALUES (6,'b')",
        ],
    },
    Kind {
        name: "generated in a keyless table",
        before: &[
            "CREATE TABLE made (a INT, b VARCHAR(9), v INT AS (a * 2) VIRTUAL, p VARCHAR(20) AS (CONCAT(b, '-', \
              a)) PERSISTENT, h INT INVISIBLE DEFAULT 3, f DOUBLE AS (a / 7) STORED)",
            "INSERT INTO made (a, b) VALUES (1,'x'),(1,'x'),(2,NULL),(NULL,'y')",
            "CREATE TABLE made_keyed (a INT, v INT AS (a * 2) VIRTUAL, w VARCHAR(9) AS (CHAR(65 + a)) VIRTUAL, t \
              INT INVISIBLE, KEY (v), KEY (w))",
            "INSERT INTO made_keyed (a) VALUES (1),(1),(2),(NULL)",
            "CREATE TABLE made_unique (a INT, v INT AS (a * 2) VIRTUAL UNIQUE, d DATE, y INT AS (YEAR(d)) STORED)",
            "INSERT INTO made_unique (a, d) VALUES (1,'2020-01-01'),(2,NULL),(NULL,NULL),(NULL,NULL)",
            "CREATE TABLE made_first (v INT AS (a + 1) VIRTUAL, a INT, w INT AS (a + 2) VIRTUAL, b BLOB, x \
              VARCHAR(20) AS (LEFT(b, 5)) VIRTUAL)",
            "INSERT INTO made_first (a, b) VALUES (1,'abcdefgh'),(1,'abcdefgh'),(2,NULL)",
        ],
        during: &[
            "UPDATE made SET a = 5 WHERE a = 1 LIMIT 1",
            "DELETE FROM made WHERE v = 2 LIMIT 1",
            "UPDATE made SET h = NULL WHERE b = 'y'",
            "INSERT INTO made (a, b, h) VALUES (9, 'z', 4), (9, 'z', 4)",
            "DELETE FROM made WHERE h = 4 LIMIT 1",
            "UPDATE made_keyed SET a = 3 WHERE v = 2 LIMIT 1",
            "UPDATE made_keyed SET t = 1 WHERE a IS NULL",
            "DELETE FROM made_keyed WHERE a = 1 LIMIT 1",
            "INSERT INTO made_keyed (a, t) VALUES (2, 5)",
            "UPDATE made_keyed SET a = a + 1",
            "UPDATE made_unique SET a = 3 WHERE a = 1",
            "DELETE FROM made_unique WHERE a IS NULL LIMIT 1",
            "UPDATE made_unique SET d = '2021-02-03' WHERE a = 2",
            "UPDATE made_first SET a = 4 WHERE w = 3 LIMIT 1",
            "UPDATE made_first SET b = 'zzzzzzz' WHERE a = 1",
            "DELETE FROM made_first WHERE b IS NULL",
        ],
    },
    Kind {
        name: "versioned",
        before: &[
            "CREATE TABLE kept_open (n INT, v VARCHAR(9)) WITH SYSTEM VERSIONING",
            "INSERT INTO kept_open VALUES (1,'a'),(1,'a'),(2,'b'),(NULL,NULL)",
            "UPDATE kept_open SET v = 'aa' WHERE n = 1 LIMIT 1",
            "CREATE TABLE kept_key (id INT PRIMARY KEY, v VARCHAR(9), u INT UNIQUE) WITH SYSTEM VERSIONING",
            "INSERT INTO kept_key VALUES (1,'a',1),(2,'b',NULL),(3,'c',3)",
            "UPDATE kept_key SET v = 'aa' WHERE id = 1",
            "CREATE TABLE kept_named (n INT, w INT WITHOUT SYSTEM VERSIONING, s TIMESTAMP(6) GENERATED ALWAYS AS \
              ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s, e)) WITH \
              SYSTEM VERSIONING",
            "INSERT INTO kept_named (n, w) VALUES (1,1),(1,1),(2,2)",
            "CREATE TABLE later_kept (n INT PRIMARY KEY, v INT)",
            "INSERT INTO later_kept VALUES (1,1),(2,2)",
            "CREATE TABLE kept_column (n INT PRIMARY KEY, x INT, y INT WITH SYSTEM VERSIONING)",
            "INSERT INTO kept_column VALUES (1,1,1)",
        ],
        during: &[
            "UPDATE kept_open SET v = 'c' WHERE n = 1 LIMIT 1",
            "UPDATE kept_open SET v = 'd' WHERE n = 1",
            "DELETE FROM kept_open WHERE n = 1 LIMIT 1",
            "INSERT INTO kept_open VALUES (3,'x'),(3,'x')",
            "DELETE FROM kept_open WHERE n = 3 LIMIT 1",
            "DELETE FROM kept_open WHERE n IS NULL",
            "UPDATE kept_key SET v = 'x', u = 7 WHERE id = 2",
            "UPDATE kept_key SET id = 10 WHERE id = 3",
            "DELETE FROM kept_key WHERE id = 1",
            "REPLACE INTO kept_key VALUES (2, 'r', 7)",
            "REPLACE INTO kept_key VALUES (9, 'r', 7)",
            "INSERT INTO kept_key VALUES (9, 's', 8) ON DUPLICATE KEY UPDATE v = 'dup'",
            "INSERT INTO kept_key VALUES (1, 'again', NULL)",
            "BEGIN",
            "UPDATE kept_key SET v = 't1' WHERE id = 1",
            "UPDATE kept_key SET v = 't2' WHERE id = 1",
            "DELETE FROM kept_key WHERE id = 1",
            "INSERT INTO kept_key VALUES (1, 't3', NULL)",
            "COMMIT",
            "UPDATE kept_named SET w = 5 WHERE n = 1 LIMIT 1",
            "UPDATE kept_named SET n = 6 WHERE n = 1 LIMIT 1",
            "DELETE FROM kept_named WHERE n = 2",
            "ALTER TABLE later_kept ADD SYSTEM VERSIONING",
            "UPDATE later_kept SET v = 9 WHERE n = 1",
            "SET timestamp = 1600000000.123456",
            "INSERT INTO kept_key VALUES (20, 'past', NULL)",
            "SET timestamp = 1600000001.5",
            "UPDATE kept_key SET v = 'past 2' WHERE id = 20",
            "SET timestamp = DEFAULT",
            "UPDATE kept_key SET v = 'now' WHERE id = 20",
            "SET system_versioning_insert_history = 1",
            "INSERT INTO kept_key (id, v, row_start, row_end) VALUES (30, 'told', '2001-01-01 00:00:00.5', \
              '2002-01-01 00:00:00.25')",
            "INSERT INTO kept_key (id, v, row_start) VALUES (31, 'told', '2001-01-01 00:00:00.5')",
            "SET system_versioning_insert_history = DEFAULT",
            "DELETE HISTORY FROM kept_key BEFORE SYSTEM_TIME '2010-01-01 00:00:00'",
            "UPDATE kept_column SET x = 2",
            "UPDATE kept_column SET y = 2",
            "DELETE FROM kept_column",
            "SET system_versioning_alter_history = KEEP",
            "ALTER TABLE kept_open ADD COLUMN later INT",
            "UPDATE kept_open SET later = 3",
            "SET system_versioning_alter_history = DEFAULT",
            "CREATE TABLE kept_since (n INT)",
            "INSERT INTO kept_since VALUES (1)",
            "ALTER TABLE kept_since ADD COLUMN s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, ADD COLUMN e \
              TIMESTAMP(6) GENERATED ALWAYS AS ROW END, ADD PERIOD FOR SYSTEM_TIME (s, e), ADD SYSTEM VERSIONING",
            "UPDATE kept_since SET n = 2",
            "CREATE TABLE kept_made (n INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED \
              ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING SELECT 7 AS n",
            "UPDATE kept_made SET n = 8",
        ],
    },
    Kind {
        name: "application time",
        before: &[
            "CREATE TABLE stays_open (room INT, a DATE, b DATE, PERIOD FOR p (a, b))",
            "INSERT INTO stays_open VALUES (1,'2020-01-01','2021-01-01'),(1,'2020-01-01','2021-01-01'),(2,'2020-01-01','2022-01-01')",
            "CREATE TABLE stays_both (room INT, a DATE, b DATE, PERIOD FOR p (a, b), UNIQUE (room, p WITHOUT \
              OVERLAPS)) WITH SYSTEM VERSIONING",
            "INSERT INTO stays_both VALUES (1,'2020-01-01','2021-01-01'),(2,'2020-01-01','2022-01-01')",
        ],
        during: &[
            "UPDATE stays_open FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01' SET room = 3",
            "DELETE FROM stays_open FOR PORTION OF p FROM '2020-06-01' TO '2020-07-01'",
            "DELETE FROM stays_open WHERE room = 1 LIMIT 1",
            "UPDATE stays_both FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01' SET room = 3 WHERE room = 1",
            "DELETE FROM stays_both FOR PORTION OF p FROM '2020-06-01' TO '2020-07-01'",
        ],
    },
    Kind {
        name: "partitions",
        before: &[
            "CREATE TABLE parted_open (n INT, v VARCHAR(9)) PARTITION BY RANGE (n) SUBPARTITION BY HASH (n) \
              SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)",
            "INSERT INTO parted_open VALUES (1,'a'),(1,'a'),(20,'b'),(NULL,'c')",
            "CREATE TABLE parted_key (n INT, v VARCHAR(9)) PARTITION BY KEY (v) PARTITIONS 3",
            "INSERT INTO parted_key VALUES (1,'a'),(1,'A'),(20,'b'),(NULL,NULL)",
            "CREATE TABLE parted_list (n INT, v VARCHAR(9), KEY (v)) PARTITION BY LIST COLUMNS (v) (PARTITION a \
              VALUES IN ('a','b'), PARTITION d DEFAULT)",
            "INSERT INTO parted_list VALUES (1,'a'),(1,'a'),(2,'z')",
            "CREATE TABLE parted_plain (n INT, v VARCHAR(9))",
            "INSERT INTO parted_plain VALUES (1,'q'),(1,'q')",
        ],
        during: &[
            "UPDATE parted_open SET n = 30 WHERE n = 1 LIMIT 1",
            "DELETE FROM parted_open WHERE n = 1 LIMIT 1",
            "UPDATE parted_open SET v = 'z' WHERE n IS NULL",
            "UPDATE parted_key SET v = 'c' WHERE v = 'a' LIMIT 1",
            "UPDATE parted_key SET n = 2 WHERE v = 'c'",
            "DELETE FROM parted_key WHERE v IS NULL",
            "UPDATE parted_list SET v = 'y' WHERE v = 'a' LIMIT 1",
            "DELETE FROM parted_list WHERE n = 2",
            "ALTER TABLE parted_open TRUNCATE PARTITION p1",
            "INSERT INTO parted_open VALUES (40,'n'),(40,'n')",
            "ALTER TABLE parted_open REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (35), PARTITION \
              p2 VALUES LESS THAN MAXVALUE)",
            "DELETE FROM parted_open WHERE n = 40 LIMIT 1",
            "ALTER TABLE parted_open DROP PARTITION p0",
            "ALTER TABLE parted_list CONVERT PARTITION a TO TABLE parted_off",
            "UPDATE parted_off SET n = 3",
            "ALTER TABLE parted_key EXCHANGE PARTITION p0 WITH TABLE parted_plain",
            "INSERT INTO parted_plain VALUES (8,'r')",
        ],
    },
    Kind {
        name: "foreign keys",
        before: &[
            "CREATE TABLE parents (id INT PRIMARY KEY, k INT UNIQUE, v INT)",
            "CREATE TABLE cascades (n INT, p INT, FOREIGN KEY (p) REFERENCES parents (id) ON DELETE CASCADE ON \
              UPDATE CASCADE)",
            "CREATE TABLE empties (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parents (k) ON DELETE SET \
              NULL ON UPDATE SET NULL)",
            "CREATE TABLE below (n INT, p INT, v INT AS (p + 1) VIRTUAL, FOREIGN KEY (p) REFERENCES empties (id) \
              ON DELETE CASCADE ON UPDATE CASCADE)",
            "CREATE TABLE mixed_parents (id INT PRIMARY KEY, v INT AS (id * 2) VIRTUAL, KEY (v))",
            "CREATE TABLE mixed (n INT, p INT, w INT AS (p * 3) VIRTUAL, KEY (w), FOREIGN KEY (p) REFERENCES \
              mixed_parents (id) ON DELETE SET NULL ON UPDATE CASCADE)",
            "INSERT INTO parents SELECT seq, seq + 100, 0 FROM seq_1_to_20",
            "INSERT INTO cascades SELECT seq, 1 + seq MOD 10 FROM seq_1_to_30",
            "INSERT INTO empties SELECT seq, 101 + seq MOD 10 FROM seq_1_to_30",
            "INSERT INTO below (n, p) SELECT seq, 1 + seq MOD 10 FROM seq_1_to_30",
            "INSERT INTO mixed_parents (id) VALUES (1),(2),(3)",
            "INSERT INTO mixed (n, p) VALUES (1,1),(1,1),(2,2),(3,3)",
            "CREATE TABLE fk_kept_parents (id INT PRIMARY KEY)",
            "CREATE TABLE fk_kept (n INT, p INT, FOREIGN KEY (p) REFERENCES fk_kept_parents (id) ON DELETE CASCADE \
              ON UPDATE CASCADE)",
            "INSERT INTO fk_kept_parents VALUES (1),(2),(3)",
            "INSERT INTO fk_kept VALUES (1,1),(1,1),(2,2),(3,3)",
        ],
        during: &[
            "DELETE FROM parents WHERE id = 2",
            "UPDATE parents SET id = 50 WHERE id = 3",
            "UPDATE parents SET k = 500 WHERE id = 4",
            "UPDATE empties SET id = id + 100 WHERE id < 5",
            "DELETE FROM empties WHERE id = 7",
            "UPDATE cascades SET n = -1 WHERE p = 50 LIMIT 1",
            "SET foreign_key_checks = 0",
            "INSERT INTO cascades VALUES (99, 999)",
            "DELETE FROM parents WHERE id = 5",
            "UPDATE parents SET id = 60 WHERE id = 6",
            "SET foreign_key_checks = 1",
            "SET STATEMENT foreign_key_checks = 0 FOR INSERT INTO cascades VALUES (98, 998)",
            "SET STATEMENT foreign_key_checks = 0 FOR DELETE FROM parents WHERE id = 1",
            "UPDATE mixed_parents SET id = 10 WHERE id = 1",
            "DELETE FROM mixed_parents WHERE id = 2",
            "REPLACE INTO mixed_parents (id) VALUES (3)",
            "INSERT INTO parents VALUES (5, 105, 1) ON DUPLICATE KEY UPDATE v = 2",
            "REPLACE INTO parents VALUES (7, 107, 3)",
            "UPDATE fk_kept_parents SET id = 10 WHERE id = 1",
            "DELETE FROM fk_kept_parents WHERE id = 2",
        ],
    },
    Kind {
        name: "auto increment",
        before: &[
            "CREATE TABLE gaps (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNIQUE)",
            "INSERT INTO gaps (v) VALUES (1),(2)",
        ],
        during: &[
            "INSERT IGNORE INTO gaps (v) VALUES (1),(2),(3)",
            "BEGIN",
            "INSERT INTO gaps (v) VALUES (100)",
            "ROLLBACK",
            "INSERT INTO gaps (v) VALUES (4)",
            "SET auto_increment_increment = 5",
            "INSERT INTO gaps (v) VALUES (5),(6)",
            "SET auto_increment_increment = 1",
            "INSERT INTO gaps VALUES (1000, 7)",
            "DELETE FROM gaps WHERE id = 1000",
            "ALTER TABLE gaps AUTO_INCREMENT = 2000",
            "INSERT INTO gaps (v) VALUES (8)",
            "SET insert_id = 3000",
            "INSERT INTO gaps (v) VALUES (9)",
            "SET STATEMENT sql_mode = 'NO_AUTO_VALUE_ON_ZERO' FOR INSERT INTO gaps VALUES (0, 10)",
        ],
    },
    Kind {
        name: "sequences",
        before: &[
            "CREATE SEQUENCE drawn START WITH 5 INCREMENT BY 2 CACHE 4",
            "CREATE SEQUENCE drawn_plain NOCACHE ENGINE=Aria",
            "CREATE TABLE drawers (id INT PRIMARY KEY DEFAULT NEXTVAL(drawn), v INT)",
            "INSERT INTO drawers (v) VALUES (1),(2)",
        ],
        during: &[
            "SELECT NEXTVAL(drawn)",
            "DO NEXTVAL(drawn_plain)",
            "INSERT INTO drawers (v) VALUES (3),(4),(5)",
            "SELECT SETVAL(drawn, 101)",
            "SELECT NEXTVAL(drawn)",
            "BEGIN",
            "SELECT NEXTVAL(drawn)",
            "SELECT NEXTVAL(drawn)",
            "INSERT INTO drawers (v) VALUES (6)",
            "ROLLBACK",
            "INSERT INTO drawers (v) VALUES (7)",
            "CREATE SEQUENCE drawn_later MAXVALUE 3 CYCLE NOCACHE",
            "SELECT NEXTVAL(drawn_later) FROM seq_1_to_8",
            "ALTER SEQUENCE drawn_later MAXVALUE 30 RESTART 9",
            "SELECT NEXTVAL(drawn_later)",
            "ALTER SEQUENCE drawn_plain INCREMENT BY 7",
            "DO NEXTVAL(drawn_plain)",
            "CREATE OR REPLACE SEQUENCE drawn_again START WITH 3",
            "RENAME TABLE drawn_again TO drawn_named",
            "SELECT NEXTVAL(drawn_named)",
            "INSERT INTO drawn_named VALUES (77, 1, 9223372036854775806, 1, 1, 1000, 0, 0)",
        ],
    },
    Kind {
        name: "definitions",
        before: &[
            "CREATE TABLE shaped (n INT, v VARCHAR(9))",
            "INSERT INTO shaped VALUES (1,'a'),(1,'a'),(2,'b'),(NULL,NULL)",
            "CREATE TABLE emptied (n INT)",
            "INSERT INTO emptied VALUES (1),(2)",
            "CREATE TABLE bears (id INT, name VARCHAR(9))",
            "CREATE TABLE a_swap (n INT)",
            "CREATE TABLE b_swap (n INT)",
            "INSERT INTO a_swap VALUES (1)",
            "INSERT INTO b_swap VALUES (2)",
            "CREATE TABLE checked (n INT CHECK (n > 0), m INT, CONSTRAINT big CHECK (m > n))",
            "INSERT INTO checked VALUES (1,2),(1,2)",
        ],
        during: &[
            "TRUNCATE TABLE emptied",
            "INSERT INTO emptied VALUES (7)",
            "ALTER TABLE shaped ADD COLUMN x INT DEFAULT 7, ALGORITHM=INSTANT",
            "UPDATE shaped SET x = 8 WHERE n = 1 LIMIT 1",
            "ALTER TABLE shaped ADD COLUMN w TEXT DEFAULT 'www' FIRST, ALGORITHM=INSTANT",
            "DELETE FROM shaped WHERE n = 1 AND x = 7",
            "ALTER TABLE shaped DROP COLUMN v, ALGORITHM=INSTANT",
            "INSERT INTO shaped VALUES ('q', 5, NULL), ('q', 5, NULL)",
            "DELETE FROM shaped WHERE n = 5 LIMIT 1",
            "ALTER TABLE shaped MODIFY x BIGINT UNSIGNED FIRST",
            "UPDATE shaped SET n = 6 WHERE n IS NULL",
            "ALTER TABLE shaped ADD COLUMN now_ TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6), ADD COLUMN g INT AS (n \
              + 1) STORED",
            "ALTER TABLE shaped RENAME COLUMN n TO nn, CHANGE x xx BIGINT UNSIGNED",
            "ALTER TABLE shaped CONVERT TO CHARACTER SET latin1",
            "CREATE TABLE from_select SELECT seq AS n, RAND() AS r, UUID() AS u, NOW(6) AS t, \
              ST_PointFromText('POINT(1 2)') AS g FROM seq_1_to_5",
            "CREATE TABLE from_select_key (id INT AUTO_INCREMENT PRIMARY KEY) SELECT v, v * 2 AS w FROM said_by",
            "CREATE TABLE from_like LIKE kept_open",
            "INSERT INTO from_like SELECT * FROM kept_open",
            "RENAME TABLE a_swap TO c_swap, b_swap TO a_swap, c_swap TO b_swap",
            "INSERT INTO a_swap VALUES (3)",
            "RENAME TABLE bears TO wolves",
            "INSERT INTO wolves VALUES (1, 'w')",
            "DROP TABLE IF EXISTS no_such, b_swap",
            "SET check_constraint_checks = 0",
            "INSERT INTO checked VALUES (-1, -2), (5, 4)",
            "UPDATE checked SET n = -7 WHERE n = 1 LIMIT 1",
            "SET check_constraint_checks = 1",
            "SET STATEMENT check_constraint_checks = 0 FOR INSERT INTO checked VALUES (-9, -10)",
            "DELETE FROM checked WHERE n = -1",
            "CREATE INDEX by_n ON checked (n)",
            "OPTIMIZE TABLE eq_words",
            "ANALYZE TABLE eq_words PERSISTENT FOR ALL",
            "CREATE VIEW seen AS SELECT nn FROM shaped",
            "CREATE TABLE cc (n INT)",
            "INSERT INTO cc VALUES (-1)",
            "CREATE TABLE cc_copied (n INT CHECK (n > 0))",
            "SET check_constraint_checks = 0",
            "ALTER TABLE cc ADD CHECK (n > 0)",
            "INSERT INTO cc_copied VALUES (-1)",
            "ALTER TABLE cc_copied ADD COLUMN m INT, ALGORITHM=COPY",
            "SET check_constraint_checks = 1",
            "SET innodb_strict_mode = 0",
            "CREATE TABLE lax (n INT) ROW_FORMAT=FIXED KEY_BLOCK_SIZE=99",
            "ALTER TABLE lax ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=64",
            "INSERT INTO lax VALUES (1)",
            "SET innodb_strict_mode = 1",
            "SET explicit_defaults_for_timestamp = 0",
            "CREATE TABLE stamped (n INT)",
            "ALTER TABLE stamped ADD t TIMESTAMP",
            "SET explicit_defaults_for_timestamp = 1",
            "CREATE TABLE sworded (t TEXT, FULLTEXT (t))",
            "INSERT INTO sworded VALUES ('a word'), ('a word')",
            "DELETE FROM sworded LIMIT 1",
        ],
    },
    Kind {
        name: "ways of writing",
        before: &[
            "CREATE TABLE written (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), u INT UNIQUE)",
            "INSERT INTO written (v, u) VALUES ('a',1),('b',2),('c',3)",
            "CREATE TABLE written_open (n INT, v VARCHAR(20))",
            "CREATE TABLE big (n INT, v VARCHAR(40))",
        ],
        during: &[
            "REPLACE INTO written VALUES (1, 'r', 1), (2, 's', 3), (NULL, 't', 9)",
            "INSERT INTO written (v, u) VALUES ('d', 9) ON DUPLICATE KEY UPDATE v = CONCAT(v, '!'), u = 10",
            "INSERT IGNORE INTO written (v, u) VALUES ('e', 10), ('f', 11)",
            "BEGIN",
            "INSERT INTO written_open VALUES (1, 'in')",
            "SAVEPOINT one",
            "INSERT INTO written_open VALUES (2, 'out')",
            "SAVEPOINT two",
            "INSERT INTO written_open VALUES (3, 'out')",
            "ROLLBACK TO one",
            "INSERT INTO written_open VALUES (4, 'in')",
            "COMMIT",
            "BEGIN",
            "CREATE TEMPORARY TABLE fleeting (n INT) SELECT seq AS n FROM seq_1_to_10",
            "INSERT INTO written_open SELECT n, 'fleeting' FROM fleeting",
            "UPDATE fleeting SET n = 0",
            "DROP TEMPORARY TABLE fleeting",
            "COMMIT",
            "CREATE TEMPORARY TABLE written_open (n INT)",
            "INSERT INTO written_open VALUES (12345)",
            "DROP TEMPORARY TABLE written_open",
            "XA START 'one'",
            "INSERT INTO written_open VALUES (10, 'xa in')",
            "XA END 'one'",
            "XA PREPARE 'one'",
            "XA COMMIT 'one'",
            "XA START 'two', 'b', 7",
            "INSERT INTO written_open VALUES (11, 'xa out')",
            "XA END 'two', 'b', 7",
            "XA PREPARE 'two', 'b', 7",
            "XA ROLLBACK 'two', 'b', 7",
            "XA START 'three'",
            "INSERT INTO written_open VALUES (12, 'xa one phase')",
            "UPDATE written SET v = 'xa' WHERE id = 1",
            "XA END 'three'",
            "XA COMMIT 'three' ONE PHASE",
            "INSERT INTO big SELECT seq, REPEAT('x', seq MOD 40) FROM seq_1_to_100000",
            "INSERT INTO written_open VALUES (13, 'a'), (13, 'a'), (13, 'a')",
            "INSERT INTO written_open VALUES (14, 'b') RETURNING n",
            "DELETE FROM written_open WHERE n = 13 LIMIT 1",
            "UPDATE written_open SET v = 'c' WHERE n = 13 ORDER BY v LIMIT 1",
            "UPDATE written, written_open SET written.v = 'm', written_open.v = 'm' WHERE written.id = 2 AND \
              written_open.n = 14",
            "DELETE written, written_open FROM written JOIN written_open ON written_open.n = 4 WHERE written.id = 3",
            "INSERT INTO written_open SELECT * FROM written_open",
            "SET sql_mode = '', time_zone = '-11:30', character_set_client = latin1",
            "INSERT INTO written_open VALUES ('x', REPEAT('long ', 10)), (99999999999, x'e4')",
            "SET sql_mode = DEFAULT, time_zone = DEFAULT, NAMES utf8mb4",
            "LOCK TABLES written_open WRITE",
            "DELETE FROM written_open WHERE n = 12 LIMIT 1",
            "UNLOCK TABLES",
            "SET skip_replication = 1",
            "INSERT INTO written_open VALUES (15, 'not skipped')",
            "SET skip_replication = 0",
        ],
    },
    Kind {
        name: "triggers",
        before: &[
            "CREATE TABLE said_by (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
            "CREATE TABLE said_to (n INT, what VARCHAR(20))",
            "CREATE TRIGGER said_i AFTER INSERT ON said_by FOR EACH ROW INSERT INTO said_to VALUES (NEW.id, 'i')",
            "CREATE TRIGGER said_u AFTER UPDATE ON said_by FOR EACH ROW INSERT INTO said_to VALUES (NEW.id, 'u')",
            "CREATE TRIGGER said_d AFTER DELETE ON said_by FOR EACH ROW INSERT INTO said_to VALUES (OLD.id, 'd')",
            "CREATE TRIGGER said_b BEFORE INSERT ON said_by FOR EACH ROW SET NEW.v = NEW.v * 2",
            "INSERT INTO said_by (v) VALUES (1), (2), (3)",
        ],
        during: &[
            "INSERT INTO said_by (v) VALUES (10), (11)",
            "UPDATE said_by SET v = v + 1 WHERE id <= 2",
            "DELETE FROM said_by WHERE id = 2",
            "REPLACE INTO said_by VALUES (1, 50)",
            "INSERT INTO said_by VALUES (1, 60) ON DUPLICATE KEY UPDATE v = 61",
            "CREATE TRIGGER said_later AFTER INSERT ON said_to FOR EACH ROW SET @x = 1",
            "INSERT INTO said_by (v) VALUES (12)",
        ],
    },
];

/// What must be applied one after the other: without transactions, or with partitions that old rows are moved into.
const ONE_BY_ONE: &[Kind] = &[
    Kind {
        name: "versioned, in partitions and without transactions",
        before: &[
            "CREATE TABLE kept_parts (n INT, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION \
              old_ones HISTORY, PARTITION now_ones CURRENT)",
            "INSERT INTO kept_parts VALUES (1,1),(2,2),(2,2)",
            "CREATE TABLE kept_limit (n INT, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 3 \
              PARTITIONS 3",
            "INSERT INTO kept_limit VALUES (1,1),(2,2),(2,2)",
            "CREATE TABLE kept_aria (n INT PRIMARY KEY, v INT) ENGINE=Aria WITH SYSTEM VERSIONING",
            "INSERT INTO kept_aria VALUES (1,1),(2,2)",
        ],
        during: &[
            "UPDATE kept_parts SET v = 7 WHERE n = 2 LIMIT 1",
            "DELETE FROM kept_parts WHERE n = 2 LIMIT 1",
            "UPDATE kept_limit SET v = 1 + v",
            "UPDATE kept_limit SET v = 1 + v",
            "UPDATE kept_limit SET v = 1 + v LIMIT 2",
            "DELETE FROM kept_limit WHERE n = 2 LIMIT 1",
            "UPDATE kept_aria SET v = 1 + v",
            "DELETE FROM kept_aria WHERE n = 2",
            "DELETE HISTORY FROM kept_aria",
        ],
    },
    Kind {
        name: "partitions that make themselves",
        before: &[
            "CREATE TABLE kept_auto (n INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME \
              LIMIT 2 AUTO PARTITIONS 2",
            "INSERT INTO kept_auto VALUES (1,1),(2,2)",
        ],
        during: &[
            "UPDATE kept_auto SET v = 1 + v",
            "UPDATE kept_auto SET v = 1 + v",
            "UPDATE kept_auto SET v = 1 + v",
            "UPDATE kept_auto SET v = 1 + v",
        ],
    },
    Kind {
        name: "triggers that write into a table without transactions",
        before: &[
            "CREATE TABLE told_by (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
            "CREATE TABLE told_to (n INT, what VARCHAR(20))",
            "CREATE TABLE told_plain (id INT PRIMARY KEY AUTO_INCREMENT, n INT, what VARCHAR(20)) ENGINE=MyISAM",
            "CREATE TRIGGER told_i AFTER INSERT ON told_by FOR EACH ROW INSERT INTO told_to VALUES (NEW.id, 'i')",
            "CREATE TRIGGER told_u AFTER UPDATE ON told_by FOR EACH ROW INSERT INTO told_to VALUES (NEW.id, 'u')",
            "CREATE TRIGGER told_d AFTER DELETE ON told_by FOR EACH ROW INSERT INTO told_plain (n, what) VALUES \
              (OLD.id, 'd')",
            "CREATE TRIGGER told_b BEFORE INSERT ON told_by FOR EACH ROW SET NEW.v = NEW.v * 2",
            "INSERT INTO told_by (v) VALUES (1),(2),(3)",
        ],
        during: &[
            "INSERT INTO told_by (v) VALUES (10),(11)",
            "UPDATE told_by SET v = v + 1 WHERE id <= 2",
            "DELETE FROM told_by WHERE id = 2",
            "REPLACE INTO told_by VALUES (1, 50)",
            "INSERT INTO told_by VALUES (1, 60) ON DUPLICATE KEY UPDATE v = 61",
            "CREATE TRIGGER told_later AFTER INSERT ON told_to FOR EACH ROW SET @x = 1",
            "INSERT INTO told_by (v) VALUES (12)",
        ],
    },
    Kind {
        name: "definitions of tables without transactions",
        before: &[
            "CREATE TABLE emptied_plain (n INT PRIMARY KEY AUTO_INCREMENT) ENGINE=MyISAM",
            "INSERT INTO emptied_plain VALUES (1),(2)",
        ],
        during: &[
            "TRUNCATE TABLE emptied_plain",
            "INSERT INTO emptied_plain VALUES (NULL)",
            "CREATE OR REPLACE TABLE from_select ENGINE=MyISAM SELECT 1 AS n UNION ALL SELECT 1",
        ],
    },
    Kind {
        name: "both kinds in one transaction",
        before: &[
            "CREATE TABLE mixed_in (n INT, v VARCHAR(20))",
            "CREATE TABLE mine (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
            "CREATE TABLE aria (id INT PRIMARY KEY, v INT) ENGINE=Aria",
            "INSERT INTO mine VALUES (1,1),(2,2)",
            "INSERT INTO aria VALUES (1,1),(2,2)",
        ],
        during: &[
            "BEGIN",
            "INSERT INTO mixed_in VALUES (5, 'out')",
            "INSERT INTO mine VALUES (5, 5)",
            "ROLLBACK",
            "BEGIN",
            "INSERT INTO mixed_in VALUES (6, 'in')",
            "UPDATE mine SET v = v + 1",
            "UPDATE aria SET v = v + 1",
            "DELETE FROM aria WHERE id = 2",
            "COMMIT",
            "LOCK TABLES mine WRITE, mixed_in WRITE",
            "INSERT INTO mine VALUES (8, 8)",
            "UPDATE mixed_in SET v = 'locked'",
            "UNLOCK TABLES",
        ],
    },
];

/// How many rows there are in the end, old ones included.
const COUNTED_TOGETHER: &[(&str, u64)] = &[
    ("kind_0_0", 7),
    ("kind_36_1", 7),
    ("wide_innodb", 4),
    ("eq_words", 4),
    ("maybe", 7),
    ("two_maybe", 3),
    ("long_one", 3),
    ("long_not_null", 2),
    ("long_keyed", 3),
    ("made", 4),
    ("made_keyed", 4),
    ("made_unique", 3),
    ("made_first", 2),
    ("kept_key", 17),
    ("kept_column", 2),
    ("stays_both", 9),
    ("stays_open", 11),
    ("parents", 18),
    ("cascades", 26),
    ("below", 27),
    ("empties", 29),
    ("said_by", 5),
    ("said_to", 12),
    ("gaps", 9),
    ("drawers", 6),
    ("checked", 4),
    ("written", 4),
    ("written_open", 36),
    ("big", 100_000),
];

const COUNTED_ONE_BY_ONE: &[(&str, u64)] = &[
    ("wide_aria", 4),
    ("wide_myisam", 4),
    ("kept_parts", 4),
    ("kept_limit", 11),
    ("kept_auto", 10),
    ("kept_aria", 1),
    ("told_by", 5),
    ("told_to", 10),
    ("told_plain", 2),
    ("mixed_in", 1),
    ("mine", 4),
    ("aria", 1),
];

/// Statements before and during, for one table of each type without a key, and one with an index that is no key.
fn of_each_type() -> (Vec<String>, Vec<String>) {
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for (at, (kind, [one, two, three], index)) in TYPES.iter().enumerate() {
        let indexed = (!index.is_empty()).then(|| format!(", KEY {index}"));
        for (nth, key) in [Some(String::new()), indexed].into_iter().flatten().enumerate() {
            let t = format!("kind_{at}_{nth}");
            before.push(format!("CREATE TABLE {t} (n INT, v {kind}{key})"));
            before.push(format!(
                "INSERT INTO {t} VALUES (1, {one}), (1, {one}), (2, {two}), (2, {three}), (3, {three}), (4, NULL), \
                 (4, NULL), (NULL, NULL), (NULL, {one})"
            ));
            during.extend([
                format!("UPDATE {t} SET v = {two} WHERE n = 1 LIMIT 1"),
                format!("UPDATE {t} SET n = 5 WHERE n = 2 AND v <=> {two} LIMIT 1"),
                format!("DELETE FROM {t} WHERE n = 2 LIMIT 1"),
                format!("UPDATE {t} SET v = {three} WHERE n = 4 LIMIT 1"),
                format!("DELETE FROM {t} WHERE n = 4 AND v IS NULL LIMIT 1"),
                format!("DELETE FROM {t} WHERE n IS NULL"),
                format!("INSERT INTO {t} VALUES (6, {one}), (6, {one}), (6, NULL)"),
                format!("DELETE FROM {t} WHERE n = 6 LIMIT 1"),
                format!("UPDATE {t} SET n = 7 WHERE n = 3"),
            ]);
        }
    }
    (before, during)
}

/// The same for one table of all types with a key.
fn of_all_types(engine: &str) -> (Vec<String>, Vec<String>) {
    let t = format!("wide_{}", engine.to_lowercase());
    let columns: Vec<String> =
        TYPES.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
    let mut before =
        vec![format!("CREATE TABLE {t} (id INT PRIMARY KEY, {}) ENGINE={engine}", columns.join(", "))];
    for id in 0..3 {
        let values: Vec<&str> = TYPES.iter().map(|(_, values, _)| values[id]).collect();
        before.push(format!("INSERT INTO {t} VALUES ({id}, {})", values.join(", ")));
    }
    before.push(format!("INSERT INTO {t} (id) VALUES (3), (4)"));
    let mut during =
        vec![format!("UPDATE {t} SET id = 9 WHERE id = 1"), format!("DELETE FROM {t} WHERE id = 3")];
    let sets = TYPES.iter().enumerate();
    during.extend(
        sets.map(|(at, (_, [_, two, _], _))| format!("UPDATE {t} SET c{at} = {two} WHERE id IN (0, 4)")),
    );
    (before, during)
}

/// A server of 10.11 with a tenant `app` that owns `shop`.
async fn tenant(house: &House) -> (Server, Conn) {
    let source = house.started("10.11.0", false).await;
    ENGINE.create_content(&source, &[database("shop")], &[user("app", "pw", &["shop"])]).await.unwrap();
    let mut app = connect(&source, "app", "pw").await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    (source, app)
}

async fn run<S: AsRef<str>>(conn: &mut Conn, what: &str, statements: &[S]) {
    for sql in statements {
        let sql = sql.as_ref();
        if let Err(error) = conn.query_drop(sql).await {
            panic!("{what}: {sql}: {error}");
        }
    }
}

async fn run_loosely(conn: &mut Conn, statements: &[String]) {
    run(conn, "each type", &["SET sql_mode = ''"]).await;
    run(conn, "each type", statements).await;
    run(conn, "each type", &["SET sql_mode = DEFAULT"]).await;
}

/// Every row of every table of `shop`, old ones included, each value by its bytes.
async fn everything(server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut conn = own(server).await;
    conn.query_drop("SET time_zone = '+00:00', sql_mode = ''").await.unwrap();
    let tables: Vec<(String, String)> = conn
        .query(
            "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' \
             AND TABLE_TYPE <> 'VIEW'",
        )
        .await
        .unwrap();
    let mut all = BTreeMap::new();
    for (table, kind) in tables {
        let mut columns: Vec<(String, String)> = conn
            .exec(
                "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' \
                 AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
                (table.as_str(),),
            )
            .await
            .unwrap();
        let is_versioned = kind == "SYSTEM VERSIONED";
        if is_versioned && !columns.iter().any(|(column, _)| column == "e") {
            columns.extend(["row_start", "row_end"].map(|name| (name.to_owned(), "timestamp".to_owned())));
        }
        let values: Vec<String> = columns
            .iter()
            .map(|(column, kind)| {
                let value = match kind.as_str() {
                    // As a double, which every float is; and its sign, which zero has, too.
                    "float" | "double" => format!("CONCAT(`{column}` + 0e0, '/', ATAN2(`{column}`, -1))"),
                    // A row of now ends with time itself, which is later in newer versions.
                    "timestamp" => format!(
                        "IF(CAST(`{column}` AS CHAR) IN ('2038-01-19 03:14:07.999999', \
                         '2106-02-07 06:28:15.999999'), 'the end', `{column}`)"
                    ),
                    _ => format!("IF(LENGTH(`{column}`) > 200, SHA2(`{column}`, 256), HEX(`{column}`))"),
                };
                format!("IFNULL({value}, 'NULL')")
            })
            .collect();
        let versions = if is_versioned { " FOR SYSTEM_TIME ALL" } else { "" };
        let select = format!("SELECT CONCAT_WS('|', {}) FROM shop.`{table}`{versions}", values.join(", "));
        let mut rows: Vec<String> = conn.query(select).await.unwrap();
        rows.sort_unstable();
        all.insert(table, rows);
    }
    conn.disconnect().await.unwrap();
    all
}

/// The names of the tables whose rows are not the same.
fn different<'a>(
    there: &'a BTreeMap<String, Vec<String>>,
    here: &'a BTreeMap<String, Vec<String>>,
) -> Vec<&'a str> {
    let tables = there.keys().chain(here.keys().filter(|table| !there.contains_key(*table)));
    tables.filter(|table| there.get(*table) != here.get(*table)).map(String::as_str).collect()
}

/// Makes, copies, follows, writes meanwhile, fences, compares, cuts; and then looks for itself.
async fn carried(
    kinds: &[Kind],
    (before, during): (Vec<String>, Vec<String>),
    counted: &[(&str, u64)],
    mode: &str,
) {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run_loosely(&mut app, &before).await;
    for kind in kinds {
        run(&mut app, kind.name, kind.before).await;
    }
    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), []);
    let mut candidate = house.server("11.8.0", true);
    candidate.settings.defaults_of = "10.11.0".to_owned();
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
        .await;
    assert_eq!(text(&mut own(&candidate).await, "SELECT @@slave_parallel_mode").await, mode);

    let has_all = async |what: &str| {
        let position = ENGINE.position(&source).await.unwrap();
        match ENGINE.reached(&candidate, &position, Duration::from_secs(60)).await {
            Ok(true) => {}
            other => panic!("{what}: {other:?}"),
        }
    };
    run_loosely(&mut app, &during).await;
    for kind in kinds {
        run(&mut app, kind.name, kind.during).await;
    }
    app.disconnect().await.unwrap();
    has_all("what was written meanwhile").await;

    let with = |server: &Server, read_only| Server {
        settings: Settings { read_only, events: !read_only, ..server.settings.clone() },
        ..server.clone()
    };
    let fenced = with(&source, true);
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    has_all("the fence").await;
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert_eq!(compared.differing, Vec::<String>::new());
    assert_eq!(ENGINE.inventory(&candidate).await.unwrap(), ENGINE.inventory(&source).await.unwrap());
    let cut = with(&candidate, false);
    ENGINE.carry_the_rest(&fenced, &cut).await.unwrap();
    ENGINE.cut(&cut, Some(&fenced)).await.unwrap();

    let (there, here) = (everything(&source).await, everything(&cut).await);
    let names = different(&there, &here);
    let told: Vec<String> =
        names.iter().map(|name| format!("{name}: {:?} {:?}", there.get(*name), here.get(*name))).collect();
    assert!(names.is_empty(), "{names:?}\n{}", told.join("\n"));
    for (table, rows) in counted {
        assert_eq!(here.get(*table).map(|rows| rows.len() as u64), Some(*rows), "{table}");
    }
    let mut ours = own(&cut).await;
    for table in here.keys() {
        let said: Vec<(String, String, String, String)> =
            ours.query(format!("CHECK TABLE shop.`{table}`")).await.unwrap();
        assert!(said.iter().all(|row| row.2 != "error" && row.2 != "warning"), "{said:?}");
    }
    assert_eq!(text(&mut ours, "SELECT @@GLOBAL.innodb_strict_mode").await, "1");
    // The look is not blind: one row of two equal ones makes a difference.
    let table = counted[0].0;
    ours.query_drop(format!("DELETE FROM shop.`{table}` LIMIT 1")).await.unwrap();
    assert_eq!(different(&there, &everything(&cut).await), [table]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_meanwhile_is_right_in_every_kind_of_table() {
    let (mut before, mut during) = of_each_type();
    let (wide, wide_during) = of_all_types("InnoDB");
    before.extend(wide);
    during.extend(wide_during);
    carried(TOGETHER, (before, during), COUNTED_TOGETHER, "optimistic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_applied_one_by_one() {
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for engine in ["MyISAM", "Aria"] {
        let (wide, wide_during) = of_all_types(engine);
        before.extend(wide);
        during.extend(wide_during);
    }
    carried(ONE_BY_ONE, (before, during), COUNTED_ONE_BY_ONE, "minimal").await;
}

/// What no copy that follows can carry is named beforehand, and goes once its remedy is followed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_follow_is_named_beforehand() {
    let house = House::new();
    let (source, mut app) = tenant(&house).await;
    run(
        &mut app,
        "refused",
        &[
            "CREATE TABLE parents (id INT PRIMARY KEY)",
            "CREATE TABLE kept (p INT, CONSTRAINT up FOREIGN KEY (p) REFERENCES parents (id) ON DELETE CASCADE) \
             WITH SYSTEM VERSIONING",
            "CREATE TABLE kept_fine (p INT, FOREIGN KEY (p) REFERENCES parents (id)) WITH SYSTEM VERSIONING",
            "CREATE TABLE places (g POINT NOT NULL, n INT, SPATIAL KEY (g), KEY (n))",
            "CREATE TABLE places_fine (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL KEY (g))",
        ],
    )
    .await;
    let found = ENGINE.replica_blockers(&source).await.unwrap();
    let objects: Vec<&str> = found.iter().map(|blocker| blocker.object.as_str()).collect();
    assert_eq!(objects, ["shop.kept", "shop.places"], "{found:?}");
    assert!(found[0].why.contains("foreign key up") && found[1].why.contains("spatial"), "{found:?}");
    run(
        &mut app,
        "the remedies",
        &[
            "ALTER TABLE kept DROP FOREIGN KEY up",
            "ALTER TABLE kept ADD FOREIGN KEY (p) REFERENCES parents (id) ON DELETE RESTRICT",
            "ALTER TABLE places ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY",
        ],
    )
    .await;
    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), []);
}

/// A session of a tenant's cannot choose what would be written into the log, nor whether.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_cannot_choose_what_is_logged() {
    let house = House::new();
    let (_source, mut app) = tenant(&house).await;
    for choice in [
        "binlog_row_image = MINIMAL",
        "binlog_format = STATEMENT",
        "sql_log_bin = 0",
        "binlog_direct_non_transactional_updates = 1",
        "gtid_domain_id = 7",
        "gtid_seq_no = 7",
        "server_id = 9",
        "pseudo_thread_id = 7",
    ] {
        assert!(app.query_drop(format!("SET SESSION {choice}")).await.is_err(), "{choice}");
    }
}

/// A copy that follows, of a source with one plain table.
async fn following(house: &House) -> (Server, Conn, Server, Relay) {
    let (source, mut app) = tenant(house).await;
    let plain = ["CREATE TABLE plain (id INT PRIMARY KEY, v INT)", "INSERT INTO plain VALUES (1, 0), (2, 0)"];
    run(&mut app, "before", &plain).await;
    let mut candidate = house.server("11.8.0", true);
    candidate.settings.defaults_of = "10.11.0".to_owned();
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    until("replication runs", async || ENGINE.following(&candidate).await.unwrap() == Following::Running)
        .await;
    (source, app, candidate, relay)
}

/// Tables of which changes are applied one after the other, and that a tenant makes while a copy follows: the copy does so
/// from then on, also where its appliers wait for each other already.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_meanwhile_is_applied_as_it_needs() {
    for (made, name, changed) in [
        (
            "CREATE TABLE mine (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
            "mine",
            "BEGIN; UPDATE plain SET v = v + 1 WHERE id = 1; INSERT INTO mine VALUES (?, 1); UPDATE mine SET v = v + 1; COMMIT",
        ),
        (
            "CREATE TABLE kept (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 2 AUTO \
             PARTITIONS 2",
            "kept",
            "REPLACE INTO kept VALUES (?, 1); UPDATE kept SET v = v + 1 WHERE id = ?; UPDATE plain SET v = v + 1 WHERE id = 2",
        ),
    ] {
        let house = House::new();
        let (source, mut app, candidate, _relay) = following(&house).await;
        let mode = async || text(&mut own(&candidate).await, "SELECT @@slave_parallel_mode").await;
        assert_eq!(
            (ENGINE.adapt(&source, &candidate).await.unwrap(), mode().await.as_str()),
            (None, "optimistic")
        );
        run(&mut app, "meanwhile", &[made]).await;
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let source = source.clone();
                tokio::spawn(async move {
                    let mut conn = connect(&source, "app", "pw").await.unwrap();
                    // Sessions that wait for each other's partitions would do so for a day.
                    for sql in ["USE shop", "SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1"] {
                        conn.query_drop(sql).await.unwrap();
                    }
                    for at in 0..20 {
                        let id = (writer * 1000 + at).to_string();
                        let statements = changed.replace('?', &id);
                        // Of two that wait for each other one is undone by the server.
                        let mut left = 20;
                        while let Err(error) = run_all(&mut conn, &statements).await {
                            conn.query_drop("ROLLBACK").await.unwrap();
                            left -= 1;
                            if error.to_string().contains("Duplicate entry") {
                                break;
                            }
                            assert!(left > 0, "{error}");
                        }
                    }
                    conn.disconnect().await.unwrap();
                })
            })
            .collect();
        for writer in writers {
            tokio::time::timeout(Duration::from_secs(90), writer).await.expect("the writers end").unwrap();
        }
        let object = format!("shop.{name}");
        assert_eq!(ENGINE.outgrown(&source, &candidate).await.unwrap(), Some(object.clone()));
        let began = std::time::Instant::now();
        assert_eq!(ENGINE.adapt(&source, &candidate).await.unwrap(), Some(object));
        eprintln!("{name}: adapted within {:.1} s", began.elapsed().as_secs_f32());
        assert_eq!(
            (ENGINE.adapt(&source, &candidate).await.unwrap(), mode().await.as_str()),
            (None, "minimal")
        );
        assert_eq!(ENGINE.outgrown(&source, &candidate).await.unwrap(), None);
        let position = ENGINE.position(&source).await.unwrap();
        match ENGINE.reached(&candidate, &position, Duration::from_secs(60)).await {
            Ok(true) => assert_eq!(
                different(&everything(&source).await, &everything(&candidate).await),
                Vec::<&str>::new()
            ),
            // What was half applied before is not gone on with: it is said.
            other => {
                let following = ENGINE.following(&candidate).await.unwrap();
                assert!(
                    name == "mine" && matches!(following, Following::Broken(_)),
                    "{name}: {other:?} {following:?}"
                );
            }
        }
    }
}

async fn run_all(conn: &mut Conn, statements: &str) -> mysql_async::Result<()> {
    for sql in statements.split("; ") {
        conn.query_drop(sql).await?;
    }
    Ok(())
}

/// What a copy cannot follow, made once it follows.
const SPOILS: &[(&str, &str)] = &[
    (
        "CREATE TABLE kept (p INT PRIMARY KEY, CONSTRAINT up FOREIGN KEY (p) REFERENCES plain (id) ON DELETE CASCADE) \
         WITH SYSTEM VERSIONING",
        "shop.kept",
    ),
    ("CREATE TABLE places (g POINT NOT NULL, n INT, SPATIAL KEY (g), KEY (n))", "shop.places"),
    ("CREATE TABLE gone (id INT PRIMARY KEY) ENGINE=MEMORY", "shop.gone"),
];

/// The task of an instance's upgrade, as it ended.
async fn ended(api: &coffer::cli::demo::client::Client, id: &str) -> serde_json::Value {
    let upgrade = crate::upgrade::ended(api, id, Duration::from_secs(180)).await;
    api.task(upgrade["id"].as_str().unwrap()).await.unwrap()
}

/// A twin: what was made since it was looked at is found before clients are held, and in the hold; what only has to be
/// applied otherwise is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_makes_while_a_twin_follows_is_carried_or_named() {
    let house = crate::harness::house::House::start().await;
    let api = house.login("coffer").await;
    let shop = crate::harness::open_shop(&api, "meanwhile", "10.11").await;
    let opts = coffer::cli::demo::shop::opts(&shop.address, "shop", "app", &shop.password);
    let mut app = Conn::new(opts.clone()).await.unwrap();
    run(
        &mut app,
        "before",
        &["CREATE TABLE plain (id INT PRIMARY KEY, v INT)", "INSERT INTO plain VALUES (1, 1)"],
    )
    .await;
    let body = serde_json::json!({"upgrade": {"datastore_version": "11.8", "strategy": "twin"}});
    let meanwhile = async |step: &str, sql: &str| {
        let point = format!("upgrade_twin.forward.{step}.begun.{}", shop.id);
        house.points.arm(&point);
        let (code, answer) = api.post(&format!("/instances/{}/upgrades", shop.id), &body).await.unwrap();
        assert_eq!(code, 202, "{answer}");
        house.points.reached(&point).await;
        let mut app = Conn::new(opts.clone()).await.unwrap();
        run(&mut app, step, &[sql]).await;
        app.disconnect().await.unwrap();
        house.points.disarm(&point);
        ended(&api, &shop.id).await
    };
    let [kept, places, gone] = SPOILS else { panic!("three of them") };
    for (step, (sql, object)) in [("catch_up", places), ("quiet", kept), ("hold", gone)] {
        let task = meanwhile(step, sql).await;
        assert_eq!(task["state"], "rolled_back", "{step}: {task}");
        let reason = task["reason"].as_str().unwrap();
        assert!(reason.contains(object), "{step}: {reason}");
        let was_held = task["steps"].to_string().contains("\"fence\"");
        assert_eq!(was_held, step == "hold", "{step}: {task}");
        crate::harness::healthy(&api, &shop.id).await;
        run(&mut Conn::new(opts.clone()).await.unwrap(), "back", &[&format!("DROP TABLE {object}")]).await;
    }
    let task = meanwhile("hold", "CREATE TABLE late (id INT PRIMARY KEY) ENGINE=MyISAM").await;
    assert_eq!(task["state"], "rolled_back", "{task}");
    assert!(task["reason"].as_str().unwrap().contains("shop.late was made in the last moments"), "{task}");
    run(&mut Conn::new(opts.clone()).await.unwrap(), "back", &["DROP TABLE late"]).await;
    let made = "CREATE TABLE auto (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 2 AUTO PARTITIONS 2";
    let task = meanwhile("quiet", made).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    // What was applied before it was found is compared once more.
    assert_eq!(task["steps"].to_string().matches("\"verify\"").count(), 2, "{task}");
    drop(app);
    house.leave_nothing(&api, &[&shop.id]).await;
}

/// An action's new side: what it cannot follow is its fault for good, and what has to be applied otherwise is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_makes_while_a_replica_follows_is_carried_or_named() {
    let house = crate::harness::house::House::start().await;
    let api = house.login("coffer").await;
    let shop = crate::harness::open_shop(&api, "meanwhile", "10.11").await;
    let opts = coffer::cli::demo::shop::opts(&shop.address, "shop", "app", &shop.password);
    let mut app = Conn::new(opts).await.unwrap();
    run(
        &mut app,
        "before",
        &["CREATE TABLE plain (id INT PRIMARY KEY, v INT)", "INSERT INTO plain VALUES (1, 1)"],
    )
    .await;
    let detach = serde_json::json!({"instance": {"replica_of": ""}});
    let db = house.store().await;
    for (at, (sql, object)) in SPOILS.iter().enumerate() {
        let new = crate::harness::ask_for_upgrade_of(&api, &shop.id, "mariadb", "11.8").await;
        crate::harness::status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
        run(&mut app, "meanwhile", &[sql]).await;
        // Found by whoever comes first: the detach, or the look that is made from time to time.
        let refused = async || {
            let refused = api.patch(&format!("/instances/{new}"), &detach).await.unwrap_err().to_string();
            assert!(refused.contains("answered 422") && refused.contains(object), "{refused}");
        };
        if at > 0 {
            refused().await;
        }
        let fault = crate::harness::wait_for("the new side says why", Duration::from_secs(60), async || {
            api.show(&new).await.ok()?["fault"]["message"].as_str().map(str::to_owned)
        })
        .await;
        assert!(
            fault.contains(object) && fault.contains("cannot follow") && !fault.contains("coffer_"),
            "{fault}"
        );
        run(&mut app, "back", &[&format!("DROP TABLE {object}")]).await;
        refused().await;
        crate::harness::delete(&api, &[&new]).await;
        crate::harness::healthy(&api, &shop.id).await;
    }
    let new = crate::harness::ask_for_upgrade_of(&api, &shop.id, "mariadb", "11.8").await;
    crate::harness::status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    run(&mut app, "meanwhile", &["CREATE TABLE mine (id INT PRIMARY KEY) ENGINE=MyISAM"]).await;
    let generation = crate::harness::store::generation(&db, &new).await.unwrap();
    let mut server = crate::harness::store::engine(&house.state, &house.run, &db, generation).await.unwrap();
    crate::harness::wait_for("it applies one after the other", Duration::from_secs(60), async || {
        let mode: Option<String> = server.query_first("SELECT @@slave_parallel_mode").await.unwrap();
        (mode.as_deref() == Some("minimal")).then_some(())
    })
    .await;
    // What is left of a worker that was killed in the middle of it.
    server.query_drop("STOP SLAVE").await.unwrap();
    run(&mut app, "meanwhile", &["INSERT INTO mine VALUES (1), (2)"]).await;
    server.disconnect().await.unwrap();
    crate::harness::ask_for_detach(&api, &new).await;
    crate::harness::healthy(&api, &new).await;
    crate::harness::status(&api, &new, "ACTIVE", Duration::from_secs(60)).await;
    drop(app);
    house.leave_nothing(&api, &[&new, &shop.id]).await;
}
