//! PostgreSQL, 15 and later; 13 and 14 where there are binaries.
//!
//! Owns what is PostgreSQL's own: cluster, configuration, SQL. Never starts a process or opens a file by itself: that is
//! the runtime's matter; our connections go to the socket of the runtime's layout.
//!
//! # Ways in
//! PostgreSQL has TLS on TCP only, so a server listens in two places. By its Unix socket comes our own account, `coffer`,
//! and nobody else, for who it is on this host (`peer`, with a map): it has no password. At its private address come
//! tenants, with SCRAM-SHA-256 and with TLS if they like, as no account of ours and to no database of the server's own.
//! The endpoint forwards to that address; that any account of the host can reach it, too, is why nothing is trusted for
//! coming from there ([`config::rules`], and the endpoint's `private`).
//!
//! `coffer` is the cluster's superuser, and the only one. A tenant's user owns its database and nothing more: it is no
//! superuser, replicates nothing, reads and writes no file, runs no program and makes no other user; what of the
//! server's own schemas and functions gives more stays with us. What we run in a tenant's database means what it says,
//! whatever its owner set there ([`connection`]).
//!
//! # If we die here
//! Every method looks first at what is there. What could not be told apart from a half-made thing is made again from
//! nothing: the data folder by [`bootstrap`].

mod blockers;
mod bodies;
mod bootstrap;
mod catalogue;
mod check;
mod compare;
mod config;
mod connection;
mod content;
mod control;
mod convert;
mod copy;
mod databases;
mod disarm;
mod expressions;
mod fence;
mod findings;
mod follower;
mod in_place;
mod inspector;
mod inventory;
mod late;
mod listing;
mod logs;
mod offered;
mod operations;
mod own;
mod parameters;
mod pg_hba;
mod ready;
mod rehearsal;
mod replication;
mod rights;
mod roles;
mod seed;
mod sequences;
mod settings;
mod still;
mod system;
mod tampering;
mod unlogged;
mod waits;

use std::collections::BTreeMap;
use std::path::PathBuf;
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
    RelayAddress, Server, Standing, Sums, Taken,
};
use crate::runtimes::{self, Job, Layout, Observed};

use crate::engines::logs::MOST_PUBLISHED;
use connection::{Client, scrub};

/// Our account in every server: its superuser.
const ACCOUNT: &str = "coffer";

/// The account by which a copy of a server is made and fed.
const COPY_ACCOUNT: &str = "coffer_copy";

/// The slot that keeps what a copy has not got yet.
const COPY_SLOT: &str = "coffer_copy";

/// The account by which a candidate follows its source.
const REPLICATION_ACCOUNT: &str = "coffer_repl";

/// The account that reads both sides when they are compared.
const LOOK_ACCOUNT: &str = "coffer_look";

/// The account that reads the definitions when they are dumped.
const DUMP_ACCOUNT: &str = "coffer_dump";

/// The account that reads the sequences.
const READ_ACCOUNT: &str = "coffer_read";

/// The account as which a candidate takes what its source sends.
const APPLY_ACCOUNT: &str = "coffer_apply";

/// What is published on a source, and followed by a candidate, in each database.
const PUBLICATION: &str = "coffer";

/// The table of our schema that is published with the tenant's.
const MARKER: &str = "marker";

/// What begins the name of a slot that keeps what a candidate has not got yet.
const SLOT: &str = "coffer_follow_";

/// How the name of a keeper begins.
const KEEPER: &str = "coffer_keeper_";

/// An option that servers since the end of 2026 keep with a column, on their own: it says since when it is as it is. A
/// target that is older than that reads it as an option of the tenant's that it does not know, and `pg_upgrade` ends
/// there. Without it a column is as it was before there was this word.
const ATTRIBUTE_VERSION: &str = "pg_attver";

/// How long a server may take until it answers; a recovery after a crash is in it.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a clean stop may take: dirty pages go to disk first.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// How long a stop may take whose data is thrown away.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// How long the copy of a new database may take.
const COPY_PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often a server is started that ends at once.
const STARTS: u32 = 3;

/// The pause before it is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(300);

