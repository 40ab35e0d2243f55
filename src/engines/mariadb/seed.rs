//! The copy of the source's content, at one position, into a candidate: of its files where it has tables that know no
//! transactions (see [`backup`]), else a logical one, which is what the rest of this file makes.
//!
//! The dump reads one InnoDB snapshot whose position the source tells without a lock; accounts and definitions (of
//! views, routines, triggers, events) are in no snapshot, so they are read before and after, and must be the same.
//!
//! Only tables and sequences go through the dump's pipe: what stands in a definition is the tenant's own text, and the
//! program that loads a dump splits it by other rules than the server has. See [`definitions`]. The dump logs in as an
//! account that can only read, the load as one that can only make tables: see [`helpers`].
//!
//! A view that reads another view needs its definer to have rights at the moment it is made, while rights on a table
//! need the table. So accounts are made first, with the right to read every database (nobody reaches a candidate, and
//! nothing of the tenant's can run in it yet), and are made anew with their real rights after the content.
//!
//! # If we die here
//! The candidate's content is worth nothing until the position was given back. The next try drops it first.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::mariadb::connection::{Client, client_file_as, name, scrub};
use crate::engines::mariadb::helpers::Helper;
use crate::engines::mariadb::{
    accounts, backup, blockers, config, content, definitions, failed, helpers, layout, replication, routines,
    runtime,
};
use crate::engines::{Error, Position, Server, Tell};
use crate::runtimes::{Job, JobOutput};

/// How long one statement of the preparation may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the candidate's limit is meanwhile: the text of a row may be twice as long as the row.
const SEED_PACKET_MB: u64 = 1024;

const MEGABYTE: u64 = 1024 * 1024;

/// What the two programs log in with.
struct Helpers {
    dump: Helper,
    load: Helper,
}

/// Copies the content of `source` into `candidate`; gives the position that the copy stands for.
pub async fn seed(source: &Server, candidate: &Server, tell: &Tell) -> Result<Position, Error> {
    let mut from = Client::connect(source).await?.patient(PATIENCE);
    let begun = look(source, &mut from).await?;
    if begun.plain.is_some() {
        from.close().await;
        return backup::seed(source, candidate, begun.size, tell).await;
    }
    let mut to = Client::connect(candidate).await?.patient(PATIENCE);
    empty(source, candidate, &mut to).await?;

    let before = accounts::read(&mut from).await?;
    accounts::create(&mut to, &before).await?;
    let databases = content::databases(&mut from).await?;
    to.run("raise a limit", &format!("SET GLOBAL max_allowed_packet={}", SEED_PACKET_MB * MEGABYTE)).await?;
    let seen = look(source, &mut from).await?;
    let copied = tables(source, candidate, &mut from, &mut to, &databases, &seen, tell).await;
    copied?;
    to.run("set a limit back", &format!("SET GLOBAL max_allowed_packet={}", config::PACKET_MB * MEGABYTE))
        .await?;

    if accounts::read(&mut from).await? != before {
        let answer = "an account or a grant changed during the copy".to_owned();
        return Err(Error::Unexpected { doing: "compare the accounts", answer });
    }
    let after = look(source, &mut from).await?;
    if after.defined != seen.defined {
        let answer = "a view, a routine, a trigger or an event changed during the copy".to_owned();
        return Err(Error::Unexpected { doing: "compare the definitions", answer });
    }
    if let Some(blocker) = blockers::find(source, &mut from).await?.first() {
        let answer = format!("during the copy came what it cannot carry: {blocker}");
        return Err(Error::Unexpected { doing: "look at the content again", answer });
    }
    if let Some(table) = after.plain {
        // What the dump read of it is of no one moment. The next try copies the files.
        let answer =
            format!("during the copy came a table without transactions: {}.{}", table.schema, table.name);
        return Err(Error::Unexpected { doing: "look at the content again", answer });
    }
    for account in before.iter().filter(|account| account.create.is_some()) {
        for database in &databases {
            let on = name(&content::pattern(database));
            let grant = format!("GRANT SELECT, SHOW VIEW, EXECUTE ON {on}.* TO {}", account.name);
            to.run("let an account make its views", &grant).await?;
        }
    }
    definitions::make(candidate, &mut to, &seen.defined).await?;
    accounts::create(&mut to, &before).await?;
    accounts::grant(&mut to, &before).await?;
    let mut shown = helpers::show(candidate, &mut to).await?.patient(PATIENCE);
    let checked = definitions::check(&mut shown, &seen.defined).await;
    let gone = helpers::hide(&mut to, shown).await;
    checked?;
    gone?;

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
    routines::reveal(to).await?;
    for database in content::databases(to).await? {
        to.run("drop what an earlier try left", &format!("DROP DATABASE IF EXISTS {}", name(&database)))
            .await?;
    }
    accounts::drop_all(to).await?;
    replication::drop_helpers(to).await?;
    to.run("forget the history", "RESET MASTER").await?;
    to.run("forget the position", "SET GLOBAL gtid_slave_pos=''").await
}

