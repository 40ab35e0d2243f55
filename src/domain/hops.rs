//! The way of an upgrade of the same instance through the matrix: one hop where a row leads to the target, else as few
//! as there can be, and among those the ones with the fewest gaps.

use std::collections::BTreeMap;

use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::VersionId;
use crate::domain::matrix::Path;
use crate::domain::upgrade::Strategy;

/// The most hops of one upgrade.
pub const MOST_HOPS: usize = 6;

/// One hop: the version that it ends on, and how it may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The version that serves after it.
    pub to: DatastoreVersion,
    /// The strategies that its row and the request allow, in the order in which they are tried; one at least.
    pub allowed: Vec<Strategy>,
}

/// How far a request may go.
#[derive(Clone, Copy)]
pub enum Reach<'a> {
    /// Over one row of the matrix.
    One,
    /// Over several, by way of versions of which this says that they can be run.
    Several(&'a dyn Fn(&DatastoreVersion) -> bool),
}

/// What a way costs, the dearer part first: hops whose first strategy has tenants wait, then the names on the way, so
/// that of two ways that are equal the same one is always taken.
type Cost = (usize, Vec<String>);

/// The strategies of a row, as far as they are wished for.
fn allowed(path: &Path, from: VersionId, wish: Option<Strategy>) -> Vec<Strategy> {
    Strategy::ALL
        .into_iter()
        .filter(|strategy| wish.is_none_or(|wish| wish == *strategy))
        .filter(|strategy| path.leads(from, strategy.way()))
        .collect()
}

