//! The system accounts that servers run under when we are root. Set-up makes them and says so; we only look.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::embedded_postgres;
use crate::runtimes::process;

/// A system account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

/// How the accounts of the pool are called: `coffer-i00`, `coffer-i01` ..
const POOL: &str = "coffer-i";

/// The accounts, when we are root; the caller's own account serves for everything else.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Runs the service's own Postgres.
    pub store: Account,
    /// Runs the servers of instances that have no account to themselves: those of before there was a pool.
    pub engine: Account,
    /// Each runs the servers of one instance, by name.
    pub pool: BTreeMap<String, Account>,
    /// Runs the endpoint; its group reaches the sockets.
    pub endpoint: Account,
}

impl Accounts {
    /// The accounts of this machine: `None` unless we are root.
    ///
    /// # Errors
    /// When we are root and one is missing; the text gives the commands that make it.
    pub fn find() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let one = |name: &str| {
            parse(&passwd, name).with_context(|| {
                format!(
                    "there is no system account {name}; `make setup` makes it, or: groupadd --system coffer-endpoint; \
                     useradd --system --no-create-home --shell /usr/sbin/nologin {name}"
                )
            })
        };
        let found = Self {
            store: one("coffer-store")?,
            engine: one("coffer-engine")?,
            endpoint: one("coffer-endpoint")?,
            pool: pool(&passwd),
        };
        if found.pool.is_empty() {
            bail!(
                "there are no system accounts {POOL}00 .. for the servers of instances; `make engines` makes them"
            );
        }
        let mut uids = HashSet::new();
        for account in [found.store, found.engine, found.endpoint].iter().chain(found.pool.values()) {
            if account.uid == 0 {
                bail!("a coffer account has the user id 0 in /etc/passwd");
            }
            if !uids.insert(account.uid) {
                bail!("two coffer accounts have the user id {} in /etc/passwd", account.uid);
            }
        }
        Ok(Some(found))
    }

    /// The accounts that an instance can have to itself, by name.
    pub fn names(&self) -> Vec<String> {
        self.pool.keys().cloned().collect()
    }
}

fn parse(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

fn pool(passwd: &str) -> BTreeMap<String, Account> {
    let names = passwd.lines().filter_map(|line| line.split(':').next());
    let is_ours = |name: &&str| {
        name.strip_prefix(POOL)
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    names.filter(is_ours).filter_map(|name| Some((name.to_owned(), parse(passwd, name)?))).collect()
}

/// As whom servers run, in a line for people.
pub fn told(accounts: Option<&Accounts>) -> String {
    match accounts {
        Some(accounts) => format!(
            "accounts: each instance's servers run as one of the {} accounts {POOL}..; COFFER_POOL={} make engines makes more",
            accounts.pool.len(),
            accounts.pool.len() * 2
        ),
        None => "accounts: not root, so every server runs as the caller and can read what the others have"
            .to_owned(),
    }
}

/// The name of the caller's own account.
fn caller() -> anyhow::Result<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    let name = line.and_then(|line| line.split(':').next());
    Ok(name.with_context(|| format!("the user id {uid} has no account in /etc/passwd"))?.to_owned())
}

/// The embedded Postgres, as its account when we are root.
///
/// # Errors
/// The caller has no account.
pub fn store_config(
    state: &Path,
    engines: &Path,
    run: &Path,
    accounts: Option<&Accounts>,
) -> anyhow::Result<embedded_postgres::Config> {
    let mut config = embedded_postgres::Config::new(state, engines, run, caller()?);
    if let Some(Accounts { store: Account { uid, gid }, endpoint, .. }) = accounts {
        let (uid, gid) = (*uid, *gid);
        config.account = Some(embedded_postgres::Account { name: "coffer-store".to_owned(), uid, gid });
        config.endpoint_gid = Some(endpoint.gid);
        config.peers.push("coffer-store".to_owned());
        config.endpoint_peer = Some("coffer-endpoint".to_owned());
    }
    Ok(config)
}

/// The process runtime, with servers as their account when we are root.
pub fn runtime_config(
    state: &Path,
    engines: &Path,
    run: &Path,
    accounts: Option<&Accounts>,
) -> process::Config {
    let mut config = process::Config::new(state, engines, run);
    config.account = accounts.map(|a| (a.engine.uid, a.engine.gid));
    config.pool = accounts
        .map(|a| a.pool.iter().map(|(name, account)| (name.clone(), (account.uid, account.gid))).collect())
        .unwrap_or_default();
    config.endpoint_group = accounts.map(|a| a.endpoint.gid);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\ncoffer-engine2:x:5:5::/:/x\ncoffer-engine:x:990:991::/:/x\n";
        assert_eq!(parse(passwd, "coffer-engine"), Some(Account { uid: 990, gid: 991 }));
        assert_eq!(parse(passwd, "coffer"), None);
    }

    #[test]
    fn the_pool_is_what_has_a_number() {
        let passwd =
            "coffer-i01:x:5:5::/:/x\ncoffer-i100:x:6:7::/:/x\ncoffer-i:x:8:8::/:/x\ncoffer-ix:x:9:9::/:/x\n";
        let found = pool(passwd);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["coffer-i01", "coffer-i100"]);
        assert_eq!(found["coffer-i100"], Account { uid: 6, gid: 7 });
    }
}
