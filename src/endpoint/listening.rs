//! One listening address and its connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::SocketPath;
use super::forward::{self, Leads, Passed, Presents, Way};
use super::room::Room;
use crate::domain::datastore::Protocol;
use crate::telemetry::metrics;

/// How long connections that are cut may take to end before we come back to it.
const CUT_WITHIN: Duration = Duration::from_secs(2);
/// How many connections may wait in the system's queue.
const BACKLOG: u32 = 1_024;
/// The pause after a failed accept (no more open files, usually); it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often those who wait for a place are looked after.
const TICK: Duration = Duration::from_millis(20);
/// The places are the room's matter. Connections beyond it, and beyond what the room lets wait, are on their way out:
/// as many of them may be open as there are places, and these.
const SPARE: usize = 128;
/// A trouble that lasts is told this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) wait_for_server: Duration,
    pub(super) wait_for_client: Duration,
}

/// A listener with its connections. Dropping it ends them without waiting.
pub(super) struct Listening {
    address: SocketAddr,
    leads: watch::Sender<Leads>,
    passed: Passed,
    room: Room,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    pub(super) fn open(
        address: SocketAddr,
        leads: Leads,
        (presents, protocol): (Presents, Protocol),
        limits: Limits,
        socket_path: SocketPath,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that connections of the last of us, in their time-wait, do not keep the address.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (leads, leads_to) = watch::channel(leads);
        let passed = Passed::default();
        let (stop, stopped) = watch::channel(false);
        let room = Room::new(limits.connections);
        let way = Way {
            leads_to,
            passed: passed.clone(),
            socket_path,
            presents,
            protocol,
            wait_for_server: limits.wait_for_server,
            wait_for_client: limits.wait_for_client,
            room: room.clone(),
        };
        let task = tokio::spawn(accept(listener, address, way, stopped));
        Ok(Self { address, leads, passed, room, stop, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads connections there, or holds them. Those that are open end when they are cut or led elsewhere; `false` when
    /// they are cut and have not all ended yet.
    pub(super) async fn lead(&self, leads: Leads) -> bool {
        let cut = leads.hold.is_some_and(|hold| hold.cut);
        self.leads.send_if_modified(|now| {
            let is_other = *now != leads;
            *now = leads;
            is_other
        });
        if !cut {
            return true;
        }
        tokio::time::timeout(CUT_WITHIN, self.passed.none_is_left()).await.is_ok()
    }

    /// Lets so many connections through at once from now on. Those that are open stay.
    pub(super) fn resize(&self, connections: usize) {
        self.room.resize(connections);
    }

    /// Stops listening and closes the connections; returns when both is so.
    pub(super) async fn close(mut self) {
        self.stop.send_replace(true);
        // A panic in there was reported by the runtime; the sockets are closed either way.
        let _ = (&mut self.task).await;
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, way: Way, mut stopped: watch::Receiver<bool>) {
    let mut stopped_in_pause = stopped.clone();
    let mut open = JoinSet::new();
    let mut pause = FIRST_PAUSE;
    let mut trouble = Told::default();
    let mut full = Told::default();
    loop {
        let most = way.room.most();
        if way.room.is_full() && full.is_due() {
            metrics::endpoint_full();
            tracing::warn!(address = %address, connections = most, "full, further connections wait");
        }
        let waiting = way.room.has_waiting();
        tokio::select! {
            _ = stopped.changed() => break,
            () = tokio::time::sleep(TICK), if waiting => way.room.settle(),
            () = way.room.begins_to_wait(), if !waiting => {}
            Some(_ended) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < most.saturating_mul(3) + SPARE => match accepted {
                Ok((client, from)) => {
                    pause = FIRST_PAUSE;
                    open.spawn(forward::forward(client, from, way.clone()));
                }
                Err(error) => {
                    if trouble.is_due() {
                        tracing::error!(address = %address, error = %error, "cannot accept, will try again");
                    }
                    tokio::select! {
                        _ = stopped_in_pause.changed() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
    drop(listener);
    open.shutdown().await;
}

/// When a lasting trouble was told last.
#[derive(Default)]
struct Told(Option<Instant>);

impl Told {
    fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() > TELL_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
