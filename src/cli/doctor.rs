//! `coffer doctor`: what this machine lacks, and the command that mends it. It looks, and changes nothing.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::cli::accounts::{Accounts, runtime_config, store_config};
use crate::cli::lock::Lock;
use crate::cli::state::{default_engines, default_run, default_state, passable};
use crate::db::{Config, Db};
use crate::domain::datastore::EngineKind;
use crate::runtimes::Runtime as _;
use crate::runtimes::process::ProcessRuntime;

/// The port of relays, on the addresses of instances.
const RELAY_PORT: u16 = 13_306;

/// Below this much room an engine's first folder hardly fits.
const LEAST_ROOM_MB: u64 = 2_048;

/// Arguments of `coffer doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state folder that would be used [default: /var/lib/coffer as root, ~/.local/state/coffer else]
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// The engines' binaries [default: /var/cache/coffer/engines as root, ~/.cache/coffer/engines else]
    #[arg(long)]
    engines: Option<PathBuf>,
    /// The network from which each instance would get its address
    #[arg(long, default_value = "127.64.0.0/10")]
    instance_net: ipnet::Ipv4Net,
    /// The service's own Postgres, when it is not the embedded one
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// What was found of one thing.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// It is as it should be.
    Fine(String),
    /// It works, less well than it could.
    Note(String),
    /// It is missing: what, and what mends it.
    Missing(String, String),
}

impl Finding {
    fn line(&self, what: &str) -> String {
        match self {
            Self::Fine(text) => format!("ok       {what}: {text}"),
            Self::Note(text) => format!("note     {what}: {text}"),
            Self::Missing(text, mend) => format!("missing  {what}: {text}\n         mend: {mend}"),
        }
    }
}

/// Looks at everything that `coffer dev` needs and prints a line for each.
///
/// # Errors
/// Something is missing, after everything was told.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let root = rustix::process::geteuid().is_root();
    let state = args.state_dir.map_or_else(|| default_state(root), Ok)?;
    let engines = args.engines.map_or_else(|| default_engines(root), Ok)?;
    let run = default_run(root);
    let accounts = Accounts::find();
    let mut found = vec![("accounts", of_accounts(&accounts))];
    let accounts = accounts.ok().flatten();
    found.push(("engines", of_engines(&state, &engines, &run, accounts.as_ref()).await));
    found.push(("store", of_store(&state, &engines, &run, accounts.as_ref(), args.database_url).await));
    for (what, folder) in [("state folder", &state), ("engines folder", &engines), ("socket folder", &run)] {
        found.push((what, of_folder(folder, root)));
    }
    found.push(("limits", of_limits(&state, &engines, &run, accounts.as_ref())));
    found.push(("disk", of_disk(&state)));
    found.push(("memory", of_memory()));
    for port in [EngineKind::MariaDb.standard_port(), EngineKind::Postgresql.standard_port(), RELAY_PORT] {
        found.push(("addresses", of_port(args.instance_net, port, &state)));
    }
    found.push(("outgoing ports", of_outgoing_ports()));
    found.push(("open files", of_open_files()));
    let mut missing = 0;
    for (what, finding) in &found {
        println!("{}", finding.line(what));
        missing += usize::from(matches!(finding, Finding::Missing(..)));
    }
    match missing {
        0 => Ok(()),
        1 => bail!("one thing is missing"),
        several => bail!("{several} things are missing"),
    }
}

fn of_accounts(accounts: &anyhow::Result<Option<Accounts>>) -> Finding {
    match accounts {
        Ok(Some(accounts)) => Finding::Fine(format!(
            "engines run as {} accounts of their own, one an instance; `COFFER_POOL={} make engines` makes more",
            accounts.pool.len(),
            accounts.pool.len() * 2
        )),
        Ok(None) => Finding::Note(
            "not root: every server runs as the caller, and one tenant's server could read what another's has"
                .to_owned(),
        ),
        Err(error) => Finding::Missing(format!("{error:#}"), "make engines".to_owned()),
    }
}

async fn of_engines(state: &Path, engines: &Path, run: &Path, accounts: Option<&Accounts>) -> Finding {
    let missing = |why: String| Finding::Missing(why, "make engines".to_owned());
    let runtime = match ProcessRuntime::new(runtime_config(state, engines, run, accounts)) {
        Ok(runtime) => runtime,
        Err(error) => return missing(error.to_string()),
    };
    match runtime.versions().await {
        Ok(versions) if versions.is_empty() => missing(format!("none in {}", engines.display())),
        Ok(versions) => {
            let titles: Vec<String> =
                versions.iter().map(|version| format!("{} {}", version.engine, version.number)).collect();
            Finding::Fine(titles.join(", "))
        }
        Err(error) => missing(error.to_string()),
    }
}

/// Whether a server can be held to its flavor's memory and processors.
fn of_limits(state: &Path, engines: &Path, run: &Path, accounts: Option<&Accounts>) -> Finding {
    let runtime = ProcessRuntime::new(runtime_config(state, engines, run, accounts));
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.limits_are_held()) {
        Ok(held) => Finding::Fine(format!("control groups hold {held}")),
        Err(why) => Finding::Note(format!(
            "no control groups ({why}): one instance can take all of the host's memory and processors; run as root, in \
             a container with its control groups writable"
        )),
    }
}

