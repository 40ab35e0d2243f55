//! Tasks, their claims, leases and steps.
//!
//! A lease is a row (owner, until, generation) on Postgres's clock. Each write of a worker names the lease's
//! generation: a worker that lost it changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::schema::{task_instances, task_steps, tasks};
use crate::db::{Conn, Error};
use crate::domain::ids::{HostId, InstanceId, ProjectId, TaskId};
use crate::domain::task::{Phase, Plan, Progress, Step, Task, TaskKind, TaskState};
use crate::domain::timing::Timing;
use crate::testing::{Defect, planted};

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    phase: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    step: Option<String>,
    #[diesel(sql_type = Jsonb)]
    plan: serde_json::Value,
    #[diesel(sql_type = Nullable<Text>)]
    secrets: Option<String>,
    #[diesel(sql_type = Integer)]
    attempts: i32,
    #[diesel(sql_type = Integer)]
    redos: i32,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    operator_reason: Option<String>,
    #[diesel(sql_type = BigInt)]
    lease_generation: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_at: DateTime<Utc>,
    #[diesel(sql_type = Jsonb)]
    report: serde_json::Value,
    #[diesel(sql_type = Bool)]
    cancel_asked: bool,
    #[diesel(sql_type = Bool)]
    deferred: bool,
    #[diesel(sql_type = Text)]
    asked_when: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    asked_not_before: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    asked_not_after: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    starts_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "t.id, t.project_id, t.state, t.phase, t.step, t.plan, t.secrets, t.attempts, t.redos, t.reason, \
                       t.operator_reason, t.lease_generation, t.created_at, t.updated_at, t.report, t.cancel_asked, \
                       t.deferred, t.asked_when, t.asked_not_before, t.asked_not_after, t.starts_at";

fn into_domain(row: Row) -> Result<Task, Error> {
    let progress = match (row.state.parse()?, row.phase, row.step) {
        (TaskState::Scheduled, _, _) if row.deferred => Progress::Deferred,
        (TaskState::Scheduled, _, _) => Progress::Scheduled,
        (TaskState::Running, Some(phase), Some(step)) => Progress::At(phase.parse()?, step.parse()?),
        (TaskState::Running, _, _) => return Err(Error::Broken(format!("task {} runs no step", row.id))),
        (TaskState::Verifying, _, _) => Progress::Verifying,
        (TaskState::NeedsOperator, _, _) => Progress::NeedsOperator,
        (end @ (TaskState::Succeeded | TaskState::RolledBack | TaskState::Cancelled), _, _) => {
            Progress::Ended(end)
        }
    };
    Ok(Task {
        id: TaskId(row.id),
        project: ProjectId::parse(&row.project_id)
            .ok_or_else(|| Error::Broken(format!("project of task {}", row.id)))?,
        progress,
        plan: serde_json::from_value(row.plan)
            .map_err(|e| Error::Broken(format!("plan of task {}: {e}", row.id)))?,
        secrets: row.secrets,
        attempts: row.attempts,
        redos: row.redos,
        reason: row.reason,
        operator_reason: row.operator_reason,
        lease: row.lease_generation,
        created_at: row.created_at,
        updated_at: row.updated_at,
        report: row.report,
        cancel_asked: row.cancel_asked,
        timing: Timing::of_row(&row.asked_when, row.asked_not_before.zip(row.asked_not_after))?,
        starts: row.starts_at,
    })
}

/// Whether the schema allows every kind of task that this program knows.
///
/// # Errors
/// The store's.
pub fn knows_kinds(conn: &mut Conn) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Definition {
        #[diesel(sql_type = Text)]
        text: String,
    }
    let found: Option<Definition> = diesel::sql_query(
        "select pg_get_constraintdef(oid) as text from pg_constraint \
         where conrelid = 'tasks'::regclass and conname = 'tasks_kind_check'",
    )
    .get_result(conn)
    .optional()
    .map_err(Error::query("read which kinds of tasks the schema allows"))?;
    let text = found.map(|found| found.text).unwrap_or_default();
    Ok(TaskKind::ALL.iter().all(|kind| text.contains(&format!("'{}'", kind.as_str()))))
}

