//! The certificate of an instance: made before the first start of one of its servers, kept for every later one, and renewed
//! before its end, or once another authority signs.
//!
//! Whoever looks after the host's servers renews the certificates of those that serve, and has servers show what their rows
//! say, without a restart. Neither happens while a task has the instance: its servers hold each other against what they were
//! started with.
//!
//! # Decision
//! When a certificate ends is read from it, and remembered until there is another one: a column beside it could disagree, and
//! those that were made for 20 years need none. What a server shows is remembered by whoever had it read that, and is not
//! looked for in its files: a start that meets a server which runs writes them, and the server reads nothing then.
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
use crate::testing;
use crate::workflow::{NoServer, WORKER, WorkerContext, chain};

/// How long before its end a certificate is renewed.
const AHEAD: TimeDelta = TimeDelta::days(60);

/// Looks in a row that fail before it is told, since servers come and go; and how often it is told again.
const TOLD_AFTER: u32 = 3;
const TOLD_EVERY: u32 = 150;

/// When certificates end. One that cannot be read is at its end.
#[derive(Clone, Copy)]
pub struct Ends {
    /// The server's.
    pub server: DateTime<Utc>,
    /// That of the authority that signs.
    pub authority: DateTime<Utc>,
}

/// What is remembered of a server's certificate.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// The ends of those that were read last, by their mark.
    read: Option<(u64, Ends)>,
    /// The mark of what the server shows; `None` while that is not known.
    shown: Option<u64>,
    /// Looks in a row that failed.
    failures: u32,
    /// Whether it is to be renewed, or to be loaded, and was not yet.
    pub is_due: bool,
}

/// Tells a certificate, and the authorities beside it, from others.
fn mark(of: &Certificate) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&of.certificate, &of.authority).hash(&mut hasher);
    hasher.finish()
}

impl Memory {
    /// When the certificates end that were read last.
    pub fn ends(&self) -> Option<Ends> {
        self.read.map(|(_, ends)| ends)
    }

    fn read(&mut self, certificate: &Certificate) -> Ends {
        let mark = mark(certificate);
        match self.read {
            Some((read, ends)) if read == mark => ends,
            _ => {
                let end = |pem: &str| pki::describe(pem).map_or(DateTime::UNIX_EPOCH, |it| it.until);
                // The first one of several is that of the authority that signs.
                let ends =
                    Ends { server: end(&certificate.certificate), authority: end(&certificate.authority) };
                self.read = Some((mark, ends));
                ends
            }
        }
    }

    fn tell(&mut self, generation: &Generation, trouble: Option<&str>) {
        let Some(trouble) = trouble else {
            self.failures = 0;
            return;
        };
        self.failures = self.failures.saturating_add(1);
        let (id, instance, failures) = (generation.id, generation.instance, self.failures);
        if failures == TOLD_AFTER || failures.is_multiple_of(TOLD_EVERY) {
            tracing::warn!(generation.id = %id, instance.id = %instance, failures, trouble, "a certificate is not renewed or not loaded");
        } else {
            tracing::debug!(generation.id = %id, instance.id = %instance, failures, trouble, "a certificate is not renewed or not loaded yet");
        }
    }
}

/// Renews the certificate of a server that serves, when it is time, and has a server that `is_up` show what its row says. One
/// that is not up has its row renewed all the same: its next start shows it, and the old authority need not stay for it.
pub async fn look(worker: &WorkerContext, generation: &Generation, memory: &mut Memory, is_up: bool) {
    let Some(certificate) = &generation.certificate else { return };
    let serves = generation.role == Role::Serving;
    let wanted = mark(certificate);
    let is_near = memory.read(certificate).server < Utc::now() + AHEAD;
    if memory.shown.is_none() && !certificate.was_changed {
        memory.shown = Some(wanted);
    }
    let mut is_old = serves && (is_near || !certificate.is_current);
    let mut is_shown = memory.shown == Some(wanted);
    let done = async {
        // A task's step may have the server's turn for long, and is not waited for.
        let is_well = !is_old && (is_shown || !is_up);
        if is_well || is_claimed(worker, generation.instance).await? {
            return Ok(());
        }
        if is_old && renew(worker, generation, certificate).await? {
            (is_old, is_shown) = (false, false);
            testing::pause(|| format!("certificate.renewed.{}", generation.instance)).await;
        }
        if is_up && !is_shown {
            memory.shown = show(worker, generation.id).await?;
            is_shown = memory.shown.is_some();
        }
        Ok::<(), String>(())
    };
    let done = done.await;
    memory.is_due = serves && (is_old || (is_up && !is_shown));
    memory.tell(generation, done.err().as_deref());
}

/// Whether a task has the instance.
async fn is_claimed(worker: &WorkerContext, instance: InstanceId) -> Result<bool, String> {
    let is_claimed = worker.db.run(move |conn| tasks::is_claimed(conn, instance)).await;
    is_claimed.map_err(|error: db::Error| chain(&error))
}

/// Renews an instance's certificate. Not while a task has it.
async fn renew(worker: &WorkerContext, generation: &Generation, old: &Certificate) -> Result<bool, String> {
    let instance = generation.instance;
    testing::pause(|| format!("certificate.due.{instance}")).await;
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
    Ok(Some(mark(certificate)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_of_the_certificate_and_of_who_signs() {
        let [signs, old] = ["signs", "old"].map(|id| pki::authority(id).unwrap());
        let made = pki::server("signs", &signs.key, "127.64.0.1".parse().unwrap()).unwrap();
        let mut certificate = Certificate {
            address: "127.64.0.1".to_owned(),
            certificate: made.certificate,
            key_secret: String::new(),
            authority: signs.certificate.clone() + &old.certificate,
            is_current: true,
            was_changed: false,
        };
        let mut memory = Memory::default();
        assert!(memory.ends().is_none());
        let first = memory.read(&certificate);
        let end = |pem: &str| pki::describe(pem).unwrap().until;
        assert_eq!((first.server, first.authority), (end(&certificate.certificate), end(&signs.certificate)));
        assert!(first.server > Utc::now() + AHEAD);

        // Another one is read again; what cannot be read is at its end.
        let before = mark(&certificate);
        certificate.certificate = "nonsense".to_owned();
        assert_ne!(mark(&certificate), before);
        assert_eq!(memory.read(&certificate).server, DateTime::UNIX_EPOCH);
        assert_eq!(memory.ends().map(|ends| ends.authority), Some(first.authority));
    }
}
