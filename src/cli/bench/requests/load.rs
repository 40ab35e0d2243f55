//! The HTTP clients: wrk, which costs little itself.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::json;

use crate::cli::bench::requests::data::{BIG, FROM, SHOWN, SOURCES, TO};
use crate::cli::bench::requests::report::Kind;

/// What is asked for, again and again.
pub struct Request {
    /// The kind.
    pub kind: Kind,
    /// The project.
    pub project: String,
    /// Its token.
    pub token: String,
    /// The first source to upgrade, and how many there are.
    pub from: u32,
    /// How many there are.
    pub count: u32,
}

/// What a run of clients saw.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    /// Answers.
    pub requests: u64,
    /// Answers that were not 200 or 202, and connections that broke.
    pub refused: u64,
    /// Microseconds that the run took.
    pub micros: f64,
    /// The answer's time, microseconds: the median.
    pub p50: f64,
    /// The slowest of 100.
    pub p99: f64,
}

impl Seen {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let requests = self.requests as f64;
        requests / (self.micros / 1e6)
    }
}

/// Runs wrk.
pub struct Load {
    url: String,
    folder: PathBuf,
}

impl Load {
    /// Against `url`, with files in `folder`.
    pub fn new(url: &str, folder: &Path) -> Self {
        Self { url: url.to_owned(), folder: folder.to_owned() }
    }

    /// Asks with so many connections for so many seconds.
    ///
    /// # Errors
    /// wrk is not there, or failed.
    pub async fn run(&self, request: &Request, clients: u32, seconds: u32) -> anyhow::Result<Seen> {
        // The token is in a file of ours and not in an argument list.
        let script = self.folder.join("request.lua");
        std::fs::write(&script, lua(request)).context("write the script for wrk")?;
        let ran = tokio::process::Command::new("wrk")
            .args(["--threads", "1", "--connections", &clients.to_string()])
            .args(["--duration", &format!("{seconds}s"), "--timeout", "30s", "--script"])
            .arg(&script)
            .arg(&self.url)
            .kill_on_drop(true)
            .output()
            .await
            .context("run wrk: `make bench` installs it")?;
        let told = String::from_utf8_lossy(&ran.stdout);
        let Some(line) = told.lines().find_map(|line| line.strip_prefix("seen ")) else {
            bail!("wrk said: {told}{}", String::from_utf8_lossy(&ran.stderr));
        };
        serde_json::from_str(line).with_context(|| format!("wrk said {line}"))
    }
}

fn lua(request: &Request) -> String {
    let Request { kind, project, token, from, count } = request;
    let base = format!("/v1.0/{project}/instances");
    let create = json!({"instance": {
        "name": "bench", "flavorRef": 2, "volume": {"size": 5},
        "datastore": {"type": FROM.0, "version": FROM.1},
    }});
    let upgrade = json!({"upgrade": {"datastore_type": TO.0, "datastore_version": TO.1}});
    let make = match kind {
        Kind::Show => {
            format!("return wrk.format('GET', string.format('{base}/{SHOWN}%012x', math.random(1, {BIG})))")
        }
        Kind::ListSmall | Kind::ListBig => format!("return wrk.format('GET', '{base}?limit=20')"),
        Kind::Create => format!("return wrk.format('POST', '{base}', nil, '{create}')"),
        Kind::Upgrade => format!(
            "at = at + 1\n  \
             if at > {last} then return wrk.format('GET', '/too-few-sources') end\n  \
             return wrk.format('POST', string.format('{base}/{SOURCES}%012x/action', at), nil, '{upgrade}')",
            last = from + count
        ),
    };
    format!(
        "wrk.headers['X-Auth-Token'] = '{token}'\n\
         wrk.headers['Content-Type'] = 'application/json'\n\
         local at = {from}\n\
         function request()\n  {make}\nend\n\
         function done(summary, latency)\n  \
         local errors = summary.errors\n  \
         io.write(string.format('seen {{\"requests\":%d,\"refused\":%d,\"micros\":%d,\"p50\":%d,\"p99\":%d}}\\n',\n    \
         summary.requests, errors.status + errors.connect + errors.read + errors.write + errors.timeout,\n    \
         summary.duration, latency:percentile(50), latency:percentile(99)))\n\
         end\n"
    )
}
