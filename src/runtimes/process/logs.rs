//! A server's log, kept short: the file that the server writes to, at most [`MOST`] bytes and what comes while we look,
//! and the end of what was before it, as much again.
//!
//! The server appends to the file itself, by an open file of its own, so it cannot be given another one; and what it
//! writes may be anybody's doing, as fast as the disk takes it. So the file is *turned* in its place: its end is copied
//! to `server.log.1`, and what was copied, up to a block of the file system, is taken out of the file's beginning
//! (`FALLOC_FL_COLLAPSE_RANGE` of fallocate(2): ext4, xfs). A line that is written meanwhile stays: no line of a burst
//! is lost but those that are too old to be kept. Where the file system cannot do that, what was written during the copy
//! is copied, too, and the file is emptied; what comes in that moment is lost, and a line says how much. Where the copy
//! fails, since the disk is full, the lines go all the same.
//!
//! A shim looks when the kernel says that the file was written to. For a server whose shim was killed, or is of an older
//! build, the worker looks when it observes the server.
//!
//! # If we die here
//! The copy is made under another name and renamed: it is there whole or not at all. Killed after it and before the lines
//! are taken out of the file, we leave them in both files; the next look goes on.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;
use std::process::Child;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, fallocate, inotify};
use rustix::process::{Pid, PidfdFlags};

/// How long the file may become, in bytes, before it is turned; the older one is no longer.
pub const MOST: u64 = 8 * 1024 * 1024;

/// Where it lies in the generation's folder.
const LOG: &str = "log/server.log";
const OLDER: &str = "log/server.log.1";
const NEW: &str = "log/server.log.1.new";

/// The pause between two looks while the server writes.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// The pause between two looks where the kernel does not tell of writes.
const BLIND_PAUSE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Turns the log of the generation in `folder` if it is too long; gives whether it was.
pub fn turn(folder: &Path) -> std::io::Result<bool> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let path = folder.join(LOG);
    // Looked at by its name first: nearly always it is short.
    match std::fs::symlink_metadata(&path) {
        Ok(facts) if facts.len() > MOST => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut log = OpenOptions::new().read(true).append(true).custom_flags(no_follow).open(&path)?;
    // Another turns it at this moment.
    if log.try_lock().is_err() {
        return Ok(false);
    }
    let facts = log.metadata()?;
    if facts.len() <= MOST {
        return Ok(false);
    }
    // Whole blocks alone can be taken out, and something must stay behind them.
    let block = facts.blksize().max(1);
    let copied = (facts.len() - 1) / block * block;
    let mut kept = keep(folder, &log, copied, &facts, no_follow);
    let mut lost = if kept.is_ok() { 0 } else { copied };
    if fallocate(&log, FallocateFlags::COLLAPSE_RANGE, 0, copied).is_err() {
        // What came since the copy began, until nothing more comes, or as much again.
        let reached = match &mut kept {
            Ok(older) => copied + std::io::copy(&mut (&log).take(MOST), older).unwrap_or_default(),
            Err(_) => 0,
        };
        lost = log.metadata()?.len().saturating_sub(reached);
        log.set_len(0)?;
    }
    if kept.is_err() {
        // What is left of the try takes room that is wanted.
        let _ = std::fs::remove_file(folder.join(NEW));
    }
    if lost > 0 {
        let why = kept.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default();
        // It may be that there is no room for the line either.
        let _ = writeln!(log, "coffer: {lost} bytes of this log were left out{why}");
    }
    Ok(true)
}

/// Keeps what lies before `until` as the older file, its server's account's, and gives that file. `log` stands at
/// `until` then.
fn keep(
    folder: &Path,
    mut log: &File,
    until: u64,
    owner: &Metadata,
    no_follow: i32,
) -> std::io::Result<File> {
    let new = folder.join(NEW);
    let mut older = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(&new)?;
    if rustix::process::geteuid().is_root() {
        fchown(&older, Some(owner.uid()), Some(owner.gid()))?;
    }
    log.seek(SeekFrom::Start(until.saturating_sub(MOST)))?;
    std::io::copy(&mut log.take(until.min(MOST)), &mut older)?;
    std::fs::rename(new, folder.join(OLDER))?;
    Ok(older)
}

