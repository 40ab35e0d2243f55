//! What real users have in their MariaDB servers, and what they do to them meanwhile: each case on real servers, looked
//! at in the servers themselves.

use std::time::{Duration, Instant};

use coffer::domain::upgrade::Strategy;
use coffer::engines::{Engine, Server};
use mysql_async::prelude::Queryable;

use crate::engine_servers::{ENGINE, House, accounts, connect, database, own, text, user};

const WORD: &str = "w";

/// A server with a tenant `app` that owns `shop`.
async fn tenant(house: &House, version: &str) -> Server {
    let server = house.started(version, false).await;
    ENGINE.create_content(&server, &[database("shop")], &[user("app", WORD, &["shop"])]).await.unwrap();
    server
}

async fn app(server: &Server) -> mysql_async::Conn {
    let mut app = connect(server, "app", WORD).await.unwrap();
    app.query_drop("USE shop").await.unwrap();
    app
}

/// What the tenant may lock by name, nobody of ours waits for; and looks do not wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn no_lock_of_a_tenants_is_met() {
    let house = House::new();
    let server = tenant(&house, "10.11.0").await;
    let target = house.server("11.8.0", true);
    let mut app = app(&server).await;
    app.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    for name in ["coffer", "coffer_show", "coffer_dump", "coffer_look", "coffer_load", "coffer_make"] {
        assert_eq!(text(&mut app, &format!("SELECT GET_LOCK('{name}', 0)")).await, "1");
    }
    let begun = Instant::now();
    let looks = (0..4).map(|_| {
        let (server, target) = (server.clone(), target.clone());
        tokio::spawn(async move { ENGINE.pre_check(&server, &target, Strategy::Twin).await })
    });
    for look in looks.collect::<Vec<_>>() {
        let found = look.await.unwrap().unwrap();
        assert!(!found.iter().any(|finding| finding.blocks), "{found:?}");
    }
    ENGINE.inventory(&server).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(accounts(&server).await, ["app@%", "coffer@localhost", "mariadb.sys@localhost"]);
    // What is logged in with is left alone; what a killed use left goes with the next.
    let mut own = own(&server).await;
    own.query_drop("SET sql_log_bin=0").await.unwrap();
    for name in ["coffer_look_0123456789abcdef", "coffer_dump", "coffer_look_0123456789abcdefg"] {
        own.query_drop(format!("CREATE USER '{name}'@localhost IDENTIFIED BY 'x'")).await.unwrap();
    }
    let held = connect(&server, "coffer_look_0123456789abcdef", "x").await.unwrap();
    ENGINE.inventory(&server).await.unwrap();
    let left = accounts(&server).await;
    assert!(left.contains(&"coffer_look_0123456789abcdef@localhost".to_owned()), "{left:?}");
    assert!(left.contains(&"coffer_look_0123456789abcdefg@localhost".to_owned()), "somebody's: {left:?}");
    assert!(!left.contains(&"coffer_dump@localhost".to_owned()), "{left:?}");
    held.disconnect().await.unwrap();
    crate::engine_servers::until("its account goes", async || {
        ENGINE.inventory(&server).await.unwrap();
        !accounts(&server).await.contains(&"coffer_look_0123456789abcdef@localhost".to_owned())
    })
    .await;
}

/// What an application has for itself as soon as it is connected.
const MET: &str =
    "SELECT CONCAT_WS('|', @@character_set_collations, @@collation_server, @@innodb_snapshot_isolation)";

