//! MariaDB, 10.11 and later.
//!
//! Owns what is MariaDB's own: bootstrap, configuration, SQL. Never starts a process or opens a file by itself: that
//! is the runtime's matter; our connections go to the socket of the runtime's layout.
//!
//! A server listens on its Unix socket only, and takes the client's real address from a PROXY header: the endpoint sends
//! one, our own connections send none and are `localhost`. Inside TLS, which nobody but the server sees into, a client
//! can send a header of its own, and is believed. So no account is safe by its host alone: each of ours has a random
//! password, none is let in for what it is on this machine, and `root` does not exist.
//!
//! It has one account of ours, `coffer`@`localhost`, with every right and a
//! random password, our schema `coffer`, and no other account until [`Engine::create_content`]. That account runs no
//! text of a tenant's and opens no table, view or routine of one's, not even to describe it: for that it makes others
//! that can do less, for as long as it takes (see [`helpers`]). What it asks itself is about the server, accounts and
//! events, and the names of databases.
//!
//! # If we die here
//! Every method looks first at what is there. What could not be told apart from a half-made thing is made again from
//! nothing: the data folder by [`bootstrap`], the candidate's content by [`backup`].

mod accounts;
mod backup;
mod blockers;
mod bootstrap;
mod compare;
mod config;
mod connection;
mod content;
mod defaults;
mod definitions;
mod fence;
mod helpers;
mod in_place;
mod inventory;
mod leftovers;
mod listing;
mod logs;
mod offered;
mod operations;
mod parameters;
mod rehearsal;
mod replication;
mod routines;
mod waits;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::domain::datastore::EngineKind;
use crate::domain::operation::{Operation, Refused};
use crate::domain::parameter::Parameter;
use crate::domain::question::{Blocker, Finding};
use crate::domain::tenant::{Database, NewDatabase, NewUser, User};
use crate::domain::upgrade::Strategy;
use crate::engines::{
    Behind, Bound, Comparison, Configure, Engine, Error, Following, Logs, OnProgress, Operate, Position,
    RelayAddress, Server, Settings, Standing, Sums, Taken,
};
use crate::runtimes::{self, Job, Layout, Observed};

use crate::engines::logs::MOST_PUBLISHED;
use connection::{Client, scrub};

/// Our account in every server.
const ACCOUNT: &str = "coffer";

/// The account by which a candidate reads its source's binary log.
const REPLICATION_ACCOUNT: &str = "coffer_repl";

/// The configuration's file name.
const CONFIG: &str = "my.cnf";

/// How long a server may take until it answers; a recovery after a crash is in it.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a clean stop may take: dirty pages go to disk first.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// How long a stop may take whose data is thrown away.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The MariaDB engine. It holds nothing: what it knows, the servers know.
#[derive(Clone, Copy, Debug, Default)]
pub struct MariaDb;

/// Names what we were doing when the runtime failed.
fn runtime(doing: &'static str) -> impl FnOnce(runtimes::Error) -> Error {
    move |source| Error::Runtime { doing, source }
}

/// The server's layout.
fn layout(server: &Server) -> Result<Layout, Error> {
    server
        .runtime
        .layout(server.generation, EngineKind::MariaDb, &server.version)
        .map_err(runtime("find the server's files"))
}

/// Runs a job of the server's own binaries and has it succeed.
async fn run(server: &Server, job: Job) -> Result<(), Error> {
    let program = job.program.clone();
    let output = server
        .runtime
        .run(server.generation, &layout(server)?, job)
        .await
        .map_err(runtime("run a program of the engine"))?;
    if output.status == Some(0) { Ok(()) } else { Err(failed(&program, &output, server)) }
}

