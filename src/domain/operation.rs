//! Operations: short writes to the server of an instance, which its customer asks for: databases, users, rights, passwords,
//! root.
//!
//! An operation claims nothing and changes no status. One that was accepted is done, in the order of acceptance, by the server
//! that serves then: while an upgrade holds the instance, it waits.
//!
//! # Idempotency
//! What a worker was doing when it died is done again by the next one. So a try first looks whether the operation is possible,
//! and records that it is; from then on what it makes may be there because of it, and is no reason to refuse it any more.

use serde::{Deserialize, Serialize};

use crate::domain::datastore::UnknownWord;
use crate::domain::instance::{Instance, InstanceState};
use crate::domain::refusal::Refusal;
use crate::domain::task::{Phase, Progress, Step, TaskKind};
use crate::domain::tenant::{NewDatabase, NewUser, User, Verifier};

/// How many operations of an instance may wait.
pub const MOST_WAITING: i64 = 1_000;

/// A user's name in its server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Where it may come from: `%` for anywhere. Always so on PostgreSQL.
    pub host: String,
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host == "%" { f.write_str(&self.name) } else { write!(f, "{}@{}", self.name, self.host) }
    }
}

impl From<&NewUser> for Account {
    fn from(user: &NewUser) -> Self {
        Self { name: user.name.clone(), host: user.host.clone() }
    }
}

/// What is asked for. It holds verifiers, so it is sealed before it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Make databases.
    CreateDatabases {
        /// Them.
        databases: Vec<NewDatabase>,
    },
    /// Drop a database with everything in it.
    DropDatabase {
        /// Its name.
        name: String,
    },
    /// Make users, with every right on their databases.
    CreateUsers {
        /// Them.
        users: Vec<NewUser>,
    },
    /// Give users other passwords.
    ChangePasswords {
        /// Whom, and what the server shall keep of the password.
        users: Vec<(Account, Verifier)>,
    },
    /// Give a user another name, another host or another password.
    AlterUser {
        /// Whom.
        account: Account,
        /// What it is called from then on.
        renamed: Account,
        /// What the server shall keep of its new password.
        verifier: Option<Verifier>,
    },
    /// Drop a user. What it owned becomes its databases' owners'.
    DropUser {
        /// Whom.
        account: Account,
    },
    /// Give a user every right on databases.
    Grant {
        /// Whom.
        account: Account,
        /// Which.
        databases: Vec<String>,
    },
    /// Take a user's rights on a database away.
    Revoke {
        /// From whom.
        account: Account,
        /// Which.
        database: String,
    },
    /// Make `root`, or give it another password.
    EnableRoot {
        /// What the server shall keep of the password.
        verifier: Verifier,
    },
    /// Drop `root`.
    DisableRoot,
    /// Have the server take the values of its instance's configuration group, as they are when this is done.
    Configure,
    /// Publish the end of a log.
    PublishLog {
        /// Its name.
        name: String,
    },
}

/// The word of [`Operation::Configure`].
pub const CONFIGURE: &str = "configure";

impl Operation {
    /// Whether it depends on what databases and users there are.
    pub const fn is_about_content(&self) -> bool {
        !matches!(self, Self::Configure | Self::PublishLog { .. })
    }

    /// The word in rows and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::CreateDatabases { .. } => "create_databases",
            Self::DropDatabase { .. } => "drop_database",
            Self::CreateUsers { .. } => "create_users",
            Self::ChangePasswords { .. } => "change_passwords",
            Self::AlterUser { .. } => "alter_user",
            Self::DropUser { .. } => "drop_user",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
            Self::EnableRoot { .. } => "enable_root",
            Self::DisableRoot => "disable_root",
            Self::Configure => CONFIGURE,
            Self::PublishLog { .. } => "publish_log",
        }
    }
}

