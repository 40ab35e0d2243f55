//! Points at which a worker waits while a test wants it (`coffer::testing`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wait_for;

/// The folder of points.
#[derive(Clone, Debug)]
pub struct Points(PathBuf);

impl Points {
    /// Makes it.
    pub fn make(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// What workers are told of it.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Lets workers wait at a point.
    pub fn arm(&self, point: &str) {
        let _ = std::fs::remove_file(self.told(point));
        std::fs::write(self.0.join(point), "").unwrap();
    }

    /// Lets them go on.
    pub fn disarm(&self, point: &str) {
        std::fs::remove_file(self.0.join(point)).unwrap();
    }

    /// The worker that waits there now, if one does.
    pub fn who(&self, point: &str) -> Option<i32> {
        std::fs::read_to_string(self.told(point)).ok()?.parse().ok()
    }

    /// Waits until a worker waits there; gives its pid.
    pub async fn reached(&self, point: &str) -> i32 {
        wait_for(&format!("a worker reaches {point}"), Duration::from_secs(120), async || self.who(point))
            .await
    }

    fn told(&self, point: &str) -> PathBuf {
        self.0.join(format!("{point}.reached"))
    }
}