/// Has the schema allow every kind of task that this program knows, and those that rows have already.
///
/// # Errors
/// The store's.
pub fn allow_kinds(conn: &mut Conn) -> Result<(), Error> {
    if knows_kinds(conn)? {
        return Ok(());
    }
    let doing = "allow the kinds of tasks";
    let there: Vec<String> =
        tasks::table.select(tasks::kind).distinct().load(conn).map_err(Error::query(doing))?;
    let mut words: Vec<String> = TaskKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    words.extend(there.into_iter().filter(|word| word.parse::<TaskKind>().is_err()));
    let words: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', "''"))).collect();
    diesel::sql_query(format!(
        "alter table tasks drop constraint if exists tasks_kind_check, \
         add constraint tasks_kind_check check (kind in ({}))",
        words.join(", ")
    ))
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query(doing))
}

fn one(
    conn: &mut Conn,
    doing: &'static str,
    query: impl diesel::query_dsl::methods::LoadQuery<'static, Conn, Row>,
) -> Result<Option<Task>, Error> {
    query.get_result(conn).optional().map_err(Error::query(doing))?.map(into_domain).transpose()
}

/// What an instance is to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The one that is made or deleted.
    Subject,
    /// The one that is upgraded.
    Source,
    /// The new one of an upgrade.
    Candidate,
}

impl Claim {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Source => "source",
            Self::Candidate => "candidate",
        }
    }
}

/// A task to insert.
pub struct New<'a> {
    /// Its id.
    pub id: TaskId,
    /// The project that asked for it.
    pub project: &'a ProjectId,
    /// The host whose worker does it.
    pub host: &'a HostId,
    /// What it was accepted to do.
    pub plan: &'a Plan,
    /// Sealed values that a step needs.
    pub secrets: Option<&'a str>,
    /// The instances that it claims.
    pub claims: &'a [(InstanceId, Claim)],
    /// When it was asked to begin.
    pub timing: Timing,
    /// When it begins, of one that is for later: until then it claims nothing, and is planned.
    pub starts: Option<DateTime<Utc>>,
}

/// Inserts a task and claims its instances, or is planned for them. `false` when another live task holds one of them, or
/// another one is planned: then the caller's transaction must end without a trace.
///
/// # Errors
/// The store's.
pub fn insert(conn: &mut Conn, new: &New<'_>) -> Result<bool, Error> {
    let doing = "insert a task";
    let plan = serde_json::to_value(new.plan).map_err(|e| Error::Broken(e.to_string()))?;
    diesel::insert_into(tasks::table)
        .values((
            tasks::id.eq(new.id.0),
            tasks::kind.eq(new.plan.kind().as_str()),
            tasks::project_id.eq(new.project.as_str()),
            tasks::host_id.eq(&new.host.0),
            tasks::state.eq(TaskState::Scheduled.as_str()),
            tasks::plan.eq(plan),
            tasks::secrets.eq(new.secrets),
            tasks::deferred.eq(new.starts.is_some()),
            tasks::asked_when.eq(new.timing.as_str()),
            tasks::asked_not_before.eq(moments(new.timing).0),
            tasks::asked_not_after.eq(moments(new.timing).1),
            tasks::starts_at.eq(new.starts),
        ))
        .execute(conn)
        .map_err(Error::query(doing))?;
    if let Some(starts) = new.starts {
        wait_until(conn, new.id, starts)?;
    }
    for (instance, claim) in new.claims {
        // The conflict target is the partial index itself: only a live claim stands in the way, or another plan.
        let claimed = diesel::sql_query(if new.starts.is_some() {
            "insert into task_instances (task_id, instance_id, role, live, planned) values ($1, $2, $3, false, true) \
             on conflict (instance_id) where planned do nothing"
        } else {
            "insert into task_instances (task_id, instance_id, role) values ($1, $2, $3) \
             on conflict (instance_id) where live do nothing"
        })
        .bind::<SqlUuid, _>(new.id.0)
        .bind::<SqlUuid, _>(instance.0)
        .bind::<Text, _>(claim.as_str())
        .execute(conn)
        .map_err(Error::query(doing))?;
        if claimed == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The two moments of a set time.
const fn moments(timing: Timing) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    match timing {
        Timing::Now | Timing::Window => (None, None),
        Timing::At { not_before, not_after } => (Some(not_before), Some(not_after)),
    }
}

/// Has nobody take the task up before that moment.
fn wait_until(conn: &mut Conn, task: TaskId, at: DateTime<Utc>) -> Result<(), Error> {
    diesel::update(tasks::table.find(task.0))
        .set(tasks::not_before.eq(at))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("have a task wait"))
}

