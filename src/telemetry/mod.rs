//! What the service tells of itself: the subscriber for logs, set up once, the metrics, and where a role without a
//! listener of its own shows them.

pub mod metrics;
pub mod serve;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Sends logs to standard error: `COFFER_LOG` says which (default: ours from info, others' from warn, the
/// pool's own none, since each failed query is told by who asked), `COFFER_LOG_FORMAT` how: `text`, or `json`, one
/// object a line, with the fields of the spans around it.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("COFFER_LOG").unwrap_or_else(|_| EnvFilter::new("warn,coffer=info,r2d2=off"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second call (tests) keeps the first subscriber.
    let _ = if std::env::var("COFFER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(true).try_init()
    } else {
        logs.try_init()
    };
}
