//! Every object of a tenant's as a line of text, equal on two servers that hold the same, whatever their versions. Whose
//! it is and who may do what with it has lines of its own ([`rights`]); on a replica, whose tenants can only read, they
//! tell what will be given. Signs of [`tampering`] are told as well.
//!
//! Names and definitions are the server's own descriptions, with every name quoted. The text of a view is told without
//! the tables' names before its columns, since versions before 16 print them where later ones do not; which columns it
//! needs is told beside it. What a version alone has is left out: the right to MAINTAIN, the constraint that stands for NOT
//! NULL, the version of an extension, its own objects, the version of a collation's rules, the type of an identity's sequence,
//! whether a partition's column is its table's identity, and the foreign keys that the server makes for the partitions of one, which it names in its own way.
//!
//! It reads the system's tables only, by the objects' own numbers, and evaluates nothing of a tenant's.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::PUBLICATION;
use crate::engines::postgresql::catalogue::{self, Kind, OF_RELATION, named, no_member, options, settings};
use crate::engines::postgresql::connection::kept::{self, Use};
use crate::engines::postgresql::connection::{Client, OWN_DATABASE};
use crate::engines::postgresql::databases::{TENANT_DATABASE, in_each, open_databases, tenant_role};
use crate::engines::postgresql::{major, rights, roles, tampering};
use crate::engines::{Error, Server, object};

/// How long one question may take: it looks at every object of a kind.
const PATIENCE: Duration = Duration::from_secs(60);

/// The database that every server has beside the tenants' and [`OWN_DATABASE`]: both may hold nothing but what is ours.
const TEMPLATE: &str = "template1";

/// The condition that an object is of a tenant's schema, and no extension's.
fn own(class: &str, oid: &str) -> String {
    format!(
        "n.nspname NOT IN ('pg_catalog', 'information_schema', '{OWN_SCHEMA}') AND n.nspname !~ '^pg_' \
         AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = '{class}'::regclass AND e.objid = {oid} \
         AND e.deptype = 'e')"
    )
}

/// The tablespace, unless it is the database's.
const TABLESPACE: &str = "(SELECT spcname FROM pg_tablespace WHERE oid = c.reltablespace)";