/// Has the tenant's tables checked for what the version of their files needs, and mended. Not their views, and by an
/// account that can run nothing.
async fn check_tables(server: &Server) -> Result<(), Error> {
    let mut client = Client::connect(server).await?;
    let databases = content::databases(&mut client).await?;
    if databases.is_empty() {
        client.close().await;
        return Ok(());
    }
    let helper = helpers::loader(&mut client, &databases).await?;
    let own = ["--defaults-file={secret}", "--check-upgrade", "--auto-repair", "--skip-write-binlog"];
    let mut args: Vec<String> =
        own.iter().chain(&["--databases", "--"]).map(|arg| (*arg).to_owned()).collect();
    args.extend(databases);
    let checked = async {
        let secret = Some(connection::client_file_as(server, helper.user(), helper.password())?);
        run(server, Job { program: "mariadb-check".to_owned(), args, secret, ..Job::default() }).await
    }
    .await;
    let gone = helper.drop(&mut client).await;
    checked?;
    gone?;
    client.close().await;
    Ok(())
}

/// What a failed program says of itself, without secrets.
fn failed(program: &str, output: &runtimes::JobOutput, server: &Server) -> Error {
    let end = match output.status {
        Some(status) => format!("status {status}"),
        None => "a signal ended it".to_owned(),
    };
    let text = scrub(output.stderr.trim(), &server.service_password);
    let said = last_lines(&text, 600);
    let message = if said.is_empty() { format!("{end}, without a word") } else { format!("{end}: {said}") };
    Error::Program { program: program.to_owned(), message }
}

/// The end of a text, at most `bytes` of it, beginning with a whole line where that can be.
fn last_lines(text: &str, bytes: usize) -> &str {
    let text = text.trim();
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let end = text.get(from..).unwrap_or_default();
    if from == 0 {
        return end;
    }
    end.split_once('\n').map_or(end, |(_, whole)| whole)
}

