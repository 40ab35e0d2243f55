//! A session of the tenant's that has a table for itself, or a transaction open, is named: beforehand by a look, and by the
//! upgrade that waits for it. It is never ended for a copy.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client as Session;

use crate::harness::house::House;
use crate::harness::{healthy, password, wait_for};
use crate::postgres_servers::rows;
use crate::postgresql::login;

async fn pid(session: &Session) -> String {
    rows(session, "SELECT pg_backend_pid()").await.remove(0)
}

/// A transaction that began this very second is nobody's hindrance yet.
async fn a_second_old(session: &Session) {
    wait_for("the transaction is a second old", Duration::from_secs(30), async || {
        (rows(session, "SELECT clock_timestamp() - now() > interval '1 s'").await == ["t"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_postgresql_says_whom_it_waits_for() {
    let house = House::start_with(&["--patience", "12"]).await;
    let api = house.login("coffer").await;
    let secret = password();
    let id = api.create_of("postgresql", "orders", "15", "shop", "app", &secret).await.unwrap();
    let address = healthy(&api, &id).await;
    let session = login(&address, "app", &secret, "shop").await.unwrap();
    session
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
        .await
        .unwrap();
    let holder = format!("session {} of 'app'", pid(&session).await);
    let path = format!("/instances/{id}/upgrades");
    let body = |strategy: &str, dry: bool| json!({"upgrade": {"datastore_version": "17", "strategy": strategy, "dry_run": dry}});
    let named = async |words: &str| {
        for strategy in ["twin", "in_place"] {
            let (code, answer) = api.post(&path, &body(strategy, true)).await.unwrap();
            assert_eq!(code / 100, 2, "{answer}");
            let of = answer["upgrade"]["strategies"].to_string() + &answer.to_string();
            assert!(of.contains(&holder) && of.contains(words), "{strategy}: {answer}");
        }
    };
    let rolled_back = async |words: &str| {
        let (code, answer) = api.post(&path, &body("twin", false)).await.unwrap();
        assert_eq!(code, 202, "{answer}");
        let upgrade = crate::upgrade::ended(&api, &id, Duration::from_secs(180)).await;
        let task: Value = api.task(upgrade["id"].as_str().unwrap()).await.unwrap();
        let reason = task["reason"].as_str().unwrap_or_default();
        assert_eq!(upgrade["state"], "rolled_back", "{task}");
        assert!(reason.contains(&holder) && reason.contains(words), "{task}");
        healthy(&api, &id).await;
    };
    // What its transaction made itself is in nobody's way.
    session
        .batch_execute(
            "BEGIN; LOCK TABLE t, u IN ACCESS EXCLUSIVE MODE; CREATE TABLE own (id int PRIMARY KEY)",
        )
        .await
        .unwrap();
    a_second_old(&session).await;
    let words = "has locked shop: public.t and 1 more tables for itself (ACCESS EXCLUSIVE) since 20";
    named(words).await;
    rolled_back(words).await;
    session.batch_execute("INSERT INTO t VALUES (1); COMMIT").await.unwrap();

    // The slot of a copy waits for whoever has written.
    session.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.unwrap();
    a_second_old(&session).await;
    named("has a transaction open since 20").await;
    rolled_back("which has written").await;
    session.batch_execute("COMMIT").await.unwrap();

    let (code, answer) = api.post(&path, &body("twin", false)).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    let upgrade = crate::upgrade::ended(&api, &id, Duration::from_secs(240)).await;
    assert_eq!(upgrade["state"], "succeeded", "{upgrade}");
    healthy(&api, &id).await;
    let session = login(&address, "app", &secret, "shop").await.unwrap();
    assert_eq!(rows(&session, "SELECT id FROM t ORDER BY 1").await, ["1", "2"]);
    drop(session);
    house.leave_nothing(&api, &[&id]).await;
}
