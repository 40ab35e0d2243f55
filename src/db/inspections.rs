//! Inspections: rows that say what an upgrade would have met. One that runs names the question that was asked for it, and
//! when it is too late for an answer.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::ids::{InstanceId, ProjectId, QuestionId, TaskId, VersionId};
use crate::domain::inspection::{self, Inspection, InspectionState};
use crate::domain::upgrade::Strategy;

/// What is read of one.
const COLUMNS: &str = "id, number, instance_id, from_version_id, target, strategy, checked_at, expires_at, \
                       question_id is not null as runs, passed, detail, task_id, statistics";

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = SqlUuid)]
    instance_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    from_version_id: Uuid,
    #[diesel(sql_type = Text)]
    target: String,
    #[diesel(sql_type = Nullable<Text>)]
    strategy: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    checked_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    expires_at: DateTime<Utc>,
    #[diesel(sql_type = Bool)]
    runs: bool,
    #[diesel(sql_type = Bool)]
    passed: bool,
    #[diesel(sql_type = Text)]
    detail: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    task_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    statistics: Option<String>,
}

impl TryFrom<Row> for Inspection {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            number: row.number,
            instance: InstanceId(row.instance_id),
            from: VersionId(row.from_version_id),
            target: row.target,
            strategy: row.strategy.map(|word| word.parse::<Strategy>()).transpose()?,
            checked_at: row.checked_at,
            expires_at: row.expires_at,
            state: match (row.runs, row.passed) {
                (true, _) => InspectionState::Running,
                (false, true) => InspectionState::Passed,
                (false, false) => InspectionState::Failed,
            },
            detail: row.detail,
            task: row.task_id.map(TaskId),
            statistics: row.statistics,
        })
    }
}

/// Keeps one that runs until `question` is answered, and gives its number; of an instance the last hundred are kept.
///
/// # Errors
/// The store's.
pub fn insert(conn: &mut Conn, new: &Inspection, question: QuestionId) -> Result<i64, Error> {
    let kept: Number = diesel::sql_query(
        "insert into inspections (id, instance_id, from_version_id, target, strategy, checked_at, expires_at, passed, \
         detail, question_id, answer_by) \
         values ($1, $2, $3, $4, $5, $6, $7, false, $8, $9, now() + $10 * interval '1 second') returning number",
    )
    .bind::<SqlUuid, _>(new.id)
    .bind::<SqlUuid, _>(new.instance.0)
    .bind::<SqlUuid, _>(new.from.0)
    .bind::<Text, _>(&new.target)
    .bind::<Nullable<Text>, _>(new.strategy.map(Strategy::as_str))
    .bind::<Timestamptz, _>(new.checked_at)
    .bind::<Timestamptz, _>(new.expires_at)
    .bind::<Text, _>(&new.detail)
    .bind::<SqlUuid, _>(question.0)
    .bind::<Double, _>(inspection::PATIENCE.as_secs_f64())
    .get_result(conn)
    .map_err(Error::query("keep an inspection"))?;
    diesel::sql_query(
        "delete from inspections where instance_id = $1 and task_id is null and question_id is null \
         and id not in (select id from inspections where instance_id = $1 order by checked_at desc limit 100)",
    )
    .bind::<SqlUuid, _>(new.instance.0)
    .execute(conn)
    .map_err(Error::query("sweep inspections"))?;
    Ok(kept.number)
}

/// Has the inspection that waits for `question` end; `false` where none waits, or not any more.
///
/// # Errors
/// The store's.
pub fn end(conn: &mut Conn, question: QuestionId, passed: bool, detail: &str) -> Result<bool, Error> {
    diesel::sql_query(
        "update inspections set passed = $2, detail = $3, question_id = null, answer_by = null \
         where question_id = $1 and answer_by > now()",
    )
    .bind::<SqlUuid, _>(question.0)
    .bind::<Bool, _>(passed)
    .bind::<Text, _>(detail)
    .execute(conn)
    .map(|ended| ended > 0)
    .map_err(Error::query("end an inspection"))
}

/// Has those of an instance end that were not answered in time. Whoever reads them does this first: from then on a late
/// answer changes nothing.
///
/// # Errors
/// The store's.
pub fn end_overdue(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::sql_query(
        "update inspections set passed = false, detail = $2, question_id = null, answer_by = null \
         where instance_id = $1 and answer_by <= now()",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(inspection::no_answer())
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("end inspections that nobody answered"))
}

/// The one that runs of an instance for a target and a strategy.
///
/// # Errors
/// The store's.
pub fn running(
    conn: &mut Conn,
    instance: InstanceId,
    target: &str,
    strategy: Option<Strategy>,
) -> Result<Option<Inspection>, Error> {
    diesel::sql_query(format!(
        "select {COLUMNS} from inspections where instance_id = $1 and target = $2 \
         and strategy is not distinct from $3 and question_id is not null"
    ))
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(target)
    .bind::<Nullable<Text>, _>(strategy.map(Strategy::as_str))
    .get_result::<Row>(conn)
    .optional()
    .map_err(Error::query("look for an inspection that runs"))?
    .map(Inspection::try_from)
    .transpose()
}

/// How many of a project's run. Until the transaction ends nobody else of the project counts.
///
/// # Errors
/// The store's.
pub fn count_running(conn: &mut Conn, project: &ProjectId) -> Result<i64, Error> {
    diesel::sql_query("select pg_advisory_xact_lock(hashtextextended('coffer inspections ' || $1, 0))")
        .bind::<Text, _>(project.as_str())
        .execute(conn)
        .map_err(Error::query("take the turn of a project's inspections"))?;
    diesel::sql_query(
        "select count(*) as number from inspections n join instances i on i.id = n.instance_id \
         where i.project_id = $1 and n.answer_by > now()",
    )
    .bind::<Text, _>(project.as_str())
    .get_result::<Number>(conn)
    .map(|found| found.number)
    .map_err(Error::query("count the inspections that run"))
}

/// Those of an instance, the newest in front.
///
/// # Errors
/// The store's.
pub fn of(conn: &mut Conn, instance: InstanceId) -> Result<Vec<Inspection>, Error> {
    diesel::sql_query(format!(
        "select {COLUMNS} from inspections where instance_id = $1 order by checked_at desc, id"
    ))
    .bind::<SqlUuid, _>(instance.0)
    .load::<Row>(conn)
    .map_err(Error::query("read inspections"))?
    .into_iter()
    .map(Inspection::try_from)
    .collect()
}

/// Records that an upgrade was begun on the strength of it.
///
/// # Errors
/// The store's.
pub fn used(conn: &mut Conn, id: Uuid, task: TaskId, statistics: Option<&str>) -> Result<(), Error> {
    diesel::sql_query("update inspections set task_id = $2, statistics = $3 where id = $1")
        .bind::<SqlUuid, _>(id)
        .bind::<SqlUuid, _>(task.0)
        .bind::<Nullable<Text>, _>(statistics)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record what an inspection was for"))
}
