//! The beginning of the MySQL protocol by hand: what a client that keeps to no rule can send, and from where.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// LONG_PASSWORD, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH.
const ABILITIES: u32 = 0x1 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;
const TLS: u32 = 0x800;

/// Longer than any of the service's own limits.
const PATIENCE: Duration = Duration::from_secs(30);

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What came of a login.
pub enum Answer {
    /// It was let in.
    In(Session),
    /// The server's number and text.
    Refused(u16, String),
    /// The connection ended without a word.
    Closed(io::Error),
}

impl Answer {
    pub fn is_in(&self) -> bool {
        matches!(self, Self::In(_))
    }

    /// The server's number, if it said one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(code, _) => Some(*code),
            Self::In(_) | Self::Closed(_) => None,
        }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::In(_) => f.write_str("let in"),
            Self::Refused(code, text) => write!(f, "{code}: {text}"),
            Self::Closed(error) => write!(f, "closed: {error}"),
        }
    }
}

/// A login to try.
#[derive(Clone)]
pub struct Knock<'a> {
    pub from: Ipv4Addr,
    pub to: SocketAddr,
    pub user: &'a str,
    pub password: Option<&'a str>,
    /// TLS held against this authority, as PEM.
    pub tls: Option<&'a str>,
    /// What is sent in the clear before anything else, each part in a segment of its own.
    pub first: Vec<&'a [u8]>,
    /// What is sent inside TLS before the login.
    pub inside: Vec<u8>,
    /// What is sent in the clear between the parts of a login that is made as long as a packet can be.
    pub amid: Option<Vec<u8>>,
    /// What is sent in the clear once the server has asked for another way to log in, before the answer to that.
    pub late: Vec<u8>,
}

impl<'a> Knock<'a> {
    pub fn new(from: Ipv4Addr, to: SocketAddr, user: &'a str, password: Option<&'a str>) -> Self {
        Self {
            from,
            to,
            user,
            password,
            tls: None,
            first: Vec::new(),
            amid: None,
            inside: Vec::new(),
            late: Vec::new(),
        }
    }

    pub fn over(self, authority: &'a str) -> Self {
        Self { tls: Some(authority), ..self }
    }

    pub fn after(self, first: Vec<&'a [u8]>) -> Self {
        Self { first, ..self }
    }

    pub fn with_amid(self, amid: &[u8]) -> Self {
        Self { amid: Some(amid.to_vec()), ..self }
    }

    pub fn with(self, inside: &[u8]) -> Self {
        Self { inside: inside.to_vec(), ..self }
    }

    pub fn with_late(self, late: &[u8]) -> Self {
        Self { late: late.to_vec(), ..self }
    }

    pub async fn answer(&self) -> Answer {
        match tokio::time::timeout(PATIENCE, self.log_in()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Closed(error),
            Err(_) => panic!("{} at {}: no answer", self.user, self.to),
        }
    }

    async fn log_in(&self) -> io::Result<Answer> {
        let (mut clear, greeting) = connect(self.from, self.to).await?;
        let nonce = match greeting {
            Greeting::Nonce(nonce) => nonce,
            Greeting::Refusal(refusal) => return Ok(refusal),
        };
        send(&mut clear, &self.first).await?;
        let mut number = 1;
        let mut stream: Box<dyn Stream> = match self.tls {
            None => Box::new(clear),
            Some(authority) => {
                write_packet(&mut clear, number, &head(ABILITIES | TLS)).await?;
                number += 1;
                let mut tls = secured(clear, authority, self.to.ip()).await?;
                tls.write_all(&self.inside).await?;
                tls.flush().await?;
                Box::new(tls)
            }
        };
        let mut login = head(ABILITIES | if self.tls.is_some() { TLS } else { 0 });
        login.extend_from_slice(self.user.as_bytes());
        login.push(0);
        // Who sends something late has the server ask once more.
        let (proof, plugin) = if self.late.is_empty() {
            (proof(self.password, &nonce), "mysql_native_password")
        } else {
            (b"x".to_vec(), "coffer_test_plugin")
        };
        login.push(u8::try_from(proof.len()).unwrap());
        login.extend_from_slice(&proof);
        login.extend_from_slice(plugin.as_bytes());
        login.push(0);
        match &self.amid {
            None => write_packet(&mut stream, number, &login).await?,
            Some(amid) => {
                login.resize(0x00ff_ffff, 0);
                write_packet(&mut stream, number, &login).await?;
                stream.write_all(amid).await?;
                write_packet(&mut stream, number + 1, &[]).await?;
            }
        }
        loop {
            let (number, packet) = read_packet(&mut stream).await?;
            match packet.first() {
                Some(0) => return Ok(Answer::In(Session { stream })),
                Some(0xff) => return Ok(refusal(&packet)),
                Some(0xfe) => {
                    let mut parts = packet[1..].splitn(2, |byte| *byte == 0);
                    let plugin = parts.next().unwrap_or_default();
                    let nonce = parts.next().unwrap_or_default();
                    stream.write_all(&self.late).await?;
                    let answer = match plugin {
                        b"mysql_native_password" => proof_of(self.password, nonce),
                        _ => self.password.unwrap_or_default().as_bytes().to_vec(),
                    };
                    write_packet(&mut stream, number.wrapping_add(1), &answer).await?;
                }
                _ => return Err(io::Error::other(format!("unexpected packet {packet:?}"))),
            }
        }
    }
}

