//! One connection: to the server's socket, the header that says who comes, the client's first word, and then every byte
//! both ways. What passes is never looked at.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::SocketPath;
use super::greeting::{self, Unheard};
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

/// Where new connections of one listener go.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) leads_to: watch::Receiver<GenerationId>,
    pub(super) socket_path: SocketPath,
    pub(super) presents: Presents,
    pub(super) wait_for_server: Duration,
    pub(super) wait_for_client: Duration,
    pub(super) unheard: Unheard,
}

/// Forwards one connection until both sides have ended it, or one broke it.
pub(super) async fn forward(mut client: TcpStream, from: SocketAddr, way: Way) {
    let _counted = Connection::begin();
    if let Err(error) = prepare(&client) {
        tracing::debug!(error = %error, "a connection without its options");
    }
    let mut server = match reach(&way, &client).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(generation.id = %*way.leads_to.borrow(), error = %error, "no server for a connection");
            metrics::endpoint_refused("no_server");
            return;
        }
    };
    match greet(&mut client, from, &mut server, &way).await {
        Ok(()) => {}
        Err(error) => {
            tracing::debug!(client = %from, error = %error, "a connection ended before it began");
            metrics::endpoint_refused(match error.kind() {
                io::ErrorKind::ConnectionAborted => "first_packet",
                io::ErrorKind::TimedOut => "said_nothing",
                _other => "broken",
            });
            if error.kind() == io::ErrorKind::ConnectionAborted {
                linger(client).await;
            }
            return;
        }
    }
    // Half-closes are passed on. A reset is how many clients end: not worth a line.
    let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
}

/// Says who comes, and lets the client's first word pass if it is one.
async fn greet(
    client: &mut TcpStream,
    from: SocketAddr,
    server: &mut UnixStream,
    way: &Way,
) -> io::Result<()> {
    let at = client.local_addr()?;
    let source = match way.presents {
        Presents::Client => from,
        Presents::Itself => SocketAddr::new(at.ip(), from.port()),
    };
    server.write_all(greeting::header(source, at).as_bytes()).await?;
    let mut turn = way.unheard.enter();
    tokio::select! {
        heard = greeting::first_word(client, server) => heard,
        () = tokio::time::sleep(way.wait_for_client) => Err(io::ErrorKind::TimedOut.into()),
        () = turn.is_over() => Err(io::Error::other("too many clients say nothing")),
    }
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

/// Connects to the server, for a while: it may be restarting. Where it leads is asked at each try.
async fn reach(way: &Way, client: &TcpStream) -> io::Result<UnixStream> {
    let deadline = Instant::now() + way.wait_for_server;
    let mut pause = FIRST_PAUSE;
    loop {
        let generation = *way.leads_to.borrow();
        let error = match sockets::connect(&(way.socket_path)(generation)).await {
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
