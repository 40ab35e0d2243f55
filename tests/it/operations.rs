//! Databases, users, rights, passwords and root by the API, on real servers: the effect is looked at in the server, as the
//! user that it is about, by a client of its own.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::{open_shop, password, wait_for};
use crate::postgres_servers::{rows, state};
use crate::postgresql::login;

/// A request, and the code of its answer.
pub async fn ask(api: &Client, method: &str, path: &str, body: Value, code: u16) -> Value {
    let (answered, answer) = match method {
        "GET" => api.read(path).await.unwrap(),
        "POST" => api.post(path, &body).await.unwrap(),
        "PUT" => api.put(path, &body).await.unwrap(),
        "DELETE" => api.remove(path).await.unwrap(),
        other => panic!("{other}"),
    };
    assert_eq!(answered, code, "{method} {path}: {answer}");
    answer
}

/// Logs in to MariaDB as a user.
pub async fn mariadb(
    address: &str,
    user: &str,
    password: &str,
) -> Result<mysql_async::Conn, mysql_async::Error> {
    let opts =
        mysql_async::OptsBuilder::default().ip_or_hostname(address).user(Some(user)).pass(Some(password));
    mysql_async::Conn::new(opts).await
}

/// What MariaDB answers to a statement that it refuses.
pub async fn refused(conn: &mut mysql_async::Conn, sql: &str) -> u16 {
    match conn.query_drop(sql).await {
        Ok(()) => panic!("it is allowed: {sql}"),
        Err(mysql_async::Error::Server(error)) => error.code,
        Err(error) => panic!("{sql}: {error}"),
    }
}

