//! The house in which cells lie, and how a fault is put into it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer::cli::demo::client::Client;
use coffer::domain::ids::GenerationId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;

use super::stand_ins::StandIns;
use super::{Engine, Fault};
use crate::harness::house::{Build, House};
use crate::harness::points::Points;
use crate::harness::store::Side;
use crate::harness::{processes, store, wait_for};

/// Seconds of a lease where somebody is frozen past it.
const SHORT_LEASE: &str = "4";

/// The size of a small file system, and what is left of it when it is full, in MB.
const SMALL: (u32, u64) = (3_000, 8);

/// How long programs fail, or a disk is full, where the step does not end by that.
const TROUBLE: Duration = Duration::from_secs(8);

/// By what deadlines are multiplied where something hangs, and how long is waited for sessions of tenants' then, in seconds.
pub const DEADLINE_FACTOR: f64 = 0.05;
const SHORT_PATIENCE: &str = "20";

/// How long a step may run before there is something of it to stop.
const BEGINS: Duration = Duration::from_secs(3);

/// How long what a step runs is stopped, from the first on.
const STOPS: Duration = Duration::from_millis(500);

/// What of a step hangs.
#[derive(Clone, Copy, Debug)]
pub struct Stops {
    /// The old server.
    pub old_server: bool,
    /// The new server.
    pub new_server: bool,
    /// Programs and servers that the step starts.
    pub what_it_starts: bool,
}

/// A house with what its faults need.
pub struct FaultyHouse {
    house: Mutex<House>,
    pub points: Points,
    state: PathBuf,
    folder: PathBuf,
    generations: PathBuf,
    url: String,
    client: Mutex<Option<Arc<tokio_postgres::Client>>>,
    stand_ins: Option<StandIns>,
}

/// An upgrade, by its row.
#[derive(Debug)]
pub struct Upgrade {
    pub id: uuid::Uuid,
    pub state: String,
    pub step: Option<String>,
    owner: Option<String>,
    /// Why it ended as it did, in words for the operator.
    pub why: Option<String>,
}

impl Upgrade {
    pub fn has_ended(&self) -> bool {
        ["succeeded", "rolled_back", "cancelled", "needs_operator"].contains(&self.state.as_str())
    }
}

impl FaultyHouse {
    /// Builds it for faults of this kind.
    pub async fn build(engine: Engine, fault: Fault) -> Self {
        let stand_ins = (fault == Fault::Program).then(|| StandIns::make(engine.roots()));
        let build = Build {
            engines: stand_ins.as_ref().map(|it| it.engines.clone()),
            small_mb: (fault == Fault::Full).then_some(SMALL.0),
        };
        let factor = DEADLINE_FACTOR.to_string();
        let more: &[&str] = match fault {
            Fault::Frozen => &["--lease", SHORT_LEASE],
            Fault::Hangs => &["--deadline-factor", &factor, "--patience", SHORT_PATIENCE],
            _other => &[],
        };
        let mut house = House::build(more, build).await;
        if fault == Fault::Frozen {
            house.another_worker(SHORT_LEASE).await;
        }
        let url = store::url(&house.state).await;
        Self {
            points: house.points.clone(),
            state: house.state.clone(),
            folder: house.folder().to_owned(),
            generations: house.generations(),
            house: Mutex::new(house),
            url,
            client: Mutex::default(),
            stand_ins,
        }
    }

    /// Logs in: `dev` has another port each time that it is started.
    pub async fn api(&self) -> Client {
        wait_for("a login", Duration::from_secs(60), async || Client::login(&self.state, "coffer").await.ok())
            .await
    }

    /// A connection to the store, as soon as it answers: the last one, while that is open.
    pub async fn db(&self) -> Arc<tokio_postgres::Client> {
        let mut last = self.client.lock().await;
        if let Some(open) = last.as_ref().filter(|client| !client.is_closed()) {
            return Arc::clone(open);
        }
        let fresh = wait_for("the store answers", Duration::from_secs(60), async || {
            let (client, connection) =
                tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.ok()?;
            tokio::spawn(connection);
            Some(Arc::new(client))
        })
        .await;
        *last = Some(Arc::clone(&fresh));
        fresh
    }

    /// The instance's newest upgrade.
    pub async fn upgrade(&self, id: &str) -> Upgrade {
        let sql = "select t.id, t.state, t.step, t.lease_owner, t.operator_reason from tasks t \
                   join task_instances c on c.task_id = t.id and c.instance_id = $1 \
                   where t.kind like 'upgrade%' order by t.created_at desc limit 1";
        let instance: uuid::Uuid = id.parse().unwrap();
        wait_for("the store tells of the upgrade", Duration::from_secs(60), async || {
            let row = self.db().await.query_one(sql, &[&instance]).await.ok()?;
            Some(Upgrade {
                id: row.get(0),
                state: row.get(1),
                step: row.get(2),
                owner: row.get(3),
                why: row.get(4),
            })
        })
        .await
    }

