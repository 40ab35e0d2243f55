//! What we put into a server: databases and users of the tenant, and our own probe.

use crate::domain::tenant::{NewDatabase, NewUser, OWN_SCHEMA};
use crate::engines::Error;
use crate::engines::mariadb::connection::{Client, name, quoted};

/// What the server puts before the name of a folder in its data folder that is no database's: `lost+found`, an editor's
/// backup.
pub const NO_DATABASE: &str = "#mysql50#";

/// The condition that holds for the tenant's own schemas, of a column that names one. Byte by byte: to most collations
/// `cöffer` is `coffer`. A folder that is no database is not among them.
pub fn tenant_schema(column: &str) -> String {
    format!(
        "BINARY {column} NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys', '{OWN_SCHEMA}') \
         AND LEFT({column}, 9) <> '{NO_DATABASE}'"
    )
}

/// The longest pattern that a grant takes, in characters.
const LONGEST_PATTERN: usize = 64;

/// A database's name in a grant, where it is a pattern. Of a name that is too long once all is escaped, `_` stays:
/// it stands for one character, so that no short name of the system's is meant.
pub fn pattern(database: &str) -> String {
    let without_percent = database.replace('\\', "\\\\").replace('%', "\\%");
    let whole = without_percent.replace('_', "\\_");
    if whole.chars().count() <= LONGEST_PATTERN { whole } else { without_percent }
}

/// Whether a pattern means one database alone: each of its wildcards is escaped.
pub fn is_exact(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '_' | '%' => return false,
            '\\' => drop(chars.next()),
            _ => {}
        }
    }
    true
}

/// The tenant's databases by name.
pub async fn databases(client: &mut Client) -> Result<Vec<String>, Error> {
    let condition = tenant_schema("SCHEMA_NAME");
    let sql = format!("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE {condition} ORDER BY 1");
    let rows = client.rows("list the databases", &sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// A database of the tenant's, with what its tables have by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    character_set: String,
    collation: String,
}

impl Described {
    /// The end of the statement that makes or alters it.
    pub fn options(&self) -> String {
        format!(
            "{} CHARACTER SET {} COLLATE {}",
            name(&self.name),
            quoted(&self.character_set),
            quoted(&self.collation)
        )
    }
}

/// The tenant's databases, each with its defaults.
pub async fn described(client: &mut Client) -> Result<Vec<Described>, Error> {
    let condition = tenant_schema("SCHEMA_NAME");
    let sql = format!(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
         WHERE {condition} ORDER BY 1"
    );
    let described = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().flatten();
        Some(Described { name: values.next()?, character_set: values.next()?, collation: values.next()? })
    };
    Ok(client.rows("describe the databases", &sql).await?.into_iter().filter_map(described).collect())
}

/// Makes the databases and users that are not there yet. These statements are the tenant's content: they go into the
/// binary log.
pub async fn create(client: &mut Client, databases: &[NewDatabase], users: &[NewUser]) -> Result<(), Error> {
    for database in databases {
        client.run("make a database", &create_database(database)).await?;
    }
    for user in users {
        let account = format!("{}@{}", quoted(&user.name), quoted(&user.host));
        let verifier = quoted(user.verifier.expose());
        let create = format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY PASSWORD {verifier}");
        client.run("make a user", &create).await?;
        for database in &user.databases {
            let grant = format!("GRANT ALL PRIVILEGES ON {}.* TO {account}", name(&pattern(database)));
            client.run("grant a user its databases", &grant).await?;
        }
    }
    Ok(())
}

fn create_database(database: &NewDatabase) -> String {
    let mut create = format!("CREATE DATABASE IF NOT EXISTS {}", name(&database.name));
    if let Some(character_set) = &database.character_set {
        create.push_str(&format!(" CHARACTER SET {}", quoted(character_set)));
    }
    if let Some(collate) = &database.collate {
        create.push_str(&format!(" COLLATE {}", quoted(collate)));
    }
    create
}

/// Writes a word into our own schema and reads it back; gives the version that the server answers.
pub async fn probe(client: &mut Client, write: bool) -> Result<String, Error> {
    if write {
        client.without_binlog().await?;
        let word = uuid::Uuid::new_v4().to_string();
        let replace = format!("REPLACE INTO {OWN_SCHEMA}.probe (id, word) VALUES (1, {})", quoted(&word));
        client.run("write the probe", &replace).await?;
        let read = client
            .value("read the probe", &format!("SELECT word FROM {OWN_SCHEMA}.probe WHERE id=1"))
            .await?;
        if read != word {
            return Err(Error::Unexpected { doing: "read the probe", answer: read });
        }
    }
    let answer = client.value("ask for the version", "SELECT @@version").await?;
    number_in(&answer).ok_or(Error::Unexpected { doing: "ask for the version", answer })
}

/// `10.11.19` of `10.11.19-MariaDB-0+deb12u1-log`.
fn number_in(answer: &str) -> Option<String> {
    let number: String = answer.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (number.split('.').filter(|part| !part.is_empty()).count() >= 2).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_as_asked() {
        let database =
            NewDatabase { name: "a`b".to_owned(), character_set: Some("utf8mb4".to_owned()), collate: None };
        assert_eq!(
            create_database(&database),
            "CREATE DATABASE IF NOT EXISTS `a``b` CHARACTER SET 'utf8mb4'"
        );
    }

    #[test]
    fn a_pattern_means_one_database() {
        assert_eq!(pattern(r"a_b%c\"), r"a\_b\%c\\");
        assert_eq!(pattern(&"_".repeat(40)), "_".repeat(40));
        assert!(is_exact(&pattern(r"a_b%c\")) && is_exact("shop") && !is_exact("a_b") && !is_exact("%"));
    }

    #[test]
    fn the_version_is_the_number_alone() {
        assert_eq!(number_in("11.8.6-MariaDB-0+deb13u1 from Debian-log").as_deref(), Some("11.8.6"));
        assert_eq!(number_in("MariaDB"), None);
    }
}
