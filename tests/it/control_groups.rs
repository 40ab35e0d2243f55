//! What a flavor means, on real servers: one that wants more memory than its flavor has is ended by the kernel and comes
//! back, one that computes without an end has its processors and no more, and the neighbour notices neither. What is looked
//! at is what the kernel says of the servers' processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use mysql_async::prelude::Queryable as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::harness::house::House;
use crate::harness::{status, wait_for};
use crate::parameters::by_address;
use crate::postgresql::login;

const SOON: Duration = Duration::from_secs(90);

/// The kernel's ticks in a second, in which it counts what a process computes.
const TICKS: f64 = 100.0;

/// A server's control groups, as the kernel names them.
struct Held {
    /// Bytes of memory.
    memory: u64,
    /// Processors.
    cpus: f64,
    folders: Vec<PathBuf>,
}

/// The groups of a process; `None` where it is in none of ours.
fn held(pid: i32) -> Option<Held> {
    let number = |path: PathBuf| -> f64 {
        std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .trim()
            .parse()
            .unwrap()
    };
    let (mut memory, mut cpus, mut folders) = (None, None, Vec::new());
    for line in std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next().unwrap(), fields.next().unwrap());
        if !path.contains("/coffer/") {
            continue;
        }
        let below = |controller: &str| {
            Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/'))
        };
        for name in names.split(',') {
            let folder = below(name);
            match name {
                "memory" => memory = Some(number(folder.join("memory.limit_in_bytes")) as u64),
                "cpu" => {
                    let [quota, period] =
                        ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| number(folder.join(file)));
                    cpus = Some(quota / period);
                }
                "" => {
                    memory = Some(number(folder.join("memory.max")) as u64);
                    let max = std::fs::read_to_string(folder.join("cpu.max")).unwrap();
                    let parts: Vec<f64> = max.split_whitespace().map(|part| part.parse().unwrap()).collect();
                    cpus = Some(parts[0] / parts[1]);
                }
                _ => continue,
            }
            folders.push(folder);
        }
    }
    Some(Held { memory: memory?, cpus: cpus?, folders })
}

/// Whether this host has what is tried here; says so where it has not.
fn may_try(dev: &House, test: &str) -> bool {
    let said = std::fs::read_to_string(dev.folder().join("dev.log")).unwrap();
    let is_held = said.contains("limits: control groups hold memory and processors");
    if !is_held {
        crate::harness::skip(&format!(
            "control_groups::{test}: this machine gives no control groups of memory and cpu"
        ));
    }
    is_held
}

