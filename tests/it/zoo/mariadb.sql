-- What MariaDB knows and a tenant can have. Written as `postgresql.sql`: each thing has a database of its own, `z_` and
-- its name, which is the one that statements are run in; `app` makes it, or who a `-- +` line names. `coffer` is the
-- service's own account, for what the API makes.

-- # types_plain
-- tell: columns of every type, with its edge values, and NULL
CREATE TABLE t_ints (id INT PRIMARY KEY, a TINYINT, b TINYINT UNSIGNED, c SMALLINT, d SMALLINT UNSIGNED ZEROFILL, e MEDIUMINT, f MEDIUMINT UNSIGNED, g INT, h INT(5) UNSIGNED ZEROFILL, i BIGINT, j BIGINT UNSIGNED, k BOOL, l BIT(1), m BIT(64), n YEAR, o BIGINT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE)
;;
INSERT INTO t_ints VALUES (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0, b'0', b'0', 1901, 1), (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, 1, b'1', ~0, 2155, 18446744073709551600), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 3)
;;
CREATE TABLE t_decimals (id INT PRIMARY KEY, a DECIMAL(65, 30), b DECIMAL(65, 0), c DECIMAL(5, 2) UNSIGNED ZEROFILL, d NUMERIC, e DECIMAL(38, 38))
;;
INSERT INTO t_decimals VALUES (1, 99999999999999999999999999999999999.999999999999999999999999999999, 99999999999999999999999999999999999999999999999999999999999999999, 999.99, 9999999999, 0.99999999999999999999999999999999999999), (2, -0.000000000000000000000000000001, -99999999999999999999999999999999999999999999999999999999999999999, 0, -1, -0.00000000000000000000000000000000000001), (3, NULL, NULL, NULL, NULL, NULL)
;;
CREATE TABLE t_doubles (id INT PRIMARY KEY, a DOUBLE, b DOUBLE(10, 3), c DOUBLE UNSIGNED, d DOUBLE ZEROFILL)
;;
INSERT INTO t_doubles VALUES (1, 1.7976931348623157e308, 1234567.891, 0.1, 1e10), (2, -5e-324, -0.001, 2.2250738585072014e-308, 0), (3, -0e0, 0, 0, 0), (4, 0.1e0 + 0.2e0, 1, 1, 1), (5, 9007199254740993, NULL, NULL, NULL)
;;
CREATE TABLE t_strings (id INT PRIMARY KEY, a CHAR(10), b VARCHAR(200), c TINYTEXT, d TEXT, e MEDIUMTEXT, f LONGTEXT, g BINARY(5), h VARBINARY(50), i TINYBLOB, j BLOB, k MEDIUMBLOB, l LONGBLOB, m ENUM('a', 'it''s', 'üé', '', 'A b'), n SET('x', 'y''z', 'ü'), o CHAR(0), p VARCHAR(0), q CHAR(255))
;;
INSERT INTO t_strings VALUES (1, '', '', '', '', '', '', '', '', '', '', '', '', 'a', '', '', '', ''), (2, 'a  ', 'a  ', 'tab\tnl\ncr\r\\ \'" \0 \Z %_', REPEAT('ü🦀', 3000), REPEAT('x', 100000), '{"a": 1}', 'a', 'a\0 ', x'00ff0d0a271a5c', REPEAT(x'00ff', 20000), REPEAT(x'1a', 70000), x'', 'üé', 'x,y\'z,ü', '', '', REPEAT('é', 255)),
 (3, 'NULL', '\\N', 'null', NULL, NULL, NULL, x'ffffffffff', x'', NULL, NULL, NULL, NULL, '', 'ü', NULL, NULL, NULL)
