//! A tenant's roles and databases as such, made on another server: with their attributes, verifiers and settings.
//!
//! # If we die here
//! The candidate is worth nothing until its seed has ended; the next try makes it anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::engines::Error;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::databases::{TENANT_DATABASE, tenant_role};

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

/// What the sessions of a database and a role begin with, by their names; an empty one is for all.
type Settings = BTreeMap<(String, String), Vec<String>>;

async fn settings(client: &Client) -> Result<Settings, Error> {
    let doing = "read the settings of roles and databases";
    let sql = format!(
        "SELECT coalesce(d.datname, ''), coalesce(r.rolname, ''), c FROM pg_db_role_setting s \
         LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole \
         CROSS JOIN unnest(s.setconfig) WITH ORDINALITY u(c, at) \
         WHERE (s.setdatabase = 0 OR d.{TENANT_DATABASE}) AND (s.setrole = 0 OR ({})) AND (s.setdatabase <> 0 OR s.setrole <> 0) \
         ORDER BY 1, 2, u.at",
        tenant_role("r.rolname")
    );
    let mut found = Settings::new();
    for row in client.rows(doing, &sql).await? {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (database, role, pair) = (next(), next(), next());
        found.entry((database, role)).or_default().push(pair);
    }
    Ok(found)
}

/// Whose a setting is, as a statement names it.
fn whose(database: &str, role: &str) -> String {
    match (database, role) {
        (database, "") => format!("DATABASE {}", name(database)),
        ("", role) => format!("ROLE {}", name(role)),
        (database, role) => format!("ROLE {} IN DATABASE {}", name(role), name(database)),
    }
}

async fn set(to: &Client, of: &str, pairs: &[String]) -> Result<(), Error> {
    for pair in pairs {
        let Some((setting, value)) = pair.split_once('=') else { continue };
        let parts: Vec<String> = setting.split('.').map(name).collect();
        let set = format!("ALTER {of} SET {} TO {}", parts.join("."), value_of(setting, value));
        to.run("copy the settings of roles and databases", &set).await?;
    }
    Ok(())
}

/// A setting that a server refuses: whose it is, its name, and what the server says.
#[derive(Debug)]
pub struct RefusedSetting {
    pub of: String,
    pub setting: String,
    pub said: String,
}

/// The settings of roles and databases that `to` refuses. The databases are there; the others are set.
pub async fn refused_settings(from: &Client, to: &Client) -> Result<Vec<RefusedSetting>, Error> {
    let mut refused = Vec::new();
    for ((database, role), pairs) in settings(from).await? {
        for pair in pairs {
            match set(to, &whose(&database, &role), std::slice::from_ref(&pair)).await {
                Ok(()) => {}
                Err(Error::State { message, .. }) => refused.push(RefusedSetting {
                    of: match (database.as_str(), role.as_str()) {
                        (database, "") => database.to_owned(),
                        ("", role) => format!("role {role}"),
                        (database, role) => format!("role {role} in {database}"),
                    },
                    setting: pair.split('=').next().unwrap_or_default().to_owned(),
                    said: message,
                }),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(refused)
}

/// Gives roles and databases the settings that their sessions begin with. The databases are there.
pub async fn copy_settings(from: &Client, to: &Client) -> Result<(), Error> {
    for ((database, role), pairs) in settings(from).await? {
        set(to, &whose(&database, &role), &pairs).await?;
    }
    Ok(())
}

/// What makes a role what it is, as the end of a statement that makes or changes it; it may hold a verifier.
async fn attributes(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let sql = format!(
        "SELECT r.rolname, format('%s %s CONNECTION LIMIT %s PASSWORD %s%s', \
         CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, \
         r.rolconnlimit, quote_nullable(r.rolpassword), coalesce(' VALID UNTIL ' || quote_literal(r.rolvaliduntil), '')) FROM pg_authid r WHERE {}",
        tenant_role("r.rolname")
    );
    let rows = client.rows("read the roles", &sql).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut row = row.into_iter().flatten();
            Some((row.next()?, row.next()?))
        })
        .collect())
}

