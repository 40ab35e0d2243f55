//! Connections to the servers' Unix sockets.
//!
//! A socket's folder belongs to the server's account, which may be taken over and put anything there: a link to another
//! server's socket, for example. So nothing is followed, and the folder's owner, which only the caller's own account
//! can set, is who must have made the socket and who must listen on it.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use tokio::net::UnixStream;

/// Connects to the socket `path`, which must be its folder's owner's.
///
/// # Errors
/// There is none, nobody listens, or it is another's ([`io::ErrorKind::PermissionDenied`]).
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Held by path only: who may pass through the folder may not list it.
    let seen = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, parent, seen | OFlags::DIRECTORY, Mode::empty())?;
    let owner = rustix::fs::fstat(&folder)?.st_uid;
    let socket = rustix::fs::openat(&folder, name, seen, Mode::empty())?;
    let facts = rustix::fs::fstat(&socket)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::Socket || facts.st_uid != owner {
        return Err(refused("the server's socket is not one of its account"));
    }
    // The very socket that was looked at, whatever stands at its path by now.
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await?;
    // Of a peer in another PID namespace, as in another container, only the user is known.
    if stream.peer_cred()?.uid() != owner {
        return Err(refused("another account than the server's listens on its socket"));
    }
    Ok(stream)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_link_in_place_of_the_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, theirs) = (folder.path().join("mine"), folder.path().join("theirs"));
        for each in [&mine, &theirs] {
            std::fs::create_dir(each).unwrap();
        }
        let _listener = UnixListener::bind(theirs.join("server.sock")).unwrap();
        connect(&theirs.join("server.sock")).await.unwrap();
        symlink(theirs.join("server.sock"), mine.join("server.sock")).unwrap();
        let error = connect(&mine.join("server.sock")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        symlink(&theirs, folder.path().join("folder")).unwrap();
        connect(&folder.path().join("folder/server.sock")).await.unwrap_err();
        std::fs::write(mine.join("file"), "").unwrap();
        connect(&mine.join("file")).await.unwrap_err();
        assert_eq!(connect(&mine.join("none")).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&theirs, Some(1), None).unwrap();
            let error = connect(&theirs.join("server.sock")).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "its folder is another account's");
            // As a server that passes its listening socket on: the file is right, who listens is not.
            std::os::unix::fs::chown(theirs.join("server.sock"), Some(1), None).unwrap();
            connect(&theirs.join("server.sock")).await.unwrap_err();
        }
    }
}
