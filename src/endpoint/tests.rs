//! Against a real store, with echo servers on Unix sockets in place of engines.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::*;
use crate::db::Db;
use crate::db::routes::{Relay, Route};
use crate::domain::datastore::Protocol;
use crate::domain::ids::{InstanceId, TaskId};
use crate::embedded_postgres::EmbeddedPostgres;
use crate::embedded_postgres::tests::place;

const HOST: &str = "here";

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An endpoint role that runs.
struct Role {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Role {
    fn start(config: &Config, sockets: &Path) -> Self {
        let (stop, stopped) = oneshot::channel();
        let sockets = sockets.to_owned();
        let path: SocketPath = Arc::new(move |generation| sockets.join(generation.to_string()));
        let shutdown = async {
            let _ = stopped.await;
        };
        Self { stop, task: tokio::spawn(serve(config.clone(), path, shutdown)) }
    }

    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.task.await.expect("no panic").expect("ends well");
    }

    /// As a kill: nothing of it runs on.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A client's first packet, which says nothing.
const LOGIN: [u8; 6] = [2, 0, 0, 1, 0, 0];

/// One that asks for TLS.
const TLS: [u8; 6] = [2, 0, 0, 1, 0, 8];

/// A server that says its name, takes a header and a login, says the header and then echoes; it passes a half-close
/// on.
struct Server(JoinHandle<()>);

impl Server {
    fn start(sockets: &Path, generation: GenerationId) -> Self {
        let path = sockets.join(generation.to_string());
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(path).expect("a socket");
        Self(tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.expect("accepts");
                tokio::spawn(async move {
                    let (from, mut to) = client.split();
                    let mut from = tokio::io::BufReader::new(from);
                    to.write_all(generation.to_string().as_bytes()).await?;
                    let mut header = String::new();
                    from.read_line(&mut header).await?;
                    let mut login = [0; LOGIN.len()];
                    from.read_exact(&mut login).await?;
                    assert!(login == LOGIN || login == TLS, "{login:?}");
                    to.write_all(header.as_bytes()).await?;
                    tokio::io::copy(&mut from, &mut to).await?;
                    to.write_all(b"bye").await
                });
            }
        }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects and reads which generation answers.
async fn greeted(address: SocketAddr) -> std::io::Result<(TcpStream, GenerationId)> {
    let (client, name, _) = introduced(address).await?;
    Ok((client, name))
}

/// Connects, reads which generation answers, logs in, and reads as whom it came.
async fn introduced(address: SocketAddr) -> std::io::Result<(TcpStream, GenerationId, String)> {
    let mut client = TcpStream::connect(address).await?;
    let name = name(&mut client).await?;
    client.write_all(&LOGIN).await?;
    let header = header(&mut client).await?;
    Ok((client, name, header))
}

/// Reads as whom a connection came.
async fn header(client: &mut TcpStream) -> std::io::Result<String> {
    let mut header = Vec::new();
    while header.last() != Some(&b'\n') {
        header.push(client.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&header).into_owned())
}

/// Reads which generation answers.
async fn name(client: &mut TcpStream) -> std::io::Result<GenerationId> {
    let mut name = [0; 36];
    let reading = client.read_exact(&mut name);
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("greeted or closed in time")?;
    Ok(String::from_utf8_lossy(&name).parse().expect("a generation"))
}

async fn echoes(client: &mut TcpStream, text: &[u8]) -> bool {
    let mut back = vec![0; text.len()];
    client.write_all(text).await.is_ok() && client.read_exact(&mut back).await.is_ok() && back == text
}

fn free_address(last: u8) -> SocketAddr {
    // A /24 of its own for each test process; the port is the system's choice.
    let pid = std::process::id().to_be_bytes();
    let ip = std::net::Ipv4Addr::new(127, 80 | (pid[2] & 15), pid[3], last);
    let probe = std::net::TcpListener::bind((ip, 0)).expect("a free port");
    probe.local_addr().expect("bound")
}

/// A store with the schema, one host, and what rows of instances and tasks refer to.
struct House {
    place: TempDir,
    store_config: crate::embedded_postgres::Config,
    store: EmbeddedPostgres,
    client: Client,
    config: Config,
}

impl House {
    async fn new() -> Self {
        let (place, store_config) = place();
        let store = EmbeddedPostgres::start(&store_config).await.expect("a store");
        let (client, connection) = tokio_postgres::connect(&store.url(), NoTls).await.expect("connects");
        tokio::spawn(connection);
        Db::new(&crate::db::Config::new(store.url())).migrate().await.expect("the schema");
        client
            .batch_execute(
                "insert into hosts (id, instance_net) values ('here', '127.80.0.0/12'), ('there', '127.80.0.0/12');
                 insert into datastores (id, name) values ('00000000-0000-0000-0000-000000000001', 'mariadb');
                 insert into datastore_versions (id, datastore_id, name, version_number, engine, runtime) values
                   ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001',
                    '10.11', '10.11.1', 'mariadb', 'process')",
            )
            .await
            .expect("the ground");
        let state_file = place.path().join("endpoint.json");
        let config = Config::new(HostId(HOST.to_owned()), store.url(), state_file);
        Self { place, store_config, store, client, config }
    }

