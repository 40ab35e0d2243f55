//! What projects may have, and what they have.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::db::catalogue_cache::{self, Catalogue};
use crate::db::schema::quotas;
use crate::db::statement::{self, statement};
use crate::db::{Conn, Error};
use crate::domain::ids::ProjectId;
use crate::domain::quota::{Quota, Resource, Usage};

/// The project's quota: `default`, and over it what an operator set.
///
/// # Errors
/// The store's.
pub fn of_project(conn: &mut Conn, project: &ProjectId, default: Quota) -> Result<Quota, Error> {
    let rows = quotas::table
        .filter(quotas::project_id.eq(project.as_str()))
        .select((quotas::resource, quotas::most))
        .load::<(String, i32)>(conn)
        .map_err(Error::query("read the quotas of a project"))?;
    rows.into_iter().try_fold(default, |quota, (resource, most)| {
        Ok(quota.with(resource.parse::<Resource>()?, u32::try_from(most).ok()))
    })
}

statement! {
    /// What a creation depends on before anything else is asked.
    Asked { project: String } -> (SqlUuid, Bool);
    { "select revision, exists (select from quotas where project_id = " } [project as Text] { ") from catalogue" }
}

/// The catalogue, and whether an operator set limits of the project: in one trip.
///
/// # Errors
/// The store's.
pub fn catalogue_and_limited(conn: &mut Conn, project: &ProjectId) -> Result<(Arc<Catalogue>, bool), Error> {
    let (revision, limited) = Asked { project: project.as_str().to_owned() }
        .get_result::<(Uuid, bool)>(conn)
        .map_err(Error::query("ask whether a project is limited"))?;
    Ok((catalogue_cache::at(conn, revision)?, limited))
}

/// The text of that statement, with `$1` for its value.
pub fn text() -> String {
    statement::text(&Asked { project: String::new() })
}

/// Sets a limit; `None` is no limit.
///
/// # Errors
/// The store's.
pub fn set(conn: &mut Conn, project: &ProjectId, resource: Resource, most: Option<u32>) -> Result<(), Error> {
    let most = most.map_or(-1, |most| i32::try_from(most).unwrap_or(i32::MAX));
    diesel::insert_into(quotas::table)
        .values((
            quotas::project_id.eq(project.as_str()),
            quotas::resource.eq(resource.as_str()),
            quotas::most.eq(most),
        ))
        .on_conflict((quotas::project_id, quotas::resource))
        .do_update()
        .set((quotas::most.eq(most), quotas::updated_at.eq(diesel::dsl::now)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("set a quota"))
}

/// What the project has now.
///
/// An instance that is being resized takes the larger of both flavors.
///
/// # Errors
/// The store's.
pub fn used(conn: &mut Conn, project: &ProjectId) -> Result<Usage, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        instances: i64,
        #[diesel(sql_type = BigInt)]
        volumes_gb: i64,
        #[diesel(sql_type = BigInt)]
        ram_mb: i64,
    }
    let row = diesel::sql_query(
        "select count(*) as instances, coalesce(sum(i.volume_gb), 0)::bigint as volumes_gb, \
         coalesce(sum(greatest(f.ram_mb, r.ram_mb)), 0)::bigint as ram_mb \
         from instances i join flavors f on f.id = i.flavor_id \
         left join lateral (select max(o.ram_mb) as ram_mb from task_instances c join tasks t on t.id = c.task_id \
             join flavors o on o.id in (t.plan ->> 'from', t.plan ->> 'to') \
             where c.instance_id = i.id and c.live and t.kind = 'resize') r on true where i.project_id = $1 and i.deleted_at is null",
    )
    .bind::<Text, _>(project.as_str())
    .get_result::<Row>(conn)
    .map_err(Error::query("count what a project has"))?;
    Ok(Usage { instances: row.instances, volumes_gb: row.volumes_gb, ram_mb: row.ram_mb })
}

/// Waits for the project's turn to count and to add; the turn ends with the transaction. What others of the project
/// added is seen by the next statement.
///
/// # Errors
/// The store's.
pub fn lock(conn: &mut Conn, project: &ProjectId) -> Result<(), Error> {
    diesel::sql_query("select pg_advisory_xact_lock(hashtextextended('coffer quota ' || $1, 0))")
        .bind::<Text, _>(project.as_str())
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("take the turn of a project"))
}