/// The last `bytes` bytes of the log of the generation in `folder`, of both files.
pub fn end(folder: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut parts = Vec::new();
    let mut wanted = bytes;
    for name in [LOG, OLDER] {
        let mut file = match File::open(folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
        let mut part = Vec::new();
        file.take(wanted).read_to_end(&mut part)?;
        wanted = wanted.saturating_sub(part.len() as u64);
        parts.push(part);
    }
    parts.reverse();
    Ok(parts.concat())
}

/// Keeps the log of the generation in `folder` short until the server, our child, has ended.
pub fn keep_short(folder: &Path, server: &Child) {
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw);
    let Some(Ok(server)) = pid.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty())) else {
        return;
    };
    let writes = watch(folder);
    loop {
        // What fails is tried again with the next line that is written.
        let _ = turn(folder);
        let seen = match &writes {
            // Not at once again: the server may write without a pause.
            Some(writes) if !ended_within(&server, None, Some(&PAUSE)) => {
                forget(writes);
                // What came before it was forgotten counts as well.
                let _ = turn(folder);
                ended_within(&server, Some(writes), None)
            }
            Some(_) => true,
            None => ended_within(&server, None, Some(&BLIND_PAUSE)),
        };
        if seen {
            return;
        }
    }
}

/// Has the kernel tell of writes to the log.
fn watch(folder: &Path) -> Option<OwnedFd> {
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    let writes = inotify::init(flags).ok()?;
    inotify::add_watch(&writes, folder.join(LOG), inotify::WatchFlags::MODIFY).ok()?;
    Some(writes)
}

/// Reads what the kernel has told so far.
fn forget(writes: &OwnedFd) {
    let mut told = [0; 4096];
    while rustix::io::read(writes, &mut told).is_ok_and(|length| length > 0) {}
}

/// Waits until the server has ended, or something was written, or for so long; gives whether the server has ended.
fn ended_within(server: &OwnedFd, writes: Option<&OwnedFd>, patience: Option<&Timespec>) -> bool {
    let one = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut waits: Vec<PollFd> =
        std::iter::once(server.as_fd()).chain(writes.map(|fd| fd.as_fd())).map(one).collect();
    match poll(&mut waits, patience) {
        Ok(_) => waits.first().is_some_and(|server| !server.revents().is_empty()),
        // A signal that does nothing; what is wrong otherwise ends the watch, and not the server.
        Err(rustix::io::Errno::INTR) => false,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        let log = OpenOptions::new().create(true).append(true).open(folder.path().join(LOG)).unwrap();
        (folder, log)
    }

    #[test]
    fn a_log_is_turned_in_its_place_and_its_end_is_read_across_both_files() {
        let (folder, mut log) = place();
        let at = folder.path();
        assert!(!turn(at).unwrap());
        let most = usize::try_from(MOST).unwrap();
        log.write_all(&vec![b'a'; most]).unwrap();
        assert!(!turn(at).unwrap());
        log.write_all(b"bcd").unwrap();
        assert!(turn(at).unwrap());
        log.write_all(b"efg").unwrap();
        let (older, newer) = (std::fs::read(at.join(OLDER)).unwrap(), std::fs::read(at.join(LOG)).unwrap());
        assert!(newer.len() <= 4096 + 6, "{}", newer.len());
        // Each line is in one of them, and once.
        let all = [older, newer].concat();
        assert!(all.len() >= most && all.ends_with(b"abcdefg"));
        assert_eq!(all.iter().filter(|byte| **byte != b'a').count(), 6);
        assert_eq!(end(at, 2).unwrap(), b"fg");
        assert_eq!(end(at, 5).unwrap(), b"cdefg");
        assert_eq!(end(at, 2 * MOST).unwrap(), all);
    }

    /// A server that writes as fast as it can, and is silent then: its last lines are those that say why.
    #[test]
    fn the_last_lines_of_a_burst_are_kept() {
        let (folder, mut log) = place();
        let writer = std::thread::spawn(move || {
            for line in 0..200_000 {
                log.write_all(format!("{line:0>511}\n").as_bytes()).unwrap();
            }
        });
        while !writer.is_finished() {
            turn(folder.path()).unwrap();
        }
        writer.join().unwrap();
        turn(folder.path()).unwrap();
        let end = String::from_utf8(end(folder.path(), MOST).unwrap()).unwrap();
        // The file system of this folder may be one that cannot take blocks out; then a line says what is missing.
        let whole = !end.contains("coffer: ");
        let lines: Vec<u64> = end.lines().skip(1).filter_map(|line| line.parse().ok()).collect();
        assert!(!whole || lines.len() > 16_000 && *lines.last().unwrap() == 199_999, "{}", lines.len());
        assert!(!whole || lines.windows(2).all(|two| two[0] + 1 == two[1]));
    }

    #[test]
    fn what_another_turns_is_left_alone() {
        let (folder, mut log) = place();
        log.write_all(&vec![b'a'; usize::try_from(MOST).unwrap() + 1]).unwrap();
        let other = File::open(folder.path().join(LOG)).unwrap();
        other.lock().unwrap();
        assert!(!turn(folder.path()).unwrap());
        drop(other);
        assert!(turn(folder.path()).unwrap());
    }
}
