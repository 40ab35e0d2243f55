//! Keeping servers up. A server that shall run and does not answer is started again, with back-off, from its own
//! configuration, so that a fence is never lost; and what was seen is recorded. What the API calls healthy was asked
//! from the server within the last seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::db::{events, generations, hosts, instances, looks, operations, tasks};
use crate::domain::datastore::EngineKind;
use crate::domain::generation::{Generation, Role};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::instance::{Fault, Instance, InstanceState};
use crate::domain::replica_upgrade::ReplicaUpgradePlan;
use crate::domain::task::Plan;
use crate::domain::volume::VolumeState;
use crate::engines::Following;
use crate::telemetry::metrics;
use crate::workflow::{
    WORKER, WorkerContext, certificates, chain, expired, feed, followers, for_tenants, logs, parameters,
    volumes,
};

const EVERY: Duration = Duration::from_secs(2);

/// The event of a server that was ended for want of memory, and how often an instance has it at most.
const TOO_LARGE: &str = "server_wanted_too_much_memory";
const TOLD_EVERY: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// How long a server that had its time to stop is asked once more, before it is killed.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked what the source of an upgrade's new side has by now.
const GROWN_LOOK: Duration = Duration::from_secs(15);

#[derive(Clone, Copy)]
struct Memory {
    failures: u32,
    again_at: Instant,
    volume: volumes::Memory,
    certificate: certificates::Memory,
    /// How many of its processes were ended for want of memory, as was seen last.
    ended_for_memory: Option<u64>,
    /// When it was looked what its source has by now.
    grown_at: Option<Instant>,
    /// Whether nothing of a follower is left that went while the server was away, or before us.
    tidied: bool,
    /// Whether it was seen how it stands to its parameters, as the one that serves.
    seen: bool,
}

