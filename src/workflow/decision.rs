//! What follows from a try of a step: the same step again, an earlier one, the way back, or an operator. Pure functions of the
//! task, of the error, and of what is known of earlier tries.

use std::time::Duration;

use crate::db;
use crate::domain::task::{Phase, Progress, Task, TaskEvent};
use crate::workflow::for_tenants;
use crate::workflow::step::{StepError, StepOutcome};

/// Tries of a step before it counts as failed; with the waits below about ten minutes and the tries themselves.
const TRIES: i32 = 45;

/// Tries of a step that was refused, where it can be undone.
const BRIEF_TRIES: i32 = 5;

/// Tries of a step that is not done by its deadline, where it can be undone and nobody waits.
const TIMED_OUT_TRIES: i32 = 2;

/// How long a step is tried while tenants wait for it, where it can be undone: so long that a server that died is up
/// again. It counts from the step's first try, since a try may itself take a while, and at least one more is made.
const HELD_PATIENCE: Duration = Duration::from_secs(15);

/// The pause between tries while tenants wait.
const HELD_PAUSE: Duration = Duration::from_millis(500);

/// How often a task goes back to an earlier step before it counts as failed.
const REDOS: i32 = 6;

/// What follows from a try of a step, and is recorded with it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What happens to the task.
    pub event: TaskEvent,
    /// How long nobody takes the task up again.
    pub wait: Duration,
    /// How the try ended: `done`, `retry`, `redo` or `failed`.
    pub word: &'static str,
    /// What the try left, in words for the operator.
    pub detail: Option<String>,
    /// The task as it is from now on.
    pub task: Task,
    /// What the step did, where it did what it is for.
    pub done: Option<StepOutcome>,
}

/// What is known of the tries of a step; nothing, where nobody can be asked: then it is tried again.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// For how long it has been tried.
    pub over: Duration,
    /// Why the last try before this one is made again.
    pub refused: Option<String>,
}

