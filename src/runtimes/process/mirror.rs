//! Makes one generation's data equal to another's, in two passes. The first one copies while the other's server writes,
//! and is worth nothing by itself; the second one runs when that server has been stopped, and writes only what differs.
//! Clients wait for the second one alone.
//!
//! It is a program of its own, run as the instance's account: what lies in a server's folder may be links that lead
//! anywhere, and only that account shall follow them. Links are made again as links, sockets and pipes are left out.
//!
//! # What is equal without being read
//! A first pass writes down of each file, before it reads it, which one it is (device and inode), its size, and when it
//! was last changed (the kernel's time of change, which no program can set). The second pass leaves a file alone that is
//! as it was written down, and whose last change lay long enough before the first pass began: its time is that of the
//! call, and the disk may have got what was written later than we read it. And it does so only for files that are written to by system calls
//! alone, which the caller names by their ending: a change through a mapping may be told late. Everything else is
//! compared, byte by byte.
//!
//! # If we die here
//! A first pass that was not finished has no list, and counts for nothing. The list is removed, on disk, before the
//! second pass says that it is done, and so before a server opens the copy: a list that is there tells of a copy that
//! nobody has changed.
//!
//! # Decision
//! Not `cp` and `sync`: `sync` waits for whatever else the file system has to write, and a copy made twice writes
//! everything twice. Not rsync: it trusts a time that programs set, and compares far slower than it could.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::runtimes::Copied;

/// How much is compared and written at once, in bytes.
const BLOCK: usize = 256 * 1024;

/// How much of a file one thread takes, in bytes: a large file is several threads' work.
const SHARE: u64 = 64 * 1024 * 1024;

/// Threads: more wait for the same disk.
const THREADS: usize = 4;

/// The name of the list: in the folder for temporary files, which is emptied before a server is started.
pub const LIST: &str = "copied-ahead";

/// What the list begins with.
const FORM: &str = "coffer-copied-ahead 1";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The data folder that is read.
    pub from: PathBuf,
    /// The data folder that becomes equal to it.
    pub to: PathBuf,
    /// Where a first pass writes down what it copied, for the second one; on the same file system.
    pub list: PathBuf,
    /// Whether this is the first pass.
    pub ahead: bool,
    /// Files of the folder itself that are left out: those whose names begin so.
    pub without: Vec<String>,
    /// The endings of files that are written to by system calls alone, with their dot.
    pub settles: Vec<String>,
    /// How long before the first pass their last change must lie for them to be left alone, in seconds.
    pub settled: i64,
}

impl Mirror {
    /// As the arguments of the hidden command.
    pub fn args(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut args = vec!["mirror".to_owned(), text(&self.from), text(&self.to), text(&self.list)];
        args.extend([self.ahead.to_string(), self.without.join("/"), self.settles.join("/")]);
        args.push(self.settled.to_string());
        args
    }

    /// What [`Self::args`] says, without the command.
    pub fn of_args(args: &[OsString]) -> Option<Self> {
        let [from, to, list, ahead, without, settles, settled] = args else { return None };
        let parts = |text: &OsString| {
            let text = text.to_str()?;
            Some(text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect())
        };
        Some(Self {
            from: from.into(),
            to: to.into(),
            list: list.into(),
            ahead: ahead.to_str()?.parse().ok()?,
            without: parts(without)?,
            settles: parts(settles)?,
            settled: settled.to_str()?.parse().ok()?,
        })
    }

    /// What the program prints.
    pub fn of_output(stdout: &[u8]) -> Option<Copied> {
        let mut numbers = std::str::from_utf8(stdout).ok()?.split_whitespace().map(str::parse);
        let mut number = || numbers.next()?.ok();
        Some(Copied { all: number()?, settled: number()?, written: number()? })
    }

