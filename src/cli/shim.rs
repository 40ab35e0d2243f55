//! The programs that a worker starts, and nobody else: `coffer shim --folder <generation's>`, the parent of one server, and
//! `coffer mirror …`, which copies a server's data. They are run before anything is set up or parsed: there is a shim
//! for each server, for as long as that runs.

use std::path::Path;
use std::process::ExitCode;

use crate::runtimes::process::{run_mirror, run_shim};

/// Runs it, if that is what this process was started for.
pub fn asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let command = args.next()?;
    if command == "mirror" {
        return Some(run_mirror(&args.collect::<Vec<_>>()));
    }
    if command != "shim" {
        return None;
    }
    // An option, so that a program which is not ours and is started for it by mistake, a test's, refuses it.
    match (args.next(), args.next(), args.next()) {
        (Some(option), Some(folder), None) if option == "--folder" => Some(run_shim(Path::new(&folder))),
        _ => {
            eprintln!("coffer: a worker starts a shim, one for each server; there is nothing to do by hand");
            Some(ExitCode::from(2))
        }
    }
}
