//! The copy of a server's definitions into a candidate; the rows follow by replication
//! ([`replication`](super::replication)).
//!
//! `pg_dump` reads in a session of an account that is of the tenant's roles and has no attribute ([`inspector`]).
//! `pg_restore` makes what it gives in a session of a keeper of the database's own: much of what a tenant defines is
//! evaluated while it is made, and a role that a session only takes is no boundary, since what runs there can give it back.
//! So the keeper itself comes in: by the server's socket, known by its program's account of the host, without a password,
//! and for the time of its database's copy only; tenants are kept out of the candidate meanwhile. It has no attribute and is
//! of no role. What it could have done for its tenant beyond the definitions is undone before anybody else comes in
//! ([`dismiss`]). Owners and rights are no part of the dump: see [`rights`].
//!
//! Our own account runs on the candidate only what evaluates nothing: it makes roles and empty databases, gives owners and
//! rights, and says what sessions begin with.
//!
//! What the tenant changes of its definitions after the dump is not carried. It is seen by the comparison of both sides,
//! which refuses then.
//!
//! # If we die here
//! The candidate is worth nothing until the seed has ended; the next try makes it anew. What is left on the source goes
//! with the next try, or with the upgrade.

use sha2::{Digest as _, Sha256};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::KEEPER;
use crate::engines::postgresql::config::TenantAccess;
use crate::engines::postgresql::connection::{Client, name, quoted};
use crate::engines::postgresql::databases::open_databases;
use crate::engines::postgresql::roles::RefusedSetting;
use crate::engines::postgresql::{
    copy, failed, follower, in_place, inspector, layout, major, own, pg_hba, rights, roles, runtime,
    settings, still,
};
use crate::engines::{Error, OnProgress, Position, Server};
use crate::runtimes::{Job, JobOutput, Layout};

/// The functions by which anybody makes a large object: a right that everybody has, and a reader has not.
const LARGE_OBJECTS: [&str; 3] = ["lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)"];

/// The role that owns a database's copy until it has its owner.
pub fn keeper(database: &str) -> String {
    let hash = Sha256::digest(database.as_bytes());
    let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{KEEPER}{digits}")
}

/// Copies roles, databases and definitions.
pub async fn seed(source: &Server, candidate: &Server, progress: &OnProgress) -> Result<Position, Error> {
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
    let all = open_databases(&from).await?;
    let keepers: Vec<String> = all.iter().map(|database| keeper(database)).collect();
    follower::admit_dump(source, candidate, &all).await?;
    pg_hba::write_for(candidate, TenantAccess::Fenced, &account, &keepers).await?;
    pg_hba::reload(candidate, &to).await?;
    let copied = async {
        for (at, database) in all.iter().enumerate() {
            progress(format!("the definitions of database {} of {}", at + 1, all.len()));
            fill(source, candidate, &ours, &from, &to, database).await?;
        }
        // What is taken from tenants in one database is taken from them in all: they get theirs after the last.
        for database in &all {
            match candidate.settings.readers {
                true => let_read(candidate, database).await?,
                false => {
                    let inside = Client::connect_to(candidate, database).await?;
                    rights::hand_over(&inside, major(&candidate.version), &keeper(database), "").await?;
                    // What is evaluated while changes are taken defines nothing either.
                    still::make(&inside).await?;
                }
            }
        }
        Ok(())
    }
    .await;
    let dismissed = follower::dismiss_dump(source, candidate).await;
    copied?;
    dismissed?;
    pg_hba::write(candidate, pg_hba::wanted(candidate)).await?;
    pg_hba::reload(candidate, &to).await?;
    pg_hba::settle(candidate, &to, pg_hba::wanted(candidate)).await?;
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
    settings::shield(to, &keeper, &[database.to_owned()]).await?;
    to.run("let a keeper in", &format!("ALTER ROLE {} LOGIN", name(&keeper))).await?;
    let carried = carry(source, candidate, ours, database, &keeper).await;
    dismiss(to, &inside, database, &keeper).await?;
    carried?;
    limit(from, to, database).await?;
    rights::keep(&inside, &given).await
}