;;
CREATE TABLE t_times (id INT PRIMARY KEY, a DATE, b TIME, c TIME(6), d DATETIME, e DATETIME(6), f TIMESTAMP NULL, g TIMESTAMP(6) NULL, h TIME(3), i DATETIME(2))
;;
SET sql_mode = ''
;;
INSERT INTO t_times VALUES (1, '0000-00-00', '-838:59:59', '-838:59:59.999999', '0000-00-00 00:00:00', '0000-00-00 00:00:00.000000', '0000-00-00', '1970-01-01 00:00:01.000001', '00:00:00.001', '1000-01-01 00:00:00.01'), (2, '9999-12-31', '838:59:59', '00:00:00.000001', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999999', '23:59:59.999', '2026-02-28 23:59:59.99'), (3, '2026-00-00', NULL, NULL, '2026-02-00 10:00:00', NULL, NULL, NULL, NULL, NULL), (4, '1000-01-01', '00:00:00', '-00:00:00.000001', '2026-03-29 02:30:00', '2026-10-25 02:30:00.5', '2026-10-25 01:30:00', NULL, NULL, NULL)
;;
SET sql_mode = DEFAULT
;;
CREATE TABLE t_others (id INT PRIMARY KEY, a UUID, b INET6, c JSON, d GEOMETRY, e POINT, f LINESTRING, g POLYGON, h MULTIPOINT, i MULTILINESTRING, j MULTIPOLYGON, k GEOMETRYCOLLECTION, l INET4)
;;
INSERT INTO t_others VALUES (1, '00000000-0000-0000-0000-000000000000', '::', '{"b" : 1.0, "a": [1,2 ], "ü": "\\u0001", "a": 2}', POINT(1, 2), POINT(0.1, -1e300), ST_GeomFromText('LINESTRING(0 0,1 1)', 4326), ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))'), ST_GeomFromText('MULTIPOINT(1 1,2 2)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1))'), ST_GeomFromText('MULTIPOLYGON(((0 0,0 1,1 1,0 0)))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))'), '0.0.0.0'), (2, 'ffffffff-ffff-1fff-bfff-ffffffffffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '255.255.255.255'), (3, '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
;;
-- =
INSERT INTO t_ints (id, a) VALUES (9, 200)
;;
INSERT INTO t_others (id, a) VALUES (9, UUID())
;;
SELECT id, a, c, e FROM t_times ORDER BY id
;;
INSERT INTO t_others (id, c) VALUES (10, 'no json')
;;
DELETE FROM t_others WHERE id = 9

-- # floats
-- tell: FLOAT columns, as keys, too
CREATE TABLE t_float (id INT PRIMARY KEY, v FLOAT, w FLOAT(7, 3), x FLOAT UNSIGNED, y FLOAT ZEROFILL, z FLOAT(30))
;;
INSERT INTO t_float VALUES (1, 16777217, 1234.567, 0.1, 1e10, 0.1), (2, 0.1234567, -0.001, 3.4028234e38, 0, 1.7976931348623157e308), (3, 123456789, 0, 0, 0, 0), (4, 3.4028234e38, 1, 1, 1, 1), (5, 1e-45, NULL, NULL, NULL, NULL), (6, 1.1754944e-38, NULL, NULL, NULL, NULL), (7, -0e0, NULL, NULL, NULL, NULL), (8, 8388609.5, NULL, NULL, NULL, NULL)
;;
CREATE TABLE t_key (v FLOAT PRIMARY KEY, n INT)
;;
INSERT INTO t_key VALUES (0.1234567, 1), (0.1234568, 2), (16777216, 3)
;;
CREATE TABLE t_keyless (v FLOAT, n INT)
;;
INSERT INTO t_keyless VALUES (0.1234567, 1), (0.1234567, 1), (NULL, 1)
;;
-- =
SELECT id, v + 0e0, w + 0e0, x + 0e0, y + 0e0, z + 0e0 FROM t_float ORDER BY id
;;
SELECT v + 0e0, n FROM t_key ORDER BY v
;;
UPDATE t_key SET n = n + 1 WHERE v > 0.12345675
;;
SELECT v + 0e0, n FROM t_keyless ORDER BY v

-- # defaults
-- tell: default expressions, generated columns of both kinds, invisible and compressed columns, checks, AUTO_INCREMENT, ON UPDATE
CREATE TABLE t (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, a VARCHAR(80) NOT NULL DEFAULT 'it''s "x" \\', b INT DEFAULT (1 + 2 * 3), c VARCHAR(40) DEFAULT (CONCAT(a, '-', b)), d DATETIME(6) DEFAULT '2026-01-01 00:00:00.123456' ON UPDATE CURRENT_TIMESTAMP(6), e TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
 f INT AS (b * 2) VIRTUAL, g INT AS (b * 3) PERSISTENT, h INT INVISIBLE DEFAULT 5, i TEXT COMPRESSED, j VARCHAR(2000) COMPRESSED DEFAULT 'c', k BLOB DEFAULT x'00ff', l TEXT DEFAULT 'text', m BIT(5) DEFAULT b'101', n ENUM('a', 'b') DEFAULT 'b', o DATE DEFAULT '2000-01-01', p JSON DEFAULT '{"a": 1}', q DOUBLE DEFAULT 1.5e10,
 r INT CHECK (r > 0 OR r IS NULL), s VARCHAR(10) AS (UPPER(a)) VIRTUAL INVISIBLE, CONSTRAINT `odd check` CHECK (b <> 13 AND a <> 'it''s'), KEY (f), UNIQUE KEY (g), t INT COMMENT 'a ''comment'' \\ ü🦀', u INT GENERATED ALWAYS AS (JSON_VALUE(p, '$.a')) STORED, v INT DEFAULT (FLOOR(RAND() * 0)), w CHAR(36) DEFAULT (REPEAT('u', 36))) AUTO_INCREMENT = 1000 COMMENT = 'it''s \\ a "table" ü🦀'
;;
INSERT INTO t (a, b, h, i) VALUES ('one', 1, 7, REPEAT('long', 1000)), ('two', 2, 8, NULL)
;;
INSERT INTO t (a, b) VALUES ('three', DEFAULT)
;;
UPDATE t SET e = '2026-01-01 00:00:00', d = '2026-01-01 00:00:00'
;;
CREATE TABLE invisible_all (a INT PRIMARY KEY INVISIBLE DEFAULT 1, b INT)
;;
INSERT INTO invisible_all (b) VALUES (5)
;;
-- =
INSERT INTO t (a, b, e) VALUES ('four', 4, '2026-01-01')
;;
SELECT id, a, b, c, f, g, h, i, j, HEX(k), l, m + 0, n, o, p, q, s, u, v, w FROM t ORDER BY id
;;
INSERT INTO t (a, b) VALUES ('x', 13)
;;
INSERT INTO t (a, b, r) VALUES ('x', 14, -1)
;;
SELECT * FROM invisible_all
;;
ALTER TABLE t ADD COLUMN late INT DEFAULT 3 AFTER a
;;
SELECT MAX(late) FROM t

-- # defaults_of_bytes
-- tell: default values of BINARY, VARBINARY, BLOB and BIT columns
CREATE TABLE t (id INT PRIMARY KEY, a BINARY(3) DEFAULT 'a', b VARBINARY(5) DEFAULT x'00ff', c BLOB DEFAULT 'text', d BIT(8) DEFAULT b'101', e VARBINARY(9) DEFAULT 'it''s', f BLOB DEFAULT (REPEAT('x', 3)))
;;
INSERT INTO t (id) VALUES (1)
;;
CREATE TABLE lost (id INT PRIMARY KEY, `a ``b
c` VARBINARY(9) DEFAULT x'ff003f27', b BINARY(4) NOT NULL DEFAULT '??' COMMENT ' DEFAULT ''x''', c VARBINARY(20) DEFAULT 'ü🦀?\\', d VARBINARY(9) DEFAULT '', e VARBINARY(9) DEFAULT (CONCAT('?', 'a')), f BINARY(3) DEFAULT 0, g VARBINARY(9) DEFAULT '\n\r\Z\t', h VARCHAR(9) CHARACTER SET binary DEFAULT '?', i BINARY(2) DEFAULT NULL, j VARBINARY(9) DEFAULT x'5c5c' CHECK (j <> x'00ff'))
;;
INSERT INTO lost (id) VALUES (1)
;;
-- =
INSERT INTO t (id) VALUES (2)
;;
SELECT id, HEX(a), HEX(b), HEX(c), HEX(d), HEX(e), HEX(f) FROM t ORDER BY id
;;
INSERT INTO lost (id) VALUES (2)
;;
SELECT id, HEX(`a ``b
c`), HEX(b), HEX(c), HEX(d), HEX(e), HEX(f), HEX(g), HEX(h), HEX(i), HEX(j) FROM lost ORDER BY id

-- # sequences
-- tell: sequences of every option, called or not
CREATE SEQUENCE s_plain
;;
CREATE SEQUENCE s_all START WITH 100 INCREMENT BY 5 MINVALUE 50 MAXVALUE 1000 CACHE 10 CYCLE
;;
CREATE SEQUENCE s_down START WITH -1 INCREMENT BY -2 MINVALUE -100 MAXVALUE -1 NOCACHE
;;
CREATE SEQUENCE s_never START WITH 7
;;
CREATE SEQUENCE s_set NOCACHE
;;
CREATE SEQUENCE s_end START WITH 9223372036854775800 MAXVALUE 9223372036854775806
;;
CREATE SEQUENCE `s odd ``name` COMMENT = 'odd'
;;
SELECT NEXTVAL(s_plain), NEXTVAL(s_all), NEXTVAL(s_all), NEXTVAL(s_down), SETVAL(s_set, 77), SETVAL(s_set, 50), NEXTVAL(s_end)
;;
-- =
SELECT NEXTVAL(s_never), NEXTVAL(s_set), NEXTVAL(`s odd ``name`)
;;
ALTER SEQUENCE s_never RESTART 50
;;
SELECT NEXTVAL(s_never)

-- # sequences_as_defaults
-- tell: columns whose default is the next value of a sequence
CREATE SEQUENCE s
;;
CREATE TABLE t (id INT PRIMARY KEY DEFAULT NEXTVAL(s), x INT)
;;
CREATE TABLE u (id INT PRIMARY KEY DEFAULT (NEXTVAL(s)), x INT DEFAULT (NEXT VALUE FOR s * 2))
;;
INSERT INTO t (x) VALUES (1)
;;
-- =
INSERT INTO t (x) VALUES (2)
;;
SELECT COUNT(*), MIN(x) FROM t

-- # engines
-- tell: tables of InnoDB in every row format and with their options
CREATE TABLE i_dynamic (id INT PRIMARY KEY, v TEXT) ENGINE = InnoDB ROW_FORMAT = DYNAMIC STATS_PERSISTENT = 1 STATS_AUTO_RECALC = 0 STATS_SAMPLE_PAGES = 30
;;
CREATE TABLE i_compact (id INT PRIMARY KEY, v VARCHAR(500)) ENGINE = InnoDB ROW_FORMAT = COMPACT
;;
CREATE TABLE i_redundant (id INT PRIMARY KEY, v VARCHAR(500)) ENGINE = InnoDB ROW_FORMAT = REDUNDANT
;;
CREATE TABLE i_pages (id INT PRIMARY KEY, v TEXT) ENGINE = InnoDB PAGE_COMPRESSED = 1 PAGE_COMPRESSION_LEVEL = 5
;;
CREATE TABLE i_nokey (v INT, w VARCHAR(10))
;;
INSERT INTO i_dynamic SELECT seq, REPEAT(MD5(seq), 50) FROM seq_1_to_200
;;
INSERT INTO i_compact SELECT seq, MD5(seq) FROM seq_1_to_200
;;
INSERT INTO i_redundant SELECT seq, MD5(seq) FROM seq_1_to_200
;;
INSERT INTO i_pages SELECT seq, REPEAT('x', 1000) FROM seq_1_to_100
;;
INSERT INTO i_nokey VALUES (1, 'a'), (1, 'a'), (NULL, NULL)
;;
-- =
CHECK TABLE i_dynamic, i_compact, i_redundant, i_pages
;;
ALTER TABLE i_compact ROW_FORMAT = DYNAMIC

-- # engines_plain
-- tell: tables and sequences of MyISAM and Aria with keys
CREATE TABLE m_dynamic (id INT PRIMARY KEY, v TEXT) ENGINE = MyISAM ROW_FORMAT = DYNAMIC MAX_ROWS = 1000 MIN_ROWS = 5 AVG_ROW_LENGTH = 50 CHECKSUM = 1 DELAY_KEY_WRITE = 1 PACK_KEYS = 1
;;
CREATE TABLE m_fixed (id INT PRIMARY KEY AUTO_INCREMENT, v CHAR(10)) ENGINE = MyISAM ROW_FORMAT = FIXED AUTO_INCREMENT = 55
;;
CREATE TABLE a_page (id INT PRIMARY KEY, v TEXT) ENGINE = Aria ROW_FORMAT = PAGE TRANSACTIONAL = 1
;;
CREATE TABLE a_dynamic (id INT PRIMARY KEY, v TEXT) ENGINE = Aria ROW_FORMAT = DYNAMIC TRANSACTIONAL = 0
;;
INSERT INTO m_dynamic SELECT seq, REPEAT('y', seq) FROM seq_1_to_100
;;
INSERT INTO m_fixed (v) VALUES ('a'), ('b ')
;;
INSERT INTO a_page SELECT seq, REPEAT('z', seq) FROM seq_1_to_100
;;
INSERT INTO a_dynamic VALUES (1, NULL)
;;
CREATE TABLE m (id INT PRIMARY KEY, a TEXT, g GEOMETRY NOT NULL, FULLTEXT (a), SPATIAL (g), KEY (id) KEY_BLOCK_SIZE = 1024) ENGINE = MyISAM
;;
INSERT INTO m VALUES (1, 'some words here', POINT(1, 1))
;;
CREATE TABLE p_myisam (id INT PRIMARY KEY) ENGINE = MyISAM PARTITION BY HASH (id) PARTITIONS 2
;;
INSERT INTO p_myisam SELECT seq FROM seq_1_to_10
;;
CREATE SEQUENCE s_aria ENGINE = Aria
;;
CREATE SEQUENCE s_myisam START WITH 5 NOCACHE ENGINE = MyISAM
;;
SELECT NEXTVAL(s_myisam)
;;
-- =
INSERT INTO m_fixed (v) VALUES ('c')
;;
SELECT * FROM m_fixed ORDER BY id
;;
CHECK TABLE m_dynamic, m_fixed, a_page, a_dynamic, m, p_myisam
;;
SELECT id FROM m WHERE MATCH (a) AGAINST ('words')
;;
SELECT NEXTVAL(s_aria), NEXTVAL(s_myisam)
;;
ALTER TABLE a_dynamic ENGINE = InnoDB ROW_FORMAT = DYNAMIC TRANSACTIONAL = DEFAULT
;;
OPTIMIZE TABLE a_page

-- # engines_compressed
-- tell: tables of InnoDB with ROW_FORMAT = COMPRESSED
CREATE TABLE i_compressed (id INT PRIMARY KEY, v TEXT) ENGINE = InnoDB ROW_FORMAT = COMPRESSED KEY_BLOCK_SIZE = 4
;;
INSERT INTO i_compressed SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_100
;;
-- =
INSERT INTO i_compressed VALUES (1000, 'x')

-- # engines_without_keys
-- tell: tables of MyISAM and Aria without a key
-- twin: refused z_engines_without_keys.
CREATE TABLE m (v INT) ENGINE = MyISAM
;;
INSERT INTO m VALUES (1), (1)
;;
CREATE TABLE a (v INT) ENGINE = Aria
;;
INSERT INTO a VALUES (1), (1)
;;
-- =
INSERT INTO m VALUES (2)

-- # engines_odd_names
-- tell: tables of MyISAM and Aria with a backtick in their names
-- twin: refused z_engines_odd_names.
CREATE TABLE `my``isam` (id INT PRIMARY KEY) ENGINE = MyISAM
;;
INSERT INTO `my``isam` VALUES (1)
;;
CREATE TABLE `ar``ia` (id INT PRIMARY KEY) ENGINE = Aria PARTITION BY HASH (id) PARTITIONS 2
;;
INSERT INTO `ar``ia` VALUES (1)
;;
-- =
INSERT INTO `my``isam` VALUES (2)
;;
SELECT id FROM `ar``ia`

-- # engines_others
-- tell: tables of CSV and MERGE
-- twin: refused z_engines_others.
CREATE TABLE c (id INT NOT NULL, v VARCHAR(50) NOT NULL) ENGINE = CSV
;;
INSERT INTO c VALUES (1, 'a"b,c\nd'), (2, '')
;;
CREATE TABLE m1 (id INT PRIMARY KEY) ENGINE = MyISAM
;;
CREATE TABLE m2 (id INT PRIMARY KEY) ENGINE = MyISAM
;;
INSERT INTO m1 VALUES (1)
;;
CREATE TABLE mm (id INT NOT NULL, KEY (id)) ENGINE = MERGE UNION = (m1, m2) INSERT_METHOD = LAST
;;
INSERT INTO mm VALUES (2)
;;
-- =
INSERT INTO mm VALUES (3)
;;
SELECT * FROM mm ORDER BY id
;;
INSERT INTO c VALUES (3, 'x')

-- # engines_memory
-- tell: tables of MEMORY, whose rows go with any restart
-- twin: refused z_engines_memory.t
-- in_place: warned z_engines_memory.t
CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(10)) ENGINE = MEMORY
;;
-- =
INSERT INTO t VALUES (1, 'x')