/// What the source has besides rows and accounts.
struct Seen {
    /// A table without transactions, if there is one.
    plain: Option<blockers::Plain>,
    /// Bytes of the tables, about.
    size: u64,
    /// The views as the dump program names what it leaves out.
    views: Vec<String>,
    defined: Vec<definitions::Definition>,
}

/// Looks at it, by an account that can run nothing.
async fn look(source: &Server, from: &mut Client) -> Result<Seen, Error> {
    let mut shown = helpers::show(source, from).await?.patient(PATIENCE);
    let seen = async {
        Ok(Seen {
            plain: blockers::without_transactions(&mut shown).await?.into_iter().next(),
            size: size(&mut shown).await?,
            views: views(&mut shown).await?,
            defined: definitions::read(&mut shown).await?,
        })
    }
    .await;
    let gone = helpers::hide(from, shown).await;
    let seen = seen?;
    gone?;
    Ok(seen)
}

/// Bytes of the tenant's tables, about: the engine's own estimate.
async fn size(from: &mut Client) -> Result<u64, Error> {
    let sql = format!(
        "SELECT IFNULL(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES WHERE {}",
        content::tenant_schema("TABLE_SCHEMA")
    );
    Ok(from.value("estimate the size", &sql).await?.parse().unwrap_or_default())
}

async fn views(from: &mut Client) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE {} AND TABLE_TYPE='VIEW'",
        content::tenant_schema("TABLE_SCHEMA")
    );
    let rows = from.rows("list the views", &sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Copies tables and sequences, by accounts made for it.
async fn tables(
    source: &Server,
    candidate: &Server,
    from: &mut Client,
    to: &mut Client,
    databases: &[String],
    seen: &Seen,
    tell: &Tell,
) -> Result<(), Error> {
    let mut left_out = seen.views.clone();
    left_out.push(format!("{OWN_SCHEMA}.probe"));
    // With no database, ours is dumped for its position, without its table.
    let ours = [OWN_SCHEMA.to_owned()];
    let databases = if databases.is_empty() { ours.as_slice() } else { databases };
    let helpers = Helpers {
        dump: helpers::reader(from, databases).await?,
        load: helpers::loader(to, databases).await?,
    };
    let dump = dump(source, &helpers.dump, databases, &left_out)?;
    let copied = copy(source, candidate, dump, seen.size, &helpers, tell).await;
    // Also after an error; a source that died keeps it until the next try.
    let gone = (helpers.dump.drop(from).await, helpers.load.drop(to).await);
    copied?;
    gone.0?;
    gone.1
}

/// Dumps from the one into the other, with the programs of the newer one: older clients stumble on newer dumps.
async fn copy(
    source: &Server,
    candidate: &Server,
    dump: Job,
    size: u64,
    helpers: &Helpers,
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
            (source.generation, &from, dump),
            (candidate.generation, &to, load(candidate, &helpers.load)?),
            &progress,
        )
        .await
        .map_err(runtime("copy the content"))?;
    // The loader's message comes first: a dump that ends because nobody reads has nothing to say.
    succeeded("mariadb", &loaded, candidate, helpers.load.password())?;
    succeeded("mariadb-dump", &dumped, source, helpers.dump.password())
}

fn succeeded(program: &str, output: &JobOutput, of: &Server, other: &SecretString) -> Result<(), Error> {
    if output.status == Some(0) {
        return Ok(());
    }
    match failed(program, output, of) {
        Error::Program { program, message } => {
            Err(Error::Program { program, message: scrub(&message, other) })
        }
        error => Err(error),
    }
}

fn dump(source: &Server, helper: &Helper, databases: &[String], views: &[String]) -> Result<Job, Error> {
    let mut args: Vec<String> = [
        "--defaults-file={secret}",
        "--default-character-set=utf8mb4",
        "--single-transaction",
        "--quick",
        "--gtid",
        "--master-data=1",
        "--skip-routines",
        "--skip-events",
        "--skip-triggers",
        "--skip-comments",
        "--no-tablespaces",
        "--hex-blob",
        "--skip-dump-date",
        "--max-allowed-packet=1G",
    ]
    .map(str::to_owned)
    .into();
    // One that comes between is not left out, and ends the dump: its account cannot show views.
    args.extend(views.iter().map(|view| format!("--ignore-table={view}")));
    args.extend(["--databases", "--"].map(str::to_owned));
    args.extend(databases.iter().cloned());
    Ok(Job {
        program: "mariadb-dump".to_owned(),
        args,
        secret: Some(client_file_as(source, helper.user(), helper.password())?),
        ..Job::default()
    })
}

fn load(candidate: &Server, helper: &Helper) -> Result<Job, Error> {
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
        secret: Some(client_file_as(candidate, helper.user(), helper.password())?),
        ..Job::default()
    })
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
