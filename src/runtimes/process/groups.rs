//! Control groups: the kernel holds each server to the memory and the processors of its instance's flavor. A server that
//! wants more memory is ended, and no other process of the host is; one that computes without an end has its processors
//! and no more of them.
//!
//! A generation's group is there while its server runs: a folder by its id below `coffer`, in each hierarchy of the
//! first version (`memory`, `cpu`), or in the one of the second. The shim puts the server into it between fork and exec, so
//! that the server never runs outside; the shim itself and the programs beside the data stay where they are.
//!
//! # Where
//! Of the second version: below the root, which in a container is the container's own. A group whose children have limits may
//! have no process itself, but for the root of the machine: a container's processes move into the child `coffer-service`.
//! Of the first version: below our own groups, so that a container's limits hold.
//!
//! # Decision
//! Not below the group of our own unit, though systemd would delegate it: servers outlive the worker, and systemd cannot
//! start a unit again whose group has children with limits. What we gave up: `systemctl status` does not list them.
//! Page cache counts as the server's memory, since the kernel gives it back before it ends anybody. A server that runs while
//! a new build takes its worker's place keeps the limits of its start: they are written before each start alone. Processors
//! are counted in slices of 20 ms rather than the usual 100: a server that has used up its share waits for one slice at
//! most, and the gap of an upgrade shows it.
//!
//! # If we die here
//! A group without a server is replaced by the generation's next start, and removed with the volume. The next service that
//! starts on the machine removes one whose generation is gone, after [`STRAY`]; of the first version only where that service
//! has the same groups of its own.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::domain::ids::GenerationId;
use crate::runtimes::{Error, Limits};

/// The least memory of a server, in MB: an engine without any load fits into it.
const LEAST_MB: u32 = 512;

/// A slice in which processors are counted, in µs.
const SLICE: u64 = 20_000;

/// How old a group is that nobody is about to use.
const STRAY: Duration = Duration::from_secs(600);

/// How long a group of a server that has ended may take to be empty.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(10);

/// How often a group is tried to be made.
const TRIES: u32 = 20;

/// Our folder in each hierarchy.
const OURS: &str = "coffer";

/// Where our own process moves to in the second version, so that its group may have children with limits.
const SERVICE: &str = "coffer-service";

/// What one hierarchy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The first version's `memory`.
    Memory,
    /// The first version's `cpu`.
    Cpu,
    /// Both, in the second version.
    Both,
}

/// A hierarchy, and the group in it below which ours are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    holds: Holds,
    base: PathBuf,
}

/// The control groups of this host's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroups(Vec<Hierarchy>);

impl ControlGroups {
    /// Finds them, and makes and removes one.
    ///
    /// # Errors
    /// Why there are none, for an operator.
    pub fn open() -> Result<Self, String> {
        let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let found = Self::find(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        let tried = GenerationId(Uuid::now_v7());
        let made = found.make(tried, Limits { memory_mb: LEAST_MB, cpus: 1 });
        found.remove(tried);
        found.leave();
        made.map(|_| found).map_err(|error| match error {
            Error::Io { doing, source } => format!("{doing}: {source}"),
            other => other.to_string(),
        })
    }

    /// Those that the kernel has mounted, by what it says of mounts and of our own process.
    fn find(mounts: &str, own: &str) -> Result<Self, String> {
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        if let Some(second) = mounts.iter().find(|mount| mount.kind == "cgroup2") {
            let base = PathBuf::from(second.point);
            let offered = std::fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
            if ["memory", "cpu"].iter().all(|each| offered.split_whitespace().any(|word| word == *each)) {
                return Ok(Self(vec![Hierarchy { holds: Holds::Both, base }]));
            }
        }
        let first = |name: &str, holds| {
            let mount = mounts.iter().find(|mount| mount.kind == "cgroup" && mount.has(name))?;
            let own = own.lines().find_map(|line| {
                let (names, path) = line.split_once(':')?.1.split_once(':')?;
                names.split(',').any(|each| each == name).then_some(path)
            });
            Some(Hierarchy { holds, base: mount.folder(own.unwrap_or("/")) })
        };
        match first("memory", Holds::Memory) {
            Some(memory) => {
                Ok(Self([Some(memory), first("cpu", Holds::Cpu)].into_iter().flatten().collect()))
            }
            None => Err("the kernel offers no control group of memory here".to_owned()),
        }
    }

    /// What they hold, for an operator.
    pub fn told(&self) -> &'static str {
        match self.0.as_slice() {
            [Hierarchy { holds: Holds::Both, .. }] => "memory and processors of each server (version 2)",
            [_, _] => "memory and processors of each server (version 1)",
            _ => "memory of each server, and not its processors (version 1)",
        }
    }