/// What the database itself holds besides rows.
fn questions() -> Vec<Kind> {
    let relation = own("pg_class", "c.oid");
    let (of, table) = (OF_RELATION, named("c.relname"));
    let reloptions = options("c.reloptions");
    vec![
        (
            "schema",
            format!("SELECT n.nspname, NULL FROM pg_namespace n WHERE {}", own("pg_namespace", "n.oid")),
            0,
        ),
        (
            "relation",
            format!(
                "SELECT {table}, json_build_object('kind', c.relkind, 'persistence', c.relpersistence, \
                 'row security', c.relrowsecurity, 'row security forced', c.relforcerowsecurity, \
                 'replica identity', c.relreplident, 'is a partition', c.relispartition, 'options', {reloptions}, \
                 'bounds', CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END, \
                 'partition key', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END, \
                 'is populated', CASE WHEN c.relkind = 'm' THEN c.relispopulated END, \
                 'access method', (SELECT amname FROM pg_am WHERE oid = c.relam), 'tablespace', {TABLESPACE}, \
                 'type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END, \
                 'options beside it', (SELECT {} FROM pg_class t WHERE t.oid = c.reltoastrelid)) \
                 FROM pg_class c {of} WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND {relation}",
                options("t.reloptions")
            ),
            0,
        ),
        (
            "inheritance",
            format!(
                "SELECT {table} || ' ' || i.inhseqno, json_build_object('parent', pn.nspname || '.' || p.relname) \
                 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid {of} JOIN pg_class p ON p.oid = i.inhparent \
                 JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE c.relkind IN ('r', 'p', 'f') AND {relation}"
            ),
            0,
        ),
        (
            "column",
            format!(
                "SELECT {table} || '.' || a.attname, json_build_object('place', row_number() OVER (PARTITION BY c.oid \
                 ORDER BY a.attnum), 'type', format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull, \
                 'identity', CASE WHEN NOT c.relispartition THEN a.attidentity END, 'generated', a.attgenerated, 'default', \
                 pg_get_expr(d.adbin, d.adrelid), \
                 'collation', (SELECT y.nspname || '.' || l.collname FROM pg_collation l JOIN pg_namespace y \
                 ON y.oid = l.collnamespace WHERE l.oid = a.attcollation), 'storage', a.attstorage, \
                 'compression', to_json(a)->>'attcompression', 'statistics', nullif(to_json(a)->>'attstattarget', '-1'), \
                 'options', {}) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid {of} \
                 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0 \
                 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND {relation}",
                options("a.attoptions")
            ),
            0,
        ),
        (
            "constraint",
            format!(
                "SELECT {table} || '.' || k.conname, json_build_object('is validated', k.convalidated, \
                 'definition', pg_get_constraintdef(k.oid)) FROM pg_constraint k \
                 JOIN pg_class c ON c.oid = k.conrelid {of} WHERE k.contype <> 'n' \
                 AND NOT (k.contype = 'f' AND k.conparentid <> 0) AND {relation}"
            ),
            0,
        ),
        (
            "index",
            format!(
                "SELECT {table}, json_build_object('is valid', i.indisvalid, 'is clustered by', i.indisclustered, \
                 'is the replica identity', i.indisreplident, 'definition', pg_get_indexdef(i.indexrelid), \
                 'tablespace', {TABLESPACE}, 'statistics', (SELECT string_agg(a.attnum || ':' || (to_json(a)->>'attstattarget'), \
                 ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND to_json(a)->>'attstattarget' <> '-1')) \
                 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid {of} WHERE {relation}"
            ),
            0,
        ),
        (
            "sequence",
            format!(
                "SELECT {table}, json_build_object('type', CASE WHEN NOT EXISTS (SELECT 1 FROM pg_depend d \
                 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i') \
                 THEN format_type(s.seqtypid, NULL) END, 'start', s.seqstart, \
                 'increment', s.seqincrement, 'maximum', s.seqmax, 'minimum', s.seqmin, 'cache', s.seqcache, \
                 'cycles', s.seqcycle, 'column', (SELECT tn.nspname || '.' || t.relname || '.' || a.attname FROM pg_depend d \
                 JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace JOIN pg_attribute a \
                 ON a.attrelid = t.oid AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
                 AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))) \
                 FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid {of} WHERE {relation}"
            ),
            0,
        ),
        (
            "trigger",
            format!(
                "SELECT {table} || '.' || t.tgname, json_build_object('enabled', t.tgenabled, \
                 'definition', pg_get_triggerdef(t.oid)) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid {of} \
                 WHERE NOT t.tgisinternal AND {relation} UNION ALL SELECT {table} || ' by a constraint', \
                 json_build_object('enabled', string_agg(DISTINCT t.tgenabled::text, ',')) FROM pg_trigger t \
                 JOIN pg_class c ON c.oid = t.tgrelid {of} WHERE t.tgisinternal AND t.tgenabled <> 'O' AND {relation} \
                 GROUP BY n.nspname, c.relname"
            ),
            0,
        ),
        (
            "view",
            format!(
                "SELECT {table}, json_build_object('query', pg_get_viewdef(c.oid)) FROM pg_class c {of} \
                 WHERE c.relkind IN ('v', 'm') AND {relation}"
            ),
            0,
        ),
        (
            "view's column",
            format!(
                "SELECT DISTINCT {table}, json_build_object('needs', pn.nspname || '.' || p.relname || coalesce('.' || a.attname, ''))::text \
                 FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class {of} JOIN pg_depend d \
                 ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass \
                 AND d.deptype = 'n' JOIN pg_class p ON p.oid = d.refobjid JOIN pg_namespace pn ON pn.oid = p.relnamespace \
                 JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = d.refobjsubid \
                 WHERE c.relkind IN ('v', 'm') AND p.oid >= 16384 AND {relation}"
            ),
            0,
        ),
        (
            "rule",
            format!(
                "SELECT {table} || '.' || r.rulename, json_build_object('event', r.ev_type, 'enabled', r.ev_enabled, \
                 'is instead', r.is_instead, 'definition', CASE WHEN r.rulename <> '_RETURN' THEN pg_get_ruledef(r.oid) END) \
                 FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class {of} WHERE {relation}"
            ),
            0,
        ),
        (
            "policy",
            format!(
                "SELECT {table} || '.' || p.polname, json_build_object('command', p.polcmd, 'is permissive', p.polpermissive, \
                 'roles', (SELECT string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM pg_roles g WHERE g.oid = ANY (p.polroles)), \
                 'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) FROM pg_policy p \
                 JOIN pg_class c ON c.oid = p.polrelid {of} WHERE {relation}"
            ),
            0,
        ),
        (
            "routine",
            format!(
                "SELECT {} || '(' || pg_get_function_identity_arguments(p.oid) || ')', json_build_object('kind', p.prokind, \
                 'language', l.lanname, 'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid), \
                 'volatility', p.provolatile, 'security definer', p.prosecdef, 'leakproof', p.proleakproof, \
                 'strict', p.proisstrict, 'parallel', p.proparallel, 'settings', {}, 'body', md5(p.prosrc), \
                 'statement', CASE WHEN to_json(p)->>'prosqlbody' IS NOT NULL THEN md5(pg_get_functiondef(p.oid)) END, \
                 'cost', p.procost, 'rows', p.prorows, 'support', nullif(p.prosupport::oid::regproc::text, '-'), \
                 'library', p.probin, 'transforms', p.protrftypes::regtype[]::text) FROM pg_proc p \
                 JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang WHERE {}",
                named("p.proname"),
                settings("p.proconfig"),
                own("pg_proc", "p.oid")
            ),
            0,
        ),
        (
            "aggregate",
            format!(
                "SELECT p.oid::regprocedure::text, json_build_object('kind', a.aggkind, 'direct arguments', a.aggnumdirectargs, \
                 'step', a.aggtransfn::text, 'final', a.aggfinalfn::text, 'combine', a.aggcombinefn::text, \
                 'serial', a.aggserialfn::text, 'deserial', a.aggdeserialfn::text, 'moving step', a.aggmtransfn::text, \
                 'moving inverse', a.aggminvtransfn::text, 'moving final', a.aggmfinalfn::text, \
                 'extra', array[a.aggfinalextra, a.aggmfinalextra]::text, 'modifies', concat(a.aggfinalmodify, a.aggmfinalmodify), \
                 'sorts by', a.aggsortop::regoperator::text, 'state', format_type(a.aggtranstype, NULL), 'space', a.aggtransspace, \
                 'moving state', format_type(a.aggmtranstype, NULL), 'moving space', a.aggmtransspace, \
                 'begins with', a.agginitval, 'moving begins with', a.aggminitval) FROM pg_aggregate a \
                 JOIN pg_proc p ON p.oid = a.aggfnoid JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {}",
                own("pg_proc", "p.oid")
            ),
            0,
        ),
        (
            "type",
            format!(
                "SELECT {}, json_build_object('kind', t.typtype, 'not null', t.typnotnull, 'default', coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault), \
                 'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, \
                 'collation', (SELECT y.nspname || '.' || l.collname FROM pg_collation l JOIN pg_namespace y \
                 ON y.oid = l.collnamespace WHERE l.oid = t.typcollation), 'labels', (SELECT string_agg(quote_literal(v.enumlabel), \
                 ', ' ORDER BY v.enumsortorder) FROM pg_enum v WHERE v.enumtypid = t.oid), \
                 'constraints', (SELECT string_agg(k.conname || ' ' || k.convalidated || ' ' || pg_get_constraintdef(k.oid), ', ' \
                 ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'), \
                 'subtype', (SELECT concat_ws(' ', format_type(r.rngsubtype, NULL), \
                 (SELECT o.opcname FROM pg_opclass o WHERE o.oid = r.rngsubopc), (SELECT l.collname FROM pg_collation l \
                 WHERE l.oid = r.rngcollation), nullif(r.rngcanonical::text, '-'), nullif(r.rngsubdiff::text, '-'), \
                 format_type((to_json(r)->>'rngmultitypid')::oid, NULL)) FROM pg_range r WHERE r.rngtypid = t.oid)) \
                 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace \
                 WHERE t.typtype IN ('d', 'e', 'r', 'm', 'b') AND NOT (t.typtype = 'b' AND t.typelem <> 0) AND {}",
                named("t.typname"),
                own("pg_type", "t.oid")
            ),
            0,
        ),
        (
            "operator",
            format!(
                "SELECT p.oid::regoperator::text, json_build_object('function', p.oprcode::oid::regprocedure::text, \
                 'commutator', p.oprcom::regoperator::text, 'negator', p.oprnegate::regoperator::text, \
                 'restrict', p.oprrest::text, 'join', p.oprjoin::text, 'merges', p.oprcanmerge, 'hashes', p.oprcanhash) \
                 FROM pg_operator p JOIN pg_namespace n ON n.oid = p.oprnamespace WHERE {}",
                own("pg_operator", "p.oid")
            ),
            0,
        ),
        (
            "operator class",
            format!(
                "SELECT {} || ' using ' || m.amname, json_build_object('type', format_type(o.opcintype, NULL), \
                 'is default', o.opcdefault, 'keeps', format_type(o.opckeytype, NULL), 'family', f.opfname) FROM pg_opclass o \
                 JOIN pg_namespace n ON n.oid = o.opcnamespace JOIN pg_am m ON m.oid = o.opcmethod \
                 JOIN pg_opfamily f ON f.oid = o.opcfamily WHERE {}",
                named("o.opcname"),
                own("pg_opclass", "o.oid")
            ),
            0,
        ),
        (
            "operator family",
            format!(
                "SELECT {} || ' using ' || m.amname, json_build_object('operators', (SELECT string_agg(concat_ws(' ', a.amopstrategy, \
                 a.amopopr::regoperator::text, a.amoppurpose), ', ' ORDER BY a.amopstrategy, a.amopopr::regoperator::text) \
                 FROM pg_amop a WHERE a.amopfamily = f.oid), 'functions', (SELECT string_agg(concat_ws(' ', a.amprocnum, \
                 a.amproc::oid::regprocedure::text), ', ' ORDER BY a.amprocnum, a.amproc::oid::regprocedure::text) \
                 FROM pg_amproc a WHERE a.amprocfamily = f.oid)) FROM pg_opfamily f \
                 JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am m ON m.oid = f.opfmethod WHERE {}",
                named("f.opfname"),
                own("pg_opfamily", "f.oid")
            ),
            0,
        ),
        (
            "conversion",
            format!(
                "SELECT {}, json_build_object('from', pg_encoding_to_char(o.conforencoding), 'to', \
                 pg_encoding_to_char(o.contoencoding), 'function', o.conproc::oid::regprocedure::text, 'is default', o.condefault) \
                 FROM pg_conversion o JOIN pg_namespace n ON n.oid = o.connamespace WHERE {}",
                named("o.conname"),
                own("pg_conversion", "o.oid")
            ),
            0,
        ),
        (
            "collation",
            format!(
                "SELECT {}, json_build_object('provider', l.collprovider, 'is deterministic', l.collisdeterministic, \
                 'collate', l.collcollate, 'ctype', l.collctype, \
                 'locale', coalesce(to_json(l)->>'colllocale', to_json(l)->>'colliculocale'), \
                 'rules', to_json(l)->>'collicurules') FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE {}",
                named("l.collname"),
                own("pg_collation", "l.oid")
            ),
            0,
        ),
        (
            "statistics",
            format!(
                "SELECT {}, json_build_object('definition', pg_get_statisticsobjdef(s.oid), \
                 'target', nullif(to_json(s)->>'stxstattarget', '-1')) FROM pg_statistic_ext s \
                 JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {}",
                named("s.stxname"),
                own("pg_statistic_ext", "s.oid")
            ),
            0,
        ),
        (
            "search configuration",
            format!(
                "SELECT {}, json_build_object('parser', (SELECT prsname FROM pg_ts_parser WHERE oid = t.cfgparser), \
                 'mapping', (SELECT string_agg(m.maptokentype || ':' || d.dictname, ', ' ORDER BY m.maptokentype, m.mapseqno) \
                 FROM pg_ts_config_map m JOIN pg_ts_dict d ON d.oid = m.mapdict WHERE m.mapcfg = t.oid)) \
                 FROM pg_ts_config t JOIN pg_namespace n ON n.oid = t.cfgnamespace WHERE {}",
                named("t.cfgname"),
                own("pg_ts_config", "t.oid")
            ),
            0,
        ),
        (
            "search dictionary",
            format!(
                "SELECT {}, json_build_object('template', (SELECT tmplname FROM pg_ts_template WHERE oid = t.dicttemplate), \
                 'options', t.dictinitoption) FROM pg_ts_dict t JOIN pg_namespace n ON n.oid = t.dictnamespace WHERE {}",
                named("t.dictname"),
                own("pg_ts_dict", "t.oid")
            ),
            0,
        ),
        (
            "search parser or template",
            format!(
                "SELECT {}, NULL FROM pg_ts_parser t JOIN pg_namespace n ON n.oid = t.prsnamespace WHERE {} UNION ALL \
                 SELECT {}, NULL FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace WHERE {}",
                named("t.prsname"),
                own("pg_ts_parser", "t.oid"),
                named("t.tmplname"),
                own("pg_ts_template", "t.oid")
            ),
            0,
        ),
        (
            "extension",
            "SELECT e.extname, json_build_object('schema', n.nspname) FROM pg_extension e \
             JOIN pg_namespace n ON n.oid = e.extnamespace"
                .to_owned(),
            0,
        ),
        (
            "cast",
            format!(
                "SELECT format_type(c.castsource, NULL) || ' to ' || format_type(c.casttarget, NULL), \
                 json_build_object('context', c.castcontext, 'method', c.castmethod, 'function', \
                 CASE WHEN c.castfunc <> 0 THEN c.castfunc::regprocedure::text END) FROM pg_cast c WHERE c.oid >= 16384 {}",
                no_member("pg_cast", "c.oid")
            ),
            0,
        ),
        (
            "publication",
            format!(
                "SELECT p.pubname, json_build_object('all tables', p.puballtables, 'insert', p.pubinsert, 'update', p.pubupdate, \
                 'delete', p.pubdelete, 'truncate', p.pubtruncate, 'via root', p.pubviaroot, \
                 'generated columns', nullif(to_json(p)->>'pubgencols', 'n')) \
                 FROM pg_publication p WHERE NOT (p.pubname = '{PUBLICATION}' AND p.pubowner = 10)"
            ),
            0,
        ),
        (
            "publication's table",
            format!(
                "SELECT p.pubname || ': ' || {table}, json_build_object('condition', pg_get_expr(r.prqual, r.prrelid), \
                 'columns', (SELECT string_agg(a.attname, ', ' ORDER BY a.attname) FROM unnest(r.prattrs) v (at) \
                 JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = v.at)) FROM pg_publication_rel r \
                 JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid {of} \
                 WHERE NOT (p.pubname = '{PUBLICATION}' AND p.pubowner = 10) UNION ALL SELECT p.pubname || ': ' || n.nspname, NULL FROM pg_publication_namespace r \
                 JOIN pg_publication p ON p.oid = r.pnpubid JOIN pg_namespace n ON n.oid = r.pnnspid \
                 WHERE NOT (p.pubname = '{PUBLICATION}' AND p.pubowner = 10)"
            ),
            15,
        ),
        (
            "comment",
            format!(
                "SELECT i.type || ' ' || i.identity, json_build_object('text', d.description) FROM pg_description d \
                 CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE d.objoid >= 16384 \
                 AND coalesce(i.schema, '') <> '{OWN_SCHEMA}' {}",
                no_member("d.classoid", "d.objoid")
            ),
            0,
        ),
        (
            "label",
            "SELECT l.objtype || ' ' || l.objname || ' ' || l.provider, json_build_object('label', l.label) FROM pg_seclabels l"
                .to_owned(),
            0,
        ),
        ("large objects", "SELECT 'all', json_build_object('count', count(*)) FROM pg_largeobject_metadata".to_owned(), 0),
    ]
}

