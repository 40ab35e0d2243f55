//! What a conversion brought into the server's own parts, told by what the old server had there.
//!
//! Nothing that a tenant wrote runs while `pg_upgrade` works ([`disarm`](super::disarm)). Should something have run after
//! all, it ran with all rights, and what it would leave lies where no tenant's object is: a routine in `pg_catalog`, a
//! role, a membership, a language, a cast, a changed routine of the server's own. So these are looked at as well: what is
//! there beyond a new server's own must have been in the old server, whose lines are put aside with the rest; roles,
//! databases, owners and parameters' rights must be those of the old server; and the server's own objects must be the
//! same in every database.
//!
//! # If we die here
//! It only reads.

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, OWN_DATABASE};
use crate::engines::{Error, Server};

/// The number of the first object that is not the server's own. `pg_upgrade` makes some of those again, by later numbers.
const LATER: u32 = 16_384;

/// How long one question may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// The name of a type, by its number; versions print the names of some of their own in their own ways.
fn type_name(number: &str) -> String {
    format!(
        "coalesce((SELECT y.nspname || '.' || t.typname FROM pg_type t JOIN pg_namespace y ON y.oid = t.typnamespace \
         WHERE t.oid = {number}), '')"
    )
}

/// A routine's name with its arguments' types, of `pg_proc o` in the schema `n`.
fn routine_name() -> String {
    format!(
        "n.nspname || '.' || o.proname || '(' || coalesce((SELECT string_agg({}, ',' ORDER BY a.place) \
         FROM unnest(o.proargtypes::oid[]) WITH ORDINALITY a (kind, place)), '') || ')'",
        type_name("a.kind")
    )
}

/// Objects in the server's own schemas, and those that are in no schema, from a number on: one line each. What carries the
/// data that was put aside is not among them.
fn objects(from: u32, aside: &str) -> String {
    let own = "(n.nspname IN ('pg_catalog', 'information_schema') OR n.nspname ~ '^pg_(toast|temp)')";
    let inside = |kind: &str, catalogue: &str, prefix: &str, names: &str| {
        format!(
            "SELECT '{kind} ' || n.nspname || '.' || {names} FROM {catalogue} o \
             JOIN pg_namespace n ON n.oid = o.{prefix}namespace WHERE o.oid >= {from} AND {own}"
        )
    };
    let owner = |column: &str| format!("' of ' || pg_get_userbyid(o.{column})");
    [
        format!("SELECT 'schema ' || o.nspname || {} FROM pg_namespace o WHERE o.oid >= {from} AND o.nspname <> '{aside}' \
             AND o.nspname !~ '^pg_(toast_)?temp_' AND NOT (o.nspname = '{OWN_SCHEMA}' AND o.nspowner = 10)", owner("nspowner")),
        format!("SELECT 'routine ' || {} || {} FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace WHERE o.oid >= {from} AND {own}",
            routine_name(), owner("proowner")),
        format!("{} AND NOT (n.nspname ~ '^pg_toast' AND o.relkind IN ('t', 'i'))", inside("relation", "pg_class", "rel", &format!("o.relname || {}", owner("relowner")))),
        inside("type", "pg_type", "typ", &format!("o.typname || {}", owner("typowner"))),
        inside("operator", "pg_operator", "opr", &format!("o.oprname || '(' || {} || ', ' || {} || ')'", type_name("o.oprleft"), type_name("o.oprright"))),
        inside("operator class", "pg_opclass", "opc", "o.opcname"),
        inside("operator family", "pg_opfamily", "opf", "o.opfname"),
        inside("collation", "pg_collation", "coll", "o.collname"),
        inside("conversion", "pg_conversion", "con", "o.conname"),
        inside("search configuration", "pg_ts_config", "cfg", "o.cfgname"),
        inside("search dictionary", "pg_ts_dict", "dict", "o.dictname"),
        inside("search parser", "pg_ts_parser", "prs", "o.prsname"),
        inside("search template", "pg_ts_template", "tmpl", "o.tmplname"),
        inside("statistics", "pg_statistic_ext", "stx", "o.stxname"),
        format!("SELECT 'cast from ' || {} || ' to ' || {} || ' ' || o.castcontext::text \
             FROM pg_cast o WHERE o.oid >= {from}", type_name("o.castsource"), type_name("o.casttarget")),
        format!("SELECT 'language ' || o.lanname || ' ' || o.lanpltrusted || {} FROM pg_language o WHERE o.oid >= {from}", owner("lanowner")),
        format!("SELECT 'access method ' || o.amname FROM pg_am o WHERE o.oid >= {from}"),
        format!("SELECT 'event trigger ' || o.evtname || {} FROM pg_event_trigger o WHERE o.oid >= {from}", owner("evtowner")),
        format!("SELECT 'data wrapper ' || o.fdwname || {} FROM pg_foreign_data_wrapper o WHERE o.oid >= {from}", owner("fdwowner")),
        format!("SELECT 'foreign server ' || o.srvname || {} FROM pg_foreign_server o WHERE o.oid >= {from}", owner("srvowner")),
        format!("SELECT 'publication ' || o.pubname || {} FROM pg_publication o WHERE o.oid >= {from}", owner("pubowner")),
        format!("SELECT 'extension ' || o.extname || {} FROM pg_extension o WHERE o.oid >= {from}", owner("extowner")),
    ]
    .join(" UNION ALL ")
}

