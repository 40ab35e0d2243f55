//! One upgrade after another: what the first one keeps is there until the second one's new version serves.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::cli::demo::ledger::Ledger;
use coffer::cli::demo::writers::Writers;
use coffer::domain::upgrade::Strategy;
use serde_json::{Value, json};

use crate::harness::builds::Builds;
use crate::harness::roles::{Role, Roles};
use crate::harness::rpc::Rpc;
use crate::harness::tenant::SimulatedWriter;
use crate::harness::vendors::Vendors;
use crate::harness::{delete, healthy, store, wait_for};
use crate::hops::line;
use crate::huawei::Http;
use crate::stuck::admin;
use crate::upgrade::{assert_written, ended, patch, simulated};

/// The versions of the instance's servers in that role.
async fn versions(db: &tokio_postgres::Client, id: &str, role: &str) -> Vec<String> {
    let sql = "select v.name from generations g join datastore_versions v on v.id = g.version_id \
               join simulated_servers s on s.generation_id = g.id where g.role = $2 and g.instance_id = $1";
    let id: uuid::Uuid = id.parse().unwrap();
    db.query(sql, &[&id, &role]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn upgrade(api: &Client, id: &str, more: Value) -> (u16, Value) {
    let mut body = json!({"upgrade": {"datastore_version": "10.4enc"}});
    for (key, value) in more.as_object().unwrap() {
        body["upgrade"][key] = value.clone();
    }
    api.post(&format!("/instances/{id}/upgrades"), &body).await.unwrap()
}

/// By each strategy: foretold, refused where it is to stay, there after an upgrade that failed at its last moment, there
/// when the new version serves, and gone afterwards, also where the worker is killed in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_goes_after_the_cutover_and_not_before() {
    let mut roles = Roles::start("simulated").await;
    let (api, manager) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    for (strategy, kind) in [(Strategy::InPlace, "upgrade_in_place"), (Strategy::Twin, "upgrade_twin")] {
        let ways = [strategy];
        line(&roles, &[("10.1", "10.4", &ways), ("10.4", "10.4enc", &ways)]).await;
        let id = simulated(&api).await;
        let writer = SimulatedWriter::at_address(roles.url(), &id);
        patch(&api, &id, "10.4").await;
        assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "succeeded");
        healthy(&api, &id).await;
        assert_eq!(versions(&db, &id, "retired").await, ["10.1"]);

        // What the dry run says, and what is refused.
        let (status, seen) = upgrade(&api, &id, json!({"dry_run": true})).await;
        let told = &seen["upgrade"]["replaces"];
        assert_eq!((status, &told["version"]), (200, &json!("mariadb 10.1")), "{seen}");
        assert!(
            told["kept_until"].is_string()
                && told["why"].as_str().unwrap().contains("until the new version serves")
        );
        for dry_run in [true, false] {
            let (status, seen) = upgrade(&api, &id, json!({"dry_run": dry_run, "keep_retired": true})).await;
            let text = seen.to_string();
            assert_eq!(status, 422, "{text}");
            assert!(
                text.contains(&format!("POST /instances/{id}/upgrades")) && text.contains("keep_retired"),
                "{text}"
            );
        }
        assert_eq!(upgrade(&api, &id, json!({"keep_retired": "yes"})).await.0, 400);

        // The last moment before the one-way point.
        let simulation = format!("/mgmt/instances/{id}/simulation");
        let fail = json!({"steps": {"switch": {"fault": "fail"}}});
        assert_eq!(manager.put(&simulation, &fail).await.unwrap().0 / 100, 2);
        let (status, seen) = upgrade(&api, &id, json!({"drop_retired": true})).await;
        assert_eq!(
            (status, &seen["upgrade"]["replaces"]["version"]),
            (202, &json!("mariadb 10.1")),
            "{seen}"
        );
        assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "rolled_back");
        healthy(&api, &id).await;
        assert_eq!(versions(&db, &id, "retired").await, ["10.1"], "until then there is a way back");
        assert_eq!(manager.put(&simulation, &json!({"steps": {}})).await.unwrap().0 / 100, 2);

        // The word that PATCH cannot say is not needed.
        let begun = format!("{kind}.finish.retire.begun.{id}");
        let done = format!("{kind}.finish.retire.before");
        for point in [&begun, &done] {
            roles.arm(point);
        }
        patch(&api, &id, "10.4enc").await;
        roles.reached(&begun).await;
        assert_eq!(versions(&db, &id, "serving").await, ["10.4enc"]);
        assert_eq!(versions(&db, &id, "retired").await, ["10.4"]);
        assert_eq!(versions(&db, &id, "candidate").await, ["10.1"], "not gone before the new version serves");
        for point in [&begun, &done] {
            roles.kill(Role::Worker(0));
            roles.disarm(point);
            roles.begin(Role::Worker(0)).await;
            if point == &begun {
                roles.reached(&done).await;
            }
        }
        let over = ended(&api, &id, Duration::from_secs(60)).await;
        assert_eq!(
            (&over["state"], &over["replaces"]["version"]),
            (&json!("succeeded"), &json!("mariadb 10.1"))
        );
        healthy(&api, &id).await;
        assert_eq!(versions(&db, &id, "retired").await, ["10.4"], "one is kept");
        assert_eq!(
            store::count(&db, "simulated_servers").await,
            2,
            "the one that serves, and the one that is kept"
        );
        assert_eq!(store::count(&db, "generations where role = 'candidate'").await, 0);
        assert_written(&roles, &id, &writer.stop().await).await;
        delete(&api, &[&id]).await;
        assert_eq!(store::count(&db, "simulated_servers").await, 0);
    }
}

