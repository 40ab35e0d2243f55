//! What the engines themselves say they know, held against the zoo: a new version's new type, catalogue, column, access
//! method, engine or collation fails until somebody has decided what becomes of it.
//!
//! `COFFER_UPDATE=1` writes the columns that the engines' catalogues have into the lists beside this file; whoever runs
//! it reads what is new there and tells it in the zoo.

use std::collections::BTreeSet;

use super::{mariadb, postgresql, reader_mariadb, reader_postgresql};
use crate::engine_servers::House;
use crate::postgres_servers::{self, rows, started};

/// Types that no column of a tenant's can have, and why.
const NO_COLUMNS: &[(&str, &str)] = &[
    ("aclitem", "is a column of the thing types_of_numbers"),
    ("gtsvector", "stands in indexes alone"),
    ("pg_brin_bloom_summary", "stands in indexes alone"),
    ("pg_brin_minmax_multi_summary", "stands in indexes alone"),
    ("pg_dependencies", "stands in statistics alone"),
    ("pg_mcv_list", "stands in statistics alone"),
    ("pg_ndistinct", "stands in statistics alone"),
    ("pg_node_tree", "stands in catalogues alone"),
];

/// Catalogues in which the zoo has no row, and why.
const NO_ROWS: &[(&str, &str)] = &[
    ("pg_amop", "only a superuser makes operator families"),
    ("pg_amproc", "only a superuser makes operator families"),
    ("pg_auth_members", "only the service makes roles"),
    ("pg_event_trigger", "only a superuser makes event triggers"),
    ("pg_foreign_data_wrapper", "only a superuser makes foreign data wrappers"),
    ("pg_foreign_server", "there is no foreign data wrapper that a tenant may use"),
    ("pg_foreign_table", "there is no foreign server"),
    ("pg_opclass", "only a superuser makes operator classes"),
    ("pg_opfamily", "only a superuser makes operator families"),
    ("pg_publication_namespace", "only a superuser publishes a schema"),
    ("pg_subscription", "only a superuser, or who may create subscriptions, makes one"),
    ("pg_subscription_rel", "there is no subscription"),
    ("pg_transform", "only who owns a language makes a transform"),
    ("pg_ts_parser", "only a superuser makes parsers"),
    ("pg_ts_template", "only a superuser makes templates"),
    ("pg_user_mapping", "there is no foreign server"),
];

/// Trusted extensions that the zoo does not make, and why.
const NO_EXTENSION: &[(&str, &str)] = &[("plpgsql", "is there from birth")];

