//! The folders of the generations: made, measured, removed; and the lock that guards each.
//!
//! All of it blocks: call it from a blocking thread.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek as _, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::domain::datastore::EngineKind;
use crate::domain::ids::GenerationId;
use crate::runtimes::process::groups::ControlGroups;
use crate::runtimes::process::{Config, accounts, logs};
use crate::runtimes::{DataFile, Error, Layout};

/// The longest socket path that we take; the kernel's own end is 107.
const SOCKET_PATH_MAX: usize = 100;

/// The name of the account that a generation was made for, in a file beside the data.
const WISH: &str = "account";

/// The file that a server and its shim hold locked.
const RUNNING: &str = "running";

/// How often a lock that is held is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// The folders of all generations.
pub struct Volumes {
    config: Config,
    control_groups: OnceLock<Result<ControlGroups, String>>,
}

/// Whoever holds it alone starts, stops or drops the generation's server. Ends with the value, or with the process.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// The same lock once more, for a process that is to hold it, too: it ends with the last of them.
    pub fn share(&self) -> Result<OwnedFd, Error> {
        Ok(self.0.try_clone().map_err(Error::io("share the generation's lock"))?.into())
    }
}

impl Volumes {
    pub fn new(config: Config) -> Self {
        Self { config, control_groups: OnceLock::new() }
    }

    /// What holds servers to their limits; why nothing does.
    pub fn control_groups(&self) -> Result<&ControlGroups, String> {
        let found = self.control_groups.get_or_init(|| match self.config.control_groups {
            true => ControlGroups::open(),
            false => Err("they are turned off".to_owned()),
        });
        found.as_ref().map_err(Clone::clone)
    }

    /// As whom the generation's server and jobs run: its data folder's owner. `None` is the caller.
    pub fn account(&self, generation: GenerationId) -> Result<Option<(u32, u32)>, Error> {
        if self.config.account.is_none() {
            return Ok(None);
        }
        let data = self.folder(generation).join("data");
        let facts =
            std::fs::symlink_metadata(&data).map_err(Error::io("find the generation's data folder"))?;
        if facts.uid() == rustix::process::geteuid().as_raw() {
            // Made, and not given away yet; nobody may run as us.
            return Err(Error::io("find the generation's account")(ErrorKind::NotFound.into()));
        }
        Ok(Some((facts.uid(), facts.gid())))
    }

    /// Who alone can run the generation's server; `None` while there is nobody to whom its data was given.
    pub fn owner(&self, generation: GenerationId) -> Result<Option<u32>, Error> {
        let own = rustix::process::geteuid().as_raw();
        if self.config.account.is_none() {
            return Ok(Some(own));
        }
        match std::fs::symlink_metadata(self.folder(generation).join("data")) {
            Ok(facts) => Ok(Some(facts.uid()).filter(|owner| *owner != own)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("find the generation's data folder")(error)),
        }
    }

    /// Where the engines' programs lie, as the kernel names it: the folder, and where its roots are links, their ends.
    pub fn programs(&self) -> Vec<PathBuf> {
        let folder = &self.config.engines_dir;
        let roots = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let links = roots.map(|root| root.path()).filter(|root| root.is_symlink());
        std::iter::once(folder.clone()).chain(links).filter_map(|path| path.canonicalize().ok()).collect()
    }

    /// The program that is a server's parent.
    pub fn shim(&self) -> &Path {
        &self.config.shim
    }

    /// The account of the pool that has that user id.
    fn of_pool(&self, user: u32) -> Option<(&str, (u32, u32))> {
        self.config.pool.iter().find(|(_, (uid, _))| *uid == user).map(|(name, ids)| (name.as_str(), *ids))
    }

    /// The account that the generation in `folder` was made for: by its note, else, for those of before there were
    /// notes, by its owner.
    fn wish(&self, folder: &Path, owner: u32) -> Result<Option<String>, Error> {
        match std::fs::read_to_string(folder.join(WISH)) {
            Ok(wish) => Ok(Some(wish)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(self.of_pool(owner).map(|(name, _)| name.to_owned()))
            }
            Err(error) => Err(Error::io("read the generation's account")(error)),
        }
    }

