//! Server processes: started once, found again, stopped.
//!
//! A server is known by pid, start time, boot id and PID namespace, which its start record holds. A number alone says
//! nothing: pids are given out again, and each namespace has its own.
//!
//! # The running lock
//! A server and its shim hold a lock on the file `running` beside the data for as long as either lives: they inherit one
//! open file, and the kernel gives the lock back with the last of them. It is tried before every start. A worker in
//! another PID namespace does not see the processes, but it sees the lock: to it such a server *runs elsewhere*, is
//! observed as running, and is neither started again, stopped nor dropped. A server that was started by an older build
//! holds no lock, and is known by its record alone.
//!
//! # If we die here
//! A server is started by a shim ([`shim`](super::shim)), which goes on without us. Between the start and its record
//! there is a server without a record: every server therefore carries [`MARK`] in its environment, and whoever looks
//! for a server without a valid record looks through `/proc` for it. The moment before the new process has its
//! environment is covered by the lock: we, the shim, and the process that was forked for the server hold it, the last
//! until it becomes the server.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::domain::ids::GenerationId;
use crate::runtimes::process::groups::Group;
use crate::runtimes::process::processes::{MARK, Process, Stat, boot_id, is_of, namespace, runs_as};
use crate::runtimes::process::shim::{Answer, Request, SMALL_HEAP};
use crate::runtimes::process::turns::Turn;
use crate::runtimes::process::volumes::{Lock, Volumes};
use crate::runtimes::process::{blocking, leftovers};
use crate::runtimes::{Error, Exit, Layout, Limits};

/// How long a killed process may take to go: its memory and open files are given back first.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// How long a shim may take to start a server: to write two small files, and to fork.
const SHIM_PATIENCE: Duration = Duration::from_secs(60);

/// How long a shim may take to record a server's end.
const EXIT_PATIENCE: Duration = Duration::from_secs(5);

/// How long what still holds a server's lock may take to end, when no server is found.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How often a program of the engines' is looked at again that has no environment: it gets it within its exec.
const LOOKS: u32 = 100;

/// The generation's server, if its process is there. Only one of its data's owner's is believed: any account of the
/// host can start what looks like another's.
pub fn find(volumes: &Volumes, generation: GenerationId) -> Result<Option<Process>, Error> {
    let Some(owner) = volumes.owner(generation)? else { return Ok(None) };
    let boot_id = boot_id()?;
    if let Some(process) = volumes.recorded_server(generation)?
        && process.boot_id == boot_id
        && process.is_of_ours()
        && process.is_there()
        && runs_as(process.pid, owner)
    {
        return Ok(Some(process));
    }
    search(generation, owner, &volumes.programs(), &boot_id)
}

/// Whether the generation's server runs where we do not see its process: its lock is held, and its records are of
/// another PID namespace. The caller has not found it here.
pub fn runs_elsewhere(volumes: &Volumes, generation: GenerationId) -> Result<bool, Error> {
    let records = [volumes.recorded_server(generation)?, volumes.recorded_shim(generation)?];
    Ok(records.into_iter().flatten().any(|process| !process.is_of_ours())
        && volumes.is_running(generation)?)
}

/// Whether the generation's server runs, here or elsewhere.
pub fn runs(volumes: &Volumes, generation: GenerationId) -> Result<bool, Error> {
    Ok(find(volumes, generation)?.is_some() || runs_elsewhere(volumes, generation)?)
}

fn refuse_elsewhere(volumes: &Volumes, generation: GenerationId) -> Result<(), Error> {
    match runs_elsewhere(volumes, generation)? {
        true => Err(Error::RunsElsewhere { generation }),
        false => Ok(()),
    }
}