/// What is the server's as a whole.
fn shared() -> Vec<Kind> {
    let role = tenant_role("r.rolname");
    vec![
        (
            "database",
            format!(
                "SELECT d.datname, json_build_object('encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate, \
                 'ctype', d.datctype, 'provider', coalesce(to_json(d)->>'datlocprovider', 'c'), \
                 'locale', coalesce(to_json(d)->>'datlocale', to_json(d)->>'daticulocale'), 'rules', to_json(d)->>'daticurules', \
                 'is a template', d.datistemplate, 'takes connections', d.datallowconn, 'connections', d.datconnlimit, \
                 'tablespace', (SELECT spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace), \
                 'comment', shobj_description(d.oid, 'pg_database')) FROM pg_database d WHERE d.{TENANT_DATABASE}"
            ),
            0,
        ),
        ("prepared transaction", "SELECT database || ' ' || gid, NULL FROM pg_prepared_xacts".to_owned(), 0),
        (
            "role",
            format!(
                "SELECT r.rolname, json_build_object('superuser', r.rolsuper, 'inherits', r.rolinherit, 'creates roles', r.rolcreaterole, \
                 'creates databases', r.rolcreatedb, 'logs in', r.rolcanlogin, 'replicates', r.rolreplication, \
                 'bypasses row security', r.rolbypassrls, 'connections', r.rolconnlimit, 'valid until', r.rolvaliduntil, \
                 '{}', md5(r.rolpassword), 'comment', shobj_description(r.oid, 'pg_authid')) FROM pg_authid r WHERE {role}",
                object::secret("password")
            ),
            0,
        ),
        (
            "membership",
            format!(
                "SELECT g.rolname || ' of ' || r.rolname, json_build_object('may give on', bool_or(m.admin_option), \
                 'inherits', bool_or(coalesce((to_json(m)->>'inherit_option')::boolean, r.rolinherit)), \
                 'may become', bool_or(coalesce((to_json(m)->>'set_option')::boolean, true))) FROM pg_auth_members m \
                 JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member WHERE {role} GROUP BY g.rolname, r.rolname"
            ),
            0,
        ),
        (
            "setting",
            format!(
                "SELECT concat_ws(' in ', coalesce(r.rolname, 'all roles'), d.datname), json_build_object('values', {}) \
                 FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase \
                 LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE (s.setdatabase <> 0 OR s.setrole <> 0) \
                 AND (s.setrole = 0 OR ({role}))",
                settings("s.setconfig")
            ),
            0,
        ),
        (
            "parameter",
            "SELECT p.parname, json_build_object('rights', p.paracl::text) FROM pg_parameter_acl p".to_owned(),
            15,
        ),
        (
            // Whom a copy of the same major followed until it was promoted stays written there, without effect.
            "setting of the server",
            "SELECT s.name, json_build_object('value', s.setting) FROM pg_file_settings s \
             WHERE s.sourcefile ~ 'postgresql[.]auto[.]conf$' AND s.name NOT IN ('primary_conninfo', 'primary_slot_name')"
                .to_owned(),
            0,
        ),
        (
            "tablespace",
            "SELECT t.spcname, NULL FROM pg_tablespace t WHERE t.oid >= 16384".to_owned(),
            0,
        ),
    ]
}

