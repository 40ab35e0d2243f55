//! Whether a server of the target's version takes what the tenant has defined: each table, sequence, view, routine,
//! trigger and event is made on an empty one, and what it refuses is named, all of it.
//!
//! A copy of files carries a definition that the new version cannot read: a routine with a word in it that is reserved
//! now is met at its first call only. So this is the one place that finds it, for each way of upgrading.
//!
//! The empty server is fenced and holds no row, no password and no function that does anything while something could
//! call it: see [`definitions`]. Tables are made by an account that can make tables and nothing else.
//!
//! # If we die here
//! A look of its own leaves the candidate's folder and server; the task that looked drops both when it ends, and of a look
//! that no task made the next worker drops them. Within a copy, the candidate is dropped and made again by the next try.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::domain::ids::GenerationId;
use crate::domain::parameter::Values;
use crate::domain::question::Finding;
use crate::engines::mariadb::connection::{Client, name};
use crate::engines::mariadb::content::tenant_schema;
use crate::engines::mariadb::definitions::{self, Refused};
use crate::engines::mariadb::{MariaDb, accounts, content, helpers};
use crate::engines::{Engine as _, Error, Server, Settings};

/// How long it may take on a candidate that runs.
const BUDGET: Duration = Duration::from_secs(30);

/// How long an answer stands: one look asks for each strategy in turn.
const STANDS: Duration = Duration::from_secs(30);

/// How long one statement may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many findings are told; a tenant who sees a hundred needs no more.
const NAMED: usize = 100;

/// Memory of the empty server, in MB.
const MEMORY_MB: u32 = 128;

/// The engines whose tables can be made on an empty server. Others reach elsewhere, or are not there.
const ENGINES: [&str; 6] = ["InnoDB", "MyISAM", "Aria", "MEMORY", "CSV", "ARCHIVE"];

/// How long a table that somebody keeps locked is waited for, in seconds.
const LOCK_SECONDS: u32 = 2;

/// What was found, of which source, and when.
struct Answer {
    source: GenerationId,
    at: Instant,
    found: Vec<Finding>,
}

/// The last answer about each candidate. Whoever asks the same while it is being found waits for it: two servers never
/// share a folder.
type Answers = HashMap<GenerationId, Arc<tokio::sync::Mutex<Option<Answer>>>>;

static ANSWERS: LazyLock<Mutex<Answers>> = LazyLock::new(Mutex::default);

fn answer_about(candidate: GenerationId) -> Arc<tokio::sync::Mutex<Option<Answer>>> {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Those stay that somebody waits for, or may soon ask for.
    answers.retain(|_, answer| {
        let stands =
            |answer: &Option<Answer>| answer.as_ref().is_some_and(|answer| answer.at.elapsed() < STANDS);
        Arc::strong_count(answer) > 1 || answer.try_lock().is_ok_and(|answer| stands(&answer))
    });
    Arc::clone(answers.entry(candidate).or_default())
}

/// What the target would refuse of the content of `source`. `candidate` is not there; its folders and server are for
/// as long as this takes, which is `trial` at most, with the empty server's birth.
pub async fn findings(source: &Server, candidate: &Server, trial: Duration) -> Result<Vec<Finding>, Error> {
    if source.version == candidate.version {
        return Ok(Vec::new());
    }
    let about = answer_about(candidate.generation);
    let mut answer = about.lock().await;
    let stands = |answer: &&Answer| answer.source == source.generation && answer.at.elapsed() < STANDS;
    if let Some(answer) = answer.as_ref().filter(stands) {
        return Ok(answer.found.clone());
    }
    let found = on_a_new_server(source, candidate, trial).await?;
    *answer = Some(Answer { source: source.generation, at: Instant::now(), found: found.clone() });
    Ok(found)
}

