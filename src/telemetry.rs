//! The subscriber for logs, set up once.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sends logs to standard error: `COFFER_LOG` says which (default: ours from info, others' from warn, the
/// pool's own none, since each failed query is told by who asked).
pub fn start() {
    let filter =
        EnvFilter::try_from_env("COFFER_LOG").unwrap_or_else(|_| EnvFilter::new("warn,coffer=info,r2d2=off"));
    // A second call (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
