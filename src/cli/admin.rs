//! `coffer admin`: what an operator manages from a terminal.
//!
//! # Decision
//! It goes to the store and not through the API: whoever may read `DATABASE_URL` or the state folder is an operator
//! already, it needs no token, and it works while no API serves. The commands are the API's own, so the rules are the
//! same, and the record of who did it names the system account. What we gave up: managing from another machine, which
//! the API's own routes do (api-ref: `mgmt.md`).

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::accounts::{Accounts, store_config};
use crate::cli::state::Folders;
use crate::cli::{access_keys, authorities, flavors};
use crate::commands::paths::{self, NewPath, PathChange, VersionName};
use crate::commands::tasks::{self, Dossier};
use crate::db::{self, Config, Db};
use crate::domain::caller::{Caller, Level};
use crate::domain::ids::{GenerationId, ProjectId, TaskId};
use crate::domain::matrix::{Edge, Way};
use crate::domain::task::{Plan, Progress, Task};

/// Arguments of `coffer admin`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service's own Postgres
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// The state folder of the `coffer dev` whose embedded Postgres is meant
    #[arg(long, global = true)]
    state_dir: Option<PathBuf>,
    /// The key that seals passwords, for what makes a secret [default: that of the state folder]
    #[arg(long, env = "COFFER_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The matrix of allowed upgrades
    #[command(subcommand)]
    Paths(Paths),
    /// What instances can be given
    #[command(subcommand)]
    Flavor(flavors::What),
    /// Access keys, with which the vendors' clients sign
    #[command(subcommand)]
    AccessKey(access_keys::What),
    /// The authority that signs servers' certificates
    #[command(subcommand)]
    Ca(authorities::What),
    /// Tasks that are stuck
    #[command(subcommand)]
    Task(TaskCommand),
    /// Lists who asked to change something, from where, and with what outcome
    Audit {
        /// Of this project alone
        #[arg(long)]
        project: Option<String>,
        /// Of so many hours until now
        #[arg(long, default_value_t = 24.0)]
        hours: f64,
        /// The newest so many
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        most: i64,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum TaskCommand {
    /// Lists every task that needs an operator, with the reason
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows everything that is known of a task
    Show {
        /// The task's id
        task: String,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Ends a stuck upgrade of the same instance as it stands, and keeps what it made
    Resolve {
        /// The task's id
        task: String,
        /// The server that serves: old or new, its version, or its id; it must be so by the service's records
        #[arg(long)]
        serving: String,
    },
    /// Lets a stuck task go on with the step at which it is stuck, after what stood in its way was mended
    Retry {
        /// The task's id
        task: String,
    },
}

#[derive(Debug, Subcommand)]
enum Paths {
    /// Lists every path, disabled ones too
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Adds a path
    Add {
        #[command(flatten)]
        pair: Pair,
        /// A way that it is open to: replica, in_place, twin or rolling; repeatable
        #[arg(long = "way", required = true, value_parser = way)]
        ways: Vec<Way>,
        /// What is said of it
        #[arg(long, default_value = "")]
        note: String,
        /// Add it without enabling it
        #[arg(long)]
        disabled: bool,
    },
    /// Refuses upgrades by this path from now on; what was accepted goes on
    Disable(Pair),
    /// Allows upgrades by this path
    Enable(Pair),
}

/// Two versions.
#[derive(Debug, clap::Args)]
struct Pair {
    /// From: datastore and version, `mysql:5.6` for example
    from: String,
    /// To: datastore and version
    to: String,
}

fn way(word: &str) -> Result<Way, String> {
    word.parse().map_err(|_| "expected replica, in_place, twin or rolling".to_owned())
}

fn version(text: &str) -> anyhow::Result<VersionName> {
    let (datastore, version) = text.split_once(':').with_context(|| {
        format!("{text} is no version; expected datastore:version, mysql:5.6 for example")
    })?;
    Ok(VersionName { datastore_type: datastore.to_owned(), datastore_version: version.to_owned() })
}

/// Runs a command.
///
/// # Errors
/// What the command refuses; the store cannot be reached.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let keys_beside = args.state_dir.as_ref().map(|state| state.join("key"));
    let db = Db::new(&Config { pool_size: 1, ..Config::new(url(args.database_url, args.state_dir)?) });
    db.knows_schema().await?;
    match args.what {
        What::AccessKey(what) => access_keys::run(&db, what, args.key_file, keys_beside).await,
        What::Ca(what) => {
            let sealer = || access_keys::sealer(args.key_file, keys_beside);
            authorities::run(&db, &operator()?, what, sealer).await
        }
        What::Flavor(what) => flavors::run(&db, what).await,
        What::Paths(what) => manage_paths(&db, what).await,
        What::Task(what) => manage_tasks(&db, what).await,
        What::Audit { project, hours, most, json } => {
            let listed: Result<_, db::Error> =
                db.run(move |conn| db::audit::list(conn, project.as_deref(), hours, most)).await;
            listed?.iter().for_each(|entry| println!("{}", line(entry, json)));
            Ok(())
        }
    }
}

/// An entry of the audit as a line.
fn line(entry: &db::audit::Entry, json: bool) -> String {
    let at = entry.at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let target = entry.target.join(" ");
    if json {
        return json!({
            "at": at, "request_id": entry.request_id, "project": entry.project_id, "user": entry.user_id,
            "role": entry.role, "address": entry.address, "dialect": entry.dialect, "method": entry.method,
            "route": entry.route, "target": entry.target, "status": entry.status,
        })
        .to_string();
    }
    let (role, address) = (entry.role.as_deref().unwrap_or("-"), entry.address.as_deref().unwrap_or("-"));
    // A target is what a client sent.
    let target: String = target.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!(
        "{at}  {}  {:<6} {}  {target}  project {}  user {} ({role})  from {address}  {}",
        entry.status, entry.method, entry.route, entry.project_id, entry.user_id, entry.request_id
    )
}

fn url(database_url: Option<String>, state_dir: Option<PathBuf>) -> anyhow::Result<String> {
    match (state_dir, database_url) {
        (Some(state), _) => {
            if !state.join("store").is_dir() {
                bail!("{} is not the state folder of a coffer dev", state.display());
            }
            let accounts = Accounts::find()?;
            let Folders { state, run, engines } = Folders::open(Some(state), None, accounts.as_ref())?;
            Ok(crate::embedded_postgres::url(&store_config(&state, &engines, &run, accounts.as_ref())?)?)
        }
        (None, Some(url)) => Ok(url),
        (None, None) => bail!("give --state-dir, or the service's Postgres in DATABASE_URL"),
    }
}

/// Whoever runs this, as the record of events names them.
fn operator() -> anyhow::Result<Caller> {
    Ok(Caller {
        user: format!("admin of the system, account {}", rustix::process::getuid().as_raw()),
        project: ProjectId::parse("operator").context("the operator's project")?,
        level: Some(Level::Admin),
    })
}

async fn manage_paths(db: &Db, what: Paths) -> anyhow::Result<()> {
    let caller = operator()?;
    match what {
        Paths::List { json } => {
            for edge in all(db).await? {
                if json {
                    println!("{}", edge_as_json(&edge));
                } else {
                    print(&edge);
                }
            }
        }
        Paths::Add { pair, ways, note, disabled } => {
            let new = NewPath {
                from: version(&pair.from)?,
                to: version(&pair.to)?,
                ways: distinct(ways)?,
                enabled: !disabled,
                note,
            };
            print(&paths::add(db, &caller, new).await?);
        }
        Paths::Disable(pair) => print(&switch(db, &caller, &pair, false).await?),
        Paths::Enable(pair) => print(&switch(db, &caller, &pair, true).await?),
    }
    Ok(())
}

async fn manage_tasks(db: &Db, what: TaskCommand) -> anyhow::Result<()> {
    let caller = operator()?;
    match what {
        TaskCommand::List { json } => {
            let stuck = tasks::stuck(db, &caller).await?;
            if json {
                stuck.iter().for_each(|task| println!("{}", task_as_json(task)));
                return Ok(());
            }
            if stuck.is_empty() {
                println!("no task needs an operator");
            }
            for task in stuck {
                let (reason, operator) = (task.reason.as_deref(), task.operator_reason.as_deref());
                println!("{}  {:<8} project {}", task.id, task.kind().as_str(), task.project);
                println!("    {}", reason.unwrap_or("no reason was recorded"));
                println!("    {}", operator.unwrap_or("no cause was recorded"));
            }
        }
        TaskCommand::Show { task, json } => {
            let known = tasks::dossier(db, &caller, task_id(&task)?).await?;
            if json {
                println!("{}", dossier_as_json(&known));
            } else {
                show(&known)?;
            }
        }
        TaskCommand::Resolve { task, serving } => {
            let ended = tasks::resolve(db, &caller, task_id(&task)?, &serving).await?;
            println!("{} has ended: {}", ended.task.id, ended.task.progress.state().as_str());
            print_servers(&ended);
            println!("a server that runs fenced takes writes when it was started anew: end its process");
        }
        TaskCommand::Retry { task } => {
            let task = tasks::retry(db, &caller, task_id(&task)?).await?;
            println!("{} goes on", task.id);
        }
    }
    Ok(())
}

fn task_id(text: &str) -> anyhow::Result<TaskId> {
    text.parse().map_err(|_| anyhow::anyhow!("{text} is no task id: expected a UUID"))
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn task_as_json(task: &Task) -> Value {
    let at = match task.progress {
        Progress::At(phase, step) => json!({"phase": phase.as_str(), "step": step.as_str()}),
        _ => Value::Null,
    };
    json!({
        "id": task.id.to_string(), "kind": task.kind().as_str(), "project": task.project.as_str(),
        "state": task.progress.state().as_str(), "at": at, "attempts": task.attempts, "reason": task.reason,
        "cause": task.operator_reason, "accepted": moment(task.created_at), "moved": moment(task.updated_at),
    })
}

/// Everything that `show` prints.
fn dossier_as_json(known: &Dossier) -> Value {
    let Dossier { task, steps, instance, hold, relay, servers } = known;
    let mut told = task_as_json(task);
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            json!({
                "phase": step.phase, "step": step.step, "attempt": step.attempt, "outcome": step.outcome,
                "progress": step.progress, "detail": step.detail, "started": moment(step.started_at),
                "ended": step.ended_at.map(moment),
            })
        })
        .collect();
    let servers: Vec<Value> = servers
        .iter()
        .map(|server| {
            let it = &server.generation;
            json!({
                "id": it.id.to_string(), "side": side(&task.plan, it.id), "version": it.version.title(),
                "host": it.host.0, "role": it.role.as_str(), "shall_run": it.wanted_running,
                "takes_writes": !it.read_only, "kept_until": server.keep_until.map(moment),
                "used_bytes": server.used_bytes, "answered": server.answered.as_ref().map(|(at, _)| moment(*at)),
                "answered_version": server.answered.as_ref().map(|(_, version)| version), "trouble": server.trouble,
            })
        })
        .collect();
    let hold = hold
        .as_ref()
        .map(|hold| json!({"task": hold.task.to_string(), "since": moment(hold.since), "cut": hold.cut}));
    let instance = instance.as_ref().map(|instance| {
        let fault =
            instance.fault.as_ref().map(|fault| json!({"at": moment(fault.at), "message": fault.message}));
        json!({"id": instance.id.to_string(), "status": instance.state.trove_status(), "fault": fault})
    });
    for (key, value) in [
        ("begins", json!(task.starts.map(moment))),
        ("cancel_asked", json!(task.cancel_asked)),
        ("plan", json!(task.plan)),
        ("report", json!(task.report)),
        ("steps", json!(steps)),
        ("instance", json!(instance)),
        ("hold", json!(hold)),
        ("relay", json!(relay.as_ref().map(|(address, port)| format!("{address}:{port}")))),
        ("servers", json!(servers)),
    ] {
        told[key] = value;
    }
    told
}

