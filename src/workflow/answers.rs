//! Answering questions to engines.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::db::notices::Channel;
use crate::db::questions::{self, Question};
use crate::db::{self, instances, tasks};
use crate::domain::ids::GenerationId;
use crate::domain::question::{CaughtUp, QuestionKind};
use crate::domain::switch::{Look, Looked};
use crate::domain::task::Plan;
use crate::engines::{Following, Server};
use crate::workflow::{Works, chain, feed, for_tenants};

/// Answers what is asked of this host's servers, until `stop` becomes true.
pub async fn run(works: Arc<Works>, mut stop: watch::Receiver<bool>) {
    let mut answering = JoinSet::new();
    let mut taken = std::collections::HashSet::new();
    while !*stop.borrow() {
        while let Some(done) = answering.try_join_next() {
            if let Ok(id) = done {
                taken.remove(&id);
            }
        }
        let host = works.host.clone();
        match works.db.read(move |conn| questions::open(conn, &host)).await {
            Ok(open) => {
                for question in open {
                    if taken.insert(question.id) {
                        let works = Arc::clone(&works);
                        answering.spawn(async move {
                            answer(&works, &question).await;
                            question.id
                        });
                    }
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "no questions could be read"),
        }
        tokio::select! {
            () = works.notices.wait(Channel::Questions, Duration::from_secs(1)) => {}
            Some(done) = answering.join_next(), if !answering.is_empty() => {
                if let Ok(id) = done {
                    taken.remove(&id);
                }
            }
            _ = stop.changed() => {}
        }
    }
    answering.shutdown().await;
}

async fn answer(works: &Works, question: &Question) {
    let found = tokio::time::timeout(question.kind.patience(), ask(works, question))
        .await
        .unwrap_or_else(|_| Err("the server took too long".to_owned()));
    let id = question.id;
    if let Err(error) = works.db.read(move |conn| questions::answer(conn, id, &found)).await {
        tracing::debug!(error = %chain(&error), "an answer was not recorded");
    }
}

async fn ask(works: &Works, question: &Question) -> Result<serde_json::Value, String> {
    let id = question.instance;
    let instance = works
        .db
        .read(move |conn| instances::find(conn, id))
        .await
        .map_err(|e: db::Error| chain(&e))?
        .ok_or_else(|| "the instance is gone".to_owned())?;
    let running = instance.running.ok_or_else(|| "no server serves the instance".to_owned())?;
    let (engine, server) = works.reach(running.generation).await.map_err(|e| chain(&e))?;
    match question.kind {
        QuestionKind::ReplicaBlockers => {
            let blockers = engine.replica_blockers(&server).await.map_err(|e| chain(&e))?;
            serde_json::to_value(blockers).map_err(|e| e.to_string())
        }
        QuestionKind::PreCheck => {
            let look: Look = serde_json::from_value(question.about.clone()).map_err(|e| e.to_string())?;
            // A candidate that is not there: what a look puts in its place, it takes away.
            let candidate = Server {
                generation: GenerationId(uuid::Uuid::new_v4()),
                version: look.number,
                ..server.clone()
            };
            let mut looked: Looked = Vec::new();
            for strategy in look.strategies {
                let found = engine.pre_check(&server, &candidate, strategy).await;
                looked.push((strategy, found.map_err(|e| chain(&e))?));
            }
            serde_json::to_value(looked).map_err(|e| e.to_string())
        }
        QuestionKind::Databases => {
            let databases = engine.databases(&server).await.map_err(|e| chain(&e))?;
            serde_json::to_value(databases).map_err(|e| e.to_string())
        }
        QuestionKind::Users => {
            let users = engine.users(&server).await.map_err(|e| chain(&e))?;
            serde_json::to_value(users).map_err(|e| e.to_string())
        }
        QuestionKind::CaughtUp => {
            let task = works
                .db
                .transact(move |conn| tasks::lock_live(conn, id))
                .await
                .map_err(|e: db::Error| chain(&e))?
                .ok_or_else(|| "no task has the instance".to_owned())?;
            let Plan::Upgrade(plan) = task.plan else { return Err("the task is no upgrade".to_owned()) };
            let told = |reached, differs| {
                serde_json::to_value(CaughtUp { reached, broken: None, differs }).map_err(|e| e.to_string())
            };
            match engine.following(&server).await.map_err(|e| chain(&e))? {
                Following::Running => {}
                Following::Broken(why) => {
                    let broken = Some(for_tenants(&why));
                    let answer = CaughtUp { reached: false, broken, differs: None };
                    return serde_json::to_value(answer).map_err(|e| e.to_string());
                }
                Following::Connecting(_) | Following::Nobody => return told(false, None),
            }
            let (_, source) = works.reach(plan.source_generation).await.map_err(|e| chain(&e))?;
            let position = engine.position(&source).await.map_err(|e| chain(&e))?;
            let reached = engine.reached(&server, &position, Duration::from_secs(3)).await;
            let reached = reached.map_err(|e| chain(&e))?;
            if !reached || engine.replicates_definitions() {
                return told(reached, None);
            }
            crate::workflow::upgrade::level(works, task.id, (&*engine, &source, &server)).await?;
            let (theirs, ours) = tokio::try_join!(
                engine.inventory_while_serving(&source),
                engine.inventory_while_serving(&server)
            )
            .map_err(|e| chain(&e))?;
            told(true, feed::differences(&theirs, &ours).into_iter().next())
        }
    }
}
