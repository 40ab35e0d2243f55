//! The parameters that a customer may set, and having a server take them.
//!
//! # Decision
//! The list of names is of what is offered, not of what is not: what a new version brings is offered when somebody has looked at
//! it. What is not in it, and why:
//! - paths, plugins, sockets, TLS, what is read from files or run at a connection's begin: it would leave the server's account;
//! - the binary log, replication, durability, `read_only`, the event scheduler: a fence and a switch rest on them;
//! - logs: a statement in a log is a password in a log;
//! - `max_user_connections`, `max_prepared_stmt_count`, `sql_select_limit`, `autocommit`, `max_statement_time` and the like:
//!   they would be our own sessions' too, or those of the engine's programs that carry an upgrade;
//! - `lower_case_table_names`, `innodb_page_size`: the data are made for one value.
//!
//! What a session of ours depends on of what is offered, it sets for itself ([`Client::connect`]).
//!
//! # Whether a server has what its configuration says
//! A read-only variable has its value from the server's start, and what the server shows of it may be another text than
//! what was written. So the configuration has a mark of those values in a variable that nothing else uses and that nobody can
//! change while the server runs (`report_user`): a server whose mark is another one was started with other values.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Number, Value, json};
use sha2::{Digest as _, Sha256};

use crate::domain::operation::Refused;
use crate::domain::parameter::{Parameter, ParameterType, Values, character_set_of, written};
use crate::engines::configure::Standing;
use crate::engines::mariadb::config::{self, OUR_CONNECTIONS};
use crate::engines::mariadb::connection::{Client, quoted};
use crate::engines::{Error, Server, Settings};
use crate::runtimes::Layout;

/// What is offered, where a server of the version has it.
pub const OFFERED: [&str; 100] = [
    "aria_pagecache_buffer_size",
    "aria_sort_buffer_size",
    "auto_increment_increment",
    "auto_increment_offset",
    "back_log",
    "binlog_cache_size",
    "bulk_insert_buffer_size",
    "character_set_server",
    "collation_server",
    "concurrent_insert",
    "connect_timeout",
    "default_week_format",
    "div_precision_increment",
    "eq_range_index_dive_limit",
    "expensive_subquery_limit",
    "ft_max_word_len",
    "ft_min_word_len",
    "ft_query_expansion_limit",
    "group_concat_max_len",
    "histogram_size",
    "histogram_type",
    "host_cache_size",
    "idle_readonly_transaction_timeout",
    "idle_transaction_timeout",
    "idle_write_transaction_timeout",
    "in_predicate_conversion_threshold",
    "innodb_adaptive_flushing",
    "innodb_adaptive_flushing_lwm",
    "innodb_adaptive_hash_index",
    "innodb_autoextend_increment",
    "innodb_autoinc_lock_mode",
    "innodb_buffer_pool_size",
    "innodb_change_buffer_max_size",
    "innodb_change_buffering",
    "innodb_compression_default",
    "innodb_compression_level",
    "innodb_deadlock_detect",
    "innodb_default_row_format",
    "innodb_flush_neighbors",
    "innodb_flushing_avg_loops",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_ft_result_cache_limit",
    "innodb_io_capacity",
    "innodb_io_capacity_max",
    "innodb_lock_wait_timeout",
    "innodb_lru_scan_depth",
    "innodb_max_dirty_pages_pct",
    "innodb_max_dirty_pages_pct_lwm",
    "innodb_max_purge_lag",
    "innodb_max_purge_lag_delay",
    "innodb_old_blocks_pct",
    "innodb_old_blocks_time",
    "innodb_online_alter_log_max_size",
    "innodb_optimize_fulltext_only",
    "innodb_purge_batch_size",
    "innodb_purge_threads",
    "innodb_random_read_ahead",
    "innodb_read_ahead_threshold",
    "innodb_read_io_threads",
    "innodb_rollback_on_timeout",
    "innodb_sort_buffer_size",
    "innodb_stats_auto_recalc",
    "innodb_stats_persistent",
    "innodb_stats_persistent_sample_pages",
    "innodb_stats_transient_sample_pages",
    "innodb_sync_spin_loops",
    "innodb_write_io_threads",
    "interactive_timeout",
    "join_buffer_size",
    "join_cache_level",
    "key_buffer_size",
    "lock_wait_timeout",
    "max_connect_errors",
    "max_connections",
    "max_error_count",
    "max_heap_table_size",
    "max_length_for_sort_data",
    "max_sort_length",
    "max_sp_recursion_depth",
    "myisam_sort_buffer_size",
    "net_read_timeout",
    "net_retry_count",
    "net_write_timeout",
    "optimizer_prune_level",
    "optimizer_search_depth",
    "optimizer_switch",
    "optimizer_use_condition_selectivity",
    "read_buffer_size",
    "read_rnd_buffer_size",
    "sort_buffer_size",
    "sql_mode",
    "table_definition_cache",
    "table_open_cache",
    "thread_cache_size",
    "time_zone",
    "tmp_table_size",
    "tx_isolation",
    "use_stat_tables",
    "wait_timeout",
];

