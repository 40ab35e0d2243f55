//! What in a server's content a copy with replication cannot carry, found before anything is touched.
//!
//! A table without transactions (MyISAM, Aria) is carried when each of its rows can be told by a key. A replica that
//! dies between a row and its note of having applied it applies it again: with a key that is seen, or changes nothing.
//! Other engines stay: what they hold is lost with a restart (MEMORY), lies elsewhere (FEDERATED, CONNECT, MERGE) or has
//! no key (CSV, ARCHIVE).

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use crate::domain::question::Blocker;
use crate::engines::mariadb::connection::{Client, name};
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::{definitions, helpers};
use crate::engines::{Error, Server};

/// How long one question may take: some open every table.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many of one kind are named; a tenant who sees a hundred needs no more.
const NAMED: usize = 100;

/// Looks for them. The list is bounded.
pub async fn find(server: &Server, client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let mut shown = helpers::show(server, client).await?.patient(PATIENCE);
    let opened = opened(&mut shown).await;
    let gone = helpers::hide(client, shown).await;
    let mut found = opened?;
    gone?;
    found.extend(prepared_transactions(client).await?);
    Ok(found)
}

/// Those that are found by opening the tenant's objects: see [`helpers`].
async fn opened(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let mut found = tables(client).await?;
    found.extend(without_key(client).await?);
    found.extend(views(client).await?);
    found.extend(mistaken(client).await?);
    found.extend(mixed_texts(client).await?);
    found.extend(definitions::too_much(client).await?);
    Ok(found)
}

/// A table or sequence of an engine that knows no transactions, and that a copy of the files carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plain {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `MyISAM` or `Aria`.
    engine: String,
    sequence: bool,
}

/// Every table and sequence without transactions that a copy of the files carries, if replication does.
pub async fn without_transactions(client: &mut Client) -> Result<Vec<Plain>, Error> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_TYPE FROM information_schema.TABLES WHERE {} \
         AND TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE') AND ENGINE IN ('MyISAM', 'Aria') ORDER BY 1, 2",
        tenant_schema("TABLE_SCHEMA")
    );
    let rows = client.rows("list the tables without transactions", &sql).await?;
    let plain = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (schema, name, engine, kind) = (values.next()?, values.next()?, values.next()?, values.next()?);
        Some(Plain { schema, name, engine, sequence: kind == "SEQUENCE" })
    };
    Ok(rows.into_iter().filter_map(plain).collect())
}

/// Those of them whose rows no key tells apart. A sequence has one row.
async fn without_key(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let plain = without_transactions(client).await?;
    if plain.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM (SELECT TABLE_SCHEMA, TABLE_NAME FROM \
         information_schema.STATISTICS WHERE {} AND NON_UNIQUE=0 GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME \
         HAVING SUM(NULLABLE='YES')=0) keyed",
        tenant_schema("TABLE_SCHEMA")
    );
    let keyed: HashSet<(String, String)> = client
        .rows("look for keys", &sql)
        .await?
        .into_iter()
        .filter_map(|row| {
            let mut values = row.into_iter().flatten();
            Some((values.next()?, values.next()?))
        })
        .collect();
    let blocker = |table: Plain| {
        let object = format!("{}.{}", table.schema, table.name);
        Blocker {
            why: format!(
                "is a table of {} without a primary key, in which a replicated row could be applied twice unnoticed",
                table.engine
            ),
            remedy: format!("give it a primary key, or ALTER TABLE {object} ENGINE=InnoDB"),
            object,
        }
    };
    let open =
        |table: &Plain| !table.sequence && !keyed.contains(&(table.schema.clone(), table.name.clone()));
    Ok(plain.into_iter().filter(open).take(NAMED).map(blocker).collect())
}

/// A server that runs since before it had a certificate cannot be followed: it reads one when it starts.
pub async fn certificate(client: &mut Client, file: &Path) -> Result<Option<Blocker>, Error> {
    let read = client.value("ask for the server's certificate", "SELECT @@GLOBAL.ssl_cert").await?;
    Ok((Path::new(&read) != file).then(|| Blocker {
        object: "the server".to_owned(),
        why: "has run without a certificate so far, so that nobody can follow it".to_owned(),
        remedy: "have it started again".to_owned(),
    }))
}

async fn tables(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let rows = client
        .rows(
            "look at the tables' engines",
            &format!(
                "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), IFNULL(ENGINE, ''), TABLE_TYPE \
                 FROM information_schema.TABLES WHERE {} AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW') \
                 AND (ENGINE IS NULL OR ENGINE NOT IN ('InnoDB', 'MyISAM', 'Aria') OR TABLE_TYPE = 'SYSTEM VERSIONED') \
                 ORDER BY 1 LIMIT {NAMED}",
                tenant_schema("TABLE_SCHEMA")
            ),
        )
        .await?;
    let blocker = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (object, engine, kind) = (values.next()?, values.next()?, values.next()?);
        let (why, remedy) = match (engine.as_str(), kind.as_str()) {
            ("", _) => ("cannot be opened".to_owned(), "repair or drop it".to_owned()),
            (_, "SYSTEM VERSIONED") => (
                "keeps old rows (system versioning), which a copy would lose".to_owned(),
                format!("drop its history with ALTER TABLE {object} DROP SYSTEM VERSIONING"),
            ),
            (engine, "SEQUENCE") => (
                format!("is a sequence of {engine}, which a copy of a serving server cannot carry"),
                "make it again with ENGINE=InnoDB".to_owned(),
            ),
            (engine, _) => (
                format!("is a table of {engine}, which a copy of a serving server cannot carry"),
                format!("ALTER TABLE {object} ENGINE=InnoDB"),
            ),
        };
        Some(Blocker { object, why, remedy })
    };
    Ok(rows.into_iter().filter_map(blocker).collect())
}

