//! Databases and users in bodies and paths, as a creation and the routes of an instance's content take them.
//!
//! A user's password becomes the server's verifier in this parse; the text goes no further. What a server takes as names
//! and verifiers is its engine's matter.

use crate::api::json_fields::Field;
use crate::domain::datastore::EngineKind;
use crate::domain::operation::Account;
use crate::domain::postgresql;
use crate::domain::refusal::Refusal;
use crate::domain::tenant::{
    NewDatabase, NewUser, Verifier, is_host, is_reserved_database, is_reserved_user,
};

/// The longest name of a database.
const LONGEST_DATABASE: usize = 64;

/// The longest name of a user: Trove's, which a PostgreSQL server's own takes the place of.
const LONGEST_USER: usize = 16;

/// The most elements of one list: making the verifiers of many users takes a while.
const MOST: usize = 100;

/// The longest password.
const LONGEST_PASSWORD: usize = 255;

/// The character sets that a database can have.
const CHARACTER_SETS: [&str; 41] = [
    "armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866",
    "cp932", "dec8", "eucjpms", "euckr", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2",
    "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620",
    "ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4",
];

/// A name that can stand in SQL inside quotes and in a client's command line.
fn identifier<'a>(field: &Field<'a>, longest: usize) -> Result<&'a str, Refusal> {
    let name = field.words(longest)?;
    let odd = |c: char| c.is_control() || "'\"`;,/\\".contains(c) || u32::from(c) > 0xFFFF;
    if name.trim() != name || name.contains(odd) {
        return Err(field.refuse(
            "must neither begin nor end with a space, nor hold a control character, one beyond U+FFFF, or one of ' \" ` ; , / \\",
        ));
    }
    Ok(name)
}

/// The elements of a list that is not too long.
///
/// # Errors
/// 400 naming the field.
pub fn few<'a>(list: &Field<'a>) -> Result<Vec<Field<'a>>, Refusal> {
    let all = list.array()?;
    if all.len() > MOST { Err(list.refuse(&format!("must have {MOST} elements at most"))) } else { Ok(all) }
}

/// A list of databases to make.
///
/// # Errors
/// 400 naming the field.
pub fn databases(field: &Field<'_>, engine: EngineKind) -> Result<Vec<NewDatabase>, Refusal> {
    let mut all: Vec<NewDatabase> = Vec::new();
    for element in few(field)? {
        let field = element.required("name")?;
        let name = identifier(&field, LONGEST_DATABASE)?;
        check_database(&field, name, engine)?;
        if all.iter().any(|other| other.name == name) {
            return Err(field.refuse("must not be there twice"));
        }
        let (character_set, collate) = match engine {
            EngineKind::MariaDb | EngineKind::Mysql => character_set(&element)?,
            EngineKind::Postgresql => encoding(&element)?,
        };
        all.push(NewDatabase { name: name.to_owned(), character_set, collate });
    }
    Ok(all)
}

fn check_database(field: &Field<'_>, name: &str, engine: EngineKind) -> Result<(), Refusal> {
    let wrong = match engine {
        EngineKind::Postgresql => postgresql::wrong_database(name),
        EngineKind::MariaDb | EngineKind::Mysql if is_reserved_database(name) => Some("is reserved"),
        // The server's mark for names in the file system's own encoding.
        EngineKind::MariaDb | EngineKind::Mysql if name.to_ascii_lowercase().starts_with("#mysql50#") => {
            Some("must not begin with #mysql50#")
        }
        // A grant names a database by a pattern of at most 64 characters, in which these are escaped.
        EngineKind::MariaDb | EngineKind::Mysql
            if name.chars().count() + name.chars().filter(|c| "_%\\".contains(*c)).count()
                > LONGEST_DATABASE =>
        {
            Some("must have 64 characters at most, where _ and % count twice")
        }
        EngineKind::MariaDb | EngineKind::Mysql => None,
    };
    wrong.map_or(Ok(()), |wrong| Err(field.refuse(wrong)))
}

/// A word of a database, in lower case, with its field.
fn word<'a>(element: &Field<'a>, key: &str) -> Result<Option<(String, Field<'a>)>, Refusal> {
    element.optional(key)?.map(|field| Ok((field.words(64)?.to_ascii_lowercase(), field))).transpose()
}

