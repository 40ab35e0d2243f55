//! Shared memory that an account's processes left when they were killed: PostgreSQL's has names, and outlives them. It
//! holds what the account's tenant had, and the next one's processes could read it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::runtimes::Error;

/// Where named shared memory lies.
const NAMED: &str = "/dev/shm";

/// The list of the other kind, which has numbers: `key shmid perms size cpid lpid nattch uid ..`.
const NUMBERED: &str = "/proc/sysvipc/shm";

/// Removes all that the account has; no process of it is left.
pub fn remove(user: u32) -> Result<(), Error> {
    let doing = "remove the shared memory of an account";
    for entry in std::fs::read_dir(NAMED).into_iter().flatten().flatten() {
        let path = entry.path();
        if owner(&path) == Some(user) && path.is_file() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(doing)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    let list = std::fs::read_to_string(NUMBERED).unwrap_or_default();
    for number in list.lines().filter_map(|line| number_of(line, user)) {
        remove_number(number);
    }
    Ok(())
}

fn owner(path: &Path) -> Option<u32> {
    std::fs::symlink_metadata(path).ok().map(|facts| facts.uid())
}

/// The number of a segment of the user's that nobody has attached.
fn number_of(line: &str, user: u32) -> Option<i32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (number, attached, uid) = (fields.get(1)?, fields.get(6)?, fields.get(7)?);
    (*attached == "0" && uid.parse() == Ok(user)).then(|| number.parse().ok()).flatten()
}

fn remove_number(number: i32) {
    #[expect(unsafe_code, reason = "the C library's own; the crates at hand have nothing like it")]
    unsafe extern "C" {
        fn shmctl(id: i32, command: i32, buffer: *mut std::ffi::c_void) -> i32;
    }
    const REMOVE: i32 = 0;
    #[expect(unsafe_code, reason = "removing takes no buffer")]
    unsafe {
        // Gone by itself is what we want.
        shmctl(number, REMOVE, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_removed() {
        let line =
            "   5432001          7   600         56  4711  4712      0   997   997   997   997 1 2 3 4096 0";
        assert_eq!(number_of(line, 997), Some(7));
        assert_eq!(number_of(line, 998), None);
        assert_eq!(number_of(&line.replace("      0   997", "      2   997"), 997), None);
        assert_eq!(number_of("       key      shmid perms", 0), None);
    }
}
