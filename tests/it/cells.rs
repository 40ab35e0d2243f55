//! kill -9 of every process before and after the record of every step, the cells made from the step enum itself: a new
//! step, phase or kind has its cells without more to do, and a line of steps that no life below walks fails a test.
//!
//! All cells run on simulated servers; a seeded sample of them runs on real engines (`COFFER_TEST_SEED` repeats one);
//! `make torture` runs all of them there.

mod pairs;

use std::collections::BTreeSet;
use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::domain::task::{Phase, Step, TaskKind};
use coffer::domain::upgrade::Strategy;

use crate::harness::roles::{Role, Roles};
use crate::harness::store::Side;
use crate::harness::tenant::{
    Tenant, ask_for_upgrade, ask_to_switch, kill_generation, kill_server, versions,
};
use crate::harness::{ask_for_detach, healthy, processes, status, store, wait_for};
use crate::unwanted;
use crate::upgrade;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Worker,
    Api,
    Endpoint,
    /// The server that was there first: an upgrade's source, the one that is deleted.
    Old,
    /// The server that the task makes.
    New,
    Postgres,
}

const VICTIMS: [Victim; 6] =
    [Victim::Worker, Victim::Api, Victim::Endpoint, Victim::Old, Victim::New, Victim::Postgres];

/// When, by the record of the step.
const WHEN: [&str; 2] = ["before", "after"];

/// A line of steps, by its kind and phase.
type Line = (TaskKind, Phase);

fn point(line: Line, step: Step, when: &str) -> String {
    format!("{}.{}.{}.{when}", line.0.as_str(), line.1.as_str(), step.as_str())
}

fn points(line: Line) -> Vec<String> {
    line.0.steps(line.1).iter().flat_map(|step| WHEN.iter().map(|when| point(line, *step, when))).collect()
}

/// Every line that has steps.
fn lines() -> Vec<Line> {
    let all =
        TaskKind::ALL.into_iter().flat_map(|kind| Phase::ALL.into_iter().map(move |phase| (kind, phase)));
    all.filter(|(kind, phase)| !kind.steps(*phase).is_empty()).collect()
}

/// A life of an instance: the lines that it walks, in order. Cells lie in those that are marked.
struct InstanceLife {
    name: &'static str,
    walks: &'static [(Line, bool)],
}

const CREATED: Line = (TaskKind::Create, Phase::Forward);
const UNMADE: Line = (TaskKind::Create, Phase::Undo);
const UNWANTED: Line = (TaskKind::Create, Phase::Abandon);
const DELETED: Line = (TaskKind::Delete, Phase::Forward);
const UPGRADED: Line = (TaskKind::ReplicaUpgrade, Phase::Forward);
const DETACHED: Line = (TaskKind::ReplicaUpgrade, Phase::Detach);
const ABANDONED: Line = (TaskKind::ReplicaUpgrade, Phase::Abandon);
const UNDONE: Line = (TaskKind::ReplicaUpgrade, Phase::Undo);

const EXAMINED: Line = (TaskKind::UpgradeAuto, Phase::Forward);
const CONVERTED: Line = (TaskKind::UpgradeInPlace, Phase::Forward);
const FED: Line = (TaskKind::UpgradeTwin, Phase::Forward);
const CONVERTED_ON: Line = (TaskKind::UpgradeInPlace, Phase::Finish);
const FED_ON: Line = (TaskKind::UpgradeTwin, Phase::Finish);

/// The lines of an upgrade of the same instance that goes back, by the step at which it is made to, and whether its
/// customer wants that.
const BACK: [(Line, Strategy, Step, bool); 6] = [
    ((TaskKind::UpgradeAuto, Phase::Undo), Strategy::InPlace, Step::Examine, false),
    ((TaskKind::UpgradeAuto, Phase::Abandon), Strategy::InPlace, Step::Examine, true),
    ((TaskKind::UpgradeInPlace, Phase::Undo), Strategy::InPlace, Step::Cutover, false),
    ((TaskKind::UpgradeInPlace, Phase::Abandon), Strategy::InPlace, Step::Transform, true),
    ((TaskKind::UpgradeTwin, Phase::Undo), Strategy::Twin, Step::Cutover, false),
    ((TaskKind::UpgradeTwin, Phase::Abandon), Strategy::Twin, Step::Drain, true),
];

