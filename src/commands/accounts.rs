//! The account of the host that an instance's servers run as.

use crate::commands::Error;
use crate::db::Conn;
use crate::db::accounts::{self, Taken};
use crate::domain::datastore::{DatastoreVersion, RuntimeKind};
use crate::domain::ids::{HostId, InstanceId};
use crate::domain::refusal::Refusal;

/// Gives the instance an account of its host for its life, where its servers are processes there.
///
/// # Errors
/// [`Refusal::NoRoom`] when every account of the host is some instance's; the operator is told what adds more.
pub fn give(
    conn: &mut Conn,
    host: &HostId,
    instance: InstanceId,
    version: &DatastoreVersion,
) -> Result<(), Error> {
    match version.runtime {
        RuntimeKind::Process => {}
        RuntimeKind::Simulated => return Ok(()),
    }
    match accounts::take(conn, host, instance)? {
        Taken::Account(_) | Taken::NoPool => Ok(()),
        Taken::Exhausted(all) => {
            tracing::warn!(
                host = %host,
                "no account is left for another instance's server, all {all} are in use: \
                 `COFFER_POOL={} make engines` makes more, then start coffer again",
                all * 2
            );
            Err(Refusal::NoRoom(
                "The host has no account left for another instance's server; its operator can make more."
                    .to_owned(),
            )
            .into())
        }
    }
}
