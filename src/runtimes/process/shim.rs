//! `coffer shim --folder <the generation's>`: the parent of one server. It starts it, says durably who it is and how it
//! ended, and ends.
//!
//! It is this same program, before everything that a role sets up: one thread, no configuration, no connection. It
//! has a session of its own and outlives who started it. Its one argument is the generation's folder, so that an
//! operator sees whose it is; what to run comes by its standard input, a socket, on which it answers once.
//!
//! # The lock
//! It inherits the generation's lock from the worker, and keeps it until the server is recorded; so does the process
//! that it forks, until that has become the server. Nobody else can therefore look for a server while one is on its
//! way. From then on it does not need that one: its records name the server that they are about, and nobody starts
//! another before it is gone. Of a second lock, the server's own, shim and server keep one open file for as long as they
//! live ([`servers`](super::servers)).
//!
//! # The log
//! The server writes its log itself, so that a shim's death costs no line and no server ever waits for us. The shim sees
//! to it that it stays short; see [`logs`].
//!
//! # If we die here
//! By kill -9, at any line; the names are the points at which the tests do it.
//!
//! | the shim dies | then |
//! |---|---|
//! | before it has read what to run | nothing has changed; the worker sees the socket close and says so |
//! | `cleared`: the records of an earlier server are gone | no server runs and nothing is known of the last one's end, which is the careful side |
//! | `forking`: the forked process is not the server yet | it holds lock and socket until it is, so that the worker waits for it; it is found by its mark and recorded |
//! | `started`, `server.json`: the server runs, unrecorded | the same |
//! | `recorded`: not answered yet | the worker finds it by its record |
//! | while the server runs | the server lives on, another's child; how it ends is not known |
//! | `ended`, `exit.json`: the exit is not recorded, or not under its name | how it ended is not known |
//!
//! When the worker dies instead, or with it, the shim goes on: to the end of the start, whose lock the next worker
//! waits for, and to the server's end. A worker that dies before it has said what to run leaves a shim that ends.
//!
//! A full disk keeps no server's end from being recorded: the room is taken before the start, which fails when there is
//! none, with the records of the earlier server still in place.
//!
//! # Decision
//! It is run as `/proc/self/exe`: a worker whose program was replaced on disk meanwhile still gets a shim that
//! understands it. What we gave up: its name in `/proc/<pid>/exe` after that. What asks it to end (SIGTERM, SIGINT,
//! SIGHUP, SIGQUIT) is not heard: whoever ends a whole service sends it to the server, too, and then its exit is wanted
//! most. They are handled by a function that does nothing rather than ignored, since only that ends with the exec of
//! the server.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};

use crate::domain::ids::GenerationId;
use crate::runtimes::process::groups::Group;
use crate::runtimes::process::logs;
use crate::runtimes::process::processes::{MARK, Process};
use crate::runtimes::process::records::Start;

/// A variable, and its value, by which the allocator takes no huge pages for the little that a shim has: 4 MB less.
pub const SMALL_HEAP: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 1024 * 1024;

/// What a worker tells its shim. The rest it inherits: the environment, the folder, the log as its outputs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub generation: GenerationId,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// As whom; `None` is the caller.
    pub account: Option<(u32, u32)>,
    /// The number by which it inherits the generation's lock.
    pub lock: i32,
    /// The number by which it inherits the server's own lock, for itself and for the server.
    pub running: i32,
    /// The control group that the server is to be in.
    pub group: Group,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The server runs and is recorded.
    Started { pid: i32 },
    /// It does not, or is not recorded.
    Failed { doing: String, errno: Option<i32>, why: String },
}

/// A step that failed: what, and why.
type Failure = (String, std::io::Error);

fn doing(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.into();
    move |error| (what, error)
}

/// Runs a shim in this process, which does nothing else; `folder` is the generation's.
pub fn run(folder: &Path) -> ExitCode {
    hear_nothing();
    // Only for who lists processes.
    let _ = rustix::thread::set_name(c"coffer-shim");
    let asked = std::io::stdin().lock().take(LONGEST_REQUEST);
    let asked = heard(asked).and_then(|request| {
        only_ours(request.lock, request.running)?;
        let socket = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
        Ok((request, socket))
    });
    let (request, mut socket) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("coffer shim: a worker starts it and tells it what to run: {error}");
            return ExitCode::from(2);
        }
    };
    let mut answer = |answer: &Answer| {
        // Who asked may be gone. Whoever comes next finds the server.
        let _ = serde_json::to_vec(answer).map(|text| socket.write_all(&text));
        let _ = socket.shutdown(Shutdown::Both);
    };
    let (mut child, server, recorded, ending, _running) = match start(folder, request) {
        Ok(started) => started,
        Err((doing, error)) => {
            answer(&failed(doing, &error));
            return ExitCode::FAILURE;
        }
    };
    match recorded {
        Ok(()) => answer(&Answer::Started { pid: server.pid() }),
        Err(error) => answer(&failed("write the start record".to_owned(), &error)),
    }
    logs::keep_short(Path::new("."), &child);
    let ended = child.wait();
    point("ended");
    let told = ended.and_then(|status| ending.ended(status.code(), status.signal()));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coffer shim: how the server {} ended is not recorded: {error}", server.pid());
            ExitCode::FAILURE
        }
    }
}

