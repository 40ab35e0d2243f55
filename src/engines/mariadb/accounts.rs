//! The tenant's users and roles with their grants.
//!
//! What is read holds verifiers: it goes to a server or into a hash and nowhere else. Not [`Debug`], so that it is never
//! printed.

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

/// A user's or a role's name.
pub struct Name {
    /// As a statement has it: a quoted `user`@`host`, or a role.
    pub account: String,
    /// Whether it is a role.
    pub role: bool,
}

/// A user or a role, with what it may do.
pub struct Account {
    /// The statement's name for it: a quoted `user`@`host`, or a role.
    pub name: String,
    /// The statements that give it its rights, roles and default role, sorted.
    pub grants: Vec<String>,
}

/// The names of the tenant's accounts, roles first, as the server keeps them.
async fn list(client: &mut Client) -> Result<Vec<(String, String, bool)>, Error> {
    let sql = format!(
        "SELECT User, Host, IFNULL(JSON_VALUE(Priv, '$.is_role'), 0) IN ('1', 'true') FROM mysql.global_priv \
         WHERE {} ORDER BY 3 DESC, 1, 2",
        tenant_account(client)
    );
    let listed = client.rows("list the accounts", &sql).await?.into_iter().filter_map(|row| {
        let mut values = row.into_iter().flatten();
        Some((values.next()?, values.next()?, values.next()? == "1"))
    });
    Ok(listed.collect())
}

/// The name as a statement has it.
fn named(user: &str, host: &str, role: bool) -> String {
    match role {
        true if user == PUBLIC => PUBLIC.to_owned(),
        true => name(user),
        false => format!("{}@{}", name(user), name(host)),
    }
}

/// The names of the tenant's accounts, roles first; `PUBLIC` is not among them, which everybody has.
pub async fn names(client: &mut Client) -> Result<Vec<Name>, Error> {
    let listed = list(client).await?.into_iter().filter(|(user, _, role)| !(*role && user == PUBLIC));
    Ok(listed.map(|(user, host, role)| Name { account: named(&user, &host, role), role }).collect())
}

/// Every account of the tenant's, roles first.
pub async fn read(client: &mut Client) -> Result<Vec<Account>, Error> {
    let mut accounts = Vec::new();
    for (user, host, role) in list(client).await? {
        let account = named(&user, &host, role);
        let show = format!("SHOW GRANTS FOR {account}");
        let rows = client.rows("read an account's grants", &show).await?;
        let mut grants: Vec<String> =
            rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        // Columns come in no order, and a server may change it from one answer to the next.
        grants.iter_mut().for_each(|grant| *grant = with_sorted_columns(grant));
        grants.sort();
        accounts.push(Account { name: account, grants });
    }
    Ok(accounts)
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
