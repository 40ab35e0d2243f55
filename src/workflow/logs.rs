//! Publishing an instance's logs, and measuring them.
//!
//! # If we die here
//! What is published is written in one transaction, in place of what was there: all of it is there, or what was before.

use crate::db::{self, logs};
use crate::domain::generation::Generation;
use crate::domain::ids::InstanceId;
use crate::domain::log::parts;
use crate::domain::operation::Refused;
use crate::engines::logs::MOST_PUBLISHED;
use crate::engines::{self, Engine, Server};
use crate::workflow::{WorkerContext, chain};

/// Has everybody of the project read the end of a log, as it is now.
///
/// # Errors
/// The server's. The store's is told as the server's: the operation is tried again.
pub async fn publish(
    worker: &WorkerContext,
    instance: InstanceId,
    name: &str,
    (engine, server): (&dyn Engine, &Server),
) -> Result<Option<Refused>, engines::Error> {
    let lengths = engine.log_lengths(server).await?;
    let bytes = lengths.iter().find(|(log, _)| *log == name).map_or(0, |(_, bytes)| *bytes);
    let log = engine.log_end(server, name).await?;
    let parts = parts(&format!("{instance}.{name}."), last_lines(&log));
    let (name, bytes) = (name.to_owned(), i64::try_from(bytes).unwrap_or(i64::MAX));
    worker
        .db
        .transact(move |conn| logs::publish(conn, instance, &name, bytes, &parts))
        .await
        .map_err(|error: db::Error| engines::Error::NoAnswer(format!("the store: {}", chain(&error))))?;
    Ok(None)
}

/// The last lines of a log, as many as are published.
fn last_lines(log: &[u8]) -> &[u8] {
    let Some(from) = log.len().checked_sub(MOST_PUBLISHED) else { return log };
    let end = log.get(from..).unwrap_or_default();
    match end.iter().position(|byte| *byte == b'\n') {
        Some(at) => end.get(at + 1..).unwrap_or_default(),
        None => end,
    }
}

/// Records how long the logs of a server have become.
pub async fn measure(worker: &WorkerContext, generation: &Generation) {
    if generation.logs.is_empty() {
        return;
    }
    let measured = async {
        let (engine, server) = worker.server(generation).map_err(|error| chain(&error))?;
        let lengths = engine.log_lengths(&server).await.map_err(|error| chain(&error))?;
        let instance = generation.instance;
        let recorded = worker.db.run(move |conn| {
            for (name, bytes) in &lengths {
                logs::measured(conn, instance, name, i64::try_from(*bytes).unwrap_or(i64::MAX))?;
            }
            Ok::<_, db::Error>(())
        });
        recorded.await.map_err(|error| chain(&error))
    };
    if let Err(error) = measured.await {
        tracing::debug!(generation.id = %generation.id, error, "logs were not measured");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_published_from_a_whole_line_on() {
        let line = "x".repeat(1_000) + "\n";
        let log = line.repeat(MOST_PUBLISHED / 1_000);
        let last = last_lines(log.as_bytes());
        assert!(last.len() > MOST_PUBLISHED - 2_000 && last.len() < MOST_PUBLISHED);
        assert_eq!(last.len() % 1_001, 0);
        assert_eq!(last_lines(b"a\nb"), b"a\nb");
    }
}
