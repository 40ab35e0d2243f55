//! Who may do what: one table.

use crate::domain::caller::{Caller, Level};
use crate::domain::refusal::Refusal;

/// A thing that a caller may be allowed to do. The names are those of Trove's policy file where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Read datastores, versions and flavors.
    CatalogueRead,
    /// List and show instances.
    InstanceRead,
    /// Create an instance.
    InstanceCreate,
    /// Rename an instance or change another of its attributes.
    InstanceUpdate,
    /// Detach a replica from its source.
    InstanceDetach,
    /// Delete an instance.
    InstanceDelete,
    /// Upgrade an instance, and every other instance action.
    InstanceAction,
    /// Change the databases and users of an instance.
    ContentChange,
    /// Read configuration groups.
    ConfigurationRead,
    /// Make, change and delete configuration groups.
    ConfigurationChange,
    /// Read tasks and upgrades.
    TaskRead,
    /// Read the project's own limits and quotas.
    LimitsRead,
    /// Manage the service: quotas, maintenance, the matrix of upgrades, simulations.
    Manage,
}

impl Rule {
    /// Every rule, in the table's order.
    pub const ALL: [Self; 13] = [
        Self::CatalogueRead,
        Self::InstanceRead,
        Self::InstanceCreate,
        Self::InstanceUpdate,
        Self::InstanceDetach,
        Self::InstanceDelete,
        Self::InstanceAction,
        Self::ContentChange,
        Self::ConfigurationRead,
        Self::ConfigurationChange,
        Self::TaskRead,
        Self::LimitsRead,
        Self::Manage,
    ];

    /// The name that a refusal gives.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// The least level that the rule asks for.
    pub const fn least(self) -> Level {
        self.row().1
    }

    const fn row(self) -> (&'static str, Level) {
        match self {
            Self::CatalogueRead => ("datastore:index", Level::Reader),
            Self::InstanceRead => ("instance:show", Level::Reader),
            Self::InstanceCreate => ("instance:create", Level::Creator),
            Self::InstanceUpdate => ("instance:update", Level::Member),
            Self::InstanceDetach => ("instance:detach", Level::Creator),
            Self::InstanceDelete => ("instance:delete", Level::Member),
            Self::InstanceAction => ("instance:upgrade", Level::Member),
            Self::ContentChange => ("instance:extension", Level::Member),
            Self::ConfigurationRead => ("configuration:index", Level::Reader),
            Self::ConfigurationChange => ("configuration:update", Level::Member),
            Self::TaskRead => ("task:show", Level::Reader),
            Self::LimitsRead => ("limits:index", Level::Reader),
            Self::Manage => ("mgmt", Level::Admin),
        }
    }
}

/// Whether `caller` may do what `rule` names.
///
/// # Errors
/// [`Refusal::Forbidden`] when the caller's roles do not reach the rule's level.
pub fn allow(caller: &Caller, rule: Rule) -> Result<(), Refusal> {
    match caller.level {
        Some(level) if level >= rule.least() => Ok(()),
        Some(_) | None => Err(Refusal::Forbidden { rule: rule.name() }),
    }
}
