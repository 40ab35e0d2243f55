//! Looks at servers that workers have taken, and what of them may be left on a host: a row from the moment in which a
//! worker takes one until nothing of it is left.
//!
//! # If we die here
//! Who looks renews its row. When it does not any more, another worker of the host takes the row, removes what the look
//! has put there, and the row with it; the question, where it is still open, is taken by whoever comes next.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Jsonb, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::questions::Question;
use crate::db::{Conn, Error};
use crate::domain::ids::{GenerationId, HostId, InstanceId, QuestionId};
use crate::domain::question::QuestionKind;

/// How long a look stays a worker's that does not renew it.
const TAKEN: Duration = Duration::from_secs(10);

/// A look that a worker has taken.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its question.
    pub question: QuestionId,
    /// The instance.
    pub instance: InstanceId,
    /// The server that is looked at.
    pub source: GenerationId,
    /// The server that the look may put beside it.
    pub candidate: GenerationId,
    /// The number of the version that it is for.
    pub version: String,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    question_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    instance_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    source_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    candidate_id: Uuid,
    #[diesel(sql_type = Text)]
    version: String,
}

#[derive(QueryableByName)]
struct Looks {
    #[diesel(sql_type = BigInt)]
    looks: i64,
}

impl From<Row> for Look {
    fn from(row: Row) -> Self {
        Self {
            question: QuestionId(row.question_id),
            instance: InstanceId(row.instance_id),
            source: GenerationId(row.source_id),
            candidate: GenerationId(row.candidate_id),
            version: row.version,
        }
    }
}

fn seconds() -> f64 {
    TAKEN.as_secs_f64()
}

/// Whether somebody asks for a look at an instance of `host`.
///
/// # Errors
/// The store's.
pub fn is_asked_for(conn: &mut Conn, host: &HostId) -> Result<bool, Error> {
    diesel::sql_query(
        "select count(*) as looks from questions where host_id = $1 and kind = $2 and answered_at is null \
         and expires_at > now()",
    )
    .bind::<Text, _>(&host.0)
    .bind::<Text, _>(QuestionKind::PreCheck.as_str())
    .get_result::<Looks>(conn)
    .map(|found| found.looks > 0)
    .map_err(Error::query("look whether a look is asked for"))
}

/// Takes the next look that `host` may make, with its question. An instance has one look at a time, and the host has
/// `inspections` looks for inspections at a time. Dry runs come first: their clients wait within a request.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn, host: &HostId, inspections: i64) -> Result<Option<(Look, Question)>, Error> {
    #[derive(QueryableByName)]
    struct Taken {
        #[diesel(embed)]
        look: Row,
        #[diesel(sql_type = Jsonb)]
        about: serde_json::Value,
        #[diesel(sql_type = Double)]
        left_seconds: f64,
    }
    // Who counts and adds does it alone.
    diesel::sql_query("select pg_advisory_xact_lock(hashtextextended('coffer looks ' || $1, 0))")
        .bind::<Text, _>(&host.0)
        .execute(conn)
        .map_err(Error::query("take the turn of a host's looks"))?;
    let taken = diesel::sql_query(
        "with next as (select q.id, q.host_id, q.instance_id, q.about, i.serving_generation_id, \
             extract(epoch from q.expires_at - now())::float8 as left_seconds \
             from questions q join instances i on i.id = q.instance_id \
             left join inspections kept on kept.question_id = q.id \
             where q.host_id = $1 and q.kind = $2 and q.answered_at is null and q.expires_at > now() \
             and i.serving_generation_id is not null \
             and not exists (select from looks l where l.instance_id = q.instance_id) \
             and (kept.id is null or $3 > (select count(*) from looks l \
                 join inspections of on of.question_id = l.question_id where l.host_id = $1)) \
             order by kept.id is not null, q.asked_at limit 1), \
         taken as (insert into looks (question_id, host_id, instance_id, source_id, version, taken_until) \
             select id, host_id, instance_id, serving_generation_id, coalesce(about ->> 'number', ''), \
             now() + $4 * interval '1 second' from next returning *) \
         select t.question_id, t.instance_id, t.source_id, t.candidate_id, t.version, n.about, n.left_seconds \
         from taken t join next n on n.id = t.question_id",
    )
    .bind::<Text, _>(&host.0)
    .bind::<Text, _>(QuestionKind::PreCheck.as_str())
    .bind::<BigInt, _>(inspections)
    .bind::<Double, _>(seconds())
    .get_result::<Taken>(conn)
    .optional()
    .map_err(Error::query("take a look"))?;
    Ok(taken.map(|taken| {
        let look = Look::from(taken.look);
        let question = Question {
            id: look.question,
            instance: look.instance,
            kind: QuestionKind::PreCheck,
            about: taken.about,
            left: Duration::from_secs_f64(taken.left_seconds.max(0.0)),
        };
        (look, question)
    }))
}

/// Takes a look of `host` from a worker that does not renew it any more.
///
/// # Errors
/// The store's.
pub fn take_lapsed(conn: &mut Conn, host: &HostId) -> Result<Option<Look>, Error> {
    diesel::sql_query(
        "update looks set taken_until = now() + $2 * interval '1 second' where question_id = \
         (select question_id from looks where host_id = $1 and taken_until <= now() limit 1 for update skip locked) \
         returning question_id, instance_id, source_id, candidate_id, version",
    )
    .bind::<Text, _>(&host.0)
    .bind::<Double, _>(seconds())
    .get_result::<Row>(conn)
    .optional()
    .map(|row| row.map(Look::from))
    .map_err(Error::query("take a look that nobody renews"))
}

/// Keeps those that a worker has, by the server that each may put beside the other: a look that was taken from it is another's.
///
/// # Errors
/// The store's.
pub fn renew(conn: &mut Conn, taken: &[GenerationId]) -> Result<(), Error> {
    let ids: Vec<Uuid> = taken.iter().map(|id| id.0).collect();
    diesel::sql_query(
        "update looks set taken_until = now() + $2 * interval '1 second' where candidate_id = any ($1)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Double, _>(seconds())
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("renew looks"))
}

/// Forgets one of which nothing is left.
///
/// # Errors
/// The store's.
pub fn end(conn: &mut Conn, look: &Look) -> Result<(), Error> {
    diesel::sql_query("delete from looks where question_id = $1 and candidate_id = $2")
        .bind::<SqlUuid, _>(look.question.0)
        .bind::<SqlUuid, _>(look.candidate.0)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("end a look"))
}

/// Whether a look was not taken from who has it, and cleared.
///
/// # Errors
/// The store's.
pub fn is_there(conn: &mut Conn, look: &Look) -> Result<bool, Error> {
    diesel::sql_query("select count(*) as looks from looks where question_id = $1 and candidate_id = $2")
        .bind::<SqlUuid, _>(look.question.0)
        .bind::<SqlUuid, _>(look.candidate.0)
        .get_result::<Looks>(conn)
        .map(|found| found.looks > 0)
        .map_err(Error::query("look whether a look is ours"))
}

/// Whether an instance is looked at, or something of a look may be left at it.
///
/// # Errors
/// The store's.
pub fn is_at(conn: &mut Conn, instance: InstanceId) -> Result<bool, Error> {
    diesel::sql_query("select count(*) as looks from looks where instance_id = $1")
        .bind::<SqlUuid, _>(instance.0)
        .get_result::<Looks>(conn)
        .map(|found| found.looks > 0)
        .map_err(Error::query("look whether an instance is looked at"))
}
