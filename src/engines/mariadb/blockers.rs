//! What in a server's content a copy with replication cannot carry, found before anything is touched.
//!
//! A table without transactions (MyISAM, Aria) is carried when each of its rows can be told by a key. A replica that
//! dies between a row and its note of having applied it applies it again: with a key that is seen, or changes nothing.
//! Other engines stay: what they hold is lost with a restart (MEMORY), lies elsewhere (FEDERATED, CONNECT, MERGE) or has
//! no key (CSV, ARCHIVE). A table whose old rows are told by numbers of transactions stays, too: a server that follows
//! counts its own. So does one whose old rows are made by a foreign key: their time is in no log. And one whose rows no
//! key tells apart and that has a spatial index: a server that follows looks for them there, and finds none.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use crate::domain::question::{Blocker, Finding};
use crate::engines::mariadb::connection::Client;
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::helpers;
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
    found.extend(by_transaction(client).await?);
    found.extend(kept_by_a_foreign_key(client).await?);
    found.extend(spatial_without_key(client).await?);
    let plain = without_transactions(client).await?;
    found.extend(plain.iter().filter_map(unlockable).take(NAMED));
    found.extend(without_key(client, plain).await?);
    Ok(found)
}

/// The program that copies the files of a serving server locks each table without transactions by its name, and does
/// not double a backtick in it.
fn unlockable(table: &Plain) -> Option<Blocker> {
    let is_odd = table.schema.contains('`') || table.name.contains('`');
    is_odd.then(|| Blocker {
        object: format!("{}.{}", table.schema, table.name),
        why: format!(
            "is a table of {} with a backtick in its name, which a copy of a serving server cannot lock",
            table.engine
        ),
        remedy: "rename it, ALTER TABLE it to ENGINE=InnoDB, or upgrade in place".to_owned(),
    })
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
         AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE') AND ENGINE IN ('MyISAM', 'Aria') \
         ORDER BY 1, 2",
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
async fn without_key(client: &mut Client, plain: Vec<Plain>) -> Result<Vec<Blocker>, Error> {
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
                 AND (ENGINE IS NULL OR ENGINE NOT IN ('InnoDB', 'MyISAM', 'Aria')) \
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

/// Versioned tables whose periods are numbers of transactions.
async fn by_transaction(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let sql = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.COLUMNS WHERE {} \
         AND GENERATION_EXPRESSION='ROW START' AND DATA_TYPE='bigint' ORDER BY 1 LIMIT {NAMED}",
        tenant_schema("TABLE_SCHEMA")
    );
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: row.into_iter().next().flatten().unwrap_or_default(),
        why: "keeps old rows by numbers of transactions, which are others on a server that follows"
            .to_owned(),
        remedy: "upgrade in place, or keep them by time: ROW START and ROW END as TIMESTAMP(6)".to_owned(),
    };
    let rows = client.rows("look for tables versioned by transactions", &sql).await?;
    Ok(rows.into_iter().map(blocker).collect())
}

/// Versioned tables whose rows a foreign key changes or deletes. Such changes are in no log: each server makes them by
/// itself, and notes its own time in the old rows, of which the log tells whole seconds only.
async fn kept_by_a_foreign_key(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let sql = format!(
        "SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME), r.CONSTRAINT_NAME FROM \
         information_schema.REFERENTIAL_CONSTRAINTS r JOIN information_schema.TABLES t \
         ON t.TABLE_SCHEMA=r.CONSTRAINT_SCHEMA AND t.TABLE_NAME=r.TABLE_NAME \
         WHERE {} AND t.TABLE_TYPE='SYSTEM VERSIONED' AND (r.DELETE_RULE IN ('CASCADE', 'SET NULL') \
         OR r.UPDATE_RULE IN ('CASCADE', 'SET NULL')) ORDER BY 1, 2 LIMIT {NAMED}",
        tenant_schema("t.TABLE_SCHEMA")
    );
    let blocker = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().flatten();
        let (object, key) = (values.next()?, values.next()?);
        Some(Blocker {
            object,
            why: format!(
                "keeps old rows, and its foreign key {key} changes or deletes rows by itself (CASCADE, SET NULL): a \
                 server that follows would note another time for them"
            ),
            remedy: "upgrade in place, or make the foreign key again with RESTRICT".to_owned(),
        })
    };
    let rows = client.rows("look for old rows that a foreign key makes", &sql).await?;
    Ok(rows.into_iter().filter_map(blocker).collect())
}

