//! Upgrades the same instance by converting a copy of its stopped server's files.

use crate::domain::task::kinds::spec::{BACK, PLAIN, Spec};
use crate::domain::task::{Step, TaskKind};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "upgrade_in_place",
    title: "upgrade",
    forward: &[
        Step::Ready.takes(1_300).per_gb_of(8_000, 7_500).within(1_800),
        Step::Quiet.takes(2_200).within(3_600),
        Step::Hold.takes(50).within(30),
        Step::Fence.takes(200).within(60),
        Step::Stop.takes(1_000).within(300),
        Step::Transform.takes(500).per_gb_of(0, 500).within(900),
        Step::Start.takes(1_500).within(300),
        Step::Convert.takes(1_200).within(900),
        Step::Cutover.takes(50).within(300),
    ],
    abandon: BACK,
    undo: BACK,
    finish: &[
        Step::Admit.takes(450).within(60),
        Step::Reopen.takes(50).within(60),
        Step::Retire.takes(1_000).within(1_800),
    ],
    cuts_over: true,
    can_wait: true,
    can_cancel: true,
    hold: 1_200,
    next_hop: Some(TaskKind::UpgradeAuto),
    ..PLAIN
};
