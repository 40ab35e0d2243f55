//! How a client of the service logs in: a cloud of `clouds.yaml`, or the variables of an `openrc`, as OpenStack's own
//! clients take them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use secrecy::SecretString;

/// Which cloud; every one of them may come from its variable.
#[derive(Debug, Default, clap::Args)]
#[group(id = "cloud")]
pub struct Args {
    /// A cloud of clouds.yaml
    #[arg(long, env = "OS_CLOUD")]
    os_cloud: Option<String>,
    /// The file that has it [default: ./clouds.yaml, ~/.config/openstack/clouds.yaml, /etc/openstack/clouds.yaml]
    #[arg(long, env = "OS_CLIENT_CONFIG_FILE")]
    os_client_config_file: Option<PathBuf>,
    /// Keystone's address, where no cloud is named
    #[arg(long, env = "OS_AUTH_URL")]
    os_auth_url: Option<String>,
    #[arg(long, env = "OS_USERNAME", hide = true)]
    os_username: Option<String>,
    #[arg(long, env = "OS_USER_DOMAIN_NAME", hide = true)]
    os_user_domain_name: Option<String>,
    #[arg(long, env = "OS_PROJECT_NAME", hide = true)]
    os_project_name: Option<String>,
    #[arg(long, env = "OS_PROJECT_ID", hide = true)]
    os_project_id: Option<String>,
    #[arg(long, env = "OS_PROJECT_DOMAIN_NAME", hide = true)]
    os_project_domain_name: Option<String>,
    #[arg(long, env = "OS_REGION_NAME", hide = true)]
    os_region_name: Option<String>,
    #[arg(long, env = "OS_INTERFACE", hide = true)]
    os_interface: Option<String>,
}

/// Everything that a login needs.
#[derive(Debug)]
pub struct Login {
    /// Keystone's address, without a version.
    pub auth_url: String,
    /// The user's name.
    pub username: String,
    /// Its password.
    pub password: SecretString,
    /// The user's domain, by name.
    pub user_domain: String,
    /// The project.
    pub project: Project,
    /// The region whose endpoint is meant; the catalog's first, when absent.
    pub region: Option<String>,
    /// Which of its endpoints.
    pub interface: String,
}

/// A project.
#[derive(Debug)]
pub enum Project {
    /// By its id.
    Id(String),
    /// By its name, and its domain's.
    Name(String, String),
}

impl Args {
    /// The login that is meant.
    ///
    /// # Errors
    /// Nothing says who logs in, or a part of it is missing: it is named, and where it was looked for.
    pub fn login(self) -> anyhow::Result<Login> {
        // A variable that is set to nothing is one that is not set.
        if let Some(cloud) = self.os_cloud.as_ref().filter(|cloud| !cloud.is_empty()) {
            return Login::of_cloud(&self.file()?, cloud);
        }
        if self.os_auth_url.as_ref().is_none_or(String::is_empty) {
            bail!(
                "nothing says who logs in: name a cloud of clouds.yaml with OS_CLOUD, or set OS_AUTH_URL and the rest"
            );
        }
        let mut found = HashMap::new();
        // In the environment only: an argument is seen by everybody on the machine.
        let password = std::env::var("OS_PASSWORD").ok();
        for (key, value) in [
            ("auth_url", self.os_auth_url),
            ("username", self.os_username),
            ("password", password),
            ("user_domain_name", self.os_user_domain_name),
            ("project_name", self.os_project_name),
            ("project_id", self.os_project_id),
            ("project_domain_name", self.os_project_domain_name),
            ("region_name", self.os_region_name),
            ("interface", self.os_interface),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                found.insert(key.to_owned(), value);
            }
        }
        Login::of(found, |key| format!("OS_{} is not set", key.to_uppercase()))
    }

    fn file(&self) -> anyhow::Result<PathBuf> {
        if let Some(file) = &self.os_client_config_file {
            return Ok(file.clone());
        }
        let home = std::env::home_dir().map(|home| home.join(".config/openstack/clouds.yaml"));
        let usual = [Some("clouds.yaml".into()), home, Some("/etc/openstack/clouds.yaml".into())];
        let found = usual.into_iter().flatten().find(|file| file.is_file());
        found.context("there is no clouds.yaml: name it with OS_CLIENT_CONFIG_FILE")
    }
}

