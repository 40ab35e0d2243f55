//! The parameters that a customer may set, and how their values stand in a server's configuration.
//!
//! # Decision
//! The list of names is of what is offered, not of what is not: what a new version brings is offered when somebody has looked at
//! it. What is not in it, and why:
//! - paths, plugins, sockets, TLS, what is read from files or run at a connection's begin: it would leave the server's account;
//! - the binary log, replication, durability, `read_only`, the event scheduler: a fence and a switch rest on them;
//! - logs: a statement in a log is a password in a log;
//! - `max_user_connections`, `max_prepared_stmt_count`, `sql_select_limit`, `autocommit`, `max_statement_time` and the like:
//!   they would be our own sessions' too, or those of the engine's programs that carry an upgrade;
//! - `lower_case_table_names`, `innodb_page_size`, `ft_min_word_len`: the data, or an index of them, are made for one value;
//!   `innodb_default_row_format`: what a copy makes would be another table.
//!
//! What a session of ours depends on of what is offered, it sets for itself ([`Client::connect`](super::connection::Client::connect)).

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::domain::parameter::{Values, character_set_of, written};

/// Connections beyond the tenant's: the endpoint lets fewer through, so that we and a replica always get in.
pub const OUR_CONNECTIONS: u32 = 16;

/// The most connections that a server can be given, ours included: the endpoint lets 1,000 through at most. Its list of who holds
/// a lock has its size from the start, where connections can be more while it runs.
pub const MOST_CONNECTIONS: u32 = 1_000;

/// What is offered, where a server of the version has it.
pub const OFFERED: [&str; 97] = [
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
pub const RESTART: [&str; 12] = [
    "aria_pagecache_buffer_size",
    "back_log",
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
pub const BOUNDS: [(&str, i64, i64); 11] = [
    ("back_log", 1, 65_535),
    ("innodb_buffer_pool_size", 32 << 20, i64::MAX),
    // None at all is refused.
    ("key_buffer_size", 16_384, i64::MAX),
    ("innodb_read_io_threads", 1, 64),
    ("innodb_write_io_threads", 2, 64),
    ("max_connections", 2 * OUR_CONNECTIONS as i64, MOST_CONNECTIONS as i64),
    // The engine's programs sort names of objects.
    ("sort_buffer_size", 262_144, i64::MAX),
    ("table_definition_cache", 400, 100_000),
    ("table_open_cache", 100, 4_000),
    ("thread_cache_size", 0, 1_000),
    ("host_cache_size", 0, 65_536),
];

/// The most of the flavor's memory, in percent: of what the server has once, and of what each session may have.
pub const MEMORY: [(&str, u8); 14] = [
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

pub fn is_of_the_start(name: &str) -> bool {
    RESTART.contains(&name)
}

/// A mark of the values that a server has from its start; `None` where there are none.
pub fn mark(values: &Values) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
