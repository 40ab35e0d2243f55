//! What is asked of the steps of simulated instances.

use diesel::prelude::*;

use crate::db::schema::simulations;
use crate::db::{Conn, Error};
use crate::domain::ids::InstanceId;
pub use crate::domain::simulation::{Simulated, SimulatedFault};

fn into_domain(ms: i32, fault: Option<String>) -> Result<Simulated, Error> {
    Ok(Simulated {
        ms: u32::try_from(ms).map_err(|_| Error::Broken("ms of a simulation".to_owned()))?,
        fault: fault.map(|word| word.parse()).transpose()?,
    })
}

/// What is asked of a step of the instance, by the step's word.
///
/// # Errors
/// The store's.
pub fn for_step(conn: &mut Conn, instance: InstanceId, step: &str) -> Result<Option<Simulated>, Error> {
    simulations::table
        .find((instance.0, step))
        .select((simulations::ms, simulations::fault))
        .first::<(i32, Option<String>)>(conn)
        .optional()
        .map_err(Error::query("read a simulation"))?
        .map(|(ms, fault)| into_domain(ms, fault))
        .transpose()
}

/// Takes what is asked of a step away: it holds once.
///
/// # Errors
/// The store's.
pub fn take(conn: &mut Conn, instance: InstanceId, step: &str) -> Result<Option<Simulated>, Error> {
    diesel::delete(simulations::table.find((instance.0, step)))
        .returning((simulations::ms, simulations::fault))
        .get_result::<(i32, Option<String>)>(conn)
        .optional()
        .map_err(Error::query("take a simulation"))?
        .map(|(ms, fault)| into_domain(ms, fault))
        .transpose()
}

/// Everything that is asked of the instance's steps, by word.
///
/// # Errors
/// The store's.
pub fn of_instance(conn: &mut Conn, instance: InstanceId) -> Result<Vec<(String, Simulated)>, Error> {
    simulations::table
        .filter(simulations::instance_id.eq(instance.0))
        .order(simulations::step)
        .select((simulations::step, simulations::ms, simulations::fault))
        .load::<(String, i32, Option<String>)>(conn)
        .map_err(Error::query("read the simulations of an instance"))?
        .into_iter()
        .map(|(step, ms, fault)| Ok((step, into_domain(ms, fault)?)))
        .collect()
}

/// Asks this of the instance's steps, and nothing else any more.
///
/// # Errors
/// The store's.
pub fn replace(conn: &mut Conn, instance: InstanceId, steps: &[(String, Simulated)]) -> Result<(), Error> {
    diesel::delete(simulations::table.filter(simulations::instance_id.eq(instance.0)))
        .execute(conn)
        .map_err(Error::query("forget the simulations of an instance"))?;
    for (step, asked) in steps {
        diesel::insert_into(simulations::table)
            .values((
                simulations::instance_id.eq(instance.0),
                simulations::step.eq(step),
                simulations::ms.eq(i32::try_from(asked.ms).unwrap_or(i32::MAX)),
                simulations::fault.eq(asked.fault.map(SimulatedFault::as_str)),
            ))
            .execute(conn)
            .map_err(Error::query("ask for a simulation"))?;
    }
    Ok(())
}
