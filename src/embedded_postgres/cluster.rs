//! The cluster on disk: its folders, its settings, and making it whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::time::Instant;

use super::{Account, Config, ENDPOINT, Error, NAME, binaries, postmaster};

/// The longest path of a Unix socket that we use, in bytes; the system's own limit is 107.
const LONGEST_SOCKET: usize = 100;
/// The socket's name, which Postgres makes from its port.
const SOCKET: &str = ".s.PGSQL.5432";
/// How much of a log an error shows.
const LOG_END: u64 = 2_000;

/// Where everything of one store lies.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
    pub(super) data: PathBuf,
    socket_dir: PathBuf,
}

impl Layout {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let state = fs::canonicalize(&config.state_dir).map_err(Error::file("find", &config.state_dir))?;
        let root = state.join("store");
        let socket_dir = super::socket_dir(&config.run_dir, &state);
        let socket = socket_dir.join(SOCKET);
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(Error::SocketPathTooLong { path: socket });
        }
        Ok(Self { data: root.join("data"), root, socket_dir })
    }

    /// The connection string of a role.
    pub(super) fn url(&self, user: &str) -> String {
        let host = self.socket_dir.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
        let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
        let quote = if plain { "" } else { "'" };
        format!("host={quote}{host}{quote} user={user} dbname={NAME}")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket_dir.join(SOCKET)
    }

    /// Where the postmaster's first words go, until its own log is open.
    pub(super) fn start_log(&self) -> PathBuf {
        self.root.join("start.log")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.root.join("postgresql.conf")
    }

    /// Makes the folders with their owners, and says which one the account cannot pass.
    pub(super) fn ensure_folders(&self, config: &Config) -> Result<(), Error> {
        let account = config.account.as_ref();
        if account.is_none() && rustix::process::geteuid().is_root() {
            return Err(Error::NeedsAccount);
        }
        // With an account the root folder is ours and only passed by it; else all is the caller's alone.
        folder(&self.root, if account.is_some() { 0o711 } else { 0o700 }, None)?;
        if let Some(account) = account {
            for above in self.root.ancestors() {
                let seen = fs::metadata(above).map_err(Error::file("look at", above))?;
                let may = if seen.uid() == account.uid {
                    seen.mode() & 0o100
                } else if seen.gid() == account.gid {
                    seen.mode() & 0o010
                } else {
                    seen.mode() & 0o001
                };
                if may == 0 {
                    return Err(Error::Blocked { account: account.name.clone(), folder: above.to_owned() });
                }
            }
        }
        folder(&self.root.join("log"), 0o700, account.map(|a| (a.uid, a.gid)))?;
        if !config.run_dir.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&config.run_dir)
                .map_err(Error::file("make", &config.run_dir))?;
            if account.is_some() {
                fs::set_permissions(&config.run_dir, Permissions::from_mode(0o755))
                    .map_err(Error::file("open", &config.run_dir))?;
            }
        }
        let group = config.endpoint_gid;
        let owner = account.map(|a| (a.uid, group.unwrap_or(a.gid)));
        folder(&self.socket_dir, if group.is_some() { 0o710 } else { 0o700 }, owner)
    }

    /// One process at a time makes or starts the store. The lock ends with the file, so also with the process.
    pub(super) async fn lock(&self, deadline: Instant) -> Result<File, Error> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Locked { path }),
                Err(errno) => return Err(Error::file("lock", &path)(errno.into())),
            }
        }
    }

    /// Writes the settings; whether they differ from what was there.
    pub(super) fn write_settings(&self, config: &Config) -> Result<bool, Error> {
        let gid = config.account.as_ref().map(|account| account.gid);
        let mut changed = false;
        for (name, text) in [
            ("postgresql.conf", self.settings()),
            (
                "pg_hba.conf",
                format!(
                    "# Written by coffer at each start.\n\
                     local {NAME} {NAME} peer map={NAME}\n\
                     local {NAME} {ENDPOINT} peer map={NAME}\n"
                ),
            ),
            ("pg_ident.conf", identities(&config.peers, config.endpoint_peer.as_deref())),
        ] {
            changed |= write_whole(&self.root.join(name), &text, gid)?;
        }
        Ok(changed)
    }

    fn settings(&self) -> String {
        let quoted = |path: &Path| path.display().to_string().replace('\'', "''");
        let (root, socket_dir) = (quoted(&self.root), quoted(&self.socket_dir));
        format!(
            "# Written by coffer at each start.\n\
             hba_file = '{root}/pg_hba.conf'\n\
             ident_file = '{root}/pg_ident.conf'\n\
             listen_addresses = ''\n\
             port = 5432\n\
             unix_socket_directories = '{socket_dir}'\n\
             # The folder and `peer` are the boundary.\n\
             unix_socket_permissions = 0777\n\
             max_connections = 100\n\
             shared_buffers = 64MB\n\
             max_wal_size = 256MB\n\
             fsync = on\n\
             full_page_writes = on\n\
             synchronous_commit = on\n\
             timezone = 'GMT'\n\
             log_timezone = 'GMT'\n\
             lc_messages = 'C'\n\
             # A file a weekday, begun anew a week later. Never a statement, a parameter or a value of a row.\n\
             logging_collector = on\n\
             log_directory = '{root}/log'\n\
             log_filename = 'store.%a.log'\n\
             log_file_mode = 0600\n\
             log_rotation_age = 1d\n\
             log_rotation_size = 0\n\
             log_truncate_on_rotation = on\n\
             log_line_prefix = '%m [%p] '\n\
             log_checkpoints = off\n\
             log_statement = none\n\
             log_min_error_statement = panic\n\
             log_error_verbosity = terse\n"
        )
    }

    /// The end of what Postgres said, for an error.
    pub(super) fn log_end(&self) -> String {
        let mut logs: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(self.root.join("log"))
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        logs.sort();
        let newest = logs.pop().map(|(_, path)| path);
        let ends = [Some(self.start_log()), newest];
        let text: String = ends.into_iter().flatten().filter_map(|path| end_of(&path).ok()).collect();
        if text.trim().is_empty() { "its log is empty".to_owned() } else { text.trim().to_owned() }
    }

    /// Removes the socket folder; what another put there stays.
    pub(super) fn remove_socket_dir(&self) -> Result<(), Error> {
        for name in [SOCKET.to_owned(), format!("{SOCKET}.lock")] {
            let path = self.socket_dir.join(name);
            absent_is_fine(fs::remove_file(&path)).map_err(Error::file("remove", &path))?;
        }
        match fs::remove_dir(&self.socket_dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => absent_is_fine(done).map_err(Error::file("remove", &self.socket_dir)),
        }
    }
}

