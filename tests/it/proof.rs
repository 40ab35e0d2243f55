//! What the comparison of two servers sees and what it does not mind, with real servers that hold the same because the
//! same statements were run on both: no copy is part of it.
//!
//! Needs the engines of the set-up (`COFFER_ENGINES`, else `/var/cache/coffer/engines`) and, as root, its accounts.

use std::collections::BTreeMap;
use std::time::Duration;

use coffer::engines::{Engine as _, Server, Sums};
use mysql_async::prelude::Queryable as _;

use crate::engine_servers::{ENGINE as MARIADB, House, connect};
use crate::postgres_servers::{ENGINE as POSTGRESQL, database, started, tenant, user};

/// Servers of several versions that ran the same statements as the tenant.
async fn servers(house: &House, versions: &[&str], content: &str) -> Vec<Server> {
    let mut servers = Vec::new();
    // One verifier for all: it has a salt.
    let (databases, users) = ([database("shop")], [user("app", "a", &["shop"])]);
    for version in versions {
        let server = started(house, version).await;
        POSTGRESQL.create_content(&server, &databases, &users).await.unwrap();
        let app = tenant(&server, "app", "a", "shop").await.unwrap();
        app.batch_execute(content).await.unwrap();
        servers.push(server);
    }
    servers
}

/// What only one of two inventories says.
fn apart(theirs: &[String], ours: &[String]) -> Vec<String> {
    coffer::workflow::feed::differences(theirs, ours)
}

/// Names that are keywords to one version and none to another; they are printed in definitions, types and rights.
const KEYWORDS: &str = r#"
CREATE TABLE events (id int PRIMARY KEY, json jsonb, old json DEFAULT '{}'::json, olds json[], "json_array" int DEFAULT 1 CHECK ("json_array" > 0));
CREATE INDEX ON events USING gin (json);
CREATE TABLE k ("system_user" text PRIMARY KEY);
ALTER TABLE k ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON k USING (k."system_user" = current_user);
CREATE TABLE "json_table" ("merge_action" text, "absent" int, keys int REFERENCES events);
CREATE TYPE "json_scalar" AS ENUM ('a', 'b');
CREATE DOMAIN "json_exists" AS "json_scalar" CHECK (VALUE > 'a');
CREATE FUNCTION "json_query"("json_value" "json_exists", indent "json_scalar"[]) RETURNS SETOF "json_scalar" LANGUAGE sql AS 'SELECT $1';
GRANT SELECT ("system_user") ON k TO PUBLIC;
REVOKE EXECUTE ON FUNCTION "json_query" FROM PUBLIC;
COMMENT ON COLUMN "json_table".absent IS 'x';
CREATE STATISTICS "json_serialize" ON "merge_action", keys FROM "json_table";
CREATE TRIGGER "json_arrayagg" BEFORE UPDATE OF "merge_action" ON "json_table" FOR EACH ROW
    WHEN (OLD."merge_action" <> 'x') EXECUTE FUNCTION suppress_redundant_updates_trigger();
"#;

#[tokio::test(flavor = "multi_thread")]
async fn names_that_became_keywords_are_no_difference() {
    let house = House::new();
    let servers = servers(&house, &["15.0", "17.0", "18.0"], KEYWORDS).await;
    let mut lines = Vec::new();
    for server in &servers {
        lines.push(POSTGRESQL.inventory(server).await.unwrap());
    }
    assert_eq!(apart(&lines[0], &lines[1]), Vec::<String>::new());
    assert_eq!(apart(&lines[1], &lines[2]), Vec::<String>::new());
}

/// The longest that the rows of a test may take to be summed up.
const LONG: Duration = Duration::from_secs(60);

async fn sums(server: &Server) -> Sums {
    POSTGRESQL.sum_rows(server, None, LONG).await.unwrap()
}

