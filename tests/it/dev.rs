//! What `coffer dev` promises of itself.

use std::process::Command;
use std::time::Duration;

use coffer::cli::demo::shop::Shop;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::house::House;
use crate::harness::{open_shop, processes, wait_for};

/// With `--keep-instances` a stop leaves servers and addresses as they are, and the next `dev` adopts them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_can_outlive_it() {
    let mut house = House::start_with(&["--keep-instances"]).await;
    let api = house.login("coffer").await;
    let kept = open_shop(&api, "kept", "11.8").await;
    let shop = Shop::open(&kept.address, "shop", "app", &kept.password).await.unwrap();
    shop.load(100, |_| {}).await.unwrap();
    let db = house.store().await;
    let engine = house.engine_pid(&db, &kept.id).await;
    drop(db);

    house.stop_dev().await;
    assert!(
        shop.insert_apart("old").await.unwrap(),
        "the address serves while dev is away, also to a new connection"
    );
    let fresh = Shop::open(&kept.address, "shop", "app", &kept.password).await.unwrap();
    assert!(fresh.sees_apart("old").await.unwrap());

    house.forget_arguments();
    house.start_again().await;
    let api = house.login("coffer").await;
    let db = house.store().await;
    assert_eq!(house.engine_pid(&db, &kept.id).await, engine, "the server was adopted, not started again");
    drop(db);
    house.leave_nothing(&api, &[&kept.id]).await;
}

/// Two on one folder: the second refuses and names the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_on_a_folder_names_the_first() {
    let mut house = House::start().await;
    let output = Command::new(env!("CARGO_BIN_EXE_coffer"))
        .args(["dev", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(&house.state)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("another coffer dev serves the state folder") && told.contains("pid "), "{told}");
    assert!(told.contains("http://127.0.0.1:"), "{told}");
    house.stop().await;
}

/// A server whose process is there and that does not answer is not healthy; when it answers again, it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthy_is_who_answers() {
    let house = House::start().await;
    let api = house.login("coffer").await;
    let it = open_shop(&api, "frozen", "10.11").await;
    let db = house.store().await;
    let pid = Pid::from_raw(house.engine_pid(&db, &it.id).await).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    wait_for("the frozen server is not healthy", Duration::from_secs(40), async || {
        let seen = api.show(&it.id).await.unwrap();
        assert_eq!(seen["status"], "ACTIVE");
        (seen["operating_status"] != "HEALTHY").then_some(())
    })
    .await;
    kill_process(pid, Signal::CONT).unwrap();
    crate::harness::healthy(&api, &it.id).await;
    assert_eq!(
        house.engine_pid(&db, &it.id).await,
        pid.as_raw_nonzero().get(),
        "it was not started a second time"
    );

    // A server that dies is started again by itself.
    processes::kill(pid.as_raw_nonzero().get());
    wait_for("another server runs", Duration::from_secs(30), async || {
        (house.engine_pid(&db, &it.id).await != pid.as_raw_nonzero().get()).then_some(())
    })
    .await;
    crate::harness::healthy(&api, &it.id).await;
    drop(db);
    house.leave_nothing(&api, &[&it.id]).await;
}

/// The host is known by what its state folder says, not by its name: that changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_who_its_folder_says() {
    let mut house = House::start().await;
    let first = std::fs::read_to_string(house.state.join("host")).unwrap();
    house.stop().await;
    house.start_again().await;
    assert_eq!(std::fs::read_to_string(house.state.join("host")).unwrap(), first);
    let db = house.store().await;
    assert_eq!(crate::harness::store::count(&db, "hosts").await, 1);
    assert_eq!(crate::harness::store::count(&db, &format!("hosts where id = '{first}'")).await, 1);
    drop(db);
    house.stop().await;
}

/// The endpoint faces the network: its role in the store reads routes and acknowledges them, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_sees_routes_and_nothing_else() {
    let mut house = House::start().await;
    let db = house.store().await;
    let sql = "select c.relname || ' ' || p.name from pg_class c \
               cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate']) p (name) \
               where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace \
               and has_table_privilege('coffer_endpoint', c.oid, p.name) order by 1";
    let may: Vec<String> = db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(may, ["endpoints select", "holds select", "relays select"]);
    let sql = "select table_name || '.' || column_name from information_schema.column_privileges \
               where grantee = 'coffer_endpoint' and privilege_type <> 'SELECT' order by 1";
    let may: Vec<String> = db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(may, ["endpoints.applied_epoch", "relays.listening"]);
    drop(db);
    house.stop().await;
}

/// Files that hold secrets are for their owner only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut house = House::start().await;
    for name in ["key", "clouds.yaml", "openrc", "identity.json", "identity.key", "lock"] {
        let mode = std::fs::metadata(house.state.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert!(house.folder().exists());
    house.stop().await;
}
