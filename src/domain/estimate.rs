//! How far a task is, and when it will be over: pure functions of its kind, of the size of its data when it was
//! accepted, and of what its steps have recorded. The same numbers are what `upgrade-targets` expects beforehand.
//!
//! # Decision
//! Two promises are kept: the percentage never falls, and the moment of the end that is told never moves later. So
//! both are the best of everything that was recorded so far, and nothing that is not recorded counts:
//!
//! - *percent*: each step has a weight, the time that it is expected to take. What was reached is the furthest that any
//!   record ever reached, also when the task goes back to an earlier step or is undone; the share of a running step is
//!   the greatest that it ever told. 100 is what has succeeded, and nothing else.
//! - *the end*: each record's beginning gives an end, twice ([`MARGIN`]) the time that is expected of the rest of the
//!   line; the earliest of them holds. Who has passed it is *late*, and is told so in place of another end.
//!
//! We gave up: an end that is corrected by how fast a step really goes. It would be nearer, and it would move.

use chrono::{DateTime, Duration, Utc};

use crate::domain::datastore::EngineKind;
use crate::domain::task::{Phase, Plan, Progress, Step, TaskKind, TaskState};
use crate::domain::upgrade::{Strategy, UpgradePlan};

/// How much longer than expected something is said to take.
pub const MARGIN: i64 = 2;

/// What an upgrade has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes of data, as was seen when the task was accepted.
    pub bytes: i64,
    /// Whose data it is.
    pub engine: EngineKind,
}

/// A record of a step, as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// The line of steps.
    pub phase: Phase,
    /// The step.
    pub step: Step,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Whether it is done.
    pub is_done: bool,
    /// The greatest share of it that it told, 0 to 1.
    pub share: f32,
}

/// What is told of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How much of its line it has passed, 0 to 100.
    pub percent: u8,
    /// Seconds until it is over, where an end can be told; 0 when it is late.
    pub eta: Option<i64>,
    /// Whether the end that was told has passed.
    pub is_late: bool,
}

/// The steps towards what was asked for, in order, from the acceptance to the end.
fn line(kind: TaskKind) -> Vec<(Phase, Step)> {
    let mut line = Vec::new();
    if matches!(kind, TaskKind::UpgradeInPlace | TaskKind::UpgradeTwin) {
        line.push((Phase::Forward, Step::Examine));
    }
    for phase in [Phase::Forward, Phase::Detach, Phase::Finish] {
        line.extend(kind.steps(phase).into_iter().map(|step| (phase, step)));
    }
    line
}

fn time_of(kind: TaskKind, (phase, step): (Phase, Step), load: Load) -> i64 {
    kind.step(phase, step).map_or(0, |it| it.expected(load))
}

const fn kind_of(strategy: Strategy) -> TaskKind {
    match strategy {
        Strategy::InPlace => TaskKind::UpgradeInPlace,
        Strategy::Twin => TaskKind::UpgradeTwin,
    }
}

fn seconds(kind: TaskKind, load: Load, counts: impl Fn(&(Phase, Step)) -> bool) -> f64 {
    let ms: i64 = line(kind).into_iter().filter(counts).map(|at| time_of(kind, at, load)).sum();
    // Tenths are as exact as this is.
    f64::from(i32::try_from((ms + 50) / 100).unwrap_or(i32::MAX)) / 10.0
}

/// How long clients are expected to wait, in seconds: the steps from the hold to its end.
pub fn gap(strategy: Strategy, load: Load) -> f64 {
    let kind = kind_of(strategy);
    let line = line(kind);
    let at = |step: Step| line.iter().position(|(_, it)| *it == step);
    let held: Vec<_> = match (at(Step::Hold), at(Step::Reopen)) {
        (Some(from), Some(to)) => line.get(from..=to).unwrap_or_default().to_vec(),
        (Some(_) | None, Some(_) | None) => Vec::new(),
    };
    seconds(kind, load, |it| held.contains(it))
}

