//! The steps of tasks: a record of each try, and what the records tell.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Float, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};

use crate::db::schema::{task_steps, tasks};
use crate::db::{Conn, Error};
use crate::domain::estimate::{self, Mark};
use crate::domain::ids::TaskId;
use crate::domain::task::{Phase, Step, StepRecord, Task};
use crate::testing::{Defect, planted};

/// Records that a step begins; gives the record's id. A record that was left open by a killed worker is closed.
///
/// # Errors
/// The store's.
pub fn begin(conn: &mut Conn, task: &Task, phase: Phase, step: Step) -> Result<i64, Error> {
    let doing = "begin a step";
    diesel::sql_query(
        "update task_steps set outcome = 'retry', detail = 'its worker went away', ended_at = now() \
         where task_id = $1 and outcome is null",
    )
    .bind::<SqlUuid, _>(task.id.0)
    .execute(conn)
    .map_err(Error::query(doing))?;
    diesel::update(tasks::table.find(task.id.0))
        .set(tasks::attempts.eq(task.attempts + 1))
        .execute(conn)
        .map_err(Error::query(doing))?;
    diesel::insert_into(task_steps::table)
        .values((
            task_steps::task_id.eq(task.id.0),
            task_steps::phase.eq(phase.as_str()),
            task_steps::step.eq(step.as_str()),
            task_steps::attempt.eq(task.attempts + 1),
        ))
        .returning(task_steps::id)
        .get_result(conn)
        .map_err(Error::query(doing))
}

/// By what a step's deadline is made: the bytes of data when the task was accepted, and for how long tenants wait in the
/// hold that the task is in, zero where it is in none.
///
/// # Errors
/// The store's.
pub fn limits(conn: &mut Conn, task: TaskId) -> Result<(i64, Duration), Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        bytes: i64,
        #[diesel(sql_type = BigInt)]
        held_ms: i64,
    }
    // A task of several hops has a hold in each. The hold that counts is the one after the last moment of quiet; tries of the
    // step `hold` are one hold, so that its first try counts.
    let row: Row = diesel::sql_query(
        "select coalesce(t.bytes, 0)::bigint as bytes, \
         coalesce(extract(epoch from clock_timestamp() - (select min(h.started_at) from task_steps h \
         where h.task_id = t.id and h.phase = 'forward' and h.step = 'hold' and h.id > coalesce((select max(q.id) \
         from task_steps q where q.task_id = t.id and q.step = 'quiet' and q.outcome = 'done'), 0))) * 1000, 0)::bigint \
         as held_ms from tasks t where t.id = $1",
    )
    .bind::<SqlUuid, _>(task.0)
    .get_result(conn)
    .map_err(Error::query("look for the limits of a step"))?;
    Ok((row.bytes, Duration::from_millis(u64::try_from(row.held_ms).unwrap_or_default())))
}

/// For how long the step has been tried, its first try being the one before `attempts - 1` others.
///
/// # Errors
/// The store's.
pub fn tried_for(conn: &mut Conn, task: TaskId, step: Step, attempts: i32) -> Result<Duration, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        ms: i64,
    }
    let row: Row = diesel::sql_query(
        "select coalesce(extract(epoch from clock_timestamp() - min(started_at)) * 1000, 0)::bigint as ms from \
         (select started_at from task_steps where task_id = $1 and step = $2 order by id desc limit $3) as tries",
    )
    .bind::<SqlUuid, _>(task.0)
    .bind::<Text, _>(step.as_str())
    .bind::<BigInt, _>(i64::from(attempts.max(1)))
    .get_result(conn)
    .map_err(Error::query("look for how long a step has been tried"))?;
    Ok(Duration::from_millis(u64::try_from(row.ms).unwrap_or_default()))
}

/// Why the last try of the step that was recorded is made again, where one is.
///
/// # Errors
/// The store's.
pub fn last_refusal(
    conn: &mut Conn,
    task: TaskId,
    phase: Phase,
    step: Step,
) -> Result<Option<String>, Error> {
    let found: Option<Option<String>> = task_steps::table
        .filter(task_steps::task_id.eq(task.0))
        .filter(task_steps::phase.eq(phase.as_str()))
        .filter(task_steps::step.eq(step.as_str()))
        .filter(task_steps::outcome.is_not_null())
        .order(task_steps::id.desc())
        .select(task_steps::detail)
        .first(conn)
        .optional()
        .map_err(Error::query("look why a step is tried again"))?;
    Ok(found.flatten())
}

