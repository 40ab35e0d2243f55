//! The worker's side of a host: its folders, accounts and id, what it can run, and its workers.
//!
//! Several workers may serve one host. Each holds a slot, a lock in the state folder, and its leases carry the slot's
//! name: whoever gets the slot knows that the leases of its last holder are nobody's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::accounts::{Accounts, runtime_config, told};
use crate::cli::lock::{Lock, Tried};
use crate::cli::state::Folders;
use crate::db::hosts::Offer;
use crate::db::notices::Notices;
use crate::db::{self, Conn, Db, accounts, catalogue, hosts, tasks};
use crate::domain::datastore::RuntimeKind;
use crate::domain::ids::HostId;
use crate::engines::mariadb::MariaDb;
use crate::engines::postgresql::Postgresql;
use crate::files::make_once;
use crate::runtimes::Runtime;
use crate::runtimes::process::{self, ProcessRuntime};
use crate::seal::Sealer;
use crate::simulated;
use crate::workflow::{
    Drivers, WorkerContext, answers, automatic, operations, parameters, supervisor, worker,
};

/// The file of the certificates against which clients hold a server, in the state folder.
pub const AUTHORITIES: &str = "ca.pem";

/// How often it is seen whether they are others.
const AUTHORITIES_EVERY: Duration = Duration::from_secs(5);

/// Workers of one host that may serve at a time.
const SLOTS: usize = 64;

/// What `dev` and `worker` are told of the host.
#[derive(Debug, clap::Args)]
pub struct HostArgs {
    /// Where everything is kept [default: /var/lib/coffer as root, ~/.local/state/coffer else]
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Where instances run; repeat it for several
    #[arg(long, default_value = "process", value_parser = ["process", "simulated"])]
    pub runtime: Vec<String>,
    /// The engines' binaries [default: /var/cache/coffer/engines as root, ~/.cache/coffer/engines else]
    #[arg(long)]
    pub engines: Option<PathBuf>,
    /// The network from which each instance gets its address
    #[arg(long, default_value = "127.64.0.0/10")]
    pub instance_net: ipnet::Ipv4Net,
    /// The key that seals passwords, the same for every api and worker [default: key in the state folder]
    #[arg(long, env = "COFFER_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Seconds after which another worker takes the task of one that is gone
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub lease: u64,
    /// Seconds for which an upgrade waits for clients' sessions that are in its way, before it is rolled back
    #[arg(long, env = "COFFER_PATIENCE", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: u64,
    /// By what the deadline of each step of a task is multiplied: more than 1 on a slow host
    #[arg(long, env = "COFFER_DEADLINE_FACTOR", default_value_t = 1.0, value_parser = deadline_factor)]
    pub deadline_factor: f64,
    /// Whether control groups hold servers to their flavors' memory and processors, where the host has them
    #[arg(long, env = "COFFER_CONTROL_GROUPS", default_value = "auto", value_parser = ["auto", "off"])]
    pub control_groups: String,
}

/// Reads a factor that leaves a deadline between some seconds and some days.
fn deadline_factor(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if (0.01..=100.0).contains(&factor) { Ok(factor) } else { Err("it is from 0.01 to 100".to_owned()) }
}

/// A host, opened.
pub struct Host {
    /// Its id: made once and kept, since a machine's name changes and two machines have one.
    pub id: HostId,
    /// Its folders.
    pub folders: Folders,
    /// Its system accounts, when we are root.
    pub accounts: Option<Accounts>,
    /// Where instances run.
    runtimes: Vec<RuntimeKind>,
    /// The network of its instances.
    pub instance_net: ipnet::Ipv4Net,
    key_file: PathBuf,
    lease: Duration,
    patience: Duration,
    deadline_factor: f64,
    control_groups: bool,
}

