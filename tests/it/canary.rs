//! What a tenant plants to come by our power, in every kind of object of PostgreSQL's that something of its own can be in;
//! and where to look for what it would leave.
//!
//! The canary tries everything that a superuser could, one by one, and swallows what fails. It counts its calls by a
//! sequence, so that a test sees that it was called at all. What it does in a session with power it leaves as a table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use coffer::engines::Server;
use tokio_postgres::Client;

use crate::postgres_servers::{own, rows};

/// The word that is in everything that the canary would leave.
pub const TRACE: &str = "canary_trace";

/// What the canary tries, each on its own.
const ATTEMPTS: &[&str] = &[
    "RESET ROLE",
    "RESET SESSION AUTHORIZATION",
    "SET ROLE coffer",
    "SET SESSION AUTHORIZATION coffer",
    "ALTER ROLE app SUPERUSER",
    "ALTER ROLE app CREATEROLE CREATEDB REPLICATION BYPASSRLS",
    "GRANT coffer TO app",
    "GRANT pg_write_server_files, pg_execute_server_program, pg_read_all_data TO app",
    "CREATE ROLE canary_trace SUPERUSER LOGIN PASSWORD ''x''",
    "ALTER ROLE coffer PASSWORD ''x''",
    "ALTER ROLE coffer_repl PASSWORD ''x''",
    "UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE rolname = ''app''",
    "COPY (SELECT 1) TO PROGRAM ''touch /tmp/canary_trace''",
    "COPY (SELECT 1) TO ''/tmp/canary_trace''",
    "SELECT pg_catalog.lo_export(0, ''/tmp/canary_trace'')",
    "SELECT pg_catalog.pg_read_file(''postgresql.auto.conf'')",
    "ALTER SYSTEM SET application_name = ''canary_trace''",
    "SET allow_system_table_mods = on",
    "CREATE FUNCTION pg_catalog.canary_trace() RETURNS int LANGUAGE sql AS ''SELECT 1''",
    "CREATE FUNCTION information_schema.canary_trace() RETURNS int LANGUAGE sql AS ''SELECT 1''",
    "CREATE FUNCTION coffer.canary_trace() RETURNS int LANGUAGE sql AS ''SELECT 1''",
    "CREATE TABLE coffer.canary_trace (a int)",
    "UPDATE coffer.marker SET moved = 9e15",
    "CREATE TRIGGER canary_trace BEFORE UPDATE ON coffer.marker FOR EACH ROW EXECUTE FUNCTION public.canary_fires()",
    "ALTER SCHEMA coffer RENAME TO canary_trace",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION dblink",
    "CREATE LANGUAGE canary_trace HANDLER plpgsql_call_handler",
    "CREATE EVENT TRIGGER canary_trace ON ddl_command_end EXECUTE FUNCTION public.canary_trace()",
    "GRANT SET ON PARAMETER session_replication_role TO app",
    "ALTER ROLE ALL SET application_name = ''canary_trace''",
    "ALTER DATABASE postgres SET application_name = ''canary_trace''",
    "CREATE CAST (text AS int) WITH INOUT AS IMPLICIT",
];

/// What it does besides in a session of ours that has no power: to be let in, or to write, afterwards.
const AS_OURS: &[&str] = &[
    "EXECUTE format(''ALTER ROLE %I PASSWORD ''''evil'''' '', session_user)",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC, app",
    "GRANT ALL ON SCHEMA public TO PUBLIC, app",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, app",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON ROUTINES TO PUBLIC, app",
    "ALTER DATABASE shop SET work_mem = ''64kB''",
    "ALTER DATABASE shop SET role = ''app''",
    "GRANT ALL ON DATABASE shop TO PUBLIC",
];

