//! What is said before a connection is forwarded: to the server, who comes; by the client, its first word.
//!
//! A server takes its client's address from a PROXY header, and believes every one that comes by its socket before a
//! login is done. So a client's own must not reach it: the MySQL protocol's packets begin with three bytes of length
//! and one that counts, and a client's first one is number 1, which the fourth byte of neither of a header's two
//! signatures is (`PROX`, `\r\n\r\n`); nor may it be so long that it has a second part. Later packets may be what they
//! like: with the first one, the server has looked for the account.
//!
//! Inside TLS nobody but the server sees what comes: the header is a convenience for `user@host`, no boundary, and no
//! account may be safe by its host alone.
//!
//! The server speaks first: what it says goes to the client while we wait for the client's word.
//!
//! PostgreSQL takes no header, and its client speaks first: a packet that opens a session, asks for TLS, or cancels.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::datastore::Protocol;

/// A packet's head: length, and number.
const HEAD: usize = 4;

/// The longest first packet. A login has some hundred bytes, with what a client tells of itself up to 64 KiB more. One
/// of the greatest length is followed by another part, before which the server believes a header, too (tried).
const LONGEST: usize = 128 * 1024;

/// Version 1 of the header: `PROXY TCP4 10.0.0.7 127.64.0.1 50112 3306`.
pub(super) fn header(from: SocketAddr, to: SocketAddr) -> String {
    let family = if from.is_ipv4() && to.is_ipv4() { "TCP4" } else { "TCP6" };
    let ip = |address: SocketAddr| match address {
        SocketAddr::V4(v4) if family == "TCP6" => v4.ip().to_ipv6_mapped().to_string(),
        other => other.ip().to_string(),
    };
    format!("PROXY {family} {} {} {} {}\r\n", ip(from), ip(to), from.port(), to.port())
}

/// What a server says to a client that it does not take now.
pub(super) fn not_now(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Mysql => not_now_of_mysql(),
        Protocol::Postgresql => not_now_of_postgresql(),
    }
}

/// What a server says to a client that comes from where nobody is let in.
pub(super) fn not_allowed(protocol: Protocol) -> Vec<u8> {
    match protocol {
        // Without the client's address, which it knows.
        Protocol::Mysql => mysql_error(1130, b"Host is not allowed to connect to this server"),
        Protocol::Postgresql => {
            postgresql_error(b"28000", b"this address is not allowed to connect to the database")
        }
    }
}

/// PostgreSQL's, as it says it of its own start. A client that asked for TLS first takes it for a refusal, too, though it
/// does not tell the text, which anybody could have sent.
fn not_now_of_postgresql() -> Vec<u8> {
    postgresql_error(b"57P03", b"the database system is starting up")
}

fn postgresql_error(state: &[u8], text: &[u8]) -> Vec<u8> {
    let fields = [&b"SFATAL\0VFATAL\0C"[..], state, b"\0M", text, b"\0\0"].concat();
    let length = u32::try_from(4 + fields.len()).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), &fields].concat()
}

/// MySQL's, in place of its greeting when it is going down.
fn not_now_of_mysql() -> Vec<u8> {
    mysql_error(1053, b"Server shutdown in progress")
}

/// An error of MySQL's as a packet, in place of the greeting: without a state, since nothing was agreed with the client yet.
fn mysql_error(code: u16, text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(3 + text.len()).unwrap_or(u8::MAX);
    let mut packet = vec![length, 0, 0, 0, 0xff];
    packet.extend_from_slice(&code.to_le_bytes());
    packet.extend_from_slice(text);
    packet
}

/// Passes the client's first four bytes on if they begin a login, and until then what the server says; `greeted` hears
/// that it has said something.
pub(super) async fn first_word(
    client: &mut TcpStream,
    server: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    greeted: impl Fn(),
) -> io::Result<()> {
    let mut head = [0; HEAD];
    let mut heard = 0;
    let mut said = [0; 4096];
    while heard < HEAD {
        tokio::select! {
            read = client.read(&mut head[heard..]) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => heard += length,
            },
            read = server.read(&mut said) => match read? {
                // It has said why: too many connections, for example.
                0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                length => {
                    client.write_all(&said[..length]).await?;
                    greeted();
                }
            },
        }
    }
    if !begins_a_login(head) {
        return Err(io::Error::other("the client's first packet is no login"));
    }
    server.write_all(&head).await
}