    /// User and group of an account of the pool for the generation, `wish` if that is possible: the one that its
    /// instance has here already, or one that nobody on this machine uses and of which no process is left.
    fn choose(
        &self,
        registry: &accounts::Registry,
        generation: GenerationId,
        wish: &str,
    ) -> Result<(u32, u32), Error> {
        let Some(wished) = self.config.pool.get(wish) else {
            return Err(Error::NoSuchAccount(wish.to_owned()));
        };
        let folder = self.folder(generation);
        for (other, owner) in accounts::owned(&self.config.state_dir)? {
            let Some((_, account)) = self.of_pool(owner) else { continue };
            let same = self.wish(&other, owner)?.as_deref() == Some(wish);
            if other == folder && !same {
                return Err(Error::Foreign { folder: last_parts(&other), owner, wanted: wished.0 });
            }
            if same {
                return Ok(account);
            }
        }
        let taken = registry.owners(None)?;
        let others = self.config.pool.iter().filter(|(name, _)| *name != wish).map(|(_, account)| account);
        let mut stuck = None;
        for account in std::iter::once(wished).chain(others).filter(|(user, _)| !taken.contains(user)) {
            match accounts::end_all(*account) {
                Ok(()) => return Ok(*account),
                // The next try begins here again; another account serves as well.
                Err(error @ Error::AccountInUse { .. }) if stuck.is_none() => stuck = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(stuck.unwrap_or(Error::NoAccountFree(self.config.pool.len())))
    }

    /// Puts our folders on the machine's list, if one of them has an account of the pool.
    pub fn announce(&self) -> Result<(), Error> {
        if self.config.pool.is_empty() {
            return Ok(());
        }
        let ours = accounts::owned(&self.config.state_dir)?;
        if !ours.iter().any(|(_, owner)| self.of_pool(*owner).is_some()) {
            return Ok(());
        }
        let registry = accounts::Registry::lock(&self.config.registry)?;
        let others = registry.owners(None)?;
        if registry.add(&self.config.state_dir)? {
            for (folder, owner) in ours.iter().filter(|(_, owner)| others.contains(owner)) {
                if let Some((name, _)) = self.of_pool(*owner) {
                    let folder = last_parts(folder);
                    tracing::error!(
                        folder,
                        account = name,
                        "another service of this machine uses the account, too"
                    );
                }
            }
        }
        Ok(())
    }

    /// Ends what runs as the generation's account, when it is one of the pool and has no other data on this machine;
    /// the caller holds the generation's lock and its server is stopped.
    pub fn end_account(&self, generation: GenerationId) -> Result<(), Error> {
        let Some((_, account)) = self.owner(generation)?.and_then(|owner| self.of_pool(owner)) else {
            return Ok(());
        };
        let registry = accounts::Registry::lock(&self.config.registry)?;
        registry.add(&self.config.state_dir)?;
        if registry.owners(Some(&self.folder(generation)))?.contains(&account.0) {
            return Ok(());
        }
        accounts::end_all(account)
    }

    /// Takes us off the machine's list when none of our folders is left.
    pub fn leave(&self) -> Result<(), Error> {
        if self.config.pool.is_empty() {
            return Ok(());
        }
        let registry = accounts::Registry::lock(&self.config.registry)?;
        if accounts::owned(&self.config.state_dir)?.is_empty() {
            registry.remove(&self.config.state_dir)?;
        }
        Ok(())
    }

    /// The generation's folder.
    pub fn folder(&self, generation: GenerationId) -> PathBuf {
        self.config.state_dir.join("generations").join(generation.to_string())
    }

    fn socket_folder(&self, generation: GenerationId) -> PathBuf {
        let mut folder = super::socket_path(&self.config.run_dir, generation);
        folder.pop();
        folder
    }

    /// The generation's socket.
    pub fn socket(&self, generation: GenerationId) -> Result<PathBuf, Error> {
        let path = super::socket_path(&self.config.run_dir, generation);
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_MAX {
            return Err(Error::PathTooLong(path));
        }
        Ok(path)
    }

    pub fn layout(
        &self,
        generation: GenerationId,
        engine: EngineKind,
        root: PathBuf,
    ) -> Result<Layout, Error> {
        let folder = self.folder(generation);
        let socket = self.socket(generation)?.with_file_name(super::socket_name(engine));
        Ok(Layout {
            data: folder.join("data"),
            tmp: folder.join("tmp"),
            config: folder.join("config"),
            log: folder.join("log/server.log"),
            socket,
            root,
        })
    }

    /// Makes what is missing of the generation's folders, as the named account's or another of the pool.
    pub fn ensure(&self, generation: GenerationId, wish: Option<&str>) -> Result<(), Error> {
        // Held until the folders say by their owner whose the account is.
        let mut registry = None;
        let account = match wish {
            None => self.config.account,
            Some(wish) => {
                if !self.config.pool.contains_key(wish) {
                    return Err(Error::NoSuchAccount(wish.to_owned()));
                }
                make_parents(&self.config.state_dir)?;
                let registry = registry.insert(accounts::Registry::lock(&self.config.registry)?);
                registry.add(&self.config.state_dir)?;
                Some(self.choose(registry, generation, wish)?)
            }
        };
        let account_group = account.map(|(_, group)| group);
        let folder = self.folder(generation);
        if let Some((user, _)) = account {
            for part in ["data", "tmp", "config", "log"] {
                not_anothers(&folder.join(part), user)?;
            }
        }
        make_parents(&self.config.state_dir)?;
        let generations = self.config.state_dir.join("generations");
        make_folder(&generations, 0o711, None, None)?;
        make_folder(&folder, 0o710, None, account_group)?;
        if let Some(wish) = wish {
            write_whole(&folder.join(WISH), wish.as_bytes(), None)?;
        }
        if there(std::fs::symlink_metadata(folder.join("data")))?.is_none() {
            self.forget_server(generation)?;
        }
        let (user, group) = account.unzip();
        // First, since it says whose the account is.
        make_folder(&folder.join("data"), 0o700, user, group)?;
        make_folder(&folder.join("tmp"), 0o700, user, group)?;
        make_folder(&folder.join("config"), 0o710, None, account_group)?;
        make_folder(&folder.join("log"), 0o710, None, account_group)?;
        sync_folder(&folder)?;
        sync_folder(&generations)?;
        drop(registry);
        self.ensure_sockets(generation)
    }

    /// Makes the socket folder: `/run` is empty after a boot.
    pub fn ensure_sockets(&self, generation: GenerationId) -> Result<(), Error> {
        self.socket(generation)?;
        make_parents(&self.config.run_dir)?;
        let (user, group) = self.account(generation)?.unzip();
        make_folder(&self.socket_folder(generation), 0o710, user, self.config.endpoint_group.or(group))
    }

    /// Takes the generation's lock, waiting for it; `None` when the generation has no folder.
    pub fn lock(&self, generation: GenerationId) -> Result<Option<Lock>, Error> {
        let path = self.folder(generation).join("lock");
        loop {
            let opened = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(no_follow())
                .open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("open the generation's lock")(error)),
            };
            file.lock().map_err(Error::io("take the generation's lock"))?;
            // A drop may have removed the folder while we waited: then this lock guards nothing.
            let held = file.metadata().map_err(Error::io("look at the generation's lock"))?;
            match std::fs::symlink_metadata(&path) {
                Ok(there) if there.ino() == held.ino() && there.dev() == held.dev() => {
                    return Ok(Some(Lock(file)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("look at the generation's lock")(error)),
            }
        }
    }

    fn open_running(&self, generation: GenerationId, create: bool) -> std::io::Result<File> {
        OpenOptions::new()
            .create(create)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(self.folder(generation).join(RUNNING))
    }

    /// Takes the lock that a server holds for as long as it runs, within `patience`; `None` when another has it. The
    /// caller holds the generation's lock.
    pub fn hold_running(
        &self,
        generation: GenerationId,
        patience: Duration,
    ) -> Result<Option<OwnedFd>, Error> {
        let file = self.open_running(generation, true).map_err(Error::io("open the server's lock"))?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file.into())),
                Err(TryLockError::WouldBlock) if Instant::now() < end => pause(),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(Error::io("take the server's lock")(error)),
            }
        }
    }

    /// Whether a server, or its shim, holds its lock, wherever that runs.
    pub fn is_running(&self, generation: GenerationId) -> Result<bool, Error> {
        let file = match self.open_running(generation, false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("open the server's lock")(error)),
        };
        // Shared, so that two who look do not take each other for a server.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(Error::io("try the server's lock")(error)),
        }
    }

    /// Removes the socket folder.
    pub fn remove_sockets(&self, generation: GenerationId) -> Result<(), Error> {
        remove(&self.socket_folder(generation))
    }

    /// Removes everything of the generation's; the caller holds the lock. The folder with the lock goes last, so
    /// that a drop which was killed is found and goes on.
    pub fn remove(&self, generation: GenerationId) -> Result<(), Error> {
        self.remove_sockets(generation)?;
        let folder = self.folder(generation);
        // The data last: while it is there, nobody else gets the account, whose the other parts are, too.
        for part in ["tmp", "config", "log", "data"] {
            remove(&folder.join(part))?;
        }
        remove(&folder)
    }

    /// Empties the server's folder for temporary files; the caller holds the lock and no server runs.
    pub fn empty_tmp(&self, generation: GenerationId) -> Result<(), Error> {
        let tmp = self.folder(generation).join("tmp");
        let doing = "empty the server's folder for temporary files";
        for entry in std::fs::read_dir(&tmp).map_err(Error::io(doing))? {
            remove(&entry.map_err(Error::io(doing))?.path())?;
        }
        Ok(())
    }

    pub fn write_config(&self, generation: GenerationId, name: &str, text: &str) -> Result<(), Error> {
        let path = self.folder(generation).join("config").join(name);
        let account = self.account(generation)?;
        if is_there(&path, text.as_bytes(), account) {
            // Whoever wrote it may have died before it was certain to last.
            return path.parent().map_or(Ok(()), sync_folder);
        }
        write_whole(&path, text.as_bytes(), account)
    }

    /// Writes a small file of our own beside the data.
    pub fn write_record(&self, generation: GenerationId, name: &str, text: &str) -> Result<(), Error> {
        write_whole(&self.folder(generation).join(name), text.as_bytes(), None)
    }

    /// Reads a small file of our own beside the data.
    pub fn read_record(&self, generation: GenerationId, name: &str) -> Result<Option<String>, Error> {
        match std::fs::read_to_string(self.folder(generation).join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("read {name}"))(error)),
        }
    }

    /// Opens the server's log for appending.
    pub fn open_log(&self, generation: GenerationId) -> Result<File, Error> {
        let path = self.folder(generation).join("log/server.log");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(path)
            .map_err(Error::io("open the server's log"))?;
        if let Some((user, group)) = self.account(generation)? {
            fchown(&file, Some(user), Some(group)).map_err(Error::io("give the server its log"))?;
        }
        Ok(file)
    }

    /// The log's last `bytes` bytes, also where it was turned meanwhile.
    pub fn log_end(&self, generation: GenerationId, bytes: u64) -> Result<String, Error> {
        let end = logs::end(&self.folder(generation), bytes).map_err(Error::io("read the server's log"))?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    }

    /// Turns the log where it has become too long: a shim does that, and one that was killed, or is of an older build,
    /// does not.
    pub fn turn_log(&self, generation: GenerationId) -> Result<(), Error> {
        logs::turn(&self.folder(generation)).map(drop).map_err(Error::io("turn the server's log"))
    }

    /// Bytes that are free to us where volumes lie.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        let facts = rustix::fs::statvfs(&self.config.state_dir)
            .map_err(|errno| Error::io("measure the room on the host")(errno.into()))?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    /// Bytes on disk below the data folder. What goes while we look does not count.
    pub fn used_bytes(&self, generation: GenerationId) -> Result<u64, Error> {
        bytes_below(&self.folder(generation).join("data"), &[]).map(|(all, _)| all)
    }

    /// Bytes on disk below the data folder and the one for temporary files, and those of the data folder's files whose paths
    /// in it begin so.
    pub fn taken_bytes(&self, generation: GenerationId, logs: &[&str]) -> Result<(u64, u64), Error> {
        let folder = self.folder(generation);
        let (data, logs) = bytes_below(&folder.join("data"), logs)?;
        let (temporary, _) = bytes_below(&folder.join("tmp"), &[])?;
        Ok((data + temporary, logs))
    }

    /// The files in the folders of the data folder that end so. A folder that cannot be read has none of the server's.
    pub fn data_files(&self, generation: GenerationId, endings: &[&str]) -> Result<Vec<DataFile>, Error> {
        let mut files = Vec::new();
        let Some(folders) = there(std::fs::read_dir(self.folder(generation).join("data")))? else {
            return Ok(files);
        };
        for folder in folders {
            let Some(folder) = there(folder)? else { continue };
            let Ok(entries) = std::fs::read_dir(folder.path()) else { continue };
            let named = folder.file_name().to_string_lossy().into_owned();
            let written =
                |facts: std::fs::Metadata| facts.modified().map_err(Error::io("look at the data folder"));
            let mut is_empty = true;
            for entry in entries {
                is_empty = false;
                let Some(entry) = there(entry)? else { continue };
                let name = entry.file_name().to_string_lossy().into_owned();
                if !endings.iter().any(|ending| name.ends_with(ending)) {
                    continue;
                }
                let Some(facts) = there(entry.metadata())? else { continue };
                files.push(DataFile { path: format!("{named}/{name}"), written: written(facts)? });
            }
            if is_empty && let Some(facts) = there(folder.metadata())? {
                files.push(DataFile { path: format!("{named}/"), written: written(facts)? });
            }
        }
        Ok(files)
    }

    /// The end of a file of the data folder, and its length.
    pub fn data_file_end(
        &self,
        generation: GenerationId,
        name: &str,
        most: usize,
    ) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let failed = |error| Error::io(format!("read {name}"))(error);
        let path = self.folder(generation).join("data").join(name);
        let opened = OpenOptions::new().read(true).custom_flags(no_follow()).open(path);
        let Some(mut file) = there(opened)? else { return Ok(None) };
        let length = file.metadata().map_err(failed)?.len();
        let from = length.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX));
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut end = Vec::new();
        file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut end).map_err(failed)?;
        Ok(Some((end, length)))
    }

    /// Removes a file of the data folder.
    pub fn remove_data_file(&self, generation: GenerationId, name: &str) -> Result<(), Error> {
        there(std::fs::remove_file(self.folder(generation).join("data").join(name))).map(drop)
    }

    /// The folders below the data folder that the generation's account cannot read.
    pub fn closed_folders(&self, generation: GenerationId) -> Result<Vec<String>, Error> {
        let mut closed = Vec::new();
        let Some(folders) = there(std::fs::read_dir(self.folder(generation).join("data")))? else {
            return Ok(closed);
        };
        let (user, group) = match self.account(generation)? {
            Some(account) => account,
            None => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        };
        for folder in folders {
            let Some(folder) = there(folder)? else { continue };
            let Some(facts) = there(folder.metadata())?.filter(std::fs::Metadata::is_dir) else { continue };
            let shift = match (facts.uid() == user, facts.gid() == group) {
                (true, _) => 6,
                (false, true) => 3,
                (false, false) => 0,
            };
            if user != 0 && (facts.mode() >> shift) & 0o5 != 0o5 {
                closed.push(folder.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(closed)
    }
}

fn there<T>(result: std::io::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("measure the data folder")(error)),
    }
}

