//! The copy of a server's definitions into a candidate; the rows follow by replication
//! ([`replication`](super::replication)).
//!
//! `pg_dump` reads as the account that follows, which can read everything and change nothing. `pg_restore` makes what it
//! gives as a keeper of the database's own, which has no right beyond it: whatever a definition of the tenant's runs
//! while it is made, runs as that. Owners and rights are no part of the dump: see [`rights`](super::rights).
//!
//! What the tenant changes of its definitions after the dump is not carried. It is seen by the comparison of both sides,
//! which refuses then.
//!
//! # If we die here
//! The candidate is worth nothing until the seed has ended; the next try makes it anew. What is left on the source goes
//! with the next try, or with the upgrade.

use sha2::{Digest as _, Sha256};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::config;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::content::open_databases;
use crate::engines::postgresql::{
    ACCOUNT, copy, failed, follower, in_place, layout, major, rights, roles, runtime,
};
use crate::engines::{Error, Position, Server, Tell};
use crate::runtimes::{Job, Layout};

/// The functions by which anybody makes a large object: a right that everybody has, and a reader has not.
const LARGE_OBJECTS: [&str; 3] = ["lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)"];

/// How the name of a keeper begins.
pub const KEEPER: &str = "coffer_keeper_";

/// The role that owns a database's copy until it has its owner.
pub fn keeper(database: &str) -> String {
    let hash = Sha256::digest(database.as_bytes());
    let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{KEEPER}{digits}")
}

/// Copies roles, databases and definitions.
pub async fn seed(source: &Server, candidate: &Server, tell: &Tell) -> Result<Position, Error> {
    let doing = "look whether it is a candidate";
    let from = Client::connect(source).await?;
    let to = Client::connect(candidate).await?;
    // Whoever took the one for the other would lose everything here.
    let databases = open_databases(&to).await?;
    if source.generation == candidate.generation || !candidate.settings.read_only || !databases.is_empty() {
        let answer = "the candidate is not an empty one that nobody writes to".to_owned();
        return Err(Error::Unexpected { doing, answer });
    }
    follower::forget(source).await?;
    follower::admit(source, candidate).await?;
    roles::copy(&from, &to).await?;
    let ours = layout(candidate)?;
    let account = in_place::account_of(candidate, &ours).await?;
    let visitor = candidate.runtime.visitor().await.map_err(runtime("ask who we are"))?;
    let let_in = |who: Vec<String>| {
        let to = &to;
        async move {
            let who: Vec<&str> = who.iter().map(String::as_str).collect();
            let text = config::names(&who);
            let written = candidate.runtime.write_config(candidate.generation, config::NAMES, &text).await;
            written.map_err(runtime("write who may come in"))?;
            to.run("have the candidate read who may come in", "SELECT pg_reload_conf()").await
        }
    };
    let all = open_databases(&from).await?;
    let_in(vec![visitor.clone(), account]).await?;
    let copied = async {
        for (at, database) in all.iter().enumerate() {
            tell(format!("the definitions of database {} of {}", at + 1, all.len()));
            fill(source, candidate, &ours, &from, &to, database).await?;
        }
        Ok(())
    }
    .await;
    let closed = let_in(vec![visitor]).await;
    copied?;
    closed?;
    roles::copy_settings(&from, &to).await?;
    let at = from.value("take the source's position", "SELECT pg_current_wal_insert_lsn()").await?;
    Ok(Position(at.unwrap_or_default()))
}