/// Those that have their value from the server's start. The buffer pool is among them: a server of 11.8 grows it while it
/// runs only as far as it was told when it started.
pub const RESTART: [&str; 14] = [
    "aria_pagecache_buffer_size",
    "back_log",
    "ft_max_word_len",
    "ft_min_word_len",
    "ft_query_expansion_limit",
    "innodb_autoinc_lock_mode",
    "innodb_buffer_pool_size",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_purge_threads",
    "innodb_read_io_threads",
    "innodb_rollback_on_timeout",
    "innodb_sort_buffer_size",
    "innodb_write_io_threads",
];

/// Narrower bounds than the engine's: what we and the endpoint need, and what a server can be started with.
const BOUNDS: [(&str, i64, i64); 9] = [
    ("back_log", 1, 65_535),
    ("innodb_buffer_pool_size", 32 << 20, i64::MAX),
    ("innodb_read_io_threads", 1, 64),
    ("innodb_write_io_threads", 2, 64),
    // The endpoint lets 1,000 through at most.
    ("max_connections", 2 * OUR_CONNECTIONS as i64, 1_000),
    ("table_definition_cache", 400, 100_000),
    ("table_open_cache", 100, 4_000),
    ("thread_cache_size", 0, 1_000),
    ("host_cache_size", 0, 65_536),
];

/// The most of the flavor's memory, in percent: of what the server has once, and of what each session may have.
const MEMORY: [(&str, u8); 14] = [
    ("aria_pagecache_buffer_size", 25),
    ("aria_sort_buffer_size", 25),
    ("binlog_cache_size", 5),
    ("bulk_insert_buffer_size", 10),
    ("innodb_buffer_pool_size", 70),
    ("innodb_ft_result_cache_limit", 100),
    ("join_buffer_size", 5),
    ("key_buffer_size", 25),
    ("max_heap_table_size", 25),
    ("myisam_sort_buffer_size", 25),
    ("read_buffer_size", 5),
    ("read_rnd_buffer_size", 5),
    ("sort_buffer_size", 5),
    ("tmp_table_size", 25),
];

/// How a variable is called in a configuration file, where that is not its own name.
const OPTIONS: [(&str, &str); 2] =
    [("time_zone", "default-time-zone"), ("tx_isolation", "transaction-isolation")];

fn is_of_the_start(name: &str) -> bool {
    RESTART.contains(&name)
}

fn number(value: Option<String>) -> Option<Number> {
    let value = value?;
    if let Ok(whole) = value.parse::<i64>() {
        return Some(whole.into());
    }
    match value.parse::<u64>() {
        // No number of a client's is that large.
        Ok(_) => Some(i64::MAX.into()),
        Err(_) => value.parse::<f64>().ok().and_then(Number::from_f64),
    }
}

