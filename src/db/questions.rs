//! Questions to an engine: rows that a worker of the instance's host answers.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Jsonb, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::{Conn, Error};
use crate::domain::ids::{HostId, InstanceId, QuestionId};
use crate::domain::question::QuestionKind;

/// An open question.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its id.
    pub id: QuestionId,
    /// The instance that is asked about.
    pub instance: InstanceId,
    /// What is asked.
    pub kind: QuestionKind,
    /// What it is about besides the instance; null for most.
    pub about: serde_json::Value,
    /// How long an answer is waited for still.
    pub left: Duration,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nobody answered yet.
    Open,
    /// The engine's answer.
    Given(serde_json::Value),
    /// The engine could not be asked.
    Trouble(String),
}

/// Asks. Old questions are swept away.
///
/// # Errors
/// The store's.
pub fn ask(
    conn: &mut Conn,
    host: &HostId,
    instance: InstanceId,
    kind: QuestionKind,
    about: &serde_json::Value,
    within: Duration,
) -> Result<QuestionId, Error> {
    let id = QuestionId(Uuid::now_v7());
    diesel::sql_query("delete from questions where expires_at < now() - interval '1 minute'")
        .execute(conn)
        .map_err(Error::query("sweep the questions"))?;
    diesel::sql_query(
        "insert into questions (id, host_id, instance_id, kind, expires_at, about) \
         values ($1, $2, $3, $4, now() + $5 * interval '1 millisecond', $6)",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Text, _>(&host.0)
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(kind.as_str())
    .bind::<BigInt, _>(i64::try_from(within.as_millis()).unwrap_or(i64::MAX))
    .bind::<Jsonb, _>(about)
    .execute(conn)
    .map_err(Error::query("ask a question"))?;
    Ok(id)
}

#[derive(QueryableByName)]
struct OpenRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    instance_id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Jsonb)]
    about: serde_json::Value,
    #[diesel(sql_type = Double)]
    left_seconds: f64,
}

/// The questions that wait for `host`, but those that ask for a look: these are taken by one worker each
/// ([`looks`](crate::db::looks)).
///
/// # Errors
/// The store's.
pub fn open(conn: &mut Conn, host: &HostId) -> Result<Vec<Question>, Error> {
    diesel::sql_query(
        "select id, instance_id, kind, about, extract(epoch from expires_at - now())::float8 as left_seconds \
         from questions where host_id = $1 and kind <> $2 and answered_at is null and expires_at > now() \
         order by asked_at limit 50",
    )
    .bind::<Text, _>(&host.0)
    .bind::<Text, _>(QuestionKind::PreCheck.as_str())
    .load::<OpenRow>(conn)
    .map_err(Error::query("read the open questions"))?
    .into_iter()
    .map(|row| {
        Ok(Question {
            id: QuestionId(row.id),
            instance: InstanceId(row.instance_id),
            kind: row.kind.parse()?,
            about: row.about,
            left: Duration::from_secs_f64(row.left_seconds.max(0.0)),
        })
    })
    .collect()
}

/// Answers.
///
/// # Errors
/// The store's.
pub fn answer(
    conn: &mut Conn,
    id: QuestionId,
    answer: &Result<serde_json::Value, String>,
) -> Result<(), Error> {
    let (value, trouble) = match answer {
        Ok(value) => (Some(value), None),
        Err(trouble) => (None, Some(trouble)),
    };
    diesel::sql_query(
        "update questions set answer = $2, trouble = $3, answered_at = now() where id = $1 and answered_at is null",
    )
    .bind::<SqlUuid, _>(id.0)
    .bind::<Nullable<Jsonb>, _>(value)
    .bind::<Nullable<Text>, _>(trouble)
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("answer a question"))
}

/// Takes the answer, and with it the question, away.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn, id: QuestionId) -> Result<Answer, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Jsonb>)]
        answer: Option<serde_json::Value>,
        #[diesel(sql_type = Nullable<Text>)]
        trouble: Option<String>,
    }
    let row = diesel::sql_query(
        "delete from questions where id = $1 and answered_at is not null returning answer, trouble",
    )
    .bind::<SqlUuid, _>(id.0)
    .get_result::<Row>(conn)
    .optional()
    .map_err(Error::query("take an answer"))?;
    Ok(match row {
        None => Answer::Open,
        Some(Row { answer: Some(value), .. }) => Answer::Given(value),
        Some(Row { answer: None, trouble }) => Answer::Trouble(trouble.unwrap_or_default()),
    })
}