/// The side of an upgrade that a server is on.
fn side(plan: &Plan, server: GenerationId) -> Option<&'static str> {
    match plan {
        Plan::Upgrade(plan) if plan.old == server => Some("old"),
        Plan::Upgrade(plan) if plan.new == server => Some("new"),
        Plan::Rolling(plan) if [plan.primary.old, plan.standby.old].contains(&server) => Some("old"),
        Plan::Rolling(plan) if [plan.primary.new, plan.standby.new].contains(&server) => Some("new"),
        _other => None,
    }
}

fn show(known: &Dossier) -> anyhow::Result<()> {
    let Dossier { task, steps, instance, hold, relay, .. } = known;
    println!("task {}", task.id);
    println!("  kind       {}", task.kind().as_str());
    println!("  project    {}", task.project);
    println!("  state      {}", task.progress.state().as_str());
    if let Progress::At(phase, step) = task.progress {
        println!("  at         {} {}, tried {} times", phase.as_str(), step.as_str(), task.attempts);
    }
    println!("  accepted   {}", moment(task.created_at));
    println!("  moved      {}", moment(task.updated_at));
    if let Some(starts) = task.starts {
        println!("  begins     {}, {}", moment(starts), task.timing.as_str());
    }
    for (what, told) in [("reason", &task.reason), ("cause", &task.operator_reason)] {
        if let Some(told) = told {
            println!("  {what:<9}  {told}");
        }
    }
    if task.cancel_asked {
        println!("  its customer wants it to end");
    }
    println!("plan\n{}", indented(&serde_json::to_string_pretty(&task.plan)?));
    println!("report\n{}", indented(&serde_json::to_string_pretty(&task.report)?));
    println!("steps");
    for step in steps {
        let outcome = step.outcome.as_deref().unwrap_or("runs");
        let took = step.ended_at.map(|end| end - step.started_at);
        let took = took.map_or_else(String::new, |took| format!(" after {} ms", took.num_milliseconds()));
        println!(
            "  {}  {:<8} {:<12} try {:<2}  {outcome}{took}",
            moment(step.started_at),
            step.phase,
            step.step,
            step.attempt
        );
        for told in [&step.progress, &step.detail].into_iter().flatten() {
            println!("      {told}");
        }
    }
    match instance {
        Some(instance) => println!("instance {} is {}", instance.id, instance.state.trove_status()),
        None => println!("the instance is gone"),
    }
    if let Some(fault) = instance.as_ref().and_then(|instance| instance.fault.as_ref()) {
        println!("  fault of {}: {}", moment(fault.at), fault.message);
    }
    match hold {
        Some(hold) if hold.task == task.id => {
            let cut = if hold.cut { ", open ones were ended" } else { "" };
            println!("its address holds connections since {}{cut}", moment(hold.since));
        }
        Some(hold) => println!("its address is held by the task {}", hold.task),
        None => println!("its address holds nothing"),
    }
    if let Some((address, port)) = relay {
        println!("its relay listens on {address}:{port}");
    }
    print_servers(known);
    Ok(())
}

