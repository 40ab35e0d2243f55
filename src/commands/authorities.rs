//! The authorities that sign servers' certificates, as an operator has them follow one another from a terminal.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::commands::Error;
use crate::db::{self, Conn, Db, events, pki as rows};
use crate::domain::authority::AuthorityState;
use crate::domain::caller::Caller;
use crate::domain::policy::{Rule, allow};
use crate::domain::refusal::Refusal;
use crate::pki;
use crate::seal::Sealer;

/// Instances that a refusal names, of those that stand in the way.
const NAMED: i64 = 5;

/// An authority.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its id.
    pub id: Uuid,
    /// What it is to the service.
    pub state: AuthorityState,
    /// Until when it is good.
    pub until: DateTime<Utc>,
    /// How many instances have a certificate that it signed.
    pub instances: i64,
}

/// Every authority: the one that signs first.
///
/// # Errors
/// The store's.
pub async fn list(db: &Db) -> Result<Vec<Authority>, Error> {
    let found = db.run(rows::list).await?;
    found.into_iter().map(|row| Ok(authority(row)?)).collect()
}

fn authority(row: rows::Listed) -> Result<Authority, db::Error> {
    let until = pki::describe(&row.certificate)
        .map_err(|error| db::Error::Broken(format!("the certificate of authority {}: {error}", row.id)))?
        .until;
    Ok(Authority { id: row.id, state: row.state.parse()?, until, instances: row.instances })
}

/// Makes an authority and announces it: clients are given its certificate beside that of the one that signs.
///
/// # Errors
/// A refusal: 403 by role, 400 where one is announced already; the store's.
pub async fn announce(db: &Db, caller: &Caller, sealer: &Sealer) -> Result<(), Error> {
    allow(caller, Rule::Manage)?;
    let inconsistent = |error: String| Error::Inconsistent(format!("make an authority: {error}"));
    let id = Uuid::new_v4();
    let made = pki::authority(&id.to_string()).map_err(|error| inconsistent(error.to_string()))?;
    let key_secret = sealer
        .seal(&rows::Authority::purpose(id), made.key.expose_secret())
        .map_err(|error| inconsistent(error.to_string()))?;
    let new = rows::Authority { id, certificate: made.certificate, key_secret };
    let caller = caller.clone();
    db.transact(move |conn| {
        if rows::signing(conn)?.is_none() {
            let text = "No authority signs yet: the first worker makes one when it starts.";
            return Err(Refusal::Invalid(text.to_owned()).into());
        }
        if !rows::announce(conn, &new)? {
            let text = "An authority is announced already: have it sign with `coffer admin ca sign`, once clients have the \
                        service's certificates.";
            return Err(Refusal::Invalid(text.to_owned()).into());
        }
        note(conn, &caller, id, "authority_announced")
    })
    .await
}

/// Has the announced authority sign from now on: the workers renew every certificate.
///
/// # Errors
/// A refusal: 403 by role, 400 where none is announced; the store's.
pub async fn sign(db: &Db, caller: &Caller) -> Result<(), Error> {
    allow(caller, Rule::Manage)?;
    let caller = caller.clone();
    db.transact(move |conn| {
        if !rows::have_announced_sign(conn)? {
            let text = "No authority is announced: make one with `coffer admin ca rotate` first, and give clients time to have it.";
            return Err(Refusal::Invalid(text.to_owned()).into());
        }
        let now = rows::signing(conn)?.ok_or_else(|| db::Error::Broken("no authority signs".to_owned()))?;
        note(conn, &caller, now.id, "authority_signs")
    })
    .await
}

/// Forgets the old authorities, so that clients are not given them any more.
///
/// # Errors
/// A refusal: 403 by role, 400 where instances have a certificate of theirs still; the store's.
pub async fn retire(db: &Db, caller: &Caller) -> Result<usize, Error> {
    allow(caller, Rule::Manage)?;
    let caller = caller.clone();
    db.transact(move |conn| {
        let old: Vec<rows::Listed> = rows::list(conn)?
            .into_iter()
            .filter(|authority| authority.state == AuthorityState::Old.as_str())
            .collect();
        let instances: i64 = old.iter().map(|authority| authority.instances).sum();
        if instances > 0 {
            let mut some: Vec<String> =
                rows::have_old(conn, NAMED)?.iter().map(ToString::to_string).collect();
            if instances > NAMED {
                some.push("...".to_owned());
            }
            let text = format!(
                "Instances that have a certificate of the old authority still: {instances} ({}). Each gets another within \
                 seconds while a worker of its host is up, or when the task ends that has it. Try again then; \
                 `coffer admin ca show` counts them.",
                some.join(", ")
            );
            return Err(Refusal::Invalid(text).into());
        }
        let retired = rows::retire(conn)?;
        for authority in &old {
            note(conn, &caller, authority.id, "authority_retired")?;
        }
        Ok(retired)
    })
    .await
}

fn note(conn: &mut Conn, caller: &Caller, id: Uuid, what: &str) -> Result<(), Error> {
    let event = events::Event {
        project: &caller.project,
        instance: None,
        task: None,
        actor: &caller.user,
        what,
        data: serde_json::json!({"authority": id}),
    };
    Ok(events::record(conn, &event)?)
}
