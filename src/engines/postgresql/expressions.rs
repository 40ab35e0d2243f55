//! What a table's rows are computed to, tried on the rows of the source; and what materialized views are made of.
//!
//! An expression of an index or of a computed column that calls a function of the tenant's may fail for those who copy rows,
//! build indexes and look at tables: they search no schema but the server's own. It fails only where there is a row, so
//! that no trial of definitions shows it. A function that was changed since the rows came gives something else in a copy:
//! a stored column has another value, a unique index or an EXCLUDE constraint meets two rows that are in each other's way, a
//! partition does not take a row that it has.
//!
//! Our own account lists the objects, by questions to the catalogue that evaluate nothing. Everything else is asked in a
//! session of the [`inspector`]'s, which has no power and can write nothing. That is so for descriptions, too: what a
//! partition takes is described with the key's functions already called, where they are of constants.
//!
//! A tenant's function may raise, sleep, refuse to be cancelled or end its session. The object is then named, and the next
//! one is tried.
//!
//! # If we die here
//! The account of the session without power stays, with a password that nobody knows, until the next look or comparison
//! takes it off.

use std::time::Duration;

use crate::domain::question::Finding;
use crate::engines::postgresql::connection::{Client, Row, quoted};
use crate::engines::postgresql::databases::open_databases;
use crate::engines::postgresql::findings;
use crate::engines::postgresql::{catalogue, inspector, major};
use crate::engines::{Error, Server};

/// How many objects are named of one sort and one outcome.
const NAMED: usize = 20;

/// How many characters of the server's words are told: they are a tenant's.
const SAID: usize = 300;

/// How many objects of a database are tried, at most.
const LISTED: usize = 20_000;

/// How many seconds one statement may take.
const STATEMENT_S: u64 = 2;

/// How long we wait for it. A tenant's function may refuse to be cancelled.
const PATIENCE: Duration = Duration::from_secs(STATEMENT_S + 1);

/// How long all objects are tried: their list is a tenant's, and as long as the tenant likes.
const ALL: Duration = Duration::from_secs(15);

/// How a session reads a table: all of it, and with nothing taken as proven. What an index holds, and which rows it has, was
/// computed by the function as it was; and what a partition takes is what is asked. What the tenant set for its database
/// does not count.
const READING: &str = "SET constraint_exclusion = off; SET enable_seqscan = on; SET enable_indexscan = off; \
                       SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET jit = off; \
                       SET max_parallel_workers_per_gather = 0";

/// The objects whose expression calls a function of a tenant's, also by an operator. It is the beginning of a list.
const CALLS: &str = "\
    WITH RECURSIVE calls AS (SELECT DISTINCT d.classid, d.objid FROM pg_depend d \
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid \
    JOIN pg_proc p ON p.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END \
    WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) \
    AND d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass) AND p.oid >= 16384 AND p.prolang NOT IN (12, 13))";

/// Indexes and computed columns that call a function of a tenant's: their table's schema and name, their own title, their
/// [`Kind`] and their number.
const EXPRESSIONS: &str = "\
    SELECT n.nspname, t.relname, 'index ' || n.nspname || '.' || c.relname, 'index', c.oid \
    FROM calls JOIN pg_index i ON calls.classid = 'pg_class'::regclass AND i.indexrelid = calls.objid \
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid AND t.relispopulated JOIN pg_namespace n ON n.oid = t.relnamespace \
    UNION ALL SELECT n.nspname, t.relname, 'column ' || n.nspname || '.' || t.relname || '.' || a.attname, 'column', f.oid \
    FROM calls JOIN pg_attrdef f ON calls.classid = 'pg_attrdef'::regclass AND f.oid = calls.objid \
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated <> '' \
    JOIN pg_class t ON t.oid = f.adrelid JOIN pg_namespace n ON n.oid = t.relnamespace ORDER BY 1, 2, 3";