/// Records how a step ended; `false` when that is recorded already.
///
/// # Errors
/// The store's.
pub fn end(conn: &mut Conn, record: i64, outcome: &str, detail: Option<&str>) -> Result<bool, Error> {
    let open = task_steps::outcome.is_null().or(planted(Defect::LeaseIgnored).into_sql::<Bool>());
    diesel::update(task_steps::table.find(record).filter(open))
        .set((
            task_steps::outcome.eq(outcome),
            task_steps::detail.eq(detail),
            task_steps::ended_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .map(|ended| ended > 0)
        .map_err(Error::query("end a step"))
}

/// Records what a running step says of itself, and the share of it that this tells: the greatest one stays.
///
/// # Errors
/// The store's.
pub fn record_progress(conn: &mut Conn, record: i64, progress: &str) -> Result<(), Error> {
    diesel::sql_query(
        "update task_steps set progress = $2, share = greatest(share, $3) where id = $1 and outcome is null",
    )
    .bind::<BigInt, _>(record)
    .bind::<Text, _>(progress)
    .bind::<Float, _>(estimate::share(progress).unwrap_or(0.0))
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("tell of a step"))
}

/// By what it is told how far a task is: the size of its data when it was accepted, and its steps' records.
///
/// # Errors
/// The store's.
pub fn marks(conn: &mut Conn, task: TaskId) -> Result<(i64, Vec<Mark>), Error> {
    let doing = "read how far a task is";
    type MarkRow = (String, String, DateTime<Utc>, Option<String>, f32);
    let bytes: Option<Option<i64>> =
        tasks::table.find(task.0).select(tasks::bytes).first(conn).optional().map_err(Error::query(doing))?;
    let rows: Vec<MarkRow> = task_steps::table
        .filter(task_steps::task_id.eq(task.0))
        .order(task_steps::id)
        .select((
            task_steps::phase,
            task_steps::step,
            task_steps::started_at,
            task_steps::outcome,
            task_steps::share,
        ))
        .load(conn)
        .map_err(Error::query(doing))?;
    let marks: Result<_, Error> = rows
        .into_iter()
        .map(|(phase, step, started_at, outcome, share)| {
            let is_done = outcome.as_deref() == Some("done");
            Ok(Mark { phase: phase.parse()?, step: step.parse()?, started_at, is_done, share })
        })
        .collect();
    Ok((bytes.flatten().unwrap_or(0), marks?))
}

/// What changes whenever something is to be seen of a task: cheap to ask, and equal while nothing is.
///
/// # Errors
/// The store's.
pub fn sign(conn: &mut Conn, task: TaskId) -> Result<Option<String>, Error> {
    #[derive(QueryableByName)]
    struct Sign {
        #[diesel(sql_type = Text)]
        sign: String,
    }
    let found: Option<Sign> = diesel::sql_query(
        "select concat_ws('/', t.state, t.step, t.updated_at, s.id, s.outcome, s.progress) as sign from tasks t \
         left join lateral (select id, outcome, progress from task_steps where task_id = t.id order by id desc limit 1) \
         s on true where t.id = $1",
    )
    .bind::<SqlUuid, _>(task.0)
    .get_result(conn)
    .optional()
    .map_err(Error::query("look whether a task has changed"))?;
    Ok(found.map(|found| found.sign))
}

/// The task's steps as they were tried, in order.
///
/// # Errors
/// The store's.
pub fn of(conn: &mut Conn, task: TaskId) -> Result<Vec<StepRecord>, Error> {
    #[derive(QueryableByName)]
    struct StepRow {
        #[diesel(sql_type = Text)]
        phase: String,
        #[diesel(sql_type = Text)]
        step: String,
        #[diesel(sql_type = Integer)]
        attempt: i32,
        #[diesel(sql_type = Nullable<Text>)]
        outcome: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        progress: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        detail: Option<String>,
        #[diesel(sql_type = Timestamptz)]
        started_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        ended_at: Option<DateTime<Utc>>,
    }
    Ok(diesel::sql_query(
        "select phase, step, attempt, outcome, progress, detail, started_at, ended_at from task_steps \
         where task_id = $1 order by id",
    )
    .bind::<SqlUuid, _>(task.0)
    .load::<StepRow>(conn)
    .map_err(Error::query("read a task's steps"))?
    .into_iter()
    .map(|row| StepRecord {
        phase: row.phase,
        step: row.step,
        attempt: row.attempt,
        outcome: row.outcome,
        progress: row.progress,
        detail: row.detail,
        started_at: row.started_at,
        ended_at: row.ended_at,
    })
    .collect())
}