/// The PostgreSQL engine. It holds nothing: what it knows, the servers know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postgresql;

/// Names what we were doing when the runtime failed.
fn runtime(doing: &'static str) -> impl FnOnce(runtimes::Error) -> Error {
    move |source| Error::Runtime { doing, source }
}

/// The server's layout.
fn layout(server: &Server) -> Result<Layout, Error> {
    server
        .runtime
        .layout(server.generation, EngineKind::Postgresql, &server.version)
        .map_err(runtime("find the server's files"))
}

/// The cluster's folder within the data folder, and what the paths of its write-ahead log begin with.
const CLUSTER: &str = "cluster";
const LOGS: [&str; 1] = ["cluster/pg_wal/"];

/// The cluster's own folder. The data folder holds the copy of another beside it while an upgrade in place is on its way
/// ([`copy`]).
fn cluster(layout: &Layout) -> PathBuf {
    layout.data.join(CLUSTER)
}

/// Runs a program beside the server's data and has it succeed.
async fn run(server: &Server, layout: &Layout, job: Job) -> Result<runtimes::JobOutput, Error> {
    let program = job.program.clone();
    let output = server
        .runtime
        .run(server.generation, layout, job)
        .await
        .map_err(runtime("run a program beside the server's data"))?;
    if output.status == Some(0) { Ok(output) } else { Err(failed(&program, &output, server)) }
}

/// Makes the generation's folders anew; what an earlier try left is stopped and removed.
async fn anew(server: &Server) -> Result<(), Error> {
    let (place, generation) = (&server.runtime, server.generation);
    ask_to_end(server, "immediate").await;
    place
        .stop_server(generation, DROP_PATIENCE, true)
        .await
        .map_err(runtime("stop the server of an earlier try"))?;
    place.drop_volume(generation).await.map_err(runtime("remove what an earlier try left"))?;
    let account = server.account.as_deref();
    place.ensure_volume(generation, account).await.map_err(runtime("make the server's folders"))
}

