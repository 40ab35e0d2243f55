//! The logs of statements that a customer may turn on. They lie in the server's data folder. A log that becomes too
//! long is removed, and the server begins an empty one. What the service itself asks the server is in them, too. It is left
//! out of what is read: the line with which a session connected tells whose the session is.

use std::collections::HashSet;

use crate::engines::logs::MOST_PUBLISHED;
use crate::engines::mariadb::connection::{Client, quoted};
use crate::engines::mariadb::{layout, runtime};
use crate::engines::{Error, Server};

/// Each log: its name, its file in the data folder, the variable that turns it on, that of its file, and how its file is
/// reopened.
const FILES: [(&str, &str, &str, &str, &str); 2] = [
    ("general", "log.general", "general_log", "general_log_file", "FLUSH LOCAL GENERAL LOGS"),
    ("slow_query", "log.slow_query", "slow_query_log", "slow_query_log_file", "FLUSH LOCAL SLOW LOGS"),
];

/// How long a file may become, in bytes.
const LONGEST: u64 = 32 << 20;

/// The accounts of the service have names that begin so; a customer's cannot.
const OURS: &str = "coffer";

/// What the configuration says of them; `quote` writes a path.
pub fn settings(server_logs: &[String], quote: impl Fn(&str) -> String) -> String {
    FILES
        .iter()
        .map(|(name, file, variable, of_file, _)| {
            let value = u8::from(server_logs.iter().any(|on| on == name));
            let (variable, of_file) = (variable.replace('_', "-"), of_file.replace('_', "-"));
            format!("{variable}={value}\n{of_file}={}\n", quote(file))
        })
        .collect()
}

/// Has a server that runs write the logs that its settings name, and no others.
pub async fn apply(client: &mut Client, server: &Server) -> Result<(), Error> {
    let data = layout(server)?.data;
    for (name, file, variable, of_file, _) in FILES {
        let is_on = server.settings.logs.iter().any(|on| on == name);
        if is_on {
            let path = quoted(&data.join(file).to_string_lossy());
            client.run("say where a log lies", &format!("SET GLOBAL {of_file} = {path}")).await?;
        }
        let sql = format!("SET GLOBAL {variable} = {}", u8::from(is_on));
        client.run("turn a log on or off", &sql).await?;
    }
    Ok(())
}

/// How long each is that the server has.
pub async fn lengths(server: &Server) -> Result<Vec<(&'static str, u64)>, Error> {
    let mut lengths = Vec::new();
    for (name, file, _, _, reopen) in FILES {
        let doing = "measure a log";
        let length =
            server.runtime.data_file_end(server.generation, file, 0).await.map_err(runtime(doing))?;
        let Some((_, length)) = length else { continue };
        if length > LONGEST {
            server.runtime.remove_data_file(server.generation, file).await.map_err(runtime(doing))?;
            let mut client = Client::connect(server).await?;
            client.run("begin an empty log", reopen).await?;
            client.close().await;
        }
        lengths.push((name, if length > LONGEST { 0 } else { length }));
    }
    Ok(lengths)
}

/// The end of a log without what is ours; `None` for one that is not there.
pub async fn end(server: &Server, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some((_, file, ..)) = FILES.iter().find(|log| log.0 == name) else { return Ok(None) };
    let most = 2 * MOST_PUBLISHED;
    let found = server.runtime.data_file_end(server.generation, file, most).await;
    let (bytes, _) = found.map_err(runtime("read a log"))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let kept = if name == "general" { general(&text) } else { slow(&text) };
    Ok(Some(kept.into_bytes()))
}

/// A line of the general log that begins a record: when, where it is told; whose session; and what is done.
fn record(line: &str) -> Option<(&str, u64, &str)> {
    let (time, rest) = line.split_once('\t')?;
    let is_time = time.is_empty() || (time.len() == 15 && time.as_bytes()[6] == b' ');
    let rest = rest.trim_start_matches(['\t', ' ']);
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let session = rest.get(..digits)?.parse().ok()?;
    let command = rest.get(digits..)?.strip_prefix(' ')?;
    (is_time && command.starts_with(|c: char| c.is_ascii_uppercase())).then_some((time, session, command))
}

/// The general log without the records of our sessions, and without what the server says of its files when it starts.
fn general(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut ours = HashSet::new();
    let (mut is_kept, mut time) = (false, "");
    for line in text.split_inclusive('\n') {
        let Some((told, session, command)) = record(line) else {
            if is_kept {
                kept.push_str(line);
            }
            continue;
        };
        if !told.is_empty() {
            time = told;
        }
        if let Some(who) = command.strip_prefix("Connect") {
            let who = who.trim_start_matches(['\t', ' ']);
            if who.starts_with(OURS) {
                ours.insert(session)
            } else {
                ours.remove(&session)
            };
        }
        is_kept = !ours.contains(&session);
        if is_kept {
            // The time stands in the first of a second's records, which may be one of ours.
            if told.is_empty() {
                kept.push_str(time);
            }
            time = "";
            kept.push_str(line);
        }
    }
    kept
}

/// The same of the log of slow statements: a record says whose it is in its first lines.
fn slow(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut time, mut is_kept) = ("", false);
    for line in text.split_inclusive('\n') {
        if line.starts_with("# Time: ") {
            time = line;
        } else if let Some(who) = line.strip_prefix("# User@Host: ") {
            is_kept = !who.starts_with(OURS);
            if is_kept {
                kept.push_str(std::mem::take(&mut time));
                kept.push_str(line);
            }
        } else if is_kept {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_left_out_of_the_general_log() {
        let log = "/x/mariadbd, Version: 10.11.19-MariaDB-log. started with:\n\
                   Tcp port: 0  Unix socket: /x/s\n\
                   Time\t\t    Id Command\tArgument\n\
                   251201  3:54:35\t    12 Connect\tcoffer@localhost on  using Socket\n\
                   \t\t    12 Query\tSELECT 'ours'\n\
                   \t\t    13 Connect\tapp@127.0.0.1 on shop using TCP/IP\n\
                   \t\t    12 Query\tSET GLOBAL read_only=0\n\
                   more of ours\n\
                   \t\t    13 Query\tselect 'of\n\
                   two lines'\n\
                   251201  3:54:36\t    12 Quit\t\n\
                   \t\t    13 Quit\t\n";
        assert_eq!(
            general(log),
            "251201  3:54:35\t\t    13 Connect\tapp@127.0.0.1 on shop using TCP/IP\n\
             \t\t    13 Query\tselect 'of\n\
             two lines'\n\
             251201  3:54:36\t\t    13 Quit\t\n"
        );
    }

    #[test]
    fn what_is_ours_is_left_out_of_the_slow_log() {
        let log = "/x/mariadbd, Version: 10.11.19\n\
                   # Time: 251201  3:54:35\n\
                   # User@Host: coffer[coffer] @ localhost []\n\
                   SELECT 1;\n\
                   # User@Host: app[app] @  [127.0.0.1]\n\
                   # Query_time: 11.0\n\
                   select sleep(11);\n";
        assert_eq!(
            slow(log),
            "# Time: 251201  3:54:35\n# User@Host: app[app] @  [127.0.0.1]\n# Query_time: 11.0\nselect sleep(11);\n"
        );
    }
}
