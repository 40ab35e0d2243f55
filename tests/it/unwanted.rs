//! Whoever deletes what is being made ends its making, whatever step that is at: nothing hangs that nobody can end.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::task::{Phase, Step, TaskKind};
use serde_json::json;

use crate::harness::pair::{self, Pair};
use crate::harness::roles::{Role, Roles};
use crate::harness::{ask_for_upgrade_of, delete, healthy, password, status, store, wait_for};
use crate::upgrade::simulated;

/// The task that makes the instance.
pub async fn making(api: &Client, id: &str) -> String {
    wait_for("its making is listed", Duration::from_secs(30), async || {
        let (_, seen) = api.read("/tasks").await.ok()?;
        let of = |task: &&serde_json::Value| task["instance_id"] == id && task["kind"] == "create";
        seen["tasks"].as_array()?.iter().find(of)?["id"].as_str().map(str::to_owned)
    })
    .await
}

/// Has steps of the instance's task go wrong.
async fn let_be(roles: &Roles, instance: &str, step: Step, fault: &str) {
    let id: uuid::Uuid = instance.parse().unwrap();
    let sql = "insert into simulations (instance_id, step, fault) values ($1, $2, $3)";
    roles.db().await.execute(sql, &[&id, &step.as_str(), &fault]).await.unwrap();
}

async fn at(api: &Client, task: &str, step: Step) {
    wait_for(&format!("it is at {step:?}"), Duration::from_secs(60), async || {
        (api.task(task).await.ok()?["step"] == step.as_str()).then_some(())
    })
    .await;
}

async fn gone(api: &Client, path: &str) {
    wait_for("it is gone", Duration::from_secs(60), async || {
        api.read(path).await.ok().filter(|(status, _)| *status == 404)
    })
    .await;
}

/// Nothing of it is anywhere: no address, server, claim, account or secret.
async fn nothing_is_left(roles: &Roles) {
    let db = roles.db().await;
    for what in [
        "endpoints",
        "relays",
        "task_instances where live",
        "generations where role <> 'dropped'",
        "tasks where ended_at is null",
        "tasks where secrets is not null",
        "task_steps where outcome is null and exists (select from tasks t where t.id = task_id and t.ended_at is null)",
        "simulated_servers",
        "accounts where instance_id is not null",
        "instances where deleted_at is null",
    ] {
        assert_eq!(store::count(&db, what).await, 0, "left over: {what}");
    }
}

/// A creation that is asked for while no worker runs, with a step that goes wrong.
async fn creation(roles: &mut Roles, api: &Client, faults: &[(Step, &str)]) -> (String, String) {
    roles.kill(Role::Worker(0));
    let id = api.create("orders", "10.1", "shop", "app", &password()).await.unwrap();
    for (step, fault) in faults {
        let_be(roles, &id, *step, fault).await;
    }
    roles.begin(Role::Worker(0)).await;
    let task = making(api, &id).await;
    (id, task)
}

/// At each step of a creation that hangs, with its worker at it and with its worker dead, by both calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_hangs_is_ended_by_its_deletion() {
    let mut roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    for (number, step) in TaskKind::Create.steps(Phase::Forward).iter().enumerate() {
        let (id, task) = creation(&mut roles, &api, &[(*step, "hang")]).await;
        at(&api, &task, *step).await;
        let is_dead = number % 2 == 1;
        if is_dead {
            roles.kill(Role::Worker(0));
        }
        if number % 3 == 0 {
            let cancel = format!("/tasks/{task}/cancel");
            for _ in 0..2 {
                assert_eq!(api.post(&cancel, &json!({})).await.unwrap().0, 202, "{step:?}");
            }
        } else {
            for _ in 0..2 {
                assert_eq!(api.remove(&format!("/instances/{id}")).await.unwrap().0, 202, "{step:?}");
            }
        }
        if is_dead {
            assert_eq!(api.show(&id).await.unwrap()["status"], "SHUTDOWN", "{step:?}");
            roles.begin(Role::Worker(0)).await;
        }
        gone(&api, &format!("/instances/{id}")).await;
        assert_eq!(api.task(&task).await.unwrap()["state"], "cancelled", "{step:?}");
        nothing_is_left(&roles).await;
    }
}

/// One that nobody has begun, one that waits for its next try, one that failed and is being taken away, and one that
/// could not be taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_is_ended_wherever_it_stands() {
    let mut roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;

    roles.kill(Role::Worker(0));
    let id = api.create("orders", "10.1", "shop", "app", &password()).await.unwrap();
    assert_eq!(api.remove(&format!("/instances/{id}")).await.unwrap().0, 202);
    roles.begin(Role::Worker(0)).await;
    gone(&api, &format!("/instances/{id}")).await;
    nothing_is_left(&roles).await;

    // Between two tries that are far apart.
    let (id, task) = creation(&mut roles, &api, &[(Step::Start, "hang")]).await;
    at(&api, &task, Step::Start).await;
    roles.kill(Role::Worker(0));
    let later = "update tasks set lease_until = null, lease_owner = null, not_before = now() + interval '1 hour' \
                 where ended_at is null";
    assert_eq!(roles.db().await.execute(later, &[]).await.unwrap(), 1);
    roles.begin(Role::Worker(0)).await;
    assert_eq!(api.remove(&format!("/instances/{id}")).await.unwrap().0, 202);
    gone(&api, &format!("/instances/{id}")).await;
    nothing_is_left(&roles).await;

    // Its undo ends with it gone, and not in error.
    let hold = "create.undo.unroute.before";
    roles.arm(hold);
    let (id, task) = creation(&mut roles, &api, &[(Step::Publish, "fail")]).await;
    roles.reached(hold).await;
    assert_eq!(api.remove(&format!("/instances/{id}")).await.unwrap().0, 202);
    roles.disarm(hold);
    gone(&api, &format!("/instances/{id}")).await;
    assert_eq!(api.task(&task).await.unwrap()["state"], "rolled_back");
    nothing_is_left(&roles).await;

    // Stuck: its deletion has it tried again, once what stood in its way was mended.
    let (id, task) = creation(&mut roles, &api, &[(Step::Publish, "fail"), (Step::DropServer, "fail")]).await;
    wait_for("it is stuck", Duration::from_secs(60), async || {
        (api.task(&task).await.ok()?["state"] == "needs_operator").then_some(())
    })
    .await;
    roles.db().await.execute("delete from simulations", &[]).await.unwrap();
    assert_eq!(api.remove(&format!("/instances/{id}")).await.unwrap().0, 202);
    gone(&api, &format!("/instances/{id}")).await;
    assert_eq!(api.task(&task).await.unwrap()["state"], "cancelled");
    nothing_is_left(&roles).await;
}