/// An upgrade over two versions takes the place of what is kept with its first hop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_of_several_hops_takes_the_place_of_what_is_kept() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let db = roles.db().await;
    let (twin, in_place) = ([Strategy::Twin], [Strategy::InPlace]);
    line(
        &roles,
        &[("10.1", "10.1enc", &in_place), ("10.1enc", "10.4", &twin), ("10.4", "10.4enc", &in_place)],
    )
    .await;
    let id = simulated(&api).await;
    patch(&api, &id, "10.1enc").await;
    assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "succeeded");
    healthy(&api, &id).await;
    assert_eq!(versions(&db, &id, "retired").await, ["10.1"]);
    assert_eq!(upgrade(&api, &id, json!({})).await.0, 202);
    let over = ended(&api, &id, Duration::from_secs(120)).await;
    assert_eq!(
        (&over["state"], &over["replaces"]["version"]),
        (&json!("succeeded"), &json!("mariadb 10.1")),
        "{over}"
    );
    healthy(&api, &id).await;
    assert_eq!(versions(&db, &id, "retired").await, ["10.1enc"], "what served when it was accepted");
    assert_eq!(store::count(&db, "simulated_servers").await, 2);
    delete(&api, &[&id]).await;
}

/// A double fault of an upgrade while an earlier one's old server is kept: an operator can end it as it stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_a_second_upgrade_that_is_stuck() {
    let roles = Roles::start("simulated").await;
    let (api, manager) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    let ways = [Strategy::InPlace];
    line(&roles, &[("10.1", "10.4", &ways), ("10.4", "10.4enc", &ways)]).await;
    for (faults, serving, kept, serves) in
        [(&["transform", "reinstate"][..], "old", "10.1", "10.4"), (&["retire"], "new", "10.4", "10.4enc")]
    {
        let id = simulated(&api).await;
        patch(&api, &id, "10.4").await;
        assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "succeeded");
        healthy(&api, &id).await;
        let steps: serde_json::Map<_, _> =
            faults.iter().map(|step| ((*step).to_owned(), json!({"fault": "fail"}))).collect();
        let simulation = format!("/mgmt/instances/{id}/simulation");
        assert_eq!(manager.put(&simulation, &json!({"steps": steps})).await.unwrap().0 / 100, 2);
        patch(&api, &id, "10.4enc").await;
        let stuck = ended(&api, &id, Duration::from_secs(60)).await;
        assert_eq!(stuck["state"], "needs_operator", "{stuck}");
        let (done, told) = admin(&roles, &["resolve", stuck["id"].as_str().unwrap(), "--serving", serving]);
        assert!(done, "{faults:?}: {told}");
        healthy(&api, &id).await;
        wait_for("what is not kept goes", Duration::from_secs(30), async || {
            (store::count(&db, "simulated_servers").await == 2).then_some(())
        })
        .await;
        assert_eq!(versions(&db, &id, "serving").await, [serves], "{faults:?}");
        assert_eq!(versions(&db, &id, "retired").await, [kept], "{faults:?}");
        delete(&api, &[&id]).await;
    }
}

