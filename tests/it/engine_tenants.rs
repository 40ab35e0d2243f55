//! What tenants try against the copy, with real servers: no text and no object of theirs runs with our rights.
//!
//! Needs what `engine_mariadb` needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    assert!(there.iter().any(|line| line.starts_with("table cöffer | t")));
    assert_eq!(text(&mut own(&candidate).await, "SELECT w FROM `cöffer`.t").await, "kept");
    for view in ["sjis_view", "latin_view"] {
        let sql = format!("SELECT HEX(a) FROM shop.{view}");
        let there = text(&mut own(&source).await, &sql).await;
        assert_eq!(text(&mut own(&candidate).await, &sql).await, there);
    }

    let relay = Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, &relay.address).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(10)).await.unwrap());
    let compared = ENGINE.compare_rows(&source, &candidate, quiet()).await.unwrap();
    assert!(compared.differing.is_empty() && compared.tables >= 4, "{compared:?}");
    assert!(!accounts(&source).await.iter().any(|name| name == "coffer_look@localhost"));
    assert!(!accounts(&candidate).await.iter().any(|name| name == "coffer_look@localhost"));
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
    for _ in 0..15 {
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
