//! Rate limits, page sizes and quotas.

use coffer::api::limits::Profile;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::client::openstack;
use crate::test_api::{Setting, TestApi, told};

const ADMIN: &str = "admin@1";
const MEMBER: &str = "member@1234";

async fn door(profile: Profile) -> TestApi {
    TestApi::open_as(Setting { profile, pool: 16, ..Setting::default() }).await
}

fn creation(gb: u32) -> Value {
    json!({"instance": {"name": "n1", "flavorRef": "1", "volume": {"size": gb},
        "datastore": {"type": "mysql", "version": "5.7"}}})
}

/// The statuses of as many creations at once, counted: taken, and over the limit.
async fn at_once(door: &TestApi, creations: usize, gb: u32) -> (usize, usize) {
    let body = creation(gb);
    let told = join_all((0..creations).map(|_| door.send(MEMBER, "POST", "instances", Some(&body)))).await;
    let of = |status: u16| told.iter().filter(|told| told.status == status).count();
    assert_eq!(of(200) + of(413), creations, "{:?}", told.iter().map(|told| told.status).collect::<Vec<_>>());
    (of(200), of(413))
}

#[tokio::test]
async fn as_many_at_once_as_there_may_be_pass_the_quota_and_no_more() {
    let door = door(Profile::Off).await;
    let quota = json!({"quotas": {"instances": 7, "volumes": 40, "ram": null}});
    let set = door.send(ADMIN, "PUT", "mgmt/quotas/1234", Some(&quota)).await;
    assert_eq!(set.ok(200), &json!({"quotas": {"instances": 7, "volumes": 40}}));
    assert_eq!(at_once(&door, 30, 1).await, (7, 23));
    assert_eq!(door.count("instances").await, 7);
    assert_eq!(door.count("tasks").await, 7, "what was refused left nothing");
    // Another project has its own; the volumes' limit is its own, too.
    let more = json!({"quotas": {"instances": -1, "volumes": 10}});
    door.send(ADMIN, "PUT", "mgmt/quotas/1234", Some(&more)).await.ok(200);
    assert_eq!(at_once(&door, 5, 2).await, (1, 4), "7 GB are there, 2 fit, 2 more do not");
    let answer = door.send(MEMBER, "POST", "instances", Some(&creation(2))).await;
    assert_eq!(answer.is(413, "overLimit"), "Quota exceeded for resources: ['volumes'].");
    door.send("member@5678", "POST", "instances", Some(&creation(2))).await.ok(200);
}