async fn create(
    api: &Client,
    (datastore, version): (&str, &str),
    name: &str,
    secret: &SecretString,
) -> String {
    let users = json!([{"name": "app", "password": secret.expose_secret(), "databases": [{"name": "shop"}]}]);
    let body = json!({"instance": {
        "name": name, "flavorRef": "1", "volume": {"size": 2},
        "datastore": {"type": datastore, "version": version}, "databases": [{"name": "shop"}], "users": users}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    answer["instance"]["id"].as_str().unwrap().to_owned()
}

async fn was_told(dev: &House, id: &str) -> bool {
    let sql = "select 1 from events where instance_id = $1::text::uuid and what = 'server_wanted_too_much_memory' \
               and (data->>'memory')::int = 512";
    !dev.store().await.query(sql, &[&id]).await.unwrap().is_empty()
}

/// What a process has computed so far, in seconds.
fn computed(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / TICKS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_is_held_to_its_flavor_and_its_neighbour_notices_nothing() {
    let dev = House::start().await;
    if !may_try(&dev, "a_mariadb_is_held_to_its_flavor_and_its_neighbour_notices_nothing") {
        return;
    }
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let id = create(&api, ("mariadb", "10.11"), "greedy", &secret).await;
    let beside = create(&api, ("mariadb", "10.11"), "beside", &secret).await;
    let address = crate::harness::healthy(&api, &id).await;
    let neighbour = crate::harness::healthy(&api, &beside).await;
    let store = dev.store().await;
    let (pid, other) = (dev.engine_pid(&store, &id).await, dev.engine_pid(&store, &beside).await);
    let groups = held(pid).expect("it is in a control group");
    assert_eq!((groups.memory, groups.cpus), (512 << 20, 1.0));
    assert_ne!(held(other).unwrap().folders, groups.folders);

    // The operator is told what the kernel says.
    let admin = dev.login("coffer-admin").await;
    let (code, told) = admin.read(&format!("/mgmt/instances/{id}/diagnostics")).await.unwrap();
    assert_eq!(code, 200, "{told}");
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak =
        text.lines().find_map(|line| line.strip_prefix("VmPeak:")?.trim().strip_suffix(" kB")).unwrap();
    let (peak, said) = (peak.parse::<f64>().unwrap(), told["diagnostics"]["vmPeak"].as_f64().unwrap());
    assert!((said / peak - 1.0).abs() < 0.2, "{peak}: {told}");
    assert!(told["diagnostics"]["version"].as_str().unwrap().starts_with("10.11."), "{told}");
    let (_, told) = admin.read(&format!("/mgmt/instances/{id}/hwinfo")).await.unwrap();
    assert_eq!(told, json!({"hwinfo": {"mem_total": 512 * 1024, "num_cpus": 1}}));
    assert_eq!(admin.read(&format!("/mgmt/instances/{id}/rpc_ping")).await.unwrap().0, 204);
    assert_eq!(api.read(&format!("/mgmt/instances/{id}/diagnostics")).await.unwrap().0, 403);

    // Processors: three sessions compute.
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut app = by_address(&address, &secret).await.unwrap();
        app.query_drop("set max_statement_time = 8").await.unwrap();
        busy.push(tokio::spawn(async move {
            let _ended = app.query_drop("select benchmark(4000000000, sha2('a', 512))").await;
        }));
    }
    wait_for("it computes", SOON, async || (computed(pid) > 1.0).then_some(())).await;
    let (from, began) = (computed(pid), Instant::now());
    let mut looked = by_address(&neighbour, &secret).await.unwrap();
    while began.elapsed() < Duration::from_secs(3) {
        looked.query_drop("select 1").await.unwrap();
    }
    let share = (computed(pid) - from) / began.elapsed().as_secs_f64();
    assert!(share < 1.25, "it had {share:.2} processors");
    for each in busy {
        each.await.unwrap();
    }

    // Memory: what sessions keep in variables has no other bound.
    let mut app = by_address(&address, &secret).await.unwrap();
    app.query_drop("create table shop.t (n int)").await.unwrap();
    app.query_drop("insert into shop.t values (1)").await.unwrap();
    let began = Instant::now();
    let mut sessions = Vec::new();
    'ended: loop {
        assert!(began.elapsed() < SOON, "it was not ended");
        let Ok(mut session) = by_address(&address, &secret).await else { break };
        for n in 0..8 {
            if session.query_drop(format!("set @v{n} = repeat('x', 15 << 20)")).await.is_err() {
                break 'ended;
            }
            looked.query_drop("select 1").await.expect("the neighbour serves");
        }
        sessions.push(session);
    }
    drop(sessions);
    let mut app = wait_for("the server is back", SOON, async || {
        let mut app = by_address(&address, &secret).await.ok()?;
        app.query_drop("select 1").await.ok().map(|()| app)
    })
    .await;
    assert_eq!(app.query_first::<u64, _>("select count(*) from shop.t").await.unwrap(), Some(1));
    let again = dev.engine_pid(&store, &id).await;
    assert_ne!(again, pid, "another process");
    assert_eq!(held(again).unwrap().memory, 512 << 20);
    assert_eq!(dev.engine_pid(&store, &beside).await, other, "the neighbour's process");
    wait_for("the events say why", SOON, async || was_told(&dev, &id).await.then_some(())).await;
    assert!(!was_told(&dev, &beside).await);

    // Another flavor has other limits.
    let (code, answer) =
        api.post(&format!("/instances/{id}/action"), &json!({"resize": {"flavorRef": "4"}})).await.unwrap();
    assert_eq!(code, 202, "{answer}");
    status(&api, &id, "ACTIVE", SOON).await;
    let larger = held(dev.engine_pid(&store, &id).await).unwrap();
    assert_eq!((larger.memory, larger.cpus), (4096 << 20, 2.0));
    let left = [groups.folders, larger.folders, held(other).unwrap().folders].concat();
    dev.leave_nothing(&api, &[&id, &beside]).await;
    wait_for("no group is left", SOON, async || (!left.iter().any(|folder| folder.exists())).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_postgresql_that_wants_too_much_is_ended_alone() {
    let dev = House::start().await;
    if !may_try(&dev, "a_session_of_postgresql_that_wants_too_much_is_ended_alone") {
        return;
    }
    let api = dev.login("coffer").await;
    let secret = crate::harness::password();
    let id = create(&api, ("postgresql", "17"), "greedy", &secret).await;
    let beside = create(&api, ("postgresql", "17"), "beside", &secret).await;
    let address = crate::harness::healthy(&api, &id).await;
    let neighbour = crate::harness::healthy(&api, &beside).await;
    let store = dev.store().await;
    let pid = dev.engine_pid(&store, &id).await;
    assert_eq!(held(pid).expect("it is in a control group").memory, 512 << 20);
    let app = login(&address, "app", &secret, "shop").await.unwrap();
    app.batch_execute("create table t (n int); insert into t values (1)").await.unwrap();
    let backend: i32 = app.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    assert_eq!(held(backend).expect("as are its sessions").memory, 512 << 20);
    let looked = login(&neighbour, "app", &secret, "shop").await.unwrap();
    wait_for("the service has looked at it", SOON, async || {
        let used = api.show(&id).await.unwrap()["volume"]["used"].as_f64();
        used.filter(|used| *used > 0.0)
    })
    .await;
    let greedy = "select length(array_agg(repeat('x', 1000000) || n)::text) from generate_series(1, 900) n";
    let (ended, seen) = tokio::join!(app.batch_execute(greedy), async {
        for _ in 0..200 {
            looked.batch_execute("select 1").await?;
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    let ended = ended.expect_err("it is ended");
    assert!(ended.code().is_none_or(|code| code.code() == "57P02"), "{ended:?}");
    seen.expect("the neighbour serves");
    let app = wait_for("it serves again", SOON, async || {
        let app = login(&address, "app", &secret, "shop").await.ok()?;
        app.batch_execute("select 1").await.ok().map(|()| app)
    })
    .await;
    let rows: i64 = app.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1);
    looked.batch_execute("select 1").await.expect("the neighbour's session goes on");
    wait_for("the events say why", SOON, async || was_told(&dev, &id).await.then_some(())).await;
    assert!(!was_told(&dev, &beside).await);
    dev.leave_nothing(&api, &[&id, &beside]).await;
}
