//! The parameters that a customer may set, and having a server take them.
//!
//! # Decision
//! The list of names is of what is offered, not of what is not: what a new version brings is offered when somebody has looked at
//! it. What is not in it, and why:
//! - paths, libraries to load, commands, sockets, TLS, authentication: it would leave the server's account or let others in;
//! - WAL, replication, workers, durability, `default_transaction_read_only`, prepared transactions: a fence and a switch rest on
//!   them;
//! - logs and what is printed into them: a statement in a log is a password in a log;
//! - `search_path`, `role`, `row_security`, `standard_conforming_strings`, locales: what our sessions and the engine's programs
//!   that carry an upgrade mean would be another thing; a tenant sets them for its databases and roles.
//!
//! What a session of ours begins with, it says when it connects; those that send and take changes have it said for their
//! accounts ([`shield`](super::settings::shield)).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Number, Value, json};
use tokio::time::Instant;

use crate::domain::operation::Refused;
use crate::domain::parameter::{Parameter, ParameterType, Values, written};
use crate::engines::configure::Standing;
use crate::engines::postgresql::config::{self, OUR_CONNECTIONS};
use crate::engines::postgresql::connection::{Client, quoted};
use crate::engines::{Error, Server, Settings};
use crate::runtimes::Layout;

/// What is offered, where a server of the version has it.
pub const OFFERED: [&str; 99] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "array_nulls",
    "autovacuum",
    "autovacuum_analyze_scale_factor",
    "autovacuum_analyze_threshold",
    "autovacuum_freeze_max_age",
    "autovacuum_max_workers",
    "autovacuum_multixact_freeze_max_age",
    "autovacuum_naptime",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_vacuum_cost_limit",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_insert_threshold",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold",
    "autovacuum_work_mem",
    "backend_flush_after",
    "bgwriter_delay",
    "bgwriter_flush_after",
    "bgwriter_lru_maxpages",
    "bgwriter_lru_multiplier",
    "bytea_output",
    "checkpoint_completion_target",
    "checkpoint_flush_after",
    "checkpoint_timeout",
    "client_connection_check_interval",
    "commit_delay",
    "commit_siblings",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "deadlock_timeout",
    "default_statistics_target",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "effective_cache_size",
    "effective_io_concurrency",
    "enable_async_append",
    "enable_bitmapscan",
    "enable_gathermerge",
    "enable_hashagg",
    "enable_hashjoin",
    "enable_incremental_sort",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_material",
    "enable_memoize",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_parallel_append",
    "enable_parallel_hash",
    "enable_partition_pruning",
    "enable_partitionwise_aggregate",
    "enable_partitionwise_join",
    "enable_seqscan",
    "enable_sort",
    "enable_tidscan",
    "extra_float_digits",
    "force_parallel_mode",
    "from_collapse_limit",
    "geqo",
    "geqo_effort",
    "geqo_generations",
    "geqo_pool_size",
    "geqo_seed",
    "geqo_selection_bias",
    "geqo_threshold",
    "gin_fuzzy_search_limit",
    "gin_pending_list_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "jit_above_cost",
    "join_collapse_limit",
    "lock_timeout",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_connections",
    "max_locks_per_transaction",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_pred_locks_per_transaction",
    "parallel_leader_participation",
    "plan_cache_mode",
    "random_page_cost",
    "seq_page_cost",
    "shared_buffers",
    "statement_timeout",
    "temp_buffers",
    "temp_file_limit",
    "vacuum_defer_cleanup_age",
    "work_mem",
];

/// Narrower bounds than the engine's: what we and the endpoint need, and what a server can be started with.
const BOUNDS: [(&str, i64, i64); 7] = [
    ("autovacuum_max_workers", 1, 20),
    // The endpoint lets 1,000 through at most.
    ("max_connections", 2 * OUR_CONNECTIONS as i64, 1_000),
    ("max_locks_per_transaction", 64, 4_096),
    ("max_pred_locks_per_transaction", 64, 4_096),
    ("shared_buffers", 2_048, i64::MAX),
    ("vacuum_defer_cleanup_age", 0, 1_000_000),
    ("checkpoint_timeout", 30, 3_600),
];

/// The most of the flavor's memory, in percent: of what the server has once, and of what each session may have.
const MEMORY: [(&str, u8); 6] = [
    ("autovacuum_work_mem", 25),
    ("gin_pending_list_limit", 25),
    ("maintenance_work_mem", 25),
    ("shared_buffers", 50),
    ("temp_buffers", 25),
    ("work_mem", 25),
];

/// How long a server may take to read its configuration again.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// The orders of a date's parts, with the styles that have them.
const DATE_STYLES: [&str; 12] = [
    "ISO, MDY",
    "ISO, DMY",
    "ISO, YMD",
    "SQL, MDY",
    "SQL, DMY",
    "SQL, YMD",
    "Postgres, MDY",
    "Postgres, DMY",
    "Postgres, YMD",
    "German, MDY",
    "German, DMY",
    "German, YMD",
];

fn number(value: Option<String>) -> Option<Number> {
    let value = value?;
    value
        .parse::<i64>()
        .map(Number::from)
        .ok()
        .or_else(|| value.parse::<f64>().ok().and_then(Number::from_f64))
}

