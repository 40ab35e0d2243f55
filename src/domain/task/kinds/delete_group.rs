//! Deletes a group: it only goes forward.

use crate::domain::task::Step;
use crate::domain::task::kinds::spec::{PLAIN, Spec};

/// The kind.
pub const SPEC: Spec = Spec {
    word: "delete_group",
    title: "delete",
    forward: &[Step::Unroute.takes(200).within(120), Step::DropServer.takes(1_000).within(900)],
    of_group: true,
    ..PLAIN
};