/// A process's environment. In the middle of its exec, when it has let go of the lock, it has none for a moment.
fn environment(pid: i32, engines: &[PathBuf]) -> Option<Vec<u8>> {
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
    engines: &[PathBuf],
    boot_id: &str,
) -> Result<Option<Process>, Error> {
    let mark = format!("{MARK}={generation}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(Error::io("read /proc"))? {
        let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) else {
            continue;
        };
        let Some(environment) = environment(pid, engines) else { continue };
        if !environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            continue;
        }
        if !runs_as(pid, owner) || !is_of(pid, engines) {
            continue;
        }
        if let Some(stat) = Stat::of(pid).filter(|stat| stat.lives() && stat.session == pid) {
            found.push((pid, stat));
        }
    }
    let server = eldest(&found);
    Ok(server.map(|(pid, start_time)| Process {
        pid,
        start_time,
        boot_id: boot_id.to_owned(),
        namespace: namespace(),
    }))
}

/// The server among processes that all look like it: its children may have sessions of their own, and may outlive it
/// for a moment. Its number and start time.
fn eldest(found: &[(i32, Stat)]) -> Option<(i32, u64)> {
    let is_child = |stat: &Stat| found.iter().any(|(pid, _)| *pid == stat.parent);
    let parents = found.iter().filter(|(_, stat)| !is_child(stat));
    parents.map(|(pid, stat)| (*pid, stat.start_time)).min_by_key(|(pid, start_time)| (*start_time, *pid))
}

/// What a server is to its host.
pub struct Program {
    /// The program's name in the engine's `bin`.
    pub name: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it may take.
    pub limits: Limits,
}

/// Starts the server unless it is there. What has begun goes on, and keeps the turn, when the caller does not wait.
pub async fn ensure(
    volumes: &Arc<Volumes>,
    (generation, turn): (GenerationId, Turn),
    layout: &Layout,
    program: Program,
) -> Result<(), Error> {
    let (place, first) = (Arc::clone(volumes), turn.clone());
    let lock = blocking(move || {
        let _turn = first;
        let Some(lock) = place.lock(generation)? else {
            return Err(Error::io("find the generation's folder")(std::io::ErrorKind::NotFound.into()));
        };
        match find(&place, generation)? {
            // It may have been started by someone who died before it was recorded.
            Some(server) => place.record_server(generation, &server).map(|()| None),
            None => refuse_elsewhere(&place, generation).map(|()| Some(lock)),
        }
    });
    let Some(lock) = lock.await? else { return Ok(()) };
    end_shim(volumes, generation).await?;
    let (place, layout) = (Arc::clone(volumes), layout.clone());
    blocking(move || {
        let _turn = turn;
        leftovers::end(&place, generation)?;
        // Before anything of the data's or beside it is touched.
        let Some(running) = place.hold_running(generation, LOCK_PATIENCE)? else {
            return Err(Error::RunsElsewhere { generation });
        };
        place.ensure_sockets(generation)?;
        place.empty_tmp(generation)?;
        start(&place, generation, &layout, program, (&lock, running))
    })
    .await
}

