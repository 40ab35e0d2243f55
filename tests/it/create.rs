//! Creations that cannot work: refused at the door, or ended soon with a reason that names what was wrong.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use serde_json::json;

use crate::harness::{bed, status};

/// Only the server knows all its collations: an unknown one ends in ERROR, says so, and leaves a row to delete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_is_named() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let body = json!({"instance": {
        "name": "collation", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "mariadb", "version": "10.11"},
        "databases": [{"name": "shop", "character_set": "utf8mb4", "collate": "utf8mb4_nonsense"}]}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    // Not after the tries that a server which does not answer is given.
    status(&api, &id, "ERROR", Duration::from_secs(60)).await;
    let shown = api.show(&id).await.unwrap();
    assert!(shown["fault"]["message"].as_str().unwrap().contains("utf8mb4_nonsense"), "{shown}");
    assert!(shown.get("ip").is_none(), "{shown}");
    api.delete(&id).await.unwrap();
    api.wait_until_gone(&id).await.unwrap();
}

/// Names with which nothing can be made are refused at the door, by their field.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_names_are_refused_at_the_door() {
    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let names = ["mysql", "Coffer", "sys", "#mysql50#mysql", "", &"x".repeat(65)];
    for name in names {
        let body = json!({"instance": {
            "name": "never", "flavorRef": 1, "volume": {"size": 1},
            "datastore": {"type": "mariadb", "version": "10.11"}, "databases": [{"name": name}]}});
        let (code, answer) = api.post("/instances", &body).await.unwrap();
        assert_eq!(code, 400, "{name:?}: {answer}");
        let message = answer["badRequest"]["message"].as_str().unwrap();
        assert!(message.contains("databases"), "{name:?}: {message}");
    }
}
