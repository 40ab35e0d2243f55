//! A server's configuration from birth, who may come in, and as whom. Tenants cannot change any of it.
//!
//! # Decision
//! The log has what the server says of itself, and nothing of a tenant's: an error's text may hold a value, and what a
//! session prints of its statements (by settings of its own choice, `debug_print_parse`)
//! holds the password of an `ALTER ROLE`. So statements are never logged, and sessions log from FATAL on and without
//! details (see [`super::bootstrap`]), where the server's own processes log from LOG on. We gave up the tenant's errors in the
//! log; a log of its own for the tenant would bring them back.
//!
//! An upgraded server has its own version's defaults: we compared `pg_settings` of 15, 17 and 18, and no default that
//! changed decides about an application's results or errors. What changed is how fast a plan is found or read from disk,
//! and what was not there before is off, or is how every version before behaved.

use std::fmt::Write;
use std::path::Path;

use crate::domain::flavor::client_connections;
use crate::domain::generation::private_address;
use crate::engines::Server;
use crate::engines::postgresql::offered::OUR_CONNECTIONS;
pub use crate::engines::postgresql::offered::quoted;
use crate::engines::postgresql::{
    ACCOUNT, APPLY_ACCOUNT, COPY_ACCOUNT, DUMP_ACCOUNT, LOOK_ACCOUNT, READ_ACCOUNT, REPLICATION_ACCOUNT,
    cluster, logs, offered,
};
use crate::runtimes::Layout;

/// The files of the configuration: settings, who may come in, and as whom.
pub const MAIN: &str = "postgresql.conf";
pub const RULES: &str = "hba.conf";
pub const NAMES: &str = "ident.conf";

/// The files beside it that hold the authority's certificate, the server's, and its private key.
pub const AUTHORITY: &str = "authority.pem";
pub const CERTIFICATE: &str = "certificate.pem";
pub const KEY: &str = "key.pem";

/// The map from the account that our connections come from to our account in the server.
const MAP: &str = "coffer";

/// What every server has, whatever its settings.
const ALWAYS: &str = "\
unix_socket_permissions = 0700
password_encryption = scram-sha-256
authentication_timeout = 15s
tcp_keepalives_idle = 60
tcp_keepalives_interval = 15
tcp_keepalives_count = 4
wal_level = logical
max_wal_senders = 40
max_replication_slots = 40
max_slot_wal_keep_size = 4GB
max_worker_processes = 40
max_logical_replication_workers = 24
wal_retrieve_retry_interval = 500ms
max_prepared_transactions = 64
wal_sender_timeout = 30s
wal_receiver_timeout = 30s
fsync = on
full_page_writes = on
synchronous_commit = on
max_wal_size = 512MB
min_wal_size = 64MB
jit = off
superuser_reserved_connections = 18
log_destination = stderr
logging_collector = off
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = default
log_min_duration_statement = -1
log_min_duration_sample = -1
log_duration = off
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_connections = off
log_checkpoints = off
log_autovacuum_min_duration = -1
log_timezone = UTC
timezone = UTC
lc_messages = C
lc_monetary = C.UTF-8
lc_numeric = C.UTF-8
lc_time = C.UTF-8
datestyle = 'iso, mdy'
default_text_search_config = 'pg_catalog.english'
";

/// The settings' text.
pub fn main(server: &Server, layout: &Layout) -> String {
    let mut text = String::from("# Written by coffer before every start; changes are lost.\n");
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(text, "{name} = {}", quoted(value));
    };
    let file = |name: &str| layout.config.join(name).to_string_lossy().into_owned();
    set("data_directory", &cluster(layout).to_string_lossy());
    set("hba_file", &file(RULES));
    set("ident_file", &file(NAMES));
    set("listen_addresses", &private_address(server.generation).to_string());
    set("port", &crate::domain::datastore::EngineKind::Postgresql.standard_port().to_string());
    // A list, whose elements may be quoted themselves.
    let folder = layout.socket.parent().unwrap_or(Path::new("/nonexistent"));
    set("unix_socket_directories", &format!("\"{}\"", folder.to_string_lossy()));
    if server.tls.is_some() {
        set("ssl", "on");
        set("ssl_ca_file", &file(AUTHORITY));
        set("ssl_cert_file", &file(CERTIFICATE));
        set("ssl_key_file", &file(KEY));
        set("ssl_min_protocol_version", "TLSv1.2");
    } else {
        set("ssl", "off");
    }
    // For who was still logging in when the fence came up: it is looked for, and ended.
    set("default_transaction_read_only", if server.settings.refuses_writes() { "on" } else { "off" });
    let memory = server.settings.memory_mb;
    set("max_connections", &(client_connections(memory) + OUR_CONNECTIONS).to_string());
    let least = |share: u32, least: u32| format!("{}MB", share.max(least));
    set("shared_buffers", &least(memory / 4, 32));
    set("effective_cache_size", &least(memory / 2, 64));
    set("maintenance_work_mem", &least(memory / 16, 16));
    set("work_mem", &least(memory / 256, 2));
    set("log_line_prefix", logs::PREFIX);
    set("log_statement", logs::statements(logs::is_on(server)));
    text.push_str(ALWAYS);
    // The last of several counts.
    text.push_str(&offered::lines(&server.settings.parameters));
    text
}