/// Starts a shim, which starts the server, and waits for what it says.
fn start(
    volumes: &Arc<Volumes>,
    generation: GenerationId,
    layout: &Layout,
    Program { name: program, args, limits }: Program,
    (lock, running): (&Lock, OwnedFd),
) -> Result<(), Error> {
    let doing = || format!("start {program}");
    let group = match volumes.control_groups() {
        Ok(groups) => groups.make(generation, limits)?,
        Err(_) => Group::default(),
    };
    let log = volumes.open_log(generation)?;
    let errors = log.try_clone().map_err(Error::io("open the server's log"))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(Error::io(doing()))?;
    let lock = lock.share()?;
    let request = Request {
        generation,
        program: layout.root.join("bin").join(&program),
        args,
        group,
        account: volumes.account(generation)?,
        lock: lock.as_raw_fd(),
        running: running.as_raw_fd(),
    };
    let request = serde_json::to_vec(&request).map_err(|error| Error::io(doing())(error.into()))?;
    let folder = volumes.folder(generation);
    let mut command = Command::new(volumes.shim());
    command
        .arg0("coffer")
        .args(["shim", "--folder"])
        .arg(&folder)
        .current_dir(&folder)
        .env_clear()
        .envs(super::jobs::environment(layout))
        .env(SMALL_HEAP.0, SMALL_HEAP.1)
        .stdin(OwnedFd::from(theirs))
        .stdout(log)
        .stderr(errors);
    #[expect(unsafe_code, reason = "runs between fork and exec: two system calls, no allocation, no lock")]
    unsafe {
        command.pre_exec(move || {
            // Only this child keeps the locks: others that are started meanwhile see them close.
            rustix::io::fcntl_setfd(&lock, FdFlags::empty())?;
            rustix::io::fcntl_setfd(&running, FdFlags::empty())?;
            rustix::process::setsid().map(drop).map_err(Into::into)
        });
    }
    let mut shim = command.spawn().map_err(Error::io(format!("start the shim of {program}")))?;
    // With our ends of what it inherits: it must be seen when they close.
    drop(command);
    let answer = ask(&mut ours, &request, &mut shim);
    let started = match &answer {
        Some(Answer::Started { pid }) => Some(*pid),
        Some(Answer::Failed { .. }) | None => None,
    };
    reap(volumes, generation, shim, started)?;
    match answer {
        Some(Answer::Started { pid }) => {
            tracing::info!(generation = %generation, pid, program, "server started");
            Ok(())
        }
        Some(Answer::Failed { doing, errno, why }) => {
            let error = errno.map_or_else(|| std::io::Error::other(why), std::io::Error::from_raw_os_error);
            Err(Error::io(doing)(error))
        }
        // It has ended, and what it forked has become the server, or has ended, too.
        None => match find(volumes, generation)? {
            Some(server) => {
                tracing::warn!(generation = %generation, pid = server.pid, program, "server started, its shim has ended");
                volumes.record_server(generation, &server)
            }
            None => Err(Error::io(doing())(std::io::Error::other("its shim has ended"))),
        },
    }
}

/// Tells a shim what to run and waits for its answer: `None` when it ended without one.
fn ask(socket: &mut UnixStream, request: &[u8], shim: &mut Child) -> Option<Answer> {
    let mut text = Vec::new();
    for patience in [SHIM_PATIENCE, KILL_PATIENCE] {
        // What is not heard is answered by nothing.
        let _ = socket.set_read_timeout(Some(patience));
        if patience == SHIM_PATIENCE {
            let _ = socket.write_all(request);
            let _ = socket.shutdown(Shutdown::Write);
        }
        match socket.read_to_end(&mut text) {
            Ok(_) => break,
            Err(error) => {
                tracing::warn!(shim = shim.id(), %error, "a shim that does not answer is killed");
                let _ = shim.kill();
            }
        }
    }
    serde_json::from_slice(&text).ok()
}

/// Someone must take the shim's exit status, or it stays as a zombie. `server` is what it started.
fn reap(
    volumes: &Arc<Volumes>,
    generation: GenerationId,
    mut shim: Child,
    server: Option<i32>,
) -> Result<(), Error> {
    let volumes = Arc::clone(volumes);
    let reaper = std::thread::Builder::new().name(format!("reap-{}", shim.id())).stack_size(256 * 1024);
    let spawned = reaper.spawn(move || {
        let (Ok(ended), Some(pid)) = (shim.wait(), server) else { return };
        if ended.success() {
            // Gone again where the server was started anew or dropped meanwhile.
            let exit = volumes.recorded_exit(generation).ok().flatten();
            let (status, signal) = exit.map(|exit| (exit.status, exit.signal)).unwrap_or_default();
            tracing::info!(generation = %generation, pid, status, signal, "server ended");
        } else {
            tracing::warn!(generation = %generation, pid, %ended, "a server's shim ended without a word of the server's end");
        }
    });
    spawned.map(drop).map_err(Error::io("start a thread"))
}

/// Stops the server and waits until its process is gone and its end is recorded; happy when none is there. It holds
/// the generation's lock the while, so that nobody starts another.
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
            match find(&volumes, generation)? {
                Some(process) => Ok(Some((lock, process))),
                None => refuse_elsewhere(&volumes, generation).map(|()| None),
            }
        })
    };
    match found.await? {
        Some((_lock, process)) => {
            end(&process, generation, patience, force).await?;
            // What a server leaves that was killed may look like it: a child that it had only just forked.
            let left = Arc::clone(volumes);
            blocking(move || leftovers::end(&left, generation)).await?;
            shim_left(volumes, generation).await?;
            // Made again before every start; a state folder that is thrown away leaves nothing in the run folder.
            let volumes = Arc::clone(volumes);
            blocking(move || {
                if let Ok(groups) = volumes.control_groups() {
                    groups.remove(generation);
                    groups.leave();
                }
                volumes.remove_sockets(generation)
            })
            .await
        }
        None => Ok(()),
    }
}

