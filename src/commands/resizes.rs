//! Giving an instance another flavor, or a larger volume.

use uuid::Uuid;

use crate::commands::configurations::outgrows;
use crate::commands::instances::{MAX_VOLUME_GB, begin_task, note, visible};
use crate::commands::quotas::reserve;
use crate::commands::{Commands, Error};
use crate::db::{self, Conn, catalogue_cache, instances, tasks};
use crate::domain::caller::Caller;
use crate::domain::ids::{FlavorId, InstanceId, TaskId};
use crate::domain::instance::{Instance, InstanceEvent, InstanceState};
use crate::domain::parameter::Parameter;
use crate::domain::policy::{Rule, allow};
use crate::domain::quota::{Quota, Usage};
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::not_ready;
use crate::domain::task::{Plan, ResizePlan};

impl Commands {
    /// Accepts that an instance gets another flavor.
    ///
    /// # Errors
    /// A refusal: 404, also for the flavor, 403 by role, 400 for the flavor that it has, 413 by quota, 422 for a busy one and
    /// for a member of a group; the store's.
    pub async fn resize_flavor(
        &self,
        caller: &Caller,
        id: InstanceId,
        flavor: FlavorId,
    ) -> Result<(), Error> {
        let known = self.parameters_of_instance(id).await?;
        let (caller, task, quota) = (caller.clone(), TaskId(Uuid::now_v7()), self.quota);
        let accepted = self
            .db
            .transact(move |conn| accept_flavor(conn, &caller, id, (&flavor, task), (quota, &known)))
            .await;
        let find = move |conn: &mut Conn| db::tasks::find(conn, task).map(|found| found.map(|_| ()));
        self.heard_of(find, accepted).await?;
        tracing::info!(task.id = %task, instance.id = %id, "resize accepted");
        Ok(())
    }

    /// Gives an instance a larger volume, at once.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 400 for a size that is not larger, 413 by quota and for more than a volume may have, 422
    /// for a busy one and for a member of a group; the store's.
    pub async fn resize_volume(&self, caller: &Caller, id: InstanceId, gb: i32) -> Result<(), Error> {
        let (caller, quota) = (caller.clone(), self.quota);
        self.db.transact(move |conn| grow_volume(conn, &caller, id, gb, quota)).await
    }
}

/// The instance, locked, which may be changed.
fn free(conn: &mut Conn, caller: &Caller, id: InstanceId) -> Result<Instance, Error> {
    let instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, Rule::InstanceAction)?;
    instance.alone()?;
    Ok(instance)
}

fn accept_flavor(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    (flavor, task): (&FlavorId, TaskId),
    (quota, known): (Quota, &[Parameter]),
) -> Result<(), Error> {
    let mut instance = free(conn, caller, id)?;
    let catalogue = catalogue_cache::now(conn)?;
    let wanted = catalogue.flavor(flavor).ok_or_else(|| Refusal::NotFound { what: flavor.to_string() })?;
    let running = instance.running.clone().ok_or_else(|| not_ready(&instance))?;
    instance.state = instance.state.after(InstanceEvent::ResizeAccepted).map_err(|_| not_ready(&instance))?;
    if wanted.id == instance.flavor.id {
        let expected = "must be another flavor than the instance has";
        return Err(Refusal::invalid("resize['flavorRef']", expected).into());
    }
    if let Some(why) = outgrows(conn, &instance, wanted, known)? {
        return Err(Refusal::invalid("resize['flavorRef']", format!("has no room: {why}")).into());
    }
    let more = i64::from(wanted.ram_mb) - i64::from(instance.flavor.ram_mb);
    if more > 0 {
        reserve(conn, &instance.project, quota, &Usage { instances: 0, volumes_gb: 0, ram_mb: more })?;
    }
    let plan = Plan::Resize(ResizePlan {
        form: 1,
        instance: id,
        generation: running.generation,
        from: instance.flavor.id.clone(),
        to: wanted.id.clone(),
    });
    begin_task(conn, &instance, task, &plan)?;
    instances::save(conn, &instance)?;
    note(conn, caller, &instance, Some(task), "resize_accepted")
}

fn grow_volume(conn: &mut Conn, caller: &Caller, id: InstanceId, gb: i32, quota: Quota) -> Result<(), Error> {
    let mut instance = free(conn, caller, id)?;
    if instance.state != InstanceState::Active || tasks::is_claimed(conn, id)? {
        return Err(not_ready(&instance).into());
    }
    if gb <= instance.volume_gb {
        let expected = format!("must be more than the {} GB that the volume has", instance.volume_gb);
        return Err(Refusal::invalid("resize['volume']['size']", expected).into());
    }
    if gb > MAX_VOLUME_GB {
        return Err(Refusal::NoRoom(format!(
            "Volume 'size' cannot exceed maximum of {MAX_VOLUME_GB} GB, {gb} cannot be accepted."
        ))
        .into());
    }
    let more = i64::from(gb) - i64::from(instance.volume_gb);
    reserve(conn, &instance.project, quota, &Usage { instances: 0, volumes_gb: more, ram_mb: 0 })?;
    instance.volume_gb = gb;
    instances::save(conn, &instance)?;
    note(conn, caller, &instance, None, "volume_resized")
}
