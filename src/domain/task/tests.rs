use std::time::Duration;

use super::*;

fn every_progress() -> Vec<(TaskKind, Progress)> {
    let mut all = Vec::new();
    for kind in TaskKind::ALL {
        all.push((kind, Progress::Deferred));
        all.push((kind, Progress::Scheduled));
        for phase in Phase::ALL {
            all.extend(kind.steps(phase).iter().map(|step| (kind, Progress::At(phase, *step))));
        }
        all.push((kind, Progress::Verifying));
        all.push((kind, Progress::NeedsOperator));
        all.extend(TaskState::ALL.into_iter().filter(|s| s.is_final()).map(|s| (kind, Progress::Ended(s))));
    }
    all
}

#[test]
fn a_line_of_steps_ends_as_its_phase_says() {
    for (kind, phase, end) in [
        (TaskKind::Create, Phase::Forward, TaskState::Succeeded),
        (TaskKind::Create, Phase::Undo, TaskState::RolledBack),
        (TaskKind::Create, Phase::Abandon, TaskState::Cancelled),
        (TaskKind::Delete, Phase::Forward, TaskState::Succeeded),
        (TaskKind::ReplicaUpgrade, Phase::Forward, TaskState::Verifying),
        (TaskKind::ReplicaUpgrade, Phase::Detach, TaskState::Succeeded),
        (TaskKind::ReplicaUpgrade, Phase::Abandon, TaskState::Cancelled),
        (TaskKind::ReplicaUpgrade, Phase::Undo, TaskState::RolledBack),
        (TaskKind::UpgradeAuto, Phase::Undo, TaskState::RolledBack),
        (TaskKind::UpgradeAuto, Phase::Abandon, TaskState::Cancelled),
        (TaskKind::UpgradeInPlace, Phase::Finish, TaskState::Succeeded),
        (TaskKind::UpgradeInPlace, Phase::Undo, TaskState::RolledBack),
        (TaskKind::UpgradeTwin, Phase::Finish, TaskState::Succeeded),
        (TaskKind::UpgradeTwin, Phase::Abandon, TaskState::Cancelled),
        (TaskKind::CreateGroup, Phase::Forward, TaskState::Succeeded),
        (TaskKind::CreateGroup, Phase::Undo, TaskState::RolledBack),
        (TaskKind::CreateGroup, Phase::Abandon, TaskState::Cancelled),
        (TaskKind::DeleteGroup, Phase::Forward, TaskState::Succeeded),
        (TaskKind::UpgradeRolling, Phase::Finish, TaskState::Succeeded),
        (TaskKind::UpgradeRolling, Phase::Undo, TaskState::RolledBack),
        (TaskKind::UpgradeRolling, Phase::Abandon, TaskState::Cancelled),
        (TaskKind::Switchback, Phase::Finish, TaskState::Succeeded),
        (TaskKind::Switchback, Phase::Undo, TaskState::Succeeded),
        (TaskKind::Failover, Phase::Finish, TaskState::Succeeded),
        (TaskKind::Failover, Phase::Undo, TaskState::RolledBack),
        (TaskKind::Failover, Phase::Abandon, TaskState::Cancelled),
    ] {
        let steps = kind.steps(phase);
        let mut at = Progress::At(phase, steps[0]);
        for step in steps {
            assert_eq!(at, Progress::At(phase, step));
            at = at.after(kind, TaskEvent::StepDone).unwrap();
        }
        assert_eq!(at.state(), end, "{kind:?} {phase:?}");
    }
}

#[test]
fn a_failure_is_undone_before_the_one_way_point_and_kept_after_it() {
    for (kind, progress) in every_progress() {
        let Progress::At(phase, _) = progress else { continue };
        let next = progress.after(kind, TaskEvent::StepFailed).unwrap();
        match (kind, phase) {
            (kind, Phase::Forward) if !matches!(kind, TaskKind::Delete | TaskKind::DeleteGroup) => {
                assert!(matches!(next, Progress::At(Phase::Undo, _)), "{kind:?} {progress:?}");
            }
            _ => assert_eq!(next, Progress::NeedsOperator, "{kind:?} {progress:?}"),
        }
    }
}

#[test]
fn what_has_ended_takes_no_event() {
    let events = [
        TaskEvent::Begun,
        TaskEvent::StepDone,
        TaskEvent::StepRetried,
        TaskEvent::Redo(Step::Place),
        TaskEvent::StepFailed,
        TaskEvent::DetachAccepted,
        TaskEvent::AbandonAccepted,
    ];
    for (kind, progress) in every_progress() {
        for event in events {
            let next = progress.after(kind, event);
            match progress {
                Progress::Ended(_) => assert!(next.is_err()),
                // What is being made can always be deleted.
                Progress::NeedsOperator => {
                    assert_eq!(next.is_ok(), kind.makes() && event == TaskEvent::AbandonAccepted);
                }
                Progress::Verifying => assert_eq!(
                    next.is_ok(),
                    kind == TaskKind::ReplicaUpgrade
                        && matches!(event, TaskEvent::DetachAccepted | TaskEvent::AbandonAccepted)
                ),
                // It has claimed nothing, so that nothing is to be undone.
                Progress::Deferred => assert!(next.is_err(), "{event:?}"),
                Progress::Scheduled => assert_eq!(
                    next.is_ok(),
                    event == TaskEvent::Begun || event == TaskEvent::AbandonAccepted && kind.can_cancel()
                ),
                Progress::At(phase, _) => {
                    assert!(event != TaskEvent::DetachAccepted || next.is_err());
                    assert!(event != TaskEvent::AbandonAccepted || next.is_ok() == phase.can_cancel(kind));
                }
            }
        }
    }
}