/// How the last server ended, where somebody saw it.
pub async fn last_exit(volumes: &Arc<Volumes>, generation: GenerationId) -> Result<Option<Exit>, Error> {
    let runs = async || {
        let volumes = Arc::clone(volumes);
        blocking(move || self::runs(&volumes, generation)).await
    };
    if runs().await? {
        return Ok(None);
    }
    // It may have ended this moment.
    shim_left(volumes, generation).await?;
    let volumes = Arc::clone(volumes);
    blocking(move || volumes.recorded_exit(generation)).await
}

/// Waits a little for the shim of a server that has ended, which has one thing left to do. Gives it when it does not end.
async fn shim_left(volumes: &Arc<Volumes>, generation: GenerationId) -> Result<Option<Watched>, Error> {
    let recorded = {
        let volumes = Arc::clone(volumes);
        blocking(move || volumes.recorded_shim(generation))
    };
    let boot_id = boot_id()?;
    let ours = |shim: &Process| shim.boot_id == boot_id && shim.is_of_ours();
    let Some(shim) = recorded.await?.filter(ours) else { return Ok(None) };
    let Some(watched) = Watched::new(&shim)? else { return Ok(None) };
    Ok(if watched.ends_within(EXIT_PATIENCE).await { None } else { Some(watched) })
}

/// Sees to it that the shim of a server that has ended is gone; the caller holds the generation's lock.
pub async fn end_shim(volumes: &Arc<Volumes>, generation: GenerationId) -> Result<(), Error> {
    let Some(shim) = shim_left(volumes, generation).await? else { return Ok(()) };
    tracing::warn!(generation = %generation, "the shim of a server that has ended is killed: it does not end");
    shim.signal(Signal::KILL)?;
    if shim.ends_within(KILL_PATIENCE).await {
        return Ok(());
    }
    Err(Error::StillRunning { seconds: KILL_PATIENCE.as_secs() })
}

/// A process that is being watched: it stays this one, whatever its number becomes.
struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// `None` when it has ended.
    fn new(process: &Process) -> Result<Option<Self>, Error> {
        let Some(pid) = Pid::from_raw(process.pid) else { return Ok(None) };
        let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(Error::io("open the process")(error.into())),
        };
        // The handle now stands for one process: see that it is still the right one.
        if !process.is_there() {
            return Ok(None);
        }
        #[expect(unsafe_code, reason = "an OwnedFd keeps its one descriptor open for as long as it lives")]
        let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }
            .map_err(|error| Error::io("watch the process")(error.into()))?;
        Ok(Some(Self(handle)))
    }

    async fn ends_within(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.0.readable()).await.is_ok()
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match rustix::process::pidfd_send_signal(self.0.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::io("signal the process")(error.into())),
        }
    }
}

async fn end(
    process: &Process,
    generation: GenerationId,
    patience: Duration,
    force: bool,
) -> Result<(), Error> {
    let Some(server) = Watched::new(process)? else { return Ok(()) };
    server.signal(Signal::TERM)?;
    if server.ends_within(patience).await {
        return Ok(());
    }
    if !force {
        return Err(Error::StillRunning { seconds: patience.as_secs() });
    }
    tracing::warn!(generation = %generation, pid = process.pid, "server killed: it did not stop in time");
    server.signal(Signal::KILL)?;
    if server.ends_within(KILL_PATIENCE).await {
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
        let me = Process { pid, start_time, boot_id: boot_id().unwrap(), namespace: namespace() };
        assert!(me.is_there());
        assert!(!Process { start_time: start_time + 1, ..me }.is_there());
    }
}
