//! Requiring TLS of an instance's clients.
//!
//! TLS ends in the server, which has a certificate of the service's authority from its birth. What can be changed is whether a
//! client may come in the clear: its address lets it in or not, at the endpoint, and no server is touched.

use crate::commands::instances::{note, visible};
use crate::commands::{Commands, Error};
use crate::db::{self, Conn, endpoints, instances, pki as rows};
use crate::domain::caller::Caller;
use crate::domain::ids::InstanceId;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::domain::replica_upgrade::free_for_action;
use crate::pki::{self, Described};

/// How an instance's clients are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsState {
    /// Whether clients that do not ask for TLS are turned away.
    pub required: bool,
    /// The certificate of its servers; `None` until its first server is made, and for a simulated one.
    pub certificate: Option<Certificate>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What it says of itself.
    pub described: Described,
    /// It whole, as PEM.
    pub pem: String,
}

fn state(conn: &mut Conn, id: InstanceId) -> Result<TlsState, Error> {
    let rows::Tls { required, certificate } = rows::tls(conn, id)?;
    let certificate = match certificate {
        Some(pem) => {
            let described = pki::describe(&pem)
                .map_err(|e| db::Error::Broken(format!("the certificate of instance {id}: {e}")))?;
            Some(Certificate { described, pem })
        }
        None => None,
    };
    Ok(TlsState { required, certificate })
}

impl Commands {
    /// How an instance's clients are encrypted.
    ///
    /// # Errors
    /// The store's.
    pub async fn tls(&self, id: InstanceId) -> Result<TlsState, Error> {
        self.db.run(move |conn| state(conn, id)).await
    }

    /// Has an instance's address let in only clients that ask for TLS first, or everybody again. The endpoint has it in force
    /// within a second; open connections in the clear are ended then.
    ///
    /// # Errors
    /// A refusal: 404, 403 by role; 400 for a replica; 422 for a busy instance and for a member of a group; the store's.
    pub async fn require_tls(
        &self,
        caller: &Caller,
        id: InstanceId,
        required: bool,
    ) -> Result<TlsState, Error> {
        let caller = caller.clone();
        self.db
            .transact(move |conn| {
                let instance = visible(instances::lock(conn, id)?, &caller, id)?;
                allow(&caller, Rule::InstanceUpdate)?;
                instance.alone()?;
                if instance.replica_of.is_some() {
                    let text = "An instance that replicates from another takes no change of its TLS state: detach it first.";
                    return Err(Refusal::Invalid(text.to_owned()).into());
                }
                free_for_action(&instance, false)?;
                endpoints::require_tls(conn, id, required)?;
                instances::save(conn, &instance)?;
                note(conn, &caller, &instance, None, if required { "tls_required" } else { "tls_not_required" })?;
                state(conn, id)
            })
            .await
    }
}
