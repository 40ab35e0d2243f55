//! A server's configuration from birth. Tenants cannot change any of it.
//!
//! # Decision
//! An upgraded server keeps the defaults of the version that its applications were written for where their results or
//! errors depend on them ([`KEPT`]); a new one has its own version's. We compared what servers of 10.11 and 11.8 say of
//! all their variables under this configuration (a test does so again for the versions that are there). What decides
//! only about speed (costs and switches of the optimizer, histograms), limits that were none before and are far away
//! (temporary space of 1 TB), storage, replication's own ways and features that were not there before stays as the new
//! version has it. Both of those that are kept may become an instance's own choice with configuration groups.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::domain::flavor::client_connections;
use crate::engines::Settings;
use crate::engines::mariadb::logs;
use crate::engines::mariadb::offered::{self, MOST_CONNECTIONS, OUR_CONNECTIONS};
use crate::runtimes::Layout;

/// The size of the redo log, at bootstrap as later: a change would cost the next start.
pub const LOG_FILE_SIZE: &str = "48M";

/// The longest statement or row, in MB.
pub const PACKET_MB: u64 = 64;

/// How a server applies what it follows, unless it is told otherwise when it begins to: one transaction after the other,
/// of which only the commits are made together.
pub const ONE_BY_ONE: &str = "minimal";

/// What the files of the data folder begin with that are logs for replication, as [`ALWAYS`] calls them.
pub const LOGS: [&str; 2] = ["binlog.", "relay."];

/// What every server has, whatever its settings. `loose-` is for what one of the versions does not know.
const ALWAYS: &str = "\
skip-networking
proxy-protocol-networks=localhost
skip-name-resolve
local-infile=0
symbolic-links=0
character-set-server=utf8mb4
log-warnings=1
log-bin=binlog
log-bin-index=binlog.index
relay-log=relay
relay-log-index=relay.index
binlog-format=ROW
binlog-row-image=FULL
gtid-strict-mode=1
log-slave-updates=1
sync-binlog=1
expire-logs-days=7
max-binlog-size=128M
log-bin-trust-function-creators=1
slave-net-timeout=10
slave-parallel-mode=minimal
slave-parallel-threads=8
slave-max-allowed-packet=1G
relay-log-recovery=1
sync-relay-log=0
innodb-flush-log-at-trx-commit=1
innodb-fast-shutdown=1
innodb-log-buffer-size=8M
key-buffer-size=4M
aria-pagecache-buffer-size=8M
tmp-table-size=16M
max-heap-table-size=16M
table-open-cache=1000
loose-feedback=OFF
";

/// Of the performance schema, who holds which lock of a table's definition, and nothing else: about 3 MB of memory, and
/// no work for what is not on.
const LOCKS_LISTED: &str = "\
performance-schema=1
performance-schema-instrument='%=OFF'
performance-schema-instrument='wait/lock/metadata/sql/mdl=ON'
performance-schema-max-metadata-locks=4096
performance-schema-accounts-size=0
performance-schema-hosts-size=0
performance-schema-users-size=0
performance-schema-digests-size=0
performance-schema-max-digest-length=0
performance-schema-session-connect-attrs-size=0
performance-schema-setup-actors-size=1
performance-schema-setup-objects-size=1
performance-schema-events-stages-history-long-size=0
performance-schema-events-stages-history-size=0
performance-schema-events-statements-history-long-size=0
performance-schema-events-statements-history-size=0
performance-schema-events-transactions-history-long-size=0
performance-schema-events-transactions-history-size=0
performance-schema-events-waits-history-long-size=0
performance-schema-events-waits-history-size=0
performance-schema-max-cond-classes=0
performance-schema-max-cond-instances=0
performance-schema-max-file-classes=0
performance-schema-max-file-handles=0
performance-schema-max-file-instances=0
performance-schema-max-index-stat=0
performance-schema-max-memory-classes=0
performance-schema-max-mutex-classes=0
performance-schema-max-mutex-instances=0
performance-schema-max-prepared-statements-instances=0
performance-schema-max-program-instances=0
performance-schema-max-rwlock-classes=0
performance-schema-max-rwlock-instances=0
performance-schema-max-socket-classes=0
performance-schema-max-socket-instances=0
performance-schema-max-stage-classes=0
performance-schema-max-statement-classes=0
performance-schema-max-statement-stack=1
performance-schema-max-table-handles=0
performance-schema-max-table-instances=0
performance-schema-max-table-lock-stat=0
";

/// Threads of the server's own, besides those of connections.
const OWN_THREADS: u32 = 60;

/// The files beside the configuration that hold the authority's certificate, the server's, and its private key.
pub const AUTHORITY: &str = "authority.pem";
pub const CERTIFICATE: &str = "certificate.pem";
pub const KEY: &str = "key.pem";

/// A default that changed, and that applications meet.
struct Changed {
    /// The series that has the new one first.
    since: [u32; 2],
    /// The variable's name.
    name: &'static str,
    /// What every series before has.
    before: &'static str,
}

/// All of them.
const KEPT: [Changed; 2] = [
    // Which collation a character set has by itself: of a table, a temporary table, a literal, a routine's parameter.
    // Texts of an old table and of a new one cannot be compared where it changes (error 1267); the server's own
    // collation, and with it that of a new database, follows it.
    Changed { since: [11, 5], name: "character_set_collations", before: "" },
    // Whether a transaction that locks a row which another one has changed since its snapshot ends with error 1020.
    Changed { since: [11, 6], name: "innodb_snapshot_isolation", before: "OFF" },
];

