//! How a stuck upgrade of the same instance ends as it stands, by an operator who says which server serves.
//!
//! # Decision
//! What an operator says decides nothing: it must be what the record says, and is asked for so that nobody ends a task
//! without having looked. The record of the cut-over is the one-way point; an operator who could say otherwise could have
//! two servers take writes.

use crate::domain::ids::GenerationId;
use crate::domain::refusal::Refusal;
use crate::domain::task::{Plan, Progress, Task, TaskState};
use crate::domain::upgrade::UpgradePlan;

/// How the task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its state.
    pub state: TaskState,
    /// The server that serves.
    pub serving: GenerationId,
    /// The other one, which is kept.
    pub other: GenerationId,
}

/// The end of a task of whose instance `serving` is the server that serves, when an operator says that `said` does:
/// `old` or `new`, a version, or an id.
///
/// # Errors
/// [`Refusal::Blocked`], saying what is so, for a task that is not stuck or does not upgrade the same instance, and when
/// what was said is not so.
pub fn decide(task: &Task, serving: Option<GenerationId>, said: &str) -> Result<End, Refusal> {
    let id = task.id;
    let blocked = |why: String| Refusal::Blocked(format!("Task {id} {why}."));
    if task.progress != Progress::NeedsOperator {
        return Err(blocked(format!("is {}, not needs_operator", task.progress.state().as_str())));
    }
    let Plan::Upgrade(plan) = &task.plan else {
        return Err(blocked(
            "does not upgrade the same instance: mend what stands in its way, and retry".into(),
        ));
    };
    let (word, title, end) = match serving {
        Some(serving) if serving == plan.old => {
            let end = End { state: TaskState::RolledBack, serving, other: plan.new };
            ("old", &plan.from_title, end)
        }
        Some(serving) if serving == plan.new => {
            let end = End { state: TaskState::Succeeded, serving, other: plan.old };
            ("new", &plan.to_title, end)
        }
        Some(_) | None => return Err(blocked("has neither of its servers serve its instance".into())),
    };
    if meant(plan, said) == Some(end.serving) {
        Ok(end)
    } else {
        Err(blocked(format!(
            "cannot be resolved so: by the record the {word} server serves, {title}, {}",
            end.serving
        )))
    }
}

/// The server that is meant.
fn meant(plan: &UpgradePlan, said: &str) -> Option<GenerationId> {
    let is = |word: &str, title: &str, id: GenerationId| {
        let version = title.split_once(' ').map_or(title, |(_, version)| version);
        said.eq_ignore_ascii_case(word)
            || said == title
            || said == version
            || said.eq_ignore_ascii_case(&id.to_string())
    };
    if is("old", &plan.from_title, plan.old) {
        Some(plan.old)
    } else if is("new", &plan.to_title, plan.new) {
        Some(plan.new)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{InstanceId, ProjectId, TaskId, VersionId};
    use crate::domain::timing::Timing;

    fn task(progress: Progress) -> Task {
        let plan = UpgradePlan {
            form: 1,
            instance: InstanceId(Uuid::from_u128(1)),
            old: GenerationId(Uuid::from_u128(2)),
            new: GenerationId(Uuid::from_u128(3)),
            from: VersionId(Uuid::from_u128(4)),
            to: VersionId(Uuid::from_u128(5)),
            from_title: "mariadb 10.11".into(),
            to_title: "mariadb 11.8".into(),
            allowed: Vec::new(),
            strategy: None,
            why: None,
            keep_hours: 24,
            keep_retired: false,
            passed: Vec::new(),
            rest: Vec::new(),
        };
        Task {
            id: TaskId(Uuid::from_u128(6)),
            project: ProjectId::parse("p").unwrap(),
            progress,
            plan: Plan::Upgrade(plan),
            secrets: None,
            attempts: 1,
            redos: 0,
            reason: None,
            operator_reason: None,
            lease: 1,
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::UNIX_EPOCH,
            report: serde_json::json!({}),
            cancel_asked: false,
            timing: Timing::Now,
            starts: None,
        }
    }

    #[test]
    fn only_what_is_so_can_be_said() {
        let stuck = task(Progress::NeedsOperator);
        let (old, new) = (GenerationId(Uuid::from_u128(2)), GenerationId(Uuid::from_u128(3)));
        let ids = (old.to_string(), new.to_string());
        for said in ["old", "OLD", "10.11", "mariadb 10.11", &ids.0] {
            let end = decide(&stuck, Some(old), said).unwrap();
            assert_eq!(end, End { state: TaskState::RolledBack, serving: old, other: new }, "{said}");
            let refused = decide(&stuck, Some(new), said).unwrap_err().to_string();
            assert!(refused.contains("the new server serves, mariadb 11.8"), "{refused}");
        }
        for said in ["new", "New", "11.8", "mariadb 11.8", &ids.1] {
            let end = decide(&stuck, Some(new), said).unwrap();
            assert_eq!(end, End { state: TaskState::Succeeded, serving: new, other: old }, "{said}");
            assert!(decide(&stuck, Some(old), said).is_err(), "{said}");
        }
        for (serving, said) in [(None, "old"), (Some(GenerationId(Uuid::nil())), "old"), (Some(old), "")] {
            assert!(decide(&stuck, serving, said).is_err(), "{said}");
        }
        for end in [Progress::Scheduled, Progress::Verifying, Progress::Ended(TaskState::RolledBack)] {
            assert!(decide(&task(end), Some(old), "old").is_err());
        }
    }
}
