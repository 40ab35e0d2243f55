//! What a kind of task is: its words, and the sequence of steps of each phase, with what each step takes.
//!
//! # Decision
//! A kind's description is data here, and its work is in `workflow::kinds`: the api tells how far a task is and when it
//! will be over without a line of the workflow, so that the two may run in different processes.
//!
//! A deadline is not an estimate. An estimate is told to a customer; a deadline is generous, and only what hangs meets it:
//! a program that stopped, a server that accepts connections and answers nothing. Where a step copies or compares data,
//! its deadline grows with the data, [`GENEROUS`] times as fast as the estimate.

use std::time::Duration;

use crate::domain::datastore::EngineKind;
use crate::domain::estimate::Load;
use crate::domain::task::{Phase, Step, TaskKind, TaskState};

/// How many times longer than expected the part of a step may take that grows with the data.
pub const GENEROUS: i64 = 20;

/// A kind of task.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The word in rows and views.
    pub word: &'static str,
    /// What a client is told that it is: one word for every strategy.
    pub title: &'static str,
    /// The steps of [`Phase::Forward`].
    pub forward: &'static [StepSpec],
    /// The steps of [`Phase::Detach`].
    pub detach: &'static [StepSpec],
    /// The steps of [`Phase::Abandon`].
    pub abandon: &'static [StepSpec],
    /// The steps of [`Phase::Undo`]; without any, a failure cannot be undone.
    pub undo: &'static [StepSpec],
    /// The steps of [`Phase::Finish`].
    pub finish: &'static [StepSpec],
    /// Whether it makes an instance, or a group: who deletes that while it is being made ends the task.
    pub makes: bool,
    /// Whether it has a one-way point between two servers that tenants write to: it upgrades the same instance, or has
    /// the members of a group change roles.
    pub cuts_over: bool,
    /// Whether it is about a group.
    pub of_group: bool,
    /// Whether it can be accepted for later.
    pub can_wait: bool,
    /// Whether its customer can end it before its one-way point.
    pub can_cancel: bool,
    /// How long tenants may wait in its hold, in seconds: from the hold's beginning to the one-way point. What grows with
    /// the data in the steps between comes on top.
    pub hold: u32,
    /// How it ends where it was undone.
    pub undone_as: TaskState,
    /// What the task goes on as after its last step, where it goes on.
    pub next_hop: Option<TaskKind>,
}

/// A kind without steps, to which each kind adds what it has.
pub const PLAIN: Spec = Spec {
    word: "",
    title: "",
    forward: &[],
    detach: &[],
    abandon: &[],
    undo: &[],
    finish: &[],
    makes: false,
    cuts_over: false,
    of_group: false,
    can_wait: false,
    can_cancel: false,
    hold: 0,
    undone_as: TaskState::RolledBack,
    next_hop: None,
};

/// The way back of an upgrade of the same instance: the old server serves again first, what was made of the candidate goes
/// afterwards.
pub const BACK: &[StepSpec] = &[
    Step::Reinstate.takes(1_500).within(120),
    Step::Reopen.takes(50).within(60),
    Step::DropServer.takes(1_000).within(900),
    Step::Release.takes(300).within(300),
];

/// Two members of a group change roles: up to the one-way point.
pub const CHANGE: &[StepSpec] = &[
    Step::Quiet.takes(2_200).within(3_600),
    Step::Hold.takes(50).within(30),
    Step::Fence.takes(100).within(60),
    Step::Drain.takes(100).within(60),
    Step::Cut.takes(50).within(90),
    Step::Cutover.takes(50).within(90),
];

/// What follows the one-way point of a change of roles.
pub const CHANGED: &[StepSpec] = &[
    Step::Admit.takes(100).within(60),
    Step::Reopen.takes(50).within(60),
    Step::Rejoin.takes(700).within(3_600),
];

