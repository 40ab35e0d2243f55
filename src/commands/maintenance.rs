//! Maintenance: while it is on, the front door answers 503 (api-ref: `mgmt.md`).

use crate::commands::{Commands, Error};
use crate::db::{events, maintenance};
use crate::domain::caller::Caller;
use crate::domain::policy::{Rule, allow};

impl Commands {
    /// Switches maintenance on or off, for every process on the store.
    ///
    /// # Errors
    /// 403 by role; the store's.
    pub async fn set_maintenance(
        &self,
        caller: &Caller,
        state: maintenance::Maintenance,
    ) -> Result<(), Error> {
        allow(caller, Rule::Manage)?;
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                maintenance::write(conn, state)?;
                let event = events::Event {
                    project: &caller.project,
                    instance: None,
                    task: None,
                    actor: &caller.user,
                    what: if state.on { "maintenance_on" } else { "maintenance_off" },
                    data: serde_json::json!({"retry_after": state.retry_after}),
                };
                Ok(events::record(conn, &event)?)
            })
            .await
    }
}
