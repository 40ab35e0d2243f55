//! What the service tells of itself, without a token (api-ref: `observability.md`): whether this process answers, whether
//! it can do its work and what is missing, and the metrics.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ::metrics::gauge;
use actix_web::HttpResponse;
use tokio::io::AsyncReadExt as _;

use crate::api::doc::{Doc, Gives, shape};
use crate::api::error::Fault;
use crate::api::request::{Call, Route};
use crate::db::census::{self, Census};
use crate::db::{self, Db};
use crate::domain::instance::InstanceState;
use crate::domain::task::{TaskKind, TaskState};
use crate::telemetry::metrics::render;
use crate::telemetry::serve::{Check, Readiness, TEXT};

/// How old a count of the store may be: a scrape must not load it.
const FRESH: Duration = Duration::from_secs(5);

/// How long the store, and the endpoint beside us, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The table.
pub const ROUTES: &[Route] = &[
    Route::open(
        "GET",
        "/healthz",
        Doc::new("healthz", "Whether this process answers", "observability.md").gives(200, Gives::Text),
        |_| Box::pin(async { Ok(HttpResponse::Ok().content_type("text/plain").body("OK")) }),
    ),
    Route::open(
        "GET",
        "/readyz",
        Doc::new("readyz", "Whether this process can do its work, and what is missing", "observability.md")
            .gives(200, Gives::Whole(shape::<Readiness>))
            .or(503, Gives::Whole(shape::<Readiness>)),
        |call| Box::pin(async move { Ok(readiness(&call.state.commands.db).await.respond()) }),
    ),
    Route::open(
        "GET",
        "/metrics",
        Doc::new("metrics", "The metrics, in Prometheus's text format", "observability.md")
            .gives(200, Gives::Text)
            .refuses(&[404]),
        |call| Box::pin(metrics(call)),
    ),
];

/// What the metrics of an api show besides its own.
#[derive(Debug, Default)]
pub struct Watched {
    /// Whether they are shown on another listener, and not on the public one.
    pub elsewhere: bool,
    /// The socket at which the endpoint beside this process tells its own.
    pub endpoint: Option<PathBuf>,
    census: Mutex<Option<(Instant, Census)>>,
}

impl Watched {
    /// Shown on another listener if `elsewhere`, with those of the endpoint that tells them at `endpoint`.
    pub fn new(elsewhere: bool, endpoint: Option<PathBuf>) -> Self {
        Self { elsewhere, endpoint, census: Mutex::default() }
    }

    /// All metrics, those of the store counted within the last seconds.
    pub async fn render(&self, db: &Db) -> String {
        self.count(db).await;
        let beside = match &self.endpoint {
            Some(path) => {
                let told = endpoint(path).await;
                gauge!("coffer_endpoint_up").set(if told.is_some() { 1.0 } else { 0.0 });
                told.unwrap_or_default()
            }
            None => String::new(),
        };
        render() + &beside
    }

    async fn count(&self, db: &Db) {
        let seen = self.census.lock().ok().and_then(|seen| seen.clone());
        if let Some((at, _)) = &seen
            && at.elapsed() < FRESH
        {
            return;
        }
        let counted: Result<Result<Census, db::Error>, _> =
            tokio::time::timeout(PATIENCE, db.run(census::take)).await;
        let up = gauge!("coffer_store_up");
        let Ok(Ok(census)) = counted else {
            up.set(0.0);
            return;
        };
        up.set(1.0);
        publish(&census);
        if let Ok(mut seen) = self.census.lock() {
            *seen = Some((Instant::now(), census));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
fn publish(census: &Census) {
    // What there is none of any more is 0, and not what it was.
    for kind in TaskKind::ALL {
        let states = TaskState::ALL.into_iter().filter(|state| !state.is_final()).map(TaskState::as_str);
        for state in states.chain(["planned"]) {
            let count = census.tasks.iter().find(|(k, s, _)| k == kind.as_str() && s == state);
            gauge!("coffer_tasks", "kind" => kind.as_str(), "state" => state)
                .set(count.map_or(0, |(.., n)| *n) as f64);
        }
    }
    for state in InstanceState::ALL.into_iter().filter(|state| *state != InstanceState::Deleted) {
        let count = census.instances.iter().find(|(s, _)| s == state.as_str());
        gauge!("coffer_instances", "state" => state.as_str()).set(count.map_or(0, |(_, n)| *n) as f64);
    }
    gauge!("coffer_tasks_oldest_due_seconds").set(census.oldest_due);
    gauge!("coffer_operations").set(census.operations.0 as f64);
    gauge!("coffer_operations_oldest_seconds").set(census.operations.1);
    gauge!("coffer_hosts", "state" => "heard").set(census.hosts.0 as f64);
    gauge!("coffer_hosts", "state" => "silent").set(census.hosts.1 as f64);
}

/// What the endpoint tells of itself: it writes and closes. Of what every process tells, only ours is shown.
async fn endpoint(path: &Path) -> Option<String> {
    let told = tokio::time::timeout(PATIENCE, async {
        let mut socket = crate::sockets::connect(path).await.ok()?;
        let mut told = String::new();
        socket.read_to_string(&mut told).await.ok()?;
        Some(told)
    });
    let told = told.await.ok()??;
    let ours = |line: &&str| {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
        name.starts_with("coffer_endpoint_") && !name.starts_with("coffer_endpoint_up")
    };
    Some(told.lines().filter(ours).map(|line| format!("{line}\n")).collect())
}

/// Whether an api on `db` can do its work.
pub async fn readiness(db: &Db) -> Readiness {
    let schema = tokio::time::timeout(PATIENCE, db.knows_schema()).await;
    let (store, schema) = match schema {
        Ok(Ok(())) => (Ok(()), Ok(())),
        Ok(Err(error @ db::Error::Schema(_))) => (Ok(()), Err(error.to_string())),
        Ok(Err(_)) | Err(_) => {
            let away = || Err("the store cannot be reached".to_owned());
            (away(), away())
        }
    };
    let mut checks = vec![Check::required("store", store), Check::required("schema", schema)];
    if checks.iter().all(|check| check.ready) {
        let counted: Result<Result<Census, db::Error>, _> =
            tokio::time::timeout(PATIENCE, db.run(census::take)).await;
        let worker = match counted {
            Ok(Ok(census)) if census.hosts.0 > 0 => Ok(()),
            Ok(Ok(_)) => Err("no worker was heard of within 30 s: what is accepted waits".to_owned()),
            Ok(Err(_)) | Err(_) => Err("the store cannot be asked".to_owned()),
        };
        checks.push(Check::wanted("worker", worker));
    }
    Readiness::of(checks)
}

async fn metrics(call: Call) -> Result<HttpResponse, Fault> {
    if call.state.watched.elsewhere {
        return Err(Fault::no_such_uri());
    }
    let text = call.state.watched.render(&call.state.commands.db).await;
    Ok(HttpResponse::Ok().content_type(TEXT).body(text))
}
