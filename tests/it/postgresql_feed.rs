//! A PostgreSQL candidate that is fed by its source while that serves, with real servers.
//!
//! Needs the engines of the set-up (`harness::view`) and, as root, its accounts.
//! Leaves no process and no folder behind, also when it fails.

use std::sync::Arc;
use std::time::Duration;

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine as _, Error, Following, OnProgress, Server, Settings};

use crate::engine_servers::{House, until};
use crate::postgres_servers::{ENGINE, database, own, refused, rows, started, state, tenant, user};

const ODD: &str = "o'd\"d %_name ü";

/// What a tenant may have that replication, with what comes beside it, carries.
const CONTENT: &str = r#"
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN amount AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TYPE place AS (street text, "No" int);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE SCHEMA "Back Office";
CREATE TABLE goods (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'x',
    price amount, how mood, at place, of span, double numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE TABLE "Back Office".orders (id serial PRIMARY KEY, good bigint REFERENCES goods, note text);
CREATE TABLE "Back Office".log (day date NOT NULL, id int NOT NULL, what text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE "Back Office".log_a PARTITION OF "Back Office".log FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE "Back Office".log_b PARTITION OF "Back Office".log DEFAULT;
CREATE TABLE keyless (a int, b text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE FUNCTION low(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE EXCEPTION 'a function of the tenant ran as a superuser'; END IF;
    RETURN lower(t); END $$;
CREATE INDEX by_low ON goods (low(name)) WHERE low('A') = 'a';
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO keyless VALUES (NEW.id, 'told'); RETURN NEW; END $$;
CREATE TRIGGER told AFTER INSERT ON "Back Office".orders FOR EACH ROW EXECUTE FUNCTION told();
CREATE VIEW dear AS SELECT name FROM goods WHERE price > 10;
CREATE MATERIALIZED VIEW later AS SELECT name FROM goods WITH NO DATA;
CREATE AGGREGATE most (int) (SFUNC = int4larger, STYPE = int);
CREATE FUNCTION same(a mood, b mood) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT a = b';
CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same);
CREATE STATISTICS pair ON name, price FROM goods;
CREATE COLLATION plain FROM "C";
CREATE SEQUENCE tickets INCREMENT 5 START 100;
ALTER TABLE goods ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON goods TO PUBLIC USING (true) WITH CHECK (true);
COMMENT ON TABLE goods IS 'what''s on the shelf';
CREATE PUBLICATION theirs FOR TABLE goods;
GRANT SELECT (name), UPDATE (price) ON goods TO clerk;
GRANT SELECT ON dear TO clerk WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION same(mood, mood) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA "Back Office" GRANT SELECT ON TABLES TO clerk;
INSERT INTO goods (name, price, how, at, of) SELECT 'Good ' || n, n, 'glad', ROW('a', n)::place, span(0, n) FROM generate_series(1, 500) n;
INSERT INTO "Back Office".orders (good, note) SELECT n, 'ü' FROM generate_series(1, 300) n;
INSERT INTO "Back Office".log SELECT '2026-01-01'::date + n, n, 'x' FROM generate_series(1, 300) n;
SELECT nextval('tickets'), nextval('tickets');
"#;

fn silent() -> OnProgress {
    Arc::new(|_| {})
}

fn with(server: &Server, read_only: bool, readers: bool) -> Server {
    let settings = Settings { read_only, readers, events: !read_only, ..server.settings.clone() };
    Server { settings, ..server.clone() }
}

/// A source with content, and an empty candidate of another version.
async fn pair(house: &House, from: &str, to: &str, readers: bool) -> (Server, Server) {
    let source = started(house, from).await;
    let (databases, users) = (
        [database("shop"), database(ODD)],
        [user("app", "a", &["shop", ODD]), user("clerk", "c", &["shop"]), user("Idle", "i", &[])],
    );
    ENGINE.create_content(&source, &databases, &users).await.unwrap();
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    app.batch_execute(CONTENT).await.unwrap();
    app.batch_execute(
        "ALTER ROLE app SET search_path = \"Back Office\", public; ALTER DATABASE shop SET work_mem = '3MB'",
    )
    .await
    .unwrap();
    let other = tenant(&source, "app", "a", ODD).await.unwrap();
    other
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, x bytea); INSERT INTO t VALUES (1, '\\x00ff')")
        .await
        .unwrap();
    let candidate = with(&house.server(to, true), true, readers);
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    (source, candidate)
}

async fn follows(source: &Server, candidate: &Server) {
    ENGINE.follow(source, candidate, None).await.unwrap();
    ENGINE.follow(source, candidate, None).await.unwrap();
    let position = ENGINE.position(source).await.unwrap();
    let reached = ENGINE.reached(candidate, &position, Duration::from_secs(10)).await.unwrap();
    let log = candidate.runtime.log_end(candidate.generation, 4096).await.unwrap();
    assert!(reached, "{log}");
    assert_eq!(ENGINE.following(candidate).await.unwrap(), Following::Running);
}

async fn same(source: &Server, candidate: &Server) {
    let (theirs, ours) = (
        ENGINE.inventory_while_serving(source).await.unwrap(),
        ENGINE.inventory_while_serving(candidate).await.unwrap(),
    );
    let only = |here: &[String], there: &[String]| -> Vec<String> {
        here.iter().filter(|line| !there.contains(line)).cloned().collect()
    };
    assert_eq!(only(&theirs, &ours), only(&ours, &theirs));
}

async fn a_twin(from: &str, to: &str) {
    let house = House::new();
    let (source, candidate) = pair(&house, from, to, false).await;
    // A look has the candidate's place to itself, before there is one.
    let looked = house.server(to, true);
    let found = ENGINE.pre_check(&source, &looked, Strategy::Twin).await.unwrap();
    assert!(found.iter().all(|finding| !finding.blocks), "{found:?}");
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    assert_eq!(ENGINE.following(&candidate).await.unwrap(), Following::Nobody);
    follows(&source, &candidate).await;
    same(&source, &candidate).await;

    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    for sql in [
        "UPDATE goods SET price = 7 WHERE id < 10; DELETE FROM goods WHERE id > 490",
        "INSERT INTO orders (good, note) VALUES (1, 'new'); UPDATE keyless SET b = 'was told'",
        "UPDATE log SET day = '2026-12-01' WHERE id = 5; TRUNCATE log_b; SELECT setval('tickets', 777, false)",
    ] {
        app.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    let compared = ENGINE.compare_rows(&source, &candidate, silent()).await.unwrap();
    assert_eq!((compared.differing, compared.tables), (Vec::<String>::new(), 6));
    assert!(compared.rows > 1000, "{}", compared.rows);

    // Nobody writes: two looks give one position, which moves with the next write.
    drop(app);
    let fenced = with(&source, true, false);
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    let mut first = ENGINE.position(&source).await.unwrap();
    until("a position that stays", async || {
        let before = std::mem::replace(&mut first, ENGINE.position(&source).await.unwrap());
        before == first
    })
    .await;
    assert!(ENGINE.reached(&candidate, &first, Duration::from_secs(10)).await.unwrap());
    ENGINE.carry_the_rest(&fenced, &candidate).await.unwrap();
    assert_eq!(ENGINE.inventory(&source).await.unwrap(), ENGINE.inventory(&candidate).await.unwrap());
    for _ in 0..2 {
        ENGINE.cut(&candidate, Some(&fenced)).await.unwrap();
    }
    assert_eq!(ENGINE.following(&candidate).await.unwrap(), Following::Nobody);
    // It is still fenced; then it is open, and everything is as it was.
    assert_eq!(state(&tenant(&candidate, "app", "a", "shop").await.err().unwrap()), "28000");
    let open = with(&candidate, false, false);
    ENGINE.start(&open).await.unwrap();
    let app = tenant(&open, "app", "a", "shop").await.unwrap();
    assert_eq!(rows(&app, "SELECT count(*) FROM goods").await, ["490"]);
    assert_eq!(rows(&app, "SELECT nextval('tickets')").await, ["777"]);
    assert_eq!(rows(&app, "SHOW search_path").await, ["\"Back Office\", public"]);
    app.batch_execute(
        "INSERT INTO orders (good) VALUES (2); REFRESH MATERIALIZED VIEW later; DROP TABLE keyless CASCADE",
    )
    .await
    .unwrap_or_else(|error| panic!("{error:?}"));
    let clerk = tenant(&open, "clerk", "c", "shop").await.unwrap();
    clerk
        .batch_execute("SELECT name FROM goods; UPDATE goods SET price = 3; SELECT * FROM dear")
        .await
        .unwrap();

    for _ in 0..2 {
        ENGINE.forget_follower(&source).await.unwrap();
    }
    let us = own(&source, "shop").await;
    let left = "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer_' UNION ALL SELECT slot_name FROM pg_replication_slots \
                UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT c.relname FROM pg_class c \
                JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'coffer'";
    assert_eq!(rows(&us, left).await, ["theirs"]);
    let here = own(&open, "shop").await;
    assert_eq!(rows(&here, left).await, ["theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_of_15_is_17() {
    a_twin("15.0", "17.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_of_17_is_18() {
    a_twin("17.0", "18.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_read_by_right_and_written_after_the_cut() {
    let house = House::new();
    let (source, candidate) = pair(&house, "15.0", "18.0", true).await;
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    follows(&source, &candidate).await;
    same(&source, &candidate).await;

    let us = own(&candidate, "shop").await;
    let owners = "SELECT DISTINCT o.rolname ~ '^coffer_keeper_' AND NOT o.rolcanlogin AND NOT o.rolsuper FROM pg_class c \
                  JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner \
                  WHERE n.nspname IN ('public', 'Back Office')";
    assert_eq!(rows(&us, owners).await, ["t"]);
    // Whoever is let in reads what it reads on the source, and writes nothing, whatever it says of itself.
    for (name, password, databases) in [("app", "a", &["shop", ODD][..]), ("clerk", "c", &["shop"][..])] {
        for database in databases {
            let reader = tenant(&candidate, name, password, database).await.unwrap();
            reader
                .batch_execute("SET default_transaction_read_only = off; SET transaction_read_only = off")
                .await
                .unwrap();
            for sql in [
                "CREATE TABLE mine (a int)",
                "CREATE TEMP TABLE mine (a int)",
                "CREATE SCHEMA mine",
                "SELECT lo_create(0)",
                "SELECT lo_creat(-1)",
                "SELECT lo_from_bytea(0, 'x')",
                "INSERT INTO public.goods (name) VALUES ('mine')",
                "UPDATE public.goods SET price = 0",
                "DELETE FROM public.goods",
                "TRUNCATE public.goods",
                "SELECT * FROM public.goods FOR UPDATE",
                "SELECT nextval('public.tickets')",
                "SELECT setval('public.tickets', 1)",
                "INSERT INTO \"Back Office\".orders (good) VALUES (1)",
                "COPY public.goods (name) FROM STDIN",
                "ALTER TABLE public.goods ADD COLUMN x int",
                "DROP TABLE public.goods",
                "SELECT public.low('A')",
                "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                "REFRESH MATERIALIZED VIEW public.later",
                "CREATE PUBLICATION mine FOR TABLE public.goods",
                "ALTER DATABASE shop SET work_mem = '9MB'",
                "DROP DATABASE shop",
            ] {
                let refused = reader.batch_execute(sql).await;
                assert!(refused.is_err(), "{name} in {database}: {sql}");
            }
        }
    }
    let app = tenant(&candidate, "app", "a", "shop").await.unwrap();
    assert_eq!(rows(&app, "SELECT count(*) FROM orders").await, ["300"]);
    assert_eq!(rows(&app, "SELECT count(*) FROM log").await, ["300"]);
    // What is read by a function of the tenant's, as this table's index is, waits for the detach.
    assert_eq!(refused(&app, "SELECT count(*) FROM goods").await, "42501");
    assert!(tenant(&candidate, "Idle", "i", "shop").await.is_err());

    // A definition that changes on the source is seen; gone again, it is not.
    let there = tenant(&source, "app", "a", "shop").await.unwrap();
    there.batch_execute("CREATE TABLE since (id int PRIMARY KEY)").await.unwrap();
    let (theirs, ours) = (
        ENGINE.inventory_while_serving(&source).await.unwrap(),
        ENGINE.inventory_while_serving(&candidate).await.unwrap(),
    );
    assert!(theirs.iter().any(|line| line.contains("since") && !ours.contains(line)));
    there.batch_execute("DROP TABLE since; INSERT INTO goods (name) VALUES ('last')").await.unwrap();
    let compared = ENGINE.compare_rows(&source, &candidate, silent()).await.unwrap();
    assert_eq!(compared.differing, Vec::<String>::new());

    let position = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(30)).await.unwrap());
    let open = with(&candidate, false, false);
    for _ in 0..2 {
        ENGINE.cut(&open, Some(&source)).await.unwrap();
    }
    assert_eq!(ENGINE.inventory(&source).await.unwrap(), ENGINE.inventory(&open).await.unwrap());
    let app = tenant(&open, "app", "a", "shop").await.unwrap();
    app.batch_execute("INSERT INTO goods (name) VALUES ('own'); CREATE TABLE mine (a int); SELECT low('A'); SELECT lo_create(0)")
        .await
        .unwrap_or_else(|error| panic!("{error:?}"));
    // The comparison's thorough look at the tables goes on beside all this, as an account that goes with it.
    let us = own(&open, "postgres").await;
    until("none of our accounts is left", async || {
        rows(&us, "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer_'").await.is_empty()
    })
    .await;
}

/// Whoever drains a fenced server sees by its position whether somebody still writes. So what is asked meanwhile writes
/// nothing: with a sequence that was never called in each of two databases, by whom the drain is the first or the second one.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_leaves_the_fenced_servers_position_alone() {
    let house = House::new();
    let (source, candidate) = pair(&house, "15.0", "17.0", false).await;
    let other = tenant(&source, "app", "a", ODD).await.unwrap();
    other.batch_execute("CREATE SEQUENCE public.spare START 7; CREATE SEQUENCE public.called").await.unwrap();
    other.batch_execute("SELECT nextval('public.called')").await.unwrap();
    let app = tenant(&source, "app", "a", "shop").await.unwrap();
    app.batch_execute("CREATE SEQUENCE public.spare START 5; SELECT setval('tickets', 777, false)")
        .await
        .unwrap();
    ENGINE.seed(&source, &candidate, silent()).await.unwrap();
    follows(&source, &candidate).await;
    let fenced = with(&source, true, false);
    let drain = async || {
        let before = ENGINE.position(&fenced).await.unwrap();
        ENGINE.carry_the_rest(&fenced, &candidate).await.unwrap();
        // The server may look at a table by itself in this moment, which is a write, too: one of three is enough.
        before == ENGINE.position(&fenced).await.unwrap()
    };
    let is_left_alone = async || drain().await || drain().await || drain().await;

    ENGINE.stand_ready(&source).await.unwrap();
    drop((app, other));
    ENGINE.fence(&fenced, Duration::ZERO).await.unwrap();
    assert!(is_left_alone().await);

    // Nobody stands ready: it is made, and the next one finds it. So it is where what stands ready may not read.
    let us = own(&source, "shop").await;
    us.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    us.batch_execute("REVOKE ALL ON SEQUENCE public.spare FROM app").await.unwrap();
    drain().await;
    assert!(is_left_alone().await);
    ENGINE.forget_follower(&source).await.unwrap();
    let us = own(&source, "postgres").await;
    assert_eq!(rows(&us, "SELECT rolname FROM pg_roles WHERE rolname ~ '^coffer_read'").await, [""; 0]);
    drain().await;
    assert!(is_left_alone().await);
    for (database, sequence, next) in
        [("shop", "tickets", "777"), ("shop", "spare", "5"), (ODD, "spare", "7"), (ODD, "called", "2")]
    {
        let there = own(&candidate, database).await;
        let sql = format!(
            "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM public.{sequence}"
        );
        assert_eq!(rows(&there, &sql).await, [next], "{sequence} of {database}");
    }
}

/// A tenant's publications: the one name that the service keeps is told of beforehand, and by whoever meets it all the same.
/// Any other one is carried, also where its name begins with that one.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_of_a_tenants_is_named_or_carried() {
    let house = House::new();
    let (source, app) = crate::postgresql_in_place::shop(&house, "15.0").await;
    let theirs = ["Coffer", "coffer_", "coffer_follow_1", "coffer_own", "coffers"];
    let mut statements = vec![
        "CREATE TABLE g (id int PRIMARY KEY, v text)".to_owned(),
        "INSERT INTO g VALUES (1, 'a'), (2, 'b')".to_owned(),
        "CREATE PUBLICATION coffer FOR TABLE g".to_owned(),
        "CREATE PUBLICATION coffer_own FOR TABLE g (id) WHERE (id > 1) WITH (publish = 'insert')".to_owned(),
    ];
    let plain = theirs.iter().filter(|name| **name != "coffer_own");
    statements.extend(plain.map(|name| format!("CREATE PUBLICATION \"{name}\" FOR TABLE g")));
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    crate::postgresql_in_place::all(&app, &statements).await;

    let twin = house.server("17.0", true);
    let found = ENGINE.pre_check(&source, &twin, Strategy::Twin).await.unwrap();
    let named: Vec<&str> = found.iter().filter(|f| f.blocks).map(|f| f.object.as_str()).collect();
    assert_eq!(named, ["shop: publication coffer"], "{found:#?}");
    let blockers = ENGINE.replica_blockers(&source).await.unwrap();
    assert_eq!(blockers.len(), 1, "{blockers:?}");
    assert!(blockers[0].remedy.contains("RENAME TO") && blockers[0].remedy.contains("in place"));
    let placed = crate::postgresql_in_place::told(&house, &source, "17.0", &[]).await.0;
    let names = "SELECT string_agg(pubname, ' ' ORDER BY pubname COLLATE \"C\") FROM pg_publication";
    let carried = rows(&own(&placed, "shop").await, names).await;
    assert_eq!(carried, ["Coffer coffer coffer_ coffer_follow_1 coffer_own coffers"]);

    // One that is made after the look is met by whoever follows.
    ENGINE.start(&source).await.unwrap();
    let app = tenant(&source, "app", "x", "shop").await.unwrap();
    app.batch_execute("ALTER PUBLICATION coffer RENAME TO kept").await.unwrap();
    ENGINE.create_data(&twin).await.unwrap();
    ENGINE.start(&twin).await.unwrap();
    ENGINE.seed(&source, &twin, silent()).await.unwrap();
    app.batch_execute("ALTER PUBLICATION kept RENAME TO coffer").await.unwrap();
    let refused = ENGINE.follow(&source, &twin, None).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Object { object, remedy, .. } if object == "shop: publication coffer" && remedy.contains("RENAME")),
        "{refused:?}"
    );
    ENGINE.forget_follower(&source).await.unwrap();
    assert_eq!(rows(&app, "SELECT count(*) FROM pg_publication WHERE pubname = 'coffer'").await, ["1"]);
    app.batch_execute("ALTER PUBLICATION coffer RENAME TO kept").await.unwrap();
    follows(&source, &twin).await;
    same(&source, &twin).await;
    let session = own(&twin, "shop").await;
    session.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    assert_eq!(rows(&session, names).await, ["Coffer coffer_ coffer_follow_1 coffer_own coffers kept"]);
    let differences = async || {
        let (theirs, ours) =
            tokio::try_join!(ENGINE.inventory_while_serving(&source), ENGINE.inventory_while_serving(&twin))
                .unwrap();
        coffer::workflow::feed::differences(&theirs, &ours)
    };
    for (sql, name) in [
        ("DROP PUBLICATION coffer_own", "publication coffer_own"),
        ("ALTER PUBLICATION coffer_ SET (publish = 'insert')", "publication coffer_"),
        ("ALTER PUBLICATION coffer_follow_1 DROP TABLE g", "publication's table coffer_follow_1"),
    ] {
        session.batch_execute(sql).await.unwrap();
        let told = differences().await;
        assert!(told.iter().any(|line| line.contains(name)), "{sql}: {told:?}");
    }
    app.batch_execute("DROP PUBLICATION coffer_own; ALTER PUBLICATION coffer_ SET (publish = 'insert'); ALTER PUBLICATION coffer_follow_1 DROP TABLE g").await.unwrap();
    same(&source, &twin).await;
    ENGINE.cut(&twin, Some(&source)).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();
    for session in [own(&source, "shop").await, own(&twin, "shop").await] {
        assert_eq!(rows(&session, names).await, ["Coffer coffer_ coffer_follow_1 coffers kept"]);
    }
}