/// At each step of an action that hangs: the new instance goes, and its source is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_whose_new_side_hangs_is_abandoned_by_its_deletion() {
    let mut roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let id = simulated(&api).await;
    for (number, step) in TaskKind::ReplicaUpgrade.steps(Phase::Forward).iter().enumerate() {
        let_be(&roles, &id, *step, "hang").await;
        let new = ask_for_upgrade_of(&api, &id, "mariadb", "10.4").await;
        let task = api.task_of(&new).await.unwrap();
        at(&api, &task, *step).await;
        assert_eq!(api.show(&new).await.unwrap()["status"], "BUILD");
        if number % 2 == 1 {
            // Also after a restart in the middle.
            roles.kill(Role::Worker(0));
            roles.begin(Role::Worker(0)).await;
        }
        assert_eq!(api.remove(&format!("/instances/{new}")).await.unwrap().0, 202, "{step:?}");
        gone(&api, &format!("/instances/{new}")).await;
        assert_eq!(api.task(&task).await.unwrap()["state"], "cancelled", "{step:?}");
        healthy(&api, &id).await;
        assert!(api.show(&id).await.unwrap().get("replicas").is_none(), "{step:?}");
        let db = roles.db().await;
        db.execute("delete from simulations", &[]).await.unwrap();
        assert_eq!(store::count(&db, "simulated_servers").await, 1, "{step:?}");
        assert_eq!(
            store::count(&db, "relays").await + store::count(&db, "task_instances where live").await,
            0
        );
    }
    // It takes another.
    let new = ask_for_upgrade_of(&api, &id, "mariadb", "10.4").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    delete(&api, &[&new]).await;
    delete(&api, &[&id]).await;
    nothing_is_left(&roles).await;
}

/// A group while it is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_hangs_is_ended_by_its_deletion() {
    let mut roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    for (number, step) in TaskKind::CreateGroup.steps(Phase::Forward).iter().enumerate() {
        roles.kill(Role::Worker(0));
        let id = pair::ask(&api, "mariadb", "10.1").await;
        let (primary, _) = store::members(&db, &id).await;
        let_be(&roles, &primary, *step, "hang").await;
        roles.begin(Role::Worker(0)).await;
        let task = making(&api, &primary).await;
        at(&api, &task, *step).await;
        if number % 2 == 0 {
            assert_eq!(
                api.post(&format!("/tasks/{task}/cancel"), &json!({})).await.unwrap().0,
                202,
                "{step:?}"
            );
        } else {
            assert_eq!(api.remove(&format!("/ha/{id}")).await.unwrap().0, 202, "{step:?}");
        }
        gone(&api, &format!("/ha/{id}")).await;
        nothing_is_left(&roles).await;
        assert_eq!(store::count(&db, "groups where deleted_at is null").await, 0);
    }
    let pair = Pair::make(&api, "mariadb", "10.1").await;
    pair.delete(&api).await;
}

/// On real servers of both engines, while the server runs already, and while an upgrade's new side is filled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_servers_that_are_being_made_go() {
    let roles = Roles::start("process").await;
    let api = roles.login("coffer").await;
    let folders = || std::fs::read_dir(roles.state.join("generations")).map_or(0, Iterator::count);
    for (datastore, version, target) in [("mariadb", "10.11", "11.8"), ("postgresql", "15", "17")] {
        for step in ["place", "prepare"] {
            let hold = format!("create.forward.{step}.before");
            roles.arm(&hold);
            let id = api.create_of(datastore, "orders", version, "shop", "app", &password()).await.unwrap();
            roles.reached(&hold).await;
            assert_eq!(api.remove(&format!("/instances/{id}")).await.unwrap().0, 202);
            roles.disarm(&hold);
            gone(&api, &format!("/instances/{id}")).await;
            nothing_is_left(&roles).await;
            assert_eq!(folders(), 0, "{datastore} {step}");
        }
        let id = api.create_of(datastore, "orders", version, "shop", "app", &password()).await.unwrap();
        healthy(&api, &id).await;
        let hold = "upgrade.forward.replicate.before";
        roles.arm(hold);
        let new = ask_for_upgrade_of(&api, &id, datastore, target).await;
        roles.reached(hold).await;
        assert_eq!(api.remove(&format!("/instances/{new}")).await.unwrap().0, 202);
        roles.disarm(hold);
        gone(&api, &format!("/instances/{new}")).await;
        healthy(&api, &id).await;
        assert!(api.show(&id).await.unwrap().get("replicas").is_none());
        assert_eq!(folders(), 1, "{datastore}");
        delete(&api, &[&id]).await;
        nothing_is_left(&roles).await;
    }
}
