//! Whether the service is in maintenance: one row.

use diesel::prelude::*;

use crate::db::schema::maintenance;
use crate::db::{Conn, Error};

/// Whether the service is in maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Whether everything is refused with 503.
    pub on: bool,
    /// When clients are told to come back, in seconds.
    pub retry_after: u32,
}

impl Maintenance {
    /// As a new service is.
    pub const OFF: Self = Self { on: false, retry_after: 30 };
}

/// Reads it.
///
/// # Errors
/// The store's.
pub fn read(conn: &mut Conn) -> Result<Maintenance, Error> {
    let row = maintenance::table
        .select((maintenance::is_on, maintenance::retry_after))
        .first::<(bool, i32)>(conn)
        .optional()
        .map_err(Error::query("read the maintenance state"))?;
    Ok(row.map_or(Maintenance::OFF, |(on, retry_after)| Maintenance {
        on,
        retry_after: u32::try_from(retry_after).unwrap_or(Maintenance::OFF.retry_after),
    }))
}

/// Writes it.
///
/// # Errors
/// The store's.
pub fn write(conn: &mut Conn, state: Maintenance) -> Result<(), Error> {
    let retry_after = i32::try_from(state.retry_after).unwrap_or(i32::MAX);
    diesel::insert_into(maintenance::table)
        .values((
            maintenance::only_one.eq(true),
            maintenance::is_on.eq(state.on),
            maintenance::retry_after.eq(retry_after),
        ))
        .on_conflict(maintenance::only_one)
        .do_update()
        .set((
            maintenance::is_on.eq(state.on),
            maintenance::retry_after.eq(retry_after),
            maintenance::updated_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .map(|_| ())
        .map_err(Error::query("write the maintenance state"))
}
