//! The kinds of tasks: what the documents say of them is made of their registry, and no step of theirs hangs for ever.

use std::fmt::Write as _;
use std::time::Duration;

use coffer::domain::task::kinds::spec::StepSpec;
use coffer::domain::task::{Phase, Step, TaskKind};
use coffer::domain::upgrade::Strategy;
use serde_json::json;

use crate::harness::roles::Roles;
use crate::harness::{delete, healthy, store, wait_for};
use crate::upgrade::{ended, only, patch, simulated};

const BEGIN: &str = "<!-- made of the registry of kinds -->";
const END: &str = "<!-- until here -->";

/// Set to write what a test finds missing.
const WRITE: &str = "COFFER_TEST_WRITE";

fn told(seconds: u64) -> String {
    match seconds {
        hours if hours % 3_600 == 0 => format!("{} h", hours / 3_600),
        minutes if minutes >= 600 && minutes % 60 == 0 => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

fn step(it: &StepSpec) -> String {
    let of_a_gb = it.deadline_of_data(1 << 30).as_secs();
    let data = if of_a_gb == 0 { String::new() } else { format!(" + {} a GB", told(of_a_gb)) };
    format!("{} {}{data}", it.step.as_str(), told(it.within.into()))
}

fn table() -> String {
    let mut table = String::from(
        "| word | kind | phase | steps, each with its deadline | its hold |\n|---|---|---|---|---|\n",
    );
    for kind in TaskKind::ALL {
        for phase in Phase::ALL {
            let steps: Vec<String> = kind.spec().sequence(phase).iter().map(step).collect();
            if steps.is_empty() {
                continue;
            }
            let is_held =
                phase == Phase::Forward && kind.steps(phase).into_iter().any(|it| kind.holds(phase, it));
            let hold = if is_held { told(kind.hold_deadline(0).as_secs()) } else { String::new() };
            let (word, title) = (kind.as_str(), kind.title());
            writeln!(
                table,
                "| `{word}` | `{title}` | `{}` | {} | {hold} |",
                phase.as_str(),
                steps.join(", ")
            )
            .unwrap();
        }
    }
    table
}

#[test]
fn the_pages_tell_the_kinds_as_they_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/api-ref/tasks.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the place for the table");
    let (there, after) = rest.split_once(END).unwrap();
    let wanted = format!("\n\n{}\n", table());
    if there != wanted {
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
            return;
        }
        panic!("api-ref/tasks.md is not as the registry of kinds: {WRITE}=1 writes it");
    }
}

/// By what deadlines are multiplied here: a step that may take 15 min ends after 9 s, and one of a hold after less than 1 s.
const FACTOR: f64 = 0.01;

/// The longest deadline that is waited for, in seconds, before it is multiplied; longer ones are as good as these.
const LONGEST: u32 = 900;

/// Each step before the one-way point hangs on a simulated server: it is ended by its deadline, tenants write to the old
/// server again, and an upgrade that does not hang succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_step_that_hangs_leads_back() {
    let factor = FACTOR.to_string();
    let variables = [("COFFER_DEADLINE_FACTOR", &*factor), ("COFFER_PATIENCE", "1")];
    let roles = Roles::start_with("simulated", &variables, 30).await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    for (strategy, kind) in
        [(Strategy::InPlace, TaskKind::UpgradeInPlace), (Strategy::Twin, TaskKind::UpgradeTwin)]
    {
        only(&roles, strategy).await;
        let auto = TaskKind::UpgradeAuto.spec().forward.iter();
        let steps = auto.chain(kind.spec().forward).filter(|it| it.within <= LONGEST).map(|it| it.step);
        let each = steps.map(async |step: Step| {
            let id = simulated(&api).await;
            let simulation = format!("/mgmt/instances/{id}/simulation");
            let body = json!({"steps": {step.as_str(): {"fault": "hang"}}});
            assert_eq!(admin.put(&simulation, &body).await.unwrap().0 / 100, 2);
            patch(&api, &id, "10.4").await;
            let upgrade = ended(&api, &id, Duration::from_secs(120)).await;
            assert_eq!(upgrade["state"], "rolled_back", "{step:?}: {upgrade}");
            let reason = upgrade["reason"].as_str().unwrap();
            assert!(reason.contains("not done within"), "{step:?}: {reason}");
            healthy(&api, &id).await;
            assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], "10.1", "{step:?}");
            assert_eq!(admin.put(&simulation, &json!({"steps": {}})).await.unwrap().0 / 100, 2);
            let writes = crate::harness::tenant::SimulatedWriter::at_address(roles.url(), &id);
            wait_for("tenants write to the old server", Duration::from_secs(30), async || {
                (writes.acknowledged.lock().unwrap().len() > 5).then_some(())
            })
            .await;
            drop(writes.stop().await);
            id
        });
        let ids = futures::future::join_all(each).await;
        assert!(ids.len() > 7, "{strategy:?}: {}", ids.len());
        for left in ["holds", "relays", "generations where role in ('candidate', 'retired')"] {
            assert_eq!(store::count(&db, left).await, 0, "{strategy:?}: {left}");
        }
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        delete(&api, &all).await;
    }
}

/// A step after the one-way point that hangs is ended and tried again: it goes on as soon as nothing hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_hangs_past_the_one_way_point_is_tried_again() {
    let roles = Roles::start("simulated").await;
    let (api, admin) = (roles.login("coffer").await, roles.login("coffer-admin").await);
    let db = roles.db().await;
    only(&roles, Strategy::Twin).await;
    let id = simulated(&api).await;
    let simulation = format!("/mgmt/instances/{id}/simulation");
    let body = json!({"steps": {"reopen": {"fault": "hang"}}});
    assert_eq!(admin.put(&simulation, &body).await.unwrap().0 / 100, 2);
    patch(&api, &id, "10.4").await;
    let tried = "task_steps where step = 'reopen' and outcome = 'retry' and detail like '%not done within%'";
    wait_for("it is tried again", Duration::from_secs(120), async || {
        (store::count(&db, tried).await > 0).then_some(())
    })
    .await;
    assert_eq!(admin.put(&simulation, &json!({"steps": {}})).await.unwrap().0 / 100, 2);
    assert_eq!(ended(&api, &id, Duration::from_secs(60)).await["state"], "succeeded");
    healthy(&api, &id).await;
    assert_eq!(api.show(&id).await.unwrap()["datastore"]["version"], "10.4");
    delete(&api, &[&id]).await;
}
