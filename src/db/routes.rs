//! What the endpoint role asks of the store: its host's routes and relays, and what it writes back.
//!
//! It has a connection of its own (tokio-postgres), not the pool: one connection that LISTENs and asks, for a process
//! that must go on when the store is away. It LISTENs before it looks, so that nothing is missed between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, NoTls, Row};

use crate::domain::datastore::Protocol;
use crate::domain::ids::{GenerationId, HostId, InstanceId, TaskId};

/// How long the store may take for one answer before it counts as away.
const ANSWER: Duration = Duration::from_secs(10);

/// What the store did not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer.
    #[error("{doing}")]
    Query {
        /// What we were doing.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The store did not answer in time.
    #[error("{doing}: no answer in time")]
    TimedOut {
        /// What we were doing.
        doing: &'static str,
    },
    /// The connection has ended.
    #[error("the connection to the store has ended")]
    Ended,
    /// A row does not hold together.
    #[error("row: {0}")]
    Broken(String),
}

/// The stable address of an instance, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Whose address it is.
    pub instance: InstanceId,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The generation that serves; `None` leads nowhere.
    pub generation: Option<GenerationId>,
    /// Counts the changes of this row.
    pub epoch: i64,
    /// The newest epoch that an endpoint role has put in force.
    pub applied_epoch: i64,
    /// How many connections it lets through at once: fewer than the server takes, so that we always get in.
    #[serde(default = "few")]
    pub connections: u32,
    /// What becomes of connections while a task keeps them from the server.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
    /// The networks from which clients may come; none lets everybody in.
    #[serde(default)]
    pub allowed: Vec<Ipv4Net>,
    /// Whether clients must ask for TLS first.
    #[serde(default)]
    pub tls_only: bool,
    /// Whether clients are turned away, since more is in the volume than its size.
    #[serde(default)]
    pub full_volume: bool,
}

/// A hold: new connections wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How long each waits at most before it is told to come again, in milliseconds.
    pub wait_ms: u32,
    /// Whether those that are open are ended.
    pub cut: bool,
}

/// What a state file that does not say it stands for.
const fn few() -> u32 {
    50
}

/// A private way to a source, for a task's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Whose it is.
    pub task: TaskId,
    /// Where it leads.
    pub generation: GenerationId,
    /// Where it listens, and as whom all that comes by it comes to the server: the source's own address.
    pub address: SocketAddr,
    /// Whether that was recorded.
    #[serde(default)]
    pub listening: bool,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Everything that one host's endpoint role serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// Its instances.
    pub routes: Vec<Route>,
    /// Its relays.
    pub relays: Vec<Relay>,
}

/// A connection that listens and asks.
pub struct Routing {
    client: Client,
    heard: mpsc::Receiver<()>,
    driver: JoinHandle<()>,
}