-- # partitions
-- tell: partitions of every kind, with subpartitions
CREATE TABLE p_range (id INT, y INT, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (2000) COMMENT = 'old', PARTITION `p ü` VALUES LESS THAN (2010), PARTITION p2 VALUES LESS THAN MAXVALUE)
;;
CREATE TABLE p_columns (a DATE NOT NULL, b VARCHAR(10) NOT NULL) PARTITION BY RANGE COLUMNS (a, b) (PARTITION p0 VALUES LESS THAN ('2026-01-01', 'm'), PARTITION p1 VALUES LESS THAN (MAXVALUE, MAXVALUE))
;;
CREATE TABLE p_list (id INT, k INT) PARTITION BY LIST (k) (PARTITION p0 VALUES IN (1, 2, NULL), PARTITION p1 VALUES IN (3), PARTITION pd DEFAULT)
;;
CREATE TABLE p_list_columns (k VARCHAR(10)) PARTITION BY LIST COLUMNS (k) (PARTITION p0 VALUES IN ('a', 'it''s'), PARTITION p1 DEFAULT)
;;
CREATE TABLE p_hash (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3
;;
CREATE TABLE p_linear (id INT PRIMARY KEY) PARTITION BY LINEAR HASH (id) PARTITIONS 4
;;
CREATE TABLE p_key (id VARCHAR(20) PRIMARY KEY) PARTITION BY KEY (id) PARTITIONS 3
;;
CREATE TABLE p_linear_key (id INT PRIMARY KEY) PARTITION BY LINEAR KEY () PARTITIONS 2
;;
CREATE TABLE p_sub (id INT, d DATE) PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (TO_DAYS(d)) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE)
;;
INSERT INTO p_range SELECT seq, 1990 + seq FROM seq_1_to_40
;;
INSERT INTO p_columns VALUES ('2025-01-01', 'a'), ('2026-01-01', 'z')
;;
INSERT INTO p_list VALUES (1, 1), (2, NULL), (3, 99)
;;
INSERT INTO p_list_columns VALUES ('a'), ('zz'), (NULL)
;;
INSERT INTO p_hash SELECT seq FROM seq_1_to_20
;;
INSERT INTO p_linear SELECT seq FROM seq_1_to_20
;;
INSERT INTO p_key SELECT CONCAT('k', seq) FROM seq_1_to_20
;;
INSERT INTO p_linear_key SELECT seq FROM seq_1_to_20
;;
INSERT INTO p_sub SELECT seq, '1999-01-01' + INTERVAL seq MONTH FROM seq_1_to_30
;;
-- =
INSERT INTO p_range VALUES (1000, 2005)
;;
SELECT COUNT(*) FROM p_range PARTITION (`p ü`)
;;
ALTER TABLE p_range REORGANIZE PARTITION p2 INTO (PARTITION p2 VALUES LESS THAN (2020), PARTITION p3 VALUES LESS THAN MAXVALUE)
;;
ALTER TABLE p_list DROP PARTITION p1
;;
SELECT COUNT(*) FROM p_key PARTITION (p0)

