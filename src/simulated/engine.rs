//! What a simulated server does when a step asks it to. Every answer is the row's, so any worker gives the same.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

use crate::db::simulated::{self, Machine};
use crate::db::{Conn, Db};
use crate::domain::datastore::EngineKind;
use crate::domain::ids::GenerationId;
use crate::domain::operation::{Operation, Refused};
use crate::domain::parameter::Parameter;
use crate::domain::question::{Blocker, Finding};
use crate::domain::tenant::{Database, NewDatabase, NewUser, User};
use crate::domain::upgrade::Strategy;
use crate::engines::{
    Behind, Bound, Comparison, Configure, Engine, Error, Following, Logs, OnProgress, Operate, Position,
    RelayAddress, Server, Standing, Taken,
};
use crate::simulated::content::{self, is_root};
use crate::simulated::parameters;

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(10);

/// An engine of simulated servers.
#[derive(Clone)]
pub struct SimulatedEngine {
    kind: EngineKind,
    db: Db,
}

impl SimulatedEngine {
    /// The simulated engine that is called `kind`.
    pub const fn new(kind: EngineKind, db: Db) -> Self {
        Self { kind, db }
    }

    async fn ask<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Conn) -> Result<T, crate::db::Error> + Send + 'static,
    {
        // With its row out of reach the server is, too.
        self.db.transact(work).await.map_err(|error| Error::NoAnswer(error.to_string()))
    }

    /// The server, if it answers.
    async fn running(&self, id: GenerationId) -> Result<Machine, Error> {
        match self.ask(move |conn| simulated::find(conn, id)).await? {
            Some(machine) if machine.running => Ok(machine),
            Some(_) => Err(Error::NoAnswer("the simulated server does not run".to_owned())),
            None => Err(Error::NoAnswer("there is no simulated server".to_owned())),
        }
    }
}

fn parse(position: &Position) -> Result<i64, Error> {
    let doing = "read a simulated position";
    position.0.parse().map_err(|_| Error::Unexpected { doing, answer: position.0.clone() })
}

#[async_trait]
impl Operate for SimulatedEngine {
    async fn has_root(&self, server: &Server) -> Result<bool, Error> {
        Ok(self.running(server.generation).await?.users.iter().any(is_root))
    }

    async fn operate(&self, server: &Server, operation: &Operation) -> Result<Option<Refused>, Error> {
        self.running(server.generation).await?;
        let (id, operation) = (server.generation, operation.clone());
        let changed = self
            .ask(move |conn| {
                simulated::change_content(conn, id, |databases, users| {
                    content::change(databases, users, &operation)
                })
            })
            .await?;
        if changed { Ok(None) } else { Err(Error::NoAnswer("there is no simulated server".to_owned())) }
    }
}

#[async_trait]
impl Configure for SimulatedEngine {
    async fn show_certificate(&self, _server: &Server) -> Result<(), Error> {
        Ok(())
    }

    fn fixed_parameters(&self) -> Option<Vec<Parameter>> {
        Some(parameters::of(self.kind))
    }

    async fn parameters(&self, _server: &Server) -> Result<Vec<Parameter>, Error> {
        Ok(parameters::of(self.kind))
    }

    fn defaults(&self, server: &Server) -> BTreeMap<String, Value> {
        parameters::defaults(&server.settings)
    }

    async fn configure(&self, server: &Server) -> Result<Option<Refused>, Error> {
        let runs_with = self.running(server.generation).await?.parameters;
        let (id, values) = (server.generation, server.settings.parameters.clone());
        let values = parameters::while_it_runs(self.kind, runs_with, values);
        self.ask(move |conn| simulated::set_parameters(conn, id, &values)).await?;
        Ok(None)
    }

    async fn standing(&self, server: &Server) -> Result<Standing, Error> {
        let runs_with = self.running(server.generation).await?.parameters;
        Ok(parameters::standing(self.kind, &runs_with, &server.settings))
    }
}

#[async_trait]
impl Bound for SimulatedEngine {
    async fn taken(&self, server: &Server) -> Result<Taken, Error> {
        let id = server.generation;
        let content = self.ask(move |conn| simulated::used_bytes(conn, id)).await?;
        Ok(Taken { content, logs: 0 })
    }

    async fn bound(&self, server: &Server) -> Result<(), Error> {
        self.running(server.generation).await?;
        self.start(server).await
    }
}

