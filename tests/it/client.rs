//! The unmodified OpenStack client against the bed, through its `clouds.yaml`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::upgrade::Strategy;
use serde_json::{Value, json};

use crate::harness::roles::Roles;
use crate::harness::{ask_for_detach, ask_for_upgrade, bed, delete, healthy, password, status};
use crate::upgrade::{ended, only, simulated};

/// Runs the client; its standard output as JSON where it asks for it.
pub fn openstack(cloud: &str, args: &[&str]) -> Result<Value, String> {
    openstack_of(&bed().state.join("clouds.yaml"), cloud, args)
}

/// The same for the clouds of this file.
pub fn openstack_of(clouds: &Path, cloud: &str, args: &[&str]) -> Result<Value, String> {
    let program = std::env::var("COFFER_TEST_CLIENT")
        .expect("COFFER_TEST_CLIENT is not set: `make test` installs the client and says where it is");
    let output = Command::new(program)
        .args(["--os-cloud", cloud])
        .args(args)
        .env("OS_CLIENT_CONFIG_FILE", clouds)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(serde_json::from_str(&stdout).unwrap_or(Value::Null))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unmodified_client_does_its_work() {
    use secrecy::ExposeSecret as _;

    let api = Client::login(&bed().state, "coffer").await.unwrap();
    let secret = password();
    let user = format!("app:{}", secret.expose_secret());
    let made = openstack(
        "coffer",
        &[
            "database",
            "instance",
            "create",
            "books",
            "--flavor",
            "2",
            "--size",
            "3",
            "--datastore",
            "mariadb",
            "--datastore-version",
            "10.11",
            "--databases",
            "shop",
            "--users",
            &user,
            "--nic",
            "net-id=0b1f6d52-90aa-4b6f-9d0e-6f2b1f3c4d5e",
            "-f",
            "json",
        ],
    )
    .unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["status"], "BUILD");
    healthy(&api, &id).await;

    let listed = openstack("coffer", &["database", "instance", "list", "-f", "json"]).unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["ID"] == id.as_str()).unwrap();
    assert_eq!(row["Name"], "books");
    assert_eq!(row["Datastore Version"], "10.11");
    let shown = openstack("coffer", &["database", "instance", "show", "books", "-f", "json"]).unwrap();
    assert_eq!(shown["operating_status"], "HEALTHY");
    openstack("coffer", &["database", "instance", "update", "books", "--name", "ledger"]).unwrap();
    let shown = openstack("coffer", &["database", "instance", "show", "ledger", "-f", "json"]).unwrap();
    assert_eq!(shown["id"], id.as_str());

    // The upgraded twin, as the client shows it.
    let new = ask_for_upgrade(&api, &id, "11.8").await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(120)).await;
    let twin =
        openstack("coffer", &["database", "instance", "show", "ledger_upgrade", "-f", "json"]).unwrap();
    assert_eq!(twin["id"], new.as_str());
    assert_eq!(twin["status"], "VERIFY_UPGRADE");
    assert_eq!(twin["datastore_version"], "11.8");
    assert_eq!(twin["replica_of"], id.as_str());
    ask_for_detach(&api, &new).await;
    healthy(&api, &new).await;

    // Who may: a reader looks and changes nothing; another project never learns that it exists.
    assert!(openstack("coffer-reader", &["database", "instance", "show", "ledger", "-f", "json"]).is_ok());
    // The client prints a line of its own for any refusal; what counts is that nothing happened.
    openstack("coffer-reader", &["database", "instance", "delete", &id]).unwrap_err();
    assert_eq!(api.show(&id).await.unwrap()["status"], "ACTIVE");
    let hidden = openstack("coffer-other", &["database", "instance", "show", &id]).unwrap_err();
    assert!(
        hidden.contains("404") || hidden.contains("No instance") || hidden.contains("cannot be found"),
        "{hidden}"
    );
    assert!(openstack("coffer-admin", &["database", "instance", "show", &id, "-f", "json"]).is_ok());

    openstack("coffer", &["database", "instance", "delete", "ledger_upgrade"]).unwrap();
    api.wait_until_gone(&new).await.unwrap();
    delete(&api, &[&id]).await;
}

#[test]
fn the_unmodified_client_reads_the_catalogue() {
    let stores = openstack("coffer", &["datastore", "list", "-f", "json"]).unwrap();
    assert_eq!(stores[0]["Name"], "mariadb");
    let versions = openstack("coffer", &["datastore", "version", "list", "mariadb", "-f", "json"]).unwrap();
    let names: Vec<_> = versions.as_array().unwrap().iter().map(|v| v["Name"].as_str().unwrap()).collect();
    assert!(names.contains(&"10.11") && names.contains(&"11.8"), "{names:?}");
    let flavors = openstack("coffer-reader", &["database", "flavor", "list", "-f", "json"]).unwrap();
    assert_eq!(flavors.as_array().unwrap().len(), 8);
}

/// The client's own command for an upgrade, unmodified: one that fails shows why, and one that succeeds the version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unmodified_client_upgrades_the_same_instance() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    only(&roles, Strategy::Twin).await;
    let id = simulated(&api).await;
    let clouds = roles.folder().join("state/clouds.yaml");
    let instance =
        |words: &[&str]| openstack_of(&clouds, "coffer", &[&["database", "instance"], words].concat());
    let simulation = format!("/mgmt/instances/{id}/simulation");
    admin.put(&simulation, &json!({"steps": {"drain": {"fault": "fail"}}})).await.unwrap();
    instance(&["upgrade", &id, "10.4"]).unwrap();
    assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "rolled_back");
    healthy(&api, &id).await;
    let shown = instance(&["show", &id, "-f", "json"]).unwrap();
    println!("{shown}");
    assert_eq!(
        (&shown["status"], &shown["datastore_version"]),
        (&json!("ACTIVE"), &json!("10.1")),
        "{shown}"
    );
    assert!(shown["fault"].as_str().unwrap().contains("The step drain failed"), "{shown}");

    admin.put(&simulation, &json!({"steps": {}})).await.unwrap();
    // By its name, too, as people write it; a version that there is not is refused.
    instance(&["upgrade", &id, "99"]).unwrap_err();
    instance(&["upgrade", "orders", "10.4"]).unwrap();
    assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "succeeded");
    healthy(&api, &id).await;
    let shown = instance(&["show", "orders", "-f", "json"]).unwrap();
    assert_eq!(
        (&shown["status"], &shown["datastore_version"]),
        (&json!("ACTIVE"), &json!("10.4")),
        "{shown}"
    );
    assert_eq!(shown.get("fault"), None, "{shown}");
    delete(&api, &[&id]).await;
}
