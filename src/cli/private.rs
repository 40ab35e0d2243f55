//! Files that only we can read.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Writes a file that only we can read: whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let doing = || format!("write {}", path.display());
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(doing)?;
    file.write_all(text.as_bytes()).with_context(doing)?;
    file.sync_all().with_context(doing)?;
    std::fs::rename(&fresh, path).with_context(doing)
}
