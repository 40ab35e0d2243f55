//! Gives the server of an instance the memory of another flavor: a restart, while the endpoint holds its clients.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind. A server that does not come up with the new flavor is started with the old one.
pub const SPEC: Spec = Spec {
    word: "resize",
    title: "resize",
    forward: &[
        // It waits for an operation that is being done.
        Step::Hold.takes(50).within(200),
        Step::Stop.takes(1_500).within(300),
        // The one-way point: the server answers, with the new flavor.
        Step::Admit.takes(1_500).within(600),
    ],
    finish: &[Step::Reopen.takes(50).within(60)],
    undo: &[Step::Reinstate.takes(3_000).within(600), Step::Reopen.takes(50).within(60)],
    hold: 1_200,
    ..PLAIN
};
