//! Has the members of a group change roles.

use crate::domain::task::kinds::spec::{CHANGE, CHANGED, PLAIN, Spec, UNCHANGED};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "failover",
    title: "failover",
    forward: CHANGE,
    abandon: UNCHANGED,
    undo: UNCHANGED,
    finish: CHANGED,
    cuts_over: true,
    of_group: true,
    can_cancel: true,
    hold: 180,
    ..PLAIN
};
