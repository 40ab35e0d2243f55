//! The fault matrix: what else than a kill can go wrong while an instance is upgraded, at each step of it, on real
//! servers and under eight writers. The cells are made from the step enum itself: a new step has its cells without more
//! to do. (`cells` and `postgresql_kill` kill each process alone.)
//!
//! A worker comes to the step, has recorded that it begins, and waits; the fault is put in, and it goes on. Each cell must
//! end as exactly *old serving* or *new serving*: one server of the instance runs, tenants write to it, it is the version
//! that the API tells, and no writer was without an acknowledged write for a minute; each acknowledged write is there,
//! once. An instance whose upgrades led back is upgraded without a fault at last, and then that must succeed.
//!
//! | fault | is |
//! |---|---|
//! | frozen | `dev`, or the worker beside it, is stopped (SIGSTOP) for longer than its lease, some milliseconds after the step begins, and woken while another worker is at the task or has ended it |
//! | fails | the step gives an error; after the one-way point the operator lets it be tried again |
//! | programs | every program that is run beside either server's data ends with status 1 until the step is left, or 8 s: stand-ins in an engines folder of the test's own |
//! | disk full | the file system of all generations' folders is full but for 8 MB until the step is left, or 8 s: a small one of the house's own |
//! | spoilt | the candidate's control file, or the head of its `ibdata1`, is overwritten and its server killed |
//! | refused | the candidate's data folder is closed to its account (mode 0), and its server killed |
//! | store | the store is restarted cleanly (a fast shutdown) |
//! | shims | the parents of both servers are killed (`kill -9`), some milliseconds after the step begins |
//! | with servers | both servers and their parents are killed so |
//! | dev | `dev` is killed, and started again |
//! | hangs | the step's programs and the servers that it asks are stopped (SIGSTOP) for good, with all that they started, as soon as the step runs; deadlines are a twentieth of what they are |
//!
//! A seeded sample runs in `make test` (`COFFER_TEST_SEED` repeats it), all of them in `make torture`.

mod house;
mod lives;
mod stand_ins;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use coffer::domain::task::{Phase, Step, TaskKind};
use coffer::domain::upgrade::Strategy;
use futures::FutureExt as _;
use serde_json::json;

use crate::cells::{Dice, seed};
use crate::harness::wait_for;
use house::{FaultyHouse, Stops};
use lives::{SAFE_WITHIN, Upgradable};

/// What is upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    MariaDb,
    Postgresql,
}

impl Engine {
    const fn datastore(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::Postgresql => "postgresql",
        }
    }

    /// From, to.
    const fn versions(self) -> (&'static str, &'static str) {
        match self {
            Self::MariaDb => ("10.11", "11.8"),
            Self::Postgresql => ("15", "17"),
        }
    }

    const fn roots(self) -> &'static [&'static str] {
        match self {
            Self::MariaDb => &["mariadb-10.11", "mariadb-11.8", "postgresql-15"],
            Self::Postgresql => &["postgresql-15", "postgresql-17"],
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Frozen,
    Fails,
    Program,
    Full,
    Spoilt,
    Refused,
    Store,
    Shims,
    ShimsAndServers,
    Dev,
    Hangs,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::Frozen,
        Self::Fails,
        Self::Program,
        Self::Full,
        Self::Spoilt,
        Self::Refused,
        Self::Store,
        Self::Shims,
        Self::ShimsAndServers,
        Self::Dev,
        Self::Hangs,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Fails => "fails",
            Self::Program => "programs",
            Self::Full => "disk full",
            Self::Spoilt => "spoilt",
            Self::Refused => "refused",
            Self::Store => "store",
            Self::Shims => "shims",
            Self::ShimsAndServers => "with servers",
            Self::Dev => "dev",
            Self::Hangs => "hangs",
        }
    }

    /// Whether it is one instance's alone: then several can be met at a time.
    const fn is_local(self) -> bool {
        match self {
            Self::Fails
            | Self::Program
            | Self::Spoilt
            | Self::Refused
            | Self::Shims
            | Self::ShimsAndServers
            | Self::Hangs => true,
            Self::Frozen | Self::Full | Self::Store | Self::Dev => false,
        }
    }

    /// Whether its house is made for it.
    const fn is_special(self) -> bool {
        matches!(self, Self::Frozen | Self::Program | Self::Full | Self::Hangs)
    }

    /// Whether it can be met there. What spoils the candidate is a matter of the way to the one-way point: then it holds
    /// what the old server does not.
    fn fits(self, engine: Engine, (_, phase, step): Place) -> bool {
        let forward = phase == Phase::Forward;
        match self {
            Self::Frozen | Self::Store | Self::Dev | Self::ShimsAndServers => true,
            // What is left to do with a server that serves tenants again waits for that one: nobody ends it.
            Self::Hangs => !matches!(step, Step::Reopen | Step::Release),
            Self::Shims | Self::Full | Self::Fails => phase != Phase::Undo,
            Self::Program => forward && runs_programs(engine, step),
            Self::Spoilt | Self::Refused => forward && candidate_has_data(step),
        }
    }
}

