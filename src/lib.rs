//! Coffer: a database service for private clouds, which upgrades databases without losing a write.
//!
//! # The trip of a request
//! [`api`] takes it apart: one table of routes a dialect, one order of refusals, one place where an error becomes a
//! status and a body. [`auth`] turns its token into a caller. What is asked becomes a domain value at the door, and
//! past it no text can be wrong. A read is one query of [`db`]. A change is one command of [`commands`]: load and
//! lock, let [`domain`] decide, and commit instance, task, claims and event in one transaction; the answer is a view
//! of what was committed. Nothing has been done to a database yet: the api never reaches an engine. What must be
//! asked from one (what stands in the way of an upgrade) is a row that a worker answers.
//!
//! # The trip of a task
//! A worker of [`workflow`] claims the task by a lease, records that a step begins, acts through an engine
//! ([`engines`]: what to do to a database) on a runtime ([`runtimes`]: where it runs), and records the outcome
//! together with what it changes, in one transaction that names the lease. Then the next step, until the line of
//! steps ends, or a failure turns it round; [`domain::task`] holds the one table of what comes after what. Whoever
//! dies, where ever, another takes the lease when it has run out and runs the same step again, which first looks at
//! what is there. What begins later, in a window or at a set time, is a task that claims nothing until it is due.
//!
//! Beside them: the supervisor keeps servers up; [`endpoint`], a process of its own, leads each instance's address to
//! its server and survives the others; both reach it by [`sockets`]; [`embedded_postgres`] keeps the rows of `coffer
//! dev`; [`seal`] keeps secrets, and [`pki`] makes certificates; [`cli`] builds the parts of each command and is the
//! only place that chooses drivers.
//!
//! Who may use whom is a table in `tests/it/layout.rs`.

pub mod api;
pub mod auth;
pub mod cli;
pub mod commands;
pub mod db;
pub mod domain;
pub mod embedded_postgres;
pub mod endpoint;
pub mod engines;
pub mod files;
pub mod pki;
pub mod runtimes;
pub mod seal;
pub mod simulated;
pub mod sockets;
pub mod telemetry;
pub mod testing;
pub mod workflow;
