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
//!
//! # Whether a client asks for TLS
//! Where an address requires it, only a client that asks for TLS first goes on. Asking is enough: a server that was asked goes
//! on in TLS or not at all. MySQL's client asks by a bit in its first packet. PostgreSQL's asks by a packet of its own, or
//! begins with TLS itself, as clients may from 17 on. It may ask for GSSAPI's encryption before; no server of ours has that,
//! and the endpoint says so in its place, so that it hears what the client asks for next. A cancellation is no login, and says
//! nothing that is secret after it: it passes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::datastore::Protocol;

/// A packet's head: length, and number.
const HEAD: usize = 4;

/// A client's first packet up to what it can: its head, and the lower half of its capabilities.
pub(super) const LOGIN: usize = HEAD + 2;

/// The second byte of the capabilities: `CLIENT_SSL` is 0x0800.
const ASKS_FOR_TLS: u8 = 0x08;

/// How a client wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// In TLS.
    ForTls,
    /// In the clear.
    InTheClear,
    /// It ends another's statement, and then itself.
    ToCancel,
}

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

/// What a server says to a client that it does not take since its disk is full.
pub(super) fn full_volume(protocol: Protocol) -> Vec<u8> {
    let text = b"the database takes no connections, as its volume is full: make it larger, or delete a database by the API";
    match protocol {
        Protocol::Mysql => mysql_error(1021, text),
        Protocol::Postgresql => postgresql_error(b"53100", text),
    }
}

