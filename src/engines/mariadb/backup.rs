//! The copy of the source's content, at one position, into a candidate: of its files, while it serves.
//!
//! No text can stand for all that a table holds: a FLOAT is printed with six digits, rows may break their own CHECK, a
//! default may name a sequence of another database, old rows of a versioned table are in no dump. Files hold all of it,
//! bit by bit, and to copy them runs nothing of the tenant's.
//!
//! The backup program of the *old* version reads the source's files beside its running server, under the server's own
//! backup locks, and streams them; it also makes the copy whole (`--prepare`), so that the new version opens what the
//! old one left clean. From the moment when the program copies tables without transactions until it has the position,
//! the server keeps writers of those tables waiting: so long they are part of one position. Writers of InnoDB tables
//! go on.
//!
//! Everything comes along, the system tables too. Of those the candidate gets what is its own: the service account's
//! password, the server id of its events; the source's helpers and its history go. What the new version would not take
//! of the definitions is tried before, on the candidate while it is empty: see [`rehearsal`].
//!
//! # If we die here
//! The candidate's folder is worth nothing until the position was given back: the next try makes it anew.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::question::Finding;
use crate::domain::tenant::Verifier;
use crate::domain::upgrade::Strategy;
use crate::engines::mariadb::connection::{Client, client_file_as, name, quoted, scrub};
use crate::engines::mariadb::content::Described;
use crate::engines::mariadb::helpers::Helper;
use crate::engines::mariadb::{
    ACCOUNT, DROP_PATIENCE, MariaDb, REPLICATION_ACCOUNT, accounts, blockers, content, failed, helpers,
    layout, leftovers, rehearsal, replication, runtime, waits,
};
use crate::engines::{Engine as _, Error, OnProgress, Position, Server};
use crate::runtimes::{Job, JobOutput, Layout, Observed};

/// How long one statement may take.
const PATIENCE: Duration = Duration::from_secs(120);

const MEGABYTE: u64 = 1024 * 1024;

/// How long the source's writers may be kept waiting for a lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);

/// How often the program reads on in the redo log, in milliseconds.
const LOG_COPY_MS: u32 = 100;

/// Memory for making the copy whole, in MB: as much as a small server has.
const PREPARE_MB: u32 = 64;

