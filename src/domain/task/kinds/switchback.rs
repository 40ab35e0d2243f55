//! Gives the members of an upgraded group their roles back. Its way back ends in success: the upgrade is done by then.

use crate::domain::task::kinds::spec::{PLAIN, Spec};
use crate::domain::task::{Step, TaskState};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "switch_back",
    title: "upgrade",
    forward: &[
        Step::Quiet.takes(2_200).within(3_600),
        Step::Hold.takes(50).within(30),
        Step::Fence.takes(100).within(60),
        Step::Drain.takes(100).within(60),
        Step::Cut.takes(50).within(90),
        Step::Cutover.takes(50).within(90),
    ],
    undo: &[
        Step::Reinstate.takes(1_500).within(120),
        Step::Reopen.takes(50).within(60),
        Step::Restore.takes(1_500).within(900),
    ],
    finish: &[
        Step::Admit.takes(100).within(60),
        Step::Reopen.takes(50).within(60),
        Step::Rejoin.takes(700).within(3_600),
    ],
    cuts_over: true,
    of_group: true,
    hold: 180,
    undone_as: TaskState::Succeeded,
    ..PLAIN
};
