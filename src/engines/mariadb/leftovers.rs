//! What lies about in a data folder: a table without its file, a table's description that the engine does not know, a
//! folder that is no database, a file of a table that InnoDB does not know, a table whose file was taken away
//! (`DISCARD TABLESPACE`). The old server lives with each of them; only the first is a table that somebody lost.
//!
//! Most of it the server tells by itself: a table that it cannot open has no engine, and why as its comment; a folder
//! whose name is no database's has a prefix before it. Nothing is opened but by an account that can run nothing. Files
//! are held against the tables that InnoDB knows, looked at before and after: tenants make and drop tables meanwhile.
//! The program that copies the files of a serving server opens each file that looks like InnoDB's, and ends where it
//! cannot; a copy of a stopped server's takes them along.
//!
//! # If we die here
//! It only reads.

use std::collections::HashSet;
use std::time::Duration;

use crate::domain::question::Finding;
use crate::domain::upgrade::Strategy;
use crate::engines::mariadb::connection::{Client, quoted};
use crate::engines::mariadb::content::{NO_DATABASE, tenant_schema};
use crate::engines::mariadb::{helpers, runtime};
use crate::engines::{Error, Server};
use crate::runtimes::DataFile;

/// How long the question may take: it opens every table.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many of one kind are named.
const NAMED: usize = 100;

/// What the server says of a table that has a description and that the engine does not know: nothing of it is there.
const UNKNOWN: &str = "doesn't exist in engine";

/// How the names of the files end that InnoDB keeps tables in, or names such files by.
const FILES: [&str; 2] = [TABLE, LINK];
const TABLE: &str = ".ibd";
const LINK: &str = ".isl";

/// A file that was written within that time may be of a table that is being made.
const SETTLED: Duration = Duration::from_secs(10);

/// How often it is looked again at files that seem to be no table's, and how long between.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// Everything of that kind that the source has.
pub async fn findings(
    source: &Server,
    client: &mut Client,
    strategy: Strategy,
) -> Result<Vec<Finding>, Error> {
    let mut shown = helpers::show(source, client).await?.patient(PATIENCE);
    let found = tables(&mut shown).await;
    let gone = helpers::hide(client, shown).await;
    let mut found = found?;
    gone?;
    found.extend(folders(client).await?);
    let files = files(source, client, strategy).await?;
    // Each is told once, as what stands in the way where it does.
    found.retain(|finding| !files.iter().any(|file| file.blocks && file.object == finding.object));
    let lost: HashSet<String> = found.iter().map(|finding| finding.object.clone()).collect();
    found.extend(files.into_iter().filter(|finding| !lost.contains(&finding.object)));
    Ok(found)
}

/// Files that are no table's, and tables that have no file.
pub async fn files(source: &Server, client: &mut Client, strategy: Strategy) -> Result<Vec<Finding>, Error> {
    let list = async || {
        let files = source.runtime.data_files(source.generation, &FILES).await;
        files.map_err(runtime("list the data folder"))
    };
    let mut known = HashSet::new();
    innodb_tables(client, &mut known).await?;
    let before = list().await?;
    innodb_tables(client, &mut known).await?;
    let mut after = list().await?;
    innodb_tables(client, &mut known).await?;
    // A table that is renamed to and fro has the name of its file at one of several looks.
    for _ in 0..LOOKS {
        if strays(&before, &after, &known).is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        innodb_tables(client, &mut known).await?;
        after = list().await?;
    }
    let mut found: Vec<Finding> =
        strays(&before, &after, &known).into_iter().map(|path| stray(path, strategy)).collect();
    if strategy == Strategy::Twin {
        let hidden = after.iter().filter_map(|file| file.path.strip_suffix('/'));
        found.extend(hidden.filter(|folder| folder.starts_with('.')).map(hidden_folder));
    }
    for table in discarded(&before, &after, &known) {
        let (schema, table) = table.split_once('/').unwrap_or((table, ""));
        // The names of files are written in letters of their own.
        let decode = |part: &str| format!("CONVERT(_filename {} USING utf8mb4)", quoted(part));
        let sql = format!(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE {} \
             AND TABLE_SCHEMA={} AND TABLE_NAME={}",
            tenant_schema("TABLE_SCHEMA"),
            decode(schema),
            decode(table)
        );
        let object = client.value("look whether a table is there", &sql).await?;
        if !object.is_empty() {
            found.push(without_file(object));
        }
    }
    Ok(found)
}

/// Adds the names of the tables that InnoDB knows now, each as its file is named.
async fn innodb_tables(client: &mut Client, known: &mut HashSet<String>) -> Result<(), Error> {
    let sql = "SELECT NAME FROM information_schema.INNODB_SYS_TABLES WHERE SPACE<>0";
    let rows = client.rows("list the tables of InnoDB", sql).await?;
    known.extend(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()));
    Ok(())
}

