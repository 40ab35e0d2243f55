//! Coffer: a database service for private clouds, which upgrades databases without losing a write.

pub mod api;
pub mod auth;
pub mod cli;
pub mod commands;
pub mod db;
pub mod domain;
pub mod endpoint;
pub mod engines;
pub mod runtimes;
pub mod seal;
pub mod store;
pub mod telemetry;
pub mod workflow;
