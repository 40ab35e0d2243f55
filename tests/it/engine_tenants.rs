//! What tenants try against the copy, with real servers: no text and no object of theirs runs with our rights.
//!
//! Needs what `engine_mariadb` needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine, Server, Settings};
use mysql_async::prelude::Queryable;

use crate::engine_servers::{
    ENGINE, House, Relay, accounts, compare, connect, database, own, quiet, text, user,
};

/// What `SHOW CREATE` says of an object, byte for byte.
async fn shown(server: &Server, what: &str, at: usize) -> Vec<u8> {
    let mut conn = own(server).await;
    conn.query_drop("SET character_set_results=binary").await.unwrap();
    let row: mysql_async::Row = conn.query_first(format!("SHOW CREATE {what}")).await.unwrap().unwrap();
    row.get::<Vec<u8>, _>(at).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_the_tenants_runs_as_ours() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    let databases = [database("shop"), database("cöffer"), database(&"_".repeat(40))];
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    ENGINE.create_content(&source, &databases, &[user("app", "pw", &names)]).await.unwrap();
    let mut app = connect(&source, "app", "pw").await.unwrap();
    let evil =
        "CREATE USER coffer_a@'%' IDENTIFIED BY 'x' ;; GRANT ALL ON *.* TO coffer_a@'%' WITH GRANT OPTION ;;";
    let statements: Vec<Vec<u8>> = [
        "USE shop".to_owned(),
        "CREATE TABLE ran (who VARCHAR(200))".to_owned(),
        "CREATE TABLE days (day DATE, n INT)".to_owned(),
        "INSERT INTO days VALUES ('2026-01-01', 1)".to_owned(),
        // To the server a comment, to the client program none.
        format!("CREATE PROCEDURE split() SELECT 1 --\u{1} ;; {evil} SELECT 1\n AS a"),
        format!("CREATE PROCEDURE client() BEGIN\n/* \nDELIMITER //\n{evil} // */ SELECT 2;\nEND"),
        format!(
            "CREATE EVENT tick ON SCHEDULE EVERY 1 DAY COMMENT ';; {}' DO SELECT ';;' /* ;; {evil} */",
            "a;;b"
        ),
        format!("CREATE TRIGGER note BEFORE INSERT ON days FOR EACH ROW SET @x = ';;' --\u{1} ;; {evil}\n"),
        "CREATE TRIGGER second BEFORE INSERT ON days FOR EACH ROW PRECEDES note SET NEW.n = NEW.n + 1"
            .to_owned(),
        "CREATE FUNCTION plus_one(x INT) RETURNS INT DETERMINISTIC RETURN x + 1 -- the end".to_owned(),
        "CREATE FUNCTION plus_two(x INT) RETURNS INT DETERMINISTIC RETURN x + 2 # the end\n\n".to_owned(),
        "CREATE TRIGGER ends AFTER INSERT ON days FOR EACH ROW SET @y = '#' -- the end".to_owned(),
        "CREATE EVENT ends ON SCHEDULE EVERY 1 DAY DO SET @y = 1 -- the end".to_owned(),
        "SET timestamp=1000000000".to_owned(),
        "CREATE EVENT past ON SCHEDULE AT '2001-10-01 00:00:00' DISABLE DO SELECT 1".to_owned(),
        "SET time_zone='+11:00'".to_owned(),
        "CREATE EVENT past_elsewhere ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL 1 MINUTE DISABLE DO SELECT 1".to_owned(),
        "SET timestamp=DEFAULT, time_zone=DEFAULT".to_owned(),
        // Whoever selects from these leaves a trace.
        "CREATE FUNCTION bump() RETURNS DATE DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO ran VALUES \
         (CURRENT_USER()); RETURN '2026-01-01'; END"
            .to_owned(),
        "CREATE SQL SECURITY INVOKER VIEW by_invoker AS SELECT n, bump() AS d FROM days WHERE day = bump()"
            .to_owned(),
        "CREATE SQL SECURITY DEFINER VIEW by_definer AS SELECT n, bump() AS d FROM days WHERE day = bump()"
            .to_owned(),
        "CREATE VIEW a_above AS SELECT plus_one(n) AS m FROM by_definer".to_owned(),
        "CREATE TABLE `cöffer`.t (id INT PRIMARY KEY, w VARCHAR(20))".to_owned(),
        "INSERT INTO `cöffer`.t VALUES (1, 'kept')".to_owned(),
        "CREATE EVENT `cöffer`.tick ON SCHEDULE EVERY 1 DAY DO SELECT 1".to_owned(),
        format!("CREATE TABLE `{}`.t (id INT)", "_".repeat(40)),
        "SET sql_mode='ORACLE'".to_owned(),
        "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END".to_owned(),
        "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 7; END; END".to_owned(),
        "SET sql_mode=DEFAULT".to_owned(),
        "ALTER DATABASE shop COLLATE latin1_swedish_ci".to_owned(),
        "SET NAMES sjis".to_owned(),
    ]
    .into_iter()
    .map(String::into_bytes)
    // In this character set, the second byte of a character may be a backslash.
    .chain([
        [
            b"CREATE PROCEDURE sjis() SELECT '\x83\x5c' AS a, ' ;; ".as_slice(),
            evil.replace('\'', "''").as_bytes(),
            b" SELECT ' AS b",
        ]
        .concat(),
        b"CREATE VIEW sjis_view AS SELECT '\x83\x5c' AS a, ' ;; DROP DATABASE shop ;; ' AS b".to_vec(),
        b"SET NAMES latin1".to_vec(),
        b"CREATE PROCEDURE latin() SELECT 'caf\xe9' AS a".to_vec(),
        b"CREATE VIEW latin_view AS SELECT 'caf\xe9' AS a".to_vec(),
        b"CREATE VIEW `latin_n\xe4me` AS SELECT 'caf\xe9' AS `\xe9`".to_vec(),
        b"CREATE TRIGGER `latin_\xe4` AFTER DELETE ON days FOR EACH ROW SET @x = 'caf\xe9'".to_vec(),
        b"SET NAMES sjis".to_vec(),
        // The second bytes of these would end a text early wherever they are taken for another character set's.
        b"CREATE TABLE texts (a VARCHAR(90) CHARSET sjis DEFAULT '\x83\x5c'' ;; DROP DATABASE shop ;; --' COMMENT \
            '\x83\x5c'' ; DROP DATABASE shop ; --', b VARCHAR(90) AS (CONCAT(a, ' ; DROP DATABASE shop ; -- ')) \
            STORED, CHECK (a <> '\x83\x5c' OR a <> ' ; DROP DATABASE shop ; --')) COMMENT ';; \x83\x5c' CHARSET utf8mb4".to_vec(),
    ])
    .collect();
    for sql in statements {
        if let Err(error) = app.query_drop(sql.as_slice()).await {
            panic!("{}: {error}", String::from_utf8_lossy(&sql));
        }
    }
    // Ours, but not one of those that we know.
    let mut ours = own(&source).await;
    for sql in ["CREATE USER coffer_x@'%' IDENTIFIED BY 'x'", "CREATE USER coffer_repl@'10.0.0.1'"] {
        ours.query_drop(sql).await.unwrap();
    }

    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), []);
    let position = ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    let expected =
        ["app@%", "coffer@localhost", "coffer_repl@10.0.0.1", "coffer_x@%", "mariadb.sys@localhost"];
    assert_eq!(accounts(&source).await, expected);
    assert_eq!(accounts(&candidate).await, expected);
    for (what, at) in [
        ("PROCEDURE shop.split", 2),
        ("PROCEDURE shop.client", 2),
        ("PROCEDURE shop.sjis", 2),
        ("PROCEDURE shop.latin", 2),
        ("TABLE shop.texts", 1),
        ("VIEW shop.`latin_näme`", 1),
        ("FUNCTION shop.plus_one", 2),
        ("FUNCTION shop.plus_two", 2),
        ("FUNCTION shop.bump", 2),
        ("PACKAGE shop.pack", 2),
        ("PACKAGE BODY shop.pack", 2),
        ("TRIGGER shop.note", 2),
        ("TRIGGER shop.second", 2),
        ("TRIGGER shop.ends", 2),
        ("EVENT shop.tick", 3),
        ("EVENT shop.ends", 3),
        ("EVENT shop.past", 3),
        ("EVENT shop.past_elsewhere", 3),
        ("VIEW shop.by_invoker", 1),
    ] {
        let (there, here) = (shown(&source, what, at).await, shown(&candidate, what, at).await);
        assert_eq!(String::from_utf8_lossy(&there), String::from_utf8_lossy(&here), "{what}");
        assert_eq!(there, here, "{what}");
    }
    let split = shown(&candidate, "PROCEDURE shop.split", 2).await;
    assert!(split.contains(&1) && String::from_utf8_lossy(&split).contains("coffer_a"));

    let there = ENGINE.inventory(&source).await.unwrap();
    compare(&there, &ENGINE.inventory(&candidate).await.unwrap());
    assert!(there.iter().any(|line| line.starts_with("user coffer_x")));
    assert!(there.iter().any(|line| line.starts_with("table cöffer.t")));
    assert_eq!(text(&mut own(&candidate).await, "SELECT w FROM `cöffer`.t").await, "kept");
    for view in ["sjis_view", "latin_view"] {
        let sql = format!("SELECT HEX(a) FROM shop.{view}");
        let there = text(&mut own(&source).await, &sql).await;
        assert_eq!(text(&mut own(&candidate).await, &sql).await, there);
    }

    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(10)).await.unwrap());
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert!(compared.differing.is_empty() && compared.tables >= 4, "{compared:?}");
    assert!(!accounts(&source).await.iter().any(|name| name.starts_with("coffer_look")));
    assert!(!accounts(&candidate).await.iter().any(|name| name.starts_with("coffer_look")));
    // Nothing of all that has run the tenant's function.
    for server in [&source, &candidate] {
        assert_eq!(text(&mut own(server).await, "SELECT GROUP_CONCAT(who) FROM shop.ran").await, "");
    }
    // What a killed try left goes with the follower, and at the cut.
    for server in [&source, &candidate] {
        let mut conn = own(server).await;
        for sql in [
            "SET sql_log_bin=0",
            "CREATE USER coffer_dump@localhost",
            "CREATE USER coffer_look@localhost",
            "CREATE USER coffer_load@localhost",
            "CREATE USER coffer_show@localhost",
            "CREATE USER coffer_make@localhost",
        ] {
            conn.query_drop(sql).await.unwrap();
        }
    }
    let cut = Server {
        settings: Settings { read_only: false, events: false, ..candidate.settings.clone() },
        ..candidate.clone()
    };
    ENGINE.cut(&cut, Some(&source)).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();
    assert_eq!(accounts(&source).await, expected);
    assert_eq!(accounts(&cut).await, expected);
    let mut app = connect(&cut, "app", "pw").await.unwrap();
    let above: i64 = app.query_first("SELECT m FROM shop.a_above").await.unwrap().unwrap();
    assert_eq!(above, 2);
    let invoked: i64 = app.query_first("SELECT n FROM shop.by_invoker").await.unwrap().unwrap();
    assert_eq!(invoked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_that_read_can_do_nothing_else() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    ENGINE.create_content(&source, &[database("shop")], &[user("app", "pw", &["shop"])]).await.unwrap();
    let mut app = connect(&source, "app", "pw").await.unwrap();
    for sql in [
        "USE shop",
        "CREATE TABLE ran (who VARCHAR(200))",
        "CREATE TABLE aaa (n INT PRIMARY KEY, v VARCHAR(90))",
        "INSERT INTO aaa VALUES (1, 'x')",
        "CREATE FUNCTION bump() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO ran VALUES (SESSION_USER()); RETURN 1; END",
        "CREATE SQL SECURITY INVOKER VIEW other AS SELECT bump() AS n, 'x' AS v",
    ] {
        app.query_drop(sql).await.unwrap();
    }
    // The view stands in the table's place every other moment.
    let stop = Arc::new(AtomicBool::new(false));
    let racer = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for sql in [
                    "RENAME TABLE aaa TO bbb, other TO aaa",
                    "DO SLEEP(0.003)",
                    "RENAME TABLE aaa TO other, bbb TO aaa",
                    "DO SLEEP(0.003)",
                ] {
                    let _ = app.query_drop(sql).await;
                }
            }
        })
    };
    let mut ends = Vec::new();
    for _ in 0..5 {
        match ENGINE.seed(&source, &candidate, quiet()).await {
            Ok(position) => ends.push(format!("{position:?}")),
            Err(error) => ends.push(error.to_string()),
        }
        let left = accounts(&source).await;
        assert_eq!(left, ["app@%", "coffer@localhost", "mariadb.sys@localhost"]);
    }
    for _ in 0..15 {
        let _ = ENGINE.inventory(&source).await;
        let _ = ENGINE.replica_blockers(&source).await;
        let _ = ENGINE.compare_rows(&source, &candidate, quiet()).await;
    }
    stop.store(true, Ordering::Relaxed);
    racer.await.unwrap();
    ends.sort();
    ends.dedup();
    eprintln!("{ends:#?}");
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    for server in [&source, &candidate] {
        let ran = text(&mut own(server).await, "SELECT GROUP_CONCAT(DISTINCT who) FROM shop.ran").await;
        assert_eq!(ran, "");
    }
    assert_eq!(accounts(&source).await, ["app@%", "coffer@localhost", "mariadb.sys@localhost"]);
}

