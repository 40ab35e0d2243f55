//! Access keys: made, listed, disabled and rotated by operators. A secret is given once, by what made it.

use secrecy::{ExposeSecret as _, SecretString};

use crate::commands::Error;
use crate::db::{Db, access_keys};
use crate::domain::access_key::{AccessKey, LONGEST_OVERLAP};
use crate::domain::caller::Level;
use crate::domain::ids::ProjectId;
use crate::domain::refusal::Refusal;
use crate::seal::{Sealer, random_password};

/// Whose key it shall be.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's id: what a token of the user would name.
    pub user: String,
    /// The project's id.
    pub project: ProjectId,
    /// The user's roles there.
    pub roles: Vec<String>,
}

/// What an access key's id is made of: letters and digits that are hard to mistake for others.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

fn new_id() -> String {
    let bytes: [u8; 20] = rand::random();
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    format!("CFR{}", bytes.iter().map(letter).collect::<String>())
}

fn checked(account: &Account) -> Result<(), Refusal> {
    let is_name =
        |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_name(&account.user) {
        return Err(Refusal::invalid("user", "must be 1 to 64 visible characters"));
    }
    if account.roles.is_empty() || account.roles.len() > 20 || !account.roles.iter().all(|role| is_name(role))
    {
        return Err(Refusal::invalid("roles", "must be 1 to 20 names of 1 to 64 visible characters"));
    }
    if Level::of_roles(&account.roles).is_none() {
        return Err(Refusal::invalid(
            "roles",
            "must have one that allows something: reader, member or admin",
        ));
    }
    Ok(())
}

/// Makes a key, and gives it with its secret.
///
/// # Errors
/// A refusal: 400.
pub async fn create(db: &Db, sealer: &Sealer, account: Account) -> Result<(AccessKey, SecretString), Error> {
    checked(&account)?;
    let (id, secret) = (new_id(), random_password());
    let sealed = sealer.seal(&AccessKey::purpose(&id), secret.expose_secret()).map_err(Error::Seal)?;
    let key = db
        .transact(move |conn| {
            let of = (&*account.user, &account.project, &*account.roles);
            access_keys::insert(conn, &id, of, &sealed, false)?;
            found(access_keys::find(conn, &id)?, &id)
        })
        .await?;
    Ok((key, secret))
}

/// The key that the service keeps for an account of the built-in identity, made where there is none; `None` when an
/// operator has disabled it.
///
/// # Errors
/// The store's; a secret that does not open.
pub async fn built_in(
    db: &Db,
    sealer: &Sealer,
    account: Account,
) -> Result<Option<(AccessKey, SecretString)>, Error> {
    checked(&account)?;
    let id = new_id();
    let sealed =
        sealer.seal(&AccessKey::purpose(&id), random_password().expose_secret()).map_err(Error::Seal)?;
    let kept = db
        .transact(move |conn| {
            let of = (&*account.user, &account.project, &*account.roles);
            access_keys::insert(conn, &id, of, &sealed, true)?;
            let kept = access_keys::built_in(conn, &account.user, &account.project)?;
            kept.ok_or_else(|| Error::Inconsistent("an access key that was made is not there".to_owned()))
        })
        .await?;
    if !kept.key.enabled {
        return Ok(None);
    }
    let secret = sealer.unseal(&AccessKey::purpose(&kept.key.id), &kept.secret).map_err(Error::Seal)?;
    Ok(Some((kept.key, secret)))
}

/// Every key, without its secret.
///
/// # Errors
/// The store's.
pub async fn list(db: &Db) -> Result<Vec<AccessKey>, Error> {
    db.run(|conn| Ok(access_keys::all(conn)?)).await
}

/// Disables a key, or enables it again: from now on, whoever serves.
///
/// # Errors
/// A refusal: 404.
pub async fn enable(db: &Db, id: &str, enabled: bool) -> Result<AccessKey, Error> {
    let id = id.to_owned();
    db.transact(move |conn| {
        access_keys::enable(conn, &id, enabled)?;
        found(access_keys::find(conn, &id)?, &id)
    })
    .await
}

/// Gives a key another secret. The one that it has holds for `overlap_hours` more, so that clients can be changed one
/// after the other.
///
/// # Errors
/// A refusal: 400 for more than a week, 404.
pub async fn rotate(
    db: &Db,
    sealer: &Sealer,
    id: &str,
    overlap_hours: u32,
) -> Result<(AccessKey, SecretString), Error> {
    if overlap_hours > LONGEST_OVERLAP {
        return Err(Refusal::invalid("overlap_hours", "must be 0 to 168").into());
    }
    let (id, secret) = (id.to_owned(), random_password());
    let sealed = sealer.seal(&AccessKey::purpose(&id), secret.expose_secret()).map_err(Error::Seal)?;
    let key = db
        .transact(move |conn| {
            access_keys::rotate(conn, &id, &sealed, overlap_hours)?;
            found(access_keys::find(conn, &id)?, &id)
        })
        .await?;
    Ok((key, secret))
}

fn found(sealed: Option<access_keys::Sealed>, id: &str) -> Result<AccessKey, Error> {
    sealed
        .map(|sealed| sealed.key)
        .ok_or_else(|| Refusal::NotFound { what: format!("access key {id}") }.into())
}