#[async_trait]
impl Logs for SimulatedEngine {
    async fn log_lengths(&self, server: &Server) -> Result<Vec<(&'static str, u64)>, Error> {
        self.running(server.generation).await.map(|_| Vec::new())
    }

    async fn log_end(&self, server: &Server, name: &str) -> Result<Vec<u8>, Error> {
        self.running(server.generation).await?;
        Ok(format!("simulated: there is no server that writes the log {name}\n").into_bytes())
    }
}

#[async_trait]
impl Engine for SimulatedEngine {
    fn kind(&self) -> EngineKind {
        self.kind
    }

    async fn create_data(&self, server: &Server) -> Result<(), Error> {
        let (id, number) = (server.generation, server.version.clone());
        self.ask(move |conn| simulated::make(conn, id, &number)).await
    }

    async fn start(&self, server: &Server) -> Result<(), Error> {
        let (id, settings) = (server.generation, server.settings.clone());
        let started = self
            .ask(move |conn| {
                simulated::start(conn, id, (settings.refuses_writes(), settings.events), &settings.parameters)
            })
            .await?;
        if started { Ok(()) } else { Err(Error::NoAnswer("there is no simulated server".to_owned())) }
    }

    async fn stop(&self, server: &Server) -> Result<(), Error> {
        let id = server.generation;
        self.ask(move |conn| simulated::stop(conn, id)).await
    }

    async fn drop_data(&self, server: &Server) -> Result<(), Error> {
        let id = server.generation;
        self.ask(move |conn| simulated::drop(conn, id)).await
    }

    async fn probe(&self, server: &Server, _write: bool) -> Result<String, Error> {
        Ok(self.running(server.generation).await?.version_number)
    }

    async fn create_content(
        &self,
        server: &Server,
        databases: &[NewDatabase],
        users: &[NewUser],
    ) -> Result<(), Error> {
        self.running(server.generation).await?;
        let (id, databases, users) = (server.generation, databases.to_vec(), users.to_vec());
        self.ask(move |conn| simulated::set_content(conn, id, &databases, &users)).await
    }

