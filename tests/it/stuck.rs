//! A double fault: an upgrade fails, and so does its way back, or it fails past its one-way point. Everything is kept, an
//! operator sees it, and ends it as it stands.

use std::process::Command;
use std::time::Duration;

use coffer::domain::upgrade::Strategy;
use serde_json::json;

use crate::harness::roles::Roles;
use crate::harness::tenant::SimulatedWriter;
use crate::harness::{delete, healthy, store, wait_for};
use crate::upgrade::{assert_written, ended, only, patch, simulated};

/// `coffer admin task …` on the roles' store.
pub fn admin(roles: &Roles, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
    let output =
        command.args(["admin", "task"]).args(arguments).env("DATABASE_URL", roles.url()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_what_is_stuck_as_it_stands() {
    let roles = Roles::start("simulated").await;
    let (api, manager) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    for (strategy, faults, serving) in [
        // The old server is stopped, and its address is held.
        (Strategy::InPlace, &["transform", "reinstate"][..], "old"),
        // It serves again, and what is left of the candidate could not be deleted.
        (Strategy::Twin, &["switch", "drop_server"], "old"),
        // The new one serves already, and the old one could not be stopped.
        (Strategy::Twin, &["retire"], "new"),
        // The new one is the one that serves, and takes no writes yet.
        (Strategy::InPlace, &["admit"], "new"),
    ] {
        let what = format!("{strategy:?} {faults:?}");
        only(&roles, strategy).await;
        let id = simulated(&api).await;
        let writer = SimulatedWriter::at_address(roles.url(), &id);
        let simulation = format!("/mgmt/instances/{id}/simulation");
        let steps: serde_json::Map<_, _> =
            faults.iter().map(|step| ((*step).to_owned(), json!({"fault": "fail"}))).collect();
        manager.put(&simulation, &json!({"steps": steps})).await.unwrap();
        patch(&api, &id, "10.4").await;
        let upgrade = ended(&api, &id, Duration::from_secs(60)).await;
        assert_eq!(upgrade["state"], "needs_operator", "{what}: {upgrade}");
        let task = upgrade["id"].as_str().unwrap();
        assert_eq!(api.show(&id).await.unwrap()["status"], "UPGRADE", "{what}");
        assert_eq!(store::count(&db, "generations where role <> 'dropped'").await, 2, "{what}");

        let (shown, told) = admin(&roles, &["show", task]);
        assert!(shown, "{what}: {told}");
        for part in [
            "state      needs_operator",
            "kind       upgrade_",
            "\"from_title\": \"mariadb 10.1\"",
            &format!("{} ", faults.last().unwrap()),
            "failed after",
            "was asked to fail",
            &format!("instance {id} is UPGRADE"),
            "old, mariadb 10.1",
            "new, mariadb 10.4",
        ] {
            assert!(told.contains(part), "{what}: {part}: {told}");
        }
        assert_eq!(told.contains("holds connections since"), strategy == Strategy::InPlace, "{what}: {told}");
        if faults[0] == "transform" {
            println!("{told}");
        }
        let (other, end) = if serving == "old" { ("new", "rolled_back") } else { ("old", "succeeded") };
        for (said, reason) in [
            (other, format!("by the record the {serving} server serves")),
            ("", format!("by the record the {serving} server serves")),
        ] {
            let (done, told) = admin(&roles, &["resolve", task, "--serving", said]);
            assert!(!done && told.contains(&reason), "{what}: {told}");
        }
        assert_eq!(api.task(task).await.unwrap()["state"], "needs_operator", "a refusal changes nothing");
        let (done, told) = admin(&roles, &["resolve", task, "--serving", serving]);
        assert!(done, "{what}: {told}");
        assert!(told.contains(end) && told.contains("kept until"), "{what}: {told}");

        healthy(&api, &id).await;
        let seen = api.show(&id).await.unwrap();
        let version = if serving == "old" { "10.1" } else { "10.4" };
        assert_eq!(seen["datastore"]["version"], version, "{what}");
        match seen.get("fault") {
            Some(fault) => {
                assert_eq!(serving, "old", "{what}: {fault}");
                assert!(fault["message"].as_str().unwrap().contains(faults[0]), "{what}: {fault}");
            }
            None => assert_eq!(serving, "new", "{what}"),
        }
        assert_eq!(api.task(task).await.unwrap()["state"], end, "{what}");
        for left in ["holds", "relays", "task_instances where live", "generations where role = 'candidate'"] {
            assert_eq!(store::count(&db, left).await, 0, "{what}: {left}");
        }
        let kept = "generations where role = 'retired' and keep_until > now() + interval '23 hours'";
        assert_eq!(store::count(&db, kept).await, 1, "{what}: what was made is kept");
        // A fence that is still there at run time goes with the process.
        let fenced = "update simulated_servers s set state = 'dead' from generations g \
                      where g.id = s.generation_id and g.role = 'serving' and s.read_only";
        db.execute(fenced, &[]).await.unwrap();
        let before = writer.acknowledged.lock().unwrap().len();
        wait_for(&format!("{what}: the tenant writes on"), Duration::from_secs(30), async || {
            (writer.acknowledged.lock().unwrap().len() > before + 5).then_some(())
        })
        .await;
        assert_written(&roles, &id, &writer.stop().await).await;
        let writable = "simulated_servers where state = 'running' and not read_only";
        assert_eq!(store::count(&db, writable).await, 1, "{what}: one server takes writes");
        let (again, told) = admin(&roles, &["resolve", task, "--serving", serving]);
        assert!(!again && told.contains("not needs_operator"), "{what}: {told}");

        // The next upgrade takes the place of what is kept.
        manager.put(&simulation, &json!({"steps": {}})).await.unwrap();
        if serving == "old" {
            let upgrades = format!("/instances/{id}/upgrades");
            let mut body = json!({"upgrade": {"datastore_version": "10.4", "keep_retired": true}});
            let (code, answer) = api.post(&upgrades, &body).await.unwrap();
            assert_eq!(code, 422, "{what}: {answer}");
            body["upgrade"]["keep_retired"] = false.into();
            assert_eq!(api.post(&upgrades, &body).await.unwrap().0, 202, "{what}");
            assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "succeeded", "{what}");
            healthy(&api, &id).await;
        }
        delete(&api, &[&id]).await;
        assert_eq!(store::count(&db, "simulated_servers").await, 0, "{what}");
    }
}
