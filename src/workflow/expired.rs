//! The end of servers that nobody keeps any more.

use crate::db::{self, generations};
use crate::domain::generation::Role;
use crate::domain::ids::InstanceId;
use crate::workflow::{WorkerContext, chain};

/// What is left of retired generations whose time is over goes, and of candidates that an ended task left: their data,
/// then their rows' role.
///
/// # Errors
/// The store's; a server that cannot be dropped is tried again at the next look.
pub async fn drop_expired(worker: &WorkerContext) -> Result<(), db::Error> {
    let host = worker.host.clone();
    for generation in worker.db.run(move |conn| generations::expired(conn, &host)).await? {
        let (id, instance): (_, InstanceId) = (generation.id, generation.instance);
        let _turn = worker.turn(id).await;
        let dropped = match worker.server(&generation) {
            Ok((engine, server)) => engine.drop_data(&server).await.map_err(|error| chain(&error)),
            Err(error) => Err(chain(&error)),
        };
        match dropped {
            Ok(()) => {
                worker.db.transact(move |conn| generations::set_role(conn, id, Role::Dropped)).await?;
                worker.forget_turn(id);
                tracing::info!(generation.id = %id, instance.id = %instance, "the data of a server that is not kept any more is gone");
            }
            Err(error) => {
                tracing::warn!(generation.id = %id, error, "the data of a server that is not kept any more could not be deleted");
            }
        }
    }
    Ok(())
}