/// The live task that has claimed the instance, locked until the transaction ends.
///
/// # Errors
/// The store's.
pub fn lock_live(conn: &mut Conn, instance: InstanceId) -> Result<Option<Task>, Error> {
    let query = diesel::sql_query(format!(
        "select {COLUMNS} from tasks t join task_instances c on c.task_id = t.id and c.live \
         where c.instance_id = $1 for update of t"
    ))
    .bind::<SqlUuid, _>(instance.0);
    one(conn, "lock the instance's task", query)
}

/// Whether a live task has claimed the instance, at this moment.
///
/// # Errors
/// The store's.
pub fn is_claimed(conn: &mut Conn, instance: InstanceId) -> Result<bool, Error> {
    let claims: i64 = task_instances::table
        .filter(task_instances::instance_id.eq(instance.0))
        .filter(task_instances::live)
        .count()
        .get_result(conn)
        .map_err(Error::query("look whether a task has the instance"))?;
    Ok(claims > 0)
}

/// The task.
///
/// # Errors
/// The store's.
pub fn find(conn: &mut Conn, id: TaskId) -> Result<Option<Task>, Error> {
    let query =
        diesel::sql_query(format!("select {COLUMNS} from tasks t where t.id = $1")).bind::<SqlUuid, _>(id.0);
    one(conn, "read a task", query)
}

/// The task, locked until the transaction ends.
///
/// # Errors
/// The store's.
pub fn lock(conn: &mut Conn, id: TaskId) -> Result<Option<Task>, Error> {
    let query = diesel::sql_query(format!("select {COLUMNS} from tasks t where t.id = $1 for update"))
        .bind::<SqlUuid, _>(id.0);
    one(conn, "lock a task", query)
}

/// Every task that waits for an operator, the one that moved last first; 1,000 at most.
///
/// # Errors
/// The store's.
pub fn stuck(conn: &mut Conn) -> Result<Vec<Task>, Error> {
    diesel::sql_query(format!(
        "select {COLUMNS} from tasks t where t.state = 'needs_operator' order by t.updated_at desc limit 1000"
    ))
    .load::<Row>(conn)
    .map_err(Error::query("list the stuck tasks"))?
    .into_iter()
    .map(into_domain)
    .collect()
}

/// The step that the task tried last.
///
/// # Errors
/// The store's.
pub fn last_step(conn: &mut Conn, id: TaskId) -> Result<Option<(Phase, Step)>, Error> {
    let found: Option<(String, String)> = task_steps::table
        .filter(task_steps::task_id.eq(id.0))
        .order(task_steps::id.desc())
        .select((task_steps::phase, task_steps::step))
        .first(conn)
        .optional()
        .map_err(Error::query("read a task's last step"))?;
    found.map(|(phase, step)| Ok((phase.parse()?, step.parse()?))).transpose()
}

/// The project's tasks (every project's for `None`), or those of one instance, or in one state, newest first; 1,000 at
/// most.
///
/// # Errors
/// The store's.
pub fn list(
    conn: &mut Conn,
    project: Option<&ProjectId>,
    instance: Option<InstanceId>,
    state: Option<TaskState>,
) -> Result<Vec<Task>, Error> {
    diesel::sql_query(format!(
        "select {COLUMNS} from tasks t where ($1 is null or t.project_id = $1) and ($3 is null or t.state = $3) \
         and ($2 is null or exists (select 1 from task_instances c where c.task_id = t.id and c.instance_id = $2)) \
         order by t.created_at desc, t.id desc limit 1000"
    ))
    .bind::<Nullable<Text>, _>(project.map(|p| p.as_str().to_owned()))
    .bind::<Nullable<SqlUuid>, _>(instance.map(|id| id.0))
    .bind::<Nullable<Text>, _>(state.map(TaskState::as_str))
    .load::<Row>(conn)
    .map_err(Error::query("list tasks"))?
    .into_iter()
    .map(into_domain)
    .collect()
}

