//! The system accounts that servers run under when we are root. Set-up makes them and says so; we only look.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::runtimes::process;
use crate::store;

/// A system account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

/// The accounts, when we are root; the caller's own account serves for everything else.
#[derive(Clone, Copy, Debug)]
pub struct Accounts {
    /// Runs the service's own Postgres.
    pub store: Account,
    /// Runs the engines.
    pub engine: Account,
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
        };
        if [found.store, found.engine, found.endpoint].iter().any(|account| account.uid == 0) {
            bail!("a coffer account has the user id 0 in /etc/passwd");
        }
        Ok(Some(found))
    }
}

fn parse(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
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
) -> anyhow::Result<store::Config> {
    let mut config = store::Config::new(state, engines, run, caller()?);
    if let Some(Accounts { store: Account { uid, gid }, endpoint, .. }) = accounts.copied() {
        config.account = Some(store::Account { name: "coffer-store".to_owned(), uid, gid });
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
}
