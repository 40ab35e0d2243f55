//! The documented action on real servers, with writers on.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::cli::demo::ledger::Ledger;
use coffer::cli::demo::shop::Shop;
use coffer::cli::demo::writers::Writers;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::harness::{
    ask_for_detach, ask_for_upgrade, ask_for_upgrade_of, bed, delete, healthy, open_shop, status, wait_for,
};

/// 16 writers through an upgrade: what was acknowledged is there exactly once on both sides, the source is never
/// stopped and never read-only, and after the detach each has a life of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_lose_nothing() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "sixteen", "10.11").await;
    let shop = Shop::open(&old.address, "shop", "app", &old.password).await.unwrap();
    shop.load(20_000, |_| {}).await.unwrap();
    let writers = Writers::start(&old.address, "shop", "app", &old.password, 16);
    writers.until(|tally| tally.acknowledged > 200, Duration::from_secs(30)).await.unwrap();

    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    let source = api.show(&old.id).await.unwrap();
    assert_eq!(source["status"], "ACTIVE", "the source serves while the new one is built");
    assert_eq!(source["replicas"][0]["id"], new.as_str());
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(180)).await;
    status(&api, &old.id, "VERIFY_UPGRADE", Duration::from_secs(5)).await;
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged > before + 200, Duration::from_secs(30)).await.unwrap();

    // Replication goes on while the customer looks: stop writing, and the twin gets there.
    let tally = writers.stop().await.unwrap();
    assert_eq!(tally.errors, 0, "the source was never stopped and never read-only");
    assert!(tally.in_doubt.is_empty());
    let shown = api.show(&new).await.unwrap();
    assert_eq!(shown["datastore"]["version"], "11.8");
    let address = shown["ip"][0].as_str().unwrap();
    assert_ne!(address, old.address);
    let twin = Shop::open(address, "shop", "app", &old.password).await.unwrap();
    assert!(twin.version().await.unwrap().starts_with("11.8."));
    assert!(shop.version().await.unwrap().starts_with("10.11."));
    twin.reaches(&shop).await.unwrap();
    for (side, found) in
        [("source", shop.find(&tally).await.unwrap()), ("twin", twin.find(&tally).await.unwrap())]
    {
        assert_eq!(found.found, tally.acknowledged, "{side}");
        assert_eq!((found.missing, found.twice), (0, 0), "{side}");
        assert!(found.ledger_fits, "{side}: the ledger adds up");
    }
    assert_eq!(shop.checksum().await.unwrap(), twin.checksum().await.unwrap());
    assert!(twin.write_is_refused().await.unwrap(), "read-only by right until the detach");

    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;
    healthy(&api, &old.id).await;
    assert!(shop.insert_apart("old").await.unwrap() && twin.insert_apart("new").await.unwrap());
    assert!(!shop.sees_apart("new").await.unwrap() && !twin.sees_apart("old").await.unwrap());
    let (a, b) = (api.show(&old.id).await.unwrap(), api.show(&new).await.unwrap());
    assert!(a.get("replicas").is_none() && b.get("replica_of").is_none(), "{a} {b}");
    delete(&api, &[&new, &old.id]).await;
}