/// What a copy of rows computes by a function of a tenant's: stored columns, unique indexes, EXCLUDE constraints, and the
/// partitions that rows belong to. The columns are those of [`EXPRESSIONS`].
const COPIED: &str = "\
    , tree AS (SELECT p.partrelid AS oid FROM calls \
    JOIN pg_partitioned_table p ON calls.classid = 'pg_class'::regclass AND p.partrelid = calls.objid \
    UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid) \
    SELECT n.nspname, t.relname, 'column ' || n.nspname || '.' || t.relname || '.' || a.attname, 'stored', f.oid \
    FROM calls JOIN pg_attrdef f ON calls.classid = 'pg_attrdef'::regclass AND f.oid = calls.objid \
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated = 's' \
    JOIN pg_class t ON t.oid = f.adrelid AND t.relkind = 'r' JOIN pg_namespace n ON n.oid = t.relnamespace \
    UNION ALL SELECT n.nspname, t.relname, 'index ' || n.nspname || '.' || c.relname, 'unique', c.oid \
    FROM calls JOIN pg_index i ON calls.classid = 'pg_class'::regclass AND i.indexrelid = calls.objid AND i.indisunique \
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid AND t.relkind = 'r' \
    JOIN pg_namespace n ON n.oid = t.relnamespace \
    UNION ALL SELECT n.nspname, t.relname, 'constraint ' || n.nspname || '.' || t.relname || '.' || x.conname, 'exclusion', x.oid \
    FROM calls JOIN pg_constraint x ON calls.classid = 'pg_class'::regclass AND x.conindid = calls.objid AND x.contype = 'x' \
    JOIN pg_class t ON t.oid = x.conrelid AND t.relkind = 'r' JOIN pg_namespace n ON n.oid = t.relnamespace \
    UNION ALL SELECT n.nspname, t.relname, 'partition ' || n.nspname || '.' || t.relname, 'partition', t.oid \
    FROM tree JOIN pg_class t ON t.oid = tree.oid AND t.relkind = 'r' JOIN pg_namespace n ON n.oid = t.relnamespace ORDER BY 1, 2, 3";

/// Materialized views whose definition calls a function of a tenant's. The columns are those of [`EXPRESSIONS`].
const VIEWS: &str = "\
    SELECT n.nspname, c.relname, 'materialized view ' || n.nspname || '.' || c.relname, 'view', c.oid \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'm' AND EXISTS (SELECT 1 FROM pg_rewrite r \
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
    JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid \
    WHERE r.ev_class = c.oid AND p.oid >= 16384 AND p.prolang NOT IN (12, 13)) ORDER BY 1, 2";

/// What is tried of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An index's expressions and its predicate, on one row.
    Index,
    /// A computed column's expression, on one row.
    Column,
    /// Whether a row of the table has another value in a stored column than its expression gives.
    Stored,
    /// Whether two rows have the same key in a unique index.
    Unique,
    /// Whether two rows exclude each other.
    Exclusion,
    /// Whether a partition has a row that it does not take.
    Partition,
    /// A materialized view's query, for one row.
    View,
}