/// Looks after this host's servers until `stop` becomes true.
pub async fn run(worker: Arc<WorkerContext>, instance_net: String, mut stop: watch::Receiver<bool>) {
    let mut memories: HashMap<GenerationId, Memory> = HashMap::new();
    let mut looking: HashSet<GenerationId> = HashSet::new();
    let mut looks: JoinSet<(GenerationId, Memory)> = JoinSet::new();
    while !*stop.borrow() {
        let host = worker.host.clone();
        let net = instance_net.clone();
        let found = worker
            .db
            .run(move |conn| {
                hosts::record(conn, &host, &net)?;
                generations::of_host(conn, &host)
            })
            .await;
        match found {
            Ok(found) => {
                record(expired::drop_expired(&worker).await);
                let now = Instant::now();
                memories.retain(|id, _| found.iter().any(|g| g.id == *id));
                publish_metrics(&found, &memories);
                for generation in found.into_iter().filter(|g| g.wanted_running) {
                    let memory = *memories.entry(generation.id).or_insert(Memory {
                        failures: 0,
                        again_at: now,
                        volume: volumes::Memory::default(),
                        certificate: certificates::Memory::default(),
                        ended_for_memory: None,
                        grown_at: None,
                        tidied: false,
                        seen: false,
                    });
                    if memory.again_at <= now && looking.insert(generation.id) {
                        let worker = Arc::clone(&worker);
                        looks.spawn(async move { (generation.id, look(&worker, &generation, memory).await) });
                    }
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "the host's servers could not be read"),
        }
        let deadline = Instant::now() + EVERY;
        loop {
            tokio::select! {
                Some(done) = looks.join_next(), if !looks.is_empty() => {
                    if let Ok((id, memory)) = done {
                        looking.remove(&id);
                        memories.insert(id, memory);
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
                _ = stop.changed() => break,
            }
        }
    }
    looks.shutdown().await;
}

/// Counts the servers by what was last seen of them.
fn publish_metrics(found: &[Generation], memories: &HashMap<GenerationId, Memory>) {
    for engine in EngineKind::ALL {
        let of_engine = || found.iter().filter(move |g| g.version.engine == engine);
        let running = of_engine().filter(|g| g.wanted_running);
        let seen = |g: &&Generation| memories.get(&g.id).map(|memory| memory.failures > 0);
        let troubled = running.clone().filter(|g| seen(g) == Some(true)).count();
        let well = running.clone().filter(|g| seen(g) == Some(false)).count();
        metrics::servers(engine.as_str(), "answers", well);
        metrics::servers(engine.as_str(), "in_trouble", troubled);
        metrics::servers(engine.as_str(), "not_asked_yet", running.count() - well - troubled);
        metrics::servers(engine.as_str(), "stopped", of_engine().filter(|g| !g.wanted_running).count());
    }
    let certificates = || {
        let serving = found.iter().filter(|g| g.role == Role::Serving);
        serving.filter_map(|g| memories.get(&g.id)).map(|memory| memory.certificate)
    };
    metrics::certificates_due(certificates().filter(|it| it.is_due).count());
    let ends = || certificates().filter_map(|it| it.ends());
    for (of, first) in
        [("server", ends().map(|it| it.server).min()), ("authority", ends().map(|it| it.authority).min())]
    {
        // None where there is none, and 0.
        let since_1970 = first.and_then(|at| (at - DateTime::UNIX_EPOCH).to_std().ok());
        metrics::certificates_end(of, since_1970.unwrap_or_default());
    }
    for state in VolumeState::ALL {
        let serving = found.iter().filter(|g| g.role == Role::Serving && g.volume_state == state);
        metrics::volumes(state.as_str(), serving.count());
    }
}

/// Asks one server; starts it when it does not answer and shall run.
async fn look(worker: &WorkerContext, generation: &Generation, mut memory: Memory) -> Memory {
    let id = generation.id;
    let asked = match worker.server(generation) {
        Ok((engine, server)) => match engine.probe(&server, false).await {
            Ok(version) => match following_trouble(worker, &*engine, &server, generation).await {
                None => {
                    let follows = generation.read_only && generation.role == Role::Serving;
                    if follows && memory.grown_at.is_none_or(|at| at.elapsed() > GROWN_LOOK) {
                        memory.grown_at = Some(Instant::now());
                        if let Err(error) = grown(worker, &*engine, &server, generation).await {
                            tracing::debug!(generation.id = %id, error, "what its source has by now was not seen");
                        }
                    }
                    Ok(version)
                }
                Some(trouble) => Err(trouble),
            },
            Err(_) => {
                memory.tidied = false;
                match revive(worker, id).await {
                    Ok(Some(version)) => Ok(version),
                    // A task has stopped it since: that is no trouble.
                    Ok(None) => return memory,
                    Err(trouble) => Err(trouble),
                }
            }
        },
        Err(error) => Err(chain(&error)),
    };
    if asked.is_ok() && !memory.tidied && generation.role == Role::Serving && !generation.read_only {
        memory.tidied = tidy(worker, generation).await.unwrap_or_else(|error| {
            tracing::debug!(generation.id = %id, error, "what a follower left is there still");
            false
        });
    }
    certificates::look(worker, generation, &mut memory.certificate, asked.is_ok()).await;
    match asked {
        Ok(version) => {
            let used = volumes::look(worker, generation, &mut memory.volume).await;
            if used.is_some() {
                logs::measure(worker, generation).await;
                memory.ended_for_memory = see_memory(worker, generation, memory.ended_for_memory).await;
            }
            if generation.role == Role::Serving
                && (!memory.seen || !generation.parameters.is_empty() || generation.needs_restart)
            {
                memory.seen = see_parameters(worker, generation).await;
            }
            memory.failures = 0;
            memory.again_at = Instant::now();
            record(worker.db.run(move |conn| generations::record_answer(conn, id, &version, used)).await);
        }
        Err(trouble) => {
            memory.failures = memory.failures.saturating_add(1);
            let wait = Duration::from_secs(1 << memory.failures.clamp(0, 5)).min(Duration::from_secs(30));
            memory.again_at = Instant::now() + wait;
            if memory.failures == 1 || memory.failures.is_multiple_of(20) {
                tracing::warn!(generation.id = %id, failures = memory.failures, trouble, "a server is in trouble");
            }
            record(worker.db.run(move |conn| generations::record_trouble(conn, id, &trouble)).await);
        }
    }
    memory
}

/// Sees how a server stands to its group's values: it may have been started since, or have been given others. Who has it take
/// them sees it, too.
async fn see_parameters(worker: &WorkerContext, generation: &Generation) -> bool {
    let instance = generation.instance;
    let is_changing = worker.db.run(move |conn| {
        Ok::<_, crate::db::Error>(
            operations::waiting_of(conn, instance)? > 0 || tasks::is_claimed(conn, instance)?,
        )
    });
    if is_changing.await.unwrap_or(true) {
        return false;
    }
    let Ok((engine, server)) = worker.reach(generation.id).await else { return false };
    match parameters::see(worker, instance, &*engine, &server).await {
        Ok(()) => true,
        Err(error) => {
            let error = chain(&error);
            tracing::debug!(generation.id = %generation.id, error, "how a server stands to its parameters was not seen");
            false
        }
    }
}

fn record(done: Result<(), crate::db::Error>) {
    if let Err(error) = done {
        tracing::debug!(error = %chain(&error), "what was seen of a server was not recorded");
    }
}

/// A replica whose replication cannot go on is in trouble though its server answers; its tenant learns why.
async fn following_trouble(
    worker: &WorkerContext,
    engine: &dyn crate::engines::Engine,
    server: &crate::engines::Server,
    generation: &Generation,
) -> Option<String> {
    if !(generation.read_only && generation.role == Role::Serving) {
        return None;
    }
    match engine.following(server).await {
        Ok(Following::Broken(why)) => {
            record(tell_broken(worker, (engine, server), generation.instance, &why).await);
            Some(format!("replication has stopped: {why}"))
        }
        // A moment of either is ordinary: a source that restarts, a comparison, a detach. Who detaches asks anew.
        Ok(Following::Running | Following::Connecting(_) | Following::Nobody) | Err(_) => None,
    }
}

/// Has the new side of an upgrade that cannot follow its source any more say why. Once: it does not come back.
async fn tell_broken(
    worker: &WorkerContext,
    (engine, server): (&dyn crate::engines::Engine, &crate::engines::Server),
    id: InstanceId,
    why: &str,
) -> Result<(), crate::db::Error> {
    let Some((_, plan)) = waiting(worker, id).await?.filter(|(instance, _)| instance.fault.is_none()) else {
        return Ok(());
    };
    // A source that is away has it said without the definition.
    let told = match worker.reach(plan.source_generation).await {
        Ok((_, source)) => feed::why_broken(engine, (&source, server), why).await,
        Err(_) => for_tenants(why),
    };
    let fault = Fault::cannot_follow(&told, format!("replication has stopped: {why}"), chrono::Utc::now());
    worker
        .db
        .transact(move |conn| {
            let Some(mut instance) = instances::lock(conn, id)? else { return Ok(()) };
            if instance.state != InstanceState::VerifyUpgrade || instance.fault.is_some() {
                return Ok(());
            }
            instance.fault = Some(fault.clone());
            instances::save(conn, &instance)
        })
        .await
}

/// The new side of an upgrade whose customer decides, with the upgrade's plan.
async fn waiting(
    worker: &WorkerContext,
    id: InstanceId,
) -> Result<Option<(Instance, ReplicaUpgradePlan)>, crate::db::Error> {
    let found = worker.db.transact(move |conn| {
        let Some(instance) = instances::lock(conn, id)? else { return Ok(None) };
        Ok::<_, crate::db::Error>(tasks::lock_live(conn, id)?.map(|task| (instance, task.plan)))
    });
    Ok(match found.await? {
        Some((instance, Plan::ReplicaUpgrade(plan)))
            if instance.state == InstanceState::VerifyUpgrade && plan.candidate == id =>
        {
            Some((instance, plan))
        }
        _ => None,
    })
}

/// Looks what the source of an upgrade's new side has by now, for as long as its customer takes to decide: what the copy
/// cannot follow is its fault, and what must be applied otherwise is.
async fn grown(
    worker: &WorkerContext,
    engine: &dyn crate::engines::Engine,
    server: &crate::engines::Server,
    generation: &Generation,
) -> Result<(), String> {
    if !engine.replicates_definitions() {
        return Ok(());
    }
    // A detach ends replication: not between the look and what comes of it.
    let _turn = worker.turn(generation.id).await;
    let Some((instance, plan)) = waiting(worker, generation.instance).await.map_err(|e| chain(&e))? else {
        return Ok(());
    };
    let (_, source) = worker.reach(plan.source_generation).await.map_err(|e| chain(&e))?;
    // Who was killed while it was to apply otherwise left it standing still.
    if engine.following(server).await.map_err(|e| chain(&e))? == Following::Nobody {
        engine.resume(server).await.map_err(|e| chain(&e))?;
    }
    // A table that a session has locked is not looked at: it would be waited for.
    if engine.in_the_way(&source).await.map_err(|e| chain(&e))?.is_some() {
        return Ok(());
    }
    if followers::spoilt(worker, &instance, engine, &source).await?.is_none()
        && let Some(object) = engine.adapt(&source, server).await.map_err(|e| chain(&e))?
    {
        tracing::info!(generation.id = %generation.id, object, "changes are applied one after the other");
    }
    Ok(())
}

/// Has the instance's events say where a process of the server was ended for want of memory, and the server lives on. Gives
/// how many there were; `None` where that is not known.
async fn see_memory(worker: &WorkerContext, generation: &Generation, before: Option<u64>) -> Option<u64> {
    let (_, server) = worker.server(generation).ok()?;
    let now = server.runtime.ended_for_memory(generation.id).await.ok()?;
    if before.is_some_and(|before| now > before) {
        record(tell_too_large(worker, generation).await);
    }
    Some(now)
}

/// Has the instance's events say that its server was ended since it wanted more memory than it has. A tenant can have that
/// happen in a loop, and fills no table by it.
async fn tell_too_large(worker: &WorkerContext, generation: &Generation) -> Result<(), crate::db::Error> {
    let (id, at, memory_mb) = (generation.id, generation.instance, generation.memory_mb);
    tracing::warn!(generation.id = %id, instance.id = %at, memory_mb, "a server was ended: it wanted more memory than it has");
    worker
        .db
        .transact(move |conn| {
            let Some(instance) = instances::lock(conn, at)? else { return Ok(()) };
            if events::happened_since(conn, at, TOO_LARGE, chrono::Utc::now() - TOLD_EVERY)? {
                return Ok(());
            }
            events::record(
                conn,
                &events::Event {
                    project: &instance.project,
                    instance: Some(at),
                    task: None,
                    actor: WORKER,
                    what: TOO_LARGE,
                    data: serde_json::json!({"memory": memory_mb}),
                },
            )
        })
        .await
}

/// Starts the server again, if it shall still run once it is our turn; `None` where it shall not.
async fn revive(worker: &WorkerContext, id: GenerationId) -> Result<Option<String>, String> {
    let _turn = worker.turn(id).await;
    let current = worker
        .db
        .run(move |conn| generations::find(conn, id))
        .await
        .map_err(|e| chain(&e))?
        .filter(|generation| generation.wanted_running);
    let Some(current) = current else { return Ok(None) };
    let current = worker.certified(current).await.map_err(|e| chain(&e))?;
    let (engine, server) = worker.server(&current).map_err(|e| chain(&e))?;
    tracing::info!(generation.id = %id, "starting a server that does not answer");
    metrics::server_restarted(current.version.engine.as_str());
    let was_too_large =
        server.runtime.last_exit(id).await.ok().flatten().is_some_and(|exit| exit.was_too_large);
    engine.start(&server).await.map_err(|e| chain(&e))?;
    if was_too_large {
        record(tell_too_large(worker, &current).await);
    }
    engine.probe(&server, false).await.map(Some).map_err(|e| chain(&e))
}

/// Takes off a source what a follower left there that ended while the source was away; `false` while a task has the
/// instance, whose matter it is.
async fn tidy(worker: &WorkerContext, generation: &Generation) -> Result<bool, String> {
    let _turn = worker.turn(generation.id).await;
    let instance = generation.instance;
    // A look has accounts there, too, and takes them off itself.
    let busy = worker
        .db
        .run(move |conn| Ok(tasks::is_claimed(conn, instance)? || looks::is_at(conn, instance)?))
        .await;
    if busy.map_err(|e: crate::db::Error| chain(&e))? {
        return Ok(false);
    }
    // Read again: what it proves itself with may have been made just now, and names the follower's account.
    let (engine, server) = worker.reach(generation.id).await.map_err(|e| chain(&e))?;
    engine.forget_follower(&server).await.map_err(|e| chain(&e))?;
    Ok(true)
}

/// How early a server is stopped: who follows comes before who may be followed. A MariaDB (11.8.9) that is asked to end
/// while it connects to a source that is gone was seen to take from 15 s to over a minute.
const fn rank(generation: &Generation) -> u8 {
    match generation.role {
        Role::Candidate => 0,
        _ if generation.read_only => 1,
        _ => 2,
    }
}

/// Stops every server of this host, cleanly where it lets itself be stopped, followers before their sources; what shall
/// run is started again by the next worker. One that was asked to end ends, whatever becomes of us.
pub async fn stop_servers(worker: &Arc<WorkerContext>) {
    let host = worker.host.clone();
    let mut found = match worker.db.run(move |conn| generations::of_host(conn, &host)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(error = %chain(&error), "the host's servers could not be read, so none was stopped");
            return;
        }
    };
    found.sort_by_key(rank);
    for wave in found.chunk_by(|a, b| rank(a) == rank(b)) {
        stop_all(worker, wave.to_vec()).await;
    }
}

async fn stop_all(worker: &Arc<WorkerContext>, found: Vec<Generation>) {
    let mut stops = JoinSet::new();
    for generation in found {
        let worker = Arc::clone(worker);
        stops.spawn(async move {
            let _turn = worker.turn(generation.id).await;
            match worker.server(&generation) {
                Ok((engine, server)) => {
                    if let Err(error) = engine.stop(&server).await {
                        tracing::error!(generation.id = %generation.id, error = %chain(&error), "a server did not stop, and is killed");
                        // Who ends all of it wants nothing left; what was acknowledged is on the disk.
                        let killed = server.runtime.stop_server(generation.id, LAST_PATIENCE, true).await;
                        if let Err(error) = killed {
                            tracing::error!(generation.id = %generation.id, error = %chain(&error), "a server was not ended");
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(generation.id = %generation.id, error = %chain(&error), "a server was not stopped");
                }
            }
        });
    }
    while stops.join_next().await.is_some() {}
}
