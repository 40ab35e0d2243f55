//! Keeping a server within its instance's volume: measured by whoever looks after the host's servers, every few seconds.
//!
//! What a tenant has in it counts, temporary files too; the logs that the service has an engine write do not, and are removed
//! where nobody needs them any more.
//!
//! # If we die here
//! The row says first how far a volume is filled, and everything that starts the server starts it so. The next worker has the
//! server do as the row says at its first look, so that a death between the two costs a few seconds.
//!
//! # Fences
//! A server that is fenced or follows another is left alone: it refuses writes already. To let tenants write again is another
//! matter, since a task may be about to fence the server. It is done only while no task is at work that could, under the
//! server's turn, and the rows are read once more afterwards. A worker that is frozen in between and wakes within a hold would
//! have the server take writes again; the endpoint holds all clients then, and their sessions are ended.

use std::time::Duration;

use tokio::time::Instant;

use crate::db::{self, events, generations, instances, tasks};
use crate::domain::generation::{Generation, Role};
use crate::domain::ids::InstanceId;
use crate::domain::operation::may_configure;
use crate::domain::volume::VolumeState;
use crate::engines::{self, Engine, Server, Taken};
use crate::workflow::{WORKER, WorkerContext, chain};

/// How often a volume is measured, at most; and how many times as long as it took.
const EVERY: Duration = Duration::from_secs(4);
const REST: u32 = 20;

/// How often a server whose volume is full is told so again.
const AGAIN: Duration = Duration::from_secs(30);

/// Bytes of logs that are left alone: a few of the engine's files.
const LOGS: u64 = 256 << 20;

/// What whoever measures a volume remembers of it.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    measured_at: Option<Instant>,
    took: Duration,
    /// When its server was told last how far the volume is filled.
    told_at: Option<Instant>,
}

/// Measures the volume of a server that answers, when it is time, and has it do as is due. Gives the bytes that count.
pub async fn look(worker: &WorkerContext, generation: &Generation, memory: &mut Memory) -> Option<i64> {
    let rest = EVERY.max(memory.took * REST);
    if memory.measured_at.is_some_and(|at| at.elapsed() < rest) {
        return None;
    }
    let began = Instant::now();
    let measured = async {
        let (engine, server) = worker.server(generation).map_err(|error| chain(&error))?;
        let taken = engine.taken(&server).await.map_err(|error| chain(&error))?;
        if generation.role == Role::Serving && !generation.read_only {
            keep_within(worker, generation, (&*engine, &server), taken, memory).await?;
        }
        Ok::<_, String>(taken.content)
    };
    let measured = measured.await;
    memory.measured_at = Some(Instant::now());
    memory.took = began.elapsed();
    match measured {
        Ok(bytes) => i64::try_from(bytes).ok(),
        Err(error) => {
            tracing::debug!(generation.id = %generation.id, error, "a volume was not kept within its size");
            None
        }
    }
}

async fn keep_within(
    worker: &WorkerContext,
    generation: &Generation,
    (engine, server): (&dyn Engine, &Server),
    taken: Taken,
    memory: &mut Memory,
) -> Result<(), String> {
    let (id, instance) = (generation.id, generation.instance);
    let carried = engine.replicates_definitions();
    let (is_claimed, may_change) = worker
        .db
        .run(move |conn| {
            let task = tasks::live_of(conn, &[instance])?.into_iter().next();
            let at = task.as_ref().map(|task| (task.kind(), task.progress));
            Ok::<_, db::Error>((tasks::is_claimed(conn, instance)?, may_configure(at, carried)))
        })
        .await
        .map_err(|error| chain(&error))?;
    if taken.logs > LOGS && !is_claimed {
        // The bound holds all the same.
        if let Err(error) = engine.trim_logs(server).await {
            tracing::warn!(generation.id = %id, error = %chain(&error), "logs that nobody needs were not removed");
        }
    }
    let before = generation.volume_state;
    let mut state = before.after(taken.content, generation.volume_gb);
    if !may_change && before.is_full() && !state.is_full() {
        state = VolumeState::Full;
    }
    if state != before {
        tracing::info!(generation.id = %id, instance.id = %instance, state = state.as_str(), bytes = taken.content, "a volume's state changed");
        record(worker, generation, state, taken).await.map_err(|error| chain(&error))?;
    }
    let is_due = match memory.told_at {
        _ if state != before => true,
        None => state.is_full() || may_change,
        Some(at) => state.is_full() && at.elapsed() > AGAIN,
    };
    if is_due {
        // Where that fails, it is tried again at the next look.
        memory.told_at = None;
        tell(worker, generation, engine, may_change).await?;
        memory.told_at = Some(Instant::now());
    }
    if state == VolumeState::Over {
        engine.end_late(server).await.map_err(|error| chain(&error))?;
    }
    Ok(())
}