/// Asks a server what there is.
pub async fn ask(client: &mut Client) -> Result<Vec<Parameter>, Error> {
    let doing = "list the server's variables";
    let names: Vec<String> = OFFERED.iter().map(|name| quoted(name)).collect();
    let sql = format!(
        "SELECT LOWER(VARIABLE_NAME), VARIABLE_TYPE, NUMERIC_MIN_VALUE, NUMERIC_MAX_VALUE, ENUM_VALUE_LIST, READ_ONLY \
         FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME IN ({}) AND VARIABLE_SCOPE <> 'SESSION ONLY' ORDER BY 1",
        names.join(", ")
    );
    let rows = client.rows(doing, &sql).await?;
    let mut found = Vec::new();
    for row in rows {
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let (Some(name), Some(kind)) = (next(), next()) else { continue };
        let (min, max, words, read_only) = (number(next()), number(next()), next(), next());
        let mut parameter = Parameter {
            restart: read_only.as_deref() == Some("YES") || is_of_the_start(&name),
            memory_percent: MEMORY.iter().find(|(of, _)| *of == name).map(|(_, percent)| *percent),
            kind: ParameterType::String,
            min: None,
            max: None,
            values: Vec::new(),
            unit: None,
            name,
        };
        let listed = || words.iter().flat_map(|words| words.split(',')).map(str::to_owned).collect();
        match kind.as_str() {
            "BOOLEAN" => parameter.kind = ParameterType::Boolean,
            "DOUBLE" => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Float, min, max),
            // A character set, of which there is no list here, is an ENUM, too.
            "ENUM" if words.is_none() => parameter.values = texts(client, &parameter.name).await?,
            "ENUM" => parameter.values = listed(),
            "SET" => (parameter.kind, parameter.values) = (ParameterType::List, listed()),
            "FLAGSET" => {
                (parameter.kind, parameter.values) = (ParameterType::Switches, listed());
                parameter.values.retain(|word| word != "default");
            }
            "VARCHAR" => parameter.values = texts(client, &parameter.name).await?,
            _ => (parameter.kind, parameter.min, parameter.max) = (ParameterType::Integer, min, max),
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

/// The texts that a variable takes of which the server itself gives no list.
async fn texts(client: &mut Client, name: &str) -> Result<Vec<String>, Error> {
    let sql = match name {
        "character_set_server" => {
            "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS ORDER BY 1"
        }
        "collation_server" => {
            "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY ORDER BY 1"
        }
        // Names of zones are not in the server's tables.
        "time_zone" => {
            let quarters = (-48..=52).map(|quarter: i32| {
                let sign = if quarter < 0 { '-' } else { '+' };
                format!("{sign}{:02}:{:02}", quarter.abs() / 4, quarter.abs() % 4 * 15)
            });
            return Ok(std::iter::once("SYSTEM".to_owned()).chain(quarters).collect());
        }
        _ => return Ok(Vec::new()),
    };
    Ok(client
        .rows("list a variable's values", sql)
        .await?
        .into_iter()
        .filter_map(|row| row.into_iter().next()?)
        .collect())
}

/// A mark of the values that a server has from its start; `None` where there are none.
fn mark(values: &Values) -> Option<String> {
    let mut hash = Sha256::new();
    let mut any = false;
    for (name, value) in values.iter().filter(|(name, _)| is_of_the_start(name)) {
        any = true;
        hash.update(format!("{name}={}\n", written(value)));
    }
    let digest = hash.finalize();
    any.then(|| {
        digest.iter().take(8).fold(String::from("settings-"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
}

/// The lines of the configuration that have the values. `loose-`: the pre-check of an upgrade has told what another version
/// does not know, and a server that does not start would be worse.
pub fn lines(values: &Values) -> String {
    let mut text = String::new();
    // A collation that is not of the character set keeps the server from starting.
    let collation = values.get("collation_server").and_then(Value::as_str);
    if let Some(collation) = collation {
        let _ = writeln!(text, "character-set-server={}", character_set_of(collation));
    }
    for (name, value) in values {
        if name == "character_set_server" && collation.is_some() {
            continue;
        }
        let option = OPTIONS
            .iter()
            .find(|(of, _)| of == name)
            .map_or_else(|| name.replace('_', "-"), |(_, it)| (*it).to_owned());
        let value = match value {
            Value::String(text) => format!("\"{text}\""),
            other => written(other),
        };
        let _ = writeln!(text, "loose-{option}={value}");
    }
    if let Some(mark) = mark(values) {
        let _ = writeln!(text, "report-user={mark}");
    }
    text
}

/// What the configuration has of what is offered, without a group.
pub fn defaults(server: &Server, layout: &Layout) -> BTreeMap<String, Value> {
    let settings = Settings { parameters: Values::new(), ..server.settings.clone() };
    let text = config::text(&settings, &server.version, false, layout);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let offered = pairs
        .map(|(option, value)| (option.replace('-', "_"), value))
        .filter(|(name, _)| OFFERED.contains(&name.as_str()));
    offered
        .map(|(name, value)| {
            let megabytes = value.strip_suffix('M').and_then(|count| count.parse::<u64>().ok());
            let whole = megabytes.map(|count| count << 20).or_else(|| value.parse().ok());
            (name, whole.map_or_else(|| json!(value), |whole| json!(whole)))
        })
        .collect()
}

/// A value in a statement.
fn sql(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => written(other),
    }
}

/// Sets at run time what can be: the values, and the defaults of what has none any more.
pub async fn apply(
    client: &mut Client,
    values: &Values,
    defaults: &BTreeMap<String, Value>,
) -> Result<Option<Refused>, Error> {
    let names: Vec<String> =
        OFFERED.iter().filter(|name| !is_of_the_start(name)).map(|name| quoted(name)).collect();
    let select = format!(
        "SELECT LOWER(VARIABLE_NAME), GLOBAL_VALUE_ORIGIN FROM information_schema.SYSTEM_VARIABLES \
         WHERE VARIABLE_NAME IN ({}) AND READ_ONLY = 'NO' AND VARIABLE_SCOPE <> 'SESSION ONLY' ORDER BY 1",
        names.join(", ")
    );
    for row in client.rows("list what a server's variables have", &select).await? {
        let mut row = row.into_iter();
        let (Some(name), origin) = (row.next().flatten(), row.next().flatten()) else { continue };
        // A server has one of both, which has its character set.
        if name == "character_set_server" && values.contains_key("collation_server") {
            continue;
        }
        if name == "collation_server" && !values.contains_key("collation_server") {
            continue;
        }
        let value = match (values.get(&name), defaults.get(&name)) {
            (Some(value), _) | (None, Some(value)) => sql(value),
            // It has what it had from the beginning, or chose by itself.
            (None, None) if !matches!(origin.as_deref(), Some("SQL" | "CONFIG")) => continue,
            // It knows no default of this one.
            (None, None) if name == "time_zone" => "'SYSTEM'".to_owned(),
            (None, None) => "DEFAULT".to_owned(),
        };
        match client.run("set a parameter", &format!("SET GLOBAL {name} = {value}")).await {
            Ok(()) => {}
            // It has judged the value, and takes it never.
            Err(Error::Refused { code: 1231 | 1232 | 1115 | 1273 | 1253 | 1210, message, .. }) => {
                return Ok(Some(Refused::Rejected { message }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// How the server stands to its configuration.
pub async fn standing(client: &mut Client, values: &Values) -> Result<Standing, Error> {
    let sql = "SELECT COALESCE(@@GLOBAL.report_user, ''), @@GLOBAL.max_connections";
    let row = client.row("ask what a server was started with", sql).await?.unwrap_or_default();
    let mut row = row.into_iter();
    let started_with = row.next().flatten().unwrap_or_default();
    let connections = row.next().flatten().and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    Ok(Standing {
        needs_restart: started_with != mark(values).unwrap_or_default(),
        connections: connections.saturating_sub(OUR_CONNECTIONS).max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_fit_together() {
        for name in RESTART
            .iter()
            .chain(BOUNDS.iter().map(|(name, ..)| name))
            .chain(MEMORY.iter().map(|(name, _)| name))
        {
            assert!(OFFERED.contains(name), "{name}");
        }
        assert!(OFFERED.is_sorted() && RESTART.is_sorted());
    }

    #[test]
    fn values_are_written_so_that_the_server_reads_them() {
        let values = Values::from([
            ("collation_server".to_owned(), json!("latin1_swedish_ci")),
            ("innodb_rollback_on_timeout".to_owned(), json!(true)),
            ("time_zone".to_owned(), json!("+02:00")),
            ("max_connections".to_owned(), json!(120)),
        ]);
        let text = lines(&values);
        for line in [
            "character-set-server=latin1",
            "loose-collation-server=\"latin1_swedish_ci\"",
            "loose-innodb-rollback-on-timeout=ON",
            "loose-default-time-zone=\"+02:00\"",
            "loose-max-connections=120",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(text.contains("report-user=settings-"));
    }

    #[test]
    fn the_mark_is_of_what_needs_a_start() {
        let with = |name: &str, value: Value| Values::from([(name.to_owned(), value)]);
        assert_eq!(mark(&with("max_connections", json!(120))), None);
        let on = mark(&with("innodb_rollback_on_timeout", json!(true)));
        assert!(on.is_some() && on != mark(&with("innodb_rollback_on_timeout", json!(false))));
    }
}
