//! A `coffer dev` of one's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A `coffer dev` that lives as long as who started it.
pub struct OwnDev {
    child: tokio::process::Child,
    folder: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
}

impl OwnDev {
    /// Starts it, for `purpose`, in a folder of its own.
    ///
    /// # Errors
    /// It does not come up; the text has what it said.
    pub async fn start(purpose: &str, engines: Option<&Path>, net: ipnet::Ipv4Net) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("coffer-{purpose}-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        // The engines' accounts must pass through it.
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
        let state = folder.join("state");
        let log = folder.join("dev.log");
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--instance-net", &net.to_string()])
            .arg("--state-dir")
            .arg(&state)
            .env_remove("DATABASE_URL")
            .env_remove("COFFER_KEY_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            // A Ctrl-C is ours to pass on.
            .process_group(0);
        if let Some(engines) = engines {
            command.arg("--engines").arg(engines);
        }
        let mut child = command.spawn().context("start coffer dev")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(Duration::from_secs(120), async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("ready ") {
                    return anyhow::Ok(());
                }
            }
            bail!("it ended")
        })
        .await;
        let mut dev = Self { child, folder, state };
        match ready {
            Ok(Ok(())) => Ok(dev),
            Ok(Err(_)) | Err(_) => {
                let told = std::fs::read_to_string(&log).unwrap_or_default();
                dev.end().await;
                // Nothing serves there: the folder only holds what was begun.
                let _ = std::fs::remove_dir_all(&dev.folder);
                bail!("coffer dev did not come up:\n{}", told.trim())
            }
        }
    }

    async fn end(&mut self) {
        if let Some(pid) =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(Duration::from_secs(90), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// Stops it and removes its folder; where something `failed`, its log is printed.
    ///
    /// # Errors
    /// Its folder cannot be removed.
    pub async fn stop(mut self, failed: bool) -> anyhow::Result<()> {
        self.end().await;
        if failed {
            let told = std::fs::read_to_string(self.folder.join("dev.log")).unwrap_or_default();
            eprintln!("what coffer dev said:\n{}", told.trim());
        }
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder.display()))
    }
}
