//! The certificate of an instance: made before the first start of one of its servers, and kept for the instance's life.
//!
//! # If we die here
//! What was made and not kept is forgotten; the next makes another. Two at once: the first one kept counts for both.

use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::db::{self, generations, pki as rows};
use crate::domain::datastore::RuntimeKind;
use crate::domain::generation::Generation;
use crate::domain::ids::GenerationId;
use crate::pki;
use crate::workflow::{NoServer, WorkerContext};

impl WorkerContext {
    /// The certificate of the service's own authority, as PEM: what clients hold a server against. Made now if there
    /// is none yet.
    ///
    /// # Errors
    /// [`NoServer::Certificate`], [`NoServer::Seal`] and [`NoServer::Db`].
    pub async fn authority_certificate(&self) -> Result<String, NoServer> {
        Ok(self.authority().await?.certificate)
    }

    async fn authority(&self) -> Result<rows::Authority, NoServer> {
        if let Some(kept) = self.db.run(rows::authority).await.map_err(NoServer::Db)? {
            return Ok(kept);
        }
        let id = Uuid::new_v4();
        let made = pki::authority(&id.to_string()).map_err(NoServer::Certificate)?;
        let key_secret = self
            .sealer
            .seal(&rows::Authority::purpose(id), made.key.expose_secret())
            .map_err(NoServer::Seal)?;
        let new = rows::Authority { id, certificate: made.certificate, key_secret };
        self.db.transact(move |conn| rows::keep_authority(conn, &new)).await.map_err(NoServer::Db)
    }

    /// Makes the certificate of a generation's instance unless it has one.
    ///
    /// # Errors
    /// [`NoServer`].
    pub(super) async fn certify(&self, id: GenerationId) -> Result<(), NoServer> {
        let found = self.db.run(move |conn| generations::find(conn, id)).await.map_err(NoServer::Db)?;
        self.certified(found.ok_or(NoServer::Gone(id))?).await.map(drop)
    }

    /// The generation with its instance's certificate, made now if there is none yet. Without one stay a simulated
    /// server, and one whose instance has given its address back.
    ///
    /// # Errors
    /// [`NoServer`].
    pub(super) async fn certified(&self, generation: Generation) -> Result<Generation, NoServer> {
        if generation.certificate.is_some() || generation.version.runtime == RuntimeKind::Simulated {
            return Ok(generation);
        }
        let (id, instance) = (generation.id, generation.instance);
        let address = self.db.run(move |conn| rows::address(conn, instance)).await.map_err(NoServer::Db)?;
        let Some(address) = address else { return Ok(generation) };
        let ip: IpAddr = address.parse().map_err(|_| {
            NoServer::Db(db::Error::Broken(format!("address {address:?} of instance {instance}")))
        })?;
        let authority = self.authority().await?;
        let key: SecretString = self
            .sealer
            .unseal(&rows::Authority::purpose(authority.id), &authority.key_secret)
            .map_err(NoServer::Seal)?;
        let made = pki::server(&authority.id.to_string(), &key, ip).map_err(NoServer::Certificate)?;
        let key_secret = self
            .sealer
            .seal(&instance.certificate_purpose(), made.key.expose_secret())
            .map_err(NoServer::Seal)?;
        let new = rows::New {
            instance,
            authority: authority.id,
            address,
            certificate: made.certificate,
            key_secret,
        };
        self.db.transact(move |conn| rows::keep_certificate(conn, &new)).await.map_err(NoServer::Db)?;
        tracing::info!(instance.id = %instance, "certificate made");
        let kept = self.db.run(move |conn| generations::find(conn, id)).await.map_err(NoServer::Db)?;
        kept.ok_or(NoServer::Gone(id))
    }
}
