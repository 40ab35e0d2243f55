//! A copy of a server that serves, kept up to date beside the candidate's data until the server is stopped: what an
//! upgrade in place converts. The server's own folder is never touched.
//!
//! The copy is a standby of the server's own version, made by `pg_basebackup` and fed by streaming, as an account that
//! can do that and nothing else, with a random password, for the task's life ([`forget`] takes it off). What it has not
//! got by the stream when the server has ended it takes from that one's folder, which it only reads: the generations of
//! an instance lie on one volume and belong to one account.
//!
//! # If we die here
//! The candidate's folders are worth nothing until [`prepare`] has returned: the next try makes them anew. The copy goes
//! on without us; one that was ended is started again by [`resume`], and goes on where it was.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::domain::datastore::EngineKind;
use crate::domain::generation::private_address;
use crate::engines::postgresql::ATTRIBUTE_VERSION;
use crate::engines::postgresql::config::{self, TenantAccess};
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::control::{self, Control, FOLLOWING};
use crate::engines::postgresql::databases::in_each;
use crate::engines::postgresql::disarm::{self, Aside};
use crate::engines::postgresql::{
    COPY_ACCOUNT, COPY_SLOT, LOOK_EVERY, anew, ask_to_end, bootstrap, cluster, failed, layout, major, pg_hba,
    run, runtime, unlogged, until_it_answers,
};
use crate::engines::{Error, OnProgress, Server, Settings};
use crate::runtimes::{Job, Layout};

/// The standby's configuration, and where its password lies.
const MAIN: &str = "copy.conf";
const PASSWORD: &str = "copy.pass";

/// How long the copy may take to be close behind, once it has been made.
const CATCH_UP: Duration = Duration::from_secs(120);

/// How long a stop of the copy may take.
const STOP: Duration = Duration::from_secs(60);

/// How often the copying is told of.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The copy's folder: on the volume of the candidate's cluster, since its files are linked to there.
pub fn folder(layout: &Layout) -> PathBuf {
    layout.data.join("copy")
}

/// The candidate's files with the programs of the source's version, which the copy is of.
pub fn as_source(source: &Server, candidate: &Server) -> Result<Layout, Error> {
    candidate
        .runtime
        .layout(candidate.generation, EngineKind::Postgresql, &source.version)
        .map_err(runtime("find the copy's files"))
}

/// The copy as a server that our connections reach: the candidate's place, the source's version.
pub fn standby(source: &Server, candidate: &Server) -> Server {
    Server {
        version: source.version.clone(),
        settings: Settings {
            read_only: true,
            full: false,
            logs: Vec::new(),
            events: false,
            // A server that replays another one's changes has room for as many connections and locks.
            parameters: source.settings.parameters.clone(),
            memory_mb: source.settings.memory_mb.max(candidate.settings.memory_mb),
            cpus: source.settings.cpus.max(candidate.settings.cpus),
            ..candidate.settings.clone()
        },
        ..candidate.clone()
    }
}

/// Makes the copy and has it follow, and makes the new version's empty cluster beside it. Both take a while, and the
/// source serves.
pub async fn prepare(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<String, Error> {
    anew(candidate).await?;
    let begun = Instant::now();
    admit(source, candidate).await?;
    let old = as_source(source, candidate)?;
    let bytes = base(source, candidate, &old, progress).await?;
    progress("the copy is made, it catches up".to_owned());
    let client = resume(source, candidate).await?;
    catch_up(source, &client).await?;
    if major(&source.version) != major(&candidate.version) {
        let said = control::read(candidate, &old, &folder(&old)).await?;
        bootstrap::make(candidate, &layout(candidate)?, said.checksums).await?;
    }
    Ok(format!("a copy of {} MB follows after {:.1} s", bytes >> 20, begun.elapsed().as_secs_f32()))
}

/// Makes the account that copies, with a new password that only the candidate's files have.
async fn admit(source: &Server, candidate: &Server) -> Result<(), Error> {
    forget(source).await?;
    let password = format!("{}{}", uuid::Uuid::new_v4().as_simple(), uuid::Uuid::new_v4().as_simple());
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let client = Client::connect(source).await?;
    let create = format!(
        "CREATE ROLE {} WITH LOGIN REPLICATION NOINHERIT PASSWORD {}",
        name(COPY_ACCOUNT),
        quoted(&verifier)
    );
    client.run("make the account that copies", &create).await?;
    let line = format!("*:*:*:{COPY_ACCOUNT}:{password}\n");
    let written = candidate.runtime.write_config(candidate.generation, PASSWORD, &line).await;
    written.map_err(runtime("write the copy's password"))
}

/// Takes off the source what copying left there. Happy when there is nothing.
pub async fn forget(source: &Server) -> Result<(), Error> {
    let client = Client::connect(source).await?;
    let doing = "take the account that copies off";
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = '{COPY_ACCOUNT}'");
    let kept = format!("SELECT 1 FROM pg_replication_slots WHERE slot_name = '{COPY_SLOT}'");
    let (there, kept) = (client.is_there(doing, &there).await?, client.is_there(doing, &kept).await?);
    if there {
        // Who is inside goes out and does not come back, or the slot is in use.
        client.run(doing, &format!("ALTER ROLE {} NOLOGIN", name(COPY_ACCOUNT))).await?;
        let end = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{COPY_ACCOUNT}'"
        );
        if major(&source.version) >= 14 {
            client.rows(doing, &end).await?;
        }
        client.run(doing, &format!("DROP ROLE {}", name(COPY_ACCOUNT))).await?;
    }
    if kept {
        let drop = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{COPY_SLOT}'"
        );
        client.rows(doing, &drop).await?;
    }
    Ok(())
}