/// Only what has not begun can be moved, started and withdrawn, and begins like any other then.
#[test]
fn what_is_deferred_begins_or_ends_without_a_step() {
    for (kind, progress) in every_progress() {
        for (event, next) in [
            (TaskEvent::Postponed, kind.can_wait().then_some(Progress::Deferred)),
            (TaskEvent::Started, kind.can_wait().then_some(Progress::Scheduled)),
            (TaskEvent::Lapsed, Some(Progress::Ended(TaskState::RolledBack))),
            (TaskEvent::Withdrawn, Some(Progress::Ended(TaskState::Cancelled))),
        ] {
            let next = next.filter(|_| progress == Progress::Deferred);
            assert_eq!(progress.after(kind, event).ok(), next, "{kind:?} {progress:?} {event:?}");
        }
    }
}

/// A twin is given up before its hold, and never after: the server is looked at again then.
#[test]
fn a_twin_is_given_up_before_its_hold() {
    for (kind, progress) in every_progress() {
        let may = match progress {
            Progress::At(Phase::Forward, step) => {
                kind == TaskKind::UpgradeTwin && !kind.holds(Phase::Forward, step)
            }
            _other => false,
        };
        let next = may.then_some(Progress::At(Phase::Forward, Step::Examine));
        assert_eq!(progress.after(kind, TaskEvent::TwinGivenUp).ok(), next, "{kind:?} {progress:?}");
    }
}

/// The one-way point of an upgrade of the same instance is the record of the cut-over, and nothing else.
#[test]
fn the_switch_is_the_one_way_point() {
    for kind in [TaskKind::UpgradeInPlace, TaskKind::UpgradeTwin] {
        let examined = Progress::At(Phase::Forward, Step::Examine);
        let mut at = examined.after(TaskKind::UpgradeAuto, TaskEvent::StrategyFixed(kind)).unwrap();
        assert_eq!(at, Progress::At(Phase::Forward, kind.steps(Phase::Forward)[0]));
        while at != Progress::At(Phase::Finish, Step::Admit) {
            assert!(matches!(
                at.after(kind, TaskEvent::StepFailed),
                Ok(Progress::At(Phase::Undo, Step::Reinstate))
            ));
            assert!(matches!(
                at.after(kind, TaskEvent::AbandonAccepted),
                Ok(Progress::At(Phase::Abandon, Step::Reinstate))
            ));
            let last = at;
            at = at.after(kind, TaskEvent::StepDone).unwrap();
            assert_eq!(
                last == Progress::At(Phase::Forward, Step::Cutover),
                at == Progress::At(Phase::Finish, Step::Admit)
            );
        }
        assert_eq!(at.after(kind, TaskEvent::StepFailed), Ok(Progress::NeedsOperator));
        assert!(at.after(kind, TaskEvent::AbandonAccepted).is_err());
        for (is_last, step) in [(false, Step::Admit), (false, Step::Reopen), (true, Step::Retire)] {
            let next = Progress::At(Phase::Finish, step).after(kind, TaskEvent::NextHop);
            assert_eq!(next.ok(), is_last.then_some(examined), "{step:?}");
        }
        assert!(Progress::At(Phase::Forward, Step::Cutover).after(kind, TaskEvent::NextHop).is_err());
        for other in [TaskKind::ReplicaUpgrade, TaskKind::Create, TaskKind::Delete, TaskKind::UpgradeAuto] {
            assert!(examined.after(TaskKind::UpgradeAuto, TaskEvent::StrategyFixed(other)).is_err());
        }
        assert!(examined.after(TaskKind::ReplicaUpgrade, TaskEvent::StrategyFixed(kind)).is_err());
    }
}

/// The members of a group change roles at the record of a cut-over; the switchback of an upgrade cannot undo that.
#[test]
fn a_change_of_roles_is_the_one_way_point_of_a_group() {
    for kind in [TaskKind::UpgradeRolling, TaskKind::Failover, TaskKind::Switchback] {
        for step in kind.steps(Phase::Forward) {
            let at = Progress::At(Phase::Forward, step);
            let undone = at.after(kind, TaskEvent::StepFailed);
            assert_eq!(undone, Ok(Progress::At(Phase::Undo, Step::Reinstate)), "{kind:?} {step:?}");
            assert_eq!(at.after(kind, TaskEvent::AbandonAccepted).is_ok(), kind != TaskKind::Switchback);
            let next = at.after(kind, TaskEvent::StepDone).unwrap();
            assert_eq!(step == Step::Cutover, next == Progress::At(Phase::Finish, Step::Admit));
        }
        let rejoined = Progress::At(Phase::Finish, Step::Rejoin);
        assert_eq!(rejoined.after(kind, TaskEvent::StepFailed), Ok(Progress::NeedsOperator));
        let back = Progress::At(Phase::Forward, Step::Quiet);
        let next = rejoined.after(kind, TaskEvent::NextHop).ok();
        assert_eq!(next, (kind == TaskKind::UpgradeRolling).then_some(back), "{kind:?}");
    }
}

