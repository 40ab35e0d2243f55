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

mod content;
pub mod engine;
mod parameters;
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

/// PostgreSQL's: the series that the vendors' calls for major versions know, and the last number of each.
pub const POSTGRESQL: &[(&str, &str)] =
    &[("11", "11.22"), ("12", "12.22"), ("14", "14.20"), ("15", "15.15"), ("16", "16.11")];

/// An older build of each version, named by its whole number: a new instance has the newer one unless it names this.
/// PostgreSQL's 11 is older than 11.2, which one of the vendors' calls refuses.
pub const BUILDS: &[(&str, &str, &str)] = &[
    ("mysql", "5.1", "5.1.72"),
    ("mysql", "5.5", "5.5.61"),
    ("mysql", "5.6", "5.6.50"),
    ("mysql", "5.7", "5.7.43"),
    ("mysql", "8.0", "8.0.39"),
    ("percona", "5.7", "5.7.43"),
    ("mariadb", "10", "10.0.37"),
    ("mariadb", "10.1", "10.1.47"),
    ("mariadb", "10.4", "10.4.33"),
    ("mariadb", "10.1enc", "10.1.47enc"),
    ("mariadb", "10.4enc", "10.4.33enc"),
    ("postgresql", "11", "11.1"),
    ("postgresql", "12", "12.21"),
    ("postgresql", "14", "14.19"),
    ("postgresql", "15", "15.14"),
    ("postgresql", "16", "16.10"),
];

const MINOR: &[Way] = &[Way::InPlace, Way::Twin, Way::Rolling];
const BUILD: &str = "to the newer build of the same version";
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
    edge(("postgresql", "11"), ("postgresql", "12"), CHAIN, "the vendors' chain"),
    edge(("postgresql", "12"), ("postgresql", "14"), CHAIN, "the vendors' chain"),
    edge(("postgresql", "14"), ("postgresql", "15"), CHAIN, "the vendors' chain"),
    edge(("postgresql", "15"), ("postgresql", "16"), CHAIN, "the vendors' chain"),
    edge(("mysql", "5.1.72"), ("mysql", "5.1"), MINOR, BUILD),
    edge(("mysql", "5.5.61"), ("mysql", "5.5"), MINOR, BUILD),
    edge(("mysql", "5.6.50"), ("mysql", "5.6"), MINOR, BUILD),
    edge(("mysql", "5.7.43"), ("mysql", "5.7"), MINOR, BUILD),
    edge(("mysql", "8.0.39"), ("mysql", "8.0"), MINOR, BUILD),
    edge(("percona", "5.7.43"), ("percona", "5.7"), MINOR, BUILD),
    edge(("mariadb", "10.0.37"), ("mariadb", "10"), MINOR, BUILD),
    edge(("mariadb", "10.1.47"), ("mariadb", "10.1"), MINOR, BUILD),
    edge(("mariadb", "10.4.33"), ("mariadb", "10.4"), MINOR, BUILD),
    edge(("mariadb", "10.1.47enc"), ("mariadb", "10.1enc"), MINOR, BUILD),
    edge(("mariadb", "10.4.33enc"), ("mariadb", "10.4enc"), MINOR, BUILD),
    edge(("postgresql", "11.1"), ("postgresql", "11"), MINOR, BUILD),
    edge(("postgresql", "12.21"), ("postgresql", "12"), MINOR, BUILD),
    edge(("postgresql", "14.19"), ("postgresql", "14"), MINOR, BUILD),
    edge(("postgresql", "15.14"), ("postgresql", "15"), MINOR, BUILD),
    edge(("postgresql", "16.10"), ("postgresql", "16"), MINOR, BUILD),
];

/// What every host can simulate: each version, and an older build of it.
pub fn offers() -> Vec<Offer> {
    let offer = |datastore: &str, series: &str, engine: EngineKind, number: &str| Offer {
        datastore: datastore.to_owned(),
        engine,
        runtime: RuntimeKind::Simulated,
        series: series.to_owned(),
        number: number.to_owned(),
    };
    let family =
        VERSIONS.iter().map(|(datastore, series, engine, number)| offer(datastore, series, *engine, number));
    let postgresql =
        POSTGRESQL.iter().map(|(series, number)| offer("postgresql", series, EngineKind::Postgresql, number));
    let mut offers: Vec<Offer> = family.chain(postgresql).collect();
    for (datastore, of, name) in BUILDS {
        let newer = offers.iter().find(|it| it.datastore == *datastore && it.series == *of);
        if let Some(engine) = newer.map(|newer| newer.engine) {
            let number = name.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            offers.push(offer(datastore, name, engine, number));
        }
    }
    offers
}

/// The engines of simulated servers.
pub fn engines(db: &crate::db::Db) -> Vec<Arc<dyn Engine>> {
    EngineKind::ALL
        .into_iter()
        .map(|kind| Arc::new(engine::SimulatedEngine::new(kind, db.clone())) as Arc<dyn Engine>)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build_upgrades::order;

    #[test]
    fn every_edge_joins_two_versions_that_there_are() {
        let offers = offers();
        let known = |(datastore, name): (&str, &str)| {
            offers.iter().any(|version| version.datastore == datastore && version.series == name)
        };
        for edge in EDGES {
            assert!(known(edge.from) && known(edge.to), "{edge:?}");
            assert_ne!(edge.from, edge.to);
        }
        let by_replica: Vec<_> =
            EDGES.iter().filter(|edge| edge.enabled && edge.ways.contains(&Way::Replica)).collect();
        assert_eq!(by_replica.len(), 6, "the documented matrix has six edges");
    }

    #[test]
    fn every_version_has_an_older_build_that_leads_to_it() {
        let offers = offers();
        assert_eq!(offers.len(), 2 * (VERSIONS.len() + POSTGRESQL.len()));
        for (datastore, of, name) in BUILDS {
            let named = |series: &str| {
                offers.iter().find(|it| it.datastore == *datastore && it.series == series).unwrap()
            };
            let (newer, older) = (named(of), named(name));
            assert_eq!(order(&older.number, &newer.number), std::cmp::Ordering::Less, "{name}");
            assert!(name.starts_with(&older.number), "{name} is named by its whole number");
            let leads = EDGES.iter().any(|it| it.from == (datastore, name) && it.to == (datastore, of));
            assert!(leads, "{name}");
        }
    }
}