/// The same on PostgreSQL, where definitions are not replicated: a detach after one has changed is refused by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_writers_lose_nothing_on_postgresql() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let password = crate::harness::password();
    let old = api.create_of("postgresql", "herd", "15", "shop", "app", &password).await.unwrap();
    let address = healthy(&api, &old).await;
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    ledger.load(20_000).await.unwrap();
    let sums = ledger.sums().await.unwrap();
    let writers = Writers::start_at(&ledger.door(), 16);
    writers.until(|tally| tally.acknowledged > 200, Duration::from_secs(30)).await.unwrap();
    let new = ask_for_upgrade_of(&api, &old, "postgresql", "17").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(180)).await;
    let before = writers.tally().acknowledged;
    writers.until(|tally| tally.acknowledged > before + 200, Duration::from_secs(30)).await.unwrap();
    let tally = writers.stop().await.unwrap();
    assert_eq!(tally.errors, 0, "the source was never stopped and never read-only");

    let at = api.show(&new).await.unwrap()["ip"][0].as_str().unwrap().to_owned();
    assert_ne!(at, address);
    let theirs = session(&address, &password).await;
    let reader = session(&at, &password).await;
    reader.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    let refused = reader.batch_execute("CREATE TABLE mine (a int)").await;
    assert_eq!(
        refused.unwrap_err().code().unwrap().code(),
        "25006",
        "no definition changes until the detach"
    );
    let refused = reader.batch_execute("DELETE FROM accounts").await;
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501", "read-only by right until the detach");
    theirs.batch_execute("CREATE TABLE since (id int PRIMARY KEY)").await.unwrap();
    let asked = api.patch(&format!("/instances/{new}"), &json!({"instance": {"replica_of": ""}})).await;
    let refused = asked.unwrap_err().to_string();
    assert!(refused.contains("answered 422") && refused.contains("since"), "{refused}");
    theirs.batch_execute("DROP TABLE since").await.unwrap();

    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;
    healthy(&api, &old).await;
    let twin = Ledger::open(&at, "shop", "app", &password).await.unwrap();
    assert!(twin.version().await.unwrap().starts_with("17"));
    for side in [&ledger, &twin] {
        assert_eq!(side.sums().await.unwrap(), sums);
        let found = side.find(&tally).await.unwrap();
        assert_eq!((found.found, found.missing), (tally.acknowledged, 0), "{found:?}");
        assert!(found.ledger_fits, "the ledger adds up");
    }
    session(&at, &password)
        .await
        .batch_execute("CREATE TABLE mine (a int); INSERT INTO mine VALUES (1)")
        .await
        .unwrap();
    let (a, b) = (api.show(&old).await.unwrap(), api.show(&new).await.unwrap());
    assert!(a.get("replicas").is_none() && b.get("replica_of").is_none(), "{a} {b}");
    delete(&api, &[&new, &old]).await;
}

async fn session(address: &str, password: &SecretString) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host(address).port(5432).user("app").password(password.expose_secret()).dbname("shop");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Deleting the new instance abandons the upgrade: the source is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_the_new_one_abandons_the_upgrade() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "abandoned", "10.11").await;
    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let (code, answer) = api
        .post(
            &format!("/instances/{}/action", old.id),
            &json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}}),
        )
        .await
        .unwrap();
    assert_eq!(code, 422, "{answer}");
    api.delete(&new).await.unwrap();
    api.wait_until_gone(&new).await.unwrap();
    healthy(&api, &old.id).await;
    assert!(api.show(&old.id).await.unwrap().get("replicas").is_none());
    let task = api.task_of(&old.id).await.unwrap();
    assert_eq!(api.task(&task).await.unwrap()["state"], "cancelled");
    delete(&api, &[&old.id]).await;
}

/// A table that is not InnoDB is refused by its name, and the refusal changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_carried_is_named() {
    use mysql_async::prelude::Queryable as _;

    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "myisam", "10.11").await;
    let opts = coffer::cli::demo::shop::opts(&old.address, "shop", "app", &old.password);
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    conn.query_drop("create table carts (id int) engine=MyISAM").await.unwrap();
    let body = json!({"upgrade": {"datastore_type": "mariadb", "datastore_version": "11.8"}});
    let path = format!("/instances/{}/action", old.id);
    let (code, answer) = api.post(&path, &body).await.unwrap();
    assert_eq!(code, 422, "{answer}");
    assert!(answer["unprocessableEntity"]["message"].as_str().unwrap().contains("shop.carts"), "{answer}");
    let shown = api.show(&old.id).await.unwrap();
    assert_eq!(shown["status"], "ACTIVE");
    assert!(shown.get("replicas").is_none(), "{shown}");

    conn.query_drop("alter table carts engine=InnoDB").await.unwrap();
    conn.disconnect().await.unwrap();
    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;
    delete(&api, &[&new, &old.id]).await;
}

