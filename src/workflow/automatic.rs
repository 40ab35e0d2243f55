//! What the time brings and nobody asks for this moment: upgrades to newer builds of their versions, of instances whose
//! policy says so, in their windows; and the end of what is remembered for a while.
//!
//! Such an upgrade is accepted like a customer's, by the same rules and with the same events, by the actor `worker`.
//! Once in each window of an instance: the record of that is in the transaction that accepts it, so that of several
//! workers, and of one that dies, one asks once. Where it is refused that is an event, and the next window's matter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::db::policies::{self, Follower};
use crate::db::upgrades::{self, Accept, UpgradeFacts};
use crate::db::{self, Conn, catalogue_cache, events, idempotency, instances, tasks, windows};
use crate::domain::build_upgrades::newest;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::hops::{MOST_HOPS, Reach};
use crate::domain::ids::{GenerationId, InstanceId, TaskId};
use crate::domain::instance::Instance;
use crate::domain::refusal::Refusal;
use crate::domain::timing::Timing;
use crate::domain::upgrade::{UpgradePlan, Wishes, path_to};
use crate::seal;
use crate::workflow::{WORKER, WorkerContext, chain};

/// How often windows are looked at.
const EVERY: Duration = Duration::from_secs(3);

/// How often what is over is cleared.
const CLEAR: Duration = Duration::from_secs(60);

/// Looks after this host's policies until `stop` becomes true.
pub async fn run(worker: Arc<WorkerContext>, mut stop: watch::Receiver<bool>) {
    let mut cleared: Option<Instant> = None;
    while !*stop.borrow() {
        if let Err(error) = look(&worker).await {
            tracing::debug!(error = %error, "the policies could not be followed");
        }
        if cleared.is_none_or(|at| at.elapsed() > CLEAR) {
            match worker.db.transact(idempotency::clear).await {
                Ok(_) => cleared = Some(Instant::now()),
                Err(error) => tracing::debug!(error = %chain(&error), "the keys were not cleared"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Asks for what is due.
async fn look(worker: &WorkerContext) -> Result<(), String> {
    let host = worker.host.clone();
    let due = worker
        .db
        .run(move |conn| {
            let now = windows::now(conn)?;
            let catalogue = catalogue_cache::now(conn)?;
            // Most have the newest build: they are passed over without a transaction.
            let has_newer = |it: &Follower| {
                let running = catalogue.version(it.version);
                running.is_some_and(|running| newest(running, catalogue.versions(), |_| true).is_some())
            };
            let followers = policies::followers(conn, &host)?.into_iter();
            let open = followers.filter(|it| {
                it.window.holding(now).is_some_and(|open| it.asked != Some(open.start)) && has_newer(it)
            });
            Ok::<_, db::Error>(open.collect::<Vec<_>>())
        })
        .await
        .map_err(|e| chain(&e))?;
    for follower in due {
        ask(worker, follower.instance).await?;
    }
    Ok(())
}

/// Asks for the upgrade of one instance.
async fn ask(worker: &WorkerContext, id: InstanceId) -> Result<(), String> {
    let task = TaskId(Uuid::now_v7());
    let mut candidates = Vec::new();
    for _ in 0..MOST_HOPS {
        let generation = GenerationId(Uuid::new_v4());
        let password = seal::random_password();
        let sealed = worker.sealer.seal(&generation.service_purpose(), password.expose_secret());
        candidates.push((generation, sealed.map_err(|e| chain(&e))?));
    }
    let asked = worker.db.transact(move |conn| accept(conn, id, task, &candidates)).await;
    match asked.map_err(|e| chain(&e))? {
        Some(Ok(to)) => {
            tracing::info!(task.id = %task, instance.id = %id, to, "a policy asks for an upgrade")
        }
        Some(Err(refusal)) => {
            tracing::info!(instance.id = %id, reason = %refusal, "a policy's upgrade is refused")
        }
        None => {}
    }
    Ok(())
}

/// Accepts the upgrade of one instance to its newest build, if it is due still; what is refused is recorded.
fn accept(
    conn: &mut Conn,
    id: InstanceId,
    task: TaskId,
    candidates: &[(GenerationId, String)],
) -> Result<Option<Result<String, Refusal>>, db::Error> {
    let Some(mut instance) = instances::lock(conn, id)? else { return Ok(None) };
    let Some(running) = instance.running.clone() else { return Ok(None) };
    let facts = UpgradeFacts::read(conn, id)?;
    // Whoever has the instance now, or has planned what becomes of it, was first; the window is open still.
    if facts.busy || facts.planned.is_some() {
        return Ok(None);
    }
    let (window, _) = windows::of(conn, &instance.project, Some(id))?;
    let Some(open) = window.holding(windows::now(conn)?) else { return Ok(None) };
    let decided = decide(&instance, &facts);
    let Some((to, hops)) = decided else { return Ok(None) };
    if !policies::ask_once(conn, id, open.start)? {
        return Ok(None);
    }
    let hops = match hops {
        Ok(hops) => hops,
        Err(refusal) => {
            let data = json!({"to": to.title(), "reason": refusal.to_string()});
            let (project, instance) = (&instance.project, Some(id));
            let what = "automatic_upgrade_refused";
            events::record(
                conn,
                &events::Event { project, instance, task: None, actor: WORKER, what, data },
            )?;
            return Ok(Some(Err(refusal)));
        }
    };
    let secrets = candidates.iter().take(hops.len()).map(|(_, secret)| secret.clone()).collect();
    let new = candidates.iter().map(|(new, _)| *new);
    let plan = UpgradePlan::new(id, &running, hops, new, &Wishes::default())
        .ok_or_else(|| db::Error::Broken("a way without a hop".to_owned()))?;
    let accept = Accept { task, plan, secrets, timing: Timing::Now, starts: None, actor: WORKER };
    if !upgrades::accept(conn, &mut instance, accept)? {
        return Err(db::Error::Stale("the instance"));
    }
    tasks::report(conn, task, &json!({"automatic": true}))?;
    Ok(Some(Ok(to.title())))
}

type Path = Result<Vec<crate::domain::hops::Hop>, Refusal>;

/// The newest build that the instance may go to, and the way there; where there is none, what stands in the way of the
/// newest one that its host can run.
fn decide(instance: &Instance, facts: &UpgradeFacts) -> Option<(DatastoreVersion, Path)> {
    let running = &instance.running.as_ref()?.version;
    let runs = |version: &DatastoreVersion| facts.runs(instance, version);
    let path = |to: &DatastoreVersion| {
        path_to(facts.known(instance, None), to, &Wishes::default(), Reach::Several(&runs))
    };
    let versions = || facts.catalogue.versions();
    let open = newest(running, versions(), |to| runs(to) && path(to).is_ok());
    let to = open.or_else(|| newest(running, versions(), runs))?;
    Some((to.clone(), path(to)))
}
