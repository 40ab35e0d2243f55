//! Makes a group of two instances.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "create_group",
    title: "create",
    forward: &[
        Step::Place.takes(1_000).within(300),
        Step::Start.takes(1_500).within(600),
        Step::Replicate.takes(500).within(900),
        Step::Publish.takes(200).within(300),
        Step::Open.takes(300).within(300),
    ],
    abandon: &[Step::Unroute.takes(200).within(120), Step::DropServer.takes(1_000).within(900)],
    undo: &[Step::Unroute.takes(200).within(120), Step::DropServer.takes(1_000).within(900)],
    makes: true,
    of_group: true,
    can_cancel: true,
    ..PLAIN
};