/// Reads the lines, sorted; with where each sequence stands, unless the server goes on serving.
pub async fn read(server: &Server, serving: bool) -> Result<Vec<String>, Error> {
    let client = session(server, OWN_DATABASE).await?;
    let mut lines = Vec::new();
    ask(server, &client, None, shared(), &mut lines).await?;
    let databases = open_databases(&client).await?;
    // Of the server's own two, one is asked in the session that is there.
    let others: Vec<String> = databases.into_iter().chain([TEMPLATE.to_owned()]).collect();
    let own = async {
        let mut lines = Vec::new();
        ask(server, &client, Some(OWN_DATABASE), tampering::questions(), &mut lines).await?;
        Ok(lines)
    };
    let each = in_each(&others, async |database| {
        inside(server, &session(server, database).await?, database, serving).await
    });
    let (own, each) = tokio::try_join!(own, each)?;
    lines.extend(own);
    lines.extend(each.into_iter().flatten());
    lines.sort();
    Ok(lines)
}

/// A session for the questions of one database.
async fn session(server: &Server, database: &str) -> Result<Client, Error> {
    let client = match kept::take(server, database, Use::Inventory) {
        Some(client) => client,
        None => Client::connect_to(server, database).await?,
    };
    client.quote_names().await?;
    Ok(client.patient(PATIENCE))
}

