//! Every documented code of the upgrade action with its fault, and the order in which they come.

use coffer::api::limits::Profile;
use coffer::domain::datastore::RuntimeKind;
use serde_json::{Value, json};

use crate::test_api::{NOBODY, Setting, TestApi, told};

const MEMBER: &str = "member@1234";
const TARGET: (&str, &str) = ("mysql", "5.7");

/// What an instance's rows are before and after something that must change nothing.
async fn rows(door: &TestApi) -> (i64, i64, i64) {
    (
        door.count("instances").await,
        door.count("tasks").await,
        door.count("instances where state <> 'active'").await,
    )
}

#[tokio::test]
async fn c202_is_a_new_instance_with_exactly_these_keys_and_types() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    let answer = door.upgrade(MEMBER, source, TARGET).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.headers.get("location").is_none());
    let view = &answer.ok(202)["instance"];
    assert_eq!(answer.body.as_object().unwrap().len(), 1);

    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let new = text(&view["id"]);
    let links = |collection: &str, id: &str| {
        json!([
            {"href": format!("{}/v1.0/1234/{collection}/{id}", door.url), "rel": "self"},
            {"href": format!("{}/{collection}/{id}", door.url), "rel": "bookmark"},
        ])
    };
    assert_eq!(
        keys(view),
        [
            "available_upgrades",
            "created",
            "datastore",
            "flavor",
            "hostname",
            "id",
            "links",
            "name",
            "replica_of",
            "schedule",
            "status",
            "updated",
            "volume"
        ]
    );
    // Everything but the id, the times and the name of the host is known beforehand: values fix the types, too.
    assert_eq!(view["available_upgrades"], json!({"current_version": "UNKNOWN", "upgrades": []}));
    assert_eq!(view["datastore"], json!({"type": "mysql", "version": "5.7"}));
    assert_eq!(
        view["flavor"],
        json!({"id": "2", "ram": 1024, "name": "1GB Instance", "links": links("flavors", "2")})
    );
    assert_eq!(view["links"], links("instances", &new));
    assert_eq!(view["name"], "orders_upgrade");
    let source = source.to_string();
    assert_eq!(view["replica_of"], json!({"id": source, "links": links("instances", &source)}));
    assert_eq!(view["schedule"], json!({"enabled": false}));
    assert_eq!(view["status"], "BUILD");
    assert_eq!(view["volume"], json!({"size": 2}));
    assert!(uuid::Uuid::parse_str(&new).is_ok() && new.len() == 36 && new != source, "{new}");
    let (hex, zone) =
        text(&view["hostname"]).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit()) && !zone.is_empty());
    let created = text(&view["created"]);
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    assert!(created.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{created}");
    assert_eq!(view["updated"], view["created"]);
    assert_eq!(door.count("tasks where kind = 'upgrade'").await, 1);
}

#[tokio::test]
async fn c400_is_a_bad_request() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    let before = rows(&door).await;
    let action = format!("instances/{source}/action");
    for body in [
        json!({}),
        json!({"upgrade": {}}),
        json!({"upgrade": {"datastore_type": "mysql"}}),
        json!({"upgrade": {"datastore_version": "5.7"}}),
        json!({"upgrade": {"datastore_type": "mysql", "datastore_version": 5.7}}),
        json!({"upgrade": {"datastore_type": "mysql", "datastore_version": "5.7"}, "restart": {}}),
        json!({"upgrade": {"datastore_type": "oracle", "datastore_version": "5.7"}}),
        json!({"upgrade": {"datastore_type": "mysql", "datastore_version": "99"}}),
    ] {
        door.send(MEMBER, "POST", &action, Some(&body)).await.is(400, "badRequest");
    }
    let request = door.ask(MEMBER, "POST", &action).header("content-type", "application/json").body("{");
    told(request).await.is(400, "badRequest");
    // No row of the matrix: a skip, the same version, another type, a downgrade.
    for (from, to) in [
        (("mysql", "5.1"), ("mysql", "5.6")),
        (("mysql", "5.1"), ("mariadb", "10.4enc")),
        (("mysql", "5.7"), ("mysql", "8.0")),
        (("mysql", "5.6"), ("mysql", "5.6")),
        (("mariadb", "10"), ("mariadb", "10.4enc")),
        (("mariadb", "10.4enc"), ("mariadb", "10.4")),
    ] {
        let it = door.instance("1234", from.0, from.1).await;
        let answer = door.upgrade(MEMBER, it, to).await;
        let text = answer.is(400, "badRequest");
        assert!(text.contains("available_upgrades") && text.contains(to.1), "{text}");
    }
    assert_eq!(rows(&door).await, (before.0 + 6, 0, 0));
}