/// Asks a server what there is.
pub async fn ask(client: &Client) -> Result<Vec<Parameter>, Error> {
    let names: Vec<String> = OFFERED.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "SELECT name, vartype, context, unit, min_val, max_val, array_to_string(enumvals, ',') FROM pg_settings \
         WHERE name IN ({}) AND context <> 'internal' ORDER BY name COLLATE \"C\"",
        names.join(", ")
    );
    let mut found = Vec::new();
    for row in client.rows("list the server's parameters", &sql).await? {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let (Some(name), Some(kind), Some(context)) = (next(), next(), next()) else { continue };
        let (unit, min, max, words) = (next(), number(next()), number(next()), next());
        let words: Vec<String> = words.iter().flat_map(|words| words.split(',')).map(str::to_owned).collect();
        let mut parameter = Parameter {
            kind: ParameterType::String,
            restart: context == "postmaster",
            min: None,
            max: None,
            values: Vec::new(),
            unit,
            memory_percent: MEMORY.iter().find(|(of, _)| *of == name).map(|(_, percent)| *percent),
            name,
        };
        match kind.as_str() {
            "bool" => parameter.kind = ParameterType::Boolean,
            "integer" => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Integer, min, max),
            "real" => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Float, min, max),
            "enum" => parameter.values = words,
            _ => parameter.values = texts(client, &parameter.name).await?,
        }
        if let Some((_, least, most)) = BOUNDS.iter().find(|(of, ..)| *of == parameter.name) {
            let bound = |number: &Option<Number>| number.as_ref().and_then(Number::as_i64);
            parameter.min = Some(bound(&parameter.min).unwrap_or(*least).max(*least).into());
            parameter.max = Some(bound(&parameter.max).unwrap_or(*most).min(*most).into());
        }
        found.push(parameter);
    }
    Ok(found)
}

/// The texts that a parameter takes of which the server itself gives no list.
async fn texts(client: &Client, name: &str) -> Result<Vec<String>, Error> {
    match name {
        "DateStyle" => Ok(DATE_STYLES.iter().map(|style| (*style).to_owned()).collect()),
        "TimeZone" => {
            let sql = "SELECT name FROM pg_timezone_names WHERE name !~ '^posix' ORDER BY name COLLATE \"C\"";
            client.column("list the server's time zones", sql).await
        }
        _ => Ok(Vec::new()),
    }
}

/// The lines of the configuration that have the values.
pub fn lines(values: &Values) -> String {
    values.iter().map(|(name, value)| format!("{name} = {}\n", config::quoted(&written(value)))).collect()
}

/// What the configuration has of what is offered, without a group.
pub fn defaults(server: &Server, layout: &Layout) -> BTreeMap<String, Value> {
    let settings = Settings { parameters: Values::new(), ..server.settings.clone() };
    let text = config::main(&Server { settings, ..server.clone() }, layout);
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .filter_map(|(name, value)| {
            let name = OFFERED.iter().find(|offered| offered.eq_ignore_ascii_case(name))?;
            let value = value.trim_matches('\'');
            let whole = value.parse::<i64>().ok();
            Some(((*name).to_owned(), whole.map_or_else(|| json!(value), |whole| json!(whole))))
        })
        .collect()
}

/// Has a server that runs read its configuration again, which is written. Gives what it says of a line that it does not take.
pub async fn read_again(client: &Client) -> Result<Option<Refused>, Error> {
    let doing = "have the server read its configuration";
    let before = client.value(doing, "SELECT pg_conf_load_time()::text").await?;
    client.run(doing, "SELECT pg_reload_conf()").await?;
    let deadline = Instant::now() + READ_AGAIN;
    // What the file has wrong is known at once; what waits for a start is no error of it.
    let wrong = "SELECT string_agg(coalesce(f.name, 'a line') || ': ' || f.error, '; ') FROM pg_file_settings f \
                 WHERE f.error IS NOT NULL AND NOT EXISTS (SELECT FROM pg_settings s \
                 WHERE lower(s.name) = lower(f.name) AND s.context = 'postmaster')";
    if let Some(message) = client.value(doing, wrong).await? {
        return Ok(Some(Refused::Rejected { message }));
    }
    while client.value(doing, "SELECT pg_conf_load_time()::text").await? == before {
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{doing}: timed out")));
        }
        tokio::time::sleep(super::LOOK_EVERY).await;
    }
    Ok(None)
}

/// How the server stands to its configuration.
pub async fn standing(client: &Client) -> Result<Standing, Error> {
    let doing = "ask what a server was started with";
    let pending = "SELECT 1 FROM pg_settings WHERE pending_restart";
    let needs_restart = client.is_there(doing, pending).await?;
    let connections = client.value(doing, "SELECT current_setting('max_connections')").await?;
    let connections = connections.and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    Ok(Standing { needs_restart, connections: connections.saturating_sub(OUR_CONNECTIONS).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_fit_together() {
        for name in BOUNDS.iter().map(|(name, ..)| name).chain(MEMORY.iter().map(|(name, _)| name)) {
            assert!(OFFERED.contains(name), "{name}");
        }
        assert!(OFFERED.is_sorted());
    }

    #[test]
    fn values_are_written_so_that_the_server_reads_them() {
        let values = Values::from([
            ("TimeZone".to_owned(), json!("Europe/Berlin")),
            ("jit".to_owned(), json!(true)),
            ("random_page_cost".to_owned(), json!(1.1)),
        ]);
        assert_eq!(lines(&values), "TimeZone = 'Europe/Berlin'\njit = 'ON'\nrandom_page_cost = '1.1'\n");
    }
}
