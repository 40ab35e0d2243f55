//! The cells of a group's tasks, on simulated servers: groups have no real ones yet.

use std::collections::BTreeSet;
use std::time::Duration;

use coffer::domain::task::{Phase, Step, TaskKind};
use coffer::domain::timing::Timing;

use super::{Line, Lived, Victim, lines, live, point, points};
use crate::harness::pair::{Asking, Pair};
use crate::harness::roles::Roles;
use crate::harness::tenant::SimulatedWriter;
use crate::harness::{pair, store, wait_for};
use crate::unwanted;

/// The lines of a group, in the order in which its life walks them.
pub const LINES: [(Line, bool); 15] = [
    ((TaskKind::CreateGroup, Phase::Forward), true),
    ((TaskKind::Failover, Phase::Forward), true),
    ((TaskKind::Failover, Phase::Finish), true),
    ((TaskKind::Failover, Phase::Undo), true),
    ((TaskKind::Failover, Phase::Abandon), true),
    ((TaskKind::UpgradeRolling, Phase::Undo), true),
    ((TaskKind::UpgradeRolling, Phase::Abandon), true),
    ((TaskKind::UpgradeRolling, Phase::Forward), true),
    ((TaskKind::UpgradeRolling, Phase::Finish), true),
    ((TaskKind::Switchback, Phase::Forward), true),
    ((TaskKind::Switchback, Phase::Finish), true),
    ((TaskKind::Switchback, Phase::Undo), true),
    ((TaskKind::DeleteGroup, Phase::Forward), true),
    ((TaskKind::CreateGroup, Phase::Undo), true),
    ((TaskKind::CreateGroup, Phase::Abandon), true),
];