/// Everything of a tenant goes along: views, triggers, routines, events, users and what they may do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_of_a_tenant_goes_along() {
    use mysql_async::prelude::Queryable as _;

    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "whole", "10.11").await;
    let shop = Shop::open(&old.address, "shop", "app", &old.password).await.unwrap();
    shop.load(1_000, |_| {}).await.unwrap();
    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    ask_for_detach(&api, &new).await;
    let address = healthy(&api, &new).await;
    let opts = coffer::cli::demo::shop::opts(&address, "shop", "app", &old.password);
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    let total: Option<i64> = conn.query_first("select total()").await.unwrap();
    assert_eq!(total, Some(64 * 1_000_000));
    let cheap: Option<i64> = conn.query_first("select count(*) from cheap").await.unwrap();
    assert!(cheap.unwrap() > 0);
    conn.query_drop("update items set price = price + 1 where id = 1").await.unwrap();
    let audited: Option<i64> = conn.query_first("select count(*) from audit").await.unwrap();
    assert_eq!(audited, Some(1), "the trigger fires");
    let event: Option<String> = conn
        .query_first("select status from information_schema.events where event_name = 'sweep'")
        .await
        .unwrap();
    assert_eq!(event.as_deref(), Some("ENABLED"), "the event has the state that it had on the source");
    conn.disconnect().await.unwrap();
    wait_for("the source is free again", Duration::from_secs(10), async || {
        (api.show(&old.id).await.unwrap()["status"] == "ACTIVE").then_some(())
    })
    .await;
    delete(&api, &[&new, &old.id]).await;
}

/// A table that cannot be carried appears after the acceptance: the upgrade ends as it began, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_undone() {
    use mysql_async::prelude::Queryable as _;

    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "undone", "10.11").await;
    let shop = Shop::open(&old.address, "shop", "app", &old.password).await.unwrap();
    shop.load(1_000, |_| {}).await.unwrap();
    let new = ask_for_upgrade(&api, &old.id, "11.8").await;
    let opts = coffer::cli::demo::shop::opts(&old.address, "shop", "app", &old.password);
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    conn.query_drop("create table late (id int) engine=Aria").await.unwrap();
    let task = api.task_of(&new).await.unwrap();
    wait_for("the upgrade is rolled back", Duration::from_secs(120), async || {
        let seen = api.task(&task).await.unwrap();
        assert_ne!(seen["state"], "verifying");
        (seen["state"] == "rolled_back").then_some(())
    })
    .await;
    let seen = api.task(&task).await.unwrap();
    assert!(seen["reason"].as_str().unwrap().contains("shop.late"), "{seen}");
    let failed = api.show(&new).await.unwrap();
    assert_eq!(failed["status"], "ERROR");
    assert!(failed["fault"]["message"].as_str().unwrap().contains("shop.late"), "{failed}");
    assert!(failed.get("replica_of").is_none() && failed.get("ip").is_none(), "{failed}");
    let source = api.show(&old.id).await.unwrap();
    assert_eq!(source["status"], "ACTIVE");
    assert!(source.get("replicas").is_none() && source.get("fault").is_none(), "{source}");
    assert_eq!(source["datastore"]["version"], "10.11");
    conn.query_drop("insert into late values (1)").await.unwrap();
    conn.query_drop("drop table late").await.unwrap();
    conn.disconnect().await.unwrap();

    // The same upgrade can be asked for again at once.
    let again = ask_for_upgrade(&api, &old.id, "11.8").await;
    status(&api, &again, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    delete(&api, &[&again, &new, &old.id]).await;
}

/// Twenty at once: one task, and a refusal for everybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_requests_one_is_accepted() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let old = open_shop(&api, "twenty", "10.11").await;
    let body = json!({"upgrade": {"datastore_type": "MariaDB", "datastore_version": "11.8"}});
    let path = format!("/instances/{}/action", old.id);
    let answers = futures::future::join_all((0..20).map(|_| api.post(&path, &body))).await;
    let (mut new, mut refused) = (Vec::new(), 0);
    for answer in answers {
        match answer.unwrap() {
            (202, answer) => new.push(answer["instance"]["id"].as_str().unwrap().to_owned()),
            (422, _) => refused += 1,
            (code, answer) => panic!("{code}: {answer}"),
        }
    }
    assert_eq!((new.len(), refused), (1, 19));
    status(&api, &new[0], "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    delete(&api, &[&new[0], &old.id]).await;
}
