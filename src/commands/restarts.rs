//! Restarting an instance.

use uuid::Uuid;

use crate::commands::instances::{begin_task, note, visible};
use crate::commands::{Commands, Error};
use crate::db::{self, Conn, instances};
use crate::domain::caller::Caller;
use crate::domain::ids::{InstanceId, TaskId};
use crate::domain::instance::InstanceEvent;
use crate::domain::policy::{Rule, allow};
use crate::domain::replica_upgrade::not_ready;
use crate::domain::task::{Plan, RestartPlan};

impl Commands {
    /// Accepts a restart of an instance.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 422 for a busy one and for a member of a group; the store's.
    pub async fn restart_instance(&self, caller: &Caller, id: InstanceId) -> Result<(), Error> {
        let (caller, task) = (caller.clone(), TaskId(Uuid::now_v7()));
        let accepted = self.db.transact(move |conn| accept(conn, &caller, id, task)).await;
        let find = move |conn: &mut Conn| db::tasks::find(conn, task).map(|found| found.map(|_| ()));
        self.heard_of(find, accepted).await?;
        tracing::info!(task.id = %task, instance.id = %id, "restart accepted");
        Ok(())
    }
}

fn accept(conn: &mut Conn, caller: &Caller, id: InstanceId, task: TaskId) -> Result<(), Error> {
    let mut instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, Rule::InstanceAction)?;
    instance.alone()?;
    let running = instance.running.clone().ok_or_else(|| not_ready(&instance))?;
    instance.state =
        instance.state.after(InstanceEvent::RestartAccepted).map_err(|_| not_ready(&instance))?;
    let plan = Plan::Restart(RestartPlan { form: 1, instance: id, generation: running.generation });
    begin_task(conn, &instance, task, &plan)?;
    instances::save(conn, &instance)?;
    note(conn, caller, &instance, Some(task), "restart_accepted")
}