-- # versioned
-- tell: tables with system versioning, their history, also with partitions and of single columns
CREATE TABLE v (id INT PRIMARY KEY, a VARCHAR(10), b INT WITHOUT SYSTEM VERSIONING) WITH SYSTEM VERSIONING
;;
CREATE TABLE v_columns (id INT PRIMARY KEY, a INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING
;;
CREATE TABLE v_parts (id INT PRIMARY KEY, a INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION h HISTORY, PARTITION c CURRENT)
;;
INSERT INTO v VALUES (1, 'a', 1), (2, 'b', 2)
;;
UPDATE v SET a = 'changed' WHERE id = 1
;;
DELETE FROM v WHERE id = 2
;;
INSERT INTO v_columns VALUES (1, 1)
;;
UPDATE v_columns SET a = 2
;;
INSERT INTO v_parts VALUES (1, 1)
;;
UPDATE v_parts SET a = 2
;;
-- =
SELECT COUNT(*) FROM v FOR SYSTEM_TIME ALL
;;
UPDATE v SET a = 'again'
;;
SELECT id, a FROM v FOR SYSTEM_TIME ALL ORDER BY ROW_START, id
;;
ALTER TABLE v_parts DROP SYSTEM VERSIONING

-- # periods
-- tell: tables with application-time periods and keys WITHOUT OVERLAPS
CREATE TABLE p (id INT, a DATE, b DATE, PERIOD FOR valid (a, b), UNIQUE (id, valid WITHOUT OVERLAPS))
;;
INSERT INTO p VALUES (1, '2026-01-01', '2026-06-01'), (1, '2026-06-01', '2027-01-01')
;;
-- =
DELETE FROM p FOR PORTION OF valid FROM '2026-02-01' TO '2026-03-01' WHERE id = 1
;;
SELECT * FROM p ORDER BY id, a
;;
INSERT INTO p VALUES (1, '2026-06-05', '2026-06-06')

-- # indexes
-- tell: indexes of every kind: prefixes, descending, FULLTEXT, SPATIAL, HASH, ignored, long unique ones, with comments
CREATE TABLE t (id INT PRIMARY KEY COMMENT 'pk', a VARCHAR(100), b TEXT, c INT, d BLOB, g POINT NOT NULL, e VARCHAR(50) CHARACTER SET ascii, KEY prefix (a(5), c DESC), KEY `odd ``key` (c) COMMENT 'it''s', UNIQUE KEY uk (c, e), FULLTEXT KEY ft (a, b), SPATIAL KEY sp (g), UNIQUE KEY long_hash (b), KEY ig (e) IGNORED, KEY bl (d(10)), KEY bt (a) USING BTREE) ENGINE = InnoDB
;;
INSERT INTO t VALUES (1, 'the quick fox', 'jumps over', 1, x'00ff', POINT(1, 2), 'e'), (2, 'ü🦀', 'another text', NULL, NULL, POINT(3, 4), NULL)
;;
-- =
SELECT id FROM t WHERE MATCH (a, b) AGAINST ('quick')
;;
INSERT INTO t VALUES (3, 'x', 'jumps over', 5, NULL, POINT(0, 0), 'z')
;;
SELECT id FROM t WHERE MBRContains(ST_GeomFromText('POLYGON((0 0,0 3,3 3,3 0,0 0))'), g)
;;
ALTER TABLE t ALTER INDEX ig NOT IGNORED
;;
ALTER TABLE t DROP INDEX `odd ``key`

-- # foreign_keys
-- tell: foreign keys of every action, of several columns, to themselves, in circles, across databases, and rows that break them
CREATE TABLE k (id INT PRIMARY KEY, x INT, y INT, UNIQUE (x, y))
;;
INSERT INTO k SELECT seq, seq, seq FROM seq_1_to_10
;;
CREATE TABLE f (id INT PRIMARY KEY, a INT, b INT, c INT, x INT, y INT, CONSTRAINT fa FOREIGN KEY (a) REFERENCES k (id) ON DELETE CASCADE ON UPDATE CASCADE, CONSTRAINT `f b` FOREIGN KEY (b) REFERENCES k (id) ON DELETE SET NULL, FOREIGN KEY (c) REFERENCES k (id) ON DELETE RESTRICT ON UPDATE NO ACTION, FOREIGN KEY xy (x, y) REFERENCES k (x, y))
;;
INSERT INTO f VALUES (1, 1, 2, 3, 4, 4), (2, 5, NULL, NULL, NULL, 9)
;;
CREATE TABLE self (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES self (id))
;;
INSERT INTO self VALUES (1, 1), (2, 1)
;;
CREATE TABLE ca (id INT PRIMARY KEY, b INT)
;;
CREATE TABLE cb (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES ca (id))
;;
ALTER TABLE ca ADD FOREIGN KEY (b) REFERENCES cb (id)
;;
SET foreign_key_checks = 0
;;
INSERT INTO ca VALUES (1, 999)
;;
CREATE TABLE early (id INT PRIMARY KEY, z INT, FOREIGN KEY (z) REFERENCES zz_late (id))
;;
CREATE TABLE zz_late (id INT PRIMARY KEY)
;;
SET foreign_key_checks = 1
;;
-- =
DELETE FROM k WHERE id IN (1, 2)
;;
SELECT * FROM f ORDER BY id
;;
DELETE FROM k WHERE id = 3
;;
INSERT INTO early VALUES (1, 1)
;;
UPDATE ca SET b = 998

-- # checks_broken
-- tell: rows that a check would not take
CREATE TABLE c (id INT PRIMARY KEY, n INT CHECK (n > 0), m INT, CONSTRAINT both_ CHECK (m > n))
;;
SET check_constraint_checks = 0
;;
INSERT INTO c VALUES (1, -5, -9)
;;
SET check_constraint_checks = 1
;;
-- =
UPDATE c SET m = 100 WHERE id = 1
;;
INSERT INTO c VALUES (2, -1, 5)

-- # routines
-- tell: functions and procedures with all their options, cursors, handlers, parameters of every direction, aggregates, and texts that are hard to write again
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200))
;;
CREATE FUNCTION f_plain(x INT) RETURNS INT DETERMINISTIC NO SQL SQL SECURITY INVOKER COMMENT 'it''s' RETURN /* why */ x + 1 -- end
;;
CREATE FUNCTION f_reads() RETURNS BIGINT READS SQL DATA BEGIN DECLARE n BIGINT DEFAULT 0; SELECT COUNT(*) INTO n FROM log; RETURN n; END
;;
CREATE FUNCTION f_charset(s VARCHAR(10) CHARSET latin1) RETURNS VARCHAR(20) CHARSET utf8mb4 COLLATE utf8mb4_bin DETERMINISTIC RETURN UPPER(s)
;;
CREATE FUNCTION f_types(a DECIMAL(10, 3), b ENUM('x', 'y'), c DATETIME(3), d JSON, e BIT(3), f TYPE OF log.id) RETURNS DOUBLE DETERMINISTIC RETURN a + e
;;
CREATE FUNCTION f_recursive_no(n INT) RETURNS INT DETERMINISTIC BEGIN IF n <= 1 THEN RETURN 1; END IF; RETURN n * 2; END
;;
CREATE AGGREGATE FUNCTION f_agg(x INT) RETURNS INT BEGIN DECLARE n INT DEFAULT 0; DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN n; LOOP FETCH GROUP NEXT ROW; SET n = n + x; END LOOP; END
;;
CREATE FUNCTION `f odd ``name ü`(`p odd` INT) RETURNS INT DETERMINISTIC RETURN `p odd`
;;
CREATE PROCEDURE p_all(IN a INT, OUT b INT, INOUT c VARCHAR(50)) MODIFIES SQL DATA SQL SECURITY DEFINER BEGIN
  -- a comment; with a semicolon $$ ;;x
  DECLARE done INT DEFAULT 0; DECLARE v INT; DECLARE cur CURSOR FOR SELECT id FROM log ORDER BY id;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = 1;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN SET b = -1; END;
  OPEN cur; l: LOOP FETCH cur INTO v; IF done THEN LEAVE l; END IF; SET a = a + v; END LOOP; CLOSE cur;
  INSERT INTO log (what) VALUES (CONCAT('p_all ', a)); SET b = a, c = CONCAT(c, '\\ ''x'' "y"'); END