impl Lived<'_> {
    /// A group, in one life: it fails over, and back again from a failover and an upgrade that fail or are cancelled; it is
    /// upgraded with both changes of roles, and once more with a second one that fails; and it is deleted.
    pub async fn paired(&mut self) {
        let line = |kind: TaskKind, phase: Phase| (kind, phase);
        let (forward, finish) = (Phase::Forward, Phase::Finish);
        let (failover, rolling, back) = (TaskKind::Failover, TaskKind::UpgradeRolling, TaskKind::Switchback);
        let created = line(TaskKind::CreateGroup, forward);
        self.prepare(created);
        let id = pair::ask(&self.api, "mariadb", "10.1").await;
        let db = self.roles.db().await;
        let (primary, standby) = store::members(&db, &id).await;
        self.walk(created, &primary, &standby).await;
        let pair = Pair::made(&self.api, &id).await;
        let writing = SimulatedWriter::at_address(self.roles.url(), &id);
        let [a, b] = [pair.primary.clone(), pair.standby.clone()];

        for walked in [line(failover, forward), line(failover, finish)] {
            self.prepare(walked);
        }
        self.fail_over(&pair).await;
        for walked in [line(failover, forward), line(failover, finish)] {
            self.walk(walked, &a, &b).await;
        }
        self.pair_is(&pair, "succeeded", "10.1", ["az2", "az1"]).await;

        for (kind, phase, step, version) in [
            (failover, Phase::Undo, Step::Cutover, "10.1"),
            (failover, Phase::Abandon, Step::Drain, "10.1"),
            (rolling, Phase::Undo, Step::Cutover, "10.1"),
            (rolling, Phase::Abandon, Step::Cut, "10.1"),
        ] {
            if self.cells_of(line(kind, phase)).is_empty() {
                continue;
            }
            let cancelled = phase == Phase::Abandon;
            self.let_be(&b, step, if cancelled { "hang" } else { "fail" }).await;
            self.prepare(line(kind, phase));
            match kind {
                TaskKind::Failover => self.fail_over(&pair).await,
                _rolling => self.upgrade_pair(&pair, "10.4").await,
            }
            if cancelled {
                let task = wait_for("it hangs", Duration::from_secs(120), async || {
                    let task = pair.task(&self.api).await;
                    (task["step"] == step.as_str()).then(|| task["id"].as_str().unwrap().to_owned())
                })
                .await;
                self.cancel(&task).await;
            }
            self.walk(line(kind, phase), &b, &a).await;
            let ends = if cancelled { "cancelled" } else { "rolled_back" };
            self.pair_is(&pair, ends, version, ["az2", "az1"]).await;
            self.let_all_be().await;
        }

        let all = [line(rolling, forward), line(rolling, finish), line(back, forward), line(back, finish)];
        for walked in all {
            self.prepare(walked);
        }
        self.upgrade_pair(&pair, "10.4").await;
        for walked in all {
            self.walk(walked, &b, &a).await;
        }
        self.pair_is(&pair, "succeeded", "10.4", ["az2", "az1"]).await;

        if !self.cells_of(line(back, Phase::Undo)).is_empty() {
            self.second_switch_fails(&pair).await;
        }

        let written = writing.stop().await;
        self.holds_at(&pair, &written).await;
        let deleted = line(TaskKind::DeleteGroup, forward);
        self.prepare(deleted);
        pair.ask_to_delete(&self.api).await;
        self.walk(deleted, &a, &b).await;
        pair.gone(&self.api).await;
        if !self.cells_of((TaskKind::CreateGroup, Phase::Undo)).is_empty() {
            self.unpaired().await;
        }
        if !self.cells_of((TaskKind::CreateGroup, Phase::Abandon)).is_empty() {
            self.unwanted_pair().await;
        }
        self.assert_nothing_is_left().await;
    }

    /// Upgraded once more, and the second change of roles fails: it is upgraded all the same.
    async fn second_switch_fails(&mut self, pair: &Pair) {
        let rejoin = ((TaskKind::UpgradeRolling, Phase::Finish), Step::Rejoin);
        let undo = (TaskKind::Switchback, Phase::Undo);
        let (a, b) = (&pair.primary, &pair.standby);
        let db = self.roles.db().await;
        let expire = "update generations set keep_until = now() where role = 'retired'";
        db.execute(expire, &[]).await.unwrap();
        let hold = point(rejoin.0, rejoin.1, "before");
        self.roles.arm(&hold);
        self.prepare(undo);
        self.upgrade_pair(pair, "10.4enc").await;
        self.roles.reached(&hold).await;
        self.let_be(a, Step::Cutover, "fail").await;
        self.roles.disarm(&hold);
        self.walk(undo, a, b).await;
        self.pair_is(pair, "succeeded", "10.4enc", ["az1", "az2"]).await;
        let task = pair.ended(&self.api).await;
        assert!(task["reason"].as_str().unwrap().contains("10.4enc"), "{task}");
    }

    /// A group whose making fails: it is in ERROR, and holds nothing.
    async fn unpaired(&mut self) {
        let unmade = (TaskKind::CreateGroup, Phase::Undo);
        let hold = point((TaskKind::CreateGroup, Phase::Forward), Step::Place, "before");
        self.roles.arm(&hold);
        let id = pair::ask(&self.api, "mariadb", "10.1").await;
        self.roles.reached(&hold).await;
        let db = self.roles.db().await;
        let (primary, standby) = store::members(&db, &id).await;
        self.let_fail(&primary, Step::Publish).await;
        self.prepare(unmade);
        self.roles.disarm(&hold);
        self.walk(unmade, &primary, &standby).await;
        let seen = pair::until(&self.api, &id, "ERROR").await;
        assert!(seen["fault"]["message"].as_str().unwrap().contains("publish"), "{seen}");
        let pair = Pair { id, primary, standby };
        pair.delete(&self.api).await;
    }

    /// A group whose making hangs and which is deleted: nothing is left.
    async fn unwanted_pair(&mut self) {
        let unwanted = (TaskKind::CreateGroup, Phase::Abandon);
        let hold = point((TaskKind::CreateGroup, Phase::Forward), Step::Place, "before");
        self.roles.arm(&hold);
        let id = pair::ask(&self.api, "mariadb", "10.1").await;
        self.roles.reached(&hold).await;
        let db = self.roles.db().await;
        let (primary, standby) = store::members(&db, &id).await;
        self.let_be(&primary, Step::Publish, "hang").await;
        self.prepare(unwanted);
        self.roles.disarm(&hold);
        let task = unwanted::making(&self.api, &primary).await;
        wait_for("it hangs", Duration::from_secs(120), async || {
            (self.api.task(&task).await.ok()?["step"] == Step::Publish.as_str()).then_some(())
        })
        .await;
        let pair = Pair { id, primary: primary.clone(), standby: standby.clone() };
        pair.ask_to_delete(&self.api).await;
        self.walk(unwanted, &primary, &standby).await;
        pair.gone(&self.api).await;
    }

    /// Asks for a change of roles; who does not hear of the acceptance finds that the group is busy.
    async fn fail_over(&self, pair: &Pair) {
        let asking = Asking::of(self.roles, &self.api);
        wait_for("the change of roles is accepted", Duration::from_secs(60), async || {
            asking.fail_over(pair).await.ok()
        })
        .await;
    }

    /// Asks for an upgrade with both changes of roles.
    async fn upgrade_pair(&self, pair: &Pair, version: &str) {
        let asking = Asking::of(self.roles, &self.api);
        wait_for("the upgrade is accepted", Duration::from_secs(60), async || {
            asking.upgrade(pair, pair::named("mariadb", version), true, Timing::Now).await.ok()
        })
        .await;
    }

    async fn cancel(&self, task: &str) {
        wait_for("the end is accepted", Duration::from_secs(30), async || {
            let asked = self.api.post(&format!("/tasks/{task}/cancel"), &serde_json::json!({})).await;
            asked.is_ok_and(|(status, _)| status == 202).then_some(())
        })
        .await;
    }

    async fn let_all_be(&self) {
        self.roles.db().await.execute("delete from simulations", &[]).await.unwrap();
    }

    /// The group's task ended so, both members have that version and are in these zones, and one server takes writes.
    async fn pair_is(&self, pair: &Pair, ended: &str, version: &str, zones: [&str; 2]) {
        let task = pair.ended(&self.api).await;
        assert_eq!(task["state"], ended, "{task}");
        pair::until(&self.api, &pair.id, "ACTIVE").await;
        assert_eq!(pair.zones(&self.api).await, zones);
        let db = self.roles.db().await;
        let id: uuid::Uuid = pair.id.parse().unwrap();
        let sql = "select count(*) from instances i join generations g on g.id = i.serving_generation_id \
                   and g.role = 'serving' and g.version_id = i.running_version_id and g.wanted = 'running' \
                   and g.read_only = (i.replica_of is not null) \
                   join datastore_versions v on v.id = g.version_id and v.name = $2 where i.group_id = $1";
        let serving: i64 = db.query_one(sql, &[&id, &version]).await.unwrap().get(0);
        assert_eq!(serving, 2, "both members serve {version}");
        for none in ["holds", "relays", "generations where role = 'candidate'", "task_instances where live"] {
            assert_eq!(store::count(&db, none).await, 0, "left over: {none}");
        }
        wait_for("one server takes writes, and the other one follows it", Duration::from_secs(60), async || {
            let takes =
                store::count(&db, "simulated_servers where state = 'running' and not read_only").await;
            assert!(takes <= 1, "{takes} servers take writes");
            let follow = "simulated_servers f join simulated_servers s on s.generation_id = f.follows \
                          where f.state = 'running' and f.read_only and s.state = 'running' and not s.read_only";
            (takes == 1 && store::count(&db, follow).await == 1).then_some(())
        })
        .await;
    }

    /// What was acknowledged is at the group's primary, once.
    async fn holds_at(&self, pair: &Pair, written: &[String]) {
        let db = self.roles.db().await;
        let id: uuid::Uuid = pair.id.parse().unwrap();
        let sql = "select w.payload from simulated_writes w join endpoints e \
                   on e.generation_id = w.generation_id where e.instance_id = $1";
        let mut found: Vec<String> =
            db.query(sql, &[&id]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let all = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), all, "nothing is there twice");
        let missing: Vec<_> = written.iter().filter(|it| found.binary_search(it).is_err()).collect();
        assert!(missing.is_empty(), "acknowledged and not there: {missing:?} of {}", written.len());
    }
}