/// What a tenant has ready for whoever opens its views: functions that a server runs to know a view's columns.
async fn trapped(source: &Server) {
    ENGINE.create_content(source, &[database("shop")], &[user("app", "pw", &["shop"])]).await.unwrap();
    let mut app = connect(source, "app", "pw").await.unwrap();
    let mut statements: Vec<String> = [
        "USE shop",
        "CREATE TABLE ran (who VARCHAR(200), login VARCHAR(200))",
        "CREATE TABLE days (day DATE PRIMARY KEY, n INT)",
        "INSERT INTO days VALUES ('2026-01-01', 1)",
        "CREATE FUNCTION taken() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER BEGIN DECLARE s VARCHAR(4000); \
         SET s=(SELECT GROUP_CONCAT(user,'=',JSON_VALUE(priv,'$.authentication_string')) FROM mysql.global_priv); \
         SET GLOBAL init_connect=CONCAT('set @p=\"',s,'\"'); RETURN 1; END",
        "CREATE FUNCTION marked() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER BEGIN INSERT INTO shop.ran VALUES \
         (CURRENT_USER(), USER()); UPDATE mysql.global_priv \
         SET priv=JSON_SET(priv,'$.access',18446744073709551615) WHERE user='app'; RETURN 1; END",
        "CREATE FUNCTION trap(x INT) RETURNS INT DETERMINISTIC SQL SECURITY INVOKER \
         RETURN IF(CURRENT_USER() LIKE 'app@%', 1, marked())",
        "CREATE FUNCTION grab(x INT) RETURNS INT DETERMINISTIC SQL SECURITY INVOKER \
         RETURN IF(CURRENT_USER() LIKE 'app@%', 1, taken())",
        "CREATE FUNCTION word() RETURNS VARCHAR(10) CHARSET latin1 DETERMINISTIC SQL SECURITY INVOKER COMMENT 'RETURN' \
         RETURN IF(grab(1), '%Y', '%d')",
        "CREATE FUNCTION mine() RETURNS INT DETERMINISTIC SQL SECURITY DEFINER RETURN 2",
        "CREATE AGGREGATE FUNCTION sums(x INT) RETURNS INT BEGIN DECLARE s INT DEFAULT 0; \
         DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN s; LOOP FETCH GROUP NEXT ROW; SET s=s+x; END LOOP; END",
        "CREATE VIEW summed AS SELECT sums(n) AS a FROM days",
        "CREATE FUNCTION rests(x INT) RETURNS INT DETERMINISTIC SQL SECURITY INVOKER \
         RETURN IF(CURRENT_USER() LIKE 'app@%', 1, SLEEP(30))",
        "CREATE VIEW rested AS SELECT ROUND(1.2345, rests(1)) AS a",
        "SET sql_mode='ORACLE'",
        "CREATE FUNCTION other(x IN INT) RETURN INT AS y INT; BEGIN RETURN grab(x); END",
        "CREATE AGGREGATE FUNCTION counts(x INT) RETURN INT AS s INT := 0; BEGIN LOOP FETCH GROUP NEXT ROW; s := s + 1; \
         END LOOP; EXCEPTION WHEN NO_DATA_FOUND THEN RETURN s; END",
        "SET sql_mode=DEFAULT",
        "CREATE VIEW counted AS SELECT counts(n) AS a FROM days",
    ]
    .map(str::to_owned)
    .into();
    let traps = [
        "ROUND(1.2345, trap(1))",
        "TRUNCATE(1.2345, grab(1))",
        "CONV('a', 16, grab(1) + 9)",
        "SUBSTRING('abc', grab(1), mine())",
        "STR_TO_DATE('2020', word())",
        "ROUND(1.2345, other(1))",
        "ROUND(1.2345, grab(1))",
        "(SELECT ROUND(1.2345, grab(n)) FROM days)",
    ];
    for (at, trap) in traps.iter().enumerate() {
        for (security, short) in [("INVOKER", "i"), ("DEFINER", "d")] {
            let create = |name: &str, select: &str| {
                format!("CREATE SQL SECURITY {security} VIEW {name}_{short}{at} AS SELECT {select}")
            };
            statements.extend([
                create("plain", &format!("{trap} AS a")),
                create("derived", &format!("x.a FROM (SELECT {trap} AS a) x")),
                // Each is made before what it reads, were they made in the order of their names.
                create("above", &format!("ROUND(a, grab(1)) AS a FROM plain_{short}{at}")),
                create("crossed", &format!("a FROM above_{short}{at}")),
            ]);
        }
    }
    for sql in statements {
        if let Err(error) = app.query_drop(&sql).await {
            panic!("{sql}: {error}");
        }
    }
}

