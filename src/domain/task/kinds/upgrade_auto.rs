//! Upgrades the same instance, before the strategy is fixed.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{BACK, PLAIN, Spec};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "upgrade_auto",
    title: "upgrade",
    forward: &[Step::Examine.takes(500).within(900)],
    abandon: BACK,
    undo: BACK,
    cuts_over: true,
    can_wait: true,
    can_cancel: true,
    hold: 180,
    ..PLAIN
};
