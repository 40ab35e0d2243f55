//! Asking a server of a version what parameters it has, and seeing how a server stands to the values of its group.
//!
//! # If we die here
//! The server that is made to be asked has a row before it is made. The next worker of the host removes what has a row and no
//! worker any more; the list is made by whoever takes it when the lease is over.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use uuid::Uuid;

use crate::db::notices::Channel;
use crate::db::parameters::{self, LEASE, Taken};
use crate::db::{self, catalogue_cache, configurations, endpoints, generations, instances};
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{GenerationId, InstanceId};
use crate::domain::parameter::{Parameter, Values, lost};
use crate::domain::question::Finding;
use crate::engines::{self, Engine, Server, Settings};
use crate::testing;
use crate::workflow::{WorkerContext, chain};

/// Memory of the server that is asked, in MB.
const MEMORY_MB: u32 = 256;

/// How long it may take to make a server and to ask it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it may take to remove it.
const CLEARING: Duration = Duration::from_secs(60);

/// How long a check of an upgrade waits for the parameters of its target.
const TARGETS: Duration = Duration::from_secs(30);

/// Asks for versions of this host, until `stop` becomes true: one at a time, for a server is made for each.
pub async fn run(worker: Arc<WorkerContext>, owner: String, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        clear(&worker).await;
        let (host, ours) = (worker.host.clone(), owner.clone());
        let scratch = GenerationId(Uuid::new_v4());
        let taken = worker.db.transact(move |conn| parameters::take(conn, &host, &ours, scratch)).await;
        match taken {
            Ok(Some(taken)) => {
                tokio::select! {
                    () = learn(&worker, &taken) => {}
                    _ = stop.changed() => {}
                }
                // Whatever came of it, also when we are to stop.
                remove(&worker, taken.scratch, &taken.version).await;
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                let error: db::Error = error;
                tracing::debug!(error = %chain(&error), "no parameters to ask for could be read");
            }
        }
        tokio::select! {
            () = worker.notices.wait(Channel::Parameters, Duration::from_secs(2)) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Removes servers that a worker of this host left when it died.
async fn clear(worker: &WorkerContext) {
    let host = worker.host.clone();
    let left: Result<_, db::Error> = worker.db.run(move |conn| parameters::left_on(conn, &host)).await;
    for (scratch, version) in left.unwrap_or_default() {
        remove(worker, scratch, &version).await;
    }
}

/// Removes a server that was made to be asked; one that cannot be is tried again by the next look.
async fn remove(worker: &WorkerContext, scratch: GenerationId, version: &DatastoreVersion) {
    let gone = match server_of(worker, scratch, version) {
        Ok((engine, server)) => {
            let dropped = tokio::time::timeout(CLEARING, engine.drop_data(&server)).await;
            dropped.map_err(|_| "not in time".to_owned()).and_then(|done| done.map_err(|error| chain(&error)))
        }
        Err(why) => Err(why),
    };
    let forgotten: Result<(), String> = match gone {
        Ok(()) => {
            let done: Result<_, db::Error> =
                worker.db.run(move |conn| parameters::forget_scratch(conn, scratch)).await;
            done.map_err(|error| chain(&error))
        }
        Err(why) => Err(why),
    };
    if let Err(error) = forgotten {
        tracing::warn!(generation.id = %scratch, error, "a server that was asked is not removed yet");
    }
}

/// Asks a server of the version, and records what it tells.
async fn learn(worker: &WorkerContext, taken: &Taken) {
    let asked = tokio::select! {
        biased;
        () = keep(worker, taken) => return,
        asked = tokio::time::timeout(PATIENCE, ask(worker, taken)) => {
            asked.unwrap_or_else(|_| Err("the server took too long".to_owned()))
        }
    };
    let ours = taken.clone();
    let recorded = match asked {
        Ok(found) => {
            tracing::info!(
                version = taken.version.title(),
                parameters = found.len(),
                "a server told its parameters"
            );
            worker.db.run(move |conn| parameters::record(conn, &ours, &found)).await
        }
        Err(trouble) => {
            tracing::warn!(version = taken.version.title(), trouble, "parameters could not be asked");
            worker.db.run(move |conn| parameters::fail(conn, &ours, &trouble)).await
        }
    };
    match recorded {
        Ok(()) | Err(db::Error::LeaseLost) => {}
        // The lease runs out, and it is done again.
        Err(error) => tracing::warn!(error = %chain(&error), "a version's parameters were not recorded"),
    }
}

/// Renews the lease until it is lost.
async fn keep(worker: &WorkerContext, taken: &Taken) {
    let mut renewed = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(LEASE / 5).await;
        let (ours, asked) = (taken.clone(), tokio::time::Instant::now());
        let renewal = worker.db.run(move |conn| parameters::renew(conn, &ours));
        match tokio::time::timeout_at(renewed + LEASE - LEASE / 5, renewal).await {
            Ok(Ok(())) => renewed = asked,
            Ok(Err(db::Error::LeaseLost)) | Err(_) => return,
            Ok(Err(_)) => {}
        }
    }
}

async fn ask(worker: &WorkerContext, taken: &Taken) -> Result<Vec<Parameter>, String> {
    let (engine, server) = server_of(worker, taken.scratch, &taken.version)?;
    if let Some(known) = engine.fixed_parameters() {
        return Ok(known);
    }
    let asked = async {
        engine.create_data(&server).await?;
        engine.start(&server).await?;
        testing::pause(|| "parameters.started".to_owned()).await;
        engine.parameters(&server).await
    };
    asked.await.map_err(|error: engines::Error| chain(&error))
}

/// The engine, and the server that is made to be asked.
fn server_of(
    worker: &WorkerContext,
    scratch: GenerationId,
    version: &DatastoreVersion,
) -> Result<(Arc<dyn Engine>, Server), String> {
    let drivers = worker.drivers.get(&version.runtime);
    let drivers = drivers.ok_or_else(|| format!("no runtime {}", version.runtime.as_str()))?;
    let engine = drivers.engines.iter().find(|engine| engine.kind() == version.engine);
    let engine = engine.ok_or_else(|| format!("no engine {}", version.engine.as_str()))?;
    let server = Server {
        generation: scratch,
        version: version.number.clone(),
        runtime: Arc::clone(&drivers.runtime),
        account: None,
        service_password: SecretString::from(format!("{:032x}", rand::random::<u128>())),
        settings: Settings {
            server_id: 1,
            memory_mb: MEMORY_MB,
            cpus: 1,
            read_only: true,
            full: false,
            readers: false,
            events: false,
            defaults_of: version.number.clone(),
            parameters: Values::new(),
            logs: Vec::new(),
        },
        tls: None,
    };
    Ok((Arc::clone(engine), server))
}

/// Records how the server that serves an instance stands to the values of its group: whether one waits for a restart, and how
/// many connections the endpoint may let through.
///
/// # Errors
/// The server's. The store's is told to be looked at again.
pub async fn see(
    worker: &WorkerContext,
    id: InstanceId,
    engine: &dyn Engine,
    server: &Server,
) -> Result<(), engines::Error> {
    let standing = engine.standing(server).await?;
    let (generation, asked) = (server.generation, server.settings.parameters.clone());
    let connections = i32::try_from(standing.connections).unwrap_or(i32::MAX);
    worker
        .db
        .transact(move |conn| {
            // It was asked about these: others may have come since, and whoever brought them sees to it.
            let is_so = generations::find(conn, generation)?.is_some_and(|now| now.parameters == asked);
            if !is_so {
                return Ok(());
            }
            generations::set_needs_restart(conn, generation, standing.needs_restart)?;
            // It may serve no more by now.
            let serves = instances::find(conn, id)?
                .and_then(|instance| instance.running)
                .is_some_and(|running| running.generation == generation);
            if serves {
                endpoints::set_connections(conn, id, connections)?;
            }
            Ok(())
        })
        .await
        .map_err(|error: db::Error| engines::Error::NoAnswer(format!("the store: {}", chain(&error))))
}

/// What an upgrade of the instance to the version with this number would lose of its configuration group: what that does not
/// know, or reads otherwise.
///
/// # Errors
/// The store's, in words for the operator.
pub async fn findings(worker: &WorkerContext, id: InstanceId, number: &str) -> Result<Vec<Finding>, String> {
    let deadline = tokio::time::Instant::now() + TARGETS;
    let mut is_asked = false;
    loop {
        let number = number.to_owned();
        let found = worker.db.transact(move |conn| {
            let instance = instances::find(conn, id)?;
            let Some((group, _)) = instance.and_then(|instance| instance.configuration) else {
                return Ok(None);
            };
            let Some(group) = configurations::find(conn, group)? else { return Ok(None) };
            let catalogue = catalogue_cache::now(conn)?;
            let is_target =
                |it: &&DatastoreVersion| it.datastore_id == group.version.datastore_id && it.number == number;
            let Some(version) = catalogue.versions().find(is_target).map(|it| it.id) else { return Ok(None) };
            let parameters = parameters::of_version(conn, version)?;
            if parameters.is_none() && !is_asked {
                parameters::ask(conn, version)?;
            }
            Ok::<_, db::Error>(Some((group, parameters)))
        });
        let Some((group, parameters)) = found.await.map_err(|error| chain(&error))? else {
            return Ok(Vec::new());
        };
        is_asked = true;
        if let Some(parameters) = parameters {
            let told = lost(&parameters, &group.values).into_iter();
            return Ok(told
                .map(|(name, why)| Finding {
                    blocks: true,
                    object: format!("configuration group {}: parameter {name}", group.name),
                    why,
                    remedy:
                        "take it out of the group, or detach the group from the instance, and upgrade then"
                            .to_owned(),
                })
                .collect());
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(vec![Finding {
                blocks: false,
                object: format!("configuration group {}", group.name),
                why: "was not looked at: the new version's parameters could not be asked in time".to_owned(),
                remedy: "look again, so that what the new version does not know is told beforehand"
                    .to_owned(),
            }]);
        }
        worker.notices.wait(Channel::Answers, Duration::from_millis(250)).await;
    }
}
