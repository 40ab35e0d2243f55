//! The endpoint as a child of `dev`: started, watched, replaced by one of this build, adopted, stopped.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::cli::accounts::Account;
use crate::cli::lock::Lock;
use crate::cli::signals::stopped;
use crate::cli::state::Folders;
use crate::domain::ids::HostId;

/// Keeps an endpoint process up until `stop`; one that serves already is adopted if it is of this build. Gives the
/// one that was started here and goes on: it may be so young that its lock does not show it yet.
pub async fn keep_endpoint(
    folders: Folders,
    host: HostId,
    database: String,
    account: Option<Account>,
    stop: watch::Receiver<bool>,
) -> Option<tokio::process::Child> {
    let folder = folders.state.join("endpoint");
    let mut wait = Duration::from_millis(100);
    while !*stop.borrow() {
        match ensure_endpoint(&folder, &folders, &host, &database, account).await {
            Ok(Some(mut child)) => {
                let began = std::time::Instant::now();
                tokio::select! {
                    ended = child.wait() => {
                        if let Ok(status) = ended {
                            tracing::warn!(%status, "the endpoint ended and is started again");
                        }
                        wait = if began.elapsed() > Duration::from_secs(10) { Duration::from_millis(100) }
                               else { (wait * 2).min(Duration::from_secs(5)) };
                    }
                    // It goes on without us; who stops it is `serve`.
                    () = stopped(stop.clone()) => return Some(child),
                }
            }
            Ok(None) => wait = Duration::from_secs(1),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the endpoint cannot be started");
                wait = Duration::from_secs(5);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(stop.clone()) => return None,
        }
    }
    None
}

/// Starts an endpoint unless one of this build serves.
async fn ensure_endpoint(
    folder: &Path,
    folders: &Folders,
    host: &HostId,
    database: &str,
    account: Option<Account>,
) -> anyhow::Result<Option<tokio::process::Child>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if let Some(account) = account {
        std::os::unix::fs::chown(folder, Some(account.uid), Some(account.gid))?;
    }
    if let Some((_, stamp)) = serving_endpoint(folder)? {
        if stamp == super::endpoint::stamp()? || stamp.is_empty() {
            return Ok(None);
        }
        tracing::info!("replacing an endpoint of another build");
        stop_endpoint(folder, None).await?;
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join("log"))?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg("endpoint")
        .args(["--host", &host.0])
        .arg("--state-dir")
        .arg(folder)
        .arg("--run-dir")
        .arg(&folders.run)
        .env_clear()
        .env("DATABASE_URL", database)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: a Ctrl-C in our terminal is not for it.
        .process_group(0);
    if let Some(account) = account {
        command.args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()]);
    }
    let child = tokio::process::Command::from(command).spawn().context("start the endpoint")?;
    Ok(Some(child))
}

/// The endpoint that holds the lock: its pid and its build's stamp.
fn serving_endpoint(folder: &Path) -> anyhow::Result<Option<(i32, String)>> {
    // Only looked at, never made: it is the endpoint account's own.
    let Some(line) = Lock::holder(&folder.join("lock"))? else { return Ok(None) };
    match line.split_once(' ') {
        Some((pid, stamp)) => Ok(Some((pid.parse().context("the endpoint's pid")?, stamp.to_owned()))),
        // It holds the lock and has not written yet.
        None => Ok(Some((0, String::new()))),
    }
}

/// Stops the endpoint that serves, and the one that was `started` here, and waits until they are gone.
///
/// # Errors
/// Its lock cannot be looked at.
pub async fn stop_endpoint(folder: &Path, started: Option<tokio::process::Child>) -> anyhow::Result<()> {
    if let Some(mut child) = started {
        end_child(&mut child).await?;
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(15);
    let mut signal = rustix::process::Signal::TERM;
    while let Some((pid, _)) = serving_endpoint(folder)? {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // Gone meanwhile is what we want.
            let _ = rustix::process::kill_process(pid, signal);
        }
        if std::time::Instant::now() > deadline {
            signal = rustix::process::Signal::KILL;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Asks a child to end, then kills it.
async fn end_child(child: &mut tokio::process::Child) -> anyhow::Result<()> {
    // Without an id it has ended and was waited for.
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let Some(pid) = id else { return Ok(()) };
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("end the endpoint")?;
    if tokio::time::timeout(Duration::from_secs(15), child.wait()).await.is_err() {
        child.kill().await.context("kill the endpoint")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its lock shows an endpoint only once it holds it; one that was started is ended before that, too.
    #[tokio::test]
    async fn a_young_endpoint_is_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        let child = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let process = format!("/proc/{}", child.id().unwrap());
        assert!(serving_endpoint(folder.path()).unwrap().is_none());
        stop_endpoint(folder.path(), Some(child)).await.unwrap();
        assert!(!std::fs::exists(process).unwrap());
    }
}