;;
CREATE PROCEDURE p_dynamic(IN t VARCHAR(64)) BEGIN EXECUTE IMMEDIATE CONCAT('SELECT COUNT(*) FROM ', t); PREPARE s FROM 'SELECT ? + 1'; SET @a = 5; EXECUTE s USING @a; DEALLOCATE PREPARE s; END
;;
CREATE PROCEDURE p_signal() BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'on purpose', MYSQL_ERRNO = 5555; END
;;
CREATE PROCEDURE p_results() BEGIN SELECT 1 AS one; SELECT 2 AS two; WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT SUM(n) FROM r; END
;;
CREATE PROCEDURE p_row() BEGIN DECLARE r ROW TYPE OF log; DECLARE q ROW (a INT, b VARCHAR(5)); SET q.a = 5; FOR rec IN (SELECT id FROM log) DO SET q.a = q.a + rec.id; END FOR; SELECT q.a; END
;;
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'
;;
CREATE FUNCTION f_mode(a VARCHAR(10)) RETURNS VARCHAR(50) DETERMINISTIC RETURN a || 'b\' || (SELECT MAX("what") FROM "log" WHERE "id" < 0)
;;
CREATE FUNCTION f_ignore(a INT) RETURNS INT DETERMINISTIC RETURN a
;;
SET sql_mode = DEFAULT
;;
-- =
SELECT f_plain(1), f_reads(), f_charset('ab'), f_types(1.5, 'x', NOW(), '{}', b'11', 1), `f odd ``name ü`(5), f_mode('a')
;;
INSERT INTO log (what) VALUES ('a'), ('b')
;;
SELECT f_agg(id) FROM log
;;
CALL p_all(1, @b, @c)
;;
SELECT @b, @c
;;
CALL p_dynamic('log')
;;
CALL p_signal()
;;
CALL p_results()
;;
CALL p_row()
;;
SELECT id, what FROM log ORDER BY id
;;
DROP FUNCTION f_ignore
;;
ALTER PROCEDURE p_signal COMMENT 'new'