/// The lines of a restart and of a resize, and whether each is made to go back.
const RESTARTS: [(Line, bool); 4] = [
    ((TaskKind::Restart, Phase::Forward), false),
    ((TaskKind::Restart, Phase::Undo), true),
    ((TaskKind::Resize, Phase::Forward), false),
    ((TaskKind::Resize, Phase::Undo), true),
];

const RESTARTED_ON: Line = (TaskKind::Restart, Phase::Finish);
const RESIZED_ON: Line = (TaskKind::Resize, Phase::Finish);

const LIVES: [InstanceLife; 18] = [
    InstanceLife {
        name: "kept",
        walks: &[(CREATED, true), (UPGRADED, true), (DETACHED, true), (DELETED, true)],
    },
    InstanceLife { name: "abandoned", walks: &[(CREATED, false), (UPGRADED, false), (ABANDONED, true)] },
    InstanceLife { name: "undone", walks: &[(CREATED, false), (UNDONE, true)] },
    InstanceLife { name: "unmade", walks: &[(UNMADE, true)] },
    InstanceLife { name: "unwanted", walks: &[(UNWANTED, true)] },
    InstanceLife {
        name: "converted",
        walks: &[(CREATED, false), (EXAMINED, true), (CONVERTED, true), (CONVERTED_ON, true)],
    },
    InstanceLife { name: "fed", walks: &[(CREATED, false), (EXAMINED, false), (FED, true), (FED_ON, true)] },
    InstanceLife { name: "back", walks: &[(CREATED, false), (BACK[0].0, true)] },
    InstanceLife { name: "back", walks: &[(CREATED, false), (BACK[1].0, true)] },
    InstanceLife { name: "back", walks: &[(CREATED, false), (BACK[2].0, true)] },
    InstanceLife { name: "back", walks: &[(CREATED, false), (BACK[3].0, true)] },
    InstanceLife { name: "back", walks: &[(CREATED, false), (BACK[4].0, true)] },
    InstanceLife { name: "back", walks: &[(CREATED, false), (BACK[5].0, true)] },
    InstanceLife {
        name: "restarted",
        walks: &[(CREATED, false), (RESTARTS[0].0, true), (RESTARTED_ON, true)],
    },
    InstanceLife { name: "restarted", walks: &[(CREATED, false), (RESTARTS[1].0, true)] },
    InstanceLife { name: "restarted", walks: &[(CREATED, false), (RESTARTS[2].0, true), (RESIZED_ON, true)] },
    InstanceLife { name: "restarted", walks: &[(CREATED, false), (RESTARTS[3].0, true)] },
    InstanceLife { name: "paired", walks: &pairs::LINES },
];

#[test]
fn every_step_has_its_cells() {
    let walked: BTreeSet<String> = LIVES
        .iter()
        .flat_map(|life| life.walks.iter().filter(|(_, cells)| *cells))
        .flat_map(|(line, _)| points(*line))
        .collect();
    let all: BTreeSet<String> = lines().into_iter().flat_map(points).collect();
    assert_eq!(walked, all, "each line of steps is walked by a life");
    for step in Step::ALL {
        let word = format!(".{}.", step.as_str());
        assert!(all.iter().any(|point| point.contains(&word)), "{word} is in no line of steps");
    }
}

/// A life being lived, with the cells in which somebody is killed.
struct Lived<'a> {
    roles: &'a mut Roles,
    api: Client,
    real: bool,
    victim: Victim,
    cells: BTreeSet<String>,
    killed: usize,
}

