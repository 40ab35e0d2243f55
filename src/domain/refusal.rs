//! Every "no", decided before any change, with what a caller may be told.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::domain::ids::{GroupId, InstanceId, TaskId};
use crate::domain::operation::Refused;

/// The kind of a refusal. The wire's status and fault name are one match in `api::error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is malformed or names something impossible.
    BadRequest,
    /// The caller's roles do not allow it.
    Forbidden,
    /// Nothing that the caller may know of has this name.
    NotFound,
    /// A limit would be passed.
    OverLimit,
    /// The resource is not in a state that allows it.
    Unprocessable,
    /// The resource is past the point at which it could be done.
    Conflict,
    /// The service does not do this.
    NotImplemented,
    /// The service cannot answer now; the same request may succeed later.
    Unavailable,
}

/// A typed "no". Its `Display` is the caller's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request's shape or a value in it is wrong. The text names the field and what was expected.
    Invalid(String),
    /// The caller's roles do not reach `rule`.
    Forbidden {
        /// The rule's name.
        rule: &'static str,
    },
    /// A deletion of an instance that others replicate from.
    HasReplicas,
    /// Nothing with this id or name exists for the caller.
    NotFound {
        /// What was asked for, as the caller wrote it.
        what: String,
    },
    /// The instance is busy or in the wrong state. The text is Trove's.
    NotReady {
        /// The instance.
        id: InstanceId,
        /// Its status on the wire.
        status: &'static str,
    },
    /// The instance serves, and an upgrade of it is being made.
    BeingUpgraded(InstanceId),
    /// The instance is a replication source or a replica already.
    Replicating(InstanceId),
    /// The instance is a member of a group, which is changed as a whole.
    MemberOfGroup {
        /// The instance.
        id: InstanceId,
        /// Its group.
        group: GroupId,
    },
    /// The group is busy or in the wrong state.
    GroupNotReady {
        /// The group.
        id: GroupId,
        /// Its state on the wire.
        state: &'static str,
    },
    /// No enabled row of the matrix lets a group go from its version to the target.
    NoRolling {
        /// What runs, as `type version`.
        from: String,
        /// What was asked for, as `type version`.
        to: String,
    },
    /// Groups of a version that has real servers are not made yet.
    NoGroups {
        /// The version, as `type version`.
        version: String,
    },
    /// The instance's content stands in the way; the text names the object and what to do.
    Blocked(String),
    /// The instance's server does not do an operation.
    Operation(Refused),
    /// A value of a configuration group, or the parameter itself, is none that the version's servers take.
    Parameter(String),
    /// The instance is read-only until it is detached: it follows another one.
    Follows {
        /// The instance.
        id: InstanceId,
        /// The one that it follows.
        source: InstanceId,
    },
    /// Too many operations of the instance wait already.
    TooManyOperations(InstanceId),
    /// No enabled row of the matrix leads from the instance's version to the target.
    NoPath {
        /// What runs, as `type version`.
        from: String,
        /// What was asked for, as `type version`.
        to: String,
    },
    /// No enabled row of the matrix lets the same instance go from its version to the target.
    NoUpgrade {
        /// What runs, as `type version`.
        from: String,
        /// What was asked for, as `type version`.
        to: String,
        /// The strategy that was asked for, where one was.
        strategy: Option<&'static str>,
    },
    /// The old server of an earlier upgrade is kept still, and the request has it stay.
    KeepsRetired {
        /// The instance.
        id: InstanceId,
        /// Until when.
        until: DateTime<Utc>,
    },
    /// An upgrade of it is accepted for later.
    UpgradePlanned {
        /// The instance.
        id: InstanceId,
        /// The upgrade's task.
        task: TaskId,
    },
    /// Another request was made with the key before.
    KeyOfAnother {
        /// The key.
        key: String,
    },
    /// The task is past the point up to which it can be ended.
    TooLate {
        /// The task, or what was to be done with it.
        what: String,
    },
    /// The datastore's type has no upgrade at all.
    NoUpgrades {
        /// The datastore's name.
        datastore: String,
    },
    /// The project's quota would be passed.
    OverQuota {
        /// Of what there would be too much.
        resources: Vec<&'static str>,
    },
    /// What a project may not see of another.
    NotYours(&'static str),
    /// The instance's servers are real: nothing can be simulated in them.
    NotSimulated(InstanceId),
    /// A limit would be passed, or no host has room.
    NoRoom(String),
    /// Something that is needed is not up now.
    Unavailable(String),
    /// An engine did not answer in time.
    NoAnswer {
        /// What was asked, for the caller.
        what: &'static str,
    },
}

impl Refusal {
    /// A refusal of one value: names the field and says what was expected.
    pub fn invalid(field: &str, expected: impl fmt::Display) -> Self {
        Self::Invalid(format!("Validation error: {field} {expected}"))
    }