/// Waits until the server answered a question of our own account.
async fn until_it_answers(server: &Server) -> Result<Client, Error> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        // Looked at before the question: a server that dies after its answer is the next step's matter.
        let observed = server
            .runtime
            .observe(server.generation)
            .await
            .map_err(runtime("look whether the server runs"))?;
        let error = match ask(server).await {
            Ok(client) => return Ok(client),
            // It answers, and will not change its mind.
            Err(error @ Error::Refused { .. }) => return Err(error),
            Err(error) => error,
        };
        if observed == Observed::Stopped || Instant::now() >= deadline {
            let log = server.runtime.log_end(server.generation, 4096).await.unwrap_or_default();
            let log = scrub(&log, &server.service_password);
            let what = if observed == Observed::Stopped { "it ended" } else { "no answer in time" };
            return Err(Error::NoAnswer(format!(
                "{what} ({error}); its log ends: {}",
                last_lines(&log, 1500)
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn ask(server: &Server) -> Result<Client, Error> {
    let mut client = Client::connect(server).await?;
    client.run("ask for a first answer", "SELECT 1").await?;
    Ok(client)
}

/// Sets at run time what the configuration already says.
async fn apply(client: &mut Client, settings: &Settings) -> Result<(), Error> {
    let now = client
        .row(
            "read what is set",
            "SELECT @@GLOBAL.read_only, @@GLOBAL.event_scheduler, @@GLOBAL.innodb_strict_mode",
        )
        .await?
        .unwrap_or_default();
    let is = |at: usize| now.get(at).and_then(|v| v.as_deref()).is_some_and(|v| matches!(v, "1" | "ON"));
    // Nothing may run or write between the two that may not: what stops goes first.
    if is(1) && !settings.events {
        client.run("stop the event scheduler", "SET GLOBAL event_scheduler=OFF").await?;
    }
    if is(2) != config::is_strict(settings) {
        let value = u8::from(config::is_strict(settings));
        client.run("set innodb_strict_mode", &format!("SET GLOBAL innodb_strict_mode={value}")).await?;
    }
    if is(0) != settings.refuses_writes() {
        let value = u8::from(settings.refuses_writes());
        client.run("set read_only", &format!("SET GLOBAL read_only={value}")).await?;
    }
    if !is(1) && settings.events {
        client.run("start the event scheduler", "SET GLOBAL event_scheduler=ON").await?;
    }
    Ok(())
}

async fn write_config(server: &Server, layout: &Layout) -> Result<(), Error> {
    let text = config::text(&server.settings, &server.version, server.tls.is_some(), layout);
    let mut files = vec![(CONFIG, text.as_str())];
    if let Some(tls) = &server.tls {
        files.extend([
            (config::AUTHORITY, tls.authority.as_str()),
            (config::CERTIFICATE, tls.certificate.as_str()),
            (config::KEY, tls.key.expose_secret()),
        ]);
    }
    // What the configuration names is there before it.
    for (name, text) in files.into_iter().rev() {
        let written = server.runtime.write_config(server.generation, name, text).await;
        written.map_err(runtime("write the server's configuration"))?;
    }
    Ok(())
}

/// How long a statement of an operation may take: a large database is dropped, or a lock is waited for.
const OPERATION_PATIENCE: Duration = Duration::from_secs(90);

#[async_trait]
impl Operate for MariaDb {
    async fn has_root(&self, server: &Server) -> Result<bool, Error> {
        let mut client = Client::connect(server).await?;
        let found = operations::has_root(&mut client).await?;
        client.close().await;
        Ok(found)
    }

    async fn operate(&self, server: &Server, operation: &Operation) -> Result<Option<Refused>, Error> {
        let mut client = Client::connect(server).await?.patient(OPERATION_PATIENCE);
        let refused = operations::operate(&mut client, operation).await?;
        client.close().await;
        Ok(refused)
    }
}

#[async_trait]
impl Configure for MariaDb {
    async fn show_certificate(&self, server: &Server) -> Result<(), Error> {
        write_config(server, &layout(server)?).await?;
        let mut client = Client::connect(server).await?;
        // Not for who follows: it is this server's alone.
        client.run("have the server read its certificate", "FLUSH LOCAL SSL").await?;
        client.close().await;
        Ok(())
    }

    async fn parameters(&self, server: &Server) -> Result<Vec<Parameter>, Error> {
        let mut client = Client::connect(server).await?;
        let found = parameters::ask(&mut client).await;
        client.close().await;
        found
    }

    fn defaults(&self, server: &Server) -> BTreeMap<String, Value> {
        layout(server).map(|layout| parameters::defaults(server, &layout)).unwrap_or_default()
    }

    async fn configure(&self, server: &Server) -> Result<Option<Refused>, Error> {
        write_config(server, &layout(server)?).await?;
        let mut client = Client::connect(server).await?;
        let refused =
            parameters::apply(&mut client, &server.settings.parameters, &self.defaults(server)).await?;
        logs::apply(&mut client, server).await?;
        client.close().await;
        Ok(refused)
    }

    async fn standing(&self, server: &Server) -> Result<Standing, Error> {
        let mut client = Client::connect(server).await?;
        let found =
            parameters::standing(&mut client, &server.settings.parameters, &self.defaults(server)).await?;
        client.close().await;
        Ok(found)
    }
}

#[async_trait]
impl Bound for MariaDb {
    async fn taken(&self, server: &Server) -> Result<Taken, Error> {
        let taken = server.runtime.taken_bytes(server.generation, &config::LOGS).await;
        let (all, logs) = taken.map_err(runtime("measure the server's volume"))?;
        Ok(Taken { content: all.saturating_sub(logs), logs })
    }

    async fn bound(&self, server: &Server) -> Result<(), Error> {
        let mut client = Client::connect(server).await?;
        let refuses = client.value("look whether it takes writes", "SELECT @@GLOBAL.read_only").await?;
        match (server.settings.refuses_writes(), refuses == "0") {
            // The setting waits for statements that write: they are ended first.
            (true, true) => fence::fence(server, Duration::ZERO).await.map(drop)?,
            (false, false) => {
                write_config(server, &layout(server)?).await?;
                apply(&mut client, &server.settings).await?;
            }
            (true, false) | (false, true) => {}
        }
        client.close().await;
        Ok(())
    }

    async fn trim_logs(&self, server: &Server) -> Result<(), Error> {
        let mut client = Client::connect(server).await?;
        client.run("begin a new binary log", "FLUSH LOCAL BINARY LOGS").await?;
        let logs = client.rows("list the binary logs", "SHOW BINARY LOGS").await?;
        let newest = logs.into_iter().last().and_then(|row| row.into_iter().next().flatten());
        if let Some(newest) = newest {
            let purge = format!("PURGE BINARY LOGS TO '{newest}'");
            client.run("remove binary logs", &purge).await?;
        }
        client.close().await;
        Ok(())
    }
}

#[async_trait]
impl Logs for MariaDb {
    async fn log_lengths(&self, server: &Server) -> Result<Vec<(&'static str, u64)>, Error> {
        logs::lengths(server).await
    }

    async fn log_end(&self, server: &Server, name: &str) -> Result<Vec<u8>, Error> {
        match logs::end(server, name).await? {
            Some(end) => Ok(end),
            None => own_log(server).await,
        }
    }
}

/// The end of the server's own log, for its operator.
async fn own_log(server: &Server) -> Result<Vec<u8>, Error> {
    let log = server.runtime.log_end(server.generation, MOST_PUBLISHED as u64).await;
    Ok(scrub(&log.map_err(runtime("read the server's log"))?, &server.service_password).into_bytes())
}

#[async_trait]
impl Engine for MariaDb {
    fn kind(&self) -> EngineKind {
        EngineKind::MariaDb
    }

    fn kept_settings(&self, server: &Server) -> BTreeMap<&'static str, &'static str> {
        config::kept(&server.settings.defaults_of, &server.version)
    }

    async fn create_data(&self, server: &Server) -> Result<(), Error> {
        let (place, generation) = (&server.runtime, server.generation);
        place
            .stop_server(generation, DROP_PATIENCE, true)
            .await
            .map_err(runtime("stop the server of an earlier try"))?;
        place.drop_volume(generation).await.map_err(runtime("remove what an earlier try left"))?;
        let account = server.account.as_deref();
        place.ensure_volume(generation, account).await.map_err(runtime("make the server's folders"))?;
        run(server, bootstrap::job(server, &layout(server)?).await?).await
    }

    /// A server that already runs gets at run time what `settings` say of writes and events.
    async fn start(&self, server: &Server) -> Result<(), Error> {
        let layout = layout(server)?;
        write_config(server, &layout).await?;
        let args = [format!("--defaults-file={}", layout.config.join(CONFIG).display())];
        let limits = server.settings.limits();
        let ensure = || async {
            let started =
                server.runtime.ensure_server(server.generation, &layout, "mariadbd", &args, limits).await;
            started.map_err(runtime("start the server"))?;
            until_it_answers(server).await
        };
        let mut client = match ensure().await {
            Ok(client) => client,
            // The process that was met may have been dying already; only one of our own says why it cannot live.
            Err(error) => match server.runtime.observe(server.generation).await {
                Ok(Observed::Stopped) => ensure().await?,
                Ok(Observed::Running) | Err(_) => return Err(error),
            },
        };
        apply(&mut client, &server.settings).await?;
        client.close().await;
        Ok(())
    }

    async fn stop(&self, server: &Server) -> Result<(), Error> {
        let stopped = server.runtime.stop_server(server.generation, STOP_PATIENCE, false).await;
        if let Err(error) = &stopped {
            let log = server.runtime.log_end(server.generation, 4096).await.unwrap_or_default();
            let log = scrub(&log, &server.service_password);
            let log = last_lines(&log, 1500);
            tracing::warn!(generation.id = %server.generation, version = server.version, %error, log, "a server does not stop");
        }
        stopped.map_err(runtime("stop the server"))
    }

    async fn drop_data(&self, server: &Server) -> Result<(), Error> {
        let (place, generation) = (&server.runtime, server.generation);
        place.stop_server(generation, DROP_PATIENCE, true).await.map_err(runtime("stop the server"))?;
        place.drop_volume(generation).await.map_err(runtime("remove the server's folders"))
    }

    async fn probe(&self, server: &Server, write: bool) -> Result<String, Error> {
        let mut client = Client::connect(server).await?;
        let answer = content::probe(&mut client, write).await;
        client.close().await;
        answer
    }

    async fn create_content(
        &self,
        server: &Server,
        databases: &[NewDatabase],
        users: &[NewUser],
    ) -> Result<(), Error> {
        let mut client = Client::connect(server).await?;
        content::create(&mut client, databases, users).await?;
        client.close().await;
        Ok(())
    }

    async fn databases(&self, server: &Server) -> Result<Vec<Database>, Error> {
        let mut client = Client::connect(server).await?;
        let found = listing::databases(&mut client).await?;
        client.close().await;
        Ok(found)
    }

    async fn users(&self, server: &Server) -> Result<Vec<User>, Error> {
        let mut client = Client::connect(server).await?;
        let found = listing::users(&mut client).await?;
        client.close().await;
        Ok(found)
    }

    async fn replica_blockers(&self, source: &Server) -> Result<Vec<Blocker>, Error> {
        let mut client = Client::connect(source).await?;
        let mut found = blockers::find(source, &mut client).await?;
        let certificate = layout(source)?.config.join(config::CERTIFICATE);
        found.extend(blockers::certificate(&mut client, &certificate).await?);
        client.close().await;
        Ok(found)
    }

    /// The candidate must be read-only; what an earlier try left in it is dropped first.
    async fn seed(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Position, Error> {
        match backup::seed(source, candidate, &progress).await {
            Ok(position) => Ok(position),
            Err(error) => Err(waits::named(source, error).await),
        }
    }

    async fn convert(&self, server: &Server) -> Result<bool, Error> {
        let job = |args: &[&str]| {
            let own = ["--defaults-file={secret}"];
            let args = own.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
            Ok::<_, Error>(Job {
                program: "mariadb-upgrade".to_owned(),
                args,
                secret: Some(connection::client_file(server)?),
                ..Job::default()
            })
        };
        let look = server
            .runtime
            .run(server.generation, &layout(server)?, job(&["--check-if-upgrade-is-needed", "--silent"])?)
            .await
            .map_err(runtime("ask whether the system tables are due"))?;
        match look.status {
            // It is not due; every failure has this status, too, and then prints an error.
            Some(1) if !look.stderr.to_ascii_lowercase().contains("error") => return Ok(false),
            Some(0) => {}
            _ => return Err(failed("mariadb-upgrade", &look, server)),
        }
        // The system's tables only: with the tenant's, it would open each of their views as our own account.
        run(server, job(&["--upgrade-system-tables", "--skip-write-binlog"])?).await?;
        check_tables(server).await?;
        Ok(true)
    }

    async fn follow(
        &self,
        source: &Server,
        candidate: &Server,
        relay: Option<&RelayAddress>,
    ) -> Result<(), Error> {
        let Some(relay) = relay else {
            let answer = "there is no relay".to_owned();
            return Err(Error::Unexpected { doing: "look how the source can be followed", answer });
        };
        replication::follow(source, candidate, relay).await
    }

    async fn outgrown(&self, source: &Server, candidate: &Server) -> Result<Option<String>, Error> {
        replication::outgrown(source, candidate).await
    }

    async fn adapt(&self, source: &Server, candidate: &Server) -> Result<Option<String>, Error> {
        replication::adapt(source, candidate).await
    }

    async fn spoilt(&self, source: &Server) -> Result<Option<Blocker>, Error> {
        let mut client = Client::connect(source).await?;
        let found = blockers::spoils(source, &mut client).await;
        client.close().await;
        found
    }

    async fn following(&self, candidate: &Server) -> Result<Following, Error> {
        let mut client = Client::connect(candidate).await?;
        let following = replication::following(&mut client).await;
        client.close().await;
        following
    }

    async fn position(&self, source: &Server) -> Result<Position, Error> {
        let mut client = Client::connect(source).await?;
        let position = replication::position(&mut client).await;
        client.close().await;
        position
    }

    async fn behind(&self, source: &Server, candidate: &Server) -> Result<Behind, Error> {
        let mut client = Client::connect(source).await?;
        let theirs = replication::position(&mut client).await?;
        client.close().await;
        let mut client = Client::connect(candidate).await?;
        let ours = client.value("ask for the position", "SELECT @@GLOBAL.gtid_slave_pos").await?;
        client.close().await;
        Ok(replication::behind(&theirs.0, &ours))
    }

    /// A candidate that follows nobody, or cannot go on, is an error unless it is there already.
    async fn reached(
        &self,
        candidate: &Server,
        position: &Position,
        within: Duration,
    ) -> Result<bool, Error> {
        replication::reached(candidate, position, within).await
    }

    async fn inventory(&self, server: &Server) -> Result<Vec<String>, Error> {
        let mut client = Client::connect(server).await?;
        let lines = inventory::read(server, &mut client, false).await?;
        client.close().await;
        Ok(lines)
    }

    async fn inventory_while_serving(&self, server: &Server) -> Result<Vec<String>, Error> {
        let mut client = Client::connect(server).await?;
        let lines = inventory::read(server, &mut client, true).await?;
        client.close().await;
        Ok(lines)
    }

    async fn compare_rows(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Comparison, Error> {
        match compare::rows(source, candidate, &progress).await {
            Ok(compared) => Ok(compared),
            Err(error) => Err(waits::named(source, error).await),
        }
    }

    async fn sum_rows(&self, server: &Server, like: Option<&Sums>, within: Duration) -> Result<Sums, Error> {
        compare::sums(server, like, within).await
    }

    async fn resume(&self, candidate: &Server) -> Result<(), Error> {
        let mut client = Client::connect(candidate).await?;
        client.run("let the candidate follow again", "START SLAVE").await?;
        client.close().await;
        Ok(())
    }

    async fn cut(&self, candidate: &Server, source: Option<&Server>) -> Result<(), Error> {
        write_config(candidate, &layout(candidate)?).await?;
        let mut client = Client::connect(candidate).await?;
        replication::cut(&mut client, source).await?;
        apply(&mut client, &candidate.settings).await?;
        client.close().await;
        Ok(())
    }

    async fn forget_follower(&self, source: &Server) -> Result<(), Error> {
        let mut client = Client::connect(source).await?;
        helpers::let_go(source.generation, &mut client).await?;
        replication::forget(&mut client).await?;
        client.close().await;
        Ok(())
    }

    async fn stand_ready(&self, server: &Server) -> Result<(), Error> {
        let mut client = Client::connect(server).await?;
        helpers::keep(server, &mut client).await?;
        client.close().await;
        Ok(())
    }

    async fn in_the_way(&self, source: &Server) -> Result<Option<String>, Error> {
        let mut client = Client::connect(source).await?;
        let found = waits::in_the_way(&mut client).await;
        client.close().await;
        found
    }

    async fn oldest_transaction(
        &self,
        server: &Server,
        longer_than: Duration,
    ) -> Result<Option<String>, Error> {
        let mut client = Client::connect(server).await?;
        let found = async {
            match fence::oldest_transaction(&mut client, longer_than).await? {
                Some(found) => Ok(Some(found)),
                None => waits::in_the_way(&mut client).await,
            }
        }
        .await;
        client.close().await;
        found
    }

    async fn fence(&self, server: &Server, grace: Duration) -> Result<u64, Error> {
        fence::fence(server, grace).await
    }

    async fn end_late(&self, server: &Server) -> Result<u64, Error> {
        fence::end_late(server).await
    }

    async fn stop_clean(&self, server: &Server) -> Result<String, Error> {
        fence::stop_clean(server).await
    }

    async fn pre_check_within(
        &self,
        source: &Server,
        candidate: &Server,
        strategy: Strategy,
        trial: Duration,
    ) -> Result<Vec<Finding>, Error> {
        match in_place::pre_check(source, candidate, strategy, trial).await {
            Ok(found) => Ok(found),
            Err(error) => Err(waits::named(source, error).await),
        }
    }

    async fn prepare_in_place(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<String, Error> {
        in_place::prepare(source, candidate, &progress).await
    }

    async fn convert_in_place(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<String, Error> {
        in_place::convert(source, candidate, &progress).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 7), "three");
        assert_eq!(last_lines("one", 7), "one");
        assert_eq!(last_lines("ööö", 3), "ö");
    }
}