impl Kind {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "index" => Some(Self::Index),
            "column" => Some(Self::Column),
            "stored" => Some(Self::Stored),
            "unique" => Some(Self::Unique),
            "exclusion" => Some(Self::Exclusion),
            "partition" => Some(Self::Partition),
            "view" => Some(Self::View),
            _ => None,
        }
    }

    /// Whether all rows are read, and a row of the answer says that a copy would be another one.
    const fn is_copied(self) -> bool {
        match self {
            Self::Stored | Self::Unique | Self::Exclusion | Self::Partition => true,
            Self::Index | Self::Column | Self::View => false,
        }
    }

    /// The question that gives the statement to try, with all names in full. It ends where the object's number is missing.
    /// Descriptions may call functions of the tenant's: it is for the inspector's session alone.
    const fn description(self) -> &'static str {
        match self {
            Self::Index => {
                "SELECT format('SELECT %s FROM ONLY %I.%I LIMIT 1', \
                 (SELECT string_agg(pg_get_indexdef(i.indexrelid, k::int, false), ', ') FROM generate_series(1, i.indnatts) k) \
                 || coalesce(', ' || pg_get_expr(i.indpred, i.indrelid), ''), n.nspname, t.relname) FROM pg_index i \
                 JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace WHERE i.indexrelid ="
            }
            Self::Column => {
                "SELECT format('SELECT %s FROM ONLY %I.%I LIMIT 1', pg_get_expr(f.adbin, f.adrelid), n.nspname, t.relname) \
                 FROM pg_attrdef f JOIN pg_class t ON t.oid = f.adrelid JOIN pg_namespace n ON n.oid = t.relnamespace WHERE f.oid ="
            }
            Self::Stored => {
                "SELECT format('SELECT 1 FROM ONLY %I.%I WHERE %I::text IS DISTINCT FROM ((%s)::%s)::text LIMIT 1', n.nspname, t.relname, \
                 a.attname, pg_get_expr(f.adbin, f.adrelid), format_type(a.atttypid, a.atttypmod)) FROM pg_attrdef f \
                 JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum JOIN pg_class t ON t.oid = f.adrelid \
                 JOIN pg_namespace n ON n.oid = t.relnamespace WHERE f.oid ="
            }
            // Servers before 15 have no NULLS NOT DISTINCT.
            Self::Unique => {
                "SELECT format('SELECT 1 FROM (SELECT %s FROM ONLY %I.%I%s) q GROUP BY %s HAVING count(*) > 1%s LIMIT 1', k.parts, n.nspname, \
                 t.relname, ' WHERE ' || pg_get_expr(i.indpred, i.indrelid), k.names, \
                 CASE WHEN to_jsonb(i)->>'indnullsnotdistinct' = 'true' THEN '' ELSE ' AND bool_and(ROW(' || k.names || ') IS NOT NULL)' END) \
                 FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
                 CROSS JOIN LATERAL (SELECT string_agg(format('(%s)%s AS part%s', pg_get_indexdef(i.indexrelid, k::int, false), \
                 (SELECT format(' COLLATE %I.%I', s.nspname, l.collname) FROM pg_collation l JOIN pg_namespace s ON s.oid = l.collnamespace \
                 WHERE l.oid = i.indcollation[k - 1]), k), ', ') AS parts, string_agg('part' || k, ', ') AS names \
                 FROM generate_series(1, i.indnkeyatts) k) k WHERE i.indexrelid ="
            }
            Self::Exclusion => {
                "SELECT format('WITH kept AS MATERIALIZED (SELECT ctid AS place, %s FROM ONLY %I.%I%s) \
                 SELECT 1 FROM kept a JOIN kept b ON a.place < b.place AND %s LIMIT 1', k.parts, n.nspname, t.relname, \
                 ' WHERE ' || pg_get_expr(i.indpred, i.indrelid), k.meet) FROM pg_constraint x JOIN pg_index i ON i.indexrelid = x.conindid \
                 JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
                 CROSS JOIN LATERAL (SELECT string_agg(format('(%s)%s AS part%s', pg_get_indexdef(i.indexrelid, u.k::int, false), \
                 (SELECT format(' COLLATE %I.%I', s.nspname, l.collname) FROM pg_collation l JOIN pg_namespace s ON s.oid = l.collnamespace \
                 WHERE l.oid = i.indcollation[u.k - 1]), u.k), ', ') AS parts, \
                 string_agg(format('a.part%s OPERATOR(%I.%s) b.part%s', u.k, s.nspname, o.oprname, u.k), ' AND ') AS meet \
                 FROM unnest(x.conexclop) WITH ORDINALITY u (op, k) JOIN pg_operator o ON o.oid = u.op \
                 JOIN pg_namespace s ON s.oid = o.oprnamespace) k WHERE x.oid ="
            }
            Self::Partition => {
                "SELECT format('SELECT 1 FROM ONLY %I.%I WHERE NOT (%s) LIMIT 1', n.nspname, t.relname, \
                 coalesce(pg_get_partition_constraintdef(t.oid), 'true')) FROM pg_class t \
                 JOIN pg_namespace n ON n.oid = t.relnamespace WHERE t.oid ="
            }
            Self::View => {
                "SELECT format('SELECT * FROM (%s) q LIMIT 1', rtrim(pg_get_viewdef(c.oid), '; ')) FROM pg_class c WHERE c.oid ="
            }
        }
    }
}

