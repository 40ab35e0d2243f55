//! Processes that a server left when it was killed: PostgreSQL's sessions notice it only when they next wait, and until
//! then no other server can have the data.
//!
//! They are known by what they are and where: a program of the engines', of the data's owner, at work below the data
//! folder. The mark that a server carries does not tell them: it is gone from their environment.

use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::domain::ids::GenerationId;
use crate::runtimes::Error;
use crate::runtimes::process::processes::{is_of, lives, runs_as};
use crate::runtimes::process::volumes::Volumes;

/// How long they may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(10);

/// Ends them and waits until they are gone; the caller holds the generation's lock, and no server was found. Blocks.
pub fn end(volumes: &Volumes, generation: GenerationId) -> Result<(), Error> {
    let Some(owner) = volumes.owner(generation)? else { return Ok(()) };
    let Ok(data) = volumes.folder(generation).join("data").canonicalize() else { return Ok(()) };
    let engines = volumes.programs();
    let is_left = |pid: i32| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(&data))
            && runs_as(pid, owner)
            && is_of(pid, &engines)
            && lives(pid)
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut left = 0;
        for entry in std::fs::read_dir("/proc").map_err(Error::io("read /proc"))? {
            let Some(pid) = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            else {
                continue;
            };
            if !is_left(pid) {
                continue;
            }
            left += 1;
            let Some(process) = Pid::from_raw(pid) else { continue };
            // The handle stands for one process: see that it is still the right one.
            if let Ok(handle) = rustix::process::pidfd_open(process, PidfdFlags::empty())
                && is_left(pid)
            {
                let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
            }
        }
        if left == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::AccountInUse { uid: owner, processes: left });
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "on a blocking thread, with a deadline")]
fn pause() {
    std::thread::sleep(PAUSE);
}