/// Copies the files of `source` into `candidate`, whose server is stopped and whose folder is made anew; gives the
/// position that the copy stands for. The candidate's server runs afterwards, with converted system tables.
pub async fn seed(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<Position, Error> {
    let mut from = Client::connect(source).await?.patient(PATIENCE);
    if only_a_candidate(source, candidate).await? {
        progress("trying the definitions on the new version".to_owned());
        refuse(rehearsal::on_a_candidate(source, candidate).await?)?;
    }
    let size =
        source.runtime.used_bytes(source.generation).await.map_err(runtime("measure the server's data"))?;
    let (place, generation) = (&candidate.runtime, candidate.generation);
    place.stop_server(generation, DROP_PATIENCE, true).await.map_err(runtime("stop the candidate"))?;
    place.drop_volume(generation).await.map_err(runtime("empty the candidate's folder"))?;
    let account = candidate.account.as_deref();
    place.ensure_volume(generation, account).await.map_err(runtime("make the candidate's folder"))?;

    let before = content::described(&mut from).await?;
    let helper = helpers::backup(&mut from).await?;
    let password = helper.password().clone();
    let copied = copy(source, candidate, &helper, size, progress).await;
    // Also after an error; a source that died keeps it until the next try.
    let gone = helper.drop(&mut from).await;
    // What came meanwhile is in the copy or will be replicated, neither of which it can be; or it is why there is none.
    let found =
        blockers::find(source, &mut from).await.map(|found| found.into_iter().map(Finding::from).collect());
    let position = match (copied, found) {
        (Ok(position), found) => {
            refuse(found?)?;
            position
        }
        (Err(error), found) => {
            refuse(found.unwrap_or_default())?;
            // The program opens each file that looks like InnoDB's, and ends where it cannot. Anything else that it met
            // is no matter of the files that lie about.
            let said = error.to_string();
            let files = leftovers::files(source, &mut from, Strategy::Twin).await.unwrap_or_default();
            refuse(files.into_iter().filter(|file| leftovers::is_named_in(file, &said)).collect())?;
            return Err(error);
        }
    };
    gone?;
    let after = content::described(&mut from).await?;
    from.close().await;

    progress("making the copy whole".to_owned());
    let whole =
        candidate.runtime.run(generation, &with_programs_of(source, candidate)?, prepare(candidate)?).await;
    succeeded("mariadb-backup", &whole.map_err(runtime("make the copy whole"))?, candidate, &password)?;
    take_over(source, candidate, Some(&position), progress).await?;
    keep_defaults(candidate, before.into_iter().filter(|database| after.contains(database))).await?;
    tracing::info!(source = %source.generation, candidate = %generation, position = position.0, "files copied");
    Ok(position)
}

/// Gives the candidate the databases whose options are in no file: with another version, they have other defaults.
async fn keep_defaults(candidate: &Server, databases: impl Iterator<Item = Described>) -> Result<(), Error> {
    let mut to = Client::connect(candidate).await?.patient(PATIENCE);
    to.without_binlog().await?;
    let there = content::described(&mut to).await?;
    for database in databases.filter(|database| !there.contains(database)) {
        let make = if there.iter().any(|other| other.name == database.name) { "ALTER" } else { "CREATE" };
        to.run("keep a database's defaults", &format!("{make} DATABASE {}", database.options())).await?;
    }
    to.close().await;
    Ok(())
}

/// The error that names the first finding that blocks.
fn refuse(found: Vec<Finding>) -> Result<(), Error> {
    match found.into_iter().find(|finding| finding.blocks) {
        Some(Finding { object, why, remedy, .. }) => Err(Error::Object { object, why, remedy }),
        None => Ok(()),
    }
}

/// Whoever took the one for the other would lose everything here. One that an earlier try left stopped is none that
/// serves. Says whether it runs and is empty.
async fn only_a_candidate(source: &Server, candidate: &Server) -> Result<bool, Error> {
    let observed = candidate.runtime.observe(candidate.generation).await;
    let mut is_empty = false;
    let is_fenced = match observed.map_err(runtime("look whether the candidate runs"))? {
        Observed::Stopped => true,
        Observed::Running => {
            let mut to = Client::connect(candidate).await?;
            let read_only = to.value("look whether it is a candidate", "SELECT @@GLOBAL.read_only").await?;
            is_empty =
                content::databases(&mut to).await?.is_empty() && accounts::names(&mut to).await?.is_empty();
            to.close().await;
            matches!(read_only.as_str(), "1" | "ON")
        }
    };
    if source.generation == candidate.generation || !candidate.settings.read_only || !is_fenced {
        let answer = "the candidate is not read-only: it may be in service".to_owned();
        return Err(Error::Unexpected { doing: "look whether it is a candidate", answer });
    }
    Ok(is_empty)
}

/// The candidate's files, and the source's programs.
fn with_programs_of(source: &Server, candidate: &Server) -> Result<Layout, Error> {
    Ok(Layout { root: layout(source)?.root, ..layout(candidate)? })
}

/// Streams the files; gives the position that they stand for.
async fn copy(
    source: &Server,
    candidate: &Server,
    helper: &Helper,
    size: u64,
    progress: &OnProgress,
) -> Result<Position, Error> {
    let from = layout(source)?;
    let to = with_programs_of(source, candidate)?;
    // The program ends where it cannot look into a folder, also one that is no database.
    let closed = source.runtime.closed_folders(source.generation).await;
    let closed = closed.map_err(runtime("look for folders that cannot be read"))?;
    // A blank parts two names there, and a dot a database from a table.
    let is_plain = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-+~".contains(c));
    if let Some(odd) = closed.iter().find(|name| !is_plain(name)) {
        return Err(Error::Object {
            object: format!("folder {odd}"),
            why: "lies in the server's data folder and cannot be read: a copy of the serving server cannot get past it"
                .to_owned(),
            remedy: "upgrade in place, or have the operator take it away".to_owned(),
        });
    }
    let excluded = (!closed.is_empty()).then(|| format!("--databases-exclude={}", closed.join(" ")));
    let backup = Job {
        program: "mariadb-backup".to_owned(),
        args: [
            vec![
                "--defaults-file={secret}".to_owned(),
                "--backup".to_owned(),
                "--stream=mbstream".to_owned(),
                // The redo log is a ring: the program must not fall behind writers.
                format!("--log-copy-interval={LOG_COPY_MS}"),
                format!("--datadir={}", from.data.display()),
                format!("--target-dir={}", from.tmp.join("backup").display()),
                format!("--tmpdir={}", from.tmp.display()),
            ],
            excluded.into_iter().collect(),
        ]
        .concat(),
        secret: Some(client_file_as(source, helper.user(), helper.password())?),
        ..Job::default()
    };
    let unpack = Job {
        program: "mbstream".to_owned(),
        args: vec!["-x".to_owned(), "-C".to_owned(), to.data.display().to_string()],
        ..Job::default()
    };
    let of = size / MEGABYTE;
    let copied = |bytes: u64| progress(format!("{} of about {of} MB", bytes / MEGABYTE));
    let passing =
        source.runtime.pipe((source.generation, &from, backup), (candidate.generation, &to, unpack), &copied);
    let (backed_up, unpacked) = tokio::select! {
        ended = passing => ended.map_err(runtime("copy the files"))?,
        // Dropped, both programs end, and with them their locks.
        error = kept_waiting(source, helper.user()) => return Err(error),
    };
    // A backup that ends because `mbstream` reads no more has nothing to say, and `mbstream` ends with 0: what both said is told.
    succeeded("mbstream", &unpacked, candidate, helper.password())?;
    if let Err(error) = succeeded("mariadb-backup", &backed_up, source, helper.password()) {
        let said = unpacked.stderr.trim();
        return Err(match error {
            Error::Program { program, message } if !said.is_empty() => {
                Error::Program { program, message: format!("{message}; mbstream: {said}") }
            }
            other => other,
        });
    }
    let Some(place) = place_in(&backed_up.stderr) else {
        let answer = "the backup program told no position".to_owned();
        return Err(Error::Unexpected { doing: "read the copy's position", answer });
    };
    position_at(source, &place).await
}

/// Resolves when the backup program waits too long for a lock: behind it wait all who change a table's definition and
/// all writers of tables without transactions, for as long as somebody keeps one locked, or writes to it in one
/// statement.
async fn kept_waiting(source: &Server, user: &str) -> Error {
    let ask = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE BINARY USER={} AND TIME >= {} AND \
         UPPER(INFO) LIKE 'BACKUP %'",
        quoted(user),
        LOCK_PATIENCE.as_secs()
    );
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A source that cannot be asked ends the program by itself.
        let Ok(mut client) = Client::connect(source).await else { continue };
        let waits = client.value("look for locks that are waited for", &ask).await;
        let holder = waits::in_the_way(&mut client).await.ok().flatten();
        client.close().await;
        if waits.is_ok_and(|waits| waits != "0") {
            if let Some(holder) = holder {
                return Error::HeldUp(holder);
            }
            return Error::HeldUp(format!(
                "a session keeps a table locked, or has written to one without transactions for more than {} s",
                LOCK_PATIENCE.as_secs()
            ));
        }
    }
}

