//! Programs that run beside a generation's data to their end, as the server's account.
//!
//! # If we die here
//! A job dies with us: the kernel kills it when the *thread* that started it ends. Jobs are therefore started from
//! one thread that lives as long as the runtime; a thread of tokio's pool may end when it is idle. A job whose future
//! is dropped is killed, too, and with it all that it has started in its process group; so is one that lasts for longer
//! than [`LONGEST`]. Who knows how long its job may take drops it earlier.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::domain::ids::GenerationId;
use crate::runtimes::{Error, Job, JobOutput, Layout};

/// How much of a job's standard error is kept: its end.
const STDERR_KEPT: usize = 4096;

/// How much a job may print on its standard output, in bytes; what is longer is piped.
const STDOUT_MOST: u64 = 64 * 1024 * 1024;

/// How long no byte may move between two jobs.
const STALLED: Duration = Duration::from_secs(600);

/// How long any job may take: a copy of the largest volume takes hours.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How often a pipe tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// The whole environment of a server or a job.
pub fn environment(layout: &Layout) -> [(&'static str, PathBuf); 4] {
    [
        ("PATH", "/usr/bin:/bin".into()),
        ("LANG", "C.UTF-8".into()),
        ("HOME", layout.tmp.clone()),
        ("TMPDIR", layout.tmp.clone()),
    ]
}

/// Has this process, and what it becomes, leave no core behind: it would hold a tenant's rows and our passwords. And
/// none of it becomes another account by a program's set-user-id bit: one that an account left behind would give
/// whoever runs it what the account's next instance has. Safe between fork and exec.
pub fn confine() -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none).map_err(Into::into)
}

