//! The logical copy: the source's content, at one position, into an empty candidate.
//!
//! The dump reads one InnoDB snapshot whose position the source tells without a lock; accounts are in no snapshot,
//! so they are read before and after, and must be the same.
//!
//! A view that reads another view needs its definer to have rights at the moment it is made, while rights on a table
//! need the table. So accounts are made first, with the right to read everything (nobody reaches a candidate), and
//! are made anew with their real rights after the content.
//!
//! # If we die here
//! The candidate's content is worth nothing until the position was given back. The next try drops it first.

use std::time::Duration;

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::mariadb::connection::{Client, client_file, name, scrub};
use crate::engines::mariadb::{accounts, config, content, failed, layout, runtime};
use crate::engines::{Error, Position, Server, Tell};
use crate::runtimes::{Job, JobOutput};

/// How long one statement of the preparation may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the candidate's limit is meanwhile: the text of a row may be twice as long as the row.
const SEED_PACKET_MB: u64 = 1024;

const MEGABYTE: u64 = 1024 * 1024;

/// Copies the content of `source` into `candidate`; gives the position that the copy stands for.
pub async fn seed(source: &Server, candidate: &Server, tell: &Tell) -> Result<Position, Error> {
    let mut from = Client::connect(source).await?.patient(PATIENCE);
    let mut to = Client::connect(candidate).await?.patient(PATIENCE);
    empty(source, candidate, &mut to).await?;

    let before = accounts::read(&mut from).await?;
    accounts::create(&mut to, &before).await?;
    for account in &before {
        if account.create.is_some() {
            let grant = format!("GRANT SELECT, SHOW VIEW, EXECUTE ON *.* TO {}", account.name);
            to.run("let an account make its views", &grant).await?;
        }
    }

    let databases = content::databases(&mut from).await?;
    to.run("raise a limit", &format!("SET GLOBAL max_allowed_packet={}", SEED_PACKET_MB * MEGABYTE)).await?;
    copy(source, candidate, &databases, size(&mut from).await?, tell).await?;
    to.run("set a limit back", &format!("SET GLOBAL max_allowed_packet={}", config::PACKET_MB * MEGABYTE))
        .await?;

    if accounts::read(&mut from).await? != before {
        let answer = "an account or a grant changed during the copy".to_owned();
        return Err(Error::Unexpected { doing: "compare the accounts", answer });
    }
    accounts::create(&mut to, &before).await?;
    accounts::grant(&mut to, &before).await?;

    let position = to.value("read the copy's position", "SELECT @@GLOBAL.gtid_slave_pos").await?;
    tracing::info!(source = %source.generation, candidate = %candidate.generation, position, "content copied");
    from.close().await;
    to.close().await;
    Ok(Position(position))
}

/// Empties the candidate: of databases, accounts, replication and history.
async fn empty(source: &Server, candidate: &Server, to: &mut Client) -> Result<(), Error> {
    // Whoever took the one for the other would lose everything here.
    let read_only = to.value("look whether it is a candidate", "SELECT @@GLOBAL.read_only").await?;
    if source.generation == candidate.generation || !matches!(read_only.as_str(), "1" | "ON") {
        let answer = "the candidate is not read-only: it may be in service".to_owned();
        return Err(Error::Unexpected { doing: "look whether it is a candidate", answer });
    }
    to.without_binlog().await?;
    to.run("stop replication", "STOP SLAVE").await?;
    to.run("forget replication", "RESET SLAVE ALL").await?;
    for database in content::databases(to).await? {
        to.run("drop what an earlier try left", &format!("DROP DATABASE IF EXISTS {}", name(&database)))
            .await?;
    }
    accounts::drop_all(to).await?;
    to.run("forget the history", "RESET MASTER").await?;
    to.run("forget the position", "SET GLOBAL gtid_slave_pos=''").await
}

/// Bytes of the tenant's tables, about: the engine's own estimate.
async fn size(from: &mut Client) -> Result<u64, Error> {
    let sql = format!(
        "SELECT IFNULL(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES WHERE {}",
        content::TENANT_SCHEMA
    );
    Ok(from.value("estimate the size", &sql).await?.parse().unwrap_or_default())
}

/// Dumps from the one into the other, with the programs of the newer one: older clients stumble on newer dumps.
async fn copy(
    source: &Server,
    candidate: &Server,
    databases: &[String],
    size: u64,
    tell: &Tell,
) -> Result<(), Error> {
    let mut from = layout(source)?;
    let mut to = layout(candidate)?;
    if numbers(&source.version) > numbers(&candidate.version) {
        to.root.clone_from(&from.root);
    } else {
        from.root.clone_from(&to.root);
    }
    let of = size / MEGABYTE;
    let progress = |bytes: u64| tell(format!("{} of about {of} MB", bytes / MEGABYTE));
    let (dumped, loaded) = source
        .runtime
        .pipe(
            (source.generation, &from, dump(source, databases)?),
            (candidate.generation, &to, load(candidate)?),
            &progress,
        )
        .await
        .map_err(runtime("copy the content"))?;
    // The loader's message comes first: a dump that ends because nobody reads has nothing to say.
    succeeded("mariadb", &loaded, candidate, source)?;
    succeeded("mariadb-dump", &dumped, source, candidate)
}

fn succeeded(program: &str, output: &JobOutput, of: &Server, other: &Server) -> Result<(), Error> {
    if output.status == Some(0) {
        return Ok(());
    }
    match failed(program, output, of) {
        Error::Program { program, message } => {
            Err(Error::Program { program, message: scrub(&message, &other.service_password) })
        }
        error => Err(error),
    }
}

fn dump(source: &Server, databases: &[String]) -> Result<Job, Error> {
    let mut args: Vec<String> = [
        "--defaults-file={secret}",
        "--default-character-set=utf8mb4",
        "--single-transaction",
        "--quick",
        "--gtid",
        "--master-data=1",
        "--routines",
        "--events",
        "--triggers",
        "--hex-blob",
        "--skip-dump-date",
        "--max-allowed-packet=1G",
        "--databases",
        "--",
    ]
    .map(str::to_owned)
    .into();
    args.extend(databases.iter().cloned());
    if databases.is_empty() {
        // For its position; there is nothing else to copy.
        args.push(OWN_SCHEMA.to_owned());
    }
    Ok(Job { program: "mariadb-dump".to_owned(), args, secret: Some(client_file(source)?), ..Job::default() })
}

fn load(candidate: &Server) -> Result<Job, Error> {
    let args = [
        "--defaults-file={secret}",
        "--default-character-set=utf8mb4",
        "--init-command=SET SESSION sql_log_bin=0",
        // Text comes as it is, comments in routines stay, and nothing in it is a command of the client's.
        "--binary-mode",
        "--comments",
        "--batch",
        "--skip-reconnect",
        "--max-allowed-packet=1G",
    ];
    Ok(Job {
        program: "mariadb".to_owned(),
        args: args.map(str::to_owned).into(),
        secret: Some(client_file(candidate)?),
        ..Job::default()
    })
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
