//! Server processes: started once, found again, stopped.
//!
//! A server is known by pid, start time and boot id, which its start record holds. A number alone says nothing: pids
//! are given out again.
//!
//! # If we die here
//! Between the start and its record there is a server without a record. Every server therefore carries
//! [`MARK`] in its environment, and whoever looks for a server without a valid record looks through `/proc` for it.
//! The moment before the new process has its environment is covered by the lock: the process that was forked for the
//! server holds it until it becomes the server.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::domain::ids::GenerationId;
use crate::runtimes::process::volumes::{Lock, Volumes};
use crate::runtimes::process::{accounts, blocking};
use crate::runtimes::{Error, Layout};

/// The name in a server's environment that says whose it is.
const MARK: &str = "COFFER_GENERATION";

/// The start record's name beside the data.
const RECORD: &str = "server.json";

/// How long a killed process may take to go: its memory and open files are given back first.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// How often a program of the engines' is looked at again that has no environment: it gets it within its exec.
const LOOKS: u32 = 100;

/// A process, for certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks since the boot.
    start_time: u64,
    boot_id: String,
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    state: char,
    parent: i32,
    session: i32,
    start_time: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in parentheses and may hold anything: fields count from the last one.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, session, start_time })
    }

    /// A zombie has ended; only its parent has not looked yet.
    fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

fn boot_id() -> Result<String, Error> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .map_err(Error::io("read the boot's id"))
}

impl Process {
    fn is_there(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.lives() && stat.start_time == self.start_time)
    }
}

/// Whether the process is there and has not ended.
pub fn lives(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.lives())
}

/// The generation's server, if its process is there. Only one of its data's owner's is believed: any account of the
/// host can start what looks like another's.
pub fn find(volumes: &Volumes, generation: GenerationId) -> Result<Option<Process>, Error> {
    let Some(owner) = volumes.owner(generation)? else { return Ok(None) };
    let boot_id = boot_id()?;
    if let Some(text) = volumes.read_record(generation, RECORD)?
        && let Ok(process) = serde_json::from_str::<Process>(&text)
        && process.boot_id == boot_id
        && process.is_there()
        && runs_as(process.pid, owner)
    {
        return Ok(Some(process));
    }
    search(generation, owner, volumes.engines(), &boot_id)
}

fn runs_as(pid: i32, owner: u32) -> bool {
    accounts::users(pid).is_some_and(|users| users.iter().all(|user| *user == owner))
}

/// Whether the process runs a program of the engines', also one that was replaced meanwhile.
fn is_of(pid: i32, engines: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.starts_with(engines))
}

/// A process's environment. In the middle of its exec, when it has let go of the lock, it has none for a moment.
fn environment(pid: i32, engines: &Path) -> Option<Vec<u8>> {
    for _ in 0..LOOKS {
        let found = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !found.is_empty() || !is_of(pid, engines) {
            return Some(found);
        }
        std::thread::yield_now();
    }
    None
}

/// Looks through `/proc` for the session leader that carries the generation's mark, as its owner, and runs a program
/// of the engines'.
fn search(
    generation: GenerationId,
    owner: u32,
    engines: &Path,
    boot_id: &str,
) -> Result<Option<Process>, Error> {
    let mark = format!("{MARK}={generation}");
    let engines = engines.canonicalize().unwrap_or_else(|_| engines.to_owned());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(Error::io("read /proc"))? {
        let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) else {
            continue;
        };
        let Some(environment) = environment(pid, &engines) else { continue };
        if !environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            continue;
        }
        if !runs_as(pid, owner) || !is_of(pid, &engines) {
            continue;
        }
        if let Some(stat) = Stat::of(pid).filter(|stat| stat.lives() && stat.session == pid) {
            found.push((pid, stat));
        }
    }
    let server = eldest(&found);
    Ok(server.map(|(pid, start_time)| Process { pid, start_time, boot_id: boot_id.to_owned() }))
}

/// The server among processes that all look like it: its children may have sessions of their own, and may outlive it
/// for a moment. Its number and start time.
fn eldest(found: &[(i32, Stat)]) -> Option<(i32, u64)> {
    let is_child = |stat: &Stat| found.iter().any(|(pid, _)| *pid == stat.parent);
    let parents = found.iter().filter(|(_, stat)| !is_child(stat));
    parents.map(|(pid, stat)| (*pid, stat.start_time)).min_by_key(|(pid, start_time)| (*start_time, *pid))
}

fn record(volumes: &Volumes, generation: GenerationId, process: &Process) -> Result<(), Error> {
    let text = serde_json::to_string(process)
        .map_err(|error| Error::io("write the start record")(std::io::Error::other(error)))?;
    volumes.write_record(generation, RECORD, &text)
}

/// Starts the server unless it is there. Blocks.
pub fn ensure(
    volumes: &Volumes,
    generation: GenerationId,
    layout: &Layout,
    program: &str,
    args: &[String],
) -> Result<(), Error> {
    let Some(lock) = volumes.lock(generation)? else {
        return Err(Error::io("find the generation's folder")(std::io::ErrorKind::NotFound.into()));
    };
    if let Some(process) = find(volumes, generation)? {
        // It may have been started by someone who died before this line.
        return record(volumes, generation, &process);
    }
    volumes.ensure_sockets(generation)?;
    volumes.empty_tmp(generation)?;
    let started = start(volumes, generation, layout, program, args);
    drop(lock);
    started
}