#[tokio::test]
async fn c401_is_no_token_that_holds() {
    let door = TestApi::open().await;
    let real = door.identity.login("coffer").unwrap();
    let project = real.claims.project.unwrap();
    let path = format!("/v1.0/{project}/instances/{NOBODY}/action");
    for token in [None, Some(""), Some("bogus"), Some(&*format!("{}x", real.text))] {
        let answer = told(door.raw(token, "POST", &path)).await;
        answer.is(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), format!("Keystone uri=\"{}/identity\"", door.url));
    }
    told(door.raw(Some(&real.text), "POST", &path)).await.is(400, "badRequest");
}

#[tokio::test]
async fn c403_is_a_role_that_does_not_reach_and_another_account() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    for role in ["dbaas:observer", "dbaas:creator", "reader", "swiftoperator"] {
        let answer = door.upgrade(&format!("{role}@1234"), source, TARGET).await;
        assert_eq!(answer.is(403, "forbidden"), "Policy doesn't allow instance:upgrade to be performed.");
    }
    let path = format!("/v1.0/9999/instances/{source}/action");
    for role in [MEMBER, "admin@1234"] {
        told(door.raw(Some(role), "POST", &path)).await.is(403, "forbidden");
    }
    assert_eq!(rows(&door).await, (1, 0, 0));
}

#[tokio::test]
async fn c404_is_what_is_not_there_for_the_caller() {
    let door = TestApi::open().await;
    let foreign = door.instance("5678", "mysql", "5.6").await;
    let missing = door.upgrade(MEMBER, NOBODY, TARGET).await;
    let others = door.upgrade(MEMBER, foreign, TARGET).await;
    let (missing, others) = (missing.is(404, "itemNotFound"), others.is(404, "itemNotFound"));
    assert_eq!(missing.replace(NOBODY, "X"), others.replace(&foreign.to_string(), "X"));
    door.upgrade(MEMBER, "orders", TARGET).await.is(404, "itemNotFound");
    door.send(MEMBER, "POST", &format!("instances/{foreign}/actions"), None).await.is(404, "itemNotFound");
    told(door.raw(Some(MEMBER), "POST", &format!("/v9.9/1234/instances/{foreign}/action")))
        .await
        .is(404, "itemNotFound");
    door.upgrade("admin@1", foreign, TARGET).await.ok(202);
}

#[tokio::test]
async fn c405_names_the_method() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let answer = door.send(MEMBER, method, &format!("instances/{source}/action"), None).await;
        answer.is(405, "badMethod");
        assert_eq!(answer.header("allow"), "POST", "{method}");
    }
}