    /// Does it.
    ///
    /// # Errors
    /// With what it was doing.
    pub fn run(&self) -> io::Result<Copied> {
        if self.ahead {
            forget(&self.list)?;
        }
        let known = if self.ahead { None } else { List::read(&self.list)? };
        let began = now_of(&self.list)?;
        let tree = self.walk()?;
        let mut work = Work::default();
        self.make_folders(&tree, &mut work)?;
        let mut did = Copied::default();
        for (path, facts) in &tree.files {
            did.all += facts.size;
            let ours = there(std::fs::symlink_metadata(self.to.join(path)))?.map(|ours| Facts::of(&ours));
            let is_known = known.as_ref().is_some_and(|list| list.settled(path, (facts, ours), self));
            if is_known {
                did.settled += facts.size;
            } else {
                work.files.push((path.clone(), *facts));
            }
        }
        did.written = self.equalise(&work)?;
        if self.ahead {
            let folder = File::open(&self.to)?;
            rustix::fs::syncfs(&folder)?;
            let mut files = BTreeMap::new();
            for (path, facts) in tree.files {
                if let Some(ours) = there(std::fs::symlink_metadata(self.to.join(&path)))? {
                    files.insert(path, (facts, Facts::of(&ours)));
                }
            }
            List { began, files }.write(&self.list)?;
            return Ok(did);
        }
        for folder in &work.changed {
            doing("sync a folder", folder, File::open(folder).and_then(|folder| folder.sync_all()))?;
        }
        forget(&self.list)?;
        Ok(did)
    }

    /// What is there to copy: what goes while we look is not, nor what is another account's and closed to the server's,
    /// such as a file system's `lost+found`: it is none of the server's data.
    fn walk(&self) -> io::Result<Tree> {
        let mut tree = Tree::default();
        let owner = doing("look at a folder", &self.from, std::fs::metadata(&self.from))?.uid();
        let is_closed = |facts: &std::fs::Metadata, opened: io::Result<()>| {
            facts.uid() != owner && opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let at = self.from.join(&folder);
            let Some(entries) = there(doing("read a folder", &at, std::fs::read_dir(&at)))? else { continue };
            for entry in entries {
                let entry = doing("read a folder", &at, entry)?;
                let path = folder.join(entry.file_name());
                let Some(facts) = there(entry.metadata())? else { continue };
                if facts.is_dir() {
                    if is_closed(&facts, std::fs::read_dir(entry.path()).map(drop)) {
                        continue;
                    }
                    tree.folders.insert(path.clone(), facts.mode());
                    folders.push(path);
                } else if facts.is_symlink() {
                    if let Some(target) = there(std::fs::read_link(entry.path()))? {
                        tree.links.insert(path, target);
                    }
                } else if facts.is_file() && !self.leaves_out(&path) {
                    if is_closed(&facts, File::open(entry.path()).map(drop)) {
                        continue;
                    }
                    tree.files.insert(path, Facts::of(&facts));
                }
            }
        }
        Ok(tree)
    }

    fn leaves_out(&self, path: &Path) -> bool {
        let name = path.as_os_str().as_bytes();
        !name.contains(&b'/') && self.without.iter().any(|start| name.starts_with(start.as_bytes()))
    }

