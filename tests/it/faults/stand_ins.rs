//! An engines folder of a test's own, whose programs can be made to fail beside one generation's data and not beside
//! another's: before each stands a small one that looks whether it shall fail, and becomes it else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use coffer::domain::ids::GenerationId;

use crate::harness::roles::engines;

/// The programs that steps run, and the servers.
const PROGRAMS: [(&str, &[&str]); 2] = [
    (
        "mariadb-",
        &[
            "mariadbd",
            "mariadb",
            "mariadb-backup",
            "mariadb-check",
            "mariadb-dump",
            "mariadb-upgrade",
            "mbstream",
        ],
    ),
    (
        "postgresql-",
        &[
            "initdb",
            "pg_basebackup",
            "pg_controldata",
            "pg_ctl",
            "pg_dump",
            "pg_restore",
            "pg_upgrade",
            "postgres",
        ],
    ),
];

/// The folder.
pub struct StandIns {
    _folder: tempfile::TempDir,
    /// What `--engines` is given.
    pub engines: PathBuf,
    flags: PathBuf,
}

impl StandIns {
    /// Makes it of these roots of everybody's; the files are links to theirs where that can be.
    pub fn make(roots: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("coffer-engines-").tempdir_in("/tmp").unwrap();
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        open(folder.path(), 0o711);
        let (own, flags) = (folder.path().join("engines"), folder.path().join("flags"));
        for (made, mode) in [(&own, 0o755), (&flags, 0o1777)] {
            std::fs::create_dir(made).unwrap();
            open(made, mode);
        }
        for root in roots {
            // Where the files lie, and not the link to them: what is renamed below must be our own.
            let (from, to) = (engines().join(root).canonicalize().unwrap(), own.join(root));
            let copied = ["--archive --link", "--archive"].iter().any(|how| {
                let _ = std::fs::remove_dir_all(&to);
                let done = Command::new("cp").args(how.split(' ')).arg("--").args([&from, &to]).output();
                done.is_ok_and(|output| output.status.success())
            });
            assert!(copied, "{} cannot be copied", from.display());
            let (_, programs) = PROGRAMS.iter().find(|(engine, _)| root.starts_with(engine)).unwrap();
            for program in *programs {
                let path = to.join("bin").join(program);
                let real = to.join("bin").join(format!("{program}.real"));
                // Renamed and not written to: it is everybody's file, too.
                std::fs::rename(&path, real).unwrap();
                std::fs::write(&path, stand_in(&flags)).unwrap();
                open(&path, 0o755);
            }
        }
        Self { _folder: folder, engines: own, flags }
    }

    /// Has every program fail that is run beside the generation's data.
    pub fn fail(&self, generation: GenerationId) {
        std::fs::write(self.flags.join(generation.to_string()), "").unwrap();
    }

    /// Has them succeed again; gives whether one failed.
    pub fn go_on(&self, generation: GenerationId) -> bool {
        std::fs::remove_file(self.flags.join(generation.to_string())).unwrap();
        self.flags.join(format!("{generation}.met")).exists()
    }
}

/// A program knows whose it is by its folder for temporary files.
fn stand_in(flags: &Path) -> String {
    format!(
        "#!/bin/bash\n\
         place=${{TMPDIR%/*}} flags={}\n\
         flag=$flags/${{place##*/}}\n\
         if [ -n \"$TMPDIR\" ] && [ -e \"$flag\" ]; then\n  : >\"$flag.met\"\n  echo 'made to fail by a test' >&2\n  \
         exit 1\nfi\n\
         exec -a \"$0\" \"$0.real\" \"$@\"\n",
        flags.display()
    )
}
