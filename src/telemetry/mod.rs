//! What the service tells of itself: the subscriber for logs, set up once, the metrics, and where a role without a
//! listener of its own shows them.

pub mod bodies;
pub mod limiter;
pub mod metrics;
pub mod serve;

use std::io::IsTerminal as _;
use std::time::Duration;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use limiter::Limiter;

/// What reads requests, and writes a line at the level ERROR for each that it cannot read: anybody can send such.
const READER: &str = "actix_http";

/// How often requests that cannot be read are told.
const UNREADABLE_EVERY: Duration = Duration::from_secs(60);

/// Sends logs to standard error: `COFFER_LOG` says which (default: ours from info, others' from warn, the
/// pool's own none, since each failed query is told by who asked), `COFFER_LOG_FORMAT` how: `text`, or `json`, one
/// object a line, with the fields of the spans around it. Requests that cannot be read are counted, and told once a
/// minute; who names `actix_http` in `COFFER_LOG` sees each.
pub fn start() {
    let asked = std::env::var("COFFER_LOG").unwrap_or_default();
    let mut filter =
        EnvFilter::try_from_env("COFFER_LOG").unwrap_or_else(|_| EnvFilter::new("warn,coffer=info,r2d2=off"));
    if !asked.contains(READER)
        && let Ok(none) = format!("{READER}=off").parse()
    {
        filter = filter.add_directive(none);
    }
    let logs = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let logs = if std::env::var("COFFER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    } else {
        logs.boxed()
    };
    let unreadable = Unreadable(Limiter::new(UNREADABLE_EVERY));
    // A second call (tests) keeps the first subscriber.
    let _ = tracing_subscriber::registry()
        .with(logs.with_filter(filter))
        .with(unreadable.with_filter(Targets::new().with_target(READER, LevelFilter::ERROR)))
        .try_init();
}

/// Counts requests that cannot be read.
struct Unreadable(Limiter);

impl<S: Subscriber> Layer<S> for Unreadable {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        if let Some(left_out) = self.0.pass() {
            // Apart: a line that is written while another is handled confuses the filters.
            let _ = std::thread::Builder::new().spawn(move || {
                tracing::warn!(left_out, "a client sent what is no request, or went away amid one");
            });
        }
    }
}