/// Minor, then major: the ordinary way, by the vendors' clients, which cannot say what is to become of the old server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minor_and_a_major_come_one_after_the_other_by_the_vendors_calls() {
    let shop = Vendors::simulated().await;
    let (rpc, http) = (Rpc::of(&shop, "coffer"), Http::of(&shop).await);
    let older = shop.older("mysql", "5.7").await;
    let id = shop.create("mysql", "two", &older).await;
    let digits = id.replace('-', "");
    let (rm, hw) = (format!("rm-{digits}"), format!("{digits}in01"));
    let (code, asked) = http.send("POST", &format!("/instances/{hw}/db-upgrade"), Some("{}")).await;
    assert_eq!(code, 202, "{asked}");
    assert_eq!(ended(&shop.api, &id, Duration::from_secs(60)).await["state"], "succeeded");
    healthy(&shop.api, &id).await;
    let up = [("DBInstanceId", &*rm), ("EngineVersion", "8.0")];
    let (code, asked) = rpc.ask("UpgradeDBInstanceEngineVersion", &up).await;
    assert_eq!(code, 200, "{asked}");
    assert_eq!(ended(&shop.api, &id, Duration::from_secs(60)).await["state"], "succeeded");
    healthy(&shop.api, &id).await;
    delete(&shop.api, &[&id]).await;
}

/// On a real server with writers: two builds of a series, then the next major version, each by PATCH.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_goes_to_the_next_build_and_on_to_the_next_version() {
    let Some(builds) = Builds::start("postgresql", "15").await else { return };
    let api = builds.house.login("coffer").await;
    let older = crate::builds::older(&api, "postgresql", "15").await;
    let password = crate::harness::password();
    let id = api.create_of("postgresql", "elephant", &older, "shop", "app", &password).await.unwrap();
    let address = healthy(&api, &id).await;
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    ledger.load(500).await.unwrap();
    let writers = Writers::start_at(&ledger.door(), 4);
    writers.until(|tally| tally.acknowledged > 50, Duration::from_secs(30)).await.unwrap();
    for target in ["15", "17"] {
        patch(&api, &id, target).await;
        let upgrade = ended(&api, &id, Duration::from_secs(240)).await;
        assert_eq!(upgrade["state"], "succeeded", "{upgrade}");
        assert_eq!(healthy(&api, &id).await, address);
        assert_eq!(
            std::fs::read_dir(builds.house.generations()).unwrap().count(),
            2,
            "one serves, one is kept"
        );
    }
    let tally = writers.stop().await.unwrap();
    let ledger = Ledger::open(&address, "shop", "app", &password).await.unwrap();
    assert!(ledger.version().await.unwrap().starts_with("17"));
    let found = ledger.find(&tally).await.unwrap();
    assert_eq!((found.missing, found.ledger_fits), (0, true), "{found:?}");
    delete(&api, &[&id]).await;
}