async fn nothing_was_taken(server: &Server) {
    let mut conn = own(server).await;
    let ran = "SELECT GROUP_CONCAT(DISTINCT who, '/', login) FROM shop.ran WHERE who <> 'app@%'";
    assert_eq!(text(&mut conn, ran).await, "");
    assert_eq!(text(&mut conn, "SELECT @@GLOBAL.init_connect").await, "");
    let access = "SELECT JSON_VALUE(priv, '$.access') FROM mysql.global_priv WHERE user='app'";
    assert_eq!(text(&mut conn, access).await, "0");
}

async fn no_view_runs_as_ours(also: &[&str]) {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    trapped(&source).await;
    let mut app = connect(&source, "app", "pw").await.unwrap();
    for sql in also {
        app.query_drop(*sql).await.unwrap();
    }
    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), []);
    // Neither on the source nor on the empty server that the look makes: a function that rests would be noticed.
    for strategy in [Strategy::Twin, Strategy::InPlace] {
        let place = house.server("11.8.0", true);
        assert_eq!(ENGINE.pre_check(&source, &place, strategy).await.unwrap(), []);
        assert!(!house.state(&place).exists());
    }
    nothing_was_taken(&source).await;
    let position = ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    ENGINE.convert(&candidate).await.unwrap();
    nothing_was_taken(&source).await;
    nothing_was_taken(&candidate).await;
    let (there, here) =
        (ENGINE.inventory(&source).await.unwrap(), ENGINE.inventory(&candidate).await.unwrap());
    compare(&there, &here);
    assert!(
        here.iter().any(|line| line.starts_with("table shop.plain_i0\t") && line.contains("\ttype=VIEW"))
    );
    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(10)).await.unwrap());
    // Without functions, what is made meanwhile is carried.
    for sql in ["USE shop", "CREATE VIEW later AS SELECT day AS a FROM days", "ANALYZE TABLE plain_i0, later"]
    {
        app.query_drop(sql).await.unwrap();
    }
    // It goes on by itself when it is started again.
    ENGINE.stop(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    let position = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(10)).await.unwrap());
    compare(&ENGINE.inventory(&source).await.unwrap(), &ENGINE.inventory(&candidate).await.unwrap());
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert!(compared.differing.is_empty() && compared.tables >= 2, "{compared:?}");
    nothing_was_taken(&source).await;
    nothing_was_taken(&candidate).await;
    for server in [&source, &candidate] {
        let left = accounts(server).await;
        assert!(!left.iter().any(|name| name.starts_with("coffer_show") || name.starts_with("coffer_make")));
    }
    let cut = Server {
        settings: Settings { read_only: false, events: false, ..candidate.settings.clone() },
        ..candidate.clone()
    };
    ENGINE.cut(&cut, Some(&source)).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();
    // Each works for its owner as it did.
    let mut then = connect(&cut, "app", "pw").await.unwrap();
    let views = "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA='shop' ORDER BY 1";
    let views: Vec<String> = app.query(views).await.unwrap();
    assert_eq!(views.len(), 68);
    for view in views {
        let sql = format!("SELECT CAST(a AS CHAR) FROM shop.{view}");
        assert_eq!(text(&mut then, &sql).await, text(&mut app, &sql).await, "{view}");
    }
    nothing_was_taken(&source).await;
    nothing_was_taken(&cut).await;
    // The trap is one: whoever may run it and opens a view is caught.
    let mut ours = own(&cut).await;
    ours.query_drop("SHOW FIELDS FROM shop.plain_i6").await.unwrap();
    assert!(text(&mut ours, "SELECT @@GLOBAL.init_connect").await.contains("coffer="));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_during_the_upgrade_runs_nothing_as_ours() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    let candidate = house.started("11.8.0", true).await;
    trapped(&source).await;
    let mut app = connect(&source, "app", "pw").await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    for made in [
        "CREATE SQL SECURITY INVOKER VIEW late AS SELECT ROUND(1.2345, grab(1)) AS a",
        "ALTER SQL SECURITY INVOKER VIEW late AS SELECT a FROM plain_i0",
        "CREATE FUNCTION late_too() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER RETURN marked()",
        "DROP FUNCTION late_too",
    ] {
        ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
        let relay = Relay::to(&source).await;
        ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
        app.query_drop(made).await.unwrap();
        let position = ENGINE.position(&source).await.unwrap();
        let reached = ENGINE.reached(&candidate, &position, Duration::from_secs(10)).await;
        let said = reached.unwrap_err().to_string();
        assert!(said.contains("was made, changed or dropped during the upgrade"), "{made}: {said}");
        nothing_was_taken(&candidate).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_of_the_tenants_runs_as_ours() {
    no_view_runs_as_ours(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_view_of_the_tenants_runs_as_ours_in_a_copy_of_the_files() {
    no_view_runs_as_ours(&["CREATE TABLE shop.plain (id INT PRIMARY KEY) ENGINE=MyISAM"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_packages_and_too_many_definitions_are_carried_and_named() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    ENGINE.create_content(&source, &[database("shop")], &[user("app", "pw", &["shop"])]).await.unwrap();
    let mut app = connect(&source, "app", "pw").await.unwrap();
    for sql in [
        "USE shop",
        "CREATE TABLE days (n INT PRIMARY KEY)",
        "INSERT INTO days VALUES (1)",
        "SET sql_mode='ORACLE'",
        "CREATE PACKAGE pack AS FUNCTION f RETURN INT; END",
        "CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 7; END; END",
        "CREATE VIEW packed AS SELECT pack.f() AS a FROM days",
        "SET sql_mode=DEFAULT",
    ] {
        app.query_drop(sql).await.unwrap();
    }
    for at in 0..3_usize {
        let text = "x".repeat(9 * 1024 * 1024 + at);
        app.query_drop(format!("CREATE PROCEDURE big{at}() SELECT '{text}'")).await.unwrap();
    }
    assert_eq!(ENGINE.replica_blockers(&source).await.unwrap(), []);
    // What cannot be tried on the new version is told, and stands in nobody's way.
    let found = ENGINE.pre_check(&source, &house.server("11.8.0", true), Strategy::Twin).await.unwrap();
    let named: Vec<&str> = found.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(named, ["procedure shop.big2", "view shop.packed"], "{found:?}");
    assert!(!found.iter().any(|finding| finding.blocks), "{found:?}");
    let candidate = house.started("11.8.0", true).await;
    ENGINE.seed(&source, &candidate, quiet()).await.unwrap();
    let mut ours = own(&candidate).await;
    assert_eq!(text(&mut ours, "SELECT a FROM shop.packed").await, "7");
    let length = "SELECT OCTET_LENGTH(body) > 9 * 1024 * 1024 FROM mysql.proc WHERE name='big2'";
    assert_eq!(text(&mut ours, length).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_at_the_same_server_leave_each_other_alone() {
    let house = House::new();
    let source = house.started("10.11.0", false).await;
    trapped(&source).await;
    let looks = (0..6).map(|_| async {
        ENGINE.inventory(&source).await.unwrap();
        ENGINE.replica_blockers(&source).await.unwrap();
    });
    // Who clears up what a follower left, at any moment, leaves a look that goes on alone.
    let clears = async {
        for _ in 0..60 {
            ENGINE.forget_follower(&source).await.unwrap();
        }
    };
    futures::future::join(futures::future::join_all(looks), clears).await;
    ENGINE.forget_follower(&source).await.unwrap();
    assert_eq!(accounts(&source).await, ["app@%", "coffer@localhost", "mariadb.sys@localhost"]);
}