/// A database's character set and collation in a server of MySQL's family.
fn character_set(element: &Field<'_>) -> Result<(Option<String>, Option<String>), Refusal> {
    let character_set = match word(element, "character_set")? {
        Some((set, _)) if CHARACTER_SETS.contains(&set.as_str()) => Some(set),
        Some((_, field)) => return Err(field.refuse("must be a character set of the server")),
        None => None,
    };
    let collate = match word(element, "collate")? {
        Some((name, field)) if !fits(&name, character_set.as_deref()) => {
            return Err(field.refuse("must be a collation of the character set"));
        }
        Some((name, _)) => Some(name),
        None => None,
    };
    Ok((character_set, collate))
}

/// A database's encoding and collation in a PostgreSQL server.
fn encoding(element: &Field<'_>) -> Result<(Option<String>, Option<String>), Refusal> {
    let encoding = match word(element, "character_set")? {
        Some((set, _)) if postgresql::is_character_set(&set) => Some("UTF8".to_owned()),
        Some((_, field)) => return Err(field.refuse("must be UTF8, the one encoding of these servers")),
        None => None,
    };
    let collate = match word(element, "collate")? {
        Some((name, field)) => match postgresql::collation(&name) {
            Some(name) => Some(name.to_owned()),
            None => {
                return Err(field.refuse(
                    "must be C.UTF-8, C or POSIX; for the order of a language, give a column an ICU collation",
                ));
            }
        },
        None => None,
    };
    Ok((encoding, collate))
}

/// Whether a collation can be one of the character set, of any when none is given.
fn fits(collation: &str, character_set: Option<&str>) -> bool {
    if !collation.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return false;
    }
    // Newer servers have collations that every Unicode character set shares.
    if collation.starts_with("uca1400_") {
        return character_set.is_none_or(|set| set.starts_with("utf") || set == "ucs2");
    }
    let own = |set: &str| {
        collation == set
            || collation.strip_prefix(set).is_some_and(|rest| rest.starts_with('_'))
            || (set == "utf8" && collation.starts_with("utf8mb3_"))
            || (set == "utf8mb3" && collation.starts_with("utf8_"))
    };
    match character_set {
        Some(set) => own(set),
        None => CHARACTER_SETS.iter().any(|set| own(set)),
    }
}

/// A list of users to make; they may have rights on `databases` only, where that is given.
///
/// # Errors
/// 400 naming the field.
pub fn users(
    field: &Field<'_>,
    databases: Option<&[NewDatabase]>,
    engine: EngineKind,
) -> Result<Vec<NewUser>, Refusal> {
    let mut all: Vec<NewUser> = Vec::new();
    for element in few(field)? {
        let (field, account) = account(&element, engine)?;
        if all.iter().any(|other| Account::from(other) == account) {
            return Err(field.refuse("must not be there twice with the same host"));
        }
        let verifier = password(&element.required("password")?, engine)?;
        let granted = match element.optional("databases")? {
            Some(list) => named_databases(&list)?,
            None => Vec::new(),
        };
        if let Some(databases) = databases
            && let Some((_, field)) =
                granted.iter().find(|(name, _)| databases.iter().all(|known| known.name != *name))
        {
            return Err(field.refuse("must be one of instance['databases']"));
        }
        all.push(NewUser {
            name: account.name,
            host: account.host,
            verifier,
            databases: granted.into_iter().map(|(name, _)| name).collect(),
        });
    }
    Ok(all)
}

/// A list of databases that are there, each with the field that names it.
///
/// # Errors
/// 400 naming the field.
pub fn named_databases<'a>(list: &Field<'a>) -> Result<Vec<(String, Field<'a>)>, Refusal> {
    let mut all: Vec<(String, Field<'a>)> = Vec::new();
    for database in few(list)? {
        let field = database.required("name")?;
        let name = field.words(LONGEST_DATABASE)?.to_owned();
        if all.iter().any(|(known, _)| *known == name) {
            return Err(field.refuse("must not be there twice"));
        }
        all.push((name, field));
    }
    Ok(all)
}

/// The user that `name` and `host` of an object tell, and the field of its name.
///
/// # Errors
/// 400 naming the field.
pub fn account<'a>(element: &Field<'a>, engine: EngineKind) -> Result<(Field<'a>, Account), Refusal> {
    let field = element.required("name")?;
    let name = user_name(&field, engine)?.to_owned();
    let host = match element.optional("host")? {
        Some(host) => user_host(&host, engine)?.to_owned(),
        None => "%".to_owned(),
    };
    Ok((field, Account { name, host }))
}

