//! Whose a tenant's objects are, and who may do what with them: read from one server, given on another.
//!
//! A copy of the content is made by a keeper, a role that owns the copy and has no attribute: what a definition of the
//! tenant's runs while it is made, runs in the keeper's session. The real owners and rights are given at once
//! and in one transaction a database ([`hand_over`]): to a twin before it follows, to a replica when it is detached.
//! Until then a replica's tenants have what reading needs, of what they have on the source ([`reading`]), and no more.
//!
//! Objects are named as the server's own descriptions name them, quoted, with their schema, which every version reads.
//!
//! # If we die here
//! What is to be given lies in the database that it is for, and goes with the transaction that gives it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::PUBLICATION;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::{catalogue, own, roles};
use crate::engines::{Error, object};

/// The table of our schema that keeps what is to be given.
const RIGHTS: &str = "rights";

/// One thing's owner and rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// The word of SQL's for what it is: `TABLE`, `ROUTINE`; `DEFAULT` for what is given on things yet to be made.
    kind: String,
    /// Its name, quoted; for `DEFAULT` the word for those things.
    object: String,
    /// Its owner; `None` for what belongs to whom its table belongs.
    owner: Option<String>,
    /// Its schema, for `DEFAULT`; empty is everywhere.
    schema: Option<String>,
    /// Who may do what.
    grants: Vec<Grant>,
}

/// One right of one role's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    /// The role; `None` is everybody.
    to: Option<String>,
    /// `SELECT` for example.
    right: String,
    /// Whether it may be given on.
    on: bool,
    /// Who gave it.
    by: Option<String>,
    /// The column that it is for, quoted.
    column: Option<String>,
}

/// The grants of a list of rights as JSON, without those to accounts of ours.
fn grants(acl: &str, column: &str) -> String {
    format!(
        "(SELECT coalesce(json_agg(json_build_object('to', g.rolname, 'right', x.privilege_type, 'on', x.is_grantable, \
         'by', b.rolname, 'column', {column}) ORDER BY g.rolname NULLS FIRST, x.privilege_type, b.rolname), '[]') \
         FROM aclexplode({acl}) x LEFT JOIN pg_roles g ON g.oid = x.grantee LEFT JOIN pg_roles b ON b.oid = x.grantor \
         WHERE coalesce(g.rolname, '') !~ '^coffer_')"
    )
}

/// What is not given is what everybody has by default.
fn given(acl: &str, kind: &str, owner: &str) -> String {
    grants(&format!("coalesce({acl}, acldefault({kind}, {owner}))"), "NULL")
}

/// The condition that an object is of a tenant's schema, and no extension's, and made for no other object's sake.
///
/// A partitioned table depends internally on itself, for the columns of its key: that makes it nobody's.
fn own(class: &str, oid: &str) -> String {
    format!(
        "n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' \
         AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = '{class}'::regclass AND e.objid = {oid} \
         AND e.deptype IN ('e', 'i') AND NOT (e.refclassid = e.classid AND e.refobjid = e.objid))"
    )
}