/// Whose each object of the database is, and which roles its policies name. A multirange is its range's, which not every
/// version notes apart.
fn owners() -> String {
    let own = "s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
               AND s.refclassid = 'pg_authid'::regclass AND s.deptype IN ('o', 'r')";
    let of = "' ' || s.deptype::text || ' ' || pg_get_userbyid(s.refobjid)";
    format!(
        "SELECT 'routine ' || {} || {of} FROM pg_shdepend s JOIN pg_proc o ON o.oid = s.objid \
         JOIN pg_namespace n ON n.oid = o.pronamespace WHERE s.classid = 'pg_proc'::regclass AND {own} \
         UNION ALL SELECT 'operator ' || n.nspname || '.' || o.oprname || '(' || {} || ', ' || {} || ')' || {of} \
         FROM pg_shdepend s JOIN pg_operator o ON o.oid = s.objid JOIN pg_namespace n ON n.oid = o.oprnamespace \
         WHERE s.classid = 'pg_operator'::regclass AND {own} \
         UNION ALL SELECT i.type || ' ' || i.identity || {of} FROM pg_shdepend s \
         CROSS JOIN LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) i \
         WHERE s.classid NOT IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND {own} \
         AND NOT EXISTS (SELECT 1 FROM pg_type t WHERE s.classid = 'pg_type'::regclass AND t.oid = s.objid AND t.typtype = 'm')",
        routine_name(),
        type_name("o.oprleft"),
        type_name("o.oprright")
    )
}

/// Roles, who is a member of whom, databases, and rights on parameters.
fn shared() -> String {
    "SELECT 'role ' || r.rolname || ' ' || concat_ws('|', r.oid, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, \
     r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil, md5(coalesce(r.rolpassword, ''))) \
     FROM pg_authid r WHERE r.oid = 10 OR (r.oid >= 16384 AND (r.rolsuper OR r.rolname !~ '^coffer_')) \
     UNION ALL SELECT 'role ' || r.rolname || ' has power' FROM pg_authid r WHERE r.oid <> 10 AND r.oid < 16384 \
     AND (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls) \
     UNION ALL SELECT DISTINCT 'member ' || m.rolname || ' of ' || g.rolname || ' ' || a.admin_option FROM pg_auth_members a \
     JOIN pg_authid g ON g.oid = a.roleid JOIN pg_authid m ON m.oid = a.member WHERE m.oid >= 16384 AND m.rolname !~ '^coffer_' \
     UNION ALL SELECT 'database ' || d.datname || ' ' || concat_ws('|', d.datistemplate, d.datallowconn, d.datconnlimit) \
     || ' of ' || pg_get_userbyid(d.datdba) FROM pg_database d \
     UNION ALL SELECT 'tablespace ' || t.spcname || ' of ' || pg_get_userbyid(t.spcowner) FROM pg_tablespace t"
        .to_owned()
}