fn no_follow() -> i32 {
    // The flag's bits fit: it is one of the low ones on every Linux.
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

fn make_parents(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(Error::io(format!("make the folder {}", path.display())))
}

/// Refuses a folder in which a third account has files; the caller's own folders hold `wanted`'s.
fn not_anothers(folder: &Path, wanted: u32) -> Result<(), Error> {
    let doing = "look whose the folders are";
    let fits = |owner: u32| owner == wanted || owner == rustix::process::geteuid().as_raw();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(doing)(error)),
    };
    for entry in entries {
        let owner = entry.and_then(|entry| entry.metadata()).map_err(Error::io(doing))?.uid();
        if !fits(owner) {
            return Err(Error::Foreign { folder: last_parts(folder), owner, wanted });
        }
    }
    let owner = std::fs::symlink_metadata(folder).map_err(Error::io(doing))?.uid();
    if fits(owner) { Ok(()) } else { Err(Error::Foreign { folder: last_parts(folder), owner, wanted }) }
}

/// Makes the folder unless it is there, and gives it owner and mode again in either case: an earlier try may have
/// ended between the two. The parent is a folder that only the caller writes to.
fn make_folder(path: &Path, mode: u32, user: Option<u32>, group: Option<u32>) -> Result<(), Error> {
    let doing = || format!("make the folder {}", last_parts(path));
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(Error::io(doing())(error)),
    }
    if user.is_some() || group.is_some() {
        lchown(path, user, group).map_err(Error::io(doing()))?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io(doing()))
}