/// An object of a list.
struct Object {
    /// The schema of its table.
    schema: String,
    /// Its table.
    table: String,
    /// Its kind and name for people.
    title: String,
    /// What is tried of it.
    kind: Kind,
    /// Its number in the catalogue.
    number: u32,
}

impl Object {
    /// An object by a row of a list.
    fn of(row: Row) -> Option<Self> {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let (schema, table, title) = (next()?, next()?, next()?);
        Some(Self { schema, table, title, kind: Kind::from_word(&next()?)?, number: next()?.parse().ok()? })
    }

    /// Whether its table still is there by its name. It evaluates nothing.
    async fn is_there(&self, session: &Client) -> bool {
        let sql = format!(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}",
            quoted(&self.schema),
            quoted(&self.table)
        );
        // Who cannot say counts as there: the object is then named.
        session.is_there("look whether a table is there", &sql).await.unwrap_or(true)
    }
}

/// What came of trying an object.
#[derive(Debug)]
enum Outcome {
    /// Nothing to tell.
    Nothing,
    /// Its statement gave a row.
    Row,
    /// Its statement, or its description, failed.
    Failed {
        /// The server's state.
        state: String,
        /// The server's words.
        message: String,
    },
    /// It took too long.
    Late,
}

/// The first version in which whoever refreshes a materialized view searches no schema but the server's own.
const REFRESHES_WITHOUT: u32 = 17;

/// States of a statement whose functions do not find their own.
const NOT_FOUND: [&str; 4] = ["42883", "42P01", "42703", "42704"];

/// States of a statement that could not be tried: its object was gone, or held.
const OF_THE_MOMENT: [&str; 3] = ["42P01", "55P03", "3F000"];

/// States of what the session may not do, and a copy may: writing, and what only an owner is let.
const OF_THE_SESSION: [&str; 2] = ["25006", "42501"];

/// The state of a session that was ended: by its function, or by another look.
const ENDED: &str = "57P01";

/// The state of a statement that took too long.
const LATE: &str = "57014";

/// The state of a login to a database that takes no further one: that is told apart.
const CROWDED: &str = "53300";

const REMEDY: &str =
    "have its functions name the schemas of what they use, or ALTER FUNCTION … SET search_path";

const VALUES: &str =
    "have its functions give a value of each row and name the schemas of what they use, or upgrade in place";

const UNDONE: &str = "if its function was changed since the rows came, upgrade in place; an upgrade that meets such a row is undone";

/// Tries each expression on a row of its table. Where rows are copied one by one, what fails stands in the way, and so does
/// what would not be in the copy as it is, since the tenant's function was changed after the rows came.
pub async fn rows(source: &Server, blocks: bool) -> Result<Vec<Finding>, Error> {
    let copied = [format!("{CALLS} {EXPRESSIONS}"), format!("{CALLS}{COPIED}")];
    let (lists, what) = match blocks {
        true => (&copied[..], "the expressions of indexes, columns, constraints and partitions"),
        false => (&copied[..1], "the expressions of indexes and columns"),
    };
    let tried = each(source, lists).await?;
    let untried = tried.untried(what);
    let mut found: Vec<Finding> = Vec::new();
    for (object, kind, outcome) in tried.told {
        let told = match kind.is_copied() {
            true => changed(object, kind, outcome),
            false => failing(object, outcome, blocks),
        };
        // An index may be tried twice: on a row, and on all of them.
        found.extend(told.filter(|told| {
            !found.iter().any(|there| there.object == told.object && there.blocks >= told.blocks)
        }));
    }
    found.extend(untried);
    Ok(found)
}