impl Host {
    /// Finds the accounts and opens the folders.
    ///
    /// # Errors
    /// What is missing, with the command that mends it.
    pub fn open(args: HostArgs) -> anyhow::Result<Self> {
        let accounts = Accounts::find()?;
        let folders = Folders::open(args.state_dir, args.engines, accounts.as_ref())?;
        let mut runtimes: Vec<RuntimeKind> = Vec::new();
        for word in &args.runtime {
            let kind = word.parse()?;
            if !runtimes.contains(&kind) {
                runtimes.push(kind);
            }
        }
        Ok(Self {
            id: host_id(&folders.state)?,
            key_file: args.key_file.unwrap_or_else(|| folders.state.join("key")),
            folders,
            accounts,
            runtimes,
            instance_net: args.instance_net,
            lease: Duration::from_secs(args.lease),
            patience: Duration::from_secs(args.patience),
            deadline_factor: args.deadline_factor,
            control_groups: args.control_groups == "auto",
        })
    }

    /// Opens the key that seals passwords; it is made when it is missing.
    ///
    /// # Errors
    /// The key file cannot be read or made.
    pub fn sealer(&self) -> anyhow::Result<Sealer> {
        Ok(Sealer::open(&self.key_file)?)
    }

    /// Says what the host can run, to the store and on standard error, and gives its drivers.
    ///
    /// # Errors
    /// There is nothing that it can run; the store's.
    pub async fn register(&self, db: &Db) -> anyhow::Result<Vec<Drivers>> {
        let mut offers: Vec<Offer> = Vec::new();
        let mut drivers = Vec::new();
        for runtime in &self.runtimes {
            match runtime {
                RuntimeKind::Process => drivers.push(self.process(&mut offers).await?),
                RuntimeKind::Simulated => {
                    let simulated = simulated::offers();
                    eprintln!("engines: {} simulated versions, without servers", simulated.len());
                    offers.extend(simulated);
                    drivers.push(Drivers {
                        runtime: Arc::new(simulated::runtime::SimulatedRuntime),
                        engines: simulated::engines(db),
                    });
                }
            }
        }
        // Of a version that is both, the real one counts.
        let real: Vec<(String, String)> = offers
            .iter()
            .filter(|offer| offer.runtime == RuntimeKind::Process)
            .map(|offer| (offer.datastore.clone(), offer.series.clone()))
            .collect();
        offers.retain(|offer| {
            offer.runtime == RuntimeKind::Process
                || !real.iter().any(|(store, series)| *store == offer.datastore && *series == offer.series)
        });
        let (host, net) = (self.id.clone(), self.instance_net.to_string());
        let names = self.accounts.as_ref().map(Accounts::names).unwrap_or_default();
        let edges = if self.runtimes.contains(&RuntimeKind::Simulated) { simulated::EDGES } else { &[] };
        db.transact(move |conn| {
            hosts::record(conn, &host, &net)?;
            accounts::record(conn, &host, &names)?;
            hosts::record_versions(conn, &host, &offers)?;
            catalogue::register_host_versions(conn, &host)?;
            catalogue::register_edges(conn, edges)
        })
        .await?;
        Ok(drivers)
    }

    async fn process(&self, offers: &mut Vec<Offer>) -> anyhow::Result<Drivers> {
        let Folders { state, run, engines } = &self.folders;
        let config = runtime_config(state, engines, run, self.accounts.as_ref());
        let runtime = ProcessRuntime::new(process::Config { control_groups: self.control_groups, ..config })?;
        runtime.announce().await.context("say which accounts are in use")?;
        let versions = runtime.versions().await.context("ask the engines' binaries")?;
        let found: Vec<Offer> = versions
            .into_iter()
            .filter_map(|version| {
                Some(Offer {
                    datastore: version.engine.to_owned(),
                    engine: version.engine.parse().ok()?,
                    runtime: RuntimeKind::Process,
                    series: version.series,
                    number: version.number,
                })
            })
            .collect();
        if found.is_empty() {
            bail!(
                "no engine that this version can run is in {}; `make engines` fetches them",
                engines.display()
            );
        }
        let titles: Vec<String> =
            found.iter().map(|offer| format!("{} {}", offer.datastore, offer.number)).collect();
        eprintln!("engines: {}", titles.join(", "));
        eprintln!("{}", told(self.accounts.as_ref()));
        match runtime.limits_are_held() {
            Ok(held) => eprintln!("limits: control groups hold {held}"),
            Err(why) => eprintln!(
                "limits: nothing holds a server to its flavor's memory and processors, beside its own settings: {why}"
            ),
        }
        offers.extend(found);
        Ok(Drivers { runtime: Arc::new(runtime), engines: vec![Arc::new(MariaDb), Arc::new(Postgresql)] })
    }