/// How long an upgrade is expected to take, in seconds.
pub fn duration(strategy: Strategy, load: Load) -> f64 {
    seconds(kind_of(strategy), load, |_| true)
}

/// The kinds that each hop of an upgrade of the same instance may turn out to be.
pub fn kinds_of_hops(plan: &UpgradePlan, kind: TaskKind) -> Vec<Vec<TaskKind>> {
    let passed = plan.passed.iter().map(|hop| vec![kind_of(hop.strategy)]);
    let rest = plan.rest.iter().map(|hop| kinds(TaskKind::UpgradeAuto, &hop.allowed));
    passed.chain([kinds(kind, &plan.allowed)]).chain(rest).collect()
}

/// The kinds that each hop of a task, or its switchback, may turn out to be.
pub fn kinds_by_hop(plan: &Plan) -> Vec<Vec<TaskKind>> {
    match plan.same_instance() {
        Some(upgrade) => kinds_of_hops(upgrade, plan.kind()),
        None if plan.switches_back() => vec![vec![TaskKind::UpgradeRolling], vec![TaskKind::Switchback]],
        None => vec![vec![plan.kind()]],
    }
}

/// The kinds that a task may turn out to be: its own, or before its strategy is fixed those of the allowed ones.
pub fn kinds(kind: TaskKind, allowed: &[Strategy]) -> Vec<TaskKind> {
    if kind == TaskKind::UpgradeAuto && !allowed.is_empty() {
        allowed.iter().copied().map(kind_of).collect()
    } else {
        vec![kind]
    }
}

/// The share of a step that its own words tell: `n of m`, wherever it stands; `about` and units are read over.
pub fn share(told: &str) -> Option<f32> {
    let words: Vec<&str> = told.split_whitespace().collect();
    let number = |word: Option<&&str>| word.and_then(|word| word.trim_end_matches(',').parse::<f32>().ok());
    let at = words.iter().position(|word| *word == "of")?;
    let done = number(words.get(at.checked_sub(1)?))?;
    let whole = number(words.get(at + 1)).or_else(|| number(words.get(at + 2)))?;
    (whole > 0.0 && done >= 0.0).then(|| (done / whole).min(1.0))
}

/// The records of each hop: one begins with the look that comes after the end of the one before.
fn by_hop(marks: &[Mark]) -> Vec<&[Mark]> {
    let is_border = |before: &Mark, after: &Mark| {
        before.is_done
            && matches!(
                (before.step, after.step),
                (Step::Retire, Step::Examine) | (Step::Rejoin, Step::Quiet)
            )
    };
    marks.chunk_by(|before, after| !is_border(before, after)).collect()
}

/// How far the task is now. `hops` is what each of its hops may turn out to be; most tasks have one. Each hop is the
/// same share of the whole.
pub fn pace(
    hops: &[Vec<TaskKind>],
    load: Load,
    progress: Progress,
    marks: &[Mark],
    now: DateTime<Utc>,
) -> Pace {
    let records = by_hop(marks);
    let passed = records.len().saturating_sub(1);
    let percent = match progress {
        Progress::Ended(TaskState::Succeeded) => 100,
        Progress::Deferred
        | Progress::Scheduled
        | Progress::At(_, _)
        | Progress::Verifying
        | Progress::NeedsOperator
        | Progress::Ended(_) => {
            let kinds = hops.get(passed).map_or(&[][..], Vec::as_slice);
            let records = records.last().copied().unwrap_or_default();
            let of_hop = kinds.iter().map(|kind| percent(*kind, load, records)).min().unwrap_or(0);
            u8::try_from((passed * 100 + usize::from(of_hop)) / hops.len().max(1)).unwrap_or(99).min(99)
        }
    };
    let end = match progress {
        Progress::At(phase, _) => {
            // The way back is not as long as the way on, and nothing is told of it.
            let is_back = matches!(phase, Phase::Abandon | Phase::Undo);
            let ends = records.iter().enumerate().filter_map(|(at, records)| {
                let part = if at < passed { Phase::Finish } else { phase };
                let of_hop = hops.get(at)?.iter().filter_map(|kind| end(*kind, load, part, records)).max()?;
                let rest = hops.get(at + 1..)?.iter().map(|kinds| longest(kinds, load)).sum::<i64>();
                let takes = Duration::try_milliseconds(rest.saturating_mul(MARGIN)).unwrap_or(Duration::MAX);
                Some(of_hop.checked_add_signed(takes).unwrap_or(DateTime::<Utc>::MAX_UTC))
            });
            ends.min().filter(|_| !is_back)
        }
        Progress::Deferred
        | Progress::Scheduled
        | Progress::Verifying
        | Progress::NeedsOperator
        | Progress::Ended(_) => None,
    };
    // The next whole second: 0 is what is over.
    let eta = end.map(|end| ((end - now).num_milliseconds().max(0) + 999) / 1_000);
    Pace { percent, eta, is_late: end.is_some_and(|end| end < now) }
}

