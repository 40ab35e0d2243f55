//! Restarts the server of an instance, while the endpoint holds its clients.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind. The way back of a server that does not come up is to let clients go: the supervisor goes on starting it.
pub const SPEC: Spec = Spec {
    word: "restart",
    title: "restart",
    forward: &[
        // It waits for an operation that is being done.
        Step::Hold.takes(50).within(200),
        Step::Stop.takes(1_500).within(300),
        // The one-way point: the server answers.
        Step::Admit.takes(1_500).within(600),
    ],
    finish: &[Step::Reopen.takes(50).within(60)],
    // As with an upgrade, an operator's hand is not needed to let clients go.
    undo: &[Step::Reopen.takes(50).within(60)],
    hold: 1_200,
    ..PLAIN
};
