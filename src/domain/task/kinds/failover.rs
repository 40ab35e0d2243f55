//! Has the members of a group change roles.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "failover",
    title: "failover",
    forward: &[
        Step::Quiet.takes(2_200).within(3_600),
        Step::Hold.takes(50).within(30),
        Step::Fence.takes(100).within(60),
        Step::Drain.takes(100).within(60),
        Step::Cut.takes(50).within(90),
        Step::Cutover.takes(50).within(90),
    ],
    abandon: &[
        Step::Reinstate.takes(1_500).within(120),
        Step::Reopen.takes(50).within(60),
        Step::Restore.takes(1_500).within(900),
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
    can_cancel: true,
    hold: 180,
    ..PLAIN
};