/// `15` of `15.20`.
fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default()
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
        let error = match Client::connect(server).await {
            Ok(client) => return Ok(client),
            Err(error) if is_of_the_moment(&error) => error,
            // It answers, and will not change its mind.
            Err(error) => return Err(error),
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

/// Whether the server may answer otherwise in a moment: it starts up, or shuts down, or is full.
fn is_of_the_moment(error: &Error) -> bool {
    match error {
        Error::NoAnswer(_) => true,
        Error::State { state, .. } => matches!(&**state, "57P01" | "57P02" | "57P03" | "53300"),
        Error::Refused { .. }
        | Error::Program { .. }
        | Error::Runtime { .. }
        | Error::HeldUp(_)
        | Error::Object { .. }
        | Error::Unexpected { .. } => false,
    }
}

async fn write_config(server: &Server, layout: &Layout) -> Result<(), Error> {
    let text = config::main(server, layout);
    let mut files = vec![(config::MAIN, text.as_str())];
    if let Some(tls) = &server.tls {
        files.extend([
            (config::AUTHORITY, tls.authority.as_str()),
            (config::CERTIFICATE, tls.certificate.as_str()),
            (config::KEY, tls.key.expose_secret()),
        ]);
    }
    pg_hba::write(server, pg_hba::wanted(server)).await?;
    // What the configuration names is there before it.
    for (name, text) in files.into_iter().rev() {
        let written = server.runtime.write_config(server.generation, name, text).await;
        written.map_err(runtime("write the server's configuration"))?;
    }
    Ok(())
}

/// Asks the server to end: what the runtime's signal means to it is to wait for its clients. Only a server that is seen
/// is asked, since the number in its file may be another's by now. Whether it ends, the runtime sees.
async fn ask_to_end(server: &Server, mode: &str) {
    if !matches!(server.runtime.observe(server.generation).await, Ok(Observed::Running)) {
        return;
    }
    let Ok(layout) = layout(server) else { return };
    for folder in [cluster(&layout), copy::folder(&layout)] {
        let args = ["stop", "--no-wait", "--mode", mode, "--pgdata"];
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        args.push(folder.to_string_lossy().into_owned());
        let job = Job { program: "pg_ctl".to_owned(), args, ..Job::default() };
        match server.runtime.run(server.generation, &layout, job).await {
            Ok(output) if output.status == Some(0) => return,
            Ok(output) => tracing::debug!(status = output.status, "a server was not asked to end"),
            Err(error) => tracing::debug!(error = %error, "a server could not be asked to end"),
        }
    }
}

/// How long a statement of an operation may take: a large database is dropped, or a lock is waited for.
const OPERATION_PATIENCE: Duration = Duration::from_secs(90);

#[async_trait]
impl Operate for Postgresql {
    async fn has_root(&self, server: &Server) -> Result<bool, Error> {
        operations::has_root(&Client::connect(server).await?).await
    }

    async fn operate(&self, server: &Server, operation: &Operation) -> Result<Option<Refused>, Error> {
        let client =
            Client::connect_anew(server, connection::OWN_DATABASE).await?.patient(OPERATION_PATIENCE);
        operations::operate(server, &client, operation).await
    }
}

#[async_trait]
impl Configure for Postgresql {
    async fn show_certificate(&self, server: &Server) -> Result<(), Error> {
        write_config(server, &layout(server)?).await?;
        // It counts when the server has read it: who is asked afterwards what it shows must be told right.
        pg_hba::reload(server, &Client::connect_anew(server, connection::OWN_DATABASE).await?).await
    }

    async fn parameters(&self, server: &Server) -> Result<Vec<Parameter>, Error> {
        parameters::ask(&Client::connect_anew(server, connection::OWN_DATABASE).await?).await
    }

    fn defaults(&self, server: &Server) -> BTreeMap<String, Value> {
        layout(server).map(|layout| parameters::defaults(server, &layout)).unwrap_or_default()
    }

    async fn configure(&self, server: &Server) -> Result<Option<Refused>, Error> {
        // Who may come in is not its matter: it may have been taken over by a fence.
        let text = config::main(server, &layout(server)?);
        let written = server.runtime.write_config(server.generation, config::MAIN, &text).await;
        written.map_err(runtime("write the server's configuration"))?;
        let client = Client::connect_anew(server, connection::OWN_DATABASE).await?;
        logs::apply(&client, server).await?;
        parameters::read_again(&client).await
    }

    async fn standing(&self, server: &Server) -> Result<Standing, Error> {
        parameters::standing(&Client::connect(server).await?).await
    }
}

#[async_trait]
impl Bound for Postgresql {
    async fn taken(&self, server: &Server) -> Result<Taken, Error> {
        let taken = server.runtime.taken_bytes(server.generation, &LOGS).await;
        let (all, logs) = taken.map_err(runtime("measure the server's volume"))?;
        Ok(Taken { content: all.saturating_sub(logs), logs })
    }

    /// A session that asks for a transaction that writes has it all the same, so that rows can be deleted: what is beyond the
    /// volume's size is ended by whoever measures it.
    async fn bound(&self, server: &Server) -> Result<(), Error> {
        let client = Client::connect_anew(server, connection::OWN_DATABASE).await?;
        let was = client
            .column(
                "look whether it takes writes",
                "SELECT setting FROM pg_file_settings WHERE name = 'default_transaction_read_only' ORDER BY seqno",
            )
            .await?;
        let doing = "have the server read its configuration";
        let wanted = if server.settings.refuses_writes() { "on" } else { "off" };
        if was.last().is_some_and(|was| was == wanted) {
            // Whoever wrote it may have died before the server read it.
            return client.run(doing, "SELECT pg_reload_conf()").await;
        }
        if let Some(refused) = self.configure(server).await? {
            return Err(Error::Unexpected { doing, answer: refused.to_string() });
        }
        if server.settings.full {
            fence::end_late(server).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Logs for Postgresql {
    async fn log_lengths(&self, _server: &Server) -> Result<Vec<(&'static str, u64)>, Error> {
        // They stand in the server's one log, which its runtime keeps short.
        Ok(Vec::new())
    }

    async fn log_end(&self, server: &Server, name: &str) -> Result<Vec<u8>, Error> {
        if name == "general" {
            return logs::end(server).await;
        }
        let log = server.runtime.log_end(server.generation, MOST_PUBLISHED as u64).await;
        Ok(scrub(&log.map_err(runtime("read the server's log"))?, &server.service_password).into_bytes())
    }
}

#[async_trait]
impl Engine for Postgresql {
    fn kind(&self) -> EngineKind {
        EngineKind::Postgresql
    }

    async fn create_data(&self, server: &Server) -> Result<(), Error> {
        anew(server).await?;
        bootstrap::make(server, &layout(server)?, true).await
    }

    /// A server that already runs gets at run time what `settings` say of writes.
    async fn start(&self, server: &Server) -> Result<(), Error> {
        let layout = layout(server)?;
        write_config(server, &layout).await?;
        let args = ["-D".to_owned(), cluster(&layout).to_string_lossy().into_owned()];
        let file = format!("config_file={}", layout.config.join(config::MAIN).display());
        let args = [&args[..], &["-c".to_owned(), file]].concat();
        let limits = server.settings.limits();
        let mut starts = 0;
        let client = loop {
            starts += 1;
            let started =
                server.runtime.ensure_server(server.generation, &layout, "postgres", &args, limits).await;
            started.map_err(runtime("start the server"))?;
            match until_it_answers(server).await {
                Ok(client) => break client,
                // The process that was met may have been dying already, or one before it is not all gone yet: only
                // one of our own says why it cannot live.
                Err(error) => match server.runtime.observe(server.generation).await {
                    Ok(Observed::Stopped) if starts < STARTS => tokio::time::sleep(RESTART_PAUSE).await,
                    Ok(_) | Err(_) => return Err(error),
                },
            }
        };
        pg_hba::settle(server, &client, pg_hba::wanted(server)).await?;
        bootstrap::own(&client).await?;
        logs::apply(&client, server).await?;
        own::ensure_everywhere(server, &client).await
    }

    async fn stop(&self, server: &Server) -> Result<(), Error> {
        ask_to_end(server, "fast").await;
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
        ask_to_end(server, "immediate").await;
        place.stop_server(generation, DROP_PATIENCE, true).await.map_err(runtime("stop the server"))?;
        place.drop_volume(generation).await.map_err(runtime("remove the server's folders"))
    }

    async fn probe(&self, server: &Server, write: bool) -> Result<String, Error> {
        content::probe(&Client::connect(server).await?, write).await
    }

    async fn create_content(
        &self,
        server: &Server,
        databases: &[NewDatabase],
        users: &[NewUser],
    ) -> Result<(), Error> {
        let client = Client::connect(server).await?.patient(COPY_PATIENCE);
        content::create(server, &client, databases, users).await
    }

    async fn databases(&self, server: &Server) -> Result<Vec<Database>, Error> {
        listing::databases(&Client::connect(server).await?).await
    }

    async fn users(&self, server: &Server) -> Result<Vec<User>, Error> {
        listing::users(&Client::connect(server).await?).await
    }

    async fn replica_blockers(&self, source: &Server) -> Result<Vec<Blocker>, Error> {
        let found = blockers::find(source).await?.into_iter().filter(|finding| finding.blocks);
        Ok(found.map(|Finding { object, why, remedy, .. }| Blocker { object, why, remedy }).collect())
    }

    async fn seed(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Position, Error> {
        match seed::seed(source, candidate, &progress).await {
            Ok(position) => Ok(position),
            Err(error) => Err(waits::named(source, error).await),
        }
    }

    async fn convert(&self, server: &Server) -> Result<bool, Error> {
        convert::convert(server).await
    }

    fn needs_relay(&self) -> bool {
        false
    }

    fn replicates_definitions(&self) -> bool {
        false
    }

    async fn follow(
        &self,
        source: &Server,
        candidate: &Server,
        _relay: Option<&RelayAddress>,
    ) -> Result<(), Error> {
        match replication::follow(source, candidate).await {
            Ok(()) => Ok(()),
            Err(error) => Err(waits::named(source, error).await),
        }
    }

    async fn following(&self, candidate: &Server) -> Result<Following, Error> {
        replication::following(candidate).await
    }

    async fn position(&self, source: &Server) -> Result<Position, Error> {
        replication::position(source).await
    }

    async fn reached(
        &self,
        candidate: &Server,
        position: &Position,
        within: Duration,
    ) -> Result<bool, Error> {
        replication::reached(candidate, position, within).await
    }

    async fn hurry(&self, candidate: &Server) -> Result<bool, Error> {
        replication::hurry(candidate).await
    }

    async fn in_the_way(&self, source: &Server) -> Result<Option<String>, Error> {
        waits::in_the_way(source).await
    }

    async fn behind(&self, source: &Server, _candidate: &Server) -> Result<Behind, Error> {
        replication::behind(source).await
    }

    async fn stand_ready(&self, server: &Server) -> Result<(), Error> {
        ready::open(server).await
    }

    async fn inventory(&self, server: &Server) -> Result<Vec<String>, Error> {
        inventory::read(server, false).await
    }

    async fn inventory_while_serving(&self, server: &Server) -> Result<Vec<String>, Error> {
        inventory::read(server, true).await
    }

    async fn carry_the_rest(&self, source: &Server, candidate: &Server) -> Result<(), Error> {
        replication::carry_sequences(source, candidate).await
    }

    async fn level(&self, source: &Server, candidate: &Server) -> Result<Vec<String>, Error> {
        roles::level(&Client::connect(source).await?, &Client::connect(candidate).await?).await
    }

    async fn compare_rows(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<Comparison, Error> {
        replication::hurry(candidate).await?;
        let compared = match compare::rows(source, candidate, &progress).await {
            Ok(compared) => compared,
            Err(error) => return Err(waits::named(source, error).await),
        };
        // Its tables were empty when it was made: the first queries after the cut-over shall be planned well.
        convert::convert(candidate).await?;
        Ok(compared)
    }

    async fn sum_rows(&self, server: &Server, like: Option<&Sums>, within: Duration) -> Result<Sums, Error> {
        compare::sums(server, like, within).await
    }

    /// A comparison leaves nothing standing still.
    async fn resume(&self, _candidate: &Server) -> Result<(), Error> {
        Ok(())
    }

    async fn cut(&self, candidate: &Server, source: Option<&Server>) -> Result<(), Error> {
        replication::cut(candidate, source).await
    }

    async fn forget_follower(&self, source: &Server) -> Result<(), Error> {
        connection::kept::end(source);
        follower::forget(source).await?;
        inspector::drop(source).await?;
        copy::forget(source).await
    }

    async fn oldest_transaction(
        &self,
        server: &Server,
        longer_than: Duration,
    ) -> Result<Option<String>, Error> {
        fence::oldest_transaction(server, longer_than).await
    }

    async fn fence(&self, server: &Server, grace: Duration) -> Result<u64, Error> {
        fence::fence(server, grace).await
    }

    async fn tidy(&self, candidate: &Server) -> Result<(), Error> {
        copy::remove(candidate).await
    }

    async fn end_late(&self, server: &Server) -> Result<u64, Error> {
        fence::end_late(server).await
    }

    /// The proof is the control file's: it holds whoever saw the server end.
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
        let mut found = match strategy {
            Strategy::InPlace => check::in_place(source, candidate).await?,
            Strategy::Twin => blockers::towards(source, candidate).await?,
        };
        found.extend(waits::findings(source).await?);
        // Within a series the target takes what the source took. What is in the way already ends it anyway.
        if major(&source.version) != major(&candidate.version) && !found.iter().any(|finding| finding.blocks)
        {
            found.extend(rehearsal::findings(source, candidate, strategy, trial).await?);
        }
        Ok(found)
    }

    /// The copy runs afterwards, as nobody's server: it follows the source until that has ended.
    async fn prepare_in_place(
        &self,
        source: &Server,
        candidate: &Server,
        progress: OnProgress,
    ) -> Result<String, Error> {
        copy::prepare(source, candidate, &progress).await
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
    fn the_major_is_the_first_part() {
        assert_eq!((major("15.20"), major("18"), major("x")), (15, 18, 0));
    }

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 7), "three");
        assert_eq!(last_lines("one", 7), "one");
    }
}