async fn on_a_new_server(
    source: &Server,
    candidate: &Server,
    trial: Duration,
) -> Result<Vec<Finding>, Error> {
    let empty = Server {
        service_password: SecretString::from(format!("{:032x}", rand::random::<u128>())),
        settings: Settings {
            memory_mb: MEMORY_MB,
            read_only: true,
            full: false,
            logs: Vec::new(),
            readers: false,
            events: false,
            // What a group has of memory and of defaults is the instance's, and not this server's.
            parameters: Values::new(),
            ..candidate.settings.clone()
        },
        tls: None,
        ..candidate.clone()
    };
    let tried = tokio::time::timeout(trial, async {
        MariaDb.create_data(&empty).await?;
        MariaDb.start(&empty).await?;
        on(source, &empty).await
    })
    .await;
    // Whatever came of it, nothing of it stays.
    MariaDb.drop_data(&empty).await?;
    match tried {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(Error::NoAnswer(why))) => Ok(vec![untried(&why)]),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(vec![untried(&format!("it takes longer than {} s", trial.as_secs()))]),
    }
}

/// The same on an empty candidate that runs. What cannot be tried in time is not: the look before said so.
pub async fn on_a_candidate(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    match tokio::time::timeout(BUDGET, on(source, candidate)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(Error::NoAnswer(why))) => {
            tracing::warn!(source = %source.generation, why, "not all definitions were tried");
            Ok(Vec::new())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            tracing::warn!(source = %source.generation, "the definitions were not all tried in time");
            Ok(Vec::new())
        }
    }
}

/// Makes everything on an empty server that runs.
async fn on(source: &Server, empty: &Server) -> Result<Vec<Finding>, Error> {
    let mut from = Client::connect(source).await?.patient(PATIENCE);
    let owners = accounts::names(&mut from).await?;
    let mut shown = helpers::show(source, &mut from).await?.patient(PATIENCE);
    let told =
        async { Ok::<_, Error>((tables(&mut shown).await?, definitions::read(&mut shown).await?)) }.await;
    let gone = helpers::hide(&mut from, shown).await;
    let (tables, read) = told?;
    gone?;

    let mut to = Client::connect(empty).await?.patient(PATIENCE);
    to.without_binlog().await?;
    let mut found = Vec::new();
    for (object, why) in &read.untold {
        found.push(Finding {
            blocks: false,
            object: object.clone(),
            why: format!("cannot be read on the old server ({why}), and was not tried on the new version"),
            remedy: "make it again, or drop it; it is carried as it is".to_owned(),
        });
    }
    found.extend(databases(&mut from, &mut to).await?);
    owners_of_views(&mut to, &owners).await?;
    let refused = definitions::try_without_tables(&mut to, &read.definitions).await?;
    found.extend(refused.iter().map(|refused| finding(&empty.version, refused)));
    found.extend(make_tables(empty, &mut to, &tables.made).await?);
    let refused = definitions::try_with_tables(empty, &mut to, &read.definitions).await?;
    to.close().await;
    let packages = packages(&mut from).await?;
    let mut shown = None;
    for refused in &refused {
        if needs_skipped(refused, &tables.skipped) {
            found.push(Finding {
                blocks: false,
                object: refused.of.label(),
                why: "was not tried on the new version, since a table of its was not: it is locked, or of an engine \
                      that reaches elsewhere"
                    .to_owned(),
                remedy: "try it once after the upgrade".to_owned(),
            });
            continue;
        }
        let Some(view) = refused.of.as_view() else {
            found.push(finding(&empty.version, refused));
            continue;
        };
        if shown.is_none() {
            shown = Some(helpers::show(source, &mut from).await?.patient(PATIENCE));
        }
        if let Some(shown) = &mut shown {
            found.push(view_finding(shown, &empty.version, view, refused, &packages).await?);
        }
    }
    if let Some(shown) = shown {
        helpers::hide(&mut from, shown).await?;
    }
    from.close().await;
    found.truncate(NAMED);
    Ok(found)
}