/// Lets tenants read in a database what they can read in the source's, and keeps it as it is otherwise.
async fn let_read(candidate: &Server, database: &str) -> Result<(), Error> {
    let inside = Client::connect_to(candidate, database).await?;
    let given = rights::kept(&inside).await?.unwrap_or_default();
    let mut read = rights::reading(&given);
    read.extend(LARGE_OBJECTS.map(|function| format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")));
    inside.run("let tenants read", &read.join("; ")).await?;
    still::make(&inside).await
}

/// Keeps a keeper out for good, and undoes what could have been done as it beside its content: what it gave to others, and
/// what it set for itself and its database. Nobody else is in the server.
async fn dismiss(to: &Client, inside: &Client, database: &str, keeper: &str) -> Result<(), Error> {
    let doing = "keep a keeper out";
    let role = name(keeper);
    to.run(doing, &format!("ALTER ROLE {role} NOLOGIN PASSWORD NULL; ALTER ROLE {role} RESET ALL")).await?;
    let end = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {}",
        quoted(keeper)
    );
    to.rows(doing, &end).await?;
    let reset =
        format!("ALTER ROLE {role} IN DATABASE {0} RESET ALL; ALTER DATABASE {0} RESET ALL", name(database));
    to.run(doing, &reset).await?;
    // Nobody but keepers owns anything here. Rights are taken one kind after the other: DROP OWNED would take policies, too.
    let everybody: Vec<String> = std::iter::once("PUBLIC".to_owned())
        .chain(roles::names(to).await?.iter().map(|role| name(role)))
        .collect();
    let everybody = everybody.join(", ");
    let mut undo = vec![format!("REVOKE ALL ON DATABASE {} FROM {everybody}", name(database))];
    let schemas = format!(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', '{OWN_SCHEMA}')"
    );
    for schema in inside.column(doing, &schemas).await? {
        let schema = name(&schema);
        undo.push(format!("REVOKE ALL ON SCHEMA {schema} FROM {everybody}"));
        for kind in ["TABLES", "SEQUENCES"] {
            undo.push(format!("REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {everybody}"));
        }
    }
    // The routines of an extension, and those that belong to a type, are everybody's, and are no part of what is given back.
    let routines = format!(
        "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{OWN_SCHEMA}') AND NOT EXISTS (SELECT 1 \
         FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'))"
    );
    for routine in inside.column(doing, &routines).await? {
        undo.push(format!("REVOKE ALL ON ROUTINE {routine} FROM {everybody}"));
    }
    inside.run(doing, &undo.join("; ")).await
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
        "SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER {keeper} ENCODING %L LC_COLLATE %L LC_CTYPE %L', \
         d.datname, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype), \
         format('COMMENT ON DATABASE %I IS %L', d.datname, shobj_description(d.oid, 'pg_database')) \
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

/// Limits a database as it is limited on the source: a keeper is not counted, or kept out, by that.
async fn limit(from: &Client, to: &Client, database: &str) -> Result<(), Error> {
    let doing = "limit a database";
    let sql = format!(
        "SELECT format('ALTER DATABASE %I WITH CONNECTION LIMIT %s IS_TEMPLATE %s', d.datname, d.datconnlimit, \
         d.datistemplate::text) FROM pg_database d WHERE d.datname = {}",
        quoted(database)
    );
    for statement in from.column(doing, &sql).await? {
        to.run(doing, &statement).await?;
    }
    Ok(())
}

/// What a new database has that the source's may not have, and what its keeper makes.
async fn prepare(theirs: &Client, inside: &Client, keeper: &str) -> Result<(), Error> {
    let doing = "prepare a database";
    own::ensure(inside).await?;
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
    let (dumped, loaded) = at_rest(source, candidate, ours, (database, keeper), Load::UntilRefused).await?;
    // A load that fails ends its dump, too: it says why.
    if loaded.status != Some(0) {
        return Err(failed("pg_restore", &loaded, candidate));
    }
    if dumped.status != Some(0) {
        return Err(failed("pg_dump", &dumped, candidate));
    }
    Ok(())
}

/// How often the definitions are read while somebody changes them.
const READINGS: u32 = 8;

/// Has a database's definitions dumped and loaded; again where one of them was renamed or dropped between two questions
/// of the dump's. Until it has read all of them it gives nothing out, so that nothing was made.
async fn at_rest(
    source: &Server,
    candidate: &Server,
    ours: &Layout,
    of: (&str, &str),
    until: Load,
) -> Result<(JobOutput, JobOutput), Error> {
    let mut readings = 0;
    loop {
        readings += 1;
        let outputs = piped(source, candidate, ours, of, until).await?;
        let Some(said) = changed(&outputs.0) else { return Ok(outputs) };
        if readings == READINGS {
            return Err(Error::Object {
                object: format!("{}: {}", of.0, named_in(&said).unwrap_or("a definition")),
                why: format!("was changed each time that the definitions were read ({said})"),
                remedy: "let it rest for the time of a copy".to_owned(),
            });
        }
    }
}

/// What a dump ended for, where that is something that was there a moment before.
fn changed(dumped: &JobOutput) -> Option<String> {
    /// It is gone, and a name or a number for it with it.
    const GONE: [&str; 4] =
        ["does not exist", "could not open relation with OID", "cache lookup failed", "could not find"];
    if dumped.status == Some(0) {
        return None;
    }
    let said = dumped.stderr.split_once("query failed: ERROR:")?.1.lines().next()?.trim();
    GONE.iter().any(|gone| said.contains(gone)).then(|| said.to_owned())
}

/// The first name in a server's words.
fn named_in(said: &str) -> Option<&str> {
    said.split('"').nth(1).filter(|name| !name.is_empty())
}

/// What a load does with a definition that the target refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// It ends.
    UntilRefused,
    /// It goes on with the next one, and prints all that it says on its standard output, which is kept whole.
    ToTheEnd,
}

/// Has a database's definitions dumped, and loaded as its keeper.
async fn piped(
    source: &Server,
    candidate: &Server,
    ours: &Layout,
    (database, keeper): (&str, &str),
    until: Load,
) -> Result<(JobOutput, JobOutput), Error> {
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
        // Longer than a session's moment: whoever has a table for itself is named then.
        "--lock-wait-timeout=10000",
        // A name may be a keyword of the target's, and mean something else there: a column `system_user` in a policy.
        "--quote-all-identifiers",
    ]);
    dump.push(format!("--exclude-schema={OWN_SCHEMA}"));
    dump.push(format!("--dbname={}", follower::dump_address(source, candidate, database)?));
    let mut load = words(&["--no-owner", "--no-privileges", "--no-password"]);
    if until == Load::UntilRefused {
        load.push("--exit-on-error".to_owned());
    }
    let socket = ours.socket.parent().unwrap_or(&ours.tmp).to_string_lossy().into_owned();
    load.push(format!(
        "--dbname=host={} user={keeper} dbname={}",
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
    let load = match until {
        Load::UntilRefused => job("pg_restore", load),
        Load::ToTheEnd => {
            let program = ours.root.join("bin/pg_restore").to_string_lossy().into_owned();
            let shell = words(&["-c", "exec 2>&1; exec \"$@\"", "pg_restore"]);
            job("/bin/sh", [shell, vec![program], load].concat())
        }
    };
    candidate
        .runtime
        .pipe((id, dumper, job("pg_dump", dump)), (id, ours, load), &|_bytes| {})
        .await
        .map_err(runtime("copy the definitions"))
}

/// Tries each definition on an empty candidate that nobody reaches, and that is thrown away afterwards: what the program that
/// loads them says of those that the target refuses, by database, and the settings of roles and databases that it refuses.
pub async fn rehearse(
    source: &Server,
    candidate: &Server,
) -> Result<(Vec<(String, String)>, Vec<RefusedSetting>), Error> {
    let from = Client::connect(source).await?;
    let to = Client::connect(candidate).await?;
    roles::copy(&from, &to).await?;
    let ours = layout(candidate)?;
    let account = in_place::account_of(candidate, &ours).await?;
    let all = open_databases(&from).await?;
    let keepers: Vec<String> = all.iter().map(|database| keeper(database)).collect();
    follower::admit_dump(source, candidate, &all).await?;
    let tried = async {
        pg_hba::write_for(candidate, TenantAccess::Fenced, &account, &keepers).await?;
        pg_hba::reload(candidate, &to).await?;
        let mut said = Vec::new();
        for (database, keeper) in all.iter().zip(&keepers) {
            make(&from, &to, database, keeper).await?;
            let theirs = Client::connect_to(source, database).await?;
            let inside = Client::connect_to(candidate, database).await?;
            prepare(&theirs, &inside, keeper).await?;
            settings::shield(&to, keeper, &[database.to_owned()]).await?;
            to.run("let a keeper in", &format!("ALTER ROLE {} LOGIN", name(keeper))).await?;
            let (dumped, loaded) =
                at_rest(source, candidate, &ours, (database, keeper), Load::ToTheEnd).await?;
            if dumped.status != Some(0) {
                return Err(failed("pg_dump", &dumped, candidate));
            }
            said.push((database.clone(), String::from_utf8_lossy(&loaded.stdout).into_owned()));
        }
        Ok((said, roles::refused_settings(&from, &to).await?))
    }
    .await;
    let dismissed = follower::dismiss_dump(source, candidate).await;
    let said = tried?;
    dismissed?;
    Ok(said)
}

/// Takes off the source what a rehearsal that was ended left there; does nothing where nothing is left. The candidate's
/// part of it went with its folder.
pub async fn forget_rehearsal(source: &Server) -> Result<(), Error> {
    let there = format!("SELECT 1 FROM pg_roles WHERE rolname = '{}'", super::DUMP_ACCOUNT);
    if Client::connect(source).await?.is_there("look for the account that dumps", &there).await? {
        inspector::drop_as(source, super::DUMP_ACCOUNT).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_meanwhile_is_named() {
        let dumped = |status: i32, stderr: &str| JobOutput {
            status: Some(status),
            stderr: stderr.to_owned(),
            stdout: Vec::new(),
        };
        let gone = "pg_dump: error: query failed: ERROR:  relation \"public.carts\" does not exist\n\
                    pg_dump: detail: Query was: LOCK TABLE \"public\".\"carts\" IN ACCESS SHARE MODE";
        let said = changed(&dumped(1, gone)).unwrap_or_default();
        assert_eq!(said, "relation \"public.carts\" does not exist");
        assert_eq!(named_in(&said), Some("public.carts"));
        assert_eq!(changed(&dumped(0, gone)), None);
        let denied = "pg_dump: error: query failed: ERROR:  permission denied for table carts";
        assert_eq!(changed(&dumped(1, denied)), None);
    }
}