#[tokio::test]
async fn c413_is_the_sixth_action_within_a_minute() {
    let door = TestApi::open_as(Setting { profile: Profile::Rackspace, ..Setting::default() }).await;
    let source = door.instance("1234", "mysql", "5.6").await;
    for _ in 0..5 {
        door.upgrade(MEMBER, NOBODY, TARGET).await.is(404, "itemNotFound");
    }
    let answer = door.upgrade(MEMBER, source, TARGET).await;
    answer.is(413, "overLimit");
    let seconds: u32 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds));
    let fault = &answer.body["overLimit"];
    assert_eq!(fault["retryAfter"], seconds.to_string());
    assert!(fault["retryAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        fault["details"],
        "Only 5 POST request(s) can be made to /instances/{id}/action every minute."
    );
    // Another account has its own; the other requests of this one go on.
    door.upgrade("member@5678", NOBODY, TARGET).await.is(404, "itemNotFound");
    door.send(MEMBER, "GET", &format!("instances/{source}"), None).await.ok(200);
    assert_eq!(rows(&door).await, (1, 0, 0));
    let limits = door.send(MEMBER, "GET", "limits", None).await;
    let limits = limits.ok(200)["limits"].as_array().unwrap();
    assert_eq!((&limits[0]["verb"], &limits[0]["max_instances"]), (&json!("ABSOLUTE"), &json!(25)));
    let action = limits.iter().find(|limit| limit["uri"] == "/instances/{id}/action").unwrap();
    assert_eq!((&action["verb"], &action["remaining"]), (&json!("POST"), &json!(0)));
}

#[tokio::test]
async fn c413_is_the_twenty_sixth_instance() {
    let door = TestApi::open_as(Setting { profile: Profile::Rackspace, ..Setting::default() }).await;
    let source = door.instance("1234", "mysql", "5.6").await;
    for _ in 1..25 {
        door.instance("1234", "mysql", "5.7").await;
    }
    let answer = door.upgrade(MEMBER, source, TARGET).await;
    assert_eq!(answer.is(413, "overLimit"), "Quota exceeded for resources: ['instances'].");
    assert_eq!(answer.header("retry-after"), "", "waiting does not help");
    assert_eq!(rows(&door).await, (25, 0, 0));
    // It is the last thing that is looked at.
    door.upgrade(MEMBER, source, ("mysql", "8.0")).await.is(400, "badRequest");
}

#[tokio::test]
async fn c415_is_a_body_that_is_no_json() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    for kind in ["application/xml", "text/plain"] {
        let request = door.ask(MEMBER, "POST", &format!("instances/{source}/action"));
        let request = request.header("content-type", kind).body("{}");
        told(request).await.is(415, "badMediaType");
    }
}

#[tokio::test]
async fn c422_is_an_instance_that_is_not_free() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    let new = door.upgrade(MEMBER, source, TARGET).await;
    let new = new.ok(202)["instance"]["id"].as_str().unwrap().to_owned();
    let before = rows(&door).await;
    // A source, a replica that builds, and the same again when both wait for the customer.
    for state in ["", "verify_upgrade", "detaching", "deleting", "error", "building"] {
        if !state.is_empty() {
            // The state alone, without a task or a replica.
            door.sql("update task_instances set live = false").await;
            door.sql("update instances set replica_of = null").await;
            door.sql(&format!("update instances set state = '{state}'")).await;
        }
        for id in [&source.to_string(), &new] {
            door.upgrade(MEMBER, id, TARGET).await.is(422, "unprocessableEntity");
            // A busy instance answers so whatever the target is.
            door.upgrade(MEMBER, id, ("mysql", "8.0")).await.is(422, "unprocessableEntity");
        }
    }
    assert_eq!(door.count("instances").await, before.0);
    assert_eq!(door.count("tasks").await, before.1);
}

#[tokio::test]
async fn c422_is_content_that_cannot_be_carried() {
    let blockers = json!([{"object": "shop.carts", "why": "uses the engine MEMORY", "remedy": "convert it"}]);
    let door = TestApi::open_as(Setting { blockers, ..Setting::default() }).await;
    // Of a simulated server nothing is asked: nothing stands in its way.
    let source = door.instance_on("1234", "mariadb", "10.11", RuntimeKind::Process).await;
    let answer = door.upgrade(MEMBER, source, ("mariadb", "11.8")).await;
    assert!(answer.is(422, "unprocessableEntity").contains("shop.carts uses the engine MEMORY"));
    assert_eq!(rows(&door).await, (1, 0, 0));
}