impl Lived<'_> {
    fn cells_of(&self, line: Line) -> Vec<String> {
        points(line).into_iter().filter(|point| self.cells.contains(point)).collect()
    }

    /// Lets workers wait at the first cell of a line; it must be so before the line can begin.
    fn prepare(&self, line: Line) {
        if let Some(first) = self.cells_of(line).first() {
            self.roles.arm(first);
        }
    }

    /// Kills at each cell of the line, one after the other.
    async fn walk(&mut self, line: Line, old: &str, new: &str) {
        let cells = self.cells_of(line);
        for (at, cell) in cells.iter().enumerate() {
            self.roles.reached(cell).await;
            let revive = match self.victim {
                Victim::Worker => Some(Role::Worker(0)),
                Victim::Api => Some(Role::Api),
                Victim::Endpoint => Some(Role::Endpoint),
                Victim::Postgres => {
                    self.roles.kill_store().await;
                    self.killed += 1;
                    None
                }
                Victim::Old | Victim::New if line.0.of_group() => {
                    let db = self.roles.db().await;
                    for member in [old, new] {
                        until_it_runs_again(self.roles, &db, member, self.real).await;
                    }
                    let member = if self.victim == Victim::Old { old } else { new };
                    if let Some(generation) = store::newest_running(&db, member).await {
                        self.killed +=
                            usize::from(kill_generation(self.roles, &db, generation, self.real).await);
                    }
                    None
                }
                Victim::Old | Victim::New if line.0.cuts_over() => {
                    let db = self.roles.db().await;
                    until_it_runs_again(self.roles, &db, old, self.real).await;
                    let place = if self.victim == Victim::Old { Side::Old } else { Side::New };
                    if let Some(generation) = store::side(&db, old, place).await {
                        self.killed +=
                            usize::from(kill_generation(self.roles, &db, generation, self.real).await);
                    }
                    None
                }
                Victim::Old | Victim::New => {
                    let db = self.roles.db().await;
                    let instance = if self.victim == Victim::Old { old } else { new };
                    until_it_runs_again(self.roles, &db, instance, self.real).await;
                    self.killed += usize::from(kill_server(self.roles, &db, instance, self.real).await);
                    None
                }
            };
            if let Some(role) = revive {
                self.roles.kill(role);
                self.killed += 1;
            }
            if let Some(next) = cells.get(at + 1) {
                self.roles.arm(next);
            }
            self.roles.disarm(cell);
            if let Some(role) = revive {
                self.roles.begin(role).await;
            }
        }
    }

    async fn create(&mut self, cells: bool) -> Tenant {
        if cells {
            self.prepare(CREATED);
        }
        let mut world = Tenant::ask(&self.api, self.real).await;
        if cells {
            let id = world.id.clone();
            self.walk(CREATED, &id, &id).await;
        }
        world.settle(&self.api, self.real).await;
        world
    }

    /// Asks that a step of the instance's next task fails, also of a real one's.
    async fn let_fail(&self, instance: &str, step: Step) {
        self.let_be(instance, step, "fail").await;
    }

    async fn let_be(&self, instance: &str, step: Step, fault: &str) {
        let db = self.roles.db().await;
        let id: uuid::Uuid = instance.parse().unwrap();
        let sql = "insert into simulations (instance_id, step, fault) values ($1, $2, $3)";
        db.execute(sql, &[&id, &step.as_str(), &fault]).await.unwrap();
    }

    /// Upgraded, and kept: both sides hold everything.
    async fn kept(&mut self) {
        let mut world = self.create(true).await;
        let writing = world.write(self.roles, &self.api).await;
        self.prepare(UPGRADED);
        let new = ask_for_upgrade(&self.api, &world.id, self.real).await;
        let old = world.id.clone();
        self.walk(UPGRADED, &old, &new).await;
        verifying(&self.api, &old, &new).await;
        let written = writing.stop().await;
        self.prepare(DETACHED);
        ask_for_detach(&self.api, &new).await;
        self.walk(DETACHED, &old, &new).await;
        healthy(&self.api, &new).await;
        world.settle(&self.api, self.real).await;
        world.assert_holds(self.roles, &self.api, &old, &written).await;
        world.assert_holds(self.roles, &self.api, &new, &written).await;
        self.assert_serves(&old, &new).await;
        drop(world);
        self.delete(&[&new], false).await;
        self.delete(&[&old], true).await;
        self.assert_nothing_is_left().await;
    }

    /// Upgraded, and the new side deleted: the old side holds everything.
    async fn abandoned(&mut self) {
        let world = self.create(false).await;
        let writing = world.write(self.roles, &self.api).await;
        let new = ask_for_upgrade(&self.api, &world.id, self.real).await;
        let old = world.id.clone();
        verifying(&self.api, &old, &new).await;
        self.prepare(ABANDONED);
        self.api.delete(&new).await.unwrap();
        self.walk(ABANDONED, &old, &new).await;
        wait_for("the new one is gone", Duration::from_secs(120), async || {
            self.api.read(&format!("/instances/{new}")).await.ok().filter(|(status, _)| *status == 404)
        })
        .await;
        self.back_to_one(world, writing).await;
    }

    /// An upgrade that fails at its last check: the old side holds everything, the new one says why.
    async fn undone(&mut self) {
        let world = self.create(false).await;
        let writing = world.write(self.roles, &self.api).await;
        self.let_fail(&world.id, Step::Verify).await;
        self.prepare(UNDONE);
        let new = ask_for_upgrade(&self.api, &world.id, self.real).await;
        let old = world.id.clone();
        self.walk(UNDONE, &old, &new).await;
        status(&self.api, &new, "ERROR", Duration::from_secs(120)).await;
        let seen = self.api.show(&new).await.unwrap();
        assert!(seen["fault"]["message"].as_str().unwrap().contains("verify"), "{seen}");
        self.delete(&[&new], false).await;
        self.back_to_one(world, writing).await;
    }

    /// A creation that fails: an instance in ERROR, which holds nothing.
    async fn unmade(&mut self) {
        let hold = point(CREATED, Step::Place, "before");
        self.roles.arm(&hold);
        let world = Tenant::ask(&self.api, self.real).await;
        self.roles.reached(&hold).await;
        self.let_fail(&world.id, Step::Publish).await;
        self.prepare(UNMADE);
        self.roles.disarm(&hold);
        let id = world.id.clone();
        self.walk(UNMADE, &id, &id).await;
        status(&self.api, &id, "ERROR", Duration::from_secs(120)).await;
        self.delete(&[&id], false).await;
        self.assert_nothing_is_left().await;
    }

    /// A creation that hangs and is deleted: nothing is left.
    async fn unwanted(&mut self) {
        let hold = point(CREATED, Step::Place, "before");
        self.roles.arm(&hold);
        let world = Tenant::ask(&self.api, self.real).await;
        self.roles.reached(&hold).await;
        self.let_be(&world.id, Step::Publish, "hang").await;
        self.prepare(UNWANTED);
        self.roles.disarm(&hold);
        let id = world.id.clone();
        let task = unwanted::making(&self.api, &id).await;
        wait_for("it hangs", Duration::from_secs(120), async || {
            (self.api.task(&task).await.ok()?["step"] == Step::Publish.as_str()).then_some(())
        })
        .await;
        self.api.delete(&id).await.unwrap();
        self.walk(UNWANTED, &id, &id).await;
        wait_for("it is gone", Duration::from_secs(120), async || {
            self.api.read(&format!("/instances/{id}")).await.ok().filter(|(status, _)| *status == 404)
        })
        .await;
        self.assert_nothing_is_left().await;
    }

    /// The same instance, upgraded by the strategy: it holds everything, at its address.
    async fn switched(&mut self, strategy: Strategy) {
        let world = self.create(false).await;
        let writing = world.write(self.roles, &self.api).await;
        let (forward, finish) = match strategy {
            Strategy::InPlace => (CONVERTED, CONVERTED_ON),
            Strategy::Twin => (FED, FED_ON),
        };
        let id = world.id.clone();
        for line in [EXAMINED, forward, finish] {
            self.prepare(line);
        }
        ask_to_switch(&self.api, &id, self.real, strategy).await;
        for line in [EXAMINED, forward, finish] {
            self.walk(line, &id, &id).await;
        }
        let upgrade = upgrade::ended(&self.api, &id, Duration::from_secs(240)).await;
        assert_eq!(upgrade["state"], "succeeded", "{upgrade}");
        self.still_one(world, writing, versions(self.real).1).await;
    }

    /// The same instance, whose upgrade goes back at `step`: it has the old version and holds everything.
    async fn back(&mut self, line: Line, strategy: Strategy, step: Step, cancelled: bool) {
        let world = self.create(false).await;
        let writing = world.write(self.roles, &self.api).await;
        let id = world.id.clone();
        self.let_be(&id, step, if cancelled { "hang" } else { "fail" }).await;
        self.prepare(line);
        ask_to_switch(&self.api, &id, self.real, strategy).await;
        if cancelled {
            let task = self.api.task_of(&id).await.unwrap();
            wait_for(&format!("it hangs at {step:?}"), Duration::from_secs(120), async || {
                (self.api.task(&task).await.ok()?["step"] == step.as_str()).then_some(())
            })
            .await;
            wait_for("the end is accepted", Duration::from_secs(30), async || {
                let asked = self.api.post(&format!("/tasks/{task}/cancel"), &serde_json::json!({})).await;
                asked.is_ok_and(|(status, _)| status == 202).then_some(())
            })
            .await;
        }
        self.walk(line, &id, &id).await;
        let upgrade = upgrade::ended(&self.api, &id, Duration::from_secs(240)).await;
        assert_eq!(upgrade["state"], if cancelled { "cancelled" } else { "rolled_back" }, "{upgrade}");
        let seen =
            wait_for("it is shown", Duration::from_secs(30), async || self.api.show(&id).await.ok()).await;
        assert_eq!(seen.get("fault").is_some(), !cancelled, "{seen}");
        self.still_one(world, writing, versions(self.real).0).await;
    }

    /// The same instance, restarted, or with another flavor; where that fails, with the flavor that it had.
    async fn restarted(&mut self, line: Line, fails: bool) {
        let world = self.create(false).await;
        let writing = world.write(self.roles, &self.api).await;
        let id = world.id.clone();
        let before = self.api.show(&id).await.unwrap()["flavor"]["id"].clone();
        if fails {
            self.let_be(&id, Step::Admit, "fail").await;
        }
        let finish = (line.0, Phase::Finish);
        self.prepare(line);
        if !fails {
            self.prepare(finish);
        }
        let is_resize = line.0 == TaskKind::Resize;
        let action = match is_resize {
            true => serde_json::json!({"resize": {"flavorRef": 3}}),
            false => serde_json::json!({"restart": {}}),
        };
        wait_for("it is accepted", Duration::from_secs(60), async || {
            let (status, answer) = self.api.post(&format!("/instances/{id}/action"), &action).await.ok()?;
            assert!(status == 202 || status == 503, "{status}: {answer}");
            (status == 202).then_some(())
        })
        .await;
        self.walk(line, &id, &id).await;
        if !fails {
            self.walk(finish, &id, &id).await;
        }
        status(&self.api, &id, "ACTIVE", Duration::from_secs(240)).await;
        let seen =
            wait_for("it is shown", Duration::from_secs(30), async || self.api.show(&id).await.ok()).await;
        assert_eq!(seen.get("fault").is_some(), fails, "{seen}");
        assert_ne!(before, "3");
        let flavor = if is_resize && !fails { &serde_json::json!("3") } else { &before };
        assert_eq!(&seen["flavor"]["id"], flavor, "{seen}");
        self.still_one(world, writing, versions(self.real).0).await;
    }

    /// The instance serves `version`, one server of it takes writes, and everything is there.
    async fn still_one(
        &mut self,
        mut world: Tenant,
        writing: crate::harness::tenant::Writing,
        version: &str,
    ) {
        let id = world.id.clone();
        healthy(&self.api, &id).await;
        let written = writing.stop().await;
        world.settle(&self.api, self.real).await;
        world.assert_holds(self.roles, &self.api, &id, &written).await;
        assert_eq!(self.api.show(&id).await.unwrap()["datastore"]["version"], version);
        let db = self.roles.db().await;
        for none in ["holds", "relays", "generations where role = 'candidate'", "task_instances where live"] {
            assert_eq!(store::count(&db, none).await, 0, "left over: {none}");
        }
        let writable = "generations where not read_only and wanted = 'running'";
        assert_eq!(store::count(&db, writable).await, 1, "one server takes writes");
        if !self.real {
            let writable = "simulated_servers where state = 'running' and not read_only";
            // One that was killed this moment is started again.
            wait_for("one server takes writes", Duration::from_secs(60), async || {
                let takes = store::count(&db, writable).await;
                assert!(takes <= 1, "{takes} servers take writes");
                (takes == 1).then_some(())
            })
            .await;
        }
        drop(world);
        self.delete(&[&id], false).await;
        self.assert_nothing_is_left().await;
    }

    async fn back_to_one(&mut self, mut world: Tenant, writing: crate::harness::tenant::Writing) {
        healthy(&self.api, &world.id).await;
        let written = writing.stop().await;
        world.settle(&self.api, self.real).await;
        world.assert_holds(self.roles, &self.api, &world.id, &written).await;
        let seen = self.api.show(&world.id).await.unwrap();
        assert!(seen.get("replicas").is_none(), "{seen}");
        let id = world.id.clone();
        drop(world);
        self.delete(&[&id], false).await;
        self.assert_nothing_is_left().await;
    }

    async fn delete(&mut self, ids: &[&str], cells: bool) {
        for id in ids {
            if cells {
                self.prepare(DELETED);
            }
            wait_for("the deletion is accepted", Duration::from_secs(60), async || {
                self.api.delete(id).await.ok()
            })
            .await;
            if cells {
                self.walk(DELETED, id, id).await;
            }
            wait_for("it is gone", Duration::from_secs(120), async || {
                self.api.read(&format!("/instances/{id}")).await.ok().filter(|(status, _)| *status == 404)
            })
            .await;
        }
    }

    /// What the rows say of both: one serving generation each, of the version that its server answered.
    async fn assert_serves(&self, old: &str, new: &str) {
        let db = self.roles.db().await;
        for id in [old, new] {
            let id: uuid::Uuid = id.parse().unwrap();
            let sql = "select count(*) from instances i join generations g on g.id = i.serving_generation_id \
                       and g.role = 'serving' and g.instance_id = i.id and g.version_id = i.running_version_id \
                       and not g.read_only and g.wanted = 'running' where i.id = $1";
            let serving: i64 = db.query_one(sql, &[&id]).await.unwrap().get(0);
            assert_eq!(serving, 1, "{id} has one serving generation");
        }
        let new: uuid::Uuid = new.parse().unwrap();
        let sql = "select count(*) from tasks t join task_instances c on c.task_id = t.id and c.instance_id = $1 \
                   where t.kind = 'upgrade' and t.state = 'succeeded' and not exists \
                   (select from task_steps s where s.task_id = t.id and s.outcome is null)";
        let ended: i64 = db.query_one(sql, &[&new]).await.unwrap().get(0);
        assert_eq!(ended, 1, "the upgrade ended once, and each of its steps");
    }

    async fn assert_nothing_is_left(&self) {
        let db = self.roles.db().await;
        for what in [
            "relays",
            "endpoints",
            "task_instances where live",
            "generations where role <> 'dropped'",
            "tasks where ended_at is null",
            "tasks where secrets is not null",
            "task_steps where outcome is null",
            "simulated_servers",
            "simulated_writes",
        ] {
            assert_eq!(store::count(&db, what).await, 0, "left over: {what}");
        }
        let folders: Vec<_> = std::fs::read_dir(self.roles.state.join("generations"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        assert!(folders.is_empty(), "left over: {folders:?}");
    }
}

/// A server that was killed at the last cell is up again, if it shall run: so each cell kills one.
pub async fn until_it_runs_again(roles: &Roles, db: &tokio_postgres::Client, instance: &str, real: bool) {
    let id: uuid::Uuid = instance.parse().unwrap();
    wait_for("the server runs again", Duration::from_secs(60), async || {
        let sql = "select g.id, s.state = 'running' from generations g \
                   left join simulated_servers s on s.generation_id = g.id \
                   where g.instance_id = $1 and g.wanted = 'running' and g.role <> 'dropped'";
        let wanted = db.query(sql, &[&id]).await.unwrap();
        wanted
            .iter()
            .all(|row| {
                let generation: uuid::Uuid = row.get(0);
                if real {
                    processes::engine(roles.folder(), &generation.to_string()).is_some()
                } else {
                    row.get::<_, Option<bool>>(1) == Some(true)
                }
            })
            .then_some(())
    })
    .await;
}

async fn verifying(api: &Client, old: &str, new: &str) {
    for id in [new, old] {
        status(api, id, "VERIFY_UPGRADE", Duration::from_secs(240)).await;
    }
}

/// Lives the lives with these cells of one victim; gives how often somebody was killed.
async fn live(roles: &mut Roles, real: bool, victim: Victim, cells: &BTreeSet<String>) -> usize {
    let api = roles.login("coffer").await;
    if !real {
        let sql = "update upgrade_paths set ways = array['replica', 'in_place', 'twin', 'rolling'] where id in \
                   (select p.id from upgrade_paths p \
                   join datastore_versions a on a.id = p.from_version_id and a.name = '10.1' \
                   join datastore_versions b on b.id = p.to_version_id and b.name = '10.4')";
        assert_eq!(roles.db().await.execute(sql, &[]).await.unwrap(), 1);
    }
    let mut lived = Lived { roles, api, real, victim, cells: cells.clone(), killed: 0 };
    for life in &LIVES {
        let has_cells = life.walks.iter().any(|(line, marked)| *marked && !lived.cells_of(*line).is_empty());
        if !has_cells {
            continue;
        }
        match life.name {
            "kept" => lived.kept().await,
            "abandoned" => lived.abandoned().await,
            "undone" => lived.undone().await,
            "unwanted" => lived.unwanted().await,
            "converted" => lived.switched(Strategy::InPlace).await,
            "fed" => lived.switched(Strategy::Twin).await,
            "back" => {
                let is_walked = |line: &Line| life.walks.contains(&(*line, true));
                let (line, strategy, step, cancelled) =
                    BACK.into_iter().find(|(line, ..)| is_walked(line)).unwrap();
                lived.back(line, strategy, step, cancelled).await;
            }
            "restarted" => {
                let is_walked = |line: &Line| life.walks.contains(&(*line, true));
                let (line, fails) = RESTARTS.into_iter().find(|(line, _)| is_walked(line)).unwrap();
                lived.restarted(line, fails).await;
            }
            "paired" => lived.paired().await,
            _unmade => lived.unmade().await,
        }
    }
    lived.killed
}

async fn all_cells(runtime: &'static str, victim: Victim) {
    // Groups have no real servers yet.
    let cells: BTreeSet<String> =
        lines().into_iter().filter(|(kind, _)| !kind.of_group()).flat_map(points).collect();
    let mut roles = Roles::start(runtime).await;
    let killed = live(&mut roles, runtime == "process", victim, &cells).await;
    let expected = match victim {
        Victim::Worker | Victim::Api | Victim::Endpoint | Victim::Postgres => cells.len(),
        // Wherever there is such a server: not before it is made or while it is stopped, nor after it is dropped.
        Victim::Old => 100,
        Victim::New => 70,
    };
    assert!(killed >= expected, "{victim:?} was killed {killed} times, at {expected} cells at least");
    eprintln!("{victim:?} on {runtime}: {} cells, killed {killed} times", cells.len());
}

macro_rules! cells {
    ($($name:ident: $victim:ident),* $(,)?) => {
        mod groups {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                pairs::cells(Victim::$victim).await;
            })*
        }
        mod simulated {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                all_cells("simulated", Victim::$victim).await;
            })*
        }
        mod torture {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "all kill cells on real engines: make torture"]
            async fn $name() {
                all_cells("process", Victim::$victim).await;
            })*
        }
    };
}
cells! {
    of_the_worker: Worker,
    of_the_api: Api,
    of_the_endpoint: Endpoint,
    of_the_old_server: Old,
    of_the_new_server: New,
    of_postgres: Postgres,
}