/// Who is of which role, and whether with the right to make others so.
async fn members(client: &Client) -> Result<BTreeSet<(String, String, bool)>, Error> {
    let sql = format!(
        "SELECT g.rolname, m.rolname, bool_or(a.admin_option) FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid \
         JOIN pg_roles m ON m.oid = a.member WHERE {} GROUP BY 1, 2",
        tenant_role("m.rolname")
    );
    let rows = client.rows("read who is of which role", &sql).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let mut row = row.into_iter().flatten();
            Some((row.next()?, row.next()?, row.next()? == "t"))
        })
        .collect())
}

/// Has the roles of `to` be what they are on `from`, whatever their tenants made of them since they were copied; gives a line
/// for each that was not, with nothing in it that was made of a password. A role that only `to` has is left: the comparison of
/// both sides names it.
pub async fn level(from: &Client, to: &Client) -> Result<Vec<String>, Error> {
    let doing = "have the roles be as on the other server";
    let mut told = Vec::new();
    let (theirs, ours) = (attributes(from).await?, attributes(to).await?);
    for (role, wanted) in &theirs {
        let word = match ours.get(role) {
            Some(is) if is == wanted => continue,
            Some(_) => "ALTER",
            None => "CREATE",
        };
        to.run(doing, &format!("{word} ROLE {} WITH {wanted}", name(role))).await?;
        told.push(format!("role {role}: its password and what it may do are the source's again"));
    }
    let (theirs, ours) = (members(from).await?, members(to).await?);
    for (group, member, admin) in theirs.difference(&ours) {
        let option = if *admin { " WITH ADMIN OPTION" } else { "" };
        to.run(doing, &format!("GRANT {} TO {}{option}", name(group), name(member))).await?;
        told.push(format!("role {member}: it is of the role {group} again, as on the source"));
    }
    for (group, member, admin) in ours.difference(&theirs) {
        let what = match theirs.contains(&(group.clone(), member.clone(), !admin)) {
            // What it has too much is the right to give it on.
            true if *admin => "ADMIN OPTION FOR ",
            true => continue,
            false => "",
        };
        to.run(doing, &format!("REVOKE {what}{} FROM {}", name(group), name(member))).await?;
        told.push(format!("role {member}: what it is in the role {group} is as on the source again"));
    }
    let (theirs, mut ours) = (settings(from).await?, settings(to).await?);
    for ((database, role), pairs) in &theirs {
        let is = ours.remove(&(database.clone(), role.clone())).unwrap_or_default();
        let plain = |pairs: &[String]| pairs.iter().map(|pair| plain(pair)).collect::<Vec<_>>();
        if plain(&is) != plain(pairs) {
            let of = whose(database, role);
            to.run(doing, &format!("ALTER {of} RESET ALL")).await?;
            set(to, &of, pairs).await?;
            told.push(format!("{of}: its settings are the source's again"));
        }
    }
    for (database, role) in ours.into_keys() {
        let of = whose(&database, &role);
        to.run(doing, &format!("ALTER {of} RESET ALL")).await?;
        told.push(format!("{of}: its settings are the source's again"));
    }
    Ok(told)
}

/// A setting's value as a statement gives it.
fn value_of(setting: &str, value: &str) -> String {
    if !LISTS.contains(&setting) {
        return quoted(value);
    }
    let list: Vec<String> = elements(value).iter().map(|element| quoted(element)).collect();
    if list.is_empty() { "''".to_owned() } else { list.join(", ") }
}

/// `setting=value` as every version keeps it: which names of a list are quoted depends on the words that a version has, and on
/// what the session said that made it.
pub fn plain(pair: &str) -> String {
    match pair.split_once('=') {
        Some((setting, value)) if LISTS.contains(&setting) => {
            let list: Vec<String> = elements(value).iter().map(|element| name(element)).collect();
            format!("{setting}={}", list.join(", "))
        }
        _ => pair.to_owned(),
    }
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
    fn a_list_is_told_alike_whatever_is_quoted() {
        let told = "search_path=\"system_user\", \"Odd\", \"public\"";
        for pair in
            ["search_path=system_user, \"Odd\", public", "search_path=\"system_user\",\"Odd\", \"public\""]
        {
            assert_eq!(plain(pair), told);
        }
        assert_eq!(plain("work_mem=4MB"), "work_mem=4MB");
        assert_ne!(plain("search_path=\"a, b\""), plain("search_path=a, b"));
    }

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
