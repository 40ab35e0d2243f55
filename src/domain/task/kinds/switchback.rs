//! Gives the members of an upgraded group their roles back. Its way back ends in success: the upgrade is done by then.

use crate::domain::task::TaskState;
use crate::domain::task::kinds::spec::{CHANGE, CHANGED, PLAIN, Spec, UNCHANGED};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "switch_back",
    title: "upgrade",
    forward: CHANGE,
    undo: UNCHANGED,
    finish: CHANGED,
    cuts_over: true,
    of_group: true,
    hold: 180,
    undone_as: TaskState::Succeeded,
    ..PLAIN
};