/// The first two parts of a version's number.
fn series(version: &str) -> [u32; 2] {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    [parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
}

/// The settings of a server of `version` that keep the defaults of the version `of`, with their values.
pub fn kept(of: &str, version: &str) -> BTreeMap<&'static str, &'static str> {
    let changed = |changed: &&Changed| series(of) < changed.since && changed.since <= series(version);
    KEPT.iter().filter(changed).map(|changed| (changed.name, changed.before)).collect()
}

/// The configuration file's text for a server of `version`; one that is `certified` finds the files of its certificate
/// beside it.
pub fn text(settings: &Settings, version: &str, certified: bool, layout: &Layout) -> String {
    let mut text = String::from("# Written by coffer before every start; changes are lost.\n[mariadbd]\n");
    let mut path = |name: &str, path: &Path| {
        // Quoted, since a number sign begins a comment.
        let _ = writeln!(text, "{name}=\"{}\"", path.to_string_lossy().replace('\\', "\\\\"));
    };
    path("basedir", &layout.root.join("rootfs/usr"));
    path("datadir", &layout.data);
    path("tmpdir", &layout.tmp);
    path("slave-load-tmpdir", &layout.tmp);
    path("secure-file-priv", &layout.tmp);
    path("pid-file", &layout.data.join("server.pid"));
    path("socket", &layout.socket);
    if certified {
        path("ssl-ca", &layout.config.join(AUTHORITY));
        path("ssl-cert", &layout.config.join(CERTIFICATE));
        path("ssl-key", &layout.config.join(KEY));
        text.push_str("tls-version=TLSv1.2,TLSv1.3\n");
    }
    text.push_str(ALWAYS);
    let switch = |on: bool| if on { "ON" } else { "OFF" };
    let _ = writeln!(text, "innodb-log-file-size={LOG_FILE_SIZE}");
    let _ = writeln!(text, "max-allowed-packet={PACKET_MB}M");
    let _ = writeln!(text, "server-id={}", settings.server_id);
    let _ = writeln!(text, "read-only={}", switch(settings.refuses_writes()));
    let _ = writeln!(text, "innodb-strict-mode={}", switch(is_strict(settings)));
    let _ = writeln!(text, "event-scheduler={}", switch(settings.events));
    let _ = writeln!(text, "innodb-buffer-pool-size={}M", buffer_pool_mb(settings.memory_mb));
    let connections = client_connections(settings.memory_mb) + OUR_CONNECTIONS;
    let _ = writeln!(text, "max-connections={connections}");
    text.push_str(LOCKS_LISTED);
    let _ = writeln!(text, "performance-schema-max-thread-instances={}", MOST_CONNECTIONS + OWN_THREADS);
    for (name, value) in kept(&settings.defaults_of, version) {
        let _ = writeln!(text, "{}={value}", name.replace('_', "-"));
    }
    text.push_str(&logs::settings(&settings.logs, |file| {
        format!("\"{}\"", layout.data.join(file).to_string_lossy().replace('\\', "\\\\"))
    }));
    // The last of several counts.
    text.push_str(&offered::lines(&settings.parameters));
    text
}

/// Whether a definition that InnoDB can only take in part is refused. Not by one that follows: a session of its source may
/// have chosen otherwise for itself, of which the log says nothing. What the source refused is in no log.
pub const fn is_strict(settings: &Settings) -> bool {
    !settings.read_only
}

/// Two fifths of the memory: the rest is for connections, the dictionary and temporary tables.
const fn buffer_pool_mb(memory_mb: u32) -> u32 {
    let share = memory_mb / 5 * 2;
    if share < 32 { 32 } else { share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_in_the_file() {
        let layout = Layout {
            data: "/s/data".into(),
            tmp: "/s/tmp".into(),
            config: "/s/config".into(),
            log: "/s/log".into(),
            socket: "/r/x/server.sock".into(),
            root: "/e/mariadb".into(),
        };
        let settings = Settings {
            server_id: 7,
            memory_mb: 512,
            cpus: 1,
            read_only: true,
            full: false,
            logs: Vec::new(),
            readers: false,
            events: false,
            defaults_of: "10.11.19".to_owned(),
            parameters: crate::domain::parameter::Values::new(),
        };
        let plain = text(&settings, "10.11.19", false, &layout);
        assert!(!plain.contains("ssl-") && !plain.contains("snapshot-isolation"));
        let text = text(&settings, "11.8.9", true, &layout);
        for line in [
            "server-id=7",
            "read-only=ON",
            "slave-parallel-mode=minimal",
            "innodb-strict-mode=OFF",
            "event-scheduler=OFF",
            "innodb-buffer-pool-size=204M",
            "max-connections=80",
            "skip-networking",
            "proxy-protocol-networks=localhost",
            "ssl-key=\"/s/config/key.pem\"",
            "socket=\"/r/x/server.sock\"",
            "character-set-collations=",
            "innodb-snapshot-isolation=OFF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
    }

    #[test]
    fn what_is_kept_lies_between_both_versions() {
        let names = |of: &str, version: &str| kept(of, version).into_keys().collect::<Vec<_>>();
        let both = ["character_set_collations", "innodb_snapshot_isolation"];
        for (of, version, kept) in [
            ("10.11.19", "11.8.9", &both[..]),
            ("10.11.19", "11.5.2", &both[..1]),
            ("11.5.2", "11.8.9", &both[1..]),
            ("10.11.3", "10.11.19", &[]),
            ("11.8.3", "11.8.9", &[]),
            ("11.8.9", "12.3.1", &[]),
            ("10.11.0", "11.8.0", &both[..]),
        ] {
            assert_eq!(names(of, version), kept, "{of} {version}");
        }
    }
}