/// What is asked of a database: each gives rows of kind, object, owner, schema and grants.
pub fn questions() -> Vec<String> {
    let owner = |oid: &str| format!("pg_get_userbyid({oid})");
    let relation = own("pg_class", "c.oid");
    let named = |catalog: &str, alias: &str, kind: &str, stem: &str| {
        format!(
            "SELECT '{kind}', format('%I.%I', n.nspname, {alias}.{stem}name), {}, NULL, '[]' FROM {catalog} {alias} \
             JOIN pg_namespace n ON n.oid = {alias}.{stem}namespace WHERE {}",
            owner(&format!("{alias}.{stem}owner")),
            own(catalog, &format!("{alias}.oid"))
        )
    };
    vec![
        format!(
            "SELECT 'DATABASE', format('%I', d.datname), {}, NULL, {} FROM pg_database d \
             WHERE d.datname = current_database()",
            owner("d.datdba"),
            given("d.datacl", "'d'", "d.datdba")
        ),
        format!(
            "SELECT 'SCHEMA', format('%I', n.nspname), {}, NULL, {} FROM pg_namespace n WHERE {}",
            owner("n.nspowner"),
            given("n.nspacl", "'n'", "n.nspowner"),
            own("pg_namespace", "n.oid")
        ),
        format!(
            "SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' \
             WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, format('%I.%I', n.nspname, c.relname), \
             CASE WHEN NOT (c.relkind = 'S' AND EXISTS (SELECT 1 FROM pg_depend a WHERE a.classid = 'pg_class'::regclass \
             AND a.objid = c.oid AND a.refclassid = 'pg_class'::regclass AND a.deptype IN ('a', 'i'))) THEN {} END, NULL, {} \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', \
             '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT 1 FROM pg_depend e \
             WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')",
            owner("c.relowner"),
            given(
                "c.relacl",
                "CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END",
                "c.relowner"
            )
        ),
        format!(
            "SELECT 'COLUMN', format('%I.%I', n.nspname, c.relname), NULL, NULL, {} FROM pg_attribute a \
             JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE a.attacl IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped AND {relation} ORDER BY 2, a.attname",
            grants("a.attacl", "format('%I', a.attname)")
        ),
        format!(
            "SELECT 'TYPE', format_type(t.oid, NULL), {}, NULL, {} FROM pg_type t \
             JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid \
             WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND n.nspname NOT IN \
             ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT 1 \
             FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')",
            owner("t.typowner"),
            given("t.typacl", "'T'", "t.typowner")
        ),
        format!(
            "SELECT 'ROUTINE', p.oid::regprocedure::text, {}, NULL, {} FROM pg_proc p \
             JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {}",
            owner("p.proowner"),
            given("p.proacl", "'f'", "p.proowner"),
            own("pg_proc", "p.oid")
        ),
        format!(
            "SELECT 'OPERATOR', o.oid::regoperator::text, {}, NULL, '[]' FROM pg_operator o \
             JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE {}",
            owner("o.oprowner"),
            own("pg_operator", "o.oid")
        ),
        named("pg_collation", "l", "COLLATION", "coll"),
        named("pg_ts_config", "f", "TEXT SEARCH CONFIGURATION", "cfg"),
        named("pg_ts_dict", "y", "TEXT SEARCH DICTIONARY", "dict"),
        named("pg_statistic_ext", "s", "STATISTICS", "stx"),
        format!(
            "SELECT 'PUBLICATION', format('%I', p.pubname), {}, NULL, '[]' FROM pg_publication p \
             WHERE NOT (p.pubname = '{PUBLICATION}' AND p.pubowner = 10)",
            owner("p.pubowner")
        ),
        format!(
            "SELECT 'DEFAULT', CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN \
             'ROUTINES' WHEN 'T' THEN 'TYPES' WHEN 'L' THEN 'LARGE OBJECTS' ELSE 'SCHEMAS' END, {}, coalesce(quote_ident(n.nspname), ''), {} \
             FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace \
             WHERE pg_get_userbyid(d.defaclrole) !~ '^coffer'",
            owner("d.defaclrole"),
            grants("d.defaclacl", "NULL")
        ),
    ]
}

/// Reads owners and rights in the database that the connection is to.
pub async fn read(inside: &Client) -> Result<Vec<Right>, Error> {
    let doing = "read who may do what";
    inside.quote_names().await?;
    let mut found = Vec::new();
    for sql in questions() {
        for row in catalogue::rows(inside, doing, "", &sql).await? {
            let mut row = row.into_iter();
            let mut next = || row.next().flatten();
            let (kind, object, owner, schema, grants) = (next(), next(), next(), next(), next());
            let grants = grants.unwrap_or_default();
            let grants = serde_json::from_str(&grants)
                .map_err(|_| Error::Unexpected { doing, answer: grants.clone() })?;
            let (kind, object) = (kind.unwrap_or_default(), object.unwrap_or_default());
            found.push(Right { kind, object, owner, schema, grants });
        }
    }
    Ok(found)
}

/// A right that servers have from 17 on. By default it is the owner's, as all others on a table are: two servers are the
/// same without it, and who had all rights before has it afterwards.
const MAINTAIN: &str = "MAINTAIN";

/// The version from which on it is there.
const MAINTAINED: u32 = 17;

