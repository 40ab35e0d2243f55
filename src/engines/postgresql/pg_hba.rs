//! Who comes in, changed while the server runs: the rules are written first, so that a restart comes up the same, then
//! read again by the server, and it counts when a stranger was answered accordingly. Sessions that are open stay.

use std::time::{Duration, Instant};

use tokio_postgres::{Config, NoTls};

use crate::domain::datastore::EngineKind;
use crate::engines::postgresql::config::{self, TenantAccess};
use crate::engines::postgresql::connection::{Client, OWN_DATABASE};
use crate::engines::postgresql::{LOOK_EVERY, runtime};
use crate::engines::{Error, Server};

/// A user and a database that are never there: the rules are asked first.
const STRANGER: &str = "coffer_stranger";

/// How long the server may take to read its rules.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What refuses a client by the rules.
const REFUSED: &str = "28000";

/// Which door the server's settings ask for.
pub fn wanted(server: &Server) -> TenantAccess {
    if server.settings.read_only && !server.settings.readers {
        TenantAccess::Fenced
    } else {
        TenantAccess::Open
    }
}

/// Writes the rules.
pub async fn write(server: &Server, access: TenantAccess) -> Result<(), Error> {
    let doing = "write who may come in";
    let visitor = server.runtime.visitor().await.map_err(runtime(doing))?;
    for (file, text) in [(config::NAMES, config::names(&[&visitor])), (config::RULES, config::rules(access))]
    {
        server.runtime.write_config(server.generation, file, &text).await.map_err(runtime(doing))?;
    }
    Ok(())
}

/// Writes the rules by which keepers come in, too, whose program runs as the account `program`.
pub async fn write_for(
    server: &Server,
    access: TenantAccess,
    program: &str,
    keepers: &[String],
) -> Result<(), Error> {
    let doing = "write who may come in";
    let visitor = server.runtime.visitor().await.map_err(runtime(doing))?;
    let texts = [
        (config::NAMES, config::names_with(&[&visitor], program, keepers)),
        (config::RULES, config::rules_with(access, keepers)),
    ];
    for (file, text) in texts {
        server.runtime.write_config(server.generation, file, &text).await.map_err(runtime(doing))?;
    }
    Ok(())
}

/// Has the server read what [`write()`] wrote, and waits until a stranger sees it.
pub async fn settle(server: &Server, client: &Client, access: TenantAccess) -> Result<(), Error> {
    let doing = "have the server read who may come in";
    client.run(doing, "SELECT pg_reload_conf()").await?;
    let deadline = Instant::now() + PATIENCE;
    // It takes the server a few milliseconds, and tenants may be waiting.
    let mut pause = Duration::from_millis(2);
    loop {
        let seen = seen(server).await?;
        if seen == access {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Unexpected { doing, answer: format!("{seen:?}, not {access:?}") });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_EVERY);
    }
}

/// Has the server read what was written, and waits until it has: a connection that is made then says since when it holds.
pub async fn reload(server: &Server, client: &Client) -> Result<(), Error> {
    let doing = "have the server read its configuration";
    let since = "SELECT pg_conf_load_time()";
    // New ones: a session that is there may read its own part of it first.
    let anew = async || Client::connect_anew(server, OWN_DATABASE).await?.value(doing, since).await;
    let before = anew().await?;
    client.run(doing, "SELECT pg_reload_conf()").await?;
    let deadline = Instant::now() + PATIENCE;
    while anew().await? == before {
        if Instant::now() >= deadline {
            return Err(Error::NoAnswer(format!("{doing}: not in time")));
        }
        tokio::time::sleep(LOOK_EVERY / 5).await;
    }
    Ok(())
}

/// What a stranger sees that comes as the endpoint's clients do.
pub async fn seen(server: &Server) -> Result<TenantAccess, Error> {
    let doing = "knock at the server's address";
    let port = EngineKind::Postgresql.standard_port();
    let knocking = async {
        let stream = server
            .runtime
            .connect_private(server.generation, port)
            .await
            .map_err(|error| Error::NoAnswer(format!("{doing}: {error}")))?;
        let mut config = Config::new();
        config.user(STRANGER).dbname(STRANGER);
        Ok(config.connect_raw(stream, NoTls).await.err())
    };
    let answer = match tokio::time::timeout(ANSWER, knocking).await {
        Ok(answer) => answer?,
        Err(_) => return Err(Error::NoAnswer(format!("{doing}: timed out"))),
    };
    let unexpected = |answer: String| Err(Error::Unexpected { doing, answer });
    match answer {
        None => unexpected("a stranger was let in".to_owned()),
        Some(error) => match error.as_db_error() {
            Some(said) if said.code().code() == REFUSED => Ok(TenantAccess::Fenced),
            Some(said) => match said.code().code() {
                "57P03" | "53300" => Err(Error::NoAnswer(format!("{doing}: {}", said.message()))),
                other => unexpected(format!("{other}: {}", said.message())),
            },
            // It was asked for a password, which it does not have.
            None if is_asked_for_password(&error) => Ok(TenantAccess::Open),
            None => Err(Error::NoAnswer(format!("{doing}: {error}"))),
        },
    }
}

/// Whether the driver ended it for want of a password: there is no other way to tell than its text.
fn is_asked_for_password(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("password missing"))
}