/// Records how far the volume is filled, for those who start the server, for the endpoint, and as an event.
async fn record(
    worker: &WorkerContext,
    generation: &Generation,
    state: VolumeState,
    taken: Taken,
) -> Result<(), db::Error> {
    let (id, at) = (generation.id, generation.instance);
    worker
        .db
        .transact(move |conn| {
            // The instance first, as whoever changes it does; another server may serve it by now.
            let Some(instance) = instances::lock(conn, at)? else { return Ok(()) };
            if !serves(&instance, id) {
                return Ok(());
            }
            generations::set_volume_state(conn, id, at, state)?;
            events::record(
                conn,
                &events::Event {
                    project: &instance.project,
                    instance: Some(at),
                    task: None,
                    actor: WORKER,
                    what: match state {
                        VolumeState::Room => "volume_has_room",
                        VolumeState::Full => "volume_is_full",
                        VolumeState::Over => "volume_is_beyond_its_size",
                    },
                    data: serde_json::json!({"size": instance.volume_gb, "bytes": taken.content}),
                },
            )
        })
        .await
}

fn serves(instance: &crate::domain::instance::Instance, id: crate::domain::ids::GenerationId) -> bool {
    instance.running.as_ref().is_some_and(|running| running.generation == id)
}

/// Has the server do as its row says, until that is what was read before and after.
async fn tell(
    worker: &WorkerContext,
    generation: &Generation,
    engine: &dyn Engine,
    may_change: bool,
) -> Result<(), String> {
    let (id, instance): (_, InstanceId) = (generation.id, generation.instance);
    let _turn = worker.turn(id).await;
    let read = || async move {
        let found = worker.db.run(move |conn| generations::find(conn, id)).await;
        found.map_err(|error: db::Error| chain(&error))
    };
    loop {
        let Some(now) = read().await? else { return Ok(()) };
        let is_left_alone = now.role != Role::Serving || now.read_only || !now.wanted_running;
        if is_left_alone || (!now.volume_state.is_full() && !may_change) {
            return Ok(());
        }
        let state = now.volume_state;
        worker
            .db
            .run(move |conn| generations::set_volume_state(conn, id, instance, state))
            .await
            .map_err(|error: db::Error| chain(&error))?;
        let (_, server) = worker.server(&now).map_err(|error| chain(&error))?;
        let bounded: Result<(), engines::Error> = engine.bound(&server).await;
        bounded.map_err(|error| chain(&error))?;
        let is_the_same = |after: &Generation| {
            (after.read_only, after.events, after.volume_state)
                == (now.read_only, now.events, now.volume_state)
        };
        match read().await? {
            Some(after) if !is_the_same(&after) => {
                if after.read_only {
                    // A fence that came meanwhile must be what the configuration says.
                    let (_, server) = worker.server(&after).map_err(|error| chain(&error))?;
                    return engine.bound(&server).await.map_err(|error| chain(&error));
                }
            }
            _ => return Ok(()),
        }
    }
}