/// Files that were there before and after, were not written lately, and are no table's of InnoDB. What the server makes
/// and drops by itself is passed over by the programs that copy files, too.
fn strays<'a>(before: &'a [DataFile], after: &[DataFile], known: &HashSet<String>) -> Vec<&'a str> {
    let is_known = |path: &str| {
        if path.ends_with('/') {
            return true;
        }
        let named = FILES.iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path);
        known.contains(named) || named.split_once('/').is_some_and(|(_, name)| name.starts_with("#sql"))
    };
    let is_settled = |file: &DataFile| file.written.elapsed().is_ok_and(|since| since >= SETTLED);
    let mut paths: Vec<&str> = before
        .iter()
        .filter(|file| is_settled(file) && after.contains(file) && !is_known(&file.path))
        .map(|file| file.path.as_str())
        .collect();
    paths.sort_unstable();
    paths.truncate(NAMED);
    paths
}

/// Tables of InnoDB without a file, before and after; of one in parts, the table.
fn discarded<'a>(before: &[DataFile], after: &[DataFile], known: &'a HashSet<String>) -> Vec<&'a str> {
    let files: HashSet<&str> = before.iter().chain(after).map(|file| file.path.as_str()).collect();
    let has_file = |name: &str| FILES.iter().any(|ending| files.contains(format!("{name}{ending}").as_str()));
    let mut names: Vec<&str> = known
        .iter()
        .filter(|name| name.contains('/') && !has_file(name))
        .map(|name| name.split("#P#").next().unwrap_or(name))
        .filter(|name| !name.contains("/#sql") && !name.contains("/FTS_"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMED);
    names
}

fn stray(path: &str, strategy: Strategy) -> Finding {
    let blocks = strategy == Strategy::Twin;
    Finding {
        blocks,
        object: format!("file {path}"),
        why: if blocks {
            "lies in the server's data folder and is of no table that InnoDB knows: a copy of the serving server may not \
             get past it"
        } else {
            "lies in the server's data folder and is of no table that InnoDB knows; nothing in it is looked at"
        }
        .to_owned(),
        remedy: if blocks {
            "upgrade in place, or have the operator look whose it is, and move it elsewhere"
        } else {
            "nothing, unless somebody needs what is in it: then have the operator save it"
        }
        .to_owned(),
    }
}

/// The program that unpacks the copy takes no name that begins with a dot; of an empty folder it gets one.
fn hidden_folder(folder: &str) -> Finding {
    Finding {
        blocks: true,
        object: format!("folder {folder}"),
        why: "lies in the server's data folder, is empty, and has a name that begins with a dot: a copy of the serving \
              server cannot get past it"
            .to_owned(),
        remedy: "upgrade in place, or have the operator take it away".to_owned(),
    }
}

/// Whether a program's words name the file or folder of a finding.
pub fn is_named_in(finding: &Finding, said: &str) -> bool {
    finding.object.split_once(' ').is_some_and(|(_, path)| {
        let stem = FILES.iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path);
        said.contains(stem)
    })
}

fn without_file(object: String) -> Finding {
    Finding {
        blocks: false,
        why: "is a table without its file (ALTER TABLE … DISCARD TABLESPACE): it cannot be read, before the upgrade as after \
              it"
            .to_owned(),
        remedy: format!("ALTER TABLE {object} IMPORT TABLESPACE, or drop it, where nobody needs it"),
        object,
    }
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

    fn file(path: &str, age: Duration) -> DataFile {
        DataFile { path: path.to_owned(), written: std::time::SystemTime::now() - age }
    }

    #[test]
    fn a_file_is_held_against_what_innodb_knows() {
        let old = Duration::from_secs(60);
        let files = [
            file("shop/t.ibd", old),
            file("shop/parts#P#p0.ibd", old),
            file("shop/link.isl", old),
            file("shop/stray.ibd", old),
            file("shop/new.ibd", Duration::ZERO),
            file("shop/gone.ibd", old),
            file("shop/#sql-ib9.ibd", old),
        ];
        let after: Vec<DataFile> =
            files.iter().filter(|file| file.path != "shop/gone.ibd").cloned().collect();
        let known =
            ["shop/t", "shop/parts#P#p0", "shop/link", "shop/lost#P#p0", "shop/lost#P#p1", "shop/made", "x"];
        let known = known.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(strays(&files, &after, &known), ["shop/stray.ibd"]);
        let made = [file("shop/made.ibd", Duration::ZERO)];
        assert_eq!(discarded(&files, &made, &known), ["shop/lost"]);
    }

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