/// Tables with a spatial index whose rows no other key tells apart. A server that follows looks a row up by the best
/// index that it finds, and in a spatial one it finds nothing. The index of a long unique value is no such key.
async fn spatial_without_key(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let schema = tenant_schema("TABLE_SCHEMA");
    let sql = format!(
        "SELECT DISTINCT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.STATISTICS WHERE {schema} \
         AND INDEX_TYPE='SPATIAL' AND (TABLE_SCHEMA, TABLE_NAME) NOT IN (SELECT TABLE_SCHEMA, TABLE_NAME FROM \
         (SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.STATISTICS WHERE {schema} AND NON_UNIQUE=0 \
         AND INDEX_TYPE='BTREE' GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME HAVING SUM(NULLABLE='YES')=0) keyed) \
         ORDER BY 1 LIMIT {NAMED}"
    );
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: row.into_iter().next().flatten().unwrap_or_default(),
        why: "has a spatial index and no primary key, so that a server that follows does not find its rows"
            .to_owned(),
        remedy: "give it a primary key, drop the spatial index, or upgrade in place".to_owned(),
    };
    let rows = client.rows("look for spatial indexes", &sql).await?;
    Ok(rows.into_iter().map(blocker).collect())
}

/// A table of which changes must be applied one after the other, where there is one. One without transactions keeps what
/// an applier did whose transaction is then rolled back, and tried again. One that makes its own partitions for old rows
/// waits for all who use it; of two appliers that do, one waits for the other's commit, and the other for its table.
pub async fn one_after_the_other(server: &Server, client: &mut Client) -> Result<Option<String>, Error> {
    let mut shown = helpers::show(server, client).await?.patient(PATIENCE);
    let schema = tenant_schema("TABLE_SCHEMA");
    let sql = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE {schema} \
         AND ENGINE IN ('MyISAM', 'Aria') AND TABLE_TYPE<>'SEQUENCE' UNION SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) \
         FROM information_schema.PARTITIONS WHERE {schema} AND PARTITION_METHOD='SYSTEM_TIME' ORDER BY 1 LIMIT 1"
    );
    let found = shown.rows("look how changes can be applied", &sql).await;
    let gone = helpers::hide(client, shown).await;
    let found = found?;
    gone?;
    Ok(found.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}

/// What a copy that follows cannot have taken as it was: not what is only in the way for a while.
pub async fn spoils(server: &Server, client: &mut Client) -> Result<Option<Blocker>, Error> {
    let mut shown = helpers::show(server, client).await?.patient(PATIENCE);
    let opened = opened(&mut shown).await;
    let gone = helpers::hide(client, shown).await;
    let opened = opened?;
    gone?;
    Ok(opened.into_iter().next())
}

/// What a restart empties, as each upgrade in place has one: worth a word, and no more.
pub async fn lost_with_a_restart(server: &Server, client: &mut Client) -> Result<Vec<Finding>, Error> {
    let sql = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE {} AND ENGINE='MEMORY' \
         ORDER BY 1 LIMIT {NAMED}",
        tenant_schema("TABLE_SCHEMA")
    );
    let mut shown = helpers::show(server, client).await?.patient(PATIENCE);
    let rows = shown.rows("look for tables in memory", &sql).await;
    let gone = helpers::hide(client, shown).await;
    let rows = rows?;
    gone?;
    let finding = |row: Vec<Option<String>>| Finding {
        blocks: false,
        object: row.into_iter().next().flatten().unwrap_or_default(),
        why: "is a table of MEMORY, whose rows go with the server's stop, as with each restart".to_owned(),
        remedy: "fill it again afterwards, or ALTER TABLE it to ENGINE=InnoDB".to_owned(),
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// They are in no copy that a server opens for the first time as another, and their end would be replicated without their beginning.
async fn prepared_transactions(client: &mut Client) -> Result<Vec<Blocker>, Error> {
    let rows = client.rows("look for prepared transactions", "XA RECOVER").await?;
    let blocker = |row: Vec<Option<String>>| Blocker {
        object: format!("transaction {}", row.into_iter().nth(3).flatten().unwrap_or_default()),
        why: "is prepared (XA) and neither committed nor rolled back".to_owned(),
        remedy: "XA COMMIT or XA ROLLBACK it".to_owned(),
    };
    Ok(rows.into_iter().take(NAMED).map(blocker).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_cannot_be_locked_by_its_name_is_named() {
        let plain = |schema: &str, name: &str| Plain {
            schema: schema.to_owned(),
            name: name.to_owned(),
            engine: "Aria".to_owned(),
            sequence: false,
        };
        for (table, blocks) in
            [(plain("shop", "t"), false), (plain("shop", "a`b"), true), (plain("s`", "t"), true)]
        {
            assert_eq!(unlockable(&table).is_some(), blocks, "{table:?}");
        }
    }
}
