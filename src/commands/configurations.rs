//! Configuration groups: making, changing and deleting them, and giving them to instances.
//!
//! A change of a group is an operation at each instance that has it, accepted in the same transaction: it is lost nowhere, and
//! what the server takes in the end is what the group has then.

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
use crate::domain::ids::{ConfigurationId, InstanceId, OperationId, VersionId};
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::operation::{CONFIGURE, MOST_WAITING, Operation};
use crate::domain::parameter::{Configuration, Parameter, Values, read, too_large};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::seal::Sealer;

/// How long a request waits until a server of a version has told its parameters: one is made for it the first time.
const PATIENCE: Duration = Duration::from_secs(40);

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
        let version = self.configuration(caller, id).await?.version;
        allow(caller, Rule::ConfigurationChange)?;
        let known = match &change.values {
            Some(_) => self.parameters(&version).await?,
            None => Vec::new(),
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
                    let mut values = read(&known, sent)?;
                    if change.merge {
                        let mut all = group.values.clone();
                        all.append(&mut values);
                        // What depends on each other is judged as a whole.
                        values = read(&known, &all.into_iter().collect())?;
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
                let group = owned(configurations::lock(conn, id)?, &caller, id)?;
                allow(&caller, Rule::ConfigurationChange)?;
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
        let (caller, sealer) = (caller.clone(), self.sealer.clone());
        let operation = self
            .db
            .transact(move |conn| {
                let mut instance = visible(instances::lock(conn, id)?, &caller, id)?;
                allow(&caller, Rule::InstanceUpdate)?;
                instance.alone()?;
                idle(conn, &instance)?;
                let what = match group {
                    Some(group) => {
                        attach(conn, &caller, &mut instance, group)?;
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

fn attach(
    conn: &mut Conn,
    caller: &Caller,
    instance: &mut Instance,
    id: ConfigurationId,
) -> Result<(), Error> {
    let group = owned(configurations::lock(conn, id)?, caller, id)?;
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
    fits(conn, &group, instance)?;
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
fn fits(conn: &mut Conn, group: &Configuration, instance: &Instance) -> Result<(), Error> {
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
    let known = parameters::of_version(conn, version.id)?.unwrap_or_default();
    match too_large(&known, &group.values, &instance.flavor) {
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
) -> Result<(), Error> {
    attach(conn, caller, instance, id)?;
    instances::set_configuration(conn, instance.id, id).map_err(Error::from)
}

/// Why an instance with another flavor would have no room for its group's values.
///
/// # Errors
/// The store's.
pub(super) fn outgrows(
    conn: &mut Conn,
    instance: &Instance,
    flavor: &crate::domain::flavor::Flavor,
) -> Result<Option<String>, Error> {
    let Some((id, _)) = &instance.configuration else { return Ok(None) };
    let Some(group) = configurations::find(conn, *id)? else { return Ok(None) };
    let known = parameters::of_version(conn, group.version.id)?.unwrap_or_default();
    Ok(too_large(&known, &group.values, flavor))
}

/// Has every instance that has a group take its values.
fn spread(
    conn: &mut Conn,
    sealer: &Sealer,
    group: &Configuration,
    known: &[Parameter],
    before: &Values,
) -> Result<(), Error> {
    let changed = |name: &String| before.get(name) != group.values.get(name);
    let needs_restart = known.iter().any(|parameter| parameter.restart && changed(&parameter.name));
    for attached in configurations::instances_of(conn, group.id, None, MOST_INSTANCES)? {
        let Some(instance) = instances::find(conn, attached.id)? else { continue };
        let other = Some(instance.shown_version().id).filter(|id| *id != group.version.id);
        judge(conn, group, &instance, known, other)?;
        if let Some(running) = instance.running.as_ref().filter(|_| needs_restart) {
            generations::set_needs_restart(conn, running.generation, true)?;
        }
        accept(conn, sealer, instance.id)?;
    }
    Ok(())
}

/// Whether the server of an instance that has a group takes its values: it may be of another version by now.
fn judge(
    conn: &mut Conn,
    group: &Configuration,
    instance: &Instance,
    known: &[Parameter],
    other: Option<VersionId>,
) -> Result<(), Error> {
    let why = match other {
        Some(version) => {
            let theirs = parameters::of_version(conn, version)?.unwrap_or_default();
            let lost = crate::domain::parameter::lost(&theirs, &group.values).into_iter().next();
            lost.map(|(name, why)| {
                format!("the configuration parameter {name} {why}, {}", instance.shown_version().title())
            })
            .or_else(|| too_large(&theirs, &group.values, &instance.flavor))
        }
        None => too_large(known, &group.values, &instance.flavor),
    };
    match why {
        Some(why) => Err(Refusal::Parameter(format!(
            "Instance {}, which has this configuration, cannot take it: {why}.",
            instance.id
        ))
        .into()),
        None => Ok(()),
    }
}

/// Accepts that an instance's server takes the values of its group.
fn accept(conn: &mut Conn, sealer: &Sealer, instance: InstanceId) -> Result<OperationId, Error> {
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