    /// Makes a generation's group with these limits.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make(&self, generation: GenerationId, limits: Limits) -> Result<Group, Error> {
        let mut group = Group::default();
        for hierarchy in &self.0 {
            let folder = hierarchy.replace(generation)?;
            for (name, value) in hierarchy.holds.values(limits) {
                match std::fs::write(folder.join(name), &value) {
                    // The group above has less: that is what holds.
                    Err(error) if name == "cpu.cfs_quota_us" && error.kind() == ErrorKind::InvalidInput => {}
                    other => {
                        other.map_err(Error::io(format!("write {value} into {name} of a control group")))?
                    }
                }
            }
            group.join.push(folder.join("cgroup.procs"));
            group.ended = group.ended.or_else(|| hierarchy.holds.counts().map(|name| folder.join(name)));
        }
        Ok(group)
    }

    /// Removes a generation's group. One that has a process still is left: the next start meets it, or the next service.
    pub fn remove(&self, generation: GenerationId) {
        let until = std::time::Instant::now() + EMPTY_WITHIN;
        for hierarchy in &self.0 {
            let folder = hierarchy.group(generation);
            while let Err(error) = std::fs::remove_dir(&folder) {
                let is_busy = error.kind() == ErrorKind::ResourceBusy;
                if !is_busy || std::time::Instant::now() >= until {
                    if error.kind() != ErrorKind::NotFound {
                        tracing::debug!(generation = %generation, %error, "a control group was not removed");
                    }
                    break;
                }
                pause();
            }
        }
    }

    /// Removes groups that nobody has used for a while.
    pub fn sweep(&self) {
        for hierarchy in &self.0 {
            for entry in std::fs::read_dir(hierarchy.base.join(OURS)).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let is_one = name.to_str().is_some_and(|name| Uuid::parse_str(name).is_ok());
                let made = entry.metadata().ok().map(|facts| facts.ctime());
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let is_old = made
                    .and_then(|made| u64::try_from(made).ok())
                    .is_some_and(|made| now.as_secs().saturating_sub(made) > STRAY.as_secs());
                if is_one && is_old {
                    // One that has processes stays.
                    let _ = std::fs::remove_dir(entry.path());
                }
            }
        }
        self.leave();
    }

    /// Removes our folder where it is empty.
    pub fn leave(&self) {
        for hierarchy in &self.0 {
            let _ = std::fs::remove_dir(hierarchy.base.join(OURS));
        }
    }
}

/// A generation's group, to a server that is about to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    /// Files into which the server writes itself.
    pub join: Vec<PathBuf>,
    /// The file that counts those that were ended for want of memory.
    pub ended: Option<PathBuf>,
}

impl Group {
    /// Removes it, once its server has ended; and our folder, where it was the last.
    pub fn remove(&self) {
        for group in self.join.iter().filter_map(|file| file.parent()) {
            // It may have a process still that the server left: who stops the server sees to it.
            if std::fs::remove_dir(group).is_ok()
                && let Some(ours) = group.parent()
            {
                let _ = std::fs::remove_dir(ours);
            }
        }
    }

    /// Whether a process of it was ended for want of memory.
    pub fn was_too_large(&self) -> bool {
        self.ended.as_ref().is_some_and(|file| count(file) > 0)
    }
}