/// Whom the rules let in besides our own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantAccess {
    /// Tenants.
    Open,
    /// Nobody.
    Fenced,
}

/// Who may come in, first match. Our own account only by the socket, and only as whom [`names`] says; by TCP tenants,
/// who are neither our accounts nor come to the server's own databases, and what copies or follows the server, which is
/// there for a task's life only, with a random password. The one as which changes are taken never comes in.
pub fn rules(access: TenantAccess) -> String {
    rules_with(access, &[])
}

/// The same while keepers make what is theirs: by the socket alone, each as whom [`names_with`] says.
pub fn rules_with(access: TenantAccess, keepers: &[String]) -> String {
    let tenants = match access {
        TenantAccess::Open => "scram-sha-256",
        TenantAccess::Fenced => "reject",
    };
    let each = |before: &str, after: &str| -> String {
        keepers.iter().map(|keeper| format!("{before} \"{keeper}\" {after}\n")).collect()
    };
    let (by_socket, by_address) =
        (each("local all", &format!("peer map={MAP}")), each("host all", "all reject"));
    format!(
        "# Written by coffer; changes are lost.\n\
         local all \"{ACCOUNT}\" peer map={MAP}\n\
         {by_socket}\
         local all all reject\n\
         {by_address}\
         host replication \"{COPY_ACCOUNT}\" 127.0.0.0/8 scram-sha-256\n\
         host all \"{ACCOUNT}\",\"{COPY_ACCOUNT}\",\"{APPLY_ACCOUNT}\" all reject\n\
         host \"postgres\",\"template0\",\"template1\" all all reject\n\
         host all \"{REPLICATION_ACCOUNT}\",\"{LOOK_ACCOUNT}\",\"{DUMP_ACCOUNT}\",\"{READ_ACCOUNT}\" 127.0.0.0/8 scram-sha-256\n\
         host all all 127.0.0.0/8 {tenants}\n"
    )
}

/// Who may come in while data is converted: whom [`names`] says, by the socket, and nobody else.
pub fn upgrade_rules() -> String {
    format!(
        "# Written by coffer; changes are lost.\nlocal all \"{ACCOUNT}\" peer map={MAP}\nlocal all all reject\n"
    )
}

/// Which accounts of the host are our own account.
pub fn names(visitors: &[&str]) -> String {
    let mut text = String::from("# Written by coffer; changes are lost.\n");
    for visitor in visitors {
        let _ = writeln!(text, "{MAP} \"{visitor}\" \"{ACCOUNT}\"");
    }
    text
}

/// The same, and which account of the host is which keeper.
pub fn names_with(visitors: &[&str], program: &str, keepers: &[String]) -> String {
    let mut text = names(visitors);
    for keeper in keepers {
        let _ = writeln!(text, "{MAP} \"{program}\" \"{keeper}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_is() {
        assert_eq!(quoted(r"/a'b\c"), r"'/a''b\\c'");
    }

    #[test]
    fn nobody_but_us_comes_by_the_socket() {
        for (access, last) in [(TenantAccess::Open, "scram-sha-256"), (TenantAccess::Fenced, "reject")] {
            let rules = rules(access);
            let lines: Vec<&str> = rules.lines().skip(1).collect();
            assert_eq!(lines[0], "local all \"coffer\" peer map=coffer");
            assert_eq!(lines[1], "local all all reject");
            assert!(lines[3].starts_with("host all \"coffer\"") && lines[3].ends_with("reject"));
            assert!(lines.last().unwrap().ends_with(last));
            assert!(!rules.contains("trust"));
        }
    }

    #[test]
    fn a_keeper_comes_by_the_socket_alone() {
        let keepers = ["coffer_keeper_1".to_owned()];
        let rules = rules_with(TenantAccess::Open, &keepers);
        let of_it: Vec<&str> = rules.lines().filter(|line| line.contains("coffer_keeper_1")).collect();
        assert_eq!(
            of_it,
            ["local all \"coffer_keeper_1\" peer map=coffer", "host all \"coffer_keeper_1\" all reject"]
        );
        assert_eq!(
            names_with(&["me"], "it", &keepers).lines().skip(1).collect::<Vec<_>>(),
            ["coffer \"me\" \"coffer\"", "coffer \"it\" \"coffer_keeper_1\""]
        );
    }
}