/// Where a fault is met.
type Place = (TaskKind, Phase, Step);

/// Whether a step before the one-way point runs a program, or starts a server.
fn runs_programs(engine: Engine, step: Step) -> bool {
    match step {
        Step::Place | Step::Start | Step::Seed | Step::Transform | Step::Examine | Step::Stop => true,
        Step::Ready => engine == Engine::Postgresql,
        Step::Convert => engine == Engine::MariaDb,
        Step::Prepare
        | Step::Publish
        | Step::Open
        | Step::Replicate
        | Step::CatchUp
        | Step::Verify
        | Step::Drain
        | Step::Cut
        | Step::Release
        | Step::Unroute
        | Step::DropServer
        | Step::Quiet
        | Step::Hold
        | Step::Fence
        | Step::Cutover
        | Step::Admit
        | Step::Reopen
        | Step::Retire
        | Step::Reinstate
        | Step::Rebuild
        | Step::Renew
        | Step::Rejoin
        | Step::Restore => false,
    }
}

/// Whether there is something of the candidate's to spoil when the step begins.
fn candidate_has_data(step: Step) -> bool {
    !matches!(step, Step::Examine | Step::Place | Step::Ready)
}

/// What of a step hangs: a server that serves tenants is none of the upgrade's.
fn stops(kind: TaskKind, phase: Phase, step: Step) -> Stops {
    let is_retired = (phase, step) == (Phase::Finish, Step::Retire);
    Stops {
        old_server: is_retired || kind.holds(phase, step),
        new_server: !is_retired,
        what_it_starts: phase == Phase::Forward,
    }
}

/// Every place of an upgrade of the same instance. Who cancels one walks the way back by the same steps as one that fails.
fn places() -> Vec<Place> {
    // Groups have no real servers yet.
    let kinds = TaskKind::ALL.into_iter().filter(|kind| kind.cuts_over() && !kind.of_group());
    let lines = kinds.flat_map(|kind| Phase::ALL.into_iter().map(move |phase| (kind, phase)));
    lines
        .filter(|(kind, phase)| {
            *phase != Phase::Abandon && (*kind != TaskKind::UpgradeAuto || *phase == Phase::Forward)
        })
        .flat_map(|(kind, phase)| kind.steps(phase).into_iter().map(move |step| (kind, phase, step)))
        .collect()
}

/// A fault at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    engine: Engine,
    /// Its number in [`places`].
    place: usize,
    fault: Fault,
}

impl Cell {
    fn all(engine: Engine, faults: &[Fault]) -> Vec<Self> {
        let cells = faults.iter().flat_map(|fault| {
            let places = places().into_iter().enumerate();
            places.filter(|(_, place)| fault.fits(engine, *place)).map(|(place, _)| Self {
                engine,
                place,
                fault: *fault,
            })
        });
        cells.collect()
    }

    fn row(self) -> String {
        let (kind, phase, step) = places()[self.place];
        let way = match kind {
            TaskKind::UpgradeInPlace => "in place",
            TaskKind::UpgradeTwin => "twin",
            _undecided => "auto",
        };
        let back = if phase == Phase::Undo { "back: " } else { "" };
        format!("{:2} {} {way}, {back}{}", self.place, self.engine.datastore(), step.as_str())
    }
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    Old,
    New,
    /// There was nothing to do the fault to, or the upgrade did not come there; it ended well.
    NotMet,
    Failed(String),
}

