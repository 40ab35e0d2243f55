//! The built-in identity of `coffer dev`: four users in three projects, made at the first start of a state folder
//! and kept in it (api-ref: `identity-dev.md`).
//!
//! # Decision
//! The passwords are kept in clear, in a file of mode 0600. They were made by us at random for this folder and stand
//! in `clouds.yaml` beside it, in the same mode, because the clients need them there; a hash in one of the two would
//! protect nothing. What would change our mind: users who choose their own passwords.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::{Zeroize as _, Zeroizing};

use crate::auth::tokens::{self, Claims, TokenKeys};
use crate::auth::{self, Authenticator};
use crate::domain::caller::{Caller, Level};
use crate::domain::ids::ProjectId;
use crate::seal::random_password;

/// The region of everything in the catalog.
pub const REGION: &str = "RegionOne";

/// The id of the one domain; its name is `Default`.
pub const DOMAIN_ID: &str = "default";

/// The name of the one domain.
pub const DOMAIN_NAME: &str = "Default";

/// How long a token holds.
const TOKEN_HOURS: i64 = 12;

/// Cloud, user, project, roles. Keystone's roles imply one another, so the lists hold the implied ones, too.
const USERS: [(&str, &str, &str, &[&str]); 4] = [
    ("coffer-admin", "admin", "admin", &["admin", "member", "reader"]),
    ("coffer", "coffer", "coffer", &["member", "reader"]),
    ("coffer-reader", "coffer-reader", "coffer", &["reader"]),
    ("coffer-other", "coffer-other", "other", &["member", "reader"]),
];

/// Why the identity does not open or make a token. Never tells a password or a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the state folder cannot be read or written.
    #[error("identity file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the state folder is there and not what it should be.
    #[error("identity file {path}: {why}")]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Keys or tokens.
    #[error("identity")]
    Tokens(#[source] tokens::Error),
    /// No cloud of this name.
    #[error("no cloud is called {0:?}: there are coffer-admin, coffer, coffer-reader and coffer-other")]
    NoSuchCloud(String),
}

/// A text that does not print.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Password {
    /// Compares digests, in a time that does not tell where they differ.
    fn is(&self, given: &str) -> bool {
        let (own, given) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(given.as_bytes()));
        aws_lc_rs::constant_time::verify_slices_are_equal(&own, &given).is_ok()
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// 32 hex digits, for the life of the state folder.
    pub id: String,
    /// Its name, unique.
    pub name: String,
}

/// A user, with the one project in which it has roles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its name in `clouds.yaml`.
    pub cloud: String,
    /// 32 hex digits, for the life of the state folder.
    pub id: String,
    /// Its name, unique.
    pub name: String,
    /// The id of its project.
    pub project: String,
    /// Its roles there.
    pub roles: Vec<String>,
    password: Password,
}

#[derive(Debug, Serialize, Deserialize)]
struct Book {
    form: u32,
    issuer: String,
    projects: Vec<Project>,
    users: Vec<User>,
}

/// A fresh token.
pub struct Token {
    /// The value for `X-Auth-Token`.
    pub text: String,
    /// What it says.
    pub claims: Claims,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The user's own project: what is meant when nothing is said.
    Default,
    /// No project.
    Unscoped,
    /// A project's id.
    ProjectId(String),
    /// A project's name.
    ProjectName(String),
}

/// The built-in identity.
#[derive(Debug)]
pub struct DevIdentity {
    book: Book,
    keys: TokenKeys,
}

