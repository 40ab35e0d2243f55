//! Resetting the status of an instance: what keeps it busy is ended where it can be, and what went wrong last is forgotten.

use crate::commands::instances::{note, visible};
use crate::commands::{Commands, Error};
use crate::db::{Conn, instances, tasks};
use crate::domain::caller::Caller;
use crate::domain::ids::InstanceId;
use crate::domain::policy::{Rule, allow};
use crate::domain::replica_upgrade::not_ready;
use crate::domain::task::Progress;

impl Commands {
    /// Has the task that keeps an instance busy end, as its customer's cancellation does, and forgets the instance's fault.
    /// `by_owner` is allowed to its members, else it is an administrator's.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 422 for a member of a group, and for an instance whose task is past the point at which it
    /// can be ended: that ends by itself, or an operator is needed; the store's.
    pub async fn reset_status(&self, caller: &Caller, id: InstanceId, by_owner: bool) -> Result<(), Error> {
        let caller = caller.clone();
        self.db.transact(move |conn| reset(conn, &caller, id, by_owner)).await
    }
}

fn reset(conn: &mut Conn, caller: &Caller, id: InstanceId, by_owner: bool) -> Result<(), Error> {
    let mut instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, if by_owner { Rule::InstanceDelete } else { Rule::Manage })?;
    instance.alone()?;
    let task = tasks::lock_live(conn, id)?;
    if let Some(task) = &task {
        let kind = task.kind();
        match task.progress {
            // Whoever deletes it has its making end.
            _ if kind.makes() => {}
            Progress::At(phase, _) if phase.can_cancel(kind) => tasks::ask_to_cancel(conn, task.id)?,
            _ => return Err(not_ready(&instance).into()),
        }
    }
    instance.fault = None;
    instances::save(conn, &instance)?;
    note(conn, caller, &instance, task.map(|task| task.id), "status_reset")
}