/// The project's upgrades of the same instance and of groups (every project's for `None`), or those of one instance,
/// newest first; 1,000 at most.
///
/// # Errors
/// The store's.
pub fn upgrades(
    conn: &mut Conn,
    project: Option<&ProjectId>,
    instance: Option<InstanceId>,
) -> Result<Vec<Task>, Error> {
    diesel::sql_query(format!(
        "select {COLUMNS} from tasks t where ($1 is null or t.project_id = $1) and (t.kind like 'upgrade\\_%' or t.kind = 'switch_back') \
         and ($2 is null or exists (select 1 from task_instances c where c.task_id = t.id and c.instance_id = $2)) \
         order by t.created_at desc, t.id desc limit 1000"
    ))
    .bind::<Nullable<Text>, _>(project.map(|p| p.as_str().to_owned()))
    .bind::<Nullable<SqlUuid>, _>(instance.map(|id| id.0))
    .load::<Row>(conn)
    .map_err(Error::query("list upgrades"))?
    .into_iter()
    .map(into_domain)
    .collect()
}

/// The live tasks that have claimed one of these instances.
///
/// # Errors
/// The store's.
pub fn live_of(conn: &mut Conn, instances: &[InstanceId]) -> Result<Vec<Task>, Error> {
    let ids: Vec<Uuid> = instances.iter().map(|id| id.0).collect();
    diesel::sql_query(format!(
        "select {COLUMNS} from tasks t where exists (select 1 from task_instances c where c.task_id = t.id and c.live \
         and c.instance_id = any ($1))"
    ))
    .bind::<Array<SqlUuid>, _>(ids)
    .load::<Row>(conn)
    .map_err(Error::query("read the tasks of instances"))?
    .into_iter()
    .map(into_domain)
    .collect()
}

/// Claims the next task of `host` that is due and has no live lease, for `lease`. A lease in the name of `owner` on a
/// task that is not among those `held` is nobody's: its claim was committed, and the answer was lost with the store.
///
/// # Errors
/// The store's.
pub fn claim_next(
    conn: &mut Conn,
    host: &HostId,
    owner: &str,
    held: &[TaskId],
    lease: Duration,
) -> Result<Option<Task>, Error> {
    let query = diesel::sql_query(format!(
        "update tasks t set lease_owner = $2, lease_until = now() + $3 * interval '1 millisecond', \
         lease_generation = lease_generation + 1 \
         where t.id = (select id from tasks where host_id = $1 and state in ('scheduled', 'running') \
         and not_before <= now() and id <> all($4) \
         and (lease_until is null or lease_until < now() or lease_owner = $2) \
         order by not_before, id limit 1 for update skip locked) returning {COLUMNS}"
    ))
    .bind::<Text, _>(host.0.clone())
    .bind::<Text, _>(owner.to_owned())
    .bind::<BigInt, _>(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
    .bind::<Array<SqlUuid>, _>(held.iter().map(|id| id.0).collect::<Vec<_>>());
    one(conn, "claim a task", query)
}

/// Renews a lease; says whether the task's customer wants it to end.
///
/// # Errors
/// [`Error::LeaseLost`] when it is another's now, or ran out and was not taken yet: then it is nobody's.
pub fn renew(conn: &mut Conn, task: TaskId, lease: i64, by: Duration) -> Result<bool, Error> {
    #[derive(QueryableByName)]
    struct Renewed {
        #[diesel(sql_type = Bool)]
        cancel_asked: bool,
    }
    let renewed: Option<Renewed> = diesel::sql_query(
        "update tasks set lease_until = now() + $3 * interval '1 millisecond' \
         where id = $1 and ((lease_generation = $2 and lease_until >= now()) or $4) returning cancel_asked",
    )
    .bind::<SqlUuid, _>(task.0)
    .bind::<BigInt, _>(lease)
    .bind::<BigInt, _>(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
    .bind::<Bool, _>(planted(Defect::LeaseIgnored))
    .get_result(conn)
    .optional()
    .map_err(Error::query("renew a lease"))?;
    renewed.map(|renewed| renewed.cancel_asked).ok_or(Error::LeaseLost)
}

/// Records that the task's customer wants it to end before its one-way point. The caller has locked the task.
///
/// # Errors
/// The store's.
pub fn ask_to_cancel(conn: &mut Conn, task: TaskId) -> Result<(), Error> {
    // A step that waits to be tried again is not waited for.
    diesel::sql_query(
        "update tasks set cancel_asked = true, not_before = least(not_before, now()) where id = $1",
    )
    .bind::<SqlUuid, _>(task.0)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("ask a task to end"))
}

/// Writes what a step decided into the task's plan, and with it the task's kind. The caller has locked the task.
///
/// # Errors
/// The store's.
pub fn replan(conn: &mut Conn, task: &Task) -> Result<(), Error> {
    let plan = serde_json::to_value(&task.plan).map_err(|e| Error::Broken(e.to_string()))?;
    diesel::update(tasks::table.find(task.id.0))
        .set((tasks::plan.eq(plan), tasks::kind.eq(task.kind().as_str())))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("write a plan"))
}

