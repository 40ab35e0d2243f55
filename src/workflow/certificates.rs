//! The certificate of an instance: made before the first start of one of its servers, the same for every later one, and made
//! anew before its end, or once another authority signs.
//!
//! Whoever looks after the host's servers renews the certificates of those that serve, and has servers show what their rows
//! say, without a restart. Neither happens while a task has the instance: its servers hold each other against what they were
//! started with.
//!
//! # If we die here
//! What was made and not kept is forgotten; the next makes another. Two at once: the first one kept counts for both, since the
//! row is changed only where it is still the one that was read. Dead between the row and the server, the server shows the
//! certificate that it had, which is good for [`AHEAD`] still; the next worker does not know what the server shows, and has it
//! read its row's at its first look. Every start writes the row's.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::db::{self, events, generations, instances, pki as rows, tasks};
use crate::domain::datastore::RuntimeKind;
use crate::domain::generation::{Certificate, Generation, Role};
use crate::domain::ids::{GenerationId, InstanceId};
use crate::pki;
use crate::workflow::{NoServer, WORKER, WorkerContext, chain};

/// How long before its end a certificate is made anew.
const AHEAD: TimeDelta = TimeDelta::days(60);

/// What is remembered of a server's certificate.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// The end of the one that was read last, by its mark.
    read: Option<(u64, DateTime<Utc>)>,
    /// The mark of what the server shows; `None` while that is not known.
    shown: Option<u64>,
    /// Whether it is to be made anew, and was not yet.
    pub is_due: bool,
}

/// Tells certificates apart.
fn mark(texts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

impl Memory {
    /// Until when a certificate is good. One that cannot be read is at its end.
    fn end(&mut self, certificate: &str) -> DateTime<Utc> {
        let mark = mark(&[certificate]);
        match self.read {
            Some((read, until)) if read == mark => until,
            _ => {
                let until = pki::describe(certificate).map_or(DateTime::UNIX_EPOCH, |it| it.until);
                self.read = Some((mark, until));
                until
            }
        }
    }
}

/// Renews the certificate of a server that serves, when it is time, and has a server show what its row says.
pub async fn look(worker: &WorkerContext, generation: &Generation, memory: &mut Memory) {
    let Some(certificate) = &generation.certificate else { return };
    let is_near = memory.end(&certificate.certificate) < Utc::now() + AHEAD;
    memory.is_due = generation.role == Role::Serving && (is_near || !certificate.is_current);
    if memory.is_due {
        match renew(worker, generation, certificate).await {
            // It is shown at the next look, by its row.
            Ok(true) => {
                memory.is_due = false;
                memory.shown = None;
                return;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(instance.id = %generation.instance, error, "a certificate was not made anew");
            }
        }
    }
    let wanted = mark(&[&certificate.certificate, &certificate.authority]);
    if memory.shown.is_none() && !certificate.was_changed {
        memory.shown = Some(wanted);
    }
    if memory.shown != Some(wanted) {
        match show(worker, generation.id).await {
            Ok(shown) => memory.shown = shown,
            Err(error) => {
                tracing::debug!(generation.id = %generation.id, error, "a server does not show its certificate yet");
            }
        }
    }
}

/// Makes an instance's certificate anew. Not while a task has it.
async fn renew(worker: &WorkerContext, generation: &Generation, old: &Certificate) -> Result<bool, String> {
    let instance = generation.instance;
    let is_claimed = worker.db.run(move |conn| tasks::is_claimed(conn, instance)).await;
    if is_claimed.map_err(|error: db::Error| chain(&error))? {
        return Ok(false);
    }
    let Some(new) = worker.signed(instance).await.map_err(|error| chain(&error))? else { return Ok(false) };
    let until = pki::describe(&new.certificate).map_err(|error| chain(&error))?.until;
    let was = old.certificate.clone();
    let renewed: Result<bool, db::Error> = worker
        .db
        .transact(move |conn| {
            // The instance first, as whoever claims it does.
            let Some(found) = instances::lock(conn, instance)? else { return Ok(false) };
            if tasks::is_claimed(conn, instance)? || !rows::replace_certificate(conn, &new, &was)? {
                return Ok(false);
            }
            events::record(
                conn,
                &events::Event {
                    project: &found.project,
                    instance: Some(instance),
                    task: None,
                    actor: WORKER,
                    what: "certificate_renewed",
                    data: serde_json::json!({"until": until}),
                },
            )?;
            Ok(true)
        })
        .await;
    let renewed = renewed.map_err(|error| chain(&error))?;
    if renewed {
        tracing::info!(instance.id = %instance, %until, "certificate renewed");
    }
    Ok(renewed)
}

/// Has a server show what its row says. Gives the mark of that; `None` where a task has the instance, or it shall not run.
async fn show(worker: &WorkerContext, id: GenerationId) -> Result<Option<u64>, String> {
    // A task's steps that start, stop or fence the server have its turn, too: what is written is what its row says.
    let _turn = worker.turn(id).await;
    let found = worker
        .db
        .run(move |conn| {
            let Some(found) = generations::find(conn, id)? else { return Ok(None) };
            let is_claimed = tasks::is_claimed(conn, found.instance)?;
            Ok(Some(found).filter(|found| found.wanted_running && !is_claimed))
        })
        .await
        .map_err(|error: db::Error| chain(&error))?;
    let Some(found) = found else { return Ok(None) };
    let Some(certificate) = &found.certificate else { return Ok(None) };
    let (engine, server) = worker.server(&found).map_err(|error| chain(&error))?;
    engine.show_certificate(&server).await.map_err(|error| chain(&error))?;
    tracing::info!(generation.id = %id, "the server shows its certificate as its row has it");
    Ok(Some(mark(&[&certificate.certificate, &certificate.authority])))
}

impl WorkerContext {
    /// The certificates of the service's own authorities, as PEM: what clients hold a server against. One is made now if
    /// there is none yet.
    ///
    /// # Errors
    /// [`NoServer::Certificate`], [`NoServer::Seal`] and [`NoServer::Db`].
    pub async fn authority_certificates(&self) -> Result<String, NoServer> {
        self.authority().await?;
        let all = self.db.run(rows::list).await.map_err(NoServer::Db)?;
        Ok(all.iter().map(|authority| authority.certificate.as_str()).collect())
    }

    /// The one that signs.
    async fn authority(&self) -> Result<rows::Authority, NoServer> {
        if let Some(kept) = self.db.run(rows::signing).await.map_err(NoServer::Db)? {
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
        let Some(new) = self.signed(instance).await? else { return Ok(generation) };
        self.db.transact(move |conn| rows::keep_certificate(conn, &new)).await.map_err(NoServer::Db)?;
        tracing::info!(instance.id = %instance, "certificate made");
        let kept = self.db.run(move |conn| generations::find(conn, id)).await.map_err(NoServer::Db)?;
        kept.ok_or(NoServer::Gone(id))
    }

    /// A new certificate of an instance, not kept yet; `None` where the instance has no address.
    async fn signed(&self, instance: InstanceId) -> Result<Option<rows::New>, NoServer> {
        let address = self.db.run(move |conn| rows::address(conn, instance)).await.map_err(NoServer::Db)?;
        let Some(address) = address else { return Ok(None) };
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
        Ok(Some(rows::New {
            instance,
            authority: authority.id,
            address,
            certificate: made.certificate,
            key_secret,
        }))
    }
}
