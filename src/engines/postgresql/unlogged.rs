//! Unlogged tables and sequences of a server that was stopped, carried into the copy that becomes the new cluster.
//!
//! A standby has only the empty first form of what is not logged, so the copy is without these rows. The stopped server
//! has them in files of the same names: a standby's files are its source's. They are copied once the copy has been made
//! a server of its own and stopped as one: its next start is a clean one, and only a start after a crash empties them.
//! What the copy itself made of them goes first, the maps of free and of visible pages above all: they tell of an empty
//! table.
//!
//! # If we die here
//! The copy is used up by then, and the next try copies all of the stopped server's files, these among them.

use std::path::Path;

use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::databases::in_each;
use crate::engines::postgresql::run;
use crate::engines::{Error, Server};
use crate::runtimes::{Job, Layout};

/// What carries the files whose paths it reads: from the first folder to the second. A file that must be there and is not
/// ends it.
const CARRY: &str = r#"set -eu
from=$1 to=$2
while IFS= read -r path; do
    rm -f -- "$to/$path" "$to/$path".[0-9]* "$to/${path}_fsm" "$to/${path}_vm"
    set -- "$from/$path"
    for file in "$from/$path".[0-9]* "$from/${path}_fsm" "$from/${path}_vm"; do
        if [ -e "$file" ]; then set -- "$@" "$file"; fi
    done
    cp --archive --reflink=auto --target-directory="$to/${path%/*}" -- "$@"
done"#;

/// The paths of the files of all that is not logged, tables with their indexes and sequences, in all databases.
pub async fn paths(server: &Server, client: &Client) -> Result<Vec<String>, Error> {
    let doing = "list what is not logged";
    let databases =
        client.column(doing, "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1").await?;
    let list = async |database| {
        let inside = Client::connect_to(server, database).await?;
        let sql = "SELECT pg_relation_filepath(c.oid) FROM pg_class c WHERE c.relpersistence = 'u' \
                   AND c.relkind IN ('r', 'i', 't', 'S', 'm') ORDER BY 1";
        inside.column(doing, sql).await
    };
    let found = in_each(&databases, list).await?.concat();
    match found.iter().find(|path| !is_plain(path)) {
        Some(path) => Err(Error::Unexpected { doing, answer: path.clone() }),
        None => Ok(found),
    }
}

/// Whether it is a path as the server makes them, below its own folder.
fn is_plain(path: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    path.contains('/') && path.split('/').all(part)
}

/// Carries them from the stopped server's folder into the copy's, whose server is stopped, too.
pub async fn carry(
    candidate: &Server,
    layout: &Layout,
    (from, to): (&Path, &Path),
    paths: &[String],
) -> Result<(), Error> {
    if paths.is_empty() {
        return Ok(());
    }
    let folders = [from, to].map(|path| path.to_string_lossy().into_owned());
    let args = [vec!["-c".to_owned(), CARRY.to_owned(), "carry".to_owned()], folders.to_vec()].concat();
    let mut input = paths.join("\n").into_bytes();
    input.push(b'\n');
    run(candidate, layout, Job { program: "/bin/sh".to_owned(), args, input, ..Job::default() })
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_servers_own_are_carried() {
        assert!(is_plain("base/16384/16401") && is_plain("pg_tblspc/16/PG_15_202209061/16384/16401"));
        for path in ["/etc/passwd", "base/../../x", "base/1 2", "16401", "base/1\n/etc", ""] {
            assert!(!is_plain(path), "{path:?}");
        }
    }
}