#[tokio::test]
async fn c500_changes_nothing_and_says_nothing() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    let simulation = format!("mgmt/instances/{source}/simulation");
    let steps = json!({"steps": {"accept": {"fault": "fail"}, "seed": {"ms": 5, "fault": "hang"}}});
    door.send("admin@1", "PUT", &simulation, Some(&steps)).await.ok(200);
    let answer = door.upgrade(MEMBER, source, TARGET).await;
    let text = answer.is(500, "instanceFault");
    assert!(text.contains(answer.header("x-openstack-request-id")) && !text.contains("simulation"), "{text}");
    assert_eq!(rows(&door).await, (1, 0, 0));
    // It was for the next one; what is asked of the steps stays.
    let left = door.send("admin@1", "GET", &simulation, None).await;
    assert_eq!(left.ok(200), &json!({"steps": {"seed": {"ms": 5, "fault": "hang"}}}));
    door.upgrade(MEMBER, source, TARGET).await.ok(202);
}

#[tokio::test]
async fn c501_is_a_datastore_without_any_upgrade() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "percona", "5.7").await;
    let answer = door.upgrade(MEMBER, source, TARGET).await;
    assert_eq!(answer.is(501, "notImplemented"), "Datastore percona has no upgrades.");
    // Before the state and before the path.
    door.sql(
        "update instances set state = 'building', running_version_id = null, serving_generation_id = null",
    )
    .await;
    door.upgrade(MEMBER, source, TARGET).await.is(501, "notImplemented");
    assert_eq!(door.count("tasks").await, 0);
}

#[tokio::test]
async fn c503_is_maintenance() {
    let door = TestApi::open().await;
    let source = door.instance("1234", "mysql", "5.6").await;
    let on = json!({"on": true, "retry_after": 17});
    door.send("admin@1", "PUT", "mgmt/maintenance", Some(&on)).await.ok(200);
    let answer = door.upgrade(MEMBER, source, TARGET).await;
    answer.is(503, "serviceUnavailable");
    assert_eq!(answer.header("retry-after"), "17");
    // Before everything else: an unknown version, no token, another account, an unknown URI, a wrong method.
    for (token, method, path) in [
        (None, "GET", "/v9.9/1234/instances"),
        (None, "GET", "/v1.0/1234/instances"),
        (Some("bogus"), "GET", "/v1.0/1234/instances"),
        (Some(MEMBER), "GET", "/v1.0/9999/instances"),
        (Some(MEMBER), "GET", "/v1.0/1234/nothing"),
        (Some(MEMBER), "PUT", "/v1.0/1234/instances"),
        (Some("admin@1"), "GET", "/v1.0/1/mgmt/upgrade-paths"),
    ] {
        let answer = told(door.raw(token, method, path)).await;
        answer.is(503, "serviceUnavailable");
        assert_eq!(answer.header("retry-after"), "17", "{method} {path}");
    }
    // Versions, health, the identity, and the switch itself, which asks for an admin as ever.
    for path in ["/", "/v1.0", "/v1.0/", "/healthcheck", "/identity/v3"] {
        assert_eq!(told(door.raw(None, "GET", path)).await.status, 200, "{path}");
    }
    door.send(MEMBER, "GET", "mgmt/maintenance", None).await.is(403, "forbidden");
    door.send(MEMBER, "PUT", "mgmt/maintenance", Some(&json!({"on": false}))).await.is(403, "forbidden");
    told(door.raw(None, "PUT", "/v1.0/1/mgmt/maintenance")).await.is(401, "unauthorized");
    let seen = door.send("admin@1", "GET", "mgmt/maintenance", None).await;
    assert_eq!(seen.ok(200), &json!({"on": true, "retry_after": 17}));
    door.send("admin@1", "PUT", "mgmt/maintenance", Some(&json!({"on": false}))).await.ok(200);
    door.upgrade(MEMBER, source, TARGET).await.ok(202);
}

