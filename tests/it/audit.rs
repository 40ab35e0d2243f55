//! The audit: who asked to change something, from where, and with what outcome, in every dialect; and nothing of a body.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::test_api::TestApi;

const SECRET: &str = "s3cret-of-nobody";

/// What `coffer admin audit` tells, an object a line.
fn told(door: &TestApi, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
    command.args(["admin", "audit", "--json"]).args(arguments).env("DATABASE_URL", &door.store_url);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn who_asked_for_a_change_is_told_with_its_outcome() {
    let door = TestApi::open().await;
    let shop = door.instance("1234", "mysql", "5.6").await;
    let users = json!({"users": [{"name": "ann", "password": SECRET}]});
    let path = format!("instances/{shop}/users");
    door.send("member@1234", "POST", &path, Some(&users)).await.ok(202);
    door.send("reader@1234", "POST", &path, Some(&users)).await.is(403, "forbidden");
    door.send("member@5678", "DELETE", &format!("instances/{shop}"), None).await.is(404, "itemNotFound");
    door.send("member@1234", "PATCH", &format!("instances/{shop}"), Some(&json!({"instance": 7})))
        .await
        .is(400, "badRequest");
    door.send("member@1234", "DELETE", "no-such-thing", None).await.is(404, "itemNotFound");
    // What only reads is no change, and whoever is nobody cannot be named.
    door.send("member@1234", "GET", &path, None).await.ok(200);
    door.send("member@1234", "GET", &format!("instances/{shop}"), None).await.ok(200);
    crate::test_api::told(door.raw(None, "DELETE", &format!("/v1.0/1234/instances/{shop}"))).await;

    let seen = wait_for("all of it is in the store", Duration::from_secs(20), async || {
        let seen = told(&door, &[]);
        (seen.len() >= 5).then_some(seen)
    })
    .await;
    let short: Vec<Value> = seen
        .iter()
        .map(|it| json!([it["project"], it["role"], it["method"], it["route"], it["target"], it["status"]]))
        .collect();
    let of_users = "/v1.0/{project}/instances/{id}/users";
    let of_one = "/v1.0/{project}/instances/{id}";
    assert_eq!(
        short,
        [
            json!(["1234", "member", "POST", of_users, [shop.to_string()], 202]),
            json!(["1234", "reader", "POST", of_users, [shop.to_string()], 403]),
            json!(["5678", "member", "DELETE", of_one, [shop.to_string()], 404]),
            json!(["1234", "member", "PATCH", of_one, [shop.to_string()], 400]),
            json!(["1234", "member", "DELETE", "(unknown)", [], 404]),
        ]
    );
    for it in &seen {
        assert_eq!((&it["address"], &it["dialect"]), (&json!("127.0.0.1"), &json!("trove")), "{it}");
        assert!(it["request_id"].as_str().unwrap().starts_with("req-"), "{it}");
        assert!(!it["user"].as_str().unwrap().is_empty(), "{it}");
        assert!(!it.to_string().contains(SECRET), "{it}");
    }
    assert_eq!(told(&door, &["--project", "5678"]).len(), 1);
    assert_eq!(told(&door, &["--most", "2"]), seen[3..]);

    // What is old is forgotten, and nothing else.
    door.sql("update audit set at = at - interval '91 days' where project_id = '5678'").await;
    let db = door.db.clone();
    let gone: Result<_, coffer::db::Error> =
        db.run(|conn| coffer::db::audit::forget(conn, coffer::api::audit::DAYS, 100)).await;
    assert_eq!((gone.unwrap(), door.count("audit").await), (1, 4));
}