/// One line a thing.
pub fn lines(rights: &[Right]) -> Vec<String> {
    rights
        .iter()
        .map(|right| {
            let grants: BTreeSet<String> = right
                .grants
                .iter()
                .filter(|grant| grant.right != MAINTAIN)
                .map(|grant| {
                    let to = grant.to.as_deref().unwrap_or("PUBLIC");
                    let column = grant.column.as_deref().unwrap_or_default();
                    let on = if grant.on { "*" } else { "" };
                    format!("{to}={}{on}{column}", grant.right)
                })
                .collect();
            let grants: Vec<String> = grants.into_iter().collect();
            let mut name = format!("rights on {} {}", right.kind, right.object);
            if let Some(schema) = &right.schema {
                let owner = right.owner.as_deref().unwrap_or_default();
                name.push_str(&format!(
                    " that {owner} makes in {}",
                    if schema.is_empty() { "any schema" } else { schema }
                ));
            }
            let owner = ("owner".to_owned(), right.owner.clone().unwrap_or_default());
            object::line(&name, [owner, ("rights".to_owned(), grants.join(", "))])
        })
        .collect()
}

/// The tables' kinds are one to who gives rights.
fn target(kind: &str) -> Option<&'static str> {
    match kind {
        "DATABASE" => Some("DATABASE"),
        "SCHEMA" => Some("SCHEMA"),
        "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "COLUMN" => Some("TABLE"),
        "SEQUENCE" => Some("SEQUENCE"),
        "TYPE" => Some("TYPE"),
        "ROUTINE" => Some("ROUTINE"),
        _ => None,
    }
}

fn role(to: Option<&str>) -> String {
    to.map_or_else(|| "PUBLIC".to_owned(), name)
}

fn give(right: &Right, grant: &Grant) -> Option<String> {
    let on = target(&right.kind)?;
    let column = grant.column.as_ref().map(|column| format!(" ({column})")).unwrap_or_default();
    let option = if grant.on { " WITH GRANT OPTION" } else { "" };
    Some(format!(
        "GRANT {}{column} ON {on} {} TO {}{option}",
        grant.right,
        right.object,
        role(grant.to.as_deref())
    ))
}

/// What lets tenants read what they can read on the source, and nothing more, of what its keeper owns here.
pub fn reading(rights: &[Right]) -> Vec<String> {
    let mut statements = Vec::new();
    for right in rights {
        let reads = match right.kind.as_str() {
            "DATABASE" => "CONNECT",
            "SCHEMA" => "USAGE",
            _ => "SELECT",
        };
        for grant in right.grants.iter().filter(|grant| grant.right == reads) {
            statements.extend(give(right, &Grant { on: false, by: None, ..grant.clone() }));
        }
    }
    statements
}

/// The rights as a server of version `major` has them.
fn as_of(major: u32, rights: Vec<Right>) -> Vec<Right> {
    let known = rights.iter().any(|right| right.grants.iter().any(|grant| grant.right == MAINTAIN));
    let fit = |mut right: Right| {
        let whole = |grant: &&Grant| grant.right == "TRUNCATE" && grant.to == right.owner;
        let owners = right.grants.iter().find(whole).cloned();
        if major < MAINTAINED {
            right.grants.retain(|grant| grant.right != MAINTAIN);
        } else if let Some(owners) = owners.filter(|_| !known) {
            right.grants.push(Grant { right: MAINTAIN.to_owned(), ..owners });
        }
        right
    };
    rights.into_iter().map(fit).collect()
}

/// What gives everything its owner and its rights; `roles` are the tenant's.
fn giving(rights: &[Right], roles: &[String]) -> Vec<String> {
    let mut statements = Vec::new();
    for right in rights.iter().filter(|right| right.kind != "DEFAULT") {
        if let Some(owner) = &right.owner {
            statements.push(format!("ALTER {} {} OWNER TO {}", right.kind, right.object, name(owner)));
        }
    }
    let everybody: Vec<String> =
        std::iter::once("PUBLIC".to_owned()).chain(roles.iter().map(|role| name(role))).collect();
    let everybody = everybody.join(", ");
    for right in rights {
        if right.kind == "DEFAULT" {
            statements.extend(by_default(right));
            continue;
        }
        let Some(on) = target(&right.kind) else { continue };
        if right.kind != "COLUMN" {
            statements.push(format!("REVOKE ALL ON {on} {} FROM {everybody}", right.object));
        }
    }
    // After every REVOKE: one on a table takes its columns' rights, too.
    for right in rights.iter().filter(|right| right.kind != "DEFAULT") {
        statements.extend(in_turn(right));
    }
    statements
}

