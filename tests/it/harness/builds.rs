//! Two builds of one series side by side: an engines folder of links, to everybody's engines and to the older builds
//! that set-up keeps apart from them (`COFFER_TEST_BUILDS`), so that no other service on this machine offers them.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::house::{Build, House};
use super::roles::engines;
use super::skip;

/// A service that has the older build of a series, too.
pub struct Builds {
    /// The service.
    pub house: House,
    /// Where its engines are.
    pub folder: tempfile::TempDir,
}

impl Builds {
    /// Starts one for the engine's series, as `mariadb` and `10.11`; `None`, with a line that says why, where no older
    /// build is there.
    pub async fn start(engine: &str, series: &str) -> Option<Self> {
        let older = match older_build(engine, series) {
            Ok(folder) => folder,
            Err(why) => {
                skip(&format!("builds::{engine}: {why}"));
                return None;
            }
        };
        let folder = tempfile::Builder::new().prefix("coffer-builds-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for entry in std::fs::read_dir(engines()).unwrap() {
            let entry = entry.unwrap();
            if entry.path().join("bin").is_dir() {
                symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let link = folder.path().join(older.file_name().unwrap());
        if !link.exists() {
            symlink(&older, link).unwrap();
        }
        let build = Build { engines: Some(folder.path().to_owned()), ..Build::default() };
        Some(Self { house: House::build(&[], build).await, folder })
    }
}

/// Where the older build lies: beside the engines, or where set-up keeps it for the tests.
fn older_build(engine: &str, series: &str) -> Result<PathBuf, String> {
    let (root, newest) = (format!("{engine}-{series}@release"), format!("{engine}-{series}"));
    let folders = [engines(), super::view::place("COFFER_TEST_BUILDS", "builds")];
    let Some(older) = folders.into_iter().map(|folder| folder.join(&root)).find(|at| at.is_dir()) else {
        return Err(format!("no older build of {engine} {series} is fetched"));
    };
    let version = |root: &Path| std::fs::read_to_string(root.join("VERSION")).unwrap_or_default();
    if version(&older) == version(&engines().join(newest)) {
        return Err(format!("both builds of {engine} {series} are {}", version(&older).trim()));
    }
    Ok(older)
}
