//! What a tenant sees listed: its databases, and its users with the databases that they have rights on.

use crate::domain::tenant::{Database, User, is_reserved_database, is_reserved_user};
use crate::engines::Error;
use crate::engines::mariadb::accounts::tenant_account;
use crate::engines::mariadb::connection::Client;
use crate::engines::mariadb::content;

/// The databases by name.
pub async fn databases(client: &mut Client) -> Result<Vec<Database>, Error> {
    let mut names = content::databases(client).await?;
    names.retain(|name| !is_reserved_database(name));
    names.sort();
    Ok(names.into_iter().map(|name| Database { name }).collect())
}

/// The users by name and host. Rights on a database are those that were granted on it as a whole, by its name or by
/// a pattern; a database that is not there any more is not told, though its grants stay.
pub async fn users(client: &mut Client) -> Result<Vec<User>, Error> {
    let databases = databases(client).await?;
    let sql = format!(
        "SELECT User, Host FROM mysql.global_priv WHERE {} \
         AND IFNULL(JSON_VALUE(Priv, '$.is_role'), 0) NOT IN ('1', 'true') ORDER BY BINARY User, BINARY Host",
        tenant_account(client)
    );
    let listed = client.rows("list the users", &sql).await?;
    let granted = client.rows("list the users' databases", "SELECT User, Host, Db FROM mysql.db").await?;
    let mut users = Vec::new();
    for row in listed {
        let [Some(name), Some(host)] = row.as_slice() else { continue };
        if name.is_empty() || is_reserved_user(name) {
            continue;
        }
        let patterns: Vec<&str> = granted
            .iter()
            .filter_map(|row| match row.as_slice() {
                [Some(user), Some(from), Some(pattern)] if user == name && from == host => {
                    Some(pattern.as_str())
                }
                _ => None,
            })
            .collect();
        let databases = databases
            .iter()
            .filter(|database| patterns.iter().any(|pattern| meant(pattern, &database.name)))
            .map(|database| database.name.clone())
            .collect();
        users.push(User { name: name.clone(), host: host.clone(), databases });
    }
    Ok(users)
}

/// A part of a grant's pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Same(char),
}

/// Whether a grant on `pattern` is one on `database`: `%` stands for any characters, `_` for one, and a backslash
/// takes the next character as it is.
pub fn meant(pattern: &str, database: &str) -> bool {
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::Same(chars.next().unwrap_or('\\')),
            _ => Part::Same(c),
        });
    }
    // Which beginnings of the pattern fit what was read of the name: never more work than one times the other.
    let mut fits = vec![false; parts.len() + 1];
    fits[0] = true;
    let past_any = |fits: &mut Vec<bool>| {
        for (at, part) in parts.iter().enumerate() {
            fits[at + 1] |= fits[at] && *part == Part::Any;
        }
    };
    past_any(&mut fits);
    for c in database.chars() {
        let mut next = vec![false; fits.len()];
        for (at, part) in parts.iter().enumerate().filter(|(at, _)| fits[*at]) {
            match part {
                Part::Any => next[at] = true,
                Part::One => next[at + 1] = true,
                Part::Same(same) => next[at + 1] |= *same == c,
            }
        }
        fits = next;
        past_any(&mut fits);
    }
    fits.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::mariadb::content::pattern;

    #[test]
    fn a_grant_means_the_databases_of_its_pattern() {
        for (pattern, database, is) in [
            ("shop", "shop", true),
            ("shop", "Shop", false),
            ("shop", "shops", false),
            ("sh%", "shop", true),
            ("%", "shop", true),
            ("%p", "shop", true),
            ("s%x%", "shop", false),
            ("sh_p", "shop", true),
            ("sh_", "shop", false),
            ("shop_", "shop", false),
            ("sh\\_p", "shop", false),
            ("sh\\_p", "sh_p", true),
            ("c_ffer", "cöffer", true),
        ] {
            assert_eq!(meant(pattern, database), is, "{pattern} {database}");
        }
        for name in ["a_b%c", "x", "%", "__"] {
            assert!(meant(&pattern(name), name), "{name}");
        }
    }
}
