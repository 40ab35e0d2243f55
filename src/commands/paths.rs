//! The matrix of upgrades as an operator edits it, by the API or from a terminal, which has nothing but the store. What
//! was accepted before stays accepted: a task has its plan.

use uuid::Uuid;

use crate::commands::Error;
use crate::db::{Conn, Db, catalogue, events, paths};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::PathId;
use crate::domain::matrix::{Edge, Way};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;

/// The constraint that a pair of versions is there once.
const ONCE: &str = "upgrade_paths_from_version_id_to_version_id_key";

/// A version as an operator names it.
#[derive(Clone, Debug)]
pub struct VersionName {
    /// The datastore: a name, in any case, or an id.
    pub datastore_type: String,
    /// The version: a name or an id.
    pub datastore_version: String,
}

/// A parsed row to add.
#[derive(Clone, Debug)]
pub struct NewPath {
    /// The version that the instance must have.
    pub from: VersionName,
    /// The version that it may go to.
    pub to: VersionName,
    /// The ways that it is open to; not none, none twice.
    pub ways: Vec<Way>,
    /// Whether it is in force.
    pub enabled: bool,
    /// What the operator says of it.
    pub note: String,
}

/// What is changed of a row; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct PathChange {
    /// The ways that it is open to.
    pub ways: Option<Vec<Way>>,
    /// Whether it is in force.
    pub enabled: Option<bool>,
    /// What the operator says of it.
    pub note: Option<String>,
}

/// Adds a row.
///
/// # Errors
/// A refusal: 400 for a version that is not there, one version twice and a pair that is there; 403 by role.
pub async fn add(db: &Db, caller: &Caller, new: NewPath) -> Result<Edge, Error> {
    let versions = db.run(catalogue::versions).await?;
    let from = find(&versions, &new.from, "from")?;
    let to = find(&versions, &new.to, "to")?;
    if from.id == to.id {
        return Err(Refusal::invalid("upgrade_path['to']", "must be another version than from").into());
    }
    allow(caller, Rule::Manage)?;
    let id = PathId(Uuid::new_v4());
    let caller = caller.clone();
    db.transact(move |conn| {
        let row = paths::New {
            id,
            from: from.id,
            to: to.id,
            ways: &new.ways,
            enabled: new.enabled,
            note: &new.note,
        };
        paths::insert(conn, &row).map_err(|e| {
            if e.violates(ONCE) {
                let text = format!(
                    "must be a pair that is not there: there is a path from {} to {}",
                    from.title(),
                    to.title()
                );
                Error::from(Refusal::invalid("upgrade_path", text))
            } else {
                e.into()
            }
        })?;
        let edge = Edge {
            id,
            from: from.clone(),
            to: to.clone(),
            ways: new.ways.clone(),
            enabled: new.enabled,
            note: new.note.clone(),
        };
        note(conn, &caller, &edge, "path_added")?;
        Ok(edge)
    })
    .await
}

/// Changes a row.
///
/// # Errors
/// A refusal: 403 by role, 404.
pub async fn change(db: &Db, caller: &Caller, id: PathId, change: PathChange) -> Result<Edge, Error> {
    allow(caller, Rule::Manage)?;
    let caller = caller.clone();
    db.transact(move |conn| {
        let mut edge = one(conn, id)?;
        if let Some(ways) = &change.ways {
            edge.ways.clone_from(ways);
        }
        if let Some(text) = &change.note {
            edge.note.clone_from(text);
        }
        edge.enabled = change.enabled.unwrap_or(edge.enabled);
        if !paths::update(conn, id, &edge.ways, edge.enabled, &edge.note)? {
            return Err(missing(id).into());
        }
        note(conn, &caller, &edge, if edge.enabled { "path_enabled" } else { "path_disabled" })?;
        Ok(edge)
    })
    .await
}

/// Deletes a row.
///
/// # Errors
/// A refusal: 403 by role, 404.
pub async fn delete(db: &Db, caller: &Caller, id: PathId) -> Result<(), Error> {
    allow(caller, Rule::Manage)?;
    let caller = caller.clone();
    db.transact(move |conn| {
        let edge = one(conn, id)?;
        if !paths::delete(conn, id)? {
            return Err(missing(id).into());
        }
        note(conn, &caller, &edge, "path_deleted")
    })
    .await
}
fn missing(id: PathId) -> Refusal {
    Refusal::NotFound { what: id.to_string() }
}

fn one(conn: &mut Conn, id: PathId) -> Result<Edge, Error> {
    Ok(paths::all(conn)?.into_iter().find(|edge| edge.id == id).ok_or_else(|| missing(id))?)
}

/// The version that an operator names in `key` of a row.
fn find(versions: &[DatastoreVersion], name: &VersionName, key: &str) -> Result<DatastoreVersion, Refusal> {
    let same = |text: &str, wanted: &str| text.eq_ignore_ascii_case(wanted);
    let mut of_type = versions
        .iter()
        .filter(|v| {
            same(&v.datastore, &name.datastore_type)
                || same(&v.datastore_id.to_string(), &name.datastore_type)
        })
        .peekable();
    if of_type.peek().is_none() {
        return Err(Refusal::invalid(
            &format!("upgrade_path['{key}']['datastore_type']"),
            "must be the name or the id of a datastore",
        ));
    }
    of_type
        .find(|v| v.name == name.datastore_version || same(&v.id.to_string(), &name.datastore_version))
        .cloned()
        .ok_or_else(|| {
            Refusal::invalid(
                &format!("upgrade_path['{key}']['datastore_version']"),
                "must be the name or the id of a version of that datastore",
            )
        })
}

fn note(conn: &mut Conn, caller: &Caller, edge: &Edge, what: &str) -> Result<(), Error> {
    let ways: Vec<_> = edge.ways.iter().map(|way| way.as_str()).collect();
    let event = events::Event {
        project: &caller.project,
        instance: None,
        task: None,
        actor: &caller.user,
        what,
        data: serde_json::json!({
            "from": edge.from.title(),
            "to": edge.to.title(),
            "ways": ways,
            "enabled": edge.enabled,
            "note": edge.note,
        }),
    };
    Ok(events::record(conn, &event)?)
}
