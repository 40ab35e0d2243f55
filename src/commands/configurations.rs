//! Configuration groups: making, changing and deleting them, and giving them to instances.
//!
//! A change of a group is an operation at each instance that has it, accepted in the same transaction: it is lost nowhere, and
//! what the server takes in the end is what the group has then.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::commands::instances::{note, resolve_version, visible};
use crate::commands::{Commands, Error};
use crate::db::notices::Channel;
use crate::db::{
    self, Conn, catalogue_cache, configurations, events, generations, instances, operations, parameters,
    tasks,
};
use crate::domain::caller::Caller;
use crate::domain::datastore::DatastoreVersion;
use crate::domain::flavor::Flavor;
use crate::domain::ids::{ConfigurationId, InstanceId, OperationId, VersionId};
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::operation::{CONFIGURE, MOST_WAITING, Operation};
use crate::domain::parameter::{Configuration, Parameter, Values, lost, read, too_large};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::task::Plan;
use crate::seal::Sealer;

/// How long a request waits until a server of a version has told its parameters: one is made for it the first time.
const PATIENCE: Duration = Duration::from_secs(40);

/// Parameters, by their version.
type Known = BTreeMap<VersionId, Vec<Parameter>>;

/// How many instances can have one group.
const MOST_INSTANCES: i64 = 1_000;

/// A parsed group.
#[derive(Clone, Debug)]
pub struct NewConfiguration {
    /// 1 to 255 characters.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The datastore's name or id; the only one there is, when absent.
    pub datastore: Option<String>,
    /// The version's name or id; the datastore's default, when absent.
    pub version: Option<String>,
    /// The values, as they were sent.
    pub values: serde_json::Map<String, serde_json::Value>,
}

/// A parsed change of a group; what is absent stays.
#[derive(Clone, Debug)]
pub struct ConfigurationChange {
    /// Another name.
    pub name: Option<String>,
    /// Another description.
    pub description: Option<String>,
    /// Values, as they were sent.
    pub values: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether values that are not among them stay, too.
    pub merge: bool,
}

/// The group, if it exists for `caller`.
fn owned(
    found: Option<Configuration>,
    caller: &Caller,
    id: ConfigurationId,
) -> Result<Configuration, Refusal> {
    found
        .filter(|group| caller.sees(&group.project))
        .ok_or_else(|| Refusal::NotFound { what: id.to_string() })
}

impl Commands {
    /// The parameters that servers of a version have, as one of them told; the first time one is made to be asked.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] when none could be asked in time; the store's.
    pub async fn parameters(&self, version: &DatastoreVersion) -> Result<Vec<Parameter>, Error> {
        let id = version.id;
        let (began, mut is_asked) = (Instant::now(), false);
        loop {
            let found = self.db.transact(move |conn| {
                let found = parameters::of_version(conn, id)?;
                if found.is_none() && !is_asked {
                    parameters::ask(conn, id)?;
                }
                Ok::<_, Error>(found)
            });
            if let Some(found) = found.await? {
                return Ok(found);
            }
            is_asked = true;
            if began.elapsed() >= PATIENCE {
                return Err(Refusal::Unavailable(format!(
                    "The parameters of {} are asked from a server of it, which did not answer in time: try again in a while.",
                    version.title()
                ))
                .into());
            }
            self.notices.wait(Channel::Answers, Duration::from_millis(250)).await;
        }
    }

    /// The parameters of every version that a change of a group is judged by: the group's own, and those that servers of its
    /// instances have, or are on their way to.
    async fn known(&self, id: ConfigurationId, version: DatastoreVersion) -> Result<Known, Error> {
        let found = self.db.run(move |conn| {
            let mut found = Vec::new();
            for attached in configurations::instances_of(conn, id, None, MOST_INSTANCES)? {
                if let Some(instance) = instances::find(conn, attached.id)? {
                    found.extend(bound_for(conn, &instance)?.0);
                }
            }
            Ok::<_, Error>(found)
        });
        let mut known = Known::new();
        for version in std::iter::once(version).chain(found.await?) {
            if let Entry::Vacant(vacant) = known.entry(version.id) {
                vacant.insert(self.parameters(&version).await?);
            }
        }
        Ok(known)
    }

    /// The parameters by which an instance's group is judged; none for an instance that has no group.
    ///
    /// # Errors
    /// As [`Self::parameters`].
    pub(super) async fn parameters_of_instance(&self, id: InstanceId) -> Result<Vec<Parameter>, Error> {
        let found = self.db.run(move |conn| {
            let group = instances::find(conn, id)?.and_then(|instance| instance.configuration);
            match group {
                Some((group, _)) => Ok::<_, Error>(configurations::find(conn, group)?),
                None => Ok(None),
            }
        });
        match found.await? {
            Some(group) => self.parameters(&group.version).await,
            None => Ok(Vec::new()),
        }
    }