/// A table for each group of types, with values at their edges.
const VALUES: &str = r#"
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION isn;
CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TYPE place AS (street text, far float8, how mood);
CREATE DOMAIN amount AS numeric(12, 3); CREATE DOMAIN moods AS mood[]; CREATE DOMAIN far AS float4; CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE floats (id int PRIMARY KEY, a float4, b float8, c far, d float8[], e point);
INSERT INTO floats VALUES (1, 16777217, 0.1, 0.1234567, '{0.1,NULL,-0}', '(0.1,1e-300)'), (2, '-0', '-0', 'NaN', '{}', NULL),
    (3, 1e-45, 4.9406564584124654e-324, 'Infinity', '[0:1]={NaN,-Infinity}', '(NaN,-0)'), (4, 3.4028234e38, 1.7976931348623157e308, NULL, NULL, NULL),
    (5, NULL, 'Infinity'::float8 - 'Infinity'::float8, NULL, NULL, NULL);
CREATE TABLE numbers (a numeric, b amount, c money, d int2, e int8, f oid, g bit(5), h varbit, i bool, j xid8, k pg_lsn);
INSERT INTO numbers VALUES (1.0, 1, 1.5, 1, 1, 1, B'00001', B'1', true, '1', '0/1'), (1.00, NULL, NULL, NULL, NULL, NULL, NULL, B'', NULL, NULL, NULL),
    ('NaN', 'NaN', -1, -32768, -9223372036854775808, 4294967295, B'11111', B'10', false, '18446744073709551615', 'FFFFFFFF/FFFFFFFF'), (1e300, 0, 0, 0, 0, 0, B'00000', B'0', NULL, '0', '0/0');
CREATE TABLE texts (a text, b char(5), c varchar(5), d bytea, e name, f "char", g citext, h json, i jsonb, j xml, k jsonpath);
INSERT INTO texts VALUES ('a ', 'a', 'a ', '\x00ff', 'a', 'a', 'A', '{"a": 1, "a":2}', '{"a":1.0}', '<a/>', '$.a'), ('', '', '', '', '', '', '', '1', '1', NULL, '$'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'null', 'null', NULL, NULL), (repeat('ü', 100000), 'ü', E'\t', '\x', 'ü', 'x', 'ä', '"\u0001"', '[]', '<a> </a>', 'lax $[*]');
CREATE TABLE times (a date, b time(3), c timetz, d timestamp, e timestamptz, f interval);
INSERT INTO times VALUES ('infinity', '24:00', '12:00:00.000001+05:30', '-infinity', 'infinity', '1 month -30 days 1 hour'), ('4713-01-01 BC', '00:00', '12:00-15:59', '294276-12-31 23:59:59.999999', '2026-03-29 02:30 Europe/Vienna', '30 days'),
    ('0001-01-01', '00:00:00.001', NULL, '4713-01-01 BC', '1970-01-01', '720 hours');
CREATE TABLE nets (a inet, b cidr, c macaddr, d macaddr8, e uuid, f tsvector, g tsquery, h hstore, i ltree, j cube, k ean13, l lquery);
INSERT INTO nets VALUES ('::1/64', '::/64', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '00000000-0000-0000-0000-000000000001', 'a:1A b', 'a & !b', 'a=>1,b=>NULL', 'a.b', '(1,2)', '978-0-393-04002-9', 'a.*');
CREATE TABLE nested (a int[], b text[], c mood[], d moods, e place, f place[], g int4range, h span, i nummultirange, j daterange[], k mood, l regclass, m regtype[]);
INSERT INTO nested VALUES ('[2:3]={1,NULL}', '{"NULL",NULL,""}', '{glad}', '{sad,NULL}', ROW('a', 0.1, 'glad'), ARRAY[ROW(NULL, '-0', NULL)::place], '[1,5)', '[0.1,1)', '{[1,2),[3,4)}', '{empty}', 'sad', 'texts', '{mood,int4}'),
    ('{{1,2},{3,4}}', '{}', '{}', '{}', ROW(NULL, NULL, NULL), NULL, 'empty', '(,)', '{}', '{}', NULL, NULL, NULL), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'glad', NULL, NULL);
