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

/// Every live process that runs for a generation: whose command line or environment names it, with all that it started.
/// The service's own processes are none of it.
pub fn of_generation(generation: &str) -> Vec<Process> {
    let mut all: Vec<(Process, i32, bool)> = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let text = |name: &str| {
            std::fs::read(entry.path().join(name))
                .map(|text| String::from_utf8_lossy(&text).replace('\0', " "))
        };
        let (Ok(line), Ok(stat)) = (text("cmdline"), text("stat")) else { continue };
        // The name in brackets may have blanks; the parent is the second word after it.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        let is_ours =
            line.split(' ').next().is_some_and(|program| program == "coffer" || program.ends_with("/coffer"));
        let is_its = !is_ours
            && (line.contains(generation) || text("environ").is_ok_and(|it| it.contains(generation)));
        all.push((Process { pid, line }, parent.unwrap_or_default(), is_its));
    }
    loop {
        let its: Vec<i32> =
            all.iter().filter(|(_, _, is_its)| *is_its).map(|(process, ..)| process.pid).collect();
        let mut grown = false;
        for (_, parent, is_its) in all.iter_mut().filter(|(_, _, is_its)| !*is_its) {
            *is_its = its.contains(parent);
            grown |= *is_its;
        }
        if !grown {
            return all.into_iter().filter(|(_, _, is_its)| *is_its).map(|(process, ..)| process).collect();
        }
    }
}

/// Whether a process is a server of an engine's, or a session of one.
pub fn is_of_a_server(line: &str) -> bool {
    is_server(line) || line.starts_with("postgres: ")
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
