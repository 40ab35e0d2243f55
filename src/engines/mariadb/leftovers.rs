//! What lies about in a data folder: a table without its file, a table's description that the engine does not know, a
//! folder that is no database. The old server lives with each of them; only the first is a table that somebody lost.
//!
//! The server tells them by itself: a table that it cannot open has no engine, and why as its comment; a folder whose
//! name is no database's has a prefix before it. Nothing is opened but by an account that can run nothing.
//!
//! # If we die here
//! It only reads.

use std::time::Duration;

use crate::domain::question::Finding;
use crate::engines::mariadb::connection::Client;
use crate::engines::mariadb::content::{NO_DATABASE, tenant_schema};
use crate::engines::mariadb::helpers;
use crate::engines::{Error, Server};

/// How long the question may take: it opens every table.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many of one kind are named.
const NAMED: usize = 100;

/// What the server says of a table that has a description and that the engine does not know: nothing of it is there.
const UNKNOWN: &str = "doesn't exist in engine";

/// Everything of that kind that the source has.
pub async fn findings(source: &Server, client: &mut Client) -> Result<Vec<Finding>, Error> {
    let mut shown = helpers::show(source, client).await?.patient(PATIENCE);
    let found = tables(&mut shown).await;
    let gone = helpers::hide(client, shown).await;
    let mut found = found?;
    gone?;
    found.extend(folders(client).await?);
    Ok(found)
}

/// The tables that cannot be opened. The number of rows is asked for so that each is opened.
async fn tables(client: &mut Client) -> Result<Vec<Finding>, Error> {
    let sql = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), TABLE_COMMENT, TABLE_ROWS FROM information_schema.TABLES \
         WHERE {} AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW') AND ENGINE IS NULL ORDER BY 1 LIMIT {NAMED}",
        tenant_schema("TABLE_SCHEMA")
    );
    let rows = client.rows("look for tables that cannot be opened", &sql).await?;
    Ok(rows.into_iter().filter_map(unopened).collect())
}

fn unopened(row: Vec<Option<String>>) -> Option<Finding> {
    let mut values = row.into_iter().map(Option::unwrap_or_default);
    let (object, said) = (values.next()?, values.next()?);
    let finding = if said.contains(UNKNOWN) {
        Finding {
            blocks: false,
            why: "is a table's description without a table: the storage engine does not know it, before the upgrade as \
                  after it"
                .to_owned(),
            remedy: format!("DROP TABLE {object}, where nobody needs it"),
            object,
        }
    } else {
        Finding {
            blocks: true,
            why: format!("is a table that cannot be opened ({said}): what it held cannot be carried"),
            remedy: format!("DROP TABLE {object}, or restore it from a backup"),
            object,
        }
    };
    Some(finding)
}

/// The folders that are no database.
async fn folders(client: &mut Client) -> Result<Vec<Finding>, Error> {
    let sql = format!(
        "SELECT SUBSTRING(SCHEMA_NAME, {}) FROM information_schema.SCHEMATA \
         WHERE LEFT(SCHEMA_NAME, {}) = '{NO_DATABASE}' ORDER BY 1 LIMIT {NAMED}",
        NO_DATABASE.len() + 1,
        NO_DATABASE.len()
    );
    let rows = client.rows("look for folders that are no database", &sql).await?;
    let finding = |row: Vec<Option<String>>| {
        Finding {
        blocks: false,
        object: format!("folder {}", row.into_iter().next().flatten().unwrap_or_default()),
        why: "lies in the server's data folder and is no database; nothing in it is looked at, and it may not be there \
              after the upgrade"
            .to_owned(),
        remedy: "nothing, unless somebody needs what is in it: then have the operator save it".to_owned(),
    }
    };
    Ok(rows.into_iter().map(finding).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_table_that_was_lost_stands_in_the_way() {
        let row = |said: &str| vec![Some("shop.t".to_owned()), Some(said.to_owned()), None];
        for (said, blocks) in [
            ("Table 'shop.t' doesn't exist in engine", false),
            ("Got error 194 \"Tablespace is missing for a table\" from storage engine InnoDB", true),
            ("Can't find file: './shop/t.MYI' (errno: 2 \"No such file or directory\")", true),
        ] {
            assert_eq!(unopened(row(said)).map(|finding| finding.blocks), Some(blocks), "{said}");
        }
    }
}
