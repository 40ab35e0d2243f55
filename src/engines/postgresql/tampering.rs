//! Signs of tampering: what only the server itself, or somebody with its power, could have made in a database. Nothing of
//! it is a tenant's to make, so a line of it is what a definition of a tenant's that ran with our rights left behind. It
//! is a part of the [inventory](super::inventory) of both sides.

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::object;
use crate::engines::postgresql::catalogue::{Kind, OF_RELATION, named, no_member, options};
use crate::engines::postgresql::still::NAME as STILL;
use crate::engines::postgresql::{ACCOUNT, APPLY_ACCOUNT};
use crate::engines::postgresql::{MARKER, PUBLICATION};

/// What is asked of each database.
pub fn questions() -> Vec<Kind> {
    let system = format!(
        "(n.nspname IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') OR n.nspname ~ '^pg_') AND n.nspname !~ '^pg_(toast_)?temp_'"
    );
    let other = |class: &str, oid: &str| format!("{oid} >= 16384 {}", no_member(class, oid));
    // Our own tables there; what hangs on them is told apart.
    // A candidate's marker belongs to the role that applies changes, until it is cut.
    let ours = format!(
        "n.nspname = '{OWN_SCHEMA}' AND c.relkind IN ('r', 'i') AND (c.relowner = 10 \
         OR (c.relname IN ('{MARKER}', '{MARKER}_pkey') AND pg_get_userbyid(c.relowner) = '{APPLY_ACCOUNT}'))"
    );
    // A candidate refuses definitions until it is cut.
    let still = format!("p.oid = to_regprocedure('{OWN_SCHEMA}.{STILL}()') AND p.proowner = 10");
    vec![
        (
            "in a system schema: relation",
            format!(
                "SELECT {}, NULL FROM pg_class c {OF_RELATION} WHERE {system} AND {} AND NOT (n.nspname = 'pg_toast' \
                 AND c.relname ~ '^pg_toast_[0-9]+(_index)?$' AND c.relkind IN ('t', 'i')) AND NOT ({ours})",
                named("c.relname"),
                other("pg_class", "c.oid")
            ),
            0,
        ),
        (
            "in a system schema: routine",
            format!(
                "SELECT p.oid::regprocedure::text, NULL FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
                 WHERE {system} AND NOT coalesce({still}, false) \
                 AND ({} OR (p.oid < 16384 AND (p.prosecdef OR p.prolang > 14 OR p.proowner <> 10)))",
                other("pg_proc", "p.oid")
            ),
            0,
        ),
        (
            "in a system schema: type",
            format!(
                "SELECT {}, NULL FROM pg_type p JOIN pg_namespace n ON n.oid = p.typnamespace WHERE {system} AND {} \
                 AND NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = n.oid AND {ours} \
                 AND (c.reltype = p.oid OR c.reltype = p.typelem))",
                named("p.typname"),
                other("pg_type", "p.oid")
            ),
            0,
        ),
        (
            "in a system schema: operator",
            format!(
                "SELECT p.oid::regoperator::text, NULL FROM pg_operator p JOIN pg_namespace n ON n.oid = p.oprnamespace \
                 WHERE {system} AND {}",
                other("pg_operator", "p.oid")
            ),
            0,
        ),
        (
            "on a system table",
            format!(
                "SELECT {} || ' ' || it, NULL FROM (SELECT tgrelid, tgname FROM pg_trigger UNION ALL SELECT ev_class, rulename \
                 FROM pg_rewrite WHERE oid >= 16384 UNION ALL SELECT polrelid, polname FROM pg_policy) x (of, it) \
                 JOIN pg_class c ON c.oid = x.of {OF_RELATION} WHERE {system}",
                named("c.relname")
            ),
            0,
        ),
        (
            "system schema",
            format!(
                "SELECT n.nspname, NULL FROM pg_namespace n WHERE {system} AND n.oid >= 16384 AND n.nspname <> '{OWN_SCHEMA}'"
            ),
            0,
        ),
        (
            "language",
            format!(
                "SELECT l.lanname, json_build_object('trusted', l.lanpltrusted) FROM pg_language l WHERE {}",
                other("pg_language", "l.oid")
            ),
            0,
        ),
        ("access method", format!("SELECT a.amname, NULL FROM pg_am a WHERE {}", other("pg_am", "a.oid")), 0),
        (
            "event trigger",
            format!(
                "SELECT t.evtname, json_build_object('event', t.evtevent, 'enabled', t.evtenabled, 'tags', t.evttags::text, \
                 'function', t.evtfoid::regprocedure::text) FROM pg_event_trigger t LEFT JOIN pg_proc p ON p.oid = t.evtfoid \
                 WHERE NOT coalesce(t.evtname = '{STILL}' AND t.evtowner = 10 AND {still}, false)"
            ),
            0,
        ),
        (
            "foreign data wrapper",
            format!(
                "SELECT w.fdwname, NULL FROM pg_foreign_data_wrapper w WHERE {}",
                other("pg_foreign_data_wrapper", "w.oid")
            ),
            0,
        ),
        (
            "foreign server",
            format!(
                "SELECT s.srvname, json_build_object('wrapper', w.fdwname, 'options', {}) FROM pg_foreign_server s \
                 JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw",
                options("s.srvoptions")
            ),
            0,
        ),
        (
            "user mapping",
            format!(
                "SELECT s.srvname || ' ' || coalesce(r.rolname, 'PUBLIC'), json_build_object('{}', md5({})) FROM pg_user_mapping u \
                 JOIN pg_foreign_server s ON s.oid = u.umserver LEFT JOIN pg_roles r ON r.oid = u.umuser",
                object::secret("options"),
                options("u.umoptions")
            ),
            0,
        ),
        (
            "transform",
            format!(
                "SELECT format_type(t.trftype, NULL), NULL FROM pg_transform t WHERE {}",
                other("pg_transform", "t.oid")
            ),
            0,
        ),
        (
            "subscription",
            format!(
                "SELECT s.subname, NULL FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
                 WHERE d.datname = current_database() AND s.subname <> '{PUBLICATION}'"
            ),
            0,
        ),
        (
            "right on what is the server's",
            format!(
                "SELECT x.kind || ' ' || x.what || ' for ' || r.rolname, json_build_object('right', string_agg(e.privilege_type, ', ' \
                 ORDER BY e.privilege_type)) \
                 FROM (SELECT 'relation', {named_relation}, c.relacl FROM pg_class c {OF_RELATION} \
                 WHERE c.oid < 16384 AND c.relacl IS NOT NULL \
                 UNION ALL SELECT 'routine', p.oid::regprocedure::text, p.proacl FROM pg_proc p \
                 WHERE p.oid < 16384 AND p.proacl IS NOT NULL \
                 UNION ALL SELECT 'schema', n.nspname, n.nspacl FROM pg_namespace n \
                 WHERE n.oid < 16384 AND n.nspname <> 'public' OR n.nspname = '{OWN_SCHEMA}' \
                 UNION ALL SELECT 'language', l.lanname, l.lanacl FROM pg_language l \
                 UNION ALL SELECT 'type', t.typname, t.typacl FROM pg_type t \
                 WHERE t.oid < 16384 AND t.typacl IS NOT NULL) x (kind, what, acl) \
                 CROSS JOIN LATERAL aclexplode(x.acl) e JOIN pg_roles r ON r.oid = e.grantee WHERE r.oid >= 16384 \
                 AND r.rolname !~ '^{ACCOUNT}($|_)' GROUP BY 1",
                named_relation = named("c.relname")
            ),
            0,
        ),
    ]
}