/// The instance's servers: what each is, and what is kept of it until when.
fn print_servers(known: &Dossier) {
    println!("servers");
    for server in &known.servers {
        let it = &server.generation;
        let side = side(&known.task.plan, it.id).map_or_else(String::new, |side| format!("{side}, "));
        let wanted = if it.wanted_running { "shall run" } else { "shall be stopped" };
        let fence = if it.read_only { "fenced" } else { "takes writes" };
        println!("  {}  {side}{} on {}, {}", it.id, it.version.title(), it.host, it.role.as_str());
        println!("      {wanted}, {fence} by its settings");
        if let Some(until) = server.keep_until {
            println!("      kept until {}", moment(until));
        }
        if let Some(bytes) = server.used_bytes {
            println!("      {} MB when it was last looked at", bytes >> 20);
        }
        if let Some((at, version)) = &server.answered {
            println!("      answered {version} at {}", moment(*at));
        }
        if let Some(trouble) = &server.trouble {
            println!("      trouble: {trouble}");
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}

fn distinct(ways: Vec<Way>) -> anyhow::Result<Vec<Way>> {
    match ways.iter().enumerate().find(|(at, way)| ways[..*at].contains(way)) {
        Some((_, twice)) => bail!("--way {} is given twice", twice.as_str()),
        None => Ok(ways),
    }
}

async fn all(db: &Db) -> Result<Vec<Edge>, db::Error> {
    db.run(db::paths::all).await
}

async fn switch(db: &Db, caller: &Caller, pair: &Pair, enabled: bool) -> anyhow::Result<Edge> {
    let (from, to) = (version(&pair.from)?, version(&pair.to)?);
    let is = |version: &crate::domain::datastore::DatastoreVersion, name: &VersionName| {
        version.datastore.eq_ignore_ascii_case(&name.datastore_type) && version.name == name.datastore_version
    };
    let edge = all(db)
        .await?
        .into_iter()
        .find(|edge| is(&edge.from, &from) && is(&edge.to, &to))
        .with_context(|| format!("there is no path from {} to {}", pair.from, pair.to))?;
    let change = PathChange { enabled: Some(enabled), ..PathChange::default() };
    Ok(paths::change(db, caller, edge.id, change).await?)
}

fn edge_as_json(edge: &Edge) -> Value {
    let ways: Vec<_> = edge.ways.iter().map(|way| way.as_str()).collect();
    let version = |of: &crate::domain::datastore::DatastoreVersion| format!("{}:{}", of.datastore, of.name);
    json!({
        "id": edge.id.to_string(), "from": version(&edge.from), "to": version(&edge.to), "enabled": edge.enabled,
        "ways": ways, "note": edge.note,
    })
}

fn print(edge: &Edge) {
    let ways: Vec<_> = edge.ways.iter().map(|way| way.as_str()).collect();
    println!(
        "{}  {:<20} {:<20} {:<8}  {:<28}  {}",
        edge.id,
        format!("{}:{}", edge.from.datastore, edge.from.name),
        format!("{}:{}", edge.to.datastore, edge.to.name),
        if edge.enabled { "enabled" } else { "disabled" },
        ways.join(","),
        edge.note
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_datastore_and_a_name() {
        let parsed = version("mysql:5.6").unwrap();
        assert_eq!((&*parsed.datastore_type, &*parsed.datastore_version), ("mysql", "5.6"));
        assert!(version("mysql 5.6").is_err());
        assert!(distinct(vec![Way::Twin, Way::Replica, Way::Twin]).is_err());
        assert!(url(None, None).is_err());
        assert!(url(None, Some("/nothing/here".into())).is_err());
    }
}
