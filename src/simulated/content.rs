//! What an operation changes in a simulated server. What it was found possible for is not looked at again.

use crate::domain::operation::{Account, Operation};
use crate::domain::tenant::{NewDatabase, NewUser};

/// The strongest account of a customer's.
const ROOT: &str = "root";

/// Whether it is the account that lists do not tell.
pub fn is_root(user: &NewUser) -> bool {
    user.name == ROOT
}

fn is(account: &Account) -> impl Fn(&NewUser) -> bool + '_ {
    move |user| user.name == account.name && user.host.eq_ignore_ascii_case(&account.host)
}

/// Changes databases and users as the operation says; what is so already stays.
pub fn change(databases: &mut Vec<NewDatabase>, users: &mut Vec<NewUser>, operation: &Operation) {
    match operation {
        Operation::CreateDatabases { databases: new } => {
            for database in new {
                databases.retain(|there| there.name != database.name);
                databases.push(database.clone());
            }
        }
        Operation::DropDatabase { name } => {
            databases.retain(|database| database.name != *name);
            users.iter_mut().for_each(|user| user.databases.retain(|database| database != name));
        }
        Operation::CreateUsers { users: new } => {
            for user in new {
                let account = Account::from(user);
                users.retain(|there| !is(&account)(there));
                users.push(user.clone());
            }
        }
        Operation::ChangePasswords { users: changed } => {
            for (account, verifier) in changed {
                for user in users.iter_mut().filter(|user| is(account)(user)) {
                    user.verifier = verifier.clone();
                }
            }
        }
        Operation::AlterUser { account, renamed, verifier } => {
            for user in users.iter_mut().filter(|user| is(account)(user) || is(renamed)(user)) {
                (user.name, user.host) = (renamed.name.clone(), renamed.host.clone());
                if let Some(verifier) = verifier {
                    user.verifier = verifier.clone();
                }
            }
        }
        Operation::DropUser { account } => users.retain(|user| !is(account)(user)),
        Operation::Grant { account, databases: granted } => {
            for user in users.iter_mut().filter(|user| is(account)(user)) {
                for database in granted {
                    if !user.databases.contains(database) {
                        user.databases.push(database.clone());
                    }
                }
                user.databases.sort();
            }
        }
        Operation::Revoke { account, database } => {
            for user in users.iter_mut().filter(|user| is(account)(user)) {
                user.databases.retain(|there| there != database);
            }
        }
        Operation::EnableRoot { verifier } => {
            users.retain(|user| !is_root(user));
            users.push(NewUser {
                name: ROOT.to_owned(),
                host: "%".to_owned(),
                verifier: verifier.clone(),
                databases: Vec::new(),
            });
        }
        Operation::DisableRoot => users.retain(|user| !is_root(user)),
        // It changes no content.
        Operation::Configure | Operation::PublishLog { .. } => {}
    }
}