pub const NOTHING: Value = Value::Null;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_does_what_is_asked_for() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let shop = open_shop(&api, "operated", "10.11").await;
    let (base, address) = (format!("/instances/{}", shop.id), shop.address.clone());
    let at = |rest: &str| format!("{base}/{rest}");

    // Databases.
    let new = json!({"databases": [{"name": "books", "character_set": "latin1", "collate": "latin1_bin"}, {"name": "a_b.c"}]});
    ask(&api, "POST", &at("databases"), new.clone(), 202).await;
    let answer = ask(&api, "POST", &at("databases"), new, 400).await;
    assert!(
        answer["badRequest"]["message"].as_str().unwrap().contains("Database books already exists"),
        "{answer}"
    );
    // Refused whole: the other one of the request was not made.
    ask(&api, "POST", &at("databases"), json!({"databases": [{"name": "half"}, {"name": "shop"}]}), 400)
        .await;
    for reserved in ["mysql", "coffer", "SYS"] {
        ask(&api, "DELETE", &at(&format!("databases/{reserved}")), NOTHING, 400).await;
        ask(&api, "POST", &at("databases"), json!({"databases": [{"name": reserved}]}), 400).await;
    }
    ask(&api, "DELETE", &at("databases/nowhere"), NOTHING, 404).await;
    ask(&api, "GET", &at("databases/books"), NOTHING, 501).await;

    // Users, with the hosts and names that there are.
    let users = json!({"users": [
        {"name": "o'neil.x", "password": "p", "databases": [{"name": "books"}]},
        {"name": "we@home", "password": "it's \"q\" \\", "host": "127.%", "databases": [{"name": "a_b.c"}, {"name": "shop"}]}]});
    let quoted = ask(&api, "POST", &at("users"), users, 400).await;
    assert!(quoted["badRequest"]["message"].as_str().unwrap().contains("users[0]['name']"), "{quoted}");
    let users = json!({"users": [
        {"name": "neil.x", "password": "p", "databases": [{"name": "books"}]},
        {"name": "we@home", "password": "it's \"q\" \\", "host": "127.%", "databases": [{"name": "a_b.c"}, {"name": "shop"}]}]});
    ask(&api, "POST", &at("users"), users.clone(), 202).await;
    let answer = ask(&api, "POST", &at("users"), users, 400).await;
    assert!(
        answer["badRequest"]["message"].as_str().unwrap().contains("User neil.x already exists"),
        "{answer}"
    );
    ask(
        &api,
        "POST",
        &at("users"),
        json!({"users": [{"name": "x", "password": "p", "databases": [{"name": "none"}]}]}),
        400,
    )
    .await;
    ask(&api, "POST", &at("users/sdk"), json!({"users": {"name": "sdk", "password": "p"}}), 202).await;
    let mut neil = mariadb(&address, "neil.x", "p").await.unwrap();
    neil.query_drop("CREATE TABLE books.t (id INT PRIMARY KEY); INSERT INTO books.t VALUES (1)")
        .await
        .unwrap();
    let collation: Option<String> = neil
        .query_first(
            "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'books'",
        )
        .await
        .unwrap();
    assert_eq!(collation.as_deref(), Some("latin1_bin"));
    assert_eq!(refused(&mut neil, "CREATE TABLE shop.t (id INT)").await, 1142);
    // A name in a grant is a pattern: `_` and `.` mean themselves.
    let mut home = mariadb(&address, "we@home", "it's \"q\" \\").await.unwrap();
    home.query_drop("CREATE TABLE `a_b.c`.t (id INT)").await.unwrap();
    assert_eq!(refused(&mut home, "CREATE DATABASE `axb.c`").await, 1044);

    let user = ask(&api, "GET", &at("users/we%40home%40127.%25"), NOTHING, 200).await;
    assert_eq!(
        user,
        json!({"user": {"name": "we@home", "host": "127.%", "databases": [{"name": "a_b.c"}, {"name": "shop"}]}})
    );
    ask(&api, "GET", &at("users/we%40home%40128.%25"), NOTHING, 404).await;

    // Passwords, names and hosts.
    ask(&api, "PUT", &at("users"), json!({"users": [{"name": "neil.x", "password": "new"}]}), 202).await;
    assert!(mariadb(&address, "neil.x", "p").await.is_err());
    mariadb(&address, "neil.x", "new").await.unwrap();
    ask(&api, "PUT", &at("users"), json!({"users": [{"name": "nobody", "password": "new"}]}), 404).await;
    let change = json!({"user": {"name": "sam", "host": "127.0.%", "password": "third"}});
    ask(&api, "PUT", &at("users/neil.x"), change.clone(), 202).await;
    ask(&api, "PUT", &at("users/neil.x"), change, 404).await;
    ask(&api, "PUT", &at("users/sam%40127.0.%25"), json!({"user": {}}), 400).await;
    ask(&api, "PUT", &at("users/sam%40127.0.%25"), json!({"user": {"host": "example.org"}}), 400).await;
    ask(
        &api,
        "PUT",
        &at("users/sam%40127.0.%25"),
        json!({"user": {"name": "we@home", "host": "127.%"}}),
        400,
    )
    .await;
    let mut sam = mariadb(&address, "sam", "third").await.unwrap();
    let read: Option<i32> = sam.query_first("SELECT id FROM books.t").await.unwrap();
    assert_eq!(read, Some(1), "the rights went with the name");

    // Rights.
    let path = at("users/sam%40127.0.%25/databases");
    ask(&api, "PUT", &path, json!({"databases": [{"name": "shop"}, {"name": "none"}]}), 404).await;
    ask(&api, "PUT", &path, json!({"databases": [{"name": "mysql"}]}), 400).await;
    ask(&api, "PUT", &path, json!({"databases": [{"name": "shop"}]}), 202).await;
    sam.query_drop("CREATE TABLE shop.by_sam (id INT)").await.unwrap();
    let listed = ask(&api, "GET", &path, NOTHING, 200).await;
    assert_eq!(listed, json!({"databases": [{"name": "books"}, {"name": "shop"}]}));
    ask(&api, "DELETE", &format!("{path}/shop"), NOTHING, 202).await;
    ask(&api, "DELETE", &format!("{path}/shop"), NOTHING, 404).await;
    let mut sam = mariadb(&address, "sam", "third").await.unwrap();
    assert_eq!(refused(&mut sam, "SELECT * FROM shop.by_sam").await, 1142);

    // Who is dropped is out, at once.
    ask(&api, "DELETE", &at("users/sam%40127.0.%25"), NOTHING, 202).await;
    assert!(sam.query_drop("SELECT 1").await.is_err(), "the session goes on");
    assert!(mariadb(&address, "sam", "third").await.is_err());
    ask(&api, "DELETE", &at("users/sam%40127.0.%25"), NOTHING, 404).await;
    for reserved in ["root", "coffer", "mariadb.sys", "os_admin", "coffer_repl"] {
        ask(&api, "DELETE", &at(&format!("users/{reserved}")), NOTHING, 400).await;
        ask(&api, "PUT", &at(&format!("users/{reserved}")), json!({"user": {"password": "x"}}), 400).await;
        ask(&api, "PUT", &at("users"), json!({"users": [{"name": reserved, "password": "x"}]}), 400).await;
    }
    ask(&api, "DELETE", &at("databases/books"), NOTHING, 202).await;
    let listed = ask(&api, "GET", &at("databases"), NOTHING, 200).await;
    assert_eq!(listed, json!({"databases": [{"name": "a_b.c"}, {"name": "shop"}]}));

    // A session that has a lock in a database does not keep it, and the next one of its name is nobody's.
    ask(&api, "POST", &at("databases"), json!({"databases": [{"name": "held"}]}), 202).await;
    let users = json!({"users": [{"name": "holder", "password": "h", "databases": [{"name": "held"}]}]});
    ask(&api, "POST", &at("users"), users, 202).await;
    let mut holder = mariadb(&address, "holder", "h").await.unwrap();
    holder
        .query_drop("CREATE TABLE held.t (id INT) ENGINE=InnoDB; BEGIN; SELECT * FROM held.t")
        .await
        .unwrap();
    ask(&api, "DELETE", &at("databases/held"), NOTHING, 202).await;
    let listed = ask(&api, "GET", &at("databases"), NOTHING, 200).await;
    assert!(!listed.to_string().contains("held"), "{listed}");
    ask(&api, "POST", &at("databases"), json!({"databases": [{"name": "held"}]}), 202).await;
    let mut holder = mariadb(&address, "holder", "h").await.unwrap();
    assert_eq!(refused(&mut holder, "CREATE TABLE held.t (id INT)").await, 1142);
    // Rights end for the session that has them, and with the name that it came by.
    ask(&api, "PUT", &at("users/holder/databases"), json!({"databases": [{"name": "held"}]}), 202).await;
    let mut holder = mariadb(&address, "holder", "h").await.unwrap();
    holder.query_drop("USE held").await.unwrap();
    ask(&api, "DELETE", &at("users/holder/databases/held"), NOTHING, 202).await;
    assert!(holder.query_drop("CREATE TABLE t (id INT)").await.is_err(), "it still can");
    let mut holder = mariadb(&address, "holder", "h").await.unwrap();
    ask(&api, "PUT", &at("users/holder"), json!({"user": {"name": "renamed"}}), 202).await;
    assert!(holder.query_drop("SELECT 1").await.is_err(), "the session goes on");
    ask(&api, "DELETE", &at("users/renamed"), NOTHING, 202).await;
    // Refused whole.
    let new = json!({"databases": [{"name": "part1"}, {"name": "part2", "collate": "utf8mb4_nonsense"}]});
    ask(&api, "POST", &at("databases"), new, 400).await;
    ask(
        &api,
        "POST",
        &at("databases"),
        json!({"databases": [{"name": format!("a_{}", "x".repeat(62))}]}),
        400,
    )
    .await;
    ask(&api, "DELETE", &at("databases/held"), NOTHING, 202).await;
    let listed = ask(&api, "GET", &at("databases"), NOTHING, 200).await;
    assert_eq!(listed, json!({"databases": [{"name": "a_b.c"}, {"name": "shop"}]}));

    // Who may not change anything.
    let reader = dev.login("coffer-reader").await;
    ask(&reader, "POST", &at("users"), json!({"users": [{"name": "r", "password": "p"}]}), 403).await;
    ask(&reader, "DELETE", &at("root"), NOTHING, 403).await;
    let other = dev.login("coffer-other").await;
    ask(&other, "POST", &at("databases"), json!({"databases": [{"name": "r"}]}), 404).await;

    // What is over is wiped, and no password is in the store or the logs.
    let store = dev.store().await;
    let kept =
        rows(&store, "SELECT count(*)::text FROM operations WHERE payload IS NOT NULL OR outcome IS NULL")
            .await;
    assert_eq!(kept, ["0"]);
    mariadb_root(&api, &base, &address).await;
    drop(store);
    dev.leave_nothing(&api, &[&shop.id]).await;
}