#[test]
fn tenants_wait_from_the_hold_to_the_reopening() {
    let held = |kind: TaskKind, phase: Phase| -> Vec<Step> {
        kind.steps(phase).iter().copied().filter(|step| kind.holds(phase, *step)).collect()
    };
    let (in_place, twin) = (TaskKind::UpgradeInPlace, TaskKind::UpgradeTwin);
    assert_eq!(
        held(in_place, Phase::Forward),
        [Step::Hold, Step::Fence, Step::Stop, Step::Transform, Step::Start, Step::Convert, Step::Cutover]
    );
    assert_eq!(held(twin, Phase::Forward), [Step::Hold, Step::Fence, Step::Drain, Step::Cut, Step::Cutover]);
    for kind in [in_place, twin] {
        assert_eq!(held(kind, Phase::Finish), [Step::Admit, Step::Reopen]);
        assert_eq!(held(kind, Phase::Undo), [Step::Reinstate, Step::Reopen]);
    }
    for kind in [TaskKind::UpgradeRolling, TaskKind::Switchback, TaskKind::Failover] {
        let waits = [Step::Hold, Step::Fence, Step::Drain, Step::Cut, Step::Cutover];
        assert_eq!(held(kind, Phase::Forward), waits);
        assert_eq!(held(kind, Phase::Finish), [Step::Admit, Step::Reopen]);
        assert_eq!(held(kind, Phase::Undo), [Step::Reinstate, Step::Reopen]);
    }
    for phase in Phase::ALL {
        assert!(held(TaskKind::ReplicaUpgrade, phase).is_empty(), "a replica's source is never held");
    }
}

#[test]
fn only_a_step_that_was_passed_can_be_done_again() {
    let at = Progress::At(Phase::Forward, Step::Seed);
    assert_eq!(
        at.after(TaskKind::ReplicaUpgrade, TaskEvent::Redo(Step::Place)),
        Ok(Progress::At(Phase::Forward, Step::Place))
    );
    assert!(at.after(TaskKind::ReplicaUpgrade, TaskEvent::Redo(Step::Verify)).is_err());
    assert!(
        Progress::At(Phase::Detach, Step::Cut)
            .after(TaskKind::ReplicaUpgrade, TaskEvent::Redo(Step::Drain))
            .is_err()
    );
}

#[test]
fn every_word_reads_back() {
    for it in Step::ALL {
        assert_eq!(it.as_str().parse(), Ok(it));
    }
    for it in TaskState::ALL {
        assert_eq!(it.as_str().parse(), Ok(it));
    }
    for it in TaskKind::ALL {
        assert_eq!(it.as_str().parse(), Ok(it));
    }
    for it in Phase::ALL {
        assert_eq!(it.as_str().parse(), Ok(it));
    }
}

/// A deadline ends what hangs, and never what is only late: whatever the size, it is well above what is expected.
#[test]
fn each_step_has_a_deadline_that_no_estimate_reaches() {
    use crate::domain::datastore::EngineKind;
    use crate::domain::estimate::{Load, MARGIN};

    for kind in TaskKind::ALL {
        assert!(!kind.spec().word.is_empty() && !kind.spec().title.is_empty(), "{kind:?}");
        let holds = kind.spec().forward.iter().any(|it| it.step == Step::Hold);
        assert_eq!(holds || kind.cuts_over(), kind.spec().hold > 0, "{kind:?}");
        for phase in Phase::ALL {
            for it in kind.spec().sequence(phase) {
                for bytes in [0, 1 << 30, 1 << 40, i64::MAX] {
                    let deadline = it.deadline(bytes);
                    for engine in EngineKind::ALL {
                        let expected = it.expected(Load { bytes, engine }).saturating_mul(2 * MARGIN);
                        let told = i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX);
                        assert!(told >= expected, "{kind:?} {phase:?} {:?} {bytes}", it.step);
                    }
                    // Nobody who was held for longer than a hold may last waits for a step of it.
                    let hold = kind.hold_deadline(bytes);
                    let late = kind.deadline((phase, it.step), bytes, hold);
                    if phase == Phase::Forward && kind.holds(phase, it.step) {
                        assert_eq!(late, Duration::from_secs(10), "{kind:?} {:?}", it.step);
                        assert!(kind.deadline((phase, it.step), bytes, Duration::ZERO) <= hold);
                    } else {
                        assert_eq!(late, deadline, "{kind:?} {:?}", it.step);
                    }
                }
            }
        }
    }
}
