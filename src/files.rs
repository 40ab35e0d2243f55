//! Files that are made once by whoever comes first, and that only their owner may read.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Makes the file with this content, unless there is one: whole or not at all, 0600. Of several processes that make it
/// at once one makes it, and all of them read its content afterwards.
///
/// # Errors
/// The file cannot be written.
pub fn make_once(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let made = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        // A link is refused where a rename would replace what another has made meanwhile.
        match std::fs::hard_link(&fresh, path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    })();
    let removed = std::fs::remove_file(&fresh);
    made?;
    removed?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_one_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let makers: Vec<_> = (0..16_u8)
            .map(|number| {
                let path = path.clone();
                std::thread::spawn(move || {
                    make_once(&path, &[number; 64]).unwrap();
                    std::fs::read(&path).unwrap()
                })
            })
            .collect();
        let seen: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(seen.iter().all(|content| *content == seen[0] && content.len() == 64), "{seen:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
