//! A task waits for a look at its instance to be over: a look has accounts of its own on the server.

use std::time::Duration;

use tokio::time::Instant;

use crate::db::{self, looks};
use crate::domain::ids::InstanceId;
use crate::workflow::WorkerContext;

/// How long a task waits for a look to be over.
const UNLOOKED_WITHIN: Duration = Duration::from_secs(120);

/// How long a task has definitions tried on an empty server: what is found later is undone later.
pub(super) const TRIAL_OF_A_TASK: Duration = Duration::from_secs(60);

/// Waits until nobody looks at an instance that a task has: no look begins any more.
///
/// # Errors
/// The store's.
pub async fn until_unlooked(worker: &WorkerContext, instance: InstanceId) -> Result<(), db::Error> {
    let deadline = Instant::now() + UNLOOKED_WITHIN;
    while worker.db.run(move |conn| looks::is_at(conn, instance)).await? {
        if Instant::now() >= deadline {
            tracing::warn!(instance.id = %instance, "an instance is looked at for long, the task goes on");
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