enum Greeting {
    Nonce(Vec<u8>),
    Refusal(Answer),
}

/// Connects from an address of this host; gives what the server's greeting holds.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<(TcpStream, Greeting)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let (_, packet) = read_packet(&mut stream).await?;
    if packet.first() == Some(&0xff) {
        return Ok((stream, Greeting::Refusal(refusal(&packet))));
    }
    // Protocol, version, connection, 8 bytes of the nonce, 19 of other things, the other 12 of the nonce.
    let version = packet.iter().position(|byte| *byte == 0).unwrap();
    let rest = &packet[version + 1..];
    let nonce = [&rest[4..12], &rest[31..43]].concat();
    Ok((stream, Greeting::Nonce(nonce)))
}

/// Connects, waits for the server's greeting, and sends these parts, each in a segment of its own. Gives what came
/// back until the connection ended.
pub async fn sent_in_the_clear(from: Ipv4Addr, to: SocketAddr, parts: &[&[u8]]) -> Vec<u8> {
    let (mut stream, _) = connect(from, to).await.unwrap();
    // It may be cut off already.
    let _ = send(&mut stream, parts).await;
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    // Reset is an end, too.
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the connection ends");
    said
}

/// Each part in a segment of its own, as far as the system does not join what it was told not to.
async fn send(stream: &mut TcpStream, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        stream.write_all(part).await?;
        // A moment, in which it goes; nothing is waited for.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// TLS with the server, whose certificate must name `name` and be signed by the authority.
pub async fn secured(
    clear: TcpStream,
    authority: &str,
    name: IpAddr,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(ServerName::IpAddress(name.into()), clear).await
}

/// Whether the server at `to` proves itself as `name` by the authority.
pub async fn proves_itself(to: SocketAddr, authority: &str, name: IpAddr) -> bool {
    let (mut clear, _) = connect(Ipv4Addr::LOCALHOST, to).await.unwrap();
    write_packet(&mut clear, 1, &head(ABILITIES | TLS)).await.unwrap();
    secured(clear, authority, name).await.is_ok()
}

fn head(abilities: u32) -> Vec<u8> {
    let mut head = abilities.to_le_bytes().to_vec();
    head.extend_from_slice(&(16_u32 << 20).to_le_bytes());
    // utf8mb4_general_ci.
    head.push(45);
    head.extend_from_slice(&[0; 23]);
    head
}

fn proof(password: Option<&str>, nonce: &[u8]) -> Vec<u8> {
    match password {
        None => Vec::new(),
        Some(_) => proof_of(password, nonce),
    }
}

/// What `mysql_native_password` sends.
fn proof_of(password: Option<&str>, nonce: &[u8]) -> Vec<u8> {
    let Some(password) = password.filter(|password| !password.is_empty()) else { return Vec::new() };
    let once = Sha1::digest(password.as_bytes());
    let mixed = Sha1::new().chain_update(&nonce[..20]).chain_update(Sha1::digest(once)).finalize();
    once.iter().zip(mixed).map(|(a, b)| a ^ b).collect()
}

async fn read_packet(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<(u8, Vec<u8>)> {
    let head = stream.read_u32_le().await?;
    let mut packet = vec![0; usize::try_from(head & 0x00ff_ffff).unwrap()];
    stream.read_exact(&mut packet).await?;
    Ok((u8::try_from(head >> 24).unwrap(), packet))
}

async fn write_packet(
    stream: &mut (impl AsyncWrite + Unpin + ?Sized),
    number: u8,
    packet: &[u8],
) -> io::Result<()> {
    let head = u32::try_from(packet.len()).unwrap() | u32::from(number) << 24;
    let mut whole = head.to_le_bytes().to_vec();
    whole.extend_from_slice(packet);
    stream.write_all(&whole).await?;
    stream.flush().await
}

fn refusal(packet: &[u8]) -> Answer {
    let code = u16::from_le_bytes([packet[1], packet[2]]);
    Answer::Refused(code, String::from_utf8_lossy(&packet[3..]).into_owned())
}

/// A session that was let in.
pub struct Session {
    stream: Box<dyn Stream>,
}

impl Session {
    /// The first value of a statement's first row; empty when it gives no row.
    pub async fn value(&mut self, sql: &str) -> Result<String, u16> {
        let mut command = vec![3];
        command.extend_from_slice(sql.as_bytes());
        write_packet(&mut self.stream, 0, &command).await.unwrap();
        let (_, first) = read_packet(&mut self.stream).await.unwrap();
        match first[0] {
            0 => return Ok(String::new()),
            0xff => return Err(u16::from_le_bytes([first[1], first[2]])),
            _ => {}
        }
        let mut value = String::new();
        let (mut ends, mut rows) = (0, 0);
        while ends < 2 {
            let (_, packet) = read_packet(&mut self.stream).await.unwrap();
            if packet[0] == 0xfe && packet.len() < 9 {
                ends += 1;
            } else if ends == 1 {
                rows += 1;
                if rows == 1 {
                    let length = usize::from(packet[0]);
                    assert!(length < 251, "a short value");
                    value = String::from_utf8_lossy(&packet[1..=length]).into_owned();
                }
            }
        }
        Ok(value)
    }
}