/// Opens a session for each of these databases of the tenant's and the server's own, with every question prepared and
/// asked once: what the server reads for the first answer, the next one need not.
///
/// # Errors
/// The server's.
pub async fn prepare(server: &Server, tenants: &[String]) -> Result<Vec<(String, Client)>, Error> {
    let all: Vec<String> =
        [OWN_DATABASE, TEMPLATE].map(str::to_owned).into_iter().chain(tenants.iter().cloned()).collect();
    in_each(&all, async |database| {
        let mut client = Client::connect_anew(server, database).await?.patient(PATIENCE);
        client.quote_names().await?;
        let is_own = database == OWN_DATABASE;
        let is_tenants = !is_own && database != TEMPLATE;
        let mut kinds = tampering::questions();
        if is_own {
            kinds.extend(shared());
        }
        if is_tenants {
            kinds.extend(questions());
            kinds.push(positions());
        }
        let of_kinds =
            kinds.into_iter().filter(|(_, _, from)| major(&server.version) >= *from).map(|(_, sql, _)| sql);
        let rights = if is_tenants { rights::questions() } else { Vec::new() };
        for sql in of_kinds.chain(rights) {
            client.prepare(&sql).await?;
            catalogue::rows(&client, "describe the content beforehand", &format!("{database}: "), &sql)
                .await?;
        }
        Ok((database.to_owned(), client))
    })
    .await
}