/// Lives through a cell. Gives how it ended, and the instance, if that is still of the old version.
async fn live(
    ground: &FaultyHouse,
    life: Option<Upgradable>,
    cell: Cell,
    after: Duration,
) -> (Ended, Option<Upgradable>) {
    let (kind, phase, step) = places()[cell.place];
    let mut api = ground.api().await;
    let mut life = match life {
        Some(life) => life,
        None => Upgradable::begin(&api, cell.engine).await,
    };
    let id = life.id.clone();
    if phase == Phase::Undo {
        ground.let_fail(&id, Step::Cutover.as_str()).await;
    }
    let writers = life.write().await;
    let point = format!("{}.{}.{}.begun.{id}", kind.as_str(), phase.as_str(), step.as_str());
    ground.points.arm(&point);
    ask(&api, cell.engine, &id, kind).await;
    let met = match arrives(ground, &id, &point).await {
        Some(worker) => {
            let stops = stops(kind, phase, step);
            let met = ground.inject(cell.fault, &id, (step.as_str(), stops), &point, worker, after).await;
            // A new `dev` has another port.
            api = ground.api().await;
            met
        }
        None => {
            ground.points.disarm(&point);
            false
        }
    };
    if met && cell.fault == Fault::Fails && !phase.can_undo(kind) {
        ends(ground, &id, "needs_operator").await;
        ground.let_be(&id).await;
        ground.retry(&ground.upgrade(&id).await);
    }
    let state = ends(ground, &id, "").await;
    ground.let_be(&id).await;
    assert!(matches!(&*state, "succeeded" | "rolled_back"), "the upgrade is {state}");
    // A server of MariaDB's that finds the disk full looks again after a minute.
    let patience = match cell.fault {
        Fault::Full => SAFE_WITHIN * 3,
        Fault::Hangs => kind.hold_deadline(0).mul_f64(house::DEADLINE_FACTOR) + LET_GO_WITHIN,
        _other => SAFE_WITHIN,
    };
    if cell.fault == Fault::Hangs {
        let held = ground.held(&id).await;
        let most = kind.hold_deadline(0).mul_f64(house::DEADLINE_FACTOR) + LET_GO_WITHIN;
        assert!(held <= most, "tenants waited for {held:?}, and their hold ends within {most:?}");
    }
    let version = life.settle(&api, writers, patience).await;
    let (from, to) = cell.engine.versions();
    assert_eq!(version, if state == "succeeded" { to } else { from }, "the upgrade {state}");
    is_one(ground, &id).await;
    if state == "succeeded" {
        life.end(&api).await;
        return (if met { Ended::New } else { Ended::NotMet }, None);
    }
    life.in_vain += 1;
    if !met {
        eprintln!("{}: it led back by itself: {:?}", cell.row(), ground.upgrade(&id).await.why);
    }
    (if met { Ended::Old } else { Ended::NotMet }, Some(life))
}

/// Upgrades what was upgraded in vain, without a fault.
async fn upgrade_well(ground: &FaultyHouse, life: Upgradable, place: usize) {
    let api = ground.api().await;
    let (kind, ..) = places()[place];
    let writers = life.write().await;
    ask(&api, life.engine, &life.id, kind).await;
    let state = ends(ground, &life.id, "").await;
    let why = ground.upgrade(&life.id).await.why;
    assert_eq!(state, "succeeded", "without a fault, after {} in vain: {why:?}", life.in_vain);
    let version = life.settle(&api, writers, SAFE_WITHIN).await;
    assert_eq!(version, life.engine.versions().1);
    is_one(ground, &life.id).await;
    life.end(&api).await;
}

async fn ask(api: &coffer::cli::demo::client::Client, engine: Engine, id: &str, kind: TaskKind) {
    let mut upgrade = json!({"datastore_version": engine.versions().1});
    let strategy = match kind {
        TaskKind::UpgradeInPlace => Some(Strategy::InPlace),
        TaskKind::UpgradeTwin => Some(Strategy::Twin),
        _undecided => None,
    };
    if let Some(strategy) = strategy {
        upgrade["strategy"] = strategy.as_str().into();
    }
    let body = json!({"upgrade": upgrade});
    wait_for("the upgrade is accepted", SAFE_WITHIN, async || {
        let (status, answer) = api.post(&format!("/instances/{id}/upgrades"), &body).await.ok()?;
        assert!(status == 202 || status == 503, "{status}: {answer}");
        (status == 202).then_some(())
    })
    .await;
}

/// Waits until a worker is at the point, and gives it; `None` when the upgrade has ended before.
async fn arrives(ground: &FaultyHouse, id: &str, point: &str) -> Option<i32> {
    wait_for(&format!("the upgrade comes to {point}"), Duration::from_secs(180), async || {
        if let Some(worker) = ground.points.who(point) {
            return Some(Some(worker));
        }
        ground.upgrade(id).await.has_ended().then_some(None)
    })
    .await
}

/// How long it may take after a hold's deadline until tenants are let go: a server that answers nothing is seen to be
/// silent, or one that does not come up is waited for by its runtime; it is ended, and recovers.
const LET_GO_WITHIN: Duration = Duration::from_secs(150);