async fn of_store(
    state: &Path,
    engines: &Path,
    run: &Path,
    accounts: Option<&Accounts>,
    database_url: Option<String>,
) -> Finding {
    if let Some(url) = database_url {
        let db = Db::new(&Config { pool_size: 1, ..Config::new(url) });
        return match db.knows_schema().await {
            Ok(()) => {
                Finding::Fine("the Postgres of DATABASE_URL answers, with this program's schema".to_owned())
            }
            Err(error @ crate::db::Error::Schema(_)) => {
                Finding::Missing(error.to_string(), "coffer migrate".to_owned())
            }
            Err(error) => Finding::Missing(
                crate::workflow::chain(&error),
                "start the Postgres that DATABASE_URL names, or unset it for the embedded one".to_owned(),
            ),
        };
    }
    let found = store_config(state, engines, run, accounts)
        .and_then(|config| Ok(crate::embedded_postgres::binaries(&config)?));
    match found {
        Ok(binaries) => Finding::Fine(format!("embedded Postgres from {}", binaries.display())),
        Err(error) => Finding::Missing(format!("{error:#}"), "make engines".to_owned()),
    }
}

/// The folder, or the nearest one above it that is there.
fn nearest(folder: &Path) -> &Path {
    folder.ancestors().find(|part| part.exists()).unwrap_or(folder)
}

fn of_folder(folder: &Path, root: bool) -> Finding {
    let at = nearest(folder);
    if root && let Err(error) = passable(at) {
        return Finding::Missing(format!("{error:#}"), format!("chmod o+x {}", at.display()));
    }
    let own = rustix::process::geteuid().as_raw();
    match std::fs::metadata(at) {
        Ok(meta) if root || meta.uid() == own || at != folder => Finding::Fine(folder.display().to_string()),
        Ok(_) => Finding::Missing(
            format!("{} belongs to another account", folder.display()),
            "choose another folder".to_owned(),
        ),
        Err(error) => {
            Finding::Missing(format!("{}: {error}", at.display()), "choose another folder".to_owned())
        }
    }
}

fn of_disk(state: &Path) -> Finding {
    match rustix::fs::statvfs(nearest(state)) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) / (1 << 20);
            let text = format!("{free} MB free below {}", state.display());
            if free >= LEAST_ROOM_MB {
                Finding::Fine(text)
            } else {
                Finding::Missing(
                    text,
                    format!("make room for {LEAST_ROOM_MB} MB at least, or give --state-dir"),
                )
            }
        }
        Err(error) => Finding::Note(format!("{}: {error}", state.display())),
    }
}

fn of_memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kb| kb / 1024);
    match available {
        Some(mb) if mb >= 1_024 => {
            Finding::Fine(format!("{mb} MB available; an instance takes up to its flavor's"))
        }
        Some(mb) => Finding::Note(format!("{mb} MB available: enough for one small instance at most")),
        None => Finding::Note("/proc/meminfo does not tell".to_owned()),
    }
}

/// The last address of the network, which no instance has before every other one is taken.
fn of_port(net: ipnet::Ipv4Net, port: u16, state: &Path) -> Finding {
    let Some(address) = net.hosts().last() else {
        return Finding::Missing(format!("{net} has no address"), "give another --instance-net".to_owned());
    };
    match TcpListener::bind((address, port)) {
        Ok(_) => Finding::Fine(format!("port {port} of {address}, the last of {net}, is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => Finding::Missing(
            format!("{address} of {net} is no address of this machine"),
            "give an --instance-net of addresses that the machine has; 127.0.0.0/8 always is".to_owned(),
        ),
        Err(error) => {
            let who = crate::endpoint::blocked::who_listens(port)
                .unwrap_or_else(|| "a process that cannot be told".to_owned());
            let served = Lock::holder(&state.join("lock")).ok().flatten();
            let served = served.map(|who| format!(" (a coffer dev serves here: {who})")).unwrap_or_default();
            Finding::Missing(
                format!("port {port} of {net} cannot be had: {error}; {who} listens there{served}"),
                "let it listen on one address only, or give an --instance-net that is free".to_owned(),
            )
        }
    }
}

fn of_outgoing_ports() -> Finding {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) if (first..=last).contains(&RELAY_PORT) => Finding::Missing(
            format!("connections out may take port {RELAY_PORT}, which relays need ({first} to {last})"),
            format!("sysctl -w net.ipv4.ip_local_reserved_ports={RELAY_PORT}"),
        ),
        (Some(first), Some(last)) => Finding::Fine(format!("{first} to {last}")),
        _ => Finding::Note("the system does not tell their range".to_owned()),
    }
}

fn of_open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    match limit {
        Some(most) if most < 4_096 => Finding::Missing(
            format!("{most} at most, and each connection of a tenant takes two"),
            "ulimit -Hn 65536 in the shell or unit that starts it".to_owned(),
        ),
        Some(most) => Finding::Fine(format!("{most} at most")),
        None => Finding::Fine("no limit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_what_mends_it() {
        let missing = Finding::Missing("none in /x".to_owned(), "make engines".to_owned());
        assert_eq!(missing.line("engines"), "missing  engines: none in /x\n         mend: make engines");
        assert_eq!(Finding::Fine("all".to_owned()).line("store"), "ok       store: all");
    }

    #[tokio::test]
    async fn an_empty_engines_folder_is_missing_engines() {
        let folder = tempfile::tempdir().unwrap();
        let found = of_engines(folder.path(), folder.path(), folder.path(), None).await;
        assert!(
            matches!(found, Finding::Missing(why, mend) if why.contains("none in") && mend == "make engines")
        );
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_who_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let net = "127.0.0.1/32".parse().unwrap();
        let port = taken.local_addr().unwrap().port();
        let Finding::Missing(why, _) = of_port(net, port, Path::new("/nonexistent")) else { panic!("taken") };
        assert!(why.contains(&std::process::id().to_string()), "{why}");
    }
}
