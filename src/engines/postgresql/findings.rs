//! What stands in the way of an upgrade, or is to be known before it, as every look tells it.

use crate::engines::Finding;

pub fn blocker(object: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { blocks: true, object: object.into(), why: why.into(), remedy: remedy.into() }
}

pub fn warning(object: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { blocks: false, ..blocker(object, why, remedy) }
}
