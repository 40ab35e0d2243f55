//! Accepting an upgrade of the same instance: Trove's PATCH, and our own route.

use uuid::Uuid;

use crate::commands::instances::{note, visible};
use crate::commands::{Commands, Error};
use crate::db::known::{self, Catalogue};
use crate::db::{self, Conn, generations, instances, tasks};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::hops::{Hop, MOST_HOPS, Reach};
use crate::domain::ids::{GenerationId, InstanceId, TaskId};
use crate::domain::instance::{Instance, InstanceEvent};
use crate::domain::policy::{Rule, allow};
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;
use crate::domain::switch::{FORM, Known, Look, Looked, NextHop, SwitchPlan, Wishes, ways};
use crate::domain::task::Plan;
use crate::domain::upgrade::not_ready;

/// A parsed request to upgrade the same instance.
#[derive(Clone, Debug)]
pub struct SwitchRequest {
    /// The target: a version's name or id, in the instance's own datastore.
    pub version: String,
    /// What else is asked for.
    pub wishes: Wishes,
    /// Whether it may go over versions between: Trove's routes go over one row of the matrix.
    pub far: bool,
    /// The instance's new name, where the request gives it one, too.
    pub rename: Option<String>,
}

/// What an upgrade would be, and what it would meet.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// What runs.
    pub from: DatastoreVersion,
    /// What would.
    pub to: DatastoreVersion,
    /// The versions at which its hops end, in order; `to` is the last.
    pub stops: Vec<DatastoreVersion>,
    /// What stands in the way of each strategy that is allowed for the first hop, in the order in which they are tried.
    /// What the servers of later hops will say cannot be asked yet.
    pub looked: Looked,
}

/// What an acceptance makes; the same however often it is tried.
#[derive(Clone)]
struct Ids {
    task: TaskId,
    /// A candidate for each hop that a way may have, with its secret.
    candidates: Vec<(GenerationId, String)>,
}

impl Commands {
    /// Accepts an upgrade of the same instance and gives its task; `None` when the instance has that version already,
    /// and nothing is done. The order of the answers is api-ref's: 404, 403, 400 or 404 for the version, 422 for the
    /// state, 400 for a pair without a path, 422 for replicas and for an earlier upgrade's old server that is kept.
    ///
    /// # Errors
    /// The refusal, or the store's error.
    pub async fn upgrade_instance(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: SwitchRequest,
    ) -> Result<Option<TaskId>, Error> {
        let found = self.db.read(move |conn| instances::find(conn, id)).await?;
        self.simulated_acceptance(&visible(found, caller, id)?).await?;
        let most = if request.far { MOST_HOPS } else { 1 };
        let candidates: Result<Vec<_>, Error> = (0..most)
            .map(|_| {
                let generation = GenerationId(Uuid::new_v4());
                Ok((generation, self.new_service_secret(generation)?))
            })
            .collect();
        let ids = Ids { task: TaskId(Uuid::now_v7()), candidates: candidates? };
        let task = ids.task;
        let caller = caller.clone();
        let accepted = self.db.transact(move |conn| accept(conn, &caller, id, &request, &ids)).await;
        let (done, is_new) = match accepted {
            Ok((instance, is_new)) => (Ok(instance), is_new),
            Err(error) => (Err(error), true),
        };
        self.heard(task, id, done).await?;
        if is_new {
            tracing::info!(task.id = %task, instance.id = %id, "upgrade of the same instance accepted");
        }
        Ok(is_new.then_some(task))
    }
}

impl Commands {
    /// What an upgrade of the same instance would meet: everything is asked that its acceptance and its first step ask,
    /// and nothing is changed.
    ///
    /// # Errors
    /// The refusal that the acceptance would give; [`Refusal::NoAnswer`] when the server did not answer in time.
    pub async fn look_at_upgrade(
        &self,
        caller: &Caller,
        id: InstanceId,
        request: SwitchRequest,
    ) -> Result<DryRun, Error> {
        let caller = caller.clone();
        let decided = self
            .db
            .read(move |conn| {
                let instance = visible(instances::find(conn, id)?, &caller, id)?;
                allow(&caller, Rule::InstanceUpdate)?;
                let catalogue = known::now(conn)?;
                let target = target(&catalogue, &instance, &request.version)?;
                if target.id == instance.shown_version().id {
                    let field = "upgrade['datastore_version']";
                    return Err(Refusal::invalid(field, "is the version that the instance has").into());
                }
                let hops = decide(conn, &instance, &catalogue, &target, &request)?;
                Ok::<_, Error>((instance, target, hops))
            })
            .await;
        let (instance, to, hops) = decided?;
        let first = hops.first().ok_or_else(|| Error::Inconsistent("a way without a hop".to_owned()))?;
        let look = Look { number: first.to.number.clone(), strategies: first.allowed.clone() };
        let about = serde_json::to_value(look).map_err(|e| Error::Inconsistent(e.to_string()))?;
        let looked = self.ask_about(&instance, QuestionKind::PreCheck, about).await?;
        let stops = hops.into_iter().map(|hop| hop.to).collect();
        Ok(DryRun { from: instance.shown_version().clone(), to, stops, looked })
    }
}