/// The whole request: the worker closes its side after it.
fn heard(mut from: impl std::io::Read) -> std::io::Result<Request> {
    let mut text = Vec::new();
    from.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn failed(doing: String, error: &std::io::Error) -> Answer {
    Answer::Failed { doing, errno: error.raw_os_error(), why: error.to_string() }
}

type Started = (Child, Process, std::io::Result<()>, super::records::Running, OwnedFd);

/// Starts the server and records it; gives back the generation's lock and keeps the server's own.
fn start(folder: &Path, request: Request) -> Result<Started, Failure> {
    let Request { generation, program, args, account, lock, running, group } = request;
    #[expect(
        unsafe_code,
        reason = "the worker has left these descriptors open for us, and nobody else uses them"
    )]
    let [lock, running] = unsafe { [lock, running].map(|number| OwnedFd::from_raw_fd(number)) };
    for each in [&lock, &running] {
        rustix::io::fcntl_setfd(each, FdFlags::CLOEXEC)
            .map_err(|error| ("keep the generation's lock".to_owned(), error.into()))?;
    }
    let me = Process::own().map_err(doing("look at the shim's process"))?;
    let records = Start::begin(folder, &me).map_err(doing("make room for the server's records"))?;
    point("cleared");
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let log = || std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut command = Command::new(program);
    command
        .args(args)
        .env_remove(SMALL_HEAP.0)
        .env(MARK, generation.to_string())
        .stdin(Stdio::null())
        .stdout(log().map_err(doing("open the server's log"))?)
        .stderr(log().map_err(doing("open the server's log"))?);
    if let Some((user, group)) = account {
        // With a uid and as root, the standard library clears the supplementary groups.
        command.uid(user).gid(group);
    }
    // Opened by us, who may; the new process is another account's by the time it writes.
    let joined: std::io::Result<Vec<_>> =
        group.join.iter().map(|path| std::fs::OpenOptions::new().write(true).open(path)).collect();
    let joined = joined.map_err(doing("open the server's control group"))?;
    #[expect(
        unsafe_code,
        reason = "runs between fork and exec, in a process of one thread: a few system calls"
    )]
    unsafe {
        let inherited = running.as_raw_fd();
        command.pre_exec(move || {
            // The server has its lock for as long as it lives, also when we do not.
            rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(inherited), FdFlags::empty())?;
            point("forking");
            for group in &joined {
                rustix::io::write(group, b"0")?;
            }
            super::jobs::confine()?;
            rustix::process::setsid().map(drop).map_err(Into::into)
        });
    }
    let child = command.spawn().map_err(doing(format!("start {name}")))?;
    point("started");
    // Our child, not waited for: its number is its own until then.
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let server = Process::of(pid).map_err(doing("look at the new process"))?;
    let (recorded, ending) = records.started(&server, group);
    point("recorded");
    drop(lock);
    Ok((child, server, recorded, ending, running))
}

/// Closes what whoever started the worker had left open in it: a shim outlives them, and would keep their locks and
/// pipes for as long as its server lives.
fn only_ours(lock: i32, running: i32) -> std::io::Result<()> {
    let mut foreign = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_string_lossy().parse::<i32>().unwrap_or_default();
        // The standard ones and the locks are ours.
        if number > 2 && number != lock && number != running {
            foreign.push(number);
        }
    }
    for number in foreign {
        // The one by which the list was read is closed already.
        if std::fs::read_link(format!("/proc/self/fd/{number}")).is_err() {
            continue;
        }
        #[expect(unsafe_code, reason = "one thread, and nothing here has opened it or will use it")]
        let inherited = unsafe { OwnedFd::from_raw_fd(number) };
        drop(inherited);
    }
    Ok(())
}

/// Has what asks a process to end do nothing here, and a child's end be kept until we look.
fn hear_nothing() {
    extern "C" fn nothing(_signal: i32) {}
    #[expect(unsafe_code, reason = "the C library's own; the standard library has nothing like it")]
    unsafe extern "C" {
        fn signal(signal: i32, handler: usize) -> usize;
    }
    use rustix::process::Signal;
    let handler = nothing as extern "C" fn(i32) as usize;
    for number in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        #[expect(unsafe_code, reason = "a handler that does nothing is safe at any time")]
        unsafe {
            signal(number.as_raw(), handler);
        }
    }
    #[expect(
        unsafe_code,
        reason = "0 is the default handling, which whoever started the worker may have taken off"
    )]
    unsafe {
        signal(Signal::CHILD.as_raw(), 0);
    }
}

/// Waits while a test wants it: while a file `pause.<name>` lies in the generation's folder. Says so by a file
/// `<name>.reached` where it may write. Builds without debug assertions have none of it.
#[expect(clippy::disallowed_methods, reason = "a test's point; there is one thread")]
pub fn point(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let asked = PathBuf::from(format!("pause.{name}"));
    if asked.exists() {
        let _ = std::fs::write(format!("{name}.reached"), std::process::id().to_string());
    }
    while asked.exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
