//! What real users have in their MariaDB servers, and what they do to them meanwhile: each case on real servers, looked
//! at in the servers themselves.

use std::time::{Duration, Instant};

use coffer::domain::switch::Strategy;
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
