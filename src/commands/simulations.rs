//! What an operator asks of a simulated instance's steps.

use std::time::Duration;

use crate::commands::instances::{note, visible};
use crate::commands::{Commands, Error};
use crate::db::{instances, simulations};
use crate::domain::caller::Caller;
use crate::domain::datastore::RuntimeKind;
use crate::domain::ids::InstanceId;
use crate::domain::instance::Instance;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::simulation::{ACCEPT, Simulated};

impl Commands {
    /// Asks this of the instance's steps, and nothing else any more. Each is a step's word, or [`ACCEPT`].
    ///
    /// # Errors
    /// A refusal: 403 by role, 404, 422 for an instance with real servers.
    pub async fn simulate(
        &self,
        caller: &Caller,
        id: InstanceId,
        steps: Vec<(String, Simulated)>,
    ) -> Result<(), Error> {
        allow(caller, Rule::Manage)?;
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let instance = simulated(visible(instances::lock(conn, id)?, &caller, id)?)?;
                simulations::replace(conn, id, &steps)?;
                note(conn, &caller, &instance, None, "simulation_set")
            })
            .await
    }

    /// Fails if the acceptance of the next upgrade was to fail; that holds once.
    ///
    /// # Errors
    /// [`Error::Simulated`]; the store's.
    pub(super) async fn simulated_acceptance(&self, source: &Instance) -> Result<(), Error> {
        if source.wanted.runtime != RuntimeKind::Simulated {
            return Ok(());
        }
        let id = source.id;
        let asked: Result<_, Error> =
            self.db.transact(move |conn| Ok(simulations::take(conn, id, ACCEPT)?)).await;
        let Some(asked) = asked? else { return Ok(()) };
        tokio::time::sleep(Duration::from_millis(asked.ms.into())).await;
        match asked.fault {
            Some(_) => Err(Error::Simulated),
            None => Ok(()),
        }
    }
}

/// The instance, if its servers are simulated.
///
/// # Errors
/// [`Refusal::NotSimulated`].
pub fn simulated(instance: Instance) -> Result<Instance, Refusal> {
    if instance.wanted.runtime == RuntimeKind::Simulated {
        Ok(instance)
    } else {
        Err(Refusal::NotSimulated(instance.id))
    }
}