/// Makes the cluster if there is none; gives the folder of the programs that fit it.
pub(super) fn ensure(config: &Config, layout: &Layout) -> Result<PathBuf, Error> {
    let version = layout.data.join("PG_VERSION");
    match fs::read_to_string(&version) {
        Ok(text) => return binaries::find(config, text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::file("read", &version)(error)),
    }
    let bin = binaries::find(config, None)?;
    let new = layout.root.join("data.new");
    absent_is_fine(fs::remove_dir_all(&new)).map_err(Error::file("remove", &new))?;
    folder(&new, 0o700, config.account.as_ref().map(|a| (a.uid, a.gid)))?;
    let mut pgdata = OsString::from("--pgdata=");
    pgdata.push(&new);
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.arg(pgdata).args([
        "--username=coffer-store",
        "--auth=reject",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
    ]);
    run("initdb", initdb, config.account.as_ref(), "")?;
    // No one can log in yet, and the superuser never will.
    for (database, sql) in [
        ("postgres", format!("create role {NAME} login;\n")),
        ("postgres", format!("create role {ENDPOINT} login;\n")),
        ("postgres", format!("create database {NAME} owner {NAME};\n")),
        ("postgres", "revoke connect, temporary on database postgres, template1 from public;\n".to_owned()),
    ] {
        let mut single = Command::new(bin.join("postgres"));
        single.args(["--single", "-j", "-c", "exit_on_error=on", "-D"]).arg(&new).arg(database);
        run("postgres --single", single, config.account.as_ref(), &sql)?;
    }
    fs::rename(&new, &layout.data).map_err(Error::file("put in place", &layout.data))?;
    File::open(&layout.root).and_then(|dir| dir.sync_all()).map_err(Error::file("sync", &layout.root))?;
    tracing::info!(folder = %layout.data.display(), "made the store");
    Ok(bin)
}

/// Runs a program that dies with us, and gives its words when it fails.
fn run(
    program: &'static str,
    mut command: Command,
    account: Option<&Account>,
    input: &str,
) -> Result<(), Error> {
    let path = PathBuf::from(command.get_program());
    let failed = |source| Error::Run { program: path.clone(), source };
    postmaster::as_account(&mut command, account);
    postmaster::dies_with_us(&mut command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ended early says why in its output.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let from = said.char_indices().rev().nth(1_500).map_or(0, |(at, _)| at);
    Err(Error::Initialise { program, output: said[from..].trim().to_owned() })
}

/// The map of `peer`: these system accounts, and nobody else, are `coffer`.
fn identities(peers: &[String], endpoint: Option<&str>) -> String {
    let mut text = String::from("# Written by coffer at each start.\n");
    let roles = peers.iter().map(|peer| (peer.as_str(), NAME)).chain(endpoint.map(|peer| (peer, ENDPOINT)));
    for (peer, role) in roles.filter(|(peer, _)| !peer.contains(['"', '\n'])) {
        text.push_str(&format!("{NAME} \"{peer}\" {role}\n"));
    }
    text
}

/// A folder with exactly this mode and owner. A link in its place is refused.
fn folder(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::file("make", path)(error));
        }
        _made_or_there => {}
    }
    let seen = fs::symlink_metadata(path).map_err(Error::file("look at", path))?;
    if !seen.is_dir() {
        return Err(Error::file("use", path)(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    if let Some((uid, gid)) = owner
        && (seen.uid(), seen.gid()) != (uid, gid)
    {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(Error::file("hand over", path))?;
    }
    if seen.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(Error::file("set the mode of", path))?;
    }
    Ok(())
}

/// Writes a file whole or not at all; whether it differs from what was there.
fn write_whole(path: &Path, text: &str, gid: Option<u32>) -> Result<bool, Error> {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(false);
    }
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        absent_is_fine(fs::remove_file(&new))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
        if gid.is_some() {
            std::os::unix::fs::fchown(&file, None, gid)?;
            file.set_permissions(Permissions::from_mode(0o640))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(Error::file("write", path))?;
    Ok(true)
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
    let mut bytes = Vec::new();
    file.take(LOG_END).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
