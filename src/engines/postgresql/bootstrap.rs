//! A new server's cluster, with our own account and no other, and what of ours every server has.

use crate::domain::tenant::OWN_SCHEMA;
use crate::engines::postgresql::connection::{Client, OWN_DATABASE, name};
use crate::engines::postgresql::{ACCOUNT, cluster, major, own, run};
use crate::engines::{Error, Server};
use crate::runtimes::{Job, Layout};

/// Makes a cluster in an empty data folder. Nobody can come in by the rules that it is made with; ours take their
/// place before its first start.
pub async fn make(server: &Server, layout: &Layout, checksums: bool) -> Result<(), Error> {
    let mut args = vec![
        format!("--pgdata={}", cluster(layout).display()),
        format!("--username={ACCOUNT}"),
        "--auth=reject".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C.UTF-8".to_owned(),
        "--lc-messages=C".to_owned(),
    ];
    let major = major(&server.version);
    if major >= 14 {
        args.push("--no-instructions".to_owned());
    }
    // From 18 on they are there unless it is told otherwise; before, there is no word for that.
    match checksums {
        true => args.push("--data-checksums".to_owned()),
        false if major >= 18 => {
            args.push("--no-data-checksums".to_owned());
        }
        false => {}
    }
    let job = Job { program: "initdb".to_owned(), args, ..Job::default() };
    run(server, layout, job).await.map(drop)
}

/// Makes what of ours is not there yet: our schema with the probe, and databases that are closed to tenants. Our own
/// database only; cheap when all is there.
pub async fn own(client: &Client) -> Result<(), Error> {
    let doing = "make our own schema";
    let probe = format!("SELECT 1 FROM pg_tables WHERE schemaname = '{OWN_SCHEMA}' AND tablename = 'probe'");
    if client.is_there(doing, &probe).await? {
        return Ok(());
    }
    own::ensure(client).await?;
    // One transaction: the probe is there when all is.
    let sql = format!(
        "REVOKE ALL ON DATABASE {own}, template1 FROM PUBLIC; \
         CREATE TABLE {OWN_SCHEMA}.probe (id integer PRIMARY KEY, word text NOT NULL)",
        own = name(OWN_DATABASE),
    );
    client.run(doing, &sql).await
}
