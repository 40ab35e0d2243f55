//! Finding Postgres' server programs: the engines folder's, else the machine's. The version is what the binary
//! answers, never what its folder is called.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Account, Config, Error};

/// The major that set-up fetches and that the tests run on; any other from [`OLDEST`] on is taken when it is absent.
const PREFERRED: u32 = 15;
const OLDEST: u32 = 14;

/// The folder with `postgres` and `initdb`, of the major version `wanted` (a cluster's own), else the best there is.
pub(super) fn find(config: &Config, wanted: Option<u32>) -> Result<PathBuf, Error> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for bin in candidates(&config.engines_dir) {
        if let Some(major) = ask(&bin.join("postgres"), config.account.as_ref())
            && bin.join("initdb").exists()
        {
            found.push((major, bin));
        }
    }
    let best = match wanted {
        Some(wanted) => found.into_iter().find(|(major, _)| *major == wanted),
        None => found
            .into_iter()
            .filter(|(major, _)| *major >= OLDEST)
            .rev()
            .max_by_key(|(major, _)| (*major == PREFERRED, *major)),
    };
    best.map(|(_, bin)| bin).ok_or_else(|| Error::NoBinaries {
        wanted: wanted.map_or_else(|| format!("{OLDEST} or newer"), |major| format!("PostgreSQL {major}")),
        engines: config.engines_dir.clone(),
    })
}

/// Folders that may hold the programs, the engines folder's first.
fn candidates(engines: &Path) -> Vec<PathBuf> {
    let mut bins = Vec::new();
    for (folder, prefix) in [(engines, "postgresql-"), (Path::new("/usr/lib/postgresql"), "")] {
        let mut here: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join("bin"))
            .filter(|bin| bin.join("postgres").exists())
            .collect();
        here.sort();
        bins.append(&mut here);
    }
    bins
}

/// The major version that the binary answers to the account that shall run it; `None` when it does not.
fn ask(postgres: &Path, account: Option<&Account>) -> Option<u32> {
    let mut command = Command::new(postgres);
    super::postmaster::as_account(&mut command, account);
    let output = command.arg("--version").output().ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

fn major(answer: &str) -> Option<u32> {
    // postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)
    let version = answer.strip_prefix("postgres (PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_the_binary_answers() {
        for (answer, is) in [
            ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 19rc1", Some(19)),
            ("mariadbd 10.11", None),
            ("", None),
        ] {
            assert_eq!(major(answer), is, "{answer}");
        }
    }
}
