//! Asking for an operation: a row in the request's transaction, and a while of waiting for what becomes of it.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::commands::instances::visible;
use crate::commands::{Commands, Error};
use crate::db::notices::Channel;
use crate::db::{self, events, instances, operations};
use crate::domain::caller::Caller;
use crate::domain::ids::{InstanceId, OperationId};
use crate::domain::operation::{MOST_WAITING, Operation, Outcome, accepts_operations};
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::seal;

/// How long a request waits for what becomes of its operation.
const PATIENCE: Duration = Duration::from_secs(5);

/// A new random password.
pub fn new_password() -> SecretString {
    seal::random_password()
}

impl Commands {
    /// Accepts an operation, and waits up to 5 s for its end. An operation that is not over then is done all the same.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role, 422 for an instance that serves nobody or that follows another one, 413 when too many
    /// wait, and the server's own while it is waited for; the store's.
    pub async fn operate(&self, caller: &Caller, id: InstanceId, operation: &Operation) -> Result<(), Error> {
        let operation_id = OperationId(Uuid::now_v7());
        let plain = serde_json::to_string(operation)
            .map(Zeroizing::new)
            .map_err(|e| Error::Inconsistent(format!("operation: {e}")))?;
        let payload = self.sealer.seal(&operation_id.payload_purpose(), &plain).map_err(Error::Seal)?;
        let (caller, kind) = (caller.clone(), operation.word());
        let accepted = self
            .db
            .transact(move |conn| {
                let instance = visible(instances::lock(conn, id)?, &caller, id)?;
                allow(&caller, Rule::ContentChange)?;
                accepts_operations(&instance)?;
                if operations::waiting_of(conn, id)? >= MOST_WAITING {
                    return Err(Error::from(Refusal::TooManyOperations(id)));
                }
                operations::accept(conn, operation_id, id, kind, &payload)?;
                events::record(
                    conn,
                    &events::Event {
                        project: &instance.project,
                        instance: Some(id),
                        task: None,
                        actor: &caller.user,
                        what: kind,
                        data: serde_json::json!({"operation": operation_id.to_string()}),
                    },
                )?;
                Ok(())
            })
            .await;
        self.heard_of(
            move |conn| operations::outcome(conn, operation_id).map(|found| found.map(|_| ())),
            accepted,
        )
        .await?;
        tracing::info!(operation.id = %operation_id, instance.id = %id, kind, "operation accepted");
        self.await_operation(operation_id).await
    }

    /// Waits for what becomes of an operation that is accepted: an error only where its server has refused it.
    pub(super) async fn await_operation(&self, id: OperationId) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: Result<_, db::Error> = self.db.run(move |conn| operations::outcome(conn, id)).await;
            match found {
                Ok(Some(Outcome::Refused(refused))) => return Err(Refusal::Operation(refused).into()),
                Ok(Some(Outcome::Done | Outcome::Gone) | None) => return Ok(()),
                // It is accepted, whatever can be read of it now.
                Ok(Some(Outcome::Open)) | Err(_) if Instant::now() >= deadline => return Ok(()),
                Ok(Some(Outcome::Open)) | Err(_) => {
                    self.notices.wait(Channel::Answers, Duration::from_millis(250)).await;
                }
            }
        }
    }
}
