//! The rows of the matrix as an operator edits them. What upgrades read of it is in [`crate::db::catalogue`].

use diesel::prelude::*;
use uuid::Uuid;

use crate::db::schema::upgrade_paths;
use crate::db::{Conn, Error, catalogue};
use crate::domain::ids::{PathId, VersionId};
use crate::domain::matrix::{Edge, Way};

/// Every row, enabled or not, by the titles of its versions.
///
/// # Errors
/// The store's.
pub fn all(conn: &mut Conn) -> Result<Vec<Edge>, Error> {
    let versions = catalogue::versions(conn)?;
    let version = |id: Uuid| {
        let found = versions.iter().find(|version| version.id.0 == id).cloned();
        found.ok_or_else(|| Error::Broken(format!("version {id} of an upgrade path")))
    };
    let rows: Vec<(Uuid, Uuid, Uuid, Vec<String>, bool, String)> = upgrade_paths::table
        .select((
            upgrade_paths::id,
            upgrade_paths::from_version_id,
            upgrade_paths::to_version_id,
            upgrade_paths::ways,
            upgrade_paths::enabled,
            upgrade_paths::note,
        ))
        .load(conn)
        .map_err(Error::query("read the upgrade paths"))?;
    let mut edges = rows
        .into_iter()
        .map(|(id, from, to, ways, enabled, note)| {
            Ok(Edge {
                id: PathId(id),
                from: version(from)?,
                to: version(to)?,
                ways: ways.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
                enabled,
                note,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    edges.sort_by_cached_key(|edge| (edge.from.title(), edge.to.title()));
    Ok(edges)
}

/// A row to insert.
pub struct New<'a> {
    /// Its id.
    pub id: PathId,
    /// The version that the instance must have.
    pub from: VersionId,
    /// The version that it may go to.
    pub to: VersionId,
    /// The ways that it is open to.
    pub ways: &'a [Way],
    /// Whether it is in force.
    pub enabled: bool,
    /// What an operator says of it.
    pub note: &'a str,
}

/// Inserts a row.
///
/// # Errors
/// The store's; the constraint `upgrade_paths_from_version_id_to_version_id_key` refuses a pair that is there.
pub fn insert(conn: &mut Conn, new: &New<'_>) -> Result<(), Error> {
    diesel::insert_into(upgrade_paths::table)
        .values((
            upgrade_paths::id.eq(new.id.0),
            upgrade_paths::from_version_id.eq(new.from.0),
            upgrade_paths::to_version_id.eq(new.to.0),
            upgrade_paths::ways.eq(words(new.ways)),
            upgrade_paths::enabled.eq(new.enabled),
            upgrade_paths::note.eq(new.note),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("insert an upgrade path"))
}

/// Writes what may change of a row; says whether there is one.
///
/// # Errors
/// The store's.
pub fn update(conn: &mut Conn, id: PathId, ways: &[Way], enabled: bool, note: &str) -> Result<bool, Error> {
    diesel::update(upgrade_paths::table.find(id.0))
        .set((
            upgrade_paths::ways.eq(words(ways)),
            upgrade_paths::enabled.eq(enabled),
            upgrade_paths::note.eq(note),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
        .map_err(Error::query("update an upgrade path"))
}

/// Deletes a row; says whether there was one.
///
/// # Errors
/// The store's.
pub fn delete(conn: &mut Conn, id: PathId) -> Result<bool, Error> {
    diesel::delete(upgrade_paths::table.find(id.0))
        .execute(conn)
        .map(|rows| rows == 1)
        .map_err(Error::query("delete an upgrade path"))
}

fn words(ways: &[Way]) -> Vec<&'static str> {
    ways.iter().map(|way| way.as_str()).collect()
}