/// A right that was given on is given after the right to do that.
fn in_turn(right: &Right) -> Vec<String> {
    let mut statements = Vec::new();
    let mut able: BTreeSet<Option<&str>> = BTreeSet::from([right.owner.as_deref()]);
    let mut left: Vec<&Grant> = right.grants.iter().collect();
    loop {
        let (now, later): (Vec<&Grant>, Vec<&Grant>) = left.iter().partition(|grant| {
            right.owner.is_none() || grant.by == right.owner || able.contains(&grant.by.as_deref())
        });
        if now.is_empty() {
            // Whoever gave it cannot any more: as the owner's own.
            statements.extend(later.into_iter().filter_map(|grant| give(right, grant)));
            return statements;
        }
        for grant in now {
            let Some(statement) = give(right, grant) else { continue };
            let by = grant.by.as_deref().filter(|_| right.owner.is_some() && grant.by != right.owner);
            match by {
                Some(by) => {
                    // Nothing of a tenant's is evaluated by a grant: the role is taken to be named as who gave it.
                    statements.push(format!("SET LOCAL ROLE {}", name(by)));
                    statements.push(statement);
                    statements.push("SET LOCAL ROLE NONE".to_owned());
                }
                None => statements.push(statement),
            }
            if grant.on {
                able.insert(grant.to.as_deref());
            }
        }
        left = later;
    }
}

fn by_default(right: &Right) -> Vec<String> {
    let Some(owner) = &right.owner else { return Vec::new() };
    let everywhere = right.schema.as_deref().unwrap_or_default().is_empty();
    let mut begin = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}", name(owner));
    if !everywhere {
        begin.push_str(&format!(" IN SCHEMA {}", right.schema.as_deref().unwrap_or_default()));
    }
    let mut statements = Vec::new();
    if everywhere {
        let from = format!("PUBLIC, {}", name(owner));
        statements.push(format!("{begin} REVOKE ALL ON {} FROM {from}", right.object));
    }
    for grant in &right.grants {
        let option = if grant.on { " WITH GRANT OPTION" } else { "" };
        statements.push(format!(
            "{begin} GRANT {} ON {} TO {}{option}",
            grant.right,
            right.object,
            role(grant.to.as_deref())
        ));
    }
    statements
}

/// Keeps in a database of the candidate's what is to be given there.
pub async fn keep(inside: &Client, rights: &[Right]) -> Result<(), Error> {
    own::ensure(inside).await?;
    let mut sql = format!(
        "DROP TABLE IF EXISTS {OWN_SCHEMA}.{RIGHTS}; CREATE TABLE {OWN_SCHEMA}.{RIGHTS} (at integer PRIMARY KEY, it text NOT NULL); "
    );
    for (at, right) in rights.iter().enumerate() {
        let text = serde_json::to_string(right).unwrap_or_default();
        sql.push_str(&format!("INSERT INTO {OWN_SCHEMA}.{RIGHTS} VALUES ({at}, {}); ", quoted(&text)));
    }
    inside.run("keep who may do what", &sql).await
}

/// What is kept to be given in a database; `None` when all was given.
pub async fn kept(inside: &Client) -> Result<Option<Vec<Right>>, Error> {
    let doing = "read who shall do what";
    if !own::has(inside, doing, RIGHTS).await? {
        return Ok(None);
    }
    let mut rights = Vec::new();
    let read = format!("SELECT it FROM {OWN_SCHEMA}.{RIGHTS} ORDER BY at");
    for row in own::using(inside, doing, RIGHTS, &read).await? {
        let text = row.into_iter().next().flatten().unwrap_or_default();
        let right = serde_json::from_str(&text).map_err(|_| Error::Unexpected { doing, answer: text })?;
        rights.push(right);
    }
    Ok(Some(rights))
}

