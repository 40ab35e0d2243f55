//! What we put into a server: databases and users of the tenant, and our own probe.
//!
//! A database belongs to the first user that has rights on it, and every other one of its users has all rights on the
//! database and on its schema `public`, and on what the others make there. What belongs to nobody belongs to us, and no
//! tenant comes to it. A user has no right beyond its databases: it can make no other, and no other user.

use crate::domain::tenant::{NewDatabase, NewUser, OWN_SCHEMA};
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::{ACCOUNT, major, own};
use crate::engines::{Error, Server};

/// What a tenant's user is, and what it is not.
pub const TENANT: &str = "LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";

/// Makes the databases and users that are not there yet, and gives the rights that are missing.
pub async fn create(
    server: &Server,
    client: &Client,
    databases: &[NewDatabase],
    users: &[NewUser],
) -> Result<(), Error> {
    for user in users {
        make_user(client, user).await?;
    }
    for database in databases {
        make_database(client, database).await?;
        // Before it is anybody's.
        own::ensure(&Client::connect_to(server, &database.name).await?).await?;
        open(client, &database.name).await?;
        let of_it: Vec<&str> = users
            .iter()
            .filter(|user| user.databases.contains(&database.name))
            .map(|user| &*user.name)
            .collect();
        give(server, client, &database.name, &of_it).await?;
    }
    Ok(())
}

async fn make_user(client: &Client, user: &NewUser) -> Result<(), Error> {
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = {}", quoted(&user.name));
    if client.is_there("look for a user", &there).await? {
        return Ok(());
    }
    let create =
        format!("CREATE ROLE {} WITH {TENANT} PASSWORD {}", name(&user.name), quoted(user.verifier.expose()));
    client.run("make a user", &create).await
}

/// Lets a new database's users in, which were kept out until it was closed to everybody else.
async fn open(client: &Client, database: &str) -> Result<(), Error> {
    let is_shut =
        format!("SELECT 1 FROM pg_database WHERE datname = {} AND datconnlimit = 0", quoted(database));
    if client.is_there("look whether a database is shut", &is_shut).await? {
        let open = format!("ALTER DATABASE {} CONNECTION LIMIT -1", name(database));
        client.run_and_retry("open a database", &open).await?;
    }
    Ok(())
}

async fn make_database(client: &Client, database: &NewDatabase) -> Result<(), Error> {
    let there = format!("SELECT 1 FROM pg_database WHERE datname = {}", quoted(&database.name));
    if !client.is_there("look for a database", &there).await? {
        client.run("make a database", &create_database(database)).await?;
    }
    // Whoever is not of it does not come in. What was granted meanwhile stays.
    let closed = format!("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", name(&database.name));
    let open =
        format!("SELECT 1 FROM pg_database WHERE datname = {} AND datacl IS NULL", quoted(&database.name));
    if client.is_there("look who may come to a database", &open).await? {
        client.run("close a database to others", &closed).await?;
    }
    Ok(())
}

fn create_database(database: &NewDatabase) -> String {
    // Nobody but us comes in before it is closed to those who have no right on it.
    let mut create =
        format!("CREATE DATABASE {} TEMPLATE template0 CONNECTION LIMIT 0", name(&database.name));
    if let Some(encoding) = &database.character_set {
        create.push_str(&format!(" ENCODING {}", quoted(encoding)));
    }
    if let Some(collate) = &database.collate {
        create.push_str(&format!(" LC_COLLATE {}", quoted(collate)));
    }
    create
}

/// Gives a database to its users.
async fn give(server: &Server, client: &Client, database: &str, users: &[&str]) -> Result<(), Error> {
    let Some((first, others)) = users.split_first() else { return Ok(()) };
    let doing = "grant a user its databases";
    let quoted_name = name(database);
    let ours = format!(
        "SELECT 1 FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = {} AND r.rolname = '{ACCOUNT}'",
        quoted(database)
    );
    if client.is_there(doing, &ours).await? {
        client.run(doing, &format!("ALTER DATABASE {quoted_name} OWNER TO {}", name(first))).await?;
    }
    for user in others {
        client.run(doing, &format!("GRANT ALL ON DATABASE {quoted_name} TO {}", name(user))).await?;
    }
    let inside = Client::connect_to(server, database).await?;
    let mut sql = String::new();
    if major(&server.version) < 15 {
        // There `public` is the server's own, and open to everybody.
        sql.push_str(&format!(
            "ALTER SCHEMA public OWNER TO {}; REVOKE CREATE ON SCHEMA public FROM PUBLIC; ",
            name(first)
        ));
    }
    for user in others {
        sql.push_str(&format!("GRANT ALL ON SCHEMA public TO {}; ", name(user)));
    }
    for maker in users {
        for user in users.iter().filter(|user| *user != maker) {
            for kind in ["TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS"] {
                sql.push_str(&format!(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT ALL ON {kind} TO {}; ",
                    name(maker),
                    name(user)
                ));
            }
        }
    }
    if sql.is_empty() { Ok(()) } else { inside.run(doing, &sql).await }
}

/// Writes a word into our own schema and reads it back; gives the version that the server answers.
pub async fn probe(client: &Client, write: bool) -> Result<String, Error> {
    if write {
        let word = uuid::Uuid::new_v4().to_string();
        let put = format!(
            "INSERT INTO {OWN_SCHEMA}.probe (id, word) VALUES (1, '{word}') \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word"
        );
        client.run("write the probe", &put).await?;
        let get = format!("SELECT word FROM {OWN_SCHEMA}.probe WHERE id = 1");
        let read = client.value("read the probe", &get).await?.unwrap_or_default();
        if read != word {
            return Err(Error::Unexpected { doing: "read the probe", answer: read });
        }
    }
    let doing = "ask for the version";
    let answer = client.value(doing, "SHOW server_version").await?.unwrap_or_default();
    number_in(&answer).ok_or(Error::Unexpected { doing, answer })
}

/// `15.20` of `15.20 (Debian 15.20-0+deb12u1)`.
fn number_in(answer: &str) -> Option<String> {
    let number: String = answer.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (number.split('.').filter(|part| !part.is_empty()).count() >= 2).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_as_asked() {
        let database = NewDatabase {
            name: "a\"b".to_owned(),
            character_set: Some("UTF8".to_owned()),
            collate: Some("C".to_owned()),
        };
        assert_eq!(
            create_database(&database),
            "CREATE DATABASE \"a\"\"b\" TEMPLATE template0 CONNECTION LIMIT 0 ENCODING 'UTF8' LC_COLLATE 'C'"
        );
    }

    #[test]
    fn the_version_is_the_number_alone() {
        assert_eq!(number_in("15.20 (Debian 15.20-0+deb12u1)").as_deref(), Some("15.20"));
        assert_eq!(number_in("19rc1"), None);
    }
}
