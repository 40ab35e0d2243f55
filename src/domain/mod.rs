//! What is true: types and decisions.
//!
//! Nothing here is asynchronous, speaks SQL or HTTP, reads a clock or draws randomness, so every rule can be
//! tested as a table. Everything else in the crate may use this module; it uses nothing of ours.

pub mod access_key;
pub mod authority;
pub mod build_upgrades;
pub mod caller;
pub mod datastore;
pub mod estimate;
pub mod flavor;
pub mod generation;
pub mod group;
pub mod hops;
pub mod idempotency;
pub mod ids;
pub mod inspection;
pub mod instance;
pub mod log;
pub mod matrix;
pub mod operation;
pub mod parameter;
pub mod policy;
pub mod postgresql;
pub mod question;
pub mod quota;
pub mod refusal;
pub mod replica_upgrade;
pub mod rolling;
pub mod simulation;
pub mod stuck_tasks;
pub mod task;
pub mod tenant;
pub mod timing;
pub mod upgrade;
pub mod volume;
pub mod window;
