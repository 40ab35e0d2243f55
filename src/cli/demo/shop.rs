//! The demo's database: a shop with items, orders and accounts between which money is transferred.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mysql_async::prelude::Queryable as _;
use mysql_async::{OptsBuilder, Pool, PoolConstraints, PoolOpts};
use secrecy::{ExposeSecret as _, SecretString};

use super::writers::Tally;

/// Accounts between which the writers transfer.
pub const ACCOUNTS: u64 = 64;
/// What each account holds at first.
pub const OPENING: i64 = 1_000_000;

/// A connection to one side.
pub struct Shop {
    pool: Pool,
}

/// What of the writers' tally was found on one side.
#[derive(Debug)]
pub struct Found {
    /// Acknowledged transactions that are there exactly once.
    pub found: u64,
    /// Acknowledged transactions that are not there.
    pub missing: u64,
    /// Transactions that are there more than once.
    pub twice: u64,
    /// In-doubt transactions that are there.
    pub in_doubt_found: u64,
    /// Whether the accounts' balances are what the transactions that are there make of them.
    pub ledger_fits: bool,
}

impl Found {
    /// Compares the tally with the transfers that are there (token, from, to, amount) and with the accounts' balances.
    pub fn judge(tally: &Tally, transfers: &[(String, i64, i64, i64)], accounts: &[(i64, i64)]) -> Self {
        let mut times: HashMap<&str, u64> = HashMap::new();
        let mut balances: HashMap<i64, i64> = HashMap::new();
        for (token, from, to, amount) in transfers {
            *times.entry(token).or_default() += 1;
            *balances.entry(*from).or_default() -= amount;
            *balances.entry(*to).or_default() += amount;
        }
        let there = |token: &String| times.get(token.as_str()).copied().unwrap_or(0);
        let ledger_fits = accounts.len() as u64 == ACCOUNTS
            && accounts
                .iter()
                .all(|(id, balance)| *balance == OPENING + balances.get(id).copied().unwrap_or(0));
        let count = |n: usize| n as u64;
        Self {
            found: count(tally.tokens.iter().filter(|token| there(token) == 1).count()),
            missing: count(tally.tokens.iter().filter(|token| there(token) == 0).count()),
            twice: count(times.values().filter(|n| **n > 1).count()),
            in_doubt_found: count(tally.in_doubt.iter().filter(|token| there(token) > 0).count()),
            ledger_fits,
        }
    }
}

/// How to connect through an instance's address.
pub fn opts(address: &str, database: &str, user: &str, password: &SecretString) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(address)
        .tcp_port(3306)
        .db_name(Some(database))
        .user(Some(user))
        .pass(Some(password.expose_secret()))
        .prefer_socket(false)
}

impl Shop {
    /// Connects.
    pub async fn open(
        address: &str,
        database: &str,
        user: &str,
        password: &SecretString,
    ) -> anyhow::Result<Self> {
        let constraints = PoolConstraints::new(0, 2).context("pool")?;
        let pool = Pool::new(
            opts(address, database, user, password)
                .pool_opts(PoolOpts::default().with_constraints(constraints)),
        );
        let shop = Self { pool };
        shop.version().await.with_context(|| format!("connect to {address}:3306"))?;
        Ok(shop)
    }

    /// Asks the server's version.
    pub async fn version(&self) -> anyhow::Result<String> {
        self.pool.get_conn().await?.query_first("select @@version").await?.context("no version")
    }