fn list(name: &str, found: &BTreeSet<String>) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/zoo").join(name);
    if std::env::var_os("COFFER_UPDATE").is_some() {
        let lines: Vec<&str> = found.iter().map(String::as_str).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let known: BTreeSet<String> =
        std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    found.difference(&known).map(|column| format!("{column} is in no list: {name}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_postgresql_knows_is_told() {
    let house = House::new();
    let server = started(&house, "18.0").await;
    postgresql::make(
        &server,
        &super::things("postgresql.sql").into_iter().filter(|thing| thing.is_of(18)).collect::<Vec<_>>(),
        false,
    )
    .await;
    let client = postgres_servers::own(&server, "shop").await;
    let mut wrong = Vec::new();
    let told = |what: &str, list: &[(&str, &str)]| list.iter().any(|(name, _)| *name == what);

    // Each type that a column can have is a column's, in a row that is not empty.
    let types = "SELECT t.typname FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') \
                 AND t.typcategory <> 'A' AND NOT EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.atttypid = t.oid AND c.relkind = 'r' AND n.nspname ~ '^z_types')";
    for name in rows(&client, types).await {
        if !told(&name, NO_COLUMNS) {
            wrong.push(format!("no column of the zoo's is of the type {name}"));
        }
    }
    let methods = "SELECT amname FROM pg_am m WHERE NOT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.relam = m.oid AND n.nspname ~ '^z_')";
    wrong.extend(
        rows(&client, methods).await.into_iter().map(|name| format!("nothing uses the access method {name}")),
    );
    let classes = "SELECT opcname, opcmethod FROM pg_opclass o WHERE opcnamespace = 'pg_catalog'::regnamespace AND opcintype NOT IN ('aclitem'::regtype, 'cstring'::regtype) \
                   AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE o.oid = ANY (i.indclass::oid[]))";
    wrong.extend(
        rows(&client, classes)
            .await
            .into_iter()
            .map(|name| format!("no index is of the operator class {name}")),
    );
    let extensions = "SELECT DISTINCT v.name FROM pg_available_extension_versions v WHERE v.trusted AND NOT EXISTS (SELECT 1 FROM pg_extension e WHERE e.extname = v.name)";
    for name in rows(&client, extensions).await {
        if !told(&name, NO_EXTENSION) {
            wrong.push(format!("the zoo does not make the extension {name}"));
        }
    }
    // Each kind that the server describes is there.
    for (what, of, kinds) in [
        ("relation", "SELECT DISTINCT relkind FROM pg_class WHERE oid >= 16384", "rpvmSicI"),
        ("constraint", "SELECT DISTINCT contype FROM pg_constraint WHERE oid >= 16384", "cfnptux"),
        ("routine", "SELECT DISTINCT prokind FROM pg_proc WHERE oid >= 16384", "fpa"),
        ("type", "SELECT DISTINCT typtype FROM pg_type WHERE oid >= 16384", "bcderm"),
        ("trigger's state", "SELECT DISTINCT tgenabled FROM pg_trigger WHERE NOT tgisinternal", "ODAR"),
        (
            "identity of rows",
            "SELECT DISTINCT relreplident FROM pg_class WHERE relkind = 'r' AND oid >= 16384",
            "dfi",
        ),
        ("policy", "SELECT DISTINCT polcmd FROM pg_policy", "*rawd"),
        ("rule", "SELECT DISTINCT ev_type FROM pg_rewrite WHERE oid >= 16384", "1234"),
        ("partition", "SELECT DISTINCT partstrat FROM pg_partitioned_table", "rlh"),
        ("cast", "SELECT DISTINCT castcontext FROM pg_cast WHERE oid >= 16384", "iae"),
    ] {
        let found = rows(&client, of).await.concat();
        wrong.extend(
            kinds
                .chars()
                .filter(|kind| !found.contains(*kind))
                .map(|kind| format!("there is no {what} of the kind {kind}")),
        );
    }

    // Each catalogue has a row, or it is told why not; each of its columns is known.
    let columns = reader_postgresql::columns(&server).await;
    let lines = reader_postgresql::read(&server, "shop", &columns).await;
    let filled: BTreeSet<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    for catalogue in columns.keys().map(String::as_str) {
        let other = reader_postgresql::OTHER.contains(&catalogue);
        if !other && !filled.contains(catalogue) && !told(catalogue, NO_ROWS) {
            wrong.push(format!("the zoo has no row in {catalogue}"));
        }
        if filled.contains(catalogue) && told(catalogue, NO_ROWS) {
            wrong.push(format!("the zoo has rows in {catalogue} after all"));
        }
    }
    let all = columns
        .iter()
        .flat_map(|(catalogue, columns)| columns.keys().map(move |column| format!("{catalogue}.{column}")));
    wrong.extend(list("postgresql.columns", &all.collect()));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Storage engines that hold no table of a tenant's.
const NO_TABLES: &[(&str, &str)] =
    &[("SEQUENCE", "makes numbers up, and holds none"), ("PERFORMANCE_SCHEMA", "is the server's own")];

/// What the server's help calls a type and is none, or another word for one.
const NO_TYPES: &[&str] = &[
    "AUTO_INCREMENT",
    "Numeric Data Type Overview",
    "Floating-point Accuracy",
    "ROW",
    "BOOLEAN",
    "CHAR BYTE",
    "BLOB and TEXT Data Types",
];

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_mariadb_knows_is_told() {
    let house = House::new();
    let server = house.started("11.8.0", false).await;
    mariadb::make(&server, &super::things("mariadb.sql"), false).await;
    let mut conn = crate::engine_servers::own(&server).await;
    let mut wrong = Vec::new();
    let engines = "SELECT ENGINE FROM information_schema.ENGINES e WHERE SUPPORT IN ('YES', 'DEFAULT') AND NOT EXISTS \
                   (SELECT 1 FROM information_schema.TABLES t WHERE t.ENGINE = e.ENGINE AND t.TABLE_SCHEMA LIKE 'z\\_%')";
    for row in reader_mariadb::rows(&mut conn, engines).await {
        if !NO_TABLES.iter().any(|(name, _)| *name == row[0]) {
            wrong.push(format!("no table of the zoo's is of the engine {}", row[0]));
        }
    }
    let used: BTreeSet<String> = reader_mariadb::rows(
        &mut conn,
        "SELECT DISTINCT UPPER(SUBSTRING_INDEX(SUBSTRING_INDEX(COLUMN_TYPE, '(', 1), ' ', 1)) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA LIKE 'z\\_%'",
    )
    .await
    .into_iter()
    .map(|row| row[0].clone())
    .collect();
    let help = "SELECT t.name FROM mysql.help_topic t JOIN mysql.help_category c USING (help_category_id) WHERE c.name='Data Types' \
                UNION SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_TYPE='DATA TYPE'";
    for row in reader_mariadb::rows(&mut conn, help).await {
        let word = row[0].split(' ').next().unwrap().to_uppercase();
        // A document is kept as a text.
        let word = if word == "JSON" { "LONGTEXT".to_owned() } else { word };
        if !NO_TYPES.contains(&row[0].as_str()) && !used.contains(&word) {
            wrong.push(format!("no column of the zoo's is of the type {}", row[0]));
        }
    }
    let collations = "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE FULL_COLLATION_NAME NOT IN \
                      (SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA LIKE 'z\\_%' AND COLLATION_NAME IS NOT NULL) AND FULL_COLLATION_NAME <> 'binary'";
    wrong.extend(
        reader_mariadb::rows(&mut conn, collations)
            .await
            .into_iter()
            .map(|row| format!("no column has the collation {}", row[0])),
    );
    let columns = reader_mariadb::columns(&server).await;
    let all = columns
        .iter()
        .flat_map(|(table, columns)| columns.iter().map(move |column| format!("{table}.{column}")));
    wrong.extend(list("mariadb.columns", &all.collect()));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