-- # oracle
-- tell: packages, and routines in Oracle's mode
SET sql_mode = 'ORACLE'
;;
CREATE PACKAGE pk AS FUNCTION f(x INT) RETURN INT; PROCEDURE p(x OUT INT); END
;;
CREATE PACKAGE BODY pk AS hidden INT := 7; FUNCTION g RETURN INT AS BEGIN RETURN hidden; END; FUNCTION f(x INT) RETURN INT AS BEGIN RETURN x + g(); END; PROCEDURE p(x OUT INT) AS BEGIN x := 9; END; BEGIN hidden := 8; END
;;
CREATE OR REPLACE PROCEDURE o(a IN INT, b OUT INT) AS v INT := 0; CURSOR c IS SELECT 1 AS x FROM DUAL; BEGIN FOR r IN c LOOP v := v + r.x; END LOOP; WHILE v < 5 LOOP v := v + 1; END LOOP; b := a + v; EXCEPTION WHEN OTHERS THEN b := -1; END
;;
SET sql_mode = DEFAULT
;;
-- =
SET sql_mode = 'ORACLE'
;;
SELECT pk.f(1)
;;
CALL o(1, @x)
;;
SELECT @x
;;
CALL pk.p(@y)
;;
SELECT @y
;;
DROP PACKAGE BODY pk

-- # triggers
-- tell: triggers of every kind, several of one kind in their order, with other modes and definers
CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(50))
;;
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200))
;;
CREATE TRIGGER bi BEFORE INSERT ON t FOR EACH ROW SET NEW.a = IFNULL(NEW.a, 0) + 1
;;
CREATE TRIGGER bi_last BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a * 10
;;
CREATE TRIGGER bi_first BEFORE INSERT ON t FOR EACH ROW PRECEDES bi SET NEW.a = NEW.a + 100
;;
CREATE TRIGGER ai AFTER INSERT ON t FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('in ', NEW.a))
;;
CREATE TRIGGER bu BEFORE UPDATE ON t FOR EACH ROW BEGIN IF OLD.a <> NEW.a THEN INSERT INTO log (what) VALUES (CONCAT('up ', OLD.a, NEW.a)); END IF; END
;;
CREATE TRIGGER ad AFTER DELETE ON t FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('del ', OLD.id))
;;
CREATE TRIGGER bd BEFORE DELETE ON t FOR EACH ROW IF OLD.id = 7 THEN SIGNAL SQLSTATE '45000'; END IF
;;
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', time_zone = '+03:00'
;;
CREATE TRIGGER `au odd` AFTER UPDATE ON t FOR EACH ROW INSERT INTO "log" (what) VALUES ('odd ' || NEW."id")
;;
SET sql_mode = DEFAULT, time_zone = DEFAULT
;;
INSERT INTO t VALUES (1, 1, 'x'), (7, NULL, 'y')
;;
-- =
INSERT INTO t VALUES (2, 5, 'n')
;;
UPDATE t SET a = a + 1 WHERE id = 2
;;
DELETE FROM t WHERE id = 1
;;
DELETE FROM t WHERE id = 7
;;
SELECT what FROM log ORDER BY id
;;
SELECT * FROM t ORDER BY id
;;
DROP TRIGGER bi_first

-- # events
-- tell: events, recurring or once, enabled or not, in time zones and modes of their own
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(50))
;;
SET time_zone = '+05:45'
;;
CREATE EVENT e_every ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' ENDS '2036-01-01 00:00:00' ON COMPLETION PRESERVE ENABLE COMMENT 'it''s' DO INSERT INTO log (what) VALUES ('every')
;;
SET time_zone = 'SYSTEM'
;;
CREATE EVENT e_once ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION NOT PRESERVE DO BEGIN INSERT INTO log (what) VALUES ('once'); END
;;
CREATE EVENT e_off ON SCHEDULE EVERY '1:30' HOUR_MINUTE DISABLE DO DELETE FROM log
;;
CREATE EVENT e_odd ON SCHEDULE EVERY 2 QUARTER STARTS '2035-01-01 00:00:00' DO SET @x = 1
;;
SET sql_mode = 'ANSI_QUOTES'
;;
CREATE EVENT "e ""odd` ü" ON SCHEDULE EVERY 5 YEAR STARTS '2035-01-01 00:00:00' DO INSERT INTO "log" (what) VALUES ('odd')
;;
SET sql_mode = DEFAULT
;;
-- =
ALTER EVENT e_off ON SCHEDULE EVERY 2 DAY STARTS '2035-01-01 00:00:00'
;;
DROP EVENT e_odd
;;
CREATE EVENT e_new ON SCHEDULE AT '2036-01-01 00:00:00' DO SET @x = 1