/// What a server says that requires TLS, to a client that has said its first word in the clear.
pub(super) fn not_in_the_clear(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Mysql => {
            let text = b"#HY000Connections using insecure transport are prohibited: this address requires TLS";
            let mut packet = mysql_error(3159, text);
            // The server's greeting was packet 0, and the client's word packet 1.
            packet[3] = 2;
            packet
        }
        Protocol::Postgresql => postgresql_error(
            b"28000",
            b"this address requires TLS, and the connection is not encrypted: connect with sslmode=require or more",
        ),
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

/// The client's first bytes if they begin a login, and how it goes on; until then passes on what the server says. `greeted`
/// hears that it has said something.
pub(super) async fn first_word(
    client: &mut TcpStream,
    server: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    greeted: impl Fn(),
) -> io::Result<([u8; LOGIN], Asks)> {
    let mut word = [0; LOGIN];
    let mut heard = 0;
    let mut said = [0; 4096];
    while heard < LOGIN {
        // Whatever does not even begin as a login is not waited for.
        if heard >= HEAD && !begins_a_login(word) {
            break;
        }
        tokio::select! {
            read = client.read(&mut word[heard..]) => match read? {
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
    if !begins_a_login(word) {
        return Err(io::Error::other("the client's first packet is no login"));
    }
    let asks = if word[LOGIN - 1] & ASKS_FOR_TLS == 0 { Asks::InTheClear } else { Asks::ForTls };
    Ok((word, asks))
}

/// The first eight bytes of a client of PostgreSQL's, if they begin what such a client says first, and how it goes on. The
/// server says nothing before, so none is needed yet.
pub(super) async fn first_packet(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<([u8; OPENING], Asks)> {
    let mut asked_for_gssapi = false;
    loop {
        let mut head = [0; OPENING];
        client.read_exact(&mut head).await?;
        match opens(head) {
            Some(Opening::ForGssapi) if !asked_for_gssapi => {
                asked_for_gssapi = true;
                client.write_all(b"N").await?;
            }
            Some(Opening::Asks(asks)) => return Ok((head, asks)),
            Some(Opening::ForGssapi) | None => {
                return Err(io::Error::other("the client's first packet opens no session"));
            }
        }
    }
}

/// A packet's length, and what it is.
pub(super) const OPENING: usize = 8;

/// The longest that opens a session, as the server has it.
const LONGEST_OPENING: u32 = 10_000;

/// The longest key in a cancellation is 256 bytes; it is 4 until protocol 3.2.
const CANCELS: std::ops::RangeInclusive<u32> = 16..=12 + 256;

/// What a client of PostgreSQL's says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// It asks for GSSAPI's encryption, and goes on by the answer.
    ForGssapi,
    /// It goes on so.
    Asks(Asks),
}

/// A record of TLS that begins a session: a handshake, of any version, and in it a client's first word.
const CLIENT_HELLO: (u8, u8, u8) = (0x16, 0x03, 0x01);

fn opens([a, b, c, d, e, f, g, h]: [u8; OPENING]) -> Option<Opening> {
    if (a, b, f) == CLIENT_HELLO {
        return Some(Opening::Asks(Asks::ForTls));
    }
    let (length, code) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let (opening, fits) = match code {
        // Nothing but the request.
        80_877_103 => (Opening::Asks(Asks::ForTls), length == 8),
        80_877_104 => (Opening::ForGssapi, length == 8),
        80_877_102 => (Opening::Asks(Asks::ToCancel), CANCELS.contains(&length)),
        _version => {
            (Opening::Asks(Asks::InTheClear), code >> 16 == 3 && (9..=LONGEST_OPENING).contains(&length))
        }
    };
    fits.then_some(opening)
}

fn begins_a_login([low, middle, high, number, ..]: [u8; LOGIN]) -> bool {
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    number == 1 && (LOGIN - HEAD..=LONGEST).contains(&length)
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
        for ([low, middle, high, number], passes) in [
            ([0x20, 0, 0, 1], true),
            ([0xff, 0xff, 0x01, 1], true),
            (*b"PROX", false),
            (*b"\r\n\r\n", false),
            ([0xff, 0xff, 0xff, 1], false),
            ([0x20, 0, 0, 0], false),
            ([0x20, 0, 0, 2], false),
            ([1, 0, 0, 1], false),
        ] {
            let word = [low, middle, high, number, 0, 0];
            assert_eq!(begins_a_login(word), passes, "{word:?}");
        }
    }

    #[test]
    fn only_what_a_client_of_postgresql_says_first_passes() {
        let asks = |asks| Some(Opening::Asks(asks));
        for (length, code, opening) in [
            (8_u32, 80_877_103_u32, asks(Asks::ForTls)),
            (9, 80_877_103, None),
            (8, 80_877_104, Some(Opening::ForGssapi)),
            (9, 80_877_104, None),
            (16, 80_877_102, asks(Asks::ToCancel)),
            (44, 80_877_102, asks(Asks::ToCancel)),
            (269, 80_877_102, None),
            (60, 3 << 16, asks(Asks::InTheClear)),
            (60, (3 << 16) + 2, asks(Asks::InTheClear)),
            (10_001, 3 << 16, None),
            (8, 3 << 16, None),
            (60, 2 << 16, None),
            // A record of 512 bytes with a client's first word of 508, and one with something else.
            (0x1603_0102, 0x0001_0001, asks(Asks::ForTls)),
            (0x1603_0102, 0x0002_0001, None),
            (u32::from_be_bytes(*b"GET "), u32::from_be_bytes(*b"/ HT"), None),
            (u32::from_be_bytes(*b"PROX"), u32::from_be_bytes(*b"Y TC"), None),
        ] {
            let [a, b, c, d] = length.to_be_bytes();
            let [e, f, g, h] = code.to_be_bytes();
            assert_eq!(opens([a, b, c, d, e, f, g, h]), opening, "{length} {code}");
        }
    }

    /// What a client of PostgreSQL's asks for after it was told that there is no GSSAPI.
    #[tokio::test]
    async fn a_client_that_asks_for_gssapi_is_asked_again() {
        let gssapi = [0, 0, 0, 8, 4, 210, 22, 48];
        let tls = [0, 0, 0, 8, 4, 210, 22, 47];
        let clear = [0, 0, 0, 60, 0, 3, 0, 0];
        for (next, expected) in [(tls, Some(Asks::ForTls)), (clear, Some(Asks::InTheClear)), (gssapi, None)] {
            let (mut client, mut ours) = tokio::io::duplex(64);
            let heard = tokio::spawn(async move { first_packet(&mut ours).await });
            client.write_all(&gssapi).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'N');
            client.write_all(&next).await.unwrap();
            let heard = heard.await.unwrap().ok();
            assert_eq!(heard, expected.map(|asks| (next, asks)));
        }
    }

    #[test]
    fn what_is_told_in_the_clear_is_a_packet_of_the_protocol() {
        let packet = not_in_the_clear(Protocol::Mysql);
        assert_eq!(usize::from(packet[0]), packet.len() - HEAD);
        assert_eq!(packet[1..7], [0, 0, 2, 0xff, 0x57, 0x0c]);
        assert!(packet[7..].starts_with(b"#HY000"));
        let packet = not_in_the_clear(Protocol::Postgresql);
        assert_eq!((packet[0], usize::from(packet[4])), (b'E', packet.len() - 1));
    }
}