/// What is told of an expression that was tried on one row.
fn failing(object: String, outcome: Outcome, blocks: bool) -> Option<Finding> {
    match outcome {
        Outcome::Nothing | Outcome::Row => None,
        Outcome::Late => {
            let why =
                format!("was not computed of a row within {STATEMENT_S} s: it may fail when rows are copied");
            Some(findings::warning(object, why, VALUES))
        }
        Outcome::Failed { state, message } if is_passing(&state) => {
            Some(findings::warning(object, format!("was not tried: {message}"), REMEDY))
        }
        Outcome::Failed { message, .. } => {
            let why = format!(
                "cannot be computed of a row where no schema is searched but the server's own: {message}"
            );
            Some(Finding { blocks, ..findings::blocker(object, why, REMEDY) })
        }
    }
}

/// What is told of an object whose table was read to its end.
fn changed(object: String, kind: Kind, outcome: Outcome) -> Option<Finding> {
    match outcome {
        Outcome::Nothing => None,
        Outcome::Row => Some(findings::blocker(
            object,
            "holds what its expression no longer gives, and a copy computes it again: a function was changed since",
            "UPDATE or DELETE the rows, so that they are as the function gives them, or upgrade in place",
        )),
        Outcome::Late => {
            let why = format!(
                "was not read to its end within {STATEMENT_S} s: its rows may not be what its expression gives by now"
            );
            Some(findings::warning(object, why, UNDONE))
        }
        // What does not find its own says so already of one row; but a partition is not tried on one row.
        Outcome::Failed { state, message }
            if is_passing(&state)
                || OF_THE_SESSION.contains(&&*state)
                || (kind != Kind::Partition && NOT_FOUND.contains(&&*state)) =>
        {
            let why = format!("was not read to its end: {message}");
            Some(findings::warning(object, why, UNDONE))
        }
        Outcome::Failed { message, .. } => {
            let why = format!(
                "cannot be computed of all rows where no schema is searched but the server's own: {message}"
            );
            Some(findings::blocker(object, why, VALUES))
        }
    }
}

/// Whether a failure may be of the moment alone.
fn is_passing(state: &str) -> bool {
    state == ENDED || OF_THE_MOMENT.contains(&state)
}

/// Tries each materialized view that the target would refresh in another way than the source: its rows are carried, and it
/// cannot be refreshed afterwards.
pub async fn refreshes(source: &Server, candidate: &Server) -> Result<Vec<Finding>, Error> {
    if major(&source.version) >= REFRESHES_WITHOUT || major(&candidate.version) < REFRESHES_WITHOUT {
        return Ok(Vec::new());
    }
    let tried = each(source, &[VIEWS.to_owned()]).await?;
    let untried = tried.untried("the materialized views");
    let told = tried.told.into_iter().filter_map(|(object, _, outcome)| match outcome {
        Outcome::Failed { state, message } if NOT_FOUND.contains(&&*state) => {
            let why = format!(
                "cannot be refreshed by the target, where no schema is searched but the server's own: {message}"
            );
            Some(findings::warning(object, why, REMEDY))
        }
        _ => None,
    });
    Ok(told.chain(untried).collect())
}

/// What came of trying a list.
#[derive(Default)]
struct Tried {
    /// The objects of which there is something to tell.
    told: Vec<(String, Kind, Outcome)>,
    /// Whether none was left out.
    is_whole: bool,
}

impl Tried {
    /// Notes what came of an object, while not too many are noted of the same.
    fn note(&mut self, object: String, kind: Kind, outcome: Outcome) {
        let same = |there: &&(String, Kind, Outcome)| {
            there.1.is_copied() == kind.is_copied()
                && std::mem::discriminant(&there.2) == std::mem::discriminant(&outcome)
        };
        if !matches!(outcome, Outcome::Nothing) && self.told.iter().filter(same).count() < NAMED {
            self.told.push((object, kind, outcome));
        }
    }

    /// A warning, where something was left out.
    fn untried(&self, what: &str) -> Option<Finding> {
        (!self.is_whole).then(|| {
            findings::warning(
                what,
                format!(
                    "were not all tried: they are over {LISTED}, it took over {} s, or a database takes no more connections",
                    ALL.as_secs()
                ),
                "what cannot be computed is found when it is copied or refreshed; an upgrade that meets it is undone",
            )
        })
    }
}

