//! Where each role shows its metrics and whether it is ready: on a listener of its own when `--metrics` names one. The
//! endpoint also tells them at a socket in its folder, where the `dev` that started it finds them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;

use crate::api::health::{Watched, readiness};
use crate::db::{self, Db};
use crate::telemetry::metrics::render;
use crate::telemetry::serve::{Check, Look, Readiness, Render, own, server};

/// The name of the endpoint's socket in its folder.
pub const ENDPOINT_SOCKET: &str = "metrics.sock";

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one that asks at the socket may take to read.
const SLOW: Duration = Duration::from_secs(5);

fn show(address: Option<&str>, look: Look, render: Render) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).with_context(|| format!("show metrics on {address}"))?;
    eprintln!("metrics: http://{}/metrics", listener.local_addr()?);
    let server = server(listener, look, render)?;
    Ok(Some(tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(error = %error, "metrics are not shown any more");
        }
    })))
}

/// Those of an api, with those of the endpoint that tells them at `endpoint`.
///
/// # Errors
/// The address is taken.
pub fn show_api(
    address: Option<&str>,
    db: &Db,
    endpoint: Option<PathBuf>,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let watched = Arc::new(Watched::new(false, endpoint));
    let (asked, shown) = (db.clone(), db.clone());
    let look: Look = Arc::new(move || {
        let db = asked.clone();
        Box::pin(async move { readiness(&db).await })
    });
    let render: Render = Arc::new(move || {
        let (watched, db) = (Arc::clone(&watched), shown.clone());
        Box::pin(async move { watched.render(&db).await })
    });
    show(address, look, render)
}

/// Those of a worker.
///
/// # Errors
/// The address is taken.
pub fn show_worker(address: Option<&str>, db: &Db) -> anyhow::Result<Option<JoinHandle<()>>> {
    let db = db.clone();
    let look: Look = Arc::new(move || {
        let db = db.clone();
        Box::pin(async move {
            let known: Result<Result<(), db::Error>, _> =
                tokio::time::timeout(PATIENCE, db.knows_schema()).await;
            Readiness::of(vec![Check::required(
                "store",
                match known {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error @ db::Error::Schema(_))) => Err(error.to_string()),
                    Ok(Err(_)) | Err(_) => Err("the store cannot be reached".to_owned()),
                },
            )])
        })
    });
    show(address, look, own())
}

/// Those of an endpoint: on its listener, and at the socket in its folder `state`.
///
/// # Errors
/// The address is taken.
pub fn show_endpoint(address: Option<&str>, state: &Path) -> anyhow::Result<Vec<JoinHandle<()>>> {
    // It serves what it knows while the store is away: it is ready as soon as it runs.
    let look: Look = Arc::new(|| Box::pin(async { Readiness::of(Vec::new()) }));
    let mut shown: Vec<JoinHandle<()>> = show(address, look, own())?.into_iter().collect();
    let path = state.join(ENDPOINT_SOCKET);
    // The last one's: the lock says that it is gone.
    let _ = std::fs::remove_file(&path);
    match tokio::net::UnixListener::bind(&path) {
        Ok(listener) => shown.push(tokio::spawn(tell(listener))),
        Err(error) => tracing::warn!(error = %error, "the metrics have no socket"),
    }
    Ok(shown)
}

/// Whoever connects is told everything, once. The folder is the endpoint's own.
async fn tell(listener: tokio::net::UnixListener) {
    loop {
        match listener.accept().await {
            Ok((mut socket, _)) => {
                let _ = tokio::time::timeout(SLOW, socket.write_all(render().as_bytes())).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
