//! Which account of the pool a generation runs as, over all services of this machine; and that a process of an
//! account's earlier tenant is not there any more.
//!
//! What the store's row says is a wish, and the count of what the host can give: it knows of one service only. Here the
//! truth is who owns the `data` folders. A list of the state folders of this machine ([`Config::registry`], root's)
//! says where to look; it outlives a boot, since the folders do. An account is in use while it owns a generation's
//! data in any of them, and one in use is never given to a second instance: a service whose wish is another's gets the
//! next free one. Generations with the same wish in one state folder are one instance's, and share its account.
//!
//! All of it happens under one lock of the machine: to choose, to end what is left, and to make the folder that says
//! so.
//!
//! # Why a process is sent to kill
//! Whoever reads `/proc` and kills what it finds never catches up with one that forks and ends. `kill(-1)` by a process
//! of the account itself reaches all of them at once, and the kernel lets none of them fork meanwhile. That process
//! can be stopped by those that it is to kill, so root looks after it.
//!
//! # If we die here
//! The lock ends with us. A folder that was made is found by its owner; one that was not given away yet gets an
//! account again. A state folder that is not there any more is taken off the list; it comes back with its service's
//! start, which says so when an account has come to be two services' meanwhile.
//!
//! [`Config::registry`]: super::Config::registry

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::runtimes::Error;

/// How long an account's processes may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the one that kills may take before root looks after it.
const KILLER_PATIENCE: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_millis(10);

/// The name of the caller's own account.
pub fn caller() -> Result<String, Error> {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
    let digits = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&digits));
    let name = line.and_then(|line| line.split(':').next());
    name.map(str::to_owned).ok_or(Error::Nameless(uid))
}

/// The list of this machine's state folders, locked.
pub struct Registry {
    folder: PathBuf,
    _lock: File,
}

impl Registry {
    /// Waits for the lock of the machine.
    pub fn lock(folder: &Path) -> Result<Self, Error> {
        let doing = "lock the list of this machine's state folders";
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io(doing))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join("lock"))
            .map_err(Error::io(doing))?;
        lock.lock().map_err(Error::io(doing))?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    fn states(&self) -> Result<BTreeSet<PathBuf>, Error> {
        let text = match std::fs::read(self.folder.join("states")) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(Error::io("read the list of state folders")(error)),
        };
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| PathBuf::from(std::ffi::OsString::from_vec(line.to_vec()))).collect())
    }

    fn write(&self, states: &BTreeSet<PathBuf>) -> Result<(), Error> {
        let doing = "write the list of state folders";
        let new = self.folder.join("states.new");
        let written = (|| {
            let mut file =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            for state in states {
                file.write_all(state.as_os_str().as_bytes())?;
                file.write_all(b"\n")?;
            }
            file.sync_all()?;
            std::fs::rename(&new, self.folder.join("states"))?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(Error::io(doing))
    }

    /// Puts a state folder on the list, and takes those off that are gone. Whether it is new there.
    pub fn add(&self, state: &Path) -> Result<bool, Error> {
        let doing = "find the state folder";
        let state = state.canonicalize().map_err(Error::io(doing))?;
        if state.as_os_str().as_bytes().contains(&b'\n') {
            return Err(Error::io("list the state folder")(ErrorKind::InvalidFilename.into()));
        }
        let mut states = self.states()?;
        if states.contains(&state) {
            return Ok(false);
        }
        states.retain(|each| each.exists());
        states.insert(state);
        self.write(&states)?;
        Ok(true)
    }

    /// Takes a state folder off the list.
    pub fn remove(&self, state: &Path) -> Result<(), Error> {
        let state = state.canonicalize().map_err(Error::io("find the state folder"))?;
        let mut states = self.states()?;
        if states.remove(&state) { self.write(&states) } else { Ok(()) }
    }

    /// Who owns data in any state folder of the list, but for the generation's folder `without`.
    pub fn owners(&self, without: Option<&Path>) -> Result<BTreeSet<u32>, Error> {
        let without = without.and_then(|folder| folder.canonicalize().ok());
        let mut owners = BTreeSet::new();
        for state in self.states()? {
            for (folder, owner) in owned(&state)? {
                if without.as_ref() != Some(&folder) {
                    owners.insert(owner);
                }
            }
        }
        Ok(owners)
    }
}

/// The generations' folders of a state folder, each with its data's owner.
pub fn owned(state: &Path) -> Result<Vec<(PathBuf, u32)>, Error> {
    let doing = "look whose the generations are";
    let entries = match std::fs::read_dir(state.join("generations")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(doing)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry.map_err(Error::io(doing))?.path();
        match std::fs::symlink_metadata(folder.join("data")) {
            Ok(facts) => found.push((folder, facts.uid())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Error::io(doing)(error)),
        }
    }
    Ok(found)
}

/// Ends every process of the account; the caller has seen to it that it is nobody's. Blocks.
#[expect(
    clippy::disallowed_methods,
    reason = "processes tell nobody that they end, and the wait has a deadline"
)]
pub fn end_all(account: (u32, u32)) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let killed = kill_all(account);
        let left = living(account.0)?;
        if killed && left.is_empty() {
            return super::memory::remove(account.0);
        }
        if !told && !left.is_empty() {
            tracing::warn!(uid = account.0, pids = ?left, "processes of an account's earlier server killed");
            told = true;
        }
        if Instant::now() > deadline {
            return Err(Error::AccountInUse { uid: account.0, processes: left.len() });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills all of the account's processes at once; whether that was done.
#[expect(clippy::disallowed_methods, reason = "a thread's end is looked for with a deadline")]
fn kill_all((user, group): (u32, u32)) -> bool {
    let mut command = Command::new("/nothing/is/run");
    command.uid(user).gid(group).current_dir("/");
    #[expect(unsafe_code, reason = "runs between fork and exec: a few system calls, no allocation, no lock")]
    unsafe {
        command.pre_exec(move || {
            use rustix::io::Errno;
            let me = rustix::process::getuid().as_raw();
            // Who may signal the first process may signal everybody: never from here.
            let harmless = rustix::process::test_kill_process(Pid::INIT) == Err(Errno::PERM);
            if me == 0 || me != user || rustix::process::geteuid().as_raw() != user || !harmless {
                return Err(Errno::PERM.into());
            }
            // To "group 1" is to -1: all that this account may signal, but not the sender.
            match rustix::process::kill_process_group(Pid::INIT, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH | Errno::PERM) => Err(Errno::CANCELED.into()),
                Err(error) => Err(error.into()),
            }
        });
    }
    let canceled = Some(rustix::io::Errno::CANCELED.raw_os_error());
    let since = Instant::now();
    std::thread::scope(|scope| {
        // It never becomes a program: what it has done comes back as the error of the start.
        let killer =
            scope.spawn(move || command.spawn().err().and_then(|error| error.raw_os_error()) == canceled);
        while !killer.is_finished() {
            std::thread::sleep(PAUSE / 10);
            if since.elapsed() > KILLER_PATIENCE {
                // They may have stopped it. It is the account's, too.
                for pid in living(user).unwrap_or_default() {
                    kill(pid, user);
                }
            }
        }
        killer.join().unwrap_or(false)
    })
}

