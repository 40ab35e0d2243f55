//! How much there is of what operators watch, counted for the metrics.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Text};

use crate::db::{Conn, Error};

/// How much there is.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Tasks that have not ended: kind, state, how many; `planned` are those that are scheduled for later.
    pub tasks: Vec<(String, String, i64)>,
    /// Seconds that the oldest task that could run has waited.
    pub oldest_due: f64,
    /// Operations that are not over, and the seconds that the oldest of them has waited.
    pub operations: (i64, f64),
    /// Instances that are not deleted: state, how many.
    pub instances: Vec<(String, i64)>,
    /// Hosts a worker of which was heard of within 30 s, and the others.
    pub hosts: (i64, i64),
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct Ages {
    #[diesel(sql_type = Double)]
    oldest_due: f64,
    #[diesel(sql_type = BigInt)]
    operations: i64,
    #[diesel(sql_type = Double)]
    oldest_operation: f64,
    #[diesel(sql_type = BigInt)]
    heard: i64,
    #[diesel(sql_type = BigInt)]
    silent: i64,
}

/// Counts.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn) -> Result<Census, Error> {
    let doing = "count for the metrics";
    let mut count = |sql: &str| diesel::sql_query(sql).load::<Counted>(conn).map_err(Error::query(doing));
    let tasks = count(
        "select kind, case when deferred then 'planned' else state end as state, count(*) as n from tasks \
             where ended_at is null group by 1, 2",
    )?;
    let instances = count(
        "select '' as kind, state, count(*) as n from instances where deleted_at is null group by state",
    )?;
    let ages = diesel::sql_query(
        "select coalesce((select extract(epoch from now() - min(greatest(not_before, created_at))) from tasks \
         where state in ('scheduled', 'running') and not_before <= now() \
         and (lease_until is null or lease_until < now())), 0)::float8 as oldest_due, \
         (select count(*) from operations where outcome is null) as operations, \
         coalesce((select extract(epoch from now() - min(asked_at)) from operations where outcome is null), 0)::float8 \
         as oldest_operation, \
         (select count(*) from hosts where seen_at > now() - interval '30 seconds') as heard, \
         (select count(*) from hosts where seen_at <= now() - interval '30 seconds') as silent",
    )
    .get_result::<Ages>(conn)
    .map_err(Error::query(doing))?;
    Ok(Census {
        tasks: tasks.into_iter().map(|row| (row.kind, row.state, row.n)).collect(),
        oldest_due: ages.oldest_due,
        operations: (ages.operations, ages.oldest_operation),
        instances: instances.into_iter().map(|row| (row.state, row.n)).collect(),
        hosts: (ages.heard, ages.silent),
    })
}