/// Removes a file or a folder with all that is in it; links are not followed.
fn remove(path: &Path) -> Result<(), Error> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io(format!("remove {}", last_parts(path)))(error)),
    }
}

/// Writes a file so that after a crash it has the old text or the new one, never a part.
fn write_whole(path: &Path, text: &[u8], owner: Option<(u32, u32)>) -> Result<(), Error> {
    let doing = || format!("write {}", last_parts(path));
    let name = format!("{}.{}.new", last_part(path), uuid::Uuid::new_v4().as_simple());
    let new = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        if let Some((user, group)) = owner {
            fchown(&file, Some(user), Some(group))?;
        }
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        return Err(Error::io(doing())(error));
    }
    path.parent().map_or(Ok(()), sync_folder)
}

/// Whether the file has this text and owner: the same is written many times over while clients wait.
fn is_there(path: &Path, text: &[u8], owner: Option<(u32, u32)>) -> bool {
    let has = || {
        let mut file = OpenOptions::new().read(true).custom_flags(no_follow()).open(path).ok()?;
        let seen = file.metadata().ok()?;
        let is_alike = seen.is_file()
            && usize::try_from(seen.len()).ok()? == text.len()
            && seen.mode() & 0o7777 == 0o600
            && owner.is_none_or(|owner| owner == (seen.uid(), seen.gid()));
        let mut found = Vec::new();
        (is_alike && file.read_to_end(&mut found).is_ok() && found == text).then_some(())
    };
    has().is_some()
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(format!("sync the folder {}", last_parts(path))))
}

