//! A group of simulated servers, and how it is asked for things.

use std::time::Duration;

use coffer::cli::demo::client::Client;
use coffer::commands::groups::{Target, UpgradeGroup};
use coffer::commands::{Commands, Error};
use coffer::db::notices::Notices;
use coffer::db::{Config, Db};
use coffer::domain::caller::{Caller, Level};
use coffer::domain::group::Group;
use coffer::domain::ids::{GroupId, ProjectId, TaskId};
use coffer::domain::quota::Quota;
use coffer::domain::timing::Timing;
use coffer::seal::Sealer;
use serde_json::{Value, json};

use super::roles::Roles;
use super::wait_for;

/// How long a task of a group may take.
const LONG: Duration = Duration::from_secs(240);

/// A group with its members, as they were made: the primary in `az1`, the standby in `az2`.
#[derive(Clone, Debug)]
pub struct Pair {
    pub id: String,
    pub primary: String,
    pub standby: String,
}

/// The body that makes a group.
pub fn body(datastore: &str, version: &str) -> Value {
    let node = |name: &str| json!({"name": name, "flavorRef": "2", "volume": {"size": 2}});
    json!({"ha": {"name": "orders", "datastore": {"type": datastore, "version": version},
        "replica_source": [node("orders-a")], "replicas": [node("orders-b")]}})
}

/// Asks for a group; gives its id.
pub async fn ask(api: &Client, datastore: &str, version: &str) -> String {
    wait_for("the creation is accepted", Duration::from_secs(60), async || {
        let (status, answer) = api.post("/ha", &body(datastore, version)).await.ok()?;
        assert!(status == 202 || status == 503, "{status}: {answer}");
        (status == 202).then(|| answer["ha_instance"]["id"].as_str().unwrap().to_owned())
    })
    .await
}

/// The group as the API shows it.
pub async fn show(api: &Client, id: &str) -> Option<Value> {
    let (status, answer) = api.read(&format!("/ha/{id}")).await.ok()?;
    (status == 200).then(|| answer["ha_instance"].clone())
}

/// Waits until the group has this state.
pub async fn until(api: &Client, id: &str, state: &str) -> Value {
    wait_for(&format!("group {id} is {state}"), LONG, async || {
        let seen = show(api, id).await?;
        (seen["state"] == state).then_some(seen)
    })
    .await
}

impl Pair {
    /// Waits until the group serves, and tells its members.
    pub async fn made(api: &Client, id: &str) -> Self {
        let seen = until(api, id, "ACTIVE").await;
        let member = |side: &str| seen[side][0]["id"].as_str().unwrap().to_owned();
        Self { id: id.to_owned(), primary: member("replica_source"), standby: member("replicas") }
    }

    /// Makes one.
    pub async fn make(api: &Client, datastore: &str, version: &str) -> Self {
        let id = ask(api, datastore, version).await;
        Self::made(api, &id).await
    }

    /// The zones of the primary and of the standby now.
    pub async fn zones(&self, api: &Client) -> [String; 2] {
        let seen = wait_for("it is shown", LONG, async || show(api, &self.id).await).await;
        ["replica_source", "replicas"]
            .map(|side| seen[side][0]["availability_zone"].as_str().unwrap().to_owned())
    }

    /// The newest task of the group.
    pub async fn task(&self, api: &Client) -> Value {
        wait_for("its task is shown", LONG, async || {
            let (_, all) = api.read("/tasks").await.ok()?;
            let mut tasks = all["tasks"].as_array()?.iter();
            let newest = tasks.find(|task| task["group_id"] == *self.id)?["id"].as_str()?.to_owned();
            api.task(&newest).await.ok()
        })
        .await
    }

    /// Waits until the newest task of the group has ended.
    pub async fn ended(&self, api: &Client) -> Value {
        wait_for("the group's task ends", LONG, async || {
            let task = self.task(api).await;
            matches!(task["state"].as_str()?, "succeeded" | "rolled_back" | "cancelled" | "needs_operator")
                .then_some(task)
        })
        .await
    }

    /// Deletes it and waits until it is gone.
    pub async fn delete(&self, api: &Client) {
        self.ask_to_delete(api).await;
        self.gone(api).await;
    }

    /// Asks for its deletion.
    pub async fn ask_to_delete(&self, api: &Client) {
        wait_for("the deletion is accepted", LONG, async || {
            let (status, _) = api.remove(&format!("/ha/{}", self.id)).await.ok()?;
            (status == 202).then_some(())
        })
        .await;
    }

    /// Waits until it is gone.
    pub async fn gone(&self, api: &Client) {
        wait_for("the group is gone", LONG, async || {
            let (status, _) = api.read(&format!("/ha/{}", self.id)).await.ok()?;
            (status == 404).then_some(())
        })
        .await;
    }

    /// Asks for an upgrade as Rackspace's clients do.
    pub async fn act(&self, api: &Client, datastore: &str, version: &str) -> (u16, Value) {
        let body = json!({"upgrade": {"datastore_type": datastore, "datastore_version": version}});
        wait_for("the action is answered", LONG, async || {
            api.post(&format!("/ha/{}/action", self.id), &body).await.ok().filter(|(code, _)| *code != 503)
        })
        .await
    }
}

/// The commands, beside the API: what some dialects ask for and `/ha` does not.
pub struct Asking {
    commands: Commands,
    caller: Caller,
}

impl Asking {
    /// Asks in the name of a member of the client's project.
    pub fn of(roles: &Roles, api: &Client) -> Self {
        let mut config = Config::new(roles.url());
        config.wait = Duration::from_secs(20);
        let commands = Commands {
            db: Db::new(&config),
            sealer: Sealer::open(&roles.state.join("key")).unwrap(),
            notices: Notices::default(),
            quota: Quota::NONE,
        };
        let project = ProjectId::parse(&api.project).unwrap();
        Self { commands, caller: Caller { user: "test".to_owned(), project, level: Some(Level::Member) } }
    }

    /// Asks for an upgrade of the group.
    pub async fn upgrade(
        &self,
        pair: &Pair,
        target: Target,
        second_switch: bool,
        timing: Timing,
    ) -> Result<(Group, TaskId), Error> {
        let request = UpgradeGroup { target, second_switch, timing, idempotency_key: None };
        self.commands.upgrade_group(&self.caller, id(pair), request).await
    }

    /// Asks for a change of roles.
    pub async fn fail_over(&self, pair: &Pair) -> Result<(Group, TaskId), Error> {
        self.commands.fail_group_over(&self.caller, id(pair)).await
    }
}

fn id(pair: &Pair) -> GroupId {
    pair.id.parse().unwrap()
}

/// A version by its name.
pub fn named(datastore: &str, version: &str) -> Target {
    Target::Named { datastore: datastore.to_owned(), version: version.to_owned() }
}