    /// A group.
    ///
    /// # Errors
    /// A refusal: 404; the store's.
    pub async fn configuration(&self, caller: &Caller, id: ConfigurationId) -> Result<Configuration, Error> {
        let caller = caller.clone();
        self.db.run(move |conn| Ok(owned(configurations::find(conn, id)?, &caller, id)?)).await
    }

    /// Makes a group.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404 for a datastore, 400 for a version, 422 for a parameter or a value, 503 when the version's
    /// parameters could not be asked; the store's.
    pub async fn create_configuration(
        &self,
        caller: &Caller,
        request: NewConfiguration,
    ) -> Result<Configuration, Error> {
        allow(caller, Rule::ConfigurationChange)?;
        let catalogue = self.db.run(catalogue_cache::now).await.map_err(|e: db::Error| Error::Db(e))?;
        let version =
            resolve_version(&catalogue.datastores, request.datastore.as_deref(), request.version.as_deref())
                .map_err(|refusal| match refusal {
                    Refusal::Invalid(text) => Refusal::Invalid(text.replace("instance[", "configuration[")),
                    other => other,
                })?;
        let known = self.parameters(&version).await?;
        let values = read(&known, &request.values)?;
        let (id, caller) = (ConfigurationId(Uuid::new_v4()), caller.clone());
        let made = self
            .db
            .transact(move |conn| {
                let texts = (request.name.as_str(), request.description.as_deref());
                configurations::insert(conn, id, &caller.project, texts, version.id, &values)?;
                tell(conn, &caller, &caller.project, id, "configuration_created")?;
                configurations::find(conn, id)?
                    .ok_or_else(|| Error::Inconsistent("a configuration that was made is gone".to_owned()))
            })
            .await;
        self.heard_of(move |conn| configurations::find(conn, id), made).await
    }

    /// Changes a group, and has every instance that has it take the new values.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 422 for a parameter or a value, also where the server of an instance has no room for it, 413
    /// when too many changes of an instance wait, 503 when the version's parameters could not be asked; the store's.
    pub async fn change_configuration(
        &self,
        caller: &Caller,
        id: ConfigurationId,
        change: ConfigurationChange,
    ) -> Result<(), Error> {
        allow(caller, Rule::ConfigurationChange)?;
        let version = self.configuration(caller, id).await?.version;
        let known = match &change.values {
            Some(_) => self.known(id, version.clone()).await?,
            None => Known::new(),
        };
        let (caller, sealer) = (caller.clone(), self.sealer.clone());
        self.db
            .transact(move |conn| {
                let mut group = owned(configurations::lock(conn, id)?, &caller, id)?;
                if let Some(name) = &change.name {
                    name.clone_into(&mut group.name);
                }
                if change.description.is_some() {
                    group.description.clone_from(&change.description);
                }
                if let Some(sent) = &change.values {
                    let of_group = of(&known, &version)?;
                    let mut values = read(of_group, sent)?;
                    if change.merge {
                        let mut all = group.values.clone();
                        all.append(&mut values);
                        // What depends on each other is judged as a whole.
                        values = read(of_group, &all.into_iter().collect())?;
                    }
                    let before = std::mem::replace(&mut group.values, values);
                    configurations::save(conn, &group)?;
                    spread(conn, &sealer, &group, &known, &before)?;
                } else {
                    configurations::save(conn, &group)?;
                }
                tell(conn, &caller, &group.project, id, "configuration_changed")
            })
            .await
    }