/// Views that cannot be read cannot be made again. Whether one that calls a function can be is seen when it is made, as
/// the functions are not ours to run; functions of a package are there only then, and cannot be stood in for.
async fn views(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.VIEWS WHERE {}",
        tenant_schema("TABLE_SCHEMA")
    );
    let packages =
        format!("SELECT db, name FROM mysql.proc WHERE {} AND type='PACKAGE'", tenant_schema("db"));
    let packages: HashSet<String> = client
        .rows("list the packages", &packages)
        .await?
        .into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("."))
        .collect();
    let denied = format!("'{}'@'localhost' for routine '", client.user());
    let mut found = Vec::new();
    for row in client.rows("look at the views", &sql).await? {
        let [Some(schema), Some(view)] = row.as_slice() else { continue };
        let fields = format!("SHOW FIELDS FROM {}.{}", name(schema), name(view));
        match client.run("look at a view", &fields).await {
            Ok(()) => {}
            Err(Error::Refused { code: 1370, message, .. }) if message.contains(&denied) => {
                let routine = message.split_once(&denied).and_then(|(_, rest)| rest.strip_suffix('\''));
                if routine.is_some_and(|routine| packages.contains(routine)) {
                    found.push(Blocker {
                        object: format!("{schema}.{view}"),
                        why: "is a view that calls a function of a package".to_owned(),
                        remedy: "have it call a function that is in no package, or drop it".to_owned(),
                    });
                }
            }
            Err(Error::Refused { code, message, .. }) => {
                found.push(Blocker {
                    object: format!("{schema}.{view}"),
                    why: format!("is a view that cannot be read ({code}: {message})"),
                    remedy: "mend or drop it".to_owned(),
                });
            }
            Err(error) => return Err(error),
        }
        if found.len() >= NAMED {
            break;
        }
    }
    Ok(found)
}

/// Names that the dump program takes for a view's, by its own idea of equal names; it would leave the table out.
async fn mistaken(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let list = |what: &str| {
        format!(
            "SELECT CONVERT(CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) USING utf8mb4) COLLATE utf8mb4_general_ci AS n FROM information_schema.TABLES \
             WHERE {} AND TABLE_TYPE {what}",
            tenant_schema("TABLE_SCHEMA")
        )
    };
    let sql = format!(
        "SELECT DISTINCT t.n FROM ({}) t JOIN ({}) v ON t.n = v.n LIMIT {NAMED}",
        list("<> 'VIEW'"),
        list("= 'VIEW'")
    );
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: row.into_iter().next().flatten().unwrap_or_default(),
        why: "is a table with nearly the name of a view, which a copy takes for it".to_owned(),
        remedy: "give one of them another name".to_owned(),
    };
    let rows = client.rows("look for names that are nearly the same", &sql).await?;
    Ok(rows.into_iter().map(blocker).collect())
}

/// A server keeps a routine's text in the character set of the client that made it, and its name, definer and comment
/// in another: what it shows of it is text in neither.
async fn mixed_texts(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let one = |list: &str, schema: &str, name: &str, texts: &str| {
        format!(
            "SELECT {schema} AS s, {name} AS n FROM {list} WHERE {} AND {texts} <> CONVERT({texts} USING ascii) \
             AND CHARACTER_SET_CLIENT NOT IN ('utf8', 'utf8mb3', 'utf8mb4')",
            tenant_schema(schema)
        )
    };
    let sql = format!(
        "SELECT CONCAT(s, '.', n) FROM ({} UNION ALL {}) x ORDER BY 1 LIMIT {NAMED}",
        one(
            "information_schema.ROUTINES",
            "ROUTINE_SCHEMA",
            "ROUTINE_NAME",
            "CONCAT(ROUTINE_NAME, DEFINER, ROUTINE_COMMENT)"
        ),
        one(
            "information_schema.EVENTS",
            "EVENT_SCHEMA",
            "EVENT_NAME",
            "CONCAT(EVENT_NAME, DEFINER, EVENT_COMMENT)"
        ),
    );
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: row.into_iter().next().flatten().unwrap_or_default(),
        why: "was made in another character set than that of its name, definer or comment".to_owned(),
        remedy: "make it again after SET NAMES utf8mb4".to_owned(),
    };
    let rows = client.rows("look for texts in two character sets", &sql).await?;
    Ok(rows.into_iter().map(blocker).collect())
}

/// They are in no dump, and their end would be replicated without their beginning.
async fn prepared_transactions(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let rows = client.rows("look for prepared transactions", "XA RECOVER").await?;
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: format!("transaction {}", row.into_iter().nth(3).flatten().unwrap_or_default()),
        why: "is prepared (XA) and neither committed nor rolled back".to_owned(),
        remedy: "XA COMMIT or XA ROLLBACK it".to_owned(),
    };
    Ok(rows.into_iter().take(NAMED).map(blocker).collect())
}
