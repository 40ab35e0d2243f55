//! The engines and builds that set-up names, and nothing else that this machine has: a view of the cache that
//! `make test` makes for its run, or, for tests that are run one by one, the one that `.make/view` keeps.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// Where `part` of it lies, `engines` or `builds`: as `variable` says where it is set.
pub fn place(variable: &str, part: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| VIEW.join(part), PathBuf::from)
}

static VIEW: LazyLock<PathBuf> = LazyLock::new(|| {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.make/view");
    let output = Command::new("bash").arg(script).output().expect("bash runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "what set-up fetches is not there: {said}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
});
