//! One test binary: a harness, then a file per capability. Everything talks to real servers.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod accounts;
mod api_away;
mod api_codes;
mod api_door;
mod api_faults;
mod api_limits;
mod api_matrix;
mod api_ref;
mod api_routes;
mod builds;
mod cells;
mod client;
mod create;
mod defects;
mod dev;
mod doors;
mod doors_wire;
mod engine_mariadb;
mod engine_postgresql;
mod engine_servers;
mod engine_tenants;
mod faults;
mod harness;
mod hops;
mod kill;
mod layout;
mod listing;
mod matrix;
mod once;
mod postgres_servers;
mod postgresql;
mod postgresql_feed;
mod postgresql_kill;
mod roles;
mod schemathesis;
mod seed;
mod shim;
mod stuck;
mod switch;
mod telemetry;
mod terminal;
mod upgrade;
mod watch;
mod windows;