    /// Makes the tables and loads rows.
    pub async fn load(&self, rows: u32, tell: impl Fn(u32)) -> anyhow::Result<()> {
        let mut conn = self.pool.get_conn().await?;
        for statement in [
            "create table items (id int primary key auto_increment, name varchar(100) not null, price decimal(10,2) \
             not null, updated_at timestamp(6) not null default current_timestamp(6), key (name)) engine=InnoDB",
            "create table accounts (id int primary key, balance bigint not null) engine=InnoDB",
            "create table transfers (token char(32) not null, writer int not null, from_account int not null, \
             to_account int not null, amount bigint not null, key (token)) engine=InnoDB",
            "create table audit (id bigint primary key auto_increment, what varchar(50) not null) engine=InnoDB",
            "create table apart (side varchar(10) primary key) engine=InnoDB",
            "create trigger items_audit after update on items for each row insert into audit (what) values ('item')",
            "create view cheap as select id, name from items where price < 10",
            "create function total() returns bigint reads sql data return (select sum(balance) from accounts)",
            "create event sweep on schedule every 1 hour do delete from audit where id < 0",
        ] {
            conn.query_drop(statement).await.with_context(|| statement.to_owned())?;
        }
        for account in 0..ACCOUNTS {
            conn.exec_drop("insert into accounts values (?, ?)", (account, OPENING)).await?;
        }
        let mut loaded = 0;
        while loaded < rows {
            let batch = 1_000.min(rows - loaded);
            let values: Vec<String> = (loaded..loaded + batch)
                .map(|n| format!("('item {n}', {}.{:02})", n % 97, n % 100))
                .collect();
            conn.query_drop(format!("insert into items (name, price) values {}", values.join(","))).await?;
            loaded += batch;
            tell(loaded);
        }
        Ok(())
    }

    /// Adds a table of so many MB.
    pub async fn ballast(&self, mb: u32, tell: impl Fn(u32)) -> anyhow::Result<()> {
        let mut conn = self.pool.get_conn().await?;
        let make = "create table ballast (id bigint primary key, text text not null) engine=InnoDB";
        conn.query_drop(make).await?;
        for loaded in 0..mb {
            let from = u64::from(loaded) * 1024;
            let insert = format!(
                "insert into ballast select seq, repeat(md5(seq), 31) from seq_{from}_to_{}",
                from + 1023
            );
            conn.query_drop(insert).await?;
            tell(loaded + 1);
        }
        Ok(())
    }

    /// Waits until this side has as many transfers as `other`, whose writers are paused.
    pub async fn reaches(&self, other: &Self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let count = "select count(*), (select count(*) from audit) from transfers";
        let want: Option<(u64, u64)> = other.pool.get_conn().await?.query_first(count).await?;
        loop {
            let have: Option<(u64, u64)> = self.pool.get_conn().await?.query_first(count).await?;
            if have == want {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the twin has {have:?} of {want:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Looks for the tally's transactions.
    pub async fn find(&self, tally: &Tally) -> anyhow::Result<Found> {
        let mut conn = self.pool.get_conn().await?;
        let rows: Vec<(String, i64, i64, i64)> =
            conn.query("select token, from_account, to_account, amount from transfers").await?;
        let accounts: Vec<(i64, i64)> = conn.query("select id, balance from accounts").await?;
        Ok(Found::judge(tally, &rows, &accounts))
    }

    /// Checksums of every table.
    pub async fn checksum(&self) -> anyhow::Result<Vec<(String, Option<u64>)>> {
        let statement = "checksum table items, accounts, transfers, audit";
        Ok(self.pool.get_conn().await?.query(statement).await?)
    }

    /// Whether a write is refused because the server is read-only (1290).
    pub async fn write_is_refused(&self) -> anyhow::Result<bool> {
        let done = self.pool.get_conn().await?.query_drop("insert into apart values ('never')").await;
        Ok(matches!(done, Err(mysql_async::Error::Server(refused)) if refused.code == 1290))
    }

    /// Writes a row that only this side shall have.
    pub async fn insert_apart(&self, side: &str) -> anyhow::Result<bool> {
        self.pool.get_conn().await?.exec_drop("insert into apart values (?)", (side,)).await?;
        Ok(true)
    }

    /// Whether this side has the other's row.
    pub async fn sees_apart(&self, side: &str) -> anyhow::Result<bool> {
        let found: Option<String> =
            self.pool.get_conn().await?.exec_first("select side from apart where side = ?", (side,)).await?;
        Ok(found.is_some())
    }
}
