//! One connection: to the server, the header that says who comes where the server takes one, the client's first word,
//! and then every byte both ways. What passes is never looked at. Where the client speaks first, it is heard before a
//! server is asked; see [`room`](super::room) for those that say nothing.
//!
//! While its address is held, a new connection waits here; one that has passed the gate is counted until it has ended,
//! so that who cuts them can tell when none is left. A connection ends, too, when its address leads to another server:
//! it would go on talking to one that serves no more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::Ipv4Net;
use rustix::net::sockopt;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes,
};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::SocketPath;
use super::greeting::{self, Asks};
use super::private;
use super::room::{Room, Visit};
use crate::db::routes::Hold;
use crate::domain::datastore::Protocol;
use crate::domain::ids::GenerationId;
use crate::sockets;
use crate::telemetry::metrics::{self, Connection};

const BUFFER: usize = 32 * 1024;
/// The pause between two tries to reach a server; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How long a client may take to read the last word of a server that ended.
const LINGER: Duration = Duration::from_secs(1);
/// A client that is gone without a word is noticed after about two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// As whom a listener's connections come to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presents {
    /// Each as its client, by its address.
    Client,
    /// All as the listener's own address: whoever may use it is known by that.
    Itself,
}

/// Where an address leads, whether it is held, and whom it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leads {
    pub(super) to: GenerationId,
    pub(super) hold: Option<Hold>,
    /// The networks from which clients may come; none lets everybody in.
    pub(super) allowed: Arc<[Ipv4Net]>,
    /// Whether clients must ask for TLS first.
    pub(super) tls_only: bool,
    /// Whether clients are turned away, since more is in the volume than its size.
    pub(super) full_volume: bool,
}

impl Leads {
    fn lets_in(&self, client: IpAddr) -> bool {
        let is_in = |address: Ipv4Addr| self.allowed.iter().any(|network| network.contains(&address));
        self.allowed.is_empty()
            || match client.to_canonical() {
                IpAddr::V4(address) => is_in(address),
                IpAddr::V6(_) => false,
            }
    }
}

/// The connections that have passed the gate.
#[derive(Clone)]
pub(super) struct Passed(watch::Sender<usize>);

impl Default for Passed {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Passed {
    fn enter(&self) -> Pass {
        self.0.send_modify(|count| *count += 1);
        Pass(self.clone())
    }