    /// The kind, from which each dialect makes its status.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) | Self::NoPath { .. } | Self::NoUpgrade { .. } | Self::NoRolling { .. } => {
                Kind::BadRequest
            }
            Self::Forbidden { .. } | Self::HasReplicas | Self::NotYours(_) => Kind::Forbidden,
            Self::Operation(Refused::Missing { .. } | Refused::NoRoot) => Kind::NotFound,
            Self::Operation(
                Refused::Exists { .. } | Refused::UnknownDatabase { .. } | Refused::Rejected { .. },
            ) => Kind::BadRequest,
            Self::TooManyOperations(_) => Kind::OverLimit,
            Self::NotFound { .. } => Kind::NotFound,
            Self::NoRoom(_) | Self::OverQuota { .. } => Kind::OverLimit,
            Self::NotReady { .. }
            | Self::BeingUpgraded(_)
            | Self::Replicating(_)
            | Self::MemberOfGroup { .. }
            | Self::GroupNotReady { .. }
            | Self::NotSimulated(_)
            | Self::KeepsRetired { .. }
            | Self::UpgradePlanned { .. }
            | Self::KeyOfAnother { .. }
            | Self::Follows { .. }
            | Self::Parameter(_)
            | Self::Blocked(_) => Kind::Unprocessable,
            Self::TooLate { .. } => Kind::Conflict,
            Self::NoUpgrades { .. } | Self::NoGroups { .. } => Kind::NotImplemented,
            Self::Unavailable(_) | Self::NoAnswer { .. } => Kind::Unavailable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text)
            | Self::Blocked(text)
            | Self::Parameter(text)
            | Self::NoRoom(text)
            | Self::Unavailable(text) => f.write_str(text),
            Self::Forbidden { rule } => write!(f, "Policy doesn't allow {rule} to be performed."),
            Self::HasReplicas => f.write_str("Detach replicas before deleting replica source."),
            Self::NotFound { what } => write!(f, "Resource {what} cannot be found."),
            Self::NotReady { id, status } => write!(
                f,
                "Instance {id} is not currently available for an action to be performed \
                 (instance status was {status})."
            ),
            Self::BeingUpgraded(id) => write!(
                f,
                "Instance {id} is not currently available for an action to be performed (an upgrade of it is being \
                 made)."
            ),
            Self::Operation(refused) => write!(f, "{refused}"),
            Self::Follows { id, source } => write!(
                f,
                "Instance {id} follows instance {source} and is read-only until it is detached: change instance {source}, \
                 or detach this one first."
            ),
            Self::TooManyOperations(id) => write!(
                f,
                "Too many changes of the databases and users of instance {id} wait already: ask again later."
            ),
            Self::Replicating(id) => write!(
                f,
                "Instance {id} is a replication source or a replica: detach or delete the other side first."
            ),
            Self::MemberOfGroup { id, group } => write!(
                f,
                "Instance {id} is a member of the group {group}, and is not changed alone: see /ha/{group}."
            ),
            Self::GroupNotReady { id, state } => write!(
                f,
                "Group {id} is not currently available for an action to be performed (its state was {state})."
            ),
            Self::NoRolling { from, to } => {
                write!(f, "An upgrade of a group from {from} to {to} is not allowed.")
            }
            Self::NoGroups { version } => {
                write!(f, "Groups of {version} are not implemented by this service: its servers are real.")
            }
            Self::NoPath { from, to } => {
                write!(
                    f,
                    "An upgrade from {from} to {to} is not allowed: see the instance's available_upgrades."
                )
            }
            Self::NoUpgrade { from, to, strategy } => {
                write!(f, "An upgrade of the same instance from {from} to {to}")?;
                if let Some(strategy) = strategy {
                    write!(f, " by the strategy {strategy}")?;
                }
                f.write_str(
                    " is not allowed: see the instance's upgrade-targets. The action {\"upgrade\": \
                     {\"datastore_type\", \"datastore_version\"}} upgrades by way of a new instance: see its \
                     available_upgrades.",
                )
            }
            Self::KeepsRetired { id, until } => write!(
                f,
                "Instance {id} keeps the old server of its last upgrade until {}, and keep_retired has it stay: ask \
                 POST /instances/{id}/upgrades after that time, or without keep_retired, and the new upgrade's old \
                 server takes its place after the cut-over.",
                until.format("%Y-%m-%dT%H:%M:%SZ")
            ),
            Self::UpgradePlanned { id, task } => write!(
                f,
                "Instance {id} has an upgrade that begins later, task {task}: move it, start it now, or cancel it."
            ),
            Self::KeyOfAnother { key } => {
                write!(
                    f,
                    "The idempotency key '{key}' was given with another request before: take a new one."
                )
            }
            Self::TooLate { what } => write!(f, "{what}"),
            Self::OverQuota { resources } => {
                let names: Vec<String> = resources.iter().map(|name| format!("'{name}'")).collect();
                write!(f, "Quota exceeded for resources: [{}].", names.join(", "))
            }
            Self::NotYours(what) => write!(f, "Only admins see {what} of another project."),
            Self::NotSimulated(id) => {
                write!(
                    f,
                    "Instance {id} has real servers; only a simulated instance's steps can be told what to do."
                )
            }
            Self::NoUpgrades { datastore } => write!(f, "Datastore {datastore} has no upgrades."),
            Self::NoAnswer { what } => {
                write!(f, "The database did not answer in time when asked for {what}. Try again.")
            }
        }
    }
}

impl std::error::Error for Refusal {}