/// Makes one database with its definitions.
async fn fill(
    source: &Server,
    candidate: &Server,
    ours: &Layout,
    from: &Client,
    to: &Client,
    database: &str,
) -> Result<(), Error> {
    let keeper = keeper(database);
    make(from, to, database, &keeper).await?;
    let theirs = Client::connect_to(source, database).await?;
    let inside = Client::connect_to(candidate, database).await?;
    prepare(&theirs, &inside, &keeper).await?;
    let given = rights::read(&theirs).await?;
    carry(source, candidate, ours, database, &keeper).await?;
    rights::keep(&inside, &given).await?;
    if !candidate.settings.readers {
        return rights::hand_over(&inside, major(&candidate.version), &keeper, "").await;
    }
    let mut read = rights::reading(&given);
    read.extend(LARGE_OBJECTS.map(|function| format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")));
    inside.run("let tenants read", &read.join("; ")).await
}

/// What gives a reader back what everybody can do, in the database that it is run in.
pub fn writers_again() -> String {
    LARGE_OBJECTS.map(|function| format!("GRANT EXECUTE ON FUNCTION {function} TO PUBLIC")).join("; ")
}

/// Makes the empty database, and its keeper.
async fn make(from: &Client, to: &Client, database: &str, keeper: &str) -> Result<(), Error> {
    let doing = "make a database";
    to.run(doing, &format!("CREATE ROLE {} NOLOGIN", name(keeper))).await?;
    let sql = format!(
        "SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER {keeper} ENCODING %L LC_COLLATE %L LC_CTYPE %L \
         CONNECTION LIMIT %s IS_TEMPLATE %s', d.datname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, \
         d.datconnlimit, d.datistemplate::text), format('COMMENT ON DATABASE %I IS %L', d.datname, shobj_description(d.oid, 'pg_database')) \
         FROM pg_database d WHERE d.datname = {}",
        quoted(database)
    );
    let Some(row) = from.rows(doing, &sql).await?.into_iter().next() else {
        return Err(Error::Unexpected { doing, answer: "it is gone from the source".to_owned() });
    };
    for statement in row.into_iter().flatten() {
        to.run(doing, &statement).await?;
    }
    to.run(doing, &format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(database))).await
}

/// What a new database has that the source's may not have, and what its keeper makes.
async fn prepare(theirs: &Client, inside: &Client, keeper: &str) -> Result<(), Error> {
    let doing = "prepare a database";
    let keeper = name(keeper);
    let mut sql = format!(
        "ALTER SCHEMA public OWNER TO {keeper}; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
         ALTER DEFAULT PRIVILEGES FOR ROLE {keeper} REVOKE EXECUTE ON ROUTINES FROM PUBLIC"
    );
    if !theirs.is_there(doing, "SELECT 1 FROM pg_namespace WHERE nspname = 'public'").await? {
        sql.push_str("; DROP SCHEMA public");
    }
    inside.run(doing, &sql).await
}

/// Has the definitions dumped and made.
async fn carry(
    source: &Server,
    candidate: &Server,
    ours: &Layout,
    database: &str,
    keeper: &str,
) -> Result<(), Error> {
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let mut dump = words(&[
        "--format=custom",
        "--compress=0",
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "--no-subscriptions",
        "--no-tablespaces",
        "--no-password",
    ]);
    dump.push(format!("--exclude-schema={OWN_SCHEMA}"));
    dump.push(format!("--dbname={}", follower::address(source, candidate, database)?));
    let mut load = words(&["--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]);
    load.push(format!("--role={keeper}"));
    let socket = ours.socket.parent().unwrap_or(&ours.tmp).to_string_lossy().into_owned();
    load.push(format!(
        "--dbname=host={} user={ACCOUNT} dbname={} options='-c default_transaction_read_only=off'",
        follower::in_address(&socket),
        follower::in_address(database)
    ));
    let job = |program: &str, args| Job { program: program.to_owned(), args, ..Job::default() };
    let id = candidate.generation;
    // The target's own program knows best what the target reads, but for what it has never heard of.
    let theirs = copy::as_source(source, candidate)?;
    let dumper = match copy::is_foreign(source, candidate).await? {
        true => &theirs,
        false => ours,
    };
    let (dumped, loaded) = candidate
        .runtime
        .pipe((id, dumper, job("pg_dump", dump)), (id, ours, job("pg_restore", load)), &|_bytes| {})
        .await
        .map_err(runtime("copy the definitions"))?;
    // A load that fails ends its dump, too: it says why.
    if loaded.status != Some(0) {
        return Err(failed("pg_restore", &loaded, candidate));
    }
    if dumped.status != Some(0) {
        return Err(failed("pg_dump", &dumped, candidate));
    }
    Ok(())
}
