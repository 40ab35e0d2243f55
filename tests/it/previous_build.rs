//! What an earlier build left is opened by this one: instances, an upgrade in its hold, a follower that waits for its
//! customer, a server that is kept, a plan. The files in `previous_build/` are what the build before the kinds of tasks had files
//! of their own wrote (`what_this_build_leaves`, run there); their key and their passwords are of servers that never were.

use std::path::Path;
use std::time::Duration;

use coffer::domain::upgrade::Strategy;

use crate::harness::roles::Roles;
use crate::harness::tenant::SimulatedWriter;
use crate::harness::{ask_for_detach, ask_for_upgrade, healthy, status, store, wait_for};
use crate::upgrade::{ended, only, patch};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/previous_build")
}

/// Writes `previous_build/`: to be run where the build that shall be opened later is the newest one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes tests/it/previous_build, by hand: cargo nextest run --test it --run-ignored all -E 'test(what_this_build_leaves)'"]
async fn what_this_build_leaves() {
    let roles = Roles::start_to_leave("simulated").await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    let make = async |name: &str, version: &str| {
        let id = api.create(name, version, "shop", "app", &crate::harness::password()).await.unwrap();
        healthy(&api, &id).await;
        let writer = SimulatedWriter::at_address(roles.url(), &id);
        wait_for("rows", Duration::from_secs(30), async || {
            (writer.acknowledged.lock().unwrap().len() > 20).then_some(())
        })
        .await;
        writer.stop().await;
        id
    };
    make("plain", "10.1").await;
    let source = make("source", "10.1").await;
    let follower = ask_for_upgrade(&api, &source, "10.4").await;
    status(&api, &follower, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    only(&roles, Strategy::InPlace).await;
    let kept = make("kept", "10.1").await;
    patch(&api, &kept, "10.4").await;
    assert_eq!(ended(&api, &kept, Duration::from_secs(60)).await["state"], "succeeded");
    db.execute("update generations set keep_until = '2100-01-01' where role = 'retired'", &[]).await.unwrap();
    only(&roles, Strategy::Twin).await;
    let held = make("held", "10.1").await;
    let point = "upgrade_twin.forward.drain.before";
    roles.arm(point);
    patch(&api, &held, "10.4").await;
    roles.reached(point).await;
    drop((api, db));
    roles.leave(&folder());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_build_left_goes_on() {
    let roles = Roles::start_on("simulated", &folder()).await;
    let (api, db) = (roles.login("coffer").await, roles.db().await);
    let (_, list) = api.read("/instances").await.unwrap();
    let id = |name: &str| {
        let all = list["instances"].as_array().unwrap();
        let found = all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name} in {list}"));
        found["id"].as_str().unwrap().to_owned()
    };
    let version = async |name: &str| api.show(&id(name)).await.unwrap()["datastore"]["version"].clone();
    // The one in its hold goes on from the step at which its worker was killed.
    assert_eq!(ended(&api, &id("held"), Duration::from_secs(90)).await["state"], "succeeded");
    let rows = async |name: &str| -> i64 {
        let sql = "select count(*) from simulated_writes w join instances i on i.serving_generation_id = w.generation_id \
                   where i.id = $1";
        let instance: uuid::Uuid = id(name).parse().unwrap();
        db.query_one(sql, &[&instance]).await.unwrap().get(0)
    };
    for (name, is) in [("plain", "10.1"), ("kept", "10.4"), ("source", "10.1"), ("held", "10.4")] {
        if name != "source" {
            healthy(&api, &id(name)).await;
        }
        assert_eq!(version(name).await, is, "{name}");
        let rows = rows(name).await;
        assert!(rows > 20, "{name} has {rows} rows");
    }
    assert_eq!(store::count(&db, "generations where role = 'retired'").await, 2, "what is kept is kept");
    assert_eq!(store::count(&db, "holds").await, 0);
    // The follower's customer decides.
    let source = api.show(&id("source")).await.unwrap();
    let follower = source["replicas"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(api.show(&follower).await.unwrap()["status"], "VERIFY_UPGRADE");
    ask_for_detach(&api, &follower).await;
    healthy(&api, &follower).await;
    assert_eq!(api.show(&follower).await.unwrap()["datastore"]["version"], "10.4");
    // And what was plain is upgraded like any other.
    let before = rows("plain").await;
    let writer = SimulatedWriter::at_address(roles.url(), &id("plain"));
    patch(&api, &id("plain"), "10.4").await;
    assert_eq!(ended(&api, &id("plain"), Duration::from_secs(60)).await["state"], "succeeded");
    let acknowledged = i64::try_from(writer.stop().await.len()).unwrap();
    let after = rows("plain").await;
    assert!(
        acknowledged > 5 && after >= before + acknowledged,
        "{before} and {acknowledged} rows became {after}"
    );
}