fn succeeded(program: &str, output: &JobOutput, of: &Server, other: &SecretString) -> Result<(), Error> {
    // Some of its failures have a status that says otherwise.
    let complete = program != "mariadb-backup" || output.stderr.trim_end().ends_with("completed OK!");
    if output.status == Some(0) && complete {
        return Ok(());
    }
    match failed(program, output, of) {
        Error::Program { program, message } => {
            Err(Error::Program { program, message: scrub(&message, other) })
        }
        error => Err(error),
    }
}

fn prepare(candidate: &Server) -> Result<Job, Error> {
    let at = layout(candidate)?;
    Ok(Job {
        program: "mariadb-backup".to_owned(),
        args: vec![
            "--no-defaults".to_owned(),
            "--prepare".to_owned(),
            format!("--target-dir={}", at.data.display()),
            format!("--tmpdir={}", at.tmp.display()),
            format!("--use-memory={PREPARE_MB}M"),
        ],
        ..Job::default()
    })
}

/// A place in the binary log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    file: String,
    offset: u64,
}

/// Reads it from what the program said: `.. binlog position: filename 'binlog.000001', position '2066', ..`.
fn place_in(said: &str) -> Option<Place> {
    let (_, line) = said.rsplit_once("binlog position: ")?;
    let line = line.lines().next()?;
    let value = |after: &str| line.split_once(after)?.1.split('\'').next();
    Some(Place { file: value("filename '")?.to_owned(), offset: value("position '")?.parse().ok()? })
}

/// The position of a place in the source's own binary log, which the candidate will read on from there. What the
/// program tells as one may be what the source has from its own source, long ago.
async fn position_at(source: &Server, place: &Place) -> Result<Position, Error> {
    let doing = "ask the source for the copy's position";
    let mut from = Client::connect(source).await?;
    let ask = format!("SELECT BINLOG_GTID_POS({}, {})", quoted(&place.file), place.offset);
    let answer = from.row(doing, &ask).await?;
    from.close().await;
    match answer.and_then(|row| row.into_iter().next().flatten()) {
        Some(position) => Ok(Position(position)),
        None => Err(Error::Unexpected { doing, answer: format!("no {} {}", place.file, place.offset) }),
    }
}