/// The first eight bytes of a client of PostgreSQL's, if they begin what such a client says first. The server says
/// nothing before, so none is needed yet.
pub(super) async fn first_packet(client: &mut TcpStream) -> io::Result<[u8; OPENING]> {
    let mut head = [0; OPENING];
    client.read_exact(&mut head).await?;
    if !opens(head) {
        return Err(io::Error::other("the client's first packet opens no session"));
    }
    Ok(head)
}

/// A packet's length, and what it is.
pub(super) const OPENING: usize = 8;

/// The longest that opens a session, as the server has it.
const LONGEST_OPENING: u32 = 10_000;

/// The longest key in a cancellation is 256 bytes; it is 4 until protocol 3.2.
const CANCELS: std::ops::RangeInclusive<u32> = 16..=12 + 256;

fn opens([a, b, c, d, e, f, g, h]: [u8; OPENING]) -> bool {
    let (length, code) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    match code {
        // TLS, and GSSAPI's encryption: nothing but the request.
        80_877_103 | 80_877_104 => length == 8,
        80_877_102 => CANCELS.contains(&length),
        _version => code >> 16 == 3 && (9..=LONGEST_OPENING).contains(&length),
    }
}

fn begins_a_login([low, middle, high, number]: [u8; HEAD]) -> bool {
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    number == 1 && length <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_both_ends() {
        let to = "127.64.0.1:3306".parse().expect("an address");
        for (from, line) in [
            ("10.0.0.7:50112", "PROXY TCP4 10.0.0.7 127.64.0.1 50112 3306\r\n"),
            ("[fd00::7]:50112", "PROXY TCP6 fd00::7 ::ffff:127.64.0.1 50112 3306\r\n"),
        ] {
            assert_eq!(header(from.parse().expect("an address"), to), line);
        }
    }

    #[test]
    fn not_now_is_a_packet_of_the_protocol() {
        let packet = not_now(Protocol::Mysql);
        assert_eq!(usize::from(packet[0]), packet.len() - HEAD);
        assert_eq!(packet[1..7], [0, 0, 0, 0xff, 0x1d, 0x04]);
        assert!(packet.ends_with(b"in progress"));
        let packet = not_now(Protocol::Postgresql);
        assert_eq!((packet[0], usize::from(packet[4])), (b'E', packet.len() - 1));
        assert!(packet.ends_with(b"up\0\0"));
    }

    #[test]
    fn only_a_packet_of_a_login_passes() {
        for (head, passes) in [
            ([0x20, 0, 0, 1], true),
            ([0xff, 0xff, 0x01, 1], true),
            (*b"PROX", false),
            (*b"\r\n\r\n", false),
            ([0xff, 0xff, 0xff, 1], false),
            ([0x20, 0, 0, 0], false),
            ([0x20, 0, 0, 2], false),
        ] {
            assert_eq!(begins_a_login(head), passes, "{head:?}");
        }
    }

    #[test]
    fn only_what_a_client_of_postgresql_says_first_passes() {
        for (length, code, passes) in [
            (8_u32, 80_877_103_u32, true),
            (9, 80_877_103, false),
            (8, 80_877_104, true),
            (16, 80_877_102, true),
            (44, 80_877_102, true),
            (269, 80_877_102, false),
            (60, 3 << 16, true),
            (60, (3 << 16) + 2, true),
            (10_001, 3 << 16, false),
            (8, 3 << 16, false),
            (60, 2 << 16, false),
            (u32::from_be_bytes(*b"GET "), u32::from_be_bytes(*b"/ HT"), false),
            (u32::from_be_bytes(*b"PROX"), u32::from_be_bytes(*b"Y TC"), false),
        ] {
            let [a, b, c, d] = length.to_be_bytes();
            let [e, f, g, h] = code.to_be_bytes();
            assert_eq!(opens([a, b, c, d, e, f, g, h]), passes, "{length} {code}");
        }
    }
}
