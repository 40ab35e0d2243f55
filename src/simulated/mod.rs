//! The simulated runtime: an engine and a runtime without servers, for tests of clients (any version, also MySQL 5.1)
//! and of fleets. A simulated server is rows of the store: its databases and users, what was written to it, whom it
//! follows and how far. Nobody listens at its address. It is never the default, and everything that an operator sees
//! of it is named `simulated`.
//!
//! # Decision
//! The servers' rows lie in the service's own store and not in files, so that any worker finds them after any death,
//! and a test writes to a server and kills it with one statement. Replication is a copy that comes over after a delay
//! (`lag_ms`), applied whenever somebody looks: so a step that does not wait, or waits for the wrong position, loses
//! writes here as it would on a real pair.

pub mod engine;
pub mod runtime;

use std::sync::Arc;

use crate::db::catalogue::Edge;
use crate::db::hosts::Offer;
use crate::domain::datastore::{EngineKind, RuntimeKind};
use crate::domain::matrix::Way;
use crate::engines::Engine;

/// The documented versions: datastore, name, engine, and the last number of the series. Source: the vendor's pages on
/// datastores and on upgrades (api-ref: `upgrade-action.md`).
pub const VERSIONS: &[(&str, &str, EngineKind, &str)] = &[
    ("mysql", "5.1", EngineKind::Mysql, "5.1.73"),
    ("mysql", "5.5", EngineKind::Mysql, "5.5.62"),
    ("mysql", "5.6", EngineKind::Mysql, "5.6.51"),
    ("mysql", "5.7", EngineKind::Mysql, "5.7.44"),
    ("mysql", "8.0", EngineKind::Mysql, "8.0.40"),
    ("percona", "5.7", EngineKind::Mysql, "5.7.44"),
    ("mariadb", "10", EngineKind::MariaDb, "10.0.38"),
    ("mariadb", "10.1", EngineKind::MariaDb, "10.1.48"),
    ("mariadb", "10.4", EngineKind::MariaDb, "10.4.34"),
    ("mariadb", "10.1enc", EngineKind::MariaDb, "10.1.48"),
    ("mariadb", "10.4enc", EngineKind::MariaDb, "10.4.34"),
];

const DOCUMENTED: &[Way] = &[Way::Replica, Way::Rolling];
const CHAIN: &[Way] = &[Way::InPlace, Way::Rolling];
const BOTH: &[Way] = &[Way::Replica, Way::InPlace, Way::Rolling];
const PAGES: &str = "documented for single instances and groups";

const fn edge(
    from: (&'static str, &'static str),
    to: (&'static str, &'static str),
    ways: &'static [Way],
    note: &'static str,
) -> Edge {
    Edge { from, to, ways, enabled: true, note }
}

/// The documented edges, the vendors' chains, and one that was announced and never documented, which is off.
pub const EDGES: &[Edge] = &[
    edge(("mysql", "5.1"), ("mysql", "5.7"), DOCUMENTED, PAGES),
    edge(("mysql", "5.6"), ("mysql", "5.7"), BOTH, PAGES),
    edge(("mysql", "5.6"), ("mariadb", "10.4enc"), DOCUMENTED, PAGES),
    edge(("mariadb", "10"), ("mariadb", "10.4"), DOCUMENTED, PAGES),
    edge(("mariadb", "10.1"), ("mariadb", "10.4"), DOCUMENTED, PAGES),
    edge(("mariadb", "10.4"), ("mariadb", "10.4enc"), DOCUMENTED, PAGES),
    Edge {
        from: ("mariadb", "10.1enc"),
        to: ("mariadb", "10.4enc"),
        ways: DOCUMENTED,
        enabled: false,
        note: "announced in a release note, on no page of upgrades",
    },
    edge(("mysql", "5.5"), ("mysql", "5.6"), CHAIN, "the vendors' chain"),
    edge(("mysql", "5.7"), ("mysql", "8.0"), CHAIN, "the vendors' chain"),
];

/// What every host can simulate.
pub fn offers() -> Vec<Offer> {
    VERSIONS
        .iter()
        .map(|(datastore, series, engine, number)| Offer {
            datastore: (*datastore).to_owned(),
            engine: *engine,
            runtime: RuntimeKind::Simulated,
            series: (*series).to_owned(),
            number: (*number).to_owned(),
        })
        .collect()
}

/// The engines of simulated servers.
pub fn engines(db: &crate::db::Db) -> Vec<Arc<dyn Engine>> {
    [EngineKind::MariaDb, EngineKind::Mysql]
        .into_iter()
        .map(|kind| Arc::new(engine::SimulatedEngine::new(kind, db.clone())) as Arc<dyn Engine>)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_joins_two_versions_that_there_are() {
        let known = |(datastore, name): (&str, &str)| {
            VERSIONS.iter().any(|version| (version.0, version.1) == (datastore, name))
        };
        for edge in EDGES {
            assert!(known(edge.from) && known(edge.to), "{edge:?}");
            assert_ne!(edge.from, edge.to);
        }
        let by_replica: Vec<_> =
            EDGES.iter().filter(|edge| edge.enabled && edge.ways.contains(&Way::Replica)).collect();
        assert_eq!(by_replica.len(), 6, "the documented matrix has six edges");
    }
}