/// Where the copy reaches its source.
fn source_address(source: &Server, candidate: &Layout) -> String {
    format!(
        "host={} port={} user={COPY_ACCOUNT} passfile={} application_name={COPY_ACCOUNT} connect_timeout=5",
        private_address(source.generation),
        EngineKind::Postgresql.standard_port(),
        in_address(&candidate.config.join(PASSWORD)),
    )
}

/// A path as a value in an address.
fn in_address(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Copies the files while the source serves.
async fn base(
    source: &Server,
    candidate: &Server,
    old: &Layout,
    progress: &OnProgress,
) -> Result<u64, Error> {
    let args = [
        "--checkpoint=fast",
        "--wal-method=stream",
        "--write-recovery-conf",
        "--create-slot",
        "--no-password",
        "--no-manifest",
    ];
    let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    args.push(format!("--slot={COPY_SLOT}"));
    args.push(format!("--pgdata={}", folder(old).display()));
    args.push(format!("--dbname={}", source_address(source, old)));
    let job = Job { program: "pg_basebackup".to_owned(), args, ..Job::default() };
    let of =
        source.runtime.used_bytes(source.generation).await.map_err(runtime("measure the server's data"))?;
    let copying = candidate.runtime.run(candidate.generation, old, job);
    tokio::pin!(copying);
    loop {
        tokio::select! {
            copied = &mut copying => {
                let output = copied.map_err(runtime("copy the server's files"))?;
                if output.status != Some(0) {
                    return Err(failed("pg_basebackup", &output, source));
                }
                return candidate.runtime.used_bytes(candidate.generation).await.map_err(runtime("measure the copy"));
            }
            () = tokio::time::sleep(TELL_EVERY) => {
                if let Ok(now) = candidate.runtime.used_bytes(candidate.generation).await {
                    progress(format!("{} of {} MB", now >> 20, of >> 20));
                }
            }
        }
    }
}

/// Has the copy run and follow; gives a connection to it. Happy when it does already.
pub async fn resume(source: &Server, candidate: &Server) -> Result<Client, Error> {
    let old = as_source(source, candidate)?;
    let copy = standby(source, candidate);
    let theirs = cluster(&layout(source)?).join("pg_wal/%f");
    let mut text = config::main(&Server { tls: None, ..copy.clone() }, &old);
    // What replays has room for what its source runs with, which may be more than it will have after its next start.
    for (setting, value) in rooms(source).await {
        text.push_str(&format!("{setting} = {}\n", config::quoted(&value)));
    }
    // The last of several counts.
    for (setting, value) in [
        ("data_directory", folder(&old).to_string_lossy().into_owned()),
        ("listen_addresses", String::new()),
        ("hot_standby", "on".to_owned()),
        ("primary_conninfo", source_address(source, &old)),
        ("primary_slot_name", COPY_SLOT.to_owned()),
        ("restore_command", format!("cp -- {} \"%p\"", for_shell(&theirs))),
        ("recovery_target_timeline", "latest".to_owned()),
        ("wal_retrieve_retry_interval", "200ms".to_owned()),
    ] {
        text.push_str(&format!("{setting} = {}\n", config::quoted(&value)));
    }
    pg_hba::write(&copy, TenantAccess::Fenced).await?;
    let written = candidate.runtime.write_config(candidate.generation, MAIN, &text).await;
    written.map_err(runtime("write the copy's configuration"))?;
    let args = [
        "-D".to_owned(),
        folder(&old).to_string_lossy().into_owned(),
        "-c".to_owned(),
        format!("config_file={}", old.config.join(MAIN).display()),
    ];
    let limits = copy.settings.limits();
    let started =
        candidate.runtime.ensure_server(candidate.generation, &old, "postgres", &args, limits).await;
    started.map_err(runtime("start the copy"))?;
    until_it_answers(&copy).await
}

/// What the source has room for now; nothing where it does not answer: then its settings are what it was started with.
async fn rooms(source: &Server) -> Vec<(String, String)> {
    let sql = "SELECT name, setting FROM pg_settings WHERE name IN ('max_connections', 'max_locks_per_transaction')";
    let asked =
        async { Client::connect(source).await?.rows("ask what the source has room for", sql).await }.await;
    let rows = asked.unwrap_or_default();
    rows.into_iter()
        .filter_map(|row| match <[Option<String>; 2]>::try_from(row) {
            Ok([Some(name), Some(setting)]) => Some((name, setting)),
            _ => None,
        })
        .collect()
}

/// A path as a word of the shell's.
fn for_shell(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// Waits until the copy has what the source had at this moment.
async fn catch_up(source: &Server, copy: &Client) -> Result<(), Error> {
    let doing = "take the source's position";
    let position = Client::connect(source).await?.value(doing, "SELECT pg_current_wal_flush_lsn()").await?;
    reached(copy, &position.unwrap_or_default(), CATCH_UP).await
}

/// Waits until the copy has replayed up to `position`.
pub async fn reached(copy: &Client, position: &str, within: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + within;
    let sql = format!("SELECT 1 WHERE pg_last_wal_replay_lsn() >= {}::pg_lsn", quoted(position));
    while !copy.is_there("ask the copy how far it is", &sql).await? {
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("the copy has not reached {position} in time")));
        }
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
    Ok(())
}