CREATE TABLE shapes (a line, b lseg, c box, d path, e polygon, f circle);
INSERT INTO shapes VALUES ('{1,2,3}', '[(0,0),(1,0.1)]', '((0,0),(1,1))', '[(0,0),(1,1)]', '((0,0),(1,1),(0,1))', '<(0,0),0.1>');
CREATE TABLE keyless (a int, b text); INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, 'y');
CREATE TABLE "od""d 'n" ("col "" u" int, made int GENERATED ALWAYS AS ("col "" u" * 2) STORED, gone text); ALTER TABLE "od""d 'n" DROP COLUMN gone; INSERT INTO "od""d 'n" VALUES (1);
CREATE TABLE none (); INSERT INTO none DEFAULT VALUES;
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); INSERT INTO unlogged SELECT generate_series(1, 1000);
CREATE TABLE parted (id int) PARTITION BY RANGE (id); CREATE TABLE parted_a PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO parted VALUES (1);
CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2);
CREATE MATERIALIZED VIEW kept AS SELECT id FROM parted; CREATE MATERIALIZED VIEW later AS SELECT id FROM parted WITH NO DATA;
CREATE SEQUENCE called; SELECT nextval('called'); CREATE SEQUENCE uncalled START 5; SELECT setval('uncalled', 9, false);
SELECT lo_from_bytea(777, '\x00ff');
"#;

/// One value each: what is changed, and what must be seen to differ then.
const CHANGES: &[(&str, &str)] = &[
    ("UPDATE floats SET a = 16777218 WHERE id = 1", "public.floats"),
    ("UPDATE floats SET b = 0.10000000000000002 WHERE id = 1", "public.floats"),
    ("UPDATE floats SET a = 0 WHERE id = 2", "public.floats"),
    ("UPDATE floats SET c = 0.12345671 WHERE id = 1", "public.floats"),
    ("UPDATE floats SET d[3] = 0 WHERE id = 1", "public.floats"),
    ("UPDATE floats SET e = '(0.10000000000000002,1e-300)' WHERE id = 1", "public.floats"),
    ("UPDATE floats f SET b = o.b FROM floats o WHERE f.id + o.id = 4 AND f.id <> o.id", "public.floats"),
    ("UPDATE numbers SET a = 1.000 WHERE a = 1.0 AND d = 1", "public.numbers"),
    ("UPDATE numbers SET h = NULL WHERE h = B''", "public.numbers"),
    ("UPDATE numbers SET f = 2 WHERE f = 1", "public.numbers"),
    ("UPDATE texts SET a = 'a' WHERE a = 'a '", "public.texts"),
    ("UPDATE texts SET c = 'a' WHERE c = 'a '", "public.texts"),
    ("UPDATE texts SET a = NULL WHERE a = ''", "public.texts"),
    ("UPDATE texts SET a = c, c = a WHERE h::text = '1'", "public.texts"),
    ("UPDATE texts SET h = '{\"a\":1, \"a\":2}' WHERE b = 'a'", "public.texts"),
    ("UPDATE texts SET g = 'a' WHERE b = 'a'", "public.texts"),
    ("UPDATE texts SET i = '{\"a\":1.00}' WHERE b = 'a'", "public.texts"),
    ("UPDATE times SET f = '1 month -30 days 60 minutes 0.000001 s' WHERE a = 'infinity'", "public.times"),
    ("UPDATE times SET f = '1 month' WHERE f = '30 days' AND a = '4713-01-01 BC'", "public.times"),
    ("UPDATE times SET c = '12:00:00.000001+05:29' WHERE a = 'infinity'", "public.times"),
    ("UPDATE times SET e = e + interval '1 microsecond' WHERE a = '0001-01-01'", "public.times"),
    ("UPDATE texts SET d = '\\x00fe' WHERE d = '\\x00ff'", "public.texts"),
    ("UPDATE nets SET a = '::1/63'", "public.nets"),
    ("UPDATE nets SET h = 'a=>1,b=>\"NULL\"'", "public.nets"),
    ("UPDATE nets SET f = 'a:1B b'", "public.nets"),
    ("UPDATE nets SET j = '(1,2.0000000000000004)'", "public.nets"),
    ("UPDATE nested SET a = '{1,NULL}' WHERE k = 'sad'", "public.nested"),
    ("UPDATE nested SET b[1] = NULL WHERE k = 'sad'", "public.nested"),
    ("UPDATE nested SET d = '{glad,NULL}' WHERE k = 'sad'", "public.nested"),
    ("UPDATE nested SET e = NULL WHERE b = '{}'", "public.nested"),
    ("UPDATE nested SET e.far = 0.10000000000000002 WHERE k = 'sad'", "public.nested"),
    ("UPDATE nested SET f[1].far = 0 WHERE k = 'sad'", "public.nested"),
    ("UPDATE nested SET h = '[0.1,1]' WHERE k = 'sad'", "public.nested"),
    ("UPDATE nested SET l = 'times' WHERE k = 'sad'", "public.nested"),
    ("UPDATE shapes SET d = '((0,0),(1,1))'", "public.shapes"),
    ("INSERT INTO keyless VALUES (1, 'x')", "public.keyless"),
    ("DELETE FROM keyless WHERE a = 1; INSERT INTO keyless VALUES (1, 'x'), (2, 'y')", "public.keyless"),
    ("INSERT INTO none DEFAULT VALUES", "public.none"),
    ("DELETE FROM unlogged WHERE id = 1000", "public.unlogged"),
    ("UPDATE parted SET id = 2", "public.parted_a"),
    ("INSERT INTO parent VALUES (2); DELETE FROM child", "public.child"),
    ("INSERT INTO parted VALUES (3); REFRESH MATERIALIZED VIEW kept", "public.kept"),
    ("SELECT lo_put(777, 1, '\\xfe')", "large objects"),
    ("SELECT nextval('called')", "public.called"),
    ("SELECT setval('uncalled', 9, true)", "public.uncalled"),
    ("SELECT setval('uncalled', 8, false)", "public.uncalled"),
];

