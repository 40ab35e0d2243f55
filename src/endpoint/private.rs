//! The way to a server that is reached by TCP: at its generation's private address, on this machine.
//!
//! PostgreSQL has TLS on TCP only, so its servers have an address of their own each ([`private_address`]), to which any
//! account of the machine can connect, and at which any account can listen while the server does not. What holds:
//!
//! - Who connects past us meets the same rules as by us: SCRAM, and none of our own accounts is let in by TCP. What we
//!   hold, the server's own rules hold, too: a fence is written there.
//! - Who listens in a server's place gets nobody from us: connected, and before a byte is sent, we look who listens at
//!   that very address. It must be the owner of the server's socket folder, which only the caller's own account can
//!   set. Who would listen in between gets a client that proves its password without telling it, and that, if it asks
//!   for TLS, sees a certificate that is not the instance's.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tokio::net::TcpStream;

use crate::domain::datastore::EngineKind;
use crate::domain::generation::private_address;
use crate::domain::ids::GenerationId;

/// Connects to the generation's server, whose socket would be `socket`.
///
/// # Errors
/// It does not listen, or another account than its own does ([`io::ErrorKind::PermissionDenied`]).
pub(super) async fn connect(generation: GenerationId, socket: &Path) -> io::Result<TcpStream> {
    let folder = socket.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let owner = std::fs::symlink_metadata(folder)?.uid();
    let at = SocketAddrV4::new(private_address(generation), EngineKind::Postgresql.standard_port());
    let stream = TcpStream::connect(SocketAddr::V4(at)).await?;
    stream.set_nodelay(true)?;
    match listener(at)? {
        Some(user) if user == owner => Ok(stream),
        _other => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another account than the server's listens at its address",
        )),
    }
}

/// The user id of who listens at exactly that address. What listens stands first in the kernel's list.
fn listener(at: SocketAddrV4) -> io::Result<Option<u32>> {
    let wanted = in_list(*at.ip(), at.port());
    for line in BufReader::new(File::open("/proc/net/tcp")?).lines().skip(1) {
        match Entry::parse(&line?) {
            Some(entry) if entry.state != LISTENS => break,
            Some(entry) if entry.local == wanted => return Ok(Some(entry.user)),
            Some(_) | None => {}
        }
    }
    Ok(None)
}

const LISTENS: &str = "0A";

/// The address as the list has it: as the number that it is in this machine's memory.
fn in_list(address: Ipv4Addr, port: u16) -> String {
    format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()))
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    local: String,
    state: String,
    user: u32,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?.to_owned();
        let state = fields.nth(1)?.to_owned();
        let user = fields.nth(3)?.parse().ok()?;
        Some(Self { local, state, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_who_listens_where() {
        let line = "   1: 0100A87F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   997        0 4711 1 0";
        let entry = Entry { local: "0100A87F:1538".to_owned(), state: LISTENS.to_owned(), user: 997 };
        assert_eq!(Entry::parse(line), Some(entry));
        assert_eq!(Entry::parse("sl local"), None);
        if cfg!(target_endian = "little") {
            assert_eq!(in_list(Ipv4Addr::new(127, 168, 0, 1), 5432), "0100A87F:1538");
        }
    }

    #[tokio::test]
    async fn only_the_folders_owner_is_believed() {
        let run = tempfile::tempdir().unwrap();
        let generation = GenerationId(uuid::Uuid::new_v4());
        let folder = run.path().join("x");
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("s");
        assert_eq!(connect(generation, &socket).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = tokio::net::TcpListener::bind((private_address(generation), 5432)).await.unwrap();
        connect(generation, &socket).await.unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&folder, Some(1), None).unwrap();
            let refused = connect(generation, &socket).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
    }
}
