//! What an upgrade in place meets in a server, found while it serves. Only what is the candidate's is written to, and
//! taken away again.
//!
//! What can be named by its object is looked for here; then `pg_upgrade --check` looks, which knows more and names less.
//!
//! # If we die here
//! The instance's account can come in as ours by the server's socket until its rules are written again, at its next start
//! at the latest. It has the server's files as it is. The candidate's folder is made anew by whoever comes next.

use std::time::{Duration, Instant};

use crate::domain::question::Finding;
use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::databases::TENANT_DATABASE;
use crate::engines::postgresql::findings::{blocker, warning};
use crate::engines::postgresql::{
    COPY_SLOT, LOOK_EVERY, anew, bootstrap, cluster, config, control, copy, expressions, in_place, layout,
    major, runtime,
};
use crate::engines::{Error, Server};

/// How many of one kind are named; a tenant who sees a hundred needs no more.
const NAMED: usize = 100;

/// From how many MB on what is not logged is told of.
const LARGE: u64 = 256;

/// How long one question may take: some look at every column.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long the server may take to read its rules.
const RELOAD: Duration = Duration::from_secs(10);

/// Looks for them. The list is bounded.
pub async fn in_place(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    let mut found = versions(source, candidate);
    let client = Client::connect(source).await?.patient(PATIENCE);
    found.extend(cluster_wide(&client).await?);
    found.extend(room(source).await?);
    let open = format!(
        "SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND datallowconn AND datconnlimit <> -2 ORDER BY 1"
    );
    for database in client.column("list the databases", &open).await? {
        let inside = Client::connect_to(source, &database).await?.patient(PATIENCE);
        if major(&source.version) != major(&candidate.version) {
            found.extend(types(&inside, &database, major(&candidate.version)).await?);
        }
        found.extend(extensions(source, candidate, &inside, &database).await?);
        found.extend(collations(&inside, &database).await?);
        found.extend(not_logged(&inside, &database).await?);
    }
    if major(&source.version) != major(&candidate.version) {
        found.extend(expressions::rows(source, false).await?);
        found.extend(expressions::refreshes(source, candidate).await?);
    }
    if copy::is_foreign(source, candidate).await? {
        found.push(warning(
            "the target",
            format!("is {}, from before a correction that {} has", candidate.version, source.version),
            "go to a newer build of that version when there is one",
        ));
    }
    let clear = !found.iter().any(|finding| finding.blocks);
    if clear && major(&source.version) != major(&candidate.version) {
        found.extend(own_check(source, candidate).await?);
    }
    Ok(found)
}