impl DevIdentity {
    /// Reads `identity.json` and `identity.key` of the state folder; makes them when they are not there.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::BadFile`] for a file that others may read or that is damaged.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let book_path = state_dir.join("identity.json");
        let text = private_file(&book_path, || {
            serde_json::to_vec_pretty(&new_book())
                .map(Zeroizing::new)
                .map_err(|_| Error::BadFile { path: book_path.clone(), why: "cannot be written" })
        })?;
        let bad = |why| Error::BadFile { path: book_path.clone(), why };
        let book: Book = serde_json::from_slice(&text).map_err(|_| bad("not an identity"))?;
        if book.form != 1 {
            return Err(bad("of a newer coffer"));
        }
        if book.projects.iter().any(|p| ProjectId::parse(&p.id).is_none()) {
            return Err(bad("a project's id is no id"));
        }
        if book.users.iter().any(|user| book.projects.iter().all(|p| p.id != user.project)) {
            return Err(bad("a user's project is missing"));
        }
        let key_path = state_dir.join("identity.key");
        let key = private_file(&key_path, || tokens::generate_key().map_err(Error::Tokens))?;
        let keys = TokenKeys::new(&key, &book.issuer).map_err(Error::Tokens)?;
        Ok(Self { book, keys })
    }

    /// The file from which every OpenStack client learns the four clouds; it holds passwords: write it with mode
    /// 0600. `base_url` is `http://127.0.0.1:8779` for example.
    pub fn clouds_yaml(&self, base_url: &str) -> String {
        let mut text = String::from("# Made by coffer dev at its start. It holds passwords.\nclouds:\n");
        for user in &self.book.users {
            text += &format!(
                "  {cloud}:\n    auth:\n      auth_url: \"{base_url}/identity\"\n      username: \"{name}\"\n      \
                 password: \"{password}\"\n      project_name: \"{project}\"\n      user_domain_name: \"{DOMAIN_NAME}\"\n      \
                 project_domain_name: \"{DOMAIN_NAME}\"\n    region_name: \"{REGION}\"\n    identity_api_version: 3\n    \
                 interface: \"public\"\n",
                cloud = user.cloud,
                name = user.name,
                password = user.password.0,
                project = self.project_of(user).name,
            );
        }
        text
    }

    /// The same for a shell, for the cloud `coffer`; it holds a password: write it with mode 0600.
    pub fn openrc(&self, base_url: &str) -> String {
        let mut text =
            String::from("# Made by coffer dev at its start. It holds a password.\nunset OS_CLOUD\n");
        for user in self.book.users.iter().filter(|user| user.cloud == "coffer") {
            text += &format!(
                "export OS_AUTH_URL='{base_url}/identity'\nexport OS_USERNAME='{name}'\nexport OS_PASSWORD='{password}'\n\
                 export OS_PROJECT_NAME='{project}'\nexport OS_USER_DOMAIN_NAME='{DOMAIN_NAME}'\n\
                 export OS_PROJECT_DOMAIN_NAME='{DOMAIN_NAME}'\nexport OS_REGION_NAME='{REGION}'\n\
                 export OS_IDENTITY_API_VERSION=3\nexport OS_INTERFACE=public\n",
                name = user.name,
                password = user.password.0,
                project = self.project_of(user).name,
            );
        }
        text
    }

    /// A token of the cloud's user in its project, made in this process: for the demo and for tests.
    ///
    /// # Errors
    /// [`Error::NoSuchCloud`]; [`Error::Tokens`].
    pub fn login(&self, cloud: &str) -> Result<Token, Error> {
        let user = self
            .book
            .users
            .iter()
            .find(|user| user.cloud == cloud)
            .ok_or_else(|| Error::NoSuchCloud(cloud.to_owned()))?;
        self.issue(user, Some(self.project_of(user)), &["password"], None).map_err(Error::Tokens)
    }

    /// The user that `password` proves, found by id or by name.
    pub fn prove(&self, id: Option<&str>, name: Option<&str>, password: &str) -> Option<&User> {
        let found = self.book.users.iter().find(|user| match (id, name) {
            (Some(id), _) => user.id == id,
            (None, Some(name)) => user.name == name,
            (None, None) => false,
        });
        match found {
            Some(user) => user.password.is(password).then_some(user),
            None => {
                // As slow as the other answer.
                let _ = Password(self.book.issuer.clone()).is(password);
                None
            }
        }
    }

    /// The project that a user gets for `scope`: `Ok(None)` for no scope.
    ///
    /// # Errors
    /// `Err(())` for a project that is not there or in which the user has no role; Keystone does not tell which.
    #[expect(clippy::result_unit_err, reason = "there is one answer, 401, and nothing that may be told")]
    pub fn scope(&self, user: &User, scope: &Scope) -> Result<Option<&Project>, ()> {
        let own = self.project_of(user);
        let fits = match scope {
            Scope::Unscoped => return Ok(None),
            Scope::Default => true,
            Scope::ProjectId(id) => own.id == *id,
            Scope::ProjectName(name) => own.name == *name,
        };
        if fits { Ok(Some(own)) } else { Err(()) }
    }

    /// Makes a token. One that was made from another token ends with it: `not_after`, in seconds since 1970.
    ///
    /// # Errors
    /// The library's.
    pub fn issue(
        &self,
        user: &User,
        project: Option<&Project>,
        methods: &[&str],
        not_after: Option<i64>,
    ) -> Result<Token, tokens::Error> {
        let now = Utc::now().trunc_subsecs(0);
        let end = (now + TimeDelta::hours(TOKEN_HOURS)).timestamp();
        let claims = Claims {
            iss: self.keys.issuer().to_owned(),
            sub: user.id.clone(),
            project: project.map(|project| project.id.clone()),
            roles: project.map(|_| user.roles.clone()).unwrap_or_default(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            iat: now.timestamp(),
            exp: not_after.map_or(end, |limit| limit.min(end)),
            jti: Uuid::new_v4().simple().to_string(),
        };
        Ok(Token { text: self.keys.sign(&claims)?, claims })
    }

    /// What a token says, when it holds and its user and project are still there.
    ///
    /// # Errors
    /// [`auth::Error::Invalid`].
    pub fn check(&self, token: &str) -> Result<Arc<Claims>, auth::Error> {
        let claims = self.keys.check(token).map_err(|_| auth::Error::Invalid)?;
        let there = self.user(&claims.sub).is_some()
            && claims.project.as_ref().is_none_or(|id| self.project(id).is_some());
        if there { Ok(claims) } else { Err(auth::Error::Invalid) }
    }

    /// The user with this id.
    pub fn user(&self, id: &str) -> Option<&User> {
        self.book.users.iter().find(|user| user.id == id)
    }

    /// The project with this id.
    pub fn project(&self, id: &str) -> Option<&Project> {
        self.book.projects.iter().find(|project| project.id == id)
    }

    /// Every user.
    pub fn users(&self) -> &[User] {
        &self.book.users
    }

    /// Every project.
    pub fn projects(&self) -> &[Project] {
        &self.book.projects
    }

    /// The project in which the user has roles.
    pub fn project_of(&self, user: &User) -> &Project {
        // `open` sees to it that it is there; no token with an empty project is a caller.
        static NONE: Project = Project { id: String::new(), name: String::new() };
        self.project(&user.project).unwrap_or(&NONE)
    }
}