fn untried(why: &str) -> Finding {
    Finding {
        blocks: false,
        object: "the definitions".to_owned(),
        why: format!("were not all tried on an empty server of the new version: {why}"),
        remedy: "call each routine and open each view once after the upgrade, or try the upgrade on a copy"
            .to_owned(),
    }
}

fn refused_by(version: &str, code: u16, message: &str) -> String {
    format!("is refused by {version} ({code}: {message})")
}

fn finding(version: &str, refused: &Refused<'_>) -> Finding {
    /// The server could not make a statement of the text.
    const SYNTAX: u16 = 1064;
    let remedy = if refused.code == SYNTAX {
        "put names that are words of the new version in backticks, as `vector`, and create it again, or drop it"
    } else {
        "change what the new version refuses and create it again, or drop it"
    };
    Finding {
        blocks: true,
        object: refused.of.label(),
        why: refused_by(version, refused.code, &refused.message),
        remedy: remedy.to_owned(),
    }
}

/// Whether it was refused for want of a table that was not made.
fn needs_skipped(refused: &Refused<'_>, skipped: &HashSet<String>) -> bool {
    /// A table that does not exist.
    const NO_TABLE: u16 = 1146;
    refused.code == NO_TABLE && skipped.iter().any(|table| refused.message.contains(&format!("'{table}'")))
}

/// A view that is broken on the old server is no news, and one that calls a function of a package cannot be tried.
async fn view_finding(
    shown: &mut Client,
    version: &str,
    (schema, view): (&str, &str),
    refused: &Refused<'_>,
    packages: &HashSet<String>,
) -> Result<Finding, Error> {
    /// A routine that there is no right to run.
    const DENIED: u16 = 1370;
    let fields = format!("SHOW FIELDS FROM {}.{}", name(schema), name(view));
    let warned = |why: String| Finding {
        blocks: false,
        object: refused.of.label(),
        why,
        remedy: "mend or drop it; it is carried as it is".to_owned(),
    };
    match shown.run("look at a view", &fields).await {
        Ok(()) => Ok(finding(version, refused)),
        Err(Error::Refused { code: DENIED, message, .. }) => {
            let calls_package = packages.iter().any(|package| message.contains(&format!("'{package}'")));
            if calls_package {
                Ok(warned("calls a function of a package, and was not tried on the new version".to_owned()))
            } else {
                Ok(finding(version, refused))
            }
        }
        Err(Error::Refused { code, message, .. }) => Ok(warned(format!(
            "is a view that cannot be opened on the old server either ({code}: {message})"
        ))),
        Err(error) => Err(error),
    }
}

