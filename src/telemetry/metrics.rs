//! The metrics of this process, in Prometheus's text format (api-ref: `observability.md`). Labels are words of bounded
//! sets: a template of a route, a code, a kind, a step; never a project, an instance or an address.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How long things took, in buckets.
    Histogram,
}

/// Every metric: its name, its kind, and what it tells.
pub const ALL: &[(&str, Kind, &str)] = &[
    ("coffer_http_requests_total", Kind::Counter, "requests, by route, method and code"),
    ("coffer_http_request_seconds", Kind::Histogram, "time until the answer, by route and method"),
    ("coffer_tasks", Kind::Gauge, "tasks that have not ended, by kind and state"),
    ("coffer_tasks_oldest_due_seconds", Kind::Gauge, "how long the oldest task that could run has waited"),
    ("coffer_operations", Kind::Gauge, "operations that were accepted and are not over"),
    ("coffer_operations_oldest_seconds", Kind::Gauge, "how long the oldest of them has waited"),
    ("coffer_instances", Kind::Gauge, "instances, by state"),
    ("coffer_hosts", Kind::Gauge, "hosts, by whether a worker of theirs was heard of within 30 s"),
    ("coffer_store_up", Kind::Gauge, "1 when the store answered the last scrape"),
    ("coffer_store_wait_seconds", Kind::Histogram, "how long work waited for its turn at the store"),
    ("coffer_store_given_up_total", Kind::Counter, "work that gave up waiting for its turn at the store"),
    ("coffer_task_steps_total", Kind::Counter, "tries of steps, by kind, step and outcome"),
    ("coffer_task_step_seconds", Kind::Histogram, "how long tries of steps took, by kind and step"),
    ("coffer_tasks_ended_total", Kind::Counter, "tasks that ended here, by kind and state"),
    ("coffer_operations_ended_total", Kind::Counter, "operations that ended here, by kind and outcome"),
    ("coffer_leases_lost_total", Kind::Counter, "leases that were another's when this worker looked"),
    ("coffer_servers", Kind::Gauge, "database servers of this host, by engine and state"),
    (
        "coffer_certificates_due",
        Kind::Gauge,
        "certificates that the worker should have renewed, or had a server load, and has not yet",
    ),
    (
        "coffer_certificates_end_seconds",
        Kind::Gauge,
        "when the first certificate of this host ends, of servers that serve and of the authority, in seconds since 1970",
    ),
    ("coffer_volumes", Kind::Gauge, "servers that serve, by how far their volumes are filled"),
    (
        "coffer_server_restarts_total",
        Kind::Counter,
        "servers that did not answer and were started again, by engine",
    ),
    ("coffer_endpoint_up", Kind::Gauge, "1 when the endpoint beside this process answered the last scrape"),
    ("coffer_endpoint_following", Kind::Gauge, "1 while the endpoint follows the store's routes"),
    ("coffer_endpoint_addresses", Kind::Gauge, "addresses on which the endpoint listens"),
    ("coffer_endpoint_connections", Kind::Gauge, "connections that are open through the endpoint"),
    ("coffer_endpoint_connections_total", Kind::Counter, "connections that were taken"),
    ("coffer_endpoint_refused_total", Kind::Counter, "connections that ended before they began, by reason"),
    (
        "coffer_endpoint_full_total",
        Kind::Counter,
        "minutes in which an instance had no room for a further connection",
    ),
    ("coffer_process_resident_bytes", Kind::Gauge, "memory that the process holds"),
    ("coffer_process_cpu_seconds", Kind::Gauge, "processor time that the process has used"),
    ("coffer_process_open_files", Kind::Gauge, "open files of the process"),
    ("coffer_process_start_seconds", Kind::Gauge, "when the process started, in seconds since 1970"),
    ("coffer_build", Kind::Gauge, "1, with the version"),
];

/// Seconds; from a cached answer to a step that copies a large database.
const REQUEST_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const STEP_BUCKETS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count. May be called again.
pub fn start() {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full("coffer_task_step_seconds".to_owned()), STEP_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), REQUEST_BUCKETS)
            });
        let handle = builder.ok()?.install_recorder().ok()?;
        for (name, kind, what) in ALL {
            match kind {
                Kind::Counter => describe_counter!(*name, *what),
                Kind::Gauge => describe_gauge!(*name, *what),
                Kind::Histogram => describe_histogram!(*name, Unit::Seconds, *what),
            }
        }
        gauge!("coffer_build", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        gauge!("coffer_process_start_seconds").set(now.unwrap_or_default().as_secs_f64());
        Some(handle)
    });
}

/// Everything, as it is now.
pub fn render() -> String {
    process();
    match HANDLE.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            handle.render()
        }
        Some(None) | None => String::new(),
    }
}

