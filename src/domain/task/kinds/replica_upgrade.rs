//! Upgrades an instance by a new one that follows it, until the customer detaches or abandons it.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "upgrade",
    title: "upgrade",
    forward: &[
        Step::Examine.takes(500).within(900),
        Step::Place.takes(1_000).within(300),
        Step::Start.takes(1_500).within(600),
        Step::Seed.takes(800).per_gb(30_000).within(1_800),
        // The engine rewrites a table whose file the new version cannot read.
        Step::Convert.takes(1_000).spare_per_gb(60).within(1_800),
        Step::Replicate.takes(500).within(900),
        Step::CatchUp.takes(500).within(3_600),
        Step::Verify.takes(500).per_gb(30_000).within(1_800),
        Step::Open.takes(300).within(300),
    ],
    detach: &[
        Step::Drain.takes(100).within(900),
        Step::Cut.takes(200).within(300),
        Step::Release.takes(300).within(300),
    ],
    abandon: &[
        Step::Unroute.takes(200).within(120),
        Step::DropServer.takes(1_000).within(900),
        Step::Release.takes(300).within(300),
    ],
    undo: &[
        Step::Unroute.takes(200).within(120),
        Step::DropServer.takes(1_000).within(900),
        Step::Release.takes(300).within(300),
    ],
    makes: true,
    can_cancel: true,
    ..PLAIN
};
