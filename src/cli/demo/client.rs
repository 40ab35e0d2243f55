//! The demo's HTTP client: what any Trove client does.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::screen::Step;

/// A logged-in client of one project.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    /// The project's id.
    pub project: String,
}

impl Client {
    /// Logs in as a cloud of the state folder's `clouds.yaml`, as any OpenStack client does.
    pub async fn login(state: &Path, cloud: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(state.join("clouds.yaml"))
            .with_context(|| format!("read clouds.yaml in {}", state.display()))?;
        let cloud = parse_cloud(&text, cloud).context("the cloud is not in clouds.yaml")?;
        let get = |key: &str| cloud.get(key).cloned().with_context(|| format!("no {key} in clouds.yaml"));
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            // Well before the server closes an idle connection: a request must not meet that.
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": get("username")?, "domain": {"name": "Default"}, "password": get("password")?}}},
            "scope": {"project": {"name": get("project_name")?, "domain": {"name": "Default"}}}}});
        let auth_url = get("auth_url")?;
        let auth_url = auth_url.trim_end_matches('/').trim_end_matches("/v3");
        let answer = http.post(format!("{auth_url}/v3/auth/tokens")).json(&body).send().await?;
        ensure!(answer.status() == 201, "login answered {}", answer.status());
        let token = answer
            .headers()
            .get("x-subject-token")
            .and_then(|value| value.to_str().ok())
            .context("no token")?
            .to_owned();
        let body: Value = answer.json().await?;
        let project = body["token"]["project"]["id"].as_str().context("no project")?.to_owned();
        let base = body["token"]["catalog"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|service| service["type"] == "database")
            .and_then(|service| service["endpoints"][0]["url"].as_str())
            .context("no database endpoint in the catalog")?
            .to_owned();
        Ok(Self { http, base, token, project })
    }

    /// Where the project's routes are.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The token, for a request of one's own.
    pub fn token(&self) -> &str {
        &self.token
    }

    async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base)).header("X-Auth-Token", &self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("ask for {path}"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
        Ok((status, body))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.ask(reqwest::Method::GET, path, None).await?;
        ensure!(status == 200, "GET {path} answered {status}: {body}");
        Ok(body)
    }

    /// Reads, and gives status and body.
    pub async fn read(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        self.ask(reqwest::Method::GET, path, None).await
    }

    /// Posts, and gives status and body.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    /// Puts, and gives status and body.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        self.ask(reqwest::Method::PUT, path, Some(body)).await
    }

    /// Patches, and expects 202.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.ask(reqwest::Method::PATCH, path, Some(body)).await?;
        ensure!(status == 202, "PATCH {path} answered {status}: {answer}");
        Ok(())
    }

    /// Creates an instance of MariaDB with one database and one user; gives its id.
    pub async fn create(
        &self,
        name: &str,
        version: &str,
        database: &str,
        user: &str,
        password: &SecretString,
    ) -> anyhow::Result<String> {
        self.create_of("mariadb", name, version, database, user, password).await
    }

    /// The same of another datastore.
    pub async fn create_of(
        &self,
        datastore: &str,
        name: &str,
        version: &str,
        database: &str,
        user: &str,
        password: &SecretString,
    ) -> anyhow::Result<String> {
        let body = json!({"instance": {
            "name": name, "flavorRef": "2", "volume": {"size": 5},
            "datastore": {"type": datastore, "version": version},
            "databases": [{"name": database}],
            "users": [{"name": user, "password": password.expose_secret(), "databases": [{"name": database}]}]}});
        let (status, answer) = self.post("/instances", &body).await?;
        ensure!(status == 200, "create answered {status}: {answer}");
        Ok(answer["instance"]["id"].as_str().context("no id")?.to_owned())
    }

    /// Shows an instance.
    pub async fn show(&self, id: &str) -> anyhow::Result<Value> {
        Ok(self.get(&format!("/instances/{id}")).await?["instance"].clone())
    }

    /// Waits until it is ACTIVE and HEALTHY; gives its address.
    pub async fn wait_until_healthy(&self, id: &str, step: &Step) -> anyhow::Result<String> {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let seen = self.show(id).await?;
            if seen["status"] == "ACTIVE" && seen["operating_status"] == "HEALTHY" {
                return Ok(seen["ip"][0].as_str().context("no address")?.to_owned());
            }
            if seen["status"] == "ERROR" {
                bail!("the instance is in ERROR: {}", seen["fault"]["message"]);
            }
            ensure!(Instant::now() < deadline, "the instance is still {}", seen["status"]);
            step.tell(seen["status"].as_str().unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The newest task of an instance's upgrades.
    pub async fn task_of(&self, id: &str) -> anyhow::Result<String> {
        let seen = self.get(&format!("/instances/{id}/upgrades")).await?;
        Ok(seen["upgrades"][0]["id"].as_str().context("no upgrade")?.to_owned())
    }

    /// A task with its steps.
    pub async fn task(&self, id: &str) -> anyhow::Result<Value> {
        Ok(self.get(&format!("/tasks/{id}")).await?["task"].clone())
    }

    /// Asks for a deletion.
    pub async fn delete(&self, id: &str) -> anyhow::Result<()> {
        let (status, answer) = self.ask(reqwest::Method::DELETE, &format!("/instances/{id}"), None).await?;
        ensure!(status == 202, "DELETE answered {status}: {answer}");
        Ok(())
    }

    /// Waits until an instance is gone.
    pub async fn wait_until_gone(&self, id: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let (status, _) = self.ask(reqwest::Method::GET, &format!("/instances/{id}"), None).await?;
            if status == 404 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the instance is still there");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Reads one cloud of a `clouds.yaml` that `coffer dev` wrote: `key: value` lines under the cloud's name.
fn parse_cloud(text: &str, cloud: &str) -> Option<HashMap<String, String>> {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != format!("  {cloud}:"));
    lines.next()?;
    Some(
        lines
            .take_while(|line| line.starts_with("    "))
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_read_and_not_its_neighbour() {
        let text = "clouds:\n  coffer-admin:\n    auth:\n      username: admin\n  coffer:\n    auth:\n      \
                    auth_url: \"http://127.0.0.1:1/identity\"\n      username: coffer\n    region_name: RegionOne\n";
        let cloud = parse_cloud(text, "coffer").unwrap();
        assert_eq!(cloud["username"], "coffer");
        assert_eq!(cloud["auth_url"], "http://127.0.0.1:1/identity");
        assert!(parse_cloud(text, "other").is_none());
    }
}
