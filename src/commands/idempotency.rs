//! Requests that are made once: who comes with a key that the same request has made a task with gets that task.

use crate::commands::{Commands, Error};
use crate::db::idempotency::{self, Found, HashedKey};
use crate::db::{Conn, instances, tasks};
use crate::domain::caller::Caller;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;

/// What a key leads to.
fn task(found: Found, it: &HashedKey) -> Result<TaskId, Refusal> {
    match found {
        Found::Task(id) => Ok(id),
        Found::Other => Err(Refusal::KeyOfAnother { key: it.key.clone() }),
    }
}

/// Takes the key, where there is one, for a task that this transaction makes; gives the task that has it already.
///
/// # Errors
/// [`Refusal::KeyOfAnother`]; the store's.
pub(super) fn take(conn: &mut Conn, it: Option<&HashedKey>, new: TaskId) -> Result<Option<TaskId>, Error> {
    let Some(it) = it else { return Ok(None) };
    match idempotency::take(conn, it, new)? {
        None => Ok(None),
        Some(found) => Ok(Some(task(found, it)?)),
    }
}

/// What a task of an earlier request makes or has made: the new instance.
///
/// # Errors
/// 404 for one that is gone; the store's.
pub(super) fn made(conn: &mut Conn, id: TaskId) -> Result<Instance, Error> {
    let task = tasks::find(conn, id)?;
    let made: Option<InstanceId> =
        task.map(|task| task.plan.new_instance().unwrap_or_else(|| task.plan.subject()));
    let made = made.ok_or_else(|| Error::Inconsistent(format!("the task {id} of a key is not there")))?;
    instances::find(conn, made)?.ok_or_else(|| Refusal::NotFound { what: made.to_string() }.into())
}

impl Commands {
    /// The key of a caller's request with a mark of what it asks for.
    pub(super) fn hashed_key(&self, caller: &Caller, request: Option<&IdempotencyKey>) -> Option<HashedKey> {
        request.map(|request| HashedKey {
            project: caller.project.clone(),
            call: request.call,
            key: request.key.clone(),
            request: self.sealer.mark(request.call, request.request()),
        })
    }

    /// The task that the same request with the same key has made before. A caller looks here before anything else is
    /// looked at: what was true then need not be true any more.
    ///
    /// # Errors
    /// A refusal: 403 by role; 422 for another request.
    pub async fn earlier_task(
        &self,
        caller: &Caller,
        rule: Rule,
        request: Option<&IdempotencyKey>,
    ) -> Result<Option<TaskId>, Error> {
        allow(caller, rule)?;
        let Some(it) = self.hashed_key(caller, request) else { return Ok(None) };
        let asked = it.clone();
        match self.db.run(move |conn| idempotency::find(conn, &asked)).await? {
            None => Ok(None),
            Some(found) => Ok(Some(task(found, &it)?)),
        }
    }

    /// The instance that the task of an earlier request makes or has made.
    ///
    /// # Errors
    /// A refusal: 404 for one that is gone.
    pub async fn made_by(&self, task: TaskId) -> Result<Instance, Error> {
        self.db.run(move |conn| made(conn, task)).await
    }
}
