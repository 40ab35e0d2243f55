//! Upgrades the same instance, before the strategy is fixed.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "upgrade_auto",
    title: "upgrade",
    forward: &[Step::Examine.takes(500).within(900)],
    abandon: &[
        Step::Reinstate.takes(1_500).within(120),
        Step::Reopen.takes(50).within(60),
        Step::DropServer.takes(1_000).within(900),
        Step::Release.takes(300).within(300),
    ],
    undo: &[
        Step::Reinstate.takes(1_500).within(120),
        Step::Reopen.takes(50).within(60),
        Step::DropServer.takes(1_000).within(900),
        Step::Release.takes(300).within(300),
    ],
    cuts_over: true,
    can_wait: true,
    can_cancel: true,
    hold: 180,
    ..PLAIN
};
