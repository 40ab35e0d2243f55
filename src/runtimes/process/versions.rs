//! The engines folder: which versions lie there, by asking the binaries.
//!
//! Of a series the newest build is the version of the series' name; each older build that lies beside it is a version
//! of its own, named by its whole number. So who names a series gets the newest, and the older one has a way to it.

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

    /// Asks the binaries of every root; of a build that is there twice the first root counts. Without the folder, none.
    pub fn look(&self) -> Result<Vec<HostVersion>, Error> {
        let mut builds: BTreeMap<(&'static str, Vec<u64>), Found> = BTreeMap::new();
        for root in roots(&self.folder)? {
            let Some(found) = ask(&root) else { continue };
            builds.entry((found.version.engine, numbers(&found.version.number))).or_insert(found);
        }
        let found = named(builds.into_values().collect());
        let versions = found.iter().map(|found| found.version.clone()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(versions)
    }

    /// The root for `version` of `engine`: the one of that build, else of the newest of its series. Looks again when it
    /// is not known, or is gone.
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
        let of_engine = || seen.iter().filter(|found| found.version.engine == engine.as_str());
        let found = of_engine()
            .find(|found| found.version.number == version)
            .or_else(|| of_engine().find(|found| found.version.series == series))?;
        found.root.join("bin").is_dir().then(|| found.root.clone())
    }
}

/// Builds, each engine's in the order of their numbers, under their names: a series' last one keeps the series' name.
fn named(mut builds: Vec<Found>) -> Vec<Found> {
    let series: Vec<_> = builds.iter().map(|it| (it.version.engine, it.version.series.clone())).collect();
    for (at, found) in builds.iter_mut().enumerate() {
        if series.get(at + 1) == series.get(at) {
            found.version.series.clone_from(&found.version.number);
        }
    }
    builds
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

    fn program(folder: &Path, root: &str, program: &str, answer: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = folder.join(root).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let path = bin.join(program);
        std::fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn each_build_of_a_series_is_a_version() {
        let folder = tempfile::tempdir().unwrap();
        for (root, number) in
            [("mariadb-10.11", "10.11.19"), ("mariadb-10.11@release", "10.11.6"), ("mariadb-11.8", "11.8.6")]
        {
            program(folder.path(), root, "mariadbd", &format!("mariadbd  Ver {number}-MariaDB-0+deb"));
        }
        for (root, number) in [("postgresql-15", "15.20"), ("postgresql-15@release", "15.18")] {
            program(folder.path(), root, "postgres", &format!("postgres (PostgreSQL) {number} (Debian)"));
        }
        // The same build once more.
        program(folder.path(), "postgresql-15@x", "postgres", "postgres (PostgreSQL) 15.20 (Debian)");
        let versions = Versions::new(folder.path().to_owned());
        let seen: Vec<_> = versions.look().unwrap().into_iter().map(|it| (it.series, it.number)).collect();
        let pairs = [
            ("10.11.6", "10.11.6"),
            ("10.11", "10.11.19"),
            ("11.8", "11.8.6"),
            ("15.18", "15.18"),
            ("15", "15.20"),
        ];
        assert_eq!(seen, pairs.map(|(name, number)| (name.to_owned(), number.to_owned())));
        for (engine, version, root) in [
            (EngineKind::MariaDb, "10.11.6", "mariadb-10.11@release"),
            (EngineKind::MariaDb, "10.11.19", "mariadb-10.11"),
            (EngineKind::MariaDb, "10.11.18", "mariadb-10.11"),
            (EngineKind::Postgresql, "15.18", "postgresql-15@release"),
            (EngineKind::Postgresql, "15.20", "postgresql-15"),
        ] {
            assert_eq!(versions.root(engine, version).unwrap(), folder.path().join(root), "{version}");
        }
        assert!(versions.root(EngineKind::MariaDb, "10.6.1").is_err());
    }
}
