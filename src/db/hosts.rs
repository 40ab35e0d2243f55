//! Hosts: what they can run, and when they were last heard of.

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::db::schema::{host_versions, hosts};
use crate::db::{Conn, Error};
use crate::domain::ids::HostId;

/// Records that `host` is there, with the network from which its instances get addresses.
///
/// # Errors
/// The store's.
pub fn record(conn: &mut Conn, host: &HostId, instance_net: &str) -> Result<(), Error> {
    diesel::insert_into(hosts::table)
        .values((hosts::id.eq(&host.0), hosts::instance_net.eq(instance_net)))
        .on_conflict(hosts::id)
        .do_update()
        .set((hosts::instance_net.eq(instance_net), hosts::seen_at.eq(diesel::dsl::now)))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("record the host"))
}

/// Records what `host` can run: engine, series, number. What it can no longer run is taken off.
///
/// # Errors
/// The store's.
pub fn record_versions(
    conn: &mut Conn,
    host: &HostId,
    versions: &[(String, String, String)],
) -> Result<(), Error> {
    let doing = "record the host's versions";
    diesel::delete(host_versions::table.filter(host_versions::host_id.eq(&host.0)))
        .execute(conn)
        .map_err(Error::query(doing))?;
    for (engine, series, number) in versions {
        diesel::insert_into(host_versions::table)
            .values((
                host_versions::host_id.eq(&host.0),
                host_versions::engine.eq(engine),
                host_versions::series.eq(series),
                host_versions::version_number.eq(number),
            ))
            .execute(conn)
            .map_err(Error::query(doing))?;
    }
    Ok(())
}

/// A host with room for an instance of `engine` `series`, heard of within the last 30 s; the one with the fewest.
///
/// # Errors
/// The store's.
pub fn place(conn: &mut Conn, engine: &str, series: &str) -> Result<Option<HostId>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        id: String,
    }
    diesel::sql_query(
        "select h.id from hosts h join host_versions v on v.host_id = h.id and v.engine = $1 and v.series = $2 \
         where h.seen_at > now() - interval '30 seconds' \
         order by (select count(*) from endpoints e where e.host_id = h.id), h.id limit 1",
    )
    .bind::<Text, _>(engine)
    .bind::<Text, _>(series)
    .get_result::<Row>(conn)
    .optional()
    .map(|row| row.map(|row| HostId(row.id)))
    .map_err(Error::query("find a host"))
}

/// Whether `host` can run `engine` `series`.
///
/// # Errors
/// The store's.
pub fn runs(conn: &mut Conn, host: &HostId, engine: &str, series: &str) -> Result<bool, Error> {
    let found: i64 = host_versions::table
        .find((&host.0, engine, series))
        .count()
        .get_result(conn)
        .map_err(Error::query("ask what the host can run"))?;
    Ok(found > 0)
}