#[tokio::test]
async fn c503_is_no_host_that_runs_the_target() {
    let door = TestApi::open().await;
    let source = door.instance_on("1234", "mariadb", "10.11", RuntimeKind::Process).await;
    door.sql("delete from host_versions where series = '11.8'").await;
    let answer = door.upgrade(MEMBER, source, ("mariadb", "11.8")).await;
    answer.is(503, "serviceUnavailable");
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(rows(&door).await, (1, 0, 0));
}

/// Each request has everything wrong from its line on: the answer is the first of them.
#[tokio::test]
async fn the_first_that_fits_is_the_answer() {
    let door = TestApi::open_as(Setting { profile: Profile::Rackspace, ..Setting::default() }).await;
    let percona = door.instance("1234", "percona", "5.7").await;
    let source = door.instance("1234", "mysql", "5.6").await;
    let good = json!({"upgrade": {"datastore_type": "mysql", "datastore_version": "8.0"}}).to_string();
    let path = |id: &str| format!("/v1.0/1234/instances/{id}/action");
    let ask = async |token: Option<&str>, method: &str, path: &str, kind: &str, body: &str| {
        told(door.raw(token, method, path).header("content-type", kind).body(body.to_owned())).await
    };
    let (json, xml) = ("application/json", "application/xml");
    let reader = Some("reader@1234");
    ask(None, "PUT", "/v9.9/1234/instances/x/actions", xml, "{").await.is(404, "itemNotFound");
    ask(None, "PUT", "/v1.0/9999/instances/x/actions", xml, "{").await.is(401, "unauthorized");
    ask(reader, "PUT", "/v1.0/9999/instances/x/actions", xml, "{").await.is(403, "forbidden");
    ask(reader, "PUT", "/v1.0/1234/instances/x/actions", xml, "{").await.is(404, "itemNotFound");
    ask(reader, "PUT", &path("x"), xml, "{").await.is(405, "badMethod");
    ask(reader, "POST", &path("x"), xml, "{").await.is(415, "badMediaType");
    ask(reader, "POST", &path("x"), json, "{").await.is(400, "badRequest");
    let unknown = r#"{"upgrade": {"datastore_type": "oracle", "datastore_version": "8.0"}}"#;
    ask(reader, "POST", &path("x"), json, unknown).await.is(400, "badRequest");
    for _ in 0..2 {
        ask(reader, "POST", &path("x"), json, &good).await.is(403, "forbidden");
    }
    // The bucket of actions is full now, and it comes before the URI's, the body's and the role's turn.
    let sixth = ask(reader, "POST", &path("x"), xml, "{").await;
    sixth.is(413, "overLimit");
    let others = "member@5678";
    let theirs = |id: &str| format!("/v1.0/5678/instances/{id}/action");
    ask(Some(others), "POST", &theirs("x"), json, &good).await.is(404, "itemNotFound");
    door.sql("update instances set project_id = '5678'").await;
    door.sql(&format!("update instances set state = 'error' where id = '{percona}'")).await;
    let ids = (percona.to_string(), source.to_string());
    ask(Some(others), "POST", &theirs(&ids.0), json, &good).await.is(501, "notImplemented");
    door.sql("update instances set state = 'error'").await;
    ask(Some(others), "POST", &theirs(&ids.1), json, &good).await.is(422, "unprocessableEntity");
    door.sql("update instances set state = 'active'").await;
    let quota = json!({"quotas": {"instances": 0}});
    door.send("admin@1", "PUT", "mgmt/quotas/5678", Some(&quota)).await.ok(200);
    ask(Some(others), "POST", &theirs(&ids.1), json, &good).await.is(400, "badRequest");
    let allowed = good.replace("8.0", "5.7");
    ask(Some(others), "POST", &theirs(&ids.1), json, &allowed).await.is(413, "overLimit");
}
