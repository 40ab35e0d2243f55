//! The demo's HTTP client: what any Trove client does.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::screen::Step;
use crate::cli::cloud::{Login, Project};

/// Longer than the service lets a stream last.
const LONGEST_STREAM: Duration = Duration::from_secs(4_000);

/// Longer than the service lets one be silent.
const LONGEST_SILENCE: Duration = Duration::from_secs(45);

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
        Self::enter(&Login::of_cloud(&state.join("clouds.yaml"), cloud)?).await
    }

    /// Logs in.
    pub async fn enter(login: &Login) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            // Well before the server closes an idle connection: a request must not meet that.
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        let project = match &login.project {
            Project::Id(id) => json!({"id": id}),
            Project::Name(name, domain) => json!({"name": name, "domain": {"name": domain}}),
        };
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": login.username,
                "domain": {"name": login.user_domain}, "password": login.password.expose_secret()}}},
            "scope": {"project": project}}});
        let url = format!("{}/v3/auth/tokens", login.auth_url);
        let answer = http.post(&url).json(&body).send().await.with_context(|| format!("log in at {url}"))?;
        ensure!(answer.status() == 201, "the login at {url} answered {}", answer.status());
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
            .filter(|service| service["type"] == "database")
            .flat_map(|service| service["endpoints"].as_array().into_iter().flatten())
            .find(|endpoint| {
                endpoint["interface"] == *login.interface
                    && login.region.as_ref().is_none_or(|region| endpoint["region"] == **region)
            })
            .and_then(|endpoint| endpoint["url"].as_str())
            .context("no database endpoint in the catalog")?
            .trim_end_matches('/')
            .to_owned();
        Ok(Self { http, base, token, project })
    }

    /// A task's views as they change, until its end.
    pub async fn events(&self, task: &str) -> anyhow::Result<Events> {
        let request = self
            .http
            .get(format!("{}/tasks/{task}/events", self.base))
            .header("X-Auth-Token", &self.token)
            .timeout(LONGEST_STREAM);
        let answer = request.send().await.context("watch the task")?;
        ensure!(answer.status() == 200, "the task's events answered {}", answer.status());
        Ok(Events { answer, seen: Vec::new(), heard: Instant::now() })
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

    /// Deletes what is there by a path, and gives status and body.
    pub async fn remove(&self, path: &str) -> anyhow::Result<(u16, Value)> {
        self.ask(reqwest::Method::DELETE, path, None).await
    }

    /// Patches, and expects 202, or 200 where there is nothing to wait for.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.ask(reqwest::Method::PATCH, path, Some(body)).await?;
        ensure!(matches!(status, 200 | 202), "PATCH {path} answered {status}: {answer}");
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

/// A stream of a task's views.
pub struct Events {
    answer: reqwest::Response,
    seen: Vec<u8>,
    heard: Instant,
}

impl Events {
    /// The next view; `None` when the stream has ended. It may be dropped and called again.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(end) = self.seen.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.seen.drain(..end + 2).collect();
                let event = String::from_utf8(event).context("an event is no text")?;
                if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                    return Ok(Some(serde_json::from_str(data).context("an event is no JSON")?));
                }
            }
            let patience = LONGEST_SILENCE.saturating_sub(self.heard.elapsed());
            let more = tokio::time::timeout(patience, self.answer.chunk());
            match more.await.context("the task's events fell silent")?? {
                Some(bytes) => self.seen.extend_from_slice(&bytes),
                None => return Ok(None),
            }
            self.heard = Instant::now();
        }
    }
}