    /// Registers the host and starts a worker of it, until `stop`.
    ///
    /// # Errors
    /// As [`Self::register`]; no slot is free.
    pub async fn start_worker(
        &self,
        db: &Db,
        sealer: Sealer,
        notices: Notices,
        stop: &watch::Receiver<bool>,
    ) -> anyhow::Result<Worker> {
        // Servers are found by their processes: who sees others cannot look after the same ones.
        if self.runtimes.contains(&RuntimeKind::Process) {
            refuse_another_namespace(&self.folders.state)?;
        }
        let (slot, number) = take_slot(&self.folders.state)?;
        let drivers = self.register(db).await?;
        let mut worker =
            WorkerContext::new(db.clone(), sealer, notices, self.id.clone(), drivers, self.lease);
        worker.quiet = self.patience;
        worker.deadline_factor = self.deadline_factor;
        let worker = Arc::new(worker);
        let owner = format!("{}/{number}", self.id);
        let (host, gone) = (self.id.clone(), owner.clone());
        let release = move |conn: &mut Conn| -> Result<_, db::Error> {
            tasks::release_leases(conn, &host, &gone)?;
            db::operations::release(conn, &gone)?;
            db::parameters::release(conn, &gone)
        };
        db.transact(release).await?;
        let net = self.instance_net.to_string();
        let parts = vec![
            tokio::spawn(worker::run(Arc::clone(&worker), owner.clone(), stop.clone())),
            tokio::spawn(answers::run(Arc::clone(&worker), stop.clone())),
            tokio::spawn(operations::run(Arc::clone(&worker), owner.clone(), stop.clone())),
            tokio::spawn(parameters::run(Arc::clone(&worker), owner, stop.clone())),
            tokio::spawn(supervisor::run(Arc::clone(&worker), net, stop.clone())),
            tokio::spawn(automatic::run(Arc::clone(&worker), stop.clone())),
            tokio::spawn(keep_authorities(
                Arc::clone(&worker),
                self.folders.state.join(AUTHORITIES),
                stop.clone(),
            )),
            tokio::spawn(free_slots(
                db.clone(),
                self.id.clone(),
                self.folders.state.clone(),
                number,
                stop.clone(),
            )),
        ];
        Ok(Worker { worker, parts, _slot: slot })
    }
}

/// A worker that runs.
pub struct Worker {
    /// What it works with.
    pub worker: Arc<WorkerContext>,
    parts: Vec<JoinHandle<()>>,
    _slot: Lock,
}

impl Worker {
    /// Waits until it has stopped.
    ///
    /// # Errors
    /// A part of it panicked.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        for part in self.parts.drain(..) {
            part.await.context("a part of the worker")?;
        }
        Ok(())
    }
}

/// What a worker says of itself in its slot.
fn slot_line() -> anyhow::Result<String> {
    Ok(format!("pid {} in {}", std::process::id(), pid_namespace()?))
}

/// The PID namespace of this process, as the kernel names it: `pid:[4026531836]`.
fn pid_namespace() -> anyhow::Result<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").context("find this process's PID namespace")?;
    Ok(link.to_string_lossy().into_owned())
}

/// Says so where a worker of another PID namespace serves this state folder.
fn refuse_another_namespace(state: &Path) -> anyhow::Result<()> {
    let own = pid_namespace()?;
    for number in 0..SLOTS {
        let path = state.join(format!("worker-{number}.lock"));
        let Some(line) = Lock::holder(&path).context("a worker's slot")? else { continue };
        // A worker of an older build does not tell.
        if let Some((_, theirs)) = line.split_once(" in ")
            && theirs != own
        {
            bail!(
                "another worker serves {} from another PID namespace ({line}; this one is in {own}): neither sees the \
                 servers that the other has started. Run all workers of a state folder in one PID namespace, one \
                 container for example, or give this one a --state-dir of its own",
                state.display()
            );
        }
    }
    Ok(())
}

