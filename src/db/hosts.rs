//! Hosts: what they can run, and when they were last heard of.

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::db::schema::{host_versions, hosts};
use crate::db::statement::{self, statement};
use crate::db::{Conn, Error};
use crate::domain::datastore::{DatastoreVersion, EngineKind, RuntimeKind};
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

/// A version that a host can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The datastore's name: `percona` for example, whose engine is mysql.
    pub datastore: String,
    /// What to do to it.
    pub engine: EngineKind,
    /// Where it runs.
    pub runtime: RuntimeKind,
    /// The version's name, `10.11` for example.
    pub series: String,
    /// What the binary answers, `10.11.19` for example.
    pub number: String,
}

/// Records what `host` can run. What it can no longer run is taken off.
///
/// # Errors
/// The store's.
pub fn record_versions(conn: &mut Conn, host: &HostId, offers: &[Offer]) -> Result<(), Error> {
    let doing = "record the host's versions";
    diesel::delete(host_versions::table.filter(host_versions::host_id.eq(&host.0)))
        .execute(conn)
        .map_err(Error::query(doing))?;
    for offer in offers {
        diesel::insert_into(host_versions::table)
            .values((
                host_versions::host_id.eq(&host.0),
                host_versions::datastore.eq(&offer.datastore),
                host_versions::engine.eq(offer.engine.as_str()),
                host_versions::runtime.eq(offer.runtime.as_str()),
                host_versions::series.eq(&offer.series),
                host_versions::version_number.eq(&offer.number),
            ))
            .execute(conn)
            .map_err(Error::query(doing))?;
    }
    Ok(())
}

statement! {
    /// The host for a new instance. Where there is one only, nothing is counted; beyond a thousand instances a host has
    /// many, and chance decides.
    PlaceOn { datastore: String, series: String, runtime: &'static str } -> Text;
    { "select id from (select h.id, count(*) over () as hosts from hosts h join host_versions v on v.host_id = h.id \
       where v.datastore = " } [datastore as Text] { " and v.series = " } [series as Text] { " and v.runtime = " }
    [runtime as Text]
    { " and h.seen_at > now() - interval '30 seconds') h order by case when hosts > 1 then " } [runtime as Text]
    { " = 'process' and exists (select from accounts a where a.host_id = h.id) and not exists \
       (select from accounts a where a.host_id = h.id and a.instance_id is null) end, case when hosts > 1 then \
       (select count(*) from (select from endpoints e where e.host_id = h.id limit 1000) e) end, \
       case when hosts > 1 then random() end limit 1" }
}

/// A host with room for an instance of `version`, heard of within the last 30 s; the one with the fewest.
///
/// # Errors
/// The store's.
pub fn place(conn: &mut Conn, version: &DatastoreVersion) -> Result<Option<HostId>, Error> {
    let place = PlaceOn {
        datastore: version.datastore.clone(),
        series: version.name.clone(),
        runtime: version.runtime.as_str(),
    };
    place.get_result::<String>(conn).optional().map(|id| id.map(HostId)).map_err(Error::query("find a host"))
}

/// The text of that statement, with `$1` and so on for its values.
pub fn place_text() -> String {
    let (datastore, series) = (String::new(), String::new());
    statement::text(&PlaceOn { datastore, series, runtime: "" })
}