/// What the system says of this process.
fn process() {
    // A page has 4 KiB and a tick 10 ms on every Linux that we run on.
    if let Ok(text) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok())
    {
        gauge!("coffer_process_resident_bytes").set(pages * 4096.0);
    }
    if let Ok(text) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, fields)) = text.rsplit_once(')')
    {
        let ticks: f64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        gauge!("coffer_process_cpu_seconds").set(ticks / 100.0);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge!("coffer_process_open_files").set(number(files.count()));
    }
}

/// A count as a metric's value.
pub fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// A request was answered.
pub fn request(route: &'static str, method: &'static str, code: u16, took: Duration) {
    let code = code.to_string();
    counter!("coffer_http_requests_total", "route" => route, "method" => method, "code" => code).increment(1);
    histogram!("coffer_http_request_seconds", "route" => route, "method" => method)
        .record(took.as_secs_f64());
}

/// Work has waited so long for its turn at the store.
pub fn store_wait(waited: Duration) {
    histogram!("coffer_store_wait_seconds").record(waited.as_secs_f64());
}

/// Work gave up waiting for its turn at the store.
pub fn store_given_up() {
    counter!("coffer_store_given_up_total").increment(1);
}

/// A try of a step ended.
pub fn step(kind: &'static str, step: &'static str, outcome: &'static str, took: Duration) {
    counter!("coffer_task_steps_total", "kind" => kind, "step" => step, "outcome" => outcome).increment(1);
    histogram!("coffer_task_step_seconds", "kind" => kind, "step" => step).record(took.as_secs_f64());
}

/// A task ended, or waits for an operator.
pub fn task_ended(kind: &'static str, state: &'static str) {
    counter!("coffer_tasks_ended_total", "kind" => kind, "state" => state).increment(1);
}

/// An operation ended.
pub fn operation_ended(kind: String, outcome: &'static str) {
    counter!("coffer_operations_ended_total", "kind" => kind, "outcome" => outcome).increment(1);
}

/// A lease was another's.
pub fn lease_lost() {
    counter!("coffer_leases_lost_total").increment(1);
}

/// How many servers of an engine are in a state.
pub fn servers(engine: &'static str, state: &'static str, count: usize) {
    gauge!("coffer_servers", "engine" => engine, "state" => state).set(number(count));
}

/// How many servers that serve have volumes that are filled so far.
pub fn volumes(state: &'static str, count: usize) {
    gauge!("coffer_volumes", "state" => state).set(number(count));
}

/// How many certificates are to be renewed, or to be loaded, and were not yet.
pub fn certificates_due(count: usize) {
    gauge!("coffer_certificates_due").set(number(count));
}

/// When the first certificate of a kind ends; 0 where there is none.
pub fn certificates_end(of: &'static str, since_1970: Duration) {
    gauge!("coffer_certificates_end_seconds", "of" => of).set(since_1970.as_secs_f64());
}

/// A server did not answer and was started again.
pub fn server_restarted(engine: &'static str) {
    counter!("coffer_server_restarts_total", "engine" => engine).increment(1);
}

/// Whether the endpoint follows the store.
pub fn endpoint_following(follows: bool) {
    gauge!("coffer_endpoint_following").set(if follows { 1.0 } else { 0.0 });
}

/// On how many addresses the endpoint listens.
pub fn endpoint_addresses(count: usize) {
    gauge!("coffer_endpoint_addresses").set(number(count));
}

/// A connection ended before it began.
pub fn endpoint_refused(reason: &'static str) {
    counter!("coffer_endpoint_refused_total", "reason" => reason).increment(1);
}

/// An instance had no room for a further connection.
pub fn endpoint_full() {
    counter!("coffer_endpoint_full_total").increment(1);
}

/// A connection through the endpoint, from its birth to its drop.
pub struct Connection(());

impl Connection {
    /// One more.
    pub fn begin() -> Self {
        counter!("coffer_endpoint_connections_total").increment(1);
        gauge!("coffer_endpoint_connections").increment(1.0);
        Self(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        gauge!("coffer_endpoint_connections").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told() {
        start();
        request("/v1.0/{project}/instances", "GET", 200, Duration::from_millis(3));
        step("upgrade", "seed", "done", Duration::from_secs(2));
        let held = Connection::begin();
        let told = render();
        for line in [
            "coffer_http_requests_total{route=\"/v1.0/{project}/instances\",method=\"GET\",code=\"200\"} 1",
            "coffer_task_steps_total{kind=\"upgrade\",step=\"seed\",outcome=\"done\"} 1",
            "coffer_endpoint_connections 1",
        ] {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        assert!(
            told.contains("coffer_task_step_seconds_bucket{kind=\"upgrade\",step=\"seed\",le=\"900\"} 1")
        );
        drop(held);
        assert!(render().contains("coffer_endpoint_connections 0"));
        for (name, ..) in ALL {
            let (word, _) = name.split_once('_').unwrap();
            assert_eq!(word, "coffer");
        }
    }
}