    /// Asks that the step of the instance's upgrade fails.
    pub async fn let_fail(&self, id: &str, step: &str) {
        let instance: uuid::Uuid = id.parse().unwrap();
        let sql = "insert into simulations (instance_id, step, fault) values ($1, $2, 'fail')";
        self.db().await.execute(sql, &[&instance, &step]).await.unwrap();
    }

    /// Asks that no step fails any more.
    pub async fn let_be(&self, id: &str) {
        let instance: uuid::Uuid = id.parse().unwrap();
        let sql = "delete from simulations where instance_id = $1";
        self.db().await.execute(sql, &[&instance]).await.unwrap();
    }

    /// Has the operator let the upgrade go on.
    pub fn retry(&self, upgrade: &Upgrade) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
        command.args(["admin", "task", "retry", &upgrade.id.to_string()]).env("DATABASE_URL", &self.url);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn side(&self, id: &str, side: Side) -> Option<GenerationId> {
        store::side(&*self.db().await, id, side).await
    }

    fn processes_of(&self, generation: GenerationId) -> Vec<processes::Process> {
        processes::of(&self.folder.join("state/generations").join(generation.to_string()))
    }

    /// The servers of the instance that run: of each, whether it is the one that serves.
    pub async fn servers(&self, id: &str) -> Vec<bool> {
        let instance: uuid::Uuid = id.parse().unwrap();
        let sql = "select g.id, g.id = i.serving_generation_id from generations g \
                   join instances i on i.id = g.instance_id where i.id = $1";
        let rows = self.db().await.query(sql, &[&instance]).await.unwrap();
        let runs = |id: uuid::Uuid| processes::engine(&self.folder, &id.to_string()).is_some();
        rows.iter().filter(|row| runs(row.get(0))).map(|row| row.get(1)).collect()
    }

    /// How many of these rows there are of the instance.
    pub async fn count(&self, of: &str, id: &str) -> i64 {
        let instance: uuid::Uuid = id.parse().unwrap();
        let sql = format!("select count(*) from {of} and instance_id = $1");
        self.db().await.query_one(&sql, &[&instance]).await.unwrap().get(0)
    }

    /// Puts the fault in, while `worker` waits at `point`, and lets it go on. Gives whether there was anything to do
    /// it to. `after` is for how long the worker is at work before it is frozen, or before parents are killed.
    pub async fn inject(
        &self,
        fault: Fault,
        id: &str,
        (step, stops): (&str, Stops),
        point: &str,
        worker: i32,
        after: Duration,
    ) -> bool {
        match fault {
            Fault::Frozen => {
                self.freeze(id, point, worker, after).await;
                true
            }
            Fault::Fails => {
                self.let_fail(id, step).await;
                self.points.disarm(point);
                true
            }
            Fault::Program => {
                let stand_ins = self.stand_ins.as_ref().unwrap();
                let mut sides = Vec::new();
                for side in [Side::Old, Side::New] {
                    sides.extend(self.side(id, side).await);
                }
                sides.iter().for_each(|side| stand_ins.fail(*side));
                self.points.disarm(point);
                self.until_left(id, step).await;
                sides.iter().filter(|side| stand_ins.go_on(**side)).count() > 0
            }
            Fault::Full => {
                let filler = self.generations.join("full");
                self.fill(&filler);
                self.points.disarm(point);
                self.until_left(id, step).await;
                std::fs::remove_file(filler).unwrap();
                true
            }
            Fault::Spoilt | Fault::Refused => {
                let done = match self.side(id, Side::New).await {
                    Some(generation) => self.spoil(generation, fault),
                    None => false,
                };
                self.points.disarm(point);
                done
            }
            Fault::Store => {
                let house = self.house.lock().await;
                let pid = house.postmaster_pid().await;
                signal(pid, Signal::INT);
                self.points.disarm(point);
                wait_for("the store is another", Duration::from_secs(60), async || {
                    (house.postmaster_pid().await != pid).then_some(())
                })
                .await;
                drop(self.db().await);
                true
            }
            Fault::Shims | Fault::ShimsAndServers => {
                self.points.disarm(point);
                tokio::time::sleep(after).await;
                let deadline = Instant::now() + Duration::from_secs(2);
                // A step may begin before there is any.
                loop {
                    let killed = self.kill(id, fault == Fault::ShimsAndServers).await;
                    if killed > 0 || self.has_left(id, step).await || Instant::now() > deadline {
                        return killed > 0;
                    }
                }
            }
            Fault::Hangs => self.hang(id, point, step, stops).await,
            Fault::Dev => {
                let mut house = self.house.lock().await;
                self.points.disarm(point);
                house.kill_dev_and_start_again().await;
                true
            }
        }
    }

