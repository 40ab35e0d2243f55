//! The new side of an upgrade by a new instance, while it follows its source and its customer has not decided: what both the
//! task and whoever looks at it need.

use serde_json::json;

use crate::db::{self, tasks};
use crate::domain::ids::TaskId;
use crate::domain::instance::{Fault, Instance, InstanceState};
use crate::engines::{Engine, Server};
use crate::workflow::{WorkerContext, chain, for_tenants};

/// Has the new side be what it follows where its tenants could change it all the same, and reports what was put back.
///
/// # Errors
/// Why it is not, in words for the operator.
pub async fn level(
    worker: &WorkerContext,
    task: TaskId,
    (engine, source, candidate): (&dyn Engine, &Server, &Server),
) -> Result<(), String> {
    let lines = engine.level(source, candidate).await.map_err(|e| chain(&e))?;
    if lines.is_empty() {
        return Ok(());
    }
    let reported = worker.db.transact(move |conn| tasks::report(conn, task, &json!({"put_back": lines})));
    reported.await.map_err(|e| chain(&e))
}

/// What its source's content has, or had, by which the new side of an upgrade is worthless, in words for its tenant. It
/// becomes the new instance's fault: the copy is no better once its source's content is changed back.
///
/// # Errors
/// Why that could not be seen, in words for the operator.
pub async fn spoilt(
    worker: &WorkerContext,
    instance: &Instance,
    engine: &dyn Engine,
    source: &Server,
) -> Result<Option<String>, String> {
    if let Some(why) = instance.fault.as_ref().and_then(Fault::of_a_spoilt_copy) {
        return Ok(Some(why.to_owned()));
    }
    let Some(found) = engine.spoilt(source).await.map_err(|e| chain(&e))? else { return Ok(None) };
    let (id, why) = (instance.id, for_tenants(&found.to_string()));
    let fault = Fault::spoilt_by(&why, chrono::Utc::now());
    let told = worker.db.transact(move |conn| {
        let Some(mut instance) = crate::db::instances::lock(conn, id)? else { return Ok(()) };
        if instance.state != InstanceState::VerifyUpgrade {
            return Ok(());
        }
        instance.fault = Some(fault.clone());
        crate::db::instances::save(conn, &instance)
    });
    told.await.map_err(|e: db::Error| chain(&e))?;
    Ok(Some(why))
}