fn kill(pid: i32, user: u32) {
    let Some(number) = Pid::from_raw(pid) else { return };
    let Ok(handle) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { return };
    // The handle now stands for one process: see that it is still the right one.
    if users(pid).is_some_and(|users| users.contains(&user)) {
        let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
    }
}

/// The processes of a user that have not ended.
fn living(user: u32) -> Result<Vec<i32>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(Error::io("read /proc"))? {
        let pid = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        if let Some(pid) = pid
            && users(pid).is_some_and(|users| users.contains(&user))
            && super::processes::lives(pid)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The real, effective and saved user of a process.
pub fn users(pid: i32) -> Option<[u32; 3]> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let mut ids = line.split_whitespace().map(str::parse::<u32>);
    Some([ids.next()?.ok()?, ids.next()?.ok()?, ids.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_is_listed_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        for state in [&one, &two] {
            std::fs::create_dir_all(state.join("generations/x/data")).unwrap();
        }
        let registry = Registry::lock(&folder.path().join("registry")).unwrap();
        assert!(registry.owners(None).unwrap().is_empty());
        assert!(registry.add(&one).unwrap() && !registry.add(&one).unwrap());
        let own = rustix::process::geteuid().as_raw();
        assert!(registry.owners(None).unwrap().contains(&own));
        assert!(registry.owners(Some(&one.join("generations/x"))).unwrap().is_empty());
        std::fs::remove_dir_all(&one).unwrap();
        assert!(registry.owners(None).unwrap().is_empty());
        registry.add(&two).unwrap();
        assert_eq!(registry.states().unwrap().len(), 1);
        registry.remove(&two).unwrap();
        assert!(registry.states().unwrap().is_empty());
    }

    #[test]
    fn a_process_has_the_user_that_runs_it() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(users(pid).unwrap()[1], rustix::process::geteuid().as_raw());
        assert!(users(0).is_none());
    }
}
