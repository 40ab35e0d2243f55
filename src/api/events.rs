//! `GET /tasks/{id}/events`: a task's view each time it changes, as server-sent events (api-ref: `tasks.md`).
//!
//! A stream looks at its task when a task has moved anywhere, and once a second: a step that runs tells of itself without
//! a notice. A look is one row by its key; only what differs is read whole. It is bounded: so many streams a process and
//! a project, so long each, and no more than [`LOOKS`] apart however much moves. Who goes away is noticed at the next
//! line that is written, at the latest after [`IDLE`], and everything of its stream goes with it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data};
use tokio::sync::watch;

use crate::api::ApiState;
use crate::api::coffer::{TaskView, task_id, view};
use crate::api::doc::{Doc, Gives, shape};
use crate::api::error::Fault;
use crate::api::request::{Call, Route};
use crate::db::notices::Channel;
use crate::db::task_steps;
use crate::domain::caller::Caller;
use crate::domain::ids::{ProjectId, TaskId};
use crate::domain::policy::Rule;

/// The route of streams.
pub const ROUTES: &[Route] = &[Route::project(
    "GET",
    "/v1.0/{project}/tasks/{id}/events",
    Rule::TaskRead,
    Doc::new("watchTask", "A task's view each time it changes, until its end", "tasks.md")
        .gives(200, Gives::Events("task", shape::<TaskView>)),
    |call, caller| Box::pin(watch(call, caller)),
)];

/// Streams that one process serves.
const MOST: usize = 256;

/// Streams of one project among them.
const MOST_OF_PROJECT: usize = 32;

/// The longest that a task is not looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The shortest time between two looks.
const LOOKS: Duration = Duration::from_millis(250);

/// After so long without an event a comment is sent.
const IDLE: Duration = Duration::from_secs(15);

/// The longest life of a stream: a client connects again, with a token that holds still.
const LONGEST: Duration = Duration::from_secs(3600);

/// The streams that are open.
#[derive(Debug)]
pub struct Streams {
    open: Mutex<HashMap<ProjectId, usize>>,
    closing: watch::Sender<bool>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { open: Mutex::default(), closing: watch::Sender::new(false) }
    }
}

impl Streams {
    /// Ends every stream, and every one that is opened from now on: the process stops.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Opens one more.
    fn open(self: &Arc<Self>, project: &ProjectId) -> Result<Open, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(project).is_some_and(|own| *own >= MOST_OF_PROJECT) {
            return Err(Fault::OverLimit(format!(
                "Only {MOST_OF_PROJECT} streams of events can be open at a time."
            )));
        }
        if open.values().sum::<usize>() >= MOST {
            return Err(Fault::Busy(
                "Too many streams of events are open; read the task instead.".to_owned(),
            ));
        }
        *open.entry(project.clone()).or_default() += 1;
        Ok(Open { streams: Arc::clone(self), project: project.clone() })
    }
}

/// A stream that is open; it is counted for as long as this lives.
struct Open {
    streams: Arc<Streams>,
    project: ProjectId,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.project) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&self.project);
            }
        }
    }
}

/// Somebody who watches a task.
struct Watcher {
    state: Data<ApiState>,
    caller: Caller,
    id: TaskId,
    closing: watch::Receiver<bool>,
    /// What was sent last, without what changes as time goes by.
    told: Option<serde_json::Value>,
    sign: Option<String>,
    began: Instant,
    looked: Option<Instant>,
    sent: Instant,
    is_over: bool,
    _open: Open,
}

/// `GET /tasks/{id}/events`.
///
/// # Errors
/// 404; 413 for a project that has enough of them, 503 when there are too many; the store's.
pub async fn watch(call: Call, caller: Caller) -> Result<HttpResponse, Fault> {
    let id = task_id(&call)?;
    // Refused before anything is streamed: past the head there is no status any more.
    view(&call.state, &caller, id).await?;
    let watcher = Watcher {
        closing: call.state.streams.closing.subscribe(),
        _open: call.state.streams.open(&caller.project)?,
        state: call.state,
        caller,
        id,
        told: None,
        sign: None,
        began: Instant::now(),
        looked: None,
        sent: Instant::now(),
        is_over: false,
    };
    let lines = futures::stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), watcher))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        // A proxy that collects answers would hold the events back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(lines)))
}

impl Watcher {
    /// What to send next; `None` when the stream ends.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.is_over || *self.closing.borrow() || self.began.elapsed() > LONGEST {
                return None;
            }
            if let Some(looked) = self.looked {
                tokio::select! {
                    () = self.state.commands.notices.wait(Channel::Tasks, EVERY) => {}
                    _ = self.closing.changed() => return None,
                }
                tokio::time::sleep(LOOKS.saturating_sub(looked.elapsed())).await;
            }
            self.looked = Some(Instant::now());
            match self.look().await {
                Ok(Some(event)) => {
                    self.sent = Instant::now();
                    return Some(event);
                }
                Ok(None) => {}
                // The store may be away for a moment: the task goes on, and so does who watches it.
                Err(fault) => tracing::debug!(?fault, "a watched task could not be read"),
            }
            if self.sent.elapsed() >= IDLE {
                self.sent = Instant::now();
                return Some(":\n\n".to_owned());
            }
        }
    }

    /// The task's event, where something is new.
    async fn look(&mut self) -> Result<Option<String>, Fault> {
        let id = self.id;
        let sign: Result<_, crate::db::Error> =
            self.state.commands.db.run(move |conn| task_steps::sign(conn, id)).await;
        let sign = sign?;
        if sign.is_some() && sign == self.sign {
            return Ok(None);
        }
        let (view, is_final) = view(&self.state, &self.caller, id).await?;
        let still = view.still()?;
        let data = serde_json::to_string(&view).map_err(|e| Fault::Broken(e.into()))?;
        self.sign = sign;
        self.is_over = is_final;
        if self.told.as_ref() == Some(&still) {
            return Ok(None);
        }
        self.told = Some(still);
        Ok(Some(format!("event: task\ndata: {data}\n\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_open_and_no_more() {
        let streams = Arc::new(Streams::default());
        let project = |n: usize| ProjectId::parse(&format!("p{n}")).unwrap();
        let mut held: Vec<Open> =
            (0..MOST_OF_PROJECT).map(|_| streams.open(&project(0)).ok().unwrap()).collect();
        assert!(matches!(streams.open(&project(0)), Err(Fault::OverLimit(_))));
        held.pop();
        held.push(streams.open(&project(0)).ok().unwrap());
        for n in 1..MOST / MOST_OF_PROJECT {
            held.extend((0..MOST_OF_PROJECT).map(|_| streams.open(&project(n)).ok().unwrap()));
        }
        assert!(matches!(streams.open(&project(99)), Err(Fault::Busy(_))));
        held.clear();
        assert!(streams.open.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }
}