/// The seconds of a claim as a time.
pub fn time_of(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

#[async_trait]
impl Authenticator for DevIdentity {
    async fn authenticate(&self, token: &str) -> Result<Caller, auth::Error> {
        let claims = self.check(token)?;
        let project = claims.project.as_deref().and_then(ProjectId::parse).ok_or(auth::Error::Unscoped)?;
        Ok(Caller { user: claims.sub.clone(), project, level: Level::of_roles(&claims.roles) })
    }

    fn auth_uri(&self, base_url: &str) -> String {
        format!("{base_url}/identity")
    }
}

fn new_book() -> Book {
    let mut projects: Vec<Project> = Vec::new();
    let mut users = Vec::new();
    let id = || Uuid::new_v4().simple().to_string();
    for (cloud, name, project, roles) in USERS {
        let project = match projects.iter().find(|p| p.name == project) {
            Some(known) => known.id.clone(),
            None => {
                let new = Project { id: id(), name: project.to_owned() };
                projects.push(new.clone());
                new.id
            }
        };
        users.push(User {
            cloud: cloud.to_owned(),
            id: id(),
            name: name.to_owned(),
            project,
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
            password: Password(random_password().expose_secret().to_owned()),
        });
    }
    Book { form: 1, issuer: format!("coffer-dev:{}", id()), projects, users }
}

/// Reads a file that only its owner may read; makes it, whole or not at all, when there is none.
fn private_file(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, Error>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io = |source| Error::File { path: path.to_owned(), source };
    if !path.try_exists().map_err(io)? {
        crate::files::make_once(path, &make()?).map_err(io)?;
    }
    if std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
        return Err(Error::BadFile {
            path: path.to_owned(),
            why: "others than its owner may read it; expected mode 0600",
        });
    }
    std::fs::read(path).map(Zeroizing::new).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_folder_gives_the_same_people() {
        let folder = tempfile::tempdir().unwrap();
        let first = DevIdentity::open(folder.path()).unwrap();
        let token = first.login("coffer").unwrap();
        let again = DevIdentity::open(folder.path()).unwrap();
        assert_eq!(first.clouds_yaml("http://h"), again.clouds_yaml("http://h"));
        assert_eq!(*again.check(&token.text).unwrap(), token.claims);
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(DevIdentity::open(elsewhere.path()).unwrap().check(&token.text).is_err());
        for file in ["identity.json", "identity.key"] {
            let path = folder.path().join(file);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(DevIdentity::open(folder.path()), Err(Error::BadFile { .. })), "{file}");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::write(folder.path().join("identity.key"), b"half").unwrap();
        assert!(DevIdentity::open(folder.path()).is_err());
    }

    #[test]
    fn each_cloud_is_who_it_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let identity = DevIdentity::open(folder.path()).unwrap();
        let run = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let caller = |cloud: &str| {
            let token = identity.login(cloud).unwrap();
            run.block_on(identity.authenticate(&token.text)).unwrap()
        };
        let (admin, member, reader, other) =
            (caller("coffer-admin"), caller("coffer"), caller("coffer-reader"), caller("coffer-other"));
        assert_eq!(
            [admin.level, member.level, reader.level, other.level],
            [Some(Level::Admin), Some(Level::Member), Some(Level::Reader), Some(Level::Member)]
        );
        assert_eq!(member.project, reader.project);
        assert!(other.project != member.project && admin.project != member.project);
        assert_eq!(member.project.as_str().len(), 32);
        assert!(matches!(identity.login("nobody"), Err(Error::NoSuchCloud(_))));
    }

    #[test]
    fn a_password_proves_its_own_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let identity = DevIdentity::open(folder.path()).unwrap();
        let [admin, member, ..] = &identity.book.users[..] else { panic!("four users") };
        let password = member.password.0.clone();
        assert_eq!(identity.prove(None, Some("coffer"), &password).unwrap().id, member.id);
        assert_eq!(identity.prove(Some(&member.id), None, &password).unwrap().id, member.id);
        for (id, name, given) in [
            (None, Some("admin"), password.as_str()),
            (Some(admin.id.as_str()), Some("coffer"), &password),
            (None, Some("coffer"), ""),
            (None, Some("nobody"), &password),
            (None, None, &password),
        ] {
            assert!(identity.prove(id, name, given).is_none(), "{id:?} {name:?}");
        }
        assert!(!format!("{identity:?}").contains(&password));
    }

    #[test]
    fn a_scope_is_the_users_own() {
        let folder = tempfile::tempdir().unwrap();
        let identity = DevIdentity::open(folder.path()).unwrap();
        let user = &identity.book.users[1];
        let own = identity.project_of(user);
        assert_eq!(identity.scope(user, &Scope::Default), Ok(Some(own)));
        assert_eq!(identity.scope(user, &Scope::ProjectName("coffer".into())), Ok(Some(own)));
        assert_eq!(identity.scope(user, &Scope::ProjectId(own.id.clone())), Ok(Some(own)));
        assert_eq!(identity.scope(user, &Scope::Unscoped), Ok(None));
        assert_eq!(identity.scope(user, &Scope::ProjectName("other".into())), Err(()));
        assert_eq!(identity.scope(user, &Scope::ProjectId("0".repeat(32))), Err(()));
        let unscoped = identity.issue(user, None, &["password"], None).unwrap();
        let run = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(matches!(run.block_on(identity.authenticate(&unscoped.text)), Err(auth::Error::Unscoped)));
        assert!(unscoped.claims.roles.is_empty());
    }
}