/// A name that a user can have.
///
/// # Errors
/// 400 naming the field.
pub fn user_name<'a>(field: &Field<'a>, engine: EngineKind) -> Result<&'a str, Refusal> {
    let name = match engine {
        EngineKind::MariaDb | EngineKind::Mysql => identifier(field, LONGEST_USER)?,
        EngineKind::Postgresql => identifier(field, postgresql::LONGEST_NAME)?,
    };
    if let Some(wrong) = wrong_user(name, engine) {
        return Err(field.refuse(wrong));
    }
    Ok(name)
}

/// Why a user cannot have this name, if it cannot.
fn wrong_user(name: &str, engine: EngineKind) -> Option<&'static str> {
    match engine {
        EngineKind::Postgresql => postgresql::wrong_user(name),
        EngineKind::MariaDb | EngineKind::Mysql => is_reserved_user(name).then_some("is reserved"),
    }
}

/// Where a user may come from.
///
/// # Errors
/// 400 naming the field.
pub fn user_host<'a>(field: &Field<'a>, engine: EngineKind) -> Result<&'a str, Refusal> {
    let host = field.text()?;
    if engine == EngineKind::Postgresql && host != "%" {
        return Err(field.refuse("must be %: a user of PostgreSQL is the same from everywhere"));
    }
    if !is_host(host) {
        return Err(field.refuse(
            "must be %, an IPv4 address, one with % in place of parts, as 10.0.%, or a network with its mask, as \
             10.1.0.0/255.255.0.0",
        ));
    }
    Ok(host)
}

/// The user that a segment of a path names: `name` or `name@host`. The last `@` divides; without one, or with nothing behind
/// it, the user is the one that comes from anywhere.
pub fn account_in_path(segment: &str) -> Account {
    let (name, host) = match segment.rsplit_once('@') {
        Some((name, "")) => (name, "%"),
        Some((name, host)) => (name, host),
        None => (segment, "%"),
    };
    Account { name: name.to_owned(), host: host.to_owned() }
}

/// Refuses to change a user that is the system's or ours.
///
/// # Errors
/// 400 naming it.
pub fn changeable(account: &Account, engine: EngineKind) -> Result<(), Refusal> {
    if account.name.contains(char::is_control) || account.host.contains(char::is_control) {
        return Err(Refusal::invalid("user", "must not hold a control character"));
    }
    match wrong_user(&account.name, engine) {
        Some(_) => Err(Refusal::invalid("user", "is reserved: the service, or the server, needs it")),
        None => Ok(()),
    }
}

/// Refuses to change a database that is the system's or ours.
///
/// # Errors
/// 400 naming it.
pub fn changeable_database(name: &str, engine: EngineKind) -> Result<(), Refusal> {
    if name.contains(char::is_control) {
        return Err(Refusal::invalid("database", "must not hold a control character"));
    }
    let reserved = match engine {
        EngineKind::Postgresql => postgresql::is_reserved_database(name),
        EngineKind::MariaDb | EngineKind::Mysql => is_reserved_database(name),
    };
    if reserved {
        return Err(Refusal::invalid("database", "is reserved: the service, or the server, needs it"));
    }
    Ok(())
}

/// A password, as what a server of `engine` keeps of it.
///
/// # Errors
/// 400 naming the field, never the password.
pub fn password(field: &Field<'_>, engine: EngineKind) -> Result<Verifier, Refusal> {
    let text = field.text()?;
    if text.is_empty() || text.chars().count() > LONGEST_PASSWORD {
        return Err(field.refuse(&format!("must have 1 to {LONGEST_PASSWORD} characters")));
    }
    verifier(field, engine)
}

/// What a server of `engine` keeps of the password.
fn verifier(password: &Field<'_>, engine: EngineKind) -> Result<Verifier, Refusal> {
    let text = password.text()?;
    match engine {
        EngineKind::MariaDb | EngineKind::Mysql => Ok(Verifier::native(text)),
        EngineKind::Postgresql => {
            if text.contains('\0') {
                return Err(password.refuse("must not hold a null character"));
            }
            let scram = postgres_protocol::password::scram_sha_256(text.as_bytes());
            Verifier::scram(scram).ok_or_else(|| password.refuse("cannot be made a verifier of"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_names_a_user_with_its_host() {
        for (segment, name, host) in [
            ("app", "app", "%"),
            ("app@", "app", "%"),
            ("app@10.0.0.%", "app", "10.0.0.%"),
            ("a@b@10.%", "a@b", "10.%"),
            ("a.b", "a.b", "%"),
        ] {
            let account = account_in_path(segment);
            assert_eq!((account.name.as_str(), account.host.as_str()), (name, host), "{segment}");
        }
    }
}
