//! The logs of an instance: which there are, turning them on and off, publishing them and taking that back.

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::commands::instances::{note, visible};
use crate::commands::{Commands, Error, configurations};
use crate::db::{self, Conn, instances, logs as rows, operations};
use crate::domain::caller::Caller;
use crate::domain::ids::{InstanceId, OperationId};
use crate::domain::instance::Instance;
use crate::domain::log::{Log, LogKind, OF_OPERATORS, logs_of};
use crate::domain::operation::{MOST_WAITING, Operation, accepts_operations};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;

/// What is asked of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogChange {
    /// Turn it on, or off.
    pub enabled: Option<bool>,
    /// Take back what is published.
    pub discard: bool,
    /// Publish it.
    pub publish: bool,
}

fn kind(caller: &Caller, instance: &Instance, name: &str) -> Result<LogKind, Refusal> {
    let kinds = logs_of(instance.shown_version().engine);
    let found = kinds.iter().find(|kind| kind.name == name).copied();
    let kind = found.ok_or_else(|| Refusal::NotFound { what: format!("log {name}") })?;
    if kind.is_system && !caller.is_admin() {
        return Err(Refusal::Forbidden { rule: "instance:guest_log_list" });
    }
    Ok(kind)
}

fn one(conn: &mut Conn, instance: InstanceId, kind: LogKind) -> Result<Log, Error> {
    let found = rows::of_instance(conn, instance, &[kind])?.into_iter().next();
    found.ok_or_else(|| Error::Inconsistent(format!("log {}", kind.name)))
}

impl Commands {
    /// The logs of an instance that its caller may read.
    ///
    /// # Errors
    /// The store's.
    pub async fn logs(&self, caller: &Caller, instance: &Instance) -> Result<Vec<Log>, Error> {
        let (id, admin) = (instance.id, caller.is_admin());
        let kinds: Vec<LogKind> = logs_of(instance.shown_version().engine)
            .iter()
            .copied()
            .filter(|kind| admin || !kind.is_system)
            .collect();
        self.db.run(move |conn| Ok(rows::of_instance(conn, id, &kinds)?)).await
    }

    /// Changes a log, and gives it as it is then; without a change, as it is. What its server must do is waited for, up to
    /// 5 s each, and done all the same.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role and for an operator's log; 400 for turning that on or off, and for publishing one that is
    /// off; 422 for an instance that serves nobody or follows another; 413 when too many operations wait; the store's.
    pub async fn change_log(
        &self,
        caller: &Caller,
        id: InstanceId,
        name: &str,
        change: LogChange,
    ) -> Result<Log, Error> {
        let publication = OperationId(Uuid::now_v7());
        let payload = {
            let operation = Operation::PublishLog { name: name.to_owned() };
            let plain = serde_json::to_string(&operation)
                .map(Zeroizing::new)
                .map_err(|e| Error::Inconsistent(format!("operation: {e}")))?;
            self.sealer.seal(&publication.payload_purpose(), &plain).map_err(Error::Seal)?
        };
        let (by, name, sealer) = (caller.clone(), name.to_owned(), self.sealer.clone());
        let (kind, waits) = self
            .db
            .transact(move |conn| {
                let instance = visible(instances::lock(conn, id)?, &by, id)?;
                let kind = kind(&by, &instance, &name)?;
                if change == LogChange::default() {
                    allow(&by, Rule::InstanceRead)?;
                    return Ok((kind, Vec::new()));
                }
                allow(&by, Rule::InstanceUpdate)?;
                accepts_operations(&instance)?;
                let mut waits = Vec::new();
                if let Some(enabled) = change.enabled {
                    if kind.is_system {
                        let expected =
                            format!("cannot be set: the engine always writes the log {}", kind.name);
                        return Err(
                            Refusal::invalid(if enabled { "enable" } else { "disable" }, expected).into()
                        );
                    }
                    rows::enable(conn, id, kind.name, enabled)?;
                    waits.push(configurations::accept(conn, &sealer, id)?);
                    note(conn, &by, &instance, None, if enabled { "log_enabled" } else { "log_disabled" })?;
                }
                if change.discard {
                    rows::discard(conn, id, kind.name)?;
                    note(conn, &by, &instance, None, "log_discarded")?;
                }
                if change.publish {
                    if !one(conn, id, kind)?.enabled {
                        let expected = format!("cannot be: the log {} is off, enable it first", kind.name);
                        return Err(Refusal::invalid("publish", expected).into());
                    }
                    if operations::waiting_of(conn, id)? >= MOST_WAITING {
                        return Err(Refusal::TooManyOperations(id).into());
                    }
                    operations::accept(conn, publication, id, "publish_log", &payload)?;
                    waits.push(publication);
                    note(conn, &by, &instance, None, "log_published")?;
                }
                Ok::<_, Error>((kind, waits))
            })
            .await?;
        for operation in waits {
            self.await_operation(operation).await?;
        }
        self.db.run(move |conn| one(conn, id, kind)).await
    }

    /// The objects of a project's logs, as [`rows::objects`] gives them.
    ///
    /// # Errors
    /// The store's.
    pub async fn log_objects(
        &self,
        caller: &Caller,
        prefix: &str,
        marker: &str,
    ) -> Result<Vec<rows::Object>, Error> {
        let (project, prefix, marker) = (theirs(caller), prefix.to_owned(), marker.to_owned());
        let hidden = hidden(caller);
        self.db
            .run(move |conn| {
                let found: Result<_, db::Error> =
                    rows::objects(conn, project.as_deref(), (&prefix, &marker), hidden);
                Ok(found?)
            })
            .await
    }

    /// One of them, whole.
    ///
    /// # Errors
    /// The store's.
    pub async fn log_object(
        &self,
        caller: &Caller,
        object: &str,
    ) -> Result<Option<(rows::Object, Vec<u8>)>, Error> {
        let (project, object, hidden) = (theirs(caller), object.to_owned(), hidden(caller));
        self.db.run(move |conn| Ok(rows::content(conn, project.as_deref(), &object, hidden)?)).await
    }
}

/// The project whose logs the caller reads; `None` for one who reads all.
fn theirs(caller: &Caller) -> Option<String> {
    (!caller.is_admin()).then(|| caller.project.as_str().to_owned())
}

/// The logs that the caller may not read.
fn hidden(caller: &Caller) -> Option<&'static [&'static str]> {
    (!caller.is_admin()).then_some(OF_OPERATORS)
}