/// Adds `facts`, an object, to what the task reports. The caller has locked the task.
///
/// # Errors
/// The store's.
pub fn report(conn: &mut Conn, task: TaskId, facts: &serde_json::Value) -> Result<(), Error> {
    diesel::sql_query("update tasks set report = report || $2 where id = $1")
        .bind::<SqlUuid, _>(task.0)
        .bind::<Jsonb, _>(facts)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("report of a task"))
}

/// Writes what the task reports anew. The caller has locked the task.
///
/// # Errors
/// The store's.
pub fn set_report(conn: &mut Conn, task: TaskId, facts: &serde_json::Value) -> Result<(), Error> {
    diesel::update(tasks::table.find(task.0))
        .set(tasks::report.eq(facts))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("write a report"))
}

/// Ends the leases of `owner`, a worker of `host` that is known to be gone: the caller has its name now.
///
/// # Errors
/// The store's.
pub fn release_leases(conn: &mut Conn, host: &HostId, owner: &str) -> Result<usize, Error> {
    diesel::sql_query(
        "update tasks set lease_until = null, lease_owner = null, lease_generation = lease_generation + 1, \
         not_before = least(not_before, now()) \
         where host_id = $1 and lease_owner = $2 and lease_until >= now() and state in ('scheduled', 'running')",
    )
    .bind::<Text, _>(&host.0)
    .bind::<Text, _>(owner)
    .execute(conn)
    .map_err(Error::query("release the leases of gone workers"))
}

/// Locks the task's row for a write under `lease`, and renews it by `by`: a row of short steps is no time without
/// renewal. Says whether the task's customer wants it to end.
///
/// # Errors
/// [`Error::LeaseLost`].
pub fn guard(conn: &mut Conn, task: TaskId, lease: i64, by: Duration) -> Result<bool, Error> {
    renew(conn, task, lease, by)
}

/// Like [`guard`], for a task that must still stand where `task` says. A worker that did not hear of its own commit
/// learns so that the task went on.
///
/// # Errors
/// [`Error::LeaseLost`].
pub fn guard_place(conn: &mut Conn, task: &Task, by: Duration) -> Result<(), Error> {
    guard(conn, task.id, task.lease, by)?;
    let now = find(conn, task.id)?.map(|now| (now.progress, now.attempts));
    if now == Some((task.progress, task.attempts)) { Ok(()) } else { Err(Error::LeaseLost) }
}