/// The canary, and the functions by which other objects call it.
fn canary() -> String {
    let block = |sql: &&str| match sql.strip_prefix("EXECUTE ") {
        Some(sql) => format!("BEGIN EXECUTE {}; EXCEPTION WHEN OTHERS THEN END; ", sql.replace("''", "'")),
        None => format!("BEGIN EXECUTE '{sql}'; EXCEPTION WHEN OTHERS THEN END; "),
    };
    let attempts: String = ATTEMPTS.iter().map(block).collect();
    let as_ours: String = AS_OURS.iter().map(block).collect();
    format!(
        "CREATE SEQUENCE canary_calls;
         CREATE FUNCTION canary() RETURNS bool LANGUAGE plpgsql VOLATILE AS $canary$ BEGIN
         BEGIN PERFORM pg_catalog.nextval('public.canary_calls'); EXCEPTION WHEN OTHERS THEN END;
         IF EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolsuper AND r.rolname OPERATOR(pg_catalog.=) ANY (ARRAY[current_user, session_user]::pg_catalog.name[])) THEN
           BEGIN EXECUTE 'CREATE TABLE public.{TRACE} AS SELECT current_user AS cu, session_user AS su'; EXCEPTION WHEN OTHERS THEN END;
         END IF;
         {attempts}
         IF session_user::pg_catalog.text OPERATOR(pg_catalog.~) '^coffer' THEN {as_ours} END IF;
         RETURN true; END $canary$;
         CREATE FUNCTION g(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN i; END $$;
         CREATE FUNCTION gb(i int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.canary(); END $$;
         CREATE FUNCTION canary_fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.canary(); RETURN NEW; END $$"
    )
}

/// Every kind of object that it is planted in, with what plants it there; they build on each other.
pub const PLACES: &[(&str, &str)] = &[
    ("a function", "SELECT g(1)"),
    (
        "a procedure",
        "CREATE PROCEDURE p_canary(INOUT i int DEFAULT g(1)) LANGUAGE plpgsql AS $$ BEGIN PERFORM public.canary(); END $$",
    ),
    (
        "a function that is inlined",
        "CREATE FUNCTION inl() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.g(1)'",
    ),
    (
        "a function with a body of the standard's",
        "CREATE FUNCTION atomic(i int DEFAULT g(4)) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT g(i); END",
    ),
    ("a domain's check", "CREATE DOMAIN d AS int CHECK (gb(1) AND VALUE < g(1000))"),
    (
        "a domain's check of its own type",
        "CREATE DOMAIN dself AS int; CREATE FUNCTION fd(x dself) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.canary(); END $$; \
     ALTER DOMAIN dself ADD CONSTRAINT dc CHECK (fd(VALUE::dself) AND gb(1))",
    ),
    ("a domain's default", "CREATE DOMAIN dd AS d DEFAULT '7'::d"),
    (
        "a constant of a composite type",
        "CREATE TYPE comp AS (a d, b int); CREATE TABLE t_comp (id int PRIMARY KEY, v comp DEFAULT '(1,2)'::comp)",
    ),
    (
        "a constant of an array",
        "CREATE TABLE t_array (id int PRIMARY KEY, v d[] DEFAULT '{1,2}'::d[], w d[] DEFAULT ARRAY[1, 2]::d[])",
    ),
    (
        "a range's difference",
        "CREATE FUNCTION rdiff(a int, b int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN a - b; END $$; \
     CREATE TYPE rng AS RANGE (subtype = int4, subtype_diff = rdiff); CREATE TABLE t_range (id int PRIMARY KEY, r rng DEFAULT '[1,5]'::rng); CREATE INDEX ON t_range USING gist (r)",
    ),
    (
        "an enum's order",
        "CREATE TYPE en AS ENUM ('''; SELECT public.canary(); --', 'b'); CREATE TABLE t_enum (id int PRIMARY KEY, e en DEFAULT 'b')",
    ),
    (
        "a default",
        "CREATE TABLE t_default (id int PRIMARY KEY, v d DEFAULT 5, w int DEFAULT g(2), x int DEFAULT inl())",
    ),
    ("a check", "CREATE TABLE t_check (id int PRIMARY KEY, v int CHECK (gb(1) AND v > g(-1)))"),
    (
        "a check that is not valid",
        "CREATE TABLE t_late (id int PRIMARY KEY, v int); ALTER TABLE t_late ADD CHECK (gb(3)) NOT VALID",
    ),
    (
        "a computed column",
        "CREATE TABLE t_gen (id int PRIMARY KEY, v int GENERATED ALWAYS AS (g(id) + g(1)) STORED)",
    ),
    (
        "an index' expression and condition",
        "CREATE TABLE t_index (id int PRIMARY KEY, v int); CREATE INDEX ON t_index ((g(v) + g(1))) WHERE gb(1)",
    ),
    (
        "an index of a table without a key",
        "CREATE TABLE t_full (a int, b text); ALTER TABLE t_full REPLICA IDENTITY FULL; CREATE INDEX ON t_full (a) WHERE gb(1); CREATE INDEX ON t_full (a, (g(1)))",
    ),
    ("an index whose condition is of constants alone", "CREATE UNIQUE INDEX ON t_full (a, b) WHERE g(1) = 1"),
    (
        "an exclusion",
        "CREATE TABLE t_excl (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&) WHERE (gb(1)))",
    ),
    (
        "a check of a partition that is attached",
        "CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part1 (id int NOT NULL, CONSTRAINT c CHECK (gb(1))); \
     ALTER TABLE part ATTACH PARTITION part1 FOR VALUES FROM (0) TO (1000)",
    ),
    (
        "a partition's bounds",
        "CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (g(1000)) TO (inl() + 1999); CREATE TABLE part_rest PARTITION OF part DEFAULT; ALTER TABLE part_rest ADD CHECK (gb(5))",
    ),
    (
        "a partition's key",
        "CREATE TABLE pk (a int, b int) PARTITION BY RANGE ((a + g(1))); CREATE TABLE pk1 PARTITION OF pk FOR VALUES FROM (0) TO (100); ALTER TABLE pk1 REPLICA IDENTITY FULL",
    ),
    (
        "partitions' keys of several types",
        "CREATE TYPE kind AS ENUM ('it''s', 'b'); CREATE FUNCTION gk(k kind) RETURNS kind LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN k; END $$; \
     CREATE FUNCTION gd(d date) RETURNS date LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN d; END $$; \
     CREATE FUNCTION gt(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN t; END $$; \
     CREATE FUNCTION gu(u uuid) RETURNS uuid LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN u; END $$; \
     CREATE TYPE mr AS RANGE (subtype = date); CREATE FUNCTION gm(m datemultirange) RETURNS datemultirange LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN m; END $$; \
     CREATE FUNCTION gj(j jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN j; END $$; \
     CREATE DOMAIN ratio AS numeric(3, 3) NOT NULL; CREATE FUNCTION gr(r ratio) RETURNS ratio LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN r; END $$; \
     CREATE FUNCTION gc(c regclass) RETURNS regclass LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN c; END $$; \
     CREATE FUNCTION og2(a int, b int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN a + b; END $$; \
     CREATE OPERATOR @+ (LEFTARG = int, RIGHTARG = int, FUNCTION = og2); \
     CREATE TABLE pt2 (a int, j jsonb) PARTITION BY RANGE ((a + (1 OPERATOR(public.@+) 2)), (j || gj('{}')), (a * coalesce(gr(0.5), 1)), (a = gc('1')::oid::int), (daterange('2020-01-01'::date + a, NULL) <@ gm('{}'))); \
     CREATE TABLE pt21 PARTITION OF pt2 DEFAULT; ALTER TABLE pt21 REPLICA IDENTITY FULL; \
     CREATE TABLE pt (a int, d date, t text, u uuid, k kind) PARTITION BY RANGE ((d - gd('2020-01-01')), (gt('x') || t), (u = gu('00000000-0000-0000-0000-000000000002')), (k > gk('b'))); \
     CREATE TABLE pt1 PARTITION OF pt DEFAULT; ALTER TABLE pt1 REPLICA IDENTITY FULL",
    ),
    (
        "partitions' keys of constants, by list and by hash, of two levels and with a default",
        "CREATE TABLE pn (a int, b text) PARTITION BY LIST ((a % g(2))); \
     CREATE TABLE pn_even PARTITION OF pn FOR VALUES IN (0) PARTITION BY HASH ((a + inl()), (a * (g(1) OPERATOR(public.@+) 2))); \
     CREATE TABLE pn_even_0 PARTITION OF pn_even FOR VALUES WITH (MODULUS 1, REMAINDER 0); ALTER TABLE pn_even_0 REPLICA IDENTITY FULL; \
     CREATE TABLE pn_rest PARTITION OF pn DEFAULT; ALTER TABLE pn_rest REPLICA IDENTITY FULL",
    ),
    (
        "an exclusion's expressions and condition of constants",
        "CREATE TABLE t_excl_all (id int PRIMARY KEY, v int, EXCLUDE USING gist (int4range(v, v + g(1)) WITH &&, int4range(g(0), g(v)) WITH &&) \
     WHERE (g(2) = 2 AND v OPERATOR(public.@+) g(0) > 0) DEFERRABLE INITIALLY DEFERRED)",
    ),
    (
        "a partition by list of a domain",
        "CREATE TABLE pl (a d PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE pl1 PARTITION OF pl FOR VALUES IN (1, 2)",
    ),
    (
        "a trigger",
        "CREATE TABLE t_trigger (id int PRIMARY KEY, v int); CREATE TRIGGER one BEFORE INSERT OR UPDATE ON t_trigger FOR EACH ROW WHEN (gb(1)) EXECUTE FUNCTION canary_fires(); \
     CREATE TRIGGER two BEFORE TRUNCATE ON t_trigger EXECUTE FUNCTION canary_fires(); \
     CREATE CONSTRAINT TRIGGER three AFTER INSERT ON t_trigger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION canary_fires()",
    ),
    (
        "a view",
        "CREATE VIEW v_canary AS SELECT g(1) AS x, canary() AS y, '3'::d AS z FROM t_check WHERE gb(2)",
    ),
    (
        "a view that is named as what lists sequences",
        "CREATE VIEW pg_sequences AS SELECT 'public'::name AS schemaname, 's0'::name AS sequencename, canary() AS last_value",
    ),
    (
        "a rule",
        "CREATE TABLE t_rule (id int PRIMARY KEY); CREATE RULE r AS ON INSERT TO t_rule WHERE gb(1) DO ALSO SELECT canary()",
    ),
    (
        "a policy",
        "CREATE TABLE t_policy (id int PRIMARY KEY); ALTER TABLE t_policy ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON t_policy USING (gb(1) AND canary()) WITH CHECK (gb(2))",
    ),
    (
        "a materialized view",
        "CREATE MATERIALIZED VIEW mv AS SELECT g(1) AS x, canary() AS y WITH NO DATA; CREATE INDEX ON mv ((g(x))) WHERE gb(1)",
    ),
    (
        "an aggregate, its first value too",
        "CREATE FUNCTION gs(s d, v int) RETURNS d LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN s; END $$; CREATE AGGREGATE agg (int) (SFUNC = gs, STYPE = d, INITCOND = '1')",
    ),
    (
        "an operator",
        "CREATE FUNCTION og(a comp, b comp) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.canary(); END $$; \
     CREATE OPERATOR = (LEFTARG = comp, RIGHTARG = comp, FUNCTION = og); CREATE FUNCTION oi(a int, b name) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.canary(); END $$; \
     CREATE OPERATOR = (LEFTARG = int, RIGHTARG = name, FUNCTION = oi)",
    ),
    (
        "a cast",
        "CREATE FUNCTION ct(c comp) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.canary(); RETURN 'x'; END $$; CREATE CAST (comp AS text) WITH FUNCTION ct(comp) AS IMPLICIT",
    ),
    (
        "functions named as the server's",
        "CREATE FUNCTION format_type(oid, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.canary(); RETURN 'x'; END $$; \
     CREATE FUNCTION setval(regclass, bigint, bool) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM public.canary(); RETURN 1; END $$; \
     CREATE FUNCTION count() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM public.canary(); RETURN 1; END $$",
    ),
    (
        "statistics",
        "CREATE TABLE t_stat (id int PRIMARY KEY, a int, b int); CREATE STATISTICS st ON (g(a)), (b + g(1)) FROM t_stat",
    ),
    (
        "an identifier",
        "CREATE TABLE \"x\"\"; SELECT public.canary(); --\" (\"$$; SELECT public.canary(); --\" int PRIMARY KEY, \"'; SELECT public.canary(); --\" text); \
     CREATE SEQUENCE \"s'); SELECT public.canary(); --\"",
    ),
    ("a comment", "COMMENT ON TABLE t_check IS $$'; SELECT public.canary(); --$$"),
    (
        "a setting",
        "ALTER DATABASE shop SET search_path = public, pg_catalog; ALTER ROLE app SET search_path = public, pg_catalog",
    ),
    (
        "a function's own settings",
        "CREATE FUNCTION with_settings() RETURNS int LANGUAGE sql IMMUTABLE SET role = 'app' SET search_path = public AS 'SELECT g(1)'; CREATE TABLE t_set (id int PRIMARY KEY, v int DEFAULT with_settings())",
    ),
    (
        "a function that runs as its owner",
        "CREATE FUNCTION definer(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER AS $$ BEGIN PERFORM public.canary(); RETURN i; END $$; CREATE INDEX ON t_index ((definer(v))) WHERE definer(1) = 1",
    ),
    ("a publication", "CREATE PUBLICATION theirs FOR TABLE t_check (id, v)"),
];

/// Rows that go through all of it.
pub const ROWS: &str = "
    INSERT INTO t_comp (id) SELECT generate_series(1, 5); INSERT INTO t_array (id) SELECT generate_series(1, 5);
    INSERT INTO t_range (id) SELECT generate_series(1, 5); INSERT INTO t_default (id) SELECT generate_series(1, 5);
    INSERT INTO t_check SELECT n, n FROM generate_series(1, 5) n; INSERT INTO t_late SELECT n, n FROM generate_series(1, 5) n;
    INSERT INTO t_gen (id) SELECT generate_series(1, 5); INSERT INTO t_index SELECT n, n FROM generate_series(1, 5) n;
    INSERT INTO t_full SELECT n, 'x' FROM generate_series(1, 5) n; INSERT INTO t_excl SELECT n, int4range(n, n + 1) FROM generate_series(1, 5) n;
    INSERT INTO part SELECT n * 400 FROM generate_series(1, 9) n; INSERT INTO pk SELECT n, n FROM generate_series(1, 5) n;
    INSERT INTO pn SELECT n, 'x' FROM generate_series(1, 9) n; INSERT INTO t_excl_all SELECT n, n FROM generate_series(1, 5) n;
    INSERT INTO pl VALUES (1), (2); INSERT INTO pt VALUES (1, '2020-02-03', 'y', NULL, 'b'); INSERT INTO t_trigger SELECT n, n FROM generate_series(1, 5) n;
    INSERT INTO t_policy SELECT generate_series(1, 5); INSERT INTO t_stat SELECT n, n, n FROM generate_series(1, 5) n;
    INSERT INTO t_set (id) SELECT generate_series(1, 5)";

/// Changes that go through all of it.
pub const CHANGES: &str = "
    UPDATE t_comp SET v = '(2,3)' WHERE id < 3; UPDATE t_array SET v = '{3}' WHERE id < 3; UPDATE t_range SET r = '[2,3]' WHERE id < 3;
    UPDATE t_default SET v = 6 WHERE id < 3; UPDATE t_check SET v = 9 WHERE id < 3; DELETE FROM t_late WHERE id = 1;
    UPDATE t_index SET v = v + 1; UPDATE t_full SET b = 'y' WHERE a < 3; DELETE FROM t_full WHERE a = 4;
    UPDATE t_excl SET r = int4range(50, 60) WHERE id = 1; UPDATE part SET id = id + 1 WHERE id < 900; UPDATE pk SET b = 7 WHERE a = 1;
    UPDATE t_trigger SET v = 3 WHERE id = 1; INSERT INTO t_policy VALUES (77); TRUNCATE t_stat; DELETE FROM pl WHERE a = 2;
    UPDATE pn SET a = a + 1; DELETE FROM pn WHERE a = 4; UPDATE t_excl_all SET v = v + 1";

/// Plants the canary everywhere, as the tenant `app` in its database `shop`, and says where.
pub async fn plant(app: &Client) {
    app.batch_execute(&canary()).await.unwrap_or_else(|error| panic!("the canary: {error:?}"));
    println!("the canary is planted in {} kinds of objects:", PLACES.len());
    for (place, sql) in PLACES {
        app.batch_execute(sql).await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
        println!("  {place}");
    }
    app.batch_execute(ROWS).await.unwrap_or_else(|error| panic!("rows: {error:?}"));
}

/// What the canary left in a server, if it had power at any time; by our own account, with the server's own words.
pub async fn traces(server: &Server, databases: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let us = own(server, "postgres").await;
    us.batch_execute("SET search_path = pg_catalog").await.unwrap();
    let cluster = [
        (
            "a role with power",
            "SELECT rolname FROM pg_roles WHERE rolname <> 'coffer' AND (rolsuper OR rolcreaterole OR rolcreatedb) UNION ALL \
          SELECT rolname FROM pg_roles WHERE rolname !~ '^coffer' AND (rolreplication OR rolbypassrls) AND oid >= 16384",
        ),
        ("a role", "SELECT rolname FROM pg_roles WHERE rolname ~ 'canary'"),
        (
            "a tenant of a role",
            "SELECT m.rolname || ' of ' || g.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid \
          WHERE m.oid >= 16384 AND m.rolname !~ '^coffer'",
        ),
        (
            "our own account's password",
            "SELECT rolname FROM pg_authid WHERE rolname = 'coffer' AND rolpassword IS NOT NULL",
        ),
        ("a setting", "SELECT setconfig::text FROM pg_db_role_setting WHERE setconfig::text ~ 'canary'"),
        ("a parameter's right", "SELECT parname FROM pg_parameter_acl"),
        (
            "the server's own settings",
            "SELECT name FROM pg_file_settings WHERE setting ~ 'canary' OR sourcefile ~ 'auto.conf$'",
        ),
        ("a tablespace", "SELECT spcname FROM pg_tablespace WHERE oid >= 16384"),
    ];
    for (what, sql) in cluster {
        found.extend(rows(&us, sql).await.into_iter().map(|row| format!("{what}: {row}")));
    }
    for database in databases {
        let inside = own(server, database).await;
        inside.batch_execute("SET search_path = pg_catalog; RESET ROLE").await.unwrap();
        let system = "n.nspname ~ '^pg_' OR n.nspname IN ('information_schema', 'coffer')";
        let ours = "n.nspname = 'coffer' AND (SELECT rolname FROM pg_roles r WHERE r.oid = owner) ~ '^coffer(_apply)?$' AND it IN ('marker', 'rights', \
                    'marker_pkey', 'rights_pkey', 'coffer_still', 'checks')";
        for (what, sql) in [
            ("a trace of power", format!("SELECT '{TRACE}' FROM pg_class WHERE relname = '{TRACE}'")),
            ("a routine of the system's", format!("SELECT n.nspname || '.' || it FROM (SELECT oid, proname::text, proowner, pronamespace FROM pg_proc) p(id, it, owner, ns) \
              JOIN pg_namespace n ON n.oid = ns WHERE ({system}) AND id >= 16384 AND NOT ({ours})")),
            ("a relation of the system's", format!("SELECT n.nspname || '.' || it FROM (SELECT oid, relname::text, relowner, relnamespace FROM pg_class) c(id, it, owner, ns) \
              JOIN pg_namespace n ON n.oid = ns WHERE ({system}) AND n.nspname !~ '^pg_toast' AND n.nspname !~ '^pg_temp' AND id >= 16384 AND NOT ({ours})")),
            ("an operator of the system's", format!("SELECT oprname FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE ({system}) AND o.oid >= 16384")),
            ("a trigger on ours", "SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'coffer'".to_owned()),
            ("a schema", "SELECT nspname FROM pg_namespace WHERE nspname ~ 'canary'".to_owned()),
            ("our schema, another's", "SELECT nspname FROM pg_namespace WHERE nspname = 'coffer' AND nspowner <> 10".to_owned()),
            ("an extension", "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'".to_owned()),
            ("a language", "SELECT lanname FROM pg_language WHERE oid >= 16384".to_owned()),
            ("an event trigger", "SELECT evtname FROM pg_event_trigger WHERE evtname <> 'coffer_still'".to_owned()),
            ("a cast of the server's types", "SELECT oid::text FROM pg_cast WHERE oid >= 16384 AND castsource < 16384".to_owned()),
            ("a foreign server", "SELECT srvname FROM pg_foreign_server".to_owned()),
        ] {
            found.extend(rows(&inside, &sql).await.into_iter().map(|row| format!("{database}: {what}: {row}")));
        }
    }
    if std::path::Path::new("/tmp/canary_trace").exists() {
        found.push("a file was written, or a program run".to_owned());
    }
    found
}

/// How often the canary was called in a server, as its sequence tells.
pub async fn calls(server: &Server) -> i64 {
    let us = own(server, "shop").await;
    us.batch_execute("SET search_path = pg_catalog").await.unwrap();
    let sql = "SELECT coalesce((SELECT pg_sequence_last_value(c.oid) FROM pg_class c WHERE c.relname = 'canary_calls'), 0)";
    rows(&us, sql).await[0].parse().unwrap()
}