    async fn databases(&self, server: &Server) -> Result<Vec<Database>, Error> {
        let mut found: Vec<_> = self
            .running(server.generation)
            .await?
            .databases
            .into_iter()
            .map(|database| Database { name: database.name })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn users(&self, server: &Server) -> Result<Vec<User>, Error> {
        let mut found: Vec<_> = self
            .running(server.generation)
            .await?
            .users
            .into_iter()
            .filter(|user| !is_root(user))
            .map(|user| User { name: user.name, host: user.host, databases: user.databases })
            .collect();
        found.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
        Ok(found)
    }

    async fn replica_blockers(&self, source: &Server) -> Result<Vec<Blocker>, Error> {
        self.running(source.generation).await.map(|_| Vec::new())
    }

    async fn seed(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Position, Error> {
        self.running(source.generation).await?;
        self.running(candidate.generation).await?;
        let (from, to) = (source.generation, candidate.generation);
        let position = self.ask(move |conn| simulated::copy(conn, from, to)).await?;
        progress(format!("simulated: {position} writes"));
        Ok(Position(position.to_string()))
    }

    async fn convert(&self, server: &Server) -> Result<bool, Error> {
        self.running(server.generation).await.map(|_| false)
    }

    async fn follow(
        &self,
        source: &Server,
        candidate: &Server,
        _relay: Option<&RelayAddress>,
    ) -> Result<(), Error> {
        self.running(source.generation).await?;
        self.running(candidate.generation).await?;
        let (from, to) = (source.generation, candidate.generation);
        self.ask(move |conn| simulated::follow(conn, to, Some(from))).await
    }

    async fn following(&self, candidate: &Server) -> Result<Following, Error> {
        let Some(source) = self.running(candidate.generation).await?.follows else {
            return Ok(Following::Nobody);
        };
        let id = candidate.generation;
        self.ask(move |conn| simulated::apply(conn, id)).await?;
        Ok(match self.running(source).await {
            Ok(_) => Following::Running,
            Err(away) => Following::Connecting(away.to_string()),
        })
    }

    async fn position(&self, source: &Server) -> Result<Position, Error> {
        Ok(Position(self.running(source.generation).await?.position.to_string()))
    }

    async fn behind(&self, source: &Server, candidate: &Server) -> Result<Behind, Error> {
        let theirs = self.running(source.generation).await?.position;
        let id = candidate.generation;
        let ours = self.ask(move |conn| simulated::apply(conn, id)).await?;
        let amount = u64::try_from(theirs.saturating_sub(ours)).unwrap_or_default();
        Ok(Behind { amount, unit: "transactions" })
    }

    async fn reached(
        &self,
        candidate: &Server,
        position: &Position,
        within: Duration,
    ) -> Result<bool, Error> {
        let (id, wanted) = (candidate.generation, parse(position)?);
        let deadline = Instant::now() + within;
        loop {
            self.running(id).await?;
            if self.ask(move |conn| simulated::apply(conn, id)).await? >= wanted {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn inventory(&self, server: &Server) -> Result<Vec<String>, Error> {
        let machine = self.running(server.generation).await?;
        let mut lines: Vec<String> = machine
            .databases
            .iter()
            .map(|database| format!("database {}", database.name))
            .chain(
                machine
                    .users
                    .iter()
                    .map(|user| format!("user {}@{} on {}", user.name, user.host, user.databases.join(", "))),
            )
            .collect();
        lines.sort();
        Ok(lines)
    }

    async fn compare_rows(
        &self,
        source: &Server,
        candidate: &Server,
        _progress: OnProgress,
    ) -> Result<Comparison, Error> {
        let position = self.position(source).await?;
        if !self.reached(candidate, &position, Duration::from_secs(30)).await? {
            return Err(Error::NoAnswer("the candidate fell behind".to_owned()));
        }
        let (from, to, at) = (source.generation, candidate.generation, parse(&position)?);
        let (rows, differing) = self.ask(move |conn| simulated::compare(conn, from, to, at)).await?;
        Ok(Comparison {
            tables: 1,
            rows,
            differing: if differing > 0 { vec!["simulated.writes".to_owned()] } else { Vec::new() },
            not_compared: Vec::new(),
            position: position.0,
        })
    }

    async fn resume(&self, candidate: &Server) -> Result<(), Error> {
        self.running(candidate.generation).await.map(|_| ())
    }

    async fn cut(&self, candidate: &Server, _source: Option<&Server>) -> Result<(), Error> {
        self.running(candidate.generation).await?;
        let (id, settings) = (candidate.generation, candidate.settings.clone());
        self.ask(move |conn| {
            simulated::follow(conn, id, None)?;
            simulated::start(conn, id, (settings.refuses_writes(), settings.events), &settings.parameters)
                .map(|_| ())
        })
        .await
    }

    async fn forget_follower(&self, source: &Server) -> Result<(), Error> {
        self.running(source.generation).await.map(|_| ())
    }

    async fn oldest_transaction(
        &self,
        server: &Server,
        _longer_than: Duration,
    ) -> Result<Option<String>, Error> {
        self.running(server.generation).await.map(|_| None)
    }

    async fn fence(&self, server: &Server, _grace: Duration) -> Result<u64, Error> {
        self.running(server.generation).await?;
        self.start(server).await.map(|()| 0)
    }

    async fn end_late(&self, server: &Server) -> Result<u64, Error> {
        self.running(server.generation).await.map(|_| 0)
    }

    async fn stop_clean(&self, server: &Server) -> Result<String, Error> {
        // One that died mends itself when it is started.
        self.start(server).await?;
        self.stop(server).await?;
        Ok("simulated: stopped".to_owned())
    }

    async fn pre_check_within(
        &self,
        source: &Server,
        _candidate: &Server,
        _strategy: Strategy,
        _trial: Duration,
    ) -> Result<Vec<Finding>, Error> {
        self.running(source.generation).await.map(|_| Vec::new())
    }

    async fn prepare_in_place(
        &self,
        _source: &Server,
        candidate: &Server,
        _progress: OnProgress,
    ) -> Result<String, Error> {
        self.create_data(candidate).await?;
        Ok("simulated: an empty server".to_owned())
    }

    async fn convert_in_place(
        &self,
        source: &Server,
        candidate: &Server,
        _progress: OnProgress,
    ) -> Result<String, Error> {
        let (from, to) = (source.generation, candidate.generation);
        match self.ask(move |conn| simulated::find(conn, from)).await? {
            Some(machine) if machine.running => {
                let answer = "the source runs".to_owned();
                return Err(Error::Unexpected { doing: "copy a simulated server", answer });
            }
            Some(_) => {}
            None => return Err(Error::NoAnswer("there is no simulated server".to_owned())),
        }
        self.create_data(candidate).await?;
        let writes = self.ask(move |conn| simulated::copy(conn, from, to)).await?;
        Ok(format!("simulated: {writes} writes"))
    }
}
