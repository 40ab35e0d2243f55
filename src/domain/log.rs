//! The logs of an instance: which there are, and what state each is in.

use crate::domain::datastore::EngineKind;

/// A log that an engine writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogKind {
    /// Its name: Trove's.
    pub name: &'static str,
    /// Whether the engine always writes it, for its operator: administrators alone read it.
    pub is_system: bool,
}

const GENERAL: LogKind = LogKind { name: "general", is_system: false };
const SLOW_QUERY: LogKind = LogKind { name: "slow_query", is_system: false };
const ERROR: LogKind = LogKind { name: "error", is_system: true };

/// The names of the logs that administrators alone read.
pub const OF_OPERATORS: &[&str] = &[ERROR.name];

/// The logs of an engine's servers.
pub const fn logs_of(engine: EngineKind) -> &'static [LogKind] {
    match engine {
        EngineKind::MariaDb | EngineKind::Mysql => &[ERROR, GENERAL, SLOW_QUERY],
        EngineKind::Postgresql => &[ERROR, GENERAL],
    }
}

/// A log as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Which.
    pub kind: LogKind,
    /// Whether its server writes it.
    pub enabled: bool,
    /// Bytes that are published.
    pub published: i64,
    /// Bytes that its server has written since; what went with a turn of the log does not count.
    pub pending: i64,
    /// Whether anything was published.
    pub has_parts: bool,
}

impl Log {
    /// Trove's word for its state.
    pub const fn status(&self) -> &'static str {
        match (self.enabled, self.has_parts, self.pending > 0) {
            (_, true, true) => "Partial",
            (_, true, false) => "Published",
            (true, false, true) => "Ready",
            (true, false, false) => "Enabled",
            (false, false, _) => "Disabled",
        }
    }
}

/// A part of a log that is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its object's name.
    pub object: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// How many lines it has.
    pub lines: i32,
}

/// Bytes of a part, at most, but for a line that is longer by itself.
const PART: usize = 512 * 1024;

/// Cuts a log into parts of whole lines, whose objects' names begin with `prefix` and stand in their order.
pub fn parts(prefix: &str, log: &[u8]) -> Vec<Part> {
    let mut parts: Vec<(Vec<u8>, i32)> = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        match parts.last_mut() {
            Some((content, lines)) if content.len() + line.len() <= PART => {
                content.extend_from_slice(line);
                *lines += 1;
            }
            _ => parts.push((line.to_vec(), 1)),
        }
    }
    let named =
        |(at, (content, lines)): (usize, _)| Part { object: format!("{prefix}{at:06}"), content, lines };
    parts.into_iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_at_its_lines() {
        let line = |n: usize| format!("{n:>1023}\n");
        let log: String = (0..1_200).map(line).collect();
        let parts = parts("x.", log.as_bytes());
        assert_eq!(parts.iter().map(|part| part.lines).collect::<Vec<_>>(), [512, 512, 176]);
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.content.clone()).collect();
        assert_eq!(whole, log.as_bytes());
        assert!(parts.windows(2).all(|pair| pair[0].object < pair[1].object));
        assert_eq!(super::parts("x.", b""), []);
        assert_eq!(super::parts("x.", b"no end")[0].lines, 1);
    }

    #[test]
    fn a_state_has_one_word() {
        let log = |enabled, published: i64, pending| Log {
            kind: GENERAL,
            enabled,
            published,
            pending,
            has_parts: published > 0,
        };
        for (state, word) in [
            (log(false, 0, 0), "Disabled"),
            (log(true, 0, 0), "Enabled"),
            (log(true, 0, 9), "Ready"),
            (log(true, 9, 0), "Published"),
            (log(true, 9, 9), "Partial"),
            (log(false, 9, 0), "Published"),
        ] {
            assert_eq!(state.status(), word, "{state:?}");
        }
    }
}