    /// Makes the folders and links, and removes what is not to be there.
    fn make_folders(&self, tree: &Tree, work: &mut Work) -> io::Result<()> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let at = self.to.join(&folder);
            for entry in doing("read a folder", &at, std::fs::read_dir(&at))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                let kind = entry.file_type()?;
                let stays = if kind.is_dir() {
                    tree.folders.contains_key(&path)
                } else if kind.is_symlink() {
                    there(std::fs::read_link(entry.path()))?.as_ref() == tree.links.get(&path)
                } else {
                    kind.is_file() && tree.files.contains_key(&path)
                };
                match (stays, kind.is_dir()) {
                    (true, true) => folders.push(path),
                    (true, false) => {}
                    (false, true) => {
                        doing("remove a folder", &entry.path(), std::fs::remove_dir_all(entry.path()))?;
                        work.changed.insert(at.clone());
                    }
                    (false, false) => {
                        doing("remove a file", &entry.path(), std::fs::remove_file(entry.path()))?;
                        work.changed.insert(at.clone());
                    }
                }
            }
        }
        for (path, mode) in &tree.folders {
            let at = self.to.join(path);
            if !at.is_dir() {
                doing("make a folder", &at, DirBuilder::new().mode(mode & 0o777).create(&at))?;
                work.changed.extend([at.clone(), parent(&at)]);
            }
        }
        for (path, target) in &tree.links {
            let at = self.to.join(path);
            if there(std::fs::symlink_metadata(&at))?.is_none() {
                doing("make a link", &at, std::os::unix::fs::symlink(target, &at))?;
                work.changed.insert(parent(&at));
            }
        }
        for path in tree.files.keys() {
            let at = self.to.join(path);
            if size_of(&at)?.is_none() {
                work.changed.insert(parent(&at));
            }
        }
        Ok(())
    }

    /// Makes the files equal; gives the bytes that were written. Those of a second pass are on disk then.
    fn equalise(&self, work: &Work) -> io::Result<u64> {
        // The largest first, so that no thread is left with one at the end.
        let mut files: Vec<_> = work.files.iter().collect();
        files.sort_by_key(|(_, facts)| std::cmp::Reverse(facts.size));
        let pairs =
            files.into_iter().map(|(path, facts)| Pair::new(self, path, facts.size)).collect::<Vec<_>>();
        let shares: Vec<(&Pair, u64)> =
            pairs.iter().flat_map(|pair| pair.shares().map(move |start| (pair, start))).collect();
        let (next, written, failed) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..THREADS.min(shares.len()) {
                scope.spawn(|| {
                    while let Some((pair, start)) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match pair.equalise(*start, !self.ahead) {
                            Ok(bytes) => {
                                written.fetch_add(bytes, Ordering::Relaxed);
                            }
                            Err(error) => {
                                next.store(usize::MAX / 2, Ordering::Relaxed);
                                failed
                                    .lock()
                                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                                    .get_or_insert(error);
                            }
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(written.into_inner()),
        }
    }
}

#[derive(Default)]
struct Tree {
    /// With their modes; a folder comes before what is in it.
    folders: BTreeMap<PathBuf, u32>,
    files: BTreeMap<PathBuf, Facts>,
    links: BTreeMap<PathBuf, PathBuf>,
}

#[derive(Default)]
struct Work {
    files: Vec<(PathBuf, Facts)>,
    /// Folders whose entries have changed.
    changed: BTreeSet<PathBuf>,
}

/// A file of both folders.
struct Pair {
    from: PathBuf,
    to: PathBuf,
    size: u64,
    /// Shares that are not done; who does the last one makes an end of the file.
    open: AtomicU64,
    changed: AtomicU64,
}

impl Pair {
    fn new(mirror: &Mirror, path: &Path, size: u64) -> Self {
        let open = AtomicU64::new(size.div_ceil(SHARE).max(1));
        Self {
            from: mirror.from.join(path),
            to: mirror.to.join(path),
            size,
            open,
            changed: AtomicU64::new(0),
        }
    }

    fn shares(&self) -> impl Iterator<Item = u64> {
        (0..self.size.div_ceil(SHARE).max(1)).map(|share| share * SHARE)
    }

    /// Makes the share from `start` on equal; gives the bytes that were written.
    fn equalise(&self, start: u64, sync: bool) -> io::Result<u64> {
        let open = |options: &mut OpenOptions, path| {
            let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
            options.custom_flags(flags).open(path)
        };
        let from = open(OpenOptions::new().read(true), &self.from);
        // Gone since, while its server works: the second pass will find it gone.
        let Some(from) = there(doing("open", &self.from, from))? else { return Ok(0) };
        let mode = from.metadata()?.mode() & 0o777;
        let mut options = OpenOptions::new();
        let to = open(options.read(true).write(true).create(true).truncate(false).mode(mode), &self.to);
        let to = doing("open", &self.to, to)?;
        let written = doing("copy", &self.from, self.carry(&from, &to, start))?;
        self.changed.fetch_add(written, Ordering::AcqRel);
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let is_longer = to.metadata()?.len() != self.size;
            if is_longer {
                doing("cut", &self.to, to.set_len(self.size))?;
            }
            if sync && (is_longer || self.changed.load(Ordering::Acquire) > 0) {
                doing("sync", &self.to, to.sync_all())?;
            }
        }
        Ok(written)
    }

    fn carry(&self, from: &File, to: &File, start: u64) -> io::Result<u64> {
        if start == 0 && self.size <= SHARE && to.metadata()?.len() == 0 && self.size > 0 {
            // Where blocks can be shared, nothing is read or written.
            if rustix::fs::ioctl_ficlone(to, from).is_ok() {
                return Ok(self.size);
            }
        }
        let (mut ours, mut theirs) = (vec![0; BLOCK], vec![0; BLOCK]);
        let (mut at, end) = (start, self.size.min(start + SHARE));
        let mut written = 0;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let got = read_at(from, theirs.get_mut(..wanted).unwrap_or_default(), at)?;
            let theirs = theirs.get(..got).unwrap_or_default();
            if got == 0 {
                break;
            }
            let there = read_at(to, ours.get_mut(..got).unwrap_or_default(), at)?;
            // Beyond its end, or in a hole, it reads as zeros: what is zeros there is not written.
            ours.get_mut(there..got).unwrap_or_default().fill(0);
            if ours.get(..got).unwrap_or_default() != theirs {
                to.write_all_at(theirs, at)?;
                written += got as u64;
            }
            at += got as u64;
        }
        Ok(written)
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(buffer.get_mut(got..).unwrap_or_default(), at + got as u64) {
            Ok(0) => break,
            Ok(length) => got += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// What tells that a file is the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl Facts {
    fn of(facts: &Metadata) -> Self {
        let changed = (facts.ctime(), facts.ctime_nsec());
        Self { device: facts.dev(), inode: facts.ino(), size: facts.size(), changed }
    }
}

/// What a first pass has written down.
#[derive(Debug, PartialEq, Eq)]
struct List {
    /// When it began, in seconds, by the clock of the file system.
    began: i64,
    /// What was copied, before it was read, and what it was copied to, afterwards.
    files: BTreeMap<PathBuf, (Facts, Facts)>,
}

impl List {
    /// Whether neither a file nor its copy has been changed since.
    fn settled(&self, path: &Path, (theirs, ours): (&Facts, Option<Facts>), mirror: &Mirror) -> bool {
        let ends = |ending: &String| path.as_os_str().as_bytes().ends_with(ending.as_bytes());
        let long_ago = self.began.saturating_sub(mirror.settled);
        mirror.settles.iter().any(ends)
            && self.files.get(path).is_some_and(|(from, to)| {
                from == theirs && Some(*to) == ours && from.changed.0 < long_ago && from.size == to.size
            })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = format!("{FORM}\0{}\0", self.began).into_bytes();
        for (file, (from, to)) in &self.files {
            for Facts { device, inode, size, changed } in [from, to] {
                text.extend(format!("{device} {inode} {size} {} {} ", changed.0, changed.1).into_bytes());
            }
            text.extend(file.as_os_str().as_bytes());
            text.push(0);
        }
        let fresh = path.with_extension("new");
        let mut file = doing("make", &fresh, File::create(&fresh))?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        File::open(parent(path))?.sync_all()
    }

    /// `None` where there is none, or none that we understand: then everything is compared.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(mut file) = there(File::open(path))? else { return Ok(None) };
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(Self::parsed(&text))
    }

    fn parsed(text: &[u8]) -> Option<Self> {
        let mut parts = text.strip_suffix(b"\0")?.split(|byte| *byte == 0);
        let word = |part: &[u8]| std::str::from_utf8(part).ok().map(str::to_owned);
        (parts.next()? == FORM.as_bytes()).then_some(())?;
        let began = word(parts.next()?)?.parse().ok()?;
        let mut files = BTreeMap::new();
        for part in parts {
            let mut words = part.splitn(11, |byte| *byte == b' ');
            let mut facts = || {
                let mut number = || word(words.next()?);
                let (device, inode, size) =
                    (number()?.parse().ok()?, number()?.parse().ok()?, number()?.parse().ok()?);
                Some(Facts {
                    device,
                    inode,
                    size,
                    changed: (number()?.parse().ok()?, number()?.parse().ok()?),
                })
            };
            let both = (facts()?, facts()?);
            files.insert(PathBuf::from(OsString::from_vec(words.next()?.to_vec())), both);
        }
        Some(Self { began, files })
    }
}

/// Removes the list, on disk.
fn forget(list: &Path) -> io::Result<()> {
    if there(std::fs::remove_file(list))?.is_some() {
        File::open(parent(list))?.sync_all()?;
    }
    Ok(())
}

/// The time by which the file system of the list marks changes.
fn now_of(list: &Path) -> io::Result<i64> {
    let probe = list.with_extension("clock");
    let made = doing("make", &probe, File::create(&probe))?;
    made.set_len(1)?;
    let now = made.metadata()?.ctime();
    std::fs::remove_file(&probe)?;
    Ok(now)
}

fn size_of(path: &Path) -> io::Result<Option<u64>> {
    Ok(there(std::fs::symlink_metadata(path))?.map(|facts| facts.size()))
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn doing<T>(what: &str, path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display())))
}

