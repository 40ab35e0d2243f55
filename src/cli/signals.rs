//! Being asked to stop.

use tokio::sync::watch;

/// Resolves when the process is asked to stop: SIGINT or SIGTERM.
pub async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be listened for");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// Resolves when `stop` has become true.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop, too.
    let _ = stop.wait_for(|stop| *stop).await;
}