/// Why a server does not do an operation: a lasting reason, in words for the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refused {
    /// Something of this name is there already.
    Exists {
        /// `Database shop` for example.
        what: String,
    },
    /// What the operation changes is not there.
    Missing {
        /// `User app` for example.
        what: String,
    },
    /// There is no `root` to drop.
    NoRoot,
    /// A user to make is to have rights on a database that is not there.
    UnknownDatabase {
        /// Its name.
        name: String,
    },
    /// The server says no.
    Rejected {
        /// What it says.
        message: String,
    },
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exists { what } => write!(f, "{what} already exists on the instance."),
            Self::Missing { what } => write!(f, "{what} cannot be found on the instance."),
            Self::NoRoot => f.write_str("Root user has never been enabled on the instance."),
            Self::UnknownDatabase { name } => {
                write!(
                    f,
                    "A user cannot have rights on database {name}, which is not on the instance: create it first."
                )
            }
            Self::Rejected { message } => write!(f, "The database server refused: {message}."),
        }
    }
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits, or is being done.
    Open,
    /// It is done.
    Done,
    /// The server does not do it.
    Refused(Refused),
    /// The instance is gone, and the operation with it.
    Gone,
}

/// Why an operation cannot be done by a server that has these databases and users, if it cannot. Nothing of it was done
/// before.
pub fn impossible(
    operation: &Operation,
    databases: &[String],
    users: &[User],
    has_root: bool,
) -> Option<Refused> {
    let has_database = |name: &String| databases.contains(name);
    let has_user = |account: &Account| {
        users.iter().any(|user| user.name == account.name && user.host.eq_ignore_ascii_case(&account.host))
    };
    let no_database = |name: &str| Refused::Missing { what: format!("Database {name}") };
    let no_user = |account: &Account| Refused::Missing { what: format!("User {account}") };
    let user_exists = |account: &Account| Refused::Exists { what: format!("User {account}") };
    match operation {
        Operation::CreateDatabases { databases: new } => new
            .iter()
            .find(|database| has_database(&database.name))
            .map(|database| Refused::Exists { what: format!("Database {}", database.name) }),
        Operation::DropDatabase { name } => (!has_database(name)).then(|| no_database(name)),
        Operation::CreateUsers { users: new } => {
            let exists = new.iter().map(Account::from).find(|account| has_user(account));
            let unknown = new.iter().flat_map(|user| &user.databases).find(|name| !has_database(name));
            exists
                .map(|account| user_exists(&account))
                .or_else(|| unknown.map(|name| Refused::UnknownDatabase { name: name.clone() }))
        }
        Operation::ChangePasswords { users: changed } => {
            changed.iter().map(|(account, _)| account).find(|account| !has_user(account)).map(no_user)
        }
        Operation::AlterUser { account, renamed, .. } => {
            if !has_user(account) {
                Some(no_user(account))
            } else {
                (account != renamed && has_user(renamed)).then(|| user_exists(renamed))
            }
        }
        Operation::DropUser { account } => (!has_user(account)).then(|| no_user(account)),
        Operation::Grant { account, databases: granted } => {
            if !has_user(account) {
                return Some(no_user(account));
            }
            granted.iter().find(|name| !has_database(name)).map(|name| no_database(name))
        }
        Operation::Revoke { account, database } => {
            if !has_user(account) {
                return Some(no_user(account));
            }
            let has_right = users.iter().any(|user| {
                user.name == account.name
                    && user.host.eq_ignore_ascii_case(&account.host)
                    && user.databases.contains(database)
            });
            (!has_right).then(|| no_database(database))
        }
        Operation::EnableRoot { .. } | Operation::Configure | Operation::PublishLog { .. } => None,
        Operation::DisableRoot => (!has_root).then_some(Refused::NoRoot),
    }
}

