//! The tenant's users and roles with their grants, read as the statements that make them again.
//!
//! What is read holds verifiers: it goes to a server and nowhere else. Not [`Debug`], so that it is never printed.

use crate::engines::Error;
use crate::engines::mariadb::connection::{Client, name, quoted};
use crate::engines::mariadb::{ACCOUNT, REPLICATION_ACCOUNT, helpers};

/// The condition in `mysql.global_priv` for accounts that are not the system's or ours, on the server of this
/// connection. Ours are exactly these: an account that only looks like one of them is somebody's, and must be seen.
pub fn tenant_account(client: &Client) -> String {
    let follower = match client.address() {
        Some(address) => {
            format!(" AND NOT (BINARY Host = {} AND BINARY User = '{REPLICATION_ACCOUNT}')", quoted(address))
        }
        None => String::new(),
    };
    let helpers = helpers::named("User");
    format!(
        "NOT (BINARY Host = 'localhost' AND (BINARY User IN ('mariadb.sys', '{ACCOUNT}') OR {helpers})){follower}"
    )
}

/// The role that everyone has, from 10.11 on; it exists without being made.
const PUBLIC: &str = "PUBLIC";

/// A user or a role.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The statement's name for it: a quoted `user`@`host`, or a role.
    pub name: String,
    /// Whether it is a role.
    pub role: bool,
    /// The statement that makes it, or makes it anew; `None` for `PUBLIC`.
    pub create: Option<String>,
    /// The statements that give it its rights, roles and default role, sorted.
    pub grants: Vec<String>,
}

/// Every account of the tenant's, roles first.
pub async fn read(client: &mut Client) -> Result<Vec<Account>, Error> {
    let sql = format!(
        "SELECT User, Host, IFNULL(JSON_VALUE(Priv, '$.is_role'), 0) IN ('1', 'true') FROM mysql.global_priv \
         WHERE {} ORDER BY 3 DESC, 1, 2",
        tenant_account(client)
    );
    let mut accounts = Vec::new();
    for row in client.rows("list the accounts", &sql).await? {
        let [Some(user), Some(host), Some(role)] = row.as_slice() else { continue };
        let role = role == "1";
        let account = if role { name(user) } else { format!("{}@{}", name(user), name(host)) };
        let create = if !role {
            let show = format!("SHOW CREATE USER {account}");
            let create = client.value("read an account", &show).await?;
            let Some(rest) = create.strip_prefix("CREATE USER ") else {
                // The answer is not told: it holds a verifier.
                let answer = "not a CREATE USER".to_owned();
                return Err(Error::Unexpected { doing: "read an account", answer });
            };
            Some(format!("CREATE OR REPLACE USER {rest}"))
        } else if user == PUBLIC {
            None
        } else {
            Some(format!("CREATE OR REPLACE ROLE {account}"))
        };
        let target = if role && user == PUBLIC { PUBLIC } else { account.as_str() };
        let show = format!("SHOW GRANTS FOR {target}");
        let rows = client.rows("read an account's grants", &show).await?;
        let mut grants: Vec<String> =
            rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        // Columns come in no order, and a server may change it from one answer to the next.
        grants.iter_mut().for_each(|grant| *grant = with_sorted_columns(grant));
        // A default role can only be set once the role is granted.
        grants.sort_by_key(|grant| (grant.starts_with("SET DEFAULT ROLE"), grant.clone()));
        accounts.push(Account { name: account, role, create, grants });
    }
    Ok(accounts)
}

/// Makes the accounts, as they are but without rights.
pub async fn create(client: &mut Client, accounts: &[Account]) -> Result<(), Error> {
    for create in accounts.iter().filter_map(|account| account.create.as_ref()) {
        client.run_one("make an account", create.as_bytes()).await?;
    }
    Ok(())
}

/// Gives the accounts their rights; what these are on must be there.
pub async fn grant(client: &mut Client, accounts: &[Account]) -> Result<(), Error> {
    for grant in accounts.iter().flat_map(|account| &account.grants) {
        client.run_one("grant an account its rights", grant.as_bytes()).await?;
    }
    Ok(())
}

/// Removes every account of the tenant's.
pub async fn drop_all(client: &mut Client) -> Result<(), Error> {
    for account in read(client).await? {
        let drop = match (account.role, &account.create) {
            (_, None) => "REVOKE ALL PRIVILEGES, GRANT OPTION FROM PUBLIC".to_owned(),
            (true, _) => format!("DROP ROLE IF EXISTS {}", account.name),
            (false, _) => format!("DROP USER IF EXISTS {}", account.name),
        };
        client.run("drop an account", &drop).await?;
    }
    Ok(())
}

/// A grant with the columns inside each pair of parentheses in order; what is quoted stays as it is.
fn with_sorted_columns(grant: &str) -> String {
    let mut sorted = String::with_capacity(grant.len());
    let mut columns: Option<Vec<String>> = None;
    let mut item = String::new();
    let mut quote = None;
    for c in grant.chars() {
        match quote {
            Some(open) if open == c => quote = None,
            Some(_) => {}
            None if matches!(c, '`' | '\'') => quote = Some(c),
            None => match (c, &mut columns) {
                ('(', None) => {
                    sorted.push_str(&item);
                    sorted.push(c);
                    item.clear();
                    columns = Some(Vec::new());
                    continue;
                }
                (',', Some(columns)) => {
                    columns.push(std::mem::take(&mut item));
                    continue;
                }
                (')', Some(list)) => {
                    list.push(std::mem::take(&mut item));
                    list.iter_mut().for_each(|column| *column = column.trim().to_owned());
                    list.sort();
                    sorted.push_str(&list.join(", "));
                    columns = None;
                }
                _ => {}
            },
        }
        item.push(c);
    }
    sorted.push_str(&item);
    sorted
}

/// A grant without what it says of the password.
pub fn without_identification(grant: &str) -> String {
    let Some((head, tail)) = grant.split_once(" IDENTIFIED ") else { return grant.to_owned() };
    let option = if tail.ends_with("WITH GRANT OPTION") { " WITH GRANT OPTION" } else { "" };
    format!("{head}{option}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_sorted() {
        for (grant, sorted) in [
            (
                "GRANT SELECT (`name`, `id`), UPDATE (`b, a`, `a)`) ON `shop`.`g (z, a)` TO `x`@`%`",
                "GRANT SELECT (`id`, `name`), UPDATE (`a)`, `b, a`) ON `shop`.`g (z, a)` TO `x`@`%`",
            ),
            ("GRANT SELECT, UPDATE ON `d`.* TO `a`@`%`", "GRANT SELECT, UPDATE ON `d`.* TO `a`@`%`"),
        ] {
            assert_eq!(with_sorted_columns(grant), sorted);
        }
    }

    #[test]
    fn a_grant_is_told_without_the_verifier() {
        for (grant, told) in [
            ("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*AB'", "GRANT USAGE ON *.* TO `a`@`%`"),
            (
                "GRANT SELECT ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*AB' WITH GRANT OPTION",
                "GRANT SELECT ON *.* TO `a`@`%` WITH GRANT OPTION",
            ),
            ("GRANT SELECT ON `d`.* TO `a`@`%`", "GRANT SELECT ON `d`.* TO `a`@`%`"),
        ] {
            assert_eq!(without_identification(grant), told);
        }
    }
}
