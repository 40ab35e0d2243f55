//! The demo's database in PostgreSQL: the shop's accounts, between which money is transferred.

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{Client, Config, NoTls};

use super::shop::{ACCOUNTS, Found, OPENING};
use super::writers::{Protocol, Tally};

/// A connection to it.
pub struct Ledger {
    client: Client,
    config: Config,
}

impl Ledger {
    /// Connects at the instance's address.
    ///
    /// # Errors
    /// The server cannot be reached, or does not let us in.
    pub async fn open(
        address: &str,
        database: &str,
        user: &str,
        password: &SecretString,
    ) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.host(address).port(5432).user(user).password(password.expose_secret()).dbname(database);
        let connected = config.connect(NoTls).await;
        let (client, connection) = connected.with_context(|| format!("connect to {address}:5432"))?;
        tokio::spawn(connection);
        Ok(Self { client, config })
    }

    /// Where its writers connect.
    pub fn door(&self) -> Protocol {
        Protocol::Postgresql(Box::new(self.config.clone()))
    }

    /// The server's version.
    ///
    /// # Errors
    /// The server's.
    pub async fn version(&self) -> anyhow::Result<String> {
        Ok(self.client.query_one("show server_version", &[]).await?.get(0))
    }

    /// Makes the tables and loads rows.
    ///
    /// # Errors
    /// The server's.
    pub async fn load(&self, rows: u32) -> anyhow::Result<()> {
        let make = format!(
            "create table accounts (id bigint primary key, balance bigint not null);
             create table transfers (token text not null, writer bigint not null, from_account bigint not null,
                                     to_account bigint not null, amount bigint not null,
                                     id bigint generated always as identity primary key);
             create index by_token on transfers (token);
             create table items (id bigint generated always as identity primary key, name text not null, price numeric);
             create view cheap as select id, name from items where price < 10;
             create function total() returns numeric language sql stable as 'select sum(balance) from accounts';
             insert into accounts select n, {OPENING} from generate_series(0, {}) n;
             insert into items (name, price) select 'item ' || n, n % 97 from generate_series(1, {rows}) n;",
            ACCOUNTS - 1
        );
        Ok(self.client.batch_execute(&make).await?)
    }

    /// Adds a table of so many MB.
    ///
    /// # Errors
    /// The server's.
    pub async fn ballast(&self, mb: u32, tell: impl Fn(u32)) -> anyhow::Result<()> {
        let make = "create table ballast (id bigint primary key, text text not null)";
        self.client.batch_execute(make).await?;
        for loaded in 0..mb {
            let insert = format!(
                "insert into ballast select n, repeat(md5(n::text), 31) \
                 from generate_series({loaded}::bigint * 1024, {loaded}::bigint * 1024 + 1023) n"
            );
            self.client.batch_execute(&insert).await?;
            tell(loaded + 1);
        }
        Ok(())
    }

    /// Looks for the tally's transactions.
    ///
    /// # Errors
    /// The server's.
    pub async fn find(&self, tally: &Tally) -> anyhow::Result<Found> {
        let sql = "select token, from_account, to_account, amount from transfers";
        let transfers = self.client.query(sql, &[]).await?;
        let transfers: Vec<(String, i64, i64, i64)> =
            transfers.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let accounts = self.client.query("select id, balance from accounts", &[]).await?;
        let accounts: Vec<(i64, i64)> = accounts.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(Found::judge(tally, &transfers, &accounts))
    }

    /// How many items there are, and the sum of all accounts, by the tenant's own view and function.
    ///
    /// # Errors
    /// The server's.
    pub async fn sums(&self) -> anyhow::Result<(i64, String)> {
        let row = self.client.query_one("select (select count(*) from items), total()::text", &[]).await?;
        Ok((row.get(0), row.get(1)))
    }
}