/// Whether an operation may run now at the serving server of an instance that this task has, if one has it. `carried` says
/// whether what an engine is told to define reaches a server that follows it.
///
/// While a copy is made, no account may change: the copy would be made once more. From the hold on until clients come in
/// again, no server takes a write. Where definitions are not replicated, they stay as they are from the copy on until the
/// upgrade's end, or its cut-over would be refused.
pub fn may_run(task: Option<(TaskKind, Progress)>, carried: bool) -> bool {
    let Some((kind, progress)) = task else { return true };
    match progress {
        Progress::Deferred | Progress::Scheduled | Progress::Verifying | Progress::Ended(_) => true,
        // What state the server is in is for a human to say.
        Progress::NeedsOperator => false,
        Progress::At(phase, step) if kind.holds(phase, step) => false,
        Progress::At(phase, step) => match step {
            Step::Seed
            // What is being done is over before the hold, which does not wait for it then.
            | Step::Quiet
            | Step::Hold
            | Step::Fence
            | Step::Drain
            | Step::Cut
            | Step::Stop
            | Step::Transform
            | Step::Cutover
            | Step::Admit
            | Step::Reopen
            | Step::Reinstate
            | Step::Unroute
            | Step::Rebuild
            | Step::Renew
            | Step::Rejoin
            | Step::Restore => false,
            Step::Convert | Step::Replicate | Step::CatchUp | Step::Verify | Step::Open => {
                let is_fed = phase == Phase::Forward && kind.step(phase, Step::Seed).is_some();
                carried || !is_fed
            }
            Step::Examine
            | Step::Ready
            | Step::Place
            | Step::Start
            | Step::Prepare
            | Step::Publish
            | Step::Retire
            | Step::DropServer
            | Step::Release => true,
        },
    }
}

/// The same of [`Operation::Configure`]. What it changes is no content and is not replicated: it waits until a task that
/// gives the instance another server, or restarts this one, is over. The new side of an upgrade by way of a replica is an instance
/// of its own.
pub fn may_configure(task: Option<(TaskKind, Progress)>, carried: bool) -> bool {
    match task {
        Some((kind, Progress::At(..) | Progress::NeedsOperator)) if kind != TaskKind::ReplicaUpgrade => false,
        other => may_run(other, carried),
    }
}

/// Whether operations of an instance are accepted.
///
/// # Errors
/// [`Refusal::MemberOfGroup`]; [`Refusal::Follows`] for the new side of an upgrade; [`Refusal::NotReady`] for an instance
/// that serves nobody.
pub fn accepts_operations(instance: &Instance) -> Result<(), Refusal> {
    instance.alone()?;
    let serves = instance.running.is_some();
    match (instance.state, instance.replica_of) {
        (InstanceState::VerifyUpgrade, Some(source)) => Err(Refusal::Follows { id: instance.id, source }),
        (
            InstanceState::Active
            | InstanceState::FeedingUpgrade
            | InstanceState::VerifyUpgrade
            | InstanceState::Upgrading
            | InstanceState::Restarting
            | InstanceState::Resizing,
            _,
        ) if serves => Ok(()),
        _ => Err(Refusal::NotReady { id: instance.id, status: instance.state.trove_status() }),
    }
}

/// How an operation ended, as a word in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Done.
    Done,
    /// Refused by the server.
    Refused,
    /// The instance is gone.
    Gone,
}

impl End {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }
}

