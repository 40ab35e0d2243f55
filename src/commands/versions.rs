//! What an operator changes of datastore versions. What versions there are, the hosts say that can run them.

use crate::commands::{Commands, Error};
use crate::db::{self, Conn, catalogue, events};
use crate::domain::caller::Caller;
use crate::domain::datastore::{Datastore, DatastoreVersion};
use crate::domain::ids::VersionId;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;

/// A parsed change of a version; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionChange {
    /// Whether new instances may have it.
    pub active: Option<bool>,
    /// Whether it is what a new instance of its datastore has that names no version.
    pub default: Option<bool>,
}

/// The version with its datastore, whether it is active or not.
fn known(conn: &mut Conn, id: VersionId) -> Result<(Datastore, DatastoreVersion), Error> {
    let found = catalogue::datastores(conn)?.into_iter().find_map(|store| {
        let version = store.versions.iter().find(|version| version.id == id).cloned();
        version.map(|version| (store, version))
    });
    found.ok_or_else(|| Refusal::NotFound { what: id.to_string() }.into())
}

impl Commands {
    /// Changes whether new instances may have a version, and whether they have it by default.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 400 for a default that is not active; the store's.
    pub async fn change_version(
        &self,
        caller: &Caller,
        id: VersionId,
        change: VersionChange,
    ) -> Result<(), Error> {
        allow(caller, Rule::Manage)?;
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let (store, version) = known(conn, id)?;
                let is_default = store.default_version == Some(id);
                let active = change.active.unwrap_or(version.active);
                let default = change.default.unwrap_or(is_default && active);
                if default && !active {
                    let expected = "must be active to be the default";
                    return Err(Refusal::invalid("body['default']", expected).into());
                }
                catalogue::set_active(conn, id, active)?;
                if default != is_default {
                    catalogue::set_default(conn, store.id, default.then_some(id))?;
                }
                tell(conn, &caller, &version, "version_changed")
            })
            .await
    }

    /// Deletes a version that no host can run any more.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 400 for one that is in use or that a host can run; the store's.
    pub async fn delete_version(&self, caller: &Caller, id: VersionId) -> Result<(), Error> {
        allow(caller, Rule::Manage)?;
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let (_, version) = known(conn, id)?;
                if let Some(why) = catalogue::in_use(conn, id)? {
                    return Err(Refusal::Invalid(format!(
                        "Datastore version {} cannot be deleted: {why}. Make it inactive, so that no new instance has it.",
                        version.title()
                    ))
                    .into());
                }
                catalogue::delete_version(conn, id)?;
                tell(conn, &caller, &version, "version_deleted")
            })
            .await
    }

    /// Deletes a datastore that has no versions.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 400 for one that has versions; the store's.
    pub async fn delete_datastore(&self, caller: &Caller, wanted: String) -> Result<(), Error> {
        allow(caller, Rule::Manage)?;
        self.db
            .transact(move |conn| {
                let stores = catalogue::datastores(conn)?;
                let is_meant = |store: &&Datastore| {
                    store.name.eq_ignore_ascii_case(&wanted)
                        || store.id.to_string().eq_ignore_ascii_case(&wanted)
                };
                let store = stores.iter().find(is_meant);
                let store = store.ok_or_else(|| Refusal::NotFound { what: wanted.clone() })?;
                if !store.versions.is_empty() {
                    return Err(Refusal::Invalid(format!(
                        "Datastore {} cannot be deleted: it has {} versions. Delete them first.",
                        store.name,
                        store.versions.len()
                    ))
                    .into());
                }
                catalogue::delete_datastore(conn, store.id).map_err(Error::from)
            })
            .await
    }
}

fn tell(conn: &mut Conn, caller: &Caller, version: &DatastoreVersion, what: &str) -> Result<(), Error> {
    let event = events::Event {
        project: &caller.project,
        instance: None,
        task: None,
        actor: &caller.user,
        what,
        data: serde_json::json!({"version": version.id.to_string(), "title": version.title()}),
    };
    events::record(conn, &event).map_err(|error: db::Error| Error::Db(error))
}