/// Runs the hidden command.
pub fn main(args: &[OsString]) -> ExitCode {
    let Some(mirror) = Mirror::of_args(args) else {
        eprintln!("coffer: a worker copies a server's data so; there is nothing to do by hand");
        return ExitCode::from(2);
    };
    match mirror.run() {
        Ok(Copied { all, settled, written }) => {
            println!("{all} {settled} {written}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED: i64 = 60;

    fn list_of(folder: &Path) -> PathBuf {
        folder.join("tmp").join(LIST)
    }

    fn mirror(folder: &Path, ahead: bool) -> Mirror {
        Mirror {
            from: folder.join("old/data"),
            to: folder.join("new/data"),
            list: list_of(folder),
            ahead,
            without: vec!["binlog.".to_owned()],
            settles: vec![".ibd".to_owned()],
            settled: SETTLED,
        }
    }

    fn folders() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in ["old/data/shop", "old/data/empty", "new/data", "tmp"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let old = folder.path().join("old/data");
        for (path, content) in [
            ("shop/orders.ibd", vec![1; 3 * BLOCK + 17]),
            ("shop/holes.ibd", [vec![0; 4 * BLOCK], vec![7; 10]].concat()),
            ("ibdata1", vec![2; 5]),
            ("none", Vec::new()),
            ("binlog.000001", vec![3; 100]),
            ("shop/binlog.000001", vec![4; 100]),
        ] {
            std::fs::write(old.join(path), content).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere", old.join("shop/link")).unwrap();
        folder
    }

    /// Every path below with its content, but for what is left out.
    fn content(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![data.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = std::fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(data).unwrap().to_owned();
                if kind.is_dir() {
                    folders.push(path);
                    found.insert(name, b"a folder".to_vec());
                } else if kind.is_symlink() {
                    found.insert(name, std::fs::read_link(&path).unwrap().into_os_string().into_vec());
                } else if !name.to_string_lossy().starts_with("binlog.") {
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn assert_equal(folder: &Path) {
        let (old, new) = (content(&folder.join("old/data")), content(&folder.join("new/data")));
        assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
        assert!(old == new, "the content differs");
    }

    #[test]
    fn one_pass_copies_all() {
        let folder = folders();
        let did = mirror(folder.path(), false).run().unwrap();
        assert_equal(folder.path());
        assert_eq!(did.settled, 0);
        let holes = std::fs::metadata(folder.path().join("new/data/shop/holes.ibd")).unwrap();
        assert!(holes.blocks() * 512 < 2 * BLOCK as u64, "zeros are holes");
        assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0, "nothing beside it");
        assert_eq!(mirror(folder.path(), false).run().unwrap().written, 0, "nothing to do");
    }

    /// What happened between the passes is carried, whatever it was; what was left behind by something else goes.
    #[test]
    fn a_second_pass_carries_what_changed() {
        let folder = folders();
        let (old, new) = (folder.path().join("old/data"), folder.path().join("new/data"));
        std::fs::create_dir_all(new.join("left/behind")).unwrap();
        std::fs::write(new.join("ibdata1"), vec![9; 50]).unwrap();
        assert!(!list_of(folder.path()).exists());
        mirror(folder.path(), true).run().unwrap();
        assert!(list_of(folder.path()).exists());
        assert_equal(folder.path());

        let orders = OpenOptions::new().write(true).open(old.join("shop/orders.ibd")).unwrap();
        orders.write_all_at(&[5], BLOCK as u64 + 1).unwrap();
        std::fs::write(old.join("ibdata1"), [1]).unwrap();
        std::fs::write(old.join("shop/new.ibd"), [8; 8]).unwrap();
        std::fs::remove_file(old.join("none")).unwrap();
        std::fs::remove_file(old.join("shop/link")).unwrap();
        std::fs::create_dir(old.join("shop/link")).unwrap();
        std::fs::remove_dir(old.join("empty")).unwrap();
        std::fs::write(old.join("empty"), [6]).unwrap();
        let did = mirror(folder.path(), false).run().unwrap();
        assert_equal(folder.path());
        assert!(!list_of(folder.path()).exists());
        assert_eq!(did.written, BLOCK as u64 + 1 + 8 + 1, "a block, and three small files");
    }

    /// A file is left alone only where each sign of a change is missing.
    #[test]
    fn only_what_has_settled_is_left_alone() {
        let path = PathBuf::from("shop/orders.ibd");
        let then = Facts { device: 1, inode: 2, size: 3, changed: (1_000, 5) };
        let copy = Facts { inode: 4, changed: (1_990, 0), ..then };
        let mirror = mirror(Path::new(""), false);
        let list =
            |began, path: &Path| List { began, files: BTreeMap::from([(path.to_owned(), (then, copy))]) };
        let settled = |list: List, path: &Path, now, ours| list.settled(path, (&now, ours), &mirror);
        assert!(settled(list(2_000, &path), &path, then, Some(copy)));
        assert!(settled(list(1_000 + SETTLED + 1, &path), &path, then, Some(copy)));
        assert!(!settled(list(1_000 + SETTLED, &path), &path, then, Some(copy)), "changed shortly before");
        assert!(!settled(list(500, &path), &path, then, Some(copy)), "a clock that was set back");
        assert!(!settled(list(2_000, &path), &path, then, None), "the copy is gone");
        let changes = |of: Facts| {
            [
                Facts { device: 9, ..of },
                Facts { inode: 9, ..of },
                Facts { size: 9, ..of },
                Facts { changed: (of.changed.0, 6), ..of },
                Facts { changed: (999, 5), ..of },
            ]
        };
        for now in changes(then) {
            assert!(!settled(list(2_000, &path), &path, now, Some(copy)), "{now:?}");
        }
        for ours in changes(copy) {
            assert!(!settled(list(2_000, &path), &path, then, Some(ours)), "{ours:?}");
        }
        let log = PathBuf::from("ib_logfile0");
        assert!(!settled(list(2_000, &log), &log, then, Some(copy)), "may be written through a mapping");
        assert!(!settled(list(2_000, &log), &path, then, Some(copy)), "was not there");
    }

    /// A copy that somebody has changed is copied again, whatever the list says.
    #[test]
    fn a_changed_copy_is_no_copy() {
        let folder = folders();
        let new = folder.path().join("new/data");
        mirror(folder.path(), true).run().unwrap();
        let list = list_of(folder.path());
        let mut written = List::read(&list).unwrap().unwrap();
        written.began += SETTLED + 10;
        written.write(&list).unwrap();
        std::fs::write(new.join("shop/orders.ibd"), vec![0; 3 * BLOCK + 17]).unwrap();
        let did = mirror(folder.path(), false).run().unwrap();
        assert!(did.settled > 4 * BLOCK as u64 && did.written > 3 * BLOCK as u64, "{did:?}");
        assert!(!list.exists(), "it is believed once");
        assert_equal(folder.path());
        assert_eq!(mirror(folder.path(), false).run().unwrap().settled, 0);
    }

    #[test]
    fn a_list_that_is_damaged_is_no_list() {
        let list = List {
            began: 77,
            files: BTreeMap::from([(
                PathBuf::from(OsString::from_vec(b"a b\xff/\n.ibd".to_vec())),
                (
                    Facts { device: 1, inode: u64::MAX, size: 3, changed: (-4, 5) },
                    Facts { device: 6, inode: 7, size: 8, changed: (9, 10) },
                ),
            )]),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LIST);
        list.write(&path).unwrap();
        assert_eq!(List::read(&path).unwrap().unwrap(), list);
        let text = std::fs::read(&path).unwrap();
        for end in 0..text.len() {
            if let Some(part) = List::parsed(text.get(..end).unwrap()) {
                assert_eq!(part.files.len(), 0, "cut at {end}: as if nothing had been copied");
            }
        }
        assert!(List::read(&folder.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn arguments_say_it_all() {
        let mirror = mirror(Path::new("/x y"), true);
        let args: Vec<OsString> = mirror.args().into_iter().map(Into::into).collect();
        assert_eq!(Mirror::of_args(&args[1..]).unwrap(), mirror);
        assert!(Mirror::of_args(&args[2..]).is_none());
    }
}
