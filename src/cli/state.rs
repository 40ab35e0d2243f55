//! The folders of `dev`: where its state lies, where its sockets lie, and whether its accounts can reach them.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::accounts::Accounts;

/// The folders of one `dev`.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What must outlive it.
    pub state: PathBuf,
    /// The base of the socket folders.
    pub run: PathBuf,
    /// The engines' binaries.
    pub engines: PathBuf,
}

impl Folders {
    /// Makes the folders that are missing: the state folder 0711 for root (the engines' account must pass through
    /// it), 0700 else.
    ///
    /// # Errors
    /// A folder cannot be made, or is one that the engines' account cannot pass through; the text names it.
    pub fn open(
        state: Option<PathBuf>,
        engines: Option<PathBuf>,
        accounts: Option<&Accounts>,
    ) -> anyhow::Result<Self> {
        let root = accounts.is_some();
        let state = match state {
            Some(path) => path,
            None => default_state(root)?,
        };
        let engines = match engines {
            Some(path) => path,
            None => default_engines(root)?,
        };
        let mode = if root { 0o711 } else { 0o700 };
        make(&state, mode)?;
        let state = state.canonicalize().with_context(|| format!("state folder {}", state.display()))?;
        let run = default_run(root);
        make(&run, mode)?;
        let own = rustix::process::geteuid().as_raw();
        if std::fs::metadata(&run)?.uid() != own {
            bail!("{} belongs to another account", run.display());
        }
        if root {
            for folder in [&state, &engines] {
                passable(folder)?;
            }
        }
        Ok(Self { state, run, engines })
    }
}

/// Where the state is kept.
///
/// # Errors
/// There is no home folder.
pub fn default_state(root: bool) -> anyhow::Result<PathBuf> {
    if root {
        return Ok(PathBuf::from("/var/lib/coffer"));
    }
    Ok(std::env::home_dir().context("no home folder; give --state-dir")?.join(".local/state/coffer"))
}

/// Where socket folders are made.
pub fn default_run(root: bool) -> PathBuf {
    if root {
        PathBuf::from("/run/coffer")
    } else if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_dir()) {
        PathBuf::from(runtime).join("coffer")
    } else {
        PathBuf::from(format!("/tmp/coffer-{}", rustix::process::geteuid().as_raw()))
    }
}

/// Where `make engines` puts the engines.
///
/// # Errors
/// There is no home folder.
pub fn default_engines(root: bool) -> anyhow::Result<PathBuf> {
    if root {
        return Ok(PathBuf::from("/var/cache/coffer/engines"));
    }
    Ok(std::env::home_dir().context("no home folder; give --engines")?.join(".cache/coffer/engines"))
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("make the folder {}", path.display()))
}

/// Whether any account can pass through `folder` and all above it.
///
/// # Errors
/// The first that none can pass, with the command that opens it.
pub fn passable(folder: &Path) -> anyhow::Result<()> {
    let whole = folder.canonicalize().with_context(|| format!("folder {}", folder.display()))?;
    for part in whole.ancestors() {
        let mode = std::fs::metadata(part).with_context(|| format!("folder {}", part.display()))?.mode();
        if mode & 0o001 == 0 {
            bail!(
                "the engines' account cannot pass through {} (mode {:o}), which is above {}; choose another folder or: \
                 chmod o+x {}",
                part.display(),
                mode & 0o7777,
                whole.display(),
                part.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let inner = folder.path().join("inner");
        make(&inner, 0o711).unwrap();
        let why = format!("{:#}", passable(&inner).unwrap_err());
        assert!(why.contains(&format!("through {} (mode 700)", folder.path().display())), "{why}");
    }
}