/// Whether two refusals are the same one: ids, times and line numbers in them tell nothing.
fn is_same(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

/// Who acts next after a step that did not do what it is for, and was `tried` before.
pub fn decide(task: &Task, attempt: i32, phase: Phase, error: StepError, tried: &Tried) -> Decision {
    let mut changed = task.clone();
    let operator = error.to_string();
    let can_undo = phase.can_undo(task.kind());
    // 1, 2, 4, 8, then every 15 s.
    let held = matches!(task.progress, Progress::At(phase, step) if task.kind().holds(phase, step));
    let wait = if held && attempt <= TRIES {
        HELD_PAUSE
    } else {
        Duration::from_secs(1 << (attempt - 1).clamp(0, 4)).min(Duration::from_secs(15))
    };
    let brief = if can_undo { BRIEF_TRIES } else { TRIES };
    let patient = attempt < TRIES && !(can_undo && held && attempt > 1 && tried.over > HELD_PATIENCE);
    // Where there is no way back it is tried on all the same: what stands in the way may be mended.
    let lasts = can_undo && tried.refused.as_deref().is_some_and(|before| is_same(before, &operator));
    let event = match &error {
        StepError::Cancelled if phase.can_cancel(task.kind()) => TaskEvent::AbandonAccepted,
        StepError::Retry(_) if patient => TaskEvent::StepRetried,
        StepError::RetryBriefly(_) if attempt < brief => TaskEvent::StepRetried,
        StepError::Refused(_) if attempt < brief && !lasts => TaskEvent::StepRetried,
        StepError::Redo(from, _) if task.redos < REDOS && can_undo => TaskEvent::Redo(*from),
        StepError::RedoRefused(from, _) if task.redos < REDOS && can_undo && !lasts => TaskEvent::Redo(*from),
        StepError::Resume(from, _) if can_undo => TaskEvent::Redo(*from),
        // What hung once may hang again: while tenants wait it is not tried a second time where it can be undone.
        StepError::TimedOut(_) if attempt < TIMED_OUT_TRIES && !held || !can_undo && attempt < TRIES => {
            TaskEvent::StepRetried
        }
        StepError::Retry(_)
        | StepError::RetryBriefly(_)
        | StepError::Refused(_)
        | StepError::Redo(_, _)
        | StepError::RedoRefused(_, _)
        | StepError::Resume(_, _)
        | StepError::FallsBehind(_)
        | StepError::RollBack { .. }
        | StepError::TimedOut(_)
        | StepError::Cancelled
        | StepError::LeaseLost => TaskEvent::StepFailed,
    };
    let decided = |event, wait, word, task| Decision {
        event,
        wait,
        word,
        detail: Some(operator.clone()),
        task,
        done: None,
    };
    match event {
        TaskEvent::AbandonAccepted => decided(event, Duration::ZERO, "failed", changed),
        TaskEvent::StepRetried => decided(event, wait, "retry", changed),
        TaskEvent::Redo(_) => {
            let wait = if matches!(error, StepError::Resume(_, _)) {
                Duration::ZERO
            } else {
                changed.redos += 1;
                Duration::from_secs(1 << changed.redos.clamp(0, 5))
            };
            decided(event, wait, "redo", changed)
        }
        _failed => {
            let kind = task.kind().title();
            changed.reason = Some(match error {
                // Past the point of return: everything is kept, and why it came to this stays said.
                _stuck if !can_undo => {
                    let told = format!("The {kind} is stuck and everything is kept: an operator is needed.");
                    task.reason.clone().unwrap_or(told)
                }
                StepError::RollBack { tenant, .. } => tenant,
                StepError::FallsBehind(why) => {
                    format!(
                        "The {kind} was ended early: {why}. Nothing of it is left. Ask again at a quieter time."
                    )
                }
                StepError::Redo(_, _) => format!(
                    "The {kind} could not be completed: the copy was begun anew {} times, the last time because of \
                     this: {}. Nothing of it is left. Leave alone what is named while it is made, and ask again.",
                    task.redos,
                    for_tenants(&operator)
                ),
                StepError::Refused(_) | StepError::RedoRefused(_, _) => format!(
                    "The {kind} could not be completed: {}. Nothing of it is left. It would end the same way again: \
                     change what is named, and ask again.",
                    for_tenants(&operator)
                ),
                StepError::Retry(_) | StepError::RetryBriefly(_) => format!(
                    "The {kind} could not be completed, as this stayed so: {}. Nothing of it is left. Ask again later.",
                    for_tenants(&operator)
                ),
                StepError::TimedOut(deadline) => format!(
                    "The {kind} could not be completed: a part of it was not done within {} s, and was ended. Nothing of \
                     it is left. Ask again later; if it ends so again, ask the operator.",
                    deadline.as_secs_f32()
                ),
                StepError::Resume(_, _) | StepError::Cancelled | StepError::LeaseLost => {
                    format!("The {kind} could not be completed. Nothing of it is left. Ask again.")
                }
            });
            changed.operator_reason = Some(operator.clone());
            decided(TaskEvent::StepFailed, Duration::ZERO, "failed", changed)
        }
    }
}

/// Where the task stands after the event.
///
/// # Errors
/// [`db::Error::Broken`] for an event that it cannot take here.
pub fn advance(task: &Task, event: TaskEvent) -> Result<Progress, db::Error> {
    task.progress.after(task.kind(), event).map_err(|e| db::Error::Broken(e.to_string()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{GenerationId, InstanceId, ProjectId, TaskId, VersionId};
    use crate::domain::replica_upgrade::ReplicaUpgradePlan;
    use crate::domain::task::{Plan, Step};
    use crate::domain::timing::Timing;
    use crate::domain::upgrade::{Strategy, UpgradePlan};

    fn upgrade(phase: Phase, step: Step) -> Task {
        let now = chrono::Utc::now();
        let plan = ReplicaUpgradePlan {
            form: 1,
            source: InstanceId(Uuid::nil()),
            source_generation: GenerationId(Uuid::nil()),
            candidate: InstanceId(Uuid::nil()),
            candidate_generation: GenerationId(Uuid::nil()),
            from: VersionId(Uuid::nil()),
            to: VersionId(Uuid::nil()),
            from_title: "mariadb 10.11".to_owned(),
            to_title: "mariadb 11.8".to_owned(),
        };
        Task {
            id: TaskId(Uuid::nil()),
            project: ProjectId::parse("p").unwrap(),
            progress: Progress::At(phase, step),
            plan: Plan::ReplicaUpgrade(plan),
            secrets: None,
            attempts: 0,
            redos: 0,
            reason: None,
            operator_reason: None,
            lease: 1,
            created_at: now,
            updated_at: now,
            report: serde_json::json!({}),
            cancel_asked: false,
            timing: Timing::Now,
            starts: None,
        }
    }

    fn retry() -> StepError {
        StepError::Retry("no answer".to_owned())
    }

    fn brief() -> StepError {
        StepError::RetryBriefly("refused".to_owned())
    }

    /// Who does not answer is waited for; who refuses is asked a few times, unless there is no way back.
    #[test]
    fn patience_depends_on_the_answer_and_on_the_way_back() {
        for (phase, step, attempt, error, event) in [
            (Phase::Forward, Step::CatchUp, 1, retry(), TaskEvent::StepRetried),
            (Phase::Forward, Step::CatchUp, TRIES - 1, retry(), TaskEvent::StepRetried),
            (Phase::Forward, Step::CatchUp, TRIES, retry(), TaskEvent::StepFailed),
            (Phase::Forward, Step::Convert, BRIEF_TRIES - 1, brief(), TaskEvent::StepRetried),
            (Phase::Forward, Step::Convert, BRIEF_TRIES, brief(), TaskEvent::StepFailed),
            (Phase::Detach, Step::Cut, BRIEF_TRIES, brief(), TaskEvent::StepRetried),
            (Phase::Detach, Step::Cut, TRIES, brief(), TaskEvent::StepFailed),
            (Phase::Undo, Step::DropServer, BRIEF_TRIES, brief(), TaskEvent::StepRetried),
        ] {
            let said = error.to_string();
            let tried = Tried { over: Duration::MAX, refused: None };
            let Decision { event: decided, .. } =
                decide(&upgrade(phase, step), attempt, phase, error, &tried);
            assert_eq!(decided, event, "{phase:?} {step:?} {attempt} {said}");
        }
    }

    /// Tenants wait for as long as a server may take to come up again, and for no number of tries; who goes only forward
    /// is tried on.
    #[test]
    fn while_tenants_wait_time_counts() {
        let plan = UpgradePlan {
            form: 2,
            instance: InstanceId(Uuid::nil()),
            old: GenerationId(Uuid::nil()),
            new: GenerationId(Uuid::nil()),
            from: VersionId(Uuid::nil()),
            to: VersionId(Uuid::nil()),
            from_title: "mariadb 10.11".to_owned(),
            to_title: "mariadb 11.8".to_owned(),
            allowed: Strategy::ALL.to_vec(),
            strategy: None,
            why: None,
            keep_hours: 24,
            keep_retired: false,
            passed: Vec::new(),
            rest: Vec::new(),
        };
        let (soon, late) = (HELD_PATIENCE / 2, HELD_PATIENCE * 2);
        for (strategy, phase, step, attempt, tried, event) in [
            (Strategy::InPlace, Phase::Forward, Step::Convert, 30, soon, TaskEvent::StepRetried),
            (Strategy::InPlace, Phase::Forward, Step::Convert, 1, late, TaskEvent::StepRetried),
            (Strategy::InPlace, Phase::Forward, Step::Convert, 2, late, TaskEvent::StepFailed),
            (Strategy::Twin, Phase::Forward, Step::Convert, 2, late, TaskEvent::StepRetried),
            (Strategy::Twin, Phase::Forward, Step::Cut, 2, late, TaskEvent::StepFailed),
            (Strategy::Twin, Phase::Finish, Step::Admit, 2, late, TaskEvent::StepRetried),
            (Strategy::InPlace, Phase::Undo, Step::Reinstate, 2, late, TaskEvent::StepRetried),
        ] {
            let plan = Plan::Upgrade(UpgradePlan { strategy: Some(strategy), ..plan.clone() });
            let task = Task { plan, ..upgrade(phase, step) };
            let tried = Tried { over: tried, refused: None };
            let Decision { event: decided, .. } = decide(&task, attempt, phase, retry(), &tried);
            assert_eq!(decided, event, "{strategy:?} {phase:?} {step:?} {attempt}");
        }
    }

    /// What hangs is tried once more where nobody waits; while tenants wait it is undone at once, and past the one-way point
    /// tried on.
    #[test]
    fn what_hangs_is_undone_while_tenants_wait() {
        let twin = |phase, step| {
            let plan = UpgradePlan {
                form: 2,
                instance: InstanceId(Uuid::nil()),
                old: GenerationId(Uuid::nil()),
                new: GenerationId(Uuid::nil()),
                from: VersionId(Uuid::nil()),
                to: VersionId(Uuid::nil()),
                from_title: "mariadb 10.11".to_owned(),
                to_title: "mariadb 11.8".to_owned(),
                allowed: Strategy::ALL.to_vec(),
                strategy: Some(Strategy::Twin),
                why: None,
                keep_hours: 24,
                keep_retired: false,
                passed: Vec::new(),
                rest: Vec::new(),
            };
            Task { plan: Plan::Upgrade(plan), ..upgrade(phase, step) }
        };
        for (phase, step, attempt, expected) in [
            (Phase::Forward, Step::Seed, 1, TaskEvent::StepRetried),
            (Phase::Forward, Step::Seed, TIMED_OUT_TRIES, TaskEvent::StepFailed),
            (Phase::Forward, Step::Drain, 1, TaskEvent::StepFailed),
            (Phase::Finish, Step::Admit, TIMED_OUT_TRIES, TaskEvent::StepRetried),
            (Phase::Undo, Step::Reinstate, TRIES - 1, TaskEvent::StepRetried),
            (Phase::Undo, Step::Reinstate, TRIES, TaskEvent::StepFailed),
        ] {
            let error = StepError::TimedOut(Duration::from_secs(60));
            let decision = decide(&twin(phase, step), attempt, phase, error, &Tried::default());
            assert_eq!(decision.event, expected, "{phase:?} {step:?} {attempt}");
            if decision.event == TaskEvent::StepFailed && phase == Phase::Forward {
                assert!(decision.task.reason.unwrap().contains("not done within 60 s"));
            }
        }
    }

    #[test]
    fn only_what_failed_by_itself_counts_as_begun_anew() {
        let mut task = upgrade(Phase::Forward, Step::Seed);
        let anew = || StepError::Redo(Step::Place, "a definition changed".to_owned());
        for redo in 1..=REDOS {
            let Decision { event, wait, task: changed, .. } =
                decide(&task, 1, Phase::Forward, anew(), &Tried::default());
            assert_eq!(event, TaskEvent::Redo(Step::Place));
            assert!(!wait.is_zero());
            assert_eq!(changed.redos, redo);
            task = changed;
        }
        let gone = StepError::Resume(Step::Place, "its worker went away".to_owned());
        let Decision { event, wait, task: changed, .. } =
            decide(&task, 2, Phase::Forward, gone, &Tried::default());
        assert_eq!((event, wait, changed.redos), (TaskEvent::Redo(Step::Place), Duration::ZERO, REDOS));
        let Decision { event, task: changed, .. } =
            decide(&task, 1, Phase::Forward, anew(), &Tried::default());
        assert_eq!(event, TaskEvent::StepFailed);
        assert!(changed.reason.unwrap().contains("begun anew 6 times"));
    }

    /// What is refused twice with the same words is not tried a third time, and the tenant learns why.
    #[test]
    fn a_lasting_reason_ends_at_its_second_time() {
        let said = "load: the server answered 1100: Table 's' was not locked";
        let retry = |text: &str| StepError::Refused(text.to_owned());
        let redo = |text: &str| StepError::RedoRefused(Step::Place, text.to_owned());
        let after = |text: &str| Tried { over: Duration::ZERO, refused: Some(text.to_owned()) };
        let task = upgrade(Phase::Forward, Step::Seed);
        for again in [TaskEvent::StepRetried, TaskEvent::Redo(Step::Place)] {
            let error = || match again {
                TaskEvent::StepRetried => retry(said),
                _other => redo(said),
            };
            assert_eq!(error().to_string(), said);
            let Decision { event, .. } = decide(&task, 1, Phase::Forward, error(), &Tried::default());
            assert_eq!(event, again);
            let Decision { event, .. } = decide(&task, 1, Phase::Forward, error(), &after("another reason"));
            assert_eq!(event, again);
            let numbered = said.replace("1100", "1101");
            let Decision { event, task: changed, .. } =
                decide(&task, 2, Phase::Forward, error(), &after(&numbered));
            assert_eq!(event, TaskEvent::StepFailed);
            let reason = changed.reason.unwrap();
            assert!(
                reason.contains("Table 's' was not locked") && reason.contains("change what is named"),
                "{reason}"
            );
        }
        let away = StepError::Retry("no answer".to_owned());
        let Decision { event, .. } = decide(&task, 2, Phase::Forward, away, &after("no answer"));
        assert_eq!(event, TaskEvent::StepRetried, "who does not answer is waited for");
        let undo = upgrade(Phase::Undo, Step::DropServer);
        let Decision { event, .. } = decide(&undo, 2, Phase::Undo, retry(said), &after(said));
        assert_eq!(event, TaskEvent::StepRetried, "where there is no way back it is tried on");
    }

    #[test]
    fn past_the_point_of_return_the_first_reason_stays() {
        let mut task = upgrade(Phase::Undo, Step::DropServer);
        task.reason = Some("shop.late uses the engine Aria".to_owned());
        let Decision { event, task: changed, .. } =
            decide(&task, TRIES, Phase::Undo, retry(), &Tried::default());
        assert_eq!(event, TaskEvent::StepFailed);
        assert_eq!(changed.reason, task.reason);
        assert_eq!(changed.operator_reason.as_deref(), Some("no answer"));
        assert_eq!(advance(&task, event).unwrap(), Progress::NeedsOperator);
    }
}
