//! Quotas: what a project may have, set by an operator.

use crate::commands::{Commands, Error};
use crate::db::{Conn, events, quotas};
use crate::domain::caller::Caller;
use crate::domain::ids::ProjectId;
use crate::domain::policy::{Rule, allow};
use crate::domain::quota::{Quota, Resource, Usage};

impl Commands {
    /// Sets limits of a project; `None` is no limit. What is there beyond a lowered limit stays.
    ///
    /// # Errors
    /// 403 by role; the store's.
    pub async fn set_quota(
        &self,
        caller: &Caller,
        project: ProjectId,
        limits: Vec<(Resource, Option<u32>)>,
    ) -> Result<(), Error> {
        allow(caller, Rule::Manage)?;
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let mut data = serde_json::Map::new();
                for (resource, most) in &limits {
                    quotas::set(conn, &project, *resource, *most)?;
                    data.insert(resource.as_str().to_owned(), (*most).into());
                }
                let event = events::Event {
                    project: &project,
                    instance: None,
                    task: None,
                    actor: &caller.user,
                    what: "quota_set",
                    data: serde_json::Value::Object(data),
                };
                Ok(events::record(conn, &event)?)
            })
            .await
    }
}

/// Takes the project's turn and asks whether `more` fits; held until the transaction ends, so that of two that come
/// at once the second sees what the first added. Called with the instance locked, if there is one, and before
/// anything else is locked.
///
/// # Errors
/// A refusal: 413; the store's.
pub(super) fn reserve(
    conn: &mut Conn,
    project: &ProjectId,
    default: Quota,
    more: &Usage,
) -> Result<(), Error> {
    if quotas::of_project(conn, project, default)? == Quota::NONE {
        return Ok(());
    }
    quotas::lock(conn, project)?;
    let quota = quotas::of_project(conn, project, default)?;
    quota.allow(&quotas::used(conn, project)?, more)?;
    Ok(())
}
