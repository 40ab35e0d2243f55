//! Thousands of connections that say nothing: they cost their instance, and every other, next to nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::net::TcpSocket;

use crate::doors_wire::Knock;
use crate::harness::house::House;
use crate::harness::{Shopkeeper, healthy, open_shop, password};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SILENT: usize = 2_000;

/// How much slower a login may be for them; it was fifty times before.
const RATIO: f64 = 8.0;

/// What a login takes at least, in seconds, as far as a ratio goes: below it is the scheduler's.
const LEAST: f64 = 0.03;

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

async fn mariadb_login(from: Ipv4Addr, shop: &Shopkeeper) -> Result<(), String> {
    let to = format!("{}:3306", shop.address).parse().unwrap();
    let answer = Knock::new(from, to, "app", Some(shop.password.expose_secret())).answer().await;
    if answer.is_in() { Ok(()) } else { Err(format!("{answer:?}")) }
}

async fn postgresql_login(from: Ipv4Addr, shop: &Shopkeeper) -> Result<(), String> {
    let to = format!("{}:5432", shop.address).parse().unwrap();
    let stream = connect(from, to).await.map_err(|error| error.to_string())?;
    let mut config = tokio_postgres::Config::new();
    config.user("app").dbname("shop").password(shop.password.expose_secret());
    let connected = config.connect_raw(stream, tokio_postgres::NoTls).await;
    let (client, connection) = connected.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    client.simple_query("select 1").await.map(drop).map_err(|error| error.to_string())
}

/// A login from the address that a silent crowd comes from: one that has waited for as long as the crowd may be taken for
/// one of it, and closed. A client comes again; the time counts.
async fn again(mut login: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(said) = login().await {
        assert!(Instant::now() < deadline, "{said}");
    }
}

/// The median of some logins, in seconds.
async fn median(mut login: impl AsyncFnMut()) -> f64 {
    let mut times = Vec::new();
    for _ in 0..7 {
        let begun = Instant::now();
        login().await;
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[3].max(LEAST)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_that_say_nothing_are_in_nobodys_way() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    let house = House::start().await;
    let api = house.login("coffer").await;
    let maria = open_shop(&api, "crowded", "10.11").await;
    let other = open_shop(&api, "quiet", "10.11").await;
    let password = password();
    let body = json!({"instance": {"name": "elephant", "flavorRef": 1, "volume": {"size": 1},
        "datastore": {"type": "postgresql", "version": "17"}, "databases": [{"name": "shop"}],
        "users": [{"name": "app", "password": password.expose_secret(), "databases": [{"name": "shop"}]}]}});
    let (code, answer) = api.post("/instances", &body).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let id = answer["instance"]["id"].as_str().unwrap().to_owned();
    let postgres = Shopkeeper { address: healthy(&api, &id).await, id, password };

    for (port, crowded) in [(3306, &maria), (5432, &postgres)] {
        let own = async |from| {
            if port == 3306 {
                mariadb_login(from, crowded).await
            } else {
                postgresql_login(from, crowded).await
            }
        };
        let elsewhere = async || mariadb_login(HERE, &other).await.unwrap();
        let quiet = median(async || own(HERE).await.unwrap()).await;
        let quiet_other = median(elsewhere).await;
        let to: SocketAddr = format!("{}:{port}", crowded.address).parse().unwrap();
        let mut silent = Vec::new();
        for _ in 0..SILENT {
            silent.push(
                tokio::time::timeout(Duration::from_secs(20), connect(HERE, to)).await.unwrap().unwrap(),
            );
        }
        for (who, quiet, crowded) in [
            ("the same address", quiet, median(async || again(async || own(HERE).await).await).await),
            ("another address", quiet, median(async || own(THERE).await.unwrap()).await),
            ("another instance", quiet_other, median(elsewhere).await),
        ] {
            let ratio = crowded / quiet;
            eprintln!("port {port}, {who}: {quiet:.4} s alone, {crowded:.4} s beside {SILENT}: {ratio:.1}");
            assert!(ratio < RATIO, "port {port}, {who}: {ratio}");
        }
        // Those that say nothing come to their end, and take no server's place meanwhile.
        drop(silent);
    }
    house.leave_nothing(&api, &[&maria.id, &other.id, &postgres.id]).await;
}

/// A pool that opens all its connections at once is no crowd that says nothing: each of them comes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_comes_at_once_comes_in() {
    let house = House::start().await;
    let api = house.login("coffer").await;
    let shop = open_shop(&api, "pooled", "10.11").await;
    for _ in 0..3 {
        for login in futures::future::join_all((0..80).map(|_| mariadb_login(HERE, &shop))).await {
            login.unwrap();
        }
    }
    house.leave_nothing(&api, &[&shop.id]).await;
}
