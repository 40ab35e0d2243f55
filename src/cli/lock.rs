//! A file that one live process holds: who has the lock is alive, whatever a pid file would say. The holder writes a
//! line about itself into it for others to read.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// A held lock; it ends with the process or when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// What a try gave.
#[derive(Debug)]
pub enum Tried {
    /// It is ours.
    Held(Lock),
    /// It is another's, who wrote this.
    Anothers(String),
}

impl Lock {
    /// Tries to get the lock of `path`, which is made if missing.
    ///
    /// # Errors
    /// The file cannot be opened or locked for another reason.
    pub fn try_hold(path: &Path) -> std::io::Result<Tried> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Tried::Held(Self { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(Tried::Anothers(text.trim().to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Like [`Self::try_hold`], but waits up to `patience` for another to let go. A process that was killed while it
    /// started a child has its lock until that child runs its own program, a moment later.
    ///
    /// # Errors
    /// As [`Self::try_hold`].
    #[expect(
        clippy::disallowed_methods,
        reason = "a lock tells nobody that it ends, and the wait has a deadline"
    )]
    pub fn hold_within(path: &Path, patience: Duration) -> std::io::Result<Tried> {
        let end = Instant::now() + patience;
        loop {
            match Self::try_hold(path)? {
                Tried::Anothers(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                tried => return Ok(tried),
            }
        }
    }

    /// Who holds the lock of `path`; `None` when nobody does, or there is no such file, which is not made.
    ///
    /// # Errors
    /// The file cannot be opened or locked for another reason.
    pub fn holder(path: &Path) -> std::io::Result<Option<String>> {
        if !path.exists() {
            return Ok(None);
        }
        match Self::try_hold(path)? {
            Tried::Held(_) => Ok(None),
            Tried::Anothers(line) => Ok(Some(line)),
        }
    }

    /// Writes a line about the holder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, line: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{line}")?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_the_other_reads_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let Tried::Held(mut lock) = Lock::try_hold(&path).unwrap() else { panic!("nobody holds it") };
        lock.write("pid 7").unwrap();
        assert!(matches!(Lock::try_hold(&path).unwrap(), Tried::Anothers(who) if who == "pid 7"));
        let waits = {
            let path = path.clone();
            std::thread::spawn(move || Lock::hold_within(&path, Duration::from_secs(20)).unwrap())
        };
        drop(lock);
        assert!(matches!(waits.join().unwrap(), Tried::Held(_)));
    }
}
