//! Upgrades a group: the standby first, then the members change roles.

use crate::domain::task::kinds::spec::{PLAIN, Spec};
use crate::domain::task::{Step, TaskKind};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "upgrade_rolling",
    title: "upgrade",
    forward: &[
        Step::Examine.takes(500).within(900),
        Step::Rebuild.takes(3_000).per_gb(30_000).within(1_800),
        Step::Verify.takes(500).per_gb(30_000).within(1_800),
        Step::Renew.takes(700).within(300),
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
        Step::DropServer.takes(1_000).within(900),
    ],
    undo: &[
        Step::Reinstate.takes(1_500).within(120),
        Step::Reopen.takes(50).within(60),
        Step::Restore.takes(1_500).within(900),
        Step::DropServer.takes(1_000).within(900),
    ],
    finish: &[
        Step::Admit.takes(100).within(60),
        Step::Reopen.takes(50).within(60),
        Step::Rebuild.takes(3_000).per_gb(30_000).within(1_800),
        Step::Rejoin.takes(1_000).per_gb(30_000).within(3_600),
    ],
    cuts_over: true,
    of_group: true,
    can_wait: true,
    can_cancel: true,
    hold: 180,
    next_hop: Some(TaskKind::Switchback),
    ..PLAIN
};
