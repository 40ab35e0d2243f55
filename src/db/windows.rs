//! Maintenance windows: an instance's own, and its project's default.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};

use crate::db::{Conn, Error};
use crate::domain::ids::{InstanceId, ProjectId};
use crate::domain::window::{Days, Source, Window};

#[derive(QueryableByName)]
struct Row {
    #[diesel(embed)]
    window: WindowRow,
    #[diesel(sql_type = Bool)]
    is_own: bool,
}

/// The columns of a window.
#[derive(QueryableByName)]
pub(super) struct WindowRow {
    #[diesel(sql_type = SmallInt)]
    pub(super) days: i16,
    #[diesel(sql_type = SmallInt, column_name = start_minute)]
    pub(super) start: i16,
    #[diesel(sql_type = SmallInt)]
    pub(super) minutes: i16,
    #[diesel(sql_type = Text)]
    pub(super) zone: String,
}

pub(super) fn into_domain(row: &WindowRow) -> Result<Window, Error> {
    let broken = || Error::Broken(format!("a window: {} {} {}", row.days, row.start, row.minutes));
    let days = u8::try_from(row.days).ok().and_then(Days::of_bits).ok_or_else(broken)?;
    let start = u16::try_from(row.start).map_err(|_| broken())?;
    let minutes = u16::try_from(row.minutes).map_err(|_| broken())?;
    let zone = row.zone.parse().map_err(|_| Error::Broken(format!("the zone {:?} of a window", row.zone)))?;
    Window::new(days, start, minutes, zone).map_err(|_| broken())
}

/// The window of an instance of the project, or of the project (for `None`), and where it comes from.
///
/// # Errors
/// The store's.
pub fn of(
    conn: &mut Conn,
    project: &ProjectId,
    instance: Option<InstanceId>,
) -> Result<(Window, Source), Error> {
    let found: Option<Row> = diesel::sql_query(
        "select days, start_minute, minutes, zone, instance_id is not null as is_own from windows \
         where instance_id = $2 or project_id = $1 and instance_id is null order by instance_id is null limit 1",
    )
    .bind::<Text, _>(project.as_str())
    .bind::<Nullable<SqlUuid>, _>(instance.map(|id| id.0))
    .get_result(conn)
    .optional()
    .map_err(Error::query("read a window"))?;
    match found {
        Some(row) => {
            Ok((into_domain(&row.window)?, if row.is_own { Source::Instance } else { Source::Project }))
        }
        None => Ok((Window::usual(), Source::Usual)),
    }
}

/// Gives an instance of the project, or the project (for `None`), a window.
///
/// # Errors
/// The store's.
pub fn set(
    conn: &mut Conn,
    project: &ProjectId,
    instance: Option<InstanceId>,
    window: &Window,
) -> Result<(), Error> {
    let conflict = match instance {
        Some(_) => "(instance_id) where instance_id is not null",
        None => "(project_id) where instance_id is null",
    };
    let small = |number: u16| i16::try_from(number).unwrap_or(i16::MAX);
    diesel::sql_query(format!(
        "insert into windows (project_id, instance_id, days, start_minute, minutes, zone) \
         values ($1, $2, $3, $4, $5, $6) on conflict {conflict} do update set days = excluded.days, \
         start_minute = excluded.start_minute, minutes = excluded.minutes, zone = excluded.zone, updated_at = now()"
    ))
    .bind::<Text, _>(project.as_str())
    .bind::<Nullable<SqlUuid>, _>(instance.map(|id| id.0))
    .bind::<SmallInt, _>(i16::from(window.days().bits()))
    .bind::<SmallInt, _>(small(window.start()))
    .bind::<SmallInt, _>(small(window.minutes()))
    .bind::<Text, _>(window.zone().name())
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("set a window"))
}

/// Takes an instance's own window away, if it has one.
///
/// # Errors
/// The store's.
pub fn drop_own(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::sql_query("delete from windows where instance_id = $1")
        .bind::<SqlUuid, _>(instance.0)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("drop an instance's window"))
}

/// Takes a project's default away, if it has one.
///
/// # Errors
/// The store's.
pub fn drop_default(conn: &mut Conn, project: &ProjectId) -> Result<(), Error> {
    diesel::sql_query("delete from windows where project_id = $1 and instance_id is null")
        .bind::<Text, _>(project.as_str())
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("drop a project's window"))
}

/// The store's clock, by which windows are told.
///
/// # Errors
/// The store's.
pub fn now(conn: &mut Conn) -> Result<DateTime<Utc>, Error> {
    #[derive(QueryableByName)]
    struct Now {
        #[diesel(sql_type = Timestamptz)]
        now: DateTime<Utc>,
    }
    diesel::sql_query("select clock_timestamp() as now")
        .get_result(conn)
        .map(|row: Now| row.now)
        .map_err(Error::query("ask the store's clock"))
}