fn last_part(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `data` of `<uuid>/data`, with its parent: enough for an operator, and no more.
fn last_parts(path: &Path) -> String {
    let parent = path.parent().map(last_part).unwrap_or_default();
    format!("{parent}/{}", last_part(path))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a lock tells nobody that it ends; on a blocking thread, with a deadline"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Bytes on disk below a folder, and those of the files whose paths below it begin with one of `apart`.
fn bytes_below(top: &Path, apart: &[&str]) -> Result<(u64, u64), Error> {
    let (mut all, mut of_those) = (0, 0);
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = there(std::fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let Some(entry) = there(entry)? else { continue };
            let Some(facts) = there(entry.metadata())? else { continue };
            let (path, bytes) = (entry.path(), facts.blocks() * 512);
            all += bytes;
            let below = path.strip_prefix(top).unwrap_or(&path).as_os_str().as_bytes();
            if apart.iter().any(|begin| below.starts_with(begin.as_bytes())) {
                of_those += bytes;
            }
            if facts.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok((all, of_those))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(folder: &Path) -> Volumes {
        Volumes::new(Config::new(folder.join("state"), folder.join("engines"), folder.join("run")))
    }

    #[test]
    fn a_volume_comes_and_goes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = volumes(folder.path());
        let generation = GenerationId(uuid::Uuid::now_v7());
        assert!(volumes.lock(generation).unwrap().is_none());
        for _ in 0..2 {
            volumes.ensure(generation, None).unwrap();
        }
        let data = volumes.folder(generation).join("data");
        assert_eq!(data.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::write(data.join("x"), vec![1; 10_000]).unwrap();
        assert!(volumes.used_bytes(generation).unwrap() >= 10_000);
        for text in ["one", "two"] {
            volumes.write_config(generation, "my.cnf", text).unwrap();
        }
        let config = volumes.folder(generation).join("config");
        assert_eq!(std::fs::read_dir(&config).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(config.join("my.cnf")).unwrap(), "two");
        for _ in 0..2 {
            let _lock = volumes.lock(generation).unwrap();
            volumes.remove(generation).unwrap();
        }
        assert!(!volumes.folder(generation).exists());
        assert!(!volumes.socket(generation).unwrap().parent().unwrap().exists());
    }

    #[test]
    fn a_long_socket_path_is_refused() {
        let volumes = volumes(Path::new(&format!("/{}", "x".repeat(90))));
        let generation = GenerationId(uuid::Uuid::now_v7());
        assert!(matches!(volumes.socket(generation), Err(Error::PathTooLong(_))));
    }
}