impl Login {
    /// The login of a cloud of `file`.
    ///
    /// # Errors
    /// The file cannot be read, has no such cloud, or the cloud lacks something.
    pub fn of_cloud(file: &Path, cloud: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let found = parse_cloud(&text, cloud)
            .with_context(|| format!("the cloud {cloud} is not in {}", file.display()))?;
        Self::of(found, |key| format!("the cloud {cloud} in {} has no {key}", file.display()))
    }

    fn of(mut found: HashMap<String, String>, missing: impl Fn(&str) -> String) -> anyhow::Result<Self> {
        let auth_url = found.remove("auth_url").with_context(|| missing("auth_url"))?;
        let auth_url = auth_url.trim_end_matches('/').trim_end_matches("/v3").to_owned();
        let domain = |name: Option<String>| name.unwrap_or_else(|| "Default".to_owned());
        let project = match (found.remove("project_id"), found.remove("project_name")) {
            (Some(id), _) => Project::Id(id),
            (None, Some(name)) => Project::Name(name, domain(found.remove("project_domain_name"))),
            (None, None) => bail!(missing("project_name")),
        };
        Ok(Self {
            auth_url,
            username: found.remove("username").with_context(|| missing("username"))?,
            password: found.remove("password").with_context(|| missing("password"))?.into(),
            user_domain: domain(found.remove("user_domain_name")),
            project,
            region: found.remove("region_name"),
            interface: found.remove("interface").unwrap_or_else(|| "public".to_owned()),
        })
    }
}

/// One cloud of a `clouds.yaml`: the `key: value` lines below the cloud's name, those of `auth` too. Not all of YAML: no
/// flow style, no anchors, no texts over several lines.
fn parse_cloud(text: &str, cloud: &str) -> Option<HashMap<String, String>> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().filter(|line| {
        let told = line.trim_start();
        !told.is_empty() && !told.starts_with('#')
    });
    lines.by_ref().find(|line| line.trim_end() == "clouds:")?;
    let head = lines
        .by_ref()
        .take_while(|line| indent(line) > 0)
        .find(|line| line.trim().strip_suffix(':').map(plain) == Some(cloud))?;
    Some(
        lines
            .take_while(|line| indent(line) > indent(head))
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(key, value)| (key.to_owned(), plain(value.trim()).to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect(),
    )
}

/// A value without its quotes, or without the comment behind it.
fn plain(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote)
            && let Some((inner, _)) = inner.split_once(quote)
        {
            return inner;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const TEXT: &str = "# made by hand\nclouds:\n    # the first\n    coffer-admin:\n        auth:\n            \
                        username: admin\n\n    'coffer':\n        region_name: RegionOne # the only one\n        auth:\n            \
                        auth_url: \"http://127.0.0.1:1/identity/v3/\"\n            username: coffer\n            \
                        password: 'a # b'\n            project_name: one\n    last: {}\ncache:\n  auth_url: no\n";

    #[test]
    fn a_cloud_is_read_and_not_its_neighbour() {
        let cloud = parse_cloud(TEXT, "coffer").unwrap();
        assert_eq!((&*cloud["username"], &*cloud["region_name"]), ("coffer", "RegionOne"));
        assert!(parse_cloud(TEXT, "other").is_none());
        assert!(parse_cloud(TEXT, "cache").is_none());
        assert_eq!(parse_cloud(TEXT, "coffer-admin").unwrap().len(), 1);
        let login = Login::of(cloud, str::to_owned).unwrap();
        assert_eq!((&*login.auth_url, &*login.interface), ("http://127.0.0.1:1/identity", "public"));
        assert_eq!(login.password.expose_secret(), "a # b");
        assert!(!format!("{login:?}").contains("a # b"), "a password is not printed");
    }

    #[test]
    fn what_is_missing_is_named() {
        let admin = parse_cloud(TEXT, "coffer-admin").unwrap();
        assert_eq!(Login::of(admin, |key| format!("no {key}")).unwrap_err().to_string(), "no auth_url");
    }
}