    /// Stops those of the old and the new server that the step asks, before it acts, and then what it runs. Nothing lets them
    /// go on. Gives whether there was anything.
    async fn hang(&self, id: &str, point: &str, step: &str, stops: Stops) -> bool {
        let sides = [
            (self.side(id, Side::Old).await, stops.old_server),
            (self.side(id, Side::New).await, stops.new_server),
        ];
        let mut stopped = std::collections::BTreeSet::new();
        let mut stop = || {
            for (side, with_server) in sides {
                let Some(side) = side else { continue };
                let all = processes::of_generation(&side.to_string());
                for process in all.iter().filter(|it| with_server || !processes::is_of_a_server(&it.line)) {
                    // One that has ended this moment is none.
                    if kill_process(Pid::from_raw(process.pid).unwrap(), Signal::STOP).is_ok() {
                        stopped.insert(process.pid);
                    }
                }
            }
            !stopped.is_empty()
        };
        let mut met = stop();
        self.points.disarm(point);
        let mut until = Instant::now() + if met { STOPS } else { BEGINS };
        // What is started by a step that has ended serves tenants: that it hangs is no fault of the upgrade's.
        while stops.what_it_starts && Instant::now() < until && !self.has_left(id, step).await {
            if stop() && !met {
                met = true;
                until = Instant::now() + STOPS;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        met
    }

    /// For how long the instance's newest upgrade has held tenants, at the longest.
    pub async fn held(&self, id: &str) -> Duration {
        let sql = "select coalesce(max(extract(epoch from r.ended_at - h.started_at)), 0)::float8 from task_steps h \
                   join lateral (select ended_at from task_steps where task_id = h.task_id and id > h.id \
                   and step = 'reopen' and outcome = 'done' order by id limit 1) r on true \
                   where h.step = 'hold' and h.task_id = $1";
        let row = self.db().await.query_one(sql, &[&self.upgrade(id).await.id]).await.unwrap();
        Duration::from_secs_f64(row.get(0))
    }

    /// Stops a worker past its lease; another takes the task. Then it is woken: while the other is at work, or a while
    /// after.
    async fn freeze(&self, id: &str, point: &str, worker: i32, after: Duration) {
        let owner = self.upgrade(id).await.owner;
        if after.is_zero() {
            signal(worker, Signal::STOP);
            self.points.disarm(point);
        } else {
            self.points.disarm(point);
            tokio::time::sleep(after).await;
            signal(worker, Signal::STOP);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.upgrade(id).await;
            if now.has_ended() || now.owner.is_some() && now.owner != owner || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // By when it was frozen it is also decided when it is woken.
        if after.as_millis().is_multiple_of(20) {
            let deadline = Instant::now() + Duration::from_secs(4);
            while !self.upgrade(id).await.has_ended() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        signal(worker, Signal::CONT);
    }

    /// Takes all room but a little; servers write meanwhile.
    fn fill(&self, filler: &Path) {
        use rustix::fs::FallocateFlags;
        let file = std::fs::File::create(filler).unwrap();
        for _ in 0..100 {
            let free = rustix::fs::statvfs(&self.generations).unwrap();
            let room = (free.f_bavail * free.f_frsize).saturating_sub(SMALL.1 << 20);
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, room.max(1)) {
                Ok(()) => return,
                Err(error) => assert_eq!(error, rustix::io::Errno::NOSPC),
            }
        }
        panic!("the file system cannot be filled");
    }

    /// Kills the parents of the instance's servers, and the servers where they shall go, too; gives how many.
    async fn kill(&self, id: &str, servers: bool) -> usize {
        let mut killed = 0;
        for side in [Side::Old, Side::New] {
            let Some(generation) = self.side(id, side).await else { continue };
            for process in self.processes_of(generation) {
                if process.line.contains(" shim ") || servers && processes::is_server(&process.line) {
                    processes::kill(process.pid);
                    killed += 1;
                }
            }
        }
        killed
    }

    /// Whether the upgrade is at another step, or has ended.
    async fn has_left(&self, id: &str, step: &str) -> bool {
        let now = self.upgrade(id).await;
        now.has_ended() || now.step.as_deref() != Some(step)
    }

    /// Waits until the upgrade is at another step, or has been in trouble for long.
    async fn until_left(&self, id: &str, step: &str) {
        let deadline = Instant::now() + TROUBLE;
        while !self.has_left(id, step).await && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Makes the candidate's folder useless, and kills its server, which must come up from it.
    fn spoil(&self, generation: GenerationId, fault: Fault) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        let data = self.generations.join(generation.to_string()).join("data");
        let kept = ["ibdata1", "cluster/global/pg_control", "copy/global/pg_control"];
        let kept: Vec<PathBuf> =
            kept.iter().map(|file| data.join(file)).filter(|file| file.exists()).collect();
        if kept.is_empty() {
            return false;
        }
        if fault == Fault::Refused {
            std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        for file in kept.iter().filter(|_| fault == Fault::Spoilt) {
            use std::os::unix::fs::FileExt as _;
            let length = std::fs::metadata(file).unwrap().len().min(64 * 1024);
            let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            file.write_all_at(&vec![0xA5; usize::try_from(length).unwrap()], 0).unwrap();
        }
        for process in self.processes_of(generation) {
            if processes::is_server(&process.line) {
                processes::kill(process.pid);
            }
        }
        true
    }

    /// Nothing is left in it.
    pub async fn end(self) {
        let api = self.api().await;
        self.house.into_inner().leave_nothing_but_words(&api, &[]).await;
    }
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}