/// The hops from `from` to `target`; `None` where no way of [`MOST_HOPS`] at most leads there.
pub fn hops(
    from: VersionId,
    target: &DatastoreVersion,
    paths: &[Path],
    wish: Option<Strategy>,
    reach: Reach<'_>,
) -> Option<Vec<Hop>> {
    let mut settled = vec![from];
    // The versions that so many hops lead to and no fewer, each with the cheapest way there.
    let mut ring: BTreeMap<VersionId, (Cost, Vec<Hop>)> = BTreeMap::new();
    ring.insert(from, ((0, Vec::new()), Vec::new()));
    for _ in 0..MOST_HOPS {
        let mut next: BTreeMap<VersionId, (Cost, Vec<Hop>)> = BTreeMap::new();
        for (at, ((gaps, names), way)) in &ring {
            for path in paths.iter().filter(|path| path.from == *at) {
                let to = &path.to;
                let allowed = allowed(path, *at, wish);
                let Some(first) = allowed.first() else { continue };
                let may_pass = match reach {
                    Reach::One => false,
                    Reach::Several(runs) => to.datastore_id == target.datastore_id && runs(to),
                };
                if settled.contains(&to.id) || !(may_pass || to.id == target.id) {
                    continue;
                }
                let mut names = names.clone();
                names.push(to.name.clone());
                let cost = (gaps + usize::from(*first != Strategy::Twin), names);
                if next.get(&to.id).is_none_or(|(known, _)| cost < *known) {
                    let mut way = way.clone();
                    way.push(Hop { to: to.clone(), allowed });
                    next.insert(to.id, (cost, way));
                }
            }
        }
        if let Some((_, way)) = next.remove(&target.id) {
            return Some(way);
        }
        settled.extend(next.keys());
        ring = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::*;
    use crate::domain::datastore::{EngineKind, RuntimeKind};
    use crate::domain::ids::DatastoreId;
    use crate::domain::matrix::Way;

    const BOTH: &[Way] = &[Way::Replica, Way::InPlace, Way::Twin];

    fn version(number: u128) -> DatastoreVersion {
        DatastoreVersion {
            id: VersionId(Uuid::from_u128(number)),
            datastore_id: DatastoreId(Uuid::from_u128(1)),
            datastore: "mariadb".into(),
            name: format!("v{number}"),
            number: number.to_string(),
            engine: EngineKind::MariaDb,
            runtime: RuntimeKind::Process,
            active: true,
        }
    }

    fn path(from: u128, to: u128, ways: &[Way]) -> Path {
        Path {
            from: version(from).id,
            to: version(to),
            ways: ways.iter().map(|way| way.as_str().to_owned()).collect(),
            enabled: true,
        }
    }

    fn all(_: &DatastoreVersion) -> bool {
        true
    }

    fn way(paths: &[Path], to: u128, wish: Option<Strategy>) -> Option<Vec<String>> {
        let found = hops(version(0).id, &version(to), paths, wish, Reach::Several(&all))?;
        Some(found.into_iter().map(|hop| hop.to.name).collect())
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn one_row_is_taken_where_there_is_one() {
        let mut paths = vec![path(0, 1, BOTH), path(1, 2, BOTH), path(0, 2, &[Way::InPlace])];
        assert_eq!(way(&paths, 2, None), names(&["v2"]));
        // By a twin there is none.
        assert_eq!(way(&paths, 2, Some(Strategy::Twin)), names(&["v1", "v2"]));
        paths[2].enabled = false;
        assert_eq!(way(&paths, 2, None), names(&["v1", "v2"]));
        assert_eq!(hops(version(0).id, &version(2), &paths, None, Reach::One), None);
        paths[0].to.active = false;
        assert_eq!(way(&paths, 2, None), None);
    }

    #[test]
    fn of_equally_many_hops_the_ones_with_fewer_gaps_are_taken() {
        let paths = [
            path(0, 1, &[Way::InPlace]),
            path(1, 9, &[Way::Twin]),
            path(0, 2, BOTH),
            path(2, 9, BOTH),
            path(0, 3, BOTH),
            path(3, 9, BOTH),
        ];
        assert_eq!(way(&paths, 9, None), names(&["v2", "v9"]));
        assert_eq!(way(&paths, 9, Some(Strategy::InPlace)), names(&["v2", "v9"]));
        assert_eq!(way(&paths[..2], 9, None), names(&["v1", "v9"]));
        assert_eq!(way(&paths[..2], 9, Some(Strategy::Twin)), None);
    }

    #[test]
    fn a_version_that_cannot_be_run_is_no_hop_on_the_way() {
        let paths = [path(0, 1, BOTH), path(1, 9, BOTH), path(0, 2, &[Way::InPlace]), path(2, 9, BOTH)];
        let runs = |version: &DatastoreVersion| version.name != "v1";
        let found = hops(version(0).id, &version(9), &paths, None, Reach::Several(&runs)).unwrap();
        assert_eq!(found[0].to.name, "v2");
        assert_eq!(found[0].allowed, [Strategy::InPlace]);
        assert_eq!(found[1].allowed, Strategy::ALL);
        // Whether the target can be run is another's question, which has an answer of its own.
        let none = |_: &DatastoreVersion| false;
        assert!(hops(version(0).id, &version(1), &paths, None, Reach::Several(&none)).is_some());
        assert!(hops(version(0).id, &version(9), &paths, None, Reach::Several(&none)).is_none());
        let mut other = version(1);
        other.datastore_id = DatastoreId(Uuid::from_u128(2));
        let foreign = [Path { to: other, ..path(0, 1, BOTH) }, path(1, 9, BOTH)];
        assert_eq!(way(&foreign, 9, None), None);
    }

    /// Every way without a circle, by trying all.
    fn every_way(paths: &[Path], from: u128, to: u128, passed: &[u128]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for next in 0..6 {
            let row = paths.iter().find(|path| path.from == version(from).id && path.to == version(next));
            let Some(row) = row else { continue };
            let Some(first) = allowed(row, version(from).id, None).first().copied() else { continue };
            let gap = usize::from(first != Strategy::Twin);
            if next == to {
                found.push((1, gap));
            } else if !passed.contains(&next) {
                let passed = [passed, &[next]].concat();
                let rest = every_way(paths, next, to, &passed);
                found.extend(rest.into_iter().map(|(hops, gaps)| (hops + 1, gaps + gap)));
            }
        }
        found
    }

    proptest! {
        /// Over any matrix of six versions, circles and closed rows among them.
        #[test]
        fn the_way_is_the_best_of_all(
            rows in proptest::collection::btree_map((0_u128..6, 0_u128..6), (0_usize..4, any::<bool>()), 0..24),
            to in 1_u128..6,
        ) {
            let ways: [&[Way]; 4] = [BOTH, &[Way::InPlace], &[Way::Twin], &[Way::Replica, Way::Rolling]];
            let paths: Vec<Path> = rows
                .into_iter()
                .map(|((from, to), (which, enabled))| Path { enabled, ..path(from, to, ways[which]) })
                .collect();
            let found = hops(version(0).id, &version(to), &paths, None, Reach::Several(&all));
            let best = every_way(&paths, 0, to, &[0]).into_iter().min();
            let cost = found.as_ref().map(|way| {
                (way.len(), way.iter().filter(|hop| hop.allowed[0] != Strategy::Twin).count())
            });
            prop_assert_eq!(cost, best);
            let mut at = version(0).id;
            for hop in found.iter().flatten() {
                for strategy in &hop.allowed {
                    let is_open = |path: &Path| path.to == hop.to && path.leads(at, strategy.way());
                    prop_assert!(paths.iter().any(is_open), "{hop:?}");
                }
                at = hop.to.id;
            }
            let mut turned = paths;
            turned.reverse();
            let again = hops(version(0).id, &version(to), &turned, None, Reach::Several(&all));
            prop_assert_eq!(found, again, "the order of the rows says nothing");
        }
    }
}
