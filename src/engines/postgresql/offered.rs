//! The parameters that a customer may set, and how their values stand in a server's configuration.
//!
//! # Decision
//! The list of names is of what is offered, not of what is not: what a new version brings is offered when somebody has looked at
//! it. What is not in it, and why:
//! - paths, libraries to load, commands, sockets, TLS, authentication: it would leave the server's account or let others in;
//! - WAL, replication, workers, durability, `default_transaction_read_only`, prepared transactions: a fence and a switch rest on
//!   them;
//! - `idle_session_timeout`, `transaction_timeout`, `temp_file_limit`: they would end what carries an upgrade;
//! - logs and what is printed into them: a statement in a log is a password in a log;
//! - `search_path`, `role`, `row_security`, `standard_conforming_strings`, locales: what our sessions and the engine's programs
//!   that carry an upgrade mean would be another thing; a tenant sets them for its databases and roles.
//!
//! What a session of ours begins with, it says when it connects; those that send and take changes have it said for their
//! accounts ([`shield`](super::settings::shield)).

use crate::domain::parameter::{Values, written};

/// Connections beyond the tenant's: the endpoint lets fewer through, so that we and a replica always get in.
pub const OUR_CONNECTIONS: u32 = 24;

/// What is offered, where a server of the version has it.
pub const OFFERED: [&str; 95] = [
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
    "work_mem",
];

/// Narrower bounds than the engine's: what we and the endpoint need, and what a server can be started with.
pub const BOUNDS: [(&str, i64, i64); 6] = [
    ("autovacuum_max_workers", 1, 20),
    // The endpoint lets 1,000 through at most.
    ("max_connections", 2 * OUR_CONNECTIONS as i64, 1_000),
    ("max_locks_per_transaction", 64, 256),
    ("max_pred_locks_per_transaction", 64, 256),
    ("shared_buffers", 2_048, i64::MAX),
    ("checkpoint_timeout", 30, 3_600),
];

/// The most of the flavor's memory, in percent: of what the server has once, and of what each session may have.
pub const MEMORY: [(&str, u8); 6] = [
    ("autovacuum_work_mem", 25),
    ("gin_pending_list_limit", 25),
    ("maintenance_work_mem", 25),
    ("shared_buffers", 50),
    ("temp_buffers", 25),
    ("work_mem", 25),
];

/// A value as the configuration reads it.
pub fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// The lines of the configuration that have the values.
pub fn lines(values: &Values) -> String {
    values.iter().map(|(name, value)| format!("{name} = {}\n", quoted(&written(value)))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