/// Waits until the upgrade has ended, or is in this state, and gives its state.
async fn ends(ground: &FaultyHouse, id: &str, or: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        let now = ground.upgrade(id).await;
        if now.has_ended() || now.state == or {
            return now.state;
        }
        assert!(Instant::now() < deadline, "the upgrade does not end: {now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One server of the instance runs, the one that serves; and nothing is held or half done.
async fn is_one(ground: &FaultyHouse, id: &str) {
    let mut servers = Vec::new();
    let deadline = Instant::now() + SAFE_WITHIN;
    // One that was killed this moment is started again.
    while servers != [true] {
        servers = ground.servers(id).await;
        assert!(
            Instant::now() < deadline,
            "the servers that run, and whether each is the one that serves: {servers:?}"
        );
    }
    for none in [
        "holds where true",
        "generations where role = 'candidate'",
        "task_instances where live",
        "generations where role not in ('serving', 'dropped') and (wanted = 'running' or not read_only)",
    ] {
        assert_eq!(ground.count(none, id).await, 0, "left over: {none}");
    }
}

/// How many upgrades in vain an instance has before it is upgraded without a fault.
const IN_VAIN: usize = 3;

/// Instances in which cells are met at a time, where each is one instance's alone.
const LANES: u64 = 3;

/// The cells of one ground, and what became of them.
async fn run(cells: Vec<Cell>, seed: u64) -> BTreeMap<Cell, Ended> {
    let Some(first) = cells.first().copied() else { return BTreeMap::new() };
    let ground = FaultyHouse::build(first.engine, first.fault).await;
    let lanes = if cells.iter().all(|cell| cell.fault.is_local()) { LANES } else { 1 };
    let queue = Mutex::new(VecDeque::from(cells));
    let lane = |number| lane(&ground, &queue, Dice::new(seed.wrapping_add(number)));
    let all = futures::future::join_all((0..lanes).map(lane)).await;
    let all: BTreeMap<Cell, Ended> = all.into_iter().flatten().collect();
    if all.values().all(|ended| !matches!(ended, Ended::Failed(_))) {
        ground.end().await;
    }
    all
}

/// Takes cells from the queue until there is none.
async fn lane(ground: &FaultyHouse, queue: &Mutex<VecDeque<Cell>>, mut dice: Dice) -> Vec<(Cell, Ended)> {
    let mut ended: Vec<(Cell, Ended)> = Vec::new();
    let mut life: Option<(Upgradable, usize)> = None;
    loop {
        let next = queue.lock().unwrap().pop_front();
        let is_done = |it: &mut (Upgradable, usize)| it.0.in_vain >= IN_VAIN || next.is_none();
        if let Some((lived, place)) = life.take_if(is_done)
            && let Err(why) = unharmed(upgrade_well(ground, lived, place)).await
            && let Some((of, last)) = ended.last_mut()
        {
            *last = Ended::Failed(why);
            note(*of, last);
        }
        let Some(cell) = next else { return ended };
        let began = Instant::now();
        let after = Duration::from_millis([0, 10, 40, 150, 400][dice.below(5)]);
        let lived = life.take().map(|(life, _)| life);
        let became = match unharmed(live(ground, lived, cell, after)).await {
            Ok((became, left)) => {
                life = left.map(|left| (left, cell.place));
                became
            }
            Err(why) => Ended::Failed(why),
        };
        let seconds = began.elapsed().as_secs_f32();
        eprintln!("{}, {}: {became:?} after {seconds:.1} s", cell.row(), cell.fault.title());
        note(cell, &became);
        ended.push((cell, became));
    }
}

/// One cell's failure is not the others'.
async fn unharmed<T>(cell: impl Future<Output = T>) -> Result<T, String> {
    let said = |said: Box<dyn std::any::Any + Send>| {
        let text = said.downcast_ref::<String>().cloned();
        text.or_else(|| said.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default()
    };
    std::panic::AssertUnwindSafe(cell).catch_unwind().await.map_err(said)
}

impl Ended {
    const fn word(&self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::NotMet => "not met",
            Self::Failed(_) => "FAILED",
        }
    }
}

/// Adds a cell to the file that `COFFER_TEST_MATRIX` names; of several lines of one cell the last counts.
fn note(cell: Cell, ended: &Ended) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("COFFER_TEST_MATRIX") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    let line = format!("{}\t{}\t{}\n", cell.row(), cell.fault.title(), ended.word());
    file.write_all(line.as_bytes()).unwrap();
}

/// Prints the matrix, and fails where a cell did.
fn tell(all: &BTreeMap<Cell, Ended>, seed: u64) {
    let faults: BTreeSet<Fault> = all.keys().map(|cell| cell.fault).collect();
    let head: Vec<String> = faults.iter().map(|fault| format!("{:>12}", fault.title())).collect();
    eprintln!("seed {seed}\n{:40}{}", "", head.concat());
    for row in all.keys().map(|cell| (cell.engine, cell.place)).collect::<BTreeSet<_>>() {
        let (engine, place) = row;
        let ended = |fault: &Fault| all.get(&Cell { engine, place, fault: *fault }).map_or("", Ended::word);
        let words: Vec<String> = faults.iter().map(|fault| format!("{:>12}", ended(fault))).collect();
        let name = Cell { engine, place, fault: Fault::Dev }.row();
        eprintln!("{name:40}{}", words.concat());
    }
    let failed: Vec<String> = all
        .iter()
        .filter_map(|(cell, ended)| match ended {
            Ended::Failed(why) => Some(format!("{}, {}: {why}", cell.row(), cell.fault.title())),
            Ended::Old | Ended::New | Ended::NotMet => None,
        })
        .collect();
    assert!(failed.is_empty(), "COFFER_TEST_SEED={seed}\n{}", failed.join("\n"));
}

/// Every cell of some faults; `COFFER_TEST_CELLS` takes those only whose row and fault have one of its
/// parts in them, with `;` between.
async fn torture(engine: Engine, faults: &[Fault]) {
    let seed = seed();
    let some = std::env::var("COFFER_TEST_CELLS").unwrap_or_default();
    let mut cells = Cell::all(engine, faults);
    cells.retain(|cell| {
        let name = format!("{}, {}", cell.row(), cell.fault.title());
        some.split(';').any(|part| name.contains(part))
    });
    tell(&run(cells, seed).await, seed);
}

/// Three cells in a house like any other, and one in a house that is made for its fault.
async fn sample(engine: Engine) {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (special, plain): (Vec<Fault>, Vec<Fault>) =
        Fault::ALL.into_iter().partition(|fault| fault.is_special());
    let mut all = BTreeMap::new();
    for (faults, count) in [(plain, 3), (vec![special[dice.below(special.len())]], 1)] {
        let of = Cell::all(engine, &faults);
        let cells: BTreeSet<Cell> = (0..count).map(|_| of[dice.below(of.len())]).collect();
        all.extend(run(cells.into_iter().collect(), seed).await);
    }
    tell(&all, seed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_on_mariadb() {
    sample(Engine::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_on_postgresql() {
    sample(Engine::Postgresql).await;
}

macro_rules! torture {
    ($($name:ident: $engine:ident $($fault:ident)*),* $(,)?) => {
        mod torture {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "minutes: make torture"]
            async fn $name() {
                torture(Engine::$engine, &[$(Fault::$fault),*]).await;
            })*
        }
        /// Which faults are met together: what one house has for one of them is in the others' way.
        const TOGETHER: &[(Engine, &[Fault])] = &[$((Engine::$engine, &[$(Fault::$fault),*])),*];
    };
}
torture! {
    mariadb_frozen: MariaDb Frozen,
    mariadb_failing: MariaDb Fails,
    mariadb_shims: MariaDb Shims ShimsAndServers,
    mariadb_programs: MariaDb Program,
    mariadb_full: MariaDb Full,
    mariadb_spoilt: MariaDb Spoilt Refused,
    mariadb_store: MariaDb Store,
    mariadb_dev: MariaDb Dev,
    mariadb_hanging: MariaDb Hangs,
    postgresql_frozen: Postgresql Frozen,
    postgresql_failing: Postgresql Fails,
    postgresql_shims: Postgresql Shims ShimsAndServers,
    postgresql_programs: Postgresql Program,
    postgresql_full: Postgresql Full,
    postgresql_spoilt: Postgresql Spoilt Refused,
    postgresql_store: Postgresql Store,
    postgresql_dev: Postgresql Dev,
    postgresql_hanging: Postgresql Hangs,
}

#[test]
fn every_fault_is_met_at_every_step() {
    for engine in [Engine::MariaDb, Engine::Postgresql] {
        let run: BTreeSet<Fault> = TOGETHER
            .iter()
            .filter(|(of, _)| *of == engine)
            .flat_map(|(_, faults)| faults.iter().copied())
            .collect();
        assert_eq!(run, BTreeSet::from(Fault::ALL), "{engine:?}");
        let cells = Cell::all(engine, &Fault::ALL);
        eprintln!("{engine:?}: {} cells", cells.len());
        for (number, place) in places().into_iter().enumerate() {
            let of_it = cells.iter().filter(|cell| cell.place == number).count();
            assert!(of_it >= 4, "{place:?} has {of_it} cells");
        }
    }
}
