//! Promises that a test could keep by accident: each is held by a scenario that must end well, and must end badly when
//! the matching defect is planted in the worker (`coffer::testing`).

use std::time::Duration;

use coffer::domain::task::Step;
use coffer::domain::upgrade::Strategy;
use coffer::testing::{DEFECT, Defect};

use crate::harness::roles::{Role, Roles};
use crate::harness::tenant::{SimulatedWriter, Tenant, ask_for_upgrade};
use crate::harness::{ask_for_detach, status, store, wait_for};
use crate::upgrade;

/// Waits for either status; gives it.
async fn becomes(api: &coffer::cli::demo::client::Client, id: &str, either: [&str; 2]) -> String {
    wait_for(&format!("{id} becomes one of {either:?}"), Duration::from_secs(60), async || {
        let seen = api.show(id).await.ok()?["status"].as_str()?.to_owned();
        either.contains(&seen.as_str()).then_some(seen)
    })
    .await
}

fn planted(defect: Option<Defect>) -> Vec<(&'static str, &'static str)> {
    defect.map(|defect| (DEFECT, defect.as_str())).into_iter().collect()
}

/// The tenant writes on while the new side is detached: what was acknowledged before the acceptance is on both sides.
async fn nothing_is_lost_by_a_detach(defect: Option<Defect>) -> Result<(), String> {
    let roles = Roles::start_with("simulated", &planted(defect), 2).await;
    let api = roles.login("coffer").await;
    let mut world = Tenant::ask(&api, false).await;
    world.settle(&api, false).await;
    let db = roles.db().await;
    let source = store::generation(&db, &world.id).await.unwrap();
    let writer = SimulatedWriter::start(roles.url(), source);
    let new = ask_for_upgrade(&api, &world.id, false).await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    let candidate = store::generation(&db, &new).await.unwrap();
    // What is written now comes over half a second later.
    db.execute("update simulated_servers set lag_ms = 500 where generation_id = $1", &[&candidate.0])
        .await
        .unwrap();
    ask_for_detach(&api, &new).await;
    status(&api, &new, "ACTIVE", Duration::from_secs(60)).await;
    writer.stop().await;
    let sql = "select count(*) from simulated_writes w where w.generation_id = $1 \
               and w.at < (select max(at) from events where what = 'detach_accepted') \
               and not exists (select from simulated_writes c where c.generation_id = $2 \
               and c.position = w.position and c.payload = w.payload)";
    let missing: i64 = db.query_one(sql, &[&source.0, &candidate.0]).await.unwrap().get(0);
    let before: i64 = store::count(&db, "simulated_writes").await;
    assert!(before > 50, "the tenant wrote");
    if missing == 0 { Ok(()) } else { Err(format!("{missing} writes are not on the new side")) }
}

/// A new server that answers another version than was asked for is never what serves.
async fn the_server_itself_says_what_it_is(defect: Option<Defect>) -> Result<(), String> {
    let roles = Roles::start_with("simulated", &planted(defect), 2).await;
    let api = roles.login("coffer").await;
    let mut world = Tenant::ask(&api, false).await;
    world.settle(&api, false).await;
    let db = roles.db().await;
    let point = "upgrade.forward.seed.after";
    roles.arm(point);
    let new = ask_for_upgrade(&api, &world.id, false).await;
    roles.reached(point).await;
    let candidate = store::generation(&db, &new).await.unwrap();
    let sql = "update simulated_servers set version_number = '9.9.9' where generation_id = $1";
    assert_eq!(db.execute(sql, &[&candidate.0]).await.unwrap(), 1);
    roles.disarm(point);
    match becomes(&api, &new, ["ERROR", "VERIFY_UPGRADE"]).await.as_str() {
        "ERROR" => {
            let fault = api.show(&new).await.unwrap()["fault"]["message"].as_str().unwrap().to_owned();
            assert!(fault.contains("9.9.9"), "{fault}");
            status(&api, &world.id, "ACTIVE", Duration::from_secs(30)).await;
            Ok(())
        }
        other => Err(format!("a server that answers 9.9.9 came to {other}")),
    }
}

