//! One test binary: a harness, then a file per capability. Everything talks to real servers.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api_faults;
mod client;
mod create;
mod dev;
mod doors;
mod engine_mariadb;
mod engine_servers;
mod engine_tenants;
mod harness;
mod kill;
mod layout;
mod upgrade;