/// Moves a task. The caller has locked its row: by [`guard`], or by [`lock_live`] for a customer's decision.
///
/// # Errors
/// The store's.
pub fn advance(conn: &mut Conn, task: &Task, to: Progress, wait: Duration) -> Result<(), Error> {
    let (phase, step) = match to {
        Progress::At(phase, step) => (Some(phase.as_str()), Some(step.as_str())),
        // Where it is stuck is kept for the operator in task_steps.
        Progress::Deferred
        | Progress::Scheduled
        | Progress::Verifying
        | Progress::NeedsOperator
        | Progress::Ended(_) => (None, None),
    };
    let same_step = task.progress == to;
    let state = to.state();
    diesel::sql_query(
        "update tasks set state = $2, phase = $3, step = $4, attempts = $5, redos = $6, reason = $7, \
         operator_reason = $8, secrets = $9, not_before = now() + $10 * interval '1 millisecond', \
         lease_owner = case when $11 then lease_owner end, lease_until = case when $11 then lease_until end, \
         updated_at = now(), ended_at = case when $12 then now() end, deferred = $13 where id = $1",
    )
    .bind::<SqlUuid, _>(task.id.0)
    .bind::<Text, _>(state.as_str())
    .bind::<Nullable<Text>, _>(phase)
    .bind::<Nullable<Text>, _>(step)
    .bind::<Integer, _>(if same_step { task.attempts } else { 0 })
    .bind::<Integer, _>(task.redos)
    .bind::<Nullable<Text>, _>(task.reason.as_deref())
    .bind::<Nullable<Text>, _>(task.operator_reason.as_deref())
    .bind::<Nullable<Text>, _>(if state.is_final() { None } else { task.secrets.as_deref() })
    .bind::<BigInt, _>(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    // A lease goes on from step to step; it ends with a wait, a decision or an end.
    .bind::<Bool, _>(state == TaskState::Running && wait.is_zero())
    .bind::<Bool, _>(state.is_final())
    .bind::<Bool, _>(to == Progress::Deferred)
    .execute(conn)
    .map_err(Error::query("move a task"))?;
    if state.is_final() {
        diesel::update(task_instances::table.filter(task_instances::task_id.eq(task.id.0)))
            .set((task_instances::live.eq(false), task_instances::planned.eq(false)))
            .execute(conn)
            .map_err(Error::query("end a task's claims"))?;
    }
    Ok(())
}

/// The task that is planned for the instance.
///
/// # Errors
/// The store's.
pub fn planned(conn: &mut Conn, instance: InstanceId) -> Result<Option<TaskId>, Error> {
    task_instances::table
        .filter(task_instances::instance_id.eq(instance.0))
        .filter(task_instances::planned)
        .select(task_instances::task_id)
        .first(conn)
        .optional()
        .map(|id| id.map(TaskId))
        .map_err(Error::query("look whether an upgrade is planned"))
}

/// Postpones a task that is for later: it was asked for `timing` and begins at `starts`. It is looked at again at
/// `again`, which is `starts` but for one that waits for its instance. The caller has locked the task.
///
/// # Errors
/// The store's.
pub fn postpone(
    conn: &mut Conn,
    task: &Task,
    timing: Timing,
    starts: DateTime<Utc>,
    again: DateTime<Utc>,
) -> Result<(), Error> {
    diesel::update(tasks::table.find(task.id.0))
        .set((
            tasks::asked_when.eq(timing.as_str()),
            tasks::asked_not_before.eq(moments(timing).0),
            tasks::asked_not_after.eq(moments(timing).1),
            tasks::starts_at.eq(starts),
        ))
        .execute(conn)
        .map_err(Error::query("postpone a task"))?;
    advance(conn, task, Progress::Deferred, Duration::ZERO)?;
    wait_until(conn, task.id, again)
}

/// Has a task that was planned claim its instances: nobody else's live claim is on them.
///
/// # Errors
/// The store's.
pub fn claim(conn: &mut Conn, task: TaskId) -> Result<(), Error> {
    diesel::update(task_instances::table.filter(task_instances::task_id.eq(task.0)))
        .set((task_instances::live.eq(true), task_instances::planned.eq(false)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("have a planned task claim its instance"))
}

/// The tasks that wait for a window of this project, or of this one instance of it, with their instances. Of the whole
/// project those whose instance has a window of its own are left out.
///
/// # Errors
/// The store's.
pub fn wait_for_window(
    conn: &mut Conn,
    project: &ProjectId,
    instance: Option<InstanceId>,
) -> Result<Vec<TaskId>, Error> {
    #[derive(QueryableByName)]
    struct Waiting {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let found: Vec<Waiting> = diesel::sql_query(
        "select t.id from tasks t join task_instances c on c.task_id = t.id and c.planned \
         join instances i on i.id = c.instance_id \
         where t.deferred and t.asked_when = 'window' and i.project_id = $1 \
         and (c.instance_id = $2 or $2 is null \
         and not exists (select from windows w where w.instance_id = c.instance_id)) order by t.id for update of t",
    )
    .bind::<Text, _>(project.as_str())
    .bind::<Nullable<SqlUuid>, _>(instance.map(|id| id.0))
    .load(conn)
    .map_err(Error::query("read the tasks that wait for a window"))?;
    Ok(found.into_iter().map(|row| TaskId(row.id)).collect())
}