/// The way back of a change of roles.
pub const UNCHANGED: &[StepSpec] = &[
    Step::Reinstate.takes(1_500).within(120),
    Step::Reopen.takes(50).within(60),
    Step::Restore.takes(1_500).within(900),
];

impl Spec {
    /// The steps of a phase, in order; empty when the kind has no such phase.
    pub const fn sequence(&self, phase: Phase) -> &'static [StepSpec] {
        match phase {
            Phase::Forward => self.forward,
            Phase::Detach => self.detach,
            Phase::Abandon => self.abandon,
            Phase::Undo => self.undo,
            Phase::Finish => self.finish,
        }
    }

    /// A step of a phase.
    pub fn step(&self, phase: Phase, step: Step) -> Option<&'static StepSpec> {
        self.sequence(phase).iter().find(|it| it.step == step)
    }
}

/// A step, with what it takes.
#[derive(Clone, Copy, Debug)]
pub struct StepSpec {
    /// Which.
    pub step: Step,
    /// The milliseconds that it is expected to take, whatever the data.
    pub ms: i64,
    /// As many more for each GB of data, with PostgreSQL and with MariaDB.
    pub ms_per_gb: (i64, i64),
    /// Seconds of its deadline for each GB of data, where it is expected to take the same whatever there is.
    pub spare_per_gb: u32,
    /// The seconds after which a try of it is ended, whatever the data.
    pub within: u32,
}

/// The deadline of a step that names none, in seconds.
const WITHIN: u32 = 300;

impl Step {
    /// A step that is expected to take so many milliseconds.
    pub const fn takes(self, ms: i64) -> StepSpec {
        StepSpec { step: self, ms, ms_per_gb: (0, 0), spare_per_gb: 0, within: WITHIN }
    }
}

impl StepSpec {
    /// With so many milliseconds more for each GB of data.
    pub const fn per_gb(self, ms: i64) -> Self {
        self.per_gb_of(ms, ms)
    }

    /// With so many milliseconds more for each GB of data of PostgreSQL's, and of MariaDB's.
    pub const fn per_gb_of(self, postgresql: i64, mariadb: i64) -> Self {
        Self { ms_per_gb: (postgresql, mariadb), ..self }
    }

    /// With its deadline in seconds.
    pub const fn within(self, seconds: u32) -> Self {
        Self { within: seconds, ..self }
    }

    /// With so many seconds of its deadline for each GB of data, which it rarely takes.
    pub const fn spare_per_gb(self, seconds: u32) -> Self {
        Self { spare_per_gb: seconds, ..self }
    }

    /// The milliseconds that it is expected to take.
    pub fn expected(&self, load: Load) -> i64 {
        let (postgresql, mariadb) = self.ms_per_gb;
        let each = match load.engine {
            EngineKind::Postgresql => postgresql,
            EngineKind::MariaDb | EngineKind::Mysql => mariadb,
        };
        self.ms.saturating_add(of_data(each, load.bytes))
    }

    /// How long one try of it may take, with so many bytes of data.
    pub fn deadline(&self, bytes: i64) -> Duration {
        Duration::from_secs(self.within.into()).saturating_add(self.deadline_of_data(bytes))
    }

    /// The part of its deadline that grows with the data: of the slower engine.
    pub fn deadline_of_data(&self, bytes: i64) -> Duration {
        let (postgresql, mariadb) = self.ms_per_gb;
        let expected = of_data(postgresql.max(mariadb), bytes).saturating_mul(GENEROUS);
        let spare = of_data(i64::from(self.spare_per_gb) * 1_000, bytes);
        Duration::from_millis(u64::try_from(expected.saturating_add(spare)).unwrap_or_default())
    }
}

/// So many milliseconds for each GB. In megabytes, so that nothing overflows: 8 EB of them are 8 million million.
fn of_data(ms_per_gb: i64, bytes: i64) -> i64 {
    ms_per_gb.saturating_mul(bytes.max(0) >> 20) / 1024
}