/// Projects do not wait for each other, and do not stand in each other's way.
#[tokio::test]
async fn projects_create_at_once() {
    let door = door(Profile::Trove).await;
    let body = creation(1);
    let who: Vec<String> = (0..30).map(|n| format!("member@p{n}")).collect();
    let began = std::time::Instant::now();
    let told = join_all(who.iter().map(|who| door.send(who, "POST", "instances", Some(&body)))).await;
    for told in &told {
        told.ok(200);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(door.count("(select distinct address from endpoints) a").await, 30);
}

#[tokio::test]
async fn upgrades_at_once_cannot_pass_the_quota() {
    let door = door(Profile::Rackspace).await;
    let mut sources = Vec::new();
    for _ in 0..4 {
        sources.push(door.instance("1234", "mysql", "5.6").await);
    }
    let quota = json!({"quotas": {"instances": 6}});
    door.send(ADMIN, "PUT", "mgmt/quotas/1234", Some(&quota)).await.ok(200);
    let told = join_all(sources.iter().map(|id| door.upgrade(MEMBER, id, ("mysql", "5.7")))).await;
    let of = |status: u16| told.iter().filter(|told| told.status == status).count();
    assert_eq!((of(202), of(413)), (2, 2));
    assert_eq!(door.count("instances").await, 6);
    // A source that was refused is as free as before.
    assert_eq!(door.count("instances where state = 'feeding_upgrade'").await, 2);
    assert_eq!(door.count("task_instances").await, 4);
}

#[tokio::test]
async fn a_quota_is_seen_by_its_project_and_set_by_admins() {
    let door = door(Profile::Trove).await;
    door.instance("1234", "mysql", "5.6").await;
    let seen = door.send("reader@1234", "GET", "mgmt/quotas/1234", None).await;
    let quota = |resource: &str, in_use: i64, limit: i64| json!({"resource": resource, "in_use": in_use, "reserved": 0, "limit": limit});
    let quotas =
        [quota("instances", 1, 10), quota("volumes", 2, 40), quota("backups", 0, 50), quota("ram", 1024, -1)];
    assert_eq!(seen.ok(200), &json!({"quotas": quotas}));
    door.send(MEMBER, "GET", "mgmt/quotas/5678", None).await.is(403, "forbidden");
    door.send(ADMIN, "GET", "mgmt/quotas/1234", None).await.ok(200);
    door.send(ADMIN, "GET", "mgmt/quotas/no%20project", None).await.is(404, "itemNotFound");
    for (body, status, name) in [
        (json!({"quotas": {"instances": -2}}), 400, "badRequest"),
        (json!({"quotas": {"instances": "5"}}), 400, "badRequest"),
        (json!({"quotas": []}), 400, "badRequest"),
        (json!({}), 400, "badRequest"),
        (json!({"quotas": {"cars": 1}}), 404, "itemNotFound"),
    ] {
        door.send(ADMIN, "PUT", "mgmt/quotas/1234", Some(&body)).await.is(status, name);
    }
    let good = json!({"quotas": {"instances": 3, "backups": -1, "volumes": null}});
    door.send(MEMBER, "PUT", "mgmt/quotas/1234", Some(&good)).await.is(403, "forbidden");
    assert_eq!(door.count("quotas").await, 0);
    let set = door.send(ADMIN, "PUT", "mgmt/quotas/1234", Some(&good)).await;
    assert_eq!(set.ok(200), &json!({"quotas": {"instances": 3, "backups": -1}}));
    let limits = door.send(MEMBER, "GET", "limits", None).await;
    assert_eq!(
        limits.ok(200)["limits"][0],
        json!({"verb": "ABSOLUTE", "max_instances": 3, "max_volumes": 40, "max_backups": -1, "max_ram": -1})
    );
    let rates = limits.body["limits"].as_array().unwrap();
    let verbs: Vec<_> = rates[1..].iter().map(|rate| rate["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["POST", "PUT", "DELETE", "GET"]);
    let get = rates.last().unwrap();
    let keys: Vec<_> = get.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["nextAvailable", "regex", "remaining", "unit", "uri", "value", "verb"]);
    assert_eq!((&get["uri"], &get["regex"], &get["value"]), (&json!("*"), &json!(".*"), &json!(200)));
    assert!(
        get["remaining"].as_u64().unwrap() < 200 && get["nextAvailable"].as_str().unwrap().ends_with('Z')
    );
}

#[tokio::test]
async fn two_hundred_requests_a_minute_are_troves() {
    let door = door(Profile::Trove).await;
    for _ in 0..200 {
        door.send(MEMBER, "GET", "nothing", None).await.is(404, "itemNotFound");
    }
    let over = door.send(MEMBER, "GET", "nothing", None).await;
    over.is(413, "overLimit");
    assert_eq!(over.body["overLimit"]["details"], "Only 200 GET request(s) can be made to * every minute.");
    assert!(over.header("retry-after").parse::<u32>().is_ok());
    // It comes after the token and the account, and before the URI; another user of the account shares it.
    told(door.raw(None, "GET", "/v1.0/1234/nothing")).await.is(401, "unauthorized");
    told(door.raw(Some(MEMBER), "GET", "/v1.0/5678/nothing")).await.is(403, "forbidden");
    door.send("reader@1234", "GET", "instances", None).await.is(413, "overLimit");
    door.send(MEMBER, "DELETE", "nothing", None).await.is(404, "itemNotFound");
}

#[tokio::test]
async fn pages_have_the_size_of_the_profile() {
    for (profile, first, with_limit) in
        [(Profile::Trove, 20, 20), (Profile::Rackspace, 20, 22), (Profile::Off, 23, 22)]
    {
        let door = door(profile).await;
        for _ in 0..23 {
            door.instance("1234", "mysql", "5.6").await;
        }
        let page = async |query: &str| {
            let answer = door.send(MEMBER, "GET", &format!("instances{query}"), None).await;
            let view = answer.ok(200).clone();
            (view["instances"].as_array().unwrap().len(), view.get("links").is_some())
        };
        assert_eq!(page("").await, (first, first < 23), "{profile:?}");
        assert_eq!(page("?limit=22").await, (with_limit, true), "{profile:?}");
        assert_eq!(page("?limit=3").await, (3, true), "{profile:?}");
    }
}

/// The unmodified client reads and sets quotas, and reads limits.
#[test]
fn the_openstack_client_manages_quotas() {
    // A project that nobody has; the client takes what looks like an id for one.
    let project = uuid::Uuid::new_v4().simple().to_string();
    let show = ["database", "quota", "show", &project, "-f", "json"];
    let limit = |rows: Value, resource: &str| {
        let rows = rows.as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["Resource"] == resource).unwrap();
        (row["In Use"].clone(), row["Reserved"].clone(), row["Limit"].clone())
    };
    let before = openstack("coffer-admin", &show).unwrap();
    assert_eq!(limit(before, "instances"), (json!(0), json!(0), json!(-1)));
    let update = ["database", "quota", "update", &project, "instances", "3", "-f", "json"];
    openstack("coffer-admin", &update).unwrap();
    assert_eq!(limit(openstack("coffer-admin", &show).unwrap(), "instances").2, json!(3));
    for command in [&show[..], &update] {
        let told = openstack("coffer", command).unwrap_err();
        assert!(told.contains("403"), "{told}");
    }
    openstack("coffer-reader", &["database", "limit", "list", "-f", "json"]).unwrap();
}
