//! Policies of upgrades that nobody asks for.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::windows::{self, WindowRow};
use crate::db::{Conn, Error};
use crate::domain::build_upgrades::Policy;
use crate::domain::ids::{HostId, InstanceId, VersionId};
use crate::domain::window::Window;

/// The policy of an instance.
///
/// # Errors
/// The store's.
pub fn of(conn: &mut Conn, instance: InstanceId) -> Result<Policy, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        minor: String,
    }
    let found: Option<Row> = diesel::sql_query("select minor from upgrade_policies where instance_id = $1")
        .bind::<SqlUuid, _>(instance.0)
        .get_result(conn)
        .optional()
        .map_err(Error::query("read a policy"))?;
    Ok(found.map(|row| row.minor.parse()).transpose()?.unwrap_or_default())
}

/// Gives an instance a policy.
///
/// # Errors
/// The store's.
pub fn set(conn: &mut Conn, instance: InstanceId, policy: Policy) -> Result<(), Error> {
    diesel::sql_query(
        "insert into upgrade_policies (instance_id, minor) values ($1, $2) \
         on conflict (instance_id) do update set minor = excluded.minor, updated_at = now()",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Text, _>(policy.as_str())
    .execute(conn)
    .map(|_| ())
    .map_err(Error::query("set a policy"))
}

/// Takes the policy of an instance that is deleted away.
///
/// # Errors
/// The store's.
pub fn drop_own(conn: &mut Conn, instance: InstanceId) -> Result<(), Error> {
    diesel::sql_query("delete from upgrade_policies where instance_id = $1")
        .bind::<SqlUuid, _>(instance.0)
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("drop a policy"))
}

/// An instance that is upgraded in its window without being asked.
#[derive(Clone, Debug)]
pub struct Follower {
    /// The instance.
    pub instance: InstanceId,
    /// The version that it runs.
    pub version: VersionId,
    /// Its window.
    pub window: Window,
    /// The window in which something was asked for last.
    pub asked: Option<DateTime<Utc>>,
}

/// The instances of a host that are upgraded in their windows and can be now, as far as their rows say.
///
/// # Errors
/// The store's.
pub fn followers(conn: &mut Conn, host: &HostId) -> Result<Vec<Follower>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        version: Uuid,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        asked_window: Option<DateTime<Utc>>,
        #[diesel(sql_type = Nullable<SmallInt>)]
        days: Option<i16>,
        #[diesel(sql_type = Nullable<SmallInt>)]
        start_minute: Option<i16>,
        #[diesel(sql_type = Nullable<SmallInt>)]
        minutes: Option<i16>,
        #[diesel(sql_type = Nullable<Text>)]
        zone: Option<String>,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "select i.id, i.running_version_id as version, p.asked_window, w.days, w.start_minute, w.minutes, w.zone \
         from upgrade_policies p join instances i on i.id = p.instance_id left join lateral \
         (select * from windows w where w.instance_id = i.id or w.project_id = i.project_id and w.instance_id is null \
         order by w.instance_id is null limit 1) w on true where p.minor = 'window' and i.host_id = $1 \
         and i.deleted_at is null and i.state = 'active' and i.running_version_id is not null order by i.id",
    )
    .bind::<Text, _>(&host.0)
    .load(conn)
    .map_err(Error::query("read whom policies upgrade"))?;
    rows.into_iter()
        .map(|row| {
            let window = match (row.days, row.start_minute, row.minutes, row.zone) {
                (Some(days), Some(start), Some(minutes), Some(zone)) => {
                    windows::into_domain(&WindowRow { days, start, minutes, zone })?
                }
                _none => Window::usual(),
            };
            Ok(Follower {
                instance: InstanceId(row.id),
                version: VersionId(row.version),
                window,
                asked: row.asked_window,
            })
        })
        .collect()
}

/// Records that something was asked for in the window that began at `start`; `false` where that is recorded already,
/// or the policy is another one now.
///
/// # Errors
/// The store's.
pub fn ask_once(conn: &mut Conn, instance: InstanceId, start: DateTime<Utc>) -> Result<bool, Error> {
    diesel::sql_query(
        "update upgrade_policies set asked_window = $2 \
         where instance_id = $1 and minor = 'window' and asked_window is distinct from $2",
    )
    .bind::<SqlUuid, _>(instance.0)
    .bind::<Timestamptz, _>(start)
    .execute(conn)
    .map(|rows| rows == 1)
    .map_err(Error::query("record what a policy asks for"))
}