/// The cells of a group's tasks. The worker is killed at all of them. The others' are those of each step once, before its
/// record: after it is nearly the same as before the next one's, and the steps of a failover, of an upgrade that is
/// cancelled and of a deletion are those of an upgrade, of one that fails, and of an instance's.
pub async fn cells(victim: Victim) {
    let counts = |(kind, phase): &Line| match (kind, phase) {
        (TaskKind::CreateGroup, Phase::Forward) => true,
        (TaskKind::UpgradeRolling, Phase::Forward | Phase::Finish | Phase::Undo) => true,
        (TaskKind::Switchback, Phase::Forward | Phase::Finish) => true,
        (kind, _) => victim == Victim::Worker && kind.of_group(),
    };
    let all = lines().into_iter().filter(counts).flat_map(points);
    let cells: BTreeSet<String> =
        all.filter(|point| victim == Victim::Worker || point.ends_with(".before")).collect();
    let mut roles = Roles::start("simulated").await;
    let killed = live(&mut roles, false, victim, &cells).await;
    let expected = match victim {
        Victim::Worker | Victim::Api | Victim::Endpoint | Victim::Postgres => cells.len(),
        // Wherever there is such a server that shall run.
        Victim::Old | Victim::New => 20,
    };
    assert!(killed >= expected, "{victim:?} was killed {killed} times, at {expected} cells at least");
    eprintln!("{victim:?} of groups: {} cells, killed {killed} times", cells.len());
}
