//! What our accounts' sessions begin with in a tenant's database, whatever the tenant has set for it.
//!
//! A tenant sets for its database what every session there begins with: how long a statement may take, another role, a
//! search path, strings that end elsewhere. What is set for one role in one database comes before that, also for the
//! sessions that we do not open by ourselves: those that send changes, and those that take them. So our accounts get
//! every setting that a tenant can change, with the value that a session of ours has in a database of nobody's.
//!
//! # If we die here
//! It is done again by the next try. What was set goes with the account.

use crate::engines::Error;
use crate::engines::postgresql::connection::{Client, name};

/// What is a transaction's, or a session's own, and has no value to begin with.
const OF_THE_MOMENT: &str =
    "'transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'application_name'";

/// What our sessions have otherwise than those which send and take changes: they wait as long as it takes, and nothing
/// is hidden from them without a word.
const OTHERWISE: &str = "SET LOCAL lock_timeout = 0; SET LOCAL row_security = on; SET LOCAL client_encoding = 'UTF8'; \
                         SET LOCAL check_function_bodies = on";

/// Gives an account what its sessions begin with in each of the databases. `client` is to our own database.
///
/// # Errors
/// The server's.
pub async fn shield(client: &Client, account: &str, databases: &[String]) -> Result<(), Error> {
    let doing = "say what our sessions begin with";
    let sql = format!(
        "SELECT name FROM pg_settings WHERE context = 'user' AND name NOT IN ({OF_THE_MOMENT}) AND name !~ '[.]' ORDER BY 1"
    );
    let settings = client.column(doing, &sql).await?;
    for database in databases {
        let of = format!("ALTER ROLE {} IN DATABASE {}", name(account), name(database));
        let mut statements = vec![format!("BEGIN; {OTHERWISE}; {of} RESET ALL; {of} SET role TO 'none'")];
        statements.extend(settings.iter().map(|setting| format!("{of} SET {} FROM CURRENT", name(setting))));
        statements.push("COMMIT".to_owned());
        let done = client.run(doing, &statements.join("; ")).await;
        if done.is_err() {
            client.run(doing, "ROLLBACK").await?;
        }
        done?;
    }
    Ok(())
}
