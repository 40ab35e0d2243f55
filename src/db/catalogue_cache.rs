//! The catalogue as one value: datastores, versions, flavors, the matrix, and what the hosts can run. It changes
//! rarely and every request asks it, so a process reads each revision once: triggers give it a new one with each
//! change, a statement that needs the catalogue reads the revision beside its own rows, and what is remembered here is
//! what that revision says. It is never older than the transaction that asks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use diesel::sql_types::Uuid as SqlUuid;
use uuid::Uuid;

use crate::db::schema::host_versions;
use crate::db::statement::statement;
use crate::db::{Conn, Error, catalogue};
use crate::domain::build_upgrades::are_builds_of_one;
use crate::domain::datastore::{Datastore, DatastoreVersion};
use crate::domain::flavor::Flavor;
use crate::domain::ids::{FlavorId, HostId, VersionId};
use crate::domain::matrix::{Path, Way};

/// Revisions that are remembered: the newest, and those that transactions under way may still see.
const REMEMBERED: usize = 4;

/// How often a catalogue that changes while it is read is read again.
const TRIES: usize = 5;

// A revision is made once and never again, in whatever database: what it says does not change.
static REVISIONS: Mutex<VecDeque<Arc<Catalogue>>> = Mutex::new(VecDeque::new());

/// The catalogue at one revision.
#[derive(Default, Debug)]
pub struct Catalogue {
    /// The revision.
    pub revision: Uuid,
    /// Every datastore with its versions, by name.
    pub datastores: Vec<Datastore>,
    /// Every flavor, smallest first.
    pub flavors: Vec<Flavor>,
    /// The rows of the matrix.
    pub paths: Vec<Path>,
    /// What each host can run: host, datastore, series, runtime.
    offers: Vec<(String, String, String, String)>,
}

impl Catalogue {
    /// Every version, by datastore and name.
    pub fn versions(&self) -> impl Iterator<Item = &DatastoreVersion> {
        self.datastores.iter().flat_map(|datastore| &datastore.versions)
    }

    /// The version with this id.
    pub fn version(&self, id: VersionId) -> Option<&DatastoreVersion> {
        self.versions().find(|version| version.id == id)
    }

    /// The flavor with this id.
    pub fn flavor(&self, id: &FlavorId) -> Option<&Flavor> {
        self.flavors.iter().find(|flavor| flavor.id == *id)
    }

    /// Whether `host` can run `version`.
    pub fn runs(&self, host: &HostId, version: &DatastoreVersion) -> bool {
        self.offers.iter().any(|(by, datastore, series, runtime)| {
            *by == host.0
                && *datastore == version.datastore
                && *series == version.name
                && *runtime == version.runtime.as_str()
        })
    }

    /// Whether a group of the datastore of `version` can be upgraded at all.
    pub fn has_rolling(&self, version: &DatastoreVersion) -> bool {
        self.paths.iter().any(|path| {
            path.leads(path.from, Way::Rolling)
                && self.version(path.from).is_some_and(|from| from.datastore_id == version.datastore_id)
        })
    }

    /// Whether any upgrade leads out of a version of the datastore of `version`, but to a newer build of the same one.
    pub fn has_upgrades(&self, version: &DatastoreVersion) -> bool {
        self.paths.iter().any(|path| {
            path.enabled
                && self.version(path.from).is_some_and(|from| {
                    from.datastore_id == version.datastore_id && !are_builds_of_one(from, &path.to)
                })
        })
    }
}

statement! {
    /// The catalogue's revision.
    Revision {} -> SqlUuid;
    { "select revision from catalogue" }
}

/// The catalogue now.
///
/// # Errors
/// The store's.
pub fn now(conn: &mut Conn) -> Result<Arc<Catalogue>, Error> {
    let revision = revision(conn)?;
    at(conn, revision)
}

/// The catalogue at `revision`, which was read in this transaction; a newer one when it has changed since.
///
/// # Errors
/// The store's; [`Error::Stale`] while it changes and changes.
pub fn at(conn: &mut Conn, revision: Uuid) -> Result<Arc<Catalogue>, Error> {
    let remembered = |revision| {
        let revisions = REVISIONS.lock().unwrap_or_else(PoisonError::into_inner);
        revisions.iter().find(|catalogue| catalogue.revision == revision).cloned()
    };
    if let Some(catalogue) = remembered(revision) {
        return Ok(catalogue);
    }
    for _ in 0..TRIES {
        let catalogue = read(conn)?;
        // It is several statements, which another's change may have come between.
        if self::revision(conn)? != catalogue.revision {
            continue;
        }
        let catalogue = Arc::new(catalogue);
        let mut revisions = REVISIONS.lock().unwrap_or_else(PoisonError::into_inner);
        revisions.push_front(Arc::clone(&catalogue));
        revisions.truncate(REMEMBERED);
        return Ok(catalogue);
    }
    Err(Error::Stale("the catalogue"))
}

fn revision(conn: &mut Conn) -> Result<Uuid, Error> {
    Revision {}.get_result(conn).map_err(Error::query("read the catalogue's revision"))
}

fn read(conn: &mut Conn) -> Result<Catalogue, Error> {
    Ok(Catalogue {
        revision: revision(conn)?,
        datastores: catalogue::datastores(conn)?,
        flavors: catalogue::flavors(conn)?,
        paths: catalogue::paths(conn, None)?,
        offers: host_versions::table
            .select((
                host_versions::host_id,
                host_versions::datastore,
                host_versions::series,
                host_versions::runtime,
            ))
            .load(conn)
            .map_err(Error::query("read what the hosts can run"))?,
    })
}
