//! Terraform's four resources of databases, call for call: what its OpenStack provider sends by way of gophercloud, the codes
//! that it takes for success, and what it decodes, by types as strict as its own. What comes of it is looked at in the server.
//!
//! The provider itself is no package that set-up could install; its calls are written down here.

use std::time::Duration;

use chrono::NaiveDateTime;
use mysql_async::prelude::Queryable as _;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::house::House;
use crate::harness::wait_for;

/// What the provider waits for at most.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Go decodes what it knows and passes over the rest; a value of another type is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Instance {
    id: String,
    name: String,
    status: String,
    created: String,
    updated: String,
    flavor: Flavor,
    volume: Volume,
    datastore: Partial,
    addresses: Vec<Address>,
    fault: Option<Fault>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flavor {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Volume {
    size: i64,
    used: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Partial {
    r#type: String,
    version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    name: String,
    databases: Vec<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    id: String,
    name: String,
    description: String,
    created: String,
    updated: String,
    datastore_name: String,
    datastore_version_id: String,
    datastore_version_name: String,
    values: serde_json::Map<String, Value>,
}

/// The layout by which gophercloud reads a time: without a zone.
fn is_a_time(text: &str) -> bool {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").is_ok()
}

/// A client as gophercloud's.
struct Gopher {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Gopher {
    /// Sends, and takes `codes` for success, as gophercloud's call does. Gives the code otherwise.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        codes: &[u16],
    ) -> Result<String, (u16, String)> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("X-Auth-Token", &self.token)
            .header("Accept", "application/json")
            .header("User-Agent", "Terraform/1.9.0 gophercloud/v2.0.0");
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (code, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        if codes.contains(&code) { Ok(text) } else { Err((code, text)) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, key: &str) -> Result<T, (u16, String)> {
        let text = self.send(Method::GET, path, None, &[200]).await?;
        Ok(decoded(&text, key))
    }

    /// Follows the links of pages, as its pager does, by the key that it looks for.
    async fn all<T: DeserializeOwned>(&self, path: &str, key: &str) -> Vec<T> {
        let (mut found, mut at) = (Vec::new(), path.to_owned());
        loop {
            let text = self.send(Method::GET, &at, None, &[200]).await.unwrap();
            found.extend(decoded::<Vec<T>>(&text, key));
            let whole: Value = serde_json::from_str(&text).unwrap();
            let links = whole[format!("{key}_links")].as_array().cloned().unwrap_or_default();
            let Some(next) = links.iter().find(|link| link["rel"] == "next") else { return found };
            at = next["href"].as_str().unwrap().strip_prefix(&self.base).expect("a URL of ours").to_owned();
        }
    }

    /// Waits as the provider does after a creation: only `BUILD` may come before `ACTIVE`.
    async fn active(&self, id: &str) -> Instance {
        wait_for("it is ACTIVE", TIMEOUT, async || {
            let found: Instance = self.get(&format!("/instances/{id}"), "instance").await.unwrap();
            match found.status.as_str() {
                "ACTIVE" => Some(found),
                "BUILD" => None,
                other => panic!("unexpected state {other}: {found:?}"),
            }
        })
        .await
    }
}

fn decoded<T: DeserializeOwned>(text: &str, key: &str) -> T {
    let mut whole: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(whole[key].take()).unwrap_or_else(|error| panic!("{key}: {error}: {text}"))
}

async fn gopher(dev: &House) -> (Gopher, coffer::cli::demo::client::Client) {
    let api = dev.login("coffer").await;
    let base = api.base().to_owned();
    (Gopher { http: reqwest::Client::new(), base, token: api.token().to_owned() }, api)
}

/// Logs in at the instance's address.
async fn login(address: &str, user: &str, secret: &SecretString) -> mysql_async::Result<mysql_async::Conn> {
    let opts = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address)
        .user(Some(user))
        .pass(Some(secret.expose_secret()))
        .prefer_socket(false);
    mysql_async::Conn::new(opts).await
}

async fn create(gopher: &Gopher, secret: &SecretString) -> String {
    let body = json!({"instance": {
        "name": "orders", "flavorRef": "1", "volume": {"size": 1},
        "datastore": {"type": "mariadb", "version": "10.11"},
        "databases": [{"name": "first", "character_set": "utf8mb4", "collate": "utf8mb4_general_ci"}],
        "users": [{"name": "app", "password": secret.expose_secret(), "host": "%", "databases": [{"name": "first"}]}]}});
    let text = gopher.send(Method::POST, "/instances", Some(body), &[200]).await.unwrap();
    decoded::<Instance>(&text, "instance").id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_resources_live_and_leave_nothing() {
    let dev = House::start().await;
    let (gopher, api) = gopher(&dev).await;
    let secret = crate::harness::password();

    // openstack_db_configuration_v1: create, read.
    let body = json!({"configuration": {
        "name": "small", "description": "of a test", "datastore": {"type": "mariadb", "version": "10.11"},
        "values": {"max_connections": 60, "sort_buffer_size": 1048576}}});
    let text = gopher.send(Method::POST, "/configurations", Some(body), &[200]).await.unwrap();
    let group = decoded::<Configuration>(&text, "configuration");
    let read: Configuration =
        gopher.get(&format!("/configurations/{}", group.id), "configuration").await.unwrap();
    assert_eq!((read.name.as_str(), read.description.as_str()), ("small", "of a test"));
    assert_eq!((read.datastore_name.as_str(), read.datastore_version_name.as_str()), ("mariadb", "10.11"));
    assert!(
        !read.datastore_version_id.is_empty() && is_a_time(&read.created) && is_a_time(&read.updated),
        "{read:?}"
    );
    assert_eq!(read.values["max_connections"], 60);

    // openstack_db_instance_v1 with configuration_id: create, wait, attach, read.
    let id = create(&gopher, &secret).await;
    gopher.active(&id).await;
    let attach = json!({"instance": {"configuration": group.id}});
    gopher.send(Method::PUT, &format!("/instances/{id}"), Some(attach), &[202]).await.unwrap();
    let read: Instance = gopher.get(&format!("/instances/{id}"), "instance").await.unwrap();
    assert_eq!((read.id.as_str(), read.name.as_str()), (id.as_str(), "orders"));
    assert_eq!((read.flavor.id.as_str(), read.volume.size), ("1", 1));
    assert!(read.volume.used >= 0.0);
    assert_eq!((read.datastore.r#type.as_str(), read.datastore.version.as_str()), ("mariadb", "10.11"));
    assert!(is_a_time(&read.created) && is_a_time(&read.updated), "{read:?}");
    assert!(read.fault.is_none_or(|fault| fault.message.is_empty()));
    let [Address { r#type: kind, address }] = &read.addresses[..] else { panic!("{:?}", read.addresses) };
    assert!(!kind.is_empty());
    let mut app = login(address, "app", &secret).await.unwrap();
    wait_for("the group holds in the server", TIMEOUT, async || {
        let limit: Option<u64> = app.query_first("select @@global.sort_buffer_size").await.unwrap();
        (limit == Some(1_048_576)).then_some(())
    })
    .await;
    let listed: Vec<Instance> = gopher.all("/instances", "instances").await;
    assert!(listed.iter().any(|it| it.id == id));
    let deleted =
        gopher.send(Method::DELETE, &format!("/configurations/{}", group.id), None, &[202, 204]).await;
    assert!(deleted.is_err(), "an instance has it");

    // openstack_db_database_v1: create, wait until it is listed, read; import reads alike.
    let body = json!({"databases": [{"name": "second"}]});
    gopher.send(Method::POST, &format!("/instances/{id}/databases"), Some(body), &[202]).await.unwrap();
    wait_for("the database is listed", TIMEOUT, async || {
        let found: Vec<Named> = gopher.all(&format!("/instances/{id}/databases"), "databases").await;
        found.iter().any(|it| it.name == "second").then_some(())
    })
    .await;

    // openstack_db_user_v1.
    let body = json!({"users": [{"name": "clerk", "password": secret.expose_secret(), "host": "%",
                                 "databases": [{"name": "second"}]}]});
    gopher.send(Method::POST, &format!("/instances/{id}/users"), Some(body), &[202]).await.unwrap();
    wait_for("the user is listed", TIMEOUT, async || {
        let found: Vec<User> = gopher.all(&format!("/instances/{id}/users"), "users").await;
        let clerk = found.into_iter().find(|it| it.name == "clerk")?;
        assert_eq!(clerk.databases.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["second"]);
        Some(())
    })
    .await;
    let mut clerk = login(address, "clerk", &secret).await.unwrap();
    clerk.query_drop("create table second.t (n int)").await.unwrap();
    clerk.query_drop("create table first.t (n int)").await.expect_err("no right there");

    // Update: the group is taken off and put on again.
    let put =
        async |body: Value| gopher.send(Method::PUT, &format!("/instances/{id}"), Some(body), &[202]).await;
    put(json!({"instance": {}})).await.unwrap();
    put(json!({"instance": {"configuration": group.id}})).await.unwrap();
    put(json!({"instance": {}})).await.unwrap();

    // Delete, in the order of what depends on what; each is gone in the server, and reads tell.
    gopher.send(Method::DELETE, &format!("/instances/{id}/users/clerk"), None, &[202, 204]).await.unwrap();
    gopher
        .send(Method::DELETE, &format!("/instances/{id}/databases/second"), None, &[202, 204])
        .await
        .unwrap();
    wait_for("both are gone", TIMEOUT, async || {
        let users: Vec<User> = gopher.all(&format!("/instances/{id}/users"), "users").await;
        let databases: Vec<Named> = gopher.all(&format!("/instances/{id}/databases"), "databases").await;
        let is_there =
            users.iter().any(|it| it.name == "clerk") || databases.iter().any(|it| it.name == "second");
        (!is_there).then_some(())
    })
    .await;
    login(address, "clerk", &secret).await.expect_err("it cannot log in");
    gopher.send(Method::DELETE, &format!("/instances/{id}"), None, &[202, 204]).await.unwrap();
    wait_for("it is gone", TIMEOUT, async || {
        match gopher.get::<Instance>(&format!("/instances/{id}"), "instance").await {
            Err((404, _)) => Some(()),
            Err(other) => panic!("{other:?}"),
            Ok(found) => {
                // Any other state than these two ends the provider's wait with an error.
                assert!(["ACTIVE", "SHUTDOWN"].contains(&found.status.as_str()), "{found:?}");
                None
            }
        }
    })
    .await;
    gopher.send(Method::DELETE, &format!("/configurations/{}", group.id), None, &[202, 204]).await.unwrap();
    let gone = gopher.get::<Configuration>(&format!("/configurations/{}", group.id), "configuration").await;
    assert_eq!(gone.unwrap_err().0, 404);
    let left: Vec<Configuration> = gopher.all("/configurations", "configurations").await;
    assert!(left.iter().all(|it| it.id != group.id));
    let listed: Vec<Instance> = gopher.all("/instances", "instances").await;
    assert!(listed.is_empty(), "{listed:?}");
    dev.leave_nothing(&api, &[]).await;
}
