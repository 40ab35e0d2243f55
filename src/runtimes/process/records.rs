//! The small files beside a generation's data that say who its server is, who looks after it, and how it ended.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `shim.json` | the shim, before anything else | who the shim is |
//! | `server.json` | the shim, once the server runs; whoever finds a server without it | who the server is |
//! | `exit.json` | the shim, once the server has ended | how which server ended |
//!
//! A process is named by pid, start time and boot id: pids are given out again. `exit.json` counts only while
//! `server.json` names the same server; both are gone, for certain, before another one runs. The first one is of use
//! for as long as its process lives, so it need not outlast the machine; the others are on disk before anybody hears of
//! them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::GenerationId;
use crate::runtimes::process::groups::Group;
use crate::runtimes::process::processes::Process;
use crate::runtimes::process::volumes::Volumes;
use crate::runtimes::{Error, Exit};

/// Who the server is that was started last.
pub const SERVER: &str = "server.json";

/// How it ended.
const EXIT: &str = "exit.json";

/// Who its shim is.
const SHIM: &str = "shim.json";

/// The signal by which the kernel ends a process that wants too much.
const KILL: i32 = 9;

/// Room for a record, in bytes.
const ROOM: usize = 512;

/// How a server ended.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    server: Process,
    status: Option<i32>,
    signal: Option<i32>,
    at: DateTime<Utc>,
    /// An older build does not say it.
    #[serde(default)]
    was_too_large: bool,
}

/// The records of a start, in the shim's hand: their room on disk is taken before the server runs, so that a disk that
/// is full at its end keeps no record from being written.
pub struct Start {
    server: Reserved,
    exit: Reserved,
}

impl Start {
    /// Says who the shim is, takes the room, and only then makes sure that nothing is said of an earlier server.
    pub fn begin(folder: &Path, shim: &Process) -> std::io::Result<Self> {
        let new = folder.join("shim.json.new");
        create(&new)?.write_all(&serde_json::to_vec(shim)?)?;
        std::fs::rename(&new, folder.join(SHIM))?;
        let start = Self { server: Reserved::make(folder, SERVER)?, exit: Reserved::make(folder, EXIT)? };
        forget(folder)?;
        Ok(start)
    }

    /// Says who the server is.
    pub fn started(self, server: &Process, group: Group) -> (std::io::Result<()>, Running) {
        (self.server.write(server), Running { server: server.clone(), exit: self.exit, group })
    }
}

/// The record of a server's end, still to be written.
pub struct Running {
    server: Process,
    exit: Reserved,
    group: Group,
}

impl Running {
    /// Says how the server ended, now, and removes its control group.
    pub fn ended(self, status: Option<i32>, signal: Option<i32>) -> std::io::Result<()> {
        // One of its sessions may have been, and this end may be another's doing.
        let was_too_large = signal == Some(KILL) && self.group.was_too_large();
        let ended = Ended { server: self.server, status, signal, at: Utc::now(), was_too_large };
        self.exit.write(&ended)?;
        self.group.remove();
        Ok(())
    }
}

/// A file's room on disk.
struct Reserved {
    file: File,
    folder: PathBuf,
    name: &'static str,
}

impl Reserved {
    fn new_name(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.new"))
    }

    fn make(folder: &Path, name: &'static str) -> std::io::Result<Self> {
        let mut file = create(&Self::new_name(folder, name))?;
        file.write_all(&[b' '; ROOM])?;
        file.sync_all()?;
        Ok(Self { file, folder: folder.to_owned(), name })
    }

    /// Whole or not at all, and on disk when it returns.
    fn write(self, record: &impl Serialize) -> std::io::Result<()> {
        let text = serde_json::to_vec(record)?;
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()?;
        super::shim::point(self.name);
        std::fs::rename(Self::new_name(&self.folder, self.name), self.folder.join(self.name))?;
        sync(&self.folder)
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Has nothing said of a server any more.
fn forget(folder: &Path) -> std::io::Result<()> {
    let mut gone = false;
    // The exit first: alone, it counts for nothing.
    for name in [EXIT, SERVER] {
        match std::fs::remove_file(folder.join(name)) {
            Ok(()) => gone = true,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if gone { sync(folder) } else { Ok(()) }
}

impl Volumes {
    /// Forgets the generation's server and its end; the caller holds the lock and no server runs.
    pub fn forget_server(&self, generation: GenerationId) -> Result<(), Error> {
        forget(&self.folder(generation)).map_err(Error::io("forget an earlier server"))
    }

    /// Says who the server is; for one that was found.
    pub fn record_server(&self, generation: GenerationId, server: &Process) -> Result<(), Error> {
        let text = serde_json::to_string(server)
            .map_err(|error| Error::io("write the start record")(error.into()))?;
        self.write_record(generation, SERVER, &text)
    }

    /// Who the server was that was started last, where that is known.
    pub fn recorded_server(&self, generation: GenerationId) -> Result<Option<Process>, Error> {
        self.record(generation, SERVER)
    }

    /// Who the last shim was, where that is known.
    pub fn recorded_shim(&self, generation: GenerationId) -> Result<Option<Process>, Error> {
        self.record(generation, SHIM)
    }

    /// How the server ended that was started last, where somebody saw it.
    pub fn recorded_exit(&self, generation: GenerationId) -> Result<Option<Exit>, Error> {
        let Some(Ended { server, status, signal, at, was_too_large }) = self.record(generation, EXIT)? else {
            return Ok(None);
        };
        let last = self.recorded_server(generation)?;
        Ok((last == Some(server)).then_some(Exit { status, signal, at, was_too_large }))
    }

    /// A record; one that cannot be read says nothing.
    fn record<T: for<'a> Deserialize<'a>>(
        &self,
        generation: GenerationId,
        name: &str,
    ) -> Result<Option<T>, Error> {
        Ok(self.read_record(generation, name)?.and_then(|text| serde_json::from_str(&text).ok()))
    }
}