/// Root can do what a tenant can be let do, and nothing that passes a fence or reaches our account.
async fn mariadb_root(api: &Client, base: &str, address: &str) {
    let path = format!("{base}/root");
    assert_eq!(ask(api, "GET", &path, NOTHING, 200).await, json!({"rootEnabled": false}));
    ask(api, "DELETE", &path, NOTHING, 404).await;
    let answer = ask(api, "POST", &path, json!({}), 200).await;
    assert_eq!(answer["user"]["name"], "root");
    let first = answer["user"]["password"].as_str().unwrap().to_owned();
    mariadb(address, "root", &first).await.unwrap();
    let answer = ask(api, "POST", &path, json!({"password": "of my own"}), 200).await;
    assert_eq!(answer["user"]["password"], "of my own");
    assert!(mariadb(address, "root", &first).await.is_err());
    assert_eq!(ask(api, "GET", &path, NOTHING, 200).await, json!({"rootEnabled": true}));
    let users = ask(api, "GET", &format!("{base}/users"), NOTHING, 200).await;
    assert!(users["users"].as_array().unwrap().iter().all(|user| user["name"] != "root"), "{users}");

    let mut root = mariadb(address, "root", "of my own").await.unwrap();
    for sql in [
        "CREATE DATABASE by_root",
        "CREATE TABLE by_root.t (id INT PRIMARY KEY) ENGINE=InnoDB",
        "CREATE PROCEDURE by_root.p() SELECT 1",
        "CREATE TABLE shop.by_root (id INT)",
        "CREATE OR REPLACE VIEW shop.v AS SELECT * FROM by_root.t",
        "DROP DATABASE by_root",
    ] {
        root.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for sql in [
        "SELECT * FROM mysql.global_priv",
        "UPDATE mysql.global_priv SET Priv = '{}'",
        "INSERT INTO mysql.db (Host, Db, User) VALUES ('%', 'mysql', 'root')",
        "CREATE TABLE mysql.t (id INT)",
        "DROP DATABASE mysql",
        "CREATE TABLE coffer.t (id INT)",
        "SELECT * FROM coffer.probe",
        "DROP DATABASE coffer",
        "CREATE TABLE sys.t (id INT)",
        "DROP DATABASE sys",
        "CREATE USER x@'%' IDENTIFIED BY 'x'",
        "ALTER USER coffer@localhost IDENTIFIED BY 'x'",
        "DROP USER app@'%'",
        "GRANT ALL ON *.* TO app@'%'",
        "GRANT ALL ON `%`.* TO app@'%'",
        "GRANT ALL ON `m%`.* TO app@'%'",
        "GRANT SELECT ON shop.* TO app@'%'",
        "GRANT PROXY ON coffer@localhost TO root@'%'",
        "SELECT * FROM performance_schema.threads",
        "SELECT * FROM performance_schema.events_statements_current",
        "SET GLOBAL read_only = 0",
        "SET GLOBAL general_log = 1",
        "SET GLOBAL event_scheduler = 1",
        "SET SESSION sql_log_bin = 0",
        "FLUSH TABLES WITH READ LOCK",
        "FLUSH PRIVILEGES",
        "RESET MASTER",
        "PURGE BINARY LOGS BEFORE NOW()",
        "CHANGE MASTER TO MASTER_HOST='127.0.0.1'",
        "SHOW BINARY LOGS",
        "SHUTDOWN",
        "INSTALL SONAME 'auth_socket'",
        "CREATE FUNCTION f RETURNS STRING SONAME 'udf.so'",
        "SELECT 1 INTO OUTFILE '/tmp/coffer-root'",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE shop.by_root",
        "CREATE DEFINER=coffer@localhost PROCEDURE shop.p() SELECT 1",
        "CREATE DEFINER=coffer@localhost VIEW shop.w AS SELECT * FROM mysql.global_priv",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    ] {
        refused(&mut root, sql).await;
    }
    let read: Option<Option<String>> = root.query_first("SELECT LOAD_FILE('/etc/hostname')").await.unwrap();
    assert_eq!(read, Some(None));
    // Its own sessions and its users', and nobody else's statements.
    let seen: Vec<String> = root.query("SELECT USER FROM information_schema.PROCESSLIST").await.unwrap();
    assert!(seen.iter().all(|user| user == "root"), "{seen:?}");
    ask(api, "DELETE", &path, NOTHING, 204).await;
    assert!(root.query_drop("SELECT 1").await.is_err());
    assert_eq!(ask(api, "GET", &path, NOTHING, 200).await, json!({"rootEnabled": false}));
}

/// An instance of PostgreSQL with a database `shop` of `app`.
pub async fn postgresql_shop(api: &Client, secret: &SecretString) -> (String, String) {
    crate::postgresql::shop(api, secret).await
}

pub fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_does_what_is_asked_for() {
    let dev = House::start().await;
    let api = dev.login("coffer").await;
    let app_secret = password();
    let (id, address) = postgresql_shop(&api, &app_secret).await;
    let base = format!("/instances/{id}");
    let at = |rest: &str| format!("{base}/{rest}");

    ask(
        &api,
        "POST",
        &at("databases"),
        json!({"databases": [{"name": "my books"}, {"name": "a.b", "collate": "C"}]}),
        202,
    )
    .await;
    ask(&api, "POST", &at("databases"), json!({"databases": [{"name": "my books"}]}), 400).await;
    ask(&api, "POST", &at("databases"), json!({"databases": [{"name": "coffer_x"}]}), 400).await;
    // A database of nobody's: who has no right does not come in.
    assert!(login(&address, "app", &app_secret, "my books").await.is_err());

    // The first user of a database owns it; the others may do everything in it, also with what was made before.
    let app = login(&address, "app", &app_secret, "shop").await.unwrap();
    for sql in [
        "CREATE SCHEMA inner_room",
        "CREATE TABLE inner_room.t (id serial PRIMARY KEY, w text)",
        "INSERT INTO inner_room.t (w) VALUES ('before')",
        "CREATE FUNCTION inner_room.f(numeric(3,1), text[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "REVOKE ALL ON FUNCTION inner_room.f(numeric, text[]) FROM PUBLIC",
        "CREATE AGGREGATE inner_room.gather(ORDER BY int) (SFUNC = array_append, STYPE = int[], INITCOND = '{}')",
        "CREATE FUNCTION inner_room.many(VARIADIC parts text[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE PROCEDURE inner_room.p(IN a int, INOUT b int) LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE \"odd \"\"name\" (id int)",
    ] {
        app.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let users = json!({"users": [
        {"name": "Ann Lee", "password": "pw\u{e4}'\\", "databases": [{"name": "shop"}, {"name": "my books"}]},
        {"name": "bob", "password": "b"}]});
    ask(&api, "POST", &at("users"), users, 202).await;
    ask(&api, "POST", &at("users"), json!({"users": [{"name": "x", "password": "p", "host": "10.%"}]}), 400)
        .await;
    let ann = login(&address, "Ann Lee", &secret("pw\u{e4}'\\"), "shop").await.unwrap();
    for sql in [
        "INSERT INTO inner_room.t (w) VALUES ('ann')",
        "SELECT inner_room.f(1, '{}')",
        "CREATE TABLE inner_room.by_ann (id int)",
        "CREATE TABLE public.by_ann (id int)",
        "INSERT INTO \"odd \"\"name\" VALUES (1)",
        "CREATE SCHEMA anns",
    ] {
        ann.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    app.batch_execute("INSERT INTO inner_room.by_ann VALUES (1); INSERT INTO public.by_ann VALUES (1)")
        .await
        .unwrap();
    // The first user of a database that was nobody's.
    let books = login(&address, "Ann Lee", &secret("pw\u{e4}'\\"), "my books").await.unwrap();
    books
        .batch_execute("CREATE TABLE t (id int); CREATE SCHEMA s; COMMENT ON DATABASE \"my books\" IS 'hers'")
        .await
        .unwrap();
    assert!(login(&address, "bob", &secret("b"), "shop").await.is_err());

    // Passwords and names.
    ask(&api, "PUT", &at("users"), json!({"users": [{"name": "bob", "password": "b2"}]}), 202).await;
    ask(&api, "PUT", &at("users/bob"), json!({"user": {"name": "Robert"}}), 202).await;
    ask(&api, "PUT", &at("users/Robert"), json!({"user": {"name": "app"}}), 400).await;
    ask(&api, "PUT", &at("users/Robert/databases"), json!({"databases": [{"name": "shop"}]}), 202).await;
    let robert = login(&address, "Robert", &secret("b2"), "shop").await.unwrap();
    robert
        .batch_execute("INSERT INTO inner_room.by_ann VALUES (2); CREATE TABLE roberts (id int)")
        .await
        .unwrap();
    let listed = ask(&api, "GET", &at("users"), NOTHING, 200).await;
    assert_eq!(
        listed["users"],
        json!([
            {"name": "Ann Lee", "host": "%", "databases": [{"name": "my books"}, {"name": "shop"}]},
            {"name": "Robert", "host": "%", "databases": [{"name": "shop"}]},
            {"name": "app", "host": "%", "databases": [{"name": "shop"}]}])
    );

    // A right that is taken away ends the session, and what is in the database is closed to the user, too.
    ask(&api, "DELETE", &at("users/Robert/databases/shop"), NOTHING, 202).await;
    ask(&api, "DELETE", &at("users/Robert/databases/shop"), NOTHING, 404).await;
    wait_for("the session has ended", Duration::from_secs(10), async || robert.is_closed().then_some(()))
        .await;
    assert!(login(&address, "Robert", &secret("b2"), "shop").await.is_err());

    // The owner of a database is dropped: another user of it owns it, and everything stays.
    ask(&api, "DELETE", &at("users/app"), NOTHING, 202).await;
    assert!(login(&address, "app", &app_secret, "shop").await.is_err());
    let read = rows(&ann, "SELECT w FROM inner_room.t ORDER BY id").await;
    assert_eq!(read, ["before", "ann"]);
    ann.batch_execute("ALTER TABLE inner_room.t ADD COLUMN more int; DROP SCHEMA anns").await.unwrap();
    let owner = rows(&ann, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'").await;
    assert_eq!(owner, ["Ann Lee"]);
    // Nothing of a tenant's has become ours: a function would run as a superuser.
    let ours =
        "SELECT proname FROM pg_proc WHERE proowner = 10 AND pronamespace = 'inner_room'::regnamespace";
    assert_eq!(rows(&ann, ours).await, [] as [String; 0]);

    // The last user of all is dropped: nobody can log in as who has its things, until they are given to somebody.
    let trap = "CREATE FUNCTION trap() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user'";
    books.batch_execute(trap).await.unwrap();
    ask(&api, "DELETE", &at("users/Ann%20Lee"), NOTHING, 202).await;
    ask(
        &api,
        "PUT",
        &at("users/Robert/databases"),
        json!({"databases": [{"name": "my books"}, {"name": "shop"}]}),
        202,
    )
    .await;
    let robert = login(&address, "Robert", &secret("b2"), "my books").await.unwrap();
    robert
        .batch_execute("ALTER TABLE t ADD COLUMN w text; INSERT INTO t VALUES (1, 'his'); DROP SCHEMA s")
        .await
        .unwrap();
    // Code that a dropped user left does not run with the rights of somebody who can log in.
    assert_eq!(rows(&robert, "SELECT trap()").await, ["orphaned_objects"]);
    ask(&api, "POST", &at("users"), json!({"users": [{"name": "orphaned_objects", "password": "p"}]}), 400)
        .await;

    postgresql_root(&api, &base, &address).await;
    postgresql_attacks(&api, &base, &address).await;

    // A session does not keep a database, a template neither.
    robert.batch_execute("ALTER DATABASE \"my books\" IS_TEMPLATE true").await.unwrap();
    ask(&api, "DELETE", &at("databases/my%20books"), NOTHING, 202).await;
    let listed = ask(&api, "GET", &at("databases"), NOTHING, 200).await;
    assert_eq!(listed, json!({"databases": [{"name": "a.b"}, {"name": "shop"}]}));
    for reserved in ["postgres", "coffer", "pg_monitor", "coffer_x"] {
        ask(&api, "DELETE", &at(&format!("users/{reserved}")), NOTHING, 400).await;
        ask(&api, "PUT", &at("users"), json!({"users": [{"name": reserved, "password": "x"}]}), 400).await;
    }
    ask(&api, "DELETE", &at("databases/postgres"), NOTHING, 400).await;
    dev.leave_nothing(&api, &[&id]).await;
}

/// A tenant's session holds no operation up, and a dropped user leaves nothing that works with another's rights.
async fn postgresql_attacks(api: &Client, base: &str, address: &str) {
    let at = |rest: &str| format!("{base}/{rest}");
    let users = json!({"users": [
        {"name": "evil", "password": "e", "databases": [{"name": "shop"}]},
        {"name": "good", "password": "g", "databases": [{"name": "shop"}]}]});
    ask(api, "POST", &at("users"), users, 202).await;
    let evil = login(address, "evil", &secret("e"), "shop").await.unwrap();
    for sql in [
        "CREATE FUNCTION run(text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE $1; END'",
        "CREATE TABLE kept (id int)",
        "GRANT SELECT ON kept TO good WITH GRANT OPTION",
    ] {
        evil.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let good = login(address, "good", &secret("g"), "shop").await.unwrap();
    // A right that another hands on, a lock that is held by what is prepared, and a session that never ends.
    good.batch_execute("GRANT SELECT ON kept TO evil").await.unwrap();
    evil.batch_execute("BEGIN; LOCK TABLE kept; PREPARE TRANSACTION 'evil'").await.unwrap();
    let blocks = login(address, "good", &secret("g"), "shop").await.unwrap();
    blocks.batch_execute("BEGIN; CREATE TABLE mine (id int); GRANT SELECT ON mine TO evil").await.unwrap();
    ask(api, "DELETE", &at("users/evil"), NOTHING, 202).await;
    wait_for("the user is gone", Duration::from_secs(60), async || {
        let (code, _) = api.read(&at("users/evil")).await.unwrap();
        let there = rows(&good, "SELECT 1::text FROM pg_roles WHERE rolname = 'evil'").await;
        (code == 404 && there.is_empty()).then_some(())
    })
    .await;
    let good = login(address, "good", &secret("g"), "shop").await.unwrap();
    let stolen = good.batch_execute("SELECT run('ALTER ROLE \"Robert\" PASSWORD ''stolen''')").await;
    assert_eq!(state(&stolen.unwrap_err()), "42501");
    good.batch_execute("INSERT INTO kept VALUES (1); DROP FUNCTION run(text); DROP TABLE kept")
        .await
        .unwrap();
    ask(api, "DELETE", &at("users/good"), NOTHING, 202).await;
    // What holds U+0000 is no name, and keeps nothing waiting.
    for path in ["users/%00", "databases/%00", "users/app/databases/%00"] {
        ask(api, "DELETE", &at(path), NOTHING, 400).await;
    }
    ask(api, "PUT", &at("users/%00"), json!({"user": {"password": "x"}}), 400).await;
}

async fn postgresql_root(api: &Client, base: &str, address: &str) {
    let path = format!("{base}/root");
    ask(api, "DELETE", &path, NOTHING, 404).await;
    ask(api, "POST", &path, json!({"password": "strong"}), 200).await;
    assert_eq!(ask(api, "GET", &path, NOTHING, 200).await, json!({"rootEnabled": true}));
    // Made while there is a root: it comes to them, too.
    ask(api, "POST", &format!("{base}/databases"), json!({"databases": [{"name": "late"}]}), 202).await;
    let users = json!({"users": [{"name": "latecomer", "password": "l", "databases": [{"name": "late"}]}]});
    ask(api, "POST", &format!("{base}/users"), users, 202).await;
    let latecomer = login(address, "latecomer", &secret("l"), "late").await.unwrap();
    latecomer.batch_execute("CREATE TABLE hers (id int)").await.unwrap();
    let root = login(address, "root", &secret("strong"), "late").await.unwrap();
    root.batch_execute(
        "INSERT INTO hers VALUES (1); ALTER TABLE hers ADD COLUMN w text; CREATE TABLE roots (id int)",
    )
    .await
    .unwrap();
    latecomer.batch_execute("INSERT INTO roots VALUES (1)").await.unwrap();
    for sql in [
        "CREATE ROLE x",
        "CREATE DATABASE x",
        "ALTER ROLE root SUPERUSER",
        "ALTER ROLE coffer PASSWORD 'x'",
        "GRANT pg_write_server_files TO root",
        "GRANT pg_execute_server_program TO latecomer",
        "SET ROLE coffer",
        "SET SESSION AUTHORIZATION coffer",
        "COPY hers TO '/tmp/coffer-root'",
        "COPY hers FROM PROGRAM 'id'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_reload_conf()",
        "ALTER SYSTEM SET archive_mode = on",
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
        "SELECT * FROM coffer.probe",
        "DROP SCHEMA coffer CASCADE",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'coffer'",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p",
        "CREATE EXTENSION dblink",
    ] {
        match root.batch_execute(sql).await {
            Ok(()) if sql.starts_with("SELECT pg_terminate_backend") => {}
            Ok(()) => panic!("it is allowed: {sql}"),
            Err(error) => assert!(!state(&error).is_empty(), "{sql}: {error}"),
        }
    }
    let listed = ask(api, "GET", &format!("{base}/users"), NOTHING, 200).await;
    assert!(listed["users"].as_array().unwrap().iter().all(|user| user["name"] != "root"), "{listed}");
    ask(api, "DELETE", &path, NOTHING, 204).await;
    assert!(login(address, "root", &secret("strong"), "late").await.is_err());
    assert_eq!(ask(api, "GET", &path, NOTHING, 200).await, json!({"rootEnabled": false}));
    // What root made is there still.
    latecomer.batch_execute("INSERT INTO roots VALUES (2)").await.unwrap();
    ask(api, "DELETE", &format!("{base}/databases/late"), NOTHING, 202).await;
    ask(api, "DELETE", &format!("{base}/users/latecomer"), NOTHING, 202).await;
}

/// The unmodified OpenStack client; its effect is looked at in the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unmodified_client_changes_databases_and_users() {
    use secrecy::ExposeSecret as _;
    let api = Client::login(&crate::harness::bed().state, "coffer").await.unwrap();
    let run = |args: &[&str]| {
        let args: Vec<&str> = ["database"].iter().chain(args).copied().collect();
        crate::client::openstack("coffer", &args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    };
    let fails = |args: &[&str], with: &str| {
        let args: Vec<&str> = ["database"].iter().chain(args).copied().collect();
        let error = crate::client::openstack("coffer", &args).unwrap_err();
        assert!(error.contains(with), "{args:?}: {error}");
    };
    let shop = open_shop(&api, "changed-by-client", "10.11").await;
    let name = "changed-by-client";
    run(&["db", "create", name, "ledger", "--character_set", "utf8mb4"]);
    fails(&["db", "create", name, "ledger"], "already exists");
    run(&["user", "create", name, "ann", "secret", "--databases", "ledger"]);
    let mut ann = mariadb(&shop.address, "ann", "secret").await.unwrap();
    ann.query_drop("CREATE TABLE ledger.t (id INT)").await.unwrap();
    assert_eq!(refused(&mut ann, "CREATE TABLE shop.t (id INT)").await, 1142);
    run(&["user", "grant", "access", name, "ann", "shop"]);
    ann.query_drop("CREATE TABLE shop.by_ann (id INT)").await.unwrap();
    let access = run(&["user", "show", "access", name, "ann", "-f", "json"]);
    assert_eq!(access, json!([{"Name": "ledger"}, {"Name": "shop"}]));
    run(&["user", "revoke", "access", name, "ann", "ledger"]);
    let mut ann = mariadb(&shop.address, "ann", "secret").await.unwrap();
    assert_eq!(refused(&mut ann, "SELECT * FROM ledger.t").await, 1142);
    run(&["user", "update", "attributes", name, "ann", "--new_name", "eve", "--new_password", "other"]);
    mariadb(&shop.address, "eve", "other").await.unwrap();
    let shown = run(&["user", "show", name, "eve", "-f", "json"]);
    assert_eq!((&shown["name"], &shown["host"]), (&json!("eve"), &json!("%")), "{shown}");
    fails(&["user", "show", name, "ann"], "cannot be found");
    run(&["user", "create", name, "b.o@d", "pw", "--host", "127.0.%"]);
    mariadb(&shop.address, "b.o@d", "pw").await.unwrap();
    run(&["user", "delete", name, "b.o@d", "--host", "127.0.%"]);
    assert!(mariadb(&shop.address, "b.o@d", "pw").await.is_err());
    run(&["user", "delete", name, "eve"]);
    assert!(mariadb(&shop.address, "eve", "other").await.is_err());
    let enabled = run(&["root", "enable", name, "-f", "json"]);
    assert_eq!(enabled["name"], "root", "{enabled}");
    let mut root = mariadb(&shop.address, "root", enabled["password"].as_str().unwrap()).await.unwrap();
    root.query_drop("CREATE DATABASE by_root").await.unwrap();
    let shown = run(&["root", "show", name, "-f", "json"]);
    assert!(shown.to_string().to_lowercase().contains("true"), "{shown}");
    run(&["root", "disable", name]);
    assert!(root.query_drop("SELECT 1").await.is_err());
    run(&["db", "delete", name, "ledger"]);
    let listed = run(&["db", "list", name, "-f", "json"]);
    assert_eq!(listed, json!([{"Name": "by_root"}, {"Name": "shop"}]));
    let mut app = mariadb(&shop.address, "app", shop.password.expose_secret()).await.unwrap();
    let databases: Vec<String> = app.query("SHOW DATABASES").await.unwrap();
    assert!(!databases.contains(&"ledger".to_owned()), "{databases:?}");
    crate::harness::delete(&api, &[&shop.id]).await;
}
