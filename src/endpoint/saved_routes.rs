//! The routes that were applied last, saved on disk: a restart serves at once, also while Postgres is away. The file is
//! written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::db::routes::Routes;
use crate::domain::ids::HostId;

/// The file's form. A file of another form is not understood and left to the store's rows.
const FORM: u32 = 1;

#[derive(Clone, Serialize, Deserialize)]
struct Page {
    form: u32,
    host: HostId,
    state: Routes,
}

pub(super) struct SavedRoutes {
    path: PathBuf,
    page: Page,
    /// Whether the file says what `page` says.
    saved: bool,
    told: bool,
    _lock: File,
}

impl SavedRoutes {
    /// Takes the lock and reads what the last of us left.
    pub(super) fn open(path: &Path, host: &HostId) -> Result<Self, Error> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| Error::State { doing, path, source }
        };
        let lock_path = path.with_extension("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::AlreadyServed { path: lock_path }),
            Err(errno) => return Err(failed("lock", &lock_path)(errno.into())),
        }
        let nothing = Page { form: FORM, host: host.clone(), state: Routes::default() };
        let (page, saved) = match fs::read(path) {
            Ok(bytes) => match serde_json::from_slice::<Page>(&bytes) {
                Ok(page) if page.form == FORM && page.host == *host => (page, true),
                Ok(_another) => {
                    tracing::warn!(file = %path.display(), "the last state is another host's or form's, not used");
                    (nothing, false)
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), error = %error, "the last state is not readable");
                    (nothing, false)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (nothing, false),
            Err(error) => return Err(failed("read", path)(error)),
        };
        Ok(Self { path: path.to_owned(), page, saved, told: false, _lock: lock })
    }

    pub(super) fn last(&self) -> &Routes {
        &self.page.state
    }

    /// Keeps the state; whether it is on disk. What is acknowledged must be.
    pub(super) async fn keep(&mut self, state: &Routes) -> bool {
        // Only the store needs to know what was acknowledged to it: not a reason to write.
        let mut state = state.clone();
        for route in &mut state.routes {
            route.applied_epoch = 0;
        }
        if self.saved && self.page.state == state {
            return true;
        }
        self.page.state = state;
        self.saved = false;
        let (path, page) = (self.path.clone(), self.page.clone());
        let written = tokio::task::spawn_blocking(move || write(&path, &page)).await;
        match written.unwrap_or_else(|_stopping| Err(io::Error::other("stopping"))) {
            Ok(()) => {
                self.saved = true;
                self.told = false;
            }
            Err(error) if self.told => tracing::debug!(error = %error, "the state is not kept still"),
            Err(error) => {
                tracing::error!(
                    file = %self.path.display(),
                    error = %error,
                    "the state cannot be kept, changes are not acknowledged"
                );
                self.told = true;
            }
        }
        self.saved
    }
}

fn write(path: &Path, page: &Page) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(page)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
