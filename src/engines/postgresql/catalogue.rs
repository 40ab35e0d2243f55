//! What questions to a server's catalogue have in common.

use crate::engines::postgresql::copy::ATTRIBUTE_VERSION;

/// A kind of thing: its word; the question that gives the name of each and its facts as JSON; and the first major
/// version that has such things.
pub type Kind = (&'static str, String, u32);

/// A relation of the tenant's with its schema: joins on `c.relnamespace`.
pub const OF_RELATION: &str = "JOIN pg_namespace n ON n.oid = c.relnamespace";

/// A schema's name and another one.
pub fn named(name: &str) -> String {
    format!("n.nspname || '.' || {name}")
}

/// The options of an object, whose order means nothing.
pub fn options(column: &str) -> String {
    // One that later servers keep on their own is none of a tenant's.
    format!(
        "(SELECT string_agg(o, ', ' ORDER BY o) FROM unnest({column}) o WHERE o !~ '^{ATTRIBUTE_VERSION}=')"
    )
}

/// The condition that an object is no extension's.
pub fn no_member(class: &str, oid: &str) -> String {
    let class = if class.contains('.') { class.to_owned() } else { format!("'{class}'::regclass") };
    format!(
        "AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = {class} AND e.objid = {oid} AND e.deptype = 'e')"
    )
}