/// The thread that starts jobs.
pub struct Spawner {
    queue: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Spawner {
    pub fn new() -> Result<Self, Error> {
        let (queue, requests) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        std::thread::Builder::new()
            .name("coffer-jobs".to_owned())
            .spawn(move || requests.into_iter().for_each(|request| request()))
            .map_err(Error::io("start a thread"))?;
        Ok(Self { queue })
    }

    /// Starts `command` from the thread.
    async fn spawn(&self, mut command: Command) -> std::io::Result<Child> {
        let runtime = tokio::runtime::Handle::current();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let request = Box::new(move || {
            let _inside = runtime.enter();
            // When nobody waits any more, the child is dropped here, and so killed.
            drop(answer.send(command.spawn()));
        });
        let ended = || std::io::Error::other("the thread that starts jobs has ended");
        self.queue.send(request).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

/// Beside which server's data a job runs.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// As whom; `None` is the caller.
    pub account: Option<(u32, u32)>,
    /// Where.
    pub layout: &'a Layout,
}

/// A job that was started.
struct Started {
    child: Child,
    group: Group,
    program: String,
    input: Vec<u8>,
}

/// The process group of a job that has not ended: killed with the value.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// The job has ended by itself.
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is what we want.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Ends what takes too long.
async fn in_time<T>(doing: &str, job: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(LONGEST, job).await {
        Ok(ended) => ended,
        Err(_) => Err(Error::io(format!("run {doing} to its end"))(std::io::ErrorKind::TimedOut.into())),
    }
}

async fn start(
    spawner: &Spawner,
    Beside { account, layout }: Beside<'_>,
    job: Job,
    stdin_piped: bool,
) -> Result<Started, Error> {
    let doing = || format!("start {}", job.program);
    let mut command = Command::new(layout.root.join("bin").join(&job.program));
    let secret = match &job.secret {
        Some(text) => Some(secret_file(text, account).map_err(Error::io(doing()))?),
        None => None,
    };
    let path = secret.as_ref().map(|file| format!("/dev/fd/{}", file.as_raw_fd())).unwrap_or_default();
    command
        .args(job.args.iter().map(|arg| with_secret(arg, &path)))
        .current_dir(&layout.tmp)
        .env_clear()
        .envs(environment(layout))
        .stdin(if stdin_piped || !job.input.is_empty() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    let parent = rustix::process::getpid();
    #[expect(unsafe_code, reason = "runs between fork and exec: a few system calls, no allocation, no lock")]
    unsafe {
        command.pre_exec(move || {
            confine()?;
            // After the change of user, which would take it away again.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            // Only this child gets the file: others that are started meanwhile see it close.
            if let Some(file) = &secret {
                rustix::io::fcntl_setfd(file, FdFlags::empty())?;
            }
            Ok(())
        });
    }
    let child = spawner.spawn(command).await.map_err(Error::io(doing()))?;
    Ok(Started { group: Group::of(&child), child, program: job.program, input: job.input })
}

/// An argument with the secret's path. Only an option's whole value is replaced: other arguments may be a tenant's
/// names, with any characters.
fn with_secret(arg: &str, path: &str) -> String {
    match arg.strip_suffix("={secret}").filter(|option| option.starts_with("--")) {
        Some(option) => format!("{option}={path}"),
        None => arg.to_owned(),
    }
}

/// A file without a name that only the job's account can read. It is opened again by `/dev/fd/<n>`, which asks for
/// the right to read it: so it must belong to that account.
fn secret_file(text: &SecretString, account: Option<(u32, u32)>) -> std::io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("coffer-job", MemfdFlags::CLOEXEC)?;
    let mut rest = text.expose_secret().as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR)?;
    if let Some((user, group)) = account {
        std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

/// Runs a job to its end.
pub async fn run(
    spawner: &Spawner,
    generation: GenerationId,
    beside: Beside<'_>,
    job: Job,
) -> Result<JobOutput, Error> {
    // Dropped before its end, the group is killed.
    let Started { group, mut child, program, input } = start(spawner, beside, job, false).await?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let stdout = async { whole(stdout).await.map_err(Error::io(format!("read what {program} prints"))) };
    let all = async {
        tokio::try_join!(
            async {
                feed(stdin, input).await;
                Ok(())
            },
            stdout,
            async { Ok(end_of(stderr).await) },
            async { Ok(child.wait().await) },
        )
    };
    let ((), stdout, stderr, status) = in_time(&program, all).await?;
    group.has_ended();
    finish(generation, program, status, stdout, stderr)
}

/// Runs `from` and `to` with the first one's output as the second one's input.
pub async fn pipe(
    spawner: &Spawner,
    (from_generation, from_beside, from): (GenerationId, Beside<'_>, Job),
    (to_generation, to_beside, to): (GenerationId, Beside<'_>, Job),
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(JobOutput, JobOutput), Error> {
    let mut to = start(spawner, to_beside, to, true).await?;
    let mut from = start(spawner, from_beside, from, false).await?;
    let (from_in, from_out, from_err) =
        (from.child.stdin.take(), from.child.stdout.take(), from.child.stderr.take());
    let (to_in, to_out, to_err) = (to.child.stdin.take(), to.child.stdout.take(), to.child.stderr.take());
    let (mut from_child, mut to_child) = (from.child, to.child);
    let groups = [from.group, to.group];
    let both = async {
        tokio::try_join!(
            async {
                feed(from_in, from.input).await;
                Ok(())
            },
            async { Ok(end_of(from_err).await) },
            async { Ok(from_child.wait().await) },
            async { whole(to_out).await.map_err(Error::io(format!("read what {} prints", to.program))) },
            async { Ok(end_of(to_err).await) },
            async { Ok(to_child.wait().await) },
        )
    };
    let passing = async {
        match forward(from_out, to_in, progress).await {
            Passed::All => std::future::pending::<()>().await,
            Passed::Stalled => {}
        }
    };
    let ((), from_err, from_status, to_out, to_err, to_status) = tokio::select! {
        ended = in_time(&from.program, both) => ended?,
        // Dropped, both are killed.
        () = passing => return Err(Error::io("copy: nothing moved for too long")(std::io::ErrorKind::TimedOut.into())),
    };
    groups.into_iter().for_each(Group::has_ended);
    let from = finish(from_generation, from.program, from_status, Vec::new(), from_err)?;
    let to = finish(to_generation, to.program, to_status, to_out, to_err)?;
    Ok((from, to))
}

fn finish(
    generation: GenerationId,
    program: String,
    status: std::io::Result<ExitStatus>,
    stdout: Vec<u8>,
    stderr: String,
) -> Result<JobOutput, Error> {
    let status = status.map_err(Error::io(format!("wait for {program}")))?;
    tracing::debug!(generation = %generation, program, %status, "job ended");
    Ok(JobOutput { status: status.code(), stdout, stderr })
}

/// Writes the whole input. A job that ends before it has read it says so by its status.
async fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&input).await;
    }
}

/// Forwards until either side ends; both ends are closed then, which the programs notice.
async fn forward(
    from: Option<ChildStdout>,
    to: Option<ChildStdin>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Passed {
    let (Some(mut from), Some(mut to)) = (from, to) else { return Passed::All };
    let mut buffer = vec![0; 128 * 1024];
    let (mut passed, mut told) = (0_u64, Instant::now());
    loop {
        // Whoever stands still so long never comes back: closing its pipe ends it, or the time-out of the other does.
        let part = match tokio::time::timeout(STALLED, from.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(length)) => buffer.get(..length).unwrap_or_default(),
            Err(_) => return Passed::Stalled,
        };
        match tokio::time::timeout(STALLED, to.write_all(part)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => return Passed::Stalled,
        }
        passed += part.len() as u64;
        if told.elapsed() >= TELL_EVERY {
            progress(passed);
            told = Instant::now();
        }
    }
    progress(passed);
    Passed::All
}

/// How a forwarding ended.
enum Passed {
    /// One side ended.
    All,
    /// No byte moved for too long.
    Stalled,
}

/// Reads to the end; refuses what is longer than [`STDOUT_MOST`]: it may come from a server that was taken over.
async fn whole(stdout: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(STDOUT_MOST + 1).read_to_end(&mut all).await?;
    }
    if all.len() as u64 > STDOUT_MOST {
        let why = format!("it is more than {} MB", STDOUT_MOST / 1024 / 1024);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(all)
}

/// Reads to the end and keeps the last part.
async fn end_of(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut end = Vec::new();
    let mut buffer = vec![0; STDERR_KEPT];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        end.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let surplus = end.len().saturating_sub(STDERR_KEPT);
        end.drain(..surplus);
    }
    String::from_utf8_lossy(&end).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_output_without_an_end_is_refused() {
        let error = whole(Some(tokio::io::repeat(b'x'))).await.unwrap_err();
        assert_eq!(error.to_string(), "it is more than 64 MB");
        assert_eq!(whole(Some(&b"short"[..])).await.unwrap(), b"short");
    }

    /// Also what it has started itself, which would go on beside the data of whoever comes next.
    #[tokio::test]
    async fn a_job_that_is_dropped_takes_its_group_along() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let layout = Layout {
            data: at("data"),
            tmp: folder.path().to_owned(),
            config: at("config"),
            log: at("log"),
            socket: at("socket"),
            root: at("root"),
        };
        let spawner = Spawner::new().unwrap();
        let script = "sleep 600 & echo $! > child.new; mv child.new child; wait".to_owned();
        let job =
            Job { program: "/bin/sh".to_owned(), args: vec!["-c".to_owned(), script], ..Job::default() };
        let generation = GenerationId(uuid::Uuid::now_v7());
        let running = run(&spawner, generation, Beside { account: None, layout: &layout }, job);
        let started = async {
            while !at("child").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = started => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it does not start"),
        }
        let child: i32 = std::fs::read_to_string(at("child")).unwrap().trim().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while super::super::processes::lives(child) {
            assert!(Instant::now() < deadline, "it lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