/// The time that a hop may take, in milliseconds.
fn longest(kinds: &[TaskKind], load: Load) -> i64 {
    let whole = |kind: &TaskKind| {
        line(*kind).into_iter().map(|at| time_of(*kind, at, load)).fold(0, i64::saturating_add)
    };
    kinds.iter().map(whole).max().unwrap_or(0)
}

fn percent(kind: TaskKind, load: Load, marks: &[Mark]) -> u8 {
    let mut reached: Vec<(i64, &Mark)> = Vec::new();
    let mut whole: i64 = 0;
    for at in line(kind) {
        let time = time_of(kind, at, load);
        for mark in marks.iter().filter(|mark| (mark.phase, mark.step) == at) {
            let thousandths = if mark.is_done { 1_000 } else { thousandths(mark.share) };
            reached.push((whole + time.saturating_mul(thousandths) / 1_000, mark));
        }
        whole += time;
    }
    let furthest = reached.into_iter().map(|(to, _)| to).max().unwrap_or(0);
    u8::try_from(furthest.saturating_mul(100) / whole.max(1)).unwrap_or(100).min(99)
}

fn thousandths(share: f32) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 1,000")]
    let thousandths = (share.clamp(0.0, 1.0) * 1_000.0) as i64;
    thousandths
}

/// The earliest end that a record of this part gave: what comes after the customer's decision is a part of its own.
fn end(kind: TaskKind, load: Load, phase: Phase, marks: &[Mark]) -> Option<DateTime<Utc>> {
    let of_part = |it: Phase| match (phase, it) {
        (Phase::Detach, it) => it == Phase::Detach,
        (Phase::Forward | Phase::Finish, it) => matches!(it, Phase::Forward | Phase::Finish),
        // The way back is short, and its steps are tried for as long as it takes.
        (Phase::Abandon | Phase::Undo, _) => false,
    };
    let part: Vec<_> = line(kind).into_iter().filter(|(it, _)| of_part(*it)).collect();
    let mut rest = 0_i64;
    let mut earliest: Option<DateTime<Utc>> = None;
    for at in part.into_iter().rev() {
        rest = rest.saturating_add(time_of(kind, at, load));
        for mark in marks.iter().filter(|mark| (mark.phase, mark.step) == at) {
            let takes = Duration::try_milliseconds(rest.saturating_mul(MARGIN)).unwrap_or(Duration::MAX);
            let end = mark.started_at.checked_add_signed(takes).unwrap_or(DateTime::<Utc>::MAX_UTC);
            earliest = Some(earliest.map_or(end, |earliest| earliest.min(end)));
        }
    }
    earliest
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use proptest::prelude::any;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::domain::task::TaskEvent;

    const GB: i64 = 1 << 30;

    const fn load(bytes: i64) -> Load {
        Load { bytes, engine: EngineKind::MariaDb }
    }

    /// The numbers that api-ref tells.
    #[test]
    fn what_is_expected_is_what_is_promised() {
        for (strategy, bytes, wait, whole) in [
            (Strategy::Twin, 0, 0.5, 10.0),
            (Strategy::Twin, GB, 0.5, 70.0),
            (Strategy::Twin, 100 * GB, 0.5, 6_010.0),
            (Strategy::InPlace, 0, 5.0, 10.0),
            (Strategy::InPlace, GB, 5.5, 18.0),
            (Strategy::InPlace, GB / 2, 5.3, 14.0),
            (Strategy::InPlace, -1, 5.0, 10.0),
        ] {
            let load = load(bytes);
            assert_eq!((gap(strategy, load), duration(strategy, load)), (wait, whole), "{strategy:?}");
            let load = Load { engine: EngineKind::Postgresql, ..load };
            let wait = if strategy == Strategy::InPlace { 5.0 } else { wait };
            assert_eq!((gap(strategy, load), duration(strategy, load)), (wait, whole), "{strategy:?}");
        }
        assert!(duration(Strategy::Twin, load(i64::MAX)) > 1e8);
    }

    #[test]
    fn a_step_tells_its_share() {
        for (told, expected) in [
            ("12 of 30 tables, 4000 rows", Some(0.4)),
            ("64 of about 256 MB", Some(0.25)),
            ("300 of 200 MB", Some(1.0)),
            ("0 of 0 tables", None),
            ("waiting: the end of a transaction", None),
            ("of 12", None),
            ("", None),
            ("-1 of 5", None),
            ("NaN of 5", None),
        ] {
            assert_eq!(share(told), expected, "{told}");
        }
    }

    fn at(ms: i64) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(1_800_000_000_000 + ms).unwrap()
    }

    /// A twin without data, whose steps take exactly what is expected.
    #[test]
    fn a_task_as_expected_needs_half_of_what_is_told() {
        let kind = TaskKind::UpgradeTwin;
        let first = Mark {
            phase: Phase::Forward,
            step: Step::Examine,
            started_at: at(0),
            is_done: false,
            share: 0.0,
        };
        let auto = kinds(TaskKind::UpgradeAuto, &Strategy::ALL);
        let progress = Progress::At(Phase::Forward, Step::Examine);
        let told = pace(&[auto], load(0), progress, &[first], at(0));
        assert_eq!(told, Pace { percent: 0, eta: Some(20), is_late: false });
        let done = Mark { is_done: true, ..first };
        let next = Mark { step: Step::Place, started_at: at(500), ..first };
        let told =
            pace(&[vec![kind]], load(0), Progress::At(Phase::Forward, Step::Place), &[done, next], at(500));
        assert_eq!(told, Pace { percent: 5, eta: Some(19), is_late: false });
        let told = pace(
            &[vec![kind]],
            load(0),
            Progress::At(Phase::Forward, Step::Place),
            &[done, next],
            at(60_000),
        );
        assert_eq!(told, Pace { percent: 5, eta: Some(0), is_late: true });
        for end in TaskState::ALL.into_iter().filter(|state| state.is_final()) {
            let told = pace(&[vec![kind]], load(0), Progress::Ended(end), &[done, next], at(60_000));
            let percent = if end == TaskState::Succeeded { 100 } else { 5 };
            assert_eq!(told, Pace { percent, eta: None, is_late: false });
        }
        assert_eq!(pace(&[vec![kind]], load(0), Progress::Scheduled, &[], at(0)).percent, 0);
    }

    /// What may happen to a task: each event that its machine allows, with any time between.
    fn any_event() -> impl proptest::strategy::Strategy<Value = (u8, i64, f32, bool)> {
        (any::<u8>(), 0_i64..120_000, 0.0_f32..1.2, any::<bool>())
    }

    proptest! {
        /// Whatever a task meets: its percentage does not fall, and within a part the end does not move later.
        #[test]
        fn nothing_runs_backwards(
            first in 0_usize..4,
            events in proptest::collection::vec(any_event(), 1..80),
            bytes in 0_i64..(1 << 45),
            twin: bool,
            more in 0_usize..3,
        ) {
            let mut kind =
                [TaskKind::Create, TaskKind::Delete, TaskKind::ReplicaUpgrade, TaskKind::UpgradeAuto][first];
            let mut progress = Progress::Scheduled;
            let mut marks: Vec<Mark> = Vec::new();
            let mut now = 0;
            let mut percent = 0;
            let mut told: Option<(bool, DateTime<Utc>)> = None;
            let more = if kind == TaskKind::UpgradeAuto { more } else { 0 };
            let mut passed: Vec<Vec<TaskKind>> = Vec::new();
            for (what, ms, share, tells) in events {
                now += ms;
                let event = match (progress, what % 10) {
                    (Progress::Scheduled, _) => TaskEvent::Begun,
                    (Progress::Verifying, 0) => TaskEvent::AbandonAccepted,
                    (Progress::Verifying, _) => TaskEvent::DetachAccepted,
                    (Progress::At(Phase::Finish, Step::Retire), 4..) if passed.len() < more => TaskEvent::NextHop,
                    (Progress::At(Phase::Finish, Step::Retire), _) if passed.len() < more => TaskEvent::StepRetried,
                    (Progress::At(_, Step::Examine), _) if kind == TaskKind::UpgradeAuto => {
                        TaskEvent::StrategyFixed(kind_of(if twin { Strategy::Twin } else { Strategy::InPlace }))
                    }
                    (Progress::At(_, _), 0) => TaskEvent::StepFailed,
                    (Progress::At(_, _), 1) => TaskEvent::StepRetried,
                    (Progress::At(phase, _), 2) => TaskEvent::Redo(kind.steps(phase)[0]),
                    (Progress::At(_, _), 3) => TaskEvent::AbandonAccepted,
                    (Progress::At(_, _), _) => TaskEvent::StepDone,
                    (Progress::Deferred | Progress::NeedsOperator | Progress::Ended(_), _) => break,
                };
                let Ok(next) = progress.after(kind, event) else { continue };
                if let Some(last) = marks.last_mut() {
                    if tells {
                        last.share = last.share.max(share.min(1.0));
                    }
                    last.is_done = matches!(
                        event,
                        TaskEvent::StepDone | TaskEvent::StrategyFixed(_) | TaskEvent::NextHop
                    );
                }
                if event == TaskEvent::NextHop {
                    passed.push(vec![kind]);
                    kind = TaskKind::UpgradeAuto;
                }
                if let TaskEvent::StrategyFixed(fixed) = event {
                    kind = fixed;
                }
                progress = next;
                if let Progress::At(phase, step) = progress {
                    marks.push(Mark { phase, step, started_at: at(now), is_done: false, share: 0.0 });
                }
                let mut hops = passed.clone();
                hops.push(kinds(kind, &Strategy::ALL));
                hops.resize(1 + more, kinds(TaskKind::UpgradeAuto, &Strategy::ALL));
                let pace = pace(&hops, load(bytes), progress, &marks, at(now));
                prop_assert!(pace.percent >= percent, "{percent} {pace:?} {progress:?} {marks:?}");
                prop_assert_eq!(pace.percent == 100, progress == Progress::Ended(TaskState::Succeeded));
                percent = pace.percent;
                let in_detach = matches!(progress, Progress::At(Phase::Detach, _));
                if let Some(eta) = pace.eta {
                    let end = at(now) + Duration::seconds(eta);
                    if let Some((part, before)) = told && part == in_detach {
                        // Whole seconds are told; who is late is told so.
                        let later = end - before;
                        prop_assert!(pace.is_late || later < Duration::seconds(1), "{before} {end} {marks:?}");
                    }
                    told = Some((in_detach, end));
                }
            }
        }
    }
}