/// Gives what is kept to be given in a database, and runs `last`, in one transaction; its keeper goes. Happy when it was
/// given.
pub async fn hand_over(inside: &Client, major: u32, keeper: &str, last: &str) -> Result<(), Error> {
    let doing = "give everything its owner";
    let Some(rights) = kept(inside).await? else { return Ok(()) };
    let rights = as_of(major, rights);
    let roles = roles::names(inside).await?;
    let mut statements = vec!["BEGIN".to_owned()];
    statements.extend(giving(&rights, &roles));
    // What has no word for its owner, as an extension has not, becomes the database's owner's: nothing is left to drop.
    let owner = rights.iter().find(|right| right.kind == "DATABASE").and_then(|right| right.owner.as_deref());
    let Some(owner) = owner else {
        return Err(Error::Unexpected { doing, answer: "nobody owns the database".to_owned() });
    };
    statements.push(format!("REASSIGN OWNED BY {} TO {}", name(keeper), name(owner)));
    statements.push(format!("DROP OWNED BY {}", name(keeper)));
    statements.push(format!("DROP ROLE {}", name(keeper)));
    statements.push(format!("DROP TABLE {OWN_SCHEMA}.{RIGHTS}"));
    if !last.is_empty() {
        statements.push(last.to_owned());
    }
    statements.push("COMMIT".to_owned());
    inside.run_and_retry(doing, &statements.join(";\n")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(to: Option<&str>, right: &str, on: bool, by: &str) -> Grant {
        Grant {
            to: to.map(str::to_owned),
            right: right.to_owned(),
            on,
            by: Some(by.to_owned()),
            column: None,
        }
    }

    fn table(grants: Vec<Grant>) -> Right {
        Right {
            kind: "TABLE".to_owned(),
            object: "s.t".to_owned(),
            owner: Some("app".to_owned()),
            schema: None,
            grants,
        }
    }

    #[test]
    fn reading_is_all_that_a_reader_gets() {
        let rights = [
            table(vec![grant(Some("app"), "SELECT", true, "app"), grant(Some("app"), "INSERT", true, "app")]),
            Right { kind: "ROUTINE".to_owned(), ..table(vec![grant(None, "EXECUTE", false, "app")]) },
        ];
        assert_eq!(reading(&rights), ["GRANT SELECT ON TABLE s.t TO \"app\""]);
    }

    #[test]
    fn who_had_all_rights_has_the_new_one() {
        let rights = || {
            vec![table(vec![
                grant(Some("app"), "TRUNCATE", false, "app"),
                grant(Some("b"), "TRUNCATE", false, "app"),
            ])]
        };
        assert_eq!(as_of(16, rights()), rights());
        let more = as_of(17, rights());
        assert_eq!(more[0].grants.last(), Some(&grant(Some("app"), MAINTAIN, false, "app")));
        assert_eq!(as_of(18, more.clone()), more);
        assert_eq!(as_of(16, more.clone()), rights());
        assert_eq!(lines(&more), lines(&rights()));
    }

    #[test]
    fn a_right_comes_after_the_right_to_give_it() {
        let right = table(vec![
            grant(Some("a"), "SELECT", false, "c"),
            grant(Some("b"), "SELECT", true, "app"),
            grant(Some("c"), "SELECT", true, "b"),
        ]);
        assert_eq!(
            in_turn(&right),
            [
                "GRANT SELECT ON TABLE s.t TO \"b\" WITH GRANT OPTION",
                "SET LOCAL ROLE \"b\"",
                "GRANT SELECT ON TABLE s.t TO \"c\" WITH GRANT OPTION",
                "SET LOCAL ROLE NONE",
                "SET LOCAL ROLE \"c\"",
                "GRANT SELECT ON TABLE s.t TO \"a\"",
                "SET LOCAL ROLE NONE",
            ]
        );
    }

    #[test]
    fn a_line_tells_owner_and_rights() {
        let right = table(vec![grant(None, "SELECT", false, "app"), grant(Some("b"), "INSERT", true, "app")]);
        assert_eq!(lines(&[right]), ["rights on TABLE s.t\towner=app\trights=PUBLIC=SELECT, b=INSERT*"]);
    }
}