async fn inside(
    server: &Server,
    inside: &Client,
    database: &str,
    serving: bool,
) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    ask(server, inside, Some(database), tampering::questions(), &mut lines).await?;
    if database == TEMPLATE {
        return Ok(lines);
    }
    ask(server, inside, Some(database), questions(), &mut lines).await?;
    let given = match rights::kept(inside).await? {
        Some(kept) => kept,
        None => rights::read(inside).await?,
    };
    lines.extend(rights::lines(&given).into_iter().map(|line| told(format!("{database}: {line}"))));
    if !serving {
        ask(server, inside, Some(database), vec![positions()], &mut lines).await?;
    }
    Ok(lines)
}

async fn ask(
    server: &Server,
    client: &Client,
    database: Option<&str>,
    kinds: Vec<Kind>,
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    let doing = "describe the content";
    let place = database.map(|name| format!("{name}: ")).unwrap_or_default();
    for (kind, sql, _) in kinds.into_iter().filter(|(_, _, from)| major(&server.version) >= *from) {
        for row in catalogue::rows(client, doing, &place, &sql).await? {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            let (name, facts) = (row.next().unwrap_or_default(), row.next().unwrap_or_default());
            let facts: Map<String, Value> = match facts.is_empty() {
                true => Map::new(),
                false => serde_json::from_str(&facts)
                    .map_err(|error| Error::Unexpected { doing, answer: format!("{kind}: {error}") })?,
            };
            let facts = facts.into_iter().map(|(fact, value)| {
                let value = match value {
                    Value::Null => String::new(),
                    Value::String(text) if fact == "query" => unqualified(&text),
                    Value::String(text) => text,
                    // Only settings are told as a list.
                    Value::Array(pairs) => {
                        let plain = |pair: &Value| pair.as_str().map(roles::plain);
                        let plain: BTreeSet<String> = pairs.iter().filter_map(plain).collect();
                        plain.into_iter().collect::<Vec<_>>().join(", ")
                    }
                    other => other.to_string(),
                };
                (fact, value)
            });
            lines.push(told(object::line(&format!("{place}{kind} {name}"), facts)));
        }
    }
    Ok(())
}