/// What an application did before the upgrade works after it: a table that is made now, a temporary one, a database,
/// a function's parameter, a literal, all compared with what was there; and rows that another one changed meanwhile.
async fn assert_as_before(server: &Server) {
    let mut app = app(server).await;
    for sql in [
        "CREATE OR REPLACE TABLE n (name VARCHAR(50)) DEFAULT CHARSET=utf8mb4",
        "CREATE TEMPORARY TABLE temporary (name VARCHAR(50)) CHARACTER SET utf8mb4",
        "CREATE OR REPLACE TABLE three (name VARCHAR(50)) DEFAULT CHARSET=utf8mb3",
        "SELECT 1 FROM t JOIN n ON t.name = n.name JOIN temporary ON temporary.name = t.name",
        "SELECT 1 FROM three JOIN three_before USING (name)",
        "SELECT 1 FROM t WHERE name = same(name)",
        "SELECT 1 FROM t WHERE name = CONVERT(_latin1'x' USING utf8mb4)",
        "SET NAMES utf8mb4",
        "SELECT 1 FROM t WHERE name = CONCAT('x')",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION",
        "SELECT COUNT(*) FROM stock",
    ] {
        app.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let mut other = self::app(server).await;
    other.query_drop("UPDATE stock SET n = n + 1").await.unwrap();
    app.query_drop("UPDATE stock SET n = n + 1").await.unwrap();
    app.query_drop("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_meets_what_it_was_written_for() {
    let house = House::new();
    let source = tenant(&house, "10.11.0").await;
    let mut before = app(&source).await;
    for sql in [
        "CREATE TABLE t (name VARCHAR(50)) COLLATE utf8mb4_general_ci",
        "CREATE TABLE three_before (name VARCHAR(50)) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
        "CREATE TABLE stock (id INT PRIMARY KEY, n INT)",
        "INSERT INTO stock VALUES (1, 1)",
        "CREATE FUNCTION same(x VARCHAR(50) CHARACTER SET utf8mb4) RETURNS VARCHAR(50) CHARACTER SET utf8mb4 RETURN x",
    ] {
        before.query_drop(sql).await.unwrap();
    }
    before.disconnect().await.unwrap();
    assert_as_before(&source).await;

    // As a twin or a replica: it follows what applications do with their own character sets, too.
    let mut candidate = house.server("11.8.0", true);
    candidate.settings.defaults_of = "10.11.0".to_owned();
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.seed(&source, &candidate, crate::engine_servers::quiet()).await.unwrap();
    let relay = crate::engine_servers::Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    let mut during = app(&source).await;
    during.query_drop("CREATE TABLE during (name VARCHAR(9)) DEFAULT CHARSET=utf8mb4").await.unwrap();
    let position = ENGINE.position(&source).await.unwrap();
    assert!(ENGINE.reached(&candidate, &position, Duration::from_secs(20)).await.unwrap());
    assert_eq!(ENGINE.inventory(&candidate).await.unwrap(), ENGINE.inventory(&source).await.unwrap());
    candidate.settings.read_only = false;
    candidate.settings.events = true;
    ENGINE.cut(&candidate, Some(&source)).await.unwrap();
    assert_as_before(&candidate).await;
    let met = |server: &Server| {
        let server = server.clone();
        async move { text(&mut own(&server).await, MET).await }
    };
    assert_eq!(met(&candidate).await, "|utf8mb4_general_ci|OFF");

    // In place; and what has no older version behind it has its own defaults.
    let mut converted = house.server("11.8.0", false);
    converted.settings.defaults_of = "10.11.0".to_owned();
    ENGINE.stop_clean(&source).await.unwrap();
    ENGINE.convert_in_place(&source, &converted, crate::engine_servers::quiet()).await.unwrap();
    assert_as_before(&converted).await;
    assert_eq!(met(&converted).await, "|utf8mb4_general_ci|OFF");
    assert_eq!(ENGINE.kept_settings(&converted).len(), 2);
    let new = house.started("11.8.0", false).await;
    assert!(ENGINE.kept_settings(&new).is_empty());
    assert!(met(&new).await.contains("utf8mb4_uca1400_ai_ci"), "{}", met(&new).await);
}

/// Variables that differ between the versions though defaults were kept, and why nobody's results depend on each. A
/// new version's new variable is not here, and fails the test until somebody has decided.
const OTHERWISE: [(&str, &[&str]); 6] = [
    (
        "of this server, its files and its build",
        &[
            "aria_log_dir_path",
            "basedir",
            "wsrep_data_home_dir",
            "character_sets_dir",
            "datadir",
            "pid_file",
            "plugin_dir",
            "secure_file_priv",
            "server_id",
            "slave_load_tmpdir",
            "socket",
            "ssl_ca",
            "ssl_cert",
            "ssl_key",
            "tmpdir",
            "version",
            "version_comment",
            "version_source_revision",
            "version_ssl_library",
            "relay_log_basename",
            "relay_log_index",
            "log_bin_basename",
            "log_bin_index",
            "general_log_file",
            "log_slow_query_file",
            "slow_query_log_file",
        ],
    ),
    (
        "gone, or was without effect already",
        &[
            "date_format",
            "datetime_format",
            "time_format",
            "debug_no_thread_alarm",
            "max_tmp_tables",
            "old_alter_table",
            "innodb_change_buffer_max_size",
            "innodb_change_buffering",
            "innodb_defragment",
            "innodb_defragment_fill_factor",
            "innodb_defragment_fill_factor_n_recs",
            "innodb_defragment_frequency",
            "innodb_defragment_n_pages",
            "innodb_defragment_stats_accuracy",
            "wsrep_causal_reads",
            "wsrep_load_data_splitting",
        ],
    ),
    (
        "speed alone: how a plan is chosen, what is kept in memory",
        &[
            "histogram_type",
            "optimizer_adjust_secondary_key_costs",
            "optimizer_switch",
            "innodb_adaptive_hash_index_cells",
            "innodb_prefix_index_cluster_optimization",
            "optimizer_disk_read_cost",
            "optimizer_disk_read_ratio",
            "optimizer_index_block_copy_cost",
            "optimizer_key_compare_cost",
            "optimizer_key_copy_cost",
            "optimizer_key_lookup_cost",
            "optimizer_key_next_find_cost",
            "optimizer_row_copy_cost",
            "optimizer_row_lookup_cost",
            "optimizer_row_next_find_cost",
            "optimizer_rowid_compare_cost",
            "optimizer_rowid_copy_cost",
            "optimizer_scan_setup_cost",
            "optimizer_where_cost",
            "mhnsw_default_distance",
            "mhnsw_default_m",
            "mhnsw_ef_search",
            "mhnsw_max_cache_size",
            "performance_schema_max_statement_classes",
        ],
    ),
    (
        "how files are written",
        &[
            "innodb_data_file_buffering",
            "innodb_data_file_write_through",
            "innodb_index_shrink",
            "innodb_log_file_write_through",
            "innodb_truncate_temporary_tablespace_now",
            "innodb_undo_tablespaces",
        ],
    ),
    (
        "replication and its log",
        &[
            "binlog_gtid_index",
            "binlog_do_db",
            "binlog_ignore_db",
            "binlog_row_event_max_size",
            "binlog_gtid_index_page_size",
            "binlog_gtid_index_span_min",
            "binlog_large_commit_threshold",
            "binlog_legacy_event_pos",
            "binlog_space_limit",
            "max_binlog_total_size",
            "slave_abort_blocking_timeout",
            "slave_connections_needed_for_purge",
        ],
    ),
    (
        "new, and as it was before, or a limit that is far away",
        &[
            "block_encryption_mode",
            "log_slow_always_query_time",
            "max_tmp_session_space_usage",
            "max_tmp_total_space_usage",
            "new_mode",
            "transaction_isolation",
            "transaction_read_only",
            "ignore_db_dirs",
            "redirect_url",
            "session_track_system_variables",
            "character_set_collations",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_default_that_changed_was_decided_on() {
    let house = House::new();
    let old = house.started("10.11.0", false).await;
    let mut new = house.server("11.8.0", false);
    new.settings.defaults_of = "10.11.0".to_owned();
    ENGINE.create_data(&new).await.unwrap();
    ENGINE.start(&new).await.unwrap();
    let mut sides = Vec::new();
    for server in [&old, &new] {
        let rows: Vec<(String, String)> = own(server).await.query("SHOW GLOBAL VARIABLES").await.unwrap();
        sides.push(rows.into_iter().collect::<std::collections::BTreeMap<_, _>>());
    }
    let names: std::collections::BTreeSet<&String> = sides.iter().flat_map(|side| side.keys()).collect();
    let decided: Vec<&str> = OTHERWISE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let open: Vec<String> = names
        .into_iter()
        .filter(|name| sides[0].get(*name) != sides[1].get(*name) && !decided.contains(&name.as_str()))
        .map(|name| format!("{name}: {:?} -> {:?}", sides[0].get(name), sides[1].get(name)))
        .collect();
    assert!(open.is_empty(), "{open:#?}");
}

/// What holds an upgrade up is named beforehand: the session, its user, what it holds and since when. Who only holds a
/// lock by name, or nothing, is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_holds_locks_is_named_beforehand() {
    let house = House::new();
    let server = tenant(&house, "10.11.0").await;
    let target = house.server("11.8.0", true);
    let mut first = app(&server).await;
    for sql in [
        "CREATE TABLE rows_of (id INT PRIMARY KEY, n INT)",
        "INSERT INTO rows_of VALUES (1, 1)",
        "CREATE TABLE locked (id INT PRIMARY KEY)",
        "CREATE TABLE plain (id INT PRIMARY KEY) ENGINE=MyISAM",
    ] {
        first.query_drop(sql).await.unwrap();
    }
    let idle = app(&server).await;
    let mut named = app(&server).await;
    named.query_drop("SELECT GET_LOCK('x', 0)").await.unwrap();
    let mut locks = app(&server).await;
    locks.query_drop("LOCK TABLES locked WRITE").await.unwrap();
    let mut plain = app(&server).await;
    plain.query_drop("LOCK TABLES plain WRITE").await.unwrap();
    first.query_drop("BEGIN").await.unwrap();
    first.query_drop("UPDATE rows_of SET n = 2").await.unwrap();
    let seen = async |strategy| {
        let found = ENGINE.pre_check(&server, &target, strategy).await.unwrap();
        assert!(!found.iter().any(|finding| finding.blocks), "{found:?}");
        found.into_iter().map(|finding| (finding.object, finding.why)).collect::<Vec<_>>()
    };
    crate::engine_servers::until("all three are seen", async || seen(Strategy::Twin).await.len() == 3).await;
    for strategy in Strategy::ALL {
        let found = seen(strategy).await;
        for (conn, holds) in [
            (&locks, "has locked shop.locked for itself (LOCK TABLES … WRITE) since 20"),
            (&plain, "has locked shop.plain for itself (LOCK TABLES … WRITE) since 20"),
            (&first, "has a transaction open since 20"),
        ] {
            let object = format!("session {} of 'app'", conn.id());
            let why = found.iter().find(|(name, _)| *name == object).map(|(_, why)| why.as_str());
            assert!(why.is_some_and(|why| why.contains(holds)), "{object} {holds}: {found:?}");
        }
        assert_eq!(found.len(), 3, "{found:?}");
    }
    let words = ENGINE.in_the_way(&server).await.unwrap().unwrap();
    assert!(words.contains("has locked shop."), "{words}");
    let words = ENGINE.oldest_transaction(&server, Duration::from_millis(1)).await.unwrap().unwrap();
    assert!(
        words.contains(&format!("session {} of 'app' has had a transaction open", first.id())),
        "{words}"
    );
    first.query_drop("ROLLBACK").await.unwrap();
    locks.query_drop("UNLOCK TABLES").await.unwrap();
    plain.disconnect().await.unwrap();
    crate::engine_servers::until("nobody is in the way", async || {
        ENGINE.oldest_transaction(&server, Duration::from_secs(1)).await.unwrap().is_none()
    })
    .await;
    assert_eq!(ENGINE.in_the_way(&server).await.unwrap(), None);
    assert!(seen(Strategy::Twin).await.is_empty());
    // The list of locks is nobody's but ours, and costs little.
    for table in ["metadata_locks", "threads", "setup_instruments"] {
        let error = named.query_drop(format!("SELECT * FROM performance_schema.{table}")).await.unwrap_err();
        assert!(error.to_string().contains("denied"), "{error}");
    }
    let memory = "SHOW ENGINE PERFORMANCE_SCHEMA STATUS";
    let rows: Vec<(String, String, String)> = own(&server).await.query(memory).await.unwrap();
    let bytes = &rows.iter().find(|(_, name, _)| name == "performance_schema.memory").unwrap().2;
    assert!(bytes.parse::<u64>().unwrap() < 5_000_000, "{bytes}");
    idle.disconnect().await.unwrap();
}

/// The upgrade of an instance says for whom it waits while it waits, goes on when that has ended, and ends with the same
/// words where it takes too long. The tenant's session is left alone. What its applications know is kept afterwards,
/// also through a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_says_whom_it_waits_for() {
    let house = crate::harness::house::House::start_with(&["--patience", "12"]).await;
    let api = house.login("coffer").await;
    let password = crate::harness::password();
    let id = api.create("orders", "10.11", "shop", "app", &password).await.unwrap();
    let address = crate::harness::healthy(&api, &id).await;
    let open = async || {
        let opts = coffer::cli::demo::shop::opts(&address, "shop", "app", &password);
        mysql_async::Conn::new(opts).await.unwrap()
    };
    let mut first = open().await;
    first.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    first.query_drop("LOCK TABLES t WRITE").await.unwrap();
    let holder = format!("session {} of 'app'", first.id());
    let body = serde_json::json!({"upgrade": {"datastore_version": "11.8", "strategy": "twin"}});
    let mut dry = body.clone();
    dry["upgrade"]["dry_run"] = serde_json::json!(true);
    let path = format!("/instances/{id}/upgrades");
    let (code, answer) = api.post(&path, &dry).await.unwrap();
    assert_eq!(code / 100, 2, "{answer}");
    assert!(answer.to_string().contains(&holder), "{answer}");

    let (code, answer) = api.post(&path, &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    let upgrade = crate::upgrade::ended(&api, &id, Duration::from_secs(120)).await;
    let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
    let reason = task["reason"].as_str().unwrap_or_default();
    assert_eq!(upgrade["state"], "rolled_back", "{task}");
    assert!(reason.contains(&holder) && reason.contains("has locked shop.t for itself"), "{task}");
    // It holds what it held.
    first.query_drop("INSERT INTO t VALUES (1)").await.unwrap();

    let (code, answer) = api.post(&path, &body).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    crate::harness::wait_for("the task says for whom it waits", Duration::from_secs(60), async || {
        let task = api.task(&api.task_of(&id).await.ok()?).await.ok()?;
        let said = task["steps"].to_string();
        (said.contains("waiting") && said.contains(&holder)).then_some(())
    })
    .await;
    first.query_drop("UNLOCK TABLES").await.unwrap();
    let upgrade = crate::upgrade::ended(&api, &id, Duration::from_secs(240)).await;
    let task = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
    assert_eq!(upgrade["state"], "succeeded", "{task}");
    let kept = serde_json::json!({"character_set_collations": "", "innodb_snapshot_isolation": "OFF"});
    assert_eq!(task["report"]["kept_settings"], kept, "{task}");
    crate::harness::healthy(&api, &id).await;
    let met = async || text(&mut open().await, MET).await;
    assert_eq!(met().await, "|utf8mb4_general_ci|OFF");
    let store = house.store().await;
    crate::harness::processes::kill(house.engine_pid(&store, &id).await);
    crate::harness::wait_for("the server is up again", Duration::from_secs(60), async || {
        let opts = coffer::cli::demo::shop::opts(&address, "shop", "app", &password);
        let mut conn = mysql_async::Conn::new(opts).await.ok()?;
        let met: Option<String> = conn.query_first(MET).await.ok()?;
        (met.as_deref() == Some("|utf8mb4_general_ci|OFF")).then_some(())
    })
    .await;
    drop(first);
    house.leave_nothing(&api, &[&id]).await;
}

/// What lies about in a data folder and troubles nobody troubles no upgrade: it is named, and the upgrade works. A table
/// that has lost its file is named as what stands in the way, beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_about_in_a_data_folder_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new();
    let source = tenant(&house, "10.11.0").await;
    let mut first = app(&source).await;
    for sql in [
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
        "CREATE TABLE gone (id INT PRIMARY KEY)",
    ] {
        first.query_drop(sql).await.unwrap();
    }
    first.disconnect().await.unwrap();
    ENGINE.stop_clean(&source).await.unwrap();
    let data = house.state(&source).join("data");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&data).unwrap());
    std::fs::remove_file(data.join("shop/gone.ibd")).unwrap();
    std::fs::copy(data.join("shop/t.frm"), data.join("shop/orphan.frm")).unwrap();
    std::fs::copy(data.join("shop/t.ibd"), data.join("shop/#sql-ib99.ibd")).unwrap();
    for folder in ["lost+found", "shop~", ".git"] {
        std::fs::create_dir(data.join(folder)).unwrap();
        std::fs::write(data.join(folder).join("note.txt"), "x").unwrap();
    }
    for path in ["shop/orphan.frm", "shop/#sql-ib99.ibd", "shop~", "shop~/note.txt", ".git", ".git/note.txt"]
    {
        std::os::unix::fs::chown(data.join(path), Some(owner), Some(owner)).unwrap();
    }
    // As a file system makes it: nobody but root reads it.
    std::fs::set_permissions(data.join("lost+found"), std::fs::Permissions::from_mode(0o700)).unwrap();
    ENGINE.start(&source).await.unwrap();

    let mut target = house.server("11.8.0", false);
    target.settings.defaults_of = "10.11.0".to_owned();
    let look = async |strategy| ENGINE.pre_check(&source, &target, strategy).await.unwrap();
    for strategy in Strategy::ALL {
        let found = look(strategy).await;
        let blocking: Vec<&str> =
            found.iter().filter(|finding| finding.blocks).map(|finding| finding.object.as_str()).collect();
        assert_eq!(blocking, ["shop.gone"], "{found:?}");
    }
    let mut first = app(&source).await;
    let _ = first.query_drop("DROP TABLE gone").await;
    first.disconnect().await.unwrap();
    for strategy in Strategy::ALL {
        let found = look(strategy).await;
        let named: Vec<(&str, bool)> =
            found.iter().map(|finding| (finding.object.as_str(), finding.blocks)).collect();
        for object in ["shop.orphan", "folder lost+found", "folder shop~", "folder .git"] {
            assert!(named.contains(&(object, false)), "{object}: {found:?}");
        }
        assert!(named.iter().all(|(_, blocks)| !blocks), "{found:?}");
    }
    let databases: Vec<String> =
        ENGINE.databases(&source).await.unwrap().into_iter().map(|database| database.name).collect();
    assert_eq!(databases, ["shop"]);

    // A twin is made beside all of it.
    let candidate = house.server("11.8.0", true);
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    ENGINE.seed(&source, &candidate, crate::engine_servers::quiet()).await.unwrap();
    let relay = crate::engine_servers::Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    let compared = ENGINE.compare_rows(&source, &candidate, crate::engine_servers::quiet()).await.unwrap();
    assert!(compared.differing.is_empty(), "{compared:?}");
    ENGINE.stop(&candidate).await.unwrap();
    ENGINE.forget_follower(&source).await.unwrap();

    let before = ENGINE.inventory(&source).await.unwrap();
    ENGINE.prepare_in_place(&source, &target, crate::engine_servers::quiet()).await.unwrap();
    ENGINE.stop_clean(&source).await.unwrap();
    ENGINE.convert_in_place(&source, &target, crate::engine_servers::quiet()).await.unwrap();
    assert_eq!(ENGINE.inventory(&target).await.unwrap(), before);
    let mut after = app(&target).await;
    assert_eq!(text(&mut after, "SELECT COUNT(*) FROM t").await, "2");
    assert!(after.query_drop("SELECT * FROM orphan").await.is_err(), "as before");
}

/// Files that are no table's of InnoDB, tables whose file was taken away, and tables whose files are broken: a copy of the
/// serving server that cannot get past one is refused by its name, and in place goes on.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_tables_are_named() {
    let house = House::new();
    let source = tenant(&house, "10.11.0").await;
    let mut first = app(&source).await;
    for sql in [
        "CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
        "INSERT INTO t VALUES (1), (2)",
        "CREATE TABLE `x$y. ü` (id INT PRIMARY KEY, w TEXT, FULLTEXT (w))",
        "CREATE TABLE `dis$c` (id INT PRIMARY KEY)",
        "ALTER TABLE `dis$c` DISCARD TABLESPACE",
        "CREATE TABLE broken (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM",
        "INSERT INTO broken VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "FLUSH TABLES broken",
    ] {
        let made = first.query_drop(sql).await;
        assert!(made.is_ok() || sql.starts_with("FLUSH"), "{sql}: {made:?}");
    }
    first.disconnect().await.unwrap();
    ENGINE.stop_clean(&source).await.unwrap();
    let data = house.state(&source).join("data");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&data).unwrap());
    std::fs::create_dir(data.join(".hidden")).unwrap();
    for file in [".hidden/x.ibd", "shop/stray.ibd", "shop/link.isl", "shop/t.cfg", "shop/t.txt"] {
        let path = data.join(file);
        std::fs::write(&path, "x").unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
    std::os::unix::fs::chown(data.join(".hidden"), Some(owner), Some(owner)).unwrap();
    std::fs::write(data.join(".hidden/note.txt"), "x").unwrap();
    std::fs::File::options().write(true).open(data.join("shop/broken.MYD")).unwrap().set_len(10).unwrap();
    ENGINE.start(&source).await.unwrap();
    // The server takes away what is empty when it starts.
    std::fs::create_dir(data.join(".empty")).unwrap();
    std::os::unix::fs::chown(data.join(".empty"), Some(owner), Some(owner)).unwrap();

    let mut candidate = house.server("11.8.0", true);
    candidate.settings.defaults_of = "10.11.0".to_owned();
    let strays = ["file .hidden/x.ibd", "file shop/link.isl", "file shop/stray.ibd"];
    for strategy in Strategy::ALL {
        let found = ENGINE.pre_check(&source, &candidate, strategy).await.unwrap();
        let blocks = strategy == Strategy::Twin;
        let mut named: Vec<(&str, bool)> =
            found.iter().map(|finding| (finding.object.as_str(), finding.blocks)).collect();
        named.sort_unstable();
        let mut wanted: Vec<(&str, bool)> = strays.iter().map(|file| (*file, blocks)).collect();
        wanted.extend([("folder .empty", blocks), ("folder .hidden", false), ("shop.dis$c", false)]);
        named.retain(|(object, _)| *object != "the target");
        assert_eq!(named, wanted, "{strategy:?} {found:?}");
    }

    // Who copies all the same is told at once what it cannot get past.
    ENGINE.create_data(&candidate).await.unwrap();
    ENGINE.start(&candidate).await.unwrap();
    let refused = ENGINE.seed(&source, &candidate, crate::engine_servers::quiet()).await.unwrap_err();
    assert!(
        matches!(&refused, coffer::engines::Error::Object { object, .. } if strays.contains(&object.as_str())),
        "{refused}"
    );
    for file in [".hidden/x.ibd", "shop/stray.ibd", "shop/link.isl"] {
        std::fs::remove_file(data.join(file)).unwrap();
    }
    let refused = ENGINE.seed(&source, &candidate, crate::engine_servers::quiet()).await.unwrap_err();
    assert!(
        matches!(&refused, coffer::engines::Error::Object { object, .. } if object == "folder .empty"),
        "{refused}"
    );
    std::fs::remove_dir(data.join(".empty")).unwrap();
    ENGINE.seed(&source, &candidate, crate::engine_servers::quiet()).await.unwrap();
    let relay = crate::engine_servers::Relay::to(&source).await;
    ENGINE.follow(&source, &candidate, Some(&relay.address)).await.unwrap();
    let compare = async || ENGINE.compare_rows(&source, &candidate, crate::engine_servers::quiet()).await;
    let refused = compare().await.unwrap_err();
    assert!(
        matches!(&refused, coffer::engines::Error::Object { object, .. } if object == "shop.broken"),
        "{refused}"
    );
    let mut mends = app(&source).await;
    mends.query_drop("DROP TABLE broken").await.unwrap();
    let compared = compare().await.unwrap();
    assert!(compared.differing.is_empty(), "{compared:?}");
    assert!(compared.not_compared.iter().any(|left| left.object == "shop.dis$c"), "{compared:?}");
    mends.disconnect().await.unwrap();

    // In place goes on with all of it.
    for file in [".hidden/x.ibd", "shop/stray.ibd", "shop/link.isl"] {
        std::fs::write(data.join(file), "x").unwrap();
        std::os::unix::fs::chown(data.join(file), Some(owner), Some(owner)).unwrap();
    }
    let mut target = house.server("11.8.0", false);
    target.settings.defaults_of = "10.11.0".to_owned();
    let before = ENGINE.inventory(&source).await.unwrap();
    ENGINE.prepare_in_place(&source, &target, crate::engine_servers::quiet()).await.unwrap();
    ENGINE.stop_clean(&source).await.unwrap();
    ENGINE.convert_in_place(&source, &target, crate::engine_servers::quiet()).await.unwrap();
    assert_eq!(ENGINE.inventory(&target).await.unwrap(), before);
    let sums = ENGINE.sum_rows(&target, None, Duration::from_secs(30)).await.unwrap();
    assert!(sums.not_compared.iter().any(|left| left.object == "shop.dis$c"), "{sums:?}");
    let mut after = app(&target).await;
    assert_eq!(text(&mut after, "SELECT COUNT(*) FROM t").await, "2");
}