impl std::str::FromStr for End {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        [Self::Done, Self::Refused, Self::Gone]
            .into_iter()
            .find(|end| end.as_str() == word)
            .ok_or_else(|| UnknownWord { what: "end of an operation", word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, host: &str) -> Account {
        Account { name: name.to_owned(), host: host.to_owned() }
    }

    fn user(name: &str, host: &str, databases: &[&str]) -> User {
        User {
            name: name.to_owned(),
            host: host.to_owned(),
            databases: databases.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn new_user(name: &str, databases: &[&str]) -> NewUser {
        NewUser {
            name: name.to_owned(),
            host: "%".to_owned(),
            verifier: Verifier::native("secret"),
            databases: databases.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_cannot_be_done_is_told_beforehand() {
        let databases = ["shop".to_owned(), "books".to_owned()];
        let users = [user("app", "%", &["shop"]), user("app", "10.%", &[])];
        let database = |name: &str| NewDatabase { name: name.to_owned(), character_set: None, collate: None };
        let missing = |what: &str| Some(Refused::Missing { what: what.to_owned() });
        let exists = |what: &str| Some(Refused::Exists { what: what.to_owned() });
        let cases = [
            (Operation::CreateDatabases { databases: vec![database("new"), database("Shop")] }, None),
            (
                Operation::CreateDatabases { databases: vec![database("new"), database("shop")] },
                exists("Database shop"),
            ),
            (Operation::DropDatabase { name: "shop".to_owned() }, None),
            (Operation::DropDatabase { name: "other".to_owned() }, missing("Database other")),
            (Operation::CreateUsers { users: vec![new_user("new", &["books"])] }, None),
            (Operation::CreateUsers { users: vec![new_user("app", &["shop"])] }, exists("User app")),
            (
                Operation::CreateUsers { users: vec![new_user("new", &["other"])] },
                Some(Refused::UnknownDatabase { name: "other".to_owned() }),
            ),
            (
                Operation::ChangePasswords { users: vec![(account("who", "%"), Verifier::native("x"))] },
                missing("User who"),
            ),
            (
                Operation::AlterUser {
                    account: account("app", "%"),
                    renamed: account("app", "10.%"),
                    verifier: None,
                },
                exists("User app@10.%"),
            ),
            (
                Operation::AlterUser {
                    account: account("app", "%"),
                    renamed: account("app", "%"),
                    verifier: None,
                },
                None,
            ),
            (Operation::DropUser { account: account("app", "10.%") }, None),
            (Operation::DropUser { account: account("app", "11.%") }, missing("User app@11.%")),
            (
                Operation::Grant {
                    account: account("app", "%"),
                    databases: vec!["books".to_owned(), "x".to_owned()],
                },
                missing("Database x"),
            ),
            (Operation::Revoke { account: account("app", "%"), database: "shop".to_owned() }, None),
            (
                Operation::Revoke { account: account("app", "%"), database: "books".to_owned() },
                missing("Database books"),
            ),
            (Operation::DisableRoot, Some(Refused::NoRoot)),
        ];
        for (operation, why) in cases {
            assert_eq!(impossible(&operation, &databases, &users, false), why, "{operation:?}");
        }
    }

    #[test]
    fn no_operation_runs_at_a_server_that_takes_no_writes() {
        for kind in TaskKind::ALL {
            for phase in Phase::ALL {
                let mut held = false;
                for step in kind.steps(phase) {
                    held = (held || step == Step::Hold) && step != Step::Retire;
                    let runs = may_run(Some((kind, Progress::At(phase, step))), true);
                    assert!(!(held && runs), "{kind:?} {phase:?} {step:?}");
                }
            }
        }
        let at = |kind, step, carried| may_run(Some((kind, Progress::At(Phase::Forward, step))), carried);
        // A copy is being made, or follows.
        assert!(!at(TaskKind::UpgradeTwin, Step::Seed, true));
        assert!(at(TaskKind::UpgradeTwin, Step::CatchUp, true));
        assert!(!at(TaskKind::UpgradeTwin, Step::CatchUp, false));
        assert!(!at(TaskKind::UpgradeTwin, Step::Quiet, true));
        // In place nothing follows.
        assert!(at(TaskKind::UpgradeInPlace, Step::Ready, false));
        assert!(may_run(Some((TaskKind::ReplicaUpgrade, Progress::Verifying)), false));
        assert!(!may_run(Some((TaskKind::UpgradeTwin, Progress::NeedsOperator)), true));
        assert!(may_run(None, false));
        // Its values are the instance's, whichever server serves in the end.
        let twin = Some((TaskKind::UpgradeTwin, Progress::At(Phase::Forward, Step::CatchUp)));
        assert!(!may_configure(twin, true) && may_configure(None, false));
        assert!(may_configure(Some((TaskKind::ReplicaUpgrade, Progress::Verifying)), false));
    }
}
