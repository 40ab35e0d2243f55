//! A tenant's roles and databases as such, made on another server: with their attributes, verifiers and settings.
//!
//! # If we die here
//! The candidate is worth nothing until its seed has ended; the next try makes it anew.

use crate::engines::Error;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::content::{TENANT_DATABASE, tenant_role};

/// Settings whose value is a list of names, each quoted where that is needed: it is given as a list.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The names of the tenant's roles.
pub async fn names(client: &Client) -> Result<Vec<String>, Error> {
    let sql = format!("SELECT r.rolname FROM pg_roles r WHERE {} ORDER BY 1", tenant_role("r.rolname"));
    client.column("list the roles", &sql).await
}

/// Makes the roles of `from` in `to`, which has none.
pub async fn copy(from: &Client, to: &Client) -> Result<(), Error> {
    let doing = "copy the roles";
    let ours = tenant_role("r.rolname");
    // Whoever has no password cannot log in with one there either.
    let sql = format!(
        "SELECT format('CREATE ROLE %I WITH %s %s %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', r.rolname, \
         CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, \
         CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, 'CONNECTION LIMIT ' || r.rolconnlimit) \
         || coalesce(' PASSWORD ' || quote_literal(r.rolpassword), '') || coalesce(' VALID UNTIL ' || quote_literal(r.rolvaliduntil), '') \
         FROM pg_authid r WHERE {ours} ORDER BY r.rolname"
    );
    for create in from.column(doing, &sql).await? {
        to.run(doing, &create).await?;
    }
    let member = tenant_role("m.rolname");
    let sql = format!(
        "SELECT format('GRANT %I TO %I', g.rolname, m.rolname) || CASE WHEN a.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END \
         FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE {member}"
    );
    for grant in from.column(doing, &sql).await? {
        to.run(doing, &grant).await?;
    }
    Ok(())
}

/// Gives roles and databases the settings that their sessions begin with. The databases are there.
pub async fn copy_settings(from: &Client, to: &Client) -> Result<(), Error> {
    let doing = "copy the settings of roles and databases";
    let sql = format!(
        "SELECT d.datname, r.rolname, c FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase \
         LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) c \
         WHERE (s.setdatabase = 0 OR d.{TENANT_DATABASE}) AND (s.setrole = 0 OR ({})) AND (s.setdatabase <> 0 OR s.setrole <> 0)",
        tenant_role("r.rolname")
    );
    for row in from.rows(doing, &sql).await? {
        let mut row = row.into_iter();
        let (database, role, pair) = (row.next().flatten(), row.next().flatten(), row.next().flatten());
        let Some(pair) = pair else { continue };
        let Some((setting, value)) = pair.split_once('=') else { continue };
        let of = match (&database, &role) {
            (Some(database), Some(role)) => format!("ROLE {} IN DATABASE {}", name(role), name(database)),
            (None, Some(role)) => format!("ROLE {}", name(role)),
            (Some(database), None) => format!("DATABASE {}", name(database)),
            (None, None) => continue,
        };
        let parts: Vec<String> = setting.split('.').map(name).collect();
        let set = format!("ALTER {of} SET {} TO {}", parts.join("."), value_of(setting, value));
        to.run(doing, &set).await?;
    }
    Ok(())
}

/// A setting's value as a statement gives it.
fn value_of(setting: &str, value: &str) -> String {
    if !LISTS.contains(&setting) {
        return quoted(value);
    }
    let list: Vec<String> = elements(value).iter().map(|element| quoted(element)).collect();
    if list.is_empty() { "''".to_owned() } else { list.join(", ") }
}

/// The elements of a list of names: one that is not quoted is in small letters.
fn elements(list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut element, mut quotes, mut was_quoted) = (String::new(), false, false);
    let mut rest = list.chars().peekable();
    let mut end = |element: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(element);
        if *was_quoted {
            found.push(text);
        } else if !text.trim().is_empty() {
            found.push(text.trim().to_ascii_lowercase());
        }
        *was_quoted = false;
    };
    while let Some(c) = rest.next() {
        match c {
            '"' if quotes && rest.peek() == Some(&'"') => {
                rest.next();
                element.push('"');
            }
            '"' => {
                quotes = !quotes;
                if quotes {
                    element.clear();
                    was_quoted = true;
                }
            }
            ',' if !quotes => end(&mut element, &mut was_quoted),
            c if !quotes && was_quoted && c.is_whitespace() => {}
            c => element.push(c),
        }
    }
    end(&mut element, &mut was_quoted);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_given_as_a_list() {
        for (list, is) in [
            ("\"$user\", public", "'$user', 'public'"),
            ("a;DROP/**/TABLE/**/x", "'a;drop/**/table/**/x'"),
            ("\"o'd\"\"d, x\" , b", "'o''d\"d, x', 'b'"),
            ("", "''"),
        ] {
            assert_eq!(value_of("search_path", list), is, "{list}");
        }
        assert_eq!(value_of("work_mem", "4MB"), "'4MB'");
    }
}
