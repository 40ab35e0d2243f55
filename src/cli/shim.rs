//! `coffer shim --folder <generation's>`: the parent of one server, started by a worker and by nobody else. It is run before anything
//! is set up or parsed: there is one a server, for as long as that runs.

use std::path::Path;
use std::process::ExitCode;

use crate::runtimes::process::run_shim;

/// Runs it, if that is what this process was started for.
pub fn asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != "shim" {
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
