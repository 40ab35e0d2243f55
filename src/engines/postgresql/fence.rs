//! Keeping tenants out of a server that is being left: seen, fenced, ended, and stopped with proof.
//!
//! The fence is the rules by which the server lets clients in: written first, so that a server that dies and is started
//! again by whoever comes first comes up fenced; then read by the server, which a stranger's refusal proves. Sessions
//! that are open may still end their transactions for a moment; then they are ended, and looked for until none is seen.
//! One that was just logging in had the old rules: it comes to a server that is read-only by default, and is found by a
//! later look.
//!
//! # If we die here
//! Every part may be done again. What is fenced stays so until the task's recorded decision takes it off.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::engines::postgresql::config::TenantAccess;
use crate::engines::postgresql::connection::Client;
use crate::engines::postgresql::databases::{TENANT_DATABASE, tenant_role};
use crate::engines::postgresql::{
    LOOK_EVERY, Postgresql, cluster, control, layout, pg_hba, sequences, write_config,
};
use crate::engines::{Engine as _, Error, Server, Settings};
use crate::runtimes::Observed;

/// How long sessions that are ended may take to go: what they had begun is rolled back first.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(20);

/// How often open transactions are looked at while they have their moment.
const GRACE_LOOK: Duration = Duration::from_millis(10);

/// The condition that holds for a tenant's session, of `pg_stat_activity`. What is not logged in yet is a tenant's.
pub fn of_a_tenant() -> String {
    let tenants = tenant_role("a.usename");
    format!(
        "a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND (a.usename IS NULL OR ({tenants}))"
    )
}

/// The oldest transaction of a tenant's that is older than `longer_than`.
pub async fn oldest_transaction(server: &Server, longer_than: Duration) -> Result<Option<String>, Error> {
    oldest(&Client::connect(server).await?, longer_than).await
}

async fn oldest(client: &Client, longer_than: Duration) -> Result<Option<String>, Error> {
    let sql = format!(
        "SELECT a.pid, a.usename, floor(extract(epoch FROM clock_timestamp() - a.xact_start)) FROM pg_stat_activity a \
         WHERE a.xact_start <= clock_timestamp() - interval '{} microseconds' AND {} ORDER BY a.xact_start LIMIT 1",
        longer_than.as_micros(),
        of_a_tenant()
    );
    let row = client.rows("look for open transactions", &sql).await?.into_iter().next();
    Ok(row.map(|row| {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (pid, user, seconds) = (values.next(), values.next(), values.next());
        format!(
            "session {} of '{}' has had a transaction open for {} s",
            pid.unwrap_or_default(),
            user.unwrap_or_default(),
            seconds.unwrap_or_default()
        )
    }))
}

/// Fences the server as its settings say, gives open transactions `grace`, and ends every session of a tenant's; gives
/// how many were ended.
pub async fn fence(server: &Server, grace: Duration) -> Result<u64, Error> {
    let client = Client::connect(server).await?;
    let until = Instant::now() + grace;
    // Those that were open when it began: a busy session has the next one open as soon as one ends.
    let mut open = open_transactions(&client).await?;
    write_config(server, &layout(server)?).await?;
    pg_hba::settle(server, &client, TenantAccess::Fenced).await?;
    while !open.is_empty() && Instant::now() < until {
        let still = open_transactions(&client).await?;
        open.retain(|transaction| still.contains(transaction));
        if !open.is_empty() {
            tokio::time::sleep(GRACE_LOOK).await;
        }
    }
    end_sessions(&client).await
}

/// The transactions of tenants that are open now: each session's, and when it began.
async fn open_transactions(client: &Client) -> Result<BTreeSet<String>, Error> {
    let sql = format!(
        "SELECT a.pid || ' ' || a.xact_start FROM pg_stat_activity a WHERE a.xact_start IS NOT NULL AND {}",
        of_a_tenant()
    );
    Ok(client.column("look for open transactions", &sql).await?.into_iter().collect())
}

/// Ends what sessions came through after all; gives how many.
pub async fn end_late(server: &Server) -> Result<u64, Error> {
    end_sessions(&Client::connect(server).await?).await
}

async fn end_sessions(client: &Client) -> Result<u64, Error> {
    let doing = "end the tenants' sessions";
    let deadline = Instant::now() + ROLLBACK_PATIENCE;
    let mut ended = BTreeSet::new();
    let mut pause = Duration::from_millis(1);
    let sql =
        format!("SELECT a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE {}", of_a_tenant());
    loop {
        let left = client.column(doing, &sql).await?;
        if left.is_empty() {
            return Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX));
        }
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{} sessions do not end", left.len())));
        }
        ended.extend(left);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_EVERY);
    }
}

/// Has each sequence stand in the server's log where it stands: the log is ahead, by up to 32 numbers, and so is a copy
/// that is fed by it. Nobody draws numbers any more.
async fn settle_sequences(server: &Server) -> Result<(), Error> {
    let doing = "settle the sequences";
    let client = Client::connect(server).await?;
    let sql = format!(
        "SELECT datname FROM pg_database WHERE {TENANT_DATABASE} AND datallowconn AND datconnlimit <> -2 ORDER BY 1"
    );
    for database in client.column(doing, &sql).await? {
        let inside = Client::connect_to(server, &database).await?;
        sequences::settle(&inside).await?;
    }
    Ok(())
}

/// Stops the server and proves by its control file that it ended as it should.
pub async fn stop_clean(server: &Server) -> Result<String, Error> {
    if matches!(server.runtime.observe(server.generation).await, Ok(Observed::Running)) {
        // One that is dying, or dies of it, is started once more below.
        if let Err(error) = settle_sequences(server).await {
            tracing::info!(generation.id = %server.generation, error = %error, "sequences are not settled");
        }
    }
    Postgresql.stop(server).await?;
    if let Some(proof) = proof(server).await? {
        return Ok(proof);
    }
    // Its end was not clean: the same version mends its files, fenced, and is stopped properly.
    tracing::info!(generation.id = %server.generation, "the server did not end cleanly, starting it once more");
    let settings = Settings { read_only: true, events: false, ..server.settings.clone() };
    Postgresql.start(&Server { settings, ..server.clone() }).await?;
    settle_sequences(server).await?;
    Postgresql.stop(server).await?;
    proof(server).await?.ok_or_else(|| Error::Unexpected {
        doing: "look whether the server stopped cleanly",
        answer: "its control file does not say so".to_owned(),
    })
}

async fn proof(server: &Server) -> Result<Option<String>, Error> {
    let layout = layout(server)?;
    let said = control::read(server, &layout, &cluster(&layout)).await?;
    Ok((said.state == control::STOPPED)
        .then(|| format!("{}, its last checkpoint at {}", said.state, said.checkpoint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_not_a_tenants() {
        assert!(of_a_tenant().contains("a.usename !~ '^coffer($|_)'"));
    }
}
