//! Switches of this project's own tests: points at which a worker waits to be killed, and defects that are planted to
//! see that the tests notice them. Builds without debug assertions, as `--release` makes them, have none of it.
//!
//! | variable | does |
//! |---|---|
//! | `COFFER_TEST_PAUSES` | a folder: a worker that comes to a point waits while a file of the point's name lies there, and says so by a file `<point>.reached` beside it, which holds its pid. The points are `<kind>.<phase>.<step>.before` and `.after`, of the record of each step, and `.begun.<instance>` within it: it is recorded as begun, has its lease renewed, and has not acted; and of a look at an instance's server `look.before.<instance>` and `look.after.<instance>`: before the engine is asked, and when it has answered and that is not recorded; of an operation `operation.<kind>.begun` and `operation.<kind>.done`: recorded as possible and not done, and done and not recorded |
//! | `COFFER_TEST_DEFECT` | a word of [`Defect`] |

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// A defect that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// After the detach was accepted nobody waits until the new side has what the source has.
    WaitSkipped,
    /// The position to wait for was read before the detach was accepted.
    PositionReadEarly,
    /// A server is said to be what was wanted, without having been asked.
    ProbeSkipped,
    /// A worker writes though its lease is another's.
    LeaseIgnored,
    /// The old server is not fenced before a cut-over.
    FenceSkipped,
    /// Nobody waits for what the old server wrote last before a cut-over.
    DrainSkipped,
}

impl Defect {
    /// Every defect.
    pub const ALL: [Self; 6] = [
        Self::WaitSkipped,
        Self::PositionReadEarly,
        Self::ProbeSkipped,
        Self::LeaseIgnored,
        Self::FenceSkipped,
        Self::DrainSkipped,
    ];

    /// The word of the variable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitSkipped => "wait_skipped",
            Self::PositionReadEarly => "position_read_early",
            Self::ProbeSkipped => "probe_skipped",
            Self::LeaseIgnored => "lease_ignored",
            Self::FenceSkipped => "fence_skipped",
            Self::DrainSkipped => "drain_skipped",
        }
    }
}

/// The variable of the planted defect.
pub const DEFECT: &str = "COFFER_TEST_DEFECT";

/// The variable of the folder of points.
pub const PAUSES: &str = "COFFER_TEST_PAUSES";

/// Whether `defect` is planted.
pub fn planted(defect: Defect) -> bool {
    static WORD: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(DEFECT).ok());
    cfg!(debug_assertions) && WORD.as_deref() == Some(defect.as_str())
}

/// Waits at a point for as long as a test wants it.
pub async fn pause(point: impl FnOnce() -> String) {
    static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os(PAUSES).map(PathBuf::from));
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(folder) = FOLDER.as_deref() else { return };
    let point = point();
    let asked = folder.join(&point);
    if !asked.exists() {
        return;
    }
    if let Err(error) =
        std::fs::write(folder.join(format!("{point}.reached")), std::process::id().to_string())
    {
        tracing::error!(point, error = %error, "a test's point cannot be told");
    }
    while asked.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