/// What the server's own objects are, as one number for each catalogue. Rights are not in it.
const BUILT_IN: [(&str, &str); 10] = [
    (
        "pg_proc",
        "SELECT proname, pronamespace, proowner, prolang, prosecdef, proleakproof, provolatile, proisstrict, proparallel, prosrc, probin, proconfig FROM pg_proc WHERE oid < 12000",
    ),
    (
        "pg_operator",
        "SELECT oprname, oprowner, oprcode::oid, oprrest::oid, oprjoin::oid FROM pg_operator WHERE oid < 12000",
    ),
    (
        "pg_type",
        "SELECT typname, typowner, typinput::oid, typoutput::oid, typreceive::oid, typsend::oid, typanalyze::oid FROM pg_type WHERE oid < 12000",
    ),
    (
        "pg_cast",
        "SELECT castsource, casttarget, castfunc, castcontext, castmethod FROM pg_cast WHERE oid < 12000",
    ),
    (
        "pg_opclass",
        "SELECT opcmethod, opcname, opcowner, opcfamily, opcintype, opcdefault FROM pg_opclass WHERE oid < 12000",
    ),
    ("pg_amop", "SELECT amopfamily, amopstrategy, amopopr FROM pg_amop WHERE oid < 12000"),
    ("pg_amproc", "SELECT amprocfamily, amprocnum, amproc::oid FROM pg_amproc WHERE oid < 12000"),
    ("pg_am", "SELECT amname, amhandler::oid FROM pg_am WHERE oid < 12000"),
    (
        "pg_language",
        "SELECT lanname, lanowner, lanispl, lanpltrusted, lanplcallfoid, lanvalidator FROM pg_language WHERE oid < 12000",
    ),
    (
        "pg_class",
        "SELECT c.relname, c.relowner, c.relkind, c.relrowsecurity, c.relhastriggers, \
     (SELECT md5(string_agg(r.ev_action::text, '' ORDER BY r.oid)) FROM pg_rewrite r WHERE r.ev_class = c.oid) FROM pg_class c WHERE c.oid < 16384",
    ),
];

/// What the copy is given to run in each of its databases: it has the lines put aside.
pub fn put_aside(aside: &str) -> String {
    format!(
        "CREATE TABLE {aside}.objects (line) AS {}; CREATE TABLE {aside}.owners (line) AS {}",
        objects(0, aside),
        owners()
    )
}

/// The same, in our own database only, of what is the server's as a whole.
pub fn put_aside_shared(aside: &str) -> String {
    format!("CREATE TABLE {aside}.shared (line) AS {}", shared())
}

/// Compares a database of the new cluster with what was put aside of it.
pub async fn compare(inside: &Client, aside: &str, database: &str) -> Result<(), Error> {
    let doing = "look what the conversion brought into the server's own parts";
    inside.run(doing, "SET quote_all_identifiers = on").await?;
    let came =
        format!("{} EXCEPT SELECT line FROM {aside}.objects LIMIT 1", in_lines(&objects(LATER, aside)));
    refuse(inside, doing, &came, database, "was not in the old server").await?;
    let here = in_lines(&owners());
    let lost = format!("SELECT line FROM {aside}.owners EXCEPT ({here}) LIMIT 1");
    refuse(inside, doing, &lost, database, "is not there as in the old server").await?;
    let more = format!("({here}) EXCEPT SELECT line FROM {aside}.owners LIMIT 1");
    refuse(inside, doing, &more, database, "was not so in the old server").await?;
    if database == OWN_DATABASE {
        let here = in_lines(&shared());
        let lost = format!("SELECT line FROM {aside}.shared EXCEPT ({here}) LIMIT 1");
        refuse(inside, doing, &lost, "the server", "is not there as in the old server").await?;
        let more = format!("({here}) EXCEPT SELECT line FROM {aside}.shared LIMIT 1");
        refuse(inside, doing, &more, "the server", "was not so in the old server").await?;
    }
    Ok(())
}

/// A question's rows, as rows of one column.
fn in_lines(question: &str) -> String {
    format!("SELECT line FROM ({question}) q (line)")
}

async fn refuse(
    inside: &Client,
    doing: &'static str,
    sql: &str,
    place: &str,
    why: &str,
) -> Result<(), Error> {
    match inside.value(doing, sql).await? {
        Some(line) => Err(Error::Unexpected { doing, answer: format!("{place}: {line}: {why}") }),
        None => Ok(()),
    }
}

/// Looks whether the server's own objects are the same in every database; `databases` are all that can be looked at.
pub async fn built_in(server: &Server, databases: &[String]) -> Result<(), Error> {
    let doing = "look at the server's own objects";
    let mut first: Option<Vec<String>> = None;
    for database in databases {
        let inside = Client::connect_to(server, database).await?.patient(PATIENCE);
        let mut sums = Vec::new();
        for (catalogue, rows) in BUILT_IN {
            let sql = format!(
                "SELECT md5(string_agg(r::text, ',' ORDER BY r::text COLLATE \"C\")) FROM ({rows}) r"
            );
            let sum = inside.value(doing, &sql).await?.unwrap_or_default();
            sums.push(format!("{catalogue} {sum}"));
        }
        let Some(known) = &first else {
            first = Some(sums);
            continue;
        };
        if let Some((here, _)) = sums.iter().zip(known).find(|(here, there)| here != there) {
            let catalogue = here.split(' ').next().unwrap_or_default();
            let answer = format!(
                "{catalogue} of {database} is not that of {}",
                databases.first().map_or("", |name| name)
            );
            return Err(Error::Unexpected { doing, answer });
        }
    }
    Ok(())
}
