//! Databases and users, asked of the server: by the API as JSON and through the unmodified OpenStack client.

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::client::openstack;
use crate::harness::house::House;
use crate::harness::{ask_for_upgrade, bed, delete, healthy, open_shop, password, status, wait_for};

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// Lists a collection, following the pages as a client does.
async fn all(api: &Client, id: &str, collection: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = format!("/instances/{id}/{collection}?limit={limit}");
    loop {
        let (code, page) = api.read(&path).await.unwrap();
        assert_eq!(code, 200, "{path}: {page}");
        let listed = page[collection].as_array().unwrap();
        assert!(listed.len() <= limit);
        found.extend(listed.iter().cloned());
        match page["links"][0]["href"].as_str() {
            Some(next) => {
                assert_eq!(page["links"], page[format!("{collection}_links")]);
                assert_eq!(listed.len(), limit, "{page}");
                path = next[next.find("/instances/").unwrap()..].to_owned();
            }
            None => {
                assert!(page.get("links").is_none(), "{page}");
                return found;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_and_users_are_listed() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let secret = password();
    let body = json!({"instance": {
        "name": "listed", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mariadb", "version": "10.11"},
        "databases": [{"name": "shop"}, {"name": "a_b %c"}, {"name": "Zoo"}, {"name": "äther"}],
        "users": [
            {"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}, {"name": "a_b %c"}]},
            {"name": "o.d@d", "password": "x"},
            {"name": "zed", "password": "x", "databases": [{"name": "Zoo"}]}]}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    // Nothing serves yet.
    for collection in ["databases", "users"] {
        let (code, answer) = api.read(&format!("/instances/{id}/{collection}")).await.unwrap();
        assert_eq!(code, 422, "{answer}");
        assert!(answer["unprocessableEntity"]["message"].as_str().unwrap().contains("BUILD"), "{answer}");
    }
    let address = healthy(&api, &id).await;

    let (code, answer) = api.read(&format!("/instances/{id}/databases")).await.unwrap();
    assert_eq!(
        (code, names(&answer["databases"])),
        (200, ["Zoo", "a_b %c", "shop", "äther"].map(str::to_owned).to_vec())
    );
    assert!(answer.get("links").is_none(), "{answer}");
    let (code, answer) = api.read(&format!("/instances/{id}/users")).await.unwrap();
    assert_eq!(code, 200);
    assert_eq!(
        answer,
        json!({"users": [
            {"name": "app", "host": "%", "databases": [{"name": "a_b %c"}, {"name": "shop"}]},
            {"name": "o.d@d", "host": "%", "databases": []},
            {"name": "zed", "host": "%", "databases": [{"name": "Zoo"}]}]})
    );
    for limit in [1, 2, 3, 4] {
        assert_eq!(
            names(&json!(all(&api, &id, "databases", limit).await)),
            ["Zoo", "a_b %c", "shop", "äther"]
        );
        assert_eq!(names(&json!(all(&api, &id, "users", limit).await)), ["app", "o.d@d", "zed"]);
    }
    for (query, code) in [("limit=0", 400), ("limit=x", 400), ("marker=app", 200), ("marker=b", 200)] {
        let (answered, page) = api.read(&format!("/instances/{id}/users?{query}")).await.unwrap();
        assert_eq!(answered, code, "{query}: {page}");
        if code == 200 {
            assert_eq!(names(&page["users"]), ["o.d@d", "zed"], "{query}");
        }
    }

    // What the tenant takes away by SQL is gone from the list, and from the rights of its users.
    let opts = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address)
        .user(Some("app"))
        .pass(Some(secret.expose_secret()));
    let mut app = mysql_async::Conn::new(opts).await.unwrap();
    app.query_drop("DROP DATABASE `a_b %c`").await.unwrap();
    app.disconnect().await.unwrap();

    // The unmodified client, which follows the pages.
    let listed = openstack("coffer-reader", &["database", "db", "list", &id, "-f", "json"]).unwrap();
    assert_eq!(listed, json!([{"Name": "Zoo"}, {"Name": "shop"}, {"Name": "äther"}]));
    let listed = openstack("coffer", &["database", "user", "list", "listed", "-f", "json"]).unwrap();
    assert_eq!(
        listed,
        json!([
            {"Name": "app", "Host": "%", "Databases": "shop"},
            {"Name": "o.d@d", "Host": "%", "Databases": ""},
            {"Name": "zed", "Host": "%", "Databases": "Zoo"}])
    );
    let other = Client::login(&bed().state, "coffer-other").await.unwrap();
    assert_eq!(other.read(&format!("/instances/{id}/users")).await.unwrap().0, 404);

    // Both sides of an upgrade list the same.
    let new = ask_for_upgrade(&api, &id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", std::time::Duration::from_secs(120)).await;
    for collection in ["databases", "users"] {
        let (_, there) = api.read(&format!("/instances/{id}/{collection}")).await.unwrap();
        let (code, here) = api.read(&format!("/instances/{new}/{collection}")).await.unwrap();
        assert_eq!((code, there), (200, here));
    }
    api.delete(&new).await.unwrap();
    api.wait_until_gone(&new).await.unwrap();
    delete(&api, &[&id]).await;
}

/// A server that does not answer: 503 in time, with a text for the caller and the time to come again; then the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_said_so() {
    let dev = House::start().await;
    let api = Client::login(&dev.state, "coffer").await.unwrap();
    let shop = open_shop(&api, "silent", "10.11").await;
    let store = dev.store().await;
    let pid = rustix::process::Pid::from_raw(dev.engine_pid(&store, &shop.id).await).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let begun = std::time::Instant::now();
    let path = |collection: &str| format!("/instances/{}/{collection}", shop.id);
    let (databases, users) = (path("databases"), path("users"));
    let (one, two) = tokio::join!(api.read(&databases), api.read(&users));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(12), "{:?}", begun.elapsed());
    for (asked, what) in [(one, "its databases"), (two, "its users")] {
        let (code, answer) = asked.unwrap();
        assert_eq!(code, 503, "{answer}");
        let message = answer["serviceUnavailable"]["message"].as_str().unwrap();
        assert!(message.contains("did not answer in time") && message.contains(what), "{message}");
    }
    let listed = wait_for("the list is given again", std::time::Duration::from_secs(30), async || {
        let (code, answer) = api.read(&databases).await.unwrap();
        (code == 200).then_some(answer)
    })
    .await;
    assert_eq!(names(&listed["databases"]), ["shop"]);
    drop(store);
    dev.leave_nothing(&api, &[&shop.id]).await;
}
