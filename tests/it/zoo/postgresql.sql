-- What PostgreSQL knows and a tenant can have. Read by `postgresql.rs`: each thing has a schema of its own, `z_` and its
-- name, which is the first of its search path; `app` makes it.
--
-- `-- # name` begins a thing; the lines that follow it say
--   `-- tell:` what it is, in the table of api-ref;
--   `-- since:` the first version that has it;
--   `-- twin:`, `-- in_place:` its fate, where it is not carried: `refused` or `warned`, and a part of the finding's object;
--   `-- undo:` what takes it away beside its schema.
-- `-- =` begins what a tenant does with it afterwards, on both sides, with the same answers; a user may follow.
-- A line that is `;;` ends a statement.

-- # types_plain
-- tell: columns of every base type, with its edge values, and NULL
CREATE TABLE _bool (id int PRIMARY KEY, v bool)
;;
INSERT INTO _bool VALUES (1, true), (2, false), (3, NULL)
;;
CREATE TABLE _numbers (id int PRIMARY KEY, a int2, b int4, c int8, d numeric, e numeric(38, 10), f money, g numeric(3, -2), h oid, i xid, j xid8, k cid)
;;
INSERT INTO _numbers VALUES
 (1, -32768, -2147483648, -9223372036854775808, 'NaN', -9999999999999999999999999999.0123456789, '-92233720368547758.08', 12345, 0, '0', '0', '0'),
 (2, 32767, 2147483647, 9223372036854775807, 'Infinity', 0.0000000001, '92233720368547758.07', -99900, 4294967295, '4294967295', '18446744073709551615', '4294967295'),
 (3, 0, 0, 0, '-Infinity', 0, '0', 0, 1, '1', '1', '1'),
 (4, 1, 1, 1, 1.10, 1.1, '1', 100, NULL, NULL, NULL, NULL),
 (5, NULL, NULL, NULL, 1.1000000000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (6, NULL, NULL, NULL, 1e-1000, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (7, NULL, NULL, NULL, 9e9999, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
;;
CREATE TABLE _floats (id int PRIMARY KEY, a float4, b float8)
;;
INSERT INTO _floats VALUES (1, 'NaN', 'NaN'), (2, 'Infinity', '-Infinity'), (3, '-0', '-0'), (4, 1e-45, 5e-324), (5, 3.4028235e38, 1.7976931348623157e308),
 (6, 0.1234567, 0.1), (7, 16777217, 9007199254740993), (8, 1.1754944e-38, 2.2250738585072014e-308), (9, 0.1::float4, 0.1::float8 + 0.2::float8), (10, NULL, NULL)
;;
CREATE TABLE _texts (id int PRIMARY KEY, a text, b varchar(5), c char(5), d "char", e name, f bpchar, g bytea, h varchar)
;;
INSERT INTO _texts VALUES
 (1, '', '', '', '', '', '', '', ''),
 (2, E'tab\tnew\nline\rcr\\back''quote"\u0001', 'a  ', 'a  ', 'x', repeat('n', 63)::name, 'a  ', '\x00ff0a0d5c27', E'\\N'),
 (3, repeat('ü🦀', 5000), '🦀🦀🦀🦀🦀', 'ü', '\200', 'Name', 'ü   ', decode(repeat('00ff', 20000), 'hex'), '\N'),
 (4, E'\\.', 'NULL', 'NULL', 'N', 'null', 'NULL', '\x', E'\\.'),
 (5, U&'e\0301', E'\u00e9', 'é', NULL, NULL, NULL, NULL, NULL),
 (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
;;
CREATE TABLE _times (id int PRIMARY KEY, a date, b time, c timetz, d timestamp, e timestamptz, f interval, g timestamp(0), h time(3), i interval day to second(2))
;;
INSERT INTO _times VALUES
 (1, '-infinity', '00:00', '00:00+15:59', '-infinity', '-infinity', '-178000000 years', '2000-01-01', '00:00', '1 day'),
 (2, 'infinity', '24:00', '24:00-15:59', 'infinity', 'infinity', '178000000 years', '1999-12-31 23:59:59.6', '23:59:59.9999', '1 day 00:00:01.239'),
 (3, '4713-01-01 BC', '23:59:59.999999', '12:34:56.789+02:30:15', '4713-01-01 BC', '4713-01-02 BC', '1 mon -1 day 00:00:00.000001', NULL, NULL, NULL),
 (4, '5874897-12-31', '00:00:00.000001', '00:00:00.000001+00', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '-1 mon +1 day -00:00:00.000001', NULL, NULL, NULL),
 (5, '0001-01-01 BC', NULL, NULL, '1900-01-01 00:00:00.1', '1883-11-18 12:03:58 America/New_York', '0', NULL, NULL, NULL)
;;
CREATE TABLE _nets (id int PRIMARY KEY, a inet, b cidr, c macaddr, d macaddr8, e uuid, f bit(3), g bit varying(10), h bit varying)
;;
INSERT INTO _nets VALUES (1, '0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', '00000000-0000-0000-0000-000000000000', b'000', b'', b''),
 (2, '::ffff:1.2.3.4/128', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', 'ffffffff-ffff-ffff-ffff-ffffffffffff', b'101', b'1010101010', repeat('10', 500)::bit varying),
 (3, '10.1.2.3/8', NULL, NULL, NULL, NULL, NULL, NULL, NULL)
;;
CREATE TABLE _shapes (id int PRIMARY KEY, a point, b line, c lseg, d box, e path, f polygon, g circle, h path)
;;
INSERT INTO _shapes VALUES (1, '(0.1,-0)', '{1,2,3}', '[(0,0),(1,1e-300)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0.1))', '<(0,0),1e10>', '((0,0),(1,1))'),
 (2, '(NaN,Infinity)', '{-1,0,0.1}', NULL, '(NaN,Infinity),(-Infinity,-1)', NULL, NULL, NULL, NULL)
;;
CREATE TABLE _documents (id int PRIMARY KEY, a json, b jsonb, c jsonpath, d xml, e tsvector, f tsquery)
;;
INSERT INTO _documents VALUES (1, '{"a" : 1.0, "a": [1,2 ], "ü": "\u0001"}', '{"b": 1e400, "a": 1.10, "": null}', '$.a[*] ? (@ > 1)', '<a b="1">x<!-- c --></a>', 'a:1A fat:2B,4C ''odd '''' one''', '!a & (b | c:*AB) <3> d'),
 (2, 'null', 'null', 'lax $', 'text only', '', ''), (3, '"s"', '"s"', 'strict $.**{2 to last}', '<?xml version="1.0"?><r/>', NULL, NULL), (4, '[]', '[]', NULL, NULL, NULL, NULL)
;;
CREATE TABLE _inner (id int PRIMARY KEY, a pg_lsn, b pg_snapshot, c txid_snapshot, d tid, e refcursor, f oidvector, g int2vector)
;;
INSERT INTO _inner VALUES (1, '0/0', '1:1:', '1:1:', '(0,0)', 'cur', '', '1 2'), (2, 'FFFFFFFF/FFFFFFFF', '10:20:10,14', '10:20:10,14', '(4294967295,65535)', '', '1 2 3', '')
;;
CREATE TABLE _ranges (id int PRIMARY KEY, a int4range, b int8range, c numrange, d tsrange, e tstzrange, f daterange,
 g int4multirange, h int8multirange, i nummultirange, j tsmultirange, k tstzmultirange, l datemultirange)
;;
INSERT INTO _ranges VALUES (1, 'empty', '(,)', '[1.10,1.1]', '[-infinity,infinity]', '(,2026-01-01 00:00:00+03)', '[2026-01-01,)', '{}', '{[1,2),[5,9)}', '{(1.5,2.50],[9,)}', '{(,)}', '{[2026-01-01 00:00:00+01,2026-01-02 00:00:00+01)}', '{[2026-01-01,2026-01-05)}'),
 (2, '[1,2147483647)', 'empty', '(NaN,)', 'empty', 'empty', 'empty', '{empty}', '{}', '{}', '{}', '{}', '{}')
;;
CREATE TABLE _arrays (id int PRIMARY KEY, a int[], b text[][], c float4[], d json[], e bytea[], f timestamptz[], g numeric[3], h int4range[], i uuid[], j box[])
;;
INSERT INTO _arrays VALUES (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
 (2, '[-5:-4][0:1]={{1,2},{3,NULL}}', '{{"a","NULL"},{NULL,"{},\\\""}}', '{NaN,-0,1e-45,0.1234567}', ARRAY['{"a":1}'::json, 'null'], ARRAY['\x00'::bytea, ''], '{infinity,"2026-01-01 00:00:00.000001+00"}', '{1.10,NaN}', '{"[1,2)",empty}', '{00000000-0000-0000-0000-000000000000}', '{(1,1),(0,0);(2,2),(1,1)}')
;;
-- =
SELECT count(*), sum(h::int) FROM _bool, LATERAL (SELECT v::int AS h) x
;;
INSERT INTO _floats SELECT id + 100, a, b FROM _floats

-- # types_registered
-- tell: columns of the types `regclass`, `regrole` and `regtype`
CREATE TABLE _target (id int PRIMARY KEY)
;;
CREATE TABLE _named (id int PRIMARY KEY, a regclass, b regtype, c regrole)
;;
INSERT INTO _named VALUES (1, 'pg_class', 'int4', 'app'), (2, 'z_types_registered._target', 'z_types_registered._target', NULL)
;;
-- =
SELECT * FROM _named ORDER BY id

-- # types_of_numbers
-- tell: columns of the types `regproc`, `regprocedure`, `regoper`, `regoperator`, `regconfig`, `regdictionary`, `regnamespace`, `regcollation`, `aclitem`
-- in_place: refused z_types_of_numbers._named
CREATE TABLE _named (id int PRIMARY KEY, a regproc, b regprocedure, c regoper, d regoperator, e regconfig, f regdictionary, g regnamespace, h regcollation, i aclitem)
;;
INSERT INTO _named VALUES (1, 'pg_sleep', 'pg_sleep(float8)', '||/', '+(int4,int4)', 'english', 'simple', 'pg_catalog', '"C"', 'app=r/app')

-- # types_own
-- tell: enums, domains, composites, ranges and multiranges of the tenant's, arrays of them, and values in them
CREATE TYPE mood AS ENUM ('sad', 'ok', 'Very "glad"', 'o''k', 'ü🦀')
;;
ALTER TYPE mood ADD VALUE 'first' BEFORE 'sad'
;;
ALTER TYPE mood ADD VALUE 'between' AFTER 'ok'
;;
CREATE TYPE mood_less AS ENUM ()
;;
CREATE DOMAIN amount AS numeric(12, 2) DEFAULT 1.5 NOT NULL CONSTRAINT positive CHECK (VALUE >= 0) CHECK (VALUE < 1e6)
;;
CREATE DOMAIN amounts AS amount[] CHECK (array_length(VALUE, 1) < 5)
;;
CREATE DOMAIN word AS varchar(9) COLLATE "C" CHECK (VALUE ~ '^[a-z]*$')
;;
ALTER DOMAIN word ADD CONSTRAINT late CHECK (VALUE <> 'x') NOT VALID
;;
CREATE TYPE place AS (street text, "No" int, word word, m mood)
;;
CREATE TYPE nested AS (p place, ps place[], f float4)
;;
CREATE TYPE empty_one AS ()
;;
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = z_multispan)
;;
CREATE TYPE words AS RANGE (subtype = text, collation = "C", multirange_type_name = many_words)
;;
CREATE DOMAIN short_span AS span CHECK (upper(VALUE) - lower(VALUE) < 10)
;;
CREATE TABLE _own (id int PRIMARY KEY, a mood, b mood[], c amount, d amounts, e word, f place, g nested, h span, i z_multispan, j many_words, k short_span, l place[], m span[])
;;
INSERT INTO _own VALUES (1, 'first', '{"Very \"glad\"",ok,NULL}', 0, '{1,2.50}', 'abc', ROW('a,b"c(d)', NULL, 'w', 'between')::place, ROW(ROW(NULL, 1, NULL, 'ok'), ARRAY[ROW('', 2, '', 'sad')::place], 0.1234567)::nested,
 '[0.1,NaN)', '{[1,2),[3,4)}', '{[a,b],(c,)}', '[1,2]', ARRAY[ROW('x', 1, 'y', NULL)::place, NULL], '{"[1,2)",empty}'), (2, NULL, NULL, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
;;
CREATE TABLE _of OF place (PRIMARY KEY (street), "No" WITH OPTIONS DEFAULT 7)
;;
INSERT INTO _of (street) VALUES ('s')
;;
COMMENT ON TYPE mood IS 'of a person'
;;
COMMENT ON DOMAIN amount IS 'of money'
;;
COMMENT ON CONSTRAINT positive ON DOMAIN amount IS 'never in debt'
;;
COMMENT ON COLUMN place."No" IS 'of the house'
;;
GRANT USAGE ON TYPE mood TO clerk WITH GRANT OPTION
;;
REVOKE USAGE ON TYPE place FROM PUBLIC
;;
-- =
INSERT INTO _own (id, a, c) VALUES (3, 'between', DEFAULT)
;;
SELECT id, c FROM _own WHERE a > 'first' ORDER BY a, id
;;
INSERT INTO _own (id, c) VALUES (4, -1)
;;
INSERT INTO _of (street) VALUES ('t')
;;
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'
;;
DROP TYPE empty_one
;;
ALTER DOMAIN amount DROP CONSTRAINT positive

-- # names
-- tell: names with blanks, quotes, backticks, dots, percent signs, slashes, new lines, emoji, keywords, leading digits and dollars, of 63 bytes, differing by case
CREATE TABLE "a b" ("c d" int PRIMARY KEY, "e""f" text, "g'h" text, "i`j" text, "k.l" text, "m%n%s" text, "o\p" text, "q
r" text, "🦀" text, "1st" text, "$2" text, " lead" text, "trail " text, "(x)" text, "a,b" text, "--" text, "/*" text, ";" text, "tab	tab" text)
;;
INSERT INTO "a b" VALUES (1, 'e', 'g', 'i', 'k', 'm', 'o', 'q', 'crab', '1', '2', 'l', 't', 'x', 'ab', 'c', 's', ';', 'tt')
;;
CREATE TABLE "A B" ("Id" int PRIMARY KEY, id int, "ID" int, "iD" int)
;;
INSERT INTO "A B" VALUES (1, 2, 3, 4)
;;
CREATE TABLE "o'd""d %s\ü;-- x" ("c'o""l %s\ü;-- y" int PRIMARY KEY)
;;
INSERT INTO "o'd""d %s\ü;-- x" VALUES (1)
;;
CREATE TABLE "new
line" ("a
b" int PRIMARY KEY CHECK ("a
b" > 0))
;;
CREATE TABLE "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" ("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" serial PRIMARY KEY, "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü1" int UNIQUE)
;;
INSERT INTO "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" ("üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü1") VALUES (5), (6)
;;
CREATE TABLE "select" ("from" int PRIMARY KEY, "where" int DEFAULT 1, "user" text DEFAULT 'u', "order" int, "current_user" int, "json" jsonb, "system_user" text, "absent" int, "conditional" int,
 "error" int, "json_array" int, "json_arrayagg" int, "json_exists" int, "json_object" int, "json_objectagg" int, "json_query" int, "json_scalar" int, "json_serialize" int, "json_table" int, "json_value" int, "keep" int, "keys" int,
 "merge_action" int, "nested" int, "omit" int, "path" int, "plan" int, "quotes" int, "scalar" int, "source" int, "string" int, "target" int, "unconditional" int, "virtual" int, "enforced" int, "objects" int, "period" int, "without" int, "format" int, "indent" int)
;;
CREATE INDEX ON "select" USING gin ("json")
;;
CREATE VIEW "table" AS SELECT "json", "system_user", "plan", "json_value" AS "json_query" FROM "select" WHERE "system_user" IS NOT NULL
;;
ALTER TABLE "select" ADD CHECK ("json_scalar" > 0 OR "merge_action" > 0), ADD UNIQUE ("json_table", "keys")
;;
INSERT INTO "select" ("from", "json", "system_user") VALUES (1, '{"a": 1}', 'app')
;;
CREATE TYPE "json_array" AS ENUM ('json', 'system_user')
;;
CREATE SEQUENCE "json_serialize"
;;
CREATE TABLE "json_table" ("json_array" "json_array" PRIMARY KEY)
;;
CREATE SCHEMA "z_names json"
;;
CREATE TABLE "z_names json"."json" ("json" "json_array" PRIMARY KEY DEFAULT 'json')
;;
INSERT INTO "z_names json"."json" VALUES (DEFAULT)
;;
CREATE SCHEMA "z_names. ""q'%"
;;
CREATE TABLE "z_names. ""q'%"."t.u" (id int PRIMARY KEY, s serial)
;;
INSERT INTO "z_names. ""q'%"."t.u" VALUES (1)
;;
COMMENT ON TABLE "z_names. ""q'%"."t.u" IS E'it''s "odd"\n\\ü🦀 $$ %s'
;;
-- undo: DROP SCHEMA "z_names json" CASCADE
-- undo: DROP SCHEMA "z_names. ""q'%" CASCADE
-- =
SELECT * FROM "table"
;;
INSERT INTO "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" DEFAULT VALUES
;;
INSERT INTO "z_names. ""q'%"."t.u" VALUES (2)
;;
SELECT nextval('"json_serialize"')
;;
ALTER TABLE "a b" RENAME COLUMN "q
r" TO plain

-- # names_of_arguments
-- tell: keywords of newer versions as names of functions, of their arguments, and of columns in policies
CREATE TABLE _policies (id int PRIMARY KEY, "system_user" text, "json_exists" int)
;;
ALTER TABLE _policies ENABLE ROW LEVEL SECURITY
;;
CREATE POLICY "policy" ON _policies USING ("system_user" = current_user OR "json_exists" IS NULL)
;;
CREATE FUNCTION "json_value"("json" int, "system_user" int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2'
;;
CREATE FUNCTION "json_scalar"(OUT "json_table" int, OUT "merge_action" text) RETURNS SETOF record LANGUAGE sql AS $$ SELECT 1, 'x'::text $$
;;
CREATE FUNCTION "xmltable"("json" int) RETURNS TABLE ("json_exists" int, "json_query" int) LANGUAGE sql AS 'SELECT $1, 2'
;;
-- =
SELECT "json_value"("json" => 1)
;;
SELECT "merge_action" FROM "json_scalar"()
;;
INSERT INTO _policies VALUES (1, 'app', 1)
;;
SELECT id FROM _policies

-- # tables
-- tell: tables with identity, serial and generated columns, defaults, storage, compression, statistics targets, options, comments, dropped and added columns
CREATE TABLE _a (id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 3 MINVALUE 10 MAXVALUE 100000 CACHE 4 CYCLE) PRIMARY KEY,
 other int GENERATED BY DEFAULT AS IDENTITY, s smallserial, b bigserial, name text NOT NULL DEFAULT 'it''s', twice numeric GENERATED ALWAYS AS (s * 2.5) STORED,
 at timestamptz DEFAULT '2026-01-01 00:00+00', who name DEFAULT current_user, big text, flat text, ext text, main text, arr int[] DEFAULT '{1,2}', doc jsonb DEFAULT '{"a": [1]}')
;;
ALTER TABLE _a ALTER big SET STORAGE EXTERNAL, ALTER flat SET STORAGE PLAIN, ALTER main SET STORAGE MAIN, ALTER ext SET COMPRESSION pglz, ALTER name SET STATISTICS 777, ALTER s SET (n_distinct = -0.5), ALTER b SET (n_distinct = 12, n_distinct_inherited = 3), ALTER flat SET STATISTICS 0
;;
ALTER TABLE _a SET (fillfactor = 70, autovacuum_enabled = false, autovacuum_vacuum_threshold = 77, autovacuum_analyze_scale_factor = 0.01, toast_tuple_target = 200, parallel_workers = 3, toast.autovacuum_enabled = false, toast.vacuum_truncate = false, user_catalog_table = false, autovacuum_freeze_max_age = 200000000, vacuum_index_cleanup = off)
;;
INSERT INTO _a (name, big) SELECT 'n' || n, repeat(md5(n::text), 200) FROM generate_series(1, 40) n
;;
COMMENT ON TABLE _a IS 'a''s "table"'
;;
COMMENT ON COLUMN _a.name IS E'line\nline'
;;
CREATE TABLE _dropped (a int, b text, c int, d int)
;;
INSERT INTO _dropped VALUES (1, 'x', 2, 3), (2, 'y', 3, 4)
;;
ALTER TABLE _dropped DROP COLUMN a
;;
ALTER TABLE _dropped ADD COLUMN e int DEFAULT 9, ADD f text DEFAULT 'missing', ADD PRIMARY KEY (c), DROP COLUMN d
;;
CREATE INDEX ON _dropped (e) INCLUDE (f) WHERE f <> ''
;;
CREATE STATISTICS _dropped_s ON e, f FROM _dropped
;;
INSERT INTO _dropped (b, c) VALUES ('z', 4)
;;
CREATE TABLE _nothing ()
;;
ALTER TABLE _nothing REPLICA IDENTITY FULL
;;
INSERT INTO _nothing DEFAULT VALUES
;;
INSERT INTO _nothing DEFAULT VALUES
;;
CREATE TABLE _keyless (a int, b text)
;;
ALTER TABLE _keyless REPLICA IDENTITY FULL
;;
INSERT INTO _keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL)
;;
CREATE TABLE _by_index (a int NOT NULL, b text)
;;
CREATE UNIQUE INDEX _by_index_u ON _by_index (a)
;;
ALTER TABLE _by_index REPLICA IDENTITY USING INDEX _by_index_u
;;
CREATE TABLE _clustered (a int PRIMARY KEY, b int)
;;
CREATE INDEX _clustered_b ON _clustered (b DESC NULLS LAST)
;;
INSERT INTO _clustered SELECT n, -n FROM generate_series(1, 50) n
;;
CLUSTER _clustered USING _clustered_b
;;
CREATE TABLE _as AS SELECT 1 AS one, 'x'::varchar(3) AS x
;;
ALTER TABLE _as ADD PRIMARY KEY (one)
;;
CREATE TABLE _wide (id int PRIMARY KEY)
;;
DO $$ BEGIN FOR i IN 1..600 LOOP EXECUTE format('ALTER TABLE _wide ADD c%s int DEFAULT %s', i, i); END LOOP; END $$
;;
INSERT INTO _wide (id) VALUES (1)
;;
-- =
INSERT INTO _a (name) VALUES ('new')
;;
SELECT max(id), max(other), max(s), max(b), sum(twice) FROM _a
;;
INSERT INTO _a (id, name) VALUES (1, 'x')
;;
ALTER TABLE _a ALTER name TYPE varchar(100), ALTER id SET INCREMENT 7
;;
INSERT INTO _dropped (c) VALUES (77)
;;
SELECT * FROM _dropped ORDER BY c
;;
UPDATE _keyless SET b = 'y' WHERE a IS NULL
;;
CLUSTER _clustered
;;
VACUUM ANALYZE _a
;;
DROP TABLE _as

-- # tables_like
-- tell: a table made LIKE another, with its identity, defaults, indexes, statistics and comments
CREATE TABLE _a (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, b text DEFAULT 'b' CHECK (b <> ''), c int GENERATED ALWAYS AS (id * 2) STORED)
;;
CREATE INDEX ON _a (b)
;;
CREATE STATISTICS _s ON id, b FROM _a
;;
COMMENT ON COLUMN _a.b IS 'b'
;;
CREATE TABLE _like (LIKE _a INCLUDING ALL, extra int)
;;
INSERT INTO _like (extra) VALUES (1)
;;
-- =
INSERT INTO _like (extra) VALUES (2) RETURNING id

-- # unlogged
-- tell: UNLOGGED tables and their rows
-- twin: refused z_unlogged.
CREATE UNLOGGED TABLE _unlogged (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)
;;
INSERT INTO _unlogged (v) SELECT repeat('x', n) FROM generate_series(1, 100) n
;;
CREATE UNLOGGED TABLE _unlogged_keyless (v text)
;;
INSERT INTO _unlogged_keyless VALUES ('a'), ('a'), (NULL), (repeat('long', 10000))
;;
CREATE INDEX ON _unlogged (v)
;;
-- =
INSERT INTO _unlogged (v) VALUES ('new') RETURNING id
;;
SELECT count(*), sum(length(v)) FROM _unlogged

-- # unlogged_sequences
-- since: 15
-- tell: UNLOGGED sequences
CREATE UNLOGGED SEQUENCE _s
;;
SELECT count(nextval('_s')) FROM generate_series(1, 9)
;;
-- =
SELECT nextval('_s')

-- # partitions
-- tell: partitions by range, list and hash, with a default, partitions of partitions, attached ones, keys of several columns and of expressions, indexes, constraints and triggers of all of them
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.what := coalesce(NEW.what, 'noted'); RETURN NEW; END $$
;;
CREATE TABLE _range (day date NOT NULL, id int NOT NULL, what text) PARTITION BY RANGE (day)
;;
CREATE TABLE _range_a PARTITION OF _range FOR VALUES FROM (MINVALUE) TO ('2026-01-01')
;;
CREATE TABLE _range_b PARTITION OF _range FOR VALUES FROM ('2026-01-01') TO ('2026-07-01') PARTITION BY LIST (id)
;;
CREATE TABLE _range_b_x PARTITION OF _range_b (what DEFAULT 'x') FOR VALUES IN (100, 101, 102, 5000)
;;
ALTER TABLE _range ADD PRIMARY KEY (day, id)
;;
CREATE TABLE _range_b_rest PARTITION OF _range_b DEFAULT
;;
CREATE TABLE _range_d PARTITION OF _range DEFAULT
;;
CREATE TABLE _list (k text, v int) PARTITION BY LIST (lower(k))
;;
CREATE TABLE _list_a PARTITION OF _list FOR VALUES IN ('a', 'b')
;;
ALTER TABLE _list_a REPLICA IDENTITY FULL
;;
CREATE TABLE _hash (id int PRIMARY KEY, v text) PARTITION BY HASH (id)
;;
CREATE TABLE _hash_0 PARTITION OF _hash FOR VALUES WITH (MODULUS 4, REMAINDER 0)
;;
CREATE TABLE _hash_1 PARTITION OF _hash FOR VALUES WITH (MODULUS 4, REMAINDER 1) WITH (fillfactor = 50)
;;
CREATE TABLE _hash_2 (v text, extra int, id int NOT NULL)
;;
ALTER TABLE _hash_2 DROP COLUMN extra
;;
ALTER TABLE _hash ATTACH PARTITION _hash_2 FOR VALUES WITH (MODULUS 4, REMAINDER 2)
;;
CREATE TABLE _hash_3 PARTITION OF _hash FOR VALUES WITH (MODULUS 4, REMAINDER 3)
;;
CREATE TABLE _many (a int, b text COLLATE "C", c int, PRIMARY KEY (a, b, c)) PARTITION BY RANGE (a, b, c)
;;
CREATE TABLE _many_1 PARTITION OF _many FOR VALUES FROM (1, 'a', MINVALUE) TO (1, 'b', 5)
;;
CREATE TABLE _many_2 PARTITION OF _many FOR VALUES FROM (1, 'b', 5) TO (MAXVALUE, MAXVALUE, MAXVALUE)
;;
CREATE TABLE _detached PARTITION OF _range FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')
;;
INSERT INTO _range SELECT '2025-12-01'::date + n, n, CASE n % 3 WHEN 0 THEN 'x' WHEN 1 THEN 'it''s' ELSE 'rest' END FROM generate_series(1, 300) n
;;
INSERT INTO _list VALUES ('A', 1), ('b', 2)
;;
INSERT INTO _hash SELECT n, 'v' || n FROM generate_series(1, 100) n
;;
INSERT INTO _many VALUES (1, 'a', 1), (1, 'b', 5), (2, 'z', 9)
;;
CREATE INDEX _range_what ON _range (what) INCLUDE (id)
;;
CREATE INDEX _range_only ON ONLY _range (id)
;;
CREATE INDEX _range_a_id ON _range_a (id)
;;
ALTER INDEX _range_only ATTACH PARTITION _range_a_id
;;
CREATE TRIGGER noted BEFORE INSERT ON _range FOR EACH ROW EXECUTE FUNCTION noted()
;;
ALTER TABLE _range_a DISABLE TRIGGER noted
;;
ALTER TABLE _range ADD CONSTRAINT small CHECK (id < 100000)
;;
ALTER TABLE _range DETACH PARTITION _detached
;;
GRANT SELECT ON _range TO clerk
;;
GRANT UPDATE (what) ON _range_a TO clerk
;;
GRANT SELECT (what), UPDATE (day) ON _range TO clerk WITH GRANT OPTION
;;
GRANT REFERENCES (id) ON _hash TO PUBLIC
;;
COMMENT ON TABLE _range_b IS 'a part'
;;
-- =
INSERT INTO _range (day, id) VALUES ('2026-03-01', 5000), ('2029-01-01', 5001)
;;
SELECT tableoid::regclass::text, count(*) FROM _range GROUP BY 1 ORDER BY 1
;;
UPDATE _range SET day = '2024-01-01' WHERE id = 200
;;
ALTER TABLE _range DETACH PARTITION _range_d
;;
ALTER TABLE _range ATTACH PARTITION _detached FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')
;;
INSERT INTO _hash SELECT n FROM generate_series(1000, 1010) n
;;
SELECT count(*) FROM _hash_2

-- # partitions_referenced
-- tell: foreign keys that reference a table with partitions, and such of one
CREATE TABLE _h (id int PRIMARY KEY) PARTITION BY HASH (id)
;;
CREATE TABLE _h_0 PARTITION OF _h FOR VALUES WITH (MODULUS 2, REMAINDER 0)
;;
CREATE TABLE _h_1 PARTITION OF _h FOR VALUES WITH (MODULUS 2, REMAINDER 1)
;;
INSERT INTO _h SELECT generate_series(1, 10)
;;
CREATE TABLE _f (id int PRIMARY KEY, h int REFERENCES _h DEFERRABLE INITIALLY DEFERRED)
;;
INSERT INTO _f VALUES (1, 1), (2, 2)
;;
CREATE TABLE _p (id int PRIMARY KEY, h int CONSTRAINT named REFERENCES _h ON DELETE CASCADE) PARTITION BY RANGE (id)
;;
CREATE TABLE _p_1 PARTITION OF _p FOR VALUES FROM (0) TO (100)
;;
INSERT INTO _p VALUES (1, 3)
;;
-- =
INSERT INTO _f VALUES (3, 1000)
;;
DELETE FROM _h WHERE id = 3
;;
SELECT count(*) FROM _p
;;
DELETE FROM _h WHERE id = 1

-- # inheritance
-- tell: tables that inherit from one or more, with columns and constraints of their own and merged ones
CREATE TABLE _parent (id int PRIMARY KEY, a text DEFAULT 'p' NOT NULL, CHECK (id > 0), CONSTRAINT mine CHECK (a <> '') NO INHERIT)
;;
CREATE TABLE _other (b int DEFAULT 5, a text)
;;
ALTER TABLE _other REPLICA IDENTITY FULL
;;
CREATE TABLE _child (c int, PRIMARY KEY (id)) INHERITS (_parent, _other)
;;
CREATE TABLE _grand (a text DEFAULT 'g', PRIMARY KEY (id)) INHERITS (_child)
;;
ALTER TABLE _grand ALTER b SET DEFAULT 6
;;
CREATE TABLE _adopted (id int PRIMARY KEY, a text NOT NULL, x int, CHECK (id > 0))
;;
ALTER TABLE _adopted RENAME CONSTRAINT _adopted_id_check TO _parent_id_check
;;
ALTER TABLE _adopted INHERIT _parent
;;
CREATE TABLE _left (PRIMARY KEY (id)) INHERITS (_parent)
;;
ALTER TABLE _left NO INHERIT _parent
;;
INSERT INTO _parent (id) VALUES (1)
;;
INSERT INTO _child (id, c) VALUES (2, 3)
;;
INSERT INTO _grand (id) VALUES (3)
;;
INSERT INTO _adopted VALUES (4, 'q')
;;
INSERT INTO _other VALUES (1, 'o')
;;
-- =
INSERT INTO _grand (id) VALUES (9)
;;
SELECT id, a FROM _parent ORDER BY id
;;
SELECT b, a FROM _other ORDER BY b, a
;;
ALTER TABLE _parent ADD COLUMN late int DEFAULT 3
;;
SELECT late, count(*) FROM _parent GROUP BY late
;;
INSERT INTO _child (id) VALUES (-1)

-- # indexes
-- tell: indexes of every method, with options, INCLUDE, predicates, expressions, orders, collations and operator classes
CREATE FUNCTION low(t text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.lower($1)'
;;
CREATE TABLE _i (id int PRIMARY KEY, t text, v varchar(20), a int[], j jsonb, p point, b box, ts tsvector, r int4range, n inet, u uuid, q tsquery, c circle, d date)
;;
INSERT INTO _i SELECT n, 'T' || n, 'v' || n, ARRAY[n, n + 1], jsonb_build_object('k', n, 'l', ARRAY[n]), point(n, n), box(point(n, n), point(n + 1, n + 1)), to_tsvector('english', 'the cats ' || n), int4range(n, n + 5),
 ('10.0.0.' || n)::inet, md5(n::text)::uuid, to_tsquery('simple', 'a' || n), circle(point(n, n), 1), '2026-01-01'::date + n FROM generate_series(1, 100) n
;;
CREATE INDEX _i_btree ON _i (t DESC NULLS FIRST, v COLLATE "C" ASC NULLS LAST, d) INCLUDE (id, u) WITH (fillfactor = 60, deduplicate_items = off)
;;
CREATE INDEX _i_pattern ON _i (t text_pattern_ops, v varchar_pattern_ops)
;;
CREATE INDEX _i_expr ON _i (z_indexes.low(t), (id % 7), (j ->> 'k')) WHERE z_indexes.low(t) <> 'x' AND id > 3
;;
CREATE UNIQUE INDEX _i_unique ON _i (id, t) WHERE id < 50
;;
CREATE INDEX _i_hash ON _i USING hash (u) WITH (fillfactor = 80)
;;
CREATE INDEX _i_gist ON _i USING gist (p, b, r, ts tsvector_ops (siglen = 100)) WITH (buffering = on)
;;
CREATE INDEX _i_gist2 ON _i USING gist (n inet_ops, q, c)
;;
CREATE INDEX _i_gin ON _i USING gin (a, j jsonb_path_ops, ts) WITH (fastupdate = off, gin_pending_list_limit = 100)
;;
CREATE INDEX _i_spgist ON _i USING spgist (p kd_point_ops)
;;
CREATE INDEX _i_spgist2 ON _i USING spgist (t) INCLUDE (id)
;;
CREATE INDEX _i_brin ON _i USING brin (id, d date_bloom_ops (false_positive_rate = 0.05), u uuid_minmax_multi_ops (values_per_range = 16), n inet_inclusion_ops) WITH (pages_per_range = 4, autosummarize = on)
;;
CREATE UNIQUE INDEX _i_nulls ON _i (d) NULLS NOT DISTINCT
;;
ALTER INDEX _i_expr ALTER COLUMN 1 SET STATISTICS 500
;;
COMMENT ON INDEX _i_brin IS 'small'
;;
-- =
INSERT INTO _i (id, t) VALUES (1000, 'new')
;;
INSERT INTO _i (id, t) VALUES (1001, 'new')
;;
SET enable_seqscan = off
;;
SELECT count(*) FROM _i WHERE z_indexes.low(t) = 't50' AND id > 3
;;
SELECT count(*) FROM _i WHERE j @> '{"l": [7]}'
;;
SELECT count(*) FROM _i WHERE ts @@ 'cat & 9'
;;
SELECT id FROM _i ORDER BY p <-> '(3,3)' LIMIT 2
;;
SELECT count(*) FROM _i WHERE r && int4range(10, 12)
;;
REINDEX TABLE _i

-- # indexes_of_every_class
-- tell: an index of every operator class that the server has
CREATE TYPE mood AS ENUM ('a')
;;
CREATE TYPE pair AS (a int, b text)
;;
DO $$ DECLARE o record; t text; n int := 0; BEGIN
  FOR o IN SELECT c.opcname, a.amname, c.opcintype::regtype::text AS typ, c.opcdefault FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE c.opcnamespace = 'pg_catalog'::regnamespace AND c.opcintype NOT IN ('aclitem'::regtype, 'cstring'::regtype) ORDER BY 2, 1, 3 LOOP
    n := n + 1;
    t := CASE o.typ WHEN 'anyarray' THEN 'int[]' WHEN 'anyenum' THEN 'z_indexes_of_every_class.mood' WHEN 'anyrange' THEN 'int4range' WHEN 'anymultirange' THEN 'int4multirange' WHEN 'record' THEN 'z_indexes_of_every_class.pair' ELSE o.typ END;
    EXECUTE format('CREATE TABLE z_indexes_of_every_class.%I (id int PRIMARY KEY, v %s)', o.amname || '_' || o.opcname || n, t);
    EXECUTE format('CREATE INDEX ON z_indexes_of_every_class.%I USING %I (v %I)', o.amname || '_' || o.opcname || n, o.amname, o.opcname);
    EXECUTE format('INSERT INTO z_indexes_of_every_class.%I VALUES (1, NULL)', o.amname || '_' || o.opcname || n);
  END LOOP; END $$
;;
-- =
SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'z_indexes_of_every_class'::regnamespace)

-- # constraints
-- tell: keys, foreign keys of every action, exclusion, deferrable, NOT VALID, NO INHERIT and checks
CREATE TABLE _t (id int CONSTRAINT pk PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int, b text, c int4range, d date, CONSTRAINT u UNIQUE (a, b) DEFERRABLE, UNIQUE NULLS NOT DISTINCT (d), CONSTRAINT x EXCLUDE USING gist (c WITH &&) WHERE (a > 0) DEFERRABLE INITIALLY DEFERRED,
 CONSTRAINT k CHECK (a > 0 AND b <> 'it''s' OR NULL), CHECK (b ~ '^[[:alpha:]%]*$'))
;;
ALTER TABLE _t REPLICA IDENTITY FULL
;;
CREATE TABLE _key (id int PRIMARY KEY, x int, y int, UNIQUE (x, y))
;;
INSERT INTO _key SELECT n, n, n FROM generate_series(1, 10) n
;;
CREATE TABLE _f (id int PRIMARY KEY, a int REFERENCES _key ON DELETE CASCADE ON UPDATE RESTRICT, b int REFERENCES _key ON DELETE SET NULL ON UPDATE CASCADE, c int DEFAULT 1 REFERENCES _key ON DELETE SET DEFAULT, x int, y int,
 CONSTRAINT full_match FOREIGN KEY (x, y) REFERENCES _key (x, y) MATCH FULL DEFERRABLE INITIALLY DEFERRED, d int, e int, CONSTRAINT "some" FOREIGN KEY (d, e) REFERENCES _key (x, y) ON DELETE SET NULL (d))
;;
INSERT INTO _f VALUES (1, 1, 2, 3, 4, 4, 5, 5), (2, 1, NULL, 3, NULL, NULL, NULL, 6)
;;
CREATE TABLE _self (id int PRIMARY KEY, up int REFERENCES _self)
;;
INSERT INTO _self VALUES (1, 2), (2, 1)
;;
CREATE TABLE _cycle_a (id int PRIMARY KEY, b int)
;;
CREATE TABLE _cycle_b (id int PRIMARY KEY, a int REFERENCES _cycle_a)
;;
ALTER TABLE _cycle_a ADD FOREIGN KEY (b) REFERENCES _cycle_b
;;
ALTER TABLE _f ADD COLUMN late int, ADD CONSTRAINT late_key FOREIGN KEY (late) REFERENCES _key NOT VALID
;;
INSERT INTO _t VALUES (1, 1, 'a', '[1,2)', '2026-01-01'), (2, 2, 'a', '[2,3)', NULL)
;;
COMMENT ON CONSTRAINT k ON _t IS 'odd'
;;
-- =
INSERT INTO _t VALUES (3, 3, 'b', '[1,9)', '2027-01-01')
;;
INSERT INTO _t VALUES (3, 3, 'b', '[100,109)', NULL)
;;
DELETE FROM _key WHERE id IN (1, 2, 3, 5)
;;
SELECT * FROM _f ORDER BY id
;;
ALTER TABLE _t DROP CONSTRAINT u

-- # constraints_late
-- tell: rows that a constraint which is NOT VALID would not take
CREATE TABLE _invalid (id int PRIMARY KEY, name text)
;;
INSERT INTO _invalid VALUES (1, 'abc'), (2, NULL)
;;
ALTER TABLE _invalid ADD CONSTRAINT no_abc CHECK (name !~ 'abc') NOT VALID
;;
CREATE TABLE _key (id int PRIMARY KEY)
;;
CREATE TABLE _orphans (id int PRIMARY KEY, k int)
;;
INSERT INTO _orphans VALUES (1, 999)
;;
ALTER TABLE _orphans ADD CONSTRAINT orphans FOREIGN KEY (k) REFERENCES _key NOT VALID
;;
CREATE DOMAIN word AS text
;;
CREATE TABLE _words (id int PRIMARY KEY, w word, d word[])
;;
INSERT INTO _words VALUES (1, 'x', '{x,y}')
;;
ALTER DOMAIN word ADD CONSTRAINT late CHECK (VALUE <> 'x') NOT VALID
;;
-- =
UPDATE _invalid SET name = 'abcd' WHERE id = 1
;;
UPDATE _orphans SET k = 998
;;
UPDATE _orphans SET id = 5
;;
SELECT * FROM _words
;;
UPDATE _words SET id = 2
;;
INSERT INTO _words VALUES (3, 'x')

-- # routines
-- tell: functions and procedures in SQL (also BEGIN ATOMIC) and PL/pgSQL with all their options, overloads, aggregates and window functions
CREATE TABLE _log (id serial PRIMARY KEY, what text)
;;
CREATE FUNCTION one() RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7 AS 'SELECT 1'
;;
CREATE FUNCTION over(a int) RETURNS int LANGUAGE sql STABLE RETURN a + 1
;;
CREATE FUNCTION over(a text, b text DEFAULT 'it''s', VARIADIC c int[] DEFAULT '{1,2}') RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT a || b || array_to_string(c, ','); END
;;
CREATE FUNCTION atomic_log(w text) RETURNS bigint LANGUAGE sql BEGIN ATOMIC INSERT INTO _log (what) VALUES (w); SELECT count(*) FROM _log; END
;;
CREATE FUNCTION outs(INOUT a int, OUT b text, OUT "C d" float4) LANGUAGE sql AS 'SELECT $1, ''x'', 0.1::float4'
;;
CREATE FUNCTION many(n int) RETURNS SETOF int LANGUAGE plpgsql ROWS 5 SECURITY DEFINER SET search_path = z_routines, pg_temp SET work_mem = '3MB' PARALLEL RESTRICTED CALLED ON NULL INPUT AS $body$
BEGIN -- it's $$ quoted "twice" \ %
  RETURN QUERY SELECT generate_series(1, n); END $body$
;;
CREATE FUNCTION tabled(OUT x int, OUT y text) RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..2 LOOP x := i; y := repeat('y', i); RETURN NEXT; END LOOP; END $$
;;
CREATE FUNCTION as_table(int, text) RETURNS TABLE ("A" int, b text) LANGUAGE sql AS 'SELECT $1, $2'
;;
CREATE FUNCTION any_one(anyelement, anyarray DEFAULT NULL) RETURNS anyelement LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$
;;
CREATE FUNCTION compatible(anycompatible, anycompatible) RETURNS anycompatible LANGUAGE sql AS 'SELECT $2'
;;
CREATE FUNCTION of_row(_log) RETURNS text LANGUAGE sql AS 'SELECT $1.what'
;;
CREATE FUNCTION refs(t regclass DEFAULT 'z_routines._log') RETURNS text LANGUAGE sql AS 'SELECT $1::text'
;;
CREATE FUNCTION cursor_of(refcursor) RETURNS refcursor LANGUAGE plpgsql AS $$ BEGIN OPEN $1 FOR SELECT 1 AS one; RETURN $1; END $$
;;
CREATE FUNCTION failing() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'on purpose %', 5 USING ERRCODE = 'P0099', HINT = 'ü'; END $$
;;
CREATE PROCEDURE note(w text, INOUT n int DEFAULT 0) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO z_routines._log (what) VALUES (w); COMMIT; n := n + 1; END $$
;;
CREATE PROCEDURE atomic_note(w text) LANGUAGE sql BEGIN ATOMIC INSERT INTO _log (what) VALUES (w); END
;;
CREATE PROCEDURE safe() LANGUAGE sql SECURITY DEFINER SET search_path = 'pg_catalog' AS 'SELECT 1'
;;
CREATE FUNCTION add_two(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + coalesce($2, 0)'
;;
CREATE FUNCTION sub_two(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) - coalesce($2, 0)'
;;
CREATE FUNCTION finish(int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'sum ' || $1 $$
;;
CREATE AGGREGATE total (int) (SFUNC = add_two, STYPE = int, FINALFUNC = finish, FINALFUNC_MODIFY = SHAREABLE, COMBINEFUNC = add_two, INITCOND = '5', PARALLEL = SAFE, MSFUNC = add_two, MINVFUNC = sub_two, MSTYPE = int, MFINALFUNC = finish, MINITCOND = '5', SSPACE = 8)
;;
CREATE AGGREGATE least_of (int) (SFUNC = int4smaller, STYPE = int, SORTOP = <)
;;
CREATE FUNCTION ordered_step(int[], int) RETURNS int[] LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $2'
;;
CREATE FUNCTION ordered_end(int[], float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $2 * array_length($1, 1)'
;;
CREATE AGGREGATE share (float8 ORDER BY int) (SFUNC = ordered_step, STYPE = int[], FINALFUNC = ordered_end, INITCOND = '{}')
;;
CREATE AGGREGATE "odd Agg" (*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0')
;;
COMMENT ON FUNCTION over(int) IS 'adds'
;;
COMMENT ON PROCEDURE note(text, int) IS 'notes'
;;
COMMENT ON AGGREGATE total(int) IS 'totals'
;;
REVOKE EXECUTE ON FUNCTION over(int) FROM PUBLIC
;;
GRANT EXECUTE ON FUNCTION over(int) TO clerk WITH GRANT OPTION
;;
REVOKE ALL ON PROCEDURE note FROM PUBLIC
;;
-- =
SELECT one(), over(1), over('a'), over('a', 'b', 3, 4), outs(3), array(SELECT many(3)), any_one(5), compatible(1, 2.5), refs()
;;
SELECT * FROM tabled()
;;
SELECT * FROM as_table(1, 'b')
;;
SELECT atomic_log('x')
;;
SELECT id, of_row(_log) FROM _log ORDER BY id
;;
CALL note('n', 3)
;;
CALL atomic_note('m')
;;
CALL safe()
;;
SELECT failing()
;;
SELECT total(g), least_of(g), share(2) WITHIN GROUP (ORDER BY g), "odd Agg"(*) FROM generate_series(1, 4) g
;;
SELECT total(g) OVER (ORDER BY g ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM generate_series(1, 4) g
;;
CREATE OR REPLACE FUNCTION over(a int) RETURNS int LANGUAGE sql STABLE RETURN a + 2
;;
DROP FUNCTION failing()

-- # operators
-- tell: operators with commutators, negators and estimators, and casts, also automatic ones
CREATE TYPE mood AS ENUM ('sad', 'glad')
;;
CREATE TYPE pair AS (a int, b int)
;;
CREATE FUNCTION same(mood, mood) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text = $2::text'
;;
CREATE FUNCTION other(mood, mood) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text <> $2::text'
;;
CREATE FUNCTION turn(mood) RETURNS mood IMMUTABLE LANGUAGE sql AS $$ SELECT CASE $1 WHEN 'sad'::z_operators.mood THEN 'glad'::z_operators.mood ELSE 'sad'::z_operators.mood END $$
;;
CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same, COMMUTATOR = ===, NEGATOR = !==, RESTRICT = eqsel, JOIN = eqjoinsel)
;;
CREATE OPERATOR !== (LEFTARG = mood, RIGHTARG = mood, FUNCTION = other, COMMUTATOR = !==, NEGATOR = ===, RESTRICT = neqsel, JOIN = neqjoinsel)
;;
CREATE OPERATOR @-@ (RIGHTARG = mood, FUNCTION = turn)
;;
COMMENT ON OPERATOR ===(mood, mood) IS 'the same'
;;
CREATE FUNCTION to_int(pair) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1.a * 100 + $1.b'
;;
CREATE CAST (pair AS int) WITH FUNCTION to_int(pair) AS IMPLICIT
;;
CREATE FUNCTION to_pair(int) RETURNS pair IMMUTABLE LANGUAGE sql AS 'SELECT ROW($1 / 100, $1 % 100)::z_operators.pair'
;;
CREATE CAST (int AS pair) WITH FUNCTION to_pair(int) AS ASSIGNMENT
;;
CREATE CAST (mood AS bytea) WITH INOUT
;;
COMMENT ON CAST (pair AS int) IS 'packs'
;;
CREATE TABLE _m (id int PRIMARY KEY, m mood, p pair)
;;
INSERT INTO _m VALUES (1, 'sad', '(1,2)'), (2, 'glad', 304)
;;
CREATE VIEW _v AS SELECT id FROM _m WHERE m OPERATOR(z_operators.===) 'sad' OR p::int > 300
;;
-- =
SELECT * FROM _v ORDER BY id
;;
SELECT @-@ m, m === 'sad', m !== 'sad', p + 1 FROM _m ORDER BY id
;;
INSERT INTO _m VALUES (3, 'sad', 506)
;;
SELECT (p).b FROM _m WHERE id = 3
;;
DROP CAST (mood AS bytea)

-- # collations
-- tell: collations of libc and ICU, not deterministic ones, and columns and indexes that are sorted by them
-- in_place: warned 3 indexes
CREATE COLLATION plain FROM "C"
;;
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk')
;;
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
;;
CREATE COLLATION libc (provider = libc, locale = 'C.UTF-8')
;;
CREATE TABLE _c (id int PRIMARY KEY, a text COLLATE german, b text COLLATE blind UNIQUE, c text COLLATE "C", d text COLLATE plain, e text COLLATE libc, f text COLLATE "und-x-icu")
;;
INSERT INTO _c VALUES (1, 'Äpfel', 'ABC', 'b', 'a', 'ü', 'z'), (2, 'Afel', 'abd', 'B', 'A', 'u', 'Z')
;;
CREATE INDEX ON _c (a, f)
;;
CREATE INDEX ON _c (c COLLATE german)
;;
COMMENT ON COLLATION german IS 'as in the phone book'
;;
-- =
SELECT id FROM _c ORDER BY a
;;
INSERT INTO _c VALUES (3, 'x', 'aBc', 'x', 'x', 'x', 'x')
;;
SELECT id FROM _c WHERE b = 'abc'
;;
ALTER COLLATION german RENAME TO deutsch

-- # conversions
-- tell: conversions between encodings
-- twin: refused z_conversions.
CREATE CONVERSION mine FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1
;;
COMMENT ON CONVERSION mine IS 'ours'
;;
-- =
DROP CONVERSION mine

-- # search
-- tell: text search configurations and dictionaries
CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = snowball, Language = german, StopWords = german)
;;
CREATE TEXT SEARCH DICTIONARY plain (TEMPLATE = simple, ACCEPT = false)
;;
CREATE TEXT SEARCH CONFIGURATION mine (COPY = english)
;;
ALTER TEXT SEARCH CONFIGURATION mine ALTER MAPPING FOR asciiword, word WITH plain, stems, english_stem
;;
ALTER TEXT SEARCH CONFIGURATION mine DROP MAPPING FOR url
;;
CREATE TEXT SEARCH CONFIGURATION bare (PARSER = "default")
;;
ALTER TEXT SEARCH CONFIGURATION bare ADD MAPPING FOR asciiword WITH simple
;;
COMMENT ON TEXT SEARCH CONFIGURATION mine IS 'of mine'
;;
COMMENT ON TEXT SEARCH DICTIONARY stems IS 'German'
;;
CREATE TABLE _d (id int PRIMARY KEY, t text, v tsvector GENERATED ALWAYS AS (to_tsvector('z_search.mine', t)) STORED)
;;
CREATE INDEX ON _d USING gin (to_tsvector('z_search.bare', t))
;;
INSERT INTO _d VALUES (1, 'Die Häuser und the houses http://a.b')
;;
-- =
SELECT v FROM _d
;;
INSERT INTO _d VALUES (2, 'running houses')
;;
SELECT v FROM _d WHERE id = 2
;;
ALTER TEXT SEARCH CONFIGURATION mine RENAME TO ours

-- # statistics
-- tell: extended statistics of every kind, also on expressions, with targets
CREATE TABLE _s (id int PRIMARY KEY, a int, b int, c text)
;;
INSERT INTO _s SELECT n, n % 10, n % 20, 'c' || n % 5 FROM generate_series(1, 500) n
;;
CREATE STATISTICS s_all ON a, b, c FROM _s
;;
CREATE STATISTICS s_nd (ndistinct) ON a, b FROM _s
;;
CREATE STATISTICS s_dep (dependencies) ON a, b FROM _s
;;
CREATE STATISTICS s_mcv (mcv) ON a, b, c FROM _s
;;
CREATE STATISTICS s_expr ON (a + b), (lower(c)) FROM _s
;;
CREATE STATISTICS s_one ON (a * 2) FROM _s
;;
ALTER STATISTICS s_mcv SET STATISTICS 333
;;
ALTER STATISTICS s_dep SET STATISTICS 0
;;
COMMENT ON STATISTICS s_all IS 'all'
;;
ANALYZE _s
;;
-- =
ANALYZE _s
;;
DROP STATISTICS s_nd

-- # triggers
-- tell: triggers of every kind, also disabled, with conditions, columns, arguments and transition tables, and constraint triggers
CREATE TABLE _log (id serial PRIMARY KEY, what text)
;;
CREATE TABLE _t (id int PRIMARY KEY, a int, b text)
;;
CREATE VIEW _v AS SELECT id, a FROM _t
;;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO z_triggers._log (what) VALUES (TG_NAME || ' ' || TG_WHEN || ' ' || TG_OP || ' ' || TG_LEVEL || coalesce(array_to_string(TG_ARGV, '|'), '')); IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$
;;
CREATE FUNCTION note_set() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO z_triggers._log (what) SELECT 'set ' || count(*) FROM new_ones; RETURN NULL; END $$
;;
CREATE FUNCTION note_both() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO z_triggers._log (what) SELECT 'both ' || count(*) FROM o JOIN n USING (id); RETURN NULL; END $$
;;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OF a, b ON _t FOR EACH ROW WHEN (NEW.a > 5) EXECUTE FUNCTION note('it''s', 'b\c', '')
;;
CREATE TRIGGER after_row AFTER DELETE ON _t FOR EACH ROW EXECUTE FUNCTION note()
;;
CREATE TRIGGER "Before Statement" BEFORE TRUNCATE OR INSERT ON _t EXECUTE FUNCTION note(1)
;;
CREATE TRIGGER after_set AFTER INSERT ON _t REFERENCING NEW TABLE AS new_ones FOR EACH STATEMENT EXECUTE FUNCTION note_set()
;;
CREATE TRIGGER after_both AFTER UPDATE ON _t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION note_both()
;;
CREATE TRIGGER changed AFTER UPDATE ON _t FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION note()
;;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON _t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()
;;
CREATE CONSTRAINT TRIGGER soon AFTER UPDATE OF a ON _t FROM _log NOT DEFERRABLE FOR EACH ROW EXECUTE FUNCTION note()
;;
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE OR DELETE ON _v FOR EACH ROW EXECUTE FUNCTION note()
;;
CREATE TRIGGER disabled BEFORE INSERT ON _t FOR EACH ROW EXECUTE FUNCTION note()
;;
ALTER TABLE _t DISABLE TRIGGER disabled
;;
CREATE TRIGGER suppress BEFORE UPDATE ON _log FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()
;;
COMMENT ON TRIGGER late ON _t IS 'at the end'
;;
INSERT INTO _t VALUES (1, 1, 'a'), (2, 10, 'b')
;;
-- =
INSERT INTO _t VALUES (3, 7, 'c')
;;
UPDATE _t SET a = a + 1
;;
DELETE FROM _t WHERE id = 1
;;
INSERT INTO _v VALUES (9, 9)
;;
DELETE FROM _v
;;
SELECT what FROM _log ORDER BY id
;;
ALTER TABLE _t ENABLE TRIGGER disabled

-- # triggers_always
-- tell: triggers and rules that are enabled ALWAYS or for a REPLICA
-- twin: refused z_triggers_always.
CREATE TABLE _t (id int PRIMARY KEY)
;;
CREATE TABLE _log (id serial PRIMARY KEY, what text)
;;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO z_triggers_always._log (what) VALUES (TG_NAME); RETURN NEW; END $$
;;
CREATE TRIGGER always BEFORE INSERT ON _t FOR EACH ROW EXECUTE FUNCTION note()
;;
ALTER TABLE _t ENABLE ALWAYS TRIGGER always
;;
CREATE TRIGGER replica BEFORE INSERT ON _t FOR EACH ROW EXECUTE FUNCTION note()
;;
ALTER TABLE _t ENABLE REPLICA TRIGGER replica
;;
INSERT INTO _t VALUES (1)
;;
-- =
INSERT INTO _t VALUES (2)
;;
SELECT what FROM _log ORDER BY id

-- # rules
-- tell: rules, also conditional and disabled ones
CREATE TABLE _t (id int PRIMARY KEY, a int)
;;
CREATE TABLE _log (id serial PRIMARY KEY, what text)
;;
CREATE RULE logged AS ON INSERT TO _t WHERE NEW.a > 5 DO ALSO INSERT INTO z_rules._log (what) VALUES ('big ' || NEW.a)
;;
CREATE RULE never AS ON DELETE TO _t DO INSTEAD NOTHING
;;
CREATE RULE off AS ON UPDATE TO _t DO ALSO (INSERT INTO z_rules._log (what) VALUES ('one'); INSERT INTO z_rules._log (what) VALUES ('two'))
;;
ALTER TABLE _t DISABLE RULE off
;;
CREATE VIEW _v AS SELECT id, a FROM _t
;;
CREATE RULE into_v AS ON INSERT TO _v DO INSTEAD INSERT INTO z_rules._t VALUES (NEW.id, NEW.a * 2) RETURNING id, a
;;
COMMENT ON RULE never ON _t IS 'keeps'
;;
INSERT INTO _t VALUES (1, 10)
;;
-- =
INSERT INTO _t VALUES (2, 20)
;;
DELETE FROM _t
;;
INSERT INTO _v VALUES (3, 30) RETURNING a
;;
UPDATE _t SET a = 0
;;
SELECT what FROM _log ORDER BY id

-- # policies
-- tell: row level security, policies of every command, permissive and restrictive ones
CREATE TABLE _p (id int PRIMARY KEY, owner name DEFAULT current_user, secret bool)
;;
INSERT INTO _p VALUES (1, 'app', false), (2, 'clerk', false), (3, 'clerk', true)
;;
ALTER TABLE _p ENABLE ROW LEVEL SECURITY
;;
CREATE POLICY of_owner ON _p FOR SELECT TO clerk, app USING (owner = current_user)
;;
CREATE POLICY "no Secrets" ON _p AS RESTRICTIVE USING (NOT secret) WITH CHECK (id < 100)
;;
CREATE POLICY put ON _p FOR INSERT TO PUBLIC WITH CHECK (owner = current_user)
;;
CREATE POLICY change ON _p FOR UPDATE TO clerk USING (true) WITH CHECK (EXISTS (SELECT 1 FROM z_policies._p x WHERE x.id = _p.id))
;;
CREATE POLICY gone ON _p FOR DELETE USING (false)
;;
CREATE TABLE _off (id int PRIMARY KEY)
;;
CREATE POLICY kept ON _off USING (id > 0)
;;
COMMENT ON POLICY gone ON _p IS 'never'
;;
GRANT USAGE ON SCHEMA z_policies TO clerk
;;
GRANT ALL ON _p TO clerk
;;
-- =
SELECT id FROM _p ORDER BY id
;;
-- = clerk
SELECT id FROM z_policies._p ORDER BY id
;;
INSERT INTO z_policies._p VALUES (50, 'clerk', false)
;;
INSERT INTO z_policies._p VALUES (51, 'app', false)
;;
INSERT INTO z_policies._p VALUES (500, 'clerk', false)
;;
DELETE FROM z_policies._p

-- # policies_forced
-- tell: FORCE ROW LEVEL SECURITY
-- twin: refused z_policies_forced.
CREATE TABLE _p (id int PRIMARY KEY, seen bool)
;;
INSERT INTO _p VALUES (1, true), (2, false)
;;
ALTER TABLE _p ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY
;;
CREATE POLICY p ON _p USING (seen)
;;
-- =
SELECT id FROM _p ORDER BY id
;;
ALTER TABLE _p NO FORCE ROW LEVEL SECURITY
;;
SELECT id FROM _p ORDER BY id

-- # views
-- tell: views with options and checks, recursive ones, of views, with columns' defaults, and materialised views without rows
CREATE TABLE _t (id int PRIMARY KEY, a int, b text)
;;
INSERT INTO _t SELECT n, n, 'b' || n FROM generate_series(1, 10) n
;;
CREATE VIEW v_plain ("Id", "a b") AS SELECT id, a FROM _t
;;
CREATE VIEW v_invoker WITH (security_invoker = true, security_barrier) AS SELECT * FROM _t
;;
CREATE VIEW v_local AS SELECT id, a FROM _t WHERE a > 2 WITH LOCAL CHECK OPTION
;;
CREATE VIEW v_cascaded AS SELECT id, a FROM v_local WHERE a < 100 WITH CASCADED CHECK OPTION
;;
ALTER VIEW v_cascaded ALTER COLUMN a SET DEFAULT 50
;;
CREATE RECURSIVE VIEW v_count (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v_count WHERE n < 5
;;
CREATE VIEW v_hard AS WITH x AS MATERIALIZED (SELECT id, row_number() OVER w AS r, sum(a) FILTER (WHERE a > 1) OVER w AS s FROM _t WINDOW w AS (ORDER BY id ROWS 2 PRECEDING))
 SELECT x.*, l.*, (SELECT max(b) FROM _t WHERE _t.id < x.id) AS m, ARRAY[1, x.r] || 2 AS arr, CASE WHEN s IS NULL THEN 'none' ELSE s::text COLLATE "C" END AS c, coalesce(s, 0) BETWEEN 1 AND 5 AS bt FROM x LEFT JOIN LATERAL (SELECT a AS la FROM _t t2 WHERE t2.id = x.id) l ON true
 WHERE x.id IN (1, 2, 3, 4) AND EXISTS (SELECT FROM _t) ORDER BY x.id DESC NULLS LAST LIMIT 3
;;
CREATE VIEW v_groups AS SELECT a % 2 AS k, b, count(*), grouping(b) AS g FROM _t GROUP BY GROUPING SETS ((a % 2), (b), ()) HAVING count(*) > 0
;;
CREATE VIEW v_fancy AS SELECT extract(year FROM timestamp '2026-01-02') AS y, timestamp '2026-01-02' AT TIME ZONE 'UTC' AS z, substring('abc' from 2) AS s, trim(both 'x' from 'xax') AS t, position('b' in 'abc') AS p, overlay('abc' placing 'z' from 2) AS o, normalize('é') AS n, current_date > '2000-01-01' AS d, (ROW(1, 2) < ROW(1, 3)) AS r, 'a' LIKE 'a%' ESCAPE '!' AS l, '{"a":1}'::jsonb @? '$.a' AS j, '[1,2)'::int4range @> 1 AS g
;;
CREATE VIEW v_sample AS SELECT count(*) FROM _t TABLESAMPLE system (100) REPEATABLE (5)
;;
CREATE VIEW v_functions AS SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a', 'b'])) WITH ORDINALITY AS f (a, b, o)
;;
CREATE VIEW v_xml AS SELECT xmlelement(name a, xmlattributes(1 AS b), 'x') AS x, xmlforest(1 AS c) AS f
;;
CREATE VIEW v_nothing AS SELECT
;;
CREATE VIEW v_values AS VALUES (1, 'x'), (2, NULL)
;;
CREATE VIEW v_set AS (SELECT 1 AS a UNION SELECT 2) INTERSECT SELECT 1 EXCEPT ALL SELECT 5
;;
CREATE MATERIALIZED VIEW m_later AS SELECT id, upper(b) AS u FROM _t WITH NO DATA
;;
CREATE UNIQUE INDEX ON m_later (id)
;;
CREATE MATERIALIZED VIEW m_options WITH (fillfactor = 50, autovacuum_enabled = false) AS SELECT 1 AS one WITH NO DATA
;;
COMMENT ON VIEW v_plain IS 'plain'
;;
COMMENT ON COLUMN v_plain."a b" IS 'a and b'
;;
COMMENT ON MATERIALIZED VIEW m_later IS 'later'
;;
GRANT SELECT ON v_plain TO clerk WITH GRANT OPTION
;;
GRANT SELECT ("Id"), UPDATE ("a b") ON v_plain TO clerk
;;
-- =
SELECT * FROM v_plain ORDER BY 1
;;
SELECT * FROM v_hard
;;
SELECT * FROM v_groups ORDER BY 1, 2, 3, 4
;;
SELECT * FROM v_fancy
;;
SELECT * FROM v_count
;;
SELECT * FROM v_sample
;;
SELECT * FROM v_functions
;;
SELECT * FROM v_xml
;;
SELECT * FROM v_values
;;
SELECT * FROM v_set
;;
INSERT INTO v_local VALUES (50, 1)
;;
INSERT INTO v_cascaded (id) VALUES (51)
;;
SELECT * FROM m_later
;;
REFRESH MATERIALIZED VIEW m_later
;;
SELECT count(*) FROM m_later
;;
REFRESH MATERIALIZED VIEW CONCURRENTLY m_later
;;
CREATE OR REPLACE VIEW v_plain ("Id", "a b", c) AS SELECT id, a, b FROM _t

-- # views_materialised
-- tell: materialised views with rows
-- twin: refused z_views_materialised.
CREATE TABLE _t (id int PRIMARY KEY)
;;
INSERT INTO _t SELECT generate_series(1, 10)
;;
CREATE MATERIALIZED VIEW m_rows AS SELECT id, id * 0.1::float8 AS f FROM _t
;;
CREATE MATERIALIZED VIEW m_above AS SELECT sum(f) AS s FROM m_rows
;;
CREATE UNIQUE INDEX ON m_rows (id)
;;
INSERT INTO _t VALUES (99)
;;
-- =
SELECT count(*), sum(f) FROM m_rows
;;
REFRESH MATERIALIZED VIEW CONCURRENTLY m_rows
;;
SELECT count(*), sum(f) FROM m_rows

-- # sequences
-- tell: sequences of every option, called or not, owned or not
CREATE SEQUENCE s_small AS smallint INCREMENT -3 MAXVALUE 50 MINVALUE -50 START 20 CACHE 5 CYCLE
;;
CREATE SEQUENCE s_big START 9223372036854775800
;;
CREATE SEQUENCE s_never
;;
CREATE SEQUENCE s_set
;;
CREATE SEQUENCE s_not_called
;;
CREATE SEQUENCE s_down INCREMENT -1
;;
CREATE SEQUENCE s_ended MAXVALUE 2
;;
CREATE TABLE _o (id int PRIMARY KEY DEFAULT nextval('s_never'))
;;
CREATE SEQUENCE s_owned OWNED BY _o.id
;;
SELECT nextval('s_small'), nextval('s_big'), setval('s_set', 777), setval('s_not_called', 55, false), nextval('s_down'), nextval('s_ended')
;;
SELECT nextval('s_ended')
;;
COMMENT ON SEQUENCE s_big IS 'big'
;;
GRANT USAGE ON SEQUENCE s_small TO clerk WITH GRANT OPTION
;;
GRANT SELECT ON SEQUENCE s_big TO PUBLIC
;;
-- =
SELECT nextval('s_small'), nextval('s_big'), nextval('s_set'), nextval('s_not_called'), nextval('s_down')
;;
SELECT nextval('s_ended')
;;
INSERT INTO _o DEFAULT VALUES RETURNING id
;;
SELECT nextval('s_owned')
;;
ALTER SEQUENCE s_ended NO MAXVALUE
;;
SELECT nextval('s_ended')

-- # large_objects
-- tell: large objects with their content, owners, rights and comments
-- twin: refused large objects
SELECT lo_create(424242), lo_from_bytea(424243, decode(repeat('00ff61', 3000), 'hex')), lo_from_bytea(424244, '')
;;
SELECT lo_put(424242, 5000, 'sparse')
;;
COMMENT ON LARGE OBJECT 424243 IS 'a large one'
;;
GRANT SELECT ON LARGE OBJECT 424243 TO clerk WITH GRANT OPTION
;;
GRANT UPDATE, SELECT ON LARGE OBJECT 424242 TO PUBLIC
;;
-- undo: SELECT lo_unlink(424242), lo_unlink(424243), lo_unlink(424244)
-- =
SELECT md5(lo_get(424242)), md5(lo_get(424243)), length(lo_get(424244))
;;
SELECT lo_put(424243, 0, 'changed')
;;
SELECT lo_unlink(424244)
;;
-- = clerk
SELECT md5(lo_get(424243))
;;
SELECT lo_put(424243, 0, 'refused')

-- # publications
-- tell: publications of tables, with columns, conditions and options
CREATE TABLE _p (id int PRIMARY KEY, a int, b text)
;;
INSERT INTO _p VALUES (1, 1, 'x')
;;
CREATE TABLE _q (id int PRIMARY KEY) PARTITION BY RANGE (id)
;;
CREATE TABLE _q_1 PARTITION OF _q DEFAULT
;;
CREATE PUBLICATION z_none
;;
CREATE PUBLICATION z_some FOR TABLE _p (id, a) WHERE (id > 0 AND a < 100), TABLE _q WITH (publish = 'insert, update', publish_via_partition_root = true)
;;
CREATE PUBLICATION "z Odd" FOR TABLE ONLY _p
;;
COMMENT ON PUBLICATION z_some IS 'some'
;;
-- undo: DROP PUBLICATION z_none, z_some, "z Odd"
-- =
ALTER PUBLICATION z_some DROP TABLE _q
;;
ALTER PUBLICATION z_none ADD TABLE _q
;;
DROP PUBLICATION "z Odd"

-- # rights
-- tell: rights of every kind, with grant options and grantors, on columns, for everybody, default privileges, and none at all
CREATE TABLE _g (id int PRIMARY KEY, a int, "b c" text)
;;
INSERT INTO _g VALUES (1, 2, 'x')
;;
GRANT USAGE ON SCHEMA z_rights TO clerk WITH GRANT OPTION
;;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON _g TO clerk WITH GRANT OPTION
;;
GRANT SELECT (id, "b c"), UPDATE ("b c"), INSERT (a), REFERENCES (id) ON _g TO "Idle" WITH GRANT OPTION
;;
GRANT SELECT ON _g TO PUBLIC
;;
CREATE TABLE _all (id int PRIMARY KEY)
;;
GRANT ALL ON _all TO clerk
;;
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'
;;
REVOKE ALL ON FUNCTION f() FROM PUBLIC, app
;;
ALTER DEFAULT PRIVILEGES IN SCHEMA z_rights GRANT SELECT ON TABLES TO clerk
;;
ALTER DEFAULT PRIVILEGES IN SCHEMA z_rights GRANT USAGE ON SEQUENCES TO PUBLIC
;;
ALTER DEFAULT PRIVILEGES IN SCHEMA z_rights GRANT EXECUTE ON FUNCTIONS TO clerk WITH GRANT OPTION
;;
ALTER DEFAULT PRIVILEGES IN SCHEMA z_rights GRANT USAGE ON TYPES TO "Idle"
;;
GRANT CREATE, TEMPORARY, CONNECT ON DATABASE shop TO "Idle" WITH GRANT OPTION
;;
-- = clerk
INSERT INTO z_rights._g VALUES (3, 3, 'clerk')
;;
SELECT * FROM z_rights._g ORDER BY id
;;
GRANT SELECT ON z_rights._g TO "Idle"
;;
-- =
SELECT f()
;;
CREATE TABLE later (a serial PRIMARY KEY)
;;
SELECT has_table_privilege('clerk', 'later', 'SELECT'), has_table_privilege('clerk', 'later', 'INSERT'), has_table_privilege('"Idle"', 'later', 'SELECT')
;;
-- = clerk
GRANT USAGE ON SCHEMA z_rights TO "Idle"
;;
-- = Idle
SELECT id, "b c" FROM z_rights._g

-- # rights_of_nobody
-- tell: tables whose owner has no rights on them, or on some of their columns only
-- twin: refused z_rights_of_nobody.
CREATE TABLE _none (id int PRIMARY KEY)
;;
REVOKE ALL ON _none FROM app
;;
CREATE TABLE _read (id int PRIMARY KEY)
;;
INSERT INTO _read VALUES (1)
;;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON _read FROM app
;;
CREATE TABLE _columns (a int PRIMARY KEY, b int)
;;
REVOKE ALL ON _columns FROM app
;;
GRANT SELECT (a) ON _columns TO app
;;
-- =
SELECT * FROM _none
;;
SELECT b FROM _columns
;;
INSERT INTO _read VALUES (2)
;;
GRANT ALL ON _none TO app
;;
SELECT * FROM _none

-- # rights_of_others
-- tell: objects that another user owns, or gave rights on
GRANT ALL ON SCHEMA z_rights_of_others TO clerk WITH GRANT OPTION
;;
CREATE TABLE _mine (id int PRIMARY KEY)
;;
GRANT ALL ON _mine TO clerk WITH GRANT OPTION
;;
-- + clerk
CREATE TABLE z_rights_of_others._theirs (id serial PRIMARY KEY, a int)
;;
INSERT INTO z_rights_of_others._theirs (a) VALUES (1)
;;
CREATE VIEW z_rights_of_others.v_theirs AS SELECT * FROM z_rights_of_others._mine
;;
CREATE FUNCTION z_rights_of_others.f_theirs() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user'
;;
CREATE TYPE z_rights_of_others.t_theirs AS ENUM ('a')
;;
CREATE SCHEMA z_of_clerk
;;
CREATE TABLE z_of_clerk._t (id int PRIMARY KEY, v z_rights_of_others.t_theirs)
;;
INSERT INTO z_of_clerk._t VALUES (1, 'a')
;;
CREATE COLLATION z_of_clerk.c FROM "C"
;;
CREATE STATISTICS z_of_clerk.s ON id, v FROM z_of_clerk._t
;;
CREATE TEXT SEARCH CONFIGURATION z_of_clerk.conf (COPY = simple)
;;
CREATE OPERATOR z_of_clerk.### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)
;;
CREATE DOMAIN z_of_clerk.d AS int CHECK (VALUE > 0)
;;
CREATE SEQUENCE z_of_clerk.sq
;;
GRANT SELECT ON z_rights_of_others._mine TO "Idle" WITH GRANT OPTION
;;
GRANT SELECT ON z_rights_of_others._theirs TO app
;;
GRANT USAGE ON SCHEMA z_rights_of_others TO "Idle"
;;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app
;;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC
;;
ALTER DEFAULT PRIVILEGES IN SCHEMA z_of_clerk GRANT USAGE ON TYPES TO "Idle"
;;
-- undo: DROP SCHEMA z_of_clerk CASCADE
-- = clerk
SELECT z_rights_of_others.f_theirs()
;;
INSERT INTO z_rights_of_others._theirs (a) VALUES (2) RETURNING id
;;
REVOKE SELECT ON z_rights_of_others._mine FROM "Idle" CASCADE
;;
CREATE TABLE z_of_clerk.after (id int)
;;
ALTER TYPE z_rights_of_others.t_theirs ADD VALUE 'b'
;;
-- =
SELECT * FROM z_of_clerk.after
;;
SELECT * FROM _theirs ORDER BY id

-- # extensions
-- tell: trusted extensions without tables of their own, their types in columns, indexes and functions, and their owners
CREATE EXTENSION hstore SCHEMA z_extensions
;;
CREATE EXTENSION citext SCHEMA z_extensions
;;
CREATE EXTENSION pg_trgm SCHEMA z_extensions
;;
CREATE EXTENSION btree_gist SCHEMA z_extensions
;;
CREATE EXTENSION btree_gin SCHEMA z_extensions
;;
CREATE EXTENSION ltree SCHEMA z_extensions
;;
CREATE EXTENSION pgcrypto SCHEMA z_extensions
;;
CREATE EXTENSION "uuid-ossp" SCHEMA z_extensions
;;
CREATE EXTENSION unaccent SCHEMA z_extensions
;;
CREATE EXTENSION intarray SCHEMA z_extensions
;;
CREATE EXTENSION cube SCHEMA z_extensions
;;
CREATE EXTENSION seg SCHEMA z_extensions
;;
CREATE EXTENSION isn SCHEMA z_extensions
;;
CREATE EXTENSION fuzzystrmatch SCHEMA z_extensions
;;
CREATE EXTENSION tablefunc SCHEMA z_extensions
;;
CREATE EXTENSION lo SCHEMA z_extensions
;;
CREATE EXTENSION dict_int SCHEMA z_extensions
;;
CREATE EXTENSION tcn SCHEMA z_extensions
;;
CREATE EXTENSION tsm_system_rows SCHEMA z_extensions
;;
CREATE EXTENSION tsm_system_time SCHEMA z_extensions
;;
CREATE TABLE _x (id int PRIMARY KEY, h hstore, c citext UNIQUE, l ltree, a int[], t text, cu cube, s seg, i isbn13, r int4range, q query_int, lq lquery, EXCLUDE USING gist (id WITH =, r WITH &&))
;;
INSERT INTO _x VALUES (1, 'a=>1, b=>NULL, "c d"=>"e\"f"', 'Word', 'a.b.c', '{1,2}', 'some text', '(1.5,2),(3,4)', '1.5 .. 2.50', '978-0-393-04002-9', '[1,2)', '1&2', 'a.*{1,2}.b|c')
;;
CREATE INDEX ON _x USING gin (h)
;;
CREATE INDEX ON _x USING gist (l)
;;
CREATE INDEX ON _x USING gin (t gin_trgm_ops, id)
;;
CREATE INDEX ON _x USING gin (a gin__int_ops)
;;
CREATE INDEX ON _x USING gist (cu, s)
;;
CREATE FUNCTION hashed(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT encode(z_extensions.digest($1, 'sha256'), 'hex') $$
;;
CREATE VIEW _v AS SELECT h -> 'a' AS a, c, l FROM _x
;;
COMMENT ON EXTENSION hstore IS 'of ours'
;;
-- undo: DROP EXTENSION IF EXISTS hstore, citext, pg_trgm, btree_gist, btree_gin, ltree, pgcrypto, "uuid-ossp", unaccent, intarray, cube, seg, isn, fuzzystrmatch, tablefunc, lo, dict_int, tcn, tsm_system_rows, tsm_system_time CASCADE
-- =
SELECT * FROM _v
;;
SELECT hashed('x'), unaccent('é'), levenshtein('a', 'b')
;;
SELECT id FROM _x WHERE c = 'WORD'
;;
INSERT INTO _x (id, c) VALUES (2, 'wORD')
;;
ALTER EXTENSION pgcrypto SET SCHEMA public
;;
DROP EXTENSION fuzzystrmatch
;;
DROP EXTENSION hstore CASCADE
;;
CREATE EXTENSION hstore SCHEMA z_extensions

-- # options_of_15
-- since: 15
-- tell: what 15 brought: publications of schemas are a superuser's; MERGE in routines, UNIQUE NULLS NOT DISTINCT, ICU
CREATE TABLE _t (id int PRIMARY KEY, a int)
;;
CREATE FUNCTION merged() RETURNS void LANGUAGE plpgsql AS $$ BEGIN MERGE INTO z_options_of_15._t USING (VALUES (1, 2)) v (i, x) ON id = i WHEN MATCHED THEN UPDATE SET a = x WHEN NOT MATCHED THEN INSERT VALUES (i, x); END $$
;;
CREATE FUNCTION merged_atomic() RETURNS void LANGUAGE sql BEGIN ATOMIC MERGE INTO _t USING (VALUES (2, 3)) v (i, x) ON id = i WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (i, x); END
;;
-- =
SELECT merged(), merged_atomic()
;;
SELECT * FROM _t ORDER BY id

-- # options_of_17
-- since: 17
-- tell: what 16 and 17 brought: JSON constructors and JSON_TABLE in views, MAINTAIN, identity of partitions, generated expressions, STORAGE in CREATE TABLE, MERGE with RETURNING
CREATE TABLE _t (id int GENERATED ALWAYS AS IDENTITY, a text STORAGE external, j jsonb, PRIMARY KEY (id)) PARTITION BY RANGE (id)
;;
CREATE TABLE _t_1 PARTITION OF _t FOR VALUES FROM (0) TO (100000)
;;
INSERT INTO _t (a, j) VALUES ('x', '{"k": [1, 2]}')
;;
GRANT MAINTAIN ON _t TO clerk
;;
CREATE VIEW v_json AS SELECT JSON_OBJECT('a': 1, 'b': NULL ABSENT ON NULL RETURNING jsonb) AS o, JSON_ARRAY(1, 2, NULL NULL ON NULL) AS a, JSON_SCALAR(1.5) AS s, JSON_SERIALIZE('{"a":1}' RETURNING text) AS t, '{"a":1}' IS JSON OBJECT WITH UNIQUE KEYS AS i, JSON_EXISTS(jsonb '{"a":1}', '$.a') AS e, JSON_VALUE(jsonb '{"a":1}', '$.a' RETURNING int DEFAULT 5 ON EMPTY) AS v, JSON_QUERY(jsonb '{"a":[1]}', '$.a' WITH WRAPPER) AS q
;;
CREATE VIEW v_table AS SELECT jt.* FROM _t, JSON_TABLE(j, '$' COLUMNS (n FOR ORDINALITY, NESTED PATH '$.k[*]' COLUMNS (k int PATH '$'))) jt
;;
CREATE VIEW v_agg AS SELECT JSON_OBJECTAGG(id: a) AS o, JSON_ARRAYAGG(id ORDER BY id RETURNING jsonb) AS a, any_value(a) AS v FROM _t
;;
CREATE VIEW v_user AS SELECT system_user IS NULL AS n
;;
CREATE FUNCTION merged() RETURNS SETOF int LANGUAGE sql BEGIN ATOMIC WITH m AS (MERGE INTO _t USING (VALUES (1)) v (i) ON id = i WHEN MATCHED THEN UPDATE SET a = 'merged' WHEN NOT MATCHED BY SOURCE THEN DO NOTHING RETURNING merge_action(), id) SELECT id FROM m; END
;;
-- =
SELECT * FROM v_json
;;
SELECT * FROM v_table
;;
SELECT * FROM v_agg
;;
SELECT * FROM v_user
;;
SELECT * FROM merged()
;;
INSERT INTO _t (a) VALUES ('new') RETURNING id

-- # options_of_18
-- since: 18
-- tell: what 18 brought: virtual columns, keys WITHOUT OVERLAPS, constraints that are NOT ENFORCED, named NOT NULL, generated columns in publications
CREATE TABLE _t (id int, x int CONSTRAINT named NOT NULL NO INHERIT, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, r daterange, CONSTRAINT c CHECK (a > 0) NOT ENFORCED, PRIMARY KEY (id))
;;
ALTER TABLE _t ADD CONSTRAINT late NOT NULL a NOT VALID
;;
CREATE TABLE _k (id int PRIMARY KEY)
;;
CREATE TABLE _f (id int PRIMARY KEY, k int REFERENCES _k NOT ENFORCED)
;;
INSERT INTO _f VALUES (1, 999)
;;
CREATE TABLE _p (id int4range, r daterange, PRIMARY KEY (id, r WITHOUT OVERLAPS))
;;
CREATE TABLE _pf (id int PRIMARY KEY, k int4range, r daterange, FOREIGN KEY (k, PERIOD r) REFERENCES _p (id, PERIOD r))
;;
INSERT INTO _p VALUES ('[1,2)', '[2026-01-01,2027-01-01)')
;;
CREATE VIEW v AS SELECT uuid_extract_version(uuidv7()) AS v, casefold('A') AS c
;;
-- =
SELECT * FROM v

-- # settings
-- tell: settings of databases and roles, of every value
ALTER DATABASE shop SET work_mem = '3MB'
;;
ALTER DATABASE shop SET search_path = "z_settings", "Odd ""One", public, '$user'
;;
ALTER DATABASE shop SET statement_timeout = '77s'
;;
ALTER DATABASE shop SET timezone = 'Asia/Kathmandu'
;;
ALTER DATABASE shop SET datestyle = 'German, DMY'
;;
ALTER DATABASE shop SET extra_float_digits = -3
;;
ALTER DATABASE shop SET bytea_output = 'escape'
;;
ALTER DATABASE shop SET intervalstyle = 'sql_standard'
;;
ALTER DATABASE shop SET row_security = off
;;
ALTER DATABASE shop SET standard_conforming_strings = off
;;
ALTER DATABASE shop SET lock_timeout = 5000
;;
ALTER DATABASE shop SET idle_in_transaction_session_timeout = '1h'
;;
ALTER DATABASE shop SET default_transaction_isolation = 'serializable'
;;
ALTER DATABASE shop SET xmlbinary = hex
;;
ALTER DATABASE shop SET check_function_bodies = off
;;
ALTER DATABASE shop SET default_table_access_method = heap
;;
ALTER DATABASE shop SET default_toast_compression = lz4
;;
ALTER DATABASE shop SET lc_monetary = 'C'
;;
ALTER DATABASE shop SET plan_cache_mode = force_generic_plan
;;
ALTER DATABASE shop SET transform_null_equals = on
;;
ALTER DATABASE shop SET backslash_quote = off
;;
ALTER DATABASE shop SET default_transaction_deferrable = on
;;
ALTER ROLE app SET search_path = z_settings, "$user", public
;;
ALTER ROLE app IN DATABASE shop SET work_mem = '5MB'
;;
ALTER ROLE app IN DATABASE shop SET extra_float_digits = 2
;;
ALTER ROLE app SET client_encoding = 'UTF8'
;;
ALTER ROLE app SET default_tablespace = ''
;;
ALTER DATABASE shop CONNECTION LIMIT 50
;;
COMMENT ON DATABASE shop IS 'the ''shop'''
;;
-- = app raw
SELECT name, setting, source FROM pg_settings WHERE source IN ('database', 'user', 'database user') ORDER BY 1

-- # settings_of_texts
-- tell: settings of a database by which texts are read and written otherwise
ALTER DATABASE shop SET xmloption = document
;;
ALTER DATABASE shop SET quote_all_identifiers = on
;;
ALTER DATABASE shop SET array_nulls = off
;;
-- = app raw
SHOW quote_all_identifiers
;;
SHOW array_nulls

-- # settings_of_lists
-- tell: settings that hold lists of names, also of names that became words of the language
-- undo: DROP SCHEMA IF EXISTS "system_user" CASCADE
CREATE SCHEMA IF NOT EXISTS "system_user"
;;
CREATE FUNCTION listed() RETURNS int LANGUAGE sql SET search_path = "system_user", "Odd, one", pg_catalog AS 'SELECT 1'
;;
SET quote_all_identifiers = on
;;
CREATE FUNCTION quoted() RETURNS int LANGUAGE sql SET search_path = public, pg_catalog AS 'SELECT 2'
;;
RESET quote_all_identifiers
;;
-- = app raw
SELECT listed(), quoted()

-- # settings_of_every_name
-- tell: every setting that a tenant may give its database
-- undo: ALTER DATABASE shop RESET ALL
DO $$ DECLARE s record; BEGIN
  FOR s IN SELECT name, boot_val FROM pg_settings WHERE context = 'user' AND boot_val IS NOT NULL AND name !~ '^(transaction_|role$|session_authorization$|client_encoding$|local_preload_libraries$|default_transaction_read_only$|temp_tablespaces$|seed$|xmloption$|array_nulls$|quote_all_identifiers$|force_parallel_mode$)'
    AND name NOT IN (SELECT split_part(c, '=', 1) FROM pg_db_role_setting, unnest(setconfig) c) LOOP
    EXECUTE format('ALTER DATABASE shop SET %I = %L', s.name, s.boot_val);
  END LOOP; END $$
;;
-- = app raw
SELECT count(*) > 100 FROM pg_settings WHERE source = 'database'

-- # settings_that_are_gone
-- tell: a setting of a database or role that the target has no more
-- until: 15
-- twin: refused force_parallel_mode
-- in_place: refused force_parallel_mode
-- undo: ALTER DATABASE shop RESET force_parallel_mode
ALTER DATABASE shop SET force_parallel_mode = off