    /// Deletes a group.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 400 for one that an instance has; the store's.
    pub async fn delete_configuration(&self, caller: &Caller, id: ConfigurationId) -> Result<(), Error> {
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                allow(&caller, Rule::ConfigurationChange)?;
                let group = owned(configurations::lock(conn, id)?, &caller, id)?;
                if group.instance_count > 0 {
                    return Err(Refusal::Invalid(format!(
                        "Configuration {id} is attached to {} instances: detach it from them first.",
                        group.instance_count
                    ))
                    .into());
                }
                configurations::delete(conn, id)?;
                tell(conn, &caller, &group.project, id, "configuration_deleted")
            })
            .await
    }

    /// Gives an instance a group, or takes its group away, and waits up to 5 s until its server has taken the values; renames it in
    /// the same transaction where that was asked for, too.
    ///
    /// # Errors
    /// A refusal: 403 by role, 404 for the instance and for the group; 400 for an instance that is busy or has another group, for a
    /// group of another version, and for a value that its flavor has no room for; 422 for a member of a group of instances; the
    /// store's.
    pub async fn configure_instance(
        &self,
        caller: &Caller,
        id: InstanceId,
        group: Option<ConfigurationId>,
        rename: Option<String>,
    ) -> Result<(), Error> {
        let known = match group {
            Some(group) => self.parameters(&self.configuration(caller, group).await?.version).await?,
            None => Vec::new(),
        };
        let (caller, sealer) = (caller.clone(), self.sealer.clone());
        let operation = self
            .db
            .transact(move |conn| {
                visible(instances::find(conn, id)?, &caller, id)?;
                allow(&caller, Rule::InstanceUpdate)?;
                // A group comes before its instances, here as where a change of it reaches them: else two would wait for each
                // other.
                let group = match group {
                    Some(id) => Some(owned(configurations::lock(conn, id)?, &caller, id)?),
                    None => None,
                };
                let mut instance = visible(instances::lock(conn, id)?, &caller, id)?;
                instance.alone()?;
                idle(conn, &instance)?;
                let what = match group {
                    Some(group) => {
                        attach(&mut instance, group, &known)?;
                        "configuration_attached"
                    }
                    None if instance.configuration.take().is_some() => "configuration_detached",
                    // As Trove has it, that is no error.
                    None => {
                        if let Some(name) = &rename {
                            name.clone_into(&mut instance.name);
                            instances::save(conn, &instance)?;
                            note(conn, &caller, &instance, None, "renamed")?;
                        }
                        return Ok(None);
                    }
                };
                if let Some(name) = &rename {
                    name.clone_into(&mut instance.name);
                }
                instances::save(conn, &instance)?;
                note(conn, &caller, &instance, None, what)?;
                accept(conn, &sealer, id).map(Some)
            })
            .await?;
        let Some(operation) = operation else { return Ok(()) };
        tracing::info!(instance.id = %id, operation.id = %operation, "configuration accepted");
        match self.await_operation(operation).await {
            // It is attached, and an event tells what its server said.
            Err(Error::Refused(Refusal::Operation(_))) => Ok(()),
            done => done,
        }
    }
}

/// Refuses an instance that is not at rest, in Trove's words.
fn idle(conn: &mut Conn, instance: &Instance) -> Result<(), Error> {
    if instance.state == InstanceState::Active && !tasks::is_claimed(conn, instance.id)? {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "The operation you have requested cannot be executed because the instance status is currently: {}.",
        instance.state.trove_status()
    ))
    .into())
}

/// Gives an instance a group, which is locked.
fn attach(instance: &mut Instance, group: Configuration, known: &[Parameter]) -> Result<(), Error> {
    let id = group.id;
    match &instance.configuration {
        Some((has, _)) if *has == id => {}
        Some((has, _)) => {
            return Err(Refusal::Invalid(format!(
                "Instance {} has the configuration {has} already: detach it first.",
                instance.id
            ))
            .into());
        }
        None => {}
    }
    fits(&group, instance, known)?;
    if group.instance_count >= MOST_INSTANCES {
        return Err(Refusal::NoRoom(format!(
            "Configuration {id} can have {MOST_INSTANCES} instances at most."
        ))
        .into());
    }
    instance.configuration = Some((id, group.name));
    Ok(())
}

/// Whether an instance can have a group.
fn fits(group: &Configuration, instance: &Instance, known: &[Parameter]) -> Result<(), Error> {
    let version = instance.shown_version();
    if version.id != group.version.id {
        return Err(Refusal::Invalid(format!(
            "Configuration {} is for {}, and instance {} is {}: make one for that version.",
            group.id,
            group.version.title(),
            instance.id,
            version.title()
        ))
        .into());
    }
    match too_large(known, &group.values, &instance.flavor) {
        Some(why) => Err(Refusal::Invalid(format!("Instance {} has no room: {why}.", instance.id)).into()),
        None => Ok(()),
    }
}

/// Gives an instance that is being made its group, within its creation.
///
/// # Errors
/// A refusal: 404 for the group, 400 for one of another version or with a value that the flavor has no room for; the store's.
pub(super) fn give(
    conn: &mut Conn,
    caller: &Caller,
    instance: &mut Instance,
    id: ConfigurationId,
    known: &[Parameter],
) -> Result<(), Error> {
    let group = owned(configurations::lock(conn, id)?, caller, id)?;
    attach(instance, group, known)?;
    instances::set_configuration(conn, instance.id, id).map_err(Error::from)
}

/// Why an instance with another flavor would have no room for its group's values.
///
/// # Errors
/// The store's.
pub(super) fn outgrows(
    conn: &mut Conn,
    instance: &Instance,
    flavor: &Flavor,
    known: &[Parameter],
) -> Result<Option<String>, Error> {
    let Some((id, _)) = &instance.configuration else { return Ok(None) };
    let Some(group) = configurations::find(conn, *id)? else { return Ok(None) };
    Ok(too_large(known, &group.values, flavor))
}

