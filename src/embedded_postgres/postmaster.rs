//! The postmaster as a process: started in a session of its own, found again by the next of us, watched by a pidfd
//! (never by a number that may have been given to another), and reaped.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::cluster::Layout;
use super::{Account, Config, Error};

/// How often a start or a stop is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a postmaster that was found may be without its socket: it may be starting still.
const WITHOUT_SOCKET: Duration = Duration::from_secs(5);
/// How long an immediate shutdown may take.
const AT_ONCE: Duration = Duration::from_secs(10);

pub(super) struct Postmaster {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
}

impl Postmaster {
    /// The postmaster that runs on this data folder, if one does.
    pub(super) fn find(data: &Path) -> Result<Option<Self>, Error> {
        let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return Ok(None) };
        let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw)
        else {
            return Ok(None);
        };
        match Self::watch(pid) {
            // Its working folder is the data folder: a number that came to another process is not taken for it.
            Ok(found) if works_in(pid, data) => Ok(Some(found)),
            Ok(_another) => Ok(None),
            Err(Error::Process { source, .. }) if source.raw_os_error() == Some(SEARCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Starts one. It outlives us.
    pub(super) fn start(postgres: &Path, config: &Config, layout: &Layout) -> Result<Self, Error> {
        let path = layout.start_log();
        let log: File = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        let second = log.try_clone().map_err(Error::file("open", &path))?;
        let mut command = Command::new(postgres);
        let mut config_file = std::ffi::OsString::from("config_file=");
        config_file.push(layout.config_file());
        command.arg("-D").arg(&layout.data).arg("-c").arg(config_file);
        command.stdin(Stdio::null()).stdout(log).stderr(second);
        as_account(&mut command, config.account.as_ref());
        in_own_session(&mut command);
        let failed = |source| Error::Run { program: postgres.to_owned(), source };
        let mut child = command.spawn().map_err(failed)?;
        let started = Pid::from_raw(child.id().cast_signed())
            .ok_or_else(|| failed(io::Error::other("no process id")))
            .and_then(Self::watch);
        // It is reaped whenever it ends, also after this value is gone.
        std::thread::Builder::new()
            .name("reap-store".to_owned())
            .spawn(move || child.wait())
            .map_err(failed)?;
        started
    }

    #[expect(unsafe_code, reason = "an OwnedFd keeps its descriptor, which is all that registering asks for")]
    fn watch(pid: Pid) -> Result<Self, Error> {
        let failed = |source| Error::Process { pid: pid.as_raw_nonzero().get(), source };
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|e| failed(e.into()))?;
        let pidfd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(|e| failed(e.into()))?;
        Ok(Self { pid, pidfd })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until it has ended.
    pub(super) async fn gone(&self) {
        // A pidfd is readable from the process' end on, and an error of the reactor means that we end ourselves.
        let _ = self.pidfd.readable().await;
    }

    /// Waits until one that was found running answers. `false` when it runs without a socket.
    pub(super) async fn answers_still(&self, layout: &Layout, deadline: Instant) -> Result<bool, Error> {
        self.answer_or(layout, deadline, Some(WITHOUT_SOCKET)).await
    }

    /// Waits until one that was just started answers.
    pub(super) async fn answers(&self, layout: &Layout, deadline: Instant) -> Result<(), Error> {
        self.answer_or(layout, deadline, None).await.map(|_| ())
    }

    async fn answer_or(
        &self,
        layout: &Layout,
        deadline: Instant,
        without_socket: Option<Duration>,
    ) -> Result<bool, Error> {
        let begun = Instant::now();
        let url = layout.url(super::NAME);
        loop {
            let why = tokio::select! {
                () = self.gone() => return Err(Error::Ended { log: layout.log_end() }),
                answer = ask(&url) => match answer {
                    Ok(()) => return Ok(true),
                    Err(why) => why,
                },
            };
            if without_socket.is_some_and(|most| begun.elapsed() > most) && !layout.socket().exists() {
                return Ok(false);
            }
            if Instant::now() > deadline {
                return Err(Error::NoAnswer {
                    seconds: begun.elapsed().as_secs(),
                    why,
                    log: layout.log_end(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets it read its settings again.
    pub(super) fn reload(&self) {
        if let Err(error) = self.signal(Signal::HUP) {
            tracing::warn!(error = super::chain(&error), "the store was not told to read its settings");
        }
    }

    /// Ends it: fast, then at once.
    pub(super) async fn stop(&self, deadline: Duration) -> Result<(), Error> {
        self.signal(Signal::INT)?;
        if tokio::time::timeout(deadline, self.gone()).await.is_ok() {
            return Ok(());
        }
        tracing::warn!(pid = self.pid(), "the store does not stop, ending it at once");
        self.signal(Signal::QUIT)?;
        tokio::time::timeout(AT_ONCE, self.gone())
            .await
            .map_err(|_elapsed| Error::StillRunning { pid: self.pid() })
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::Process { pid: self.pid(), source: errno.into() }),
        }
    }
}

const SEARCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// One question over the socket; the text says what was met.
async fn ask(url: &str) -> Result<(), String> {
    let question = async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(|e| met(&e))?;
        tokio::select! {
            _ended = connection => Err("the connection ended".to_owned()),
            answer = client.simple_query("select 1") => answer.map(|_| ()).map_err(|e| met(&e)),
        }
    };
    tokio::time::timeout(Duration::from_secs(5), question)
        .await
        .unwrap_or_else(|_| Err("no answer".to_owned()))
}

fn met(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Ends what a killed postmaster left: server processes without it notice and end by themselves, soon; one that
/// computes may take longer and would keep a new postmaster from starting. Then clears a stale pid file whose number
/// another process has now.
pub(super) async fn end_leftovers(data: &Path, deadline: Instant) -> Result<(), Error> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let left = processes_in(data);
        if left.is_empty() {
            break;
        }
        if !told && begun.elapsed() > Duration::from_secs(2) {
            told = true;
            for pid in &left {
                let watched = Postmaster::watch(*pid);
                if let Ok(process) = watched
                    && works_in(*pid, data)
                {
                    process.signal(Signal::QUIT)?;
                }
            }
        }
        if let Some(first) = left.first()
            && Instant::now() > deadline
        {
            return Err(Error::StillRunning { pid: first.as_raw_nonzero().get() });
        }
        tokio::time::sleep(LOOK).await;
    }
    let pid_file = data.join("postmaster.pid");
    let stale = fs::read_to_string(&pid_file).ok();
    let number = stale.and_then(|text| text.lines().next()?.trim().parse().ok()).and_then(Pid::from_raw);
    // While the number is free Postgres decides itself, by its shared memory too.
    if let Some(pid) = number
        && fs::exists(format!("/proc/{}", pid.as_raw_nonzero())).unwrap_or(false)
    {
        fs::remove_file(&pid_file).map_err(Error::file("remove", &pid_file))?;
    }
    Ok(())
}

/// The processes that work in this data folder: Postgres' all do.
pub(super) fn processes_in(data: &Path) -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| works_in(*pid, data))
        .collect()
}

fn works_in(pid: Pid, data: &Path) -> bool {
    fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|folder| folder == data)
        && fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()))
            .is_ok_and(|name| name.trim() == "postgres")
}

/// The account, without our groups, and nothing of our environment.
pub(super) fn as_account(command: &mut Command, account: Option<&Account>) {
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
    if let Some(account) = account {
        command.gid(account.gid).uid(account.uid);
    }
}

/// A session of its own, so that nothing sent to our terminal or group reaches it.
#[expect(
    unsafe_code,
    reason = "pre_exec; setsid and umask are async-signal-safe and touch no memory of ours"
)]
fn in_own_session(command: &mut Command) {
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            Ok(())
        });
    }
}

/// A helper that is killed when the thread that waits for it dies: half a cluster is never made beside another.
#[expect(unsafe_code, reason = "pre_exec; prctl is async-signal-safe and touches no memory of ours")]
pub(super) fn dies_with_us(command: &mut Command) {
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            Ok(())
        });
    }
}