/// A tenant writes all through the cut-over to a twin: what was acknowledged is in the server that serves then, and in
/// the old one, which took nothing after the fence.
async fn nothing_is_lost_by_a_switch(defect: Option<Defect>) -> Result<(), String> {
    let roles = Roles::start_with("simulated", &planted(defect), 2).await;
    let api = roles.login("coffer").await;
    upgrade::only(&roles, Strategy::Twin).await;
    let id = upgrade::simulated(&api).await;
    let db = roles.db().await;
    let old = store::generation(&db, &id).await.unwrap();
    let point = "upgrade_twin.forward.quiet.after";
    roles.arm(point);
    upgrade::patch(&api, &id, "10.4").await;
    roles.reached(point).await;
    let serving = "select id from generations where instance_id = $1 and role = 'candidate'";
    let uuid: uuid::Uuid = id.parse().unwrap();
    let new: uuid::Uuid = db.query_one(serving, &[&uuid]).await.unwrap().get(0);
    // What is written now comes over half a second later; and one client does not go through the endpoint's gate.
    db.execute("update simulated_servers set lag_ms = 500 where generation_id = $1", &[&new]).await.unwrap();
    let through = SimulatedWriter::at_address(roles.url(), &id);
    let beside = SimulatedWriter::start(roles.url(), old);
    wait_for("both write", Duration::from_secs(10), async || {
        let wrote = |writer: &SimulatedWriter| writer.acknowledged.lock().unwrap().len() > 5;
        (wrote(&through) && wrote(&beside)).then_some(())
    })
    .await;
    roles.disarm(point);
    let upgrade = upgrade::ended(&api, &id, Duration::from_secs(60)).await;
    if upgrade["state"] != "succeeded" {
        return Err(format!("the upgrade ended {}", upgrade["state"]));
    }
    let (through, beside) = (through.stop().await, beside.stop().await);
    let rows =
        db.query("select payload from simulated_writes where generation_id = $1", &[&new]).await.unwrap();
    // Both writers count from one: each payload may be there twice, and must be as often as it was acknowledged.
    let mut found: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for row in rows {
        *found.entry(row.get(0)).or_default() += 1;
    }
    let mut missing = 0;
    for payload in through.iter().chain(&beside) {
        match found.get_mut(payload) {
            Some(count) if *count > 0 => *count -= 1,
            _ => missing += 1,
        }
    }
    if missing == 0 {
        Ok(())
    } else {
        Err(format!("{missing} acknowledged writes are not in the new server"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_loses_nothing() {
    nothing_is_lost_by_a_switch(None).await.unwrap();
}

/// The same of an upgrade of the same instance: the old server serves on.
async fn a_switch_asks_the_server_what_it_is(
    defect: Option<Defect>,
    strategy: Strategy,
) -> Result<(), String> {
    let roles = Roles::start_with("simulated", &planted(defect), 2).await;
    let api = roles.login("coffer").await;
    upgrade::only(&roles, strategy).await;
    let id = upgrade::simulated(&api).await;
    let db = roles.db().await;
    let old = store::generation(&db, &id).await.unwrap();
    let point = match strategy {
        Strategy::Twin => "upgrade_twin.forward.cut.after",
        Strategy::InPlace => "upgrade_in_place.forward.transform.after",
    };
    roles.arm(point);
    upgrade::patch(&api, &id, "10.4").await;
    roles.reached(point).await;
    let sql = "update simulated_servers set version_number = '9.9.9' where generation_id = \
               (select id from generations where instance_id = $1 and role = 'candidate')";
    let uuid: uuid::Uuid = id.parse().unwrap();
    assert_eq!(db.execute(sql, &[&uuid]).await.unwrap(), 1);
    roles.disarm(point);
    let upgrade = upgrade::ended(&api, &id, Duration::from_secs(60)).await;
    if upgrade["state"] != "rolled_back" {
        return Err(format!(
            "{}: with a server that answers 9.9.9 it ended {}",
            strategy.as_str(),
            upgrade["state"]
        ));
    }
    let fault = api.show(&id).await.unwrap()["fault"]["message"].as_str().unwrap().to_owned();
    assert!(fault.contains("9.9.9"), "{fault}");
    assert_eq!(store::generation(&db, &id).await.unwrap(), old);
    Ok(())
}

/// Every row that a worker writes under a lease.
async fn recorded(db: &tokio_postgres::Client) -> String {
    let sql = "select string_agg(line, E'\n' order by line) from ( \
               select 'task ' || id || state || coalesce(phase, '') || coalesce(step, '') || attempts || redos as line \
               from tasks union all \
               select 'step ' || id || step || coalesce(outcome, '-') || coalesce(detail, '') || coalesce(ended_at::text, '') \
               from task_steps union all \
               select 'instance ' || id || state || revision from instances union all \
               select 'generation ' || id || role || read_only || events || wanted from generations union all \
               select 'server ' || generation_id || version_number || read_only || coalesce(follows::text, '') || databases \
               from simulated_servers union all \
               select 'claim ' || task_id || instance_id || role || live from task_instances union all \
               select 'endpoint ' || instance_id || coalesce(generation_id::text, '') || epoch from endpoints union all \
               select 'relay ' || task_id || listening from relays) as lines";
    db.query_one(sql, &[]).await.unwrap().get(0)
}

/// Where a worker is frozen.
#[derive(Clone, Copy)]
enum Frozen {
    /// At a point by the record of a step: what it did is not written down.
    At(&'static str),
    /// Inside a step, before it acts.
    In(Step),
}

/// What it is at: the action, by way of a new instance, or an upgrade of the same one.
#[derive(Clone, Copy)]
enum Kind {
    Action,
    Upgrade(Strategy),
}

/// Two workers. One is frozen past its lease; the other takes the task to its end. Woken again, the first changes
/// nothing.
async fn a_frozen_worker_changes_nothing(
    defect: Option<Defect>,
    kind: Kind,
    place: Frozen,
) -> Result<(), String> {
    let mut roles = Roles::start_with("simulated", &planted(defect), 2).await;
    roles.begin(Role::Worker(1)).await;
    let api = roles.login("coffer").await;
    let mut world = Tenant::ask(&api, false).await;
    world.settle(&api, false).await;
    let db = roles.db().await;
    if let Frozen::At(point) = place {
        roles.arm(point);
    } else if let Frozen::In(step) = place {
        let id: uuid::Uuid = world.id.parse().unwrap();
        let sql = "insert into simulations (instance_id, step, ms) values ($1, $2, 1000)";
        db.execute(sql, &[&id, &step.as_str()]).await.unwrap();
    }
    let new = match kind {
        Kind::Action => ask_for_upgrade(&api, &world.id, false).await,
        Kind::Upgrade(strategy) => {
            upgrade::only(&roles, strategy).await;
            let id = upgrade::simulated(&api).await;
            upgrade::patch(&api, &id, "10.4").await;
            id
        }
    };
    let pid = match place {
        Frozen::At(point) => roles.reached(point).await,
        Frozen::In(step) => who_is_in(&roles, &db, step).await,
    };
    let frozen = rustix::process::Pid::from_raw(pid).unwrap();
    let role =
        [Role::Worker(0), Role::Worker(1)].into_iter().find(|role| roles.pid(*role) == frozen).unwrap();
    rustix::process::kill_process(frozen, rustix::process::Signal::STOP).unwrap();
    // On a busy machine, or with leases that are not renewed, it may have let a task go before.
    let let_go = || roles.told(role).matches("the task was let go").count();
    let let_go_before = let_go();
    if let Frozen::At(point) = place {
        roles.disarm(point);
    } else {
        db.execute("delete from simulations", &[]).await.unwrap();
    }
    match kind {
        Kind::Action => {
            for id in [&new, &world.id] {
                status(&api, id, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
            }
        }
        Kind::Upgrade(_) => {
            assert_eq!(upgrade::ended(&api, &new, Duration::from_secs(60)).await["state"], "succeeded");
        }
    }
    let before = recorded(&db).await;
    rustix::process::kill_process(frozen, rustix::process::Signal::CONT).unwrap();
    // It says that it let the task go, or else does what it must not.
    wait_for("the woken worker is heard of", Duration::from_secs(30), async || {
        (let_go() > let_go_before || recorded(&db).await != before).then_some(())
    })
    .await;
    let after = recorded(&db).await;
    if after == before { Ok(()) } else { Err(format!("before:\n{before}\nafter:\n{after}")) }
}

/// The worker whose upgrade is in this step now: its slot is in the lease, its pid in the slot's lock.
async fn who_is_in(roles: &Roles, db: &tokio_postgres::Client, step: Step) -> i32 {
    let owner: String = wait_for(&format!("an upgrade is in {step:?}"), Duration::from_secs(30), async || {
        let sql = "select t.lease_owner from tasks t join task_steps s on s.task_id = t.id and s.outcome is null \
                   where t.kind = 'upgrade' and s.step = $1";
        db.query_opt(sql, &[&step.as_str()]).await.unwrap().and_then(|row| row.get(0))
    })
    .await;
    let slot = owner.rsplit('/').next().unwrap();
    let lock = std::fs::read_to_string(roles.state.join(format!("worker-{slot}.lock"))).unwrap();
    let pid = lock.trim().strip_prefix("pid ").unwrap();
    pid.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detach_loses_nothing() {
    nothing_is_lost_by_a_detach(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_what_the_server_answers() {
    the_server_itself_says_what_it_is(None).await.unwrap();
    for strategy in Strategy::ALL {
        a_switch_asks_the_server_what_it_is(None, strategy).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_past_its_lease_changes_nothing() {
    for (kind, place) in [
        (Kind::Action, Frozen::At("upgrade.forward.seed.before")),
        (Kind::Action, Frozen::At("upgrade.forward.open.before")),
        (Kind::Action, Frozen::In(Step::Place)),
        (Kind::Action, Frozen::In(Step::Seed)),
        (Kind::Upgrade(Strategy::Twin), Frozen::At("upgrade_twin.forward.switch.before")),
        (Kind::Upgrade(Strategy::InPlace), Frozen::At("upgrade_in_place.forward.switch.before")),
    ] {
        a_frozen_worker_changes_nothing(None, kind, place).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_defect_is_noticed() {
    for defect in Defect::ALL {
        let ended = match defect {
            Defect::WaitSkipped | Defect::PositionReadEarly => {
                vec![nothing_is_lost_by_a_detach(Some(defect)).await]
            }
            Defect::ProbeSkipped => vec![
                the_server_itself_says_what_it_is(Some(defect)).await,
                a_switch_asks_the_server_what_it_is(Some(defect), Strategy::Twin).await,
                a_switch_asks_the_server_what_it_is(Some(defect), Strategy::InPlace).await,
            ],
            // In place nobody is fed, and the stop of the old server ends whoever a fence would have.
            Defect::FenceSkipped | Defect::DrainSkipped => {
                vec![nothing_is_lost_by_a_switch(Some(defect)).await]
            }
            Defect::LeaseIgnored => {
                let mut ended = Vec::new();
                for (kind, place) in [
                    (Kind::Action, Frozen::At("upgrade.forward.seed.before")),
                    // It acts, and not only writes, though its lease is another's.
                    (Kind::Action, Frozen::In(Step::Place)),
                    (Kind::Upgrade(Strategy::Twin), Frozen::At("upgrade_twin.forward.place.before")),
                    (Kind::Upgrade(Strategy::InPlace), Frozen::At("upgrade_in_place.forward.ready.before")),
                ] {
                    ended.push(a_frozen_worker_changes_nothing(Some(defect), kind, place).await);
                }
                ended
            }
        };
        for ended in ended {
            let noticed = ended.expect_err(defect.as_str());
            eprintln!("{}: noticed: {}", defect.as_str(), noticed.lines().next().unwrap());
        }
    }
}

/// A store that refuses a record for a moment, as with a full disk, neither rolls an upgrade back nor stops it for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_full_for_a_moment_undoes_nothing() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let mut world = Tenant::ask(&api, false).await;
    world.settle(&api, false).await;
    let db = roles.db().await;
    db.batch_execute(
        "create sequence full_disk; \
         create function full_disk() returns trigger language plpgsql as $$ begin \
         if new.outcome = 'done' and new.step in ('catch_up', 'drain') and nextval('full_disk') % 3 <> 0 then \
         raise exception 'no room' using errcode = '53100'; end if; return new; end $$; \
         create trigger full_disk before update on task_steps for each row execute function full_disk();",
    )
    .await
    .unwrap();
    let new = ask_for_upgrade(&api, &world.id, false).await;
    status(&api, &new, "VERIFY_UPGRADE", Duration::from_secs(60)).await;
    ask_for_detach(&api, &new).await;
    status(&api, &new, "ACTIVE", Duration::from_secs(60)).await;
    status(&api, &world.id, "ACTIVE", Duration::from_secs(30)).await;
    let refused: i64 =
        store::count(&db, "task_steps where outcome = 'retry' and detail like '%record was refused%'").await;
    assert_eq!(refused, 4, "two records were refused twice");
}