/// The packages, as `schema.name`.
async fn packages(client: &mut Client) -> Result<HashSet<String>, Error> {
    let sql = format!(
        "SELECT CONCAT(db, '.', name) FROM mysql.proc WHERE {} AND type='PACKAGE'",
        tenant_schema("db")
    );
    let rows = client.rows("list the packages", &sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Makes the databases.
async fn databases(from: &mut Client, to: &mut Client) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    for database in content::described(from).await? {
        let create = format!("CREATE DATABASE {}", database.options());
        match to.run("make a database", &create).await {
            Ok(()) => {}
            Err(Error::Refused { code, message, .. }) => found.push(Finding {
                blocks: true,
                object: format!("database {}", database.name),
                why: format!("is refused by the new version ({code}: {message})"),
                remedy: "change what it names, or drop the database".to_owned(),
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A view is made only if its owner may read what it names. So all accounts are there, without a way to log in.
async fn owners_of_views(to: &mut Client, owners: &[accounts::Name]) -> Result<(), Error> {
    for accounts::Name { account, role } in owners {
        let create = if *role {
            format!("CREATE ROLE IF NOT EXISTS {account}")
        } else {
            format!("CREATE USER IF NOT EXISTS {account} ACCOUNT LOCK")
        };
        let grant = format!("GRANT SELECT, SHOW VIEW, EXECUTE ON *.* TO {account}");
        for sql in [create, grant] {
            match to.run("make an owner of views", &sql).await {
                // Then its views are refused, and named.
                Ok(()) | Err(Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// A table or a sequence.
struct Table {
    schema: String,
    name: String,
    sequence: bool,
    text: Vec<u8>,
}

/// The tables and sequences.
#[derive(Default)]
struct Tables {
    made: Vec<Table>,
    /// Those that are not made, as `schema.name`.
    skipped: HashSet<String>,
}

/// Reads what makes the tables and sequences, by an account that can run nothing.
async fn tables(client: &mut Client) -> Result<Tables, Error> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE='SEQUENCE', IFNULL(ENGINE, '') FROM information_schema.TABLES \
         WHERE {} AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW', 'TEMPORARY', 'TEMPORARY SEQUENCE') \
         ORDER BY 3 DESC, 1, 2",
        tenant_schema("TABLE_SCHEMA")
    );
    let listed = client.rows("list the tables", &sql).await?;
    client.run("read texts as they are", "SET SESSION character_set_results=binary").await?;
    let limit = format!("SET SESSION lock_wait_timeout={LOCK_SECONDS}");
    client.run("limit how long a locked table is waited for", &limit).await?;
    let mut tables = Tables::default();
    for row in listed {
        let [Some(schema), Some(table), Some(sequence), Some(engine)] = row.as_slice() else { continue };
        let sequence = sequence == "1";
        let kind = if sequence { "SEQUENCE" } else { "TABLE" };
        let show = format!("SHOW CREATE {kind} {}.{}", name(schema), name(table));
        let text = if ENGINES.contains(&engine.as_str()) {
            match client.bytes("read a table's definition", &show).await {
                Ok(rows) => rows.into_iter().next().and_then(|row| row.into_iter().nth(1).flatten()),
                // It is gone by now, or locked, or cannot be opened, which is found elsewhere.
                Err(Error::Refused { .. }) => None,
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        match text {
            Some(text) => {
                tables.made.push(Table { schema: schema.clone(), name: table.clone(), sequence, text });
            }
            None => {
                tables.skipped.insert(format!("{schema}.{table}"));
            }
        }
    }
    client.run("read texts in our character set", "SET SESSION character_set_results=utf8mb4").await?;
    Ok(tables)
}

/// Makes them, sequences first: defaults name them.
async fn make_tables(empty: &Server, to: &mut Client, tables: &[Table]) -> Result<Vec<Finding>, Error> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let databases = content::databases(to).await?;
    let helper = helpers::loader(to, &databases).await?;
    let made = async {
        let mut loader = helper.connect(empty).await?.patient(PATIENCE);
        let session = "SET SESSION sql_log_bin=0, foreign_key_checks=0, innodb_strict_mode=0, \
                       sql_mode='NO_DIR_IN_CREATE'";
        loader.run("prepare a session that makes tables", session).await?;
        let mut found = Vec::new();
        for table in tables {
            let object = format!(
                "{} {}.{}",
                if table.sequence { "sequence" } else { "table" },
                table.schema,
                table.name
            );
            let made = match loader.run("choose a database", &format!("USE {}", name(&table.schema))).await {
                Ok(()) => loader.run_one("make a table", &table.text).await,
                refused => refused,
            };
            match made {
                Ok(()) => {}
                Err(Error::Refused { code, message, .. }) => found.push(Finding {
                    blocks: true,
                    object,
                    why: refused_by(&empty.version, code, &message),
                    remedy: "change with ALTER TABLE what the new version refuses, or drop it".to_owned(),
                }),
                Err(Error::NoAnswer(why)) => return Err(Error::NoAnswer(format!("{object}: {why}"))),
                Err(error) => return Err(error),
            }
        }
        loader.close().await;
        Ok(found)
    }
    .await;
    let gone = helper.drop(to).await;
    let found = made?;
    gone?;
    Ok(found)
}