    /// Returns when none is left.
    pub(super) async fn none_is_left(&self) {
        // The sender is ours: it does not go away.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One of them.
struct Pass(Passed);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// A connection to a server, by whichever way.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where new connections of one listener go.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) leads_to: watch::Receiver<Leads>,
    pub(super) passed: Passed,
    pub(super) socket_path: SocketPath,
    pub(super) presents: Presents,
    pub(super) protocol: Protocol,
    pub(super) wait_for_server: Duration,
    pub(super) wait_for_client: Duration,
    pub(super) room: Room,
}

/// Forwards one connection until both sides have ended it, or one broke it.
pub(super) async fn forward(client: TcpStream, from: SocketAddr, way: Way) {
    let _counted = Connection::begin();
    let (mut visit, over) = way.room.enter(from.ip());
    tokio::select! {
        () = guide(client, from, &way, &mut visit) => {}
        () = over.ready() => {
            tracing::debug!(client = %from, "a connection that says nothing gave way");
            metrics::endpoint_refused("said_nothing");
        }
    }
}

async fn guide(mut client: TcpStream, from: SocketAddr, way: &Way, visit: &mut Visit) {
    if let Err(error) = prepare(&client) {
        tracing::debug!(error = %error, "a connection without its options");
    }
    let (_pass, generation) = match admit(way, &client, from.ip()).await {
        Admission::Passed(pass, generation) => (pass, generation),
        Admission::NotNow => {
            tracing::debug!(client = %from, "a connection was told to come again");
            metrics::endpoint_refused("held");
            // Said before the client has said anything, as a server does that takes no more connections.
            if client.write_all(&greeting::not_now(way.protocol)).await.is_ok() {
                linger(client).await;
            }
            return;
        }
        Admission::NotAllowed => {
            tracing::debug!(client = %from, "a connection came from elsewhere than its address allows");
            metrics::endpoint_refused("not_allowed");
            if client.write_all(&greeting::not_allowed(way.protocol)).await.is_ok() {
                linger(client).await;
            }
            return;
        }
        Admission::Full => {
            tracing::debug!(client = %from, "a connection came to an instance whose volume is full");
            metrics::endpoint_refused("full_volume");
            if client.write_all(&greeting::full_volume(way.protocol)).await.is_ok() {
                linger(client).await;
            }
            return;
        }
        Admission::Gone => return,
    };
    let clear = AtomicBool::new(false);
    tokio::select! {
        () = talk(client, from, way, generation, visit, &clear) => {}
        // What it would say now would go to a server that serves no more, or would be heard by others.
        () = severed(way.leads_to.clone(), generation, from.ip(), &clear) => {
            tracing::debug!(client = %from, generation.id = %generation, "a connection was cut");
        }
    }
}

/// What becomes of a new connection at the gate.
enum Admission {
    /// It may go on, to that server.
    Passed(Pass, GenerationId),
    /// It has waited for as long as a connection may.
    NotNow,
    /// It comes from where nobody is let in.
    NotAllowed,
    /// More is in the volume than its size.
    Full,
    /// Its client, or the listener, is gone.
    Gone,
}

/// Waits while the address is held.
async fn admit(way: &Way, client: &TcpStream, from: IpAddr) -> Admission {
    let mut leads = way.leads_to.clone();
    let mut until: Option<Instant> = None;
    loop {
        // Counted first, then looked: whoever holds the address and then looks whom it has let through misses none.
        let pass = way.passed.enter();
        let now = leads.borrow_and_update().clone();
        if !now.lets_in(from) {
            return Admission::NotAllowed;
        }
        if now.full_volume {
            return Admission::Full;
        }
        let Some(hold) = now.hold else { return Admission::Passed(pass, now.to) };
        drop(pass);
        let until = *until.get_or_insert_with(|| Instant::now() + Duration::from_millis(hold.wait_ms.into()));
        tokio::select! {
            changed = leads.changed() => if changed.is_err() { return Admission::Gone },
            () = tokio::time::sleep_until(until) => return Admission::NotNow,
            gone = is_gone(client) => if gone { return Admission::Gone },
        }
    }
}

/// Returns when a connection to `generation` must end; `clear` tells that its client did not ask for TLS.
async fn severed(
    mut leads: watch::Receiver<Leads>,
    generation: GenerationId,
    from: IpAddr,
    clear: &AtomicBool,
) {
    let over = |now: &Leads| {
        now.to != generation
            || now.hold.is_some_and(|hold| hold.cut)
            || !now.lets_in(from)
            || now.full_volume
            || (now.tls_only && clear.load(Ordering::SeqCst))
    };
    if leads.wait_for(over).await.is_err() {
        // The listener is closing, and ends its connections itself.
        std::future::pending().await
    }
}

async fn talk(
    mut client: TcpStream,
    from: SocketAddr,
    way: &Way,
    generation: GenerationId,
    visit: &mut Visit,
    clear: &AtomicBool,
) {
    let opening = match way.protocol {
        Protocol::Mysql => None,
        Protocol::Postgresql => match in_time(way, greeting::first_packet(&mut client)).await {
            Ok((opening, asks)) => {
                if !may_go_on(way, asks, clear) {
                    return turn_away(client, from, way.protocol).await;
                }
                visit.heard();
                Some(opening)
            }
            Err(error) => return refuse(client, from, &error).await,
        },
    };
    tokio::select! {
        () = visit.seat() => {}
        gone = is_gone(&client) => if gone { return },
    }
    let mut server = match reach(way, generation, &client).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(generation.id = %generation, error = %error, "no server for a connection");
            metrics::endpoint_refused("no_server");
            return;
        }
    };
    visit.reached();
    let begun = match opening {
        Some(opening) => server.write_all(&opening).await,
        None => match in_time(way, greet(&mut client, from, &mut *server, way, visit)).await {
            Ok((word, asks)) => {
                if !may_go_on(way, asks, clear) {
                    return turn_away(client, from, way.protocol).await;
                }
                server.write_all(&word).await
            }
            Err(error) => Err(error),
        },
    };
    match begun {
        Ok(()) => visit.heard(),
        Err(error) => return refuse(client, from, &error).await,
    }
    // Half-closes are passed on. A reset is how many clients end: not worth a line.
    let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
}