fn start(
    volumes: &Volumes,
    generation: GenerationId,
    layout: &Layout,
    program: &str,
    args: &[String],
) -> Result<(), Error> {
    let log = volumes.open_log(generation)?;
    let errors = log.try_clone().map_err(Error::io("open the server's log"))?;
    let mut command = Command::new(layout.root.join("bin").join(program));
    command
        .args(args)
        .current_dir(volumes.folder(generation))
        .env_clear()
        .envs(super::jobs::environment(layout))
        .env(MARK, generation.to_string())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    if let Some((user, group)) = volumes.account(generation)? {
        // With a uid and as root, the standard library clears the supplementary groups.
        command.uid(user).gid(group);
    }
    #[expect(unsafe_code, reason = "runs between fork and exec: two system calls, no allocation, no lock")]
    unsafe {
        command.pre_exec(|| {
            super::jobs::confine()?;
            rustix::process::setsid().map(drop).map_err(Into::into)
        });
    }
    let mut child = command.spawn().map_err(Error::io(format!("start {program}")))?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let start_time = Stat::of(pid).map(|stat| stat.start_time);
    let recorded = match start_time {
        Some(start_time) => {
            tracing::info!(generation = %generation, pid, program, "server started");
            record(volumes, generation, &Process { pid, start_time, boot_id: boot_id()? })
        }
        None => Err(Error::io("look at the new process")(std::io::ErrorKind::NotFound.into())),
    };
    // Someone must take the exit status, or the process stays as a zombie.
    let reaper = std::thread::Builder::new().name(format!("reap-{pid}")).stack_size(64 * 1024);
    let spawned = reaper.spawn(move || {
        if let Ok(status) = child.wait() {
            tracing::info!(generation = %generation, pid, %status, "server ended");
        }
    });
    spawned.map_err(Error::io("start a thread"))?;
    recorded
}

/// Stops the server and waits until its process is gone; happy when none is there. It holds the generation's lock
/// the while, so that nobody starts another.
pub async fn stop(
    volumes: &Arc<Volumes>,
    generation: GenerationId,
    patience: Duration,
    force: bool,
) -> Result<(), Error> {
    let found = {
        let volumes = Arc::clone(volumes);
        blocking(move || {
            let Some(lock) = volumes.lock(generation)? else { return Ok(None) };
            Ok(find(&volumes, generation)?.map(|process| (lock, process)))
        })
    };
    match found.await? {
        Some((lock, process)) => {
            end(&lock, &process, generation, patience, force).await?;
            // Made again before every start; a state folder that is thrown away leaves nothing in the run folder.
            let volumes = Arc::clone(volumes);
            blocking(move || volumes.remove_sockets(generation)).await
        }
        None => Ok(()),
    }
}

async fn end(
    _lock: &Lock,
    process: &Process,
    generation: GenerationId,
    patience: Duration,
    force: bool,
) -> Result<(), Error> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(Error::io("open the server's process")(error.into())),
    };
    // The handle now stands for one process: see that it is still the right one.
    if !process.is_there() {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "an OwnedFd keeps its one descriptor open for as long as it lives")]
    let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }
        .map_err(|error| Error::io("watch the server")(error.into()))?;
    let ended = async |patience: Duration| tokio::time::timeout(patience, handle.readable()).await.is_ok();
    let signal = |signal| match rustix::process::pidfd_send_signal(handle.get_ref(), signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::io("signal the server")(error.into())),
    };
    signal(Signal::TERM)?;
    if ended(patience).await {
        return Ok(());
    }
    if !force {
        return Err(Error::StillRunning { seconds: patience.as_secs() });
    }
    tracing::warn!(generation = %generation, pid = process.pid, "server killed: it did not stop in time");
    signal(Signal::KILL)?;
    if ended(KILL_PATIENCE).await {
        return Ok(());
    }
    Err(Error::StillRunning { seconds: (patience + KILL_PATIENCE).as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_any_name() {
        let line = "7 (a) b (x)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.session, stat.start_time), ('S', 1, 7, 4242));
        assert!(stat.lives());
        assert!(Stat::parse("nonsense").is_none());
    }

    #[test]
    fn a_server_is_the_one_whose_parent_is_none() {
        let each = |pid: i32, parent: i32, start_time: u64| {
            (pid, Stat { state: 'S', parent, session: pid, start_time })
        };
        assert_eq!(eldest(&[]), None);
        // Numbers begin anew at the end of their range.
        assert_eq!(eldest(&[each(5, 900, 70), each(6, 900, 70), each(900, 1, 70)]), Some((900, 70)));
        // The server has ended, and not all of its children yet.
        assert_eq!(eldest(&[each(5, 1, 72), each(6, 1, 71)]), Some((6, 71)));
    }

    #[test]
    fn a_process_with_another_start_time_is_a_stranger() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start_time = Stat::of(pid).unwrap().start_time;
        let me = Process { pid, start_time, boot_id: boot_id().unwrap() };
        assert!(me.is_there());
        assert!(!Process { start_time: start_time + 1, ..me }.is_there());
    }
}