/// The hops by which the instance may go to the target now.
fn decide(
    conn: &mut Conn,
    instance: &Instance,
    catalogue: &Catalogue,
    target: &DatastoreVersion,
    request: &SwitchRequest,
) -> Result<Vec<Hop>, Error> {
    if !target.active {
        return Err(Refusal::Invalid(format!("Datastore version '{}' is not active.", target.name)).into());
    }
    let kept = generations::retired(conn, instance.id)?.filter(|kept| !kept.is_over);
    let known = Known {
        instance,
        busy: tasks::is_claimed(conn, instance.id)?,
        retired_until: kept.map(|kept| kept.until),
        paths: &catalogue.paths,
    };
    let runs = |version: &DatastoreVersion| catalogue.runs(&instance.host, version);
    let reach = if request.far { Reach::Several(&runs) } else { Reach::One };
    let hops = ways(known, target, &request.wishes, reach)?;
    if !runs(target) {
        return Err(
            Refusal::Unavailable(format!("The instance's host cannot run {}.", target.title())).into()
        );
    }
    Ok(hops)
}

/// Decides and writes; whether there is a task.
fn accept(
    conn: &mut Conn,
    caller: &Caller,
    id: InstanceId,
    request: &SwitchRequest,
    ids: &Ids,
) -> Result<(Instance, bool), Error> {
    let mut instance = visible(instances::lock(conn, id)?, caller, id)?;
    allow(caller, Rule::InstanceUpdate)?;
    let catalogue = known::now(conn)?;
    let target = target(&catalogue, &instance, &request.version)?;
    if let Some(name) = &request.rename {
        name.clone_into(&mut instance.name);
    }
    if target.id == instance.shown_version().id {
        // It is done already: a rename is all that is left.
        if request.rename.is_some() {
            instances::save(conn, &instance)?;
            note(conn, caller, &instance, None, "renamed")?;
        }
        return Ok((instance, false));
    }
    let hops = decide(conn, &instance, &catalogue, &target, request)?;
    let running = instance.running.clone().ok_or_else(|| not_ready(&instance))?;
    let mut way = hops.into_iter().zip(&ids.candidates);
    let (first, (generation, secret)) =
        way.next().ok_or_else(|| Error::Inconsistent("a way without a hop".to_owned()))?;
    let (rest, secrets): (Vec<NextHop>, Vec<&String>) = way
        .map(|(hop, (new, secret))| {
            let to_title = hop.to.title();
            (NextHop { new: *new, to: hop.to.id, to_title, allowed: hop.allowed }, secret)
        })
        .unzip();
    // The secrets of later candidates are sealed, and go with the task's end.
    let secrets = match &rest[..] {
        [] => None,
        _more => Some(serde_json::to_string(&secrets).map_err(|e| Error::Inconsistent(e.to_string()))?),
    };
    generations::insert_candidate(conn, *generation, id, &instance.host, first.to.id, secret)?;
    let plan = Plan::Switch(SwitchPlan {
        form: FORM,
        instance: id,
        old: running.generation,
        new: *generation,
        from: running.version.id,
        to: first.to.id,
        from_title: running.version.title(),
        to_title: first.to.title(),
        allowed: first.allowed,
        strategy: None,
        why: None,
        keep_hours: request.wishes.keep_hours,
        drop_retired: request.wishes.drop_retired,
        passed: Vec::new(),
        rest,
    });
    let new = tasks::New {
        id: ids.task,
        project: &instance.project,
        host: &instance.host,
        plan: &plan,
        secrets: secrets.as_deref(),
        claims: &[(id, tasks::Claim::Subject)],
    };
    if !tasks::insert(conn, &new)? {
        // Its row is locked: a claim can only have come before it was.
        return Err(not_ready(&instance).into());
    }
    instance.state = instance.state.after(InstanceEvent::SwitchAccepted).map_err(|_| not_ready(&instance))?;
    instances::save(conn, &instance)?;
    note(conn, caller, &instance, Some(ids.task), "upgrade_accepted")?;
    let instance = instances::find(conn, id)?.ok_or(db::Error::Stale("the instance"))?;
    Ok((instance, true))
}

/// The version that is meant: by id, or by name in the instance's own datastore.
///
/// # Errors
/// 404 for an id that is none of the datastore's, 400 for a name.
fn target(catalogue: &Catalogue, instance: &Instance, wanted: &str) -> Result<DatastoreVersion, Refusal> {
    let by_id = wanted.len() == 36 && Uuid::parse_str(wanted).is_ok();
    let datastore = instance.shown_version().datastore_id;
    let is_meant = |version: &&DatastoreVersion| {
        version.datastore_id == datastore
            && if by_id {
                version.id.to_string().eq_ignore_ascii_case(wanted)
            } else {
                version.name == wanted
            }
    };
    catalogue.versions().find(is_meant).cloned().ok_or_else(|| match by_id {
        true => Refusal::NotFound { what: wanted.to_owned() },
        false => Refusal::Invalid(format!("Datastore version '{wanted}' cannot be found.")),
    })
}