pub fn versions(source: &Server, candidate: &Server) -> Vec<Finding> {
    let numbers =
        |version: &str| -> Vec<u64> { version.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    if numbers(&candidate.version) >= numbers(&source.version) {
        return Vec::new();
    }
    let why = format!("is {}, older than {}, which runs", candidate.version, source.version);
    vec![blocker("the target", why, "choose a newer version")]
}

pub async fn cluster_wide(client: &Client) -> Result<Vec<Finding>, Error> {
    let doing = "look at the server as a whole";
    let mut found = Vec::new();
    for gid in client
        .column(doing, "SELECT gid FROM pg_prepared_xacts ORDER BY prepared")
        .await?
        .into_iter()
        .take(NAMED)
    {
        found.push(blocker(
            format!("transaction {gid}"),
            "is prepared, and neither committed nor rolled back",
            "COMMIT PREPARED or ROLLBACK PREPARED it",
        ));
    }
    let slots = format!(
        "SELECT slot_name FROM pg_replication_slots WHERE slot_name NOT IN ('{COPY_SLOT}') ORDER BY 1"
    );
    for slot in client
        .column(doing, &slots)
        .await?
        .into_iter()
        .filter(|slot| !slot.starts_with("coffer_"))
        .take(NAMED)
    {
        found.push(blocker(
            format!("replication slot {slot}"),
            "would be lost, and who reads it would miss changes",
            "SELECT pg_drop_replication_slot('…') once nobody reads it",
        ));
    }
    for role in client
        .column(doing, "SELECT rolname FROM pg_roles WHERE rolname ~ '^pg_' AND oid >= 16384 ORDER BY 1")
        .await?
    {
        found.push(blocker(
            format!("role {role}"),
            "has a name of the server's own, and would be lost",
            "ALTER ROLE … RENAME TO a name that does not begin with pg_",
        ));
    }
    let closed =
        format!("SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND NOT datallowconn ORDER BY 1");
    for database in client.column(doing, &closed).await? {
        found.push(blocker(
            format!("database {database}"),
            "takes no connections, so that its content cannot be carried",
            "ALTER DATABASE … ALLOW_CONNECTIONS true, or drop it",
        ));
    }
    // The statistics and the sums are made by accounts without power, one beside another that is just going.
    let crowded = format!(
        "SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND datallowconn AND datconnlimit IN (0, 1) ORDER BY 1"
    );
    for database in client.column(doing, &crowded).await? {
        found.push(blocker(
            format!("database {database}"),
            "takes so few connections that nobody can come in to see to its content",
            "ALTER DATABASE … CONNECTION LIMIT to at least 2",
        ));
    }
    let invalid = "SELECT datname FROM pg_database WHERE datconnlimit = -2 ORDER BY 1";
    for database in client.column(doing, invalid).await? {
        found.push(blocker(
            format!("database {database}"),
            "is invalid: its deletion was interrupted",
            "DROP DATABASE it",
        ));
    }
    Ok(found)
}

/// Room for the copy and a tenth more; its files are then linked into the new cluster.
pub async fn room(source: &Server) -> Result<Option<Finding>, Error> {
    let used =
        source.runtime.used_bytes(source.generation).await.map_err(runtime("measure the server's data"))?;
    let free = source.runtime.free_bytes().await.map_err(runtime("measure the room on the host"))?;
    let needed = used.saturating_add(used / 10);
    Ok((free < needed).then(|| {
        let why = format!(
            "has {} MB of room, and the upgrade needs {} MB beside the data that is there",
            free >> 20,
            needed >> 20
        );
        blocker("the host", why, "make room, or have the instance moved")
    }))
}

/// Columns whose type the new version does not have, or whose values name objects by numbers that change.
async fn types(inside: &Client, database: &str, to: u32) -> Result<Vec<Finding>, Error> {
    let mut wrong = vec![
        "regcollation",
        "regconfig",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
    ];
    if to >= 16 {
        wrong.push("aclitem");
    }
    let wrong: Vec<String> = wrong.into_iter().map(|name| format!("'{name}'")).collect();
    // Also inside arrays, domains, ranges and composite types.
    let sql = format!(
        "WITH RECURSIVE wrong(oid, base) AS ( \
         SELECT t.oid, t.typname FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN ({}) \
         UNION SELECT next.oid, wrong.base FROM wrong JOIN LATERAL ( \
         SELECT t.oid FROM pg_type t WHERE t.typbasetype = wrong.oid OR (t.typelem = wrong.oid AND t.typcategory = 'A') \
         UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngsubtype = wrong.oid \
         UNION ALL SELECT c.reltype FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relkind = 'c' AND a.atttypid = wrong.oid AND NOT a.attisdropped) next ON true) \
         SELECT DISTINCT n.nspname, c.relname, a.attname, wrong.base FROM wrong \
         JOIN pg_attribute a ON a.atttypid = wrong.oid AND NOT a.attisdropped JOIN pg_class c ON c.oid = a.attrelid \
         AND c.relkind IN ('r', 'm', 'i') JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_t(emp|oast)' \
         ORDER BY 1, 2, 3 LIMIT {NAMED}",
        wrong.join(", ")
    );
    let rows = inside.rows("look at the columns' types", &sql).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || row.next().unwrap_or_default();
            let (schema, table, column, kind) = (next(), next(), next(), next());
            blocker(
                format!("{database}: {schema}.{table}.{column}"),
                format!("is of the type {kind}, whose values do not keep their meaning"),
                "drop the column, or change its type to text",
            )
        })
        .collect())
}

/// Extensions that the target does not have.
pub async fn extensions(
    source: &Server,
    candidate: &Server,
    inside: &Client,
    database: &str,
) -> Result<Vec<Finding>, Error> {
    let doing = "look at the extensions";
    let target = layout(candidate)?;
    let mut found = Vec::new();
    for extension in inside.column(doing, "SELECT extname FROM pg_extension ORDER BY 1").await? {
        // A name from a server is no path.
        let file = format!(
            "rootfs/usr/share/postgresql/{}/extension/{extension}.control",
            major(&candidate.version)
        );
        let there = match extension.contains('/') {
            true => None,
            false => source.runtime.engine_file(&target, &file).await.map_err(runtime(doing))?,
        };
        if there.is_none() {
            found.push(blocker(
                format!("{database}: extension {extension}"),
                "is not there in the target version",
                "DROP EXTENSION it",
            ));
        }
    }
    Ok(found)
}