/// xorshift64: a seed gives the same sample for ever.
pub struct Dice(u64);

impl Dice {
    /// Dice for a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }
}

/// The seed that was asked for, or one of this moment, which is told.
pub fn seed() -> u64 {
    let seed =
        std::env::var("COFFER_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::try_from(now.as_micros()).unwrap()
        });
    eprintln!("the sample is repeated by COFFER_TEST_SEED={seed}");
    seed
}

/// Two cells of each victim on the way to the detach, and of each second one another in another life: a sample takes
/// a minute and not an hour.
async fn sample(victims: &[Victim]) {
    let mut dice = Dice::new(seed());
    let way: Vec<String> = [CREATED, UPGRADED, DETACHED].into_iter().flat_map(points).collect();
    let back: Vec<String> = [ABANDONED, UNDONE, UNMADE, UNWANTED].into_iter().flat_map(points).collect();
    let mut roles = Roles::start("process").await;
    let mut run = 0;
    let lines = [EXAMINED, CONVERTED, CONVERTED_ON, FED, FED_ON];
    let switched: Vec<String> = lines
        .into_iter()
        .chain(BACK.map(|(line, ..)| line))
        .chain(RESTARTS.map(|(line, _)| line))
        .chain([RESTARTED_ON, RESIZED_ON])
        .flat_map(points)
        .collect();
    for (number, victim) in victims.iter().copied().enumerate() {
        let mut cells = BTreeSet::new();
        while cells.len() < 2 {
            cells.insert(way[dice.below(way.len())].clone());
        }
        if number % 2 == 0 {
            cells.insert(back[dice.below(back.len())].clone());
        }
        cells.insert(switched[dice.below(switched.len())].clone());
        eprintln!("{victim:?}: {cells:?}");
        live(&mut roles, true, victim, &cells).await;
        run += cells.len();
    }
    assert!(run >= 6, "{run} cells of three victims");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_on_real_engines_of_services() {
    sample(&VICTIMS[..3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_on_real_engines_of_servers() {
    sample(&VICTIMS[3..]).await;
}
