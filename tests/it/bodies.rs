//! Bodies without an end, and requests that are none: whoever is refused is answered at once and not read on, and fills no
//! log.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::roles::{Role, Roles};

/// What may be taken after the answer: what is read behind it, and what the system keeps for both ends.
const MOST: u64 = 24 * 1024 * 1024;

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// In chunks, without an end.
    Chunked,
    /// As a part of ten gigabytes.
    Long,
    /// A byte now and then.
    Slowly,
}

/// What came of a request.
struct Told {
    status: u16,
    head: String,
    answered: Duration,
    /// Bytes that were taken after the answer.
    taken: u64,
    ended: Duration,
}

/// Sends a body for as long as it is taken.
#[expect(clippy::disallowed_methods, reason = "a slow client is what is tried")]
fn endless(address: SocketAddr, line: &str, headers: &str, how: Sent) -> Told {
    let mut stream = TcpStream::connect(address).unwrap();
    let framing = match how {
        Sent::Chunked => "Transfer-Encoding: chunked",
        Sent::Long | Sent::Slowly => "Content-Length: 10000000000",
    };
    let begun = Instant::now();
    write!(stream, "{line} HTTP/1.1\r\nHost: x\r\n{framing}\r\n{headers}\r\n").unwrap();
    let part = vec![b' '; 65_536];
    let chunk = [b"10000\r\n".to_vec(), part.clone(), b"\r\n".to_vec()].concat();
    let block = if how == Sent::Chunked { &chunk[..] } else { &part[..] };
    let mut reader = stream.try_clone().unwrap();
    let answered = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        // Up to the end of the head; a reset after it is an end, too.
        while !text.windows(4).any(|end| end == b"\r\n\r\n") {
            match reader.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => text.extend_from_slice(&buffer[..length]),
            }
        }
        (String::from_utf8_lossy(&text).into_owned(), begun.elapsed())
    });
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut taken = 0;
    let mut open = true;
    while open && begun.elapsed() < Duration::from_secs(60) {
        let part = if how == Sent::Slowly { &b" "[..] } else { block };
        if how == Sent::Slowly {
            std::thread::sleep(Duration::from_millis(100));
        }
        match stream.write(part) {
            Ok(length) if answered.is_finished() => taken += length as u64,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => open = false,
        }
    }
    let ended = begun.elapsed();
    let (head, answered) = answered.join().unwrap();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    assert!(!open, "{line} {how:?}: read on and on, {taken} bytes after {status}");
    Told { status, head, answered, taken, ended }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_is_refused_is_read_on() {
    let roles = Roles::start("simulated").await;
    let api = roles.login("coffer").await;
    let address: SocketAddr = roles.base().trim_start_matches("http://").parse().unwrap();
    let project = format!("/v1.0/{}", api.project);
    let token = token(&roles).await;
    let json = "Content-Type: application/json\r\n";
    let with_token = format!("X-Auth-Token: {token}\r\n{json}");
    let as_text = format!("X-Auth-Token: {token}\r\nContent-Type: text/plain\r\n");
    let create = format!("POST {project}/instances");
    let cases: [(&str, &str, &[u16]); 11] = [
        (&create, json, &[401]),
        (&format!("PUT {project}/nothing"), json, &[401]),
        (&format!("POST {project}/nothing"), &with_token, &[404]),
        (&format!("GET {project}/instances"), json, &[401]),
        (&format!("DELETE {project}/flavors"), &with_token, &[405]),
        ("POST /nothing/here", json, &[404]),
        ("POST /v1.0", json, &[405]),
        (&create, &with_token, &[413, 400]),
        (&create, &as_text, &[413, 415, 400]),
        ("POST /?Action=DescribeDBInstances", "", &[400, 403, 413]),
        ("POST /v3/x/instances", json, &[400, 401, 403, 404, 413]),
    ];
    for (line, headers, statuses) in cases {
        for how in [Sent::Chunked, Sent::Long] {
            let told = endless(address, line, headers, how);
            assert!(statuses.contains(&told.status), "{line} {how:?}: {}", told.head);
            assert!(
                told.head.to_ascii_lowercase().contains("connection: close"),
                "{line} {how:?}: {}",
                told.head
            );
            assert!(told.taken < MOST, "{line} {how:?}: {} bytes after the answer", told.taken);
            assert!(told.ended < told.answered + Duration::from_secs(6), "{line} {how:?}: {:?}", told.ended);
        }
    }
    // A slow one is answered without waiting for it, and closed.
    let told = endless(address, &create, json, Sent::Slowly);
    assert_eq!(told.status, 401, "{}", told.head);
    assert!(
        told.answered < Duration::from_secs(3) && told.ended < Duration::from_secs(6),
        "{:?}",
        told.ended
    );
    // Who sends what it says keeps its connection, refused or not.
    let mut stream = TcpStream::connect(address).unwrap();
    for _ in 0..3 {
        write!(stream, "{create} HTTP/1.1\r\nHost: x\r\n{json}Content-Length: 2\r\n\r\n{{}}").unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains("}}") {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "closed: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
    }
}

async fn token(roles: &Roles) -> String {
    let clouds = roles.clouds_yaml();
    let clouds = clouds.split("  coffer:\n").nth(1).unwrap();
    let value = |name: &str| {
        let line = clouds.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().trim_matches('"').trim_matches('\'').to_owned()
    };
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": value("username"), "domain": {"id": "default"}, "password": value("password")}}},
        "scope": {"project": {"name": value("project_name"), "domain": {"id": "default"}}}}});
    let url = format!("{}/identity/v3/auth/tokens", roles.base());
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    answer.headers()["x-subject-token"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_no_error_and_fills_no_log() {
    let roles = Roles::start("simulated").await;
    let address: SocketAddr = roles.base().trim_start_matches("http://").parse().unwrap();
    let before = roles.told(Role::Api).len();
    let words: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /v1.0/x/instances HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for _ in 0..200 {
        for word in words {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(word);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    let told = roles.told(Role::Api);
    let told = &told[before..];
    assert!(!told.contains("ERROR"), "{told}");
    assert!(told.len() < 20_000, "{} bytes: {told}", told.len());
    assert!(told.contains("a client sent what is no request"), "it is told, once: {told}");
}