fn differing(theirs: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = theirs.keys().chain(ours.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| theirs.get(*name) != ours.get(*name)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_every_type_are_compared_by_value() {
    let house = House::new();
    let versions = ["15.0", "17.0", "18.0"];
    let servers = servers(&house, &versions, VALUES).await;
    let whole = sums(&servers[0]).await;
    assert!(whole.tables.len() >= 16, "{whole:?}");
    for server in &servers[1..] {
        let ours = sums(server).await;
        assert_eq!(differing(&whole.tables, &ours.tables), Vec::<String>::new(), "{}", server.version);
        assert_eq!(ours.not_compared, [], "{}", server.version);
    }
    let app = tenant(&servers[1], "app", "a", "shop").await.unwrap();
    let mut before = sums(&servers[1]).await;
    let mut unseen = Vec::new();
    for (change, table) in CHANGES {
        app.batch_execute(change).await.unwrap_or_else(|error| panic!("{change}: {error:?}"));
        let after = sums(&servers[1]).await;
        if !differing(&before.tables, &after.tables).contains(&format!("shop: {table}")) {
            unseen.push(*change);
        }
        before = after;
    }
    assert_eq!(unseen, Vec::<&str>::new());
}

/// With `checks` off, so that what breaks them is there, too.
const MARIADB_VALUES: &[&str] = &[
    "SET sql_mode='ALLOW_INVALID_DATES,PAD_CHAR_TO_FULL_LENGTH', time_zone='+05:00', check_constraint_checks=0",
    "CREATE TABLE floats (id INT PRIMARY KEY, a FLOAT, b DOUBLE, c FLOAT(10,2), d DOUBLE UNSIGNED)",
    "INSERT INTO floats VALUES (1,16777217,0.1,1.25,0.1),(2,0.1234567,-0e0,-0.01,0),(3,123456789,4.9e-324,NULL,1e-308),\
     (4,3.4028234e38,1.7976931348623157e308,NULL,NULL),(5,-3.4028234e38,-1e308,0,NULL),(6,1e-45,NULL,NULL,NULL)",
    "CREATE TABLE numbers (a TINYINT, b BIGINT UNSIGNED, c DECIMAL(65,30), d BIT(64), e YEAR, f INT(5) ZEROFILL, g BOOL, h INT CHECK (h > 0))",
    "INSERT INTO numbers VALUES (-128,18446744073709551615,1.000000000000000000000000000001,b'1',2155,7,1,-5),(NULL,0,0,0,0,0,NULL,NULL)",
    "CREATE TABLE texts (a VARCHAR(20) COLLATE utf8mb4_general_ci, b CHAR(5), c BINARY(3), d VARBINARY(9), e TEXT, f LONGBLOB, g JSON, h ENUM('a','B',''), i SET('x','y'), j VARCHAR(9) CHARSET latin1, k TEXT COMPRESSED)",
    "INSERT INTO texts VALUES ('a ','a','a','a','x ',REPEAT('y',3000000),'{\"a\": 1}','a','x,y','ü','z'),('','',NULL,'','','','1','','','',''),(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)",
    "CREATE TABLE times (a DATE, b TIME(6), c DATETIME(6), d TIMESTAMP(6) NULL)",
    "INSERT INTO times VALUES ('0000-00-00','-838:59:59.999999','2026-02-31 01:02:03.000001','2026-10-25 02:30:00.5'),('2026-00-00','00:00','9999-12-31 23:59:59.999999','1970-01-01 05:00:01'),(NULL,NULL,NULL,NULL)",
    "CREATE TABLE others (a UUID, b INET4, c INET6, d POINT, e GEOMETRY)",
    "INSERT INTO others VALUES ('00000000-0000-0000-0000-000000000001','1.2.3.4','::1',POINT(0.1,-0e0),ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)),(NULL,NULL,NULL,NULL,NULL)",
    "CREATE TABLE odd (`co``l ü` INT INVISIBLE, `h` INT, `stored` INT AS (`h`*2) STORED, `virtual` INT AS (`h`*3) VIRTUAL)",
    "INSERT INTO odd (`co``l ü`,`h`) VALUES (1,2)",
    "CREATE TABLE only_virtual (a INT AS (1) VIRTUAL, b INT INVISIBLE DEFAULT 1)",
    "INSERT INTO only_virtual (b) VALUES (1)",
    "SET timestamp=1700000000.5",
    "CREATE TABLE past (id INT PRIMARY KEY, w INT) WITH SYSTEM VERSIONING",
    "CREATE TABLE past_named (id INT PRIMARY KEY, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE, `e` TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME(s, `e`)) WITH SYSTEM VERSIONING",
    "INSERT INTO past VALUES (1,1),(2,2)",
    "INSERT INTO past_named (id) VALUES (1)",
    "SET timestamp=1700000001.25",
    "UPDATE past SET w=3 WHERE id=1",
    "DELETE FROM past_named",
    "SET timestamp=DEFAULT",
    "CREATE TABLE keyless (a INT, b TEXT)",
    "INSERT INTO keyless VALUES (1,'x'),(1,'x'),(2,'y')",
    "CREATE TABLE m (a INT) ENGINE=MyISAM",
    "CREATE TABLE r (a INT) ENGINE=Aria",
    "CREATE TABLE p (a INT) ENGINE=InnoDB PARTITION BY HASH (a) PARTITIONS 3",
    "INSERT INTO m VALUES (1)",
    "INSERT INTO r VALUES (1)",
    "INSERT INTO p VALUES (1),(2),(3)",
    "CREATE TABLE mem (a INT) ENGINE=MEMORY",
];

const MARIADB_CHANGES: &[(&str, &str)] = &[
    ("UPDATE floats SET a=16777218 WHERE id=1", "floats"),
    ("UPDATE floats SET a=0.12345671 WHERE id=2", "floats"),
    ("UPDATE floats SET a=0 WHERE id=6", "floats"),
    ("UPDATE floats SET b=0.10000000000000002 WHERE id=1", "floats"),
    ("UPDATE floats SET b=0 WHERE id=3", "floats"),
    ("UPDATE numbers SET c=1.000000000000000000000000000002 WHERE a=-128", "numbers"),
    ("UPDATE numbers SET d=b'10' WHERE a=-128", "numbers"),
    ("UPDATE texts SET a='a' WHERE h='a'", "texts"),
    ("UPDATE texts SET e='x' WHERE h='a'", "texts"),
    ("UPDATE texts SET c='b' WHERE h='a'", "texts"),
    ("UPDATE texts SET f=CONCAT(REPEAT('y',2999999),'z') WHERE h='a'", "texts"),
    ("UPDATE texts SET g='{\"a\":1}' WHERE h='a'", "texts"),
    ("UPDATE texts SET i='x' WHERE h='a'", "texts"),
    ("UPDATE texts SET d=NULL WHERE d=''", "texts"),
    ("UPDATE texts SET k='zz' WHERE h='a'", "texts"),
    ("UPDATE times SET b='-838:59:59.999998' WHERE b<0", "times"),
    ("UPDATE times SET c='2026-02-31 01:02:03.000002' WHERE a='0000-00-00'", "times"),
    ("UPDATE times SET d='2026-10-25 02:30:00.500001' WHERE a='0000-00-00'", "times"),
    ("UPDATE others SET e=ST_GeomFromText('LINESTRING(0 0,1 1)', 0)", "others"),
    ("UPDATE others SET c='::2'", "others"),
    ("UPDATE odd SET `co``l ü`=2", "odd"),
    ("INSERT INTO keyless VALUES (1,'x')", "keyless"),
    ("DELETE HISTORY FROM past_named", "past_named"),
    ("DELETE HISTORY FROM past", "past"),
    ("UPDATE m SET a=2", "m"),
    ("UPDATE r SET a=2", "r"),
    ("DELETE FROM p WHERE a=2", "p"),
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_every_type_are_compared_by_value_in_mariadb() {
    let house = House::new();
    let mut all = Vec::new();
    let mut servers = Vec::new();
    for version in ["10.11.0", "11.8.0"] {
        let server = house.started(version, false).await;
        let user = crate::engine_servers::user("app", "a", &["shop"]);
        MARIADB.create_content(&server, &[crate::engine_servers::database("shop")], &[user]).await.unwrap();
        fill(&server).await;
        all.push(MARIADB.sum_rows(&server, None, LONG).await.unwrap());
        servers.push(server);
    }
    assert!(all[0].tables.len() >= 12, "{:?}", all[0]);
    assert_eq!(differing(&all[0].tables, &all[1].tables), Vec::<String>::new());
    assert_eq!(all[0].not_compared, all[1].not_compared);
    let left: Vec<&str> = all[0].not_compared.iter().map(|left| left.object.as_str()).collect();
    assert_eq!(left, ["shop.odd.virtual", "shop.only_virtual.a", "shop.mem"]);
    let mut unseen = Vec::new();
    let mut app = connect(&servers[1], "app", "a").await.unwrap();
    for sql in
        ["USE shop", "SET sql_mode='ALLOW_INVALID_DATES', check_constraint_checks=0, time_zone='+05:00'"]
    {
        app.query_drop(sql).await.unwrap();
    }
    let mut before = all.remove(1);
    for (change, table) in MARIADB_CHANGES {
        app.query_drop(*change).await.unwrap_or_else(|error| panic!("{change}: {error}"));
        let after = MARIADB.sum_rows(&servers[1], None, LONG).await.unwrap();
        let seen = differing(&before.tables, &after.tables);
        if seen != [format!("shop.{table}")] {
            unseen.push((*change, seen));
        }
        before = after;
    }
    assert_eq!(unseen, Vec::new());
}

async fn fill(server: &Server) {
    let mut app = connect(server, "app", "a").await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    for sql in MARIADB_VALUES {
        app.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