/// The first slot that no live worker of this host holds.
fn take_slot(state: &Path) -> anyhow::Result<(Lock, usize)> {
    for number in 0..SLOTS {
        // The first may be of one that was killed this moment, as it started a child.
        let patience = if number == 0 { Duration::from_millis(200) } else { Duration::ZERO };
        let path = state.join(format!("worker-{number}.lock"));
        if let Tried::Held(mut lock) = Lock::hold_within(&path, patience).context("a worker's slot")? {
            lock.write(&slot_line()?)?;
            return Ok((lock, number));
        }
    }
    bail!("{SLOTS} workers serve this host already")
}

/// Writes the certificates of the service's authorities for clients, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_authorities(path: &Path, certificates: &str) -> std::io::Result<()> {
    let new = path.with_extension(format!("pem.{}.new", uuid::Uuid::new_v4().simple()));
    std::fs::write(&new, certificates)?;
    std::fs::rename(&new, path)
}

/// Keeps the file of the authorities' certificates as they are.
async fn keep_authorities(worker: Arc<WorkerContext>, path: PathBuf, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        if let Ok(certificates) = worker.authority_certificates().await
            && std::fs::read_to_string(&path).ok().as_deref() != Some(&certificates)
            && let Err(error) = write_authorities(&path, &certificates)
        {
            tracing::warn!(%error, "the certificates of the authorities were not written");
        }
        tokio::select! {
            () = tokio::time::sleep(AUTHORITIES_EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Ends the leases of workers of this host that are gone, so that nobody waits for their end: who gets a slot's lock
/// knows that nobody has the slot. One that is frozen keeps its lock.
async fn free_slots(db: Db, host: HostId, state: PathBuf, own: usize, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        for number in (0..SLOTS).filter(|number| *number != own) {
            let path = state.join(format!("worker-{number}.lock"));
            if !path.exists() {
                continue;
            }
            // Held until the leases are ended: a worker that starts now takes another slot.
            if let Ok(Tried::Held(_slot)) = Lock::try_hold(&path) {
                let (host, gone) = (host.clone(), format!("{host}/{number}"));
                let release = move |conn: &mut Conn| -> Result<_, db::Error> {
                    let ended = tasks::release_leases(conn, &host, &gone)?;
                    db::operations::release(conn, &gone)?;
                    db::parameters::release(conn, &gone).map(|()| ended)
                };
                let ended = db.transact(release).await;
                if matches!(ended, Ok(count) if count > 0) {
                    tracing::info!(slot = number, "a worker of this host is gone, its tasks go on");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            _ = stop.changed() => {}
        }
    }
}

fn host_id(state: &Path) -> anyhow::Result<HostId> {
    let path = state.join("host");
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(HostId(id.trim().to_owned())),
        Ok(_) => bail!("{} is empty", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let doing = || format!("make {}", path.display());
            make_once(&path, uuid::Uuid::new_v4().to_string().as_bytes()).with_context(doing)?;
            // Another's, if it was first.
            Ok(HostId(std::fs::read_to_string(&path).with_context(doing)?))
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_of_another_pid_namespace_is_refused_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker-3.lock");
        let Tried::Held(mut theirs) = Lock::try_hold(&path).unwrap() else { panic!("nobody has it") };
        for line in ["pid 7", &slot_line().unwrap()] {
            theirs.write(line).unwrap();
            refuse_another_namespace(folder.path()).unwrap();
        }
        theirs.write("pid 7 in pid:[1]").unwrap();
        let refused = refuse_another_namespace(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("pid 7 in pid:[1]") && refused.contains("--state-dir"), "{refused}");
        drop(theirs);
        refuse_another_namespace(folder.path()).unwrap();
    }

    #[test]
    fn each_worker_has_a_slot_and_a_free_one_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let (first, zero) = take_slot(folder.path()).unwrap();
        let (_second, one) = take_slot(folder.path()).unwrap();
        assert_eq!((zero, one), (0, 1));
        drop(first);
        assert_eq!(take_slot(folder.path()).unwrap().1, 0);
    }
}
