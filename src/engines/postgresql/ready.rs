//! Sessions that are opened before a hold, for what is asked while clients wait.
//!
//! A new session reads the system's tables before its first answer, and plans each question: together more than half of
//! what a hold takes on a small database. So shortly before a hold some sessions are opened, and in those for the
//! [inventory] its questions are prepared and asked once. Nothing but time depends on them: whoever
//! finds none opens one.
//!
//! # If we die here
//! The sessions end with us.

use crate::engines::postgresql::connection::kept::{self, Use};
use crate::engines::postgresql::connection::{Client, OWN_DATABASE};
use crate::engines::postgresql::databases::{in_each, open_databases};
use crate::engines::postgresql::{inventory, sequences};
use crate::engines::{Error, Server};

/// For how many of the tenant's databases; the server keeps few connections for us.
const DATABASES: usize = 2;

/// How many sessions for any question stand ready in our own database, and in each of the tenant's.
const IN_OURS: usize = 4;
const IN_THEIRS: usize = 3;

/// Opens sessions in place of those that stand ready already.
///
/// # Errors
/// The server's.
pub async fn open(server: &Server) -> Result<(), Error> {
    kept::end(server);
    let mut tenants = open_databases(&Client::connect(server).await?).await?;
    // One that only reads is given where they stand, and is not asked.
    if !server.settings.read_only {
        sequences::stand_ready(server, &tenants).await?;
    }
    tenants.truncate(DATABASES);
    let times = |database: &str, times| std::iter::repeat_n(database.to_owned(), times);
    let for_anything: Vec<String> =
        times(OWN_DATABASE, IN_OURS).chain(tenants.iter().flat_map(|of| times(of, IN_THEIRS))).collect();
    let opened = in_each(&for_anything, |database| Client::connect_to(server, database)).await?;
    let prepared = inventory::prepare(server, &tenants).await?;
    let uses = for_anything.into_iter().zip(opened).map(|(of, client)| (of, Use::Anything, client));
    kept::put(server, uses.chain(prepared.into_iter().map(|(of, client)| (of, Use::Inventory, client))));
    Ok(())
}