/// Starts the candidate's server on the copied files and makes them its own. With a `position`, it is where the
/// candidate will follow from.
pub async fn take_over(
    source: &Server,
    candidate: &Server,
    position: Option<&Position>,
    progress: &OnProgress,
) -> Result<(), Error> {
    progress("starting the new version on the copy".to_owned());
    // The password came along with the account.
    let copied = Server { service_password: source.service_password.clone(), ..candidate.clone() };
    MariaDb.start(&copied).await?;
    let mut to = Client::connect(&copied).await?.patient(PATIENCE);
    to.without_binlog().await?;
    let own = quoted(Verifier::native(candidate.service_password.expose_secret()).expose());
    let alter = format!("ALTER USER {}@'localhost' IDENTIFIED BY PASSWORD {own}", quoted(ACCOUNT));
    to.run("give our account its password", &alter).await?;
    to.run("stop replication", "STOP SLAVE").await?;
    to.run("forget replication", "RESET SLAVE ALL").await?;
    replication::drop_helpers(&mut to).await?;
    if let Some(tls) = &source.tls {
        // To the candidate's own eyes an account of the tenant's: it is bound to the source's address.
        let follower = format!("{}@{}", quoted(REPLICATION_ACCOUNT), quoted(&tls.address));
        to.run("drop the source's replication account", &format!("DROP USER IF EXISTS {follower}")).await?;
    }
    to.run("forget the history", "RESET MASTER").await?;
    let set = format!("SET GLOBAL gtid_slave_pos={}", quoted(position.map_or("", |position| &position.0)));
    to.run("set the copy's position", &set).await?;
    to.close().await;

    MariaDb.convert(candidate).await?;
    close_tables(candidate).await?;
    let mut to = Client::connect(candidate).await?.patient(PATIENCE);
    to.without_binlog().await?;
    // A server runs only the events that it takes for its own.
    let events = format!("UPDATE mysql.event SET originator={}", candidate.settings.server_id);
    to.run("make the events the candidate's", &events).await?;
    to.close().await;
    // What it read of the system tables before they were converted, the event scheduler's among them, it reads anew.
    MariaDb.stop(candidate).await?;
    MariaDb.start(candidate).await
}

/// A table without transactions that somebody had open when it was copied says so in its file, and would be taken for
/// crashed at its first write. A check finds it whole and takes the note off; one that is not whole is mended.
async fn close_tables(candidate: &Server) -> Result<(), Error> {
    let mut client = Client::connect(candidate).await?.patient(PATIENCE);
    let mut shown = helpers::show(candidate, &mut client).await?.patient(PATIENCE);
    let plain = blockers::without_transactions(&mut shown).await;
    helpers::hide(&mut client, shown).await?;
    let plain = plain?;
    if plain.is_empty() {
        client.close().await;
        return Ok(());
    }
    let databases = content::databases(&mut client).await?;
    let helper = helpers::loader(&mut client, &databases).await?;
    let checked = async {
        let mut checking = helper.connect(candidate).await?.patient(PATIENCE);
        checking.without_binlog().await?;
        for table in &plain {
            let table = format!("{}.{}", name(&table.schema), name(&table.name));
            let doing = "look whether a copied table is closed";
            let said = checking.rows(doing, &format!("CHECK TABLE {table} FAST")).await?;
            let whole = said.iter().any(|row| row.get(3).and_then(Option::as_deref).is_some_and(is_whole));
            if !whole {
                checking.run("mend a copied table", &format!("REPAIR TABLE {table}")).await?;
            }
        }
        checking.close().await;
        Ok(())
    }
    .await;
    let gone = helper.drop(&mut client).await;
    client.close().await;
    checked.and(gone)
}

/// What the check says in its last line of a table that needs nothing.
fn is_whole(said: &str) -> bool {
    matches!(said, "OK" | "Table is already up to date") || said.contains("doesn't support check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_from_what_the_program_says() {
        let place = Place { file: "binlog.000001".to_owned(), offset: 2066 };
        for (line, is) in [
            (
                "binlog position: filename 'binlog.000001', position '2066', GTID of the last change '0-5-9'",
                Some(&place),
            ),
            ("binlog position: filename 'binlog.000001', position '2066'", Some(&place)),
            ("binlog position: filename 'binlog.000001', position 'x'", None),
            ("completed OK!", None),
        ] {
            let said =
                format!("[00] Backup created in '/t/'\n[00] MySQL {line}\n[00] Streaming backup-my.cnf\n");
            assert_eq!(place_in(&said).as_ref(), is, "{line}");
        }
    }
}
