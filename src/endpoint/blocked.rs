//! Who listens on a port that we cannot have, so that a person can be told.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Who listens on this port, on any address, for example `0.0.0.0:3306, mariadbd (pid 812)`; without the process when
/// we may not see it; `None` when nobody does. For people: by the time it is read it may be another.
pub fn who_listens(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let listeners: Vec<(String, String)> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listener(line, port)).collect::<Vec<_>>())
        .collect();
    let named = listeners.iter().find_map(|(address, inode)| {
        let (pid, name) = holder(inode)?;
        Some(format!("{address}:{port}, {name} (pid {pid})"))
    });
    named.or_else(|| {
        let (address, _) = listeners.first()?;
        Some(format!("{address}:{port}, a process that only root can see"))
    })
}

/// The address and the socket's inode, if this line of the table is a listener on the port.
fn listener(line: &str, port: u16) -> Option<(String, String)> {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
    let mut parts = line.split_whitespace();
    let (address, hex_port) = parts.nth(1)?.split_once(':')?;
    let state = parts.nth(1)?;
    let inode = parts.nth(5)?;
    let fits = state == LISTEN && u16::from_str_radix(hex_port, 16).ok()? == port;
    fits.then(|| (readable(address).unwrap_or_else(|| address.to_owned()), inode.to_owned()))
}

/// The kernel prints each 32-bit word of an address in the machine's own byte order.
fn readable(hex: &str) -> Option<String> {
    let words: Vec<u8> = (0..hex.len())
        .step_by(8)
        .map(|at| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    if let Ok(four) = <[u8; 4]>::try_from(words.as_slice()) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(words.as_slice()).ok()?;
    Some(format!("[{}]", Ipv6Addr::from(sixteen)))
}

/// The process that has this socket open.
fn holder(inode: &str) -> Option<(i32, String)> {
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd"))
            .ok()?
            .filter_map(Result::ok)
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()));
        let name = || fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        holds.then(|| (pid, name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let who = who_listens(port).expect("we do");
        assert!(who.starts_with(&format!("127.0.0.1:{port}, ")), "{who}");
        assert!(who.ends_with(&format!("(pid {})", std::process::id())), "{who}");
        drop(listener);
        // A child that another test is starting may hold a copy until it runs its program.
        let gone = async {
            while who_listens(port).is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), gone)
            .await
            .expect("nobody listens any more");
    }

    #[test]
    fn only_listeners_on_the_port_count() {
        let line =
            "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  999  0 12345 1 0";
        assert_eq!(listener(line, 3306), Some(("127.0.0.1".to_owned(), "12345".to_owned())));
        assert_eq!(listener(line, 3307), None);
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), 3306), None);
        assert_eq!(listener("  sl  local_address rem_address   st", 3306), None);
    }
}
