//! Answering questions to engines.
//!
//! A look at what an upgrade would meet is no ordinary question: it takes long, has accounts of its own on the server that it
//! looks at, and may start a server beside it. So one worker takes it ([`looks`]), of an instance one at a time, and not
//! while a task has the instance; a task waits until the look is over ([`until_unlooked`](crate::workflow::looks::until_unlooked)).
//!
//! # If we die here
//! Nothing is recorded before the answer is, so another worker asks again. What a look has put on the host is removed by
//! the next worker, which knows it by the look's row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;

use crate::db::looks::{self, Look};
use crate::db::notices::Channel;
use crate::db::questions::{self, Question};
use crate::db::{self, inspections, instances, tasks};
use crate::domain::ids::{GenerationId, QuestionId};
use crate::domain::inspection::{MOST_OF_A_HOST, no_answer, verdict};
use crate::domain::question::{CaughtUp, Diagnosis, QuestionKind};
use crate::domain::task::Plan;
use crate::domain::upgrade::{self, Looked};
use crate::engines::{Engine, Following, Server, TRIAL};
use crate::testing;
use crate::workflow::{WorkerContext, chain, feed, followers, parameters};

/// How often it is seen whether a worker that looked has died.
const LAPSED_EVERY: Duration = Duration::from_secs(2);

/// How long definitions are tried for an inspection, by each strategy.
const LONGEST_TRIAL: Duration = Duration::from_secs(50);

/// How long a look whose asker has lost patience may take to end by itself.
const LAST_PATIENCE: Duration = Duration::from_secs(120);

