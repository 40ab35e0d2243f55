//! Answering questions to engines.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::db::notices::Channel;
use crate::db::questions::{self, Question};
use crate::db::{self, instances};
use crate::domain::question::QuestionKind;
use crate::workflow::{Works, chain};

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
            _ = answering.join_next(), if !answering.is_empty() => {}
            _ = stop.changed() => {}
        }
    }
    answering.shutdown().await;
}

async fn answer(works: &Works, question: &Question) {
    let found = tokio::time::timeout(Duration::from_secs(8), ask(works, question))
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
    }
}