/// Whether a client that begins so may go on. One that goes on in the clear is marked: it ends when TLS is required later.
fn may_go_on(way: &Way, asks: Asks, clear: &AtomicBool) -> bool {
    if asks != Asks::InTheClear {
        return true;
    }
    // Marked first, then looked: whoever requires TLS and then looks at the marks misses none.
    clear.store(true, Ordering::SeqCst);
    !way.leads_to.borrow().tls_only
}

/// Tells a client that it must ask for TLS.
async fn turn_away(mut client: TcpStream, from: SocketAddr, protocol: Protocol) {
    tracing::debug!(client = %from, "a connection in the clear came where TLS is required");
    metrics::endpoint_refused("in_the_clear");
    if client.write_all(&greeting::not_in_the_clear(protocol)).await.is_ok() {
        linger(client).await;
    }
}

/// For as long as a client may take to say its first word.
async fn in_time<T>(way: &Way, first: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(way.wait_for_client, first).await {
        Ok(heard) => heard,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Ends a connection that did not begin.
async fn refuse(client: TcpStream, from: SocketAddr, error: &io::Error) {
    tracing::debug!(client = %from, error = %error, "a connection ended before it began");
    metrics::endpoint_refused(match error.kind() {
        io::ErrorKind::ConnectionAborted => "first_packet",
        io::ErrorKind::TimedOut => "said_nothing",
        _other => "broken",
    });
    if error.kind() == io::ErrorKind::ConnectionAborted {
        linger(client).await;
    }
}

/// Says to a server that speaks first who comes; gives the client's first word if it is one.
async fn greet(
    client: &mut TcpStream,
    from: SocketAddr,
    server: &mut dyn Stream,
    way: &Way,
    visit: &Visit,
) -> io::Result<([u8; greeting::LOGIN], Asks)> {
    let at = client.local_addr()?;
    let source = match way.presents {
        Presents::Client => from,
        Presents::Itself => SocketAddr::new(at.ip(), from.port()),
    };
    server.write_all(greeting::header(source, at).as_bytes()).await?;
    greeting::first_word(client, server, || visit.greeted()).await
}

/// Lets a client read the server's last word: closed while it speaks itself, its system would throw that away.
async fn linger(mut client: TcpStream) {
    let mut ignored = [0; 4096];
    let ended = async {
        client.shutdown().await?;
        while client.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER, ended).await;
}

fn prepare(client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    sockopt::set_socket_keepalive(client, true)?;
    sockopt::set_tcp_keepidle(client, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(client, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(client, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Connects to the server, for a while: it may be restarting.
async fn reach(way: &Way, generation: GenerationId, client: &TcpStream) -> io::Result<Box<dyn Stream>> {
    let deadline = Instant::now() + way.wait_for_server;
    let mut pause = FIRST_PAUSE;
    loop {
        let socket = (way.socket_path)(generation);
        let reached: io::Result<Box<dyn Stream>> = match way.protocol {
            Protocol::Mysql => sockets::connect(&socket).await.map(|server| Box::new(server) as _),
            Protocol::Postgresql => {
                private::connect(generation, &socket).await.map(|server| Box::new(server) as _)
            }
        };
        let error = match reached {
            Ok(server) => return Ok(server),
            Err(error) => error,
        };
        if Instant::now() + pause > deadline {
            return Err(error);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A client that went away needs no server. One that has sent something is waiting.
            gone = is_gone(client) => if gone { return Err(io::ErrorKind::ConnectionAborted.into()) },
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Ready with `true` when the client has closed; never ready while it only waits or has sent something.
async fn is_gone(client: &TcpStream) -> bool {
    match client.peek(&mut [0]).await {
        Ok(0) | Err(_) => true,
        Ok(_) => std::future::pending().await,
    }
}
