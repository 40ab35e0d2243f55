//! Accepting an upgrade. Every dialect builds the same request and calls this.

use uuid::Uuid;

use crate::commands::instances::{again, insert_task, note, visible};
use crate::commands::quotas::reserve;
use crate::commands::{Commands, Error, accounts};
use crate::db::{Conn, catalogue, endpoints, generations, hosts, instances, tasks};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::ids::{GenerationId, InstanceId, TaskId};
use crate::domain::instance::{Instance, InstanceEvent};
use crate::domain::policy::{Rule, allow};
use crate::domain::question::{Blocker, QuestionKind};
use crate::domain::quota::Usage;
use crate::domain::refusal::Refusal;
use crate::domain::task::Plan;
use crate::domain::upgrade::{self, UpgradePlan, not_ready, replica_name, unblocked};

/// A parsed request to upgrade by way of a replica.
#[derive(Clone, Debug)]
pub struct UpgradeRequest {
    /// The target's datastore: a name, in any case, or an id.
    pub datastore_type: String,
    /// The target's version: a name or an id.
    pub datastore_version: String,
}

impl Commands {
    /// Accepts an upgrade by way of a replica and gives the new instance. The order of the answers is api-ref's:
    /// 400 for an unknown datastore, 403, 404, 501, 422 for the state, 400 for a pair without a path, 422 for content
    /// that cannot be carried.
    ///
    /// # Errors
    /// The refusal, or the store's error.
    pub async fn upgrade_by_replica(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: &UpgradeRequest,
    ) -> Result<Instance, Error> {
        let target = self.target(request).await?;
        allow(caller, Rule::InstanceAction)?;
        let source = {
            let (caller, target) = (caller.clone(), target.clone());
            self.db.transact(move |conn| load(conn, &caller, id, &target)).await?
        };
        let blockers: Vec<Blocker> = self.ask(&source, QuestionKind::ReplicaBlockers).await?;
        unblocked(&blockers)?;
        self.simulated_acceptance(&source).await?;

        let (new, generation, task) =
            (InstanceId(Uuid::new_v4()), GenerationId(Uuid::new_v4()), TaskId(Uuid::now_v7()));
        let service_secret = self.new_service_secret(generation)?;
        let caller = caller.clone();
        let quota = self.quota;
        let accepted = self
            .db
            .transact(move |conn| {
                let mut source = load(conn, &caller, id, &target)?;
                let running = source.running.clone().ok_or_else(|| not_ready(&source))?;
                let more = Usage::of_instance(source.volume_gb, source.flavor.ram_mb);
                reserve(conn, &source.project, quota, &more)?;
                instances::insert(
                    conn,
                    &instances::New {
                        id: new,
                        project: &source.project,
                        name: &replica_name(&source.name),
                        flavor: &source.flavor.id,
                        volume_gb: source.volume_gb,
                        wanted: target.id,
                        host: &source.host,
                        replica_of: Some(id),
                    },
                )?;
                endpoints::allocate(
                    conn,
                    &source.host,
                    new,
                    target.engine.standard_port(),
                    source.flavor.connections(),
                    target.runtime.listens(),
                )?
                .ok_or_else(|| Refusal::NoRoom("The host has no address left.".to_owned()))?;
                accounts::give(conn, &source.host, new, &target)?;
                generations::insert(
                    conn,
                    &generations::New {
                        id: generation,
                        instance: new,
                        host: &source.host,
                        version: target.id,
                        service_secret: &service_secret,
                        read_only: true,
                        events: false,
                    },
                )?;
                let plan = Plan::Upgrade(UpgradePlan {
                    form: 1,
                    source: id,
                    source_generation: running.generation,
                    candidate: new,
                    candidate_generation: generation,
                    from: running.version.id,
                    to: target.id,
                    from_title: running.version.title(),
                    to_title: target.title(),
                });
                insert_task(
                    conn,
                    &tasks::New {
                        id: task,
                        project: &source.project,
                        host: &source.host,
                        plan: &plan,
                        secrets: None,
                        claims: &[(id, tasks::Claim::Source), (new, tasks::Claim::Candidate)],
                    },
                )?;
                source.state =
                    source.state.after(InstanceEvent::UpgradeAccepted).map_err(|_| not_ready(&source))?;
                instances::save(conn, &source)?;
                note(conn, &caller, &source, Some(task), "upgrade_accepted")?;
                again(conn, new)
            })
            .await;
        self.heard(task, new, accepted).await
    }

    async fn target(&self, request: &UpgradeRequest) -> Result<DatastoreVersion, Error> {
        let versions = self.db.read(catalogue::versions).await?;
        let same = |text: &str, wanted: &str| text.eq_ignore_ascii_case(wanted);
        let of_type: Vec<_> = versions
            .iter()
            .filter(|v| {
                same(&v.datastore, &request.datastore_type)
                    || same(&v.datastore_id.to_string(), &request.datastore_type)
            })
            .collect();
        if of_type.is_empty() {
            return Err(Refusal::Invalid(format!(
                "Datastore '{}' named by upgrade['datastore_type'] cannot be found.",
                request.datastore_type
            ))
            .into());
        }
        of_type
            .into_iter()
            .find(|v| {
                v.name == request.datastore_version || same(&v.id.to_string(), &request.datastore_version)
            })
            .cloned()
            .ok_or_else(|| {
                Refusal::Invalid(format!(
                    "Datastore version '{}' named by upgrade['datastore_version'] cannot be found.",
                    request.datastore_version
                ))
                .into()
            })
    }
}

/// Locks the source and decides; the same before and inside the accepting transaction.
fn load(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    target: &DatastoreVersion,
) -> Result<Instance, Error> {
    let source = visible(instances::lock(conn, id)?, caller, id)?;
    let busy = tasks::lock_live(conn, id)?.is_some();
    let paths = catalogue::paths(conn, None)?;
    let datastore = source.shown_version().datastore_id;
    let from_here: Vec<_> = catalogue::versions(conn)?
        .into_iter()
        .filter(|v| v.datastore_id == datastore)
        .map(|v| v.id)
        .collect();
    let has_upgrades = paths.iter().any(|path| path.enabled && from_here.contains(&path.from));
    upgrade::replica_path(&source, busy, has_upgrades, target, &paths)?;
    if !hosts::runs(conn, &source.host, target)? {
        return Err(
            Refusal::Unavailable(format!("The instance's host cannot run {}.", target.title())).into()
        );
    }
    Ok(source)
}