/// How many processes the kernel has ended for want of memory in the group of ours that a process is in. It is asked from the
/// process: a worker of an earlier boot or unit may have made the group elsewhere.
pub fn ended_beside(pid: i32) -> u64 {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let (mounts, own) = (read("/proc/self/mountinfo".to_owned()), read(format!("/proc/{pid}/cgroup")));
    counts_of(&mounts, &own).map(|file| count(&file)).unwrap_or_default()
}

/// The file that counts them, by what the kernel says of mounts and of the process; `None` where it is in no group of ours.
fn counts_of(mounts: &str, own: &str) -> Option<PathBuf> {
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    own.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let (holds, kind) = match names {
            "" => (Holds::Both, "cgroup2"),
            "memory" => (Holds::Memory, "cgroup"),
            _ => return None,
        };
        let fits = |mount: &&Mount<'_>| mount.kind == kind && (names.is_empty() || mount.has(names));
        let mount = mounts.iter().find(fits)?;
        let is_ours = Path::new(path).parent()?.file_name()? == OURS;
        is_ours.then_some(mount.folder(path).join(holds.counts()?))
    })
}

/// How many processes the kernel has ended, by a group's file.
fn count(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

impl Holds {
    /// The file that counts the processes that were ended for want of memory.
    const fn counts(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory.oom_control"),
            Self::Both => Some("memory.events"),
            Self::Cpu => None,
        }
    }

    /// What is written into a group's files.
    fn values(self, Limits { memory_mb, cpus }: Limits) -> Vec<(&'static str, String)> {
        let bytes = (u64::from(memory_mb.max(LEAST_MB)) << 20).to_string();
        let cpus = u64::from(cpus.max(1));
        let quota = cpus * SLICE;
        match self {
            Self::Memory => vec![("memory.limit_in_bytes", bytes)],
            Self::Cpu => vec![
                ("cpu.shares", (cpus * 1024).min(262_144).to_string()),
                ("cpu.cfs_period_us", SLICE.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            Self::Both => vec![
                ("memory.max", bytes),
                ("cpu.weight", (cpus * 100).min(10_000).to_string()),
                ("cpu.max", format!("{quota} {SLICE}")),
            ],
        }
    }
}

impl Hierarchy {
    /// Makes a generation's group in place of an earlier one: what an earlier server had in memory is not the next one's.
    fn replace(&self, generation: GenerationId) -> Result<PathBuf, Error> {
        let folder = self.group(generation);
        let doing = "make the server's control group";
        match std::fs::remove_dir(&folder) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ResourceBusy) => {
                return Err(Error::io(doing)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut tries = 0;
        loop {
            self.prepare()?;
            match std::fs::create_dir(&folder) {
                // Another service has removed our empty folder meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::io(doing)(error));
                }
                Ok(()) | Err(_) => return Ok(folder),
            }
        }
    }

    fn group(&self, generation: GenerationId) -> PathBuf {
        self.base.join(OURS).join(generation.to_string())
    }

    /// Makes our folder, whose children may have limits.
    fn prepare(&self) -> Result<(), Error> {
        let ours = self.base.join(OURS);
        let make = || match std::fs::create_dir(&ours) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(Error::io("make the control groups' folder")),
        };
        if self.holds != Holds::Both {
            return make();
        }
        let offer = |folder: &Path| std::fs::write(folder.join("cgroup.subtree_control"), "+memory +cpu");
        if let Err(error) = offer(&self.base) {
            // It has processes. Where they are ours alone, they move.
            if error.kind() != ErrorKind::ResourceBusy {
                return Err(Error::io("offer memory and cpu to control groups")(error));
            }
            self.move_below().map_err(Error::io("move the service below its own control group"))?;
            offer(&self.base).map_err(Error::io("offer memory and cpu to control groups"))?;
        }
        make()?;
        offer(&ours).map_err(Error::io("offer memory and cpu to control groups"))
    }

    fn move_below(&self) -> std::io::Result<()> {
        let below = self.base.join(SERVICE);
        match std::fs::create_dir(&below) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        for pid in std::fs::read_to_string(self.base.join("cgroup.procs"))?.lines() {
            match std::fs::write(below.join("cgroup.procs"), pid) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// A line of the list of mounts.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        Some(Self { root, point, kind, options })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }

    /// Where the group `own` lies below the mount.
    fn folder(&self, own: &str) -> PathBuf {
        let below = own.strip_prefix(self.root.trim_end_matches('/')).unwrap_or("");
        Path::new(self.point).join(below.trim_start_matches('/'))
    }
}

#[expect(clippy::disallowed_methods, reason = "on a blocking thread, with a deadline")]
fn pause() {
    std::thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
        30 20 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        31 20 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        32 20 0:27 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    #[test]
    fn the_first_versions_groups_lie_below_our_own() {
        let own = "4:memory:/docker/7/a\n3:cpu,cpuacct:/b\n0::/\n";
        let found = ControlGroups::find(FIRST, own).unwrap();
        let at = |holds, base: &str| Hierarchy { holds, base: base.into() };
        let wanted =
            vec![at(Holds::Memory, "/sys/fs/cgroup/memory/a"), at(Holds::Cpu, "/sys/fs/cgroup/cpu/b")];
        assert_eq!(found, ControlGroups(wanted));
        let without = FIRST.lines().filter(|line| !line.ends_with("memory")).collect::<Vec<_>>().join("\n");
        assert!(ControlGroups::find(&without, own).unwrap_err().contains("no control group of memory"));
    }

    /// A folder that looks like the kernel's: what is written where.
    #[test]
    fn the_second_versions_group_has_its_limits() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::write(root.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let mounts =
            format!("30 20 0:25 / {} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", root.display());
        let groups = ControlGroups::find(&mounts, "0::/user.slice/x.scope\n").unwrap();
        assert_eq!(groups.0, [Hierarchy { holds: Holds::Both, base: root.to_owned() }]);
        let generation = GenerationId(Uuid::now_v7());
        let group = groups.make(generation, Limits { memory_mb: 2048, cpus: 3 }).unwrap();
        let at = root.join("coffer").join(generation.to_string());
        let read = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
        assert_eq!(read("memory.max"), "2147483648");
        assert_eq!(read("cpu.max"), "60000 20000");
        assert_eq!(read("cpu.weight"), "300");
        assert_eq!(group.join, [at.join("cgroup.procs")]);
        let offered = |at: &Path| std::fs::read_to_string(at.join("cgroup.subtree_control")).unwrap();
        assert_eq!(
            (offered(root), offered(&root.join("coffer"))),
            ("+memory +cpu".into(), "+memory +cpu".into())
        );
        assert!(!group.was_too_large());
        std::fs::write(at.join("memory.events"), "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n").unwrap();
        assert!(group.was_too_large());
        std::fs::write(at.join("memory.events"), "low 0\nhigh 0\nmax 9\noom 2\noom_kill 0\n").unwrap();
        assert!(!group.was_too_large());
    }

    #[test]
    fn the_count_is_that_of_the_processs_own_group() {
        let own = "4:memory:/docker/7/old/coffer/g\n3:cpu,cpuacct:/b/coffer/g\n0::/\n";
        let wanted = PathBuf::from("/sys/fs/cgroup/memory/old/coffer/g/memory.oom_control");
        assert_eq!(counts_of(FIRST, own), Some(wanted));
        assert_eq!(counts_of(FIRST, "4:memory:/docker/7/other/g\n"), None, "a group of somebody else's");
        let second = "30 20 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let wanted = PathBuf::from("/sys/fs/cgroup/coffer/g/memory.events");
        assert_eq!(counts_of(second, "0::/coffer/g\n"), Some(wanted));
    }

    #[test]
    fn a_small_server_has_what_an_engine_needs() {
        let values = Holds::Memory.values(Limits { memory_mb: 64, cpus: 0 });
        assert_eq!(values, [("memory.limit_in_bytes", (512_u64 << 20).to_string())]);
        let values = Holds::Cpu.values(Limits { memory_mb: 64, cpus: 0 });
        assert_eq!(values[2], ("cpu.cfs_quota_us", "20000".to_owned()));
    }
}
