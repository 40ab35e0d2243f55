//! Upgrades the same instance by a candidate that replication feeds.

use crate::domain::task::kinds::spec::{BACK, PLAIN, Spec};
use crate::domain::task::{Step, TaskKind};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "upgrade_twin",
    title: "upgrade",
    forward: &[
        Step::Place.takes(1_000).within(300),
        Step::Start.takes(1_500).within(600),
        Step::Seed.takes(800).per_gb(30_000).within(1_800),
        // The engine rewrites a table whose file the new version cannot read.
        Step::Convert.takes(1_000).spare_per_gb(60).within(1_800),
        Step::Replicate.takes(500).within(900),
        Step::CatchUp.takes(500).within(3_600),
        Step::Verify.takes(500).per_gb(30_000).within(1_800),
        Step::Quiet.takes(2_200).within(3_600),
        Step::Hold.takes(50).within(30),
        Step::Fence.takes(100).within(60),
        Step::Drain.takes(100).within(60),
        Step::Cut.takes(50).within(90),
        Step::Cutover.takes(50).within(90),
    ],
    abandon: BACK,
    undo: BACK,
    finish: &[
        Step::Admit.takes(100).within(60),
        Step::Reopen.takes(50).within(60),
        Step::Retire.takes(1_000).within(1_800),
    ],
    cuts_over: true,
    can_wait: true,
    can_cancel: true,
    hold: 180,
    next_hop: Some(TaskKind::UpgradeAuto),
    ..PLAIN
};