    fn sockets(&self) -> &Path {
        self.place.path()
    }

    async fn instance(&self) -> InstanceId {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into instances (id, project_id, name, state, flavor_id, volume_gb, wanted_version_id, host_id)
             values ('{id}', 'p', 'n', 'building', '1', 1, '00000000-0000-0000-0000-000000000002', 'here')"
        ))
        .await;
        InstanceId(id)
    }

    async fn generation(&self, instance: InstanceId, role: &str) -> GenerationId {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into generations (id, instance_id, host_id, role, version_id, service_secret, read_only, events,
                                      wanted)
             values ('{id}', '{instance}', 'here', '{role}', '00000000-0000-0000-0000-000000000002', 'sealed', false,
                     true, 'running')"
        ))
        .await;
        GenerationId(id)
    }

    async fn endpoint(&self, instance: InstanceId, at: SocketAddr, host: &str, to: Option<GenerationId>) {
        let to = to.map_or("null".to_owned(), |generation| format!("'{generation}'"));
        self.sql(&format!(
            "insert into endpoints (instance_id, host_id, address, port, connections, generation_id)
             values ('{instance}', '{host}', '{}', {}, 100, {to})",
            at.ip(),
            at.port()
        ))
        .await;
    }

    async fn relay(&self, generation: GenerationId) -> TaskId {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into tasks (id, kind, project_id, host_id, state, plan)
             values ('{id}', 'upgrade', 'p', 'here', 'scheduled', '{{}}');
             insert into relays (task_id, host_id, generation_id, address, port)
             values ('{id}', 'here', '{generation}', '127.0.0.1', {})",
            free_address(1).port()
        ))
        .await;
        TaskId(id)
    }

    async fn relay_address(&self, task: TaskId) -> SocketAddr {
        let mut address = None;
        until("the relay has an address", async || {
            let sql =
                format!("select address || ':' || port from relays where task_id = '{task}' and listening");
            let row = self.client.query_opt(&sql, &[]).await.expect("asks");
            address = row.and_then(|row| row.get::<_, Option<String>>(0));
            address.is_some()
        })
        .await;
        address.expect("just seen").parse().expect("an address")
    }

    /// Holds the address, as a task does, and waits until that is acknowledged.
    async fn hold(&self, instance: InstanceId, wait_ms: u32, cut: bool) {
        let task = Uuid::now_v7();
        self.sql(&format!(
            "insert into tasks (id, kind, project_id, host_id, state, plan)
             values ('{task}', 'upgrade_twin', 'p', 'here', 'scheduled', '{{}}');
             insert into holds (instance_id, task_id, wait_ms, cut) values ('{instance}', '{task}', {wait_ms}, {cut})
             on conflict (instance_id) do update set wait_ms = excluded.wait_ms, cut = excluded.cut;
             update endpoints set epoch = epoch + 1 where instance_id = '{instance}'"
        ))
        .await;
        self.applied(instance).await;
    }

    async fn release(&self, instance: InstanceId) {
        self.sql(&format!(
            "delete from holds where instance_id = '{instance}';
             update endpoints set epoch = epoch + 1 where instance_id = '{instance}'"
        ))
        .await;
        self.applied(instance).await;
    }

    /// Leads the endpoint elsewhere and waits until that is acknowledged.
    async fn lead(&self, instance: InstanceId, to: Option<GenerationId>) {
        let to = to.map_or("null".to_owned(), |generation| format!("'{generation}'"));
        self.sql(&format!(
            "update endpoints set generation_id = {to}, epoch = epoch + 1 where instance_id = '{instance}'"
        ))
        .await;
        self.applied(instance).await;
    }

    /// Has the endpoint require TLS, or not, and waits until that is acknowledged.
    async fn require_tls(&self, instance: InstanceId, tls_only: bool) {
        self.sql(&format!(
            "update endpoints set tls_only = {tls_only}, epoch = epoch + 1 where instance_id = '{instance}'"
        ))
        .await;
        self.applied(instance).await;
    }

    async fn is_applied(&self, instance: InstanceId) -> bool {
        let sql = format!("select applied_epoch = epoch from endpoints where instance_id = '{instance}'");
        self.client.query_one(&sql, &[]).await.expect("asks").get(0)
    }

    async fn applied(&self, instance: InstanceId) {
        until("the epoch is acknowledged", async || self.is_applied(instance).await).await;
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    async fn end(self) {
        self.store.stop().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tls_is_required_nobody_goes_on_in_the_clear() {
    let house = House::new().await;
    let role = Role::start(&house.config, house.sockets());
    let (instance, address) = (house.instance().await, free_address(4));
    let serving = house.generation(instance, "serving").await;
    let _server = Server::start(house.sockets(), serving);
    house.endpoint(instance, address, HOST, Some(serving)).await;
    house.applied(instance).await;
    let encrypted = async || {
        let mut client = TcpStream::connect(address).await?;
        name(&mut client).await?;
        client.write_all(&TLS).await?;
        header(&mut client).await?;
        std::io::Result::Ok(client)
    };
    let (mut clear, ..) = introduced(address).await.expect("served");
    let mut in_tls = encrypted().await.expect("served");
    // One that has not said yet how it goes on.
    let mut silent = TcpStream::connect(address).await.expect("listens");
    name(&mut silent).await.expect("greeted");

    house.require_tls(instance, true).await;
    assert!(!echoes(&mut clear, b"in the clear").await, "an open connection in the clear is ended");
    assert!(echoes(&mut in_tls, b"encrypted").await, "one in TLS goes on");
    assert!(echoes(&mut encrypted().await.expect("served"), b"another").await);
    silent.write_all(&LOGIN).await.expect("written");
    let mut told = Vec::new();
    silent.read_to_end(&mut told).await.expect("told, and ended");
    assert_eq!(told, greeting::not_in_the_clear(Protocol::Mysql));

    // It is remembered without the store.
    role.kill().await;
    house.store.stop().await.expect("stops");
    let role = Role::start(&house.config, house.sockets());
    until("it listens again", async || TcpStream::connect(address).await.is_ok()).await;
    assert!(introduced(address).await.is_err(), "not in the clear");
    assert!(encrypted().await.is_ok());
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_in_force_before_it_is_acknowledged_and_a_new_one_ends_what_went_by_the_old() {
    let house = House::new().await;
    let role = Role::start(&house.config, house.sockets());
    let (instance, address) = (house.instance().await, free_address(1));
    let old = house.generation(instance, "serving").await;
    let new = house.generation(instance, "candidate").await;
    let _servers = (Server::start(house.sockets(), old), Server::start(house.sockets(), new));

    house.endpoint(instance, address, HOST, Some(old)).await;
    house.applied(instance).await;
    let (mut first, whose, header) = introduced(address).await.expect("served");
    let here = first.local_addr().expect("connected");
    assert_eq!(whose, old);
    let (from, to) = (here.ip(), address.ip());
    assert_eq!(header, format!("PROXY TCP4 {from} {to} {} {}\r\n", here.port(), address.port()));
    assert!(echoes(&mut first, b"select 1").await);
    assert!(echoes(&mut first, &vec![7; 300_000]).await, "more than every buffer on the way");

    house.lead(instance, Some(new)).await;
    let (mut second, whose) = greeted(address).await.expect("served");
    assert_eq!(whose, new);
    assert!(
        !echoes(&mut first, b"who serves no more").await,
        "cut: it would talk to one that serves no more"
    );
    assert!(echoes(&mut second, b"the new").await);

    // A half-close reaches the server, and what it says after that reaches the client.
    second.shutdown().await.expect("half-closed");
    let mut rest = Vec::new();
    second.read_to_end(&mut rest).await.expect("read to the end");
    assert_eq!(rest, b"bye");

    house.lead(instance, None).await;
    assert_eq!(
        TcpStream::connect(address).await.expect_err("closed").kind(),
        io::ErrorKind::ConnectionRefused
    );
    assert!(!echoes(&mut second, b"gone").await, "its connections are closed");

    house.lead(instance, Some(new)).await;
    assert_eq!(greeted(address).await.expect("served").1, new);
    house.sql(&format!("delete from endpoints where instance_id = '{instance}'")).await;
    until("a removed row stops listening", async || TcpStream::connect(address).await.is_err()).await;

    role.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_serves_its_last_state_without_the_store_and_follows_when_it_is_back() {
    let house = House::new().await;
    let (instance, address) = (house.instance().await, free_address(2));
    let generation = house.generation(instance, "serving").await;
    let _server = Server::start(house.sockets(), generation);
    house.endpoint(instance, address, HOST, Some(generation)).await;
    let task = house.relay(generation).await;
    let role = Role::start(&house.config, house.sockets());
    house.applied(instance).await;
    let relay = house.relay_address(task).await;
    assert!(relay.ip().is_loopback());
    let (_relayed, whose, header) = introduced(relay).await.expect("relayed");
    assert_eq!(whose, generation);
    assert!(header.starts_with(&format!("PROXY TCP4 {0} {0} ", relay.ip())), "as itself: {header}");
    let (mut open, _) = greeted(address).await.expect("served");

    house.store.stop().await.expect("stops");
    assert!(echoes(&mut open, b"without the store").await);
    assert_eq!(greeted(address).await.expect("served").1, generation);
    role.kill().await;
    until("its connections end with it", async || !echoes(&mut open, b"gone").await).await;

    let role = Role::start(&house.config, house.sockets());
    until("the last state serves", async || greeted(address).await.is_ok()).await;
    until("the relay is where it was", async || greeted(relay).await.is_ok()).await;

    let store = EmbeddedPostgres::start(&house.store_config).await.expect("starts again");
    let (client, connection) = tokio_postgres::connect(&store.url(), NoTls).await.expect("connects");
    tokio::spawn(connection);
    let house = House { client, store, ..house };
    house.lead(instance, None).await;
    until("it follows again", async || TcpStream::connect(address).await.is_err()).await;
    house.sql(&format!("delete from relays where task_id = '{task}'")).await;
    until("the relay is closed", async || TcpStream::connect(relay).await.is_err()).await;
    role.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_bound_is_not_acknowledged_until_it_can() {
    let house = House::new().await;
    let (instance, address) = (house.instance().await, free_address(3));
    let (elsewhere, other) = (house.instance().await, free_address(4));
    let (moving, third) = (house.instance().await, free_address(5));
    let generation = house.generation(instance, "serving").await;
    let _server = Server::start(house.sockets(), generation);
    let squatter = TcpListener::bind(address).await.expect("bound");
    house.endpoint(instance, address, HOST, Some(generation)).await;
    house.endpoint(elsewhere, other, "there", Some(generation)).await;
    house.endpoint(moving, third, HOST, Some(generation)).await;
    let role = Role::start(&house.config, house.sockets());
    // The others go on, which shows that this one was tried.
    house.applied(moving).await;
    assert!(!house.is_applied(instance).await);
    assert!(!house.is_applied(elsewhere).await, "another host's row is another's");
    assert!(TcpStream::connect(other).await.is_err());
    drop(squatter);
    house.applied(instance).await;
    assert_eq!(greeted(address).await.expect("served").1, generation);

    let second = Role::start(&house.config, house.sockets());
    assert!(matches!(second.task.await.expect("no panic"), Err(Error::AlreadyServed { .. })));
    role.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_wait_for_a_server_that_restarts_and_for_a_free_place() {
    let house = House::new().await;
    let (instance, address) = (house.instance().await, free_address(6));
    let generation = house.generation(instance, "serving").await;
    house.endpoint(instance, address, HOST, Some(generation)).await;
    let config = Config {
        connections_per_instance: 2,
        wait_for_server: Duration::from_secs(2),
        ..house.config.clone()
    };
    let role = Role::start(&config, house.sockets());
    house.applied(instance).await;

    let begun = Instant::now();
    assert!(greeted(address).await.is_err(), "no server: closed");
    assert!(begun.elapsed() > Duration::from_secs(1), "but not at once");

    // A server's account may put a link to another's socket in the place of its own.
    let another = GenerationId(Uuid::now_v7());
    let _anothers = Server::start(house.sockets(), another);
    let at = |generation: GenerationId| house.sockets().join(generation.to_string());
    std::os::unix::fs::symlink(at(another), at(generation)).expect("a link");
    assert!(greeted(address).await.is_err(), "not followed");

    let waiting = tokio::spawn(greeted(address));
    let mut patient = TcpStream::connect(address).await.expect("accepted");
    patient.write_all(&LOGIN).await.expect("sent");
    let server = Server::start(house.sockets(), generation);
    let (first, whose) = waiting.await.expect("no panic").expect("served once it is up");
    assert_eq!(whose, generation);
    name(&mut patient).await.expect("greeted");
    assert_eq!(&patient.read_u8().await.expect("what was sent while waiting arrives"), &b'P');

    let third = tokio::spawn(greeted(address));
    // The third waits; it is served when a place is free.
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
    drop(first);
    assert_eq!(third.await.expect("no panic").expect("served").1, generation);
    drop(server);
    role.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_word_that_is_no_login_ends_the_connection_and_silence_gives_way() {
    let house = House::new().await;
    let (instance, address) = (house.instance().await, free_address(7));
    let generation = house.generation(instance, "serving").await;
    let _server = Server::start(house.sockets(), generation);
    house.endpoint(instance, address, HOST, Some(generation)).await;
    let config = Config {
        connections_per_instance: 2,
        wait_for_client: Duration::from_secs(20),
        ..house.config.clone()
    };
    let role = Role::start(&config, house.sockets());
    house.applied(instance).await;

    let words: [&[&[u8]]; 6] = [
        &[b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n"],
        &[b"\r\n\r\n\0\r\nQUIT\n"],
        &[b"P", b"RO", b"X"],
        &[b"\r\n", b"\r\n"],
        &[b"\xff\xff\xff\x01"],
        &[b"\x01\x00\x00\x00"],
    ];
    for parts in words {
        let mut client = TcpStream::connect(address).await.expect("accepted");
        client.set_nodelay(true).expect("set");
        name(&mut client).await.expect("the server speaks first");
        for part in parts {
            client.write_all(part).await.expect("sent");
            tokio::task::yield_now().await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(5), client.read_u8()).await.expect("at once");
        assert!(ended.is_err(), "{parts:?} reached the server");
    }

    // All places are taken. One more is served, in the place of who says nothing.
    let (mut busy, _) = greeted(address).await.expect("served");
    let mut silent = TcpStream::connect(address).await.expect("accepted");
    name(&mut silent).await.expect("greeted");
    let begun = Instant::now();
    let (third, _) = greeted(address).await.expect("served");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(silent.read_u8().await.is_err());
    drop(third);
    assert!(echoes(&mut busy, b"still there").await);
    role.stop().await;

    let config = Config { wait_for_client: Duration::from_millis(100), ..house.config.clone() };
    let role = Role::start(&config, house.sockets());
    until("it serves again", async || greeted(address).await.is_ok()).await;
    let mut silent = TcpStream::connect(address).await.expect("accepted");
    name(&mut silent).await.expect("greeted");
    assert!(silent.read_u8().await.is_err(), "silence ends");
    role.stop().await;
    house.end().await;
}

#[tokio::test]
async fn the_last_state_is_kept_whole_and_is_its_hosts_own() {
    let place = TempDir::new().expect("a folder");
    let file = place.path().join("endpoint.json");
    let (here, there) = (HostId("here".to_owned()), HostId("there".to_owned()));
    let mut state = Routes {
        routes: vec![Route {
            instance: InstanceId(Uuid::now_v7()),
            address: "127.64.0.1:3306".parse().expect("an address"),
            generation: Some(GenerationId(Uuid::now_v7())),
            epoch: 4,
            applied_epoch: 3,
            connections: 100,
            hold: None,
            protocol: Protocol::Postgresql,
            allowed: Vec::new(),
            tls_only: true,
            full_volume: false,
        }],
        relays: vec![Relay {
            task: TaskId(Uuid::now_v7()),
            generation: GenerationId(Uuid::now_v7()),
            address: "127.64.0.1:13306".parse().expect("an address"),
            listening: false,
            protocol: Protocol::Mysql,
        }],
    };
    let mut saved = SavedRoutes::open(&file, &here).expect("opens");
    assert_eq!(saved.last(), &Routes::default());
    assert!(saved.keep(&state).await);
    assert!(matches!(SavedRoutes::open(&file, &here), Err(Error::AlreadyServed { .. })));
    drop(saved);
    state.routes[0].applied_epoch = 0;
    assert_eq!(SavedRoutes::open(&file, &here).expect("opens").last(), &state);
    assert_eq!(SavedRoutes::open(&file, &there).expect("opens").last(), &Routes::default());
    std::fs::write(&file, b"{\"form\":1,").expect("written");
    assert_eq!(SavedRoutes::open(&file, &here).expect("opens").last(), &Routes::default());

    // A state that cannot be kept is not acknowledged.
    let mut saved = SavedRoutes::open(&file, &here).expect("opens");
    let blocked = file.with_extension("new");
    std::fs::create_dir(&blocked).expect("in the way");
    assert!(!saved.keep(&state).await);
    std::fs::remove_dir(&blocked).expect("out of the way");
    assert!(saved.keep(&state).await);
}

/// What a client of a held address gets when its wait is over: a packet with the error 1053.
async fn told_to_come_again(address: SocketAddr) -> bool {
    let mut client = TcpStream::connect(address).await.expect("taken");
    let mut said = Vec::new();
    let heard = tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut said)).await;
    heard.expect("in time").expect("to the end");
    said.get(4..7) == Some(&[0xff, 0x1d, 0x04])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_new_connections_waiting_and_outlives_its_role() {
    let house = House::new().await;
    let (instance, address) = (house.instance().await, free_address(7));
    let old = house.generation(instance, "serving").await;
    let new = house.generation(instance, "candidate").await;
    let _servers = (Server::start(house.sockets(), old), Server::start(house.sockets(), new));
    house.endpoint(instance, address, HOST, Some(old)).await;
    let role = Role::start(&house.config, house.sockets());
    house.applied(instance).await;
    let (mut open, _) = greeted(address).await.expect("served");

    house.hold(instance, 30_000, false).await;
    assert!(echoes(&mut open, b"open before the hold").await);
    let waiting = tokio::spawn(greeted(address));
    let gave_up = TcpStream::connect(address).await.expect("taken");
    drop(gave_up);
    house.hold(instance, 30_000, true).await;
    assert!(!echoes(&mut open, b"after the cut").await, "acknowledged means that it has ended");
    assert!(!waiting.is_finished(), "it waits still");
    // The cut-over: the route and then the end of the hold. Whoever waited comes to the new one.
    house.lead(instance, Some(new)).await;
    assert!(!waiting.is_finished(), "a new route alone lets nobody through");
    house.release(instance).await;
    let (mut through, whose) = waiting.await.expect("no panic").expect("served");
    assert_eq!(whose, new);
    assert!(echoes(&mut through, b"on").await);

    house.hold(instance, 50, false).await;
    assert!(told_to_come_again(address).await);
    assert!(echoes(&mut through, b"open before the second hold").await);
    // Killed, and started again without the store: it holds still.
    role.kill().await;
    house.store.stop().await.expect("stops");
    let role = Role::start(&house.config, house.sockets());
    until("the address is taken", async || TcpStream::connect(address).await.is_ok()).await;
    assert!(told_to_come_again(address).await);
    role.stop().await;
    drop(house);
}
