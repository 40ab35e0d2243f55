//! What a cluster that is not running says of itself: `pg_controldata`.

use std::path::Path;

use crate::engines::postgresql::run;
use crate::engines::{Error, Server};
use crate::runtimes::{Job, Layout};

/// A cluster's control file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The cluster's own number: a copy has the same.
    pub system: String,
    /// `shut down` for example.
    pub state: String,
    /// Where the last checkpoint stands, as `0/1A2B3C`.
    pub checkpoint: String,
    /// Whether pages have checksums.
    pub checksums: bool,
}

/// The state of one that was stopped as it should be.
pub const STOPPED: &str = "shut down";

/// The states of a copy that has not been made a server of its own.
pub const FOLLOWING: [&str; 2] = ["in archive recovery", "shut down in recovery"];

/// Reads the control file of the cluster in `folder`, beside `server`'s data and by the programs of `layout`.
pub async fn read(server: &Server, layout: &Layout, folder: &Path) -> Result<Control, Error> {
    let args = vec!["--pgdata".to_owned(), folder.to_string_lossy().into_owned()];
    let job = Job { program: "pg_controldata".to_owned(), args, ..Job::default() };
    let output = run(server, layout, job).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| Error::Unexpected {
        doing: "read a cluster's control file",
        answer: text.into_owned(),
    })
}

fn parse(text: &str) -> Option<Control> {
    let value = |name: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    };
    Some(Control {
        system: value("Database system identifier")?,
        state: value("Database cluster state")?,
        checkpoint: value("Latest checkpoint location")?,
        checksums: value("Data page checksum version")? != "0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_count_are_read() {
        let text = "pg_control version number:            1300\n\
                    Database system identifier:           7234567890123456789\n\
                    Database cluster state:               shut down\n\
                    Latest checkpoint location:           0/1A2B3C8\n\
                    Latest checkpoint's REDO location:    0/1A2B3C8\n\
                    Data page checksum version:           1\n";
        assert_eq!(
            parse(text),
            Some(Control {
                system: "7234567890123456789".to_owned(),
                state: STOPPED.to_owned(),
                checkpoint: "0/1A2B3C8".to_owned(),
                checksums: true,
            })
        );
        assert_eq!(parse("nonsense"), None);
    }
}
