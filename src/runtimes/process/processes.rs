//! Processes of this host, known for certain: by number, start time and boot, since a number is given again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::question::ProcessFacts;
use crate::runtimes::Error;
use crate::runtimes::process::accounts;

/// The name in a server's environment that says whose it is.
pub const MARK: &str = "COFFER_GENERATION";

/// A process, for certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub(super) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks since the boot.
    pub(super) start_time: u64,
    pub(super) boot_id: String,
    /// The PID namespace in which it has that number; records of older builds do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
}

/// What `/proc/<pid>/stat` says.
pub(super) struct Stat {
    pub(super) state: char,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) start_time: u64,
}

impl Stat {
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in parentheses and may hold anything: fields count from the last one.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, session, start_time })
    }

    /// A zombie has ended; only its parent has not looked yet.
    pub(super) fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

pub(super) fn boot_id() -> Result<String, Error> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .map_err(Error::io("read the boot's id"))
}

/// Our PID namespace, as the kernel names it.
pub(super) fn namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

impl Process {
    /// Whether its number is one of our own PID namespace.
    pub(super) fn is_of_ours(&self) -> bool {
        self.namespace.is_none() || self.namespace == namespace()
    }

    /// The process that now has this number.
    pub fn of(pid: i32) -> std::io::Result<Self> {
        let stat = Stat::of(pid).ok_or(std::io::ErrorKind::NotFound)?;
        let boot_id = boot_id().map_err(std::io::Error::other)?;
        Ok(Self { pid, start_time: stat.start_time, boot_id, namespace: namespace() })
    }

    /// This one.
    pub fn own() -> std::io::Result<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What the kernel says of it; `None` when it is gone.
    pub fn facts(&self) -> Option<ProcessFacts> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        self.is_there().then(|| facts(&text))
    }

    pub(super) fn is_there(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.lives() && stat.start_time == self.start_time)
    }
}

/// Reads `/proc/<pid>/status`.
fn facts(text: &str) -> ProcessFacts {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    ProcessFacts {
        threads: of("Threads"),
        file_slots: of("FDSize"),
        size: of("VmSize"),
        largest_size: of("VmPeak"),
        resident: of("VmRSS"),
        most_resident: of("VmHWM"),
    }
}

/// Whether the process is there and has not ended.
pub fn lives(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.lives())
}

/// Whether the process runs as that account and as no other.
pub fn runs_as(pid: i32, owner: u32) -> bool {
    accounts::users(pid).is_some_and(|users| users.iter().all(|user| *user == owner))
}

/// Whether the process runs a program of the engines', also one that was replaced meanwhile.
pub fn is_of(pid: i32, engines: &[PathBuf]) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|program| engines.iter().any(|folder| program.starts_with(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read() {
        let text = "Name:\tmariadbd\nFDSize:\t128\nVmPeak:\t 1400000 kB\nVmSize:\t 1300000 kB\nVmHWM:\t  210000 kB\n\
                    VmRSS:\t  200000 kB\nThreads:\t31\n";
        let wanted = ProcessFacts {
            threads: 31,
            file_slots: 128,
            size: 1_300_000,
            largest_size: 1_400_000,
            resident: 200_000,
            most_resident: 210_000,
        };
        assert_eq!(facts(text), wanted);
        assert_eq!(facts("Name:\tzombie\n"), ProcessFacts::default());
        assert!(Process::own().unwrap().facts().is_some_and(|facts| facts.resident > 0 && facts.threads > 0));
    }
}
