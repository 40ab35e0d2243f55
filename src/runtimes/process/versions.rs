//! The engines folder: which versions lie there, by asking the binaries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::domain::datastore::EngineKind;
use crate::runtimes::{Error, HostVersion};

/// A version and the root that holds it.
#[derive(Clone, Debug)]
struct Found {
    version: HostVersion,
    root: PathBuf,
}

/// What lies in an engines folder. Remembers what it saw last.
pub struct Versions {
    folder: PathBuf,
    seen: Mutex<Vec<Found>>,
}

impl Versions {
    /// Looks at nothing yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, seen: Mutex::default() }
    }

    /// Asks the binaries of every root; of a series only the newest number counts. Without the folder, none.
    pub fn look(&self) -> Result<Vec<HostVersion>, Error> {
        let mut newest: BTreeMap<(&'static str, Vec<u64>), Found> = BTreeMap::new();
        for root in roots(&self.folder)? {
            let Some(found) = ask(&root) else { continue };
            let key = (found.version.engine, numbers(&found.version.series));
            let better = newest
                .get(&key)
                .is_none_or(|old| numbers(&old.version.number) < numbers(&found.version.number));
            if better {
                newest.insert(key, found);
            }
        }
        let found: Vec<Found> = newest.into_values().collect();
        let versions = found.iter().map(|found| found.version.clone()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(versions)
    }

    /// The root for `version` of `engine`: the one of its series. Looks again when it is not known, or is gone.
    pub fn root(&self, engine: EngineKind, version: &str) -> Result<PathBuf, Error> {
        if let Some(root) = self.known(engine, version) {
            return Ok(root);
        }
        self.look()?;
        self.known(engine, version)
            .ok_or_else(|| Error::NoSuchVersion { engine: engine.as_str(), version: version.to_owned() })
    }

    fn known(&self, engine: EngineKind, version: &str) -> Option<PathBuf> {
        let series = engine.series(version);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen
            .iter()
            .find(|found| found.version.engine == engine.as_str() && found.version.series == series)?;
        found.root.join("bin").is_dir().then(|| found.root.clone())
    }
}

fn roots(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read the engines folder")(error)),
    };
    let mut roots: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    roots.sort();
    Ok(roots)
}

/// The server program of each engine that can run here, and how it is asked for its version.
const PROGRAMS: [(EngineKind, &str, &[&str]); 2] = [
    (EngineKind::MariaDb, "mariadbd", &["--no-defaults", "--version"]),
    (EngineKind::Postgresql, "postgres", &["--version"]),
];

/// Asks the server program below `root` which version it is.
fn ask(root: &Path) -> Option<Found> {
    let (engine, program, args) =
        PROGRAMS.into_iter().find(|(_, program, _)| root.join("bin").join(program).is_file())?;
    let program = root.join("bin").join(program);
    let answer =
        Command::new(&program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).env_clear().output();
    let text = match answer {
        Ok(output) if output.status.success() => output.stdout,
        Ok(_) | Err(_) => {
            tracing::warn!(program = %program.display(), "an engine's binary does not tell its version");
            return None;
        }
    };
    let number = version_in(&String::from_utf8_lossy(&text))?;
    let series = engine.series(&number);
    Some(Found { version: HostVersion { engine: engine.as_str(), series, number }, root: root.to_owned() })
}

/// `10.11.19` of `mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for ..`, `15.20` of `postgres (PostgreSQL) 15.20 (Debian ..`.
fn version_in(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("Ver ").or_else(|| answer.split_once("(PostgreSQL) "))?;
    let number: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    (number.split('.').count() >= 2).then_some(number)
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_answer() {
        for (answer, number) in [
            ("x/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64", Some("10.11.19")),
            ("mariadbd  Ver 11.8.6-MariaDB-0+deb13u1 from Debian for ..", Some("11.8.6")),
            ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", Some("15.20")),
            ("postgres (PostgreSQL) 19rc1 (Debian 19~rc1-1)", None),
            ("nonsense", None),
        ] {
            assert_eq!(version_in(answer).as_deref(), number);
        }
        assert!(numbers("10.11.9") < numbers("10.11.19"));
    }
}