/// The versions of which an instance's server is, or will be when the task that has it is over, and the flavor with the least memory
/// that it has meanwhile.
fn bound_for(conn: &mut Conn, instance: &Instance) -> Result<(Vec<DatastoreVersion>, Flavor), Error> {
    let mut versions = vec![instance.shown_version().clone()];
    let mut flavor = instance.flavor.clone();
    let catalogue = catalogue_cache::now(conn)?;
    for task in tasks::live_of(conn, &[instance.id])? {
        match &task.plan {
            Plan::Upgrade(plan) => {
                let targets = std::iter::once(plan.to).chain(plan.rest.iter().map(|hop| hop.to));
                versions.extend(targets.filter_map(|id| catalogue.version(id).cloned()));
            }
            Plan::Resize(plan) => {
                let wanted = [&plan.from, &plan.to].into_iter().filter_map(|id| catalogue.flavor(id));
                let least = wanted.min_by_key(|flavor| flavor.ram_mb).cloned();
                flavor = least.unwrap_or(flavor);
            }
            _ => {}
        }
    }
    Ok((versions, flavor))
}

/// The parameters of a version, which were read before.
fn of<'a>(known: &'a Known, version: &DatastoreVersion) -> Result<&'a [Parameter], Error> {
    let found = known.get(&version.id).map(Vec::as_slice);
    found.ok_or_else(|| {
        let what =
            format!("An instance of this configuration goes to {} just now: ask again.", version.title());
        Refusal::Unavailable(what).into()
    })
}

/// Has every instance that has a group take its values.
fn spread(
    conn: &mut Conn,
    sealer: &Sealer,
    group: &Configuration,
    known: &Known,
    before: &Values,
) -> Result<(), Error> {
    let changed = |name: &String| before.get(name) != group.values.get(name);
    let of_group = of(known, &group.version)?;
    let needs_restart = of_group.iter().any(|parameter| parameter.restart && changed(&parameter.name));
    for attached in configurations::instances_of(conn, group.id, None, MOST_INSTANCES)? {
        // Locked, so that no task of another flavor or version is accepted meanwhile.
        let Some(instance) = instances::lock(conn, attached.id)? else { continue };
        judge(conn, group, &instance, known)?;
        if let Some(running) = instance.running.as_ref().filter(|_| needs_restart) {
            generations::set_needs_restart(conn, running.generation, true)?;
        }
        // It serves nobody, and will not: what is made or started again has the values from its start.
        if !matches!(instance.state, InstanceState::Error | InstanceState::Deleting | InstanceState::Deleted)
        {
            accept(conn, sealer, instance.id)?;
        }
    }
    Ok(())
}

/// Whether the servers that an instance has, or will have, take the values.
fn judge(conn: &mut Conn, group: &Configuration, instance: &Instance, known: &Known) -> Result<(), Error> {
    let (versions, flavor) = bound_for(conn, instance)?;
    for version in versions {
        let theirs = of(known, &version)?;
        let lost = lost(theirs, &group.values).into_iter().next();
        let why = lost
            .map(|(name, why)| format!("the configuration parameter {name} {why}, {}", version.title()))
            .or_else(|| too_large(theirs, &group.values, &flavor));
        if let Some(why) = why {
            return Err(Refusal::Parameter(format!(
                "Instance {}, which has this configuration, cannot take it: {why}.",
                instance.id
            ))
            .into());
        }
    }
    Ok(())
}

/// Accepts that an instance's server takes the values of its group.
pub(super) fn accept(conn: &mut Conn, sealer: &Sealer, instance: InstanceId) -> Result<OperationId, Error> {
    // One that nobody has taken takes what there is when somebody does.
    if let Some(waits) = operations::untaken(conn, instance, CONFIGURE)? {
        return Ok(waits);
    }
    if operations::waiting_of(conn, instance)? >= MOST_WAITING {
        return Err(Refusal::TooManyOperations(instance).into());
    }
    let id = OperationId(Uuid::now_v7());
    let plain = serde_json::to_string(&Operation::Configure)
        .map(Zeroizing::new)
        .map_err(|e| Error::Inconsistent(format!("operation: {e}")))?;
    let payload = sealer.seal(&id.payload_purpose(), &plain).map_err(Error::Seal)?;
    operations::accept(conn, id, instance, CONFIGURE, &payload)?;
    Ok(id)
}

fn tell(
    conn: &mut Conn,
    caller: &Caller,
    project: &crate::domain::ids::ProjectId,
    id: ConfigurationId,
    what: &str,
) -> Result<(), Error> {
    events::record(
        conn,
        &events::Event {
            project,
            instance: None,
            task: None,
            actor: &caller.user,
            what,
            data: serde_json::json!({"configuration": id.to_string()}),
        },
    )?;
    Ok(())
}
