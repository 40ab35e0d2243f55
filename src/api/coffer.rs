//! Our own routes: tasks (api-ref: `tasks.md`).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::Utc;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::doc::{Doc, Gives, sample, shape};
use crate::api::error::Fault;
use crate::api::json_fields::{Field, closed};
use crate::api::links::{zoneless, zoneless_millis};
use crate::api::request::{Call, Route, accepted, json as answer};
use crate::api::shapes::ScheduleRequest;
use crate::api::windows::{WHEN, no_body, utc, when};
use crate::api::{ApiState, upgrades};
use crate::commands;
use crate::db::{self, instances, task_steps, tasks};
use crate::domain::caller::Caller;
use crate::domain::datastore::EngineKind;
use crate::domain::estimate::{self, Load};
use crate::domain::ids::TaskId;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::task::{Progress, StepRecord, Task, TaskState};
use crate::domain::timing::Timing;

/// The table.
pub const ROUTES: &[Route] = &[
    Route::project(
        "GET",
        "/v1.0/{project}/tasks",
        Rule::TaskRead,
        Doc::new("listTasks", "The project's tasks, newest first", "tasks.md")
            .gives(200, Gives::Many("tasks", shape::<TaskView>))
            .query(&[("state", "Only those in this state")]),
        |call, caller| Box::pin(list(call, caller)),
    ),
    Route::project(
        "GET",
        "/v1.0/{project}/tasks/{id}",
        Rule::TaskRead,
        Doc::new("showTask", "A task with its steps", "tasks.md")
            .gives(200, Gives::One("task", shape::<TaskView>)),
        |call, caller| Box::pin(show(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/tasks/{id}/cancel",
        Rule::InstanceUpdate,
        Doc::new("cancelTask", "End a task before its one-way point", "tasks.md")
            .gives(202, Gives::Nothing)
            .refuses(&[409]),
        |call, caller| Box::pin(cancel(call, caller)),
    ),
    Route::project(
        "PUT",
        "/v1.0/{project}/tasks/{id}/schedule",
        Rule::InstanceUpdate,
        Doc::new("moveTask", "Have an upgrade that is for later begin at another time", "tasks.md")
            .takes::<ScheduleRequest>(sample!("schedule-request"))
            .gives(200, Gives::One("task", shape::<TaskView>))
            .refuses(&[409, 422]),
        |call, caller| Box::pin(schedule(call, caller)),
    ),
    Route::project(
        "POST",
        "/v1.0/{project}/tasks/{id}/start",
        Rule::InstanceUpdate,
        Doc::new("startTask", "Have an upgrade that is for later begin now", "tasks.md")
            .gives(202, Gives::One("task", shape::<TaskView>))
            .refuses(&[409, 422]),
        |call, caller| Box::pin(start(call, caller)),
    ),
];

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskView {
    id: String,
    kind: &'static str,
    state: &'static str,
    /// An upgrade's: `replica`, `twin`, `in_place`, `rolling`; `auto` until it is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<&'static str>,
    phase: Option<&'static str>,
    step: Option<&'static str>,
    /// What it makes, deletes or upgrades.
    instance_id: String,
    /// The group that it is about; `instance_id` is then the member that was its primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
    /// What an upgrade makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_instance_id: Option<String>,
    created: String,
    updated: String,
    /// When it was asked to begin, where not at once: `window` or `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'static str>,
    /// When it begins then, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts: Option<String>,
    /// When it is too late to begin, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// How much of its way it has passed, 0 to 100, when a task is shown by itself; it never falls.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u8>,
    /// Seconds until its end while one can be told, when a task is shown by itself; 0 when it is late.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<i64>,
    /// Whether the end that was told has passed, when a task is shown by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_reason: Option<String>,
    /// For admins, when a task is shown by itself: `process` or `simulated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    /// What its steps found out, when a task is shown by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Value>,
    /// When a task is shown by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<StepView>>,
}

/// A try of a step.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepView {
    phase: String,
    step: String,
    attempt: i32,
    outcome: Option<String>,
    progress: Option<String>,
    started: String,
    ended: Option<String>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl TaskView {
    fn new(task: &Task, caller: &Caller, steps: Option<&[StepRecord]>) -> Self {
        let (phase, step) = match task.progress {
            Progress::At(phase, step) => (Some(phase.as_str()), Some(step.as_str())),
            Progress::Deferred
            | Progress::Scheduled
            | Progress::Verifying
            | Progress::NeedsOperator
            | Progress::Ended(_) => (None, None),
        };
        let new = task.plan.new_instance();
        let admin = caller.is_admin();
        Self {
            id: task.id.to_string(),
            kind: task.kind().title(),
            strategy: task.plan.strategy(),
            state: task.progress.state().as_str(),
            phase,
            step,
            instance_id: task.plan.subject().to_string(),
            group_id: task.plan.group().map(|id| id.to_string()),
            new_instance_id: new.map(|id| id.to_string()),
            created: zoneless(task.created_at),
            updated: zoneless(task.updated_at),
            when: upgrades::later(task),
            starts: task.starts.map(utc),
            not_after: upgrades::not_after(task),
            percent: None,
            eta: None,
            late: None,
            reason: task.reason.clone(),
            operator_reason: task.operator_reason.clone().filter(|_| admin),
            runtime: None,
            report: steps
                .and(task.report.as_object())
                .filter(|report| !report.is_empty())
                .map(|report| Value::Object(report.clone())),
            steps: steps.map(|steps| steps.iter().map(|step| StepView::new(step, admin)).collect()),
        }
    }
}

impl StepView {
    fn new(record: &StepRecord, admin: bool) -> Self {
        Self {
            phase: record.phase.clone(),
            step: record.step.clone(),
            attempt: record.attempt,
            outcome: record.outcome.clone(),
            progress: record.progress.clone(),
            started: zoneless_millis(record.started_at),
            ended: record.ended_at.map(zoneless_millis),
            detail: record.detail.clone().filter(|_| admin),
        }
    }
}

/// `GET /tasks`: the project's, newest first, 1,000 at most.
async fn list(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let project = caller.project.clone();
    let state: Option<TaskState> = match call.query_value("state") {
        None => None,
        Some(word) => Some(word.parse().map_err(|_| {
            let words: Vec<&str> = TaskState::ALL.into_iter().map(TaskState::as_str).collect();
            Refusal::invalid("state", format!("must be one of {}", words.join(", ")))
        })?),
    };
    let found: Result<_, db::Error> =
        call.state.commands.db.run(move |conn| tasks::list(conn, Some(&project), None, state)).await;
    let views: Vec<_> = found?.iter().map(|task| TaskView::new(task, &caller, None)).collect();
    answer(StatusCode::OK, &json!({"tasks": views}))
}

/// The task in the path.
pub(super) fn task_id(call: &Call) -> Result<TaskId, Fault> {
    call.param(0).parse().map_err(|_| Fault::not_found(call.param(0)))
}

/// `POST /tasks/{id}/cancel`: 202 with nothing. A body says nothing; where there is one it is an empty object.
async fn cancel(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    no_body(&call)?;
    allow(&caller, Rule::InstanceUpdate)?;
    let id = task_id(&call)?;
    commands::tasks::cancel(&call.state.commands.db, &caller, id).await?;
    Ok(accepted())
}

/// `PUT /tasks/{id}/schedule`.
async fn schedule(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let body = call.json()?;
    closed(&body, &["schedule"])?;
    let field = Field::root(&body, "schedule")?;
    field.closed(&WHEN)?;
    let timing = when(&field, Utc::now())?;
    if timing == Timing::Now {
        return Err(field.refuse("must be for later: window, or not_before").into());
    }
    moved(call, caller, timing, StatusCode::OK).await
}

/// `POST /tasks/{id}/start`.
async fn start(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    no_body(&call)?;
    moved(call, caller, Timing::Now, StatusCode::ACCEPTED).await
}

async fn moved(
    call: Call,
    caller: Caller,
    timing: Timing,
    status: StatusCode,
) -> Result<HttpResponse, Fault> {
    allow(&caller, Rule::InstanceUpdate)?;
    let id = task_id(&call)?;
    commands::tasks::reschedule(&call.state.commands.db, &caller, id, timing).await?;
    let (view, _) = view(&call.state, &caller, id).await?;
    answer(status, &json!({"task": view}))
}

/// `GET /tasks/{id}`, with its steps.
async fn show(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = task_id(&call)?;
    let (view, _) = view(&call.state, &caller, id).await?;
    answer(StatusCode::OK, &json!({"task": view}))
}

/// The task as it is shown by itself, and whether nothing will happen to it any more.
///
/// # Errors
/// 404; the store's.
pub(super) async fn view(state: &ApiState, caller: &Caller, id: TaskId) -> Result<(TaskView, bool), Fault> {
    let missing = || Fault::not_found(id.to_string());
    let found: Result<_, db::Error> = state
        .commands
        .db
        .run(move |conn| {
            let task = tasks::find(conn, id)?;
            let Some(task) = task else { return Ok(None) };
            let version = instances::find(conn, task.plan.subject())?.map(|it| it.shown_version().clone());
            Ok(Some((task_steps::of(conn, id)?, task_steps::marks(conn, id)?, version, task)))
        })
        .await;
    let (steps, (bytes, marks), version, task) = found?.ok_or_else(missing)?;
    if !caller.sees(&task.project) {
        return Err(missing());
    }
    let mut view = TaskView::new(&task, caller, Some(&steps));
    view.runtime = version.as_ref().filter(|_| caller.is_admin()).map(|version| version.runtime.as_str());
    // An instance that is gone has no task that runs.
    let engine = version.map_or(EngineKind::MariaDb, |version| version.engine);
    let pace = estimate::pace(
        &estimate::kinds_by_hop(&task.plan),
        Load { bytes, engine },
        task.progress,
        &marks,
        Utc::now(),
    );
    view.percent = Some(pace.percent);
    view.eta = pace.eta;
    view.late = pace.eta.map(|_| pace.is_late);
    Ok((view, task.progress.state().is_final()))
}

impl TaskView {
    /// The view without what changes by itself as time goes by.
    pub(super) fn still(&self) -> Result<Value, Fault> {
        let mut still = serde_json::to_value(self).map_err(|e| Fault::Broken(e.into()))?;
        if let Some(map) = still.as_object_mut() {
            map.remove("eta");
        }
        Ok(still)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::api::trove::views::tests::{caller, keys, now, version};
    use crate::domain::caller::Level;
    use crate::domain::ids::InstanceId;
    use crate::domain::ids::{GenerationId, ProjectId};
    use crate::domain::replica_upgrade::ReplicaUpgradePlan;
    use crate::domain::task::Plan;
    use crate::domain::task::{Phase, Step};

    pub fn upgrade() -> Task {
        Task {
            id: TaskId(Uuid::from_u128(1)),
            project: ProjectId::parse("p1").unwrap(),
            progress: Progress::At(Phase::Forward, Step::Seed),
            plan: Plan::ReplicaUpgrade(ReplicaUpgradePlan {
                form: 1,
                source: InstanceId(Uuid::from_u128(2)),
                source_generation: GenerationId(Uuid::from_u128(3)),
                candidate: InstanceId(Uuid::from_u128(4)),
                candidate_generation: GenerationId(Uuid::from_u128(5)),
                from: version("10.6").id,
                to: version("10.11").id,
                from_title: "mariadb 10.6".into(),
                to_title: "mariadb 10.11".into(),
            }),
            secrets: Some("sealed".into()),
            attempts: 1,
            redos: 0,
            reason: None,
            operator_reason: Some("chain".into()),
            lease: 1,
            created_at: now(),
            updated_at: now(),
            report: json!({}),
            cancel_asked: false,
            timing: Timing::Now,
            starts: None,
        }
    }

    fn step() -> StepRecord {
        StepRecord {
            phase: "forward".into(),
            step: "seed".into(),
            attempt: 1,
            outcome: None,
            progress: Some("12 of 30 tables".into()),
            detail: Some("for the operator".into()),
            started_at: now(),
            ended_at: None,
        }
    }

    fn view(level: Level) -> Value {
        serde_json::to_value(TaskView::new(&upgrade(), &caller(level), Some(&[step()]))).unwrap()
    }

    #[test]
    fn a_task_tells_a_tenant_where_it_stands() {
        let view = view(Level::Member);
        assert_eq!(
            keys(&view),
            [
                "created",
                "id",
                "instance_id",
                "kind",
                "new_instance_id",
                "phase",
                "state",
                "step",
                "steps",
                "strategy",
                "updated"
            ]
        );
        assert_eq!(
            (&view["state"], &view["phase"], &view["step"]),
            (&json!("running"), &json!("forward"), &json!("seed"))
        );
        assert_eq!(
            keys(&view["steps"][0]),
            ["attempt", "ended", "outcome", "phase", "progress", "started", "step"]
        );
        assert_eq!(view["steps"][0]["started"], "2026-03-01T10:20:30.500");
    }

    #[test]
    fn what_is_the_operators_is_shown_to_admins() {
        let view = view(Level::Admin);
        assert_eq!(view["operator_reason"], "chain");
        assert_eq!(view["steps"][0]["detail"], "for the operator");
        assert!(!view.to_string().contains("sealed"));
    }
}