/// Has the copy have all that its source ended with, and makes it a server of its own that is stopped as one. What
/// `pg_upgrade` may evaluate is put `aside`, where it will run.
pub async fn finish(
    source: &Server,
    candidate: &Server,
    end: &Control,
    aside: Option<&Aside>,
) -> Result<(), Error> {
    let client = resume(source, candidate).await?;
    let doing = "have the copy reach its source's end";
    let deadline = Instant::now() + CATCH_UP;
    // It is where the last record begins, and what has been replayed ends.
    let replayed = format!("SELECT 1 WHERE pg_last_wal_replay_lsn() > {}::pg_lsn", quoted(&end.checkpoint));
    while !client.is_there(doing, &replayed).await? {
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{doing}: not at {} in time", end.checkpoint)));
        }
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
    // A checkpoint of a copy stands at the last one of its source that it has replayed.
    loop {
        client.run(doing, "CHECKPOINT").await?;
        let sql = "SELECT checkpoint_lsn FROM pg_control_checkpoint()";
        let at = client.value(doing, sql).await?.unwrap_or_default();
        if at == end.checkpoint {
            break;
        }
        if Instant::now() >= deadline {
            return Err(Error::Unexpected { doing, answer: format!("{at}, not {}", end.checkpoint) });
        }
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
    // Its own way of waiting looks ten times a second.
    client.rows(doing, "SELECT pg_promote(false)").await?;
    let deadline = Instant::now() + CATCH_UP;
    while client.is_there(doing, "SELECT 1 WHERE pg_is_in_recovery()").await? {
        if Instant::now() >= deadline {
            return Err(Error::Unexpected { doing, answer: "it stays a copy".to_owned() });
        }
        tokio::time::sleep(LOOK_EVERY / 25).await;
    }
    let not_logged = unlogged::paths(&standby(source, candidate), &client).await?;
    end_as_server(source, candidate, client, end, aside).await?;
    let old = as_source(source, candidate)?;
    let folders = (&*cluster(&layout(source)?), &*folder(&old));
    unlogged::carry(candidate, &old, folders, &not_logged).await
}

/// Takes out of the copy, which is a server of its own now, what the target could not read, and stops it as one.
async fn end_as_server(
    source: &Server,
    candidate: &Server,
    client: Client,
    end: &Control,
    aside: Option<&Aside>,
) -> Result<(), Error> {
    let doing = "stop the copy as a server of its own";
    let old = as_source(source, candidate)?;
    let copy = standby(source, candidate);
    if let Some(aside) = aside {
        disarm::disarm(&copy, &client, aside).await?;
    }
    // After that: the tables that it made have columns, too.
    if !knows(candidate, ATTRIBUTE_VERSION).await? {
        forget_attribute_versions(&copy, &client).await?;
    }
    drop(client);
    ask_to_end(&copy, "fast").await;
    let stopped = candidate.runtime.stop_server(candidate.generation, STOP, false).await;
    stopped.map_err(runtime("stop the copy"))?;
    let said = control::read(candidate, &old, &folder(&old)).await?;
    match said.state == control::STOPPED && said.system == end.system {
        true => Ok(()),
        false => Err(Error::Unexpected { doing, answer: said.state }),
    }
}

/// Whether there is a copy of the source that can go on: it has not been made a server of its own.
pub async fn is_ready(source: &Server, candidate: &Server, end: &Control) -> bool {
    let Ok(old) = as_source(source, candidate) else { return false };
    match control::read(candidate, &old, &folder(&old)).await {
        Ok(said) => said.system == end.system && FOLLOWING.contains(&&*said.state),
        Err(_) => false,
    }
}

/// Copies the stopped source's files once more: what there was is used up, or gone. Slow, and within the hold. What is not
/// logged is among them, and stays, since the copy starts as a server that was stopped cleanly.
pub async fn again(
    source: &Server,
    candidate: &Server,
    end: &Control,
    aside: Option<&Aside>,
) -> Result<(), Error> {
    anew(candidate).await?;
    let (old, theirs) = (as_source(source, candidate)?, layout(source)?);
    let args = ["--archive", "--reflink=auto", "--"].map(str::to_owned).to_vec();
    let paths = [cluster(&theirs), folder(&old)].map(|path| path.to_string_lossy().into_owned());
    let job = Job { program: "/bin/cp".to_owned(), args: [args, paths.to_vec()].concat(), ..Job::default() };
    run(candidate, &old, job).await?;
    let client = resume(source, candidate).await?;
    end_as_server(source, candidate, client, end, aside).await?;
    if major(&source.version) != major(&candidate.version) {
        bootstrap::make(candidate, &layout(candidate)?, end.checksums).await?;
    }
    Ok(())
}

/// Whether the program of the server's version knows a word.
pub async fn knows(server: &Server, word: &str) -> Result<bool, Error> {
    let doing = "look whether the target knows a word";
    let program =
        server.runtime.engine_file(&layout(server)?, "bin/postgres").await.map_err(runtime(doing))?;
    Ok(program.is_some_and(|text| text.windows(word.len()).any(|part| part == word.as_bytes())))
}

/// Whether the source has a word in its columns that the candidate does not know.
pub async fn is_foreign(source: &Server, candidate: &Server) -> Result<bool, Error> {
    Ok(!knows(candidate, ATTRIBUTE_VERSION).await? && knows(source, ATTRIBUTE_VERSION).await?)
}

/// A composite type keeps it: no program reads it there, and a value in a default that was made by it could not be read
/// without it.
async fn forget_attribute_versions(copy: &Server, client: &Client) -> Result<(), Error> {
    let doing = "take what the target does not know out of the copy";
    // The template, too: it is carried like any other.
    let databases = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1";
    let databases = client.column(doing, databases).await?;
    let forget = async |database| {
        let inside = Client::connect_to(copy, database).await?.patient(CATCH_UP);
        let sql = format!(
            "UPDATE pg_attribute SET attoptions = nullif(ARRAY(SELECT o FROM unnest(attoptions) o \
             WHERE o !~ '^{ATTRIBUTE_VERSION}='), '{{}}') WHERE attoptions IS NOT NULL \
             AND EXISTS (SELECT 1 FROM unnest(attoptions) o WHERE o ~ '^{ATTRIBUTE_VERSION}=') \
             AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = attrelid AND c.relkind = 'c')"
        );
        inside.run(doing, &sql).await
    };
    in_each(&databases, forget).await.map(drop)
}

/// Removes the copy, and the password by which it was fed.
pub async fn remove(candidate: &Server) -> Result<(), Error> {
    let layout = layout(candidate)?;
    let args = vec!["-rf".to_owned(), "--".to_owned(), folder(&layout).to_string_lossy().into_owned()];
    run(candidate, &layout, Job { program: "/bin/rm".to_owned(), args, ..Job::default() }).await?;
    let emptied = candidate.runtime.write_config(candidate.generation, PASSWORD, "").await;
    emptied.map_err(runtime("remove the copy's password"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_everywhere() {
        assert_eq!(for_shell(Path::new("/a b/it's")), r"'/a b/it'\''s'");
        assert_eq!(in_address(Path::new("/a b/it's")), r"'/a b/it\'s'");
    }
}
