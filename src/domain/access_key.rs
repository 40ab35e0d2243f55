//! Access keys: what requests of the vendors' clients are signed with, in place of a token.

use chrono::{DateTime, Utc};

use crate::domain::caller::{Caller, Level};
use crate::domain::ids::ProjectId;

/// How far a signed request's time may lie from ours, in minutes.
pub const SKEW_MINUTES: i64 = 15;

/// The longest time for which a secret that was replaced may hold on, in hours.
pub const LONGEST_OVERLAP: u32 = 168;

/// An access key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// What a request names.
    pub id: String,
    /// The user's id.
    pub user: String,
    /// The one project that it is for.
    pub project: ProjectId,
    /// The user's roles there.
    pub roles: Vec<String>,
    /// Whether it holds.
    pub enabled: bool,
    /// Until when the secret before this one holds, too.
    pub old_until: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl AccessKey {
    /// Who asks with it.
    pub fn caller(&self) -> Caller {
        Caller { user: self.user.clone(), project: self.project.clone(), level: Level::of_roles(&self.roles) }
    }

    /// What its secret is sealed for.
    pub fn purpose(id: &str) -> String {
        format!("access key {id}")
    }
}
