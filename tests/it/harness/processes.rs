//! Processes of this machine that belong to a folder.

use std::path::Path;

/// A process and its command line.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line, blanks between the words.
    pub line: String,
}

/// Every live process whose command line names something in `folder`.
pub fn of(folder: &Path) -> Vec<Process> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A zombie has an empty command line and so is no match.
        if pid != i32::try_from(std::process::id()).unwrap() && line.contains(folder) {
            found.push(Process { pid, line });
        }
    }
    found
}

/// Sends SIGKILL.
pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // Gone already is what we want.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Whether that is how an engine's server is called.
pub fn is_server(line: &str) -> bool {
    line.contains("mariadbd") || (line.contains("/bin/postgres ") && line.contains("/generations/"))
}

/// The engine server of a generation.
pub fn engine(folder: &Path, generation: &str) -> Option<Process> {
    of(folder)
        .into_iter()
        .find(|p| is_server(&p.line) && p.line.contains(generation) && !p.line.contains("--bootstrap"))
}

/// The value of a variable in a process's environment.
pub fn variable(pid: i32, name: &str) -> Option<String> {
    let all = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    String::from_utf8_lossy(&all)
        .split('\0')
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")).map(str::to_owned))
}
