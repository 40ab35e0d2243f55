//! Coffer: a database service for private clouds.

pub mod domain;
pub mod engines;
pub mod runtimes;