impl Drop for Routing {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Routing {
    /// Connects and LISTENs.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn connect(database: &str) -> Result<Self, Error> {
        let (client, mut connection) =
            answer("connect to the store", tokio_postgres::connect(database, NoTls)).await?;
        let (tell, heard) = mpsc::channel(1);
        let driver = tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notification(_) = message {
                    // Full means that one is waiting to be heard already.
                    let _ = tell.try_send(());
                }
            }
        });
        let this = Self { client, heard, driver };
        answer("listen", this.client.batch_execute("listen coffer_routes")).await?;
        Ok(this)
    }

    /// Waits until something may have changed, at most for `at_most`.
    ///
    /// # Errors
    /// [`Error::Ended`] when the connection has ended.
    pub async fn changed(&mut self, at_most: Duration) -> Result<(), Error> {
        match tokio::time::timeout(at_most, self.heard.recv()).await {
            Ok(Some(())) | Err(_) => Ok(()),
            Ok(None) => Err(Error::Ended),
        }
    }

    /// What this host serves.
    ///
    /// # Errors
    /// When the store is away, or a row does not hold together.
    pub async fn read(&self, host: &HostId) -> Result<Routes, Error> {
        let by_host: &[&(dyn ToSql + Sync)] = &[&host.0];
        let routes = self.client.query(
            "select e.instance_id::text, e.address, e.port, case when e.listens then e.generation_id end::text, \
             e.epoch, e.applied_epoch, e.connections, h.wait_ms, h.cut, e.protocol, e.allowed_cidrs, \
             e.tls_only, e.full_volume \
             from endpoints e left join holds h on h.instance_id = e.instance_id \
             where e.host_id = $1 order by e.instance_id",
            by_host,
        );
        let routes = answer("read the endpoints", routes).await?;
        let relays = self.client.query(
            "select task_id::text, generation_id::text, address, port, listening, protocol \
             from relays where host_id = $1 and listens order by task_id",
            by_host,
        );
        let relays = answer("read the relays", relays).await?;
        Ok(Routes {
            routes: routes.iter().map(route).collect::<Result<_, _>>()?,
            relays: relays.iter().map(relay).collect::<Result<_, _>>()?,
        })
    }

    /// Records that `epoch` of the instance's endpoint is in force. Never takes a newer one back.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn record_applied(&self, instance: InstanceId, epoch: i64) -> Result<(), Error> {
        let instance = instance.to_string();
        let values: &[&(dyn ToSql + Sync)] = &[&instance, &epoch];
        let update = self.client.execute(
            "update endpoints set applied_epoch = $2 \
             where instance_id = $1::text::uuid and epoch >= $2 and applied_epoch < $2",
            values,
        );
        answer("record the applied epoch", update).await.map(|_| ())
    }

    /// Records that the task's relay listens.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn record_relay(&self, task: TaskId) -> Result<(), Error> {
        let task = task.to_string();
        let values: &[&(dyn ToSql + Sync)] = &[&task];
        let update = self.client.execute(
            "update relays set listening = true where task_id = $1::text::uuid and not listening",
            values,
        );
        answer("record that a relay listens", update).await.map(|_| ())
    }
}

async fn answer<T>(
    doing: &'static str,
    question: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER, question).await {
        Ok(answer) => answer.map_err(|source| Error::Query { doing, source }),
        Err(_elapsed) => Err(Error::TimedOut { doing }),
    }
}

fn route(row: &Row) -> Result<Route, Error> {
    let address: String = get(row, 1)?;
    let generation: Option<String> = get(row, 3)?;
    Ok(Route {
        instance: id(&get::<String>(row, 0)?)?,
        address: socket_address(&address, get(row, 2)?)?,
        generation: generation.as_deref().map(id).transpose()?,
        epoch: get(row, 4)?,
        applied_epoch: get(row, 5)?,
        connections: get::<i32>(row, 6)?.try_into().unwrap_or_else(|_| few()),
        hold: match (get::<Option<i32>>(row, 7)?, get::<Option<bool>>(row, 8)?) {
            (Some(wait_ms), Some(cut)) => Some(Hold { wait_ms: wait_ms.unsigned_abs(), cut }),
            (_, _) => None,
        },
        protocol: protocol(row, 9)?,
        allowed: get::<Vec<String>>(row, 10)?.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
        tls_only: get(row, 11)?,
        full_volume: get(row, 12)?,
    })
}

fn relay(row: &Row) -> Result<Relay, Error> {
    let address: String = get(row, 2)?;
    Ok(Relay {
        task: id(&get::<String>(row, 0)?)?,
        generation: id(&get::<String>(row, 1)?)?,
        address: socket_address(&address, get(row, 3)?)?,
        listening: get(row, 4)?,
        protocol: protocol(row, 5)?,
    })
}

/// A network, or one address.
fn network(text: &str) -> Result<Ipv4Net, Error> {
    let one = || text.parse::<Ipv4Addr>().map(Ipv4Net::from);
    text.parse().or_else(|_| one()).map_err(|_| Error::Broken(format!("network {text:?}")))
}

fn protocol(row: &Row, column: usize) -> Result<Protocol, Error> {
    let word: String = get(row, column)?;
    word.parse().map_err(|_| Error::Broken(format!("protocol {word:?}")))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Error> {
    row.try_get(column).map_err(|source| Error::Query { doing: "read a row", source })
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Broken(format!("id {text:?}")))
}

fn socket_address(address: &str, port: i32) -> Result<SocketAddr, Error> {
    let ip: IpAddr = address.parse().map_err(|_| Error::Broken(format!("address {address:?}")))?;
    let port = u16::try_from(port).map_err(|_| Error::Broken(format!("port {port}")))?;
    Ok(SocketAddr::new(ip, port))
}
