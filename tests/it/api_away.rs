//! The front door while its store is away, and after.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use coffer::cli::accounts::{Accounts, store_config};
use coffer::db::Db;
use coffer::embedded_postgres::EmbeddedPostgres;
use diesel::RunQueryDsl as _;
use futures::future::join_all;

use crate::harness::wait_for;
use crate::test_api::{Setting, TestApi};

const MEMBER: &str = "member@1234";

/// A Postgres of the test's own, to be stopped.
async fn own_store() -> (tempfile::TempDir, EmbeddedPostgres, coffer::embedded_postgres::Config) {
    let place = tempfile::Builder::new().prefix("coffer-aw").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let engines = crate::harness::roles::engines();
    let accounts = Accounts::find().unwrap();
    let config = store_config(place.path(), &engines, &place.path().join("run"), accounts.as_ref()).unwrap();
    let store = EmbeddedPostgres::start(&config).await.unwrap();
    (place, store, config)
}

/// Two hundred requests at once are told 503 at once; versions and health go on; when the store is back, so is the
/// service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_told_at_once_and_missed_no_longer_than_it_is() {
    let (_place, store, config) = own_store().await;
    let setting = Setting { pool: 16, url: Some(store.url()), ..Setting::default() };
    let door = TestApi::open_as(setting).await;
    let many = async || {
        let began = Instant::now();
        let told = join_all((0..200).map(|_| door.send(MEMBER, "GET", "instances", None))).await;
        (told, began.elapsed())
    };
    let (told, _) = many().await;
    assert!(told.iter().all(|told| told.status == 200), "well, and 200 at once");

    store.stop().await.unwrap();
    for round in 0..3 {
        let (told, took) = many().await;
        for told in &told {
            told.is(503, "serviceUnavailable");
            assert_eq!(told.header("retry-after"), "5");
        }
        assert!(took < Duration::from_secs(3), "round {round} took {took:?}");
    }
    let began = Instant::now();
    door.send(MEMBER, "GET", "instances", None).await.is(503, "serviceUnavailable");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    for path in ["/", "/v1.0", "/healthcheck", "/identity/v3"] {
        assert_eq!(crate::test_api::told(door.raw(None, "GET", path)).await.status, 200, "{path}");
    }
    crate::test_api::told(door.raw(None, "GET", "/v1.0/1234/instances")).await.is(401, "unauthorized");
    door.send(MEMBER, "GET", "nothing", None).await.is(404, "itemNotFound");

    let store = EmbeddedPostgres::start(&config).await.unwrap();
    wait_for("the service is back", Duration::from_secs(5), async || {
        (door.send(MEMBER, "GET", "instances", None).await.status == 200).then_some(())
    })
    .await;
    let (told, _) = many().await;
    assert!(told.iter().all(|told| told.status == 200), "well again, and 200 at once");
    drop(door);
    store.stop().await.unwrap();
}

/// A statement that waits for a lock which nobody gives back has a deadline: the request is told that the store is away, and
/// the next one is served as soon as the lock is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_for_ever_is_ended() {
    let (_place, store, _config) = own_store().await;
    let pool = 4;
    let door = TestApi::open_as(Setting { pool, url: Some(store.url()), ..Setting::default() }).await;
    let many = join_all((0..pool).map(|_| door.send(MEMBER, "GET", "instances", None))).await;
    assert!(many.iter().all(|told| told.status == 200));
    let (db, connection) = tokio_postgres::connect(&door.store_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    db.batch_execute("begin; lock table instances in access exclusive mode").await.unwrap();
    // As many as there are connections: the one that migrated the schema is among them.
    for told in join_all((0..pool).map(|_| door.send(MEMBER, "GET", "instances", None))).await {
        told.is(503, "serviceUnavailable");
    }
    db.batch_execute("rollback").await.unwrap();
    assert_eq!(door.send(MEMBER, "GET", "instances", None).await.status, 200);
    drop(door);
    store.stop().await.unwrap();
}

/// Every connection that was kept dies with a restart that nobody noticed: a few requests may meet it, not one a
/// connection for as long as there are some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_unnoticed_are_not_used() {
    let (_place, store, config) = own_store().await;
    let door = TestApi::open_as(Setting { pool: 16, url: Some(store.url()), ..Setting::default() }).await;
    join_all((0..200).map(|_| door.send(MEMBER, "GET", "instances", None))).await;
    store.stop().await.unwrap();
    let store = EmbeddedPostgres::start(&config).await.unwrap();
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(door.send(MEMBER, "GET", "instances", None).await.status == 503);
    }
    assert!(refused <= 3, "{refused} of 40 one after another");
    drop(door);
    store.stop().await.unwrap();
}

/// A dead connection is met by a statement that it never prepared: the driver forgets to say that it is dead, and it would
/// be handed out for ever, since whoever gives a connection back is the next to get it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_connection_is_met_once_whatever_is_asked() {
    let (_place, store, config) = own_store().await;
    let db = Db::new(&coffer::db::Config { pool_size: 1, ..coffer::db::Config::new(store.url()) });
    let read = async || {
        db.run(|conn| {
            let now = diesel::select(diesel::dsl::now).get_result::<chrono::NaiveDateTime>(conn);
            now.map_err(coffer::db::Error::query("ask"))
        })
        .await
    };
    let other =
        db.run(|conn| diesel::sql_query("select 1").execute(conn).map_err(coffer::db::Error::query("ask")));
    assert!(other.await.is_ok());
    store.stop().await.unwrap();
    let store = EmbeddedPostgres::start(&config).await.unwrap();
    let told = [read().await, read().await, read().await];
    assert!(matches!(told, [Err(_), Ok(_), Ok(_)]), "{told:?}");
    store.stop().await.unwrap();
}
