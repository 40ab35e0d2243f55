//! The api under measurement, and what processes use.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::auth::dev::DevIdentity;
use crate::embedded_postgres::EmbeddedPostgres;

/// `coffer api`, as its own process.
pub struct Api {
    child: tokio::process::Child,
    pid: u32,
    /// Where it serves.
    pub url: String,
    /// Who may log in.
    pub identity: DevIdentity,
}

impl Api {
    /// Starts it on `database`.
    pub async fn start(database: &str, state: &Path, pool: u32) -> anyhow::Result<Self> {
        let identity_dir = state.join("identity");
        std::fs::create_dir(&identity_dir).context("make the identity's folder")?;
        let mut child = tokio::process::Command::new("/proc/self/exe")
            .args(["api", "--listen", "127.0.0.1:0", "--pool", &pool.to_string()])
            .arg("--key-file")
            .arg(state.join("key"))
            .arg("--identity-dir")
            .arg(&identity_dir)
            .env("DATABASE_URL", database)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A line an acceptance: it costs what it costs users, and nobody reads it here.
            .stderr(std::fs::File::create(state.join("api.log")).context("make the api's log")?)
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .context("start coffer api")?;
        let pid = child.id().context("coffer api has ended")?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let ready = tokio::time::timeout(Duration::from_secs(60), lines.next_line());
        let line = ready.await.context("coffer api is not ready")??.unwrap_or_default();
        let Some(url) = line.strip_prefix("ready ") else { bail!("coffer api said {line:?}") };
        let identity = DevIdentity::open(&identity_dir).context("open the identity")?;
        Ok(Self { child, pid, url: url.to_owned(), identity })
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(stat(self.pid)?.own)
    }

    /// Memory that it holds.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).context("read /proc")?;
        let kb = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        Ok(kb.context("no VmRSS")?.parse::<u64>()? * 1024)
    }

    /// Stops it.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("stop coffer api")?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.context("coffer api does not stop")??;
        Ok(())
    }
}

struct Stat {
    parent: u32,
    own: Duration,
    /// Of children that have ended.
    ended: Duration,
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read /proc")?;
    // The name, which may hold anything, is in brackets.
    let fields: Vec<&str> =
        text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |at: usize| -> anyhow::Result<u64> {
        Ok(fields.get(at).with_context(|| format!("/proc/{pid}/stat is short"))?.parse()?)
    };
    // A tick is 10 ms on Linux for programs.
    let ticks = |ticks: u64| Duration::from_millis(10 * ticks);
    Ok(Stat {
        parent: u32::try_from(field(1)?)?,
        own: ticks(field(11)? + field(12)?),
        ended: ticks(field(13)? + field(14)?),
    })
}

/// Processor time that the store's Postgres has used, with every child that lives and has ended.
pub async fn postgres_cpu(store: &EmbeddedPostgres) -> anyhow::Result<Duration> {
    let postmaster = u32::try_from(store.pid().await)?;
    let Stat { own, ended, .. } = stat(postmaster)?;
    let mut sum = own + ended;
    for entry in std::fs::read_dir("/proc").context("read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has just ended is counted with the ended.
        if let Ok(child) = stat(pid)
            && child.parent == postmaster
        {
            sum += child.own;
        }
    }
    Ok(sum)
}