/// Tries each object of the lists, in sessions without power.
async fn each(source: &Server, lists: &[String]) -> Result<Tried, Error> {
    let mut tried = Tried { is_whole: true, ..Tried::default() };
    let mut listed = Vec::new();
    let client = Client::connect(source).await?;
    for database in open_databases(&client).await? {
        // Nothing of ours stays in a database that may take few sessions.
        let inside = Client::connect_to(source, &database).await?;
        let mut objects = Vec::new();
        for list in lists {
            let (place, list) = (format!("{database}: "), format!("{list} LIMIT {LISTED}"));
            let rows = catalogue::rows(&inside, "list what is computed of rows", &place, &list).await?;
            tried.is_whole &= rows.len() < LISTED;
            objects.extend(rows.into_iter().filter_map(Object::of));
        }
        if !objects.is_empty() {
            listed.push((database, objects));
        }
    }
    if listed.is_empty() {
        return Ok(tried);
    }
    let password = inspector::make(source).await?;
    let done = tokio::time::timeout(ALL, async {
        for (database, objects) in listed {
            let mut entered = enter(source, &password, &database, false).await?;
            for object in objects {
                let Some(session) = entered else {
                    tried.is_whole = false;
                    break;
                };
                let (outcome, is_open) = ask(&session, &object).await;
                tried.note(format!("{database}: {}", object.title), object.kind, outcome);
                entered = match is_open {
                    true => Some(session),
                    false => {
                        drop(session);
                        inspector::end_sessions(source).await?;
                        enter(source, &password, &database, true).await?
                    }
                };
            }
        }
        Ok(())
    })
    .await;
    // Whatever came of it, nobody is left who may look.
    inspector::drop(source).await?;
    match done {
        Ok(done) => done?,
        Err(_) => tried.is_whole = false,
    }
    Ok(tried)
}

/// A session without power in a database; none where that takes no further one. `again` says that one was ended: whoever
/// ended it may have taken the account off.
async fn enter(
    source: &Server,
    password: &str,
    database: &str,
    again: bool,
) -> Result<Option<Client>, Error> {
    let session = match inspector::connect(source, password, database).await {
        Ok(session) => session.patient(PATIENCE),
        Err(Error::State { state, .. }) if again || state == CROWDED => return Ok(None),
        Err(error) => return Err(error),
    };
    let settings = format!("{READING}; SET statement_timeout = '{STATEMENT_S}s'");
    session.run("begin a look", &settings).await?;
    Ok(Some(session))
}

/// Tries one object, and says whether the session still is open. Nothing that a function sets stays: its transaction is
/// rolled back.
async fn ask(session: &Client, object: &Object) -> (Outcome, bool) {
    let description = format!("BEGIN READ ONLY; {} {}", object.kind.description(), object.number);
    let answer = match session.value("describe what is computed", &description).await {
        Ok(Some(statement)) => session.is_there("compute an expression", &statement).await,
        // It was dropped since it was listed.
        Ok(None) => Ok(false),
        Err(error) => Err(error),
    };
    if let Err(Error::NoAnswer(_)) = answer {
        // A session that is open, and does not answer, does not let itself be cancelled.
        let message = "its function ended the session that called it".to_owned();
        return match session.is_open() {
            true => (Outcome::Late, false),
            false => (Outcome::Failed { state: ENDED.to_owned(), message }, false),
        };
    }
    let is_open = session.run("end a look", "ROLLBACK").await.is_ok();
    let outcome = match answer {
        Ok(true) => Outcome::Row,
        Ok(false) => Outcome::Nothing,
        Err(Error::State { state, .. }) if state == LATE => Outcome::Late,
        Err(_) if is_open && !object.is_there(session).await => Outcome::Nothing,
        Err(Error::State { state, message, .. }) => {
            Outcome::Failed { state, message: message.chars().take(SAID).collect() }
        }
        Err(error) => Outcome::Failed { state: ENDED.to_owned(), message: error.to_string() },
    };
    (outcome, is_open)
}