/// A value as every version tells it: to some the type `json` is a word of the language, which is not quoted.
fn told(value: String) -> String {
    if value.contains(JSON) { value.replace(JSON, "json") } else { value }
}

const JSON: &str = "\"json\"";

/// A query with every name but the last part of it left out, and one space for any. Texts stay as they are.
fn unqualified(query: &str) -> String {
    let mut short = String::with_capacity(query.len());
    let mut chars = query.chars().peekable();
    let mut is_escaped = false;
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => {
                let mut word = String::from(c);
                while let Some(next) = chars.next() {
                    word.push(next);
                    if next == '\\' && c == '\'' && is_escaped {
                        word.extend(chars.next());
                    } else if next == c {
                        if chars.peek() != Some(&c) {
                            break;
                        }
                        word.extend(chars.next());
                    }
                }
                let is_qualifier = c == '"' && chars.peek() == Some(&'.');
                if is_qualifier {
                    chars.next();
                } else {
                    short.push_str(&word);
                }
            }
            c if c.is_whitespace() => {
                if !short.ends_with(' ') {
                    short.push(' ');
                }
            }
            c => short.push(c),
        }
        is_escaped = c == 'E';
    }
    short
}

/// Where each sequence stands, by its own number: what has its name in a moment may be something else.
fn positions() -> Kind {
    let sql = format!(
        "SELECT {}, json_build_object('value', coalesce(pg_sequence_last_value(c.oid)::text, 'not called')) \
         FROM pg_class c {OF_RELATION} WHERE c.relkind = 'S' AND {}",
        named("c.relname"),
        own("pg_class", "c.oid")
    );
    ("place of sequence", sql, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_told_without_qualifiers() {
        for (query, told) in [
            (
                "SELECT \"t\".\"a\",\n    'x.\"y\".\"z\"' FROM \"s\".\"t\"",
                "SELECT \"a\", 'x.\"y\".\"z\"' FROM \"t\"",
            ),
            (
                "\"t\".\"a\"\".b\" || E'\\'\"q\".' || 'it''s \"q\".\"r\"'",
                "\"a\"\".b\" || E'\\'\"q\".' || 'it''s \"q\".\"r\"'",
            ),
            ("count(\"t\".*)", "count(*)"),
        ] {
            assert_eq!(unqualified(query), told);
        }
    }
}