/// Answers what is asked of this host's servers, until `stop` becomes true.
pub async fn run(worker: Arc<WorkerContext>, mut stop: watch::Receiver<bool>) {
    let mut answering = JoinSet::new();
    // By the task that does it, which tells its number also when it panicked.
    let mut taken: HashMap<task::Id, Taken> = HashMap::new();
    let mut lapsed_at: Option<Instant> = None;
    while !*stop.borrow() {
        while let Some(done) = answering.try_join_next_with_id() {
            taken.remove(&number(&done));
        }
        let see_lapsed = lapsed_at.is_none_or(|at| at.elapsed() >= LAPSED_EVERY);
        let candidates = taken.values().filter_map(|taken| taken.candidate).collect();
        match next(&worker, candidates, see_lapsed).await {
            Ok(found) => {
                if see_lapsed {
                    lapsed_at = Some(Instant::now());
                }
                for work in found {
                    let what = work.taken();
                    if taken.values().all(|taken| taken.question != what.question) {
                        let worker = Arc::clone(&worker);
                        let begun = answering.spawn(async move { work.run(&worker).await });
                        taken.insert(begun.id(), what);
                    }
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "no questions could be read"),
        }
        tokio::select! {
            () = worker.notices.wait(Channel::Questions, Duration::from_secs(1)) => {}
            Some(done) = answering.join_next_with_id(), if !answering.is_empty() => {
                taken.remove(&number(&done));
            }
            _ = stop.changed() => {}
        }
    }
    answering.shutdown().await;
}

/// What is being done.
struct Taken {
    question: QuestionId,
    /// Of a look.
    candidate: Option<GenerationId>,
}

/// The number of a task that has ended, however it has.
fn number(done: &Result<(task::Id, ()), task::JoinError>) -> task::Id {
    match done {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

/// What there is to do.
enum Work {
    Answer(Question),
    Look(Look, Question),
    Clear(Look),
}

impl Work {
    const fn taken(&self) -> Taken {
        match self {
            Self::Answer(question) => Taken { question: question.id, candidate: None },
            Self::Look(look, _) | Self::Clear(look) => {
                Taken { question: look.question, candidate: Some(look.candidate) }
            }
        }
    }

    async fn run(self, worker: &Arc<WorkerContext>) {
        match self {
            Self::Answer(question) => {
                let found = tokio::time::timeout(question.left, ask(worker, &question)).await;
                record(worker, &question, None, found.unwrap_or_else(|_| Err(TOO_LONG.to_owned()))).await;
            }
            Self::Look(look, question) => look_at(worker, look, question).await,
            Self::Clear(look) => clear(worker, look).await,
        }
    }
}

const TOO_LONG: &str = "the server took too long";

/// Finds what there is to do, and renews what is being done.
async fn next(
    worker: &WorkerContext,
    ours: Vec<GenerationId>,
    see_lapsed: bool,
) -> Result<Vec<Work>, db::Error> {
    let host = worker.host.clone();
    let (mut found, is_asked_for) = worker
        .db
        .run(move |conn| {
            if !ours.is_empty() {
                looks::renew(conn, &ours)?;
            }
            let mut found: Vec<Work> = questions::open(conn, &host)?.into_iter().map(Work::Answer).collect();
            if see_lapsed {
                while let Some(look) = looks::take_lapsed(conn, &host)? {
                    found.push(Work::Clear(look));
                }
            }
            let is_asked_for = looks::is_asked_for(conn, &host)?;
            Ok::<_, db::Error>((found, is_asked_for))
        })
        .await?;
    if !is_asked_for {
        return Ok(found);
    }
    loop {
        let host = worker.host.clone();
        match worker.db.transact(move |conn| looks::take(conn, &host, MOST_OF_A_HOST)).await {
            Ok(Some((look, question))) => found.push(Work::Look(look, question)),
            Ok(None) => return Ok(found),
            // What was taken before is not left lying.
            Err(_) if !found.is_empty() => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

/// Records an answer, and with it the inspection that waits for it; of a look only where it is still ours.
async fn record(
    worker: &WorkerContext,
    question: &Question,
    look: Option<Look>,
    found: Result<serde_json::Value, String>,
) {
    let (id, kind) = (question.id, question.kind);
    let trouble = found.as_ref().err().cloned();
    let recorded: Result<bool, db::Error> = worker
        .db
        .transact(move |conn| {
            if let Some(look) = &look
                && !looks::is_there(conn, look)?
            {
                return Ok(false);
            }
            questions::answer(conn, id, &found)?;
            if kind != QuestionKind::PreCheck {
                return Ok(false);
            }
            let looked = found.as_ref().ok().and_then(|value| serde_json::from_value(value.clone()).ok());
            let (passed, detail) = looked.as_ref().map_or_else(|| (false, no_answer()), verdict);
            inspections::end(conn, id, passed, &detail)
        })
        .await;
    match (recorded, trouble) {
        // Who waits for another answer says so itself.
        (Ok(true), Some(trouble)) => {
            tracing::warn!(instance.id = %question.instance, trouble, "an instance could not be inspected");
        }
        (Ok(_), _) => {}
        (Err(error), _) => tracing::debug!(error = %chain(&error), "an answer was not recorded"),
    }
}

/// Makes a look, answers, and removes what it has put on the host.
async fn look_at(worker: &Arc<WorkerContext>, look: Look, question: Question) {
    let instance = look.instance;
    testing::pause(|| format!("look.before.{instance}")).await;
    let mut looking = tokio::spawn({
        let (worker, look, about) = (Arc::clone(worker), look.clone(), question.about.clone());
        // Who has asked for an inspection waits outside of a request; an upgrade that comes meanwhile waits for the look.
        let trial = (question.left / 3).clamp(TRIAL, LONGEST_TRIAL);
        async move { find(&worker, &look, about, trial).await }
    });
    let (found, ended) = match tokio::time::timeout(question.left, &mut looking).await {
        Ok(found) => (found.unwrap_or_else(|_| Err("the look was ended".to_owned())), true),
        Err(_) => (Err(TOO_LONG.to_owned()), false),
    };
    testing::pause(|| format!("look.after.{instance}")).await;
    let is_whole = ended && found.is_ok();
    record(worker, &question, Some(look.clone()), found).await;
    // What is being done at the server is not undone below it.
    if !ended && tokio::time::timeout(LAST_PATIENCE, &mut looking).await.is_err() {
        looking.abort();
    }
    if is_whole {
        // It has removed what it had put there.
        end(worker, look).await;
    } else {
        clear(worker, look).await;
    }
}

/// What an upgrade would meet at the server.
async fn find(
    worker: &WorkerContext,
    look: &Look,
    about: serde_json::Value,
    trial: Duration,
) -> Result<serde_json::Value, String> {
    let asked: upgrade::Look = serde_json::from_value(about).map_err(|e| e.to_string())?;
    let id = look.instance;
    // Whoever tidies the server up has not seen this look: it is waited for.
    drop(worker.turn(look.source).await);
    let claimed = worker.db.run(move |conn| tasks::is_claimed(conn, id)).await;
    if claimed.map_err(|e: db::Error| chain(&e))? {
        return Err("a task has the instance".to_owned());
    }
    let (engine, server, candidate) = sides(worker, look).await?;
    let mut looked: Looked = Vec::new();
    let lost = parameters::findings(worker, id, &candidate.version).await?;
    for strategy in asked.strategies {
        let found = engine.pre_check_within(&server, &candidate, strategy, trial).await;
        let mut found = found.map_err(|e| chain(&e))?;
        found.extend(lost.iter().cloned());
        looked.push((strategy, found));
    }
    serde_json::to_value(looked).map_err(|e| e.to_string())
}

/// The server of a look, and the one that it may put beside it: nobody else's.
async fn sides(worker: &WorkerContext, look: &Look) -> Result<(Arc<dyn Engine>, Server, Server), String> {
    let (engine, server) = worker.reach(look.source).await.map_err(|e| chain(&e))?;
    let candidate = Server { generation: look.candidate, version: look.version.clone(), ..server.clone() };
    Ok((engine, server, candidate))
}

/// Removes what a look has put on the host, and forgets the look. What is left when this fails is tried again.
async fn clear(worker: &WorkerContext, look: Look) {
    let cleared = async {
        let (engine, server, candidate) = sides(worker, &look).await?;
        engine.drop_data(&candidate).await.map_err(|e| chain(&e))?;
        let id = look.instance;
        let _turn = worker.turn(look.source).await;
        let ours = look.clone();
        // Another look may be there meanwhile, where this one was taken from us.
        let others = worker
            .db
            .run(move |conn| Ok(tasks::is_claimed(conn, id)? || !looks::is_there(conn, &ours)?))
            .await;
        if !others.map_err(|e: db::Error| chain(&e))?
            && let Err(error) = engine.forget_follower(&server).await
        {
            // The supervisor does the same when the server answers again.
            tracing::debug!(instance.id = %id, error = %chain(&error), "a look's accounts may be there still");
        }
        Ok::<_, String>(())
    };
    if let Err(error) = cleared.await {
        tracing::warn!(instance.id = %look.instance, error, "what a look has left could not be removed");
        return;
    }
    end(worker, look).await;
}

/// Forgets a look of which nothing is left.
async fn end(worker: &WorkerContext, look: Look) {
    let ended: Result<(), db::Error> = worker.db.transact(move |conn| looks::end(conn, &look)).await;
    if let Err(error) = ended {
        tracing::debug!(error = %chain(&error), "the end of a look was not recorded");
    }
}

async fn ask(worker: &WorkerContext, question: &Question) -> Result<serde_json::Value, String> {
    let id = question.instance;
    let instance = worker
        .db
        .run(move |conn| instances::find(conn, id))
        .await
        .map_err(|e: db::Error| chain(&e))?
        .ok_or_else(|| "the instance is gone".to_owned())?;
    let running = instance.running.clone().ok_or_else(|| "no server serves the instance".to_owned())?;
    let (engine, server) = worker.reach(running.generation).await.map_err(|e| chain(&e))?;
    match question.kind {
        QuestionKind::ReplicaBlockers => {
            let blockers = engine.replica_blockers(&server).await.map_err(|e| chain(&e))?;
            serde_json::to_value(blockers).map_err(|e| e.to_string())
        }
        QuestionKind::PreCheck => Err("it is answered by a look".to_owned()),
        QuestionKind::Databases => {
            let databases = engine.databases(&server).await.map_err(|e| chain(&e))?;
            serde_json::to_value(databases).map_err(|e| e.to_string())
        }
        QuestionKind::Users => {
            let users = engine.users(&server).await.map_err(|e| chain(&e))?;
            serde_json::to_value(users).map_err(|e| e.to_string())
        }
        QuestionKind::HasRoot => {
            let found = engine.has_root(&server).await.map_err(|e| chain(&e))?;
            Ok(serde_json::Value::Bool(found))
        }
        QuestionKind::DefaultParameters => {
            serde_json::to_value(engine.defaults(&server)).map_err(|e| e.to_string())
        }
        QuestionKind::Diagnosis => {
            let version = engine.probe(&server, false).await.map_err(|e| chain(&e))?;
            let process = server.runtime.process(server.generation).await.map_err(|e| chain(&e))?;
            serde_json::to_value(Diagnosis { version, process }).map_err(|e| e.to_string())
        }
        QuestionKind::CaughtUp => {
            let task = worker
                .db
                .transact(move |conn| tasks::lock_live(conn, id))
                .await
                .map_err(|e: db::Error| chain(&e))?
                .ok_or_else(|| "no task has the instance".to_owned())?;
            let Plan::ReplicaUpgrade(plan) = task.plan else {
                return Err("the task is no upgrade".to_owned());
            };
            let told = |reached, differs| {
                serde_json::to_value(CaughtUp { reached, broken: None, differs }).map_err(|e| e.to_string())
            };
            match engine.following(&server).await.map_err(|e| chain(&e))? {
                Following::Running => {}
                Following::Broken(why) => {
                    let (_, source) = worker.reach(plan.source_generation).await.map_err(|e| chain(&e))?;
                    let broken = Some(feed::why_broken(&*engine, (&source, &server), &why).await);
                    let answer = CaughtUp { reached: false, broken, differs: None };
                    return serde_json::to_value(answer).map_err(|e| e.to_string());
                }
                Following::Connecting(_) | Following::Nobody => return told(false, None),
            }
            let (_, source) = worker.reach(plan.source_generation).await.map_err(|e| chain(&e))?;
            if let Some(why) = followers::spoilt(worker, &instance, &*engine, &source).await? {
                let answer = CaughtUp { reached: false, broken: Some(why), differs: None };
                return serde_json::to_value(answer).map_err(|e| e.to_string());
            }
            let position = engine.position(&source).await.map_err(|e| chain(&e))?;
            let reached = engine.reached(&server, &position, Duration::from_secs(3)).await;
            let reached = reached.map_err(|e| chain(&e))?;
            if !reached || engine.replicates_definitions() {
                return told(reached, None);
            }
            followers::level(worker, task.id, (&*engine, &source, &server)).await?;
            let (theirs, ours) = tokio::try_join!(
                engine.inventory_while_serving(&source),
                engine.inventory_while_serving(&server)
            )
            .map_err(|e| chain(&e))?;
            told(true, feed::differences(&theirs, &ours).into_iter().next())
        }
    }
}