/// Texts that are sorted by a library: another version of it may sort otherwise, so indexes are built anew.
async fn collations(inside: &Client, database: &str) -> Result<Option<Finding>, Error> {
    let sql = "SELECT count(DISTINCT i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
               JOIN pg_collation l ON l.oid = ANY (i.indcollation::oid[]) \
               WHERE c.oid >= 16384 AND l.collversion IS NOT NULL";
    let count = inside.value("look at the collations", sql).await?.unwrap_or_default();
    Ok((!matches!(&*count, "" | "0")).then(|| {
        warning(
            format!("{database}: {count} indexes"),
            "are sorted by a language's rules, which may be others in the new version",
            "they are then built anew before clients come back, which takes time",
        )
    }))
}

/// What is not logged is copied while clients wait.
async fn not_logged(inside: &Client, database: &str) -> Result<Option<Finding>, Error> {
    let sql = format!(
        "SELECT (sum(pg_relation_size(c.oid)) / 1048576)::bigint FROM pg_class c WHERE c.relpersistence = 'u' \
         HAVING sum(pg_relation_size(c.oid)) / 1048576 >= {LARGE}"
    );
    let size = inside.value("measure what is not logged", &sql).await?;
    Ok(size.map(|size| {
        warning(
            format!("{database}: {size} MB of UNLOGGED tables"),
            "are copied while clients wait, since nothing tells of their changes beforehand",
            "ALTER TABLE … SET LOGGED, or have fewer rows in them, for a shorter wait",
        )
    }))
}

/// Has `pg_upgrade` look at the server that serves, from an empty cluster in the candidate's folder.
async fn own_check(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    let doing = "have pg_upgrade look";
    if source.generation == candidate.generation {
        return Err(Error::Unexpected { doing, answer: "the candidate is the source".to_owned() });
    }
    let (source, candidate) = (source.clone(), candidate.clone());
    // Apart from who asks, who may lose patience: what is put there is always taken away.
    let looking = tokio::spawn(async move {
        let checked = match anew(&candidate).await {
            Ok(()) => from_scratch(&source, &candidate).await,
            Err(error) => Err(error),
        };
        let cleared = crate::engines::Engine::drop_data(&super::Postgresql, &candidate).await;
        let found = checked?;
        cleared?;
        Ok(found)
    });
    match looking.await {
        Ok(found) => found,
        Err(_) => Err(Error::Unexpected { doing, answer: "it was ended".to_owned() }),
    }
}

async fn from_scratch(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    let client = &Client::connect(source).await?;
    let (theirs, ours) = (layout(source)?, layout(candidate)?);
    let serving = control::read(source, &theirs, &cluster(&theirs)).await?;
    bootstrap::make(candidate, &ours, serving.checksums).await?;
    in_place::let_in(candidate, &ours, &[cluster(&ours)]).await?;
    let account = in_place::account_of(source, &theirs).await?;
    let visitor = source.runtime.visitor().await.map_err(runtime("ask who we are"))?;
    let let_in = |names: Vec<String>| async move {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = config::names(&names);
        let written = source.runtime.write_config(source.generation, config::NAMES, &text).await;
        written.map_err(runtime("write who may come in"))?;
        reload(source, client).await
    };
    let_in(vec![visitor.clone(), account]).await?;
    let mut args = in_place::arguments(&copy::as_source(source, candidate)?, &ours, &cluster(&theirs));
    args.push(format!("--old-port={}", crate::domain::datastore::EngineKind::Postgresql.standard_port()));
    let output = in_place::look(source, candidate, &ours, args).await;
    let closed = let_in(vec![visitor]).await;
    let output = output?;
    closed?;
    if output.status == Some(0) {
        return Ok(Vec::new());
    }
    let said = match in_place::refused(candidate, &ours, &output).await {
        Error::Program { message, .. } => message,
        other => other.to_string(),
    };
    Ok(vec![blocker("pg_upgrade --check", format!("refuses: {said}"), "change what it names")])
}

/// Has the server read its rules, and waits until it has: a connection that is made then says since when they hold.
async fn reload(source: &Server, client: &Client) -> Result<(), Error> {
    let doing = "have the server read who may come in";
    let since = "SELECT pg_conf_load_time()";
    let before = Client::connect(source).await?.value(doing, since).await?;
    client.run(doing, "SELECT pg_reload_conf()").await?;
    let deadline = Instant::now() + RELOAD;
    while Client::connect(source).await?.value(doing, since).await? == before {
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{doing}: not in time")));
        }
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
    Ok(())
}