-- # views
-- tell: views of every algorithm, security and check option, of views, with hard texts
CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(50))
;;
INSERT INTO t SELECT seq, seq, CONCAT('b', seq) FROM seq_1_to_10
;;
CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW v_merge AS SELECT id, a FROM t
;;
CREATE ALGORITHM = TEMPTABLE VIEW v_temp (`Id x`, `a``b`) AS SELECT id, a * 2 FROM t
;;
CREATE VIEW v_local AS SELECT * FROM t WHERE a < 5 WITH LOCAL CHECK OPTION
;;
CREATE VIEW v_cascaded AS SELECT * FROM v_local WHERE a > 1 WITH CASCADED CHECK OPTION
;;
CREATE VIEW a_first AS SELECT COUNT(*) AS n, MAX(b) AS m FROM v_cascaded
;;
CREATE VIEW v_cte AS WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n, SUM(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM r
;;
CREATE VIEW v_hard AS SELECT 'it''s \\ "x" ü🦀' AS q, x'00ff' AS h, b'101' AS b, DATE '2026-01-01' AS d, TIMESTAMP '2026-01-01 00:00:00.5' AS ts, INTERVAL(5, 1, 10) AS i, CAST('5' AS UNSIGNED) AS c, CONVERT('x' USING latin1) AS l, _latin1'y' COLLATE latin1_bin AS co, GROUP_CONCAT(DISTINCT b ORDER BY a DESC SEPARATOR '|') AS g, IF(a > 1, NULL, 1) AS n, JSON_EXTRACT('{"a":1}', '$.a') AS j, '2026-01-01' + INTERVAL 1 DAY AS p, 1 IN (1, 2) AND NOT 0 XOR 1 AS x, BINARY 'a' = 'A' AS bi, 7 DIV 2 AS di, -7 % 3 AS mo, 1 <=> NULL AS ne, 'a' REGEXP '^a' AS r, CASE a WHEN 1 THEN 'one' ELSE 'more' END AS ca FROM t GROUP BY a > 100, ca, n LIMIT 5
;;
CREATE VIEW v_sub AS SELECT x.id, (SELECT MAX(a) FROM t WHERE t.id < x.id) AS m FROM (SELECT id FROM t WHERE EXISTS (SELECT 1 FROM t y WHERE y.id = t.id)) x LEFT JOIN t USING (id) RIGHT JOIN t z ON z.id = x.id UNION SELECT 1, 2 EXCEPT SELECT 5, 5
;;
CREATE VIEW v_other AS SELECT * FROM z_engines.i_compact
;;
CREATE VIEW v_vector AS VALUES (1, 'x'), (2, 'y')
;;
-- =
SELECT * FROM v_merge ORDER BY id
;;
SELECT * FROM v_temp ORDER BY 1
;;
SELECT * FROM a_first
;;
SELECT * FROM v_cte
;;
SELECT * FROM v_hard
;;
SELECT * FROM v_sub ORDER BY 1, 2
;;
INSERT INTO v_local VALUES (50, 50, 'x')
;;
INSERT INTO v_cascaded VALUES (51, 3, 'ok')
;;
SELECT COUNT(*) FROM v_other
;;
SELECT * FROM v_vector
;;
CREATE OR REPLACE VIEW v_temp AS SELECT 1 AS one
;;
DROP VIEW a_first

-- # views_of_functions
-- tell: views that call functions
CREATE TABLE t (id INT PRIMARY KEY)
;;
INSERT INTO t VALUES (1), (2)
;;
CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2
;;
CREATE VIEW v AS SELECT id, twice(id) AS d FROM t
;;
CREATE VIEW w AS SELECT * FROM v WHERE d > 2
;;
-- =
SELECT * FROM w

-- # charsets
-- tell: columns, tables and databases of other character sets and collations
CREATE TABLE c (id INT PRIMARY KEY, a VARCHAR(50) CHARACTER SET latin1 COLLATE latin1_german2_ci, b VARCHAR(50) CHARACTER SET utf8mb3, c VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci, d VARCHAR(50) CHARACTER SET ucs2, e VARCHAR(50) CHARACTER SET sjis, f VARCHAR(50) COLLATE utf8mb4_uca1400_german2_ai_ci, g VARCHAR(50) COLLATE utf8mb4_nopad_bin, h VARCHAR(50) CHARACTER SET utf16le, i VARCHAR(50) CHARACTER SET gbk, j VARCHAR(50) CHARACTER SET binary, k ENUM('ä', 'ö') CHARACTER SET latin1, l SET('ü', 'ß') CHARACTER SET latin2, UNIQUE (a), KEY (c, f)) CHARACTER SET koi8r COLLATE koi8r_bin
;;
INSERT INTO c VALUES (1, 'Äpfel', 'ü', 'Straße', 'ucs', 'あ', 'ä', 'a  ', 'le', '中', x'00ff', 'ä', 'ü,ß'), (2, 'b', '', '🦀', '', '', '', 'a ', '', '', '', 'ö', '')
;;
CREATE TABLE general (id INT PRIMARY KEY, name VARCHAR(50)) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci
;;
INSERT INTO general VALUES (1, 'x')
;;
CREATE TABLE fresh (id INT PRIMARY KEY, name VARCHAR(50)) DEFAULT CHARSET = utf8mb4
;;
ALTER DATABASE z_charsets CHARACTER SET latin1 COLLATE latin1_swedish_ci COMMENT = 'a database'
;;
CREATE FUNCTION f(a VARCHAR(10)) RETURNS VARCHAR(10) DETERMINISTIC RETURN a
;;
-- =
SELECT id, a, b, c, d, e, f, h, i, k, l FROM c ORDER BY id
;;
INSERT INTO c (id, a) VALUES (3, 'äpfel')
;;
SELECT COUNT(*) FROM general g JOIN fresh f ON f.name = g.name
;;
SELECT f('x')

-- # collations_of_every_name
-- tell: a column of every collation that the server has
BEGIN NOT ATOMIC
  SET SESSION group_concat_max_len = 1000000;
  FOR s IN (SELECT CHARACTER_SET_NAME AS c, GROUP_CONCAT(DISTINCT CONCAT('`', FULL_COLLATION_NAME, '` VARCHAR(3) CHARACTER SET ', CHARACTER_SET_NAME, ' COLLATE ', FULL_COLLATION_NAME, IF(CHARACTER_SET_NAME='binary', '', ' DEFAULT "a"')) ORDER BY 1) AS f FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY GROUP BY 1) DO
    EXECUTE IMMEDIATE CONCAT('CREATE TABLE of_', s.c, ' (id INT PRIMARY KEY, ', s.f, ')');
    EXECUTE IMMEDIATE CONCAT('INSERT INTO of_', s.c, ' (id) VALUES (1)');
  END FOR;
END
;;
-- =
SELECT COUNT(*) FROM of_utf8mb4
;;
SELECT utf8mb4_bin FROM of_utf8mb4

-- # names
-- tell: names with blanks, quotes, backticks, dots, percent signs, emoji, keywords, leading digits and dollars, of 64 bytes, differing by case
CREATE TABLE `a b` (`c d` INT PRIMARY KEY, `e"f` INT, `g'h` INT, `i``j` INT, `k.l` INT, `m%n` INT, `o\p` INT, `q
r` INT, `1st` INT, `$2` INT, ` lead` INT, `--` INT, `/*` INT, `;` INT, `ü` INT, `a,b` INT, `(x)` INT, `@x` INT)
;;
INSERT INTO `a b` VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
;;
CREATE TABLE `A B` (`Id` INT PRIMARY KEY)
;;
INSERT INTO `A B` VALUES (1)
;;
CREATE TABLE `t``a 'b" \ ü;-- x%` (`c``ol ü` INT PRIMARY KEY, KEY `k``ey` (`c``ol ü`))
;;
INSERT INTO `t``a 'b" \ ü;-- x%` VALUES (1)
;;
CREATE TABLE `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` (`yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy` INT PRIMARY KEY)
;;
CREATE TABLE `üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü` (id INT PRIMARY KEY)
;;
CREATE TABLE `select` (`from` INT PRIMARY KEY, `where` INT, `offset` INT, `rows` INT, `window` INT, `system` INT, `vector` TEXT, `value` INT, `period` INT, `conversion` INT, `to_char` INT, `uuid` INT, `inet4` INT, `nested` INT, `ignored` INT)
;;
INSERT INTO `select` (`from`, `vector`) VALUES (1, 'v')
;;
CREATE VIEW `table` AS SELECT `from`, `vector` AS `window` FROM `select`
;;
CREATE TABLE `1` (`2` INT PRIMARY KEY)
;;
CREATE TABLE `1e5` (`0x1` INT PRIMARY KEY)
;;
CREATE TABLE `$d` (id INT PRIMARY KEY)
;;
CREATE TABLE `#sql-x` (id INT PRIMARY KEY)
;;
CREATE TABLE `con` (id INT PRIMARY KEY)
;;
CREATE TABLE `a.b.c` (id INT PRIMARY KEY)
;;
CREATE TABLE `@@x` (id INT PRIMARY KEY)
;;
CREATE PROCEDURE `p ``odd. 'x'`() SELECT 'odd' AS `a``b`
;;
-- =
SELECT * FROM `table`
;;
CALL `p ``odd. 'x'`()
;;
INSERT INTO `1e5` VALUES (5)
;;
ALTER TABLE `a b` RENAME COLUMN `1st` TO first

-- # rights
-- tell: users, roles and rights of every kind
-- + coffer
CREATE ROLE z_readers
;;
CREATE ROLE `z odd role`
;;
CREATE TABLE z_rights.t (id INT PRIMARY KEY, a INT, b INT)
;;
INSERT INTO z_rights.t VALUES (1, 2, 3)
;;
CREATE FUNCTION z_rights.f() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER RETURN 5
;;
CREATE PROCEDURE z_rights.p() SQL SECURITY INVOKER SELECT 6
;;
GRANT SELECT ON z_rights.* TO z_readers
;;
GRANT z_readers TO other@'%' WITH ADMIN OPTION
;;
GRANT z_readers TO `z odd role`
;;
SET DEFAULT ROLE z_readers FOR other@'%'
;;
GRANT SELECT (id, a), UPDATE (a), INSERT (id), REFERENCES (id) ON z_rights.t TO other@'%' WITH GRANT OPTION
;;
GRANT EXECUTE ON FUNCTION z_rights.f TO other@'%' WITH GRANT OPTION
;;
GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE z_rights.p TO other@'%'
;;
CREATE USER `z odd'user`@`10.0.0.0/255.0.0.0` IDENTIFIED BY 'x' REQUIRE SSL WITH MAX_USER_CONNECTIONS 3 MAX_QUERIES_PER_HOUR 100 MAX_STATEMENT_TIME 5 ACCOUNT LOCK
;;
CREATE USER z_expired@'%' IDENTIFIED BY 'x'
;;
CREATE USER z_never@'localhost' IDENTIFIED BY 'x' REQUIRE SUBJECT '/CN=x' ISSUER '/CN=y' CIPHER 'AES' PASSWORD EXPIRE INTERVAL 30 DAY
;;
CREATE USER z_empty@'%'
;;
CREATE USER z_two@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('x') OR unix_socket
;;
GRANT SELECT ON `z\_rights`.* TO z_never@'localhost'
;;
GRANT SELECT ON `z_right%`.* TO z_expired@'%'
;;
GRANT SELECT, SHOW VIEW, CREATE TEMPORARY TABLES, LOCK TABLES, EVENT, TRIGGER, DELETE HISTORY ON z_rights.* TO z_two@'%'
;;
GRANT SELECT ON z_rights.t TO PUBLIC
;;
CREATE DEFINER = other@'%' SQL SECURITY DEFINER VIEW z_rights.v AS SELECT id FROM z_rights.t
;;
CREATE DEFINER = z_readers PROCEDURE z_rights.as_role() SELECT CURRENT_ROLE()
;;
-- = other
SELECT id, a FROM z_rights.t
;;
SELECT z_rights.f()
;;
CALL z_rights.p()
;;
SELECT * FROM z_rights.v
;;
INSERT INTO z_rights.t (id) VALUES (9)
;;
UPDATE z_rights.t SET b = 1
;;
SELECT CURRENT_ROLE()

-- # rights_expired
-- tell: passwords that have expired, and since when they are what they are
-- + coffer
CREATE USER z_gone@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE
;;
CREATE USER z_interval@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 30 DAY
;;
-- = coffer
SELECT User, JSON_VALUE(Priv, '$.password_last_changed') FROM mysql.global_priv WHERE User IN ('z_gone', 'z_interval') ORDER BY 1

-- # texts_beyond_the_plane
-- tell: characters of four bytes in definitions: members of ENUM and SET, defaults, checks, generated columns, partitions, views
CREATE TABLE e (id INT PRIMARY KEY, m ENUM('a', 'ü🦀') CHARACTER SET utf8mb4, s SET('x', '🦀') CHARACTER SET utf8mb4, d VARCHAR(10) CHARACTER SET utf8mb4 DEFAULT '🦀', g VARCHAR(20) CHARACTER SET utf8mb4 AS (CONCAT(d, 'x')) STORED)
;;
INSERT INTO e (id, m, s) VALUES (1, 'ü🦀', '🦀')
;;
-- =
SELECT id, HEX(m), HEX(s), HEX(d), HEX(g), HEX(DEFAULT(d)) FROM e
;;
INSERT INTO e (id, m) VALUES (2, 'ü🦀')
;;
SELECT id, HEX(m), HEX(d), HEX(g) FROM e ORDER BY id

-- # vector
-- since: 1108
-- tell: what 11.8 brought: VECTOR columns and indexes
CREATE TABLE v (id INT PRIMARY KEY, e VECTOR(3) NOT NULL, VECTOR INDEX (e) M = 8 DISTANCE = cosine)
;;
INSERT INTO v VALUES (1, VEC_FromText('[1,2,3]'))
;;
-- =
SELECT id, VEC_ToText(e) FROM v

-- # types_of_11_8
-- since: 1108
-- tell: timestamps beyond 2038, and XML
CREATE TABLE t (id INT PRIMARY KEY, a TIMESTAMP NULL)
;;
INSERT INTO t VALUES (1, '2100-01-01 00:00:00')
;;
-- =
SELECT * FROM t
